//! One question put to one zone: RFC 1034 section 4.3.2 for one zone and one step, with DNSSEC.
//!
//! ```text
//! walk down from the apex towards the name asked for:
//!   a zone cut (DS questions: above the name)  -> Referral   NS, DS or its denial, glue
//!   a DNAME above the name                     -> Alias      DNAME and the CNAME made from it
//!   the name itself                            -> Answer, Alias (CNAME) or NoData
//!   an end without the name                    -> the wildcard there: Answer, Alias or NoData
//!                                              -> no wildcard: NxDomain
//! ```
//! The walk costs one search per existing label; nothing depends on the size of the zone otherwise.
//! Proofs are always put in; who writes the reply leaves them out for clients without DO.

use super::block::{Body, SetRef};
use super::denial::Prover;
use super::image::{Place, ZoneImage, signatures};
use super::key::{key_of, path};
use super::{Lookup, LookupKind};
use crate::dns::{Name, RrSet, Rtype, rdata};

/// Name servers of one NS set whose addresses are looked up for the additional section.
pub const GLUE_SERVERS_MAX: usize = 64;

impl ZoneImage {
    /// What the zone says to a question for `name` and `rtype`.
    pub fn lookup(&self, name: &Name, rtype: Rtype) -> Lookup {
        let damage = self.damage();
        let found = self.walk(name, rtype);
        // What could not be read looked as if it were not there.
        match self.damage() == damage {
            true => found,
            false => Lookup::new(LookupKind::Unreadable),
        }
    }

    /// Whether [`ZoneImage::lookup`] would say no more than a referral, without making it.
    pub fn has_cut(&self, name: &Name, rtype: Rtype) -> bool {
        let Some(key) = key_of(name, self.apex()) else {
            return false;
        };
        let names = self.names();
        for step in path(&key) {
            let at_name = step.len() == key.len();
            let spot = names.locate(step);
            match spot.before.filter(|e| e.key == step).map(|e| e.body) {
                Some(body) if body.place() == Place::Delegation => {
                    return !(at_name && rtype == Rtype::DS);
                }
                // What is below it is made of it.
                Some(body) if body.data(Rtype::DNAME).is_some() => return false,
                Some(_) => {}
                None if spot.after.is_some_and(|e| e.key.starts_with(step)) => {}
                None => return false,
            }
        }
        false
    }

    fn walk(&self, name: &Name, rtype: Rtype) -> Lookup {
        let Some(key) = key_of(name, self.apex()) else {
            return Lookup::new(LookupKind::OutOfZone);
        };
        let apex_labels = self.apex().label_count();
        let names = self.names();
        for (depth, step) in path(&key).enumerate() {
            let here = || name.suffix(apex_labels + depth);
            let at_name = step.len() == key.len();
            let spot = names.locate(step);
            let node = spot.before.filter(|e| e.key == step).map(|e| e.body);
            match node {
                Some(body)
                    if body.place() == Place::Delegation && !(at_name && rtype == Rtype::DS) =>
                {
                    return self.referral(here(), body);
                }
                Some(body) if at_name => return self.at_node(name, rtype, body),
                Some(body) => {
                    if let Some(set) = body.data(Rtype::DNAME) {
                        return self.through_dname(name, rtype, set.to_rrset(here()));
                    }
                }
                // An empty non-terminal: something follows that is below it.
                None if spot.after.is_some_and(|e| e.key.starts_with(step)) => {
                    if at_name {
                        return self.no_data(|p| p.no_data(name));
                    }
                }
                None => {
                    return self.below_encloser(name, rtype, &name.suffix(apex_labels + depth - 1));
                }
            }
        }
        // The last step of the path is the name itself and has returned.
        Lookup::new(LookupKind::NxDomain)
    }

    /// The name exists.
    fn at_node(&self, name: &Name, rtype: Rtype, body: Body<'_>) -> Lookup {
        self.answer_from(name, rtype, body)
            .unwrap_or_else(|| self.no_data(|p| p.no_data(name)))
    }

    /// The name does not exist; `encloser` is the deepest ancestor that does.
    fn below_encloser(&self, name: &Name, rtype: Rtype, encloser: &Name) -> Lookup {
        let wildcard = encloser.wildcard().ok();
        let Some(key) = wildcard.and_then(|w| key_of(&w, self.apex())) else {
            return self.negative(LookupKind::NxDomain, |p| p.no_name(name, encloser));
        };
        let spot = self.names().locate(&key);
        let node = spot.before.filter(|e| e.key == key);
        // RFC 4592 section 2.2.1: a wildcard that is an empty non-terminal exists, too.
        if node.is_none() && !spot.after.is_some_and(|e| e.key.starts_with(&key)) {
            return self.negative(LookupKind::NxDomain, |p| p.no_name(name, encloser));
        }
        match node.and_then(|e| self.answer_from(name, rtype, e.body)) {
            Some(mut found) => {
                Prover::new(self, &mut found.authority).by_wildcard(name, encloser);
                found.made_from(encloser)
            }
            None => (self.no_data(|p| p.wildcard_no_data(name, encloser))).made_from(encloser),
        }
    }

