//! Answers on disk: written behind, read when memory knows nothing and nobody answers.
//!
//! What is worth writing is decided in `cache::persist`. Here is what has to wait: the one writer, the look through all rows at the
//! start, and the look-ups, which are made off the listening threads and only for questions whose servers have failed. Rows that are
//! found go back into the cache, as run out, so that each is read once.
//!
//! Failure: rows that cannot be written are written later; a row that does not check is dropped and counted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::{Resolver, Shared};
use crate::cache::persist::{Answers, Change, Stats};
use crate::dns::{Name, Question};
use crate::store::{AnswerRow, Changes, Durability, Ledger};

/// Time between two looks for what is to be written.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Rows in one transaction, and transactions in a row.
const ROWS_PER_WRITE_MAX: usize = 1000;
const WRITES_PER_TURN_MAX: usize = 4;
/// Time between two looks for rows that are too old for any use, in turns of the writer.
const EXPIRE_EVERY_TURNS: u64 = 600;
/// Look-ups at a time.
const READS_MAX: usize = 32;
/// How long a question waits at most while rows are being looked through after the start.
const RESTORE_WAIT: Duration = Duration::from_millis(2000);

/// The answers on disk, at work.
pub(super) struct Shelf {
    ledger: Arc<Ledger>,
    list: Answers,
    restored: watch::Sender<bool>,
    reads: Semaphore,
}

impl Shelf {
    fn new(shared: &Shared, ledger: Arc<Ledger>) -> Shelf {
        let stale = &shared.settings.stale;
        Shelf {
            ledger,
            list: Answers::new(stale.entries_max, stale.bytes_max, stale.age_max_s),
            restored: watch::Sender::new(false),
            reads: Semaphore::new(READS_MAX),
        }
    }
}

impl Shared {
    /// Whether something on disk may speak for the question.
    pub(super) fn is_on_disk(&self, question: &Question) -> bool {
        let shelf = self.shelf.get();
        shelf.is_some_and(|shelf| !shelf.list.keys_for(question).is_empty())
    }

    /// Puts what is on disk for the question into the cache, unless that knows something newer; true when something was found.
    pub(super) async fn recall(self: &Arc<Self>, question: &Question) -> bool {
        let Some(shelf) = self.shelf.get().cloned() else {
            return false;
        };
        let mut restored = shelf.restored.subscribe();
        // Not for ever: what is asked for may be read without the list.
        let _ = timeout(RESTORE_WAIT, restored.wait_for(|restored| *restored)).await;
        let keys = shelf.list.keys_for(question);
        if keys.is_empty() {
            return false;
        }
        let Ok(_place) = shelf.reads.acquire().await else {
            return false;
        };
        let shared = self.clone();
        let shelf = shelf.clone();
        let read = move || {
            let now = shared.clock.now();
            let mut found = false;
            for (name, rtype) in keys {
                let row = shelf
                    .ledger
                    .get::<AnswerRow>(&AnswerRow::key_of(&name, rtype.0));
                let kept = row.and_then(|row| shelf.list.admit(&row, now));
                found |= kept.is_some_and(|kept| shared.cache.restore(kept, now));
            }
            found
        };
        tokio::task::spawn_blocking(read).await.unwrap_or(false)
    }

    /// Forgets what answers questions for `name`, and with `tree` for everything below; returns how many rows go.
    pub(super) fn forget_on_disk(&self, name: &Name, tree: bool) -> usize {
        let Some(shelf) = self.shelf.get() else {
            return 0;
        };
        // What was learned before is forgotten, too.
        shelf.list.take(self.cache.take_notes(), self.clock.now());
        shelf.list.forget(name, tree)
    }

    /// Looks through all rows, so that it is known what is there.
    fn restore_answers(&self, shelf: &Shelf) {
        let now = self.clock.now();
        shelf
            .ledger
            .for_each(b"", |row: AnswerRow| shelf.list.restore(&row, now));
        let Stats { entries, .. } = shelf.list.stats();
        if entries > 0 {
            tracing::info!(entries, "answers of the last run are at hand for an outage");
        }
    }

