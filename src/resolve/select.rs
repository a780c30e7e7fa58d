//! Which server address to ask, and how long to wait for it.
//!
//! Why: most zones have several addresses, of which some are far, some are dead, and which is which
//! changes. Two wishes pull apart: ask the nearest living one, and find out about the others. Clients
//! never pay for the second: a silent address is asked again *beside* a living one, once per backoff.
//!
//! Model: per address a smoothed round trip time (RFC 6298's arithmetic) and a count of questions in a
//! row that stayed unanswered. An address is *good* (answered last time), *new* (never asked) or
//! *silent* until `retry_at`. Addresses that refused a zone, or failed at it, come last for that zone, and those whose data of
//! it did not validate after the good ones.
//!
//! ```text
//!            late (no answer within its wait)
//!   new ---------------------------------------> silent(1) -- late --> silent(2) ... backoff doubles
//!    |  answer            answer                  |                        up to BACKOFF_MAX
//!    +---------> good <---------------------------+
//! ```
//!
//! Addresses in dead prefixes come after the silent ones, for all zones that have others; those that were asked before are asked
//! again beside like silent ones, and at once where nobody else is good.
//!
//! What a server owes counts for every zone that it serves, unless it answers for some and not for others (`partly`). How fast servers that
//! have just fallen silent are asked by all questions together is bounded (`brake`).
//!
//! Failure: when all are silent they are asked anyway, the one first that is due first. The table is
//! bounded; what is forgotten is merely new again.

mod brake;
mod partly;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::{RngExt, rngs::SmallRng};

use crate::dns::{Name, Rtype};
use crate::resolve::quirks::{Heard, Quirks};
use crate::upstream::{Doubt, Transport};
pub use brake::HOLD_FOR;
use brake::Sent;
use partly::Partly;

/// Shortest wait before the next server is asked.
const WAIT_MIN: Duration = Duration::from_millis(50);
/// Longest wait before the next server is asked.
pub const WAIT_MAX: Duration = Duration::from_millis(1500);
/// Longest time that a slow server is given before it counts as silent.
pub const PATIENCE_MAX: Duration = Duration::from_secs(4);
/// Wait for a server that was never asked.
const WAIT_NEW: Duration = Duration::from_millis(400);
/// First and longest pause before a silent server is tried again; a returned one is found within it.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(4);
/// Where a new server stands among those with a known time.
const NEW_SCORE_MS: u64 = 40;
/// One question in so many goes to another good server than the nearest.
const EXPLORE_ONE_IN: u32 = 20;
/// Servers whose times differ by less than this share the load.
const BAND_MS: u64 = 10;
/// How long an address that refused a zone comes last for it.
pub const LAME_FOR: Duration = Duration::from_secs(30);
/// How long an address that failed at a zone comes last for it.
pub const FAILED_FOR: Duration = Duration::from_secs(5);
/// How long an address whose data of a zone did not validate comes after others for it.
const BOGUS_FOR: Duration = Duration::from_secs(30);
/// How long an address is asked over TCP after it answered only so.
const TCP_FOR: Duration = Duration::from_secs(300);
/// Meanwhile one question goes over UDP so soon after, and then in each such time: one answer to it ends that.
const UDP_LOOK_FIRST: Duration = Duration::from_millis(500);
const UDP_LOOK_EVERY: Duration = Duration::from_secs(10);
/// Questions in a row without an answer after which every second one goes over TCP.
const TCP_AFTER: u32 = 2;
/// And those after which it is one after so many datagrams: each try to connect is several packets, and who is dead is found by any.
const TCP_SELDOM_AFTER: u32 = 8;
const DATAGRAMS_PER_TCP: u32 = 3;
/// Within how long after so many lost datagrams an answer over TCP is taken for the mark of a server that answers only so, and not
/// of one that has come back: one step asks in this time.
const TCP_TELLS_WITHIN: Duration = Duration::from_secs(3);
/// Zones remembered per address as not served.
const BAD_ZONES_MAX: usize = 16;
/// Refusals of the network in a row after which an address family counts as dead here.
const FAMILY_DEAD_AFTER: u32 = 4;
/// Questions in a row, on average over the servers of a zone, after which silence is no lost packet.
const SILENT_AFTER: u32 = 2;
/// Servers that have not been asked in vain for so long may be back: before they pass for dead one of them is asked.
const SILENT_FOR: Duration = Duration::from_secs(90);
/// Types that no server is known to drop questions for.
pub const PLAIN: [Rtype; 5] = [Rtype::A, Rtype::NS, Rtype::CNAME, Rtype::SOA, Rtype::PTR];
/// Addresses in the table.
const SERVERS_MAX: usize = 50_000;

