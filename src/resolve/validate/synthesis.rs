//! Answers made from what was validated before (RFC 8198 section 5).
//!
//! The records come from `ranges`, what they prove says `denial`, by the same rules as for an answer that a server gave: so
//! nothing can be made here that would not have validated. What is left is to find the two or three records that a proof
//! needs, and to put the answer together as the zone's server would have.
//!
//! | section | answer | made from |
//! |---|---|---|
//! | 5.1, 5.2 | NXDOMAIN | the gap of the name (or the closest encloser's record and the gap of the next closer name), the gap of the wildcard, SOA |
//! | 5.1, 5.2 | NODATA | the record of the name, SOA |
//! | 5.3 | wildcard, or its NODATA | the gap of the name (of the next closer name), the wildcard's set or record |
//!
//! When the zone cannot be reached, a wildcard is expanded by records that have run out too; they deny nothing.
//!
//! An opt-out gap proves nothing that could be used here (RFC 5155 section 6).
//!
//! Failure: no answer; then the zone is asked.

use std::collections::HashMap;

use super::denial::{Claim, Denial, Proof};
use super::ranges::{At, Chain, HASH_ROUNDS_MAX, Held, Zone, before};
use crate::cache::entry::{follows_alias, shares_alias};
use crate::dns::{Name, Question, Rcode, RrSet, Rtype, TypeBitmap};
use crate::dnssec::nsec::NsecRecord;
use crate::dnssec::nsec3::{Hash, Nsec3Record, nsec3_hash};

/// An answer as the zone's server would have given it; every TTL is what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synthesised {
    /// The zone that it speaks for.
    pub zone: Name,
    /// NOERROR or NXDOMAIN.
    pub rcode: Rcode,
    /// The set that a wildcard expands to, or nothing.
    pub answer: Vec<RrSet>,
    /// SOA and proofs of a denial, the proof of a wildcard.
    pub authority: Vec<RrSet>,
}

/// The records that may prove something of a name.
struct Evidence {
    /// Those that show whether the name, or what encloses it, exists.
    of_name: Vec<RrSet>,
    /// Those about the wildcard that would stand for it, when it does not exist.
    of_wildcard: Vec<RrSet>,
    /// The parent of that wildcard, unless its record says that the wildcard is not there or lacks the type. Such a record is
    /// newer than the wildcard's set, which would have driven it out.
    expands_from: Option<Name>,
}

impl Zone {
    /// What this zone, with this apex, is known to answer.
    pub(super) fn answer(&self, apex: &Name, question: &Question, at: &At) -> Option<Synthesised> {
        let mut hashes = Hashes::default();
        let (name, rtype) = (&question.name, question.rtype);
        let evidence = match &self.chain {
            Chain::Empty => return None,
            Chain::Nsec(records) => {
                let last = |name: &Name| records.range(..=name.clone()).next_back().map(|(_, h)| h);
                nsec_evidence(last, question, at)?
            }
            Chain::Nsec3 { .. } => self.nsec3_evidence(apex, question, &mut hashes, at)?,
        };
        let mut proves = |sets: &[RrSet], claim: Claim| {
            let denial = match &self.chain {
                Chain::Nsec(_) => Denial::nsec(sets, apex)?,
                _ => Denial::nsec3(sets, apex)?,
            };
            let mut hasher =
                |name: &Name, iterations: u16, salt: &[u8]| hashes.of(name, salt, iterations);
            denial.prove(apex, name, claim, &mut hasher)
        };
        if let Some(encloser) = &evidence.expands_from
            && let Some(set) = self.wildcard_set(encloser, question, at)
        {
            let proof = proves(&evidence.of_name, Claim::Expansion(encloser.label_count()));
            return (proof == Some(Proof::Expansion)).then(|| Synthesised {
                zone: apex.clone(),
                rcode: Rcode::NOERROR,
                answer: vec![RrSet {
                    name: name.clone(),
                    ..set
                }],
                authority: evidence.of_name,
            });
        }
        // What has run out denies nothing: a name may have come since.
        if at.takes_run_out() {
            return None;
        }
        let soa = self.soa.as_ref()?.at(at)?;
        let mut sets = evidence.of_name;
        for set in evidence.of_wildcard {
            if !sets.iter().any(|s| s.name == set.name) {
                sets.push(set);
            }
        }
        let claims = [
            (Claim::NoData(rtype), Rcode::NOERROR),
            (Claim::NxDomain, Rcode::NXDOMAIN),
        ];
        let rcode = claims.into_iter().find_map(|(claim, rcode)| {
            let proven = proves(&sets, claim).filter(|proof| *proof != Proof::OptOut);
            proven.map(|_| rcode)
        })?;
        Some(Synthesised {
            zone: apex.clone(),
            rcode,
            answer: Vec::new(),
            authority: std::iter::once(soa).chain(sets).collect(),
        })
    }

