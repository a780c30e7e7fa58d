//! One cached answer in one block of memory.
//!
//! Why: as names, vectors and boxes an answer of one address takes eight blocks of memory and 600 bytes, most of them overhead. A
//! cache is as good as the number of answers that fit, so an entry is kept as the octets that it consists of, and made into an
//! [`Entry`] when it is asked for.
//!
//! Form, numbers big-endian, offsets in octets:
//!
//! ```text
//!  0  TTL when stored, seconds   u32
//!  4  type of the key            u16
//!  6  response code              u8
//!  7  security                   u8      1 insecure, 2 secure as-of, 3 secure: the order of credibility
//!  8  answer sets                u16
//! 10  authority sets             u16
//! 12  extended errors            u8
//! 13  name of the key            wire form
//!     each set:    owner, type u16, records u16, signatures u16, and each of these: length u16, RDATA
//!     each error:  code u16, length u16, text
//! ```
//!
//! An owner is the labels that it does not share with the name of the key (length u8, octets), and where in that name it goes on (u8).
//! The TTLs of the sets are not kept: what is handed out has the TTL that the whole entry has left (RFC 2181 section 5.2 for one
//! set; for the sets of one answer the shortest counts, so that an answer and its proof live and die together).
//!
//! Failure: what does not fit the form (more than 65,535 sets, a bogus entry) is not packed, and not cached.

use std::sync::Arc;

use super::account::arc_bytes;
use super::entry::{Entry, Security};
use crate::dns::{Ede, Name, Rcode, Rdata, RrSet, Rtype};

const TTL_AT: usize = 0;
const TYPE_AT: usize = 4;
const SECURITY_AT: usize = 7;
const ERRORS_AT: usize = 12;
const NAME_AT: usize = 13;

const INSECURE: u8 = 1;
const SECURE_AS_OF: u8 = 2;
const SECURE: u8 = 3;

/// A packed entry with its key. Clones share the octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed(Arc<[u8]>);

impl Packed {
    /// Packs an entry; `None` when it does not fit the form.
    pub fn new(name: &Name, rtype: Rtype, entry: &Entry, ttl_s: u32) -> Option<Packed> {
        let security = match entry.security {
            Security::Insecure => INSECURE,
            Security::SecureAsOf => SECURE_AS_OF,
            Security::Secure => SECURE,
            Security::Bogus(_) => return None,
        };
        let mut out = Vec::with_capacity(256);
        out.extend(ttl_s.to_be_bytes());
        out.extend(rtype.0.to_be_bytes());
        out.push(u8::try_from(entry.rcode.0).ok()?);
        out.push(security);
        out.extend(u16::try_from(entry.answer.len()).ok()?.to_be_bytes());
        out.extend(u16::try_from(entry.authority.len()).ok()?.to_be_bytes());
        out.push(u8::try_from(entry.errors.len()).ok()?);
        out.extend(name.wire());
        for set in entry.answer.iter().chain(&entry.authority) {
            write_set(&mut out, name.wire(), set)?;
        }
        for error in &entry.errors {
            out.extend(error.code.to_be_bytes());
            write_octets(&mut out, error.text.as_bytes())?;
        }
        Some(Packed(out.into()))
    }

    /// The form as it was kept somewhere; whether it is one shows when it is read.
    pub fn from_octets(octets: &[u8]) -> Packed {
        Packed(octets.into())
    }

    /// The form itself.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the entry of that key.
    pub fn is_for(&self, name: &Name, rtype: Rtype) -> bool {
        let wire = name.wire();
        let own = self.0.get(NAME_AT..NAME_AT + wire.len());
        // A name ends at its root label and nowhere before, so no longer name begins with the same octets.
        self.rtype() == Some(rtype) && own.is_some_and(|own| own.eq_ignore_ascii_case(wire))
    }

    /// The name of the key.
    pub fn name(&self) -> Option<Name> {
        let (name, _) = Name::from_wire_prefix(self.0.get(NAME_AT..)?).ok()?;
        Some(name)
    }

