//! ZONEMD: one digest over a whole zone (RFC 8976).
//!
//! Signatures prove each set of a zone, but neither its delegations' NS and glue nor that nothing is
//! missing; a signed digest over all of it does. A [`Hasher`] is fed the zone's names in canonical order
//! and gives the digests of the SIMPLE scheme; [`check`] compares them with the zone's ZONEMD set. That
//! the set itself is to be trusted, and whether its absence is a sin, the caller must know.

use std::borrow::Cow;

use aws_lc_rs::digest;

use super::canonical::push_record_of;
use crate::dns::rdata::canonical_form;
use crate::dns::{Name, Rdata, RrSet, Rtype};

/// The one scheme that is defined: a digest over all records in canonical order.
pub const SCHEME_SIMPLE: u8 = 1;
/// Hash algorithm SHA-384.
pub const SHA384: u8 = 1;
/// Hash algorithm SHA-512.
pub const SHA512: u8 = 2;
/// Shortest digest in a ZONEMD record, octets (RFC 8976 section 2.2.4).
pub const DIGEST_LEN_MIN: usize = 12;
/// Octets that are hashed at once: most names have few, and a call costs as much.
const BUFFER_BYTES: usize = 8 << 10;
/// Records of a name, for which room is made at once.
const RECORDS_USUAL: usize = 16;

/// ZONEMD data (RFC 8976 section 2.2), borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zonemd<'a> {
    /// The SOA serial that it was made for.
    pub serial: u32,
    /// Scheme; see [`SCHEME_SIMPLE`].
    pub scheme: u8,
    /// Hash algorithm; see [`SHA384`].
    pub hash: u8,
    /// The digest.
    pub digest: &'a [u8],
}

impl<'a> Zonemd<'a> {
    /// Reads ZONEMD data.
    pub fn parse(rdata: &'a [u8]) -> Option<Zonemd<'a>> {
        let (&[a, b, c, d, scheme, hash], digest) = rdata.split_first_chunk()?;
        (digest.len() >= DIGEST_LEN_MIN).then_some(Zonemd {
            serial: u32::from_be_bytes([a, b, c, d]),
            scheme,
            hash,
            digest,
        })
    }

    /// Whether scheme and hash algorithm are known here.
    pub fn is_supported(&self) -> bool {
        self.scheme == SCHEME_SIMPLE && algorithm(self.hash).is_some()
    }
}

fn algorithm(hash: u8) -> Option<&'static digest::Algorithm> {
    match hash {
        SHA384 => Some(&digest::SHA384),
        SHA512 => Some(&digest::SHA512),
        _ => None,
    }
}

/// Computes the SIMPLE digests of a zone (RFC 8976 section 3.3) as its names pass by.
pub struct Hasher {
    apex: Name,
    contexts: Vec<(u8, digest::Context)>,
    buffer: Vec<u8>,
}

impl Hasher {
    /// A hasher for the zone at `apex` that computes with each of these hash algorithms; unknown ones
    /// are left out.
    pub fn new(apex: &Name, hashes: &[u8]) -> Hasher {
        let mut contexts: Vec<(u8, digest::Context)> = Vec::new();
        for &hash in hashes {
            if let Some(algorithm) =
                algorithm(hash).filter(|_| contexts.iter().all(|c| c.0 != hash))
            {
                contexts.push((hash, digest::Context::new(algorithm)));
            }
        }
        Hasher {
            apex: apex.clone(),
            contexts,
            buffer: Vec::new(),
        }
    }

    /// Takes all sets of a name, with their signatures, in any order. Names must come in canonical
    /// order, each once; names outside the zone are left out (RFC 8976 section 3.3.2).
    pub fn push(&mut self, owner: &Name, sets: &[RrSet]) {
        if self.contexts.is_empty() || !owner.is_within(&self.apex) {
            return;
        }
        self.push_records(owner.wire(), sets.iter().flat_map(ZoneRecord::all_of));
    }

    /// Whether no digest is computed: then nothing needs to be pushed.
    pub fn is_idle(&self) -> bool {
        self.contexts.is_empty()
    }

