//! Zone transfers over TCP: whole (RFC 5936) and incremental (RFC 1995), signed (RFC 8945) or plain.
//!
//! Why an own client: a version must arrive whole or not at all, from a peer that may be slow, wrong or hostile, in
//! bounded time and memory, and records must go straight into the image builder, not through a list of everything.
//!
//! Model: [`fetch`] asks the server for its SOA, compares serials (RFC 1982), and only for a newer one asks for what changed, or
//! for the zone, on the same connection where the server leaves it open. `incoming` is the transfer's state without the
//! socket: it takes message after message and passes on records until the closing SOA.
//!
//! Failure: every error names the step and is worded without numbers that change from try to try, so that it is
//! logged once. A transfer is limited in bytes, in time as a whole, in time for each message, and in its slowest
//! allowed progress. Changes that cannot be had, or make no sense, lead to the whole zone; a wrong signature leads nowhere.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::incoming::{Asked, Basis, Brought, Incoming, Sink};
use super::ixfr::DeltaFault;
use super::{Connect, Stream, tls};
use crate::clock::Clock;
use crate::dns::edns::option;
use crate::dns::tsig::{self, Key};
use crate::dns::{Class, Edns, Message, Name, Question, Rcode, Record, Rtype, Soa, WireError};
use crate::zone::Changes;

/// Longest wait for a connection, in seconds.
pub const CONNECT_TIME_MAX_S: u64 = 5;
/// Longest wait for one message, from its first octet asked for to its last received, in seconds.
pub const MESSAGE_TIME_MAX_S: u64 = 20;
/// A transfer must bring [`PROGRESS_BYTES_MIN`] in each such time, in seconds.
pub const PROGRESS_WINDOW_S: u64 = 60;
/// See [`PROGRESS_WINDOW_S`].
pub const PROGRESS_BYTES_MIN: u64 = 4096;

/// Changes may take this much memory, in bytes; beyond it the whole zone is the smaller thing.
pub const CHANGES_BYTES_MAX: u64 = 256 << 20;
/// Longest query before its signature, in octets: two names and a SOA record at their longest.
const QUERY_LEN_MAX: usize = 2048;
/// The size that EDNS must name; it means nothing over TCP.
const EDNS_SIZE: u16 = 1232;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// It has the serial that newer ones are wanted of.
    Same,
    /// It has the one that is not wanted.
    Excepted(u32),
    /// It has an older one.
    Older(u32),
    /// It had a newer one, and all its records were passed on.
    Newer(u32),
    /// It had a newer one, and this leads to it from the one that is held.
    Changed(Box<Changes>),
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
    /// Changes were asked for, and the SOA of the newer version is all that comes.
    #[error("a newer SOA and nothing else")]
    Alone,
    /// The signature of the answer.
    #[error("TSIG: {0}")]
    Tsig(tsig::Fault),
    /// The changes make no sense.
    #[error("not an incremental transfer: {0}")]
    Deltas(#[from] DeltaFault),
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

/// What is asked of a server, and how.
pub struct Order<'a> {
    /// The server.
    pub server: SocketAddr,
    /// The zone.
    pub zone: &'a Name,
    /// Which versions are wanted.
    pub want: Want,
    /// What it may cost.
    pub limits: Limits,
    /// Signs the questions; then the answers must be signed too (RFC 8945).
    pub key: Option<&'a Arc<Key>>,
    /// The SOA record of the version that is held: what changed since is asked for first (RFC 1995).
    pub held: Option<Record>,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its version.
    pub fetched: Fetched,
    /// How long its own copy is good for, in seconds, where it tells (RFC 7314).
    pub expire_s: Option<u32>,
    /// Why the whole zone came although changes were asked for.
    pub no_changes: Option<Fault>,
}

