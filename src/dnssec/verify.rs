//! Is this RRset signed by this key? (RFC 4035 section 5.3)
//!
//! [`verify_rrset`] makes every check of RFC 4035 section 5.3.1 and then the cryptographic one. It does
//! not ask whether the key is to be trusted, nor whether its algorithm is welcome: that is the caller's
//! chain and policy. What fails is told apart, because "run out" and "forged" lead to different answers.
//! A [`Claim`] is judged without regard to time and hands back the window, for data that is judged as of
//! another time, and by a [`PublicKey`] that was made ready once.

use std::borrow::Cow;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};

use super::algorithms::{
    ECDSAP256SHA256, ECDSAP384SHA384, ED25519, RSASHA1, RSASHA1_NSEC3, RSASHA256, RSASHA512,
};
use super::canonical::{owner_labels, signed_data, signed_data_of, signed_owner};
use crate::dns::{Dnskey, Name, RrSet, Rrsig, Rtype};

/// Shortest RSA modulus that is accepted, bits: shorter ones are within reach of an attacker.
pub const RSA_MODULUS_BITS_MIN: usize = 1024;
/// Longest RSA modulus, bits (RFC 3110 section 2): it bounds the work of one signature.
pub const RSA_MODULUS_BITS_MAX: usize = 4096;
/// Longest RSA exponent, bits: 2^32+1 is in use, more only costs time.
pub const RSA_EXPONENT_BITS_MAX: usize = 33;

/// A set that a key has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The set was made from the wildcard below this name, which is then the closest encloser; that
    /// no closer name exists must be proven separately (RFC 4035 section 5.3.4).
    pub wildcard: Option<Name>,
}

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It covers another type.
    #[error("the signature covers another type")]
    WrongType,
    /// Its signer is not the zone.
    #[error("the signer is not the zone")]
    WrongSigner,
    /// The set's owner is not in the zone.
    #[error("the name is not in the zone")]
    OutOfZone,
    /// It counts more labels than the owner has, or fewer than the zone.
    #[error("the signature's label count does not fit the name")]
    Labels,
    /// Algorithm or tag differ from the key's.
    #[error("another key made the signature")]
    OtherKey,
    /// The key is not a zone key, is revoked, or its protocol is not 3.
    #[error("the key may not sign zone data")]
    NotZoneKey,
    /// It ends before it begins.
    #[error("the signature expires before its inception")]
    BadWindow,
    /// Its time has not come.
    #[error("the signature is not yet valid")]
    NotYetValid,
    /// Its time is over.
    #[error("the signature has expired")]
    Expired,
    /// The algorithm is not supported.
    #[error("algorithm {0} is not supported")]
    Unsupported(u8),
    /// The public key has not the form of its algorithm or is out of bounds.
    #[error("the public key is malformed or of an unacceptable size")]
    BadKey,
    /// It was not made by this key over this data.
    #[error("the signature does not verify")]
    Forged,
}

/// When a signature is valid, both ends included, seconds since 1970 modulo 2^32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From when on.
    pub inception: u32,
    /// Until when.
    pub expiration: u32,
}

impl Window {
    /// The window of a signature.
    pub fn of(sig: &Rrsig<'_>) -> Window {
        Window {
            inception: sig.inception,
            expiration: sig.expiration,
        }
    }

    /// Whether `wall_s` (seconds since 1970) is within.
    ///
    /// # Errors
    /// Where it is instead.
    pub fn check(&self, wall_s: u64) -> Result<(), SignatureError> {
        // RFC 4034 section 3.1.5: serial number arithmetic, so that 2106 is no end.
        let now = wall_s as u32;
        if !serial_le(self.inception, self.expiration) {
            Err(SignatureError::BadWindow)
        } else if !serial_le(self.inception, now) {
            Err(SignatureError::NotYetValid)
        } else if !serial_le(now, self.expiration) {
            Err(SignatureError::Expired)
        } else {
            Ok(())
        }
    }
}

/// `a <= b` in serial number arithmetic (RFC 1982 section 3.2).
fn serial_le(a: u32, b: u32) -> bool {
    b.wrapping_sub(a) < 1 << 31
}

