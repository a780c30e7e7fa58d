//! Zone files of the operator's as a source.
//!
//! A file is watched by its length and modification time, which costs nothing, and read when they change. One that
//! changes while it is read is left for the next look; so is what it includes. What it holds is a candidate like any other.
//! A text that is large beside the free memory is copied to a file without a name first and read from its pages (`zone/room`).
//!
//! A directory stands for the newest of the zone's files in it (`is_of_zone`): who delivers versions side by side, each
//! under a name of its own, need not rename them. What is being written under another name is not looked at.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::super::memory;
use crate::dns::Name;
use crate::zone::{self, FileText, Included, Includes, Room, TextError, ZoneImage};

/// Most entries of a directory that are looked at.
const ENTRIES_MAX: usize = 10_000;

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The file itself, where the source is a directory.
    pub path: PathBuf,
    len: u64,
    modified: Option<SystemTime>,
    /// What it included when it was read.
    included: Vec<Included>,
}

/// A file that was read.
pub struct Reading {
    /// The state that it and what it includes had.
    pub stamp: Stamp,
    /// The zone in it.
    pub zone: Result<ZoneImage, FileError>,
}

/// Why a file brought no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("read: {0}")]
    Read(io::ErrorKind),
    /// Nobody knows when a pipe or a device ends.
    #[error("it is neither a file nor a directory")]
    NoFile,
    /// It is larger than allowed.
    #[error("limit: larger than {0} bytes (bytes_max)")]
    TooLarge(u64),
    /// A large one is copied before it is read.
    #[error("copy in data_dir: {0}")]
    Copy(io::ErrorKind),
    /// It was written to while it was read.
    #[error("the file changed while it was read")]
    Changing,
    /// A directory without a file of the zone.
    #[error("no file of the zone in the directory; looked for {0}, {0}.* and {0}-*")]
    NoneOfZone(String),
    /// A directory with more than can be looked through.
    #[error("more than {ENTRIES_MAX} files in the directory")]
    TooMany,
    /// It is no zone.
    #[error("not a zone: {0}")]
    NotAZone(String),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> FileError {
        FileError::Read(error.kind())
    }
}

/// The present stamp of the file, or of the newest one of `apex` where `path` is a directory.
///
/// # Errors
/// The file is not there or not accessible.
pub fn stamp(path: &Path, apex: &Name) -> Result<Stamp, FileError> {
    match fs::metadata(path)? {
        meta if meta.is_dir() => newest(path, apex),
        // Opening a pipe would wait for a writer, and the mirror with it.
        meta if !meta.is_file() => Err(FileError::NoFile),
        meta => Ok(stamp_of(path.to_owned(), &meta)),
    }
}

/// As [`stamp`], for comparison with an earlier one: what the file included then is looked at too.
///
/// # Errors
/// The file is not there or not accessible.
pub fn stamp_after(path: &Path, apex: &Name, before: Option<&Stamp>) -> Result<Stamp, FileError> {
    let mut stamp = stamp(path, apex)?;
    if let Some(before) = before.filter(|before| before.path == stamp.path) {
        stamp.included = before.included.iter().map(Included::again).collect();
    }
    Ok(stamp)
}

fn stamp_of(path: PathBuf, meta: &Metadata) -> Stamp {
    Stamp {
        path,
        len: meta.len(),
        modified: meta.modified().ok(),
        included: Vec::new(),
    }
}

/// The newest file of a zone in a directory; of several as new, the one whose name comes last.
fn newest(directory: &Path, apex: &Name) -> Result<Stamp, FileError> {
    let stem = stem(apex);
    let mut found: Option<Stamp> = None;
    for (i, entry) in fs::read_dir(directory)?.enumerate() {
        if i >= ENTRIES_MAX {
            return Err(FileError::TooMany);
        }
        let entry = entry?;
        if !entry
            .file_name()
            .to_str()
            .is_some_and(|name| is_of_zone(name, &stem))
        {
            continue;
        }
        // One that is gone by now was not the newest for long.
        let Some(meta) = fs::metadata(entry.path()).ok().filter(Metadata::is_file) else {
            continue;
        };
        let stamp = stamp_of(entry.path(), &meta);
        let order = |s: &Stamp| (s.modified, s.path.clone());
        if found
            .as_ref()
            .is_none_or(|best| order(best) < order(&stamp))
        {
            found = Some(stamp);
        }
    }
    found.ok_or(FileError::NoneOfZone(stem))
}

