//! Files without a name, for what of a zone exceeds the memory given to it.
//!
//! Why: a zone's text, its records and its image can each be larger than the memory that is free. Pages of a file are memory that
//! the system takes back when it wants it. The files are one's own, so that nobody cuts them short under a map, and without a
//! name, so that they are gone with whoever has them open, whatever happens. Everything here blocks on the disk.
//!
//! Failure: an error of the file system. What a process leaves that is killed while a file still has its name ends in
//! [`EXTENSION`] and is empty.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::Mmap;

/// How the files end in the moment in which they have a name.
pub const EXTENSION: &str = "scratch";
/// Names that are tried for a file.
const NAMES_TRIED_MAX: u32 = 16;

/// A new file in `directory` that has no name any more.
///
/// # Errors
/// The file system says no.
pub fn unnamed(directory: &Path) -> io::Result<File> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    for _ in 0..NAMES_TRIED_MAX {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{}-{number}.{EXTENSION}", std::process::id()));
        let made = (OpenOptions::new().read(true).write(true).create_new(true)).open(&path);
        match made {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
            // Left behind by a process that was killed between the two calls.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Removes from `directory` what killed processes have left; whoever else makes such files there must not run.
pub fn clear(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|end| end == EXTENSION) {
            // What cannot be removed is empty, and in nobody's way.
            let _ = fs::remove_file(path);
        }
    }
}

/// The octets of a file of [`unnamed`], which must not be empty and is not written to any more.
pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the file has no name and nobody else has it open, so nobody changes it under the map.
    unsafe { Mmap::map(file) }
}

/// What a file of [`unnamed`] holds.
#[derive(Debug)]
pub struct Pages(Option<Mmap>);

impl Pages {
    /// Those of the file, which is not written to any more.
    ///
    /// # Errors
    /// The file system says no.
    pub fn of(file: &File) -> io::Result<Pages> {
        // An empty file cannot be mapped.
        match file.metadata()?.len() {
            0 => Ok(Pages(None)),
            _ => Ok(Pages(Some(map(file)?))),
        }
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn files_have_no_name_and_keep_what_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = unnamed(directory.path()).unwrap();
        assert!(Pages::of(&file).unwrap().is_empty());
        file.write_all(b"text").unwrap();
        let pages = Pages::of(&file).unwrap();
        drop(file);
        assert_eq!(&*pages, b"text");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_goes_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["1-7.scratch", "ledger", "scratch"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        clear(directory.path());
        let left = fs::read_dir(directory.path()).unwrap().flatten();
        let mut left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["ledger", "scratch"]);
    }
}
