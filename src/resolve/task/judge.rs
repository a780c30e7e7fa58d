//! Runs validations: a raw answer in, a verdict out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{timeout, timeout_at};

use super::Shared;
use super::raw::RawAsk;
use crate::clock::Now;
use crate::dns::{Ede, Name, Question, Rrsig, Rtype};
use crate::resolve::budget::Budget;
use crate::resolve::iterate::Failure;
use crate::resolve::trace::{Trace, What, security_word};
use crate::resolve::validate::{Culprit, Event, Step, SubAsk, Validation, Verdict};
use crate::resolve::{Observation, Origin, Outcome, Prefer, Response, Security};

/// Time between two checks of referrals from one zone.
const REFERRAL_CHECK_EVERY: Duration = Duration::from_secs(1);
/// How long a link is waited for where the validation could go on without it (`resolve::retained`).
const LINK_WAIT: Duration = Duration::from_millis(2000);
/// Zones whose checks are remembered: more than anyone mirrors.
const REFERRAL_ZONES_MAX: usize = 4096;

/// When referrals of a zone were last checked.
#[derive(Default)]
pub(super) struct ReferralChecks(Mutex<HashMap<Name, Duration>>);

impl ReferralChecks {
    fn claim(&self, zone: &Name, now: Duration) -> bool {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |at: &Duration| *at + REFERRAL_CHECK_EVERY > now;
        if table.get(zone).is_some_and(recent) {
            return false;
        }
        if table.len() >= REFERRAL_ZONES_MAX {
            table.retain(|_, at| recent(at));
        }
        table.insert(zone.clone(), now);
        true
    }
}

/// What a validation is told, and why it is told nothing.
type Told = (Event, Option<Failure>);

/// For whom an answer is judged.
pub(super) struct Asker {
    /// Links are looked for at the depth of the answer, so that they wait for deeper work only.
    pub depth: u8,
    /// The questions that they are looked for.
    pub ancestry: Vec<Question>,
    pub budget: Arc<Budget>,
}

/// A link of a chain that a server gave.
struct Link {
    question: Question,
    zone: Name,
    server: IpAddr,
}

impl Shared {
    /// Judges the answer to a client's question.
    pub(super) async fn judge(
        self: &Arc<Self>,
        question: &Question,
        response: &Response,
        budget: &Arc<Budget>,
    ) -> Verdict {
        let asker = Asker {
            depth: 0,
            ancestry: Vec::new(),
            budget: budget.clone(),
        };
        self.judge_for(&asker, question, response).await
    }

    /// Judges the answer to `question`, and tells reachability whose data proved right or wrong.
    /// Everything is insecure where validation is off.
    pub(super) async fn judge_for(
        self: &Arc<Self>,
        asker: &Asker,
        question: &Question,
        response: &Response,
    ) -> Verdict {
        let budget = &asker.budget;
        let Some(validator) = &self.validator else {
            return without_chain(response, Security::Insecure);
        };
        let trace = budget.trace().note(self.clock.now(), || What::Validate {
            question: question.to_string(),
            outcome: None,
            signatures: Vec::new(),
            errors: Vec::new(),
        });
        let validation = Validation::new(question.clone(), response.clone(), validator.clone());
        let (kept, stops) = match response.origin {
            Origin::Network(_) => {
                let now = self.clock.now();
                let kept = self.retained.cuts(&question.name, now);
                (kept, self.stops(question, now))
            }
            Origin::Mirror(_) => Default::default(),
        };
        let validation = validation.traced(trace.clone()).keeping(kept);
        let mut validation = validation.by_way_of(stops);
        // Boxed: a channel takes room for 32 messages when it is made. Most verdicts need nothing that is not known.
        let mut channel = None;
        // The answer to a question for keys is a link of its own chain, and whoever gave it may have lied.
        let mut links = Vec::new();
        if question.rtype == Rtype::DNSKEY {
            links.extend(link_from(question, response));
        }
        let own = links.len();
        let mut failures = Vec::new();
        let mut event = Event::Start;
        loop {
            match validation.step(self.clock.now(), event) {
                Step::Done(mut verdict) => {
                    let (entries, bytes) = validator.denials_size();
                    self.metrics.aggressive_entries.set(entries as u64);
                    self.metrics.aggressive_bytes.set(bytes as u64);
                    self.report(&verdict, response, &links[own..], validation.vouched());
                    self.note_cuts(&validation);
                    explain(&mut verdict, &failures);
                    trace.amend(|what| note_verdict(what, &verdict));
                    return verdict;
                }
                Step::Ask(asks) => {
                    let (tell, _) = channel.get_or_insert_with(unbounded_channel::<Box<Told>>);
                    for ask in asks {
                        let wait = validation.keeps_links().then_some(LINK_WAIT);
                        self.ask_link(asker, ask, wait, &links, &trace, tell);
                    }
                }
            }
            let (_, told) = channel.get_or_insert_with(unbounded_channel);
            let deadline = self.clock.instant(budget.deadline());
            let Ok(Some(heard)) = timeout_at(deadline, told.recv()).await else {
                let trouble = budget.trouble().map_or(String::new(), |t| format!("; {t}"));
                let text = format!("{question}: the chain of trust was not found in time{trouble}");
                let ede = Ede::new(Ede::NO_REACHABLE_AUTHORITY, text);
                let verdict = without_chain(response, Security::Bogus(ede));
                trace.amend(|what| note_verdict(what, &verdict));
                return verdict;
            };
            let (next, failure) = *heard;
            note_link(&mut links, &next);
            failures.extend(failure);
            event = next;
        }
    }

