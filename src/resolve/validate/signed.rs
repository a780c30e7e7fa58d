//! One RRset, or one zone's keys, against what is trusted of the zone.
//!
//! The work is bounded: signatures that cannot count (another signer, another time, no such key) are
//! sorted out before anything is computed, and what is left is paid for from the [`Budget`].

use super::budget::{
    Budget, CRYPTO_FAILED_MAX, CRYPTO_MAX, DNSKEYS_MAX, DS_MAX, KEYS_PER_TAG_MAX,
    SIGNATURES_TRIED_MAX,
};
use super::{Anchor, Validator};
use crate::clock::{Now, format_utc};
use crate::dns::{Dnskey, Ds, Ede, Name, Rdata, RrSet, Rrsig, Rtype};
use crate::dnssec::{algorithms, ds, verify};

use super::Lifetime;

/// By what a zone's records are judged.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trust<'a> {
    /// They must be signed by one of these DNSKEYs (RDATA).
    Keys(&'a [Rdata]),
    /// They come from a mirror that was verified as a whole.
    Verified,
}

/// Everything a judgement needs beside the records.
pub(super) struct Court<'a> {
    pub(super) ctx: &'a Validator,
    pub(super) zone: &'a Name,
    pub(super) trust: Trust<'a>,
    pub(super) budget: &'a mut Budget,
    pub(super) now: Now,
}

/// An RRset that is the zone's own.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    /// The set, TTL cut to the original TTL and the rest of the signature's life. First among its
    /// signatures is the one that was found good; others that could count stay, because an asker who
    /// validates may need them (another algorithm, the key that his DS names).
    pub(super) set: RrSet,
    /// When the set was made from a wildcard: how many labels the wildcard's parent has.
    pub(super) expanded: Option<usize>,
    /// How long it holds.
    pub(super) life: Lifetime,
}

