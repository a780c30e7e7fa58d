//! Packs records into the messages of a zone transfer, names compressed (RFC 1035 section 4.1.4).
//!
//! The case of each name survives (RFC 5936 section 3.4): a name is pointed to only by its equal.
//!
//! A message ends with the first record that begins where no pointer leads any more, 16 KiB in: beyond that each owner would be written
//! out once per record, which costs more than the few headers that longer messages save. A long record may make it longer.
//!
//! Why not the writer of answers: a transfer is millions of records in a row, and that one asks the allocator for each label.
//! Here the places of names are kept in one small table that is cleared with each message. Its slots hold offsets alone; what
//! stands at an offset is compared before it is pointed to, so a slot may be wrong, and costs two octets then.

use super::message::{HEADER_LEN, MESSAGE_LEN_MAX};
use super::name::LABELS_MAX;
use super::rdata;
use super::{Class, Edns, Message, Rcode, Rtype};

/// Pointers have 14 bits.
const POINTER_MAX: usize = 0x3FFF;
/// Room for a message is made for its usual length at once, in octets; it grows for a long record.
const USUAL_LEN_BYTES: usize = POINTER_MAX + 1024;
/// Slots for the places of names; more than names fit before the last place that can be pointed to.
const SLOTS: usize = 4096;
/// A name may stand in so many slots, one after the other: where two names want the same one, the later would be written out again and
/// again.
const PROBES: usize = 4;

const _: () = assert!(SLOTS.is_power_of_two());

/// Records of the answer section on their way into messages.
pub struct Packer {
    out: Vec<u8>,
    /// Octets that a message may have.
    size_max: usize,
    answers: u16,
    slots: Box<[u16; SLOTS]>,
}

impl Packer {
    /// A packer of messages of at most `size_max` octets.
    pub fn new(size_max: usize) -> Packer {
        Packer {
            out: Vec::new(),
            size_max: size_max.min(MESSAGE_LEN_MAX),
            answers: 0,
            slots: Box::new([0; SLOTS]),
        }
    }

    /// Begins a message with the header of `head`, and its question if it has one. The answer section is filled by [`Packer::push`];
    /// OPT, if there is one, has its place kept free.
    pub fn begin(&mut self, head: &Message) {
        self.slots.fill(0);
        self.answers = 0;
        self.out = Vec::with_capacity(self.size_max.min(USUAL_LEN_BYTES));
        let bare = Message {
            edns: None,
            ..head.clone()
        };
        self.out.extend_from_slice(&bare.encode(MESSAGE_LEN_MAX));
        if let Some(question) = &head.question {
            // It was written whole: the places of its labels are known.
            let (hashes, starts, count) = suffixes(question.name.wire());
            for i in 0..count {
                self.remember(hashes[i], HEADER_LEN + usize::from(starts[i]));
            }
        }
    }

    /// Adds a record of class IN; `false`, and nothing is added, if it has no room, or names in it could not be pointed to.
    pub fn push(&mut self, name: &[u8], rtype: Rtype, ttl: u32, data: &[u8], room: usize) -> bool {
        let mark = self.out.len();
        if self.answers == u16::MAX || (mark > POINTER_MAX && self.answers > 0) {
            return false;
        }
        self.name(name);
        self.out.extend_from_slice(&rtype.0.to_be_bytes());
        self.out.extend_from_slice(&Class::IN.0.to_be_bytes());
        self.out.extend_from_slice(&ttl.to_be_bytes());
        let len_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        if rdata::has_compressible_name(rtype) {
            rdata::for_each_piece(data, rtype, |piece, is_name, compressible| {
                match is_name && compressible {
                    true => self.name(piece),
                    false => self.out.extend_from_slice(piece),
                }
            });
        } else {
            self.out.extend_from_slice(data);
        }
        let len = self.out.len() - len_at - 2;
        let fits = self.out.len() + room <= self.size_max;
        let Some(len) = u16::try_from(len).ok().filter(|_| fits) else {
            // Slots may point behind the mark now; what they point to is compared before it is used.
            self.out.truncate(mark);
            return false;
        };
        self.out[len_at..len_at + 2].copy_from_slice(&len.to_be_bytes());
        self.answers += 1;
        true
    }

    /// Whether the message has no record yet.
    pub fn is_empty(&self) -> bool {
        self.answers == 0
    }

    /// The message, with an OPT record if there is to be one. The next one is to be begun anew.
    pub fn take(&mut self, edns: Option<&Edns>) -> Vec<u8> {
        let mut out = std::mem::take(&mut self.out);
        out[6..8].copy_from_slice(&self.answers.to_be_bytes());
        if let Some(edns) = edns {
            let opt = edns.to_record(Rcode::NOERROR);
            out.push(0);
            out.extend_from_slice(&opt.rtype.0.to_be_bytes());
            out.extend_from_slice(&opt.class.0.to_be_bytes());
            out.extend_from_slice(&opt.ttl.to_be_bytes());
            out.extend_from_slice(&(opt.rdata.len() as u16).to_be_bytes());
            out.extend_from_slice(&opt.rdata);
            out[10..12].copy_from_slice(&1u16.to_be_bytes());
        }
        out
    }

