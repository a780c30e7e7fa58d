//! The list of answers on disk, against a disk that is a map.

use std::time::Duration;

use super::*;
use crate::cache::entry::Security;
use crate::cache::{Cache, Occasion};
use crate::dns::{RrSet, group};
use crate::signer::{name, rrs};

const DAY_S: u64 = 86_400;
const AGE_MAX_S: u64 = 3 * DAY_S;

fn at(s: u64) -> Now {
    Now::new(Duration::from_secs(s), 1_000_000 + s)
}

fn q(name: &str, rtype: Rtype) -> Question {
    Question::new(name.parse().unwrap(), rtype)
}

fn entry(answer: &str, security: Security) -> Entry {
    let answer: Vec<RrSet> = group(&rrs(answer));
    Entry {
        rcode: crate::dns::Rcode::NOERROR,
        answer,
        authority: Vec::new(),
        security,
        errors: Vec::new(),
    }
}

fn denial(security: Security) -> Entry {
    Entry {
        rcode: crate::dns::Rcode::NXDOMAIN,
        ..entry("", security)
    }
}

/// A cache, the list, and the disk.
struct Site {
    cache: Cache,
    list: Answers,
    disk: BTreeMap<(Name, Rtype), AnswerRow>,
    written: usize,
}

impl Site {
    fn new(entries_max: usize) -> Site {
        let cache = Cache::new(4 << 20, Default::default()).keeping_stale(AGE_MAX_S);
        cache.start_noting();
        Site {
            cache,
            list: Answers::new(entries_max, 64 << 20, AGE_MAX_S),
            disk: BTreeMap::new(),
            written: 0,
        }
    }

    fn put(&self, question: &Question, entry: &Entry, now: Now) {
        self.cache.put(question, entry, 60, Occasion::Question, now);
    }

    /// Learned, and asked for again.
    fn learn(&self, owner: &str, address: u8, now: Now) {
        let question = q(owner, Rtype::A);
        let lines = format!("{owner} 60 A 192.0.2.{address}");
        self.put(&question, &entry(&lines, Security::Secure), now);
        self.cache.find(&question, now);
    }

    /// One turn of the writer.
    fn turn(&mut self, now: Now) {
        self.list.take(self.cache.take_notes(), now);
        let changes = self.list.changes(usize::MAX, false, now);
        for (change, _) in &changes {
            self.written += 1;
            match change {
                Change::Put(row) => {
                    let key = (row.name.clone(), Rtype(row.rtype));
                    self.disk.insert(key, row.clone());
                }
                Change::Remove(name, rtype) => drop(self.disk.remove(&(name.clone(), *rtype))),
            }
        }
        self.list.done(&changes, now);
    }

    /// What is on disk, as `NAME TYPE`.
    fn on_disk(&self) -> Vec<String> {
        self.disk
            .keys()
            .map(|(name, rtype)| format!("{name} {}", rtype.0))
            .collect()
    }

    /// The same disk after a restart.
    fn restarted(&self, now: Now) -> Site {
        let site = Site {
            disk: self.disk.clone(),
            ..Site::new(self.list.entries_max)
        };
        site.list.begin_restore();
        site.disk
            .values()
            .for_each(|row| site.list.restore(row, now));
        site.list.end_restore();
        site
    }

    /// The address that is found as run out, from the disk.
    fn recalled(&self, owner: &str, now: Now) -> Option<String> {
        let question = q(owner, Rtype::A);
        for key in self.list.keys_for(&question) {
            if let Some(kept) = self
                .disk
                .get(&key)
                .and_then(|row| self.list.admit(row, now))
            {
                self.cache.restore(kept, now);
            }
        }
        let stale = self.cache.find_stale(&question, now, |_| true)?;
        let set = stale.entry.answer.last();
        Some(set.map_or("denied".into(), |set| format!("{:?}", set.rdatas[0])))
    }
}

