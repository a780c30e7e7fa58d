//! Domain names in wire form.
//!
//! A [`Name`] is always absolute and always valid: labels of 1 to 63 octets, 255 octets in all
//! (RFC 1035 section 2.3.4). Case is kept for what is sent, and ignored where names are compared,
//! ordered and hashed (RFC 4343). The order is DNSSEC's canonical one (RFC 4034 section 6.1), so a
//! sorted list of names is a zone in canonical order.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use super::WireError;

/// The longest name, in octets, with the root label (RFC 1035 section 2.3.4).
pub const NAME_LEN_MAX: usize = 255;
/// Most names are no longer, in octets.
const NAME_LEN_USUAL: usize = 64;
/// The longest label, in octets.
pub const LABEL_LEN_MAX: usize = 63;
/// No name has more labels than this, the root label not counted.
pub const LABELS_MAX: usize = 127;
/// Compression pointers of one name. A writer needs at most one per label; a chain of pointers to pointers through
/// 16 KiB, begun by each of the 4000 records of a message, would cost half a second to read.
pub const POINTERS_MAX: usize = LABELS_MAX;

/// An absolute domain name in uncompressed wire form.
#[derive(Clone)]
pub struct Name(Box<[u8]>);

/// Why a text is no domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Two dots in a row, or a dot at the start.
    #[error("empty label")]
    EmptyLabel,
    /// A label over 63 octets.
    #[error("label longer than 63 octets")]
    LongLabel,
    /// A name over 255 octets.
    #[error("name longer than 255 octets")]
    LongName,
    /// A backslash that is not followed by a character or by three digits up to 255.
    #[error("bad escape; write \\. or \\DDD")]
    BadEscape,
}

impl Name {
    /// The root, `.`.
    pub fn root() -> Name {
        Name(Box::new([0]))
    }

    /// Reads an uncompressed name that fills `wire` exactly.
    pub fn from_wire(wire: &[u8]) -> Result<Name, WireError> {
        match uncompressed_len(wire)? {
            n if n == wire.len() => Ok(Name(wire.into())),
            _ => Err(WireError::BadName),
        }
    }

    /// Reads an uncompressed name at the start of `wire`; returns it and its length in octets.
    pub fn from_wire_prefix(wire: &[u8]) -> Result<(Name, usize), WireError> {
        let n = uncompressed_len(wire)?;
        Ok((Name(wire[..n].into()), n))
    }

    /// Reads a possibly compressed name at `pos` of a message; returns it and the position after it.
    ///
    /// A pointer must point to before the name part that holds it (RFC 1035 section 4.1.4 says "a
    /// prior occurrence"), so the walk ends, and after at most [`POINTERS_MAX`] of them.
    pub fn parse(msg: &[u8], pos: usize) -> Result<(Name, usize), WireError> {
        let mut buf = [0u8; NAME_LEN_MAX];
        let mut len = 0;
        let mut at = pos;
        let mut end = None;
        let mut lowest = pos;
        let mut pointers = 0;
        loop {
            let head = *msg.get(at).ok_or(WireError::Truncated)?;
            match head {
                0 => {
                    if len + 1 > NAME_LEN_MAX {
                        return Err(WireError::BadName);
                    }
                    len += 1;
                    return Ok((Name(buf[..len].into()), end.unwrap_or(at + 1)));
                }
                1..=63 => {
                    let n = head as usize + 1;
                    let label = msg.get(at..at + n).ok_or(WireError::Truncated)?;
                    if len + n + 1 > NAME_LEN_MAX {
                        return Err(WireError::BadName);
                    }
                    buf[len..len + n].copy_from_slice(label);
                    len += n;
                    at += n;
                }
                0xC0..=0xFF => {
                    let low = *msg.get(at + 1).ok_or(WireError::Truncated)?;
                    end.get_or_insert(at + 2);
                    let target = usize::from(head & 0x3F) << 8 | usize::from(low);
                    pointers += 1;
                    if target >= lowest || pointers > POINTERS_MAX {
                        return Err(WireError::BadName);
                    }
                    lowest = target;
                    at = target;
                }
                _ => return Err(WireError::BadName),
            }
        }
    }

