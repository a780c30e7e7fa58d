//! All that an image holds, in canonical order, without a copy of each node.
//!
//! A transfer and a comparison read a zone from its first name to its last. [`Walk`] merges the two sections of the image
//! on the way; it stands at one node at a time and holds no more than that node's key.

use std::ops::ControlFlow;

use super::block::{Body, Cursor};
use super::hash32;
use super::image::ZoneImage;
use super::key::name_of;
use crate::dns::{Name, Rtype};

/// Which section a node is in: a name with an NSEC3 set and other data has a node in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Names,
    Hashes,
}

/// Where a walk stands.
pub(super) struct Here<'w, 'a> {
    /// Sort key of the owner, and the section: nodes ascend by this.
    pub at: (&'w [u8], Part),
    pub body: Body<'a>,
}

/// Walks over all nodes of an image.
pub(super) struct Walk<'a> {
    names: Cursor<'a>,
    name_body: Option<Body<'a>>,
    hashes: Cursor<'a>,
    hash_body: Option<Body<'a>>,
    /// The sort key of the hash that `hashes` stands at.
    hash_key: Vec<u8>,
}

impl<'a> Walk<'a> {
    pub fn new(image: &'a ZoneImage) -> Walk<'a> {
        let mut walk = Walk {
            names: image.names().cursor(),
            name_body: None,
            hashes: image.hashes().cursor(),
            hash_body: None,
            hash_key: Vec::new(),
        };
        walk.name_body = walk.names.advance();
        walk.step_hashes();
        walk
    }

    /// The node that it stands at; `None` at the end.
    pub fn here(&self) -> Option<Here<'_, 'a>> {
        let name = self.name_body.map(|body| Here {
            at: (self.names.key(), Part::Names),
            body,
        });
        let hash = self.hash_body.map(|body| Here {
            at: (&self.hash_key, Part::Hashes),
            body,
        });
        match (name, hash) {
            (Some(name), Some(hash)) if hash.at < name.at => Some(hash),
            (Some(name), _) => Some(name),
            (None, hash) => hash,
        }
    }

    /// Goes on to the next node.
    pub fn step(&mut self) {
        match self.here().map(|here| here.at.1) {
            Some(Part::Names) => self.name_body = self.names.advance(),
            Some(Part::Hashes) => self.step_hashes(),
            None => {}
        }
    }

    fn step_hashes(&mut self) {
        self.hash_body = self.hashes.advance();
        if self.hash_body.is_some() {
            self.hash_key = hash32::key_of_hash(self.hashes.key());
        }
    }
}

/// One record as it lies in an image; its class is IN.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// Owner name, lower case.
    pub name: &'a Name,
    /// Type.
    pub rtype: Rtype,
    /// TTL in seconds.
    pub ttl: u32,
    /// Data, names in it uncompressed.
    pub rdata: &'a [u8],
}

impl ZoneImage {
    /// Shows every record, signatures included, until `f` breaks off. Names come in canonical order, the apex first.
    pub fn visit<B>(&self, mut f: impl FnMut(RecordRef<'_>) -> ControlFlow<B>) -> ControlFlow<B> {
        let mut walk = Walk::new(self);
        while let Some(here) = walk.here() {
            // A key that is no name passed the checksum and yet is damaged: left out.
            if let Some(name) = name_of(here.at.0, self.apex()) {
                for set in here.body.sets() {
                    let records = set.rdatas().map(|rdata| (set.rtype, rdata));
                    let sigs = set.sig_rdatas().map(|rdata| (Rtype::RRSIG, rdata));
                    for (rtype, rdata) in records.chain(sigs) {
                        f(RecordRef {
                            name: &name,
                            rtype,
                            ttl: set.ttl,
                            rdata,
                        })?;
                    }
                }
            }
            walk.step();
        }
        ControlFlow::Continue(())
    }
}
