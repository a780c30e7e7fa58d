//! One piece of work for many who ask for the same.
//!
//! Why: a popular name that has just run out is asked for a thousand times before its answer is back. Who asked first does the
//! work in passing, for most answers need neither a task nor a channel of their own. He may leave without hurting the others: what
//! is left of the work then goes on in a task.
//!
//! Failure: work that panics has no result, for anybody.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::future::BoxFuture;

/// What who asked has to do with the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It is done for who asked, and paid for.
    Started,
    /// It was under way for somebody else.
    Joined,
}

/// Work under way, by key. `S` is what others may look at meanwhile.
pub(super) struct InFlight<K, V, S = ()>(Mutex<Table<K, V, S>>);

type Table<K, V, S> = HashMap<K, (Arc<Outcome<V>>, S)>;

/// What came of work, for who joined it.
struct Outcome<V> {
    /// Nothing where it came to no end.
    value: OnceLock<Option<V>>,
    told: Notify,
}

impl<V: Clone> Outcome<V> {
    fn new() -> Outcome<V> {
        Outcome {
            value: OnceLock::new(),
            told: Notify::new(),
        }
    }

    fn tell(&self, value: Option<V>) {
        let _ = self.value.set(value);
        self.told.notify_waiters();
    }

    async fn wait(&self) -> Option<V> {
        let mut told = pin!(self.told.notified());
        // Enlisted before looking, or what is told in between is missed.
        told.as_mut().enable();
        if self.value.get().is_none() {
            told.await;
        }
        self.value.get().cloned().flatten()
    }
}

impl<K, V, S> Default for InFlight<K, V, S> {
    fn default() -> Self {
        InFlight(Mutex::default())
    }
}

impl<K, V, S> InFlight<K, V, S> {
    fn table(&self) -> MutexGuard<'_, Table<K, V, S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V, S> InFlight<K, V, S>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
    S: Clone + Send + 'static,
{
    /// Joins the work for `key`, or does what `start` makes; says which, and what came of it. `None` when it panicked,
    /// or when more than `max` are under way.
    pub async fn run<F>(
        self: &Arc<Self>,
        key: K,
        max: usize,
        start: impl FnOnce() -> (S, F),
    ) -> Option<(Part, V)>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let (part, value) = match self.join(key, max, start)? {
            Joining::Started(lead) => (Part::Started, lead.await),
            Joining::Joined(outcome) => (Part::Joined, outcome.wait().await),
        };
        value.map(|value| (part, value))
    }

    fn join<F>(
        self: &Arc<Self>,
        key: K,
        max: usize,
        start: impl FnOnce() -> (S, F),
    ) -> Option<Joining<V>>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut table = self.table();
        if let Some((outcome, _)) = table.get(&key) {
            return Some(Joining::Joined(outcome.clone()));
        }
        if table.len() >= max {
            return None;
        }
        let outcome = Arc::new(Outcome::new());
        let (side, work) = start();
        table.insert(key.clone(), (outcome.clone(), side));
        let entry = Entry {
            table: self.clone(),
            key,
            outcome,
            ended: false,
        };
        Some(Joining::Started(Lead(Some(Box::pin(async move {
            let value = work.await;
            entry.end(&value);
            value
        })))))
    }

    /// What belongs to the work for `key`, while it is under way.
    pub fn side(&self, key: &K) -> Option<S> {
        self.table().get(key).map(|(_, side)| side.clone())
    }

    /// How much is under way.
    pub fn len(&self) -> usize {
        self.table().len()
    }
}

enum Joining<V: Send + 'static> {
    Started(Lead<V>),
    Joined(Arc<Outcome<V>>),
}

/// The work in the hands of who asked first. Dropped before its end, it goes on in a task.
struct Lead<V: Send + 'static>(Option<BoxFuture<'static, V>>);

