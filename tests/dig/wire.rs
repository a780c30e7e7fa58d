//! Just enough DNS wire format to ask and to judge an answer.
//!
//! Written apart from the program on purpose: a fault in the program's codec must not hide itself from the lab.

use std::net::Ipv4Addr;

pub const A: u16 = 1;
const OPT: u16 = 41;
const EDE_OPTION: u16 = 15;
const NAME_HOPS_MAX: usize = 32;

/// One parsed reply; sections beside the answer are read only for EDE.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub id: u16,
    pub rcode: u8,
    pub ad: bool,
    pub answers: Vec<Rr>,
    /// Extended DNS error codes (RFC 8914).
    pub ede: Vec<u16>,
}

/// A record with its RDATA as the message carried it.
#[derive(Debug, Clone)]
pub struct Rr {
    pub rtype: u16,
    pub rdata: Vec<u8>,
}

impl Reply {
    /// The addresses in the answer section, in message order.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        let v4 = |rr: &Rr| <[u8; 4]>::try_from(rr.rdata.as_slice()).ok();
        self.answers
            .iter()
            .filter(|rr| rr.rtype == A)
            .filter_map(v4)
            .map(Ipv4Addr::from)
            .collect()
    }
}

/// A question with RD=1, EDNS 1232 and DO=1.
pub fn question(id: u16, name: &str, rtype: u16) -> Vec<u8> {
    let mut message = Vec::with_capacity(64);
    for word in [id, 0x0100, 1, 0, 0, 1] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    for word in [rtype, 1] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    // OPT: root owner, type, UDP size, extended rcode and version, flags (DO), no options.
    message.push(0);
    for word in [OPT, 1232, 0, 0x8000, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message
}

/// `None` for anything that is not a well-formed reply.
pub fn parse(message: &[u8]) -> Option<Reply> {
    let mut reader = Reader { message, at: 0 };
    let id = reader.word()?;
    let flags = reader.word()?;
    if flags & 0x8000 == 0 {
        return None;
    }
    let (questions, answers) = (reader.word()?, reader.word()?);
    let others = usize::from(reader.word()?) + usize::from(reader.word()?);
    let mut reply = Reply {
        id,
        rcode: (flags & 0xf) as u8,
        ad: flags & 0x20 != 0,
        ..Reply::default()
    };
    for _ in 0..questions {
        reader.skip_name()?;
        reader.take(4)?;
    }
    for _ in 0..answers {
        reply.answers.push(reader.record()?);
    }
    for _ in 0..others {
        let rr = reader.record()?;
        if rr.rtype == OPT {
            reply.ede = ede_codes(&rr.rdata);
        }
    }
    Some(reply)
}

fn ede_codes(mut options: &[u8]) -> Vec<u16> {
    let mut codes = Vec::new();
    while let [c0, c1, l0, l1, rest @ ..] = options {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let Some(value) = rest.get(..length) else {
            break;
        };
        if u16::from_be_bytes([*c0, *c1]) == EDE_OPTION && length >= 2 {
            codes.push(u16::from_be_bytes([value[0], value[1]]));
        }
        options = &rest[length..];
    }
    codes
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(bytes)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn skip_name(&mut self) -> Option<()> {
        for _ in 0..NAME_HOPS_MAX {
            match self.take(1)?[0] {
                0 => return Some(()),
                length @ 1..=63 => self.take(usize::from(length)).map(|_| ())?,
                0xc0.. => return self.take(1).map(|_| ()),
                _ => return None,
            }
        }
        None
    }

    fn record(&mut self) -> Option<Rr> {
        self.skip_name()?;
        let rtype = self.word()?;
        self.take(6)?;
        let length = self.word()?;
        Some(Rr {
            rtype,
            rdata: self.take(usize::from(length))?.to_vec(),
        })
    }
}
