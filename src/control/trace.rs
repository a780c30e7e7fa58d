//! What `holdfast trace` says, as JSON and for people.
//!
//! Why: whoever is woken because a name does not resolve wants the reason first, then the way that led to it, in words that need no
//! knowledge of this program. So the text begins with the outcome and why, and then shows each step, indented below what it
//! was taken for.
//!
//! In JSON the report is one object: `question`, `afresh` (asked with an empty memory), `checking_disabled`, `rcode`, `ad`,
//! `took_ms`, `answer` (records in presentation form), `errors` (extended errors: `code`, `meaning`, `text`), `events` (as the
//! table in `resolve/trace.rs` says) and `dropped` (events that found no place in the record). Keys are only ever added.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::status::duration_words;
use crate::dns::{Ede, Message};
use crate::resolve::trace::{Event, What};
use crate::zone::present;

/// Records of the answer that are shown.
const RECORDS_MAX: usize = 100;
/// Columns per level.
const INDENT: usize = 2;

/// The outcome of a question, and the way to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceReport {
    /// The question.
    pub question: String,
    /// Whether it was asked with an empty memory.
    pub afresh: bool,
    /// Whether bogus data was asked for too (CD).
    pub checking_disabled: bool,
    /// The response code.
    pub rcode: String,
    /// Whether the answer is validated (AD).
    pub ad: bool,
    /// Milliseconds that it took.
    pub took_ms: f64,
    /// Records of the answer in presentation format, 100 at most.
    pub answer: Vec<String>,
    /// Extended errors (RFC 8914).
    pub errors: Vec<TraceError>,
    /// What happened on the way, in order.
    pub events: Vec<Event>,
    /// Events that found no place in the record.
    pub dropped: u64,
}

/// One extended error (RFC 8914).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceError {
    /// Its number.
    pub code: u16,
    /// What the number means, if that is known.
    pub meaning: Option<String>,
    /// What was said beside it.
    pub text: String,
}

impl From<Ede> for TraceError {
    fn from(ede: Ede) -> TraceError {
        TraceError {
            code: ede.code,
            meaning: ede.meaning().map(str::to_owned),
            text: ede.text,
        }
    }
}

impl TraceReport {
    /// The report of a reply that took `took_ms`, with what was recorded on the way.
    pub fn new(reply: &Message, afresh: bool, took_ms: f64, record: (Vec<Event>, u64)) -> Self {
        let records = reply.answer.iter().take(RECORDS_MAX);
        TraceReport {
            question: (reply.question.as_ref()).map_or(String::new(), ToString::to_string),
            afresh,
            checking_disabled: reply.checking_disabled,
            rcode: reply.rcode.to_string(),
            ad: reply.authentic_data,
            took_ms,
            answer: records.map(present::record).collect(),
            errors: reply.errors().into_iter().map(TraceError::from).collect(),
            events: record.0,
            dropped: record.1,
        }
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let validated = match self.ad {
            true => ", validated (AD)",
            false => "",
        };
        let _ = writeln!(
            out,
            "{}: {}{validated}, after {} ms",
            self.question, self.rcode, self.took_ms
        );
        for error in &self.errors {
            let meaning = error.meaning.as_deref().unwrap_or("no meaning known here");
            let _ = writeln!(out, "  EDE {} ({meaning}): {}", error.code, error.text);
        }
        for record in &self.answer {
            let _ = writeln!(out, "  {record}");
        }
        let _ = writeln!(out, "\nthe way (milliseconds since the start):");
        self.tree(0, 1, &mut out);
        if self.dropped > 0 {
            let _ = writeln!(out, "  ... and {} more events, not recorded", self.dropped);
        }
        for hint in self.hints() {
            let _ = writeln!(out, "\n{hint}");
        }
        out
    }

    /// The events below `parent`, each with what is below it.
    fn tree(&self, parent: u32, depth: usize, out: &mut String) {
        let mut at_step = 0;
        for event in self.events.iter().filter(|e| e.parent == parent) {
            // What happens at a zone stands below its line.
            let is_step = matches!(event.what, What::Step { .. });
            let depth = depth + if is_step { 0 } else { at_step };
            at_step = at_step.max(usize::from(is_step));
            let indent = " ".repeat(depth * INDENT);
            let _ = writeln!(out, "{:>8.1}{indent}{}", event.at_ms, line(&event.what));
            for more in lines_below(&event.what) {
                let _ = writeln!(out, "{:8}{indent}    {more}", "");
            }
            // An event's number is above its parent's, so that this ends.
            if event.id > parent {
                self.tree(event.id, depth + 1, out);
            }
        }
    }

    fn hints(&self) -> Vec<&'static str> {
        let any = |is: fn(&What) -> bool| self.events.iter().any(|e| is(&e.what));
        let mut hints = Vec::new();
        let known = |w: &What| matches!(w, What::Cached { .. } | What::Remembered { .. });
        if any(known) && !any(|w| matches!(w, What::Exchange { .. })) {
            hints.push(
                "Nobody was asked: this was known from before. --no-cache works it out afresh, without touching what is known.",
            );
        }
        if any(|w| matches!(w, What::Joined { .. })) {
            hints.push(
                "The work of another client was joined, so its steps are not shown. Ask again, or use --no-cache.",
            );
        }
        if self.took_ms > 4500.0 {
            hints.push(
                "A client would have been told SERVFAIL after 4.5 s, while the work went on.",
            );
        }
        hints
    }
}

