//! Proofs that something is not there: which NSEC or NSEC3 sets go with an answer.
//!
//! A validator believes a denial only with the records that prove it (RFC 4035 section 3.1.3, RFC 5155
//! section 7.2). Each function here adds the sets for one claim ("this name does not exist", "no
//! wildcard here either") to a list without repeating any. Where the zone lacks a record of its chain,
//! the proof stays incomplete: the answer is still the zone's, and it is `zone verify` that complains.

use super::block::{Body, Entry, SetRef};
use super::hash32;
use super::image::{Denial, Place, ZoneImage};
use super::key::{key_of, name_of, path};
use crate::dns::rdata::Nsec3;
use crate::dns::{Name, RrSet, Rtype};
use crate::dnssec::nsec3::{Hash, ITERATIONS_SERVED_MAX, SHA1, nsec3_hash};

/// NSEC3 records of another chain (a change of salt under way) that are stepped over in a search.
const CHAIN_STEPS_MAX: usize = 64;

/// Iterations and salt of NSEC3PARAM data that answers may use: SHA-1, no flags (RFC 5155 section 4.1.2).
pub fn usable_params(param: &[u8]) -> Option<(u16, &[u8])> {
    let (&[algorithm, flags, high, low, salt_len], salt) = param.split_first_chunk()?;
    let usable = algorithm == SHA1 && flags == 0 && salt.len() == salt_len as usize;
    usable.then_some((u16::from_be_bytes([high, low]), salt))
}

impl ZoneImage {
    /// Whether `next` is the zone's next name after `name`, or the apex after the last: what an NSEC record says of them is true. Names
    /// below a cut or a DNAME at `name` do not count.
    pub fn is_next(&self, name: &Name, next: &Name) -> bool {
        let damage = self.damage();
        let (Some(mut key), Some(next_key)) =
            (key_of(name, self.apex()), key_of(next, self.apex()))
        else {
            return false;
        };
        let names = self.names();
        let mut spot = names.locate(&key);
        let is_occluded = |entry: &Entry<'_>| entry.body.place() == Place::Occluded;
        if spot.after.as_ref().is_some_and(is_occluded) {
            // Every key below has a 0 where this has a 1. Below a DNAME at the apex is the whole zone.
            match key.pop() {
                Some(last) => key.push(last + 1),
                None => return next_key.is_empty(),
            }
            spot = names.locate(&key);
        }
        let is_found = match spot.after {
            Some(after) => after.key == next_key && !is_occluded(&after),
            None => next_key.is_empty(),
        };
        is_found && self.damage() == damage
    }
}

/// Adds proofs about one zone to a list of sets.
pub struct Prover<'a> {
    image: &'a ZoneImage,
    sets: &'a mut Vec<RrSet>,
}

