//! Packets to other servers.
//!
//! [`Upstream`] is the one way out. The real one sends UDP from random ports with random IDs and
//! mixed case, and TCP; the simulated internet of the tests is another. An exchange is one question to
//! one address over one transport; whom to ask, and what next, is decided by `resolve`.
//!
//! - `net`: [`NetUpstream`], the real one: switches, source addresses, the bound on sockets.
//! - `udp`: one exchange. `lines`: its socket, and those that wait for another one.
//! - `tcp`: one exchange over a connection that `pool` shares out.
//! - `wire`: the question as sent, and which octets answer it. `cookies`: those of RFC 7873.
//! - `quiet`: who gives its socket to another where all are taken.
//! - `tls`: servers that are asked over TLS alone.
//! - `severed`: another way out, on which some servers are cut off.
//! - `watch`: who looks on.
//! - `socket`: options and errors of the operating system. `unclaimed`: what it dropped before we saw it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::dns::{Edns, Message, Name, Question};
pub use crate::future::BoxFuture;

mod cookies;
mod lines;
mod net;
mod pool;
mod quiet;
mod severed;
mod socket;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod udp;
mod unclaimed;
mod watch;
pub mod wire;

pub use cookies::Carried;
pub use net::{NetSettings, NetUpstream, SOCKETS_MAX};
pub use severed::{IsCut, Manner, Severed};
pub use tls::TlsServers;
pub use unclaimed::unclaimed_datagrams;
pub use watch::{Asked, Watch};

/// How a question travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One datagram each way.
    Udp,
    /// A TCP connection (RFC 7766).
    Tcp,
}

/// One question to one server.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The zone that the server is asked as one of; of no consequence for the packet.
    pub zone: Name,
    /// Where to.
    pub server: SocketAddr,
    /// UDP or TCP.
    pub transport: Transport,
    /// What is asked. The upstream chooses ID, port and case by itself.
    pub question: Question,
    /// RD bit: false towards authoritative servers.
    pub recursion_desired: bool,
    /// CD bit.
    pub checking_disabled: bool,
    /// OPT record to send; `None` for servers that choke on EDNS.
    pub edns: Option<Edns>,
    /// Send a COOKIE option with it, and hold the server to it (RFC 7873).
    pub cookie: bool,
    /// Mix the case of the name and demand it back (draft-vixie-dnsext-dns0x20).
    pub mix_case: bool,
    /// Give up after this time.
    pub timeout: Duration,
}

/// A matched answer: address, port, ID and question agree with the [`Ask`].
#[derive(Debug, Clone)]
pub struct Reply {
    /// The message; its question has the case of the [`Ask`].
    pub message: Message,
    /// Time from sending to this answer.
    pub rtt: Duration,
    /// The case of the name was mixed and came back changed. Only over TCP, where it shows what the server
    /// does to names; over UDP that is [`Doubt::CaseChanged`].
    pub folded: bool,
}

/// Why an exchange brought no usable message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// Nothing came in time.
    #[error("timed out")]
    TimedOut,
    /// The network said no: ICMP unreachable, connection refused or reset, no route.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// A matching answer came that is no DNS message.
    #[error("malformed answer: {0}")]
    Malformed(#[from] crate::dns::WireError),
    /// This machine has no way to such addresses: no address family, no address of its own.
    #[error("cannot send: {0}")]
    Local(String),
    /// A limit of this machine stands in the way, and may not a moment later or for another question: nothing is free, or the
    /// question is too long. It says nothing about the server or the way to it.
    #[error("cannot send now: {0}")]
    Limit(String),
    /// What came over UDP may be a forgery, and was put aside: TCP tells.
    #[error("{0}")]
    Doubtful(Doubt),
}

/// Why a datagram that may be the answer is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Doubt {
    /// Everything agrees but the case of the name.
    #[error("case of the name changed")]
    CaseChanged,
    /// The server gave cookies before, and the answer has none (RFC 7873 section 5.3).
    #[error("expected cookie missing")]
    CookieMissing,
    /// So many packets came that did not agree that somebody must be guessing (RFC 5452 section 9).
    #[error("too many mismatched replies")]
    Strays,
}

/// The way to other servers.
pub trait Upstream: Send + Sync + 'static {
    /// Sends the question and waits for its answer. Dropping the future gives up at once.
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Reply, ExchangeError>>;
}
