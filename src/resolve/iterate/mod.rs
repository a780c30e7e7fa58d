//! From a question to its zone's answer: one question, no aliases followed, nothing validated.
//!
//! Why: this is the part of a resolver in which strangers decide what happens next, so it does no input or output, holds no
//! clock, and can be run through any outage in a test. The driver (`task`) carries out its [`Action`]s.
//!
//! Model: an [`Iteration`] walks down from the deepest known delegation, one zone at a time. Each zone is one
//! `step::Attempt`: its servers are asked in the order of `select`, the next one as soon as one fails or is late, all
//! answers welcome until one is usable. A local copy (mirror) of the zone answers the step instead when
//! [`Prefer`] says so:
//!
//! ```text
//!             Prefer::Now, or this client question has hedged before
//!  begin(zone) -----------------------------------------------------> mirror's answer
//!      |                                                                   ^
//!      | ask servers      hedge delay over, or every server failed         |
//!      +-------------------------------------------------------------------+   LastResort: every server failed
//!      |
//!      +--> answer, alias, denial --> Done         referral --> begin(zone below)
//! ```
//!
//! Where a `[[forward]]` table governs the question there is only one step, and its servers are the forwarders (`forward`). Where a `[[stub]]` does,
//! the way begins at its servers, or at what they have referred to before.
//!
//! Failure: every loop is bounded (referrals, packets, sub-questions, time); what cannot be had is a [`Failure`] that says
//! which zone did not answer and how.

mod beside;
mod copies;
mod named;
mod search;
mod step;
mod terms;

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::clock::Now;
use crate::dns::{Name, Question, Rcode, Rtype};
use crate::resolve::delegation::{DELEGATION_TTL_MAX_S, Delegation, DelegationOrigin};
use crate::resolve::interpret::{Referral, Said};
use crate::resolve::retained::When;
use crate::resolve::shares::Crowded;
use crate::resolve::trace::What;
use crate::resolve::{Cover, Origin, Prefer, Response};

use beside::Until;
use step::{Attempt, Found, Outlook};
pub use terms::{Action, Env, Event, Failure, FailureKind, Manner, Token};

/// Zones that one iteration may walk through.
const REFERRALS_MAX: usize = 40;
/// How deep sub-questions for server addresses may nest.
pub const DEPTH_MAX: u8 = 6;

/// The walk of one question.
pub struct Iteration {
    question: Question,
    manner: Manner,
    rng: SmallRng,
    attempt: Option<Attempt>,
    referrals: usize,
    minimised: usize,
    next_token: Token,
    /// The parent was asked anew because servers of a known delegation failed.
    went_back: bool,
    /// The way down from the parent, beside the present step.
    beside: Option<Box<Iteration>>,
    /// Where this way ends, if it is such a one.
    until: Until,
    forwarded: bool,
    /// The way began at a `[[stub]]` or below it, and does not lead above it.
    below_stub: bool,
    /// When a retained delegation is used at the present step, if there is one.
    kept: Option<When>,
}

impl Iteration {
    /// An iteration that has not begun.
    pub fn new(question: Question, manner: Manner) -> Iteration {
        Iteration {
            rng: SmallRng::seed_from_u64(manner.seed),
            question,
            manner,
            attempt: None,
            referrals: 0,
            minimised: 0,
            next_token: 0,
            went_back: false,
            beside: None,
            until: Until::default(),
            forwarded: false,
            below_stub: false,
            kept: None,
        }
    }

    /// When [`Event::Timer`] is due, in monotonic time.
    pub fn wake_at(&self) -> Option<Duration> {
        let own = self.attempt.as_ref()?.wake_at();
        let beside = self.beside.as_ref().and_then(|b| b.wake_at());
        own.into_iter().chain(beside).min()
    }

