//! The lines that registries' zone files are made of, read without detours.
//!
//! A TLD's file has millions of lines of a few kinds: one record on one line, no comment, no escape, no quotes. Such a line of
//! a known type is read here in one pass into the octets of the record. For anything else, and for whatever is odd about it,
//! the answer is `None`: then the general scanner reads it, and says what is wrong if something is. So this file refuses
//! where it is not sure, and never tells an error.

use crate::dns::name::{LABEL_LEN_MAX, NAME_LEN_MAX};
use crate::dns::rdata::type_bitmap;
use crate::dns::{Name, Rtype};
use crate::dnssec::nsec3::label_hash;

/// Words of a line.
const WORDS_MAX: usize = 40;
/// Octets of a line.
const LINE_LEN_MAX: usize = 16 << 10;

/// A record in wire form.
#[derive(Debug)]
pub struct RecordBuf {
    /// Owner name.
    pub owner: Vec<u8>,
    /// Type.
    pub rtype: Rtype,
    /// TTL in seconds.
    pub ttl: u32,
    /// Data.
    pub rdata: Vec<u8>,
}

/// What lines before have set.
#[derive(Debug, Default)]
pub struct Context {
    /// `$ORIGIN` in wire form.
    pub origin: Option<Vec<u8>>,
    /// `$TTL` in seconds.
    pub ttl: Option<u32>,
}

/// What a line was.
pub struct Line {
    /// Its octets, the line end included.
    pub len: usize,
    /// Whether it names the owner.
    pub owner: bool,
    /// Whether it names the TTL.
    pub ttl: bool,
}

/// Reads the line at the start of `text` into `record`, whose owner is the one of the line before.
pub fn read(text: &[u8], context: &Context, record: &mut RecordBuf) -> Option<Line> {
    let mut words = [&[][..]; WORDS_MAX];
    let (count, len) = split(text, &mut words)?;
    let mut words = words[..count].iter().copied();
    let owner = !matches!(text[0], b' ' | b'\t');
    if owner {
        let word = words.next()?;
        record.owner.clear();
        push_name(&mut record.owner, word, context)?;
    } else if record.owner.is_empty() {
        return None;
    }
    let (mut ttl, mut class) = (None, false);
    let rtype = loop {
        let word = words.next()?;
        if ttl.is_none() && word.first()?.is_ascii_digit() {
            ttl = Some(number(word)?);
        } else if !class && word.eq_ignore_ascii_case(b"IN") {
            class = true;
        } else {
            break rtype_of(word)?;
        }
    };
    record.rtype = rtype;
    record.ttl = ttl.or(context.ttl)?;
    record.rdata.clear();
    push_data(&mut record.rdata, rtype, &mut words, context)?;
    words.next().is_none().then_some(Line {
        len,
        owner,
        ttl: ttl.is_some(),
    })
}

/// What an octet is to a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Octet {
    OfWord,
    Blank,
    End,
    /// Such lines are not read here.
    Other,
}

const fn octets() -> [Octet; 256] {
    let mut octets = [Octet::Other; 256];
    let mut b = b'#' as usize;
    while b < 0x7F {
        octets[b] = match b as u8 {
            b'$' | b'(' | b')' | b';' | b'@' | b'\\' => Octet::Other,
            _ => Octet::OfWord,
        };
        b += 1;
    }
    octets[b' ' as usize] = Octet::Blank;
    octets[b'\t' as usize] = Octet::Blank;
    octets[b'\n' as usize] = Octet::End;
    octets
}

/// Most octets of a file are passed once here and looked up once.
static OCTETS: [Octet; 256] = octets();

/// Octets that are looked at together where a word is long, as signatures are.
const STRIDE: usize = 16;

