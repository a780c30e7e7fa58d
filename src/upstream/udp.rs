//! One question and its answer over UDP.
//!
//! What does not match is counted and ignored while the wait goes on (RFC 5452 section 9.1): the first
//! packet that arrives may be a forgery, and the honest one still be under way. A few such packets on
//! a port that was opened for one question can only be an attempt at guessing, so after
//! [`MISMATCHES_MAX`] of them the exchange is given up as if nothing had come.

use std::io;
use std::net::{IpAddr, UdpSocket};

use tokio::io::Interest;

use super::net::NetUpstream;
use super::socket::{classify, connected_udp, watched};
use super::wire::{Received, Sent};
use super::{Ask, ExchangeError, Reply};

/// Packets that do not match before an exchange is given up. A forger who hits the port has a chance
/// of this many in 65,536 for the ID, before the case of the name is guessed.
const MISMATCHES_MAX: usize = 16;
/// The longest answer that is read, octets; no more than that is ever advertised
/// (`resolver.edns_buffer`).
const REPLY_LEN_MAX: usize = 4096;

const _: () = assert!(crate::config::UDP_SIZE_MAX_BYTES as usize <= REPLY_LEN_MAX);

impl NetUpstream {
    /// Sends the question and waits for its answer, for ever if none comes.
    pub(super) async fn exchange_udp(
        &self,
        ask: &Ask,
        source: IpAddr,
    ) -> Result<Reply, ExchangeError> {
        let mut rng = self.rng();
        let sent = Sent::new(ask, ask.mix_case, &mut rng);
        let socket = connected_udp(source, ask.server, &mut rng)
            .and_then(watched)
            .map_err(|e| classify(&e))?;
        let start = self.clock.now().mono;
        let sending = socket.get_ref().send(&sent.packet);
        sending.map_err(|e| classify(&e))?;
        self.metrics.upstream_sent_total.inc();
        for _ in 0..MISMATCHES_MAX {
            let read = socket.async_io(Interest::READABLE | Interest::ERROR, |socket| {
                receive(socket, ask)
            });
            match read.await.map(|bytes| sent.read(bytes)) {
                Ok(Received::Answer(message)) => {
                    let rtt = self.clock.now().mono.saturating_sub(start);
                    let message = *message;
                    return Ok(Reply { message, rtt });
                }
                Ok(Received::Malformed(error)) => return Err(ExchangeError::Malformed(error)),
                Ok(Received::NotOurs) => self.metrics.upstream_mismatched_total.inc(),
                Err(error) => match classify(&error) {
                    // Short of memory for a moment, or a router that wants smaller packets.
                    ExchangeError::Local(_) => {}
                    other => return Err(other),
                },
            }
        }
        tracing::debug!(server = %ask.server, question = %ask.question, "given up: too many mismatched replies");
        Err(ExchangeError::TimedOut)
    }
}

/// One datagram. What came from another address (between bind and connect) is read as empty, and so
/// matches nothing.
fn receive(socket: &UdpSocket, ask: &Ask) -> io::Result<Vec<u8>> {
    let mut buffer = [0; REPLY_LEN_MAX];
    let (len, from) = socket.recv_from(&mut buffer)?;
    let ours = from.ip() == ask.server.ip() && from.port() == ask.server.port();
    let bytes = buffer.get(..len).filter(|_| ours).unwrap_or_default();
    Ok(bytes.to_vec())
}
