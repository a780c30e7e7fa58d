//! How often an alert of one kind about one subject goes out: pure.
//!
//! Why: what flaps must not wake somebody a hundred times, and the last word on it must come through all the same: who is told that a
//! zone is isolated and not that it is back looks for an outage that is over.
//!
//! Model: the first goes out at once, and begins an interval. Within it only what is worse than anything sent in it goes out at
//! once; of the rest the latest is held, and goes out when the interval ends, with the number of those that gave way to it. That begins the
//! next interval.

use std::collections::HashMap;
use std::time::Duration;

use super::{Alert, Severity};
use crate::news::News;

/// Kinds and subjects that are told apart at a time.
pub const SUBJECTS_MAX: usize = 4096;

/// What becomes of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It goes out, and this many gave way to it.
    Now(Alert, u64),
    /// It waits for the end of the interval; true: another one gave way to it.
    Held(bool),
    /// Too many subjects at once.
    NoRoom,
}

#[derive(Debug)]
struct Interval {
    ends: Duration,
    worst: Severity,
    held: Option<Alert>,
    left_out: u64,
}

/// The limiter.
#[derive(Debug)]
pub struct Limiter {
    interval: Duration,
    open: HashMap<(News, String), Interval>,
}

impl Limiter {
    /// At most one alert per kind and subject in so long.
    pub fn new(interval: Duration) -> Limiter {
        Limiter {
            interval,
            open: HashMap::new(),
        }
    }

    /// Takes an alert, at `now` (monotonic).
    pub fn take(&mut self, alert: Alert, now: Duration) -> Taken {
        let key = (alert.kind, alert.subject.clone());
        if let Some(open) = self.open.get_mut(&key)
            && (now < open.ends || open.held.is_some())
        {
            if alert.severity > open.worst {
                open.worst = alert.severity;
                let given_way = open.held.take().map_or(0, |_| 1);
                let left_out = std::mem::take(&mut open.left_out) + given_way;
                return Taken::Now(alert, left_out);
            }
            let gave_way = open.held.replace(alert).is_some();
            open.left_out += u64::from(gave_way);
            return Taken::Held(gave_way);
        }
        if self.open.len() >= SUBJECTS_MAX {
            self.open
                .retain(|_, open| now < open.ends || open.held.is_some());
        }
        if self.open.len() >= SUBJECTS_MAX {
            return Taken::NoRoom;
        }
        self.begin(key, alert.severity, now);
        Taken::Now(alert, 0)
    }

    /// When the next held alert is due.
    pub fn next_due(&self) -> Option<Duration> {
        let held = self.open.values().filter(|open| open.held.is_some());
        held.map(|open| open.ends).min()
    }

    /// What is due at `now`, with how many gave way to each.
    pub fn due(&mut self, now: Duration) -> Vec<(Alert, u64)> {
        let mut due = Vec::new();
        for open in self.open.values_mut().filter(|open| open.ends <= now) {
            if let Some(alert) = open.held.take() {
                due.push((alert, open.left_out));
            }
        }
        for (alert, _) in &due {
            self.begin((alert.kind, alert.subject.clone()), alert.severity, now);
        }
        due
    }

    fn begin(&mut self, key: (News, String), worst: Severity, now: Duration) {
        let open = Interval {
            ends: now + self.interval,
            worst,
            held: None,
            left_out: 0,
        };
        self.open.insert(key, open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn alert(subject: &str, severity: Severity, text: &str) -> Alert {
        Alert {
            kind: News::MirrorState,
            severity,
            subject: subject.into(),
            text: text.into(),
            details: BTreeMap::new(),
        }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_flaps_is_told_at_once_then_once_an_interval_and_at_last() {
        let mut limiter = Limiter::new(s(60));
        let mut sent = Vec::new();
        let mut lost = 0;
        // Isolated and back, every two seconds for ten minutes.
        for second in 0..700u64 {
            for (alert, left_out) in limiter.due(s(second)) {
                lost += left_out;
                sent.push((second, alert.text));
            }
            if second < 600 && second % 2 == 0 {
                let (severity, text) = match second % 4 {
                    0 => (Severity::Warning, "isolated"),
                    _ => (Severity::Info, "online"),
                };
                if let Taken::Now(alert, left_out) =
                    limiter.take(alert("ru.", severity, text), s(second))
                {
                    lost += left_out;
                    sent.push((second, alert.text));
                }
            }
        }
        // What was good news begins an interval in which bad news come at once.
        assert!(sent.len() <= 2 + 2 * 10, "{sent:?}");
        assert_eq!(sent[0], (0, "isolated".to_owned()));
        assert_eq!(sent.last().unwrap().1, "online");
        assert_eq!(sent.len() as u64 + lost, 300);
        assert_eq!(limiter.next_due(), None);
    }

    #[test]
    fn worse_news_do_not_wait_and_subjects_do_not_wait_for_each_other() {
        let mut limiter = Limiter::new(s(60));
        let mut now = |subject: &str, severity, at| {
            let taken = limiter.take(alert(subject, severity, ""), s(at));
            matches!(taken, Taken::Now(..))
        };
        assert!(now("a.", Severity::Info, 0));
        assert!(now("b.", Severity::Info, 0));
        assert!(now("a.", Severity::Warning, 3));
        assert!(!now("a.", Severity::Warning, 4));
        assert!(!now("a.", Severity::Info, 5));
        assert!(now("a.", Severity::Critical, 6));
        assert_eq!(limiter.next_due(), None);
        let mut limiter = Limiter::new(s(60));
        limiter.take(alert("a.", Severity::Info, "1"), s(0));
        for text in ["2", "3", "4"] {
            limiter.take(alert("a.", Severity::Info, text), s(1));
        }
        assert_eq!(limiter.next_due(), Some(s(60)));
        assert_eq!(limiter.due(s(59)), []);
        let due = limiter.due(s(60));
        assert_eq!((due[0].0.text.as_str(), due[0].1), ("4", 2));
    }

    #[test]
    fn subjects_are_bounded() {
        let mut limiter = Limiter::new(s(60));
        for n in 0..SUBJECTS_MAX {
            let taken = limiter.take(alert(&format!("n{n}."), Severity::Info, ""), s(0));
            assert!(matches!(taken, Taken::Now(..)));
        }
        let more = alert("more.", Severity::Critical, "");
        assert_eq!(limiter.take(more.clone(), s(1)), Taken::NoRoom);
        assert!(matches!(limiter.take(more, s(60)), Taken::Now(..)));
        assert_eq!(limiter.open.len(), 1);
    }
}