    /// As [`Hasher::push`], for an owner of the zone in wire form.
    pub fn push_records<'s>(&mut self, owner: &[u8], all: impl Iterator<Item = ZoneRecord<'s>>) {
        if self.contexts.is_empty() {
            return;
        }
        let at_apex = owner.eq_ignore_ascii_case(self.apex.wire());
        // The order of RFC 8976 section 3.3.1: by type, then by data. The signatures of a name are one
        // group of type RRSIG.
        let mut records: Vec<(Rtype, Cow<'_, [u8]>, u32)> = Vec::with_capacity(RECORDS_USUAL);
        for record in all {
            // The digest cannot cover itself.
            if at_apex && record.covered == Rtype::ZONEMD {
                continue;
            }
            let rtype = match record.sig {
                true => Rtype::RRSIG,
                false => record.covered,
            };
            records.push((rtype, canonical_form(record.data, rtype), record.ttl));
        }
        records.sort_unstable();
        records.dedup_by(|b, a| (a.0, &a.1) == (b.0, &b.1));
        for (rtype, rdata, ttl) in &records {
            push_record_of(&mut self.buffer, owner, *rtype, *ttl, rdata);
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.empty();
        }
    }

    /// Hands on what is in the buffer.
    fn empty(&mut self) {
        for (_, context) in &mut self.contexts {
            context.update(&self.buffer);
        }
        self.buffer.clear();
    }

    /// The digests.
    pub fn finish(mut self) -> Digests {
        self.empty();
        let contexts = self.contexts.into_iter();
        Digests(
            contexts
                .map(|(hash, context)| (hash, context.finish().as_ref().to_vec()))
                .collect(),
        )
    }
}

/// A record of a name, borrowed.
pub struct ZoneRecord<'s> {
    /// Type, of the covered set where it is a signature.
    pub covered: Rtype,
    /// Whether it is an RRSIG.
    pub sig: bool,
    /// TTL in seconds.
    pub ttl: u32,
    /// Data.
    pub data: &'s [u8],
}

impl<'s> ZoneRecord<'s> {
    /// The records of a set and its signatures.
    fn all_of(set: &'s RrSet) -> impl Iterator<Item = ZoneRecord<'s>> {
        let (covered, ttl) = (set.rtype, set.ttl);
        let of = move |sig| {
            move |data: &'s Rdata| ZoneRecord {
                covered,
                sig,
                ttl,
                data,
            }
        };
        (set.rdatas.iter().map(of(false))).chain(set.sigs.iter().map(of(true)))
    }
}

/// Digests of a zone by hash algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests(Vec<(u8, Vec<u8>)>);

impl Digests {
    /// The digest by this hash algorithm, if it was computed.
    pub fn by(&self, hash: u8) -> Option<&[u8]> {
        let found = self.0.iter().find(|(h, _)| *h == hash);
        found.map(|(_, digest)| digest.as_slice())
    }
}

/// What a ZONEMD set shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The zone has the digest of this hash algorithm.
    Verified(u8),
    /// No record has a scheme and hash algorithm that is known here. The zone may be used as if it had
    /// no ZONEMD, and somebody should hear of it.
    Unsupported,
}

/// Why a ZONEMD set refutes its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refuted {
    /// The record is for another version.
    #[error("ZONEMD is for serial {0}")]
    Serial(u32),
    /// The zone's content has another digest.
    #[error("ZONEMD digest (scheme 1, hash algorithm {0}) does not match the zone")]
    Digest(u8),
    /// A scheme and hash algorithm occur twice.
    #[error("ZONEMD occurs twice with hash algorithm {0}")]
    Repeated(u8),
    /// A record has not the form.
    #[error("ZONEMD record is malformed")]
    Malformed,
}

/// The hash algorithms that a ZONEMD set asks for and that are known here.
pub fn hashes_of(rdatas: &[Rdata]) -> Vec<u8> {
    let records = rdatas.iter().filter_map(|r| Zonemd::parse(r));
    records
        .filter(Zonemd::is_supported)
        .map(|z| z.hash)
        .collect()
}

