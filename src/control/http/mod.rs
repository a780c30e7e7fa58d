//! `control.http`: metrics, health and the status page, for whoever may look but not touch.
//!
//! GET and HEAD alone; nothing that is asked here changes anything. Connections, their time and their headers are bounded. A page in
//! a browser may not get at a server that listens on a loopback address by a name of its own choice (DNS rebinding): there only
//! addresses and `localhost` are taken for a host. An address that cannot be had is tried again for ever: names are resolved
//! without a status page, too.

mod chart;
pub mod exposition;
mod page;
mod panels;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::door;
use super::history::{Counts, Row};
use super::status::Status;
use crate::drill::report::Report;
use crate::future::BoxFuture;
use crate::metrics::{Metrics, Times};

/// Clients at once; further ones wait.
const CONNECTIONS_MAX: usize = 64;
/// A client has so long for the head of a request, in seconds.
const HEAD_TIME_MAX_S: u64 = 10;
/// A connection ends after this time, in seconds; whoever looks on connects again.
const CONNECTION_TIME_MAX_S: u64 = 120;
/// The largest head of a request, in octets.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Pause before an address that could not be had is tried again, in seconds.
const BIND_PAUSE_S: u64 = 15;

/// What can be looked at.
pub trait Shown: Send + Sync + 'static {
    /// The state of everything.
    fn status(&self) -> Status;
    /// All counters and gauges: name, meaning, value.
    fn metrics(&self) -> Vec<(&'static str, &'static str, u64)>;
    /// Of all that happened since the start, what the page counts.
    fn counts(&self) -> Counts;
    /// How long clients' questions waited.
    fn waits(&self) -> Times;
    /// The last minutes.
    fn history(&self) -> Vec<Row>;
    /// What the last readiness report or drill said would be lost.
    fn outlook(&self) -> Option<Report>;
    /// Whether a question would be answered now; else why not.
    fn ready(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// The page's server; dropping it closes it.
pub struct Http(JoinHandle<()>);

impl Http {
    /// Serves at this address as soon as it can be had. Must be called within a tokio runtime.
    pub fn start(address: SocketAddr, shown: Arc<dyn Shown>, metrics: Arc<Metrics>) -> Http {
        let desk = Arc::new(Desk {
            shown,
            metrics,
            by_address_only: address.ip().is_loopback(),
        });
        Http(tokio::spawn(async move {
            let listener = listen(address).await;
            serve(listener, desk).await;
        }))
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(address: SocketAddr) -> TcpListener {
    let mut told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                if told {
                    tracing::info!(%address, "the status page is there");
                }
                return listener;
            }
            Err(error) if !told => {
                tracing::warn!(%address, %error, "no status page and no metrics over HTTP: control.http cannot listen; trying again");
                told = true;
            }
            Err(_) => {}
        }
        sleep(Duration::from_secs(BIND_PAUSE_S)).await;
    }
}

async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    door::serve(listener, "control.http", CONNECTIONS_MAX, move |stream| {
        let desk = desk.clone();
        async move {
            let whole = Duration::from_secs(CONNECTION_TIME_MAX_S);
            let _ = timeout(whole, converse(stream, desk)).await;
        }
    })
    .await;
}

async fn converse(stream: TcpStream, desk: Arc<Desk>) {
    let answer = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(desk.answer(&request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEAD_TIME_MAX_S))
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to control.http ends");
    }
}

/// Where requests are answered.
struct Desk {
    shown: Arc<dyn Shown>,
    metrics: Arc<Metrics>,
    by_address_only: bool,
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Desk {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        self.metrics.http_requests_total.inc();
        if self.by_address_only && !names_an_address(request) {
            let why = "ask by address: http://127.0.0.1:PORT/ and not by a name\n";
            return self.refused(StatusCode::MISDIRECTED_REQUEST, why);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = self.refused(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD alone\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(header::ALLOW, allowed);
            return refused;
        }
        let shown = &self.shown;
        match request.uri().path() {
            "/" => {
                let (status, rows) = (shown.status(), shown.history());
                let (counts, outlook) = (shown.counts(), shown.outlook());
                let page = page::html(&status, &rows, &counts, outlook.as_ref());
                reply(StatusCode::OK, HTML, page)
            }
            "/status" => match serde_json::to_string(&shown.status()) {
                Ok(text) => reply(StatusCode::OK, JSON, text),
                Err(error) => reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error.to_string()),
            },
            "/metrics" => {
                let (metrics, waits) = (shown.metrics(), shown.waits());
                let text = exposition::text(&metrics, &waits, &shown.status());
                reply(StatusCode::OK, OPEN_METRICS, text)
            }
            "/health" => reply(StatusCode::OK, TEXT, "alive\n".into()),
            "/ready" => match shown.ready().await {
                Ok(()) => reply(StatusCode::OK, TEXT, "ready\n".into()),
                Err(why) => reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
            },
            _ => self.refused(
                StatusCode::NOT_FOUND,
                "there are / /status /metrics /health /ready\n",
            ),
        }
    }

