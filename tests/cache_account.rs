//! The accounts that the cache and the tables beside it give of their memory, against the allocator's.
//!
//! Why a program of its own: the allocator counts for the whole process, so nothing else may run beside it. For the same reason it
//! is one test.

#[path = "../benches/shared/answers.rs"]
mod answers;
#[path = "../benches/shared/counting.rs"]
mod counting;

use std::sync::Arc;
use std::time::Duration;

use answers::Mix;
use counting::{Counting, held_bytes};
use holdfast::cache::entry::Expiry;
use holdfast::cache::{Cache, Occasion};
use holdfast::clock::Now;
use holdfast::dns::{Name, Rcode, Rtype};
use holdfast::resolve::delegation::{Delegation, DelegationOrigin, Knowledge};
use holdfast::resolve::{Origin, Response};

#[global_allocator]
static HEAP: Counting = Counting;

/// How far the account may be off, in percent of the truth.
const FAULT_MAX_PERCENT: usize = 10;

fn check(told: usize, before: usize, what: &str) {
    let held = held_bytes() - before;
    let fault = held.abs_diff(told) * 100;
    assert!(
        fault <= held * FAULT_MAX_PERCENT,
        "{what}: {told} bytes in the account, {held} on the heap"
    );
}

#[test]
fn every_account_is_within_a_tenth_of_the_heap() {
    answers_account();
    delegations_account();
}

fn delegations_account() {
    let now = Now::new(Duration::ZERO, 0);
    let before = held_bytes();
    let known = Knowledge::new(Vec::new());
    for n in 0..30_000u32 {
        let zone: Name = format!("zone{n}.example.").parse().unwrap();
        let servers = (1..=n % 3 + 1).map(|i| {
            let host: Name = format!("ns{i}.zone{n}.example.").parse().unwrap();
            (host, vec![[192, 0, 2, i as u8].into()])
        });
        let delegation = Delegation {
            zone: zone.clone(),
            servers: servers.collect(),
            expiry: Some(Expiry::after(now, 3600)),
            origin: DelegationOrigin::Network,
        };
        let parent = zone.parent();
        known.learn(Arc::new(delegation), parent, now);
        known.learn_addresses(
            &zone,
            Rtype::A,
            vec![[192, 0, 2, 1].into()],
            None,
            3600,
            now,
        );
        let (mut question, entry) = answers::answer(Mix::Usual, n);
        question.rtype = Rtype::DS;
        let response = Response {
            rest: Vec::new(),
            zone,
            rcode: Rcode::NOERROR,
            answer: entry.answer,
            authority: entry.authority,
            origin: Origin::Network([192, 0, 2, 1].into()),
        };
        known.learn_raw(&question, response, 3600, now);
        if n % 5000 == 4999 {
            let told = known.stats().map(|table| table.bytes);
            check(
                told.iter().sum(),
                before,
                &format!("{n} delegations: {told:?}"),
            );
        }
    }
}

fn answers_account() {
    let now = Now::new(Duration::ZERO, 0);
    for (bytes_max, names) in [(1 << 20, 20_000), (32 << 20, 40_000), (4 << 20, 60_000)] {
        for mix in [Mix::Addresses, Mix::Usual] {
            let before = held_bytes();
            let cache = Cache::new(bytes_max, Arc::default());
            for n in 0..names {
                let (question, entry) = answers::answer(mix, n);
                cache.put(&question, &entry, 60, Occasion::Question, now);
                // While it grows, when it is full, and while it forgets.
                if n % 5000 == 4999 {
                    check(
                        cache.stats().bytes,
                        before,
                        &format!("{mix:?} {bytes_max} {n}"),
                    );
                    assert!(cache.stats().bytes as u64 <= bytes_max);
                }
            }
            // The other mix pushes this one out: other sizes in the same places.
            for n in 0..names / 2 {
                let other = [Mix::Usual, Mix::Addresses][mix as usize];
                let (question, entry) = answers::answer(other, n);
                cache.put(&question, &entry, 60, Occasion::Question, now);
            }
            check(
                cache.stats().bytes,
                before,
                &format!("{mix:?} {bytes_max}, then the other"),
            );
            cache.forget(&Name::root(), true);
            assert_eq!(cache.stats().bytes, 0);
        }
    }
}
