//! What `holdfast top` shows: rates between two looks at the server, and who and what they are made of.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::super::table::Table;
use super::{Status, TopTalkers, duration_words, mirrors_text};

/// Networks and names that are shown.
pub const ROWS_MAX: usize = 10;

/// A question that is asked much.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TopName {
    /// The name.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub rtype: String,
    /// How often it was asked; old questions count less and less.
    pub queries: f64,
}

/// One frame; in JSON one object on one line.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// When, RFC 3339.
    pub time: String,
    /// Seconds between the two looks.
    pub interval_s: f64,
    /// Each counter's rise per second, by its name without `_total`.
    pub rates: BTreeMap<String, f64>,
    /// What is asked most.
    pub top_names: Vec<TopName>,
    /// Who asks most.
    pub top_talkers: TopTalkers,
}

/// What the head of a frame tells, and the counters that make it up.
const SHOWN: [(&str, &[&str]); 12] = [
    (
        "queries",
        &[
            "queries_udp",
            "queries_tcp",
            "queries_tls",
            "queries_https",
            "queries_quic",
        ],
    ),
    ("from cache", &["answers_cache"]),
    ("from mirrors", &["answers_mirror"]),
    ("from upstream", &["answers_live"]),
    ("own zones", &["answers_own", "answers_special"]),
    ("past TTL", &["answers_stale"]),
    ("SERVFAIL", &["answers_servfail"]),
    ("refused", &["queries_refused"]),
    (
        "limited",
        &[
            "limited_queries_dropped",
            "limited_queries_truncated",
            "limited_queries_refused",
            "limited_responses_dropped",
            "limited_responses_truncated",
        ],
    ),
    ("dropped", &["queries_shed"]),
    ("sent upstream", &["upstream_sent"]),
    ("timeouts", &["upstream_timeouts"]),
];

impl Top {
    /// The frame between two looks that lie `interval_s` apart.
    pub fn between(before: &Status, now: &Status, interval_s: f64, top_names: Vec<TopName>) -> Top {
        let rate = |(name, value): (&String, &u64)| {
            let counted = name.strip_suffix("_total")?;
            // A server that was started anew counts from 0.
            let before = before.metrics.get(name).filter(|before| *before <= value);
            let rise = value - before.copied().unwrap_or(0);
            Some((counted.to_owned(), rise as f64 / interval_s.max(0.001)))
        };
        let mut top_talkers = now.top_talkers.clone();
        top_talkers.prefixes.truncate(ROWS_MAX);
        Top {
            time: now.time.clone(),
            interval_s,
            rates: now.metrics.iter().filter_map(rate).collect(),
            top_names,
            top_talkers,
        }
    }

    /// The form for people; `now` is the second of the two looks.
    pub fn to_text(&self, now: &Status) -> String {
        let mut out = format!(
            "holdfast {}, up {}, {}\n\n",
            now.version,
            duration_words(now.uptime_s),
            self.time
        );
        let rate = |names: &[&str]| -> f64 {
            let rates = names.iter().filter_map(|name| self.rates.get(*name));
            rates.sum()
        };
        for row in SHOWN.chunks(4) {
            for (what, names) in row {
                let _ = write!(out, "{what:>14} {:>9.1}/s", rate(names));
            }
            out.push('\n');
        }
        for drill in now.drill.iter().filter(|drill| drill.running) {
            let _ = write!(out, "\n! {}", drill.to_text());
        }
        if !now.mirrors.is_empty() {
            let _ = write!(out, "\n{}", mirrors_text(&now.mirrors));
        }
        for dead in now.dead_prefixes.iter().take(ROWS_MAX) {
            let (prefix, since) = (&dead.prefix, &dead.since);
            let _ = writeln!(out, "! prefix {prefix} is dead since {since}");
        }
        self.top_talkers.write(&mut out);
        if !self.top_names.is_empty() {
            let mut table = Table::new(&["ASKED MOST", "TYPE", "QUERIES"]);
            for of in &self.top_names {
                table.row([
                    of.name.clone(),
                    of.rtype.clone(),
                    format!("{:.0}", of.queries),
                ]);
            }
            out.push('\n');
            table.write(&mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(queries: u64, servfail: u64) -> Status {
        let metrics = [
            ("queries_udp_total", queries),
            ("queries_tls_total", 2),
            ("answers_servfail_total", servfail),
            ("cache_entries", 99),
        ];
        Status {
            version: "1.2.3".into(),
            time: "2026-08-01T12:00:00Z".into(),
            metrics: metrics.map(|(name, n)| (name.to_owned(), n)).into(),
            ..Status::default()
        }
    }

    #[test]
    fn rates_are_what_rose_between_two_looks() {
        let name = TopName {
            name: "a.example.".into(),
            rtype: "A".into(),
            queries: 12.4,
        };
        let (before, now) = (status(100, 5), status(300, 6));
        let top = Top::between(&before, &now, 2.0, vec![name]);
        assert_eq!(top.rates["queries_udp"], 100.0);
        assert_eq!(top.rates["answers_servfail"], 0.5);
        assert!(!top.rates.contains_key("cache_entries"), "a gauge");
        let text = top.to_text(&now);
        assert!(text.contains("queries     100.0/s"), "{text}");
        assert!(text.contains("SERVFAIL       0.5/s"), "{text}");
        assert!(text.ends_with("a.example.  A     12\n"), "{text}");
        // Started anew in between: what it has counted since then.
        let anew = Top::between(&now, &status(30, 0), 2.0, Vec::new());
        assert_eq!(anew.rates["queries_udp"], 15.0);
    }
}
