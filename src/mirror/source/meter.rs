//! How far a version has come on its way in.
//!
//! A transfer of millions of records takes minutes, and so does its verification: an operator who looks meanwhile must
//! see that it moves. A [`Meter`] is shared by the work, which counts, and by `status`, which reads.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{BoxFuture, Connect, Stream};
use crate::mirror::verify::Pace;

/// A transfer is never said to be further than this.
const FETCHED_SHARE_MAX: f64 = 0.99;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Octets come in.
    Fetching = 0,
    /// Records are put in order.
    Building = 1,
    /// Signatures and digest are checked.
    Verifying = 2,
}

impl Stage {
    /// For people and scripts.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Fetching => "fetching",
            Stage::Building => "building",
            Stage::Verifying => "verifying",
        }
    }
}

/// Counts one version's way in.
#[derive(Debug, Default)]
pub struct Meter {
    /// Where it comes from.
    pub source: String,
    /// Since when, seconds since 1970.
    pub since_at: u64,
    /// Records of the version that is held, which the new one may have about as many of; 0 = none is held.
    pub held: u64,
    /// How far verification has come.
    pub pace: Arc<Pace>,
    bytes: AtomicU64,
    records: AtomicU64,
    stage: AtomicU8,
}

impl Meter {
    /// At the beginning; `held` records are in the version that is held.
    pub fn new(source: String, since_at: u64, held: u64) -> Meter {
        Meter {
            source,
            since_at,
            held,
            pace: Arc::default(),
            bytes: AtomicU64::new(0),
            records: AtomicU64::new(0),
            stage: AtomicU8::new(Stage::Fetching as u8),
        }
    }

    /// Octets received.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Records received; for a file the records of all of it, once it was read.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// What is being done.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Fetching,
            1 => Stage::Building,
            _ => Stage::Verifying,
        }
    }

    /// The part of the stage that is done, from 0 to 1, where it can be told.
    pub fn share(&self) -> Option<f64> {
        match self.stage() {
            // More may come than was there before: it is not done until it is.
            Stage::Fetching if self.held > 0 => {
                Some((self.records() as f64 / self.held as f64).min(FETCHED_SHARE_MAX))
            }
            Stage::Fetching | Stage::Building => None,
            Stage::Verifying => self.pace.share(),
        }
    }

    /// The next stage has begun.
    pub fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Counts a record.
    pub fn count_record(&self) {
        self.records.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the number of records.
    pub fn set_records(&self, records: u64) {
        self.records.store(records, Ordering::Relaxed);
    }
}

/// A way to servers that counts what comes from them.
pub struct MeteredConnect {
    /// The way.
    pub inner: Arc<dyn Connect>,
    /// What counts.
    pub meter: Arc<Meter>,
}

impl Connect for MeteredConnect {
    fn connect(&self, server: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            Ok(Box::new(Metered {
                inner: self.inner.connect(server).await?,
                meter: self.meter.clone(),
            }) as Box<dyn Stream>)
        })
    }
}

struct Metered {
    inner: Box<dyn Stream>,
    meter: Arc<Meter>,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        let more = (buf.filled().len() - before) as u64;
        self.meter.bytes.fetch_add(more, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct One(std::sync::Mutex<Option<tokio::io::DuplexStream>>);

    impl Connect for One {
        fn connect(&self, _server: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
            let stream = self.0.lock().unwrap().take().unwrap();
            Box::pin(async { Ok(Box::new(stream) as Box<dyn Stream>) })
        }
    }

    #[tokio::test]
    async fn what_comes_is_counted() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let meter = Arc::new(Meter::new("axfr:192.0.2.1".into(), 0, 0));
        let way = MeteredConnect {
            inner: Arc::new(One(std::sync::Mutex::new(Some(ours)))),
            meter: meter.clone(),
        };
        let mut stream = way.connect("192.0.2.1:53".parse().unwrap()).await.unwrap();
        stream.write_all(b"question").await.unwrap();
        theirs.write_all(b"an answer").await.unwrap();
        let mut answer = [0; 9];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!((&answer, meter.bytes()), (b"an answer", 9));
    }

    #[test]
    fn a_share_is_told_of_what_can_be_compared() {
        let meter = Meter::new(String::new(), 0, 200);
        meter.set_records(50);
        assert_eq!(meter.share(), Some(0.25));
        meter.set_records(1000);
        assert_eq!(meter.share(), Some(FETCHED_SHARE_MAX));
        meter.enter(Stage::Building);
        assert_eq!(meter.share(), None);
        meter.enter(Stage::Verifying);
        assert_eq!(meter.share(), None, "it has not begun");
        let first = Meter::new(String::new(), 0, 0);
        first.count_record();
        assert_eq!(first.share(), None);
    }

    #[test]
    fn stages_have_names() {
        let meter = Meter::new(String::new(), 0, 0);
        for stage in [Stage::Fetching, Stage::Building, Stage::Verifying] {
            meter.enter(stage);
            assert_eq!(meter.stage(), stage);
        }
    }
}
