//! An allocator that counts what the system's allocator really hands out.
//!
//! Shared by the benchmark of the cache's memory and by the test that holds the cache's account to the truth.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes before each block that are the allocator's own.
const BLOCK_HEAD_BYTES: usize = 8;

/// Counts, and leaves the work to the system.
pub struct Counting;

static HELD_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes taken from the system's heap now, heads and rounding included.
pub fn held_bytes() -> usize {
    HELD_BYTES.load(Ordering::Relaxed)
}

/// What the block takes, as the allocator itself says.
fn block_bytes(block: *mut u8) -> usize {
    // SAFETY: the block comes from the system's allocator, which on this platform is malloc, and is not freed yet.
    let usable = unsafe { libc::malloc_usable_size(block.cast()) };
    usable + BLOCK_HEAD_BYTES
}

// SAFETY: every call goes to the system's allocator as it came; beside it only a number is kept.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            HELD_BYTES.fetch_add(block_bytes(block), Ordering::Relaxed);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(block_bytes(block), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let before = block_bytes(block);
        // SAFETY: the caller's promise is passed on.
        let moved = unsafe { System.realloc(block, layout, size) };
        if !moved.is_null() {
            HELD_BYTES.fetch_sub(before, Ordering::Relaxed);
            HELD_BYTES.fetch_add(block_bytes(moved), Ordering::Relaxed);
        }
        moved
    }
}
