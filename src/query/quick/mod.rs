//! Answers that are ready: the short way of a query that was answered a moment ago.
//!
//! Why: most questions repeat, and most of what it costs to answer one is reading the query, looking up and writing the answer anew. So each
//! thread that listens keeps the octets of answers that it gave, and gives them again, with what differs written over (`ready`).
//!
//! ```text
//! plain -> rights -> table, shapes --+--> cookie -> limits -> copy, patch -> out
//!                                    `--> Pipeline::begin, which may leave the answer here
//! ```
//!
//! Model: an answer is found by what its octets depend on ([`ready::Identity`]): name, type, flags, size, rights; what a zone says of many
//! names in the same way is kept once for all of them (`shape`). It stays for
//! [`LIFE_MAX`], and out of the cache for [`CACHED_LIFE_MAX`] or a tenth of what its records have left, whichever is less; then it is made anew: so the cache goes on seeing what is
//! popular, refreshes in time, and a newer answer shows within that time. Everything else that changes what is answered
//! (settings, mirrors, anchors, flushes, drills) ends all of them at once ([`Resolve::standing`]). Kept are plain answers alone: from the
//! cache or from a copy of a zone, secure or insecure, or from own zones; no errors, nothing stale, nothing as of its verification.
//!
//! Nothing here is shared between threads, but for the limits on networks, whose clients come by several. On a hit nothing is allocated
//! and no lock taken (`tests/hit_allocations.rs`); what is counted is added to the metrics once a turn, which questions are asked when an answer goes.
//!
//! All queries of a turn are looked for ([`Pipeline::look`], [`Pipeline::warm`]) before the first one is answered: what one waits for, the others wait for in the same time.

mod ordered;
pub mod plain;

mod ready;
mod shape;
mod table;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::cookie::Standing;
use super::own::{OwnZone, OwnZones};
use super::rate_limit::{Asker, Verdict};
use super::reply::{self, Answer};
use super::request::Request;
use super::{Client, Pipeline, Settings, Step, Transport};
use crate::clock::{Clock, Now};
use crate::dns::message::HEADER_LEN;
use crate::dns::{Name, Question, Rcode, Rtype};
use crate::resolve::{Resolution, Security};
use plain::Plain;
use ready::{Identity, Ready};
pub(super) use ready::{Keep, Kind};
use shape::{Scope, Shaped, Shapes, Spot, nexts_of};
use table::{SWEEP_SETS, Table};

/// An answer out of a copy or an own zone is given again for so long: whether a copy's signatures still hold is looked at then.
const LIFE_MAX: Duration = Duration::from_secs(5);
/// One out of the cache, whose TTL has all that in it, for so long at the most. To make one anew takes more than ten times the instructions, mostly of memory that is not at hand.
const CACHED_LIFE_MAX: Duration = Duration::from_secs(10);
/// And for this part of what its records have left to live: the last tenth is when the cache refreshes.
const LIFE_SHARE: u32 = 10;
/// But not so short that it is not worth it.
const LIFE_MIN: Duration = Duration::from_millis(100);
/// A thread that has nothing to do looks through this part of its answers at a time.
const IDLE_SWEEP_SHARE: usize = 16;

/// A plain query, and where its answer would be.
pub struct Look<'q> {
    wire: &'q [u8],
    client: IpAddr,
    cookie: Option<&'q [u8]>,
    of: Identity<'q>,
    hash: u64,
    /// As the limits see the client.
    asker: Option<Asker>,
    place: Place,
}

/// Where an answer would be.
enum Place {
    /// Nobody has looked.
    Unknown,
    /// There is one for this hash.
    Table,
    /// The name is in an area.
    Area(Spot),
    /// There is none.
    Nowhere,
}

/// What became of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Its answer has been appended.
    Answered,
    /// It gets none.
    Nothing,
    /// It has to go the general way.
    Unknown,
    /// The same, and it has been counted and is within its network's limit.
    Admitted,
}

/// The ready answers of one thread.
pub struct ReadyAnswers {
    table: Table,
    shapes: Shapes,
    clock: Clock,
    /// What the answers rest on.
    settings: Arc<Settings>,
    standing: Option<u64>,
    now: Now,
    tally: Tally,
}

/// What is counted in one turn.
#[derive(Debug, Default)]
struct Tally {
    queries: u64,
    /// Those that the limits have seen.
    limited: u64,
    cache: u64,
    asked: u64,
    mirror: u64,
    own: u64,
    special: u64,
    cookies: [u64; 3],
}

