//! The zone image: one zone as one immutable run of octets, on disk and in memory alike.
//!
//! A mirror of a TLD holds millions of names, must be there at once after a restart, and must not be
//! half-written or silently damaged. So a zone is compiled once ([`super::Builder`]) into a form that
//! is mapped and answered from without a rebuild. To *open* an image costs the same whatever its size: header, indices
//! and tables are checked, and each block when it is first touched ([`super::checks`]). [`ZoneImage::check`] reads all of
//! it, for who has the time.
//!
//! Failure: what cannot be opened is an [`ImageError`]. A damaged block makes every lookup that touches it
//! [`super::LookupKind::Unreadable`], never a denial; walks end there. Who must not miss anything asks
//! [`ZoneImage::damage`] afterwards. Nobody may change the file of an open image: a new version gets a new file.
//!
//! # Format, version 2
//!
//! Numbers of the image's own are little-endian; types, TTLs and data are in wire order. A *varint* has seven bits per
//! octet, the lowest first, at most five octets.
//!
//! ```text
//! header   offset  octets
//!               0  8       magic "hfzone\r\n"
//!               8  4       format version
//!              12  4       length of the header, CRC included
//!              16  8       length of the image
//!              24  4       SOA serial
//!              28  4       reserved, zero
//!              32  8       records, RRSIGs included
//!              40  8       nodes
//!              48  8       delegations
//!              56  32      digest (below)
//!              88  8       length of the name blocks
//!              96  8       name blocks: how many
//!             104  8       length of the hash blocks
//!             112  8       hash blocks: how many
//!             120  8       shapes: how many
//!             128  8       shared data: how many
//!             136  8       length of the shared data
//!             144  1..255  apex, wire form, lower case
//!               .  4       CRC-32 of the header before it
//! name blocks
//! name index               offset of each block from the first one, 8 octets each; then its CRC-32
//! hash blocks
//! hash index               likewise
//! shapes                   14 octets each: type 2, TTL 4, records 4, signatures 4; then CRC-32
//! shared ends              offset at which each entry of the shared data ends, 4 octets each; then CRC-32
//! shared data              then CRC-32
//!
//! block    0  4            CRC-32 of the rest of the block
//!          4  2            number of nodes, 1 to 16
//!          6               nodes
//! node     varint          octets of the key shared with the node before, 0 for the first
//!          varint, octets  rest of the key
//!          varint, octets  body
//! body     1               place: 0 apex, 1 authoritative, 2 delegation, 3 occluded
//!                          sets, ascending by type
//! set      varint          number of its shape, from 1; or 0, then 2 type, 4 TTL, varint records, varint signatures
//!                          data of each record, then of each RRSIG
//! data     varint n        n even: n/2 octets follow; n odd: the shared data number n/2, from 0
//! ```
//!
//! A key in the name blocks is the one of [`super::key`]: owner names are kept in lower case, names
//! inside data in the case given. An NSEC3 set whose owner is one label of 32 base32hex digits below
//! the apex stands in the hash blocks under its 20-octet hash, so that the neighbours of a hash are
//! found without walking over the names between them; what else that owner has stays in the name
//! blocks. A set with no records and only signatures is possible and kept.
//!
//! Records of a set are in the order of their canonical data (RFC 4034 section 6.3) without
//! duplicates, and the tables are filled in the order of the nodes ([`super::tables`]), so equal zones make equal images
//! whatever the order of arrival. The *digest* is
//! SHA-256 over the records of all nodes in canonical order, of each node by ascending type, of each
//! set the records and then its RRSIGs: owner (lower case), type, class, TTL, length, canonical data.
//!
//! Version 1 had no tables. This program does not read it: a mirror fetches its zone again.

use std::ops::Range;
use std::path::Path;

use super::block::{Body, Section, SectionCounts};
use super::checks::Checks;
use super::denial;
use super::hash32;
use super::key::key_of;
use super::output::Octets;
use super::tables::{OFFSET_LEN, SHAPE_LEN, Tables};
use super::write;
use crate::dns::{Name, Rdata, RrSet, Rtype, Soa};

