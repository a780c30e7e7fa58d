//! Signs zones for tests.
//!
//! A [`Signer`] holds a zone's apex, its keys and how it is to be signed; [`Signer::sign`] takes the
//! zone's own records and returns the complete zone: DNSKEY, denial chain, RRSIGs and, when asked for, a
//! ZONEMD record. It knows the canonical form by itself and uses nothing of `holdfast::dnssec`, so that
//! signer and verifier check each other. Bad input panics: the callers are tests.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};
use holdfast::dns::rdata::{canonical, type_bitmap};
use holdfast::dns::{Class, Dnskey, Name, Rdata, Record, RrSet, Rtype, Soa};

/// DNSKEY flags of a zone signing key.
pub const ZSK: u16 = 256;
/// DNSKEY flags of a key signing key (SEP set).
pub const KSK: u16 = 257;
/// When the zones of [`Signer::new`] were signed: 2026-08-01T00:00:00Z.
pub const INCEPTION: u32 = 1_785_542_400;
/// When their signatures run out, 14 days later.
pub const EXPIRATION: u32 = INCEPTION + 14 * 86_400;

/// Type of a DS digest.
const SHA256: u8 = 2;

/// Secret and public part of [`Key::p256_fixed`].
const P256_FIXED: (&str, &str) = (
    "49bd1c9965f1d1c38cfad30960144eacd4f2c03675f8fdfc94fafcab7ad0f24e",
    "048f491b9142596a49f8f9f749f5591a82b254fb814c7c54f89be44b1b812da26f\
     5c37181c81be642486879bbf0dc48e7157badc4958fc86c2a91d32e105c5c1a4",
);

/// A signing key.
pub struct Key {
    flags: u16,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    /// With its algorithm, which says the hash.
    Rsa(RsaKeyPair, u8),
}

/// A key of 2048 bits for tests, PKCS #1.
const RSA: &[u8] = include_bytes!("rsa.der");

impl Key {
    /// The Ed25519 key (algorithm 15) that belongs to `seed` and `flags`; always the same.
    pub fn ed25519(seed: u64, flags: u16) -> Key {
        let mut input = seed.to_be_bytes().to_vec();
        input.extend_from_slice(&flags.to_be_bytes());
        let secret = digest::digest(&digest::SHA256, &input);
        let pair = Ed25519KeyPair::from_seed_unchecked(secret.as_ref()).unwrap();
        Key {
            flags,
            pair: Pair::Ed25519(pair),
        }
    }

    /// A fresh ECDSA P-256 key (algorithm 13); another one each time.
    pub fn p256(flags: u16) -> Key {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Key {
            flags,
            pair: Pair::P256(pair),
        }
    }

    /// A fresh ECDSA P-384 key (algorithm 14).
    pub fn p384(flags: u16) -> Key {
        let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        Key {
            flags,
            pair: Pair::P384(pair),
        }
    }

    /// The one RSA key, always the same, for algorithm 8 or 10.
    pub fn rsa(algorithm: u8, flags: u16) -> Key {
        let pair = RsaKeyPair::from_der(RSA).unwrap();
        Key {
            flags,
            pair: Pair::Rsa(pair, algorithm),
        }
    }

    /// The same key, revoked (RFC 5011 section 2.1).
    pub fn revoked(mut self) -> Key {
        self.flags |= 0x80;
        self
    }

