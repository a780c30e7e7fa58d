//! The resolver at work: the one place of `resolve` that waits.
//!
//! Why: everything that decides is pure (`iterate`, `select`, `validate`); here their actions are carried out over an
//! [`Upstream`], and what was learned is kept. The same code runs against the real network and against the simulated one
//! of the tests, where time is virtual.
//!
//! Model: [`Resolver::resolve`] answers from the cache, or joins the work on the same question, or starts it in a task
//! of its own. That work goes link by link along the aliases (`chain`); each link is one iteration (`raw`) and
//! one validation (`judge`), which ask sub-questions in the same way. One [`Budget`] pays for all of it.
//!
//! Failure: a question that cannot be answered is SERVFAIL with the reason as EDE, remembered for a while (`failures`).

mod answers;
mod beside;
mod chain;
mod copied;
mod exchange;
mod failures;
mod flooded;
mod hijack;
mod inflight;
mod judge;
mod placed;
mod prefetch;
mod raw;
mod repeats;
mod retain;
mod servfail_log;
mod stale;
mod without_rd;

use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cache::{Cache, CacheStats, Tally};
use crate::clock::{Clock, Now};
use crate::config::{Anchors, NegativeTrustAnchor};
use crate::dns::{Ede, Name, Question, Rcode, RrSet, Rtype};
use crate::lines::Lines;
use crate::metrics::Metrics;
use crate::resolve::askers::Asker;
use crate::resolve::budget::{Budget, TIME_MAX};
use crate::resolve::delegation::{DelegationOrigin, Knowledge, TableStats};
use crate::resolve::denials::FloodedZone;
use crate::resolve::hijack::Hijack;
use crate::resolve::iterate::Env;
use crate::resolve::retained::{self, Retained};
use crate::resolve::seats::{FullServer, Seats};
use crate::resolve::select::{ServerStatus, Servers};
use crate::resolve::settings::{Settings, anchor_records};
use crate::resolve::shares::{CrowdedZone, PROMPT_FOR, Shares};
use crate::resolve::stale::{Troubles, ZoneInTrouble};
use crate::resolve::trace::{Trace, What};
use crate::resolve::validate::Validator;
use crate::resolve::{Health, LocalZones, Origin, Resolution, Security, Sources};
use crate::upstream::Upstream;

pub use beside::{Beside, Judging, Way};
use chain::Unanswered;
use failures::{Failed, FailureKey, Failures};
use inflight::InFlight;
use judge::ReferralChecks;
use raw::{RawAsk, RawKey, RawResult};
use repeats::Repeats;

/// Client questions under way at a time.
const QUESTIONS_IN_FLIGHT_MAX: usize = 20_000;
/// How long a client waits at most. Stubs give up after 5 s and then learn nothing of the reason; the work
/// itself goes on to its end, for who asks again.
pub const CLIENT_WAIT: Duration = Duration::from_millis(4500);
/// Clients that may wait for longer than most answers take; half of those that may wait at all, so that the others always find a place.
const CLIENTS_WAITING_MAX: usize = QUESTIONS_IN_FLIGHT_MAX / 2;
/// How long somebody waits who wants to see the work: to its end.
const TRACE_WAIT: Duration = TIME_MAX.saturating_add(Duration::from_secs(1));
/// Memory for answers of a resolver that lives for one question, bytes.
const AFRESH_CACHE_BYTES_MAX: u64 = 16 << 20;
/// Lines in one second about questions without a place.
const CROWDED_LINES_PER_S_MAX: u32 = 2;
/// Time between two tries of priming.
const PRIME_EVERY: Duration = Duration::from_secs(10);

/// How a client wants its question resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Options {
    /// CD: the client validates for itself and takes bogus data (RFC 4035 section 3.2.2).
    pub checking_disabled: bool,
    /// RD: false asks for what is known here, in cache and mirrors.
    pub recursion: bool,
    /// For whom: what a flooded zone's servers may still be asked is shared among networks.
    pub asker: Asker,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            checking_disabled: false,
            recursion: true,
            asker: Asker::default(),
        }
    }
}

