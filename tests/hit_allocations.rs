//! An answer that is ready is given without a call of the allocator.
//!
//! Why a program of its own: calls are counted for the whole process, so nothing else may run beside it. For the same reason it is one test.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast::clock::Clock;
use holdfast::config::{Access, Limits};
use holdfast::dns::edns::option;
use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Edns, Message, Name, Question, Rtype};
use holdfast::metrics::Metrics;
use holdfast::query::acl::AccessList;
use holdfast::query::cookie::Cookies;
use holdfast::query::own::{OwnZone, OwnZones};
use holdfast::query::quick::{Found, ReadyAnswers};
use holdfast::query::rate_limit::RateLimits;
use holdfast::query::{Client, Pipeline, Settings, SharedSettings, Transport};
use holdfast::zone::{Builder, parse};

/// Counts calls, and leaves the work to the system.
struct Counting;

static CALLS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came; beside it only a number is kept.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// A zone with addresses, and with a chain that denies everything between them.
const ZONE: &str = "@ 300 SOA ns h 1 1 1 1 60\n@ 300 NS ns\nns 300 A 192.0.2.1\nwww 300 A 192.0.2.2\nsub 300 NS ns.sub\n\
    @ 60 NSEC ns SOA NS NSEC\nns 60 NSEC sub A NSEC\nsub 60 NSEC www NS NSEC\nwww 60 NSEC @ A NSEC\n";

/// What is asked of it at once: names with an answer of their own, names of a gap and below a cut, each spelled in some way.
const ASKED: [(&str, Rtype); 6] = [
    ("www.lab.test.", Rtype::A),
    ("WWW.lab.Test.", Rtype::A),
    ("ns.lab.test.", Rtype::A),
    ("nothing.lab.test.", Rtype::A),
    ("Nobody.lab.test.", Rtype::A),
    ("a.sub.lab.test.", Rtype::A),
];
const TURNS: u64 = 100;

fn pipeline() -> Pipeline {
    let apex: Name = "lab.test.".parse().unwrap();
    let mut builder = Builder::new(apex.clone());
    for record in parse::records(ZONE.as_bytes(), "test", Some(&apex)) {
        builder.add(record.unwrap()).unwrap();
    }
    let zone = OwnZone::Loaded(Arc::new(builder.finish().unwrap()));
    let settings = Settings {
        access: AccessList::new(&Access::default()),
        zones: OwnZones::new([(apex, zone)]),
        udp_size_max: 1232,
        ..Settings::default()
    };
    let settings: SharedSettings = Arc::new(arc_swap::ArcSwap::from_pointee(settings));
    // Far above what is asked, so that they are carried out and limit nobody.
    let limits = Limits {
        queries_per_prefix_s: 1_000_000,
        responses_per_s: 1_000_000,
        ..Limits::default()
    };
    let clock = Clock::starting_at(Duration::from_secs(1_000_000));
    Pipeline::new(settings, None, Arc::new(Metrics::default()))
        .with_cookies(Cookies::new([7; 16]), clock.clone())
        .with_limits(Arc::new(RateLimits::new(&limits, [5; 16])), clock.clone())
        .with_ready_answers(1 << 20, clock)
}

fn queries() -> Vec<Vec<u8>> {
    let forms = [None, Some(vec![]), Some(vec![(option::COOKIE, vec![9; 8])])];
    let queries = forms.iter().flat_map(|form| {
        ASKED.map(|(name, rtype)| {
            let mut query = Message::query(7, Question::new(name.parse().unwrap(), rtype));
            query.edns = form.clone().map(|options| Edns {
                options,
                ..Edns::new(1232, true)
            });
            query.encode(MESSAGE_LEN_MAX)
        })
    });
    queries.collect()
}

/// What a thread does with a turn's queries; how many of them were ready.
fn turn<const N: usize>(
    pipeline: &Pipeline,
    kept: &mut ReadyAnswers,
    queries: &[Vec<u8>; N],
    out: &mut Vec<u8>,
) -> usize {
    let from: SocketAddr = ([192, 0, 2, 9], 4000).into();
    out.clear();
    pipeline.begin_turn(kept);
    let mut looks = queries
        .each_ref()
        .map(|wire| pipeline.look(wire, from, kept));
    pipeline.warm(&mut looks, kept);
    let mut ready = 0;
    for (look, wire) in looks.iter().zip(queries) {
        let look = look.as_ref().expect("all are plain");
        match pipeline.answer_ready(look, kept, out) {
            Found::Answered => ready += 1,
            found => {
                drop(pipeline.begin_and_keep(wire, Client::new(from, Transport::Udp), found, kept))
            }
        }
    }
    pipeline.end_turn(kept);
    ready
}

#[test]
fn a_hit_allocates_nothing() {
    let (pipeline, mut out) = (pipeline(), Vec::new());
    let queries: [Vec<u8>; 18] = queries().try_into().unwrap();
    let mut kept = pipeline.ready_answers(1).unwrap();
    // An answer is kept when it is made for the second time, one for many names when it is for the third.
    for _ in 0..4 {
        turn(&pipeline, &mut kept, &queries, &mut out);
    }
    let before = CALLS.load(Ordering::Relaxed);
    let mut ready = 0;
    for _ in 0..TURNS {
        ready += turn(&pipeline, &mut kept, &queries, &mut out);
    }
    let calls = CALLS.load(Ordering::Relaxed) - before;
    assert_eq!(ready, queries.len() * TURNS as usize);
    assert_eq!(calls, 0);
}