/// The answer to a query that was looked for.
fn find<'k>(
    table: &'k mut Table,
    shapes: &'k mut Shapes,
    look: &Look<'_>,
    now: Now,
) -> Option<Short<'k>> {
    let of = &look.of;
    let spot = match look.place {
        Place::Nowhere => return None,
        Place::Area(spot) => spot,
        Place::Table | Place::Unknown => match table.find(look.hash, of, now) {
            Some(ready) => return Some(Short::One(ready)),
            None => shapes.seek(of.name, of.rtype)?,
        },
    };
    shapes.find(spot, of, now).map(Short::Many)
}

#[cfg(test)]
impl ReadyAnswers {
    /// Damages what is ready for a name in lower case, in wire form, as a defect might: whoever gives it panics. How many answers there were.
    pub fn spoil(&mut self, name: &[u8]) -> usize {
        self.table.spoil(name)
    }
}

impl Keep {
    /// For an answer whose records have all of their life before them, whenever it is given.
    pub(super) fn fixed(kind: Kind) -> Keep {
        Keep {
            kind,
            life: LIFE_MAX,
            like: 0,
            scope: None,
            nexts: Vec::new(),
        }
    }

    /// For what the resolver had at hand, where that may be given again.
    pub(super) fn cached(resolution: &Resolution) -> Option<Keep> {
        let sources = &resolution.sources;
        let is_plain = matches!(resolution.rcode, Rcode::NOERROR | Rcode::NXDOMAIN)
            && matches!(resolution.security, Security::Secure | Security::Insecure)
            && resolution.errors.is_empty()
            && sources.packets == 0
            && !sources.stale;
        if !is_plain {
            return None;
        }
        if !sources.mirrors.is_empty() {
            return Some(Keep::fixed(Kind::Mirror));
        }
        let sections = [
            &resolution.answer,
            &resolution.authority,
            &resolution.additional,
        ];
        let left_s = sections.into_iter().flatten().map(|set| set.ttl).min()?;
        // A started second counts as left.
        let left = Duration::from_secs(u64::from(left_s).checked_sub(1)?);
        let share = Duration::from_secs(left_s.into()) / LIFE_SHARE;
        let life = share.clamp(LIFE_MIN, CACHED_LIFE_MAX).min(left);
        (!life.is_zero()).then_some(Keep {
            life,
            ..Keep::fixed(Kind::Cache)
        })
    }
}

/// What the answer to a plain query depends on, and [`Pipeline::rights_in`].
fn identity<'q>(plain: &Plain<'q>, rights: u8, udp_size_max: u16) -> Identity<'q> {
    let limit = match plain.form.has_edns() {
        true => reply::udp_limit(plain.form.udp_size, udp_size_max),
        false => reply::UDP_SIZE_MIN_BYTES,
    };
    Identity {
        name: plain.name,
        rtype: plain.rtype,
        flags: plain.form.flags(),
        rights,
        limit,
    }
}

impl Pipeline {
    /// The ready answers of one of `threads` threads; none where nothing may be kept, or somebody looks on at each query.
    pub fn ready_answers(&self, threads: usize) -> Option<ReadyAnswers> {
        let (bytes_max, clock) = self.ready.as_ref().filter(|_| self.watch.is_none())?;
        Some(ReadyAnswers {
            table: Table::new(bytes_max / 2 / threads.max(1)),
            shapes: Shapes::new(bytes_max / 2 / threads.max(1)),
            clock: clock.clone(),
            settings: self.settings.load_full(),
            standing: None,
            now: clock.now(),
            tally: Tally::default(),
        })
    }

    /// Begins a turn of a thread: looks at the clock, and whether what is kept still goes.
    pub fn begin_turn(&self, kept: &mut ReadyAnswers) {
        kept.now = kept.clock.now();
        let standing = self.resolver.as_ref().map_or(Some(0), |r| r.standing());
        let settings = self.settings.load();
        if standing != kept.standing || !Arc::ptr_eq(&settings, &kept.settings) {
            kept.table.clear(&mut |gone| self.count_gone(gone));
            kept.shapes
                .clear(&mut |kind, flags, zone, hits| self.count_shape(kind, flags, zone, hits));
            kept.standing = standing;
            kept.settings = settings.clone();
        }
        (kept.table).sweep(SWEEP_SETS, kept.now, &mut |gone| self.count_gone(gone));
    }

