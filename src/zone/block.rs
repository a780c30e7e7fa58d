//! The blocks of a zone image: small groups of nodes in key order with shared prefixes left out.
//!
//! A *section* is a run of blocks and an index of where each starts; the form of both is specified
//! at the top of [`super::image`]. Finding a key is a binary search over the first keys of the blocks
//! and a walk through one block. Nothing here trusts the octets: a block is checked when it is first touched,
//! a read outside its bounds ends the walk, and either is counted as damage ([`super::checks`]).
//! [`Section::check`] reads all of a section.

use super::checks::Checks;
use super::image::{ImageError, Place};
use super::key::KEY_LEN_MAX;
use super::output::Output;
use super::tables::{Shape, Tables, TablesWriter};
use crate::dns::{Name, Rdata, RrSet, Rtype};

/// Nodes in a block; more would lengthen the walk, fewer the index.
pub const BLOCK_NODES_MAX: usize = 16;
/// A block that has reached this many octets is closed early.
const BLOCK_BYTES_AIM: usize = 2048;
/// Octets before the nodes of a block: CRC and node count.
const BLOCK_HEADER_LEN: usize = 6;
/// The most octets of one set's data: more could not be sent in one message.
pub const SET_BYTES_MAX: usize = 65_535;

/// One set as it lies in the image.
#[derive(Clone, Copy)]
pub struct SetRef<'a> {
    /// Type (of the covered set, where only signatures are held).
    pub rtype: Rtype,
    /// TTL in seconds.
    pub ttl: u32,
    /// How many records.
    pub records: u32,
    /// How many signatures.
    pub sigs: u32,
    data: &'a [u8],
    tables: Tables<'a>,
}

impl<'a> SetRef<'a> {
    /// Records first, then signatures.
    fn all(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (mut rest, tables) = (self.data, self.tables);
        std::iter::from_fn(move || read_item(&mut rest, tables))
    }

    /// The data of each record.
    pub fn rdatas(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all().take(self.records as usize)
    }

    /// The data of each RRSIG that covers the set.
    pub fn sig_rdatas(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all().skip(self.records as usize)
    }

    /// The data of each record, then that of each signature; which of the two it is.
    pub fn all_marked(&self) -> impl Iterator<Item = (bool, &'a [u8])> + use<'a> {
        let records = self.records as usize;
        (self.all().enumerate()).map(move |(at, data)| (at >= records, data))
    }

    /// Whether the two are the same set, octet for octet.
    pub fn is_same(&self, other: &SetRef<'_>) -> bool {
        let shape = |s: &SetRef<'_>| (s.rtype, s.ttl, s.records, s.sigs);
        shape(self) == shape(other) && self.all().eq(other.all())
    }

    /// The set as an owned value under the owner `name`.
    pub fn to_rrset(self, name: Name) -> RrSet {
        RrSet {
            name,
            rtype: self.rtype,
            ttl: self.ttl,
            rdatas: self.rdatas().map(Rdata::from).collect(),
            sigs: self.sig_rdatas().map(Rdata::from).collect(),
        }
    }
}

/// The body of a node: its place and its sets.
#[derive(Clone, Copy)]
pub struct Body<'a> {
    octets: &'a [u8],
    tables: Tables<'a>,
}

impl<'a> Body<'a> {
    /// Where the node stands; a damaged octet reads as occluded, which is never answered from.
    pub fn place(self) -> Place {
        Place::from_octet(self.octets.first().copied().unwrap_or(u8::MAX))
            .unwrap_or(Place::Occluded)
    }

    /// The sets, by ascending type.
    pub fn sets(self) -> impl Iterator<Item = SetRef<'a>> + use<'a> {
        let mut rest = self.octets.get(1..).unwrap_or(&[]);
        std::iter::from_fn(move || read_set(&mut rest, self.tables))
    }

