//! Floods of questions that lead to nothing: how many names each zone's servers have denied of late, and how many more are looked for.
//!
//! Why: who asks for random names below somebody's zone gets past every cache, and this resolver becomes the hammer that hits the
//! zone's servers. What proves that nothing exists (RFC 8020, RFC 8198) and copies of zones (mirrors) answer before anything is asked; what is
//! left are zones without such proofs.
//!
//! Model: each NXDOMAIN from a zone's servers is a *denial* of that zone. One with `FLOOD_PER_WINDOW` of them in a window of time
//! is *flooded*, which is told. With `limits.denials_per_zone_s` a zone has credit for so many a second, and no question goes to its
//! servers while that is used up: names that are in the cache are answered, old ones too (RFC 8767), all others fail at once. The root and
//! top-level zones are counted and never limited: below them is everybody else.
//!
//! A client's question that fails for good costs its zone as much as a denial: a zone of traps (servers that cannot be found, signatures that
//! are wrong) is no better than random names. The zone is the deepest one whose servers were known when the question came.
//!
//! What is denied or fails is known only when it has happened, and by then as many more are under way as come in that time. So while a client's
//! question is under way it holds a [`Stake`]: as much of its zone's credit as questions of this zone have been in vain of late. Where most names exist
//! that is next to nothing. Of a zone of which nothing useful has come for a while, and more is under way than it has credit for twice, all is taken to be in vain: traps take
//! their time, and thousands would be under way before the first of them has failed.
//!
//! The last half of the credit is kept for networks that ask little below the zone (`askers`): so a flood cannot take it from who wants a name that exists.
//! At its begin it does all the same: where names used to exist as many are under way as come before the first is denied, and when they are, the zone is in debt for two seconds. So
//! those networks have as much credit *apart*, half as fast, once there is no other. What it leads to counts as everything else does.
//!
//! The threads that listen look here before they make a task, and tasks begin later, many at once. So whoever is let in by such a look is *promised*
//! a stake until his task has one; else each look until then would let in one more for the same credit.
//!
//! Failure: of more than `ZONES_MAX` zones the newest are not counted until others have been quiet.

use std::collections::HashMap;
use std::time::Duration;

use super::askers::{Asker, Askers};
use crate::clock::Now;
use crate::dns::Name;

/// Zones that are counted at a time.
const ZONES_MAX: usize = 4096;
/// Counts are of the window that goes on and of the one before.
const WINDOW: Duration = Duration::from_secs(10);
/// Denials of a zone in both that make a flood: 50 a second.
const FLOOD_PER_WINDOW: u64 = 500;
/// A zone is told of for so long after the last question that was not asked.
const TOLD_FOR: Duration = Duration::from_secs(60);
/// Quiet zones are cleared away this often.
const CLEAR_EVERY: Duration = Duration::from_secs(1);
/// What a zone may have at once, as time at its rate.
const BURST: Duration = Duration::from_secs(1);
/// What of that is kept for networks that ask little below the zone.
const FOR_RARE: Duration = Duration::from_millis(500);
/// What a question costs of as much again that is theirs alone, in questions: so it comes back half as fast.
const APART_COST: u32 = 2;
/// What was promised and not begun is forgotten after one to two of these.
const PROMISE_WINDOW: Duration = Duration::from_millis(500);
/// Questions of a zone that may be under way before something useful has come of one, as time at its rate, and at least.
const UNPROVEN: Duration = Duration::from_secs(2);
const UNPROVEN_MIN: u32 = 64;
/// For so long it has.
const PROVEN_FOR: Duration = Duration::from_secs(10);
/// A smaller share of questions in vain is forgotten with everything else of a quiet zone.
const IN_VAIN_MIN: f32 = 0.01;
/// Of so many questions the share of those in vain is taken, the latest counting most.
const SHARE_OVER: f32 = 32.0;

