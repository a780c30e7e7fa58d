//! Which questions are asked, and how often: a bounded sketch without a word of who asks.
//!
//! Why: readiness is measured in what users really ask for. Keeping every question is neither possible nor wanted; the few thousand that
//! are asked most make up nearly all of the traffic, and those are kept.
//!
//! Model: the counters of Space-Saving (Metwally, Agrawal, El Abbadi 2005), in shards. A new question gets a counter; when a shard is
//! full its lesser half goes, and whatever comes later begins with what the greatest of those had, as its possible error. Counts fade by
//! half in [`HALF_LIFE_S`]. A question is hashed once, for whatever sketches count it ([`key`]): counting must cost a small part of an answer out
//! of the cache. Whoever counts never waits: where a shard is just being used by another thread, the question is not counted.
//! Names that do not exist are counted together and not kept: floods are made of them.
//!
//! Failure: none; what is lost is some counts.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, TryLockError};
use std::time::Duration;

use crate::dns::{Name, Question, Rcode, Rtype};

/// Time in which counts fade to their half, seconds.
pub const HALF_LIFE_S: u64 = 7 * 86_400;
/// Questions in one file.
pub const LISTED_MAX: usize = 200_000;
/// Shards, each with a lock of its own.
const SHARDS: usize = 16;

/// How often one question was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Counted {
    /// The question.
    pub question: Question,
    /// How often, faded.
    pub count: f64,
    /// By so much that may be too much.
    pub error: f64,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    count: f64,
    error: f64,
}

/// What a question is found by, in every sketch of this process: 64 bits that nobody outside can foretell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u64);

/// The key of a question.
pub fn key(question: &Question) -> Key {
    static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    Key(HASHER.hash_one(question))
}

/// A key is a hash already.
#[derive(Debug, Default)]
struct Known(u64);

impl Hasher for Known {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are 64 bits")
    }
}

type Counters = HashMap<u64, (Question, Counter), BuildHasherDefault<Known>>;

#[derive(Debug, Default)]
struct Shard {
    /// By key. Of two questions with the same one, of which there will be none, the later is not counted.
    counters: Counters,
    /// What a question that is not here may have had.
    floor: f64,
}

/// The sketch.
#[derive(Debug)]
pub struct Names {
    shards: [Mutex<Shard>; SHARDS],
    per_shard_max: usize,
    denied: AtomicU64,
}

impl Names {
    /// A sketch of so many questions.
    pub fn new(entries_max: usize) -> Names {
        Names {
            shards: Default::default(),
            per_shard_max: (entries_max / SHARDS).max(2),
            denied: AtomicU64::new(0),
        }
    }

    /// Counts a question with this key that was answered so, so many times. Never waits.
    pub fn count(&self, key: Key, question: &Question, rcode: Rcode, times: u32) {
        if rcode == Rcode::NXDOMAIN {
            self.denied.fetch_add(times.into(), Ordering::Relaxed);
            return;
        }
        let mut shard = match self.shard(key).try_lock() {
            Ok(shard) => shard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        shard.add(key, question, times.into(), 0.0, self.per_shard_max);
    }

    /// Puts back what was kept from an earlier run.
    pub fn restore(&self, kept: impl IntoIterator<Item = Counted>) {
        for Counted {
            question,
            count,
            error,
        } in kept
        {
            let key = key(&question);
            let mut shard = lock(self.shard(key));
            if count.is_finite() && count > 0.0 && error.is_finite() {
                shard.add(
                    key,
                    &question,
                    count,
                    error.clamp(0.0, count),
                    self.per_shard_max,
                );
            }
        }
    }

    /// What is left of a count after this time, 0 to 1.
    pub fn faded(time: Duration) -> f64 {
        0.5f64.powf(time.as_secs_f64() / HALF_LIFE_S as f64)
    }

    /// Lets the counts fade by this time.
    pub fn fade(&self, time: Duration) {
        let factor = Names::faded(time);
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.floor *= factor;
            for (_, counter) in shard.counters.values_mut() {
                counter.count *= factor;
                counter.error *= factor;
            }
        }
    }

    /// All that is kept, most asked for first.
    pub fn all(&self) -> Vec<Counted> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            all.extend(shard.counters.values().map(|(question, counter)| Counted {
                question: question.clone(),
                count: counter.count,
                error: counter.error,
            }));
        }
        all.sort_by(|a, b| {
            b.count
                .total_cmp(&a.count)
                .then_with(|| a.question.name.cmp(&b.question.name))
                .then_with(|| a.question.rtype.0.cmp(&b.question.rtype.0))
        });
        all
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for shard in &self.shards {
            *lock(shard) = Shard::default();
        }
    }

    /// Questions for names that do not exist.
    pub fn denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }

    /// The lowest bits choose within the map, so others choose the shard.
    fn shard(&self, key: Key) -> &Mutex<Shard> {
        &self.shards[(key.0 >> 40) as usize % SHARDS]
    }

    /// How many questions are kept.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|s| lock(s).counters.len()).sum()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The questions of a file: a name on each line, and a type where it is not A. What follows a `#` is a comment; a question that comes
