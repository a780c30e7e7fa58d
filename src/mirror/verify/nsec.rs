//! The NSEC chain of a whole zone (RFC 4034 section 4, RFC 4035 section 2.3): every name of the zone
//! has one record, it lists exactly the name's types, and it names the next one; the last names the apex.

use super::{Faults, Problem, data, has_own_data, listed_types, lists_exactly};
use crate::dns::{Name, Rtype};
use crate::dnssec::nsec::NsecRecord;
use crate::zone::{Place, RawNode, SetRef};

/// Follows the chain as the names pass by in canonical order.
pub struct Chain<'a> {
    apex: &'a Name,
    faults: &'a Faults,
    /// The last name, and what its record names as next.
    last: Option<(Name, Name)>,
}

impl<'a> Chain<'a> {
    /// A chain that begins at `apex`.
    pub fn new(apex: &'a Name, faults: &'a Faults) -> Chain<'a> {
        Chain {
            apex,
            faults,
            last: None,
        }
    }

    /// Takes the next name of the zone.
    pub fn node(&mut self, node: &RawNode<'_, '_>, sets: &[SetRef<'_>]) {
        if node.place() == Place::Occluded || !has_own_data(sets) {
            return;
        }
        let name = node.name();
        self.expect_next(&name);
        self.last = None;
        let Some(set) = data(sets, Rtype::NSEC) else {
            return self.fault(&name, Problem::NsecMissing);
        };
        let set = set.to_rrset(name.clone());
        let Some(record) = NsecRecord::of(&set) else {
            return self.fault(&name, Problem::NsecMalformed);
        };
        let mut present = listed_types(node, sets);
        present.extend([Rtype::NSEC, Rtype::RRSIG]);
        present.sort_unstable();
        if !lists_exactly(record.types(), &present) {
            let problem = Problem::Types {
                listed: words(record.types().types()),
                present: words(present),
            };
            self.fault(&name, problem);
        }
        self.last = Some((name, record.data.next));
    }

    /// The chain must close.
    pub fn finish(mut self) {
        self.expect_next(self.apex);
    }

    fn expect_next(&mut self, name: &Name) {
        if let Some((owner, found)) = self.last.take().filter(|(_, next)| next != name) {
            let expected = name.clone();
            let problem = Problem::NsecNext { found, expected };
            self.faults.add(&owner, Some(Rtype::NSEC), problem);
        }
    }

    fn fault(&self, name: &Name, problem: Problem) {
        self.faults.add(name, Some(Rtype::NSEC), problem);
    }
}

/// Types in words.
pub fn words(types: impl IntoIterator<Item = Rtype>) -> String {
    let types: Vec<String> = types.into_iter().map(|t| t.to_string()).collect();
    types.join(" ")
}
