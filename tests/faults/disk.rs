//! A disk without room, at every write of an activation and at a start.
//!
//! `data_dir` is a tmpfs, of which a file takes all but so many bytes. It needs root.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::primary::{Primary, ZONE};
use crate::served::{
    check, damaged, data_dir, files, kill, metric, refresh, signer, start_in, status,
};

/// Room of the file system.
const SIZE_KIB: u64 = 16 << 10;
/// What is left of it, one after another: less than a version takes (twice: while it is made, and to stay), just that, more.
const LEFT_KIB: [u64; 8] = [0, 12, 20, 24, 28, 32, 36, 48];
/// Rounds of plain `cargo test`; `FAULT_DISKS=200` plays so many, `FAULT_DISKS=40..56` these.
const ROUNDS: usize = 16;
/// The same for the ledger alone.
const LEDGER_ROUNDS: usize = 8;
/// Versions that come until the ledger has no room; each takes a few hundred bytes of it.
const COMMITS_MAX: usize = 300;

/// The rounds to play: so many unless `FAULT_DISKS` says otherwise.
fn rounds(usual: usize) -> Range<usize> {
    let Ok(wanted) = std::env::var("FAULT_DISKS") else {
        return 0..usual;
    };
    let number = |text: &str| text.parse().expect("FAULT_DISKS=64 or FAULT_DISKS=24..40");
    match wanted.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(&wanted),
    }
}

