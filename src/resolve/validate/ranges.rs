//! The aggressive cache: validated denial records and wildcards, kept to make answers from (RFC 8198).
//!
//! Why: one NSEC record denies every name between its owner and the next, not only the one that was asked for. With it at
//! hand a flood of random names below a signed zone costs that zone's servers nothing, and junk TLDs cost the root nothing.
//!
//! Model: per signed zone the live records of one chain (NSEC by owner, NSEC3 by hash), the sets that wildcards were seen to
//! expand to, and the SOA that a denial is told with. Only what validated as secure through servers of the zone comes in
//! here: nothing as-of, nothing insecure, nothing out of a mirror. `synthesis` decides what the records prove.
//!
//! The newer word wins: a record that comes in drives out every record that it contradicts, and a name that answers drives out
//! those that deny it. So a name that was just created is not hidden for longer than it takes to hear of it.
//!
//! What has run out stays until there is need for its room: with its zone out of reach a wildcard is still expanded by it.
//!
//! Failure: bounded in bytes ([`RANGES_BYTES_MAX`]); when it is full, what was not used since it was last looked at goes first
//! (second chance, in order of arrival). Losing a record costs a question.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};

use super::signed::expansion;
use crate::cache::account::block_bytes;
use crate::cache::entry::{Expiry, NEGATIVE_TTL_MAX_S, negative_ttl_s};
use crate::clock::Now;
use crate::dns::{Name, Nsec3, Rdata, RrSet, Rrsig, Rtype};
use crate::dnssec::nsec::{self, NsecRecord};
use crate::dnssec::nsec3::{self, Hash, Nsec3Record, nsec3_hash};

/// Bytes of everything that is held here.
pub(super) const RANGES_BYTES_MAX: usize = 32 << 20;
/// SHA-1 rounds that one look into a zone's NSEC3 records may cost, and one answer's learning.
pub(super) const HASH_ROUNDS_MAX: usize = 256;
/// What an entry costs beside its octets: nodes of maps, the queue's place.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// The store.
#[derive(Debug)]
pub(super) struct Ranges {
    zones: HashMap<Name, Zone>,
    /// Entries in order of arrival; those that are gone stay until they are met.
    queue: VecDeque<(u64, Place)>,
    entries: usize,
    bytes: usize,
    bytes_max: usize,
    next_id: u64,
}

/// What is held of one zone.
#[derive(Debug, Default)]
pub(super) struct Zone {
    pub(super) soa: Option<Held>,
    pub(super) chain: Chain,
    /// Sets at wildcards, by the wildcard's name.
    pub(super) wildcards: BTreeMap<(Name, Rtype), Held>,
}

/// The denial records of a zone. A zone that changes its kind of chain, its salt or its iterations starts anew.
#[derive(Debug, Default)]
pub(super) enum Chain {
    #[default]
    Empty,
    Nsec(BTreeMap<Name, Held>),
    Nsec3 {
        iterations: u16,
        salt: Box<[u8]>,
        records: BTreeMap<Hash, Held>,
    },
}

/// At what time records are looked at, and whether those count that have run out.
pub(super) struct At {
    now: Now,
    /// So long past their end they count, seconds; 0 for those that live alone.
    past_s: u64,
    /// How long ago the first of those that were used has run out, seconds.
    ran_out_s: Cell<u64>,
}

impl At {
    pub(super) fn living(now: Now) -> At {
        At::past(now, 0)
    }

    pub(super) fn past(now: Now, past_s: u64) -> At {
        At {
            now,
            past_s,
            ran_out_s: Cell::new(0),
        }
    }

    pub(super) fn takes_run_out(&self) -> bool {
        self.past_s > 0
    }

    pub(super) fn ran_out_s(&self) -> u64 {
        self.ran_out_s.get()
    }
}

/// One set.
#[derive(Debug)]
pub(super) struct Held {
    set: RrSet,
    expiry: Expiry,
    id: u64,
    /// Used since eviction last came by.
    used: AtomicBool,
}

/// Where an entry is.
#[derive(Debug, Clone)]
struct Place {
    zone: Name,
    key: Key,
}

#[derive(Debug, Clone)]
enum Key {
    Soa,
    Nsec(Name),
    Nsec3(Hash),
    Wildcard(Name, Rtype),
}

