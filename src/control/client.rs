//! The other end of the control socket: `holdfast status` and its siblings.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::api::{Request, Response};

/// An answer longer than this is not read, in octets.
const RESPONSE_LEN_MAX_BYTES: u64 = 64 << 20;
/// How long a server may take for one request, in seconds.
const RESPONSE_TIMEOUT_S: u64 = 120;
/// How long it may take to read and verify a whole zone, in seconds.
const RESPONSE_TIMEOUT_ZONE_S: u64 = 6 * 3600;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error(
        "no holdfast answers at {path} ({error}); is `holdfast run` up with this configuration?"
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The socket may not be opened.
    #[error(
        "{0} may be opened only by the user that holdfast runs as; try as that user or as root"
    )]
    NotAllowed(PathBuf),
    /// The conversation broke off.
    #[error("the server at {path} broke off: {error}")]
    BrokeOff {
        /// The socket.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// The server says no.
    #[error("{0}")]
    Refused(String),
}

/// Octets of a file that are sent at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Sends one request and waits for its answer.
///
/// # Errors
/// No server is there, the conversation broke off, or the server says no.
pub async fn ask(path: &Path, request: &Request) -> Result<Value, AskError> {
    ask_with(path, request, None).await
}

/// As [`ask`], with the file whose octets the request announces.
///
/// # Errors
/// As [`ask`].
pub async fn hand_over(path: &Path, request: &Request, file: File) -> Result<Value, AskError> {
    ask_with(path, request, Some(file)).await
}

async fn ask_with(path: &Path, request: &Request, file: Option<File>) -> Result<Value, AskError> {
    let stream = UnixStream::connect(path)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => AskError::NotAllowed(path.to_owned()),
            _ => AskError::NotRunning {
                path: path.to_owned(),
                error,
            },
        })?;
    let limit = Duration::from_secs(match request {
        Request::MirrorImport { .. } | Request::MirrorRefresh { .. } => RESPONSE_TIMEOUT_ZONE_S,
        _ => RESPONSE_TIMEOUT_S,
    });
    let response = match timeout(limit, converse(stream, request, file)).await {
        Ok(response) => response,
        Err(late) => Err(late.into()),
    };
    match response {
        Ok(Response::Ok(value)) => Ok(value),
        Ok(Response::Error(why)) => Err(AskError::Refused(why)),
        Err(error) => Err(AskError::BrokeOff {
            path: path.to_owned(),
            error,
        }),
    }
}

async fn converse(
    mut stream: UnixStream,
    request: &Request,
    file: Option<File>,
) -> io::Result<Response> {
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    stream.write_all(&text).await?;
    if let Some(file) = file {
        let octets = tokio::fs::File::from_std(file).take(request.body_octets());
        let mut octets = BufReader::with_capacity(PIECE_BYTES, octets);
        tokio::io::copy_buf(&mut octets, &mut stream).await?;
        // Of a file that was cut short meanwhile the server sees the end.
        stream.shutdown().await?;
    }
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream).take(RESPONSE_LEN_MAX_BYTES);
    reader.read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}
