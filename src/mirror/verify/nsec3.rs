//! The NSEC3 chain of a whole zone (RFC 5155 section 7.1).
//!
//! Hashes stand in another order than names, so nothing can be said until all have passed: names are
//! hashed as they come, with the types that their record must list, and matched against the records at
//! the end. Names in between (empty non-terminals) have records too. A delegation without DS, and an
//! empty non-terminal that leads to nothing else, may be left out where the record that covers it has the
//! opt-out flag (section 6).

use super::nsec::words;
use super::{Faults, Problem, listed_types, lists_exactly};
use crate::dns::{Name, Rdata, Rtype, TypeBitmap};
use crate::dnssec::nsec3::{Hash, ITERATIONS_MAX, Nsec3Record, SHA1, hash_label, nsec3_hash};
use crate::zone::{Node, Place, ZoneImage};

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
            chains.push(Chain::new(apex, faults, salt, iterations));
        }
    }
    if unknown && chains.is_empty() {
        faults.add(apex, Some(Rtype::NSEC3PARAM), Problem::Nsec3Params);
    }
    chains
}

/// One chain: names and records with the same salt and iterations.
pub struct Chain<'a> {
    apex: &'a Name,
    faults: &'a Faults,
    salt: Vec<u8>,
    iterations: u16,
    names: Vec<Expected>,
    records: Vec<Found>,
    /// Empty non-terminals above the name that passed last, outermost first, by place in `names`.
    enclosing: Vec<(Name, usize)>,
    /// The name that passed last.
    last: Option<Name>,
}

/// A name that the chain must have.
struct Expected {
    hash: Hash,
    name: Name,
    types: Vec<Rtype>,
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
    fn new(apex: &'a Name, faults: &'a Faults, salt: &[u8], iterations: u16) -> Chain<'a> {
        Chain {
            apex,
            faults,
            salt: salt.to_vec(),
            iterations,
            names: Vec::new(),
            records: Vec::new(),
            enclosing: Vec::new(),
            last: None,
        }
    }

    /// Takes the next name of the zone.
    pub fn node(&mut self, node: &Node) {
        self.take_records(node);
        let own = (node.sets.iter()).any(|s| s.rtype != Rtype::NSEC3 && !s.rdatas.is_empty());
        if node.place == Place::Occluded || !own {
            return;
        }
        let mut types = listed_types(node);
        let delegation = node.place == Place::Delegation;
        // A zone may have NSEC beside NSEC3 while it changes from one to the other.
        let has = |rtype| (node.sets.iter()).any(|s| s.rtype == rtype && !s.rdatas.is_empty());
        if has(Rtype::NSEC) {
            types.push(Rtype::NSEC);
        }
        let insecure = delegation && !has(Rtype::DS);
        if !insecure || has(Rtype::NSEC) {
            types.push(Rtype::RRSIG);
        }
        types.sort_unstable();
        self.take_enclosing(&node.name, insecure);
        self.expect(&node.name, types, insecure);
        self.last = Some(node.name.clone());
    }

    fn take_records(&mut self, node: &Node) {
        for set in node.sets.iter().filter(|s| s.rtype == Rtype::NSEC3) {
            // Two chains may meet in one hash, each with its record.
            for rdata in &set.rdatas {
                let mut one = set.clone();
                one.rdatas = vec![rdata.clone()];
                let Some(record) = Nsec3Record::of(&one, self.apex) else {
                    self.fault(&set.name, Problem::Nsec3Malformed);
                    continue;
                };
                if record.data.salt != self.salt || record.data.iterations != self.iterations {
                    continue;
                }
                self.records.push(Found {
                    hash: record.hash,
                    next: record.next,
                    opt_out: record.data.opt_out(),
                    types: record.data.types.0.into(),
                });
            }
        }
    }

    /// Notes the empty non-terminals that this name brings to light: its ancestors that the name before
    /// it does not share. (Had one of them data, it would have passed just before.)
    fn take_enclosing(&mut self, name: &Name, optional: bool) {
        self.enclosing.retain(|(above, _)| name.is_below(above));
        let shared = match &self.last {
            Some(last) => last.common_ancestor(name).label_count(),
            None => name.label_count(),
        };
        let shared = shared.max(self.apex.label_count());
        for labels in shared + 1..name.label_count() {
            let above = name.suffix(labels);
            self.enclosing.push((above.clone(), self.names.len()));
            self.expect(&above, Vec::new(), true);
        }
        if !optional {
            for (_, at) in &self.enclosing {
                self.names[*at].optional = false;
            }
        }
    }

    fn expect(&mut self, name: &Name, types: Vec<Rtype>, optional: bool) {
        self.names.push(Expected {
            hash: nsec3_hash(name, &self.salt, self.iterations),
            name: name.clone(),
            types,
            optional,
        });
    }

    /// Matches names and records; says whether any record has the opt-out flag.
    pub fn finish(mut self) -> bool {
        self.records.sort_by_key(|r| r.hash);
        self.names.sort_by_key(|n| n.hash);
        self.check_links();
        let mut used = vec![false; self.records.len()];
        for (i, name) in self.names.iter().enumerate() {
            if i > 0 && self.names[i - 1].hash == name.hash {
                self.fault(&name.name, Problem::Nsec3Collision);
            }
            match self.records.binary_search_by_key(&name.hash, |r| r.hash) {
                Ok(at) => {
                    used[at] = true;
                    self.check_types(name, &self.records[at]);
                }
                Err(at) if name.optional && self.covering(at).is_some_and(|r| r.opt_out) => {}
                Err(_) => {
                    let problem = Problem::Nsec3Missing(text(&name.hash));
                    self.fault(&name.name, problem);
                }
            }
        }
        for (record, _) in self.records.iter().zip(&used).filter(|(_, used)| !**used) {
            self.fault(&self.owner(&record.hash), Problem::Nsec3Stray);
        }
        self.records.iter().any(|r| r.opt_out)
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

    fn check_types(&self, name: &Expected, record: &Found) {
        let bitmap = TypeBitmap(&record.types);
        if !lists_exactly(bitmap, &name.types) {
            let problem = Problem::Types {
                listed: words(bitmap.types()),
                present: words(name.types.iter().copied()),
            };
            self.fault(&name.name, problem);
        }
    }

    /// The record before this place in the circle.
    fn covering(&self, at: usize) -> Option<&Found> {
        let before = at.checked_sub(1).or(self.records.len().checked_sub(1))?;
        self.records.get(before)
    }

    fn owner(&self, hash: &Hash) -> Name {
        let owner = self.apex.child(&hash_label(hash));
        owner.unwrap_or_else(|_| self.apex.clone())
    }

    fn fault(&self, name: &Name, problem: Problem) {
        self.faults.add(name, Some(Rtype::NSEC3), problem);
    }
}

fn text(hash: &Hash) -> String {
    String::from_utf8_lossy(&hash_label(hash)).into_owned()
}
