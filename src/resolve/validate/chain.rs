//! The walk from a trust anchor down to the zone of an answer.
//!
//! ```text
//!            anchor, or deepest zone in the cache
//!                 |
//!   +-------------v-----+   DS(candidate) secure    +----------------+
//!   |  InZone           |-------------------------->|  AtCut         |
//!   |  zone, reached    |<--------------------------|  DS or anchor  |
//!   +-------------------+   DNSKEY(cut) verified    +----------------+
//!     | ^     |     |            DS unsupported: zone is Insecure
//!     | |     |     +-- DS denied at a delegation, or opt-out: zone is Insecure
//!     +-+     +-------- judged secure, or zone Insecure: Done
//!   DS denied, no delegation: reached = candidate
//! ```
//!
//! `reached` is the deepest name on the way to the answer's home that is known to be the zone's own.
//! The next candidate for a cut is one label below it; a *hint* (who signed, which zone answered)
//! lets the walk try a name further down first, and a hint that leads nowhere costs a question and no
//! more. The response itself is judged as soon as its signer is reached, and finally where `reached` is
//! its home: only then is it bogus.

mod fetch;
pub(super) mod verdicts;

use std::sync::Arc;
use std::time::Duration;

use super::budget::Budget;
use super::judge::{Insecure, Judged, Shape, signers};
use super::kept::{ProvenCut, ProvenKeys};
use super::keys::Known;
use super::links::{Links, as_of, is_unverified, link_questions, verified_zone};
use super::signed::{Checked, Court, Trust, bogus, unsupported, zone_keys};
use super::{
    Anchor, AsOf, Culprit, Event, Footing, Lifetime, Step, SubAsk, Validator, Verdict, ZoneStatus,
    home,
};
use crate::cache::entry::AS_OF_TTL_MAX_S;
use crate::clock::Now;
use crate::dns::{Class, Ede, Name, Question, Rdata, Rtype};
use crate::resolve::retained::KeptCut;
use crate::resolve::trace::Trace;
use crate::resolve::{Origin, Response, RetainedNote};

/// The longest that a zone's keys or its lack of them are kept, seconds.
const ZONE_TTL_MAX_S: u32 = 86_400;
/// How long the insecurity of what an unverified mirror says is remembered, seconds.
const UNVERIFIED_TTL_S: u32 = 30;
/// Keys that lack the tag of a signature are fetched anew if they were learned longer ago than this.
const REFRESH_AFTER: Duration = Duration::from_secs(60);

/// A zone with more octets of keys is not remembered: a stranger's keys must not fill the memory.
const KEYS_LEN_MAX_BYTES: usize = 8 << 10;

/// One response's way to its verdict.
#[derive(Debug)]
pub struct Validation {
    question: Question,
    response: Response,
    pub(super) ctx: Arc<Validator>,
    /// Purges of the key cache when this began.
    epoch: u64,
    budget: Budget,
    /// The name whose zone is looked for.
    home: Name,
    /// Where the walk begins; the root until it has begun.
    anchor: Name,
    /// Where to look for zones before all others.
    stops: Vec<Name>,
    /// Where to look for zones, the next one last.
    hints: Vec<Name>,
    /// Hints that were followed.
    tried: Vec<Name>,
    /// Hints whose link was bad.
    dropped: Vec<Question>,
    /// Questions that will be needed if the hints are right.
    forecast: Vec<Question>,
    pub(super) place: Place,
    /// The zone that judged the response, and why not in its favour.
    complaint: Option<(Name, Ede)>,
    /// The zone's keys were fetched anew for this response.
    refreshed: bool,
    links: Links,
    pub(super) trace: Trace,
    /// Links whose replies were judged and hold.
    vouched: Vec<Question>,
    /// Cuts on the way that were proven earlier, from the top.
    pub(super) kept: Vec<KeptCut>,
    /// Cuts that were proven just now.
    pub(super) proven: Vec<ProvenCut>,
    /// Zones whose keys were proven just now.
    pub(super) proven_keys: Vec<ProvenKeys>,
    pub(super) accepted: Option<RetainedNote>,
}

