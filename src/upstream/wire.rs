//! A question on the wire, and which octets answer it.
//!
//! An attacker who cannot see our packets must guess what they contain, so everything in them that can
//! be random is: the port (chosen in `socket`), the ID, the case of the name's letters ("0x20") and the
//! client cookie. [`Sent`] remembers what was sent, and [`Sent::read`] sorts what comes back: an answer,
//! a damaged answer, or a stray that is none of ours. The match is made on the octets, before anything
//! is parsed, so that forgeries cost little and teach nothing.

use rand::{Rng, RngExt};

use super::Ask;
use super::cookies::{CLIENT_COOKIE_LEN, Carried};
use crate::dns::edns::option;
use crate::dns::message::{HEADER_LEN, MESSAGE_LEN_MAX};
use crate::dns::{Message, Name, Question, Rcode, WireError};

/// Octet 2 of the header: the answer is cut.
const TC: u8 = 0x02;

/// A question that is under way.
#[derive(Debug)]
pub struct Sent {
    /// The whole message, without a TCP length.
    pub packet: Vec<u8>,
    id: u16,
    /// The question section as it was sent.
    question_sent: Vec<u8>,
    /// The question section as it was asked.
    question_asked: Vec<u8>,
    /// How many octets of these are the name.
    name_len: usize,
    asked: Question,
    case_mixed: bool,
    cookie: Option<[u8; CLIENT_COOKIE_LEN]>,
}

/// What some octets from the server's address are.
#[derive(Debug)]
pub enum Received {
    /// The answer.
    Answer(Answer),
    /// ID and question agree, the rest is damaged.
    Malformed(WireError),
    /// Anything else: a late answer to another question, a forgery, noise.
    Stray(Stray),
}

/// A message that agrees with what was sent.
#[derive(Debug)]
pub struct Answer {
    /// Its question has the case of the [`Ask`].
    pub message: Box<Message>,
    /// The case of the name was mixed, and came back changed.
    pub folded: bool,
    /// What it says of the cookie.
    pub cookie: Carried,
}

/// Why octets are not the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stray {
    /// No header of an answer to a query.
    Form,
    /// Another ID.
    Id,
    /// Another question.
    Question,
    /// Another client cookie, or none that could be one.
    Cookie,
}

impl Sent {
    /// The message for `ask` under `id`, its name in a case drawn from `rng` if the ask says so. `cookie` is
    /// the value of a COOKIE option to go with its OPT record.
    pub fn new(ask: &Ask, id: u16, cookie: Option<&[u8]>, rng: &mut impl Rng) -> Sent {
        let asked = ask.question.clone();
        let mut sent = asked.clone();
        if ask.mix_case {
            sent.name = mixed(&asked.name, rng);
        }
        let (question_sent, question_asked) = (question_wire(&sent), question_wire(&asked));
        let mut edns = ask.edns.clone();
        let mut client = None;
        if let (Some(edns), Some(cookie)) = (&mut edns, cookie) {
            edns.options.push((option::COOKIE, cookie.to_vec()));
            client = cookie.first_chunk().copied();
        }
        let query = Message {
            recursion_desired: ask.recursion_desired,
            checking_disabled: ask.checking_disabled,
            edns,
            ..Message::query(id, sent)
        };
        Sent {
            packet: query.encode(MESSAGE_LEN_MAX),
            id,
            question_sent,
            question_asked,
            name_len: asked.name.wire().len(),
            asked,
            case_mixed: ask.mix_case,
            cookie: client,
        }
    }

