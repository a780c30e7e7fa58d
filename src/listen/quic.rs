//! Queries over QUIC (RFC 9250): one stream for each.
//!
//! Connections have places as those over TCP have, so that floods of them are bounded, in all and per client network. Before a client has shown
//! that it is at its address QUIC sends it no more than three times what it sent; while half of the places are taken it has to show it before
//! anything is kept for it (Retry, RFC 9000 section 8.1.2). Clients stay at the address that they came from: access lists and limits know
//! them by it. 0-RTT is not taken: its questions could be replayed.
//!
//! Failure: who breaks the rules of RFC 9250 section 4.3 is disconnected with its code, as who stays silent is without one.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Endpoint, EndpointConfig, Incoming, RecvStream, SendStream};
use quinn::{TokioRuntime, TransportConfig};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::streams::{TRANSFER_MESSAGE_TIME_MAX_S, TRANSFER_TIME_MAX_S, WRITE_TIMEOUT_S};
use super::tls::TlsDoor;
use crate::dns::Message;
use crate::dns::edns::option;
use crate::dns::message::{MESSAGE_LEN_MAX, peek_id};
use crate::places::{Place, Places};
use crate::query::transfer::Outgoing;
use crate::query::{Client, Pipeline, Step, Transport};

/// Questions of one connection at once.
const STREAMS_MAX: u32 = 100;
/// A connection without anything is closed after this time, in seconds.
const IDLE_TIMEOUT_S: u64 = 10;
/// A handshake that takes longer is given up, in seconds.
const HANDSHAKE_TIME_MAX_S: u64 = 5;
/// A question is whole within this time, in seconds.
const REQUEST_TIME_MAX_S: u64 = 5;
/// A message with its length.
const FRAME_LEN_MAX: usize = 2 + MESSAGE_LEN_MAX;
/// Of all streams of a connection so much is held that nobody has read yet, and that the client has not taken, in octets.
const WINDOW_BYTES: u32 = 2 * FRAME_LEN_MAX as u32;
/// Connections that wait to be looked at, and octets that are kept of each and of all.
const INCOMING_MAX: usize = 256;
const INCOMING_BYTES: u64 = 8 << 10;
const INCOMING_BYTES_MAX: u64 = 1 << 20;

/// RFC 9250 section 4.3.
mod code {
    pub const NO_ERROR: u32 = 0;
    pub const INTERNAL_ERROR: u32 = 1;
    pub const PROTOCOL_ERROR: u32 = 2;
    pub const EXCESSIVE_LOAD: u32 = 4;
}

/// One listening socket.
pub struct QuicDoor {
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// How TLS is spoken.
    pub tls: Arc<TlsDoor>,
    /// Who answers.
    pub pipeline: Arc<Pipeline>,
    /// Places for connections.
    pub places: Arc<Places>,
    /// Turns true at the end.
    pub stopped: watch::Receiver<bool>,
    /// Dropped at the end.
    pub alive: mpsc::Sender<()>,
}

/// An endpoint on a bound socket. Must be called within a tokio runtime.
///
/// # Errors
/// The socket cannot be handed to the runtime.
pub fn endpoint(socket: UdpSocket, tls: &TlsDoor) -> io::Result<Endpoint> {
    let server = (*tls.quic()).clone();
    let runtime = Arc::new(TokioRuntime);
    Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime)
}

/// The limits of a connection.
pub fn bounded(mut config: quinn::ServerConfig) -> quinn::ServerConfig {
    let mut transport = TransportConfig::default();
    let idle = Duration::from_secs(IDLE_TIMEOUT_S);
    transport
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(0_u32.into())
        .max_idle_timeout(idle.try_into().ok())
        .stream_receive_window((FRAME_LEN_MAX as u32).into())
        .receive_window(WINDOW_BYTES.into())
        .send_window(WINDOW_BYTES.into())
        .datagram_receive_buffer_size(None);
    config
        .transport_config(Arc::new(transport))
        .migration(false)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_MAX);
    config
}

impl QuicDoor {
    /// Takes connections until the end.
    pub async fn serve(mut self) {
        loop {
            let incoming = tokio::select! {
                incoming = self.endpoint.accept() => incoming,
                _ = self.stopped.wait_for(|stop| *stop) => break,
            };
            let Some(incoming) = incoming else {
                return;
            };
            self.take(incoming);
        }
        // Those that have come go on to the end of what they have in work; then the last sender of `alive` is gone.
        self.endpoint.set_server_config(None);
    }

