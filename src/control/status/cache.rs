//! What `holdfast status` and `holdfast cache` say of the answer cache and the tables beside it.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::super::table::Table;
use super::bytes_words;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
