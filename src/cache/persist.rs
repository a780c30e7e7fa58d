//! Which answers are kept on disk, so that a restart in the middle of an outage finds them.
//!
//! Why: memory goes with the process, and an outage may well outlast one. So the answers that are used most are written behind, off
//! every query's way, and looked up only when servers have failed at a question that memory knows nothing about.
//!
//! Model: the cache leaves a [`Note`] of what it takes in and of what is asked for again. [`Answers`] is the list of what stands on
//! disk, one `Meta` per row, without the answers themselves; it turns notes into [`Change`]s for the one writer. A row is worth
//! writing when its answer was asked for twice, or after `YOUNG_S` where there is room and no more than `YOUNG_MAX` wait, so that a flood of names that nobody asks
//! for again writes little. An answer that says the same as its row is not written again for `REWRITE_AFTER_S`: all that would
//! change is its age.
//!
//! What is newer wins on disk as in memory: a row goes when its name is denied, or becomes an alias, and everything below a name goes
//! with the proof that nothing is there. Such changes come first, and none is put off because its answer is not used enough.
//!
//! Failure: lossy by design. What finds no room in the queue is counted and left out; a change that the disk does not take is kept for
//! later, and the row is not used meanwhile. A full list forgets the least used eighth. What is read is hostile: see [`Answers::admit`].

use std::borrow::Borrow;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::account::block_bytes;
use super::entry::{Entry, shares_alias};
use super::packed::Packed;
use super::stale::signed_above;
use super::{Kind, NXDOMAIN_KEY};
use crate::clock::Now;
use crate::dns::{Name, Question, Rtype};
use crate::store::AnswerRow;
use crate::zone::key::{name_of, push_key};

/// What was asked for once waits so long for its place on disk, in seconds.
const YOUNG_S: u64 = 5;
/// An answer that says what its row says is written again after so long, in seconds.
const REWRITE_AFTER_S: u64 = 3600;
/// Of what was asked for once, the list takes no more than this part of its room: the rest is for what is used.
const ONCE_SHARE: usize = 2;
/// A full list forgets one in so many, the least used.
const FORGET_SHARE: usize = 8;
/// Changes that wait to be written.
const WAITING_MAX: usize = 20_000;
/// Young answers: five hundred in a second. Where more names are asked for once, writing them would cost as much as finding them.
const YOUNG_MAX: usize = 500 * YOUNG_S as usize;
/// A larger answer is not kept on disk, bytes.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// How far in the future a row may have been stored, in seconds: a clock may go back so far (`clock::floor`).
const FUTURE_MAX_S: u64 = 300;
/// A use counts half after so long, in seconds.
const USE_HALF_LIFE_S: u64 = 86_400;
/// Forgettings that are remembered while rows are still being read.
const EARLY_MAX: usize = 10_000;

/// What the cache has to say of an entry.
#[derive(Debug, Clone)]
pub enum Note {
    /// It was taken in.
    Put(Noted),
    /// It was asked for again.
    Asked(Noted),
    /// Something newer was known for a moment, that cannot be kept.
    Gone(Name, Rtype),
}

/// An entry that may be written.
#[derive(Debug, Clone)]
pub struct Noted {
    pub(super) packed: Packed,
    /// When it runs out, seconds since 1970.
    pub(super) ran_out_s: u64,
    pub(super) kind: Kind,
    /// A client waited for it.
    pub(super) asked: bool,
}

/// A name and a type in one string of octets, in the order of names (RFC 4034 section 6.1): the name's sort key, a zero, the type. What is below a
/// name begins with its sort key and no zero after it. Trees of names themselves would take most of the time of a question that the cache
/// cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key(Box<[u8]>);

/// A zero and a type, in octets.
const TYPE_LEN: usize = 3;

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl Key {
    fn new(name: &Name, rtype: Rtype) -> Key {
        Key::at(&sort_key(name), rtype)
    }

    fn at(sort: &[u8], rtype: Rtype) -> Key {
        let [high, low] = rtype.0.to_be_bytes();
        Key([sort, &[0, high, low]].concat().into())
    }

    /// The sort key of the name.
    fn sort(&self) -> &[u8] {
        &self.0[..self.0.len() - TYPE_LEN]
    }

    fn rtype(&self) -> Rtype {
        let [.., high, low] = *self.0 else {
            return Rtype(0);
        };
        Rtype(u16::from_be_bytes([high, low]))
    }

    /// The name, in lower case.
    fn name(&self) -> Name {
        name_of(self.sort(), &Name::root()).unwrap_or_else(Name::root)
    }
}

