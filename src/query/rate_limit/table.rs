//! Tables of fixed size that several threads write to without a lock.
//!
//! Model: a table is an array of sets of [`WAYS`] slots; what is looked for can only be in one set, which a keyed hash chooses. When
//! it is in none of the slots, it takes the place of the one that matters least: of the networks the one that has asked least of late,
//! of the accounts the one with the least debt. So whoever asks much keeps his place, however many forged senders come by.
//!
//! Two threads may take a slot at a time, or write to one that has just changed its owner; then a bucket is off by a query or
//! two. That is no worse than what the network does, and no lock is worth it. Of one bucket no two threads take the same; what a network has asked,
//! which is only told and decides who keeps his place, may lack what came in the same moment.
//!
//! A bucket is one number: the time at which it will be full again (the "virtual scheduling" form of a leaky bucket, ITU-T I.371).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::Network;

/// Slots of a set.
const WAYS: usize = 4;
/// Counts are kept for the window of time that goes on and for the one before.
pub const COUNT_WINDOW: Duration = Duration::from_secs(10);

/// The rules of a bucket, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    each: u64,
    burst: u64,
    debt: u64,
}

impl Account {
    /// So many per second, `burst` of time's worth at once; who goes on above it owes up to `debt`. `None` for 0.
    pub fn new(per_s: u32, burst: Duration, debt: Duration) -> Option<Account> {
        (per_s > 0).then(|| Account {
            each: 1_000_000_000 / u64::from(per_s),
            burst: nanos(burst),
            debt: nanos(debt),
        })
    }

    /// Takes one out of the bucket; whether there was one.
    pub fn take(&self, bucket: &AtomicU64, now: Duration) -> bool {
        let now = nanos(now);
        let mut full_at = bucket.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now) + self.each;
            let is_within = next <= now + self.burst;
            if !is_within && self.debt == 0 {
                return false;
            }
            let owed = next.min(now + self.burst + self.debt);
            match bucket.compare_exchange_weak(full_at, owed, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return is_within,
                Err(other) => full_at = other,
            }
        }
    }
}

fn nanos(time: Duration) -> u64 {
    // Enough for 146 years, and room for what is added to it.
    let whole = time.as_secs().saturating_mul(1_000_000_000);
    (whole.saturating_add(time.subsec_nanos().into())).min(u64::MAX / 4)
}

/// Every `slip`th call says yes; never with 0.
fn slips(counter: &AtomicU32, slip: u32) -> bool {
    slip != 0 && counter.fetch_add(1, Ordering::Relaxed) % slip == slip - 1
}

/// Queries and limited ones in the window that goes on and in the one before.
#[derive(Debug, Default)]
pub struct Counts {
    /// Number of the window in the upper 16 bits, 24 of queries, 24 of limited ones.
    present: AtomicU64,
    before: AtomicU64,
}

const COUNT_MAX: u64 = (1 << 24) - 1;
const WINDOW_SHIFT: u32 = 48;
const QUERIES_SHIFT: u32 = 24;

fn window(now: Duration) -> u64 {
    (now.as_secs() / COUNT_WINDOW.as_secs()) & 0xFFFF
}

impl Counts {
    pub fn count_query(&self, now: Duration) {
        self.count(1, now, QUERIES_SHIFT);
    }

    pub fn count_limited(&self, now: Duration) {
        self.count(1, now, 0);
    }

    /// Counts queries that were limited before they were seen.
    pub fn count_unseen(&self, count: u64, now: Duration) {
        self.count(count, now, QUERIES_SHIFT);
        self.count(count, now, 0);
    }

    fn count(&self, more: u64, now: Duration, shift: u32) {
        let of_now = window(now);
        let seen = self.present.load(Ordering::Relaxed);
        let is_present = seen >> WINDOW_SHIFT == of_now;
        if !is_present {
            self.before.store(seen, Ordering::Relaxed);
        }
        let base = match is_present {
            true => seen,
            false => of_now << WINDOW_SHIFT,
        };
        let more = more.min(COUNT_MAX - (base >> shift & COUNT_MAX));
        if more > 0 {
            // Not in one piece with the reading above, which would cost more than all else here: who writes at the same moment for the same network
            // is not counted.
            self.present
                .store(base + (more << shift), Ordering::Relaxed);
        }
    }

    /// Queries and limited ones in both windows.
    pub fn sum(&self, now: Duration) -> (u64, u64) {
        let of_now = window(now);
        let of_last = of_now.wrapping_sub(1) & 0xFFFF;
        let counted = [&self.present, &self.before].map(|at| at.load(Ordering::Relaxed));
        let lasting = counted.into_iter().filter(|counts| {
            let window = counts >> WINDOW_SHIFT;
            window == of_now || window == of_last
        });
        lasting.fold((0, 0), |(queries, limited), counts| {
            let of_this = (counts >> QUERIES_SHIFT & COUNT_MAX, counts & COUNT_MAX);
            (queries + of_this.0, limited + of_this.1)
        })
    }