impl Held {
    /// The set with the TTL that it has left; `None` when it is dead.
    pub(super) fn live(&self, now: Now) -> Option<RrSet> {
        let ttl = self.expiry.left_s(now);
        (ttl > 0).then(|| {
            self.used.store(true, Ordering::Relaxed);
            RrSet {
                ttl,
                ..self.set.clone()
            }
        })
    }

    /// The set, if it counts at that time; one that has run out with a TTL of 0.
    pub(super) fn at(&self, at: &At) -> Option<RrSet> {
        if let Some(set) = self.live(at.now) {
            return Some(set);
        }
        let dead_s = self.expiry.dead_s(at.now);
        (dead_s < at.past_s).then(|| {
            at.ran_out_s.set(at.ran_out_s.get().max(dead_s));
            RrSet {
                ttl: 0,
                ..self.set.clone()
            }
        })
    }

    /// The set as it is held.
    pub(super) fn set(&self) -> &RrSet {
        &self.set
    }

    fn bytes(&self) -> usize {
        // The name stands in the map and in the queue as well.
        let one = |rdata: &Rdata| block_bytes(rdata.len()) + size_of::<Rdata>();
        let rdatas = self.set.rdatas.iter().chain(&self.set.sigs).map(one);
        rdatas.sum::<usize>() + 3 * self.set.name.wire().len() + ENTRY_OVERHEAD_BYTES
    }
}

impl Ranges {
    pub(super) fn new(bytes_max: usize) -> Ranges {
        Ranges {
            zones: HashMap::new(),
            queue: VecDeque::new(),
            entries: 0,
            bytes: 0,
            bytes_max,
            next_id: 0,
        }
    }

