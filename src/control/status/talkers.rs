//! What `holdfast status` says of the networks that ask most.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::super::table::Table;

/// Networks that the form for people lists; the JSON has all that there are.
const SHOWN_MAX: usize = 10;

/// The networks that ask most. Shares are between 0 and 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TopTalkers {
    /// How far back the counts reach, in seconds.
    pub over_s: u64,
    /// Queries of everybody in that time.
    pub queries: u64,
    /// Of these, the ones that a limit kept from their answer: dropped, TC=1 alone, or REFUSED.
    pub dropped: u64,
    /// Who asks most first.
    pub prefixes: Vec<TalkerStatus>,
}

/// A network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TalkerStatus {
    /// It, a /24 or /56.
    pub prefix: String,
    /// Its queries.
    pub queries: u64,
    /// Of the queries of everybody, its share.
    pub queries_share: f64,
    /// Of its queries, the ones that a limit kept from their answer.
    pub dropped: u64,
    /// Of its queries, their share.
    pub dropped_share: f64,
}

impl TopTalkers {
    /// The form for people; nothing where nobody asks.
    pub(super) fn write(&self, out: &mut String) {
        if self.prefixes.is_empty() {
            return;
        }
        let (queries, over_s) = (self.queries, self.over_s);
        let _ = writeln!(
            out,
            "\n{queries} queries in the last {over_s} seconds, {} of them limited",
            percent(share(self.dropped, queries))
        );
        let mut table = Table::new(&["ASKS MOST", "QUERIES", "OF ALL", "LIMITED"]);
        for of in self.prefixes.iter().take(SHOWN_MAX) {
            table.row([
                of.prefix.clone(),
                of.queries.to_string(),
                percent(of.queries_share),
                percent(of.dropped_share),
            ]);
        }
        table.write(out);
    }
}

/// `part` of `whole`, between 0 and 1.
pub fn share(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => (part as f64 / whole as f64).min(1.0),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_most_is_shown_with_shares() {
        let talkers = TopTalkers {
            over_s: 13,
            queries: 1000,
            dropped: 440,
            prefixes: vec![
                TalkerStatus {
                    prefix: "192.0.2.0/24".into(),
                    queries: 880,
                    queries_share: share(880, 1000),
                    dropped: 440,
                    dropped_share: share(440, 880),
                },
                TalkerStatus {
                    prefix: "2001:db8::/56".into(),
                    queries: 120,
                    queries_share: share(120, 1000),
                    ..TalkerStatus::default()
                },
            ],
        };
        let mut out = String::new();
        talkers.write(&mut out);
        let expected = "
1000 queries in the last 13 seconds, 44.0 % of them limited
ASKS MOST      QUERIES  OF ALL  LIMITED
192.0.2.0/24   880      88.0 %  50.0 %
2001:db8::/56  120      12.0 %  0.0 %
";
        assert_eq!(out, expected);
        out.clear();
        TopTalkers::default().write(&mut out);
        assert_eq!(out, "");
    }
}
