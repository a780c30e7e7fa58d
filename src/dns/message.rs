//! DNS messages (RFC 1035 section 4), read whole and written with compression.
//!
//! The reader takes what peers send and answers with a [`Message`] or a [`WireError`]; the work is
//! linear in the message. A record whose data has not the form of its type fails the whole message:
//! its sender cannot be trusted to have meant the rest. Types without a known form always pass.

use super::edns::option;
use super::writer::Writer;
use super::{Class, Edns, Name, Rcode, Record, Rtype, WireError, rdata};

/// The largest message, octets (the TCP length field).
pub const MESSAGE_LEN_MAX: usize = 65_535;
/// Octets of the header.
pub const HEADER_LEN: usize = 12;
/// The operation code of NOTIFY (RFC 1996).
pub const OPCODE_NOTIFY: u8 = 4;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// Name, case as given.
    pub name: Name,
    /// Type.
    pub rtype: Rtype,
    /// Class.
    pub class: Class,
}

impl Question {
    /// A question in class IN.
    pub fn new(name: Name, rtype: Rtype) -> Question {
        Question {
            name,
            rtype,
            class: Class::IN,
        }
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.rtype)?;
        if self.class != Class::IN {
            write!(f, " {}", self.class)
        } else {
            Ok(())
        }
    }
}

/// A DNS message in parsed form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Transaction identifier.
    pub id: u16,
    /// QR: this is a response.
    pub response: bool,
    /// Operation code; 0 = query, 4 = notify.
    pub opcode: u8,
    /// AA: authoritative answer.
    pub authoritative: bool,
    /// TC: truncated.
    pub truncated: bool,
    /// RD: recursion desired.
    pub recursion_desired: bool,
    /// RA: recursion available.
    pub recursion_available: bool,
    /// AD: authentic data (RFC 4035 section 3.1.6, RFC 6840 section 5.7).
    pub authentic_data: bool,
    /// CD: checking disabled.
    pub checking_disabled: bool,
    /// Response code, with EDNS' upper bits.
    pub rcode: Rcode,
    /// The question; some errors come without.
    pub question: Option<Question>,
    /// Answer section.
    pub answer: Vec<Record>,
    /// Authority section.
    pub authority: Vec<Record>,
    /// Additional section, without OPT.
    pub additional: Vec<Record>,
    /// The OPT record.
    pub edns: Option<Edns>,
}

impl Default for Rcode {
    fn default() -> Self {
        Rcode::NOERROR
    }
}

/// The first two octets of a message: its identifier. For what is too short to be read further.
pub fn peek_id(msg: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*msg.first_chunk()?))
}

impl Message {
    /// A query for `question`.
    pub fn query(id: u16, question: Question) -> Message {
        Message {
            id,
            question: Some(question),
            ..Message::default()
        }
    }

    /// An answer to `self` with nothing in it: ID, opcode, question, RD and CD copied, QR set.
    pub fn reply(&self, rcode: Rcode) -> Message {
        Message {
            id: self.id,
            response: true,
            opcode: self.opcode,
            recursion_desired: self.recursion_desired,
            checking_disabled: self.checking_disabled,
            rcode,
            question: self.question.clone(),
            ..Message::default()
        }
    }

