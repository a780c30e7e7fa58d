//! What is said on one stream after its opening: messages, each with its length before it (RFC 7766 section 8, RFC 7858).
//!
//! Why not one after another: a client that sends many questions on one connection, as RFC 7766 section 6.2.1 asks of it, would wait
//! for the slowest of them with all others. So queries are worked on beside each other, and each answer leaves as soon as it is there
//! (section 6.2.1.1). Between the messages of a zone transfer answers leave too.
//!
//! Model: [`Conversation`] is one task. It takes whole messages out of what has arrived, answers by itself what needs no waiting, has a
//! task for each query that waits, and writes what is ready in one go. Of queries that wait there are `IN_WORK_MAX` at once, and what
//! is beyond the first of each connection shares `PARALLEL_MAX` places with all others: where none is free, a connection is
//! served one query after another, as all were once. What cannot begin is parked, and the connection is read no further until it has.
//!
//! | end | what becomes of queries in work |
//! |---|---|
//! | the client closes its side | answered (RFC 7766 section 6.2.4 leaves that to the server), then closed |
//! | it closes both, or resets | dropped, as soon as an answer finds nobody |
//! | it takes no answers for a few seconds | dropped |
//! | nothing in work, and no whole query in time, or another client needs the place | there are none |
//! | the server stops | answered; a transfer is broken off |

use std::future::pending;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};

use super::streams::{
    TRANSFER_MESSAGE_TIME_MAX_S, TRANSFER_TIME_MAX_S, WRITE_TIMEOUT_S, idle_timeout,
    promised_timeout,
};
use crate::metrics::Metrics;
use crate::places::Place;
use crate::query::transfer::{Messages, Outgoing};
use crate::query::{Client, Pipeline, Step};

/// Queries of one connection that wait for the resolver at once.
const IN_WORK_MAX: usize = 64;
/// Queries that wait at once on all connections, the first of each not counted.
pub(super) const PARALLEL_MAX: usize = 4096;
/// So much is read at once, in octets; more waits in the kernel, where it holds up its sender.
const READ_LEN_BYTES: usize = 2048;
/// Answers that are ready are written together up to this length, in octets, and the last one may be longer.
const WRITE_LEN_BYTES: usize = 16 << 10;

/// What all conversations share.
#[derive(Clone)]
pub(super) struct Common {
    /// Who answers.
    pub(super) pipeline: Arc<Pipeline>,
    /// Counters.
    pub(super) metrics: Arc<Metrics>,
    /// Places for queries in work beyond the first of a connection.
    pub(super) parallel: Arc<Semaphore>,
    /// Turns true at the end.
    pub(super) stopped: watch::Receiver<bool>,
}

/// One connection.
pub(super) struct Conversation<S> {
    stream: S,
    client: Client,
    common: Common,
    place: Place,
    inbox: Inbox,
    in_work: JoinSet<Settled>,
    transfer: Option<Transfer>,
    /// Taken, and without a place yet.
    parked: Option<Step>,
    /// Framed answers that have not been written.
    ready: Vec<u8>,
    /// Nothing is read any more: the client's end, or the server's.
    ends: bool,
    /// It was read no further when that was last looked at.
    is_held: bool,
}

/// An answer, or none, and the place that its query had.
struct Settled {
    answer: Option<Vec<u8>>,
    _place: Option<OwnedSemaphorePermit>,
}

/// A zone transfer under way.
struct Transfer {
    messages: Messages,
    until: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    pub(super) fn new(stream: S, client: Client, common: Common, place: Place) -> Conversation<S> {
        Conversation {
            stream,
            client,
            common,
            place,
            inbox: Inbox::default(),
            in_work: JoinSet::new(),
            transfer: None,
            parked: None,
            ready: Vec::new(),
            ends: false,
            is_held: false,
        }
    }