#[test]
fn what_is_used_is_written_and_found_again() {
    let mut site = Site::new(100);
    site.learn("www.test.", 1, at(0));
    site.put(
        &q("once.test.", Rtype::A),
        &entry("once.test. 60 A 192.0.2.2", Security::Insecure),
        at(0),
    );
    site.put(&q("none.test.", Rtype::A), &denial(Security::Secure), at(0));
    site.turn(at(1));
    assert_eq!(site.on_disk(), ["www.test. 1"]);
    // What was asked for once has to wait; a denial that nobody asks for again is not worth it.
    site.turn(at(6));
    assert_eq!(site.on_disk(), ["once.test. 1", "www.test. 1"]);
    site.cache.find(&q("none.test.", Rtype::MX), at(6));
    site.turn(at(6));
    assert_eq!(site.on_disk().len(), 3);
    // Three hours later, and a new process, whose monotonic clock begins anew.
    let now = Now::new(Duration::from_secs(1), 1_000_000 + 3 * 3600);
    let site = site.restarted(now);
    assert_eq!(site.list.stats().entries, 3);
    assert_eq!(
        site.recalled("www.test.", now).as_deref(),
        Some("[192, 0, 2, 1]")
    );
    assert_eq!(site.recalled("x.www.test.", now), None);
    assert_eq!(site.recalled("none.test.", now).as_deref(), Some("denied"));
    let stale = site
        .cache
        .find_stale(&q("www.test.", Rtype::A), now, |_| true);
    assert_eq!(stale.unwrap().ran_out_s, 3 * 3600 - 60);
    // Never as living data.
    assert!(site.cache.find(&q("www.test.", Rtype::A), now).is_none());
}

#[test]
fn the_same_answer_is_written_once_an_hour_and_another_at_once() {
    let mut site = Site::new(100);
    for minute in 0..59 {
        site.learn("www.test.", 1, at(minute * 60));
        site.turn(at(minute * 60 + 1));
    }
    assert_eq!(site.written, 1);
    site.learn("www.test.", 1, at(3601));
    site.turn(at(3602));
    assert_eq!(site.written, 2);
    site.learn("www.test.", 2, at(3662));
    site.turn(at(3663));
    assert_eq!(site.written, 3);
    assert_eq!(
        site.restarted(at(3663))
            .recalled("www.test.", at(3800))
            .as_deref(),
        Some("[192, 0, 2, 2]")
    );
    // The order of records says nothing.
    let two = |a: u8, b: u8| {
        let lines = format!("two.test. 60 A 192.0.2.{a}\ntwo.test. 60 A 192.0.2.{b}");
        entry(&lines, Security::Insecure)
    };
    for (n, set) in [two(1, 2), two(2, 1)].into_iter().enumerate() {
        let now = at(4000 + 60 * n as u64);
        site.put(&q("two.test.", Rtype::A), &set, now);
        site.cache.find(&q("two.test.", Rtype::A), now);
        site.turn(now);
    }
    assert_eq!(site.written, 4);
}