/// Where the walk stands.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Below the parent side of a cut, above the child's keys.
    AtCut(Cut),
    InZone(Zone),
}

/// A zone that is known to be signed; by what its keys are to be recognised.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub(super) name: Name,
    pub(super) named_by: Anchor,
    pub(super) life: Lifetime,
    pub(super) as_of: Option<AsOf>,
}

#[derive(Debug, Clone)]
pub(super) struct Zone {
    pub(super) name: Name,
    pub(super) known: Known,
    /// The deepest name known to be in this zone.
    pub(super) reached: Name,
}

/// Whether the walk goes on.
enum Progress {
    Go,
    Halt(Step),
}

/// What came of fetching a link.
enum Fetched {
    Response(Response),
    NotHad,
    /// It has to be waited for; or there is no way on.
    Halt(Step),
}

impl Validation {
    /// A validation of `response`, the answer of one zone to `question`.
    pub fn new(question: Question, response: Response, ctx: Arc<Validator>) -> Validation {
        let home = home(&question);
        let epoch = ctx.cache().epoch();
        Validation {
            budget: Budget::new(),
            stops: Vec::new(),
            hints: Vec::new(),
            tried: Vec::new(),
            dropped: Vec::new(),
            forecast: Vec::new(),
            // Replaced by the first event.
            place: Place::AtCut(Cut::anchor(Name::root(), Anchor::default())),
            complaint: None,
            refreshed: false,
            links: Links::default(),
            trace: Trace::off(),
            vouched: Vec::new(),
            kept: Vec::new(),
            proven: Vec::new(),
            proven_keys: Vec::new(),
            accepted: None,
            question,
            response,
            ctx,
            epoch,
            home,
            anchor: Name::root(),
        }
    }

    /// The same, with zones on the way to the answer's home that are looked for first, the nearest last: their DS is quickly had, or those
    /// below it are not.
    pub fn by_way_of(mut self, zones: impl IntoIterator<Item = Name>) -> Validation {
        self.stops.extend(zones);
        self
    }

    /// Takes an event, says what to do next. Call with [`Event::Start`] first; after [`Step::Done`]
    /// there is nothing more to call.
    pub fn step(&mut self, now: Now, event: Event) -> Step {
        match event {
            Event::Start => {
                if let Some(verdict) = self.start(now) {
                    return Step::Done(verdict);
                }
            }
            Event::Reply {
                question,
                attempt,
                result,
            } => self.links.reply(SubAsk { question, attempt }, result),
        }
        self.advance(now)
    }

    /// Questions for links whose replies were judged, and hold. Those asked for on a hint that led nowhere are not
    /// among them.
    pub fn vouched(&self) -> &[Question] {
        &self.vouched
    }

    /// Sets out; or ends at once where there is nothing to walk.
    fn start(&mut self, now: Now) -> Option<Verdict> {
        // RRSIGs are not signed themselves (RFC 4035 section 2.2).
        if self.question.class != Class::IN || self.question.rtype == Rtype::RRSIG {
            return Some(self.insecure(None, None));
        }
        let anchor = match self.ctx.footing(&self.home, now) {
            Footing::Anchor(anchor) => anchor,
            Footing::None => return Some(self.insecure(None, None)),
            Footing::Negative { until_s } => {
                // It must not be believed any longer than that.
                let left_s = until_s.map(|until_s| until_s.saturating_sub(now.wall_s));
                return Some(Verdict {
                    ttl_max_s: left_s.map(|left_s| u32::try_from(left_s).unwrap_or(u32::MAX)),
                    ..self.insecure(None, None)
                });
            }
        };
        if let Origin::Mirror(note) = self.response.origin.clone() {
            return Some(self.mirror_verdict(&note, now));
        }
        self.take_hints(&anchor);
        self.anchor = anchor;
        if self.question.rtype == Rtype::DNSKEY {
            // The response is a link of its own chain.
            let own = self.links.ask(self.question.clone());
            self.links.reply(own, Some(self.response.clone()));
        }
        self.set_out(Some(self.home.clone()), now);
        None
    }

