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

mod look;
mod trouble;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout_at;

use super::chain::{Chain, Next, Unanswered};
use super::raw::RawAsk;
use super::{Judging, Options, Settings, Shared, overloaded};
use crate::cache::entry::Entry;
use crate::cache::stale::{STALE_TTL_S, Stale, signatures_hold};
use crate::cache::{Cache, Occasion};
use crate::clock::Now;
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
                    let stale = match self.stale_in_memory(&chain.at, now) {
                        None if self.troubles.is_quiet() => return None,
                        stale => stale,
                    };
                    let known = trouble(&chain.at)?;
                    let may_make = known.why.kind != Kind::Bogus;
                    let made = || self.expanded_of_old(&chain.at, now).filter(|_| may_make);
                    let stale = stale.or_else(made)?;
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
        let Some(stale) = self.old_in_memory(question, now) else {
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
        // What merely follows from old data is worth the whole wait: servers may be found that answer.
        let is_made = || self.expanded_of_old(&question, now).is_some();
        if (is_at_hand || is_made())
            && let Some(known) = self.trouble(&question, now)
        {
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
            let first = self.first_zone(question, now);
            first.filter(|zone| self.troubles.is_overdue(zone, now))
        });
        zone.is_some_and(|zone| !self.troubles.scout(&zone, now))
    }

    /// After which time most questions to the zone have an answer.
    pub(super) fn overdue_after(&self, question: &Question) -> Duration {
        let now = self.clock.now();
        let zone = self.first_zone(question, now);
        let addresses = zone.and_then(|zone| self.all_addresses(&zone, now));
        let addresses = addresses.unwrap_or_default();
        let usual = self.servers.usual_rtt(&addresses).unwrap_or_default();
        (usual * 2).clamp(OVERDUE_MIN, OVERDUE_MAX)
    }

    /// The question has no answer after a time in which most have one.
    pub(super) fn note_overdue(&self, question: &Question) {
        let now = self.clock.now();
        let Some(zone) = self.first_zone(question, now) else {
            return;
        };
        if self.leads_through(question, &zone, now) {
            self.troubles.note_overdue(&zone, now);
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
            // Whoever answers with bogus data may have let go of the name: what was never said of it is no match for that.
            None if why.kind == Kind::Bogus => return None,
            None => {
                let made = self.expanded_of_old(question, self.clock.now())?;
                (made, From::Memory)
            }
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

    /// Whether there is an old answer to the question.
    pub(super) fn has_old(&self, question: &Question) -> bool {
        let now = self.clock.now();
        self.settings.stale.enabled
            && (self.stale_in_memory(question, now).is_some() || self.is_on_disk(question))
    }

    /// What was known about the question and has run out, if nothing newer is known.
    fn stale_in_memory(&self, question: &Question, now: Now) -> Option<Stale> {
        let counts = |top: &Name| self.is_spoken_for(question, top, now);
        match self.judging {
            None => self.cache.find_stale(question, now, counts),
            Some(_) => self.cache.find_run_out(question, now, counts),
        }
    }

    /// The same, or what follows from it.
    fn old_in_memory(&self, question: &Question, now: Now) -> Option<Stale> {
        (self.stale_in_memory(question, now)).or_else(|| self.expanded_of_old(question, now))
    }

    /// What a wildcard answered that has run out, for a name that was not kept or never asked for: proven by what has run out with it, while
    /// all of the signatures hold (RFC 8198 section 5.3). A name is never denied so.
    fn expanded_of_old(&self, question: &Question, now: Now) -> Option<Stale> {
        let past_s = self.settings.stale.age_max_s;
        let validator = self.validator.as_ref()?;
        let (made, ran_out_s) = validator.expand_run_out(question, past_s, now)?;
        let entry = Entry {
            rcode: made.rcode,
            answer: made.answer,
            authority: made.authority,
            security: Security::Secure,
            errors: Vec::new(),
        };
        let stands = signatures_hold(&entry, now.wall_s)
            && !self.is_told_elsewhere(&made.zone, question, now);
        stands.then_some(Stale {
            entry,
            ran_out_s,
            above: None,
        })
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
    /// ask before he hears something; when he has ended, the next one asks. Later on it waits for a look that has just begun. False when the
    /// trouble lasts.
    async fn passes(&self, question: &Question, zone: &Name) -> bool {
        loop {
            let now = self.clock.now();
            let known = self.trouble_noted(question, now);
            let is_over = known.and_then(|known| known.zone).as_ref() != Some(zone);
            if is_over {
                return true;
            }
            let looked_for = self.troubles.is_looked_for(zone, now) || self.shares.is_prompt(zone);
            match self.troubles.is_young(zone, now) {
                true if !looked_for && !self.shares.is_asked(zone) => return true,
                false if !looked_for => return false,
                _ => {}
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
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
