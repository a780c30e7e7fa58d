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
//! - `kept`: links that were proven earlier, where they cannot be had now
//! - `ranges`, `synthesis`: validated denials, and the answers that can be made from them (RFC 8198)
//! - `told`: the links for whoever looks on
//!
//! Retained delegations: where a link cannot be had because the parent's servers are gone, the walk goes on at the DS set that was
//! proven while they answered ([`Validation::keeping`]), or ends insecure if it was proven that there is none.
//!
//! As-of validation: a mirror whose signatures have run out answers with `SecureAsOf`, and so does a retained DS set. A chain through
//! such a link is secure-as-of; what hangs below it must validate with signatures valid *now*.
//!
//! Failure: an answer that cannot be brought to an end within the limits is bogus. A link of the chain that
//! is bogus is asked for again, from others than who gave it, before the verdict falls.

mod budget;
mod chain;
mod denial;
mod judge;
mod kept;
mod keys;
mod links;
mod ranges;
mod signed;
mod synthesis;
#[cfg(test)]
mod tests;
mod told;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;

pub use chain::Validation;
pub use chain::verdicts::as_of_errors;
pub use kept::{ProvenCut, ProvenKeys};
pub use synthesis::Synthesised;

use super::trace::origin_words;
use super::{MirrorNote, Origin, Response, RetainedNote, Security};
use crate::clock::Now;
use crate::config::NegativeTrustAnchor;
use crate::dns::{Class, Ede, Name, Question, Rdata, Record, RrSet, Rtype};
use crate::dnssec::nsec3;
use judge::Judged;
use keys::KeyCache;
use ranges::{At, RANGES_BYTES_MAX, Ranges};

/// Zones that the key cache holds, unless set otherwise.
pub const ZONES_MAX: usize = 20_000;
/// How often a bogus link is asked for, the first time included.
pub const ATTEMPTS_MAX: u8 = 3;

/// What may be trusted, and how much.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Trust anchors: DS and DNSKEY records of any owner names. Other types are ignored.
    pub anchors: Vec<Record>,
    /// Where nothing is validated (RFC 7646), unless an anchor lies deeper.
    pub negative_trust_anchors: Vec<NegativeTrustAnchor>,
    /// Whether algorithms 5 and 7 and SHA-1 DS records are checked; otherwise they count as unknown
    /// (RFC 9905).
    pub sha1: bool,
    /// NSEC3 iterations above which a zone counts as insecure.
    pub nsec3_iterations_max: u16,
    /// Zones that the key cache holds.
    pub zones_max: usize,
    /// Denials that were validated answer for other names, too (RFC 8198).
    pub aggressive_nsec: bool,
}

impl Default for Settings {
    /// No anchors: everything is insecure.
    fn default() -> Settings {
        Settings {
            anchors: Vec::new(),
            negative_trust_anchors: Vec::new(),
            sha1: false,
            nsec3_iterations_max: nsec3::ITERATIONS_MAX,
            zones_max: ZONES_MAX,
            aggressive_nsec: true,
        }
    }
}

/// What all validations share: anchors, policy, and the zones whose keys are known.
#[derive(Debug)]
pub struct Validator {
    anchors: ArcSwap<HashMap<Name, Anchor>>,
    negative_trust_anchors: ArcSwap<NegativeAnchors>,
    sha1: bool,
    nsec3_iterations_max: u16,
    zones: Mutex<KeyCache>,
    /// `None` when denials answer only for themselves.
    ranges: Option<RwLock<Ranges>>,
}

/// Names of negative trust anchors, each with its end in seconds since 1970.
type NegativeAnchors = HashMap<Name, Option<u64>>;

