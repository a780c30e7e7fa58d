//! What differs from seed to seed in when things happen: nothing in the steady run.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Draws moments; `None` in the steady run.
pub struct Luck(Option<SmallRng>);

impl Luck {
    /// That of a run; seed 0 is the steady one.
    pub fn of(seed: u64) -> Luck {
        Luck((seed > 0).then(|| SmallRng::seed_from_u64(seed)))
    }

    /// One for somebody who draws beside this one.
    pub fn another(&mut self) -> Luck {
        Luck(
            self.0
                .as_mut()
                .map(|rng| SmallRng::seed_from_u64(rng.random())),
        )
    }

    /// Whether nothing differs.
    pub fn is_steady(&self) -> bool {
        self.0.is_none()
    }

    /// How much later than planned something happens, less than `most`.
    pub fn late(&mut self, most: Duration) -> Duration {
        let drawn = self
            .0
            .as_mut()
            .map(|rng| most.mul_f64(rng.random_range(0.0..1.0)));
        drawn.unwrap_or_default()
    }
}
