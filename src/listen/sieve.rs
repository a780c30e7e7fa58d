//! Fair shares of a queue that more comes to than its thread can take.
//!
//! Why: a queue that is full loses whoever comes, and an honest client that asked once has to ask again a second later, while each of the
//! attacker's datagrams that is taken costs as much as his. What is dropped before it queues costs this thread nothing and waits for nobody.
//!
//! Model: while the queue is short, nothing is done, and nothing is counted but how many come. Once it is *long*, or has lost datagrams for want of room, its
//! *networks* (a /24 or /56, as in `limits`) are counted, and if it stays so for a quarter of a second the kernel gets a filter that lets in of each at most as
//! much as of any other. What a thread finds that had to share its core for a moment is taken before that, and costs nobody anything. The thread is to
//! have work for half of what it took last, every network has the same *level* of that, and who asks less than the level is never touched. A share is a
//! probability, so that whoever lives in such a network comes through by asking again. From then on the thread's work may grow by a
//! tenth each second, until the queue *fills* again (then it is halved) or all fits (then the filter goes).
//!
//! After a moment without a core as few come as ever; a flood is more than ever came. So where half of what the thread takes is more than all that is
//! *usual* (the most that came in a tenth of a second while the queue was short), and the queue grows nevertheless, there is nothing to be patient for: whoever
//! comes as usual finds room in that half. Such a *surge* is cut after [`SURGE_LOOKS`]. What waits in the queue by then has passed no filter: it gets the same
//! shares as it is taken, for to take it costs little and to answer it would take a tenth of a second, for which all others wait.
//!
//! And where no more comes than is usual there is no flood, but a thread that has become slow: other work has its core, or a neighbour the other half of it. To
//! halve its work then would lose a quarter of all queries for a few in a hundred too many. So it is met in another [`Manner`]: [`SLOW`] or [`SLOW_LINE`], not [`FLOOD`].
//!
//! ```text
//! Open --long, lost, a surge--> Counting --so for `patience`, or a surge for SURGE_LOOKS--> Sieving --all fits--> Counting
//!   ^---------QUIET_MAX------------'                          '--fills: work * `work_share`; else: work + a tenth each second
//! ```
//!
//! Connections are sieved in the same way ([`CONNECTIONS`]) before a listening socket, whose queue is the line of those that wait to be taken (`crowd`).
//!
//! What the kernel drops while the queue is nearly empty has not wanted for room: a datagram with a wrong checksum, a stray segment. Anybody can send such, so it
//! begins no filter and makes none narrower.
//!
//! Nobody's network is sieved of whom a *spared* sender was taken: exempt from limits, or a proxy for others. Forged senders in more than [`SIEVED_MAX`] networks, each of
//! which asks no more than an honest one, cannot be told from honest ones here; then nothing is gained and nothing made worse.
//!
//! Failure: a kernel that has no numbers or takes no filter leaves everything as it was. A filter is made of numbers alone and ends by itself: its
//! jumps go forward only, as the kernel checks once more.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How often the queue is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// A queue that is taken loses half in so long; meanwhile more is taken than comes, and nobody's share can be reckoned.
const HALVED_IN: Duration = Duration::from_millis(100);
/// So many looks in a row find a surge before it is cut: the networks are counted between the first of them and the last.
const SURGE_LOOKS: u32 = 3;
/// And so many find that the queue fills before less is let in.
const FILLS_LOOKS: u32 = 3;
/// What is usual is the most that came in such a time; it is known after so many of them, and forgotten by half in so long.
const USUAL_OVER: Duration = Duration::from_millis(100);
const USUAL_AFTER: u32 = 10;
const USUAL_HALVED_S: f64 = 300.0;
/// And what comes is no more than usual up to this multiple of it.
const USUAL_MARGIN: f64 = 1.25;
/// Networks are counted for so long after the queue was long or full.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// Networks that are counted at a time.
const COUNTED_MAX: usize = 1 << 13;
/// Networks in a filter: each costs a comparison for every datagram.
pub const SIEVED_MAX: usize = 256;
/// So much more is let in each second.
const GROWTH_PER_S: f64 = 0.1;
/// One in so many is lost before anything is done about it: after a moment without a core a queue loses as much at once.
const LOST_SHARE: u64 = 200;

