//! What `holdfast status` and `holdfast mirror list` say of mirrors. What a mirror knows of itself is defined with it
//! ([`mirror::MirrorStatus`]); here it is joined by what is known of its zone's servers, and put into words.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::super::table::Table;
use super::{bytes_words, duration_words};
use crate::mirror::{self, SourceStatus, TransferStatus};

/// A longer error does not stand in the table.
const ERROR_SHOWN_CHARS: usize = 40;

/// One mirror, and whether its zone's servers can be reached.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MirrorStatus {
    /// What the mirror says of itself; its keys stand beside the others.
    #[serde(flatten)]
    pub mirror: mirror::MirrorStatus,
    /// `online`, `suspect`, `isolated` or `recovering`.
    pub state: String,
    /// Since when it is in this state.
    pub since: Option<String>,
    /// What brought it there.
    pub evidence: String,
}

/// Mirrors for people, also the form of `holdfast mirror list`.
pub fn mirrors_text(mirrors: &[MirrorStatus]) -> String {
    let mut out = String::new();
    let mut table = Table::new(&[
        "MIRROR",
        "STATE",
        "SERIAL",
        "AGE",
        "USE",
        "SOURCE",
        "LAST ERROR",
    ]);
    for m in mirrors {
        let of = &m.mirror;
        table.row([
            of.zone.clone(),
            m.state.clone(),
            of.serial.map_or("none".into(), |s| s.to_string()),
            of.age_s.map_or("-".into(), duration_words),
            of.usage.clone(),
            of.source.clone().unwrap_or_else(|| "-".into()),
            error_column(of),
        ]);
    }
    table.write(&mut out);
    for m in mirrors {
        write_remarks(m, &mut out);
    }
    out
}

/// Sources that fail at the moment.
fn failing(m: &mirror::MirrorStatus) -> impl Iterator<Item = &SourceStatus> {
    m.sources.iter().filter(|source| source.failures > 0)
}

/// A short error itself; what is longer, or of several sources, stands on lines of its own beneath.
fn error_column(m: &mirror::MirrorStatus) -> String {
    match (&m.last_error, failing(m).count()) {
        (None, _) => "-".into(),
        (Some(error), 0) if error.len() <= ERROR_SHOWN_CHARS => error.clone(),
        (Some(_), 0) => "see below".into(),
        (Some(_), 1) => "1 source failed, see below".into(),
        (Some(_), count) => format!("{count} sources failed, see below"),
    }
}

/// What went wrong, a line for each source, and for what is no source's fault.
fn write_errors(m: &mirror::MirrorStatus, out: &mut String) {
    let zone = &m.zone;
    let mut told = Vec::new();
    for source in failing(m) {
        let (error, times) = (source.last_error.as_deref().unwrap_or("-"), source.failures);
        let ok = source.last_ok.as_deref().unwrap_or("never");
        let name = &source.source;
        told.push(format!("{name}: {error}"));
        let _ = match times {
            1 => writeln!(out, "! {zone}: {name} failed, last good {ok}: {error}"),
            _ => writeln!(
                out,
                "! {zone}: {name} failed {times} times in a row, last good {ok}: {error}"
            ),
        };
    }
    let column = error_column(m);
    for error in m
        .errors
        .iter()
        .filter(|e| !told.contains(e) && **e != column)
    {
        let _ = writeln!(out, "! {zone}: {error}");
    }
}