    /// The uncompressed wire form, root label included, case as given.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether the first label is `*` (RFC 4592 section 2.1.1).
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with(&[1, b'*'])
    }

    /// The labels from left to right, without the root label.
    pub fn labels(&self) -> Labels<'_> {
        Labels { rest: &self.0 }
    }

    /// How many labels, the root label not counted (as the RRSIG labels field counts, but with a
    /// leading `*` counted too).
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// The name without its first label; `None` for the root.
    pub fn parent(&self) -> Option<Name> {
        match self.0[0] {
            0 => None,
            n => Some(Name(self.0[n as usize + 1..].into())),
        }
    }

    /// The last `count` labels; the whole name if it has no more than that.
    pub fn suffix(&self, count: usize) -> Name {
        let skip = self.label_count().saturating_sub(count);
        let mut rest = &self.0[..];
        for _ in 0..skip {
            rest = &rest[rest[0] as usize + 1..];
        }
        Name(rest.into())
    }

    /// Whether this name is `zone` or below it.
    pub fn is_within(&self, zone: &Name) -> bool {
        let (mine, theirs) = (&self.0, &zone.0);
        if theirs.len() > mine.len() {
            return false;
        }
        let cut = mine.len() - theirs.len();
        if !mine[cut..].eq_ignore_ascii_case(theirs) {
            return false;
        }
        // The suffix must begin at a label, not inside one.
        let mut at = 0;
        while at < cut {
            at += mine[at] as usize + 1;
        }
        at == cut
    }

    /// Whether this name is below `zone` and not `zone` itself.
    pub fn is_below(&self, zone: &Name) -> bool {
        self.0.len() > zone.0.len() && self.is_within(zone)
    }

    /// The deepest name that both are within.
    pub fn common_ancestor(&self, other: &Name) -> Name {
        let mine: Vec<&[u8]> = self.labels().collect();
        let theirs: Vec<&[u8]> = other.labels().collect();
        let same = mine
            .iter()
            .rev()
            .zip(theirs.iter().rev())
            .take_while(|(a, b)| a.eq_ignore_ascii_case(b))
            .count();
        self.suffix(same)
    }

    /// This name with one label put before it.
    pub fn child(&self, label: &[u8]) -> Result<Name, NameError> {
        match label.len() {
            0 => return Err(NameError::EmptyLabel),
            n if n > LABEL_LEN_MAX => return Err(NameError::LongLabel),
            n if n + 1 + self.0.len() > NAME_LEN_MAX => return Err(NameError::LongName),
            _ => {}
        }
        let mut wire = Vec::with_capacity(label.len() + 1 + self.0.len());
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
        wire.extend_from_slice(&self.0);
        Ok(Name(wire.into()))
    }

    /// The wildcard `*.self` (RFC 4592).
    pub fn wildcard(&self) -> Result<Name, NameError> {
        self.child(b"*")
    }

    /// This name with its suffix `from` replaced by `to`, as DNAME does (RFC 6672 section 2.2).
    /// `Ok(None)` when the name is not below `from`; an error when the result is too long.
    pub fn replace_suffix(&self, from: &Name, to: &Name) -> Result<Option<Name>, NameError> {
        if !self.is_below(from) {
            return Ok(None);
        }
        let head = &self.0[..self.0.len() - from.0.len()];
        if head.len() + to.0.len() > NAME_LEN_MAX {
            return Err(NameError::LongName);
        }
        Ok(Some(Name([head, &to.0].concat().into())))
    }

    /// The name in lower case (ASCII letters only, RFC 4343 section 3).
    pub fn to_lowercase(&self) -> Name {
        // Length octets are at most 63, below `A`, so lower-casing the whole is safe.
        Name(self.0.to_ascii_lowercase().into())
    }

    /// The name with the case of each letter chosen by `upper` ("0x20").
    pub fn with_case(&self, mut upper: impl FnMut() -> bool) -> Name {
        // Length octets are at most 63, below any letter.
        let flip = |&b: &u8| match b.is_ascii_alphabetic() {
            true if upper() => b.to_ascii_uppercase(),
            true => b.to_ascii_lowercase(),
            false => b,
        };
        Name(self.0.iter().map(flip).collect())
    }

    /// Whether both are the same octets, case included.
    pub fn eq_case(&self, other: &Name) -> bool {
        self.0 == other.0
    }
}

/// Compares two names in wire form in canonical order (RFC 4034 section 6.1). Both must be valid.
pub fn canonical_cmp(a: &[u8], b: &[u8]) -> Ordering {
    // Clearing room for the most labels would take longer than all the rest.
    match a.len().max(b.len()) {
        ..=NAME_LEN_USUAL => cmp_labels::<{ NAME_LEN_USUAL / 2 }>(a, b),
        _ => cmp_labels::<LABELS_MAX>(a, b),
    }
}