impl Court<'_> {
    /// Whether signatures of this algorithm are checked here.
    pub(super) fn supports(&self, algorithm: u8) -> bool {
        supports_algorithm(self.ctx, algorithm)
    }

    /// Checks one set (RFC 4035 section 5.3).
    pub(super) fn check(&mut self, set: &RrSet) -> Result<Checked, Ede> {
        if !set.name.is_within(self.zone) {
            return Err(bogus(format!("{} is not in zone {}", what(set), self.zone)));
        }
        let keys = match self.trust {
            Trust::Keys(keys) => keys,
            Trust::Verified => return Ok(self.accept(set)),
        };
        let mut worst = Complaint::new(set, self.zone);
        let mut tried = 0;
        for rdata in &set.sigs {
            let Some(sig) = self.eligible(set, rdata, &mut worst) else {
                continue;
            };
            tried += 1;
            if tried > SIGNATURES_TRIED_MAX {
                worst.note(
                    Ede::BOGUS,
                    format!("over {SIGNATURES_TRIED_MAX} signatures"),
                );
                break;
            }
            if self.signed_by_any(set, &sig, keys, &mut worst)? {
                return Ok(self.checked(set, rdata, &sig));
            }
        }
        Err(worst.into_ede())
    }

    /// A signature that could count, given the right key.
    fn eligible<'r>(
        &self,
        set: &RrSet,
        rdata: &'r [u8],
        worst: &mut Complaint,
    ) -> Option<Rrsig<'r>> {
        let sig = Rrsig::parse(rdata)?;
        if sig.covered != set.rtype || usize::from(sig.labels) > owner_labels(&set.name) {
            return None;
        }
        if sig.signer != *self.zone {
            worst.note(
                Ede::RRSIGS_MISSING,
                format!("signed by {} instead of the zone", sig.signer),
            );
            return None;
        }
        if !self.supports(sig.algorithm) {
            worst.note(
                Ede::RRSIGS_MISSING,
                format!("signature of unsupported algorithm {}", sig.algorithm),
            );
            return None;
        }
        let (age_s, left_s) = window(&sig, self.now);
        if left_s < 0 {
            let when = format_utc(self.now.wall_s.saturating_add_signed(left_s.into()));
            worst.note(
                Ede::SIGNATURE_EXPIRED,
                format!("signature of key {} ran out at {when}", sig.key_tag),
            );
            return None;
        }
        if age_s < 0 {
            let when = format_utc(
                self.now
                    .wall_s
                    .saturating_add_signed((-i64::from(age_s)).max(0)),
            );
            worst.note(
                Ede::SIGNATURE_NOT_YET_VALID,
                format!("signature of key {} begins at {when}", sig.key_tag),
            );
            return None;
        }
        Some(sig)
    }

    fn signed_by_any(
        &mut self,
        set: &RrSet,
        sig: &Rrsig<'_>,
        keys: &[Rdata],
        worst: &mut Complaint,
    ) -> Result<bool, Ede> {
        let matching = keys
            .iter()
            .filter_map(|rdata| Dnskey::parse(rdata))
            .filter(|k| k.algorithm == sig.algorithm && k.key_tag() == sig.key_tag);
        let mut any = false;
        for key in matching.take(KEYS_PER_TAG_MAX) {
            any = true;
            if !key.is_zone_key() {
                let text = format!("key {} is no zone key", sig.key_tag);
                worst.note(Ede::NO_ZONE_KEY_BIT, text);
                continue;
            }
            if !self.budget.pay_crypto() {
                return Err(bogus(format!(
                    "{}: too many signatures to check, over {CRYPTO_MAX} or over {CRYPTO_FAILED_MAX} in vain",
                    what(set)
                )));
            }
            match verify::verify_rrset(set, sig, &key, self.zone, self.now.wall_s) {
                Ok(_) => return Ok(true),
                Err(error) => {
                    self.budget.crypto_failed();
                    worst.note(Ede::BOGUS, format!("key {}: {error}", sig.key_tag));
                }
            }
        }
        if !any {
            let text = format!(
                "no DNSKEY with tag {} and algorithm {}",
                sig.key_tag, sig.algorithm
            );
            worst.note(Ede::DNSKEY_MISSING, text);
        }
        Ok(false)
    }

    /// RFC 4035 section 5.3.3: no longer than the original TTL and the signature.
    fn checked(&self, set: &RrSet, rdata: &Rdata, sig: &Rrsig<'_>) -> Checked {
        let (age_s, left_s) = window(sig, self.now);
        let ttl = set.ttl.min(sig.original_ttl).min(left_s.max(0) as u32);
        let others = set.sigs.iter().filter(|other| {
            *other != rdata
                && Rrsig::parse(other).is_some_and(|o| {
                    let (age_s, left_s) = window(&o, self.now);
                    o.covered == sig.covered
                        && o.signer == sig.signer
                        && o.labels == sig.labels
                        && o.original_ttl == sig.original_ttl
                        && age_s >= 0
                        && left_s >= 0
                })
        });
        let sigs = (std::iter::once(rdata).chain(others))
            .take(SIGNATURES_TRIED_MAX)
            .cloned()
            .collect();
        let mut life = Lifetime::seconds(self.now, ttl);
        life.wall_start_s = self.now.wall_s.saturating_sub(age_s.max(0) as u64);
        life.wall_end_s = self.now.wall_s.saturating_add(left_s.max(0) as u64);
        Checked {
            set: RrSet {
                ttl,
                sigs,
                ..set.clone()
            },
            expanded: expansion(set, sig),
            life,
        }
    }

    fn accept(&self, set: &RrSet) -> Checked {
        let sigs = set.sigs.iter().filter_map(|s| Rrsig::parse(s));
        // The one that lasts longest. In as-of data it may have run out.
        let sig = sigs.max_by_key(|sig| window(sig, self.now).1);
        let left_s = sig.as_ref().map_or(0, |sig| window(sig, self.now).1);
        let ttl = match u32::try_from(left_s) {
            Ok(left_s @ 1..) => set.ttl.min(left_s),
            _ => set.ttl,
        };
        Checked {
            expanded: sig.and_then(|sig| expansion(set, &sig)),
            set: RrSet { ttl, ..set.clone() },
            life: Lifetime::seconds(self.now, ttl),
        }
    }

    /// Checks the zone's DNSKEY set against the DS records or anchors that name its keys, and returns
    /// the set (RFC 4035 section 5.2).
    pub(super) fn check_keys(&mut self, set: &RrSet, named_by: &Anchor) -> Result<Checked, Ede> {
        if let Trust::Verified = self.trust {
            return Ok(self.accept(set));
        }
        // CVE-2023-50387: the work is the product of keys, signatures and DS records.
        let count = set.rdatas.len();
        if count > DNSKEYS_MAX {
            return Err(bogus(format!(
                "{} has {count} DNSKEY records, over {DNSKEYS_MAX}",
                self.zone
            )));
        }
        let named = self.named_keys(set, named_by);
        if named.is_empty() {
            let considered = match named_by.ds.len() > DS_MAX {
                true => format!(", of which the first {DS_MAX} usable ones were looked at"),
                false => String::new(),
            };
            return Err(Ede::new(
                Ede::DNSKEY_MISSING,
                format!(
                    "no DNSKEY of {} matches its DS or trust anchor{considered}",
                    self.zone
                ),
            ));
        }
        if !named.iter().any(|k| is_zone_key(k)) {
            return Err(Ede::new(
                Ede::NO_ZONE_KEY_BIT,
                format!("the DNSKEY that vouches for {} is no zone key", self.zone),
            ));
        }
        let mut inner = Court {
            ctx: self.ctx,
            zone: self.zone,
            trust: Trust::Keys(&named),
            budget: &mut *self.budget,
            now: self.now,
        };
        let checked = inner.check(set)?;
        match checked.expanded {
            Some(_) => Err(bogus(format!("DNSKEY of {} from a wildcard", self.zone))),
            None => Ok(checked),
        }
    }

    fn named_keys(&self, set: &RrSet, named_by: &Anchor) -> Vec<Rdata> {
        let mut named: Vec<Rdata> = Vec::new();
        let by_rdata = set.rdatas.iter().filter(|k| named_by.dnskey.contains(k));
        named.extend(by_rdata.cloned());
        for digest in usable_ds(self.ctx, &named_by.ds) {
            let matching = set.rdatas.iter().filter(|rdata| {
                Dnskey::parse(rdata).is_some_and(|k| {
                    k.algorithm == digest.algorithm && k.key_tag() == digest.key_tag
                })
            });
            for rdata in matching.take(KEYS_PER_TAG_MAX) {
                let matches = Dnskey::parse(rdata)
                    .is_some_and(|key| ds::ds_matches(&digest, self.zone, &key));
                if matches && !named.contains(rdata) {
                    named.push(rdata.clone());
                }
            }
        }
        named
    }
}

