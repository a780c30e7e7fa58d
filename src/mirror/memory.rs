//! What taking a zone over may cost: disk in proportion to the limit on its transfer, memory as [`Room`] has it.

use std::path::Path;

use crate::dns::Name;
use crate::zone::{Builder, Room};

/// The buffer of the builder may be this many times larger than the transfer, whose names are compressed.
const EXPANSION_MAX: u64 = 4;

/// The most that the builder of a zone may take, on disk and in memory, in bytes.
fn budget_bytes(bytes_max: u64) -> u64 {
    bytes_max.saturating_mul(EXPANSION_MAX)
}

/// A builder for a zone whose transfer may have `bytes_max` octets; what exceeds memory goes to `scratch`.
pub fn builder(apex: &Name, bytes_max: u64, scratch: &Path) -> Builder {
    builder_in(&Room::beside(scratch), apex, bytes_max)
}

/// As [`builder`], within a room that was measured before.
pub fn builder_in(room: &Room, apex: &Name, bytes_max: u64) -> Builder {
    room.builder(apex).bytes_max(budget_bytes(bytes_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_has_an_end() {
        assert_eq!(budget_bytes(1 << 20), 4 << 20);
        assert_eq!(budget_bytes(u64::MAX), u64::MAX);
    }
}
