//! Queries over HTTPS (RFC 8484): streams of one HTTP/2 connection, after the handshake of `tls`.
//!
//! Why no web server: of HTTP there is one path, one media type and no body longer than a message, so streams and headers are all
//! that is needed, and each can be bounded. Connections have places as those over TCP have.
//!
//! What a client can make this server hold: headers of `HEADERS_BYTES_MAX` per stream, `STREAMS_MAX` streams, and
//! of bodies as much as one message: what it has sent is given back to its flow control only when its request is whole. Answers that wait
//! for the client's window are bounded for all connections together. A request must be whole, and an answer taken, within a few
//! seconds; a connection without streams is closed as one over TCP is. Streams that are opened and reset in a row end it (`h2`).
//!
//! Failure: a status code where the request is none, RST_STREAM where it is too slow, and the end of the connection beyond that.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::http_query::{self, Asked, MEDIA_TYPE};
use super::streams::{WRITE_TIMEOUT_S, idle_timeout};
use crate::dns::message::MESSAGE_LEN_MAX;
use crate::metrics::Metrics;
use crate::places::Place;
use crate::query::{Client, Pipeline, Step};

/// Requests of one connection at once (RFC 9113 section 6.5.2 has no smaller number recommended).
const STREAMS_MAX: u32 = 100;
/// All header fields of a request, in octets; a GET has its query there.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// Of a connection so much may be on its way here, in octets: one message, and one octet more, so that there being more is seen.
const WINDOW_BYTES: u32 = MESSAGE_LEN_MAX as u32 + 1;
/// Streams that a client may open and reset before they are looked at (CVE-2023-44487).
const RESETS_MAX: usize = 20;
/// A request is whole within this time, in seconds.
const REQUEST_TIME_MAX_S: u64 = 5;
/// Answers of all connections that wait for clients to take them, in octets.
pub const WAITING_BYTES_MAX: usize = 32 << 20;

/// What all connections share.
pub struct Shared {
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Room for answers that wait, in octets.
    pub room: Arc<Semaphore>,
}

impl Shared {
    /// With all of the room free.
    pub fn new(pipeline: Arc<Pipeline>, metrics: Arc<Metrics>) -> Arc<Shared> {
        Arc::new(Shared {
            pipeline,
            metrics,
            room: Arc::new(Semaphore::new(WAITING_BYTES_MAX)),
        })
    }
}

/// Answers the requests of one connection until the client ends it, or has to be left.
///
/// # Errors
/// It is no HTTP/2, or breaks its rules.
pub async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    client: Client,
    shared: Arc<Shared>,
    place: &mut Place,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_send_buffer_size(MESSAGE_LEN_MAX);
    let opening = builder.handshake::<_, Bytes>(stream);
    let mut connection = timeout(idle_timeout(place, false), opening)
        .await?
        .map_err(io::Error::other)?;
    let mut tasks = JoinSet::new();
    let (mut stops, mut has_asked) = (false, false);
    loop {
        match tasks.is_empty() {
            true => place.idle(),
            false => place.busy(),
        }
        tokio::select! {
            accepted = connection.accept() => {
                let Some(accepted) = accepted else {
                    return Ok(());
                };
                let (request, respond) = accepted.map_err(io::Error::other)?;
                has_asked = true;
                tasks.spawn(answer(request, respond, client.clone(), shared.clone()));
            }
            // Ends are all that is to be known of them.
            _ = tasks.join_next(), if !tasks.is_empty() => {}
            () = sleep(idle_timeout(place, has_asked)), if tasks.is_empty() => break,
            () = place.left(), if tasks.is_empty() => {
                shared.metrics.connections_ousted_total.inc();
                break;
            }
            _ = stopped.wait_for(|stop| *stop), if !stops => {
                connection.graceful_shutdown();
                stops = true;
            }
        }
    }
    // Tells the client why, if it listens.
    connection.graceful_shutdown();
    let closed = poll_fn(|cx| connection.poll_closed(cx));
    let _ = timeout(Duration::from_secs(1), closed).await;
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    client: Client,
    shared: Arc<Shared>,
) {
    let (head, body) = request.into_parts();
    let patience = Duration::from_secs(REQUEST_TIME_MAX_S);
    let query = match http_query::read_head(&head.method, &head.uri, &head.headers) {
        Ok(Asked::Query(query)) => Ok(query),
        Ok(Asked::Body) if body_is_too_long(&head.headers) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Asked::Body) => match timeout(patience, read_body(body)).await {
            Ok(read) => read,
            Err(_) => {
                shared.metrics.https_refused_total.inc();
                return respond.send_reset(Reason::CANCEL);
            }
        },
        Err(status) => Err(status),
    };
    let answer = match query {
        Ok(query) => answer_to(&query, client, &shared.pipeline).await,
        Err(status) => Err(status),
    };
    let sent = match answer {
        Ok(answer) => send(answer, &mut respond, &shared.room).await,
        Err(status) => {
            shared.metrics.https_refused_total.inc();
            respond.send_response(without_body(status), true).map(drop)
        }
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "an answer over HTTPS is not taken");
    }
}

