//! Where one thread keeps its ready answers: found by a hash, bounded in bytes, shared with nobody.
//!
//! Model: sets of [`WAYS`] places, of which a keyed hash chooses one, so that nobody outside can fill a chosen set. An answer comes in when it is
//! made for the second time within a short while ([`Table::admits`]): a flood of names that are asked once stays outside. When there is no
//! room, what has run out goes, then what was asked for least.

use std::hash::{BuildHasher, RandomState};

use super::ready::{Identity, Ready};
use crate::clock::Now;
use crate::dns::folded;

/// Places of a set: a line of tags in the processor's cache, and one of pointers.
const WAYS: usize = 4;
/// What an answer takes on the average, in bytes, to choose the number of sets.
const USUAL_BYTES: usize = 320;
/// What was made once is remembered in so many places.
const SEEN_PLACES: usize = 1 << 14;
/// Sets that are looked through for what has run out, each turn.
pub const SWEEP_SETS: usize = 2;

#[derive(Default)]
struct Set {
    /// Hashes; 0 for none.
    tags: [u64; WAYS],
    ready: [Option<Box<Ready>>; WAYS],
}

/// Ready answers of one thread.
pub struct Table {
    /// Random numbers that make the hash.
    keys: [u64; 2],
    sets: Box<[Set]>,
    seen: Box<[u32]>,
    bytes: usize,
    bytes_max: usize,
    /// The set that is swept next.
    hand: usize,
}

impl Table {
    /// An empty table for so many bytes of answers.
    pub fn new(bytes_max: usize) -> Table {
        let sets = (bytes_max / (WAYS * USUAL_BYTES)).next_power_of_two();
        Table {
            keys: {
                let random = RandomState::new();
                [0u8, 1].map(|which| random.hash_one(which))
            },
            sets: (0..sets).map(|_| Set::default()).collect(),
            seen: vec![0; SEEN_PLACES].into_boxed_slice(),
            bytes: 0,
            bytes_max,
            hand: 0,
        }
    }

    /// The hash that an answer is found by: products with secret numbers, folded. Whoever should find names that meet in a set takes a place or two
    /// from others there, no more.
    #[inline]
    pub fn hash(&self, of: &Identity<'_>) -> u64 {
        let [seed, factor] = self.keys;
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        // The upper 16 bits of the rest are free.
        let begin = seed ^ of.rest() ^ (of.name.len() as u64) << 48;
        let hash = folded::fold(of.name, fold(begin, factor | 1), |hash, word| {
            fold(hash ^ word, factor | 1)
        });
        fold(hash, seed | 1).max(1)
    }

    /// The answer with this identity, if it is still good.
    #[inline]
    pub fn find(&mut self, hash: u64, of: &Identity<'_>, now: Now) -> Option<&mut Ready> {
        let set = self.set_mut(hash);
        let way = set.tags.iter().position(|tag| *tag == hash)?;
        let ready = set.ready[way].as_deref_mut()?;
        (ready.is_good(now) && ready.is_for(of)).then_some(ready)
    }

    /// Reads into the processor's cache where an answer with this hash would be; what comes out means nothing.
    #[inline]
    pub fn touch(&self, hash: u64) -> u64 {
        self.set(hash).tags[0]
    }

    /// An answer with this hash, whatever it is to.
    #[inline]
    pub fn get(&self, hash: u64) -> Option<&Ready> {
        let set = self.set(hash);
        let way = set.tags.iter().position(|tag| *tag == hash)?;
        set.ready[way].as_deref()
    }

    /// Whether an answer with this hash is to be kept: it was made before, not long ago.
    pub fn admits(&mut self, hash: u64) -> bool {
        let (place, mark) = mark_of(hash);
        std::mem::replace(&mut self.seen[place], mark) == mark
    }

    /// Keeps an answer; what had to go comes out.
    pub fn put(&mut self, hash: u64, ready: Ready, now: Now, gone: &mut impl FnMut(&Ready)) {
        let added = ready.bytes();
        if added > self.bytes_max {
            return;
        }
        let set = self.set_mut(hash);
        let worth = |way: &usize| match &set.ready[*way] {
            _ if set.tags[*way] == hash => (0, 0),
            None => (1, 0),
            Some(ready) if !ready.is_good(now) => (2, 0),
            Some(ready) => (3, ready.hits()),
        };
        let way = (0..WAYS).min_by_key(worth).unwrap_or(0);
        set.tags[way] = hash;
        let old = set.ready[way].replace(Box::new(ready));
        self.bytes += added;
        if let Some(old) = old {
            self.bytes -= old.bytes();
            gone(&old);
        }
        // One round at the most: then the new one alone is left, which fits.
        for _ in 0..self.sets.len() {
            if self.bytes <= self.bytes_max {
                break;
            }
            self.clear_next(gone, |_, tag| tag != hash);
        }
    }

