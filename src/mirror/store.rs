//! Versions on disk: image files and what the ledger says about them.
//!
//! Why two places: a file is bulk and immutable, the ledger is small and transactional. A version is first made
//! durable as a file (`image_file`); then one transaction over two trees makes it known and current. Whatever the
//! moment at which the process dies, the version that was current before is there, and at most a file without a row
//! or half a temporary file is left, which [`MirrorStore::recover`] sees to.
//!
//! On disk: `data_dir/mirror/<escaped zone>/<serial>-<digest>.image`, see `escape` and `image_file`.
//!
//! Failure: a damaged file is renamed to `*.damaged` and never served; the newest sound version takes its place. A
//! ledger without rows (it was set aside) is filled from the notes in the files.

mod escape;
pub mod image_file;
mod removed;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::escape::directory_name;
use self::image_file::{FileFault, Step};
use super::generation::{Refusal, Verified};
use crate::dns::Name;
use crate::store::{Changes, CurrentRow, zone_key};
pub use crate::store::{
    Durability, GenerationRow, Ledger, Provenance, SourceKind, StoreError, TrustRecord, Verdict,
    hex,
};
use crate::zone::ZoneImage;

/// Versions held by a brake that are kept for the operator.
const HELD_KEPT: usize = 2;
/// Refused versions that are remembered (without their data).
const REFUSED_KEPT: usize = 5;

/// Why a version was not stored.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The file could not be written or read back.
    #[error("store: {0}")]
    File(#[from] FileFault),
    /// The file system said no.
    #[error("store in data_dir: {0}")]
    Disk(io::Error),
    /// The ledger did not take it.
    #[error("{0}")]
    Ledger(#[from] StoreError),
    /// The operator's wish does not fit what is stored.
    #[error("{0}")]
    NoSuch(String),
}

impl From<io::Error> for CommitError {
    fn from(error: io::Error) -> CommitError {
        CommitError::Disk(error)
    }
}

/// A version as it was read from its file: only the store makes one.
#[derive(Debug)]
pub struct Stored {
    image: ZoneImage,
    row: GenerationRow,
}

impl Stored {
    pub(super) fn into_parts(self) -> (ZoneImage, GenerationRow) {
        (self.image, self.row)
    }

    /// What it is.
    pub fn row(&self) -> &GenerationRow {
        &self.row
    }
}

/// What is current, beside the version itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// When a source last confirmed it.
    pub last_contact_at: Option<u64>,
    /// The serial that the operator rolled back from.
    pub rolled_back_from: Option<u32>,
}

/// The stored versions of all mirrors. Every method blocks.
pub struct MirrorStore {
    root: PathBuf,
    ledger: Arc<Ledger>,
    step: Box<dyn Fn(Step) -> io::Result<()> + Send + Sync>,
}

impl MirrorStore {
    /// The store in `data_dir`.
    pub fn new(data_dir: &Path, ledger: Arc<Ledger>) -> MirrorStore {
        MirrorStore {
            root: data_dir.join("mirror"),
            ledger,
            step: Box::new(|_| Ok(())),
        }
    }

    /// Calls `step` at each step of writing; its error stops the writing there.
    #[cfg(test)]
    pub(super) fn with_steps(
        mut self,
        step: impl Fn(Step) -> io::Result<()> + Send + Sync + 'static,
    ) -> MirrorStore {
        self.step = Box::new(step);
        self
    }

    /// Puts a zone's files and rows in agreement and opens the version that is to be served. Run once at start.
    ///
    /// # Errors
    /// The directory or the ledger cannot be written. A damaged version is no error: another one is taken.
    pub fn recover(&self, zone: &Name) -> Result<Option<(Stored, Standing)>, CommitError> {
        let dir = self.directory(zone)?;
        let on_disk = self.take_stock(zone, &dir)?;
        self.reconcile(zone, on_disk)?;
        let current: Option<CurrentRow> = self.ledger.get(&zone_key(zone));
        let mut candidates = self.rows(zone);
        candidates.retain(|row| row.verdict.is_admitted());
        // The current one first, then the newest; a bootstrap snapshot only when there is nothing else.
        candidates.sort_by_key(|row| {
            let is_current = current.as_ref().is_some_and(|c| is_row(c, row));
            (!is_current, row.provenance.kind == SourceKind::Bootstrap)
        });
        for row in candidates {
            let path = dir.join(image_file::file_name(row.serial, &row.digest));
            match image_file::open(&path) {
                Ok((image, _)) => {
                    let standing = standing(current.as_ref(), &row);
                    if !current.as_ref().is_some_and(|c| is_row(c, &row)) {
                        tracing::warn!(%zone, serial = row.serial, "serving another version than the last one in use");
                        let changes = Changes::new().put(&current_row(&row, standing));
                        self.ledger.commit(changes, Durability::Synced)?;
                    }
                    return Ok(Some((Stored { image, row }, standing)));
                }
                Err(fault) => {
                    self.condemn(&path, &fault);
                    let changes = Changes::new().remove::<GenerationRow>(row_key(&row));
                    self.ledger.commit(changes, Durability::Soon)?;
                }
            }
        }
        Ok(None)
    }