    /// The one ECDSA P-256 key (algorithm 13) that is always the same, for runs that are to be repeated.
    pub fn p256_fixed(flags: u16) -> Key {
        let (secret, public) = P256_FIXED;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &unhex(secret),
            &unhex(public),
        );
        Key {
            flags,
            pair: Pair::P256(pair.unwrap()),
        }
    }

    /// The DNSKEY algorithm number.
    pub fn algorithm(&self) -> u8 {
        match self.pair {
            Pair::Ed25519(_) => 15,
            Pair::P256(_) => 13,
            Pair::P384(_) => 14,
            Pair::Rsa(_, algorithm) => algorithm,
        }
    }

    /// The DNSKEY data.
    pub fn dnskey(&self) -> Rdata {
        let mut rdata = self.flags.to_be_bytes().to_vec();
        rdata.extend_from_slice(&[3, self.algorithm()]);
        match &self.pair {
            Pair::Ed25519(pair) => rdata.extend_from_slice(pair.public_key().as_ref()),
            // RFC 6605 section 4: without the octet that says "uncompressed".
            Pair::P256(pair) | Pair::P384(pair) => {
                rdata.extend_from_slice(&pair.public_key().as_ref()[1..]);
            }
            // RFC 3110 section 2.
            Pair::Rsa(pair, _) => {
                let (modulus, exponent) = rsa_parts(pair.public_key().as_ref());
                rdata.push(exponent.len() as u8);
                rdata.extend_from_slice(exponent);
                rdata.extend_from_slice(modulus);
            }
        }
        rdata.into()
    }

    /// The key's tag.
    pub fn tag(&self) -> u16 {
        Dnskey::parse(&self.dnskey()).unwrap().key_tag()
    }

    /// The DS data (SHA-256) for this key as a key of `zone`.
    pub fn ds(&self, zone: &Name) -> Rdata {
        self.ds_with(zone, SHA256)
    }

    /// The DS data with this type of digest.
    fn ds_with(&self, zone: &Name, digest_type: u8) -> Rdata {
        let dnskey = self.dnskey();
        let mut input = zone.to_lowercase().wire().to_vec();
        input.extend_from_slice(&dnskey);
        let mut rdata = self.tag().to_be_bytes().to_vec();
        rdata.extend_from_slice(&[self.algorithm(), digest_type]);
        let algorithm = match digest_type {
            1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            SHA256 => &digest::SHA256,
            4 => &digest::SHA384,
            other => panic!("no digest has number {other}"),
        };
        rdata.extend_from_slice(digest::digest(algorithm, &input).as_ref());
        rdata.into()
    }

    /// DNSKEY data of `count` other keys with the tag and algorithm of this one (RFC 4034 appendix B: the tag is a sum of
    /// words, in whatever order they stand). Nobody has their secret parts.
    fn decoys(&self, count: u8) -> impl Iterator<Item = Rdata> {
        let dnskey = self.dnskey().to_vec();
        (1..=usize::from(count)).map(move |turn| {
            let mut decoy = dnskey.clone();
            // Whole words of the public key, which starts behind flags, protocol and algorithm.
            let words = decoy[4..].len() / 2;
            decoy[4..4 + 2 * words].rotate_left(2 * (turn % words));
            decoy.into()
        })
    }

    /// The bare signature over `message`.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair, algorithm) => {
                let padding = match algorithm {
                    8 => &RSA_PKCS1_SHA256,
                    _ => &RSA_PKCS1_SHA512,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                let rng = SystemRandom::new();
                pair.sign(padding, &rng, message, &mut signature).unwrap();
                signature
            }
            Pair::P256(pair) | Pair::P384(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).unwrap();
                signature.as_ref().to_vec()
            }
        }
    }

    fn is_sep(&self) -> bool {
        self.flags & 1 != 0
    }
}

/// Modulus and exponent of an `RSAPublicKey` in DER (RFC 8017, appendix A.1.1), without leading zeros.
fn rsa_parts(der: &[u8]) -> (&[u8], &[u8]) {
    /// What stands in the first element of `der`, and what follows it.
    fn element(der: &[u8]) -> (&[u8], &[u8]) {
        let (length, start) = match usize::from(der[1]) {
            short @ 0..0x80 => (short, 2),
            long => {
                let octets = &der[2..2 + (long & 0x7f)];
                let length = octets.iter().fold(0, |sum, &o| sum << 8 | usize::from(o));
                (length, 2 + octets.len())
            }
        };
        der[start..].split_at(length)
    }
    fn positive(integer: &[u8]) -> &[u8] {
        &integer[integer.iter().take_while(|&&octet| octet == 0).count()..]
    }
    let (modulus, rest) = element(element(der).0);
    (positive(modulus), positive(element(rest).0))
}

/// How a zone proves what it has not.
#[derive(Clone)]
pub enum Denial {
    /// NSEC records.
    Nsec,
    /// NSEC3 records with SHA-1.
    Nsec3 {
        /// Salt, may be empty.
        salt: Vec<u8>,
        /// Extra rounds.
        iterations: u16,
        /// Leave insecure delegations out and set the opt-out flag.
        opt_out: bool,
    },
    /// None at all: a zone that does not verify.
    None,
}

