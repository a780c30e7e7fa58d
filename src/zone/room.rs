//! How much of a zone's text and of its records may be in memory, and where the rest goes.
//!
//! Why: a registry's zone file has hundreds of megabytes, its records as many again, and neither a hostile primary nor a long
//! file may take the machine down. So what a zone holds in memory until it is an image depends on what is free now; the rest
//! goes to files without a name ([`super::scratch`]).
//!
//! Model: a [`Room`] is the measure, in octets, and a directory. A text is *held* where it is no longer than that, else it is copied
//! into a file first and read from its pages: whoever writes the operator's file may cut it short at any time, and a map of it would
//! then end the process. What is held of a file and of those that it includes counts together. Records have the same measure
//! once more (`build`).

use std::io::{self, Read, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::build::{Builder, RUN_BYTES_MAX};
use super::free::free_bytes;
use super::scratch::{Pages, unnamed};
use crate::dns::Name;

/// A zone that is being made may take this part of the free memory.
const FREE_SHARE: u64 = 8;
/// As much as this is allowed always, in bytes.
const HELD_MIN_BYTES: u64 = 16 << 20;

/// Room for a zone that is being made.
#[derive(Debug, Clone)]
pub struct Room {
    held_max: u64,
    scratch: PathBuf,
}

impl Room {
    /// As much memory as is right for what is free now, and this directory for the rest.
    pub fn beside(scratch: &Path) -> Room {
        Room::holding(held_bytes(), scratch)
    }

    /// So many octets of memory for the text, and as many for the records.
    pub fn holding(held_max: u64, scratch: &Path) -> Room {
        Room {
            held_max,
            scratch: scratch.to_owned(),
        }
    }

    /// A builder within this room.
    pub fn builder(&self, apex: &Name) -> Builder {
        Builder::new(apex.clone())
            .run_bytes_max(usize::try_from(self.held_max).unwrap_or(usize::MAX))
            .scratch(&self.scratch)
    }

    /// Where the rest goes.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// What is left for other texts while this one is read.
    pub(super) fn beside_text(&self, text: &FileText) -> Room {
        Room::holding(self.held_max.saturating_sub(text.held()), &self.scratch)
    }
}

/// A file's text, whole.
#[derive(Debug)]
pub enum FileText {
    /// In memory.
    Held(Vec<u8>),
    /// In a copy of one's own.
    Copied(Pages),
}

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(io::Error),
    /// It is too large to be held, and cannot be copied.
    #[error("it is too large for the memory that is free, and cannot be copied: {0}")]
    Copy(io::Error),
}

impl FileText {
    /// All that comes from `source`, which is about `len` octets. It is the caller's to limit it.
    ///
    /// # Errors
    /// It cannot be read, or not be copied to where there is room for it.
    pub fn read(mut source: impl Read, len: u64, room: &Room) -> Result<FileText, TextError> {
        let mut held = Vec::new();
        if len <= room.held_max {
            held.reserve(usize::try_from(len).unwrap_or(0));
            let mut limited = source.by_ref().take(room.held_max.saturating_add(1));
            limited.read_to_end(&mut held).map_err(TextError::Read)?;
            if held.len() as u64 <= room.held_max {
                return Ok(FileText::Held(held));
            }
        }
        let copied = (|| {
            let mut file = unnamed(&room.scratch)?;
            file.write_all(&std::mem::take(&mut held))?;
            io::copy(&mut source, &mut file)?;
            Pages::of(&file)
        })();
        copied.map(FileText::Copied).map_err(TextError::Copy)
    }

    /// Octets of memory that it takes.
    fn held(&self) -> u64 {
        match self {
            FileText::Held(text) => text.len() as u64,
            FileText::Copied(_) => 0,
        }
    }
}

impl Deref for FileText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            FileText::Held(text) => text,
            FileText::Copied(pages) => pages,
        }
    }
}

/// What is right for the memory that is free, in bytes.
fn held_bytes() -> u64 {
    let share = free_bytes().map_or(u64::MAX, |free| free / FREE_SHARE);
    share.clamp(HELD_MIN_BYTES, RUN_BYTES_MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_measure_is_bounded_both_ways() {
        assert!((HELD_MIN_BYTES..=RUN_BYTES_MAX as u64).contains(&held_bytes()));
    }

    /// Whatever length was announced: a pipe has none, and a file may grow.
    #[test]
    fn texts_are_whole_whether_held_or_copied() {
        let directory = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for (held_max, announced, is_held) in [
            (1000, 1000, true),
            (1000, 0, true),
            (1000, 999, true),
            (999, 1000, false),
            (999, 0, false),
            (0, 0, false),
            (2000, 3000, false),
        ] {
            let room = Room::holding(held_max, directory.path());
            let read = FileText::read(&text[..], announced, &room).unwrap();
            assert_eq!(*read, text, "{held_max} {announced}");
            assert_eq!(matches!(read, FileText::Held(_)), is_held);
            let left = room.beside_text(&read).held_max;
            assert_eq!(left, held_max - read.held());
        }
        let room = Room::holding(0, directory.path());
        assert!(FileText::read(&[][..], 5, &room).unwrap().is_empty());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let nowhere = Room::holding(0, &directory.path().join("none"));
        let error = FileText::read(&text[..], 0, &nowhere).unwrap_err();
        assert!(matches!(error, TextError::Copy(_)), "{error}");
    }
}