/// Checks that `sig` by `key` signs `set` as data of `zone` at `wall_s` (seconds since 1970).
///
/// # Errors
/// The first check that fails; cheap ones come first.
pub fn verify_rrset(
    set: &RrSet,
    sig: &Rrsig<'_>,
    key: &Dnskey<'_>,
    zone: &Name,
    wall_s: u64,
) -> Result<Signed, SignatureError> {
    check_fields((&set.name, set.rtype), sig, key, zone)?;
    Window::of(sig).check(wall_s)?;
    check_crypto(set, sig, key)
}

/// Checks that `key`, which has the REVOKE bit set, signs the DNSKEY set that it stands in: the one thing that a
/// revoked key's signature is good for (RFC 5011 section 2.1).
///
/// # Errors
/// The first check that fails; cheap ones come first.
pub fn verify_revocation(
    set: &RrSet,
    sig: &Rrsig<'_>,
    key: &Dnskey<'_>,
    zone: &Name,
    wall_s: u64,
) -> Result<(), SignatureError> {
    if set.rtype != Rtype::DNSKEY || set.name != *zone {
        return Err(SignatureError::WrongType);
    }
    if !key.is_revoked() {
        return Err(SignatureError::OtherKey);
    }
    let mut unrevoked = key.rdata.to_vec();
    unrevoked[1] &= !0x80;
    if !Dnskey::parse(&unrevoked).is_some_and(|k| k.is_zone_key()) {
        return Err(SignatureError::NotZoneKey);
    }
    check_scope((&set.name, set.rtype), sig, key, zone)?;
    Window::of(sig).check(wall_s)?;
    check_crypto(set, sig, key).map(|_| ())
}

/// A set whose signatures are judged, without them; its data is lent.
#[derive(Clone, Copy)]
pub struct Signee<'a> {
    /// Owner name.
    pub name: &'a Name,
    /// Type.
    pub rtype: Rtype,
    /// Data of each record.
    pub rdatas: &'a [&'a [u8]],
}

/// What a signature says of a set, fit to be judged by the public-key operation: its fields are as they must be. Time is left to the
/// caller.
pub struct Claim<'a> {
    set: Signee<'a>,
    sig: &'a Rrsig<'a>,
    owner: Cow<'a, Name>,
}

impl<'a> Claim<'a> {
    /// The claim of `sig` by `key` that `set` is data of `zone`.
    ///
    /// # Errors
    /// The first check that fails; cheap ones come first.
    pub fn new(
        set: Signee<'a>,
        sig: &'a Rrsig<'a>,
        key: &Dnskey<'_>,
        zone: &Name,
    ) -> Result<Claim<'a>, SignatureError> {
        check_fields((set.name, set.rtype), sig, key, zone)?;
        let owner = signed_owner(set.name, sig).ok_or(SignatureError::Labels)?;
        Ok(Claim { set, sig, owner })
    }

    /// The octets that were signed (RFC 4034 section 3.1.8.1).
    pub fn message(&self) -> Vec<u8> {
        let Signee { rtype, rdatas, .. } = self.set;
        signed_data_of(rtype, rdatas.iter().copied(), self.sig, &self.owner)
    }

    /// What follows once the signature is known to be good, and when it is.
    pub fn signed(&self) -> (Signed, Window) {
        (
            signed(self.set.name, self.sig, &self.owner),
            Window::of(self.sig),
        )
    }
}

/// What follows of the set at `name` from a good signature of `owner`.
fn signed(name: &Name, sig: &Rrsig<'_>, owner: &Name) -> Signed {
    let expanded = usize::from(sig.labels) < owner_labels(name);
    Signed {
        wildcard: expanded.then(|| owner.parent()).flatten(),
    }
}

/// RFC 4035 section 5.3.1, all but the time.
fn check_fields(
    set: (&Name, Rtype),
    sig: &Rrsig<'_>,
    key: &Dnskey<'_>,
    zone: &Name,
) -> Result<(), SignatureError> {
    check_scope(set, sig, key, zone)?;
    match key.is_zone_key() {
        true => Ok(()),
        false => Err(SignatureError::NotZoneKey),
    }
}

