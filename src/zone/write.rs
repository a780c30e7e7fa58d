//! Writing an image: nodes in canonical order go in, the image comes out.
//!
//! One pass: names go to their section, NSEC3 sets to theirs, the digest of the content is computed along the way, and the
//! header is written last. What a name may have beside what, and where it stands, is judged here, because here all of its
//! records are together for the first time.

use std::borrow::Cow;
use std::path::Path;

use aws_lc_rs::digest;

use super::block::{SET_BYTES_MAX, SectionWriter, write_set};
use super::build::{BuildError, BuildNotes, NODE_BYTES_MAX};
use super::hash32;
use super::image::{Header, Place, ZoneImage};
use super::key::{NameBuf, name_of, wire_of};
use super::output::Output;
use super::runs::Entry;
use super::tables::TablesWriter;
use crate::dns::{Class, Name, Rtype, rdata};

/// Octets that go to the digest at once: sets are small, and a call is not.
const DIGESTED_BYTES: usize = 8 << 10;

/// Takes nodes in canonical order.
pub struct ImageWriter<'z> {
    apex: &'z Name,
    bytes_max: u64,
    names: SectionWriter,
    hashes: SectionWriter,
    tables: TablesWriter,
    digest: digest::Context,
    notes: BuildNotes,
    /// The zone cut or DNAME last seen; the names below it follow at once in canonical order.
    cover: Option<Vec<u8>>,
    /// The body of what is being written.
    body: Vec<u8>,
    /// What the digest has yet to take.
    digested: Vec<u8>,
}

impl<'z> ImageWriter<'z> {
    /// A writer for the zone at `apex`, of an image of at most `bytes_max` octets, in memory or in a file in `scratch`.
    pub fn new(apex: &'z Name, bytes_max: u64, scratch: Option<&Path>) -> Result<Self, BuildError> {
        let mut output = Output::new(scratch)?;
        output.write(&vec![0; Header::len_of(apex)])?;
        Ok(ImageWriter {
            apex,
            bytes_max,
            names: SectionWriter::new(output),
            hashes: SectionWriter::new(Output::new(scratch)?),
            tables: TablesWriter::default(),
            digest: digest::Context::new(&digest::SHA256),
            notes: BuildNotes::default(),
            cover: None,
            body: Vec::new(),
            digested: Vec::new(),
        })
    }

