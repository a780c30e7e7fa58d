//! What a client without RD gets: what is known here, and nothing that would have to be asked for.
//!
//! Why: who walks down the tree by himself, or wants to see what this server knows, asks so (RFC 1034 section 4.3.1). Cached answers
//! come first, before this; then copies of zones speak, as their servers would; then the deepest delegation that is known is told as
//! a referral. The root's servers are told to who asks for just them: to anybody else a referral to the root is of no use.
//!
//! A delegation that a server gave is not signed. It reaches a client here only, as a referral, as which he would have got it from
//! the parent; it is never secure, and never an answer but for the root's own.
//!
//! Failure: REFUSED, with the reason (RFC 8914 section 4.21).

use std::net::IpAddr;
use std::sync::Arc;

use super::Shared;
use super::chain::Unanswered;
use crate::cache::entry::{AS_OF_TTL_MAX_S, Entry};
use crate::clock::Now;
use crate::dns::{Ede, Name, Question, Rcode, Rdata, RrSet, Rtype};
use crate::resolve::budget::Budget;
use crate::resolve::delegation::{Delegation, DelegationOrigin};
use crate::resolve::local::{self, LocalSaid};
use crate::resolve::validate::{AsOf, as_of_errors};
use crate::resolve::{LocalTrust, MirrorNote, Prefer, Resolution, Security, Sources};

/// TTL of the root's servers as the hints of the configuration name them, seconds: they have none of their own.
const HINTS_TTL_S: u32 = 3600;

impl Shared {
    /// The answer to a question without RD that the cache knows nothing of.
    pub(super) async fn without_recursion(self: &Arc<Self>, question: &Question) -> Resolution {
        let mirrored = self.mirrored(question).await;
        if mirrored.as_ref().is_some_and(|m| referred_to(m).is_none()) {
            return mirrored.unwrap_or_else(|| unknown_here(question));
        }
        let shallow = mirrored.as_ref().and_then(referred_to);
        let deeper = |known: &Delegation| shallow.is_none_or(|cut| known.zone.is_below(cut));
        let known = self.known_delegation(question, self.clock.now());
        let known = known.filter(|known| deeper(known));
        known
            .map(|known| self.told(question, &known))
            .or(mirrored)
            .unwrap_or_else(|| unknown_here(question))
    }

    /// The deepest known delegation above the name, if it is one to tell.
    fn known_delegation(&self, question: &Question, now: Now) -> Option<Arc<Delegation>> {
        let held = self.local.cover(question, now);
        // What is forwarded has no servers that anybody here would ask.
        if (self.settings.forwards.governing(question, held.as_ref())).is_some() {
            return None;
        }
        let known = self.knowledge.deepest(question, now);
        let asks_for_root = question.name.is_root() && question.rtype == Rtype::NS;
        let is_of_use = match known.zone.is_root() {
            true => asks_for_root,
            // Who holds a zone at or below it knows better.
            false => !held.is_some_and(|cover| cover.zone.is_within(&known.zone)),
        };
        (is_of_use && known.origin != DelegationOrigin::Forward).then_some(known)
    }

    /// A known delegation as a referral, or as the answer to who asks for the root's servers.
    fn told(&self, question: &Question, known: &Delegation) -> Resolution {
        let now = self.clock.now();
        let ttl = known
            .expiry
            .map_or(HINTS_TTL_S, |expiry| expiry.left_s(now));
        let set = |name: &Name, rtype, rdatas: Vec<Rdata>| RrSet {
            name: name.clone(),
            rtype,
            ttl,
            rdatas,
            sigs: Vec::new(),
        };
        let names = known.servers.iter().map(|(name, _)| name.wire().into());
        let ns = set(&known.zone, Rtype::NS, names.collect());
        let mut additional = Vec::new();
        for (name, addresses) in &known.servers {
            let of = |rtype| addresses.iter().filter_map(move |ip| octets(*ip, rtype));
            for rtype in [Rtype::A, Rtype::AAAA] {
                let rdatas: Vec<Rdata> = of(rtype).collect();
                if !rdatas.is_empty() {
                    additional.push(set(name, rtype, rdatas));
                }
            }
        }
        let (answer, authority) = match known.zone == question.name && known.zone.is_root() {
            true => (vec![ns], Vec::new()),
            false => (Vec::new(), vec![ns]),
        };
        Resolution {
            rcode: Rcode::NOERROR,
            answer,
            authority,
            additional,
            security: Security::Insecure,
            errors: Vec::new(),
            sources: Sources::default(),
        }
    }

