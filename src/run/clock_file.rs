//! `lab.clock_file`: a wall clock for laboratories.
//!
//! The file holds `@2018-11-30 12:19:06` (UTC) or seconds since 1970. The wall clock reads that value when the
//! file is read and advances normally from there; the file is read again when it has been replaced.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast::clock::{Clock, format_utc, parse_utc};

/// How often the file is looked at, in seconds.
const LOOK_INTERVAL_S: u64 = 1;
/// No time is written longer, in octets.
const TEXT_LEN_MAX_BYTES: u64 = 64;

/// The file, and which version of it has been read.
pub struct ClockFile {
    path: PathBuf,
    seen: Option<Version>,
}

/// What changes when a file is replaced or rewritten.
type Version = (u64, i64, i64, u64);

impl ClockFile {
    /// Sets the clock from the file.
    ///
    /// # Errors
    /// The file cannot be read or does not hold a time.
    pub fn start(path: &Path, clock: &Clock) -> io::Result<ClockFile> {
        let mut file = ClockFile {
            path: path.to_owned(),
            seen: None,
        };
        file.look(clock)?;
        Ok(file)
    }

    /// Looks at the file again and again. A version that cannot be used is logged once and passed over.
    pub async fn follow(mut self, clock: Clock) {
        let mut failed = false;
        loop {
            tokio::time::sleep(Duration::from_secs(LOOK_INTERVAL_S)).await;
            match self.look(&clock) {
                Ok(_) => failed = false,
                Err(error) if !failed => {
                    tracing::warn!(file = %self.path.display(), %error, "clock file: keeping the clock as it is");
                    failed = true;
                }
                Err(_) => {}
            }
        }
    }

    /// Sets the clock if the file is another one than the last time.
    fn look(&mut self, clock: &Clock) -> io::Result<()> {
        let found = fs::metadata(&self.path)?;
        let version = (found.ino(), found.mtime(), found.mtime_nsec(), found.len());
        if self.seen == Some(version) {
            return Ok(());
        }
        let mut text = String::new();
        File::open(&self.path)?
            .take(TEXT_LEN_MAX_BYTES)
            .read_to_string(&mut text)?;
        let wall_s = parse_utc(&text).ok_or_else(|| {
            let message = "not a time; allowed is \"@2018-11-30 12:19:06\" or seconds since 1970";
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        clock.set_wall(Duration::from_secs(wall_s));
        self.seen = Some(version);
        tracing::warn!(file = %self.path.display(), now = format_utc(wall_s), "the wall clock follows lab.clock_file");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_replaced_file_sets_the_clock_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clock");
        fs::write(&path, "@1970-01-01 00:16:40").unwrap();
        let clock = Clock::system();
        let file = ClockFile::start(&path, &clock).unwrap();
        assert_eq!(clock.now().wall_s, 1000);
        tokio::spawn(file.follow(clock.clone()));
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(clock.now().wall_s, 1005);
        let next = directory.path().join("next");
        fs::write(&next, "5000").unwrap();
        fs::rename(&next, &path).unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!((5000..=5002).contains(&clock.now().wall_s));
        fs::remove_file(&path).unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!((5010..=5012).contains(&clock.now().wall_s));
        assert!(ClockFile::start(&path, &clock).is_err());
    }
}
