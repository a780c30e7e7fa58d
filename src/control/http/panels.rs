//! Two panels of the status page: whom this server can reach, and who presses on it.

use std::collections::BTreeMap;
use std::fmt::Write;

use ipnet::IpNet;

use super::super::history::{Counts, Row};
use super::super::status::Status;
use super::page::{Escaped, ROWS_SHOWN_MAX, at_the_most, curve, grouped, minute, more};
use crate::reach::prefix::prefixes_of;

/// Networks of clients on the page.
const TALKERS_SHOWN_MAX: usize = 8;
/// Prefixes with silent servers on the page.
const PREFIXES_SHOWN_MAX: usize = 8;

/// Servers that answer and that do not, and which prefixes are gone.
pub(super) fn upstream(status: &Status, rows: &[Row], out: &mut String) {
    let (curve, most) = curve(rows, 0.0, |row| row.counts.sent);
    let in_state = |state: &str| status.servers.iter().filter(|s| s.state == state).count();
    let _ = write!(
        out,
        "<section><h2>Upstream</h2><p>{} servers answer, <b>{} are silent</b>{}</p>{curve}",
        in_state("good"),
        in_state("silent"),
        at_the_most(rows, most, " packets")
    );
    if status.dead_prefixes.is_empty() {
        out.push_str("<p>No prefix is dead.</p>");
    } else {
        out.push_str(
            "<table><tr><th>dead prefix</th><th>since</th><th class=\"wide\">evidence</th></tr>",
        );
        for dead in status.dead_prefixes.iter().take(ROWS_SHOWN_MAX) {
            let _ = write!(
                out,
                "<tr><td class=\"name nb\">{}</td><td class=\"nb\">{}</td><td class=\"wide\">{}</td></tr>",
                Escaped(&dead.prefix),
                Escaped(minute(&dead.since)),
                Escaped(&dead.evidence)
            );
        }
        out.push_str("</table>");
        more(status.dead_prefixes.len(), ROWS_SHOWN_MAX, out);
    }
    silent_prefixes(status, out);
    let troubled = &status.stale.zones;
    if !troubled.is_empty() {
        out.push_str("<table><tr><th>zones whose servers fail</th><th>since</th><th class=\"n\">old answers</th></tr>");
        for zone in troubled.iter().take(ROWS_SHOWN_MAX) {
            let _ = write!(
                out,
                "<tr><td class=\"name\">{}</td><td class=\"nb\">{}</td><td class=\"n\">{}</td></tr>",
                Escaped(&zone.zone),
                Escaped(minute(&zone.since)),
                grouped(zone.answers)
            );
        }
        out.push_str("</table>");
        more(troubled.len(), ROWS_SHOWN_MAX, out);
    }
    out.push_str("</section>");
}

