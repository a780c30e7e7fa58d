//! The namespace lab: real name servers, the real binary, real `dig` and `delv`. See README.md in this directory.
//!
//! A runner of its own (no libtest) because building the lab takes seconds and the tests share it, one after the other.

// The lab measures the real world with the real clock.
#![allow(clippy::disallowed_methods)]

mod cases;
mod lab;
mod load;
mod net;
mod play;
mod process;
mod proxy;
mod resolver;
mod servers;
mod tools;
mod traffic;
mod wire;
mod zones;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

use crate::lab::Lab;
use crate::resolver::Kind;

/// Tries of a test under load.
const TRIES_MAX: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    if has("--list") {
        cases::ALL
            .iter()
            .for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    let play = filters.iter().any(|filter| *filter == "lab");
    let kind = Kind::from_env();
    let matches = |name: &str| match has("--exact") {
        true => filters.iter().any(|filter| *filter == name),
        false => filters.iter().any(|filter| name.contains(filter.as_str())),
    };
    let chosen: Vec<&cases::Case> = cases::ALL
        .iter()
        .filter(|case| !case.holdfast_only || kind == Kind::Holdfast)
        .filter(|case| filters.is_empty() || matches(case.name))
        .collect();
    let wanted = std::env::var("HOLDFAST_LAB").unwrap_or_default();
    // The everyday loop stays short: all of it takes minutes and runs in CI.
    if wanted.is_empty() && filters.is_empty() && !play {
        println!(
            "\n==== SKIPPED: the namespace lab; HOLDFAST_LAB=required or a test's name runs it (tests/dig/README.md) ====\n"
        );
        return ExitCode::SUCCESS;
    }
    if wanted == "off" || (chosen.is_empty() && !play) {
        println!("namespace lab: nothing to run");
        return ExitCode::SUCCESS;
    }
    if let Some(needs) = lab::missing() {
        println!(
            "\n==== SKIPPED: needs {needs} ====\n     (the namespace lab, tests/dig/README.md; HOLDFAST_LAB=required makes this a failure)\n"
        );
        return ExitCode::from(u8::from(wanted == "required"));
    }
    // Blocked in this thread, and so in every later one, before the first child exists.
    process::watch_signals(|| {
        net::remove_own();
        lab::remove_files();
    });
    let lab = match Lab::build() {
        Ok(lab) => lab,
        Err(error) => {
            println!("the lab cannot be built: {error}");
            return ExitCode::FAILURE;
        }
    };
    if play {
        play::run(&lab);
        return ExitCode::SUCCESS;
    }
    let failed = run(&lab, &chosen);
    if failed {
        println!(
            "configurations and logs are kept in {}",
            lab.keep_files().display()
        );
    }
    ExitCode::from(u8::from(failed))
}

/// Runs the tests in order; returns whether any failed.
fn run(lab: &Lab, chosen: &[&cases::Case]) -> bool {
    let begun = Instant::now();
    let keep = std::env::var("HOLDFAST_LAB_KEEP").is_ok_and(|keep| keep == "1");
    let mut failed = Vec::new();
    for case in chosen {
        println!("\n== {}", case.name);
        let started = Instant::now();
        let attempt = || std::panic::catch_unwind(AssertUnwindSafe(|| (case.run)(lab)));
        let mut result = attempt();
        for _ in 1..TRIES_MAX {
            if result.is_ok() || !case.loaded || keep {
                break;
            }
            println!(
                "== {} AGAIN: it puts a load on the machine, and one of {TRIES_MAX} tries must hold",
                case.name
            );
            lab.reset();
            result = attempt();
        }
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!(
            "test {} ... {verdict} ({:.1} s)",
            case.name,
            started.elapsed().as_secs_f64()
        );
        if result.is_err() {
            failed.push(case.name);
            if keep {
                println!("HOLDFAST_LAB_KEEP=1: the network is as the failed test left it");
                play::run(lab);
                break;
            }
        }
        lab.reset();
    }
    println!(
        "\nnamespace lab with {:?}: {} passed, {} failed in {:.0} s {}",
        lab.kind,
        chosen.len() - failed.len(),
        failed.len(),
        begun.elapsed().as_secs_f64(),
        failed.join(" ")
    );
    !failed.is_empty()
}
