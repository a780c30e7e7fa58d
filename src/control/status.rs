//! What `holdfast status` says, as JSON and for people.
//!
//! Times are RFC 3339 in UTC, ages and durations are in the unit that the key names. A value that does not
//! exist (yet) is `null`. Keys are only ever added: scripts read this.

mod cache;
mod crowded;
mod flooded;
mod mirrors;
mod past;
mod stale;
mod talkers;
mod top;
mod trust;
mod versions;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::table::Table;
use crate::drill::report::DrillState;

pub use cache::{CacheStatus, FlushDone, KindStatus, TableStatus};
pub use crowded::{CrowdedStatus, FullServerStatus};
pub use flooded::FloodedStatus;
pub use mirrors::{MirrorStatus, mirrors_text, transfer_text};
pub use past::PastKernelStatus;
pub use stale::{StaleStatus, StaleZoneStatus};
pub use talkers::{TalkerStatus, TopTalkers, share};
pub use top::{ROWS_MAX as TOP_ROWS_MAX, Top, TopName};
pub use trust::{
    CertificateStatus, ClockReset, ClockStatus, NegativeAnchorStatus, TrustKeyStatus,
    TrustPointStatus,
};
pub use versions::{MirrorDone, versions_text};
use words::bytes_words;
pub use words::duration_words;

/// The state of the server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Seconds since start.
    pub uptime_s: u64,
    /// The wall clock as the server sees it.
    pub time: String,
    /// What bounds it.
    pub clock: ClockStatus,
    /// What encrypted listeners show; `null` without `[server.tls]`.
    #[serde(default)]
    pub certificate: Option<CertificateStatus>,
    /// Zones with trust anchors that are followed (RFC 5011).
    pub trust_anchors: Vec<TrustPointStatus>,
    /// Own zones.
    pub zones: Vec<ZoneStatus>,
    /// Mirrors.
    pub mirrors: Vec<MirrorStatus>,
    /// Names at and below which nothing is validated.
    #[serde(default)]
    pub negative_trust_anchors: Vec<NegativeAnchorStatus>,
    /// Upstream servers that have been asked.
    pub servers: Vec<ServerStatus>,
    /// Prefixes whose addresses are silent together, so that they are asked after all others.
    #[serde(default)]
    pub dead_prefixes: Vec<DeadPrefixStatus>,
    /// Delegations kept past their TTL.
    #[serde(default)]
    pub retained: RetainedStatus,
    /// Answers past their TTL.
    #[serde(default)]
    pub stale: StaleStatus,
    /// Zones for whose servers too many questions wait.
    #[serde(default)]
    pub crowded: Vec<CrowdedStatus>,
    /// Upstream servers at which too many questions are outstanding, the worst first.
    #[serde(default)]
    pub full_servers: Vec<FullServerStatus>,
    /// Zones below which many names that do not exist are asked for.
    #[serde(default)]
    pub flooded: Vec<FloodedStatus>,
    /// Interfaces of `server.xdp`.
    #[serde(default)]
    pub past_kernel: Vec<PastKernelStatus>,
    /// The networks that ask most.
    #[serde(default)]
    pub top_talkers: TopTalkers,
    /// The drill that goes on, or the last one.
    #[serde(default)]
    pub drill: Option<DrillState>,
    /// The answer cache.
    pub cache: CacheStatus,
    /// All counters and gauges by name.
    pub metrics: BTreeMap<String, u64>,
}

/// One own zone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ZoneStatus {
    /// Its apex.
    pub zone: String,
    /// Serial of its SOA; `null` while it is not served.
    pub serial: Option<u32>,
    /// Why it is not served, or why its newer file is not.
    pub error: Option<String>,
}

/// One upstream server address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its address.
    pub address: String,
    /// Smoothed round trip time in milliseconds.
    pub srtt_ms: Option<f64>,
    /// `good`, `silent`, or `new` while nothing is known.
    pub state: String,
    /// What is special about asking it, such as `no EDNS`.
    #[serde(default)]
    pub quirks: Vec<String>,
}

/// A dead prefix.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeadPrefixStatus {
    /// The prefix (CIDR).
    pub prefix: String,
    /// Since when.
    pub since: String,
    /// What brought the verdict.
    pub evidence: String,
}