/// What came of waiting.
enum Waited<T> {
    Done(T),
    /// Too many wait already.
    Crowded,
    /// It takes longer than clients wait.
    Late,
}

/// What the resolver is made of.
pub struct Parts {
    /// What the configuration says.
    pub settings: Settings,
    /// The way to other servers.
    pub upstream: Arc<dyn Upstream>,
    /// Trust anchors and policy; `None` validates nothing (`resolver.dnssec = "off"`).
    pub validator: Option<Arc<Validator>>,
    /// Locally held zones.
    pub local: Arc<dyn LocalZones>,
    /// Reachability.
    pub health: Arc<dyn Health>,
    /// The clock.
    pub clock: Clock,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// What a resolver begins with.
struct Memory {
    knowledge: Knowledge,
    servers: Arc<Servers>,
    retained: Arc<Retained>,
    cache: Arc<Cache>,
    shelf: OnceLock<Arc<answers::Shelf>>,
    judging: Option<Judging>,
    hijack: Option<Hijack>,
}

impl Memory {
    fn empty(parts: &Parts, retained: Arc<Retained>) -> Memory {
        Memory {
            knowledge: Knowledge::new(parts.settings.root_hints.clone()),
            servers: Arc::default(),
            retained,
            cache: Arc::new(stale::cache(&parts.settings, &parts.metrics)),
            shelf: OnceLock::new(),
            judging: None,
            hijack: None,
        }
    }
}

/// The resolver; clones are the same one.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

pub(in crate::resolve) struct Shared {
    settings: Settings,
    upstream: Arc<dyn Upstream>,
    validator: Option<Arc<Validator>>,
    local: Arc<dyn LocalZones>,
    health: Arc<dyn Health>,
    clock: Clock,
    metrics: Arc<Metrics>,
    knowledge: Knowledge,
    servers: Arc<Servers>,
    retained: Arc<Retained>,
    cache: Arc<Cache>,
    /// What a cut-off would leave is judged: nothing that is cached counts but as run out, and nothing is kept.
    judging: Option<Judging>,
    /// Nothing where what is found out is not kept.
    hijack: Option<Hijack>,
    troubles: Troubles,
    stale_work: stale::Work,
    /// Answers on disk, where they are kept.
    shelf: OnceLock<Arc<answers::Shelf>>,
    failures: Failures,
    shares: Arc<Shares>,
    seats: Arc<Seats>,
    crowded_log: Lines,
    /// Questions that wildcards have answered.
    expanded: Repeats,
    clients_waiting: Semaphore,
    referral_checks: ReferralChecks,
    raw_in_flight: Arc<InFlight<RawKey, RawResult>>,
    questions: Arc<InFlight<FailureKey, Resolution, Arc<Budget>>>,
    log: servfail_log::ServfailLog,
    refreshes: prefetch::Queue,
    seeds: AtomicU64,
    /// How often something changed what is at hand, but for time and newer answers.
    changes: AtomicU64,
    /// Monotonic milliseconds of the next try of priming.
    prime_at_ms: AtomicU64,
}

impl Resolver {
    /// A resolver that knows nothing but its root hints.
    pub fn new(parts: Parts) -> Resolver {
        let retained = Arc::new(Retained::new(parts.settings.retained));
        let memory = Memory {
            hijack: Some(Hijack::default()),
            ..Memory::empty(&parts, retained)
        };
        Resolver::with_memory(parts, memory)
    }

