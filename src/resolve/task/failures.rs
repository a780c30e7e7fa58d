//! Failures are remembered too (RFC 9520).
//!
//! Why: when an operator's servers vanish, the same questions come ten times as often. Each failed question is answered
//! from here for a while: 5 s at first, doubling to 60 s while it goes on failing (RFC 9520 section 3.2
//! wants at least 1 s and at most 5 minutes). When reachability changes, all is forgotten at once.
//!
//! Failure: a full table takes nothing new until something in it has run out; bounded in entries and in bytes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cache::account::{block_bytes, table_bytes};
use crate::cache::entry::Expiry;
use crate::clock::Now;
use crate::dns::{Ede, Name, Question};
use crate::resolve::Security;
use crate::resolve::delegation::TableStats;

const FIRST_S: u32 = 5;
const LONGEST_S: u32 = 60;
/// Failures remembered.
const FAILURES_MAX: usize = 50_000;
/// Bytes of their names and reasons: servers decide how long a reason is.
const FAILURES_BYTES_MAX: usize = 32 << 20;
/// Time between two sweeps of a full table, in seconds.
const SWEEP_EVERY_S: u32 = 1;

/// A failed resolution.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub security: Security,
    pub errors: Vec<Ede>,
}

struct Remembered {
    failed: Failed,
    times: u32,
    until: Expiry,
    /// Until then the next failure counts as another in a row.
    row_until: Expiry,
}

/// Question, and whether checking was disabled.
pub(super) type FailureKey = (Question, bool);

/// The table of failures.
#[derive(Default)]
pub(super) struct Failures(Mutex<Table>);

#[derive(Default)]
struct Table {
    rows: HashMap<FailureKey, Remembered>,
    bytes: usize,
    /// Before this runs out a full table is not looked through again.
    swept: Option<Expiry>,
}

impl Failures {
    /// The failure that still stands for this question.
    pub fn find(&self, key: &FailureKey, now: Now) -> Option<Failed> {
        let table = self.table();
        let found = table.rows.get(key).filter(|r| r.until.is_live(now))?;
        Some(found.failed.clone())
    }

    /// The question failed.
    pub fn remember(&self, key: FailureKey, failed: Failed, now: Now) {
        let mut table = self.table();
        let before = table.remove(&key);
        let size = weight(&key, &failed);
        if table.is_full(size) {
            // Every question waits for this lock, so a flood must not make each failure a sweep.
            if table.swept.is_some_and(|s| s.is_live(now)) {
                return;
            }
            table.swept = Some(Expiry::after(now, SWEEP_EVERY_S));
            table.retain(|_, r| r.until.is_live(now));
            if table.is_full(size) {
                return;
            }
        }
        // A question that was left alone for long starts anew.
        let in_a_row = before.filter(|r| r.row_until.is_live(now));
        let times = in_a_row.map_or(0, |r| r.times + 1);
        let stands_s = (FIRST_S << times.min(8)).min(LONGEST_S);
        let remembered = Remembered {
            failed,
            times,
            until: Expiry::after(now, stands_s),
            row_until: Expiry::after(now, stands_s + LONGEST_S),
        };
        table.bytes += size;
        table.rows.insert(key, remembered);
    }

    /// The question was answered after all.
    pub fn clear(&self, key: &FailureKey) {
        self.table().remove(key);
    }

    /// Forgets every failure.
    pub fn forget_all(&self) {
        *self.table() = Table::default();
    }

    /// Forgets the failures at `name`, and with `tree` below it; returns how many.
    pub fn forget(&self, name: &Name, tree: bool) -> usize {
        let mut table = self.table();
        let before = table.rows.len();
        table.retain(|(question, _), _| {
            let own = &question.name;
            !(own == name || tree && own.is_within(name))
        });
        before - table.rows.len()
    }

