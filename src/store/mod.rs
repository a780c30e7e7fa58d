//! The ledger: everything small that must survive a restart.
//!
//! Why: a server that restarts in the middle of an outage must know at once which zone versions it holds, how
//! they were verified and since when the world has been gone. That is a few kilobytes of control data with
//! transactions, which is what sled 0.34 is good at. The zones themselves are not in it: a version of a zone is an
//! immutable image file of its own (`mirror::store`), and the ledger says what those files are.
//!
//! Model: a [`Ledger`] has one sled tree per kind of [`Row`]. Rows are small typed structs ([`rows`]); a
//! [`Changes`] is a set of rows to put and to remove in any trees, applied whole or not at all by
//! [`Ledger::commit`]. There is one writer at a time. Readers never wait for a disk on behalf of a query: the
//! query path does not come here at all.
//!
//! Failure: each value is sealed with a format version and a checksum over tree, key and body (see `value`). What
//! does not check is dropped, counted in `store_dropped_total`, logged, and never served. sled itself is treated as
//! fallible in every way: it is opened, scanned and written inside a guard that turns its panics into errors, and
//! a ledger that cannot be opened or read through is set aside (renamed, never deleted) and begun anew; the mirrors
//! then fill it from the headers of their image files. Only a directory in use by another process is fatal.
//!
//! A full disk is no damage. sled goes on failing after its first failed write, so it is then opened again (see [`Ledger::commit`]);
//! until there is room commits fail, each counted in `store_failures_total`, and what was committed before is read as before.
//! A start that finds no room even with the reserve given up (`room`) goes on without a ledger, which is empty until
//! there is.
//!
//! On disk: `data_dir/ledger/` is sled's directory, `data_dir/ledger.lock` is held locked while it is open, and
//! `data_dir/ledger.damaged-N/` are those set aside, `data_dir/ledger.reserve` keeps room. sled's `flush` writes without a barrier against power loss, so a
//! commit that matters ([`Durability::Synced`]) also syncs the database file.

mod open;
mod room;
pub mod rows;
mod value;

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sled::transaction::{ConflictableTransactionError, TransactionError, Transactional};

use crate::metrics::Metrics;
pub use rows::{
    AnswerRow, Channel, ClockRow, CountedName, CurrentRow, GenerationRow, GoneRow, NamesRow,
    OutageRow, Provenance, RetainedHostRow, RetainedRow, SourceKind, TrustAnchorRow, TrustKeyRow,
    TrustRecord, Validators, Verdict, zone_key,
};
pub use value::{ValueFault, seal, unseal};

/// A tree of the ledger. The names of trees that later features fill are reserved here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// Versions of mirrored zones: what each image file is.
    Generations,
    /// Which version of each mirrored zone is served.
    Current,
    /// Outages that have not ended.
    Outages,
    /// The floor under the wall clock.
    Clock,
    /// RFC 5011 trust anchors.
    TrustAnchors,
    /// What is known about servers' round trip times and abilities.
    Servers,
    /// Delegations kept past their TTL.
    Retained,
    /// Stale answers.
    Answers,
    /// Which questions are asked.
    Names,
}

impl Tree {
    /// All trees, in the order in which they are opened.
    pub const ALL: [Tree; 9] = [
        Tree::Generations,
        Tree::Current,
        Tree::Outages,
        Tree::Clock,
        Tree::TrustAnchors,
        Tree::Servers,
        Tree::Retained,
        Tree::Answers,
        Tree::Names,
    ];

    /// Its name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Tree::Generations => "generations",
            Tree::Current => "current",
            Tree::Outages => "outages",
            Tree::Clock => "clock",
            Tree::TrustAnchors => "trust_anchors",
            Tree::Servers => "servers",
            Tree::Retained => "retained",
            Tree::Answers => "answers",
            Tree::Names => "names",
        }
    }
}

/// A kind of value in the ledger.
pub trait Row: Serialize + DeserializeOwned {
    /// The tree that it lives in.
    const TREE: Tree;
    /// Version of its body's format. A row of another version does not check.
    const VERSION: u8;

    /// Its key. A row found under another key does not check.
    fn key(&self) -> Vec<u8>;

    /// Its body: JSON, unless the row says otherwise.
    fn body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("rows are plain data with text keys")
    }

    /// The row that a body is; `None` if it is none.
    fn from_body(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

/// How durable a commit is when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Written within the second by sled's own flusher; survives the end of the process once it has.
    Soon,
    /// Flushed and synced: survives a loss of power.
    Synced,
}

