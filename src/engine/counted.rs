//! Which questions are asked, across restarts: read back at the start, written now and then and at the end.
//!
//! Failure: what cannot be written is written the next time; what does not check is dropped by the ledger. Only counts are lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::Clock;
use crate::dns::{Question, Rtype};
use crate::drill::names::{Counted, Names};
use crate::store::{Changes, CountedName, Durability, Ledger, NamesRow};

/// Time between two writes.
const WRITE_EVERY: Duration = Duration::from_secs(600);
/// Questions in one row.
const ROW_MAX: usize = 500;
/// Rows in one transaction.
const ROWS_PER_WRITE_MAX: u16 = 20;

/// The counts and where they are kept.
pub(super) struct Kept {
    names: Arc<Names>,
    ledger: Arc<Ledger>,
    clock: Clock,
    /// Rows in the ledger.
    rows: AtomicU16,
}

impl Kept {
    pub fn new(names: Arc<Names>, ledger: Arc<Ledger>, clock: Clock) -> Arc<Kept> {
        Arc::new(Kept {
            names,
            ledger,
            clock,
            rows: AtomicU16::new(0),
        })
    }

    /// Reads back, and writes now and then, for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        let reader = self.clone();
        let _ = tokio::task::spawn_blocking(move || reader.restore()).await;
        loop {
            sleep(WRITE_EVERY).await;
            self.clone().save().await;
        }
    }

    /// Writes all counts.
    pub async fn save(self: Arc<Self>) {
        let write = move || self.write();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            tracing::warn!(%error, "the counts of what is asked could not be written; they are written later");
        }
    }

    fn restore(&self) {
        let now_s = self.clock.now().wall_s;
        let mut rows = 0;
        self.ledger.for_each(b"", |row: NamesRow| {
            rows = rows.max(row.part.saturating_add(1));
            let time = Duration::from_secs(now_s.saturating_sub(row.at));
            let factor = Names::faded(time);
            let counted = |kept: CountedName| {
                Some(Counted {
                    question: Question::new(kept.name.parse().ok()?, Rtype(kept.rtype)),
                    count: kept.count * factor,
                    error: kept.error * factor,
                })
            };
            self.names.restore(row.list.into_iter().filter_map(counted));
        });
        self.rows.fetch_max(rows, Ordering::Relaxed);
    }

    fn write(&self) -> Result<(), crate::store::StoreError> {
        let at = self.clock.now().wall_s;
        let all = self.names.all();
        let mut changes = Changes::new();
        let mut rows = 0;
        for (part, some) in (0..u16::MAX).zip(all.chunks(ROW_MAX)) {
            let kept = |c: &Counted| CountedName {
                name: c.question.name.to_string(),
                rtype: c.question.rtype.0,
                count: c.count,
                error: c.error,
            };
            let list = some.iter().map(kept).collect();
            changes = changes.put(&NamesRow { part, at, list });
            rows = part + 1;
            if rows.is_multiple_of(ROWS_PER_WRITE_MAX) {
                let full = std::mem::take(&mut changes);
                self.ledger.commit(full, Durability::Soon)?;
            }
        }
        for part in rows..self.rows.swap(rows, Ordering::Relaxed) {
            changes = changes.remove::<NamesRow>(NamesRow::key_of(part));
        }
        self.ledger.commit(changes, Durability::Soon)
    }
}
