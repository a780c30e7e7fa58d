//! How much memory a transfer may take.
//!
//! `bytes_max` is what the operator allows, and its default is generous enough for the largest zones. A hostile or
//! broken primary must not be able to take the whole machine down with it, so what is free now is a limit as well.

use std::fs;

/// A zone under construction may take this part of the free memory; finishing it takes as much again.
const FREE_SHARE: u64 = 4;
/// Less than this is allowed always, in bytes.
const BUDGET_MIN_BYTES: u64 = 64 << 20;
/// The buffer of the builder may be this many times larger than the transfer, whose names are compressed.
const EXPANSION_MAX: u64 = 4;

/// The most that the builder of a zone may hold, in bytes. Rounded to a power of two, so that an error that names it
/// reads the same each time.
pub fn budget_bytes(bytes_max: u64) -> u64 {
    let wanted = bytes_max.saturating_mul(EXPANSION_MAX);
    match free_bytes() {
        None => wanted,
        Some(free) => wanted.min(floor_power_of_two(free / FREE_SHARE).max(BUDGET_MIN_BYTES)),
    }
}

fn floor_power_of_two(n: u64) -> u64 {
    n.checked_ilog2().map_or(0, |log| 1 << log)
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
        assert_eq!(floor_power_of_two(1000), 512);
        assert_eq!(budget_bytes(1 << 20), 4 << 20);
        assert!(budget_bytes(u64::MAX).is_power_of_two() || free_bytes().is_none());
    }
}
