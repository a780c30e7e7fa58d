//! Old data at work (RFC 8767): answered when nothing newer can be had, and looked after meanwhile.
//!
//! What is in trouble, and how often it is looked at again, is decided in `resolve::stale`; what was known, in `cache::stale`. Here is
//! what has to wait. A link of a chain is resolved first. Where something old is at hand, that is answered
//!
//! - when the resolution fails;
//! - when the question has waited for `stale.answer_after_ms`: the resolution goes on to its end by itself;
//! - at once where the trouble is known. A listening thread does so, without waiting for anything; it hands the question to a loop
//!   that looks for new data beside.
//!
//! Each link is taken for itself, so a chain may have new and old ones. Old data is never kept anew, so it ages whatever happens; what
//! replaces it is kept like every answer, after its validation.
//!
//! Failure: a refresh that fails, or finds the queue full, changes nothing but when the next one is due.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout_at;

use super::chain::{Chain, Next, Unanswered};
use super::raw::RawAsk;
use super::{Judging, Options, Settings, Shared, overloaded};
use crate::cache::entry::Entry;
use crate::cache::stale::{STALE_TTL_S, Stale, signatures_hold};
use crate::cache::{Cache, Occasion};
use crate::clock::{Now, format_utc};
use crate::dns::{Ede, Name, Question, Rcode, Rtype};
use crate::lines::Lines;
use crate::metrics::Metrics;
use crate::resolve::budget::{Budget, TIME_MAX};
use crate::resolve::interpret;
use crate::resolve::iterate::FailureKind;
use crate::resolve::select::Silence;
use crate::resolve::stale::{Kind, Known, Refreshed, Why};
use crate::resolve::trace::{Trace, What};
use crate::resolve::{Resolution, Response, Security, Sources};

/// Questions that wait to be refreshed.
const WAITING_MAX: usize = 1024;
/// How often a question that waits looks whether its servers are known to be dead by now.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A question is overdue after twice what the zone's servers usually take, within these bounds.
const OVERDUE_MIN: Duration = Duration::from_millis(50);
const OVERDUE_MAX: Duration = Duration::from_millis(400);
/// What a question may still send to dead servers when its client has been answered.
const PACKETS_IN_VAIN_MAX: u32 = 1;
/// Lines in one second about zones in trouble.
const LINES_PER_S_MAX: u32 = 20;
/// Refreshes under way at a time.
const REFRESHES_MAX: usize = 64;

/// The answer cache that the settings ask for.
pub(super) fn cache(settings: &Settings, metrics: &Arc<Metrics>) -> Cache {
    let stale = &settings.stale;
    let age_max_s = if stale.enabled { stale.age_max_s } else { 0 };
    Cache::new(settings.cache_bytes_max, metrics.clone()).keeping_stale(age_max_s)
}

/// What is to be refreshed: a question, for its own sake or for that of a zone.
type Due = (Question, Option<Name>);

/// The way from stale answers to the loop that refreshes, and the log of zones in trouble.
pub(super) struct Work {
    sender: Sender<Due>,
    /// Until the loop has taken it.
    receiver: Mutex<Option<Receiver<Due>>>,
    log: Lines,
}

impl Work {
    pub fn new() -> Work {
        let (sender, receiver) = channel(WAITING_MAX);
        Work {
            sender,
            receiver: Mutex::new(Some(receiver)),
            log: Lines::new(LINES_PER_S_MAX),
        }
    }
}

/// A link that has run out, ready to be a part of an answer.
struct OldLink {
    entry: Entry,
    ran_out_s: u64,
}

/// When old data is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// At once.
    Known,
    /// When the resolution had failed.
    Failed,
    /// When it took too long.
    Late,
}

/// Where an old link was found.
#[derive(Clone, Copy)]
enum From {
    Memory,
    Disk,
}

impl From {
    fn word(self) -> &'static str {
        match self {
            From::Memory => "memory",
            From::Disk => "disk",
        }
    }
}

impl Shared {
    // --- at once -----------------------------------------------------------------------------------