/// What a name's validation starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Footing {
    /// The closest trust anchor at or above it.
    Anchor(Name),
    /// A negative trust anchor, until then.
    Negative { until_s: Option<u64> },
    /// Nothing: no anchor above it.
    None,
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
        Validator {
            anchors: ArcSwap::from_pointee(anchors_by_name(settings.anchors)),
            negative_trust_anchors: ArcSwap::from_pointee(by_name(
                &settings.negative_trust_anchors,
            )),
            sha1: settings.sha1,
            nsec3_iterations_max: settings.nsec3_iterations_max,
            zones: Mutex::new(KeyCache::new(settings.zones_max)),
            ranges: (settings.aggressive_nsec).then(|| RwLock::new(Ranges::new(RANGES_BYTES_MAX))),
        }
    }

    /// The same anchors and policy, with nothing learned yet.
    pub fn afresh(&self) -> Validator {
        Validator {
            anchors: ArcSwap::new(self.anchors.load_full()),
            negative_trust_anchors: ArcSwap::new(self.negative_trust_anchors.load_full()),
            sha1: self.sha1,
            nsec3_iterations_max: self.nsec3_iterations_max,
            zones: Mutex::new(KeyCache::new(ZONES_MAX)),
            ranges: (self.ranges.is_some()).then(|| RwLock::new(Ranges::new(RANGES_BYTES_MAX))),
        }
    }

    /// Takes other trust anchors into use, for what is validated from now on.
    pub fn set_anchors(&self, anchors: Vec<Record>) {
        self.anchors.store(Arc::new(anchors_by_name(anchors)));
    }

    /// Forgets every zone that was learned through an as-of link. Called at recovery; a validation that
    /// is under way cannot bring such a zone back.
    pub fn purge_as_of(&self) {
        self.cache().purge_as_of();
    }

    /// Forgets what is known of the zone `name`, and with `tree` of everything below it, and every denial that could concern
    /// it; returns how many zones went.
    pub fn forget(&self, name: &Name, tree: bool) -> usize {
        self.flush_denials(name);
        self.cache().flush(name, tree)
    }

    /// Forgets every kept denial that could concern `zone` or what is below it.
    pub fn flush_denials(&self, zone: &Name) {
        if let Some(ranges) = &self.ranges {
            let mut ranges = ranges.write().unwrap_or_else(PoisonError::into_inner);
            ranges.flush(zone);
        }
    }

    /// Forgets the kept denials of this one zone: a newer version of it is known.
    pub fn forget_denials_of(&self, zone: &Name) {
        if let Some(ranges) = &self.ranges {
            let mut ranges = ranges.write().unwrap_or_else(PoisonError::into_inner);
            ranges.drop_zone(zone);
        }
    }

    /// The answer to a question of class IN that follows from denials and wildcards validated before (RFC 8198). The deepest
    /// zone that can tell speaks; none above the closest trust anchor, and none where nothing is to be validated.
    pub fn synthesise(&self, question: &Question, now: Now) -> Option<Synthesised> {
        self.synthesise_at(question, &At::living(now), now)
    }

    /// The same for what a wildcard answers, by records that have run out up to `past_s` seconds ago, and how many seconds ago the first of
    /// them has.
    pub fn expand_run_out(
        &self,
        question: &Question,
        past_s: u64,
        now: Now,
    ) -> Option<(Synthesised, u64)> {
        let at = At::past(now, past_s);
        let made = self.synthesise_at(question, &at, now)?;
        Some((made, at.ran_out_s()))
    }

    fn synthesise_at(&self, question: &Question, at: &At, now: Now) -> Option<Synthesised> {
        let ranges = self.ranges.as_ref()?;
        // What these ask for is not what a denial speaks of.
        if question.class != Class::IN || matches!(question.rtype, Rtype::ANY | Rtype::RRSIG) {
            return None;
        }
        let ranges = ranges.read().unwrap_or_else(PoisonError::into_inner);
        if ranges.is_empty() {
            return None;
        }
        let home = home(question);
        let Footing::Anchor(anchor) = self.footing(&home, now) else {
            return None;
        };
        for labels in (anchor.label_count()..=home.label_count()).rev() {
            let apex = home.suffix(labels);
            let zone = ranges.zone(&apex);
            if let Some(made) = zone.and_then(|zone| zone.answer(&apex, question, at)) {
                return Some(made);
            }
        }
        None
    }

    /// Kept denials and wildcards, and their bytes.
    pub fn denials_size(&self) -> (usize, usize) {
        let size = |ranges: &RwLock<Ranges>| {
            let ranges = ranges.read().unwrap_or_else(PoisonError::into_inner);
            ranges.size()
        };
        self.ranges.as_ref().map_or((0, 0), size)
    }

    /// Takes the lessons of an answer of `zone` that has just validated as secure: from a server of the zone, its denials
    /// are kept; from anywhere, it drives out what denies it.
    fn learn(&self, zone: &Name, judged: &Judged, origin: &Origin, now: Now) {
        let Some(ranges) = &self.ranges else {
            return;
        };
        let mut ranges = ranges.write().unwrap_or_else(PoisonError::into_inner);
        match origin {
            Origin::Network(_) => ranges.learn(zone, &judged.answer, &judged.authority, now),
            Origin::Mirror(_) => ranges.heed(zone, &judged.answer),
        }
    }

    /// How many zones are known now.
    pub fn zones_known(&self) -> usize {
        self.cache().len()
    }

    /// Replaces the negative trust anchors. Returns the names of those that came, went, or changed their end: what was
    /// judged at and below them does not hold any more.
    pub fn set_negative_trust_anchors(&self, anchors: &[NegativeTrustAnchor]) -> Vec<Name> {
        let new = by_name(anchors);
        let old = self.negative_trust_anchors.load_full();
        let differs = |name: &&Name| old.get(name) != new.get(name);
        let mut changed: Vec<Name> = old.keys().filter(differs).cloned().collect();
        changed.extend(new.keys().filter(|name| !old.contains_key(name)).cloned());
        self.negative_trust_anchors.store(Arc::new(new));
        changed
    }

    /// The negative trust anchors with their ends (seconds since 1970), those that have ended included.
    pub fn negative_trust_anchors(&self) -> Vec<(Name, Option<u64>)> {
        let anchors = self.negative_trust_anchors.load();
        let mut list: Vec<_> = anchors.iter().map(|(n, u)| (n.clone(), *u)).collect();
        list.sort();
        list
    }

    /// Whether data of this name is to be validated at all: an anchor is above it, and no negative trust anchor is
    /// closer. A DS record belongs to the zone above its name.
    pub fn covers(&self, question: &Question, now: Now) -> bool {
        matches!(self.footing(&home(question), now), Footing::Anchor(_))
    }

    /// The closest anchor at or above `name` (RFC 6840 section 5.10), unless a negative trust anchor that has not
    /// ended is as close (RFC 7646 section 2).
    fn footing(&self, name: &Name, now: Now) -> Footing {
        let anchors = self.anchors.load();
        // There are a handful at the most.
        let above = anchors.keys().filter(|anchor| name.is_within(anchor));
        let anchor = above.max_by_key(|anchor| anchor.label_count());
        let top = anchor.map_or(0, Name::label_count);
        match (self.negative_until(name, top, now), anchor) {
            (Some(until_s), _) => Footing::Negative { until_s },
            (None, Some(anchor)) => Footing::Anchor(anchor.clone()),
            (None, None) => Footing::None,
        }
    }

    /// The end of the closest negative trust anchor at or above `name` that has not ended and has at least `top` labels.
    fn negative_until(&self, name: &Name, top: usize, now: Now) -> Option<Option<u64>> {
        let negative = self.negative_trust_anchors.load();
        if negative.is_empty() {
            return None;
        }
        let at = |labels| negative.get(&name.suffix(labels)).copied();
        let holds = |until_s: &Option<u64>| until_s.is_none_or(|until_s| now.wall_s < until_s);
        let mut close = (top..=name.label_count()).rev().filter_map(at);
        close.find(holds)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, KeyCache> {
        // The cache is sound between any two of its operations, so a poisoned lock is still good.
        self.zones.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Of two for one name the later one counts.
fn by_name(anchors: &[NegativeTrustAnchor]) -> NegativeAnchors {
    let mut map = NegativeAnchors::new();
    for anchor in anchors {
        // No end at all is the latest.
        let latest = |a: Option<u64>, b: Option<u64>| Some(a?.max(b?));
        map.entry(anchor.name.clone())
            .and_modify(|until_s| *until_s = latest(*until_s, anchor.until_s))
            .or_insert(anchor.until_s);
    }
    map
}

fn anchors_by_name(records: Vec<Record>) -> HashMap<Name, Anchor> {
    let mut anchors: HashMap<Name, Anchor> = HashMap::new();
    for record in records {
        let list = |anchor: &mut Anchor, rdata| match record.rtype {
            Rtype::DS => anchor.ds.push(rdata),
            _ => anchor.dnskey.push(rdata),
        };
        if matches!(record.rtype, Rtype::DS | Rtype::DNSKEY) {
            list(anchors.entry(record.name).or_default(), record.rdata);
        }
    }
    anchors
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
    pub bogus_from: Option<Culprit>,
    /// Insecure because the chain of signatures ends at this cut.
    pub unsigned_from: Option<Name>,
}

/// Where bad data came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Culprit {
    /// The zone that it was asked as a server or mirror of; one server may serve several.
    pub zone: Name,
    /// Server or mirror.
    pub origin: Origin,
}

impl Culprit {
    fn of(response: &Response) -> Culprit {
        Culprit {
            zone: response.zone.clone(),
            origin: response.origin.clone(),
        }
    }

    /// Says in the text who it was, unless it names somebody already.
    pub fn name_in(&self, why: &mut Ede) {
        if !why.text.contains(" (from ") {
            let from = origin_words(&self.origin);
            why.text.push_str(&format!(" (from {from})"));
        }
    }
}

/// What is known of a zone.
#[derive(Debug, Clone)]
enum ZoneStatus {
    /// Signed; these DNSKEYs (RDATA) are its own.
    Secure(Arc<[Rdata]>),
    /// Proven to be without a chain; the reason, if it is one to tell.
    Insecure(Option<Ede>),
    /// Its chain is broken, as was found moments ago.
    Bogus(Ede),
}

/// What a link is accepted from as of its verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsOf {
    /// A verified copy whose signatures have run out.
    Mirror(MirrorNote),
    /// A retained delegation: the signatures of its DS set have.
    Retained(RetainedNote),
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
