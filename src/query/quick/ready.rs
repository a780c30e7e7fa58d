//! An answer as it left, to leave again for whoever asks the same.
//!
//! What differs from one client to the next is written over the copy: the ID, the case of the question (to which compressed names of the
//! answer point back), the seconds that have passed, and the server cookie. Everything else is part of the identity of the answer.

use std::time::Duration;

pub use super::super::cookie::OPTION_LEN as COOKIE_LEN;
use super::shape::Scope;
use crate::clock::Now;
use crate::dns::edns::option;
use crate::dns::message::HEADER_LEN;
use crate::dns::{Rtype, folded};

/// What the allocator and the places in the table add to an answer, in bytes, about.
const OVERHEAD_BYTES: usize = size_of::<Ready>() + 64;
/// TYPE, CLASS, TTL and RDLENGTH of a record, in octets.
const RECORD_HEAD_LEN: usize = 10;
/// Length of two lines of a processor's cache, in octets.
const TOUCHED_LEN: usize = 127;
/// TTLs of one answer that are patched; one with more is not kept.
const TTLS_MAX: usize = 256;

/// What makes two questions get the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'n> {
    /// The name in its wire form; the case of letters is none of it.
    pub name: &'n [u8],
    /// The type.
    pub rtype: Rtype,
    /// RD, AD, CD, EDNS, DO, a cookie.
    pub flags: u8,
    /// What the client may ask for.
    pub rights: u8,
    /// The largest answer that may leave, in octets.
    pub limit: u16,
}

impl Identity<'_> {
    /// All but the name, in one number.
    pub fn rest(&self) -> u64 {
        u64::from(self.rtype.0) << 32
            | u64::from(self.flags) << 24
            | u64::from(self.rights) << 16
            | u64::from(self.limit)
    }
}

/// Who gave an answer, and so what it counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The cache, or what follows from it.
    Cache,
    /// A copy of a zone: its TTLs do not run.
    Mirror,
    /// An own zone: neither do these.
    Own,
    /// A special name: neither do these.
    Special,
}

/// Until when, and as what, an answer may be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Who gave it.
    pub kind: Kind,
    /// For so long.
    pub life: Duration,
    /// What it has in common with others, where responses are limited.
    pub like: u64,
    /// The other names that it goes for.
    pub scope: Option<Scope>,
    /// Labels after which names would be written otherwise ([`super::shape`]).
    pub nexts: Vec<Box<[u8]>>,
}

/// From when to when something may be given, by both clocks: one that was set ends it.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    made: Now,
    until: Duration,
    until_s: u64,
}

impl Term {
    /// From `made` on for so long.
    pub fn new(made: Now, life: Duration) -> Term {
        Term {
            made,
            until: made.mono.saturating_add(life),
            // The clock of the wall counts whole seconds, and may count one more.
            until_s: made.wall_s.saturating_add(life.as_secs() + 1),
        }
    }

    /// Whether it is not over.
    pub fn is_on(&self, now: Now) -> bool {
        now.mono < self.until && (self.made.wall_s..=self.until_s).contains(&now.wall_s)
    }

    /// Whole seconds since its beginning, by whichever clock says more.
    fn passed_s(&self, now: Now) -> u32 {
        let mono_s = now.mono.saturating_sub(self.made.mono).as_secs();
        let wall_s = now.wall_s.saturating_sub(self.made.wall_s);
        u32::try_from(mono_s.max(wall_s)).unwrap_or(u32::MAX)
    }
}

/// A finished answer.
#[derive(Debug)]
pub struct Ready {
    rest: u64,
    term: Term,
    kind: Kind,
    is_denial: bool,
    hits: u32,
    like: u64,
    name_len: u8,
    /// Where the cookie is, if there is one.
    cookie_at: Option<u16>,
    /// Octets of the answer; what follows are the places of its TTLs, two for each.
    answer_len: u16,
    octets: Box<[u8]>,
}

