//! Sort keys: names turned round so that plain octet order is DNSSEC's canonical order.
//!
//! Canonical order compares labels from the right (RFC 4034 section 6.1). Comparing wire names that
//! way costs a walk over the label lengths each time, and neighbours share their *last* octets, which
//! no prefix coding can use. A key is the name below the apex with its labels from right to left, in
//! lower case, each ended by a zero octet; the octets 0 and 1 inside a label are written as `1 1` and
//! `1 2`. So keys compare like byte strings, neighbours share a prefix, every ancestor of a name is a
//! prefix of its key that ends in a zero octet, and the apex is the empty key.

use crate::dns::name::{LABEL_LEN_MAX, LABELS_MAX, NAME_LEN_MAX};
use crate::dns::{Name, folded};

/// The longest key, in octets: every octet of a name escaped.
pub const KEY_LEN_MAX: usize = 2 * NAME_LEN_MAX;

const END: u8 = 0;
const ESCAPE: u8 = 1;

/// The key of `name` in the zone at `apex`; `None` when the name is not within the zone.
pub fn key_of(name: &Name, apex: &Name) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(name.wire().len() + 2);
    push_key(&mut key, name.wire(), apex.wire()).then_some(key)
}

/// Appends the key of a name, both in wire form; false when the name is not within the zone.
pub fn push_key(key: &mut Vec<u8>, name: &[u8], apex: &[u8]) -> bool {
    let Some(cut) = name.len().checked_sub(apex.len()) else {
        return false;
    };
    let (below, above) = name.split_at(cut);
    let mut starts = [0u8; LABELS_MAX + 1];
    let (mut at, mut count) = (0, 0);
    while at < cut {
        starts[count] = at as u8;
        count += 1;
        at += below[at] as usize + 1;
    }
    // The suffix must begin at a label, not inside one.
    if at != cut || !above.eq_ignore_ascii_case(apex) {
        return false;
    }
    for &start in starts[..count].iter().rev() {
        let start = start as usize;
        push_label(key, &below[start + 1..=start + below[start] as usize]);
    }
    true
}

/// Appends one label to a key.
pub fn push_label(key: &mut Vec<u8>, label: &[u8]) {
    let begin = key.len();
    let mut is_escaped = false;
    for (word, len) in folded::words(label) {
        is_escaped |= folded::has_below_2(word, len);
        let octets = word.to_le_bytes();
        key.extend_from_slice(&octets);
        key.truncate(key.len() + len - octets.len());
    }
    if is_escaped {
        key.truncate(begin);
        let label = label.iter().map(u8::to_ascii_lowercase);
        key.extend(label.flat_map(escaped));
    }
    key.push(END);
}

fn escaped(octet: u8) -> impl Iterator<Item = u8> {
    match octet {
        END | ESCAPE => Some(ESCAPE).into_iter().chain([octet + 1]),
        _ => None.into_iter().chain([octet]),
    }
}

/// Room for a name in wire form.
pub struct NameBuf([u8; NAME_LEN_MAX]);

impl Default for NameBuf {
    fn default() -> NameBuf {
        NameBuf([0; NAME_LEN_MAX])
    }
}

/// The name that a key stands for; `None` when the key is damaged.
pub fn name_of(key: &[u8], apex: &Name) -> Option<Name> {
    if key.is_empty() {
        return Some(apex.clone());
    }
    Name::from_wire(wire_of(key, apex, &mut NameBuf::default())?).ok()
}

/// The same in wire form. A key that is in an image makes a valid name.
pub fn wire_of<'a>(key: &[u8], apex: &Name, room: &'a mut NameBuf) -> Option<&'a [u8]> {
    // Filled from the end: the first label of the key is the last of the name.
    let wire = &mut room.0;
    let mut at = NAME_LEN_MAX.checked_sub(apex.wire().len())?;
    wire[at..].copy_from_slice(apex.wire());
    if key.is_empty() {
        return Some(&room.0[at..]);
    }
    for label in key.strip_suffix(&[END])?.split(|&b| b == END) {
        let end = at;
        let mut octets = label.iter().rev().copied().peekable();
        while let Some(octet) = octets.next() {
            // Read backwards, an escape shows after the octet that it escapes.
            let plain = match octets.next_if_eq(&ESCAPE) {
                Some(_) => octet.checked_sub(1).filter(|&o| o <= ESCAPE)?,
                None if octet == ESCAPE => return None,
                None => octet,
            };
            at = at.checked_sub(1)?;
            wire[at] = plain;
        }
        let len = end - at;
        if !(1..=LABEL_LEN_MAX).contains(&len) {
            return None;
        }
        at = at.checked_sub(1)?;
        wire[at] = len as u8;
    }
    Some(&room.0[at..])
}

/// The keys of the names from the apex down to `key`'s own, shortest first.
pub fn path(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = (key.iter().enumerate()).filter_map(|(i, &b)| (b == END).then_some(i + 1));
    std::iter::once(0).chain(ends).map(|end| &key[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(s: &str) -> Name {
        s.parse().unwrap()
    }

    #[test]
    fn keys_sort_canonically_and_read_back() {
        let apex = name("example.");
        let sorted = [
            "example.",
            "a.example.",
            r"\000.a.example.",
            "yljkjljk.a.example.",
            "z.a.example.",
            "zabc.a.example.",
            r"a\000.example.",
            r"a\000\001.example.",
            r"a\001.example.",
            r"a\002.example.",
            "z.example.",
            r"\001.z.example.",
            "*.z.example.",
            r"\200.z.example.",
        ]
        .map(name);
        let keys: Vec<_> = sorted.iter().map(|n| key_of(n, &apex).unwrap()).collect();
        assert!(keys.is_sorted() && sorted.is_sorted());
        for (name, key) in sorted.iter().zip(&keys) {
            assert_eq!(name_of(key, &apex).as_ref(), Some(name));
        }
        assert_eq!(key_of(&name("example.org."), &apex), None);
        assert_eq!(key_of(&name("Z.A.example."), &apex), Some(keys[4].clone()));
    }

    #[test]
    fn damaged_keys_are_no_names() {
        let apex = name("example.");
        let long = [b'a'; 64];
        for key in [
            &b"a"[..],
            b"\0",
            b"a\0\0",
            b"\x01\0",
            b"\x01\x03\0",
            b"a\x01\0",
        ] {
            assert_eq!(name_of(key, &apex), None, "{key:?}");
        }
        assert_eq!(name_of(&[&long[..], b"\0"].concat(), &apex), None);
        assert_eq!(name_of(&b"a\0".repeat(124), &apex), None);
        assert!(name_of(&b"a\0".repeat(123), &apex).is_some());
    }

    #[test]
    fn path_lists_the_ancestors() {
        let key = key_of(&name("a.bc.example."), &name("example.")).unwrap();
        let all: Vec<_> = path(&key).collect();
        assert_eq!(all, [&b""[..], b"bc\0", b"bc\0a\0"]);
    }
}
