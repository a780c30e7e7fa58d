//! `holdfast mirror export | import`: what an operator does with whole versions of a zone.
//!
//! The versions are files that never change, so what is read here is read from them directly: by the command, not by the
//! server, which only tells where they are. Without a running server the ledger tells. A version is checked whole before it
//! is read from; a refused or held one can be looked at like any other.
//!
//! Work that takes long is told on stderr while it lasts, if somebody looks on.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use holdfast::cli::told::Exported;
use holdfast::clock::Clock;
use holdfast::config::{Config, Located};
use holdfast::control::api::Request;
use holdfast::control::client::{self, AskError};
use holdfast::control::status::{MirrorDone, MirrorStatus, transfer_text};
use holdfast::dns::{Name, Record, Rtype};
use holdfast::mirror::store::image_file;
use holdfast::mirror::{Generation, GenerationInfo, GenerationState, offline};
use holdfast::zone::{ZoneImage, present};
use serde_json::Value;

use super::Fault;
use super::progress::{PAUSE, Progress};

/// A stored version: what the ledger says, and its data.
pub struct Version {
    /// What the ledger says.
    pub told: GenerationInfo,
    /// Its data.
    pub image: ZoneImage,
}

/// The stored versions of a zone, newest first: from the running server, or from the disk of one that does not run.
pub(super) async fn list(server: &Located, zone: &Name) -> Result<Vec<GenerationInfo>, Fault> {
    let request = Request::MirrorShow {
        zone: zone.to_string(),
    };
    let value = match client::ask(&server.socket, &request).await {
        Ok(value) => value,
        Err(AskError::NotRunning { .. }) => {
            serde_json::to_value(offline::versions(&server.data_dir, zone)?)?
        }
        Err(error) => return Err(error.into()),
    };
    Ok(serde_json::from_value(value)?)
}

pub(super) fn open(told: &GenerationInfo) -> Result<Version, Fault> {
    let path = told.file.as_ref().ok_or_else(|| {
        format!(
            "of serial {} only the note is kept, not the data",
            told.serial
        )
    })?;
    let opened = image_file::open(path);
    let (image, _) = opened.map_err(|error| format!("serial {}: {error}", told.serial))?;
    Ok(Version {
        told: told.clone(),
        image,
    })
}

/// The version that is wanted: by its serial, else the one in this state.
pub(super) fn pick<'a>(
    list: &'a [GenerationInfo],
    zone: &Name,
    serial: Option<u32>,
) -> Result<&'a GenerationInfo, Fault> {
    let found = match serial {
        Some(serial) => list.iter().find(|v| v.serial == serial),
        None => list.iter().find(|v| v.state == GenerationState::Current),
    };
    found.ok_or_else(|| match serial {
        Some(serial) => format!(
            "no version {serial} of {zone} is stored; `holdfast mirror show {zone}` lists them"
        )
        .into(),
        None => format!("no version of {zone} is current").into(),
    })
}

