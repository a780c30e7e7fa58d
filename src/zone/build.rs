//! Building an image: records in any order become one [`ZoneImage`].
//!
//! A transfer or a zone file is a stream of records from elsewhere. The builder takes them one by
//! one into a single buffer, with a limit on its octets, and refuses at once what cannot be in the
//! zone. What can be judged only when all are there (one SOA, nothing beside a CNAME) is judged by
//! [`Builder::finish`], which sorts, drops duplicates (RFC 2181 section 5), tells the zone's own data
//! from glue and writes the image. An error leaves nothing behind.

use ring::digest;

use super::block::{SET_BYTES_MAX, SectionWriter, write_set};
use super::hash32;
use super::image::{Header, ImageError, Place, ZoneImage};
use super::key::{key_of, name_of};
use crate::dns::{Class, Name, Record, Rtype, Soa, rdata};

/// Octets that a zone may take in the builder and in the image, unless told otherwise.
pub const ZONE_BYTES_MAX: u64 = 4 << 30;
/// Octets of all records of one name.
pub const NODE_BYTES_MAX: usize = 16 << 20;
/// Octets before key and data of a record in the builder.
const ENTRY_HEADER_LEN: usize = 11;

/// Why records make no zone.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The owner is outside the zone.
    #[error("{name} {rtype} is outside the zone {apex}")]
    OutOfZone {
        /// Owner of the record.
        name: Name,
        /// Its type.
        rtype: Rtype,
        /// The zone.
        apex: Name,
    },
    /// Zones of class IN only.
    #[error("{name} {rtype} has class {class}; only IN is supported")]
    NotIn {
        /// Owner of the record.
        name: Name,
        /// Its type.
        rtype: Rtype,
        /// Its class.
        class: Class,
    },
    /// A type that no zone may have (RFC 6895 section 3.1).
    #[error("{name} {rtype}: this type cannot be in a zone")]
    MetaType {
        /// Owner of the record.
        name: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// The data has not the form of its type.
    #[error("{name} {rtype}: malformed data")]
    BadRdata {
        /// Owner of the record.
        name: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// There is no SOA record at the apex.
    #[error("the zone {0} has no SOA record")]
    NoSoa(Name),
    /// Two different SOA records, or one below the apex.
    #[error("{0} SOA: a zone has exactly one SOA record, at its apex")]
    ExtraSoa(Name),
    /// RFC 1034 section 3.6.2, RFC 2181 section 10.1.
    #[error("{0} has a CNAME record and other data")]
    CnameAndOther(Name),
    /// RFC 6672 section 2.4.
    #[error("{name} has more than one {rtype} record")]
    NotSingle {
        /// Owner of the records.
        name: Name,
        /// CNAME or DNAME.
        rtype: Rtype,
    },
    /// The set does not fit a message, the name's data is beyond [`NODE_BYTES_MAX`].
    #[error("{name} {rtype}: more data than can be answered")]
    SetTooLarge {
        /// Owner of the set.
        name: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// The zone is larger than allowed.
    #[error("the zone is larger than the limit of {0} octets")]
    TooLarge(u64),
    /// The image that was written does not read back: a fault of this program.
    #[error("the image built does not read back: {0}")]
    Image(#[from] ImageError),
}

/// What the builder set right; for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildNotes {
    /// Records given twice and kept once.
    pub duplicates: u64,
    /// Sets whose records (or signatures) had differing TTLs: the lowest was taken (RFC 2181
    /// section 5.2).
    pub mixed_ttls: u64,
    /// The first of these sets.
    pub first_mixed_ttl: Option<(Name, Rtype)>,
}

/// Collects the records of one zone.
pub struct Builder {
    apex: Name,
    bytes_max: u64,
    /// Records one after the other, see [`Builder::push`].
    arena: Vec<u8>,
    /// Where in `arena` each record starts.
    starts: Vec<u64>,
    soa: Option<Soa>,
}

impl Builder {
    /// A builder for the zone at `apex`, limited to [`ZONE_BYTES_MAX`].
    pub fn new(apex: Name) -> Builder {
        Builder {
            apex: apex.to_lowercase(),
            bytes_max: ZONE_BYTES_MAX,
            arena: Vec::new(),
            starts: Vec::new(),
            soa: None,
        }
    }

    /// Sets the limit in octets; it holds for the records in the builder and for the image.
    pub fn bytes_max(mut self, bytes_max: u64) -> Builder {
        self.bytes_max = bytes_max;
        self
    }

    /// How many records were taken, duplicates included.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether nothing was taken yet.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Takes a record. After an error the builder is as it was before.
    pub fn add(&mut self, record: Record) -> Result<(), BuildError> {
        let Record {
            name,
            rtype,
            class,
            ttl,
            rdata,
        } = record;
        let Some(key) = key_of(&name, &self.apex) else {
            let apex = self.apex.clone();
            return Err(BuildError::OutOfZone { name, rtype, apex });
        };
        if class != Class::IN {
            return Err(BuildError::NotIn { name, rtype, class });
        }
        if rtype.is_meta() || rtype.0 == 0 {
            return Err(BuildError::MetaType { name, rtype });
        }
        if rdata.len() > SET_BYTES_MAX || rdata::check(&rdata, rtype).is_err() {
            return Err(BuildError::BadRdata { name, rtype });
        }
        let covered = match rtype {
            Rtype::RRSIG => Rtype(u16::from_be_bytes([rdata[0], rdata[1]])),
            other => other,
        };
        if rtype == Rtype::SOA {
            self.take_soa(&name, &key, &rdata)?;
        }
        self.push(&key, covered, rtype == Rtype::RRSIG, ttl, &rdata)
    }

    fn take_soa(&mut self, name: &Name, key: &[u8], rdata: &[u8]) -> Result<(), BuildError> {
        let soa = Soa::parse(rdata).ok_or_else(|| BuildError::BadRdata {
            name: name.clone(),
            rtype: Rtype::SOA,
        })?;
        // The same record twice is a duplicate, as at the end of a transfer.
        if !key.is_empty() || self.soa.as_ref().is_some_and(|s| *s != soa) {
            return Err(BuildError::ExtraSoa(name.clone()));
        }
        self.soa = Some(soa);
        Ok(())
    }

    /// Layout: key length 2, covered type 2, is-signature 1, TTL 4, data length 2, key, data.
    fn push(
        &mut self,
        key: &[u8],
        covered: Rtype,
        sig: bool,
        ttl: u32,
        rdata: &[u8],
    ) -> Result<(), BuildError> {
        let len = ENTRY_HEADER_LEN + key.len() + rdata.len() + size_of::<u64>();
        let held = self.arena.len() + self.starts.len() * size_of::<u64>();
        if (held + len) as u64 > self.bytes_max {
            return Err(BuildError::TooLarge(self.bytes_max));
        }
        self.starts.push(self.arena.len() as u64);
        self.arena
            .extend_from_slice(&(key.len() as u16).to_be_bytes());
        self.arena.extend_from_slice(&covered.0.to_be_bytes());
        self.arena.push(u8::from(sig));
        // RFC 2181 section 8: the top bit set means 0.
        let ttl = if ttl >> 31 == 1 { 0 } else { ttl };
        self.arena.extend_from_slice(&ttl.to_be_bytes());
        self.arena
            .extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(rdata);
        Ok(())
    }

    /// Writes the image.
    pub fn finish(self) -> Result<ZoneImage, BuildError> {
        self.finish_noted().map(|(image, _)| image)
    }

    /// Writes the image and tells what was set right.
    pub fn finish_noted(mut self) -> Result<(ZoneImage, BuildNotes), BuildError> {
        let soa = self
            .soa
            .take()
            .ok_or_else(|| BuildError::NoSoa(self.apex.clone()))?;
        let mut starts = std::mem::take(&mut self.starts);
        starts.sort_by_key(|&at| Entry::read(&self.arena, at).order());
        let mut writer = ImageWriter::new(&self.apex, self.bytes_max);
        let entries: Vec<u64> = starts;
        let same_name =
            |a: &u64, b: &u64| Entry::read(&self.arena, *a).key == Entry::read(&self.arena, *b).key;
        for node in entries.chunk_by(same_name) {
            let node = node
                .iter()
                .map(|&at| Entry::read(&self.arena, at))
                .collect::<Vec<_>>();
            writer.node(&node)?;
        }
        // The builder's copy goes before the image is put together.
        drop((entries, std::mem::take(&mut self.arena)));
        let (bytes, notes) = writer.finish(soa.serial);
        Ok((ZoneImage::from_bytes(bytes)?, notes))
    }
}

/// A record in the builder's buffer.
#[derive(Clone, Copy)]
struct Entry<'a> {
    key: &'a [u8],
    covered: Rtype,
    sig: bool,
    ttl: u32,
    rdata: &'a [u8],
}

impl<'a> Entry<'a> {
    fn read(arena: &'a [u8], at: u64) -> Entry<'a> {
        let e = &arena[at as usize..];
        let word = |i: usize| u16::from_be_bytes([e[i], e[i + 1]]);
        let (key_len, rdata_len) = (usize::from(word(0)), usize::from(word(9)));
        let (key, rest) = e[ENTRY_HEADER_LEN..].split_at(key_len);
        Entry {
            key,
            covered: Rtype(word(2)),
            sig: e[4] != 0,
            ttl: u32::from_be_bytes([e[5], e[6], e[7], e[8]]),
            rdata: &rest[..rdata_len],
        }
    }

    fn order(self) -> (&'a [u8], Rtype, bool) {
        (self.key, self.covered, self.sig)
    }

    fn rtype(self) -> Rtype {
        if self.sig { Rtype::RRSIG } else { self.covered }
    }
}

/// Data of a set in canonical order, beside its canonical form.
struct Sorted<'a> {
    data: Vec<&'a [u8]>,
    canonical: Vec<Box<[u8]>>,
}

impl<'a> Sorted<'a> {
    fn new(entries: &[Entry<'a>], duplicates: &mut u64) -> Sorted<'a> {
        let mut pairs: Vec<_> = (entries.iter())
            .map(|e| (rdata::canonical(e.rdata, e.rtype()), e.rdata))
            .collect();
        pairs.sort();
        let before = pairs.len();
        // RFC 2181 section 5 with RFC 4343: case in names makes no other record.
        pairs.dedup_by(|b, a| a.0 == b.0);
        *duplicates += (before - pairs.len()) as u64;
        let (canonical, data) = pairs.into_iter().unzip();
        Sorted { data, canonical }
    }
}

/// Takes nodes in canonical order.
struct ImageWriter<'z> {
    apex: &'z Name,
    bytes_max: u64,
    names: SectionWriter,
    hashes: SectionWriter,
    digest: digest::Context,
    notes: BuildNotes,
    /// The zone cut or DNAME last seen; the names below it follow at once in canonical order.
    cover: Option<Vec<u8>>,
}

impl<'z> ImageWriter<'z> {
    fn new(apex: &'z Name, bytes_max: u64) -> Self {
        ImageWriter {
            apex,
            bytes_max,
            names: SectionWriter::default(),
            hashes: SectionWriter::default(),
            digest: digest::Context::new(&digest::SHA256),
            notes: BuildNotes::default(),
            cover: None,
        }
    }

    /// Writes the records of one name, sorted by [`Entry::order`].
    fn node(&mut self, entries: &[Entry<'_>]) -> Result<(), BuildError> {
        let key = entries[0].key;
        let name = name_of(key, self.apex).ok_or_else(|| BuildError::BadRdata {
            name: self.apex.clone(),
            rtype: entries[0].rtype(),
        })?;
        let place = self.place(key, entries);
        if place != Place::Occluded {
            check_single(&name, entries)?;
        }
        let hash = hash32::hash_of_key(key);
        let mut body = vec![place.octet()];
        for set in entries.chunk_by(|a, b| a.covered == b.covered) {
            match hash.filter(|_| set[0].covered == Rtype::NSEC3) {
                // The chain is the zone's own even under a DNAME at the apex.
                Some(hash) => {
                    let mut body = vec![Place::Authoritative.octet()];
                    self.set(&name, set, &mut body)?;
                    self.hashes.push(&hash, &body);
                }
                None => self.set(&name, set, &mut body)?,
            }
        }
        if body.len() > 1 {
            self.names.push(key, &body);
        }
        if (self.names.len_bytes() + self.hashes.len_bytes()) as u64 > self.bytes_max {
            return Err(BuildError::TooLarge(self.bytes_max));
        }
        Ok(())
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
        let covers = place == Place::Delegation || has(Rtype::DNAME);
        self.cover = covers.then(|| key.to_vec());
        place
    }

    /// Appends one set to a body and to the digest.
    fn set(
        &mut self,
        name: &Name,
        set: &[Entry<'_>],
        body: &mut Vec<u8>,
    ) -> Result<(), BuildError> {
        let rtype = set[0].covered;
        let too_large = || BuildError::SetTooLarge {
            name: name.clone(),
            rtype,
        };
        let split = set.partition_point(|e| !e.sig);
        let records = Sorted::new(&set[..split], &mut self.notes.duplicates);
        let sigs = Sorted::new(&set[split..], &mut self.notes.duplicates);
        let size: usize = (records.data.iter().chain(&sigs.data))
            .map(|d| d.len() + 2)
            .sum();
        if size > SET_BYTES_MAX || body.len() + size > NODE_BYTES_MAX {
            return Err(too_large());
        }
        let ttl = set.iter().map(|e| e.ttl).min().unwrap_or(0);
        if set.iter().any(|e| e.ttl != ttl) {
            self.notes.mixed_ttls += 1;
            self.notes
                .first_mixed_ttl
                .get_or_insert_with(|| (name.clone(), rtype));
        }
        write_set(body, rtype, ttl, &records.data, &sigs.data);
        for (rtype, list) in [(rtype, &records), (Rtype::RRSIG, &sigs)] {
            for data in &list.canonical {
                let mut head = [0; 10];
                head[..2].copy_from_slice(&rtype.0.to_be_bytes());
                head[2..4].copy_from_slice(&Class::IN.0.to_be_bytes());
                head[4..8].copy_from_slice(&ttl.to_be_bytes());
                head[8..].copy_from_slice(&(data.len() as u16).to_be_bytes());
                self.digest.update(name.wire());
                self.digest.update(&head);
                self.digest.update(data);
            }
        }
        Ok(())
    }

    fn finish(self, serial: u32) -> (Vec<u8>, BuildNotes) {
        let (names, names_index, mut counts) = self.names.finish();
        let (hashes, hashes_index, more) = self.hashes.finish();
        counts.nodes += more.nodes;
        counts.records += more.records;
        let mut digest = [0; 32];
        digest.copy_from_slice(self.digest.finish().as_ref());
        let header = Header {
            apex: self.apex.clone(),
            serial,
            counts,
            digest,
            names_len: names.len() as u64,
            names_blocks: names_index.len() as u64 / 8,
            hashes_len: hashes.len() as u64,
            hashes_blocks: hashes_index.len() as u64 / 8,
        };
        let mut out = header.write();
        out.reserve_exact(names.len() + names_index.len() + hashes.len() + hashes_index.len() + 8);
        for (blocks, index) in [(names, names_index), (hashes, hashes_index)] {
            out.extend_from_slice(&blocks);
            out.extend_from_slice(&index);
            out.extend_from_slice(&crc32fast::hash(&index).to_le_bytes());
        }
        (out, self.notes)
    }
}

/// CNAME stands alone but for its signatures and proofs (RFC 4034 section 3, RFC 2535 section 2.3.5);
/// CNAME and DNAME have one record.
fn check_single(name: &Name, entries: &[Entry<'_>]) -> Result<(), BuildError> {
    let beside = |t: Rtype| {
        matches!(
            t,
            Rtype::CNAME | Rtype::NSEC | Rtype::NSEC3 | Rtype::KEY | Rtype::NXT
        )
    };
    let has_cname = entries.iter().any(|e| !e.sig && e.covered == Rtype::CNAME);
    if has_cname && entries.iter().any(|e| !e.sig && !beside(e.covered)) {
        return Err(BuildError::CnameAndOther(name.clone()));
    }
    for rtype in [Rtype::CNAME, Rtype::DNAME] {
        let mut data = entries
            .iter()
            .filter(|e| !e.sig && e.covered == rtype)
            .map(|e| e.rdata);
        let first = data.next();
        if data.any(|d| !d.eq_ignore_ascii_case(first.unwrap_or(d))) {
            return Err(BuildError::NotSingle {
                name: name.clone(),
                rtype,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Node;
    use super::*;

    fn name(s: &str) -> Name {
        s.parse().unwrap()
    }

    fn record(owner: &str, rtype: Rtype, rdata: &[u8]) -> Record {
        Record {
            name: name(owner),
            rtype,
            class: Class::IN,
            ttl: 300,
            rdata: rdata.into(),
        }
    }

    fn soa(serial: u8) -> Record {
        let mut data = b"\x02ns\x00\x00".to_vec();
        data.extend([0, 0, 0, serial]);
        data.extend([0; 16]);
        record("example.", Rtype::SOA, &data)
    }

    fn build(records: Vec<Record>) -> Result<(ZoneImage, BuildNotes), BuildError> {
        let mut builder = Builder::new(name("Example."));
        for record in records {
            builder.add(record)?;
        }
        builder.finish_noted()
    }

    #[test]
    fn nodes_come_back_sorted_with_their_place() {
        let (image, notes) = build(vec![
            record("ns.child.example.", Rtype::A, &[192, 0, 2, 1]),
            record("WWW.example.", Rtype::A, &[192, 0, 2, 3]),
            record("www.example.", Rtype::A, &[192, 0, 2, 2]),
            record("www.example.", Rtype::A, &[192, 0, 2, 3]),
            record(
                "child.example.",
                Rtype::NS,
                name("ns.child.example.").wire(),
            ),
            soa(1),
            record("d.example.", Rtype::DNAME, name("x.").wire()),
            record("a.d.example.", Rtype(65280), b""),
        ])
        .unwrap();
        let nodes: Vec<Node> = image.nodes().collect();
        let seen: Vec<_> = nodes
            .iter()
            .map(|n| (n.name.to_string(), n.place))
            .collect();
        let expected = [
            ("example.", Place::Apex),
            ("child.example.", Place::Delegation),
            ("ns.child.example.", Place::Occluded),
            ("d.example.", Place::Authoritative),
            ("a.d.example.", Place::Occluded),
            ("www.example.", Place::Authoritative),
        ];
        assert_eq!(seen, expected.map(|(n, p)| (n.to_string(), p)));
        let www = &nodes[5].sets[0];
        assert_eq!(
            www.rdatas,
            [Box::from([192, 0, 2, 2]), Box::from([192, 0, 2, 3])]
        );
        assert_eq!(
            image.find(&name("wWw.example"), Rtype::A).as_ref(),
            Some(www)
        );
        assert_eq!((image.record_count(), image.delegation_count()), (7, 1));
        assert_eq!((image.serial(), notes.duplicates), (1, 1));
    }

    #[test]
    fn ttls_are_made_equal_and_lone_signatures_kept() {
        let sig = |covered: Rtype| {
            let mut data = covered.0.to_be_bytes().to_vec();
            data.extend([13, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            data.extend(b"\x07example\x00sig");
            data
        };
        let mut low = record("a.example.", Rtype::A, &[192, 0, 2, 1]);
        low.ttl = 60;
        let mut negative = record("b.example.", Rtype::A, &[192, 0, 2, 1]);
        negative.ttl = 1 << 31;
        let (image, notes) = build(vec![
            soa(1),
            record("a.example.", Rtype::A, &[192, 0, 2, 2]),
            low,
            negative,
            record("a.example.", Rtype::RRSIG, &sig(Rtype::A)),
            record("a.example.", Rtype::RRSIG, &sig(Rtype::TXT)),
            record("c.example.", Rtype::RRSIG, &sig(Rtype::NSEC3)),
        ])
        .unwrap();
        assert_eq!(notes.mixed_ttls, 1);
        assert_eq!(notes.first_mixed_ttl, Some((name("a.example."), Rtype::A)));
        let a = image.find(&name("a.example."), Rtype::A).unwrap();
        assert_eq!((a.ttl, a.rdatas.len(), a.sigs.len()), (60, 2, 1));
        assert_eq!(image.find(&name("b.example."), Rtype::A).unwrap().ttl, 0);
        assert_eq!(image.find(&name("a.example."), Rtype::TXT), None);
        let nodes: Vec<Node> = image.nodes().collect();
        let lone: Vec<_> = (nodes.iter().flat_map(|n| &n.sets))
            .filter(|s| s.rdatas.is_empty())
            .map(|s| (s.name.to_string(), s.rtype, s.sigs.len()))
            .collect();
        let expected = [
            ("a.example.", Rtype::TXT, 1),
            ("c.example.", Rtype::NSEC3, 1),
        ];
        assert_eq!(lone, expected.map(|(n, t, c)| (n.to_string(), t, c)));
        let all = image.find(&name("a.example."), Rtype::RRSIG).unwrap();
        assert_eq!(all.rdatas.len(), 2);
        assert_eq!(image.record_count(), 7);
    }

    #[test]
    fn equal_zones_make_equal_images_whatever_the_order_and_case() {
        let ns = |target: &str| record("example.", Rtype::NS, name(target).wire());
        let (one, _) = build(vec![soa(1), ns("ns1.x."), ns("ns2.x.")]).unwrap();
        let (two, notes) = build(vec![ns("ns2.x."), soa(1), ns("ns1.x."), ns("ns1.x.")]).unwrap();
        assert_eq!(one.as_bytes(), two.as_bytes());
        assert_eq!(notes.duplicates, 1);
        let (other, _) = build(vec![soa(1), ns("NS1.x."), ns("ns2.x.")]).unwrap();
        assert_eq!(one.digest(), other.digest(), "case does not count");
        let (newer, _) = build(vec![soa(2), ns("ns1.x."), ns("ns2.x.")]).unwrap();
        assert_ne!(one.digest(), newer.digest());
    }
}
