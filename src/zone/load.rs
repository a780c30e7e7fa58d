//! A zone file becomes an image; what is wrong is told with its place in the file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::build::{BuildError, BuildNotes, Builder, Parts};
use super::image::ZoneImage;
use super::include::Includes;
use super::parse::{ParseError, Records, records, records_with};
use super::room::{FileText, Room, TextError};
use crate::dns::{Name, Rtype};

/// A zone from a file.
#[derive(Debug)]
pub struct Loaded {
    /// The zone.
    pub image: ZoneImage,
    /// What was set right on the way; for the log.
    pub notes: BuildNotes,
}

/// Why a zone file gives no zone.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{file}: {error}")]
    Io {
        /// The file's name.
        file: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// What exceeds the memory that is free cannot be put aside.
    #[error(
        "{file}: larger than the memory that is free, and {directory} does not take the rest: {error}"
    )]
    Scratch {
        /// The file's name.
        file: String,
        /// Where it was to go.
        directory: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is larger than allowed.
    #[error("{file}: larger than the limit of {bytes_max} octets")]
    TooLarge {
        /// The file's name.
        file: String,
        /// The limit in octets.
        bytes_max: u64,
    },
    /// A record is malformed or cannot be in the zone.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The records together make no zone.
    #[error("{file}: {error}")]
    Build {
        /// The file's name.
        file: String,
        /// What is wrong.
        error: BuildError,
    },
}

/// Loads a zone from a text.
///
/// With `apex`, relative names are below it and the zone must be that one. Without, the zone is the
/// one that its SOA record names. `bytes_max` limits the records held, in octets.
pub fn load(
    text: &[u8],
    file: &str,
    apex: Option<&Name>,
    bytes_max: u64,
) -> Result<Loaded, LoadError> {
    let apex = match apex {
        Some(apex) => apex.clone(),
        None => soa_owner(records(text, file, None), file)?,
    };
    let builder = Builder::new(apex.clone()).bytes_max(bytes_max);
    load_into(builder, text, file, &apex, None)
}

/// Who sees the records of a zone while it is being read, in the order of the file.
pub trait Onlooker {
    /// The zone whose records come.
    fn begin(&mut self, apex: &Name);
    /// A record: its owner in wire form, its type, its TTL in seconds and its data.
    fn record(&mut self, owner: &[u8], rtype: Rtype, ttl: u32, rdata: &[u8]);
}

/// Nobody looks on.
struct Nobody;

impl Onlooker for Nobody {
    fn begin(&mut self, _apex: &Name) {}
    fn record(&mut self, _owner: &[u8], _rtype: Rtype, _ttl: u32, _rdata: &[u8]) {}
}

/// Loads the zone at `apex` from a text with a builder of the caller's; without `includes` it may include nothing.
pub fn load_into(
    builder: Builder,
    text: &[u8],
    file: &str,
    apex: &Name,
    includes: Option<&mut Includes>,
) -> Result<Loaded, LoadError> {
    let records = match includes {
        Some(includes) => records_with(text, file, Some(apex), includes),
        None => records(text, file, Some(apex)),
    };
    build(builder, records, file, &mut Nobody)
}

fn build(
    mut builder: Builder,
    mut records: Records<'_>,
    file: &str,
    onlooker: &mut dyn Onlooker,
) -> Result<Loaded, LoadError> {
    while let Some(read) = records.advance() {
        read?;
        let record = records.record();
        onlooker.record(&record.owner, record.rtype, record.ttl, &record.rdata);
        let parts = Parts {
            owner: &record.owner,
            rtype: record.rtype,
            ttl: record.ttl,
            rdata: &record.rdata,
            formed: true,
        };
        let error = match builder.add_parts(parts) {
            Ok(()) => continue,
            Err(error) => error,
        };
        return Err(match error {
            BuildError::Scratch(error) => not_put_aside(file, builder.scratch_directory(), error),
            error => records.error_here(error).into(),
        });
    }
    let scratch = builder.scratch_directory().to_owned();
    match builder.finish_noted() {
        Ok((image, notes)) => Ok(Loaded { image, notes }),
        Err(BuildError::Scratch(error)) => Err(not_put_aside(file, &scratch, error)),
        Err(error) => Err(LoadError::Build {
            file: file.to_owned(),
            error,
        }),
    }
}

fn not_put_aside(file: &str, directory: &Path, error: std::io::Error) -> LoadError {
    LoadError::Scratch {
        file: file.to_owned(),
        directory: directory.display().to_string(),
        error,
    }
}

