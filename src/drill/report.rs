//! Verdicts added up: what `holdfast readiness` and `holdfast drill report` say, as JSON and for people.
//!
//! In JSON a [`Report`] is one object; keys are only ever added:
//!
//! | key | what it says |
//! |---|---|
//! | `cut` | what was cut off, in words |
//! | `began_at`, `ended_at` | when the judging began and ended, RFC 3339 |
//! | `names`, `queries` | distinct questions that were judged, and how often they are asked (faded counts; of a list, 1 each) |
//! | `classes` | per `class` (`mirror`, `live`, `retained`, `stale`: survives, by the weakest part of its way; `lost`; `fails_now`: comes to nothing without any cut-off, too): `names`, `queries`, and their shares of all that does not fail now (`names_share`, `queries_share`, 0 to 1) |
//! | `survive` | the first four together, in the same form |
//! | `host_lost` | survives, but none of the addresses in the answer can be reached, in the same form |
//! | `slow` | survives, but so slowly that a client's first tries may come to nothing, in the same form |
//! | `causes` | per `cause` (`servers_abroad`, `named_abroad`, `parent_abroad`, `no_chain`, `servers_fail`, `too_slow`, `other`): `names`, `queries` |
//! | `lost` | the lost questions, most used first: `name`, `type`, `queries`, `share`, `cause`, `zone`, `alias` (the name that it leads to, if that is what is lost), `text`, `fix`, `servers` (`name`, `addresses`, `cut`: all of them are, `cut_addresses`) |
//! | `lost_left_out` | how many more there are |
//! | `fixes` | what would fix most, most used first: `fix`, `names`, `queries` |
//! | `domains`, `domains_top` | registrable names (`domains` says by what they are told): `all`, `with_losses`; and those that lose most, then the most used: `domain`, `names`, `queries`, `lost_names`, `lost_queries` |
//! | `asked_top` | the most asked questions, whatever becomes of them: `name`, `type`, `queries`, `share`, `class`, `zone` (that it lives in), `lost_with` (the zone that it is lost with, where that is another one) |
//! | `zones_top` | the most used zones that names live in or are lost with: `zone`, `mirrored`, `names`, `queries`, `lost_queries` (for this zone's sake), `servers` as above |
//! | `failing` | questions that fail now, most used first: `name`, `type`, `queries`, `text` |
//!
//! A [`DrillReport`] has the keys of a [`DrillState`] (`cut`, `shadow`, `running`, `began_at`, `ends_at`, `ended_at`, `ended`: why,
//! `abort_at`, `asked` and `failed`: clients' questions since it began, `failed_share`, `failed_share_before`), `waiting` (distinct questions
//! that are not judged yet), and `report`. A [`ReadinessProgress`] has `job`, `done`, `of` and, at its end, `report`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::domains::{self, AskedRow, DomainRow, Domains, ZoneRow};
use super::verdict::{Cause, Judged, LostServer, Source, Verdict};
use crate::dns::Question;

/// Lost questions that are listed.
const LOST_MAX: usize = 1000;
/// Fixes that are listed.
const FIXES_MAX: usize = 50;
/// Questions that fail now that are listed.
const FAILING_MAX: usize = 50;
/// Lost questions in the text.
const TEXT_LOST_MAX: usize = 25;
/// Questions that fail now in the text.
const TEXT_FAILING_MAX: usize = 10;
/// Fixes in the text.
const TEXT_FIXES_MAX: usize = 10;

/// What a cut-off would leave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Report {
    pub cut: String,
    pub began_at: String,
    pub ended_at: String,
    pub names: u64,
    pub queries: f64,
    pub classes: Vec<ClassRow>,
    pub survive: Share,
    pub host_lost: Share,
    pub slow: Share,
    pub causes: Vec<CauseRow>,
    pub lost: Vec<LostRow>,
    pub lost_left_out: u64,
    pub fixes: Vec<FixRow>,
    pub failing: Vec<FailingRow>,
    pub domains: Domains,
    pub domains_top: Vec<DomainRow>,
    pub asked_top: Vec<AskedRow>,
    pub zones_top: Vec<ZoneRow>,
}

