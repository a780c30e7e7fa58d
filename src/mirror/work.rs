//! The long work of mirrors, off the threads that answer.
//!
//! Putting a version together, verifying it and looking for what it drops takes seconds of every core for a registry's zone.
//! No question may feel that, so such work is done in threads of a lower priority: where processors are short, the kernel
//! gives them to the threads that answer, at once, and to this work what is left (about a tenth when nothing is, so that a
//! flood does not keep a zone from its next version). Before anybody is answered there is nobody to stand behind ([`Rank::First`]).

/// How far long work stands behind, in steps of `nice`.
const STEPS: libc::c_int = 10;
/// Work that nobody waits for: behind everything.
pub(super) const STEPS_LAST: libc::c_int = 19;
/// The lowest priority that there is.
const NICENESS_MAX: libc::c_int = 19;

/// Where long work stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// Behind the threads that answer, and never on all cores.
    Behind,
    /// At a start: nobody is answered before it is done.
    First,
}

impl Rank {
    /// Runs long work off the async threads.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        match self {
            Rank::Behind => behind(work).await,
            Rank::First => blocking(work).await,
        }
    }

    /// How many threads such work should have.
    pub(super) fn threads(self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        match self {
            // A priority counts among the threads of one service. Against other services the kernel weighs the service as a whole, and
            // one that has every core busy has its answers wait for its own long work.
            Rank::Behind => cores.saturating_sub(1).max(1),
            Rank::First => cores,
        }
    }
}

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
pub(crate) async fn behind<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
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
    async fn only_at_a_start_long_work_stands_behind_nobody() {
        let before = niceness();
        let stands = async |rank: Rank| rank.run(niceness).await;
        let behind = (before + STEPS).min(NICENESS_MAX);
        assert_eq!(stands(Rank::Behind).await, behind);
        assert_eq!(stands(Rank::First).await, before);
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(Rank::First.threads(), cores);
        assert_eq!(Rank::Behind.threads(), (cores - 1).max(1));
    }

    #[tokio::test]
    #[should_panic(expected = "of the work")]
    async fn a_panic_of_the_work_is_the_callers() {
        behind(|| panic!("of the work")).await
    }
}
