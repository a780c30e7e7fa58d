//! Zone transfers (RFC 5936) over TCP.
//!
//! Why an own client: a version must arrive whole or not at all, from a peer that may be slow, wrong or hostile, in
//! bounded time and memory, and records must go straight into the image builder, not through a list of everything.
//!
//! Model: [`fetch`] asks the server for its SOA, compares serials (RFC 1982), and only for a newer one asks for the
//! zone, on the same connection where the server leaves it open. `Incoming` is the transfer's state without the
//! socket: it takes message after message and passes on records until the closing SOA.
//!
//! Failure: every error names the step and is worded without numbers that change from try to try, so that it is
//! logged once. A transfer is limited in bytes, in time as a whole, in time for each message, and in its slowest
//! allowed progress.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{Connect, Stream, tls};
use crate::clock::Clock;
use crate::dns::{Class, Message, Name, Question, Rcode, Record, Rtype, Soa, WireError};

/// Longest wait for a connection, in seconds.
pub const CONNECT_TIME_MAX_S: u64 = 5;
/// Longest wait for one message, from its first octet asked for to its last received, in seconds.
pub const MESSAGE_TIME_MAX_S: u64 = 20;
/// A transfer must bring [`PROGRESS_BYTES_MIN`] in each such time, in seconds.
pub const PROGRESS_WINDOW_S: u64 = 60;
/// See [`PROGRESS_WINDOW_S`].
pub const PROGRESS_BYTES_MIN: u64 = 4096;

const _: () = assert!(MESSAGE_TIME_MAX_S < PROGRESS_WINDOW_S);

/// What a transfer may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Octets received.
    pub bytes_max: u64,
    /// Time for all of it.
    pub time_max: Duration,
}

/// Which versions are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Want {
    /// Only one newer than this; `None` = any.
    pub newer_than: Option<u32>,
    /// Not this one: it is held for the operator already.
    pub except: Option<u32>,
}

/// What a source said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// It has the serial that newer ones are wanted of.
    Same,
    /// It has the one that is not wanted.
    Excepted(u32),
    /// It has an older one.
    Older(u32),
    /// It had a newer one, and all its records were passed on.
    Newer(u32),
}

/// Why a source brought no version, by the step at which it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No connection.
    #[error("connect: {0}")]
    Connect(Fault),
    /// The question for the SOA.
    #[error("soa query: {0}")]
    SoaQuery(Fault),
    /// The transfer.
    #[error("transfer: {0}")]
    Transfer(Fault),
}

/// What went wrong with a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The network said no.
    #[error("{0}")]
    Io(io::ErrorKind),
    /// The other end proves nothing, or not what it must.
    #[error("TLS: {0}")]
    Tls(String),
    /// It speaks no HTTP.
    #[error("{0}")]
    Http(String),
    /// Nothing came for too long.
    #[error("stalled: nothing for {0} s")]
    Stalled(u64),
    /// It came, but too slowly.
    #[error("too slow: under {PROGRESS_BYTES_MIN} bytes in {PROGRESS_WINDOW_S} s")]
    TooSlow,
    /// The connection ended before the closing SOA.
    #[error("truncated: the connection was closed before the end")]
    Truncated,
    /// More octets than are allowed.
    #[error("limit: larger than {0} bytes (bytes_max, or the memory that is free)")]
    TooLarge(u64),
    /// It took longer than is allowed.
    #[error("limit: longer than {0} s (transfer_time_max_s)")]
    TooLong(u64),
    /// A message that is none.
    #[error("malformed message: {0}")]
    Malformed(#[from] WireError),
    /// A message that answers something else.
    #[error("not an answer to the question: {0}")]
    Mismatch(Mismatch),
    /// The server refuses or fails.
    #[error("refused: the server answers {0}")]
    Rcode(Rcode),
    /// The records are no zone.
    #[error("not a zone: {0}")]
    NotAZone(String),
    /// The SOA at the end is not that at the start.
    #[error("the zone changed during the transfer")]
    Changed,
}

impl Fault {
    /// What an error of a connection is.
    pub fn of(error: &io::Error) -> Fault {
        match tls::fault_of(error) {
            Some(text) => Fault::Tls(text),
            None => Fault::Io(error.kind()),
        }
    }

    /// The same, once something has come over it.
    pub(super) fn midway(error: &io::Error) -> Fault {
        match Fault::of(error) {
            Fault::Io(
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe,
            ) => Fault::Truncated,
            other => other,
        }
    }
}

/// How a message is no answer to the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// Another identifier.
    Id,
    /// Not a response, or another opcode.
    Header,
    /// Another question.
    Question,
    /// TC is set, which TCP never needs.
    Truncated,
    /// Answer section empty, or without the SOA asked for.
    NoSoa,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mismatch::Id => "wrong ID",
            Mismatch::Header => "not a response to a query",
            Mismatch::Question => "wrong question",
            Mismatch::Truncated => "TC is set",
            Mismatch::NoSoa => "no SOA record where one must be",
        })
    }
}

