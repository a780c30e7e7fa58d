//! One zone's word on one question, the slow way: RFC 1034 section 4.3.2 over plain maps.

use holdfast::dns::{Name, Rdata, Rtype, rdata};

use crate::publish::{Facts, Set};

/// An RRset of an answer.
#[derive(Debug, Clone)]
pub struct Given {
    pub owner: Name,
    pub rtype: Rtype,
    pub set: Set,
}

/// What the zone says.
#[derive(Debug, Clone)]
pub struct Found {
    pub kind: Kind,
    pub answer: Vec<Given>,
    /// Where the data stands; another name than the one asked for when it comes from a wildcard.
    pub source: Option<(Name, Rtype)>,
    pub wildcard: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Answer,
    Alias(Name),
    /// The zone below knows.
    Referral,
    NoData,
    NxDomain,
    TooLong,
}

impl Found {
    fn none(kind: Kind, wildcard: bool) -> Found {
        Found {
            kind,
            answer: Vec::new(),
            source: None,
            wildcard,
        }
    }
}

impl Facts {
    /// What the zone says of a name in it.
    pub fn find(&self, name: &Name, rtype: Rtype) -> Found {
        for labels in self.apex.label_count()..=name.label_count() {
            let here = name.suffix(labels);
            let whole = here == *name;
            let cut = here != self.apex && self.set(&here, Rtype::NS).is_some();
            if cut && !(whole && rtype == Rtype::DS) {
                return Found::none(Kind::Referral, false);
            }
            if let (Some(dname), false) = (self.set(&here, Rtype::DNAME), whole) {
                return through_dname(name, rtype, &here, dname);
            }
            if !self.exists(&here) {
                // RFC 4592 section 3.3.1: `here` is the next closer name, what is above it the closest encloser.
                let encloser = name.suffix(labels - 1);
                let wildcard = encloser.wildcard().unwrap();
                return match self.exists(&wildcard) {
                    true => self.at(&wildcard, name, rtype),
                    false => Found::none(Kind::NxDomain, false),
                };
            }
        }
        self.at(name, name, rtype)
    }

    /// A name exists if it or anything below it has data (RFC 8020, RFC 4592 section 2.2.2).
    pub fn exists(&self, name: &Name) -> bool {
        self.data.keys().any(|n| n.is_within(name))
    }

    /// Data that stands at `source`, given out under the name `asked`.
    fn at(&self, source: &Name, asked: &Name, rtype: Rtype) -> Found {
        let wildcard = source != asked;
        let given = |rtype: Rtype, set: &Set| Given {
            owner: asked.clone(),
            rtype,
            set: set.clone(),
        };
        if let Some(set) = self.set(source, rtype) {
            return Found {
                kind: Kind::Answer,
                answer: vec![given(rtype, set)],
                source: Some((source.clone(), rtype)),
                wildcard,
            };
        }
        let alias = self.set(source, Rtype::CNAME);
        if let Some(set) = alias {
            return Found {
                kind: Kind::Alias(rdata::single_name(&set.1[0]).unwrap()),
                answer: vec![given(Rtype::CNAME, set)],
                source: Some((source.clone(), Rtype::CNAME)),
                wildcard,
            };
        }
        Found::none(Kind::NoData, wildcard)
    }

    /// Whether the zone's NSEC3 chain has a record for a name that exists: with opt-out not for unsigned
    /// delegations, nor for what exists only above them (RFC 5155 section 7.1).
    pub fn is_hashed(&self, name: &Name) -> bool {
        let signed_here = |n: &Name| {
            let cut = *n != self.apex && self.set(n, Rtype::NS).is_some();
            !cut || self.set(n, Rtype::DS).is_some()
        };
        let occluded = |n: &Name| {
            let above = (self.apex.label_count() + 1..n.label_count()).map(|k| n.suffix(k));
            let mut above = above.filter(|up| *up != *n);
            above.any(|up| self.set(&up, Rtype::NS).is_some())
        };
        let below = self.data.keys().filter(|n| n.is_within(name));
        below.filter(|n| !occluded(n)).any(signed_here)
    }
}

/// RFC 6672 section 3.2.
fn through_dname(name: &Name, rtype: Rtype, owner: &Name, dname: &Set) -> Found {
    let given = Given {
        owner: owner.clone(),
        rtype: Rtype::DNAME,
        set: dname.clone(),
    };
    let target = rdata::single_name(&dname.1[0]).unwrap();
    let source = Some((owner.clone(), Rtype::DNAME));
    match name.replace_suffix(owner, &target) {
        Ok(Some(to)) => {
            let made: Vec<Rdata> = vec![to.wire().into()];
            let cname = Given {
                owner: name.clone(),
                rtype: Rtype::CNAME,
                set: (dname.0, made),
            };
            Found {
                kind: if rtype == Rtype::CNAME {
                    Kind::Answer
                } else {
                    Kind::Alias(to)
                },
                answer: vec![given, cname],
                source,
                wildcard: false,
            }
        }
        _ => Found {
            kind: Kind::TooLong,
            answer: vec![given],
            source,
            wildcard: false,
        },
    }
}
