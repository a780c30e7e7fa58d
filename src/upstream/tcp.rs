//! Questions and answers over TCP (RFC 7766), and over TLS (RFC 7858), which is TCP after a handshake (`tls`).
//!
//! A connection proves where the answer comes from: TCP is the refuge from servers that do not keep the case of
//! names or give up cookies, and from forgers. Several questions are under way on one connection at a time, and
//! their answers come in any order (section 7); each is known by its ID and its question. A question whose
//! connection was already in use when it was closed is asked once more on a fresh one (section 6.2.4): servers
//! close what they think idle at any time.
//!
//! Failure: a server that hangs up is as good as unreachable; one that sends no messages is broken, and nothing more
//! is read from it. What answers nothing that was asked is counted, and bounded.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::net::{NetUpstream, Shared};
use super::pool::{Command, Ended, Line, Peer};
use super::socket::classify;
use super::tls::PADDING_BLOCK;
use super::wire::{Answer, Received, Sent, Stray};
use super::{Ask, Asked, ExchangeError, Reply, Transport};
use crate::dns::WireError;
use crate::dns::edns::option;
use crate::dns::message::HEADER_LEN;
use crate::tls::fault_of;

/// How long a connection may take to be made: the kernel knocks again each second, and who has not opened after the second time is taken for silent.
const CONNECT_TIME_MAX: Duration = Duration::from_millis(1900);
/// How long it may take a question.
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the other end may take to prove who it is.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a question waits for a place on a connection to a server that has as many as it may. Shorter than any wait
/// for an answer over TCP (three times `WAIT_MIN` of `resolve/select`).
const PLACE_WAIT_MAX: Duration = Duration::from_millis(100);
/// How long an idle connection is kept. RFC 7766 section 6.2.3: a few seconds is what servers grant.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(10);
/// Messages that answer no question, per connection.
const STRAYS_MAX: usize = 16;
/// Octets that are read at a time: most answers at once.
const READ_LEN: usize = 4096;

impl NetUpstream {
    /// Sends the question over a connection to the server and waits for its answer, for ever if none comes.
    pub(super) async fn exchange_tcp(
        &self,
        ask: &Ask,
        source: IpAddr,
        deadline: Instant,
    ) -> Result<Reply, ExchangeError> {
        let peer = (ask.server, source);
        // It may not last: whoever waits for the answer takes it for a silence of the server.
        let _ = timeout(PLACE_WAIT_MAX, self.pool.wait_for_place(peer)).await;
        let metrics = &self.shared.metrics;
        if let Some(slot) = self.pool.reuse(peer) {
            metrics.upstream_tcp_reused_total.inc();
            match slot.ask(ask).await {
                Ok(reply) => return Ok(reply),
                Err(ended) if !ended.closed => return Err(ended.error),
                Err(_) => metrics.upstream_tcp_retried_total.inc(),
            }
        }
        let socket = self.socket(deadline).await?;
        let slot = self.pool.open(peer, socket)?;
        slot.ask(ask).await.map_err(|ended| ended.error)
    }
}

/// The server's end of a connection: a task until it is closed.
pub(super) struct Talk {
    shared: Arc<Shared>,
    peer: Peer,
    commands: Receiver<Command>,
    line: Arc<Line>,
    waiting: HashMap<u16, Waiting>,
    strays: usize,
}

struct Waiting {
    sent: Sent,
    asked: Option<Asked>,
    sent_at: Duration,
    tell: oneshot::Sender<Result<Reply, Ended>>,
}

impl Talk {
    pub(super) fn new(
        shared: Arc<Shared>,
        peer: Peer,
        commands: Receiver<Command>,
        line: Arc<Line>,
    ) -> Talk {
        Talk {
            shared,
            peer,
            commands,
            line,
            waiting: HashMap::new(),
            strays: 0,
        }
    }