    /// The sets of a node that answer the question, under the owner `name`.
    fn answer_from(&self, name: &Name, rtype: Rtype, body: Body<'_>) -> Option<Lookup> {
        let own = |set: SetRef<'_>| set.to_rrset(name.clone());
        let mut found = Lookup::new(LookupKind::Answer);
        match rtype {
            Rtype::ANY => found.answer = body.sets().filter(|s| s.records > 0).map(own).collect(),
            Rtype::RRSIG => {
                found.answer = signatures(name.clone(), body.sets().map(own).collect())
                    .into_iter()
                    .collect();
            }
            _ => found.answer = body.data(rtype).map(own).into_iter().collect(),
        }
        if found.answer.is_empty() {
            let cname = body.data(Rtype::CNAME).filter(|_| rtype != Rtype::NSEC)?;
            let target = cname.rdatas().next().and_then(rdata::single_name)?;
            found.kind = LookupKind::Alias(target);
            found.answer.push(own(cname));
        }
        if rtype == Rtype::NS {
            // Addresses beside the NS set make priming one exchange (RFC 9609 section 4.2).
            found.additional = found.answer.first().map_or(Vec::new(), |ns| self.glue(ns));
        }
        Some(found)
    }

    /// RFC 6672 section 3.2, step 3C.
    fn through_dname(&self, name: &Name, rtype: Rtype, dname: RrSet) -> Lookup {
        let mut found = Lookup::new(LookupKind::NxDomain);
        let Some(target) = dname.rdatas.first().and_then(|d| rdata::single_name(d)) else {
            return found;
        };
        match name.replace_suffix(&dname.name, &target) {
            Ok(Some(alias)) => {
                let cname =
                    RrSet::single(name.clone(), Rtype::CNAME, dname.ttl, alias.wire().into());
                // The CNAME made here answers a question for it, as one in the zone would.
                found.kind = match rtype {
                    Rtype::CNAME | Rtype::ANY => LookupKind::Answer,
                    _ => LookupKind::Alias(alias),
                };
                found.answer = vec![dname, cname];
            }
            Ok(None) | Err(_) => {
                found.kind = LookupKind::TooLong;
                found.answer.push(dname);
            }
        }
        found
    }

    fn referral(&self, cut: Name, body: Body<'_>) -> Lookup {
        let mut found = Lookup::new(LookupKind::Referral(cut.clone()));
        if let Some(ns) = body.data(Rtype::NS) {
            let ns = ns.to_rrset(cut.clone());
            found.additional = self.glue(&ns);
            found.authority.push(ns);
        }
        match body.data(Rtype::DS) {
            Some(ds) => found.authority.push(ds.to_rrset(cut)),
            None => Prover::new(self, &mut found.authority).no_ds(&cut),
        }
        found
    }

    /// Addresses that the zone has of the name servers in an NS set, its own data and glue alike.
    fn glue(&self, ns: &RrSet) -> Vec<RrSet> {
        let mut sets = Vec::new();
        for data in ns.rdatas.iter().take(GLUE_SERVERS_MAX) {
            let Some(server) = rdata::single_name(data) else {
                continue;
            };
            let Some(body) = key_of(&server, self.apex()).and_then(|k| self.names().find(&k))
            else {
                continue;
            };
            for rtype in [Rtype::A, Rtype::AAAA] {
                sets.extend(body.data(rtype).map(|s| s.to_rrset(server.clone())));
            }
        }
        sets
    }

    fn no_data(&self, prove: impl FnOnce(&mut Prover<'_>)) -> Lookup {
        self.negative(LookupKind::NoData, prove)
    }

    fn negative(&self, kind: LookupKind, prove: impl FnOnce(&mut Prover<'_>)) -> Lookup {
        let mut found = Lookup::new(kind);
        if let Some(mut soa) = self.find(self.apex(), Rtype::SOA) {
            // RFC 2308 section 3.
            soa.ttl = soa.ttl.min(self.soa().minimum_s);
            found.authority.push(soa);
        }
        prove(&mut Prover::new(self, &mut found.authority));
        found
    }
}

impl Lookup {
    fn new(kind: LookupKind) -> Lookup {
        Lookup {
            kind,
            answer: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            wildcard: None,
        }
    }

    fn made_from(mut self, encloser: &Name) -> Lookup {
        self.wildcard = Some(encloser.clone());
        self
    }
}
