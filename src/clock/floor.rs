//! When the system's clock is to be believed. Pure.
//!
//! Why: a machine without a battery boots in 1970, and every signature is "not yet valid" until NTP has spoken, which
//! may need DNS. But time does not run backwards: what the clock read when this program last looked, and the inception
//! of any signature that was validated, are in the past. The later of the two is the floor.
//!
//! ```text
//!              system before the floor
//!   Following ------------------------> Holding (the clock runs on from the floor)
//!             <------------------------
//!              system at the floor or past it, or `holdfast clock reset`
//! ```
//!
//! A clock that once ran ahead leaves a floor in the future. That cannot be told from a clock that is behind now, so
//! it is said loudly, and the operator clears it.

/// The system's clock may be this much before the floor, in seconds: NTP steps back by seconds, and no signature is
/// judged otherwise for it.
pub const FLOOR_SLACK_S: u64 = 300;

/// What to do about the system's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It is right, as far as anyone can tell.
    Follow,
    /// It stands before the floor. Let the clock run on; if it stands before the floor itself, set it to this, seconds
    /// since 1970.
    Hold(u64),
}

/// Judges the system's clock; all in seconds since 1970, a floor of 0 is none.
pub fn judge(system_s: u64, running_s: u64, floor_s: u64) -> Judgement {
    match system_s.saturating_add(FLOOR_SLACK_S) < floor_s {
        true => Judgement::Hold(running_s.max(floor_s)),
        false => Judgement::Follow,
    }
}

/// The time to which a copy of the root that is signed as of `signed_s` moves the clock, if it does: only where nobody
/// has set the clock, and only forward.
pub fn step(unset: bool, signed_s: u64, now_s: u64) -> Option<u64> {
    (unset && now_s.saturating_add(FLOOR_SLACK_S) < signed_s).then_some(signed_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_holds_from_below_only() {
        const F: u64 = 1_785_585_600;
        for (system, running, floor, expected) in [
            // No floor: whatever the system says.
            (0, 5, 0, Judgement::Follow),
            (F, 5, 0, Judgement::Follow),
            // 1970, at start and an hour later.
            (5, 5, F, Judgement::Hold(F)),
            (3605, F + 3600, F, Judgement::Hold(F + 3600)),
            // NTP has spoken: also when that is before what the clock has reached by itself.
            (F + 10, F + 3600, F, Judgement::Follow),
            (F, F, F, Judgement::Follow),
            // A small step back is none.
            (F - FLOOR_SLACK_S, F, F, Judgement::Follow),
            (F - FLOOR_SLACK_S - 1, F, F, Judgement::Hold(F)),
            // A floor in the far future holds as well: that is what `clock reset` is for.
            (F, F, u64::MAX, Judgement::Hold(u64::MAX)),
        ] {
            assert_eq!(
                judge(system, running, floor),
                expected,
                "{system} {running}"
            );
        }
    }

    #[test]
    fn only_an_unset_clock_is_moved_and_only_forward() {
        for (unset, signed, now, expected) in [
            (true, 1000, 50, Some(1000)),
            (true, 1000, 1000 - FLOOR_SLACK_S, None),
            (true, 1000, 1000, None),
            (true, 1000, 1500, None),
            (false, 1000, 50, None),
            (false, 1000, 1500, None),
        ] {
            assert_eq!(step(unset, signed, now), expected, "{unset} {signed} {now}");
        }
    }
}
