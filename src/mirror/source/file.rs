//! Zone files of the operator's as a source.
//!
//! A file is watched by its length and modification time, which costs nothing, and read when they change. One that
//! changes while it is read is left for the next look. What it holds is a candidate like any other.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use super::super::memory;
use crate::dns::Name;
use crate::zone::{self, Builder, ZoneImage};

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
}

/// Why a file brought no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("read: {0}")]
    Read(io::ErrorKind),
    /// It is larger than allowed.
    #[error("limit: larger than {0} bytes (bytes_max)")]
    TooLarge(u64),
    /// It was written to while it was read.
    #[error("the file changed while it was read")]
    Changing,
    /// It is no zone.
    #[error("not a zone: {0}")]
    NotAZone(String),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> FileError {
        FileError::Read(error.kind())
    }
}

/// The file's present stamp.
///
/// # Errors
/// The file is not there or not accessible.
pub fn stamp(path: &Path) -> Result<Stamp, FileError> {
    let meta = fs::metadata(path)?;
    Ok(Stamp {
        len: meta.len(),
        modified: meta.modified().ok(),
    })
}

/// Reads the zone in the file, with what exceeds memory in `scratch`; blocks. Returns it with the stamp that it had.
///
/// # Errors
/// It cannot be read, is too large, or is no zone file of `apex`.
pub fn read(
    path: &Path,
    apex: &Name,
    bytes_max: u64,
    scratch: &Path,
) -> Result<(ZoneImage, Stamp), FileError> {
    let before = stamp(path)?;
    if before.len > bytes_max {
        return Err(FileError::TooLarge(bytes_max));
    }
    let mut text = Vec::new();
    // A file may also grow while it is read.
    (File::open(path)?.take(bytes_max + 1)).read_to_end(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(FileError::TooLarge(bytes_max));
    }
    if stamp(path)? != before || text.len() as u64 != before.len {
        return Err(FileError::Changing);
    }
    let file = path.display().to_string();
    let builder = (Builder::new(apex.clone()).bytes_max(memory::budget_bytes(bytes_max)))
        .run_bytes_max(memory::run_bytes())
        .scratch(scratch);
    match zone::load_into(builder, &text, &file, apex) {
        Ok(loaded) => Ok((loaded.image, before)),
        Err(error) => Err(FileError::NotAZone(error.to_string())),
    }
}
