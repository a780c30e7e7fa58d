//! The cache by tables, and against a naive model under a virtual clock.

use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::dns::{Ede, RrSet, group};
use crate::signer::{name, rrs};

const ROOM: u64 = 1 << 20;

fn q(name: &str, rtype: Rtype) -> Question {
    Question::new(name.parse().unwrap(), rtype)
}

fn at(s: u64) -> Now {
    Now::new(Duration::from_secs(s), 1_000_000 + s)
}

fn entry(rcode: Rcode, answer: Vec<RrSet>, security: Security) -> Entry {
    Entry {
        rcode,
        answer,
        authority: Vec::new(),
        security,
        errors: Vec::new(),
    }
}

fn answer(lines: &str, security: Security) -> Entry {
    entry(Rcode::NOERROR, group(&rrs(lines)), security)
}

fn denial(security: Security) -> Entry {
    entry(Rcode::NXDOMAIN, Vec::new(), security)
}

fn put(cache: &Cache, question: &Question, entry: &Entry, ttl_s: u32, now: Now) {
    cache.put(question, entry, ttl_s, Occasion::Question, now);
}

fn empty() -> (Cache, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    (Cache::new(ROOM, metrics.clone()), metrics)
}

#[test]
fn denials_and_aliases_answer_for_every_type() {
    let (cache, _) = empty();
    let insecure = denial(Security::Insecure);
    put(&cache, &q("gone.test.", Rtype::A), &insecure, 60, at(0));
    let alias = answer("www.test. 60 CNAME a.test.", Security::Insecure);
    put(&cache, &q("www.test.", Rtype::A), &alias, 60, at(0));
    for (name, rtype, found) in [
        ("gone.test.", Rtype::MX, true),
        ("GONE.test.", Rtype::A, true),
        ("www.test.", Rtype::AAAA, true),
        ("www.test.", Rtype::CNAME, true),
        ("www.test.", Rtype::ANY, false),
        // Perhaps the child's word, where the parent's is asked for.
        ("www.test.", Rtype::DS, false),
        ("test.", Rtype::A, false),
    ] {
        let hit = cache.find(&q(name, rtype), at(0));
        assert_eq!(hit.is_some(), found, "{name} {rtype}");
    }
    assert!(cache.find(&q("gone.test.", Rtype::A), at(60)).is_none());
}

#[test]
fn a_type_that_is_not_there_hides_no_other() {
    let (cache, _) = empty();
    for rtype in [Rtype::CNAME, NXDOMAIN_KEY, Rtype::MX] {
        let nothing = entry(Rcode::NOERROR, vec![], Security::Secure);
        put(&cache, &q("www.test.", rtype), &nothing, 60, at(0));
        assert!(cache.find(&q("www.test.", Rtype::A), at(0)).is_none());
    }
    assert!(cache.find(&q("www.test.", Rtype::CNAME), at(0)).is_some());
}

/// RFC 8020 section 2, for proven denials only.
#[test]
fn nothing_is_below_a_proven_denial() {
    let (cache, _) = empty();
    for (name, security) in [
        ("gone.test.", Security::Secure),
        ("odd.test.", Security::Insecure),
        ("old.test.", Security::SecureAsOf),
        (".", Security::Secure),
    ] {
        put(&cache, &q(name, Rtype::A), &denial(security), 60, at(0));
    }
    for (below, denied) in [
        ("a.gone.test.", Some("gone.test.")),
        ("c.b.a.GONE.test.", Some("gone.test.")),
        ("gone.test.", None),
        ("xgone.test.", None),
        ("a.odd.test.", None),
        ("a.old.test.", None),
        ("test.", None),
    ] {
        let found = cache.denial_above(&name(below), at(59));
        let found = found.map(|(denied, hit)| (denied.to_string().to_lowercase(), hit.left_s));
        assert_eq!(found, denied.map(|d| (d.to_owned(), 1)), "{below}");
        assert!(cache.denial_above(&name(below), at(60)).is_none());
    }
}