impl Denial {
    /// NSEC3 as RFC 9276 wants it: no salt, no extra rounds.
    pub fn nsec3(opt_out: bool) -> Denial {
        Denial::Nsec3 {
            salt: Vec::new(),
            iterations: 0,
            opt_out,
        }
    }
}

/// How one zone is signed.
pub struct Signer {
    /// The zone.
    pub apex: Name,
    /// Keys with the SEP flag sign the DNSKEY set, the others all else; where one kind is missing the
    /// other does its work.
    pub keys: Vec<Key>,
    /// Start of validity, seconds since 1970.
    pub inception: u32,
    /// End of validity, seconds since 1970.
    pub expiration: u32,
    /// The denial chain.
    pub denial: Denial,
    /// Add a ZONEMD record (SIMPLE, SHA-384).
    pub zonemd: bool,
    /// Type of the digest in DS records.
    pub ds_digest: u8,
    /// So many keys that sign nothing, with the tag of the last of `keys`.
    pub decoys: u8,
}

impl Signer {
    /// A zone signed with NSEC and without ZONEMD, by two Ed25519 keys that belong to `seed`, from
    /// [`INCEPTION`] to [`EXPIRATION`]. Change the fields for anything else.
    pub fn new(apex: &str, seed: u64) -> Signer {
        Signer {
            apex: name(apex),
            keys: vec![Key::ed25519(seed, KSK), Key::ed25519(seed, ZSK)],
            inception: INCEPTION,
            expiration: EXPIRATION,
            denial: Denial::Nsec,
            zonemd: false,
            ds_digest: SHA256,
            decoys: 0,
        }
    }

    /// The DS data for the parent zone: one for each key that signs the DNSKEY set.
    pub fn ds(&self) -> Vec<Rdata> {
        let keys = self.signing_keys(Rtype::DNSKEY);
        keys.map(|k| k.ds_with(&self.apex, self.ds_digest))
            .collect()
    }

    /// The DS record for the parent zone.
    pub fn ds_record(&self, ttl: u32) -> Record {
        record(&self.apex, Rtype::DS, ttl, self.ds().remove(0))
    }

    /// The complete signed zone in canonical order. `records` are the zone's own, glue included, with
    /// one SOA and without DNSKEY, RRSIG, NSEC, NSEC3, NSEC3PARAM and ZONEMD.
    pub fn sign(&self, records: &[Record]) -> Vec<Record> {
        let mut zone = Zone::new(&self.apex, records);
        let (soa_ttl, soa) = zone.soa();
        let serial = soa.serial;
        for key in &self.keys {
            zone.add(record(&self.apex, Rtype::DNSKEY, soa_ttl, key.dnskey()));
        }
        let last = self.keys.last().into_iter();
        for decoy in last.flat_map(|key| key.decoys(self.decoys)) {
            zone.add(record(&self.apex, Rtype::DNSKEY, soa_ttl, decoy));
        }
        if self.zonemd {
            let rdata = zonemd(serial, &[0; 48]);
            zone.add(record(&self.apex, Rtype::ZONEMD, soa_ttl, rdata));
        }
        // RFC 9077 section 3.
        let denial_ttl = soa_ttl.min(soa.minimum_s);
        match &self.denial {
            Denial::Nsec => self.add_nsec(&mut zone, denial_ttl),
            Denial::Nsec3 {
                salt,
                iterations,
                opt_out,
            } => self.add_nsec3(&mut zone, denial_ttl, salt, *iterations, *opt_out),
            Denial::None => {}
        }
        let mut out = Vec::new();
        for (owner, types) in &zone.names {
            let place = zone.place(owner);
            for (&rtype, (ttl, rdatas)) in types {
                let rr = |rtype, rdata: &Rdata| record(owner, rtype, *ttl, rdata.clone());
                out.extend(rdatas.iter().map(|r| rr(rtype, r)));
                if place.signs(rtype) {
                    let sigs = self.rrsigs(owner, rtype, *ttl, rdatas);
                    out.extend(sigs.iter().map(|r| rr(Rtype::RRSIG, r)));
                }
            }
        }
        if self.zonemd {
            self.set_zonemd(&mut out, serial);
        }
        out
    }

