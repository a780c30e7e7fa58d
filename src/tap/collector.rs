//! The thread that writes dnstap to a collector's socket, and finds the collector again when it was gone.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::frames::{Control, data_head};
use super::queue::{Inbox, LOOK_INTERVAL};
use crate::metrics::Metrics;

/// A collector that takes nothing for so long is left.
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);
/// And one that does not say what it takes.
const READ_TIME_MAX: Duration = Duration::from_secs(5);
/// First and longest pause before another try; each is twice the one before.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Octets that are written at a time where more waits than that.
const CHUNK_LEN: usize = 64 << 10;

/// Writes what comes in to the collector that listens on `socket`, until it is told to stop.
pub(super) fn run(socket: &Path, inbox: &Inbox<Vec<u8>>, stop: &AtomicBool, metrics: &Metrics) {
    let shown = socket.display();
    let mut pause = RETRY_MIN;
    let mut told = String::new();
    while !stop.load(Ordering::Relaxed) {
        match connect(socket) {
            Ok(mut stream) => {
                tracing::info!(socket = %shown, "dnstap: the collector takes what is sent");
                metrics.dnstap_connected.set(1);
                let fed = feed(&mut stream, inbox, stop, metrics);
                metrics.dnstap_connected.set(0);
                let Err(error) = fed else {
                    return;
                };
                tracing::warn!(socket = %shown, %error, "dnstap: the collector is gone; looking for it again");
                (pause, told) = (RETRY_MIN, String::new());
            }
            Err(error) => {
                metrics.dnstap_failures_total.inc();
                let error = error.to_string();
                if error != told {
                    tracing::warn!(socket = %shown, error, "dnstap: no collector; trying again and again");
                    told = error;
                }
            }
        }
        let mut waited = Duration::ZERO;
        while waited < pause && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK_INTERVAL);
            waited += LOOK_INTERVAL;
        }
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// Connects and agrees that dnstap is to come.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(WRITE_TIME_MAX))?;
    stream.set_read_timeout(Some(READ_TIME_MAX))?;
    stream.write_all(&Control::Ready.frame())?;
    match Control::read(&mut stream)? {
        Control::Accept => {}
        other => {
            let why = format!("the collector says {other:?} instead of Accept");
            return Err(io::Error::other(why));
        }
    }
    stream.write_all(&Control::Start.frame())?;
    Ok(stream)
}

/// Writes frames until it is told to stop; an error means that the collector is of no use any more.
fn feed(
    stream: &mut UnixStream,
    inbox: &Inbox<Vec<u8>>,
    stop: &AtomicBool,
    metrics: &Metrics,
) -> io::Result<()> {
    let mut chunk = Vec::new();
    let mut frames = 0;
    loop {
        let full = chunk.len() >= CHUNK_LEN;
        let frame = inbox.ready();
        if full || frame.is_none() {
            if let Err(error) = stream.write_all(&chunk) {
                // How much of it has arrived nobody knows.
                metrics.dnstap_dropped_total.add(frames);
                return Err(error);
            }
            metrics.dnstap_frames_total.add(frames);
            chunk.clear();
            frames = 0;
        }
        let frame = match frame {
            Some(frame) => frame,
            None if stop.load(Ordering::Relaxed) => break,
            None => match inbox.next() {
                Some(frame) => frame,
                None => continue,
            },
        };
        if let Some(head) = data_head(frame.len()) {
            chunk.extend_from_slice(&head);
            chunk.extend_from_slice(&frame);
            frames += 1;
        }
    }
    stream.write_all(&Control::Stop.frame())?;
    // He has read everything; whatever else he says changes nothing any more.
    let _ = Control::read(stream);
    Ok(())
}
