//! Whether an unsigned answer came from the zone that has to give it.
//!
//! Why: a server of a zone may answer for anything below it, and often does so rightly, because it serves the child too. What is
//! signed proves itself. For what is not, the child's servers are to be asked as soon as it is known who they are: else one lying
//! server of a zone far above, such as the root, speaks for every unsigned zone of the world.
//!
//! Model: when an answer turns out to be insecure, a deeper place may be known than the one it came from: a copy that leaves the name to
//! a zone below, a delegation (learned meanwhile by the search for the chain of trust, or by asking for the DS of the unsigned cut once more). Then the
//! question is asked again from there. The direct parent is believed: it could as well refer to itself.
//!
//! Failure: a bounded number of times; where nothing deeper is to be found the answer is taken, as one host may serve all zones between.

use std::sync::Arc;

use super::Shared;
use super::raw::RawAsk;
use crate::clock::Now;
use crate::dns::{Name, Question, Rtype};
use crate::resolve::budget::Budget;
use crate::resolve::trace::What;
use crate::resolve::validate::Verdict;
use crate::resolve::{Cover, Origin, Prefer, Response, Security};

/// Where an answer came from, seen from where it has to come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Placed {
    /// From there, as far as is known.
    Well,
    /// From above: a copy knows whom to ask.
    AboveCopy(Name),
    /// From above: servers of a zone below are known.
    AboveKnown(Name),
    /// From far above the cut below which nothing is signed: there may be a zone between.
    AboveCut(Name),
}

impl Shared {
    /// Where the answer to `question` came from.
    pub(super) fn placed(
        &self,
        question: &Question,
        response: &Response,
        verdict: &Verdict,
    ) -> Placed {
        let (now, zone) = (self.clock.now(), &response.zone);
        if verdict.security != Security::Insecure || !matches!(response.origin, Origin::Network(_))
        {
            return Placed::Well;
        }
        let cover = self.local.cover(question, now);
        let forwards = &self.settings.forwards;
        if forwards.governing(question, cover.as_ref()).is_some() {
            return Placed::Well;
        }
        if let Some(cover) = cover.filter(|cover| self.copy_knows(cover, zone, question, now)) {
            return Placed::AboveCopy(cover.zone);
        }
        let known = self.knowledge.deepest(question, now);
        if known.zone.is_below(zone) {
            return Placed::AboveKnown(known.zone.clone());
        }
        match &verdict.unsigned_from {
            Some(cut) if may_lie_between(zone, cut) => Placed::AboveCut(cut.clone()),
            _ => Placed::Well,
        }
    }

    /// Whether a copy says that the question is none for `zone`. What is old may be so no more.
    fn copy_knows(&self, copy: &Cover, zone: &Name, question: &Question, now: Now) -> bool {
        let is_below = copy.zone.is_below(zone);
        let is_it = copy.zone == *zone;
        copy.prefer != Prefer::LastResort
            && (is_below || is_it && self.local.delegates(zone, question, now))
    }

    /// Prepares to ask again further down, if that is to be done; whether it is.
    pub(super) async fn ask_below(
        self: &Arc<Self>,
        ask: &mut RawAsk,
        placed: Placed,
        budget: &Arc<Budget>,
    ) -> bool {
        let below = match placed {
            Placed::Well => return false,
            Placed::AboveCopy(_) if ask.network_only => return false,
            Placed::AboveCopy(zone) => {
                ask.from_copy = true;
                zone
            }
            // What is known further down may be what was found bogus before.
            _ if ask.attempt > 0 || ask.from_parent => return false,
            Placed::AboveKnown(zone) => zone,
            Placed::AboveCut(cut) => {
                let known = |now| self.knowledge.deepest(&ask.question, now);
                let before = known(self.clock.now());
                let mut look = RawAsk::new(Question::new(cut, Rtype::DS));
                (look.trace, look.for_chain) = (ask.trace.clone(), true);
                // On the way to it, who serves the zones between is told.
                look.refresh = true;
                let _ = self.raw(look, budget).await;
                let after = known(self.clock.now());
                if !after.zone.is_below(&before.zone) {
                    return false;
                }
                after.zone.clone()
            }
        };
        ask.refresh = true;
        ask.trace.note(self.clock.now(), || What::Again {
            question: ask.question.to_string(),
            why: format!("unsigned, and from a zone above {below}"),
        });
        true
    }
}

/// Whether there is room for a zone between `zone` and a cut.
fn may_lie_between(zone: &Name, cut: &Name) -> bool {
    cut.is_below(zone) && cut.label_count() > zone.label_count() + 1
}
