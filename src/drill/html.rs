//! A report as one page: pure.
//!
//! One file, complete in itself: no script, nothing is fetched, and a policy in the page says so to the browser, too. Light and dark follow the
//! reader's system; a narrow screen gets cards instead of wide tables.
//!
//! Names come from users' questions and texts from strangers' servers: whatever they hold passes [`escaped`]. Lists are bounded.

use std::fmt::Write;

use super::picture;
use super::report::{DrillReport, DrillState, LostRow, Report, Share, counted, percent};
use super::verdict::LostServer;

/// Lost questions on the page.
const LOST_MAX: usize = 200;
/// Fixes on the page.
const FIXES_MAX: usize = 15;
/// Registrable names on the page.
const DOMAINS_MAX: usize = 50;

const STYLE: &str = include_str!("html.css");

/// Text that says nothing but itself in HTML, in an attribute too. Control characters and those that turn the direction of writing
/// become U+FFFD: they could make one name look like another.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || is_turning(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn is_turning(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A readiness report as a page.
pub fn readiness(report: &Report) -> String {
    page("Isolation readiness", "", report)
}

/// A drill's report as a page.
pub fn drill(report: &DrillReport) -> String {
    let title = match report.drill.shadow {
        true => "Shadow drill",
        false => "Drill",
    };
    page(title, &state(&report.drill, report.waiting), &report.report)
}

fn page(title: &str, before: &str, report: &Report) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escaped(&report.cut)
    );
    let _ = writeln!(out, "<h1>{title}</h1>");
    let _ = writeln!(
        out,
        "<p class=\"sub\">Cut off: <b>{}</b>. {} judged, {} to {}.</p>",
        escaped(&report.cut),
        counted(report.names, "question"),
        escaped(&report.began_at),
        escaped(&report.ended_at)
    );
    out.push_str(before);
    if report.names == 0 {
        out.push_str("<p>Nothing to judge: no questions have been counted yet.</p>\n");
    } else {
        shares(&mut out, report);
        causes_and_fixes(&mut out, report);
        if let Some(svg) = picture::svg(report) {
            out.push_str(
                "<section>\n<h2>What depends on what</h2>\n<p class=\"sub\">The most asked names. Dashed and red is cut off or lost; blue is held here as a \
                 copy; yellow survives in part, or by what does not last.</p>\n<div class=\"picture\">\n",
            );
            out.push_str(&svg);
            out.push_str("</div>\n</section>\n");
        }
        lost(&mut out, report);
        domains(&mut out, report);
        failing(&mut out, report);
    }
    let _ = writeln!(
        out,
        "<footer>holdfast {}</footer>\n</main>\n</body>\n</html>",
        env!("CARGO_PKG_VERSION")
    );
    out
}

fn state(drill: &DrillState, waiting: u64) -> String {
    let mut out = String::from("<p class=\"sub\">");
    let _ = match (&drill.ended_at, &drill.ended) {
        (Some(at), Some(why)) => write!(
            out,
            "From {} to {} ({}). ",
            escaped(&drill.began_at),
            escaped(at),
            escaped(why)
        ),
        _ => write!(
            out,
            "Goes on since {}, until {}. ",
            escaped(&drill.began_at),
            escaped(&drill.ends_at)
        ),
    };
    let _ = write!(
        out,
        "Clients asked {} questions, {} failed ({}; before: {}).",
        drill.asked,
        drill.failed,
        percent(drill.failed_share),
        percent(drill.failed_share_before)
    );
    if waiting > 0 {
        let _ = write!(
            out,
            " Still to be judged: {}.",
            counted(waiting, "question")
        );
    }
    out.push_str("</p>\n");
    out
}

fn shares(out: &mut String, report: &Report) {
    let survive = &report.survive;
    let _ = writeln!(
        out,
        "<section class=\"top\">\n<p class=\"big\">{}</p>\n<p>of all questions would be answered, and {} of the distinct ones.</p>",
        percent(survive.queries_share),
        percent(survive.names_share)
    );
    out.push_str("<div class=\"bar\" aria-hidden=\"true\">");
    for row in report.classes.iter().filter(|row| row.class != "fails_now") {
        let share = row.share.queries_share.clamp(0.0, 1.0) * 100.0;
        if share > 0.0 {
            let _ = write!(
                out,
                "<span class=\"c-{}\" style=\"width:{share:.2}%\"></span>",
                escaped(&row.class)
            );
        }
    }
    out.push_str("</div>\n<table class=\"shares\">\n<thead><tr><th></th><th>of queries</th><th>of names</th><th>names</th></tr></thead>\n<tbody>\n");
    let mut line = |class: &str, what: &str, share: &Share| {
        let _ = writeln!(
            out,
            "<tr class=\"{class}\"><th>{what}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
            percent(share.queries_share),
            percent(share.names_share),
            share.names
        );
    };
    line("sum", "survive", survive);
    for row in &report.classes {
        let class = escaped(&row.class);
        match row.class.as_str() {
            "fails_now" => {}
            "lost" => {
                line("part", "<i></i>slowly", &report.slow);
                line("part", "<i></i>host out of reach", &report.host_lost);
                line("sum", "<i class=\"c-lost\"></i>lost", &row.share);
            }
            _ => line(
                "part",
                &format!("<i class=\"c-{class}\"></i>from {class}"),
                &row.share,
            ),
        }
    }
    out.push_str("</tbody>\n</table>\n");
    if let Some(row) = report.classes.iter().find(|row| row.class == "fails_now")
        && row.share.names > 0
    {
        let _ = writeln!(
            out,
            "<p class=\"sub\">Left out, for failing without any cut-off: {}.</p>",
            counted(row.share.names, "question")
        );
    }
    out.push_str("</section>\n");
}

