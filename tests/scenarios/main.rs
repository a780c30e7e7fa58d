//! Scenario files, each a small internet, a timeline and the answers that are right. README.md says how they are written.
//!
//! Why: what servers on the internet do wrong, and what attackers do on purpose, is learned one case at a time. A case
//! is worth more as a file that anybody can read, and write, than as code.
//!
//! Model: every file of the directory is one test, so none is forgotten. It is played once in a steady network, where
//! packets are counted, and then with other delays, lost packets, records in other orders and questions at other moments, as its
//! seeds decide: what a client gets must not depend on them. Time is virtual.
//!
//! ```text
//! cargo test --test scenarios              all of them
//! cargo test --test scenarios cname        those with "cname" in their names
//! SCENARIO_SEEDS=100 cargo test --test scenarios
//! SCENARIO_SEEDS=40..60 cargo test --test scenarios flapping     these seeds alone; tells of each that fails
//! ```
//!
//! Failure: a file that does not read as it should fails like one whose answers are wrong; each says which step.
#![allow(clippy::disallowed_methods)]

#[path = "../sim/build.rs"]
mod build;
mod compare;
mod file;
mod internet;
#[path = "../sim/lab.rs"]
mod lab;
mod load;
mod luck;
mod machine;
#[path = "../sim/net.rs"]
mod net;
mod play;
mod script;
#[path = "../sim/signer.rs"]
mod signer;
mod sockets;
#[path = "../sim/transfer.rs"]
mod transfer;

use std::fs::read_dir;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use file::Scenario;

/// Where the files are.
const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
/// What may lie beside them.
const OTHERS: [&str; 2] = ["rs", "md"];
/// Seeds that are played after the steady run, unless the environment says otherwise.
const SEEDS: u64 = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let wanted = |path: &PathBuf| {
        filters.is_empty() || filters.iter().any(|f| stem(path).contains(f.as_str()))
    };
    let paths: Vec<PathBuf> = scenario_files().into_iter().filter(wanted).collect();
    if arguments.iter().any(|a| a == "--list") {
        paths.iter().for_each(|p| println!("{}: test", stem(p)));
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let failures = play_all(&paths);
    for (name, faults) in &failures {
        println!("\n---- {name} ----\n{faults}");
    }
    println!(
        "\n{} scenarios, {} failed, {:.1} s",
        paths.len(),
        failures.len(),
        began.elapsed().as_secs_f32()
    );
    match failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Every scenario, in the order of their names. What is neither a scenario nor part of the runner has no place there.
fn scenario_files() -> Vec<PathBuf> {
    let entries = read_dir(SCENARIOS).unwrap().map(|e| e.unwrap().path());
    let (mut found, mut others): (Vec<_>, Vec<_>) = entries.partition(|p| has_extension(p, "toml"));
    others.retain(|p| !OTHERS.iter().any(|e| has_extension(p, e)));
    assert!(others.is_empty(), "nobody reads {others:?}");
    found.sort();
    found
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e == extension)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// Plays every file on as many threads as there are cores; returns what failed.
fn play_all(paths: &[PathBuf]) -> Vec<(String, String)> {
    // Failures are told at the end, by file.
    std::panic::set_hook(Box::new(|_| {}));
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let faults = play_file(path);
                    let verdict = if faults.is_empty() { "ok" } else { "FAILED" };
                    println!("scenario {} ... {verdict}", stem(path));
                    if !faults.is_empty() {
                        failures.lock().unwrap().push((stem(path), faults));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    failures
}

/// What is wrong with a file, or with what came of it; empty if nothing.
fn play_file(path: &Path) -> String {
    let scenario: Scenario = match toml::from_str(&std::fs::read_to_string(path).unwrap()) {
        Ok(scenario) => scenario,
        Err(error) => return error.to_string(),
    };
    let (seeds, all) = seeds();
    // Real time does not vary with a seed.
    let seeds = if scenario.sockets { 0..1 } else { seeds };
    let mut failed = String::new();
    for seed in seeds {
        let played = catch_unwind(AssertUnwindSafe(|| play::play(&scenario, seed)));
        let faults = played.unwrap_or_else(|panic| vec![words(&*panic)]);
        if !faults.is_empty() {
            let about = &scenario.about;
            failed += &format!("{about}\nseed {seed}:\n{}\n", faults.join("\n"));
            if !all {
                break;
            }
        }
    }
    failed
}

/// `SCENARIO_SEEDS`: the last one after the steady run, or `A..B`, of which each is told that fails.
fn seeds() -> (Range<u64>, bool) {
    let number = |n: &str| n.parse().expect("SCENARIO_SEEDS is a number or A..B");
    let given = std::env::var("SCENARIO_SEEDS").ok();
    match given.as_deref().map(|text| (text, text.split_once(".."))) {
        None => (0..SEEDS + 1, false),
        Some((last, None)) => (0..number(last) + 1, false),
        Some((_, Some((from, to)))) => (number(from)..number(to), true),
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
    text.unwrap_or_else(|| "it panicked".to_string())
}
