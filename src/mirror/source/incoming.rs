//! A transfer under way, without its socket: message after message becomes records of a zone, or changes to one.
//!
//! ```text
//! Start --SOA--> Zone ------------------------------ SOA --> Whole       asked for all of it (RFC 5936)
//! Start --SOA--> Opened --other record--> Zone                            asked for changes, and got all of it
//!                       --SOA held------> Changes -- SOA --> Changed      (RFC 1995 section 4)
//!                       --end of message--> Fault::Alone                  the changes are not to be had
//! Start --SOA not newer---------------------------------> Current
//! ```
//! Records of a whole zone are passed on as they come; changes are folded together (`ixfr`) and given at the end.

use super::axfr::{Fault, Mismatch};
use super::ixfr::Deltas;
use crate::dns::tsig::{self, Verifier};
use crate::dns::{Class, Message, Name, Question, Rcode, Record, Rtype, Soa, WireError};
use crate::zone::Changes;

/// Takes the records of a whole zone; an error ends the transfer.
pub(super) type Sink<'a> = dyn FnMut(Record) -> Result<(), Fault> + Send + 'a;

/// A question that was sent, and what its answer must show.
pub(super) struct Asked {
    pub id: u16,
    pub question: Question,
    /// Set where the question was signed: so must be the answer.
    pub verifier: Option<Verifier>,
}

impl Asked {
    /// Reads the next message of the answer.
    pub(super) fn read(&mut self, bytes: &[u8], now_s: u64) -> Result<Message, Fault> {
        if let Some(verifier) = &mut self.verifier
            && let Err(fault) = verifier.take(bytes, now_s)
        {
            return Err(unverified(fault, bytes));
        }
        let message = Message::parse(bytes)?;
        self.check_header(&message)?;
        Ok(message)
    }

    /// After the last message.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        let finished = self.verifier.as_ref().map_or(Ok(()), Verifier::finish);
        finished.map_err(Fault::Tsig)
    }

    /// What every answer must show. One without question is let pass: the messages of a transfer after the first may be
    /// so (RFC 5936 section 2.2.2), and the ID and the connection say whose answer it is.
    fn check_header(&self, message: &Message) -> Result<(), Fault> {
        if message.id != self.id {
            return Err(Fault::Mismatch(Mismatch::Id));
        }
        if !message.response || message.opcode != 0 {
            return Err(Fault::Mismatch(Mismatch::Header));
        }
        if message.rcode != Rcode::NOERROR {
            return Err(Fault::Rcode(message.rcode));
        }
        if message.truncated {
            return Err(Fault::Mismatch(Mismatch::Truncated));
        }
        match &message.question {
            Some(got) if *got != self.question => Err(Fault::Mismatch(Mismatch::Question)),
            _ => Ok(()),
        }
    }
}

/// A refusal without signature is a refusal all the same, and says more than that it lacks one.
fn unverified(fault: tsig::Fault, bytes: &[u8]) -> Fault {
    let rcode = Message::parse(bytes).map_or(Rcode::NOERROR, |message| message.rcode);
    match fault {
        tsig::Fault::Unsigned if rcode != Rcode::NOERROR => Fault::Rcode(rcode),
        other => Fault::Tsig(other),
    }
}

/// What a transfer brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Brought {
    /// The whole zone with this serial; its records were passed on.
    Whole(u32),
    /// What changed since the version that is held.
    Changed(Changes),
    /// Nothing: this serial is the newest.
    Current(u32),
}

/// Which version is held, where changes to it are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Basis {
    pub serial: u32,
    /// Octets that the changes may take in memory.
    pub bytes_max: u64,
}

/// The transfer's state.
pub(super) struct Incoming<'a> {
    zone: &'a Name,
    basis: Option<Basis>,
    state: State,
    /// Records outside the zone, which were left out.
    outside: u64,
    /// Records that were passed on.
    passed: u64,
}

enum State {
    Start,
    /// The SOA of the newest version has come, and what follows shows what it opened.
    Opened(Record),
    /// The whole zone, opened by this SOA.
    Zone(Record),
    Changes(Box<Deltas>),
}