#[test]
fn what_is_newer_takes_the_place_of_what_it_makes_untrue() {
    let fill = || {
        let mut site = Site::new(100);
        for owner in ["www.test.", "x.www.test.", "y.test."] {
            site.learn(owner, 1, at(0));
        }
        let question = q("www.test.", Rtype::MX);
        site.put(
            &question,
            &entry("www.test. 60 MX 1 m.test.", Security::Secure),
            at(0),
        );
        site.cache.find(&question, at(0));
        site.turn(at(1));
        assert_eq!(site.on_disk().len(), 4);
        site
    };
    let alias = entry("www.test. 60 CNAME a.test.", Security::Secure);
    let other = entry("www.test. 60 AAAA 2001:db8::1", Security::Secure);
    for (question, new, left) in [
        // Nobody asks for it again, and yet it ends all types, and with proof all below.
        (
            q("www.test.", Rtype::A),
            denial(Security::Secure),
            vec!["www.test. 0", "y.test. 1"],
        ),
        (
            q("www.test.", Rtype::A),
            denial(Security::Insecure),
            vec!["www.test. 0", "x.www.test. 1", "y.test. 1"],
        ),
        (
            q("www.test.", Rtype::A),
            alias,
            vec!["www.test. 5", "x.www.test. 1", "y.test. 1"],
        ),
        (
            q("www.test.", Rtype::AAAA),
            other,
            vec![
                "www.test. 1",
                "www.test. 15",
                "www.test. 28",
                "x.www.test. 1",
                "y.test. 1",
            ],
        ),
    ] {
        let mut site = fill();
        site.put(&question, &new, at(70));
        site.turn(at(71));
        site.turn(at(80));
        let mut found = site.on_disk();
        found.sort_by_key(|line| {
            let (owner, rtype) = line.split_once(' ').unwrap();
            (name(owner), rtype.parse::<u16>().unwrap())
        });
        let mut left: Vec<String> = left.into_iter().map(Into::into).collect();
        left.sort_by_key(|line| {
            let (owner, rtype) = line.split_once(' ').unwrap();
            (name(owner), rtype.parse::<u16>().unwrap())
        });
        assert_eq!(found, left, "{question}");
    }
    // RFC 8767 section 4: data with a TTL of 0 is of no use, and what it replaced is of none.
    let mut site = fill();
    let question = q("www.test.", Rtype::A);
    let zero = entry("www.test. 0 A 192.0.2.9", Security::Secure);
    site.cache
        .put(&question, &zero, 0, Occasion::Question, at(70));
    site.turn(at(71));
    assert!(!site.on_disk().contains(&"www.test. 1".to_owned()));
}

#[test]
fn a_full_list_forgets_the_least_used() {
    let mut site = Site::new(80);
    for n in 0..80 {
        let owner = format!("n{n}.test.");
        site.learn(&owner, 1, at(n));
        site.turn(at(n));
        // The first ones are asked for again and again: each time they run out.
        if n < 10 {
            for round in 1..5 {
                site.learn(&owner, round as u8, at(n + 100 * round));
                site.turn(at(n + 100 * round));
            }
        }
    }
    assert_eq!(site.list.stats().entries, 80);
    site.learn("new.test.", 1, at(600));
    site.turn(at(600));
    site.turn(at(601));
    let entries = site.list.stats().entries;
    assert!((60..80).contains(&entries), "{entries}");
    assert_eq!(site.disk.len(), entries);
    for n in 0..10 {
        assert!(site.on_disk().contains(&format!("n{n}.test. 1")), "{n}");
    }
}

#[test]
fn what_is_flushed_goes_from_the_disk_also_while_it_is_being_read() {
    let fill = || {
        let mut site = Site::new(100);
        for owner in ["www.test.", "x.www.test.", "y.test."] {
            site.learn(owner, 1, at(0));
        }
        site.turn(at(1));
        site
    };
    for (of, tree, left) in [
        ("www.test.", false, 2),
        ("www.test.", true, 1),
        (".", true, 0),
        ("z.", true, 3),
    ] {
        let mut site = fill();
        assert_eq!(site.list.forget(&name(of), tree), 3 - left);
        site.turn(at(2));
        assert_eq!(site.disk.len(), left, "{of}");

        let from = fill();
        let mut site = Site {
            disk: from.disk.clone(),
            ..Site::new(100)
        };
        site.list.begin_restore();
        site.list.forget(&name(of), tree);
        site.disk
            .values()
            .for_each(|row| site.list.restore(row, at(2)));
        site.list.end_restore();
        site.turn(at(3));
        assert_eq!(site.disk.len(), left, "{of}");
    }
}

