//! How a mirror's sources fare, and in which order they are tried. Pure.
//!
//! The order of the configuration is the order of preference. A source that failed waits, longer with each failure in a row, and
//! is meanwhile tried only when those that are well brought nothing: so that a dead one costs no refresh its time, and is still
//! not forgotten when all are dead. The source that has just sent a NOTIFY comes first: the others may not have the news yet.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::clock::format_utc;
use crate::config::Source;

/// Wait after a first failure, in seconds; doubled with each further one.
const WAIT_MIN_S: u64 = 30;
/// Longest wait, in seconds.
const WAIT_MAX_S: u64 = 3600;

/// What is known of one source. Times in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    ok_at: Option<u64>,
    /// The last failure, until it works again.
    error: Option<String>,
    error_at: Option<u64>,
    /// Failures in a row.
    failures: u32,
    next_at: Option<u64>,
    expire_s: Option<u32>,
    /// Why its last answer was the whole zone, where changes were asked for.
    no_changes: Option<String>,
}

impl Health {
    /// It confirmed a version or brought one.
    pub fn worked(&mut self, now_s: u64) {
        *self = Health {
            ok_at: Some(now_s),
            error: None,
            failures: 0,
            next_at: None,
            ..std::mem::take(self)
        };
    }

    /// It did not.
    pub fn failed(&mut self, error: String, now_s: u64) {
        let wait = WAIT_MIN_S << self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        self.error = Some(error);
        self.error_at = Some(now_s);
        self.next_at = Some(now_s + wait.min(WAIT_MAX_S));
    }

    /// It said how long its copy is good for (RFC 7314).
    pub fn set_expire(&mut self, expire_s: Option<u32>) {
        self.expire_s = expire_s.or(self.expire_s);
    }

    /// Notes why no changes could be had; whether that is news.
    pub fn set_no_changes(&mut self, why: Option<String>) -> bool {
        let news = why.is_some() && why != self.no_changes;
        self.no_changes = why;
        news
    }

    fn waits(&self, now_s: u64) -> bool {
        self.next_at.is_some_and(|at| now_s < at)
    }

    /// What people and scripts are told.
    pub fn status(&self, source: &Source) -> SourceStatus {
        SourceStatus {
            source: source.to_string(),
            last_ok: self.ok_at.map(format_utc),
            last_error: self.error.clone(),
            last_error_at: self.error_at.map(format_utc),
            failures: self.failures,
            next_try: self.next_at.map(format_utc),
            expire_s: self.expire_s,
            no_changes: self.no_changes.clone(),
        }
    }
}

/// One source, for `status`. Times are RFC 3339 text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// As it is written in the configuration.
    pub source: String,
    /// When it last confirmed a version or brought one.
    pub last_ok: Option<String>,
    /// What it failed with, until it works again.
    pub last_error: Option<String>,
    /// When it last failed.
    pub last_error_at: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// Until then the others are tried before it.
    pub next_try: Option<String>,
    /// How long its own copy is good for, in seconds, as it last said (RFC 7314).
    pub expire_s: Option<u32>,
    /// Why its last answer was the whole zone, where changes were asked for.
    pub no_changes: Option<String>,
}

/// The order in which sources are tried: positions in the list.
pub fn order(sources: &[(Source, Health)], notified_by: Option<IpAddr>, now_s: u64) -> Vec<usize> {
    let rank = |i: &usize| match &sources[*i] {
        (source, _) if notified_by.is_some() && address(source) == notified_by => 0,
        (_, health) if health.waits(now_s) => 2,
        _ => 1,
    };
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(rank);
    order
}

/// The address of a network source.
pub fn address(source: &Source) -> Option<IpAddr> {
    match source {
        Source::Axfr { addr, .. } => Some(addr.ip().to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(count: u8) -> Vec<(Source, Health)> {
        let source = |n| Source::Axfr {
            addr: ([192, 0, 2, n], 53).into(),
            tsig: None,
            tls: None,
        };
        (0..count).map(|n| (source(n), Health::default())).collect()
    }

    #[test]
    fn sources_that_failed_wait_behind_the_others() {
        let mut list = sources(3);
        assert_eq!(order(&list, None, 0), [0, 1, 2]);
        list[0].1.failed("silent".into(), 100);
        assert_eq!(order(&list, None, 129), [1, 2, 0]);
        assert_eq!(order(&list, None, 130), [0, 1, 2]);
        for (i, wait) in [(1, 60), (2, 120), (3, 240), (7, 3600), (30, 3600)] {
            list[0].1.failures = i;
            list[0].1.failed("silent".into(), 1000);
            assert_eq!(order(&list, None, 999 + wait), [1, 2, 0], "{i}");
            assert_eq!(order(&list, None, 1000 + wait), [0, 1, 2], "{i}");
        }
        // When all have failed, all are tried, in order of preference.
        list[1].1.failed("silent".into(), 1000);
        list[2].1.failed("silent".into(), 1000);
        assert_eq!(order(&list, None, 1001), [0, 1, 2]);
        list[2].1.worked(1002);
        assert_eq!(order(&list, None, 1003), [2, 0, 1]);
        let status = list[2].1.status(&list[2].0);
        assert_eq!((status.failures, status.last_error), (0, None));
        assert!(status.last_ok.is_some() && status.last_error_at.is_some());
    }

    #[test]
    fn who_sent_a_notify_is_asked_first() {
        let mut list = sources(3);
        list[2].1.failed("silent".into(), 100);
        let by = Some(IpAddr::from([192, 0, 2, 2]));
        assert_eq!(order(&list, by, 101), [2, 0, 1]);
        let stranger = Some(IpAddr::from([192, 0, 2, 99]));
        assert_eq!(order(&list, stranger, 101), [0, 1, 2]);
    }

    #[test]
    fn what_a_source_lacks_is_told_once() {
        let mut health = Health::default();
        assert!(health.set_no_changes(Some("NOTIMP".into())));
        assert!(!health.set_no_changes(Some("NOTIMP".into())));
        assert!(!health.set_no_changes(None));
        assert!(health.set_no_changes(Some("NOTIMP".into())));
        health.set_expire(Some(7));
        health.set_expire(None);
        assert_eq!(health.expire_s, Some(7));
    }
}
