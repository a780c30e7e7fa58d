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
    let heading = "too many questions wait for the servers of";
    list(heading, "zones", zones, out, |of| {
        let CrowdedStatus {
            zone,
            since,
            waiting,
            refused,
        } = of;
        format!("{zone} since {since}, {waiting} wait, {refused} found no place")
    });
    let heading = "too many questions are outstanding at";
    list(heading, "servers", servers, out, |of| {
        let FullServerStatus {
            address,
            since,
            outstanding,
            refused,
        } = of;
        format!("{address} since {since}, {outstanding} outstanding, {refused} were not put to it")
    });
}

/// A heading, a line each, and how many `things` are left out.
fn list<T>(heading: &str, things: &str, all: &[T], out: &mut String, line: impl Fn(&T) -> String) {
    if all.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{heading}:");
    for one in all.iter().take(SHOWN_MAX) {
        let _ = writeln!(out, "  {}", line(one));
    }
    if all.len() > SHOWN_MAX {
        let more = all.len() - SHOWN_MAX;
        let _ = writeln!(out, "  ... and {more} more {things}");
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
