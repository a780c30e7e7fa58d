//! Which signing algorithms and DS digests count.
//!
//! A zone signed only with algorithms that are not supported is insecure, not bogus (RFC 4035 section
//! 5.2), so "supported" decides what data means. SHA-1 is the one matter of policy: RFC 9905 wants
//! validators to stop using it, some zones still depend on it.

/// RSA/SHA-1.
pub const RSASHA1: u8 = 5;
/// RSA/SHA-1 for zones that may use NSEC3; the same algorithm.
pub const RSASHA1_NSEC3: u8 = 7;
/// RSA/SHA-256.
pub const RSASHA256: u8 = 8;
/// RSA/SHA-512.
pub const RSASHA512: u8 = 10;
/// ECDSA P-256 with SHA-256.
pub const ECDSAP256SHA256: u8 = 13;
/// ECDSA P-384 with SHA-384.
pub const ECDSAP384SHA384: u8 = 14;
/// Ed25519.
pub const ED25519: u8 = 15;

/// DS digest SHA-1.
pub const DIGEST_SHA1: u8 = 1;
/// DS digest SHA-256.
pub const DIGEST_SHA256: u8 = 2;
/// DS digest SHA-384.
pub const DIGEST_SHA384: u8 = 4;

/// Whether signatures of this DNSKEY algorithm are checked; with `sha1`, RSA/SHA-1 too. Ed448 (16) and
/// GOST (12, 23) are not: the cryptographic library has neither.
pub fn supported(algorithm: u8, sha1: bool) -> bool {
    match algorithm {
        RSASHA1 | RSASHA1_NSEC3 => sha1,
        RSASHA256 | RSASHA512 | ECDSAP256SHA256 | ECDSAP384SHA384 | ED25519 => true,
        _ => false,
    }
}

/// Whether DS records with this digest type are followed; with `sha1`, SHA-1 too.
pub fn digest_supported(digest_type: u8, sha1: bool) -> bool {
    match digest_type {
        DIGEST_SHA1 => sha1,
        DIGEST_SHA256 | DIGEST_SHA384 => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha1_is_the_operators_choice() {
        for (algorithm, plain, with_sha1) in [
            (1, false, false),
            (3, false, false),
            (5, false, true),
            (7, false, true),
            (8, true, true),
            (10, true, true),
            (12, false, false),
            (13, true, true),
            (14, true, true),
            (15, true, true),
            (16, false, false),
            (253, false, false),
        ] {
            let found = (supported(algorithm, false), supported(algorithm, true));
            assert_eq!(found, (plain, with_sha1), "{algorithm}");
        }
        for (digest, plain, with_sha1) in [
            (0, false, false),
            (1, false, true),
            (2, true, true),
            (3, false, false),
            (4, true, true),
        ] {
            let found = (
                digest_supported(digest, false),
                digest_supported(digest, true),
            );
            assert_eq!(found, (plain, with_sha1), "{digest}");
        }
    }
}