    /// Begins at the deepest zone known at or above `below`, or at the anchor.
    fn set_out(&mut self, below: Option<Name>, now: Now) {
        let known = below.as_ref().and_then(|below| self.deepest(below, now));
        let top = known.as_ref().map_or(&self.anchor, |(name, _)| name);
        let kept = below.and_then(|below| self.needed_cut(&below, top));
        if let Some(kept) = kept {
            return self.step_over(kept, now);
        }
        let anchor = &self.anchor;
        self.place = match known {
            Some((name, known)) => {
                self.tell_known(&name, &known.status, now);
                Place::InZone(Zone {
                    reached: name.clone(),
                    name,
                    known,
                })
            }
            None => {
                let named_by = self.ctx.anchors.load().get(anchor).cloned();
                let named_by = named_by.unwrap_or_default();
                self.tell_anchor(anchor, &named_by, now);
                Place::AtCut(Cut::anchor(anchor.clone(), named_by))
            }
        };
    }

    /// The deepest zone known at or above `below`. A link that could not be proven is remembered at a name that need be no
    /// zone at all: what is signed by a zone above that name does not need it, and what is signed by one below it
    /// perhaps not, for its DS may stand in the zone above.
    fn deepest(&self, below: &Name, now: Now) -> Option<(Name, Known)> {
        let cache = self.ctx.cache();
        let (broken, known) = cache.deepest(below, &self.anchor, now)?;
        if !matches!(known.status, ZoneStatus::Bogus(_)) {
            return Some((broken, known));
        }
        let from = |signer: Name| match signer.is_below(&broken) {
            true if self.home.is_within(&signer) => broken.parent(),
            false if broken.is_below(&signer) => Some(signer),
            _ => None,
        };
        let proven = signers(&self.response)
            .filter_map(from)
            .filter(|from| from.is_within(&self.anchor))
            .max_by_key(Name::label_count)
            .and_then(|from| cache.deepest(&from, &self.anchor, now));
        Some(proven.unwrap_or((broken, known)))
    }

    fn take_hints(&mut self, anchor: &Name) {
        let on_the_way = |n: &Name| n.is_below(anchor) && self.home.is_within(n);
        if on_the_way(&self.response.zone) {
            self.hints.push(self.response.zone.clone());
        }
        if let Some(signer) = signers(&self.response).find(|s| on_the_way(s)) {
            self.forecast = link_questions(&signer);
            self.hints.push(signer);
        }
        self.hints.append(&mut self.stops);
    }

    fn advance(&mut self, now: Now) -> Step {
        loop {
            let progress = match self.place.clone() {
                Place::AtCut(cut) => self.at_cut(cut, now),
                Place::InZone(zone) => self.in_zone(zone, now),
            };
            if let Progress::Halt(step) = progress {
                return step;
            }
        }
    }

    // --- at a cut: the child's keys -------------------------------------------------------------

    fn at_cut(&mut self, cut: Cut, now: Now) -> Progress {
        if let Some(ede) = unsupported(&self.ctx, &cut.name, &cut.named_by) {
            let status = ZoneStatus::Insecure(Some(ede));
            return self.enter(cut.name, status, cut.life, cut.as_of, now);
        }
        let question = Question::new(cut.name.clone(), Rtype::DNSKEY);
        let response = match self.fetch(&question, &cut.name) {
            Fetched::Response(response) => response,
            Fetched::NotHad => return self.unfetched(question, cut.name, now),
            Fetched::Halt(step) => return Progress::Halt(step),
        };
        match self.keys(&cut, &response, now) {
            Ok(checked) => {
                self.vouched.push(question);
                let as_of = as_of(&response.origin).or(cut.as_of);
                let status = ZoneStatus::Secure(zone_keys(&self.ctx, &checked.set).into());
                let life = cut.life.and(checked.life);
                if as_of.is_none() && matches!(response.origin, Origin::Network(_)) {
                    self.note_keys(&cut.name, checked);
                }
                self.enter(cut.name, status, life, as_of, now)
            }
            Err(_) if is_unverified(&response.origin) => self.enter_unverified(cut.name, now),
            Err(ede) => self.retry(question, cut.name, ede, &response, now),
        }
    }