    /// The set of this type.
    pub fn set(self, rtype: Rtype) -> Option<SetRef<'a>> {
        self.sets().find(|s| s.rtype == rtype)
    }

    /// The set of this type if it has records, not only signatures.
    pub fn data(self, rtype: Rtype) -> Option<SetRef<'a>> {
        self.set(rtype).filter(|s| s.records > 0)
    }

    fn check(self) -> Result<(), ImageError> {
        let (&place, mut rest) = self.octets.split_first().ok_or(DAMAGED)?;
        Place::from_octet(place).ok_or(DAMAGED)?;
        let mut last = None;
        while !rest.is_empty() {
            let set = read_set(&mut rest, self.tables).ok_or(DAMAGED)?;
            let empty = set.records == 0 && set.sigs == 0;
            let len: usize = set.all().map(<[u8]>::len).sum();
            if last.is_some_and(|l| l >= set.rtype) || empty || len > SET_BYTES_MAX {
                return Err(DAMAGED);
            }
            last = Some(set.rtype);
        }
        last.map(|_| ()).ok_or(DAMAGED)
    }
}

const DAMAGED: ImageError = ImageError::Structure("a node's records");

/// One piece of data: a varint whose lowest bit tells whether the rest of it is a length or the number of shared data.
fn read_item<'a>(rest: &mut &'a [u8], tables: Tables<'a>) -> Option<&'a [u8]> {
    let head = read_varint(rest)? as usize;
    if head & 1 == 1 {
        return tables.shared(head >> 1);
    }
    let (item, tail) = rest.split_at_checked(head >> 1)?;
    *rest = tail;
    Some(item)
}

fn read_shape(rest: &mut &[u8], tables: Tables<'_>) -> Option<Shape> {
    if let Some(number) = (read_varint(rest)? as usize).checked_sub(1) {
        return tables.shape(number);
    }
    let (head, tail) = rest.split_first_chunk::<6>()?;
    *rest = tail;
    Some(Shape {
        rtype: Rtype(u16::from_be_bytes([head[0], head[1]])),
        ttl: u32::from_be_bytes([head[2], head[3], head[4], head[5]]),
        records: read_varint(rest)?,
        sigs: read_varint(rest)?,
    })
}

fn read_set<'a>(rest: &mut &'a [u8], tables: Tables<'a>) -> Option<SetRef<'a>> {
    let shape = read_shape(rest, tables)?;
    let start = *rest;
    for _ in 0..shape.records.checked_add(shape.sigs)? {
        read_item(rest, tables)?;
    }
    Some(SetRef {
        rtype: shape.rtype,
        ttl: shape.ttl,
        records: shape.records,
        sigs: shape.sigs,
        data: &start[..start.len() - rest.len()],
        tables,
    })
}

/// Appends a set to a node's body.
pub fn write_set<'d>(
    out: &mut Vec<u8>,
    tables: &mut TablesWriter,
    (rtype, ttl): (Rtype, u32),
    records: impl ExactSizeIterator<Item = &'d [u8]>,
    sigs: impl ExactSizeIterator<Item = &'d [u8]>,
) {
    let shape = Shape {
        rtype,
        ttl,
        records: records.len() as u32,
        sigs: sigs.len() as u32,
    };
    match tables.shape(shape) {
        Some(number) => write_varint(out, number as usize + 1),
        None => {
            out.push(0);
            out.extend_from_slice(&rtype.0.to_be_bytes());
            out.extend_from_slice(&ttl.to_be_bytes());
            write_varint(out, records.len());
            write_varint(out, sigs.len());
        }
    }
    for data in records {
        match tables.shared(rtype, data) {
            Some(number) => write_varint(out, (number as usize) << 1 | 1),
            None => write_item(out, data),
        }
    }
    for data in sigs {
        write_item(out, data);
    }
}

fn write_item(out: &mut Vec<u8>, data: &[u8]) {
    write_varint(out, data.len() << 1);
    out.extend_from_slice(data);
}

/// A node found: its key and body.
#[derive(Clone)]
pub struct Entry<'a> {
    /// The node's key.
    pub key: Vec<u8>,
    /// The node's body.
    pub body: Body<'a>,
}

/// Where a key falls in a section.
pub struct Spot<'a> {
    /// The last node that is not after the key.
    pub before: Option<Entry<'a>>,
    /// The first node after the key.
    pub after: Option<Entry<'a>>,
}