impl Ready {
    /// The answer that was made for a question at `now`; `None` if it is none that can be given again.
    pub fn new(
        of: &Identity<'_>,
        answer: &[u8],
        keep: &Keep,
        has_cookie: bool,
        now: Now,
    ) -> Option<Ready> {
        let found = Places::of(answer)?;
        let name_len = u8::try_from(of.name.len()).ok()?;
        let question = answer.get(HEADER_LEN..HEADER_LEN + of.name.len())?;
        let cookie_at = match (has_cookie, found.cookie) {
            (true, Some(at)) => Some(u16::try_from(at).ok()?),
            (false, None) => None,
            _ => return None,
        };
        if !question.eq_ignore_ascii_case(of.name) {
            return None;
        }
        let ttls = match keep.kind {
            Kind::Cache => found.ttls(),
            Kind::Mirror | Kind::Own | Kind::Special => Vec::new(),
        };
        let mut octets = Vec::with_capacity(answer.len() + 2 * ttls.len());
        octets.extend_from_slice(answer);
        octets[HEADER_LEN..HEADER_LEN + of.name.len()].make_ascii_lowercase();
        for place in &ttls {
            octets.extend(u16::try_from(*place).ok()?.to_ne_bytes());
        }
        Some(Ready {
            rest: of.rest(),
            term: Term::new(now, keep.life),
            kind: keep.kind,
            is_denial: answer.get(3)? & 0x0F == crate::dns::Rcode::NXDOMAIN.0 as u8,
            hits: 0,
            like: keep.like,
            name_len,
            cookie_at,
            answer_len: u16::try_from(answer.len()).ok()?,
            octets: octets.into_boxed_slice(),
        })
    }

    /// Whether it answers this question.
    pub fn is_for(&self, of: &Identity<'_>) -> bool {
        let name = self.name();
        // Nearly all are spelled alike.
        self.rest == of.rest() && (name == of.name || folded::is_same(of.name, name))
    }

    /// Whether it may still be given.
    pub fn is_good(&self, now: Now) -> bool {
        self.term.is_on(now)
    }

    /// Appends it to `out` for a client who asked with this ID and this spelling of the name; `cookie` stands in where it has one.
    pub fn write(
        &mut self,
        query_id: [u8; 2],
        name: &[u8],
        cookie: Option<&[u8; COOKIE_LEN]>,
        now: Now,
        out: &mut Vec<u8>,
    ) {
        self.hits = self.hits.saturating_add(1);
        let begin = out.len();
        let (answer, places) = self.octets.split_at(usize::from(self.answer_len));
        out.extend_from_slice(answer);
        let copy = &mut out[begin..];
        copy[..2].copy_from_slice(&query_id);
        copy[HEADER_LEN..HEADER_LEN + name.len()].copy_from_slice(name);
        if let (Some(at), Some(cookie)) = (self.cookie_at, cookie) {
            copy[usize::from(at)..][..COOKIE_LEN].copy_from_slice(cookie);
        }
        let passed_s = self.term.passed_s(now);
        if passed_s == 0 {
            return;
        }
        for place in places.chunks_exact(2) {
            let at = usize::from(u16::from_ne_bytes([place[0], place[1]]));
            if let Some(ttl) = copy
                .get_mut(at..)
                .and_then(|rest| rest.first_chunk_mut::<4>())
            {
                *ttl = u32::from_be_bytes(*ttl)
                    .saturating_sub(passed_s)
                    .to_be_bytes();
            }
        }
    }

    /// The name in lower case.
    pub fn name(&self) -> &[u8] {
        &self.octets[HEADER_LEN..HEADER_LEN + usize::from(self.name_len)]
    }

    /// The type that was asked for.
    pub fn rtype(&self) -> Rtype {
        Rtype((self.rest >> 32) as u16)
    }

    /// The flags of its identity.
    pub fn flags(&self) -> u8 {
        (self.rest >> 24) as u8
    }

    /// What it counts as.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it says that the name does not exist.
    pub fn is_denial(&self) -> bool {
        self.is_denial
    }

    /// How often it was given.
    pub fn hits(&self) -> u32 {
        self.hits
    }

    /// What it has in common with others, where responses are limited.
    pub fn like(&self) -> u64 {
        self.like
    }

    /// An octet from each end of a short answer.
    pub fn touched(&self) -> u8 {
        let far = self.octets.len().saturating_sub(1).min(TOUCHED_LEN);
        self.octets.first().copied().unwrap_or_default()
            ^ self.octets.get(far).copied().unwrap_or_default()
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.octets.len() + OVERHEAD_BYTES
    }
}

#[cfg(test)]
impl Ready {
    /// Damages it as a defect might: whoever writes it panics.
    pub fn spoil(&mut self) {
        self.answer_len = u16::MAX;
    }
}

