//! DS records: digests by which a parent names a child's keys (RFC 4034 section 5).

use aws_lc_rs::digest;

use super::algorithms::{DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA384, digest_supported, supported};
use crate::dns::{Dnskey, Ds, Name, Rdata};

/// Whether `ds` names `key` as a key of `zone`: tag, algorithm and digest agree. An unknown digest type
/// matches nothing; ask [`digest_supported`] first, for it makes a zone insecure rather than bogus.
pub fn ds_matches(ds: &Ds<'_>, zone: &Name, key: &Dnskey<'_>) -> bool {
    ds.algorithm == key.algorithm
        && ds.key_tag == key.key_tag()
        && ds_digest(ds.digest_type, zone, key).is_some_and(|d| d.as_ref() == ds.digest)
}

/// The digest of a zone's key (RFC 4034 section 5.1.4); `None` for an unknown type.
pub fn ds_digest(digest_type: u8, zone: &Name, key: &Dnskey<'_>) -> Option<digest::Digest> {
    let algorithm = match digest_type {
        DIGEST_SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        DIGEST_SHA256 => &digest::SHA256,
        DIGEST_SHA384 => &digest::SHA384,
        _ => return None,
    };
    let mut context = digest::Context::new(algorithm);
    context.update(zone.to_lowercase().wire());
    context.update(key.rdata);
    Some(context.finish())
}

/// The DS records of a set that can be followed: supported algorithm and digest, and those with SHA-1
/// only where there is nothing better (RFC 4509 section 3). None of them: the zone is insecure (RFC 4035
/// section 5.2).
pub fn usable(set: &[Rdata], sha1: bool) -> Vec<Ds<'_>> {
    let mut usable: Vec<Ds<'_>> = (set.iter())
        .filter_map(|r| Ds::parse(r))
        .filter(|ds| supported(ds.algorithm, sha1) && digest_supported(ds.digest_type, sha1))
        .collect();
    if usable.iter().any(|ds| ds.digest_type != DIGEST_SHA1) {
        usable.retain(|ds| ds.digest_type != DIGEST_SHA1);
    }
    usable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::{Key, ZSK, name, rr};

    /// RFC 4034 section 5.4 and RFC 4509 section 2.3: one key, two digests.
    const DSKEY: &str = "AQOeiiR0GOMYkDshWoSKz9XzfwJr1AYtsmx3TGkJaNXVbfi/2pHm822aJ5iI9BMzNXxeYCmZDRD99WYwYqUSdjMmmAphXdvxegXd/M5+X7OrzKBaMbCVdFLUUh6DhweJBjEVv5f2wwjM9XzcnOf+EPbtG9DMBmADjFDc2w/rljwvFw==";

    #[test]
    fn digests_of_the_rfcs() {
        let zone = name("DSKEY.example.com.");
        let mut rdata = vec![1, 0, 3, 5];
        rdata.extend(crate::dnssec::verify::tests::base64(DSKEY));
        let key = Dnskey::parse(&rdata).unwrap();
        assert_eq!(key.key_tag(), 60485);
        for (ds, matches) in [
            ("60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118", true),
            (
                "60485 5 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A",
                true,
            ),
            ("60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292119", false),
            ("60485 8 1 2BB183AF5F22588179A53B0A98631FAD1A292118", false),
            ("60486 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118", false),
            ("60485 5 3 2BB183AF5F22588179A53B0A98631FAD1A292118", false),
        ] {
            let record = rr(&format!("dskey.example.com. 1 DS {ds}"));
            let parsed = Ds::parse(&record.rdata).unwrap();
            assert_eq!(ds_matches(&parsed, &zone, &key), matches, "{ds}");
        }
    }

    // RFC 6605 section 6.2: P-384 with a SHA-384 digest.
    #[test]
    fn sha384_digest_of_rfc_6605() {
        let mut rdata = vec![1, 1, 3, 14];
        rdata.extend(crate::dnssec::verify::tests::base64(
            "xKYaNhWdGOfJ+nPrL8/arkwf2EY3MDJ+SErKivBVSum1w/egsXvSADtNJhyem5RCOpgQ6K8X1DRSEkrbYQ+OB+v8/uX45NBwY8rp65F6Glur8I/mlVNgF6W/qTI37m40",
        ));
        let key = Dnskey::parse(&rdata).unwrap();
        let ds = rr(
            "example.net. 3600 DS 10771 14 4 72d7b62976ce06438e9c0bf319013cf801f09ecc84b8d7e9495f27e305c6a9b0563a9b5f4d288405c3008a946df983d6",
        );
        let ds = Ds::parse(&ds.rdata).unwrap();
        assert!(ds_matches(&ds, &name("example.net."), &key));
    }

    #[test]
    fn sha1_yields_to_better_digests() {
        let sha256 = Key::ed25519(1, ZSK).ds(&name("example."));
        let with_type = |digest_type: u8| {
            let mut rdata = sha256.clone();
            rdata[3] = digest_type;
            rdata
        };
        let types = |set: &[Rdata], sha1| -> Vec<u8> {
            usable(set, sha1).iter().map(|d| d.digest_type).collect()
        };
        let all = [with_type(1), with_type(2), with_type(3), with_type(4)];
        assert_eq!(types(&all, true), [2, 4]);
        assert_eq!(types(&all[..1], true), [1]);
        assert_eq!(types(&all[..1], false), [0u8; 0]);
    }
}