/// The DS records that can be followed: supported algorithm and digest; SHA-1 ones only where there is
/// nothing better (RFC 4509 section 3).
fn usable_ds<'a>(ctx: &Validator, rdatas: &'a [Rdata]) -> Vec<Ds<'a>> {
    let mut usable = ds::usable(rdatas, ctx.sha1);
    usable.truncate(DS_MAX);
    usable
}

/// Why a zone counts as unsigned although its DS records or anchors are secure: none of them can be
/// followed (RFC 4035 section 5.2, RFC 6840 section 5.2). `None` when one can.
pub(super) fn unsupported(ctx: &Validator, zone: &Name, named_by: &Anchor) -> Option<Ede> {
    let keys = named_by.dnskey.iter().filter_map(|r| Dnskey::parse(r));
    let mut keys = keys.filter(|k| supports_algorithm(ctx, k.algorithm));
    if keys.next().is_some() || !usable_ds(ctx, &named_by.ds).is_empty() {
        return None;
    }
    let digests: Vec<Ds<'_>> = named_by.ds.iter().filter_map(|r| Ds::parse(r)).collect();
    match digests
        .iter()
        .find(|ds| supports_algorithm(ctx, ds.algorithm))
    {
        Some(ds) => Some(Ede::new(
            Ede::UNSUPPORTED_DS_DIGEST,
            format!(
                "DS digest type {} of {zone} is not supported",
                ds.digest_type
            ),
        )),
        None => {
            let ds = digests.first().map(|ds| ds.algorithm);
            let key = named_by.dnskey.iter().find_map(|r| Dnskey::parse(r));
            let algorithm = ds.or(key.map(|k| k.algorithm)).unwrap_or(0);
            Some(Ede::new(
                Ede::UNSUPPORTED_DNSKEY_ALGORITHM,
                format!("algorithm {algorithm} of {zone} is not supported"),
            ))
        }
    }
}

