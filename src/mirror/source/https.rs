//! Zone files from web servers, over HTTPS (RFC 9110, 9112).
//!
//! Why: some registries and ICANN publish zones as files, and a web server is reached where transfers are not. The server
//! proves its name with a certificate (`tls`), so what it says of delegations and glue is at least what its operator put
//! there.
//!
//! Model: [`fetch`] finds the server's address through holdfast itself, asks for the file under the condition that it is not
//! the one that is held ([`Validators`]), follows a few redirects, never away from https, and passes the body on to a
//! [`Spool`] piece by piece. The protocol is hyper's; the limits are ours.
//!
//! Failure: every error names the step and is worded without numbers that change from try to try. Address lookup, connection,
//! each piece of the answer and the whole have time limits, headers and body have limits in octets, the body a slowest
//! allowed progress. A body must say where it ends, or a lost connection would pass for its end.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::super::store::Validators;
use super::super::work::blocking;
use super::axfr::{CONNECT_TIME_MAX_S, Fault, Limits, MESSAGE_TIME_MAX_S, Progress};
use super::spool::{Spool, SpoolError};
use super::tls::{self, Tls, TrustError};
use super::{Connect, Stream};
use crate::clock::Clock;
use crate::config::{Host, HttpsUrl};
use crate::mirror::Lookup;

/// Redirects that are followed.
pub const REDIRECTS_MAX: usize = 5;
/// Addresses of one server that are tried.
pub const ADDRESSES_TRIED_MAX: usize = 4;
/// Longest wait for the addresses of a server, in seconds: inside an outage nobody may know them.
pub const LOOKUP_TIME_MAX_S: u64 = 12;
/// Longest handshake of TLS, in seconds.
pub const HANDSHAKE_TIME_MAX_S: u64 = 10;
/// Header fields of an answer.
const HEADERS_MAX: usize = 64;
/// All header fields of an answer, in octets.
const HEADER_BYTES_MAX: usize = 32 << 10;
/// A validator that is longer is not remembered, in octets.
const VALIDATOR_LEN_MAX: usize = 256;
/// What this program calls itself.
const USER_AGENT: &str = concat!("holdfast/", env!("CARGO_PKG_VERSION"));
/// The body goes to the disk in pieces of about this size, in octets.
const PIECE_BYTES: usize = 1 << 20;

/// The way to a web server.
pub struct Door<'a> {
    /// To addresses.
    pub connect: &'a dyn Connect,
    /// From names to addresses.
    pub lookup: &'a dyn Lookup,
    /// Through TLS; without it plain http is spoken.
    pub tls: Option<&'a Tls>,
}

/// What a fetch needs of the world.
pub struct Way<'a> {
    /// To addresses.
    pub connect: &'a dyn Connect,
    /// From names to addresses.
    pub lookup: &'a dyn Lookup,
    /// Through TLS.
    pub tls: &'a Tls,
    /// The clock.
    pub clock: &'a Clock,
}

/// What a web server said.
pub enum Fetched {
    /// The file is the one that the validators are of.
    Unchanged,
    /// Another file, with what tells it from the next one.
    Body(Spool, Validators),
}

/// Why a web server brought nothing, by the step at which it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpsError {
    /// Nobody can be trusted.
    #[error("certificates: {0}")]
    Trust(#[from] TrustError),
    /// No address of the server.
    #[error("address of {host}: {why}")]
    Lookup {
        /// The server.
        host: String,
        /// What was found out.
        why: String,
    },
    /// No connection.
    #[error("connect: {0}")]
    Connect(Fault),
    /// No answer to the request.
    #[error("request: {0}")]
    Request(Fault),
    /// The server has no file for us.
    #[error("the server answers {0}")]
    Status(StatusCode),
    /// An answer that is none to the request.
    #[error("not an answer to the request: {0}")]
    Mismatch(&'static str),
    /// A redirect that is not followed.
    #[error("redirect: {0}")]
    Redirect(String),
    /// The body did not come.
    #[error("body: {0}")]
    Body(Fault),
    /// The body is no zone.
    #[error("body: {0}")]
    Spool(#[from] SpoolError),
}

/// Fetches the file at `url` into `spool`, unless it is still the one that `known` is of.
///
/// # Errors
/// The step that failed and how.
pub async fn fetch(
    way: &Way<'_>,
    url: &HttpsUrl,
    known: Option<&Validators>,
    limits: Limits,
    spool: Spool,
) -> Result<Fetched, HttpsError> {
    let work = async {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            // One connection per request: redirects nearly always lead to another server.
            let mut exchange = Exchange::open(&way.door(), &at).await?;
            let answer = exchange.ask(request(&at, known)).await?;
            match judge(&answer, known.is_some())? {
                Answer::Elsewhere(location) => {
                    let to = at.join(&location);
                    at = to.map_err(|error| HttpsError::Redirect(error.to_string()))?;
                }
                Answer::Unchanged => return Ok(Fetched::Unchanged),
                Answer::Body(validators) => {
                    let body = answer.into_body();
                    let spool = receive(body, way.clock, limits, spool).await?;
                    return Ok(Fetched::Body(spool, validators));
                }
            }
        }
        let why = format!("more than {REDIRECTS_MAX} in a row");
        Err(HttpsError::Redirect(why))
    };
    let late = HttpsError::Body(Fault::TooLong(limits.time_max.as_secs()));
    timeout(limits.time_max, work)
        .await
        .unwrap_or_else(|_| Err(late))
}

/// Posts `json` to `url`. Anything but a success is an error, a redirect too: it would be somebody else who gets it. What
/// the server has to say is not read. The caller bounds the time.
///
/// # Errors
/// The step that failed and how.
pub async fn post(door: &Door<'_>, url: &HttpsUrl, json: String) -> Result<(), HttpsError> {
    let request = Request::post(&url.path)
        .header(header::HOST, url.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(json)));
    let mut exchange = Exchange::open(door, url).await?;
    let answer = exchange.ask(request.ok()).await?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        other => Err(HttpsError::Status(other)),
    }
}

