//! How many lines of one kind the log takes in a second.
//!
//! Why: what strangers or outages bring about must be told, and must not fill a disk. What was left out is counted, and told with
//! the next line. A leaf.

use std::sync::{Mutex, PoisonError};

/// The lines of one kind.
#[derive(Debug)]
pub struct Lines {
    per_s: u32,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    second: u64,
    lines: u32,
    left_out: u64,
}

impl Lines {
    /// At most `per_s` lines in a second.
    pub fn new(per_s: u32) -> Lines {
        Lines {
            per_s,
            window: Mutex::default(),
        }
    }

    /// Whether there is room for a line in this second (of any clock that goes forward); with it, how many had none since the
    /// last one.
    pub fn claim(&self, second: u64) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.second != second {
            (window.second, window.lines) = (second, 0);
        }
        if window.lines >= self.per_s {
            window.left_out += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_per_second_and_those_left_out_are_counted() {
        let lines = Lines::new(20);
        assert_eq!((0..50).filter(|_| lines.claim(7) == Some(0)).count(), 20);
        assert_eq!((lines.claim(8), lines.claim(8)), (Some(30), Some(0)));
    }
}
