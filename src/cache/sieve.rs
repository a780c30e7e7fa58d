//! A map bounded in bytes that forgets by the SIEVE rule (Zhang and others, NSDI 2024).
//!
//! Why: names asked for once, by the million in a flood of random names, must not push out the names asked for all day.
//! SIEVE keeps a queue and a hand that moves from old to new: an entry that was used since the hand last passed stays where it is,
//! one that was not goes. A hit only sets a mark, so reads stay cheap.
//!
//! Model: slots in a vector, linked by index from newest to oldest; free slots are reused.

use std::collections::HashMap;
use std::hash::Hash;

/// No slot.
const NIL: usize = usize::MAX;

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    value: V,
    size: usize,
    used: bool,
    newer: usize,
    older: usize,
}

/// The bounded map.
#[derive(Debug)]
pub(super) struct Sieve<K, V> {
    index: HashMap<K, usize>,
    nodes: Vec<Option<Node<K, V>>>,
    free: Vec<usize>,
    newest: usize,
    oldest: usize,
    hand: usize,
    bytes: usize,
    bytes_max: usize,
}

impl<K: Eq + Hash + Clone, V> Sieve<K, V> {
    pub fn new(bytes_max: usize) -> Self {
        Sieve {
            index: HashMap::new(),
            nodes: Vec::new(),
            free: Vec::new(),
            newest: NIL,
            oldest: NIL,
            hand: NIL,
            bytes: 0,
            bytes_max,
        }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value; marks it as used.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        let at = *self.index.get(key)?;
        let node = self.nodes[at].as_mut()?;
        node.used = true;
        Some(&node.value)
    }

    /// Puts a value of `size` bytes, and forgets others until it fits. A value larger than the whole
    /// map is not kept.
    pub fn put(&mut self, key: K, value: V, size: usize) {
        self.remove(&key);
        if size > self.bytes_max {
            return;
        }
        while self.bytes + size > self.bytes_max && self.evict() {}
        let node = Node {
            key: key.clone(),
            value,
            size,
            used: false,
            newer: NIL,
            older: self.newest,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at] = Some(node);
                at
            }
            None => {
                self.nodes.push(Some(node));
                self.nodes.len() - 1
            }
        };
        match self.newest {
            NIL => self.oldest = at,
            newest => self.link(newest).newer = at,
        }
        self.newest = at;
        self.index.insert(key, at);
        self.bytes += size;
    }

    pub fn remove(&mut self, key: &K) {
        if let Some(at) = self.index.remove(key) {
            self.unlink(at);
        }
    }

    pub fn drop_if(&mut self, dead: impl Fn(&K, &V) -> bool) {
        let nodes = self.nodes.iter().flatten();
        let keys: Vec<K> = nodes
            .filter(|n| dead(&n.key, &n.value))
            .map(|n| n.key.clone())
            .collect();
        for key in keys {
            self.remove(&key);
        }
    }

    /// Moves the hand to the next unused entry and forgets it; false when the map is empty.
    fn evict(&mut self) -> bool {
        loop {
            let at = match self.hand {
                NIL => self.oldest,
                at => at,
            };
            if at == NIL {
                return false;
            }
            let node = self.link(at);
            let (used, newer) = (node.used, node.newer);
            if !used {
                let key = node.key.clone();
                self.hand = newer;
                self.remove(&key);
                return true;
            }
            node.used = false;
            self.hand = newer;
        }
    }

    fn unlink(&mut self, at: usize) {
        let Some(node) = self.nodes[at].take() else {
            return;
        };
        self.free.push(at);
        self.bytes -= node.size;
        if self.hand == at {
            self.hand = node.newer;
        }
        match node.newer {
            NIL => self.newest = node.older,
            newer => self.link(newer).older = node.older,
        }
        match node.older {
            NIL => self.oldest = node.newer,
            older => self.link(older).newer = node.newer,
        }
    }

    fn link(&mut self, at: usize) -> &mut Node<K, V> {
        self.nodes[at].as_mut().expect("linked slots are occupied")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_entries_outlive_a_flood_of_strangers() {
        let mut map = Sieve::new(100);
        for key in 0..10 {
            map.put(key, key, 5);
        }
        for stranger in 1000..2000 {
            for key in 0..10 {
                assert_eq!(map.get(&key), Some(&key));
            }
            map.put(stranger, stranger, 5);
            assert!(map.bytes() <= 100);
        }
    }

    #[test]
    fn links_survive_random_use() {
        let mut map = Sieve::new(50);
        let mut x = 12345u32;
        for _ in 0..20_000 {
            x = x.wrapping_mul(1664525).wrapping_add(1013904223);
            let key = x >> 27;
            match x >> 8 & 3 {
                0 => map.remove(&key),
                1 => {
                    map.get(&key);
                }
                _ => map.put(key, key, (x >> 10 & 7) as usize),
            }
            let sum: usize = map.nodes.iter().flatten().map(|n| n.size).sum();
            assert_eq!(sum, map.bytes());
            assert_eq!(map.nodes.iter().flatten().count(), map.len());
        }
        let mut at = map.oldest;
        let mut count = 0;
        while at != NIL {
            at = map.link(at).newer;
            count += 1;
        }
        assert_eq!(count, map.len());
        map.put(99, 99, 51);
        assert_eq!(map.get(&99), None);
    }
}