    /// Moves on. After [`Action::Done`] nothing follows.
    pub fn step(&mut self, env: &Env<'_>, now: Now, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        if self.step_beside(env, now, &event, &mut out) {
            return out;
        }
        match event {
            Event::Start => self.start(env, now, &mut out),
            Event::Said { token, said } => self.said(env, now, token, said, &mut out),
            Event::Addresses {
                name,
                rtype,
                found,
                why,
            } => {
                // What an earlier step looked for may be no server of this one's zone.
                if let Some(attempt) = &mut self.attempt
                    && attempt.is_served_by(&name)
                {
                    let what = (&name, rtype);
                    let found = attempt.found(env, &self.manner, what, found, why, now);
                    if found == Found::Nothing {
                        self.look_further(env, now, &mut out);
                    }
                    self.go_on(env, now, found == Found::AtOnce, &mut out);
                }
            }
            Event::Timer => self.timer(env, now, &mut out),
        }
        out
    }

    /// Whether what the exchange brings is of use to the present step.
    pub fn awaits(&self, token: Token) -> bool {
        let own = self.attempt.as_ref().is_some_and(|a| a.awaits(token));
        own || self.beside.as_ref().is_some_and(|b| b.awaits(token))
    }

    /// Whether its present or last step went to forwarders.
    pub fn is_forwarded(&self) -> bool {
        self.forwarded
    }

    fn walk(&mut self, env: &Env<'_>, now: Now, out: &mut Vec<Action>) {
        self.forwarded = false;
        let mut from = self.whence(env, now);
        env.retained.used(&from.zone, now);
        if self.manner.prefer_mirror {
            from = self.start_anew(env, now, from);
        } else if self.manner.from_parent && from.zone == self.question.name {
            from = above(env, now, &from);
        }
        // Now and then somebody looks whether the parent is back.
        while from.origin == DelegationOrigin::Retained
            && env.retained.is_parent_due(&from.zone, now)
        {
            from = above(env, now, &from);
        }
        self.begin(env, now, from, out);
    }

    /// Where to start when the known way led to bogus data: at the mirror above, or at the parent.
    fn start_anew(&self, env: &Env<'_>, now: Now, known: Arc<Delegation>) -> Arc<Delegation> {
        match env.local.cover(&self.question, now) {
            Some(cover) => {
                let question = Question::new(cover.zone, Rtype::NS);
                env.knowledge.deepest(&question, now)
            }
            None if matches!(known.origin, DelegationOrigin::Network) => above(env, now, &known),
            None => known,
        }
    }

    /// One zone's step: its mirror at once, or its servers.
    fn begin(
        &mut self,
        env: &Env<'_>,
        now: Now,
        delegation: Arc<Delegation>,
        out: &mut Vec<Action>,
    ) {
        self.attempt = None;
        self.beside = None;
        self.referrals += 1;
        if self.referrals > REFERRALS_MAX {
            let text = "too many referrals".to_string();
            return self.fail(FailureKind::Loop, delegation.zone.clone(), text, out);
        }
        let mut delegation = delegation;
        let mut cover = copy_within(env, now, &self.question, &delegation.zone);
        let mut exploring = false;
        while let Some(c) = &mut cover {
            let at_once = match c.prefer {
                Prefer::Now => true,
                Prefer::Hedge => env.budget.has_hedged() || self.manner.prefer_mirror,
                Prefer::LastResort => env.budget.has_resorted(),
            };
            exploring = c.prefer == Prefer::Now
                && !self.manner.prefer_mirror
                && !env.budget.has_hedged()
                && env.local.explore(&c.zone, now);
            c.prefer = match (at_once, exploring) {
                (_, true) => Prefer::Hedge,
                (true, false) => Prefer::Now,
                (false, false) => c.prefer,
            };
            if c.prefer == Prefer::Now && self.ask_mirror(env, now, c, out) {
                return;
            }
            if c.zone == delegation.zone {
                cover.take_if(|c| c.prefer == Prefer::Now);
                break;
            }
            // Its servers are not known, and those of a zone above could answer in their place.
            if c.prefer == Prefer::Hedge
                && !self.went_back
                && let Some(known) = self.apex(env, now, &c.zone)
            {
                delegation = known;
                break;
            }
            let ds = Question::new(c.zone.clone(), Rtype::DS);
            match copy_within(env, now, &ds, &delegation.zone) {
                Some(above) => cover = Some(above),
                None => {
                    cover.take_if(|c| c.prefer == Prefer::Now);
                    break;
                }
            }
        }
        let zone = delegation.zone.clone();
        let kept = match cover {
            Some(_) => None,
            None => env.retained.when(&zone, &self.question, now),
        };
        if kept == Some(When::Now) && self.take_retained(env, now, &zone, out) {
            return;
        }
        let attempt = Attempt::new(delegation, &self.question, cover, exploring, self.minimised);
        let attempt = match env.settings.qname_minimisation {
            true => attempt.minimising(env, now),
            false => attempt,
        };
        // Whether the parent is gone must not depend on what is asked for (ghost domains). Who has lied to the one may be honest to the other.
        let mut attempt = match kept {
            Some(_) if self.manner.avoid.is_empty() => attempt.hiding_type(),
            _ => attempt,
        };
        attempt.plan(env, now, &self.manner, &mut self.rng);
        if kept.is_some()
            && self.manner.prefer_mirror
            && (env.retained).vouches(&zone, &self.question, attempt.has_lied(), now)
            && self.take_retained(env, now, &zone, out)
        {
            return;
        }
        self.kept = kept;
        if let Some(when) = kept {
            let after = self.retained_after(env, when, &attempt);
            attempt.hedge_at(Some(now.mono + after));
        }
        env.trace.note(now, || attempt.told());
        self.attend(env, now, attempt, out);
    }

    /// Begins to ask, where there is a place for it.
    fn attend(&mut self, env: &Env<'_>, now: Now, mut attempt: Attempt, out: &mut Vec<Action>) {
        let entered = match self.manner.apart {
            true => Ok(()),
            false => attempt.enter(env, now),
        };
        self.attempt = Some(attempt);
        match entered {
            Ok(()) => self.go_on(env, now, true, out),
            Err(crowded) => self.crowded_out(env, now, crowded, out),
        }
    }

    fn timer(&mut self, env: &Env<'_>, now: Now, out: &mut Vec<Action>) {
        if self.learns_of_retained(env, now, out) {
            return;
        }
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        if attempt.hedge_due(now) {
            let mirrored = attempt.is_mirrored();
            let (zone, silent) = (attempt.delegation.zone.clone(), !attempt.was_heard());
            let silent = silent && !attempt.leaves_out();
            let tells = attempt.asks_plainly() && !attempt.is_slow(env);
            if self.fail_over(env, now, out) {
                return;
            }
            if !mirrored && silent {
                // Who is known to be slow is not gone, and will be heard; nor is who does not answer for some type.
                if tells {
                    note_failed(env, &zone, now);
                }
                if self.take_retained(env, now, &zone, out) {
                    return;
                }
            }
        }
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        if let Err(crowded) = attempt.wait(now) {
            return self.crowded_out(env, now, crowded, out);
        }
        let next_due = attempt.next_due(now);
        self.go_on(env, now, next_due, out);
    }

    fn said(&mut self, env: &Env<'_>, now: Now, token: Token, said: Said, out: &mut Vec<Action>) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let Some(exchange) = attempt.ended(token) else {
            return;
        };
        let whole = attempt.asks_whole_question();
        attempt.heard(&said, now);
        if let Said::Apex(_, delegation) = &said {
            learn_root(env, now, delegation);
        }
        match said {
            Said::Answer(response) | Said::Apex(response, _) if whole => self.done(response, out),
            Said::Answer(response) | Said::Apex(response, _) => {
                if response.rcode == Rcode::NXDOMAIN && is_proof(&response) {
                    // RFC 8020 section 2: nothing exists below; the proof denies the whole name as well.
                    return self.done(response, out);
                }
                self.minimised += 1;
                attempt.show_more(env, now, &response, self.minimised);
                attempt.ask_first(&exchange);
                self.go_on(env, now, true, out);
            }
            Said::Referral(referral) => self.refer(env, now, referral, out),
            Said::Truncated => {
                attempt.again_over_tcp(&exchange);
                self.go_on(env, now, true, out);
            }
            Said::EdnsRefused(level) => {
                attempt.again_with_less(&exchange, level);
                self.go_on(env, now, true, out);
            }
            Said::CookieRefused => {
                attempt.again_with_cookie(env, now, &exchange);
                self.go_on(env, now, true, out);
            }
            Said::Doubtful(doubt) => {
                attempt.doubt(&exchange, doubt);
                self.go_on(env, now, true, out);
            }
            bad => {
                attempt.server_failed(&exchange, &bad);
                env.budget.set_trouble(attempt.told_trouble(env, now));
                if matches!(bad, Said::Silent) {
                    attempt.give_up(exchange);
                }
                let at_once = !matches!(bad, Said::Silent) || attempt.is_idle();
                self.go_on(env, now, at_once, out);
            }
        }
    }

    fn refer(&mut self, env: &Env<'_>, now: Now, referral: Referral, out: &mut Vec<Action>) {
        env.trace.note(now, || step::referral_told(&referral));
        let zone = self.attempt.as_ref().map(|a| a.delegation.zone.clone());
        // The parent of those below a stub is not delegated itself.
        let parent = zone.filter(|_| !self.below_stub);
        let (delegation, check) = learn_referral(env, now, referral, parent);
        out.extend(check);
        if self.until.ends_at(&delegation) {
            self.attempt = None;
            return;
        }
        self.begin(env, now, delegation, out);
    }

    /// Sends what is to be sent; when nothing is left to try, the mirror, the parent anew, or failure.
    fn go_on(&mut self, env: &Env<'_>, now: Now, send: bool, out: &mut Vec<Action>) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let mut sender = step::Sender {
            env,
            now,
            manner: &self.manner,
            rng: &mut self.rng,
            next_token: &mut self.next_token,
            out,
        };
        match attempt.go_on(&mut sender, send) {
            Outlook::Waiting if attempt.is_failing() => self.ask_parent(env, now, out),
            Outlook::Waiting => {}
            Outlook::Exhausted(kind, text) => {
                if kind == FailureKind::Budget && env.budget.is_in_vain() {
                    // Nothing of it goes on: a step that may send no more would be woken for ever.
                    self.beside = None;
                }
                self.exhausted(env, now, kind, text, out);
            }
        }
    }

    /// There is no place for the question among those that wait, or none any more.
    fn crowded_out(&mut self, env: &Env<'_>, now: Now, crowded: Crowded, out: &mut Vec<Action>) {
        self.beside = None;
        let text = crowded.to_string();
        self.exhausted(env, now, FailureKind::Crowded, text, out);
    }

    /// Nothing is left to try at the present step.
    fn exhausted(
        &mut self,
        env: &Env<'_>,
        now: Now,
        kind: FailureKind,
        text: String,
        out: &mut Vec<Action>,
    ) {
        let Some(attempt) = &self.attempt else {
            return;
        };
        let zone = attempt.delegation.zone.clone();
        // A parent whose data is bogus answers, and so does one that is silent to the rest of a question; neither is gone.
        let may_be_gone =
            attempt.forward.is_none() && !attempt.leaves_out() && !attempt.was_heard();
        let tells = kind == FailureKind::Unreachable && attempt.asks_plainly();
        if self.fail_over(env, now, out) || self.beside.is_some() {
            return;
        }
        // What fails at one question need not be the servers' end.
        if may_be_gone && tells {
            note_failed(env, &zone, now);
        }
        // Who was not asked for want of a place is not gone either: what was kept of him counts no longer than it would as a delegation.
        let is_fresh = || {
            let age_s = env.retained.age_s(&zone, &self.question, now);
            age_s.is_some_and(|age_s| age_s <= DELEGATION_TTL_MAX_S.into())
        };
        let may_be_used = may_be_gone && (kind != FailureKind::Crowded || is_fresh());
        if may_be_used && self.take_retained(env, now, &zone, out) {
            return;
        }
        let Some(attempt) = self.attempt.take() else {
            return;
        };
        if let Some(forward) = &attempt.forward {
            if forward.first && kind != FailureKind::Budget {
                return self.walk(env, now, out);
            }
            let text = match forward.is_stub {
                true => format!("no server of its [[stub]] gave an answer: {text}"),
                false => format!("no forwarder gave an answer: {text}"),
            };
            return self.fail(kind, forward.zone.clone(), text, out);
        }
        let known = attempt.delegation;
        let may_go_on = !matches!(kind, FailureKind::Budget | FailureKind::Crowded);
        if may_go_on && self.may_go_back(&known) {
            // The zone may have moved since its delegation was learned.
            self.went_back = true;
            env.trace.note(now, || What::Back {
                zone: known.zone.to_string(),
            });
            env.knowledge.forget(&known.zone);
            let from = self.whence(env, now);
            return self.begin(env, now, from, out);
        }
        let text = with_refusal(env, now, &known.zone, text);
        self.fail(kind, known.zone.clone(), text, out);
    }

    /// The time is over: why there is no answer.
    pub fn overdue(&self, env: &Env<'_>, now: Now) -> Failure {
        let at = self.attempt.as_ref();
        let zone = at.map_or_else(|| self.question.name.clone(), |a| a.delegation.zone.clone());
        let text = match at {
            Some(attempt) => format!("no answer in time, {}", attempt.trouble(env, now)),
            None => "no answer in time".into(),
        };
        Failure {
            kind: FailureKind::Late,
            text: with_refusal(env, now, &zone, text),
            zone,
        }
    }

    fn look_further(&mut self, env: &Env<'_>, now: Now, out: &mut Vec<Action>) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        attempt.look_further(&mut step::Sender {
            env,
            now,
            manner: &self.manner,
            rng: &mut self.rng,
            next_token: &mut self.next_token,
            out,
        });
    }

    fn done(&mut self, response: Response, out: &mut Vec<Action>) {
        (self.attempt, self.beside) = (None, None);
        out.push(Action::Done(Box::new(Ok(response))));
    }

    fn fail(&mut self, kind: FailureKind, zone: Name, text: String, out: &mut Vec<Action>) {
        (self.attempt, self.beside) = (None, None);
        out.push(Action::Done(Box::new(Err(Failure { kind, zone, text }))));
    }
}

