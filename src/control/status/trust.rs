//! What `holdfast status` says of what answers are judged by: trust anchors, names that are not validated, the clock, and the
//! certificate that clients judge this server by.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::super::table::Table;
use super::{Status, duration_words};

/// Seconds that a certificate has left when it is told in the form for people: a month.
const CERTIFICATE_TOLD_S: u64 = 30 * 86_400;

/// The floor under the wall clock.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClockStatus {
    /// `system`, `floor` while the system's clock stands before the floor, or `file` (`lab.clock_file`).
    pub source: String,
    /// The floor: the time is not before it.
    pub floor: Option<String>,
    /// Newest inception of a validated signature.
    pub proven: Option<String>,
}

/// What `holdfast clock reset` has done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClockReset {
    /// The floor that was cleared, if there was one.
    pub floor_was: Option<String>,
    /// Whether a running server did it.
    pub running: bool,
    /// The time now, as that server or else the system sees it.
    pub time: String,
}

impl ClockReset {
    /// The form for people.
    pub fn to_text(&self) -> String {
        match &self.floor_was {
            Some(floor) => format!(
                "the floor {floor} is cleared; the clock says {}\n",
                self.time
            ),
            None => format!(
                "there was no floor to clear; the clock says {}\n",
                self.time
            ),
        }
    }
}

/// The certificate of `[server.tls]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// When it runs out.
    pub expires_at: String,
    /// Seconds until then; 0 once it has.
    pub left_s: u64,
}

/// A zone with trust anchors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrustPointStatus {
    /// Its apex.
    pub zone: String,
    /// Its keys.
    pub keys: Vec<TrustKeyStatus>,
    /// Every key is revoked: the configured anchors stand, and validate nothing.
    pub lost_all: bool,
    /// When its keys were last seen, signed by an anchor.
    pub refreshed_at: Option<String>,
    /// When they are looked at again.
    pub next_refresh_at: Option<String>,
    /// Why the last look failed.
    pub last_error: Option<String>,
}

/// A key of a zone with trust anchors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrustKeyStatus {
    /// Its key tag; of a revoked key, the one from before.
    pub tag: u16,
    /// Its algorithm.
    pub algorithm: u8,
    /// `configured` (a DS whose key was not seen yet), `add-pending`, `valid`, `missing`, `revoked` or `removed`.
    pub state: String,
    /// Since when.
    pub since: Option<String>,
    /// When its hold-down time ends.
    pub until: Option<String>,
}

/// One negative trust anchor (RFC 7646).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NegativeAnchorStatus {
    /// Nothing is validated here and below.
    pub name: String,
    /// It stands for an own zone.
    pub own_zone: bool,
    /// When it ends; `null`: it does not.
    pub until: Option<String>,
    /// Seconds until then; 0 once it has ended.
    pub left_s: Option<u64>,
}

impl Status {
    pub(super) fn write_clock(&self, out: &mut String) {
        if let ("floor", Some(floor)) = (self.clock.source.as_str(), &self.clock.floor) {
            let _ = writeln!(
                out,
                "! the system's clock stands before {floor}, which is used instead: set it, or if it is right: holdfast clock reset"
            );
        }
    }

    pub(super) fn write_certificate(&self, out: &mut String) {
        let soon = (self.certificate.as_ref()).filter(|c| c.left_s <= CERTIFICATE_TOLD_S);
        if let Some(CertificateStatus { expires_at, left_s }) = soon {
            let when = match left_s {
                0 => format!("has run out at {expires_at}"),
                left_s => format!("runs out in {} at {expires_at}", duration_words(*left_s)),
            };
            let _ = writeln!(
                out,
                "! the certificate of [server.tls] {when}: put a new one in its place and reload (SIGHUP)"
            );
        }
    }

    pub(super) fn write_trust_anchors(&self, out: &mut String) {
        if self.trust_anchors.is_empty() {
            return;
        }
        out.push('\n');
        let heads = [
            "TRUST ANCHOR",
            "KEY",
            "ALGORITHM",
            "STATE",
            "SINCE",
            "UNTIL",
        ];
        let mut table = Table::new(&heads);
        let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        for point in &self.trust_anchors {
            for key in &point.keys {
                table.row([
                    point.zone.clone(),
                    key.tag.to_string(),
                    key.algorithm.to_string(),
                    key.state.clone(),
                    dash(&key.since),
                    dash(&key.until),
                ]);
            }
        }
        table.write(out);
        for point in &self.trust_anchors {
            let zone = &point.zone;
            if point.lost_all {
                let _ = writeln!(
                    out,
                    "! {zone}: every trust anchor is revoked, nothing below it validates: name new ones in resolver.trust_anchor"
                );
            }
            if let Some(error) = &point.last_error {
                let _ = writeln!(out, "! {zone}: its keys could not be looked at: {error}");
            }
        }
    }

    /// Own zones are listed above; what is left is what somebody switched off.
    pub(super) fn write_negative_anchors(&self, out: &mut String) {
        let set = self.negative_trust_anchors.iter().filter(|a| !a.own_zone);
        let mut table = Table::new(&["NOT VALIDATED", "TIME LEFT"]);
        let mut any = false;
        for anchor in set {
            any = true;
            table.row([
                anchor.name.clone(),
                match anchor.left_s {
                    None => "no end".into(),
                    Some(0) => "ended: take it out of the configuration".into(),
                    Some(left_s) => duration_words(left_s),
                },
            ]);
        }
        if any {
            out.push('\n');
            table.write(out);
        }
    }
}
