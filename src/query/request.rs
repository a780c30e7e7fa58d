//! From bytes to a question worth working on.
//!
//! Whatever arrives on port 53 comes through here. A response is never answered (two servers would talk
//! for ever), nor is what is too short for a header. Anything else that is no plain question of class IN
//! gets the response code that says why, so that a broken client learns about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::dns::edns::option;
use crate::dns::message::{HEADER_LEN, peek_id};
use crate::dns::tsig::Signer;
use crate::dns::{Class, Ede, Message, Question, Rcode, Rtype};
use crate::tls::Shown;

/// Who asks, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Address and port that the query came from.
    pub addr: SocketAddr,
    /// How it came.
    pub transport: Transport,
    /// The certificate that the client has proven to hold.
    pub certificate: Option<Arc<Shown>>,
    /// How long its connection may stay without a query, where that can be told (RFC 7828): over TCP and TLS.
    pub idle: Option<Duration>,
}

impl Client {
    /// A client without a certificate.
    pub fn new(addr: SocketAddr, transport: Transport) -> Client {
        Client {
            addr,
            transport,
            certificate: None,
            idle: None,
        }
    }
}

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram, whose sender may be forged.
    Udp,
    /// A stream; the answer may be as long as a message can be.
    Tcp,
    /// A stream that nobody else can read or change (RFC 7858).
    Tls {
        /// What was agreed upon is enough for zone transfers (RFC 9103 section 7.1): TLS 1.3 and the protocol `dot`.
        for_transfers: bool,
    },
    /// A request over HTTP/2 and TLS (RFC 8484).
    Https,
    /// A stream of QUIC (RFC 9250).
    Quic,
}

impl Transport {
    /// Whether nobody on the way can read the messages.
    pub fn is_encrypted(self) -> bool {
        match self {
            Transport::Udp | Transport::Tcp => false,
            Transport::Tls { .. } | Transport::Https | Transport::Quic => true,
        }
    }
}

/// A well-formed question.
#[derive(Debug, Clone)]
pub struct Request {
    /// The whole query.
    pub message: Message,
    /// Its question.
    pub question: Question,
    /// Who asks.
    pub client: Client,
    /// The COOKIE option for the answer.
    pub cookie: Option<Vec<u8>>,
    /// The query's own was made here for this client, so he is at his address (RFC 7873 section 5.2.5).
    pub cookie_is_good: bool,
    /// The NSID option for the answer (RFC 5001).
    pub nsid: Option<Vec<u8>>,
    /// Signs the answer, where the query's signature was right (RFC 8945).
    pub signed: Option<Signed>,
}

/// How an answer is signed.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Signs the messages of the answer in order.
    pub signer: Signer,
    /// When the query came, in seconds since 1970.
    pub at_s: u64,
}

/// What is not worked on further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// It gets no answer at all.
    Silently,
    /// It gets an answer without records.
    With {
        /// The query as far as it could be read.
        query: Box<Message>,
        /// The response code that says why.
        rcode: Rcode,
        /// More about it.
        error: Option<Ede>,
    },
}

/// The EDNS version that is spoken here.
const EDNS_VERSION: u8 = 0;