/// RFC 2181 section 5.4.1: what is better proven stays while it lives.
#[test]
fn less_credible_data_replaces_nothing_that_lives() {
    use Security::{Insecure, Secure, SecureAsOf};
    let old = "www.test. 60 A 192.0.2.1";
    let new = "www.test. 60 A 192.0.2.2";
    for (before, after, now, taken) in [
        (Insecure, Insecure, at(1), true),
        (Insecure, Secure, at(1), true),
        (Secure, Secure, at(1), true),
        (Secure, Insecure, at(1), false),
        (Secure, SecureAsOf, at(1), false),
        (SecureAsOf, Insecure, at(1), false),
        (Secure, Insecure, at(60), true),
    ] {
        let (cache, _) = empty();
        let question = q("www.test.", Rtype::A);
        put(&cache, &question, &answer(old, before.clone()), 60, at(0));
        put(&cache, &question, &answer(new, after.clone()), 60, now);
        let hit = cache.find(&question, now).unwrap();
        let expected = if taken { new } else { old };
        assert_eq!(
            hit.entry.answer[0].rdatas,
            group(&rrs(expected))[0].rdatas,
            "{before:?} {after:?}"
        );
    }
    // What nobody proved wrong may still be bogus; that is never kept.
    let (cache, _) = empty();
    let bogus = Security::Bogus(crate::dns::Ede::new(crate::dns::Ede::BOGUS, ""));
    put(
        &cache,
        &q("www.test.", Rtype::A),
        &answer(new, bogus),
        60,
        at(0),
    );
    assert_eq!(cache.stats().entries, 0);
}

#[test]
fn a_name_that_exists_again_is_not_denied() {
    use Security::{Insecure, Secure};
    let www = "www.test. 60 A 192.0.2.1";
    for (denied, found, stays) in [
        (Insecure, Insecure, false),
        (Secure, Secure, false),
        (Secure, Insecure, true),
    ] {
        let (cache, _) = empty();
        put(
            &cache,
            &q("www.test.", Rtype::MX),
            &denial(denied),
            60,
            at(0),
        );
        put(
            &cache,
            &q("www.test.", Rtype::A),
            &answer(www, found),
            60,
            at(0),
        );
        let hit = cache.find(&q("www.test.", Rtype::MX), at(0));
        assert_eq!(hit.is_some(), stays);
        assert!(cache.find(&q("www.test.", Rtype::A), at(0)).is_some());
    }
}

#[test]
fn popular_entries_are_refreshed_once_in_their_last_tenth() {
    let (cache, _) = empty();
    let question = q("www.test.", Rtype::A);
    let www = answer("www.test. 60 A 192.0.2.1", Security::Insecure);
    let due = |s| cache.find(&question, at(s)).unwrap().refresh_due;
    // Fetched for one client, asked for by a second.
    put(&cache, &question, &www, 100, at(0));
    assert_eq!(
        [due(1), due(89), due(90), due(99)],
        [false, false, true, true]
    );
    assert!(cache.claim_refresh(&question, at(99)));
    assert!(!cache.claim_refresh(&question, at(99)));
    assert!(!due(99));
    // Fetched for nobody: two must ask before it is fetched once more.
    cache.put(&question, &www, 100, Occasion::Refresh, at(99));
    assert_eq!([due(190), due(190)], [false, true]);
    // Of a short life there is no last tenth, and the dead are not refreshed.
    put(&cache, &question, &www, 9, at(200));
    assert_eq!([due(207), due(208)], [false, false]);
    assert!(!cache.claim_refresh(&question, at(209)));
    // An alias is refreshed by whatever type it was asked for.
    let alias = answer("alias.test. 60 CNAME www.test.", Security::Insecure);
    put(&cache, &q("alias.test.", Rtype::A), &alias, 100, at(0));
    assert!(
        cache
            .find(&q("alias.test.", Rtype::MX), at(95))
            .unwrap()
            .refresh_due
    );
    assert!(cache.claim_refresh(&q("alias.test.", Rtype::MX), at(95)));
}

#[test]
fn flushing_takes_a_name_or_a_tree_and_what_denies_it() {
    let fill = || {
        let (cache, _) = empty();
        for (name, gone) in [
            ("test.", false),
            ("a.test.", false),
            ("b.a.test.", false),
            ("c.b.a.test.", false),
            ("d.test.", true),
            ("other.", false),
        ] {
            let e = match gone {
                true => denial(Security::Secure),
                false => answer("x. 60 A 192.0.2.1", Security::Insecure),
            };
            put(&cache, &q(name, Rtype::A), &e, 60, at(0));
        }
        put(
            &cache,
            &q("a.test.", Rtype::MX),
            &entry(Rcode::NOERROR, vec![], Security::Insecure),
            60,
            at(0),
        );
        cache
    };
    for (name, tree, gone) in [
        ("a.test.", false, 2),
        ("A.test.", true, 4),
        ("test.", false, 1),
        ("test.", true, 6),
        ("none.test.", true, 0),
        ("x.d.test.", false, 1),
        (".", true, 7),
        (".", false, 0),
    ] {
        let cache = fill();
        assert_eq!(
            cache.forget(&name.parse().unwrap(), tree),
            gone,
            "{name} {tree}"
        );
        assert_eq!(cache.stats().entries, 7 - gone);
    }
}