/// A zone below which many names that do not exist are asked for, or were within the last minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FloodedZone {
    /// The zone.
    pub zone: Name,
    /// Since when, seconds since 1970.
    pub since_s: u64,
    /// Denials in the last 10 to 20 seconds.
    pub denials: u64,
    /// Questions that were not asked.
    pub refused: u64,
}

/// All zones.
#[derive(Debug, Default)]
pub(super) struct Denials {
    /// `None` = they are counted only.
    each: Option<Duration>,
    zones: HashMap<Name, Row>,
    askers: Askers,
    /// Rows that were ever made.
    made: u64,
    cleared_at: Duration,
    refused: u64,
}

#[derive(Debug, Default)]
struct Row {
    /// Its own among all rows that were ever made.
    number: u64,
    window: u64,
    present: u64,
    before: u64,
    /// When its credit will be whole again.
    full_at: Duration,
    /// What part of the questions was in vain of late.
    in_vain: f32,
    /// What the questions under way may cost, and how many they are.
    staked: Duration,
    under_way: u32,
    /// Who was let in and has not begun, in the window that goes on and in the one before.
    promised: [u32; 2],
    promised_window: u64,
    useful_at: Option<Duration>,
    /// When the credit apart will be whole again, and who was let in by it and has not begun.
    apart_full_at: Duration,
    apart_promised: u32,
    flooded_since_s: Option<u64>,
    refused: u64,
    refused_at: Option<Duration>,
}

fn window(now: Now) -> u64 {
    now.mono.as_secs() / WINDOW.as_secs()
}

impl Row {
    fn roll(&mut self, now: Now) {
        let of_now = window(now);
        self.before = match of_now - self.window.min(of_now) {
            0 => return,
            1 => self.present,
            _ => 0,
        };
        (self.window, self.present) = (of_now, 0);
    }

    fn counted(&self, now: Now) -> u64 {
        match window(now).saturating_sub(self.window) {
            0 => self.present + self.before,
            1 => self.present,
            _ => 0,
        }
    }

    /// One more has come to nothing.
    fn pay(&mut self, each: Option<Duration>, now: Now) {
        if let Some(each) = each {
            // No debt beyond what is under way already: the flood ends, and a second later all is as before.
            self.full_at = (self.full_at.max(now.mono) + each).min(now.mono + 2 * BURST);
        }
    }

    fn has_credit(&self, now: Now) -> bool {
        self.has_credit_beside(Duration::ZERO, now)
    }

    fn has_credit_beside(&self, promised: Duration, now: Now) -> bool {
        self.full_at.max(now.mono) + self.staked + promised <= now.mono + BURST
    }

    /// Takes of the credit apart, if there is any.
    fn take_apart(&mut self, each: Duration, now: Now) -> bool {
        if self.apart_full_at <= now.mono {
            // Who was promised something that long ago will not come any more.
            self.apart_promised = 0;
        }
        let full_at = self.apart_full_at.max(now.mono) + APART_COST * each;
        let may = full_at <= now.mono + FOR_RARE.max(APART_COST * each);
        if may {
            self.apart_full_at = full_at;
        }
        may
    }

    /// One of those who were let in by it begins.
    fn keep_apart(&mut self) -> bool {
        let may = self.apart_promised > 0;
        self.apart_promised = self.apart_promised.saturating_sub(1);
        may
    }

    /// What the next question is likely to cost.
    fn expected(&self, each: Duration, now: Now) -> Duration {
        let is_proven = (self.useful_at).is_some_and(|at| now.mono < at + PROVEN_FOR);
        let [present, before] = self.promised;
        let under_way = self.under_way + present + before;
        match is_proven || under_way < UNPROVEN_MIN || each * under_way < UNPROVEN {
            true => each.mul_f32(self.in_vain),
            false => each,
        }
    }

