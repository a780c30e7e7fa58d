//! What comes in before there is a query: heads of requests over HTTPS, streams of QUIC and TCP, headers of proxies.

use holdfast::dns::Message;
use holdfast::dns::message::{MESSAGE_LEN_MAX, peek_id};
use holdfast::listen::{conversation, http_query, proxy, quic};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Uri};

/// A method, a URI and a media type, a line each. What is taken has the one path; a query in it is no longer than a message and has but
/// one form. How long an answer is fresh is no longer than any of its TTLs.
pub fn https(data: &[u8]) -> bool {
    let mut lines = data.splitn(3, |octet| *octet == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (method, uri, media_type) = (line(), line(), line());
    if let Some(octets) = http_query::from_base64url(uri) {
        assert!(octets.len() <= MESSAGE_LEN_MAX && octets.len() == uri.len() * 3 / 4);
    }
    let fresh = http_query::fresh_for_s(data);
    let answer = Message::parse(data).map(|message| message.answer);
    for record in answer.unwrap_or_default() {
        assert!(fresh <= record.ttl);
    }
    let (Ok(method), Ok(uri)) = (Method::from_bytes(method), Uri::try_from(uri)) else {
        return false;
    };
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(media_type) {
        headers.insert(CONTENT_TYPE, value);
    }
    match http_query::read_head(&method, &uri, &headers) {
        Ok(asked) => {
            assert_eq!(uri.path(), "/dns-query");
            let from_uri = matches!(asked, http_query::Asked::Query(_));
            assert_eq!(from_uri, method == Method::GET);
            true
        }
        Err(status) => {
            assert!(status.is_client_error());
            false
        }
    }
}

/// What is on a stream is one message of the announced length, with ID 0, or it ends the connection.
pub fn quic(data: &[u8]) -> bool {
    let is_question = quic::is_question(data);
    if is_question {
        assert_eq!(
            usize::from(u16::from_be_bytes([data[0], data[1]])),
            data.len() - 2
        );
        assert_eq!(peek_id(&data[2..]), Some(0));
    }
    is_question
}

/// The messages of a stream are the same in whatever pieces it arrives; nothing is lost between them, and what is left is not whole.
pub fn stream(data: &[u8]) -> bool {
    let (messages, left) = conversation::messages_of(data, data.len());
    for piece in [1, 7] {
        assert_eq!(
            conversation::messages_of(data, piece),
            (messages.clone(), left)
        );
    }
    let framed: usize = messages.iter().map(|message| 2 + message.len()).sum();
    assert_eq!(framed + left, data.len());
    if let Some([high, low]) = data.get(framed..framed + 2) {
        assert!(left - 2 < usize::from(u16::from_be_bytes([*high, *low])));
    }
    !messages.is_empty()
}

/// A header is bounded, and names a client or the proxy itself; what follows it is untouched, and no part of it is a header.
pub fn proxy(data: &[u8]) -> bool {
    let Ok((_, query)) = proxy::read(data) else {
        return false;
    };
    let header = data.len() - query.len();
    assert!((16..=16 + 512).contains(&header) && data.ends_with(query));
    assert_eq!(proxy::read(&data[..header - 1]), Err(proxy::Wrong));
    // What a stranger says as his query is never looked at.
    let followed = [&data[..header], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"].concat();
    assert_eq!(
        proxy::read(&followed).map(|(said, _)| said),
        proxy::read(data).map(|(said, _)| said)
    );
    true
}