    /// Entries and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.entries, self.bytes)
    }

    pub(super) fn zone(&self, apex: &Name) -> Option<&Zone> {
        self.zones.get(apex)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.zones.is_empty()
    }

    /// Drops everything that could speak of `name` or of what is below it: the zones below, and the zones above, whose
    /// gaps are not worth the search.
    pub(super) fn flush(&mut self, name: &Name) {
        let related = |zone: &Name| zone.is_within(name) || name.is_within(zone);
        let zones: Vec<Name> = self.zones.keys().filter(|z| related(z)).cloned().collect();
        for zone in zones {
            self.drop_zone(&zone);
        }
    }

    /// Keeps what an answer of `zone` shows. Its sets have validated as secure, just now.
    pub(super) fn learn(&mut self, zone: &Name, answer: &[RrSet], authority: &[RrSet], now: Now) {
        self.heed(zone, answer);
        let ttl_max_s = self.learn_soa(zone, authority, now);
        for set in answer {
            if let Some(labels) = expanded_labels(set)
                && let Ok(wildcard) = set.name.suffix(labels).wildcard()
            {
                let key = Key::Wildcard(wildcard.clone(), set.rtype);
                let set = RrSet {
                    name: wildcard,
                    ..set.clone()
                };
                self.put(zone, key, set, now);
            }
        }
        for set in authority {
            // RFC 9077 section 3: no longer than the SOA allows a denial to live.
            let set = || RrSet {
                ttl: set.ttl.min(ttl_max_s),
                ..set.clone()
            };
            let (nsec, nsec3) = (set(), set());
            if let Some(record) = NsecRecord::of(&nsec).filter(|r| is_sound(r, zone)) {
                self.learn_nsec(zone, &record, &nsec, now);
            } else if let Some(record) = Nsec3Record::of(&nsec3, zone) {
                self.learn_nsec3(zone, &record, &nsec3, now);
            }
        }
    }

    /// Drops the records that deny what an answer shows to exist.
    pub(super) fn heed(&mut self, zone: &Name, answer: &[RrSet]) {
        if !self.zones.contains_key(zone) {
            return;
        }
        for set in answer.iter().filter(|set| !set.sigs.is_empty()) {
            match expanded_labels(set).map(|labels| set.name.suffix(labels).wildcard()) {
                None => self.exists(zone, &set.name, set.rtype),
                Some(Ok(wildcard)) => self.exists(zone, &wildcard, set.rtype),
                Some(Err(_)) => {}
            }
        }
    }

    /// The SOA, when there is one; and how long denials of the zone live, as far as known.
    fn learn_soa(&mut self, zone: &Name, authority: &[RrSet], now: Now) -> u32 {
        let at_apex = |s: &&RrSet| s.rtype == Rtype::SOA && s.name == *zone;
        if let Some(soa) = authority.iter().find(at_apex) {
            self.put(zone, Key::Soa, soa.clone(), now);
        }
        let held = self.zones.get(zone).and_then(|zone| zone.soa.as_ref());
        let held = held.and_then(|held| held.live(now));
        let negative_s = held.map_or(NEGATIVE_TTL_MAX_S, |soa| negative_ttl_s(&soa));
        negative_s.min(NEGATIVE_TTL_MAX_S)
    }

    fn learn_nsec(&mut self, zone: &Name, record: &NsecRecord<'_>, set: &RrSet, now: Now) {
        let (owner, next) = (record.owner, &record.data.next);
        match self.zones.get(zone).map(|zone| &zone.chain) {
            Some(Chain::Nsec(records)) => {
                // Owners that stand in the new gap.
                let end = match next == zone {
                    true => Bound::Unbounded,
                    false => Bound::Excluded(next.clone()),
                };
                let inside = records.range((Bound::Excluded(owner.clone()), end));
                let mut gone: Vec<Name> = inside.map(|(name, _)| name.clone()).collect();
                gone.extend(nsec_gap_of(records, owner));
                for name in gone {
                    self.remove(zone, &Key::Nsec(name));
                }
            }
            _ => self.drop_chain(zone),
        }
        self.put(zone, Key::Nsec(owner.clone()), set.clone(), now);
    }

    fn learn_nsec3(&mut self, zone: &Name, record: &Nsec3Record<'_>, set: &RrSet, now: Now) {
        let (owner, next) = (record.hash, record.next);
        match self.zones.get(zone).map(|zone| &zone.chain) {
            Some(Chain::Nsec3 {
                iterations,
                salt,
                records,
            }) if (*iterations, &**salt) == (record.data.iterations, record.data.salt) => {
                let within = |(hash, _): &(&Hash, &Held)| nsec3::covers(&owner, &next, hash);
                let after = (Bound::Excluded(owner), Bound::Unbounded);
                let inside = records.range(after).take_while(within);
                let mut gone: Vec<Hash> = inside.map(|(hash, _)| *hash).collect();
                // Over the end of the circle.
                if next <= owner {
                    gone.extend(records.range(..next).map(|(hash, _)| *hash));
                }
                gone.extend(nsec3_gap_of(records, &owner));
                for hash in gone {
                    self.remove(zone, &Key::Nsec3(hash));
                }
            }
            _ => self.drop_chain(zone),
        }
        self.put(zone, Key::Nsec3(owner), set.clone(), now);
    }

    /// `name` has this type: drops the record whose gap it stands in, and its own if that lacks the type.
    fn exists(&mut self, zone: &Name, name: &Name, rtype: Rtype) {
        let Some(held) = self.zones.get(zone) else {
            return;
        };
        let gone: Vec<Key> = match &held.chain {
            Chain::Empty => return,
            Chain::Nsec(records) => {
                let own = records.get(name).filter(|held| {
                    NsecRecord::of(&held.set).is_none_or(|r| !r.types().contains(rtype))
                });
                let own = own.map(|_| name.clone());
                let gap = nsec_gap_of(records, name);
                own.into_iter().chain(gap).map(Key::Nsec).collect()
            }
            Chain::Nsec3 {
                iterations,
                salt,
                records,
            } => {
                // The names between it and the apex exist as well.
                let names = zone.label_count() + 1..=name.label_count();
                if names.clone().count() * (usize::from(*iterations) + 1) > HASH_ROUNDS_MAX {
                    return self.drop_zone(zone);
                }
                let mut gone = Vec::new();
                for labels in names {
                    let at = name.suffix(labels);
                    let hash = nsec3_hash(&at, salt, *iterations);
                    gone.extend(nsec3_gap_of(records, &hash));
                    let own = records.get(&hash).filter(|held| {
                        Nsec3Record::of(&held.set, zone)
                            .is_none_or(|r| !r.data.types.contains(rtype))
                    });
                    if own.is_some() && at == *name {
                        gone.push(hash);
                    }
                }
                gone.into_iter().map(Key::Nsec3).collect()
            }
        };
        for key in gone {
            self.remove(zone, &key);
        }
    }

    // --- entries ----------------------------------------------------------------------------------

    /// Keeps a set for its TTL, in place of the one that was there.
    fn put(&mut self, zone: &Name, key: Key, set: RrSet, now: Now) {
        self.remove(zone, &key);
        self.next_id += 1;
        let held = Held {
            expiry: Expiry::after(now, set.ttl),
            set,
            id: self.next_id,
            used: AtomicBool::new(false),
        };
        let bytes = held.bytes();
        if held.set.ttl == 0 || bytes > self.bytes_max {
            return;
        }
        self.make_room(bytes, now);
        self.bytes += bytes;
        self.entries += 1;
        let place = Place {
            zone: zone.clone(),
            key,
        };
        self.queue.push_back((held.id, place.clone()));
        self.zones
            .entry(zone.clone())
            .or_default()
            .put(place.key, held);
    }

    fn get(&self, place: &Place) -> Option<&Held> {
        let zone = self.zones.get(&place.zone)?;
        match (&place.key, &zone.chain) {
            (Key::Soa, _) => zone.soa.as_ref(),
            (Key::Nsec(owner), Chain::Nsec(records)) => records.get(owner),
            (Key::Nsec3(hash), Chain::Nsec3 { records, .. }) => records.get(hash),
            (Key::Wildcard(name, rtype), _) => zone.wildcards.get(&(name.clone(), *rtype)),
            _ => None,
        }
    }

    fn remove(&mut self, zone: &Name, key: &Key) {
        let Some(held_zone) = self.zones.get_mut(zone) else {
            return;
        };
        let held = match (key, &mut held_zone.chain) {
            (Key::Soa, _) => held_zone.soa.take(),
            (Key::Nsec(owner), Chain::Nsec(records)) => records.remove(owner),
            (Key::Nsec3(hash), Chain::Nsec3 { records, .. }) => records.remove(hash),
            (Key::Wildcard(name, rtype), _) => held_zone.wildcards.remove(&(name.clone(), *rtype)),
            _ => None,
        };
        if let Some(held) = held {
            self.bytes -= held.bytes();
            self.entries -= 1;
        }
        if held_zone.is_empty() {
            self.zones.remove(zone);
        }
    }

    fn drop_chain(&mut self, zone: &Name) {
        let Some(held) = self.zones.get_mut(zone) else {
            return;
        };
        let gone: Vec<usize> = match std::mem::take(&mut held.chain) {
            Chain::Empty => Vec::new(),
            Chain::Nsec(records) => records.values().map(Held::bytes).collect(),
            Chain::Nsec3 { records, .. } => records.values().map(Held::bytes).collect(),
        };
        self.entries -= gone.len();
        self.bytes -= gone.iter().sum::<usize>();
    }

    /// Drops what is held of this one zone.
    pub(super) fn drop_zone(&mut self, zone: &Name) {
        self.drop_chain(zone);
        let Some(held) = self.zones.remove(zone) else {
            return;
        };
        for held in held.soa.iter().chain(held.wildcards.values()) {
            self.bytes -= held.bytes();
            self.entries -= 1;
        }
    }

    /// Drops entries until so many bytes more fit, and places of the queue that lead nowhere.
    fn make_room(&mut self, bytes: usize, now: Now) {
        while self.bytes + bytes > self.bytes_max || self.queue.len() > 2 * self.entries + 64 {
            let Some((id, place)) = self.queue.pop_front() else {
                return;
            };
            let Some(held) = self.get(&place).filter(|held| held.id == id) else {
                continue;
            };
            let full = self.bytes + bytes > self.bytes_max;
            let used = || held.used.swap(false, Ordering::Relaxed) && held.expiry.is_live(now);
            match full && !used() {
                true => self.remove(&place.zone, &place.key),
                false => self.queue.push_back((id, place)),
            }
        }
    }
}

