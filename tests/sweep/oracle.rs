//! The reference resolver: it knows every zone and every fault, and takes its time.
//!
//! Model: the world is a sequence of [`Epoch`]s; within one nothing changes. A question is followed alias by alias. At
//! each link every epoch whose data may still be in a cache has its say, so there may be several right answers after
//! a change. What it decides about a link in an epoch:
//!
//! - what the zone says (`lookup`), from plain maps,
//! - the standing of that: secure, insecure or bogus, from how the zones were signed (RFC 4035 section 5),
//! - whether it can be had at all: a fixed point over "a zone can be reached when its parent can be, and one of its
//!   servers works and its address can be found" ([`Way`]).
//!
//! A SERVFAIL is right only if some link is bogus, out of reach, or part of a circle, now or within the time that failures are
//! remembered. Where the only way leads through losses or long waits, a first SERVFAIL is forgiven, but asking again must
//! bring the answer ([`Failing::AtFirst`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast::dns::{Name, Question, Rcode, Rdata, Rtype};

use crate::lookup::{Found, Kind};
use crate::net::Fault;
use crate::plan::{DenialKind, Ds, Plan, Zone, ZoneId, deepest};
use crate::publish::Facts;

/// Failures may be remembered so long (RFC 9520; here 60 s), and the work on a question take 10 s more.
const FAILURES_FOR: Duration = Duration::from_secs(72);
/// Where old data is answered, a trouble is remembered for 60 s after its next look, which is due 30 s later, and goes with what failed.
const TROUBLE_FOR: Duration = Duration::from_secs(72 + 90);
/// A started second counts, so data may live one longer than its TTL.
const TTL_SLACK: Duration = Duration::from_secs(1);
/// Aliases that a resolver follows at least; past that it may give up.
const ALIASES_MIN: usize = 10;
/// Longer ways than this may overrun a client's patience, milliseconds.
const PATIENCE_MS: u32 = 2000;
/// What a server that never answers costs, milliseconds.
const SILENCE_MS: u32 = 700;
/// Different right answers that are kept.
const TRUTHS_MAX: usize = 200;
/// Servers whose answers are forged, on one step, past which retries may run out.
const FORGERS_MAX: usize = 2;
/// Nested searches for addresses of servers, past which a resolver may give up; and past which it may need several
/// questions to find its way.
const DEPTH_MAX: u8 = 4;
const DEPTH_AT_ONCE: u8 = 1;
/// Servers without glue on the way, past which the search for them may use up what one question may cost.
const SEARCHES_AT_ONCE: u8 = 2;

/// Owner, type and data of every record of an answer section, without signatures.
pub type Rows = BTreeSet<(Name, Rtype, Rdata)>;

/// The standing of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    Bogus,
    Insecure,
    Secure,
}

/// How a zone can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Only by more work than a resolver need spend on one question.
    hard: bool,
    /// Perhaps not at once: through losses, or after a long search.
    lossy: bool,
    /// About how long the first question takes.
    ms: u32,
    /// Nested searches for addresses.
    depth: u8,
    /// Servers on the way whose addresses have to be searched for.
    searches: u8,
    /// How long each further label takes in the zone itself, where names are shortened (RFC 9156) and its server is slow.
    label_ms: u32,
}

/// A time in which nothing changes.
pub struct Epoch {
    /// `None` for the present one.
    pub until: Option<Duration>,
    facts: Vec<Arc<Facts>>,
    standing: Vec<Standing>,
    ways: Vec<Option<Way>>,
}

/// A right answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Truth {
    pub rcode: Rcode,
    pub answer: Rows,
    pub secure: bool,
}

/// Whether SERVFAIL agrees with the oracle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failing {
    /// It does not.
    Never,
    /// Once, but asking again must succeed.
    AtFirst(String),
    /// It does, because of this.
    Proven(String),
}

/// What the oracle says to a question.
#[derive(Debug)]
pub struct Judgement {
    pub truths: Vec<Truth>,
    pub failing: Failing,
    /// What may be answered from old data, and why there may be no new one.
    pub old: Option<Box<Judgement>>,
}

/// The reference resolver.
pub struct Oracle {
    plan: Plan,
    epochs: Vec<Epoch>,
    /// Zones whose keys changed, and until when caches may hold some of the old ones.
    unsettled: Vec<(Name, Duration)>,
}

impl Oracle {
    pub fn new(plan: Plan) -> Oracle {
        Oracle {
            plan,
            epochs: Vec::new(),
            unsettled: Vec::new(),
        }
    }