/// The same for names of no more than `N` labels.
fn cmp_labels<const N: usize>(a: &[u8], b: &[u8]) -> Ordering {
    let (a_labels, a_count) = label_offsets::<N>(a);
    let (b_labels, b_count) = label_offsets::<N>(b);
    let (mut i, mut j) = (a_count, b_count);
    while i > 0 && j > 0 {
        i -= 1;
        j -= 1;
        let order = cmp_label(label_at(a, a_labels[i]), label_at(b, b_labels[j]));
        if order != Ordering::Equal {
            return order;
        }
    }
    i.cmp(&j)
}

fn label_offsets<const N: usize>(wire: &[u8]) -> ([u8; N], usize) {
    let mut offsets = [0u8; N];
    let (mut at, mut count) = (0usize, 0);
    while let Some(&n) = wire.get(at) {
        if n == 0 || count == N {
            break;
        }
        offsets[count] = at as u8;
        count += 1;
        at += n as usize + 1;
    }
    (offsets, count)
}

fn label_at(wire: &[u8], offset: u8) -> &[u8] {
    let at = offset as usize;
    let end = at + 1 + wire[at] as usize;
    &wire[at + 1..end.min(wire.len())]
}

fn cmp_label(a: &[u8], b: &[u8]) -> Ordering {
    // Names that are compared mostly share their last labels, octet for octet.
    if a == b {
        return Ordering::Equal;
    }
    let lower = u8::to_ascii_lowercase;
    a.iter().map(lower).cmp(b.iter().map(lower))
}

fn uncompressed_len(wire: &[u8]) -> Result<usize, WireError> {
    let mut at = 0;
    loop {
        match *wire.get(at).ok_or(WireError::Truncated)? {
            0 if at < NAME_LEN_MAX => return Ok(at + 1),
            n @ 1..=63 if at + (n as usize) < NAME_LEN_MAX => at += n as usize + 1,
            _ => return Err(WireError::BadName),
        }
    }
}

/// Iterates over the labels of a [`Name`], leftmost first.
#[derive(Clone)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self.rest[0] {
            0 => None,
            n => {
                let (label, rest) = self.rest[1..].split_at(n as usize);
                self.rest = rest;
                Some(label)
            }
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Clearing room for the longest name would take longer than all the rest.
        match self.0.len() {
            ..=NAME_LEN_USUAL => hash_lower::<NAME_LEN_USUAL>(&self.0, state),
            _ => hash_lower::<NAME_LEN_MAX>(&self.0, state),
        }
    }
}

/// Hashes the octets in lower case; there must be no more than `N` of them.
fn hash_lower<const N: usize>(wire: &[u8], state: &mut impl Hasher) {
    let mut lower = [0u8; N];
    let lower = &mut lower[..wire.len()];
    lower.copy_from_slice(wire);
    lower.make_ascii_lowercase();
    state.write(lower);
}

