//! One question and its answer over TCP (RFC 7766), on a connection of its own.
//!
//! A connection proves where the answer comes from, so the case of the name is not mixed: TCP is the
//! refuge from servers that do not keep it. A server that hangs up is as good as unreachable; one that
//! sends something else than the answer is broken, and waiting for more from it is no use.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::net::NetUpstream;
use super::socket::classify;
use super::wire::{Received, Sent};
use super::{Ask, ExchangeError, Reply};
use crate::dns::WireError;
use crate::dns::message::HEADER_LEN;

impl NetUpstream {
    /// Connects, sends the question and waits for its answer, for ever if none comes.
    pub(super) async fn exchange_tcp(
        &self,
        ask: &Ask,
        source: IpAddr,
    ) -> Result<Reply, ExchangeError> {
        let sent = Sent::new(ask, false, &mut self.rng());
        let connection = connect(source, ask.server).await;
        let mut stream = connection.map_err(|e| classify(&e))?;
        let start = self.clock.now().mono;
        let frame = framed(&sent.packet)?;
        let writing = stream.write_all(&frame).await;
        writing.map_err(|e| classify(&e))?;
        self.metrics.upstream_sent_total.inc();
        let bytes = read_frame(&mut stream).await.map_err(|e| classify(&e))?;
        if bytes.len() < HEADER_LEN {
            return Err(ExchangeError::Malformed(WireError::Truncated));
        }
        match sent.read(bytes) {
            Received::Answer(message) => Ok(Reply {
                message: *message,
                rtt: self.clock.now().mono.saturating_sub(start),
            }),
            Received::Malformed(error) => Err(ExchangeError::Malformed(error)),
            Received::NotOurs => {
                self.metrics.upstream_mismatched_total.inc();
                Err(ExchangeError::Malformed(WireError::BadForm))
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

/// The message after its length (RFC 1035 section 4.2.2), to be written at once (RFC 7766 section 8).
fn framed(packet: &[u8]) -> Result<Vec<u8>, ExchangeError> {
    let len = u16::try_from(packet.len())
        .map_err(|_| ExchangeError::Local("question too long".into()))?;
    Ok([&len.to_be_bytes(), packet].concat())
}

/// One message. Memory grows with what arrives, not with what the length field claims.
async fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let len = stream.read_u16().await?;
    let mut bytes = Vec::new();
    stream.take(u64::from(len)).read_to_end(&mut bytes).await?;
    match bytes.len() == usize::from(len) {
        true => Ok(bytes),
        false => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "connection closed inside the answer",
        )),
    }
}