    /// Stores an admitted version and makes it current; versions beyond `keep` go. Returns it as read back.
    ///
    /// # Errors
    /// It could not be made durable; the version that was current still is.
    pub fn commit(
        &self,
        verified: Verified,
        standing: Standing,
        keep: u32,
    ) -> Result<Stored, CommitError> {
        let row = verified.row().clone();
        let stored = self.write(verified, &row)?;
        let changes = Changes::new().put(&row).put(&current_row(&row, standing));
        self.ledger.commit(changes, Durability::Synced)?;
        (self.step)(Step::Activated)?;
        self.prune(&row.zone, keep);
        (self.step)(Step::Pruned)?;
        Ok(stored)
    }

    /// Stores a version that a brake holds back.
    ///
    /// # Errors
    /// It could not be made durable.
    pub fn hold(
        &self,
        verified: Verified,
        reasons: Vec<String>,
        keep: u32,
    ) -> Result<(), CommitError> {
        let mut row = verified.row().clone();
        row.verdict = Verdict::Held(reasons);
        self.write(verified, &row)?;
        (self.ledger).commit(Changes::new().put(&row), Durability::Synced)?;
        self.prune(&row.zone, keep);
        Ok(())
    }

    /// Notes a refused version, without its data. One that is stored with another verdict keeps that.
    pub fn refuse(&self, refusal: &Refusal, keep: u32) {
        let known: Option<GenerationRow> = self.ledger.get(&row_key(&refusal.row));
        if known.is_some_and(|row| !matches!(row.verdict, Verdict::Refused(_))) {
            return;
        }
        let noted = (self.ledger).commit(Changes::new().put(&refusal.row), Durability::Soon);
        if let Err(error) = noted {
            tracing::error!(%error, zone = %refusal.row.zone, "refused version could not be noted");
        }
        self.prune(&refusal.row.zone, keep);
    }

    /// Makes a stored version current, or notes a new standing of the one that is.
    ///
    /// # Errors
    /// The ledger did not take it.
    pub fn set_current(
        &self,
        row: &GenerationRow,
        standing: Standing,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let changes = Changes::new().put(&current_row(row, standing));
        self.ledger.commit(changes, durability)
    }

    /// What is known of a zone's versions, newest first.
    pub fn rows(&self, zone: &Name) -> Vec<GenerationRow> {
        let mut rows: Vec<GenerationRow> = self.ledger.scan(&zone_key(zone));
        rows.sort_by_key(|row| std::cmp::Reverse((row.stored_at, row.serial)));
        rows
    }

    /// Opens a stored version.
    ///
    /// # Errors
    /// Its file is missing or damaged.
    pub fn load(&self, row: &GenerationRow) -> Result<Stored, CommitError> {
        let path = self.path(row)?;
        let (image, _) = image_file::open(&path)?;
        Ok(Stored {
            image,
            row: row.clone(),
        })
    }

    fn write(&self, verified: Verified, row: &GenerationRow) -> Result<Stored, CommitError> {
        let path = self.path(row)?;
        image_file::write(&path, verified.image().as_bytes(), row, &self.step)?;
        drop(verified);
        // Served from the file's own pages: what answers is what is on disk.
        let (image, _) = image_file::open(&path)?;
        Ok(Stored {
            image,
            row: row.clone(),
        })
    }

    /// Removes versions beyond those to keep. The current one always stays. Failure is logged: the next version tries
    /// again.
    fn prune(&self, zone: &Name, keep: u32) {
        let current: Option<CurrentRow> = self.ledger.get(&zone_key(zone));
        let (mut admitted, mut held, mut refused) = (1, 0, 0);
        for row in self.rows(zone) {
            if current.as_ref().is_some_and(|c| is_row(c, &row)) {
                continue;
            }
            let (count, max) = match row.verdict {
                Verdict::Verified | Verdict::Unverified => (&mut admitted, keep.max(1) as usize),
                Verdict::Held(_) => (&mut held, HELD_KEPT),
                Verdict::Refused(_) => (&mut refused, REFUSED_KEPT),
            };
            *count += 1;
            if *count > max {
                self.remove(&row);
            }
        }
    }