/// Why the ledger did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has the directory open.
    #[error(
        "{0} is in use by another process; stop that one, or give this one a data_dir of its own"
    )]
    InUse(PathBuf),
    /// The file system said no.
    #[error("ledger: {path}: {why}; data_dir must be a directory that holdfast may write to")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        why: String,
    },
    /// The disk is full.
    #[error(
        "ledger: no room in {0} (No space left on device); make room there, then it goes on by itself"
    )]
    NoRoom(PathBuf),
    /// sled failed or panicked while doing this.
    #[error("ledger: {step}: {why}")]
    Sled {
        /// What was being done.
        step: &'static str,
        /// What it said.
        why: String,
    },
}

/// What [`Ledger::open`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// A ledger that reads through, or none yet.
    Sound,
    /// None: the disk is full. It is opened when there is room; until then it is empty and takes nothing.
    NoRoom,
    /// A damaged one, which was renamed; an empty one stands in its place.
    SetAside {
        /// Where the damaged one is now.
        to: PathBuf,
        /// What was wrong with it.
        why: String,
    },
}

/// Rows to put and to remove, as one transaction.
#[derive(Debug, Default)]
pub struct Changes {
    list: Vec<(Tree, Vec<u8>, Option<Vec<u8>>)>,
}

impl Changes {
    /// No changes.
    pub fn new() -> Changes {
        Changes::default()
    }

    /// Puts a row, in place of the one with its key.
    pub fn put<R: Row>(mut self, row: &R) -> Changes {
        let key = row.key();
        let value = value::seal(row);
        self.list.push((R::TREE, key, Some(value)));
        self
    }

    /// Removes the row with this key, if there is one.
    pub fn remove<R: Row>(mut self, key: Vec<u8>) -> Changes {
        self.list.push((R::TREE, key, None));
        self
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// The open ledger. Share it in an `Arc`; every method blocks on the disk for a moment.
pub struct Ledger {
    /// `None` while there is no room to open it. Declared before the lock, so dropped before it.
    sled: RwLock<Option<open::Sled>>,
    data_dir: PathBuf,
    /// Held by whoever commits; whether sled has not failed since it was opened.
    is_sound: Mutex<bool>,
    metrics: Arc<Metrics>,
    _lock: File,
}

impl Ledger {
    /// Opens the ledger in `data_dir`, which is made if it is missing. A damaged one is set aside, which the caller
    /// must tell the operator loudly.
    ///
    /// # Errors
    /// Another process has it open, or the directory cannot be written.
    pub fn open(data_dir: &Path, metrics: Arc<Metrics>) -> Result<(Ledger, Opened), StoreError> {
        open::open(data_dir, metrics)
    }

    /// The row with this key; `None` if there is none or it did not check.
    pub fn get<R: Row>(&self, key: &[u8]) -> Option<R> {
        let tree = self.tree(R::TREE)?;
        let found = guarded("read", || tree.get(key));
        match found {
            Ok(bytes) => self.unseal(key, &bytes?),
            Err(error) => {
                tracing::error!(%error, tree = R::TREE.name(), "ledger read failed");
                None
            }
        }
    }

    /// All rows whose key starts with `prefix`, in the order of keys. Those that do not check are left out.
    pub fn scan<R: Row>(&self, prefix: &[u8]) -> Vec<R> {
        let Some(tree) = self.tree(R::TREE) else {
            return Vec::new();
        };
        let pairs = guarded("scan", || {
            tree.scan_prefix(prefix).collect::<Result<Vec<_>, _>>()
        });
        match pairs {
            Ok(pairs) => pairs
                .iter()
                .filter_map(|(key, bytes)| self.unseal(key, bytes))
                .collect(),
            Err(error) => {
                tracing::error!(%error, tree = R::TREE.name(), "ledger scan failed");
                Vec::new()
            }
        }
    }

    /// Hands every row whose key starts with `prefix` to `f`, one after another, for trees that are better not held twice. Those
    /// that do not check are left out.
    pub fn for_each<R: Row>(&self, prefix: &[u8], mut f: impl FnMut(R)) {
        let Some(tree) = self.tree(R::TREE) else {
            return;
        };
        let mut pairs = tree.scan_prefix(prefix);
        loop {
            match guarded("scan", || pairs.next().transpose()) {
                Ok(Some((key, bytes))) => {
                    if let Some(row) = self.unseal(&key, &bytes) {
                        f(row);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, tree = R::TREE.name(), "ledger scan failed");
                    return;
                }
            }
        }
    }

    /// Applies all changes or none. Where sled fails, or failed behind a commit that was not synced, it is opened again and
    /// they are applied once more.
    ///
    /// # Errors
    /// sled failed twice, or there is no room; nothing was applied, or it is not known to be durable.
    pub fn commit(&self, changes: Changes, durability: Durability) -> Result<(), StoreError> {
        let mut is_sound = self.is_sound.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_sound {
            match self.write(&changes, durability) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::warn!(%error, "the ledger failed; it is opened again once there is room")
                }
            }
        }
        self.metrics.store_failures_total.inc();
        *is_sound = false;
        self.open_again()?;
        self.write(&changes, durability)?;
        *is_sound = true;
        Ok(())
    }