async fn answer_to(
    query: &[u8],
    client: Client,
    pipeline: &Pipeline,
) -> Result<Vec<u8>, StatusCode> {
    let answer = match pipeline.begin(query, client) {
        Step::Done(answer) => answer,
        Step::Wait(job) => pipeline.finish(job).await,
        // Transfers have no place here: RFC 8484 section 4.2.1 knows one message.
        Step::Stream(_) => return Err(StatusCode::NOT_IMPLEMENTED),
    };
    answer.ok_or(StatusCode::BAD_REQUEST)
}

/// The body of a request, which is given back to flow control when it is whole.
async fn read_body(mut body: RecvStream) -> Result<Vec<u8>, StatusCode> {
    let mut query = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.map_err(|_| StatusCode::BAD_REQUEST)?;
        if query.len() + part.len() > MESSAGE_LEN_MAX {
            let taken = query.len() + part.len();
            let _ = body.flow_control().release_capacity(taken);
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        query.extend_from_slice(&part);
    }
    let _ = body.flow_control().release_capacity(query.len());
    Ok(query)
}

/// What is announced need not be waited for.
fn body_is_too_long(headers: &HeaderMap) -> bool {
    let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let length = announced.and_then(|text| text.parse::<u64>().ok());
    length.is_some_and(|length| length > MESSAGE_LEN_MAX as u64)
}

fn without_body(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, 0.into());
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, hyper::header::HeaderValue::from_static("GET, POST"));
    }
    response
}

async fn send(
    answer: Vec<u8>,
    respond: &mut SendResponse<Bytes>,
    room: &Semaphore,
) -> Result<(), h2::Error> {
    let Ok(_room) = room.try_acquire_many(answer.len() as u32) else {
        respond.send_reset(Reason::ENHANCE_YOUR_CALM);
        return Ok(());
    };
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static(MEDIA_TYPE),
    );
    headers.insert(CONTENT_LENGTH, answer.len().into());
    let fresh = format!("max-age={}", http_query::fresh_for_s(&answer));
    if let Ok(fresh) = fresh.parse() {
        headers.insert(CACHE_CONTROL, fresh);
    }
    let mut stream = respond.send_response(response, false)?;
    let patience = Duration::from_secs(WRITE_TIMEOUT_S);
    match timeout(patience, send_body(answer.into(), &mut stream)).await {
        Ok(sent) => sent,
        Err(_) => {
            stream.send_reset(Reason::CANCEL);
            Ok(())
        }
    }
}

/// Sends as much as the client's window takes, as it opens.
async fn send_body(mut body: Bytes, stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(capacity) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Ok(());
        };
        let part = body.split_to(capacity?.min(body.len()));
        stream.send_data(part, body.is_empty())?;
    }
    Ok(())
}