    /// The rest of a chain from data that has run out, where new data is known not to be had. Never waits.
    pub(super) fn stale_at_hand(&self, chain: Chain, now: Now) -> Option<Resolution> {
        if !self.settings.stale.enabled {
            return None;
        }
        let (resolution, used) = self.stale_chain(chain, now, |at| self.trouble(at, now))?;
        for (question, known) in used {
            self.count_stale(&known.why, From::Memory, Moment::Known);
            self.look_after(question, known, now);
        }
        Some(resolution)
    }

    /// The same where this machine has too much to do to look for anything.
    pub(super) fn stale_of_overload(&self, question: &Question) -> Option<Resolution> {
        let now = self.clock.now();
        let why = Why {
            kind: Kind::Overload,
            ede: overloaded().errors.remove(0),
        };
        let known = Known {
            why,
            zone: None,
            due: false,
        };
        let chain = self.cached(question, now).err().flatten()?;
        let (resolution, used) = self.stale_chain(*chain, now, |_| Some(known.clone()))?;
        for (_, known) in used {
            self.count_stale(&known.why, From::Memory, Moment::Known);
        }
        Some(resolution)
    }

    /// Goes on with a chain, new links and old ones; `trouble` says why a link may be an old one. With it come the old ones.
    fn stale_chain(
        &self,
        mut chain: Chain,
        now: Now,
        trouble: impl Fn(&Question) -> Option<Known>,
    ) -> Option<(Resolution, Vec<(Question, Known)>)> {
        let mut used = Vec::new();
        loop {
            // The first link was looked for already.
            let known = match used.is_empty() {
                true => None,
                false => self.known_link(&chain.at, now),
            };
            let entry = match known {
                Some(hit) => hit.entry,
                None => {
                    // Most questions have nothing old: that is found out first.
                    let stale = self.stale_in_memory(&chain.at, now)?;
                    let known = trouble(&chain.at)?;
                    let link = self.old_link(&chain.at, stale, &known.why, now)?;
                    used.push((chain.at.clone(), known));
                    link.entry
                }
            };
            match chain.add(entry) {
                Next::Follow => {}
                Next::End(mut resolution) => {
                    resolution.sources = Sources {
                        stale: true,
                        ..Sources::default()
                    };
                    return Some((*resolution, used));
                }
                Next::Broken(_) => return None,
            }
        }
    }

    /// Writes down that old data is answered at once; false where it is not.
    pub(super) fn note_stale_known(&self, question: &Question, trace: &Trace, now: Now) -> bool {
        let Some(stale) = self.stale_in_memory(question, now) else {
            return false;
        };
        let Some(known) = self.trouble(question, now) else {
            return false;
        };
        let Some(link) = self.old_link(question, stale, &known.why, now) else {
            return false;
        };
        trace.note(now, || told(question, &link, &known.why, From::Memory));
        true
    }

    // --- in time -----------------------------------------------------------------------------------

    /// A link as it is now, or where that cannot be had in time as it was.
    pub(super) async fn link_or_stale(
        self: &Arc<Self>,
        ask: RawAsk,
        options: Options,
        budget: &Arc<Budget>,
    ) -> Result<(Entry, Option<Response>), Unanswered> {
        if !self.settings.stale.enabled {
            return self.link(ask, options, Occasion::Question, budget).await;
        }
        let question = ask.question.clone();
        // Each question is tried for itself, so that its record says why it comes to nothing.
        if self.judging == Some(Judging::Reason) {
            let result = self.link(ask, options, Occasion::Question, budget).await;
            let Err(unanswered) = result else {
                return result;
            };
            let why = why(&unanswered);
            let old = self.old(&question, &why, Moment::Failed, budget).await;
            return old.map(|entry| (entry, None)).ok_or(unanswered);
        }
        let now = self.clock.now();
        let is_at_hand =
            self.stale_in_memory(&question, now).is_some() || self.is_on_disk(&question);
        if is_at_hand && let Some(known) = self.trouble(&question, now) {
            let old = self.old(&question, &known.why, Moment::Known, budget).await;
            if let Some(entry) = old {
                self.look_after(question, known, self.clock.now());
                return Ok((entry, None));
            }
        }
        let result = match is_at_hand {
            true => self.link_in_time(ask, options, budget).await,
            false => Ok(self.link_or_silence(ask, options, budget).await),
        };
        match result {
            Ok(Ok(link)) => Ok(link),
            Ok(Err(unanswered)) => {
                let why = why(&unanswered);
                let old = self.old(&question, &why, Moment::Failed, budget).await;
                old.map(|entry| (entry, None)).ok_or(unanswered)
            }
            Err(entry) => Ok((*entry, None)),
        }
    }