pub(super) const MAGIC: &[u8; 8] = b"hfzone\r\n";
/// The format that this program writes and reads.
pub const FORMAT_VERSION: u32 = 2;
pub(super) const FIXED_HEADER_LEN: usize = 144;
pub(super) const CRC_LEN: usize = 4;

/// Why octets are no zone image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The file cannot be opened or mapped.
    #[error("cannot read the image: {0}")]
    Io(std::io::ErrorKind),
    /// It does not begin as an image does.
    #[error("not a zone image")]
    NotAnImage,
    /// Another program version wrote it.
    #[error("image format {0}, this program reads format {FORMAT_VERSION}")]
    Version(u32),
    /// It is shorter or longer than its header says.
    #[error("the image is {actual} octets long and should be {expected}")]
    Length {
        /// Octets present.
        actual: u64,
        /// Octets that the header announces.
        expected: u64,
    },
    /// A checksum does not fit: the storage or the transfer damaged it.
    #[error("checksum of {0} does not match")]
    Checksum(&'static str),
    /// The octets add up but do not make an image.
    #[error("{0} is damaged")]
    Structure(&'static str),
}

impl From<std::io::Error> for ImageError {
    fn from(error: std::io::Error) -> ImageError {
        ImageError::Io(error.kind())
    }
}

/// Where a node stands in its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The zone's own name.
    Apex,
    /// The zone's own data.
    Authoritative,
    /// A zone cut: NS and perhaps DS and NSEC of a child zone.
    Delegation,
    /// Below a cut (glue) or below a DNAME: not the zone's to answer.
    Occluded,
}

impl Place {
    pub(super) fn octet(self) -> u8 {
        match self {
            Place::Apex => 0,
            Place::Authoritative => 1,
            Place::Delegation => 2,
            Place::Occluded => 3,
        }
    }

    pub(super) fn from_octet(octet: u8) -> Option<Place> {
        Some(match octet {
            0 => Place::Apex,
            1 => Place::Authoritative,
            2 => Place::Delegation,
            3 => Place::Occluded,
            _ => return None,
        })
    }
}

/// A name of the zone with all that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Owner name, lower case.
    pub name: Name,
    /// Where it stands.
    pub place: Place,
    /// Its sets by ascending type, each with its signatures. One without `rdatas` holds signatures
    /// that cover nothing.
    pub sets: Vec<RrSet>,
}

/// How the zone denies what it does not have; read off the apex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denial {
    /// Unsigned.
    None,
    /// NSEC (RFC 4034).
    Nsec,
    /// NSEC3 (RFC 5155) with the parameters of the apex.
    Nsec3 { iterations: u16, salt: Vec<u8> },
}

/// Where the parts lie, without their checksums.
struct Layout {
    names: Range<usize>,
    names_index: Range<usize>,
    hashes: Range<usize>,
    hashes_index: Range<usize>,
    shapes: Range<usize>,
    shared_ends: Range<usize>,
    shared: Range<usize>,
}

/// An open zone image. Immutable; hold it in an `Arc`.
pub struct ZoneImage {
    octets: Octets,
    layout: Layout,
    checks: Checks,
    apex: Name,
    soa: Soa,
    denial: Denial,
    counts: SectionCounts,
    digest: [u8; 32],
}

impl std::fmt::Debug for ZoneImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZoneImage")
            .field("apex", &self.apex)
            .field("serial", &self.soa.serial)
            .field("records", &self.counts.records)
            .finish_non_exhaustive()
    }
}

impl ZoneImage {
    /// Maps the image at `path`. Its blocks are checked when they are touched.
    ///
    /// The file must not be changed or cut short while the image is in use; it may be unlinked.
    pub fn open(path: &Path) -> Result<ZoneImage, ImageError> {
        let len = std::fs::metadata(path)?.len();
        ZoneImage::open_prefix(path, len)
    }

    /// Like [`ZoneImage::open`], for a file whose first `len` octets are the image and that goes on after it.
    pub fn open_prefix(path: &Path, len: u64) -> Result<ZoneImage, ImageError> {
        let file = std::fs::File::open(path)?;
        let present = file.metadata()?.len();
        let len = usize::try_from(len).map_err(|_| ImageError::NotAnImage)?;
        // An empty file cannot be mapped.
        if len == 0 || present < len as u64 {
            return Err(ImageError::NotAnImage);
        }
        // SAFETY: image files are written under a temporary name, renamed and then never written
        // again, so the mapped octets do not change under the reader.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(&file)? };
        ZoneImage::open_octets(Octets::Mapped(map), true)
    }

