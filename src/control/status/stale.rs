//! What `holdfast status` says of answers past their TTL.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// Zones that the form for people lists; the JSON has all.
const ZONES_SHOWN_MAX: usize = 20;

/// Answers that have run out and are kept for outages (RFC 8767).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StaleStatus {
    /// How many are in the cache, whose bytes they share.
    pub entries: u64,
    /// Bytes of their data.
    pub bytes: u64,
    /// How many answers are on disk, run out or not.
    pub disk_entries: u64,
    /// Bytes of them there.
    pub disk_bytes: u64,
    /// Bytes of the list of them in memory.
    pub disk_list_bytes: u64,
    /// Answers with a part that had run out.
    pub answers_total: u64,
    /// Zones that cannot be had, and in whose place old answers are given.
    pub zones: Vec<StaleZoneStatus>,
}

/// A zone in whose place old answers are given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StaleZoneStatus {
    /// Its apex.
    pub zone: String,
    /// Since when it cannot be had.
    pub since: String,
    /// Answers given in its place.
    pub answers: u64,
    /// What is wrong.
    pub why: String,
}

impl StaleStatus {
    /// The form for people; nothing where there is nothing to say.
    pub(super) fn write(&self, out: &mut String) {
        if self.entries + self.disk_entries + self.answers_total == 0 {
            return;
        }
        let _ = writeln!(
            out,
            "\nstale: {} answers past their TTL in memory, {} on disk ({}); answered {} times",
            self.entries,
            self.disk_entries,
            super::bytes_words(self.disk_bytes),
            self.answers_total
        );
        for zone in self.zones.iter().take(ZONES_SHOWN_MAX) {
            let StaleZoneStatus {
                zone,
                since,
                answers,
                why,
            } = zone;
            let _ = writeln!(out, "  {zone} since {since}, {answers} old answers: {why}");
        }
        if let Some(more) = self
            .zones
            .len()
            .checked_sub(ZONES_SHOWN_MAX)
            .filter(|n| *n > 0)
        {
            let _ = writeln!(out, "  ... and {more} more zones");
        }
    }
}
