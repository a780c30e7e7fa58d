//! Records on their way into an image: gathered in an *arena*, sorted, and where that is too small in *runs* on disk.
//!
//! An entry is one record with its sort key, so that sorting and merging compare octets and need nothing else. A run is an
//! arena's entries in order, written to an unlinked file and mapped; merging reads all runs side by side.
//!
//! ```text
//! entry   2  length of the key    2  type (of the covered set, for a signature)   1  whether it is a signature
//!         4  TTL                  2  length of the data                              key, data
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::Path;

use super::output::{Octets, Output};
use crate::dns::Rtype;

const HEADER_LEN: usize = 11;

/// A record with its key.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// Sort key of the owner.
    pub key: &'a [u8],
    /// Type, of the covered set where it is a signature.
    pub covered: Rtype,
    /// Whether it is an RRSIG.
    pub sig: bool,
    /// TTL in seconds.
    pub ttl: u32,
    /// Data.
    pub rdata: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The entry at the start of `octets`, which this program has written, and its length.
    fn read(octets: &'a [u8]) -> (Entry<'a>, usize) {
        let word = |i: usize| u16::from_be_bytes([octets[i], octets[i + 1]]);
        let (key_len, rdata_len) = (usize::from(word(0)), usize::from(word(9)));
        let (key, rest) = octets[HEADER_LEN..].split_at(key_len);
        let entry = Entry {
            key,
            covered: Rtype(word(2)),
            sig: octets[4] != 0,
            ttl: u32::from_be_bytes([octets[5], octets[6], octets[7], octets[8]]),
            rdata: &rest[..rdata_len],
        };
        (entry, HEADER_LEN + key_len + rdata_len)
    }

    /// What entries are sorted by.
    pub fn order(self) -> (&'a [u8], Rtype, bool) {
        (self.key, self.covered, self.sig)
    }

    /// The record's own type.
    pub fn rtype(self) -> Rtype {
        if self.sig { Rtype::RRSIG } else { self.covered }
    }
}

/// Where an entry is in its arena, with the start of its key, which settles most comparisons.
#[derive(Clone, Copy)]
struct Place {
    prefix: u64,
    at: u64,
}

/// Entries in memory.
#[derive(Default)]
pub struct Arena {
    octets: Vec<u8>,
    places: Vec<Place>,
}

impl Arena {
    /// Octets held.
    pub fn len_bytes(&self) -> usize {
        self.octets.len() + self.places.len() * size_of::<Place>()
    }

    /// Begins an entry; its key is to be appended to [`Arena::octets`]. Returns where.
    pub fn begin(&mut self) -> usize {
        self.octets.extend_from_slice(&[0; HEADER_LEN]);
        self.octets.len()
    }

    /// Where the key goes.
    pub fn octets(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }

    /// Takes back an entry that was begun.
    pub fn undo(&mut self, key_at: usize) {
        self.octets.truncate(key_at - HEADER_LEN);
    }

    /// Octets of the key that was begun there.
    pub fn key_len(&self, key_at: usize) -> usize {
        self.octets.len() - key_at
    }

    /// Octets that the entry begun there takes with so much data.
    pub fn entry_len(&self, key_at: usize, rdata_len: usize) -> usize {
        HEADER_LEN + self.key_len(key_at) + rdata_len + size_of::<Place>()
    }

    /// Ends the entry begun there; returns the octets that it takes.
    pub fn end(
        &mut self,
        key_at: usize,
        (covered, sig): (Rtype, bool),
        ttl: u32,
        rdata: &[u8],
    ) -> usize {
        let len = self.entry_len(key_at, rdata.len());
        let key_len = self.key_len(key_at) as u16;
        let mut prefix = [0; 8];
        let shown = usize::from(key_len).min(8);
        prefix[..shown].copy_from_slice(&self.octets[key_at..key_at + shown]);
        let head = &mut self.octets[key_at - HEADER_LEN..key_at];
        head[..2].copy_from_slice(&key_len.to_be_bytes());
        head[2..4].copy_from_slice(&covered.0.to_be_bytes());
        head[4] = u8::from(sig);
        head[5..9].copy_from_slice(&ttl.to_be_bytes());
        head[9..].copy_from_slice(&(rdata.len() as u16).to_be_bytes());
        self.octets.extend_from_slice(rdata);
        self.places.push(Place {
            prefix: u64::from_be_bytes(prefix),
            at: (key_at - HEADER_LEN) as u64,
        });
        len
    }

    /// Puts the entries in order.
    pub fn sort(&mut self) {
        let octets = &self.octets;
        let order = |place: &Place| Entry::read(&octets[place.at as usize..]).0.order();
        let compare =
            |a: &Place, b: &Place| (a.prefix.cmp(&b.prefix)).then_with(|| order(a).cmp(&order(b)));
        // Zone files mostly come sorted, which a stable sort finds out at once.
        self.places.sort_by(compare);
    }

    /// The entries as they are in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let at = |place: &Place| Entry::read(&self.octets[place.at as usize..]).0;
        self.places.iter().map(at)
    }

    /// Writes the entries in order.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn into_run(mut self, scratch: Option<&Path>) -> io::Result<Run> {
        self.sort();
        let mut output = Output::new(scratch)?;
        for place in &self.places {
            let entry = &self.octets[place.at as usize..];
            output.write(&entry[..Entry::read(entry).1])?;
        }
        Ok(Run(output.into_octets()?))
    }
}

/// Entries in order.
pub struct Run(Octets);

/// The entries of all runs in order.
pub fn merge(runs: &[Run]) -> impl Iterator<Item = Entry<'_>> {
    let mut rests: Vec<&[u8]> = runs.iter().map(|run| run.0.as_slice()).collect();
    let mut heads: Vec<Option<Entry<'_>>> = rests.iter_mut().map(take).collect();
    let mut heap: BinaryHeap<_> = (heads.iter().enumerate())
        .filter_map(|(run, head)| Some(Reverse((head.as_ref()?.order(), run))))
        .collect();
    std::iter::from_fn(move || {
        let Reverse((_, run)) = heap.pop()?;
        let entry = heads[run].take();
        heads[run] = take(&mut rests[run]);
        heap.extend(heads[run].map(|next| Reverse((next.order(), run))));
        entry
    })
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<Entry<'a>> {
    if rest.is_empty() {
        return None;
    }
    let (entry, len) = Entry::read(rest);
    *rest = &rest[len..];
    Some(entry)
}
