//! What has run out and may still serve while its authorities cannot be reached (RFC 8767).
//!
//! Why: in an outage old data is better than none. So an entry past its TTL keeps its place for up to `stale.age_max`; the map
//! forgets it before what lives. Whether it may be used now is for the resolver to decide, which has tried for something newer.
//!
//! Model: several entries may speak for one question, and only the newest of them is right: a name that was an alias and has an
//! address now, or was denied since, alone or with everything below a name above it. The newest is the one that was stored last,
//! whether it has run out or not. What replaces an entry under another key takes the old one away at once (`outdated_by`), so that
//! it cannot come back when the newer one is forgotten first.
//!
//! Failure: none; what is not kept is not found.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::entry::{Entry, Expiry, Security, shares_alias};
use super::packed::Packed;
use super::persist::{Kept, Note};
use super::s3fifo::Standing;
use super::{Cache, Kind, NXDOMAIN_KEY, Slot, Tally, lock, uncount};
use crate::clock::Now;
use crate::dns::{Name, Question, Rrsig, Rtype};

/// RFC 8767 section 5: what a stale answer may live at the client, seconds.
pub const STALE_TTL_S: u32 = 30;

/// Types that a name usually has, so that its denial ends what is kept of them.
const USUAL_TYPES: [Rtype; 11] = [
    Rtype::A,
    Rtype::AAAA,
    Rtype::CNAME,
    Rtype::MX,
    Rtype::TXT,
    Rtype::NS,
    Rtype::SOA,
    Rtype::PTR,
    Rtype::SRV,
    Rtype::HTTPS,
    Rtype::DNAME,
];

/// Notes between two looks at them: what comes in a second at the most.
const NOTES_MAX: usize = 65_536;

/// What the cache has taken in, for whoever keeps it on disk; nothing unless somebody does.
#[derive(Debug, Default)]
pub(super) struct Notes(AtomicBool, Mutex<Vec<Note>>);

