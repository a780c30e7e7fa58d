//! What has been learned, until its TTL runs out: the answer cache.
//!
//! Why: most questions are asked again soon. The cache holds validated answers only, one link of a chain per entry, so
//! that every alias on the way lives by its own TTL. Delegations and addresses of servers are not answers and live in
//! `resolve::delegation`.
//!
//! Model: a key is a name and a type; a name's non-existence stands under its own pseudo type, because it holds for every
//! type (RFC 2308 section 5). Keys are spread over shards, each a `sieve::Sieve` bounded in bytes.
//!
//! Failure: a full cache forgets what was not asked for lately; nothing else depends on what it holds.

pub mod entry;
mod sieve;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Now;
use crate::dns::{Name, Question, Rcode, Rtype};
use crate::metrics::Metrics;

use entry::{Entry, Expiry, Security, follows_alias};
use sieve::Sieve;

/// Type under which a name's non-existence is kept; not a type that can be asked for (RFC 6895).
const NXDOMAIN_KEY: Rtype = Rtype(0);
const SHARDS: usize = 16;

/// Name and type.
pub type Key = (Name, Rtype);

#[derive(Debug, Clone)]
struct Slot {
    entry: Arc<Entry>,
    expiry: Expiry,
}

type Shard = Sieve<Key, Slot>;

/// A live entry.
#[derive(Debug, Clone)]
pub struct Hit {
    /// What is known; TTLs as they were when it was stored.
    pub entry: Arc<Entry>,
    /// Seconds that it has left to live.
    pub left_s: u32,
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
}

