//! Own zones and special names as places that resolution starts from.
//!
//! A delegation in an own zone may be known to nobody else (a private zone below a name that the root
//! denies), so what lies below it is found only from here; the same goes for the addresses of name servers
//! inside own zones. [`OwnFirst`] is therefore a port of the resolver that knows the own zones and passes
//! on everything else. Special names are known to it too, because aliases and name servers lead to them: what no client may
//! send to the root by asking must not go there by such a detour. What own zones and special names say is insecure to the resolver, not bogus: they are served as they are.

use std::sync::Arc;

use super::own::OwnZone;
use super::{SharedSettings, special};
use crate::clock::Now;
use crate::dns::{Name, Question};
use crate::resolve::{Cover, LocalAnswer, LocalTrust, LocalZones, MirrorNote, Prefer};
use crate::zone::LookupKind;

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
            Some((apex, OwnZone::Loaded(_))) => Some(apex),
            _ => None,
        };
        // A zone of the configuration below a special name has taken its part over, so at most one of them speaks.
        let Some(own) = settings.special.responsible(question).or(own) else {
            return other;
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

    fn explores(&self) -> bool {
        self.others.explores()
    }

    fn is_settled(&self, zone: &Name) -> bool {
        self.others.is_settled(zone)
    }

    /// Own zones and special names come and go with the settings, whose holder knows them.
    fn zones(&self) -> Vec<Name> {
        self.others.zones()
    }

    fn has_cut(&self, zone: &Name, question: &Question) -> bool {
        let settings = self.settings.load();
        match settings.zones.zone(zone) {
            Some(OwnZone::Loaded(image)) => image.has_cut(&question.name, question.rtype),
            _ if settings.special.responsible(question) == Some(zone) => false,
            _ => self.others.has_cut(zone, question),
        }
    }

    fn delegates(&self, zone: &Name, question: &Question, now: Now) -> bool {
        let settings = self.settings.load();
        match settings.zones.zone(zone) {
            Some(OwnZone::Loaded(image)) => {
                let lookup = image.lookup(&question.name, question.rtype);
                matches!(lookup.kind, LookupKind::Referral(_))
            }
            _ => self.others.delegates(zone, question, now),
        }
    }

    fn refusal(&self, zone: &Name, now: Now) -> Option<String> {
        self.others.refusal(zone, now)
    }

    fn answer(&self, zone: &Name, question: &Question, now: Now) -> Option<LocalAnswer> {
        let settings = self.settings.load();
        let (lookup, serial) = if let Some(OwnZone::Loaded(image)) = settings.zones.zone(zone) {
            let lookup = image.lookup(&question.name, question.rtype);
            (lookup, image.serial())
        } else if settings.special.responsible(question) == Some(zone) {
            (settings.special.lookup(question)?, special::SERIAL)
        } else {
            return self.others.answer(zone, question, now);
        };
        Some(LocalAnswer {
            lookup,
            note: MirrorNote {
                zone: zone.clone(),
                serial,
                age_s: 0,
                trust: LocalTrust::Insecure,
            },
        })
    }
}
