//! How many bytes a cached RRset takes: of the heap, of the account, of the process.
//!
//! `cargo bench --bench cache_memory -- [NAMES] [MIX]`, with NAMES the number of names (200,000, or the environment's
//! `CACHE_NAMES`) and MIX `addresses` (one A each, unsigned, as other resolvers are measured) or `usual`, both if left out, or `churn`. One line
//! per mix, `key=value`, for scripts that put it beside others. `churn` is a full cache: a quarter of the room that
//! the names need, all of them put twice, which shows what fragmentation adds to the account.

#[path = "shared/answers.rs"]
mod answers;
#[path = "shared/counting.rs"]
mod counting;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use answers::Mix;
use counting::{Counting, held_bytes};
use holdfast::cache::{Cache, Occasion};
use holdfast::clock::Now;

#[global_allocator]
static HEAP: Counting = Counting;

/// Names when no number is given.
const NAMES: u32 = 200_000;
/// Room for all of them.
const BYTES_MAX: u64 = 64 << 30;
/// TTL of every answer, seconds.
const TTL_S: u32 = 3600;

/// Times that all names are put into a cache that holds a quarter of them.
const CHURN_ROUNDS: u32 = 2;

fn main() {
    // `cargo bench` passes --bench.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|w| w != "--bench")
        .collect();
    let given = words.iter().find_map(|w| w.parse().ok());
    let wished = std::env::var("CACHE_NAMES")
        .ok()
        .and_then(|n| n.parse().ok());
    let names = given.or(wished).unwrap_or(NAMES);
    // First, while the process has no free memory of its own.
    if words.iter().any(|w| w == "churn") {
        return churn(names);
    }
    for (word, mix) in [("addresses", Mix::Addresses), ("usual", Mix::Usual)] {
        let named = |w: &String| w == word;
        let other = |w: &String| ["addresses", "usual"].contains(&w.as_str());
        if words.iter().any(named) || !words.iter().any(other) {
            measure(word, mix, names);
        }
    }
}

fn measure(word: &str, mix: Mix, names: u32) {
    let now = Now::new(Duration::ZERO, 0);
    let (heap, rss) = (held_bytes(), rss_bytes());
    let cache = Cache::new(BYTES_MAX, Arc::default());
    let mut rrsets = 0;
    for n in 0..names {
        let (question, entry) = answers::answer(mix, n);
        rrsets += entry.answer.len() + entry.authority.len();
        cache.put(&question, &entry, TTL_S, Occasion::Question, now);
    }
    let (heap, rss) = (held_bytes() - heap, rss_bytes().saturating_sub(rss));
    let stats = cache.stats();
    let each = |bytes: usize, count: usize| bytes as f64 / count.max(1) as f64;
    println!(
        "mix={word} names={names} entries={} rrsets={rrsets} heap_bytes={heap} account_bytes={} rss_bytes={rss} \
         heap_per_entry={:.1} heap_per_rrset={:.1} rss_per_rrset={:.1} account_share_of_heap={:.3}",
        stats.entries,
        stats.bytes,
        each(heap, stats.entries),
        each(heap, rrsets),
        each(rss, rrsets),
        stats.bytes as f64 / heap.max(1) as f64,
    );
}

/// A full cache that forgets all the time.
fn churn(names: u32) {
    /// About what an entry of the usual mix takes.
    const ENTRY_BYTES: u64 = 240;
    let now = Now::new(Duration::ZERO, 0);
    let (heap, rss) = (held_bytes(), rss_bytes());
    let bytes_max = u64::from(names) * ENTRY_BYTES / 4;
    let cache = Cache::new(bytes_max, Arc::default());
    for n in (0..CHURN_ROUNDS).flat_map(|_| 0..names) {
        let (question, entry) = answers::answer(Mix::Usual, n);
        cache.put(&question, &entry, TTL_S, Occasion::Question, now);
    }
    let (heap, rss) = (held_bytes() - heap, rss_bytes().saturating_sub(rss));
    println!(
        "mix=churn names={names} entries={} bytes_max={bytes_max} heap_bytes={heap} account_bytes={} rss_bytes={rss} rss_share_of_max={:.3}",
        cache.stats().entries,
        cache.stats().bytes,
        rss as f64 / bytes_max as f64,
    );
}

/// Resident memory of the process.
fn rss_bytes() -> usize {
    /// Of the kernel, for this platform.
    const PAGE_BYTES: usize = 4096;
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text
        .split_whitespace()
        .nth(1)
        .and_then(|n| n.parse::<usize>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}
