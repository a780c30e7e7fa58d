//! Who looks on at questions to other servers and their answers, as octets: dnstap. Nobody, as a rule.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Ask, Transport};
use crate::dns::Name;

/// A question that was seen, until its answer is.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The zone that the server is asked as one of.
    pub zone: Name,
    /// Who is asked.
    pub server: SocketAddr,
    /// From where.
    pub local: SocketAddr,
    /// UDP or TCP.
    pub transport: Transport,
    /// The server is one that resolves for us.
    pub forwarder: bool,
    /// When it was sent, as time since 1970.
    pub wall: Duration,
}

/// Looks on. It may copy and count, and must not wait.
pub trait Watch: Send + Sync + 'static {
    /// A question has been sent.
    fn asked(&self, ask: &Ask, local: SocketAddr, query: &[u8]) -> Asked;

    /// Its answer has come: what agrees with the question, whether it can be read or not.
    fn answered(&self, asked: &Asked, answer: &[u8]);
}
