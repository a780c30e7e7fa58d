//! Single values of the configuration: addresses, prefixes, names, sizes, times, shares, sources.
//!
//! Each parser takes an [`Item`] and either returns the final type or reports what is allowed and returns `None`.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use toml::de::DeValue;

use super::reader::{Item, Table};
use super::tls::load_identity;
use super::url::HttpsUrl;
use super::{AxfrTls, ClientFiles, NegativeTrustAnchor, NotifyTarget, Percent, Source};
use crate::dns::Name;
use crate::prefix_set::parse_prefix;

/// The port of DNS over UDP and TCP.
const DNS_PORT: u16 = 53;

/// As much of a file of certificates is looked at, in bytes.
const CA_BYTES_MAX: u64 = 16 << 20;

/// The port of DNS over TLS, and of transfers over it (RFC 9103).
const DOT_PORT: u16 = 853;

/// An address with a port, as `127.0.0.1:53` or `[::1]:53`.
pub(super) fn listen_address(item: &Item<'_, '_>) -> Option<SocketAddr> {
    let allowed = "ADDRESS:PORT such as \"127.0.0.1:5300\" or \"[::1]:5300\"";
    let parsed = item.text(allowed)?.parse().ok();
    let usable = parsed.filter(|address: &SocketAddr| address.port() != 0);
    usable.or_else(|| item.refuse(allowed))
}

/// An address whose port is 53 when it is left out.
pub(super) fn server_address(item: &Item<'_, '_>) -> Option<SocketAddr> {
    let allowed = "an address such as \"192.0.2.1\", \"192.0.2.1:53\" or \"[2001:db8::1]:53\"";
    address_with_default_port(item.text(allowed)?, DNS_PORT).or_else(|| item.refuse(allowed))
}

/// As [`server_address`], of a server that speaks TLS.
pub(super) fn tls_server_address(item: &Item<'_, '_>) -> Option<SocketAddr> {
    let allowed = "an address such as \"192.0.2.1\", \"192.0.2.1:853\" or \"[2001:db8::1]:853\"";
    address_with_default_port(item.text(allowed)?, DOT_PORT).or_else(|| item.refuse(allowed))
}

/// `"192.0.2.2"`, `"192.0.2.2:5353"`, or `{ address = "192.0.2.2", tsig = "hub-key." }`.
pub(super) fn notify_target(item: &Item<'_, '_>) -> Option<NotifyTarget> {
    let Some(mut table) = item.as_table() else {
        let addr = server_address(item)?;
        return Some(NotifyTarget { addr, tsig: None });
    };
    let addr = table.need("address", "the address of the secondary", server_address);
    let tsig = table.item("tsig").map(|item| name(&item));
    table.finish();
    Some(NotifyTarget {
        addr: addr?,
        tsig: match tsig {
            // A wrong key must not become none.
            Some(key) => Some(key?),
            None => None,
        },
    })
}

/// An address without a port.
pub(super) fn ip_address(item: &Item<'_, '_>) -> Option<IpAddr> {
    let allowed = "an address such as \"192.0.2.1\" or \"2001:db8::1\"";
    item.text(allowed)?
        .parse()
        .ok()
        .or_else(|| item.refuse(allowed))
}

/// A prefix, or one address. Bits beyond the prefix are a fault: they are nearly always a slip.
pub(super) fn prefix(item: &Item<'_, '_>) -> Option<IpNet> {
    prefix_or(item, "or one address")
}

pub(super) fn prefix_or(item: &Item<'_, '_>, else_allowed: &str) -> Option<IpNet> {
    let allowed =
        &format!("a prefix such as \"192.0.2.0/24\" or \"2001:db8::/32\", {else_allowed}");
    let text = item.text(allowed)?;
    let Some(net) = parse_prefix(text) else {
        return item.refuse(allowed);
    };
    if net.trunc() != net {
        return item.refuse(&format!("\"{}\": no bits beyond the prefix", net.trunc()));
    }
    Some(net)
}

/// Whether a text is this name, as [`name`] reads it.
pub(super) fn is_name(text: &str, name: &Name) -> bool {
    parse_name(text).is_some_and(|read| read == *name)
}

/// A domain name; it is absolute with or without its last dot.
pub(super) fn name(item: &Item<'_, '_>) -> Option<Name> {
    let allowed = "a domain name such as \"example.\" (labels up to 63 bytes, 255 in all)";
    parse_name(item.text(allowed)?).or_else(|| item.refuse(allowed))
}

