//! What `holdfast status` says of zones for whose servers too many questions wait, and of servers at which too many are outstanding.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// Zones, and servers, that the form for people lists; the JSON has all.
const SHOWN_MAX: usize = 20;

/// A zone whose share of waiting questions (`limits.upstream_per_zone_max`) is used up, or was within the last minute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CrowdedStatus {
    /// Its apex.
    pub zone: String,
    /// Since when.
    pub since: String,
    /// Questions that wait for its servers now.
    pub waiting: u64,
    /// Questions that found no place: they failed at once, or got old data.
    pub refused: u64,
}

/// A server at which as many questions are outstanding as may (`limits.upstream_per_server_max`), or were within the last minute.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FullServerStatus {
    /// Its address.
    pub address: String,
    /// Since when.
    pub since: String,
    /// Questions that are outstanding there now.
    pub outstanding: u64,
    /// Questions that were not put to it: another address of their zone was asked, or they failed at once, or got old data.
    pub refused: u64,
}

/// The form for people; nothing where there is nothing to say.
pub(super) fn write(zones: &[CrowdedStatus], servers: &[FullServerStatus], out: &mut String) {
    write_zones(zones, out);
    write_servers(servers, out);
}

fn write_servers(servers: &[FullServerStatus], out: &mut String) {
    if servers.is_empty() {
        return;
    }
    let _ = writeln!(out, "\ntoo many questions are outstanding at:");
    for of in servers.iter().take(SHOWN_MAX) {
        let FullServerStatus {
            address,
            since,
            outstanding,
            refused,
        } = of;
        let _ = writeln!(
            out,
            "  {address} since {since}, {outstanding} outstanding, {refused} were not put to it"
        );
    }
    if servers.len() > SHOWN_MAX {
        let more = servers.len() - SHOWN_MAX;
        let _ = writeln!(out, "  ... and {more} more servers");
    }
}

fn write_zones(zones: &[CrowdedStatus], out: &mut String) {
    if zones.is_empty() {
        return;
    }
    let _ = writeln!(out, "\ntoo many questions wait for the servers of:");
    for of in zones.iter().take(SHOWN_MAX) {
        let CrowdedStatus {
            zone,
            since,
            waiting,
            refused,
        } = of;
        let _ = writeln!(
            out,
            "  {zone} since {since}, {waiting} wait, {refused} found no place"
        );
    }
    if zones.len() > SHOWN_MAX {
        let more = zones.len() - SHOWN_MAX;
        let _ = writeln!(out, "  ... and {more} more zones");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_servers_are_listed_and_those_beyond_counted() {
        let server = |n: usize| FullServerStatus {
            address: format!("192.0.2.{n}"),
            since: "2026-08-01T12:00:00Z".into(),
            outstanding: 2000,
            refused: 71,
        };
        let text = |count: usize| {
            let servers: Vec<_> = (0..count).map(server).collect();
            let mut out = String::new();
            write(&[], &servers, &mut out);
            out
        };
        assert_eq!(text(0), "");
        let one = "\ntoo many questions are outstanding at:\n  192.0.2.0 since 2026-08-01T12:00:00Z, 2000 outstanding, 71 were not put to it\n";
        assert_eq!(text(1), one);
        assert_eq!(text(SHOWN_MAX).lines().count(), SHOWN_MAX + 2);
        let many = text(SHOWN_MAX + 3);
        assert!(many.ends_with("\n  ... and 3 more servers\n"), "{many}");
    }
}
