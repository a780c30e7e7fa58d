//! What a server's messages must look like for it to answer.
//!
//! Why: some servers, and some boxes before them, refuse or drop questions with EDNS, or with an option that they do not
//! know; some paths lose large datagrams; some servers do not repeat the case of a name. Asking such a server
//! again in a plainer way finds the answer; remembering it saves the next question the way there. But EDNS carries
//! the DO bit: a server that is believed not to take it gives no signatures, and a signed zone is lost. So
//! packet loss alone must never lead to that belief.
//!
//! Model: [`Quirks`] is what is known of one address, and ends after a while by itself. [`Heard`] is how a question was put
//! and what kind of answer came; [`Quirks::heard`] learns from it. For EDNS:
//!
//! ```text
//!            plain answer where EDNS met silence
//!   unknown ------------------------------------> dropped(n) -- n = DROPS_MAX --> without
//!    ^  |  <----------- an answer to EDNS -----------+                             ^  |
//!    |  | FORMERR, NOTIMP, SERVFAIL without OPT, or BADVERS          plain answer  |  |
//!    |  +-------------------------------------------------------> refused ---------+  |
//!    +------------------------------ WITHOUT_FOR is over -----------------------------+
//!
//!   any -- OPT in an answer --> works -- WORKS_FOR is over --> unknown
//!                                 neither silence nor a refusal changes it
//! ```
//!
//! That is BIND's rule (who has answered with OPT once is not doubted) with Unbound's (what a signed zone's server
//! says without EDNS is not remembered): [`Quirks::level`] gives a signed zone EDNS always.

use std::time::Duration;

use crate::upstream::{Ask, Doubt, Transport};

/// How long it is remembered that a server takes EDNS, and that it does without.
const WORKS_FOR: Duration = Duration::from_secs(3600);
const WITHOUT_FOR: Duration = Duration::from_secs(300);
/// How long it is remembered that a server chokes on options, and that it changes the case of names.
const BARE_FOR: Duration = Duration::from_secs(3600);
const FOLDS_FOR: Duration = Duration::from_secs(3600);
/// How long a server is asked with small datagrams at once.
const CAUTIOUS_FOR: Duration = Duration::from_secs(300);
/// Plain answers in a row after silence to EDNS, before EDNS is left away at once.
const DROPS_MAX: u8 = 3;
/// Answers in a row to a cautious question after silence to the usual one, before it is asked so at once.
const CAUTIOUS_AFTER: u8 = 2;

/// How much of EDNS a question carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EdnsLevel {
    /// No OPT record.
    None,
    /// An OPT record without options.
    Bare,
    /// An OPT record with a cookie.
    Full,
}

impl EdnsLevel {
    /// How much a question carried.
    pub fn of(ask: &Ask) -> EdnsLevel {
        match (&ask.edns, ask.cookie) {
            (None, _) => EdnsLevel::None,
            (Some(_), false) => EdnsLevel::Bare,
            (Some(_), true) => EdnsLevel::Full,
        }
    }
}

/// How a question was put, and what kind of answer came.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    /// How much of EDNS it carried.
    pub level: EdnsLevel,
    /// It advertised less than the configured size, because the server was silent before.
    pub cautious: bool,
    /// How it travelled.
    pub over: Transport,
    /// The answer has another case: only over TCP.
    pub folded: bool,
    /// The answer has an OPT record.
    pub opt: bool,
    /// It is of use, or would be if it were not cut.
    pub usable: bool,
    /// The server refused, and this much of EDNS may do.
    pub refused: Option<EdnsLevel>,
    /// Answers of the zone are of no use without signatures.
    pub signed: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Edns {
    #[default]
    Unknown,
    /// EDNS met silence, and a plain question an answer, so often.
    Dropped(u8),
    Refused,
    Works {
        until: Duration,
    },
    Without {
        until: Duration,
    },
}

/// What is known of one address.
#[derive(Debug, Clone, Default)]
pub struct Quirks {
    edns: Edns,
    /// The server choked on a question with options, or its cookies went missing; what it does without is to be seen.
    options_doubted: bool,
    bare_until: Duration,
    cautious_answers: u8,
    cautious_until: Duration,
    folds_until: Duration,
}

impl Quirks {
    /// How much of EDNS to send at first.
    pub fn level(&self, now: Duration, signed: bool) -> EdnsLevel {
        match self.edns {
            Edns::Without { until } if until > now && !signed => EdnsLevel::None,
            _ if self.bare_until > now => EdnsLevel::Bare,
            _ => EdnsLevel::Full,
        }
    }

    /// How much of EDNS to send after silence. A server that has shown that it takes EDNS loses its options
    /// at most: what it lost is more likely a packet.
    pub fn cautious_level(&self, now: Duration, signed: bool) -> EdnsLevel {
        match signed || self.takes_edns(now) {
            true => EdnsLevel::Bare,
            false => EdnsLevel::None,
        }
    }