/// Asks a server for a version of a zone. Each record of a whole one, the SOA once, goes to `sink`, whose error ends the
/// transfer; `ids` makes up identifiers.
///
/// # Errors
/// The step that failed and how. `sink` may then have got part of a zone.
pub async fn fetch(
    (connect, clock): (&dyn Connect, &Clock),
    order: &Order<'_>,
    ids: &mut (dyn FnMut() -> u16 + Send),
    sink: &mut Sink<'_>,
) -> Result<Answer, FetchError> {
    let mut link = Link::open(connect, order.server).await?;
    let limits = order.limits;
    let (soa, expire_s) = timeout(limits.time_max, link.ask_soa(order, ids, clock))
        .await
        .unwrap_or_else(|_| Err(too_long(limits)))
        .map_err(FetchError::SoaQuery)?;
    let mut answer = Answer {
        fetched: Fetched::Newer(soa.serial),
        expire_s,
        no_changes: None,
    };
    if let Some(other) = order.want.judge(soa.serial) {
        answer.fetched = other;
        return Ok(answer);
    }
    let transfer = Transfer {
        connect,
        order,
        link,
        progress: Progress::new(clock, limits.bytes_max),
    };
    // The first message counts too: a server may stall before it as well as after it.
    let (brought, no_changes) = timeout(limits.time_max, transfer.run(ids, sink))
        .await
        .unwrap_or_else(|_| Err(FetchError::Transfer(too_long(limits))))?;
    answer.no_changes = no_changes;
    // The zone may have moved on since the SOA query, but not back.
    answer.fetched = match brought {
        Brought::Whole(serial) | Brought::Current(serial) => {
            (order.want.judge(serial)).unwrap_or(Fetched::Newer(serial))
        }
        Brought::Changed(changes) => match order.want.judge(changes.to_serial) {
            Some(other) => other,
            None => Fetched::Changed(Box::new(changes)),
        },
    };
    Ok(answer)
}

/// The transfer itself, after the serials were compared.
struct Transfer<'a> {
    connect: &'a dyn Connect,
    order: &'a Order<'a>,
    link: Link,
    progress: Progress<'a>,
}

impl Transfer<'_> {
    /// What changed, where a version is held; the whole zone where that cannot be had.
    async fn run(
        mut self,
        ids: &mut (dyn FnMut() -> u16 + Send),
        sink: &mut Sink<'_>,
    ) -> Result<(Brought, Option<Fault>), FetchError> {
        let mut no_changes = None;
        if let Some(basis) = basis(self.order) {
            let (got, has_passed) = self.ask(Rtype::IXFR, Some(basis), ids, sink).await?;
            match got {
                Ok(Brought::Current(serial)) if self.order.want.judge(serial).is_none() => {
                    no_changes = Some(Fault::Mismatch(Mismatch::NoSoa));
                }
                Ok(brought) => return Ok((brought, None)),
                Err(fault) if has_passed || fault.is_final() => {
                    return Err(FetchError::Transfer(fault));
                }
                Err(fault) => {
                    // RFC 1995 section 4: who does not know IXFR says so, and the connection goes on.
                    if !matches!(fault, Fault::Rcode(_)) {
                        self.reopen().await?;
                    }
                    no_changes = Some(fault);
                }
            }
        }
        let (whole, _) = self.ask(Rtype::AXFR, None, ids, sink).await?;
        Ok((whole.map_err(FetchError::Transfer)?, no_changes))
    }

    /// Asks, and once more on a fresh connection where this one ends before a record was passed on: some servers take one
    /// question per connection. Also says whether records were passed on: then nothing else can be asked for.
    async fn ask(
        &mut self,
        rtype: Rtype,
        basis: Option<Basis>,
        ids: &mut (dyn FnMut() -> u16 + Send),
        sink: &mut Sink<'_>,
    ) -> Result<(Result<Brought, Fault>, bool), FetchError> {
        let mut incoming = Incoming::new(self.order.zone, basis);
        let id = ids();
        let mut got = self.receive(rtype, &mut incoming, id, sink).await;
        if matches!(got, Err(Fault::Truncated | Fault::Io(_))) && !incoming.has_passed() {
            self.reopen().await?;
            incoming = Incoming::new(self.order.zone, basis);
            got = self.receive(rtype, &mut incoming, id, sink).await;
        }
        Ok((got, incoming.has_passed()))
    }

    async fn reopen(&mut self) -> Result<(), FetchError> {
        self.link = Link::open(self.connect, self.order.server).await?;
        Ok(())
    }

    /// Asks for the zone or its changes, and reads messages until the end.
    async fn receive(
        &mut self,
        rtype: Rtype,
        incoming: &mut Incoming<'_>,
        id: u16,
        sink: &mut Sink<'_>,
    ) -> Result<Brought, Fault> {
        let question = Question::new(self.order.zone.clone(), rtype);
        let mut query = Message::query(id, question);
        if rtype == Rtype::IXFR {
            // RFC 1995 section 3: the SOA of the version that is held.
            query.authority.extend(self.order.held.clone());
        }
        let clock = self.progress.clock;
        let mut asked = self.link.send(query, self.order.key, clock).await?;
        loop {
            let bytes = self.link.read_message().await?;
            self.progress.add(bytes.len())?;
            let message = asked.read(&bytes, clock.now().wall_s)?;
            if let Some(brought) = incoming.take(message, sink)? {
                asked.finish()?;
                return Ok(brought);
            }
        }
    }
}

