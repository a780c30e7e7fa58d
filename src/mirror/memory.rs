//! How much memory and disk a transfer may take.
//!
//! `bytes_max` is what the operator allows, and its default is generous enough for the largest zones. A hostile or
//! broken primary must not be able to take the whole machine down with it, so what a zone under construction holds in memory
//! depends on what is free now; the rest goes to the disk.

use std::fs;
use std::path::Path;

use crate::dns::Name;
use crate::zone::{Builder, RUN_BYTES_MAX};

/// A zone under construction may take this part of the free memory.
const FREE_SHARE: u64 = 8;
/// As much as this is allowed always, in bytes.
const RUN_MIN_BYTES: u64 = 16 << 20;
/// The buffer of the builder may be this many times larger than the transfer, whose names are compressed.
const EXPANSION_MAX: u64 = 4;

/// The most that the builder of a zone may take, on disk and in memory, in bytes.
fn budget_bytes(bytes_max: u64) -> u64 {
    bytes_max.saturating_mul(EXPANSION_MAX)
}

/// The most of it that is held in memory, in bytes.
pub fn run_bytes() -> usize {
    let share = free_bytes().map_or(u64::MAX, |free| free / FREE_SHARE);
    share.max(RUN_MIN_BYTES).min(RUN_BYTES_MAX as u64) as usize
}

/// A builder for a zone whose transfer may have `bytes_max` octets; what exceeds memory goes to `scratch`.
pub fn builder(apex: &Name, bytes_max: u64, scratch: &Path) -> Builder {
    Builder::new(apex.clone())
        .bytes_max(budget_bytes(bytes_max))
        .run_bytes_max(run_bytes())
        .scratch(scratch)
}

/// What the machine, and the control group where there is one, has left.
fn free_bytes() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| available(&text));
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let group = number("/sys/fs/cgroup/memory.max")
        .zip(number("/sys/fs/cgroup/memory.current"))
        .map(|(max, used)| max.saturating_sub(used));
    [machine, group].into_iter().flatten().min()
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_bounded_both_ways() {
        assert_eq!(
            available("MemFree: 1 kB\nMemAvailable:   2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(available("MemFree: 1 kB\n"), None);
        assert_eq!(budget_bytes(1 << 20), 4 << 20);
        assert_eq!(budget_bytes(u64::MAX), u64::MAX);
        assert!((RUN_MIN_BYTES..=RUN_BYTES_MAX as u64).contains(&(run_bytes() as u64)));
    }
}