/// The records of a DNSKEY set that may sign.
pub(super) fn zone_keys(ctx: &Validator, set: &RrSet) -> Vec<Rdata> {
    let signs =
        |rdata: &&Rdata| Dnskey::parse(rdata).is_some_and(|k| supports_algorithm(ctx, k.algorithm));
    set.rdatas.iter().filter(signs).cloned().collect()
}

fn is_zone_key(rdata: &[u8]) -> bool {
    Dnskey::parse(rdata).is_some_and(|k| k.is_zone_key())
}

/// Seconds since the signature began and until it ends; either is negative outside its validity.
/// RFC 4034 section 3.1.5: serial number arithmetic.
fn window(sig: &Rrsig<'_>, now: Now) -> (i32, i32) {
    let wall = now.wall_s as u32;
    (
        wall.wrapping_sub(sig.inception) as i32,
        sig.expiration.wrapping_sub(wall) as i32,
    )
}

/// Labels as the RRSIG field counts them: a leading `*` does not count.
fn owner_labels(name: &Name) -> usize {
    name.label_count() - usize::from(name.is_wildcard())
}

/// How many labels the parent of the wildcard has that the set was made from, by this signature of it.
pub(super) fn expansion(set: &RrSet, sig: &Rrsig<'_>) -> Option<usize> {
    let labels = usize::from(sig.labels);
    (labels < owner_labels(&set.name)).then_some(labels)
}

/// The text for a set: `www.example. A`.
pub(super) fn what(set: &RrSet) -> String {
    format!("{} {}", set.name, set.rtype)
}

/// Extended error 6 with a text.
pub(super) fn bogus(text: String) -> Ede {
    Ede::new(Ede::BOGUS, text)
}

/// The most telling reason why none of a set's signatures counts.
struct Complaint {
    subject: String,
    rank: usize,
    code: u16,
    text: String,
}

impl Complaint {
    /// From the least to the most telling.
    const RANKS: [u16; 6] = [
        Ede::RRSIGS_MISSING,
        Ede::DNSKEY_MISSING,
        Ede::NO_ZONE_KEY_BIT,
        Ede::SIGNATURE_NOT_YET_VALID,
        Ede::SIGNATURE_EXPIRED,
        Ede::BOGUS,
    ];

    fn new(set: &RrSet, zone: &Name) -> Complaint {
        Complaint {
            subject: format!("{} in zone {zone}", what(set)),
            rank: 0,
            code: Ede::RRSIGS_MISSING,
            text: "no signature of the zone".into(),
        }
    }

    fn note(&mut self, code: u16, text: String) {
        let rank = Self::RANKS.iter().position(|c| *c == code).unwrap_or(0);
        if rank >= self.rank {
            (self.rank, self.code, self.text) = (rank, code, text);
        }
    }

    fn into_ede(self) -> Ede {
        Ede::new(self.code, format!("{}: {}", self.subject, self.text))
    }
}

