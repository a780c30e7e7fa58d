//! Text in a file without a name, read from its pages.
//!
//! Why: a zone's text can be larger than the memory that is free, and a parser wants all of it at once. Pages of a file are memory that
//! the system takes back when it wants it. The file is one's own, so that nobody cuts it short under the map, and without a name, so
//! that it is gone with whoever has it open, whatever happens. Everything here blocks on the disk.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// A file in `directory` that has a name only for a moment. Files whose name ends in `.tmp` are removed at start.
///
/// # Errors
/// The file system says no.
pub(super) fn unnamed(directory: &Path, name: &str) -> io::Result<File> {
    let path = directory.join(name);
    let file = (OpenOptions::new().read(true).write(true))
        .create(true)
        .truncate(true)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

/// What an unnamed file holds; it is not written to any more.
pub(super) struct Pages(Option<Mmap>);

impl Pages {
    /// Those of a file of [`unnamed`].
    ///
    /// # Errors
    /// The file system says no.
    pub fn of(file: &File) -> io::Result<Pages> {
        if file.metadata()?.len() == 0 {
            return Ok(Pages(None));
        }
        // SAFETY: the file has no name and no other descriptor, so nobody changes it under the map.
        Ok(Pages(Some(unsafe { Mmap::map(file) }?)))
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
