//! The one clock.
//!
//! Everything that needs the time gets a [`Now`] handed in, or holds a [`Clock`] and asks it. The
//! monotonic part drives timers and TTLs and follows tokio's time, so a test under paused tokio time
//! moves the whole program at once; the wall part is for signatures, ages and the disk. The wall runs
//! along the monotonic part from a base that is set at start and may be set anew (the system clock was
//! stepped, or `lab.clock_file` was replaced).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment, in both measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Now {
    /// Time since the clock was made; never goes back.
    pub mono: Duration,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub wall_s: u64,
}

impl Now {
    /// A moment for tests and pure callers.
    pub fn new(mono: Duration, wall_s: u64) -> Now {
        Now { mono, wall_s }
    }
}

/// The program's clock; clones are the same clock.
#[derive(Clone)]
pub struct Clock {
    start: tokio::time::Instant,
    /// Wall time at `start`, milliseconds since 1970.
    base_ms: Arc<AtomicI64>,
}

impl Clock {
    /// A clock whose wall part starts at the system's.
    pub fn system() -> Clock {
        Clock::starting_at(system_wall())
    }

    /// A clock whose wall part starts at `wall` (time since 1970).
    #[allow(clippy::disallowed_methods)]
    pub fn starting_at(wall: Duration) -> Clock {
        Clock {
            start: tokio::time::Instant::now(),
            base_ms: Arc::new(AtomicI64::new(wall.as_millis() as i64)),
        }
    }

    /// The present moment.
    #[allow(clippy::disallowed_methods)]
    pub fn now(&self) -> Now {
        let mono = tokio::time::Instant::now() - self.start;
        let wall_ms = self.base_ms.load(Ordering::Relaxed) + mono.as_millis() as i64;
        Now {
            mono,
            wall_s: (wall_ms.max(0) / 1000) as u64,
        }
    }

    /// Sets the wall part: from now on it reads `wall` and advances normally.
    pub fn set_wall(&self, wall: Duration) {
        let mono = self.now().mono;
        self.base_ms.store(
            wall.as_millis() as i64 - mono.as_millis() as i64,
            Ordering::Relaxed,
        );
    }

    /// The tokio instant at which [`Now::mono`] reads `mono`, for `sleep_until`.
    pub fn instant(&self, mono: Duration) -> tokio::time::Instant {
        self.start + mono
    }
}

/// The system's wall clock, as time since 1970; zero if it stands before that.
#[allow(clippy::disallowed_methods)]
pub fn system_wall() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// `2026-08-01T12:00:00Z` for seconds since 1970.
pub fn format_utc(wall_s: u64) -> String {
    time::OffsetDateTime::from_unix_timestamp(wall_s as i64)
        .ok()
        .and_then(|t| {
            t.format(&time::format_description::well_known::Rfc3339)
                .ok()
        })
        .unwrap_or_else(|| format!("@{wall_s}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn wall_follows_virtual_time_and_can_be_set() {
        let clock = Clock::starting_at(Duration::from_secs(1000));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), Now::new(Duration::from_secs(5), 1005));
        clock.set_wall(Duration::from_secs(50));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(clock.now(), Now::new(Duration::from_secs(6), 51));
        assert_eq!(format_utc(1_785_585_600), "2026-08-01T12:00:00Z");
    }
}
