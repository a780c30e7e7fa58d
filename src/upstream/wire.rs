//! A question on the wire, and which octets answer it.
//!
//! An attacker who cannot see our packets must guess what they contain, so everything in them that can
//! be random is: the port (chosen in `socket`), the ID, and the case of the name's letters ("0x20").
//! [`Sent`] remembers what was sent, and [`Sent::read`] sorts what comes back: an answer, a damaged
//! answer, or something that is none of ours. The match is made on the octets, before anything is
//! parsed, so that forgeries cost little and teach nothing.

use rand::{Rng, RngExt};

use super::Ask;
use crate::dns::message::{HEADER_LEN, MESSAGE_LEN_MAX};
use crate::dns::{Message, Name, Question, Rcode, WireError};

/// A question that is under way.
#[derive(Debug)]
pub(super) struct Sent {
    /// The whole message, without a TCP length.
    pub(super) packet: Vec<u8>,
    id: u16,
    /// The question section as it was sent.
    question_sent: Vec<u8>,
    /// The question section as it was asked.
    question_asked: Vec<u8>,
    /// How many octets of these are the name.
    name_len: usize,
    asked: Question,
    case_mixed: bool,
}

/// What some octets from the server's address are.
#[derive(Debug)]
pub(super) enum Received {
    /// The answer; its question has the case of the [`Ask`].
    Answer(Box<Message>),
    /// ID and question agree, the rest is damaged.
    Malformed(WireError),
    /// Anything else: a late answer to another question, a forgery, noise.
    NotOurs,
}

impl Sent {
    /// The message for `ask`, with an ID and (if `mix_case`) a case drawn from `rng`.
    pub(super) fn new(ask: &Ask, mix_case: bool, rng: &mut impl Rng) -> Sent {
        let asked = ask.question.clone();
        let mut sent = asked.clone();
        if mix_case {
            sent.name = mixed(&asked.name, rng);
        }
        let id = rng.random();
        let (question_sent, question_asked) = (question_wire(&sent), question_wire(&asked));
        let query = Message {
            recursion_desired: ask.recursion_desired,
            checking_disabled: ask.checking_disabled,
            edns: ask.edns.clone(),
            ..Message::query(id, sent)
        };
        Sent {
            packet: query.encode(MESSAGE_LEN_MAX),
            id,
            question_sent,
            question_asked,
            name_len: asked.name.wire().len(),
            asked,
            case_mixed: mix_case,
        }
    }

    /// Sorts a message that came from the server's address.
    pub(super) fn read(&self, mut bytes: Vec<u8>) -> Received {
        if self.is_bare_refusal(&bytes) {
            let mut message = match Message::parse(&bytes) {
                Ok(message) => message,
                Err(error) => return Received::Malformed(error),
            };
            message.question = Some(self.asked.clone());
            return Received::Answer(Box::new(message));
        }
        if !self.header_matches(&bytes) || !self.question_matches(&bytes) {
            return Received::NotOurs;
        }
        // Names further on point into the question, so giving it back its case gives them theirs.
        let question = HEADER_LEN..HEADER_LEN + self.question_asked.len();
        bytes[question].copy_from_slice(&self.question_asked);
        match Message::parse(&bytes) {
            Ok(message) => Received::Answer(Box::new(message)),
            Err(error) => Received::Malformed(error),
        }
    }