/// What the signature is about and who made it, as its fields say.
fn check_scope(
    (name, rtype): (&Name, Rtype),
    sig: &Rrsig<'_>,
    key: &Dnskey<'_>,
    zone: &Name,
) -> Result<(), SignatureError> {
    let labels = usize::from(sig.labels);
    if sig.covered != rtype {
        Err(SignatureError::WrongType)
    } else if sig.signer != *zone {
        Err(SignatureError::WrongSigner)
    } else if !name.is_within(zone) {
        Err(SignatureError::OutOfZone)
    } else if labels > owner_labels(name) || labels < zone.label_count() {
        Err(SignatureError::Labels)
    } else if sig.algorithm != key.algorithm || sig.key_tag != key.key_tag() {
        Err(SignatureError::OtherKey)
    } else {
        Ok(())
    }
}

fn check_crypto(set: &RrSet, sig: &Rrsig<'_>, key: &Dnskey<'_>) -> Result<Signed, SignatureError> {
    let owner = signed_owner(&set.name, sig).ok_or(SignatureError::Labels)?;
    let message = signed_data(set, sig, &owner);
    verify_message(key.algorithm, key.public_key, &message, sig.signature)?;
    Ok(signed(&set.name, sig, &owner))
}

/// Checks a bare signature by a key in DNSKEY form; see [`PublicKey`].
///
/// # Errors
/// The algorithm is unknown, the key damaged or out of bounds, or the signature is not its.
pub fn verify_message(
    algorithm: u8,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    PublicKey::new(algorithm, public_key)?.verify(message, signature)
}

/// A public key that was made ready once, for as many signatures as there are: of a 2048-bit RSA signature that saves an eighth.
/// The cryptography is aws-lc-rs's; here the key is held to the form of its algorithm and to bounds, which tell a damaged key from
/// a forged signature.
#[derive(Clone)]
pub struct PublicKey {
    /// `None`: of the right size, and yet no key; it has signed nothing.
    ready: Option<ParsedPublicKey>,
    /// SHA-256 of what it is.
    id: [u8; 32],
}

impl PublicKey {
    /// A key in DNSKEY form.
    ///
    /// # Errors
    /// The algorithm is unknown, the key damaged or out of bounds.
    pub fn new(algorithm: u8, public_key: &[u8]) -> Result<PublicKey, SignatureError> {
        let curve = |algorithm: &'static dyn VerificationAlgorithm, len: usize| {
            // SEC 1 section 2.3.3: an uncompressed point.
            let point = [&[4], public_key].concat();
            match public_key.len() == len {
                true => Ok(ParsedPublicKey::new(algorithm, point).ok()),
                false => Err(SignatureError::BadKey),
            }
        };
        let ready = match algorithm {
            RSASHA1 | RSASHA1_NSEC3 => rsa(
                public_key,
                &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
            )?,
            RSASHA256 => rsa(
                public_key,
                &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            )?,
            RSASHA512 => rsa(
                public_key,
                &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            )?,
            ECDSAP256SHA256 => curve(&signature::ECDSA_P256_SHA256_FIXED, 64)?,
            ECDSAP384SHA384 => curve(&signature::ECDSA_P384_SHA384_FIXED, 96)?,
            ED25519 if public_key.len() == 32 => {
                ParsedPublicKey::new(&signature::ED25519, public_key).ok()
            }
            ED25519 => return Err(SignatureError::BadKey),
            other => return Err(SignatureError::Unsupported(other)),
        };
        let mut id = digest::Context::new(&digest::SHA256);
        id.update(&[algorithm]);
        id.update(public_key);
        Ok(PublicKey {
            ready,
            id: octets_of(id.finish()),
        })
    }

    /// Whether it made this signature of the message.
    ///
    /// # Errors
    /// It did not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let key = self.ready.as_ref().ok_or(SignatureError::Forged)?;
        key.verify_sig(message, signature)
            .map_err(|_| SignatureError::Forged)
    }

    /// A digest of the key: who finds two with one digest has broken SHA-256.
    pub fn id(&self) -> &[u8] {
        &self.id
    }
}

fn octets_of(digest: digest::Digest) -> [u8; 32] {
    let mut octets = [0; 32];
    octets.copy_from_slice(digest.as_ref());
    octets
}

