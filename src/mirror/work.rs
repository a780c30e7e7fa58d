//! The long work of mirrors, off the threads that answer.
//!
//! Putting a version together, verifying it and looking for what it drops takes seconds of every core for a registry's zone.
//! No question may feel that, so such work is done in threads of a lower priority: where processors are short, the kernel
//! gives them to the threads that answer, at once, and to this work what is left (about a tenth when nothing is, so that a
//! flood does not keep a zone from its next version).

/// How far long work stands behind, in steps of `nice`.
const STEPS: libc::c_int = 10;
/// Work that nobody waits for: behind everything.
pub(super) const STEPS_LAST: libc::c_int = 19;
/// The lowest priority that there is.
const NICENESS_MAX: libc::c_int = 19;

/// Runs work that waits for the disk, or computes for a moment, off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down: nobody waits for the result any more.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Runs long work behind the threads that answer; the threads that it starts inherit that.
///
/// It has a thread of its own, because a priority that was lowered cannot be raised again without a privilege, and the
/// threads of the runtime are used for other things after. Where the system gives no thread it is done without.
pub(super) async fn behind<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    blocking(move || {
        let work = std::sync::Mutex::new(Some(work));
        let take = || {
            let mut place = work.lock().unwrap_or_else(|e| e.into_inner());
            place.take()
        };
        let done = std::thread::scope(|scope| {
            let run = || {
                step_back(STEPS);
                take().map(|work| work())
            };
            let thread = std::thread::Builder::new()
                .name("mirror".to_owned())
                .spawn_scoped(scope, run);
            match thread.ok()?.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        match done {
            Some(done) => done,
            None => match take() {
                Some(work) => work(),
                None => unreachable!("the work was neither done nor left"),
            },
        }
    })
    .await
}

/// How many threads of long work there should be in a server that answers: one core is left alone.
///
/// A priority counts among the threads of one service. Against other services the kernel weighs the service as a whole, and one that
/// has every core busy has its answers wait for its own long work.
pub(super) fn threads_beside_answers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    cores.saturating_sub(1).max(1)
}

/// Lowers the priority of the calling thread, and of those that it will start, by so many steps of `nice`.
pub(super) fn step_back(steps: libc::c_int) {
    let lowered = niceness().saturating_add(steps).min(NICENESS_MAX);
    // SAFETY: plain numbers; on Linux this is about the calling thread alone.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, lowered) };
}

/// The niceness of the calling thread.
fn niceness() -> libc::c_int {
    // SAFETY: plain numbers.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_work_and_its_threads_stand_behind_and_the_runtime_does_not() {
        let before = niceness();
        let (own, child) = behind(|| {
            let child = std::thread::spawn(niceness).join();
            (niceness(), child.ok())
        })
        .await;
        let behind = (before + STEPS).min(NICENESS_MAX);
        assert_eq!((own, child), (behind, Some(behind)));
        assert_eq!(blocking(niceness).await, before, "a thread of the runtime");
    }

    #[tokio::test]
    #[should_panic(expected = "of the work")]
    async fn a_panic_of_the_work_is_the_callers() {
        behind(|| panic!("of the work")).await
    }
}
