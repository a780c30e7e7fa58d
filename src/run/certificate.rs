//! Says in time that the certificate of `[server.tls]` runs out.
//!
//! Why: a certificate is renewed by something else, and when that stops to work nobody notices until clients go away. So the
//! log tells it 30, 7 and 1 days before, each once, `status` and a metric always; and when one that has run out is loaded, at once.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast::clock::{Clock, format_utc};
use holdfast::control::status::{CertificateStatus, duration_words};
use holdfast::metrics::Metrics;
use holdfast::news::News;

const DAY_S: u64 = 86_400;
/// Pause between two looks, in seconds.
const LOOK_EVERY_S: u64 = 600;

/// How near the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Days30,
    Days7,
    Day1,
    Ended,
}

impl Stage {
    /// `None` while there is time enough.
    fn at(left_s: u64) -> Option<Stage> {
        match left_s {
            0 => Some(Stage::Ended),
            left_s if left_s <= DAY_S => Some(Stage::Day1),
            left_s if left_s <= 7 * DAY_S => Some(Stage::Days7),
            left_s if left_s <= 30 * DAY_S => Some(Stage::Days30),
            _ => None,
        }
    }
}

/// The certificate that is shown.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Shown {
    /// When it runs out, in seconds since 1970; `None`: there is none, or it does not say.
    ends_at: Option<u64>,
    /// What was said of it last.
    told: Option<Stage>,
}

impl Shown {
    /// What is to be said now, if it was not said before.
    fn news(&mut self, now_s: u64) -> Option<Stage> {
        let stage = Stage::at(left_s(self.ends_at?, now_s));
        // A clock that goes back takes nothing back, and says nothing twice.
        let news = stage.filter(|stage| self.told.is_none_or(|told| told < *stage));
        self.told = self.told.max(stage);
        news
    }
}

/// It is valid up to and with its last second.
fn left_s(ends_at: u64, now_s: u64) -> u64 {
    (ends_at + 1).saturating_sub(now_s)
}

/// Looks at the certificate.
pub struct CertificateWatch {
    clock: Clock,
    metrics: Arc<Metrics>,
    shown: Mutex<Shown>,
}

impl CertificateWatch {
    /// Nothing is shown yet.
    pub fn new(clock: Clock, metrics: Arc<Metrics>) -> Arc<CertificateWatch> {
        Arc::new(CertificateWatch {
            clock,
            metrics,
            shown: Mutex::default(),
        })
    }

    /// A certificate that ends at this time (seconds since 1970) is shown from now on. One that is loaded again is told of again: who
    /// reloads wants to know.
    pub fn show(&self, ends_at: Option<u64>) {
        *self.lock() = Shown {
            ends_at,
            told: None,
        };
        self.look();
    }

    /// Looks at it now and then, for as long as it is polled.
    pub async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_secs(LOOK_EVERY_S)).await;
            self.look();
        }
    }

    /// What `status` says of it; also sets the metric. `None` where there is none.
    pub fn status(&self) -> Option<CertificateStatus> {
        let ends_at = self.lock().ends_at?;
        let left_s = left_s(ends_at, self.clock.now().wall_s);
        self.metrics.tls_certificate_left_s.set(left_s);
        Some(CertificateStatus {
            expires_at: format_utc(ends_at),
            left_s,
        })
    }

    fn look(&self) {
        let news = self.lock().news(self.clock.now().wall_s);
        let (Some(stage), Some(status)) = (news, self.status()) else {
            return;
        };
        let (at, told) = (&status.expires_at, Told(status.left_s));
        let alert = News::Certificate.word();
        match stage {
            Stage::Ended | Stage::Day1 => tracing::error!(alert, at, "{told}"),
            Stage::Days7 | Stage::Days30 => tracing::warn!(alert, at, "{told}"),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the log says with so many seconds left.
struct Told(u64);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("the certificate of [server.tls] has run out: clients that check it go away; put a new one in its place and reload (SIGHUP)"),
            left_s => write!(f, "the certificate of [server.tls] runs out in {}; put a new one in its place and reload (SIGHUP)", duration_words(left_s)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_told_once() {
        let ends_at = 100 * DAY_S;
        let mut shown = Shown {
            ends_at: Some(ends_at),
            told: None,
        };
        let mut check = |now_s: u64, expected: Option<Stage>| {
            assert_eq!(shown.news(now_s), expected, "{now_s}");
            assert_eq!(shown.news(now_s), None, "{now_s}, again");
        };
        check(0, None);
        check(70 * DAY_S, None);
        check(70 * DAY_S + 1, Some(Stage::Days30));
        check(92 * DAY_S, None);
        check(94 * DAY_S, Some(Stage::Days7));
        // The clock goes back.
        check(80 * DAY_S, None);
        check(95 * DAY_S, None);
        check(99 * DAY_S + 1, Some(Stage::Day1));
        check(ends_at, None);
        check(ends_at + 1, Some(Stage::Ended));
        check(ends_at + 9, None);
        // Without a certificate there is nothing to say.
        assert_eq!(Shown::default().news(ends_at + 1), None);
        // What is past several stages is told as the last of them.
        let mut late = Shown {
            ends_at: Some(ends_at),
            told: None,
        };
        assert_eq!(late.news(ends_at + 1), Some(Stage::Ended));
    }
}