    /// Ends it: adds what was counted to the metrics.
    pub fn end_turn(&self, kept: &mut ReadyAnswers) {
        let tally = std::mem::take(&mut kept.tally);
        if let Some((limits, _)) = self.limits.as_ref().filter(|_| tally.limited > 0) {
            limits.count_queries(tally.limited, kept.now.mono);
        }
        if tally.queries == 0 {
            return;
        }
        let metrics = &self.metrics;
        for (metric, count) in [
            (&metrics.queries_udp_total, tally.queries),
            (
                &metrics.answers_ready_total,
                tally.cache + tally.mirror + tally.own + tally.special,
            ),
            (&metrics.answers_cache_total, tally.cache),
            (&metrics.cache_hits_total, tally.cache),
            (&metrics.answers_mirror_total, tally.mirror),
            // The cache is asked before the copy.
            (&metrics.cache_misses_total, tally.mirror),
            (&metrics.answers_own_total, tally.own),
            (&metrics.answers_special_total, tally.special),
            (
                &metrics.cookies_new_total,
                tally.cookies[Standing::New as usize],
            ),
            (
                &metrics.cookies_good_total,
                tally.cookies[Standing::Good as usize],
            ),
            (
                &metrics.cookies_bad_total,
                tally.cookies[Standing::Bad as usize],
            ),
        ] {
            if count > 0 {
                metric.add(count);
            }
        }
        if let Some(resolver) = self.resolver.as_ref().filter(|_| tally.asked > 0) {
            resolver.count_asked(tally.asked);
        }
    }

    /// What a thread does that has nothing else to do.
    pub fn idle_turn(&self, kept: &mut ReadyAnswers) {
        self.begin_turn(kept);
        let sets = kept.table.sets() / IDLE_SWEEP_SHARE;
        (kept.table).sweep(sets, kept.now, &mut |gone| self.count_gone(gone));
    }

