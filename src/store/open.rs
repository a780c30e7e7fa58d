//! Opening the ledger, and setting a damaged one aside.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use super::{Ledger, Opened, StoreError, Tree, guarded, room, value};
use crate::metrics::Metrics;

/// sled's directory inside `data_dir`.
pub(super) const DIR: &str = "ledger";
/// The lock beside it.
const LOCK: &str = "ledger.lock";
/// sled's file inside its directory.
pub(super) const DB_FILE: &str = "db";
/// How the names of sled's snapshots end while they are written.
const HALF_SNAPSHOT: &str = ".generating";
/// Memory that sled may use for pages, in bytes.
const CACHE_CAPACITY_BYTES: u64 = 4 << 20;
/// sled writes what was committed at least this often, in milliseconds.
const FLUSH_INTERVAL_MS: u64 = 500;
/// A ledger that does not open within this time counts as damaged, in seconds. A sound one takes milliseconds.
const OPEN_TIME_MAX_S: u64 = 20;
/// How long to wait for the lock of a ledger that this same process closed just now, in milliseconds.
const CLOSING_TIME_MAX_MS: u64 = 3000;
/// Damaged ledgers kept for inspection; beyond that the oldest name is used again.
const SET_ASIDE_MAX: u32 = 20;

pub(super) fn open(data_dir: &Path, metrics: Arc<Metrics>) -> Result<(Ledger, Opened), StoreError> {
    fs::create_dir_all(data_dir).map_err(|e| io_error(data_dir, &e))?;
    let lock = lock(data_dir)?;
    let dir = data_dir.join(DIR);
    let (sled, opened) = match open_with_room(data_dir, &dir) {
        Ok(sled) => (Some(sled), Opened::Sound),
        Err(StoreError::NoRoom(_)) => (None, Opened::NoRoom),
        Err(why) => {
            let to = set_aside(data_dir, &dir)?;
            let sled = open_sled(&dir)?;
            let why = why.to_string();
            (Some(sled), Opened::SetAside { to, why })
        }
    };
    if sled.is_some() {
        room::keep_reserve(data_dir);
    }
    let ledger = Ledger {
        is_sound: Mutex::new(sled.is_some()),
        sled: RwLock::new(sled),
        data_dir: data_dir.to_owned(),
        metrics,
        _lock: lock,
    };
    drop_damaged_values(&ledger)?;
    Ok((ledger, opened))
}

/// sled, open.
pub(super) struct Sled {
    /// In the order of [`Tree::ALL`].
    pub(super) trees: Vec<sled::Tree>,
    pub(super) db: sled::Db,
}

/// Opens sled where there is room for it, which the reserve may be.
fn open_with_room(data_dir: &Path, dir: &Path) -> Result<Sled, StoreError> {
    let mut found = room::find(data_dir);
    if matches!(found, Err(StoreError::NoRoom(_))) {
        room::give_up_reserve(data_dir);
        found = room::find(data_dir);
    }
    match found {
        Err(StoreError::NoRoom(path)) => Err(StoreError::NoRoom(path)),
        // What else may be wrong sled's own files show.
        _ => open_sled(dir),
    }
}

/// All that a ledger holds, damaged values too.
pub(super) type Pairs = Vec<(Tree, sled::IVec, sled::IVec)>;

impl Sled {
    /// All that can be read of it.
    fn pairs(&self) -> Pairs {
        let mut pairs = Vec::new();
        for (tree, opened) in Tree::ALL.into_iter().zip(&self.trees) {
            let read = guarded("scan", || opened.iter().collect::<Result<Vec<_>, _>>());
            let read = read.unwrap_or_default().into_iter();
            pairs.extend(read.map(|(key, value)| (tree, key, value)));
        }
        pairs
    }
}

/// Opens sled again after it failed, once there is room. Where it does not open any more, which a write that a full disk cut
/// short can do, a new one takes up what the old one still has in memory.
pub(super) fn open_again(data_dir: &Path, old: Option<Sled>) -> Result<Sled, StoreError> {
    let dir = data_dir.join(DIR);
    let pairs = old.as_ref().map(Sled::pairs).unwrap_or_default();
    // A failed sled may hang or panic when it goes; the new one waits for its lock, though not for ever.
    std::thread::spawn(move || drop(old));
    let why = match open_sled(&dir) {
        Ok(sled) => return Ok(sled),
        Err(error) => error,
    };
    let to = set_aside(data_dir, &dir)?;
    tracing::error!(kept_at = %to.display(), %why, "the ledger does not open again; it is set aside, and a new one takes up what was in it");
    let sled = open_sled(&dir)?;
    guarded("commit", || {
        for (tree, key, value) in pairs {
            sled.trees[tree as usize].insert(key, value)?;
        }
        sled.db.flush()
    })?;
    Ok(sled)
}

