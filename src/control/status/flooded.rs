//! What `holdfast status` says of zones below which names that do not exist are asked for.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// Zones that the form for people lists; the JSON has all.
const ZONES_SHOWN_MAX: usize = 20;

/// A zone whose servers had to deny many names: somebody asks for random ones.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FloodedStatus {
    /// Its apex.
    pub zone: String,
    /// Since when.
    pub since: String,
    /// What its servers have denied in the last 10 to 20 seconds.
    pub denials: u64,
    /// Questions that were not asked (`limits.denials_per_zone_s`).
    pub refused: u64,
}

/// The form for people; nothing where there is nothing to say.
pub(super) fn write(zones: &[FloodedStatus], out: &mut String) {
    for of in zones.iter().take(ZONES_SHOWN_MAX) {
        let FloodedStatus {
            zone,
            since,
            denials,
            refused,
        } = of;
        let _ = writeln!(
            out,
            "! random names below {zone} since {since}: {denials} denied in the last seconds, {refused} not asked for"
        );
    }
    let more = zones.len().saturating_sub(ZONES_SHOWN_MAX);
    if more > 0 {
        let _ = writeln!(out, "and {more} such zones more (--json lists all)");
    }
}
