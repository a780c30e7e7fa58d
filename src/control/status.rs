//! What `holdfast status` says, as JSON and for people.
//!
//! Times are RFC 3339 in UTC, ages and durations are in the unit that the key names. A value that does not
//! exist (yet) is `null`. Keys are only ever added: scripts read this.

mod stale;
mod versions;

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::table::Table;
use crate::drill::report::DrillState;

pub use stale::{StaleStatus, StaleZoneStatus};
pub use versions::{EscalationStatus, MirrorDone, TransferStatus, VersionStatus, versions_text};

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
    /// The drill that goes on, or the last one.
    #[serde(default)]
    pub drill: Option<DrillState>,
    /// The answer cache.
    pub cache: CacheStatus,
    /// All counters and gauges by name.
    pub metrics: BTreeMap<String, u64>,
}

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

/// One mirror.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MirrorStatus {
    /// Its apex.
    pub zone: String,
    /// `failover` or `always`.
    #[serde(rename = "use")]
    pub usage: String,
    /// The catalog that lists the zone; `null`: it has a table of its own.
    #[serde(default)]
    pub catalog: Option<String>,
    /// `online`, `suspect`, `isolated` or `recovering`.
    pub state: String,
    /// Since when it is in this state.
    pub since: Option<String>,
    /// What brought it there.
    pub evidence: String,
    /// Serial of the current generation.
    pub serial: Option<u32>,
    /// Identifier of the current generation.
    pub generation: Option<String>,
    /// Where the current generation came from.
    pub source: Option<String>,
    /// Whether that is the snapshot that it began with.
    pub bootstrap: bool,
    /// When it was verified.
    pub verified_at: Option<String>,
    /// When a source last confirmed it.
    pub last_contact: Option<String>,
    /// Seconds since then.
    pub age_s: Option<u64>,
    /// `fresh`, `last resort` (the snapshot) or `too old`; `null` without a copy.
    pub usable: Option<String>,
    /// A newer version that a brake holds for the operator.
    pub held: Option<HeldStatus>,
    /// When the first of its signatures runs out.
    pub signatures_expire: Option<String>,
    /// Who vouches for the way that it came by: `plain` (nobody), `tsig`, `tls` or `https`.
    #[serde(default)]
    pub channel: Option<String>,
    /// What verification and channel prove of it.
    #[serde(default)]
    pub proves: Option<String>,
    /// What verification remarked on.
    pub warnings: Vec<String>,
    /// What went wrong since the last success.
    pub last_error: Option<String>,
    /// How near the copy is to the end of what it is good for, from a quarter of the way on.
    #[serde(default)]
    pub escalation: Option<EscalationStatus>,
    /// What is on its way in.
    #[serde(default)]
    pub transfer: Option<TransferStatus>,
    /// Its sources in order of preference.
    #[serde(default)]
    pub sources: Vec<SourceStatus>,
    /// The last NOTIFY that was taken: when, and from whom.
    #[serde(default)]
    pub last_notify: Option<String>,
}

/// One source of a mirror.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// As it is written in the configuration.
    pub source: String,
    /// When it last confirmed a version or brought one.
    pub last_ok: Option<String>,
    /// What it failed with, until it works again.
    pub last_error: Option<String>,
    /// When it last failed.
    pub last_error_at: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// Until then the others are tried before it.
    pub next_try: Option<String>,
    /// How long its own copy is good for, in seconds, as it last said (RFC 7314).
    pub expire_s: Option<u32>,
    /// Why its last answer was the whole zone, where changes were asked for.
    pub no_changes: Option<String>,
}

/// A version that waits for the operator.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldStatus {
    /// Its serial.
    pub serial: u32,
    /// Why it is held.
    pub reasons: Vec<String>,
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

/// The answer cache.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheStatus {
    /// Entries.
    pub entries: u64,
    /// Bytes that they are accounted for.
    pub bytes: u64,
    /// Limit of the bytes.
    pub bytes_max: u64,
    /// Lookups that found a live entry.
    pub hits_total: u64,
    /// Lookups that did not.
    pub misses_total: u64,
    /// Live entries forgotten for want of room.
    pub evictions_total: u64,
    /// Entries that had run out when they were replaced or their room was taken.
    pub expired_total: u64,
    /// Popular answers fetched anew before they ran out.
    pub prefetches_total: u64,
    /// Of these, the ones that failed.
    pub prefetch_failures_total: u64,
    /// Of the entries, those that have run out and are kept for outages.
    #[serde(default)]
    pub stale_entries: u64,
    /// The entries by what they say.
    pub kinds: Vec<KindStatus>,
    /// What is kept beside the answers, each table with a limit of its own.
    pub tables: Vec<TableStatus>,
}

