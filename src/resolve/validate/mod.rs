//! Validation: from an answer that anybody may have sent to one whose standing is known.
//!
//! Why: what comes over the network is hearsay until a chain of signatures leads from it to a trust
//! anchor, or a chain of proofs shows that its zone is unsigned (RFC 4035 section 5). The trap is the
//! middle: an answer *without* signatures is right in an unsigned zone and forged in a signed one, so
//! here nothing is ever taken as insecure without a proof from the enclosing zone, unless that zone
//! itself is proven insecure.
//!
//! Model: a [`Validation`] is one response's way to its [`Verdict`]; it is sans-io. It starts at the
//! closest trust anchor above the name and walks down, asking for the DS sets and DNSKEY sets that it
//! needs ([`SubAsk`]); the answers come back raw and are judged here. Names of signers and of the
//! zone that answered say where to look first, never what to believe. Zones whose keys are known are
//! kept in the [`Validator`], which all validations share.
//!
//! - `chain`: the walk from anchor to zone, and the state machine around it
//! - `links`: the questions on the way and their replies
//! - `judge`: one response against one zone
//! - `signed`: one RRset against the zone's keys, the keys against DS or anchor
//! - `denial`: what a set of NSEC or NSEC3 records proves
//! - `budget`: what a single validation may cost
//! - `keys`: the cache of zones
//! - `told`: the links for whoever looks on
//!
//! As-of validation: a mirror whose signatures have run out answers with `SecureAsOf`. A chain through
//! such a link is secure-as-of; what hangs below it must validate with signatures valid *now*.
//!
//! Failure: an answer that cannot be brought to an end within the limits is bogus. A link of the chain that
//! is bogus is asked for again, from others than who gave it, before the verdict falls.

mod budget;
mod chain;
mod denial;
mod judge;
mod keys;
mod links;
mod signed;
#[cfg(test)]
mod tests;
mod told;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

pub use chain::{Validation, as_of_errors};

use super::{Origin, Response, Security};
use crate::clock::Now;
use crate::dns::{Ede, Name, Question, Rdata, Record, RrSet, Rtype};
use keys::KeyCache;

/// NSEC3 iterations above which a zone counts as insecure, unless set otherwise (RFC 9276 section 3.2).
pub const NSEC3_ITERATIONS_MAX: u16 = 100;
/// Zones that the key cache holds, unless set otherwise.
pub const ZONES_MAX: usize = 20_000;
/// How often a bogus link is asked for, the first time included.
pub const ATTEMPTS_MAX: u8 = 3;

/// What may be trusted, and how much.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Trust anchors: DS and DNSKEY records of any owner names. Other types are ignored.
    pub anchors: Vec<Record>,
    /// Names at and below which nothing is validated (RFC 7646), unless an anchor lies deeper.
    pub negative_trust_anchors: Vec<Name>,
    /// Whether algorithms 5 and 7 and SHA-1 DS records are checked; otherwise they count as unknown
    /// (RFC 9905).
    pub sha1: bool,
    /// NSEC3 iterations above which a zone counts as insecure.
    pub nsec3_iterations_max: u16,
    /// Zones that the key cache holds.
    pub zones_max: usize,
}

impl Default for Settings {
    /// No anchors: everything is insecure.
    fn default() -> Settings {
        Settings {
            anchors: Vec::new(),
            negative_trust_anchors: Vec::new(),
            sha1: false,
            nsec3_iterations_max: NSEC3_ITERATIONS_MAX,
            zones_max: ZONES_MAX,
        }
    }
}

/// What all validations share: anchors, policy, and the zones whose keys are known.
#[derive(Debug)]
pub struct Validator {
    anchors: HashMap<Name, Anchor>,
    negative_trust_anchors: Vec<Name>,
    sha1: bool,
    nsec3_iterations_max: u16,
    zones: Mutex<KeyCache>,
}

/// The anchors of one name.
#[derive(Debug, Clone, Default)]
struct Anchor {
    ds: Vec<Rdata>,
    dnskey: Vec<Rdata>,
}

impl Validator {
    /// A validator with an empty key cache.
    pub fn new(settings: Settings) -> Validator {
        let mut anchors: HashMap<Name, Anchor> = HashMap::new();
        for record in settings.anchors {
            match record.rtype {
                Rtype::DS => anchors
                    .entry(record.name)
                    .or_default()
                    .ds
                    .push(record.rdata),
                Rtype::DNSKEY => anchors
                    .entry(record.name)
                    .or_default()
                    .dnskey
                    .push(record.rdata),
                _ => {}
            }
        }
        Validator {
            anchors,
            negative_trust_anchors: settings.negative_trust_anchors,
            sha1: settings.sha1,
            nsec3_iterations_max: settings.nsec3_iterations_max,
            zones: Mutex::new(KeyCache::new(settings.zones_max)),
        }
    }

    /// The same anchors and policy, with an empty key cache.
    pub fn afresh(&self) -> Validator {
        Validator {
            anchors: self.anchors.clone(),
            negative_trust_anchors: self.negative_trust_anchors.clone(),
            sha1: self.sha1,
            nsec3_iterations_max: self.nsec3_iterations_max,
            zones: Mutex::new(KeyCache::new(ZONES_MAX)),
        }
    }

