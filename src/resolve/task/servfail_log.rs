//! One line per question that came to nothing (`log.servfail`).
//!
//! Why: clients report SERVFAIL hours later, without the extended error that they were sent. With this switch the reason stands in
//! the log at the time it happened. A failure is logged when it is found out, not each time it is repeated from memory, and no
//! more than [`LINES_PER_S_MAX`] in a second: an outage must not fill the disk. What was left out is counted in the next line.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Shared;
use crate::dns::{Ede, Question};
use crate::lines::Lines;

/// Lines in one second.
const LINES_PER_S_MAX: u32 = 20;

/// The switch, and what was logged in the present second.
pub(super) struct ServfailLog {
    on: AtomicBool,
    lines: Lines,
}

impl ServfailLog {
    /// A log that is switched on or not.
    pub fn new(on: bool) -> ServfailLog {
        ServfailLog {
            on: AtomicBool::new(on),
            lines: Lines::new(LINES_PER_S_MAX),
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
}

impl Shared {
    /// Says why a question has no answer.
    pub(super) fn log_servfail(&self, question: &Question, errors: &[Ede]) {
        if !self.log.is_on() {
            return;
        }
        let Some(left_out) = self.log.lines.claim(self.clock.now().mono.as_secs()) else {
            return;
        };
        let why: Vec<String> = errors.iter().map(ToString::to_string).collect();
        tracing::info!(%question, why = why.join("; "), left_out, "SERVFAIL");
    }
}
