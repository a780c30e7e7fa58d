//! Writes messages with name compression (RFC 1035 section 4.1.4).

use super::message::{HEADER_LEN, Message};
use super::name::LABELS_MAX;
use super::{Question, Record, rdata};

/// Pointers have 14 bits.
const POINTER_MAX: usize = 0x3FFF;

/// A message under construction that never grows past its limit.
pub(super) struct Writer {
    out: Vec<u8>,
    size_max: usize,
    seen: Seen,
}

impl Writer {
    pub(super) fn new(size_max: usize) -> Writer {
        Writer {
            out: Vec::with_capacity(512),
            size_max,
            seen: Seen::default(),
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
        self.seen.rewind(mark);
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
        let (starts, hashes, labels) = suffixes(wire);
        for (&start, &hash) in starts[..labels].iter().zip(&hashes) {
            let rest = &wire[usize::from(start)..];
            match self.seen.find(&self.out, rest, hash) {
                Ok(at) if compress => {
                    self.out.extend_from_slice(&(0xC000 | at).to_be_bytes());
                    return;
                }
                Ok(_) => {}
                Err(slot) => self.seen.insert(slot, hash, self.out.len()),
            }
            let label = &rest[..usize::from(rest[0]) + 1];
            self.out.extend_from_slice(label);
        }
        self.out.push(0);
    }
}

/// Where suffixes of names stand in a message: a table of open addresses, so that a small message costs no allocation per suffix.
///
/// Failure: strangers choose the names, so they may have them all begin their search at one slot. After `PROBES_MAX` slots a suffix
/// passes for one that was not written, and is not remembered either: the message becomes a little longer.
#[derive(Default)]
struct Seen {
    /// None, or a power of two of them.
    slots: Vec<Slot>,
    used: usize,
}

/// A suffix's hash, and where it stands; 0 where there is none, for there the header stands.
#[derive(Clone, Copy, Default)]
struct Slot {
    hash: u32,
    at: u16,
}

/// Slots of the first table: enough for most messages.
const SLOTS_MIN: usize = 64;
/// Slots that are looked at for a suffix.
const PROBES_MAX: usize = 16;

impl Seen {
    /// Where the suffix was written first, or the slot for it, if there is one.
    fn find(&self, out: &[u8], suffix: &[u8], hash: u32) -> Result<u16, Option<usize>> {
        for slot in self.probe(hash) {
            match self.slots[slot] {
                Slot { at: 0, .. } => return Err(Some(slot)),
                found if found.hash == hash && stands_at(out, found.at, suffix) => {
                    return Ok(found.at);
                }
                _ => {}
            }
        }
        Err(None)
    }

    /// Remembers a suffix that is about to be written at `at`, in the slot that was found for it.
    fn insert(&mut self, slot: Option<usize>, hash: u32, at: usize) {
        let Some(at) = u16::try_from(at)
            .ok()
            .filter(|at| usize::from(*at) <= POINTER_MAX)
        else {
            return;
        };
        let slot = match self.used * 2 >= self.slots.len() {
            true => {
                self.grow();
                self.free_slot(hash)
            }
            false => slot,
        };
        if let Some(slot) = slot {
            self.slots[slot] = Slot { hash, at };
            self.used += 1;
        }
    }

    /// Forgets what stands at `mark` or after it.
    fn rewind(&mut self, mark: usize) {
        self.rebuild(self.slots.len(), mark);
    }

    fn grow(&mut self) {
        self.rebuild((self.slots.len() * 4).max(SLOTS_MIN), usize::MAX);
    }

    fn rebuild(&mut self, len: usize, before: usize) {
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); len]);
        self.used = 0;
        for kept in old
            .into_iter()
            .filter(|s| s.at != 0 && usize::from(s.at) < before)
        {
            if let Some(slot) = self.free_slot(kept.hash) {
                self.slots[slot] = kept;
                self.used += 1;
            }
        }
    }

    fn free_slot(&self, hash: u32) -> Option<usize> {
        self.probe(hash).find(|slot| self.slots[*slot].at == 0)
    }

    fn probe(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let mask = self.slots.len().wrapping_sub(1);
        let first = hash as usize;
        (0..PROBES_MAX.min(self.slots.len())).map(move |n| first.wrapping_add(n) & mask)
    }
}