/// What is known of one address.
#[derive(Debug, Clone, Default)]
struct Server {
    srtt: Option<Duration>,
    rttvar: Duration,
    /// Questions in a row that stayed unanswered, and those of them that every server takes.
    late: u32,
    plain_late: u32,
    /// When the first and the last of them was late.
    late_from: Duration,
    late_at: Duration,
    /// When the latest of the questions was sent that it has answered.
    answered_from: Duration,
    partly: Partly,
    /// While silent: when it is worth another question.
    retry_at: Duration,
    quirks: Quirks,
    tcp_until: Duration,
    /// So many of them, the last ones, went as datagrams; since then.
    lost_datagrams: u32,
    lost_from: Duration,
    /// It was silent and then answered over TCP: it is cut off from datagrams, or has come back.
    tcp_helped: bool,
    /// While asked over TCP: when a question goes over UDP.
    udp_look_at: Duration,
    /// No cookie suits it over UDP; until then it is asked over TCP.
    cookie_tcp_until: Duration,
    bad_zones: Vec<BadZone>,
    used_at: Duration,
}

/// A zone for which a server is asked after others.
#[derive(Debug, Clone)]
struct BadZone {
    zone: Name,
    class: RankClass,
    until: Duration,
}

/// The state of an address, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// Never answered, never late.
    New,
    /// Answered last time.
    Good,
    /// Owes an answer.
    Silent,
}

/// One line of `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    /// Its address.
    pub server: IpAddr,
    /// Smoothed round trip time, once it has answered.
    pub srtt: Option<Duration>,
    /// Whether it answers.
    pub state: ServerState,
    /// What is special about asking it.
    pub quirks: Vec<&'static str>,
}

/// How silent servers are together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// One of them answers, or was never asked, or not for a while.
    None,
    /// Each owes an answer; that may be a lost packet.
    Suspected,
    /// They owe so many that they do not answer.
    Sure,
}

/// What a packet is sent for, as far as the brake on silent servers is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// The first packet of a question at a zone, or a look at servers that are known to be in trouble.
    First,
    /// Another one.
    Again,
}

/// The order in which to ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Each address once, best first.
    pub order: Vec<IpAddr>,
    /// A silent address to be asked beside the first one, so that its return is noticed.
    pub explore: Option<IpAddr>,
    /// Every address owes answers, or stands in a dead prefix.
    pub all_silent: bool,
}

/// The table of server addresses.
#[derive(Debug, Default)]
pub struct Servers {
    table: Mutex<HashMap<IpAddr, Server>>,
    sent: Mutex<Sent>,
    /// Questions in a row that the network refused to carry, by address family.
    refused: [AtomicU32; 2],
}

impl Servers {
    /// Another table that knows the same now.
    pub fn copy(&self) -> Servers {
        let refused = |n: &AtomicU32| AtomicU32::new(n.load(Ordering::Relaxed));
        Servers {
            table: Mutex::new(self.table().clone()),
            sent: Mutex::default(),
            refused: self.refused.each_ref().map(refused),
        }
    }

