//! What a step says of itself: to people who ask why there is no answer (RFC 8914), and to who looks on.
//!
//! Why apart: none of it decides anything.

use std::net::IpAddr;

use super::{Attempt, LAST_RESORT_AFTER};
use crate::clock::Now;
use crate::dns::{Name, Rtype};
use crate::resolve::delegation::DelegationOrigin;
use crate::resolve::interpret::Referral;
use crate::resolve::iterate::Env;
use crate::resolve::trace::What;
use crate::resolve::{Prefer, Response};

/// Kinds of failures that are told to people, per step.
pub(super) const EVIDENCE_MAX: usize = 6;
/// Addresses of one kind that are named; more are counted.
const EVIDENCE_NAMED_MAX: usize = 2;

impl Attempt {
    /// What went wrong so far: what was asked, and how each server failed (RFC 8914 wants it for people).
    pub fn trouble(&self, env: &Env<'_>, now: Now) -> String {
        let shown = self.shown_question();
        if !self.evidence.is_empty() {
            let name = |a: IpAddr| env.knowledge.server_name(&self.delegation, a, now);
            let words = evidence_words(&self.evidence, name);
            return format!("asked for {shown}: {words}");
        }
        let names: Vec<_> = (self.delegation.servers.iter().take(EVIDENCE_NAMED_MAX))
            .map(|(name, _)| name.to_string())
            .collect();
        match (self.search.nameless(), self.under_way.is_empty()) {
            (Some((name, why)), _) => format!("no address of its name server {name}: {why}"),
            (None, true) => format!("no address of its name servers ({})", names.join(", ")),
            (None, false) => format!("asked for {shown}: nothing heard yet"),
        }
    }

    /// The same, with the zone.
    pub fn told_trouble(&self, env: &Env<'_>, now: Now) -> String {
        let (zone, trouble) = (&self.delegation.zone, self.trouble(env, now));
        match env.local.refusal(zone, now) {
            Some(why) => format!("{zone}: {why}; {trouble}"),
            None => format!("{zone}: {trouble}"),
        }
    }

    /// Why the mirror steps in, for people.
    pub fn why_mirror(&self, env: &Env<'_>, prefer: Prefer) -> String {
        let waited = match prefer {
            Prefer::LastResort => "as last resort",
            Prefer::Now | Prefer::Hedge => "as hedge",
        };
        match (self.under_way.is_empty(), self.exploring) {
            (true, _) => format!("{waited}: no server was of use"),
            (false, true) => {
                format!("{waited}: the zone is isolated, a server was asked to explore")
            }
            (false, false) => {
                let delay = match prefer {
                    Prefer::LastResort => LAST_RESORT_AFTER,
                    Prefer::Now | Prefer::Hedge => self.hedge_delay(env),
                };
                format!("{waited}: no usable answer within {} ms", delay.as_millis())
            }
        }
    }

    /// The step, for a record.
    pub fn told(&self) -> What {
        What::Step {
            zone: self.delegation.zone.to_string(),
            learned_from: match self.delegation.origin {
                DelegationOrigin::Hints => "root hints",
                DelegationOrigin::Forward => (self.forward.as_ref()).map_or("", |f| f.table()),
                DelegationOrigin::Network => "network",
                DelegationOrigin::Mirror(_) => "mirror",
                DelegationOrigin::Retained => "retained",
            }
            .into(),
            names: self.delegation.servers.len(),
            addresses: self.addresses.len(),
        }
    }
}

/// A referral, for a record.
pub(in crate::resolve::iterate) fn referral_told(referral: &Referral) -> What {
    let Referral { delegation, ds } = referral;
    let names = delegation.servers.iter().take(EVIDENCE_MAX);
    let has_ds = |r: &Response| r.answer.iter().any(|s| s.rtype == Rtype::DS);
    What::Referral {
        zone: delegation.zone.to_string(),
        from: match delegation.origin {
            DelegationOrigin::Mirror(_) => "mirror",
            DelegationOrigin::Retained => "retained",
            _ => "network",
        }
        .into(),
        names: names.map(|(name, _)| name.to_string()).collect(),
        ds: match ds {
            Some(ds) if has_ds(ds) => "signed",
            Some(_) => "unsigned",
            None => "not told",
        }
        .into(),
    }
}

/// `192.0.2.1 (ns1.example.) refused, 26 addresses timed out`.
fn evidence_words(
    evidence: &[(String, Vec<IpAddr>)],
    name: impl Fn(IpAddr) -> Option<Name>,
) -> String {
    let words = evidence.iter().map(|(text, servers)| {
        if servers.len() > EVIDENCE_NAMED_MAX {
            return format!("{} addresses {text}", servers.len());
        }
        let named = servers.iter().map(|address| match name(*address) {
            Some(name) => format!("{address} ({name})"),
            None => address.to_string(),
        });
        let named: Vec<_> = named.collect();
        format!("{} {text}", named.join(" and "))
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_names_few_addresses_and_counts_many() {
        let (first, name): (IpAddr, Name) =
            ([192, 0, 2, 1].into(), "ns1.example.".parse().unwrap());
        let at = |hosts: std::ops::Range<u8>| hosts.map(|h| IpAddr::from([192, 0, 2, h])).collect();
        let evidence = [
            ("refused".to_string(), at(1..2)),
            ("lame".to_string(), at(2..4)),
            ("timed out".to_string(), at(4..30)),
        ];
        assert_eq!(
            evidence_words(&evidence, |a| (a == first).then(|| name.clone())),
            "192.0.2.1 (ns1.example.) refused, 192.0.2.2 and 192.0.2.3 lame, 26 addresses timed out"
        );
    }
}
