//! Questions below zones of which too many lead to nothing: refused before any work is done for them, on the thread that listens
//! if possible, for a flood brings them faster than tasks can be made.
//!
//! What a zone's questions have come to is kept by `denials`, behind `shares`; here client questions are held against it. The zone is the
//! deepest one whose servers are known, since a question for a random name is answered, or led on, there.

use super::chain::Unanswered;
use super::{Options, Shared, servfail};
use crate::clock::Now;
use crate::dns::{Ede, Name, Question, Rcode};
use crate::resolve::budget::Budget;
use crate::resolve::shares::{Begun, Crowded, Outcome};
use crate::resolve::{Resolution, Security};

impl Shared {
    /// The answer to a question that would find no place now and for which nothing old is at hand either; `None` if it is worth a try.
    pub(super) fn refused_at_once(
        &self,
        question: &Question,
        options: Options,
    ) -> Option<Resolution> {
        let now = self.clock.now();
        if !options.recursion || !self.shares.may_refuse(now) {
            return None;
        }
        let zone = self.limited_zone(question, now)?;
        let crowded = self.shares.refuses(&zone, options.asker, now)?;
        Some(self.refused(question, crowded))
    }

    /// Begins the work on a client's question; without anything to end where no limit applies.
    pub(super) fn begin_limited(
        &self,
        question: &Question,
        budget: &Budget,
        now: Now,
    ) -> Result<Option<Begun>, Crowded> {
        if !self.shares.limits_denials() {
            return Ok(None);
        }
        let Some(zone) = self.limited_zone(question, now) else {
            return Ok(None);
        };
        let begun = self.shares.begin(&zone, budget.asker(), now)?;
        if let Some(zone) = begun.let_in() {
            budget.let_in(zone.clone());
        }
        Ok(Some(begun))
    }

    /// Old data, or why there is nothing.
    pub(super) fn refused(&self, question: &Question, crowded: Crowded) -> Resolution {
        self.metrics.upstream_crowded_total.inc();
        self.stale_of_overload(question).unwrap_or_else(|| {
            servfail(Unanswered {
                security: Security::Insecure,
                errors: vec![Ede::new(Ede::OTHER, crowded.to_string())],
                lasting: false,
                failed: None,
            })
        })
    }

    /// The zone whose servers would be asked first. `None` where a copy or a forwarder may answer.
    fn limited_zone(&self, question: &Question, now: Now) -> Option<Name> {
        let held = self.local.cover(question, now);
        if (self.settings.forwards.governing(question, held.as_ref())).is_some() {
            return None;
        }
        let deepest = self.knowledge.deepest(question, now);
        let is_held = held.is_some_and(|cover| cover.zone.is_within(&deepest.zone));
        (!is_held).then(|| deepest.zone.clone())
    }
}

/// Says what became of a question.
pub(super) fn end(begun: Option<Begun>, outcome: Outcome, now: Now) {
    if let Some(begun) = begun {
        begun.end(outcome, now);
    }
}

/// What an answer says of the zone.
pub(super) fn of_answer(resolution: &Resolution) -> Outcome {
    match (&resolution.security, resolution.rcode) {
        (Security::Bogus(_), _) => Outcome::Failed,
        _ if resolution.sources.packets == 0 => Outcome::Unknown,
        (_, Rcode::NXDOMAIN) => Outcome::Denied,
        _ => Outcome::Useful,
    }
}

/// What a failure says of the zone. Silent servers are the matter of `stale`.
pub(super) fn of_failure(unanswered: &Unanswered, silent: bool) -> Outcome {
    match unanswered.lasting && !silent {
        true => Outcome::Failed,
        false => Outcome::Unknown,
    }
}