/// `Ok(None)`: within bounds, and refused by the library, as with leading zeros (RFC 3110 section 2).
fn rsa(
    public_key: &[u8],
    parameters: &'static RsaParameters,
) -> Result<Option<ParsedPublicKey>, SignatureError> {
    if !is_acceptable_rsa(public_key) {
        return Err(SignatureError::BadKey);
    }
    let (e, n) = rsa_parts(public_key).ok_or(SignatureError::BadKey)?;
    let key = RsaPublicKeyComponents { n, e };
    Ok(key.to_parsed_public_key(parameters).ok())
}

fn is_acceptable_rsa(public_key: &[u8]) -> bool {
    rsa_parts(public_key).is_some_and(|(e, n)| {
        let (e, n) = (without_zeros(e), without_zeros(n));
        (RSA_MODULUS_BITS_MIN..=RSA_MODULUS_BITS_MAX).contains(&bit_len(n))
            && (2..=RSA_EXPONENT_BITS_MAX).contains(&bit_len(e))
    })
}

/// Exponent and modulus (RFC 3110 section 2).
fn rsa_parts(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = match key {
        [0, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [len, rest @ ..] => (usize::from(*len), rest),
        [] => return None,
    };
    rest.split_at_checked(len)
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    &number[zeros..]
}

/// Bits of a number without leading zero octets.
fn bit_len(number: &[u8]) -> usize {
    match number.first() {
        Some(first) => number.len() * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::dns::Rdata;
    use crate::signer::{INCEPTION, KSK, Key, Signer, ZSK, name, rr};

    /// Octets from base64.
    pub fn base64(text: &str) -> Vec<u8> {
        domain::utils::base64::decode::<Vec<u8>>(text).unwrap()
    }

    /// RRSIG data from `TYPE algorithm labels ttl expiration inception tag signer base64`.
    fn rrsig(text: &str) -> Rdata {
        let w: Vec<&str> = text.split_whitespace().collect();
        let mut rdata = w[0].parse::<Rtype>().unwrap().0.to_be_bytes().to_vec();
        rdata.extend([1, 2].map(|i| w[i].parse::<u8>().unwrap()));
        rdata.extend(w[3].parse::<u32>().unwrap().to_be_bytes());
        for time in &w[4..6] {
            rdata.extend(time.parse::<u32>().unwrap().to_be_bytes());
        }
        rdata.extend(w[6].parse::<u16>().unwrap().to_be_bytes());
        rdata.extend(name(w[7]).wire());
        rdata.extend(base64(&w[8..].concat()));
        rdata.into()
    }

    fn dnskey(flags: u16, algorithm: u8, key: &str) -> Vec<u8> {
        let mut rdata = flags.to_be_bytes().to_vec();
        rdata.extend([3, algorithm]);
        rdata.extend(base64(key));
        rdata
    }

    fn set_of(records: &[&str]) -> RrSet {
        let records: Vec<_> = records.iter().map(|r| rr(r)).collect();
        crate::dns::group(&records).remove(0)
    }

    /// A published signature verifies, and does not once the data or the signature is another.
    fn check(dnskey: &[u8], records: &[&str], sig_text: &str, wildcard: Option<&str>) {
        let key = Dnskey::parse(dnskey).unwrap();
        let mut set = set_of(records);
        let mut rdata = rrsig(sig_text);
        let sig = Rrsig::parse(&rdata).unwrap();
        let wall_s = u64::from(sig.inception) + 1;
        let zone = sig.signer.clone();
        let signed = verify_rrset(&set, &sig, &key, &zone, wall_s).unwrap();
        assert_eq!(signed.wildcard, wildcard.map(name));

        set.rdatas[0][0] ^= 1;
        let found = verify_rrset(&set, &sig, &key, &zone, wall_s);
        assert_eq!(found, Err(SignatureError::Forged));
        set.rdatas[0][0] ^= 1;
        *rdata.last_mut().unwrap() ^= 1;
        let sig = Rrsig::parse(&rdata).unwrap();
        let found = verify_rrset(&set, &sig, &key, &zone, wall_s);
        assert_eq!(found, Err(SignatureError::Forged));
    }

    #[test]
    fn signatures_of_rfc_4035_rsa_sha1() {
        let key = dnskey(
            256,
            5,
            "AQOy1bZVvpPqhg4j7EJoM9rI3ZmyEx2OzDBVrZy/lvI5CQePxXHZS4i8dANH4DX3tbHol61ek8EFMcsGXxKciJFHyhl94C+NwILQdzsUlSFovBZsyl/NX6yEbtw/xN9ZNcrbYvgjjZ/UVPZIySFNsgEYvh0z2542lzMKR4Dh8uZffQ==",
        );
        check(
            &key,
            &["example. 3600 SOA ns1.example. bugs.x.w.example. 1081539377 3600 300 3600000 3600"],
            "SOA 5 1 3600 1084127779 1081535779 38519 example. ONx0k36rcjaxYtcNgq6iQnpNV5+drqYAsC9h7TSJaHCqbhE67Sr6aH2xDUGcqQWu/n0UVzrFvkgO9ebarZ0GWDKcuwlM6eNB5SiX2K74l5LWDA7S/Un/IbtDq4Ay8NMNLQI7Dw7n4p8/rjkBjV7j86HyQgM5e7+miRAz8V01b0I=",
            None,
        );
        // Order and case do not matter.
        check(
            &key,
            &[
                "EXAMPLE. 3600 NS ns2.example.",
                "example. 3600 NS NS1.example.",
            ],
            "NS 5 1 3600 1084127779 1081535779 38519 example. gl13F00f2U0R+SWiXXLHwsMY+qStYy5k6zfdEuivWc+wd1fmbNCyql0Tk7lHTX6UOxc8AgNf4ISFve8XqF4q+o9qlnqIzmppU3LiNeKT4FZ8RO5urFOvoMRTbQxW3U0hXWuggE4g3ZpsHv480HjMeRaZB/FRPGfJPajngcq6Kwg=",
            None,
        );
        // Appendix B.6: made from a wildcard, and after a while in a cache.
        check(
            &key,
            &["a.z.w.example. 17 MX 1 ai.example."],
            "MX 5 2 3600 1084127779 1081535779 38519 example. OMK8rAZlepfzLWW75Dxd63jy2wswESzxDKG2f9AMN1CytCd10cYISAxfAdvXSZ7xujKAtPbctvOQ2ofO7AZJ+d01EeeQTVBPq4/6KCWhqe2XTjnkVLNvvhnc0u28aoSsG0+4InvkkOHknKxw4kX18MMR34i8lC36SR5xBni8vHI=",
            Some("w.example."),
        );
    }

    #[test]
    fn signature_of_rfc_5702_rsa_sha512() {
        check(
            &dnskey(
                256,
                10,
                "AwEAAdHoNTOW+et86KuJOWRDp1pndvwb6Y83nSVXXyLA3DLroROUkN6X0O6pnWnjJQujX/AyhqFDxj13tOnD9u/1kTg7cV6rklMrZDtJCQ5PCl/D7QNPsgVsMu1J2Q8gpMpztNFLpPBz1bWXjDtaR7ZQBlZ3PFY12ZTSncorffcGmhOL",
            ),
            &["www.example.net. 3600 A 192.0.2.91"],
            "A 10 3 3600 1893456000 946684800 3740 example.net. tsb4wnjRUDnB1BUi+t6TMTXThjVnG+eCkWqjvvjhzQL1d0YRoOe0CbxrVDYd0xDtsuJRaeUw1ep94PzEWzr0iGYgZBWm/zpq+9fOuagYJRfDqfReKBzMweOLDiNa8iP5g9vMhpuv6OPlvpXwm9Sa9ZXIbNl1MBGk0fthPgxdDLw=",
            None,
        );
    }

    #[test]
    fn signatures_of_rfc_6605_ecdsa() {
        check(
            &dnskey(
                257,
                13,
                "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==",
            ),
            &["www.example.net. 3600 A 192.0.2.1"],
            "A 13 3 3600 1284026679 1281607479 55648 example.net. qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==",
            None,
        );
        check(
            &dnskey(
                257,
                14,
                "xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1w/egsXvSADtNJhyem5RCOpgQ6K8X1DRSEkrbYQ+OB+v8/uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40",
            ),
            &["www.example.net. 3600 A 192.0.2.1"],
            "A 14 3 3600 1284027625 1281608425 10771 example.net. /L5hDKIvGDyI1fcARX3z65qrmPsVz73QD1Mr5CEqOiLP95hxQouuroGCeZOvzFaxsT8Glr74hbavRKayJNuydCuzWTSSPdz7wnqXL5bdcJzusdnI0RSMROxxwGipWcJm",
            None,
        );
    }

    #[test]
    fn signatures_of_rfc_8080_ed25519() {
        for (key, tag, signature) in [
            (
                "l02Woi0iS8Aa25FQkUd9RMzZHJpBoRQwAQEX1SxZJA4=",
                3613,
                "oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==",
            ),
            (
                "zPnZ/QwEe7S8C5SPz2OfS5RR40ATk2/rYnE9xHIEijs=",
                35217,
                "zXQ0bkYgQTEFyfLyi9QoiY6D8ZdYo4wyUhVioYZXFdT410QPRITQSqJSnzQoSm5poJ7gD7AQR0O7KuI5k2pcBg==",
            ),
        ] {
            check(
                &dnskey(257, 15, key),
                &["example.com. 3600 MX 10 mail.example.com."],
                &format!("MX 15 2 3600 1440021600 1438207200 {tag} example.com. {signature}"),
                None,
            );
        }
    }

    // RFC 4034 section 3.1.5 and RFC 1982.
    #[test]
    fn windows_in_serial_arithmetic() {
        use SignatureError::*;
        let day = 86_400;
        for (inception, expiration, wall_s, expected) in [
            (100, 200, 99, Err(NotYetValid)),
            (100, 200, 100, Ok(())),
            (100, 200, 200, Ok(())),
            (100, 200, 201, Err(Expired)),
            (200, 100, 150, Err(BadWindow)),
            (u32::MAX - 10, day, 5 + (1u64 << 32), Ok(())),
            (u32::MAX - 10, day, u64::from(u32::MAX), Ok(())),
            (u32::MAX - 10, day, (1 << 32) - 20, Err(NotYetValid)),
            (u32::MAX - 10, day, 1 + u64::from(day), Err(Expired)),
        ] {
            let window = Window {
                inception,
                expiration,
            };
            assert_eq!(window.check(wall_s), expected, "{window:?} at {wall_s}");
        }
    }

    // RFC 4035 section 5.3.1, point by point.
    #[test]
    fn every_field_is_checked() {
        use SignatureError::*;
        type Change = fn(&mut Case);
        struct Case {
            key: Key,
            set: RrSet,
            zone: Name,
            wall_s: u64,
        }
        let changes: [(Change, Result<(), SignatureError>); 9] = [
            (|_| {}, Ok(())),
            (|c| c.set.rtype = Rtype::AAAA, Err(WrongType)),
            (|c| c.zone = name("le."), Err(WrongSigner)),
            (|c| c.set.name = name("www.other."), Err(OutOfZone)),
            (|c| c.set.name = name("example."), Err(Labels)),
            (|c| c.key = Key::ed25519(2, ZSK), Err(OtherKey)),
            (|c| c.wall_s -= 10, Err(NotYetValid)),
            (|c| c.wall_s += 1_000_000_000, Err(Expired)),
            (|c| c.set.rdatas[0][0] ^= 1, Err(Forged)),
        ];
        for (i, (change, expected)) in changes.into_iter().enumerate() {
            let set = set_of(&["www.example. 60 A 192.0.2.1"]);
            let signer = Signer::new("example.", 1);
            let sigs = signer.rrsigs(&set.name, set.rtype, 60, &set.rdatas);
            let mut case = Case {
                key: Key::ed25519(1, ZSK),
                set: RrSet { sigs, ..set },
                zone: name("example."),
                wall_s: u64::from(INCEPTION),
            };
            change(&mut case);
            let sig = Rrsig::parse(&case.set.sigs[0]).unwrap();
            let dnskey = case.key.dnskey();
            let key = Dnskey::parse(&dnskey).unwrap();
            let found = verify_rrset(&case.set, &sig, &key, &case.zone, case.wall_s);
            assert_eq!(found.map(|_| ()), expected, "change {i}");
            let rdatas: Vec<&[u8]> = case.set.rdatas.iter().map(|rdata| &**rdata).collect();
            let signee = Signee {
                name: &case.set.name,
                rtype: case.set.rtype,
                rdatas: &rdatas,
            };
            let claim = Claim::new(signee, &sig, &key, &case.zone);
            let as_of = claim.and_then(|claim| {
                let message = claim.message();
                verify_message(key.algorithm, key.public_key, &message, sig.signature)
            });
            let timeless = matches!(expected, Ok(()) | Err(NotYetValid | Expired));
            assert_eq!(as_of.is_ok(), timeless, "change {i}");
        }
    }

    #[test]
    fn only_zone_keys_sign() {
        let set = set_of(&["www.example. 60 A 192.0.2.1"]);
        for flags in [0, 1, 128, 384, 385] {
            let key = Key::ed25519(1, flags);
            let signer = Signer::new("example.", 1);
            let rdata = signer.rrsig_by(&key, &set.name, set.rtype, 60, &set.rdatas);
            let sig = Rrsig::parse(&rdata).unwrap();
            let dnskey = key.dnskey();
            let key = Dnskey::parse(&dnskey).unwrap();
            let found = verify_rrset(&set, &sig, &key, &signer.apex, u64::from(INCEPTION));
            assert_eq!(found, Err(SignatureError::NotZoneKey), "flags {flags}");
        }
    }

    // A signature with fewer labels than its zone would make a wildcard above the zone.
    #[test]
    fn no_wildcard_above_the_zone() {
        let signer = Signer::new("evil.example.", 1);
        let above = name("*.example.");
        let set = set_of(&["x.evil.example. 60 A 192.0.2.1"]);
        let key = Key::ed25519(1, ZSK);
        let rdata = signer.rrsig_by(&key, &above, set.rtype, 60, &set.rdatas);
        let sig = Rrsig::parse(&rdata).unwrap();
        let dnskey = key.dnskey();
        let key = Dnskey::parse(&dnskey).unwrap();
        let found = verify_rrset(&set, &sig, &key, &signer.apex, u64::from(INCEPTION));
        assert_eq!(found, Err(SignatureError::Labels));
    }

    #[test]
    fn p256_signatures_of_the_signer_verify() {
        let signer = Signer {
            keys: vec![Key::p256(KSK)],
            ..Signer::new("example.", 1)
        };
        let plain = set_of(&["www.example. 60 A 192.0.2.1"]);
        let set = signer.signed_set(&plain.name, plain.rtype, 60, plain.rdatas);
        let dnskey = signer.keys[0].dnskey();
        let key = Dnskey::parse(&dnskey).unwrap();
        let sig = Rrsig::parse(&set.sigs[0]).unwrap();
        let found = verify_rrset(&set, &sig, &key, &signer.apex, u64::from(INCEPTION));
        assert_eq!(found, Ok(Signed { wildcard: None }));
    }

    #[test]
    fn bad_keys_are_told_from_bad_signatures() {
        use SignatureError::*;
        let rsa = |e: &[u8], bits: usize| {
            let mut key = vec![e.len() as u8];
            key.extend(e);
            key.extend(vec![0xFF; bits / 8]);
            key
        };
        let long_form = {
            let mut key = vec![0, 0, 3, 1, 0, 1];
            key.extend(vec![0xFF; 256]);
            key
        };
        for (algorithm, key, expected) in [
            (8, vec![], BadKey),
            (8, vec![0, 1], BadKey),
            (8, vec![3, 1, 0, 1], BadKey),
            (8, vec![200, 1], BadKey),
            (8, rsa(&[1, 0, 1], 1016), BadKey),
            (8, rsa(&[1, 0, 1], 4104), BadKey),
            (8, rsa(&[1], 2048), BadKey),
            (8, rsa(&[2, 0, 0, 0, 1], 2048), BadKey),
            (8, rsa(&[1, 0, 1], 2048), Forged),
            (5, rsa(&[0, 1, 0, 1], 1024), Forged),
            (10, long_form, Forged),
            (13, vec![0; 63], BadKey),
            (14, vec![0; 64], BadKey),
            (15, vec![0; 33], BadKey),
            (16, vec![0; 57], Unsupported(16)),
            (13, vec![0; 64], Forged),
            (15, vec![0; 32], Forged),
        ] {
            let found = verify_message(algorithm, &key, b"message", &[7; 64]);
            assert_eq!(found, Err(expected), "{algorithm} {}", key.len());
        }
    }
}
