//! Resolution: from a question to a validated answer.
//!
//! This file holds what the rest of the program sees: the two ports that resolution needs from
//! outside ([`LocalZones`], [`Health`]; `query::route` implements them from `mirror` and `reach`), and the
//! shapes of what comes out.

pub mod askers;
pub mod budget;
pub mod delegation;
pub mod denials;
pub mod forward;
pub mod hijack;
pub mod interpret;
pub mod iterate;
pub mod local;
pub mod minimise;
pub mod quirks;
pub mod retained;
pub mod seats;
pub mod select;
pub mod settings;
pub mod settle;
pub mod shares;
pub mod stale;
pub mod task;
pub mod trace;

use std::net::IpAddr;
use std::time::Duration;

pub use crate::cache::entry::Security;
use crate::clock::Now;
use crate::dns::{Ede, Name, Question, Rcode, RrSet};
use crate::zone::{Lookup, LookupKind};

pub mod validate;

/// What locally held zones can say to a step of an iteration.
pub trait LocalZones: Send + Sync + 'static {
    /// The deepest locally held zone that can serve a step towards this question, and when to prefer
    /// it. For a DS question at a zone's apex that is the zone above it.
    fn cover(&self, question: &Question, now: Now) -> Option<Cover>;

    /// Called when a step is about to take the copy of `zone` at once: true sends this one step upstream first,
    /// hedged by the copy, so that the way back is found. Whoever answers true counts it as done.
    fn explore(&self, _zone: &Name, _now: Now) -> bool {
        false
    }

    /// What the copy of `zone` (as named by [`LocalZones::cover`]) says to the question. `None` when it
    /// may not be used: too old, or with signatures that ran out and that policy does not accept.
    fn answer(&self, zone: &Name, question: &Question, now: Now) -> Option<LocalAnswer>;

    /// Whether clients' questions look for the way back ([`LocalZones::explore`]).
    fn explores(&self) -> bool {
        false
    }

    /// Whether the copy of `zone` is asked before anybody else for as long as it may be used.
    fn is_settled(&self, _zone: &Name) -> bool {
        false
    }

    /// The zones that are held.
    fn zones(&self) -> Vec<Name> {
        Vec::new()
    }

    /// Why the copy of `zone` may not be used, for people, where there is one.
    fn refusal(&self, _zone: &Name, _now: Now) -> Option<String> {
        None
    }

    /// Whether the copy of `zone` has a cut on the way to the question, and so nothing but a referral for it; false where that
    /// is not as quickly said.
    fn has_cut(&self, _zone: &Name, _question: &Question) -> bool {
        false
    }

    /// Whether the copy of `zone` leaves the question to a zone below.
    fn delegates(&self, zone: &Name, question: &Question, now: Now) -> bool {
        let answer = self.answer(zone, question, now);
        answer.is_some_and(|local| matches!(local.lookup.kind, LookupKind::Referral(_)))
    }
}

/// A locally held zone above a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// The zone's apex.
    pub zone: Name,
    /// When its copy is asked.
    pub prefer: Prefer,
}

/// When a local copy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefer {
    /// At once: `use = "always"`, or the zone is isolated.
    Now,
    /// When upstream has not answered within the hedge delay, or failed.
    Hedge,
    /// Only when upstream has failed altogether (a bootstrap snapshot, before first contact).
    LastResort,
}

/// What a local copy says.
#[derive(Debug, Clone)]
pub struct LocalAnswer {
    /// The step's result.
    pub lookup: Lookup,
    /// Which copy said it, and how far it is to be trusted.
    pub note: MirrorNote,
}

/// Which copy an answer comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorNote {
    /// The mirrored zone.
    pub zone: Name,
    /// Serial of the generation.
    pub serial: u32,
    /// Seconds since it was last known to be right: the last contact with a source, or its verification.
    pub age_s: u64,
    /// What validation may conclude.
    pub trust: LocalTrust,
}

/// Which retained delegation something was found through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainedNote {
    /// The zone that it leads to.
    pub zone: Name,
    /// The zone whose servers gave it.
    pub parent: Name,
    /// Seconds since they last did.
    pub age_s: u64,
}

impl std::fmt::Display for RetainedNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (zone, parent) = (&self.zone, &self.parent);
        let age = age_words(self.age_s);
        write!(
            f,
            "retained delegation of {zone}, given by {parent} {age} ago"
        )
    }
}

impl RetainedNote {
    /// What a client is told (RFC 8914 section 4.1).
    pub fn ede(&self) -> Ede {
        let text = format!("{} cannot be reached; {self}", self.parent);
        Ede::new(Ede::OTHER, text)
    }
}

/// An age in the largest unit of which there are at least two.
pub(crate) fn age_words(age_s: u64) -> String {
    match age_s {
        172_800.. => format!("{} days", age_s / 86_400),
        7200.. => format!("{} hours", age_s / 3600),
        _ => format!("{age_s} s"),
    }
}