    /// The type of the key.
    pub fn rtype(&self) -> Option<Rtype> {
        let mut reader = Reader(self.0.get(TYPE_AT..)?);
        Some(Rtype(reader.u16()?))
    }

    /// The TTL that it was stored with, seconds.
    pub fn ttl_s(&self) -> u32 {
        let ttl = self.0.get(TTL_AT..).and_then(|b| b.first_chunk());
        ttl.map_or(0, |b| u32::from_be_bytes(*b))
    }

    /// How far it is to be believed (RFC 2181 section 5.4.1), larger is more.
    pub fn credibility(&self) -> u8 {
        self.0.get(SECURITY_AT).copied().unwrap_or(0)
    }

    /// Whether it rests on as-of validation: itself, or the proof that its zone is not signed, which extended error 7 tells.
    pub fn is_as_of(&self) -> bool {
        let says_so = |entry: Entry| {
            entry
                .errors
                .iter()
                .any(|e| e.code == Ede::SIGNATURE_EXPIRED)
        };
        self.credibility() == SECURE_AS_OF
            || self.has_errors() && self.unpack(0).is_some_and(says_so)
    }

    /// Whether extended errors go with it.
    pub fn has_errors(&self) -> bool {
        self.0.get(ERRORS_AT).is_some_and(|count| *count > 0)
    }

    /// Whether a chain of valid signatures proved it.
    pub fn is_secure(&self) -> bool {
        self.credibility() == SECURE
    }

    /// Memory that it takes.
    pub fn heap_bytes(&self) -> usize {
        arc_bytes(self.0.len())
    }

    /// The entry, with `ttl_s` as the TTL of every set.
    pub fn unpack(&self, ttl_s: u32) -> Option<Entry> {
        let name = self.name()?;
        let key = name.wire();
        let mut head = Reader(self.0.get(TYPE_AT + 2..)?);
        let rcode = Rcode(head.u8()?.into());
        let security = match head.u8()? {
            SECURE => Security::Secure,
            SECURE_AS_OF => Security::SecureAsOf,
            _ => Security::Insecure,
        };
        let (answers, authorities, errors) = (head.u16()?, head.u16()?, head.u8()?);
        let mut body = Reader(self.0.get(NAME_AT + key.len()..)?);
        let mut sets = |count: u16| {
            let set = |_| read_set(&mut body, key, ttl_s);
            (0..count).map(set).collect::<Option<Vec<RrSet>>>()
        };
        let (answer, authority) = (sets(answers)?, sets(authorities)?);
        let mut error = |_| {
            let code = body.u16()?;
            let text = std::str::from_utf8(body.octets()?).ok()?;
            Some(Ede::new(code, text))
        };
        let errors = (0..errors).map(&mut error).collect::<Option<Vec<Ede>>>()?;
        Some(Entry {
            rcode,
            answer,
            authority,
            security,
            errors,
        })
    }
}

fn write_set(out: &mut Vec<u8>, key: &[u8], set: &RrSet) -> Option<()> {
    let owner = set.name.wire();
    let mut own = 0;
    // The root label at the latest is shared. Octets that agree are enough: they are only copied.
    while own + 1 < owner.len() && !ends_with(key, &owner[own..]) {
        own += usize::from(owner[own]) + 1;
    }
    let shared = owner.len() - own;
    out.push(own as u8);
    out.extend(&owner[..own]);
    out.push((key.len() - shared) as u8);
    out.extend(set.rtype.0.to_be_bytes());
    out.extend(u16::try_from(set.rdatas.len()).ok()?.to_be_bytes());
    out.extend(u16::try_from(set.sigs.len()).ok()?.to_be_bytes());
    for rdata in set.rdatas.iter().chain(&set.sigs) {
        write_octets(out, rdata)?;
    }
    Some(())
}

fn ends_with(key: &[u8], tail: &[u8]) -> bool {
    let start = key.len().checked_sub(tail.len());
    start.is_some_and(|start| key[start..].eq_ignore_ascii_case(tail))
}

