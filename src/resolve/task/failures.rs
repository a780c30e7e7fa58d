//! Failures are remembered too (RFC 9520).
//!
//! Why: when an operator's servers vanish, the same questions come ten times as often. Each failed question is answered
//! from here for a while: 5 s at first, doubling to 60 s while it goes on failing (RFC 9520 section 3.2
//! wants at least 1 s and at most 5 minutes). When reachability changes, all is forgotten at once; when a zone whose servers were
//! all silent is heard again, what failed for that.
//!
//! Failure: a full table takes nothing new until something in it has run out; bounded in entries and in bytes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cache::account::{block_bytes, table_bytes};
use crate::cache::entry::Expiry;
use crate::clock::Now;
use crate::dns::{Ede, Name, Question};
use crate::resolve::Security;
use crate::resolve::delegation::TableStats;

const FIRST_S: u32 = 5;
const LONGEST_S: u32 = 60;
/// Where the servers are all silent the zone is looked for, not each of its names; so to ask again costs nothing.
const SILENT_S: u32 = 2;
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
    /// The zone that it failed at, where all of its servers are silent.
    pub silent: Option<Name>,
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
pub(super) struct Failures {
    table: Mutex<Table>,
    /// Zones with silent servers in it, so that nobody takes the lock where there are none.
    silent: AtomicUsize,
}

#[derive(Default)]
struct Table {
    rows: HashMap<FailureKey, Remembered>,
    bytes: usize,
    /// Zones with silent servers, and how many questions failed at them.
    silent: HashMap<Name, usize>,
    /// When all was forgotten, on the monotonic clock.
    forgotten_at: Duration,
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

    /// The question failed, after work that began at `began` of the monotonic clock. What was begun before all was forgotten is
    /// news of yesterday.
    pub fn remember(&self, key: FailureKey, failed: Failed, began: Duration, now: Now) {
        let mut table = self.table();
        if began < table.forgotten_at {
            return;
        }
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
        let stands_s = match failed.silent {
            Some(_) => SILENT_S,
            None => (FIRST_S << times.min(8)).min(LONGEST_S),
        };
        let remembered = Remembered {
            failed,
            times,
            until: Expiry::after(now, stands_s),
            row_until: Expiry::after(now, stands_s + LONGEST_S),
        };
        table.bytes += size;
        if let Some(zone) = &remembered.failed.silent {
            *table.silent.entry(zone.clone()).or_default() += 1;
        }
        table.rows.insert(key, remembered);
        self.count_silent(&table);
    }

    /// The question was answered after all.
    pub fn clear(&self, key: &FailureKey) {
        let mut table = self.table();
        table.remove(key);
        self.count_silent(&table);
    }

    /// A server of the zone has said something of use: what failed because all of them were silent is asked again.
    pub fn heard(&self, zone: &Name) {
        if self.silent.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut table = self.table();
        if table.silent.contains_key(zone) {
            table.retain(|_, r| r.failed.silent.as_ref() != Some(zone));
            self.count_silent(&table);
        }
    }

    fn count_silent(&self, table: &Table) {
        self.silent.store(table.silent.len(), Ordering::Relaxed);
    }

    /// Forgets every failure.
    pub fn forget_all(&self, now: Now) {
        let mut table = self.table();
        *table = Table {
            forgotten_at: now.mono,
            ..Table::default()
        };
        self.count_silent(&table);
    }

    /// Forgets the failures at `name`, and with `tree` below it; returns how many.
    pub fn forget(&self, name: &Name, tree: bool) -> usize {
        let mut table = self.table();
        let before = table.rows.len();
        table.retain(|(question, _), _| {
            let own = &question.name;
            !(own == name || tree && own.is_within(name))
        });
        self.count_silent(&table);
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
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn is_full(&self, more_bytes: usize) -> bool {
        self.rows.len() >= FAILURES_MAX || self.bytes + more_bytes > FAILURES_BYTES_MAX
    }

    fn remove(&mut self, key: &FailureKey) -> Option<Remembered> {
        let removed = self.rows.remove(key)?;
        self.bytes -= weight(key, &removed.failed);
        drop_silent(&mut self.silent, &removed.failed);
        Some(removed)
    }

    fn retain(&mut self, keep: impl Fn(&FailureKey, &Remembered) -> bool) {
        let (bytes, silent) = (&mut self.bytes, &mut self.silent);
        self.rows.retain(|key, row| {
            let kept = keep(key, row);
            if !kept {
                *bytes -= weight(key, &row.failed);
                drop_silent(silent, &row.failed);
            }
            kept
        });
    }
}

/// One failure less at a zone with silent servers.
fn drop_silent(silent: &mut HashMap<Name, usize>, failed: &Failed) {
    if let Some(zone) = &failed.silent
        && let Some(count) = silent.get_mut(zone)
    {
        *count -= 1;
        if *count == 0 {
            silent.remove(zone);
        }
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
            silent: None,
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
            failures.remember(key("."), failed(""), Duration::ZERO, at(now_ms));
            let end_ms = now_ms + stands_s * 1000;
            assert!(failures.find(&key("."), at(end_ms - 1000)).is_some());
            assert!(failures.find(&key("."), at(end_ms)).is_none(), "{stands_s}");
            now_ms = end_ms;
        }
        // A clock that is set forward ends them too.
        failures.remember(key("."), failed(""), Duration::ZERO, at(now_ms));
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
                failures.remember(key(n), failed("why"), Duration::ZERO, at(0));
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
                failures.remember(key(&format!("n{n}.")), failed(text), Duration::ZERO, at(0));
            }
            let entries = failures.stats().entries;
            assert!(entries <= most && entries > most * 9 / 10, "{entries}");
            // What has run out makes room.
            failures.remember(key("new."), failed(text), Duration::ZERO, at(10_000));
            assert!(failures.find(&key("new."), at(10_000)).is_some());
            failures.forget_all(at(10_000));
            assert_eq!(failures.table().bytes, 0);
        }
    }

    #[test]
    fn what_failed_for_silence_is_forgotten_with_the_silence() {
        let failures = Failures::default();
        let silent = |zone: &str| Failed {
            silent: Some(zone.parse().unwrap()),
            ..failed("silent")
        };
        for (question, zone) in [("x.a.", "a."), ("y.a.", "a."), ("z.b.", "b.")] {
            failures.remember(key(question), silent(zone), Duration::ZERO, at(0));
        }
        failures.remember(key("other.a."), failed("lame"), Duration::ZERO, at(0));
        failures.heard(&"a.".parse().unwrap());
        let stands = |question: &str| failures.find(&key(question), at(1)).is_some();
        let found = ["x.a.", "y.a.", "z.b.", "other.a."].map(stands);
        assert_eq!(found, [false, false, true, true]);
        failures.clear(&key("z.b."));
        assert_eq!(failures.silent.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn work_that_began_before_all_was_forgotten_leaves_nothing() {
        let failures = Failures::default();
        failures.forget_all(at(5000));
        let began = Duration::from_millis(4999);
        failures.remember(key("a."), failed("late"), began, at(6000));
        assert!(failures.find(&key("a."), at(6000)).is_none());
        failures.remember(key("a."), failed("late"), at(5000).mono, at(6000));
        assert!(failures.find(&key("a."), at(6000)).is_some());
    }
}