impl Way<'_> {
    fn door(&self) -> Door<'_> {
        Door {
            connect: self.connect,
            lookup: self.lookup,
            tls: Some(self.tls),
        }
    }
}

/// A connection with one request on it.
struct Exchange {
    sender: SendRequest<Full<Bytes>>,
    /// Reads and writes while the sender is in use.
    _driver: AbortOnDropHandle<()>,
}

impl Exchange {
    async fn open(door: &Door<'_>, url: &HttpsUrl) -> Result<Exchange, HttpsError> {
        let stream = connect(door, url).await?;
        let mut builder = Builder::new();
        builder
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEADER_BYTES_MAX);
        let opened = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = opened.map_err(|error| HttpsError::Request(fault(&error)))?;
        let driver = tokio::spawn(async move {
            // What goes wrong is told to whoever waits for the answer.
            let _ = connection.await;
        });
        Ok(Exchange {
            sender,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    async fn ask(
        &mut self,
        request: Option<Request<Full<Bytes>>>,
    ) -> Result<Response<Incoming>, HttpsError> {
        let request = request.ok_or(HttpsError::Request(Fault::Http(
            "the address makes no request".to_owned(),
        )))?;
        let limit = Duration::from_secs(MESSAGE_TIME_MAX_S);
        match timeout(limit, self.sender.send_request(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(HttpsError::Request(fault(&error))),
            Err(_) => Err(HttpsError::Request(Fault::Stalled(MESSAGE_TIME_MAX_S))),
        }
    }
}

fn request(url: &HttpsUrl, known: Option<&Validators>) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::get(&url.path)
        .header(header::HOST, url.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "gzip")
        .header(header::CONNECTION, "close");
    // RFC 9110 section 13.1: a server that knows the first does not look at the second.
    if let Some(etag) = known.and_then(|v| v.etag.as_ref()) {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    if let Some(modified) = known.and_then(|v| v.last_modified.as_ref()) {
        request = request.header(header::IF_MODIFIED_SINCE, modified);
    }
    request.body(Full::default()).ok()
}

/// A connection to the server of an address, secured where the way is.
async fn connect(door: &Door<'_>, url: &HttpsUrl) -> Result<Box<dyn Stream>, HttpsError> {
    let host = url.host.to_string();
    let name = tls::server_name(host.trim_matches(['[', ']']))?;
    let mut first: Option<Fault> = None;
    for ip in addresses(door.lookup, &url.host).await? {
        let server = SocketAddr::new(ip, url.port);
        let opened = within(CONNECT_TIME_MAX_S, door.connect.connect(server)).await;
        let secured = match (opened, door.tls) {
            (Ok(stream), Some(tls)) => {
                within(HANDSHAKE_TIME_MAX_S, tls.secure(stream, name.clone())).await
            }
            (other, _) => other,
        };
        match secured {
            Ok(stream) => return Ok(stream),
            // A certificate that is not good says more than an address family that leads nowhere.
            Err(fault) if first.is_none() || matches!(fault, Fault::Tls(_)) => first = Some(fault),
            Err(_) => {}
        }
    }
    Err(HttpsError::Connect(
        first.unwrap_or(Fault::Io(io::ErrorKind::NotFound)),
    ))
}

async fn within<T>(limit_s: u64, work: impl Future<Output = io::Result<T>>) -> Result<T, Fault> {
    match timeout(Duration::from_secs(limit_s), work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Fault::of(&error)),
        Err(_) => Err(Fault::Stalled(limit_s)),
    }
}

/// Some addresses of a server, both families by turns.
async fn addresses(lookup: &dyn Lookup, host: &Host) -> Result<Vec<IpAddr>, HttpsError> {
    let name = match host {
        Host::Ip(ip) => return Ok(vec![*ip]),
        Host::Name(name) => name,
    };
    let failed = |why: String| HttpsError::Lookup {
        host: host.to_string(),
        why,
    };
    let limit = Duration::from_secs(LOOKUP_TIME_MAX_S);
    let found = timeout(limit, lookup.addresses(name)).await;
    let found = found.unwrap_or_else(|_| Err(format!("nothing for {LOOKUP_TIME_MAX_S} s")));
    let (mut six, mut four): (Vec<_>, Vec<_>) = found
        .map_err(failed)?
        .into_iter()
        .partition(IpAddr::is_ipv6);
    let mut turns = Vec::new();
    while turns.len() < ADDRESSES_TRIED_MAX && !(six.is_empty() && four.is_empty()) {
        for family in [&mut six, &mut four] {
            if !family.is_empty() {
                turns.push(family.remove(0));
            }
        }
    }
    turns.truncate(ADDRESSES_TRIED_MAX);
    match turns.is_empty() {
        true => Err(failed("it has none".to_owned())),
        false => Ok(turns),
    }
}

/// What an answer comes to, by its head.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Unchanged,
    Elsewhere(String),
    Body(Validators),
}

fn judge<B>(answer: &Response<B>, asked_conditionally: bool) -> Result<Answer, HttpsError> {
    let headers = answer.headers();
    match answer.status() {
        StatusCode::NOT_MODIFIED if asked_conditionally => Ok(Answer::Unchanged),
        StatusCode::NOT_MODIFIED => {
            Err(HttpsError::Mismatch("`not modified`, which was not asked"))
        }
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => match text(headers, &header::LOCATION) {
            Some(location) => Ok(Answer::Elsewhere(location.to_owned())),
            None => Err(HttpsError::Redirect("it does not say where to".to_owned())),
        },
        StatusCode::OK => {
            check_framing(headers)?;
            Ok(Answer::Body(Validators {
                etag: validator(headers, &header::ETAG),
                last_modified: validator(headers, &header::LAST_MODIFIED),
            }))
        }
        other => Err(HttpsError::Status(other)),
    }
}

fn check_framing(headers: &HeaderMap) -> Result<(), HttpsError> {
    let coding = text(headers, &header::CONTENT_ENCODING).unwrap_or("identity");
    if !["identity", "gzip", "x-gzip"]
        .iter()
        .any(|known| coding.eq_ignore_ascii_case(known))
    {
        return Err(HttpsError::Mismatch("an encoding that was not asked for"));
    }
    // RFC 9112 section 6.3: without either, the body ends with the connection, and so does a part of it.
    let ends = headers.contains_key(header::CONTENT_LENGTH)
        || headers.contains_key(header::TRANSFER_ENCODING);
    match ends {
        true => Ok(()),
        false => Err(HttpsError::Mismatch("the body does not say where it ends")),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn validator(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let text = text(headers, name)?;
    let fits = !text.is_empty() && text.len() <= VALIDATOR_LEN_MAX;
    fits.then(|| text.to_owned())
}

/// Receives a body whole.
async fn receive(
    mut body: Incoming,
    clock: &Clock,
    limits: Limits,
    mut spool: Spool,
) -> Result<Spool, HttpsError> {
    let announced = hyper::body::Body::size_hint(&body).exact();
    if announced.is_some_and(|len| len > limits.bytes_max) {
        return Err(HttpsError::Body(Fault::TooLarge(limits.bytes_max)));
    }
    let mut progress = Progress::new(clock, limits.bytes_max);
    let mut piece = Vec::new();
    loop {
        let limit = Duration::from_secs(MESSAGE_TIME_MAX_S);
        let frame = match timeout(limit, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(HttpsError::Body(fault(&error))),
            Err(_) => return Err(HttpsError::Body(Fault::Stalled(MESSAGE_TIME_MAX_S))),
        };
        // What follows the body is of no interest.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        progress.add(data.len()).map_err(HttpsError::Body)?;
        piece.extend_from_slice(&data);
        if piece.len() >= PIECE_BYTES {
            let full = std::mem::take(&mut piece);
            spool = blocking(move || spool.take(&full)).await?;
        }
    }
    Ok(blocking(move || spool.take(&piece)).await?)
}

/// What hyper found wrong.
fn fault(error: &hyper::Error) -> Fault {
    if error.is_incomplete_message() {
        return Fault::Truncated;
    }
    // hyper has no question for it.
    if error.is_parse() && error.to_string().contains("too large") {
        return Fault::Http(format!(
            "its header is larger than {HEADER_BYTES_MAX} bytes or {HEADERS_MAX} fields"
        ));
    }
    match error
        .source()
        .and_then(|inner| inner.downcast_ref::<io::Error>())
    {
        Some(inner) => Fault::midway(inner),
        None => Fault::Http(error.to_string()),
    }
}
