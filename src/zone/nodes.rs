//! Walks over a whole image: name blocks and hash blocks merged back into canonical order.
//!
//! [`RawNodes`] lends one name after the other, without a copy of its data, for work that looks at millions;
//! [`ZoneImage::nodes`] gives owned ones. A walk over a damaged image ends early, and [`ZoneImage::damage`] tells.

use super::block::{Body, Cursor, SetRef};
use super::hash32;
use super::image::{Node, Place, ZoneImage};
use super::key::{NameBuf, name_of, wire_of};
use crate::dns::{Name, Rtype};

/// A name of the zone with all that it has, borrowed.
#[derive(Clone, Copy)]
pub struct RawNode<'n, 'a> {
    /// Sort key of the owner.
    pub key: &'n [u8],
    apex: &'n Name,
    name_body: Option<Body<'a>>,
    hash_body: Option<Body<'a>>,
}

impl<'n, 'a> RawNode<'n, 'a> {
    /// Where it stands.
    pub fn place(&self) -> Place {
        let body = self.name_body.or(self.hash_body);
        body.map_or(Place::Occluded, Body::place)
    }

    /// Its sets by ascending type.
    pub fn sets(&self) -> impl Iterator<Item = SetRef<'a>> + use<'a> {
        let names = |body: Option<Body<'a>>| body.into_iter().flat_map(Body::sets);
        // Where a hash has its own body, the NSEC3 set is all that is in it, and is nowhere else.
        let low = names(self.name_body).take_while(|s| s.rtype < Rtype::NSEC3);
        let high = names(self.name_body).skip_while(|s| s.rtype < Rtype::NSEC3);
        low.chain(names(self.hash_body)).chain(high)
    }

    /// Whether it stands directly below the apex.
    pub fn is_child(&self) -> bool {
        self.key.iter().filter(|b| **b == 0).count() == 1
    }

    /// Its name, lower case.
    pub fn name(&self) -> Name {
        name_of(self.key, self.apex).unwrap_or_else(|| self.apex.clone())
    }

    /// Its name in wire form, lower case.
    pub fn wire<'w>(&self, room: &'w mut NameBuf) -> &'w [u8] {
        wire_of(self.key, self.apex, room).unwrap_or(&[0])
    }
}

/// All names of an image in canonical order.
pub struct RawNodes<'a> {
    apex: &'a Name,
    names: Cursor<'a>,
    hashes: Cursor<'a>,
    /// What the cursors stand at; `None` before the start, after the end, and when it has been given.
    name_body: Option<Body<'a>>,
    hash_body: Option<Body<'a>>,
    /// The sort key of the hash that its cursor stands at.
    hash_key: Vec<u8>,
    begun: bool,
}

impl<'a> RawNodes<'a> {
    /// A walk from the apex on.
    pub fn new(image: &'a ZoneImage) -> RawNodes<'a> {
        RawNodes {
            apex: image.apex(),
            names: image.names().cursor(),
            hashes: image.hashes().cursor(),
            name_body: None,
            hash_body: None,
            hash_key: Vec::new(),
            begun: false,
        }
    }

    /// The next name.
    pub fn advance(&mut self) -> Option<RawNode<'_, 'a>> {
        // Whichever was given last time moves on; both at the start.
        let (move_name, move_hash) = match self.begun {
            false => (true, true),
            true => self.given(),
        };
        self.begun = true;
        if move_name {
            self.name_body = self.names.advance();
        }
        if move_hash {
            self.hash_body = self.hashes.advance();
            self.hash_key = hash32::key_of_hash(self.hashes.key());
        }
        self.current()
    }

    /// The name that [`RawNodes::advance`] went to.
    pub fn current(&self) -> Option<RawNode<'_, 'a>> {
        if self.name_body.is_none() && self.hash_body.is_none() {
            return None;
        }
        let (take_name, take_hash) = self.given();
        Some(RawNode {
            key: match take_name {
                true => self.names.key(),
                false => &self.hash_key,
            },
            apex: self.apex,
            name_body: self.name_body.filter(|_| take_name),
            hash_body: self.hash_body.filter(|_| take_hash),
        })
    }

    /// Which of the two belong to the name that is next.
    fn given(&self) -> (bool, bool) {
        match (self.name_body.is_some(), self.hash_body.is_some()) {
            (true, true) => {
                let order = self.names.key().cmp(&self.hash_key);
                (order.is_le(), order.is_ge())
            }
            other => other,
        }
    }
}

/// The owned form of [`RawNodes`].
pub struct Nodes<'a> {
    image: &'a ZoneImage,
    raw: RawNodes<'a>,
}

impl ZoneImage {
    /// All names of the zone in canonical order.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        Nodes {
            image: self,
            raw: RawNodes::new(self),
        }
    }

    /// All names of the zone in canonical order, lent.
    pub fn raw_nodes(&self) -> RawNodes<'_> {
        RawNodes::new(self)
    }
}

impl Iterator for Nodes<'_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        loop {
            let raw = self.raw.advance()?;
            // A key that is no name passed the checksum and yet is damaged: left out.
            let Some(name) = name_of(raw.key, self.image.apex()) else {
                self.image.note_damage();
                continue;
            };
            return Some(Node {
                sets: raw.sets().map(|s| s.to_rrset(name.clone())).collect(),
                place: raw.place(),
                name,
            });
        }
    }
}
