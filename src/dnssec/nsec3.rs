//! NSEC3: hashed names and what one record says about them (RFC 5155).

use std::cmp::Ordering;

use aws_lc_rs::digest;

use crate::dns::{Name, Nsec3, RrSet, Rtype};

/// Octets of a hash (SHA-1, the only algorithm there is).
pub const HASH_LEN: usize = 20;
/// Digits that spell a hash in an owner name.
pub const LABEL_LEN: usize = 32;
/// The number of the SHA-1 hash algorithm (RFC 5155 section 11).
pub const SHA1: u8 = 1;
/// Extra rounds above which a validator does not follow: such zones count as insecure (RFC 9276
/// section 3.2 lets a validator choose; CVE-2023-50868 is why it should).
pub const ITERATIONS_MAX: u16 = 100;
/// Extra rounds that an answer from an own zone spends per name: other validators follow more than is followed
/// here (RFC 9276 section 3.2 leaves the limit to them), so its proofs are of use to them. A zone with still more
/// is answered without NSEC3 proofs, so that nobody can buy much work with one packet.
pub const ITERATIONS_SERVED_MAX: u16 = 500;
// What is followed must be served: a mirror's proofs are read back by the validator.
const _: () = assert!(ITERATIONS_MAX <= ITERATIONS_SERVED_MAX);

/// An NSEC3 hash.
pub type Hash = [u8; HASH_LEN];

/// The hash of a name (RFC 5155 section 5), over its lower-case form. Takes `iterations + 1` rounds;
/// the caller bounds them.
pub fn nsec3_hash(name: &Name, salt: &[u8], iterations: u16) -> Hash {
    nsec3_hash_wire(name.to_lowercase().wire(), salt, iterations)
}

/// The same of a name in wire form that is in lower case already.
pub fn nsec3_hash_wire(name: &[u8], salt: &[u8], iterations: u16) -> Hash {
    let round = |value: &[u8]| -> Hash {
        let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        context.update(value);
        context.update(salt);
        let mut hash = [0; HASH_LEN];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    };
    (0..iterations).fold(round(name), |hash, _| round(&hash))
}

const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// The label that spells a hash (base32hex, RFC 4648 section 7), in lower case.
pub fn hash_label(hash: &Hash) -> [u8; LABEL_LEN] {
    let mut label = [0; LABEL_LEN];
    // Five octets are eight digits.
    for (octets, digits) in hash.chunks(5).zip(label.chunks_mut(8)) {
        let word = octets.iter().fold(0u64, |w, &b| w << 8 | u64::from(b));
        for (i, digit) in digits.iter_mut().enumerate() {
            *digit = DIGITS[(word >> (35 - 5 * i)) as usize & 31];
        }
    }
    label
}

/// The hash that a label spells, in either case.
pub fn label_hash(label: &[u8]) -> Option<Hash> {
    if label.len() != LABEL_LEN {
        return None;
    }
    let mut hash = [0; HASH_LEN];
    for (digits, octets) in label.chunks(8).zip(hash.chunks_mut(5)) {
        let mut word = 0u64;
        for digit in digits {
            let lower = digit.to_ascii_lowercase();
            let value = DIGITS.iter().position(|d| *d == lower)?;
            word = word << 5 | value as u64;
        }
        octets.copy_from_slice(&word.to_be_bytes()[3..]);
    }
    Some(hash)
}

/// An NSEC3 record with its owner's hash, borrowed.
#[derive(Debug, Clone)]
pub struct Nsec3Record<'a> {
    /// Hash in the owner name.
    pub hash: Hash,
    /// Hash of the next owner.
    pub next: Hash,
    /// All else.
    pub data: Nsec3<'a>,
}