/// A size with its unit.
pub(super) fn bytes(item: &Item<'_, '_>, least: u64) -> Option<u64> {
    let allowed = format!(
        "a size such as \"256MiB\" (whole number and B, KiB, MiB, GiB or TiB), at least {least} bytes"
    );
    let parsed = parse_bytes(item.text(&allowed)?);
    parsed
        .filter(|bytes| *bytes >= least)
        .or_else(|| item.refuse(&allowed))
}

/// A time with its unit, in seconds.
pub(super) fn seconds(item: &Item<'_, '_>, also: &str) -> Option<u64> {
    let allowed =
        format!("a time such as \"90d\" (whole number above 0 and s, m, h, d or w){also}");
    parse_seconds(item.text(&allowed)?).or_else(|| item.refuse(&allowed))
}

/// A share such as `5%`.
pub(super) fn percent(item: &Item<'_, '_>) -> Option<Percent> {
    let allowed = "a share from \"0%\" to \"100%\", whole numbers only";
    let digits = item.text(allowed)?.strip_suffix('%');
    let share = digits
        .and_then(parse_digits)
        .and_then(|number| u8::try_from(number).ok());
    share
        .and_then(Percent::new)
        .or_else(|| item.refuse(allowed))
}

/// A path, seen from the directory of the configuration file.
pub(super) fn path(item: &Item<'_, '_>) -> Option<PathBuf> {
    let allowed = "the path of a file or directory";
    let text = item.text(allowed)?;
    if text.is_empty() || text.contains('\0') {
        return item.refuse(allowed);
    }
    Some(item.doc().resolve(text))
}

/// One element of `mirror.sources`: a string, or the table form that says more.
pub(super) fn source(item: &Item<'_, '_>) -> Option<Source> {
    const ALLOWED: &str = "\"axfr:ADDRESS\", \"axfr:ADDRESS:PORT\", \"axfr:[ADDRESS]:PORT\", \
        \"https://HOST/PATH\", \"file:PATH\", or the table { axfr = \"ADDRESS:PORT\" } or { https = \"https://HOST/PATH\" }";
    if item.as_table().is_some() {
        return source_table(item);
    }
    let text = item.text(ALLOWED)?;
    if let Some(address) = text.strip_prefix("axfr:") {
        return match address_with_default_port(address, DNS_PORT) {
            Some(addr) => Some(Source::Axfr {
                addr,
                tsig: None,
                tls: None,
            }),
            None => item.refuse(ALLOWED),
        };
    }
    match text.strip_prefix("file:") {
        Some(path) if !path.is_empty() && !path.contains('\0') => {
            return Some(Source::File(item.doc().resolve(path)));
        }
        _ => {}
    }
    if text.starts_with("http") {
        return https(item, None);
    }
    item.refuse(ALLOWED)
}

/// `"example."`, or `{ name = "example.", until = "2026-08-01T12:00:00Z" }`.
pub(super) fn negative_trust_anchor(item: &Item<'_, '_>) -> Option<NegativeTrustAnchor> {
    let Some(mut table) = item.as_table() else {
        return below_root(item).map(NegativeTrustAnchor::lasting);
    };
    let anchor = table.need("name", "the name that is not to be validated", below_root);
    let until_s = table.item("until").map(|item| moment(&item));
    table.finish();
    Some(NegativeTrustAnchor {
        name: anchor?,
        until_s: match until_s {
            // A wrong end must not become none.
            Some(moment) => Some(moment?),
            None => None,
        },
    })
}

/// RFC 7646 is for single zones that are broken; one at the root would be a silent `dnssec = "off"`.
fn below_root(item: &Item<'_, '_>) -> Option<Name> {
    let name = name(item)?;
    match name.is_root() {
        true => item.refuse("a name below the root; dnssec = \"off\" switches all validation off"),
        false => Some(name),
    }
}

/// A moment as seconds since 1970: RFC 3339 with its offset, as text or as a date of TOML's own.
fn moment(item: &Item<'_, '_>) -> Option<u64> {
    let text = match item.value() {
        DeValue::Datetime(written) => written.to_string(),
        other => other.as_str().unwrap_or_default().to_owned(),
    };
    parse_moment(&text).or_else(|| item.refuse("a moment such as \"2026-08-01T12:00:00Z\""))
}

fn parse_moment(text: &str) -> Option<u64> {
    let rfc3339 = &time::format_description::well_known::Rfc3339;
    let moment = time::OffsetDateTime::parse(text, rfc3339).ok()?;
    u64::try_from(moment.unix_timestamp()).ok()
}