/// A run of blocks with its index.
#[derive(Clone, Copy)]
pub struct Section<'a> {
    /// The blocks.
    pub blocks: &'a [u8],
    /// The offsets of their starts, 8 octets each, little-endian.
    pub index: &'a [u8],
    /// What the sets in them refer to.
    pub tables: Tables<'a>,
    /// Which of them have been looked at.
    pub checks: &'a Checks,
    /// The number that the first of them has in `checks`.
    pub first: usize,
}

impl<'a> Section<'a> {
    /// How many blocks there are.
    pub fn block_count(self) -> usize {
        self.index.len() / 8
    }

    /// Whether there is no node.
    pub fn is_empty(self) -> bool {
        self.index.is_empty()
    }

    fn offset(self, i: usize) -> Option<usize> {
        let octets = self.index.get(i * 8..)?.first_chunk()?;
        usize::try_from(u64::from_le_bytes(*octets)).ok()
    }

    /// Block number `i`; `None` past the last one, and for a damaged one.
    fn block(self, i: usize) -> Option<&'a [u8]> {
        if i >= self.block_count() {
            return None;
        }
        let found = self.slice(i).filter(|block| {
            self.checks.is_sound(self.first + i) || {
                let sound = check_block(block).is_ok();
                if sound {
                    self.checks.note_sound(self.first + i);
                }
                sound
            }
        });
        self.or_damage(found)
    }

    fn slice(self, i: usize) -> Option<&'a [u8]> {
        let start = self.offset(i)?;
        let end = self.offset(i + 1).unwrap_or(self.blocks.len());
        self.blocks.get(start..end)
    }

    /// What was to be there; counted when it is not.
    fn or_damage<T>(self, found: Option<T>) -> Option<T> {
        if found.is_none() {
            self.checks.note_damage();
        }
        found
    }

    fn first_key(self, i: usize) -> Option<&'a [u8]> {
        let mut rest = self.block(i)?.get(BLOCK_HEADER_LEN..)?;
        let mut read = || {
            let (0, len) = (read_varint(&mut rest)?, read_varint(&mut rest)?) else {
                return None;
            };
            rest.get(..len as usize)
        };
        self.or_damage(read())
    }

    /// Where `key` falls: O(log n).
    pub fn locate(self, key: &[u8]) -> Spot<'a> {
        let (mut low, mut high) = (0, self.block_count());
        while low < high {
            let mid = low + (high - low) / 2;
            match self.first_key(mid) {
                Some(first) if first <= key => low = mid + 1,
                _ => high = mid,
            }
        }
        // `low` is the first block that starts after the key.
        let mut cursor = self.cursor_at(low.saturating_sub(1));
        let (mut last_key, mut last) = (Vec::new(), None);
        loop {
            let body = cursor.advance();
            if body.is_some() && *cursor.key <= *key {
                last_key.clone_from(&cursor.key);
                last = body;
                continue;
            }
            return Spot {
                before: last.map(|body| Entry {
                    key: last_key,
                    body,
                }),
                after: body.map(|body| Entry {
                    key: cursor.key,
                    body,
                }),
            };
        }
    }

    /// The body of the node with exactly this key.
    pub fn find(self, key: &[u8]) -> Option<Body<'a>> {
        let entry = self.locate(key).before?;
        (entry.key == key).then_some(entry.body)
    }

    /// The last node that is not after `key`.
    pub fn at_or_before(self, key: &[u8]) -> Option<Entry<'a>> {
        self.locate(key).before
    }

    /// The last node before `key`.
    pub fn before(self, key: &[u8]) -> Option<Entry<'a>> {
        match self.at_or_before(key)? {
            entry if entry.key != key => Some(entry),
            _ => {
                // The key itself is a node: its block holds the one before, or the block before does.
                let (mut low, mut high) = (0, self.block_count());
                while low < high {
                    let mid = low + (high - low) / 2;
                    match self.first_key(mid) {
                        Some(first) if first < key => low = mid + 1,
                        _ => high = mid,
                    }
                }
                let mut cursor = self.cursor_at(low.checked_sub(1)?);
                let mut found = None;
                while let Some(entry) = cursor.next().filter(|e| *e.key < *key) {
                    found = Some(entry);
                }
                found
            }
        }
    }

    /// The last node of the section.
    pub fn last(self) -> Option<Entry<'a>> {
        self.cursor_at(self.block_count().checked_sub(1)?).last()
    }

    /// All nodes in key order.
    pub fn cursor(self) -> Cursor<'a> {
        self.cursor_at(0)
    }

    fn cursor_at(self, block: usize) -> Cursor<'a> {
        Cursor {
            section: self,
            block,
            rest: &[],
            left: 0,
            key: Vec::new(),
        }
    }

    /// Reads everything once: offsets, checksums, order and form of all nodes. `pace` is called now and then.
    pub fn check(self, pace: &mut dyn FnMut()) -> Result<SectionCounts, ImageError> {
        let mut counts = SectionCounts::default();
        let mut expected = 0;
        let mut last_key: Option<Vec<u8>> = None;
        for i in 0..self.block_count() {
            if self.offset(i) != Some(expected) {
                return Err(ImageError::Structure("the block index"));
            }
            if i % PACE_BLOCKS == 0 {
                pace();
            }
            let block = self
                .slice(i)
                .ok_or(ImageError::Structure("the block index"))?;
            self.block(i).ok_or(ImageError::Checksum("a block"))?;
            expected += block.len();
            let mut cursor = self.cursor_at(i);
            let nodes = cursor.enter().ok_or(ImageError::Structure("a block"))?;
            if !(1..=BLOCK_NODES_MAX).contains(&nodes) {
                return Err(ImageError::Structure("a block's node count"));
            }
            for _ in 0..nodes {
                let body = cursor.read_node().ok_or(ImageError::Structure("a node"))?;
                if last_key.as_ref().is_some_and(|last| *last >= cursor.key) {
                    return Err(ImageError::Structure("the order of nodes"));
                }
                body.check()?;
                counts.add(body);
                last_key.get_or_insert_default().clone_from(&cursor.key);
            }
            if !cursor.rest.is_empty() {
                return Err(ImageError::Structure("a block"));
            }
        }
        match expected == self.blocks.len() {
            true => Ok(counts),
            false => Err(ImageError::Structure("the block index")),
        }
    }
}