    /// Connects and talks until there is nothing more to talk about.
    pub(super) async fn run(mut self) {
        let (server, source) = self.peer;
        let line = self.line.clone();
        let talk = async {
            match timeout(CONNECT_TIME_MAX, connect(source, server)).await {
                Ok(Ok(stream)) => self.open(stream).await,
                Ok(Err(error)) => Ended::failed(classify(&error)),
                Err(_) => Ended::failed(ExchangeError::TimedOut),
            }
        };
        let ended = tokio::select! {
            ended = talk => ended,
            () = line.cut() => Ended::cut(),
        };
        self.commands.close();
        for waiting in self.waiting.into_values() {
            let _ = waiting.tell.send(Err(ended.clone()));
        }
        while let Ok(command) = self.commands.try_recv() {
            let _ = command.tell.send(Err(ended.clone()));
        }
    }

    /// Shakes hands first where that is due.
    async fn open(&mut self, mut stream: TcpStream) -> Ended {
        let Ok(local) = stream.local_addr() else {
            return Ended::hung_up();
        };
        let Some(tls) = self.shared.tls.server(self.peer.0).cloned() else {
            return self.talk(&mut stream, local).await;
        };
        let secured = match timeout(HANDSHAKE_TIME_MAX, tls.secure(stream)).await {
            Ok(secured) => secured,
            Err(late) => Err(late.into()),
        };
        let metrics = self.shared.metrics.clone();
        match secured {
            Ok(mut stream) => {
                metrics.upstream_tls_opened_total.inc();
                self.talk(&mut stream, local).await
            }
            Err(error) => {
                metrics.upstream_tls_failures_total.inc();
                let why = fault_of(&error).unwrap_or_else(|| error.to_string());
                Ended::failed(ExchangeError::Unreachable(format!("TLS: {why}")))
            }
        }
    }

    async fn talk(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        local: SocketAddr,
    ) -> Ended {
        let mut frames = Frames::default();
        let mut more = true;
        while more || self.somebody_waits() {
            let idle_at = self.shared.clock.now().mono + IDLE_MAX;
            let step = tokio::select! {
                command = self.commands.recv(), if more => match command {
                    Some(command) => self.send(stream, local, command).await,
                    None => { more = false; Ok(()) }
                },
                frame = frames.next(stream) => match frame {
                    Ok(bytes) => self.receive(local.ip(), bytes),
                    Err(error) => Err(Ended::closed(&error)),
                },
                () = sleep_until(self.shared.clock.instant(idle_at)) => match self.somebody_waits() {
                    true => Ok(()),
                    false => Err(Ended::hung_up()),
                },
            };
            if let Err(ended) = step {
                return ended;
            }
        }
        Ended::hung_up()
    }

    fn somebody_waits(&self) -> bool {
        self.waiting.values().any(|w| !w.tell.is_closed())
    }

    async fn send(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        local: SocketAddr,
        command: Command,
    ) -> Result<(), Ended> {
        let Command { mut ask, tell } = command;
        if tell.is_closed() {
            return Ok(());
        }
        let mut rng = self.shared.rng();
        let now = self.shared.clock.now().mono;
        // RFC 7766 section 6.2.1: no two questions under way have the same ID.
        let mut id = rng.random();
        while self.waiting.contains_key(&id) {
            id = rng.random();
        }
        let pair = (ask.server, local.ip());
        let cookie = (ask.cookie).then(|| self.shared.cookies().offer(pair, now, &mut rng));
        let mut sent = Sent::new(&ask, id, cookie.as_deref(), &mut rng);
        if self.shared.tls.server(self.peer.0).is_some()
            && let Some(edns) = &mut ask.edns
        {
            // RFC 8467 section 4.1: what can be read of it is its length.
            let whole = sent.packet.len() + option::HEAD_LEN;
            let padding = vec![0; whole.next_multiple_of(PADDING_BLOCK) - whole];
            edns.options.push((option::PADDING, padding));
            sent = Sent::new(&ask, id, cookie.as_deref(), &mut rng);
        }
        let Some(frame) = framed(&sent.packet) else {
            let error = ExchangeError::Limit("question too long".into());
            let _ = tell.send(Err(Ended::failed(error)));
            return Ok(());
        };
        let asked = self.shared.asked(&ask, local, &sent.packet);
        let waiting = Waiting {
            sent,
            asked,
            sent_at: now,
            tell,
        };
        self.waiting.insert(id, waiting);
        let written = async {
            stream.write_all(&frame).await?;
            // What TLS has not sent yet.
            stream.flush().await
        };
        match timeout(WRITE_TIME_MAX, written).await {
            Ok(Ok(())) => self.shared.metrics.upstream_sent_total.inc(),
            Ok(Err(error)) => return Err(Ended::closed(&error)),
            Err(_) => return Err(Ended::hung_up()),
        }
        Ok(())
    }