/// What a datagram takes of the room, about: 768 at the least, three times as much behind some network cards. Reckoned too low, a surge passes for larger
/// than it is, until the next filter.
const DATAGRAM_OCTETS: u32 = 1024;

/// A queue's room is for moments in which its thread has no core: whole machines stand still for a fifth of a second. Long is what the thread takes a
/// tenth of a second for, so of a larger room no more than this counts below.
pub const RECKONED_ROOM_OCTETS: u32 = 8 << 20;
/// The same for a line of connections, which are counted.
const RECKONED_ROOM_CONNECTIONS: usize = 1024;

/// What comes through a sieve, and how much of it is little.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Never less is let in than this, a second: any machine takes so many.
    work_min_per_s: f64,
    /// What no network is cut below, a second.
    level_min_per_s: f64,
    /// A network that has come less often since counting began is nobody's flood.
    sieved_min: u64,
    /// What a network with a share was found to send, if that was more, weighs as much as what is counted in so long.
    memory: Duration,
    /// Whether only packets that open a connection are sieved, and all others let in.
    pub openings: bool,
    /// How it is met that no more than usual comes and is too much.
    slow: &'static Manner,
}

/// Datagrams at a socket of UDP. A household's phones and browsers ask 20 times a second.
pub const DATAGRAMS: Kind = Kind {
    work_min_per_s: 5000.0,
    level_min_per_s: 20.0,
    sieved_min: 8,
    memory: Duration::ZERO,
    openings: false,
    slow: &SLOW,
};
/// Connections at a listening socket. A tenth as many come of them, for each costs both sides ten times as much and carries many questions; so of a network there
/// may be one or none between two filters, and what it was found to send before says more than that.
pub const CONNECTIONS: Kind = Kind {
    work_min_per_s: 1000.0,
    level_min_per_s: 2.0,
    sieved_min: 2,
    memory: Duration::from_millis(200),
    openings: true,
    slow: &SLOW_LINE,
};

/// A queue is *long* from this part of its room on. The kernel counts up to a quarter of it too much, as what was taken is given back in lots.
const LONG: (u64, u64) = (3, 8);
/// From this part on it *fills*: where there is a filter already that is enough to let in less, for it is the flood alone that pays.
const FILLS: (u64, u64) = (1, 8);
/// From this part on a queue that grows may be a surge's: a program that measures how much is answered has a thousand questions outstanding, and loses none.
const SURGES: (u64, u64) = (1, 4);

/// How it is met that more comes than is taken.
#[derive(Debug)]
struct Manner {
    /// So long a queue is long or loses before anything is done.
    patience: Duration,
    /// Of what the thread took when it was too much, so much is let in.
    work_share: f64,
    /// How often a filter may be made anew while the queue is long, and is while it is well.
    remake_long: Duration,
    remake_well: Duration,
    /// Each filter that proves well doubles the growth, so many times at the most.
    faster_max: u32,
    /// Whether less is let in as soon as the queue fills.
    is_wary: bool,
}

/// A flood: it alone pays. Patience, for a new version of a mirror, and whatever else comes in bursts, may have the core for a while, and a queue that was
/// full is taken in a tenth of a second. While it is long the filter is soon made anew, for what came and found room is not counted, so more may come than
/// the filter was made for.
const FLOOD: Manner = Manner {
    patience: Duration::from_millis(250),
    work_share: 0.5,
    remake_long: Duration::from_millis(20),
    remake_well: Duration::from_secs(1),
    faster_max: 0,
    is_wary: true,
};
/// No more than usual: there is nobody to keep off, the thread has become slow. What the queue loses of itself is then the least that can be lost, so it is only
/// cut if that goes on, by little, and not for long.
const SLOW: Manner = Manner {
    patience: Duration::from_secs(2),
    work_share: 0.9,
    remake_long: Duration::from_millis(100),
    remake_well: Duration::from_millis(250),
    faster_max: 3,
    is_wary: false,
};
/// The same for a line of connections. A flood that just fits is what is usual, and a line that has become long in a moment without a core stays so for half a
/// second, for hardly more is taken than comes. Whoever waits in it is kept from his answer, and who is not let in comes again: so patience is short here.
const SLOW_LINE: Manner = Manner {
    patience: Duration::from_millis(100),
    work_share: 0.75,
    ..SLOW
};