/// So many distinct questions, and how often they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Share {
    pub names: u64,
    pub queries: f64,
    pub names_share: f64,
    pub queries_share: f64,
}

/// A class of verdicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ClassRow {
    pub class: String,
    #[serde(flatten)]
    pub share: Share,
}

/// Questions lost for one cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct CauseRow {
    pub cause: Cause,
    pub names: u64,
    pub queries: f64,
}

/// A lost question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LostRow {
    pub name: String,
    #[serde(rename = "type")]
    pub rtype: String,
    pub queries: f64,
    pub share: f64,
    pub cause: Cause,
    pub zone: Option<String>,
    pub alias: Option<String>,
    pub text: String,
    pub fix: String,
    pub servers: Vec<LostServer>,
}

/// What would save how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct FixRow {
    pub fix: String,
    pub names: u64,
    pub queries: f64,
}

/// A question that comes to nothing now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct FailingRow {
    pub name: String,
    #[serde(rename = "type")]
    pub rtype: String,
    pub queries: f64,
    pub text: String,
}

/// A drill, or what it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrillState {
    /// What is cut off, in words.
    pub cut: String,
    /// Whether clients' answers stay as they are.
    pub shadow: bool,
    /// Whether it goes on.
    pub running: bool,
    /// When it began.
    pub began_at: String,
    /// When it ends by itself.
    pub ends_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Why it ended.
    pub ended: Option<String>,
    /// The share of questions, 0 to 1, that may fail more than before until it is given up.
    pub abort_at: f64,
    /// Questions of clients since it began.
    pub asked: u64,
    /// Those of them that came to nothing.
    pub failed: u64,
    /// Their share, 0 to 1.
    pub failed_share: f64,
    /// The same share before it began.
    pub failed_share_before: f64,
}

impl DrillState {
    /// For people.
    pub fn to_text(&self) -> String {
        let kind = if self.shadow { "shadow drill" } else { "drill" };
        let mut out = format!("{kind}: {} cut off, since {}, ", self.cut, self.began_at);
        let _ = match (&self.ended_at, &self.ended) {
            (Some(at), Some(why)) => writeln!(out, "over since {at} ({why})"),
            _ => writeln!(out, "until {}", self.ends_at),
        };
        let _ = writeln!(
            out,
            "  {} questions of clients, {} failed ({}; before: {})",
            self.asked,
            self.failed,
            percent(self.failed_share),
            percent(self.failed_share_before)
        );
        if self.running && !self.shadow {
            let bound = percent(self.abort_at);
            let _ = writeln!(out, "  given up when {bound} more fail than before");
        }
        out
    }
}

/// What a drill has shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DrillReport {
    #[serde(flatten)]
    pub drill: DrillState,
    pub waiting: u64,
    pub report: Report,
}

impl DrillReport {
    /// For people.
    pub fn to_text(&self) -> String {
        let mut out = self.drill.to_text();
        if self.waiting > 0 {
            let _ = writeln!(
                out,
                "  still to be judged: {}",
                counted(self.waiting, "question")
            );
        }
        out.push('\n');
        out + &self.report.to_text()
    }
}

/// How far a readiness report is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ReadinessProgress {
    pub job: u64,
    pub done: u64,
    pub of: u64,
    pub report: Option<Report>,
}

/// Verdicts on the way to a [`Report`].
#[derive(Debug, Default)]
pub struct Tally {
    rows: Vec<(Question, f64, Judged)>,
}

impl Tally {
    /// Takes up a judgement of a question that is asked so often.
    pub fn add(&mut self, question: Question, queries: f64, judged: Judged) {
        self.rows.push((question, queries, judged));
    }