    /// Opens an image held in memory and checks all of it.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<ZoneImage, ImageError> {
        let image = ZoneImage::open_octets(Octets::Owned(bytes), true)?;
        image.check(&mut || ())?;
        Ok(image)
    }

    /// Takes up what the builder has just written.
    pub(super) fn from_octets(octets: Octets) -> Result<ZoneImage, ImageError> {
        ZoneImage::open_octets(octets, false)
    }

    /// Leaves checksums out, so that tests reach what lies behind them.
    #[cfg(test)]
    pub(super) fn from_bytes_unsummed(bytes: Vec<u8>) -> Result<ZoneImage, ImageError> {
        let image = ZoneImage::open_octets(Octets::Owned(bytes), false)?;
        image.check(&mut || ())?;
        Ok(image)
    }

    fn open_octets(octets: Octets, checksums: bool) -> Result<ZoneImage, ImageError> {
        let bytes = octets.as_slice();
        let header = Header::read(bytes, checksums)?;
        let layout = header.layout(bytes.len())?;
        if checksums {
            for (part, what) in layout.summed() {
                check_sum(bytes, part, what)?;
            }
        }
        let blocks = header.names_blocks.saturating_add(header.hashes_blocks) as usize;
        let mut image = ZoneImage {
            soa: Soa {
                mname: Name::root(),
                rname: Name::root(),
                serial: header.serial,
                refresh_s: 0,
                retry_s: 0,
                expire_s: 0,
                minimum_s: 0,
            },
            checks: match checksums {
                true => Checks::unread(blocks),
                false => Checks::trusted(),
            },
            apex: header.apex,
            denial: Denial::None,
            counts: header.counts,
            digest: header.digest,
            layout,
            octets,
        };
        (image.soa, image.denial) = image.read_apex(header.serial)?;
        Ok(image)
    }

    /// What is needed for every answer.
    fn read_apex(&self, serial: u32) -> Result<(Soa, Denial), ImageError> {
        let body = self.names().find(b"").filter(|b| b.place() == Place::Apex);
        if self.damage() > 0 {
            return Err(ImageError::Checksum("a block"));
        }
        let body = body.ok_or(ImageError::Structure("the apex"))?;
        let soa = (body.data(Rtype::SOA))
            .and_then(|set| set.rdatas().next().and_then(Soa::parse))
            .filter(|soa| soa.serial == serial)
            .ok_or(ImageError::Structure("the SOA record"))?;
        Ok((soa, denial_of(body, self.hashes())))
    }

    /// Reads all of it: every checksum, the order and form of all nodes, the counts. Also brings all of it into memory.
    /// `pace` is called now and then.
    pub fn check(&self, pace: &mut dyn FnMut()) -> Result<(), ImageError> {
        let mut counts = self.names().check(pace)?;
        let more = self.hashes().check(pace)?;
        counts.records += more.records;
        counts.nodes += more.nodes;
        match counts == self.counts {
            true => Ok(()),
            false => Err(ImageError::Structure("the count of records")),
        }
    }

    /// As [`ZoneImage::check`], and that the content has the digest that the header says.
    pub fn check_whole(&self, pace: &mut dyn FnMut()) -> Result<(), ImageError> {
        self.check(pace)?;
        match write::digest_of(self, pace) == self.digest {
            true => Ok(()),
            false => Err(ImageError::Checksum("the content")),
        }
    }

    /// How often something damaged was touched since the image was opened. What was read between two equal counts was all
    /// there.
    pub fn damage(&self) -> u64 {
        self.checks.damage()
    }

    /// Marks the image as damaged, for who found out in another way.
    pub fn note_damage(&self) {
        self.checks.note_damage();
    }

    /// The zone's name, in lower case.
    pub fn apex(&self) -> &Name {
        &self.apex
    }

    /// The SOA data.
    pub fn soa(&self) -> Soa {
        self.soa.clone()
    }

    /// The SOA serial.
    pub fn serial(&self) -> u32 {
        self.soa.serial
    }

    /// How many records the zone has, signatures included.
    pub fn record_count(&self) -> u64 {
        self.counts.records
    }

    /// How many zone cuts the zone has.
    pub fn delegation_count(&self) -> u64 {
        self.counts.delegations
    }

    /// SHA-256 of the zone's content; equal for equal zones.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Whether the zone can deny with NSEC or NSEC3.
    pub fn is_signed(&self) -> bool {
        self.denial != Denial::None
    }

    /// Length of the image in octets.
    pub fn len_bytes(&self) -> usize {
        self.as_bytes().len()
    }

    /// The image as it is to be written to disk.
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.as_slice()
    }

    /// The set of this name and type wherever it stands (glue too), with its signatures. One that has
    /// only signatures is not found here; [`ZoneImage::nodes`] has it.
    ///
    /// For [`Rtype::RRSIG`]: all signatures of the name as one set.
    pub fn find(&self, name: &Name, rtype: Rtype) -> Option<RrSet> {
        let key = key_of(name, &self.apex)?;
        let owner = name.to_lowercase();
        if rtype == Rtype::RRSIG {
            return signatures(owner.clone(), self.sets_at(&key, &owner));
        }
        if rtype == Rtype::NSEC3
            && let Some(hash) = hash32::hash_of_key(&key)
            && let Some(body) = self.hashes().find(&hash)
        {
            return body.data(rtype).map(|s| s.to_rrset(owner));
        }
        let set = self.names().find(&key)?.data(rtype)?;
        Some(set.to_rrset(owner))
    }

    /// All sets of a name, those in the hash blocks among them, by ascending type.
    fn sets_at(&self, key: &[u8], owner: &Name) -> Vec<RrSet> {
        let mut sets: Vec<RrSet> = (self.names().find(key).into_iter())
            .flat_map(|body| body.sets())
            .map(|s| s.to_rrset(owner.clone()))
            .collect();
        if let Some(body) = hash32::hash_of_key(key).and_then(|h| self.hashes().find(&h)) {
            sets.extend(body.sets().map(|s| s.to_rrset(owner.clone())));
            sets.sort_by_key(|s| s.rtype);
        }
        sets
    }

    pub(super) fn names(&self) -> Section<'_> {
        self.section(&self.layout.names, &self.layout.names_index, 0)
    }

    pub(super) fn hashes(&self) -> Section<'_> {
        let first = self.layout.names_index.len() / 8;
        self.section(&self.layout.hashes, &self.layout.hashes_index, first)
    }

    fn section(&self, blocks: &Range<usize>, index: &Range<usize>, first: usize) -> Section<'_> {
        let octets = self.as_bytes();
        let layout = &self.layout;
        Section {
            blocks: &octets[blocks.clone()],
            index: &octets[index.clone()],
            tables: Tables::new(
                &octets[layout.shapes.clone()],
                &octets[layout.shared_ends.clone()],
                &octets[layout.shared.clone()],
            ),
            checks: &self.checks,
            first,
        }
    }

    pub(super) fn denial(&self) -> &Denial {
        &self.denial
    }
}