/// The version that changes are asked from.
fn basis(order: &Order<'_>) -> Option<Basis> {
    let soa = Soa::parse(&order.held.as_ref()?.rdata)?;
    Some(Basis {
        serial: soa.serial,
        bytes_max: order.limits.bytes_max.min(CHANGES_BYTES_MAX),
    })
}

impl Fault {
    /// Whether asking the same server for the whole zone instead of its changes would end alike.
    fn is_final(&self) -> bool {
        matches!(self, Fault::Tsig(_) | Fault::TooSlow)
    }
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

    /// The server's SOA, and how long its copy is good for (RFC 7314) where it tells.
    async fn ask_soa(
        &mut self,
        order: &Order<'_>,
        ids: &mut (dyn FnMut() -> u16 + Send),
        clock: &Clock,
    ) -> Result<(Soa, Option<u32>), Fault> {
        let question = Question::new(order.zone.clone(), Rtype::SOA);
        let mut query = Message::query(ids(), question);
        let mut edns = Edns::new(EDNS_SIZE, false);
        edns.options.push((option::EXPIRE, Vec::new()));
        query.edns = Some(edns);
        let answered = match self.exchange(query.clone(), order.key, clock).await {
            // RFC 6891 section 7: these are what a server without EDNS may say.
            Err(Fault::Rcode(Rcode::FORMERR | Rcode::NOTIMP | Rcode::BADVERS)) => {
                query.id = ids();
                query.edns = None;
                self.exchange(query, order.key, clock).await
            }
            other => other,
        };
        let message = answered?;
        let expire = message.edns.as_ref().and_then(|e| e.option(option::EXPIRE));
        let expire_s = expire.and_then(|v| v.try_into().ok().map(u32::from_be_bytes));
        (message.answer.iter())
            .find(|r| r.rtype == Rtype::SOA && r.name == *order.zone && r.class == Class::IN)
            .and_then(|r| Soa::parse(&r.rdata))
            .map(|soa| (soa, expire_s))
            .ok_or(Fault::Mismatch(Mismatch::NoSoa))
    }

    /// One question with an answer of one message.
    async fn exchange(
        &mut self,
        query: Message,
        key: Option<&Arc<Key>>,
        clock: &Clock,
    ) -> Result<Message, Fault> {
        let mut asked = self.send(query, key, clock).await?;
        let bytes = self.read_message().await?;
        let message = asked.read(&bytes, clock.now().wall_s)?;
        asked.finish()?;
        Ok(message)
    }

    async fn send(
        &mut self,
        query: Message,
        key: Option<&Arc<Key>>,
        clock: &Clock,
    ) -> Result<Asked, Fault> {
        let mut message = query.encode(QUERY_LEN_MAX);
        let verifier = key.map(|key| tsig::sign_request(key, &mut message, clock.now().wall_s));
        let mut framed = (message.len() as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(&message);
        within_message_time(async {
            self.stream.write_all(&framed).await?;
            self.stream.flush().await
        })
        .await?;
        let question = query.question.unwrap_or_else(|| {
            // Every query here has one.
            Question::new(Name::root(), Rtype::SOA)
        });
        Ok(Asked {
            id: query.id,
            question,
            verifier,
        })
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
