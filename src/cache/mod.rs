//! What has been learned, until its TTL runs out: the answer cache.
//!
//! Why: most questions are asked again soon. The cache holds validated answers only, one link of a chain per entry: an RRset
//! with its signatures, or a denial with its proof. Whole messages are kept for seconds only, by the threads that send them (`query/quick`): every
//! alias on the way lives by its own TTL.
//!
//! Model: a key is a name and a type; a name's non-existence stands under its own pseudo type, because it holds for every
//! type (RFC 2308 section 5), and, where it is proven, for every name below (RFC 8020). Keys are spread over shards, each an
//! `s3fifo::S3Fifo` of `packed::Packed` entries, bounded in bytes by an account (`account`) that counts what the allocator takes.
//!
//! Credibility (RFC 2181 section 5.4.1): most of its ranks are kept apart by place instead of by number. Glue and the NS sets of
//! referrals steer questions, live in `resolve::delegation` and are never answers; records beside the answer are not taken at all.
//! Among answers, what is better proven is never replaced by what is less so while it lives.
//!
//! What has run out is kept for a time for outages (`stale`), in the same room: it goes first when room is wanted.
//!
//! Failure: a full cache forgets what was not asked for lately; nothing else depends on what it holds.

pub mod account;
pub mod entry;
mod packed;
pub mod persist;
mod s3fifo;
pub mod stale;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Now;
use crate::dns::{Name, Question, Rcode, Rtype};
use crate::metrics::Metrics;

use entry::{Entry, Expiry, Security, shares_alias};
use packed::Packed;
use persist::{Note, Noted};
use s3fifo::{S3Fifo, Weigh};

/// Type under which a name's non-existence is kept; not a type that can be asked for (RFC 6895).
const NXDOMAIN_KEY: Rtype = Rtype(0);
/// Shards of a large cache.
const SHARDS_MAX: usize = 64;
/// A shard has at least this room, in bytes, so that a message of any usual size fits.
const SHARD_BYTES_MIN: usize = 256 << 10;
/// An entry is refreshed in the last part in so many of its life.
const REFRESH_SHARE: u32 = 10;
/// Only an entry that was asked for so often is worth it.
const REFRESH_ASKED_MIN: u8 = 2;

/// An entry that was asked for so often is worth a place on disk.
const NOTED_AT: u8 = 2;

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The set that was asked for.
    Answer,
    /// An alias in its place.
    Alias,
    /// The name has no such set.
    NoData,
    /// The name does not exist.
    NxDomain,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Answer, Kind::Alias, Kind::NoData, Kind::NxDomain];

    /// Its name in statistics.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Answer => "answer",
            Kind::Alias => "alias",
            Kind::NoData => "nodata",
            Kind::NxDomain => "nxdomain",
        }
    }

    fn of(entry: &Entry) -> Kind {
        match entry.answer.last() {
            _ if entry.rcode == Rcode::NXDOMAIN => Kind::NxDomain,
            None => Kind::NoData,
            Some(last) if last.rtype == Rtype::CNAME => Kind::Alias,
            Some(_) => Kind::Answer,
        }
    }
}

#[derive(Debug)]
struct Slot {
    packed: Packed,
    expiry: Expiry,
    kind: Kind,
    /// How often a client asked for it, as far as that matters.
    asked: u8,
    /// Somebody refreshes it already.
    claimed: bool,
}

impl Slot {
    fn was_stored_since(&self, since: Duration) -> bool {
        let ttl_s = self.packed.ttl_s();
        self.expiry.was_stored_since(ttl_s, since)
    }

    fn noted(&self, now: Now) -> Noted {
        Noted {
            packed: self.packed.clone(),
            ran_out_s: now.wall_s + u64::from(self.expiry.left_s(now)),
            kind: self.kind,
            asked: self.asked > 0,
        }
    }
}

impl Weigh for Slot {
    fn heap_bytes(&self) -> usize {
        self.packed.heap_bytes()
    }
}

/// Entries of one kind, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many.
    pub entries: usize,
    /// Bytes of their data, without what finding them costs.
    pub bytes: usize,
}

struct Shard {
    map: S3Fifo<Slot>,
    tally: [Tally; Kind::ALL.len()],
}

impl Shard {
    fn new(bytes_max: usize) -> Shard {
        Shard {
            map: S3Fifo::new(bytes_max),
            tally: Default::default(),
        }
    }
}

/// A live entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// What is known; TTLs as left.
    pub entry: Entry,
    /// Seconds that it has left to live.
    pub left_s: u32,
    /// It is popular and near its end: [`Cache::claim_refresh`] and fetch it anew.
    pub refresh_due: bool,
}