/// All RRSIGs among `sets` as one set of that type.
pub(super) fn signatures(owner: Name, sets: Vec<RrSet>) -> Option<RrSet> {
    let ttl = sets
        .iter()
        .filter(|s| !s.sigs.is_empty())
        .map(|s| s.ttl)
        .min()?;
    Some(RrSet {
        name: owner,
        rtype: Rtype::RRSIG,
        ttl,
        rdatas: sets
            .into_iter()
            .flat_map(|s| s.sigs)
            .collect::<Vec<Rdata>>(),
        sigs: Vec::new(),
    })
}

fn denial_of(apex: Body<'_>, hashes: Section<'_>) -> Denial {
    let params = (apex.data(Rtype::NSEC3PARAM).into_iter())
        .flat_map(|s| s.rdatas())
        .find_map(denial::usable_params);
    match params {
        Some((iterations, salt)) if !hashes.is_empty() => Denial::Nsec3 {
            iterations,
            salt: salt.to_vec(),
        },
        _ if apex.data(Rtype::NSEC).is_some() => Denial::Nsec,
        _ => Denial::None,
    }
}

/// The header in parsed form.
pub(super) struct Header {
    pub apex: Name,
    pub serial: u32,
    pub counts: SectionCounts,
    pub digest: [u8; 32],
    pub names_len: u64,
    pub names_blocks: u64,
    pub hashes_len: u64,
    pub hashes_blocks: u64,
    pub shapes: u64,
    pub shared: u64,
    pub shared_len: u64,
}