/// What the kernel says of a socket's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// Octets that wait, as the kernel counts them.
    pub queued: u32,
    /// Octets that may.
    pub room: u32,
    /// Packets dropped since the socket was made: by a filter, for want of room, or because they are damaged; it wraps around.
    pub dropped: u32,
}

impl Pressure {
    /// Of a line of connections: so many wait, and so many may. Each counts as a datagram.
    pub fn of_line(waiting: usize, room: usize, dropped: u32) -> Pressure {
        let octets = |count: usize| {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            count.saturating_mul(DATAGRAM_OCTETS)
        };
        Pressure {
            queued: octets(waiting),
            room: octets(room.min(RECKONED_ROOM_CONNECTIONS)),
            dropped,
        }
    }

    /// Whichever of two is nearer to being full.
    pub fn or_longer(self, other: Pressure) -> Pressure {
        let of = |one: Pressure, room: u32| u64::from(one.queued) * u64::from(room);
        match of(other, self.room) > of(self, other.room) {
            true => other,
            false => self,
        }
    }

    fn is_long(self) -> bool {
        self.is_above(LONG)
    }

    fn is_above(self, (num, den): (u64, u64)) -> bool {
        let room = self.room.min(RECKONED_ROOM_OCTETS);
        u64::from(self.queued) * den > u64::from(room) * num
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

/// The most that came while the queue was short.
#[derive(Debug, Default)]
struct Usual {
    most_per_s: f64,
    known: u32,
    /// Since when the queue has been short or it was last reckoned, as a time, and what came in it.
    time: Duration,
    came: u64,
}

impl Usual {
    /// So many came in this time, and the queue was short at its beginning and its end.
    fn came(&mut self, count: u64, time: Duration, is_short: bool) {
        if !is_short {
            (self.time, self.came) = (Duration::ZERO, 0);
            return;
        }
        self.time += time;
        self.came += count;
        if self.time < USUAL_OVER {
            return;
        }
        let seconds = self.time.as_secs_f64();
        let forgotten = (-seconds / USUAL_HALVED_S).exp2();
        self.most_per_s = (self.most_per_s * forgotten).max(self.came as f64 / seconds);
        self.known = self.known.saturating_add(1);
        (self.time, self.came) = (Duration::ZERO, 0);
    }

    /// A second; `None` as long as too little is known.
    fn per_s(&self) -> Option<f64> {
        (self.known >= USUAL_AFTER).then_some(self.most_per_s)
    }
}

/// The sieve of one socket.
#[derive(Debug)]
pub struct Sieve {
    kind: Kind,
    state: State,
    /// The last look, and what it has found.
    looked: Option<(Duration, Pressure)>,
    /// Datagrams taken since then.
    came: u64,
    usual: Usual,
    /// Looks in a row that have found a surge, or a queue that fills.
    surges: u32,
    fills: u32,
    /// Filters made since one had to let in less.
    well: u32,
    /// Since when each look has found a queue that was long or lost something.
    pressed: Option<Duration>,
    /// Since when it is counted what was taken, and octets that waited then.
    since: Duration,
    waited: u32,
    asked: HashMap<Network, Asked>,
    /// Datagrams taken since then, of networks that are counted or not.
    taken: u64,
    /// And lost since then, by a filter or while the queue was in want of room.
    lost: u64,
    /// Whether it was at any look since then.
    has_wanted: bool,
    shares: Vec<Share>,
    /// Octets that waited when they were made, or later when it was half as many, and when that was.
    queued: (u32, Duration),
    /// There is still much that waited before there was a filter; of each network that has a share, that and what part of a datagram it has left.
    has_backlog: bool,
    of_backlog: HashMap<Network, (f64, f64)>,
    /// What each network with a share was found to send a second, where that is remembered.
    known: HashMap<Network, f64>,
}

impl Sieve {
    /// The sieve of a socket where this comes.
    pub fn new(kind: Kind) -> Sieve {
        Sieve {
            kind,
            state: State::Open,
            looked: None,
            came: 0,
            usual: Usual::default(),
            surges: 0,
            fills: 0,
            well: 0,
            pressed: None,
            since: Duration::ZERO,
            waited: 0,
            asked: HashMap::new(),
            taken: 0,
            lost: 0,
            has_wanted: false,
            shares: Vec::new(),
            queued: (0, Duration::ZERO),
            has_backlog: false,
            of_backlog: HashMap::new(),
            known: HashMap::new(),
        }
    }

    /// Whether who asks has to be counted.
    pub fn is_counting(&self) -> bool {
        self.state != State::Open
    }

    /// So many datagrams were taken.
    pub fn took(&mut self, count: usize) {
        self.came += count as u64;
    }

    /// Counts one of them; `is_spared`: its sender is never sieved, and neither is his network. Whether it is to be answered: what waited before there was a
    /// filter gets the same shares here, without an answer it costs little, and who came behind it is not to wait for it.
    pub fn count(&mut self, sender: IpAddr, is_spared: impl Fn() -> bool) -> bool {
        let network = Network::of(sender);
        if self.has_backlog
            && let Some((share, part)) = self.of_backlog.get_mut(&network)
        {
            *part += *share;
            if *part >= 1.0 {
                *part -= 1.0;
            } else if !is_spared() {
                return false;
            }
        }
        self.taken += 1;
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
        true
    }

    /// Whether it is time to look at the queue.
    pub fn is_due(&self, now: Duration) -> bool {
        self.looked
            .is_none_or(|(last, _)| now.saturating_sub(last) >= LOOK_INTERVAL)
    }

    /// A look at the queue.
    pub fn look(&mut self, pressure: Pressure, now: Duration) -> Outcome {
        let before = self.looked.replace((now, pressure));
        let came = std::mem::take(&mut self.came);
        let dropped = before.map_or(0, |(_, last)| pressure.dropped.wrapping_sub(last.dropped));
        let wants =
            pressure.is_above(FILLS) || before.is_some_and(|(_, last)| last.is_above(FILLS));
        self.has_wanted |= wants;
        let has_lost = wants && dropped > 0;
        if has_lost || self.is_sieving() {
            self.lost += u64::from(dropped);
        }
        let mut outcome = Outcome {
            dropped,
            ..Outcome::default()
        };
        let is_long = pressure.is_long();
        let is_pressed = is_long || has_lost;
        let since = self.pressed.unwrap_or(now);
        self.pressed = is_pressed.then_some(since);
        let manner = self.manner(now);
        let is_patient = now.saturating_sub(since) < manner.patience;
        let loses = is_long || self.lost * LOST_SHARE > self.taken;
        self.has_backlog &= pressure.is_above(FILLS);
        let is_surge = before.is_some_and(|before| self.is_surge(before, came, pressure, now));
        self.surges = if is_surge { self.surges + 1 } else { 0 };
        self.fills = match pressure.is_above(FILLS) {
            true => self.fills + 1,
            false => 0,
        };
        if let Some((last, before)) = before.filter(|_| !self.is_sieving()) {
            let is_short = !before.is_above(SURGES) && !pressure.is_above(SURGES) && !has_lost;
            (self.usual).came(came, now.saturating_sub(last), is_short);
        }
        match self.state {
            State::Open if is_pressed || is_surge => {
                self.state = State::Counting(now);
                self.begin(now);
            }
            State::Open => {}
            State::Counting(_) if self.surges >= SURGE_LOOKS => {
                let grown = before.map_or(0, |(_, b)| pressure.queued.saturating_sub(b.queued));
                let unseen = dropped + grown / DATAGRAM_OCTETS;
                let come = (came + u64::from(unseen)) as f64 / came.max(1) as f64;
                self.cut(come, now, &mut outcome);
            }
            State::Counting(_) if is_pressed && is_patient => self.state = State::Counting(now),
            // All alike have lost what found no room, or wait.
            State::Counting(_) if is_pressed && loses => {
                let waits = self.waiting().saturating_sub(self.waited) / DATAGRAM_OCTETS;
                let come = self.taken + self.lost + u64::from(waits);
                let come = come as f64 / self.taken.max(1) as f64;
                self.cut(come, now, &mut outcome);
            }
            State::Counting(last) if now.saturating_sub(last) > QUIET_MAX => {
                self.state = State::Open;
                self.begin(now);
            }
            State::Counting(_) => {}
            State::Sieving(work) => {
                let for_s = self.counted_for(now);
                let fills = manner.is_wary && self.fills >= FILLS_LOOKS;
                if (is_long || fills)
                    && for_s >= manner.remake_long.as_secs_f64()
                    && !self.is_taken(pressure, now)
                {
                    // At most by that much at once: a thread that had no core for a moment took little.
                    let taken_per_s = self.taken as f64 / for_s;
                    let less = manner.work_share * taken_per_s.max(work);
                    let come = self.come_through();
                    self.remake(less, come, now, &mut outcome);
                    self.well = 0;
                } else if for_s >= manner.remake_well.as_secs_f64() {
                    let faster = 1 << self.well.min(manner.faster_max);
                    let growth = GROWTH_PER_S * f64::from(faster) * for_s.min(2.0);
                    self.remake(work * (1.0 + growth), 1.0, now, &mut outcome);
                    self.well = self.well.saturating_add(1);
                }
            }
        }
        outcome
    }

    /// Whether the queue grows though half of what the thread took since the look before is more than is usual.
    fn is_surge(
        &self,
        (last, before): (Duration, Pressure),
        came: u64,
        pressure: Pressure,
        now: Duration,
    ) -> bool {
        let time = now.saturating_sub(last);
        let half = FLOOD.work_share * came as f64 / time.as_secs_f64().max(0.001);
        let grows = pressure.queued >= before.queued || pressure.dropped != before.dropped;
        let is_unusual =
            (self.usual.per_s()).is_some_and(|usual| half > usual.max(self.kind.work_min_per_s));
        is_unusual && grows && pressure.is_above(SURGES)
    }

    /// Whether a queue that was long is on its way to be short.
    fn is_taken(&mut self, pressure: Pressure, now: Duration) -> bool {
        let (queued, at) = self.queued;
        if pressure.queued <= queued / 2 {
            self.queued = (pressure.queued, now);
        }
        pressure.queued < queued && now.saturating_sub(at) < HALVED_IN
    }

    /// Whether there is a filter.
    pub fn is_sieving(&self) -> bool {
        matches!(self.state, State::Sieving(_))
    }

    /// How many times as much as was taken came through the filter: what was lost behind it for want of room, all alike.
    fn come_through(&self) -> f64 {
        if !self.has_wanted {
            return 1.0;
        }
        let taken = self.taken.max(1) as f64;
        let unseen: u64 = self.unseen().iter().map(|(_, count)| count).sum();
        let filtered = unseen as f64 / taken;
        let lost = (self.lost as f64 - unseen as f64) / (1.0 + filtered);
        1.0 + (lost / taken).max(0.0)
    }

    /// The first filter; `come` as in [`Sieve::remake`].
    fn cut(&mut self, come: f64, now: Duration, outcome: &mut Outcome) {
        self.state = State::Counting(now);
        let taken_per_s = self.taken as f64 / self.counted_for(now);
        let work = self.manner(now).work_share * taken_per_s;
        self.remake(work, come, now, outcome);
        self.well = 0;
    }

    /// How to meet what has come since it is counted, lost or not.
    fn manner(&self, now: Duration) -> &'static Manner {
        let Some(usual) = self.usual.per_s() else {
            return &FLOOD;
        };
        let drained = self.waited.saturating_sub(self.waiting()) / DATAGRAM_OCTETS;
        let come = (self.taken + self.lost).saturating_sub(drained.into());
        let come = come as f64 / self.counted_for(now);
        match come <= USUAL_MARGIN * usual.max(self.kind.work_min_per_s) {
            true => self.kind.slow,
            false => &FLOOD,
        }
    }

    /// The kernel has taken no filter: all is let in.
    pub fn refused(&mut self) {
        self.shares.clear();
        self.known.clear();
        self.has_backlog = false;
        self.state = State::Open;
    }

    /// New shares for so much work, by what was counted; `come`: so many times as much as was taken came through the filter.
    fn remake(&mut self, work: f64, come: f64, now: Duration, outcome: &mut Outcome) {
        let work = work.max(self.kind.work_min_per_s);
        let for_s = self.counted_for(now);
        let is_wary = self.manner(now).is_wary;
        outcome.unseen = self.unseen();
        let mut rest = come * self.taken as f64 / for_s;
        let mut rates = Vec::with_capacity(self.asked.len());
        for (&network, asked) in &self.asked {
            let share = self.share_of(network);
            if !asked.is_spared && (share < 1.0 || asked.taken >= self.kind.sieved_min) {
                let per_s = come * asked.taken as f64 / for_s;
                rest -= per_s;
                rates.push((network, self.found(network, per_s / share, for_s)));
            }
        }
        // Of whom nothing has come through.
        let silent = self.known.keys();
        for &network in silent.filter(|network| !self.asked.contains_key(*network)) {
            rates.push((network, self.found(network, 0.0, for_s)));
        }
        rates.sort_by(|(a, one), (b, other)| other.total_cmp(one).then(a.cmp(b)));
        let level_min = self.kind.level_min_per_s;
        let shares = shares(&rates, rest.max(0.0), work, level_min);
        self.known.clear();
        if !self.kind.memory.is_zero() {
            // The shares are those of the first ones.
            self.known.extend(rates.iter().take(shares.len()).copied());
        }
        self.state = match shares.is_empty() {
            true => State::Counting(now),
            false => State::Sieving(work),
        };
        if !(shares.is_empty() && self.shares.is_empty()) {
            outcome.shares = Some(shares.clone());
        }
        let is_long = (self.looked).is_some_and(|(_, pressure)| pressure.is_above(FILLS));
        self.has_backlog = is_wary && is_long && !shares.is_empty();
        self.of_backlog.clear();
        if self.has_backlog {
            let parts = shares
                .iter()
                .map(|sieved| (sieved.network, (sieved.share, 0.0)));
            self.of_backlog.extend(parts);
        }
        self.shares = shares;
        self.queued = (self.looked.map_or(0, |(_, pressure)| pressure.queued), now);
        self.begin(now);
    }

    /// What a network sends a second, by what was counted in so many seconds and what was known of it; more than was known is believed at once.
    fn found(&self, network: Network, per_s: f64, for_s: f64) -> f64 {
        let memory_s = self.kind.memory.as_secs_f64();
        (self.known.get(&network)).map_or(per_s, |before| {
            per_s.max((before * memory_s + per_s * for_s) / (memory_s + for_s))
        })
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

    /// Octets that waited at the last look.
    fn waiting(&self) -> u32 {
        self.looked.map_or(0, |(_, pressure)| pressure.queued)
    }

    fn begin(&mut self, now: Duration) {
        self.since = now;
        self.waited = self.waiting();
        (self.taken, self.lost, self.has_wanted) = (0, 0, false);
        self.asked.clear();
    }
}

/// The shares that make `rates` (per second, falling) and `rest` no more than `work`: what is above one level for all is cut off. No
/// network is cut to less than one that is not in the filter has.
fn shares(rates: &[(Network, f64)], rest: f64, work: f64, level_min: f64) -> Vec<Share> {
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
    let level = level.max(level_min);
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
/// Where a TCP header has its flags, those of SYN and ACK, and SYN alone: what opens a connection (RFC 9293 section 3.1).
const TCP_FLAGS: u32 = 13;
const SYN_OR_ACK: u32 = 0x12;
const SYN: u32 = 0x02;
/// Operations: load a word, load an octet, load what was kept, keep, mask, jump, jump if equal, jump if not less than X, load into X, return.
const LOAD: u16 = 0x20;
const LOAD_OCTET: u16 = 0x30;
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
pub fn filter(kind: Kind, shares: &[Share]) -> Vec<Step> {
    let mut steps = Vec::with_capacity(6 * shares.len() + 12);
    if kind.openings {
        steps.push(step(LOAD_OCTET, TCP_FLAGS));
        steps.push(step(AND, SYN_OR_ACK));
        steps.push(Step {
            if_true: 1,
            ..step(IF_EQUAL, SYN)
        });
        steps.push(step(RETURN, u32::MAX));
    }
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
mod tests;