    /// Opens sled again, once there is room. What was not durable may be gone. Readers wait meanwhile.
    fn open_again(&self) -> Result<(), StoreError> {
        room::find(&self.data_dir)?;
        let mut sled = self.sled.write().unwrap_or_else(PoisonError::into_inner);
        let old = sled.take();
        *sled = Some(open::open_again(&self.data_dir, old)?);
        tracing::info!("the ledger is open again");
        Ok(())
    }

    fn write(&self, changes: &Changes, durability: Durability) -> Result<(), StoreError> {
        let sled = self.sled.read().unwrap_or_else(PoisonError::into_inner);
        let Some(sled) = &*sled else {
            return Err(StoreError::NoRoom(self.data_dir.clone()));
        };
        if !changes.is_empty() {
            guarded("commit", || apply(sled, changes))?;
        }
        match durability {
            Durability::Soon => Ok(()),
            Durability::Synced => self.sync(sled),
        }
    }

    /// Flushes and syncs what was committed.
    fn sync(&self, sled: &open::Sled) -> Result<(), StoreError> {
        guarded("flush", || sled.db.flush())?;
        // sled's flush ends in a write without a barrier; the sync makes it survive a loss of power.
        let path = self.data_dir.join(open::DIR).join(open::DB_FILE);
        (File::open(&path).and_then(|file| file.sync_all())).map_err(|e| StoreError::Io {
            path,
            why: e.to_string(),
        })
    }

    /// `None` while the ledger is not open.
    fn tree(&self, tree: Tree) -> Option<sled::Tree> {
        let sled = self.sled.read().unwrap_or_else(PoisonError::into_inner);
        sled.as_ref().map(|sled| sled.trees[tree as usize].clone())
    }

    fn unseal<R: Row>(&self, key: &[u8], bytes: &[u8]) -> Option<R> {
        match value::unseal(key, bytes) {
            Ok(row) => Some(row),
            Err(fault) => {
                self.drop_value(R::TREE, key, fault);
                None
            }
        }
    }

    /// Removes a value that does not check, so that it is reported once.
    fn drop_value(&self, tree: Tree, key: &[u8], fault: ValueFault) {
        self.metrics.store_dropped_total.inc();
        tracing::warn!(tree = tree.name(), key = %hex(key), %fault, "ledger value dropped");
        let Some(target) = self.tree(tree) else {
            return;
        };
        if let Err(error) = guarded("drop", || target.remove(key)) {
            tracing::error!(%error, "damaged ledger value could not be removed");
        }
    }
}

fn apply(sled: &open::Sled, changes: &Changes) -> Result<(), sled::Error> {
    let done = sled.trees[..].transaction(|trees| {
        for (tree, key, value) in &changes.list {
            let tree = &trees[*tree as usize];
            match value {
                Some(value) => tree.insert(&key[..], &value[..])?,
                None => tree.remove(&key[..])?,
            };
        }
        Ok::<(), ConflictableTransactionError<()>>(())
    });
    match done {
        Ok(()) => Ok(()),
        Err(TransactionError::Storage(error)) => Err(error),
        Err(TransactionError::Abort(())) => unreachable!("nothing above aborts"),
    }
}

/// Runs `f` so that an error or a panic of sled becomes a [`StoreError`].
fn guarded<T>(
    step: &'static str,
    f: impl FnOnce() -> Result<T, sled::Error>,
) -> Result<T, StoreError> {
    let why = match std::panic::catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(done)) => return Ok(done),
        // sled adds an empty backtrace to what it says of damage.
        Ok(Err(error)) => error.to_string().replace(" backtrace ()", ""),
        Err(panic) => panic_text(&*panic),
    };
    Err(StoreError::Sled { step, why })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = (panic.downcast_ref::<&str>().copied())
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}

/// The octets of hexadecimal digits; `None` if they are none.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let value = |d: u8| (d as char).to_digit(16).unwrap_or(0) as u8;
    Some(
        digits
            .chunks(2)
            .map(|d| value(d[0]) << 4 | value(d[1]))
            .collect(),
    )
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;