    fn with_memory(parts: Parts, memory: Memory) -> Resolver {
        let Memory {
            knowledge,
            servers,
            retained,
            cache,
            shelf,
            judging,
            hijack,
        } = memory;
        let Parts {
            settings,
            upstream,
            validator,
            local,
            health,
            clock,
            metrics,
        } = parts;
        Resolver(Arc::new(Shared {
            knowledge,
            servers,
            retained,
            cache,
            judging,
            hijack,
            troubles: Troubles::default(),
            stale_work: stale::Work::new(),
            shelf,
            failures: Failures::default(),
            shares: Shares::limited(settings.upstream_per_zone_max, settings.denials_per_zone_s),
            seats: Seats::new(settings.upstream_per_server_max, metrics.clone()),
            crowded_log: Lines::new(CROWDED_LINES_PER_S_MAX),
            expanded: Repeats::default(),
            clients_waiting: Semaphore::new(CLIENTS_WAITING_MAX),
            referral_checks: ReferralChecks::default(),
            raw_in_flight: Arc::default(),
            questions: Arc::default(),
            log: servfail_log::ServfailLog::new(settings.log_servfail),
            refreshes: prefetch::Queue::new(),
            metrics,
            seeds: AtomicU64::new(settings.seed),
            changes: AtomicU64::new(0),
            prime_at_ms: AtomicU64::new(0),
            settings,
            upstream,
            validator,
            local,
            health,
            clock,
        }))
    }

    /// Resolves a question of class IN. Never fails: what cannot be had is SERVFAIL with the reason.
    pub async fn resolve(&self, question: Question, options: Options) -> Resolution {
        self.resolve_traced(question, options, &Trace::off()).await
    }

    /// The same, and writes down what is done. With somebody looking on, it waits to the end of the work, where a client
    /// would have been told earlier that it takes too long.
    pub async fn resolve_traced(
        &self,
        question: Question,
        options: Options,
        trace: &Trace,
    ) -> Resolution {
        if let Some((known, _)) = self.at_hand(&question, options) {
            self.note_known(&question, options, trace);
            return known;
        }
        self.find_out(question, options, trace).await
    }

    /// The same for what [`Resolver::known`] has just not known: that look is not taken again.
    pub async fn resolve_unknown(&self, question: Question, options: Options) -> Resolution {
        self.find_out(question, options, &Trace::off()).await
    }

    /// Joins the work on a question, or starts it, and waits as long as a client is made to wait.
    async fn find_out(&self, question: Question, options: Options, trace: &Trace) -> Resolution {
        if !options.recursion {
            return self.0.without_recursion(&question).await;
        }
        let shared = self.0.clone();
        shared.prime();
        let key = (question.clone(), options.checking_disabled);
        let mut started = false;
        let start = || {
            started = true;
            let budget = Budget::new(shared.clock.now()).traced(trace.clone());
            let budget = Arc::new(budget.asked_by(options.asker));
            let work = shared
                .clone()
                .work(question.clone(), options, budget.clone());
            // It is large, and handed on several times.
            (budget, Box::pin(work))
        };
        let work = (shared.questions).run(key.clone(), QUESTIONS_IN_FLIGHT_MAX, start);
        let resolution = match self.patiently(work, trace).await {
            Waited::Done(Some((_, resolution))) => resolution,
            Waited::Done(None) => (self.0)
                .stale_of_overload(&question)
                .unwrap_or_else(|| servfail(overloaded())),
            waited => {
                let old = match waited {
                    Waited::Crowded => {
                        shared.metrics.clients_crowded_total.inc();
                        shared.stale_of_overload(&question)
                    }
                    _ => None,
                };
                let trouble = shared.questions.side(&key).and_then(|b| b.trouble());
                old.unwrap_or_else(|| servfail(still_trying(&question, trouble)))
            }
        };
        if !started {
            trace.note(shared.clock.now(), || What::Joined {
                question: question.to_string(),
            });
        }
        resolution
    }

    /// Waits for work as long as a client is made to wait: where many wait already, no longer than most answers take.
    async fn patiently<T>(&self, work: impl Future<Output = T>, trace: &Trace) -> Waited<T> {
        let mut work = pin!(work);
        let wait = match trace.is_on() {
            true => TRACE_WAIT,
            false => CLIENT_WAIT,
        };
        if let Ok(done) = timeout(PROMPT_FOR, &mut work).await {
            return Waited::Done(done);
        }
        let Ok(_place) = self.0.clients_waiting.try_acquire() else {
            return Waited::Crowded;
        };
        match timeout(wait - PROMPT_FOR, work).await {
            Ok(done) => Waited::Done(done),
            Err(_) => Waited::Late,
        }
    }