    /// Sorts a message that came from the server's address.
    pub fn read(&self, mut bytes: Vec<u8>) -> Received {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Received::Stray(Stray::Form);
        };
        // RFC 5452 section 9.1 lists what must agree. First the ID, which tells late answers from noise.
        if header[..2] != self.id.to_be_bytes() {
            return Received::Stray(Stray::Id);
        }
        // QR set, opcode 0.
        if header[2] & 0xF8 != 0x80 {
            return Received::Stray(Stray::Form);
        }
        if self.is_bare_refusal(&bytes) {
            return match Message::parse(&bytes) {
                Ok(mut message) => {
                    message.question = Some(self.asked.clone());
                    self.answer(message, false)
                }
                Err(error) => Received::Malformed(error),
            };
        }
        let Some(folded) = self.question_match(&bytes) else {
            return Received::Stray(Stray::Question);
        };
        // Names further on point into the question, so giving it back its case gives them theirs.
        let end = HEADER_LEN + self.question_asked.len();
        bytes[HEADER_LEN..end].copy_from_slice(&self.question_asked);
        match Message::parse(&bytes) {
            Ok(message) => self.answer(message, folded),
            // RFC 2181 section 9: what is in a cut answer is of no use anyway; some servers cut inside a record.
            Err(_) if bytes[2] & TC != 0 => {
                bytes.truncate(end);
                bytes[6..HEADER_LEN].fill(0);
                match Message::parse(&bytes) {
                    Ok(message) => self.answer(message, folded),
                    Err(error) => Received::Malformed(error),
                }
            }
            Err(error) => Received::Malformed(error),
        }
    }

    /// RFC 7873 section 5.3: an answer with another client cookie, or with a cookie of an illegal length, must
    /// be discarded. Only the first COOKIE option counts.
    fn answer(&self, message: Message, folded: bool) -> Received {
        let carried = message
            .edns
            .as_ref()
            .and_then(|edns| edns.option(option::COOKIE));
        let cookie = match (self.cookie, carried) {
            (None, _) => Carried::Unasked,
            (Some(_), None) => Carried::Absent,
            (Some(client), Some(value)) => match Carried::read(client, value) {
                Some(carried) => carried,
                None => return Received::Stray(Stray::Cookie),
            },
        };
        Received::Answer(Answer {
            message: Box::new(message),
            folded,
            cookie,
        })
    }

    /// One question, and it is ours: whether its name has lost the mixed case that it was sent in (case as
    /// such does not matter, RFC 4343). `None` if it is not ours.
    fn question_match(&self, bytes: &[u8]) -> Option<bool> {
        let end = HEADER_LEN + self.question_sent.len();
        let (name, kind) = bytes.get(HEADER_LEN..end)?.split_at(self.name_len);
        let (name_sent, kind_sent) = self.question_sent.split_at(self.name_len);
        let ours = bytes[4..6] == [0, 1] && name.eq_ignore_ascii_case(name_sent);
        (ours && kind == kind_sent).then_some(self.case_mixed && name != name_sent)
    }

    /// A header alone that says FORMERR or NOTIMP. A server that cannot read EDNS may not be able to
    /// repeat the question either (RFC 6891 section 7); waiting for better would look like silence.
    fn is_bare_refusal(&self, bytes: &[u8]) -> bool {
        let refusal = |octet: u8| {
            let rcode = Rcode(u16::from(octet & 0x0F));
            rcode == Rcode::FORMERR || rcode == Rcode::NOTIMP
        };
        bytes.len() == HEADER_LEN && refusal(bytes[3]) && bytes[4..].iter().all(|&octet| octet == 0)
    }
}

/// The name with the case of each letter drawn anew.
fn mixed(name: &Name, rng: &mut impl Rng) -> Name {
    let mut wire = name.wire().to_vec();
    // Length octets are at most 63, below the letters.
    for octet in wire.iter_mut().filter(|octet| octet.is_ascii_alphabetic()) {
        if rng.random() {
            *octet ^= 0x20;
        }
    }
    Name::from_wire(&wire).unwrap_or_else(|_| name.clone())
}