/// Loads a zone from a file of at most `bytes_max` octets together with all that it includes; see [`load`]. What exceeds `room` is
/// read from a copy and built on disk; a zone that fits needs no disk.
pub fn load_file(
    path: &Path,
    apex: Option<&Name>,
    bytes_max: u64,
    room: &Room,
) -> Result<Loaded, LoadError> {
    load_file_before(path, apex, bytes_max, room, &mut Nobody)
}

/// As [`load_file`], before an onlooker.
pub fn load_file_before(
    path: &Path,
    apex: Option<&Name>,
    bytes_max: u64,
    room: &Room,
    onlooker: &mut dyn Onlooker,
) -> Result<Loaded, LoadError> {
    let file = path.display().to_string();
    let io_error = |error| LoadError::Io {
        file: file.clone(),
        error,
    };
    let source = File::open(path).map_err(io_error)?;
    let len = source.metadata().map_err(io_error)?.len();
    if len > bytes_max {
        return Err(LoadError::TooLarge { file, bytes_max });
    }
    // It may also grow while it is read.
    let source = source.take(bytes_max.saturating_add(1));
    let text = FileText::read(source, len, room).map_err(|error| match error {
        TextError::Read(error) => io_error(error),
        TextError::Copy(error) => not_put_aside(&file, room.scratch(), error),
    })?;
    if text.len() as u64 > bytes_max {
        return Err(LoadError::TooLarge { file, bytes_max });
    }
    let includes = || Includes::of(path, &text, bytes_max, room);
    let apex = match apex {
        Some(apex) => apex.clone(),
        None => soa_owner(records_with(&text, &file, None, &mut includes()), &file)?,
    };
    let builder = room.builder(&apex).bytes_max(bytes_max).memory_will_do();
    onlooker.begin(&apex);
    let mut includes = includes();
    let records = records_with(&text, &file, Some(&apex), &mut includes);
    build(builder, records, &file, onlooker)
}