    /// A resolver that has learned nothing, over the same network, mirrors, retained delegations and policy: what it finds was not
    /// known before, and what it learns is not kept.
    pub fn afresh(&self) -> Resolver {
        let shared = &self.0;
        let settings = Settings {
            prime: false,
            prefetch: false,
            cache_bytes_max: shared.settings.cache_bytes_max.min(AFRESH_CACHE_BYTES_MAX),
            seed: shared.next_seed(),
            log_servfail: shared.log.is_on(),
            ..shared.settings.clone()
        };
        let parts = Parts {
            settings,
            upstream: shared.upstream.clone(),
            validator: (shared.validator.as_ref()).map(|v| Arc::new(v.afresh())),
            local: shared.local.clone(),
            health: shared.health.clone(),
            clock: shared.clock.clone(),
            metrics: Arc::default(),
        };
        let memory = Memory::empty(&parts, shared.retained.clone());
        Resolver::with_memory(parts, memory)
    }

    /// Writes down that nobody was asked.
    fn note_known(&self, question: &Question, options: Options, trace: &Trace) {
        if !trace.is_on() {
            return;
        }
        let now = self.0.clock.now();
        let mut at = question.clone();
        for _ in 0..chain::CHAIN_MAX {
            let Some(hit) = self.0.known_link(&at, now) else {
                if self.0.note_stale_known(&at, trace, now) {
                    return;
                }
                break;
            };
            trace.note(now, || chain::cached_told(&at, &hit.entry));
            let Some(target) = hit.entry.alias(at.rtype) else {
                return;
            };
            trace.note(now, || What::Alias {
                from: at.name.to_string(),
                to: target.to_string(),
            });
            at.name = target;
        }
        let key = (question.clone(), options.checking_disabled);
        if let Some(failed) = self.0.failures.find(&key, now) {
            trace.note(now, || What::Remembered {
                question: question.to_string(),
                errors: failed.errors.iter().map(ToString::to_string).collect(),
            });
        }
    }

    /// What is known without asking anybody: a cached answer, a failure that still stands, or what a copy says that is asked first anyway. Never waits. The first
    /// step of a client's question, and counted as one.
    pub fn known(&self, question: &Question, options: Options) -> Option<Resolution> {
        let known = self.at_hand(question, options);
        self.0.cache.count_question(known.is_some());
        let Some((resolution, due)) = known else {
            let copied = self.0.copied(question, options);
            return copied.or_else(|| self.0.refused_at_once(question, options));
        };
        // Without RD nothing is asked upstream.
        if options.recursion && self.0.settings.prefetch && !due.is_empty() {
            self.0.refresh_soon(due, self.0.clock.now());
        }
        Some(resolution)
    }

    /// Refreshes popular answers before they run out, for as long as it is polled.
    pub async fn keep_fresh(self) {
        tokio::join!(self.0.clone().refresh_loop(), self.0.stale_loop());
    }

    /// What is known, and which links of it are due for a refresh.
    fn at_hand(
        &self,
        question: &Question,
        options: Options,
    ) -> Option<(Resolution, Vec<Question>)> {
        let now = self.0.clock.now();
        let chain = match self.0.cached(question, now) {
            Ok(known) => return Some(known),
            Err(chain) => chain.filter(|_| options.recursion),
        };
        if let Some(stale) = chain.and_then(|chain| self.0.stale_at_hand(*chain, now)) {
            return Some((stale, Vec::new()));
        }
        let key = (question.clone(), options.checking_disabled);
        let failed = self.0.failures.find(&key, now)?;
        let mut errors = failed.errors;
        // RFC 8914 section 4.14.
        let text = "remembered; upstream is asked again when a little time has passed";
        errors.push(Ede::new(Ede::CACHED_ERROR, text));
        let remembered = servfail(Unanswered {
            security: failed.security,
            errors,
            lasting: true,
            failed: None,
        });
        Some((remembered, Vec::new()))
    }