/// Asks `server` for a version of `zone`. Each record of it, the SOA once, goes to `sink`, whose error ends the transfer.
///
/// # Errors
/// The step that failed and how. `sink` may then have got part of a zone.
pub async fn fetch(
    (connect, clock): (&dyn Connect, &Clock),
    server: SocketAddr,
    zone: &Name,
    want: Want,
    limits: Limits,
    ids: [u16; 2],
    sink: &mut (dyn FnMut(Record) -> Result<(), Fault> + Send),
) -> Result<Fetched, FetchError> {
    let mut link = Link::open(connect, server).await?;
    let soa = timeout(limits.time_max, link.ask_soa(zone, ids[0]))
        .await
        .unwrap_or_else(|_| Err(too_long(limits)))
        .map_err(FetchError::SoaQuery)?;
    if let Some(other) = want.judge(soa.serial) {
        return Ok(other);
    }
    let mut progress = Progress::new(clock, limits.bytes_max);
    // The first message counts too: a server may stall before it as well as after it.
    let transfer = async {
        let first = match link.start_transfer(zone, ids[1]).await {
            // Some servers take one question per connection: once more on a fresh one.
            Err(Fault::Truncated | Fault::Io(_)) => {
                link = Link::open(connect, server).await?;
                link.start_transfer(zone, ids[1]).await
            }
            other => other,
        };
        let first = first.map_err(FetchError::Transfer)?;
        link.receive(first, Incoming::new(zone, ids[1]), &mut progress, sink)
            .await
            .map_err(FetchError::Transfer)
    };
    let serial = timeout(limits.time_max, transfer)
        .await
        .unwrap_or_else(|_| Err(FetchError::Transfer(too_long(limits))))?;
    // The zone may have moved on since the SOA query, but not back.
    Ok(want.judge(serial).unwrap_or(Fetched::Newer(serial)))
}

impl Want {
    /// What a serial that is not wanted is; `None` for one that is. RFC 1982 section 3.2: a distance of 2^31 has no
    /// order, and counts as older here.
    pub fn judge(self, serial: u32) -> Option<Fetched> {
        match self.newer_than {
            Some(held) if held == serial => Some(Fetched::Same),
            Some(held) if !Soa::serial_newer(serial, held) => Some(Fetched::Older(serial)),
            _ if self.except == Some(serial) => Some(Fetched::Excepted(serial)),
            _ => None,
        }
    }
}

fn too_long(limits: Limits) -> Fault {
    Fault::TooLong(limits.time_max.as_secs())
}

/// Octets received, in all and in the present window.
pub(super) struct Progress<'a> {
    clock: &'a Clock,
    bytes_max: u64,
    received: u64,
    window: (Duration, u64),
}

impl<'a> Progress<'a> {
    pub(super) fn new(clock: &'a Clock, bytes_max: u64) -> Progress<'a> {
        Progress {
            clock,
            bytes_max,
            received: 0,
            window: (clock.now().mono, 0),
        }
    }

    /// Counts a message of `len` octets.
    pub(super) fn add(&mut self, len: usize) -> Result<(), Fault> {
        self.received += len as u64 + 2;
        if self.received > self.bytes_max {
            return Err(Fault::TooLarge(self.bytes_max));
        }
        let (since, before) = self.window;
        let now = self.clock.now().mono;
        if now - since >= Duration::from_secs(PROGRESS_WINDOW_S) {
            if self.received - before < PROGRESS_BYTES_MIN {
                return Err(Fault::TooSlow);
            }
            self.window = (now, self.received);
        }
        Ok(())
    }
}

/// A connection that speaks DNS messages.
struct Link {
    stream: Box<dyn Stream>,
}

impl Link {
    async fn open(connect: &dyn Connect, server: SocketAddr) -> Result<Link, FetchError> {
        let limit = Duration::from_secs(CONNECT_TIME_MAX_S);
        match timeout(limit, connect.connect(server)).await {
            Ok(Ok(stream)) => Ok(Link { stream }),
            Ok(Err(error)) => Err(FetchError::Connect(Fault::of(&error))),
            Err(_) => Err(FetchError::Connect(Fault::Stalled(CONNECT_TIME_MAX_S))),
        }
    }

    async fn ask_soa(&mut self, zone: &Name, id: u16) -> Result<Soa, Fault> {
        let question = Question::new(zone.clone(), Rtype::SOA);
        self.send(id, &question).await?;
        let message = Message::parse(&self.read_message().await?)?;
        check_header(&message, id, &question)?;
        (message.answer.iter())
            .find(|r| r.rtype == Rtype::SOA && r.name == *zone && r.class == Class::IN)
            .and_then(|r| Soa::parse(&r.rdata))
            .ok_or(Fault::Mismatch(Mismatch::NoSoa))
    }