    fn keys(&mut self, cut: &Cut, response: &Response, now: Now) -> Result<Checked, Ede> {
        let mut sets = response.answer.iter();
        let set = sets.find(|s| s.rtype == Rtype::DNSKEY && s.name == cut.name);
        let set = set.filter(|s| !s.rdatas.is_empty()).ok_or_else(|| {
            let text = format!("zone {} has DS records and no DNSKEY", cut.name);
            Ede::new(Ede::DNSKEY_MISSING, text)
        })?;
        let trust = match verified_zone(&response.origin) {
            Some(zone) if *zone == cut.name => Trust::Verified,
            _ => Trust::Keys(&[]),
        };
        let mut court = Court {
            ctx: &self.ctx,
            zone: &cut.name,
            trust,
            budget: &mut self.budget,
            now,
        };
        let checked = court.check_keys(set, &cut.named_by)?;
        self.tell_keys(&cut.name, &checked.set, now);
        Ok(checked)
    }

    /// Makes `name` the zone where the walk stands, and remembers it.
    fn enter(
        &mut self,
        name: Name,
        status: ZoneStatus,
        life: Lifetime,
        as_of: Option<AsOf>,
        now: Now,
    ) -> Progress {
        if let ZoneStatus::Insecure(why) = &status {
            self.tell_insecure(&name, why.as_ref(), now);
        }
        if !self.budget.pay_cut() {
            let ede = bogus(format!("{name}: too many zone cuts above it"));
            return Progress::Halt(self.bogus(ede, None));
        }
        let ttl_max_s = match as_of {
            Some(_) => AS_OF_TTL_MAX_S,
            None => ZONE_TTL_MAX_S,
        };
        // A mirror's keys may be older than their TTL tells.
        let refresh_after = match self.links.keys_from_mirror(&name) {
            true => Duration::ZERO,
            false => REFRESH_AFTER,
        };
        self.links.fault = None;
        let known = Known {
            status,
            life: life.and(Lifetime::seconds(now, ttl_max_s)),
            as_of,
            refresh_from: now.mono + refresh_after,
        };
        if keys_len(&known) <= KEYS_LEN_MAX_BYTES {
            let mut cache = self.ctx.cache();
            cache.insert(name.clone(), known.clone(), self.epoch, now);
        }
        self.place = Place::InZone(Zone {
            reached: name.clone(),
            name,
            known,
        });
        Progress::Go
    }

    /// What an unverified mirror says of `name` cannot be checked and is not bogus either.
    fn enter_unverified(&mut self, name: Name, now: Now) -> Progress {
        let life = Lifetime::seconds(now, UNVERIFIED_TTL_S);
        self.enter(name, ZoneStatus::Insecure(None), life, None, now)
    }

    // --- in a zone: the response, or the next cut ---------------------------------------------------

    fn in_zone(&mut self, zone: Zone, now: Now) -> Progress {
        let keys = match &zone.known.status {
            ZoneStatus::Secure(keys) => keys.clone(),
            ZoneStatus::Insecure(why) => {
                let verdict = self.insecure(why.clone(), zone.known.as_of.as_ref());
                return Progress::Halt(Step::Done(Verdict {
                    unsigned_from: Some(zone.name),
                    ..verdict
                }));
            }
            ZoneStatus::Bogus(ede) => return Progress::Halt(self.bogus(ede.clone(), None)),
        };
        let last = zone.reached == self.home;
        let judged = matches!(&self.complaint, Some((by, _)) if *by == zone.name);
        if !judged && (last || signers(&self.response).any(|s| s == zone.name)) {
            match self.judge_response(&zone, &keys, now) {
                Ok(judged) => {
                    let as_of = zone.known.as_of.as_ref();
                    self.learn(&zone.name, &judged, &self.response.origin, as_of, now);
                    let verdict = self.judged(judged, as_of, now);
                    return Progress::Halt(Step::Done(verdict));
                }
                Err(ede) if self.may_refresh(&zone, &ede, now) => return self.refresh(zone, now),
                Err(ede) if self.is_claimed_by(&zone, &ede) => {
                    let culprit = Culprit::of(&self.response);
                    return Progress::Halt(self.bogus(ede, Some(culprit)));
                }
                Err(ede) => self.complaint = Some((zone.name.clone(), ede)),
            }
        }
        if last {
            let ede = bogus(format!("{} cannot be validated", self.question));
            return Progress::Halt(self.fail(ede, None));
        }
        let candidate = self.candidate(&zone);
        self.at_candidate(zone, keys, candidate, now)
    }