/// Where things are in an answer that was made here.
pub struct Places {
    /// All records but OPT.
    records: Vec<Record>,
    /// The value of the COOKIE option.
    pub cookie: Option<usize>,
}

/// Where the parts of a record are.
struct Record {
    owner_at: usize,
    rtype: Rtype,
    ttl_at: usize,
    data_at: usize,
}

impl Places {
    /// Reads an answer; `None` for one that is not as expected.
    pub fn of(answer: &[u8]) -> Option<Places> {
        let header = answer.first_chunk::<HEADER_LEN>()?;
        let count = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
        if count(4) != 1 {
            return None;
        }
        let records = count(6) + count(8) + count(10);
        let mut at = after_name(answer, HEADER_LEN)?.0 + 4;
        let mut places = Places {
            records: Vec::new(),
            cookie: None,
        };
        for _ in 0..records {
            let owner_at = at;
            let (head_at, _) = after_name(answer, at)?;
            let head = answer.get(head_at..)?.first_chunk::<RECORD_HEAD_LEN>()?;
            let data_at = head_at + RECORD_HEAD_LEN;
            let data_len = usize::from(u16::from_be_bytes([head[8], head[9]]));
            let rtype = Rtype(u16::from_be_bytes([head[0], head[1]]));
            let data = answer.get(data_at..data_at + data_len)?;
            match rtype {
                Rtype::OPT => places.cookie = cookie_value(data).map(|within| data_at + within),
                _ => places.records.push(Record {
                    owner_at,
                    rtype,
                    ttl_at: head_at + 4,
                    data_at,
                }),
            }
            at = data_at + data_len;
        }
        (at == answer.len() && places.records.len() <= TTLS_MAX).then_some(places)
    }

    fn ttls(&self) -> Vec<usize> {
        self.records.iter().map(|record| record.ttl_at).collect()
    }

    /// Where the compression pointers of its records are; `None` where there is data that may hold others.
    pub fn pointers(&self, answer: &[u8]) -> Option<Vec<usize>> {
        let mut pointers = Vec::new();
        let mut look = |at: usize| {
            let (after, pointer) = after_name(answer, at)?;
            pointers.extend(pointer);
            Some(after)
        };
        for record in &self.records {
            look(record.owner_at)?;
            match record.rtype {
                Rtype::NS => drop(look(record.data_at)?),
                Rtype::SOA => {
                    let rname_at = look(record.data_at)?;
                    look(rname_at)?;
                }
                // RFC 3597 section 4 and RFC 4034: no name in these is compressed.
                Rtype::A | Rtype::AAAA | Rtype::DS | Rtype::NSEC | Rtype::NSEC3 | Rtype::RRSIG => {}
                _ => return None,
            }
        }
        Some(pointers)
    }
}

/// Where the value of a COOKIE option of [`COOKIE_LEN`] octets begins, if the first option is one.
fn cookie_value(options: &[u8]) -> Option<usize> {
    let [c1, c0, l1, l0] = *options.first_chunk::<{ option::HEAD_LEN }>()?;
    let is_cookie = u16::from_be_bytes([c1, c0]) == option::COOKIE
        && usize::from(u16::from_be_bytes([l1, l0])) == COOKIE_LEN;
    is_cookie.then_some(option::HEAD_LEN)
}