/// Writes a version as a zone file, to `file` or else to stdout; returns which one, for scripts.
///
/// # Errors
/// There is no such version, or it cannot be read or written.
pub async fn export(
    server: &Located,
    zone: &Name,
    serial: Option<u32>,
    file: Option<&Path>,
) -> Result<Exported, Fault> {
    let list = list(server, zone).await?;
    let version = open(pick(&list, zone, serial)?)?;
    match file {
        None => match write_zone(&version, &mut io::stdout().lock()) {
            // A reader that has seen enough is no fault.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        },
        // A device or a pipe is written to; nothing takes its place.
        Some(file) if fs::metadata(file).is_ok_and(|meta| !meta.is_file()) => {
            let written = File::options().write(true).open(file);
            let written = written.and_then(|mut out| write_zone(&version, &mut out));
            written.map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Some(file) => {
            let _progress = Progress::start(format!("writing serial {}", version.told.serial));
            // Whoever reads the file meanwhile gets the old one or the new one.
            let name = file.file_name().ok_or("the file has no name")?;
            let beside = file.with_file_name(format!(".{}.tmp", name.to_string_lossy()));
            // Nor is anything written to that somebody else has put there.
            let _ = fs::remove_file(&beside);
            let made = File::options().write(true).create_new(true).open(&beside);
            let written = made.and_then(|mut out| {
                write_zone(&version, &mut out)?;
                out.sync_all()?;
                fs::rename(&beside, file)
            });
            if let Err(error) = written {
                let _ = fs::remove_file(&beside);
                return Err(format!("{}: {error}", file.display()).into());
            }
        }
    }
    let told = version.told;
    Ok(Exported {
        zone: zone.to_string(),
        serial: told.serial,
        state: told.state,
        digest: told.digest,
        records: told.records,
        file: file.map(Path::to_owned),
    })
}

/// The zone in canonical order, but for the SOA, with which other programs want a file to begin.
fn write_zone(version: &Version, out: &mut dyn Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 18, out);
    let (told, image) = (&version.told, &version.image);
    writeln!(
        out,
        "; zone {} serial {}, {}, digest {}",
        image.apex(),
        told.serial,
        told.state,
        told.digest
    )?;
    let mut line = |record: &Record| writeln!(out, "{}", present::record(record));
    let apex = image.apex();
    if let Some(set) = image.find(apex, Rtype::SOA) {
        set.records(true).try_for_each(|record| line(&record))?;
    }
    for node in image.nodes() {
        for set in node.sets {
            if set.rtype == Rtype::SOA && set.name == *apex {
                continue;
            }
            set.records(true).try_for_each(|record| line(&record))?;
        }
    }
    out.flush()
}

/// Hands a zone file to the server, or takes it up where none runs.
///
/// # Errors
/// It does not verify, is not newer, or is held.
pub async fn import(
    server: &Located,
    config_file: &Path,
    zone: &Name,
    file: &Path,
) -> Result<Value, Fault> {
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    let meta = fs::metadata(file).map_err(failed)?;
    if !meta.is_file() {
        return Err(format!("{}: it is no file", file.display()).into());
    }
    // The server may not be able to open it: it is handed over.
    let opened = File::open(file).map_err(failed)?;
    // What is open without a name is a file, too.
    let path = fs::canonicalize(file).or_else(|_| std::path::absolute(file));
    let path = path.map_err(failed)?;
    let zone_text = zone.to_string();
    let request = Request::MirrorImport {
        zone: zone_text.clone(),
        file: (path.to_str().ok_or("the file's path is not UTF-8")?).to_owned(),
        octets: meta.len(),
    };
    let progress = Progress::start(format!("verifying {}", path.display()));
    let asked = client::hand_over(&server.socket, &request, opened);
    let answer = followed(&server.socket, &zone_text, asked, &progress).await;
    let done = match answer {
        Ok(value) => value,
        Err(AskError::NotRunning { .. }) => {
            serde_json::to_value(import_stopped(config_file, zone, &path).await?)?
        }
        Err(error) => return Err(error.into()),
    };
    drop(progress);
    Ok(done)
}

async fn import_stopped(config_file: &Path, zone: &Name, file: &Path) -> Result<MirrorDone, Fault> {
    let config = Config::load(config_file)?;
    let mirror = config.mirrors.iter().find(|m| m.zone == *zone);
    let mirror = mirror.ok_or_else(|| format!("{zone} is no mirror of this configuration"))?;
    super::make_data_dir(&config.server.data_dir)?;
    let current = offline::import(&config, mirror, file, Clock::system()).await?;
    Ok(done(zone, Some(&current)))
}

/// What a command to a mirror has led to.
pub fn done(zone: &Name, current: Option<&Generation>) -> MirrorDone {
    let row = current.map(|g| g.row());
    MirrorDone {
        zone: zone.to_string(),
        serial: row.map(|row| row.serial),
        proves: row
            .map(|row| row.proves.clone())
            .filter(|text| !text.is_empty()),
        warnings: row.map_or_else(Vec::new, |row| row.warnings.clone()),
    }
}

/// Has the server ask a mirror's sources, and tells how far it is while it lasts.
///
/// # Errors
/// The server does not answer, or no source brought or confirmed a version.
pub async fn refresh(server: &Located, zone: &str) -> Result<Value, AskError> {
    let request = Request::MirrorRefresh {
        zone: zone.to_owned(),
    };
    let progress = Progress::start(format!("asking the sources of {zone}"));
    let asked = client::ask(&server.socket, &request);
    followed(&server.socket, zone, asked, &progress).await
}

/// The server's answer; `progress` says meanwhile what is on its way into the mirror.
async fn followed(
    socket: &Path,
    zone: &str,
    asked: impl Future<Output = Result<Value, AskError>>,
    progress: &Progress,
) -> Result<Value, AskError> {
    tokio::select! {
        answer = asked => answer,
        () = watch(socket, zone, progress) => unreachable!("it watches for ever"),
    }
}

/// Whether an operator means this zone.
fn is_named(zone: &str, meant: &str) -> bool {
    let meant: Option<Name> = meant.parse().ok();
    meant.is_some_and(|meant| zone.parse::<Name>().is_ok_and(|zone| zone == meant))
}

/// Tells how far the server is with what is on its way into a mirror, for ever.
async fn watch(socket: &Path, zone: &str, progress: &Progress) {
    loop {
        tokio::time::sleep(PAUSE).await;
        if !progress.is_shown() {
            continue;
        }
        let Ok(list) = client::ask(socket, &Request::MirrorList).await else {
            continue;
        };
        let list: Vec<MirrorStatus> = serde_json::from_value(list).unwrap_or_default();
        let mirror = list.iter().find(|m| is_named(&m.mirror.zone, zone));
        if let Some(transfer) = mirror.and_then(|m| m.mirror.transfer.as_ref()) {
            let share = transfer.percent.map(|percent| f64::from(percent) / 100.0);
            progress.say(transfer_text(transfer), share);
        }
    }
}
