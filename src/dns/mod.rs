//! Words of the DNS itself: names, types, records, messages.
//!
//! Everything that holdfast keeps or passes on is held in *wire form*: a name is its uncompressed
//! label sequence, a record's data is its uncompressed RDATA. So a type that nobody has heard of
//! travels unchanged (RFC 3597), DNSSEC's canonical form is a small step away, and the zone image
//! stores the same bytes that leave in an answer. hickory-proto stays at the edges, for cryptography
//! and for listeners.
//!
//! A damaged message is an error of its parser ([`WireError`]) and nothing else: the work is bounded
//! by the message's length.

pub mod edns;
pub mod folded;
pub mod message;
pub mod name;
pub mod packer;
pub mod rdata;
pub mod record;
pub mod rtype;
pub mod tsig;
pub mod writer;

pub use edns::{Ede, Edns};
pub use message::{Message, Question};
pub use name::Name;
pub use rdata::{Dnskey, Ds, Nsec, Nsec3, Rrsig, Soa, TypeBitmap};
pub use record::{Rdata, Record, RrSet, group};
pub use rtype::{Class, Rcode, Rtype};

/// Why bytes are no DNS message, name or record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("ends too early")]
    Truncated,
    /// A name is over 255 octets, has a reserved label type, or points forward or in a circle.
    #[error("bad name")]
    BadName,
    /// RDATA does not have the form that its type demands.
    #[error("bad record data")]
    BadRdata,
    /// More than one question, more than one OPT record, or an OPT record out of place.
    #[error("bad message form")]
    BadForm,
}
