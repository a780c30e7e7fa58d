//! Which prefixes are dead: evidence of many addresses and zones, pooled.
//!
//! Why: whole prefixes are black-holed at once (April 2018), silently. The resolver's backoff per address lets each
//! zone pay for each address in such a prefix that was never asked: a wait of 400 ms, twice with IPv6. Pooled, the
//! first few timeouts pay for all.
//!
//! Model: a [`PrefixMachine`] has a *block* per /24 and /16 (IPv4) or /48 and /32 (IPv6) that was asked, and its
//! addresses. An observation counts in the narrow and in the wide block of its address:
//!
//! ```text
//!           failures in a row             confirmed
//!   living ------------------> suspect -------------> dead -- nothing fails for LAPSES_AFTER --> suspect again
//!     ^                          |  |                  |                                            |  one failure: dead
//!     |   SUSPECT_FOR is over    |  |  any answer      |  any answer                                |  any answer: living
//!     +--------------------------+--+------------------+--------------------------------------------+
//! ```
//!
//! - **Suspect**: [`FAILURES_MIN`] failures since the last answer, of two addresses (wide: in three narrow blocks) and for
//!   two zones, while addresses outside the block answered.
//! - **Dead**: as many addresses (narrow blocks) have failed since again, and with them each of the [`VOUCHERS_MAX`]
//!   addresses that answered last, and an address outside the block has answered: a family in which nothing answers is no
//!   matter of prefixes. Questions of clients and probes count alike.
//! - **Probes** go to an address outside a suspect block, to its vouchers and to the others; to one address of a dead block per
//!   [`DEAD_PROBE_EVERY`], in turn, where no question was put to it meanwhile. All blocks together have [`PROBES_PER_S`]; where that is not enough, and without
//!   probes at all, a verdict lapses, so that a return is found within 30 s whatever happens.
//!
//! Any answer, whatever it says, ends suspicion and verdict of both its blocks at once: one living server outweighs.
//!
//! Failure: a verdict that is wrong costs no zone its answer, for it changes the order of addresses alone. The tables are
//! bounded ([`NARROW_MAX`], [`WIDE_MAX`], [`MEMBERS_MAX`]; 8 MiB with usual names, 25 MiB with the longest in all); the oldest go
//! first, and what is forgotten is living.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::clock::Now;
use crate::dns::Name;

/// Prefix lengths, narrow and wide, by family.
const LENGTHS_V4: [u8; 2] = [24, 16];
const LENGTHS_V6: [u8; 2] = [48, 32];
/// Failures in a row that make a block suspect.
pub const FAILURES_MIN: u32 = 3;
/// Addresses in which a narrow block must fail, narrow blocks in which a wide one must, and zones that must be hit.
const ADDRESSES_MIN: usize = 2;
const NARROWS_MIN: usize = 3;
const ZONES_MIN: usize = 2;
/// Zones remembered of one row of failures.
const ZONES_KEPT_MAX: usize = 4;
/// Failures that are further apart are not of one kind.
const WINDOW: Duration = Duration::from_secs(10);
/// How long a suspicion waits to be confirmed, and one that was a verdict before.
const SUSPECT_FOR: Duration = Duration::from_secs(10);
const LAPSED_FOR: Duration = Duration::from_secs(60);
/// A verdict without a fresh failure for so long is in doubt.
pub const LAPSES_AFTER: Duration = Duration::from_secs(25);
/// How long an address that answered speaks for its block.
const VOUCHES_FOR: Duration = Duration::from_secs(600);
/// How many of those must fail for a verdict.
pub const VOUCHERS_MAX: usize = 3;
/// One address of a dead block is probed per this time, if nobody else has asked there; once in a longer time whoever asks, and then over TCP too.
pub const DEAD_PROBE_EVERY: Duration = Duration::from_secs(5);
const DEAD_TCP_EVERY: Duration = Duration::from_secs(15);
/// Addresses that are probed for one suspicion.
const SUSPECT_PROBES_MAX: usize = 6;
/// Probes in a second, over all blocks, and at once after a pause.
pub const PROBES_PER_S: u32 = 10;
/// Addresses remembered per block.
pub const MEMBERS_MAX: usize = 8;
/// Narrow blocks in the table.
pub const NARROW_MAX: usize = 8192;
/// Wide blocks in the table.
pub const WIDE_MAX: usize = 4096;

/// What changed for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The prefix is dead.
    Died(IpNet, String),
    /// An address in it answered.
    Returned(IpNet, IpAddr, Duration),
    /// Nothing has confirmed it of late.
    Lapsed(IpNet),
}

