//! The fuzz targets under plain `cargo test`: replayed regressions, and real input mutated from a fixed seed.
//!
//! Why: libFuzzer needs a build of its own and hours (`tests/fuzz/README.md`); this needs seconds and runs with every
//! change, or for as long as it is told to:
//!
//! ```text
//! FUZZ_SEEDS=2..50 FUZZ_TARGETS=tsig,notify cargo test --test fuzz_seeded real_input -- --nocapture
//! ```
//! What libFuzzer finds stays as a file below `tests/fuzz/regressions/TARGET/` and is replayed here for ever.
//!
//! Failure: the message names the target, and the input is written out as a byte string to be kept.

#[path = "sweep/seeds.rs"]
#[allow(dead_code)]
mod seed_ranges;
#[path = "fuzz/seeds.rs"]
mod seeds;
#[path = "sim/signer.rs"]
mod signer;
#[path = "fuzz/targets/mod.rs"]
mod targets;

use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use targets::{TARGETS, Target};

/// Where the run starts; another number is another run. `FUZZ_SEEDS` has several of them run one after the other.
const SEEDS: Range<u64> = 1..2;
/// Octets of mutated input for one target, and the least and most inputs that they are spent on.
const OCTETS: usize = 3 << 20;
const ROUNDS_MIN: usize = 1000;
const ROUNDS_MAX: usize = 10_000;
/// So many of them each parser takes for what it reads.
const TAKEN_MIN: usize = 10;
/// Changes to one input at the most.
const CHANGES_MAX: usize = 5;
/// Longest stretch of octets that one change moves.
const STRETCH_MAX: usize = 40;
/// Inputs do not grow past this, in octets.
const INPUT_LEN_MAX: usize = 40_000;
/// Octets that parsers treat specially: lengths, pointers, signs, the ends of ranges.
const ODD_OCTETS: &[u8] = b"\x00\x01\x3F\x40\x7F\x80\xC0\xFF\n\"\\().;@ {}[]#=09";

fn under_tests_fuzz(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fuzz", path]
        .iter()
        .collect()
}

/// Says whether the parser took the input.
fn run(target: &Target, input: &[u8]) -> bool {
    let ran = catch_unwind(AssertUnwindSafe(|| targets::check(target.name, input)));
    ran.unwrap_or_else(|_| {
        let shown = input.escape_ascii();
        panic!("{}: does not hold for b\"{shown}\"", target.name)
    })
}

#[test]
fn regressions_stay_mended() {
    for target in TARGETS {
        let directory = under_tests_fuzz("regressions").join(target.name);
        let mut files: Vec<_> = (fs::read_dir(directory).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .collect();
        files.sort();
        for file in files {
            println!("{}", file.display());
            let _ = run(target, &fs::read(&file).expect("a readable file"));
        }
    }
}

#[test]
fn real_input_passes_whole_and_mutated() {
    let chosen = std::env::var("FUZZ_TARGETS").ok();
    let is_chosen = |target: &&Target| match &chosen {
        Some(names) => names.split(',').any(|name| name == target.name),
        None => true,
    };
    let ranges = seed_ranges::seeds("FUZZ_SEEDS", SEEDS);
    // Targets are independent, so each gets a thread.
    std::thread::scope(|scope| {
        for target in TARGETS.iter().filter(is_chosen) {
            let seeds = ranges.iter().cloned().flatten();
            scope.spawn(move || seeds.for_each(|seed| mutate(target, seed)));
        }
    });
}

fn mutate(target: &Target, seed: u64) {
    let seeds = seeds::of(target.name);
    let taken = seeds.iter().filter(|seed| run(target, seed)).count();
    assert!(taken > 0, "{}: none of the seeds is taken", target.name);
    let mut rng = SmallRng::seed_from_u64(seed);
    let mean_len = seeds.iter().map(Vec::len).sum::<usize>() / seeds.len() + 1;
    let rounds = (OCTETS / mean_len).clamp(ROUNDS_MIN, ROUNDS_MAX);
    let mut taken = 0;
    for _ in 0..rounds {
        let mut input = pick(&seeds, &mut rng).clone();
        for _ in 0..rng.random_range(1..=CHANGES_MAX) {
            change(&mut input, &seeds, &mut rng);
        }
        input.truncate(INPUT_LEN_MAX);
        taken += usize::from(run(target, &input));
    }
    println!("{} {seed}: {taken} of {rounds} taken", target.name);
    // Else the mutations never get behind the first check, or nothing is checked.
    assert!(taken >= TAKEN_MIN, "{}: {taken} taken", target.name);
    assert!(taken < rounds, "{}: everything is taken", target.name);
}

fn pick<'a>(seeds: &'a [Vec<u8>], rng: &mut SmallRng) -> &'a Vec<u8> {
    &seeds[rng.random_range(0..seeds.len())]
}

/// One change: an octet, a number, a stretch left out, doubled, or taken from another seed; or the end cut off.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut SmallRng) {
    if input.is_empty() {
        return input.push(rng.random());
    }
    let at = rng.random_range(0..input.len());
    let end = (at + rng.random_range(1..=STRETCH_MAX)).min(input.len());
    match rng.random_range(0..10) {
        0 => input[at] ^= 1 << rng.random_range(0..8),
        1 => input[at] = rng.random(),
        2 | 3 => input[at] = ODD_OCTETS[rng.random_range(0..ODD_OCTETS.len())],
        4 => {
            input[at] = input[at]
                .wrapping_add(rng.random_range(0..3))
                .wrapping_sub(1)
        }
        5 => drop(input.drain(at..end)),
        6 => {
            let stretch = input[at..end].to_vec();
            let to = rng.random_range(0..=input.len());
            input.splice(to..to, stretch);
        }
        7 => {
            let other = pick(seeds, rng);
            let from = rng.random_range(0..=other.len());
            let to = (from + rng.random_range(0..=STRETCH_MAX)).min(other.len());
            input.splice(at..at, other[from..to].iter().copied());
        }
        8 => input.insert(at, ODD_OCTETS[rng.random_range(0..ODD_OCTETS.len())]),
        _ if rng.random_ratio(1, 3) => input.truncate(at),
        _ => input[at..end].reverse(),
    }
}

/// libFuzzer builds one program per target, so each has its file and its row.
#[test]
fn every_target_has_its_program() {
    let manifest = fs::read_to_string(under_tests_fuzz("Cargo.toml")).expect("the manifest");
    for target in TARGETS {
        let program = format!("fuzz_targets/{}.rs", target.name);
        let text = fs::read_to_string(under_tests_fuzz(&program)).unwrap_or_default();
        assert!(
            text.contains(&format!("check(\"{}\"", target.name)),
            "{program}"
        );
        assert!(
            manifest.contains(&format!("path = \"{program}\"")),
            "{program}"
        );
    }
    let programs = fs::read_dir(under_tests_fuzz("fuzz_targets")).expect("the programs");
    assert_eq!(programs.count(), TARGETS.len());
}

/// Writes the seeds where libFuzzer looks for its corpus.
#[test]
#[ignore = "writes files; for libFuzzer only"]
fn write_corpus() {
    for target in TARGETS {
        let directory = under_tests_fuzz("corpus").join(target.name);
        fs::create_dir_all(&directory).expect("a directory");
        for (i, seed) in seeds::of(target.name).iter().enumerate() {
            fs::write(directory.join(format!("seed-{i}")), seed).expect("a file");
        }
    }
}
