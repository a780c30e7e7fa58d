//! The stages of a version.
//!
//! ```text
//! source -> Candidate -- verify --> Verified -- brakes --> store.commit -> Stored -> Generation -> served
//!              |                       |
//!              refused                 held for the operator
//! ```
//!
//! Why types: a mirror answers for a whole zone, so the one mistake that must not be possible is to serve a version
//! that nobody verified. A [`Candidate`] has no way to answer anything. Only [`Candidate::verify`] makes a
//! [`Verified`], only a `Verified` can be written as an admitted version, and only what was read back from such a
//! file makes a [`Generation`].
//!
//! ```compile_fail
//! use holdfast::mirror::{Candidate, Generation};
//! fn serve(candidate: Candidate) -> Generation {
//!     Generation::from(candidate)
//! }
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::store::{GenerationRow, Provenance, SourceKind, Stored, TrustRecord, Verdict, hex};
use super::verify;
use crate::dns::{Rdata, Rtype, Soa};
use crate::dnssec::verify::{SignatureError, Window};
use crate::zone::{ImageError, ZoneImage};

/// Faults that a refused version is reported with; the rest is counted.
const FAULTS_SHOWN_MAX: usize = 5;

/// A version as a source delivered it. Nothing in it is known to be true.
#[derive(Debug)]
pub struct Candidate {
    image: ZoneImage,
    provenance: Provenance,
    /// The verified version that it was made from by changes.
    base: Option<Arc<Generation>>,
}

/// A version that passed verification as of a moment.
#[derive(Debug)]
pub struct Verified {
    image: ZoneImage,
    row: GenerationRow,
}

/// A version that failed verification.
#[derive(Debug)]
pub struct Refusal {
    /// What was wrong, for people.
    pub faults: Vec<String>,
    /// What is noted of it in the ledger.
    pub row: GenerationRow,
    /// Its data, to be kept for inspection and never to be served.
    pub(super) image: ZoneImage,
}

/// What a version must prove.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// Signatures that lead to this trust, and ZONEMD where the zone has it.
    Dnssec(&'a verify::Trust, &'a verify::Policy, &'a TrustRecord),
    /// Nothing: `verify = "none"`. A ZONEMD record counts as a checksum.
    None,
}

impl Candidate {
    /// A version from a source.
    pub fn new(image: ZoneImage, provenance: Provenance) -> Candidate {
        Candidate {
            image,
            provenance,
            base: None,
        }
    }

    /// A version that was made from `base` by applying changes. It is verified as strictly as any other, without repeating
    /// the public-key operations that `base` passed ([`verify::verify_from`]).
    pub fn updated(image: ZoneImage, provenance: Provenance, base: Arc<Generation>) -> Candidate {
        Candidate {
            base: Some(base).filter(|base| base.is_verified()),
            ..Candidate::new(image, provenance)
        }
    }

    /// Where it came from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The zone's data, to be looked at and not to be served.
    pub fn image(&self) -> &ZoneImage {
        &self.image
    }

    /// Verifies it as of `at`; `now` is noted as the time of storing (both in seconds since 1970).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(self, proof: Proof<'_>, at: u64, now: u64) -> Result<Verified, Box<Refusal>> {
        let mut row = GenerationRow {
            zone: self.image.apex().clone(),
            serial: self.image.serial(),
            digest: hex(&self.image.digest()),
            verdict: Verdict::Unverified,
            provenance: self.provenance,
            verified_at: at,
            stored_at: now,
            trust: TrustRecord::None,
            records: self.image.record_count(),
            delegations: self.image.delegation_count(),
            signatures_expire_at: None,
            warnings: Vec::new(),
            proves: String::new(),
        };
        let channel = row.provenance.channel;
        let judged = match proof {
            Proof::Dnssec(trust, policy, _) => {
                let proven = self.base.as_ref().map(|base| base.image());
                verify::verify_from(&self.image, proven, trust, at, policy)
            }
            Proof::None => verify::verify_unsigned(&self.image),
        };
        let report = match judged {
            Ok(report) => report,
            Err(faults) => {
                row.verdict = Verdict::Refused(listed(&faults));
                return Err(Box::new(Refusal {
                    faults: worded(&faults),
                    row,
                    image: self.image,
                }));
            }
        };
        if let Proof::Dnssec(_, _, record) = proof {
            row.verdict = Verdict::Verified;
            row.trust = record.clone();
        }
        let warnings = report.warnings_over(channel);
        row.warnings = warnings.iter().map(ToString::to_string).collect();
        row.proves = report.proves_over(channel);
        row.signatures_expire_at = report.expires_at;
        Ok(Verified {
            image: self.image,
            row,
        })
    }
}

/// The first faults in words.
fn listed(faults: &[verify::Fault]) -> Vec<String> {
    let mut shown: Vec<String> = (faults.iter().take(FAULTS_SHOWN_MAX))
        .map(ToString::to_string)
        .collect();
    if faults.len() > FAULTS_SHOWN_MAX {
        shown.push(format!("and {} more", faults.len() - FAULTS_SHOWN_MAX));
    }
    shown
}

