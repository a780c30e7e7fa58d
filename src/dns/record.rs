//! Records and RRsets in wire form.

use std::collections::{HashMap, HashSet};

use super::{Class, Name, Rtype};

/// RDATA, uncompressed (RFC 3597 section 4 forms).
pub type Rdata = Box<[u8]>;

/// One resource record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Owner name, case as received.
    pub name: Name,
    /// Type.
    pub rtype: Rtype,
    /// Class.
    pub class: Class,
    /// TTL in seconds; a value with the top bit set was read as 0 (RFC 2181 section 8).
    pub ttl: u32,
    /// Data, names in it uncompressed.
    pub rdata: Rdata,
}

/// An RRset of class IN with the signatures that cover it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RrSet {
    /// Owner name.
    pub name: Name,
    /// Type.
    pub rtype: Rtype,
    /// TTL in seconds: the lowest among the records (RFC 2181 section 5.2).
    pub ttl: u32,
    /// Data of each record, without duplicates, in order of arrival.
    pub rdatas: Vec<Rdata>,
    /// RDATA of the RRSIG records that cover this type.
    pub sigs: Vec<Rdata>,
}

impl RrSet {
    /// A set of one record without signatures.
    pub fn single(name: Name, rtype: Rtype, ttl: u32, rdata: Rdata) -> RrSet {
        RrSet {
            name,
            rtype,
            ttl,
            rdatas: vec![rdata],
            sigs: Vec::new(),
        }
    }

    /// The set's records in class IN; with `dnssec`, its RRSIGs after them.
    pub fn records(&self, dnssec: bool) -> impl Iterator<Item = Record> + '_ {
        let make = |rtype, rdata: &Rdata| Record {
            name: self.name.clone(),
            rtype,
            class: Class::IN,
            ttl: self.ttl,
            rdata: rdata.clone(),
        };
        let sigs: &[Rdata] = if dnssec { &self.sigs } else { &[] };
        (self.rdatas.iter().map(move |r| make(self.rtype, r)))
            .chain(sigs.iter().map(move |r| make(Rtype::RRSIG, r)))
    }
}

/// Gathers the records of a section into RRsets, in order of first appearance; each RRSIG goes to the
/// set that it covers. RRSIGs that cover nothing present come back as sets without `rdatas`, so that
/// nothing is lost. Records of another class than IN are left out.
pub fn group(records: &[Record]) -> Vec<RrSet> {
    let mut sets: Vec<RrSet> = Vec::new();
    let mut index = HashMap::new();
    // A message holds thousands of records of one set: looking through the list for each would let one
    // answer cost a second.
    let mut seen = HashSet::new();
    for r in records.iter().filter(|r| r.class == Class::IN) {
        let covered = match r.rtype {
            Rtype::RRSIG => match r.rdata.first_chunk::<2>() {
                Some(&b) => Rtype(u16::from_be_bytes(b)),
                None => continue,
            },
            other => other,
        };
        let at = *index.entry((&r.name, covered)).or_insert_with(|| {
            sets.push(RrSet {
                name: r.name.clone(),
                rtype: covered,
                ttl: r.ttl,
                rdatas: Vec::new(),
                sigs: Vec::new(),
            });
            sets.len() - 1
        });
        let set = &mut sets[at];
        set.ttl = set.ttl.min(r.ttl);
        let list = if r.rtype == Rtype::RRSIG {
            &mut set.sigs
        } else {
            &mut set.rdatas
        };
        // RFC 2181 section 5: duplicates within a set are one record.
        if seen.insert((at, r.rtype, &r.rdata)) {
            list.push(r.rdata.clone());
        }
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::{name, rrs};

    /// RFC 2181 section 5.2: differing TTLs within a set are an error, and the lowest counts.
    #[test]
    fn a_set_lives_as_long_as_its_shortest_record() {
        let records =
            rrs("a. 300 A 192.0.2.1\na. 60 A 192.0.2.2\na. 900 A 192.0.2.1\nb. 70 A 192.0.2.3");
        let sets = group(&records);
        let brief: Vec<_> = sets
            .iter()
            .map(|s| (&s.name, s.ttl, s.rdatas.len()))
            .collect();
        assert_eq!(brief, [(&name("a."), 60, 2), (&name("b."), 70, 1)]);
    }

    // RFC 2181 sections 5, 5.2 and 5.4.1: one set whatever the order, the case and the TTLs, each record once.
    #[test]
    fn records_become_sets() {
        let record = |name: &str, rtype, ttl, rdata: &[u8]| Record {
            name: name.parse().unwrap(),
            rtype,
            class: Class::IN,
            ttl,
            rdata: rdata.into(),
        };
        let (a, txt, sig) = (Rtype::A, Rtype::TXT, Rtype::RRSIG);
        let mut other_class = record("a.", a, 1, &[9]);
        other_class.class = Class(3);
        let sets = group(&[
            record("a.", a, 60, &[1]),
            record("b.", a, 60, &[1]),
            record("A.", a, 50, &[2]),
            record("a.", sig, 70, &[0, 1, 7]),
            record("a.", a, 60, &[1]),
            record("a.", sig, 40, &[0, 1, 7]),
            record("a.", txt, 60, &[0, 1, 7]),
            record("c.", sig, 60, &[0, 16]),
            record("c.", sig, 60, &[0]),
            other_class,
        ]);
        let set = |name: &str, rtype, ttl, rdatas: &[&[u8]], sigs: &[&[u8]]| RrSet {
            name: name.parse().unwrap(),
            rtype,
            ttl,
            rdatas: rdatas.iter().map(|&r| r.into()).collect(),
            sigs: sigs.iter().map(|&r| r.into()).collect(),
        };
        let expected = [
            set("a.", a, 40, &[&[1], &[2]], &[&[0, 1, 7]]),
            set("b.", a, 60, &[&[1]], &[]),
            set("a.", txt, 60, &[&[0, 1, 7]], &[]),
            set("c.", txt, 60, &[], &[&[0, 16]]),
        ];
        assert_eq!(sets, expected);
    }
}
