//! The tests, each named after what it proves. They share the lab, not a resolver: each starts its own.

mod bad_transfer;
mod baseline;
mod cuts;
mod lifecycle;
mod recovery;
mod walk;

use std::time::Duration;

use crate::lab::Lab;
use crate::load::{Figures, Sample, failures};
use crate::resolver::HEDGE_MIN_MS;

pub struct Case {
    pub name: &'static str,
    pub run: fn(&Lab),
    /// Needs more of the resolver than answers: its status, its exit codes, its log.
    pub holdfast_only: bool,
    /// Under load, so that a stalled machine can lose questions: it may try again, `TRIES_MAX` times in all.
    pub loaded: bool,
}

const fn any(name: &'static str, run: fn(&Lab)) -> Case {
    Case {
        name,
        run,
        holdfast_only: false,
        loaded: false,
    }
}

const fn holdfast(name: &'static str, run: fn(&Lab)) -> Case {
    Case {
        name,
        run,
        holdfast_only: true,
        loaded: false,
    }
}

impl Case {
    const fn under_load(mut self) -> Case {
        self.loaded = true;
        self
    }
}

pub const ALL: &[Case] = &[
    any("baseline_answers_are_right", baseline::answers),
    any("delv_validates_through_it", baseline::delv_validates),
    holdfast("a_plain_client_walks_down_the_tree", walk::down_the_tree),
    holdfast(
        "forwarded_to_another_resolver_it_validates_alike",
        baseline::forwarded,
    ),
    holdfast("signals_and_bad_config_end_as_promised", lifecycle::signals),
    holdfast("bootstrap_alone_starts_inside_a_cut", lifecycle::bootstrap).under_load(),
    any("restart_inside_the_cut_answers_at_once", lifecycle::restart).under_load(),
    any("roots_cut_silently_lose_no_query", cuts::roots_silently).under_load(),
    any("roots_cut_with_icmp_lose_no_query", cuts::roots_icmp).under_load(),
    any("everything_abroad_cut_domestic_names_go_on", cuts::abroad).under_load(),
    any("mirrored_tld_cut_loses_no_query", cuts::tld).under_load(),
    holdfast(
        "roots_back_means_online_and_fresh_data",
        recovery::roots_back,
    )
    .under_load(),
    any("lab_source_misbehaves_as_told", bad_transfer::source),
    holdfast(
        "bad_transfers_leave_the_good_generation",
        bad_transfer::every_kind,
    ),
];

/// Whether a missed bound of time is a fault (`HOLDFAST_LAB_TIMES=judge`) or is only told. A shared machine may stand still
/// for seconds, and then a bound says nothing about the program; the same bounds are held in virtual time by `tests/sim`.
fn judges_times() -> bool {
    std::env::var("HOLDFAST_LAB_TIMES").is_ok_and(|times| times == "judge")
}

/// Collects what is wrong instead of stopping at the first fault.
#[derive(Default)]
pub struct Checks {
    faults: Vec<String>,
    passed: usize,
    missed: usize,
}

impl Checks {
    /// A bound of time: told where it is missed, a fault where times are judged.
    pub fn within(&mut self, what: &str, took: Duration, bound: Duration) {
        let told = format!("{what} took {took:?}, its bound is {bound:?}");
        if took <= bound {
            self.passed += 1;
        } else if judges_times() {
            self.faults.push(told);
        } else {
            println!("   MISSED         {told}");
            self.missed += 1;
        }
    }

    pub fn that(&mut self, holds: bool, otherwise: impl Into<String>) {
        match holds {
            true => self.passed += 1,
            false => self.faults.push(otherwise.into()),
        }
    }

    /// Panics with every fault.
    pub fn end(self) {
        println!(
            "   {} checks hold, {} do not, {} bounds of time missed",
            self.passed,
            self.faults.len(),
            self.missed
        );
        assert!(self.faults.is_empty(), "\n{}", self.faults.join("\n"));
    }
}

/// The promise for a cut of something mirrored: nothing lost, and p99 within one hedge delay of twice the steady p99.
pub fn judge_cut(samples: &[Sample], warm: Duration, cut_at: Duration, checks: &mut Checks) {
    // Questions that were on their way at the moment of the cut belong to it.
    let cut_from = cut_at.saturating_sub(Duration::from_millis(100));
    let during = |from: Duration, to: Duration| {
        Figures::of(
            samples
                .iter()
                .filter(|sample| sample.at >= from && sample.at < to),
        )
    };
    let steady = during(warm, cut_from);
    let cut = during(cut_from, Duration::MAX);
    let bound = Duration::from_millis(HEDGE_MIN_MS) + 2 * steady.p99;
    println!("   steady         {steady}");
    println!(
        "   first 10 s cut {}",
        during(cut_from, cut_at + Duration::from_secs(10))
    );
    println!("   whole cut      {cut}");
    println!("   p99 bound      {:.2} ms", bound.as_secs_f64() * 1000.0);
    let failed = cut.wrong + cut.lost + steady.wrong + steady.lost;
    checks.that(
        failed == 0,
        format!("{failed} failed:\n  {}", failures(samples).join("\n  ")),
    );
    checks.within("the p99 of the cut", cut.p99, bound);
}
