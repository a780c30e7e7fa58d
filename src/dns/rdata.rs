//! RDATA: which types hold names, and typed views of the few types that the program reads.
//!
//! One table says where names stand in RDATA. From it follow decompression on the way in (RFC 3597
//! section 4), the checks of form, compression on the way out, and lower-casing for DNSSEC's
//! canonical form (RFC 4034 section 6.2, RFC 6840 section 5.1). A type outside the table is opaque.

use std::borrow::Cow;
use std::fmt;

use super::{Name, Rdata, Rtype, WireError};

/// A field of an RDATA layout.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    /// A domain name that may be compressed in a message (RFC 1035 types).
    NameCompressed,
    /// A domain name; accepted compressed, sent uncompressed.
    NamePlain,
    /// So many octets.
    Fixed(usize),
    /// A length octet and as many octets.
    String,
    /// Whatever is left, at least so many octets.
    Rest(usize),
}

use Field::{Fixed, NameCompressed as NC, NamePlain as NP, Rest, String as Str};

fn layout(rtype: Rtype) -> &'static [Field] {
    match rtype {
        Rtype::A => &[Fixed(4)],
        Rtype::AAAA => &[Fixed(16)],
        Rtype::NS | Rtype::CNAME | Rtype::PTR => &[NC],
        Rtype::MD | Rtype::MF | Rtype::MB | Rtype::MG | Rtype::MR => &[NC],
        Rtype::SOA => &[NC, NC, Fixed(20)],
        Rtype::MINFO => &[NC, NC],
        Rtype::MX => &[Fixed(2), NC],
        Rtype::RP => &[NP, NP],
        Rtype::AFSDB | Rtype::RT | Rtype::KX => &[Fixed(2), NP],
        Rtype::PX => &[Fixed(2), NP, NP],
        Rtype::SRV => &[Fixed(6), NP],
        Rtype::NAPTR => &[Fixed(4), Str, Str, Str, NP],
        Rtype::DNAME => &[NP],
        Rtype::NSEC | Rtype::NXT => &[NP, Rest(0)],
        Rtype::RRSIG | Rtype::SIG => &[Fixed(18), NP, Rest(1)],
        Rtype::DS | Rtype::CDS | Rtype::DLV => &[Rest(5)],
        Rtype::DNSKEY | Rtype::CDNSKEY | Rtype::KEY => &[Rest(4)],
        Rtype::NSEC3 => &[Fixed(4), Str, Str, Rest(0)],
        Rtype::NSEC3PARAM => &[Fixed(4), Str],
        Rtype::ZONEMD => &[Rest(6)],
        Rtype::TXT | Rtype::SPF => &[Str, Rest(0)],
        Rtype::HINFO => &[Str, Str],
        _ => &[Rest(0)],
    }
}

/// Whether RDATA of this type holds a name that may be compressed.
pub(super) fn has_compressible_name(rtype: Rtype) -> bool {
    layout(rtype).contains(&NC)
}

/// Whether names in this type's RDATA are lower-cased in canonical form: those of RFC 4034 section
/// 6.2 without NSEC (RFC 6840 section 5.1), and without the types that came later.
fn lowercases(rtype: Rtype) -> bool {
    !matches!(rtype, Rtype::NSEC)
}

/// Reads RDATA of `len` octets at `pos` of a message into uncompressed form and checks its form.
pub fn parse(msg: &[u8], pos: usize, len: usize, rtype: Rtype) -> Result<Rdata, WireError> {
    let end = pos + len;
    let raw = msg.get(pos..end).ok_or(WireError::Truncated)?;
    let fields = layout(rtype);
    if let [Rest(least)] = fields {
        return if len >= *least {
            Ok(raw.into())
        } else {
            Err(WireError::BadRdata)
        };
    }
    let mut out = Vec::with_capacity(len + 32);
    let mut at = pos;
    let copy = |out: &mut Vec<u8>, at: &mut usize, n: usize| {
        let piece = msg.get(*at..*at + n).filter(|_| *at + n <= end);
        out.extend_from_slice(piece.ok_or(WireError::BadRdata)?);
        *at += n;
        Ok(())
    };
    for field in fields {
        match *field {
            NC | NP => {
                let (name, next) = Name::parse(msg, at)?;
                if next > end {
                    return Err(WireError::BadRdata);
                }
                out.extend_from_slice(name.wire());
                at = next;
            }
            Fixed(n) => copy(&mut out, &mut at, n)?,
            Str => {
                let n = *msg.get(at).ok_or(WireError::BadRdata)?;
                copy(&mut out, &mut at, n as usize + 1)?;
            }
            Rest(least) => {
                if at + least > end {
                    return Err(WireError::BadRdata);
                }
                let n = end - at;
                copy(&mut out, &mut at, n)?;
            }
        }
    }
    // A compressed name may grow beyond what the length field can say again.
    if at != end || out.len() > usize::from(u16::MAX) {
        return Err(WireError::BadRdata);
    }
    Ok(out.into())
}