fn question_wire(question: &Question) -> Vec<u8> {
    let mut wire = question.name.wire().to_vec();
    wire.extend_from_slice(&question.rtype.0.to_be_bytes());
    wire.extend_from_slice(&question.class.0.to_be_bytes());
    wire
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::dns::{Class, Edns, Record, Rtype};
    use crate::upstream::Transport;

    const NAME: &str = "Www.some-rather-long-name.Example.";
    /// A client cookie and a server cookie.
    const COOKIE: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 9];

    fn ask(mix_case: bool) -> Ask {
        Ask {
            zone: Name::root(),
            server: ([192, 0, 2, 1], 53).into(),
            transport: Transport::Udp,
            question: Question::new(NAME.parse().unwrap(), Rtype::A),
            recursion_desired: false,
            checking_disabled: true,
            edns: Some(Edns::new(1232, true)),
            cookie: true,
            mix_case,
            timeout: Duration::from_secs(1),
        }
    }

    fn sent(mix_case: bool) -> Sent {
        let mut rng = StdRng::seed_from_u64(7);
        Sent::new(&ask(mix_case), 4711, Some(&COOKIE), &mut rng)
    }

    /// An honest answer with an address and a name server.
    fn answer(sent: &Sent) -> Message {
        let query = Message::parse(&sent.packet).unwrap();
        let mut reply = query.reply(Rcode::NOERROR);
        let name = query.question.unwrap().name;
        let record = |name: Name, rtype, rdata: &[u8]| Record {
            name,
            rtype,
            class: Class::IN,
            ttl: 60,
            rdata: rdata.into(),
        };
        let zone = name.suffix(1);
        let ns = zone.child(b"ns").unwrap();
        reply.answer = vec![record(name, Rtype::A, &[192, 0, 2, 7])];
        reply.authority = vec![record(zone, Rtype::NS, ns.wire())];
        reply.edns = query.edns;
        reply
    }

    #[test]
    fn the_message_carries_what_was_asked() {
        let sent = sent(true);
        let query = Message::parse(&sent.packet).unwrap();
        assert!(!query.response && !query.recursion_desired && query.checking_disabled);
        let mut edns = Edns::new(1232, true);
        edns.options.push((option::COOKIE, COOKIE.to_vec()));
        assert_eq!(query.edns, Some(edns));
        assert_eq!(query.id, 4711);
        let question = query.question.unwrap();
        assert_eq!(question, ask(true).question);
        assert!(
            !question.name.eq_case(&ask(true).question.name),
            "case is mixed"
        );
        let end = HEADER_LEN + sent.question_sent.len();
        assert_eq!(sent.packet[HEADER_LEN..end], sent.question_sent[..]);
    }

    #[test]
    fn every_letter_is_mixed_and_nothing_else() {
        let name: Name = r"ab\000\255-7.example.".parse().unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let mut seen = vec![std::collections::HashSet::new(); name.wire().len()];
        for _ in 0..100 {
            let other = mixed(&name, &mut rng);
            assert_eq!(other, name);
            for (i, octet) in other.wire().iter().enumerate() {
                seen[i].insert(*octet);
            }
        }
        for (set, octet) in seen.iter().zip(name.wire()) {
            assert_eq!(set.len(), 1 + usize::from(octet.is_ascii_alphabetic()));
        }
    }

    #[test]
    fn the_answer_gets_the_case_of_the_question_back() {
        let sent = sent(true);
        let Received::Answer(answer) = sent.read(answer(&sent).encode(MESSAGE_LEN_MAX)) else {
            panic!("not accepted");
        };
        assert_eq!(answer.cookie, Carried::Matched(COOKIE[8..].to_vec()));
        let message = answer.message;
        assert_eq!(message.question.unwrap().name.to_string(), NAME);
        assert_eq!(message.answer[0].name.to_string(), NAME);
        assert_eq!(message.authority[0].name.to_string(), "Example.");
        let ns = Name::from_wire(&message.authority[0].rdata).unwrap();
        assert_eq!(ns.to_string(), "ns.Example.");
    }

    // RFC 5452 section 9.1.
    #[test]
    fn what_does_not_agree_is_a_stray() {
        let check = |what: &str, mix_case, change: fn(&mut Vec<u8>), expected: &str| {
            let sent = sent(mix_case);
            let mut bytes = answer(&sent).encode(MESSAGE_LEN_MAX);
            change(&mut bytes);
            let found = match sent.read(bytes) {
                Received::Answer(answer) if answer.folded => "folded".into(),
                Received::Answer(answer) if answer.message.truncated => "cut".into(),
                Received::Answer(_) => "answer".into(),
                Received::Malformed(_) => "malformed".into(),
                Received::Stray(why) => format!("{why:?}"),
            };
            assert_eq!(found, expected, "{what}");
        };
        let lower: fn(&mut Vec<u8>) = |b| {
            let end = HEADER_LEN + NAME.len();
            b[HEADER_LEN..end].make_ascii_lowercase();
        };
        check("as sent", true, |_| (), "answer");
        check("ID", true, |b| b[0] ^= 1, "Id");
        check("QR", true, |b| b[2] ^= 0x80, "Form");
        check("opcode", true, |b| b[2] ^= 0x20, "Form");
        check("no question", true, |b| b[5] = 0, "Question");
        check("two questions", true, |b| b[5] = 2, "Question");
        check("name", true, |b| b[HEADER_LEN + 1] = b'x', "Question");
        check("case", true, lower, "folded");
        check("case, unmixed", false, lower, "answer");
        let type_at = HEADER_LEN + NAME.len() + 1;
        assert_eq!(type_at, 47);
        check("type", true, |b| b[48] = 28, "Question");
        check("type, as letters", false, |b| b[48] ^= 0x20, "Question");
        check("class", true, |b| b[50] = 3, "Question");
        check("cut in header", true, |b| b.truncate(11), "Form");
        check("cut in question", true, |b| b.truncate(40), "Question");
        check("cut in answer", true, |b| b.truncate(60), "malformed");
        check("empty", true, |b| b.clear(), "Form");
        // RFC 2181 section 9.
        let cut: fn(&mut Vec<u8>) = |b| {
            b[2] |= TC;
            b.truncate(60);
        };
        check("TC, cut in answer", true, cut, "cut");
        check("TC, whole", true, |b| b[2] |= TC, "cut");
        fn bare(b: &mut Vec<u8>, rcode: u8) {
            b.truncate(HEADER_LEN);
            b[3] = rcode;
            b[4..].fill(0);
        }
        check("bare FORMERR", true, |b| bare(b, 1), "answer");
        check("bare NOTIMP", true, |b| bare(b, 4), "answer");
        check("bare NOERROR", true, |b| bare(b, 0), "Question");
        check("bare NXDOMAIN", true, |b| bare(b, 3), "Question");
    }

    // RFC 7873 section 5.3.
    #[test]
    fn only_an_answer_with_our_cookie_or_none_is_taken() {
        let check = |what: &str, options: &[&[u8]], expected: Option<Carried>| {
            let sent = sent(true);
            let mut reply = answer(&sent);
            let options = options.iter().map(|v| (option::COOKIE, v.to_vec()));
            reply.edns.as_mut().unwrap().options = options.collect();
            let found = match sent.read(reply.encode(MESSAGE_LEN_MAX)) {
                Received::Answer(answer) => Some(answer.cookie),
                Received::Stray(Stray::Cookie) => None,
                other => panic!("{what}: {other:?}"),
            };
            assert_eq!(found, expected, "{what}");
        };
        let server = COOKIE[8..].to_vec();
        let wrong = [8; 16];
        check("ours", &[&COOKIE], Some(Carried::Matched(server.clone())));
        check("none", &[], Some(Carried::Absent));
        check("another's", &[&wrong], None);
        check("too short", &[&COOKIE[..7]], None);
        check("illegal length", &[&COOKIE[..15]], None);
        check(
            "the first counts",
            &[&COOKIE, &wrong],
            Some(Carried::Matched(server)),
        );
        check("the first counts", &[&wrong, &COOKIE], None);
    }

    // RFC 5452 section 9.1, under seeded damage: whatever is accepted has our ID and our question.
    #[test]
    fn damage_never_makes_an_answer_of_something_else() {
        let mut rng = StdRng::seed_from_u64(3);
        let (mut accepted, mut malformed) = (0, 0);
        for round in 0..30_000 {
            let mixed = round % 2 == 0;
            let sent = Sent::new(&ask(mixed), rng.random(), Some(&COOKIE), &mut rng);
            let mut bytes = answer(&sent).encode(MESSAGE_LEN_MAX);
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            if rng.random_ratio(1, 4) {
                bytes.truncate(rng.random_range(0..=bytes.len()));
            }
            let ours = bytes.starts_with(&sent.id.to_be_bytes());
            let question = bytes.get(HEADER_LEN..HEADER_LEN + sent.question_sent.len());
            let same = question.is_some_and(|q| q.eq_ignore_ascii_case(&sent.question_sent));
            let exact = question.is_some_and(|q| q == sent.question_sent);
            match sent.read(bytes) {
                Received::Answer(Answer {
                    message, folded, ..
                }) => {
                    accepted += 1;
                    assert!(ours && same && message.response && message.id == sent.id);
                    assert_eq!(folded, mixed && !exact);
                    assert!(
                        message
                            .question
                            .unwrap()
                            .name
                            .eq_case(&ask(true).question.name)
                    );
                }
                Received::Malformed(_) => {
                    malformed += 1;
                    assert!(ours && same);
                }
                Received::Stray(_) => {}
            }
        }
        assert!(accepted > 1000 && malformed > 1000);
    }
}
