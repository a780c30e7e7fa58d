//! How far a verification has come, for who waits for it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the records that were looked at. Shared by the work, which counts, and who reads.
#[derive(Debug, Default)]
pub struct Pace {
    done: AtomicU64,
    /// All that there are; 0 = it has not begun.
    all: AtomicU64,
}

impl Pace {
    /// It begins, with so many records.
    pub(super) fn begin(&self, all: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.all.store(all, Ordering::Relaxed);
    }

    /// So many more were looked at.
    pub(super) fn add(&self, records: u64) {
        self.done.fetch_add(records, Ordering::Relaxed);
    }

    /// Records that were looked at.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// The part that is done, from 0 to 1; `None` before it begins.
    pub fn share(&self) -> Option<f64> {
        match self.all.load(Ordering::Relaxed) {
            0 => None,
            all => Some((self.done() as f64 / all as f64).min(1.0)),
        }
    }
}
