//! What a generation may be used for, as a function of time and the operator's policy. Pure.

use crate::config::{AgeMax, ExpiredSignatures, MirrorConfig};
use crate::dns::{RrSet, Rtype};
use crate::dnssec::verify::Window;

use super::generation::{Generation, windows};

/// Whether a generation may answer at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usable {
    /// Within `age_max` of the last contact.
    Fresh,
    /// A bootstrap snapshot: it answers when upstream has failed altogether, never in a hedge, and has no age limit
    /// (ARCHITECTURE.md).
    LastResort,
    /// Past `age_max`.
    TooOld {
        /// Seconds since the last contact.
        age_s: u64,
        /// The most that is allowed, seconds.
        age_max_s: u64,
    },
}

/// How far records of a generation are to be trusted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Verified, and the signatures are valid now.
    Secure,
    /// Verified while connected; signatures have run out since and the operator accepts that.
    AsOf,
    /// `verify = "none"`.
    Insecure,
    /// Signatures have run out and the operator does not accept that.
    Refused,
}

/// Whether `generation` may answer at `now_s` (seconds since 1970).
pub fn usable(generation: &Generation, config: &MirrorConfig, now_s: u64) -> Usable {
    if generation.is_bootstrap() {
        return Usable::LastResort;
    }
    let age_s = age_s(generation, now_s);
    let age_max_s = age_max_s(generation, config);
    if age_s > age_max_s {
        Usable::TooOld { age_s, age_max_s }
    } else {
        Usable::Fresh
    }
}

/// The age in seconds past which `generation` answers nothing; a bundled snapshot has none.
pub fn age_max_s(generation: &Generation, config: &MirrorConfig) -> u64 {
    // RFC 8806 section 2 wants the SOA's expire; going past it is the operator's visible choice.
    match config.age_max {
        AgeMax::Seconds(seconds) => seconds,
        AgeMax::SoaExpire => u64::from(generation.soa().expire_s),
    }
}

/// Whether secondaries may have `generation` at `now_s`; why not, for them. They would present as living what is answered here with a
/// mark, or in need only.
///
/// # Errors
/// Why not.
pub fn transferable(
    generation: &Generation,
    config: &MirrorConfig,
    now_s: u64,
) -> Result<(), &'static str> {
    match usable(generation, config, now_s) {
        Usable::Fresh => {}
        Usable::LastResort => return Err("only the bundled snapshot of the zone is there"),
        Usable::TooOld { .. } => return Err("the copy of the zone is too old"),
    }
    let soa = generation.image().find(&config.zone, Rtype::SOA);
    match trust_of(generation, config, &soa, now_s) {
        Trust::Refused => Err("signatures of the zone have run out"),
        Trust::Secure | Trust::AsOf | Trust::Insecure => Ok(()),
    }
}

/// Seconds since the generation was last known to be right: since the last contact, or since it was verified if
/// that is later (a file that the operator brought in) or there was no contact yet.
pub fn age_s(generation: &Generation, now_s: u64) -> u64 {
    let known_at = generation
        .last_contact_at()
        .map_or(generation.verified_at(), |at| {
            at.max(generation.verified_at())
        });
    now_s.saturating_sub(known_at)
}

/// How far `sets`, an answer of `generation`, are to be trusted at `now_s`. Sets without signatures (delegations,
/// glue) are not judged; those that have them must each have one that is valid, and so must the zone's keys.
pub fn trust_of<'a>(
    generation: &Generation,
    config: &MirrorConfig,
    sets: impl IntoIterator<Item = &'a RrSet>,
    now_s: u64,
) -> Trust {
    if !generation.is_verified() || config.verify == crate::config::Verify::None {
        return Trust::Insecure;
    }
    let is_valid = |window: Window| window.check(now_s).is_ok();
    let valid = generation.keys_valid().iter().copied().any(is_valid)
        && (sets.into_iter())
            .filter(|set| !set.sigs.is_empty())
            .all(|set| windows(&set.sigs).any(is_valid));
    match (valid, config.expired_signatures) {
        (true, _) => Trust::Secure,
        (false, ExpiredSignatures::Accept) => Trust::AsOf,
        (false, ExpiredSignatures::Reject) => Trust::Refused,
    }
}