impl Header {
    /// Octets of the header of a zone with this apex, CRC included.
    pub fn len_of(apex: &Name) -> usize {
        FIXED_HEADER_LEN + apex.wire().len() + CRC_LEN
    }

    fn image_len(&self) -> Option<u64> {
        let table = |entries: u64, len: usize| {
            (entries.checked_mul(len as u64)?).checked_add(CRC_LEN as u64)
        };
        [
            self.names_len,
            table(self.names_blocks, 8)?,
            self.hashes_len,
            table(self.hashes_blocks, 8)?,
            table(self.shapes, SHAPE_LEN)?,
            table(self.shared, OFFSET_LEN)?,
            table(self.shared_len, 1)?,
        ]
        .into_iter()
        .try_fold(Header::len_of(&self.apex) as u64, u64::checked_add)
    }

    /// Writes the header.
    pub fn write(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&(Header::len_of(&self.apex) as u32).to_le_bytes());
        let total = self.image_len().unwrap_or(u64::MAX);
        out.extend_from_slice(&total.to_le_bytes());
        out.extend_from_slice(&self.serial.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for n in [
            self.counts.records,
            self.counts.nodes,
            self.counts.delegations,
        ] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&self.digest);
        for n in [
            self.names_len,
            self.names_blocks,
            self.hashes_len,
            self.hashes_blocks,
            self.shapes,
            self.shared,
            self.shared_len,
        ] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(self.apex.wire());
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn read(image: &[u8], checksums: bool) -> Result<Header, ImageError> {
        let short = || ImageError::Length {
            actual: image.len() as u64,
            expected: (FIXED_HEADER_LEN + 1 + CRC_LEN) as u64,
        };
        if !image.starts_with(MAGIC) {
            return Err(ImageError::NotAnImage);
        }
        let fixed: &[u8; FIXED_HEADER_LEN] = image.first_chunk().ok_or_else(short)?;
        let n32 = |at: usize| {
            u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]])
        };
        let n64 = |at: usize| u64::from(n32(at)) | u64::from(n32(at + 4)) << 32;
        if n32(8) != FORMAT_VERSION {
            return Err(ImageError::Version(n32(8)));
        }
        let damaged = ImageError::Structure("the header");
        let header = image.get(..n32(12) as usize).ok_or_else(short)?;
        let (header, crc) = header.split_last_chunk().ok_or_else(short)?;
        if checksums && crc32fast::hash(header) != u32::from_le_bytes(*crc) {
            return Err(ImageError::Checksum("the header"));
        }
        let apex = header.get(FIXED_HEADER_LEN..).map(Name::from_wire);
        let Some(Ok(apex)) = apex else {
            return Err(damaged);
        };
        let mut digest = [0; 32];
        digest.copy_from_slice(&fixed[56..88]);
        let parsed = Header {
            apex: apex.to_lowercase(),
            serial: n32(24),
            counts: SectionCounts {
                records: n64(32),
                nodes: n64(40),
                delegations: n64(48),
            },
            digest,
            names_len: n64(88),
            names_blocks: n64(96),
            hashes_len: n64(104),
            hashes_blocks: n64(112),
            shapes: n64(120),
            shared: n64(128),
            shared_len: n64(136),
        };
        let (actual, expected) = (image.len() as u64, n64(16));
        if actual != expected {
            return Err(ImageError::Length { actual, expected });
        }
        match parsed.image_len() == Some(expected) {
            true => Ok(parsed),
            false => Err(damaged),
        }
    }

    /// Where the parts lie; in bounds because the lengths add up to the image's.
    fn layout(&self, image_len: usize) -> Result<Layout, ImageError> {
        let mut at = Header::len_of(&self.apex);
        let mut take = |len: u64, sum: usize| {
            let (start, len) = (at, usize::try_from(len).ok()?);
            let end = start.checked_add(len)?;
            at = end.checked_add(sum)?;
            (at <= image_len).then_some(start..end)
        };
        let mut parts = || {
            Some(Layout {
                names: take(self.names_len, 0)?,
                names_index: take(self.names_blocks.checked_mul(8)?, CRC_LEN)?,
                hashes: take(self.hashes_len, 0)?,
                hashes_index: take(self.hashes_blocks.checked_mul(8)?, CRC_LEN)?,
                shapes: take(self.shapes.checked_mul(SHAPE_LEN as u64)?, CRC_LEN)?,
                shared_ends: take(self.shared.checked_mul(OFFSET_LEN as u64)?, CRC_LEN)?,
                shared: take(self.shared_len, CRC_LEN)?,
            })
        };
        parts().ok_or(ImageError::Structure("the header"))
    }
}