    fn take(&self, incoming: Incoming) {
        let address = incoming.remote_address();
        // Nobody has to leave for who may not be at his address.
        let is_shown = incoming.remote_address_validated();
        let place = match is_shown {
            true => self.places.take(address.ip()),
            false => self.places.take_free(address.ip()),
        };
        if !is_shown && place.as_ref().is_none_or(Place::is_crowded) {
            // It comes again with a token; the place is free until then.
            let _ = incoming.retry();
            return;
        }
        let Some(mut place) = place else {
            tracing::debug!(client = %address, "too many connections");
            self.tls.metrics().connections_crowded_total.inc();
            return incoming.refuse();
        };
        place.idle();
        let connection = Conversation {
            tls: self.tls.clone(),
            pipeline: self.pipeline.clone(),
            stopped: self.stopped.clone(),
            client: Client::new(address, Transport::Quic),
            place,
        };
        let alive = self.alive.clone();
        tokio::spawn(async move {
            connection.serve(incoming).await;
            drop(alive);
        });
    }
}

/// A client, from its first packet on.
struct Conversation {
    tls: Arc<TlsDoor>,
    pipeline: Arc<Pipeline>,
    stopped: watch::Receiver<bool>,
    client: Client,
    place: Place,
}

impl Conversation {
    async fn serve(mut self, incoming: Incoming) {
        let Some(connection) = self.shake_hands(incoming).await else {
            return self.tls.metrics().quic_handshake_failures_total.inc();
        };
        let metrics = self.tls.metrics().clone();
        metrics.quic_connections_total.inc();
        metrics.quic_connections.step(false, true);
        self.client.certificate = super::tls::shown(connection.peer_identity());
        let mut tasks = JoinSet::new();
        let ended = loop {
            match tasks.is_empty() {
                true => self.place.idle(),
                false => self.place.busy(),
            }
            tokio::select! {
                accepted = connection.accept_bi() => match accepted {
                    Ok((mut send, receive)) => {
                        let (pipeline, client) = (self.pipeline.clone(), self.client.clone());
                        let connection = connection.clone();
                        tasks.spawn(async move {
                            let answered = answer(&mut send, receive, client, &pipeline).await;
                            if let Err(fault) = answered {
                                // Before `send` is dropped: that would end the stream as if it had been answered.
                                connection.close(fault.code.into(), fault.why.as_bytes());
                            }
                        });
                    }
                    Err(error) => break Some(error),
                },
                _ = tasks.join_next(), if !tasks.is_empty() => {}
                () = self.place.left(), if tasks.is_empty() => {
                    metrics.connections_ousted_total.inc();
                    break None;
                }
                _ = self.stopped.wait_for(|stop| *stop) => break None,
            }
        };
        if let Some(error) = ended {
            tracing::debug!(client = %self.client.addr, %error, "QUIC connection ends");
        } else {
            while tasks.join_next().await.is_some() {}
            connection.close(code::NO_ERROR.into(), b"");
        }
        metrics.quic_connections.step(true, false);
    }

    async fn shake_hands(&self, incoming: Incoming) -> Option<Connection> {
        let connecting = incoming.accept_with(self.tls.quic()).ok()?;
        let patience = Duration::from_secs(HANDSHAKE_TIME_MAX_S);
        tokio::select! {
            shaken = timeout(patience, connecting) => shaken.ok()?.ok(),
            () = self.place.left() => {
                self.tls.metrics().connections_ousted_total.inc();
                None
            }
        }
    }
}

/// What ends a connection.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    code: u32,
    why: &'static str,
}

const fn protocol_error(why: &'static str) -> Fault {
    Fault {
        code: code::PROTOCOL_ERROR,
        why,
    }
}

