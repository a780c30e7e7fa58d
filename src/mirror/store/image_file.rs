//! The file of one version: its image with a note of what it is.
//!
//! The note makes the file speak for itself: when the ledger is lost, the files say which versions there are, where
//! they came from and as of when they were verified.
//!
//! ```text
//! image         as `zone::image` specifies it, whole
//! note          the version's GenerationRow as JSON
//! tail   8      length of the image, little endian, as all numbers here
//!        4      length of the note
//!        4      CRC-32 of note and of the two lengths
//!        8      magic "hfnote1\n"
//! ```
//!
//! A file is written under a temporary name, synced, renamed, and its directory synced. It is never written to again;
//! a note that changes gets a new file under the same name, and whoever has the old one mapped keeps the old one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::store::GenerationRow;
use crate::zone::{ImageError, ZoneImage};

/// How finished files end.
pub const EXTENSION: &str = "image";
/// How unfinished ones end.
pub const TEMPORARY: &str = "tmp";
/// How those end that were found damaged.
pub const DAMAGED: &str = "damaged";
/// How those end that another version of the program wrote.
pub const OTHER_FORMAT: &str = "other-format";
const MAGIC: &[u8; 8] = b"hfnote1\n";
const TAIL_LEN: u64 = 24;
/// What is written at a time, in octets.
const WRITE_BYTES: usize = 256 << 10;
/// The pause after that; a gigabyte is held up for less than half a second.
const WRITE_PAUSE: Duration = Duration::from_micros(100);
/// What may wait for the disk, in octets.
const SYNC_BYTES: usize = 8 << 20;
/// Largest note, in octets.
const NOTE_LEN_MAX: u32 = 1 << 20;

/// Why a file is no version.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The note at its end does not check.
    #[error("the note at its end is damaged")]
    Note,
    /// The image does not check.
    #[error("{0}")]
    Image(#[from] ImageError),
    /// Image and note are not about the same version.
    #[error("image and note do not belong together")]
    Mixed,
}

/// A moment in the writing of a version, at which tests stop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Half of the temporary file is written.
    HalfWritten,
    /// All of it is written.
    Written,
    /// It is synced.
    Synced,
    /// It has its name.
    Renamed,
    /// The directory is synced.
    DirectorySynced,
    /// The ledger knows it as current.
    Activated,
    /// Old versions are gone.
    Pruned,
}

/// Writes a version durably at `path`.
///
/// # Errors
/// The file system said no; then there is no file at `path`, or the one that was there before.
pub fn write(
    path: &Path,
    image: &[u8],
    row: &GenerationRow,
    step: &dyn Fn(Step) -> io::Result<()>,
) -> io::Result<()> {
    let note = serde_json::to_vec(row).expect("rows are plain data with text keys");
    let temporary = path.with_extension(TEMPORARY);
    let written = (|| {
        let mut file = (OpenOptions::new().write(true).create(true))
            .truncate(true)
            .open(&temporary)?;
        let (first, second) = image.split_at(image.len() / 2);
        write_gently(&mut file, first)?;
        step(Step::HalfWritten)?;
        write_gently(&mut file, second)?;
        file.write_all(&note)?;
        file.write_all(&tail(image.len() as u64, &note))?;
        step(Step::Written)?;
        file.sync_all()?;
        step(Step::Synced)
    })();
    if let Err(error) = written {
        // A full disk must not stay full because of a half-written file.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    fs::rename(&temporary, path)?;
    step(Step::Renamed)?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))?;
    step(Step::DirectorySynced)
}

/// Writes much, so that a core is never in the kernel for long and the disk is given work bit by bit: the whole of a registry's zone
/// in one call, and its synchronisation in another, would hold up for milliseconds whoever wants to answer on that core.
fn write_gently(file: &mut File, octets: &[u8]) -> io::Result<()> {
    for some in octets.chunks(SYNC_BYTES) {
        for piece in some.chunks(WRITE_BYTES) {
            file.write_all(piece)?;
            std::thread::sleep(WRITE_PAUSE);
        }
        file.sync_data()?;
    }
    Ok(())
}

/// Makes a directory's entries durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn tail(image_len: u64, note: &[u8]) -> [u8; TAIL_LEN as usize] {
    let mut tail = [0; TAIL_LEN as usize];
    tail[..8].copy_from_slice(&image_len.to_le_bytes());
    tail[8..12].copy_from_slice(&(note.len() as u32).to_le_bytes());
    let crc = checksum(note, &tail[..12]);
    tail[12..16].copy_from_slice(&crc.to_le_bytes());
    tail[16..].copy_from_slice(MAGIC);
    tail
}

fn checksum(note: &[u8], lengths: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(note);
    crc.update(lengths);
    crc.finalize()
}

/// Reads the note of the version at `path` and the length of its image.
///
/// # Errors
/// The file is not one, or is damaged.
pub fn read_note(path: &Path) -> Result<(GenerationRow, u64), FileFault> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let tail_at = len.checked_sub(TAIL_LEN).ok_or(FileFault::Note)?;
    let mut tail = [0; TAIL_LEN as usize];
    file.seek(SeekFrom::Start(tail_at))?;
    file.read_exact(&mut tail)?;
    let (lengths, rest) = tail.split_at(12);
    let word = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let image_len = u64::from(word(&lengths[4..])) << 32 | u64::from(word(lengths));
    let note_len = word(&lengths[8..]);
    let fits = note_len <= NOTE_LEN_MAX
        && image_len.checked_add(u64::from(note_len)) == Some(tail_at)
        && rest[4..] == *MAGIC;
    if !fits {
        return Err(FileFault::Note);
    }
    let mut note = vec![0; note_len as usize];
    file.seek(SeekFrom::Start(image_len))?;
    file.read_exact(&mut note)?;
    if checksum(&note, lengths) != word(rest) {
        return Err(FileFault::Note);
    }
    let row = serde_json::from_slice(&note).map_err(|_| FileFault::Note)?;
    Ok((row, image_len))
}

/// Opens the version at `path`. Note, header and indices are checked, blocks when they are touched.
///
/// # Errors
/// The file is not one, or these parts are damaged.
pub fn open(path: &Path) -> Result<(ZoneImage, GenerationRow), FileFault> {
    let (row, image_len) = read_note(path)?;
    let image = ZoneImage::open_prefix(path, image_len)?;
    let same = *image.apex() == row.zone
        && image.serial() == row.serial
        && crate::store::hex(&image.digest()) == row.digest;
    if same {
        Ok((image, row))
    } else {
        Err(FileFault::Mixed)
    }
}

/// The name of a version's file in its zone's directory.
pub fn file_name(serial: u32, digest: &str) -> PathBuf {
    PathBuf::from(format!("{serial}-{digest}.{EXTENSION}"))
}