/// The same for an error. Which faults a full list holds differs from try to try, and an error is logged once per
/// change: then it does not name them.
fn worded(faults: &[verify::Fault]) -> Vec<String> {
    if faults.len() <= verify::FAULTS_MAX {
        return listed(faults);
    }
    let is_late = |fault: &verify::Fault| match &fault.problem {
        verify::Problem::Signature { error, .. } => *error == SignatureError::Expired,
        _ => false,
    };
    let what = match faults.iter().filter(|f| is_late(f)).count() {
        verify::FAULTS_MAX => "its signatures have expired (if they have not, the clock is wrong)",
        _ => "`holdfast mirror show` lists some",
    };
    vec![format!("more than {} faults; {what}", verify::FAULTS_MAX)]
}

impl Verified {
    /// The zone's data.
    pub fn image(&self) -> &ZoneImage {
        &self.image
    }

    /// What is known about it.
    pub fn row(&self) -> &GenerationRow {
        &self.row
    }
}

/// One verified version of a zone, the thing that is served. Immutable but for the time of its last confirmation.
#[derive(Debug)]
pub struct Generation {
    image: ZoneImage,
    row: GenerationRow,
    /// Seconds since 1970; 0 = never.
    last_contact_at: AtomicU64,
    /// Whether the apex DNSKEY set is signed, and from when to when.
    keys_valid: Vec<Window>,
    /// What was found when the image was read through.
    fault: OnceLock<ImageError>,
}

impl Generation {
    /// Takes up what was stored; `None` if it was not admitted.
    pub(super) fn take_up(stored: Stored, last_contact_at: Option<u64>) -> Option<Generation> {
        let (image, row) = stored.into_parts();
        if !row.verdict.is_admitted() {
            return None;
        }
        let keys = image.find(image.apex(), Rtype::DNSKEY);
        Some(Generation {
            keys_valid: keys.map_or_else(Vec::new, |set| windows(&set.sigs).collect()),
            fault: OnceLock::new(),
            image,
            row,
            last_contact_at: AtomicU64::new(last_contact_at.unwrap_or(0)),
        })
    }

    /// The zone's data.
    pub fn image(&self) -> &ZoneImage {
        &self.image
    }

    /// SOA data.
    pub fn soa(&self) -> Soa {
        self.image.soa()
    }

    /// SOA serial.
    pub fn serial(&self) -> u32 {
        self.row.serial
    }

    /// Content digest, lower-case hexadecimal.
    pub fn digest(&self) -> &str {
        &self.row.digest
    }

    /// Where it came from.
    pub fn provenance(&self) -> &Provenance {
        &self.row.provenance
    }

    /// The time as of which it was verified, seconds since 1970.
    pub fn verified_at(&self) -> u64 {
        self.row.verified_at
    }

    /// When a source last confirmed it as the newest, seconds since 1970.
    pub fn last_contact_at(&self) -> Option<u64> {
        Some(self.last_contact_at.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    /// Whether it is the bundled snapshot, which answers only while nothing is reachable.
    pub fn is_bootstrap(&self) -> bool {
        self.row.provenance.kind == SourceKind::Bootstrap
    }

    /// Whether its signatures were verified; else its data is insecure.
    pub fn is_verified(&self) -> bool {
        self.row.verdict == Verdict::Verified
    }

    /// All that the ledger says about it.
    pub fn row(&self) -> &GenerationRow {
        &self.row
    }

    /// Back to the first stage: it is to be verified anew.
    pub(super) fn into_candidate(self) -> Candidate {
        Candidate::new(self.image, self.row.provenance)
    }

    /// Notes that the image is damaged.
    pub(super) fn note_fault(&self, fault: ImageError) {
        let _ = self.fault.set(fault);
    }

    /// What was found to be wrong with the image.
    pub(super) fn fault(&self) -> Option<ImageError> {
        self.fault.get().cloned()
    }

    /// Validity of the signatures over the apex DNSKEY set.
    pub(super) fn keys_valid(&self) -> &[Window] {
        &self.keys_valid
    }

    pub(super) fn confirmed(&self, at: u64) {
        self.last_contact_at.store(at, Ordering::Relaxed);
    }
}

/// The windows of RRSIG data; what is too short for one is left out. Reads the two fields where they stand, because
/// this is done for every answer (RFC 4034 section 3.1).
pub(super) fn windows(sigs: &[Rdata]) -> impl Iterator<Item = Window> + '_ {
    let word = |b: &[u8]| b.first_chunk().map(|w| u32::from_be_bytes(*w));
    sigs.iter().filter_map(move |rdata| {
        Some(Window {
            expiration: word(rdata.get(8..)?)?,
            inception: word(rdata.get(12..)?)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_where_the_parser_finds_them() {
        let signer = crate::signer::Signer::new("test.", 1);
        let owner = crate::signer::name("test.");
        let sigs = signer.rrsigs(&owner, Rtype::A, 60, &[[192, 0, 2, 1].as_slice().into()]);
        let parsed: Vec<Window> = (sigs.iter())
            .map(|s| Window::of(&crate::dns::Rrsig::parse(s).unwrap()))
            .collect();
        assert_eq!(windows(&sigs).collect::<Vec<_>>(), parsed);
        assert_eq!(windows(&[[0; 15].as_slice().into()]).count(), 0);
    }
}
