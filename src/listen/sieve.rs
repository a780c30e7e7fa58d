//! Fair shares of a queue that more comes to than its thread can take.
//!
//! Why: a queue that is full loses whoever comes, and an honest client that asked once has to ask again a second later, while each of the
//! attacker's datagrams that is taken costs as much as his. What is dropped before it queues costs this thread nothing and waits for nobody.
//!
//! Model: while the queue is short, nothing is done and nothing counted. Once it is *long*, or a socket has lost datagrams, its *networks* (a /24 or
//! /56, as in `limits`) are counted, and if it stays so for [`PATIENCE`] the kernel gets a filter that lets in of each at most as much as of any
//! other. What a thread finds that had to share its core for a moment is taken before that, and costs nobody anything. The thread is to have work for
//! half of what it took last, every network has the same *level* of that, and who asks less than the level is never touched. A share is a
//! probability, so that whoever lives in such a network comes through by asking again. From then on the thread's work may grow by a
//! tenth each second, until the queue is long again (then it is halved) or all fits (then the filter goes).
//!
//! ```text
//! Open --long, lost--> Counting --so for PATIENCE--> Sieving --all fits--> Counting
//!   ^------QUIET_MAX------'                        '--long: work / 2; else: work + a tenth each second
//! ```
//!
//! Nobody is sieved who is *spared*: exempt from limits, or a proxy for others. Forged senders in more than [`SIEVED_MAX`] networks, each of
//! which asks no more than an honest one, cannot be told from honest ones here; then nothing is gained and nothing made worse.
//!
//! Failure: a kernel that has no numbers or takes no filter leaves everything as it was. A filter is made of numbers alone and ends by itself: its
//! jumps go forward only, as the kernel checks once more.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How often the queue is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How often a filter is made anew while the queue is well, and while it is long.
const REMAKE_INTERVAL: Duration = Duration::from_secs(1);
const REMAKE_INTERVAL_LONG: Duration = Duration::from_millis(100);
/// So long a queue is long or loses before anything is done about it: a new version of a mirror, and whatever else comes in bursts, may have the core for a
/// while, and a queue that was full is taken in a tenth of a second.
const PATIENCE: Duration = Duration::from_millis(250);
/// Networks are counted for so long after the queue was long or full.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// Networks that are counted at a time.
const COUNTED_MAX: usize = 1 << 13;
/// Networks in a filter: each costs a comparison for every datagram.
pub const SIEVED_MAX: usize = 256;
/// A network that has asked less often since counting began is nobody's flood.
const SIEVED_MIN: u64 = 8;
/// Of what the thread took when it was too much, so much is let in.
const WORK_SHARE: f64 = 0.5;
/// And so much more each second.
const GROWTH_PER_S: f64 = 0.1;
/// But never less than this, in datagrams a second: any machine takes so many.
const WORK_MIN_PER_S: f64 = 5000.0;
/// What no network is cut below, a second: a household's phones and browsers.
const LEVEL_MIN_PER_S: f64 = 20.0;
/// One in so many is lost before anything is done about it: after a moment without a core a queue loses as much at once.
const LOST_SHARE: u64 = 200;

/// A queue is *long* from this part of its room on. The kernel counts up to a quarter of it too much, as what was taken is given back in lots.
const LONG_NUM: u64 = 3;
const LONG_DEN: u64 = 8;

/// What the kernel says of a socket's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// Octets that wait, as the kernel counts them.
    pub queued: u32,
    /// Octets that may.
    pub room: u32,
    /// Datagrams dropped since the socket was made, by a filter or for want of room; it wraps around.
    pub dropped: u32,
}

impl Pressure {
    fn is_long(self) -> bool {
        u64::from(self.queued) * LONG_DEN > u64::from(self.room) * LONG_NUM
    }
}

/// One step of a filter: a "classic BPF" instruction (linux/filter.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Operation.
    pub code: u16,
    /// Steps to leave out if the comparison holds.
    pub if_true: u8,
    /// The same if not.
    pub if_false: u8,
    /// Operand.
    pub operand: u32,
}