    /// A link that old data is at hand for: that is the error when the question has waited long enough. The work goes on.
    async fn link_in_time(
        self: &Arc<Self>,
        ask: RawAsk,
        options: Options,
        budget: &Arc<Budget>,
    ) -> Result<Result<(Entry, Option<Response>), Unanswered>, Box<Entry>> {
        let question = ask.question.clone();
        // One wait for a client, however many links there are.
        let until = budget.deadline().saturating_sub(TIME_MAX) + self.settings.stale.answer_after;
        if !self.is_worth_asking(&question, until).await {
            let why = self.note_late(&question, budget);
            if let Some(entry) = self.old(&question, &why, Moment::Late, budget).await {
                return Err(Box::new(entry));
            }
        }
        let (shared, own) = (self.clone(), budget.clone());
        let mut work = tokio::spawn(async move { shared.link_noted(ask, options, &own).await });
        let mut is_overdue = false;
        loop {
            let pause = match is_overdue {
                false => self.overdue_after(&question),
                true => LOOK_EVERY,
            };
            let look_at = until.min(self.clock.now().mono + pause);
            if let Ok(done) = timeout_at(self.clock.instant(look_at), &mut work).await {
                return Ok(done.unwrap_or_else(|_| Err(overloaded())));
            }
            if !std::mem::replace(&mut is_overdue, true) {
                self.note_overdue(&question);
            }
            // Others may have found out meanwhile that the servers are dead.
            if look_at == until || self.trouble(&question, self.clock.now()).is_some() {
                break;
            }
        }
        let why = self.note_late(&question, budget);
        let Some(entry) = self.old(&question, &why, Moment::Late, budget).await else {
            return Ok(work.await.unwrap_or_else(|_| Err(overloaded())));
        };
        // What is known to be dead is not worth what is left of the budget, unless the chain goes on.
        if why.kind == Kind::Unreachable && entry.alias(question.rtype).is_none() {
            budget.limit_packets(PACKETS_IN_VAIN_MAX);
        }
        Err(Box::new(entry))
    }

    /// Waits while somebody else finds out whether the servers of the question's zone are dead, until then at most: what many names of
    /// a zone would ask at the same moment one of them may as well. False when they are.
    async fn is_worth_asking(&self, question: &Question, until: Duration) -> bool {
        loop {
            let now = self.clock.now();
            if self.trouble(question, now).is_some() {
                return false;
            }
            if !self.is_suspected(question, now) || now.mono >= until {
                return true;
            }
            let look_at = until.min(now.mono + LOOK_EVERY);
            tokio::time::sleep_until(self.clock.instant(look_at)).await;
        }
    }

    /// Whether the servers of the question's zone may be dead, and somebody else is finding out.
    pub(super) fn is_suspected(&self, question: &Question, now: Now) -> bool {
        let silent = self.silent_way(question, now, Silence::Suspected);
        let zone = silent.map(|(zone, _)| zone).or_else(|| {
            let zone = &self.knowledge.deepest(question, now).zone;
            self.troubles.is_overdue(zone, now).then(|| zone.clone())
        });
        zone.is_some_and(|zone| !self.troubles.scout(&zone, now))
    }

    /// After which time most questions to the zone have an answer.
    pub(super) fn overdue_after(&self, question: &Question) -> Duration {
        let now = self.clock.now();
        let zone = &self.knowledge.deepest(question, now).zone;
        let addresses = self.all_addresses(zone, now).unwrap_or_default();
        let usual = self.servers.usual_rtt(&addresses).unwrap_or_default();
        (usual * 2).clamp(OVERDUE_MIN, OVERDUE_MAX)
    }

    /// The question has no answer after a time in which most have one.
    pub(super) fn note_overdue(&self, question: &Question) {
        let now = self.clock.now();
        let zone = &self.knowledge.deepest(question, now).zone;
        if self.leads_through(question, zone, now) {
            self.troubles.note_overdue(zone, now);
        }
    }

