//! Versions survive restarts, kills at any step, and damage to their files and to the ledger.

use std::sync::Mutex;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::image_file::file_name;
use super::*;
use crate::metrics::Metrics;
use crate::mirror::generation::{Candidate, Proof};
use crate::signer::{name, rrs};
use crate::zone::Builder;

/// An unsigned zone with a serial.
fn image(serial: u32) -> ZoneImage {
    let mut builder = Builder::new(name("example."));
    let text = format!(
        "example. 60 SOA ns.example. host.example. {serial} 60 30 600 60\n\
         example. 60 NS ns.example.\n\
         ns.example. 60 A 192.0.2.1\n\
         a.example. 60 TXT version {serial}\n"
    );
    for record in rrs(&text) {
        builder.add(record).unwrap();
    }
    builder.finish().unwrap()
}

fn verified(serial: u32, at: u64) -> Verified {
    let provenance = Provenance {
        source: "axfr:192.0.2.1".to_owned(),
        kind: SourceKind::Network,
        fetched_at: at,
        channel: Default::default(),
        validators: None,
    };
    (Candidate::new(image(serial), provenance).verify(Proof::None, at, at)).unwrap()
}

fn zone() -> Name {
    name("example.")
}

fn ledger(dir: &Path) -> Arc<Ledger> {
    Arc::new(Ledger::open(dir, Arc::new(Metrics::default())).unwrap().0)
}

fn contact(at: u64) -> Standing {
    Standing {
        last_contact_at: Some(at),
        rolled_back_from: None,
    }
}

/// The serial that a fresh start on `dir` would serve, and the serials that it knows.
fn restart(dir: &Path) -> (Option<u32>, Vec<u32>) {
    let store = MirrorStore::new(dir, ledger(dir));
    let current = store.recover(&zone()).unwrap();
    let serial = current.map(|(stored, _)| {
        let (image, row) = stored.into_parts();
        assert_eq!(image.serial(), row.serial);
        row.serial
    });
    (
        serial,
        store.rows(&zone()).iter().map(|r| r.serial).collect(),
    )
}

fn commit(store: &MirrorStore, serial: u32) {
    let at = u64::from(serial) * 100;
    store.commit(verified(serial, at), contact(at), 3).unwrap();
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

#[test]
fn versions_come_back_and_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = MirrorStore::new(dir.path(), ledger(dir.path()));
        assert!(store.recover(&zone()).unwrap().is_none());
        for serial in 1..=6 {
            commit(&store, serial);
        }
    }
    assert_eq!(restart(dir.path()), (Some(6), vec![6, 5, 4]));
    let files = fs::read_dir(dir.path().join("mirror/example")).unwrap();
    assert_eq!(files.count(), 3);
}

#[test]
fn contact_and_rollback_survive() {
    let dir = tempfile::tempdir().unwrap();
    let standing = Standing {
        last_contact_at: Some(900),
        rolled_back_from: Some(2),
    };
    {
        let store = MirrorStore::new(dir.path(), ledger(dir.path()));
        commit(&store, 1);
        commit(&store, 2);
        let row = store.rows(&zone()).into_iter().find(|r| r.serial == 1);
        (store.set_current(&row.unwrap(), standing, Durability::Synced)).unwrap();
    }
    let store = MirrorStore::new(dir.path(), ledger(dir.path()));
    let (stored, found) = store.recover(&zone()).unwrap().unwrap();
    assert_eq!((stored.row().serial, found), (1, standing));
}

/// What the disk holds at each step of an activation, as a kill at that step would leave it: the old version or the
/// new one is served, whole, and the next start works as well.
#[test]
fn a_kill_at_any_step_loses_no_version() {
    let dir = tempfile::tempdir().unwrap();
    let frozen = tempfile::tempdir().unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    {
        let ledger = ledger(dir.path());
        commit(&MirrorStore::new(dir.path(), ledger.clone()), 1);
        let (live, to, seen) = (
            dir.path().to_owned(),
            frozen.path().to_owned(),
            steps.clone(),
        );
        let store = MirrorStore::new(dir.path(), ledger).with_steps(move |step| {
            copy_dir(&live, &to.join(format!("{step:?}")));
            seen.lock().unwrap().push(step);
            Ok(())
        });
        commit(&store, 2);
    }
    let steps = steps.lock().unwrap();
    assert_eq!(steps.len(), 7);
    for step in steps.iter() {
        let at_kill = frozen.path().join(format!("{step:?}"));
        let expected = if *step == Step::Activated || *step == Step::Pruned {
            2
        } else {
            1
        };
        for _ in 0..2 {
            let (serial, known) = restart(&at_kill);
            assert_eq!(serial, Some(expected), "{step:?}");
            assert!(known.contains(&1), "{step:?}");
        }
        let left = fs::read_dir(at_kill.join("mirror/example")).unwrap();
        let temporary = left.filter(|e| e.as_ref().unwrap().path().extension().unwrap() == "tmp");
        assert_eq!(temporary.count(), 0, "{step:?}");
        // And the interrupted activation can be done again.
        let store = MirrorStore::new(&at_kill, ledger(&at_kill));
        commit(&store, 2);
        drop(store);
        assert_eq!(restart(&at_kill), (Some(2), vec![2, 1]), "{step:?}");
    }
}