    /// Whether the server has answered with an OPT record of late.
    pub fn takes_edns(&self, now: Duration) -> bool {
        matches!(self.edns, Edns::Works { until } if until > now)
    }

    /// Whether the server is best asked with small datagrams and without options at once.
    pub fn is_cautious(&self, now: Duration) -> bool {
        self.cautious_until > now
    }

    /// Whether the server changes the case of names.
    pub fn folds(&self, now: Duration) -> bool {
        self.folds_until > now
    }

    /// Learns from a matched answer.
    pub fn heard(&mut self, heard: &Heard, now: Duration) {
        self.learn_edns(heard, now);
        match (heard.level, heard.refused) {
            (_, Some(EdnsLevel::Bare)) => self.options_doubted = true,
            (EdnsLevel::Full, _) if heard.usable => self.options_doubted = false,
            (EdnsLevel::Bare, _) if heard.usable && self.options_doubted => {
                self.options_doubted = false;
                self.bare_until = now + BARE_FOR;
            }
            _ => {}
        }
        if heard.usable && heard.level != EdnsLevel::None && heard.over == Transport::Udp {
            self.learn_size(heard.cautious, now);
        }
        if heard.folded {
            self.folds_until = now + FOLDS_FOR;
        }
    }

    fn learn_size(&mut self, cautious: bool, now: Duration) {
        self.cautious_answers = match cautious {
            true => self.cautious_answers.saturating_add(1),
            false => 0,
        };
        if self.cautious_answers >= CAUTIOUS_AFTER && !self.is_cautious(now) {
            self.cautious_until = now + CAUTIOUS_FOR;
        }
    }

    fn learn_edns(&mut self, heard: &Heard, now: Duration) {
        if let Edns::Works { until } | Edns::Without { until } = self.edns
            && until <= now
        {
            self.edns = Edns::Unknown;
        }
        let plain = heard.usable && heard.level == EdnsLevel::None && !heard.signed;
        self.edns = match self.edns {
            // RFC 6891 section 6.1.1: who sends OPT knows EDNS, whatever it says; but for BADVERS to version 0.
            _ if heard.opt && heard.refused != Some(EdnsLevel::None) => Edns::Works {
                until: now + WORKS_FOR,
            },
            Edns::Unknown | Edns::Dropped(_) if heard.refused == Some(EdnsLevel::None) => {
                Edns::Refused
            }
            Edns::Refused if plain => Edns::Without {
                until: now + WITHOUT_FOR,
            },
            Edns::Unknown if plain => Edns::Dropped(1),
            Edns::Dropped(n) if plain && n + 1 >= DROPS_MAX => Edns::Without {
                until: now + WITHOUT_FOR,
            },
            Edns::Dropped(n) if plain => Edns::Dropped(n + 1),
            // An answer to EDNS, though without OPT: it is not dropped (RFC 6891 section 7).
            Edns::Dropped(_) if heard.usable && heard.level != EdnsLevel::None => Edns::Unknown,
            known => known,
        };
    }

    /// Something doubtful came in the place of an answer.
    pub fn doubted(&mut self, doubt: Doubt) {
        self.options_doubted |= doubt == Doubt::CookieMissing;
    }

    /// An answer whose case could not be held against it was all there was to be had.
    pub fn answered_unmixed(&mut self, now: Duration) {
        if !self.folds(now) {
            self.folds_until = now + FOLDS_FOR;
        }
    }

    /// In words, for `status`.
    pub fn words(&self, now: Duration) -> Vec<&'static str> {
        let without = matches!(self.edns, Edns::Without { until } if until > now);
        let all = [
            (without, "no EDNS"),
            (self.bare_until > now, "no cookies"),
            (self.is_cautious(now), "small datagrams"),
            (self.folds(now), "changes case"),
        ];
        all.into_iter()
            .filter_map(|(is, word)| is.then_some(word))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Heard = Heard {
        level: EdnsLevel::None,
        cautious: false,
        over: Transport::Udp,
        folded: false,
        opt: false,
        usable: true,
        refused: None,
        signed: false,
    };
    const GOOD: Heard = Heard {
        level: EdnsLevel::Full,
        opt: true,
        ..PLAIN
    };
    const REFUSED: Heard = Heard {
        level: EdnsLevel::Full,
        usable: false,
        refused: Some(EdnsLevel::None),
        ..PLAIN
    };
    const SIGNED_PLAIN: Heard = Heard {
        signed: true,
        ..PLAIN
    };
    const NO_OPT: Heard = Heard { opt: false, ..GOOD };
    const FAILED_PLAIN: Heard = Heard {
        usable: false,
        ..PLAIN
    };

    fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn after(story: &[Heard]) -> Quirks {
        let mut quirks = Quirks::default();
        for heard in story {
            quirks.heard(heard, s(10));
        }
        quirks
    }