impl Zone {
    fn put(&mut self, key: Key, held: Held) {
        match key {
            Key::Soa => self.soa = Some(held),
            Key::Wildcard(name, rtype) => drop(self.wildcards.insert((name, rtype), held)),
            Key::Nsec(owner) => {
                if !matches!(self.chain, Chain::Nsec(_)) {
                    self.chain = Chain::Nsec(BTreeMap::new());
                }
                if let Chain::Nsec(records) = &mut self.chain {
                    records.insert(owner, held);
                }
            }
            Key::Nsec3(hash) => {
                if !matches!(self.chain, Chain::Nsec3 { .. }) {
                    let data = held.set.rdatas.first().and_then(|r| Nsec3::parse(r));
                    self.chain = Chain::Nsec3 {
                        iterations: data.as_ref().map_or(0, |data| data.iterations),
                        salt: data.map_or(Box::default(), |data| data.salt.into()),
                        records: BTreeMap::new(),
                    };
                }
                if let Chain::Nsec3 { records, .. } = &mut self.chain {
                    records.insert(hash, held);
                }
            }
        }
    }

    /// Whether any set of this wildcard is held.
    pub(super) fn knows_wildcard(&self, wildcard: &Name) -> bool {
        let from = (wildcard.clone(), Rtype(0));
        let next = self.wildcards.range(from..).next();
        next.is_some_and(|((name, _), _)| name == wildcard)
    }