    /// What is secure without reserve may answer other questions later (RFC 8198 section 4).
    fn learn(&self, zone: &Name, judged: &Judged, origin: &Origin, as_of: Option<&AsOf>, now: Now) {
        if judged.insecure.is_none() && as_of.is_none() {
            self.ctx.learn(zone, judged, origin, now);
        }
    }

    fn judge_response(&mut self, zone: &Zone, keys: &[Rdata], now: Now) -> Result<Judged, Ede> {
        let mut court = Court {
            ctx: &self.ctx,
            zone: &zone.name,
            trust: Trust::Keys(keys),
            budget: &mut self.budget,
            now,
        };
        court.judge(&self.question, &self.response)
    }

    /// Whether data passes for the zone's own and nobody else's, and a key of the zone has spoken against it: that a zone further
    /// down has no signatures would be no excuse for it.
    fn is_claimed_by(&self, zone: &Zone, ede: &Ede) -> bool {
        let mut signers = signers(&self.response);
        !self.response.answer.is_empty()
            && ede.code == Ede::BOGUS
            && signers.all(|signer| signer == zone.name)
    }

    /// Whether the complaint may come from keys that the zone has replaced since they were learned.
    fn may_refresh(&self, zone: &Zone, ede: &Ede, now: Now) -> bool {
        ede.code == Ede::DNSKEY_MISSING && !self.refreshed && now.mono >= zone.known.refresh_from
    }

    /// Walks again from above `zone`, past every cache of its keys.
    fn refresh(&mut self, zone: Zone, now: Now) -> Progress {
        self.refreshed = true;
        let question = Question::new(zone.name.clone(), Rtype::DNSKEY);
        self.links.next_attempt(&question);
        self.set_out(zone.name.parent(), now);
        Progress::Go
    }

    /// The next name that may be a zone cut.
    fn candidate(&mut self, zone: &Zone) -> Name {
        while let Some(hint) = self.hints.last() {
            if hint.is_below(&zone.reached) && self.home.is_within(hint) {
                return hint.clone();
            }
            self.hints.pop();
        }
        self.home.suffix(zone.reached.label_count() + 1)
    }

    fn at_candidate(
        &mut self,
        zone: Zone,
        keys: Arc<[Rdata]>,
        candidate: Name,
        now: Now,
    ) -> Progress {
        let jump = candidate.label_count() > zone.reached.label_count() + 1;
        let question = Question::new(candidate.clone(), Rtype::DS);
        let broken = self.ctx.cache().broken_at(&candidate, now);
        if let Some(ede) = broken.filter(|_| !jump) {
            return self.past_broken(&candidate, ede, now);
        }
        let response = match self.fetch(&question, &zone.reached) {
            Fetched::Response(response) => response,
            Fetched::NotHad if jump => return self.drop_hint(None),
            Fetched::NotHad => return self.unfetched(question, candidate, now),
            Fetched::Halt(step) => return Progress::Halt(step),
        };
        // A verified mirror between the zone and the candidate is as good as the zone.
        let mirror = verified_zone(&response.origin)
            .filter(|m| m.is_within(&zone.name) && candidate.is_below(m));
        if mirror.is_none() && self.follow_signer(&zone, &candidate, &response) {
            return Progress::Go;
        }
        let mut court = Court {
            ctx: &self.ctx,
            zone: mirror.unwrap_or(&zone.name),
            trust: mirror.map_or(Trust::Keys(&keys), |_| Trust::Verified),
            budget: &mut self.budget,
            now,
        };
        let judged = match court.judge_link(&question, &response) {
            Ok(Judged {
                shape: Shape::Answer { expanded: true },
                ..
            }) => Err(bogus(format!("{question} from a wildcard"))),
            other => other,
        };
        match judged {
            Ok(judged) => {
                self.vouched.push(question);
                let as_of = as_of(&response.origin).or_else(|| zone.known.as_of.clone());
                let speaker = mirror.unwrap_or(&zone.name);
                if as_of.is_none() && matches!(response.origin, Origin::Network(_)) {
                    self.note_cut(speaker, &candidate, &judged, now);
                }
                self.learn(speaker, &judged, &response.origin, as_of.as_ref(), now);
                self.descend(zone, candidate, judged, as_of, now)
            }
            Err(_) if is_unverified(&response.origin) => self.enter_unverified(candidate, now),
            Err(_) if jump => self.drop_hint(Some(question)),
            Err(ede) if self.may_refresh(&zone, &ede, now) => self.refresh(zone, now),
            Err(ede) => self.retry(question, candidate, ede, &response, now),
        }
    }

