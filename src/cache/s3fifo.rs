//! A map bounded in bytes that forgets by the S3-FIFO rule (Yang and others, SOSP 2023).
//!
//! Why: names asked for once, by the million in a flood of random names, must not push out the names asked for all day. A
//! newcomer therefore gets a tenth of the room to prove itself in, and only who was asked for again moves on to the rest. The
//! measured rivals are in the tests: LRU forgets everything in a flood, SIEVE lets newcomers into the whole room.
//!
//! Model:
//!
//! ```text
//!   put ----> small (a tenth) ---- used since ----> main --- used since: back to the head, one use less
//!    |             |                                  |
//!    |             `-- not used --> forgotten,        `-- not used --> forgotten
//!    |                              its ghost stays
//!    `-- known as ghost ----------------------------> main
//! ```
//!
//! Entries stand in one vector, linked by index in their queue, found by an open-addressed index of 4 bytes per place. A ghost is
//! 4 bytes of the hash. A hit changes a counter and nothing else. What is dead goes first, wherever the hand meets it; what has run out but is
//! still good for an outage stays for one round if it was used, whatever its uses; what is put again
//! keeps its place and its uses, so that a popular name does not start anew at each end of its TTL.
//!
//! [`S3Fifo::bytes`] counts all of it: values, places, index, ghosts.

use super::account::block_bytes;

/// No entry.
const NIL: u32 = u32::MAX;
/// Uses that are counted.
const USES_MAX: u8 = 3;
/// The newcomers' share of the room: one part in so many.
const SMALL_SHARE: usize = 10;
/// An entry may have one part in so many of the whole room; a larger one is not kept.
const ENTRY_SHARE: usize = 4;
/// The vector of entries grows by one part in so many, and by this number at least.
const GROWTH_SHARE: usize = 8;
const GROWTH_MIN: usize = 8;
/// Places of the smallest index.
const INDEX_MIN: usize = 16;

/// What is left of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is of full use.
    Live,
    /// It has run out, and is of use only while there is nothing newer.
    Stale,
    /// It is of no use.
    Dead,
}

/// What an entry costs.
pub(super) trait Weigh {
    /// Bytes on the heap.
    fn heap_bytes(&self) -> usize;
}

#[derive(Debug)]
struct Node<V> {
    /// `None` in a free place.
    value: Option<V>,
    hash: u32,
    newer: u32,
    /// In a free place, the next free one.
    older: u32,
    uses: u8,
    in_main: bool,
}

#[derive(Debug, Clone, Copy)]
struct Queue {
    newest: u32,
    oldest: u32,
    bytes: usize,
}

impl Queue {
    const EMPTY: Queue = Queue {
        newest: NIL,
        oldest: NIL,
        bytes: 0,
    };
}

/// The bounded map.
#[derive(Debug)]
pub(super) struct S3Fifo<V> {
    nodes: Vec<Node<V>>,
    free: u32,
    len: usize,
    index: Vec<u32>,
    ghosts: Vec<u32>,
    small: Queue,
    main: Queue,
    values_bytes: usize,
    bytes_max: usize,
}

