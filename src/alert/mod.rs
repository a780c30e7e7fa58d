//! Alerts: what an operator must not find in the log a day later goes to a web server and to a program of his.
//!
//! Why: a mirror that grows old in silence, a version that waits for a decision, an outage: each is somebody's problem while there
//! still is time.
//!
//! Model: a line of the log with the field `alert` is an alert ([`News`](crate::news::News) has the kinds). [`Tap`] hangs in the
//! log, picks those lines up, whatever `log.level` says, and puts them into a bounded queue. [`run`] takes them out, limits them per
//! kind and subject ([`limit`]), and gives what is left to `[alerts] webhook` ([`webhook`]) and `command` ([`command`]), each with a
//! queue of its own. What a drill does to its own world is a rehearsal and no news: lines inside the span `drill` are passed over.
//!
//! The form of an alert, as a JSON object; keys are only ever added:
//!
//! | key | what it says |
//! |---|---|
//! | `kind` | a word of [`News`](crate::news::News), such as `mirror_state` |
//! | `severity` | `info` (good news among it), `warning` or `critical`: the level of the line |
//! | `subject` | the zone, the prefix or what is cut off; empty where there is one of its kind only |
//! | `text` | a sentence |
//! | `at` | when, RFC 3339 |
//! | `left_out` | how many of this kind and subject were held back since the last one that was sent, and gave way to this one |
//! | `details` | the line's other fields, as text |
//! | `server` | this machine's name, and `version`, that of the program |
//!
//! Failure: whoever logs never waits; what finds no place is counted (`alerts_dropped_total`). A web server or program that fails is
//! tried again a few times, counted and logged once until it works again; that line is no alert itself.

pub mod command;
pub mod limit;
mod line;
mod task;
pub mod webhook;

use serde::Serialize;
use std::collections::BTreeMap;

pub use line::{Tap, tap};
pub use task::{Deps, Inbox, run};

use crate::news::News;

/// Alerts that wait to be looked at, and as many again for the web server and for the program.
pub const QUEUE_MAX: usize = 256;
/// Octets of a text or of one detail.
pub const TEXT_BYTES_MAX: usize = 2000;
/// Details of one alert.
pub const DETAILS_MAX: usize = 16;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To be known; good news, too.
    Info,
    /// To be looked after.
    Warning,
    /// To be looked after now.
    Critical,
}

impl Severity {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// Something that an operator is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// What kind of news it is.
    pub kind: News,
    /// How bad.
    pub severity: Severity,
    /// What it is about.
    pub subject: String,
    /// A sentence.
    pub text: String,
    /// What else the line says.
    pub details: BTreeMap<String, String>,
}

/// An alert that goes out, once for all who get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The alert.
    pub alert: Alert,
    /// When it was raised, RFC 3339.
    pub at: String,
    /// See the top of the module.
    pub left_out: u64,
    /// This machine.
    pub server: String,
}

impl Outgoing {
    /// The form that the top of the module shows.
    pub fn to_json(&self) -> String {
        let alert = &self.alert;
        serde_json::json!({
            "kind": alert.kind.word(),
            "severity": alert.severity.word(),
            "subject": alert.subject,
            "text": alert.text,
            "at": self.at,
            "left_out": self.left_out,
            "details": alert.details,
            "server": self.server,
            "version": env!("CARGO_PKG_VERSION"),
        })
        .to_string()
    }
}
