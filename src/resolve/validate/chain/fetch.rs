//! Links of the chain: fetched, asked for again from others, and what follows where nobody has a good one.

use super::{Fetched, Place, Progress, Validation, bogus};
use crate::clock::Now;
use crate::dns::{Ede, Name, Question};
use crate::resolve::Response;
use crate::resolve::retained::{Cut, KeptCut};
use crate::resolve::validate::judge::signers;
use crate::resolve::validate::keys::Known;
use crate::resolve::validate::links::Link;
use crate::resolve::validate::{ATTEMPTS_MAX, Culprit, Lifetime, Step, ZoneStatus};

/// How long a broken chain is remembered, seconds (RFC 4035 section 4.7, RFC 9520 section 3.2).
const BOGUS_TTL_S: u32 = 5;

impl Validation {
    /// The reply to a link's question, or the step that gets it. With it goes what will be needed below
    /// `top` if the hints are right.
    pub(super) fn fetch(&mut self, question: &Question, top: &Name) -> Fetched {
        match self.links.look_up(question) {
            Link::Reply(Some(response)) => return Fetched::Response(response),
            Link::Reply(None) => return Fetched::NotHad,
            Link::Awaited => return Fetched::Halt(Step::Ask(Vec::new())),
            Link::NotAsked => {}
        }
        let mut asks = Vec::new();
        let mut forecast = std::mem::take(&mut self.forecast);
        forecast.retain(|q| q.name.is_below(top));
        for question in std::iter::once(question.clone()).chain(forecast) {
            if !matches!(self.links.look_up(&question), Link::NotAsked) {
                continue;
            }
            if !self.budget.pay_ask() {
                break;
            }
            asks.push(self.links.ask(question));
        }
        if asks.first().is_none_or(|a| a.question != *question) {
            let ede = bogus(format!(
                "{}: too many questions to validate it",
                self.question
            ));
            return Fetched::Halt(self.bogus(ede, None));
        }
        Fetched::Halt(Step::Ask(asks))
    }

    /// A link was bad: ask others for it, or end. `zone` is what lies below the link.
    pub(super) fn retry(
        &mut self,
        question: Question,
        zone: Name,
        ede: Ede,
        bad: &Response,
        now: Now,
    ) -> Progress {
        self.tell_bad(&zone, &ede.text, now);
        self.links.fault = Some((ede, Culprit::of(bad)));
        if self.links.next_attempt(&question) < ATTEMPTS_MAX {
            return Progress::Go;
        }
        self.broken_or_past(&question, zone, now)
    }

    /// Nobody gave a good link: the chain is broken, unless what its parent proved earlier of a zone further down still holds by its
    /// signatures, and names its keys. Who stands in the parent's place could as well repeat that. That a zone is not signed is another
    /// matter: whatever he says himself would pass for its data.
    fn broken_or_past(&mut self, question: &Question, zone: Name, now: Now) -> Progress {
        let sound = |kept: &KeptCut| {
            matches!(kept.cut, Cut::Signed { .. }) && !kept.cut.has_run_out(now.wall_s)
        };
        match self.cut_past(question, &self.home).filter(sound) {
            Some(kept) => {
                self.links.fault = None;
                self.step_over(kept, now);
                Progress::Go
            }
            None => self.broken(zone, now),
        }
    }

    /// A link could not be had.
    pub(super) fn unfetched(&mut self, question: Question, zone: Name, now: Now) -> Progress {
        self.tell_bad(&zone, &format!("{question} could not be had"), now);
        if self.links.fault.is_none() {
            if let Some(kept) = self.cut_past(&question, &self.home) {
                self.step_over(kept, now);
                return Progress::Go;
            }
            let text = format!("{question} could not be had, which the validation needs");
            let ede = Ede::new(Ede::NO_REACHABLE_AUTHORITY, text);
            return Progress::Halt(self.fail(ede, None));
        }
        if self.links.next_attempt(&question) < ATTEMPTS_MAX {
            return Progress::Go;
        }
        self.broken_or_past(&question, zone, now)
    }

    /// The chain to `zone` is broken: nobody gave a good link.
    pub(super) fn broken(&mut self, zone: Name, now: Now) -> Progress {
        let (ede, culprit) = match self.links.fault.take() {
            Some((ede, culprit)) => (ede, Some(culprit)),
            None => (bogus(format!("the chain to {zone} is broken")), None),
        };
        self.remember_broken(zone.clone(), &ede, culprit.as_ref(), now);
        self.links.fault = culprit.map(|culprit| (ede.clone(), culprit));
        match self.place {
            Place::InZone(_) => self.past_broken(&zone, ede, now),
            Place::AtCut(_) => self.end_broken(&zone, ede, now),
        }
    }

    /// Nobody gave a good link to `broken`, which need be no zone. One that lies deeper, and whose own link was bad, may still
    /// have a good one from others: a zone that cannot deny leaves no other way to it.
    pub(super) fn past_broken(&mut self, broken: &Name, ede: Ede, now: Now) -> Progress {
        let deeper = |q: &Question| q.name.is_below(broken);
        while let Some(at) = self.dropped.iter().rposition(deeper) {
            let question = self.dropped.remove(at);
            if self.links.next_attempt(&question) < ATTEMPTS_MAX {
                self.hints.push(question.name);
                return Progress::Go;
            }
        }
        self.end_broken(broken, ede, now)
    }

    fn end_broken(&mut self, broken: &Name, ede: Ede, now: Now) -> Progress {
        let on_the_way = |s: &Name| s.is_below(broken) && self.home.is_within(s);
        let signed = signers(&self.response).filter(on_the_way);
        if let Some(signer) = signed.max_by_key(Name::label_count) {
            // There was no way past it either.
            let culprit = self.links.fault.as_ref().map(|(_, culprit)| culprit);
            self.remember_broken(signer, &ede, culprit, now);
        }
        let fault = self.links.fault.take();
        Progress::Halt(self.fail(ede, fault.map(|(_, culprit)| culprit)))
    }

    /// Whoever is told of it later has seen no server give it, so the text says which one did.
    fn remember_broken(&self, zone: Name, ede: &Ede, by: Option<&Culprit>, now: Now) {
        let mut told = ede.clone();
        if let Some(by) = by {
            by.name_in(&mut told);
        }
        let known = Known {
            status: ZoneStatus::Bogus(told),
            life: Lifetime::seconds(now, BOGUS_TTL_S),
            as_of: None,
            refresh_from: now.mono,
        };
        self.ctx.cache().insert(zone, known, self.epoch, now);
    }
}