impl Request {
    /// Reads a query.
    ///
    /// # Errors
    /// What it gets instead of being worked on.
    pub fn read(wire: &[u8], client: Client) -> Result<Request, Rejected> {
        let header = wire.first_chunk::<HEADER_LEN>().ok_or(Rejected::Silently)?;
        let (response, opcode) = (header[2] & 0x80 != 0, header[2] >> 3 & 0x0F);
        if response || client.addr.port() == 0 {
            return Err(Rejected::Silently);
        }
        let parsed = Message::parse(wire);
        if opcode != 0 {
            // Other operations give the sections other meanings, so that the message may not parse.
            let query = parsed.unwrap_or_else(|_| bare(wire, opcode));
            return Err(with(query, Rcode::NOTIMP, None));
        }
        let message = parsed.map_err(|_| with(bare(wire, opcode), Rcode::FORMERR, None))?;
        // RFC 6891 section 6.1.3, before anything else is made of the query.
        if message
            .edns
            .as_ref()
            .is_some_and(|e| e.version != EDNS_VERSION)
        {
            return Err(with(message, Rcode::BADVERS, None));
        }
        // RFC 7828 sections 3.3.1 and 3.3.2: a client names no time; over UDP the option is ignored.
        if client.idle.is_some() && keepalive(&message).is_some_and(|value| !value.is_empty()) {
            return Err(with(message, Rcode::FORMERR, None));
        }
        let Some(question) = message.question.clone() else {
            return Err(with(message, Rcode::FORMERR, None));
        };
        // RFC 9619 section 4 and RFC 1035 section 4.1.2: one question, whole. There is nothing before it to point to.
        if is_compressed(wire) {
            return Err(with(message, Rcode::FORMERR, None));
        }
        if let Some((rcode, error)) = unsupported(&question) {
            return Err(with(message, rcode, Some(error)));
        }
        // As Unbound does: who asks has nothing to tell, and nothing to leave out; but for the version that is held (RFC 1995 section 3).
        let told = match question.rtype {
            Rtype::IXFR => message
                .authority
                .get(1..)
                .is_some_and(|more| !more.is_empty()),
            _ => !message.authority.is_empty(),
        };
        if message.truncated || !message.answer.is_empty() || told {
            return Err(with(message, Rcode::FORMERR, None));
        }
        Ok(Request {
            message,
            question,
            client,
            cookie: None,
            cookie_is_good: false,
            nsid: None,
            signed: None,
        })
    }

    /// DO: the client wants DNSSEC records (RFC 3225).
    pub fn dnssec_ok(&self) -> bool {
        self.message.edns.as_ref().is_some_and(|e| e.dnssec_ok)
    }

    /// How long the client's connection may stay without a query, where it wants to know (RFC 7828).
    pub fn idle_to_tell(&self) -> Option<Duration> {
        keepalive(&self.message).and(self.client.idle)
    }

    /// The client understands AD (RFC 6840 section 5.7).
    pub fn understands_ad(&self) -> bool {
        self.dnssec_ok() || self.message.authentic_data
    }
}

/// The edns-tcp-keepalive option of a query.
fn keepalive(query: &Message) -> Option<&[u8]> {
    query.edns.as_ref()?.option(option::TCP_KEEPALIVE)
}

/// Questions that are well-formed and not answered here.
fn unsupported(question: &Question) -> Option<(Rcode, Ede)> {
    let unsupported = |rcode, text: String| Some((rcode, Ede::new(Ede::NOT_SUPPORTED, text)));
    match question.rtype {
        // RFC 4892: what this server says of itself.
        _ if question.class == Class::CH && is_of_data(question.rtype) => None,
        _ if question.class != Class::IN => unsupported(
            Rcode::REFUSED,
            format!("no data of class {}", question.class),
        ),
        // Transfers have an access list of their own.
        Rtype::AXFR | Rtype::IXFR | Rtype::ANY => None,
        // RFC 1035 section 3.2.3: once a real question, given up since.
        Rtype::MAILA | Rtype::MAILB => {
            unsupported(Rcode::NOTIMP, format!("{} is not answered", question.rtype))
        }
        // RFC 6895 section 3.1: type 0 is reserved; the cache uses it for a name's non-existence. The others only
        // mean something beside a question (OPT, TSIG), or in a bitmap (RFC 9824 section 3.5: NXNAME).
        other if other.is_meta() || other == Rtype(0) => {
            let text = format!("{other} cannot be asked for");
            Some((Rcode::FORMERR, Ede::new(Ede::INVALID_QUERY_TYPE, text)))
        }
        _ => None,
    }
}

