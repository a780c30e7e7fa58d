//! SVCB and HTTPS records (RFC 9460) as text and as octets.
//!
//! ```text
//! PRIORITY TARGET [KEY[=VALUE]]...
//! ```
//!
//! On the wire: two octets of priority, the target's name, then for each parameter its key, the length of its value, and the value, in
//! order of the keys. A key is known by its name or written `keyNNNNN`; the value of the latter is what stands on the wire.
//! Values with lists have an escaping of their own inside that of strings (appendix A.1).
//!
//! What appendix D.3 calls a failure is one here: a key twice, a value where none may be or none where one must be, a mandatory
//! key that is missing, listed twice or `mandatory` itself. Consistency beyond that (section 2.4.3) is the zone owner's affair.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::entry::{absolute, is_quoted, words};
use super::present;
use super::quick::push_base64;
use crate::dns::Name;

/// The longest data of a record, in octets.
const DATA_LEN_MAX: usize = u16::MAX as usize;
/// Reserved as invalid (RFC 9460 section 14.3.2).
const INVALID_KEY: u16 = 65_535;

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const NO_DEFAULT_ALPN: u16 = 2;
const PORT: u16 = 3;
const IPV4HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6HINT: u16 = 6;
const DOHPATH: u16 = 7;
const OHTTP: u16 = 8;

/// Names of keys: RFC 9460 section 14.3.2, RFC 9848, RFC 9461, RFC 9540.
const KEYS: [(u16, &str); 9] = [
    (MANDATORY, "mandatory"),
    (ALPN, "alpn"),
    (NO_DEFAULT_ALPN, "no-default-alpn"),
    (PORT, "port"),
    (IPV4HINT, "ipv4hint"),
    (ECH, "ech"),
    (IPV6HINT, "ipv6hint"),
    (DOHPATH, "dohpath"),
    (OHTTP, "ohttp"),
];

/// What is wrong, and at which offset.
pub type Fault = (usize, &'static str);

/// The data of the record whose data words stand in `entry` there; `end` is where one that is missing would stand.
/// Relative names are completed with `origin`, a name in wire form.
///
/// # Errors
/// The place at fault, and what is wrong.
pub fn read(
    entry: &[u8],
    data: Vec<Range<usize>>,
    end: usize,
    origin: Option<&[u8]>,
) -> Result<Vec<u8>, Fault> {
    let mut data = joined(data).into_iter();
    let priority = data.next().ok_or((end, "a priority is expected here"))?;
    let number = decimal(&entry[priority.clone()]);
    let number = number.ok_or((
        priority.start,
        "a priority from 0 to 65535 is expected here",
    ))?;
    let target = data.next().ok_or((end, "a target name is expected here"))?;
    let name = absolute(&entry[target.clone()], origin);
    let name = name.map_err(|what| (target.start, what))?;
    let mut out = [&number.to_be_bytes()[..], &name].concat();
    let mut params = Vec::new();
    for word in data {
        let param = param(&entry[word.clone()]).map_err(|what| (word.start, what))?;
        params.push((param, word.start));
    }
    params.sort_by_key(|((key, _), _)| *key);
    if let Some(twice) = params.windows(2).find(|two| two[0].0.0 == two[1].0.0) {
        return Err((twice[1].1, "the same key a second time"));
    }
    for ((key, value), at) in &params {
        let len =
            u16::try_from(value.len()).map_err(|_| (*at, "a value of more than 65535 octets"))?;
        out.extend(key.to_be_bytes());
        out.extend(len.to_be_bytes());
        out.extend(value);
        if *key == MANDATORY {
            let has = |wanted| {
                params
                    .binary_search_by_key(&wanted, |((key, _), _)| *key)
                    .is_ok()
            };
            let mut keys = value
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            if !keys.all(has) {
                return Err((*at, "a mandatory key is missing"));
            }
        }
    }
    match out.len() > DATA_LEN_MAX {
        true => Err((end, "more than 65535 octets of data")),
        false => Ok(out),
    }
}

/// The words with a quoted value beside its key again.
fn joined(data: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::with_capacity(data.len());
    for word in data {
        match out.last_mut() {
            Some(last) if last.end == word.start => last.end = word.end,
            _ => out.push(word),
        }
    }
    out
}

/// `KEY` or `KEY=VALUE`: the key, and the value as on the wire.
fn param(word: &[u8]) -> Result<(u16, Vec<u8>), &'static str> {
    let equals = word.iter().position(|b| *b == b'=');
    let (name, written) = match equals {
        Some(at) => (&word[..at], &word[at + 1..]),
        None => (word, &[][..]),
    };
    let (key, is_named) = key(name)?;
    let written = match is_quoted(written) {
        Some(inner) => inner,
        None if written.contains(&b'"') => return Err("a quote inside a value"),
        None => written,
    };
    let value = match is_named {
        true => value(key, written)?,
        false => string(written)?,
    };
    check(key, &value)?;
    Ok((key, value))
}

