//! A network namespace of a test's own: an empty network with a loopback, where its servers meet nobody else.
//!
//! A namespace belongs to a thread and to what that thread starts, and each test has a thread. So [`enter`] at the start of a test is
//! all that it takes: every socket, thread and program that comes after is inside, and the namespace ends with them.

use std::io::{self, Write};

/// Makes the calling thread's network its own; says whether it may go on. Where that cannot be had, it says so loudly: that takes
/// root rights.
#[must_use]
pub fn enter() -> bool {
    match unshare() {
        Ok(()) => true,
        Err(error) => {
            // Not by a macro: what those print of a test that passes is shown to nobody.
            let mut stderr = io::stderr();
            let _ = writeln!(
                stderr,
                "SKIPPED: a network namespace needs root rights ({error})"
            );
            false
        }
    }
}

fn unshare() -> io::Result<()> {
    let checked = |result: i32| match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    };
    // SAFETY: the call changes the network of this thread and touches no memory.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an all-zero ifreq is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let socket = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the pointer is to a live ifreq that names the interface.
    checked(unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request) })
}
