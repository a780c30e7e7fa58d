//! The record of one resolution: what was asked of whom, what came back, what was made of it, and why.
//!
//! Why: "it says SERVFAIL" is where an operator's night begins. The reason lies in one of dozens of packets, mirrors, caches and
//! signatures that had a part in it, and all of them are known at the moment at which they are used. So the resolver itself, the
//! one that clients use, writes down what it does when somebody looks on.
//!
//! Model: a [`Trace`] is a place in a record. It is handed down through the work (in the `Budget`, and from each question to its
//! sub-questions); [`Trace::note`] adds an [`Event`] below it and returns the place below that event. Switched off, which is what
//! every client's question has, it is a null pointer: the closures that make events are never called.
//!
//! Events are numbered from 1 in the order in which they began; `parent` is the number of the event that they belong to, 0 for the
//! question itself. In JSON (`holdfast trace --json`, key `events`) each is an object with these keys and those of its kind:
//!
//! | `event` | keys beside `id`, `parent`, `at_ms` | what it says |
//! |---|---|---|
//! | `own` | `zone` | answered here: own zone, or (`zone` null) a special name |
//! | `cached` | `question`, `rcode`, `security`, `left_s` | this link was in the answer cache |
//! | `remembered` | `question`, `errors` | the failure was remembered; nobody was asked (RFC 9520) |
//! | `along` | `question` | the message that answered the question before told this one too |
//! | `joined` | `question` | somebody else's work on the same question was under way, and its outcome was taken |
//! | `ask` | `question`, `purpose`, `outcome` | a question to be put to the zone that knows; its walk lies below it |
//! | `known` | `question`, `origin` | a DS or DNSKEY answer that was kept from before |
//! | `step` | `zone`, `learned_from`, `names`, `addresses` | the walk has come to this zone; its servers as far as known |
//! | `exchange` | `server`, `name`, `transport`, `question`, `edns`, `outcome`, `taken`, `rtt_ms`, `late_ms` | one question to one address; `outcome` null: no answer yet when the record was closed; `late_ms`: the next server was asked after so long |
//! | `mirror` | `zone`, `serial`, `age_s`, `trust`, `why`, `outcome` | the local copy answered this step |
//! | `retained` | `zone`, `given_by`, `age_s` | servers of the parent cannot be reached, so the delegation that they gave last is used |
//! | `stale` | `question`, `rcode`, `ran_out_s`, `why`, `kind`, `from` | no new data could be had, so that of before is answered, which ran out so many seconds ago; `kind`: `unreachable`, `failing`, `late`, `bogus`, `overload`; `from`: `memory` or `disk` |
//! | `retained_addresses` | `name`, `addresses` | addresses of a name server could not be looked up, so those found last are used |
//! | `referral` | `zone`, `from`, `names`, `ds` | a zone below knows more; `ds`: `signed`, `unsigned`, `not told` |
//! | `back` | `zone` | the servers of a known delegation failed, so the parent is asked anew |
//! | `alias` | `from`, `to` | the answer goes on at another name |
//! | `validate` | `question`, `outcome`, `signatures`, `errors` | the judgement of an answer; its links lie below it |
//! | `link` | `zone`, `state`, `key_tags`, `why` | one link of the chain: `state` is `anchor`, `signed` (its DS set is good), `secure` (its keys are), `insecure` or `bad` |
//! | `again` | `question`, `why` | the answer was bogus and is asked for from others |
//!
//! Keys and kinds are only ever added.
//!
//! Failure: a record takes [`EVENTS_MAX`] events; what comes after is counted and dropped.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Now;
use crate::resolve::interpret::{Referral, Said};
use crate::resolve::{LocalTrust, MirrorNote, Origin, Response, Security};

/// Events in one record: a question may cost 100 packets and 48 sub-questions.
pub const EVENTS_MAX: usize = 1000;