/// The same steps as failures of the disk: an error comes back, and what was current stays.
#[test]
fn a_failing_disk_at_any_step_keeps_the_old_version() {
    let stop_at = [
        Step::HalfWritten,
        Step::Written,
        Step::Synced,
        Step::Renamed,
        Step::DirectorySynced,
    ];
    for stop in stop_at {
        let dir = tempfile::tempdir().unwrap();
        {
            let ledger = ledger(dir.path());
            commit(&MirrorStore::new(dir.path(), ledger.clone()), 1);
            let store =
                MirrorStore::new(dir.path(), ledger).with_steps(move |step| match step == stop {
                    true => Err(io::Error::from(io::ErrorKind::StorageFull)),
                    false => Ok(()),
                });
            assert!(store.commit(verified(2, 200), contact(200), 3).is_err());
        }
        assert_eq!(restart(dir.path()).0, Some(1), "{stop:?}");
    }
}

#[test]
fn a_lost_ledger_is_filled_from_the_files() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = MirrorStore::new(dir.path(), ledger(dir.path()));
        commit(&store, 1);
        commit(&store, 2);
        store
            .hold(verified(3, 300), vec!["too small".to_owned()], 3)
            .unwrap();
    }
    fs::remove_dir_all(dir.path().join("ledger")).unwrap();
    let store = MirrorStore::new(dir.path(), ledger(dir.path()));
    let (stored, standing) = store.recover(&zone()).unwrap().unwrap();
    assert_eq!(stored.row().serial, 2);
    assert_eq!(standing, contact(200));
    let held: Vec<u32> = (store.rows(&zone()).iter())
        .filter(|r| matches!(r.verdict, Verdict::Held(_)))
        .map(|r| r.serial)
        .collect();
    assert_eq!(held, [3]);
}

#[test]
fn a_missing_or_damaged_file_gives_way_to_the_next_version() {
    let dir = tempfile::tempdir().unwrap();
    let path = |serial: u32| {
        let digest = hex(&image(serial).digest());
        dir.path()
            .join("mirror/example")
            .join(file_name(serial, &digest))
    };
    {
        let store = MirrorStore::new(dir.path(), ledger(dir.path()));
        for serial in 1..=3 {
            commit(&store, serial);
        }
    }
    let mut bytes = fs::read(path(3)).unwrap();
    bytes[200] ^= 1;
    fs::write(path(3), bytes).unwrap();
    assert_eq!(restart(dir.path()), (Some(2), vec![2, 1]));
    assert!(path(3).with_extension("damaged").exists());
    fs::remove_file(path(2)).unwrap();
    assert_eq!(restart(dir.path()), (Some(1), vec![1]));
    fs::rename(path(1), path(2)).unwrap();
    assert_eq!(restart(dir.path()), (None, vec![]));
}

/// A sound image under the sound note of another version is neither of the two.
#[test]
fn an_image_under_anothers_note_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = MirrorStore::new(dir.path(), ledger(dir.path()));
        commit(&store, 1);
        commit(&store, 2);
    }
    let row = verified(2, 200).row().clone();
    let path = (dir.path().join("mirror/example")).join(file_name(2, &row.digest));
    image_file::write(&path, image(1).as_bytes(), &row, &|_| Ok(())).unwrap();
    assert_eq!(restart(dir.path()), (Some(1), vec![1]));
}

/// Seeded damage to the newest file: it is that version or another one, never something else.
#[test]
fn damaged_files_are_never_served() {
    let master = tempfile::tempdir().unwrap();
    {
        let store = MirrorStore::new(master.path(), ledger(master.path()));
        commit(&store, 1);
        commit(&store, 2);
    }
    let file = file_name(2, &hex(&image(2).digest()));
    let mut rng = SmallRng::seed_from_u64(3);
    for round in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(master.path(), dir.path());
        let path = dir.path().join("mirror/example").join(&file);
        let mut bytes = fs::read(&path).unwrap();
        match rng.random_range(0..4) {
            0 => bytes.truncate(rng.random_range(0..bytes.len())),
            1 => bytes.extend_from_slice(&rng.random::<[u8; 8]>()),
            2 => {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = bytes[at].wrapping_add(rng.random_range(1..=255));
            }
            // The tail, where the lengths are.
            _ => {
                let at = bytes.len() - rng.random_range(1..=24);
                bytes[at] = bytes[at].wrapping_add(rng.random_range(1..=255));
            }
        }
        fs::write(&path, bytes).unwrap();
        assert_eq!(restart(dir.path()).0, Some(1), "round {round}");
    }
}

/// A file of another format is no damage: it is put aside under another name, and the zone is fetched again.
#[test]
fn versions_of_another_format_are_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = MirrorStore::new(dir.path(), ledger(dir.path()));
        commit(&store, 1);
        commit(&store, 2);
    }
    let zone_dir = dir.path().join("mirror/example");
    for entry in fs::read_dir(&zone_dir).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] = 1;
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(restart(dir.path()), (None, vec![]));
    let aside = fs::read_dir(&zone_dir).unwrap().filter(|e| {
        let path = e.as_ref().unwrap().path();
        path.extension()
            .is_some_and(|e| e == image_file::OTHER_FORMAT)
    });
    assert_eq!(aside.count(), 2);
    let store = MirrorStore::new(dir.path(), ledger(dir.path()));
    commit(&store, 3);
    assert_eq!(restart_of(&store), Some(3));
}

fn restart_of(store: &MirrorStore) -> Option<u32> {
    let (stored, _) = store.recover(&zone()).unwrap()?;
    Some(stored.row().serial)
}

/// Damage that shows only after the image was opened: the version goes, the one before it is the next to be served.
#[test]
fn a_version_found_damaged_later_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let store = MirrorStore::new(dir.path(), ledger(dir.path()));
    commit(&store, 1);
    commit(&store, 2);
    let (stored, _) = store.recover(&zone()).unwrap().unwrap();
    let fault = ImageError::Checksum("a block");
    store.condemn_version(stored.row(), &fault).unwrap();
    assert_eq!(restart_of(&store), Some(1));
}