    /// RRSIG data over a set by each key that signs such sets. The owner is taken as it stands: for an
    /// answer made from a wildcard sign `*.name.` and attach the result to the other name.
    pub fn rrsigs(&self, owner: &Name, rtype: Rtype, ttl: u32, rdatas: &[Rdata]) -> Vec<Rdata> {
        self.signing_keys(rtype)
            .map(|key| self.rrsig_by(key, owner, rtype, ttl, rdatas))
            .collect()
    }

    /// The set with the signatures that it should have.
    pub fn signed_set(&self, owner: &Name, rtype: Rtype, ttl: u32, rdatas: Vec<Rdata>) -> RrSet {
        RrSet {
            name: owner.clone(),
            rtype,
            ttl,
            sigs: self.rrsigs(owner, rtype, ttl, &rdatas),
            rdatas,
        }
    }

    /// RRSIG data over a set by `key`, whatever its role.
    pub fn rrsig_by(
        &self,
        key: &Key,
        owner: &Name,
        rtype: Rtype,
        ttl: u32,
        rdatas: &[Rdata],
    ) -> Rdata {
        let labels = owner.label_count() - usize::from(owner.is_wildcard());
        let mut rdata = rtype.0.to_be_bytes().to_vec();
        rdata.extend_from_slice(&[key.algorithm(), labels as u8]);
        for word in [ttl, self.expiration, self.inception] {
            rdata.extend_from_slice(&word.to_be_bytes());
        }
        rdata.extend_from_slice(&key.tag().to_be_bytes());
        rdata.extend_from_slice(self.apex.to_lowercase().wire());
        let forms: BTreeSet<Rdata> = rdatas.iter().map(|r| canonical(r, rtype)).collect();
        let mut message = rdata.clone();
        for form in &forms {
            push_canonical(&mut message, owner, rtype, ttl, form);
        }
        rdata.extend_from_slice(&key.sign(&message));
        rdata.into()
    }

    fn signing_keys(&self, rtype: Rtype) -> impl Iterator<Item = &Key> {
        let sep = rtype == Rtype::DNSKEY;
        let any = self.keys.iter().any(|k| k.is_sep() == sep);
        self.keys.iter().filter(move |k| !any || k.is_sep() == sep)
    }

    fn add_nsec(&self, zone: &mut Zone, ttl: u32) {
        let owners: Vec<Name> = (zone.names.keys())
            .filter(|n| zone.place(n) != Place::Occluded)
            .cloned()
            .collect();
        for (i, owner) in owners.iter().enumerate() {
            let mut types = zone.types(owner);
            types.extend([Rtype::NSEC, Rtype::RRSIG]);
            let next = &owners[(i + 1) % owners.len()];
            let mut rdata = next.wire().to_vec();
            rdata.extend_from_slice(&type_bitmap(&types));
            zone.add(record(owner, Rtype::NSEC, ttl, rdata.into()));
        }
    }

    fn add_nsec3(&self, zone: &mut Zone, ttl: u32, salt: &[u8], iterations: u16, opt_out: bool) {
        let mut params = vec![1, 0];
        params.extend_from_slice(&iterations.to_be_bytes());
        params.push(salt.len() as u8);
        params.extend_from_slice(salt);
        let param = record(&self.apex, Rtype::NSEC3PARAM, 0, params.clone().into());
        zone.add(param);
        params[1] = u8::from(opt_out);

        let mut hashed: BTreeMap<Vec<u8>, Vec<Rtype>> = BTreeMap::new();
        for owner in zone.names.keys() {
            let place = zone.place(owner);
            let mut types = zone.types(owner);
            let secure = types.iter().any(|t| place.signs(*t));
            if place == Place::Occluded || (opt_out && !secure) {
                continue;
            }
            if secure {
                types.push(Rtype::RRSIG);
            }
            hashed.insert(nsec3_hash(owner, salt, iterations), types);
            let mut up = owner.parent();
            while let Some(ent) = up.filter(|n| n.is_below(&self.apex)) {
                let hash = nsec3_hash(&ent, salt, iterations);
                if !zone.names.contains_key(&ent) {
                    hashed.entry(hash).or_default();
                }
                up = ent.parent();
            }
        }
        let hashes: Vec<Vec<u8>> = hashed.keys().cloned().collect();
        for (i, (hash, types)) in hashed.iter().enumerate() {
            let next = &hashes[(i + 1) % hashes.len()];
            let mut rdata = params.clone();
            rdata.push(next.len() as u8);
            rdata.extend_from_slice(next);
            rdata.extend_from_slice(&type_bitmap(types));
            let owner = self.apex.child(base32hex(hash).as_bytes()).unwrap();
            zone.add(record(&owner, Rtype::NSEC3, ttl, rdata.into()));
        }
    }