/// The number of a key, and whether it was written by its name.
fn key(name: &[u8]) -> Result<(u16, bool), &'static str> {
    if let Some((key, _)) = KEYS.iter().find(|(_, known)| name == known.as_bytes()) {
        return Ok((*key, true));
    }
    let number = name.strip_prefix(b"key");
    // Section 2.1: no leading zeros.
    let plain = number.filter(|n| n.len() == 1 || !n.starts_with(b"0"));
    match plain.and_then(decimal) {
        Some(INVALID_KEY) => Err("key65535 is no key"),
        Some(key) => Ok((key, false)),
        None => Err("unknown key; known are those of RFC 9460 and keyNNNNN"),
    }
}

/// The value of a key that was written by its name.
fn value(key: u16, written: &[u8]) -> Result<Vec<u8>, &'static str> {
    if matches!(key, MANDATORY | PORT | IPV4HINT | ECH | IPV6HINT) && written.contains(&b'\\') {
        return Err("no escapes in the value of this key");
    }
    let each = |one: &dyn Fn(&[u8]) -> Option<Vec<u8>>, what| {
        let parts = written.split(|b| *b == b',').map(one);
        parts.collect::<Option<Vec<_>>>().ok_or(what)
    };
    match key {
        _ if written.is_empty() => Ok(Vec::new()),
        MANDATORY => {
            let number = |name: &[u8]| Some(self::key(name).ok()?.0.to_be_bytes().to_vec());
            let mut keys = each(&number, "a list of keys is expected here")?;
            keys.sort();
            Ok(keys.concat())
        }
        ALPN => list(&string(written)?),
        PORT => {
            let port = decimal(written).ok_or("a port from 0 to 65535 is expected here")?;
            Ok(port.to_be_bytes().to_vec())
        }
        IPV4HINT => {
            let address = |text: &[u8]| {
                let address: Ipv4Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
                Some(address.octets().to_vec())
            };
            Ok(each(&address, "a list of IPv4 addresses is expected here")?.concat())
        }
        IPV6HINT => {
            let address = |text: &[u8]| {
                let address: Ipv6Addr = std::str::from_utf8(text).ok()?.parse().ok()?;
                Some(address.octets().to_vec())
            };
            Ok(each(&address, "a list of IPv6 addresses is expected here")?.concat())
        }
        ECH => {
            let mut octets = Vec::with_capacity(written.len());
            push_base64(&mut octets, written).ok_or("base64 is expected here")?;
            Ok(octets)
        }
        _ => string(written),
    }
}

/// A string without its quotes: `\X` and `\DDD` become the octets that they are.
fn string(written: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(written.len());
    let mut rest = written;
    while let Some((&b, after)) = rest.split_first() {
        rest = after;
        if b != b'\\' {
            out.push(b);
            continue;
        }
        match rest {
            [a, b, c, after @ ..] if [a, b, c].iter().all(|d| d.is_ascii_digit()) => {
                let number = [a, b, c]
                    .iter()
                    .fold(0u16, |n, d| n * 10 + u16::from(**d - b'0'));
                out.push(u8::try_from(number).map_err(|_| "an escape above \\255")?);
                rest = after;
            }
            [other, after @ ..] if !other.is_ascii_digit() => {
                out.push(*other);
                rest = after;
            }
            _ => return Err("an escape that is none"),
        }
    }
    Ok(out)
}

/// A list with escaped commas and backslashes (appendix A.1) as texts with their lengths.
fn list(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut items = vec![Vec::new()];
    let mut octets = text.iter();
    while let Some(&b) = octets.next() {
        let item = items.last_mut().ok_or("an empty list")?;
        match b {
            b',' => items.push(Vec::new()),
            b'\\' => match octets.next() {
                Some(&escaped @ (b',' | b'\\')) => item.push(escaped),
                _ => return Err("in a list only commas and backslashes are escaped"),
            },
            b => item.push(b),
        }
    }
    let mut out = Vec::with_capacity(text.len() + 1);
    for item in items {
        let len = u8::try_from(item.len()).map_err(|_| "more than 255 octets in a list")?;
        if len == 0 {
            return Err("nothing between the commas of a list");
        }
        out.push(len);
        out.extend(item);
    }
    Ok(out)
}

