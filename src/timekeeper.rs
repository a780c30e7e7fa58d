//! Keeps the floor under the clock on disk, and tells when it is in force.
//!
//! Why: see [`crate::clock::floor`]. What the floor is: the time that was last written, and the newest inception of a
//! signature that was fully validated. Both are written every [`PERSIST_INTERVAL_S`] and at the stop. With
//! `lab.clock_file` there is no keeper: a laboratory's time must not bound the machine's.
//!
//! Failure: a floor that cannot be read is no floor; one that cannot be written is logged and tried again. A floor that
//! a clock has left behind that once ran ahead is in force until the operator clears it (`holdfast clock reset`),
//! because it looks just like a clock that is behind now.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, format_utc};
use crate::metrics::Metrics;
use crate::store::{Changes, ClockRow, Durability, Ledger, StoreError};

/// How often the floor is written, in seconds. Not at once after a start: a clock that NTP is about to set back would
/// leave its mark.
pub const PERSIST_INTERVAL_S: u64 = 600;
/// How often it is looked whether the floor is in force, in seconds.
const LOOK_INTERVAL_S: u64 = 10;

/// The floor on disk.
pub struct Timekeeper {
    clock: Clock,
    ledger: Arc<Ledger>,
    metrics: Arc<Metrics>,
}

impl Timekeeper {
    /// Puts the stored floor under the clock. Call before anything is judged by the time.
    pub fn start(clock: Clock, ledger: Arc<Ledger>, metrics: Arc<Metrics>) -> Timekeeper {
        if let Some(row) = ledger.get::<ClockRow>(ClockRow::KEY) {
            clock.note_proven(row.proven_at);
            clock.raise_floor(row.time_at.max(row.proven_at));
        }
        let keeper = Timekeeper {
            clock,
            ledger,
            metrics,
        };
        keeper.tell(false);
        keeper
    }

    /// Runs until the task is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut was_held = self.clock.is_held();
        let mut persist_at = self.clock.now().mono + Duration::from_secs(PERSIST_INTERVAL_S);
        loop {
            tokio::time::sleep(Duration::from_secs(LOOK_INTERVAL_S)).await;
            was_held = self.tell(was_held);
            if self.clock.now().mono < persist_at {
                continue;
            }
            persist_at = self.clock.now().mono + Duration::from_secs(PERSIST_INTERVAL_S);
            let keeper = self.clone();
            let _ = tokio::task::spawn_blocking(move || keeper.persist(Durability::Soon)).await;
        }
    }

    /// Writes the floor, and raises it to the present.
    pub fn persist(&self, durability: Durability) {
        let row = ClockRow {
            time_at: self.clock.now().wall_s,
            proven_at: self.clock.proven_s().unwrap_or(0),
        };
        match self.ledger.commit(Changes::new().put(&row), durability) {
            Ok(()) => drop(self.clock.raise_floor(row.time_at)),
            Err(error) => tracing::warn!(%error, "the floor under the clock could not be written"),
        }
    }

    /// Forgets the floor, here and on disk; returns what it was.
    ///
    /// # Errors
    /// The ledger failed: the floor would come back with the next start.
    pub fn reset(&self) -> Result<Option<u64>, StoreError> {
        let was = self.clock.floor_s();
        clear(&self.ledger)?;
        self.clock.clear_floor();
        match was {
            Some(floor_s) => tracing::warn!(
                floor = format_utc(floor_s),
                "the floor under the clock was cleared by the operator"
            ),
            None => tracing::info!("clock reset: there was no floor under the clock to clear"),
        }
        Ok(was)
    }

    /// Says and shows whether the floor is in force; returns it.
    fn tell(&self, was_held: bool) -> bool {
        let held = self.clock.is_held();
        self.metrics.clock_floor_in_force.set(held.into());
        let now = format_utc(self.clock.now().wall_s);
        match (was_held, held) {
            (false, true) => tracing::error!(
                floor = self.clock.floor_s().map(format_utc),
                now,
                "the system's clock stands before the last known time, which is used instead: set the system's clock; \
                 if it is right and once ran ahead: holdfast clock reset"
            ),
            (true, false) => tracing::warn!(now, "the system's clock is followed again"),
            _ => {}
        }
        held
    }
}

/// Clears the floor of a server that does not run; returns what it was.
///
/// # Errors
/// A server runs there after all, or the ledger cannot be written.
pub fn reset_stopped(data_dir: &Path) -> Result<Option<u64>, StoreError> {
    let (ledger, _) = Ledger::open(data_dir, Arc::new(Metrics::default()))?;
    let row: Option<ClockRow> = ledger.get(ClockRow::KEY);
    clear(&ledger)?;
    Ok(row.map(|row| row.time_at.max(row.proven_at)))
}

fn clear(ledger: &Ledger) -> Result<(), StoreError> {
    let row = ClockRow::KEY.to_vec();
    ledger.commit(Changes::new().remove::<ClockRow>(row), Durability::Synced)
}