/// One event of a resolution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number, from 1.
    pub id: u32,
    /// The event that it belongs to; 0 for none.
    pub parent: u32,
    /// Milliseconds since the record began.
    pub at_ms: f64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. The table at the top of this file says what the keys mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum What {
    /// Answered here: own zone, or (`zone` null) a special name.
    Own { zone: Option<String> },
    /// This link was in the answer cache.
    Cached {
        question: String,
        rcode: String,
        security: String,
        left_s: u32,
    },
    /// The failure was remembered; nobody was asked (RFC 9520).
    Remembered {
        question: String,
        errors: Vec<String>,
    },
    /// The message that answered the question before told this one too.
    Along { question: String },
    /// Somebody else's work on the same question was under way, and its outcome was taken.
    Joined { question: String },
    /// A question to be put to the zone that knows; its walk lies below it.
    Ask {
        question: String,
        purpose: String,
        outcome: Option<String>,
    },
    /// A DS or DNSKEY answer that was kept from before.
    Known { question: String, origin: String },
    /// The walk has come to this zone; its servers as far as known.
    Step {
        zone: String,
        learned_from: String,
        names: usize,
        addresses: usize,
    },
    /// One question to one address; `outcome` null: no answer yet when the record was closed; `late_ms`: the next server was asked after so long.
    Exchange {
        server: IpAddr,
        name: Option<String>,
        transport: String,
        question: String,
        edns: bool,
        outcome: Option<String>,
        taken: bool,
        rtt_ms: Option<f64>,
        late_ms: Option<f64>,
    },
    /// The local copy answered this step.
    Mirror {
        zone: String,
        serial: u32,
        age_s: u64,
        trust: String,
        why: String,
        outcome: String,
    },
    /// Servers of the parent cannot be reached, so the delegation that they gave last is used.
    Retained {
        zone: String,
        given_by: String,
        age_s: u64,
    },
    /// Addresses of a name server could not be looked up, so those found last are used.
    RetainedAddresses { name: String, addresses: usize },
    /// No new data could be had, so that of before is answered, which ran out so many seconds ago.
    Stale {
        question: String,
        rcode: String,
        ran_out_s: u64,
        why: String,
        kind: String,
        from: String,
    },
    /// A zone below knows more; `ds`: `signed`, `unsigned`, `not told`.
    Referral {
        zone: String,
        from: String,
        names: Vec<String>,
        ds: String,
    },
    /// The servers of a known delegation failed, so the parent is asked anew.
    Back { zone: String },
    /// The answer goes on at another name.
    Alias { from: String, to: String },
    /// The judgement of an answer; its links lie below it.
    Validate {
        question: String,
        outcome: Option<String>,
        signatures: Vec<String>,
        errors: Vec<String>,
    },
    /// One link of the chain: `state` is `anchor`, `signed` (its DS set is good), `secure` (its keys are), `insecure` or `bad`.
    Link {
        zone: String,
        state: String,
        key_tags: Vec<u16>,
        why: String,
    },
    /// The answer was bogus and is asked for from others.
    Again { question: String, why: String },
}

/// A place in a record, or nowhere. Clones are the same place.
#[derive(Debug, Clone, Default)]
pub struct Trace(Option<Place>);

#[derive(Debug, Clone)]
struct Place {
    record: Arc<Record>,
    at: u32,
}

#[derive(Debug)]
struct Record {
    started: Duration,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    events: Vec<Event>,
    dropped: u64,
}

impl Trace {
    /// Nobody looks on.
    pub fn off() -> Trace {
        Trace(None)
    }

    /// The top of a new record.
    pub fn recording(now: Now) -> Trace {
        Trace(Some(Place {
            record: Arc::new(Record {
                started: now.mono,
                rows: Mutex::default(),
            }),
            at: 0,
        }))
    }

    /// Whether somebody looks on.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes an event below this place; returns the place below the event.
    pub fn note(&self, now: Now, what: impl FnOnce() -> What) -> Trace {
        let Some(place) = &self.0 else {
            return Trace(None);
        };
        let mut rows = place.record.rows();
        if rows.events.len() >= EVENTS_MAX {
            rows.dropped += 1;
            // What would have been below it shows above.
            return self.clone();
        }
        let id = rows.events.len() as u32 + 1;
        rows.events.push(Event {
            id,
            parent: place.at,
            at_ms: ms(now.mono.saturating_sub(place.record.started)),
            what: what(),
        });
        Trace(Some(Place {
            record: place.record.clone(),
            at: id,
        }))
    }

    /// Completes the event that this place is below.
    pub fn amend(&self, change: impl FnOnce(&mut What)) {
        let Some(place) = &self.0 else {
            return;
        };
        let mut rows = place.record.rows();
        let at = (place.at as usize).checked_sub(1);
        if let Some(event) = at.and_then(|at| rows.events.get_mut(at)) {
            change(&mut event.what);
        }
    }

    /// The outcome of an [`What::Ask`].
    pub fn end_ask<E: std::fmt::Display>(&self, result: &Result<Response, E>) {
        self.amend(|what| {
            if let What::Ask { outcome, .. } = what {
                *outcome = Some(match result {
                    Ok(response) => response_words(response),
                    Err(failure) => format!("failed: {failure}"),
                });
            }
        });
    }

    /// Everything written so far, and how many events found no place.
    pub fn events(&self) -> (Vec<Event>, u64) {
        let Some(place) = &self.0 else {
            return Default::default();
        };
        let rows = place.record.rows();
        (rows.events.clone(), rows.dropped)
    }
}