    /// Reads a message. Octets after the last record are ignored, as peers do.
    pub fn parse(msg: &[u8]) -> Result<Message, WireError> {
        let header: &[u8; HEADER_LEN] = msg.first_chunk().ok_or(WireError::Truncated)?;
        let word = |i: usize| u16::from_be_bytes([header[i], header[i + 1]]);
        let (hi, lo) = (header[2], header[3]);
        let mut out = Message {
            id: word(0),
            response: hi & 0x80 != 0,
            opcode: hi >> 3 & 0x0F,
            authoritative: hi & 0x04 != 0,
            truncated: hi & 0x02 != 0,
            recursion_desired: hi & 0x01 != 0,
            recursion_available: lo & 0x80 != 0,
            authentic_data: lo & 0x20 != 0,
            checking_disabled: lo & 0x10 != 0,
            rcode: Rcode(u16::from(lo & 0x0F)),
            ..Message::default()
        };
        let mut pos = HEADER_LEN;
        match word(4) {
            0 => {}
            1 => {
                let (name, at) = Name::parse(msg, pos)?;
                let f: &[u8; 4] = msg
                    .get(at..)
                    .and_then(|m| m.first_chunk())
                    .ok_or(WireError::Truncated)?;
                out.question = Some(Question {
                    name,
                    rtype: Rtype(u16::from_be_bytes([f[0], f[1]])),
                    class: Class(u16::from_be_bytes([f[2], f[3]])),
                });
                pos = at + 4;
            }
            // RFC 9619: QDCOUNT above one is a format error.
            _ => return Err(WireError::BadForm),
        }
        for section in 0..3 {
            for _ in 0..word(6 + 2 * section) {
                let (record, next) = parse_record(msg, pos)?;
                pos = next;
                match (record.rtype, section) {
                    (Rtype::OPT, 2) if out.edns.is_none() => {
                        let (edns, ext) = Edns::from_record(&record)?;
                        out.rcode.0 |= ext << 4;
                        out.edns = Some(edns);
                    }
                    (Rtype::OPT, _) => return Err(WireError::BadForm),
                    (_, 0) => out.answer.push(record),
                    (_, 1) => out.authority.push(record),
                    _ => out.additional.push(record),
                }
            }
        }
        Ok(out)
    }

    /// Writes the message, in at most `size_max` octets (512 to 65,535).
    ///
    /// What does not fit is left out by whole RRsets, from the end. TC is set when that loses part of
    /// the answer or authority section, or the glue of a referral (RFC 2181 section 9, RFC 9471
    /// section 3); other additional data goes without a sign. OPT always fits.
    pub fn encode(&self, size_max: usize) -> Vec<u8> {
        self.write(size_max, None)
    }

    /// As [`Message::encode`], and pads the message until it is a multiple of `block` octets long together with the `tail` octets
    /// that the caller will append (RFC 7830, RFC 8467 section 4.1), or as long as it may be. Without EDNS nothing is padded.
    pub fn encode_padded(&self, size_max: usize, block: usize, tail: usize) -> Vec<u8> {
        self.write(size_max, Some((block, tail)))
    }

    fn write(&self, size_max: usize, padding: Option<(usize, usize)>) -> Vec<u8> {
        let mut opt = self.edns.as_ref().map(|e| e.to_record(self.rcode));
        let opt_len = opt.as_ref().map_or(0, |r| 11 + r.rdata.len());
        let mut w = Writer::new(size_max.saturating_sub(opt_len));
        w.header(self);
        if let Some(q) = &self.question {
            w.question(q);
        }
        let mut truncated = self.truncated;
        let mut counts = [0u16; 3];
        let sections = [&self.answer, &self.authority, &self.additional];
        'sections: for (i, section) in sections.into_iter().enumerate() {
            for set in section.chunk_by(same_set) {
                let mark = w.len();
                if set.iter().all(|r| w.record(r)) {
                    counts[i] += set.len() as u16;
                    continue;
                }
                w.rewind(mark);
                if i < 2 || self.is_glue(&set[0].name) {
                    truncated = true;
                    break 'sections;
                }
            }
        }
        w.raise_limit(opt_len);
        if let (Some((block, tail)), Some(opt)) = (padding, &mut opt) {
            let len = w.len() + opt_len + option::HEAD_LEN;
            let missing = (len + tail).next_multiple_of(block) - (len + tail);
            if let Some(room) = size_max.checked_sub(len) {
                w.raise_limit(option::HEAD_LEN + missing.min(room));
                *opt = padded(opt, missing.min(room));
            }
        }
        if let Some(opt) = &opt {
            w.record(opt);
        }
        w.finish(truncated, counts, opt.is_some())
    }

    /// Whether this message is a referral and `name` one of the name servers inside the delegation.
    fn is_glue(&self, name: &Name) -> bool {
        self.answer.is_empty()
            && !self.authoritative
            && self.authority.iter().any(|r| {
                r.rtype == Rtype::NS
                    && name.is_within(&r.name)
                    && rdata::single_name(&r.rdata).as_ref() == Some(name)
            })
    }

    /// The extended errors that the message carries.
    pub fn errors(&self) -> Vec<super::Ede> {
        self.edns.iter().flat_map(|e| e.errors()).collect()
    }
}

