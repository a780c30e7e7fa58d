//! Fair shares: how many questions may wait for the servers of one zone, and how many for anybody.
//!
//! Why: a question that nobody answers takes seconds, one that somebody does takes milliseconds. So when the servers of one busy
//! zone fall silent, questions for its names pile up until there is no place left for any other, and a resolver that could answer
//! nearly everything answers nothing. Places are shared out so that those who wait in vain never take those of the others.
//!
//! Model: each step of an iteration, at one zone's servers, holds a [`Place`] of that zone. A place is *prompt* until the question has
//! waited there for [`PROMPT_FOR`]; then it is one that *waits*. A zone is the zone whose servers are asked: where those of a
//! top-level zone are silent, all names that can be found only through them count for it, and no name below a known delegation does.
//!
//! | | of one zone | of all |
//! |---|---|---|
//! | prompt | half of what is free, or `zone_max` | [`PLACES_MAX`], those that wait included |
//! | waiting | `zone_max` (`limits.upstream_per_zone_max`) | half of `PLACES_MAX` |
//!
//! Where as many wait at a zone as may, and nothing has been heard from it for [`HEARD_FOR`], no new question is let in. While
//! something is heard there may be names that are answered beside those that are not: each gets its prompt try. Where it is heard too often
//! that a name does not exist, `denials` may close the door.
//!
//! Failure: who has no place, or loses it, is told so at once ([`Crowded`]); that says nothing of the zone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::askers::Asker;
pub use super::denials::Outcome;
use super::denials::{Denials, FloodedZone, Stake};
use crate::clock::Now;
use crate::dns::Name;

/// Steps under way at a time.
pub const PLACES_MAX: usize = 20_000;
/// Of these, the ones that have waited for longer than most answers take.
const WAITING_MAX: usize = PLACES_MAX / 2;
/// So long a question may take at a zone without being one that waits.
pub const PROMPT_FOR: Duration = Duration::from_millis(400);
/// So long after an answer a zone's servers are expected to answer others.
const HEARD_FOR: Duration = Duration::from_secs(1);
/// After a question has found no place it is looked for so long whether the next one would.
const LOOK_FOR: Duration = Duration::from_millis(100);
/// Zones that are remembered for having been crowded, and for how long after the last time.
const CROWDED_MAX: usize = 1000;
const CROWDED_FOR: Duration = Duration::from_secs(60);

/// There is no place for a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// So many wait for the servers of its zone already.
    Zone(usize),
    /// Too many wait for servers of any zone.
    All,
    /// As many questions as may are outstanding at its servers (`seats`).
    Servers,
    /// Too many names of its zone do not exist.
    Denials,
}

impl std::fmt::Display for Crowded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Crowded::Zone(waiting) => {
                write!(f, "{waiting} questions wait for its servers already")
            }
            Crowded::Servers => write!(f, "too many questions are outstanding at its servers"),
            Crowded::Denials => write!(f, "too many of the names that are asked for do not exist"),
            Crowded::All => write!(f, "too many questions wait for servers that do not answer"),
        }
    }
}

/// A zone whose share is, or was just now, used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrowdedZone {
    /// The zone.
    pub zone: Name,
    /// Since when, seconds since 1970.
    pub since_s: u64,
    /// Questions that wait for its servers.
    pub waiting: usize,
    /// Questions that found no place.
    pub refused: u64,
}

/// How a question comes to servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To those of its zone.
    Usual,
    /// The same, and it was let in for the sake of who asks little, although too many names there do not exist.
    LetIn,
    /// To forwarders, which are asked for all zones, without a zone's limit.
    Forwarded,
}

/// All places.
#[derive(Debug)]
pub struct Shares {
    /// `None` for no such limit.
    zone_max: Option<usize>,
    tables: Mutex<Tables>,
    limits_denials: bool,
    /// Monotonic milliseconds until which some zone may let nobody in: while there is none, nobody has to look.
    closed_until_ms: AtomicU64,
}

#[derive(Debug, Default)]
struct Tables {
    zones: HashMap<Name, Zone>,
    crowded: HashMap<Name, Refusals>,
    denials: Denials,
    prompt: usize,
    waiting: usize,
}

/// The places of a zone.
#[derive(Debug, Default)]
struct Zone {
    prompt: usize,
    waiting: usize,
    heard_at: Option<Duration>,
}

#[derive(Debug)]
struct Refusals {
    since_s: u64,
    last: Duration,
    count: u64,
}

impl Shares {
    /// `zone_max`: questions that may wait for the servers of one zone; 0 for no such limit.
    pub fn new(zone_max: usize) -> Arc<Shares> {
        Shares::limited(zone_max, 0)
    }