impl Layout {
    /// The parts that a checksum follows.
    fn summed(&self) -> [(&Range<usize>, &'static str); 5] {
        [
            (&self.names_index, "the block index"),
            (&self.hashes_index, "the block index"),
            (&self.shapes, "the shapes"),
            (&self.shared_ends, "the shared data"),
            (&self.shared, "the shared data"),
        ]
    }
}

fn check_sum(bytes: &[u8], part: &Range<usize>, what: &'static str) -> Result<(), ImageError> {
    let crc = bytes.get(part.end..).and_then(|rest| rest.first_chunk());
    let crc = crc.ok_or(ImageError::Structure(what))?;
    match crc32fast::hash(&bytes[part.clone()]) == u32::from_le_bytes(*crc) {
        true => Ok(()),
        false => Err(ImageError::Checksum(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Builder;
    use super::*;
    use crate::dns::{Class, Record};
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    fn name(s: &str) -> Name {
        s.parse().unwrap()
    }

    /// A zone with every kind of node, over several blocks.
    fn sample() -> Vec<u8> {
        let mut builder = Builder::new(name("example."));
        let mut add = |owner: &str, rtype: Rtype, rdata: &[u8]| {
            let record = Record {
                name: name(owner),
                rtype,
                class: Class::IN,
                ttl: 300,
                rdata: rdata.into(),
            };
            builder.add(record).unwrap();
        };
        let mut soa = b"\x02ns\x00\x00".to_vec();
        soa.extend([0; 20]);
        add("example.", Rtype::SOA, &soa);
        add("example.", Rtype::NSEC3PARAM, &[1, 0, 0, 1, 1, 0xAA]);
        for i in 0..40u8 {
            let cut = format!("c{i}.example.");
            add(&cut, Rtype::NS, name(&format!("ns.{cut}")).wire());
            add(&format!("ns.{cut}"), Rtype::A, &[192, 0, 2, i]);
            let hash = hash32::owner(&[i; 20], &name("example.")).unwrap();
            let mut data = vec![1, 1, 0, 1, 1, 0xAA, 20];
            data.extend([i + 1; 20]);
            add(&hash.to_string(), Rtype::NSEC3, &data);
        }
        add("d.example.", Rtype::DNAME, name("x.").wire());
        add("*.w.example.", Rtype::CNAME, b"\x00");
        add("*.v.example.", Rtype::TXT, b"\x01x");
        builder.finish().unwrap().as_bytes().to_vec()
    }

    /// Uses every way into an image; returns how many records it gave.
    fn use_all(image: &ZoneImage) -> usize {
        let mut seen = 0;
        for node in image.nodes() {
            seen += node.sets.len();
            for set in &node.sets {
                seen += image
                    .find(&node.name, set.rtype)
                    .map_or(0, |s| s.rdatas.len());
            }
        }
        for owner in [
            "example.",
            "c7.example.",
            "a.c7.example.",
            "x.d.example.",
            "nx.example.",
            "w.example.",
            "a.w.example.",
        ] {
            for rtype in [Rtype::A, Rtype::DS, Rtype::ANY, Rtype::NS, Rtype::RRSIG] {
                let found = image.lookup(&name(owner), rtype);
                seen += found.answer.len() + found.authority.len() + found.additional.len();
            }
        }
        seen
    }

    #[test]
    fn opens_what_was_built_mapped_or_held() {
        let bytes = sample();
        let held = ZoneImage::from_bytes(bytes.clone()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zone.image");
        std::fs::write(&path, &bytes).unwrap();
        let mapped = ZoneImage::open(&path).unwrap();
        assert_eq!(mapped.as_bytes(), held.as_bytes());
        assert_eq!(use_all(&mapped), use_all(&held));
        assert_eq!(held.delegation_count(), 40);
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(
            ZoneImage::open(&path),
            Err(ImageError::NotAnImage)
        ));
    }

    // Every octet changed, every length cut: the checksums see it.
    #[test]
    fn any_damage_is_an_error() {
        let good = sample();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            assert!(ZoneImage::from_bytes(bad).is_err(), "octet {at}");
            assert!(
                ZoneImage::from_bytes(good[..at].to_vec()).is_err(),
                "cut at {at}"
            );
        }
        let mut long = good;
        long.push(0);
        assert!(ZoneImage::from_bytes(long).is_err());
    }

    // An image is opened without being read. What its damage hides is never taken for absent.
    #[test]
    fn damage_is_never_a_denial() {
        let good = sample();
        let sound = ZoneImage::from_bytes(good.clone()).unwrap();
        let layout = &sound.layout;
        let dir = tempfile::tempdir().unwrap();
        let (mut opened, mut unreadable) = (0, 0);
        for at in (layout.names.start..layout.hashes_index.start).step_by(7) {
            let path = dir.path().join("zone.image");
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(&path, &bad).unwrap();
            let Ok(image) = ZoneImage::open(&path) else {
                continue;
            };
            opened += 1;
            for owner in [
                "c7.example.",
                "x.c39.example.",
                "nx.example.",
                "w.example.",
                "b.v.example.",
            ] {
                for rtype in [Rtype::A, Rtype::DS, Rtype::TXT] {
                    let found = image.lookup(&name(owner), rtype);
                    if found.kind == super::super::LookupKind::Unreadable {
                        unreadable += 1;
                    } else {
                        assert_eq!(found, sound.lookup(&name(owner), rtype), "octet {at}");
                    }
                }
            }
            let damage = image.damage();
            let all = image.nodes().count() == sound.nodes().count();
            assert!(!all || image.damage() > damage, "octet {at}");
            assert!(image.check(&mut || ()).is_err(), "octet {at}");
            std::fs::remove_file(&path).unwrap();
        }
        assert!(opened > 100 && unreadable > 100, "{opened} {unreadable}");
        sound.check_whole(&mut || ()).unwrap();
    }

    // Another content under right checksums: only the digest tells.
    #[test]
    fn the_digest_is_of_the_content() {
        let mut bytes = sample();
        bytes[56] ^= 1;
        let mut image = ZoneImage::open_octets(Octets::Owned(bytes), false).unwrap();
        image.checks = Checks::trusted();
        let found = image.check_whole(&mut || ());
        assert_eq!(found, Err(ImageError::Checksum("the content")));
    }

    #[test]
    fn other_formats_are_named() {
        let mut bytes = sample();
        bytes[8] = 1;
        let found = ZoneImage::from_bytes(bytes).unwrap_err();
        assert_eq!(
            found.to_string(),
            "image format 1, this program reads format 2"
        );
    }

    // Behind the checksums, seeded: an error, or an image that can be used without a panic.
    #[test]
    fn damage_with_right_checksums_never_panics() {
        let good = sample();
        let mut rng = SmallRng::seed_from_u64(1);
        let (mut opened, mut seen) = (0, 0);
        for _ in 0..1_000 {
            let mut bad = good.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bad.len());
                bad[at] = match rng.random_range(0..4) {
                    0 => 0,
                    1 => 0xFF,
                    2 => bad[at].wrapping_add(1),
                    _ => rng.random(),
                };
            }
            if let Ok(image) = ZoneImage::from_bytes_unsummed(bad) {
                opened += 1;
                seen += use_all(&image);
            }
        }
        assert!(opened > 100 && seen > 0, "{opened}");
    }
}
