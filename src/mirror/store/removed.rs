//! The files of zones that are mirrored no longer, because no catalog lists them any more.
//!
//! They are kept for [`REMOVED_KEPT_S`], for a catalog that was emptied by mistake takes every copy with it otherwise. A file
//! `removed` in the zone's directory says since when, and under which label the zone was listed: one that comes back under the same label
//! goes on where it was, and one with another label begins anew (RFC 9432 section 5.4).
//!
//! ```text
//! removed   SECONDS LABEL-IN-HEX ZONE
//! ```

use std::fs;
use std::io;
use std::path::Path;

use super::{Changes, CommitError, Durability, GenerationRow, MirrorStore, hex, row_key};
use crate::dns::Name;
use crate::store::{CurrentRow, zone_key};

/// How long files of a removed member are kept, in seconds.
pub const REMOVED_KEPT_S: u64 = 7 * 86_400;
/// The file's name; no version's file has it.
const NOTE: &str = "removed";
/// Longer notes are not ours, in octets: two numbers and a name, each octet escaped.
const NOTE_BYTES_MAX: u64 = 2048;

/// What the note of a removed zone says.
struct Note {
    removed_at: u64,
    label: String,
    zone: Name,
}

impl Note {
    fn read(dir: &Path) -> Option<Note> {
        let path = dir.join(NOTE);
        if fs::metadata(&path).ok()?.len() > NOTE_BYTES_MAX {
            return None;
        }
        let text = fs::read_to_string(path).ok()?;
        let mut words = text.split_whitespace();
        Some(Note {
            removed_at: words.next()?.parse().ok()?,
            label: words.next()?.to_owned(),
            zone: words.next()?.parse().ok()?,
        })
    }
}

impl MirrorStore {
    /// Notes at `now_s` that a zone listed under `label` is mirrored no longer.
    ///
    /// # Errors
    /// The disk said no.
    pub fn set_aside(&self, zone: &Name, label: &[u8], now_s: u64) -> io::Result<()> {
        let text = format!("{now_s} {} {zone}\n", hex(label));
        fs::write(self.directory(zone)?.join(NOTE), text)
    }

    /// Takes a zone up that is listed under `label`: what is left of another one of its name goes.
    ///
    /// # Errors
    /// The disk or the ledger said no.
    pub fn take_back(&self, zone: &Name, label: &[u8]) -> Result<(), CommitError> {
        let dir = self.directory(zone)?;
        match Note::read(&dir) {
            Some(note) if note.label != hex(label) => self.forget(zone),
            Some(_) => Ok(fs::remove_file(dir.join(NOTE))?),
            None => Ok(()),
        }
    }

    /// Removes every version of a zone. Nobody may be writing one.
    ///
    /// # Errors
    /// The disk or the ledger said no.
    pub fn forget(&self, zone: &Name) -> Result<(), CommitError> {
        let mut changes = Changes::new().remove::<CurrentRow>(zone_key(zone));
        for row in self.rows(zone) {
            changes = changes.remove::<GenerationRow>(row_key(&row));
        }
        // The rows first: a file without a row is found again, a row without a file would be a lie.
        self.ledger.commit(changes, Durability::Synced)?;
        Ok(fs::remove_dir_all(self.directory(zone)?)?)
    }

    /// Removes zones whose time is over at `now_s`, unless `is_mirrored`. Returns which.
    pub fn sweep(&self, now_s: u64, is_mirrored: impl Fn(&Name) -> bool) -> Vec<Name> {
        let mut gone = Vec::new();
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let Some(note) = Note::read(&entry.path()) else {
                continue;
            };
            let is_over = now_s.saturating_sub(note.removed_at) > REMOVED_KEPT_S;
            if !is_over || is_mirrored(&note.zone) {
                continue;
            }
            match self.forget(&note.zone) {
                Ok(()) => gone.push(note.zone),
                Err(error) => {
                    tracing::warn!(zone = %note.zone, %error, "files of a removed zone could not be deleted");
                }
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::name;
    use crate::store::Ledger;
    use std::sync::Arc;

    #[test]
    fn removed_zones_wait_for_their_label_and_go_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, _) = Ledger::open(dir.path(), Arc::default()).unwrap();
        let store = MirrorStore::new(dir.path(), Arc::new(ledger));
        let zone = name("a\\032b.test.");
        let place = store.directory(&zone).unwrap();
        let file = place.join("something");
        let there = || file.exists();
        fs::write(&file, "").unwrap();
        // Nothing is known of it: nothing happens.
        store.take_back(&zone, b"x").unwrap();
        assert!(there());
        store.set_aside(&zone, b"x", 1000).unwrap();
        assert!(store.sweep(1000 + REMOVED_KEPT_S, |_| false).is_empty());
        store.take_back(&zone, b"x").unwrap();
        assert!(there() && store.sweep(u64::MAX, |_| false).is_empty());
        store.set_aside(&zone, b"x", 1000).unwrap();
        assert!(store.sweep(u64::MAX, |_| true).is_empty());
        store.take_back(&zone, b"y").unwrap();
        assert!(!there());
        store.set_aside(&zone, b"y", 1000).unwrap();
        assert_eq!(store.sweep(1001 + REMOVED_KEPT_S, |_| false), [zone]);
        assert!(!place.exists());
    }
}