    fn refused(&self, status: StatusCode, why: &str) -> Response<Full<Bytes>> {
        self.metrics.http_refused_total.inc();
        reply(status, TEXT, why.into())
    }
}

/// Whether the request is to an address or to `localhost`, not to a name that somebody has made up.
fn names_an_address(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(header::HOST);
    host.and_then(|host| host.to_str().ok())
        .is_some_and(is_address)
}

fn is_address(host: &str) -> bool {
    let named = match host.rsplit_once(':') {
        Some((named, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => named,
        _ => host,
    };
    let bare = named.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok() || named.eq_ignore_ascii_case("localhost")
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    let rows = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    ];
    for (name, value) in rows {
        reply
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Fixed(Result<(), String>);

    impl Shown for Fixed {
        fn status(&self) -> Status {
            Status {
                version: "1.2.3".into(),
                ..Status::default()
            }
        }
        fn metrics(&self) -> Vec<(&'static str, &'static str, u64)> {
            vec![("queries_udp_total", " Queries.", 5)]
        }
        fn counts(&self) -> Counts {
            Counts::default()
        }
        fn waits(&self) -> Times {
            Times::default()
        }
        fn history(&self) -> Vec<Row> {
            Vec::new()
        }
        fn outlook(&self) -> Option<Report> {
            None
        }
        fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
            Box::pin(async { self.0.clone() })
        }
    }

    async fn started(ready: Result<(), String>) -> (SocketAddr, Arc<Metrics>, JoinHandle<()>) {
        let metrics = Arc::new(Metrics::default());
        let desk = Arc::new(Desk {
            shown: Arc::new(Fixed(ready)),
            metrics: metrics.clone(),
            by_address_only: true,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (address, metrics, tokio::spawn(serve(listener, desk)))
    }

    async fn sent(address: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn asked(address: SocketAddr, request: &str) -> String {
        let rest = "Host: 127.0.0.1\r\nConnection: close\r\n\r\n";
        sent(address, &format!("{request} HTTP/1.1\r\n{rest}")).await
    }

    #[tokio::test]
    async fn what_can_be_looked_at_and_what_not() {
        let (address, metrics, _server) = started(Ok(())).await;
        let check = async |request: &str, status: &str, has: &str| {
            let answer = asked(address, request).await;
            let first = answer.lines().next().unwrap_or_default();
            assert!(first.contains(status) && answer.contains(has), "{answer}");
        };
        check("GET /", "200", "holdfast 1.2.3").await;
        check("HEAD /", "200", "text/html").await;
        check("GET /status", "200", "\"version\":\"1.2.3\"").await;
        check("GET /metrics", "200", "holdfast_queries_udp_total 5\n").await;
        check("GET /health", "200", "alive").await;
        check("GET /ready", "200", "ready").await;
        assert_eq!(metrics.http_refused_total.value(), 0);
        check("POST /", "405", "allow: GET, HEAD").await;
        check("DELETE /status", "405", "GET and HEAD").await;
        check("GET /../etc/passwd", "404", "there are /").await;
        assert_eq!(metrics.http_refused_total.value(), 3);
        assert_eq!(metrics.http_requests_total.value(), 9);
    }

    #[tokio::test]
    async fn who_would_not_answer_is_not_ready() {
        let (address, _, _server) = started(Err("no answer over UDP".into())).await;
        let answer = asked(address, "GET /ready").await;
        assert!(answer.contains("503") && answer.contains("no answer over UDP"));
        assert!(asked(address, "GET /health").await.contains("200"));
    }

    #[tokio::test]
    async fn a_strange_name_or_a_monstrous_head_gets_nothing() {
        let (address, metrics, _server) = started(Ok(())).await;
        let rebound =
            "GET /status HTTP/1.1\r\nHost: evil.example:8053\r\nConnection: close\r\n\r\n";
        assert!(sent(address, rebound).await.contains("421"));
        assert_eq!(metrics.http_refused_total.value(), 1);
        let huge = format!(
            "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {}",
            "x".repeat(1 << 20)
        );
        // It may be refused, or cut off while it still sends.
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(huge.as_bytes()).await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert!(!answer.contains(" 200 "), "{answer}");
        assert!(
            !sent(address, "\r\n\0\u{1}nonsense\r\n\r\n")
                .await
                .contains(" 200 ")
        );
        assert!(asked(address, "GET /health").await.contains("200"));
    }

    #[test]
    fn hosts() {
        let check = |host: &str, expected: bool| assert_eq!(is_address(host), expected, "{host}");
        check("127.0.0.1:8053", true);
        check("127.0.0.1", true);
        check("[::1]:8053", true);
        check("[::1]", true);
        check("localhost:1", true);
        check("LOCALHOST", true);
        check("localhost.evil.example", false);
        check("evil.example:8053", false);
        check("127.0.0.1.evil.example", false);
        check("", false);
    }
}
