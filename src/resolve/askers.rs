//! Who asks for names below zones of which too many lead to nothing, and how often.
//!
//! Why: what such a zone's servers are still asked has to be shared (`denials`). A flood takes all of it, for it asks a hundred times as often as everybody
//! else together; who wants a name that exists and that nobody asked for before looks like one more of its questions. What tells them apart is
//! how often their network asks below that very zone.
//!
//! Model: a network (a /24 or /56) is *rare* at a zone as long as it has asked no more than `RARE_MAX` times in the window of time that goes on and
//! in the one before. It is counted only at zones that are short of credit.
//!
//! Failure: of more than `COUNTED_MAX` networks and zones in a window, those not counted yet are not rare: then all are treated alike.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::clock::Now;

/// Networks at zones that are counted in a window: a megabyte.
const COUNTED_MAX: usize = 1 << 15;
/// A window of time, in seconds.
const WINDOW_S: u64 = 10;
/// Questions in two of them.
const RARE_MAX: u32 = 5;

/// The network of a client; by default nobody's, who is always rare.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asker(u64);

impl Asker {
    /// That of an address.
    pub fn of(address: IpAddr) -> Asker {
        Asker(match address.to_canonical() {
            IpAddr::V4(ip) => 1 << 63 | u64::from(ip.to_bits() >> 8),
            IpAddr::V6(ip) => 1 << 62 | (ip.to_bits() >> 72) as u64,
        })
    }
}

impl Asker {
    /// Whether it is the network of a client.
    pub(super) fn is_somebody(self) -> bool {
        self != Asker::default()
    }
}

/// What each has asked.
#[derive(Debug, Default)]
pub(super) struct Askers {
    window: u64,
    present: HashMap<(u64, Asker), u32>,
    before: HashMap<(u64, Asker), u32>,
}

impl Askers {
    /// Counts a question below the zone with this number; whether its asker is rare there.
    pub fn is_rare(&mut self, zone: u64, asker: Asker, now: Now) -> bool {
        if !asker.is_somebody() {
            return true;
        }
        self.roll(now);
        let key = (zone, asker);
        let has_room = self.present.len() < COUNTED_MAX;
        let before = self.before.get(&key).copied().unwrap_or(0);
        match self.present.get_mut(&key) {
            Some(count) => {
                *count = count.saturating_add(1);
                *count + before <= RARE_MAX
            }
            None if has_room => {
                self.present.insert(key, 1);
                before < RARE_MAX
            }
            None => false,
        }
    }

    /// Whether he was rare there when he was counted last.
    pub fn was_rare(&self, zone: u64, asker: Asker) -> bool {
        let counted = |of: &HashMap<_, u32>| of.get(&(zone, asker)).copied().unwrap_or(0);
        (1..=RARE_MAX).contains(&(counted(&self.present) + counted(&self.before)))
    }

    fn roll(&mut self, now: Now) {
        let of_now = now.mono.as_secs() / WINDOW_S;
        match of_now.saturating_sub(self.window) {
            0 => return,
            1 => self.before = std::mem::take(&mut self.present),
            _ => {
                self.before.clear();
                self.present.clear();
            }
        }
        self.window = of_now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(s: u64) -> Now {
        Now::new(Duration::from_secs(s), 0)
    }

    #[test]
    fn who_asks_little_is_rare_until_he_asks_much() {
        let mut askers = Askers::default();
        let asker = |address: &str| Asker::of(address.parse().unwrap());
        let some = asker("192.0.2.1");
        assert_eq!(some, asker("::ffff:192.0.2.200"));
        assert_ne!(some, asker("192.0.3.1"));
        assert_eq!(asker("2001:db8::1"), asker("2001:db8:0:ff::1"));
        assert_ne!(asker("2001:db8::1"), asker("2001:db8:0:100::1"));
        let rare: Vec<bool> = (0..7).map(|_| askers.is_rare(1, some, at(5))).collect();
        assert_eq!(rare, [true, true, true, true, true, false, false]);
        // Others, and he elsewhere.
        assert!(askers.is_rare(1, asker("192.0.3.1"), at(5)));
        assert!(askers.is_rare(2, some, at(5)));
        assert!((0..9).all(|_| askers.is_rare(1, Asker::default(), at(5))));
        // What he asked counts for the window after it, too, and then no more.
        assert!(!askers.is_rare(1, some, at(15)));
        assert!(askers.is_rare(1, some, at(25)));
        assert!(askers.is_rare(1, some, at(60)));
        // Both windows together, and neither after a pause.
        let rare: Vec<bool> = [100, 100, 100, 110, 110, 110]
            .map(|s| askers.is_rare(1, some, at(s)))
            .to_vec();
        assert_eq!(rare, [true, true, true, true, true, false]);
        for s in [120, 130] {
            let rare = (0..9).filter(|_| askers.is_rare(1, some, at(s)));
            assert!(rare.count() < 6, "{s}");
        }
        assert!(askers.is_rare(1, some, at(160)));
    }

    #[test]
    fn those_that_cannot_be_counted_are_not_rare() {
        let mut askers = Askers::default();
        for n in 0..COUNTED_MAX as u64 {
            assert!(askers.is_rare(n, Asker(1), at(0)));
        }
        assert!(!askers.is_rare(COUNTED_MAX as u64, Asker(1), at(0)));
        assert!(askers.is_rare(0, Asker(1), at(0)));
        assert_eq!(askers.present.len(), COUNTED_MAX);
    }
}
