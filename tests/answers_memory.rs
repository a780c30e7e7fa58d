//! What a hundred thousand answers on disk cost in memory: the list of them, and the ledger.
//!
//! Why: sled is a poor bulk store, and a resolver for a whole country keeps this many. A binary of its own, so that nothing else's
//! memory is counted. `cargo test` takes a tenth of them; the figures of all:
//!
//! ```text
//! ANSWERS_ENTRIES=100000 cargo test --test answers_memory -- --nocapture
//! ```
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::cache::entry::{Entry, Security};
use holdfast::cache::persist::{Answers, Change};
use holdfast::cache::{Cache, Occasion};
use holdfast::clock::Now;
use holdfast::dns::{Name, Question, Rcode, RrSet, Rtype};
use holdfast::metrics::Metrics;
use holdfast::store::{AnswerRow, Changes, Durability, Ledger};

/// Unless the environment says otherwise.
const ENTRIES: usize = 10_000;
/// Everything together for 100,000: the list, sled, and what reading it back takes.
const MEMORY_MAX_KIB: u64 = 150 << 10;
const AGE_MAX_S: u64 = 3 * 86_400;
const WALL_S: u64 = 1_800_000_000;

fn entries() -> usize {
    let wanted = std::env::var("ANSWERS_ENTRIES").ok();
    wanted.map_or(ENTRIES, |n| n.parse().expect("a number"))
}

/// Resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn now() -> Now {
    Now::new(Duration::from_secs(5), WALL_S)
}

fn list() -> Answers {
    Answers::new(100_000, 64 << 20, AGE_MAX_S)
}

/// The name and answer of number `n`: two addresses, every second one signed.
fn answer(n: usize) -> (Question, Entry) {
    let owner: Name = format!("www.example-{n}.com.").parse().unwrap();
    let address = |last: u8| vec![198, 18, (n >> 8) as u8, last].into_boxed_slice();
    // What an RRSIG of 2048 bits or a P-256 key with a short signer name takes, in turn.
    let sigs = match n % 4 {
        0 => vec![vec![7; 18 + 13 + 64].into()],
        2 => vec![vec![7; 18 + 13 + 256].into()],
        _ => Vec::new(),
    };
    let security = match sigs.is_empty() {
        true => Security::Insecure,
        false => Security::Secure,
    };
    let set = RrSet {
        name: owner.clone(),
        rtype: Rtype::A,
        ttl: 300,
        rdatas: vec![address(n as u8), address(1)],
        sigs,
    };
    let entry = Entry {
        rcode: Rcode::NOERROR,
        answer: vec![set],
        authority: Vec::new(),
        security,
        errors: Vec::new(),
    };
    (Question::new(owner, Rtype::A), entry)
}

/// Learns all of them in a small cache, which notes them, and writes as the writer does.
fn fill(answers: &Answers, ledger: &Ledger, entries: usize) -> usize {
    let cache = Cache::new(4 << 20, Arc::default()).keeping_stale(AGE_MAX_S);
    cache.start_noting();
    let mut rows = 0;
    for n in 0..entries {
        let (question, entry) = answer(n);
        cache.put(&question, &entry, 300, Occasion::Question, now());
        cache.find(&question, now());
        if n % 1000 == 999 || n + 1 == entries {
            answers.take(cache.take_notes(), now());
            let changes = answers.changes(usize::MAX, true, now());
            let put = |to: Changes, (change, _): &(Change, _)| match change {
                Change::Put(row) => to.put(row),
                Change::Remove(name, rtype) => {
                    to.remove::<AnswerRow>(AnswerRow::key_of(name, rtype.0))
                }
            };
            let commit = changes.iter().fold(Changes::new(), put);
            ledger.commit(commit, Durability::Soon).unwrap();
            answers.done(&changes, now());
            rows += changes.len();
        }
    }
    rows
}

#[test]
fn a_hundred_thousand_answers_on_disk_take_less_than_150_mib() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        Ledger::open(dir.path(), Arc::new(Metrics::default()))
            .unwrap()
            .0
    };
    let before = resident_kib();
    let (entries, started) = (entries(), Instant::now());
    let (answers, ledger) = (list(), open());
    let rows = fill(&answers, &ledger, entries);
    let written = resident_kib() - before;
    let stats = answers.stats();
    assert_eq!(stats.entries, entries);
    println!(
        "{rows} rows written in {:?}: {written} KiB resident, {} KiB of answers, {} KiB accounted for the list",
        started.elapsed(),
        stats.disk_bytes >> 10,
        stats.bytes >> 10
    );
    drop((answers, ledger));

    let started = Instant::now();
    let ledger = open();
    println!("opened again in {:?}", started.elapsed());
    let started = Instant::now();
    let answers = list();
    answers.begin_restore();
    ledger.for_each(b"", |row: AnswerRow| answers.restore(&row, now()));
    answers.end_restore();
    let back = resident_kib() - before;
    println!(
        "looked through in {:?}: {back} KiB resident",
        started.elapsed()
    );
    assert_eq!(answers.stats().entries, entries);

    let started = Instant::now();
    let cache = Cache::new(256 << 20, Arc::default()).keeping_stale(AGE_MAX_S);
    let later = Now::new(Duration::from_secs(900), WALL_S + 900);
    let looked_up = entries.min(10_000);
    for n in (0..entries).step_by(entries / looked_up) {
        let (question, entry) = answer(n);
        for (name, rtype) in answers.keys_for(&question) {
            let row = ledger.get::<AnswerRow>(&AnswerRow::key_of(&name, rtype.0));
            let kept = row.and_then(|row| answers.admit(&row, later)).unwrap();
            assert!(cache.restore(kept, later));
        }
        let found = cache.find_stale(&question, later, |_| true).unwrap();
        assert_eq!(found.entry.answer[0].rdatas, entry.answer[0].rdatas);
        assert_eq!(found.ran_out_s, 600);
    }
    let each = started.elapsed() / looked_up as u32;
    println!("{looked_up} looked up: {each:?} each");
    let disk = std::fs::metadata(dir.path().join("ledger/db"))
        .unwrap()
        .len();
    println!("{} KiB on disk", disk >> 10);
    // Few entries take less, but not in proportion: sled has a cache.
    let max_kib = MEMORY_MAX_KIB * (entries as u64).clamp(50_000, 100_000) / 100_000;
    for (what, kib) in [("written", written), ("looked through", back)] {
        assert!(kib < max_kib, "{what}: {kib} KiB");
    }
}
