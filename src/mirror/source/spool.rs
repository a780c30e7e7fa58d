//! What comes over HTTPS, or is handed over by an operator, on its way into a zone.
//!
//! Why: a zone file can be larger than the memory that is free, and only all of it makes a zone. So it goes, unpacked, into a
//! file without a name in the zone's own directory, and is read from that file's pages (`zone/scratch`): of text and of zone there is never
//! more in memory than the builder holds.
//!
//! A body that begins like gzip (RFC 1952) is unpacked, whether a header says so or the file is packed on the server; a
//! zone file never begins like that. What is unpacked is limited to `bytes_max` like the body itself, so that a bomb fills no
//! disk.
//!
//! Everything here blocks on the disk.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::write::MultiGzDecoder;

use super::super::memory;
use crate::dns::Name;
use crate::zone::scratch::{Pages, unnamed};
use crate::zone::{self, FileText, Includes, Room, ZoneImage};

/// How a file in gzip form begins (RFC 1952 section 2.3.1).
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// Octets that are read of a file at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// Why a body is no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// The file system said no.
    #[error("write in data_dir: {0}")]
    Disk(io::ErrorKind),
    /// The file that it is in cannot be read.
    #[error("read: {0}")]
    Read(io::ErrorKind),
    /// More octets than are allowed.
    #[error("limit: larger than {0} bytes unpacked (bytes_max)")]
    TooLarge(u64),
    /// It begins like gzip and does not go on like it, or ends too early.
    #[error("gzip: damaged or cut short")]
    Gzip,
    /// It is no zone file of the zone.
    #[error("not a zone: {0}")]
    NotAZone(String),
}

/// A body that is being received.
pub struct Spool {
    scratch: PathBuf,
    to: To,
}

enum To {
    /// Nothing was seen yet.
    Start(Bounded),
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl Spool {
    /// Room for a body in `directory`.
    ///
    /// # Errors
    /// The file system says no.
    pub fn new(directory: &Path, bytes_max: u64) -> Result<Spool, SpoolError> {
        let file = unnamed(directory).map_err(|error| SpoolError::Disk(error.kind()))?;
        Ok(Spool {
            scratch: directory.to_owned(),
            to: To::Start(Bounded {
                file,
                left: bytes_max,
                bytes_max,
                fault: None,
            }),
        })
    }

    /// Takes the next piece. The first one, unless it is all there is, has at least two octets.
    ///
    /// # Errors
    /// It is too large or no gzip after all, or the disk is full.
    pub fn take(mut self, piece: &[u8]) -> Result<Spool, SpoolError> {
        self.to = match self.to {
            To::Start(file) if piece.starts_with(GZIP_MAGIC) => {
                To::Gzip(Box::new(MultiGzDecoder::new(file)))
            }
            To::Start(file) => To::Plain(file),
            other => other,
        };
        let written = match &mut self.to {
            To::Start(file) | To::Plain(file) => file.write_all(piece),
            To::Gzip(unpacking) => unpacking.write_all(piece),
        };
        match written {
            Ok(()) => Ok(self),
            Err(_) => Err(self.fault()),
        }
    }

    /// The whole body as a zone of `apex`, which includes no files; `from` names it in errors.
    ///
    /// # Errors
    /// It is cut short, or no zone.
    pub fn into_zone(
        mut self,
        from: &str,
        apex: &Name,
        bytes_max: u64,
    ) -> Result<ZoneImage, SpoolError> {
        let text = self.text()?;
        let builder = memory::builder(apex, bytes_max, &self.scratch);
        match zone::load_into(builder, &text, from, apex, None) {
            Ok(loaded) => Ok(loaded.image),
            Err(error) => Err(SpoolError::NotAZone(error.to_string())),
        }
    }

    /// What was received, whole.
    fn text(&mut self) -> Result<Pages, SpoolError> {
        let ended = match &mut self.to {
            To::Gzip(unpacking) => unpacking.try_finish(),
            To::Start(_) | To::Plain(_) => Ok(()),
        };
        if ended.is_err() {
            return Err(self.fault());
        }
        let file = &self.bounded().file;
        Pages::of(file).map_err(|error| SpoolError::Disk(error.kind()))
    }

    fn bounded(&self) -> &Bounded {
        match &self.to {
            To::Start(file) | To::Plain(file) => file,
            To::Gzip(unpacking) => unpacking.get_ref(),
        }
    }

    /// What stopped the writing: the file, else the unpacking.
    fn fault(&self) -> SpoolError {
        (self.bounded().fault.clone()).unwrap_or(SpoolError::Gzip)
    }
}

/// A zone file that an operator hands over: what is in it came from who could open it. Files that it includes are read where it was.
pub struct Handed {
    path: PathBuf,
    spool: Spool,
}

impl Handed {
    /// What was received of the file at `path`.
    pub fn new(path: PathBuf, spool: Spool) -> Handed {
        Handed { path, spool }
    }