/// Cache entries of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KindStatus {
    /// `answer`, `alias`, `nodata` or `nxdomain`.
    pub kind: String,
    /// How many.
    pub entries: u64,
    /// Bytes of their data.
    pub bytes: u64,
}

/// One table beside the cache.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TableStatus {
    /// `delegations`, `addresses`, `links` (DS and DNSKEY sets), `failures` or `keys` (zones).
    pub table: String,
    /// How many.
    pub entries: u64,
    /// Bytes that they take; `null` where only the number is limited.
    pub bytes: Option<u64>,
}

/// What a flush has taken away, in entries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FlushDone {
    /// The name.
    pub flushed: String,
    /// Whether everything below it went too.
    pub tree: bool,
    /// Answers and denials.
    pub answers: u64,
    /// Delegations.
    pub delegations: u64,
    /// Addresses of name servers.
    pub addresses: u64,
    /// DS and DNSKEY sets.
    pub links: u64,
    /// Zones whose keys were known.
    pub keys: u64,
    /// Failures.
    pub failures: u64,
    /// Retained delegations.
    #[serde(default)]
    pub retained: u64,
    /// Answers on disk.
    #[serde(default)]
    pub on_disk: u64,
}

impl FlushDone {
    /// The form for people.
    pub fn to_text(&self) -> String {
        let place = if self.tree { "at and below" } else { "at" };
        format!(
            "forgotten {place} {}: {} answers, {} delegations, {} server addresses, {} links, {} zones' keys, {} failures, {} retained delegations, {} answers on disk\n",
            self.flushed,
            self.answers,
            self.delegations,
            self.addresses,
            self.links,
            self.keys,
            self.failures,
            self.retained,
            self.on_disk
        )
    }
}

impl CacheStatus {
    /// The form for people.
    pub fn to_text(&self) -> String {
        let (used, limit) = (bytes_words(self.bytes), bytes_words(self.bytes_max));
        let lookups = self.hits_total + self.misses_total;
        let share = (self.hits_total * 100).checked_div(lookups).unwrap_or(0);
        format!(
            "cache: {} entries ({} past their TTL), {used} of {limit}, {share} % of {lookups} lookups found there\n",
            self.entries, self.stale_entries
        )
    }

    /// The form for people, with everything.
    pub fn to_long_text(&self) -> String {
        let mut out = self.to_text();
        let _ = writeln!(
            out,
            "evicted {}, expired {}, fetched early {} ({} failed)\n",
            self.evictions_total,
            self.expired_total,
            self.prefetches_total,
            self.prefetch_failures_total
        );
        let mut table = Table::new(&["KEPT", "ENTRIES", "SIZE"]);
        for k in &self.kinds {
            table.row([k.kind.clone(), k.entries.to_string(), bytes_words(k.bytes)]);
        }
        for t in &self.tables {
            table.row([
                t.table.clone(),
                t.entries.to_string(),
                t.bytes.map_or("-".into(), bytes_words),
            ]);
        }
        table.write(&mut out);
        out
    }
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
        self.write_mirrors(&mut out);
        self.write_zones(&mut out);
        self.write_trust_anchors(&mut out);
        self.write_negative_anchors(&mut out);
        self.write_servers(&mut out);
        self.write_dead_prefixes(&mut out);
        self.write_retained(&mut out);
        self.stale.write(&mut out);
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

    fn write_clock(&self, out: &mut String) {
        if let ("floor", Some(floor)) = (self.clock.source.as_str(), &self.clock.floor) {
            let _ = writeln!(
                out,
                "! the system's clock stands before {floor}, which is used instead: set it, or if it is right: holdfast clock reset"
            );
        }
    }

