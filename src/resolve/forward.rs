//! Zones whose servers the operator names: other recursive ones, or the zones' own where nobody delegates to them.
//!
//! Why: a company's zone that only its own servers know, or a network whose only way out is its provider's
//! resolver (`zone = "."`).
//!
//! Model: a [`Forward`] is one `[[forward]]` table. The deepest one at or above a name governs it, unless a locally held zone
//! (own, mirror, special name) lies deeper: the deepest zone of the configuration wins. For DS it is the one strictly above
//! the name, since the DS set belongs to the parent. A governed question is one step: its forwarders are asked with RD=1 in
//! the order of `select`, hedged and retried like the servers of any zone, and what they say ends the iteration. Aliases that
//! leave the zone are followed from here, not by the forwarder. Nothing that a forwarder says is believed more than what
//! anybody says: the chain of signatures is fetched in the same way, and validated here. What becomes of a forwarder is no
//! evidence about the servers of any zone.
//!
//! A `[[stub]]` is a [`Forward`] to the zone's own servers: asked with RD=0, each question from there, and a referral of theirs is followed like
//! any. What is learned below it stands by itself, and from there the way never leads back above the stub, to those who know nothing of the zone.
//!
//! Failure: when no forwarder answers the question fails, or with `first = true` is resolved as if there were no forwarder.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::config;
use crate::dns::{Name, Question, Rtype};
use crate::resolve::Cover;

/// One zone and its forwarders, or its own servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The zone; the root for everything.
    pub zone: Name,
    /// Where its questions go; no address twice.
    pub servers: Vec<SocketAddr>,
    /// Without an answer of theirs, resolve as usual.
    pub first: bool,
    /// They are asked over TLS, which the way out sees to.
    pub tls: bool,
    /// They are the zone's own servers (`[[stub]]`), asked without recursion; what they refer to is followed.
    pub is_stub: bool,
}

impl Forward {
    /// The table that says so.
    pub fn table(&self) -> &'static str {
        match self.is_stub {
            true => "[[stub]]",
            false => "[[forward]]",
        }
    }

    /// The forwarder with this address, with its port.
    pub fn server(&self, address: IpAddr) -> Option<SocketAddr> {
        self.servers.iter().find(|s| s.ip() == address).copied()
    }
}

impl From<&config::Forward> for Forward {
    fn from(config: &config::Forward) -> Forward {
        Forward {
            zone: config.zone.clone(),
            servers: config.servers.clone(),
            first: config.first,
            tls: config.tls.is_some(),
            is_stub: config.is_stub,
        }
    }
}

/// All forwarded zones.
#[derive(Debug, Clone, Default)]
pub struct Forwards(HashMap<Name, Arc<Forward>>);

impl FromIterator<Forward> for Forwards {
    fn from_iter<I: IntoIterator<Item = Forward>>(forwards: I) -> Forwards {
        let entry = |forward: Forward| (forward.zone.clone(), Arc::new(forward));
        Forwards(forwards.into_iter().map(entry).collect())
    }
}

impl Forwards {
    /// The forwarded zone that governs the question, given the deepest locally held zone above it.
    pub fn governing(&self, question: &Question, held: Option<&Cover>) -> Option<&Arc<Forward>> {
        let forward = self.deepest(question)?;
        let held_deeper = held.is_some_and(|cover| cover.zone.is_below(&forward.zone));
        (!held_deeper).then_some(forward)
    }

    /// The stub of exactly this zone.
    pub fn stub_at(&self, zone: &Name) -> Option<&Arc<Forward>> {
        self.0.get(zone).filter(|forward| forward.is_stub)
    }

    /// The zones that are forwarded.
    pub fn zones(&self) -> impl Iterator<Item = &Name> {
        self.0.keys()
    }

    /// The deepest forwarded zone at or above the name; for DS above it (RFC 4035 section 3.1.4.1).
    fn deepest(&self, question: &Question) -> Option<&Arc<Forward>> {
        if self.0.is_empty() {
            return None;
        }
        let mut at = match question.rtype {
            Rtype::DS => question.name.parent(),
            _ => Some(question.name.clone()),
        };
        while let Some(name) = at {
            if let Some(forward) = self.0.get(&name) {
                return Some(forward);
            }
            at = name.parent();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::Prefer;

    #[test]
    fn the_deepest_zone_of_the_configuration_governs() {
        let forward = |zone: &str| Forward {
            zone: zone.parse().unwrap(),
            servers: vec!["192.0.2.1:53".parse().unwrap()],
            first: false,
            tls: false,
            is_stub: false,
        };
        let forwards: Forwards = ["corp.example.", "lab.corp.example."]
            .map(forward)
            .into_iter()
            .collect();
        let mut everything = forwards.clone();
        everything.0.insert(Name::root(), Arc::new(forward(".")));
        let found = |forwards: &Forwards, name: &str, rtype, held: Option<&str>| {
            let question = Question::new(name.parse().unwrap(), rtype);
            let held = held.map(|zone| Cover {
                zone: zone.parse().unwrap(),
                prefer: Prefer::Now,
            });
            let governing = forwards.governing(&question, held.as_ref());
            governing.map_or("none".into(), |f| f.zone.to_string())
        };
        for (name, rtype, held, expected, with_root) in [
            (
                "www.corp.example.",
                Rtype::A,
                None,
                "corp.example.",
                "corp.example.",
            ),
            (
                "corp.example.",
                Rtype::A,
                None,
                "corp.example.",
                "corp.example.",
            ),
            ("corp.example.", Rtype::DS, None, "none", "."),
            (
                "x.lab.corp.example.",
                Rtype::A,
                None,
                "lab.corp.example.",
                "lab.corp.example.",
            ),
            (
                "lab.corp.example.",
                Rtype::DS,
                None,
                "corp.example.",
                "corp.example.",
            ),
            ("www.example.", Rtype::A, None, "none", "."),
            (
                "www.corp.example.",
                Rtype::A,
                Some("."),
                "corp.example.",
                "corp.example.",
            ),
            (
                "www.corp.example.",
                Rtype::A,
                Some("example."),
                "corp.example.",
                "corp.example.",
            ),
            (
                "a.b.corp.example.",
                Rtype::A,
                Some("b.corp.example."),
                "none",
                "none",
            ),
            ("www.example.", Rtype::A, Some("example."), "none", "none"),
            (".", Rtype::NS, None, "none", "."),
            (".", Rtype::DS, None, "none", "none"),
        ] {
            assert_eq!(
                found(&forwards, name, rtype, held),
                expected,
                "{name} {rtype}"
            );
            assert_eq!(
                found(&everything, name, rtype, held),
                with_root,
                "{name} {rtype}"
            );
        }
        assert_eq!(found(&Forwards::default(), "a.", Rtype::A, None), "none");
    }
}