/// How many octets at the start are of a word, up to a multiple of [`STRIDE`]. What the table says, in comparisons that processors do side by side.
fn strides(text: &[u8]) -> usize {
    let is_of_word = |b: &u8| {
        (b'#'..0x7F).contains(b)
            & (*b != b'$')
            & (*b != b'(')
            & (*b != b')')
            & (*b != b';')
            & (*b != b'@')
            & (*b != b'\\')
    };
    let strides = text.as_chunks::<STRIDE>().0.iter();
    let whole = strides.take_while(|s| s.iter().fold(true, |all, b| all & is_of_word(b)));
    whole.count() * STRIDE
}

/// Puts the words of the first line into `words`; returns how many there are and the octets of the line.
fn split<'a>(text: &'a [u8], words: &mut [&'a [u8]; WORDS_MAX]) -> Option<(usize, usize)> {
    let text = &text[..text.len().min(LINE_LEN_MAX)];
    let (mut count, mut at) = (0, 0);
    loop {
        let start = at;
        let is_end = |b: &u8| OCTETS[usize::from(*b)] != Octet::OfWord;
        // Most words are shorter than it pays for.
        let head = &text[at..text.len().min(at + STRIDE)];
        at += match head.iter().position(is_end) {
            Some(len) => len,
            None => {
                let whole = strides(&text[at..]);
                whole + text[at + whole..].iter().position(is_end)?
            }
        };
        if at > start {
            *words.get_mut(count)? = &text[start..at];
            count += 1;
        }
        match OCTETS[usize::from(text[at])] {
            Octet::End => return (count > 0).then_some((count, at + 1)),
            Octet::Other => return None,
            Octet::Blank | Octet::OfWord => at += 1,
        }
    }
}

/// The types that are read here.
fn rtype_of(word: &[u8]) -> Option<Rtype> {
    Some(match word {
        b"NS" => Rtype::NS,
        b"A" => Rtype::A,
        b"AAAA" => Rtype::AAAA,
        b"DS" => Rtype::DS,
        b"RRSIG" => Rtype::RRSIG,
        b"NSEC" => Rtype::NSEC,
        b"NSEC3" => Rtype::NSEC3,
        b"CNAME" => Rtype::CNAME,
        _ => return None,
    })
}

/// A type in data, where any may stand.
fn any_rtype(word: &[u8]) -> Option<Rtype> {
    rtype_of(word).or_else(|| text(word)?.parse().ok())
}

fn number<T: TryFrom<u32>>(word: &[u8]) -> Option<T> {
    if word.is_empty() || word.len() > 10 {
        return None;
    }
    let digit = |n: u32, b: &u8| {
        let digit = b.is_ascii_digit().then(|| u32::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    };
    word.iter().try_fold(0, digit)?.try_into().ok()
}

/// Appends a name in wire form.
fn push_name(out: &mut Vec<u8>, word: &[u8], context: &Context) -> Option<()> {
    let start = out.len();
    if word == b"." {
        out.push(0);
        return Some(());
    }
    let (labels, absolute) = match word.strip_suffix(b".") {
        Some(labels) => (labels, true),
        None => (word, false),
    };
    for label in labels.split(|b| *b == b'.') {
        if !(1..=LABEL_LEN_MAX).contains(&label.len()) {
            return None;
        }
        out.push(label.len() as u8);
        out.extend_from_slice(label);
    }
    match absolute {
        true => out.push(0),
        false => out.extend_from_slice(context.origin.as_ref()?),
    }
    (out.len() - start <= NAME_LEN_MAX).then_some(())
}

fn push_data<'a>(
    out: &mut Vec<u8>,
    rtype: Rtype,
    words: &mut impl Iterator<Item = &'a [u8]>,
    context: &Context,
) -> Option<()> {
    match rtype {
        Rtype::NS | Rtype::CNAME => push_name(out, words.next()?, context)?,
        Rtype::A => {
            out.extend_from_slice(&address(words.next()?)?);
        }
        Rtype::AAAA => {
            let address: std::net::Ipv6Addr = text(words.next()?)?.parse().ok()?;
            out.extend_from_slice(&address.octets());
        }
        Rtype::DS => {
            out.extend_from_slice(&number::<u16>(words.next()?)?.to_be_bytes());
            out.push(number(words.next()?)?);
            out.push(number(words.next()?)?);
            let before = out.len();
            words.try_for_each(|word| push_hex(out, word))?;
            return (out.len() > before).then_some(());
        }
        Rtype::RRSIG => {
            let covered = any_rtype(words.next()?)?;
            out.extend_from_slice(&covered.0.to_be_bytes());
            out.push(number(words.next()?)?);
            out.push(number(words.next()?)?);
            out.extend_from_slice(&number::<u32>(words.next()?)?.to_be_bytes());
            out.extend_from_slice(&moment(words.next()?)?.to_be_bytes());
            out.extend_from_slice(&moment(words.next()?)?.to_be_bytes());
            out.extend_from_slice(&number::<u16>(words.next()?)?.to_be_bytes());
            push_name(out, words.next()?, context)?;
            let (before, mut ended) = (out.len(), false);
            for word in words {
                if ended {
                    return None;
                }
                ended = word.ends_with(b"=");
                push_base64(out, word)?;
            }
            return (out.len() > before).then_some(());
        }
        Rtype::NSEC => {
            push_name(out, words.next()?, context)?;
            push_types(out, words)?;
        }
        Rtype::NSEC3 => push_nsec3(out, words)?,
        _ => return None,
    }
    Some(())
}