/// What has to be done after a look.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Datagrams that the kernel dropped since the last look.
    pub dropped: u32,
    /// Networks with about how many of theirs the filter dropped.
    pub unseen: Vec<(IpAddr, u64)>,
    /// Networks that get a share, if that has changed: none means that the filter goes.
    pub shares: Option<Vec<Share>>,
}

/// What is let in of a network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    network: Network,
    /// Of one; above 0.
    share: f64,
}

impl Share {
    /// A share of the network that an address is in.
    #[cfg(test)]
    pub fn new(address: IpAddr, share: f64) -> Share {
        Share {
            network: Network::of(address),
            share,
        }
    }
}

/// An IPv4 address without its last octet, or the upper half of an IPv6 one without its last octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Network {
    Four(u32),
    Six(u64),
}

impl Network {
    fn of(address: IpAddr) -> Network {
        match address {
            IpAddr::V4(ip) => Network::Four(ip.to_bits() & FOUR_MASK),
            IpAddr::V6(ip) => Network::Six((ip.to_bits() >> 64) as u64 & SIX_MASK),
        }
    }

    fn address(self) -> IpAddr {
        match self {
            Network::Four(bits) => Ipv4Addr::from_bits(bits).into(),
            Network::Six(bits) => Ipv6Addr::from_bits(u128::from(bits) << 64).into(),
        }
    }
}

const FOUR_MASK: u32 = !0xFF;
const SIX_MASK: u64 = !0xFF;

/// What a network has asked since the filter was made.
#[derive(Debug, Default, Clone, Copy)]
struct Asked {
    taken: u64,
    is_spared: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Open,
    /// Since the last trouble.
    Counting(Duration),
    /// The work that is let in, in datagrams a second.
    Sieving(f64),
}

/// The sieve of one socket.
#[derive(Debug)]
pub struct Sieve {
    state: State,
    /// The last look, and what had been dropped then.
    looked: Option<(Duration, u32)>,
    /// Since when each look has found a queue that was long or lost something.
    pressed: Option<Duration>,
    /// Since when it is counted what was taken.
    since: Duration,
    asked: HashMap<Network, Asked>,
    /// Datagrams taken since then, of networks that are counted or not.
    taken: u64,
    /// And lost since then, for whatever reason.
    lost: u64,
    shares: Vec<Share>,
}

impl Default for Sieve {
    fn default() -> Sieve {
        Sieve {
            state: State::Open,
            looked: None,
            pressed: None,
            since: Duration::ZERO,
            asked: HashMap::new(),
            taken: 0,
            lost: 0,
            shares: Vec::new(),
        }
    }
}

impl Sieve {
    /// Whether who asks has to be counted.
    pub fn is_counting(&self) -> bool {
        self.state != State::Open
    }

    /// Counts a datagram that was taken; `is_spared`: its sender is never sieved, and neither is his network.
    pub fn count(&mut self, sender: IpAddr, is_spared: impl FnOnce() -> bool) {
        self.taken += 1;
        let network = Network::of(sender);
        if let Some(asked) = self.asked.get_mut(&network) {
            asked.taken += 1;
            asked.is_spared = asked.is_spared || is_spared();
        } else if self.asked.len() < COUNTED_MAX {
            let is_spared = is_spared();
            self.asked.insert(
                network,
                Asked {
                    taken: 1,
                    is_spared,
                },
            );
        }
    }

    /// Whether it is time to look at the queue.
    pub fn is_due(&self, now: Duration) -> bool {
        self.looked
            .is_none_or(|(last, _)| now.saturating_sub(last) >= LOOK_INTERVAL)
    }