impl<V: Send + 'static> Future for Lead<V> {
    /// Nothing where it panicked.
    type Output = Option<V>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<V>> {
        let Some(work) = &mut self.0 else {
            return Poll::Ready(None);
        };
        // A panic is a defect to be mended, but must take along neither who asked nor those who joined.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => {
                self.0 = None;
                Poll::Ready(Some(value))
            }
            Err(_) => {
                tracing::error!("the work on a question panicked");
                self.0 = None;
                Poll::Ready(None)
            }
        }
    }
}

impl<V: Send + 'static> Drop for Lead<V> {
    fn drop(&mut self) {
        let Some(work) = self.0.take() else {
            return;
        };
        // Without a runtime nothing goes on.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(work);
        }
    }
}

/// A place in the table, freed even when the work panics.
struct Entry<K: Eq + Hash, V: Clone, S> {
    table: Arc<InFlight<K, V, S>>,
    key: K,
    outcome: Arc<Outcome<V>>,
    ended: bool,
}

impl<K: Eq + Hash, V: Clone, S> Entry<K, V, S> {
    /// Gone from the table before anybody is told, so that nobody joins finished work.
    fn end(mut self, value: &V) {
        self.ended = true;
        self.table.table().remove(&self.key);
        // Nobody else can join any more.
        if Arc::strong_count(&self.outcome) > 1 {
            self.outcome.tell(Some(value.clone()));
        }
    }
}

impl<K: Eq + Hash, V: Clone, S> Drop for Entry<K, V, S> {
    fn drop(&mut self) {
        if !self.ended {
            self.table.table().remove(&self.key);
            self.outcome.tell(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    type Numbers = Arc<InFlight<u8, u32>>;

    #[tokio::test]
    async fn the_work_is_done_once_and_for_all_who_ask() {
        let numbers = Numbers::default();
        let (go, wait) = oneshot::channel();
        let first = numbers.run(1, 9, || ((), async { wait.await.unwrap() }));
        let second = numbers.run(1, 9, || ((), async { panic!("begun twice") }));
        let other = numbers.run(2, 9, || ((), async { 8 }));
        let release = async {
            assert_eq!(numbers.len(), 1, "the other is done");
            go.send(7).unwrap();
        };
        let (first, second, other, ()) = tokio::join!(first, second, other, release);
        assert_eq!(first, Some((Part::Started, 7)));
        assert_eq!(second, Some((Part::Joined, 7)));
        assert_eq!(other, Some((Part::Started, 8)));
        assert_eq!(numbers.len(), 0);
    }

    #[tokio::test]
    async fn work_goes_on_when_who_asked_first_leaves() {
        let numbers = Numbers::default();
        let (go, wait) = oneshot::channel();
        let mut first = Box::pin(numbers.run(1, 9, || ((), async { wait.await.unwrap() })));
        assert!(polled_once(&mut first).is_none());
        let second = numbers.run(1, 9, || ((), async { panic!("begun twice") }));
        let release = async {
            drop(first);
            go.send(7).unwrap();
        };
        let (second, ()) = tokio::join!(second, release);
        assert_eq!(second, Some((Part::Joined, 7)));
        assert_eq!(numbers.len(), 0);
    }

    #[tokio::test]
    async fn a_panic_ends_the_work_and_nothing_else() {
        let numbers = Numbers::default();
        let (go, wait) = oneshot::channel::<u32>();
        let first = numbers.run(1, 9, || ((), async { wait.await.expect("no number") }));
        let second = numbers.run(1, 9, || ((), async { 8 }));
        let release = async { drop(go) };
        let (first, second, ()) = tokio::join!(first, second, release);
        assert_eq!((first, second), (None, None));
        let third = numbers.run(1, 9, || ((), async { 8 })).await;
        assert_eq!(third, Some((Part::Started, 8)));
    }

    #[tokio::test]
    async fn no_more_is_begun_than_may_be() {
        let numbers = Numbers::default();
        let mut first = Box::pin(numbers.run(1, 1, || ((), std::future::pending::<u32>())));
        assert!(polled_once(&mut first).is_none());
        assert_eq!(numbers.run(2, 1, || ((), async { 8 })).await, None);
    }

    fn polled_once<T>(future: &mut Pin<Box<impl Future<Output = T>>>) -> Option<T> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }
}
