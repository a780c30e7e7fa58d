//! The status page: what an operator wants to see first, on one page, without a script.
//!
//! Everything that is shown as text is escaped: names of zones and of lost names are what strangers have chosen. What needs
//! attention is said in the very words of `holdfast status`.

use std::fmt::{self, Display, Write};

use super::super::history::{Counts, ROW_S, Row};
use super::super::status::{MirrorStatus, Status, duration_words};
use super::{chart, panels};
use crate::drill::report::Report;
use crate::metrics::Times;
use crate::mirror;

/// Seconds after which a browser looks again.
const REFRESH_S: u32 = 30;
/// Rows of a list.
pub(super) const ROWS_SHOWN_MAX: usize = 20;
/// The curve of failures is as high as this at least, in answers per second: one in a minute is no catastrophe.
const FAILURES_HEIGHT_MIN: f64 = 1.0;
/// Mirrors on the page.
const MIRRORS_SHOWN_MAX: usize = 200;
/// Minutes that "the last hour" has.
const HOUR_ROWS: usize = 60;
const CSS: &str = include_str!("page.css");

/// Text that is no markup.
pub(super) struct Escaped<T>(pub T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string().chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Directions of writing and the like: a name is not to rearrange what stands beside it.
                c if c.is_control() || is_invisible(c) => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The whole page.
pub fn html(
    status: &Status,
    rows: &[Row],
    since_start: &Counts,
    outlook: Option<&Report>,
) -> String {
    let mut out = String::with_capacity(32 << 10);
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_S}\"><title>holdfast</title><style>{CSS}</style></head><body>"
    );
    let _ = write!(
        out,
        "<h1>holdfast {}</h1><p class=\"dim\">up {}, clock {}</p>",
        Escaped(&status.version),
        Escaped(duration_words(status.uptime_s)),
        Escaped(&status.time)
    );
    attention(status, &mut out);
    mirrors(status, rows, &mut out);
    out.push_str("<div class=\"two\">");
    queries(rows, since_start, &mut out);
    waits(rows, since_start, &mut out);
    out.push_str("</div><div class=\"two\">");
    panels::upstream(status, rows, &mut out);
    panels::pressure(status, since_start, &mut out);
    out.push_str("</div>");
    cut_off(status, outlook, &mut out);
    out.push_str(
        "<p class=\"dim\">The curves show 24 hours at most, since the start of the server. <a href=\"/status\">all of it as JSON</a> · \
         <a href=\"/metrics\">metrics</a> · <a href=\"/ready\">ready?</a></p></body></html>",
    );
    out
}

/// What somebody who looks at 3 a.m. must not overlook: the marked lines of `holdfast status`.
fn attention(status: &Status, out: &mut String) {
    let text = status.to_text();
    let marked: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("! "))
        .collect();
    if marked.is_empty() {
        out.push_str("<section class=\"calm\">Nothing needs attention.</section>");
        return;
    }
    let _ = write!(
        out,
        "<section class=\"attention\"><h2>Needs attention</h2><ul>"
    );
    for line in marked.iter().take(ROWS_SHOWN_MAX) {
        let _ = write!(out, "<li>{}</li>", Escaped(line));
    }
    out.push_str("</ul>");
    more(marked.len(), ROWS_SHOWN_MAX, out);
    out.push_str("</section>");
}

/// Says how many rows of `count` are not shown.
pub(super) fn more(count: usize, shown_max: usize, out: &mut String) {
    if count > shown_max {
        let _ = write!(out, "<p class=\"dim\">and {} more</p>", count - shown_max);
    }
}

/// The highest rate of a curve, where there is one.
pub(super) fn at_the_most(rows: &[Row], most: f64, of_what: &str) -> String {
    match rows {
        [] => String::new(),
        _ => format!(", {most:.2}{of_what} a second at the most"),
    }
}

/// A count with its thousands apart.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time to the minute, as people write it: `2026-08-01 08:40`.
pub(super) fn minute(time: &str) -> String {
    match (time.split_once('T'), time.is_ascii()) {
        (Some((day, of_day)), true) => format!("{day} {}", &of_day[..of_day.len().min(5)]),
        _ => time.to_owned(),
    }
}

/// What a picture of the last 24 hours has below it.
const AXIS: &str = "<p class=\"axis\"><span>24 h ago</span><span>now</span></p>";

