//! What people and scripts are told about a mirror.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::age::{self, Facts};
use super::generation::Generation;
use super::health::SourceStatus;
use super::policy::{self, Usable};
use super::source::meter::Meter;
use super::store::{GenerationRow, MirrorStore, SourceKind, Verdict};
use crate::clock::format_utc;
use crate::config::{MirrorConfig, MirrorUse};
use crate::dns::Name;

/// One mirror, for `status`. Reachability (`state`, `since`) is added by whoever knows it. Times are RFC 3339 text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MirrorStatus {
    /// The zone.
    pub zone: String,
    /// `failover` or `always`.
    #[serde(rename = "use")]
    pub usage: String,
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
    /// The age at which it stops answering (`age_max`); `null` without a copy, and for a snapshot, which has no such limit.
    #[serde(default)]
    pub age_max_s: Option<u64>,
    /// `fresh`, `last resort` (the snapshot) or `too old`.
    pub usable: Option<String>,
    /// A newer version that a brake holds for the operator.
    pub held: Option<HeldStatus>,
    /// When the first of its signatures runs out.
    pub signatures_expire: Option<String>,
    /// Who vouches for the way that it came by: `plain` (nobody), `tsig`, `tls` or `https`.
    pub channel: Option<String>,
    /// What verification and channel prove of it.
    pub proves: Option<String>,
    /// What verification remarked on.
    pub warnings: Vec<String>,
    /// What the last refresh failed with, until one succeeds.
    pub last_error: Option<String>,
    /// The same, one by one: a source and what it said, or what else was missing.
    pub errors: Vec<String>,
    /// How near it is to the end of what it is good for, from a quarter of the way on.
    pub escalation: Option<EscalationStatus>,
    /// What is on its way in.
    pub transfer: Option<TransferStatus>,
    /// Where versions come from, in order of preference.
    pub sources: Vec<SourceStatus>,
    /// The last NOTIFY that was taken: when, and from whom.
    pub last_notify: Option<String>,
}

/// A copy that grows old.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscalationStatus {
    /// How much of the time is gone: 25, 50, 75 or 100.
    pub percent: u64,
    /// `signatures`, `soa expire` or `signatures, sources stuck`.
    pub limit: String,
    /// When it is all gone.
    pub at: String,
    /// What will happen then.
    pub text: String,
}

/// A version that waits for the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldStatus {
    /// Its serial.
    pub serial: u32,
    /// Why it is held.
    pub reasons: Vec<String>,
}

/// A version on its way in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferStatus {
    /// Where it comes from.
    pub source: String,
    /// Since when.
    pub since: String,
    /// `fetching`, `building` or `verifying`.
    pub stage: String,
    /// Octets received so far.
    pub bytes: u64,
    /// Records received so far.
    pub records: u64,
    /// The part of the stage that is done, in per cent, where it can be told: of a transfer by the version that is held.
    pub percent: Option<u8>,
}

impl From<&Meter> for TransferStatus {
    fn from(meter: &Meter) -> TransferStatus {
        TransferStatus {
            source: meter.source.clone(),
            since: format_utc(meter.since_at),
            stage: meter.stage().name().into(),
            bytes: meter.bytes(),
            records: meter.records(),
            percent: meter.share().map(|share| (share * 100.0) as u8),
        }
    }
}

impl MirrorStatus {
    pub(super) fn new(
        config: &MirrorConfig,
        current: Option<&Generation>,
        now_s: u64,
    ) -> MirrorStatus {
        MirrorStatus {
            zone: config.zone.to_string(),
            usage: match config.use_ {
                MirrorUse::Failover => "failover".into(),
                MirrorUse::Always => "always".into(),
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
            age_max_s: current
                .filter(|g| !g.is_bootstrap())
                .map(|g| policy::age_max_s(g, config)),
            usable: current.map(|g| match policy::usable(g, config, now_s) {
                Usable::Fresh => "fresh".into(),
                Usable::LastResort => "last resort".into(),
                Usable::TooOld { .. } => "too old".into(),
            }),
            signatures_expire: current
                .and_then(|g| g.row().signatures_expire_at)
                .map(format_utc),
            channel: current.map(|g| g.provenance().channel.name().into()),
            proves: current
                .map(|g| g.row().proves.clone())
                .filter(|text| !text.is_empty()),
            warnings: current.map_or_else(Vec::new, |g| g.row().warnings.clone()),
            escalation: current
                .filter(|g| !g.is_bootstrap())
                .and_then(|g| age::escalation(&Facts::of(g, now_s), now_s))
                .map(|e| EscalationStatus {
                    percent: e.stage.percent(),
                    limit: e.limit.name().into(),
                    at: format_utc(e.at),
                    text: e.text(config),
                }),
            ..MirrorStatus::default()
        }
    }
}

/// One version, for `mirror show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    #[serde(default)]
    pub bootstrap: bool,
    /// What verification and channel prove of it.
    #[serde(default)]
    pub proves: String,
    /// Its file, where it is kept.
    #[serde(default)]
    pub file: Option<PathBuf>,
}

/// The stored versions of a zone, newest first; `current` is serial and digest of the one that is served. Blocks.
pub(super) fn generations(
    store: &MirrorStore,
    zone: &Name,
    current: Option<(u32, &str)>,
) -> Vec<GenerationInfo> {
    (store.rows(zone).into_iter())
        .map(|row| GenerationInfo::new(store.file_of(&row), row, current))
        .collect()
}

/// What a version is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

impl fmt::Display for GenerationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GenerationState::Current => "current",
            GenerationState::Kept => "kept",
            GenerationState::Held => "held",
            GenerationState::Refused => "refused",
        })
    }
}

impl GenerationInfo {
    fn new(
        file: Option<PathBuf>,
        row: GenerationRow,
        current: Option<(u32, &str)>,
    ) -> GenerationInfo {
        let is_current = current == Some((row.serial, &*row.digest));
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
            proves: row.proves,
            file,
        }
    }
}