/// What the names of a zone's files begin with: the zone without its last dot, `root` for the root.
fn stem(apex: &Name) -> String {
    match apex.is_root() {
        true => "root".to_owned(),
        false => apex
            .to_lowercase()
            .to_string()
            .trim_end_matches('.')
            .to_owned(),
    }
}

/// Whether a file is named like one of the zone's: `ru`, `ru.zone`, `ru-2026113001`, and not like one that somebody is still
/// writing or has put aside.
fn is_of_zone(name: &str, stem: &str) -> bool {
    const ASIDE: [&str; 8] = [
        ".tmp", ".part", ".partial", ".swp", ".bak", ".old", ".jnl", "~",
    ];
    let rest = match name.get(..stem.len()) {
        Some(head) if head.eq_ignore_ascii_case(stem) => &name[stem.len()..],
        _ => return false,
    };
    (rest.is_empty() || rest.starts_with(['.', '-', '_']))
        && !ASIDE.iter().any(|end| rest.ends_with(end))
}

/// Reads the zone in the file, or in the newest one of a directory, with what exceeds memory in `scratch`; blocks.
///
/// # Errors
/// It cannot be read or is too large. That it is no zone file of `apex` is part of what was read.
pub fn read(
    path: &Path,
    apex: &Name,
    bytes_max: u64,
    scratch: &Path,
) -> Result<Reading, FileError> {
    read_within(path, apex, bytes_max, &Room::beside(scratch))
}

