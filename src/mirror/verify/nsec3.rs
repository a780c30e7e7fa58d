//! The NSEC3 chain of a whole zone (RFC 5155 section 7.1).
//!
//! Hashes stand in another order than names, so nothing can be said until all have passed: names are
//! hashed as they come, with the types that their record must list, and matched against the records at
//! the end. Names in between (empty non-terminals) have records too. A delegation without DS, and an
//! empty non-terminal that leads to nothing else, may be left out where the record that covers it has the
//! opt-out flag (section 6).

use super::nsec::words;
use std::collections::{HashMap, HashSet};

use super::{FAULTS_MAX, Faults, Problem, data, has_own_data, listed_types, lists_exactly};
use crate::dns::{Name, Nsec3, Rdata, Rtype, TypeBitmap};
use crate::dnssec::nsec3::{Hash, ITERATIONS_MAX, SHA1, hash_label, nsec3_hash_wire};
use crate::zone::{NameBuf, Place, RawNode, SetRef, ZoneImage, hash_of_key, path, wire_of};

/// Chains that are followed; a zone has two while its salt changes.
const CHAINS_MAX: usize = 4;

/// The chains that the zone's NSEC3PARAM set declares. Flags other than 0 mean that the chain is not for
/// use (section 4.1.2).
pub fn chains<'a>(image: &'a ZoneImage, faults: &'a Faults) -> Vec<Chain<'a>> {
    let apex = image.apex();
    let set = image.find(apex, Rtype::NSEC3PARAM);
    let rdatas: Vec<Rdata> = set.map_or_else(Vec::new, |s| s.rdatas);
    let mut chains = Vec::new();
    let mut unknown = false;
    for rdata in &rdatas {
        let &[algorithm, flags, high, low, _, ref salt @ ..] = &rdata[..] else {
            continue;
        };
        let iterations = u16::from_be_bytes([high, low]);
        if flags != 0 {
            continue;
        }
        if algorithm != SHA1 {
            unknown = true;
        } else if iterations > ITERATIONS_MAX {
            let problem = Problem::Nsec3Iterations(iterations);
            faults.add(apex, Some(Rtype::NSEC3PARAM), problem);
        } else if chains.len() == CHAINS_MAX {
            faults.add(apex, Some(Rtype::NSEC3PARAM), Problem::Nsec3TooMany);
        } else {
            chains.push(Chain::new(image, faults, salt, iterations));
        }
    }
    if unknown && chains.is_empty() {
        faults.add(apex, Some(Rtype::NSEC3PARAM), Problem::Nsec3Params);
    }
    chains
}

/// One chain: names and records with the same salt and iterations.
pub struct Chain<'a> {
    image: &'a ZoneImage,
    faults: &'a Faults,
    salt: Vec<u8>,
    iterations: u16,
    names: Vec<Expected>,
    records: Vec<Found>,
    /// The lists of types that names have, which are few.
    types: Vec<Vec<Rtype>>,
    numbers: HashMap<Vec<Rtype>, u32>,
    /// Empty non-terminals above the name that passed last, outermost first: sort key and place in `names`.
    enclosing: Vec<(Vec<u8>, usize)>,
    /// Sort key of the name that passed last.
    last: Vec<u8>,
}

/// A name that the chain must have. There are millions; which name it is, is found out again if it is at fault.
struct Expected {
    hash: Hash,
    /// Place in [`Chain::types`].
    types: u32,
    /// It may be left out under opt-out.
    optional: bool,
}

/// A record of the chain.
struct Found {
    hash: Hash,
    next: Hash,
    opt_out: bool,
    types: Box<[u8]>,
}