    fn is_empty(&self) -> bool {
        let chain = match &self.chain {
            Chain::Empty => true,
            Chain::Nsec(records) => records.is_empty(),
            Chain::Nsec3 { records, .. } => records.is_empty(),
        };
        chain && self.soa.is_none() && self.wildcards.is_empty()
    }
}

/// How many labels the parent of the wildcard has that a checked set was made from. First among its signatures is the one
/// that was found good.
fn expanded_labels(set: &RrSet) -> Option<usize> {
    expansion(set, &Rrsig::parse(set.sigs.first()?)?)
}

/// Only the last record of a chain leads back, and it leads to the apex.
fn is_sound(record: &NsecRecord<'_>, zone: &Name) -> bool {
    let next = &record.data.next;
    record.owner.is_within(zone) && (next == zone || (next > record.owner && next.is_within(zone)))
}

/// The owner of the record in whose gap `name` stands.
fn nsec_gap_of(records: &BTreeMap<Name, Held>, name: &Name) -> Option<Name> {
    let (owner, held) = records.range(..name.clone()).next_back()?;
    let record = NsecRecord::of(&held.set)?;
    nsec::covers(owner, &record.data.next, name).then(|| owner.clone())
}

/// The hash of the record in whose gap `hash` stands.
fn nsec3_gap_of(records: &BTreeMap<Hash, Held>, hash: &Hash) -> Option<Hash> {
    let (owner, held) = before(records, hash)?;
    let next = next_hash(&held.set)?;
    nsec3::covers(owner, &next, hash).then_some(*owner)
}

/// The record before `hash` on the circle.
pub(super) fn before<'r>(
    records: &'r BTreeMap<Hash, Held>,
    hash: &Hash,
) -> Option<(&'r Hash, &'r Held)> {
    let below = records.range(..*hash).next_back();
    below.or_else(|| records.last_key_value())
}

