//! The last 24 hours, a row for each minute: what the status page draws.
//!
//! Bounded: so many rows, and so many mirrors in each. A restart begins anew; what must outlive it is in the ledger.

use std::collections::VecDeque;

use crate::metrics::{Metrics, Times};

/// Seconds from one row to the next.
pub const ROW_S: u64 = 60;
/// Rows that are kept: 24 hours.
pub const ROWS_MAX: usize = 24 * 60;
/// Mirrors whose states are kept; a catalog can have thousands.
pub const MIRRORS_MAX: usize = 64;

/// How a mirror was at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shade {
    /// Its servers answer, and it has a copy.
    Online,
    /// Some of its servers are silent, or they come back.
    Suspect,
    /// It answers alone.
    Isolated,
    /// It has no copy that it may answer from.
    Bare,
}

/// What happened in a minute, or in the time since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counts {
    pub queries: u64,
    pub cache: u64,
    pub live: u64,
    pub mirror: u64,
    pub own: u64,
    pub retained: u64,
    pub stale: u64,
    pub servfail: u64,
    pub refused: u64,
    pub limited: u64,
    pub shed: u64,
    pub sent: u64,
    pub timeouts: u64,
    pub waits: Times,
}

impl Counts {
    /// Since the start.
    pub fn of(metrics: &Metrics) -> Counts {
        let queries = [
            &metrics.queries_udp_total,
            &metrics.queries_tcp_total,
            &metrics.queries_tls_total,
            &metrics.queries_https_total,
            &metrics.queries_quic_total,
        ];
        let limited = [
            &metrics.limited_queries_dropped_total,
            &metrics.limited_queries_truncated_total,
            &metrics.limited_queries_refused_total,
            &metrics.limited_responses_dropped_total,
            &metrics.limited_responses_truncated_total,
        ];
        Counts {
            queries: queries.iter().map(|metric| metric.value()).sum(),
            cache: metrics.answers_cache_total.value(),
            live: metrics.answers_live_total.value(),
            mirror: metrics.answers_mirror_total.value(),
            own: metrics.answers_own_total.value() + metrics.answers_special_total.value(),
            retained: metrics.retained_answers_total.value(),
            stale: metrics.answers_stale_total.value(),
            servfail: metrics.answers_servfail_total.value(),
            refused: metrics.queries_refused_total.value(),
            limited: limited.iter().map(|metric| metric.value()).sum(),
            shed: metrics.queries_shed_total.value(),
            sent: metrics.upstream_sent_total.value(),
            timeouts: metrics.upstream_timeouts_total.value(),
            waits: metrics.waits.times(),
        }
    }

    /// What came since `before`.
    pub fn since(&self, before: &Counts) -> Counts {
        let less = |now: u64, before: u64| now.saturating_sub(before);
        Counts {
            queries: less(self.queries, before.queries),
            cache: less(self.cache, before.cache),
            live: less(self.live, before.live),
            mirror: less(self.mirror, before.mirror),
            own: less(self.own, before.own),
            retained: less(self.retained, before.retained),
            stale: less(self.stale, before.stale),
            servfail: less(self.servfail, before.servfail),
            refused: less(self.refused, before.refused),
            limited: less(self.limited, before.limited),
            shed: less(self.shed, before.shed),
            sent: less(self.sent, before.sent),
            timeouts: less(self.timeouts, before.timeouts),
            waits: self.waits.since(&before.waits),
        }
    }
}

/// A minute.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its end, as the wall clock has it.
    pub wall_s: u64,
    /// What happened in it.
    pub counts: Counts,
    /// The mirrors at its end.
    pub mirrors: Vec<(String, Shade)>,
}

/// The minutes, the oldest first.
#[derive(Debug, Default)]
pub struct History {
    rows: VecDeque<Row>,
    before: Counts,
}

impl History {
    /// Ends a minute.
    pub fn note(&mut self, wall_s: u64, now: Counts, mut mirrors: Vec<(String, Shade)>) {
        mirrors.truncate(MIRRORS_MAX);
        if self.rows.len() == ROWS_MAX {
            self.rows.pop_front();
        }
        self.rows.push_back(Row {
            wall_s,
            counts: now.since(&self.before),
            mirrors,
        });
        self.before = now;
    }

    /// All of them.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = &Row> + ExactSizeIterator {
        self.rows.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_what_came_in_its_minute_and_the_oldest_goes() {
        let mut history = History::default();
        let metrics = Metrics::default();
        for minute in 0..ROWS_MAX as u64 + 3 {
            metrics.queries_udp_total.add(minute);
            metrics.answers_cache_total.add(2);
            let mirrors = vec![(String::from("."), Shade::Online); 100];
            history.note(minute * ROW_S, Counts::of(&metrics), mirrors);
        }
        let rows: Vec<_> = history.rows().collect();
        assert_eq!(rows.len(), ROWS_MAX);
        assert_eq!((rows[0].wall_s, rows[0].counts.queries), (3 * ROW_S, 3));
        assert_eq!(rows[0].counts.cache, 2);
        assert_eq!(rows[0].mirrors.len(), MIRRORS_MAX);
    }
}