/// Whether there can be records of the type, and nothing else is meant by it.
fn is_of_data(rtype: Rtype) -> bool {
    rtype == Rtype::ANY || !rtype.is_meta() && rtype != Rtype(0)
}

/// Whether the name of the question holds a compression pointer. The message has been read whole before.
fn is_compressed(wire: &[u8]) -> bool {
    let mut at = HEADER_LEN;
    loop {
        match wire.get(at) {
            Some(0) | None => return false,
            Some(0xC0..) => return true,
            Some(&len) => at += usize::from(len) + 1,
        }
    }
}

/// The header of a query whose rest cannot be read.
fn bare(wire: &[u8], opcode: u8) -> Message {
    Message {
        id: peek_id(wire).unwrap_or_default(),
        opcode,
        recursion_desired: wire.get(2).is_some_and(|b| b & 0x01 != 0),
        ..Message::default()
    }
}

fn with(query: Message, rcode: Rcode, error: Option<Ede>) -> Rejected {
    Rejected::With {
        query: Box::new(query),
        rcode,
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Edns;
    use crate::dns::message::MESSAGE_LEN_MAX;
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    const CLIENT: Client = Client {
        addr: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4000),
        transport: Transport::Udp,
        certificate: None,
        idle: None,
    };

    fn query() -> Message {
        Message::query(7, Question::new("www.example.".parse().unwrap(), Rtype::A))
    }

    fn check(change: impl FnOnce(&mut Message), expected: Result<(), Rcode>) {
        let mut message = query();
        change(&mut message);
        let got = Request::read(&message.encode(MESSAGE_LEN_MAX), CLIENT);
        let got = got.map(drop).map_err(|rejected| match rejected {
            Rejected::With { query, rcode, .. } => {
                assert_eq!(query.id, 7);
                rcode
            }
            Rejected::Silently => panic!("no answer"),
        });
        assert_eq!(got, expected);
    }

    #[test]
    fn only_plain_questions_pass() {
        check(|_| {}, Ok(()));
        check(|m| m.edns = Some(Edns::new(512, true)), Ok(()));
        check(|m| m.opcode = 4, Err(Rcode::NOTIMP));
        check(|m| m.opcode = 15, Err(Rcode::NOTIMP));
        check(|m| m.question = None, Err(Rcode::FORMERR));
        let class = |c| move |m: &mut Message| m.question.as_mut().unwrap().class = c;
        check(class(Class::CH), Ok(()));
        check(class(Class::ANY), Err(Rcode::REFUSED));
        check(class(Class::NONE), Err(Rcode::REFUSED));
        check(class(Class(0)), Err(Rcode::REFUSED));
        check(class(Class(4711)), Err(Rcode::REFUSED));
        let rtype = |t| move |m: &mut Message| m.question.as_mut().unwrap().rtype = t;
        check(rtype(Rtype::AXFR), Ok(()));
        check(rtype(Rtype::IXFR), Ok(()));
        for meta in [
            Rtype(0),
            Rtype::OPT,
            Rtype::TSIG,
            Rtype::TKEY,
            Rtype(128),
            Rtype(200),
        ] {
            check(rtype(meta), Err(Rcode::FORMERR));
        }
        check(rtype(Rtype::MAILA), Err(Rcode::NOTIMP));
        check(rtype(Rtype::MAILB), Err(Rcode::NOTIMP));
        check(rtype(Rtype::ANY), Ok(()));
        check(rtype(Rtype(65_400)), Ok(()));
        let version_1 = |m: &mut Message| {
            m.edns = Some(Edns {
                version: 1,
                ..Edns::new(1232, false)
            })
        };
        check(version_1, Err(Rcode::BADVERS));
        // RFC 6891 section 6.1.2: options that nobody knows are ignored.
        let odd_option = |m: &mut Message| {
            let mut edns = Edns::new(1232, false);
            edns.options = vec![(65_001, vec![1, 2, 3]), (option::NSID, vec![])];
            m.edns = Some(edns);
        };
        check(odd_option, Ok(()));
    }

    // RFC 9619 section 4: one question. What else is in a query must not be there, but for its additional section.
    #[test]
    fn queries_hold_one_question_and_no_answers() {
        let record = || crate::signer::rr("www.example. 60 A 192.0.2.1");
        check(|m| m.answer = vec![record()], Err(Rcode::FORMERR));
        check(|m| m.authority = vec![record()], Err(Rcode::FORMERR));
        check(|m| m.additional = vec![record()], Ok(()));
        check(|m| m.truncated = true, Err(Rcode::FORMERR));
        // But for the SOA of an IXFR, which there is one of.
        let ixfr = |count| {
            move |m: &mut Message| {
                m.question.as_mut().unwrap().rtype = Rtype::IXFR;
                m.authority = vec![record(); count];
            }
        };
        check(ixfr(1), Ok(()));
        check(ixfr(2), Err(Rcode::FORMERR));
        let one = query().encode(MESSAGE_LEN_MAX);
        let rcode = |wire: &[u8]| match Request::read(wire, CLIENT) {
            Err(Rejected::With { rcode, .. }) => rcode,
            other => panic!("{other:?}"),
        };
        let mut two = one.clone();
        two.extend_from_slice(&one[HEADER_LEN..]);
        two[5] = 2;
        assert_eq!(rcode(&two), Rcode::FORMERR);
        // The count says more than there is.
        let mut short = one.clone();
        short[7] = 1;
        assert_eq!(rcode(&short), Rcode::FORMERR);
    }

    // RFC 1035 sections 2.3.4 and 4.1.4.
    #[test]
    fn names_are_whole_and_at_most_255_octets() {
        let query = |name: &[u8]| {
            let header = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            [&header, name, &[0, 1, 0, 1]].concat()
        };
        let label = |len: u8| {
            let mut label = vec![b'x'; usize::from(len) + 1];
            label[0] = len;
            label
        };
        let of = |last| [label(63), label(63), label(63), label(last), vec![0]].concat();
        assert_eq!(of(61).len(), 255);
        assert!(Request::read(&query(&of(61)), CLIENT).is_ok());
        let refused = |name: &[u8]| {
            let found = Request::read(&query(name), CLIENT);
            matches!(found, Err(Rejected::With { rcode, .. }) if rcode == Rcode::FORMERR)
        };
        assert!(refused(&of(62)));
        // Into the header, where zeros look like the root; to itself; after a label.
        assert!(refused(&[0xC0, 8]));
        assert!(refused(&[0xC0, 12]));
        assert!(refused(&[1, b'x', 0xC0, 8]));
        // Forms of labels that do not exist (RFC 6891 section 5).
        assert!(refused(&[0x41, 0, 0]));
        assert!(refused(&[0x80, 0, 0]));
    }

    #[test]
    fn responses_and_scraps_get_silence() {
        let mut response = query().reply(Rcode::NOERROR).encode(MESSAGE_LEN_MAX);
        let silent = |wire: &[u8]| matches!(Request::read(wire, CLIENT), Err(Rejected::Silently));
        assert!(silent(&response));
        assert!(silent(&[]));
        assert!(silent(&response[..11]));
        // The same with everything after the header broken.
        response.truncate(13);
        assert!(silent(&response));
    }

    #[test]
    fn damaged_queries_are_answered_or_dropped() {
        let good = query().encode(MESSAGE_LEN_MAX);
        let mut rng = SmallRng::seed_from_u64(2);
        for _ in 0..50_000 {
            let mut wire = good.clone();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(0..wire.len());
                wire[at] = rng.random();
            }
            wire.truncate(rng.random_range(0..=wire.len()));
            if let Err(Rejected::With { query, .. }) = Request::read(&wire, CLIENT) {
                assert_eq!(Some(query.id), peek_id(&wire));
            }
        }
    }
}