fn next_hash(set: &RrSet) -> Option<Hash> {
    let data = Nsec3::parse(set.rdatas.first()?)?;
    data.next_hash.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::rdata::type_bitmap;
    use crate::dnssec::nsec3::{HASH_LEN, hash_label};
    use crate::signer::{name, rr};
    use std::time::Duration;

    fn at(s: u64) -> Now {
        Now::new(Duration::from_secs(s), 1_000_000 + s)
    }

    /// `OWNER NEXT`
    fn nsec(line: &str, ttl: u32) -> RrSet {
        let (owner, next) = line.split_once(' ').unwrap();
        let rdata = [name(next).wire(), &type_bitmap(&[Rtype::A])].concat();
        RrSet::single(name(owner), Rtype::NSEC, ttl, rdata.into())
    }

    fn nsec3(owner: u8, next: u8, salt: &[u8]) -> RrSet {
        let mut rdata = vec![1, 0, 0, 0, salt.len() as u8];
        rdata.extend(salt);
        rdata.push(HASH_LEN as u8);
        rdata.extend([next; HASH_LEN]);
        let owner = name("z.").child(&hash_label(&[owner; HASH_LEN])).unwrap();
        RrSet::single(owner, Rtype::NSEC3, 60, rdata.into())
    }

    fn soa(ttl: u32, minimum: u32) -> RrSet {
        let record = rr(&format!("z. {ttl} SOA z. z. 1 2 3 4 {minimum}"));
        RrSet::single(record.name, Rtype::SOA, ttl, record.rdata)
    }

    /// A set that answered, with something that may be taken for its signature.
    fn answer(line: &str) -> RrSet {
        let record = rr(line);
        let mut sig = record.rtype.0.to_be_bytes().to_vec();
        sig.extend([15, record.name.label_count() as u8]);
        sig.extend([0; 14]);
        sig.extend(name("z.").wire());
        sig.push(1);
        let mut set = RrSet::single(record.name, record.rtype, record.ttl, record.rdata);
        set.sigs.push(sig.into());
        set
    }

    /// The owners held, as text, in order.
    fn owners(ranges: &Ranges) -> Vec<String> {
        match ranges.zone(&name("z.")).map(|zone| &zone.chain) {
            Some(Chain::Nsec(records)) => records.keys().map(ToString::to_string).collect(),
            Some(Chain::Nsec3 { records, .. }) => {
                records.keys().map(|h| h[0].to_string()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn of(sets: &[RrSet]) -> Ranges {
        let mut ranges = Ranges::new(1 << 20);
        for set in sets {
            ranges.learn(&name("z."), &[], std::slice::from_ref(set), at(0));
        }
        ranges
    }

    #[test]
    fn the_newer_record_wins() {
        let chain = ["z. b.z.", "b.z. d.z.", "d.z. f.z.", "f.z. z."];
        for (new, left) in [
            // A name was added, removed, and the whole chain became one record.
            ("b.z. c.z.", &["z.", "b.z.", "d.z.", "f.z."][..]),
            ("c.z. d.z.", &["z.", "c.z.", "d.z.", "f.z."]),
            ("b.z. f.z.", &["z.", "b.z.", "f.z."]),
            ("g.z. z.", &["z.", "b.z.", "d.z.", "g.z."]),
            ("d.z. z.", &["z.", "b.z.", "d.z."]),
            ("z. z.", &["z."]),
            // No record of a chain.
            ("c.z. a.z.", &["z.", "b.z.", "d.z.", "f.z."]),
            ("c.z. x.", &["z.", "b.z.", "d.z.", "f.z."]),
        ] {
            let mut sets: Vec<RrSet> = chain.iter().map(|line| nsec(line, 60)).collect();
            sets.push(nsec(new, 60));
            assert_eq!(owners(&of(&sets)), left, "{new}");
        }
        let chain = [(10, 20), (20, 40), (40, 60), (60, 10)];
        for ((owner, next), left) in [
            ((20, 30), &["10", "20", "40", "60"][..]),
            ((30, 40), &["10", "30", "40", "60"]),
            ((20, 60), &["10", "20", "60"]),
            ((70, 10), &["10", "20", "40", "70"]),
            // Over the end of the circle.
            ((60, 30), &["40", "60"]),
            ((5, 10), &["5", "10", "20", "40"]),
            ((20, 20), &["20"]),
        ] {
            let mut sets: Vec<RrSet> = chain.iter().map(|(o, n)| nsec3(*o, *n, b"")).collect();
            sets.push(nsec3(owner, next, b""));
            assert_eq!(owners(&of(&sets)), left, "{owner} {next}");
        }
        // Another salt, another kind: another chain.
        assert_eq!(owners(&of(&[nsec3(1, 2, b""), nsec3(3, 4, b"x")])), ["3"]);
        assert_eq!(owners(&of(&[nsec3(1, 2, b""), nsec("z. z.", 9)])), ["z."]);
    }

    #[test]
    fn what_answers_drives_out_what_denies_it() {
        let chain = ["z. b.z.", "b.z. d.z.", "d.z. z."].map(|line| nsec(line, 60));
        for (line, left) in [
            ("c.z. 60 A 192.0.2.1", &["z.", "d.z."][..]),
            ("x.y.z. 60 A 192.0.2.1", &["z.", "b.z."]),
            ("b.z. 60 A 192.0.2.1", &["z.", "b.z.", "d.z."]),
            // Its record lacks the type.
            ("b.z. 60 TXT new", &["z.", "d.z."]),
        ] {
            let mut ranges = of(&chain);
            ranges.heed(&name("z."), &[answer(line)]);
            assert_eq!(owners(&ranges), left, "{line}");
        }
        // By hash; every name above the new one exists, too.
        let hash = |text: &str| nsec3_hash(&name(text), b"", 0);
        for denied in ["new.z.", "x.new.z."] {
            let mut next = hash(denied);
            next[0] = next[0].wrapping_add(1);
            let mut owner = hash(denied);
            owner[0] = owner[0].wrapping_sub(1);
            let mut set = nsec3(0, 0, b"");
            set.name = name("z.").child(&hash_label(&owner)).unwrap();
            let at = set.rdatas[0].len() - HASH_LEN;
            set.rdatas[0][at..].copy_from_slice(&next);
            let mut ranges = of(&[set]);
            assert_eq!(ranges.size().0, 1);
            ranges.heed(&name("z."), &[answer("x.new.z. 60 A 192.0.2.1")]);
            assert_eq!(ranges.size(), (0, 0), "{denied}");
        }
    }

    /// RFC 8198 section 5.4 and RFC 9077 section 3: the least of the record's own TTL, the SOA's, and its MINIMUM field; exact.
    #[test]
    fn denials_live_as_long_as_the_soa_allows() {
        for (ttl, soa, lives_s) in [
            (3600, Some((3600, 300)), 300),
            (3600, Some((200, 300)), 200),
            (100, Some((3600, 300)), 100),
            (3600, Some((3600, 0)), 0),
            (3600, None, 3600),
            (90_000, None, NEGATIVE_TTL_MAX_S),
            (90_000, Some((90_000, 90_000)), NEGATIVE_TTL_MAX_S),
        ] {
            let mut sets = vec![nsec("z. b.z.", ttl)];
            sets.extend(soa.map(|(ttl, minimum)| self::soa(ttl, minimum)));
            let mut ranges = Ranges::new(1 << 20);
            ranges.learn(&name("z."), &[], &sets, at(0));
            let live = |s: u32| match ranges.zone(&name("z.")).map(|zone| &zone.chain) {
                Some(Chain::Nsec(records)) => {
                    let held = records.get(&name("z."))?;
                    held.live(at(s.into())).map(|set| set.ttl)
                }
                _ => None,
            };
            assert_eq!(live(lives_s), None, "{ttl} {soa:?}");
            if let Some(last) = lives_s.checked_sub(1) {
                assert_eq!(live(last), Some(1), "{ttl} {soa:?}");
            }
        }
        // What came with a wildcard's answer goes by the SOA that is known already.
        let mut ranges = Ranges::new(1 << 20);
        ranges.learn(&name("z."), &[], &[soa(3600, 60)], at(0));
        ranges.learn(&name("z."), &[], &[nsec("z. b.z.", 3600)], at(0));
        let Some(Chain::Nsec(records)) = ranges.zone(&name("z.")).map(|zone| &zone.chain) else {
            panic!("no chain");
        };
        assert!(records[&name("z.")].live(at(60)).is_none());
    }

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_used() {
        let bytes_max = 40_000;
        let mut ranges = Ranges::new(bytes_max);
        let zone = name("z.");
        ranges.learn(&zone, &[], &[nsec("a.z. a0.z.", 9000)], at(0));
        for i in 0..5000u64 {
            let line = format!("n{i:05}.z. n{i:05}-.z.");
            let zone = if i % 2 == 0 { name("z.") } else { name(".") };
            ranges.learn(&zone, &[], &[nsec(&line, 9000)], at(i / 10));
            assert!(ranges.size().1 <= bytes_max);
            assert!(ranges.queue.len() <= 2 * ranges.entries + 65);
            let Some(Chain::Nsec(records)) = ranges.zone(&name("z.")).map(|z| &z.chain) else {
                panic!("{i}: no chain");
            };
            assert!(records[&name("a.z.")].live(at(i / 10)).is_some(), "{i}");
        }
        // The same record again and again leaves no trace.
        for i in 0..5000 {
            ranges.learn(&zone, &[], &[nsec("a.z. a0.z.", 60)], at(600 + i));
            assert!(ranges.queue.len() <= 2 * ranges.entries + 65);
        }
        for apex in ["z.", "."] {
            ranges.flush(&name(apex));
        }
        assert_eq!(ranges.size(), (0, 0));
        assert!(ranges.is_empty());
    }

    #[test]
    fn a_flush_takes_all_that_could_speak_of_the_name() {
        let mut ranges = Ranges::new(1 << 20);
        for zone in [".", "com.", "a.com.", "b.com.", "org."] {
            let record = RrSet {
                name: name(zone),
                ..nsec("z. z.", 60)
            };
            let record = RrSet {
                rdatas: vec![
                    [name(zone).wire(), &type_bitmap(&[Rtype::A])]
                        .concat()
                        .into(),
                ],
                ..record
            };
            ranges.learn(&name(zone), &[], &[record], at(0));
        }
        assert_eq!(ranges.size().0, 5);
        ranges.flush(&name("a.com."));
        let mut left: Vec<String> = ranges.zones.keys().map(ToString::to_string).collect();
        left.sort();
        assert_eq!(left, ["b.com.", "org."]);
    }
}