    /// What was promised to those that have not begun.
    fn promised(&mut self, each: Duration, now: Now) -> Duration {
        let of_now = (now.mono.as_millis() / PROMISE_WINDOW.as_millis()) as u64;
        self.promised = match of_now.saturating_sub(self.promised_window) {
            0 => self.promised,
            1 => [0, self.promised[0]],
            _ => [0, 0],
        };
        self.promised_window = of_now;
        let [present, before] = self.promised;
        self.expected(each, now) * (present + before)
    }

    /// One of those has begun.
    fn keep_promise(&mut self) {
        let [present, before] = &mut self.promised;
        match *before {
            0 => *present = present.saturating_sub(1),
            _ => *before -= 1,
        }
    }

    /// There is nothing to remember.
    fn is_quiet(&self, now: Now) -> bool {
        let is_whole = self.full_at <= now.mono && self.apart_full_at <= now.mono;
        let is_idle = self.under_way == 0 && self.staked.is_zero() && is_whole;
        is_idle && self.in_vain < IN_VAIN_MIN && self.counted(now) == 0 && !self.is_told(now)
    }

    fn is_told(&self, now: Now) -> bool {
        let refused = (self.refused_at).is_some_and(|at| now.mono < at + TOLD_FOR);
        refused || self.counted(now) >= FLOOD_PER_WINDOW
    }
}

/// What became of a client's question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Useful,
    /// Its name does not exist; who said so has been noted.
    Denied,
    /// It failed, and will again.
    Failed,
    /// That says nothing of its zone.
    Unknown,
}

/// What a question under way may cost its zone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stake {
    cost: Duration,
    /// The zone had no credit but that of networks that ask little.
    pub is_apart: bool,
}

impl Denials {
    /// So many a second and zone; 0 for no limit.
    pub fn new(per_s: u32) -> Denials {
        Denials {
            each: (per_s > 0).then(|| Duration::from_secs(1) / per_s),
            ..Denials::default()
        }
    }

    /// A server of the zone has denied a name.
    pub fn note(&mut self, zone: &Name, now: Now) {
        if !self.has_room(zone, now) {
            return;
        }
        let each = self.each;
        let row = self.row(zone);
        row.roll(now);
        row.present += 1;
        row.pay(each, now);
        match row.is_told(now) {
            true => drop(row.flooded_since_s.get_or_insert(now.wall_s)),
            false => row.flooded_since_s = None,
        }
    }

    /// Whether the zone's servers may be asked; a refusal is counted.
    pub fn may_ask(&mut self, zone: &Name, now: Now) -> bool {
        self.may(zone, now, |row, _, _| row.has_credit(now))
    }

    /// Whether a task may be made for a client's question, which is to [`Denials::stake`] soon; a refusal is counted.
    pub fn may_come(&mut self, zone: &Name, asker: Asker, now: Now) -> bool {
        self.may(zone, now, |row, each, askers| {
            let promised = row.promised(each, now);
            let may = match row.has_credit_beside(promised + FOR_RARE, now) {
                true => true,
                // Counted even where there is no credit at all.
                false if !askers.is_rare(row.number, asker, now) => false,
                false => row.has_credit_beside(promised, now),
            };
            if may {
                row.promised[0] += 1;
                return true;
            }
            let is_let_in = asker.is_somebody()
                && askers.was_rare(row.number, asker)
                && row.take_apart(each, now);
            row.apart_promised += u32::from(is_let_in);
            is_let_in
        })
    }

    fn may(
        &mut self,
        zone: &Name,
        now: Now,
        is_free: impl FnOnce(&mut Row, Duration, &mut Askers) -> bool,
    ) -> bool {
        let (Some(each), Some(row)) = (self.each, self.zones.get_mut(zone)) else {
            return true;
        };
        if !is_limited(zone) || is_free(row, each, &mut self.askers) {
            return true;
        }
        row.refused += 1;
        row.refused_at = Some(now.mono);
        row.flooded_since_s.get_or_insert(now.wall_s);
        self.refused += 1;
        false
    }