    fn write_trust_anchors(&self, out: &mut String) {
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

    /// Own zones are listed above; what is left is what somebody switched off.
    fn write_negative_anchors(&self, out: &mut String) {
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

/// Mirrors for people, also the form of `holdfast mirror list`.
pub fn mirrors_text(mirrors: &[MirrorStatus]) -> String {
    let mut out = String::new();
    let mut table = Table::new(&[
        "MIRROR",
        "STATE",
        "SERIAL",
        "AGE",
        "USE",
        "SOURCE",
        "LAST ERROR",
    ]);
    for m in mirrors {
        table.row([
            m.zone.clone(),
            m.state.clone(),
            m.serial.map_or("none".into(), |s| s.to_string()),
            m.age_s.map_or("-".into(), duration_words),
            m.usage.clone(),
            m.source.clone().unwrap_or_else(|| "-".into()),
            m.last_error.clone().unwrap_or_else(|| "-".into()),
        ]);
    }
    table.write(&mut out);
    for m in mirrors {
        write_remarks(m, &mut out);
    }
    out
}

/// What somebody who looks at 3 a.m. must not overlook.
fn write_remarks(m: &MirrorStatus, out: &mut String) {
    let zone = &m.zone;
    if let (Some(since), true) = (&m.since, m.state != "online") {
        let _ = writeln!(out, "! {zone} is {} since {since}: {}", m.state, m.evidence);
    }
    for source in m.sources.iter().filter(|source| source.failures > 0) {
        let (error, times) = (source.last_error.as_deref().unwrap_or("-"), source.failures);
        let ok = source.last_ok.as_deref().unwrap_or("never");
        let source = &source.source;
        let _ = writeln!(
            out,
            "! {zone}: {source} failed {times} times in a row, last good {ok}: {error}"
        );
    }
    if let Some(held) = &m.held {
        let why = held.reasons.join("; ");
        let command = format!("holdfast mirror accept {zone} {}", held.serial);
        let _ = writeln!(
            out,
            "! {zone} holds serial {} back: {why}; to take it: {command}",
            held.serial
        );
    }
    if let Some(transfer) = &m.transfer {
        let _ = writeln!(out, "  {zone}: {}", transfer.to_text());
    }
    if let Some(escalation) = &m.escalation {
        let _ = writeln!(out, "! {zone}: {}", escalation.text);
    }
    match m.serial {
        None => {
            let _ = writeln!(
                out,
                "! {zone} has no copy yet: an outage now would not be survived"
            );
        }
        Some(_) if m.usable.as_deref() == Some("too old") => {
            let _ = writeln!(
                out,
                "! {zone}: its copy is past age_max and answers nothing; see to its sources, or raise age_max"
            );
        }
        Some(_) if m.bootstrap => {
            let _ = writeln!(
                out,
                "! {zone} has only its snapshot yet: no source has been reached"
            );
        }
        Some(_) => {}
    }
}

/// The two largest units of a duration: `3 days 4 hours`.
pub fn duration_words(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (unit, name) in UNITS {
        let count = rest / unit;
        rest %= unit;
        if count > 0 {
            words.push(format!(
                "{count} {name}{}",
                if count == 1 { "" } else { "s" }
            ));
        } else if !words.is_empty() {
            break;
        }
    }
    words.truncate(2);
    match words.is_empty() {
        true => "0 seconds".into(),
        false => words.join(" "),
    }
}

/// Bytes in the largest unit that keeps the number above one: `12.5 MiB`.
fn bytes_words(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(unit, _)| bytes >= *unit);
    match unit {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_words() {
        let check = |seconds, expected: &str| assert_eq!(duration_words(seconds), expected);
        check(0, "0 seconds");
        check(1, "1 second");
        check(61, "1 minute 1 second");
        check(3600, "1 hour");
        check(3 * 86_400 + 4 * 3600 + 59, "3 days 4 hours");
        check(86_400 + 59, "1 day");
    }

    #[test]
    fn the_cache_in_words() {
        let cache = CacheStatus {
            entries: 3,
            bytes: 2048,
            bytes_max: 1 << 20,
            hits_total: 3,
            misses_total: 1,
            evictions_total: 7,
            kinds: vec![KindStatus {
                kind: "answer".into(),
                entries: 3,
                bytes: 2048,
            }],
            tables: vec![TableStatus {
                table: "keys".into(),
                entries: 12,
                bytes: None,
            }],
            ..CacheStatus::default()
        };
        let expected = "\
cache: 3 entries (0 past their TTL), 2.0 KiB of 1.0 MiB, 75 % of 4 lookups found there
evicted 7, expired 0, fetched early 0 (0 failed)

KEPT    ENTRIES  SIZE
answer  3        2.0 KiB
keys    12       -
";
        assert_eq!(cache.to_long_text(), expected);
        let done = FlushDone {
            flushed: "a.".into(),
            answers: 2,
            ..FlushDone::default()
        };
        assert!(
            done.to_text()
                .starts_with("forgotten at a.: 2 answers, 0 delegations")
        );
    }

    #[test]
    fn columns_align() {
        let status = Status {
            version: "1.2.3".into(),
            uptime_s: 90,
            time: "2026-08-01T12:00:00Z".into(),
            mirrors: vec![
                MirrorStatus {
                    zone: ".".into(),
                    usage: "failover".into(),
                    state: "isolated".into(),
                    since: Some("2026-08-01T11:00:00Z".into()),
                    evidence: "26 servers silent".into(),
                    serial: Some(2_026_080_100),
                    age_s: Some(3700),
                    source: Some("axfr:192.0.2.1".into()),
                    ..MirrorStatus::default()
                },
                MirrorStatus {
                    zone: "example.".into(),
                    usage: "always".into(),
                    state: "online".into(),
                    last_error: Some("connection refused".into()),
                    ..MirrorStatus::default()
                },
                MirrorStatus {
                    zone: "old.".into(),
                    usage: "failover".into(),
                    state: "online".into(),
                    serial: Some(7),
                    usable: Some("too old".into()),
                    ..MirrorStatus::default()
                },
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