/// `{ axfr = ..., tsig = ..., tls = ..., tls_name = ..., ca = ..., cert = ..., key = ... }` or `{ https = ..., ca = ... }`.
fn source_table(item: &Item<'_, '_>) -> Option<Source> {
    let mut table = item.as_table()?;
    let url = table.item("https");
    let ca = table.item("ca").map(|item| certificates(&item));
    let address = table.item("axfr");
    let tsig = table.item("tsig").and_then(|item| name(&item));
    let tls = table.read("tls", false, Item::flag);
    let tls_name = table.item("tls_name").map(|item| host(&item));
    if tls_name.is_some() && !tls {
        table.fault_at(&["tls_name"], "tls_name is of no use without tls = true");
    }
    if ca.is_some() && url.is_none() && !tls {
        table.fault_at(&["ca"], "ca is of no use without https or tls = true");
    }
    let client = client_files(&mut table, tls);
    // What is written and wrong must not become "not written": it would weaken the check.
    let (ca, tls_name, client) = match (ca, tls_name, client) {
        (Some(None), _, _) | (_, Some(None), _) | (_, _, Err(())) => {
            table.finish();
            return None;
        }
        (ca, name, Ok(client)) => (ca.flatten(), name.flatten(), client),
    };
    let source = match (&address, &url) {
        (Some(address), None) => {
            let port = if tls { DOT_PORT } else { DNS_PORT };
            let allowed = "an address such as \"192.0.2.1:53\" or \"[2001:db8::1]:53\"";
            let addr = address_with_default_port(address.text(allowed)?, port)
                .or_else(|| address.refuse(allowed));
            let tls = tls.then_some(AxfrTls {
                name: tls_name,
                ca,
                client,
            });
            addr.map(|addr| Source::Axfr { addr, tsig, tls })
        }
        (None, Some(url)) => https(url, ca),
        (None, None) if table.has("https") => None,
        _ => {
            table.fault("allowed is exactly one of `axfr` and `https` in the table of a source");
            None
        }
    };
    table.finish();
    source
}

/// The certificate that a source is shown, with its key; an error if they are written and cannot be used.
fn client_files(table: &mut Table<'_, '_>, tls: bool) -> Result<Option<ClientFiles>, ()> {
    let cert = table.item("cert").map(|item| path(&item));
    let key = table.item("key").map(|item| path(&item));
    let (cert, key) = match (cert, key) {
        (None, None) => return Ok(None),
        (Some(cert), Some(key)) if tls => (cert.ok_or(())?, key.ok_or(())?),
        (Some(_), Some(_)) => {
            table.fault_at(&["cert"], "cert and key are of no use without tls = true");
            return Err(());
        }
        (Some(_), None) => {
            table.fault_at(&["cert"], "cert needs `key`, the file of its private key");
            return Err(());
        }
        (None, Some(_)) => {
            table.fault_at(&["key"], "key needs `cert`, the file of its certificate");
            return Err(());
        }
    };
    load_identity(table, &cert, &key).ok_or(())?;
    Ok(Some(ClientFiles { cert, key }))
}

/// A source on a web server.
fn https(item: &Item<'_, '_>, ca: Option<PathBuf>) -> Option<Source> {
    let allowed =
        "\"https://HOST/PATH\", plain http is not: anybody on the way could change the zone";
    match HttpsUrl::parse(item.text(allowed)?) {
        Some(url) => Some(Source::Https { url, ca }),
        None => item.refuse(allowed),
    }
}

/// The name in a certificate: a host name or an address.
pub(super) fn host(item: &Item<'_, '_>) -> Option<String> {
    let allowed = "the host name in the server's certificate, such as \"hub.example\"";
    let text = item.text(allowed)?;
    // Whatever can stand in an https address can stand in a certificate.
    let in_url = match text.contains(':') {
        true => format!("https://[{text}]/"),
        false => format!("https://{text}/"),
    };
    match HttpsUrl::parse(&in_url) {
        Some(url) if url.path == "/" && url.port == 443 => Some(text.to_owned()),
        _ => item.refuse(allowed),
    }
}

