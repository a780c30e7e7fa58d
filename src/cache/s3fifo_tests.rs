//! The map against a naive model, and the rule against its rivals.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    key: u32,
    size: usize,
    dead: bool,
}

impl Weigh for Item {
    fn heap_bytes(&self) -> usize {
        self.size
    }
}

fn item(key: u32, size: usize) -> Item {
    Item {
        key,
        size,
        dead: false,
    }
}

fn standing(item: &Item) -> Standing {
    match item.dead {
        true => Standing::Dead,
        false => Standing::Live,
    }
}

/// Few different hashes, so that the index has to tell equal ones apart.
fn poor_hash(key: u32) -> u32 {
    key % 37
}

/// Good enough a mixture (Fibonacci hashing).
fn good_hash(key: u32) -> u32 {
    key.wrapping_mul(2_654_435_769)
}

impl S3Fifo<Item> {
    /// Both queues linked as the counts say, every entry found by the index.
    fn check(&self) {
        let mut seen = 0;
        let mut values = 0;
        for (queue, is_main) in [(self.small, false), (self.main, true)] {
            let (mut at, mut newer, mut bytes) = (queue.newest, NIL, 0);
            while at != NIL {
                let node = &self.nodes[at as usize];
                assert_eq!((node.newer, node.in_main), (newer, is_main));
                let value = node.value.as_ref().unwrap();
                let found = self.locate(node.hash, |v| v.key == value.key);
                assert_eq!(found, Some(at));
                bytes += value.size + size_of::<Node<Item>>();
                values += value.size;
                seen += 1;
                (newer, at) = (at, node.older);
            }
            assert_eq!((queue.oldest, queue.bytes), (newer, bytes));
        }
        assert_eq!((seen, values), (self.len, self.values_bytes));
        assert!(self.bytes() <= self.bytes_max, "{}", self.bytes());
    }
}

#[test]
fn random_use_agrees_with_a_naive_model() {
    for seed in 0..20 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let hash = if seed % 2 == 0 { poor_hash } else { good_hash };
        let mut map: S3Fifo<Item> = S3Fifo::new(if seed < 10 { 20_000 } else { 3_000 });
        // What the map must hold: everything put and neither removed nor said to be gone.
        let mut model: HashMap<u32, Item> = HashMap::new();
        for round in 0..3_000 {
            let key = rng.random_range(0..120u32);
            match rng.random_range(0..10) {
                0 => {
                    let removed = map.remove(hash(key), |v| v.key == key);
                    assert_eq!(removed, model.remove(&key));
                }
                1..4 => {
                    let found = map.get(hash(key), |v| v.key == key).cloned();
                    assert_eq!(found.as_ref(), model.get(&key), "seed {seed}");
                }
                4 if rng.random_range(0..50) == 0 => {
                    map.retain(
                        |v| v.key > key,
                        |v| {
                            assert_eq!(model.remove(&v.key), Some(v));
                        },
                    );
                    assert!(model.keys().all(|k| *k > key));
                }
                4 => {
                    if let Some(found) = map.peek(hash(key), |v| v.key == key) {
                        found.dead = true;
                        model.get_mut(&key).unwrap().dead = true;
                    }
                }
                _ => {
                    let new = item(key, rng.random_range(0..400));
                    let mut gone = Vec::new();
                    let same = |v: &Item| v.key == key;
                    let kept = map.put(hash(key), new.clone(), same, standing, |v| gone.push(v));
                    if kept {
                        // The replaced one leaves first; the new one may even go by itself.
                        let before = model.insert(key, new);
                        for left in gone {
                            match before.as_ref() == Some(&left) {
                                true => {}
                                false => assert_eq!(model.remove(&left.key), Some(left)),
                            }
                        }
                    } else {
                        assert!(gone.is_empty());
                    }
                }
            }
            if round % 50 == 0 {
                map.check();
                assert_eq!(map.len(), model.len(), "seed {seed} round {round}");
            }
        }
        map.retain(|_| false, |_| {});
        assert_eq!((map.len(), map.bytes()), (0, 0));
    }
}

#[test]
fn too_large_an_entry_pushes_nobody_out() {
    let mut map: S3Fifo<Item> = S3Fifo::new(4_000);
    let mut put = |key, size| {
        let same = |v: &Item| v.key == key;
        map.put(key, item(key, size), same, |_| Standing::Live, |_| {})
    };
    assert!(put(1, 100));
    assert!(!put(2, 1_000));
    assert!(map.get(1, |v| v.key == 1).is_some());
}

#[test]
fn the_dead_go_first() {
    let mut map: S3Fifo<Item> = S3Fifo::new(10_000);
    let mut gone = Vec::new();
    for key in 0..1_000u32 {
        let new = Item {
            dead: key % 2 == 0,
            ..item(key, 100)
        };
        map.put(key, new, |v| v.key == key, standing, |v| gone.push(v));
        // All are popular, so only death tells them apart.
        map.get(key, |v| v.key == key);
    }
    let dead = gone.iter().filter(|v| v.dead).count();
    assert!(dead > 450, "{dead} of {}", gone.len());
}

