//! Which seeds run.

use std::ops::Range;

use tokio::runtime::{Builder, Runtime};

/// Those that the environment variable `name` names, as `A..B` or one number, or several of these with commas between them; else
/// `usual`.
pub fn seeds(name: &str, usual: Range<u64>) -> Vec<Range<u64>> {
    let Ok(text) = std::env::var(name) else {
        return vec![usual];
    };
    let number = |t: &str| match t.trim().parse::<u64>() {
        Ok(number) => number,
        Err(_) => panic!("{name} is made of A..B and numbers"),
    };
    let range = |t: &str| match t.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(t)..number(t) + 1,
    };
    text.split(',').map(range).collect()
}

/// Where a seed runs: in virtual time.
pub fn virtual_time() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}