    /// Forgets every zone that was learned through an as-of link. Called at recovery; a validation that
    /// is under way cannot bring such a zone back.
    pub fn purge_as_of(&self) {
        self.cache().purge_as_of();
    }

    /// Forgets what is known of the zone `name`, and with `tree` of everything below it; returns how many zones went.
    pub fn forget(&self, name: &Name, tree: bool) -> usize {
        self.cache().flush(name, tree)
    }

    /// How many zones are known now.
    pub fn zones_known(&self) -> usize {
        self.cache().len()
    }

    /// Whether data of this name is to be validated at all: an anchor is above it, and no negative
    /// trust anchor is closer. A DS record belongs to the zone above its name.
    pub fn covers(&self, question: &Question) -> bool {
        self.anchor_above(&home(question)).is_some()
    }

    /// The closest anchor at or above `name`, unless a negative trust anchor is as close.
    fn anchor_above(&self, name: &Name) -> Option<&Name> {
        let depth = name.label_count();
        let (anchor, _) = (0..=depth)
            .rev()
            .find_map(|n| self.anchors.get_key_value(&name.suffix(n)))?;
        let switched_off = self
            .negative_trust_anchors
            .iter()
            .any(|off| name.is_within(off) && off.is_within(anchor));
        (!switched_off).then_some(anchor)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, KeyCache> {
        // The cache is sound between any two of its operations, so a poisoned lock is still good.
        self.zones.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// The name whose zone holds the answer: for DS the parent's, which holds the parent side of a cut
/// (RFC 4035 section 2.4).
fn home(question: &Question) -> Name {
    match question.rtype {
        Rtype::DS => question.name.parent().unwrap_or_else(Name::root),
        _ => question.name.clone(),
    }
}

/// What a [`Validation`] is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// Begin; the first and only the first event.
    Start,
    /// The outcome of a [`SubAsk`], raw and unvalidated.
    Reply {
        /// As in the [`SubAsk`].
        question: Question,
        /// As in the [`SubAsk`].
        attempt: u8,
        /// The zone's answer; `None` when it could not be had.
        result: Option<Response>,
    },
}

/// What a [`Validation`] wants.
#[derive(Debug, Clone)]
pub enum Step {
    /// Fetch these and report each with [`Event::Reply`]. Empty while earlier ones are still awaited.
    Ask(Vec<SubAsk>),
    /// The end. Replies that are still on their way are of no more interest.
    Done(Verdict),
}

/// A link of the chain that has to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubAsk {
    /// DS (of the parent side) or DNSKEY.
    pub question: Question,
    /// Above 0: the previous answer was bogus, so avoid who gave it and any cache. From 2 on: prefer the local
    /// mirror.
    pub attempt: u8,
}

/// The outcome of a [`Validation`].
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The standing of the whole response. The response code is part of what was judged, except beside an
    /// alias (CNAME, DNAME), where it may speak of the target and is worth nothing.
    pub security: Security,
    /// The answer section. Secure: only sets that validated, with TTLs cut to what their signatures
    /// allow. Insecure and bogus: as it came.
    pub answer: Vec<RrSet>,
    /// The authority section, likewise: when secure, SOA and the records of the proof.
    pub authority: Vec<RrSet>,
    /// Nothing of this may be kept or handed out for longer, seconds.
    pub ttl_max_s: Option<u32>,
    /// What else is to be told to the client: why it is insecure, which mirror it depends on. The
    /// error inside [`Security::Bogus`] is not repeated here.
    pub errors: Vec<Ede>,
    /// Who gave the data that was found bad, when somebody did.
    pub bogus_from: Option<Origin>,
}

/// What is known of a zone.
#[derive(Debug, Clone)]
enum ZoneStatus {
    /// Signed; these DNSKEYs (RDATA) are its own.
    Secure(std::sync::Arc<[Rdata]>),
    /// Proven to be without a chain; the reason, if it is one to tell.
    Insecure(Option<Ede>),
    /// Its chain is broken, as was found moments ago.
    Bogus(Ede),
}

/// How long something holds: until a moment of the monotonic clock, and while the wall clock is within
/// the validity of the signatures that it rests on.
#[derive(Debug, Clone, Copy)]
struct Lifetime {
    mono_end: Duration,
    wall_start_s: u64,
    wall_end_s: u64,
}

impl Lifetime {
    const UNLIMITED: Lifetime = Lifetime {
        mono_end: Duration::MAX,
        wall_start_s: 0,
        wall_end_s: u64::MAX,
    };

    fn seconds(now: Now, ttl_s: u32) -> Lifetime {
        Lifetime {
            mono_end: now.mono + Duration::from_secs(ttl_s.into()),
            wall_start_s: 0,
            wall_end_s: u64::MAX,
        }
    }

    fn holds(&self, now: Now) -> bool {
        now.mono < self.mono_end && (self.wall_start_s..=self.wall_end_s).contains(&now.wall_s)
    }

    fn and(self, other: Lifetime) -> Lifetime {
        Lifetime {
            mono_end: self.mono_end.min(other.mono_end),
            wall_start_s: self.wall_start_s.max(other.wall_start_s),
            wall_end_s: self.wall_end_s.min(other.wall_end_s),
        }
    }
}
