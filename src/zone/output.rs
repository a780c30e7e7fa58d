//! Where an image is written to: memory, or a file that is mapped when it is finished.
//!
//! A zone of five million names takes half a gigabyte. Written to a file its pages are the system's to keep or to write
//! out, so a second version beside the one that is served costs no memory that is not there. The file has no name
//! ([`super::scratch`]).

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use memmap2::Mmap;

use super::scratch;

/// Octets that are gathered before they go to the file.
const BUFFER_BYTES: usize = 256 << 10;

/// A run of octets that is written once.
pub enum Output {
    /// In memory.
    Memory(Vec<u8>),
    /// In an unlinked file.
    File {
        /// The file.
        file: BufWriter<File>,
        /// Octets written.
        len: u64,
    },
}

/// Finished octets.
pub enum Octets {
    /// In memory.
    Owned(Vec<u8>),
    /// In a file.
    Mapped(Mmap),
}

impl Octets {
    /// All of them.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Octets::Owned(v) => v,
            Octets::Mapped(m) => m,
        }
    }
}

impl Output {
    /// An output in a file below `scratch`, or in memory.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn new(scratch: Option<&Path>) -> io::Result<Output> {
        Ok(match scratch {
            None => Output::Memory(Vec::new()),
            Some(dir) => Output::File {
                file: BufWriter::with_capacity(BUFFER_BYTES, scratch::unnamed(dir)?),
                len: 0,
            },
        })
    }

    /// Octets written so far.
    pub fn len(&self) -> u64 {
        match self {
            Output::Memory(v) => v.len() as u64,
            Output::File { len, .. } => *len,
        }
    }

    /// Appends octets.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Output::Memory(v) => v.extend_from_slice(octets),
            Output::File { file, len } => {
                file.write_all(octets)?;
                *len += octets.len() as u64;
            }
        }
        Ok(())
    }

    /// Appends all of another output.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn append(&mut self, other: Output) -> io::Result<()> {
        match other {
            Output::Memory(octets) => self.write(&octets),
            Output::File { file, .. } => {
                let mut file = file.into_inner().map_err(|e| e.into_error())?;
                file.seek(SeekFrom::Start(0))?;
                let mut buffer = vec![0; BUFFER_BYTES];
                loop {
                    match file.read(&mut buffer)? {
                        0 => return Ok(()),
                        n => self.write(&buffer[..n])?,
                    }
                }
            }
        }
    }

    /// Writes `head` over the octets at the start, and ends the output.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn finish(self, head: &[u8]) -> io::Result<Octets> {
        match self {
            Output::Memory(mut octets) => {
                octets[..head.len()].copy_from_slice(head);
                octets.shrink_to_fit();
                Ok(Octets::Owned(octets))
            }
            Output::File { file, .. } => {
                let mut file = file.into_inner().map_err(|e| e.into_error())?;
                file.seek(SeekFrom::Start(0))?;
                file.write_all(head)?;
                Ok(Octets::Mapped(scratch::map(&file)?))
            }
        }
    }

    /// Ends the output as it is.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn into_octets(self) -> io::Result<Octets> {
        match self {
            Output::Memory(octets) => Ok(Octets::Owned(octets)),
            Output::File { file, len: 0 } => {
                drop(file);
                Ok(Octets::Owned(Vec::new()))
            }
            Output::File { file, .. } => {
                let file = file.into_inner().map_err(|e| e.into_error())?;
                Ok(Octets::Mapped(scratch::map(&file)?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_and_memory_hold_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let made = [None, Some(dir.path())].map(|scratch| {
            let mut output = Output::new(scratch).unwrap();
            let mut more = Output::new(scratch).unwrap();
            output.write(b"....one").unwrap();
            more.write(&[7; 600_000]).unwrap();
            output.append(more).unwrap();
            assert_eq!(output.len(), 600_007);
            output.finish(b"head").unwrap().as_slice().to_vec()
        });
        assert!(made[0].starts_with(b"headone\x07") && made[0] == made[1]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let empty = Output::new(Some(dir.path())).unwrap().into_octets();
        assert!(empty.unwrap().as_slice().is_empty());
    }
}