/// Reads the one question of a stream and writes its answer. Whatever concerns this stream alone ends it alone.
async fn answer(
    send: &mut SendStream,
    mut receive: RecvStream,
    client: Client,
    pipeline: &Pipeline,
) -> Result<(), Fault> {
    let patience = Duration::from_secs(REQUEST_TIME_MAX_S);
    // One octet more than there may be, so that there being more is seen.
    let read = timeout(patience, receive.read_to_end(FRAME_LEN_MAX)).await;
    let frame = match read {
        Ok(Ok(frame)) => frame,
        Ok(Err(quinn::ReadToEndError::TooLong)) => {
            return Err(protocol_error("more than a message"));
        }
        // Reset, or the end of the connection.
        Ok(Err(_)) => return Ok(()),
        Err(_) => {
            let _ = receive.stop(code::EXCESSIVE_LOAD.into());
            let _ = send.reset(code::EXCESSIVE_LOAD.into());
            return Ok(());
        }
    };
    let query = question(&frame)?;
    let answer = match pipeline.begin(query, client) {
        Step::Done(answer) => answer,
        Step::Wait(job) => pipeline.finish(job).await,
        Step::Stream(outgoing) => {
            let whole = Duration::from_secs(TRANSFER_TIME_MAX_S);
            let sent = timeout(whole, transfer(*outgoing, send)).await;
            if !matches!(sent, Ok(Ok(()))) {
                let _ = send.reset(code::INTERNAL_ERROR.into());
            }
            return Ok(());
        }
    };
    let Some(answer) = answer else {
        return Err(protocol_error("no query"));
    };
    match write(send, &answer, WRITE_TIMEOUT_S).await {
        Ok(()) => drop(send.finish()),
        Err(_) => drop(send.reset(code::EXCESSIVE_LOAD.into())),
    }
    Ok(())
}

/// The message of a stream that has come to its end.
fn question(frame: &[u8]) -> Result<&[u8], Fault> {
    let (length, query) = (frame.split_first_chunk())
        .ok_or(protocol_error("the stream ended before its question"))?;
    if query.len() != usize::from(u16::from_be_bytes(*length)) {
        return Err(protocol_error(
            "the stream has another length than its question",
        ));
    }
    // RFC 9250 section 4.2.1.
    if peek_id(query) != Some(0) {
        return Err(protocol_error("the message ID must be 0"));
    }
    // RFC 9250 section 5.5.2.
    let edns = Message::parse(query).ok().and_then(|message| message.edns);
    if edns.is_some_and(|edns| edns.option(option::TCP_KEEPALIVE).is_some()) {
        return Err(protocol_error("edns-tcp-keepalive has no place here"));
    }
    Ok(query)
}

/// RFC 9250 section 4.2: the messages of a transfer follow each other on its stream.
async fn transfer(outgoing: Outgoing, send: &mut SendStream) -> io::Result<()> {
    let mut messages = outgoing.start();
    while let Some(message) = messages.next().await.map_err(io::Error::other)? {
        write(send, &message, TRANSFER_MESSAGE_TIME_MAX_S).await?;
    }
    send.finish().map_err(io::Error::other)
}

async fn write(send: &mut SendStream, message: &[u8], patience_s: u64) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let framed = [&length.to_be_bytes(), message].concat();
    let patience = Duration::from_secs(patience_s);
    timeout(patience, send.write_all(&framed)).await??;
    Ok(())
}

/// For `tests/fuzz`: whether a stream with these octets is a question.
pub fn is_question(frame: &[u8]) -> bool {
    question(frame).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Edns, Question, Rtype};

    // RFC 9250 sections 4.2, 4.2.1, 5.5.2.
    #[test]
    fn a_stream_is_one_question() {
        let framed = |id, options: Vec<(u16, Vec<u8>)>| {
            let mut query = Message::query(id, Question::new("x.".parse().unwrap(), Rtype::A));
            let mut edns = Edns::new(1232, false);
            edns.options = options;
            query.edns = Some(edns);
            let query = query.encode(MESSAGE_LEN_MAX);
            let length = (query.len() as u16).to_be_bytes();
            [&length[..], &query].concat()
        };
        let good = framed(0, vec![]);
        assert_eq!(question(&good), Ok(&good[2..]));
        for wrong in [
            &good[..1],
            &good[..good.len() - 1],
            &[&good[..], &[0]].concat(),
            &framed(7, vec![]),
            &framed(0, vec![(option::TCP_KEEPALIVE, vec![])]),
            &[0, 0],
            &[],
        ] {
            assert_eq!(question(wrong).unwrap_err().code, code::PROTOCOL_ERROR);
        }
    }
}