/// Whether a value has the form of its key.
fn check(key: u16, value: &[u8]) -> Result<(), &'static str> {
    let needs = |is: bool, what| if is { Ok(()) } else { Err(what) };
    match key {
        MANDATORY => {
            needs(
                !value.is_empty() && value.len().is_multiple_of(2),
                "`mandatory` needs a list of keys",
            )?;
            let keys: Vec<&[u8]> = value.chunks_exact(2).collect();
            needs(
                keys.is_sorted_by(|a, b| a < b),
                "a key is listed as mandatory twice, or out of order",
            )?;
            needs(keys[0] != [0, 0], "`mandatory` cannot be mandatory")
        }
        ALPN => needs(
            texts(value).is_some_and(|all| !all.is_empty()),
            "`alpn` needs a list of protocols",
        ),
        NO_DEFAULT_ALPN | OHTTP => needs(value.is_empty(), "this key has no value"),
        PORT => needs(value.len() == 2, "`port` needs a number"),
        IPV4HINT => needs(
            !value.is_empty() && value.len().is_multiple_of(4),
            "`ipv4hint` needs a list of addresses",
        ),
        ECH => needs(!value.is_empty(), "`ech` needs a value"),
        IPV6HINT => needs(
            !value.is_empty() && value.len().is_multiple_of(16),
            "`ipv6hint` needs a list of addresses",
        ),
        // RFC 9461 section 5.
        DOHPATH => needs(
            !value.is_empty() && std::str::from_utf8(value).is_ok(),
            "`dohpath` needs a path in UTF-8",
        ),
        _ => Ok(()),
    }
}

/// Texts with their lengths, none of them empty.
fn texts(value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = value;
    let mut out = Vec::new();
    while let Some((&len, after)) = rest.split_first() {
        let (text, tail) = after.split_at_checked(usize::from(len))?;
        if text.is_empty() {
            return None;
        }
        out.push(text);
        rest = tail;
    }
    Some(out)
}

fn decimal(text: &[u8]) -> Option<u16> {
    let plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// The text of these octets; `None` where none would bring them back.
pub fn text(data: &[u8]) -> Option<String> {
    let (priority, rest) = data.split_first_chunk::<2>()?;
    let (target, len) = Name::from_wire_prefix(rest).ok()?;
    let mut out = format!("{} {target}", u16::from_be_bytes(*priority));
    let mut rest = rest.get(len..)?;
    while !rest.is_empty() {
        let (&[a, b, c, d], after) = rest.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([c, d]));
        let (value, tail) = after.split_at_checked(len)?;
        rest = tail;
        out.push(' ');
        param_text(&mut out, u16::from_be_bytes([a, b]), value)?;
    }
    let again = read(
        out.as_bytes(),
        words(out.as_bytes()).collect(),
        out.len(),
        None,
    );
    (again.ok()? == data).then_some(out)
}

fn param_text(out: &mut String, key: u16, value: &[u8]) -> Option<()> {
    push_key(out, key);
    if value.is_empty() {
        return Some(());
    }
    out.push('=');
    match key {
        MANDATORY => {
            for (i, pair) in value.chunks_exact(2).enumerate() {
                if i > 0 {
                    out.push(',');
                }
                push_key(out, u16::from_be_bytes([pair[0], pair[1]]));
            }
        }
        ALPN => {
            let mut list = Vec::new();
            for (i, item) in texts(value)?.into_iter().enumerate() {
                if i > 0 {
                    list.push(b',');
                }
                for &b in item {
                    if matches!(b, b',' | b'\\') {
                        list.push(b'\\');
                    }
                    list.push(b);
                }
            }
            present::quoted(out, &list)?;
        }
        PORT => {
            let port = u16::from_be_bytes(value.try_into().ok()?);
            write!(out, "{port}").ok()?;
        }
        IPV4HINT => addresses(out, value.chunks_exact(4), |octets| {
            Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).to_string())
        })?,
        IPV6HINT => addresses(out, value.chunks_exact(16), |octets| {
            Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_string())
        })?,
        ECH => present::base64(out, value),
        _ => present::quoted(out, value)?,
    }
    Some(())
}

fn addresses<'v>(
    out: &mut String,
    parts: impl Iterator<Item = &'v [u8]>,
    shown: impl Fn(&[u8]) -> Option<String>,
) -> Option<()> {
    let parts: Option<Vec<String>> = parts.map(shown).collect();
    out.push_str(&parts?.join(","));
    Some(())
}

fn push_key(out: &mut String, key: u16) {
    match KEYS.iter().find(|(number, _)| *number == key) {
        // BIND 9.18 and NSD 4.6 do not read its name yet; a number everybody reads.
        Some((_, name)) if key != OHTTP => out.push_str(name),
        _ => {
            let _ = write!(out, "key{key}");
        }
    }
}

#[cfg(test)]
mod tests;
