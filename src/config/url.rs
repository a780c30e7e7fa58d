//! Addresses of files on web servers, as far as a source needs them: `https` alone; and of those that alerts are posted to ([`WebUrl`]).
//!
//! Plain `http` is refused for sources everywhere, in the configuration and in redirects: whoever is on the path could make the source
//! say anything, also that nothing is new. What is taken here is narrower than RFC 3986: a host name or an IP address, a
//! port, a path and a query in printable ASCII, no user, no fragment.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::dns::Name;

/// Longest address, in octets.
pub const URL_LEN_MAX: usize = 2048;
/// The port of HTTPS.
const HTTPS_PORT: u16 = 443;
const SCHEME: &str = "https://";
/// The port of plain HTTP, and its scheme.
const HTTP_PORT: u16 = 80;
const HTTP_SCHEME: &str = "http://";

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsUrl {
    /// The server.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// Path and query; begins with `/`.
    pub path: String,
}

/// Where alerts are posted to: `https`, or plain `http` for a server on this machine or next to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebUrl {
    /// Whether it is https.
    pub is_secure: bool,
    /// The rest of it.
    pub at: HttpsUrl,
}

impl WebUrl {
    /// Reads `https://...` or `http://...`; `None` if it is anything else.
    pub fn parse(text: &str) -> Option<WebUrl> {
        let secure = HttpsUrl::parse(text);
        let is_secure = secure.is_some();
        let at = secure.or_else(|| HttpsUrl::read(text, HTTP_SCHEME, HTTP_PORT))?;
        Some(WebUrl { is_secure, at })
    }
}

/// The server of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// By name, lower case.
    Name(Name),
    /// By address.
    Ip(IpAddr),
}

/// Why a redirect leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme than https.
    #[error("it leads away from https")]
    NotHttps,
    /// No address at all.
    #[error("it is no address")]
    Malformed,
}

impl HttpsUrl {
    /// Reads `https://HOST[:PORT][/PATH][?QUERY]`; `None` if it is anything else.
    pub fn parse(text: &str) -> Option<HttpsUrl> {
        HttpsUrl::read(text, SCHEME, HTTPS_PORT)
    }

    fn read(text: &str, scheme: &str, port: u16) -> Option<HttpsUrl> {
        if text.len() > URL_LEN_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let written = text.get(..scheme.len())?;
        let rest = &text[scheme.len()..];
        if !written.eq_ignore_ascii_case(scheme) || rest.contains(['#', '\\', '"', '<', '>']) {
            return None;
        }
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = authority_of(authority, port)?;
        let path = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("/{path}"),
        };
        Some(HttpsUrl { host, port, path })
    }

    /// Where `location`, the word of a server that was asked for `self`, leads (RFC 3986 section 5.2). Fragments mean
    /// nothing here and are left away.
    ///
    /// # Errors
    /// It leads away from https, or nowhere.
    pub fn join(&self, location: &str) -> Result<HttpsUrl, UrlError> {
        let location = location.split('#').next().unwrap_or_default();
        if has_scheme(location) {
            let https = location
                .get(..SCHEME.len() - 2)
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
            return match HttpsUrl::parse(location) {
                Some(url) => Ok(url),
                None if https => Err(UrlError::Malformed),
                None => Err(UrlError::NotHttps),
            };
        }
        let whole = if location.starts_with("//") {
            format!("https:{location}")
        } else {
            let path = self.path.split('?').next().unwrap_or("/");
            let path = match location.chars().next() {
                None => self.path.clone(),
                Some('/') => location.to_owned(),
                Some('?') => format!("{path}{location}"),
                Some(_) => format!("{}{location}", &path[..=path.rfind('/').unwrap_or(0)]),
            };
            format!("{SCHEME}{}{}", self.authority(), without_dots(&path))
        };
        HttpsUrl::parse(&whole).ok_or(UrlError::Malformed)
    }

    /// Host and port as the `Host` field of a request has them.
    pub fn authority(&self) -> String {
        match self.port {
            HTTPS_PORT => self.host.to_string(),
            port => format!("{}:{port}", self.host),
        }
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.authority(), self.path)
    }
}

impl fmt::Display for Host {
    /// As in an address: names without their last dot, IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => write!(f, "{}", name.to_string().trim_end_matches('.')),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

fn authority_of(text: &str, default: u16) -> Option<(Host, u16)> {
    let default = default.to_string();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, after) = rest.split_once(']')?;
            let ip: Ipv6Addr = inner.parse().ok()?;
            (
                Host::Ip(ip.into()),
                after
                    .strip_prefix(':')
                    .or(after.is_empty().then_some(default.as_str()))?,
            )
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, default.as_str()));
            (host_of(host)?, port)
        }
    };
    let plain = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse().ok().filter(|port| plain && *port != 0)?;
    Some((host, port))
}