/// How far a local copy's records are to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalTrust {
    /// Verified, and its signatures are valid now.
    Secure,
    /// Verified while connected; signatures have run out since (as-of validation, ARCHITECTURE.md). Everything
    /// that depends on it has AD=0, EDE 3 and 7, a TTL of at most 30 s.
    SecureAsOf,
    /// `verify = "none"`: insecure, never bogus.
    Insecure,
}

/// Which addresses to try, and what became of them.
pub trait Health: Send + Sync + 'static {
    /// One observation about one server address.
    fn observe(&self, observation: Observation);

    /// The addresses that serve `zone`, as found in its delegation. Told for every zone that an
    /// iteration asks, so that probes know whom to ask.
    fn zone_servers(&self, zone: &Name, servers: &[IpAddr]);

    /// Whether the address stands in a prefix that is known to be dead, and is to be tried last.
    fn avoid(&self, server: IpAddr) -> bool;
}

/// One observation about one server address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The zone that it was asked about as a server of.
    pub zone: Name,
    /// Its address.
    pub server: IpAddr,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a question to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A matched, usable answer or referral, not (yet) validated.
    Answered {
        /// Round trip time.
        rtt: Duration,
    },
    /// An answer whose records validated as secure.
    Validated,
    /// Silence.
    TimedOut,
    /// ICMP unreachable, refused connection, no route.
    Unreachable,
    /// Not authoritative for the zone, REFUSED, or a referral upwards.
    Lame,
    /// SERVFAIL, FORMERR, NOTIMP, or bytes that are no message.
    ServerFailure,
    /// An answer that validation proved wrong.
    Bogus,
}

/// Where a response came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A server of the zone.
    Network(IpAddr),
    /// A mirror.
    Mirror(MirrorNote),
}

/// An answer to one question from one zone, before validation: own RRsets of that zone only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The zone whose server or mirror answered.
    pub zone: Name,
    /// NOERROR, NXDOMAIN or YXDOMAIN.
    pub rcode: Rcode,
    /// RRsets of the answer section that belong to the question: the set asked for, or a CNAME, or a
    /// DNAME with its CNAME. Out-of-zone records are already removed.
    pub answer: Vec<RrSet>,
    /// Where the answer is an alias: what the same message says of its target, link by link.
    pub rest: Vec<RrSet>,
    /// SOA, NSEC and NSEC3 sets of the authority section, in-zone only.
    pub authority: Vec<RrSet>,
    /// Who said it.
    pub origin: Origin,
}

/// The outcome of resolving a question, ready to be made into a reply.
#[derive(Debug, Clone)]
pub struct Resolution {
    /// NOERROR, NXDOMAIN, SERVFAIL, YXDOMAIN or REFUSED.
    pub rcode: Rcode,
    /// Answer section with the CNAME chain in order; TTLs as left.
    pub answer: Vec<RrSet>,
    /// Authority section: SOA and proofs of a denial, proofs of a wildcard.
    pub authority: Vec<RrSet>,
    /// Additional section: addresses of the servers that a referral names.
    pub additional: Vec<RrSet>,
    /// The weakest status of any part.
    pub security: Security,
    /// What happened, for EDNS.
    pub errors: Vec<Ede>,
    /// Who contributed.
    pub sources: Sources,
}

impl Resolution {
    /// Why it came to nothing, for people: what went wrong first, not that it is remembered.
    pub fn cause(&self) -> String {
        let told = |e: &&Ede| e.code != Ede::CACHED_ERROR;
        let mut causes: Vec<&str> = Vec::new();
        for error in self.errors.iter().filter(told) {
            let text = match error.text.as_str() {
                "" => error.meaning().unwrap_or_default(),
                text => text,
            };
            if !text.is_empty() && !causes.contains(&text) {
                causes.push(text);
            }
        }
        match causes.is_empty() {
            true => "no usable answer".to_owned(),
            false => causes.join("; "),
        }
    }
}

/// Who contributed to a [`Resolution`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Packets that were sent upstream for it.
    pub packets: u32,
    /// Mirrors that answered a step.
    pub mirrors: Vec<MirrorNote>,
    /// A part of it has run out (RFC 8767).
    pub stale: bool,
    /// All of it is from one copy that is asked before anybody else, whatever becomes of its zone's servers.
    pub settled: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_what_went_wrong_first() {
        let check = |errors: &[(u16, &str)], expected: &str| {
            let errors = errors.iter().map(|(code, text)| Ede::new(*code, *text));
            let resolution = Resolution {
                rcode: Rcode::SERVFAIL,
                answer: Vec::new(),
                authority: Vec::new(),
                additional: Vec::new(),
                security: Security::Insecure,
                errors: errors.collect(),
                sources: Sources::default(),
            };
            assert_eq!(resolution.cause(), expected);
        };
        let silent = (Ede::NO_REACHABLE_AUTHORITY, "test. has silent servers");
        let remembered = (Ede::CACHED_ERROR, "remembered");
        check(&[silent, remembered], silent.1);
        check(
            &[silent, silent, (Ede::NETWORK_ERROR, "")],
            "test. has silent servers; network error",
        );
        check(&[remembered], "no usable answer");
        check(&[], "no usable answer");
    }
}
