//! What is wrong with a zone, in a list that does not grow without end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::dns::{Name, Rtype};
use crate::dnssec::verify::SignatureError;
use crate::dnssec::zonemd::Refuted;

/// Faults that are listed before verification stops.
pub const FAULTS_MAX: usize = 100;

/// One thing that is wrong with a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// At which name.
    pub owner: Name,
    /// At which set; `None` when it is about the name or the whole zone.
    pub rtype: Option<Rtype>,
    /// What it is.
    pub problem: Problem,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.owner)?;
        if let Some(rtype) = self.rtype {
            write!(f, " {rtype}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing to trust was given.
    #[error(
        "there is no trust anchor for the zone; give one with --anchor or resolver.trust_anchor"
    )]
    NoTrust,
    /// Every trust anchor has an algorithm or digest that is not supported.
    #[error("no trust anchor of the zone has a supported algorithm and digest")]
    UnsupportedTrust,
    /// The zone has no keys.
    #[error("the zone has no DNSKEY records")]
    NoKeys,
    /// No key is named by what is trusted.
    #[error("no DNSKEY matches the trust anchor or the parent's DS ({0})")]
    UntrustedKeys(String),
    /// The DNSKEY set is not signed by a key that is named by what is trusted.
    #[error("no trusted key has signed the DNSKEY set")]
    KeysUnsigned,
    /// No key has an algorithm that is supported.
    #[error("no zone key has a supported algorithm")]
    UnsupportedKeys,
    /// A set that must be signed is not, or only by keys that the zone does not have.
    #[error("not signed by a key of the zone")]
    Unsigned,
    /// A signature stands alone.
    #[error("an RRSIG covers a set that is not there")]
    Orphan,
    /// A signature has not the form of one.
    #[error("malformed RRSIG")]
    MalformedSignature,
    /// A signature does not count.
    #[error("signature by key {key_tag}: {error}{}", when.as_deref().unwrap_or_default())]
    Signature {
        /// Tag of the key that is named as its maker.
        key_tag: u16,
        /// Why it does not count.
        error: SignatureError,
        /// The moment that decides, for signatures outside their time.
        when: Option<String>,
    },
    /// A set in the zone is signed as if it were made from a wildcard.
    #[error("signature by key {0} is that of a wildcard")]
    Expanded(u16),
    /// TTL and original TTL differ.
    #[error("TTL is {ttl_s}, signed was {original_ttl_s}")]
    Ttl {
        /// In the zone, seconds.
        ttl_s: u32,
        /// As signed, seconds.
        original_ttl_s: u32,
    },
    /// Records of one set have different TTLs.
    #[error("the TTLs within the set differ")]
    MixedTtls,
    /// More signatures than are tried.
    #[error("too many signatures that do not verify")]
    TooManySignatures,
    /// Neither NSEC nor NSEC3.
    #[error("the zone has no NSEC or NSEC3 chain")]
    NoDenial,
    /// A name is left out of the NSEC chain.
    #[error("the name has no NSEC record")]
    NsecMissing,
    /// More than one NSEC record, or a damaged one.
    #[error("the NSEC set is not one well-formed record")]
    NsecMalformed,
    /// The chain skips names or leads elsewhere.
    #[error("NSEC says that the next name is {found}, it is {expected}")]
    NsecNext {
        /// What the record says.
        found: Name,
        /// What the zone has.
        expected: Name,
    },
    /// The bitmap does not list what the name has.
    #[error("the denial record lists the types [{listed}], the name has [{present}]")]
    Types {
        /// As the record lists them.
        listed: String,
        /// As the zone has them.
        present: String,
    },
    /// More rounds than are followed.
    #[error("NSEC3 with {0} extra iterations; more than {max} are not followed", max = crate::dnssec::nsec3::ITERATIONS_MAX)]
    Nsec3Iterations(u16),
    /// NSEC3PARAM that cannot be followed.
    #[error("no NSEC3PARAM record has a known hash algorithm")]
    Nsec3Params,
    /// More NSEC3 chains than are followed.
    #[error("too many NSEC3PARAM records")]
    Nsec3TooMany,
    /// More than one NSEC3 record at a hash, or a damaged one.
    #[error("the NSEC3 set is not one well-formed record")]
    Nsec3Malformed,
    /// A name is left out of the NSEC3 chain.
    #[error("the name has no NSEC3 record {0}")]
    Nsec3Missing(String),
    /// The chain is broken.
    #[error("NSEC3 says that the next hash is {found}, it is {expected}")]
    Nsec3Next {
        /// What the record says.
        found: String,
        /// What the zone has.
        expected: String,
    },
    /// A record of the chain belongs to no name.
    #[error("the NSEC3 record is the hash of no name in the zone")]
    Nsec3Stray,
    /// Two names of the zone have the same hash.
    #[error("two names of the zone have this hash")]
    Nsec3Collision,
    /// The ZONEMD set refutes the zone.
    #[error("{0}")]
    Zonemd(Refuted),
    /// The image could not be read to its end.
    #[error("the image is damaged where it is stored")]
    Damaged,
    /// The list is full.
    #[error("stopped after {FAULTS_MAX} faults; there may be more")]
    More,
}

/// Collects faults from several threads.
#[derive(Debug, Default)]
pub struct Faults {
    list: Mutex<Vec<Fault>>,
    full: AtomicBool,
}

impl Faults {
    /// An empty list.
    pub fn new() -> Faults {
        Faults::default()
    }

    /// Notes a fault, unless the list is full.
    pub fn add(&self, owner: &Name, rtype: Option<Rtype>, problem: Problem) {
        // A thread that panicked with the lock held leaves a sound list behind.
        let mut list = self.list.lock().unwrap_or_else(|e| e.into_inner());
        if list.len() >= FAULTS_MAX {
            self.full.store(true, Ordering::Relaxed);
            return;
        }
        list.push(Fault {
            owner: owner.clone(),
            rtype,
            problem,
        });
    }

    /// Whether further faults are no longer noted.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Nothing, or the faults in canonical order of their names.
    ///
    /// # Errors
    /// The faults, if there are any.
    pub fn into_result(self) -> Result<(), Vec<Fault>> {
        let full = self.is_full();
        let mut list = self.list.into_inner().unwrap_or_else(|e| e.into_inner());
        list.sort_by(|a, b| (&a.owner, a.rtype).cmp(&(&b.owner, b.rtype)));
        list.dedup();
        if full {
            list.push(Fault {
                owner: Name::root(),
                rtype: None,
                problem: Problem::More,
            });
        }
        if list.is_empty() { Ok(()) } else { Err(list) }
    }
}
