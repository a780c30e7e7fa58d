//! Right answers come out right, with no more questions than needed.

use super::*;
use crate::config::anchors::Anchors;
use crate::dns::Ede;

/// Standing of the untampered answers.
#[test]
fn untampered_answers() {
    let mut world = World::new();
    for (q, expected) in [
        (". SOA", "secure"),
        (". DNSKEY", "secure"),
        (". DS", "secure"),
        ("nowhere. A", "secure"),
        ("test. SOA", "secure"),
        ("test. DS", "secure"),
        ("test. DNSKEY", "secure"),
        ("ent.test. A", "secure"),
        ("ent.test. DS", "secure"),
        ("none.test. DS", "secure"),
        ("leaf.test. DS", "secure"),
        ("plain.test. DS", "secure"),
        ("plain.test. SOA", "insecure"),
        ("www.plain.test. A", "insecure"),
        ("www.plain.test. AAAA", "insecure"),
        ("none.plain.test. A", "insecure"),
        ("a.b.c.plain.test. DS", "insecure"),
        ("www.plain.far.test. A", "insecure"),
        // Without opt-out there is a record for every delegation.
        ("plain.hash. DS", "secure"),
        ("none.hash. A", "secure"),
        ("none.hash. DS", "secure"),
        ("far.hash. A", "secure"),
        ("www.plain.hash. A", "insecure"),
        ("www.plain.far.hash. A", "insecure"),
        // With opt-out, what is not there may be unsigned.
        ("plain.opt. DS", "insecure"),
        ("none.opt. A", "insecure"),
        ("none.opt. DS", "insecure"),
        ("far.opt. A", "insecure"),
        ("ent.opt. A", "secure"),
        ("opt. TXT", "secure"),
        ("leaf.opt. DS", "secure"),
        ("www.plain.opt. A", "insecure"),
        ("www.plain.far.opt. A", "insecure"),
        ("alg. SOA", "insecure"),
        ("digest. SOA", "insecure"),
        ("alg. DS", "secure"),
        ("www.slow. A", "secure"),
        ("www.slow. AAAA", "insecure"),
        ("none.slow. A", "insecure"),
        ("x.wild.slow. A", "insecure"),
    ] {
        let verdict = world.validate(&question(q));
        assert_eq!(standing(&verdict), expected, "{q}: {}", text_of(&verdict));
    }
}

/// Questions to leaf zones of all kinds, with NSEC and with NSEC3.
pub const LEAF_QUESTIONS: [&str; 24] = [
    "ZONE SOA",
    "ZONE NS",
    "ZONE DNSKEY",
    "ZONE DS",
    "ZONE TXT",
    "ZONE ANY",
    "www.ZONE A",
    "www.ZONE AAAA",
    "www.ZONE DS",
    "www.ZONE ANY",
    "alias.ZONE A",
    "alias.ZONE CNAME",
    "none.ZONE A",
    "x.none.ZONE A",
    "x.wild.ZONE A",
    "x.y.wild.ZONE A",
    "x.wild.ZONE AAAA",
    "x.own.wild.ZONE A",
    "x.walias.ZONE A",
    "x.old.ZONE A",
    "old.ZONE A",
    "ent.ZONE A",
    "c.b.ent.ZONE A",
    "zzz.ZONE A",
];

/// The zones of the world in which all of [`LEAF_QUESTIONS`] are secure.
pub const LEAVES: [&str; 4] = [
    "leaf.test.",
    "leaf.hash.",
    "deep.ent.test.",
    "deep.ent.opt.",
];

#[test]
fn leaf_answers_are_secure() {
    for zone in LEAVES {
        for q in LEAF_QUESTIONS {
            let q = question(&q.replace("ZONE", zone));
            // Cold and warm.
            let mut world = World::new();
            for round in ["cold", "warm"] {
                let right = world.answer(&q);
                let verdict = world.validate(&q);
                assert_eq!(standing(&verdict), "secure", "{q}: {}", text_of(&verdict));
                let data = |sets: &[RrSet]| -> Vec<(Name, Rtype)> {
                    sets.iter().map(|s| (s.name.clone(), s.rtype)).collect()
                };
                assert_eq!(data(&verdict.answer), data(&right.answer), "{q}");
                assert_eq!(data(&verdict.authority), data(&right.authority), "{q}");
                assert!(verdict.errors.is_empty(), "{q} {round}");
            }
            assert!(world.asked.is_empty(), "{q} asked again: {:?}", world.asked);
        }
        for q in [
            "www.unsigned.ZONE A",
            "none.unsigned.ZONE A",
            "unsigned.ZONE NS",
        ] {
            let q = question(&q.replace("ZONE", zone));
            let verdict = World::new().validate(&q);
            assert_eq!(standing(&verdict), "insecure", "{q}");
        }
    }
}