/// A curve with its axis, and its highest rate; in the first minute a word in its place.
pub(super) fn curve(rows: &[Row], height_min: f64, of: impl Fn(&Row) -> u64) -> (String, f64) {
    if rows.is_empty() {
        let early = "<p class=\"early\">The curve begins after the first minute.</p>";
        return (early.into(), 0.0);
    }
    let (curve, most) = chart::curve(rows, height_min, of);
    (curve + AXIS, most)
}

fn mirrors(status: &Status, rows: &[Row], out: &mut String) {
    out.push_str("<section><h2>Mirrors</h2>");
    if status.mirrors.is_empty() {
        out.push_str("<p>There is no mirror.</p></section>");
        return;
    }
    out.push_str(
        "<table class=\"stack\"><tr><th>zone</th><th>servers</th><th>last 24 hours</th><th class=\"n\">serial</th><th class=\"n\">confirmed</th>\
         <th>time used up</th><th class=\"wide\">source</th></tr>",
    );
    for mirror in status.mirrors.iter().take(MIRRORS_SHOWN_MAX) {
        mirror_row(mirror, rows, out);
    }
    out.push_str("</table>");
    more(status.mirrors.len(), MIRRORS_SHOWN_MAX, out);
    out.push_str("<p class=\"key dim\">");
    for (class, what) in [
        ("online", "servers answer"),
        ("suspect", "suspect or recovering"),
        ("isolated", "isolated: the copy answers alone"),
        ("bare", "no usable copy"),
        ("off", "not running"),
    ] {
        let _ = write!(out, "<span><i class=\"{class}\"></i>{what}</span>");
    }
    out.push_str("</p></section>");
}

fn mirror_row(mirror: &MirrorStatus, rows: &[Row], out: &mut String) {
    let of = &mirror.mirror;
    let bare = of
        .usable
        .as_deref()
        .is_none_or(|usable| usable == "too old");
    let _ = write!(
        out,
        "<tr><td class=\"name\">{}{}</td><td><span class=\"state {}\">{}</span></td><td class=\"day\">{}</td>",
        Escaped(&of.zone),
        if of.zone == "." { " (root)" } else { "" },
        Escaped(&mirror.state),
        Escaped(&mirror.state),
        chart::strip(rows, &of.zone)
    );
    let serial = of.serial.map_or("none".into(), |serial| serial.to_string());
    let age = match (of.age_s, of.bootstrap) {
        (_, true) => "never: snapshot".into(),
        (Some(age_s), _) => format!("{} ago", duration_words(age_s)),
        (None, _) => "-".into(),
    };
    let limit = of.age_max_s.map_or(String::new(), |age_max_s| {
        let most = duration_words(age_max_s);
        format!("<br><small>of {most}</small>")
    });
    let _ = write!(
        out,
        "<td class=\"n\"><small class=\"slim\">serial </small>{serial}{}</td><td class=\"n\"><small class=\"slim\">confirmed </small>{age}{limit}</td>",
        match (bare, &of.held) {
            (true, _) => "<br><span class=\"state bare\">no usable copy</span>",
            (_, Some(_)) => "<br><span class=\"state suspect\">a newer one is held</span>",
            _ => "",
        }
    );
    limits(of, out);
    let _ = write!(
        out,
        "<td class=\"wide name\">{}</td></tr>",
        Escaped(of.source.as_deref().unwrap_or("-"))
    );
}

/// How much of what a copy is good for is gone: of its age, and of its signatures or SOA expire from a quarter on, the greater part.
fn limits(of: &mirror::MirrorStatus, out: &mut String) {
    let aged = match (of.age_s, of.age_max_s) {
        (Some(age_s), Some(age_max_s)) => age_s.saturating_mul(100) / age_max_s.max(1),
        _ => 0,
    };
    let (percent, of_what) = match &of.escalation {
        Some(e) if e.percent >= aged => (e.percent, e.limit.as_str()),
        _ => (aged, "age_max"),
    };
    let percent = percent.min(100);
    let class = match percent {
        0..50 => "",
        50..75 => "warn",
        _ => "bad",
    };
    if of.serial.is_none() {
        out.push_str("<td></td>");
        return;
    }
    let title = of.escalation.as_ref().map_or("", |e| e.text.as_str());
    let _ = write!(
        out,
        "<td title=\"{}\"><div class=\"meter {class}\"><i style=\"width:{percent}%\"></i></div><small>",
        Escaped(title),
    );
    if of.bootstrap {
        out.push_str("a snapshot has no age_max");
    } else {
        let _ = write!(out, "{percent} % of {}", Escaped(of_what));
    }
    if let Some(until) = of.signatures_expire.as_deref() {
        let day = until.split('T').next().unwrap_or(until);
        let _ = write!(
            out,
            "<br><span class=\"nb\">signatures until {}</span>",
            Escaped(day)
        );
    }
    out.push_str("</small></td>");
}

