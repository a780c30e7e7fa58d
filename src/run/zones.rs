//! Own zones from their files.
//!
//! A file that cannot be used costs only its own zone: at start that zone answers SERVFAIL, on a reload the
//! version in memory stays. Both are logged and shown by `holdfast status`, and `holdfast check` finds them
//! beforehand.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast::config::ZoneConfig;
use holdfast::dns::Name;
use holdfast::query::own::{OwnZone, OwnZones};
use holdfast::zone::{LoadError, Room, ZONE_BYTES_MAX, ZoneImage, load_file, scratch};

/// The own zones, and what is wrong with them.
pub struct Loaded {
    /// What is served.
    pub zones: OwnZones,
    /// Zones whose file cannot be used; why.
    pub errors: BTreeMap<Name, String>,
}

/// Reads every zone file, with what exceeds memory in `data_dir`. Where one cannot be used, the zone of `previous` stays.
pub fn load(configured: &[ZoneConfig], previous: &OwnZones, data_dir: &Path) -> Loaded {
    scratch::clear(data_dir);
    let mut errors = BTreeMap::new();
    let zones = configured.iter().map(|config| {
        let zone = match read(config, data_dir) {
            Ok(image) => OwnZone::Loaded(Arc::new(image)),
            Err(why) => {
                let why = why.to_string();
                let old = previous.zone(&config.name).cloned();
                let kept = matches!(old, Some(OwnZone::Loaded(_)));
                let until_then = match kept {
                    true => "the version in memory stays",
                    false => "it answers SERVFAIL",
                };
                tracing::error!(zone = %config.name, "own zone: {why}; until it is mended and reloaded, {until_then}");
                errors.insert(config.name.clone(), why.clone());
                old.unwrap_or(OwnZone::Broken(why))
            }
        };
        (config.name.clone(), zone)
    });
    let zones = OwnZones::new(zones.collect::<Vec<_>>());
    Loaded { zones, errors }
}

/// Where commands put what exceeds memory: `TMPDIR`, else a directory that is on a disk, which `/tmp` often is not.
pub fn temporary_directory() -> PathBuf {
    let on_disk = Path::new("/var/tmp");
    match env::var_os("TMPDIR").is_none() && on_disk.is_dir() {
        true => on_disk.to_owned(),
        false => env::temp_dir(),
    }
}

/// Reads one zone file, with what exceeds memory in `scratch`.
///
/// # Errors
/// `FILE:LINE:COLUMN: what is wrong`, for people; without the place where the zone as a whole is meant.
pub fn read(config: &ZoneConfig, scratch: &Path) -> Result<ZoneImage, LoadError> {
    let file = &config.file;
    // Opening a pipe would wait for a writer, and the server with it.
    if fs::metadata(file).is_ok_and(|meta| !meta.is_file()) {
        return Err(LoadError::Io {
            file: file.display().to_string(),
            error: io::Error::other("it is no file"),
        });
    }
    let room = Room::beside(scratch);
    let loaded = load_file(&config.file, Some(&config.name), ZONE_BYTES_MAX, &room)?;
    Ok(loaded.image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_no_zone_file() {
        let config = ZoneConfig {
            name: Name::root(),
            file: "/dev/null".into(),
            notify: Vec::new(),
        };
        let error = read(&config, &env::temp_dir()).unwrap_err();
        assert_eq!(error.to_string(), "/dev/null: it is no file");
    }
}