    /// A look at the queue.
    pub fn look(&mut self, pressure: Pressure, now: Duration) -> Outcome {
        let before = self.looked.replace((now, pressure.dropped));
        let dropped = before.map_or(0, |(_, before)| pressure.dropped.wrapping_sub(before));
        self.lost += u64::from(dropped);
        let mut outcome = Outcome {
            dropped,
            ..Outcome::default()
        };
        let is_long = pressure.is_long();
        let is_pressed = is_long || dropped > 0;
        let since = self.pressed.unwrap_or(now);
        self.pressed = is_pressed.then_some(since);
        let is_patient = now.saturating_sub(since) < PATIENCE;
        let loses = is_long || self.lost * LOST_SHARE > self.taken;
        match self.state {
            State::Open if is_pressed => {
                self.state = State::Counting(now);
                self.begin(now);
            }
            State::Open => {}
            State::Counting(_) if is_pressed && is_patient => self.state = State::Counting(now),
            State::Counting(_) if is_pressed && loses => {
                self.state = State::Counting(now);
                let taken_per_s = self.taken as f64 / self.counted_for(now);
                // All alike have lost what found no room.
                let come = (self.taken + self.lost) as f64 / self.taken.max(1) as f64;
                self.remake(WORK_SHARE * taken_per_s, come, now, &mut outcome);
            }
            State::Counting(last) if now.saturating_sub(last) > QUIET_MAX => {
                self.state = State::Open;
                self.begin(now);
            }
            State::Counting(_) => {}
            State::Sieving(work) => {
                let for_s = self.counted_for(now);
                if is_long && for_s >= REMAKE_INTERVAL_LONG.as_secs_f64() {
                    // At most to a half at once: a thread that had no core for a moment took little.
                    let of_taken = WORK_SHARE * self.taken as f64 / for_s;
                    self.remake(of_taken.max(work / 2.0), 1.0, now, &mut outcome);
                } else if for_s >= REMAKE_INTERVAL.as_secs_f64() {
                    let grown = work * (1.0 + GROWTH_PER_S * for_s.min(2.0));
                    self.remake(grown, 1.0, now, &mut outcome);
                }
            }
        }
        outcome
    }

    /// The kernel has taken no filter: all is let in.
    pub fn refused(&mut self) {
        self.shares.clear();
        self.state = State::Open;
    }

    /// New shares for so much work, by what was counted; `come`: so many times as much as was taken came through the filter.
    fn remake(&mut self, work: f64, come: f64, now: Duration, outcome: &mut Outcome) {
        let work = work.max(WORK_MIN_PER_S);
        let for_s = self.counted_for(now);
        outcome.unseen = self.unseen();
        let mut rest = come * self.taken as f64 / for_s;
        let mut rates = Vec::with_capacity(self.asked.len());
        for (&network, asked) in &self.asked {
            let share = self.share_of(network);
            if !asked.is_spared && (share < 1.0 || asked.taken >= SIEVED_MIN) {
                let per_s = come * asked.taken as f64 / for_s;
                rest -= per_s;
                rates.push((network, per_s / share));
            }
        }
        rates.sort_by(|(a, one), (b, other)| other.total_cmp(one).then(a.cmp(b)));
        let shares = shares(&rates, rest.max(0.0), work);
        self.state = match shares.is_empty() {
            true => State::Counting(now),
            false => State::Sieving(work),
        };
        if !(shares.is_empty() && self.shares.is_empty()) {
            outcome.shares = Some(shares.clone());
        }
        self.shares = shares;
        self.begin(now);
    }

    /// About how many the filter dropped of each network.
    fn unseen(&self) -> Vec<(IpAddr, u64)> {
        let unseen = self.shares.iter().map(|sieved| {
            let taken = self.asked.get(&sieved.network).map_or(0, |a| a.taken);
            let unseen = taken as f64 * (1.0 / sieved.share - 1.0);
            (sieved.network.address(), unseen as u64)
        });
        unseen.collect()
    }

    fn share_of(&self, network: Network) -> f64 {
        let sieved = self.shares.iter().find(|sieved| sieved.network == network);
        sieved.map_or(1.0, |sieved| sieved.share)
    }

    fn counted_for(&self, now: Duration) -> f64 {
        now.saturating_sub(self.since).as_secs_f64().max(0.001)
    }