    /// Adds up.
    pub fn report(mut self, cut: String, began_at: String, ended_at: String) -> Report {
        self.rows.sort_by(|a, b| {
            b.1.total_cmp(&a.1)
                .then_with(|| a.0.name.cmp(&b.0.name))
                .then_with(|| a.0.rtype.0.cmp(&b.0.rtype.0))
        });
        let rows = &self.rows;
        let fails = |v: &Verdict| matches!(v, Verdict::FailsNow(_));
        let all = sum(rows, |v| !fails(v));
        let share = |is: &dyn Fn(&Verdict) -> bool| {
            let (names, queries) = sum(rows, is);
            Share {
                names,
                queries,
                names_share: ratio(names as f64, all.0 as f64),
                queries_share: ratio(queries, all.1),
            }
        };
        let class = |word: &str, is: &dyn Fn(&Verdict) -> bool| ClassRow {
            class: word.to_owned(),
            share: share(is),
        };
        let from = |source: Source| move |v: &Verdict| matches!(v, Verdict::Survives(s) if s.from == source);
        let mut classes: Vec<ClassRow> = (Source::ALL.into_iter())
            .map(|source| class(source.word(), &from(source)))
            .collect();
        classes.push(class("lost", &|v| matches!(v, Verdict::Lost(_))));
        let mut failing = class("fails_now", &fails);
        (failing.share.names_share, failing.share.queries_share) = (0.0, 0.0);
        classes.push(failing);
        let (names, queries) = sum(rows, |_| true);
        let (domains, domains_top) = domains::domains(rows);
        Report {
            survive: share(&|v| matches!(v, Verdict::Survives(_))),
            host_lost: share(&|v| matches!(v, Verdict::Survives(s) if s.host_lost)),
            slow: share(&|v| matches!(v, Verdict::Survives(s) if s.slow)),
            classes,
            causes: causes(rows),
            lost: lost(rows, all.1),
            lost_left_out: (sum(rows, |v| matches!(v, Verdict::Lost(_))).0)
                .saturating_sub(LOST_MAX as u64),
            fixes: fixes(rows),
            failing: failing_rows(rows),
            asked_top: domains::asked(rows, all.1),
            zones_top: domains::zones(rows),
            domains,
            domains_top,
            names,
            queries,
            cut,
            began_at,
            ended_at,
        }
    }
}

type Row = (Question, f64, Judged);