impl<'a> Incoming<'a> {
    /// All of `zone`, or what changed since `basis`.
    pub(super) fn new(zone: &'a Name, basis: Option<Basis>) -> Incoming<'a> {
        Incoming {
            zone,
            basis,
            state: State::Start,
            outside: 0,
            passed: 0,
        }
    }

    /// Whether records of a zone were passed on: then there is no way back to another kind of transfer.
    pub(super) fn has_passed(&self) -> bool {
        self.passed > 0
    }

    /// Takes one message; what the transfer brought once it is complete.
    pub(super) fn take(
        &mut self,
        message: Message,
        sink: &mut Sink<'_>,
    ) -> Result<Option<Brought>, Fault> {
        if message.answer.is_empty() {
            return Err(Fault::Mismatch(Mismatch::NoSoa));
        }
        let is_single = message.answer.len() == 1;
        let mut records = message.answer.into_iter();
        while let Some(record) = records.next() {
            if let Some(brought) = self.record(record, sink)? {
                // RFC 5936 section 2.2: the second SOA ends the transfer.
                return match records.next() {
                    None => Ok(Some(brought)),
                    Some(_) => Err(not_a_zone("records after the closing SOA")),
                };
            }
        }
        // RFC 1995 section 2: so a server says that the changes do not fit, where it answers over TCP as over UDP. It may also be the
        // head of a stream with one record in each message; nobody sends changes so, and the whole zone is right in either case.
        match self.state {
            State::Opened(_) if is_single => Err(Fault::Alone),
            _ => Ok(None),
        }
    }

    fn record(&mut self, record: Record, sink: &mut Sink<'_>) -> Result<Option<Brought>, Fault> {
        if record.class != Class::IN {
            return Err(not_a_zone("a record of a class other than IN"));
        }
        let is_soa = record.rtype == Rtype::SOA && record.name == *self.zone;
        match std::mem::replace(&mut self.state, State::Start) {
            State::Start if !is_soa => Err(Fault::Mismatch(Mismatch::NoSoa)),
            State::Start => self.open(record, sink),
            State::Opened(opening) => self.go_on(opening, record, is_soa, sink),
            State::Zone(opening) => self.zone_record(opening, record, is_soa, sink),
            State::Changes(mut deltas) => {
                if self.is_outside(&record) {
                    self.state = State::Changes(deltas);
                    return Ok(None);
                }
                let changes = deltas.take(record, is_soa)?;
                self.state = State::Changes(deltas);
                Ok(changes.map(Brought::Changed))
            }
        }
    }

    /// The first SOA.
    fn open(&mut self, soa: Record, sink: &mut Sink<'_>) -> Result<Option<Brought>, Fault> {
        let Some(basis) = self.basis else {
            self.pass(soa.clone(), sink)?;
            self.state = State::Zone(soa);
            return Ok(None);
        };
        let serial = serial(&soa)?;
        // RFC 1995 section 2: a single SOA that is not newer says that there is nothing to have.
        if !Soa::serial_newer(serial, basis.serial) {
            return Ok(Some(Brought::Current(serial)));
        }
        self.state = State::Opened(soa);
        Ok(None)
    }

    /// The record after the first SOA of an answer to IXFR (RFC 1995 section 4).
    fn go_on(
        &mut self,
        opening: Record,
        record: Record,
        is_soa: bool,
        sink: &mut Sink<'_>,
    ) -> Result<Option<Brought>, Fault> {
        let Some(basis) = self
            .basis
            .filter(|_| is_soa && record.rdata != opening.rdata)
        else {
            self.pass(opening.clone(), sink)?;
            return self.zone_record(opening, record, is_soa, sink);
        };
        let deltas = Deltas::begin(opening, record, basis.serial, basis.bytes_max)?;
        self.state = State::Changes(Box::new(deltas));
        Ok(None)
    }

    fn zone_record(
        &mut self,
        opening: Record,
        record: Record,
        is_soa: bool,
        sink: &mut Sink<'_>,
    ) -> Result<Option<Brought>, Fault> {
        if is_soa {
            if opening.rdata != record.rdata {
                return Err(Fault::Changed);
            }
            if self.outside > 0 {
                tracing::debug!(zone = %self.zone, records = self.outside,
                    "transfer had records outside the zone; left out");
            }
            return Ok(Some(Brought::Whole(serial(&record)?)));
        }
        self.state = State::Zone(opening);
        if !self.is_outside(&record) {
            self.pass(record, sink)?;
        }
        Ok(None)
    }

    /// What is outside the zone is nothing that its server can say; as other secondaries do, leave it out.
    fn is_outside(&mut self, record: &Record) -> bool {
        let outside = !record.name.is_within(self.zone);
        self.outside += u64::from(outside);
        outside
    }

    fn pass(&mut self, record: Record, sink: &mut Sink<'_>) -> Result<(), Fault> {
        self.passed += 1;
        sink(record)
    }
}

fn serial(soa: &Record) -> Result<u32, WireError> {
    let soa = Soa::parse(&soa.rdata).ok_or(WireError::BadRdata)?;
    Ok(soa.serial)
}

fn not_a_zone(why: &str) -> Fault {
    Fault::NotAZone(why.to_owned())
}
