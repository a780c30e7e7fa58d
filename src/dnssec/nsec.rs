//! What one NSEC record says (RFC 4034 section 4): which types its owner has, and that no name of the
//! zone stands between its owner and the next.

use std::cmp::Ordering;

use crate::dns::{Name, Nsec, RrSet, Rtype, TypeBitmap};

/// An NSEC record with its owner, borrowed.
#[derive(Debug, Clone)]
pub struct NsecRecord<'a> {
    /// Owner name.
    pub owner: &'a Name,
    /// Next name and types.
    pub data: Nsec<'a>,
}

impl<'a> NsecRecord<'a> {
    /// The one NSEC record of a set; `None` if the set is none, is damaged or has several.
    pub fn of(set: &'a RrSet) -> Option<NsecRecord<'a>> {
        match &set.rdatas[..] {
            [rdata] if set.rtype == Rtype::NSEC => Some(NsecRecord {
                owner: &set.name,
                data: Nsec::parse(rdata).filter(|d| d.types.is_well_formed())?,
            }),
            _ => None,
        }
    }

    /// Whether this is the record of that name.
    pub fn matches(&self, name: &Name) -> bool {
        self.owner == name
    }

    /// Whether `name`, a name within the zone, stands in the gap and so does not exist. A name above the
    /// next one exists as an empty non-terminal (RFC 4592 section 2.2.2) and is not covered. The caller
    /// makes sure that a delegation's record (see [`NsecRecord::is_delegation`]) is not taken to speak
    /// about names below it.
    pub fn covers(&self, name: &Name) -> bool {
        covers(self.owner, &self.data.next, name) && !self.data.next.is_within(name)
    }

    /// Whether `name` is an empty non-terminal by this record: in the gap, with the next name below it.
    pub fn proves_empty(&self, name: &Name) -> bool {
        covers(self.owner, &self.data.next, name) && self.data.next.is_below(name)
    }

    /// The types at the owner.
    pub fn types(&self) -> TypeBitmap<'a> {
        self.data.types
    }

    /// Whether the record is the parent's side of a zone cut (NS without SOA), or the owner of a DNAME:
    /// it says nothing about names below its owner (RFC 6840 section 4.1).
    pub fn is_delegation(&self) -> bool {
        let has = |rtype| self.data.types.contains(rtype);
        has(Rtype::DNAME) || (has(Rtype::NS) && !has(Rtype::SOA))
    }

    /// The closest encloser of a covered name: the deepest of its ancestors that this record shows to
    /// exist.
    pub fn closest_encloser(&self, name: &Name) -> Name {
        let by_owner = name.common_ancestor(self.owner);
        let by_next = name.common_ancestor(&self.data.next);
        match by_owner.label_count().cmp(&by_next.label_count()) {
            Ordering::Less => by_next,
            _ => by_owner,
        }
    }
}

/// Whether `name` stands strictly between `owner` and `next` in the circle of canonical order. The last
/// record of a zone has the apex as next; a zone with one name has the owner itself.
pub fn covers(owner: &Name, next: &Name, name: &Name) -> bool {
    match owner.cmp(next) {
        Ordering::Less => owner < name && name < next,
        _ => owner < name || name < next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::rdata::type_bitmap;
    use crate::signer::name;

    fn nsec(owner: &str, next: &str, types: &[Rtype]) -> RrSet {
        let rdata = [name(next).wire(), &type_bitmap(types)].concat();
        RrSet::single(name(owner), Rtype::NSEC, 60, rdata.into())
    }

    #[test]
    fn gaps_are_open_at_both_ends() {
        for (owner, next, asked, covered) in [
            ("a.example.", "d.example.", "b.example.", true),
            ("a.example.", "d.example.", "a.example.", false),
            ("a.example.", "d.example.", "d.example.", false),
            ("a.example.", "d.example.", "x.a.example.", true),
            ("a.example.", "d.example.", "x.d.example.", false),
            ("a.example.", "d.example.", "B.EXAMPLE.", true),
            // The last record of the zone.
            ("d.example.", "example.", "e.example.", true),
            ("d.example.", "example.", "b.example.", false),
            ("d.example.", "example.", "example.", false),
            // The only one.
            ("example.", "example.", "a.example.", true),
            ("example.", "example.", "example.", false),
            // An empty non-terminal on the way to the next name exists.
            ("a.example.", "x.c.example.", "c.example.", false),
            ("a.example.", "x.c.example.", "b.example.", true),
        ] {
            let set = nsec(owner, next, &[Rtype::A]);
            let record = NsecRecord::of(&set).unwrap();
            assert_eq!(record.covers(&name(asked)), covered, "{owner} {asked}");
        }
        let set = nsec("a.example.", "x.c.example.", &[Rtype::A]);
        let record = NsecRecord::of(&set).unwrap();
        assert!(record.proves_empty(&name("c.example.")));
        assert!(!record.proves_empty(&name("b.example.")));
        assert!(!record.proves_empty(&name("x.c.example.")));
    }

    #[test]
    fn types_and_zone_cuts() {
        for (types, delegation) in [
            (&[Rtype::NS, Rtype::DS][..], true),
            (&[Rtype::NS, Rtype::SOA], false),
            (&[Rtype::DNAME], true),
            (&[Rtype::A], false),
        ] {
            let set = nsec("a.example.", "d.example.", types);
            let record = NsecRecord::of(&set).unwrap();
            assert_eq!(record.is_delegation(), delegation, "{types:?}");
            assert!(record.types().contains(types[0]));
            assert!(record.matches(&name("A.example.")));
        }
    }

    #[test]
    fn closest_encloser_is_the_deeper_of_two() {
        let set = nsec("a.b.example.", "x.y.example.", &[Rtype::A]);
        let record = NsecRecord::of(&set).unwrap();
        for (asked, encloser) in [
            ("c.b.example.", "b.example."),
            ("c.y.example.", "y.example."),
            ("m.example.", "example."),
            ("q.a.b.example.", "a.b.example."),
        ] {
            assert_eq!(record.closest_encloser(&name(asked)), name(encloser));
        }
    }

    #[test]
    fn odd_sets_are_no_nsec_record() {
        let one = nsec("a.example.", "d.example.", &[Rtype::A]);
        let mut several = one.clone();
        several.rdatas.push(several.rdatas[0].clone());
        let mut damaged = one.clone();
        damaged.rdatas[0] = [name("d.example.").wire(), &[0, 40]].concat().into();
        let mut other = one;
        other.rtype = Rtype::A;
        for set in [several, damaged, other] {
            assert!(NsecRecord::of(&set).is_none());
        }
    }
}