impl<'a> Prover<'a> {
    /// Proofs from `image` go to `sets`.
    pub fn new(image: &'a ZoneImage, sets: &'a mut Vec<RrSet>) -> Prover<'a> {
        Prover { image, sets }
    }

    /// `name` exists (perhaps as an empty non-terminal) without the type asked for.
    /// RFC 4035 section 3.1.3.1; RFC 5155 sections 7.2.3 and 7.2.4.
    pub fn no_data(&mut self, name: &Name) {
        match self.image.denial() {
            Denial::None => {}
            // At an empty non-terminal the record before it tells, by what it names as next.
            Denial::Nsec => self.nsec_at_or_before(name),
            Denial::Nsec3 { .. } => {
                if !self.nsec3_match(name) {
                    // Left out of the chain by opt-out.
                    self.closest_encloser(name);
                }
            }
        }
    }

    /// Neither `name` nor the wildcard at `encloser`, its closest encloser, exists.
    /// RFC 4035 section 3.1.3.2; RFC 5155 section 7.2.2.
    pub fn no_name(&mut self, name: &Name, encloser: &Name) {
        match self.image.denial() {
            Denial::None => {}
            Denial::Nsec => {
                self.nsec_at_or_before(name);
                if let Ok(wildcard) = encloser.wildcard() {
                    self.nsec_at_or_before(&wildcard);
                }
            }
            Denial::Nsec3 { .. } => {
                if let Some(Ok(wildcard)) = self.closest_encloser(name).map(|e| e.wildcard()) {
                    self.nsec3_cover(&wildcard);
                }
            }
        }
    }

    /// The answer for `name` comes from the wildcard at `encloser`.
    /// RFC 4035 section 3.1.3.3; RFC 5155 section 7.2.6.
    pub fn by_wildcard(&mut self, name: &Name, encloser: &Name) {
        match self.image.denial() {
            Denial::None => {}
            Denial::Nsec => self.nsec_at_or_before(name),
            Denial::Nsec3 { .. } => self.nsec3_cover(&next_closer(name, encloser)),
        }
    }

    /// The wildcard at `encloser` answers for `name` and has not the type.
    /// RFC 4035 section 3.1.3.4; RFC 5155 section 7.2.5.
    pub fn wildcard_no_data(&mut self, name: &Name, encloser: &Name) {
        let Ok(wildcard) = encloser.wildcard() else {
            return;
        };
        match self.image.denial() {
            Denial::None => {}
            Denial::Nsec => {
                self.nsec_at_or_before(&wildcard);
                self.nsec_at_or_before(name);
            }
            Denial::Nsec3 { .. } => {
                self.closest_encloser(name);
                self.nsec3_match(&wildcard);
            }
        }
    }

    /// The delegation at `cut` has no DS. RFC 4035 section 3.1.4.1; RFC 5155 section 7.2.7.
    pub fn no_ds(&mut self, cut: &Name) {
        self.no_data(cut);
    }

    fn push(&mut self, set: RrSet) {
        let same = |s: &RrSet| s.rtype == set.rtype && s.name == set.name;
        if !self.sets.iter().any(same) {
            self.sets.push(set);
        }
    }

    /// Adds the NSEC set of `name` or of the last owner before it.
    fn nsec_at_or_before(&mut self, name: &Name) {
        let names = self.image.names();
        let Some(key) = key_of(name, self.image.apex()) else {
            return;
        };
        let Some(mut entry) = names.at_or_before(&key) else {
            return;
        };
        if entry.body.place() == Place::Occluded {
            // Glue has no NSEC; whatever it lies below has.
            match self.cover_of(&entry.key) {
                Some((key, body)) => (entry.key, entry.body) = (key, body),
                None => return,
            }
        }
        if let (Some(set), Some(owner)) = (
            entry.body.data(Rtype::NSEC),
            name_of(&entry.key, self.image.apex()),
        ) {
            self.push(set.to_rrset(owner));
        }
    }

    /// The topmost name above `key` that is not itself occluded: the cut or DNAME that covers it.
    fn cover_of(&self, key: &[u8]) -> Option<(Vec<u8>, Body<'a>)> {
        let above = path(key).filter_map(|k| Some((k, self.image.names().find(k)?)));
        let mut free = above.take_while(|(_, body)| body.place() != Place::Occluded);
        // The deepest of them; those between it and `key` are occluded or empty.
        free.by_ref().last().map(|(k, body)| (k.to_vec(), body))
    }

    /// Proves the closest encloser of `name` that has an NSEC3 record, and that the name one label
    /// longer has none (RFC 5155 section 7.2.1); returns the encloser.
    fn closest_encloser(&mut self, name: &Name) -> Option<Name> {
        let mut below = name.clone();
        loop {
            let above = below.parent().filter(|p| p.is_within(self.image.apex()))?;
            if self.nsec3_match(&above) {
                self.nsec3_cover(&below);
                return Some(above);
            }
            below = above;
        }
    }

    fn hash(&self, name: &Name) -> Option<Hash> {
        match self.image.denial() {
            Denial::Nsec3 { iterations, salt } if *iterations <= ITERATIONS_SERVED_MAX => {
                Some(nsec3_hash(name, salt, *iterations))
            }
            _ => None,
        }
    }

    /// Adds the NSEC3 set that matches `name`; whether there is one.
    fn nsec3_match(&mut self, name: &Name) -> bool {
        let Some(hash) = self.hash(name) else {
            return false;
        };
        let body = self.image.hashes().find(&hash);
        let found = body
            .and_then(|b| b.data(Rtype::NSEC3))
            .filter(|s| self.in_chain(s));
        if let Some(set) = found {
            self.push_nsec3(&hash, set);
        }
        found.is_some()
    }

    /// Adds the NSEC3 set that covers `name`: the last one before its hash, or around the end.
    fn nsec3_cover(&mut self, name: &Name) {
        let Some(hash) = self.hash(name) else {
            return;
        };
        let hashes = self.image.hashes();
        let Some(mut entry) = hashes.before(&hash).or_else(|| hashes.last()) else {
            return;
        };
        for _ in 0..CHAIN_STEPS_MAX {
            if let Some(set) = entry.body.data(Rtype::NSEC3).filter(|s| self.in_chain(s)) {
                return self.push_nsec3(&entry.key, set);
            }
            match hashes.before(&entry.key).or_else(|| hashes.last()) {
                Some(before) => entry = before,
                None => return,
            }
        }
    }

    /// Whether an NSEC3 set has the parameters that the zone answers with.
    fn in_chain(&self, set: &SetRef<'_>) -> bool {
        let Denial::Nsec3 { iterations, salt } = self.image.denial() else {
            return false;
        };
        set.rdatas().any(|data| {
            Nsec3::parse(data).is_some_and(|n| {
                n.hash_algorithm == SHA1 && n.iterations == *iterations && n.salt == &salt[..]
            })
        })
    }

    fn push_nsec3(&mut self, hash: &[u8], set: SetRef<'_>) {
        let hash: Option<&Hash> = hash.try_into().ok();
        if let Some(owner) = hash.and_then(|h| hash32::owner(h, self.image.apex())) {
            self.push(set.to_rrset(owner));
        }
    }
}

/// The name one label longer than `encloser` on the way to `name` (RFC 5155 section 1.3).
fn next_closer(name: &Name, encloser: &Name) -> Name {
    name.suffix(encloser.label_count() + 1)
}
