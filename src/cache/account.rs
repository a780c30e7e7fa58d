//! What memory really costs, for everything that is bounded in bytes.
//!
//! Why: an account of payload alone is off by half: the allocator rounds up and adds a head, and hash tables are never
//! full. A limit that the operator sets must hold for what the machine gives.
//!
//! Model: the allocator is glibc's (the system allocator of this program): a block of memory costs its size and a head of 8 bytes,
//! in steps of 16, 32 at least. A `HashMap` has a power of two of places, filled to 7/8 at most, and a byte for each.

/// Head of a block, in bytes.
const BLOCK_HEAD_BYTES: usize = 8;
/// Blocks come in steps of this, in bytes.
const BLOCK_STEP_BYTES: usize = 16;
/// The smallest block, in bytes.
const BLOCK_MIN_BYTES: usize = 32;
/// Strong and weak count before the data of an `Arc`, in bytes.
const ARC_HEAD_BYTES: usize = 2 * size_of::<usize>();

/// Memory taken by one block of `len` bytes; nothing is allocated for nothing.
pub fn block_bytes(len: usize) -> usize {
    match len {
        0 => 0,
        _ => (len + BLOCK_HEAD_BYTES)
            .next_multiple_of(BLOCK_STEP_BYTES)
            .max(BLOCK_MIN_BYTES),
    }
}

/// Memory taken by an `Arc` of `len` bytes of data.
pub fn arc_bytes(len: usize) -> usize {
    block_bytes((ARC_HEAD_BYTES + len).next_multiple_of(align_of::<usize>()))
}

/// Memory taken by the places of a hash table that says to have room for `capacity` entries of `entry_bytes` each.
pub fn table_bytes(capacity: usize, entry_bytes: usize) -> usize {
    /// The table is searched by groups of so many places; their marks are repeated at its end.
    const GROUP: usize = 16;
    if capacity == 0 {
        return 0;
    }
    let places = match capacity {
        0..8 => (capacity + 1).next_power_of_two(),
        _ => (capacity * 8 / 7).next_power_of_two(),
    };
    block_bytes((places * entry_bytes).next_multiple_of(GROUP) + places + GROUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_a_head_and_a_step() {
        for (len, bytes) in [(0, 0), (1, 32), (24, 32), (25, 48), (40, 48), (41, 64)] {
            assert_eq!(block_bytes(len), bytes, "{len}");
        }
        assert_eq!(arc_bytes(1), 32);
        assert_eq!(arc_bytes(16), 48);
        assert_eq!(table_bytes(0, 8), 0);
        // 14 entries fill 16 places.
        assert_eq!(table_bytes(14, 8), block_bytes(16 * 8 + 16 + 16));
    }
}