/// A tmpfs; dropping it takes it away.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None`, said loudly, where none can be had.
    fn mount(at: &Path) -> Option<Tmpfs> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={SIZE_KIB}k");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "holdfast-test"])
            .arg(at);
        match mount.output() {
            Ok(done) if done.status.success() => Some(Tmpfs(at.to_owned())),
            other => {
                println!("SKIPPED: needs root and mount(8) for a small file system: {other:?}");
                None
            }
        }
    }

    fn free_bytes(&self) -> u64 {
        let path = CString::new(self.0.as_os_str().as_bytes()).unwrap();
        // SAFETY: all-zero is a value of the plain C struct, which the call fills; the path ends in NUL.
        let stat = unsafe {
            let mut stat: libc::statvfs = std::mem::zeroed();
            assert_eq!(libc::statvfs(path.as_ptr(), &mut stat), 0);
            stat
        };
        stat.f_bavail * stat.f_frsize
    }

    /// Takes all room but so much.
    fn leave(&self, kib: u64) {
        self.relieve();
        let mut ballast = File::create(self.0.join("ballast")).unwrap();
        let take = self.free_bytes().saturating_sub(kib << 10);
        let chunk = vec![0; 4096];
        for _ in 0..take / 4096 {
            // What the program writes meanwhile was in the way.
            if ballast.write_all(&chunk).is_err() {
                break;
            }
        }
    }

    /// Gives it back.
    fn relieve(&self) {
        let _ = fs::remove_file(self.0.join("ballast"));
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a program that is just being killed may still be in it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A mirror with one version, whose data_dir has a file system of its own.
fn started() -> Option<(Tmpfs, Primary, Daemon)> {
    let directory = tempfile::tempdir().unwrap();
    let tmpfs = Tmpfs::mount(&directory.path().join("data"))?;
    let primary = Primary::start(signer(14));
    let daemon = start_in(directory, &primary, "");
    primary.go_on(1);
    refresh(&daemon).unwrap();
    Some((tmpfs, primary, daemon))
}

/// The same, where versions have room of their own and the ledger does not: it is the ledger that meets the full disk.
fn started_apart() -> Option<([Tmpfs; 2], Primary, Daemon)> {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Tmpfs::mount(&directory.path().join("data"))?;
    let versions = Tmpfs::mount(&directory.path().join("data/mirror"))?;
    let primary = Primary::start(signer(14));
    let daemon = start_in(directory, &primary, "");
    primary.go_on(1);
    refresh(&daemon).unwrap();
    Some(([ledger, versions], primary, daemon))
}

/// The versions that the ledger knows, newest first: serial and digest of each.
fn rows(daemon: &Daemon) -> Vec<[String; 2]> {
    let output = daemon.command(&["--json", "mirror", "show", ZONE]);
    let shown: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let row = |g: &Value| ["serial", "digest"].map(|key| g[key].to_string());
    shown.as_array().unwrap().iter().map(row).collect()
}

/// What was committed is there. So may be what was not: its file is whole, and its row was in memory.
#[track_caller]
fn keeps(daemon: &Daemon, committed: &[[String; 2]], what: &str) {
    let now = rows(daemon);
    let missing: Vec<_> = committed.iter().filter(|row| !now.contains(row)).collect();
    assert!(
        missing.is_empty(),
        "{what}: {missing:?} of {now:?}\n{}",
        daemon.log()
    );
}

fn serves(daemon: &Daemon, primary: &Primary, serial: u32, what: &str) {
    let seen =
        check(daemon, primary).unwrap_or_else(|| panic!("{what}: nothing\n{}", daemon.log()));
    assert_eq!(seen.serial, serial, "{what}\n{}", daemon.log());
    assert_eq!(
        damaged(&data_dir(daemon)),
        [""; 0],
        "{what}\n{}",
        daemon.log()
    );
}

#[test]
fn no_room_at_any_write_keeps_the_version_and_room_brings_the_next() {
    let Some((tmpfs, primary, daemon)) = started() else {
        return;
    };
    let (mut failed, mut taken) = (0, 0);
    for round in rounds(ROUNDS) {
        let kib = LEFT_KIB[round % LEFT_KIB.len()];
        let before = check(&daemon, &primary).unwrap().serial;
        let failures = metric(&daemon, "mirror_refresh_failures_total");
        tmpfs.leave(kib);
        primary.go_on(1);
        let what = format!("{kib} KiB left");
        match refresh(&daemon) {
            Ok(()) => {
                taken += 1;
                serves(&daemon, &primary, primary.newest(), &what);
            }
            Err(error) => {
                failed += 1;
                assert!(
                    error.contains("No space left") || error.contains("no room"),
                    "{what}: {error}"
                );
                serves(&daemon, &primary, before, &what);
                assert_eq!(
                    metric(&daemon, "mirror_refresh_failures_total"),
                    failures + 1,
                    "{what}"
                );
                let left = files(&data_dir(&daemon));
                assert!(
                    !left.iter().any(|f| f.ends_with(".tmp")),
                    "{what}: {left:?}"
                );
            }
        }
        tmpfs.relieve();
        primary.go_on(1);
        refresh(&daemon).unwrap_or_else(|e| panic!("{what}, then room: {e}\n{}", daemon.log()));
        serves(&daemon, &primary, primary.newest(), &what);
    }
    let ledger = metric(&daemon, "store_failures_total");
    println!(
        "{failed} activations without room, {taken} with enough; ledger commits that failed: {ledger}"
    );
    // The ledger itself rarely meets the full disk: what the version took while it was made is free again by then.
    assert!(failed > 3 && taken > 3, "{failed} {taken}");
    // The ledger that was mended says the same as what was served.
    let directory = kill(daemon);
    let daemon = start_in(directory, &primary, "");
    serves(&daemon, &primary, primary.newest(), "started again");
    stop(daemon, tmpfs);
}

/// New versions come until the ledger cannot be written, at each fill of its disk. That is counted and told, at every further try
/// too; what was committed before is there, and what comes once there is room; also for a start after a kill.
#[test]
fn a_ledger_without_room_at_any_write_is_told_and_loses_nothing() {
    let Some(([ledger, versions], primary, mut daemon)) = started_apart() else {
        return;
    };
    let (mut taken, mut set_aside) = (0, 0);
    for round in rounds(LEDGER_ROUNDS) {
        // A ledger that has grown once has its pages, and fills a disk no more: each round begins with a new one.
        let directory = kill(daemon);
        fs::remove_dir_all(directory.path().join("data/ledger")).unwrap();
        daemon = start_in(directory, &primary, "");
        let kib = round as u64 % 16 * 4;
        let what = format!("{kib} KiB left for the ledger");
        let failures = |daemon: &Daemon| metric(daemon, "store_failures_total");
        let before = failures(&daemon);
        ledger.leave(kib);
        let mut error = None;
        let mut held = rows(&daemon);
        let mut serial = primary.newest();
        for _ in 0..COMMITS_MAX {
            primary.go_on(1);
            match refresh(&daemon) {
                Ok(()) => {
                    taken += 1;
                    (held, serial) = (rows(&daemon), primary.newest());
                }
                Err(why) => {
                    error = Some(why);
                    break;
                }
            }
        }
        let error = error.unwrap_or_else(|| panic!("{what}: it never fails"));
        assert!(error.contains("ledger: "), "{what}: {error}");
        assert!(error.contains("No space left"), "{what}: {error}");
        let told = status(&daemon)["mirrors"][0]["last_error"].to_string();
        assert!(told.contains("No space left"), "{what}: {told}");
        let log = daemon.log();
        assert!(log.contains("the ledger failed"), "{what}: {log}");
        assert!(log.contains("make room there"), "{what}: {log}");
        assert!(failures(&daemon) > before, "{what}");
        // And again at the next try.
        let counted = failures(&daemon);
        primary.go_on(1);
        let again = refresh(&daemon).unwrap_err();
        assert_eq!(
            failures(&daemon),
            counted + 1,
            "{what}: {again}\n{}",
            daemon.log()
        );
        let seen = check(&daemon, &primary).unwrap();
        assert_eq!(seen.serial, serial, "{what}\n{}", daemon.log());
        keeps(&daemon, &held, &what);
        ledger.relieve();
        // Every other time a start finds what the full disk has left.
        if round % 2 == 1 {
            let directory = kill(daemon);
            daemon = start_in(directory, &primary, "");
            let seen = check(&daemon, &primary).unwrap();
            // What was refused may have reached the disk all the same.
            assert!(seen.serial >= serial, "{what}, killed\n{}", daemon.log());
            keeps(&daemon, &held, &format!("{what}, killed"));
        }
        let counted = failures(&daemon);
        primary.go_on(1);
        refresh(&daemon).unwrap_or_else(|e| panic!("{what}, then room: {e}\n{}", daemon.log()));
        let seen = check(&daemon, &primary).unwrap();
        assert_eq!(seen.serial, primary.newest(), "{what}, then room");
        // The same process has opened it again for this commit, and the next one finds it sound.
        if round % 2 == 0 {
            let log = daemon.log();
            assert!(log.contains("the ledger is open again"), "{what}: {log}");
            assert!(failures(&daemon) > counted, "{what}: {log}");
            let counted = failures(&daemon);
            primary.go_on(1);
            refresh(&daemon).unwrap();
            assert_eq!(failures(&daemon), counted, "{what}: {}", daemon.log());
            held = rows(&daemon);
        }
        // Of three versions that are kept, the newest one more has taken the place of the oldest.
        keeps(&daemon, &held[..1], &format!("{what}, then room"));
        set_aside = damaged(&data_dir(&daemon)).len();
    }
    println!(
        "{taken} commits with room enough; ledgers that did not open again and were made anew: {set_aside}"
    );
    let held = rows(&daemon);
    assert!(held.len() >= 3, "{held:?}");
    let directory = kill(daemon);
    let daemon = start_in(directory, &primary, "");
    assert_eq!(check(&daemon, &primary).unwrap().serial, primary.newest());
    keeps(&daemon, &held, "started again");
    let directory: TempDir = kill(daemon);
    // The inner one first.
    drop((versions, ledger));
    drop(directory);
}

#[test]
fn a_start_without_room_serves_what_is_there() {
    let Some((tmpfs, primary, mut daemon)) = started() else {
        return;
    };
    // The first start has the reserve; the others find it gone.
    for kib in [0, 0, 4, 8, 16, 64, 0] {
        let what = format!("start with {kib} KiB left");
        let serial = primary.newest();
        let directory = kill(daemon);
        tmpfs.leave(kib);
        daemon = start_in(directory, &primary, "");
        serves(&daemon, &primary, serial, &what);
        // Once more, and what it wrote at the first start is in the way of nothing.
        let directory = kill(daemon);
        tmpfs.leave(kib);
        daemon = start_in(directory, &primary, "");
        serves(&daemon, &primary, serial, &what);
        tmpfs.relieve();
        primary.go_on(1);
        refresh(&daemon).unwrap_or_else(|e| panic!("{what}, then room: {e}\n{}", daemon.log()));
        serves(&daemon, &primary, primary.newest(), &what);
    }
    stop(daemon, tmpfs);
}

/// In this order: the directory cannot go while something is mounted in it.
fn stop(daemon: Daemon, tmpfs: Tmpfs) {
    let directory: TempDir = kill(daemon);
    drop(tmpfs);
    drop(directory);
}