/// Checks uncompressed RDATA that did not come in a message (zone file, disk).
pub fn check(rdata: &[u8], rtype: Rtype) -> Result<(), WireError> {
    let parsed = parse(rdata, 0, rdata.len(), rtype)?;
    // A pointer inside would have changed the octets.
    if *parsed == *rdata {
        Ok(())
    } else {
        Err(WireError::BadRdata)
    }
}

/// Where a piece of RDATA is a name: calls `f(piece, is_name, compressible)` for each stretch of
/// valid uncompressed RDATA in order. Invalid RDATA is passed whole as no name.
pub fn for_each_piece(rdata: &[u8], rtype: Rtype, mut f: impl FnMut(&[u8], bool, bool)) {
    let fields = layout(rtype);
    if !fields.iter().any(|f| matches!(f, NC | NP)) || check(rdata, rtype).is_err() {
        return f(rdata, false, false);
    }
    let mut at = 0;
    for field in fields {
        let n = match *field {
            NC | NP => match Name::from_wire_prefix(&rdata[at..]) {
                Ok((_, n)) => n,
                Err(_) => return,
            },
            Fixed(n) => n,
            Str => rdata[at] as usize + 1,
            Rest(_) => rdata.len() - at,
        };
        f(&rdata[at..at + n], matches!(field, NC | NP), *field == NC);
        at += n;
    }
}

/// RDATA in DNSSEC's canonical form: embedded names in lower case where RFC 4034 section 6.2 asks.
pub fn canonical(rdata: &[u8], rtype: Rtype) -> Rdata {
    let mut out = Vec::with_capacity(rdata.len());
    for_each_piece(rdata, rtype, |piece, is_name, _| {
        let at = out.len();
        out.extend_from_slice(piece);
        if is_name && lowercases(rtype) {
            out[at..].make_ascii_lowercase();
        }
    });
    out.into()
}

/// [`canonical`], without a copy where the data is in that form already.
pub fn canonical_form(rdata: &[u8], rtype: Rtype) -> Cow<'_, [u8]> {
    match lowercases(rtype) && has_upper_case_name(rdata, layout(rtype)) {
        true => Cow::Owned(canonical(rdata, rtype).into_vec()),
        false => Cow::Borrowed(rdata),
    }
}

/// Whether a name in the data has a capital letter. Data that has not the form of its type has no names.
fn has_upper_case_name(rdata: &[u8], fields: &[Field]) -> bool {
    let mut rest = rdata;
    let mut found = false;
    for field in fields {
        let n = match *field {
            NC | NP => {
                let mut at = 0;
                while let Some(&len) = rest.get(at).filter(|len| **len != 0) {
                    at += 1;
                    let label = rest.get(at..at + len as usize);
                    found |= label.is_some_and(|l| l.iter().any(u8::is_ascii_uppercase));
                    at += len as usize;
                }
                at + 1
            }
            Fixed(n) => n,
            Str => rest.first().map_or(1, |len| *len as usize + 1),
            Rest(_) => return found,
        };
        match rest.get(n..) {
            Some(tail) => rest = tail,
            None => return found,
        }
    }
    found
}

fn u16_at(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*b.get(at..)?.first_chunk()?))
}

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*b.get(at..)?.first_chunk()?))
}

/// The one name that NS, CNAME, PTR and DNAME data consist of.
pub fn single_name(rdata: &[u8]) -> Option<Name> {
    Name::from_wire(rdata).ok()
}

/// The address that A or AAAA data consist of.
pub fn address(rdata: &[u8]) -> Option<std::net::IpAddr> {
    match rdata.len() {
        4 => Some(<[u8; 4]>::try_from(rdata).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(rdata).ok()?.into()),
        _ => None,
    }
}