/// again counts once. Names beyond ASCII are refused: asked as they stand they would not exist, and what says so survives.
///
/// # Errors
/// Number (from 1) and fault of the first wrong line.
pub fn parse_list(text: &[u8]) -> Result<Vec<Question>, (usize, String)> {
    let mut questions = Vec::new();
    let mut known = HashSet::new();
    // Some editors begin a text with it.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let fault = |why: String| (at + 1, why);
        let code = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let code = std::str::from_utf8(code).map_err(|_| fault("not UTF-8".into()))?;
        let mut words = code.split_whitespace();
        let Some(word) = words.next() else {
            continue;
        };
        if !word.is_ascii() {
            let why = format!("{word}: beyond ASCII; such a name is written as xn--...");
            return Err(fault(why));
        }
        let name: Name = (word.parse()).map_err(|error| fault(format!("no name: {error}")))?;
        let rtype = match words.next() {
            None => Rtype::A,
            Some(word) => (word.parse())
                .map_err(|_| fault("after the name there may be a type such as AAAA".into()))?,
        };
        if words.next().is_some() {
            return Err(fault("more than a name and a type".into()));
        }
        let question = Question::new(name, rtype);
        if known.insert(question.clone()) {
            questions.push(question);
        }
        if questions.len() > LISTED_MAX {
            return Err(fault(format!("more than {LISTED_MAX} questions")));
        }
    }
    Ok(questions)
}

impl Shard {
    fn add(&mut self, key: Key, question: &Question, count: f64, error: f64, max: usize) {
        if let Some((known, counter)) = self.counters.get_mut(&key.0) {
            if known == question {
                counter.count += count;
            }
            return;
        }
        if self.counters.len() >= max {
            let mut counts: Vec<f64> = self.counters.values().map(|(_, c)| c.count).collect();
            let middle = counts.len() / 2;
            let (_, median, _) = counts.select_nth_unstable_by(middle, f64::total_cmp);
            let median = *median;
            // Of many with the same count half go all the same.
            let mut left = middle.max(1);
            self.counters.retain(|_, (_, counter)| {
                let goes = left > 0 && counter.count <= median;
                left -= usize::from(goes);
                !goes
            });
            self.floor = self.floor.max(median);
        }
        let counter = Counter {
            count: self.floor + count,
            error: self.floor + error,
        };
        self.counters.insert(key.0, (question.clone(), counter));
    }
}

fn lock(shard: &Mutex<Shard>) -> std::sync::MutexGuard<'_, Shard> {
    // Sound between any two operations.
    shard
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(n: usize) -> Question {
        Question::new(format!("n{n}.test.").parse().unwrap(), Rtype::A)
    }

    fn count(names: &Names, question: &Question, rcode: Rcode) {
        names.count(key(question), question, rcode, 1);
    }

    #[test]
    fn what_is_asked_often_is_kept_through_a_flood_of_others() {
        let names = Names::new(320);
        for round in 0..20_000 {
            count(&names, &question(round % 10), Rcode::NOERROR);
            count(&names, &question(1000 + round), Rcode::NOERROR);
            count(&names, &question(100_000 + round), Rcode::NXDOMAIN);
        }
        assert!(names.len() <= 320, "{}", names.len());
        assert_eq!(names.denied(), 20_000);
        let all = names.all();
        for n in 0..10 {
            let found = all.iter().find(|c| c.question == question(n)).unwrap();
            // Space-Saving never counts too little.
            assert!(
                found.count >= 2000.0 && found.count - found.error <= 2000.0,
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_file_of_names() {
        let text = b"www.example\n\n# a comment\nmail.example. MX # another\nwww.example. A\n";
        let list: Vec<String> = (parse_list(text).unwrap().iter())
            .map(ToString::to_string)
            .collect();
        assert_eq!(list, ["www.example. A", "mail.example. MX"]);
        for (text, line) in [
            (&b"a\nb..c\n"[..], 2),
            (b"a NOTYPE", 1),
            (b"a A b", 1),
            (b"\xff", 1),
            ("a\nпример.испытание".as_bytes(), 2),
        ] {
            assert_eq!(parse_list(text).unwrap_err().0, line);
        }
        let marked = parse_list(b"\xef\xbb\xbfwww.example\r\n").unwrap();
        assert_eq!(marked[0].name, "www.example.".parse().unwrap());
    }

    #[test]
    fn counts_fade_and_come_back_from_the_disk() {
        let names = Names::new(100);
        (0..8).for_each(|_| count(&names, &question(1), Rcode::NOERROR));
        names.fade(Duration::from_secs(HALF_LIFE_S));
        let kept = names.all();
        assert_eq!((kept.len(), kept[0].count), (1, 4.0));
        let again = Names::new(100);
        again.restore(kept.clone());
        assert_eq!(again.all(), kept);
        let odd = |count| Counted {
            question: question(2),
            count,
            error: 0.0,
        };
        again.restore([odd(f64::NAN), odd(-1.0), odd(f64::INFINITY)]);
        assert_eq!(again.all(), kept);
    }
}
