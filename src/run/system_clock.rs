//! Follows the system's wall clock.
//!
//! The program's clock runs along the monotonic one from what the system said at start. A machine that boots
//! with a wrong clock has it set minutes later, and one that was suspended wakes up with hours gone by that the
//! monotonic clock did not count: signatures and ages must be judged by the new time, without a restart. A system's
//! clock that stands before the floor is not followed (`holdfast::clock::floor`).

use std::time::Duration;

use holdfast::clock::{Clock, format_utc, system_wall};

/// How often the system's clock is looked at, in seconds.
const LOOK_INTERVAL_S: u64 = 1;
/// A smaller difference is left alone, in seconds: reading two clocks takes time, and NTP slews.
const DRIFT_MIN_S: u64 = 2;
/// A smaller step is not worth a warning, in seconds: no signature is judged otherwise for it.
const STEP_WARN_MIN_S: u64 = 60;

/// Looks at the system's clock again and again, until the task is dropped.
pub async fn follow(clock: Clock) {
    loop {
        tokio::time::sleep(Duration::from_secs(LOOK_INTERVAL_S)).await;
        adopt(&clock, system_wall());
    }
}

/// Sets `clock` to `system` (time since 1970) if they have drifted apart and the floor allows it; returns by how much
/// it was set, in seconds.
pub fn adopt(clock: &Clock, system: Duration) -> u64 {
    let before_s = clock.now().wall_s;
    let drift_s = clock.follow(system, DRIFT_MIN_S);
    let (from, to) = (format_utc(before_s), format_utc(clock.now().wall_s));
    match drift_s {
        0 => {}
        STEP_WARN_MIN_S.. => tracing::warn!(from, to, "the system's clock was set, or stood still"),
        _ => tracing::debug!(from, to, "clock adjusted"),
    }
    drift_s
}

/// Whether the kernel says that nobody has set its clock (adjtimex(2), STA_UNSYNC). Where it does not tell, the clock
/// counts as set.
pub fn is_unset() -> bool {
    // SAFETY: the struct is plain numbers, for which zero is a value; `modes` 0 only reads.
    let (told, status) = unsafe {
        let mut state: libc::timex = std::mem::zeroed();
        let told = libc::adjtimex(&mut state);
        (told, state.status)
    };
    told >= 0 && status & libc::STA_UNSYNC != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_step_of_the_systems_clock_is_followed() {
        let clock = Clock::starting_at(Duration::from_secs(100));
        let check = |system_s, drift_s, wall_s| {
            assert_eq!(adopt(&clock, Duration::from_secs(system_s)), drift_s);
            assert_eq!(clock.now().wall_s, wall_s);
        };
        check(100, 0, 100);
        check(101, 0, 100);
        check(1_785_585_600, 1_785_585_500, 1_785_585_600);
        check(1_785_585_590, 10, 1_785_585_590);
        check(0, 1_785_585_590, 0);
    }
}