/// Where the silent servers are, most of them first. What stands in a dead prefix is told with that.
fn silent_prefixes(status: &Status, out: &mut String) {
    let mut prefixes = BTreeMap::<IpNet, (usize, usize)>::new();
    for server in &status.servers {
        let Ok(address) = server.address.parse() else {
            continue;
        };
        let (good, silent) = prefixes.entry(prefixes_of(address)[0]).or_default();
        match server.state.as_str() {
            "good" => *good += 1,
            "silent" => *silent += 1,
            _ => {}
        }
    }
    let mut rows: Vec<_> = (prefixes.into_iter())
        .map(|(prefix, (good, silent))| (prefix.to_string(), good, silent))
        .filter(|(prefix, _, silent)| {
            *silent > 0 && !status.dead_prefixes.iter().any(|d| d.prefix == *prefix)
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    rows.sort_by_key(|(_, _, silent)| std::cmp::Reverse(*silent));
    out.push_str("<table><tr><th>prefix with silent servers</th><th class=\"n\">silent</th><th class=\"n\">answer</th></tr>");
    for (prefix, good, silent) in rows.iter().take(PREFIXES_SHOWN_MAX) {
        let _ = write!(
            out,
            "<tr><td class=\"name\">{prefix}</td><td class=\"n\">{silent}</td><td class=\"n\">{good}</td></tr>"
        );
    }
    out.push_str("</table>");
    more(rows.len(), PREFIXES_SHOWN_MAX, out);
}

/// Floods, limits, and the networks that ask most.
pub(super) fn pressure(status: &Status, since_start: &Counts, out: &mut String) {
    let metric = |name: &str| status.metrics.get(name).copied().unwrap_or(0);
    let rows = [
        (
            "dropped, cut short or refused by a limit",
            since_start.limited,
        ),
        ("dropped: too many were being worked on", since_start.shed),
        ("refused: access list, or not offered", since_start.refused),
        ("malformed", metric("queries_malformed_total")),
        (
            "failed early: too many waited for one zone's servers",
            metric("upstream_crowded_total"),
        ),
        (
            "wrong or forged server cookies",
            metric("cookies_bad_total"),
        ),
        (
            "replies that did not match their question",
            metric("upstream_mismatched_total"),
        ),
    ];
    out.push_str("<section><h2>Under pressure</h2><table><tr><th>since the start</th><th class=\"n\">queries</th></tr>");
    for (what, count) in rows {
        let _ = write!(
            out,
            "<tr><td>{what}</td><td class=\"n\">{}</td></tr>",
            grouped(count)
        );
    }
    out.push_str("</table>");
    if !status.top_talkers.prefixes.is_empty() {
        let _ = write!(
            out,
            "<table><tr><th>networks that ask most, last {} s</th><th class=\"n\">of all</th><th class=\"n\">limited</th></tr>",
            status.top_talkers.over_s
        );
        for of in status.top_talkers.prefixes.iter().take(TALKERS_SHOWN_MAX) {
            let _ = write!(
                out,
                "<tr><td class=\"name\">{}</td><td class=\"n\">{:.1} %</td><td class=\"n\">{:.1} %</td></tr>",
                Escaped(&of.prefix),
                100.0 * of.queries_share,
                100.0 * of.dropped_share
            );
        }
        out.push_str("</table>");
    }
    if !status.crowded.is_empty() {
        out.push_str(
            "<table><tr><th>zone with too many waiting</th><th class=\"n\">waiting</th></tr>",
        );
        for zone in status.crowded.iter().take(ROWS_SHOWN_MAX) {
            let _ = write!(
                out,
                "<tr><td class=\"name\">{}</td><td class=\"n\">{}</td></tr>",
                Escaped(&zone.zone),
                grouped(zone.waiting)
            );
        }
        out.push_str("</table>");
        more(status.crowded.len(), ROWS_SHOWN_MAX, out);
    }
    if !status.full_servers.is_empty() {
        out.push_str(
            "<table><tr><th>server with too many outstanding</th><th class=\"n\">outstanding</th><th class=\"n\">not put to it</th></tr>",
        );
        for server in status.full_servers.iter().take(ROWS_SHOWN_MAX) {
            let _ = write!(
                out,
                "<tr><td class=\"name\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                Escaped(&server.address),
                grouped(server.outstanding),
                grouped(server.refused)
            );
        }
        out.push_str("</table>");
        more(status.full_servers.len(), ROWS_SHOWN_MAX, out);
    }
    if !status.flooded.is_empty() {
        out.push_str(
            "<table><tr><th>random names below</th><th class=\"wide\">since</th><th class=\"n\">denied lately</th><th class=\"n\">not asked for</th></tr>",
        );
        for zone in status.flooded.iter().take(ROWS_SHOWN_MAX) {
            let _ = write!(
                out,
                "<tr><td class=\"name\">{}</td><td class=\"nb wide\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                Escaped(&zone.zone),
                Escaped(minute(&zone.since)),
                grouped(zone.denials),
                grouped(zone.refused)
            );
        }
        out.push_str("</table>");
        more(status.flooded.len(), ROWS_SHOWN_MAX, out);
    }
    out.push_str("</section>");
}