/// A dead prefix, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadPrefix {
    /// The prefix.
    pub prefix: IpNet,
    /// Since when.
    pub since: Now,
    /// What brought the verdict.
    pub evidence: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum State {
    #[default]
    Living,
    Suspect {
        since: Duration,
        /// It was dead before.
        lapsed: bool,
    },
    Dead {
        since: Now,
        evidence: String,
    },
}

#[derive(Debug)]
struct Member {
    address: IpAddr,
    /// Of which it was last asked.
    zone: Name,
    answered_at: Option<Duration>,
    /// Since the block's last answer.
    failed_at: Option<Duration>,
    probed_at: Option<Duration>,
}

impl Member {
    fn used_at(&self) -> Option<Duration> {
        self.answered_at.max(self.failed_at)
    }
}

#[derive(Debug, Default)]
struct Block {
    members: Vec<Member>,
    state: State,
    /// Since the last answer, none more than `WINDOW` after the one before; when the first and the last of them was.
    failures: u32,
    /// Whose they were.
    zones: Vec<Name>,
    failing_since: Duration,
    failed_at: Duration,
    probe_at: Duration,
    /// While dead: when it is probed over TCP, too.
    tcp_probe_at: Duration,
    used_at: Duration,
}

/// A probe that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// As a server of this zone,
    pub zone: Name,
    /// this address is asked,
    pub address: IpAddr,
    /// if need be over TCP.
    pub over_tcp: bool,
}

/// An answer, from anywhere.
#[derive(Debug, Clone)]
struct Answered {
    address: IpAddr,
    zone: Name,
    at: Duration,
}

/// Judges prefixes. Time is handed in.
#[derive(Debug)]
pub struct PrefixMachine {
    narrow: HashMap<IpNet, Block>,
    wide: HashMap<IpNet, Block>,
    /// The blocks that are not living.
    troubled: BTreeSet<IpNet>,
    /// The last answers of each family, from two wide prefixes.
    answers: [[Option<Answered>; 2]; 2],
    /// Probes that may be sent now, in thousandths, and as of when.
    tokens: u64,
    tokens_at: Duration,
}

impl Default for PrefixMachine {
    fn default() -> PrefixMachine {
        PrefixMachine {
            narrow: HashMap::new(),
            wide: HashMap::new(),
            troubled: BTreeSet::new(),
            answers: Default::default(),
            tokens: u64::from(PROBES_PER_S) * 1000,
            tokens_at: Duration::ZERO,
        }
    }
}

/// The narrow and the wide prefix of an address.
pub fn prefixes_of(address: IpAddr) -> [IpNet; 2] {
    let lengths = match address {
        IpAddr::V4(_) => LENGTHS_V4,
        IpAddr::V6(_) => LENGTHS_V6,
    };
    lengths.map(|length| IpNet::new_assert(address, length).trunc())
}

fn is_wide(prefix: IpNet) -> bool {
    prefix.prefix_len() == prefixes_of(prefix.addr())[1].prefix_len()
}

impl PrefixMachine {
    /// An address sent anything that matched, asked as a server of `zone`.
    pub fn answered(&mut self, address: IpAddr, zone: &Name, now: Now) -> Vec<Change> {
        self.note_answer(address, zone, now.mono);
        let mut changes = Vec::new();
        for prefix in prefixes_of(address) {
            let block = self.block(prefix, now.mono);
            block.member(address, zone).answered_at = Some(now.mono);
            block.failures = 0;
            let was = std::mem::take(&mut block.state);
            if was == State::Living {
                continue;
            }
            block.members.iter_mut().for_each(Member::forgive);
            self.troubled.remove(&prefix);
            if let State::Dead { since, .. } = was {
                let dead_for = now.mono.saturating_sub(since.mono);
                changes.push(Change::Returned(prefix, address, dead_for));
            }
        }
        changes
    }