/// SOA data (RFC 1035 section 3.3.13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soa {
    /// Primary server.
    pub mname: Name,
    /// Mailbox of the person in charge.
    pub rname: Name,
    /// Version number; compare with [`Soa::serial_newer`].
    pub serial: u32,
    /// Seconds between refreshes.
    pub refresh_s: u32,
    /// Seconds between retries.
    pub retry_s: u32,
    /// Seconds without contact after which a secondary gives up.
    pub expire_s: u32,
    /// Negative TTL bound in seconds (RFC 2308 section 4).
    pub minimum_s: u32,
}

impl Soa {
    /// Reads SOA RDATA.
    pub fn parse(rdata: &[u8]) -> Option<Soa> {
        let (mname, n) = Name::from_wire_prefix(rdata).ok()?;
        let (rname, m) = Name::from_wire_prefix(&rdata[n..]).ok()?;
        let at = n + m;
        if rdata.len() != at + 20 {
            return None;
        }
        Some(Soa {
            mname,
            rname,
            serial: u32_at(rdata, at)?,
            refresh_s: u32_at(rdata, at + 4)?,
            retry_s: u32_at(rdata, at + 8)?,
            expire_s: u32_at(rdata, at + 12)?,
            minimum_s: u32_at(rdata, at + 16)?,
        })
    }

    /// Whether serial `a` is newer than `b` (RFC 1982 section 3.2; undefined distance counts as no).
    pub fn serial_newer(a: u32, b: u32) -> bool {
        let ahead = a.wrapping_sub(b);
        ahead != 0 && ahead < 1 << 31
    }
}

/// RRSIG data (RFC 4034 section 3.1), borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rrsig<'a> {
    /// The type that it covers.
    pub covered: Rtype,
    /// Signing algorithm.
    pub algorithm: u8,
    /// Labels in the original owner name, root and `*` not counted.
    pub labels: u8,
    /// TTL of the covered set in its zone, seconds.
    pub original_ttl: u32,
    /// End of validity, seconds since 1970 modulo 2^32.
    pub expiration: u32,
    /// Start of validity, seconds since 1970 modulo 2^32.
    pub inception: u32,
    /// Tag of the signing key.
    pub key_tag: u16,
    /// The zone whose key signed.
    pub signer: Name,
    /// The fields before the signature, as they stand on the wire (not lower-cased).
    pub prefix: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

impl<'a> Rrsig<'a> {
    /// Reads RRSIG RDATA.
    pub fn parse(rdata: &'a [u8]) -> Option<Rrsig<'a>> {
        let (signer, n) = Name::from_wire_prefix(rdata.get(18..)?).ok()?;
        Some(Rrsig {
            covered: Rtype(u16_at(rdata, 0)?),
            algorithm: rdata[2],
            labels: rdata[3],
            original_ttl: u32_at(rdata, 4)?,
            expiration: u32_at(rdata, 8)?,
            inception: u32_at(rdata, 12)?,
            key_tag: u16_at(rdata, 16)?,
            signer,
            prefix: &rdata[..18 + n],
            signature: rdata.get(18 + n..).filter(|s| !s.is_empty())?,
        })
    }
}

/// DNSKEY data (RFC 4034 section 2.1), borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dnskey<'a> {
    /// Flags: 256 zone key, 1 SEP, 128 revoked (RFC 5011).
    pub flags: u16,
    /// Always 3.
    pub protocol: u8,
    /// Algorithm number.
    pub algorithm: u8,
    /// Public key in the algorithm's DNSKEY form.
    pub public_key: &'a [u8],
    /// The whole RDATA.
    pub rdata: &'a [u8],
}

impl<'a> Dnskey<'a> {
    /// Reads DNSKEY RDATA.
    pub fn parse(rdata: &'a [u8]) -> Option<Dnskey<'a>> {
        Some(Dnskey {
            flags: u16_at(rdata, 0)?,
            protocol: *rdata.get(2)?,
            algorithm: *rdata.get(3)?,
            public_key: rdata.get(4..)?,
            rdata,
        })
    }

    /// Whether the key may sign zone data: zone flag set, not revoked, protocol 3.
    pub fn is_zone_key(&self) -> bool {
        self.flags & 0x0100 != 0 && self.flags & 0x0080 == 0 && self.protocol == 3
    }

    /// Whether the key says that it is revoked (RFC 5011 section 2.1).
    pub fn is_revoked(&self) -> bool {
        self.flags & 0x0080 != 0
    }

    /// Whether the SEP flag marks it as a key that others may trust (RFC 3757).
    pub fn is_secure_entry_point(&self) -> bool {
        self.flags & 0x0001 != 0
    }

    /// Key tag (RFC 4034 appendix B).
    pub fn key_tag(&self) -> u16 {
        let (pairs, last) = self.rdata.as_chunks::<2>();
        let pair = |pair: &[u8; 2]| u32::from(u16::from_be_bytes(*pair));
        let last = last.iter().map(|b| u32::from(*b) << 8);
        let sum: u32 = pairs.iter().map(pair).chain(last).sum();
        (sum + (sum >> 16)) as u16
    }
}

/// DS data (RFC 4034 section 5.1), borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ds<'a> {
    /// Tag of the key that it names.
    pub key_tag: u16,
    /// That key's algorithm.
    pub algorithm: u8,
    /// 1 SHA-1, 2 SHA-256, 4 SHA-384.
    pub digest_type: u8,
    /// Digest of owner name and DNSKEY data.
    pub digest: &'a [u8],
}