    /// Replaces the placeholder by the digest of everything else, and signs it.
    fn set_zonemd(&self, zone: &mut Vec<Record>, serial: u32) {
        let is_zonemd = |r: &Record| r.name == self.apex && r.rtype == Rtype::ZONEMD;
        zone.retain(|r| {
            let covered = r.rdata.first_chunk().map(|b| u16::from_be_bytes(*b));
            let signs = r.rtype == Rtype::RRSIG && covered == Some(Rtype::ZONEMD.0);
            !(signs && r.name == self.apex)
        });
        let rdata = zonemd(serial, &simple_digest(&self.apex, zone));
        let at = zone.iter().position(is_zonemd).unwrap();
        zone[at].rdata = rdata.clone();
        let ttl = zone[at].ttl;
        let sigs = self.rrsigs(&self.apex, Rtype::ZONEMD, ttl, &[rdata]);
        let sigs = (sigs.into_iter()).map(|r| record(&self.apex, Rtype::RRSIG, ttl, r));
        zone.splice(at + 1..at + 1, sigs);
    }
}

/// Where a name stands in a zone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Own,
    Delegation,
    Occluded,
}

impl Place {
    fn signs(self, rtype: Rtype) -> bool {
        match self {
            Place::Own => true,
            Place::Delegation => matches!(rtype, Rtype::DS | Rtype::NSEC),
            Place::Occluded => false,
        }
    }
}

struct Zone {
    apex: Name,
    names: BTreeMap<Name, BTreeMap<Rtype, (u32, Vec<Rdata>)>>,
}

impl Zone {
    fn new(apex: &Name, records: &[Record]) -> Zone {
        let mut zone = Zone {
            apex: apex.clone(),
            names: BTreeMap::new(),
        };
        records.iter().cloned().for_each(|r| zone.add(r));
        zone
    }

    fn add(&mut self, r: Record) {
        assert!(r.name.is_within(&self.apex), "{} is out of zone", r.name);
        let types = self.names.entry(r.name).or_default();
        let (_, rdatas) = types.entry(r.rtype).or_insert((r.ttl, Vec::new()));
        if !rdatas.contains(&r.rdata) {
            rdatas.push(r.rdata);
        }
    }

    fn soa(&self) -> (u32, Soa) {
        let (ttl, rdatas) = &self.names[&self.apex][&Rtype::SOA];
        (*ttl, Soa::parse(&rdatas[0]).unwrap())
    }

    fn has(&self, owner: &Name, rtype: Rtype) -> bool {
        (self.names.get(owner)).is_some_and(|types| types.contains_key(&rtype))
    }

    fn place(&self, owner: &Name) -> Place {
        let mut up = owner.parent();
        while let Some(n) = up.filter(|n| n.is_within(&self.apex)) {
            let cut = n != self.apex && self.has(&n, Rtype::NS);
            if cut || self.has(&n, Rtype::DNAME) {
                // The hashes of NSEC3 stand below an apex with DNAME and are no part of its subtree.
                let hash = self.has(owner, Rtype::NSEC3);
                return if hash { Place::Own } else { Place::Occluded };
            }
            up = n.parent();
        }
        if *owner != self.apex && self.has(owner, Rtype::NS) {
            Place::Delegation
        } else {
            Place::Own
        }
    }

    /// The types at a name that a denial record lists, without those of the chain itself.
    fn types(&self, owner: &Name) -> Vec<Rtype> {
        let delegation = self.place(owner) == Place::Delegation;
        (self.names[owner].keys().copied())
            .filter(|t| !delegation || matches!(*t, Rtype::NS | Rtype::DS))
            .collect()
    }
}

fn zonemd(serial: u32, digest: &[u8]) -> Rdata {
    let mut rdata = serial.to_be_bytes().to_vec();
    rdata.extend_from_slice(&[1, 1]);
    rdata.extend_from_slice(digest);
    rdata.into()
}

