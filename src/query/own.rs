//! Own zones: authoritative answers (RFC 1034 section 4.3.2).
//!
//! The deepest own zone above a name answers for it with AA=1. A chain of aliases is followed as long as
//! it stays in own zones; what leads out of them, and what a client with recursion asks below a
//! delegation, goes on to the resolver. A zone whose file could not be read stays in the set and says
//! SERVFAIL: falling through to the resolver would answer with somebody else's data.

use std::collections::HashMap;
use std::sync::Arc;

use crate::dns::{Ede, Name, Question, Rcode, Rtype, Soa};
use crate::query::acl::Rights;
use crate::query::reply::Answer;
use crate::query::request::Request;
use crate::zone::{Lookup, LookupKind, ZoneImage};

/// Earlier versions of a zone that are kept, so that secondaries can be told what changed (RFC 1995).
const EARLIER_MAX: usize = 4;
/// Octets of a zone's earlier versions; a zone that is larger than this is always transferred whole.
const EARLIER_BYTES_MAX: usize = 64 << 20;
/// Longer chains of aliases within own zones are cut.
const ALIASES_MAX: usize = 16;

/// One own zone.
#[derive(Clone)]
pub enum OwnZone {
    /// It is served.
    Loaded(Arc<ZoneImage>),
    /// Its file cannot be used; why, for people.
    Broken(String),
}

/// The own zones by apex.
#[derive(Clone, Default)]
pub struct OwnZones {
    zones: HashMap<Name, OwnZone>,
    /// Earlier versions by apex, newest first.
    earlier: HashMap<Name, Vec<Arc<ZoneImage>>>,
    /// Labels of the deepest apex: no longer suffix needs to be looked for.
    labels_max: usize,
    /// Forwarded zones below own ones.
    forwarded: Vec<Name>,
}

/// What own zones say to a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Own {
    /// The name is in no own zone.
    NotOurs,
    /// The client may not ask own zones.
    Refused,
    /// This is the answer.
    Answer(Answer),
    /// The chain so far leads out of own zones, or below a delegation of one: the resolver goes on.
    Resolve {
        /// The aliases so far, and the proofs of wildcards among them.
        so_far: Answer,
        /// What remains to be asked.
        question: Question,
    },
}

impl OwnZones {
    /// The set of these zones.
    pub fn new(zones: impl IntoIterator<Item = (Name, OwnZone)>) -> OwnZones {
        let zones: HashMap<_, _> = zones.into_iter().collect();
        let labels_max = zones.keys().map(Name::label_count).max().unwrap_or(0);
        OwnZones {
            zones,
            earlier: HashMap::new(),
            labels_max,
            forwarded: Vec::new(),
        }
    }

    /// Keeps the versions of `before` that these ones follow.
    pub fn following(mut self, before: &OwnZones) -> OwnZones {
        for (apex, zone) in &self.zones {
            let (OwnZone::Loaded(new), Some(OwnZone::Loaded(old))) = (zone, before.zone(apex))
            else {
                continue;
            };
            let kept = before.earlier.get(apex).cloned().unwrap_or_default();
            let earlier = match new.serial() == old.serial() {
                // The same version, or an edit without a new serial, which nobody can be told of.
                true => kept,
                false if Soa::serial_newer(new.serial(), old.serial()) => {
                    let mut room = EARLIER_BYTES_MAX;
                    let fits = |image: &Arc<ZoneImage>| match room.checked_sub(image.len_bytes()) {
                        Some(left) => {
                            room = left;
                            true
                        }
                        None => false,
                    };
                    let all = std::iter::once(old.clone()).chain(kept);
                    all.take(EARLIER_MAX).take_while(fits).collect()
                }
                // The serials begin anew.
                false => Vec::new(),
            };
            self.earlier.insert(apex.clone(), earlier);
        }
        self
    }

    /// An earlier version of the zone with this apex, if it is kept.
    pub fn earlier(&self, apex: &Name, serial: u32) -> Option<Arc<ZoneImage>> {
        let mut kept = self.earlier.get(apex)?.iter();
        kept.find(|image| image.serial() == serial).cloned()
    }