/// As [`read`], within a room that was measured before.
fn read_within(
    path: &Path,
    apex: &Name,
    bytes_max: u64,
    room: &Room,
) -> Result<Reading, FileError> {
    let before = stamp(path, apex)?;
    let path = &*before.path;
    if before.len > bytes_max {
        return Err(FileError::TooLarge(bytes_max));
    }
    // A file may also grow while it is read.
    let source = File::open(path)?.take(bytes_max.saturating_add(1));
    let text = FileText::read(source, before.len, room).map_err(|error| match error {
        TextError::Read(error) => FileError::Read(error.kind()),
        TextError::Copy(error) => FileError::Copy(error.kind()),
    })?;
    if text.len() as u64 > bytes_max {
        return Err(FileError::TooLarge(bytes_max));
    }
    if stamp(path, apex)? != before || text.len() as u64 != before.len {
        return Err(FileError::Changing);
    }
    let file = path.display().to_string();
    let builder = memory::builder_in(room, apex, bytes_max);
    let mut includes = Includes::of(path, &text, bytes_max, room);
    let loaded = zone::load_into(builder, &text, &file, apex, Some(&mut includes));
    let included = includes.into_seen();
    let is_changing = included.iter().any(|file| *file != file.again());
    Ok(Reading {
        stamp: Stamp { included, ..before },
        zone: match loaded {
            _ if is_changing => Err(FileError::Changing),
            Ok(loaded) => Ok(loaded.image),
            Err(error) => Err(FileError::NotAZone(error.to_string())),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn files_are_known_by_their_names() {
        let check = |apex: &str, name: &str, expected: bool| {
            let stem = stem(&apex.parse().unwrap());
            assert_eq!(is_of_zone(name, &stem), expected, "{apex} {name}");
        };
        check("ru.", "ru", true);
        check("ru.", "ru.zone", true);
        check("RU.", "Ru-2026113001.zone", true);
        check("ru.", "ru.zone.tmp", false);
        check("ru.", "ru.zone~", false);
        check("ru.", ".ru.zone", false);
        check("ru.", "run.zone", false);
        check("ru.", "r", false);
        check("ru.", "\u{e9}", false);
        check("co.uk.", "co.uk_1", true);
        check(".", "root.zone", true);
        check(".", "ru.zone", false);
    }

    #[test]
    fn the_newest_of_a_directory_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let apex: Name = "ru.".parse().unwrap();
        let write = |name: &str, serial: u32, at_s: u64| {
            let path = directory.path().join(name);
            let text = format!("ru. 60 SOA ns.ru. h.ru. {serial} 2 3 4 5\nru. 60 NS ns.ru.\n");
            fs::write(&path, text).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(at_s))
                .unwrap();
        };
        let serial = || {
            let reading = read(directory.path(), &apex, 1 << 20, directory.path())?;
            reading.zone.map(|image| image.serial())
        };
        assert_eq!(serial(), Err(FileError::NoneOfZone("ru".into())));
        write("ru-1", 1, 100);
        write("ru-2", 2, 200);
        write("ru-3.tmp", 3, 300);
        write("rus-4", 4, 400);
        fs::create_dir(directory.path().join("ru.d")).unwrap();
        assert_eq!(serial(), Ok(2));
        write("ru-0", 5, 300);
        assert_eq!(serial(), Ok(5));
        write("ru-5", 6, 300);
        assert_eq!(serial(), Ok(6));
    }

    #[test]
    fn pipes_and_devices_are_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let apex: Name = "ru.".parse().unwrap();
        let pipe = directory.path().join("ru");
        let name = std::ffi::CString::new(pipe.to_str().unwrap()).unwrap();
        // SAFETY: the path ends in NUL.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        for path in [Path::new("/dev/null"), &pipe] {
            assert_eq!(stamp(path, &apex), Err(FileError::NoFile));
        }
        let read = read(Path::new("/dev/null"), &apex, 1 << 20, directory.path());
        assert_eq!(read.err(), Some(FileError::NoFile));
    }

    #[test]
    fn a_large_file_is_read_from_a_copy() {
        let directory = tempfile::tempdir().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let apex: Name = "ru.".parse().unwrap();
        let mut text = "@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\n".to_owned();
        text.extend((0..5000).map(|i| format!("d{i} 60 NS ns{}.x.\n", i % 7)));
        let path = directory.path().join("ru");
        fs::write(&path, &text).unwrap();
        let len = text.len() as u64;
        let read = |held_max, scratch: &Path| {
            let room = Room::holding(held_max, scratch);
            let read = read_within(&path, &apex, 1 << 20, &room);
            read.map(|reading| reading.zone.unwrap().digest())
        };
        let held = read(len, scratch.path());
        assert!(held.is_ok());
        assert_eq!(read(len - 1, scratch.path()), held);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        let nowhere = directory.path().join("none");
        let failed = Err(FileError::Copy(io::ErrorKind::NotFound));
        assert_eq!(read(len - 1, &nowhere), failed);
    }

    #[test]
    fn what_a_file_includes_is_watched_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let apex: Name = "ru.".parse().unwrap();
        let head = "@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\n$INCLUDE more\n";
        fs::write(at("ru"), head).unwrap();
        let read = || read(&at("ru"), &apex, 1 << 20, directory.path()).unwrap();
        let is_new = |stamp: &Stamp| stamp_after(&at("ru"), &apex, Some(stamp)).unwrap() != *stamp;
        // What is not there is waited for.
        let broken = read();
        assert!(broken.zone.is_err() && !is_new(&broken.stamp));
        fs::write(at("more"), "a 60 A 192.0.2.1\n").unwrap();
        assert!(is_new(&broken.stamp));
        let whole = read();
        assert_eq!(whole.zone.unwrap().record_count(), 3);
        assert!(!is_new(&whole.stamp));
        fs::write(at("more"), "a 60 A 192.0.2.1\nb 60 A 192.0.2.1\n").unwrap();
        assert!(is_new(&whole.stamp));
        // Both together count against the limit.
        let limit = fs::metadata(at("ru")).unwrap().len() + 10;
        let large = super::read(&at("ru"), &apex, limit, directory.path()).unwrap();
        let error = large.zone.unwrap_err().to_string();
        assert!(
            error.contains(&format!("the limit of {limit} octets")),
            "{error}"
        );
    }
}
