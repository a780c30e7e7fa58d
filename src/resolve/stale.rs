//! When old data is answered because new data cannot be had (RFC 8767): names and zones in trouble.
//!
//! Why: data past its TTL is a last resort, so every question is resolved first. But whose servers are known to be dead is not worth a
//! wait, and thousands of clients who ask for names of a vanished operator must not become thousands of questions to him. So what
//! could not be had is remembered: while it is, old data is answered at once, and a few questions look whether the way is open again.
//!
//! Model: a question whose resolution failed, or took longer than clients wait, is a *name in trouble*; a zone whose servers are all
//! silent, or have failed at several questions in a row, is a *zone in trouble*, and with it every question whose way leads through it.
//!
//! ```text
//!                 fails, late                     refreshed well, or the zone was heard
//!   resolved first -----------> in trouble -------------------------------------------> resolved first
//!                                |      ^
//!                 due, asked for |      | fails: later next time
//!                                +------+
//!                                one refresh at a time, by packets
//! ```
//!
//! | | first try after | then | packets |
//! |---|---|---|---|
//! | name | 5 s | doubling to 30 s (RFC 8767 section 5: no more often) | `NAME_PACKETS`, bogus data `BOGUS_PACKETS` |
//! | zone | 2 s | 4 s where as many ask as make it cheap, 8 s at the most | `ZONE_PACKETS`, more where the way to it is longer |
//!
//! Zones whose servers are silent share their looks (`shared`): what is looked for is an address, or the dead prefix that it stands in, and
//! one look at it in those times is enough for all of them, each zone in its turn. An operator's zones cost what one of them costs.
//! What fell silent together comes back together: when one of them is heard, the next question for another looks at once.
//!
//! All refreshes together send [`PACKETS_PER_S_MAX`] packets a second. RFC 8767 would have servers left alone for 30 s; a zone is
//! looked for more often, because its return is to be found within seconds and one zone costs less than a packet a second.
//!
//! Any useful answer of a zone's servers ends its trouble, whichever question it answers. What nobody asks for is forgotten.
//!
//! Failure: full tables take nothing new; then names of a dead zone are resolved first, each for itself.

mod shared;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;

use crate::cache::stale::Stale;
use crate::clock::Now;
use crate::dns::{Ede, Name, Question, Rcode, Rtype};
use crate::resolve::age_words;
use crate::resolve::delegation::TableStats;
use shared::Looks;

/// Packets of all refreshes in one second.
pub const PACKETS_PER_S_MAX: u32 = 20;
/// Packets that the refresh of one name may take.
const NAME_PACKETS: u32 = 12;
/// The same where data was bogus: its chain of trust is fetched again.
const BOGUS_PACKETS: u32 = 20;
/// Packets of one look at a zone, at first and at most.
const ZONE_PACKETS: u32 = 4;
const ZONE_PACKETS_MAX: u32 = 16;
/// Packets to a zone in trouble per question that is answered in its place: one in so many.
const QUESTIONS_PER_PACKET: u32 = 20;
/// Time to the first refresh of a name, and the longest.
const NAME_AFTER: Duration = Duration::from_secs(5);
const NAME_AFTER_MAX: Duration = Duration::from_secs(30);
/// So long a question that nothing old is at hand for waits for the end of a zone's trouble: it may be a short one.
const YOUNG_FOR: Duration = Duration::from_secs(4);
/// So long after a look at a zone has begun it may find the zone back.
const LOOK_FRESH_FOR: Duration = Duration::from_secs(1);
/// Time to the first look at a zone, between two, and at most between two where few ask.
const ZONE_AFTER: Duration = Duration::from_secs(2);
const ZONE_EVERY: Duration = Duration::from_secs(4);
const ZONE_EVERY_MAX: Duration = Duration::from_secs(8);
/// A zone that others are looked for in the place of is looked for by itself after so long, where one packet comes to so many questions
/// for it: servers may answer for one zone and not for another.
const OWN_EVERY: Duration = Duration::from_secs(30);
const OWN_QUESTIONS_PER_PACKET: u32 = 60;
/// One question in this time finds out whether servers that are suspected to be dead are.
const SCOUT_EVERY: Duration = Duration::from_millis(500);
/// So many questions without an answer in time make a zone suspected, for so long.
const OVERDUE_MIN: u32 = 2;
const OVERDUE_FOR: Duration = Duration::from_secs(2);
/// A refresh that has not ended by then never will.
const REFRESH_TIME_MAX: Duration = Duration::from_secs(15);
/// What nobody has asked for so long after it was due is forgotten, and resolved first again.
const FORGET_AFTER: Duration = Duration::from_secs(60);
/// How often the question is noted with which a zone can be looked for.
const LAST_EVERY: Duration = Duration::from_secs(1);
/// Questions in a row that a zone's servers must fail at before the zone is in trouble, while they say anything.
const FAILURES_IN_A_ROW: u8 = 3;
/// Names, zones, and zones that have failed, each.
const NAMES_MAX: usize = 50_000;
const ZONES_MAX: usize = 10_000;