    fn begin(&mut self, now: Duration) {
        self.since = now;
        (self.taken, self.lost) = (0, 0);
        self.asked.clear();
    }
}

/// The shares that make `rates` (per second, falling) and `rest` no more than `work`: what is above one level for all is cut off. No
/// network is cut to less than one that is not in the filter has.
fn shares(rates: &[(Network, f64)], rest: f64, work: f64) -> Vec<Share> {
    let sum: f64 = rates.iter().map(|(_, rate)| rate).sum();
    if rest + sum <= work {
        return Vec::new();
    }
    let mut below = sum;
    let mut level = 0.0;
    for (count, (_, rate)) in rates.iter().take(SIEVED_MAX).enumerate() {
        below -= rate;
        let next = rates.get(count + 1).map_or(0.0, |(_, next)| *next);
        level = (work - rest - below) / (count + 1) as f64;
        if level >= next {
            break;
        }
        level = next;
    }
    // What is not sieved at all may be more than there is work for.
    let level = level.max(LEVEL_MIN_PER_S);
    let above = rates.iter().take(SIEVED_MAX);
    let above = above.take_while(|(_, rate)| *rate > level);
    above
        .map(|&(network, rate)| Share {
            network,
            share: level / rate,
        })
        .collect()
}

/// Begin of the network header, and of what the kernel knows besides (linux/filter.h).
const NETWORK_HEADER: u32 = -0x10_0000_i32 as u32;
const RANDOM: u32 = (-0x1000_i32 + 56) as u32;
/// Where an IP header has its sender (RFC 791 section 3.1, RFC 8200 section 3).
const FOUR_SENDER: u32 = 12;
const SIX_SENDER: u32 = 8;
/// Operations: load a word, load what was kept, keep, mask, jump, jump if equal, jump if not less than X, load into X, return.
const LOAD: u16 = 0x20;
const RECALL: u16 = 0x60;
const KEEP: u16 = 0x02;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_NOT_LESS: u16 = 0x3D;
const LOAD_X: u16 = 0x01;
const RETURN: u16 = 0x06;

fn step(code: u16, operand: u32) -> Step {
    Step {
        code,
        if_true: 0,
        if_false: 0,
        operand,
    }
}

fn unless_equal(operand: u32, leave_out: u8) -> Step {
    Step {
        if_false: leave_out,
        ..step(IF_EQUAL, operand)
    }
}