    /// Puts `addresses` (servers of `zone`) in order. `avoid` names those in dead prefixes.
    pub fn plan(
        &self,
        zone: &Name,
        addresses: &[IpAddr],
        now: Duration,
        avoid: &dyn Fn(IpAddr) -> bool,
        rng: &mut SmallRng,
    ) -> Plan {
        let mut table = self.table();
        let dead: Vec<IpAddr> = (addresses.iter().copied()).filter(|a| avoid(*a)).collect();
        // Of a zone that has nothing else, they are asked as ever.
        let in_dead = |a| dead.contains(&a);
        let avoided = |a| in_dead(a) && dead.len() < addresses.len();
        let mut ranked: Vec<(Rank, IpAddr)> = addresses
            .iter()
            .map(|&a| {
                let known = table.get(&a);
                let silent = match known {
                    Some(server) if server.partly.is(now) => server.partly.owed(zone, now) > 0,
                    Some(server) => server.late > 0,
                    None => self.is_family_dead(a),
                };
                (rank(known, zone, now, avoided(a), silent, rng), a)
            })
            .collect();
        ranked.sort();
        ranked.dedup_by_key(|(_, a)| *a);
        let good = ranked
            .iter()
            .filter(|(r, _)| r.class == RankClass::Good)
            .count();
        if good > 1 && rng.random_ratio(1, EXPLORE_ONE_IN) {
            let other = rng.random_range(1..good);
            ranked.swap(0, other);
        }
        let due = ranked.iter().find(|(r, a)| match r.class {
            RankClass::Silent => good > 0 && table.get(a).is_some_and(|s| s.retry_at <= now),
            // Nobody else is likely to answer: the verdict may be wrong.
            RankClass::DeadPrefix if good == 0 => true,
            RankClass::DeadPrefix => table.get(a).is_some_and(|s| s.retry_at <= now),
            _ => false,
        });
        let explore = due.map(|(_, a)| *a);
        // Claimed: no second question asks it again in this backoff.
        if let Some(server) = explore.and_then(|a| table.get_mut(&a)) {
            server.retry_at = now + backoff(server.late);
        }
        let silent = |(r, a): &(Rank, IpAddr)| r.class == RankClass::Silent || in_dead(*a);
        Plan {
            all_silent: ranked.iter().all(silent),
            order: ranked.into_iter().map(|(_, a)| a).collect(),
            explore,
        }
    }

    /// How long to wait for `server` before the next one is asked.
    pub fn wait(&self, server: IpAddr) -> Duration {
        let table = self.table();
        let Some(s) = table.get(&server) else {
            return WAIT_NEW;
        };
        let base = s.srtt.map_or(WAIT_NEW, |srtt| srtt + 4 * s.rttvar);
        (base.max(WAIT_MIN) * (1 << s.late.min(3))).min(WAIT_MAX)
    }

    /// How long `server` takes for nearly all its answers; what it owes aside.
    pub fn usual(&self, server: IpAddr) -> Option<Duration> {
        let table = self.table();
        let s = table.get(&server)?;
        s.srtt.map(|srtt| srtt + 4 * s.rttvar)
    }

    /// After how long without an answer `server` counts as silent: others are asked before, but who is known to be slow is given its time.
    pub fn patience(&self, server: IpAddr) -> Duration {
        let usual = |s: &Server| s.srtt.map(|srtt| srtt + (4 * s.rttvar).max(srtt / 4));
        let usual = self.table().get(&server).and_then(usual);
        usual
            .map_or(Duration::ZERO, |usual| usual.min(PATIENCE_MAX))
            .max(self.wait(server))
    }

    /// The time within which one of these servers usually answers: the best of those that do answer.
    /// Zero if none is known to answer and some are silent, so that nobody waits for the dead; `None` if
    /// nothing is known of any.
    pub fn usual_rtt(&self, servers: &[IpAddr]) -> Option<Duration> {
        let table = self.table();
        let known = || servers.iter().filter_map(|a| table.get(a));
        let answering = known().filter(|s| s.late == 0);
        let best = answering.filter_map(|s| Some(s.srtt? + 4 * s.rttvar)).min();
        best.or_else(|| known().any(|s| s.late > 0).then_some(Duration::ZERO))
    }

    /// How silent these servers of `zone` are together. Those of an address family that this machine has no way out for need not be asked for it.
    /// Only plain questions count: there are servers that drop those for types that they do not know, and answer all others.
    pub fn silence(&self, zone: &Name, servers: &[IpAddr], now: Duration) -> Silence {
        let table = self.table();
        let (mut fresh, mut old) = (Vec::new(), Vec::new());
        for server in servers {
            let owed = match table.get(server) {
                Some(known) if known.partly.is(now) => known.partly.owed(zone, now),
                Some(known) if known.late_at + SILENT_FOR <= now && known.plain_late > 0 => {
                    old.push(known.plain_late);
                    continue;
                }
                Some(known) => known.plain_late,
                None if self.is_family_dead(*server) => SILENT_AFTER,
                None => 0,
            };
            fresh.push(owed);
        }
        if fresh.contains(&0) || (fresh.is_empty() && !old.is_empty()) {
            return Silence::None;
        }
        let is_sure = |owed: &[u32]| {
            let sum = owed
                .iter()
                .fold(0u32, |sum, owed| sum.saturating_add(*owed));
            sum >= SILENT_AFTER * owed.len() as u32
        };
        // What is owed from long ago says nothing of those that are asked now.
        let are_fresh_sure = is_sure(&fresh);
        fresh.append(&mut old);
        match are_fresh_sure && is_sure(&fresh) {
            true => Silence::Sure,
            false => Silence::Suspected,
        }
    }

