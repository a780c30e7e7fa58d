//! Secondaries hear of new versions of own zones and mirrors.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast::config::{Config, NotifyTarget};
use holdfast::dns::{Name, Rtype};
use holdfast::mirror::{Mirror, Mirrors};
use holdfast::notify::{News, Notifier};
use holdfast::query::own::{OwnZone, OwnZones};
use holdfast::zone::ZoneImage;
use tokio::sync::broadcast::error::RecvError;

/// Tells of each mirror's current version, and then of every new one, until the mirrors are gone.
pub async fn follow_mirrors(mirrors: Arc<Mirrors>, notifier: Notifier) {
    let mut generations = mirrors.subscribe();
    for mirror in mirrors.all() {
        tell_of_mirror(&notifier, &mirror);
    }
    loop {
        match generations.recv().await {
            Ok(event) => {
                if let Some(mirror) = mirrors.find(&event.zone) {
                    tell_of_mirror(&notifier, &mirror);
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// The bundled snapshot is news to nobody, and is not handed on.
fn tell_of_mirror(notifier: &Notifier, mirror: &Mirror) {
    let targets = &mirror.config().notify;
    if let Some(current) = mirror.current().filter(|g| !g.is_bootstrap()) {
        tell(notifier, current.image(), targets);
    }
}

/// Tells of own zones and produced catalogs whose version is another than before.
pub fn tell_of_zones(notifier: &Notifier, config: &Config, now: &OwnZones, before: &OwnZones) {
    let produced = config.catalogs.iter().filter(|catalog| catalog.produce);
    let targets: HashMap<&Name, &[NotifyTarget]> = (config.zones.iter())
        .map(|zone| (&zone.name, &zone.notify[..]))
        .chain(produced.map(|catalog| (&catalog.zone, &catalog.member.notify[..])))
        .collect();
    let serial = |zones: &OwnZones, apex: &Name| match zones.zone(apex) {
        Some(OwnZone::Loaded(image)) => Some(image.serial()),
        _ => None,
    };
    for (apex, zone) in now.iter() {
        let OwnZone::Loaded(image) = zone else {
            continue;
        };
        if serial(before, apex) != Some(image.serial()) {
            tell(notifier, image, targets.get(apex).copied().unwrap_or(&[]));
        }
    }
}

fn tell(notifier: &Notifier, image: &ZoneImage, targets: &[NotifyTarget]) {
    let soa = image.find(image.apex(), Rtype::SOA);
    if let Some(soa) = soa.and_then(|set| set.records(false).next()) {
        notifier.tell(News {
            soa,
            targets: targets.to_vec(),
        });
    }
}