/// The filter that lets in of each network its share, and of all others everything. All are of one family, as the clients of a socket are.
pub fn filter(shares: &[Share]) -> Vec<Step> {
    let mut steps = Vec::with_capacity(6 * shares.len() + 8);
    match shares.first().map(|first| first.network) {
        None => return vec![step(RETURN, u32::MAX)],
        Some(Network::Four(_)) => {
            steps.push(step(LOAD, NETWORK_HEADER.wrapping_add(FOUR_SENDER)));
            steps.push(step(AND, FOUR_MASK));
        }
        Some(Network::Six(_)) => {
            steps.push(step(LOAD, NETWORK_HEADER.wrapping_add(SIX_SENDER + 4)));
            steps.push(step(AND, SIX_MASK as u32));
            steps.push(step(KEEP, 1));
            steps.push(step(LOAD, NETWORK_HEADER.wrapping_add(SIX_SENDER)));
            steps.push(step(KEEP, 0));
        }
    }
    let mut jumps = Vec::with_capacity(shares.len());
    for sieved in shares {
        match sieved.network {
            Network::Four(bits) => steps.push(unless_equal(bits, 2)),
            Network::Six(bits) => {
                steps.push(step(RECALL, 0));
                steps.push(unless_equal((bits >> 32) as u32, 4));
                steps.push(step(RECALL, 1));
                steps.push(unless_equal(bits as u32, 2));
            }
        }
        let bound = sieved.share.clamp(0.0, 1.0) * f64::from(u32::MAX);
        steps.push(step(LOAD_X, bound as u32));
        jumps.push(steps.len());
        steps.push(step(JUMP, 0));
    }
    steps.push(step(RETURN, u32::MAX));
    for at in jumps {
        steps[at].operand = (steps.len() - at - 1) as u32;
    }
    steps.push(step(LOAD, RANDOM));
    steps.push(Step {
        if_true: 1,
        ..step(IF_NOT_LESS, 0)
    });
    steps.push(step(RETURN, u32::MAX));
    steps.push(step(RETURN, 0));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The network with this number.
    fn network(n: usize) -> Network {
        Network::Four(0x0A00_0000 + ((n as u32) << 8))
    }

    fn sender(n: usize) -> IpAddr {
        network(n).address()
    }

    fn rates(rates: &[f64]) -> Vec<(Network, f64)> {
        let numbered = rates.iter().enumerate();
        numbered.map(|(n, rate)| (network(n), *rate)).collect()
    }

    /// What is let in a second of each network.
    fn let_in(of: &[f64], rest: f64, work: f64) -> Vec<f64> {
        let shares = shares(&rates(of), rest, work);
        let share = |n| shares.iter().find(|sieved| sieved.network == network(n));
        let numbered = of.iter().enumerate();
        let each = numbered.map(|(n, rate)| rate * share(n).map_or(1.0, |sieved| sieved.share));
        each.map(f64::round).collect()
    }

    #[test]
    fn what_is_above_one_level_is_cut_off() {
        for (of, rest, work, expected) in [
            // All fits.
            (&[900.0, 50.0][..], 50.0, 1000.0, &[900.0, 50.0][..]),
            // One network, and the others as they were.
            (&[9000.0, 50.0], 50.0, 1000.0, &[900.0, 50.0]),
            // Several have the same level, whatever they ask.
            (
                &[9000.0, 900.0, 600.0, 10.0],
                0.0,
                910.0,
                &[300.0, 300.0, 300.0, 10.0],
            ),
            // Who is below the level of the others is not touched.
            (
                &[9000.0, 900.0, 200.0, 10.0],
                0.0,
                1010.0,
                &[400.0, 400.0, 200.0, 10.0],
            ),
            // There is more than can be cut: what is cut keeps a little.
            (&[9000.0, 30.0, 10.0], 5000.0, 1000.0, &[20.0, 20.0, 10.0]),
            (&[], 5000.0, 1000.0, &[]),
        ] {
            assert_eq!(let_in(of, rest, work), expected, "{of:?}, {rest}, {work}");
        }
    }

    #[test]
    fn no_network_is_cut_below_one_that_does_not_fit_into_the_filter() {
        let mut of = vec![1000.0; SIEVED_MAX];
        of.extend([400.0; 100]);
        let let_in = let_in(&of, 0.0, 1000.0);
        assert!(let_in.iter().all(|rate| *rate == 400.0));
        assert!(shares(&rates(&[50.0; 2 * SIEVED_MAX]), 0.0, 1000.0).is_empty());
    }

    /// A socket to which networks ask so much a second, and whose thread takes so many.
    struct Queue {
        sieve: Sieve,
        rates: Vec<f64>,
        capacity: f64,
        pressure: Pressure,
        queued: f64,
        now: Duration,
    }

    impl Queue {
        fn new(rates: &[f64]) -> Queue {
            Queue {
                sieve: Sieve::default(),
                rates: rates.to_vec(),
                capacity: 20_000.0,
                pressure: Pressure {
                    queued: 0,
                    room: 1000,
                    dropped: 0,
                },
                queued: 0.0,
                now: Duration::ZERO,
            }
        }

        /// What of each network is let in now.
        fn passes(&self, n: usize) -> f64 {
            self.rates[n] * self.sieve.share_of(network(n))
        }

        /// Goes on to the next look; whether the filter was changed, and how many were lost for want of room.
        fn pass(&mut self) -> (Outcome, f64) {
            let seconds = LOOK_INTERVAL.as_secs_f64();
            self.now += LOOK_INTERVAL;
            let come: f64 = (0..self.rates.len()).map(|n| self.passes(n)).sum();
            let asked: f64 = self.rates.iter().sum();
            let waiting = self.queued + come * seconds;
            let taken = waiting.min(self.capacity * seconds);
            self.queued = (waiting - taken).min(1000.0);
            let lost = waiting - taken - self.queued;
            for n in 0..self.rates.len() {
                let share = (self.passes(n) / come * taken) as usize;
                if self.sieve.is_counting() {
                    for _ in 0..share {
                        self.sieve.count(sender(n), || n == 1);
                    }
                }
            }
            self.pressure.queued = self.queued as u32;
            let filtered = (asked - come) * seconds;
            let dropped = self.pressure.dropped;
            self.pressure.dropped = dropped.wrapping_add((lost + filtered) as u32);
            (self.sieve.look(self.pressure, self.now), lost)
        }
    }

    #[test]
    fn a_flood_is_cut_off_before_the_queue_and_nobody_else_is() {
        // A flood, who asks much and is spared, and honest ones.
        let mut queue = Queue::new(&[90_000.0, 8000.0, 300.0, 10.0]);
        queue.pressure.dropped = u32::MAX - 100;
        let mut first = 0;
        while queue.sieve.shares.is_empty() {
            queue.pass();
            first += 1;
        }
        assert_eq!(first, 14, "long, counted, still long after a while");
        queue.pass();
        let mut long = 0;
        for _ in 0..3000 {
            let (outcome, lost) = queue.pass();
            assert_eq!(lost, 0.0);
            long += usize::from(queue.pressure.is_long());
            assert_eq!([1, 2, 3].map(|n| queue.passes(n)), [8000.0, 300.0, 10.0]);
            assert!(queue.passes(0) >= 1000.0);
            if let [(who, unseen), ..] = outcome.unseen[..] {
                assert_eq!(who, sender(0));
                assert!(unseen > 0);
            }
        }
        // As it grows it finds its bound again, every seven seconds or so.
        assert!(long <= 60, "{long} of 3000");
        // Over: all of it goes.
        queue.rates[0] = 100.0;
        queue.queued = 0.0;
        let went = (0..200).find_map(|_| queue.pass().0.shares.filter(Vec::is_empty));
        assert!(went.is_some());
        assert!((0..200).all(|_| queue.pass().0.shares.is_none()));
        assert!(!queue.sieve.is_counting());
    }

    #[test]
    fn a_burst_of_other_work_costs_nobody_anything_more() {
        // Seven tenths of what is taken; for a fifth of a second half of the core goes to something else.
        let mut queue = Queue::new(&[14_000.0, 8.0]);
        let mut lost = 0.0;
        for look in 0..200 {
            queue.capacity = match (50..60).contains(&look) {
                true => 10_000.0,
                false => 20_000.0,
            };
            let (outcome, now) = queue.pass();
            assert_eq!(outcome.shares, None, "look {look}");
            lost += now;
        }
        assert_eq!(lost, 0.0);
        assert!(!queue.sieve.is_counting());
    }

    #[test]
    fn one_loss_after_a_moment_without_a_core_changes_nothing() {
        let mut queue = Queue::new(&[15_000.0, 600.0]);
        queue.pass();
        queue.pressure.dropped += 500;
        assert_eq!(queue.pass().0.dropped, 500);
        assert!(queue.sieve.is_counting());
        // Less than one in two hundred of what was taken meanwhile.
        queue.pressure.dropped += 1;
        assert_eq!(queue.pass().0.shares, None);
        assert!((0..200).all(|_| queue.pass().0.shares.is_none()));
        assert!(!queue.sieve.is_counting());
    }

    #[test]
    fn a_filter_is_short_enough_for_the_kernel() {
        let six = |n: usize| Network::Six((n as u64) << 8);
        for of in [network, six] {
            let networks = (0..SIEVED_MAX).map(of);
            let shares: Vec<_> = networks
                .map(|network| Share {
                    network,
                    share: 0.5,
                })
                .collect();
            // linux/bpf_common.h: BPF_MAXINSNS.
            assert!(filter(&shares).len() <= 4096);
        }
    }
}
