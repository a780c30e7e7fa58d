//! The thread that writes the query log: to stderr, or to a file that is put aside when it is full, so that two of them are there at most.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::line::Event;
use super::queue::Inbox;
use crate::config::{LogFormat, QueryLog};
use crate::metrics::Metrics;

/// Octets that are written at a time where more waits than that.
const CHUNK_LEN: usize = 64 << 10;
/// Who asks what is nobody's business: readable for the server's user and group.
const MODE: u32 = 0o640;

/// Writes lines until it is told to stop.
pub(super) fn run(
    to: QueryLog,
    bytes_max: u64,
    format: LogFormat,
    inbox: &Inbox<Event>,
    stop: &AtomicBool,
    metrics: &Metrics,
) {
    let mut sink = match to {
        QueryLog::Stderr => Sink::Stderr,
        QueryLog::File(path) => Sink::File(Rotated::new(path, bytes_max)),
    };
    let mut is_failing = false;
    let mut chunk = String::new();
    let mut lines = 0;
    loop {
        let event = inbox.ready();
        if !chunk.is_empty() && (event.is_none() || chunk.len() >= CHUNK_LEN) {
            let written = sink.write(chunk.as_bytes());
            match &written {
                Ok(()) => metrics.query_log_lines_total.add(lines),
                Err(_) => metrics.query_log_dropped_total.add(lines),
            }
            match (&written, is_failing) {
                (Err(error), false) => {
                    tracing::error!(%error, "the query log cannot be written; lines are dropped until it can");
                }
                (Ok(()), true) => tracing::info!("the query log is written again"),
                _ => {}
            }
            is_failing = written.is_err();
            chunk.clear();
            lines = 0;
        }
        let event = match event {
            Some(event) => event,
            None if stop.load(Ordering::Relaxed) => return,
            None => match inbox.next() {
                Some(event) => event,
                None => continue,
            },
        };
        event.write(format, &mut chunk);
        lines += 1;
    }
}

enum Sink {
    Stderr,
    File(Rotated),
}

impl Sink {
    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        match self {
            Sink::Stderr => io::stderr().lock().write_all(octets),
            Sink::File(file) => file.write(octets),
        }
    }
}

/// A file that grows to a limit; then it becomes `NAME.1` in the place of the one before, and a new one is begun.
pub(super) struct Rotated {
    path: PathBuf,
    bytes_max: u64,
    /// The open file and its length.
    current: Option<(File, u64)>,
}

impl Rotated {
    pub(super) fn new(path: PathBuf, bytes_max: u64) -> Rotated {
        Rotated {
            path,
            bytes_max,
            current: None,
        }
    }

    /// Appends to the file, or to a new one where they would not fit.
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        let len = octets.len() as u64;
        let (mut file, at) = match self.current.take() {
            Some(open) => open,
            None => open(&self.path)?,
        };
        let is_full = at > 0 && at.saturating_add(len) > self.bytes_max;
        let at = match is_full {
            true => {
                std::fs::rename(&self.path, aside(&self.path))?;
                let (new, at) = open(&self.path)?;
                file = new;
                at
            }
            false => at,
        };
        // After an error it is opened anew, where its length shows.
        file.write_all(octets)?;
        self.current = Some((file, at + len));
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).mode(MODE).open(path)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_the_one_before_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queries.log");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let mut log = Rotated::new(path.clone(), 10);
        let mut check = |line: &str, now: &str, before: &str| {
            log.write(line.as_bytes()).unwrap();
            assert_eq!((&*read(&path), &*read(&aside(&path))), (now, before));
        };
        check("one\n", "one\n", "");
        check("two\n", "one\ntwo\n", "");
        check("three\n", "three\n", "one\ntwo\n");
        check("longer than all\n", "longer than all\n", "three\n");
        check("four\n", "four\n", "longer than all\n");
        drop(log);
        // A restart goes on with what is there.
        let mut log = Rotated::new(path.clone(), 10);
        log.write(b"five\n").unwrap();
        assert_eq!(read(&path), "four\nfive\n");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_is_an_error_each_time_and_mends_itself() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("not-yet");
        let mut log = Rotated::new(place.join("queries.log"), 10);
        assert!(log.write(b"lost\n").is_err() && log.write(b"lost\n").is_err());
        std::fs::create_dir(&place).unwrap();
        log.write(b"kept\n").unwrap();
        assert_eq!(std::fs::read(place.join("queries.log")).unwrap(), b"kept\n");
    }
}
