//! What `holdfast status` and `holdfast mirror` say about versions of a mirror: those that are stored, the one that is on its
//! way in, and how near the one that is served is to its end.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::super::table::Table;
use super::bytes_words;

/// As much of a digest tells versions apart.
const DIGEST_SHOWN_CHARS: usize = 12;

/// A copy that grows old.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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

/// A version on its way in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
}

impl TransferStatus {
    /// On one line.
    pub fn to_text(&self) -> String {
        let (stage, source, since) = (&self.stage, &self.source, &self.since);
        let bytes = bytes_words(self.bytes);
        format!(
            "{stage} {source} since {since}: {bytes}, {} records",
            self.records
        )
    }
}

/// One stored version of a mirror, as `holdfast mirror show` lists them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct VersionStatus {
    /// SOA serial.
    pub serial: u32,
    /// Content digest.
    pub digest: String,
    /// Records in it.
    pub records: u64,
    /// Delegations in it.
    pub delegations: u64,
    /// As of when it was verified or refused.
    pub verified_at: String,
    /// What was made of it.
    pub verdict: String,
    /// `current`, `kept`, `held` or `refused`.
    pub state: String,
    /// Where it came from.
    pub source: String,
    /// What verification and channel prove of it.
    #[serde(default)]
    pub proves: String,
    /// Its file, where it is kept.
    #[serde(default)]
    pub file: Option<std::path::PathBuf>,
}

/// What a command to a mirror has led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MirrorDone {
    /// The mirror.
    pub zone: String,
    /// Serial of what is served now.
    pub serial: Option<u32>,
    /// What is proven of it.
    #[serde(default)]
    pub proves: Option<String>,
    /// What verification remarked on.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl MirrorDone {
    /// The form for people.
    pub fn to_text(&self) -> String {
        let mut out = match self.serial {
            Some(serial) => format!("{} serves serial {serial}\n", self.zone),
            None => format!("{} has no copy\n", self.zone),
        };
        if let Some(proves) = &self.proves {
            let _ = writeln!(out, "proven: {proves}");
        }
        for warning in &self.warnings {
            let _ = writeln!(out, "warning: {warning}");
        }
        out
    }
}

/// The stored versions of a mirror for people, newest first.
pub fn versions_text(versions: &[VersionStatus]) -> String {
    if versions.is_empty() {
        return "no version is stored yet\n".into();
    }
    let mut out = String::new();
    let heads = [
        "SERIAL",
        "STATE",
        "VERIFIED AT",
        "RECORDS",
        "DELEGATIONS",
        "DIGEST",
        "SOURCE",
        "VERDICT",
    ];
    let mut table = Table::new(&heads);
    for v in versions {
        table.row([
            v.serial.to_string(),
            v.state.clone(),
            v.verified_at.clone(),
            v.records.to_string(),
            v.delegations.to_string(),
            v.digest.chars().take(DIGEST_SHOWN_CHARS).collect(),
            v.source.clone(),
            v.verdict.clone(),
        ]);
    }
    table.write(&mut out);
    out
}
