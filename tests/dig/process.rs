//! The processes this run started, known by id, so that a signal or a panic leaves none behind.

use std::sync::Mutex;

static STARTED: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Notes a child (a process group leader) for the sweep.
pub fn register(pid: u32) {
    STARTED.lock().unwrap().push(pid);
}

/// Forgets a child that has been waited for: its id may be given to another process.
pub fn forget(pid: u32) {
    STARTED.lock().unwrap().retain(|known| *known != pid);
}

pub fn signal(pid: u32, signal: i32) {
    // SAFETY: sends a signal to a child of ours that has not been waited for.
    unsafe { libc::kill(pid as i32, signal) };
}

pub fn kill_group(pid: u32) {
    // SAFETY: as above; the child was started as the leader of its own group.
    unsafe { libc::kill(-(pid as i32), libc::SIGKILL) };
}

/// Blocks the signals that end a run and watches for them on a thread: then it ends every child, calls `sweep` and exits.
pub fn watch_signals(sweep: impl FnOnce() + Send + 'static) {
    // SAFETY: the set is initialised by sigemptyset before use; the mask is inherited by the threads started later.
    let set = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(&mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        set
    };
    std::thread::spawn(move || {
        let mut caught = 0;
        // SAFETY: both pointers are to live locals.
        unsafe { libc::sigwait(&set, &mut caught) };
        eprintln!("signal {caught}: sweeping up");
        for pid in STARTED.lock().unwrap().iter() {
            kill_group(*pid);
        }
        sweep();
        std::process::exit(128 + caught);
    });
}