    fn clear(&self) {
        self.present.store(0, Ordering::Relaxed);
        self.before.store(0, Ordering::Relaxed);
    }
}

/// What is known of one network.
#[derive(Debug, Default)]
pub struct NetworkSlot {
    /// The network; 0 for none.
    tag: AtomicU64,
    /// Of senders that may be forged, of proven ones, of those that are shown the way from one to the other, and of those of these that have gone it.
    buckets: [AtomicU64; 4],
    counts: Counts,
    slipped: AtomicU32,
    /// Which hosts have been shown the way in, in the second that goes on.
    shown: [AtomicU64; HOSTS / 64],
    shown_s: AtomicU64,
    /// Which hosts have come over a stream, in the window of counts that goes on.
    gone: [AtomicU64; HOSTS / 64],
    gone_window: AtomicU64,
}

/// Hosts of a network that are told apart: all of a /24.
const HOSTS: usize = 256;

impl NetworkSlot {
    /// The bucket of proven senders, or of the others.
    pub fn bucket(&self, proven: bool) -> &AtomicU64 {
        let [others, of_proven, ..] = &self.buckets;
        if proven { of_proven } else { others }
    }

    /// The bucket of those that are told TC=1.
    pub fn ways(&self) -> &AtomicU64 {
        &self.buckets[2]
    }

    /// The same for hosts that have come over a stream.
    pub fn ways_of_goers(&self) -> &AtomicU64 {
        &self.buckets[3]
    }

    pub fn count_query(&self, now: Duration) {
        self.counts.count_query(now);
    }

    pub fn count_limited(&self, now: Duration) {
        self.counts.count_limited(now);
    }

    pub fn count_unseen(&self, count: u64, now: Duration) {
        self.counts.count_unseen(count, now);
    }

    pub fn slips(&self, slip: u32) -> bool {
        slips(&self.slipped, slip)
    }