    /// A question to an address, or a probe of it, met silence or was said to be unreachable.
    pub fn failed(&mut self, address: IpAddr, zone: &Name, now: Now) -> Vec<Change> {
        let mut changes = Vec::new();
        for prefix in prefixes_of(address) {
            let elsewhere = self.elsewhere(prefix).map(|a| a.at);
            let block = self.block(prefix, now.mono);
            block.count_failure(address, zone, now.mono);
            // What fails now was asked some time ago.
            let others_lived = elsewhere.is_some_and(|at| at + WINDOW >= block.failing_since);
            let spread = |after: Option<Duration>| block.spread(is_wide(prefix), after);
            let next = match &block.state {
                State::Living if others_lived && block.failures >= FAILURES_MIN && spread(None) => {
                    State::Suspect {
                        since: now.mono,
                        lapsed: false,
                    }
                }
                State::Suspect { since, lapsed } => {
                    let enough = *lapsed || spread(Some(*since));
                    let others_live = elsewhere.is_some_and(|at| at >= *since);
                    if !enough || !others_live || !block.is_forsaken(*since, now.mono) {
                        continue;
                    }
                    let evidence = block.evidence();
                    changes.push(Change::Died(prefix, evidence.clone()));
                    State::Dead {
                        since: now,
                        evidence,
                    }
                }
                // Somebody has asked: that was as good as a probe.
                State::Dead { .. } => {
                    let next_at = (now.mono + DEAD_PROBE_EVERY).min(block.tcp_probe_at);
                    block.probe_at = block.probe_at.max(next_at);
                    block.member(address, zone).probed_at = Some(now.mono);
                    continue;
                }
                State::Living => continue,
            };
            block.state = next;
            (block.probe_at, block.tcp_probe_at) = (now.mono, now.mono);
            self.troubled.insert(prefix);
        }
        changes
    }

    /// Ends what nothing has confirmed in time.
    pub fn tick(&mut self, now: Now) -> Vec<Change> {
        let mut changes = Vec::new();
        for prefix in self.troubled.clone() {
            let block = self.block_of(prefix);
            match block.state {
                State::Suspect { since, lapsed } => {
                    let time = if lapsed { LAPSED_FOR } else { SUSPECT_FOR };
                    if now.mono >= since + time {
                        block.state = State::Living;
                        block.failures = 0;
                        block.members.iter_mut().for_each(Member::forgive);
                        self.troubled.remove(&prefix);
                    }
                }
                State::Dead { .. } if now.mono >= block.failed_at + LAPSES_AFTER => {
                    block.state = State::Suspect {
                        since: now.mono,
                        lapsed: true,
                    };
                    block.probe_at = now.mono;
                    changes.push(Change::Lapsed(prefix));
                }
                _ => {}
            }
        }
        changes
    }

    /// Whom to ask now, and as a server of what. Whoever does not probe does not call this.
    pub fn poll_probes(&mut self, now: Duration) -> Vec<Probe> {
        self.refill(now);
        let mut due: Vec<(bool, Duration, IpNet)> = Vec::new();
        for &prefix in &self.troubled {
            let Some(block) = self.table(prefix).get(&prefix) else {
                continue;
            };
            let is_dead = matches!(block.state, State::Dead { .. });
            // The probes of a dead wide block stand for all in it.
            let is_covered = !is_wide(prefix) && {
                let wide = prefixes_of(prefix.addr())[1];
                let wide = self.wide.get(&wide);
                wide.is_some_and(|w| matches!(w.state, State::Dead { .. }))
            };
            if block.probe_at <= now && !is_covered {
                due.push((is_dead, block.probe_at, prefix));
            }
        }
        // Suspicions first: somebody waits for the verdict.
        due.sort();
        let mut probes: BTreeMap<IpAddr, (Name, bool)> = BTreeMap::new();
        for (is_dead, _, prefix) in due {
            // Nobody may have asked anywhere else since: the probe of a living address tells the prefix from the family.
            if !is_dead
                && let Some(other) = self.elsewhere(prefix)
                && self.tokens >= 1000
            {
                let (address, zone) = (other.address, other.zone.clone());
                if probes.insert(address, (zone, true)).is_none() {
                    self.tokens -= 1000;
                }
            }
            loop {
                if self.tokens < 1000 {
                    return Probe::all(probes);
                }
                let block = self.block_of(prefix);
                let Some(member) = block.next_probe(now) else {
                    block.probe_at = Duration::MAX;
                    break;
                };
                member.probed_at = Some(now);
                let (address, zone) = (member.address, member.zone.clone());
                let over_tcp = !is_dead || block.tcp_probe_at <= now;
                if is_dead {
                    block.probe_at = now + DEAD_PROBE_EVERY;
                }
                if over_tcp {
                    block.tcp_probe_at = now + DEAD_TCP_EVERY;
                }
                // One answer is news for both its blocks.
                let before = probes.get(&address).map(|(_, over_tcp)| *over_tcp);
                let over_tcp = over_tcp || before == Some(true);
                if probes.insert(address, (zone, over_tcp)).is_none() {
                    self.tokens -= 1000;
                }
                if is_dead {
                    break;
                }
            }
        }
        Probe::all(probes)
    }