impl<'a> Chain<'a> {
    fn new(image: &'a ZoneImage, faults: &'a Faults, salt: &[u8], iterations: u16) -> Chain<'a> {
        Chain {
            image,
            faults,
            salt: salt.to_vec(),
            iterations,
            names: Vec::new(),
            records: Vec::new(),
            types: Vec::new(),
            numbers: HashMap::new(),
            enclosing: Vec::new(),
            last: Vec::new(),
        }
    }

    /// Takes the next name of the zone.
    pub fn node(&mut self, node: &RawNode<'_, '_>, sets: &[SetRef<'_>]) {
        self.take_records(node, sets);
        if node.place() == Place::Occluded || !has_own_data(sets) {
            return;
        }
        let mut types = listed_types(node, sets);
        let delegation = node.place() == Place::Delegation;
        // A zone may have NSEC beside NSEC3 while it changes from one to the other.
        let has_nsec = data(sets, Rtype::NSEC).is_some();
        if has_nsec {
            types.push(Rtype::NSEC);
        }
        let insecure = delegation && !types.contains(&Rtype::DS);
        if !insecure || has_nsec {
            types.push(Rtype::RRSIG);
        }
        types.sort_unstable();
        self.take_enclosing(node.key, insecure);
        self.expect(node.wire(&mut NameBuf::default()), types, insecure);
        self.last.clear();
        self.last.extend_from_slice(node.key);
    }

    fn take_records(&mut self, node: &RawNode<'_, '_>, sets: &[SetRef<'_>]) {
        for set in sets.iter().filter(|s| s.rtype == Rtype::NSEC3) {
            // Two chains may meet in one hash, each with its record.
            for rdata in set.rdatas() {
                let data = Nsec3::parse(rdata).filter(|d| {
                    d.types.is_well_formed() && d.hash_algorithm == SHA1 && d.flags <= 1
                });
                let record = data.as_ref().and_then(|data| {
                    Some(Found {
                        hash: hash_of_key(node.key)?,
                        next: data.next_hash.try_into().ok()?,
                        opt_out: data.opt_out(),
                        types: data.types.0.into(),
                    })
                });
                let (Some(data), Some(record)) = (data, record) else {
                    self.fault(&node.name(), Problem::Nsec3Malformed);
                    continue;
                };
                if *data.salt == self.salt && data.iterations == self.iterations {
                    self.records.push(record);
                }
            }
        }
    }

    /// Notes the empty non-terminals that this name brings to light: its ancestors that the name before
    /// it does not share. (Had one of them data, it would have passed just before.)
    fn take_enclosing(&mut self, key: &[u8], optional: bool) {
        self.enclosing
            .retain(|(above, _)| key.starts_with(above) && key != above);
        let above = path(key).filter(|k| !k.is_empty() && k.len() < key.len());
        for above in above {
            if self.last.starts_with(above) {
                continue;
            }
            self.enclosing.push((above.to_vec(), self.names.len()));
            let mut room = NameBuf::default();
            let name = wire_of(above, self.image.apex(), &mut room).unwrap_or(&[0]);
            self.expect(name, Vec::new(), true);
        }
        if !optional {
            for (_, at) in &self.enclosing {
                self.names[*at].optional = false;
            }
        }
    }

    fn expect(&mut self, name: &[u8], types: Vec<Rtype>, optional: bool) {
        let number = match self.numbers.get(&types) {
            Some(number) => *number,
            None => {
                let number = self.types.len() as u32;
                self.types.push(types.clone());
                self.numbers.insert(types, number);
                number
            }
        };
        self.names.push(Expected {
            hash: nsec3_hash_wire(name, &self.salt, self.iterations),
            types: number,
            optional,
        });
    }

    /// Matches names and records; says whether any record has the opt-out flag.
    pub fn finish(mut self) -> bool {
        self.records.sort_unstable_by_key(|r| r.hash);
        self.names.sort_unstable_by_key(|n| n.hash);
        self.check_links();
        let mut wrong: Vec<(Hash, Problem)> = Vec::new();
        let mut next = 0;
        let mut used = vec![false; self.records.len()];
        for (i, name) in self.names.iter().enumerate() {
            if wrong.len() > FAULTS_MAX {
                break;
            }
            if i > 0 && self.names[i - 1].hash == name.hash {
                wrong.push((name.hash, Problem::Nsec3Collision));
            }
            // Both are in order.
            while self.records.get(next).is_some_and(|r| r.hash < name.hash) {
                next += 1;
            }
            match self.records.get(next).filter(|r| r.hash == name.hash) {
                Some(record) => {
                    used[next] = true;
                    wrong.extend(self.wrong_types(name, record).map(|p| (name.hash, p)));
                }
                None if name.optional && self.covering(next).is_some_and(|r| r.opt_out) => {}
                None => wrong.push((name.hash, Problem::Nsec3Missing(text(&name.hash)))),
            }
        }
        self.blame(wrong);
        for (record, _) in self.records.iter().zip(&used).filter(|(_, used)| !**used) {
            self.fault(&self.owner(&record.hash), Problem::Nsec3Stray);
        }
        self.records.iter().any(|r| r.opt_out)
    }

    /// Adds faults at names of which the hash is known: the names are hashed once more to tell which they are.
    fn blame(&self, wrong: Vec<(Hash, Problem)>) {
        if wrong.is_empty() {
            return;
        }
        let mut names: HashMap<Hash, Name> = HashMap::new();
        let sought: HashSet<Hash> = wrong.iter().map(|(hash, _)| *hash).collect();
        let mut nodes = self.image.raw_nodes();
        let mut last = Vec::new();
        while let Some(node) = nodes.advance() {
            for key in path(node.key).filter(|k| !last.starts_with(k) || k.is_empty()) {
                let mut room = NameBuf::default();
                let wire = wire_of(key, self.image.apex(), &mut room).unwrap_or(&[0]);
                let hash = nsec3_hash_wire(wire, &self.salt, self.iterations);
                if let Ok(name) = Name::from_wire(wire)
                    && sought.contains(&hash)
                {
                    names.insert(hash, name);
                }
            }
            last.clear();
            last.extend_from_slice(node.key);
        }
        for (hash, problem) in wrong {
            let owner = names.get(&hash).cloned();
            self.fault(&owner.unwrap_or_else(|| self.owner(&hash)), problem);
        }
    }

    fn check_links(&self) {
        for (i, record) in self.records.iter().enumerate() {
            let expected = self.records[(i + 1) % self.records.len()].hash;
            if record.next != expected {
                let problem = Problem::Nsec3Next {
                    found: text(&record.next),
                    expected: text(&expected),
                };
                self.fault(&self.owner(&record.hash), problem);
            }
        }
    }

    fn wrong_types(&self, name: &Expected, record: &Found) -> Option<Problem> {
        let (bitmap, types) = (
            TypeBitmap(&record.types),
            self.types.get(name.types as usize)?,
        );
        (!lists_exactly(bitmap, types)).then(|| Problem::Types {
            listed: words(bitmap.types()),
            present: words(types.iter().copied()),
        })
    }

    /// The record before this place in the circle.
    fn covering(&self, at: usize) -> Option<&Found> {
        let before = at.checked_sub(1).or(self.records.len().checked_sub(1))?;
        self.records.get(before)
    }

    fn owner(&self, hash: &Hash) -> Name {
        let apex = self.image.apex();
        let owner = apex.child(&hash_label(hash));
        owner.unwrap_or_else(|_| apex.clone())
    }

    fn fault(&self, name: &Name, problem: Problem) {
        self.faults.add(name, Some(Rtype::NSEC3), problem);
    }
}

fn text(hash: &Hash) -> String {
    String::from_utf8_lossy(&hash_label(hash)).into_owned()
}
