//! Whether somebody answers in everybody's place: a captive portal, or a way out that has been taken over.
//!
//! Why: of a zone that is not signed nobody can tell his answers from true ones. But the same somebody is heard in signed zones too, where nothing
//! that he says validates, or so much as comes with signatures. So while servers of several zones leave out what they must have, and nobody gives
//! anything that validates, what is not signed is taken for the moment only, and when that ends nothing stays of it: not for the hour that its TTL
//! promises, and not as old data or as a way to ask for months to come.
//!
//! Model:
//!
//! ```text
//!         bare data of SERVERS_MIN servers and ZONES_MIN zones, and nothing good between
//!   calm ---------------------------------------------------------------------------------> hijacked
//!     ^                                                                                         |
//!     +------ something validates: what was learned since the last good answer goes ------------+
//! ```
//!
//! After LAPSE without anything bare the shorter life ends as well; what goes then is what goes in the end. Signatures that are wrong show no hijacker: such
//! are made by signers that are broken, or run out.
//!
//! Failure: where nothing signed is asked for, or he makes up signatures, nothing is noticed; where some servers are left alone, what these say ends it. Some zones
//! are served without the signatures that their parents promise: where nothing else is asked for, that passes for a hijack, and what is not signed is asked for more often.
//! So it does where somebody has such zones to bring it about.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Now;
use crate::dns::Name;

/// So many servers, of so many zones, have to leave out signatures.
const SERVERS_MIN: usize = 3;
const ZONES_MIN: usize = 2;
/// Servers with their zones that are remembered.
const NOTED_MAX: usize = 16;
/// Without such data for so long nobody is suspected any more.
const LAPSE: Duration = Duration::from_secs(300);
/// To take away what was learned is work, so between two ends is at least so long: who can bring it about costs no more.
const END_EVERY: Duration = Duration::from_secs(5);
/// What is not signed is taken for so long meanwhile, in seconds.
pub const TTL_MAX_S: u32 = 30;

/// What is known of it; of a copy, as it was then.
#[derive(Debug, Default)]
pub struct Hijack {
    state: Mutex<State>,
    /// Such data was given since the last good answer.
    any: AtomicBool,
    /// Monotonic milliseconds of the last good answer.
    good_at_ms: AtomicU64,
}

#[derive(Debug, Clone, Default)]
struct State {
    bare: Vec<(IpAddr, Name)>,
    last_at: Duration,
    /// The last good answer before.
    since: Duration,
    on: bool,
    /// When it ended the last time.
    ended_at: Option<Duration>,
}

impl Hijack {
    /// Another one that knows the same now: for a world beside this one, in which the same servers are asked.
    pub fn copy(&self) -> Hijack {
        Hijack {
            state: Mutex::new(self.state().clone()),
            any: AtomicBool::new(self.any.load(Ordering::Relaxed)),
            good_at_ms: AtomicU64::new(self.good_at_ms.load(Ordering::Relaxed)),
        }
    }

    /// A server gave data of the zone without the signatures that it must have. True when that shows a hijack that was not known yet.
    pub fn bare(&self, server: IpAddr, zone: &Name, now: Now) -> bool {
        let mut state = self.state();
        if !state.on && now.mono >= state.last_at + LAPSE {
            state.bare.clear();
        }
        if state.bare.is_empty() {
            state.since = Duration::from_millis(self.good_at_ms.load(Ordering::Relaxed));
        }
        state.last_at = now.mono;
        self.any.store(true, Ordering::Relaxed);
        let is_noted = state.bare.iter().any(|(s, z)| *s == server && z == zone);
        if state.on || is_noted || state.bare.len() >= NOTED_MAX {
            return false;
        }
        state.bare.push((server, zone.clone()));
        state.on = distinct(state.bare.iter().map(|(server, _)| server)) >= SERVERS_MIN
            && distinct(state.bare.iter().map(|(_, zone)| zone)) >= ZONES_MIN;
        state.on
    }