/// The last hour, or what there is of it.
fn last_hour(rows: &[Row]) -> &[Row] {
    &rows[rows.len().saturating_sub(HOUR_ROWS)..]
}

fn queries(rows: &[Row], since_start: &Counts, out: &mut String) {
    let (curve, most) = curve(rows, 0.0, |row| row.counts.queries);
    let queries = grouped(since_start.queries);
    let rate = match rows.last() {
        Some(row) => {
            let now = row.counts.queries as f64 / ROW_S as f64;
            format!(
                "<b>{now:.1}</b> a second in the last minute, {most:.1} at the most, {queries} since the start"
            )
        }
        None => format!("<b>{queries}</b> since the start"),
    };
    let _ = write!(out, "<section><h2>Queries</h2><p>{rate}</p>{curve}");
    let sum = |of: fn(&Counts) -> u64| {
        let rows = last_hour(rows).iter();
        let sum: u64 = rows.map(|row| of(&row.counts)).sum();
        if rows_are_few(sum, of, since_start) {
            of(since_start)
        } else {
            sum
        }
    };
    let parts = [
        ("cache", sum(|c| c.cache)),
        ("upstream", sum(|c| c.live)),
        ("mirror", sum(|c| c.mirror)),
        ("own and special names", sum(|c| c.own)),
    ];
    let all: u64 = parts.iter().map(|(_, count)| count).sum();
    let share = |count: u64| 100.0 * count as f64 / all.max(1) as f64;
    out.push_str("<p>Where the answers of the last hour came from:</p><div class=\"bar\">");
    for (at, (_, count)) in parts.iter().enumerate() {
        let _ = write!(
            out,
            "<div class=\"o{at}\" style=\"width:{:.2}%\"></div>",
            share(*count)
        );
    }
    out.push_str("</div><p class=\"key\">");
    for (at, (what, count)) in parts.iter().enumerate() {
        let share = share(*count);
        let _ = write!(
            out,
            "<span><i class=\"o{at}\"></i>{what} {share:.1} %</span>"
        );
    }
    let (stale, retained) = (sum(|c| c.stale), sum(|c| c.retained));
    let _ = write!(
        out,
        "</p><p>Of these {} with data past its TTL, {} found through retained delegations.</p></section>",
        per_cent(stale, all),
        per_cent(retained, all)
    );
}

/// Whether the rows say nothing although there is something: in the first minute there is no row yet.
fn rows_are_few(sum: u64, of: fn(&Counts) -> u64, since_start: &Counts) -> bool {
    sum == 0 && of(since_start) > 0 && since_start.queries < 1000
}

fn per_cent(part: u64, whole: u64) -> String {
    match (part, whole) {
        (0, _) => "none".into(),
        (part, whole) => format!(
            "{} ({:.1} %)",
            grouped(part),
            100.0 * part as f64 / whole.max(1) as f64
        ),
    }
}

fn waits(rows: &[Row], since_start: &Counts, out: &mut String) {
    let mut times = Times::default();
    for row in last_hour(rows) {
        for (sum, count) in times.counts.iter_mut().zip(row.counts.waits.counts) {
            *sum += count;
        }
    }
    if rows.is_empty() {
        times = since_start.waits;
    }
    let (curve, most) = curve(rows, FAILURES_HEIGHT_MIN, |row| row.counts.servfail);
    let curve = curve.replacen("class=\"curve\"", "class=\"curve bad\"", 1);
    let within = |permille| match times.within_ms(permille) {
        Some(ms) => format!("{ms} ms"),
        None => "over 5 s".into(),
    };
    let _ = write!(
        out,
        "<section><h2>Failures and waiting</h2><p><b>{}</b> SERVFAIL since the start{}</p>{curve}",
        grouped(since_start.servfail),
        at_the_most(rows, most, "")
    );
    let _ = match times.count() {
        0 => write!(
            out,
            "<p>All questions of the last hour were answered at once.</p></section>"
        ),
        count => write!(
            out,
            "<p>Of the last hour's questions that could not be answered at once ({}), half waited up to {}, 99 % up to {}.</p></section>",
            grouped(count),
            within(500),
            within(990)
        ),
    };
}