    // RFC 6891 section 7; one row per arrow of the diagram, and per arrow that must not be.
    #[test]
    fn edns_is_given_up_on_evidence_only() {
        use EdnsLevel::{Full, None};
        let check = |what: &str, story: &[Heard], unsigned| {
            let quirks = after(story);
            assert_eq!(quirks.level(s(11), false), unsigned, "{what}");
            // A signed zone's questions always carry DO.
            assert_eq!(quirks.level(s(11), true), Full, "{what}");
            assert_eq!(
                quirks.level(s(310), false),
                Full,
                "{what}: remembered too long"
            );
        };
        check("nothing known", &[], Full);
        check("refused, then plain", &[REFUSED, PLAIN], None);
        check("refused only", &[REFUSED], Full);
        check("refused, plain fails too", &[REFUSED, FAILED_PLAIN], Full);
        check("refused in a signed zone", &[REFUSED, SIGNED_PLAIN], Full);
        check("dropped once", &[PLAIN], Full);
        check("dropped twice", &[PLAIN, PLAIN], Full);
        check("dropped three times", &[PLAIN; 3], None);
        check("dropped in a signed zone", &[SIGNED_PLAIN; 9], Full);
        check("lossy", &[PLAIN, PLAIN, NO_OPT, PLAIN, PLAIN], Full);
        let works: Vec<Heard> = [vec![GOOD], vec![PLAIN; 9]].concat();
        check("lossy, known to take EDNS", &works, Full);
        check("known, and an odd refusal", &[GOOD, REFUSED, PLAIN], Full);
        check("back again", &[REFUSED, PLAIN, GOOD], Full);
        check("no OPT in answers", &[NO_OPT; 9], Full);
        // What is known ends.
        let mut quirks = after(&[GOOD]);
        for at in 3700..3703 {
            quirks.heard(&PLAIN, s(at));
        }
        assert_eq!(quirks.level(s(3704), false), None);
        // Questions asked plainly because of the memory do not prolong it.
        let mut quirks = after(&[PLAIN; 3]);
        quirks.heard(&PLAIN, s(309));
        assert_eq!(quirks.level(s(310), false), Full);
    }

    #[test]
    fn silence_takes_edns_from_strangers_only() {
        use EdnsLevel::{Bare, None};
        assert_eq!(after(&[]).cautious_level(s(11), false), None);
        assert_eq!(after(&[]).cautious_level(s(11), true), Bare);
        assert_eq!(after(&[GOOD]).cautious_level(s(11), false), Bare);
    }

    #[test]
    fn options_are_left_away_where_they_do_harm() {
        let refused = Heard {
            refused: Some(EdnsLevel::Bare),
            opt: true,
            ..REFUSED
        };
        let bare = Heard {
            level: EdnsLevel::Bare,
            ..GOOD
        };
        for (story, expected) in [
            (vec![refused, bare], EdnsLevel::Bare),
            (vec![refused], EdnsLevel::Full),
            (vec![bare], EdnsLevel::Full),
            (vec![refused, GOOD, bare], EdnsLevel::Full),
        ] {
            assert_eq!(after(&story).level(s(11), true), expected, "{story:?}");
            assert_eq!(after(&story).level(s(3610), true), EdnsLevel::Full);
        }
        // Cookies went missing, and TCP did not answer.
        let mut quirks = after(&[GOOD]);
        quirks.doubted(Doubt::CookieMissing);
        quirks.heard(&bare, s(11));
        assert_eq!(quirks.level(s(12), false), EdnsLevel::Bare);
    }

    // RFC 9715 section 3.2: where large datagrams are lost, less is asked for.
    #[test]
    fn small_datagrams_after_small_answers_in_a_row() {
        let small = Heard {
            level: EdnsLevel::Bare,
            cautious: true,
            ..GOOD
        };
        let tcp = Heard {
            over: Transport::Tcp,
            ..GOOD
        };
        for (story, expected) in [
            (vec![small], false),
            (vec![small, small], true),
            (vec![small, GOOD, small], false),
            (vec![small, tcp, small], true),
        ] {
            let quirks = after(&story);
            assert_eq!(quirks.is_cautious(s(11)), expected, "{story:?}");
            assert!(!quirks.is_cautious(s(310)));
        }
    }

    #[test]
    fn who_changes_case_is_remembered_for_a_while() {
        let folded = Heard {
            folded: true,
            ..GOOD
        };
        let mut quirks = after(&[folded]);
        assert!(quirks.folds(s(3609)) && !quirks.folds(s(3610)));
        assert_eq!(quirks.words(s(11)), ["changes case"]);
        quirks.answered_unmixed(s(3000));
        assert!(!quirks.folds(s(3610)));
        quirks.answered_unmixed(s(3611));
        assert!(quirks.folds(s(3612)));
    }
}
