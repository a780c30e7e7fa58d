//! Writes messages with name compression (RFC 1035 section 4.1.4).

use std::collections::HashMap;

use super::message::{HEADER_LEN, Message};
use super::{Question, Record, rdata};

/// Pointers have 14 bits.
const POINTER_MAX: usize = 0x3FFF;

/// A message under construction that never grows past its limit.
pub(super) struct Writer {
    out: Vec<u8>,
    size_max: usize,
    /// Suffixes already written, lower-cased, and where.
    seen: HashMap<Box<[u8]>, u16>,
}

impl Writer {
    pub(super) fn new(size_max: usize) -> Writer {
        Writer {
            out: Vec::with_capacity(512),
            size_max,
            seen: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn raise_limit(&mut self, by: usize) {
        self.size_max += by;
    }

    pub(super) fn header(&mut self, m: &Message) {
        let bit = |set: bool, mask: u8| if set { mask } else { 0 };
        let hi = bit(m.response, 0x80)
            | (m.opcode & 0x0F) << 3
            | bit(m.authoritative, 0x04)
            | bit(m.recursion_desired, 0x01);
        let lo = bit(m.recursion_available, 0x80)
            | bit(m.authentic_data, 0x20)
            | bit(m.checking_disabled, 0x10)
            | (m.rcode.0 & 0x0F) as u8;
        self.out.extend_from_slice(&m.id.to_be_bytes());
        self.out.extend_from_slice(&[hi, lo]);
        let questions = u16::from(m.question.is_some());
        self.out.extend_from_slice(&questions.to_be_bytes());
        self.out.resize(HEADER_LEN, 0);
    }

    pub(super) fn question(&mut self, q: &Question) {
        self.name(q.name.wire(), true);
        self.out.extend_from_slice(&q.rtype.0.to_be_bytes());
        self.out.extend_from_slice(&q.class.0.to_be_bytes());
    }

    /// Writes a record; says whether it stayed within the limit. After `false` the caller rewinds.
    pub(super) fn record(&mut self, r: &Record) -> bool {
        self.name(r.name.wire(), true);
        self.out.extend_from_slice(&r.rtype.0.to_be_bytes());
        self.out.extend_from_slice(&r.class.0.to_be_bytes());
        self.out.extend_from_slice(&r.ttl.to_be_bytes());
        let len_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        rdata::for_each_piece(&r.rdata, r.rtype, |piece, is_name, compressible| {
            if is_name {
                self.name(piece, compressible);
            } else {
                self.out.extend_from_slice(piece);
            }
        });
        let len = self.out.len() - len_at - 2;
        if len > usize::from(u16::MAX) {
            return false;
        }
        self.out[len_at..len_at + 2].copy_from_slice(&(len as u16).to_be_bytes());
        self.out.len() <= self.size_max
    }

    /// Takes back everything from `mark` on.
    pub(super) fn rewind(&mut self, mark: usize) {
        self.out.truncate(mark);
        self.seen.retain(|_, at| usize::from(*at) < mark);
    }

    pub(super) fn finish(mut self, truncated: bool, counts: [u16; 3], opt: bool) -> Vec<u8> {
        if truncated {
            self.out[2] |= 0x02;
        }
        for (i, count) in counts.into_iter().enumerate() {
            let count = count + u16::from(opt && i == 2);
            self.out[6 + 2 * i..8 + 2 * i].copy_from_slice(&count.to_be_bytes());
        }
        self.out
    }

    fn name(&mut self, wire: &[u8], compress: bool) {
        let mut rest = wire;
        while rest[0] != 0 {
            let key = rest.to_ascii_lowercase();
            if compress && let Some(&at) = self.seen.get(&key[..]) {
                self.out.extend_from_slice(&(0xC000 | at).to_be_bytes());
                return;
            }
            if self.out.len() <= POINTER_MAX {
                self.seen.entry(key.into()).or_insert(self.out.len() as u16);
            }
            let (label, tail) = rest.split_at(rest[0] as usize + 1);
            self.out.extend_from_slice(label);
            rest = tail;
        }
        self.out.push(0);
    }
}