    /// What the parent's word about the candidate means for the walk.
    fn descend(
        &mut self,
        mut zone: Zone,
        candidate: Name,
        judged: Judged,
        as_of: Option<AsOf>,
        now: Now,
    ) -> Progress {
        let life = judged.life;
        self.links.fault = None;
        match judged.insecure {
            Some(Insecure::OptOut) => {
                return self.enter(candidate, ZoneStatus::Insecure(None), life, as_of, now);
            }
            Some(Insecure::Iterations(ede)) => {
                let status = ZoneStatus::Insecure(Some(ede));
                return self.enter(candidate, status, life, as_of, now);
            }
            None => {}
        }
        match judged.shape {
            Shape::Answer { .. } => {
                self.tell_ds(&candidate, &judged.answer, now);
                let ds = judged.answer.into_iter().flat_map(|set| set.rdatas);
                self.place = Place::AtCut(Cut {
                    name: candidate,
                    named_by: Anchor {
                        ds: ds.collect(),
                        dnskey: Vec::new(),
                    },
                    life,
                    as_of,
                });
                return Progress::Go;
            }
            Shape::NoData { delegation: true } => {
                return self.enter(candidate, ZoneStatus::Insecure(None), life, as_of, now);
            }
            Shape::NoData { delegation: false } | Shape::Alias { expanded: false } => {
                zone.reached = candidate;
            }
            // Nothing is delegated below what does not exist.
            Shape::NoName | Shape::Dname | Shape::Alias { expanded: true } | Shape::Open => {
                zone.reached = self.home.clone();
            }
        }
        // That there is no cut is also only as good as who says it.
        zone.known.as_of = as_of;
        self.place = Place::InZone(zone);
        Progress::Go
    }

    /// When the candidate's DS is signed by a zone between here and there, go there first.
    fn follow_signer(&mut self, zone: &Zone, candidate: &Name, response: &Response) -> bool {
        let between = |s: &Name| {
            s.is_below(&zone.reached) && candidate.is_below(s) && !self.tried.contains(s)
        };
        let Some(signer) = signers(response).find(between) else {
            return false;
        };
        self.tried.push(signer.clone());
        self.forecast = link_questions(&signer);
        self.hints.push(signer);
        true
    }

    /// The hint leads nowhere, or to a bad link, of which others may give a good one.
    fn drop_hint(&mut self, bad: Option<Question>) -> Progress {
        self.hints.pop();
        self.dropped.extend(bad);
        Progress::Go
    }

    /// The end of a walk without a verdict of its own: what was wrong with the response itself tells more
    /// than what went wrong afterwards.
    fn fail(&mut self, ede: Ede, from: Option<Culprit>) -> Step {
        match self.complaint.take() {
            Some((_, complaint)) => {
                let culprit = Culprit::of(&self.response);
                self.bogus(complaint, Some(culprit))
            }
            None => self.bogus(ede, from),
        }
    }
}

impl Cut {
    fn anchor(name: Name, named_by: Anchor) -> Cut {
        Cut {
            name,
            named_by,
            life: Lifetime::UNLIMITED,
            as_of: None,
        }
    }
}

fn keys_len(known: &Known) -> usize {
    match &known.status {
        ZoneStatus::Secure(keys) => keys.iter().map(|k| k.len()).sum(),
        _ => 0,
    }
}
