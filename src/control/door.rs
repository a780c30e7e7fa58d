//! Taking connections of whoever looks on or gives orders: few at a time, for ever.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// Pause after a failed accept (out of file descriptors), in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 100;

/// What connections come in by.
pub(super) trait Door: Send + Sync + 'static {
    /// A connection.
    type Stream: Send + 'static;

    /// Waits for the next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Holds a conversation with each that comes, with `max` at a time; further ones wait. `what` is the door's name in the log.
pub(super) async fn serve<D: Door, C>(
    door: D,
    what: &'static str,
    max: usize,
    converse: impl Fn(D::Stream) -> C,
) where
    C: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(max));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match door.next().await {
            Ok(stream) => {
                let conversation = converse(stream);
                tokio::spawn(async move {
                    conversation.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "{what} cannot take a connection");
                sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}