    /// Leaves what is at and below these names to forwarders, for clients that may use the resolver.
    pub fn without_forwarded<'n>(self, zones: impl IntoIterator<Item = &'n Name>) -> OwnZones {
        let below = |zone: &&Name| {
            self.deepest(zone)
                .is_some_and(|(apex, _)| zone.is_below(apex))
        };
        let forwarded = zones.into_iter().filter(below).cloned().collect();
        OwnZones { forwarded, ..self }
    }

    /// Each zone with its apex, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &OwnZone)> {
        self.zones.iter()
    }

    /// The zone with this apex.
    pub fn zone(&self, apex: &Name) -> Option<&OwnZone> {
        self.zones.get(apex)
    }

    /// The deepest own zone that `name` is in.
    pub fn deepest(&self, name: &Name) -> Option<(&Name, &OwnZone)> {
        if self.zones.is_empty() {
            return None;
        }
        let deepest = name.label_count().min(self.labels_max);
        (0..=deepest)
            .rev()
            .find_map(|count| self.zones.get_key_value(&name.suffix(count)))
    }

    /// The own zone that answers the question. RFC 4035 section 3.1.4.1: DS belongs to the zone above the
    /// cut; only where `child_may` (nobody else can be asked) the zone at the name itself speaks.
    pub(super) fn responsible(
        &self,
        question: &Question,
        child_may: bool,
    ) -> Option<(&Name, &OwnZone)> {
        let name = &question.name;
        let found = self.deepest(name)?;
        if question.rtype != Rtype::DS || found.0 != name {
            return Some(found);
        }
        match name.parent() {
            None => Some(found),
            Some(parent) => self.deepest(&parent).or_else(|| child_may.then_some(found)),
        }
    }

    /// Whether the question in the own zone `apex` belongs to a forwarded zone below it.
    fn is_forwarded(&self, question: &Question, apex: &Name) -> bool {
        // The DS set of a zone stands in the zone above it.
        let within = |zone: &Name| match question.rtype {
            Rtype::DS => question.name.is_below(zone),
            _ => question.name.is_within(zone),
        };
        let mut forwarded = self.forwarded.iter();
        forwarded.any(|zone| zone.is_below(apex) && within(zone))
    }

    /// What the own zones say; `recursion` tells whether the resolver may be used for this request.
    pub fn answer(&self, request: &Request, rights: Rights, recursion: bool) -> Own {
        let mut question = request.question.clone();
        let mut so_far = Answer {
            authoritative: true,
            ..Answer::default()
        };
        let mut seen = vec![question.name.clone()];
        loop {
            let Some((apex, zone)) = self.responsible(&question, !recursion) else {
                return leads_out(so_far, question, recursion);
            };
            if recursion && self.is_forwarded(&question, apex) {
                return leads_out(so_far, question, recursion);
            }
            if !rights.own_zones {
                return Own::Refused;
            }
            let image = match zone {
                OwnZone::Loaded(image) => image,
                OwnZone::Broken(why) => return Own::Answer(broken(&question.name, why)),
            };
            let lookup = image.lookup(&question.name, question.rtype);
            match &lookup.kind {
                LookupKind::OutOfZone => return leads_out(so_far, question, recursion),
                LookupKind::Unreadable => {
                    return Own::Answer(broken(&question.name, "its image is damaged"));
                }
                LookupKind::Referral(_) if recursion => {
                    return leads_out(so_far, question, recursion);
                }
                LookupKind::Alias(target) if !seen.contains(target) && seen.len() < ALIASES_MAX => {
                    question.name = target.clone();
                    seen.push(target.clone());
                    note_wildcard(&mut so_far, &lookup);
                    // The authority section of an alias is the proof of a wildcard.
                    so_far.answer.extend(lookup.answer);
                    so_far.authority.extend(lookup.authority);
                }
                _ => return Own::Answer(complete(so_far, lookup)),
            }
        }
    }
}

/// What follows is in no own zone, or below a delegation of one.
fn leads_out(so_far: Answer, question: Question, recursion: bool) -> Own {
    match (so_far.answer.is_empty(), recursion) {
        (_, true) => Own::Resolve { so_far, question },
        (true, false) => Own::NotOurs,
        // The client has to follow the alias by itself.
        (false, false) => Own::Answer(so_far),
    }
}

/// Of a chain, the first name is the one that was asked for.
fn note_wildcard(so_far: &mut Answer, lookup: &Lookup) {
    if so_far.answer.is_empty() {
        so_far.wildcard.clone_from(&lookup.wildcard);
    }
}

/// The end of a chain, put behind what came before.
fn complete(mut so_far: Answer, lookup: Lookup) -> Answer {
    let first = so_far.answer.is_empty();
    note_wildcard(&mut so_far, &lookup);
    match lookup.kind {
        // RFC 6604 section 3: the code speaks of the last name of the chain.
        LookupKind::NxDomain => so_far.rcode = Rcode::NXDOMAIN,
        LookupKind::TooLong => so_far.rcode = Rcode::YXDOMAIN,
        // RFC 1034 section 4.3.2 step 3b. AA speaks of the first name of the chain.
        LookupKind::Referral(_) if first => so_far.authoritative = false,
        _ => {}
    }
    so_far.answer.extend(lookup.answer);
    so_far.authority.extend(lookup.authority);
    so_far.additional.extend(lookup.additional);
    so_far
}

fn broken(name: &Name, why: &str) -> Answer {
    let text = format!("own zone of {name} is not usable: {why}");
    Answer::empty(Rcode::SERVFAIL, Some(Ede::new(Ede::NOT_READY, text)))
}
