//! Failures are remembered too (RFC 9520).
//!
//! Why: when an operator's servers vanish, the same questions come ten times as often. Each failed question is answered
//! from here for a while: 5 s at first, doubling to 60 s while it goes on failing (RFC 9520 section 3.2
//! wants at least 1 s and at most 5 minutes). When reachability changes, all is forgotten at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::dns::{Ede, Question};
use crate::resolve::Security;

const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(60);
/// Failures remembered.
const FAILURES_MAX: usize = 50_000;
/// Time between two sweeps of a full table.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A failed resolution.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub security: Security,
    pub errors: Vec<Ede>,
}

struct Remembered {
    failed: Failed,
    times: u32,
    until: Duration,
}

/// Question, and whether checking was disabled.
pub(super) type FailureKey = (Question, bool);

/// The table of failures.
#[derive(Default)]
pub(super) struct Failures(Mutex<Table>);

#[derive(Default)]
struct Table {
    rows: HashMap<FailureKey, Remembered>,
    /// Not before this is a full table looked through again.
    sweep_at: Duration,
}

impl Failures {
    /// The failure that still stands for this question.
    pub fn find(&self, key: &FailureKey, now: Duration) -> Option<Failed> {
        let table = self.table();
        let found = table.rows.get(key).filter(|r| r.until > now)?;
        Some(found.failed.clone())
    }

    /// The question failed.
    pub fn remember(&self, key: FailureKey, failed: Failed, now: Duration) {
        let mut table = self.table();
        if table.rows.len() >= FAILURES_MAX && !table.rows.contains_key(&key) {
            // Every question waits for this lock, so a flood must not make each failure a sweep.
            if now < table.sweep_at {
                return;
            }
            table.sweep_at = now + SWEEP_EVERY;
            table.rows.retain(|_, r| r.until > now);
            if table.rows.len() >= FAILURES_MAX {
                return;
            }
        }
        // A question that was left alone for long starts anew.
        let before = table.rows.get(&key).filter(|r| r.until + LONGEST > now);
        let times = before.map_or(0, |r| r.times + 1);
        let time = (FIRST * (1 << times.min(8))).min(LONGEST);
        let until = now + time;
        table.rows.insert(
            key,
            Remembered {
                failed,
                times,
                until,
            },
        );
    }

    /// The question was answered after all.
    pub fn clear(&self, key: &FailureKey) {
        self.table().rows.remove(key);
    }

    /// Forgets every failure.
    pub fn forget(&self) {
        self.table().rows.clear();
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Name, Rtype};

    #[test]
    fn failures_stand_longer_each_time_up_to_a_minute() {
        let failures = Failures::default();
        let key = (Question::new(Name::root(), Rtype::A), false);
        let mut now = Duration::ZERO;
        for stands_s in [5, 10, 20, 40, 60, 60] {
            let failed = Failed {
                security: Security::Insecure,
                errors: Vec::new(),
            };
            failures.remember(key.clone(), failed, now);
            let end = now + Duration::from_secs(stands_s);
            let almost = end - Duration::from_millis(1);
            assert!(failures.find(&key, almost).is_some(), "{stands_s}");
            assert!(failures.find(&key, end).is_none(), "{stands_s}");
            now = end;
        }
    }
}