fn causes_and_fixes(out: &mut String, report: &Report) {
    if report.causes.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>Why names would be lost</h2>\n<table>\n<tbody>\n");
    for row in &report.causes {
        let (words, names) = (row.cause.words(), counted(row.names, "name"));
        let _ = writeln!(out, "<tr><th>{words}</th><td>{names}</td></tr>");
    }
    out.push_str("</tbody>\n</table>\n<h2>What would fix most</h2>\n<ol class=\"fixes\">\n");
    for row in report.fixes.iter().take(FIXES_MAX) {
        let _ = writeln!(
            out,
            "<li>{} <span class=\"sub\">{}</span></li>",
            escaped(&row.fix),
            counted(row.names, "name")
        );
    }
    out.push_str("</ol>\n</section>\n");
}

fn lost(out: &mut String, report: &Report) {
    if report.lost.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>Lost, most used first</h2>\n<ol class=\"lost\">\n");
    for row in report.lost.iter().take(LOST_MAX) {
        lost_row(out, row);
    }
    out.push_str("</ol>\n");
    let left_out = report.lost.len().saturating_sub(LOST_MAX) as u64 + report.lost_left_out;
    if left_out > 0 {
        let _ = writeln!(
            out,
            "<p class=\"sub\">And {left_out} more; --json shows them.</p>"
        );
    }
    out.push_str("</section>\n");
}

fn lost_row(out: &mut String, row: &LostRow) {
    let _ = writeln!(
        out,
        "<li><div class=\"what\"><b>{}</b> {} <span class=\"share\">{}</span></div>\n<div class=\"why\"><em>{}</em>: {}</div>\n<div class=\"fix\">{}</div>",
        escaped(&row.name),
        escaped(&row.rtype),
        percent(row.share),
        row.cause.words(),
        escaped(&row.text),
        escaped(&row.fix)
    );
    if !row.servers.is_empty() {
        let zone = row.zone.as_deref().unwrap_or("the zone");
        let _ = writeln!(
            out,
            "<details><summary>name servers of {}</summary>\n<ul>",
            escaped(zone)
        );
        for server in &row.servers {
            server_row(out, server);
        }
        out.push_str("</ul></details>\n");
    }
    out.push_str("</li>\n");
}

fn server_row(out: &mut String, server: &LostServer) {
    let addresses: Vec<String> = server.addresses.iter().map(ToString::to_string).collect();
    let state = match (server.cut, server.cut_addresses.is_empty()) {
        _ if server.addresses.is_empty() => "no address is known",
        (true, _) => "cut off",
        (false, false) => "cut off in part",
        _ => "stays reachable",
    };
    let _ = writeln!(
        out,
        "<li>{} <code>{}</code> <span class=\"sub\">{state}</span></li>",
        escaped(&server.name),
        escaped(&addresses.join(" "))
    );
}

fn domains(out: &mut String, report: &Report) {
    let hit = report.domains_top.iter().filter(|row| row.lost_names > 0);
    let hit: Vec<_> = hit.take(DOMAINS_MAX).collect();
    if hit.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "<section>\n<h2>By registrable name</h2>\n<p class=\"sub\">{} of {} lose something.</p>\n<table>\n<thead><tr><th></th><th>lost</th><th>asked</th></tr></thead>\n<tbody>",
        report.domains.with_losses,
        counted(report.domains.all, "registrable name")
    );
    for row in hit {
        let _ = writeln!(
            out,
            "<tr><th class=\"name\">{}</th><td>{}</td><td>{}</td></tr>",
            escaped(&row.domain),
            row.lost_names,
            row.names
        );
    }
    out.push_str("</tbody>\n</table>\n</section>\n");
}

fn failing(out: &mut String, report: &Report) {
    if report.failing.is_empty() {
        return;
    }
    out.push_str(
        "<section>\n<h2>Failing already, without any cut-off</h2>\n<ul class=\"failing\">\n",
    );
    for row in &report.failing {
        let _ = writeln!(
            out,
            "<li><b>{}</b> {} <span class=\"sub\">{}</span></li>",
            escaped(&row.name),
            escaped(&row.rtype),
            escaped(&row.text)
        );
    }
    out.push_str("</ul>\n</section>\n");
}