impl<'a> Nsec3Record<'a> {
    /// The one NSEC3 record of a set of `zone`. `None` for another set, for damaged data, and for records
    /// that a validator must pass over: unknown hash algorithms and flags (RFC 5155 section 8.2).
    pub fn of(set: &'a RrSet, zone: &Name) -> Option<Nsec3Record<'a>> {
        let [rdata] = &set.rdatas[..] else {
            return None;
        };
        let data = Nsec3::parse(rdata).filter(|d| d.types.is_well_formed())?;
        if set.rtype != Rtype::NSEC3
            || set.name.parent().as_ref() != Some(zone)
            || data.hash_algorithm != SHA1
            || data.flags > 1
        {
            return None;
        }
        Some(Nsec3Record {
            hash: label_hash(set.name.labels().next()?)?,
            next: data.next_hash.try_into().ok()?,
            data,
        })
    }

    /// Whether this is the record of the name with that hash.
    pub fn matches(&self, hash: &Hash) -> bool {
        self.hash == *hash
    }

    /// Whether the hash stands in the gap.
    pub fn covers(&self, hash: &Hash) -> bool {
        covers(&self.hash, &self.next, hash)
    }

    /// Whether the record is the parent's side of a zone cut, or the owner of a DNAME: it says nothing
    /// about names below its owner (RFC 5155 section 8.3, RFC 6840 section 4.1).
    pub fn is_delegation(&self) -> bool {
        let has = |rtype| self.data.types.contains(rtype);
        has(Rtype::DNAME) || (has(Rtype::NS) && !has(Rtype::SOA))
    }
}

/// Whether `hash` stands strictly between `owner` and `next` in the circle of hashes.
pub fn covers(owner: &Hash, next: &Hash, hash: &Hash) -> bool {
    match owner.cmp(next) {
        Ordering::Less => owner < hash && hash < next,
        Ordering::Equal => owner != hash,
        Ordering::Greater => owner < hash || hash < next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::rdata::type_bitmap;
    use crate::signer::name;

    // RFC 5155 appendix A: salt aabbccdd, 12 iterations.
    #[test]
    fn hashes_of_rfc_5155() {
        for (owner, label) in [
            ("example.", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            ("a.example.", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            ("ai.example.", "gjeqe526plbf1g8mklp59enfd789njgi"),
            ("ns1.example.", "2t7b4g4vsa5smi47k61mv5bv1a22bojr"),
            ("ns2.example.", "q04jkcevqvmu85r014c7dkba38o0ji5r"),
            ("w.example.", "k8udemvp1j2f7eg6jebps17vp3n8i58h"),
            ("*.w.example.", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
            ("x.w.example.", "b4um86eghhds6nea196smvmlo4ors995"),
            ("y.w.example.", "ji6neoaepv8b5o6k4ev33abha8ht9fgc"),
            ("x.y.w.example.", "2vptu5timamqttgl4luu9kg21e0aor3s"),
            ("xx.example.", "t644ebqk9bibcna874givr6joj62mlhv"),
            (
                "2T7B4G4VSA5SMI47K61MV5BV1A22BOJR.example.",
                "kohar7mbb8dc2ce8a9qvl8hon4k53uhi",
            ),
        ] {
            let hash = nsec3_hash(&name(owner), &[0xAA, 0xBB, 0xCC, 0xDD], 12);
            assert_eq!(hash_label(&hash), label.as_bytes(), "{owner}");
            assert_eq!(label_hash(label.to_uppercase().as_bytes()), Some(hash));
        }
        assert_eq!(label_hash(b"0p9mhaveqvm6t7vbl5lop2u3t2rp3to"), None);
        assert_eq!(label_hash(b"0p9mhaveqvm6t7vbl5lop2u3t2rp3tow"), None);
    }

    #[test]
    fn gaps_wrap_around() {
        let hash = |n: u8| [n; HASH_LEN];
        for (owner, next, asked, covered) in [
            (10, 20, 15, true),
            (10, 20, 10, false),
            (10, 20, 20, false),
            (10, 20, 5, false),
            (20, 10, 25, true),
            (20, 10, 5, true),
            (20, 10, 15, false),
            (20, 10, 10, false),
            (7, 7, 7, false),
            (7, 7, 8, true),
        ] {
            let found = covers(&hash(owner), &hash(next), &hash(asked));
            assert_eq!(found, covered, "{owner} {next} {asked}");
        }
    }

    #[test]
    fn records_that_do_not_count() {
        let zone = name("example.");
        let record = |owner: &str, algorithm: u8, flags: u8, hash_len: usize| {
            let mut rdata = vec![algorithm, flags, 0, 0, 0, hash_len as u8];
            rdata.extend(vec![9; hash_len]);
            rdata.extend(type_bitmap(&[Rtype::NS]));
            RrSet::single(name(owner), Rtype::NSEC3, 60, rdata.into())
        };
        let good = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.";
        for (set, counts) in [
            (record(good, 1, 0, 20), true),
            (record(good, 1, 1, 20), true),
            (record(good, 1, 2, 20), false),
            (record(good, 2, 0, 20), false),
            (record(good, 1, 0, 19), false),
            (record("www.example.", 1, 0, 20), false),
            (
                record("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.a.example.", 1, 0, 20),
                false,
            ),
        ] {
            let found = Nsec3Record::of(&set, &zone);
            assert_eq!(found.is_some(), counts, "{set:?}");
            if let Some(found) = found {
                assert!(found.is_delegation());
                assert!(found.matches(&found.hash) && !found.covers(&found.hash));
            }
        }
    }
}