/// RFC 8976 section 3.3, SIMPLE with SHA-384. The ZONEMD set's own signatures are already gone.
fn simple_digest(apex: &Name, zone: &[Record]) -> Vec<u8> {
    let forms: BTreeSet<(&Name, Rtype, Rdata, u32)> = (zone.iter())
        .filter(|r| !(r.rtype == Rtype::ZONEMD && r.name == *apex))
        .map(|r| (&r.name, r.rtype, canonical(&r.rdata, r.rtype), r.ttl))
        .collect();
    let mut message = Vec::new();
    for (owner, rtype, rdata, ttl) in &forms {
        push_canonical(&mut message, owner, *rtype, *ttl, rdata);
    }
    digest::digest(&digest::SHA384, &message).as_ref().to_vec()
}

fn push_canonical(out: &mut Vec<u8>, owner: &Name, rtype: Rtype, ttl: u32, rdata: &[u8]) {
    out.extend_from_slice(owner.to_lowercase().wire());
    out.extend_from_slice(&rtype.0.to_be_bytes());
    out.extend_from_slice(&Class::IN.0.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    out.extend_from_slice(rdata);
}

fn nsec3_hash(owner: &Name, salt: &[u8], iterations: u16) -> Vec<u8> {
    let mut value = owner.to_lowercase().wire().to_vec();
    for _ in 0..=iterations {
        value.extend_from_slice(salt);
        value = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &value)
            .as_ref()
            .to_vec();
    }
    value
}

fn base32hex(octets: &[u8]) -> String {
    let alphabet = b"0123456789abcdefghijklmnopqrstuv";
    let bit = |i: usize| (octets.get(i / 8).copied().unwrap_or(0) >> (7 - i % 8)) & 1;
    (0..(octets.len() * 8).div_ceil(5))
        .map(|c| (0..5).fold(0, |acc, b| acc << 1 | bit(c * 5 + b)))
        .map(|v| alphabet[v as usize] as char)
        .collect()
}

/// A name from text.
pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A record of class IN.
pub fn record(owner: &Name, rtype: Rtype, ttl: u32, rdata: Rdata) -> Record {
    Record {
        name: owner.clone(),
        rtype,
        class: Class::IN,
        ttl,
        rdata,
    }
}

/// A record from `owner ttl TYPE data`, names absolute: A, AAAA, NS, CNAME, PTR, DNAME, MX, SOA, TXT
/// (unquoted words), DS (hex digest), and any other type as `TYPE \# LENGTH hex`.
pub fn rr(line: &str) -> Record {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [owner, ttl, rtype, data @ ..] = &words[..] else {
        panic!("no record: {line}");
    };
    let rtype: Rtype = rtype.parse().unwrap();
    let number = |i: usize| data[i].parse::<u32>().unwrap();
    let mut rdata = Vec::new();
    match rtype {
        _ if data[0] == "\\#" => rdata = unhex(&data[2..].concat()),
        Rtype::A => rdata.extend(data[0].parse::<std::net::Ipv4Addr>().unwrap().octets()),
        Rtype::AAAA => rdata.extend(data[0].parse::<std::net::Ipv6Addr>().unwrap().octets()),
        Rtype::NS | Rtype::CNAME | Rtype::PTR | Rtype::DNAME => rdata.extend(name(data[0]).wire()),
        Rtype::MX => {
            rdata.extend((number(0) as u16).to_be_bytes());
            rdata.extend(name(data[1]).wire());
        }
        Rtype::SOA => {
            rdata.extend(name(data[0]).wire());
            rdata.extend(name(data[1]).wire());
            (2..7).for_each(|i| rdata.extend(number(i).to_be_bytes()));
        }
        Rtype::TXT => {
            for word in data {
                rdata.push(word.len() as u8);
                rdata.extend(word.as_bytes());
            }
        }
        Rtype::DS => {
            rdata.extend((number(0) as u16).to_be_bytes());
            rdata.extend([number(1) as u8, number(2) as u8]);
            rdata.extend(unhex(&data[3..].concat()));
        }
        other => panic!("write {other} as \\# LENGTH hex"),
    }
    record(&name(owner), rtype, ttl.parse().unwrap(), rdata.into())
}

/// Records from lines as [`rr`] reads them; empty lines and those that start with `;` do not count.
pub fn rrs(lines: &str) -> Vec<Record> {
    let lines = lines.lines().map(str::trim);
    let lines = lines.filter(|l| !l.is_empty() && !l.starts_with(';'));
    lines.map(rr).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap())
        .collect()
}
