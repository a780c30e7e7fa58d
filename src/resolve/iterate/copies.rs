//! What is kept here in place of what a zone's servers say: a mirror's answer, or a delegation that was retained.

use std::sync::Arc;
use std::time::Duration;

use super::step::{self, Attempt};
use super::{Action, Env, Iteration};
use crate::clock::Now;
use crate::dns::{Name, Question, Rtype};
use crate::resolve::delegation::Delegation;
use crate::resolve::interpret::Referral;
use crate::resolve::local::{self, LocalSaid};
use crate::resolve::retained::{self, When};
use crate::resolve::trace::{What, response_words, trust_word};
use crate::resolve::{Cover, Prefer};

impl Iteration {
    /// The servers of a mirrored zone, as its copy names them.
    pub(super) fn apex(&self, env: &Env<'_>, now: Now, zone: &Name) -> Option<Arc<Delegation>> {
        let question = Question::new(zone.clone(), Rtype::NS);
        let delegation = local::apex(zone, env.local.answer(zone, &question, now)?, now)?;
        let referral = Referral {
            delegation,
            ds: None,
        };
        env.trace.note(now, || step::referral_told(&referral));
        let delegation = Arc::new(referral.delegation);
        env.knowledge.learn(delegation.clone(), None, now);
        Some(delegation)
    }

    /// Takes the mirror's answer for this step; false when it has none to give.
    pub(super) fn ask_mirror(
        &mut self,
        env: &Env<'_>,
        now: Now,
        cover: &Cover,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(answer) = env.local.answer(&cover.zone, &self.question, now) else {
            return false;
        };
        let note = answer.note.clone();
        let Some(said) = local::read(&cover.zone, &self.question, answer, now) else {
            return false;
        };
        env.budget.used_mirror(&note);
        env.trace.note(now, || What::Mirror {
            zone: note.zone.to_string(),
            serial: note.serial,
            age_s: note.age_s,
            trust: trust_word(note.trust).into(),
            why: self.why_mirror(env, cover),
            outcome: match &said {
                LocalSaid::Answer(response) => response_words(response),
                LocalSaid::Referral(r) => format!("referral to {}", r.delegation.zone),
            },
        });
        match said {
            LocalSaid::Answer(response) => self.done(response, out),
            LocalSaid::Referral(referral) => self.refer(env, now, referral, out),
        }
        true
    }

    /// Why the mirror answers this step, for people.
    fn why_mirror(&self, env: &Env<'_>, cover: &Cover) -> String {
        match (&self.attempt, cover.prefer) {
            (Some(attempt), prefer) => attempt.why_mirror(env, prefer),
            (None, _) if self.manner.prefer_mirror => {
                "what servers said was bogus, so the copy is asked at once".into()
            }
            (None, _) if env.budget.has_hedged() || env.budget.has_resorted() => {
                "this question has waited for servers before, so the copy is asked at once".into()
            }
            (None, _) => "the copy goes first: the zone is isolated, or is ours to answer".into(),
        }
    }

    /// The mirror steps in for servers that are late or failed.
    pub(super) fn fail_over(&mut self, env: &Env<'_>, now: Now, out: &mut Vec<Action>) -> bool {
        let Some(cover) = self.attempt.as_mut().and_then(|a| a.take_mirror()) else {
            return false;
        };
        if !self.ask_mirror(env, now, &cover, out) {
            return false;
        }
        match cover.prefer {
            Prefer::LastResort => env.budget.set_resorted(),
            Prefer::Now | Prefer::Hedge => env.budget.set_hedged(),
        }
        true
    }

    /// How long the servers of a zone may be silent before a retained delegation is used.
    pub(super) fn retained_after(&self, env: &Env<'_>, when: When, attempt: &Attempt) -> Duration {
        match when {
            When::Now | When::Explore => env.settings.hedge_min,
            // Most of the client's patience is spent, or there is little to wait for.
            When::Late
                if env.budget.has_resorted()
                    || attempt.knows_only_silent()
                    // That long nobody is waited for, so no longer than that is waited to see it.
                    || attempt.is_slow(env) =>
            {
                env.settings.hedge_max
            }
            When::Late => retained::LATE_AFTER,
            When::Reading => retained::READ_AFTER,
        }
    }

    /// Goes on with what servers of `zone` said last: they cannot be reached now. False when nothing is kept.
    pub(super) fn take_retained(
        &mut self,
        env: &Env<'_>,
        now: Now,
        zone: &Name,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some((delegation, note)) = env.retained.take(zone, &self.question, now) else {
            return false;
        };
        env.trace.note(now, || What::Retained {
            zone: note.zone.to_string(),
            given_by: note.parent.to_string(),
            age_s: note.age_s,
        });
        env.budget.set_resorted();
        let referral = Referral {
            delegation,
            ds: None,
        };
        self.refer(env, now, referral, out);
        true
    }

    /// What others have found out since the step began, or the disk has said: that its servers are gone. Then it need not wait any longer.
    pub(super) fn learns_of_retained(
        &mut self,
        env: &Env<'_>,
        now: Now,
        out: &mut Vec<Action>,
    ) -> bool {
        let (Some(kept), Some(attempt)) = (self.kept, &mut self.attempt) else {
            return false;
        };
        if attempt.was_heard() || attempt.leaves_out() {
            return false;
        }
        let zone = attempt.delegation.zone.clone();
        if kept != When::Explore && env.retained.is_gone(&zone) {
            return self.take_retained(env, now, &zone, out);
        }
        if kept == When::Reading && attempt.hedge_due(now) {
            self.kept = env.retained.when(&zone, &self.question, now);
            let after = self.kept.map(|when| match when {
                When::Late => retained::LATE_AFTER,
                _ => retained::READ_AFTER,
            });
            attempt.hedge_at(after.map(|after| now.mono + after));
        }
        false
    }
}