    /// A link, and note is taken of its failure.
    async fn link_noted(
        self: &Arc<Self>,
        ask: RawAsk,
        options: Options,
        budget: &Arc<Budget>,
    ) -> Result<(Entry, Option<Response>), Unanswered> {
        let question = ask.question.clone();
        let result = self.link(ask, options, Occasion::Question, budget).await;
        if let Err(unanswered) = &result {
            self.note_unanswered(&question, unanswered);
        }
        result
    }

    /// Old data as a link of an answer, counted and written down. From the disk where memory has none.
    async fn old(
        self: &Arc<Self>,
        question: &Question,
        why: &Why,
        moment: Moment,
        budget: &Budget,
    ) -> Option<Entry> {
        let in_memory = self.stale_in_memory(question, self.clock.now());
        let (stale, from) = match in_memory {
            Some(stale) => (stale, From::Memory),
            None if self.recall(question).await => {
                let read = self.stale_in_memory(question, self.clock.now())?;
                (read, From::Disk)
            }
            None => return None,
        };
        let now = self.clock.now();
        let link = self.old_link(question, stale, why, now)?;
        self.count_stale(why, from, moment);
        budget.set_stale();
        let told = || told(question, &link, why, from);
        budget.trace().note(now, told);
        Some(link.entry)
    }

    // --- what there is -----------------------------------------------------------------------------

    /// What was known about the question and has run out, if nothing newer is known.
    fn stale_in_memory(&self, question: &Question, now: Now) -> Option<Stale> {
        let counts = |top: &Name| self.is_spoken_for(question, top, now);
        match self.judging {
            None => self.cache.find_stale(question, now, counts),
            Some(_) => self.cache.find_run_out(question, now, counts),
        }
    }

    /// Makes a link of old data, if that may be used in this trouble.
    fn old_link(&self, question: &Question, stale: Stale, why: &Why, now: Now) -> Option<OldLink> {
        let covered = (self.validator.as_ref()).is_some_and(|v| v.covers(question, now));
        let proven = covered && signatures_hold(&stale.entry, now.wall_s);
        if !why.admits(proven) {
            return None;
        }
        let errors = why.errors(&stale);
        let Stale {
            mut entry,
            ran_out_s,
            above,
        } = stale;
        if let Some(dname) = above.filter(|_| entry.rcode == Rcode::NOERROR) {
            // What these ask for is not what the alias stands for.
            if matches!(question.rtype, Rtype::ANY | Rtype::RRSIG | Rtype::NSEC) {
                return None;
            }
            let set = entry.answer.iter().find(|set| set.name == dname)?;
            let (rcode, answer) = interpret::redirected(set, &question.name)?;
            (entry.rcode, entry.answer) = (rcode, answer);
        }
        entry.security = match entry.security {
            // What was proven is secure for as long as its signatures say so (RFC 4035 section 5.3.3), and then as of its time.
            Security::Secure if proven => Security::Secure,
            Security::Secure | Security::SecureAsOf if covered => Security::SecureAsOf,
            _ => Security::Insecure,
        };
        entry.errors.extend(errors);
        Some(OldLink {
            entry: entry.with_ttl(STALE_TTL_S),
            ran_out_s,
        })
    }

    fn count_stale(&self, why: &Why, from: From, moment: Moment) {
        let metrics = &self.metrics;
        match (why.kind, moment) {
            (Kind::Bogus, _) => metrics.stale_bogus_total.inc(),
            (_, Moment::Known) => metrics.stale_known_total.inc(),
            (_, Moment::Failed) => metrics.stale_failed_total.inc(),
            (_, Moment::Late) => metrics.stale_late_total.inc(),
        }
        match from {
            From::Memory => metrics.stale_memory_total.inc(),
            From::Disk => metrics.stale_disk_total.inc(),
        }
    }

    // --- trouble -----------------------------------------------------------------------------------

    /// Why new data cannot be had for the question, as far as that is known without asking.
    pub(super) fn trouble(&self, question: &Question, now: Now) -> Option<Known> {
        (self.trouble_noted(question, now)).or_else(|| self.silent_zone(question, now))
    }