impl Notes {
    pub fn leave(&self, note: impl FnOnce() -> Note) {
        if self.0.load(Ordering::Relaxed) {
            let mut list = self.list();
            if list.len() < NOTES_MAX {
                list.push(note());
            }
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Note>> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry that has run out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// What was known. Every TTL is [`STALE_TTL_S`].
    pub entry: Entry,
    /// Seconds since it ran out.
    pub ran_out_s: u64,
    /// The name that it stands under, where that is one above the question's: a denial of everything below, or a DNAME.
    pub above: Option<Name>,
}

/// An entry that may speak for a question.
struct Candidate {
    packed: Packed,
    expiry: Expiry,
    above: Option<Name>,
}

impl Candidate {
    fn stored_ms(&self) -> u64 {
        self.expiry.stored_ms(self.packed.ttl_s())
    }

    fn into_stale(self, ran_out_s: u64) -> Option<Stale> {
        Some(Stale {
            entry: self.packed.unpack(STALE_TTL_S)?,
            ran_out_s,
            above: self.above,
        })
    }
}

/// The keys of a name whose entries say what one under `stored` (asked for as `asked`) has made untrue.
pub(super) fn outdated_by(stored: Rtype, asked: Rtype) -> Vec<Rtype> {
    match stored {
        NXDOMAIN_KEY => [&[asked], &USUAL_TYPES[..]].concat(),
        Rtype::CNAME if asked != Rtype::CNAME => vec![asked, NXDOMAIN_KEY],
        // The parent's word says nothing of the child's alias, nor does what stands beside one.
        other if !shares_alias(other) => vec![NXDOMAIN_KEY],
        _ => vec![Rtype::CNAME, NXDOMAIN_KEY],
    }
}

impl Cache {
    /// Keeps what has run out for so many seconds.
    pub fn keeping_stale(mut self, age_max_s: u64) -> Cache {
        self.stale_s = age_max_s;
        self
    }

    /// The newest of what was known about the question, if that has run out, but not too long ago. `counts` says whether what is
    /// proven of everything below a name goes for the question.
    pub fn find_stale(
        &self,
        question: &Question,
        now: Now,
        counts: impl Fn(&Name) -> bool,
    ) -> Option<Stale> {
        let newest = self.newest(question, counts)?;
        let ran_out_s = newest.expiry.dead_s(now);
        if newest.expiry.is_live(now) || ran_out_s >= self.stale_s {
            return None;
        }
        newest.into_stale(ran_out_s)
    }

    /// The same, at a time when everything that lives now has run out too.
    pub fn find_run_out(
        &self,
        question: &Question,
        now: Now,
        counts: impl Fn(&Name) -> bool,
    ) -> Option<Stale> {
        let newest = self.newest(question, counts)?;
        let ran_out_s = newest.expiry.dead_s(now);
        (ran_out_s < self.stale_s)
            .then(|| newest.into_stale(ran_out_s))
            .flatten()
    }

    /// The newest of what was known about the question; nothing where nothing is kept past its end.
    fn newest(&self, question: &Question, counts: impl Fn(&Name) -> bool) -> Option<Candidate> {
        if self.stale_s == 0 {
            return None;
        }
        let name = &question.name;
        let mut newest = self.candidate(name, question.rtype, None);
        let mut consider = |found: Option<Candidate>| {
            let newer = |c: &Candidate| {
                newest
                    .as_ref()
                    .is_none_or(|n| n.stored_ms() < c.stored_ms())
            };
            if let Some(found) = found.filter(newer) {
                newest = Some(found);
            }
        };
        if shares_alias(question.rtype) {
            consider(self.candidate(name, Rtype::CNAME, Some(Kind::Alias)));
        }
        consider(self.candidate(name, NXDOMAIN_KEY, None));
        let mut at = name.parent();
        while let Some(above) = at.filter(|above| !above.is_root()) {
            at = above.parent();
            for rtype in [NXDOMAIN_KEY, Rtype::DNAME] {
                let found = self.candidate(&above, rtype, None);
                // RFC 8020, RFC 6672: only what is proven says something of the names below.
                consider(
                    found
                        .filter(|c| c.packed.is_secure() && counts(&above))
                        .map(|c| Candidate {
                            above: Some(above.clone()),
                            ..c
                        }),
                );
            }
        }
        newest
    }

    fn candidate(&self, name: &Name, rtype: Rtype, kind: Option<Kind>) -> Option<Candidate> {
        let key = self.key(name, rtype);
        let mut shard = self.shard(key);
        let slot = shard.map.get(key.low(), |s| key.is_of(s))?;
        // What a denial of an alias says is for who asks for CNAME alone.
        kind.is_none_or(|kind| kind == slot.kind)
            .then(|| Candidate {
                packed: slot.packed.clone(),
                expiry: slot.expiry,
                above: None,
            })
    }

    /// Keeps what may not be told while it can be asked for, as run out from the beginning: a denial without SOA, which nobody may
    /// cache (RFC 2308 section 5). What lives and says the same stays.
    pub fn put_run_out(&self, question: &Question, entry: &Entry, now: Now) {
        let packed = match self.stale_s {
            0 => None,
            _ => Packed::new(&question.name, question.rtype, entry, 0),
        };
        let Some(packed) = packed else {
            return;
        };
        let slot = Slot {
            packed,
            expiry: Expiry::before(now, 0),
            kind: Kind::of(entry),
            asked: 0,
            claimed: false,
        };
        let key = self.key(&question.name, question.rtype);
        {
            let mut shard = self.shard(key);
            let known = shard.map.peek(key.low(), |s| key.is_of(s));
            if known.is_some_and(|old| old.kind == slot.kind && old.expiry.is_live(now)) {
                return;
            }
            self.notes.leave(|| Note::Put(slot.noted(now)));
            self.change(&mut shard, |shard| self.insert(shard, key, slot, now));
        }
        let outdated = outdated_by(question.rtype, question.rtype);
        self.supersede(&question.name, &outdated, now);
    }

    /// Puts what was kept on disk back in its place, as run out; false where something is known there, which is newer.
    pub fn restore(&self, kept: Kept, now: Now) -> bool {
        let rtype = kept.rtype;
        let key = self.key(&kept.name, rtype);
        let slot = Slot {
            packed: kept.packed,
            expiry: Expiry::before(now, kept.ran_out_s),
            kind: Kind::of(&kept.entry),
            asked: 0,
            claimed: false,
        };
        let mut shard = self.shard(key);
        if shard.map.peek(key.low(), |s| key.is_of(s)).is_some() {
            return false;
        }
        self.change(&mut shard, |shard| self.insert(shard, key, slot, now));
        if rtype == Rtype::DNAME {
            self.knows_dnames.store(true, Ordering::Relaxed);
        }
        true
    }

    /// Leaves a note of whatever is taken in from now on, for [`Cache::take_notes`].
    pub fn start_noting(&self) {
        self.notes.0.store(true, Ordering::Relaxed);
    }

    /// What was noted since the last call.
    pub fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut self.notes.list())
    }

