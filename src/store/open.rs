//! Opening the ledger, and setting a damaged one aside.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Ledger, Opened, StoreError, Tree, guarded, value};
use crate::metrics::Metrics;

/// sled's directory inside `data_dir`.
const DIR: &str = "ledger";
/// The lock beside it.
const LOCK: &str = "ledger.lock";
/// sled's file inside its directory.
const DB_FILE: &str = "db";
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
    let (sled, opened) = match open_sled(&dir) {
        Ok(sled) => (sled, Opened::Sound),
        Err(why) => {
            let to = set_aside(data_dir, &dir)?;
            let sled = open_sled(&dir)?;
            let why = why.to_string();
            (sled, Opened::SetAside { to, why })
        }
    };
    let ledger = Ledger {
        trees: sled.trees,
        db: sled.db,
        db_file: dir.join(DB_FILE),
        writer: Mutex::new(()),
        metrics,
        _lock: lock,
    };
    drop_damaged_values(&ledger)?;
    Ok((ledger, opened))
}

struct Sled {
    db: sled::Db,
    trees: Vec<sled::Tree>,
}

/// Opens sled in a thread of its own: damage that makes it loop must not hang the program.
fn open_sled(dir: &Path) -> Result<Sled, StoreError> {
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

/// Drops every value whose checksum fails, whoever it belongs to.
fn drop_damaged_values(ledger: &Ledger) -> Result<(), StoreError> {
    for tree in Tree::ALL {
        let opened = ledger.tree(tree);
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