    /// Whether anything is to be watched as time passes.
    pub fn is_troubled(&self) -> bool {
        !self.troubled.is_empty()
    }

    /// All dead prefixes, by address.
    pub fn dead(&self) -> Vec<DeadPrefix> {
        let found = self.troubled.iter().filter_map(|prefix| {
            match &self.table(*prefix).get(prefix)?.state {
                State::Dead { since, evidence } => Some(DeadPrefix {
                    prefix: *prefix,
                    since: *since,
                    evidence: evidence.clone(),
                }),
                _ => None,
            }
        });
        found.collect()
    }

    /// How many blocks are suspect, and how many are dead.
    pub fn counts(&self) -> (usize, usize) {
        let dead = self.troubled.iter().filter(|p| {
            let block = self.table(**p).get(p);
            block.is_some_and(|b| matches!(b.state, State::Dead { .. }))
        });
        let dead = dead.count();
        (self.troubled.len() - dead, dead)
    }

    /// The last answer of the family from outside the prefix.
    fn elsewhere(&self, prefix: IpNet) -> Option<&Answered> {
        let answers = &self.answers[usize::from(prefix.addr().is_ipv6())];
        let found = answers.iter().flatten();
        found
            .filter(|a| !prefix.contains(&a.address))
            .max_by_key(|a| a.at)
    }

    fn note_answer(&mut self, address: IpAddr, zone: &Name, at: Duration) {
        let [first, second] = &mut self.answers[usize::from(address.is_ipv6())];
        let wide = prefixes_of(address)[1];
        if first.as_ref().is_none_or(|a| !wide.contains(&a.address)) {
            std::mem::swap(first, second);
        }
        match first {
            Some(a) if a.address == address => a.at = at,
            _ => {
                *first = Some(Answered {
                    address,
                    zone: zone.clone(),
                    at,
                });
            }
        }
    }

    fn table(&self, prefix: IpNet) -> &HashMap<IpNet, Block> {
        match is_wide(prefix) {
            true => &self.wide,
            false => &self.narrow,
        }
    }

    fn block_of(&mut self, prefix: IpNet) -> &mut Block {
        let table = match is_wide(prefix) {
            true => &mut self.wide,
            false => &mut self.narrow,
        };
        table.entry(prefix).or_default()
    }

    /// The block, made if need be: then the older half of a full table goes.
    fn block(&mut self, prefix: IpNet, now: Duration) -> &mut Block {
        let (table, max) = match is_wide(prefix) {
            true => (&mut self.wide, WIDE_MAX),
            false => (&mut self.narrow, NARROW_MAX),
        };
        if table.len() >= max && !table.contains_key(&prefix) {
            let mut times: Vec<Duration> = table.values().map(|b| b.used_at).collect();
            let (_, &mut median, _) = times.select_nth_unstable(max / 2);
            table.retain(|_, b| b.used_at > median);
            let wide = is_wide(prefix);
            self.troubled
                .retain(|p| is_wide(*p) != wide || table.contains_key(p));
        }
        let block = table.entry(prefix).or_default();
        block.used_at = now;
        block
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.tokens_at);
        let new = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let full = u64::from(PROBES_PER_S) * 1000;
        let tokens = self
            .tokens
            .saturating_add(new.saturating_mul(PROBES_PER_S.into()));
        self.tokens = tokens.min(full);
        self.tokens_at = now;
    }
}

impl Probe {
    fn all(due: BTreeMap<IpAddr, (Name, bool)>) -> Vec<Probe> {
        let probe = |(address, (zone, over_tcp))| Probe {
            zone,
            address,
            over_tcp,
        };
        due.into_iter().map(probe).collect()
    }
}

impl Member {
    fn forgive(&mut self) {
        self.failed_at = None;
    }
}

impl Block {
    /// The address among those remembered.
    fn member(&mut self, address: IpAddr, zone: &Name) -> &mut Member {
        let at = self.members.iter().position(|m| m.address == address);
        let at = at.unwrap_or_else(|| {
            if self.members.len() >= MEMBERS_MAX {
                self.forget_one();
            }
            self.members.push(Member {
                address,
                zone: zone.clone(),
                answered_at: None,
                failed_at: None,
                probed_at: None,
            });
            self.members.len() - 1
        });
        let member = &mut self.members[at];
        if member.zone != *zone {
            member.zone = zone.clone();
        }
        member
    }