    fn remove(&self, row: &GenerationRow) {
        let changes = Changes::new().remove::<GenerationRow>(row_key(row));
        // The row first: a file without a row is found again, a row without a file would be a lie.
        let removed = (self
            .ledger
            .commit(changes, Durability::Soon)
            .map_err(|e| e.to_string()))
        .and_then(|()| self.path(row).map_err(|e| e.to_string()))
        .and_then(|path| match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e.to_string()),
            _ => Ok(()),
        });
        if let Err(error) = removed {
            tracing::warn!(zone = %row.zone, serial = row.serial, error, "old version could not be removed");
        }
    }

    /// The notes of all sound files of a zone. Temporary files are removed, damaged ones renamed.
    fn take_stock(&self, zone: &Name, dir: &Path) -> Result<Vec<GenerationRow>, CommitError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            match path.extension().and_then(|e| e.to_str()) {
                Some(image_file::TEMPORARY) => {
                    tracing::info!(file = %path.display(), "removing a half-written version");
                    fs::remove_file(&path)?;
                }
                Some(image_file::EXTENSION) => match image_file::read_note(&path) {
                    Ok((row, _)) if row.zone == *zone && names(&row, &path) => found.push(row),
                    Ok(_) => self.condemn(&path, &FileFault::Mixed),
                    Err(fault) => self.condemn(&path, &fault),
                },
                _ => {}
            }
        }
        Ok(found)
    }

    /// Rows without a file go, files without a row get one.
    fn reconcile(&self, zone: &Name, on_disk: Vec<GenerationRow>) -> Result<(), CommitError> {
        let files: HashSet<Vec<u8>> = on_disk.iter().map(row_key).collect();
        let rows = self.rows(zone);
        let known: HashSet<Vec<u8>> = (rows.iter())
            .filter(|row| !matches!(row.verdict, Verdict::Refused(_)))
            .map(row_key)
            .collect();
        let mut changes = Changes::new();
        for row in rows.iter().filter(|row| known.contains(&row_key(row))) {
            if !files.contains(&row_key(row)) {
                tracing::warn!(%zone, serial = row.serial, "a version's file is gone");
                changes = changes.remove::<GenerationRow>(row_key(row));
            }
        }
        for row in on_disk.iter().filter(|row| !known.contains(&row_key(row))) {
            tracing::info!(%zone, serial = row.serial, "taking up a version that the ledger does not know");
            changes = changes.put(row);
        }
        Ok(self.ledger.commit(changes, Durability::Synced)?)
    }

    /// Puts a damaged file out of the way.
    fn condemn(&self, path: &Path, fault: &FileFault) {
        tracing::error!(file = %path.display(), %fault, "a stored version is damaged and is not served");
        if let Err(error) = fs::rename(path, path.with_extension("damaged")) {
            tracing::warn!(file = %path.display(), %error, "damaged version could not be renamed");
        }
    }

    fn path(&self, row: &GenerationRow) -> io::Result<PathBuf> {
        Ok(self
            .directory(&row.zone)?
            .join(image_file::file_name(row.serial, &row.digest)))
    }

    /// The zone's directory, made durable if it is new.
    fn directory(&self, zone: &Name) -> io::Result<PathBuf> {
        let dir = self.root.join(directory_name(zone));
        if !dir.is_dir() {
            fs::create_dir_all(&dir)?;
            image_file::sync_directory(&self.root)?;
            if let Some(data_dir) = self.root.parent() {
                image_file::sync_directory(data_dir)?;
            }
        }
        Ok(dir)
    }
}

fn row_key(row: &GenerationRow) -> Vec<u8> {
    GenerationRow::key_of(&row.zone, row.serial, &row.digest)
}

fn is_row(current: &CurrentRow, row: &GenerationRow) -> bool {
    current.serial == row.serial && current.digest == row.digest
}

/// Whether the file is named as its note says.
fn names(row: &GenerationRow, path: &Path) -> bool {
    path.file_name() == Some(image_file::file_name(row.serial, &row.digest).as_os_str())
}

fn current_row(row: &GenerationRow, standing: Standing) -> CurrentRow {
    CurrentRow {
        zone: row.zone.clone(),
        serial: row.serial,
        digest: row.digest.clone(),
        last_contact_at: standing.last_contact_at,
        rolled_back_from: standing.rolled_back_from,
    }
}

/// The standing of `row`: the ledger's where it is the current one, else what its own note proves.
fn standing(current: Option<&CurrentRow>, row: &GenerationRow) -> Standing {
    match current {
        Some(c) if is_row(c, row) => Standing {
            last_contact_at: c.last_contact_at,
            rolled_back_from: c.rolled_back_from,
        },
        _ => Standing {
            last_contact_at: (row.provenance.kind == SourceKind::Network)
                .then_some(row.provenance.fetched_at),
            rolled_back_from: None,
        },
    }
}

#[cfg(test)]
mod tests;