impl<'a> Ds<'a> {
    /// Reads DS RDATA.
    pub fn parse(rdata: &'a [u8]) -> Option<Ds<'a>> {
        Some(Ds {
            key_tag: u16_at(rdata, 0)?,
            algorithm: *rdata.get(2)?,
            digest_type: *rdata.get(3)?,
            digest: rdata.get(4..).filter(|d| !d.is_empty())?,
        })
    }
}

/// The type bitmap of NSEC, NSEC3 and CSYNC (RFC 4034 section 4.1.2), borrowed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TypeBitmap<'a>(pub &'a [u8]);

impl TypeBitmap<'_> {
    /// Whether the type's bit is set. A damaged bitmap reads as far as it is sound.
    pub fn contains(&self, rtype: Rtype) -> bool {
        let [window, low] = rtype.0.to_be_bytes();
        self.windows()
            .find(|(w, _)| *w == window)
            .and_then(|(_, bits)| bits.get(low as usize / 8))
            .is_some_and(|octet| octet & (0x80 >> (low % 8)) != 0)
    }

    /// The types whose bits are set, ascending.
    pub fn types(&self) -> impl Iterator<Item = Rtype> + '_ {
        self.windows().flat_map(|(window, bits)| {
            bits.iter().enumerate().flat_map(move |(i, &octet)| {
                (0..8u16)
                    .filter(move |bit| octet & (0x80 >> bit) != 0)
                    .map(move |bit| Rtype(u16::from(window) << 8 | (i as u16 * 8 + bit)))
            })
        })
    }

    /// Whether the blocks are sound: ascending windows of 1 to 32 octets that fill the field.
    pub fn is_well_formed(&self) -> bool {
        let mut last = -1i32;
        let mut used = 0;
        for (window, bits) in self.windows() {
            if i32::from(window) <= last {
                return false;
            }
            last = i32::from(window);
            used += 2 + bits.len();
        }
        used == self.0.len()
    }

    fn windows(&self) -> impl Iterator<Item = (u8, &[u8])> + '_ {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (&[window, len], tail) = rest.split_first_chunk()?;
            if !(1..=32).contains(&len) || tail.len() < len as usize {
                return None;
            }
            let (bits, tail) = tail.split_at(len as usize);
            rest = tail;
            Some((window, bits))
        })
    }
}

impl fmt::Debug for TypeBitmap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.types()).finish()
    }
}

/// Writes the type bitmap for `types` (RFC 4034 section 4.1.2). The list may be in any order.
pub fn type_bitmap(types: &[Rtype]) -> Vec<u8> {
    let mut sorted: Vec<u16> = types.iter().map(|t| t.0).collect();
    sorted.sort_unstable();
    let mut out = Vec::new();
    for window in sorted.chunk_by(|a, b| a >> 8 == b >> 8) {
        let mut bits = [0u8; 32];
        let mut len = 0;
        for t in window {
            let low = (t & 0xFF) as usize;
            bits[low / 8] |= 0x80 >> (low % 8);
            len = low / 8 + 1;
        }
        out.extend_from_slice(&[(window[0] >> 8) as u8, len as u8]);
        out.extend_from_slice(&bits[..len]);
    }
    out
}

/// NSEC data (RFC 4034 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nsec<'a> {
    /// The next owner name in canonical order; the apex in the last record.
    pub next: Name,
    /// Types at the owner.
    pub types: TypeBitmap<'a>,
}

