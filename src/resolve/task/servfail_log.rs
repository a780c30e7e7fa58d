//! One line per question that came to nothing (`log.servfail`).
//!
//! Why: clients report SERVFAIL hours later, without the extended error that they were sent. With this switch the reason stands in
//! the log at the time it happened. A failure is logged when it is found out, not each time it is repeated from memory, and no
//! more than [`LINES_PER_S_MAX`] in a second: an outage must not fill the disk. What was left out is counted in the next line.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Shared;
use crate::dns::{Ede, Question};

/// Lines in one second.
const LINES_PER_S_MAX: u32 = 20;

/// The switch, and what was logged in the present second.
#[derive(Default)]
pub(super) struct ServfailLog {
    on: AtomicBool,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    second: u64,
    lines: u32,
    left_out: u64,
}

impl ServfailLog {
    /// A log that is switched on or not.
    pub fn new(on: bool) -> ServfailLog {
        ServfailLog {
            on: AtomicBool::new(on),
            ..ServfailLog::default()
        }
    }

    /// Switches it.
    pub fn set(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    /// Whether it is switched on.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Whether there is room for a line in this second; with it, how many had none since the last one.
    pub fn claim(&self, second: u64) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.second != second {
            (window.second, window.lines) = (second, 0);
        }
        if window.lines >= LINES_PER_S_MAX {
            window.left_out += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

impl Shared {
    /// Says why a question has no answer.
    pub(super) fn log_servfail(&self, question: &Question, errors: &[Ede]) {
        if !self.log.is_on() {
            return;
        }
        let Some(left_out) = self.log.claim(self.clock.now().mono.as_secs()) else {
            return;
        };
        let why: Vec<String> = errors.iter().map(ToString::to_string).collect();
        tracing::info!(%question, why = why.join("; "), left_out, "SERVFAIL");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_per_second_and_those_left_out_are_counted() {
        let log = ServfailLog::default();
        let logged = (0..50).filter(|_| log.claim(7) == Some(0)).count();
        assert_eq!(logged, LINES_PER_S_MAX as usize);
        assert_eq!((log.claim(8), log.claim(8)), (Some(30), Some(0)));
    }
}
