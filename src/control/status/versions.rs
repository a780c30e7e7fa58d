//! What `holdfast mirror` says about the stored versions of a mirror, and what a command has led to.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::super::table::Table;
use crate::mirror::GenerationInfo;

/// As much of a digest tells versions apart.
const DIGEST_SHOWN_CHARS: usize = 12;

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
pub fn versions_text(versions: &[GenerationInfo]) -> String {
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
            v.state.to_string(),
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