    /// Where a chain of trust is looked for first: at a zone that is gone, for nothing can be had from below it, and below a copy that answers
    /// at once. If that shows that there is no chain, no server need be asked for what follows.
    fn stops(&self, question: &Question, now: Now) -> Vec<Name> {
        let name = &question.name;
        let copy = self.local.cover(question, now);
        let copy = copy.filter(|copy| copy.prefer == Prefer::Now);
        let below = copy.map(|copy| name.suffix(copy.zone.label_count() + 1));
        self.retained
            .gone_above(name)
            .into_iter()
            .chain(below)
            .collect()
    }

    fn report(&self, verdict: &Verdict, response: &Response, links: &[Link], vouched: &[Question]) {
        let tell = |zone: &Name, server, outcome| {
            self.health.observe(Observation {
                zone: zone.clone(),
                server,
                outcome,
            });
        };
        if let Some(Culprit { zone, origin }) = &verdict.bogus_from
            && let Origin::Network(server) = *origin
        {
            self.note_bogus(server, zone, response);
            tell(zone, server, Outcome::Bogus);
        }
        if verdict.security != Security::Secure {
            return;
        }
        let now = self.clock.now();
        let show = |zone: &Name, server| {
            self.retained.proven(zone, server, now);
            tell(zone, server, Outcome::Validated);
        };
        if let Origin::Network(server) = response.origin {
            show(&response.zone, server);
            self.note_good();
            self.note_inceptions(verdict);
        }
        // A chain that holds vouches for each of its links; of those asked for twice, the last one.
        for (i, link) in links.iter().enumerate() {
            if vouched.contains(&link.question)
                && !links[i + 1..].iter().any(|l| l.question == link.question)
            {
                show(&link.zone, link.server);
            }
        }
    }

    /// Validated signatures show that the time is not before they were made.
    fn note_inceptions(&self, verdict: &Verdict) {
        let now_s = self.clock.now().wall_s;
        // The first signature of a set is the one that was found good.
        let sets = verdict.answer.iter().chain(&verdict.authority);
        let good = sets.filter_map(|set| Rrsig::parse(set.sigs.first()?));
        // RFC 4034 section 3.1.5: serial number arithmetic.
        let age_s = |sig: Rrsig<'_>| (now_s as u32).wrapping_sub(sig.inception);
        if let Some(youngest_s) = good.map(age_s).min() {
            self.clock
                .note_proven(now_s.saturating_sub(youngest_s.into()));
        }
    }

    /// A referral of a mirrored zone: its signed part is proof of who gave it. Checked now and then, so that
    /// reachability has validated answers even where clients only pass through the zone.
    pub(super) fn check_referral(self: &Arc<Self>, question: Question, ds: Response) {
        let now = self.clock.now();
        if self.validator.is_none() || !self.referral_checks.claim(&ds.zone, now.mono) {
            return;
        }
        let shared = self.clone();
        tokio::spawn(async move {
            let budget = Arc::new(Budget::new(now));
            shared.judge(&question, &ds, &budget).await;
        });
    }