/// Takes down what a referral says, by servers of `parent` where they are known; what is to be checked of it.
pub fn learn_referral(
    env: &Env<'_>,
    now: Now,
    referral: Referral,
    parent: Option<Name>,
) -> (Arc<Delegation>, Option<Action>) {
    let Referral { delegation, ds } = referral;
    let ttl_s = delegation.expiry.map_or(0, |e| e.left_s(now));
    // What a mirror says stands by itself; what a server says, by the delegation of the zone that it speaks for.
    let parent = match delegation.origin {
        DelegationOrigin::Network => parent,
        DelegationOrigin::Hints
        | DelegationOrigin::Mirror(_)
        | DelegationOrigin::Retained
        | DelegationOrigin::Forward => None,
    };
    if let Some(parent) = &parent {
        let ds = Question::new(delegation.zone.clone(), Rtype::DS);
        let mirrored = env.local.cover(&ds, now).is_some_and(|c| c.zone == *parent);
        if !mirrored {
            env.retained.learn(&delegation, parent, now);
        }
    }
    let delegation = Arc::new(delegation);
    let mut check = None;
    if let Some(ds) = ds {
        let question = Question::new(delegation.zone.clone(), Rtype::DS);
        let sets = ds.answer.iter().chain(&ds.authority);
        let ds_ttl_s = sets.map(|s| s.ttl).min().unwrap_or(ttl_s);
        let ttl_s = ds_ttl_s.min(DELEGATION_TTL_MAX_S);
        let mirrored = |c: Cover| c.zone == ds.zone;
        if matches!(ds.origin, Origin::Network(_))
            && env.local.cover(&question, now).is_some_and(mirrored)
        {
            check = Some(Action::Check {
                question: question.clone(),
                ds: Box::new(ds.clone()),
            });
        }
        env.knowledge.learn_raw(&question, ds, ttl_s, now);
    }
    env.knowledge.learn(delegation.clone(), parent, now);
    (delegation, check)
}