    /// The row of a zone, made if there is none.
    fn row(&mut self, zone: &Name) -> &mut Row {
        self.zones.entry(zone.clone()).or_insert_with(|| {
            self.made += 1;
            Row {
                number: self.made,
                ..Row::default()
            }
        })
    }

    /// Whether a client's question may be looked for, and what it stakes until [`Denials::settle`]; a refusal is counted.
    pub fn stake(&mut self, zone: &Name, asker: Asker, now: Now) -> Option<Stake> {
        let Some(each) = self.each else {
            return Some(Stake::default());
        };
        if is_limited(zone) && self.has_room(zone, now) {
            self.row(zone).keep_promise();
        }
        let mut is_apart = false;
        let may = self.may(zone, now, |row, each, askers| {
            if row.has_credit(now) {
                return true;
            }
            let number = row.number;
            is_apart = asker.is_somebody()
                && (askers.was_rare(number, asker) && row.keep_apart()
                    || askers.is_rare(number, asker, now) && row.take_apart(each, now));
            is_apart
        });
        if !may {
            return None;
        }
        let Some(row) = self.zones.get_mut(zone) else {
            return Some(Stake::default());
        };
        let cost = row.expected(each, now);
        row.staked += cost;
        row.under_way += 1;
        Some(Stake { cost, is_apart })
    }

    /// What became of a client's question, and what it had staked.
    pub fn settle(&mut self, zone: &Name, stake: Stake, outcome: Outcome, now: Now) {
        if self.each.is_none() {
            return;
        }
        let Some(row) = self.zones.get_mut(zone) else {
            return;
        };
        row.staked = row.staked.saturating_sub(stake.cost);
        row.under_way = row.under_way.saturating_sub(1);
        let in_vain = match outcome {
            Outcome::Useful => 0.0,
            Outcome::Denied => 1.0,
            Outcome::Failed => {
                row.roll(now);
                row.pay(self.each, now);
                1.0
            }
            Outcome::Unknown => return,
        };
        row.in_vain += (in_vain - row.in_vain) / SHARE_OVER;
        if outcome == Outcome::Useful {
            row.useful_at = Some(now.mono);
            if row.is_quiet(now) {
                self.zones.remove(zone);
            }
        }
    }

    /// Zones that are flooded, or were within the last minute.
    pub fn flooded(&self, now: Now) -> Vec<FloodedZone> {
        let told = self.zones.iter().filter(|(_, row)| row.is_told(now));
        let mut zones: Vec<FloodedZone> = told
            .map(|(zone, row)| FloodedZone {
                zone: zone.clone(),
                since_s: row.flooded_since_s.unwrap_or(now.wall_s),
                denials: row.counted(now),
                refused: row.refused,
            })
            .collect();
        zones.sort_by(|a, b| b.denials.cmp(&a.denials).then_with(|| a.zone.cmp(&b.zone)));
        zones
    }

    /// Questions that were not asked, of all zones since the start.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether the zone is counted, or may be.
    fn has_room(&mut self, zone: &Name, now: Now) -> bool {
        if self.zones.contains_key(zone) {
            return true;
        }
        self.clear_away(now);
        self.zones.len() < ZONES_MAX
    }

    fn clear_away(&mut self, now: Now) {
        if self.zones.len() < ZONES_MAX || now.mono < self.cleared_at + CLEAR_EVERY {
            return;
        }
        self.cleared_at = now.mono;
        self.zones.retain(|_, row| {
            let is_counted = row.counted(now) > 1 || row.full_at > now.mono;
            is_counted || row.is_told(now) || row.under_way > 0
        });
    }
}