/// `[stale]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Anything is kept past its TTL at all.
    pub enabled: bool,
    /// How long a client waits for new data.
    pub answer_after: Duration,
    /// How long past its TTL data is of use, in seconds.
    pub age_max_s: u64,
    /// Answers on disk.
    pub entries_max: usize,
    /// Bytes of them.
    pub bytes_max: usize,
}

impl Default for Settings {
    /// The configuration's defaults.
    fn default() -> Settings {
        Settings {
            enabled: true,
            answer_after: Duration::from_millis(1800),
            age_max_s: 3 * 86_400,
            entries_max: 100_000,
            bytes_max: 64 << 20,
        }
    }
}

/// What kind of trouble there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nobody could be reached.
    Unreachable,
    /// Servers answer, but with errors.
    Failing,
    /// There is no answer yet.
    Late,
    /// What servers say does not validate.
    Bogus,
    /// This machine has too much to do.
    Overload,
}

/// Why there is no new data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// The kind of it.
    pub kind: Kind,
    /// What a client would be told if there were no old data either.
    pub ede: Ede,
}

impl Why {
    /// Whether old data may take the place of what could not be had. Where servers give bogus data they can be reached, so only what
    /// is proven even now may: `proven` says whether the signatures over it hold.
    pub fn admits(&self, proven: bool) -> bool {
        self.kind != Kind::Bogus || proven
    }

    /// What a client is told with the old data (RFC 8914 sections 4.4 and 4.20), and with it what is wrong with the new.
    pub fn errors(&self, stale: &Stale) -> Vec<Ede> {
        let code = match stale.entry.rcode {
            Rcode::NXDOMAIN => Ede::STALE_NXDOMAIN,
            _ => Ede::STALE_ANSWER,
        };
        let age = age_words(stale.ran_out_s);
        let own = Ede::new(code, format!("ran out {age} ago; {}", self.ede.text));
        match self.kind {
            Kind::Bogus => vec![own, self.ede.clone()],
            _ => vec![own],
        }
    }
}

/// A trouble that is remembered for a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What is wrong.
    pub why: Why,
    /// The zone in trouble; `None` where it is this question alone.
    pub zone: Option<Name>,
    /// It is time for a refresh: see [`Troubles::claim`].
    pub due: bool,
}

/// A zone in trouble, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneInTrouble {
    /// The zone.
    pub zone: Name,
    /// Since when, seconds since 1970.
    pub since_s: u64,
    /// Answers that were given in its place.
    pub answers: u64,
    /// What is wrong.
    pub why: String,
}

/// How a refresh ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// There is new data, or a new denial.
    Well,
    /// There is none, and the zone in trouble was asked.
    Failed(Why),
    /// The packets did not even reach the zone in trouble.
    TooShort,
}