    /// A zone's servers are back: forgets what was accepted as of its verification, and all failures.
    pub fn note_recovered(&self, zone: &Name) {
        self.0.cache.purge_as_of();
        self.0.knowledge.purge_as_of();
        if let Some(validator) = &self.0.validator {
            validator.purge_as_of();
            // The zone may have changed in whatever way while nobody could look.
            validator.flush_denials(zone);
        }
        self.forget_failures();
        self.note_change();
    }

    /// A new version of a mirrored zone is here, or its mirror is gone: what an older one denied must not hide what was added.
    pub fn note_generation(&self, zone: &Name) {
        if let Some(validator) = &self.0.validator {
            validator.forget_denials_of(zone);
        }
        self.note_change();
    }

    /// Names at which others than the zones above may have a say.
    pub fn landmarks(&self) -> Vec<Name> {
        self.0.landmarks()
    }

    /// A number that is another one after each change to what [`Resolver::known`] says, but for those that time and newer answers make.
    pub fn standing(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    fn note_change(&self) {
        self.0.changes.fetch_add(1, Ordering::Release);
    }

    /// Reachability changed: what failed may succeed now.
    pub fn forget_failures(&self) {
        self.0.failures.forget_all(self.0.clock.now());
        self.0.troubles.forget_all();
    }

    /// The zone's DNSKEY set and who gave it, fresh from the network past every cache and copy, not validated; from
    /// others than `avoid` if possible.
    ///
    /// # Errors
    /// It could not be had; why.
    pub async fn fetch_keys(
        &self,
        zone: &Name,
        avoid: &[IpAddr],
    ) -> Result<(RrSet, IpAddr), String> {
        let ask = RawAsk {
            attempt: 1,
            avoid: avoid.to_vec(),
            network_only: true,
            ..RawAsk::new(Question::new(zone.clone(), Rtype::DNSKEY))
        };
        let budget = Arc::new(Budget::new(self.0.clock.now()));
        let response = self.0.raw(ask, &budget).await.map_err(|f| f.text)?;
        let keys = |s: &RrSet| s.rtype == Rtype::DNSKEY && s.name == *zone;
        match (response.answer.into_iter().find(keys), response.origin) {
            (Some(set), Origin::Network(server)) => Ok((set, server)),
            _ => Err(format!("{zone} has no DNSKEY")),
        }
    }

    /// Takes other trust anchors into use, without a restart. What rests on the zones in `shrunk` is proven anew.
    pub fn set_anchors(&self, anchors: &Anchors, shrunk: &[Name]) {
        if let Some(validator) = &self.0.validator {
            validator.set_anchors(anchor_records(anchors));
            for zone in shrunk {
                validator.forget(zone, true);
            }
        }
        self.note_change();
    }

    /// Forgets what was learned about `name`, and with `tree` about everything below it. Each store has its own
    /// `forget(name, tree)`, which says how much went.
    pub fn flush(&self, name: &Name, tree: bool) -> Flushed {
        let shared = &self.0;
        let (retained, _) = shared.retained.forget(name, tree);
        let (delegations, addresses, links) = shared.knowledge.forget_under(name, tree);
        let validator = shared.validator.as_ref();
        shared.troubles.forget(name, tree);
        // Answers last: what is resolved meanwhile must not rest on what goes.
        let flushed = Flushed {
            delegations,
            addresses,
            links,
            keys: validator.map_or(0, |v| v.forget(name, tree)),
            failures: shared.failures.forget(name, tree),
            retained,
            answers: shared.cache.forget(name, tree),
            on_disk: shared.forget_on_disk(name, tree),
        };
        self.note_change();
        flushed
    }

    /// Replaces the negative trust anchors, and forgets what was judged at and below those that changed, whose names
    /// come back.
    pub fn set_negative_trust_anchors(&self, anchors: &[NegativeTrustAnchor]) -> Vec<Name> {
        let Some(validator) = &self.0.validator else {
            return Vec::new();
        };
        let changed = validator.set_negative_trust_anchors(anchors);
        for name in &changed {
            self.flush(name, true);
        }
        changed
    }

    /// The negative trust anchors with their ends, seconds since 1970.
    pub fn negative_trust_anchors(&self) -> Vec<(Name, Option<u64>)> {
        let validator = self.0.validator.as_ref();
        validator.map_or(Vec::new(), |v| v.negative_trust_anchors())
    }

    /// Switches the log of questions that come to nothing on or off.
    pub fn set_log_servfail(&self, on: bool) {
        self.0.log.set(on);
    }

    /// Every server address asked so far.
    pub fn servers_status(&self) -> Vec<ServerStatus> {
        self.0.servers.status(self.0.clock.now().mono)
    }

    /// The cache in numbers.
    pub fn cache_stats(&self) -> CacheStats {
        self.0.cache.stats()
    }

    /// Everything else that is kept beside the cache, by name, in numbers.
    pub fn tables_stats(&self) -> [(&'static str, TableStats); 7] {
        let [delegations, addresses, links] = self.0.knowledge.stats();
        let kept = self.0.retained.stats();
        [
            ("delegations", delegations),
            ("addresses", addresses),
            ("links", links),
            ("failures", self.0.failures.stats()),
            ("troubles", self.0.troubles.stats()),
            ("retained", kept.zones),
            ("retained servers", kept.hosts),
        ]
    }

    /// Retained delegations in numbers.
    pub fn retained_stats(&self) -> retained::Stats {
        self.0.retained.stats()
    }

    /// Zones in whose place old data is answered.
    pub fn zones_in_trouble(&self) -> Vec<ZoneInTrouble> {
        self.0.troubles.zones()
    }

    /// Zones for whose servers as many questions wait as may, or did within the last minute.
    pub fn crowded_zones(&self) -> Vec<CrowdedZone> {
        self.0.shares.crowded(self.0.clock.now())
    }

    /// Servers at which as many questions are outstanding as may, or were within the last minute; the worst first.
    pub fn full_servers(&self) -> Vec<FullServer> {
        self.0.seats.full(self.0.clock.now())
    }

    /// Zones below which many names that do not exist are asked for, and how many questions that has left unasked since the start.
    pub fn flooded_zones(&self) -> (Vec<FloodedZone>, u64) {
        let shares = &self.0.shares;
        (
            shares.flooded(self.0.clock.now()),
            shares.refused_for_denials(),
        )
    }

    /// Answers in the cache that have run out and are kept for outages. Looks at every entry.
    pub fn stale_stats(&self) -> Tally {
        self.0.cache.stale_stats(self.0.clock.now())
    }

    /// Zones whose servers are known to be gone, and whose retained delegations are in use.
    pub fn gone(&self) -> Vec<retained::Gone> {
        self.0.retained.gone()
    }

    /// Zones whose keys, or whose lack of keys, is known.
    pub fn keys_known(&self) -> usize {
        self.0.validator.as_ref().map_or(0, |v| v.zones_known())
    }

    /// Client questions under way.
    pub fn in_flight(&self) -> usize {
        self.0.questions.len()
    }
}

/// How many entries a flush took, by what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flushed {
    /// Answers and denials.
    pub answers: usize,
    /// Delegations.
    pub delegations: usize,
    /// Addresses of name servers.
    pub addresses: usize,
    /// DS and DNSKEY sets for validation.
    pub links: usize,
    /// Zones whose keys were known.
    pub keys: usize,
    /// Failures.
    pub failures: usize,
    /// Retained delegations.
    pub retained: usize,
    /// Answers on disk.
    pub on_disk: usize,
}

impl Shared {
    fn env<'a>(&'a self, budget: &'a Budget, trace: &'a Trace) -> Env<'a> {
        Env {
            settings: &self.settings,
            knowledge: &self.knowledge,
            servers: &self.servers,
            retained: &self.retained,
            shares: &self.shares,
            seats: &self.seats,
            local: &*self.local,
            health: &*self.health,
            budget,
            validating: self.validator.is_some(),
            trace,
        }
    }