/// An OPT record with an option of so many octets more, all zero (RFC 7830 section 3).
fn padded(opt: &Record, len: usize) -> Record {
    let mut rdata = opt.rdata.to_vec();
    rdata.extend(option::PADDING.to_be_bytes());
    rdata.extend((len as u16).to_be_bytes());
    rdata.resize(rdata.len() + len, 0);
    Record {
        rdata: rdata.into(),
        ..opt.clone()
    }
}

/// Reads the record at `pos`; returns it and the position after it.
pub fn parse_record(msg: &[u8], pos: usize) -> Result<(Record, usize), WireError> {
    let (name, at) = Name::parse(msg, pos)?;
    let f: &[u8; 10] = msg
        .get(at..)
        .and_then(|m| m.first_chunk())
        .ok_or(WireError::Truncated)?;
    let rtype = Rtype(u16::from_be_bytes([f[0], f[1]]));
    let class = Class(u16::from_be_bytes([f[2], f[3]]));
    let ttl = u32::from_be_bytes([f[4], f[5], f[6], f[7]]);
    let len = usize::from(u16::from_be_bytes([f[8], f[9]]));
    let start = at + 10;
    let rdata = rdata::parse(msg, start, len, rtype)?;
    // RFC 2181 section 8: a TTL with the top bit set is 0. OPT uses the field otherwise.
    let ttl = if ttl >> 31 == 1 && rtype != Rtype::OPT {
        0
    } else {
        ttl
    };
    Ok((
        Record {
            name,
            rtype,
            class,
            ttl,
            rdata,
        },
        start + len,
    ))
}