    /// The oldest goes, but for those whose word counts.
    fn forget_one(&mut self) {
        let vouch: Vec<IpAddr> = self
            .vouchers(Duration::ZERO)
            .iter()
            .map(|m| m.address)
            .collect();
        let others = (self.members.iter().enumerate()).filter(|(_, m)| !vouch.contains(&m.address));
        let oldest = others.min_by_key(|(_, m)| m.used_at()).map(|(i, _)| i);
        self.members.swap_remove(oldest.unwrap_or(0));
    }

    fn count_failure(&mut self, address: IpAddr, zone: &Name, now: Duration) {
        let is_apart = now > self.failed_at + WINDOW && self.state == State::Living;
        if self.failures == 0 || is_apart {
            self.failures = 0;
            self.zones.clear();
            self.failing_since = now;
            self.members.iter_mut().for_each(Member::forgive);
        }
        self.failures = self.failures.saturating_add(1);
        if self.zones.len() < ZONES_KEPT_MAX && !self.zones.contains(zone) {
            self.zones.push(zone.clone());
        }
        self.failed_at = now;
        self.member(address, zone).failed_at = Some(now);
    }

    /// Whether the failures (those after a moment) are of enough addresses and zones.
    fn spread(&self, wide: bool, after: Option<Duration>) -> bool {
        let counts = |m: &&Member| m.failed_at.is_some_and(|at| after.is_none_or(|t| at > t));
        let failed = || self.members.iter().filter(counts);
        let places = match wide {
            true => {
                let narrow = failed().map(|m| prefixes_of(m.address)[0]);
                narrow.collect::<BTreeSet<_>>().len() >= NARROWS_MIN
            }
            false => failed().count() >= ADDRESSES_MIN,
        };
        places && self.zones.len() >= ZONES_MIN
    }

    /// The addresses that answered last, the latest first.
    fn vouchers(&self, now: Duration) -> Vec<&Member> {
        let mut found: Vec<&Member> = (self.members.iter())
            .filter(|m| m.answered_at.is_some_and(|at| at + VOUCHES_FOR > now))
            .collect();
        found.sort_by_key(|m| std::cmp::Reverse(m.answered_at));
        found.truncate(VOUCHERS_MAX);
        found
    }

    /// Whether none of those who should answer does.
    fn is_forsaken(&self, since: Duration, now: Duration) -> bool {
        let failed = |m: &&Member| m.failed_at.is_some_and(|at| at > since);
        self.vouchers(now).iter().all(failed)
    }

    /// Who is probed next: of a dead block the one that was not probed for the longest time, of a suspect one whoever has
    /// neither failed nor been probed since the suspicion began, vouchers first.
    fn next_probe(&mut self, now: Duration) -> Option<&mut Member> {
        let vouch: Vec<IpAddr> = self.vouchers(now).iter().map(|m| m.address).collect();
        match self.state {
            State::Living => None,
            State::Dead { .. } => {
                (self.members.iter_mut()).min_by_key(|m| (m.probed_at, m.address))
            }
            State::Suspect { since, .. } => {
                let is_probed = |m: &Member| m.probed_at.is_some_and(|at| at >= since);
                if self.members.iter().filter(|m| is_probed(m)).count() >= SUSPECT_PROBES_MAX {
                    return None;
                }
                let open =
                    |m: &&mut Member| !is_probed(m) && m.failed_at.is_none_or(|at| at <= since);
                let rank = |m: &&mut Member| {
                    let voucher = vouch.iter().position(|a| *a == m.address);
                    (voucher.unwrap_or(usize::MAX), m.address)
                };
                self.members.iter_mut().filter(open).min_by_key(rank)
            }
        }
    }

    /// `5 failures in a row, of 203.0.113.1 and 203.0.113.2, as servers of a.com. and b.com.`
    fn evidence(&self) -> String {
        let failed = || self.members.iter().filter(|m| m.failed_at.is_some());
        let mut addresses: Vec<IpAddr> = failed().map(|m| m.address).collect();
        addresses.sort();
        let zones = self.zones.iter().map(ToString::to_string);
        let named = |words: Vec<String>| match words.as_slice() {
            [a, b, rest @ ..] if !rest.is_empty() => format!("{a}, {b} and {} more", rest.len()),
            few => few.join(" and "),
        };
        format!(
            "{} failures in a row, of {}, as servers of {}",
            self.failures,
            named(addresses.iter().map(ToString::to_string).collect()),
            named(zones.collect()),
        )
    }
}

#[cfg(test)]
#[path = "prefix_tests.rs"]
mod tests;
