//! The tests, each named after what it proves. They share the lab, not a resolver: each starts its own.

mod bad_transfer;
mod baseline;
mod cuts;
mod lifecycle;
mod recovery;

use std::time::Duration;

use crate::lab::Lab;
use crate::load::{Figures, Sample, failures};
use crate::resolver::HEDGE_MIN_MS;

pub struct Case {
    pub name: &'static str,
    pub run: fn(&Lab),
    /// Needs more of the resolver than answers: its status, its exit codes, its log.
    pub holdfast_only: bool,
    /// Holds latencies to a bound: where the machine was busy with something else it may try once more.
    pub timed: bool,
}

const fn any(name: &'static str, run: fn(&Lab)) -> Case {
    Case {
        name,
        run,
        holdfast_only: false,
        timed: false,
    }
}

const fn holdfast(name: &'static str, run: fn(&Lab)) -> Case {
    Case {
        name,
        run,
        holdfast_only: true,
        timed: false,
    }
}

const fn timed(name: &'static str, run: fn(&Lab)) -> Case {
    Case {
        timed: true,
        ..any(name, run)
    }
}

pub const ALL: &[Case] = &[
    any("baseline_answers_are_right", baseline::answers),
    any("delv_validates_through_it", baseline::delv_validates),
    holdfast("signals_and_bad_config_end_as_promised", lifecycle::signals),
    holdfast("bootstrap_alone_starts_inside_a_cut", lifecycle::bootstrap),
    timed("restart_inside_the_cut_answers_at_once", lifecycle::restart),
    timed("roots_cut_silently_lose_no_query", cuts::roots_silently),
    timed("roots_cut_with_icmp_lose_no_query", cuts::roots_icmp),
    timed("everything_abroad_cut_domestic_names_go_on", cuts::abroad),
    timed("mirrored_tld_cut_loses_no_query", cuts::tld),
    holdfast(
        "roots_back_means_online_and_fresh_data",
        recovery::roots_back,
    ),
    any("lab_source_misbehaves_as_told", bad_transfer::source),
    holdfast(
        "bad_transfers_leave_the_good_generation",
        bad_transfer::every_kind,
    ),
];

/// Collects what is wrong instead of stopping at the first fault.
#[derive(Default)]
pub struct Checks {
    faults: Vec<String>,
    passed: usize,
}

impl Checks {
    pub fn that(&mut self, holds: bool, otherwise: impl Into<String>) {
        match holds {
            true => self.passed += 1,
            false => self.faults.push(otherwise.into()),
        }
    }

    /// Panics with every fault.
    pub fn end(self) {
        println!(
            "   {} checks hold, {} do not",
            self.passed,
            self.faults.len()
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
    checks.that(
        cut.p99 <= bound,
        format!("p99 {:?} past the bound {bound:?}", cut.p99),
    );
}
