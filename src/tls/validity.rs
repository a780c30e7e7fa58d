//! When a certificate runs out (RFC 5280 section 4.1.2.5).
//!
//! Why here: the libraries that judge certificates say that one has run out, never when it will. So the fields before the end of
//! its validity are walked over, and nothing else is read: whether a certificate is any good is judged elsewhere.
//!
//! Failure: what has not this form has no end that could be told. Pure.

use crate::clock::parse_utc;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// The tag [0] of the version, which certificates of version 1 lack.
const VERSION: u8 = 0xA0;

/// The last second at which a certificate (DER) is valid, in seconds since 1970; `None` for what has not the form of one.
pub fn not_after(certificate: &[u8]) -> Option<u64> {
    let mut outer = Der(certificate);
    let mut signed = Der(Der(outer.take(SEQUENCE)?).take(SEQUENCE)?);
    if signed.0.first() == Some(&VERSION) {
        signed.take(VERSION)?;
    }
    // Serial number, algorithm, issuer.
    signed.take(INTEGER)?;
    signed.take(SEQUENCE)?;
    signed.take(SEQUENCE)?;
    let mut validity = Der(signed.take(SEQUENCE)?);
    validity.time()?;
    validity.time()
}

/// DER elements one after another.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next element, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (len, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            // More octets of length than a certificate's own take no part in anything sensible.
            0x81..=0x83 => {
                let (len, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                let value = len.iter().fold(0, |n, octet| n << 8 | usize::from(*octet));
                (value, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The next element, which must be a time in UTC to the second.
    fn time(&mut self) -> Option<u64> {
        let (tag, content) = self.next()?;
        let digits = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let (year, rest) = match (tag, digits.len()) {
            // RFC 5280 section 4.1.2.5.1: from 50 on, of the last century.
            (UTC_TIME, 12) => {
                let (year, rest) = digits.split_at(2);
                let century = if year < "50" { "20" } else { "19" };
                (format!("{century}{year}"), rest)
            }
            (GENERALIZED_TIME, 14) => (digits[..4].to_owned(), &digits[4..]),
            _ => return None,
        };
        let at = |i: usize| &rest[2 * i..2 * i + 2];
        let (month, day, hour, minute, second) = (at(0), at(1), at(2), at(3), at(4));
        parse_utc(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate whose validity holds these two times, each with its tag.
    fn certificate(version: &[u8], begin: (u8, &str), end: (u8, &str)) -> Vec<u8> {
        let element = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
        let time = |(tag, text): (u8, &str)| element(tag, text.as_bytes());
        let validity = element(SEQUENCE, &[time(begin), time(end)].concat());
        let parts = [
            version,
            &element(INTEGER, &[7]),
            &element(SEQUENCE, b"algorithm"),
            &element(SEQUENCE, b"issuer"),
            &validity,
            &element(SEQUENCE, b"subject"),
        ];
        element(SEQUENCE, &element(SEQUENCE, &parts.concat()))
    }

    #[test]
    fn both_forms_of_time_are_read() {
        let begin = (UTC_TIME, "200101000000Z");
        let check = |end: (u8, &str), expected: Option<&str>| {
            for version in [&[0xA0, 3, 2, 1, 2][..], &[]] {
                let found = not_after(&certificate(version, begin, end));
                assert_eq!(found.map(crate::clock::format_utc).as_deref(), expected);
            }
        };
        check((UTC_TIME, "260801120000Z"), Some("2026-08-01T12:00:00Z"));
        check((UTC_TIME, "700101000000Z"), Some("1970-01-01T00:00:00Z"));
        check(
            (GENERALIZED_TIME, "99991231235959Z"),
            Some("9999-12-31T23:59:59Z"),
        );
        check((UTC_TIME, "2608011200Z"), None);
        check((UTC_TIME, "500101000000Z"), None);
        check((GENERALIZED_TIME, "260801120000Z"), None);
        check((UTC_TIME, "260801120000+0100"), None);
        check((UTC_TIME, "261301120000Z"), None);
        check((INTEGER, "260801120000Z"), None);
    }

    #[test]
    fn what_is_cut_or_no_certificate_has_no_end() {
        let whole = certificate(
            &[],
            (UTC_TIME, "200101000000Z"),
            (UTC_TIME, "260801120000Z"),
        );
        assert!(not_after(&whole).is_some());
        for len in 0..whole.len() {
            assert_eq!(not_after(&whole[..len]), None, "{len}");
        }
        assert_eq!(not_after(&[SEQUENCE, 0x84, 0, 0, 0, 0]), None);
        let made = rcgen::generate_simple_self_signed(["ns.example".to_owned()]).unwrap();
        assert!(not_after(made.cert.der()).is_some_and(|end| end > 1_700_000_000));
    }
}