/// Blocks that are read between two calls of the pace.
const PACE_BLOCKS: usize = 256;

fn check_block(block: &[u8]) -> Result<(), ImageError> {
    let (crc, rest) = (block.split_first_chunk()).ok_or(ImageError::Structure("a block"))?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
        return Err(ImageError::Checksum("a block"));
    }
    Ok(())
}

/// What a section holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct SectionCounts {
    /// Nodes.
    pub nodes: u64,
    /// Records, signatures among them.
    pub records: u64,
    /// Nodes that are zone cuts.
    pub delegations: u64,
}

impl SectionCounts {
    /// Counts a node.
    pub fn add(&mut self, body: Body<'_>) {
        let records = body
            .sets()
            .map(|s| u64::from(s.records) + u64::from(s.sigs));
        self.add_node(body.place(), records.sum());
    }

    /// Counts a node that stands there and has so many records.
    pub fn add_node(&mut self, place: Place, records: u64) {
        self.nodes += 1;
        self.delegations += u64::from(place == Place::Delegation);
        self.records += records;
    }
}

/// Walks the nodes of a section in key order.
pub struct Cursor<'a> {
    section: Section<'a>,
    /// The block to enter when this one is used up.
    block: usize,
    rest: &'a [u8],
    left: usize,
    key: Vec<u8>,
}

impl<'a> Cursor<'a> {
    /// Enters the next block; returns its node count.
    fn enter(&mut self) -> Option<usize> {
        let block = self.section.block(self.block)?;
        self.block += 1;
        let (count, rest) = block.get(4..)?.split_first_chunk::<2>()?;
        self.left = usize::from(u16::from_le_bytes(*count));
        self.rest = rest;
        self.key.clear();
        Some(self.left)
    }

    /// Reads the next node of the block; its key is `self.key` then.
    fn read_node(&mut self) -> Option<Body<'a>> {
        let shared = read_varint(&mut self.rest)? as usize;
        let len = read_varint(&mut self.rest)? as usize;
        if shared > self.key.len() || shared + len > KEY_LEN_MAX {
            return None;
        }
        let (suffix, rest) = self.rest.split_at_checked(len)?;
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        self.rest = rest;
        let len = read_varint(&mut self.rest)? as usize;
        let (octets, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        let tables = self.section.tables;
        Some(Body { octets, tables })
    }

