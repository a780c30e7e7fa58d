//! How near a mirror is to the end of what it is good for, and how loudly to say so. Pure.
//!
//! Why: on 4 October 2023 a large resolver served an old root for 13 days without a word, and failed when its signatures ran
//! out. A refresh that fails once is nothing; one that has failed for half of the time that is left is somebody's problem,
//! while there still is time.
//!
//! ```text
//! last known to be right         25 %        50 %        75 %      the end: signatures run out, or SOA expire
//! |---------- silence ------------| warn -----| warn -----| error ---| error
//! ```
//! Contact takes it back to the beginning. A source that goes on confirming one version is contact, but if that version
//! has used up most of its signatures' time, the source itself may be stuck: that is said as well, and only from 75 % on,
//! because some zones are signed anew rather late.

use super::generation::Generation;
use super::policy;
use crate::clock::format_utc;
use crate::config::{AgeMax, ExpiredSignatures, MirrorConfig};

/// How much of the time is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// A quarter.
    Quarter,
    /// Half.
    Half,
    /// Three quarters: now it is urgent.
    ThreeQuarters,
    /// All of it.
    Over,
}

impl Stage {
    /// The share in percent.
    pub fn percent(self) -> u64 {
        match self {
            Stage::Quarter => 25,
            Stage::Half => 50,
            Stage::ThreeQuarters => 75,
            Stage::Over => 100,
        }
    }

    /// What is reached `elapsed` into `whole`.
    fn of(elapsed_s: u64, whole_s: u64) -> Option<Stage> {
        let percent = (u128::from(elapsed_s) * 100)
            .checked_div(whole_s.into())
            .unwrap_or(100);
        match percent {
            0..25 => None,
            25..50 => Some(Stage::Quarter),
            50..75 => Some(Stage::Half),
            75..100 => Some(Stage::ThreeQuarters),
            _ => Some(Stage::Over),
        }
    }
}

/// What comes to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The first of its signatures runs out, and no source is heard.
    Signatures,
    /// The time after which a secondary must not answer (RFC 1035 section 3.3.13).
    SoaExpire,
    /// The first of its signatures runs out, and sources have nothing newer.
    Stuck,
}

impl Limit {
    /// For people and scripts.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Signatures => "signatures",
            Limit::SoaExpire => "soa expire",
            Limit::Stuck => "signatures, sources stuck",
        }
    }
}

/// Something that an operator should see to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escalation {
    /// How much of the time is gone.
    pub stage: Stage,
    /// What comes to an end.
    pub limit: Limit,
    /// When, seconds since 1970.
    pub at: u64,
}

/// What is known about a version, in seconds since 1970 where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// When it was verified.
    pub verified_at: u64,
    /// When it was last known to be the newest.
    pub known_at: u64,
    /// When the first of its signatures runs out.
    pub signatures_end: Option<u64>,
    /// SOA expire, in seconds.
    pub expire_s: u64,
}

impl Facts {
    /// Of a generation, as of `now_s`.
    pub fn of(generation: &Generation, now_s: u64) -> Facts {
        Facts {
            verified_at: generation.verified_at(),
            known_at: now_s - policy::age_s(generation, now_s).min(now_s),
            signatures_end: generation.row().signatures_expire_at,
            expire_s: generation.soa().expire_s.into(),
        }
    }
}

/// The most pressing thing about a version at `now_s`; nothing while all is well.
pub fn escalation(facts: &Facts, now_s: u64) -> Option<Escalation> {
    let stage = |from: u64, to: u64| Stage::of(now_s.saturating_sub(from), to.saturating_sub(from));
    let silent = |limit, at| {
        // The moment of contact is none of silence, whatever has run out by then.
        let stage = stage(facts.known_at, at).filter(|_| now_s > facts.known_at)?;
        Some(Escalation { stage, limit, at })
    };
    let stuck = facts.signatures_end.and_then(|at| {
        let stage = stage(facts.verified_at, at).filter(|s| *s >= Stage::ThreeQuarters)?;
        let limit = Limit::Stuck;
        (facts.known_at > facts.verified_at).then_some(Escalation { stage, limit, at })
    });
    let signatures = facts
        .signatures_end
        .and_then(|at| silent(Limit::Signatures, at));
    let expire = silent(
        Limit::SoaExpire,
        facts.known_at.saturating_add(facts.expire_s),
    );
    // The later stage first, then what comes first.
    let all = [signatures, expire, stuck].into_iter().flatten();
    all.max_by_key(|e| (e.stage, std::cmp::Reverse(e.at)))
}

impl Escalation {
    /// Whether it is urgent: an error, not a warning. Of a stuck source the end alone is.
    pub fn is_urgent(&self) -> bool {
        match self.limit {
            Limit::Stuck => self.stage == Stage::Over,
            _ => self.stage >= Stage::ThreeQuarters,
        }
    }