    /// A question goes to the server.
    pub fn sent(&self, server: IpAddr, over: Transport, now: Duration) {
        let usual = self.usual(server).map_or(WAIT_NEW, |t| t.max(WAIT_MIN));
        let connects = over == Transport::Tcp;
        self.sends().sent(server, connects, usual, now);
    }

    /// Whether these servers of `zone`, as far as they were asked within the last second, have all fallen silent, and are sent enough as it is.
    pub fn is_braked(
        &self,
        zone: &Name,
        servers: &[IpAddr],
        errand: Errand,
        now: Duration,
    ) -> bool {
        let unanswered = self.sends().in_doubt(servers, now);
        if unanswered < brake::SILENT_MAX {
            return false;
        }
        // Who drops the questions for one zone must not be spared those for others.
        if self.is_any_partly(servers, now) {
            return false;
        }
        let most = match errand {
            Errand::First => brake::FIRST_MAX,
            Errand::Again if self.silence(zone, servers, now) == Silence::Sure => brake::SILENT_MAX,
            Errand::Again => brake::AGAIN_MAX,
        };
        unanswered >= most
    }

    fn is_any_partly(&self, servers: &[IpAddr], now: Duration) -> bool {
        let table = self.table();
        let mut known = servers.iter().filter_map(|a| table.get(a));
        known.any(|s| s.partly.is(now))
    }