    /// The same as far as it has been noted at an earlier question.
    fn trouble_noted(&self, question: &Question, now: Now) -> Option<Known> {
        let leads = |zone: &Name, silent: &[IpAddr]| {
            // Who stands in a dead prefix has been good before.
            let lost = |a: &IpAddr| self.health.avoid(*a);
            let silent: Vec<IpAddr> = silent.iter().copied().filter(|a| !lost(a)).collect();
            self.leads_through(question, zone, now)
                && !(self.servers).is_any_good(zone, &silent, now.mono)
        };
        self.troubles.find(question, now, leads, &|a| self.pool(a))
    }

    /// Whether the way of the question leads through the servers of `zone`.
    fn leads_through(&self, question: &Question, zone: &Name, now: Now) -> bool {
        let held = self.local.cover(question, now);
        if let Some(forward) = self.settings.forwards.governing(question, held.as_ref()) {
            return forward.zone == *zone;
        }
        // A copy of the zone, or a delegation that was retained, leads past them.
        !held.is_some_and(|cover| cover.zone.is_within(zone))
            && !self.retained.leads_past(zone, question)
            && zone.is_within(&self.knowledge.deepest(question, now).zone)
    }

    /// The zone that the question would be put to, if all of its servers are known to be silent: it is in trouble from now on.
    fn silent_zone(&self, question: &Question, now: Now) -> Option<Known> {
        let (zone, addresses) = self.silent_way(question, now, Silence::Sure)?;
        let text = match self.local.refusal(&zone, now) {
            Some(why) => format!("{zone}: {why}; none of its servers answers"),
            None => format!("{zone}: none of its servers answers"),
        };
        let why = Why {
            kind: Kind::Unreachable,
            ede: Ede::new(Ede::NO_REACHABLE_AUTHORITY, text),
        };
        self.troubles.note_zone(&zone, why.clone(), &addresses, now);
        Some(Known {
            why,
            zone: Some(zone),
            due: false,
        })
    }

    /// The zone that the question would be put to, and its servers, if these are as silent as that.
    fn silent_way(
        &self,
        question: &Question,
        now: Now,
        silence: Silence,
    ) -> Option<(Name, Vec<IpAddr>)> {
        let held = self.local.cover(question, now);
        if (self.settings.forwards.governing(question, held.as_ref())).is_some() {
            return None;
        }
        let delegation = self.knowledge.deepest(question, now);
        let zone = &delegation.zone;
        let addresses = self.all_addresses(zone, now)?;
        let is_so = self.silence(zone, &addresses, now) == silence;
        (is_so && self.leads_through(question, zone, now)).then(|| (zone.clone(), addresses))
    }

    /// The addresses of the servers of a zone, if they are known of each; those that are never asked are left out, and those whose
    /// address would have to be asked for where nobody answers.
    fn all_addresses(&self, zone: &Name, now: Now) -> Option<Vec<IpAddr>> {
        let delegation = self
            .knowledge
            .deepest(&Question::new(zone.clone(), Rtype::NS), now);
        if delegation.zone != *zone {
            return None;
        }
        let mut all = Vec::new();
        for (name, glue) in &delegation.servers {
            let learned = |rtype| self.knowledge.addresses(name, rtype, now);
            let (four, six) = (learned(Rtype::A), learned(Rtype::AAAA));
            let known = !glue.is_empty() || four.is_some() || six.is_some();
            if !known && !self.is_named_by_the_silent(name, now) {
                return None;
            }
            all.extend(glue);
            all.extend(four.into_iter().chain(six).flatten());
        }
        all.retain(|a| self.settings.may_ask(*a));
        (!all.is_empty()).then_some(all)
    }

    /// Whether the address of a name server would have to be asked for at servers that are all silent.
    fn is_named_by_the_silent(&self, server: &Name, now: Now) -> bool {
        let question = Question::new(server.clone(), Rtype::A);
        if self.local.cover(&question, now).is_some() {
            return false;
        }
        let delegation = self.knowledge.deepest(&question, now);
        let mut all = Vec::new();
        for (name, glue) in &delegation.servers {
            let learned = self.knowledge.addresses(name, Rtype::A, now);
            let learned = learned.unwrap_or_default();
            if glue.is_empty() && learned.is_empty() {
                return false;
            }
            all.extend(glue.iter().chain(&learned));
        }
        all.retain(|a| self.settings.may_ask(*a));
        !all.is_empty() && self.are_silent(&delegation.zone, &all, now)
    }

