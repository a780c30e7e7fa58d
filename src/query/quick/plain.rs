//! A query as nearly all are, read in place.
//!
//! Why: the answers that are ready need five facts of a query, and the general reader makes a message of it, with a dozen
//! allocations. This one reads the form that stubs send: one question of class IN for data, no records but an OPT, of whose options COOKIE alone.
//! Whatever is otherwise in the least, right or wrong, is `None`: the general way sees to it. So this may be strict, and must never take for
//! plain what the other would refuse or answer otherwise (fuzz target `plain`).

use crate::dns::message::HEADER_LEN;
use crate::dns::name::NAME_LEN_MAX;
use crate::dns::{Class, Rtype, edns::option};

/// RD in the third octet of a header; AD and CD in the fourth.
pub(super) const RD: u8 = 0x01;
const AD: u8 = 0x20;
const CD: u8 = 0x10;
/// QR and TC of a reply.
const QR: u8 = 0x80;
const TC: u8 = 0x02;
/// An OPT record without options, in octets.
const OPT_LEN: usize = 11;
/// A COOKIE option: of a client, and of a client and this server (RFC 7873 section 4).
const COOKIE_NEW_LEN: usize = 8;
const COOKIE_BOTH_LEN: usize = 24;

/// What of a query decides about its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain<'q> {
    /// The name in its wire form, as it was asked.
    pub name: &'q [u8],
    /// The type.
    pub rtype: Rtype,
    /// What else the octets of an answer depend on.
    pub form: Form,
    /// The COOKIE option.
    pub cookie: Option<&'q [u8]>,
}

/// Flags, EDNS and size of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Form {
    flags: u8,
    /// The largest answer that the sender takes, in octets, as he says; 0 without EDNS.
    pub udp_size: u16,
}

const HAS_EDNS: u8 = 0x02;
pub(super) const HAS_COOKIE: u8 = 0x04;
const HAS_DO: u8 = 0x08;

impl Form {
    /// RD.
    pub fn recursion_desired(self) -> bool {
        self.flags & RD != 0
    }

    /// There is an OPT record.
    pub fn has_edns(self) -> bool {
        self.flags & HAS_EDNS != 0
    }

    /// All flags in one octet.
    pub fn flags(self) -> u8 {
        self.flags
    }
}

impl<'q> Plain<'q> {
    /// Reads a query.
    #[inline]
    pub fn read(wire: &'q [u8]) -> Option<Plain<'q>> {
        let (header, rest) = wire.split_first_chunk::<HEADER_LEN>()?;
        let [_, _, high, low, counts @ ..] = header;
        // A query of the operation 0 without any other flag than RD, AD and CD.
        if high & !RD != 0 || low & !(AD | CD) != 0 {
            return None;
        }
        let has_edns = match counts {
            [0, 1, 0, 0, 0, 0, 0, 0] => false,
            [0, 1, 0, 0, 0, 0, 0, 1] => true,
            _ => return None,
        };
        let (name, rest) = rest.split_at_checked(name_len(rest)?)?;
        let (&[t1, t0, c1, c0], rest) = rest.split_first_chunk::<4>()?;
        let rtype = Rtype(u16::from_be_bytes([t1, t0]));
        if [c1, c0] != Class::IN.0.to_be_bytes() || rtype.is_meta() || rtype == Rtype(0) {
            return None;
        }
        let mut form = Form {
            flags: (high & RD) | (low & (AD | CD)),
            udp_size: 0,
        };
        let mut cookie = None;
        if !has_edns {
            return rest.is_empty().then_some(Plain {
                name,
                rtype,
                form,
                cookie,
            });
        }
        let (opt, options) = rest.split_first_chunk::<OPT_LEN>()?;
        // The root, type OPT, size, no extended code, version 0, no flag but DO, length.
        let [0, 0, 41, s1, s0, 0, 0, dnssec_ok @ (0 | 0x80), 0, l1, l0] = *opt else {
            return None;
        };
        if usize::from(u16::from_be_bytes([l1, l0])) != options.len() {
            return None;
        }
        form.udp_size = u16::from_be_bytes([s1, s0]);
        form.flags |= HAS_EDNS | if dnssec_ok != 0 { HAS_DO } else { 0 };
        if !options.is_empty() {
            let (&[o1, o0, n1, n0], value) = options.split_first_chunk::<{ option::HEAD_LEN }>()?;
            let is_whole = usize::from(u16::from_be_bytes([n1, n0])) == value.len();
            if u16::from_be_bytes([o1, o0]) != option::COOKIE
                || !is_whole
                || !matches!(value.len(), COOKIE_NEW_LEN | COOKIE_BOTH_LEN)
            {
                return None;
            }
            cookie = Some(value);
            form.flags |= HAS_COOKIE;
        }
        Some(Plain {
            name,
            rtype,
            form,
            cookie,
        })
    }
}

impl Plain<'_> {
    /// Appends the reply that sends the sender of this query, which `wire` is, to TCP: the same as `reply::truncated` makes of it.
    pub fn truncated(
        &self,
        wire: &[u8],
        cookie: Option<&[u8; COOKIE_BOTH_LEN]>,
        udp_size_max: u16,
        out: &mut Vec<u8>,
    ) {
        let question_end = HEADER_LEN + self.name.len() + 4;
        let (Some(&[i1, i0, high, low, ..]), Some(question)) = (
            wire.first_chunk::<HEADER_LEN>(),
            wire.get(HEADER_LEN..question_end),
        ) else {
            return;
        };
        let has_edns = self.form.has_edns();
        out.extend([i1, i0, QR | TC | (high & RD), low & CD, 0, 1, 0, 0, 0, 0]);
        out.extend([0, u8::from(has_edns)]);
        out.extend_from_slice(question);
        if !has_edns {
            return;
        }
        let [s1, s0] = udp_size_max.to_be_bytes();
        let dnssec_ok = if self.form.flags & HAS_DO != 0 {
            0x80
        } else {
            0
        };
        let options_len = cookie.map_or(0, |cookie| option::HEAD_LEN + cookie.len()) as u8;
        out.extend([0, 0, 41, s1, s0, 0, 0, dnssec_ok, 0, 0, options_len]);
        if let Some(cookie) = cookie {
            out.extend(option::COOKIE.to_be_bytes());
            out.extend((cookie.len() as u16).to_be_bytes());
            out.extend_from_slice(cookie);
        }
    }
}