fn write_octets(out: &mut Vec<u8>, octets: &[u8]) -> Option<()> {
    out.extend(u16::try_from(octets.len()).ok()?.to_be_bytes());
    out.extend(octets);
    Some(())
}

fn read_set(body: &mut Reader<'_>, key: &[u8], ttl: u32) -> Option<RrSet> {
    let own = body.u8()?;
    let own = body.take(own.into())?;
    let shared = key.get(usize::from(body.u8()?)..)?;
    let name = Name::from_wire(&[own, shared].concat()).ok()?;
    let rtype = Rtype(body.u16()?);
    let (rdatas, sigs) = (body.u16()?, body.u16()?);
    let mut list = |count: u16| {
        let one = |_| body.octets().map(Rdata::from);
        (0..count).map(one).collect::<Option<Vec<Rdata>>>()
    };
    Some(RrSet {
        name,
        rtype,
        ttl,
        rdatas: list(rdatas)?,
        sigs: list(sigs)?,
    })
}

/// Octets still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    fn octets(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(len.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::group;
    use crate::signer::{name, rrs};

    fn entry(answer: &str, authority: &str) -> Entry {
        Entry {
            rcode: Rcode::NOERROR,
            answer: group(&rrs(answer)),
            authority: group(&rrs(authority)),
            security: Security::Secure,
            errors: vec![Ede::new(Ede::OTHER, "why")],
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        for (key, answer, authority) in [
            (
                "www.example.",
                "www.example. 60 A 192.0.2.1\nwww.example. 60 A 192.0.2.2",
                "",
            ),
            ("WWW.Example.", "www.example. 60 AAAA 2001:db8::1", ""),
            (".", ". 60 NS a.root.\n. 60 NS b.root.", ""),
            // Owners that share everything, something, or only the root with the key.
            (
                "a.b.example.",
                "",
                "example. 60 SOA ns.example. h.example. 1 2 3 4 5\nx.other. 60 TXT t",
            ),
            (
                "example.",
                "",
                "xexample. 60 TXT t\nlong.er.example. 60 TXT t",
            ),
            (
                "o.d.example.",
                "d.example. 60 DNAME e.\no.d.example. 60 CNAME o.e.",
                "",
            ),
        ] {
            let entry = entry(answer, authority);
            let packed = Packed::new(&name(key), Rtype::A, &entry, 60).unwrap();
            assert_eq!(packed.unpack(60), Some(entry.clone()), "{key}");
            assert_eq!(packed.unpack(7), Some(entry.with_ttl(7)), "{key}");
            assert!(packed.is_for(&name(&key.to_uppercase()), Rtype::A));
            assert!(!packed.is_for(&name(key), Rtype::AAAA));
            assert!(!packed.is_for(&name("x.example."), Rtype::A));
            assert_eq!((packed.ttl_s(), packed.is_secure()), (60, true));
        }
    }

    #[test]
    fn damage_is_told_and_bogus_data_is_not_packed() {
        let whole = entry("www.example. 60 A 192.0.2.1", "example. 60 NS ns.example.");
        let packed = Packed::new(&name("www.example."), Rtype::A, &whole, 60).unwrap();
        for len in 0..packed.0.len() {
            let cut = Packed(packed.0[..len].into());
            assert_eq!(cut.unpack(60), None, "{len}");
        }
        let bogus = Entry {
            security: Security::Bogus(Ede::new(Ede::BOGUS, "")),
            ..whole
        };
        assert_eq!(Packed::new(&name("."), Rtype::A, &bogus, 60), None);
    }

    #[test]
    fn an_answer_of_one_address_takes_little() {
        let entry = Entry {
            errors: Vec::new(),
            ..entry("www.example.com. 60 A 192.0.2.1", "")
        };
        let packed = Packed::new(&name("www.example.com."), Rtype::A, &entry, 60).unwrap();
        assert_eq!(packed.0.len(), 13 + 17 + 8 + 6);
        assert_eq!(packed.heap_bytes(), 80);
    }
}