/// Everything in trouble.
#[derive(Debug, Default)]
pub struct Troubles {
    tables: Mutex<Tables>,
    /// Entries of all tables, so that nobody takes the lock where there is no trouble.
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Tables {
    names: HashMap<Question, Trouble>,
    zones: HashMap<Name, ZoneTrouble>,
    /// Zones whose servers failed at a question, and how many times in a row.
    failing: HashMap<Name, (u8, Duration)>,
    /// Zones whose servers have been slow, how many times since they were last heard, and until when that counts.
    overdue: HashMap<Name, (u32, Duration)>,
    /// Zones whose servers are suspected to be dead, and until when somebody finds out.
    scouted: HashMap<Name, Duration>,
    looks: Looks,
    bucket: Bucket,
}

#[derive(Debug)]
struct Trouble {
    why: Why,
    zone: Option<Name>,
    times: u32,
    next_at: Duration,
    /// A refresh is under way, for so long at most.
    refreshing_until: Duration,
}

#[derive(Debug)]
struct ZoneTrouble {
    why: Why,
    since: Duration,
    since_s: u64,
    next_at: Duration,
    refreshing_until: Duration,
    /// Its servers, all of them silent; empty where they are not.
    silent: Box<[IpAddr]>,
    /// Packets of the next look, and of the last.
    packets: u32,
    spent: u32,
    /// Answers since the last look began, and all of them.
    asked: u32,
    answers: u64,
    looked_at: Duration,
    /// One of the questions that were answered lately, and when.
    last: Option<(Question, Duration)>,
}

/// What is looked for when a silent address is: itself, or the dead prefix that it stands in.
pub type Pool<'a> = &'a dyn Fn(IpAddr) -> IpNet;

impl ZoneTrouble {
    fn is_due(&self, looks: &Looks, now: Duration, pool: Pool<'_>) -> bool {
        self.is_in_turn(looks, now, pool) || self.is_recalled(looks, now, pool)
    }

    fn is_in_turn(&self, looks: &Looks, now: Duration, pool: Pool<'_>) -> bool {
        if !self.is_free(now) {
            return false;
        }
        if self.silent.is_empty() {
            let cheap = self.asked / QUESTIONS_PER_PACKET >= self.spent;
            return cheap || now >= self.next_at + (ZONE_EVERY_MAX - ZONE_EVERY);
        }
        let cheap = self.asked / OWN_QUESTIONS_PER_PACKET >= self.spent.max(self.packets);
        let alone = cheap && now >= self.looked_at.max(self.since) + OWN_EVERY;
        alone || self.silent.iter().any(|a| looks.is_due(pool(*a), now))
    }

    /// What fell silent when it did has been heard since it was looked for last.
    fn is_recalled(&self, looks: &Looks, now: Duration, pool: Pool<'_>) -> bool {
        let heard_at = looks.returned(self.since);
        let heard_at = heard_at.filter(|at| self.looked_at.max(self.since) < *at);
        heard_at.is_some_and(|at| {
            let is_older = |a: &IpAddr| looks.is_before(pool(*a), at, now);
            now >= self.refreshing_until && self.silent.iter().any(is_older)
        })
    }

    /// Nobody looks for it, and the last time is a while ago.
    fn is_free(&self, now: Duration) -> bool {
        now >= self.next_at && now >= self.refreshing_until
    }
}

/// Packets that refreshes may send.
#[derive(Debug)]
struct Bucket {
    /// In thousandths.
    left: u32,
    filled_at: Duration,
}

impl Default for Bucket {
    fn default() -> Bucket {
        Bucket {
            left: PACKETS_PER_S_MAX * 1000,
            filled_at: Duration::ZERO,
        }
    }
}

impl Bucket {
    fn take(&mut self, packets: u32, now: Duration) -> bool {
        let passed_ms = now.saturating_sub(self.filled_at).as_millis();
        let passed_ms = u32::try_from(passed_ms).unwrap_or(u32::MAX).min(1000);
        self.filled_at = self.filled_at.max(now);
        self.give(passed_ms * PACKETS_PER_S_MAX);
        match self.left.checked_sub(packets * 1000) {
            Some(left) => self.left = left,
            None => return false,
        }
        true
    }

