//! Room for the ledger on a disk that may be full.
//!
//! Why: sled writes when it is opened, and fails where it cannot; a full disk must not look like a damaged ledger. So there must be
//! room before it is opened. A little is kept in a file, which a start on a full disk gives up: without a ledger the mirrors would not
//! know what they were rolled back from.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::StoreError;

/// What opening a ledger and going on with it takes at least, in bytes.
const ROOM_BYTES: usize = 2 << 20;
/// The file that keeps that room.
const RESERVE: &str = "ledger.reserve";
/// The file that tries whether it is there.
const TRIAL: &str = "ledger.room";

/// Tries whether there is room in `data_dir`.
///
/// # Errors
/// [`StoreError::NoRoom`] if there is none, another one if it cannot be written to at all.
pub(super) fn find(data_dir: &Path) -> Result<(), StoreError> {
    let path = data_dir.join(TRIAL);
    let written = fill(&path);
    let _ = fs::remove_file(&path);
    written.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => StoreError::NoRoom(data_dir.to_owned()),
        _ => StoreError::Io {
            path,
            why: error.to_string(),
        },
    })
}

/// Sees to it that the reserve is there, if there is room for it.
pub(super) fn keep_reserve(data_dir: &Path) {
    let path = data_dir.join(RESERVE);
    let is_there = fs::metadata(&path).is_ok_and(|meta| meta.len() == ROOM_BYTES as u64);
    if !is_there && fill(&path).is_err() {
        give_up_reserve(data_dir);
    }
}

/// Gives the reserve up.
pub(super) fn give_up_reserve(data_dir: &Path) {
    let _ = fs::remove_file(data_dir.join(RESERVE));
}

/// Not a hole, and nothing that a file system makes one of. File systems say that they are full at the write.
fn fill(path: &Path) -> io::Result<()> {
    File::create(path)?.write_all(&vec![0xa5; ROOM_BYTES])
}