/// Length of the uncompressed name that `wire` begins with, in octets.
#[inline]
fn name_len(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *wire.get(at)? {
            _ if at >= NAME_LEN_MAX => return None,
            0 => return Some(at + 1),
            len @ 1..=63 => at += usize::from(len) + 1,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::message::MESSAGE_LEN_MAX;
    use crate::dns::{Edns, Message, Question};

    fn query() -> Message {
        Message::query(7, Question::new("www.Example.".parse().unwrap(), Rtype::A))
    }

    fn is_plain(change: impl FnOnce(&mut Message)) -> bool {
        let mut message = query();
        change(&mut message);
        Plain::read(&message.encode(MESSAGE_LEN_MAX)).is_some()
    }

    fn with_options(options: Vec<(u16, Vec<u8>)>) -> impl FnOnce(&mut Message) {
        |m| {
            let mut edns = Edns::new(1232, true);
            edns.options = options;
            m.edns = Some(edns);
        }
    }

    #[test]
    fn what_stubs_send_is_plain() {
        assert!(is_plain(|_| {}));
        assert!(is_plain(|m| m.recursion_desired = true));
        assert!(is_plain(|m| m.authentic_data = true));
        assert!(is_plain(|m| m.checking_disabled = true));
        assert!(is_plain(|m| m.edns = Some(Edns::new(4096, true))));
        let cookie = |len| with_options(vec![(option::COOKIE, vec![1; len])]);
        assert!(is_plain(cookie(8)) && is_plain(cookie(24)));
        assert!(is_plain(
            |m| m.question.as_mut().unwrap().rtype = Rtype(65_400)
        ));
    }

    #[test]
    fn everything_else_is_not() {
        assert!(!is_plain(|m| m.opcode = 4));
        assert!(!is_plain(|m| m.response = true));
        assert!(!is_plain(|m| m.truncated = true));
        assert!(!is_plain(|m| m.authoritative = true));
        assert!(!is_plain(|m| m.question = None));
        assert!(!is_plain(|m| m.question.as_mut().unwrap().class = Class::CH));
        for rtype in [
            Rtype(0),
            Rtype::ANY,
            Rtype::AXFR,
            Rtype::IXFR,
            Rtype::OPT,
            Rtype::TSIG,
        ] {
            assert!(
                !is_plain(|m| m.question.as_mut().unwrap().rtype = rtype),
                "{rtype}"
            );
        }
        let record = || crate::signer::rr("www.example. 60 A 192.0.2.1");
        assert!(!is_plain(|m| m.answer = vec![record()]));
        assert!(!is_plain(|m| m.authority = vec![record()]));
        assert!(!is_plain(|m| m.additional = vec![record()]));
        for options in [
            vec![(option::NSID, vec![])],
            vec![(option::PADDING, vec![0; 20])],
            vec![(option::COOKIE, vec![1; 9])],
            vec![(option::COOKIE, vec![1; 40])],
            vec![(option::COOKIE, vec![1; 8]), (option::NSID, vec![])],
        ] {
            assert!(!is_plain(with_options(options)));
        }
        let version = |m: &mut Message| {
            let edns = Edns::new(1232, false);
            m.edns = Some(Edns { version: 1, ..edns });
        };
        assert!(!is_plain(version));
    }

    #[test]
    fn scraps_and_tails_are_not_plain() {
        let mut edns = query();
        edns.edns = Some(Edns::new(1232, true));
        for message in [query(), edns] {
            let whole = message.encode(MESSAGE_LEN_MAX);
            assert!(Plain::read(&whole).is_some());
            for len in 0..whole.len() {
                assert!(Plain::read(&whole[..len]).is_none(), "{len}");
            }
            let tail = [&whole[..], &[0]].concat();
            assert!(Plain::read(&tail).is_none());
        }
    }

    #[test]
    fn the_parts_are_those_of_the_query() {
        let mut message = query();
        message.checking_disabled = true;
        with_options(vec![(option::COOKIE, vec![9; 8])])(&mut message);
        let wire = message.encode(MESSAGE_LEN_MAX);
        let plain = Plain::read(&wire).unwrap();
        assert_eq!(plain.name, b"\x03www\x07Example\0");
        assert_eq!((plain.rtype, plain.form.udp_size), (Rtype::A, 1232));
        assert_eq!(plain.cookie, Some(&[9; 8][..]));
        assert!(plain.form.has_edns());
    }

    // RFC 1035 section 2.3.4: 255 octets with the root.
    #[test]
    fn names_end_in_time() {
        let label = |len: u8| {
            let mut label = vec![b'x'; usize::from(len) + 1];
            label[0] = len;
            label
        };
        let of = |last| [label(63), label(63), label(63), label(last), vec![0]].concat();
        assert_eq!(name_len(&of(61)), Some(255));
        assert_eq!(name_len(&of(62)), None);
        assert_eq!(name_len(&[0xC0, 12]), None);
        assert_eq!(name_len(&[3, b'w']), None);
    }
}