    /// From now on the world is like this.
    pub fn begin(&mut self, plan: &Plan, facts: Vec<Arc<Facts>>, now: Duration, wall_s: u64) {
        if let Some(last) = self.epochs.last_mut() {
            last.until = Some(now);
        }
        self.plan = plan.clone();
        let standing = standings(plan, &facts, wall_s);
        let ways = ways(plan, &facts, &standing);
        self.epochs.push(Epoch {
            until: None,
            facts,
            standing,
            ways,
        });
    }

    /// The keys of a zone change now.
    pub fn unsettle(&mut self, zone: &Name, now: Duration) {
        self.unsettled
            .push((zone.clone(), now + Duration::from_secs(3600) + FAILURES_FOR));
    }

    /// Judges a question at a time.
    pub fn judge(&self, question: &Question, now: Duration) -> Judgement {
        let old = self.plan.stale.map(|age_max| {
            let mut judged = self.judged(question, now, age_max, TROUBLE_FOR);
            judged.truths.extend(self.denied_by_referrals(question));
            Box::new(judged)
        });
        Judgement {
            old,
            ..self.judged(question, now, Duration::ZERO, FAILURES_FOR)
        }
    }

    /// That a zone has no DS set is proven by referrals as well as by answers, and they need no SOA for it, whose signature may be bad.
    fn denied_by_referrals(&self, question: &Question) -> Option<Truth> {
        let is_denied = |z: &Zone| z.apex == question.name && z.ds == Ds::None;
        let denied = question.rtype == Rtype::DS && self.plan.zones.iter().any(is_denied);
        denied.then(|| Truth {
            rcode: Rcode::NOERROR,
            answer: Rows::default(),
            secure: true,
        })
    }

    /// The same for data of up to that age past its TTL, where a failure matters for so long.
    fn judged(
        &self,
        question: &Question,
        now: Duration,
        age_max: Duration,
        failures_for: Duration,
    ) -> Judgement {
        let mut search = Search {
            oracle: self,
            rtype: question.rtype,
            now,
            age_max,
            failures_for,
            truths: BTreeSet::new(),
            failing: Failing::Never,
        };
        search.follow(&question.name, Walk::default());
        Judgement {
            truths: search.truths.into_iter().collect(),
            failing: search.failing,
            old: None,
        }
    }

    fn zone_for(&self, name: &Name, rtype: Rtype) -> ZoneId {
        match (rtype, name.parent()) {
            // RFC 4035 section 3.1.4.1: DS is the parent's.
            (Rtype::DS, Some(above)) => deepest(&self.plan.zones, &above),
            _ => deepest(&self.plan.zones, name),
        }
    }
}

/// One way along the aliases.
#[derive(Clone)]
struct Walk {
    seen: Vec<Name>,
    answer: Rows,
    secure: bool,
    ms: u32,
}

impl Default for Walk {
    fn default() -> Walk {
        Walk {
            seen: Vec::new(),
            answer: BTreeSet::new(),
            secure: true,
            ms: 0,
        }
    }
}

struct Search<'a> {
    oracle: &'a Oracle,
    rtype: Rtype,
    now: Duration,
    age_max: Duration,
    failures_for: Duration,
    truths: BTreeSet<Truth>,
    failing: Failing,
}