fn cut_off(status: &Status, outlook: Option<&Report>, out: &mut String) {
    out.push_str("<section><h2>If the line were cut</h2>");
    if let Some(drill) = &status.drill {
        for line in drill.to_text().lines() {
            let _ = write!(out, "<p>{}</p>", Escaped(line.trim()));
        }
    }
    let Some(report) = outlook else {
        out.push_str("<p>Nobody has asked yet: <code>holdfast readiness</code> tells which of the names that are asked here would survive.</p></section>");
        return;
    };
    let _ = write!(
        out,
        "<p><b>{:.1} %</b> of the queries for {} names would be answered with {} cut off (as of {}).</p>",
        100.0 * report.survive.queries_share,
        grouped(report.names),
        Escaped(&report.cut),
        Escaped(minute(&report.ended_at))
    );
    if !report.lost.is_empty() {
        out.push_str(
            "<table><tr><th>lost, most used first</th><th class=\"n\">share</th><th class=\"wide\">why</th><th>what would help</th></tr>",
        );
        for lost in report.lost.iter().take(ROWS_SHOWN_MAX) {
            let _ = write!(
                out,
                "<tr><td class=\"name\">{} {}</td><td class=\"n\">{:.2} %</td><td class=\"wide\">{}</td><td>{}</td></tr>",
                Escaped(&lost.name),
                Escaped(&lost.rtype),
                100.0 * lost.share,
                Escaped(&lost.text),
                Escaped(&lost.fix)
            );
        }
        out.push_str("</table>");
        more(report.lost.len(), ROWS_SHOWN_MAX, out);
    }
    out.push_str("</section>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{DeadPrefixStatus, StaleZoneStatus};
    use crate::drill::report::Tally;

    const HOSTILE: &str = "<script>alert(1)</script>\"'&\u{202e}x\n";

    /// Whatever a stranger can name appears as text, and the page stays one page.
    #[test]
    fn nothing_that_is_shown_becomes_markup() {
        let hostile = || HOSTILE.to_owned();
        let status = Status {
            version: hostile(),
            mirrors: vec![MirrorStatus {
                mirror: mirror::MirrorStatus {
                    zone: hostile(),
                    source: Some(hostile()),
                    last_error: Some(hostile()),
                    ..mirror::MirrorStatus::default()
                },
                state: hostile(),
                evidence: hostile(),
                since: Some(hostile()),
            }],
            dead_prefixes: vec![DeadPrefixStatus {
                prefix: hostile(),
                since: hostile(),
                evidence: hostile(),
            }],
            stale: crate::control::status::StaleStatus {
                zones: vec![StaleZoneStatus {
                    zone: hostile(),
                    since: hostile(),
                    answers: 1,
                    why: hostile(),
                }],
                ..Default::default()
            },
            ..Status::default()
        };
        let report = Tally::default().report(hostile(), hostile(), hostile());
        let page = html(&status, &[], &Counts::default(), Some(&report));
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains('\u{202e}'));
        assert_eq!(page.matches("<html").count(), 1);
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;\u{fffd}x"));
        assert!(page.ends_with("</body></html>"));
    }

    #[test]
    fn counts_and_times_for_people() {
        for (count, expected) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (71_001_234, "71,001,234"),
        ] {
            assert_eq!(grouped(count), expected);
        }
        assert_eq!(minute("2026-08-01T08:40:59Z"), "2026-08-01 08:40");
        assert_eq!(minute("2026-08-01T8"), "2026-08-01 8");
        assert_eq!(
            minute("\u{e4}T\u{e4}\u{e4}\u{e4}"),
            "\u{e4}T\u{e4}\u{e4}\u{e4}"
        );
    }

    #[test]
    fn what_needs_attention_is_said_as_status_says_it() {
        let mut status = Status::default();
        let page = |status: &Status| html(status, &[], &Counts::default(), None);
        assert!(page(&status).contains("Nothing needs attention."));
        status.mirrors = vec![MirrorStatus {
            mirror: mirror::MirrorStatus {
                zone: "ru.".into(),
                ..mirror::MirrorStatus::default()
            },
            state: "online".into(),
            ..MirrorStatus::default()
        }];
        let page = page(&status);
        assert!(page.contains("<li>ru. has no copy yet: an outage now would not be survived</li>"));
        assert!(page.contains("no usable copy"));
    }
}