/// Records that must stay together: one RRset, or its signatures.
fn same_set(a: &Record, b: &Record) -> bool {
    a.rtype == b.rtype && a.class == b.class && a.name == b.name
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Message as Hickory;
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    fn sample() -> Message {
        let q = Question::new("www.example.".parse().unwrap(), Rtype::A);
        let mut m = Message::query(7, q).reply(Rcode::NOERROR);
        let record = |name: &str, rtype, rdata: &[u8]| Record {
            name: name.parse().unwrap(),
            rtype,
            class: Class::IN,
            ttl: 60,
            rdata: rdata.into(),
        };
        m.answer.push(record(
            "www.example.",
            Rtype::CNAME,
            b"\x03web\x07example\x00",
        ));
        m.answer
            .push(record("web.example.", Rtype::A, &[192, 0, 2, 1]));
        m.answer
            .push(record("web.example.", Rtype::A, &[192, 0, 2, 2]));
        m.authority
            .push(record("example.", Rtype::NS, b"\x02ns\x07example\x00"));
        m.additional
            .push(record("ns.example.", Rtype::A, &[192, 0, 2, 53]));
        m.additional
            .push(record("ns.example.", Rtype(65400), b"anything"));
        m.edns = Some(Edns::new(1232, true));
        m
    }

    #[test]
    fn reads_what_it_writes() {
        let m = sample();
        let wire = m.encode(MESSAGE_LEN_MAX);
        assert_eq!(Message::parse(&wire), Ok(m));
    }

    #[test]
    fn hickory_reads_it_alike() {
        let wire = sample().encode(MESSAGE_LEN_MAX);
        let h = Hickory::from_vec(&wire).unwrap();
        assert_eq!(h.answers.len(), 3);
        assert_eq!(h.authorities.len(), 1);
        assert_eq!(h.additionals.len(), 2);
        let again = Message::parse(&h.to_vec().unwrap()).unwrap();
        assert_eq!(again.answer, sample().answer);
        assert_eq!(again.additional, sample().additional);
    }

    #[test]
    fn too_long_is_cut_by_sets_with_tc() {
        let m = sample();
        let full = m.encode(MESSAGE_LEN_MAX).len();
        for size in 60..full {
            let wire = m.encode(size);
            assert!(wire.len() <= size, "{size}");
            let short = Message::parse(&wire).unwrap();
            assert!(short.edns.is_some());
            let a_records = short.answer.iter().filter(|r| r.rtype == Rtype::A).count();
            assert!(a_records == 0 || a_records == 2, "no half set at {size}");
            let lost = short.answer.len() < 3 || short.authority.is_empty();
            assert_eq!(short.truncated, lost, "{size}");
        }
    }

    #[test]
    fn padded_messages_fill_blocks() {
        let mut message = sample();
        message.edns = Some(Edns::new(1232, true));
        let bare = message.encode(MESSAGE_LEN_MAX);
        let check = |block, tail, size_max, expected: usize| {
            let padded = message.encode_padded(size_max, block, tail);
            assert_eq!(padded.len(), expected, "{block} {tail} {size_max}");
            let mut back = Message::parse(&padded).unwrap();
            let edns = back.edns.as_mut().unwrap();
            if expected > bare.len() {
                let (code, value) = edns.options.pop().unwrap();
                assert_eq!(code, option::PADDING);
                assert!(value.iter().all(|b| *b == 0));
            }
            assert_eq!(back, message);
        };
        check(468, 0, MESSAGE_LEN_MAX, 468);
        check(468, 100, MESSAGE_LEN_MAX, 368);
        check(bare.len() + 4, 0, MESSAGE_LEN_MAX, bare.len() + 4);
        check(bare.len() + 3, 0, MESSAGE_LEN_MAX, 2 * bare.len() + 6);
        // No longer than allowed, and whole rather than padded.
        check(468, 0, bare.len() + 20, bare.len() + 20);
        check(468, 0, bare.len() + 3, bare.len());
        message.edns = None;
        let plain = message.encode(MESSAGE_LEN_MAX);
        assert_eq!(message.encode_padded(MESSAGE_LEN_MAX, 468, 0), plain);
    }

    #[test]
    fn two_questions_and_two_opts_are_refused() {
        let mut wire = sample().encode(MESSAGE_LEN_MAX);
        wire[5] = 2;
        assert_eq!(Message::parse(&wire), Err(WireError::BadForm));
        let mut wire = sample().encode(MESSAGE_LEN_MAX);
        let opt = wire[wire.len() - 11..].to_vec();
        wire.extend(opt);
        wire[11] += 1;
        assert_eq!(Message::parse(&wire), Err(WireError::BadForm));
    }

    // Seeded damage: the reader returns, and what it accepts can be written and read again.
    #[test]
    fn damaged_messages_never_panic() {
        let good = sample().encode(MESSAGE_LEN_MAX);
        let mut rng = SmallRng::seed_from_u64(1);
        let mut accepted = 0;
        for _ in 0..50_000 {
            let mut wire = good.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..wire.len());
                wire[at] = rng.random();
            }
            if rng.random_ratio(1, 4) {
                wire.truncate(rng.random_range(0..=wire.len()));
            }
            if let Ok(m) = Message::parse(&wire) {
                accepted += 1;
                let again = Message::parse(&m.encode(MESSAGE_LEN_MAX));
                assert!(again.is_ok());
            }
        }
        assert!(accepted > 1000);
    }
}
