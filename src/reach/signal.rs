//! One observation about one server address of a zone.

use std::fmt;
use std::net::IpAddr;

use crate::dns::Name;

/// An observation, from a client's query or from a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The zone that the address was asked about.
    pub zone: Name,
    /// The address.
    pub server: IpAddr,
    /// What was seen.
    pub evidence: Evidence,
}

/// What was seen of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// A matched answer of the right form, not validated.
    Answered,
    /// An answer that validated up to a trust anchor.
    Validated,
    /// Silence.
    TimedOut,
    /// ICMP unreachable, refused or reset connection.
    Unreachable,
    /// REFUSED, not authoritative, a referral upwards.
    Lame,
    /// SERVFAIL, FORMERR or no DNS message.
    ServerFailure,
    /// An answer that validation proved wrong.
    Bogus,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Evidence::Answered => "answered",
            Evidence::Validated => "validated answer",
            Evidence::TimedOut => "timed out",
            Evidence::Unreachable => "unreachable",
            Evidence::Lame => "lame",
            Evidence::ServerFailure => "server failure",
            Evidence::Bogus => "bogus answer",
        })
    }
}