    /// Asks for the zone and returns the first message of the answer.
    async fn start_transfer(&mut self, zone: &Name, id: u16) -> Result<Vec<u8>, Fault> {
        let question = Question::new(zone.clone(), Rtype::AXFR);
        self.send(id, &question).await?;
        self.read_message().await
    }

    /// Reads messages until the closing SOA; returns the zone's serial.
    async fn receive(
        &mut self,
        first: Vec<u8>,
        mut incoming: Incoming<'_>,
        progress: &mut Progress<'_>,
        sink: &mut (dyn FnMut(Record) -> Result<(), Fault> + Send),
    ) -> Result<u32, Fault> {
        let mut bytes = first;
        loop {
            progress.add(bytes.len())?;
            if let Some(serial) = incoming.take(&bytes, sink)? {
                return Ok(serial);
            }
            bytes = self.read_message().await?;
        }
    }

    async fn send(&mut self, id: u16, question: &Question) -> Result<(), Fault> {
        let message = Message::query(id, question.clone()).encode(512);
        let mut framed = (message.len() as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(&message);
        within_message_time(async {
            self.stream.write_all(&framed).await?;
            self.stream.flush().await
        })
        .await
    }

    async fn read_message(&mut self) -> Result<Vec<u8>, Fault> {
        within_message_time(async {
            let len = self.stream.read_u16().await?;
            let mut bytes = vec![0; usize::from(len)];
            self.stream.read_exact(&mut bytes).await?;
            Ok(bytes)
        })
        .await
    }
}

async fn within_message_time<T>(work: impl Future<Output = io::Result<T>>) -> Result<T, Fault> {
    match timeout(Duration::from_secs(MESSAGE_TIME_MAX_S), work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Fault::midway(&error)),
        Err(_) => Err(Fault::Stalled(MESSAGE_TIME_MAX_S)),
    }
}

/// What every answer must show. One without question is let pass: the messages of a transfer after the first may be
/// so (RFC 5936 section 2.2.1), and the ID and the connection say whose answer it is.
fn check_header(message: &Message, id: u16, asked: &Question) -> Result<(), Fault> {
    if message.id != id {
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
        Some(got) if got != asked => Err(Fault::Mismatch(Mismatch::Question)),
        _ => Ok(()),
    }
}

/// A transfer under way, without its socket.
struct Incoming<'a> {
    zone: &'a Name,
    question: Question,
    id: u16,
    /// The SOA that opened the transfer.
    opening: Option<Record>,
    outside: u64,
}

impl<'a> Incoming<'a> {
    fn new(zone: &'a Name, id: u16) -> Incoming<'a> {
        Incoming {
            zone,
            question: Question::new(zone.clone(), Rtype::AXFR),
            id,
            opening: None,
            outside: 0,
        }
    }

    /// Takes one message; `Some(serial)` once the zone is complete.
    fn take(
        &mut self,
        bytes: &[u8],
        sink: &mut (dyn FnMut(Record) -> Result<(), Fault> + Send),
    ) -> Result<Option<u32>, Fault> {
        let message = Message::parse(bytes)?;
        check_header(&message, self.id, &self.question)?;
        if message.answer.is_empty() {
            return Err(Fault::Mismatch(Mismatch::NoSoa));
        }
        let mut records = message.answer.into_iter();
        while let Some(record) = records.next() {
            if let Some(serial) = self.record(record, sink)? {
                // RFC 5936 section 2.2: the second SOA ends the transfer.
                return match records.next() {
                    None => Ok(Some(serial)),
                    Some(_) => Err(not_a_zone("records after the closing SOA")),
                };
            }
        }
        Ok(None)
    }

    fn record(
        &mut self,
        record: Record,
        sink: &mut (dyn FnMut(Record) -> Result<(), Fault> + Send),
    ) -> Result<Option<u32>, Fault> {
        if record.class != Class::IN {
            return Err(not_a_zone("a record of a class other than IN"));
        }
        let is_soa = record.rtype == Rtype::SOA && record.name == *self.zone;
        match &self.opening {
            None if !is_soa => return Err(Fault::Mismatch(Mismatch::NoSoa)),
            None => self.opening = Some(record.clone()),
            Some(opening) if is_soa => {
                if opening.rdata != record.rdata {
                    return Err(Fault::Changed);
                }
                let soa = Soa::parse(&record.rdata).ok_or(WireError::BadRdata)?;
                if self.outside > 0 {
                    tracing::debug!(zone = %self.zone, records = self.outside,
                        "transfer had records outside the zone; left out");
                }
                return Ok(Some(soa.serial));
            }
            Some(_) => {}
        }
        // What is outside the zone is nothing that its server can say; as other secondaries do, leave it out.
        if !record.name.is_within(self.zone) {
            self.outside += 1;
            return Ok(None);
        }
        sink(record)?;
        Ok(None)
    }
}

fn not_a_zone(why: &str) -> Fault {
    Fault::NotAZone(why.to_owned())
}