    /// Answers until the client ends it, or has to be left.
    ///
    /// # Errors
    /// It has to be left.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let ended = self.answer_all().await;
        // TLS says that it was the end (RFC 7858 section 3.4). Who reads nothing need not be told.
        let _ = timeout(Duration::from_secs(1), self.stream.shutdown()).await;
        ended
    }

    async fn answer_all(&mut self) -> io::Result<()> {
        let mut idle = pin!(sleep(idle_timeout(&self.place, false)));
        let mut stopped = self.common.stopped.clone();
        loop {
            let mut is_active = self.take_arrived()?;
            if !self.ready.is_empty() {
                self.write_ready().await?;
                is_active = true;
            }
            // RFC 7766 section 6.2.3: neither a whole query nor an answer. Half a query keeps nothing open.
            if is_active {
                self.place.busy();
                idle.set(sleep(idle_timeout(&self.place, true)));
                continue;
            }
            let is_idle = self.in_work.is_empty() && self.transfer.is_none();
            if self.ends && is_idle {
                return Ok(());
            }
            match is_idle {
                true => self.place.idle(),
                false => self.place.busy(),
            }
            tokio::select! {
                read = self.inbox.fill(&mut self.stream), if !self.ends && !self.is_full() => {
                    self.ends |= read? == 0;
                }
                Some(settled) = self.in_work.join_next() => {
                    // One that panicked has no answer.
                    self.put(settled.ok().and_then(|settled| settled.answer).as_deref())?;
                    self.put_settled()?;
                }
                message = next_message(&mut self.transfer) => match message? {
                    Some(message) => self.put(Some(&message))?,
                    None => self.transfer = None,
                },
                () = &mut idle, if is_idle => return Err(io::ErrorKind::TimedOut.into()),
                () = self.place.left(), if is_idle => {
                    self.common.metrics.connections_ousted_total.inc();
                    return Err(io::Error::other("its place is another's"));
                }
                _ = stopped.wait_for(|stop| *stop), if !self.ends => {
                    self.ends = true;
                    self.transfer = None;
                    self.inbox = Inbox::default();
                }
            }
        }
    }

    /// Begins with what has arrived whole, as far as there are places. Whether anything was begun.
    fn take_arrived(&mut self) -> io::Result<bool> {
        let mut has_begun = false;
        let mut promised = None;
        while self.ready.len() < WRITE_LEN_BYTES {
            let step = match self.parked.take() {
                Some(parked) => parked,
                None if self.in_work.len() >= IN_WORK_MAX => break,
                None => {
                    let Some(query) = self.inbox.next() else {
                        break;
                    };
                    let client = Client {
                        idle: Some(*promised.get_or_insert_with(|| promised_timeout(&self.place))),
                        ..self.client.clone()
                    };
                    has_begun = true;
                    self.common.pipeline.begin(query, client)
                }
            };
            self.parked = self.begin(step)?;
            if self.parked.is_some() {
                break;
            }
        }
        self.inbox.tidy();
        let is_full = self.is_full();
        if is_full && !self.is_held {
            self.common.metrics.streams_held_total.inc();
        }
        self.is_held = is_full;
        Ok(has_begun)
    }

    /// Nothing more can begin.
    fn is_full(&self) -> bool {
        self.parked.is_some() || self.in_work.len() >= IN_WORK_MAX
    }

    /// Gives it back if it has no place.
    fn begin(&mut self, step: Step) -> io::Result<Option<Step>> {
        match step {
            Step::Done(answer) => self.put(answer.as_deref())?,
            Step::Wait(job) => {
                let place = match self.in_work.is_empty() {
                    true => None,
                    false => match self.common.parallel.clone().try_acquire_owned() {
                        Ok(place) => Some(place),
                        Err(_) => return Ok(Some(Step::Wait(job))),
                    },
                };
                let pipeline = self.common.pipeline.clone();
                self.in_work.spawn(async move {
                    Settled {
                        answer: pipeline.finish(job).await,
                        _place: place,
                    }
                });
            }
            Step::Stream(outgoing) if self.transfer.is_some() => {
                return Ok(Some(Step::Stream(outgoing)));
            }
            Step::Stream(outgoing) => self.transfer = Some(Transfer::start(*outgoing)),
        }
        Ok(None)
    }

    /// What else is settled by now, as far as it is written in one go.
    fn put_settled(&mut self) -> io::Result<()> {
        while self.ready.len() < WRITE_LEN_BYTES
            && let Some(settled) = self.in_work.try_join_next()
        {
            self.put(settled.ok().and_then(|settled| settled.answer).as_deref())?;
        }
        Ok(())
    }

    /// RFC 7766 section 8: length and message leave together.
    fn put(&mut self, answer: Option<&[u8]>) -> io::Result<()> {
        let Some(answer) = answer else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        self.ready.extend_from_slice(&length.to_be_bytes());
        self.ready.extend_from_slice(answer);
        Ok(())
    }

    /// An error if the client does not take it in time.
    async fn write_ready(&mut self) -> io::Result<()> {
        let patience = Duration::from_secs(match self.transfer {
            Some(_) => TRANSFER_MESSAGE_TIME_MAX_S,
            None => WRITE_TIMEOUT_S,
        });
        timeout(patience, async {
            self.stream.write_all(&self.ready).await?;
            // What TLS has not sent yet.
            self.stream.flush().await
        })
        .await??;
        self.ready.clear();
        if self.ready.capacity() > WRITE_LEN_BYTES {
            // Not for as long as the connection.
            self.ready = Vec::new();
        }
        Ok(())
    }
}

impl Transfer {
    fn start(outgoing: Outgoing) -> Transfer {
        Transfer {
            messages: outgoing.start(),
            until: Box::pin(sleep(Duration::from_secs(TRANSFER_TIME_MAX_S))),
        }
    }
}

/// The next message of the transfer, `None` after its last one; never where there is no transfer.
async fn next_message(transfer: &mut Option<Transfer>) -> io::Result<Option<Vec<u8>>> {
    let Some(transfer) = transfer else {
        return pending().await;
    };
    tokio::select! {
        message = transfer.messages.next() => message.map_err(io::Error::other),
        () = &mut transfer.until => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Octets that have arrived. Memory grows with what arrives, not with what is announced: it is no more than one message that is not
/// whole, and what was read together with its end.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    /// Up to here they have been taken.
    taken: usize,
}

impl Inbox {
    /// Reads something; 0 at the end of the stream. Nothing is lost when this is dropped.
    async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        self.bytes.reserve(READ_LEN_BYTES);
        let mut limited = stream.take(READ_LEN_BYTES as u64);
        match limited.read_buf(&mut self.bytes).await {
            // TLS that was not said to end.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }

    /// The next whole message.
    fn next(&mut self) -> Option<&[u8]> {
        let rest = self.bytes.get(self.taken..)?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let message = rest.get(..length)?;
        self.taken += 2 + length;
        Some(message)
    }

    /// Gives room back.
    fn tidy(&mut self) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > 2 * READ_LEN_BYTES {
            self.bytes = Vec::new();
        }
    }
}

/// For `tests/fuzz`: the messages of a stream that comes in pieces of this length, and what is left.
pub fn messages_of(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, usize) {
    let mut inbox = Inbox::default();
    let mut messages = Vec::new();
    for piece in stream.chunks(piece.max(1)) {
        inbox.bytes.extend_from_slice(piece);
        while let Some(message) = inbox.next() {
            messages.push(message.to_vec());
        }
        inbox.tidy();
    }
    (messages, inbox.bytes.len())
}

#[cfg(test)]
mod tests;
