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

/// Work under way, by key.
pub(super) struct InFlight<K, V>(Mutex<HashMap<K, Waiting<V>>>);

impl<K, V> Default for InFlight<K, V> {
    fn default() -> Self {
        InFlight(Mutex::default())
    }
}

impl<K, V> InFlight<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins the work for `key`, or starts it with `start`; says which, and what came of it. `None` when that task died,
    /// or when more than `max` are under way.
    pub async fn run<F>(
        self: &Arc<Self>,
        key: K,
        max: usize,
        start: impl FnOnce() -> F,
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
        start: impl FnOnce() -> F,
    ) -> Option<(Part, Waiting<V>)>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = map.get(&key) {
            return Some((Part::Joined, waiting.clone()));
        }
        if map.len() >= max {
            return None;
        }
        let (tell, waiting) = watch::channel(None);
        map.insert(key.clone(), waiting.clone());
        let entry = Entry {
            table: self.clone(),
            key,
        };
        let work = start();
        tokio::spawn(async move {
            let value = work.await;
            // Gone from the table before anybody is told, so that nobody joins finished work.
            drop(entry);
            let _ = tell.send(Some(value));
        });
        Some((Part::Started, waiting))
    }

    /// How much is under way.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A place in the table, freed even when its task panics.
struct Entry<K: Eq + Hash, V> {
    table: Arc<InFlight<K, V>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Entry<K, V> {
    fn drop(&mut self) {
        let mut map = self.table.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.remove(&self.key);
    }
}
