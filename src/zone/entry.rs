//! Entries of a zone file before they are read: where one ends, and its rewriting for the scanner.
//!
//! An entry is a line, or several that parentheses or a quoted string join. Cutting needs only the
//! lexical rules of RFC 1035 section 5.1. [`Rewrite`] covers what the scanner does not: times with
//! units, `@` as a name in data, names with an empty label, LOC, SVCB and HTTPS. It keeps track of what it moved, so that
//! an error points into the text as written.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

use super::{loc, svcb};
use crate::dns::Name;

/// The longest entry (lines joined by parentheses), in octets.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// What the next entry of a text is.
pub enum Cut {
    /// So many octets, its line end included; `empty` when there are only blanks and comments.
    Entry { len: usize, empty: bool },
    /// The text ends inside a group or string that starts there.
    Open { at: usize, what: &'static str },
    /// No end within [`ENTRY_BYTES_MAX`].
    TooLong { at: usize },
}

/// Finds the end of an entry: a line end outside parentheses and quotes (RFC 1035 section 5.1).
pub fn cut_entry(text: &[u8]) -> Cut {
    let (mut depth, mut group, mut empty) = (0usize, 0, true);
    let mut at = 0;
    while at < text.len() {
        if at >= ENTRY_BYTES_MAX {
            return Cut::TooLong { at };
        }
        match text[at] {
            b'\n' if depth == 0 => return Cut::Entry { len: at + 1, empty },
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b';' => {
                let end = text[at..].iter().position(|&b| b == b'\n');
                at += end.unwrap_or(text.len() - at);
                continue;
            }
            b'(' => {
                (depth, empty) = (depth + 1, false);
                if depth == 1 {
                    group = at;
                }
            }
            // One too many is the scanner's to refuse.
            b')' => (depth, empty) = (depth.saturating_sub(1), false),
            b'"' => match string_len(&text[at..]) {
                Some(len) => {
                    (at, empty) = (at + len, false);
                    continue;
                }
                None => {
                    return Cut::Open {
                        at,
                        what: "a quoted string",
                    };
                }
            },
            b'\\' => (at, empty) = (at + 1, false),
            _ => empty = false,
        }
        at += 1;
    }
    match depth {
        0 => Cut::Entry {
            len: text.len(),
            empty,
        },
        _ => Cut::Open {
            at: group,
            what: "a parenthesis",
        },
    }
}

/// Length of the quoted string at the start of `text`, quotes included.
fn string_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while at < text.len().min(ENTRY_BYTES_MAX) {
        match text[at] {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// Types with names in their text, where a free-standing `@` is the origin (RFC 1035 section 5.1).
const TYPES_WITH_NAMES: [&str; 16] = [
    "NS", "CNAME", "PTR", "MX", "SOA", "SRV", "DNAME", "NSEC", "RRSIG", "NAPTR", "RP", "MINFO",
    "MB", "MG", "MR", "IPSECKEY",
];

/// An entry in the words that the scanner knows: TTLs and SOA times as plain seconds, and for a name
/// `@` the empty string, which the scanner completes with the origin while it takes `@` literally.
pub struct Rewrite<'a> {
    /// The entry to be scanned.
    pub text: Cow<'a, [u8]>,
    /// Where in `text` a token was replaced: its end there and its end in the original.
    moved: Vec<(usize, usize)>,
    /// What the scanner would let pass, or not understand: where, and what is wrong.
    pub fault: Option<(usize, &'static str)>,
}

/// There is nothing to complete a name with.
pub const NO_ORIGIN: &str = "a relative name without an origin; end it with a dot or use $ORIGIN";
/// Two dots in a row.
const EMPTY_LABEL: &str = "bad name: empty label";

impl<'a> Rewrite<'a> {
    /// Rewrites an entry where it needs it; `origin` completes relative names, in wire form.
    pub fn of(entry: &'a [u8], origin: Option<&[u8]>) -> Rewrite<'a> {
        let mut out = Rewrite {
            text: Cow::Borrowed(entry),
            moved: Vec::new(),
            fault: None,
        };
        let mut words = words(entry);
        if !entry.first().is_some_and(u8::is_ascii_whitespace) {
            // Owner or directive.
            let owner = words.next();
            out.fault = owner
                .filter(|w| has_empty_label(&entry[w.clone()]))
                .map(|w| (w.start, EMPTY_LABEL));
        }
        // [TTL] [class] type, or [class] [TTL] type.
        for word in words.by_ref().take(3) {
            let text = &entry[word.clone()];
            if let Some(seconds) = unit_seconds(text) {
                out.replace(entry, word, &seconds.to_string());
            } else if TYPES_WITH_NAMES
                .iter()
                .any(|t| text.eq_ignore_ascii_case(t.as_bytes()))
            {
                out.data(entry, words, text.eq_ignore_ascii_case(b"SOA"));
                break;
            } else if text.eq_ignore_ascii_case(b"LOC") {
                let words: Vec<_> = words.collect();
                let found = loc::read(words.iter().map(|w| &entry[w.clone()]));
                let end = words.last().map_or(word.end, |w| w.end);
                let found = found.map_err(|(at, what)| {
                    let at = words.get(at).map_or(end, |w: &Range<usize>| w.start);
                    (at, what)
                });
                out.generic(entry, words, found.as_ref().map(|data| &data[..]));
                break;
            } else if text.eq_ignore_ascii_case(b"SVCB") || text.eq_ignore_ascii_case(b"HTTPS") {
                let words: Vec<_> = words.collect();
                let end = words.last().map_or(word.end, |w| w.end);
                let found = svcb::read(entry, words.clone(), end, origin);
                out.generic(entry, words, found.as_ref().map(|data| &data[..]));
                break;
            } else if !is_plain_ttl(text) && !is_class(text) {
                // Another type: what follows is its data.
                break;
            }
        }
        out.finish(entry)
    }

    fn data(&mut self, entry: &[u8], words: impl Iterator<Item = Range<usize>>, soa: bool) {
        for (i, word) in words.enumerate() {
            let text = &entry[word.clone()];
            // An unquoted regular expression of NAPTR may have dots as it likes; its name is checked later.
            if has_empty_label(text) && text[0] != b'"' && !text.contains(&b'!') {
                self.fault.get_or_insert((word.start, EMPTY_LABEL));
            }
            if text == b"@" {
                self.replace(entry, word, "\"\"");
            } else if let Some(seconds) = unit_seconds(text).filter(|_| soa && i > 2) {
                // Names and serial stay; refresh, retry, expire and minimum are times.
                self.replace(entry, word, &seconds.to_string());
            }
        }
    }

    /// Writes data, whose words these are, as RFC 3597 does, unless it is written so already.
    fn generic(
        &mut self,
        entry: &[u8],
        words: Vec<Range<usize>>,
        data: Result<&[u8], &(usize, &'static str)>,
    ) {
        if words.first().is_some_and(|w| entry[w.clone()] == *b"\\#") {
            return;
        }
        match data {
            Ok(data) => {
                let mut generic = format!("\\# {} ", data.len());
                for octet in data {
                    let _ = write!(generic, "{octet:02x}");
                }
                // Parentheses and line ends between the words stay.
                for (i, word) in words.into_iter().enumerate() {
                    self.replace(entry, word, if i == 0 { &generic } else { "" });
                }
            }
            Err(fault) => {
                self.fault.get_or_insert(*fault);
            }
        }
    }

    /// Replaces a word of the original; later words only. The work is in proportion to the entry, however many are replaced.
    fn replace(&mut self, entry: &[u8], word: Range<usize>, by: &str) {
        let done = self.moved.last().map_or(0, |(_, there)| *there);
        let text = match &mut self.text {
            Cow::Owned(text) => text,
            Cow::Borrowed(_) => {
                self.text = Cow::Owned(Vec::with_capacity(entry.len() + by.len()));
                self.text.to_mut()
            }
        };
        text.extend_from_slice(&entry[done..word.start]);
        text.extend_from_slice(by.as_bytes());
        self.moved.push((text.len(), word.end));
    }

    /// Takes over what stands behind the last word that was replaced.
    fn finish(mut self, entry: &[u8]) -> Rewrite<'a> {
        if let Some((_, there)) = self.moved.last() {
            self.text.to_mut().extend_from_slice(&entry[*there..]);
        }
        self
    }

    /// The offset in the original that belongs to one in `text`.
    pub fn original(&self, offset: usize) -> usize {
        let moved = self.moved.iter().rev().find(|(here, _)| *here <= offset);
        moved.map_or(offset, |(here, there)| there + (offset - here))
    }
}

fn is_plain_ttl(word: &[u8]) -> bool {
    word.iter().all(u8::is_ascii_digit)
}

fn is_class(word: &[u8]) -> bool {
    let known = [&b"IN"[..], b"CH", b"CS", b"HS", b"NONE", b"ANY"];
    let number = word
        .get(..5)
        .is_some_and(|head| head.eq_ignore_ascii_case(b"CLASS"));
    number || known.iter().any(|class| word.eq_ignore_ascii_case(class))
}

/// Whether a word has two unescaped dots in a row.
fn has_empty_label(word: &[u8]) -> bool {
    let mut last = 0;
    let mut octets = word.iter();
    while let Some(&b) = octets.next() {
        if b == b'.' && last == b'.' {
            return true;
        }
        last = b;
        if b == b'\\' {
            octets.next();
        }
    }
    false
}

/// The name that is written there, in wire form, completed with the origin.
///
/// # Errors
/// What is wrong with it.
pub fn absolute(word: &[u8], origin: Option<&[u8]>) -> Result<Vec<u8>, &'static str> {
    if word == b"@" {
        return Ok(origin.ok_or(NO_ORIGIN)?.to_vec());
    }
    if has_empty_label(word) {
        return Err(EMPTY_LABEL);
    }
    let text = std::str::from_utf8(word).ok();
    let name: Option<Name> = text.and_then(|text| text.parse().ok());
    let name = name.ok_or("bad name")?.wire().to_vec();
    if is_absolute(word) {
        return Ok(name);
    }
    let labels = name.strip_suffix(&[0]).unwrap_or(&name);
    let whole = [labels, origin.ok_or(NO_ORIGIN)?].concat();
    match Name::from_wire(&whole) {
        Ok(_) => Ok(whole),
        Err(_) => Err("bad name: too long"),
    }
}

/// What stands between the quotes of a word; `None` if it is not a quoted string and nothing else.
pub fn is_quoted(word: &[u8]) -> Option<&[u8]> {
    let whole = word.first() == Some(&b'"') && string_len(word) == Some(word.len());
    whole.then(|| &word[1..word.len() - 1])
}

/// Whether a name as written ends with an unescaped dot.
fn is_absolute(word: &[u8]) -> bool {
    let mut escaped = false;
    let mut dot = false;
    for &b in word {
        (escaped, dot) = (b == b'\\' && !escaped, b == b'.' && !escaped);
    }
    dot
}

/// What a word stands for: without its quotes, `\X` and `\DDD` as the octets that they are.
pub fn unquoted(word: &[u8]) -> Vec<u8> {
    let inner = word.strip_prefix(b"\"").and_then(|w| w.strip_suffix(b"\""));
    let mut rest = inner.unwrap_or(word);
    let mut out = Vec::with_capacity(rest.len());
    while let Some((&b, after)) = rest.split_first() {
        rest = after;
        if b != b'\\' {
            out.push(b);
            continue;
        }
        let digits = rest
            .first_chunk::<3>()
            .filter(|d| d.iter().all(u8::is_ascii_digit));
        let octet = digits.and_then(|d| std::str::from_utf8(d).ok()?.parse().ok());
        match (octet, rest.split_first()) {
            (Some(octet), _) => {
                out.push(octet);
                rest = &rest[3..];
            }
            (None, Some((&escaped, after))) => {
                out.push(escaped);
                rest = after;
            }
            (None, None) => {}
        }
    }
    out
}

/// The words of an entry; a quoted string is one, with its quotes.
pub fn words(entry: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            match *entry.get(at)? {
                b';' => at += entry[at..].iter().position(|&b| b == b'\n')?,
                b if b.is_ascii_whitespace() || b == b'(' || b == b')' => at += 1,
                _ => break,
            }
        }
        let start = at;
        if entry[at] == b'"' {
            at += string_len(&entry[at..])?;
        }
        loop {
            match entry.get(at) {
                Some(b'\\') => at = (at + 2).min(entry.len()),
                Some(b) if !b.is_ascii_whitespace() && !b"()\";".contains(b) => at += 1,
                _ => break,
            }
        }
        Some(start..at)
    })
}

/// Seconds of a time with units, such as `1h30m` or `2W`; `None` for anything else, plain numbers too.
pub fn unit_seconds(word: &[u8]) -> Option<u32> {
    if !word.first()?.is_ascii_digit() || word.last()?.is_ascii_digit() {
        return None;
    }
    let (mut total, mut number) = (0u32, None);
    for &b in word {
        if b.is_ascii_digit() {
            let digits = number.unwrap_or(0u32);
            number = Some(digits.checked_mul(10)?.checked_add(u32::from(b - b'0'))?);
            continue;
        }
        let unit = match b.to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    Some(total)
}
