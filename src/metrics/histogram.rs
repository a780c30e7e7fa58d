//! How long things took, in buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in milliseconds; one more bucket is for all that took longer.
pub const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

/// Times counted without locks.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.partition_point(|bound| bound * 1000 < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn times(&self) -> Times {
        let mut counts = [0; BOUNDS_MS.len() + 1];
        for (count, bucket) in counts.iter_mut().zip(&self.buckets) {
            *count = bucket.load(Ordering::Relaxed);
        }
        Times {
            counts,
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

/// The state of a [`Histogram`], or what came to one between two of its states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// For each of [`BOUNDS_MS`] what took at most that long and longer than the one before; the last is for the rest.
    pub counts: [u64; BOUNDS_MS.len() + 1],
    /// All times together in microseconds.
    pub sum_us: u64,
}

impl Times {
    /// What came since `before`.
    pub fn since(&self, before: &Times) -> Times {
        let mut since = *self;
        for (count, before) in since.counts.iter_mut().zip(before.counts) {
            *count = count.saturating_sub(before);
        }
        since.sum_us = since.sum_us.saturating_sub(before.sum_us);
        since
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// A bound in milliseconds that `permille` of a thousand keep; `None` if there are none, or if it is above the last one.
    pub fn within_ms(&self, permille: u64) -> Option<u64> {
        let wanted = (u128::from(self.count()) * u128::from(permille)).div_ceil(1000);
        let mut sum = 0;
        let reached = |(_, count): &(&u64, &u64)| {
            sum += u128::from(**count);
            sum >= wanted
        };
        let mut rows = BOUNDS_MS.iter().zip(&self.counts);
        (wanted > 0)
            .then(|| rows.find(reached).map(|(bound, _)| *bound))
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_buckets() {
        let histogram = Histogram::default();
        let before = histogram.times();
        assert_eq!(before.within_ms(500), None);
        for us in [0, 1000, 1001, 5_000_000, 5_000_001] {
            histogram.observe(Duration::from_micros(us));
        }
        let times = histogram.times();
        let expected = [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
        assert_eq!((times.counts, times.count()), (expected, 5));
        assert_eq!(times.sum_us, 10_002_002);
        assert_eq!(times.within_ms(400), Some(1));
        assert_eq!(times.within_ms(500), Some(2));
        assert_eq!(times.within_ms(800), Some(5000));
        assert_eq!(times.within_ms(1000), None);
        histogram.observe(Duration::from_millis(3));
        let since = histogram.times().since(&times);
        assert_eq!((since.count(), since.within_ms(1000)), (1, Some(5)));
    }
}