fn push_nsec3<'a>(out: &mut Vec<u8>, words: &mut impl Iterator<Item = &'a [u8]>) -> Option<()> {
    out.push(number(words.next()?)?);
    out.push(number(words.next()?)?);
    out.extend_from_slice(&number::<u16>(words.next()?)?.to_be_bytes());
    let salt_at = out.len();
    out.push(0);
    match words.next()? {
        b"-" => {}
        salt => push_hex(out, salt)?,
    }
    out[salt_at] = u8::try_from(out.len() - salt_at - 1).ok()?;
    let next = label_hash(words.next()?)?;
    out.push(next.len() as u8);
    out.extend_from_slice(&next);
    push_types(out, words)
}

/// Appends the types of a name as NSEC and NSEC3 data have them (RFC 4034 section 4.1.2).
fn push_types<'a>(out: &mut Vec<u8>, words: &mut impl Iterator<Item = &'a [u8]>) -> Option<()> {
    let mut types = Vec::new();
    for word in words {
        types.push(any_rtype(word)?);
    }
    types.sort_unstable();
    types.dedup();
    out.extend_from_slice(&type_bitmap(&types));
    Some(())
}

fn text(word: &[u8]) -> Option<&str> {
    std::str::from_utf8(word).ok()
}

/// An IPv4 address, as the library reads it: four numbers below 256 without zeros before them.
fn address(word: &[u8]) -> Option<[u8; 4]> {
    let mut octets = [0; 4];
    let mut parts = word.split(|b| *b == b'.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.len() > 3 || (part.len() > 1 && part[0] == b'0') {
            return None;
        }
        *octet = number(part)?;
    }
    parts.next().is_none().then_some(octets)
}

fn push_hex(out: &mut Vec<u8>, word: &[u8]) -> Option<()> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    for pair in word.chunks(2) {
        let &[high, low] = pair else { return None };
        out.push(digit(high)? << 4 | digit(low)?);
    }
    Some(())
}

const fn base64_values() -> [u8; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [u8::MAX; 256];
    let mut i = 0;
    while i < 64 {
        values[alphabet[i] as usize] = i as u8;
        i += 1;
    }
    values
}

static BASE64: [u8; 256] = base64_values();