fn sum(rows: &[Row], is: impl Fn(&Verdict) -> bool) -> (u64, f64) {
    let chosen = rows.iter().filter(|(_, _, judged)| is(&judged.verdict));
    chosen.fold((0, 0.0), |(names, queries), (_, q, _)| {
        (names + 1, queries + q)
    })
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn losses(rows: &[Row]) -> impl Iterator<Item = (&Question, f64, &super::verdict::Loss)> {
    rows.iter()
        .filter_map(|(question, queries, judged)| match &judged.verdict {
            Verdict::Lost(loss) => Some((question, *queries, &**loss)),
            _ => None,
        })
}

fn causes(rows: &[Row]) -> Vec<CauseRow> {
    let mut by_cause: BTreeMap<Cause, (u64, f64)> = BTreeMap::new();
    for (_, queries, loss) in losses(rows) {
        let row = by_cause.entry(loss.cause).or_default();
        *row = (row.0 + 1, row.1 + queries);
    }
    let mut list: Vec<CauseRow> = (by_cause.into_iter())
        .map(|(cause, (names, queries))| CauseRow {
            cause,
            names,
            queries,
        })
        .collect();
    list.sort_by(|a, b| b.queries.total_cmp(&a.queries));
    list
}

fn lost(rows: &[Row], all: f64) -> Vec<LostRow> {
    let row = |(question, queries, loss): (&Question, f64, &super::verdict::Loss)| LostRow {
        name: question.name.to_string(),
        rtype: question.rtype.to_string(),
        queries,
        share: ratio(queries, all),
        cause: loss.cause,
        zone: loss.zone.as_ref().map(ToString::to_string),
        alias: loss.alias.as_ref().map(ToString::to_string),
        text: loss.text.clone(),
        fix: loss.fix.clone(),
        servers: loss.servers.clone(),
    };
    losses(rows).take(LOST_MAX).map(row).collect()
}

fn fixes(rows: &[Row]) -> Vec<FixRow> {
    let mut by_fix: HashMap<&str, (u64, f64)> = HashMap::new();
    for (_, queries, loss) in losses(rows) {
        let row = by_fix.entry(&loss.fix).or_default();
        *row = (row.0 + 1, row.1 + queries);
    }
    let mut list: Vec<FixRow> = (by_fix.into_iter())
        .map(|(fix, (names, queries))| FixRow {
            fix: fix.to_owned(),
            names,
            queries,
        })
        .collect();
    list.sort_by(|a, b| {
        b.queries
            .total_cmp(&a.queries)
            .then_with(|| a.fix.cmp(&b.fix))
    });
    list.truncate(FIXES_MAX);
    list
}

fn failing_rows(rows: &[Row]) -> Vec<FailingRow> {
    let row = |(question, queries, judged): &Row| match &judged.verdict {
        Verdict::FailsNow(text) => Some(FailingRow {
            name: question.name.to_string(),
            rtype: question.rtype.to_string(),
            queries: *queries,
            text: text.clone(),
        }),
        _ => None,
    };
    rows.iter().filter_map(row).take(FAILING_MAX).collect()
}

impl Report {
    /// For people.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "cut off: {}", self.cut);
        let _ = writeln!(
            out,
            "judged {}, from {} to {}\n",
            counted(self.names, "question"),
            self.began_at,
            self.ended_at
        );
        if self.names == 0 {
            out.push_str("nothing to judge: no questions have been counted yet; --names FILE judges a list of your own\n");
            return out;
        }
        let _ = writeln!(
            out,
            "{:<22} {:>9}  {:>16}",
            "", "of queries", "of distinct names"
        );
        let mut line = |what: &str, share: &Share| {
            let of = format!("{} ({})", percent(share.names_share), share.names);
            let _ = writeln!(
                out,
                "{what:<22} {:>9}  {of:>16}",
                percent(share.queries_share)
            );
        };
        line("survive", &self.survive);
        for row in self.classes.iter().filter(|row| row.class != "fails_now") {
            match row.class.as_str() {
                "lost" => {
                    line("  slowly", &self.slow);
                    line("  host out of reach", &self.host_lost);
                    line("lost", &row.share);
                }
                word => line(&format!("  from {word}"), &row.share),
            }
        }
        if let Some(row) = self.classes.iter().find(|row| row.class == "fails_now")
            && row.share.names > 0
        {
            let _ = writeln!(
                out,
                "left out, for failing already, without any cut-off: {}",
                counted(row.share.names, "question")
            );
        }
        if !self.causes.is_empty() {
            out.push_str("\nwhy they would be lost:\n");
        }
        for row in &self.causes {
            let _ = writeln!(
                out,
                "  {:<40} {}",
                row.cause.words(),
                counted(row.names, "name")
            );
        }
        let with_losses = self.domains.with_losses;
        if with_losses > 0 {
            let _ = writeln!(
                out,
                "\nregistrable names: {}, of which {with_losses} lose something, most used first:",
                self.domains.all
            );
        }
        let hit = self.domains_top.iter().filter(|row| row.lost_names > 0);
        for row in hit.take(TEXT_FIXES_MAX) {
            let (lost, names) = (row.lost_names, counted(row.names, "name"));
            let _ = writeln!(out, "  {}: {lost} of {names}", row.domain);
        }
        if !self.fixes.is_empty() {
            out.push_str("\nwhat would fix most:\n");
        }
        for row in self.fixes.iter().take(TEXT_FIXES_MAX) {
            let _ = writeln!(out, "  {}: {}", counted(row.names, "name"), row.fix);
        }
        if !self.lost.is_empty() {
            out.push_str("\nlost, most used first:\n");
        }
        for row in self.lost.iter().take(TEXT_LOST_MAX) {
            let (name, rtype) = (&row.name, &row.rtype);
            let _ = writeln!(
                out,
                "  {:>6} {name} {rtype}: {}",
                percent(row.share),
                row.text
            );
            for server in &row.servers {
                let addresses: Vec<String> =
                    server.addresses.iter().map(ToString::to_string).collect();
                let cut = if server.cut { "" } else { ", stays reachable" };
                let _ = writeln!(
                    out,
                    "           {} {}{cut}",
                    server.name,
                    addresses.join(" ")
                );
            }
        }
        let left_out = self.lost.len().saturating_sub(TEXT_LOST_MAX) as u64 + self.lost_left_out;
        if left_out > 0 {
            let _ = writeln!(out, "  and {left_out} more; --json shows them");
        }
        if !self.failing.is_empty() {
            out.push_str("\nfailing already, without any cut-off, most used first:\n");
        }
        for row in self.failing.iter().take(TEXT_FAILING_MAX) {
            let _ = writeln!(out, "  {} {}: {}", row.name, row.rtype, row.text);
        }
        out
    }
}