    /// As [`Shares::new`], with a limit on what the servers of one zone may deny per second; 0 for none.
    pub fn limited(zone_max: usize, denials_per_s: u32) -> Arc<Shares> {
        Arc::new(Shares {
            zone_max: (zone_max > 0).then_some(zone_max),
            limits_denials: denials_per_s > 0,
            closed_until_ms: AtomicU64::new(0),
            tables: Mutex::new(Tables {
                denials: Denials::new(denials_per_s),
                ..Tables::default()
            }),
        })
    }

    /// Zones below which many names that do not exist are asked for, or were within the last minute; the worst first.
    pub fn flooded(&self, now: Now) -> Vec<FloodedZone> {
        self.tables().denials.flooded(now)
    }

    /// Questions that were not asked because their zone denies too much.
    pub fn refused_for_denials(&self) -> u64 {
        self.tables().denials.refused()
    }

    /// A place at the servers of `zone`.
    ///
    /// # Errors
    /// There is none.
    pub fn enter(self: &Arc<Self>, zone: &Name, way: Way, now: Now) -> Result<Place, Crowded> {
        let apart = way == Way::Forwarded;
        let zone_max = self.zone_max.filter(|_| !apart);
        let mut tables = self.tables();
        if way == Way::Usual && !tables.denials.may_ask(zone, now) {
            self.expect_refusals(now);
            return Err(Crowded::Denials);
        }
        let free = PLACES_MAX.saturating_sub(tables.prompt + tables.waiting);
        let known = tables.zones.get(zone);
        let (prompt, waiting) = known.map_or((0, 0), |z| (z.prompt, z.waiting));
        let refusal = match zone_max {
            _ if free == 0 => Some(Crowded::All),
            Some(max) if prompt >= max.max(free / 2) => Some(Crowded::Zone(waiting + prompt)),
            _ => tables.waits_in_vain(zone, zone_max, now),
        };
        if let Some(crowded) = refusal {
            tables.refused(zone, now);
            self.expect_refusals(now);
            return Err(crowded);
        }
        tables.prompt += 1;
        tables.zones.entry(zone.clone()).or_default().prompt += 1;
        Ok(Place {
            shares: self.clone(),
            zone: zone.clone(),
            zone_max,
            apart,
            waits: false,
        })
    }

    /// Begins the work on a client's question, whose deepest known servers are those of `zone`.
    ///
    /// # Errors
    /// Too many questions of its zone lead to nothing.
    pub fn begin(self: &Arc<Self>, zone: &Name, asker: Asker, now: Now) -> Result<Begun, Crowded> {
        match self.tables().denials.stake(zone, asker, now) {
            Some(stake) => Ok(Begun {
                shares: self.clone(),
                zone: zone.clone(),
                stake: Some(stake),
            }),
            None => {
                self.expect_refusals(now);
                Err(Crowded::Denials)
            }
        }
    }

    /// Whether questions that lead to nothing are limited at all.
    pub fn limits_denials(&self) -> bool {
        self.limits_denials
    }

    /// Whether some zone may refuse questions at present; costs next to nothing.
    pub fn may_refuse(&self, now: Now) -> bool {
        (now.mono.as_millis() as u64) < self.closed_until_ms.load(Ordering::Relaxed)
    }

    /// Why a client's question to the servers of `zone` would be refused now; then it is counted as refused. One that is not is to [`Shares::begin`] soon.
    pub fn refuses(&self, zone: &Name, asker: Asker, now: Now) -> Option<Crowded> {
        let mut tables = self.tables();
        let refusal = match tables.denials.may_come(zone, asker, now) {
            false => Some(Crowded::Denials),
            true => tables.waits_in_vain(zone, self.zone_max, now),
        };
        if matches!(refusal, Some(Crowded::Zone(_))) {
            tables.refused(zone, now);
        }
        if refusal.is_some() {
            self.expect_refusals(now);
        }
        refusal
    }

