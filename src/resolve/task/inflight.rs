//! One piece of work for many who ask for the same.
//!
//! Why: a popular name that has just run out is asked for a thousand times before its answer is back. The
//! work runs in a task of its own, so that who asked first may leave without hurting the others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

type Waiting<V> = watch::Receiver<Option<V>>;

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

type Table<K, V, S> = HashMap<K, (Waiting<V>, S)>;

impl<K, V, S> Default for InFlight<K, V, S> {
    fn default() -> Self {
        InFlight(Mutex::default())
    }
}

impl<K, V, S> InFlight<K, V, S>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
    S: Clone + Send + 'static,
{
    /// Joins the work for `key`, or starts it with `start`; says which, and what came of it. `None` when that task died,
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
        let (part, mut waiting) = self.join(key, max, start)?;
        let found = waiting.wait_for(Option::is_some).await.ok()?;
        found.clone().map(|value| (part, value))
    }

    fn join<F>(
        self: &Arc<Self>,
        key: K,
        max: usize,
        start: impl FnOnce() -> (S, F),
    ) -> Option<(Part, Waiting<V>)>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((waiting, _)) = map.get(&key) {
            return Some((Part::Joined, waiting.clone()));
        }
        if map.len() >= max {
            return None;
        }
        let (tell, waiting) = watch::channel(None);
        let (side, work) = start();
        map.insert(key.clone(), (waiting.clone(), side));
        let entry = Entry {
            table: self.clone(),
            key,
        };
        tokio::spawn(async move {
            let value = work.await;
            // Gone from the table before anybody is told, so that nobody joins finished work.
            drop(entry);
            let _ = tell.send(Some(value));
        });
        Some((Part::Started, waiting))
    }

    /// What belongs to the work for `key`, while it is under way.
    pub fn side(&self, key: &K) -> Option<S> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(key).map(|(_, side)| side.clone())
    }

    /// How much is under way.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A place in the table, freed even when its task panics.
struct Entry<K: Eq + Hash, V, S> {
    table: Arc<InFlight<K, V, S>>,
    key: K,
}

impl<K: Eq + Hash, V, S> Drop for Entry<K, V, S> {
    fn drop(&mut self) {
        let mut map = self.table.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.remove(&self.key);
    }
}
