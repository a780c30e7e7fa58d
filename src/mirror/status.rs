//! What people and scripts are told about a mirror.

use serde::Serialize;

use super::generation::Generation;
use super::health::SourceStatus;
use super::policy::{self, Usable};
use super::store::{GenerationRow, SourceKind, Verdict};
use crate::clock::format_utc;
use crate::config::{MirrorConfig, MirrorUse};

/// One mirror, for `status`. Reachability (`state`, `since`) is added by whoever knows it. Times are RFC 3339 text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MirrorStatus {
    /// The zone.
    pub zone: String,
    /// `failover` or `always`.
    #[serde(rename = "use")]
    pub use_: &'static str,
    /// The catalog that lists the zone; `None` = it has a table of its own.
    pub catalog: Option<String>,
    /// Serial of the current generation.
    pub serial: Option<u32>,
    /// Its content digest.
    pub generation: Option<String>,
    /// Where it came from.
    pub source: Option<String>,
    /// Whether it is the bundled snapshot.
    pub bootstrap: bool,
    /// As of when it was verified.
    pub verified_at: Option<String>,
    /// When a source last confirmed it.
    pub last_contact: Option<String>,
    /// Seconds since it was last known to be right.
    pub age_s: Option<u64>,
    /// `fresh`, `last resort` (the snapshot) or `too old`.
    pub usable: Option<&'static str>,
    /// When the first of its signatures runs out.
    pub signatures_expire: Option<String>,
    /// What verification remarked on.
    pub warnings: Vec<String>,
    /// What the last refresh failed with.
    pub last_error: Option<String>,
    /// Where versions come from, in order of preference.
    pub sources: Vec<SourceStatus>,
    /// The last NOTIFY that was taken: when, and from whom.
    pub last_notify: Option<String>,
}

impl MirrorStatus {
    pub(super) fn new(
        config: &MirrorConfig,
        current: Option<&Generation>,
        now_s: u64,
    ) -> MirrorStatus {
        MirrorStatus {
            zone: config.zone.to_string(),
            use_: match config.use_ {
                MirrorUse::Failover => "failover",
                MirrorUse::Always => "always",
            },
            catalog: config.catalog.as_ref().map(ToString::to_string),
            serial: current.map(Generation::serial),
            generation: current.map(|g| g.digest().to_owned()),
            source: current.map(|g| g.provenance().source.clone()),
            bootstrap: current.is_some_and(Generation::is_bootstrap),
            verified_at: current.map(|g| format_utc(g.verified_at())),
            last_contact: current
                .and_then(Generation::last_contact_at)
                .map(format_utc),
            age_s: current.map(|g| policy::age_s(g, now_s)),
            usable: current.map(|g| match policy::usable(g, config, now_s) {
                Usable::Fresh => "fresh",
                Usable::LastResort => "last resort",
                Usable::TooOld { .. } => "too old",
            }),
            signatures_expire: current
                .and_then(|g| g.row().signatures_expire_at)
                .map(format_utc),
            warnings: current.map_or_else(Vec::new, |g| g.row().warnings.clone()),
            last_error: None,
            sources: Vec::new(),
            last_notify: None,
        }
    }
}

/// One version, for `mirror show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GenerationInfo {
    /// SOA serial.
    pub serial: u32,
    /// Content digest.
    pub digest: String,
    /// Records in it.
    pub records: u64,
    /// Delegations in it.
    pub delegations: u64,
    /// As of when it was verified (or refused).
    pub verified_at: String,
    /// What was made of it, in words.
    pub verdict: String,
    /// `current`, `kept`, `held` or `refused`.
    pub state: GenerationState,
    /// Where it came from.
    pub source: String,
    /// Whether it is the bundled snapshot.
    pub bootstrap: bool,
}

/// What a version is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GenerationState {
    /// It is served.
    Current,
    /// It was, and can be rolled back to.
    Kept,
    /// A brake keeps it back for the operator.
    Held,
    /// It failed verification.
    Refused,
}

impl GenerationInfo {
    pub(super) fn new(row: GenerationRow, current: Option<&Generation>) -> GenerationInfo {
        let is_current =
            current.is_some_and(|g| g.serial() == row.serial && g.digest() == row.digest);
        let state = match row.verdict {
            _ if is_current => GenerationState::Current,
            Verdict::Verified | Verdict::Unverified => GenerationState::Kept,
            Verdict::Held(_) => GenerationState::Held,
            Verdict::Refused(_) => GenerationState::Refused,
        };
        GenerationInfo {
            verdict: match &row.verdict {
                Verdict::Verified => "verified".to_owned(),
                Verdict::Unverified => "unverified (verify = \"none\")".to_owned(),
                Verdict::Held(reasons) => format!("held: {}", reasons.join("; ")),
                Verdict::Refused(faults) => format!("refused: {}", faults.join("; ")),
            },
            serial: row.serial,
            digest: row.digest,
            records: row.records,
            delegations: row.delegations,
            verified_at: format_utc(row.verified_at),
            state,
            bootstrap: row.provenance.kind == SourceKind::Bootstrap,
            source: row.provenance.source,
        }
    }
}