    /// The key of the node that it has moved to.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Moves to the next node without a copy of its key.
    pub fn advance(&mut self) -> Option<Body<'a>> {
        // An empty block is damage: the walk ends there.
        if self.left == 0 && self.enter()? == 0 {
            return self.section.or_damage(None);
        }
        self.left -= 1;
        let body = self.read_node();
        if body.is_none() {
            (self.left, self.block) = (0, usize::MAX);
        }
        self.section.or_damage(body)
    }
}

impl<'a> Iterator for Cursor<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let body = self.advance()?;
        Some(Entry {
            key: self.key.clone(),
            body,
        })
    }
}

/// Writes a section: nodes in ascending key order go in, blocks and index come out.
pub struct SectionWriter {
    /// Where finished blocks go.
    blocks: Output,
    /// Octets that were in `blocks` before the first one.
    before: u64,
    index: Vec<u8>,
    counts: SectionCounts,
    block: Vec<u8>,
    block_nodes: u16,
    last_key: Vec<u8>,
}

impl SectionWriter {
    /// A writer that appends to `blocks`.
    pub fn new(blocks: Output) -> SectionWriter {
        SectionWriter {
            before: blocks.len(),
            blocks,
            index: Vec::new(),
            counts: SectionCounts::default(),
            block: Vec::new(),
            block_nodes: 0,
            last_key: Vec::new(),
        }
    }

    /// Appends a node that has so many records. Keys must ascend.
    pub fn push(
        &mut self,
        key: &[u8],
        body: &[u8],
        (place, records): (Place, u64),
    ) -> std::io::Result<()> {
        if self.block_nodes as usize == BLOCK_NODES_MAX || self.block.len() >= BLOCK_BYTES_AIM {
            self.close()?;
        }
        if self.block_nodes == 0 {
            let start = self.blocks.len() - self.before;
            self.index.extend_from_slice(&start.to_le_bytes());
            self.block.extend_from_slice(&[0; BLOCK_HEADER_LEN]);
            self.last_key.clear();
        }
        let pairs = key.iter().zip(&self.last_key);
        let shared = pairs.take_while(|(a, b)| a == b).count();
        write_varint(&mut self.block, shared);
        write_varint(&mut self.block, key.len() - shared);
        self.block.extend_from_slice(&key[shared..]);
        write_varint(&mut self.block, body.len());
        self.block.extend_from_slice(body);
        self.counts.add_node(place, records);
        self.block_nodes += 1;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        Ok(())
    }

    fn close(&mut self) -> std::io::Result<()> {
        if self.block_nodes == 0 {
            return Ok(());
        }
        self.block[4..6].copy_from_slice(&self.block_nodes.to_le_bytes());
        let crc = crc32fast::hash(&self.block[4..]);
        self.block[..4].copy_from_slice(&crc.to_le_bytes());
        self.blocks.write(&self.block)?;
        self.block.clear();
        self.block_nodes = 0;
        Ok(())
    }

    /// Octets written so far.
    pub fn len_bytes(&self) -> u64 {
        self.blocks.len() - self.before + (self.index.len() + self.block.len()) as u64
    }

    /// Closes the last block; returns where the blocks are, their length, the index and what they hold.
    ///
    /// # Errors
    /// The disk is full or fails.
    pub fn finish(mut self) -> std::io::Result<(Output, u64, Vec<u8>, SectionCounts)> {
        self.close()?;
        let len = self.blocks.len() - self.before;
        Ok((self.blocks, len, self.index, self.counts))
    }
}

/// Appends a number, seven bits per octet, lowest first.
pub fn write_varint(out: &mut Vec<u8>, n: usize) {
    let mut n = n;
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn read_varint(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in [0, 7, 14, 21, 28] {
        let (&octet, tail) = rest.split_first()?;
        *rest = tail;
        let bits = u32::from(octet & 0x7F);
        if shift == 28 && bits > 0x0F {
            return None;
        }
        value |= bits << shift;
        if octet & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