/// At the end of a drill, and of a hijack: what was known before is nobody's but the truth's.
#[test]
fn what_was_stored_since_is_purged_and_what_is_older_stays() {
    let remarked = |lines: &str| Entry {
        errors: vec![Ede::new(Ede::STALE_ANSWER, "")],
        ..answer(lines, Security::Secure)
    };
    let (cache, _) = empty();
    for (s, name) in [(10, "old"), (20, "new")] {
        let set = |kind: &str| format!("{kind}.{name}. 5 A 192.0.2.1");
        let plain = answer(&set("unsigned"), Security::Insecure);
        let signed = answer(&set("signed"), Security::Secure);
        let all = [
            ("unsigned", plain),
            ("signed", signed),
            ("remarked", remarked(&set("remarked"))),
        ];
        for (kind, entry) in all {
            put(
                &cache,
                &q(&format!("{kind}.{name}."), Rtype::A),
                &entry,
                600,
                at(s),
            );
        }
    }
    let stay = || {
        let all = [
            "unsigned.old.",
            "signed.old.",
            "remarked.old.",
            "unsigned.new.",
            "signed.new.",
            "remarked.new.",
        ];
        all.map(|name| cache.find(&q(name, Rtype::A), at(21)).is_some())
    };
    assert_eq!(stay(), [true; 6]);
    cache.purge_remarked(Duration::from_secs(15));
    assert_eq!(stay(), [true, true, true, true, true, false]);
    assert_eq!(cache.purge_unsigned(Duration::from_secs(15)), 1);
    assert_eq!(stay(), [true, true, true, false, true, false]);
}

#[test]
fn as_of_entries_are_purged() {
    let (cache, metrics) = empty();
    for (name, security) in [
        ("a.test.", Security::SecureAsOf),
        ("b.test.", Security::Secure),
        ("b.other.", Security::Insecure),
    ] {
        let e = answer(&format!("{name} 60 A 192.0.2.1"), security);
        put(&cache, &q(name, Rtype::A), &e, 30, at(0));
    }
    // Not signed, as of a proof that has run out; or with another remark.
    for (name, code) in [("c.test.", Ede::SIGNATURE_EXPIRED), ("b.test.", Ede::OTHER)] {
        let mut e = answer(&format!("{name} 60 A 192.0.2.1"), Security::Insecure);
        e.errors.push(Ede::new(code, "so"));
        put(&cache, &q(name, Rtype::TXT), &e, 30, at(0));
    }
    cache.purge_as_of();
    assert_eq!(cache.stats().entries, 3);
    assert_eq!(cache.forget(&Name::root(), true), 3);
    let stats = cache.stats();
    assert_eq!((stats.entries, stats.bytes), (0, 0));
    assert_eq!(stats.kinds, [Tally::default(); 4]);
    let gauges = (metrics.cache_entries.value(), metrics.cache_bytes.value());
    assert_eq!(gauges, (0, 0));
}

#[test]
fn the_room_is_kept_to_and_losses_are_counted() {
    let (cache, metrics) = empty();
    for n in 0..20_000u32 {
        let e = answer(&format!("n{n}.test. 60 A 192.0.2.1"), Security::Insecure);
        put(
            &cache,
            &q(&format!("n{n}.test."), Rtype::A),
            &e,
            60,
            at(u64::from(n / 1000)),
        );
        assert!(n % 500 > 0 || cache.stats().bytes <= ROOM as usize);
    }
    let stats = cache.stats();
    assert!(stats.entries > 4_000, "{}", stats.entries);
    assert_eq!(stats.kinds[Kind::Answer as usize].entries, stats.entries);
    let lost = metrics.cache_evictions_total.value();
    assert_eq!(lost, 20_000 - stats.entries as u64);
    assert_eq!(metrics.cache_expired_total.value(), 0);
    // What has run out makes room before what lives, and is no loss.
    for n in 0..1_000 {
        let e = answer(&format!("m{n}.test. 60 A 192.0.2.1"), Security::Insecure);
        put(
            &cache,
            &q(&format!("m{n}.test."), Rtype::A),
            &e,
            60,
            at(1_000),
        );
    }
    assert_eq!(metrics.cache_evictions_total.value(), lost);
    assert!(metrics.cache_expired_total.value() > 900);
}

