//! Own zones from their files.
//!
//! A file that cannot be used costs only its own zone: at start that zone answers SERVFAIL, on a reload the
//! version in memory stays. Both are logged and shown by `holdfast status`, and `holdfast check` finds them
//! beforehand.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast::config::ZoneConfig;
use holdfast::dns::Name;
use holdfast::query::own::{OwnZone, OwnZones};
use holdfast::zone::{LoadError, ZONE_BYTES_MAX, ZoneImage, load_file};

/// The own zones, and what is wrong with them.
pub struct Loaded {
    /// What is served.
    pub zones: OwnZones,
    /// Zones whose file cannot be used; why.
    pub errors: BTreeMap<Name, String>,
}

/// Reads every zone file. Where one cannot be used, the zone of `previous` stays.
pub fn load(configured: &[ZoneConfig], previous: &OwnZones) -> Loaded {
    let mut errors = BTreeMap::new();
    let zones = configured.iter().map(|config| {
        let zone = match read(config) {
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

/// Reads one zone file.
///
/// # Errors
/// `FILE:LINE:COLUMN: what is wrong`, for people; without the place where the zone as a whole is meant.
pub fn read(config: &ZoneConfig) -> Result<ZoneImage, LoadError> {
    let loaded = load_file(&config.file, Some(&config.name), ZONE_BYTES_MAX)?;
    Ok(loaded.image)
}