/// Opens sled in a thread of its own: damage that makes it loop must not hang the program.
pub(super) fn open_sled(dir: &Path) -> Result<Sled, StoreError> {
    let (tell, told) = mpsc::channel();
    let dir = dir.to_owned();
    let spawned = std::thread::Builder::new()
        .name("ledger-open".to_owned())
        .spawn(move || {
            let _ = tell.send(guarded("open", || try_open(&dir)));
        });
    if let Err(error) = spawned {
        return Err(StoreError::Sled {
            step: "open",
            why: error.to_string(),
        });
    }
    told.recv_timeout(Duration::from_secs(OPEN_TIME_MAX_S))
        .unwrap_or_else(|_| {
            Err(StoreError::Sled {
                step: "open",
                why: format!("not done after {OPEN_TIME_MAX_S} s"),
            })
        })
}

fn try_open(dir: &Path) -> Result<Sled, sled::Error> {
    remove_half_snapshots(dir)?;
    let config = sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE_CAPACITY_BYTES)
        .flush_every_ms(Some(FLUSH_INTERVAL_MS));
    let mut waited_ms = 0;
    let db = loop {
        match config.open() {
            // Our own lock is held, so this is a thread of a ledger that was dropped a moment ago.
            Err(sled::Error::Io(error))
                if error.to_string().contains("acquire lock")
                    && waited_ms < CLOSING_TIME_MAX_MS =>
            {
                std::thread::sleep(Duration::from_millis(20));
                waited_ms += 20;
            }
            other => break other?,
        }
    };
    let mut trees = Vec::new();
    for tree in Tree::ALL {
        let opened = db.open_tree(tree.name())?;
        // sled reads pages when they are first touched: touch all, so that damage shows now.
        for pair in opened.iter() {
            pair?;
        }
        trees.push(opened);
    }
    Ok(Sled { db, trees })
}

/// Removes what a kill or a full disk has left of a snapshot that sled was writing: 0.34 reads it as the newest one and takes the
/// ledger for damaged. Nothing is lost, since the snapshot before it and the log go only after it has its name.
fn remove_half_snapshots(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        // Where there is no directory yet, or none at all, sled says so.
        Err(_) => return Ok(()),
        Ok(entries) => entries,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(HALF_SNAPSHOT) {
            tracing::info!(file = %entry.path().display(), "removing a half-written snapshot of the ledger");
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Drops every value whose checksum fails, whoever it belongs to.
fn drop_damaged_values(ledger: &Ledger) -> Result<(), StoreError> {
    for tree in Tree::ALL {
        let Some(opened) = ledger.tree(tree) else {
            return Ok(());
        };
        let bad = guarded("scan", || {
            let mut bad = Vec::new();
            for pair in opened.iter() {
                let (key, bytes) = pair?;
                if let Err(fault) = value::check(tree, &key, &bytes) {
                    bad.push((key, fault));
                }
            }
            Ok(bad)
        })?;
        for (key, fault) in bad {
            ledger.drop_value(tree, &key, fault);
        }
    }
    Ok(())
}

/// Takes the lock that says whose directory this is. The kernel lets go of it when the process ends, however it ends.
fn lock(data_dir: &Path) -> Result<File, StoreError> {
    let path = data_dir.join(LOCK);
    let file = (fs::OpenOptions::new().create(true).write(true))
        .truncate(false)
        .open(&path)
        .map_err(|e| io_error(&path, &e))?;
    // SAFETY: flock takes a descriptor that is open for the whole call and no memory.
    let taken = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    match taken {
        0 => Ok(file),
        _ => {
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock => Err(StoreError::InUse(data_dir.to_owned())),
                _ => Err(io_error(&path, &error)),
            }
        }
    }
}

/// Renames the damaged directory to the first free name.
fn set_aside(data_dir: &Path, dir: &Path) -> Result<PathBuf, StoreError> {
    let name = |n: u32| data_dir.join(format!("{DIR}.damaged-{n}"));
    let free = (1..=SET_ASIDE_MAX).map(name).find(|to| !to.exists());
    let to = match free {
        Some(to) => to,
        None => {
            let last = name(SET_ASIDE_MAX);
            fs::remove_dir_all(&last).map_err(|e| io_error(&last, &e))?;
            last
        }
    };
    fs::rename(dir, &to).map_err(|e| io_error(dir, &e))?;
    Ok(to)
}

fn io_error(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Io {
        path: path.to_owned(),
        why: error.to_string(),
    }
}