    /// The wildcard's set for the question, or its alias.
    fn wildcard_set(&self, encloser: &Name, question: &Question, at: &At) -> Option<RrSet> {
        let wildcard = encloser.wildcard().ok()?;
        let set = |rtype| {
            let held = self.wildcards.get(&(wildcard.clone(), rtype))?;
            held.at(at)
        };
        set(question.rtype).or_else(|| match shares_alias(question.rtype) {
            true => set(Rtype::CNAME),
            false => None,
        })
    }

    fn nsec3_evidence(
        &self,
        apex: &Name,
        question: &Question,
        hashes: &mut Hashes,
        at: &At,
    ) -> Option<Evidence> {
        let name = &question.name;
        let Chain::Nsec3 {
            iterations,
            salt,
            records,
        } = &self.chain
        else {
            return None;
        };
        let mut hash = |name: &Name| hashes.of(name, salt, *iterations);
        let matching = |hash: &Hash| records.get(hash).and_then(|held| held.at(at));
        let around = |hash: &Hash| before(records, hash).and_then(|(_, held)| held.at(at));
        if let Some(own) = matching(&hash(name)?) {
            return Some(Evidence::of(own));
        }
        for labels in (apex.label_count()..name.label_count()).rev() {
            let encloser = name.suffix(labels);
            let own = matching(&hash(&encloser)?);
            // An expansion proves its closest encloser by itself (RFC 5155 section 8.8).
            let wildcard = encloser.wildcard().ok()?;
            if own.is_none() && !self.knows_wildcard(&wildcard) {
                continue;
            }
            let cover = around(&hash(&name.suffix(labels + 1))?)?;
            let wildcard = hash(&wildcard)?;
            let record = matching(&wildcard).or_else(|| around(&wildcard));
            let lacks = record.as_ref().is_some_and(|set| {
                let record = Nsec3Record::of(set, apex);
                let has = |r: &Nsec3Record<'_>| has(r.data.types, question.rtype);
                record.is_some_and(|r| r.covers(&wildcard) || (r.matches(&wildcard) && !has(&r)))
            });
            return Some(Evidence {
                of_name: vec![cover],
                of_wildcard: own.into_iter().chain(record).collect(),
                expands_from: (!lacks).then_some(encloser),
            });
        }
        None
    }
}

impl Evidence {
    /// The name's own record.
    fn of(own: RrSet) -> Evidence {
        Evidence {
            of_name: vec![own],
            of_wildcard: Vec::new(),
            expands_from: None,
        }
    }
}

/// `last` finds the record of a name, or the last one before it.
fn nsec_evidence<'h>(
    last: impl Fn(&Name) -> Option<&'h Held>,
    question: &Question,
    at: &At,
) -> Option<Evidence> {
    let name = &question.name;
    let held = last(name)?;
    let record = NsecRecord::of(held.set())?;
    if record.matches(name) || record.proves_empty(name) {
        return Some(Evidence::of(held.at(at)?));
    }
    if !record.covers(name) {
        return None;
    }
    let encloser = record.closest_encloser(name);
    let wildcard = encloser.wildcard().ok()?;
    let of_wildcard = last(&wildcard).and_then(|held| held.at(at));
    let lacks = of_wildcard.as_ref().is_some_and(|set| {
        let has = |r: &NsecRecord<'_>| has(r.types(), question.rtype);
        NsecRecord::of(set)
            .is_some_and(|r| r.covers(&wildcard) || (r.matches(&wildcard) && !has(&r)))
    });
    Some(Evidence {
        of_name: vec![held.at(at)?],
        of_wildcard: of_wildcard.into_iter().collect(),
        expands_from: (!lacks).then_some(encloser),
    })
}

/// Whether a wildcard with these types answers a question for `rtype`.
fn has(types: TypeBitmap<'_>, rtype: Rtype) -> bool {
    types.contains(rtype) || (follows_alias(rtype) && types.contains(Rtype::CNAME))
}

/// Hashes of one search, each computed once; their number of rounds is bounded.
#[derive(Default)]
struct Hashes {
    known: HashMap<Name, Hash>,
    rounds: usize,
}

impl Hashes {
    fn of(&mut self, name: &Name, salt: &[u8], iterations: u16) -> Option<Hash> {
        if let Some(hash) = self.known.get(name) {
            return Some(*hash);
        }
        self.rounds += usize::from(iterations) + 1;
        if self.rounds > HASH_ROUNDS_MAX {
            return None;
        }
        let hash = nsec3_hash(name, salt, iterations);
        self.known.insert(name.clone(), hash);
        Some(hash)
    }
}