#[test]
fn what_has_run_out_goes_before_what_lives_unless_it_was_used() {
    let mut map: S3Fifo<Item> = S3Fifo::new(100_000);
    // `dead` marks what has run out here. Both kinds fill the main queue, and were used thrice.
    let worth = |v: &Item| match v.dead {
        true => Standing::Stale,
        false => Standing::Live,
    };
    let put = |map: &mut S3Fifo<Item>, key: u32, dead| {
        let new = Item {
            dead,
            ..item(key, 100)
        };
        map.put(key, new, |v| v.key == key, worth, |_| {});
    };
    for key in 0..400 {
        put(&mut map, key, key % 2 == 0);
        map.get(key, |v| v.key == key);
    }
    // A flood that nobody asks for again moves them to the main queue, where all are used more than once.
    (10_000..11_000).for_each(|key| put(&mut map, key, false));
    for key in (0..1_200).map(|n| n % 400) {
        map.get(key, |v| v.key == key);
    }
    // Newcomers that are asked for again, while each tenth of the old ones still is.
    for key in 1_000..1_800 {
        put(&mut map, key, false);
        map.get(key, |v| v.key == key);
        let old = (key % 40) * 10;
        map.get(old, |v| v.key == old);
    }
    let kept = |dead: bool, used: bool| {
        let of = |key: &u32| key.is_multiple_of(2) == dead && key.is_multiple_of(10) == used;
        let keys = (0..400u32).filter(of);
        let there: Vec<bool> = keys
            .map(|key| map.locate(key, |v| v.key == key).is_some())
            .collect();
        there.iter().filter(|t| **t).count() * 100 / there.len()
    };
    let (stale, stale_used, live) = (kept(true, false), kept(true, true), kept(false, false));
    assert!(
        stale < live && stale_used > stale,
        "{stale} {stale_used} {live}"
    );
}

/// A rule for a cache of so many entries; true for a hit, a miss fetches.
trait Rule {
    fn ask(&mut self, key: u32) -> bool;
}

struct Ours(S3Fifo<Item>);

impl Rule for Ours {
    fn ask(&mut self, key: u32) -> bool {
        let hash = good_hash(key);
        if self.0.get(hash, |v| v.key == key).is_some() {
            return true;
        }
        self.0.put(
            hash,
            item(key, 100),
            |v| v.key == key,
            |_| Standing::Live,
            |_| {},
        );
        false
    }
}

struct Lru {
    max: usize,
    time: u64,
    used_at: HashMap<u32, u64>,
    order: BTreeMap<u64, u32>,
}

impl Rule for Lru {
    fn ask(&mut self, key: u32) -> bool {
        self.time += 1;
        let before = self.used_at.insert(key, self.time);
        self.order.insert(self.time, key);
        if let Some(before) = before {
            self.order.remove(&before);
        } else if self.order.len() > self.max {
            let (_, oldest) = self.order.pop_first().unwrap();
            self.used_at.remove(&oldest);
        }
        before.is_some()
    }
}

/// SIEVE (Zhang and others, NSDI 2024), with the part that the hand has passed in a queue of its own.
struct Sieve {
    max: usize,
    before_hand: VecDeque<u32>,
    after_hand: VecDeque<u32>,
    held: HashSet<u32>,
    used: HashSet<u32>,
}

impl Rule for Sieve {
    fn ask(&mut self, key: u32) -> bool {
        if !self.held.insert(key) {
            self.used.insert(key);
            return true;
        }
        if self.held.len() > self.max {
            loop {
                let Some(at) = self.before_hand.pop_front() else {
                    self.before_hand = std::mem::take(&mut self.after_hand);
                    continue;
                };
                if !self.used.remove(&at) {
                    self.held.remove(&at);
                    break;
                }
                self.after_hand.push_back(at);
            }
        }
        // New ones stand at the far end, before the hand.
        self.before_hand.push_back(key);
        false
    }
}

/// Share of the popular names' questions that were hits, in parts per thousand.
fn hits_permille(rule: &mut dyn Rule, flood_percent: u32) -> u32 {
    const NAMES: u32 = 20_000;
    const QUESTIONS: u32 = 150_000;
    let mut rng = SmallRng::seed_from_u64(1);
    // Zipf with exponent 1, as resolvers' clients ask.
    let mut sums = Vec::new();
    let mut sum = 0.0;
    for rank in 1..=NAMES {
        sum += 1.0 / f64::from(rank);
        sums.push(sum);
    }
    let (mut hits, mut asked, mut stranger) = (0, 0, NAMES);
    for _ in 0..QUESTIONS {
        if rng.random_range(0..100) < flood_percent {
            stranger += 1;
            rule.ask(stranger);
            continue;
        }
        let x = rng.random_range(0.0..sum);
        let key = sums.partition_point(|s| *s < x) as u32;
        asked += 1;
        hits += u32::from(rule.ask(key));
    }
    hits * 1000 / asked
}

/// Why S3-FIFO: at least as good as the rivals in quiet times, and better in a flood of random names.
#[test]
fn popular_names_survive_a_flood_better_than_with_the_rivals() {
    for flood_percent in [0, 50, 88] {
        let mut ours = Ours(S3Fifo::new(300_000));
        let ours_hits = hits_permille(&mut ours, flood_percent);
        // The rivals get as many entries, and their bookkeeping for nothing.
        let max = ours.0.len();
        let mut lru = Lru {
            max,
            time: 0,
            used_at: HashMap::new(),
            order: BTreeMap::new(),
        };
        let mut sieve = Sieve {
            max,
            before_hand: VecDeque::new(),
            after_hand: VecDeque::new(),
            held: HashSet::new(),
            used: HashSet::new(),
        };
        let lru_hits = hits_permille(&mut lru, flood_percent);
        let sieve_hits = hits_permille(&mut sieve, flood_percent);
        println!(
            "{max} entries, {flood_percent} % flood: S3-FIFO {ours_hits}, SIEVE {sieve_hits}, LRU {lru_hits}"
        );
        assert!(ours_hits > lru_hits, "{flood_percent} % flood");
        assert!(ours_hits + 5 >= sieve_hits, "{flood_percent} % flood");
    }
}