/// Where the labels of a name begin, the hash of each suffix in lower case, and how many there are.
fn suffixes(wire: &[u8]) -> ([u8; LABELS_MAX], [u32; LABELS_MAX], usize) {
    let (mut starts, mut hashes) = ([0; LABELS_MAX], [0; LABELS_MAX]);
    let (mut at, mut labels) = (0, 0);
    while wire[at] != 0 && labels < LABELS_MAX {
        starts[labels] = at as u8;
        labels += 1;
        at += usize::from(wire[at]) + 1;
    }
    let mut hash = 0x811C_9DC5;
    let mut end = at;
    for (start, suffix) in starts[..labels].iter().zip(&mut hashes[..labels]).rev() {
        let label = &wire[usize::from(*start)..end];
        // FNV-1a.
        hash = label.iter().fold(hash, |hash, octet| {
            (hash ^ u32::from(octet.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
        });
        // Its upper half is the better one.
        *suffix = hash ^ hash >> 16;
        end = usize::from(*start);
    }
    (starts, hashes, labels)
}

/// Whether the name that was written at `at` is this one, whatever the case of its letters.
fn stands_at(out: &[u8], at: u16, mut name: &[u8]) -> bool {
    let mut at = usize::from(at);
    loop {
        // What was written points back only, and ends.
        let Some(&head) = out.get(at) else {
            return false;
        };
        if head >= 0xC0 {
            let low = out.get(at + 1).copied().unwrap_or_default();
            at = usize::from(head & 0x3F) << 8 | usize::from(low);
            continue;
        }
        let len = usize::from(head) + 1;
        let (Some(mine), Some(theirs)) = (out.get(at..at + len), name.get(..len)) else {
            return false;
        };
        if !mine.eq_ignore_ascii_case(theirs) {
            return false;
        }
        if head == 0 {
            return true;
        }
        at += len;
        name = &name[len..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Class, Name, Rcode, Rtype};

    fn answer(owners: impl Iterator<Item = String>) -> Message {
        let question = Question::new("Test.".parse().unwrap(), Rtype::A);
        let mut message = Message::query(1, question).reply(Rcode::NOERROR);
        message.answer = owners
            .map(|owner| Record {
                name: owner.parse().unwrap(),
                rtype: Rtype::A,
                class: Class::IN,
                ttl: 60,
                rdata: [192, 0, 2, 1][..].into(),
            })
            .collect();
        message
    }

    /// So many that the table grows several times: each suffix is written once, and read back as it was.
    #[test]
    fn every_suffix_is_written_once() {
        let owners = || (0..400).flat_map(|n| [format!("h{n}.test."), format!("a.H{n}.tEST.")]);
        let message = answer(owners());
        let wire = message.encode(u16::MAX.into());
        let read = Message::parse(&wire).unwrap();
        let expected: Vec<Name> = owners().map(|o| o.parse().unwrap()).collect();
        let names = read.answer.into_iter().map(|record| record.name);
        assert_eq!(names.collect::<Vec<_>>(), expected);
        // A record is its owner and 14 octets; a pointer has 2, and `h100` 5.
        let first: usize = (0..400).map(|n| format!("h{n}").len() + 1 + 2).sum();
        assert_eq!(wire.len(), HEADER_LEN + 10 + first + 400 * 4 + 800 * 14);
    }

    /// What was taken back is pointed to by nobody.
    #[test]
    fn a_record_that_has_no_room_leaves_nothing_behind() {
        let owners = ["short.test.", "long-long-long-long.test.", "long.test."];
        let whole = answer(owners.iter().map(ToString::to_string));
        let mut writer = Writer::new(usize::MAX);
        writer.header(&whole);
        let mark = writer.len();
        assert!(writer.record(&whole.answer[1]));
        writer.rewind(mark);
        assert!(writer.record(&whole.answer[0]) && writer.record(&whole.answer[1]));
        let wire = writer.finish(false, [2, 0, 0], false);
        let read = Message::parse(&[&wire[..4], &[0, 0], &wire[6..]].concat()).unwrap();
        let names = read.answer.iter().map(|r| r.name.to_string());
        assert_eq!(names.collect::<Vec<_>>(), owners[..2]);
    }

    /// Names that all hash alike are written in full sooner or later, and rightly.
    #[test]
    fn a_full_neighbourhood_is_left() {
        let mut seen = Seen::default();
        let out = [&[0; HEADER_LEN][..], b"\x01a\x00"].concat();
        for n in 0..100 {
            let slot = seen.find(&out, b"\x01b\x00", 7).unwrap_err();
            seen.insert(slot, 7, HEADER_LEN + n % 3);
        }
        assert!(seen.used <= PROBES_MAX);
        assert_eq!(seen.find(&out, b"\x01b\x00", 7), Err(None));
    }
}