    /// The servers of a zone, where all of them are known to be silent.
    fn silent_servers(&self, zone: &Name, now: Now) -> Vec<IpAddr> {
        let all = self.all_addresses(zone, now).unwrap_or_default();
        match self.are_silent(zone, &all, now) {
            true => all,
            false => Vec::new(),
        }
    }

    /// Whether a server of the zone can be expected to answer some questions.
    fn is_heard_of(&self, zone: &Name, now: Now) -> bool {
        let all = self.all_addresses(zone, now);
        all.is_some_and(|all| self.silence(zone, &all, now) == Silence::None)
    }

    /// A link that there is nothing old for. Where every server of its zone is known to be silent it is not asked (RFC 9520
    /// section 2.1), but for one question now and then that looks for them.
    async fn link_or_silence(
        self: &Arc<Self>,
        ask: RawAsk,
        options: Options,
        budget: &Arc<Budget>,
    ) -> Result<(Entry, Option<Response>), Unanswered> {
        let (question, now) = (ask.question.clone(), self.clock.now());
        // What was silent long ago, and has not been asked for since, is asked.
        let known = self.trouble_noted(&question, now);
        let Some((zone, why)) = known.and_then(|known| Some((known.zone?, known.why))) else {
            return self.link_noted(ask, options, budget).await;
        };
        if self.silent_servers(&zone, now).is_empty() || self.passes(&question, &zone).await {
            return self.link_noted(ask, options, budget).await;
        }
        let now = self.clock.now();
        let pool = |a| self.pool(a);
        (self.troubles).count_answer(&question, &zone, now, &pool);
        let claimed = self.troubles.claim(&question, Some(&zone), now, &pool);
        let Some(granted) = claimed else {
            return Err(Unanswered {
                security: Security::Insecure,
                errors: vec![why.ede],
                lasting: true,
                failed: Some((FailureKind::Unreachable, zone)),
            });
        };
        let before = budget.packets_left();
        let result = self.link_noted(ask, options, budget).await;
        let outcome = match &result {
            Ok(_) => Refreshed::Well,
            Err(unanswered) => Refreshed::Failed(self::why(unanswered)),
        };
        let spent = before.saturating_sub(budget.packets_left());
        let sent = (granted, granted.saturating_sub(spent));
        (self.troubles).refreshed(&question, Some(&zone), outcome, sent, self.clock.now());
        result
    }