/// For whom an entry is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// A client waits for it.
    Question,
    /// Nobody asked: it is kept fresh.
    Refresh,
}

/// The cache in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// Entries held, dead ones that were not yet met included.
    pub entries: usize,
    /// Bytes accounted for.
    pub bytes: usize,
    /// Clients' questions that it answered.
    pub hits: u64,
    /// Clients' questions that it could not answer.
    pub misses: u64,
    /// The entries by kind, in the order of [`Kind::ALL`].
    pub kinds: [Tally; Kind::ALL.len()],
}

/// The answer cache.
pub struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// A DNAME was ever put: most caches see none for long, and need not look for one above each name.
    knows_dnames: AtomicBool,
    /// For how long what has run out is kept, in seconds.
    stale_s: u64,
    notes: stale::Notes,
    metrics: Arc<Metrics>,
}

/// A key with its hash: the upper half chooses the shard, the lower half the place in it.
#[derive(Clone, Copy)]
struct Key<'a> {
    name: &'a Name,
    rtype: Rtype,
    hash: u64,
}

impl Key<'_> {
    fn low(self) -> u32 {
        self.hash as u32
    }

    fn is_of(self, slot: &Slot) -> bool {
        slot.packed.is_for(self.name, self.rtype)
    }
}

impl Cache {
    /// An empty cache for so many bytes.
    pub fn new(bytes_max: u64, metrics: Arc<Metrics>) -> Cache {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let shards = (bytes_max / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        Cache {
            shards: (0..shards)
                .map(|_| Mutex::new(Shard::new(bytes_max / shards)))
                .collect(),
            hasher: RandomState::new(),
            knows_dnames: AtomicBool::new(false),
            stale_s: 0,
            notes: stale::Notes::default(),
            metrics,
        }
    }

    /// What is known about the question itself: its own entry, an alias in its place, or that the name does
    /// not exist.
    pub fn find(&self, question: &Question, now: Now) -> Option<Hit> {
        let own = self.get(&question.name, question.rtype, now, None);
        own.or_else(|| match shares_alias(question.rtype) {
            // That there is no CNAME is an answer to who asked for CNAME alone.
            true => self.get(&question.name, Rtype::CNAME, now, Some(Kind::Alias)),
            false => None,
        })
        .or_else(|| self.get(&question.name, NXDOMAIN_KEY, now, None))
    }

    /// The proof that a name above `name` does not exist, with that name.
    ///
    /// RFC 8020 section 2: nothing exists below a name that does not. Only where that is proven: servers that deny
    /// empty non-terminals are found in zones that are not signed.
    pub fn denial_above(&self, name: &Name, now: Now) -> Option<(Name, Hit)> {
        let mut at = name.parent();
        while let Some(above) = at.filter(|above| !above.is_root()) {
            if let Some(hit) = self.get(&above, NXDOMAIN_KEY, now, None)
                && hit.entry.security == Security::Secure
            {
                return Some((above, hit));
            }
            at = above.parent();
        }
        None
    }

    /// The proven DNAME above `name`, as the one set of its answer.
    ///
    /// RFC 6672 section 2.4: below it nothing exists but what it makes. Only where that is proven, and for its own owner: one that a
    /// wildcard made speaks for no other name.
    pub fn dname_above(&self, name: &Name, now: Now) -> Option<Hit> {
        if !self.knows_dnames.load(Ordering::Relaxed) {
            return None;
        }
        let mut at = name.parent();
        while let Some(above) = at.filter(|above| !above.is_root()) {
            if let Some(hit) = self.get(&above, Rtype::DNAME, now, Some(Kind::Answer))
                && hit.entry.security == Security::Secure
                && hit.entry.authority.is_empty()
            {
                return Some(hit);
            }
            at = above.parent();
        }
        None
    }

    /// Counts a client's question as answered from here, or not. Once per question: a question on its way looks in
    /// here several times.
    pub fn count_question(&self, answered: bool) {
        match answered {
            true => self.metrics.cache_hits_total.inc(),
            false => self.metrics.cache_misses_total.inc(),
        }
    }

    /// Keeps what became of a question for `ttl_s` seconds.
    pub fn put(
        &self,
        question: &Question,
        entry: &Entry,
        ttl_s: u32,
        occasion: Occasion,
        now: Now,
    ) {
        // RFC 1035 section 3.2.1: a TTL of zero is for the question under way only, but what it replaces is no better.
        if ttl_s == 0 {
            for rtype in [question.rtype, Rtype::CNAME] {
                self.notes
                    .leave(|| Note::Gone(question.name.clone(), rtype));
            }
            return self.supersede(&question.name, &[question.rtype, Rtype::CNAME], now);
        }
        let rtype = if entry.rcode == Rcode::NXDOMAIN {
            NXDOMAIN_KEY
        } else if shares_alias(question.rtype) && entry.alias(question.rtype).is_some() {
            Rtype::CNAME
        } else {
            question.rtype
        };
        // Whoever asks for the pseudo type itself must not pass for the name's non-existence.
        if rtype == NXDOMAIN_KEY && entry.rcode != Rcode::NXDOMAIN {
            return;
        }
        let Some(packed) = Packed::new(&question.name, rtype, entry, ttl_s) else {
            return;
        };
        if rtype == Rtype::DNAME {
            self.knows_dnames.store(true, Ordering::Relaxed);
        }
        let key = self.key(&question.name, rtype);
        let slot = Slot {
            packed,
            expiry: Expiry::after(now, ttl_s),
            kind: Kind::of(entry),
            asked: u8::from(occasion == Occasion::Question),
            claimed: false,
        };
        self.notes.leave(|| Note::Put(slot.noted(now)));
        self.put_slot(key, slot, now);
        if rtype != NXDOMAIN_KEY {
            self.outdate_denial(&question.name, entry);
        }
        if self.stale_s > 0 {
            let outdated = stale::outdated_by(rtype, question.rtype);
            self.supersede(&question.name, &outdated, now);
        }
    }

    fn put_slot(&self, key: Key<'_>, slot: Slot, now: Now) {
        let mut shard = self.shard(key);
        // RFC 2181 section 5.4.1: less credible data does not replace what lives.
        let known = shard.map.peek(key.low(), |s| key.is_of(s));
        if known.is_some_and(|old| {
            old.expiry.is_live(now) && old.packed.credibility() > slot.packed.credibility()
        }) {
            return;
        }
        self.change(&mut shard, |shard| self.insert(shard, key, slot, now));
    }

    fn insert(&self, shard: &mut Shard, key: Key<'_>, slot: Slot, now: Now) {
        let Shard { map, tally } = shard;
        let (kind, bytes) = (slot.kind, slot.heap_bytes());
        let standing = |s: &Slot| self.standing(s, now);
        let gone = |s: Slot| {
            uncount(tally, &s);
            match () {
                () if !s.expiry.is_live(now) => self.metrics.cache_expired_total.inc(),
                // Its successor is no loss.
                () if key.is_of(&s) => {}
                () => self.metrics.cache_evictions_total.inc(),
            }
        };
        if map.put(key.low(), slot, |s| key.is_of(s), standing, gone) {
            let tally = &mut tally[kind as usize];
            tally.entries += 1;
            tally.bytes += bytes;
        }
    }

    /// The name exists after all: its denial goes, unless it is better proven.
    fn outdate_denial(&self, name: &Name, entry: &Entry) {
        let key = self.key(name, NXDOMAIN_KEY);
        let mut shard = self.shard(key);
        let Some(denial) = shard.map.peek(key.low(), |s| key.is_of(s)) else {
            return;
        };
        if denial.packed.is_secure() && entry.security != Security::Secure {
            return;
        }
        self.change(&mut shard, |shard| {
            if let Some(slot) = shard.map.remove(key.low(), |s| key.is_of(s)) {
                uncount(&mut shard.tally, &slot);
            }
        });
    }

    fn get(&self, name: &Name, rtype: Rtype, now: Now, kind: Option<Kind>) -> Option<Hit> {
        let key = self.key(name, rtype);
        let (packed, left_s, refresh_due) = {
            let mut shard = self.shard(key);
            let slot = shard.map.get(key.low(), |s| key.is_of(s))?;
            let left_s = slot.expiry.left_s(now);
            // A dead entry keeps its place, so that its successor is known to be popular.
            if left_s == 0 || kind.is_some_and(|kind| kind != slot.kind) {
                return None;
            }
            slot.asked = slot.asked.saturating_add(1);
            if slot.asked == NOTED_AT {
                self.notes.leave(|| Note::Asked(slot.noted(now)));
            }
            let due = !slot.claimed
                && slot.asked >= REFRESH_ASKED_MIN
                && left_s.saturating_mul(REFRESH_SHARE) <= slot.packed.ttl_s();
            (slot.packed.clone(), left_s, due)
        };
        Some(Hit {
            entry: packed.unpack(left_s)?,
            left_s,
            refresh_due,
        })
    }

    /// Whether the caller is the first to refresh the entry that answers the question.
    pub fn claim_refresh(&self, question: &Question, now: Now) -> bool {
        let claim = |rtype| {
            let key = self.key(&question.name, rtype);
            let mut shard = self.shard(key);
            let slot = shard.map.peek(key.low(), |s| key.is_of(s))?;
            let live = slot.expiry.is_live(now);
            live.then(|| !std::mem::replace(&mut slot.claimed, true))
        };
        let claimed = claim(question.rtype)
            .or_else(|| claim(Rtype::CNAME))
            .or_else(|| claim(NXDOMAIN_KEY));
        claimed.unwrap_or(false)
    }

    /// Forgets what answers questions for `name`, and with `tree` everything below it too; returns how many entries
    /// went. A proven denial or a DNAME above the name answers for it as well, and goes.
    pub fn forget(&self, name: &Name, tree: bool) -> usize {
        self.drop_if(|slot| {
            let Some(own) = slot.packed.name() else {
                return true;
            };
            let at_or_below = own.is_within(name) && (tree || own == *name);
            let speaks_below =
                slot.kind == Kind::NxDomain || slot.packed.rtype() == Some(Rtype::DNAME);
            at_or_below || (speaks_below && name.is_below(&own))
        })
    }

    /// Drops everything that rests on as-of validation.
    pub fn purge_as_of(&self) {
        self.drop_if(|slot| slot.packed.is_as_of());
    }

    /// Drops what was stored since `since` (monotonic) and has a remark with it: what a drill made of what was true.
    pub fn purge_remarked(&self, since: Duration) {
        self.drop_if(|slot| slot.packed.has_errors() && slot.was_stored_since(since));
    }

    /// Drops what was stored since `since` (monotonic) and is not proven, on disk too; returns how many entries went.
    pub fn purge_unsigned(&self, since: Duration) -> usize {
        self.drop_if(|slot| {
            let goes = !slot.packed.is_secure() && slot.was_stored_since(since);
            if goes && let (Some(name), Some(rtype)) = (slot.packed.name(), slot.packed.rtype()) {
                self.notes.leave(|| Note::Gone(name, rtype));
            }
            goes
        })
    }

    fn drop_if(&self, dead: impl Fn(&Slot) -> bool) -> usize {
        let mut dropped = 0;
        for shard in &self.shards {
            self.change(&mut lock(shard), |shard| {
                let Shard { map, tally } = shard;
                let gone = |slot: Slot| {
                    uncount(tally, &slot);
                    dropped += 1;
                };
                map.retain(|slot| !dead(slot), gone);
            });
        }
        dropped
    }

    /// The cache in numbers.
    pub fn stats(&self) -> CacheStats {
        let mut stats = CacheStats {
            hits: self.metrics.cache_hits_total.value(),
            misses: self.metrics.cache_misses_total.value(),
            ..CacheStats::default()
        };
        for shard in &self.shards {
            let shard = lock(shard);
            stats.entries += shard.map.len();
            stats.bytes += shard.map.bytes();
            for (sum, tally) in stats.kinds.iter_mut().zip(&shard.tally) {
                sum.entries += tally.entries;
                sum.bytes += tally.bytes;
            }
        }
        stats
    }

    /// Changes a shard and keeps the gauges, which are sums over all shards, right.
    fn change(&self, shard: &mut Shard, change: impl FnOnce(&mut Shard)) {
        let (entries, bytes) = (shard.map.len(), shard.map.bytes());
        change(shard);
        // Wraps where the shard shrank, and comes out right.
        let by = |before: usize, after: usize| after.wrapping_sub(before) as u64;
        (self.metrics.cache_entries).add(by(entries, shard.map.len()));
        (self.metrics.cache_bytes).add(by(bytes, shard.map.bytes()));
    }

    fn key<'a>(&self, name: &'a Name, rtype: Rtype) -> Key<'a> {
        Key {
            name,
            rtype,
            hash: self.hasher.hash_one((name, rtype)),
        }
    }

    fn shard(&self, key: Key<'_>) -> MutexGuard<'_, Shard> {
        let at = (key.hash >> 32) as usize % self.shards.len();
        lock(&self.shards[at])
    }
}

fn uncount(tally: &mut [Tally; Kind::ALL.len()], slot: &Slot) {
    let tally = &mut tally[slot.kind as usize];
    tally.entries -= 1;
    tally.bytes -= slot.heap_bytes();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
