//! What `holdfast status` says of zones for whose servers too many questions wait.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// Zones that the form for people lists; the JSON has all.
const ZONES_SHOWN_MAX: usize = 20;

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

/// The form for people; nothing where there is nothing to say.
pub(super) fn write(zones: &[CrowdedStatus], out: &mut String) {
    if zones.is_empty() {
        return;
    }
    let _ = writeln!(out, "\ntoo many questions wait for the servers of:");
    for of in zones.iter().take(ZONES_SHOWN_MAX) {
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
    if zones.len() > ZONES_SHOWN_MAX {
        let _ = writeln!(
            out,
            "  ... and {} more zones",
            zones.len() - ZONES_SHOWN_MAX
        );
    }
}