/// Compares an apex ZONEMD set with the digests of its zone, which has this serial (RFC 8976 section 4,
/// step 4): one record that fits is enough.
///
/// # Errors
/// Why the last record that was tried does not fit, when none does.
pub fn check(rdatas: &[Rdata], serial: u32, digests: &Digests) -> Result<Verdict, Refuted> {
    let mut refuted = None;
    for (i, rdata) in rdatas.iter().enumerate() {
        let Some(record) = Zonemd::parse(rdata) else {
            refuted = Some(Refuted::Malformed);
            continue;
        };
        // Step 4.1 comes before what is supported: the wrong serial is wrong with any scheme.
        if record.serial != serial {
            refuted = Some(Refuted::Serial(record.serial));
            continue;
        }
        let Some(digest) = digests.by(record.hash).filter(|_| record.is_supported()) else {
            continue;
        };
        let same = |other: &Rdata| other.get(4..6) == rdata.get(4..6);
        let repeated = (rdatas.iter().enumerate()).any(|(j, other)| j != i && same(other));
        if repeated {
            refuted = Some(Refuted::Repeated(record.hash));
        } else if record.digest == digest {
            return Ok(Verdict::Verified(record.hash));
        } else {
            refuted = Some(Refuted::Digest(record.hash));
        }
    }
    match refuted {
        None => Ok(Verdict::Unsupported),
        Some(refuted) => Err(refuted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Record;
    use crate::zone::parse::records;
    use crate::zone::{Builder, ZoneImage};

    fn vector(text: &str) -> (ZoneImage, Vec<Rdata>) {
        let records: Vec<Record> = records(text.as_bytes(), "vector", None)
            .map(Result::unwrap)
            .collect();
        let apex = records[0].name.clone();
        let mut builder = Builder::new(apex.clone());
        for record in records.into_iter().filter(|r| r.name.is_within(&apex)) {
            builder.add(record).unwrap();
        }
        let image = builder.finish().unwrap();
        let zonemd = image.find(&apex, Rtype::ZONEMD).unwrap().rdatas;
        (image, zonemd)
    }

    fn digests(image: &ZoneImage) -> Digests {
        let mut hasher = Hasher::new(image.apex(), &[SHA384, SHA512, 240]);
        for node in image.nodes() {
            hasher.push(&node.name, &node.sets);
        }
        hasher.finish()
    }

    const ZONES: [&str; 5] = [
        include_str!("../../tests/vectors/rfc8976-a1.zone"),
        include_str!("../../tests/vectors/rfc8976-a2.zone"),
        include_str!("../../tests/vectors/rfc8976-a3.zone"),
        include_str!("../../tests/vectors/rfc8976-a4.zone"),
        include_str!("../../tests/vectors/rfc8976-a5.zone"),
    ];

    #[test]
    fn zones_of_rfc_8976() {
        for (i, text) in ZONES.iter().enumerate() {
            let (image, rdatas) = vector(text);
            let found = check(&rdatas, image.serial(), &digests(&image));
            assert_eq!(found, Ok(Verdict::Verified(SHA384)), "A.{}", i + 1);
        }
        // A.3 has a second supported digest, and two that are not.
        let (image, rdatas) = vector(ZONES[2]);
        let of = |hash: u8, scheme: u8| -> Vec<Rdata> {
            let fits = |r: &&Rdata| r[4] == scheme && r[5] == hash;
            rdatas.iter().filter(fits).cloned().collect()
        };
        let digests = digests(&image);
        for (set, expected) in [
            (of(SHA512, 1), Ok(Verdict::Verified(SHA512))),
            (of(240, 1), Ok(Verdict::Unsupported)),
            (of(1, 241), Ok(Verdict::Unsupported)),
            (Vec::new(), Ok(Verdict::Unsupported)),
        ] {
            assert_eq!(check(&set, image.serial(), &digests), expected);
        }
    }

    #[test]
    fn what_refutes_a_zone() {
        let (image, rdatas) = vector(ZONES[0]);
        let (serial, digests) = (image.serial(), digests(&image));
        let good = rdatas[0].clone();
        let with = |at: usize, value: u8| {
            let mut rdata = good.clone();
            rdata[at] = value;
            rdata
        };
        let other = with(20, good[20] ^ 1);
        for (set, expected) in [
            (vec![other.clone()], Err(Refuted::Digest(SHA384))),
            (vec![with(3, 0)], Err(Refuted::Serial(serial & !0xFF))),
            (vec![other, good.clone()], Err(Refuted::Repeated(SHA384))),
            (vec![good[..17].into()], Err(Refuted::Malformed)),
            (vec![good[..18].into()], Err(Refuted::Digest(SHA384))),
            (
                vec![with(5, SHA512), good.clone()],
                Ok(Verdict::Verified(SHA384)),
            ),
        ] {
            assert_eq!(check(&set, serial, &digests), expected, "{set:?}");
        }
    }

    #[test]
    fn any_change_changes_the_digest() {
        let (image, _) = vector(ZONES[1]);
        let before = digests(&image);
        for (from, to) in [
            ("203.0.113.63", "203.0.113.64"),
            ("7200   IN  NS", "7201   IN  NS"),
            ("occluded but must", "occluded and must"),
            ("ns1.example.           3600", "ns3.example.           3600"),
        ] {
            let (image, _) = vector(&ZONES[1].replace(from, to));
            assert_ne!(digests(&image), before, "{from}");
        }
        let (image, _) = vector(&ZONES[1].replace("Mail2.Example.", "MAIL2.EXAMPLE."));
        assert_eq!(digests(&image), before);
    }
}
