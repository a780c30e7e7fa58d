//! What commands print with `--json` that no running server says.
//!
//! The other forms stand beside what they describe: `control/status`, `control/trace`, `drill/report`, `mirror/status`.
//! `docs/commands.schema.json` is made from all of them by `tests/packaging`. Keys are only ever added: scripts read this.

use std::path::PathBuf;

use serde::Serialize;

use crate::mirror::GenerationState;

/// What any command says that came to nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failed {
    /// Always `false`.
    pub ok: bool,
    /// What is wrong, as on stderr.
    pub faults: Vec<String>,
}

/// What `holdfast check` says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checked {
    /// Whether the server would start with it.
    pub ok: bool,
    /// What is wrong with the own zones.
    pub faults: Vec<String>,
    /// What is allowed but wants a second look.
    pub warnings: Vec<String>,
    /// The own zones that can be read.
    pub zones: Vec<CheckedZone>,
}

/// An own zone that can be read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckedZone {
    /// Its apex.
    pub zone: String,
    /// Serial of its SOA.
    pub serial: u32,
    /// Records in it.
    pub records: u64,
}

/// What `holdfast mirror export` has written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exported {
    /// The zone.
    pub zone: String,
    /// Serial of the version.
    pub serial: u32,
    /// What the version is used for.
    pub state: GenerationState,
    /// Its content digest.
    pub digest: String,
    /// Records in it.
    pub records: u64,
    /// Where it was written to.
    pub file: Option<PathBuf>,
}

/// What `holdfast mirror diff` has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// The zone.
    pub zone: String,
    /// The version that is compared with.
    pub old: ComparedVersion,
    /// The version that is looked at.
    pub new: ComparedVersion,
    /// Records that only the old one has.
    pub removed_count: u64,
    /// Records that only the new one has.
    pub added_count: u64,
    /// Whether the lists below have all of them: each ends after 100,000.
    pub complete: bool,
    /// Records that only the old one has, in presentation format.
    pub removed: Vec<String>,
    /// Records that only the new one has, in presentation format.
    pub added: Vec<String>,
}

/// One of two versions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedVersion {
    /// Serial of its SOA.
    pub serial: u32,
    /// What it is used for.
    pub state: GenerationState,
    /// Its content digest.
    pub digest: String,
    /// What was made of it, in words.
    pub verdict: String,
    /// Records in it.
    pub records: u64,
    /// Delegations in it.
    pub delegations: u64,
}