    /// Takes out what has run out, in the next `sets` sets.
    pub fn sweep(&mut self, sets: usize, now: Now, gone: &mut impl FnMut(&Ready)) {
        for _ in 0..sets.min(self.sets.len()) {
            self.clear_next(gone, |ready, _| !ready.is_good(now));
        }
    }

    /// Takes out everything.
    pub fn clear(&mut self, gone: &mut impl FnMut(&Ready)) {
        if self.bytes == 0 {
            return;
        }
        for _ in 0..self.sets.len() {
            self.clear_next(gone, |_, _| true);
        }
    }

    /// How many sets there are.
    pub fn sets(&self) -> usize {
        self.sets.len()
    }

    fn clear_next(&mut self, gone: &mut impl FnMut(&Ready), goes: impl Fn(&Ready, u64) -> bool) {
        let at = self.hand;
        self.hand = (at + 1) & (self.sets.len() - 1);
        let Set { tags, ready } = &mut self.sets[at];
        for (tag, place) in tags.iter_mut().zip(ready) {
            let Some(old) = place.take_if(|ready| goes(ready, *tag)) else {
                continue;
            };
            self.bytes -= old.bytes();
            gone(&old);
            // It has been here: when it is made again it comes in at once.
            let (place, mark) = mark_of(*tag);
            self.seen[place] = mark;
            *tag = 0;
        }
    }

    fn set(&self, hash: u64) -> &Set {
        &self.sets[hash as usize & (self.sets.len() - 1)]
    }

    fn set_mut(&mut self, hash: u64) -> &mut Set {
        let at = hash as usize & (self.sets.len() - 1);
        &mut self.sets[at]
    }
}

#[cfg(test)]
impl Table {
    /// Damages the answers to a name in lower case; how many there were.
    pub fn spoil(&mut self, name: &[u8]) -> usize {
        let ready = self.sets.iter_mut().flat_map(|set| &mut set.ready);
        let mut count = 0;
        for ready in ready.flatten().filter(|ready| ready.name() == name) {
            ready.spoil();
            count += 1;
        }
        count
    }
}

/// Where it is remembered that something with this hash was made, and as what.
fn mark_of(hash: u64) -> (usize, u32) {
    ((hash >> 16) as usize % SEEN_PLACES, (hash >> 32) as u32 | 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::quick::ready::tests::{at, ready_for};

    fn identity(name: &[u8]) -> Identity<'_> {
        Identity {
            name,
            rtype: crate::dns::Rtype::A,
            flags: 1,
            rights: 3,
            limit: 1232,
        }
    }

    fn name(n: u32) -> Vec<u8> {
        let mut name = vec![8];
        name.extend(format!("{n:08}").bytes());
        name.push(0);
        name
    }

    #[test]
    fn what_is_put_is_found_until_it_runs_out() {
        let mut table = Table::new(100_000);
        let name = name(1);
        let of = identity(&name);
        let hash = table.hash(&of);
        assert!(table.find(hash, &of, at(0)).is_none());
        table.put(hash, ready_for(&of, 1000), at(0), &mut |_| {});
        assert!(table.find(hash, &of, at(999)).is_some());
        assert!(table.find(hash, &of, at(1000)).is_none());
        // Another form of the question is another question.
        for other in [
            Identity { flags: 0, ..of },
            Identity { rights: 1, ..of },
            Identity { limit: 512, ..of },
            Identity {
                rtype: crate::dns::Rtype::NS,
                ..of
            },
        ] {
            assert!(table.find(table.hash(&other), &other, at(0)).is_none());
            // Not even if their hashes were the same.
            assert!(table.find(hash, &other, at(0)).is_none());
        }
    }

    #[test]
    fn the_bytes_are_bounded_and_counted() {
        let mut table = Table::new(20_000);
        let mut gone = 0;
        for n in 0..1000 {
            let name = name(n);
            let of = identity(&name);
            table.put(table.hash(&of), ready_for(&of, 1000), at(0), &mut |_| {
                gone += 1
            });
            assert!(table.bytes <= 20_000);
        }
        let kept = 1000 - gone;
        assert!(kept > 10, "{kept}");
        table.clear(&mut |_| gone += 1);
        assert_eq!((table.bytes, gone), (0, 1000));
    }

    #[test]
    fn what_has_run_out_is_swept_and_comes_back_at_once() {
        let mut table = Table::new(20_000);
        let name = name(1);
        let of = identity(&name);
        let hash = table.hash(&of);
        assert!(!table.admits(hash));
        assert!(table.admits(hash));
        table.put(hash, ready_for(&of, 1000), at(0), &mut |_| {});
        let mut swept = 0;
        table.sweep(table.sets(), at(999), &mut |_| swept += 1);
        assert_eq!(swept, 0);
        table.seen.fill(0);
        table.sweep(table.sets(), at(1000), &mut |_| swept += 1);
        assert_eq!((swept, table.bytes), (1, 0));
        assert!(table.admits(hash));
    }
}