impl<V: Weigh> S3Fifo<V> {
    pub fn new(bytes_max: usize) -> Self {
        S3Fifo {
            nodes: Vec::new(),
            free: NIL,
            len: 0,
            index: Vec::new(),
            ghosts: Vec::new(),
            small: Queue::EMPTY,
            main: Queue::EMPTY,
            values_bytes: 0,
            bytes_max,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Everything on the heap.
    pub fn bytes(&self) -> usize {
        block_bytes(self.nodes.capacity() * size_of::<Node<V>>())
            + block_bytes(self.index.capacity() * size_of::<u32>())
            + block_bytes(self.ghosts.capacity() * size_of::<u32>())
            + self.values_bytes
    }

    /// The value; counts as a use of it.
    pub fn get(&mut self, hash: u32, same: impl Fn(&V) -> bool) -> Option<&mut V> {
        let at = self.locate(hash, same)?;
        let node = &mut self.nodes[at as usize];
        node.uses = (node.uses + 1).min(USES_MAX);
        node.value.as_mut()
    }

    /// The value, without counting.
    pub fn peek(&mut self, hash: u32, same: impl Fn(&V) -> bool) -> Option<&mut V> {
        let at = self.locate(hash, same)?;
        self.nodes[at as usize].value.as_mut()
    }

    /// Puts a value, in the place of an equal one if there is one, and forgets others until it fits; what is forgotten
    /// goes to `gone`. False when the value is too large to be kept.
    pub fn put(
        &mut self,
        hash: u32,
        value: V,
        same: impl Fn(&V) -> bool,
        standing: impl Fn(&V) -> Standing,
        mut gone: impl FnMut(V),
    ) -> bool {
        let size = value.heap_bytes();
        if size + size_of::<Node<V>>() > self.bytes_max / ENTRY_SHARE {
            return false;
        }
        if let Some(at) = self.locate(hash, same) {
            if let Some(old) = self.replace(at, value) {
                gone(old);
            }
            while self.bytes() > self.bytes_max && self.evict(&standing, &mut gone) {}
            return true;
        }
        while self.bytes() + size + self.growth_bytes() > self.bytes_max
            && self.evict(&standing, &mut gone)
        {}
        let in_main = self.take_ghost(hash);
        self.insert(hash, value, in_main);
        true
    }

    pub fn remove(&mut self, hash: u32, same: impl Fn(&V) -> bool) -> Option<V> {
        let at = self.locate(hash, same)?;
        self.take(at)
    }

    /// All values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.nodes.iter().filter_map(|node| node.value.as_ref())
    }

    /// Forgets what `keep` says no to; it goes to `gone`.
    pub fn retain(&mut self, keep: impl Fn(&V) -> bool, mut gone: impl FnMut(V)) {
        for at in 0..self.nodes.len() {
            let value = self.nodes[at].value.as_ref();
            if value.is_some_and(|value| !keep(value))
                && let Some(value) = self.take(at as u32)
            {
                gone(value);
            }
        }
        if self.len == 0 {
            *self = S3Fifo::new(self.bytes_max);
        }
    }

    fn insert(&mut self, hash: u32, value: V, in_main: bool) {
        if (self.len + 1) * 8 > self.index.len() * 7 {
            self.grow_index();
        }
        let size = value.heap_bytes() + size_of::<Node<V>>();
        self.values_bytes += value.heap_bytes();
        let node = Node {
            value: Some(value),
            hash,
            newer: NIL,
            older: NIL,
            uses: 0,
            in_main,
        };
        let at = match self.free {
            NIL => {
                if self.nodes.len() == self.nodes.capacity() {
                    self.nodes.reserve_exact(self.growth_nodes());
                }
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
            at => {
                self.free = self.nodes[at as usize].older;
                self.nodes[at as usize] = node;
                at
            }
        };
        self.len += 1;
        self.index_insert(at);
        self.push(at, size);
    }

    fn replace(&mut self, at: u32, value: V) -> Option<V> {
        let node = &mut self.nodes[at as usize];
        let size = value.heap_bytes();
        let old = node.value.replace(value)?;
        let queue = match node.in_main {
            true => &mut self.main,
            false => &mut self.small,
        };
        queue.bytes = queue.bytes + size - old.heap_bytes();
        self.values_bytes = self.values_bytes + size - old.heap_bytes();
        Some(old)
    }

    /// Makes one step towards more room; false when nothing is left to forget.
    fn evict(&mut self, standing: &impl Fn(&V) -> Standing, gone: &mut impl FnMut(V)) -> bool {
        loop {
            let from_small =
                self.small.bytes > self.bytes_max / SMALL_SHARE || self.main.oldest == NIL;
            let at = match from_small {
                true => self.small.oldest,
                false => self.main.oldest,
            };
            if at == NIL {
                return false;
            }
            let node = &mut self.nodes[at as usize];
            let standing = node.value.as_ref().map_or(Standing::Dead, standing);
            let dead = standing == Standing::Dead;
            if dead || node.uses == 0 {
                let hash = node.hash;
                if from_small && !dead {
                    self.leave_ghost(hash);
                }
                if let Some(value) = self.take(at) {
                    gone(value);
                }
                return true;
            }
            // A use in the newcomers' queue is the ticket to the main one; there it buys one more round, and what has run out has
            // one for all its uses.
            node.uses = match standing == Standing::Stale || from_small {
                true => 0,
                false => node.uses - 1,
            };
            let size = self.unlink(at);
            self.nodes[at as usize].in_main = true;
            self.push(at, size);
        }
    }

    /// Takes an entry out of everything.
    fn take(&mut self, at: u32) -> Option<V> {
        self.nodes[at as usize].value.as_ref()?;
        self.index_remove(at);
        self.unlink(at);
        let node = &mut self.nodes[at as usize];
        node.older = self.free;
        let value = node.value.take()?;
        self.free = at;
        self.len -= 1;
        self.values_bytes -= value.heap_bytes();
        Some(value)
    }

    /// Puts an entry at the head of its queue.
    fn push(&mut self, at: u32, size: usize) {
        let node = &mut self.nodes[at as usize];
        let queue = match node.in_main {
            true => &mut self.main,
            false => &mut self.small,
        };
        node.newer = NIL;
        node.older = queue.newest;
        let before = std::mem::replace(&mut queue.newest, at);
        if before == NIL {
            queue.oldest = at;
        }
        queue.bytes += size;
        if before != NIL {
            self.nodes[before as usize].newer = at;
        }
    }

    /// Takes an entry out of its queue; returns what it costs there.
    fn unlink(&mut self, at: u32) -> usize {
        let node = &self.nodes[at as usize];
        let size = node.value.as_ref().map_or(0, Weigh::heap_bytes) + size_of::<Node<V>>();
        let (newer, older) = (node.newer, node.older);
        let queue = match node.in_main {
            true => &mut self.main,
            false => &mut self.small,
        };
        queue.bytes -= size;
        match newer {
            NIL => queue.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        let queue = match self.nodes[at as usize].in_main {
            true => &mut self.main,
            false => &mut self.small,
        };
        match older {
            NIL => queue.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        size
    }

    // What one more entry makes grow.

    fn growth_nodes(&self) -> usize {
        (self.nodes.capacity() / GROWTH_SHARE).max(GROWTH_MIN)
    }

    fn growth_bytes(&self) -> usize {
        let full = self.free == NIL && self.nodes.len() == self.nodes.capacity();
        let nodes = if full { self.growth_nodes() } else { 0 };
        let more = (self.len + 1) * 8 > self.index.len() * 7;
        let places = if more {
            self.index.len().max(INDEX_MIN)
        } else {
            0
        };
        nodes * size_of::<Node<V>>() + (places + places / 2) * size_of::<u32>()
    }

    // The index: linear probing, without tombstones.

    fn locate(&self, hash: u32, same: impl Fn(&V) -> bool) -> Option<u32> {
        let mask = self.index.len().checked_sub(1)?;
        let mut place = hash as usize & mask;
        loop {
            let at = self.index[place];
            if at == NIL {
                return None;
            }
            let node = &self.nodes[at as usize];
            if node.hash == hash && node.value.as_ref().is_some_and(&same) {
                return Some(at);
            }
            place = (place + 1) & mask;
        }
    }

    fn index_insert(&mut self, at: u32) {
        let mask = self.index.len() - 1;
        let mut place = self.nodes[at as usize].hash as usize & mask;
        while self.index[place] != NIL {
            place = (place + 1) & mask;
        }
        self.index[place] = at;
    }

    fn index_remove(&mut self, at: u32) {
        let mask = self.index.len() - 1;
        let mut hole = self.nodes[at as usize].hash as usize & mask;
        while self.index[hole] != at {
            hole = (hole + 1) & mask;
        }
        // Whoever stands behind the hole and may stand in it moves up.
        let mut place = hole;
        loop {
            place = (place + 1) & mask;
            let next = self.index[place];
            if next == NIL {
                break;
            }
            let home = self.nodes[next as usize].hash as usize & mask;
            if place.wrapping_sub(home) & mask >= place.wrapping_sub(hole) & mask {
                self.index[hole] = next;
                hole = place;
            }
        }
        self.index[hole] = NIL;
    }

    fn grow_index(&mut self) {
        let places = (self.index.len() * 2).max(INDEX_MIN);
        self.index = vec![NIL; places];
        self.ghosts = vec![0; places / 2];
        for at in 0..self.nodes.len() as u32 {
            if self.nodes[at as usize].value.is_some() {
                self.index_insert(at);
            }
        }
    }

    // The ghosts: one place per hash, newer ones overwrite. 0 is nobody.

    fn leave_ghost(&mut self, hash: u32) {
        let place = hash as usize & (self.ghosts.len() - 1);
        self.ghosts[place] = hash;
    }

    fn take_ghost(&mut self, hash: u32) -> bool {
        let Some(mask) = self.ghosts.len().checked_sub(1) else {
            return false;
        };
        let ghost = &mut self.ghosts[hash as usize & mask];
        let known = *ghost == hash && hash != 0;
        if known {
            *ghost = 0;
        }
        known
    }
}

#[cfg(test)]
#[path = "s3fifo_tests.rs"]
mod tests;