/// The place after a name, and where the pointer is that it ends with, if it does.
fn after_name(message: &[u8], mut at: usize) -> Option<(usize, Option<usize>)> {
    loop {
        match *message.get(at)? {
            0 => return Some((at + 1, None)),
            len @ 1..=63 => at += usize::from(len) + 1,
            0xC0.. => return Some((at + 2, Some(at))),
            _ => return None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::dns::message::MESSAGE_LEN_MAX;
    use crate::dns::{Edns, Message, Name, Question, Rcode};

    pub fn at(ms: u64) -> Now {
        Now::new(Duration::from_millis(ms), ms / 1000)
    }

    fn keep(kind: Kind, life_ms: u64) -> Keep {
        Keep {
            kind,
            life: Duration::from_millis(life_ms),
            like: 77,
            scope: None,
            nexts: Vec::new(),
        }
    }

    fn answer(name: &str, cookie: bool) -> Vec<u8> {
        let mut query = Message::query(7, Question::new(name.parse().unwrap(), Rtype::A));
        query.edns = Some(Edns::new(1232, true));
        let mut reply = query.reply(Rcode::NOERROR);
        reply.answer = vec![
            crate::signer::rr("www.example. 60 CNAME a.www.example."),
            crate::signer::rr("a.www.example. 300 A 192.0.2.1"),
        ];
        reply.authority = vec![crate::signer::rr("example. 77 NS ns.example.")];
        let mut edns = Edns::new(1232, true);
        if cookie {
            edns.options.push((option::COOKIE, vec![1; COOKIE_LEN]));
        }
        reply.edns = Some(edns);
        reply.encode(MESSAGE_LEN_MAX)
    }

    /// An answer without records for any identity.
    pub fn ready_for(of: &Identity<'_>, life_ms: u64) -> Ready {
        let name = Name::from_wire(of.name).unwrap();
        let query = Message::query(7, Question::new(name, of.rtype));
        let answer = query.reply(Rcode::NOERROR).encode(512);
        Ready::new(of, &answer, &keep(Kind::Cache, life_ms), false, at(0)).unwrap()
    }

    const NAME: &[u8] = b"\x03www\x07example\0";

    fn identity() -> Identity<'static> {
        Identity {
            name: NAME,
            rtype: Rtype::A,
            flags: 0x0B,
            rights: 3,
            limit: 1232,
        }
    }

    fn written(ready: &mut Ready, now: Now) -> Message {
        let mut out = b"before".to_vec();
        let cookie = [9; COOKIE_LEN];
        ready.write(
            [1, 2],
            b"\x03WWW\x07exaMple\0",
            Some(&cookie),
            now,
            &mut out,
        );
        Message::parse(&out[6..]).unwrap()
    }

    #[test]
    fn the_copy_has_id_case_cookie_and_ttls_of_its_own() {
        let wire = answer("www.example.", true);
        let mut ready =
            Ready::new(&identity(), &wire, &keep(Kind::Cache, 9000), true, at(0)).unwrap();
        let first = written(&mut ready, at(999));
        assert_eq!(first.id, 0x0102);
        assert_eq!(first.question.unwrap().name.wire(), b"\x03WWW\x07exaMple\0");
        // Pointers lead to the question.
        assert_eq!(first.answer[0].name.wire(), b"\x03WWW\x07exaMple\0");
        assert_eq!(first.answer[1].name.wire(), b"\x01a\x03WWW\x07exaMple\0");
        assert_eq!(
            first.edns.unwrap().option(option::COOKIE),
            Some(&[9; COOKIE_LEN][..])
        );
        let ttls = |m: &Message| {
            let all = m.answer.iter().chain(&m.authority);
            all.map(|r| r.ttl).collect::<Vec<_>>()
        };
        let later = written(&mut ready, at(5000));
        assert_eq!(ttls(&later), [55, 295, 72]);
        assert_eq!(ready.hits(), 2);
        assert_eq!(ready.like(), 77);
        // An own zone's do not run.
        let mut own = Ready::new(&identity(), &wire, &keep(Kind::Own, 9000), true, at(0)).unwrap();
        assert_eq!(ttls(&written(&mut own, at(5000))), [60, 300, 77]);
    }

    #[test]
    fn a_clock_that_was_set_ends_it() {
        let wire = answer("www.example.", false);
        let ready = |life| {
            Ready::new(
                &identity(),
                &wire,
                &keep(Kind::Cache, life),
                false,
                Now::new(Duration::ZERO, 100),
            )
            .unwrap()
        };
        let now = |ms, wall_s| Now::new(Duration::from_millis(ms), wall_s);
        assert!(ready(3000).is_good(now(2999, 103)));
        assert!(!ready(3000).is_good(now(3000, 103)));
        assert!(!ready(3000).is_good(now(1000, 99)));
        assert!(!ready(3000).is_good(now(1000, 105)));
    }

    #[test]
    fn what_is_not_as_expected_is_not_kept() {
        let wire = answer("www.example.", true);
        let made = |wire: &[u8], cookie| {
            Ready::new(&identity(), wire, &keep(Kind::Cache, 9000), cookie, at(0))
        };
        assert!(made(&wire, true).is_some());
        // Whether there is a cookie must be clear.
        assert!(made(&wire, false).is_none());
        assert!(made(&answer("www.example.", false), true).is_none());
        assert!(made(&answer("other.example.", true), true).is_none());
        for len in 0..wire.len() {
            assert!(made(&wire[..len], true).is_none(), "{len}");
        }
        assert!(made(&[&wire[..], &[0]].concat(), true).is_none());
    }
}
