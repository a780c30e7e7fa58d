//! The blocks of a zone image: small groups of nodes in key order with shared prefixes left out.
//!
//! A *section* is a run of blocks and an index of where each starts; the form of both is specified
//! at the top of [`super::image`]. Finding a key is a binary search over the first keys of the blocks
//! and a walk through one block. Nothing here trusts the octets: a read outside its bounds ends the
//! walk, and [`Section::check`] tells a sound section from a damaged one.

use super::image::{ImageError, Place};
use super::key::KEY_LEN_MAX;
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
}

impl<'a> SetRef<'a> {
    /// Records first, then signatures.
    fn all(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.data;
        std::iter::from_fn(move || {
            let (len, tail) = rest.split_first_chunk::<2>()?;
            let (item, tail) = tail.split_at_checked(u16::from_be_bytes(*len).into())?;
            rest = tail;
            Some(item)
        })
    }

    /// The data of each record.
    pub fn rdatas(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all().take(self.records as usize)
    }

    /// The data of each RRSIG that covers the set.
    pub fn sig_rdatas(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all().skip(self.records as usize)
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
pub struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    /// Where the node stands; a damaged octet reads as occluded, which is never answered from.
    pub fn place(self) -> Place {
        Place::from_octet(self.0.first().copied().unwrap_or(u8::MAX)).unwrap_or(Place::Occluded)
    }

    /// The sets, by ascending type.
    pub fn sets(self) -> impl Iterator<Item = SetRef<'a>> {
        let mut rest = self.0.get(1..).unwrap_or(&[]);
        std::iter::from_fn(move || read_set(&mut rest))
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
        let (&place, mut rest) = self.0.split_first().ok_or(DAMAGED)?;
        Place::from_octet(place).ok_or(DAMAGED)?;
        let mut last = None;
        while !rest.is_empty() {
            let set = read_set(&mut rest).ok_or(DAMAGED)?;
            let empty = set.records == 0 && set.sigs == 0;
            if last.is_some_and(|l| l >= set.rtype) || empty || set.data.len() > SET_BYTES_MAX {
                return Err(DAMAGED);
            }
            last = Some(set.rtype);
        }
        last.map(|_| ()).ok_or(DAMAGED)
    }
}

const DAMAGED: ImageError = ImageError::Structure("a node's records");

fn read_set<'a>(rest: &mut &'a [u8]) -> Option<SetRef<'a>> {
    let (head, mut tail) = rest.split_first_chunk::<6>()?;
    let records = read_varint(&mut tail)?;
    let sigs = read_varint(&mut tail)?;
    let start = tail;
    for _ in 0..records.checked_add(sigs)? {
        let (len, after) = tail.split_first_chunk::<2>()?;
        tail = after.get(usize::from(u16::from_be_bytes(*len))..)?;
    }
    *rest = tail;
    Some(SetRef {
        rtype: Rtype(u16::from_be_bytes([head[0], head[1]])),
        ttl: u32::from_be_bytes([head[2], head[3], head[4], head[5]]),
        records,
        sigs,
        data: &start[..start.len() - tail.len()],
    })
}