/// A file of certificates in PEM form. Whoever misspells it learns it now, and not inside the outage.
pub(super) fn certificates(item: &Item<'_, '_>) -> Option<PathBuf> {
    let path = path(item)?;
    let allowed = "allowed is a file of certificates in PEM form";
    let mut text = Vec::new();
    let opened = std::fs::File::open(&path);
    let read = opened.and_then(|file| file.take(CA_BYTES_MAX).read_to_end(&mut text));
    match read.map(|_| text) {
        Ok(text) if is_pem(&text) => Some(path),
        Ok(_) => item.fault(format!(
            "{} holds no certificate; {allowed}",
            path.display()
        )),
        Err(error) => item.fault(format!(
            "{} cannot be read: {error}; {allowed}",
            path.display()
        )),
    }
}

fn is_pem(text: &[u8]) -> bool {
    const MARK: &[u8] = b"-----BEGIN CERTIFICATE-----";
    text.windows(MARK.len()).any(|window| window == MARK)
}

/// `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:53`.
fn address_with_default_port(text: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0).then_some(address);
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip = match bare {
        Some(inner) => IpAddr::V6(inner.parse().ok()?),
        None => text.parse().ok()?,
    };
    Some(SocketAddr::new(ip, port))
}

pub(super) fn parse_name(text: &str) -> Option<Name> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    plain.then(|| text.parse().ok()).flatten()
}

/// Plain digits: no sign, no spaces, no underscores.
fn parse_digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// A number followed by one of `units`.
fn parse_with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    parse_digits(number)?.checked_mul(factor)
}

fn parse_bytes(text: &str) -> Option<u64> {
    let units = [
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    parse_with_unit(text, &units)
}

fn parse_seconds(text: &str) -> Option<u64> {
    /// A hundred years: times are added to clocks, and no sum may run over.
    const SECONDS_MAX: u64 = 36_525 * 86_400;
    let units = [
        ("s", 1),
        ("m", 60),
        ("h", 3600),
        ("d", 86_400),
        ("w", 604_800),
    ];
    let seconds = parse_with_unit(text, &units)?;
    (1..=SECONDS_MAX).contains(&seconds).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |text: &str, expected| assert_eq!(parse_bytes(text), expected, "{text}");
        check("0B", Some(0));
        check("1KiB", Some(1024));
        check("256MiB", Some(268_435_456));
        check("4GiB", Some(4 << 30));
        check("1TiB", Some(1 << 40));
        check("16777216TiB", None);
        check("256", None);
        check("256MB", None);
        check("256 MiB", None);
        check("-1B", None);
        check("", None);
        check("MiB", None);
        check("1é", None);
    }

    #[test]
    fn moments() {
        let check = |text: &str, expected| assert_eq!(parse_moment(text), expected, "{text}");
        check("2026-08-01T12:00:00Z", Some(1_785_585_600));
        check("2026-08-01T14:00:00+02:00", Some(1_785_585_600));
        check("2026-08-01t12:00:00.9z", Some(1_785_585_600));
        check("1969-12-31T23:59:59Z", None);
        check("2026-08-01T12:00:00", None);
        check("2026-08-01", None);
        check("", None);
    }

    #[test]
    fn times() {
        let check = |text: &str, expected| assert_eq!(parse_seconds(text), expected, "{text}");
        check("90d", Some(7_776_000));
        check("1s", Some(1));
        check("5m", Some(300));
        check("2h", Some(7200));
        check("1w", Some(604_800));
        check("0s", None);
        check("36525d", Some(3_155_760_000));
        check("36526d", None);
        check("99999999999999999999d", None);
        check("3 d", None);
        check("d", None);
        check("3", None);
    }

    #[test]
    fn addresses() {
        let check = |text: &str, expected: Option<&str>| {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(address_with_default_port(text, 53), expected, "{text}");
        };
        check("192.0.2.1", Some("192.0.2.1:53"));
        check("192.0.2.1:5300", Some("192.0.2.1:5300"));
        check("[2001:db8::1]:5300", Some("[2001:db8::1]:5300"));
        check("[2001:db8::1]", Some("[2001:db8::1]:53"));
        check("2001:db8::1", Some("[2001:db8::1]:53"));
        check("[192.0.2.1]", None);
        check("192.0.2.1:0", None);
        check("192.0.2.1:65536", None);
        check("ns.example:53", None);
        check("", None);
    }

    #[test]
    fn prefixes() {
        let check = |text: &str, expected: Option<&str>| {
            let shown = parse_prefix(text).map(|net| net.to_string());
            assert_eq!(shown.as_deref(), expected, "{text}");
        };
        check("192.0.2.0/24", Some("192.0.2.0/24"));
        check("192.0.2.1", Some("192.0.2.1/32"));
        check("::1", Some("::1/128"));
        check("192.0.2.0/33", None);
        check("192.0.2/24", None);
    }
}