fn sort_key(name: &Name) -> Vec<u8> {
    let mut sort = Vec::with_capacity(name.wire().len() + TYPE_LEN);
    push_key(&mut sort, name.wire(), Name::root().wire());
    sort
}

/// The keys of a name, and where `tree` those below it.
fn keys_at(sort: &[u8], tree: bool) -> (Vec<u8>, Bound<Vec<u8>>) {
    let end = match tree {
        // What follows: the last octet of a sort key is zero, and none is larger than 254.
        true => sort.split_last().map(|(_, start)| [start, &[1]].concat()),
        false => Some([sort, &[1]].concat()),
    };
    (sort.to_vec(), end.map_or(Bound::Unbounded, Bound::Excluded))
}

/// A change to be made on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Put this row.
    Put(AnswerRow),
    /// Remove the row of this key.
    Remove(Name, Rtype),
}

/// A sound row.
#[derive(Debug, Clone)]
pub struct Kept {
    pub(super) name: Name,
    pub(super) rtype: Rtype,
    pub(super) packed: Packed,
    pub(super) entry: Entry,
    pub(super) ran_out_s: u64,
}

/// What is kept, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Answers on disk.
    pub entries: usize,
    /// Bytes of them there.
    pub disk_bytes: usize,
    /// Bytes of the list of them in memory.
    pub bytes: usize,
}

/// A row on disk, without its answer.
#[derive(Debug, Clone, Copy)]
struct Meta {
    ran_out_s: u64,
    written_s: u64,
    /// What it says, in short.
    content: u64,
    bytes: u32,
    uses: u16,
    used_s: u64,
}

impl Meta {
    /// How much it is used, recent uses counting more.
    fn worth(&self, now_s: u64) -> (u16, u64) {
        let halves = now_s.saturating_sub(self.used_s) / USE_HALF_LIFE_S;
        (self.uses >> halves.min(15), self.ran_out_s)
    }
}

/// The answers on disk.
#[derive(Debug)]
pub struct Answers {
    entries_max: usize,
    bytes_max: usize,
    age_max_s: u64,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    rows: BTreeMap<Key, Meta>,
    disk_bytes: usize,
    /// What is to be written: `None` removes the row.
    waiting: BTreeMap<Key, Option<Noted>>,
    /// What was asked for once, and when each is to be written, seconds since 1970.
    young: BTreeMap<Key, Noted>,
    due: VecDeque<(u64, Key)>,
    /// While rows are still being read: what was forgotten meanwhile.
    early: Option<Vec<(Name, bool)>>,
    dropped: u64,
}

impl Answers {
    /// An empty list for so many rows of so many bytes, which are of use for so long past their TTL, in seconds.
    pub fn new(entries_max: usize, bytes_max: usize, age_max_s: u64) -> Answers {
        Answers {
            entries_max: entries_max.max(1),
            bytes_max,
            age_max_s,
            tables: Mutex::default(),
        }
    }

    // --- reading back ------------------------------------------------------------------------------

    /// Rows are about to be read.
    pub fn begin_restore(&self) {
        self.tables().early = Some(Vec::new());
    }

    /// Takes a row that stands on disk into the list. What is too old, or from a time that has not come, is to be removed.
    pub fn restore(&self, row: &AnswerRow, now: Now) {
        let key = Key::new(&row.name, Rtype(row.rtype));
        let mut tables = self.tables();
        if tables.rows.contains_key(&key) {
            return;
        }
        let Some(Kept { entry, .. }) = self.admit(row, now) else {
            tables.dropped += 1;
            tables.waiting.insert(key, None);
            return;
        };
        let meta = Meta {
            ran_out_s: row.ran_out_at,
            // It is written anew when its time comes, whatever the clock said then.
            written_s: row.stored_at.min(now.wall_s),
            content: content(&entry),
            bytes: row.size() as u32,
            uses: row.uses,
            used_s: row.used_at.min(now.wall_s),
        };
        tables.put(key, meta);
        self.make_room(&mut tables, now);
    }