/// Random questions, answers, clocks that jump both ways: what is found is always what was put last, with the TTL that
/// both clocks leave it, and never more.
#[test]
fn random_use_agrees_with_a_naive_model() {
    #[derive(Clone)]
    struct Kept {
        rdata: u8,
        rank: u8,
        mono_end_ms: u64,
        wall_end_s: u64,
    }
    let left_s = |kept: &Kept, mono_ms: u64, wall_s: u64| {
        let mono_s = kept.mono_end_ms.saturating_sub(mono_ms).div_ceil(1000);
        mono_s.min(kept.wall_end_s.saturating_sub(wall_s)) as u32
    };
    for seed in 0..20 {
        let mut rng = SmallRng::seed_from_u64(seed);
        // Room for everything: what is missing is a fault.
        let cache = Cache::new(64 << 20, Arc::default());
        let mut model: HashMap<(u32, u16), Kept> = HashMap::new();
        let (mut mono_ms, mut wall_s) = (rng.random_range(0..5_000u64), 1_000_000u64);
        for _ in 0..3_000 {
            let now = Now::new(Duration::from_millis(mono_ms), wall_s);
            let (n, rtype) = (rng.random_range(0..60u32), rng.random_range(1..4u16));
            let question = q(&format!("n{n}.test."), Rtype(rtype + 255));
            match rng.random_range(0..8) {
                0 => {
                    let step = rng.random_range(0..3_000);
                    mono_ms += step;
                    wall_s += step / 1000;
                }
                // The wall clock is stepped.
                1 if rng.random_range(0..10) == 0 => {
                    wall_s = wall_s + rng.random_range(0..120) - 60;
                }
                2 if rng.random_range(0..20) == 0 => {
                    cache.forget(&question.name, false);
                    model.retain(|(known, _), _| *known != n);
                }
                3..5 => {
                    let ttl_s = rng.random_range(0..60);
                    let rank = rng.random_range(1..=3u8);
                    let security = [Security::Insecure, Security::SecureAsOf, Security::Secure];
                    let rdata = rng.random();
                    let set =
                        RrSet::single(question.name.clone(), question.rtype, 1, vec![rdata].into());
                    let e = entry(
                        Rcode::NOERROR,
                        vec![set],
                        security[usize::from(rank) - 1].clone(),
                    );
                    put(&cache, &question, &e, ttl_s, now);
                    let old = model.get(&(n, rtype));
                    let weaker =
                        old.is_some_and(|o| o.rank > rank && left_s(o, mono_ms, wall_s) > 0);
                    if ttl_s > 0 && !weaker {
                        let kept = Kept {
                            rdata,
                            rank,
                            mono_end_ms: mono_ms + u64::from(ttl_s) * 1000,
                            wall_end_s: wall_s + u64::from(ttl_s),
                        };
                        model.insert((n, rtype), kept);
                    }
                }
                _ => {
                    let found = cache.find(&question, now);
                    let found = found.map(|h| (h.entry.answer[0].rdatas[0][0], h.left_s));
                    let known = model.get(&(n, rtype));
                    let known = known.map(|k| (k.rdata, left_s(k, mono_ms, wall_s)));
                    assert_eq!(found, known.filter(|(_, left)| *left > 0), "seed {seed}");
                }
            }
        }
        assert_eq!(cache.stats().entries, model.len());
    }
}