    fn give(&mut self, thousandths: u32) {
        self.left = (self.left + thousandths).min(PACKETS_PER_S_MAX * 1000);
    }
}

impl Troubles {
    // --- learning ----------------------------------------------------------------------------------

    /// The resolution of a question that there is old data for has failed at `zone`, or takes long: then somebody is at it until
    /// `busy_until`.
    pub fn note_name(
        &self,
        question: &Question,
        zone: Option<&Name>,
        why: Why,
        busy_until: Duration,
        now: Now,
    ) {
        let mut tables = self.tables();
        if tables.names.len() >= NAMES_MAX && !tables.names.contains_key(question) {
            tables
                .names
                .retain(|_, t| now.mono < t.next_at + FORGET_AFTER);
            if tables.names.len() >= NAMES_MAX {
                return;
            }
        }
        let times = tables.names.get(question).map_or(0, |t| match why.kind {
            Kind::Late => t.times,
            _ => t.times + 1,
        });
        let trouble = Trouble {
            why,
            zone: zone.cloned(),
            times,
            next_at: now.mono + (NAME_AFTER * (1 << times.min(8))).min(NAME_AFTER_MAX),
            refreshing_until: busy_until,
        };
        tables.names.insert(question.clone(), trouble);
        self.counted(&tables);
    }

    /// No server of the zone can be reached. `silent` are those that are known not to answer, if that is all of them.
    pub fn note_zone(&self, zone: &Name, why: Why, silent: &[IpAddr], now: Now) {
        // Neighbours one after another, as `shared` wants them.
        let mut silent = silent.to_vec();
        silent.sort_unstable();
        silent.dedup();
        let mut tables = self.tables();
        let known = tables.zones.get_mut(zone);
        if let Some(known) = known.filter(|t| now.mono < t.next_at + FORGET_AFTER) {
            known.why = why;
            known.silent = silent.into();
            return;
        }
        if tables.zones.len() >= ZONES_MAX {
            tables
                .zones
                .retain(|_, t| now.mono < t.next_at + FORGET_AFTER);
            if tables.zones.len() >= ZONES_MAX {
                return;
            }
        }
        let trouble = ZoneTrouble {
            why,
            since: now.mono,
            since_s: now.wall_s,
            next_at: now.mono + ZONE_AFTER,
            refreshing_until: Duration::ZERO,
            silent: silent.into(),
            packets: ZONE_PACKETS,
            spent: 0,
            asked: 0,
            answers: 0,
            looked_at: Duration::ZERO,
            last: None,
        };
        tables.zones.insert(zone.clone(), trouble);
        self.counted(&tables);
    }

    /// Servers of the zone answer with errors. Where they have done nothing else for several questions, the zone is in trouble.
    pub fn note_failing(&self, zone: &Name, why: Why, now: Now) {
        let mut tables = self.tables();
        if tables.failing.len() >= ZONES_MAX {
            tables.failing.retain(|_, (_, until)| now.mono < *until);
            if tables.failing.len() >= ZONES_MAX {
                return;
            }
        }
        let row = tables.failing.entry(zone.clone()).or_default();
        let times = match now.mono < row.1 {
            true => row.0.saturating_add(1),
            false => 1,
        };
        *row = (times, now.mono + FORGET_AFTER);
        self.counted(&tables);
        drop(tables);
        if times >= FAILURES_IN_A_ROW {
            self.note_zone(zone, why, &[], now);
        }
    }

    /// A server of the zone has said something of use. What was answered in its place meanwhile, if it was in trouble: the number of
    /// answers, and since when, seconds since 1970.
    pub fn heard(&self, zone: &Name, now: Duration) -> Option<(u64, u64)> {
        if self.is_quiet() {
            return None;
        }
        let mut tables = self.tables();
        tables.failing.remove(zone);
        tables.overdue.remove(zone);
        let ended = tables.zones.remove(zone);
        if let Some(ended) = &ended {
            // What failed because of it is resolved first again.
            tables.names.retain(|_, t| t.zone.as_ref() != Some(zone));
            if !ended.silent.is_empty() {
                tables.looks.heard(ended.since, now);
            }
        }
        self.counted(&tables);
        ended.map(|t| (t.answers, t.since_s))
    }

