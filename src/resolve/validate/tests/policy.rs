//! Anchors, negative anchors, mirrors, hints, and the cache.

use super::*;
use crate::cache::entry::AS_OF_TTL_MAX_S;
use crate::dns::Ede;
use crate::resolve::validate::Validator;
use crate::signer::{KSK, Key, ZSK, rr};

fn settings(anchors: Vec<Record>) -> Settings {
    Settings {
        anchors,
        ..Settings::default()
    }
}

fn standing_of(world: &mut World, q: &str) -> String {
    standing(&world.validate(&question(q)))
}

fn dnskey_anchor(signer: &Signer) -> Record {
    record(&signer.apex, Rtype::DNSKEY, 0, signer.keys[0].dnskey())
}

#[test]
fn anchors_of_any_form_and_place() {
    let root = Signer::new(".", 1);
    let leaf = Signer::new("leaf.test.", 10);
    let stranger = Signer::new(".", 77);
    let lame_ds =
        rr(". 0 DS 1 15 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    let foreign =
        rr(". 0 DS 1 99 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    for (what, anchors, in_leaf, in_hash) in [
        ("none", vec![], "insecure", "insecure"),
        ("DS", vec![root.ds_record(0)], "secure", "secure"),
        ("DNSKEY", vec![dnskey_anchor(&root)], "secure", "secure"),
        (
            "several",
            vec![lame_ds.clone(), stranger.ds_record(0), root.ds_record(0)],
            "secure",
            "secure",
        ),
        ("a leaf's", vec![leaf.ds_record(0)], "secure", "insecure"),
        (
            "a leaf's beside a wrong root's",
            vec![stranger.ds_record(0), dnskey_anchor(&leaf)],
            "secure",
            "bogus 9",
        ),
        (
            "a wrong one",
            vec![stranger.ds_record(0)],
            "bogus 9",
            "bogus 9",
        ),
        ("an unsupported one", vec![foreign], "insecure", "insecure"),
        (
            "no anchor type",
            vec![rr(". 0 A 192.0.2.1")],
            "insecure",
            "insecure",
        ),
    ] {
        let mut world = World::with(settings(anchors));
        assert_eq!(
            standing_of(&mut world, "www.leaf.test. A"),
            in_leaf,
            "{what}"
        );
        assert_eq!(
            standing_of(&mut world, "www.leaf.hash. A"),
            in_hash,
            "{what}"
        );
    }
}

/// RFC 7646: nothing below is validated, unless an anchor lies deeper.
#[test]
fn negative_trust_anchors() {
    let root = Signer::new(".", 1).ds_record(0);
    let leaf = Signer::new("leaf.test.", 10).ds_record(0);
    let mut world = World::with(Settings {
        negative_trust_anchors: vec![name("test.")],
        ..settings(vec![root.clone()])
    });
    for (q, expected) in [
        ("www.leaf.test. A", "insecure"),
        ("test. SOA", "insecure"),
        // The parent's.
        ("test. DS", "secure"),
        ("www.leaf.hash. A", "secure"),
    ] {
        assert_eq!(standing_of(&mut world, q), expected, "{q}");
    }
    for (off, expected) in [
        ("test.", "secure"),
        ("leaf.test.", "insecure"),
        ("www.leaf.test.", "insecure"),
    ] {
        let mut world = World::with(Settings {
            negative_trust_anchors: vec![name(off)],
            ..settings(vec![root.clone(), leaf.clone()])
        });
        assert_eq!(
            standing_of(&mut world, "www.leaf.test. A"),
            expected,
            "{off}"
        );
    }
}

#[test]
fn signatures_are_asked_for_in_vain() {
    let mut world = World::new();
    let q = question("www.leaf.test. RRSIG");
    let response = Response {
        authority: vec![],
        ..world.answer(&question("www.leaf.test. A"))
    };
    let verdict = world.validate_response(&q, response, |_, _| true);
    assert_eq!(standing(&verdict), "insecure");
    let mut other_class = question("www.leaf.test. A");
    other_class.class = crate::dns::Class::CH;
    assert_eq!(standing(&world.validate(&other_class)), "insecure");
}

/// An answer out of a mirror.
fn from_mirror(world: &mut World, q: &str, trust: LocalTrust) -> Verdict {
    let q = question(q);
    let mut response = world.answer(&q);
    response.origin = mirror(&response.zone.to_string(), trust);
    // What a mirror was verified by is not looked at again.
    for set in response.answer.iter_mut().chain(&mut response.authority) {
        for sig in &mut set.sigs {
            *sig.last_mut().unwrap() ^= 1;
        }
    }
    let verdict = world.validate_response(&q, response, |_, _| true);
    assert!(world.asked.is_empty());
    verdict
}

#[test]
fn answers_out_of_mirrors() {
    use LocalTrust::{Insecure, Secure, SecureAsOf};
    let mut world = World::new();
    for (q, trust, expected) in [
        ("www.leaf.test. A", Secure, "secure"),
        ("none.leaf.test. A", Secure, "secure"),
        ("x.wild.leaf.hash. A", Secure, "secure"),
        ("www.leaf.test. A", SecureAsOf, "as-of"),
        ("none.leaf.hash. A", SecureAsOf, "as-of"),
        ("www.leaf.test. A", Insecure, "insecure"),
        ("none.opt. A", Secure, "insecure"),
        ("none.opt. A", SecureAsOf, "insecure"),
        ("none.slow. A", Secure, "insecure"),
    ] {
        let verdict = from_mirror(&mut world, q, trust);
        assert_eq!(standing(&verdict), expected, "{q} {trust:?}");
        assert_as_of(&verdict, trust == SecureAsOf);
    }
    // Below no anchor it is insecure like anything else.
    let mut world = World::with(Settings::default());
    assert_eq!(
        standing(&from_mirror(&mut world, "www.leaf.test. A", Secure)),
        "insecure"
    );
    // A mirror that does not prove what it says is wrong.
    let mut world = World::new();
    let q = question("none.leaf.test. A");
    let mut response = world.answer(&q);
    response.origin = mirror("leaf.test.", Secure);
    response.authority.truncate(1);
    let verdict = world.validate_response(&q, response, |_, _| true);
    assert_eq!(standing(&verdict), "bogus 12");
}

fn assert_as_of(verdict: &Verdict, as_of: bool) {
    let codes: Vec<u16> = verdict.errors.iter().map(|e| e.code).collect();
    let told = codes.contains(&Ede::STALE_ANSWER) && codes.contains(&Ede::SIGNATURE_EXPIRED);
    assert_eq!(told, as_of, "{codes:?}");
    if as_of {
        assert!(verdict.ttl_max_s.is_some_and(|ttl| ttl <= AS_OF_TTL_MAX_S));
        assert!(verdict.errors.iter().any(|e| e.text.contains("serial 7")));
    }
}

/// Validates with links that come from mirrors of these zones.
fn with_mirrors(world: &mut World, q: &str, mirrors: &[(&str, LocalTrust)]) -> Verdict {
    let q = question(q);
    let response = world.answer(&q);
    world.validate_response(&q, response, |_, link| {
        let of_zone = mirrors.iter().find(|(zone, _)| link.zone == name(zone));
        if let Some((zone, trust)) = of_zone {
            link.origin = mirror(zone, *trust);
            for sig in link.answer.iter_mut().flat_map(|s| &mut s.sigs) {
                *sig.last_mut().unwrap() ^= 1;
            }
        }
        true
    })
}

#[test]
fn links_out_of_mirrors() {
    use LocalTrust::{Insecure, Secure, SecureAsOf};
    for (q, mirrors, expected) in [
        ("www.leaf.test. A", &[(".", Secure)][..], "secure"),
        ("www.leaf.test. A", &[(".", SecureAsOf)], "as-of"),
        (
            "www.leaf.test. A",
            &[(".", Secure), ("test.", SecureAsOf)],
            "as-of",
        ),
        (
            "www.leaf.test. A",
            &[(".", SecureAsOf), ("test.", Secure)],
            "as-of",
        ),
        (
            "none.leaf.hash. A",
            &[(".", SecureAsOf), ("hash.", SecureAsOf)],
            "as-of",
        ),
        (
            "www.plain.test. A",
            &[(".", Secure), ("test.", Secure)],
            "insecure",
        ),
        // What the mirror may not be trusted for is not bogus either.
        ("www.leaf.test. A", &[(".", Insecure)], "insecure"),
        ("www.leaf.test. A", &[("test.", Insecure)], "insecure"),
    ] {
        let mut world = World::new();
        for _ in ["cold", "warm"] {
            let verdict = with_mirrors(&mut world, q, mirrors);
            assert_eq!(
                standing(&verdict),
                expected,
                "{q} {mirrors:?}: {}",
                text_of(&verdict)
            );
            assert_as_of(&verdict, expected == "as-of");
        }
        assert!(world.asked.is_empty(), "{q}");
    }
    // Insecurity that was learned through an as-of link is as-of, too.
    let mut world = World::new();
    let verdict = with_mirrors(&mut world, "www.plain.test. A", &[("test.", SecureAsOf)]);
    assert_eq!(standing(&verdict), "insecure");
    assert_as_of(&verdict, true);
}

/// Below an as-of link the signatures must be valid now, and forged data stays bogus.
#[test]
fn data_below_as_of_links_must_validate() {
    let mirrors = [
        (".", LocalTrust::SecureAsOf),
        ("test.", LocalTrust::SecureAsOf),
    ];
    let mut world = World::new();
    world.now.wall_s = crate::signer::EXPIRATION as u64 + 1;
    let verdict = with_mirrors(&mut world, "www.leaf.test. A", &mirrors);
    assert_eq!(standing(&verdict), "bogus 7");

    let mut world = World::new();
    with_mirrors(&mut world, "www.leaf.test. A", &mirrors);
    let q = question("www.leaf.test. A");
    let mut forged = world.answer(&q);
    forged.answer[0].sigs.clear();
    let verdict = world.validate_response(&q, forged, |_, _| true);
    assert_eq!(standing(&verdict), "bogus 10");
}

#[test]
fn as_of_knowledge_is_short_and_can_be_purged() {
    let mirrors = [(".", LocalTrust::SecureAsOf)];
    let q = "www.leaf.test. A";
    let mut world = World::new();
    with_mirrors(&mut world, q, &mirrors);
    assert_eq!(world.ctx.zones_known(), 3);
    world.ctx.purge_as_of();
    assert_eq!(world.ctx.zones_known(), 0);
    assert_eq!(standing_of(&mut world, q), "secure");

    let mut world = World::new();
    with_mirrors(&mut world, q, &mirrors);
    world.now.mono += Duration::from_secs(AS_OF_TTL_MAX_S.into());
    assert_eq!(standing_of(&mut world, q), "secure");

    // A validation that began before the purge does not bring the zones back.
    let world = World::new();
    let q = question(q);
    let mut validation = Validation::new(q.clone(), world.answer(&q), world.ctx.clone());
    let Step::Ask(asks) = validation.step(NOW, Event::Start) else {
        panic!("no question");
    };
    world.ctx.purge_as_of();
    for ask in asks {
        let mut link = world.answer(&ask.question);
        link.origin = mirror(&link.zone.to_string(), LocalTrust::SecureAsOf);
        let (question, attempt, result) = (ask.question, ask.attempt, Some(link));
        validation.step(
            NOW,
            Event::Reply {
                question,
                attempt,
                result,
            },
        );
    }
    assert_eq!(world.ctx.zones_known(), 0);
}

#[test]
fn flushed_zones_are_learned_again() {
    let mut world = World::new();
    standing_of(&mut world, "www.leaf.test. A");
    world.ctx.forget(&name("test."), true);
    assert_eq!(world.ctx.zones_known(), 1);
    assert_eq!(standing_of(&mut world, "www.leaf.test. A"), "secure");
    assert_eq!(world.asked.len(), 4);
}

/// A zone rolled its keys: what is signed by a key that the cache lacks makes it fetch them anew, once.
#[test]
fn rolled_keys_are_fetched_anew() {
    let mut world = World::new();
    let q = question("www.leaf.test. A");
    world.validate(&q);
    let mut rolled = Signer::new("leaf.test.", 10);
    let ksk = Key::ed25519(10, KSK);
    rolled.keys = vec![ksk, Key::ed25519(99, ZSK)];
    let answer = |world: &World, ask: &Question| {
        let mut response = world.answer(ask);
        if response.zone != rolled.apex {
            return response;
        }
        for set in &mut response.answer {
            if set.rtype == Rtype::DNSKEY {
                set.rdatas = rolled.keys.iter().map(|k| k.dnskey()).collect();
            }
            set.sigs = rolled.rrsigs(&set.name, set.rtype, set.ttl, &set.rdatas);
        }
        response
    };
    // Too soon after they were learned: nobody makes it ask at every packet.
    let response = answer(&world, &q);
    let verdict = world.validate_response(&q, response.clone(), |_, _| true);
    assert_eq!(standing(&verdict), "bogus 9");
    world.now.mono += Duration::from_secs(60);
    let shadow = World::new();
    let verdict = world.validate_response(&q, response.clone(), |ask, link| {
        *link = answer(&shadow, &ask.question);
        true
    });
    assert_eq!(standing(&verdict), "secure", "{}", text_of(&verdict));
    let first = &world.asked[0];
    assert_eq!(
        (first.question.to_string(), first.attempt),
        ("leaf.test. DS".into(), 0)
    );
    assert!(
        world
            .asked
            .iter()
            .any(|a| a.question.rtype == Rtype::DNSKEY && a.attempt == 1)
    );
    let verdict = world.validate_response(&q, response, |_, _| true);
    assert_eq!(standing(&verdict), "secure");
    assert!(world.asked.is_empty());
}

/// Hints that lead nowhere cost a question and nothing else.
#[test]
fn wrong_hints_do_no_harm() {
    let mut world = World::new();
    let q = question("www.plain.far.test. A");
    for (zone, signer) in [
        ("www.plain.far.test.", None),
        ("far.test.", None),
        (".", None),
        ("hash.", None),
        ("plain.far.test.", Some("www.plain.far.test.")),
        ("plain.far.test.", Some("far.test.")),
        ("plain.far.test.", Some("leaf.hash.")),
        ("plain.far.test.", Some("test.")),
        ("plain.far.test.", Some(".")),
    ] {
        world.ctx = Arc::new(Validator::new(settings(vec![world.root.ds_record(0)])));
        let mut response = world.answer(&q);
        response.zone = name(zone);
        if let Some(signer) = signer {
            let stranger = Signer::new(signer, 66);
            for set in &mut response.answer {
                set.sigs = stranger.rrsigs(&set.name, set.rtype, set.ttl, &set.rdatas);
            }
        }
        let verdict = world.validate_response(&q, response, |_, _| true);
        assert_eq!(
            standing(&verdict),
            "insecure",
            "{zone} {signer:?}: {}",
            text_of(&verdict)
        );
        assert!(
            world.asked.len() <= 8,
            "{zone} {signer:?}: {:?}",
            world.asked
        );
    }
}

/// What nobody asked for is not looked at; what is asked twice in one step comes once.
#[test]
fn unasked_replies_are_ignored() {
    let world = World::new();
    let q = question("www.leaf.test. A");
    let mut validation = Validation::new(q.clone(), world.answer(&q), world.ctx.clone());
    let Step::Ask(asks) = validation.step(NOW, Event::Start) else {
        panic!("no question");
    };
    let unique: std::collections::HashSet<_> = asks.iter().map(|a| a.question.clone()).collect();
    assert_eq!(unique.len(), asks.len());
    for (q, attempt) in [("test. DNSKEY", 0), (". DNSKEY", 1), ("x. DS", 0)] {
        let question = question(q);
        let result = Some(world.answer(&question));
        let step = validation.step(
            NOW,
            Event::Reply {
                question,
                attempt,
                result,
            },
        );
        assert!(matches!(step, Step::Ask(more) if more.is_empty()), "{q}");
    }
}

/// Some servers say NXDOMAIN for empty non-terminals, and the other way round: in a link the proof counts.
#[test]
fn response_codes_of_links_do_not_matter() {
    for q in [
        "www.plain.far.test. A",
        "www.plain.far.hash. A",
        "www.leaf.test. AAAA",
    ] {
        let q = question(q);
        let mut world = World::new();
        let right = standing(&world.validate(&q));
        let mut world = World::new();
        let mut response = world.answer(&q);
        // Without a hint, label by label.
        response.zone = name(".");
        let verdict = world.validate_response(&q, response, |ask, link| {
            if ask.question.rtype == Rtype::DS && link.answer.is_empty() {
                link.rcode = match link.rcode {
                    Rcode::NXDOMAIN => Rcode::NOERROR,
                    _ => Rcode::NXDOMAIN,
                };
            }
            ask.attempt == 0
        });
        assert_eq!(standing(&verdict), right, "{q}: {}", text_of(&verdict));
    }
}