    /// Takes the next entry; `node` gathers those of one name.
    pub fn take<'a>(
        &mut self,
        node: &mut Vec<Entry<'a>>,
        entry: Entry<'a>,
    ) -> Result<(), BuildError> {
        if node.first().is_some_and(|first| first.key != entry.key) {
            self.end_node(node)?;
        }
        node.push(entry);
        Ok(())
    }

    /// Writes the entries of one name, sorted by [`Entry::order`], and empties the list.
    pub fn end_node(&mut self, node: &mut Vec<Entry<'_>>) -> Result<(), BuildError> {
        if !node.is_empty() {
            self.node(node)?;
            node.clear();
        }
        Ok(())
    }

    fn node(&mut self, entries: &[Entry<'_>]) -> Result<(), BuildError> {
        let key = entries[0].key;
        let mut buffer = NameBuf::default();
        let owner = wire_of(key, self.apex, &mut buffer).ok_or_else(|| BuildError::BadRdata {
            name: self.apex.clone(),
            rtype: entries[0].rtype(),
        })?;
        let place = self.place(key, entries);
        if place != Place::Occluded {
            check_single(entries).map_err(|fault| fault(self.name(key)))?;
        }
        let hash = hash32::hash_of_key(key);
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        body.push(place.octet());
        let mut records = 0;
        for set in entries.chunk_by(|a, b| a.covered == b.covered) {
            match hash.filter(|_| set[0].covered == Rtype::NSEC3) {
                // The chain is the zone's own even under a DNAME at the apex.
                Some(hash) => {
                    let place = Place::Authoritative;
                    let mut body = vec![place.octet()];
                    let count = self.set(owner, set, &mut body)?;
                    self.hashes.push(&hash, &body, (place, count))?;
                }
                None => records += self.set(owner, set, &mut body)?,
            }
        }
        if body.len() > 1 {
            self.names.push(key, &body, (place, records))?;
        }
        self.body = body;
        let tables = self.tables.len_bytes() as u64;
        if self.names.len_bytes() + self.hashes.len_bytes() + tables > self.bytes_max {
            return Err(BuildError::TooLarge(self.bytes_max));
        }
        Ok(())
    }

    fn name(&self, key: &[u8]) -> Name {
        name_of(key, self.apex).unwrap_or_else(|| self.apex.clone())
    }

    fn place(&mut self, key: &[u8], entries: &[Entry<'_>]) -> Place {
        let has = |t| entries.iter().any(|e| !e.sig && e.covered == t);
        if let Some(cover) = &self.cover
            && key.starts_with(cover)
            && key != cover
        {
            return Place::Occluded;
        }
        let place = match key.is_empty() {
            true => Place::Apex,
            false if has(Rtype::NS) => Place::Delegation,
            false => Place::Authoritative,
        };
        if place == Place::Delegation || has(Rtype::DNAME) {
            let cover = self.cover.get_or_insert_default();
            cover.clear();
            cover.extend_from_slice(key);
        } else {
            self.cover = None;
        }
        place
    }

    /// Appends one set to a body and to the digest; returns how many records it has.
    fn set<'a>(
        &mut self,
        owner: &[u8],
        set: &[Entry<'a>],
        body: &mut Vec<u8>,
    ) -> Result<u64, BuildError> {
        let rtype = set[0].covered;
        let split = set.partition_point(|e| !e.sig);
        let records = sorted(&set[..split], &mut self.notes.duplicates);
        let sigs = sorted(&set[split..], &mut self.notes.duplicates);
        let size: usize = (records.iter().chain(&sigs))
            .map(|(_, data)| data.len() + 2)
            .sum();
        if size > SET_BYTES_MAX || body.len() + size > NODE_BYTES_MAX {
            return Err(BuildError::SetTooLarge {
                name: self.name(set[0].key),
                rtype,
            });
        }
        let ttl = set.iter().map(|e| e.ttl).min().unwrap_or(0);
        if set.iter().any(|e| e.ttl != ttl) {
            self.notes.mixed_ttls += 1;
            if self.notes.first_mixed_ttl.is_none() {
                self.notes.first_mixed_ttl = Some((self.name(set[0].key), rtype));
            }
        }
        let plain = |(_, data): &(_, &'a [u8])| *data;
        write_set(
            body,
            &mut self.tables,
            (rtype, ttl),
            records.iter().map(plain),
            sigs.iter().map(plain),
        );
        for (rtype, list) in [(rtype, &records), (Rtype::RRSIG, &sigs)] {
            for (data, _) in list {
                push_digested(&mut self.digested, owner, (rtype, ttl), data);
            }
        }
        if self.digested.len() >= DIGESTED_BYTES {
            self.digest.update(&self.digested);
            self.digested.clear();
        }
        Ok((records.len() + sigs.len()) as u64)
    }

    /// Puts the parts together.
    pub fn finish(mut self, serial: u32) -> Result<(ZoneImage, BuildNotes), BuildError> {
        self.digest.update(&self.digested);
        let (mut out, names_len, names_index, mut counts) = self.names.finish()?;
        let (hashes, hashes_len, hashes_index, more) = self.hashes.finish()?;
        counts.nodes += more.nodes;
        counts.records += more.records;
        let (shapes, ends, shared) = self.tables.finish();
        let mut digest = [0; 32];
        digest.copy_from_slice(self.digest.finish().as_ref());
        let header = Header {
            apex: self.apex.clone(),
            serial,
            counts,
            digest,
            names_len,
            names_blocks: names_index.len() as u64 / 8,
            hashes_len,
            hashes_blocks: hashes_index.len() as u64 / 8,
            shapes: (shapes.len() / super::tables::SHAPE_LEN) as u64,
            shared: (ends.len() / super::tables::OFFSET_LEN) as u64,
            shared_len: shared.len() as u64,
        };
        let summed = |out: &mut Output, part: &[u8]| {
            out.write(part)?;
            out.write(&crc32fast::hash(part).to_le_bytes())
        };
        summed(&mut out, &names_index)?;
        out.append(hashes)?;
        for part in [hashes_index, shapes, ends, shared] {
            summed(&mut out, &part)?;
        }
        let octets = out.finish(&header.write())?;
        Ok((ZoneImage::from_octets(octets)?, self.notes))
    }
}

/// Names between two calls of the pace.
const PACE_NAMES: usize = 4096;

/// The digest of an image's content, computed anew. `pace` is called now and then.
pub fn digest_of(image: &ZoneImage, pace: &mut dyn FnMut()) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    let (mut room, mut out) = (NameBuf::default(), Vec::new());
    let mut nodes = image.raw_nodes();
    for count in 1.. {
        let Some(node) = nodes.advance() else { break };
        let owner = node.wire(&mut room);
        out.clear();
        for set in node.sets() {
            let data = set.rdatas().map(|data| (set.rtype, data));
            let sigs = set.sig_rdatas().map(|data| (Rtype::RRSIG, data));
            for (rtype, data) in data.chain(sigs) {
                let data = rdata::canonical_form(data, rtype);
                push_digested(&mut out, owner, (rtype, set.ttl), &data);
            }
        }
        context.update(&out);
        if count % PACE_NAMES == 0 {
            pace();
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// Appends a record in the form that the digest of an image is over.
pub fn push_digested(out: &mut Vec<u8>, owner: &[u8], (rtype, ttl): (Rtype, u32), data: &[u8]) {
    out.extend_from_slice(owner);
    out.extend_from_slice(&rtype.0.to_be_bytes());
    out.extend_from_slice(&Class::IN.0.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
}

/// Data of a set in canonical order, each with its canonical form before it.
fn sorted<'a>(entries: &[Entry<'a>], duplicates: &mut u64) -> Vec<(Cow<'a, [u8]>, &'a [u8])> {
    let mut pairs: Vec<(Cow<'_, [u8]>, &[u8])> = (entries.iter())
        .map(|e| (rdata::canonical_form(e.rdata, e.rtype()), e.rdata))
        .collect();
    if pairs.len() > 1 {
        pairs.sort_unstable();
        let before = pairs.len();
        // RFC 2181 section 5 with RFC 4343: case in names makes no other record.
        pairs.dedup_by(|b, a| a.0 == b.0);
        *duplicates += (before - pairs.len()) as u64;
    }
    pairs
}

type SingleFault = Box<dyn FnOnce(Name) -> BuildError>;

/// CNAME stands alone but for its signatures and proofs (RFC 4034 section 3, RFC 2535 section 2.3.5);
/// CNAME and DNAME have one record.
fn check_single(entries: &[Entry<'_>]) -> Result<(), SingleFault> {
    let beside = |t: Rtype| {
        matches!(
            t,
            Rtype::CNAME | Rtype::NSEC | Rtype::NSEC3 | Rtype::KEY | Rtype::NXT
        )
    };
    let has_cname = entries.iter().any(|e| !e.sig && e.covered == Rtype::CNAME);
    if has_cname && entries.iter().any(|e| !e.sig && !beside(e.covered)) {
        return Err(Box::new(BuildError::CnameAndOther));
    }
    for rtype in [Rtype::CNAME, Rtype::DNAME] {
        let mut data = entries
            .iter()
            .filter(|e| !e.sig && e.covered == rtype)
            .map(|e| e.rdata);
        let first = data.next();
        if data.any(|d| !d.eq_ignore_ascii_case(first.unwrap_or(d))) {
            return Err(Box::new(move |name| BuildError::NotSingle { name, rtype }));
        }
    }
    Ok(())
}
