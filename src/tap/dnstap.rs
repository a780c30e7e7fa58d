//! dnstap messages (https://dnstap.info, `dnstap.proto`), written by hand: of Protocol Buffers only what they need.
//!
//! A field is a key and a value. The key is `number << 3 | wire type`, as a varint (seven bits to an octet, the lowest first, the top bit of all
//! but the last octet set). Wire type 0 is a varint, 2 a length (varint) and so many octets, 5 four octets, the lowest first
//! (https://protobuf.dev/programming-guides/encoding). The fields, by number:
//!
//! ```text
//!   Dnstap   1 identity (octets)   2 version (octets)   14 message (Message)   15 type (varint: 1 = MESSAGE)
//!   Message  1 type                2 socket_family (1 = INET, 2 = INET6)       3 socket_protocol
//!            4 query_address       5 response_address   6 query_port           7 response_port
//!            8 query_time_sec      9 query_time_nsec (fixed32)                10 query_message
//!           11 query_zone         12 response_time_sec 13 response_time_nsec  14 response_message
//! ```
//!
//! *Query address* is that of who asks, *response address* that of who is asked, in both messages of an exchange.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Room for what goes around a DNS message, in octets: an address each, times, a zone, who sends.
const AROUND_LEN: usize = 128;

/// `Message.Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A resolver asks an authoritative server.
    ResolverQuery = 3,
    /// And is answered.
    ResolverResponse = 4,
    /// A client asks us.
    ClientQuery = 5,
    /// And is answered.
    ClientResponse = 6,
    /// We ask another resolver.
    ForwarderQuery = 7,
    /// And are answered.
    ForwarderResponse = 8,
}

/// `SocketProtocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Datagrams.
    Udp = 1,
    /// A stream.
    Tcp = 2,
    /// TLS (RFC 7858).
    Dot = 3,
    /// HTTPS (RFC 8484).
    Doh = 4,
    /// QUIC (RFC 9250).
    Doq = 7,
}

/// One message, by reference. What is `None` is left out.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// What it is about.
    pub kind: Kind,
    /// How it travels.
    pub protocol: Protocol,
    /// Who asks.
    pub initiator: SocketAddr,
    /// Who is asked.
    pub responder: Option<SocketAddr>,
    /// When the query was sent or came, since 1970.
    pub asked_at: Option<Duration>,
    /// The query.
    pub query: Option<&'a [u8]>,
    /// The zone whose server is asked, in wire form.
    pub zone: Option<&'a [u8]>,
    /// When the response was sent or came, since 1970.
    pub answered_at: Option<Duration>,
    /// The response.
    pub response: Option<&'a [u8]>,
}

impl Message<'_> {
    /// A message with nothing but who asks.
    pub fn new(kind: Kind, protocol: Protocol, initiator: SocketAddr) -> Message<'static> {
        Message {
            kind,
            protocol,
            initiator,
            responder: None,
            asked_at: None,
            query: None,
            zone: None,
            answered_at: None,
            response: None,
        }
    }
}

/// Who sends all messages.
#[derive(Debug, Clone, Default)]
pub struct Sender {
    /// Which server; empty = left out.
    pub identity: Vec<u8>,
    /// Which program.
    pub version: Vec<u8>,
}

impl Sender {
    /// The octets of a `Dnstap`, the content of one data frame.
    pub fn frame(&self, message: &Message<'_>) -> Vec<u8> {
        let content = content(message);
        let mut out =
            Vec::with_capacity(content.len() + self.identity.len() + self.version.len() + 32);
        for (field, octets) in [(1, &self.identity), (2, &self.version)] {
            if !octets.is_empty() {
                bytes(&mut out, field, octets);
            }
        }
        bytes(&mut out, 14, &content);
        number(&mut out, 15, 1);
        out
    }
}

/// The octets of a `Message`.
fn content(message: &Message<'_>) -> Vec<u8> {
    let octets = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let len = octets(message.query) + octets(message.response) + octets(message.zone);
    let mut out = Vec::with_capacity(len + AROUND_LEN);
    number(&mut out, 1, message.kind as u64);
    let initiator = message.initiator.ip().to_canonical();
    number(&mut out, 2, if initiator.is_ipv4() { 1 } else { 2 });
    number(&mut out, 3, message.protocol as u64);
    address(&mut out, 4, initiator);
    if let Some(responder) = message.responder {
        address(&mut out, 5, responder.ip().to_canonical());
    }
    number(&mut out, 6, message.initiator.port().into());
    if let Some(responder) = message.responder {
        number(&mut out, 7, responder.port().into());
    }
    time(&mut out, 8, message.asked_at);
    let rest = [(10, message.query), (11, message.zone)];
    for (field, part) in rest {
        if let Some(part) = part {
            bytes(&mut out, field, part);
        }
    }
    time(&mut out, 12, message.answered_at);
    if let Some(response) = message.response {
        bytes(&mut out, 14, response);
    }
    out
}

/// Seconds as field `first`, nanoseconds as the one after it.
fn time(out: &mut Vec<u8>, first: u64, at: Option<Duration>) {
    if let Some(at) = at {
        number(out, first, at.as_secs());
        varint(out, (first + 1) << 3 | 5);
        out.extend_from_slice(&at.subsec_nanos().to_le_bytes());
    }
}

fn address(out: &mut Vec<u8>, field: u64, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => bytes(out, field, &v4.octets()),
        IpAddr::V6(v6) => bytes(out, field, &v6.octets()),
    }
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, octets: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, octets.len() as u64);
    out.extend_from_slice(octets);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    // Octets by hand from the tables above.
    #[test]
    fn a_message_is_written_field_by_field() {
        let sender = Sender {
            identity: b"ns1".to_vec(),
            version: Vec::new(),
        };
        let message = Message {
            asked_at: Some(Duration::new(300, 0x0102_0304)),
            query: Some(b"query"),
            zone: Some(b"\0"),
            responder: Some("[2001:db8::1]:53".parse().unwrap()),
            ..Message::new(
                Kind::ResolverQuery,
                Protocol::Tcp,
                "192.0.2.1:4711".parse().unwrap(),
            )
        };
        let mut expected = vec![1 << 3, 3, 2 << 3, 1, 3 << 3, 2];
        expected.extend([4 << 3 | 2, 4, 192, 0, 2, 1]);
        expected.extend([5 << 3 | 2, 16, 0x20, 0x01, 0x0d, 0xb8]);
        expected.extend([0; 11]);
        expected.push(1);
        expected.extend([6 << 3, 0xE7, 0x24, 7 << 3, 53]);
        expected.extend([8 << 3, 0xAC, 0x02, 9 << 3 | 5, 4, 3, 2, 1]);
        expected.extend(b"\x52\x05query");
        expected.extend([11 << 3 | 2, 1, 0]);
        let mut whole = b"\x0a\x03ns1".to_vec();
        whole.extend([14 << 3 | 2, expected.len() as u8]);
        whole.extend(&expected);
        whole.extend([15 << 3, 1]);
        assert_eq!(sender.frame(&message), whole);
    }

    #[test]
    fn numbers_have_seven_bits_to_an_octet() {
        let check = |value: u64, expected: &[u8]| {
            let mut out = Vec::new();
            varint(&mut out, value);
            assert_eq!(out, expected);
        };
        check(0, &[0]);
        check(127, &[127]);
        check(128, &[0x80, 1]);
        check(1_785_585_600, &[0xC0, 0xBF, 0xB7, 0xD3, 0x06]);
        let most = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1];
        check(u64::MAX, &most);
    }
}