    /// The table in numbers.
    pub fn stats(&self) -> TableStats {
        let table = self.table();
        let row = size_of::<(FailureKey, Remembered)>();
        TableStats {
            entries: table.rows.len(),
            bytes: table.bytes + table_bytes(table.rows.capacity(), row),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn is_full(&self, more_bytes: usize) -> bool {
        self.rows.len() >= FAILURES_MAX || self.bytes + more_bytes > FAILURES_BYTES_MAX
    }

    fn remove(&mut self, key: &FailureKey) -> Option<Remembered> {
        let removed = self.rows.remove(key)?;
        self.bytes -= weight(key, &removed.failed);
        Some(removed)
    }

    fn retain(&mut self, keep: impl Fn(&FailureKey, &Remembered) -> bool) {
        let bytes = &mut self.bytes;
        self.rows.retain(|key, row| {
            let kept = keep(key, row);
            if !kept {
                *bytes -= weight(key, &row.failed);
            }
            kept
        });
    }
}

/// Bytes of one row beside its place in the table.
fn weight(key: &FailureKey, failed: &Failed) -> usize {
    let text = |e: &Ede| block_bytes(e.text.len());
    let own = match &failed.security {
        Security::Bogus(ede) => text(ede),
        _ => 0,
    };
    let errors = block_bytes(failed.errors.len() * size_of::<Ede>());
    block_bytes(key.0.name.wire().len())
        + own
        + errors
        + failed.errors.iter().map(text).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Rtype;
    use std::time::Duration;

    fn at(ms: u64) -> Now {
        Now::new(Duration::from_millis(ms), 1_000_000 + ms / 1000)
    }

    fn failed(text: &str) -> Failed {
        Failed {
            security: Security::Insecure,
            errors: vec![Ede::new(Ede::OTHER, text)],
        }
    }

    fn key(name: &str) -> FailureKey {
        (Question::new(name.parse().unwrap(), Rtype::A), false)
    }

    /// RFC 9520 section 3.2.
    #[test]
    fn failures_stand_longer_each_time_up_to_a_minute() {
        let failures = Failures::default();
        let mut now_ms = 0;
        for stands_s in [5, 10, 20, 40, 60, 60] {
            failures.remember(key("."), failed(""), at(now_ms));
            let end_ms = now_ms + stands_s * 1000;
            assert!(failures.find(&key("."), at(end_ms - 1000)).is_some());
            assert!(failures.find(&key("."), at(end_ms)).is_none(), "{stands_s}");
            now_ms = end_ms;
        }
        // A clock that is set forward ends them too.
        failures.remember(key("."), failed(""), at(now_ms));
        let later = Now::new(at(now_ms).mono, at(now_ms).wall_s + 60);
        assert!(failures.find(&key("."), later).is_none());
    }

    #[test]
    fn failures_are_forgotten_by_name() {
        for (name, tree, gone) in [
            ("a.", false, 1),
            ("a.", true, 2),
            (".", true, 3),
            ("x.", true, 0),
        ] {
            let failures = Failures::default();
            for n in ["a.", "b.a.", "c."] {
                failures.remember(key(n), failed("why"), at(0));
            }
            assert_eq!(
                failures.forget(&name.parse().unwrap(), tree),
                gone,
                "{name}"
            );
            assert_eq!(failures.stats().entries, 3 - gone);
        }
    }

    #[test]
    fn the_table_is_bounded_in_entries_and_bytes() {
        let long = "x".repeat(2000);
        for (text, most) in [("", FAILURES_MAX), (&long, FAILURES_BYTES_MAX / 2000)] {
            let failures = Failures::default();
            for n in 0..FAILURES_MAX + 100 {
                failures.remember(key(&format!("n{n}.")), failed(text), at(0));
            }
            let entries = failures.stats().entries;
            assert!(entries <= most && entries > most * 9 / 10, "{entries}");
            // What has run out makes room.
            failures.remember(key("new."), failed(text), at(10_000));
            assert!(failures.find(&key("new."), at(10_000)).is_some());
            failures.forget_all();
            assert_eq!(failures.table().bytes, 0);
        }
    }
}