    /// Writes a name: as much of it as is new, and a pointer to the rest.
    fn name(&mut self, wire: &[u8]) {
        let (hashes, starts, count) = suffixes(wire);
        for i in 0..count {
            let start = usize::from(starts[i]);
            if let Some(at) = self.find(hashes[i], &wire[start..]) {
                self.out.extend_from_slice(&(0xC000 | at).to_be_bytes());
                return;
            }
            self.remember(hashes[i], self.out.len());
            let len = usize::from(wire[start]) + 1;
            self.out.extend_from_slice(&wire[start..start + len]);
        }
        self.out.push(0);
    }

    /// Notes where a suffix begins; who came first keeps the slot: the suffixes that many names share come early.
    fn remember(&mut self, hash: u32, at: usize) {
        if at > POINTER_MAX {
            return;
        }
        for slot in slots_of(hash) {
            let slot = &mut self.slots[slot];
            // Beyond the end: of a record that was taken back.
            if *slot == 0 || usize::from(*slot) >= self.out.len() {
                *slot = at as u16;
                return;
            }
        }
    }

    /// Where `suffix` stands already.
    fn find(&self, hash: u32, suffix: &[u8]) -> Option<u16> {
        let places = slots_of(hash).map(|slot| self.slots[slot]);
        let mut places = places.take_while(|at| *at != 0);
        places.find(|at| self.stands_at(usize::from(*at), suffix))
    }

    /// Whether the name at an offset is `suffix`, octet by octet.
    fn stands_at(&self, at: usize, suffix: &[u8]) -> bool {
        let (mut at, mut rest, mut pointers) = (at, suffix, 0);
        loop {
            match self.out.get(at..) {
                Some(&[high @ 0xC0..=0xFF, low, ..]) if pointers < LABELS_MAX => {
                    at = usize::from(high & 0x3F) << 8 | usize::from(low);
                    pointers += 1;
                }
                Some(label @ &[len @ 0..=63, ..]) => {
                    let len = usize::from(len) + 1;
                    let (Some(label), Some((wanted, tail))) =
                        (label.get(..len), rest.split_at_checked(len))
                    else {
                        return false;
                    };
                    if label != wanted {
                        return false;
                    }
                    if len == 1 {
                        return true;
                    }
                    (at, rest) = (at + len, tail);
                }
                _ => return false,
            }
        }
    }
}

/// The slots in which a name of this hash may stand.
fn slots_of(hash: u32) -> impl Iterator<Item = usize> {
    (0..PROBES).map(move |probe| (hash as usize).wrapping_add(probe) & (SLOTS - 1))
}

