//! The one clock.
//!
//! Everything that needs the time gets a [`Now`] handed in, or holds a [`Clock`] and asks it. The
//! monotonic part drives timers and TTLs and follows tokio's time, so a test under paused tokio time
//! moves the whole program at once; the wall part is for signatures, ages and the disk. The wall runs
//! along the monotonic part from a base that is set at start and may be set anew (the system clock was
//! stepped, or `lab.clock_file` was replaced). A floor bounds it from below (`floor`): who follows the system's
//! clock does so by [`Clock::follow`].

pub mod floor;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
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
    bounds: Arc<Bounds>,
}

/// What is known about the time besides what the system says; seconds since 1970, 0 = nothing.
#[derive(Default)]
struct Bounds {
    floor_s: AtomicU64,
    /// Newest inception of a signature that was fully validated.
    proven_s: AtomicU64,
    /// The system stands before the floor.
    holding: AtomicBool,
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
            bounds: Arc::default(),
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

    /// The wall part, finer than a second: time since 1970, for records of what happened when.
    pub fn wall(&self) -> Duration {
        let base_ms = self.base_ms.load(Ordering::Relaxed);
        let base = Duration::from_millis(base_ms.unsigned_abs());
        let mono = self.now().mono;
        match base_ms >= 0 {
            true => mono + base,
            false => mono.saturating_sub(base),
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

    /// Follows the system's clock, as far as the floor allows. Returns by how many seconds the clock was set.
    pub fn follow(&self, system: Duration, drift_min_s: u64) -> u64 {
        let running_s = self.now().wall_s;
        let floor_s = self.bounds.floor_s.load(Ordering::Relaxed);
        let judged = floor::judge(system.as_secs(), running_s, floor_s);
        let target = match judged {
            floor::Judgement::Follow => system,
            floor::Judgement::Hold(wall_s) => Duration::from_secs(wall_s),
        };
        let holding = judged != floor::Judgement::Follow;
        self.bounds.holding.store(holding, Ordering::Relaxed);
        let drift_s = running_s.abs_diff(target.as_secs());
        if drift_s < drift_min_s {
            return 0;
        }
        self.set_wall(target);
        drift_s
    }

    /// Raises the floor to `floor_s` (seconds since 1970); a clock that stands well before it is set to it. Returns
    /// whether it was.
    pub fn raise_floor(&self, floor_s: u64) -> bool {
        let floor_s = self
            .bounds
            .floor_s
            .fetch_max(floor_s, Ordering::Relaxed)
            .max(floor_s);
        let running_s = self.now().wall_s;
        match floor::judge(running_s, running_s, floor_s) {
            floor::Judgement::Follow => false,
            floor::Judgement::Hold(wall_s) => {
                self.bounds.holding.store(true, Ordering::Relaxed);
                self.set_wall(Duration::from_secs(wall_s));
                true
            }
        }
    }

    /// Forgets the floor and what it rests on. The clock runs on; [`Clock::follow`] brings it back.
    pub fn clear_floor(&self) {
        self.bounds.floor_s.store(0, Ordering::Relaxed);
        self.bounds.proven_s.store(0, Ordering::Relaxed);
        self.bounds.holding.store(false, Ordering::Relaxed);
    }

    /// The floor, seconds since 1970, if there is one.
    pub fn floor_s(&self) -> Option<u64> {
        Some(self.bounds.floor_s.load(Ordering::Relaxed)).filter(|s| *s > 0)
    }

    /// Whether the floor is in force: the system's clock stands before it.
    pub fn is_held(&self) -> bool {
        self.bounds.holding.load(Ordering::Relaxed)
    }

    /// Notes the inception of a fully validated signature, seconds since 1970: the time is not before it.
    pub fn note_proven(&self, inception_s: u64) {
        self.bounds
            .proven_s
            .fetch_max(inception_s, Ordering::Relaxed);
    }

    /// The newest such inception.
    pub fn proven_s(&self) -> Option<u64> {
        Some(self.bounds.proven_s.load(Ordering::Relaxed)).filter(|s| *s > 0)
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
    i64::try_from(wall_s)
        .ok()
        .and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok())
        .and_then(|t| {
            t.format(&time::format_description::well_known::Rfc3339)
                .ok()
        })
        .unwrap_or_else(|| format!("@{wall_s}"))
}

/// The end of the year 9999, in seconds since 1970: later times have no text and would overflow in milliseconds.
pub const WALL_MAX_S: u64 = 253_402_300_799;

/// Seconds since 1970 for `@2018-11-30 12:19:06`, its forms without `@` or with `T` and `Z`, or a bare number of seconds.
pub fn parse_utc(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_prefix('@').unwrap_or(text);
    let wall_s = match text.parse() {
        Ok(seconds) => seconds,
        Err(_) => {
            let text = text.trim_end_matches('Z').replacen(' ', "T", 1);
            let form = &time::format_description::well_known::Rfc3339;
            let moment = time::OffsetDateTime::parse(&format!("{text}Z"), form).ok()?;
            u64::try_from(moment.unix_timestamp()).ok()?
        }
    };
    (wall_s <= WALL_MAX_S).then_some(wall_s)
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
        assert_eq!(format_utc(u64::MAX), "@18446744073709551615");
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_in_1970_runs_from_its_floor_until_the_system_is_set() {
        let clock = Clock::starting_at(Duration::from_secs(10));
        assert!(clock.raise_floor(1_000_000));
        assert!(!clock.raise_floor(900_000));
        assert_eq!((clock.now().wall_s, clock.is_held()), (1_000_000, true));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.follow(Duration::from_secs(70), 2), 0);
        assert_eq!((clock.now().wall_s, clock.is_held()), (1_000_060, true));
        assert_eq!(clock.follow(Duration::from_secs(1_500_000), 2), 499_940);
        assert_eq!((clock.now().wall_s, clock.is_held()), (1_500_000, false));
        // Back before the floor: held where it is. Without the floor: followed.
        clock.follow(Duration::from_secs(10), 2);
        assert_eq!((clock.now().wall_s, clock.is_held()), (1_500_000, true));
        clock.clear_floor();
        clock.follow(Duration::from_secs(10), 2);
        assert_eq!((clock.now().wall_s, clock.is_held()), (10, false));
    }

    #[test]
    fn both_forms_are_read() {
        let check = |text, expected| assert_eq!(parse_utc(text), expected, "{text}");
        check("@2018-11-30 12:19:06\n", Some(1_543_580_346));
        check("1543580346", Some(1_543_580_346));
        check("@1543580346", Some(1_543_580_346));
        check("@0", Some(0));
        check("", None);
        check("yesterday", None);
        check("@2018-13-30 12:19:06", None);
        check("-5", None);
        check("@9999-12-31 23:59:59", Some(WALL_MAX_S));
        check("@253402300800", None);
        check("@18446744073709551615", None);
    }
}