    /// Waits for the end of a zone's trouble, as long as that may be a short one: who found it out goes on looking, and others need not
    /// ask before he hears something; when he has ended, the next one asks. False when it lasts.
    async fn passes(&self, question: &Question, zone: &Name) -> bool {
        loop {
            let now = self.clock.now();
            let known = self.trouble_noted(question, now);
            let is_over = known.and_then(|known| known.zone).as_ref() != Some(zone);
            if !is_over && !self.troubles.is_young(zone, now) {
                return false;
            }
            if is_over || !self.shares.is_asked(zone) {
                return true;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The zone that a question has failed at, where all of its servers are silent.
    pub(super) fn silent_at(&self, unanswered: &Unanswered) -> Option<Name> {
        match &unanswered.failed {
            Some((FailureKind::Unreachable | FailureKind::Late, zone)) => {
                let silent = self.silent_servers(zone, self.clock.now());
                (!silent.is_empty()).then(|| zone.clone())
            }
            _ => None,
        }
    }

    /// Whether none of these servers of `zone` can be expected to answer.
    fn are_silent(&self, zone: &Name, servers: &[IpAddr], now: Now) -> bool {
        self.silence(zone, servers, now) == Silence::Sure
    }

    /// How silent these servers of `zone` are. Who stands in a dead prefix is.
    fn silence(&self, zone: &Name, servers: &[IpAddr], now: Now) -> Silence {
        let lost = |a: &IpAddr| self.health.avoid(*a);
        let rest: Vec<IpAddr> = servers.iter().copied().filter(|a| !lost(a)).collect();
        self.servers.silence(zone, &rest, now.mono)
    }

    /// What is looked for when a silent address is: the dead prefix that it stands in (narrow, as `reach::prefix` has them), or itself.
    fn pool(&self, address: IpAddr) -> IpNet {
        let narrow = match address {
            IpAddr::V4(_) => 24,
            IpAddr::V6(_) => 48,
        };
        let dead = self.health.avoid(address);
        let prefix = dead.then(|| IpNet::new(address, narrow).map(|p| p.trunc()));
        prefix.and_then(Result::ok).unwrap_or(address.into())
    }

    /// Takes note of a question that came to nothing.
    fn note_unanswered(&self, question: &Question, unanswered: &Unanswered) {
        let now = self.clock.now();
        let why = why(unanswered);
        match &unanswered.failed {
            // They may answer other questions than those like this one.
            Some((FailureKind::Unreachable, zone)) if self.is_heard_of(zone, now) => {}
            Some((FailureKind::Unreachable, zone)) => {
                let silent = self.silent_servers(zone, now);
                self.troubles.note_zone(zone, why.clone(), &silent, now);
                // Where it is not silence that ails the zone, its servers' health says nothing of its return.
                if self.leads_through(question, zone, now) {
                    return self.troubles.answered(question);
                }
            }
            Some((FailureKind::BadAnswers, zone)) => {
                self.troubles.note_failing(zone, why.clone(), now);
            }
            _ => {}
        }
        if self
            .trouble(question, now)
            .is_some_and(|known| known.zone.is_some())
        {
            return self.troubles.answered(question);
        }
        let is_kept = || self.stale_in_memory(question, now).is_some() || self.is_on_disk(question);
        if why.kind != Kind::Overload && is_kept() {
            let zone = unanswered.failed.as_ref().map(|(_, zone)| zone);
            self.troubles
                .note_name(question, zone, why, Duration::ZERO, now);
        }
    }

    /// Takes note of a question that clients have waited for long enough.
    fn note_late(&self, question: &Question, budget: &Budget) -> Why {
        let now = self.clock.now();
        if let Some(known) = self.trouble(question, now) {
            return known.why;
        }
        let waited = self.settings.stale.answer_after.as_millis();
        let text = match budget.trouble() {
            Some(trouble) => format!("no new answer after {waited} ms; so far {trouble}"),
            None => format!("no new answer after {waited} ms"),
        };
        let why = Why {
            kind: Kind::Late,
            ede: Ede::new(Ede::NO_REACHABLE_AUTHORITY, text),
        };
        let busy_until = budget.deadline();
        (self.troubles).note_name(question, None, why.clone(), busy_until, now);
        why
    }

    /// A server of the zone has said something of use.
    pub(super) fn note_zone_back(&self, zone: &Name) {
        let Some((answers, since_s)) = self.troubles.heard(zone) else {
            return;
        };
        if answers > 0
            && self
                .stale_work
                .log
                .claim(self.clock.now().mono.as_secs())
                .is_some()
        {
            let since = format_utc(since_s);
            tracing::info!(%zone, since, answers, "the zone answers again: new data takes the place of old");
        }
    }

    // --- looking after -----------------------------------------------------------------------------

    /// Old data was answered in this trouble: the zone is told of, and looked for if that is due. Never waits.
    fn look_after(&self, question: Question, known: Known, now: Now) {
        if let Some(zone) = &known.zone
            && (self.troubles).count_answer(&question, zone, now, &|a| self.pool(a))
        {
            self.metrics.stale_zones_total.inc();
            if let Some(left_out) = self.stale_work.log.claim(now.mono.as_secs()) {
                let why = known.why.ede.text.as_str();
                tracing::warn!(%zone, why, left_out, "the zone's servers are out of reach: old answers take the place of new ones, where there are any");
            }
        }
        if known.due
            && let Ok(place) = self.stale_work.sender.try_reserve()
        {
            place.send((question, known.zone));
        }
    }

    /// The loop that looks for new data. Ends when it was started before.
    pub(super) async fn stale_loop(self: Arc<Self>) {
        let receiver = &self.stale_work.receiver;
        let taken = receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut queue) = taken else {
            return;
        };
        let places = Arc::new(Semaphore::new(REFRESHES_MAX));
        while let Some((question, zone)) = queue.recv().await {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            // Whoever put it there again meanwhile finds it claimed.
            let now = self.clock.now();
            let pool = |a| self.pool(a);
            let (question, zone) = match zone {
                Some(zone) => {
                    let (question, zone) = self.troubles.whose_turn(question, zone, now, &pool);
                    (question, Some(zone))
                }
                None => (question, None),
            };
            let claimed = (self.troubles).claim(&question, zone.as_ref(), now, &pool);
            let Some(packets) = claimed else {
                continue;
            };
            let shared = self.clone();
            tokio::spawn(async move {
                shared.look_for(question, zone, packets).await;
                drop(place);
            });
        }
    }

    /// Looks for new data with so many packets.
    async fn look_for(self: Arc<Self>, question: Question, zone: Option<Name>, packets: u32) {
        self.metrics.stale_refreshes_total.inc();
        let budget = Arc::new(Budget::of(packets, self.clock.now()));
        let found = self.renew(&question, &budget).await;
        let now = self.clock.now();
        let outcome = match &found {
            Ok(()) => Refreshed::Well,
            Err(unanswered) => match (&unanswered.failed, &zone) {
                // Spent on the way there, or on the addresses of its servers.
                (Some((FailureKind::Budget, at)), Some(zone))
                    if at != zone || self.all_addresses(zone, now).is_none() =>
                {
                    Refreshed::TooShort
                }
                _ => Refreshed::Failed(why(unanswered)),
            },
        };
        let was_in_trouble = outcome != Refreshed::Well;
        let sent = (packets, budget.packets_left());
        (self.troubles).refreshed(&question, zone.as_ref(), outcome, sent, now);
        if !was_in_trouble {
            return;
        }
        self.metrics.stale_refresh_failures_total.inc();
        // The zone is back, and what it takes to validate its answer was more than a look may cost.
        if zone.is_some() && self.trouble(&question, now).is_none() {
            let _ = self.renew(&question, &Arc::new(Budget::new(now))).await;
        }
    }

    async fn renew(
        self: &Arc<Self>,
        question: &Question,
        budget: &Arc<Budget>,
    ) -> Result<(), Unanswered> {
        let ask = RawAsk {
            refresh: true,
            ..RawAsk::new(question.clone())
        };
        let options = Options::default();
        self.link(ask, options, Occasion::Refresh, budget)
            .await
            .map(drop)
    }
}

/// Why there is no new data.
fn why(unanswered: &Unanswered) -> Why {
    let kind = match (&unanswered.security, &unanswered.failed) {
        // The chain of trust could not be had.
        (Security::Bogus(ede), _) if ede.code == Ede::NO_REACHABLE_AUTHORITY => Kind::Unreachable,
        (Security::Bogus(_), _) => Kind::Bogus,
        (_, Some((FailureKind::BadAnswers, _))) => Kind::Failing,
        (_, Some((FailureKind::Overload | FailureKind::Crowded, _))) => Kind::Overload,
        (_, Some((FailureKind::Late, _))) => Kind::Late,
        _ => Kind::Unreachable,
    };
    let ede = unanswered.errors.first().cloned();
    Why {
        kind,
        ede: ede.unwrap_or_else(|| Ede::new(Ede::NO_REACHABLE_AUTHORITY, "no new answer")),
    }
}

/// An old link, for a record.
fn told(question: &Question, link: &OldLink, why: &Why, from: From) -> What {
    What::Stale {
        question: question.to_string(),
        rcode: link.entry.rcode.to_string(),
        ran_out_s: link.ran_out_s,
        why: why.ede.text.clone(),
        kind: match why.kind {
            Kind::Unreachable => "unreachable",
            Kind::Failing => "failing",
            Kind::Late => "late",
            Kind::Bogus => "bogus",
            Kind::Overload => "overload",
        }
        .into(),
        from: from.word().into(),
    }
}