    fn expect_refusals(&self, now: Now) {
        let until_ms = (now.mono + LOOK_FOR).as_millis() as u64;
        self.closed_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    /// Zones whose share is used up, or was within the last minute.
    pub fn crowded(&self, now: Now) -> Vec<CrowdedZone> {
        let tables = self.tables();
        let lasting = tables.crowded.iter().filter(|(_, r)| r.lasts(now));
        let mut zones: Vec<CrowdedZone> = lasting
            .map(|(zone, refusals)| CrowdedZone {
                zone: zone.clone(),
                since_s: refusals.since_s,
                waiting: tables.zones.get(zone).map_or(0, |z| z.waiting),
                refused: refusals.count,
            })
            .collect();
        zones.sort_by(|a, b| a.zone.cmp(&b.zone));
        zones
    }

    /// Whether servers of the zone are being asked.
    pub fn is_asked(&self, zone: &Name) -> bool {
        self.tables().zones.contains_key(zone)
    }

    /// Whether a question has been put to servers of the zone so lately that its answer may be on the way.
    pub fn is_prompt(&self, zone: &Name) -> bool {
        self.tables().zones.get(zone).is_some_and(|z| z.prompt > 0)
    }

    /// Questions that are being asked, and those of them that wait.
    pub fn under_way(&self) -> (usize, usize) {
        let tables = self.tables();
        (tables.prompt + tables.waiting, tables.waiting)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Sound between any two operations.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Zone {
    fn is_heard(&self, now: Now) -> bool {
        self.heard_at.is_some_and(|at| now.mono < at + HEARD_FOR)
    }
}

impl Refusals {
    fn lasts(&self, now: Now) -> bool {
        now.mono < self.last + CROWDED_FOR
    }
}

impl Tables {
    /// As many wait for the zone's servers as may, and nothing is heard of them.
    fn waits_in_vain(&self, zone: &Name, zone_max: Option<usize>, now: Now) -> Option<Crowded> {
        let known = self.zones.get(zone)?;
        let is_full = known.waiting >= zone_max? && !known.is_heard(now);
        is_full.then_some(Crowded::Zone(known.waiting))
    }

    fn refused(&mut self, zone: &Name, now: Now) {
        self.crowded.retain(|_, r| r.lasts(now));
        if self.crowded.len() >= CROWDED_MAX && !self.crowded.contains_key(zone) {
            return;
        }
        let row = self.crowded.entry(zone.clone()).or_insert(Refusals {
            since_s: now.wall_s,
            last: now.mono,
            count: 0,
        });
        (row.last, row.count) = (now.mono, row.count + 1);
    }
}

/// A client's question under way, until it is said what became of it.
#[derive(Debug)]
pub struct Begun {
    shares: Arc<Shares>,
    zone: Name,
    /// Until it is settled.
    stake: Option<Stake>,
}

impl Begun {
    /// The zone, if its servers may be asked only because the client asks little there.
    pub fn let_in(&self) -> Option<&Name> {
        let is_apart = self.stake.is_some_and(|stake| stake.is_apart);
        is_apart.then_some(&self.zone)
    }

    /// What became of it.
    pub fn end(mut self, outcome: Outcome, now: Now) {
        self.settle(outcome, now);
    }
}

impl Begun {
    fn settle(&mut self, outcome: Outcome, now: Now) {
        if let Some(stake) = self.stake.take() {
            let mut tables = self.shares.tables();
            tables.denials.settle(&self.zone, stake, outcome, now);
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.settle(Outcome::Unknown, Now::default());
    }
}

/// The place of one question at the servers of one zone, until it is dropped.
#[derive(Debug)]
pub struct Place {
    shares: Arc<Shares>,
    zone: Name,
    zone_max: Option<usize>,
    apart: bool,
    waits: bool,
}

impl Place {
    /// The question has been here for [`PROMPT_FOR`], and nothing was heard.
    ///
    /// # Errors
    /// As many wait already as may.
    pub fn wait(&mut self, now: Now) -> Result<(), Crowded> {
        if self.waits {
            return Ok(());
        }
        let mut tables = self.shares.tables();
        let waiting = tables.zones.get(&self.zone).map_or(0, |z| z.waiting);
        let refusal = match self.zone_max {
            Some(max) if waiting >= max => Some(Crowded::Zone(waiting)),
            _ if tables.waiting >= WAITING_MAX => Some(Crowded::All),
            _ => None,
        };
        if let Some(crowded) = refusal {
            tables.refused(&self.zone, now);
            return Err(crowded);
        }
        self.waits = true;
        (tables.prompt, tables.waiting) = (tables.prompt - 1, tables.waiting + 1);
        if let Some(zone) = tables.zones.get_mut(&self.zone) {
            (zone.prompt, zone.waiting) = (zone.prompt - 1, zone.waiting + 1);
        }
        Ok(())
    }

    /// A server of the zone has said that the name does not exist.
    pub fn denied(&self, now: Now) {
        if !self.apart {
            self.shares.tables().denials.note(&self.zone, now);
        }
    }

    /// A server of the zone has said something of use: it will say more.
    pub fn heard(&mut self, now: Now) {
        let mut tables = self.shares.tables();
        if std::mem::take(&mut self.waits) {
            (tables.prompt, tables.waiting) = (tables.prompt + 1, tables.waiting - 1);
            if let Some(zone) = tables.zones.get_mut(&self.zone) {
                (zone.prompt, zone.waiting) = (zone.prompt + 1, zone.waiting - 1);
            }
        }
        if let Some(zone) = tables.zones.get_mut(&self.zone) {
            zone.heard_at = Some(now.mono);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tables = self.shares.tables();
        let Some(zone) = tables.zones.get_mut(&self.zone) else {
            return;
        };
        match self.waits {
            true => zone.waiting -= 1,
            false => zone.prompt -= 1,
        }
        if zone.prompt + zone.waiting == 0 {
            tables.zones.remove(&self.zone);
        }
        match self.waits {
            true => tables.waiting -= 1,
            false => tables.prompt -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::name;

    fn at(ms: u64) -> Now {
        Now {
            mono: Duration::from_millis(ms),
            ..Now::default()
        }
    }

    fn enter(shares: &Arc<Shares>, zone: &str, ms: u64) -> Result<Place, Crowded> {
        shares.enter(&name(zone), Way::Usual, at(ms))
    }

    #[test]
    fn who_waits_takes_only_the_share_of_its_zone() {
        let shares = Shares::new(3);
        let mut all: Vec<Place> = (0..10).map(|_| enter(&shares, "a.", 0).unwrap()).collect();
        let waits = all.iter_mut().map(|place| place.wait(at(400)));
        let refused = waits.filter(Result::is_err);
        assert_eq!(refused.count(), 7);
        all.truncate(3);
        // Nobody else is let in, for as long as nothing is heard; other zones are not concerned.
        assert_eq!(enter(&shares, "a.", 500).err(), Some(Crowded::Zone(3)));
        assert!(enter(&shares, "b.", 500).is_ok());
        assert_eq!(shares.under_way(), (3, 3));
        assert!(!shares.is_prompt(&name("a.")) && shares.is_asked(&name("a.")));
        let place = enter(&shares, "b.", 500);
        assert!(shares.is_prompt(&name("b.")));
        drop(place);
        let [zone] = &shares.crowded(at(500))[..] else {
            panic!("one zone");
        };
        assert_eq!((zone.waiting, zone.refused), (3, 8));
        assert_eq!(shares.crowded(at(61_000)), []);
        // Who has heard something waits no more, and others get their try.
        all[0].heard(at(600));
        let mut fourth = enter(&shares, "a.", 700).unwrap();
        assert_eq!(fourth.wait(at(1100)), Ok(()));
        let mut fifth = enter(&shares, "a.", 1500).unwrap();
        assert_eq!(fifth.wait(at(1900)), Err(Crowded::Zone(3)));
        assert_eq!(enter(&shares, "a.", 1900).err(), Some(Crowded::Zone(3)));
        drop((all, fourth, fifth));
        assert_eq!(shares.under_way(), (0, 0));
        assert!(enter(&shares, "a.", 1900).is_ok());
    }

    #[test]
    fn no_zone_takes_all_places_at_once() {
        let shares = Shares::new(200);
        let of = |zone: &str| -> Vec<Place> {
            (0..PLACES_MAX)
                .map_while(|_| enter(&shares, zone, 0).ok())
                .collect()
        };
        let first = of("a.");
        // Half of what is free, as that shrinks: a third.
        assert_eq!(first.len(), PLACES_MAX.div_ceil(3));
        let second = of("b.");
        assert!(second.len() > PLACES_MAX / 5, "{}", second.len());
        assert!(enter(&shares, "c.", 0).is_ok());
    }

    #[test]
    fn half_of_all_places_are_for_those_who_do_not_wait() {
        let shares = Shares::new(200);
        let mut waiting = Vec::new();
        for n in 0..PLACES_MAX {
            let mut place = enter(&shares, &format!("z{}.", n / 10), 0).unwrap();
            match place.wait(at(400)) {
                Ok(()) => waiting.push(place),
                Err(crowded) => assert_eq!(crowded, Crowded::All),
            }
        }
        assert_eq!(waiting.len(), WAITING_MAX);
    }

    #[test]
    fn without_a_limit_and_at_forwarders_only_all_are_counted() {
        for (zone_max, way) in [(0, Way::Usual), (3, Way::Forwarded)] {
            let shares = Shares::new(zone_max);
            let enter = |_| shares.enter(&name("a."), way, at(0)).unwrap();
            let mut all: Vec<Place> = (0..50).map(enter).collect();
            assert!(all.iter_mut().all(|place| place.wait(at(400)).is_ok()));
        }
    }
}