    /// A server gave data that validates. Where that ends a hijack: the moment of the last such answer before it, in monotonic time.
    pub fn good(&self, now: Now) -> Option<Duration> {
        let now_ms = u64::try_from(now.mono.as_millis()).unwrap_or(u64::MAX);
        self.good_at_ms.store(now_ms, Ordering::Relaxed);
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let mut state = self.state();
        let is_soon = state.ended_at.is_some_and(|at| now.mono < at + END_EVERY);
        if state.on && is_soon {
            return None;
        }
        self.any.store(false, Ordering::Relaxed);
        let ended_at = match state.on {
            true => Some(now.mono),
            false => state.ended_at,
        };
        let calm = State {
            ended_at,
            ..State::default()
        };
        let state = std::mem::replace(&mut *state, calm);
        state.on.then_some(state.since)
    }

    /// Whether what is not signed is in doubt.
    pub fn is_on(&self, now: Now) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let state = self.state();
        state.on && now.mono < state.last_at + LAPSE
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Sound between any two operations.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn distinct<T: Ord>(items: impl Iterator<Item = T>) -> usize {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.dedup();
    items.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Now {
        Now::new(Duration::from_secs(s), 1_000_000 + s)
    }

    /// `SERVER ZONE` or `good`, a second each from the tenth on; whether it is on in the end.
    fn played(events: &[&str]) -> (Hijack, bool) {
        let hijack = Hijack::default();
        hijack.good(at(5));
        for (s, event) in (10..).zip(events) {
            match event.split_once(' ') {
                Some((server, zone)) => {
                    let server = [192, 0, 2, server.parse().unwrap()].into();
                    hijack.bare(server, &zone.parse().unwrap(), at(s));
                }
                None => _ = hijack.good(at(s)),
            }
        }
        let on = hijack.is_on(at(10 + events.len() as u64));
        (hijack, on)
    }

    #[test]
    fn several_servers_of_several_zones_and_nothing_good_between() {
        for (events, expected) in [
            (&["1 a.", "2 a.", "3 b."][..], true),
            (&["1 a.", "1 b.", "1 c.", "2 a."], false),
            (&["1 a.", "2 a.", "3 a.", "4 a."], false),
            (&["1 a.", "2 a.", "good", "3 b."], false),
            (&["1 a.", "2 a.", "3 b.", "good"], false),
            (&["1 a.", "good", "1 a.", "2 a.", "3 b."], true),
        ] {
            assert_eq!(played(events).1, expected, "{events:?}");
        }
    }

    #[test]
    fn the_end_tells_since_when_nothing_was_good() {
        let (hijack, on) = played(&["1 a.", "2 a.", "3 b."]);
        assert!(on);
        assert_eq!(hijack.good(at(100)), Some(Duration::from_secs(5)));
        assert_eq!(hijack.good(at(101)), None);
        let (hijack, _) = played(&["1 a.", "2 a.", "3 b."]);
        assert!(!hijack.is_on(at(400)));
        // What was learned meanwhile is no better for that.
        assert_eq!(hijack.good(at(400)), Some(Duration::from_secs(5)));
    }

    /// Each end has a whole cache looked through.
    #[test]
    fn it_does_not_end_twice_at_once() {
        let (hijack, _) = played(&["1 a.", "2 a.", "3 b."]);
        let again = |s| {
            for (host, zone) in [(1, "a."), (2, "a."), (3, "b.")] {
                hijack.bare([192, 0, 2, host].into(), &zone.parse().unwrap(), at(s));
            }
        };
        assert_eq!(hijack.good(at(20)), Some(Duration::from_secs(5)));
        again(21);
        assert_eq!(hijack.good(at(22)), None);
        assert!(hijack.is_on(at(22)));
        // Nothing of that is forgotten.
        assert_eq!(hijack.good(at(25)), Some(Duration::from_secs(20)));
        assert!(!hijack.is_on(at(25)));
        // Another world begins as this one is.
        again(40);
        let copy = hijack.copy();
        assert!(copy.is_on(at(40)));
        assert_eq!(copy.good(at(41)), Some(Duration::from_secs(25)));
        assert!(hijack.is_on(at(41)));
    }
}
