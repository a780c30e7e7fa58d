//! What `holdfast zone verify --json` prints. Keys are only ever added: scripts read this.

use serde::Serialize;

use super::faults::Fault;
use crate::zone::LoadError;

/// A zone that is as it should be, or is not signed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifiedZone {
    /// `verified`, or `unverified` where nothing is signed.
    pub verdict: String,
    /// Its apex.
    pub zone: String,
    /// Serial of its SOA.
    pub serial: u32,
    /// Records in it.
    pub records: u64,
    /// Delegations in it.
    pub delegations: u64,
    /// Signatures that were checked.
    pub signatures: u64,
    /// From when on all of them are valid.
    pub valid_from: Option<String>,
    /// Until when all of them are valid.
    pub valid_until: Option<String>,
    /// As of when they were checked.
    pub verified_at: String,
    /// `NSEC`, `NSEC3`, `NSEC3 with opt-out` or `none`.
    pub denial: String,
    /// What became of ZONEMD: `verified (SIMPLE, SHA-384)`, `absent` or `unsupported`.
    pub zonemd: String,
    /// The digest in its ZONEMD, if that was verified.
    pub zonemd_digest: Option<String>,
    /// Content digest of the zone.
    pub digest: String,
    /// What is proven of it.
    pub proves: String,
    /// What somebody should hear of although nothing is wrong.
    pub warnings: Vec<String>,
}

/// A zone that is not as it should be, or a file that is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefusedZone {
    /// Always `refused`.
    pub verdict: String,
    /// Its apex; `null` where the file could not be read so far.
    pub zone: Option<String>,
    /// What is wrong.
    pub faults: Vec<ZoneFault>,
}

/// One thing that is wrong with a zone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ZoneFault {
    /// The name that it is about.
    pub name: Option<String>,
    /// The type that it is about.
    #[serde(rename = "type")]
    pub rtype: Option<String>,
    /// What is wrong.
    pub problem: String,
}

impl ZoneFault {
    /// What keeps a file from being read.
    pub fn of_file(error: &LoadError) -> ZoneFault {
        ZoneFault {
            name: None,
            rtype: None,
            problem: error.to_string(),
        }
    }
}

impl From<&Fault> for ZoneFault {
    fn from(fault: &Fault) -> ZoneFault {
        ZoneFault {
            name: Some(fault.owner.to_string()),
            rtype: fault.rtype.map(|rtype| rtype.to_string()),
            problem: fault.problem.to_string(),
        }
    }
}
