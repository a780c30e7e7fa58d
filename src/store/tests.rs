//! The ledger survives reopening, damage to its values, and damage to its files.

use std::fs;
use std::os::unix::fs::FileExt;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::rows::zone_key;
use super::*;
use crate::dns::Name;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn row(zone: &str, serial: u32) -> GenerationRow {
    GenerationRow {
        zone: name(zone),
        serial,
        digest: format!("{serial:064x}"),
        verdict: Verdict::Verified,
        provenance: Provenance {
            source: "axfr:192.0.2.1".to_owned(),
            kind: SourceKind::Network,
            fetched_at: 1000,
            channel: Default::default(),
            validators: None,
        },
        verified_at: 1000,
        stored_at: 1001,
        trust: TrustRecord::Anchors("ab".to_owned()),
        records: 12,
        delegations: 3,
        signatures_expire_at: Some(9000),
        warnings: vec![],
        proves: String::new(),
    }
}

fn current(zone: &str, serial: u32) -> CurrentRow {
    CurrentRow {
        zone: name(zone),
        serial,
        digest: format!("{serial:064x}"),
        last_contact_at: Some(1000),
        rolled_back_from: None,
    }
}

fn clock_row(time_at: u64) -> ClockRow {
    ClockRow {
        time_at,
        proven_at: 3,
    }
}

fn open(dir: &Path) -> (Ledger, Opened, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let (ledger, opened) = Ledger::open(dir, metrics.clone()).unwrap();
    (ledger, opened, metrics)
}

/// Writes rows of two zones and closes the ledger.
fn fill(dir: &Path) {
    let (ledger, opened, _) = open(dir);
    assert_eq!(opened, Opened::Sound);
    for serial in 1..=5 {
        let changes = Changes::new()
            .put(&row("example.", serial))
            .put(&current("example.", serial));
        ledger.commit(changes, Durability::Synced).unwrap();
    }
    let changes = Changes::new()
        .put(&row(r"odd\.na/me.", 7))
        .put(&clock_row(77));
    ledger.commit(changes, Durability::Synced).unwrap();
}

#[test]
fn rows_come_back_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let (ledger, opened, metrics) = open(dir.path());
    assert_eq!(opened, Opened::Sound);
    let serials: Vec<u32> = ledger
        .scan::<GenerationRow>(&zone_key(&name("EXAMPLE.")))
        .iter()
        .map(|r| r.serial)
        .collect();
    assert_eq!(serials, [1, 2, 3, 4, 5]);
    assert_eq!(
        ledger.get(&zone_key(&name("example."))),
        Some(current("example.", 5))
    );
    assert_eq!(
        ledger.scan::<GenerationRow>(&zone_key(&name(r"odd\.na/me."))),
        [row(r"odd\.na/me.", 7)]
    );
    assert_eq!(ledger.get(ClockRow::KEY), Some(clock_row(77)));
    assert_eq!(metrics.store_dropped_total.value(), 0);
}

/// sled goes on failing after its first failed write. The next commit opens it again, which counts as one failure, keeps what
/// was there, and ends it; so does one after a start that found no room.
#[test]
fn a_ledger_that_failed_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let (ledger, _, metrics) = open(dir.path());
    let commit = |serial| {
        ledger.commit(
            Changes::new().put(&row("example.", serial)),
            Durability::Synced,
        )
    };
    let serials = || -> Vec<u32> {
        let rows: Vec<GenerationRow> = ledger.scan(&zone_key(&name("example.")));
        rows.iter().map(|row| row.serial).collect()
    };
    commit(6).unwrap();
    assert_eq!(metrics.store_failures_total.value(), 0);
    *ledger.is_sound.lock().unwrap() = false;
    commit(7).unwrap();
    assert_eq!(
        (serials(), metrics.store_failures_total.value()),
        ((1..=7).collect(), 1)
    );
    commit(8).unwrap();
    assert_eq!(metrics.store_failures_total.value(), 1, "it is sound again");
    // As after a start without room.
    *ledger.is_sound.lock().unwrap() = false;
    drop(ledger.sled.write().unwrap().take());
    assert_eq!(serials(), [0; 0]);
    commit(9).unwrap();
    assert_eq!(
        (serials(), metrics.store_failures_total.value()),
        ((1..=9).collect(), 2)
    );
    // Where it does not open any more, a new one takes up what the old one has in memory.
    *ledger.is_sound.lock().unwrap() = false;
    fs::write(dir.path().join("ledger").join("conf"), b"no configuration").unwrap();
    commit(10).unwrap();
    assert_eq!(
        (serials(), metrics.store_failures_total.value()),
        ((1..=10).collect(), 3)
    );
    assert!(dir.path().join("ledger.damaged-1").exists());
}

#[test]
fn a_transaction_removes_and_puts_together() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path());
    let (ledger, _, _) = open(dir.path());
    let gone = row("example.", 1).key();
    let changes = Changes::new()
        .remove::<GenerationRow>(gone.clone())
        .put(&current("example.", 2));
    ledger.commit(changes, Durability::Soon).unwrap();
    assert_eq!(ledger.get::<GenerationRow>(&gone), None);
    let now: CurrentRow = ledger.get(&zone_key(&name("example."))).unwrap();
    assert_eq!(now.serial, 2);
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (_open, _, _) = open(dir.path());
    let second = Ledger::open(dir.path(), Arc::new(Metrics::default())).map(|_| ());
    assert_eq!(second, Err(StoreError::InUse(dir.path().to_owned())));
}