    /// One message; an error ends the connection.
    fn receive(&mut self, local: IpAddr, bytes: Vec<u8>) -> Result<(), Ended> {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(Ended::failed(WireError::Truncated.into()));
        };
        let id = u16::from_be_bytes([header[0], header[1]]);
        let Some(waiting) = self.waiting.remove(&id) else {
            self.shared.count_stray(Stray::Id);
            self.strays += 1;
            return match self.strays > STRAYS_MAX {
                true => Err(Ended::failed(WireError::BadForm.into())),
                false => Ok(()),
            };
        };
        let asked = waiting.asked.as_ref();
        let (said, whole) = match self.shared.read(&waiting.sent, asked, bytes) {
            Received::Answer(answer) => (Ok(self.reply(local, answer, waiting.sent_at)), true),
            // What comes after a damaged message may be the rest of it.
            Received::Malformed(error) => (Err(Ended::failed(error.into())), false),
            Received::Stray(stray) => {
                self.shared.count_stray(stray);
                (Err(Ended::failed(WireError::BadForm.into())), true)
            }
        };
        if waiting.tell.send(said).is_err() {
            self.shared.metrics.upstream_tcp_late_total.inc();
        }
        match whole {
            true => Ok(()),
            false => Err(Ended::hung_up()),
        }
    }

    fn reply(&self, local: IpAddr, answer: Answer, sent_at: Duration) -> Reply {
        self.line.heard(self.shared.clock.now().mono);
        let pair = (self.peer.0, local);
        // Over TCP nothing is doubtful.
        (self.shared.cookies()).note(pair, answer.cookie, Transport::Tcp);
        Reply {
            message: *answer.message,
            rtt: self.shared.clock.now().mono.saturating_sub(sent_at),
            folded: answer.folded,
        }
    }
}

impl Ended {
    fn failed(error: ExchangeError) -> Ended {
        Ended {
            error,
            closed: false,
        }
    }

    fn closed(error: &io::Error) -> Ended {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Ended::hung_up(),
            _ => Ended {
                error: classify(error),
                closed: true,
            },
        }
    }
}

/// Cuts what arrives into messages (RFC 1035 section 4.2.2).
#[derive(Default)]
struct Frames {
    /// At most one message and one read more.
    buffer: Vec<u8>,
}

impl Frames {
    /// The next message. Nothing is lost when the future is dropped. Memory grows with what arrives, not with
    /// what the length field claims.
    async fn next(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        loop {
            if let Some((len, rest)) = self.buffer.split_first_chunk::<2>()
                && let Some(message) = rest.get(..usize::from(u16::from_be_bytes(*len)))
            {
                let message = message.to_vec();
                self.buffer.drain(..2 + message.len());
                return Ok(message);
            }
            let mut chunk = [0; READ_LEN];
            match stream.read(&mut chunk).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.buffer.extend_from_slice(&chunk[..n]),
            }
        }
    }
}

async fn connect(source: IpAddr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = match server {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if !source.is_unspecified() {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.set_nodelay(true)?;
    socket.connect(server).await
}

/// The message after its length, to be written at once (RFC 7766 section 8).
fn framed(packet: &[u8]) -> Option<Vec<u8>> {
    let len = u16::try_from(packet.len()).ok()?;
    Some([&len.to_be_bytes(), packet].concat())
}