/// The chain is fetched with the fewest questions, and the signer's name saves the way label by label.
#[test]
fn few_questions() {
    for (q, count) in [
        (". SOA", 1),
        ("www.leaf.test. A", 5),
        ("www.deep.ent.test. A", 5),
        ("www.plain.test. A", 4),
        ("www.plain.far.test. A", 4),
        ("leaf.test. DNSKEY", 4),
        ("leaf.test. DS", 3),
    ] {
        let mut world = World::new();
        world.validate(&question(q));
        assert_eq!(world.asked.len(), count, "{q}: {:?}", world.asked);
    }
}

#[test]
fn reasons_of_insecurity_are_told() {
    let mut world = World::new();
    for (q, codes) in [
        ("alg. SOA", vec![Ede::UNSUPPORTED_DNSKEY_ALGORITHM]),
        ("digest. SOA", vec![Ede::UNSUPPORTED_DS_DIGEST]),
        ("none.slow. A", vec![Ede::UNSUPPORTED_NSEC3_ITERATIONS]),
        ("www.plain.test. A", vec![]),
    ] {
        for _ in ["cold", "warm"] {
            let verdict = world.validate(&question(q));
            let found: Vec<u16> = verdict.errors.iter().map(|e| e.code).collect();
            assert_eq!(found, codes, "{q}");
        }
    }
}

/// RFC 4035 section 5.3.3.
#[test]
fn ttls_are_cut_to_the_signature() {
    let mut world = World::new();
    let q = question("www.leaf.test. A");
    let tamper = |_: &Question, _: Option<u8>, r: &mut Response| {
        r.answer.iter_mut().for_each(|s| s.ttl = 100_000);
    };
    let verdict = world.validate_tampered(&q, tamper);
    assert_eq!((verdict.answer[0].ttl, verdict.ttl_max_s), (600, Some(600)));
    // Ten seconds before the end of all signatures.
    world.now.wall_s = crate::signer::EXPIRATION as u64 - 10;
    let verdict = world.validate(&q);
    assert_eq!(verdict.answer[0].ttl, 10);
    world.now.wall_s += 10;
    assert_eq!(standing(&world.validate(&q)), "secure");
    // The cached keys are of no use any more either.
    world.now.wall_s += 1;
    assert_eq!(standing(&world.validate(&q)), "bogus 7");
}

/// RSA signatures of the real root under the compiled-in trust anchors.
#[test]
fn the_real_root() {
    let compiled_in = Anchors::compiled_in();
    let ds = &compiled_in.closest(&Name::root()).unwrap().ds;
    let anchors = (ds.iter()).map(|ds| record(&Name::root(), Rtype::DS, 0, ds.clone()));
    let anchors = anchors.collect();
    let mut world = World::of_the_real_root(anchors);
    for q in [
        ". SOA",
        ". NS",
        ". DNSKEY",
        ". ZONEMD",
        ". MX",
        "com. DS",
        "ru. DS",
        "xn--p1ai. DS",
        "arpa. DS",
        "nx-tld. A",
        "a.b.nx-tld. DS",
        "local. A",
    ] {
        let verdict = world.validate(&question(q));
        assert_eq!(standing(&verdict), "secure", "{q}: {}", text_of(&verdict));
    }
    // A TLD without DS, and one whose DS is denied by another's record.
    let unsigned = world.answer(&question("zw. DS"));
    assert!(unsigned.answer.is_empty());
    assert_eq!(standing(&world.validate(&question("zw. DS"))), "secure");
    let forged = Response {
        authority: unsigned.authority,
        answer: vec![],
        rest: Vec::new(),
        ..world.answer(&question("ru. DS"))
    };
    let verdict = world.validate_response(&question("ru. DS"), forged, |_, _| true);
    assert_eq!(standing(&verdict), "bogus 12");
}