impl Record {
    fn rows(&self) -> MutexGuard<'_, Rows> {
        // Sound between any two operations.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds to a tenth.
pub fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

/// `secure`, `secure as of its verification`, `insecure`, `bogus`.
pub fn security_word(security: &Security) -> &'static str {
    match security {
        Security::Secure => "secure",
        Security::SecureAsOf => "secure as of its verification",
        Security::Insecure => "insecure",
        Security::Bogus(_) => "bogus",
    }
}

/// What a copy may vouch for.
pub fn trust_word(trust: LocalTrust) -> &'static str {
    match trust {
        LocalTrust::Secure => "secure",
        LocalTrust::SecureAsOf => "secure as of its verification",
        LocalTrust::Insecure => "not verified",
    }
}

/// Who said something.
pub fn origin_words(origin: &Origin) -> String {
    match origin {
        Origin::Network(server) => server.to_string(),
        Origin::Mirror(MirrorNote { zone, serial, .. }) => format!("mirror {zone} serial {serial}"),
    }
}

/// `NOERROR, A and 2 more sets`, `NXDOMAIN`, `NOERROR without data`.
pub fn response_words(response: &Response) -> String {
    let types: Vec<String> = (response.answer.iter())
        .map(|set| format!("{} ({})", set.rtype, set.rdatas.len()))
        .collect();
    let rcode = response.rcode;
    match types.is_empty() {
        true if rcode == crate::dns::Rcode::NOERROR => format!("{rcode}, no such data"),
        true => rcode.to_string(),
        false => format!("{rcode}, {}", types.join(", ")),
    }
}

/// What a server's message meant, and whether it was of use.
pub fn said_words(said: &Said) -> (String, bool) {
    match said {
        Said::Answer(response) | Said::Apex(response, _) => (response_words(response), true),
        Said::Referral(Referral { delegation, .. }) => {
            (format!("referral to {}", delegation.zone), true)
        }
        Said::Truncated => ("truncated, asked again over TCP".into(), false),
        Said::Lame(why) => (format!("lame: {why}"), false),
        Said::Failed(what) => (what.clone(), false),
        Said::Silent => ("timed out".into(), false),
        Said::Unreachable(why) => (format!("unreachable: {why}"), false),
        Said::NotSent(why) => (format!("not sent: {why}"), false),
        Said::EdnsRefused(_) => ("EDNS refused, asked again with less of it".into(), false),
        Said::CookieRefused => ("cookie refused, asked again".into(), false),
        Said::Doubtful(doubt) => (format!("doubtful ({doubt:?}), asked again over TCP"), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(n: usize) -> What {
        What::Alias {
            from: n.to_string(),
            to: String::new(),
        }
    }

    #[test]
    fn a_record_is_a_tree_bounded_in_events() {
        let trace = Trace::recording(Now::default());
        let below = trace.note(Now::new(Duration::from_millis(5), 0), || alias(1));
        let (first, _) = trace.events();
        assert_eq!((first[0].id, first[0].parent, first[0].at_ms), (1, 0, 5.0));
        for n in 0..EVENTS_MAX + 9 {
            below.note(Now::default(), || alias(n));
        }
        below.amend(|what| *what = alias(77));
        let (events, dropped) = trace.events();
        assert_eq!((events.len(), dropped), (EVENTS_MAX, 10));
        assert_eq!((events[1].parent, &events[0].what), (1, &alias(77)));
    }

    #[test]
    fn nobody_looking_on_costs_no_event() {
        let off = Trace::off();
        off.note(Now::default(), || unreachable!())
            .amend(|_| unreachable!());
        assert_eq!(off.events(), (Vec::new(), 0));
    }

    /// The form that scripts read.
    #[test]
    fn an_event_is_one_flat_object() {
        let trace = Trace::recording(Now::default());
        trace.note(Now::default(), || What::Own { zone: None });
        let json = serde_json::to_value(&trace.events().0[0]).unwrap();
        let expected =
            serde_json::json!({"id": 1, "parent": 0, "at_ms": 0.0, "event": "own", "zone": null});
        assert_eq!(json, expected);
        assert_eq!(
            serde_json::from_value::<Event>(json).unwrap(),
            trace.events().0[0]
        );
    }

    /// What happened lies flat beside the event's own keys, so it may have none of theirs.
    #[test]
    fn the_event_of_a_retained_delegation_can_be_read_back() {
        let trace = Trace::recording(Now::default());
        trace.note(Now::default(), || What::Retained {
            zone: "a.b.".into(),
            given_by: "b.".into(),
            age_s: 1,
        });
        let text = serde_json::to_string(&trace.events().0[0]).unwrap();
        let read = serde_json::from_str::<Event>(&text).unwrap();
        assert_eq!(read, trace.events().0[0]);
    }
}