impl Search<'_> {
    fn follow(&mut self, name: &Name, walk: Walk) {
        if walk.seen.contains(name) {
            return self.may_fail(Failing::Proven(format!(
                "the aliases go in a circle at {name}"
            )));
        }
        if walk.seen.len() > ALIASES_MIN {
            self.may_fail(Failing::Proven("too many aliases".into()));
        }
        let oracle = self.oracle;
        let zone = oracle.zone_for(name, self.rtype);
        let unsettled = |(z, until): &(Name, Duration)| name.is_within(z) && self.now < *until;
        let unsettled = oracle.unsettled.iter().any(unsettled);
        if unsettled {
            self.may_fail(Failing::Proven(format!("keys above {name} have changed")));
        }
        let mut done: Vec<(Rows, Kind, bool, u32)> = Vec::new();
        for epoch in oracle.epochs.iter().rev() {
            let found = epoch.facts[zone].find(name, self.rtype);
            assert_ne!(
                found.kind,
                Kind::Referral,
                "{name} is not in {}",
                epoch.facts[zone].apex
            );
            let standing = epoch.standing_of(zone, name, &found);
            let ttl = Duration::from_secs(ttl_s(&epoch.facts[zone], &found).into());
            let over = epoch.until.map_or(Duration::ZERO, |until| self.now - until);
            let present = epoch.until.is_none();
            if present || over < self.failures_for {
                self.judge_failure(epoch, zone, name, standing);
            }
            if !(present || over < ttl + TTL_SLACK + self.age_max) {
                continue;
            }
            // Keys and DS of before a change may still be in a cache.
            let mut standings = vec![standing];
            if unsettled {
                let before = oracle
                    .epochs
                    .iter()
                    .map(|e| epoch.as_in(e, zone, name, &found));
                standings.extend(before);
                standings.dedup();
            }
            standings.retain(|s| *s != Standing::Bogus);
            if standing == Standing::Bogus && epoch.is_open(zone, name) {
                standings.push(Standing::Insecure);
            }
            let rows = found.answer.iter().flat_map(|g| {
                g.set
                    .1
                    .iter()
                    .map(|r| (g.owner.clone(), g.rtype, r.clone()))
            });
            let rows: Rows = rows.collect();
            let apex = &epoch.facts[zone].apex;
            let steps = name.label_count().saturating_sub(apex.label_count() + 1);
            let further = match oracle.plan.switches.minimise {
                true => steps as u32,
                false => 0,
            };
            let ms = epoch.ways[zone].map_or(0, |w| w.ms + further * w.label_ms);
            for standing in standings {
                let secure = standing == Standing::Secure;
                let is_same = |d: &(_, _, _, _)| (&d.0, &d.1, d.2) == (&rows, &found.kind, secure);
                if !done.iter().any(is_same) {
                    done.push((rows.clone(), found.kind.clone(), secure, ms));
                }
            }
        }
        for (rows, kind, secure, ms) in done {
            let mut on = walk.clone();
            on.answer.extend(rows);
            on.secure &= secure;
            on.ms += ms;
            if on.ms > PATIENCE_MS {
                self.may_fail(Failing::AtFirst(format!(
                    "{} ms through bad servers",
                    on.ms
                )));
            }
            self.end_or_follow(name, kind, on);
        }
    }

    fn end_or_follow(&mut self, name: &Name, kind: Kind, mut walk: Walk) {
        let rcode = match kind {
            Kind::Alias(target) => {
                walk.seen.push(name.clone());
                return self.follow(&target, walk);
            }
            Kind::NxDomain => Rcode::NXDOMAIN,
            Kind::TooLong => Rcode::YXDOMAIN,
            _ => Rcode::NOERROR,
        };
        if self.truths.len() < TRUTHS_MAX {
            let (answer, secure) = (walk.answer, walk.secure);
            self.truths.insert(Truth {
                rcode,
                answer,
                secure,
            });
        }
    }

    fn judge_failure(&mut self, epoch: &Epoch, zone: ZoneId, name: &Name, standing: Standing) {
        if standing == Standing::Bogus {
            self.may_fail(Failing::Proven(format!("{name} is bogus")));
        }
        let apex = &epoch.facts[zone].apex;
        match epoch.ways[zone] {
            None => self.may_fail(Failing::Proven(format!("{apex} cannot be reached"))),
            Some(way) if way.hard => {
                self.may_fail(Failing::Proven(format!("{apex} costs too much: {way:?}")));
            }
            Some(way) if way.lossy => {
                self.may_fail(Failing::AtFirst(format!(
                    "{apex} needs luck or a long search"
                )));
            }
            Some(_) => {}
        }
    }

    fn may_fail(&mut self, how: Failing) {
        if how > self.failing {
            self.failing = how;
        }
    }
}

/// How long a cache may keep what was found.
fn ttl_s(facts: &Facts, found: &Found) -> u32 {
    let shortest = found.answer.iter().map(|g| g.set.0).min();
    shortest.unwrap_or(facts.negative_ttl_s)
}

impl Epoch {
    /// The standing of what a zone says of a name.
    fn standing_of(&self, zone: ZoneId, name: &Name, found: &Found) -> Standing {
        self.as_in(self, zone, name, found)
    }

    /// Whether the name may belong to an unsigned zone behind an opt-out span, so that whatever is said of it can pass
    /// for insecure (RFC 5155 section 12.2).
    fn is_open(&self, zone: ZoneId, name: &Name) -> bool {
        let facts = &self.facts[zone];
        let denial = facts.signing.as_ref().map(|s| s.denial);
        self.standing[zone] == Standing::Secure
            && matches!(denial, Some(DenialKind::Nsec3 { opt_out: true, .. }))
            && !facts.is_hashed(name)
    }