    /// All rows were read: what was forgotten meanwhile goes.
    pub fn end_restore(&self) {
        let early = self.tables().early.take().unwrap_or_default();
        for (name, tree) in early {
            self.forget(&name, tree);
        }
    }

    /// What a row says, if the row is sound: it is of its key, of a form that the cache keeps, not too old and not from the future.
    pub fn admit(&self, row: &AnswerRow, now: Now) -> Option<Kept> {
        let packed = Packed::from_octets(&row.packed);
        let entry = packed.unpack(0)?;
        let (name, rtype) = (packed.name()?, packed.rtype()?);
        let denies = entry.rcode == crate::dns::Rcode::NXDOMAIN;
        let sound = name == row.name
            && rtype.0 == row.rtype
            && denies == (rtype == NXDOMAIN_KEY)
            && entry.rcode.is_answer()
            && row.packed.len() <= ANSWER_BYTES_MAX;
        // A clock that stood wrong: how old this is nobody knows.
        let from_future = row.stored_at > now.wall_s.saturating_add(FUTURE_MAX_S)
            || row.ran_out_at < row.stored_at
            || row.ran_out_at - row.stored_at != u64::from(packed.ttl_s());
        let ran_out_s = now.wall_s.saturating_sub(row.ran_out_at);
        let usable = sound && !from_future && ran_out_s < self.age_max_s;
        (usable && !packed.is_as_of()).then_some(Kept {
            name,
            rtype,
            packed,
            entry,
            ran_out_s,
        })
    }

    // --- use ---------------------------------------------------------------------------------------

    /// The keys of rows that may speak for the question. While rows are still being read, those that may be there.
    pub fn keys_for(&self, question: &Question) -> Vec<(Name, Rtype)> {
        let sort = sort_key(&question.name);
        let alias = shares_alias(question.rtype).then_some(Rtype::CNAME);
        let own = [Some(question.rtype), alias, Some(NXDOMAIN_KEY)];
        // Each name above ends with a label, which a zero ends.
        let ends = sort.iter().enumerate().rev().skip(1);
        let above = ends.filter(|(_, octet)| **octet == 0).map(|(at, _)| at + 1);
        let mut keys = Vec::new();
        let tables = self.tables();
        let is_read = tables.early.is_none();
        let mut look = |sort: &[u8], rtype: Rtype| {
            let key = Key::at(sort, rtype);
            // What is about to change on disk is not as it stands there.
            let stands =
                !tables.waiting.contains_key(&key) && (!is_read || tables.rows.contains_key(&key));
            if stands && !keys.contains(&key) {
                keys.push(key);
            }
        };
        own.into_iter()
            .flatten()
            .for_each(|rtype| look(&sort, rtype));
        for end in above {
            for rtype in [NXDOMAIN_KEY, Rtype::DNAME] {
                look(&sort[..end], rtype);
            }
        }
        keys.iter().map(|key| (key.name(), key.rtype())).collect()
    }

    // --- writing -----------------------------------------------------------------------------------

    /// Takes what the cache has noted.
    pub fn take(&self, notes: Vec<Note>, now: Now) {
        let mut tables = self.tables();
        for note in notes {
            match note {
                Note::Gone(name, rtype) => tables.outdate(&sort_key(&name), |at| at == rtype),
                Note::Put(noted) => self.taken_in(&mut tables, noted, now),
                Note::Asked(noted) => tables.asked(noted, now),
            }
        }
    }

    fn taken_in(&self, tables: &mut Tables, noted: Noted, now: Now) {
        let Some(key) = noted.key() else {
            return;
        };
        if noted.packed.is_as_of() {
            return;
        }
        let knows = tables.knows(key.sort());
        tables.outdate_by(&key, noted.kind, noted.packed.is_secure());
        if knows || tables.waiting.contains_key(&key) {
            return tables.write(key, noted);
        }
        // A denial that takes nothing's place, and what nobody waited for, has to be asked for again.
        let positive = matches!(noted.kind, Kind::Answer | Kind::Alias);
        if !positive || !noted.asked || tables.rows.len() >= self.entries_max / ONCE_SHARE {
            return;
        }
        if tables.due.len() >= YOUNG_MAX {
            tables.dropped += 1;
        } else if tables.young.insert(key.clone(), noted).is_none() {
            tables.due.push_back((now.wall_s + YOUNG_S, key));
        }
    }