/// Base64 with all of its padding and no stray bits.
pub(super) fn push_base64(out: &mut Vec<u8>, word: &[u8]) -> Option<()> {
    let digits = word.trim_ascii_end();
    let padding = digits.iter().rev().take_while(|b| **b == b'=').count();
    if digits.is_empty() || !digits.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let digits = &digits[..digits.len() - padding];
    let (whole, rest) = digits.as_chunks::<4>();
    let value = |b: &u8| u32::from(BASE64[usize::from(*b)]);
    let start = out.len();
    out.resize(start + 3 * whole.len(), 0);
    // No value has bits above its six but that of an octet which is no digit.
    let mut all = 0;
    for (four, three) in whole.iter().zip(out[start..].as_chunks_mut::<3>().0) {
        let values = four.each_ref().map(value);
        all |= values[0] | values[1] | values[2] | values[3];
        let word = values[0] << 18 | values[1] << 12 | values[2] << 6 | values[3];
        let [_, octets @ ..] = word.to_be_bytes();
        *three = octets;
    }
    if !rest.is_empty() {
        all |= rest.iter().map(value).fold(0, |all, value| all | value);
        let word = rest.iter().fold(0, |word, b| word << 6 | value(b));
        let bits = 6 * rest.len();
        if word & ((1 << (bits % 8)) - 1) != 0 {
            return None;
        }
        let word = word << (32 - bits);
        out.extend_from_slice(&word.to_be_bytes()[..bits / 8]);
    }
    (all < 64).then_some(())
}