impl<'a> Nsec<'a> {
    /// Reads NSEC RDATA.
    pub fn parse(rdata: &'a [u8]) -> Option<Nsec<'a>> {
        let (next, n) = Name::from_wire_prefix(rdata).ok()?;
        Some(Nsec {
            next,
            types: TypeBitmap(&rdata[n..]),
        })
    }
}

/// NSEC3 data (RFC 5155 section 3.1), borrowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nsec3<'a> {
    /// 1 = SHA-1.
    pub hash_algorithm: u8,
    /// Bit 0: opt-out.
    pub flags: u8,
    /// Extra hash rounds.
    pub iterations: u16,
    /// Salt.
    pub salt: &'a [u8],
    /// Hash of the next owner, binary.
    pub next_hash: &'a [u8],
    /// Types at the owner.
    pub types: TypeBitmap<'a>,
}

impl<'a> Nsec3<'a> {
    /// Reads NSEC3 RDATA.
    pub fn parse(rdata: &'a [u8]) -> Option<Nsec3<'a>> {
        let salt_len = *rdata.get(4)? as usize;
        let at = 5 + salt_len;
        let hash_len = *rdata.get(at)? as usize;
        Some(Nsec3 {
            hash_algorithm: rdata[0],
            flags: rdata[1],
            iterations: u16_at(rdata, 2)?,
            salt: &rdata[5..at],
            next_hash: rdata.get(at + 1..at + 1 + hash_len)?,
            types: TypeBitmap(rdata.get(at + 1 + hash_len..)?),
        })
    }

    /// Whether names may be left out of the chain in this gap (RFC 5155 section 6).
    pub fn opt_out(&self) -> bool {
        self.flags & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_data_are_decompressed_and_checked() {
        let msg = b"\x01a\x00\x00\x0A\xC0\x00";
        assert_eq!(*parse(msg, 3, 4, Rtype::MX).unwrap(), *b"\x00\x0A\x01a\x00");
        assert_eq!(
            *parse(msg, 3, 4, Rtype(65280)).unwrap(),
            *b"\x00\x0A\xC0\x00"
        );
        assert_eq!(parse(msg, 3, 3, Rtype::MX), Err(WireError::BadRdata));
        assert_eq!(parse(msg, 3, 9, Rtype::MX), Err(WireError::Truncated));
        assert_eq!(parse(b"\x7f\0\0", 0, 3, Rtype::A), Err(WireError::BadRdata));
        assert_eq!(
            check(b"\x00\x0A\xC0\x00", Rtype::MX),
            Err(WireError::BadRdata)
        );
    }

    #[test]
    fn canonical_lowercases_where_the_rfcs_say() {
        assert_eq!(*canonical(b"\x01A\x00", Rtype::NS), *b"\x01a\x00");
        assert_eq!(
            *canonical(b"\x01A\x00\x00\x01\x40", Rtype::NSEC),
            *b"\x01A\x00\x00\x01\x40"
        );
        assert_eq!(*canonical(b"\x03ABC", Rtype::TXT), *b"\x03ABC");
        assert_eq!(*canonical(b"ABC", Rtype(65280)), *b"ABC");
    }

    // RFC 4034 section 4.3: A MX RRSIG NSEC TYPE1234.
    #[test]
    fn bitmap_of_the_rfc_example() {
        let mut octets = b"\x00\x06\x40\x01\x00\x00\x00\x03\x04\x1b".to_vec();
        octets.extend([0; 26]);
        octets.push(0x20);
        let types = [Rtype::A, Rtype::MX, Rtype::RRSIG, Rtype::NSEC, Rtype(1234)];
        assert_eq!(TypeBitmap(&octets).types().collect::<Vec<_>>(), types);
        assert_eq!(type_bitmap(&types), octets);
        assert!(TypeBitmap(&octets).is_well_formed());
        assert!(TypeBitmap(&octets).contains(Rtype(1234)));
        assert!(!TypeBitmap(&octets).contains(Rtype::NS));
        assert!(!TypeBitmap(b"\x00\x21").is_well_formed());
        assert!(!TypeBitmap(b"\x01\x01\x80\x00\x01\x40").is_well_formed());
    }

    #[test]
    fn serials_compare_as_rfc_1982_says() {
        for (a, b, newer) in [
            (2, 1, true),
            (1, 2, false),
            (1, 1, false),
            (0, u32::MAX, true),
        ] {
            assert_eq!(Soa::serial_newer(a, b), newer);
        }
        assert!(!Soa::serial_newer(1 << 31, 0));
    }
}