    /// Drops what has run out of these types at the name: something newer is known.
    pub(super) fn supersede(&self, name: &Name, rtypes: &[Rtype], now: Now) {
        if self.stale_s == 0 {
            return;
        }
        for rtype in rtypes {
            let key = self.key(name, *rtype);
            let mut shard = self.shard(key);
            let known = shard.map.peek(key.low(), |s| key.is_of(s));
            if known.is_none_or(|slot| slot.expiry.is_live(now)) {
                continue;
            }
            self.change(&mut shard, |shard| {
                if let Some(slot) = shard.map.remove(key.low(), |s| key.is_of(s)) {
                    uncount(&mut shard.tally, &slot);
                }
            });
        }
    }

    /// What is left of a slot.
    pub(super) fn standing(&self, slot: &Slot, now: Now) -> Standing {
        match slot.expiry.is_live(now) {
            true => Standing::Live,
            false if slot.expiry.dead_s(now) < self.stale_s => Standing::Stale,
            false => Standing::Dead,
        }
    }

    /// What has run out and is kept, in numbers. Looks at every entry.
    pub fn stale_stats(&self, now: Now) -> Tally {
        let mut tally = Tally::default();
        for shard in &self.shards {
            let shard = lock(shard);
            for slot in shard.map.values() {
                if self.standing(slot, now) == Standing::Stale {
                    tally.entries += 1;
                    tally.bytes += slot.packed.heap_bytes();
                }
            }
        }
        tally
    }
}

/// Whether what is proven under this key goes for everything below the name: RFC 8020, RFC 6672.
pub(super) fn signed_above(rtype: Rtype, kind: Kind) -> bool {
    rtype == NXDOMAIN_KEY || rtype == Rtype::DNAME && kind == Kind::Answer
}

/// Whether the signatures that proved the entry are within their validity (RFC 4034 section 3.1.5) at `wall_s`, seconds since 1970.
/// The first signature of a set is the one that was found good. False for what was not proven by signatures.
pub fn signatures_hold(entry: &Entry, wall_s: u64) -> bool {
    if entry.security != Security::Secure {
        return false;
    }
    // Serial number arithmetic.
    let after = |a: u32, b: u32| a.wrapping_sub(b) as i32 >= 0;
    let at = wall_s as u32;
    let sets = entry.answer.iter().chain(&entry.authority);
    // What a DNAME made of a name is signed by the DNAME.
    let mut signed = sets.filter_map(|set| set.sigs.first()).peekable();
    signed.peek().is_some()
        && signed.all(|sig| {
            Rrsig::parse(sig).is_some_and(|s| after(at, s.inception) && after(s.expiration, at))
        })
}