/// A time as RRSIG data has it, `YYYYMMDDHHMMSS` (RFC 4034 section 3.2), as seconds since 1970 modulo 2^32.
fn moment(word: &[u8]) -> Option<u32> {
    if word.len() != 14 {
        return None;
    }
    let part = |range: std::ops::Range<usize>| number::<u32>(&word[range]);
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(8..10)?, part(10..12)?, part(12..14)?);
    let sound = (1970..2106).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !sound {
        return None;
    }
    // Days since 1970 in the calendar whose years begin in March (Howard Hinnant's days_from_civil).
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn days_of(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl Default for RecordBuf {
    fn default() -> RecordBuf {
        RecordBuf {
            owner: Vec::new(),
            rtype: Rtype(0),
            ttl: 0,
            rdata: Vec::new(),
        }
    }
}

impl RecordBuf {
    /// The owner as a name.
    pub fn name(&self) -> Name {
        // Both ways of filling the buffer check it.
        Name::from_wire(&self.owner).unwrap_or_else(|_| Name::root())
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::records;
    use super::*;
    use crate::dns::Record;

    const LINES: &str = "a.b.example. 60 IN NS ns1.b\n\
        b IN 60 A 192.0.2.1\n\
        c 60 AAAA 2001:db8::1\n\
        c 60 DS 12 13 2 00ff AAbb\n\
        \t60 IN NS .\n\
        c 3600 IN RRSIG DS 13 2 3600 20260827231415 20240228000000 5 example. AAECAwQF\n\
        c 3600 IN RRSIG DS 13 2 3600 20300101000000 19700301000000 5 example. AAECAw==\n\
        c 60 IN RRSIG DS 13 2 3600 20241231235959 20240229000000 5 example. AAEC\n\
        c 60 IN RRSIG DS 13 2 3600 20300131000000 20300430000000 5 example. AAEC\n\
        c 60 IN NSEC d NS DS RRSIG NSEC TYPE65000\n\
        c 60 NSEC d.example.\n\
        2vptu5timamqttgl4luu9kg21e0aor3s 60 IN NSEC3 1 1 0 - 35mthgpgcu1qg68fab165klnsnk3dpvl NS DS RRSIG TYPE65000\n\
        2vptu5timamqttgl4luu9kg21e0aor3s 60 IN NSEC3 1 0 12 aabbccdd 35MTHGPGCU1QG68FAB165KLNSNK3DPVL\n\
        d 60 IN CNAME c.example.\n";

    #[test]
    fn addresses_are_what_the_library_reads() {
        for text in [
            "192.0.2.1",
            "0.0.0.0",
            "255.255.255.255",
            "256.0.0.1",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "1.2.3.04",
            "00.1.2.3",
            "1..2.3",
            ".1.2.3",
            "1.2.3.",
            "1.2.3.4a",
            "+1.2.3.4",
            "1000.1.1.1",
            "",
        ] {
            let expected = text.parse().ok().map(|a: std::net::Ipv4Addr| a.octets());
            assert_eq!(address(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn strides_are_what_the_table_says() {
        for octet in 0..=u8::MAX {
            let expected = match OCTETS[usize::from(octet)] {
                Octet::OfWord => 2 * STRIDE,
                _ => STRIDE,
            };
            let mut text = [b'a'; 2 * STRIDE + 5];
            text[STRIDE + 3] = octet;
            assert_eq!(strides(&text), expected, "{octet}");
        }
        assert_eq!(strides(&[b'a'; STRIDE - 1]), 0);
    }

    /// The scanner alone: with a comment at its end no line is read here.
    fn scanned(text: &str) -> Vec<Record> {
        let text = text.replace('\n', " ;\n");
        let origin = "example.".parse().unwrap();
        let records = records(text.as_bytes(), "z", Some(&origin));
        records.map(Result::unwrap).collect()
    }

    #[test]
    fn lines_mean_what_the_scanner_reads() {
        let context = Context {
            origin: Some(b"\x07example\0".to_vec()),
            ttl: None,
        };
        let mut record = RecordBuf::default();
        let mut rest = LINES.as_bytes();
        for expected in scanned(LINES) {
            let line = read(rest, &context, &mut record);
            let line = line.unwrap_or_else(|| panic!("{expected:?}"));
            rest = &rest[line.len..];
            let found = (record.name(), record.rtype, record.ttl, &record.rdata[..]);
            let Record { name, rdata, .. } = &expected;
            assert_eq!(
                found,
                (name.clone(), expected.rtype, expected.ttl, &rdata[..])
            );
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn what_is_odd_is_left_to_the_scanner() {
        let context = Context {
            origin: Some(b"\x07example\0".to_vec()),
            ttl: Some(60),
        };
        let long = "a".repeat(64);
        for line in [
            "a NS b",
            "a NS b ; c\n",
            "a NS b c\n",
            "a (NS b)\n",
            "@ NS b\n",
            "a NS @\n",
            "a NS b..c\n",
            ".a NS b\n",
            "\\097 NS b\n",
            "$TTL 5\n",
            "\n",
            " \n",
            "\tNS b\n",
            "a 1h NS b\n",
            "a 4294967296 NS b\n",
            "a CH NS b\n",
            "a TXT b\n",
            "a A 192.0.2\n",
            "a DS 1 8 2\n",
            "a DS 1 8 2 0\n",
            "a NSEC3 1 0 0 - x\n",
            "a RRSIG A 8 1 1 20260230000000 20260101000000 1 . AAAA\n",
            "a RRSIG A 8 1 1 20260431000000 20260101000000 1 . AAAA\n",
            "a RRSIG A 8 1 1 20270229000000 20260101000000 1 . AAAA\n",
            "a RRSIG A 8 1 1 21000229000000 20260101000000 1 . AAAA\n",
            "a RRSIG A 8 1 1 20260132000000 20260101000000 1 . AAAA\n",
            "a NSEC\n",
            "a NSEC b NSX\n",
            "a RRSIG A 8 1 1 20260201000000 20260101000000 1 . AAA\n",
            "a RRSIG A 8 1 1 20260201000000 20260101000000 1 . AB==\n",
            "a NS b\r\n",
            &format!("{long} NS b\n"),
        ] {
            let found = read(line.as_bytes(), &context, &mut RecordBuf::default());
            assert!(found.is_none(), "{line:?}");
        }
    }
}