/// An event in one line.
fn line(what: &What) -> String {
    match what {
        What::Own { zone: Some(zone) } => format!("own zone {zone} answered"),
        What::Own { zone: None } => "a special name, answered here".into(),
        What::Cached {
            question,
            rcode,
            security,
            left_s,
        } => format!("cache: {question}: {rcode}, {security}, {left_s} s left"),
        What::Remembered { question, .. } => {
            format!("failed before, and that is remembered: {question}")
        }
        What::Joined { question } => format!("joined work under way: {question}"),
        What::Ask {
            question,
            purpose,
            outcome,
        } => format!("ask {question} ({purpose}): {}", open(outcome)),
        What::Known { question, origin } => format!("known: {question}, from {origin}"),
        What::Step {
            zone,
            learned_from,
            names,
            addresses,
        } => format!("zone {zone}: {names} name servers, {addresses} addresses ({learned_from})"),
        What::Exchange { .. } => exchange_line(what),
        What::Mirror {
            zone,
            serial,
            age_s,
            trust,
            why,
            outcome,
        } => format!(
            "mirror {zone} serial {serial}, {} old, {trust}: {outcome} [{why}]",
            duration_words(*age_s)
        ),
        What::Retained {
            zone,
            given_by,
            age_s,
        } => format!(
            "retained: {given_by} cannot be reached, so the delegation of {zone} that it gave {} ago is used",
            duration_words(*age_s)
        ),
        What::Stale {
            question,
            rcode,
            ran_out_s,
            why,
            kind,
            from,
        } => format!(
            "stale: {question} -> {rcode}, which ran out {} ago, from {from} [{kind}: {why}]",
            duration_words(*ran_out_s)
        ),
        What::RetainedAddresses { name, addresses } => {
            format!("retained: {addresses} addresses of {name}, which cannot be looked up now")
        }
        What::Referral {
            zone,
            from,
            names,
            ds,
        } => format!("referral to {zone}, {ds} (by {from}): {}", names.join(" ")),
        What::Back { zone } => {
            format!("the known servers of {zone} were of no use; its parent is asked anew")
        }
        What::Along { question } => format!("told in the same message: {question}"),
        What::Alias { from, to } => format!("alias: {from} -> {to}"),
        What::Validate {
            question, outcome, ..
        } => format!("validate {question}: {}", open(outcome)),
        What::Link {
            zone,
            state,
            key_tags,
            why,
        } => match key_tags.is_empty() {
            true => format!("{zone} {state}: {why}"),
            false => {
                let tags: Vec<_> = key_tags.iter().map(u16::to_string).collect();
                format!("{zone} {state}, keys {}: {why}", tags.join(" "))
            }
        },
        What::Again { question, why } => {
            format!("bogus, asked again from others: {question}: {why}")
        }
    }
}

fn exchange_line(what: &What) -> String {
    let What::Exchange {
        server,
        name,
        transport,
        question,
        edns,
        outcome,
        taken,
        rtt_ms,
        late_ms,
    } = what
    else {
        return String::new();
    };
    let mut text = server.to_string();
    if let Some(name) = name {
        let _ = write!(text, " ({name})");
    }
    let _ = write!(text, " {transport}");
    if !edns {
        text.push_str(" without EDNS");
    }
    let _ = write!(text, ", {question}: {}", open(outcome));
    if let Some(rtt_ms) = rtt_ms {
        let _ = write!(text, ", {rtt_ms} ms");
    }
    if let Some(late_ms) = late_ms {
        let _ = write!(text, ", late: the next was asked after {late_ms} ms");
    }
    if outcome.is_some() && !taken {
        text.insert_str(0, "! ");
    }
    text
}

fn lines_below(what: &What) -> Vec<String> {
    match what {
        What::Remembered { errors, .. } => errors.clone(),
        What::Validate {
            signatures, errors, ..
        } => errors.iter().chain(signatures).cloned().collect(),
        _ => Vec::new(),
    }
}

fn open(outcome: &Option<String>) -> &str {
    outcome.as_deref().unwrap_or("no outcome yet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::dns::{Question, Rcode, Rtype};
    use crate::resolve::trace::Trace;

    #[test]
    fn the_text_begins_with_the_reason_and_indents_the_way() {
        let now = Now::default();
        let trace = Trace::recording(now);
        let ask = trace.note(now, || What::Ask {
            question: "www.a. A".into(),
            purpose: "answer".into(),
            outcome: Some("failed: a.: 192.0.2.1 timed out".into()),
        });
        ask.note(now, || What::Step {
            zone: "a.".into(),
            learned_from: "network".into(),
            names: 1,
            addresses: 1,
        });
        ask.note(now, || What::Exchange {
            server: [192, 0, 2, 1].into(),
            name: Some("ns.a.".into()),
            transport: "udp".into(),
            question: "www.a. A".into(),
            edns: true,
            outcome: Some("timed out".into()),
            taken: false,
            rtt_ms: None,
            late_ms: Some(400.0),
        });
        let question = Question::new("www.a.".parse().unwrap(), Rtype::A);
        let mut reply = Message::query(1, question).reply(Rcode::SERVFAIL);
        let mut edns = crate::dns::Edns::new(1232, true);
        edns.options
            .push(Ede::new(22, "a.: 192.0.2.1 timed out").to_option());
        reply.edns = Some(edns);
        let report = TraceReport::new(&reply, false, 1500.0, trace.events());
        assert_eq!(
            report.to_text(),
            "\
www.a. A: SERVFAIL, after 1500 ms
  EDE 22 (no reachable authority): a.: 192.0.2.1 timed out

the way (milliseconds since the start):
     0.0  ask www.a. A (answer): failed: a.: 192.0.2.1 timed out
     0.0    zone a.: 1 name servers, 1 addresses (network)
     0.0      ! 192.0.2.1 (ns.a.) udp, www.a. A: timed out, late: the next was asked after 400 ms
"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(serde_json::from_value::<TraceReport>(json).unwrap(), report);
    }
}