/// A kill in the middle of sled's snapshot leaves one, whole or not; sled itself takes it for the newest snapshot.
#[test]
fn a_half_written_snapshot_is_no_damage() {
    for content in [&b""[..], b"half", &[0xa5; 400]] {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path());
        let half = dir.path().join("ledger/snap.7FFFFFFFFFFFFFFF.generating");
        fs::write(&half, content).unwrap();
        let (ledger, opened, _) = open(dir.path());
        assert_eq!(opened, Opened::Sound, "{content:?}");
        assert_eq!(ledger.get(ClockRow::KEY), Some(clock_row(77)));
        assert!(!half.exists());
    }
}

#[test]
fn a_ledger_that_is_no_ledger_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ledger"), b"not a directory").unwrap();
    let (ledger, opened, _) = open(dir.path());
    let Opened::SetAside { to, .. } = opened else {
        panic!("{opened:?}");
    };
    assert_eq!(fs::read(to).unwrap(), b"not a directory");
    assert!(ledger.scan::<GenerationRow>(b"").is_empty());
}

/// A row as a later version of the program may write it: sound, and not for this one to read.
#[derive(serde::Serialize, serde::Deserialize)]
struct LaterClockRow {
    floor_at: u64,
}

impl Row for LaterClockRow {
    const TREE: Tree = Tree::Clock;
    const VERSION: u8 = ClockRow::VERSION + 1;

    fn key(&self) -> Vec<u8> {
        ClockRow::KEY.to_vec()
    }
}

#[test]
fn values_of_another_version_or_key_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _, metrics) = open(dir.path());
    let tree = ledger.tree(Tree::Clock).unwrap();
    let sealed = value::seal(&clock_row(5));
    // A sound value under a wrong key; a sound one of a later version; one that is no value; nothing.
    tree.insert(b"roof", &sealed[..]).unwrap();
    assert_eq!(ledger.get::<ClockRow>(b"roof"), None);
    let later = value::seal(&LaterClockRow { floor_at: 5 });
    tree.insert(ClockRow::KEY, &later[..]).unwrap();
    assert_eq!(ledger.get::<ClockRow>(ClockRow::KEY), None);
    tree.insert(ClockRow::KEY, &b"\x09abcd{}"[..]).unwrap();
    assert_eq!(ledger.get::<ClockRow>(ClockRow::KEY), None);
    tree.insert(ClockRow::KEY, &b""[..]).unwrap();
    assert_eq!(ledger.get::<ClockRow>(ClockRow::KEY), None);
    assert_eq!(metrics.store_dropped_total.value(), 4);
    assert!(tree.is_empty());
}

/// Seeded damage to one value: it reads as itself or as nothing.
#[test]
fn damaged_values_are_never_wrong_data() {
    let good = row("example.", 7);
    let key = good.key();
    let sealed = value::seal(&good);
    let mut rng = SmallRng::seed_from_u64(2);
    for _ in 0..100_000 {
        let mut bytes = sealed.clone();
        match rng.random_range(0..4) {
            0 => bytes.truncate(rng.random_range(0..bytes.len())),
            1 => bytes.extend_from_slice(&rng.random::<[u8; 4]>()),
            _ => {
                for _ in 0..rng.random_range(1..4) {
                    let at = rng.random_range(0..bytes.len());
                    bytes[at] = rng.random();
                }
            }
        }
        if let Ok(read) = value::unseal::<GenerationRow>(&key, &bytes) {
            assert_eq!(read, good);
        }
    }
}

/// Seeded damage to sled's own files: the ledger opens, and every row in it is one that was written.
#[test]
fn damaged_files_never_panic_and_never_yield_wrong_data() {
    let master = tempfile::tempdir().unwrap();
    fill(master.path());
    let mut set_aside = 0;
    for seed in 0..48 {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(master.path(), dir.path());
        damage(
            &dir.path().join("ledger"),
            &mut SmallRng::seed_from_u64(seed),
        );
        let (ledger, opened, _) = open(dir.path());
        set_aside += u32::from(opened != Opened::Sound);
        for r in ledger.scan::<GenerationRow>(b"") {
            let written = [row("example.", r.serial), row(r"odd\.na/me.", 7)];
            assert!(written.contains(&r), "seed {seed}: {r:?}");
        }
        for c in ledger.scan::<CurrentRow>(b"") {
            assert_eq!(c, current("example.", c.serial), "seed {seed}");
        }
        // And it takes new rows.
        ledger
            .commit(Changes::new().put(&row("new.", 1)), Durability::Synced)
            .unwrap();
        assert_eq!(ledger.get(&row("new.", 1).key()), Some(row("new.", 1)));
    }
    assert!(set_aside > 0, "the damage never reached sled");
}

fn damage(dir: &Path, rng: &mut SmallRng) {
    let files: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_file())
        .collect();
    let path = &files[rng.random_range(0..files.len())];
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len().max(1);
    match rng.random_range(0..3) {
        0 => file.set_len(rng.random_range(0..len)).unwrap(),
        // Where the log begins, so that most hits are hits.
        1 => {
            for _ in 0..rng.random_range(1..20) {
                let at = rng.random_range(0..len.min(4096));
                file.write_all_at(&rng.random::<[u8; 1]>(), at).unwrap();
            }
        }
        _ => {
            let at = rng.random_range(0..len);
            file.write_all_at(&rng.random::<[u8; 32]>(), at).unwrap();
        }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