fn supports_algorithm(ctx: &Validator, algorithm: u8) -> bool {
    algorithms::supported(algorithm, ctx.sha1)
}

/// Whether the set is one of the denial records.
pub(super) fn is_denial(set: &RrSet) -> bool {
    matches!(set.rtype, Rtype::NSEC | Rtype::NSEC3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::validate::Settings;

    /// DS data of a key that nobody has.
    fn ds(algorithm: u8, digest_type: u8) -> Rdata {
        [&[0, 1, algorithm, digest_type][..], &[7; 32]]
            .concat()
            .into()
    }

    /// RFC 4035 section 5.2, RFC 6840 section 5.2, RFC 9905.
    #[test]
    fn what_cannot_be_followed_is_insecure() {
        let zone = Name::root();
        for (records, plain, with_sha1) in [
            (&[(8, 2)][..], None, None),
            (&[(8, 1)], Some(2), None),
            (&[(5, 2)], Some(1), None),
            (&[(7, 1)], Some(1), None),
            (&[(99, 2)], Some(1), Some(1)),
            (&[(13, 99)], Some(2), Some(2)),
            (&[(99, 2), (13, 99)], Some(2), Some(2)),
            (&[(99, 2), (13, 4)], None, None),
            (&[], Some(1), Some(1)),
        ] {
            let named_by = Anchor {
                ds: records.iter().map(|(a, d)| ds(*a, *d)).collect(),
                dnskey: Vec::new(),
            };
            for (sha1, expected) in [(false, plain), (true, with_sha1)] {
                let ctx = Validator::new(Settings {
                    sha1,
                    ..Settings::default()
                });
                let found = unsupported(&ctx, &zone, &named_by).map(|ede| ede.code);
                assert_eq!(found, expected, "{records:?} sha1 {sha1}");
            }
        }
    }

    /// RFC 4509 section 3.
    #[test]
    fn sha1_digests_yield_to_better_ones() {
        let ctx = Validator::new(Settings {
            sha1: true,
            ..Settings::default()
        });
        for (records, expected) in [
            (&[(8, 1)][..], &[1][..]),
            (&[(8, 1), (8, 2)], &[2]),
            (&[(8, 1), (8, 99)], &[1]),
            (&[(8, 1), (99, 2)], &[1]),
            (&[(8, 2), (8, 4)], &[2, 4]),
        ] {
            let rdatas: Vec<Rdata> = records.iter().map(|(a, d)| ds(*a, *d)).collect();
            let found: Vec<u8> = usable_ds(&ctx, &rdatas)
                .iter()
                .map(|d| d.digest_type)
                .collect();
            assert_eq!(found, expected, "{records:?}");
        }
    }

    /// RFC 4034 section 3.1.5: validity runs over the end of the 32-bit seconds.
    #[test]
    fn windows_use_serial_arithmetic() {
        let sig = |inception: u32, expiration: u32| {
            let mut rdata = vec![0, 1, 15, 0, 0, 0, 0, 60];
            rdata.extend(expiration.to_be_bytes());
            rdata.extend(inception.to_be_bytes());
            rdata.extend([0, 1, 0, 9]);
            rdata
        };
        let edge = 1u64 << 32;
        for (inception, expiration, wall_s, expected) in [
            (100, 200, 150, (50, 50)),
            (100, 200, 200, (100, 0)),
            (100, 200, 201, (101, -1)),
            (100, 200, 99, (-1, 101)),
            (u32::MAX - 9, 10, edge, (10, 10)),
            (u32::MAX - 9, 10, edge - 11, (-1, 21)),
        ] {
            let rdata = sig(inception, expiration);
            let sig = Rrsig::parse(&rdata).unwrap();
            let now = Now::new(std::time::Duration::ZERO, wall_s);
            assert_eq!(window(&sig, now), expected, "{wall_s}");
        }
    }
}