impl Ord for Name {
    fn cmp(&self, other: &Name) -> Ordering {
        canonical_cmp(&self.0, &other.0)
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Name {
    /// Writes the name with its final dot; octets outside the printable ones as `\DDD`
    /// (RFC 1035 section 5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &b in label {
                match b {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                        write!(f, "\\{}", b as char)?
                    }
                    0x21..=0x7E => write!(f, "{}", b as char)?,
                    _ => write!(f, "\\{b:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads presentation form; a missing final dot is supplied.
    fn from_str(text: &str) -> Result<Name, NameError> {
        if text == "." {
            return Ok(Name::root());
        }
        let mut wire: Vec<u8> = vec![0];
        let mut head = 0;
        let mut bytes = text.bytes();
        while let Some(b) = bytes.next() {
            let octet = match b {
                b'.' => {
                    close_label(&mut wire, head)?;
                    head = wire.len();
                    wire.push(0);
                    continue;
                }
                b'\\' => unescape(&mut bytes)?,
                other => other,
            };
            wire.push(octet);
            if wire.len() > NAME_LEN_MAX {
                return Err(NameError::LongName);
            }
        }
        // The text ended inside a label: supply the dot.
        if wire.len() > head + 1 {
            close_label(&mut wire, head)?;
            wire.push(0);
        } else if head == 0 {
            return Err(NameError::EmptyLabel);
        }
        if wire.len() > NAME_LEN_MAX {
            return Err(NameError::LongName);
        }
        Ok(Name(wire.into()))
    }
}

fn close_label(wire: &mut [u8], head: usize) -> Result<(), NameError> {
    match wire.len() - head - 1 {
        0 => Err(NameError::EmptyLabel),
        n if n > LABEL_LEN_MAX => Err(NameError::LongLabel),
        n => {
            wire[head] = n as u8;
            Ok(())
        }
    }
}

fn unescape(bytes: &mut std::str::Bytes<'_>) -> Result<u8, NameError> {
    let first = bytes.next().ok_or(NameError::BadEscape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        match bytes.next() {
            Some(d) if d.is_ascii_digit() => value = value * 10 + u16::from(d - b'0'),
            _ => return Err(NameError::BadEscape),
        }
    }
    u8::try_from(value).map_err(|_| NameError::BadEscape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(s: &str) -> Name {
        s.parse().unwrap()
    }

    #[test]
    fn text_round_trips() {
        for (input, output) in [
            (".", "."),
            ("example", "example."),
            ("WWW.Example.", "WWW.Example."),
            (r"a\.b.example.", r"a\.b.example."),
            (r"\000\255x.example.", r"\000\255x.example."),
            (r"\097.", "a."),
        ] {
            assert_eq!(name(input).to_string(), output);
            assert!(
                Name::from_wire(name(input).wire())
                    .unwrap()
                    .eq_case(&name(input))
            );
        }
    }

    #[test]
    fn bad_text_is_refused() {
        let long = "a".repeat(64);
        let many = "a.".repeat(128);
        for (input, error) in [
            ("", NameError::EmptyLabel),
            ("..", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a..b", NameError::EmptyLabel),
            (long.as_str(), NameError::LongLabel),
            (many.as_str(), NameError::LongName),
            (r"a\", NameError::BadEscape),
            (r"a\25", NameError::BadEscape),
            (r"a\256", NameError::BadEscape),
        ] {
            assert_eq!(input.parse::<Name>(), Err(error), "{input}");
        }
        assert_eq!(name(&"a.".repeat(127)).wire().len(), NAME_LEN_MAX);
    }

    // RFC 4034 section 6.1, the example list.
    #[test]
    fn order_is_canonical() {
        let sorted = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "Z.a.example.",
            "zABC.a.EXAMPLE.",
            "z.example.",
            r"\001.z.example.",
            "*.z.example.",
            r"\200.z.example.",
        ]
        .map(name);
        let mut shuffled = sorted.clone();
        shuffled.reverse();
        shuffled.sort();
        assert_eq!(shuffled, sorted);
        assert!(Name::root() < sorted[0]);
    }

    #[test]
    fn relations() {
        assert!(name("a.example").is_within(&name("EXAMPLE")));
        assert!(name("a.example").is_within(&Name::root()));
        assert!(!name("example").is_below(&name("example")));
        // The octets match, the labels do not.
        assert!(!name("aexample").is_within(&name("example")));
        assert!(!name(r"x\007example").is_within(&name("example")));
        assert_eq!(name("a.b.c").suffix(2), name("b.c"));
        assert_eq!(name("a.b.c").common_ancestor(&name("x.B.c")), name("b.c"));
        assert_eq!(
            name("a.old.net").replace_suffix(&name("old.net"), &name("new.org")),
            Ok(Some(name("a.new.org")))
        );
    }

    // RFC 1035 section 4.1.4 sets no limit to pointers that lead to pointers.
    #[test]
    fn chains_of_pointers_are_short() {
        let check = |pointers: usize, expected: Result<(), WireError>| {
            let mut msg = b"\x01a\x00".to_vec();
            let mut target = 0;
            for _ in 0..pointers {
                let at = msg.len();
                msg.extend((0xC000 | target as u16).to_be_bytes());
                target = at;
            }
            let end = msg.len();
            let parsed = Name::parse(&msg, target);
            assert_eq!(parsed, expected.map(|()| (name("a"), end)), "{pointers}");
        };
        check(1, Ok(()));
        check(POINTERS_MAX, Ok(()));
        check(POINTERS_MAX + 1, Err(WireError::BadName));
        check(8000, Err(WireError::BadName));
    }

    #[test]
    fn compressed_names_end() {
        let msg = b"\x01a\x00\x01b\xC0\x00\xC0\x03\xC0\x09\xC0\x0B";
        assert_eq!(Name::parse(msg, 3), Ok((name("b.a"), 7)));
        assert_eq!(Name::parse(msg, 7), Ok((name("b.a"), 9)));
        // A pointer to itself and one forward.
        assert_eq!(Name::parse(msg, 9), Err(WireError::BadName));
        assert_eq!(Name::parse(b"\xC0\x02\x00", 0), Err(WireError::BadName));
        assert_eq!(Name::parse(b"\x05ab", 0), Err(WireError::Truncated));
        assert_eq!(Name::parse(b"\x40a", 0), Err(WireError::BadName));
        // Two names that lead into each other.
        assert_eq!(
            Name::parse(b"\x01a\xC0\x04\x01b\xC0\x00", 4),
            Err(WireError::BadName)
        );
    }
}