    /// The file at `path`, which this process can open.
    ///
    /// # Errors
    /// It cannot be read, or is too large.
    pub fn read(path: &Path, mut spool: Spool) -> Result<Handed, SpoolError> {
        let failed = |error: io::Error| SpoolError::Read(error.kind());
        let mut file = File::open(path).map_err(failed)?;
        loop {
            let mut piece = Vec::new();
            let read = (&mut file).take(PIECE_BYTES).read_to_end(&mut piece);
            if read.map_err(failed)? == 0 {
                return Ok(Handed::new(path.to_owned(), spool));
            }
            spool = spool.take(&piece)?;
        }
    }

    /// Where it was.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The zone of `apex` in it.
    ///
    /// # Errors
    /// It is cut short, or no zone.
    pub fn into_zone(mut self, apex: &Name, bytes_max: u64) -> Result<ZoneImage, SpoolError> {
        let text = FileText::Copied(self.spool.text()?);
        let scratch = &self.spool.scratch;
        let mut includes = Includes::of(&self.path, &text, bytes_max, &Room::beside(scratch));
        let builder = memory::builder(apex, bytes_max, scratch);
        let from = self.path.display().to_string();
        match zone::load_into(builder, &text, &from, apex, Some(&mut includes)) {
            Ok(loaded) => Ok(loaded.image),
            Err(error) => Err(SpoolError::NotAZone(error.to_string())),
        }
    }
}

/// A file that takes so much and no more.
struct Bounded {
    file: File,
    left: u64,
    bytes_max: u64,
    fault: Option<SpoolError>,
}

impl Write for Bounded {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if octets.len() as u64 > self.left {
            self.fault = Some(SpoolError::TooLarge(self.bytes_max));
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        match self.file.write(octets) {
            Ok(written) => {
                self.left -= written as u64;
                Ok(written)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.fault = Some(SpoolError::Disk(error.kind()));
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    const ZONE: &str = "test. 60 SOA ns.test. h.test. 7 2 3 4 5\ntest. 60 NS ns.test.\n";

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut packing = GzEncoder::new(Vec::new(), Compression::best());
        packing.write_all(text).unwrap();
        packing.finish().unwrap()
    }

    fn read(pieces: &[&[u8]], bytes_max: u64) -> Result<u32, SpoolError> {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(directory.path(), bytes_max)?;
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        for piece in pieces {
            spool = spool.take(piece)?;
        }
        let image = spool.into_zone("z", &"test.".parse().unwrap(), 1 << 20)?;
        Ok(image.serial())
    }

    #[test]
    fn plain_and_packed_bodies_become_zones() {
        let gz = packed(ZONE.as_bytes());
        let (head, tail) = gz.split_at(gz.len() / 2);
        let (first, second) = ZONE.as_bytes().split_at(20);
        let two = [packed(first), packed(second)].concat();
        for pieces in [
            &[ZONE.as_bytes()][..],
            &[first, second],
            &[&gz],
            &[head, tail],
            &[&two],
        ] {
            assert_eq!(read(pieces, 1 << 20), Ok(7));
        }
    }

    #[test]
    fn bodies_that_are_none_say_why() {
        let gz = packed(ZONE.as_bytes());
        let mut wrong_sum = gz.clone();
        let at = wrong_sum.len() - 5;
        wrong_sum[at] ^= 1;
        for bad in [&gz[..gz.len() - 1], &gz[..12], &gz[..2], &wrong_sum] {
            assert_eq!(read(&[bad], 1 << 20), Err(SpoolError::Gzip));
        }
        let len = ZONE.len() as u64;
        assert_eq!(read(&[ZONE.as_bytes()], len), Ok(7));
        let too_large = Err(SpoolError::TooLarge(len - 1));
        assert_eq!(read(&[ZONE.as_bytes()], len - 1), too_large);
        assert_eq!(read(&[&gz], len - 1), too_large);
        let none = |got| matches!(got, Err(SpoolError::NotAZone(_)));
        assert!(none(read(&[], 1 << 20)));
        assert!(none(read(&[b"<html>not found</html>"], 1 << 20)));
        assert!(none(read(&[&packed(&gz)], 1 << 20)));
    }

    /// A megabyte that unpacks to a gigabyte stops at the limit.
    #[test]
    fn a_bomb_fills_no_disk() {
        let bomb = packed(&vec![b';'; 64 << 20]);
        assert!(bomb.len() < 128 << 10);
        assert_eq!(read(&[&bomb], 1 << 20), Err(SpoolError::TooLarge(1 << 20)));
    }
}