/// Appends a set to a node's body.
pub fn write_set(out: &mut Vec<u8>, rtype: Rtype, ttl: u32, records: &[&[u8]], sigs: &[&[u8]]) {
    out.extend_from_slice(&rtype.0.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
    write_varint(out, records.len());
    write_varint(out, sigs.len());
    for data in records.iter().chain(sigs) {
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(data);
    }
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
    blocks: &'a [u8],
    index: &'a [u8],
}

impl<'a> Section<'a> {
    /// A section over its blocks and the offsets of their starts (8 octets each, little-endian).
    pub fn new(blocks: &'a [u8], index: &'a [u8]) -> Section<'a> {
        Section { blocks, index }
    }

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

    fn block(self, i: usize) -> Option<&'a [u8]> {
        let start = self.offset(i)?;
        let end = self.offset(i + 1).unwrap_or(self.blocks.len());
        self.blocks.get(start..end)
    }

    fn first_key(self, i: usize) -> Option<&'a [u8]> {
        let mut rest = self.block(i)?.get(BLOCK_HEADER_LEN..)?;
        let (0, len) = (read_varint(&mut rest)?, read_varint(&mut rest)?) else {
            return None;
        };
        rest.get(..len as usize)
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

    /// Reads everything once: offsets, checksums (unless told otherwise), order and form of all nodes.
    pub fn check(self, checksums: bool) -> Result<SectionCounts, ImageError> {
        let mut counts = SectionCounts::default();
        let mut expected = 0;
        let mut last_key: Option<Vec<u8>> = None;
        for i in 0..self.block_count() {
            if self.offset(i) != Some(expected) {
                return Err(ImageError::Structure("the block index"));
            }
            let block = self
                .block(i)
                .ok_or(ImageError::Structure("the block index"))?;
            check_block(block, checksums)?;
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

fn check_block(block: &[u8], checksums: bool) -> Result<(), ImageError> {
    let (crc, rest) = (block.split_first_chunk()).ok_or(ImageError::Structure("a block"))?;
    if checksums && crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
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
        self.nodes += 1;
        self.delegations += u64::from(body.place() == Place::Delegation);
        for set in body.sets() {
            self.records += u64::from(set.records) + u64::from(set.sigs);
        }
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
        let (body, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Body(body))
    }

    /// The key of the node that it has moved to.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Moves to the next node without a copy of its key.
    pub fn advance(&mut self) -> Option<Body<'a>> {
        // An empty block is damage: the walk ends there.
        if self.left == 0 && self.enter()? == 0 {
            return None;
        }
        self.left -= 1;
        let body = self.read_node();
        if body.is_none() {
            (self.left, self.block) = (0, usize::MAX);
        }
        body
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
#[derive(Default)]
pub struct SectionWriter {
    blocks: Vec<u8>,
    index: Vec<u8>,
    counts: SectionCounts,
    block_start: usize,
    block_nodes: u16,
    last_key: Vec<u8>,
}

impl SectionWriter {
    /// Appends a node. Keys must ascend.
    pub fn push(&mut self, key: &[u8], body: &[u8]) {
        let len = self.blocks.len() - self.block_start;
        if self.block_nodes as usize == BLOCK_NODES_MAX || len >= BLOCK_BYTES_AIM {
            self.close();
        }
        if self.block_nodes == 0 {
            self.block_start = self.blocks.len();
            self.index
                .extend_from_slice(&(self.block_start as u64).to_le_bytes());
            self.blocks.extend_from_slice(&[0; BLOCK_HEADER_LEN]);
            self.last_key.clear();
        }
        let pairs = key.iter().zip(&self.last_key);
        let shared = pairs.take_while(|(a, b)| a == b).count();
        write_varint(&mut self.blocks, shared);
        write_varint(&mut self.blocks, key.len() - shared);
        self.blocks.extend_from_slice(&key[shared..]);
        write_varint(&mut self.blocks, body.len());
        self.blocks.extend_from_slice(body);
        self.counts.add(Body(body));
        self.block_nodes += 1;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
    }

    fn close(&mut self) {
        let Some(block) = self
            .blocks
            .get_mut(self.block_start..)
            .filter(|b| !b.is_empty())
        else {
            return;
        };
        block[4..6].copy_from_slice(&self.block_nodes.to_le_bytes());
        let crc = crc32fast::hash(&block[4..]);
        block[..4].copy_from_slice(&crc.to_le_bytes());
        self.block_start = self.blocks.len();
        self.block_nodes = 0;
    }

    /// Octets written so far.
    pub fn len_bytes(&self) -> usize {
        self.blocks.len() + self.index.len()
    }

    /// Closes the last block; returns blocks, index and what they hold.
    pub fn finish(mut self) -> (Vec<u8>, Vec<u8>, SectionCounts) {
        self.close();
        (self.blocks, self.index, self.counts)
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