    /// What is to be changed on disk, at most `count` rows. With `all`, what is young too. Each is to be settled by [`Answers::done`].
    pub fn changes(&self, count: usize, all: bool, now: Now) -> Vec<(Change, Option<Noted>)> {
        let mut tables = self.tables();
        // A clock that was set back must not keep the young for ever.
        let waits = |due_s: u64| !all && due_s > now.wall_s && due_s <= now.wall_s + YOUNG_S;
        while let Some((_, key)) = tables.due.pop_front_if(|(due_s, _)| !waits(*due_s)) {
            if let Some(noted) = tables.young.remove(&key) {
                tables.write(key, noted);
            }
        }
        // What goes is first, so that the disk holds no more than the list for long.
        let keys = |removed: bool| {
            let waiting = tables.waiting.iter();
            waiting
                .filter(move |(_, n)| n.is_none() == removed)
                .map(|(key, _)| key)
        };
        let keys: Vec<Key> = keys(true).chain(keys(false)).take(count).cloned().collect();
        let mut changes = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(noted) = tables.waiting.get(&key).cloned() else {
                continue;
            };
            let known = tables.rows.get(&key);
            match &noted {
                None => changes.push((Change::Remove(key.name(), key.rtype()), None)),
                Some(new) => match new.row(&key, known, now) {
                    Some(row) => changes.push((Change::Put(row), noted)),
                    // It says what stands there.
                    None => drop(tables.waiting.remove(&key)),
                },
            }
        }
        changes
    }

    /// The disk has taken these changes.
    pub fn done(&self, changes: &[(Change, Option<Noted>)], now: Now) {
        let mut tables = self.tables();
        for (change, noted) in changes {
            let key = match change {
                Change::Put(row) => Key::new(&row.name, Rtype(row.rtype)),
                Change::Remove(name, rtype) => Key::new(name, *rtype),
            };
            // Unless something newer waits there already.
            let same = |waiting: &Option<Noted>| match (waiting, noted) {
                (None, None) => true,
                (Some(a), Some(b)) => a.ran_out_s == b.ran_out_s && a.packed == b.packed,
                _ => false,
            };
            if tables.waiting.get(&key).is_some_and(same) {
                tables.waiting.remove(&key);
            }
            match change {
                Change::Put(row) => {
                    let entry = Packed::from_octets(&row.packed).unpack(0);
                    let meta = Meta {
                        ran_out_s: row.ran_out_at,
                        written_s: now.wall_s,
                        content: entry.map_or(0, |entry| content(&entry)),
                        bytes: row.size() as u32,
                        uses: row.uses,
                        used_s: row.used_at,
                    };
                    tables.put(key, meta);
                }
                Change::Remove(..) => tables.remove(&key),
            }
        }
        self.make_room(&mut tables, now);
    }

    /// Rows that are too old for any use are to be removed. Looks at every row.
    pub fn expire(&self, now: Now) {
        let mut tables = self.tables();
        let old = |m: &Meta| now.wall_s.saturating_sub(m.ran_out_s) >= self.age_max_s;
        let keys = tables.rows.iter().filter(|(_, m)| old(m));
        let keys: Vec<Key> = keys.map(|(key, _)| key.clone()).collect();
        keys.into_iter().for_each(|key| tables.let_go(key));
    }

    /// Forgets what answers questions for `name`, and with `tree` everything below it; returns how many rows go.
    pub fn forget(&self, name: &Name, tree: bool) -> usize {
        let mut tables = self.tables();
        if let Some(early) = tables.early.as_mut().filter(|e| e.len() < EARLY_MAX) {
            early.push((name.clone(), tree));
        }
        let sort = sort_key(name);
        let goes = |key: &Key| {
            let own = key.sort();
            let at_or_below = own.starts_with(&sort) && (tree || own == sort);
            let speaks_below = matches!(key.rtype(), NXDOMAIN_KEY | Rtype::DNAME);
            at_or_below || speaks_below && own != sort && sort.starts_with(own)
        };
        tables.young.retain(|key, _| !goes(key));
        tables
            .waiting
            .retain(|key, noted| noted.is_none() || !goes(key));
        let keys: Vec<Key> = tables
            .rows
            .keys()
            .filter(|key| goes(key))
            .cloned()
            .collect();
        let count = keys.len();
        keys.into_iter().for_each(|key| tables.let_go(key));
        count
    }

    /// The list in numbers.
    pub fn stats(&self) -> Stats {
        let tables = self.tables();
        let place = size_of::<(Key, Meta)>();
        let names = tables.rows.keys().map(|key| block_bytes(key.0.len()));
        let waiting =
            (tables.waiting.len() + tables.young.len()) * size_of::<(Key, Option<Noted>)>();
        Stats {
            entries: tables.rows.len(),
            disk_bytes: tables.disk_bytes,
            // The nodes of a tree are three quarters full, about.
            bytes: (tables.rows.len() * place + waiting) * 4 / 3 + names.sum::<usize>(),
        }
    }

    /// How much was left out, or found unsound, since the last call.
    pub fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.tables().dropped)
    }

    fn make_room(&self, tables: &mut Tables, now: Now) {
        if tables.rows.len() <= self.entries_max && tables.disk_bytes <= self.bytes_max {
            return;
        }
        let mut worth: Vec<(u16, u64)> =
            tables.rows.values().map(|m| m.worth(now.wall_s)).collect();
        let at = (worth.len() / FORGET_SHARE).min(worth.len() - 1);
        let least = *worth.select_nth_unstable(at).1;
        let goes = |m: &Meta| m.worth(now.wall_s) <= least;
        let keys = tables.rows.iter().filter(|(_, m)| goes(m));
        let keys: Vec<Key> = keys.map(|(key, _)| key.clone()).collect();
        keys.into_iter().for_each(|key| tables.let_go(key));
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Sound between any two operations.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Noted {
    fn key(&self) -> Option<Key> {
        Some(Key::new(&self.packed.name()?, self.packed.rtype()?))
    }

    /// The row to write in place of `known`; `None` where that says the same and is young.
    fn row(&self, key: &Key, known: Option<&Meta>, now: Now) -> Option<AnswerRow> {
        let entry = self.packed.unpack(0)?;
        let same = known.is_some_and(|k| k.content == content(&entry));
        let young = known.is_some_and(|k| now.wall_s.saturating_sub(k.written_s) < REWRITE_AFTER_S);
        if same && young {
            return None;
        }
        Some(AnswerRow {
            name: self.packed.name().unwrap_or_else(|| key.name()),
            rtype: key.rtype().0,
            stored_at: self.ran_out_s.saturating_sub(self.packed.ttl_s().into()),
            ran_out_at: self.ran_out_s,
            uses: known.map_or(1, |k| k.worth(now.wall_s).0.saturating_add(1)),
            used_at: now.wall_s,
            packed: self.packed.octets().to_vec(),
        })
    }
}

impl Tables {
    fn knows(&self, sort: &[u8]) -> bool {
        keys_of(&self.rows, sort, false).next().is_some()
    }

    /// A row was asked for again.
    fn asked(&mut self, noted: Noted, now: Now) {
        let Some(key) = noted.key() else {
            return;
        };
        if let Some(meta) = self.rows.get_mut(&key) {
            meta.uses = meta.worth(now.wall_s).0.saturating_add(1);
            meta.used_s = now.wall_s;
        }
        self.young.remove(&key);
        if !noted.packed.is_as_of() {
            self.write(key, noted);
        }
    }

    fn write(&mut self, key: Key, noted: Noted) {
        if noted.packed.octets().len() > ANSWER_BYTES_MAX {
            // What it would replace is untrue.
            return match self.rows.contains_key(&key) {
                true => self.let_go(key),
                false => drop(self.waiting.remove(&key)),
            };
        }
        // What replaces a row must not wait, what is new may.
        let full = self.waiting.len() >= WAITING_MAX;
        if full && !self.rows.contains_key(&key) && !self.waiting.contains_key(&key) {
            self.dropped += 1;
            return;
        }
        self.waiting.insert(key, Some(noted));
    }

    /// Rows of the name, and of names below it, that an answer makes untrue.
    fn outdate_by(&mut self, key: &Key, kind: Kind, secure: bool) {
        let (sort, rtype) = (key.sort(), key.rtype());
        match rtype {
            NXDOMAIN_KEY => self.outdate(sort, |at| at != NXDOMAIN_KEY),
            Rtype::CNAME if kind == Kind::Alias => {
                self.outdate(sort, |at| shares_alias(at) && at != Rtype::CNAME);
                self.outdate(sort, |at| at == NXDOMAIN_KEY);
            }
            other if shares_alias(other) => {
                self.outdate(sort, |at| at == Rtype::CNAME || at == NXDOMAIN_KEY);
            }
            _ => self.outdate(sort, |at| at == NXDOMAIN_KEY),
        }
        if secure && signed_above(rtype, kind) {
            self.outdate_all(sort, true, |key| key.sort() != sort);
        }
    }

    fn outdate(&mut self, sort: &[u8], goes: impl Fn(Rtype) -> bool) {
        self.outdate_all(sort, false, |key| goes(key.rtype()));
    }

    /// What `goes` says yes to, of the name's own and with `tree` of all below it.
    fn outdate_all(&mut self, sort: &[u8], tree: bool, goes: impl Fn(&Key) -> bool) {
        fn chosen<V>(
            map: &BTreeMap<Key, V>,
            sort: &[u8],
            tree: bool,
            goes: &impl Fn(&Key) -> bool,
        ) -> Vec<Key> {
            let keys = keys_of(map, sort, tree);
            keys.filter(|key| goes(key)).cloned().collect()
        }
        for key in chosen(&self.young, sort, tree, &goes) {
            self.young.remove(&key);
        }
        for key in chosen(&self.waiting, sort, tree, &goes) {
            // A removal stays.
            if self.waiting.get(&key).is_some_and(Option::is_some) {
                self.waiting.remove(&key);
            }
        }
        for key in chosen(&self.rows, sort, tree, &goes) {
            self.let_go(key);
        }
    }

    /// The row is to be removed from the disk.
    fn let_go(&mut self, key: Key) {
        self.remove(&key);
        self.waiting.insert(key, None);
    }

    fn put(&mut self, key: Key, meta: Meta) {
        self.disk_bytes += meta.bytes as usize;
        if let Some(old) = self.rows.insert(key, meta) {
            self.disk_bytes -= old.bytes as usize;
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(old) = self.rows.remove(key) {
            self.disk_bytes -= old.bytes as usize;
        }
    }
}

/// The keys in a map of the name with this sort key, and with `tree` of all below it.
fn keys_of<'m, V>(
    map: &'m BTreeMap<Key, V>,
    sort: &[u8],
    tree: bool,
) -> impl Iterator<Item = &'m Key> {
    let (from, to) = keys_at(sort, tree);
    let to = match &to {
        Bound::Excluded(to) => Bound::Excluded(&to[..]),
        _ => Bound::Unbounded,
    };
    map.range::<[u8], _>((Bound::Included(&from[..]), to))
        .map(|(key, _)| key)
}

/// A digest of what an entry says, in whatever order its records stand.
fn content(entry: &Entry) -> u64 {
    let hash = |value: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        value(&mut hasher);
        hasher.finish()
    };
    let sets = entry.answer.iter().chain(&entry.authority);
    let of_sets = sets.map(|set| {
        let data = set.rdatas.iter().chain(&set.sigs);
        let data = data.fold(0u64, |sum, rdata| {
            sum.wrapping_add(hash(&|h| rdata.hash(h)))
        });
        hash(&|h| (&set.name, set.rtype, data).hash(h))
    });
    let sets = of_sets.fold(0u64, u64::wrapping_add);
    let secure = entry.security == super::entry::Security::Secure;
    hash(&|h| (entry.rcode.0, secure, sets).hash(h))
}

#[cfg(test)]
mod tests;
