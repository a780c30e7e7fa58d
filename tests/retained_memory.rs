//! What a hundred thousand retained delegations cost in memory, with their place in the ledger.
//!
//! Why: sled is a poor bulk store, and a resolver for a whole country keeps this many. A binary of its own, so that nothing else's
//! memory is counted. `cargo test` takes a tenth of them; the figures of all:
//!
//! ```text
//! RETAINED_ENTRIES=100000 cargo test --test retained_memory -- --nocapture
//! ```
#![allow(clippy::disallowed_methods)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::clock::Now;
use holdfast::dns::{Name, Rtype};
use holdfast::metrics::Metrics;
use holdfast::resolve::delegation::{Delegation, DelegationOrigin};
use holdfast::resolve::retained::rows::Unwritten;
use holdfast::resolve::retained::{Cut, Retained, Settings};
use holdfast::store::{Changes, Durability, Ledger, RetainedHostRow, RetainedRow};

/// Unless the environment says otherwise.
const ENTRIES: usize = 10_000;
/// Everything together for 100,000: tables, sled, and what reading it back takes.
const MEMORY_MAX_KIB: u64 = 150 << 10;

fn entries() -> usize {
    let wanted = std::env::var("RETAINED_ENTRIES").ok();
    wanted.map_or(ENTRIES, |n| n.parse().expect("a number"))
}

/// Resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn now() -> Now {
    Now::new(Duration::from_secs(5), 1_800_000_000)
}

fn name(text: String) -> Name {
    text.parse().unwrap()
}

/// Two servers each, one in ten with a DS, one in three with glue, the others at one of 20,000 hosts.
fn fill(retained: &Retained, entries: usize) {
    let com = name("com.".into());
    for n in 0..entries {
        let zone = name(format!("example-{n}.com."));
        let address: IpAddr = [198, 18, (n >> 8) as u8, n as u8].into();
        let server = |i: usize| match n % 3 {
            0 => (name(format!("ns{i}.example-{n}.com.")), vec![address]),
            _ => (
                name(format!("ns{i}.hoster-{}.net.", n % 10_000)),
                Vec::new(),
            ),
        };
        let delegation = Delegation {
            zone: zone.clone(),
            servers: vec![server(1), server(2)],
            expiry: None,
            origin: DelegationOrigin::Network,
        };
        retained.learn(&delegation, &com, now());
        for (host, _) in delegation
            .servers
            .iter()
            .filter(|(_, glue)| glue.is_empty())
        {
            retained.learn_addresses(host, Rtype::A, &[address], now());
            retained.learn_addresses(host, Rtype::AAAA, &[], now());
        }
        let until_s = 1_900_000_000;
        let cut = match n % 10 {
            0 => Cut::Signed {
                ds: vec![vec![7; 36].into()].into(),
                until_s,
            },
            _ => Cut::Unsigned { until_s },
        };
        retained.learn_cut(&zone, &cut);
    }
}

fn write(retained: &Retained, ledger: &Ledger) -> usize {
    let mut rows = 0;
    loop {
        let changes = retained.take_unwritten(2000, true, now());
        if changes.is_empty() {
            return rows;
        }
        rows += changes.len();
        let put = |to: Changes, change: &Unwritten| match change {
            Unwritten::Zone(row) => to.put(&RetainedRow::from(row)),
            Unwritten::Host(row) => to.put(&RetainedHostRow::from(row)),
            Unwritten::Parent(_) | Unwritten::Gone(_) => unreachable!("nothing was removed"),
        };
        let changes = changes.iter().fold(Changes::new(), put);
        ledger.commit(changes, Durability::Soon).unwrap();
    }
}

fn read(retained: &Retained, ledger: &Ledger) {
    ledger.for_each(RetainedRow::PREFIX, |row: RetainedRow| {
        retained.restore_zone(row.into(), now());
    });
    ledger.for_each(RetainedHostRow::PREFIX, |row: RetainedHostRow| {
        retained.restore_host(row.into(), now());
    });
}

#[test]
fn a_hundred_thousand_retained_delegations_take_less_than_150_mib() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        Ledger::open(dir.path(), Arc::new(Metrics::default()))
            .unwrap()
            .0
    };
    let before = resident_kib();
    let retained = Retained::new(Settings::default());
    let (entries, started) = (entries(), Instant::now());
    fill(&retained, entries);
    println!("learned in {:?}", started.elapsed());
    let stats = retained.stats();
    let filled = resident_kib() - before;
    assert_eq!(stats.zones.entries, entries);
    let accounted = (stats.zones.bytes + stats.hosts.bytes) >> 10;
    println!(
        "{entries} delegations and {} servers: {filled} KiB resident, {accounted} KiB accounted",
        stats.hosts.entries
    );
    let ledger = open();
    let started = Instant::now();
    let rows = write(&retained, &ledger);
    let written = resident_kib() - before;
    println!(
        "{rows} rows written in {:?}: {written} KiB resident",
        started.elapsed()
    );
    drop((retained, ledger));

    let started = Instant::now();
    let ledger = open();
    println!("opened again in {:?}", started.elapsed());
    let started = Instant::now();
    let again = Retained::new(Settings::default());
    read(&again, &ledger);
    let back = resident_kib() - before;
    println!("read back in {:?}: {back} KiB resident", started.elapsed());
    assert_eq!(again.stats().zones, stats.zones);
    assert_eq!(again.stats().hosts.entries, stats.hosts.entries);
    // Few entries take less, but not in proportion: sled has a cache.
    let max_kib = MEMORY_MAX_KIB * (entries as u64).clamp(50_000, 100_000) / 100_000;
    for (what, kib) in [
        ("filled", filled),
        ("written", written),
        ("read back", back),
    ] {
        assert!(kib < max_kib, "{what}: {kib} KiB");
    }
    // What is accounted for is what is taken, about.
    let off = filled.abs_diff(accounted as u64);
    assert!(
        off < filled / 3,
        "{accounted} KiB accounted, {filled} KiB taken"
    );
}
