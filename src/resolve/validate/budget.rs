//! What a single validation may cost.
//!
//! Why: whoever writes a zone decides how much work its validation is: many keys with one tag times
//! many signatures (KeyTrap, CVE-2023-50387), or deep names times NSEC3 iterations (CVE-2023-50868).
//! So every expensive operation is paid from a purse that is filled once. Honest zones need a small
//! part of it.

/// Public-key operations of one validation, all links of its chain included.
pub(super) const CRYPTO_MAX: u32 = 96;
/// Public-key operations of one validation that end in a mismatch.
pub(super) const CRYPTO_FAILED_MAX: u32 = 16;
/// SHA-1 rounds for NSEC3 of one validation: an owner name costs one and its zone's iterations.
pub(super) const NSEC3_ROUNDS_MAX: u32 = 8192;
/// Signatures of one RRset that are tried.
pub(super) const SIGNATURES_TRIED_MAX: usize = 8;
/// Keys with the same tag and algorithm that are tried.
pub(super) const KEYS_PER_TAG_MAX: usize = 4;
/// DS records of one zone that are considered, of those that can be followed.
pub(super) const DS_MAX: usize = 16;
/// Records of a DNSKEY set: each is compared with each signature and each DS. A zone in the middle of two rolls at once has ten.
pub(super) const DNSKEYS_MAX: usize = 64;
/// Questions that one validation asks.
pub(super) const ASKS_MAX: u32 = 64;
/// Zone cuts between an anchor and an answer.
pub(super) const CUTS_MAX: u32 = 40;

/// The purse; each method is false when it cannot pay.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    crypto: u32,
    crypto_failed: u32,
    nsec3_rounds: u32,
    asks: u32,
    cuts: u32,
}

impl Budget {
    pub(super) fn new() -> Budget {
        Budget {
            crypto: CRYPTO_MAX,
            crypto_failed: CRYPTO_FAILED_MAX,
            nsec3_rounds: NSEC3_ROUNDS_MAX,
            asks: ASKS_MAX,
            cuts: CUTS_MAX,
        }
    }

    /// Pays for a public-key operation. None is left once too many have failed.
    pub(super) fn pay_crypto(&mut self) -> bool {
        self.crypto_failed > 0 && pay(&mut self.crypto, 1)
    }

    /// Notes that a public-key operation ended in a mismatch.
    pub(super) fn crypto_failed(&mut self) {
        self.crypto_failed = self.crypto_failed.saturating_sub(1);
    }

    pub(super) fn pay_nsec3(&mut self, iterations: u16) -> bool {
        pay(&mut self.nsec3_rounds, u32::from(iterations) + 1)
    }

    pub(super) fn pay_ask(&mut self) -> bool {
        pay(&mut self.asks, 1)
    }

    pub(super) fn pay_cut(&mut self) -> bool {
        pay(&mut self.cuts, 1)
    }
}

fn pay(purse: &mut u32, price: u32) -> bool {
    match purse.checked_sub(price) {
        Some(rest) => {
            *purse = rest;
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purses_run_dry() {
        let mut budget = Budget::new();
        for _ in 0..CRYPTO_FAILED_MAX {
            assert!(budget.pay_crypto());
            budget.crypto_failed();
        }
        assert!(!budget.pay_crypto());
        assert!(budget.pay_nsec3(NSEC3_ROUNDS_MAX as u16 - 1));
        assert!(!budget.pay_nsec3(0));
        assert_eq!(
            (0..).take_while(|_| budget.pay_ask()).count(),
            ASKS_MAX as usize
        );
    }
}
