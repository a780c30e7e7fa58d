//! What became of the questions, in numbers.

use std::fmt::Write as _;

/// Delays below this are counted by the microsecond, above in steps of a 64th of their size.
const EXACT_US: u32 = 128;
const STEPS: u32 = 64;
const EXAMPLES_MAX: usize = 5;

#[derive(Default)]
pub struct Tally {
    pub sent: u64,
    pub answered: u64,
    /// No answer within the time for one.
    pub lost: u64,
    /// Not what was to be answered.
    pub wrong: u64,
    /// Answers to nothing that is outstanding.
    pub stray: u64,
    /// The kernel did not take it.
    pub unsent: u64,
    /// What the generator was too late for, in open loop.
    pub put_off: u64,
    pub octets: u64,
    /// Answers of which the question and the number of records were looked at, too.
    pub looked_at: u64,
    examples: Vec<String>,
    delays: Delays,
}

impl Tally {
    pub fn delay(&mut self, us: u32) {
        let at = Delays::place(us);
        if self.delays.0.len() <= at {
            self.delays.0.resize(at + 1, 0);
        }
        self.delays.0[at] += 1;
    }

    pub fn wrong(&mut self, why: impl FnOnce() -> String) {
        self.wrong += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(why());
        }
    }

    /// One line of JSON; `in_time` of the answers came within `seconds`.
    pub fn json(&self, seconds: f64, in_time: u64) -> String {
        let mut text = format!(
            "{{\"seconds\": {seconds:.4}, \"qps\": {:.1}, \"sent\": {}, \"answered\": {}, \"lost\": {}, \"wrong\": {}, \"stray\": {}, \"unsent\": {}, \"put_off\": {}, \"looked_at\": {}, \"octets_mean\": {:.1}",
            in_time as f64 / seconds.max(1e-9),
            self.sent,
            self.answered,
            self.lost,
            self.wrong,
            self.stray,
            self.unsent,
            self.put_off,
            self.looked_at,
            self.octets as f64 / self.answered.max(1) as f64,
        );
        for (name, share) in [("p50_us", 0.5), ("p99_us", 0.99), ("max_us", 1.0)] {
            let _ = write!(text, ", \"{name}\": {}", self.delays.at(share));
        }
        let examples: Vec<_> = self.examples.iter().map(|e| format!("{e:?}")).collect();
        let _ = write!(text, ", \"examples\": [{}]}}", examples.join(", "));
        text
    }
}

#[derive(Default)]
struct Delays(Vec<u64>);

impl Delays {
    fn place(us: u32) -> usize {
        if us < EXACT_US {
            return us as usize;
        }
        let shift = us.ilog2() - STEPS.ilog2();
        (EXACT_US + (shift - 1) * STEPS + (us >> shift) - STEPS) as usize
    }

    fn of_place(place: usize) -> u64 {
        let (place, exact, steps) = (place as u64, u64::from(EXACT_US), u64::from(STEPS));
        match place.checked_sub(exact) {
            None => place,
            Some(above) => (steps + above % steps) << (above / steps + 1),
        }
    }

    /// The delay that this share of the answers does not exceed.
    fn at(&self, share: f64) -> u64 {
        let all: u64 = self.0.iter().sum();
        let mut left = (all as f64 * share).ceil() as u64;
        for (place, count) in self.0.iter().enumerate() {
            left = left.saturating_sub(*count);
            if left == 0 {
                return Delays::of_place(place);
            }
        }
        0
    }
}