/// Below the root and top-level zones is everybody else.
fn is_limited(zone: &Name) -> bool {
    zone.label_count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::name;

    fn at(ms: u64) -> Now {
        Now::new(Duration::from_millis(ms), 1_700_000_000 + ms / 1000)
    }

    #[test]
    fn a_zone_with_many_denials_is_told_and_limited() {
        let mut denials = Denials::new(20);
        let zone = name("victim.example.");
        // As many as there is credit for, and those that were under way.
        for ms in 0..25 {
            assert_eq!(denials.may_ask(&zone, at(ms)), ms < 21, "{ms}");
            denials.note(&zone, at(ms));
        }
        assert!(denials.may_ask(&name("other.example."), at(30)));
        let [told] = &denials.flooded(at(30))[..] else {
            panic!("one zone");
        };
        let expected = (zone.clone(), 1_700_000_000, 25, 4);
        let told = (told.zone.clone(), told.since_s, told.denials, told.refused);
        assert_eq!(told, expected);
        // Credit grows again, at its rate; answers cost none.
        let asked = (0..10_000).step_by(10).filter(|ms| {
            let may = denials.may_ask(&zone, at(1000 + ms));
            if may {
                denials.note(&zone, at(1000 + ms));
            }
            may
        });
        let asked = asked.count();
        assert!((190..=225).contains(&asked), "{asked}");
        let existing = (20_000..21_000).filter(|ms| denials.may_ask(&zone, at(*ms)));
        assert_eq!(existing.count(), 1000);
        assert!(!denials.flooded(at(69_000)).is_empty());
        assert!(denials.flooded(at(75_000)).is_empty());
    }

    /// Where nearly everything is in vain no more are under way than may be; where most is of use, they are not held up.
    #[test]
    fn what_is_under_way_counts_for_as_much_as_is_in_vain() {
        const ANSWER_AFTER_MS: u64 = 200;
        for (denied_of_10, expected) in [(10, 95..=150), (1, 990..=1001)] {
            let mut denials = Denials::new(100);
            let zone = name("victim.example.");
            let mut under_way = std::collections::VecDeque::new();
            let mut asked = 0;
            // 1000 questions a second; the flood has gone on for some time when it is counted.
            for ms in 0..6000 {
                while under_way.front().is_some_and(|(due, _, _)| *due <= ms) {
                    let (_, is_denied, stake) = under_way.pop_front().unwrap();
                    if is_denied {
                        denials.note(&zone, at(ms));
                    }
                    let outcome = [Outcome::Useful, Outcome::Denied][usize::from(is_denied)];
                    denials.settle(&zone, stake, outcome, at(ms));
                }
                if let Some(stake) = denials.stake(&zone, Asker::default(), at(ms)) {
                    asked += u64::from(ms >= 5000);
                    under_way.push_back((ms + ANSWER_AFTER_MS, ms % 10 < denied_of_10, stake));
                }
            }
            assert!(expected.contains(&asked), "{denied_of_10} of 10: {asked}");
        }
    }

    #[test]
    fn failures_cost_as_much_as_denials_and_are_no_flood_of_names() {
        let mut denials = Denials::new(20);
        let zone = name("trap.example.");
        let fails = |denials: &mut Denials, ms| match denials.stake(&zone, Asker::default(), at(ms))
        {
            Some(stake) => {
                denials.settle(&zone, stake, Outcome::Failed, at(ms));
                true
            }
            None => false,
        };
        let failed = (0..1000).filter(|ms| fails(&mut denials, *ms)).count();
        assert!((38..=42).contains(&failed), "{failed}");
        assert_eq!(
            (denials.flooded(at(999))[0].denials, denials.refused()),
            (0, 1000 - failed as u64)
        );
        // What is given up for other reasons is forgotten.
        for ms in 10_000..10_500 {
            let stake = denials.stake(&zone, Asker::default(), at(ms)).unwrap();
            denials.settle(&zone, stake, Outcome::Unknown, at(ms));
        }
        let mut unlimited = Denials::new(0);
        assert!((0..1000).all(|ms| fails(&mut unlimited, ms)));
        assert!(unlimited.zones.is_empty());
    }

    /// Traps take their time. So do good servers, and once one has answered all may come.
    #[test]
    fn no_more_are_under_way_than_a_zone_has_shown_to_be_worth() {
        let mut denials = Denials::new(50);
        let zone = name("new.example.");
        let begin = |denials: &mut Denials, ms: u64| {
            let stakes = (0..1000).filter_map(|_| denials.stake(&zone, Asker::default(), at(ms)));
            stakes.collect::<Vec<_>>()
        };
        let stakes = begin(&mut denials, 0);
        // Two seconds' worth, and what it has credit for.
        assert_eq!(stakes.len(), 100 + 51);
        assert!(begin(&mut denials, 900).is_empty());
        denials.settle(&zone, stakes[0], Outcome::Useful, at(1000));
        assert!(begin(&mut denials, 1001).is_empty());
        for stake in &stakes[1..] {
            denials.settle(&zone, *stake, Outcome::Useful, at(1100));
        }
        let stakes = begin(&mut denials, 1200);
        assert_eq!(stakes.len(), 1000);
        for stake in stakes {
            denials.settle(&zone, stake, Outcome::Useful, at(62_000));
        }
        // What is well, and told of no more, needs no row.
        assert!(denials.zones.is_empty());
    }

    /// However many looks there are before the first task begins, they let in no more than there is credit for.
    #[test]
    fn who_is_let_in_and_has_not_begun_counts() {
        let mut denials = Denials::new(20);
        let zone = name("trap.example.");
        for ms in (0..20_000).step_by(50) {
            let stake = denials.stake(&zone, Asker::default(), at(ms)).unwrap();
            denials.settle(&zone, stake, Outcome::Failed, at(ms));
        }
        let let_in = |denials: &mut Denials, ms: u64| {
            (0..1000)
                .filter(|_| denials.may_come(&zone, Asker::default(), at(ms)))
                .count()
        };
        let all = 20..=21;
        let first = let_in(&mut denials, 30_000);
        assert!(all.contains(&first), "{first}");
        assert_eq!(let_in(&mut denials, 30_300), 0);
        // They begin, and are as good as failed until they end.
        let begin = (0..first).filter_map(|_| denials.stake(&zone, Asker::default(), at(30_300)));
        let stakes: Vec<Stake> = begin.collect();
        let more = let_in(&mut denials, 30_300);
        assert_eq!((stakes.len(), more), (first, 0));
        for stake in stakes {
            denials.settle(&zone, stake, Outcome::Unknown, at(30_400));
        }
        let second = let_in(&mut denials, 30_400);
        assert!(all.contains(&second), "{second}");
        // Who never begins is forgotten.
        assert_eq!(let_in(&mut denials, 30_900), 0);
        let third = let_in(&mut denials, 31_500);
        assert!(all.contains(&third), "{third}");
    }

    /// "Per-zone and per-server upstream quotas with fairness between clients": who asks little below a flooded zone is still let in.
    #[test]
    fn a_flood_leaves_credit_to_who_asks_little() {
        let mut denials = Denials::new(100);
        let zone = name("flooded.example.");
        let asker = |n: u8| Asker::of([10, 0, n, 1].into());
        // 50 networks ask 30 times a second each, for names that do not exist; each of 50 others once in ten seconds.
        let (mut let_in, mut honest_let_in, mut honest) = ([0; 2], 0, 0);
        for ms in 0..20_000_u64 {
            let mut ask = |of: Asker, outcome| {
                if !denials.may_come(&zone, of, at(ms)) {
                    return false;
                }
                match denials.stake(&zone, of, at(ms)) {
                    Some(stake) => {
                        if outcome == Outcome::Denied {
                            denials.note(&zone, at(ms));
                        }
                        denials.settle(&zone, stake, outcome, at(ms));
                        true
                    }
                    None => false,
                }
            };
            for _ in 0..3 {
                let of = asker((ms * 3 % 50) as u8);
                let_in[(ms / 10_000) as usize] += u32::from(ask(of, Outcome::Denied));
            }
            if ms % 200 == 0 && ms >= 1000 {
                honest += 1;
                let of = asker(100 + (ms / 200 % 50) as u8);
                honest_let_in += u32::from(ask(of, Outcome::Useful));
            }
        }
        assert_eq!(honest_let_in, honest);
        // The zone has no more to bear than its limit.
        assert!(
            let_in.iter().all(|let_in| (900..=1200).contains(let_in)),
            "{let_in:?}"
        );
    }

    /// As many names are under way at the begin of a flood as come before the first one is denied: more than there is credit for in seconds.
    #[test]
    fn the_begin_of_a_flood_costs_who_asks_little_next_to_nothing() {
        const ANSWER_AFTER_MS: u64 = 200;
        let mut denials = Denials::new(100);
        let zone = name("flooded.example.");
        let asker = |n: u64| Asker::of([10, 0, n as u8, 1].into());
        let mut under_way = std::collections::VecDeque::new();
        let (mut asked, mut honest, mut refused) = (0, 0, 0);
        for ms in 0..4000 {
            while under_way.front().is_some_and(|(due, _, _)| *due <= ms) {
                let (_, outcome, stake) = under_way.pop_front().unwrap();
                if outcome == Outcome::Denied {
                    denials.note(&zone, at(ms));
                }
                denials.settle(&zone, stake, outcome, at(ms));
            }
            let mut ask = |of: Asker, outcome: Outcome| {
                let may_come = denials.may_come(&zone, of, at(ms));
                let stake = may_come.then(|| denials.stake(&zone, of, at(ms))).flatten();
                let is_let_in = stake.is_some();
                under_way.extend(stake.map(|stake| (ms + ANSWER_AFTER_MS, outcome, stake)));
                u64::from(is_let_in)
            };
            if ms >= 1000 {
                let flood = (0..10).map(|n| ask(asker((10 * ms + n) % 128), Outcome::Denied));
                asked += flood.sum::<u64>();
            }
            if ms % 50 == 0 {
                honest += 1;
                refused += 1 - ask(asker(128 + ms / 50 % 50), Outcome::Useful);
            }
        }
        // In the moment until each network of the flood has asked too often.
        assert!(refused <= 2, "{refused} of {honest}");
        let before_denials = 10 * ANSWER_AFTER_MS;
        assert!(asked <= before_denials + 250, "{asked}");
    }

    #[test]
    fn without_a_limit_and_for_top_level_zones_denials_are_counted_only() {
        for (per_s, zone) in [(0, "victim.example."), (20, "example."), (20, ".")] {
            let mut denials = Denials::new(per_s);
            let zone = if zone == "." {
                Name::root()
            } else {
                name(zone)
            };
            for n in 0..600 {
                assert!(denials.may_ask(&zone, at(n)), "{zone}");
                assert_eq!(denials.flooded(at(n)).len(), usize::from(n >= 500));
                denials.note(&zone, at(n));
            }
            assert_eq!(
                (denials.flooded(at(9000))[0].denials, denials.refused()),
                (600, 0)
            );
            assert!(denials.flooded(at(20_001)).is_empty());
        }
    }

    #[test]
    fn zones_are_bounded() {
        let mut denials = Denials::new(20);
        let victim = name("victim.example.");
        (0..600).for_each(|_| denials.note(&victim, at(0)));
        for n in 0..3 * ZONES_MAX as u64 {
            denials.note(&name(&format!("z{n}.example.")), at(10 + n));
            assert!(denials.zones.len() <= ZONES_MAX);
        }
        assert_eq!(denials.flooded(at(9_000))[0].zone, victim);
        // Others are counted once those before have been quiet.
        let last = name(&format!("z{}.example.", 3 * ZONES_MAX - 1));
        assert!(denials.zones.contains_key(&last));
    }
}
