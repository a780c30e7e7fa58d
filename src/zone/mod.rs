//! The compact zone image: build it from a zone file or a transfer, look things up in it.
//!
//! ```text
//! file -> load -> parse::records --.
//!                                   >-- Builder -> ZoneImage -> lookup, find, nodes
//! AXFR -> Record ------------------'       (octets on disk or in memory)
//! IXFR -> Changes + ZoneImage -> update -> ZoneImage
//! ```
//! Everything here is a pure function of octets: a zone that cannot be read is an error that says
//! where, an image that is damaged answers nothing from where it is. Disk is used where a zone exceeds what memory is
//! given to it: for a long text (`room`), for records on their way into the image (`runs`) and for the image (`output`).

mod block;
mod build;
mod checks;
mod denial;
mod diff;
mod entry;
mod free;
mod generate;
mod hash32;
mod image;
mod include;
pub mod key;
mod load;
mod loc;
mod lookup;
mod nodes;
mod output;
pub mod parse;
pub mod present;
mod quick;
mod room;
mod runs;
pub mod scratch;
mod svcb;
mod tables;
mod update;
mod walk;
mod write;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use block::SetRef;
pub use build::{BuildError, BuildNotes, Builder, NODE_BYTES_MAX, RUN_BYTES_MAX, ZONE_BYTES_MAX};
pub use diff::{Change, ChangeKind, Diff, diff};
pub use hash32::hash_of_key;
pub use image::{FORMAT_VERSION, ImageError, Node, Place, ZoneImage};
pub use include::{Included, Includes};
pub use key::{NameBuf, path, wire_of};
pub use load::{LoadError, Loaded, Onlooker, load, load_file, load_file_before, load_into};
pub use nodes::{RawNode, RawNodes};
pub use room::{FileText, Room, TextError};
pub use update::{Changes, UpdateError, apply, apply_in};
pub use walk::RecordRef;

use crate::dns::{Name, RrSet};

/// What a zone says to one question: one step, CNAME targets are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The kind of answer.
    pub kind: LookupKind,
    /// Answer section: the RRset asked for, or the CNAME, or the DNAME and the CNAME made from it.
    /// For ANY, all RRsets of the name. Signatures are in each set's `sigs`.
    pub answer: Vec<RrSet>,
    /// Authority section: SOA (TTL already lowered to the negative TTL, RFC 2308 section 5) and
    /// NSEC/NSEC3 proofs of a denial or wildcard; NS and DS (or its denial) of a referral.
    pub authority: Vec<RrSet>,
    /// Additional section: glue of a referral, addresses beside an answer of type NS.
    pub additional: Vec<RrSet>,
    /// The name above the wildcard that answers in the place of the name asked for, or has nothing of the type.
    pub wildcard: Option<Name>,
}

/// The kind of a [`Lookup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupKind {
    /// The RRset exists, by itself or by wildcard.
    Answer,
    /// A CNAME (own, from a wildcard, or made from a DNAME) leads on to this name.
    Alias(Name),
    /// The name is at or below this zone cut (for DS questions: strictly below).
    Referral(Name),
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// The name is not in the zone.
    OutOfZone,
    /// A DNAME would make too long a name (RFC 6672 section 2.2): answer YXDOMAIN.
    TooLong,
    /// The image is damaged where the answer lies: there is no telling what the zone says.
    Unreadable,
}
