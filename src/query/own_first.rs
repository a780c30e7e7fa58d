//! Own zones as places that resolution starts from.
//!
//! A delegation in an own zone may be known to nobody else (a private zone below a name that the root
//! denies), so what lies below it is found only from here; the same goes for the addresses of name servers
//! inside own zones. [`OwnFirst`] is therefore a port of the resolver that knows the own zones and passes
//! on everything else. What own zones say is insecure to the resolver, not bogus: they are served as they are.

use std::sync::Arc;

use super::SharedSettings;
use super::own::OwnZone;
use crate::clock::Now;
use crate::dns::{Name, Question};
use crate::resolve::{Cover, LocalAnswer, LocalTrust, LocalZones, MirrorNote, Prefer};

/// The own zones in force, and who else holds zones.
pub struct OwnFirst {
    settings: SharedSettings,
    others: Arc<dyn LocalZones>,
}

impl OwnFirst {
    /// The own zones of `settings`, before those of `others`.
    pub fn new(settings: SharedSettings, others: Arc<dyn LocalZones>) -> OwnFirst {
        OwnFirst { settings, others }
    }
}

impl LocalZones for OwnFirst {
    fn cover(&self, question: &Question, now: Now) -> Option<Cover> {
        let other = self.others.cover(question, now);
        let settings = self.settings.load();
        let own = match settings.zones.responsible(question, false) {
            Some((apex, OwnZone::Loaded(_))) => apex,
            _ => return other,
        };
        // The deepest zone knows best.
        other.filter(|cover| cover.zone.is_below(own)).or_else(|| {
            Some(Cover {
                zone: own.clone(),
                prefer: Prefer::Now,
            })
        })
    }

    fn explore(&self, zone: &Name, now: Now) -> bool {
        let own = self.settings.load().zones.zone(zone).is_some();
        !own && self.others.explore(zone, now)
    }

    fn answer(&self, zone: &Name, question: &Question, now: Now) -> Option<LocalAnswer> {
        let settings = self.settings.load();
        let Some(OwnZone::Loaded(image)) = settings.zones.zone(zone) else {
            return self.others.answer(zone, question, now);
        };
        Some(LocalAnswer {
            lookup: image.lookup(&question.name, question.rtype),
            note: MirrorNote {
                zone: zone.clone(),
                serial: image.serial(),
                age_s: 0,
                trust: LocalTrust::Insecure,
            },
        })
    }
}