    fn next_seed(&self) -> u64 {
        // An odd constant spreads consecutive numbers (Weyl sequence).
        self.seeds
            .fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed)
    }

    /// The work on one client question.
    async fn work(
        self: Arc<Self>,
        question: Question,
        options: Options,
        budget: Arc<Budget>,
    ) -> Resolution {
        let key = (question.clone(), options.checking_disabled);
        let began = self.clock.now();
        let begun = match self.begin_limited(&question, &budget, began) {
            Ok(begun) => begun,
            Err(crowded) => return self.refused(&question, crowded),
        };
        let began = began.mono;
        match self.chain(&question, options, &budget).await {
            Ok(resolution) => {
                self.failures.clear(&key);
                flooded::end(begun, flooded::of_answer(&resolution), self.clock.now());
                resolution
            }
            Err(unanswered) => {
                self.log_servfail(&question, &unanswered.errors);
                let failed = Failed {
                    security: unanswered.security.clone(),
                    errors: unanswered.errors.clone(),
                    silent: self.silent_at(&unanswered),
                };
                let outcome = flooded::of_failure(&unanswered, failed.silent.is_some());
                flooded::end(begun, outcome, self.clock.now());
                if unanswered.lasting {
                    (self.failures).remember(key, failed, began, self.clock.now());
                }
                let mut resolution = servfail(unanswered);
                resolution.sources = budget.sources();
                resolution
            }
        }
    }

    /// RFC 9609: asks the root for its own list of servers, beside the clients' questions, when only the
    /// hints are known.
    fn prime(self: &Arc<Self>) {
        if !self.settings.prime {
            return;
        }
        let now = self.clock.now();
        let question = Question::new(Name::root(), Rtype::NS);
        // Who is forwarded to knows the root's servers, and nobody here asks them.
        if (self.settings.forwards.governing(&question, None)).is_some() {
            return;
        }
        if self.knowledge.deepest(&question, now).origin != DelegationOrigin::Hints {
            return;
        }
        if !self.claim_priming(now) {
            return;
        }
        let shared = self.clone();
        tokio::spawn(async move {
            let budget = Arc::new(Budget::new(now));
            if let Err(failure) = shared.raw(RawAsk::new(question), &budget).await {
                tracing::debug!(reason = %failure.text, "the root servers' own list could not be had");
            }
        });
    }

    fn claim_priming(&self, now: Now) -> bool {
        let now_ms = now.mono.as_millis() as u64;
        let due_ms = self.prime_at_ms.load(Ordering::Relaxed);
        let next_ms = now_ms + PRIME_EVERY.as_millis() as u64;
        now_ms >= due_ms
            && (self.prime_at_ms)
                .compare_exchange(due_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

fn servfail(unanswered: Unanswered) -> Resolution {
    Resolution {
        rcode: Rcode::SERVFAIL,
        answer: Vec::new(),
        authority: Vec::new(),
        additional: Vec::new(),
        security: unanswered.security,
        errors: unanswered.errors,
        sources: Sources::default(),
    }
}

fn still_trying(question: &Question, trouble: Option<String>) -> Unanswered {
    let text = match trouble {
        Some(trouble) => format!("still trying; so far {trouble}"),
        None => format!("{question}: no server has answered so far; still trying"),
    };
    Unanswered {
        security: Security::Insecure,
        errors: vec![Ede::new(Ede::NO_REACHABLE_AUTHORITY, text)],
        lasting: false,
        failed: None,
    }
}

fn overloaded() -> Unanswered {
    Unanswered {
        security: Security::Insecure,
        errors: vec![Ede::new(Ede::OTHER, "too many questions under way")],
        lasting: false,
        failed: None,
    }
}
