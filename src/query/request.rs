//! From bytes to a question worth working on.
//!
//! Whatever arrives on port 53 comes through here. A response is never answered (two servers would talk
//! for ever), nor is what is too short for a header. Anything else that is no plain question of class IN
//! gets the response code that says why, so that a broken client learns about it.

use std::net::SocketAddr;

use crate::dns::message::{HEADER_LEN, peek_id};
use crate::dns::{Class, Ede, Message, Question, Rcode, Rtype};

/// Who asks, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Address and port that the query came from.
    pub addr: SocketAddr,
    /// How it came.
    pub transport: Transport,
}

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram, whose sender may be forged.
    Udp,
    /// A stream; the answer may be as long as a message can be.
    Tcp,
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
        let Some(question) = message.question.clone() else {
            return Err(with(message, Rcode::FORMERR, None));
        };
        if let Some((rcode, error)) = unsupported(&question) {
            return Err(with(message, rcode, Some(error)));
        }
        Ok(Request {
            message,
            question,
            client,
        })
    }

    /// DO: the client wants DNSSEC records (RFC 3225).
    pub fn dnssec_ok(&self) -> bool {
        self.message.edns.as_ref().is_some_and(|e| e.dnssec_ok)
    }

    /// The client understands AD (RFC 6840 section 5.7).
    pub fn understands_ad(&self) -> bool {
        self.dnssec_ok() || self.message.authentic_data
    }
}

/// Questions that are well-formed and not answered here.
fn unsupported(question: &Question) -> Option<(Rcode, Ede)> {
    let prohibited = |text| Some((Rcode::REFUSED, Ede::new(Ede::PROHIBITED, text)));
    let unsupported = |rcode, text: String| Some((rcode, Ede::new(Ede::NOT_SUPPORTED, text)));
    match question.rtype {
        _ if question.class != Class::IN => unsupported(
            Rcode::REFUSED,
            format!("no data of class {}", question.class),
        ),
        Rtype::AXFR | Rtype::IXFR => prohibited("zone transfers are not offered"),
        // RFC 6895 section 3.1: type 0 is reserved; the cache uses it for a name's non-existence.
        Rtype(0) => unsupported(Rcode::FORMERR, "type 0 does not exist".into()),
        Rtype::ANY => None,
        other if other.is_meta() => {
            unsupported(Rcode::NOTIMP, format!("{other} cannot be asked for"))
        }
        _ => None,
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
        check(class(Class::CH), Err(Rcode::REFUSED));
        check(class(Class::ANY), Err(Rcode::REFUSED));
        let rtype = |t| move |m: &mut Message| m.question.as_mut().unwrap().rtype = t;
        check(rtype(Rtype::AXFR), Err(Rcode::REFUSED));
        check(rtype(Rtype::IXFR), Err(Rcode::REFUSED));
        check(rtype(Rtype::OPT), Err(Rcode::NOTIMP));
        check(rtype(Rtype(0)), Err(Rcode::FORMERR));
        check(rtype(Rtype::ANY), Ok(()));
        check(rtype(Rtype(65_400)), Ok(()));
        let version_1 = |m: &mut Message| {
            m.edns = Some(Edns {
                version: 1,
                ..Edns::new(1232, false)
            })
        };
        check(version_1, Err(Rcode::BADVERS));
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
