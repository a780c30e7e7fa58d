//! The parent asked anew, beside a step whose servers fail.
//!
//! Why: a delegation is known for up to a day, and zones move meanwhile. When every known server of a zone fails or is late, either the
//! zone is in trouble, and servers may still be found by name or answer late, or it has gone elsewhere, and its parent knows
//! where. Neither can be told from the other, and each may take longer than a client waits, so both are followed.
//!
//! Model: the way down from the parent is an [`Iteration`] of its own, with the same question, that ends at the zone: what
//! the parent says of it takes the place of the step if it is news. The step goes on meanwhile, and whichever comes first counts.
//!
//! Failure: once per question, and not within itself; a parent that does not answer leaves the step as it is.

use std::sync::Arc;

use rand::RngExt;

use super::{Action, Env, Event, Iteration, Manner, Token};
use crate::clock::Now;
use crate::dns::{Name, Question, Rtype};
use crate::resolve::delegation::{Delegation, DelegationOrigin};
use crate::resolve::trace::What;

/// Tokens of the way beside begin here, far from those of the way itself.
const TOKENS_FROM: Token = 1 << 31;

/// Where a way beside ends.
#[derive(Default)]
pub(super) struct Until {
    /// At this zone.
    zone: Option<Name>,
    /// It has come there: this is what the parent says.
    told: Option<Arc<Delegation>>,
}

impl Until {
    /// The zone above which the way begins.
    pub fn parent(&self) -> Option<Name> {
        self.zone.as_ref()?.parent()
    }

    pub fn is_set(&self) -> bool {
        self.zone.is_some()
    }

    /// Whether the way has come to its end with this referral.
    pub fn ends_at(&mut self, delegation: &Arc<Delegation>) -> bool {
        let ends = (self.zone.as_ref()).is_some_and(|zone| delegation.zone.is_within(zone));
        if ends {
            self.told = Some(delegation.clone());
        }
        ends
    }
}

impl Iteration {
    /// Asks the parent of the present step's zone anew, if its delegation was known before and that was not done yet.
    pub(super) fn ask_parent(&mut self, env: &Env<'_>, now: Now, out: &mut Vec<Action>) {
        let Some(known) = self.attempt.as_ref().map(|a| a.delegation.clone()) else {
            return;
        };
        if self.until.is_set() || !self.may_go_back(&known) {
            return;
        }
        self.went_back = true;
        env.trace.note(now, || What::Back {
            zone: known.zone.to_string(),
        });
        let manner = Manner {
            seed: self.rng.random(),
            ..self.manner.clone()
        };
        let mut beside = Box::new(Iteration::new(self.question.clone(), manner));
        beside.until.zone = Some(known.zone.clone());
        beside.next_token = TOKENS_FROM;
        let mut did = Vec::new();
        let from = beside.whence(env, now);
        beside.begin(env, now, from, &mut did);
        self.follow_beside(env, now, beside, did, out);
    }

    /// Hands the event to the way beside if it is for it; whether it is for nobody else any more.
    pub(super) fn step_beside(
        &mut self,
        env: &Env<'_>,
        now: Now,
        event: &Event,
        out: &mut Vec<Action>,
    ) -> bool {
        let (beside, own) = match event {
            Event::Start => (false, true),
            Event::Said { token, .. } => (*token >= TOKENS_FROM, *token < TOKENS_FROM),
            Event::Addresses { .. } | Event::Timer => (true, true),
        };
        // Within itself the way beside is the way.
        if self.until.is_set() || !beside {
            return false;
        }
        let Some(mut beside) = self.beside.take() else {
            return !own;
        };
        let did = beside.step(env, now, event.clone());
        self.follow_beside(env, now, beside, did, out) || !own
    }

    /// Carries out what the way beside does; whether the step was replaced or the question answered.
    fn follow_beside(
        &mut self,
        env: &Env<'_>,
        now: Now,
        mut beside: Box<Iteration>,
        did: Vec<Action>,
        out: &mut Vec<Action>,
    ) -> bool {
        let mut end = None;
        for action in did {
            match action {
                Action::Done(result) => end = Some(*result),
                other => out.push(other),
            }
        }
        let Some(known) = self.attempt.as_ref().map(|a| a.delegation.clone()) else {
            return true;
        };
        match (beside.until.told.take(), end) {
            (Some(told), _) if is_news(&known, &told) => {
                self.begin(env, now, told, out);
                true
            }
            (None, Some(Ok(response))) => {
                // It is delegated no more.
                env.knowledge.forget(&known.zone);
                self.done(response, out);
                true
            }
            (None, None) => {
                self.beside = Some(beside);
                false
            }
            (Some(_), _) | (None, Some(Err(_))) => {
                self.go_on(env, now, false, out);
                self.attempt.is_none()
            }
        }
    }

    /// Whether the zone's delegation was known before this question, so that its parent may say something else now.
    pub(super) fn may_go_back(&self, known: &Delegation) -> bool {
        // The parent of a retained one cannot be reached.
        let fixed = known.expiry.is_none() || known.origin == DelegationOrigin::Retained;
        !fixed && !self.below_stub && self.referrals == 1 && !self.went_back
    }

    /// The deepest known delegation from which the way may begin.
    pub(super) fn whence(&self, env: &Env<'_>, now: Now) -> Arc<Delegation> {
        match self.until.parent() {
            Some(above) => (env.knowledge).deepest(&Question::new(above, Rtype::NS), now),
            None => env.knowledge.deepest(&self.question, now),
        }
    }
}

/// Whether the parent says something of which the step does not know.
fn is_news(known: &Delegation, told: &Delegation) -> bool {
    let is_known = |(name, addresses): &(Name, Vec<_>)| {
        let mut servers = known.servers.iter().filter(|(n, _)| n == name);
        servers.any(|(_, glue)| addresses.iter().all(|a| glue.contains(a)))
    };
    known.zone != told.zone || !told.servers.iter().all(is_known)
}
