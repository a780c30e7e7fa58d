//! Catalog zones that are made here (RFC 9432), of all mirrors and own zones.
//!
//! A new one is made when the list of zones changes, and its secondaries are told. Its serial is the time, or one more than the last
//! one: it also grows across a restart.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast::catalog::{Membership, produce};
use holdfast::config::Config;
use holdfast::dns::Name;
use holdfast::mirror::Mirrors;
use holdfast::query::own::{OwnZone, OwnZones};

/// The catalogs of `config` over what there is now. One whose list is that of `before` stays as it is.
pub fn catalogs(config: &Config, mirrors: &Mirrors, before: &OwnZones, now_s: u64) -> OwnZones {
    let catalogs: BTreeSet<&Name> = config
        .catalogs
        .iter()
        .map(|catalog| &catalog.zone)
        .collect();
    let mirrored = mirrors.all();
    let mirrored = mirrored.iter().map(|mirror| mirror.zone());
    let own = config.zones.iter().map(|zone| &zone.name);
    // A catalog is the list, and not on it.
    let zones: BTreeSet<&Name> = (mirrored.chain(own))
        .filter(|zone| !catalogs.contains(zone))
        .collect();
    let produced = config.catalogs.iter().filter(|catalog| catalog.produce);
    let made = produced.map(|catalog| {
        let apex = &catalog.zone;
        (apex.clone(), make(apex, &zones, before.zone(apex), now_s))
    });
    OwnZones::new(made.collect::<Vec<_>>()).following(before)
}

fn make(apex: &Name, zones: &BTreeSet<&Name>, before: Option<&OwnZone>, now_s: u64) -> OwnZone {
    let mut serial = now_s as u32;
    if let Some(OwnZone::Loaded(image)) = before {
        let listed = Membership::read(image).unwrap_or_default();
        if listed.members.keys().eq(zones.iter().copied()) {
            return OwnZone::Loaded(image.clone());
        }
        if !holdfast::dns::Soa::serial_newer(serial, image.serial()) {
            serial = image.serial().wrapping_add(1);
        }
    }
    match produce(apex, serial, zones.iter().copied()) {
        Ok(image) => {
            tracing::info!(catalog = %apex, serial, zones = zones.len(), "catalog made");
            OwnZone::Loaded(Arc::new(image))
        }
        Err(error) => {
            tracing::error!(catalog = %apex, %error, "the catalog cannot be made");
            OwnZone::Broken(error.to_string())
        }
    }
}