    /// The standing of this epoch's data with the keys of another.
    fn as_in(&self, keys: &Epoch, zone: ZoneId, name: &Name, found: &Found) -> Standing {
        let facts = &self.facts[zone];
        let signing = match (keys.standing[zone], &facts.signing) {
            (Standing::Secure, Some(signing)) => signing,
            (standing, _) => return standing,
        };
        let spoilt = |owner: &Name, rtype: Rtype| {
            signing
                .flaws
                .iter()
                .any(|(o, t, _)| o == owner && *t == rtype)
        };
        if let Some((owner, rtype)) = &found.source
            && spoilt(owner, *rtype)
        {
            return Standing::Bogus;
        }
        let opt_out = matches!(signing.denial, DenialKind::Nsec3 { opt_out: true, .. });
        let denies = matches!(found.kind, Kind::NoData | Kind::NxDomain);
        if !denies && !found.wildcard {
            return Standing::Secure;
        }
        if signing.denial == DenialKind::None || (denies && spoilt(&facts.apex, Rtype::SOA)) {
            return Standing::Bogus;
        }
        // RFC 5155 section 9.2: behind an opt-out span nothing is sure.
        let direct = found.kind == Kind::NoData && !found.wildcard && facts.is_hashed(name);
        match opt_out && !direct {
            true => Standing::Insecure,
            false => Standing::Secure,
        }
    }
}

/// RFC 4035 section 5: the standing of each zone, from the root down.
fn standings(plan: &Plan, facts: &[Arc<Facts>], wall_s: u64) -> Vec<Standing> {
    let mut out: Vec<Standing> = Vec::new();
    for (id, zone) in plan.zones.iter().enumerate() {
        let valid = facts[id].signing.as_ref().is_some_and(|s| {
            let flawed = s
                .flaws
                .iter()
                .any(|(o, t, _)| *o == zone.apex && *t == Rtype::DNSKEY);
            !flawed && (u64::from(s.valid.0)..=u64::from(s.valid.1)).contains(&wall_s)
        });
        let own = |valid| {
            if valid {
                Standing::Secure
            } else {
                Standing::Bogus
            }
        };
        let standing = match zone.parent {
            // Without a signed root there is no anchor.
            None if facts[id].signing.is_none() => Standing::Insecure,
            None => own(valid),
            Some(parent) => match (out[parent], facts[id].ds) {
                (Standing::Secure, Ds::None) => {
                    let denial = facts[parent].signing.as_ref().map(|s| s.denial);
                    match denial {
                        Some(DenialKind::None) => Standing::Bogus,
                        _ => Standing::Insecure,
                    }
                }
                // RFC 4035 section 5.2: no supported algorithm, as good as unsigned.
                (Standing::Secure, Ds::Unknown) => Standing::Insecure,
                (Standing::Secure, Ds::Wrong) => Standing::Bogus,
                (Standing::Secure, Ds::Right | Ds::WrongAndRight) => own(valid),
                (above, _) => above,
            },
        };
        out.push(standing);
    }
    out
}

/// How good an address is as a server of a zone.
enum Quality {
    Good(u32),
    Slow(u32),
    Lossy,
    Forger,
    Dead(u32),
}

fn quality(fault: Fault, secure: bool) -> Quality {
    match fault {
        Fault::None => Quality::Good(50),
        Fault::Truncate => Quality::Good(150),
        Fault::Slow(late) => Quality::Good(2 * late.as_millis() as u32),
        // Found by the last round, which goes over TCP.
        Fault::UdpSilent => Quality::Slow(PATIENCE_MS + 1),
        Fault::Loss(_) => Quality::Lossy,
        Fault::NoEdns | Fault::Bogus | Fault::Stripped | Fault::Hijack(_) if secure => {
            Quality::Forger
        }
        Fault::NoEdns | Fault::Bogus | Fault::Stripped => Quality::Good(100),
        Fault::Silent => Quality::Dead(SILENCE_MS),
        _ => Quality::Dead(100),
    }
}

/// How each zone can be reached: the least fixed point.
fn ways(plan: &Plan, facts: &[Arc<Facts>], standing: &[Standing]) -> Vec<Option<Way>> {
    let serving = serving(plan);
    let mut ways: Vec<Option<Way>> = vec![None; plan.zones.len()];
    loop {
        let mut better = false;
        for id in 0..plan.zones.len() {
            let secure = standing[id] == Standing::Secure;
            let new = way_to(plan, facts, &ways, &serving, id, secure);
            if let Some(new) = new
                && ways[id].is_none_or(|old| new < old)
            {
                ways[id] = Some(new);
                better = true;
            }
        }
        if !better {
            return ways;
        }
    }
}

