//! Values of an unbound.conf: sizes, addresses with ports, names, paths.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::dns::Name;

/// `4m`, `100k`, `1g`, or octets.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (text.get(..text.len() - 1)?, 1 << 10),
        b'm' | b'M' => (text.get(..text.len() - 1)?, 1 << 20),
        b'g' | b'G' => (text.get(..text.len() - 1)?, 1 << 30),
        _ => (text, 1),
    };
    number_of(number)?.checked_mul(unit)
}

/// Plain digits.
pub(super) fn number_of(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Octets as the configuration writes them, in the largest unit that is exact.
pub(super) fn bytes(octets: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fits = units
        .iter()
        .find(|(unit, _)| octets.is_multiple_of(*unit) && octets > 0);
    match fits {
        Some((unit, name)) => format!("\"{}{name}\"", octets / unit),
        None => format!("\"{octets}B\""),
    }
}

/// `ADDRESS`, `ADDRESS@PORT`, or with `#NAME` behind; the name is for TLS.
pub(super) fn address(text: &str, port: u16) -> Option<(SocketAddr, Option<&str>)> {
    let (text, name) = match text.split_once('#') {
        Some((text, name)) => (text, Some(name)),
        None => (text, None),
    };
    let (ip, port) = match text.split_once('@') {
        Some((ip, port)) => (ip, u16::try_from(number_of(port)?).ok()?),
        None => (text, port),
    };
    let ip: IpAddr = ip.parse().ok()?;
    (port != 0).then(|| (SocketAddr::new(ip, port), name))
}

/// An address as lists of servers have it, whose port is `usual` where none is written.
pub(super) fn with_port(address: SocketAddr, usual: u16) -> String {
    match address.port() == usual {
        true => address.ip().to_string(),
        false => address.to_string(),
    }
}

/// A domain name.
pub(super) fn name(text: &str) -> Option<Name> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    plain.then(|| text.parse().ok()).flatten()
}

/// A path as Unbound sees it, relative to its directory; as this program sees it whatever the configuration's own directory is.
pub(super) fn path(text: &str, directory: &Path) -> PathBuf {
    let joined = directory.join(text);
    std::path::absolute(&joined).unwrap_or(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text: &str, expected| assert_eq!(size(text), expected, "{text}");
        check("4m", Some(4 << 20));
        check("100K", Some(100 << 10));
        check("1g", Some(1 << 30));
        check("5", Some(5));
        check("", None);
        check("m", None);
        check("-1", None);
        check("99999999999999999999g", None);
        check("é", None);
        assert_eq!(bytes(256 << 20), "\"256MiB\"");
        assert_eq!(bytes(1500), "\"1500B\"");
    }

    #[test]
    fn addresses() {
        let check = |text: &str, expected: Option<(&str, Option<&str>)>| {
            let expected = expected.map(|(addr, name)| (addr.parse().unwrap(), name));
            assert_eq!(address(text, 53), expected, "{text}");
        };
        check("192.0.2.1", Some(("192.0.2.1:53", None)));
        check(
            "2001:db8::1@853#dns.example",
            Some(("[2001:db8::1]:853", Some("dns.example"))),
        );
        check("192.0.2.1@0", None);
        check("192.0.2.1@65536", None);
        check("eth0", None);
        check("", None);
    }
}