    /// ID, QR and opcode.
    fn header_matches(&self, bytes: &[u8]) -> bool {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return false;
        };
        // QR set, opcode 0.
        header[..2] == self.id.to_be_bytes() && header[2] & 0xF8 == 0x80
    }

    /// One question, and it is ours. RFC 5452 section 9.1 lists what must agree; with mixed case the
    /// name must be the same octets, otherwise case does not matter (RFC 4343).
    fn question_matches(&self, bytes: &[u8]) -> bool {
        let end = HEADER_LEN + self.question_sent.len();
        let Some(question) = bytes.get(HEADER_LEN..end) else {
            return false;
        };
        let (name, kind) = question.split_at(self.name_len);
        let (name_sent, kind_sent) = self.question_sent.split_at(self.name_len);
        let name_matches = match self.case_mixed {
            true => name == name_sent,
            false => name.eq_ignore_ascii_case(name_sent),
        };
        bytes[4..6] == [0, 1] && name_matches && kind == kind_sent
    }

    /// A header alone that says FORMERR or NOTIMP. A server that cannot read EDNS may not be able to
    /// repeat the question either (RFC 6891 section 7); waiting for better would look like silence.
    fn is_bare_refusal(&self, bytes: &[u8]) -> bool {
        let refusal = |octet: u8| {
            let rcode = Rcode(u16::from(octet & 0x0F));
            rcode == Rcode::FORMERR || rcode == Rcode::NOTIMP
        };
        bytes.len() == HEADER_LEN
            && self.header_matches(bytes)
            && refusal(bytes[3])
            && bytes[4..].iter().all(|&octet| octet == 0)
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

    fn ask(mix_case: bool) -> Ask {
        Ask {
            server: ([192, 0, 2, 1], 53).into(),
            transport: Transport::Udp,
            question: Question::new(NAME.parse().unwrap(), Rtype::A),
            recursion_desired: false,
            checking_disabled: true,
            edns: Some(Edns::new(1232, true)),
            mix_case,
            timeout: Duration::from_secs(1),
        }
    }

    fn sent(mix_case: bool) -> Sent {
        Sent::new(&ask(mix_case), mix_case, &mut StdRng::seed_from_u64(7))
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
        reply.edns = Some(Edns::new(1232, true));
        reply
    }

    #[test]
    fn the_message_carries_what_was_asked() {
        let sent = sent(true);
        let query = Message::parse(&sent.packet).unwrap();
        assert!(!query.response && !query.recursion_desired && query.checking_disabled);
        assert_eq!(query.edns, Some(Edns::new(1232, true)));
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
    fn ids_differ() {
        let mut rng = StdRng::seed_from_u64(1);
        let ids = (0..1000).map(|_| Sent::new(&ask(true), true, &mut rng).id);
        assert!(ids.collect::<std::collections::HashSet<_>>().len() > 950);
    }

    #[test]
    fn the_answer_gets_the_case_of_the_question_back() {
        let sent = sent(true);
        let Received::Answer(message) = sent.read(answer(&sent).encode(MESSAGE_LEN_MAX)) else {
            panic!("not accepted");
        };
        assert_eq!(message.question.unwrap().name.to_string(), NAME);
        assert_eq!(message.answer[0].name.to_string(), NAME);
        assert_eq!(message.authority[0].name.to_string(), "Example.");
        let ns = Name::from_wire(&message.authority[0].rdata).unwrap();
        assert_eq!(ns.to_string(), "ns.Example.");
    }

    #[test]
    fn what_does_not_agree_is_not_ours() {
        #[derive(Debug, PartialEq)]
        enum Is {
            Answer,
            Malformed,
            NotOurs,
        }
        let check = |what: &str, mix_case, change: fn(&mut Vec<u8>), expected| {
            let sent = sent(mix_case);
            let mut bytes = answer(&sent).encode(MESSAGE_LEN_MAX);
            change(&mut bytes);
            let found = match sent.read(bytes) {
                Received::Answer(_) => Is::Answer,
                Received::Malformed(_) => Is::Malformed,
                Received::NotOurs => Is::NotOurs,
            };
            assert_eq!(found, expected, "{what}");
        };
        let lower: fn(&mut Vec<u8>) = |b| {
            let end = HEADER_LEN + NAME.len();
            b[HEADER_LEN..end].make_ascii_lowercase();
        };
        check("as sent", true, |_| (), Is::Answer);
        check("ID", true, |b| b[0] ^= 1, Is::NotOurs);
        check("QR", true, |b| b[2] ^= 0x80, Is::NotOurs);
        check("opcode", true, |b| b[2] ^= 0x20, Is::NotOurs);
        check("no question", true, |b| b[5] = 0, Is::NotOurs);
        check("two questions", true, |b| b[5] = 2, Is::NotOurs);
        check("name", true, |b| b[HEADER_LEN + 1] = b'x', Is::NotOurs);
        check("case", true, lower, Is::NotOurs);
        check("case, unmixed", false, lower, Is::Answer);
        let type_at = HEADER_LEN + NAME.len() + 1;
        assert_eq!(type_at, 47);
        check("type", true, |b| b[48] = 28, Is::NotOurs);
        check("type, as letters", false, |b| b[48] ^= 0x20, Is::NotOurs);
        check("class", true, |b| b[50] = 3, Is::NotOurs);
        check("cut in header", true, |b| b.truncate(11), Is::NotOurs);
        check("cut in question", true, |b| b.truncate(40), Is::NotOurs);
        check("cut in answer", true, |b| b.truncate(60), Is::Malformed);
        check("empty", true, |b| b.clear(), Is::NotOurs);
        fn bare(b: &mut Vec<u8>, rcode: u8) {
            b.truncate(HEADER_LEN);
            b[3] = rcode;
            b[4..].fill(0);
        }
        check("bare FORMERR", true, |b| bare(b, 1), Is::Answer);
        check("bare NOTIMP", true, |b| bare(b, 4), Is::Answer);
        check("bare NOERROR", true, |b| bare(b, 0), Is::NotOurs);
        check("bare NXDOMAIN", true, |b| bare(b, 3), Is::NotOurs);
    }

    // RFC 5452 section 9.1, under seeded damage: whatever is accepted has our ID and our question.
    #[test]
    fn damage_never_makes_an_answer_of_something_else() {
        let mut rng = StdRng::seed_from_u64(3);
        let (mut accepted, mut malformed) = (0, 0);
        for round in 0..30_000 {
            let sent = Sent::new(&ask(round % 2 == 0), round % 2 == 0, &mut rng);
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
            let same = question.is_some_and(|q| match sent.case_mixed {
                true => q == sent.question_sent,
                false => q.eq_ignore_ascii_case(&sent.question_sent),
            });
            match sent.read(bytes) {
                Received::Answer(message) => {
                    accepted += 1;
                    assert!(ours && same && message.response && message.id == sent.id);
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
                Received::NotOurs => {}
            }
        }
        assert!(accepted > 1000 && malformed > 1000);
    }
}