/// RFC 8767: what has run out is found for a time, the newest of what may speak for a question.
#[test]
fn what_was_stored_last_is_the_one_that_has_run_out() {
    use Security::{Insecure, Secure};
    let address = |ip: &str| answer(&format!("www.test. 60 A 192.0.2.{ip}"), Secure);
    let alias = answer("www.test. 60 CNAME a.test.", Secure);
    let dname = answer("test. 60 DNAME other.", Secure);
    let nothing = entry(Rcode::NOERROR, vec![], Secure);
    let denied = |s| denial(s);
    let a = q("www.test.", Rtype::A);
    // What was put, at second 0, 100, ...; and what is found for `www.test. A` at second 1000.
    for (puts, expected) in [
        (vec![(&a, address("1"))], "192.0.2.1"),
        (vec![(&a, address("1")), (&a, address("2"))], "192.0.2.2"),
        (vec![(&a, address("1")), (&a, alias.clone())], "CNAME"),
        (vec![(&a, alias.clone()), (&a, address("1"))], "192.0.2.1"),
        (vec![(&a, address("1")), (&a, denied(Insecure))], "denied"),
        (vec![(&a, denied(Secure)), (&a, address("1"))], "192.0.2.1"),
        (vec![(&a, address("1")), (&a, nothing)], "nothing"),
        // Asked for with another type, it speaks for this one too.
        (
            vec![
                (&a, address("1")),
                (&q("www.test.", Rtype::MX), denied(Secure)),
            ],
            "denied",
        ),
        // Proven above, it speaks for what is below, unproven not.
        (
            vec![(&a, address("1")), (&q("test.", Rtype::A), denied(Secure))],
            "denied above",
        ),
        (
            vec![
                (&a, address("1")),
                (&q("test.", Rtype::A), denied(Insecure)),
            ],
            "192.0.2.1",
        ),
        (
            vec![(&q("test.", Rtype::A), denied(Secure)), (&a, address("1"))],
            "192.0.2.1",
        ),
        (
            vec![(&a, address("1")), (&q("test.", Rtype::DNAME), dname)],
            "DNAME above",
        ),
    ] {
        let cache = Cache::new(ROOM, Arc::default()).keeping_stale(5000);
        for (n, (question, entry)) in puts.iter().enumerate() {
            put(&cache, question, entry, 60, at(100 * n as u64));
        }
        assert!(cache.find(&a, at(1000)).is_none());
        let found = cache.find_stale(&a, at(1000), |_| true).unwrap();
        let above = if found.above.is_some() { " above" } else { "" };
        let last = found.entry.answer.last();
        let said = match last.map(|set| set.rtype) {
            _ if found.entry.rcode == Rcode::NXDOMAIN => "denied".to_owned(),
            None => "nothing".to_owned(),
            Some(Rtype::A) => format!("192.0.2.{}", last.unwrap().rdatas[0][3]),
            Some(other) => other.to_string(),
        };
        assert_eq!(format!("{said}{above}"), expected, "{puts:?}");
        assert_eq!(
            found.ran_out_s,
            1000 - 60
                - 100
                    * (puts.len() as u64 - 1).min(
                        if expected == "192.0.2.1" && puts.len() == 2 && puts[1].1 != address("1") {
                            0
                        } else {
                            9
                        }
                    )
        );
        assert_eq!(cache.stale_stats(at(1000)).entries, cache.stats().entries);
    }
}

#[test]
fn what_has_run_out_is_of_use_for_so_long_and_no_longer() {
    let a = q("www.test.", Rtype::A);
    let address = answer("www.test. 60 A 192.0.2.1", Security::Secure);
    let cache = Cache::new(ROOM, Arc::default()).keeping_stale(500);
    put(&cache, &a, &address, 60, at(0));
    for (s, found) in [(59, false), (60, true), (559, true), (560, false)] {
        assert_eq!(
            cache.find_stale(&a, at(s), |_| true).is_some(),
            found,
            "{s}"
        );
    }
    // Newer for a moment only: with a TTL of 0 it is not kept, and what it replaced is no better.
    put(&cache, &a, &address, 0, at(100));
    assert_eq!(cache.find_stale(&a, at(100), |_| true), None);
    // Nothing is kept where nothing is to be.
    let (cache, _) = empty();
    put(&cache, &a, &address, 60, at(0));
    assert_eq!(cache.find_stale(&a, at(100), |_| true), None);
}

/// A denial that is forgotten before the data that it ended must not bring it back.
#[test]
fn a_denial_takes_what_has_run_out_away() {
    let cache = Cache::new(ROOM, Arc::default()).keeping_stale(5000);
    let types = [Rtype::A, Rtype::AAAA, Rtype::MX, Rtype::TXT, Rtype::HTTPS];
    for rtype in types {
        let nothing = entry(Rcode::NOERROR, vec![], Security::Insecure);
        put(&cache, &q("www.test.", rtype), &nothing, 60, at(0));
    }
    put(
        &cache,
        &q("www.test.", Rtype::A),
        &denial(Security::Insecure),
        60,
        at(100),
    );
    assert_eq!(cache.stats().entries, 1);
    assert_eq!(cache.forget(&name("www.test."), false), 1);
    for rtype in types {
        assert_eq!(
            cache.find_stale(&q("www.test.", rtype), at(200), |_| true),
            None
        );
    }
}
