//! The end of a walk: a verdict, with what of the answer is kept and what a client is told.

use super::Validation;
use crate::cache::entry::AS_OF_TTL_MAX_S;
use crate::clock::Now;
use crate::dns::Ede;
use crate::resolve::validate::judge::{Insecure, Judged};
use crate::resolve::validate::signed::{Court, Trust};
use crate::resolve::validate::{AsOf, Culprit, Step, Verdict};
use crate::resolve::{LocalTrust, MirrorNote, Security, age_words};

impl Validation {
    pub(super) fn mirror_verdict(&mut self, note: &MirrorNote, now: Now) -> Verdict {
        let as_of = match note.trust {
            LocalTrust::Insecure => return self.insecure(None, None),
            LocalTrust::Secure => None,
            LocalTrust::SecureAsOf => Some(AsOf::Mirror(note.clone())),
        };
        let as_of = as_of.as_ref();
        let mut court = Court {
            ctx: &self.ctx,
            zone: &note.zone,
            trust: Trust::Verified,
            budget: &mut self.budget,
            now,
        };
        match court.judge(&self.question, &self.response) {
            Ok(judged) => {
                self.learn(&note.zone, &judged, &self.response.origin, as_of, now);
                self.judged(judged, as_of, now)
            }
            Err(ede) => {
                let culprit = Culprit::of(&self.response);
                self.bogus_verdict(ede, Some(culprit))
            }
        }
    }

    pub(in crate::resolve::validate) fn judged(
        &mut self,
        judged: Judged,
        as_of: Option<&AsOf>,
        now: Now,
    ) -> Verdict {
        let mut errors = Vec::new();
        let security = match (judged.insecure, as_of) {
            (Some(Insecure::OptOut), _) => Security::Insecure,
            (Some(Insecure::Iterations(ede)), _) => {
                errors.push(ede);
                Security::Insecure
            }
            (None, Some(_)) => Security::SecureAsOf,
            (None, None) => Security::Secure,
        };
        errors.extend(as_of.into_iter().flat_map(as_of_errors));
        let left_s = judged.life.mono_end.saturating_sub(now.mono).as_secs();
        let ttl_max_s = u32::try_from(left_s).unwrap_or(u32::MAX);
        Verdict {
            security,
            answer: judged.answer,
            authority: judged.authority,
            ttl_max_s: Some(match as_of {
                Some(_) => ttl_max_s.min(AS_OF_TTL_MAX_S),
                None => ttl_max_s,
            }),
            errors,
            bogus_from: None,
            unsigned_from: None,
        }
    }

    pub(super) fn insecure(&mut self, why: Option<Ede>, as_of: Option<&AsOf>) -> Verdict {
        let mut errors: Vec<Ede> = why.into_iter().collect();
        errors.extend(as_of.into_iter().flat_map(as_of_errors));
        Verdict {
            security: Security::Insecure,
            answer: std::mem::take(&mut self.response.answer),
            authority: std::mem::take(&mut self.response.authority),
            ttl_max_s: as_of.map(|_| AS_OF_TTL_MAX_S),
            errors,
            bogus_from: None,
            unsigned_from: None,
        }
    }

    pub(super) fn bogus(&mut self, ede: Ede, from: Option<Culprit>) -> Step {
        Step::Done(self.bogus_verdict(ede, from))
    }

    pub(super) fn bogus_verdict(&mut self, ede: Ede, from: Option<Culprit>) -> Verdict {
        Verdict {
            security: Security::Bogus(ede),
            answer: std::mem::take(&mut self.response.answer),
            authority: std::mem::take(&mut self.response.authority),
            ttl_max_s: None,
            errors: Vec::new(),
            bogus_from: from,
            unsigned_from: None,
        }
    }
}

/// Extended errors 3 and 7 for what depends on as-of data.
pub fn as_of_errors(by: &AsOf) -> [Ede; 2] {
    let (which, known) = match by {
        AsOf::Mirror(note) => {
            let which = format!("mirror {} serial {}", note.zone, note.serial);
            let age = age_words(note.age_s);
            (
                which.clone(),
                format!("{which}, known to be right {age} ago"),
            )
        }
        AsOf::Retained(note) => (format!("DS of {}", note.zone), note.to_string()),
    };
    [
        Ede::new(Ede::STALE_ANSWER, known),
        Ede::new(
            Ede::SIGNATURE_EXPIRED,
            format!("{which}: signatures are not valid now, accepted as verified before"),
        ),
    ]
}