    /// What mirrors say to the question, without recursion: one answer, or how far they know.
    pub(super) async fn mirrored(self: &Arc<Self>, question: &Question) -> Option<Resolution> {
        let now = self.clock.now();
        let cover = self.local.cover(question, now)?;
        let forwards = &self.settings.forwards;
        if cover.prefer == Prefer::LastResort
            || forwards.governing(question, Some(&cover)).is_some()
        {
            return None;
        }
        let copy = self.local.answer(&cover.zone, question, now)?;
        let note = copy.note.clone();
        let (referral, glue) = (
            copy.lookup.authority.clone(),
            copy.lookup.additional.clone(),
        );
        let (entry, additional) = match local::read(&cover.zone, question, copy, now)? {
            LocalSaid::Answer(response) => {
                let budget = Arc::new(Budget::new(now));
                let (entry, ..) = self.judged(question, &response, &budget).await;
                (entry, Vec::new())
            }
            LocalSaid::Referral(_) => (referral_entry(referral, &note), glue),
        };
        Some(Resolution {
            rcode: entry.rcode,
            answer: entry.answer,
            authority: entry.authority,
            additional,
            security: entry.security,
            errors: entry.errors,
            sources: Sources {
                packets: 0,
                mirrors: vec![note],
                ..Sources::default()
            },
        })
    }
}

/// The zone below that a resolution refers to.
pub(super) fn referred_to(resolution: &Resolution) -> Option<&Name> {
    let is_bare = resolution.rcode == Rcode::NOERROR && resolution.answer.is_empty();
    let denies = (resolution.authority.iter()).any(|set| set.rtype == Rtype::SOA);
    let mut ns = (resolution.authority.iter()).filter(|set| set.rtype == Rtype::NS);
    ns.next()
        .filter(|_| is_bare && !denies)
        .map(|set| &set.name)
}

/// The data of an address record of this type.
fn octets(ip: IpAddr, rtype: Rtype) -> Option<Rdata> {
    match (ip, rtype) {
        (IpAddr::V4(ip), Rtype::A) => Some(ip.octets().into()),
        (IpAddr::V6(ip), Rtype::AAAA) => Some(ip.octets().into()),
        _ => None,
    }
}

/// A mirror's referral as a client without RD gets it. Its NS set is not signed, so it is never secure.
fn referral_entry(authority: Vec<RrSet>, note: &MirrorNote) -> Entry {
    let entry = Entry {
        rcode: Rcode::NOERROR,
        answer: Vec::new(),
        authority,
        security: Security::Insecure,
        errors: Vec::new(),
    };
    match note.trust {
        LocalTrust::SecureAsOf => Entry {
            security: Security::SecureAsOf,
            errors: as_of_errors(&AsOf::Mirror(note.clone())).into(),
            ..entry.with_ttl(AS_OF_TTL_MAX_S)
        },
        LocalTrust::Secure | LocalTrust::Insecure => entry,
    }
}

/// RFC 8914 section 4.21: refused, because what is asked for could only be had by recursion.
fn unknown_here(question: &Question) -> Resolution {
    let text = format!("{question}: not known here, and recursion was not asked for");
    Resolution {
        rcode: Rcode::REFUSED,
        ..super::servfail(Unanswered {
            security: Security::Insecure,
            errors: vec![Ede::new(Ede::NOT_AUTHORITATIVE, text)],
            lasting: false,
            failed: None,
        })
    }
}