/// Which zones an address serves.
fn serving(plan: &Plan) -> BTreeMap<IpAddr, Vec<ZoneId>> {
    let mut out: BTreeMap<IpAddr, Vec<ZoneId>> = BTreeMap::new();
    for (id, zone) in plan.zones.iter().enumerate() {
        for server in zone.servers.iter().filter(|s| s.serves) {
            for ip in &server.addresses {
                out.entry(*ip).or_default().push(id);
            }
        }
    }
    out
}

fn way_to(
    plan: &Plan,
    facts: &[Arc<Facts>],
    ways: &[Option<Way>],
    serving: &BTreeMap<IpAddr, Vec<ZoneId>>,
    id: ZoneId,
    secure: bool,
) -> Option<Way> {
    const START: Way = Way {
        hard: false,
        lossy: false,
        ms: 0,
        depth: 0,
        searches: 0,
        label_ms: 0,
    };
    let zone = &plan.zones[id];
    if plan.mirrors.contains(&id) {
        return Some(Way { ms: 400, ..START });
    }
    let above = match zone.parent {
        Some(parent) => ways[parent]?,
        None => START,
    };
    let may_ask = |ip: &IpAddr| {
        if ip.is_ipv4() {
            plan.switches.ipv4
        } else {
            plan.switches.ipv6
        }
    };
    let mut addresses: BTreeMap<IpAddr, Way> = BTreeMap::new();
    let mut searches = 0;
    for server in &zone.servers {
        let glue = facts[zone.parent.unwrap_or(0)].addresses(&server.name);
        let glue: Vec<IpAddr> = glue.into_iter().filter(may_ask).collect();
        for ip in &glue {
            addresses.insert(*ip, START);
        }
        if !glue.is_empty() || server.name.is_within(&zone.apex) {
            continue;
        }
        // Without glue the name has to be looked up.
        searches += 1;
        let home = deepest(&plan.zones, &server.name);
        let Some(way) = ways[home] else { continue };
        for rtype in [Rtype::A, Rtype::AAAA] {
            if facts[home].find(&server.name, rtype).kind == Kind::Answer {
                for ip in facts[home]
                    .addresses(&server.name)
                    .into_iter()
                    .filter(may_ask)
                {
                    let depth = way.depth + 1;
                    addresses.entry(ip).or_insert(Way {
                        ms: way.ms + 100,
                        depth,
                        ..way
                    });
                }
            }
        }
    }
    let (mut best, mut at_hand): (Option<Way>, Option<Way>) = (None, None);
    let (mut lost_ms, mut forgers) = (0, 0);
    for (ip, find) in addresses {
        let fault = plan.faults.get(&ip).copied().unwrap_or(Fault::None);
        let serves = serving.get(&ip).is_some_and(|zones| zones.contains(&id));
        let quality = if serves {
            quality(fault, secure)
        } else {
            dead(fault)
        };
        let (ms, label_ms, lossy) = match quality {
            Quality::Good(ms) => (ms, ms / 2, false),
            Quality::Slow(ms) => (ms, ms, false),
            Quality::Lossy => (0, 0, true),
            Quality::Forger => {
                forgers += 1;
                lost_ms += 300;
                continue;
            }
            Quality::Dead(ms) => {
                lost_ms += ms;
                continue;
            }
        };
        let way = Way {
            hard: above.hard || find.hard,
            lossy: above.lossy || find.lossy || lossy,
            ms: above.ms + find.ms + ms,
            depth: above.depth.max(find.depth),
            searches: above.searches.saturating_add(find.searches),
            label_ms,
        };
        best = Some(best.map_or(way, |b| b.min(way)));
        if find == START {
            at_hand = Some(at_hand.map_or(way, |w| w.min(way)));
        }
    }
    let mut way = best?;
    // While a server whose address is at hand answers, however slowly, others are not looked for.
    if let Some(first) = at_hand.filter(|first| first.ms > way.ms) {
        (way.ms, way.label_ms) = (first.ms, first.label_ms);
    }
    way.ms += lost_ms;
    way.searches = way.searches.saturating_add(searches);
    way.lossy |= way.depth > DEPTH_AT_ONCE || way.searches > SEARCHES_AT_ONCE;
    way.hard |= forgers > FORGERS_MAX || way.depth > DEPTH_MAX;
    Some(way)
}

/// A lame server: quick to say so, unless it says nothing at all.
fn dead(fault: Fault) -> Quality {
    match fault {
        Fault::Silent | Fault::UdpSilent | Fault::Loss(_) => Quality::Dead(SILENCE_MS),
        Fault::Slow(late) => Quality::Dead(late.as_millis() as u32),
        _ => Quality::Dead(100),
    }
}
