//! What a request of DNS over HTTPS asks (RFC 8484), and how its answer is headed: pure.
//!
//! Failure: a request that is none gets the status code that says why, and no body.

use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, StatusCode, Uri};

use crate::dns::message::MESSAGE_LEN_MAX;
use crate::dns::{Message, Rcode};

/// The one path that is served; RFC 8484 section 4.1.1 shows it, and clients take it for granted.
pub const PATH: &str = "/dns-query";
/// The one media type (RFC 8484 section 6).
pub const MEDIA_TYPE: &str = "application/dns-message";

/// Where the query of a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It was in the URI.
    Query(Vec<u8>),
    /// It is the body.
    Body,
}

/// Reads the head of a request.
///
/// # Errors
/// The status of the response.
pub fn read_head(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Asked, StatusCode> {
    if uri.path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    match *method {
        Method::GET => {
            let mut variables = uri.query().unwrap_or_default().split('&');
            let dns = variables.find_map(|variable| variable.strip_prefix("dns="));
            let query = dns.and_then(|text| from_base64url(text.as_bytes()));
            query.map(Asked::Query).ok_or(StatusCode::BAD_REQUEST)
        }
        Method::POST => {
            let media_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
            let bare = media_type.and_then(|text| text.split(';').next());
            match bare.is_some_and(|text| text.trim().eq_ignore_ascii_case(MEDIA_TYPE)) {
                true => Ok(Asked::Body),
                false => Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            }
        }
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// Octets from base64url without padding (RFC 4648 section 5; RFC 8484 section 6 forbids the padding); `None` if it is not, or
/// longer than a message can be.
pub fn from_base64url(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() || text.len() > MESSAGE_LEN_MAX.div_ceil(3) * 4 {
        return None;
    }
    let mut octets = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits: u32 = 0;
        for &letter in group {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let missing = 4 - group.len() as u32;
        let [_, whole @ ..] = (bits << (6 * missing)).to_be_bytes();
        let used = match group.len() {
            4 => 3,
            3 => 2,
            2 => 1,
            _ => return None,
        };
        let (used, rest) = whole.split_at(used);
        // Bits that belong to no octet are 0, so that a message has but one form.
        if rest.iter().any(|octet| *octet != 0) {
            return None;
        }
        octets.extend_from_slice(used);
    }
    (octets.len() <= MESSAGE_LEN_MAX).then_some(octets)
}

/// How long the answer may be kept, in seconds: the smallest TTL of its answer section, or without records there that of its
/// authority section (RFC 8484 section 5.1; RFC 2308 section 5 for denials). 0 for what is no answer.
pub fn fresh_for_s(answer: &[u8]) -> u32 {
    let Ok(message) = Message::parse(answer) else {
        return 0;
    };
    if message.truncated || !matches!(message.rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
        return 0;
    }
    let records = match message.answer.is_empty() {
        true => message.authority.iter(),
        false => message.answer.iter(),
    };
    records.map(|record| record.ttl).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Question, RrSet, Rtype};

    fn head(method: &str, uri: &str, media_type: Option<&str>) -> Result<Asked, u16> {
        let mut headers = HeaderMap::new();
        if let Some(media_type) = media_type {
            headers.insert(CONTENT_TYPE, media_type.parse().unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        read_head(&method, &uri.parse().unwrap(), &headers).map_err(|status| status.as_u16())
    }

    // RFC 8484 section 4.1.1 has this query and this form of it.
    #[test]
    fn heads_are_read() {
        let get = "/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB";
        let Ok(Asked::Query(query)) = head("GET", get, None) else {
            panic!("a query");
        };
        let query = Message::parse(&query).unwrap();
        assert_eq!(
            query.question.unwrap().name,
            "www.example.com.".parse().unwrap()
        );
        let with_others = get.replace("?dns", "?x=1&dns") + "&ct=y";
        assert!(head("GET", &with_others, None).is_ok());
        let https = format!("https://dns.example{get}");
        assert!(head("GET", &https, None).is_ok());
        assert_eq!(
            head("POST", "/dns-query", Some(MEDIA_TYPE)),
            Ok(Asked::Body)
        );
        let upper = Some("Application/DNS-message; charset=x");
        assert_eq!(head("POST", "/dns-query?x=1", upper), Ok(Asked::Body));
        for (method, uri, media_type, status) in [
            ("GET", "/", None, 404),
            ("GET", "/dns-query/", None, 404),
            ("GET", "/dns-query", None, 400),
            ("GET", "/dns-query?dns=", None, 400),
            ("GET", "/dns-query?dns=A", None, 400),
            ("GET", "/dns-query?dns=AA==", None, 400),
            ("GET", "/dns-query?dns=A+/A", None, 400),
            ("GET", "/dns-query?name=example.com", None, 400),
            ("POST", "/dns-query", None, 415),
            ("POST", "/dns-query", Some("application/dns-json"), 415),
            ("POST", "/other", Some(MEDIA_TYPE), 404),
            ("PUT", "/dns-query", Some(MEDIA_TYPE), 405),
            ("HEAD", get, None, 405),
        ] {
            assert_eq!(head(method, uri, media_type), Err(status), "{method} {uri}");
        }
    }

    // RFC 4648 section 10, in the letters of section 5.
    #[test]
    fn base64url_is_read() {
        for (text, expected) in [
            ("Zg", Some("f")),
            ("Zm8", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYmE", Some("fooba")),
            ("Zh", None),
            ("Zm9", None),
            ("Z", None),
            ("Zm9vY", None),
            ("Zm 9", None),
        ] {
            let octets = from_base64url(text.as_bytes());
            assert_eq!(octets.as_deref(), expected.map(str::as_bytes), "{text}");
        }
        assert_eq!(from_base64url(b"-_-_").unwrap(), [0xFB, 0xFF, 0xBF]);
        let longest = "A".repeat(MESSAGE_LEN_MAX / 3 * 4);
        assert_eq!(
            from_base64url(longest.as_bytes()).unwrap().len(),
            MESSAGE_LEN_MAX
        );
        assert_eq!(from_base64url((longest + "AA").as_bytes()), None);
    }

    // RFC 8484 section 5.1.
    #[test]
    fn an_answer_is_fresh_for_its_smallest_ttl() {
        let question = Question::new("x.".parse().unwrap(), Rtype::A);
        let mut reply = Message::query(0, question).reply(Rcode::NOERROR);
        let set = |ttl| RrSet::single("x.".parse().unwrap(), Rtype::A, ttl, [192, 0, 2, 1].into());
        let mut check = |change: &dyn Fn(&mut Message), expected| {
            change(&mut reply);
            assert_eq!(fresh_for_s(&reply.encode(MESSAGE_LEN_MAX)), expected);
        };
        check(&|_| {}, 0);
        check(&|m| m.authority = set(77).records(false).collect(), 77);
        check(&|m| m.answer.extend(set(300).records(false)), 300);
        check(&|m| m.answer.extend(set(60).records(false)), 60);
        check(&|m| m.rcode = Rcode::SERVFAIL, 0);
        assert_eq!(fresh_for_s(b"no message"), 0);
    }
}
