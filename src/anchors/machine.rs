//! The life of one key (RFC 5011 section 4). Pure.

use std::fmt;
use std::str::FromStr;

/// The state of a key of a zone with trust anchors (RFC 5011 section 4.2).
///
/// ```text
///             NewKey              AddTime              KeyRem
///   Start -------------> AddPend ---------> Valid ----------------> Missing
///     ^                     |                 ^  \                  /  |
///     '------- KeyRem ------'                 |   \    KeyPres     /   |
///                                             '----\--------------'    |
///                                                   \ RevBit           | RevBit
///                                                    v                 |
///                                Removed <-------- Revoked <-----------'
///                                          RemTime
/// ```
///
/// Valid and Missing keys are trust anchors, no others are. A configured key begins in Valid. Removed is for ever:
/// such a key is never taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Not known.
    Start,
    /// Seen, waiting for its 30 days.
    AddPend,
    /// A trust anchor.
    Valid,
    /// A trust anchor that the zone has left out of its set.
    Missing,
    /// Revoked by itself; no anchor any more.
    Revoked,
    /// Revoked, and its time is over.
    Removed,
}

impl KeyState {
    /// All states.
    pub const ALL: [KeyState; 6] = [
        KeyState::Start,
        KeyState::AddPend,
        KeyState::Valid,
        KeyState::Missing,
        KeyState::Revoked,
        KeyState::Removed,
    ];

    /// Whether a key in this state is a trust anchor.
    pub fn is_trusted(self) -> bool {
        matches!(self, KeyState::Valid | KeyState::Missing)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyState::Start => "start",
            KeyState::AddPend => "add-pending",
            KeyState::Valid => "valid",
            KeyState::Missing => "missing",
            KeyState::Revoked => "revoked",
            KeyState::Removed => "removed",
        })
    }
}

impl FromStr for KeyState {
    type Err = ();

    fn from_str(text: &str) -> Result<KeyState, ()> {
        (KeyState::ALL.into_iter())
            .find(|state| state.to_string() == text)
            .ok_or(())
    }
}

/// How an observation shows a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// The zone's set lacks it.
    Absent,
    /// It is there and not revoked.
    Present,
    /// It is there with the REVOKE bit, and signed the set itself.
    Revoked,
}

/// The state after a sighting; `timer_over` says whether the hold-down time of AddPend or Revoked has passed.
pub fn next(state: KeyState, sighting: Sighting, timer_over: bool) -> KeyState {
    match (state, sighting) {
        // NewKey.
        (KeyState::Start, Sighting::Present) => KeyState::AddPend,
        (KeyState::Start, _) => KeyState::Start,
        // AddTime. RFC 5011 section 2.4.1: a set with the key must be seen after the time is over.
        (KeyState::AddPend, Sighting::Present) if timer_over => KeyState::Valid,
        (KeyState::AddPend, Sighting::Present) => KeyState::AddPend,
        // KeyRem. A pending key that is revoked was never trusted, and is forgotten like one that vanished.
        (KeyState::AddPend, _) => KeyState::Start,
        // RevBit: at once and for good (RFC 5011 section 2.1).
        (KeyState::Valid | KeyState::Missing, Sighting::Revoked) => KeyState::Revoked,
        // KeyRem and KeyPres.
        (KeyState::Valid | KeyState::Missing, Sighting::Absent) => KeyState::Missing,
        (KeyState::Valid | KeyState::Missing, Sighting::Present) => KeyState::Valid,
        // RemTime.
        (KeyState::Revoked, _) if timer_over => KeyState::Removed,
        (KeyState::Revoked, _) => KeyState::Revoked,
        (KeyState::Removed, _) => KeyState::Removed,
    }
}

#[cfg(test)]
mod tests {
    use super::KeyState::*;
    use super::Sighting::{Absent, Present, Revoked as Bit};
    use super::*;

    /// RFC 5011 section 4.2: each arrow of the table, and each cell that is none.
    #[test]
    fn the_table_of_the_rfc() {
        // From; then absent, present, revoked before and after the hold-down time.
        for (from, before, after) in [
            (Start, [Start, AddPend, Start], [Start, AddPend, Start]),
            (AddPend, [Start, AddPend, Start], [Start, Valid, Start]),
            (Valid, [Missing, Valid, Revoked], [Missing, Valid, Revoked]),
            (
                Missing,
                [Missing, Valid, Revoked],
                [Missing, Valid, Revoked],
            ),
            (Revoked, [Revoked; 3], [Removed; 3]),
            (Removed, [Removed; 3], [Removed; 3]),
        ] {
            for (i, sighting) in [Absent, Present, Bit].into_iter().enumerate() {
                assert_eq!(
                    next(from, sighting, false),
                    before[i],
                    "{from} {sighting:?}"
                );
                assert_eq!(
                    next(from, sighting, true),
                    after[i],
                    "{from} {sighting:?} late"
                );
            }
        }
    }

    /// No way leads from Start to trust past AddPend, and none out of Removed.
    #[test]
    fn forbidden_arrows_do_not_exist() {
        let all = || {
            KeyState::ALL.into_iter().flat_map(|from| {
                let steps = [Absent, Present, Bit].into_iter();
                let steps = steps.flat_map(move |s| [false, true].map(|t| next(from, s, t)));
                steps.map(move |to| (from, to))
            })
        };
        for forbidden in [
            (Start, Valid),
            (Start, Missing),
            (AddPend, Missing),
            (AddPend, Revoked),
            (Revoked, Valid),
            (Revoked, Missing),
            (Revoked, Start),
            (Removed, Start),
            (Removed, AddPend),
            (Removed, Valid),
            (Valid, Start),
            (Valid, Removed),
            (Missing, Removed),
        ] {
            assert!(all().all(|arrow| arrow != forbidden), "{forbidden:?}");
        }
        assert!(
            KeyState::ALL
                .iter()
                .all(|s| s.to_string().parse() == Ok(*s))
        );
        assert_eq!("trusted".parse::<KeyState>(), Err(()));
    }
}