/// What went wrong at a zone, and why a copy of it did not help.
fn with_refusal(env: &Env<'_>, now: Now, zone: &Name, text: String) -> String {
    match env.local.refusal(zone, now) {
        Some(why) => format!("{why}; {text}"),
        None => text,
    }
}

/// Every server of the zone has failed at a question.
fn note_failed(env: &Env<'_>, zone: &Name, now: Now) {
    if env.retained.failed(zone, now) {
        tracing::warn!(%zone, "no server of the zone answers: the delegations that it gave last are used");
        // It may have moved since it was learned who serves it.
        env.knowledge.forget(zone);
    }
}

/// The deepest copy that serves the question, at or below `zone`.
fn copy_within(env: &Env<'_>, now: Now, question: &Question, zone: &Name) -> Option<Cover> {
    let cover = env.local.cover(question, now);
    cover.filter(|cover| cover.zone.is_within(zone))
}

/// The deepest delegation above a known one.
fn above(env: &Env<'_>, now: Now, known: &Delegation) -> Arc<Delegation> {
    let name = known.zone.parent().unwrap_or_else(Name::root);
    env.knowledge.deepest(&Question::new(name, Rtype::NS), now)
}

/// RFC 9609 section 3: the root's own list takes the place of the hints, whose addresses still serve for
/// names that came without.
fn learn_root(env: &Env<'_>, now: Now, told: &Delegation) {
    if !told.zone.is_root() {
        return;
    }
    let mut learned = told.clone();
    for (name, addresses) in &mut learned.servers {
        if addresses.is_empty() {
            let hints = env.settings.root_hints.iter();
            let own = hints.filter(|(n, _)| n == name);
            addresses.extend(own.flat_map(|(_, a)| a));
        }
    }
    if learned.servers.iter().any(|(_, a)| !a.is_empty()) {
        env.knowledge.learn(Arc::new(learned), None, now);
    }
}

/// Whether the denial comes with records that prove it.
fn is_proof(response: &Response) -> bool {
    let proof = |rtype| matches!(rtype, Rtype::NSEC | Rtype::NSEC3);
    response.authority.iter().any(|s| proof(s.rtype))
}