/// Names are those that certificates can carry: letters, digits, hyphens and underscores.
fn host_of(text: &str) -> Option<Host> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Host::Ip(ip));
    }
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let name: Name = text.parse().ok()?;
    let fits = text.bytes().all(is_plain) && !name.is_root();
    // Digits alone are an address that is none (RFC 3696 section 2).
    let numeric = text
        .trim_end_matches('.')
        .rsplit('.')
        .next()?
        .bytes()
        .all(|b| b.is_ascii_digit());
    (fits && !numeric).then(|| Host::Name(name.to_lowercase()))
}

/// Whether a reference names its scheme (RFC 3986 section 3.1).
fn has_scheme(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else {
        return false;
    };
    let is_of_scheme = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(is_of_scheme)
}

/// RFC 3986 section 5.2.4.
fn without_dots(path: &str) -> String {
    let (path, query) = match path.find('?') {
        Some(at) => path.split_at(at),
        None => (path, ""),
    };
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (i, segment) in segments.iter().enumerate() {
        let last = i + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, expected: Option<&str>| {
            let shown = HttpsUrl::parse(text).map(|url| url.to_string());
            assert_eq!(shown.as_deref(), expected, "{text}");
        };
        let root = "https://www.internic.net/domain/root.zone";
        check(root, Some(root));
        check(
            "HTTPS://Host.Example.:443/A?b=C",
            Some("https://host.example/A?b=C"),
        );
        check("https://h.example", Some("https://h.example/"));
        check("https://h.example?q", Some("https://h.example/?q"));
        check("https://h.example:8443/", Some("https://h.example:8443/"));
        check("https://192.0.2.1/z", Some("https://192.0.2.1/z"));
        check("https://[2001:db8::1]/z", Some("https://[2001:db8::1]/z"));
        check(
            "https://[2001:db8::1]:444/z",
            Some("https://[2001:db8::1]:444/z"),
        );
        for bad in [
            "http://h.example/",
            "https:/h.example/",
            "https://",
            "https:///z",
            "https://user@h.example/",
            "https://h.example:0/",
            "https://h.example:65536/",
            "https://h.example:+1/",
            "https://h.example:/",
            "https://h.example/#x",
            "https://h.example/a b",
            "https://h.example/\u{e9}",
            "https://h..example/",
            "https://./",
            "https://1.2.3/",
            "https://[192.0.2.1]/",
            "https://[::1]x/",
            "https://a\\.b/",
            "",
        ] {
            check(bad, None);
        }
        check(
            &format!("https://h.example/{}", "a".repeat(URL_LEN_MAX)),
            None,
        );
    }

    #[test]
    fn alerts_may_go_by_plain_http() {
        let check = |text: &str, expected: Option<(bool, u16)>| {
            let url = WebUrl::parse(text);
            assert_eq!(url.map(|u| (u.is_secure, u.at.port)), expected, "{text}");
        };
        check("https://h.example/x", Some((true, 443)));
        check("http://h.example/x", Some((false, 80)));
        check("HTTP://[::1]:9093/x?y", Some((false, 9093)));
        check("ftp://h.example/x", None);
        check("http://user@h.example/", None);
        check("http:/h.example/", None);
        check("h.example", None);
        check("", None);
    }

    #[test]
    fn redirects() {
        let from = HttpsUrl::parse("https://h.example:444/a/b/c.zone?old=1").unwrap();
        let check = |location: &str, expected: Result<&str, UrlError>| {
            let got = from.join(location).map(|url| url.to_string());
            assert_eq!(got, expected.map(str::to_owned), "{location}");
        };
        let here = |path: &str| format!("https://h.example:444{path}");
        check("https://other.example/x", Ok("https://other.example/x"));
        check("//other.example/x", Ok("https://other.example/x"));
        check("/x?y#z", Ok(&here("/x?y")));
        check("d.zone", Ok(&here("/a/b/d.zone")));
        check("../d.zone", Ok(&here("/a/d.zone")));
        check("../../../../d", Ok(&here("/d")));
        check("./", Ok(&here("/a/b/")));
        check("..", Ok(&here("/a/")));
        check("?new", Ok(&here("/a/b/c.zone?new")));
        check("", Ok(&here("/a/b/c.zone?old=1")));
        check("#top", Ok(&here("/a/b/c.zone?old=1")));
        check("http://h.example/x", Err(UrlError::NotHttps));
        check("file:///etc/passwd", Err(UrlError::NotHttps));
        check("https:x", Err(UrlError::Malformed));
        check("//", Err(UrlError::Malformed));
        check("/a b", Err(UrlError::Malformed));
        check("/\u{e9}", Err(UrlError::Malformed));
    }
}
