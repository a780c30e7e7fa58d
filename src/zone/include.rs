//! `$INCLUDE` (RFC 1035 section 5.1): which files may be read on behalf of a zone file, and what was read.
//!
//! Only an operator's own file may name others: what comes over the network would choose what is read here. A name is relative to
//! the file that names it. What an included file sets, its origin, its TTL and its last owner, ends with it; it begins with what
//! was in force where it was named, the origin replaced where the directive has one.
//!
//! Bounds: [`DEPTH_MAX`] files inside each other, none inside itself, [`FILES_MAX`] in all, and as many octets in all as the zone file
//! alone may have; of all texts that are open together no more is in memory than of the zone file alone ([`super::room`]). Pipes and
//! devices are not read.
//!
//! Failure: a text for the directive's place. What was read, or should have been, is kept ([`Includes::into_seen`]), so that who
//! watches a zone file can watch these too.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::room::{FileText, Room, TextError};

/// Files inside each other, the zone file itself not counted.
pub const DEPTH_MAX: usize = 8;
/// Files that are included, each as often as it is.
pub const FILES_MAX: usize = 1000;

/// A file that was included, and the state that it had; compares equal while it has that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Included {
    path: PathBuf,
    /// Length and time of the last change; `None` = it was not there.
    state: Option<(u64, Option<SystemTime>)>,
}

impl Included {
    fn of(path: PathBuf) -> Included {
        let meta = fs::metadata(&path).ok();
        Included {
            state: meta.map(|meta| (meta.len(), meta.modified().ok())),
            path,
        }
    }

    /// The same file in its present state.
    pub fn again(&self) -> Included {
        Included::of(self.path.clone())
    }
}

/// What a zone file may include.
#[derive(Debug)]
pub struct Includes {
    bytes_max: u64,
    bytes_left: u64,
    /// The files that are being read, the outermost first.
    open: Vec<Open>,
    seen: Vec<Included>,
}

/// A file that is being read.
#[derive(Debug)]
struct Open {
    /// As it was named.
    path: PathBuf,
    /// As what it is.
    real: Option<PathBuf>,
    /// For what it includes.
    room: Room,
}

/// The text of an included file.
pub(super) struct Opened {
    pub text: FileText,
    /// Its name, for people.
    pub name: String,
}

/// A path as people are told of it.
fn plain(path: &str) -> String {
    let is_plain = |c: char| !c.is_control();
    match path.chars().all(is_plain) {
        true => path.to_owned(),
        false => path.escape_debug().to_string(),
    }
}

impl Includes {
    /// For a zone file with this text, which was read within `room`; with all that it includes it may have `bytes_max` octets.
    pub fn of(path: &Path, text: &FileText, bytes_max: u64, room: &Room) -> Includes {
        Includes {
            bytes_max,
            bytes_left: bytes_max.saturating_sub(text.len() as u64),
            open: vec![Open {
                path: path.to_owned(),
                real: fs::canonicalize(path).ok(),
                room: room.beside_text(text),
            }],
            seen: Vec::new(),
        }
    }

    /// Every file that was included so far, or could not be.
    pub fn into_seen(self) -> Vec<Included> {
        self.seen
    }

    /// Reads the file that the innermost one names.
    pub(super) fn open(&mut self, name: &Path) -> Result<Opened, String> {
        if self.open.len() > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} files include each other"));
        }
        if self.seen.len() >= FILES_MAX {
            return Err(format!("more than {FILES_MAX} files are included"));
        }
        let Some(within) = self.open.last() else {
            return Err("no file is being read".to_owned());
        };
        let directory = within.path.parent().unwrap_or(Path::new(""));
        let (path, room) = (directory.join(name), within.room.clone());
        // It may be anything, also what a terminal obeys, and reaches the log and `status`.
        let shown = plain(&path.display().to_string());
        let failed = |error: std::io::Error| format!("{shown} cannot be read: {error}");
        self.seen.push(Included::of(path.clone()));
        let real = fs::canonicalize(&path).map_err(failed)?;
        if (self.open.iter()).any(|open| open.real.as_ref() == Some(&real)) {
            return Err(format!("{shown} includes itself"));
        }
        // Opening a pipe would wait for a writer.
        let meta = fs::metadata(&real).map_err(failed)?;
        if !meta.is_file() {
            return Err(format!("{shown} is no file"));
        }
        let file = File::open(&real).map_err(failed)?;
        let source = file.take(self.bytes_left.saturating_add(1));
        let text = FileText::read(source, meta.len(), &room).map_err(|error| match error {
            TextError::Read(error) => failed(error),
            TextError::Copy(_) => format!("{shown}: {error}"),
        })?;
        match self.bytes_left.checked_sub(text.len() as u64) {
            Some(left) => self.bytes_left = left,
            None => {
                let bytes_max = self.bytes_max;
                return Err(format!(
                    "with {shown} the zone is larger than the limit of {bytes_max} octets"
                ));
            }
        }
        let room = room.beside_text(&text);
        self.open.push(Open {
            path,
            real: Some(real),
            room,
        });
        Ok(Opened { text, name: shown })
    }

    /// The innermost file has ended.
    pub(super) fn close(&mut self) {
        self.open.pop();
    }
}