#[test]
fn rows_that_are_unsound_too_old_or_from_the_future_are_not_used() {
    let mut site = Site::new(100);
    site.learn("www.test.", 1, at(0));
    site.turn(at(1));
    let row = site.disk.values().next().unwrap().clone();
    let site = Site::new(100);
    let good = at(100);
    assert!(site.list.admit(&row, good).is_some());
    let wall = |wall_s: u64| Now::new(Duration::from_secs(1), wall_s);
    for (now, used) in [
        (wall(row.ran_out_at + AGE_MAX_S - 1), true),
        (wall(row.ran_out_at + AGE_MAX_S), false),
        // A clock that was set back a little.
        (wall(row.stored_at - 300), true),
        (wall(row.stored_at - 301), false),
        (wall(0), false),
    ] {
        assert_eq!(site.list.admit(&row, now).is_some(), used, "{now:?}");
    }
    let change = |change: &dyn Fn(&mut AnswerRow)| {
        let mut row = row.clone();
        change(&mut row);
        site.list.admit(&row, good).is_some()
    };
    assert!(!change(&|row| row.name = name("other.test.")));
    assert!(!change(&|row| row.rtype = 28));
    assert!(!change(&|row| row.rtype = 0));
    assert!(!change(&|row| row.ran_out_at += 1));
    assert!(!change(&|row| row.packed.truncate(20)));
    assert!(!change(&|row| row.packed.clear()));
    // SERVFAIL is no answer.
    assert!(!change(&|row| row.packed[6] = 2));
    // What is unsound leaves the disk, counted.
    let mut row = row.clone();
    row.packed.truncate(30);
    site.list.restore(&row, good);
    assert_eq!(site.list.take_dropped(), 1);
    let changes = site.list.changes(10, false, good);
    assert!(matches!(&changes[..], [(Change::Remove(..), None)]));
}

#[test]
fn a_change_that_the_disk_does_not_take_is_kept_and_hides_the_old_row() {
    let mut site = Site::new(100);
    site.learn("www.test.", 1, at(0));
    site.turn(at(1));
    site.learn("www.test.", 2, at(70));
    site.list.take(site.cache.take_notes(), at(71));
    // Not settled: the disk was full.
    assert_eq!(site.list.changes(10, false, at(71)).len(), 1);
    assert!(
        !site
            .list
            .keys_for(&q("www.test.", Rtype::A))
            .contains(&(name("www.test."), Rtype::A))
    );
    site.turn(at(72));
    let restarted = site.restarted(at(80));
    assert_eq!(
        restarted.recalled("www.test.", at(200)).as_deref(),
        Some("[192, 0, 2, 2]")
    );
}

#[test]
fn a_flood_of_names_that_nobody_asks_for_again_fills_half_of_the_list_at_most() {
    let mut site = Site::new(100);
    for n in 0..1000 {
        let owner = format!("r{n}.test.");
        let lines = format!("{owner} 60 A 192.0.2.1");
        site.put(
            &q(&owner, Rtype::A),
            &entry(&lines, Security::Insecure),
            at(n / 10),
        );
        site.turn(at(n / 10));
    }
    let entries = site.list.stats().entries;
    // Those on their way when half of it was full come on top.
    assert!((50..=100).contains(&entries), "{entries}");
    assert!(site.written < 250, "{}", site.written);
}

#[test]
fn of_a_flood_only_so_many_names_per_second_are_written() {
    let mut site = Site::new(100_000);
    for n in 0..6000 {
        let owner = format!("r{n}.test.");
        let lines = format!("{owner} 60 A 192.0.2.1");
        let entry = entry(&lines, Security::Insecure);
        site.put(&q(&owner, Rtype::A), &entry, at(0));
    }
    // This one is of use.
    site.learn("www.test.", 1, at(1));
    for second in 1..20 {
        site.turn(at(second));
    }
    assert_eq!(site.list.stats().entries, YOUNG_MAX + 1);
    // Its first mention found no place either.
    assert_eq!(site.list.take_dropped(), 6001 - YOUNG_MAX as u64);
}