/// Delegations kept past their TTL.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RetainedStatus {
    /// How many.
    pub delegations: u64,
    /// Name servers whose addresses are kept.
    pub servers: u64,
    /// Bytes that both take.
    pub bytes: u64,
    /// Zones that cannot be reached, so that what they delegated last is in use.
    pub parents_gone: Vec<GoneStatus>,
}

/// A zone whose servers cannot be reached.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GoneStatus {
    /// Its apex.
    pub zone: String,
    /// Since when.
    pub since: String,
}

/// Upstream servers that the form for people lists; the JSON has all.
const SERVERS_SHOWN_MAX: usize = 20;

impl Status {
    /// The form for people.
    pub fn to_text(&self) -> String {
        let mut out = format!(
            "holdfast {}, up {}, clock {}\n",
            self.version,
            duration_words(self.uptime_s),
            self.time
        );
        if let Some(drill) = self.drill.as_ref().filter(|drill| drill.running) {
            out.push_str("! ");
            out.push_str(&drill.to_text());
        }
        self.write_clock(&mut out);
        self.write_certificate(&mut out);
        self.write_mirrors(&mut out);
        self.write_zones(&mut out);
        self.write_trust_anchors(&mut out);
        self.write_negative_anchors(&mut out);
        self.write_servers(&mut out);
        self.write_dead_prefixes(&mut out);
        self.write_retained(&mut out);
        self.stale.write(&mut out);
        crowded::write(&self.crowded, &self.full_servers, &mut out);
        flooded::write(&self.flooded, &mut out);
        past::write(&self.past_kernel, &mut out);
        self.top_talkers.write(&mut out);
        self.write_counts(&mut out);
        out
    }

    fn write_dead_prefixes(&self, out: &mut String) {
        for dead in self.dead_prefixes.iter().take(SERVERS_SHOWN_MAX) {
            let (prefix, since, evidence) = (&dead.prefix, &dead.since, &dead.evidence);
            let _ = writeln!(out, "! prefix {prefix} is dead since {since}: {evidence}");
        }
        let more = self.dead_prefixes.len().saturating_sub(SERVERS_SHOWN_MAX);
        if more > 0 {
            let _ = writeln!(out, "and {more} dead prefixes more (--json lists all)");
        }
    }

    fn write_retained(&self, out: &mut String) {
        let kept = &self.retained;
        if kept.delegations + kept.servers == 0 {
            return;
        }
        let _ = writeln!(
            out,
            "\nretained: {} delegations, addresses of {} servers, {}",
            kept.delegations,
            kept.servers,
            bytes_words(kept.bytes)
        );
        for gone in &kept.parents_gone {
            let _ = writeln!(
                out,
                "! {} cannot be reached since {}: what it delegated last is used",
                gone.zone, gone.since
            );
        }
    }

    fn write_mirrors(&self, out: &mut String) {
        if self.mirrors.is_empty() {
            return;
        }
        out.push('\n');
        out.push_str(&mirrors_text(&self.mirrors));
    }

    fn write_zones(&self, out: &mut String) {
        if self.zones.is_empty() {
            return;
        }
        out.push('\n');
        let mut table = Table::new(&["OWN ZONE", "SERIAL", "ERROR"]);
        for z in &self.zones {
            table.row([
                z.zone.clone(),
                z.serial.map_or("not served".into(), |s| s.to_string()),
                z.error.clone().unwrap_or_else(|| "-".into()),
            ]);
        }
        table.write(out);
    }

    fn write_servers(&self, out: &mut String) {
        if self.servers.is_empty() {
            return;
        }
        out.push('\n');
        let mut table = Table::new(&["SERVER", "STATE", "RTT", "QUIRKS"]);
        for s in self.servers.iter().take(SERVERS_SHOWN_MAX) {
            table.row([
                s.address.clone(),
                s.state.clone(),
                s.srtt_ms.map_or("-".into(), |ms| format!("{ms:.1} ms")),
                match s.quirks.is_empty() {
                    true => "-".into(),
                    false => s.quirks.join(", "),
                },
            ]);
        }
        table.write(out);
        if let Some(more) = self
            .servers
            .len()
            .checked_sub(SERVERS_SHOWN_MAX)
            .filter(|n| *n > 0)
        {
            let _ = writeln!(out, "and {more} servers more (--json lists all)");
        }
    }

