//! Which blocks of an opened image have been looked at, and whether any was damaged.
//!
//! An image of millions of names must answer at once after a start, so nothing is read that nobody asked for. Each block is
//! checked when it is first touched, by whichever thread touches it, without a lock: a bit says that it is sound. A damaged
//! block never gets its bit; every touch of it is counted, and whoever reads compares the count before and after: what lies
//! between was perhaps not all there, so it is no answer. Another thread's count can make a sound read look damaged, but
//! never the other way round.

use std::sync::atomic::{AtomicU64, Ordering};

/// The state of an image's blocks.
pub struct Checks {
    /// A bit per block, set once it was found sound; `None` where this process made the image or has read all of it.
    sound: Option<Box<[AtomicU64]>>,
    /// Touches of damaged blocks.
    damage: AtomicU64,
}

impl Checks {
    /// For an image whose checksums are not looked at: this process has just made it.
    pub fn trusted() -> Checks {
        Checks {
            sound: None,
            damage: AtomicU64::new(0),
        }
    }

    /// For an image of so many blocks, none of them looked at.
    pub fn unread(blocks: usize) -> Checks {
        let words = blocks.div_ceil(u64::BITS as usize);
        Checks {
            sound: Some((0..words).map(|_| AtomicU64::new(0)).collect()),
            damage: AtomicU64::new(0),
        }
    }

    /// Whether block number `block` need not be looked at (again).
    pub fn is_sound(&self, block: usize) -> bool {
        let Some(sound) = &self.sound else {
            return true;
        };
        let word = sound.get(block / 64);
        // The block's octets do not change, so nothing is ordered by the bit.
        word.is_some_and(|w| w.load(Ordering::Relaxed) >> (block % 64) & 1 == 1)
    }

    /// Notes that block number `block` is sound.
    pub fn note_sound(&self, block: usize) {
        if let Some(word) = self.sound.as_ref().and_then(|s| s.get(block / 64)) {
            word.fetch_or(1 << (block % 64), Ordering::Relaxed);
        }
    }

    /// Notes that something damaged was touched.
    pub fn note_damage(&self) {
        self.damage.fetch_add(1, Ordering::Relaxed);
    }

    /// How often something damaged was touched.
    pub fn damage(&self) -> u64 {
        self.damage.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_of_their_block() {
        let checks = Checks::unread(130);
        for block in [0, 63, 64, 129] {
            assert!(!checks.is_sound(block));
            checks.note_sound(block);
        }
        let sound: Vec<usize> = (0..200).filter(|b| checks.is_sound(*b)).collect();
        assert_eq!(sound, [0, 63, 64, 129]);
        checks.note_sound(1000);
        checks.note_damage();
        assert_eq!(checks.damage(), 1);
        assert!(Checks::trusted().is_sound(1000));
    }
}