/// The answer cache.
pub struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    entries: AtomicUsize,
    bytes: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl Cache {
    /// An empty cache for so many bytes.
    pub fn new(bytes_max: u64, metrics: Arc<Metrics>) -> Cache {
        let each = usize::try_from(bytes_max).unwrap_or(usize::MAX) / SHARDS;
        Cache {
            shards: (0..SHARDS).map(|_| Mutex::new(Sieve::new(each))).collect(),
            hasher: RandomState::new(),
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            metrics,
        }
    }

    /// What is known about the question: its own entry, an alias in its place, or that the name does
    /// not exist.
    pub fn find(&self, question: &Question, now: Now) -> Option<Hit> {
        let own = self.get(&question.name, question.rtype, now);
        own.or_else(|| match follows_alias(question.rtype) {
            // That there is no CNAME is an answer to who asked for CNAME alone.
            true => (self.get(&question.name, Rtype::CNAME, now))
                .filter(|hit| hit.entry.alias(question.rtype).is_some()),
            false => None,
        })
        .or_else(|| self.get(&question.name, NXDOMAIN_KEY, now))
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
    pub fn put(&self, question: &Question, entry: Entry, ttl_s: u32, now: Now) {
        if ttl_s == 0 {
            return;
        }
        let rtype = if entry.rcode == Rcode::NXDOMAIN {
            NXDOMAIN_KEY
        } else if entry.alias(question.rtype).is_some() {
            Rtype::CNAME
        } else {
            question.rtype
        };
        // Whoever asks for the pseudo type itself must not pass for the name's non-existence.
        if rtype == NXDOMAIN_KEY && entry.rcode != Rcode::NXDOMAIN {
            return;
        }
        let size = entry.size_bytes() + question.name.wire().len() + size_of::<(Key, Slot)>();
        let slot = Slot {
            entry: Arc::new(entry),
            expiry: Expiry::after(now, ttl_s),
        };
        let key = (question.name.clone(), rtype);
        self.change(&mut self.shard(&key), |shard| {
            shard.put(key.clone(), slot, size)
        });
    }

    fn get(&self, name: &Name, rtype: Rtype, now: Now) -> Option<Hit> {
        let key = (name.clone(), rtype);
        let mut shard = self.shard(&key);
        let slot = shard.get(&key)?;
        let left_s = slot.expiry.left_s(now);
        if left_s == 0 {
            self.change(&mut shard, |shard| shard.remove(&key));
            return None;
        }
        Some(Hit {
            entry: slot.entry.clone(),
            left_s,
        })
    }

    /// Drops everything at and below `name`; everything at all for the root.
    pub fn flush(&self, name: &Name) {
        self.drop_if(|key, _| key.0.is_within(name));
    }

    /// Drops everything that rests on as-of validation.
    pub fn purge_as_of(&self) {
        self.drop_if(|_, slot| slot.entry.security == Security::SecureAsOf);
    }

    fn drop_if(&self, dead: impl Fn(&Key, &Slot) -> bool) {
        for shard in &self.shards {
            self.change(&mut lock(shard), |shard| shard.drop_if(&dead));
        }
    }

    /// The cache in numbers.
    pub fn stats(&self) -> CacheStats {
        CacheStats {
            entries: self.entries.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            hits: self.metrics.cache_hits_total.value(),
            misses: self.metrics.cache_misses_total.value(),
        }
    }

    /// Changes a shard and keeps the sums over all shards right.
    fn change(&self, shard: &mut Shard, change: impl FnOnce(&mut Shard)) {
        let (entries, bytes) = (shard.len(), shard.bytes());
        change(shard);
        // Wraps where the shard shrank, and comes out right.
        let shift = |sum: &AtomicUsize, before: usize, after: usize| {
            let by = after.wrapping_sub(before);
            sum.fetch_add(by, Ordering::Relaxed).wrapping_add(by) as u64
        };
        let entries = shift(&self.entries, entries, shard.len());
        let bytes = shift(&self.bytes, bytes, shard.bytes());
        self.metrics.cache_entries.set(entries);
        self.metrics.cache_bytes.set(bytes);
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        lock(&self.shards[at])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::RrSet;
    use std::time::Duration;

    fn q(name: &str, rtype: Rtype) -> Question {
        Question::new(name.parse().unwrap(), rtype)
    }

    fn entry(rcode: Rcode, answer: Vec<RrSet>, security: Security) -> Entry {
        Entry {
            rcode,
            answer,
            authority: Vec::new(),
            security,
            errors: Vec::new(),
        }
    }

    fn set(name: &str, rtype: Rtype, rdata: &[u8]) -> RrSet {
        RrSet::single(name.parse().unwrap(), rtype, 60, rdata.into())
    }

    #[test]
    fn denials_and_aliases_answer_for_every_type() {
        let cache = Cache::new(1 << 20, Arc::default());
        let now = Now::default();
        let gone = entry(Rcode::NXDOMAIN, vec![], Security::Insecure);
        cache.put(&q("gone.test.", Rtype::A), gone, 60, now);
        let cname = set("www.test.", Rtype::CNAME, b"\x01a\0");
        let alias = entry(Rcode::NOERROR, vec![cname], Security::Insecure);
        cache.put(&q("www.test.", Rtype::A), alias, 60, now);
        for (name, rtype, found) in [
            ("gone.test.", Rtype::MX, true),
            ("GONE.test.", Rtype::A, true),
            ("www.test.", Rtype::AAAA, true),
            ("www.test.", Rtype::CNAME, true),
            ("www.test.", Rtype::ANY, false),
            ("test.", Rtype::A, false),
        ] {
            let hit = cache.find(&q(name, rtype), now);
            assert_eq!(hit.is_some(), found, "{name} {rtype}");
        }
        let later = Now::new(Duration::from_secs(60), 60);
        assert!(cache.find(&q("gone.test.", Rtype::A), later).is_none());
    }

    #[test]
    fn a_type_that_is_not_there_hides_no_other() {
        let cache = Cache::new(1 << 20, Arc::default());
        let now = Now::default();
        for rtype in [Rtype::CNAME, NXDOMAIN_KEY, Rtype::MX] {
            let nothing = entry(Rcode::NOERROR, vec![], Security::Secure);
            cache.put(&q("www.test.", rtype), nothing, 60, now);
            assert!(cache.find(&q("www.test.", Rtype::A), now).is_none());
        }
        assert!(cache.find(&q("www.test.", Rtype::CNAME), now).is_some());
    }

    #[test]
    fn as_of_entries_are_purged_and_flush_takes_the_rest() {
        let cache = Cache::new(1 << 20, Arc::default());
        for (name, security) in [
            ("a.test.", Security::SecureAsOf),
            ("b.test.", Security::Secure),
            ("b.other.", Security::Secure),
        ] {
            let e = entry(Rcode::NOERROR, vec![set(name, Rtype::A, &[0; 4])], security);
            cache.put(&q(name, Rtype::A), e, 30, Now::default());
        }
        cache.purge_as_of();
        assert_eq!(cache.stats().entries, 2);
        cache.flush(&"test.".parse().unwrap());
        assert_eq!(cache.stats().entries, 1);
        cache.flush(&Name::root());
        let stats = cache.stats();
        assert_eq!((stats.entries, stats.bytes), (0, 0));
    }
}