/// `1 name`, `2 names`.
pub(super) fn counted(n: u64, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Rtype;
    use crate::drill::verdict::{Loss, Survival};

    fn survives(from: Source, host_lost: bool) -> Verdict {
        Verdict::Survives(Survival {
            from,
            host_lost,
            slow: false,
            as_of: false,
        })
    }

    fn lost(zone: &str) -> Verdict {
        Verdict::Lost(Box::new(Loss {
            cause: Cause::ServersAbroad,
            zone: Some(zone.parse().unwrap()),
            alias: None,
            servers: Vec::new(),
            text: "all abroad".into(),
            fix: format!("mirror {zone}"),
        }))
    }

    #[test]
    fn shares_leave_out_what_fails_anyway() {
        let mut tally = Tally::default();
        let mut add = |n: u8, queries, verdict| {
            let question = Question::new(format!("n{n}.test.").parse().unwrap(), Rtype::A);
            let place = None;
            tally.add(question, queries, Judged { verdict, place });
        };
        add(1, 60.0, survives(Source::Live, false));
        add(2, 20.0, survives(Source::Stale, true));
        add(3, 5.0, lost("x."));
        add(4, 15.0, lost("y."));
        add(5, 900.0, Verdict::FailsNow("refused".into()));
        let report = tally.report("a zone".into(), "then".into(), "now".into());
        assert_eq!((report.names, report.queries), (5, 1000.0));
        let share = |class: &str| {
            let row = report
                .classes
                .iter()
                .find(|row| row.class == class)
                .unwrap();
            (row.share.names, row.share.queries_share)
        };
        assert_eq!(share("live"), (1, 0.6));
        assert_eq!(share("stale"), (1, 0.2));
        assert_eq!(share("mirror"), (0, 0.0));
        assert_eq!(share("lost"), (2, 0.2));
        assert_eq!(share("fails_now"), (1, 0.0));
        assert_eq!((report.survive.names, report.host_lost.names), (2, 1));
        let lost: Vec<&str> = report.lost.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(lost, ["n4.test.", "n3.test."]);
        assert_eq!(report.fixes[0].fix, "mirror y.");
        let text = report.to_text();
        assert!(text.contains("survive                   80.0 %"), "{text}");
        assert!(text.contains("cut-off: 1 question\n"), "{text}");
        assert!(text.ends_with("first:\n  n5.test. A: refused\n"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    }
}
