//! Questions over UDP that wait for answers, and which of them gives its socket to another.
//!
//! Why: each question over UDP has a socket for itself, and there are only so many. A silent server's question keeps its socket for
//! seconds, one that is answered for milliseconds. So where all are taken, the question that has waited for the longest time, and for
//! longer than nearly every answer takes, is given up: what is quiet gives way to what may be answered.
//!
//! Failure: who is cut is told that it is this machine's doing; that says nothing of the server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// A question that has waited for so long may lose its socket.
pub(super) const QUIET_MAX: Duration = Duration::from_millis(400);

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Quiet(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    /// In the order in which they were sent; since when, and how to cut them.
    waiting: BTreeMap<u64, (Duration, Arc<Notify>)>,
}

impl Quiet {
    /// Counts a question that is sent now, until it is dropped.
    pub(super) fn enter(&self, now: Duration) -> Waits {
        let mut queue = lock(&self.0);
        let number = queue.next;
        queue.next += 1;
        let cut = Arc::new(Notify::new());
        queue.waiting.insert(number, (now, cut.clone()));
        drop(queue);
        Waits {
            queue: self.0.clone(),
            number,
            cut,
        }
    }

    /// Cuts the question that has waited for the longest time, if that is long.
    pub(super) fn cut(&self, now: Duration) {
        let mut queue = lock(&self.0);
        let oldest = queue.waiting.first_entry();
        let Some(oldest) = oldest.filter(|oldest| oldest.get().0 + QUIET_MAX <= now) else {
            return;
        };
        let (_, cut) = oldest.remove();
        cut.notify_one();
    }
}

/// A question that waits.
#[derive(Debug)]
pub(super) struct Waits {
    queue: Arc<Mutex<Queue>>,
    number: u64,
    cut: Arc<Notify>,
}

impl Waits {
    /// Ends when the socket is needed for another question.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        lock(&self.queue).waiting.remove(&self.number);
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
