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
//! ledger without rows (it was set aside) is filled from the notes in the files. A ledger that takes nothing (the disk is
//! full) keeps no start from serving what the files and its rows say.

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
use super::source::spool::{Spool, SpoolError};
use crate::dns::Name;
use crate::store::Changes;
pub use crate::store::{
    Channel, Durability, GenerationRow, Ledger, Provenance, SourceKind, StoreError, TrustRecord,
    Validators, Verdict, hex,
};
pub(super) use crate::store::{CurrentRow, zone_key};
use crate::zone::{ImageError, ZoneImage, scratch};

/// Versions held by a brake that are kept for the operator.
const HELD_KEPT: usize = 2;
/// Refused versions that are remembered.
const REFUSED_KEPT: usize = 5;
/// Refused versions whose data is kept for inspection, the quarantine.
const QUARANTINED_KEPT: usize = 2;
/// Room that their files may take, in bytes.
const QUARANTINE_BYTES_MAX: u64 = 1 << 30;

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

/// How much of a zone is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Admitted versions, the current one included.
    pub count: u32,
    /// Room that their files may take, in bytes. The current one is kept whatever it takes.
    pub bytes_max: u64,
}

impl From<u32> for Keep {
    /// As many, however large.
    fn from(count: u32) -> Keep {
        Keep {
            count,
            bytes_max: u64::MAX,
        }
    }
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
    /// The directory cannot be read. A damaged version is no error: another one is taken. Nor is a ledger that takes nothing.
    pub fn recover(&self, zone: &Name) -> Result<Option<(Stored, Standing)>, CommitError> {
        let dir = self.directory(zone)?;
        let on_disk = self.take_stock(zone, &dir)?;
        let mut candidates = match self.reconcile(zone, &on_disk) {
            Ok(()) => self.rows(zone),
            Err(error) => {
                tracing::error!(%zone, %error, "the ledger takes nothing; a stored version is served all the same");
                self.rows_and(zone, on_disk)
            }
        };
        let current: Option<CurrentRow> = self.ledger.get(&zone_key(zone));
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
                    // Header, index and what is at the apex were looked at; the mirror's loop looks at the rest.
                    let standing = standing(current.as_ref(), &row);
                    if !current.as_ref().is_some_and(|c| is_row(c, &row)) {
                        tracing::warn!(%zone, serial = row.serial, "serving another version than the last one in use");
                        let noted = self.set_current(&row, standing, Durability::Synced);
                        tell(zone, noted);
                    }
                    return Ok(Some((Stored { image, row }, standing)));
                }
                Err(fault) => {
                    self.condemn(&path, &fault);
                    let changes = Changes::new().remove::<GenerationRow>(row_key(&row));
                    tell(zone, self.ledger.commit(changes, Durability::Soon));
                }
            }
        }
        Ok(None)
    }

    /// The rows of a ledger that could not be brought into agreement with these files, and theirs; newest first.
    fn rows_and(&self, zone: &Name, on_disk: Vec<GenerationRow>) -> Vec<GenerationRow> {
        let mut rows = self.rows(zone);
        let known: HashSet<Vec<u8>> = rows.iter().map(row_key).collect();
        let is_news = |row: &GenerationRow| !known.contains(&row_key(row));
        rows.extend(on_disk.into_iter().filter(is_news));
        newest_first(&mut rows);
        rows
    }

    /// Stores an admitted version and makes it current; versions beyond `keep` go. Returns it as read back.
    ///
    /// # Errors
    /// It could not be made durable; the version that was current still is.
    pub fn commit(
        &self,
        verified: Verified,
        standing: Standing,
        keep: impl Into<Keep>,
    ) -> Result<Stored, CommitError> {
        let row = verified.row().clone();
        let was_there = self.file_of(&row).is_some();
        let stored = self.write(verified, &row)?;
        let changes = Changes::new().put(&row).put(&current_row(&row, standing));
        if let Err(error) = self.ledger.commit(changes, Durability::Synced) {
            // It was never served. At the next start it would be a version like those that were, and push them out; and it takes
            // room on what may be a full disk.
            if !was_there {
                drop(stored);
                self.remove_file(&row);
            }
            return Err(error.into());
        }
        (self.step)(Step::Activated)?;
        self.prune(&row.zone, keep.into());
        (self.step)(Step::Pruned)?;
        Ok(stored)
    }

    /// The directory in which a version of the zone is put together before it is stored.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn scratch(&self, zone: &Name) -> io::Result<PathBuf> {
        self.directory(zone)
    }

    /// Stores a version that a brake holds back.
    ///
    /// # Errors
    /// It could not be made durable.
    pub fn hold(
        &self,
        verified: Verified,
        reasons: Vec<String>,
        keep: impl Into<Keep>,
    ) -> Result<(), CommitError> {
        let mut row = verified.row().clone();
        row.verdict = Verdict::Held(reasons);
        self.write(verified, &row)?;
        (self.ledger).commit(Changes::new().put(&row), Durability::Synced)?;
        self.prune(&row.zone, keep.into());
        Ok(())
    }

    /// Notes a refused version, and keeps its data for inspection where there is room: the note in its file says that it was
    /// refused, so that no start takes it for anything else. One that is stored with another verdict keeps that.
    pub fn refuse(&self, refusal: &Refusal, keep: impl Into<Keep>) {
        let known: Option<GenerationRow> = self.ledger.get(&row_key(&refusal.row));
        if known.is_some_and(|row| !matches!(row.verdict, Verdict::Refused(_))) {
            return;
        }
        if let Err(error) = self.quarantine(refusal) {
            tracing::warn!(%error, zone = %refusal.row.zone, "refused version could not be kept for inspection");
        }
        let noted = (self.ledger).commit(Changes::new().put(&refusal.row), Durability::Soon);
        if let Err(error) = noted {
            tracing::error!(%error, zone = %refusal.row.zone, "refused version could not be noted");
        }
        self.prune(&refusal.row.zone, keep.into());
    }

    /// Writes the data of a refused version, unless it is there from an earlier try.
    fn quarantine(&self, refusal: &Refusal) -> io::Result<()> {
        debug_assert!(matches!(refusal.row.verdict, Verdict::Refused(_)));
        let path = self.path(&refusal.row)?;
        let image = refusal.image.as_bytes();
        if path.exists() || image.len() as u64 > QUARANTINE_BYTES_MAX {
            return Ok(());
        }
        image_file::write(&path, image, &refusal.row, &self.step)
    }

    /// The file of a version, if it is kept.
    pub fn file_of(&self, row: &GenerationRow) -> Option<PathBuf> {
        self.path(row).ok().filter(|path| path.is_file())
    }

    /// Room for a body that is on its way in.
    ///
    /// # Errors
    /// The file system says no.
    pub(super) fn spool(&self, zone: &Name, bytes_max: u64) -> Result<Spool, SpoolError> {
        let directory = self.directory(zone);
        let directory = directory.map_err(|error| SpoolError::Disk(error.kind()))?;
        Spool::new(&directory, bytes_max)
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
        newest_first(&mut rows);
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
        // Served from the file's own pages: what answers is what is on disk. Reading all of it also brings it into memory,
        // so that no query waits for the disk after the swap.
        let (image, _) = image_file::open(&path)?;
        image.check(&mut || ()).map_err(FileFault::from)?;
        Ok(Stored {
            image,
            row: row.clone(),
        })
    }

    /// Removes versions beyond those to keep, oldest first. The current one always stays. Failure is logged: the next
    /// version tries again.
    fn prune(&self, zone: &Name, keep: Keep) {
        let current: Option<CurrentRow> = self.ledger.get(&zone_key(zone));
        let is_current = |row: &GenerationRow| current.as_ref().is_some_and(|c| is_row(c, row));
        let mut rows = self.rows(zone);
        // It takes its place and its room first, also when it is not the newest.
        rows.sort_by_key(|row| !is_current(row));
        let mut admitted = Room::of(keep.count.max(1) as usize, keep.bytes_max);
        let mut held = Room::of(HELD_KEPT, u64::MAX);
        let mut refused = Room::of(REFUSED_KEPT, u64::MAX);
        let mut quarantined = Room::of(QUARANTINED_KEPT, QUARANTINE_BYTES_MAX);
        for row in rows {
            let bytes = self.file_of(&row).and_then(|path| fs::metadata(path).ok());
            let bytes = bytes.map(|meta| meta.len());
            let fits = match row.verdict {
                Verdict::Verified | Verdict::Unverified => admitted.take(bytes.unwrap_or(0)),
                Verdict::Held(_) => held.take(bytes.unwrap_or(0)),
                Verdict::Refused(_) => {
                    let stays = bytes.is_none_or(|bytes| quarantined.take(bytes));
                    if !stays {
                        self.remove_file(&row);
                    }
                    refused.take(0)
                }
            };
            // Of a ledger that is not open one may read nothing: then any could be the current one.
            let may_go = current.is_some() || !row.verdict.is_admitted();
            if !fits && may_go && !is_current(&row) {
                self.remove(&row);
            }
        }
    }

    fn remove(&self, row: &GenerationRow) {
        let changes = Changes::new().remove::<GenerationRow>(row_key(row));
        // The row first: a file without a row is found again, a row without a file would be a lie.
        match self.ledger.commit(changes, Durability::Soon) {
            Ok(()) => self.remove_file(row),
            Err(error) => {
                tracing::warn!(zone = %row.zone, serial = row.serial, %error, "old version could not be removed");
            }
        }
    }

    fn remove_file(&self, row: &GenerationRow) {
        let removed = self.path(row).and_then(fs::remove_file);
        if let Err(error) = removed.or_else(|e| match e.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(e),
        }) {
            tracing::warn!(zone = %row.zone, serial = row.serial, %error, "the file of an old version could not be removed");
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
                // Left between its making and its unlinking.
                Some(scratch::EXTENSION) => fs::remove_file(&path)?,
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
    fn reconcile(&self, zone: &Name, on_disk: &[GenerationRow]) -> Result<(), StoreError> {
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
        // A refused one whose row stands needs no other; its file is for inspection alone.
        let noted: HashSet<Vec<u8>> = rows.iter().map(row_key).collect();
        let is_news = |row: &&GenerationRow| match row.verdict {
            Verdict::Refused(_) => !noted.contains(&row_key(row)),
            _ => !known.contains(&row_key(row)),
        };
        for row in on_disk.iter().filter(is_news) {
            tracing::info!(%zone, serial = row.serial, "taking up a version that the ledger does not know");
            changes = changes.put(row);
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.ledger.commit(changes, Durability::Synced)
    }

    /// Puts a version aside that was found damaged after it was opened. Its row goes, so that it is not taken up again.
    ///
    /// # Errors
    /// The ledger did not take it.
    pub fn condemn_version(
        &self,
        row: &GenerationRow,
        fault: &ImageError,
    ) -> Result<(), CommitError> {
        let path = self.path(row)?;
        self.condemn(&path, &FileFault::Image(fault.clone()));
        let changes = Changes::new().remove::<GenerationRow>(row_key(row));
        Ok(self.ledger.commit(changes, Durability::Synced)?)
    }

    /// Puts a file out of the way that cannot be used.
    fn condemn(&self, path: &Path, fault: &FileFault) {
        let extension = match fault {
            FileFault::Image(ImageError::Version(_)) => {
                tracing::warn!(
                    file = %path.display(), %fault,
                    "a stored version was written by another version of this program; the zone is fetched again"
                );
                image_file::OTHER_FORMAT
            }
            _ => {
                tracing::error!(file = %path.display(), %fault, "a stored version is damaged and is not served");
                image_file::DAMAGED
            }
        };
        if let Err(error) = fs::rename(path, path.with_extension(extension)) {
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

/// Places and bytes that are left for versions of one kind.
struct Room {
    places: usize,
    bytes: u64,
}

impl Room {
    fn of(places: usize, bytes: u64) -> Room {
        Room { places, bytes }
    }

    /// Takes a place and so many bytes. Once something did not fit, nothing older does.
    fn take(&mut self, bytes: u64) -> bool {
        let fits = self.places > 0 && bytes <= self.bytes;
        self.places = if fits { self.places - 1 } else { 0 };
        self.bytes = self.bytes.saturating_sub(bytes);
        fits
    }
}

fn newest_first(rows: &mut [GenerationRow]) {
    rows.sort_by_key(|row| std::cmp::Reverse((row.stored_at, row.serial)));
}

/// Logs what the ledger did not take at a start.
fn tell(zone: &Name, noted: Result<(), StoreError>) {
    if let Err(error) = noted {
        tracing::warn!(%zone, %error, "what is served could not be noted");
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
