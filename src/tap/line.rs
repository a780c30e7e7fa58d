//! A line of the query log: one for each query that is answered, when it is.
//!
//! ```text
//!   2026-08-01T12:00:00.123Z 192.0.2.7#40123 udp www.example. IN A +EDC NOERROR 0.000123 84
//!   when it came, who asked, how, what, flags, answer's code, seconds until it was made, octets of it
//! ```
//!
//! Flags: `+` recursion desired, else `-`; `E` EDNS, `D` DNSSEC records wanted (DO), `C` checking disabled (CD). A query that got no answer in one
//! message (dropped, or a transfer) has `-` and 0; what could not be read of a query is `-`. With `log.format = "json"` the same as an object.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::clock::format_utc;
use crate::config::LogFormat;
use crate::dns::Message;
use crate::query::Transport;
use crate::query::watch::Seen;

/// A query and its answer.
pub(super) struct Event {
    seen: Seen,
    answer: Option<Vec<u8>>,
    took: Duration,
}

#[derive(Serialize)]
struct Line {
    at: String,
    client: String,
    port: u16,
    transport: &'static str,
    name: String,
    class: String,
    #[serde(rename = "type")]
    rtype: String,
    flags: String,
    rcode: String,
    seconds: f64,
    size: usize,
}

impl Event {
    pub(super) fn new(seen: Seen, answer: Option<&[u8]>, took: Duration) -> Event {
        Event {
            seen,
            answer: answer.map(<[u8]>::to_vec),
            took,
        }
    }

    /// Octets that it holds.
    pub(super) fn len(&self) -> usize {
        size_of::<Event>() + self.seen.query.len() + self.answer.as_ref().map_or(0, Vec::len)
    }

    /// Appends its line.
    pub(super) fn write(&self, format: LogFormat, out: &mut String) {
        let line = self.line();
        match format {
            LogFormat::Text => {
                let _ = write!(
                    out,
                    "{} {}#{} {} {} {} {} {} {} {:.6} {}",
                    line.at,
                    line.client,
                    line.port,
                    line.transport,
                    line.name,
                    line.class,
                    line.rtype,
                    line.flags,
                    line.rcode,
                    line.seconds,
                    line.size
                );
            }
            // Text and numbers have a form in JSON always.
            LogFormat::Json => out.push_str(&serde_json::to_string(&line).unwrap_or_default()),
        }
        out.push('\n');
    }

    fn line(&self) -> Line {
        let query = Message::parse(&self.seen.query).ok();
        let question = query.as_ref().and_then(|query| query.question.as_ref());
        let unknown = || "-".to_owned();
        let answer = self.answer.as_deref();
        let rcode = answer.map(|answer| match Message::parse(answer) {
            Ok(message) => message.rcode.to_string(),
            Err(_) => unknown(),
        });
        let client = &self.seen.client;
        Line {
            at: moment(self.seen.wall),
            client: client.addr.ip().to_canonical().to_string(),
            port: client.addr.port(),
            transport: transport(client.transport),
            name: question.map_or_else(unknown, |q| q.name.to_string()),
            class: question.map_or_else(unknown, |q| q.class.to_string()),
            rtype: question.map_or_else(unknown, |q| q.rtype.to_string()),
            flags: query.as_ref().map_or_else(unknown, flags),
            rcode: rcode.unwrap_or_else(unknown),
            seconds: self.took.as_micros() as f64 / 1e6,
            size: answer.map_or(0, <[u8]>::len),
        }
    }
}

/// `2026-08-01T12:00:00.123Z`
fn moment(wall: Duration) -> String {
    let seconds = format_utc(wall.as_secs());
    let seconds = seconds.trim_end_matches('Z');
    format!("{seconds}.{:03}Z", wall.subsec_millis())
}

fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls { .. } => "tls",
        Transport::Https => "https",
        Transport::Quic => "quic",
    }
}

fn flags(query: &Message) -> String {
    let mut flags = String::from(if query.recursion_desired { "+" } else { "-" });
    let edns = query.edns.as_ref();
    let letters = [
        (edns.is_some(), 'E'),
        (edns.is_some_and(|edns| edns.dnssec_ok), 'D'),
        (query.checking_disabled, 'C'),
    ];
    flags.extend(
        letters
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, letter)| letter),
    );
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::message::MESSAGE_LEN_MAX;
    use crate::dns::{Edns, Question, Rcode, Rtype};
    use crate::query::Client;

    fn event(query: Vec<u8>, answer: Option<&[u8]>) -> Event {
        let seen = Seen {
            query,
            client: Client::new("[::ffff:192.0.2.7]:40123".parse().unwrap(), Transport::Udp),
            at: Duration::ZERO,
            wall: Duration::from_millis(1_785_585_600_123),
        };
        Event::new(seen, answer, Duration::from_micros(123))
    }

    fn text(event: &Event, format: LogFormat) -> String {
        let mut out = String::new();
        event.write(format, &mut out);
        out
    }

    #[test]
    fn a_line_says_who_asked_what_and_got_what() {
        let question = Question::new("a\\032b.Example.".parse().unwrap(), Rtype::MX);
        let mut query = Message::query(7, question);
        query.checking_disabled = true;
        query.recursion_desired = true;
        query.edns = Some(Edns::new(1232, true));
        let wire = query.encode(MESSAGE_LEN_MAX);
        let answer = query.reply(Rcode::NXDOMAIN).encode(MESSAGE_LEN_MAX);
        let event = event(wire, Some(&answer));
        let len = answer.len();
        assert_eq!(
            text(&event, LogFormat::Text),
            format!(
                "2026-08-01T12:00:00.123Z 192.0.2.7#40123 udp a\\032b.Example. IN MX +EDC NXDOMAIN 0.000123 {len}\n"
            )
        );
        let json: serde_json::Value = serde_json::from_str(&text(&event, LogFormat::Json)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "at": "2026-08-01T12:00:00.123Z", "client": "192.0.2.7", "port": 40123, "transport": "udp", "name": "a\\032b.Example.",
                "class": "IN", "type": "MX", "flags": "+EDC", "rcode": "NXDOMAIN", "seconds": 0.000123, "size": len
            })
        );
    }

    #[test]
    fn what_cannot_be_read_has_a_line_too() {
        assert_eq!(
            text(&event(b"\0\x01noise".to_vec(), None), LogFormat::Text),
            "2026-08-01T12:00:00.123Z 192.0.2.7#40123 udp - - - - - 0.000123 0\n"
        );
    }
}
