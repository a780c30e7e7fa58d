//! What the way does to the messages of a transfer.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Damage to a list of messages; positions are taken modulo what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mangle {
    /// The connection ends before this message.
    CutBefore(usize),
    /// It ends within this message.
    CutWithin(usize),
    /// This message is lost.
    Lost(usize),
    /// This message comes twice.
    Twice(usize),
    /// These messages change places.
    Swapped(usize, usize),
    /// A bit of this message is another; which, the number says.
    Flipped(usize, usize),
    /// The messages come in an order of the seed's.
    Shuffled(u64),
}

impl Mangle {
    /// Damage of the seed's.
    pub fn random(seed: u64) -> Mangle {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (a, b) = (rng.random_range(0..1000), rng.random_range(0..100_000));
        match rng.random_range(0..9) {
            0 => Mangle::CutBefore(a),
            1 => Mangle::CutWithin(a),
            2 => Mangle::Lost(a),
            3 => Mangle::Twice(a),
            4 => Mangle::Swapped(a, b),
            5 => Mangle::Shuffled(seed),
            _ => Mangle::Flipped(a, b),
        }
    }

    /// Does it. Says whether the connection goes on, and the length that the last message announces, where it is cut short.
    pub fn apply(self, messages: &mut Vec<Vec<u8>>) -> (bool, Option<usize>) {
        let count = messages.len();
        let mut announced = None;
        match self {
            Mangle::CutBefore(at) => messages.truncate(at % count),
            Mangle::CutWithin(at) => {
                messages.truncate(at % count + 1);
                if let Some(last) = messages.last_mut() {
                    announced = Some(last.len());
                    last.truncate(last.len() / 2);
                }
            }
            Mangle::Lost(at) => drop(messages.remove(at % count)),
            Mangle::Twice(at) => {
                let copy = messages[at % count].clone();
                messages.insert(at % count, copy);
            }
            Mangle::Swapped(a, b) => messages.swap(a % count, b % count),
            Mangle::Flipped(at, bit) => {
                let message = &mut messages[at % count];
                let bit = bit % (message.len() * 8);
                message[bit / 8] ^= 1 << (bit % 8);
            }
            Mangle::Shuffled(seed) => {
                let mut rng = SmallRng::seed_from_u64(seed);
                for i in (1..count).rev() {
                    messages.swap(i, rng.random_range(0..=i));
                }
            }
        }
        let cut = matches!(
            self,
            Mangle::CutBefore(_) | Mangle::CutWithin(_) | Mangle::Lost(_)
        );
        (!cut, announced)
    }
}
