//! A list in the order of its keys, which is looked through by halving.
//!
//! Why: what is searched for is wanted within a few dozen nanoseconds, while nothing of a tree is in the processor's cache. Here the first octets of all keys
//! stand side by side, and the keys themselves are looked at only where these are the same. To insert moves what follows, which is rare.

/// Octets of a key that stand beside those of others.
const HEAD_LEN: usize = 16;

/// Things by their keys.
#[derive(Debug)]
pub struct Ordered<T> {
    heads: Vec<u128>,
    things: Vec<(Box<[u8]>, T)>,
}

impl<T> Default for Ordered<T> {
    fn default() -> Ordered<T> {
        Ordered {
            heads: Vec::new(),
            things: Vec::new(),
        }
    }
}

/// The first octets, zeros after a shorter key: in the order of the keys, but for what is equal.
fn head_of(key: &[u8]) -> u128 {
    let mut head = [0; HEAD_LEN];
    let len = key.len().min(HEAD_LEN);
    head[..len].copy_from_slice(&key[..len]);
    u128::from_be_bytes(head)
}

impl<T> Ordered<T> {
    /// Where the last thing is whose key is not after this one.
    pub fn at_or_before(&self, key: &[u8]) -> Option<usize> {
        let head = head_of(key);
        let mut after = self.heads.partition_point(|at| *at <= head);
        while after > 0 && self.heads[after - 1] == head && *self.things[after - 1].0 > *key {
            after -= 1;
        }
        after.checked_sub(1)
    }

    /// The thing at a place.
    pub fn get(&self, at: usize) -> Option<&T> {
        self.things.get(at).map(|(_, thing)| thing)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.things.get_mut(at).map(|(_, thing)| thing)
    }

    /// What has this key.
    pub fn find_mut(&mut self, key: &[u8]) -> Option<&mut T> {
        let at = self.at_or_before(key)?;
        let (found, thing) = &mut self.things[at];
        (**found == *key).then_some(thing)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.things.len()
    }

    /// Puts in what has this key, which nothing there has.
    pub fn insert(&mut self, key: Box<[u8]>, thing: T) {
        let at = self.at_or_before(&key).map_or(0, |before| before + 1);
        self.heads.insert(at, head_of(&key));
        self.things.insert(at, (key, thing));
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.things.iter().map(|(_, thing)| thing)
    }

    /// Takes out all of them.
    pub fn clear(&mut self) {
        self.heads.clear();
        self.things.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::SmallRng};
    use std::collections::BTreeMap;

    #[test]
    fn it_finds_what_a_tree_finds() {
        let mut rng = SmallRng::seed_from_u64(7);
        // Few octets, and keys that are longer than a head: many are alike for long.
        let mut key = || {
            let len = rng.random_range(0..22);
            let octets = (0..len).map(|at| match at {
                0..14 => 0,
                _ => rng.random_range(0..3u8),
            });
            octets.collect::<Vec<u8>>()
        };
        let (mut list, mut tree) = (Ordered::default(), BTreeMap::new());
        for n in 0..4000 {
            let new = key();
            let old = tree.insert(new.clone(), n);
            match list.find_mut(&new) {
                Some(thing) => assert_eq!(Some(std::mem::replace(thing, n)), old),
                None => {
                    assert_eq!(old, None);
                    list.insert(new.into(), n);
                }
            }
            let asked = key();
            let found = list.at_or_before(&asked).and_then(|at| list.get(at));
            let expected = tree.range(..=asked).next_back().map(|(_, n)| n);
            assert_eq!(found, expected);
        }
        assert!(list.iter().eq(tree.values()) && list.len() == tree.len());
    }
}