    /// What is the matter, and what will happen when.
    pub fn text(&self, config: &MirrorConfig) -> String {
        let (percent, at) = (self.stage.percent(), format_utc(self.at));
        let is_over = self.stage == Stage::Over;
        let fate = match (self.limit, config.expired_signatures, config.age_max) {
            (Limit::SoaExpire, _, AgeMax::SoaExpire) if is_over => {
                format!("its SOA expire was reached at {at}: it answers nothing any more")
            }
            (Limit::SoaExpire, _, AgeMax::SoaExpire) => {
                format!("its SOA expire is reached at {at}: from then on it answers nothing")
            }
            (Limit::SoaExpire, ..) => {
                let tense = if is_over { "was" } else { "is" };
                format!(
                    "its SOA expire {tense} reached at {at}: the zone's other secondaries answer no longer than that, this copy until age_max"
                )
            }
            (_, ExpiredSignatures::Accept, _) if is_over => {
                format!("its signatures ran out at {at}: what it answers is marked and has no AD")
            }
            (_, ExpiredSignatures::Accept, _) => format!(
                "its signatures run out at {at}: from then on what it answers is marked and has no AD"
            ),
            (_, ExpiredSignatures::Reject, _) if is_over => {
                format!("its signatures ran out at {at}: it answers nothing signed any more")
            }
            (_, ExpiredSignatures::Reject, _) => {
                format!("its signatures run out at {at}: from then on it answers nothing signed")
            }
        };
        let what = match self.limit {
            Limit::Stuck => "the sources have nothing newer, and may be stuck",
            _ => "no source has confirmed or replaced this copy",
        };
        format!("{what}: {percent} % of its time is gone; {fate}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const T: u64 = 1_700_000_000;

    fn facts(known_after: u64, signatures_after: Option<u64>, expire_s: u64) -> Facts {
        Facts {
            verified_at: T,
            known_at: T + known_after,
            signatures_end: signatures_after.map(|s| T + s),
            expire_s,
        }
    }

    #[test]
    fn a_row_per_stage_and_limit() {
        use Limit::*;
        use Stage::*;
        let root = facts(0, Some(12 * DAY), 7 * DAY);
        let unsigned = facts(0, None, 8 * DAY);
        let long = facts(0, Some(4 * DAY), 40 * DAY);
        // Confirmed on the second day, ten days before the end.
        let later = facts(2 * DAY, Some(12 * DAY), 400 * DAY);
        let check = |facts: &Facts, after_s: u64, expected: Option<(Stage, Limit)>| {
            let got = escalation(facts, T + after_s).map(|e| (e.stage, e.limit));
            assert_eq!(got, expected, "{facts:?} after {after_s} s");
        };
        check(&root, 0, None);
        check(&root, 7 * DAY / 4 - 1, None);
        check(&root, 7 * DAY / 4, Some((Quarter, SoaExpire)));
        check(&root, 3 * DAY, Some((Quarter, SoaExpire)));
        check(&root, 7 * DAY / 2, Some((Half, SoaExpire)));
        check(&root, 7 * DAY * 3 / 4, Some((ThreeQuarters, SoaExpire)));
        check(&root, 7 * DAY, Some((Over, SoaExpire)));
        check(&root, 13 * DAY, Some((Over, SoaExpire)));
        check(&unsigned, 2 * DAY - 1, None);
        check(&unsigned, 2 * DAY, Some((Quarter, SoaExpire)));
        check(&unsigned, 80 * DAY, Some((Over, SoaExpire)));
        check(&long, DAY - 1, None);
        check(&long, DAY, Some((Quarter, Signatures)));
        check(&long, 2 * DAY, Some((Half, Signatures)));
        check(&long, 3 * DAY, Some((ThreeQuarters, Signatures)));
        check(&long, 4 * DAY, Some((Over, Signatures)));
        check(&later, 2 * DAY, None);
        check(&later, 4 * DAY + DAY / 2, Some((Quarter, Signatures)));
        check(&later, 7 * DAY, Some((Half, Signatures)));
        // The clock went back.
        assert_eq!(escalation(&root, T - DAY), None);
    }

    #[test]
    fn a_source_that_is_stuck_is_told_late() {
        let confirmed = |after: u64| facts(after, Some(12 * DAY), 400 * DAY);
        let check = |after: u64, expected: Option<(Stage, Limit, bool)>| {
            let got = escalation(&confirmed(after), T + after);
            let got = got.map(|e| (e.stage, e.limit, e.is_urgent()));
            assert_eq!(got, expected, "after {after} s");
        };
        check(0, None);
        check(8 * DAY, None);
        check(9 * DAY, Some((Stage::ThreeQuarters, Limit::Stuck, false)));
        check(12 * DAY, Some((Stage::Over, Limit::Stuck, true)));
    }

    #[test]
    fn the_text_says_what_will_happen_when() {
        let mut config = MirrorConfig::new(crate::dns::Name::root());
        let mut check = |escalation: Escalation, reject: bool, soa: bool, expected: &str| {
            config.expired_signatures = match reject {
                true => ExpiredSignatures::Reject,
                false => ExpiredSignatures::Accept,
            };
            config.age_max = match soa {
                true => AgeMax::SoaExpire,
                false => AgeMax::Seconds(1),
            };
            let text = escalation.text(&config);
            assert!(text.contains(expected), "{text}");
        };
        let at = |stage, limit| Escalation {
            stage,
            limit,
            at: T,
        };
        let half = at(Stage::Half, Limit::Signatures);
        check(
            half,
            false,
            false,
            "50 % of its time is gone; its signatures run out at 2023-11-14T22:13:20Z",
        );
        check(half, true, false, "it answers nothing signed");
        check(
            at(Stage::Over, Limit::Signatures),
            false,
            false,
            "ran out at 2023",
        );
        let expire = at(Stage::Half, Limit::SoaExpire);
        check(expire, false, true, "from then on it answers nothing");
        check(expire, false, false, "this copy until age_max");
        check(
            at(Stage::ThreeQuarters, Limit::Stuck),
            false,
            false,
            "may be stuck",
        );
    }
}