    /// Reads a query and says where its answer would be; `None` where it has to go the general way.
    pub fn look<'q>(
        &self,
        wire: &'q [u8],
        from: SocketAddr,
        kept: &ReadyAnswers,
    ) -> Option<Look<'q>> {
        if kept.standing.is_none() || from.port() == 0 {
            return None;
        }
        let plain = Plain::read(wire)?;
        let settings = &kept.settings;
        let of = identity(
            &plain,
            self.rights_in(settings, from),
            settings.udp_size_max,
        );
        Some(Look {
            wire,
            client: from.ip(),
            cookie: plain.cookie,
            hash: kept.table.hash(&of),
            of,
            asker: (self.limits.as_ref()).map(|(limits, _)| limits.asker_at(from.ip())),
            place: Place::Unknown,
        })
    }

    /// Looks where the answers to all of these are, and reads what is about to be asked for into the processor's cache. One after the other each
    /// would be waited for; the steps of many can be under way at once.
    pub fn warm(&self, looks: &mut [Option<Look<'_>>], kept: &mut ReadyAnswers) {
        let ReadyAnswers { table, shapes, .. } = kept;
        let mut touched = 0;
        for look in looks.iter().flatten() {
            touched ^= table.touch(look.hash);
        }
        for look in looks.iter_mut().flatten() {
            if let Some(ready) = table.get(look.hash) {
                touched ^= u64::from(ready.hits());
                look.place = Place::Table;
            }
        }
        for look in looks.iter_mut().flatten() {
            if let Place::Table = look.place {
                let Some(ready) = table.get(look.hash) else {
                    continue;
                };
                touched ^= u64::from(ready.touched());
                if let (Some((limits, _)), Some(asker)) = (&self.limits, &look.asker) {
                    touched ^= limits.touch(asker, ready.like());
                }
            } else {
                look.place = match shapes.seek(look.of.name, look.of.rtype) {
                    Some(spot) => Place::Area(spot),
                    None => Place::Nowhere,
                };
            }
        }
        std::hint::black_box(touched);
    }

    /// Answers a query whose answer is ready. What it says is as if the query had gone the general way.
    pub fn answer_ready(
        &self,
        look: &Look<'_>,
        kept: &mut ReadyAnswers,
        out: &mut Vec<u8>,
    ) -> Found {
        let Look {
            wire, cookie, of, ..
        } = *look;
        let udp_size_max = kept.settings.udp_size_max;
        let ReadyAnswers {
            table,
            shapes,
            now,
            tally,
            ..
        } = kept;
        let now = *now;
        let found = find(table, shapes, look, now);
        let limits = self.limits.as_ref().map(|(limits, _)| limits);
        // Of a flood of other names most is too much, and is not worth reading any further.
        if found.is_none() && !limits.is_some_and(|limits| limits.are_on_queries()) {
            return Found::Unknown;
        }
        let cookie = match (&self.cookies, cookie) {
            (Some((cookies, _)), Some(option)) => {
                match cookies.exchange(option, look.client, now.wall_s) {
                    Ok(exchanged) => Some(exchanged),
                    Err(_) => return Found::Unknown,
                }
            }
            _ => None,
        };
        let is_proven = matches!(cookie, Some((_, Standing::Good)));
        let octets = cookie.as_ref().map(|(octets, _)| octets);
        let limits = limits.zip(look.asker.as_ref());
        let mut verdict = match limits {
            Some((limits, asker)) => {
                tally.limited += 1;
                self.counted_query(limits.datagram(asker, is_proven, now.mono))
            }
            None => Verdict::Pass,
        };
        if found.is_none() && verdict == Verdict::Pass {
            return Found::Admitted;
        }
        tally.queries += 1;
        if let Some((_, standing)) = cookie {
            tally.cookies[standing as usize] += 1;
        }
        if let Some(found) = found.as_ref().filter(|_| verdict == Verdict::Pass) {
            let (kind, like) = match found {
                Short::One(ready) => (ready.kind(), ready.like()),
                Short::Many(shaped) => (shaped.kind, shaped.like),
            };
            // Asked and answered, even where the answer does not leave.
            let is_asked = u64::from(of.flags & plain::RD != 0);
            match kind {
                Kind::Cache => {
                    (tally.cache, tally.asked) = (tally.cache + 1, tally.asked + is_asked)
                }
                Kind::Mirror => {
                    (tally.mirror, tally.asked) = (tally.mirror + 1, tally.asked + is_asked)
                }
                Kind::Own => tally.own += 1,
                Kind::Special => tally.special += 1,
            }
            if let Some((limits, asker)) = limits.filter(|_| !is_proven) {
                verdict = self.counted_response(limits.response_like(asker, like, now.mono));
            }
        }
        match verdict {
            Verdict::Pass => {}
            Verdict::Drop | Verdict::Refuse => return Found::Nothing,
            Verdict::Truncate => {
                let Some(plain) = Plain::read(wire) else {
                    return Found::Unknown;
                };
                plain.truncated(wire, octets, udp_size_max, out);
                return Found::Answered;
            }
        }
        let id = [wire[0], wire[1]];
        match found {
            None => return Found::Unknown,
            Some(Short::One(ready)) => ready.write(id, of.name, octets, now, out),
            Some(Short::Many(shaped)) => {
                let question = &wire[HEADER_LEN..HEADER_LEN + of.name.len() + 4];
                shaped.write(id, question, of.name.len(), octets, out);
            }
        }
        Found::Answered
    }

    /// As [`Pipeline::begin`] for a query over UDP of which [`Pipeline::answer_ready`] said `found`; the answer may stay.
    pub fn begin_and_keep(
        &self,
        wire: &[u8],
        client: Client,
        found: Found,
        kept: &mut ReadyAnswers,
    ) -> Step {
        let mut keep = None;
        let from = client.addr;
        let step = self.take(wire, client, found == Found::Admitted, &mut keep);
        if let (Step::Done(Some(answer)), Some(keep)) = (&step, keep) {
            self.keep(wire, from, answer, keep, kept);
        }
        step
    }

    fn keep(
        &self,
        wire: &[u8],
        from: SocketAddr,
        answer: &[u8],
        keep: Keep,
        kept: &mut ReadyAnswers,
    ) {
        let Some(plain) = Plain::read(wire) else {
            return;
        };
        // Who may transfer a mirror is told of its version with authority (`transfer`).
        if plain.rtype == Rtype::SOA && !plain.form.recursion_desired() {
            return;
        }
        let rights = self.rights_in(&kept.settings, from);
        let of = identity(&plain, rights, kept.settings.udp_size_max);
        // What changed after this moment shows in the next turn; what changed before it may be in the answer or not.
        let standing = self.resolver.as_ref().map_or(Some(0), |r| r.standing());
        if standing != kept.standing || !Arc::ptr_eq(&self.settings.load(), &kept.settings) {
            return;
        }
        let now = kept.now;
        if let Some(scope) = &keep.scope {
            // Twice, so that a flood through all of a large zone makes nothing.
            let of_scope = Identity {
                name: &scope.start(),
                rtype: Rtype(0),
                limit: 0,
                ..of
            };
            let hash = kept.table.hash(&of_scope);
            let may = kept.table.admits(hash) && is_true(scope, keep.kind, &kept.settings.zones);
            let landmarks = || self.landmarks(&kept.settings);
            let mut gone =
                |kind, flags, zone: &Name, hits| self.count_shape(kind, flags, zone, hits);
            if may && (kept.shapes).put(&of, scope, answer, &keep, now, landmarks, &mut gone) {
                return;
            }
        }
        let hash = kept.table.hash(&of);
        if kept.table.admits(hash)
            && let Some(ready) = Ready::new(&of, answer, &keep, plain.cookie.is_some(), now)
        {
            kept.table
                .put(hash, ready, now, &mut |gone| self.count_gone(gone));
        }
    }

    /// What a client may have, and whether some of it is made for him (`dns64`), a bit for each.
    fn rights_in(&self, settings: &Settings, from: SocketAddr) -> u8 {
        let made = self.dns64.as_ref();
        let gets_made = made.is_some_and(|(dns64, _)| dns64.is_client(from.ip()));
        let rights = settings.access.rights(from.ip());
        u8::from(rights.recursion) | u8::from(rights.own_zones) << 1 | u8::from(gets_made) << 2
    }

    /// Where others than the zones above have a say.
    fn landmarks(&self, settings: &Settings) -> Vec<Name> {
        // Catalogs exist for secondaries alone, who ask for their versions (`transfer`).
        let own = settings.zones.iter().chain(settings.catalogs.iter());
        let own = own.map(|(name, _)| name);
        let mut landmarks: Vec<Name> = own.chain(settings.special.names()).cloned().collect();
        landmarks.extend(self.dns64.iter().flat_map(|(dns64, _)| dns64.landmarks()));
        landmarks.extend(
            self.resolver
                .iter()
                .flat_map(|resolver| resolver.landmarks()),
        );
        landmarks
    }

    /// Names below a zone that do not exist, and were asked for so often.
    fn count_shape(&self, kind: Kind, flags: u8, zone: &Name, hits: u32) {
        let is_recursive = flags & plain::RD != 0;
        if let (Some(resolver), true) = (
            &self.resolver,
            kind == Kind::Mirror && is_recursive && hits > 0,
        ) {
            let question = Question::new(zone.clone(), Rtype::A);
            resolver.count_again(&question, Rcode::NXDOMAIN, hits);
        }
    }

    /// Which question it was that an answer was given to so often.
    fn count_gone(&self, gone: &Ready) {
        let is_recursive = gone.flags() & plain::RD != 0;
        let (Some(resolver), true) = (&self.resolver, gone.hits() > 0 && is_recursive) else {
            return;
        };
        if matches!(gone.kind(), Kind::Cache | Kind::Mirror)
            && let Ok(name) = Name::from_wire(gone.name())
        {
            let rcode = match gone.is_denial() {
                true => Rcode::NXDOMAIN,
                false => Rcode::NOERROR,
            };
            let question = Question::new(name, gone.rtype());
            resolver.count_again(&question, rcode, gone.hits());
        }
    }

    /// What an answer is kept as, if it may be given again. `settled`: nobody else has a say about its zone.
    pub(super) fn may_keep(
        &self,
        keep: Keep,
        settled: bool,
        answer: &Answer,
        request: &Request,
        octets: &[u8],
    ) -> Option<Keep> {
        // RFC 6672 section 3.1: the alias made of a DNAME holds what stood before it in the question, spelled as there.
        let is_spelled = (answer.answer.iter()).any(|set| set.rtype == Rtype::DNAME);
        let may = answer.errors.is_empty()
            && matches!(answer.rcode, Rcode::NOERROR | Rcode::NXDOMAIN)
            && request.client.transport == Transport::Udp
            && request.signed.is_none()
            && !is_spelled;
        if !may {
            return None;
        }
        let is_whole = || reply::is_whole(answer, request, octets);
        let scope = match keep.kind {
            Kind::Own => Scope::of(answer, &request.question, keep.kind),
            Kind::Mirror if settled => Scope::of(answer, &request.question, keep.kind),
            _ => None,
        };
        let scope = scope.filter(|_| is_whole());
        let nexts = scope
            .as_ref()
            .map(|scope| nexts_of(scope, &[&answer.authority, &answer.additional]));
        Some(Keep {
            like: self.like_of(answer, request),
            nexts: nexts.unwrap_or_default(),
            scope,
            ..keep
        })
    }
}

/// Whether nothing is in a gap. The chain of an own zone is what its file says, which may have been changed by hand since it was signed;
/// that of a secure copy has been followed from end to end.
fn is_true(scope: &Scope, kind: Kind, zones: &OwnZones) -> bool {
    let Scope::Gap { apex, from, to } = scope else {
        return true;
    };
    match (kind, zones.zone(apex)) {
        (Kind::Own, Some(OwnZone::Loaded(image))) => image.is_next(from, to),
        (Kind::Own, _) => false,
        _ => true,
    }
}

/// An answer that is ready.
enum Short<'k> {
    One(&'k mut Ready),
    Many(Shaped<'k>),
}

#[cfg(test)]
mod tests;