    fn sends(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one of these servers has answered the last time, as far as is known of `zone`.
    pub fn is_any_good(&self, zone: &Name, servers: &[IpAddr], now: Duration) -> bool {
        let table = self.table();
        let good = |s: &Server| match s.partly.is(now) {
            true => s.partly.owed(zone, now) == 0,
            false => s.late == 0 && s.srtt.is_some(),
        };
        let mut known = servers.iter().filter_map(|a| table.get(a));
        known.any(good)
    }

    /// Whether `server` has answered with EDNS of late.
    pub fn takes_edns(&self, server: IpAddr, now: Duration) -> bool {
        (self.table().get(&server)).is_some_and(|s| s.quirks.takes_edns(now))
    }

    /// What is known of how `server` wants to be asked.
    pub fn quirks(&self, server: IpAddr) -> Quirks {
        let table = self.table();
        (table.get(&server)).map_or_else(Quirks::default, |s| s.quirks.clone())
    }

    /// Over what `server` is best asked next. Who stays silent may be cut off from datagrams only: one question over TCP in
    /// the end tells of one server, and of several each has to be asked so. `again` when it has been silent in this very step.
    pub fn transport(&self, server: IpAddr, again: bool, now: Duration) -> Transport {
        let mut table = self.table();
        let Some(s) = table.get_mut(&server) else {
            return Transport::Udp;
        };
        if s.tcp_until > now && !again && s.udp_look_at <= now {
            s.udp_look_at = now + UDP_LOOK_EVERY;
            return Transport::Udp;
        }
        let datagrams = if s.late < TCP_SELDOM_AFTER {
            1
        } else {
            DATAGRAMS_PER_TCP
        };
        let in_turn = s.late >= TCP_AFTER && s.lost_datagrams >= datagrams;
        let helped = s.tcp_helped && (again || s.late > 0);
        match s.tcp_until.max(s.cookie_tcp_until) > now || in_turn || helped {
            true => Transport::Tcp,
            false => Transport::Udp,
        }
    }

    /// Whether `server` is asked over TCP at present, but for a look over UDP now and then.
    pub fn is_asked_over_tcp(&self, server: IpAddr, now: Duration) -> bool {
        self.table().get(&server).is_some_and(|s| s.tcp_until > now)
    }

    /// The server sent something that matched, whatever it said.
    pub fn answered(&self, server: IpAddr, over: Transport, rtt: Duration, now: Duration) {
        self.family(server).store(0, Ordering::Relaxed);
        self.sends().heard(server, now);
        self.update(server, now, |s| {
            // Datagrams do not get through, or the case of names does not.
            match over {
                Transport::Udp => (s.tcp_helped, s.tcp_until) = (false, Duration::ZERO),
                Transport::Tcp if s.late >= TCP_AFTER || (s.late > 0 && s.tcp_helped) => {
                    let just_now = s.lost_from + TCP_TELLS_WITHIN > now;
                    if s.tcp_helped || (just_now && s.lost_datagrams >= TCP_AFTER) {
                        s.tcp_until = now + TCP_FOR;
                        s.udp_look_at = now + UDP_LOOK_FIRST;
                    }
                    s.tcp_helped = true;
                }
                Transport::Tcp => {}
            }
            let sent_at = now.saturating_sub(rtt);
            // It was held up on its way, and is no measure of the server: a later one was answered before.
            let held_up = rtt >= WAIT_MAX && s.answered_from > sent_at;
            // RFC 6298 section 2.
            match s.srtt {
                Some(_) if held_up => {}
                None => {
                    s.srtt = Some(rtt);
                    s.rttvar = rtt / 2;
                }
                Some(srtt) => {
                    s.rttvar = (s.rttvar * 3 + srtt.abs_diff(rtt)) / 4;
                    s.srtt = Some((srtt * 7 + rtt) / 8);
                }
            }
            (s.late, s.plain_late, s.lost_datagrams) = (0, 0, 0);
            s.retry_at = Duration::ZERO;
            s.answered_from = s.answered_from.max(sent_at);
        });
    }

    /// The same, where it was asked as a server of `zone`. Told before [`Servers::answered`].
    pub fn answered_for(&self, server: IpAddr, zone: &Name, rtt: Duration, now: Duration) {
        self.update(server, now, |s| {
            let sent_at = now.saturating_sub(rtt);
            let turned = s.plain_late > 0 && sent_at > s.late_from;
            s.partly.answered(zone, turned, sent_at, now);
        });
    }

    /// The network says that the server cannot be reached, whatever it is asked for.
    pub fn unreachable(&self, server: IpAddr, over: Transport, now: Duration) {
        self.sends().settled(server);
        self.not_sent(server);
        self.late(server, over, Rtype::A, now);
    }

    /// This machine could not send to the server.
    pub fn not_sent(&self, server: IpAddr) {
        self.family(server).fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the server has answered a question that was put to it after `sent_at`: what it leaves unanswered from before was lost, or met
    /// a silence that is over, and is not owed.
    pub fn is_overtaken(&self, server: IpAddr, sent_at: Duration) -> bool {
        let table = self.table();
        table
            .get(&server)
            .is_some_and(|s| s.answered_from > sent_at)
    }

    /// The server has not answered a question for `rtype` within its wait.
    pub fn late(&self, server: IpAddr, over: Transport, rtype: Rtype, now: Duration) {
        self.update(server, now, |s| {
            // It was expected, and asked only to see.
            if over == Transport::Udp && s.tcp_until > now {
                return;
            }
            if s.late == 0 {
                s.late_from = now;
            }
            s.late_at = now;
            s.late = s.late.saturating_add(1);
            s.plain_late = s.plain_late.saturating_add(PLAIN.contains(&rtype).into());
            if s.lost_datagrams == 0 {
                s.lost_from = now;
            }
            s.lost_datagrams = match over {
                Transport::Udp => s.lost_datagrams.saturating_add(1),
                Transport::Tcp => 0,
            };
            s.retry_at = now + backoff(s.late);
        });
    }

    /// The same, where it was asked as a server of `zone`, at `sent_at`.
    pub fn late_for(
        &self,
        server: IpAddr,
        zone: &Name,
        rtype: Rtype,
        sent_at: Duration,
        now: Duration,
    ) {
        if PLAIN.contains(&rtype) {
            self.update(server, now, |s| s.partly.late(zone, sent_at, now));
        }
    }

    /// The server does not serve `zone`, or fails at it: it comes last for that zone for a while.
    pub fn bad_for(&self, server: IpAddr, zone: &Name, now: Duration, time: Duration) {
        self.rank_for(server, zone, RankClass::BadForZone, now, time);
    }

    /// What the server gave as data of `zone` did not validate: for a while it comes after those that answer otherwise, but
    /// before the silent, for it may be the data of that one name that is broken.
    pub fn bogus_for(&self, server: IpAddr, zone: &Name, now: Duration) {
        self.rank_for(server, zone, RankClass::Bogus, now, BOGUS_FOR);
    }

    fn rank_for(
        &self,
        server: IpAddr,
        zone: &Name,
        class: RankClass,
        now: Duration,
        time: Duration,
    ) {
        self.update(server, now, |s| {
            s.bad_zones.retain(|b| b.zone != *zone && b.until > now);
            if s.bad_zones.len() == BAD_ZONES_MAX {
                s.bad_zones.remove(0);
            }
            s.bad_zones.push(BadZone {
                zone: zone.clone(),
                class,
                until: now + time,
            });
        });
    }

    /// What an answer shows of how the server wants to be asked.
    pub fn heard(&self, server: IpAddr, heard: &Heard, now: Duration) {
        self.update(server, now, |s| s.quirks.heard(heard, now));
    }

    /// Something doubtful came from the server's address.
    pub fn doubted(&self, server: IpAddr, doubt: Doubt, now: Duration) {
        self.update(server, now, |s| s.quirks.doubted(doubt));
    }

    /// No cookie suits the server over UDP.
    pub fn prefers_tcp(&self, server: IpAddr, now: Duration) {
        self.update(server, now, |s| s.cookie_tcp_until = now + TCP_FOR);
    }

    /// The server answered a question that went without mixed case for want of anything better.
    pub fn answered_unmixed(&self, server: IpAddr, now: Duration) {
        self.update(server, now, |s| s.quirks.answered_unmixed(now));
    }

    /// Every known address, by address.
    pub fn status(&self, now: Duration) -> Vec<ServerStatus> {
        let mut all: Vec<ServerStatus> = (self.table().iter())
            .map(|(&server, s)| ServerStatus {
                server,
                srtt: s.srtt,
                state: match (s.late, s.srtt) {
                    (0, None) => ServerState::New,
                    (0, Some(_)) => ServerState::Good,
                    _ => ServerState::Silent,
                },
                quirks: {
                    let tcp = (s.tcp_until.max(s.cookie_tcp_until) > now).then_some("TCP");
                    tcp.into_iter().chain(s.quirks.words(now)).collect()
                },
            })
            .collect();
        all.sort_by_key(|s| s.server);
        all
    }

    fn update(&self, server: IpAddr, now: Duration, change: impl FnOnce(&mut Server)) {
        let mut table = self.table();
        if table.len() >= SERVERS_MAX && !table.contains_key(&server) {
            forget_oldest(&mut table);
        }
        let entry = table.entry(server).or_default();
        entry.used_at = now;
        change(entry);
    }

    fn table(&self) -> MutexGuard<'_, HashMap<IpAddr, Server>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn family(&self, server: IpAddr) -> &AtomicU32 {
        &self.refused[usize::from(server.is_ipv6())]
    }

    /// Whether this machine has no way out for addresses like this one: those never asked before then come after
    /// the living. Known ones are explored as ever, so that a way out that opens is found.
    fn is_family_dead(&self, server: IpAddr) -> bool {
        self.family(server).load(Ordering::Relaxed) >= FAMILY_DEAD_AFTER
    }
}

/// Lowest is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    class: RankClass,
    score: u64,
    tie: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum RankClass {
    Good,
    Bogus,
    Silent,
    DeadPrefix,
    BadForZone,
}

fn rank(
    s: Option<&Server>,
    zone: &Name,
    now: Duration,
    avoid: bool,
    silent: bool,
    rng: &mut SmallRng,
) -> Rank {
    let bad = s.and_then(|s| {
        let mut known = s.bad_zones.iter();
        known.find(|b| b.zone == *zone && b.until > now)
    });
    let own = match (avoid, silent) {
        (true, _) => RankClass::DeadPrefix,
        (_, true) => RankClass::Silent,
        _ => RankClass::Good,
    };
    let class = bad.map_or(own, |b| b.class.max(own));
    let srtt_ms = s
        .and_then(|s| s.srtt)
        .map_or(NEW_SCORE_MS, |t| t.as_millis() as u64);
    let score = match class {
        RankClass::Silent => s.map_or(0, |s| s.retry_at.as_millis() as u64),
        _ => srtt_ms / BAND_MS,
    };
    Rank {
        class,
        score,
        tie: rng.random(),
    }
}

fn backoff(late: u32) -> Duration {
    (BACKOFF_MIN * (1 << late.saturating_sub(1).min(8))).min(BACKOFF_MAX)
}

fn forget_oldest(table: &mut HashMap<IpAddr, Server>) {
    let mut times: Vec<Duration> = table.values().map(|s| s.used_at).collect();
    let (_, &mut median, _) = times.select_nth_unstable(SERVERS_MAX / 2);
    table.retain(|_, s| s.used_at > median);
}

#[cfg(test)]
mod tests;