/// What somebody who looks at 3 a.m. must not overlook.
fn write_remarks(m: &MirrorStatus, out: &mut String) {
    let of = &m.mirror;
    let zone = &of.zone;
    if let (Some(since), true) = (&m.since, m.state != "online") {
        let _ = writeln!(out, "! {zone} is {} since {since}: {}", m.state, m.evidence);
    }
    write_errors(of, out);
    if let Some(held) = &of.held {
        let why = held.reasons.join("; ");
        let command = format!("holdfast mirror accept {zone} {}", held.serial);
        let _ = writeln!(
            out,
            "! {zone} holds serial {} back: {why}; to take it: {command}",
            held.serial
        );
    }
    if let Some(transfer) = &of.transfer {
        let _ = writeln!(out, "  {zone}: {}", transfer_text(transfer));
    }
    if let Some(escalation) = &of.escalation {
        let _ = writeln!(out, "! {zone}: {}", escalation.text);
    }
    match of.serial {
        None => {
            let _ = writeln!(
                out,
                "! {zone} has no copy yet: an outage now would not be survived"
            );
        }
        Some(_) if of.usable.as_deref() == Some("too old") => {
            let _ = writeln!(
                out,
                "! {zone}: its copy is past age_max and answers nothing; see to its sources, or raise age_max"
            );
        }
        Some(_) if of.bootstrap => {
            let _ = writeln!(
                out,
                "! {zone} has only its snapshot yet: no source has been reached"
            );
        }
        Some(_) => {}
    }
}

/// What is on its way in, on one line.
pub fn transfer_text(transfer: &TransferStatus) -> String {
    let TransferStatus {
        stage,
        source,
        since,
        bytes,
        records,
        percent,
    } = transfer;
    let bytes = bytes_words(*bytes);
    let percent = percent.map_or_else(String::new, |percent| format!(", {percent} %"));
    format!("{stage} {source} since {since}: {bytes}, {records} records{percent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, failures: u32, error: Option<&str>) -> SourceStatus {
        SourceStatus {
            source: name.into(),
            failures,
            last_error: error.map(str::to_owned),
            ..SourceStatus::default()
        }
    }

    /// The last column and the lines beneath, for a mirror with these sources whose last refresh failed with these errors.
    #[track_caller]
    fn check(sources: &[SourceStatus], errors: &[&str], column: &str, lines: &[&str]) {
        let of = mirror::MirrorStatus {
            zone: "test.".into(),
            sources: sources.to_vec(),
            errors: errors.iter().map(|e| (*e).to_owned()).collect(),
            last_error: (!errors.is_empty()).then(|| errors.join("; ")),
            ..mirror::MirrorStatus::default()
        };
        assert_eq!(error_column(&of), column);
        let mut out = String::new();
        write_errors(&of, &mut out);
        assert_eq!(out.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn each_source_has_a_line_of_its_own() {
        check(&[], &[], "-", &[]);
        let short = "connect: connection refused";
        let (good, one, two) = (
            source("axfr:192.0.2.1", 0, None),
            source("axfr:192.0.2.2", 1, Some(short)),
            source("axfr:192.0.2.3", 7, Some("soa query: stalled")),
        );
        let lines = [
            "! test.: axfr:192.0.2.2 failed, last good never: connect: connection refused",
            "! test.: axfr:192.0.2.3 failed 7 times in a row, last good never: soa query: stalled",
        ];
        let errors = [
            "axfr:192.0.2.2: connect: connection refused",
            "axfr:192.0.2.3: soa query: stalled",
        ];
        let both = [one.clone(), two];
        check(&both, &errors, "2 sources failed, see below", &lines);
        let first = [good.clone(), one];
        // Another one served.
        check(&first, &[], "-", &lines[..1]);
        check(
            &first,
            &errors[..1],
            "1 source failed, see below",
            &lines[..1],
        );
        // What is no source's fault.
        let missing = "bootstrap: zones/test.zone: no such file";
        let with = [errors[0], missing];
        let more = [
            lines[0],
            "! test.: bootstrap: zones/test.zone: no such file",
        ];
        check(&first, &with, "1 source failed, see below", &more);
        let trust = "axfr:192.0.2.1: the parent's DS record for test. could not be had: no answer";
        let told = format!("! test.: {trust}");
        check(std::slice::from_ref(&good), &[trust], "see below", &[&told]);
        check(&[good], &[short], short, &[]);
    }
}