    /// Fetches a link; who gave a bad one before is avoided.
    fn ask_link(
        self: &Arc<Self>,
        asker: &Asker,
        ask: SubAsk,
        wait: Option<Duration>,
        links: &[Link],
        trace: &Trace,
        tell: &UnboundedSender<Box<Told>>,
    ) {
        let SubAsk { question, attempt } = ask;
        let budget = &asker.budget;
        let mut raw = RawAsk::new(question.clone());
        raw.depth = asker.depth;
        raw.ancestry.clone_from(&asker.ancestry);
        raw.trace = trace.clone();
        raw.attempt = attempt;
        raw.for_chain = true;
        if attempt > 0 {
            let now = self.clock.now().mono;
            for bad in links.iter().filter(|l| l.question == question) {
                self.servers.bogus_for(bad.server, &bad.zone, now);
                raw.avoid.push(bad.server);
            }
        }
        let affordable = budget.take_link();
        let (shared, budget, tell) = (self.clone(), budget.clone(), tell.clone());
        tokio::spawn(async move {
            let (result, failure) = match affordable {
                true => match within(wait, shared.raw(raw, &budget)).await {
                    Some(Ok(response)) => (Some(response), None),
                    Some(Err(failure)) => (None, Some(failure)),
                    None => (None, None),
                },
                false => (None, None),
            };
            let reply = Event::Reply {
                question,
                attempt,
                result,
            };
            let _ = tell.send(Box::new((reply, failure)));
        });
    }
}

/// The outcome, unless it takes too long.
async fn within<T>(wait: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match wait {
        Some(wait) => timeout(wait, work).await.ok(),
        None => Some(work.await),
    }
}

/// Says more about what is bogus: who gave the bad data, or why a link of the chain could not be had.
fn explain(verdict: &mut Verdict, failures: &[Failure]) {
    let Security::Bogus(why) = &mut verdict.security else {
        return;
    };
    match (&verdict.bogus_from, failures.last()) {
        (Some(culprit), _) => culprit.name_in(why),
        (None, Some(failure)) if why.code == Ede::NO_REACHABLE_AUTHORITY => {
            let more = failure.ede();
            match more.code == why.code {
                true => why.text = format!("{}: {}", why.text, more.text),
                false => verdict.errors.push(more),
            }
        }
        _ => {}
    }
}

/// The outcome of a validation, for a record.
fn note_verdict(what: &mut What, verdict: &Verdict) {
    let What::Validate {
        outcome,
        signatures,
        errors,
        ..
    } = what
    else {
        return;
    };
    *outcome = Some(security_word(&verdict.security).into());
    if let Security::Bogus(why) = &verdict.security {
        errors.push(why.to_string());
    }
    errors.extend(verdict.errors.iter().map(ToString::to_string));
    if verdict.security == Security::Secure {
        // First among a checked set's signatures is the one that was found good.
        let sets = verdict.answer.iter().chain(&verdict.authority);
        signatures.extend(sets.filter_map(|set| {
            let sig = Rrsig::parse(set.sigs.first()?)?;
            let (tag, signer) = (sig.key_tag, sig.signer);
            Some(format!(
                "{} {} by key {tag} of {signer}",
                set.name, set.rtype
            ))
        }));
    }
}

fn note_link(links: &mut Vec<Link>, event: &Event) {
    if let Event::Reply {
        question,
        result: Some(response),
        ..
    } = event
    {
        links.extend(link_from(question, response));
    }
}

/// A response as a link, if a server gave it.
fn link_from(question: &Question, response: &Response) -> Option<Link> {
    let Origin::Network(server) = response.origin else {
        return None;
    };
    Some(Link {
        question: question.clone(),
        zone: response.zone.clone(),
        server,
    })
}

fn without_chain(response: &Response, security: Security) -> Verdict {
    Verdict {
        security,
        answer: response.answer.clone(),
        authority: response.authority.clone(),
        ttl_max_s: None,
        errors: Vec::new(),
        bogus_from: None,
        unsigned_from: None,
    }
}