    /// Whether it is the first time in this second for the host.
    pub fn is_first(&self, host: u8, now: Duration) -> bool {
        let second = now.as_secs();
        if self.shown_s.swap(second, Ordering::Relaxed) != second {
            forget(&self.shown);
        }
        let (word, bit) = place(host);
        self.shown[word].fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// The host comes over a stream.
    pub fn goes_the_way(&self, host: u8, now: Duration) {
        let of_now = window(now);
        if self.gone_window.load(Ordering::Relaxed) != of_now {
            self.gone_window.store(of_now, Ordering::Relaxed);
            forget(&self.gone);
        }
        let (word, bit) = place(host);
        if self.gone[word].load(Ordering::Relaxed) & bit == 0 {
            self.gone[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether it has come so of late: in the last 20 seconds at the most, and forgotten with the first one of its network in a window of time.
    pub fn has_gone_the_way(&self, host: u8, now: Duration) -> bool {
        let is_lasting =
            window(now).wrapping_sub(self.gone_window.load(Ordering::Relaxed)) & 0xFFFF <= 1;
        let (word, bit) = place(host);
        is_lasting && self.gone[word].load(Ordering::Relaxed) & bit != 0
    }

    /// Its network with its queries and limited ones.
    pub fn seen(&self, now: Duration) -> Option<(Network, u64, u64)> {
        let tag = self.tag.load(Ordering::Relaxed);
        let (queries, limited) = self.counts.sum(now);
        (tag != 0 && queries > 0).then_some((Network(tag), queries, limited))
    }

    fn give_to(&self, network: Network) {
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
        self.counts.clear();
        self.slipped.store(0, Ordering::Relaxed);
        forget(&self.shown);
        forget(&self.gone);
        self.tag.store(network.0, Ordering::Relaxed);
    }
}

/// Where a host's bit is.
fn place(host: u8) -> (usize, u64) {
    (usize::from(host) / 64, 1 << (host % 64))
}

fn forget(hosts: &[AtomicU64]) {
    for word in hosts {
        word.store(0, Ordering::Relaxed);
    }
}

/// All counts in one place; wider than those of a network. In lines of the processor's cache of their own: what stands beside them is read for each query,
/// and would be gone whenever another thread has counted.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Totals {
    /// Window in the upper 16 bits, count in the lower 48; queries, then limited ones.
    present: [AtomicU64; 2],
    before: [AtomicU64; 2],
}

const TOTAL_MAX: u64 = (1 << WINDOW_SHIFT) - 1;

impl Totals {
    pub fn count_queries(&self, count: u64, now: Duration) {
        self.count(0, count, now);
    }

    pub fn count_limited(&self, now: Duration) {
        self.count(1, 1, now);
    }

    /// Counts queries that were limited before they were seen.
    pub fn count_unseen(&self, count: u64, now: Duration) {
        self.count(0, count, now);
        self.count(1, count, now);
    }

    fn count(&self, which: usize, count: u64, now: Duration) {
        let [present, before] = [&self.present[which], &self.before[which]];
        let of_now = window(now);
        let old = present.fetch_add(count, Ordering::Relaxed);
        if old >> WINDOW_SHIFT != of_now {
            // Whoever sees the old window first begins the new one.
            let begun = of_now << WINDOW_SHIFT | count;
            let exchanged =
                present.compare_exchange(old + count, begun, Ordering::Relaxed, Ordering::Relaxed);
            if exchanged.is_ok() {
                before.store(old, Ordering::Relaxed);
            }
        }
    }

    pub fn sum(&self, now: Duration) -> (u64, u64) {
        let of_now = window(now);
        let of_last = of_now.wrapping_sub(1) & 0xFFFF;
        let total = |which: usize| {
            let counted = [&self.present[which], &self.before[which]];
            let counted = counted.map(|at| at.load(Ordering::Relaxed)).into_iter();
            let lasting = counted.filter(|counts| {
                let window = counts >> WINDOW_SHIFT;
                window == of_now || window == of_last
            });
            lasting.map(|counts| counts & TOTAL_MAX).sum()
        };
        (total(0), total(1))
    }
}

/// The networks that have asked.
pub struct Networks {
    sets: Box<[[NetworkSlot; WAYS]]>,
    /// What all of them, and those that were forgotten, have asked.
    pub total: Totals,
    forgotten: AtomicU64,
}

impl Networks {
    /// So many at most, a power of two.
    pub fn new(max: usize) -> Networks {
        Networks {
            sets: sets(max),
            total: Totals::default(),
            forgotten: AtomicU64::new(0),
        }
    }

    /// The slot of a network, made if there is none.
    #[inline]
    pub fn slot(&self, network: Network, hash: u64, now: Duration) -> &NetworkSlot {
        let set = &self.sets[hash as usize & (self.sets.len() - 1)];
        let is_own = |slot: &&NetworkSlot| slot.tag.load(Ordering::Relaxed) == network.0;
        if let Some(slot) = set.iter().find(is_own) {
            return slot;
        }
        let mut least = &set[0];
        let mut least_asked = u64::MAX;
        for slot in set {
            let asked = match slot.tag.load(Ordering::Relaxed) {
                0 => 0,
                // One that asks nothing any more is as good as none.
                _ => slot.counts.sum(now).0,
            };
            if asked < least_asked {
                (least, least_asked) = (slot, asked);
            }
        }
        if least_asked > 0 {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        least.give_to(network);
        least
    }

    /// Reads a network's set into the processor's cache.
    pub fn touch(&self, hash: u64) -> u64 {
        let set = &self.sets[hash as usize & (self.sets.len() - 1)];
        set[0].tag.load(Ordering::Relaxed)
    }

    pub fn slots(&self) -> impl Iterator<Item = &NetworkSlot> {
        self.sets.iter().flatten()
    }

    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }
}

/// One account of responses.
#[derive(Debug, Default)]
pub struct AccountSlot {
    /// The hash of what it counts; 0 for none.
    tag: AtomicU64,
    bucket: AtomicU64,
    slipped: AtomicU32,
}

impl AccountSlot {
    pub fn bucket(&self) -> &AtomicU64 {
        &self.bucket
    }

    pub fn slips(&self, slip: u32) -> bool {
        slips(&self.slipped, slip)
    }
}

/// The accounts of responses.
pub struct Accounts {
    sets: Box<[[AccountSlot; WAYS]]>,
    forgotten: AtomicU64,
}

impl Accounts {
    /// So many at most, a power of two.
    pub fn new(max: usize) -> Accounts {
        Accounts {
            sets: sets(max),
            forgotten: AtomicU64::new(0),
        }
    }

    /// The slot for what has this hash, made if there is none.
    pub fn slot(&self, hash: u64, now: Duration) -> &AccountSlot {
        let set = &self.sets[hash as usize & (self.sets.len() - 1)];
        let tag = hash.max(1);
        let full_at = |slot: &AccountSlot| slot.bucket.load(Ordering::Relaxed);
        let mut least = &set[0];
        for slot in set {
            if slot.tag.load(Ordering::Relaxed) == tag {
                return slot;
            }
            if full_at(slot) < full_at(least) {
                least = slot;
            }
        }
        if full_at(least) > nanos(now) {
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        least.bucket.store(0, Ordering::Relaxed);
        least.slipped.store(0, Ordering::Relaxed);
        least.tag.store(tag, Ordering::Relaxed);
        least
    }

    /// Reads the set of what has this hash into the processor's cache.
    pub fn touch(&self, hash: u64) -> u64 {
        let set = &self.sets[hash as usize & (self.sets.len() - 1)];
        set[0].tag.load(Ordering::Relaxed)
    }

    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }
}

fn sets<S: Default>(max: usize) -> Box<[[S; WAYS]]> {
    let count = (max / WAYS).next_power_of_two();
    (0..count).map(|_| Default::default()).collect()
}
