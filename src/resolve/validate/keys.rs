//! The cache of zones: which are signed and with which keys, which are proven insecure.
//!
//! Bounded by count. When it is full, what has run out goes first, then whatever of a small sample
//! would run out soonest: a zone that is lost is only learned again.

use std::collections::HashMap;
use std::time::Duration;

use super::{AsOf, Lifetime, ZoneStatus};
use crate::clock::Now;
use crate::dns::{Ede, Name};

/// Entries that are looked at to find one to drop.
const EVICTION_SAMPLE: usize = 16;
/// A full sweep for expired entries happens at most once in so many insertions.
const SWEEP_INTERVAL_INSERTIONS: usize = 1024;

/// What is known of a zone, and how long.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) status: ZoneStatus,
    pub(super) life: Lifetime,
    /// The as-of data that the chain to this zone goes through.
    pub(super) as_of: Option<AsOf>,
    /// When a signature by a key that is missing here is reason to fetch the keys anew.
    pub(super) refresh_from: Duration,
}

/// The cache.
#[derive(Debug)]
pub(super) struct KeyCache {
    zones: HashMap<Name, Known>,
    zones_max: usize,
    insertions: usize,
    /// Counts the purges of as-of zones.
    epoch: u64,
}

impl KeyCache {
    pub(super) fn new(zones_max: usize) -> KeyCache {
        KeyCache {
            zones: HashMap::new(),
            zones_max: zones_max.max(1),
            insertions: 0,
            epoch: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.zones.len()
    }

    /// Number of purges so far; to be handed to [`KeyCache::insert`].
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The deepest zone known now that is at or above `name` and at or below `top`.
    pub(super) fn deepest(&self, name: &Name, top: &Name, now: Now) -> Option<(Name, Known)> {
        (top.label_count()..=name.label_count())
            .rev()
            .find_map(|n| {
                let zone = name.suffix(n);
                let known = self.zones.get(&zone).filter(|k| k.life.holds(now))?;
                Some((zone, known.clone()))
            })
    }

    /// Why the chain to exactly this name is known to be broken.
    pub(super) fn broken_at(&self, name: &Name, now: Now) -> Option<Ede> {
        let known = self.zones.get(name).filter(|k| k.life.holds(now))?;
        match &known.status {
            ZoneStatus::Bogus(ede) => Some(ede.clone()),
            _ => None,
        }
    }

    /// Keeps what was learned since `epoch`. As-of knowledge from before a purge is left out.
    pub(super) fn insert(&mut self, zone: Name, known: Known, epoch: u64, now: Now) {
        if known.as_of.is_some() && epoch != self.epoch {
            return;
        }
        // A forged link must not push out what is known to be good.
        let bogus = matches!(known.status, ZoneStatus::Bogus(_));
        if bogus && self.zones.get(&zone).is_some_and(|k| k.life.holds(now)) {
            return;
        }
        self.insertions = self.insertions.wrapping_add(1);
        if self.zones.len() >= self.zones_max && !self.zones.contains_key(&zone) {
            self.make_room(now);
        }
        self.zones.insert(zone, known);
    }

    pub(super) fn purge_as_of(&mut self) {
        self.epoch += 1;
        self.zones.retain(|_, known| known.as_of.is_none());
    }

    pub(super) fn flush(&mut self, zone: &Name, tree: bool) -> usize {
        let before = self.zones.len();
        self.zones
            .retain(|name, _| !(name == zone || tree && name.is_within(zone)));
        before - self.zones.len()
    }

    fn make_room(&mut self, now: Now) {
        if self.insertions.is_multiple_of(SWEEP_INTERVAL_INSERTIONS) {
            self.zones.retain(|_, known| known.life.holds(now));
        }
        while self.zones.len() >= self.zones_max {
            let sample = self.zones.iter().take(EVICTION_SAMPLE);
            let soonest = sample.min_by_key(|(_, known)| known.life.mono_end);
            match soonest.map(|(name, _)| name.clone()) {
                Some(name) => self.zones.remove(&name),
                None => return,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn at(s: u64) -> Now {
        Now::new(Duration::from_secs(s), 1_000_000 + s)
    }

    fn insecure(ttl_s: u32, as_of: bool) -> Known {
        Known {
            status: ZoneStatus::Insecure(None),
            life: Lifetime::seconds(at(0), ttl_s),
            as_of: as_of.then(|| {
                AsOf::Mirror(crate::resolve::MirrorNote {
                    zone: Name::root(),
                    serial: 1,
                    age_s: 0,
                    trust: crate::resolve::LocalTrust::SecureAsOf,
                })
            }),
            refresh_from: Duration::ZERO,
        }
    }

    #[test]
    fn the_deepest_living_zone_below_the_top_is_found() {
        let mut cache = KeyCache::new(10);
        for (zone, ttl) in [("a.", 100), ("b.a.", 10), ("c.b.a.", 100)] {
            cache.insert(name(zone), insecure(ttl, false), 0, at(0));
        }
        let find = |cache: &KeyCache, n, top, s| {
            cache
                .deepest(&name(n), &name(top), at(s))
                .map(|(zone, _)| zone.to_string())
        };
        for (n, top, s, expected) in [
            ("x.c.b.a.", ".", 1, Some("c.b.a.")),
            ("x.b.a.", ".", 1, Some("b.a.")),
            ("x.b.a.", ".", 10, Some("a.")),
            ("x.b.a.", "b.a.", 10, None),
            ("z.", ".", 1, None),
        ] {
            assert_eq!(
                find(&cache, n, top, s).as_deref(),
                expected,
                "{n} {top} {s}"
            );
        }
        cache.flush(&name("b.a."), true);
        assert_eq!(find(&cache, "x.c.b.a.", ".", 1).as_deref(), Some("a."));
    }

    #[test]
    fn it_stays_within_its_bound() {
        let mut cache = KeyCache::new(8);
        for i in 0..5000 {
            cache.insert(name(&format!("n{i}.")), insecure(10, false), 0, at(i / 100));
            assert!(cache.len() <= 8);
        }
    }

    #[test]
    fn a_purge_takes_as_of_zones_and_what_was_learned_before_it() {
        let mut cache = KeyCache::new(8);
        cache.insert(name("a."), insecure(10, true), 0, at(0));
        cache.insert(name("b."), insecure(10, false), 0, at(0));
        cache.purge_as_of();
        assert_eq!(cache.len(), 1);
        cache.insert(name("a."), insecure(10, true), 0, at(0));
        assert_eq!(cache.len(), 1);
        cache.insert(name("a."), insecure(10, true), cache.epoch(), at(0));
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn a_signature_that_ran_out_by_the_wall_ends_a_life() {
        let life = Lifetime {
            mono_end: Duration::from_secs(10),
            wall_start_s: 100,
            wall_end_s: 200,
        };
        for (mono, wall, holds) in [
            (0, 100, true),
            (0, 200, true),
            (0, 99, false),
            (0, 201, false),
            (10, 150, false),
        ] {
            assert_eq!(life.holds(Now::new(Duration::from_secs(mono), wall)), holds);
        }
    }
}