    fn write_counts(&self, out: &mut String) {
        out.push('\n');
        out.push_str(&self.cache.to_text());
        let counted: Vec<_> = (self.metrics.iter())
            .filter_map(|(name, n)| Some((name.strip_suffix("_total")?, n)))
            .filter(|(_, n)| **n > 0)
            .map(|(name, n)| format!("{} {n}", name.replace('_', " ")))
            .collect();
        if !counted.is_empty() {
            let _ = writeln!(out, "since start: {}", counted.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror;

    fn mirror_in(state: &str, mirror: mirror::MirrorStatus) -> MirrorStatus {
        MirrorStatus {
            mirror,
            state: state.into(),
            ..MirrorStatus::default()
        }
    }

    #[test]
    fn columns_align() {
        let status = Status {
            version: "1.2.3".into(),
            uptime_s: 90,
            time: "2026-08-01T12:00:00Z".into(),
            certificate: Some(CertificateStatus {
                expires_at: "2026-08-06T12:00:00Z".into(),
                left_s: 5 * 86_400,
            }),
            mirrors: vec![
                MirrorStatus {
                    since: Some("2026-08-01T11:00:00Z".into()),
                    evidence: "26 servers silent".into(),
                    ..mirror_in(
                        "isolated",
                        mirror::MirrorStatus {
                            zone: ".".into(),
                            usage: "failover".into(),
                            serial: Some(2_026_080_100),
                            age_s: Some(3700),
                            source: Some("axfr:192.0.2.1".into()),
                            ..mirror::MirrorStatus::default()
                        },
                    )
                },
                mirror_in(
                    "online",
                    mirror::MirrorStatus {
                        zone: "example.".into(),
                        usage: "always".into(),
                        last_error: Some("connection refused".into()),
                        ..mirror::MirrorStatus::default()
                    },
                ),
                mirror_in(
                    "online",
                    mirror::MirrorStatus {
                        zone: "old.".into(),
                        usage: "failover".into(),
                        serial: Some(7),
                        usable: Some("too old".into()),
                        ..mirror::MirrorStatus::default()
                    },
                ),
            ],
            dead_prefixes: vec![DeadPrefixStatus {
                prefix: "203.0.113.0/24".into(),
                since: "2026-08-01T11:59:00Z".into(),
                evidence: "5 failures in a row".into(),
            }],
            negative_trust_anchors: vec![
                NegativeAnchorStatus {
                    name: "lab.".into(),
                    own_zone: true,
                    ..NegativeAnchorStatus::default()
                },
                NegativeAnchorStatus {
                    name: "broken.example.".into(),
                    left_s: Some(90_000),
                    ..NegativeAnchorStatus::default()
                },
                NegativeAnchorStatus {
                    name: "corp.example.".into(),
                    ..NegativeAnchorStatus::default()
                },
            ],
            ..Status::default()
        };
        let expected = "\
holdfast 1.2.3, up 1 minute 30 seconds, clock 2026-08-01T12:00:00Z
! the certificate of [server.tls] runs out in 5 days at 2026-08-06T12:00:00Z: put a new one in its place and reload (SIGHUP)

MIRROR    STATE     SERIAL      AGE              USE       SOURCE          LAST ERROR
.         isolated  2026080100  1 hour 1 minute  failover  axfr:192.0.2.1  -
example.  online    none        -                always    -               connection refused
old.      online    7           -                failover  -               -
! . is isolated since 2026-08-01T11:00:00Z: 26 servers silent
! example. has no copy yet: an outage now would not be survived
! old.: its copy is past age_max and answers nothing; see to its sources, or raise age_max

NOT VALIDATED    TIME LEFT
broken.example.  1 day 1 hour
corp.example.    no end
! prefix 203.0.113.0/24 is dead since 2026-08-01T11:59:00Z: 5 failures in a row

cache: 0 entries (0 past their TTL), 0 bytes of 0 bytes, 0 % of 0 lookups found there
";
        assert_eq!(status.to_text(), expected);
        let json = serde_json::to_string(&status).unwrap();
        assert!(json.contains("\"use\":\"failover\""));
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
    }
}