/// The owner of the first SOA record.
fn soa_owner(records: Records<'_>, file: &str) -> Result<Name, LoadError> {
    for record in records {
        let record = record?;
        if record.rtype == Rtype::SOA {
            return Ok(record.name);
        }
    }
    Err(LoadError::Build {
        file: file.to_owned(),
        error: BuildError::NoSoa(Name::root()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::{Place, ZONE_BYTES_MAX};

    fn check(text: &str, expected: &str) {
        let apex = "example.".parse().unwrap();
        let got = match load(text.as_bytes(), "z", Some(&apex), ZONE_BYTES_MAX) {
            Ok(loaded) => format!("{} records", loaded.image.record_count()),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected, "{text}");
    }

    #[test]
    fn zones_that_are_none_say_why() {
        const SOA: &str = "@ 60 SOA ns h 1 2 3 4 5\n";
        let zone = |rest: &str| format!("{SOA}{rest}\n");
        check(&zone("a A 192.0.2.1"), "2 records");
        check(&zone(SOA), "1 records");
        check("", "z: the zone example. has no SOA record");
        check("a A 192.0.2.1", "z: the zone example. has no SOA record");
        check(
            &zone("@ SOA ns h 2 2 3 4 5"),
            "z:2:1: example. SOA: a zone has exactly one SOA record, at its apex",
        );
        check(
            &zone("a SOA ns h 1 2 3 4 5"),
            "z:2:1: a.example. SOA: a zone has exactly one SOA record, at its apex",
        );
        check(
            &zone("\n a.example.net. A 192.0.2.1\nx.net. A 192.0.2.1"),
            "z:3:2: expected a TTL, a class or a record type",
        );
        check(
            &zone("x.net. A 192.0.2.1"),
            "z:2:1: x.net. A is outside the zone example.",
        );
        check(
            &zone("a CNAME b\na A 192.0.2.1"),
            "z: a.example. has a CNAME record and other data",
        );
        check(
            &zone("a CNAME b\na CNAME c"),
            "z: a.example. has more than one CNAME record",
        );
        check(&zone("a CNAME b\nA CNAME B"), "2 records");
        check(
            &zone("a TYPE255 \\# 0"),
            "z:2:1: a.example. ANY: this type cannot be in a zone",
        );
        // Below a cut nothing is the zone's own: kept as it came.
        check(&zone("a NS b\nx.a CNAME b\nx.a A 192.0.2.1"), "4 records");
    }

    #[test]
    fn limits_hold() {
        let text = format!("@ SOA ns h 1 2 3 4 5\n{}", "a A 192.0.2.1\n".repeat(100));
        let apex = "example.".parse().unwrap();
        let error = load(text.as_bytes(), "z", Some(&apex), 1000).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("larger than the limit of 1000 octets"),
            "{error}"
        );
        let big = "a TYPE65280 \\# 40000 ".to_owned() + &"00".repeat(40_000);
        let text = format!("@ SOA ns h 1 2 3 4 5\n{big}\n{}ff\n", &big[..big.len() - 2]);
        let error = load(text.as_bytes(), "z", Some(&apex), ZONE_BYTES_MAX).unwrap_err();
        let message = "z: a.example. TYPE65280: more data than can be answered";
        assert_eq!(error.to_string(), message);
    }

    // Counts of the bundled snapshot, counted in its text.
    #[test]
    fn the_root_zone_loads() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/root.zone");
        let room = Room::beside(&std::env::temp_dir());
        let Loaded { image, notes } = load_file(&path, None, 64 << 20, &room).unwrap();
        assert_eq!(notes, BuildNotes::default());
        assert!(image.apex().is_root());
        assert_eq!((image.serial(), image.record_count()), (2026073102, 24_877));
        assert_eq!(image.delegation_count(), 1_438);
        let cuts = image
            .nodes()
            .filter(|n| n.place == Place::Delegation)
            .count();
        assert_eq!(cuts, 1_438);
        let records: usize = image
            .nodes()
            .flat_map(|n| n.sets)
            .map(|s| s.rdatas.len() + s.sigs.len())
            .sum();
        assert_eq!(records, 24_877);
        // In order, whatever order the records came in.
        let names: Vec<Name> = image.nodes().map(|n| n.name).collect();
        assert!(names.is_sorted());
        let mut builder = Builder::new(Name::root());
        let text = std::fs::read(&path).unwrap();
        let mut all: Vec<_> = records_of(&text);
        all.reverse();
        for record in all {
            builder.add(record).unwrap();
        }
        assert_eq!(builder.finish().unwrap().as_bytes(), image.as_bytes());
    }

    /// The same zone from memory and from the pages of copies, with what it includes; and why there is none without a disk.
    #[test]
    fn files_larger_than_their_room_load() {
        let place = tempfile::tempdir().unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let more: String = (0..5000)
            .map(|i| format!("d{i} 60 NS ns{}.x.\n", i % 7))
            .collect();
        let text = "example. 60 SOA ns. h. 1 2 3 4 5\n$ORIGIN example.\n@ 60 NS ns\n\
                    $INCLUDE more a\n$INCLUDE more b\n";
        let path = place.path().join("zone");
        std::fs::write(&path, text).unwrap();
        std::fs::write(place.path().join("more"), &more).unwrap();
        let read = |held_max: u64, scratch: &Path| {
            load_file(&path, None, 1 << 20, &Room::holding(held_max, scratch))
        };
        let whole = read(1 << 20, &scratch.path().join("none")).unwrap().image;
        assert_eq!(whole.record_count(), 10_002);
        // Nothing held; the zone file alone; the file that it includes, but not beside it; both, and not all records.
        let len = std::fs::metadata(&path).unwrap().len();
        let more = more.len() as u64;
        for held_max in [0, len, more, more + len] {
            let loaded = read(held_max, scratch.path()).unwrap();
            assert_eq!(loaded.image.as_bytes(), whole.as_bytes(), "{held_max}");
            assert_eq!(loaded.notes, BuildNotes::default());
            let failed = read(held_max, &scratch.path().join("none")).unwrap_err();
            let (failed, none) = (failed.to_string(), scratch.path().join("none"));
            assert!(failed.starts_with(&*path.display().to_string()), "{failed}");
            assert!(
                failed.contains("No such file or directory")
                    && (failed.contains(&*none.display().to_string())
                        || failed.contains("too large for the memory that is free")),
                "{failed}"
            );
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        let error = load_file(&path, None, 1000, &Room::holding(0, scratch.path())).unwrap_err();
        assert!(
            error.to_string().contains("the limit of 1000 octets"),
            "{error}"
        );
    }

    fn records_of(text: &[u8]) -> Vec<crate::dns::Record> {
        records(text, "z", None).collect::<Result<_, _>>().unwrap()
    }
}
