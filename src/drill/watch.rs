//! When a drill is to be given up: pure.
//!
//! Why: a drill hurts clients on purpose, within bounds. The share of their questions that come to nothing is looked at in a sliding
//! window and compared with what it was before.
//!
//! Model: counters are read once a second. The share before is that of the last [`BEFORE_S`] seconds before the drill, at least; a drill
//! is given up when the share of the last [`WINDOW_S`] seconds exceeds it by more than the bound, with at least [`QUESTIONS_MIN`]
//! questions in the window.

use std::collections::VecDeque;

/// The sliding window, seconds.
pub const WINDOW_S: usize = 15;
/// What is looked at from before the drill, seconds.
pub const BEFORE_S: usize = 300;
/// Fewer questions say nothing.
pub const QUESTIONS_MIN: u64 = 20;

/// The counters of the last seconds.
#[derive(Debug, Default)]
pub struct Watch {
    /// Asked and failed, as counted since the start, oldest first.
    samples: VecDeque<(u64, u64)>,
}

impl Watch {
    /// Takes the counters of this second.
    pub fn tick(&mut self, asked: u64, failed: u64) {
        if self.samples.len() > BEFORE_S {
            self.samples.pop_front();
        }
        self.samples.push_back((asked, failed));
    }

    /// Asked and failed within the last seconds.
    pub fn within(&self, seconds: usize) -> (u64, u64) {
        let Some(last) = self.samples.back() else {
            return (0, 0);
        };
        let from = self.samples.len().saturating_sub(seconds + 1);
        let first = self.samples.get(from).unwrap_or(last);
        (
            last.0.saturating_sub(first.0),
            last.1.saturating_sub(first.1),
        )
    }

    /// The share that failed in all that is known.
    pub fn share(&self) -> f64 {
        ratio(self.within(BEFORE_S))
    }

    /// The share that fails now, where that exceeds `before` by more than `bound`. Only what came since the drill began counts, which
    /// was so many seconds ago.
    pub fn exceeds(&self, before: f64, bound: f64, running_s: usize) -> Option<f64> {
        let window = self.within(WINDOW_S.min(running_s));
        let share = ratio(window);
        (window.0 >= QUESTIONS_MIN && share > before + bound).then_some(share)
    }
}

fn ratio((asked, failed): (u64, u64)) -> f64 {
    match asked {
        0 => 0.0,
        _ => failed as f64 / asked as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_is_given_up_for_what_it_does_and_not_for_what_was_before() {
        let mut watch = Watch::default();
        let (mut asked, mut failed) = (0, 0);
        let mut second = |watch: &mut Watch, a, f| {
            asked += a;
            failed += f;
            watch.tick(asked, failed);
        };
        for _ in 0..600 {
            second(&mut watch, 100, 10);
        }
        let before = watch.share();
        assert!((before - 0.1).abs() < 1e-9);
        for s in 1..5 {
            second(&mut watch, 100, 14);
            assert_eq!(watch.exceeds(before, 0.05, s), None);
        }
        second(&mut watch, 100, 40);
        assert!(
            watch
                .exceeds(before, 0.05, 5)
                .is_some_and(|share| share > 0.15)
        );
        assert_eq!(watch.exceeds(before, 0.5, 5), None);
        // A handful of questions proves nothing.
        let mut quiet = Watch::default();
        quiet.tick(0, 0);
        quiet.tick(QUESTIONS_MIN - 1, QUESTIONS_MIN - 1);
        assert_eq!(quiet.exceeds(0.0, 0.05, 1), None);
        quiet.tick(QUESTIONS_MIN, QUESTIONS_MIN);
        assert_eq!(quiet.exceeds(0.0, 0.05, 2), Some(1.0));
    }
}