/// A hash of each suffix of a name, longest first, without the root; where each begins; how many.
fn suffixes(wire: &[u8]) -> ([u32; LABELS_MAX], [u8; LABELS_MAX], usize) {
    let (mut hashes, mut starts) = ([0; LABELS_MAX], [0; LABELS_MAX]);
    let (mut at, mut count) = (0, 0);
    while let Some(&len) = wire.get(at).filter(|len| **len > 0) {
        if count == LABELS_MAX {
            break;
        }
        starts[count] = at as u8;
        count += 1;
        at += usize::from(len) + 1;
    }
    // FNV-1a, from the last label on, so that a suffix has the same hash whatever comes before it.
    let mut hash = 0x811c_9dc5u32;
    for i in (0..count).rev() {
        let start = usize::from(starts[i]);
        for &octet in &wire[start..=start + usize::from(wire[start])] {
            hash = (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193);
        }
        // The low bits choose the slot.
        hashes[i] = hash ^ hash >> 16;
    }
    (hashes, starts, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Question, Record};
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    fn head() -> Message {
        let question = Question::new("Example.".parse().unwrap(), Rtype::AXFR);
        Message::query(7, question).reply(Rcode::NOERROR)
    }

    fn push(packer: &mut Packer, record: &Record, room: usize) -> bool {
        let (name, data) = (record.name.wire(), &record.rdata);
        packer.push(name, record.rtype, record.ttl, data, room)
    }

    fn record(name: &str, rtype: Rtype, rdata: &[u8]) -> Record {
        Record {
            name: name.parse().unwrap(),
            rtype,
            class: Class::IN,
            ttl: 60,
            rdata: rdata.into(),
        }
    }

    #[test]
    fn names_are_compressed_and_read_back() {
        let records = [
            record("example.", Rtype::NS, b"\x01a\x02ns\x07eXample\x00"),
            record("example.", Rtype::NS, b"\x01b\x02ns\x07example\x00"),
            record("b.ns.example.", Rtype::A, &[192, 0, 2, 1]),
            record(
                "b.ns.example.",
                Rtype::MX,
                b"\x00\x01\x01b\x02ns\x07example\x00",
            ),
            // RFC 3597 section 4: not compressed.
            record("x.example.", Rtype::DNAME, b"\x02ns\x07example\x00"),
            record(".", Rtype::NS, b"\x00"),
        ];
        let mut packer = Packer::new(MESSAGE_LEN_MAX);
        packer.begin(&head());
        assert!(packer.is_empty());
        for record in &records {
            assert!(push(&mut packer, record, 0));
        }
        let wire = packer.take(Some(&Edns::new(1232, true)));
        let message = Message::parse(&wire).unwrap();
        assert_eq!(message.answer, records);
        assert_eq!(message.edns, Some(Edns::new(1232, true)));
        assert_eq!(message.question, head().question);
        // Header, question, six fixed parts; owners 9+2+2+2+4+1, data 14+7+4+4+12+1, OPT.
        assert_eq!(wire.len(), 12 + 13 + 6 * 10 + 20 + 42 + 11);
        let target = crate::dns::Name::from_wire(&message.answer[0].rdata).unwrap();
        assert!(target.eq_case(&"a.ns.eXample.".parse().unwrap()));
    }

    #[test]
    fn a_record_without_room_leaves_no_trace() {
        let mut packer = Packer::new(100);
        packer.begin(&head());
        let long = record("long.name.of.a.host.example.", Rtype::TXT, &[b'x'; 90]);
        let short = record("host.example.", Rtype::A, &[192, 0, 2, 1]);
        assert!(!push(&mut packer, &long, 0));
        assert!(!push(&mut packer, &short, 80));
        // `host.example.` was written and taken back: it must not be pointed to.
        assert!(push(&mut packer, &short, 0));
        let message = Message::parse(&packer.take(None)).unwrap();
        assert_eq!(message.answer, [short]);
    }

    /// As a top-level zone has them: of each delegation the owner is written once, and pointed to from then on.
    #[test]
    fn no_owner_is_written_twice() {
        let mut packer = Packer::new(MESSAGE_LEN_MAX);
        packer.begin(&head());
        let mut records = 0;
        'message: loop {
            let owner = format!("delegation-{records:06}.example.");
            for server in 0..4 {
                let target = format!("ns{server}.hosting.example.")
                    .parse::<crate::dns::Name>()
                    .unwrap();
                let record = record(&owner, Rtype::NS, target.wire());
                if !push(&mut packer, &record, 0) {
                    break 'message;
                }
                records += 1;
            }
        }
        let wire = packer.take(None);
        let message = Message::parse(&wire).unwrap();
        assert_eq!(message.answer.len(), records);
        // A pointer, the fixed part, another pointer; the label of the owner once for four of them; the servers' names once.
        assert!(wire.len() > POINTER_MAX);
        assert!(wire.len() <= records * (2 + 10 + 2) + (records / 4 + 1) * 18 + 100);
    }

    #[test]
    fn a_record_longer_than_a_usual_message_has_one_of_its_own() {
        let mut packer = Packer::new(MESSAGE_LEN_MAX);
        packer.begin(&head());
        let long = record("a.example.", Rtype(65400), &[7; 60_000]);
        assert!(push(&mut packer, &long, 0));
        assert!(!push(
            &mut packer,
            &record("b.example.", Rtype(65400), b"x"),
            0
        ));
        assert_eq!(Message::parse(&packer.take(None)).unwrap().answer, [long]);
    }

    // Seeded: whatever the names, what is read is what was written, over many messages.
    #[test]
    fn random_names_survive() {
        let mut rng = SmallRng::seed_from_u64(3);
        let mut packer = Packer::new(MESSAGE_LEN_MAX);
        for _ in 0..5 {
            packer.begin(&Message {
                question: None,
                ..head()
            });
            let mut expected = Vec::new();
            loop {
                let mut label = |_| {
                    let letter = ["a", "b", "X", "Y"][rng.random_range(0..4)];
                    letter.repeat(rng.random_range(1..20))
                };
                let labels: Vec<String> = (0..4).map(&mut label).collect();
                let owner = labels.join(".") + ".";
                let target: crate::dns::Name = format!("{}.{owner}", rng.random::<u8>())
                    .trim_end_matches('.')
                    .parse()
                    .unwrap();
                let record = record(&owner, Rtype::NS, target.wire());
                if !push(&mut packer, &record, 0) {
                    break;
                }
                expected.push(record);
            }
            let wire = packer.take(None);
            assert!((POINTER_MAX..POINTER_MAX + 512).contains(&wire.len()));
            let message = Message::parse(&wire).unwrap();
            assert_eq!(message.answer, expected);
            let same_case = |(a, b): (&Record, &Record)| a.name.eq_case(&b.name);
            assert!(message.answer.iter().zip(&expected).all(same_case));
        }
    }
}