    /// There is new data for the question, or its trouble is that of its zone.
    pub fn answered(&self, question: &Question) {
        if !self.is_quiet() {
            let mut tables = self.tables();
            tables.names.remove(question);
            self.counted(&tables);
        }
    }

    /// Forgets everything: what failed may succeed now.
    pub fn forget_all(&self) {
        let mut tables = self.tables();
        *tables = Tables::default();
        self.counted(&tables);
    }

    // --- use ---------------------------------------------------------------------------------------

    /// Whether nothing is in trouble.
    pub fn is_quiet(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// The trouble of the question, its own or that of a zone above it. `leads` says of a zone, and of its servers if those are silent,
    /// whether the way of the question leads through it and they are silent still. `pool` never waits.
    pub fn find(
        &self,
        question: &Question,
        now: Now,
        leads: impl Fn(&Name, &[IpAddr]) -> bool,
        pool: Pool<'_>,
    ) -> Option<Known> {
        if self.is_quiet() {
            return None;
        }
        let tables = self.tables();
        let own = tables.names.get(question);
        let own = own.filter(|t| now.mono < t.next_at + FORGET_AFTER);
        let own = own.map(|t| Known {
            why: t.why.clone(),
            zone: None,
            due: now.mono >= t.next_at && now.mono >= t.refreshing_until,
        });
        // RFC 4035 section 3.1.4.1: the DS of a zone is its parent's, and not in trouble with it.
        let deepest = match question.rtype {
            Rtype::DS => question.name.label_count(),
            _ => question.name.label_count() + 1,
        };
        let labels = match tables.zones.is_empty() {
            true => 0..0,
            false => 0..deepest,
        };
        let zone = labels.rev().find_map(|labels| {
            let zone = question.name.suffix(labels);
            let known = tables.zones.get(&zone)?;
            let remembered = now.mono < known.next_at + FORGET_AFTER;
            remembered.then(|| {
                let due = known.is_due(&tables.looks, now.mono, pool);
                (zone, known.why.clone(), known.silent.clone(), due)
            })
        });
        // The way is looked up in other tables, which have locks of their own.
        drop(tables);
        // One look for a zone is worth more than one for each of its names.
        let zone = zone.filter(|(zone, _, silent, _)| leads(zone, silent));
        let zone = zone.map(|(zone, why, _, due)| Known {
            why,
            zone: Some(zone),
            due,
        });
        zone.or(own)
    }

    /// Whether the zone has been in trouble for so short a time that it may be over before a client has waited long.
    pub fn is_young(&self, zone: &Name, now: Now) -> bool {
        let tables = self.tables();
        let known = tables.zones.get(zone);
        known.is_some_and(|trouble| now.mono < trouble.since + YOUNG_FOR)
    }

    /// Whether somebody has begun to look for the zone so lately that he may hear of it any moment.
    pub fn is_looked_for(&self, zone: &Name, now: Now) -> bool {
        let tables = self.tables();
        let known = tables.zones.get(zone);
        known.is_some_and(|trouble| {
            now.mono < trouble.refreshing_until && now.mono < trouble.looked_at + LOOK_FRESH_FOR
        })
    }

    /// A question to the zone has no answer after a time in which most have one.
    pub fn note_overdue(&self, zone: &Name, now: Now) {
        let mut tables = self.tables();
        if tables.overdue.len() >= ZONES_MAX {
            tables.overdue.retain(|_, (_, until)| now.mono < *until);
            if tables.overdue.len() >= ZONES_MAX {
                return;
            }
        }
        let row = tables.overdue.entry(zone.clone()).or_default();
        let count = if now.mono < row.1 { row.0 } else { 0 };
        *row = (count + 1, now.mono + OVERDUE_FOR);
        self.counted(&tables);
    }

    /// Whether several questions to the zone are overdue, and nothing was heard of it since.
    pub fn is_overdue(&self, zone: &Name, now: Now) -> bool {
        if self.is_quiet() {
            return false;
        }
        let tables = self.tables();
        let known = tables.overdue.get(zone);
        known.is_some_and(|(count, until)| *count >= OVERDUE_MIN && now.mono < *until)
    }

    /// Whether the asker is to find out if the suspected servers of the zone are dead; others wait for what he finds.
    pub fn scout(&self, zone: &Name, now: Now) -> bool {
        let mut tables = self.tables();
        if tables
            .scouted
            .get(zone)
            .is_some_and(|until| now.mono < *until)
        {
            return false;
        }
        if tables.scouted.len() >= ZONES_MAX {
            tables.scouted.retain(|_, until| now.mono < *until);
        }
        if tables.scouted.len() < ZONES_MAX {
            tables.scouted.insert(zone.clone(), now.mono + SCOUT_EVERY);
        }
        true
    }

    /// An answer was given in place of one of the zone's. True for the first.
    pub fn count_answer(&self, question: &Question, zone: &Name, now: Now, pool: Pool<'_>) -> bool {
        let mut tables = self.tables();
        let Tables { zones, looks, .. } = &mut *tables;
        let Some(trouble) = zones.get_mut(zone) else {
            return false;
        };
        let noted_at = trouble.last.as_ref().map(|(_, at)| *at);
        if noted_at.is_none_or(|at| now.mono >= at + LAST_EVERY) {
            trouble.last = Some((question.clone(), now.mono));
        }
        looks.asked(&trouble.silent, pool);
        trouble.asked = trouble.asked.saturating_add(1);
        trouble.answers += 1;
        trouble.answers == 1
    }

    /// The zone that is looked for when this one, with its question, is due: of those that are asked for and share silent servers with it
    /// the one that has waited longest, for the servers may answer for one and not for another.
    pub fn whose_turn(
        &self,
        question: Question,
        zone: Name,
        now: Now,
        pool: Pool<'_>,
    ) -> (Question, Name) {
        let tables = self.tables();
        let Some(own) = tables.zones.get(&zone) else {
            return (question, zone);
        };
        let due = own.silent.iter().map(|a| pool(*a));
        let due: Vec<IpNet> = due.filter(|p| tables.looks.is_due(*p, now.mono)).collect();
        let shares = |t: &ZoneTrouble| t.silent.iter().any(|a| due.contains(&pool(*a)));
        let asked = |t: &ZoneTrouble| {
            let last = t.last.as_ref();
            last.filter(|(_, at)| now.mono < *at + FORGET_AFTER)
                .map(|(question, _)| question.clone())
        };
        let waiting = tables.zones.iter();
        let waiting = waiting.filter(|(_, t)| {
            t.looked_at < own.looked_at && t.is_free(now.mono) && !t.silent.is_empty() && shares(t)
        });
        let mut longest: Vec<_> = waiting.collect();
        longest.sort_by_key(|(zone, t)| (t.looked_at, *zone));
        let next = (longest.into_iter()).find_map(|(zone, t)| Some((asked(t)?, zone.clone())));
        next.unwrap_or((question, zone))
    }

    /// Takes over the refresh of the question, which is done for its own sake or for that of the zone in trouble. Says how many packets
    /// it may send; `None` where somebody else is at it, or enough is sent already.
    pub fn claim(
        &self,
        question: &Question,
        zone: Option<&Name>,
        now: Now,
        pool: Pool<'_>,
    ) -> Option<u32> {
        let mut tables = self.tables();
        let Tables {
            names,
            zones,
            looks,
            bucket,
            ..
        } = &mut *tables;
        let busy_until = now.mono + REFRESH_TIME_MAX;
        match zone {
            Some(zone) => {
                let trouble = zones.get_mut(zone)?;
                let in_turn = trouble.is_in_turn(looks, now.mono, pool);
                let is_due = in_turn || trouble.is_recalled(looks, now.mono, pool);
                if !is_due || !bucket.take(trouble.packets, now.mono) {
                    return None;
                }
                match in_turn {
                    true => looks.begun(&trouble.silent, trouble.packets, now.mono, pool),
                    false => looks.recalled(&trouble.silent, now.mono, pool),
                }
                (trouble.refreshing_until, trouble.asked) = (busy_until, 0);
                trouble.looked_at = now.mono;
                trouble.next_at = now.mono + ZONE_EVERY;
                Some(trouble.packets)
            }
            None => {
                let due = |t: &&mut Trouble| t.next_at.max(t.refreshing_until) <= now.mono;
                let trouble = names.get_mut(question).filter(due)?;
                let packets = match trouble.why.kind {
                    Kind::Bogus => BOGUS_PACKETS,
                    _ => NAME_PACKETS,
                };
                if !bucket.take(packets, now.mono) {
                    return None;
                }
                trouble.refreshing_until = busy_until;
                Some(packets)
            }
        }
    }

    /// What came of a refresh that was claimed, and how many of its packets were not sent.
    pub fn refreshed(
        &self,
        question: &Question,
        zone: Option<&Name>,
        outcome: Refreshed,
        (granted, unsent): (u32, u32),
        now: Now,
    ) {
        let mut tables = self.tables();
        tables.bucket.give(unsent.min(granted) * 1000);
        let Some(zone) = zone else {
            drop(tables);
            match outcome {
                Refreshed::Well => self.answered(question),
                Refreshed::Failed(why) => self.note_name(question, None, why, Duration::ZERO, now),
                Refreshed::TooShort => {}
            }
            return;
        };
        match outcome {
            // The way leads there no longer, or leads through.
            Refreshed::Well => drop(tables.zones.remove(zone)),
            outcome => {
                if let Some(trouble) = tables.zones.get_mut(zone) {
                    trouble.refreshing_until = Duration::ZERO;
                    trouble.spent = granted.saturating_sub(unsent);
                    trouble.packets = match outcome {
                        Refreshed::TooShort => (trouble.packets * 2).min(ZONE_PACKETS_MAX),
                        _ => trouble.packets,
                    };
                }
            }
        }
        self.counted(&tables);
    }

    /// Forgets what is in trouble at `name`, and with `tree` below it.
    pub fn forget(&self, name: &Name, tree: bool) {
        let mut tables = self.tables();
        let stays = |own: &Name| !(own == name || tree && own.is_within(name));
        tables.names.retain(|question, _| stays(&question.name));
        tables.zones.retain(|zone, _| stays(zone));
        tables.failing.retain(|zone, _| stays(zone));
        self.counted(&tables);
    }

    /// The zones that answers are given in the place of.
    pub fn zones(&self) -> Vec<ZoneInTrouble> {
        let tables = self.tables();
        let served = tables.zones.iter().filter(|(_, t)| t.answers > 0);
        let mut zones: Vec<ZoneInTrouble> = served
            .map(|(zone, t)| ZoneInTrouble {
                zone: zone.clone(),
                since_s: t.since_s,
                answers: t.answers,
                why: t.why.ede.text.clone(),
            })
            .collect();
        zones.sort_by(|a, b| a.zone.cmp(&b.zone));
        zones
    }

    /// The tables in numbers; bytes are those of names and reasons, about.
    pub fn stats(&self) -> TableStats {
        let tables = self.tables();
        let text = |why: &Why| why.ede.text.len();
        let names = tables.names.iter();
        let names_bytes = names
            .map(|(q, t)| size_of::<(Question, Trouble)>() + q.name.wire().len() + text(&t.why));
        let zones = tables.zones.iter();
        let zones_bytes =
            zones.map(|(z, t)| size_of::<(Name, ZoneTrouble)>() + z.wire().len() + text(&t.why));
        TableStats {
            entries: tables.names.len() + tables.zones.len(),
            bytes: names_bytes.sum::<usize>() + zones_bytes.sum::<usize>(),
        }
    }

    fn counted(&self, tables: &Tables) {
        let len =
            tables.names.len() + tables.zones.len() + tables.failing.len() + tables.overdue.len();
        self.len.store(len, Ordering::Relaxed);
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Sound between any two operations.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