    /// Reads what is there, then writes what is new, for as long as it is polled.
    async fn keep_shelf(self: &Arc<Self>, shelf: &Arc<Shelf>) {
        let (reader, from) = (self.clone(), shelf.clone());
        let _ = tokio::task::spawn_blocking(move || reader.restore_answers(&from)).await;
        shelf.list.end_restore();
        shelf.restored.send_replace(true);
        let mut turns: u64 = 0;
        loop {
            self.show_answers(shelf);
            sleep(WRITE_EVERY).await;
            turns += 1;
            let now = self.clock.now();
            if turns.is_multiple_of(EXPIRE_EVERY_TURNS) {
                shelf.list.expire(now);
            }
            shelf.list.take(self.cache.take_notes(), now);
            for _ in 0..WRITES_PER_TURN_MAX {
                if self.write_answers(shelf, false).await < ROWS_PER_WRITE_MAX {
                    break;
                }
            }
        }
    }

    /// Writes one transaction; says how many rows it had. Nothing counts as written that was not.
    async fn write_answers(self: &Arc<Self>, shelf: &Arc<Shelf>, all: bool) -> usize {
        let now = self.clock.now();
        let changes = shelf.list.changes(ROWS_PER_WRITE_MAX, all, now);
        if changes.is_empty() {
            return 0;
        }
        let to = shelf.clone();
        let write = move || {
            let put = |rows: Changes, change: &Change| match change {
                Change::Put(row) => rows.put(row),
                Change::Remove(name, rtype) => {
                    rows.remove::<AnswerRow>(AnswerRow::key_of(name, rtype.0))
                }
            };
            let rows = changes
                .iter()
                .map(|(change, _)| change)
                .fold(Changes::new(), put);
            let done = to.ledger.commit(rows, Durability::Soon);
            (changes, done)
        };
        match tokio::task::spawn_blocking(write).await {
            Ok((changes, Ok(()))) => {
                shelf.list.done(&changes, now);
                self.metrics.stale_writes_total.add(changes.len() as u64);
                changes.len()
            }
            Ok((_, Err(error))) => {
                tracing::warn!(%error, "answers could not be written; they are written later");
                0
            }
            Err(_) => 0,
        }
    }

    fn show_answers(&self, shelf: &Shelf) {
        let stats = shelf.list.stats();
        self.metrics.stale_disk_entries.set(stats.entries as u64);
        self.metrics.stale_disk_bytes.set(stats.disk_bytes as u64);
        self.metrics
            .stale_dropped_total
            .add(shelf.list.take_dropped());
    }
}

impl Resolver {
    /// Keeps the most used answers in the ledger, and finds them there again, for as long as it is polled.
    pub fn keep_answers(self, ledger: Arc<Ledger>) -> impl Future<Output = ()> + Send + use<> {
        let shared = self.0;
        let shelf = Arc::new(Shelf::new(&shared, ledger));
        // At once, as in `Resolver::keep_retained`.
        shelf.list.begin_restore();
        let is_first = shared.shelf.set(shelf.clone()).is_ok();
        if is_first {
            shared.cache.start_noting();
        }
        async move {
            if is_first {
                shared.keep_shelf(&shelf).await;
            }
        }
    }

    /// Writes everything that the ledger does not have yet. For the end.
    pub async fn save_answers(&self) {
        let Some(shelf) = self.0.shelf.get() else {
            return;
        };
        shelf
            .list
            .take(self.0.cache.take_notes(), self.0.clock.now());
        while self.0.write_answers(shelf, true).await > 0 {}
    }

    /// Answers on disk in numbers.
    pub fn answers_on_disk(&self) -> Stats {
        let shelf = self.0.shelf.get();
        shelf.map_or_else(Stats::default, |shelf| shelf.list.stats())
    }
}
