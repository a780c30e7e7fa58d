//! A local copy's answer in the shapes of an iteration's step.

use crate::cache::entry::{AS_OF_TTL_MAX_S, Expiry};
use crate::clock::Now;
use crate::dns::{Name, Question, Rcode, RrSet, Rtype};
use crate::resolve::delegation::{DELEGATION_TTL_MAX_S, Delegation, DelegationOrigin};
use crate::resolve::interpret::{self, Referral};
use crate::resolve::{LocalAnswer, LocalTrust, MirrorNote, Origin, Response};
use crate::zone::LookupKind;

/// What a local copy says to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalSaid {
    /// The end of the iteration.
    Answer(Response),
    /// A zone below knows more.
    Referral(Referral),
}

/// Reads the answer of the copy of `zone` to `question`; `None` when it does not help.
pub fn read(zone: &Name, question: &Question, local: LocalAnswer, now: Now) -> Option<LocalSaid> {
    let LocalAnswer { lookup, note } = local;
    let rcode = match lookup.kind {
        LookupKind::Answer | LookupKind::Alias(_) | LookupKind::NoData => Rcode::NOERROR,
        LookupKind::NxDomain => Rcode::NXDOMAIN,
        LookupKind::TooLong => Rcode::YXDOMAIN,
        LookupKind::OutOfZone | LookupKind::Unreadable => return None,
        LookupKind::Referral(cut) => {
            if !cut.is_below(zone) || !question.name.is_within(&cut) {
                return None;
            }
            let referral = referral(zone, &cut, &lookup.authority, &lookup.additional, note, now)?;
            return Some(LocalSaid::Referral(referral));
        }
    };
    Some(LocalSaid::Answer(Response {
        zone: zone.clone(),
        rcode,
        answer: lookup.answer,
        rest: Vec::new(),
        authority: denial_part(&lookup.authority),
        origin: Origin::Mirror(note),
    }))
}

/// Who serves `zone`, as its own copy answers when asked for the NS set at the apex; `None` when it gives no address.
pub fn apex(zone: &Name, local: LocalAnswer, now: Now) -> Option<Delegation> {
    let LocalAnswer { lookup, note } = local;
    let at_apex = |s: &&RrSet| s.rtype == Rtype::NS && s.name == *zone;
    let ns = lookup.answer.iter().find(at_apex)?;
    let delegation = delegation(ns, &lookup.additional, note.trust, now);
    let is_addressed = delegation.servers.iter().any(|(_, a)| !a.is_empty());
    is_addressed.then_some(delegation)
}

fn delegation(ns: &RrSet, addresses: &[RrSet], trust: LocalTrust, now: Now) -> Delegation {
    let ttl_max_s = match trust {
        LocalTrust::SecureAsOf => AS_OF_TTL_MAX_S,
        _ => DELEGATION_TTL_MAX_S,
    };
    Delegation {
        zone: ns.name.clone(),
        servers: interpret::servers(ns, addresses, None),
        expiry: Some(Expiry::after(now, ns.ttl.min(ttl_max_s))),
        origin: DelegationOrigin::Mirror(trust),
    }
}

fn referral(
    zone: &Name,
    cut: &Name,
    authority: &[RrSet],
    glue: &[RrSet],
    note: MirrorNote,
    now: Now,
) -> Option<Referral> {
    let at_cut = |rtype| move |s: &&RrSet| s.rtype == rtype && s.name == *cut;
    let ns = authority.iter().find(at_cut(Rtype::NS))?;
    let delegation = delegation(ns, glue, note.trust, now);
    let ds_set = authority.iter().find(at_cut(Rtype::DS));
    let ds = Response {
        zone: zone.clone(),
        rcode: Rcode::NOERROR,
        answer: ds_set.into_iter().cloned().collect(),
        rest: Vec::new(),
        authority: match ds_set {
            Some(_) => Vec::new(),
            None => denial_part(authority),
        },
        origin: Origin::Mirror(note),
    };
    Some(Referral {
        delegation,
        ds: Some(ds),
    })
}

fn denial_part(authority: &[RrSet]) -> Vec<RrSet> {
    let keep = |s: &&RrSet| matches!(s.rtype, Rtype::SOA | Rtype::NSEC | Rtype::NSEC3);
    authority.iter().filter(keep).cloned().collect()
}
