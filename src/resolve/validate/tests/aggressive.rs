//! Answers made from validated denials (RFC 8198).

use super::right::{LEAF_QUESTIONS, LEAVES};
use super::*;
use crate::config::NegativeTrustAnchor;
use crate::resolve::validate::Synthesised;

/// A world that has validated the answers to these questions.
fn taught(lessons: &[&str]) -> World {
    let mut world = World::new();
    for lesson in lessons {
        world.validate(&question(lesson));
    }
    world
}

fn made(world: &World, q: &str) -> Option<Synthesised> {
    world.ctx.synthesise(&question(q), world.now)
}

/// `NXDOMAIN`, `NODATA`, the answer's type, or `-` for none.
fn brief(made: &Option<Synthesised>) -> String {
    match made {
        None => "-".into(),
        Some(made) => match made.answer.first() {
            Some(set) => set.rtype.to_string(),
            None if made.rcode == Rcode::NXDOMAIN => "NXDOMAIN".into(),
            None => "NODATA".into(),
        },
    }
}

/// RFC 8198 sections 5.1 to 5.3, one lesson at a time.
#[test]
fn one_answer_answers_others() {
    for (lessons, q, expected) in [
        // The gap alius..ent holds the name, its wildcard is denied beside it.
        (&["none.ZONE A"][..], "nonf.ZONE TXT", "NXDOMAIN"),
        (&["none.ZONE A"], "x.none.ZONE A", "NXDOMAIN"),
        (&["none.ZONE A"], "none.ZONE DS", "NXDOMAIN"),
        (&["none.ZONE A"], "www.ZONE A", "-"),
        (&["www.ZONE AAAA"], "www.ZONE MX", "NODATA"),
        (&["www.ZONE AAAA"], "www.ZONE DS", "NODATA"),
        (&["www.ZONE AAAA"], "www.ZONE TXT", "-"),
        (&["www.ZONE AAAA"], "www.ZONE ANY", "-"),
        (&["www.ZONE AAAA"], "www.ZONE RRSIG", "-"),
        // Where there is a CNAME or a DNAME, nothing else is denied.
        (&["alias.ZONE DS"], "alias.ZONE A", "-"),
        (&["old.ZONE A"], "old.ZONE AAAA", "NODATA"),
        (&["old.ZONE A"], "x.old.ZONE A", "-"),
        // Empty non-terminals.
        (&["ent.ZONE A"], "ent.ZONE TXT", "NODATA"),
        // A wildcard's set, its absent type, and where it does not reach. It needs no SOA.
        (&["a.wild.ZONE A"], "b.a.wild.ZONE A", "A"),
        (
            &["a.wild.ZONE A", "a.wild.ZONE TXT"],
            "b.a.wild.ZONE TXT",
            "NODATA",
        ),
        (&["a.wild.ZONE A"], "own.wild.ZONE A", "-"),
        (&["a.walias.ZONE A"], "b.a.walias.ZONE A", "CNAME"),
        (&["a.walias.ZONE A"], "b.a.walias.ZONE CNAME", "CNAME"),
        (&["a.walias.ZONE A"], "b.a.walias.ZONE DS", "-"),
        // Delegations: the parent knows DS alone, and nothing below (RFC 6840 section 4.1).
        (&["unsigned.ZONE DS"], "unsigned.ZONE DS", "NODATA"),
        (&["unsigned.ZONE DS"], "unsigned.ZONE A", "-"),
        (&["unsigned.ZONE DS"], "x.unsigned.ZONE A", "-"),
        (&["unsigned.ZONE DS"], "x.unsigned.ZONE DS", "-"),
        // The apex record says nothing of the zone's DS.
        (&["ZONE TXT"], "ZONE MX", "NODATA"),
        (&["ZONE TXT"], "ZONE DS", "-"),
    ] {
        for zone in ["leaf.test.", "leaf.hash.", "deep.ent.test."] {
            let lessons: Vec<String> = lessons.iter().map(|l| l.replace("ZONE", zone)).collect();
            let lessons: Vec<&str> = lessons.iter().map(String::as_str).collect();
            let q = q.replace("ZONE", zone);
            let made = made(&taught(&lessons), &q);
            // Neighbours in the order of names are none in the order of hashes.
            let hashed = zone == "leaf.hash.";
            let found = brief(&made);
            let missed = hashed && found == "-" && (q.starts_with("nonf") || q.starts_with("b.a"));
            assert!(
                found == expected || missed,
                "{q} after {lessons:?}: {found}"
            );
            if let Some(made) = made {
                assert_eq!(made.zone, name(zone));
            }
        }
    }
}

/// Names in and around the world's zones.
fn names(zone: &str) -> Vec<String> {
    let mut names = vec![zone.to_owned()];
    let first = [
        "a",
        "alias",
        "b",
        "b.ent",
        "c.b.ent",
        "ent",
        "none",
        "ns",
        "old",
        "x.old",
        "own.wild",
        "plain",
        "www.plain",
        "q.own.wild",
        "unsigned",
        "x.unsigned",
        "walias",
        "x.walias",
        "x.y.walias",
        "wild",
        "x.wild",
        "x.y.wild",
        "www",
        "x.www",
        "zz",
        "zzz",
        "*",
        "*.wild",
        "leaf",
        "x.leaf",
        "deep.ent",
        "far",
        "plain.far",
        "\\000",
        "\\255",
    ];
    names.extend(first.iter().map(|label| format!("{label}.{zone}")));
    names.extend((0..40).map(|i| format!("r{}.{zone}", i * 7919 % 1000)));
    names
}

/// Whatever is made says what the zone's server says, and a validator of its own finds it secure.
#[test]
fn what_is_made_is_what_the_zone_says() {
    let zones = [
        "leaf.test.",
        "leaf.hash.",
        "deep.ent.opt.",
        "leaf.opt.",
        "test.",
        "hash.",
        "opt.",
        "slow.",
    ];
    for zone in zones {
        let mut world = World::new();
        for q in LEAF_QUESTIONS {
            let q = question(&q.replace("ZONE", zone));
            world.validate(&q);
        }
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for owner in names(zone) {
            for rtype in ["A", "TXT", "DS", "CNAME", "NS", "NSEC", "DNAME"] {
                let q = question(&format!("{owner} {rtype}"));
                let Some(made) = world.ctx.synthesise(&q, world.now) else {
                    continue;
                };
                *counts.entry(brief(&Some(made.clone()))).or_default() += 1;
                let truth = world.answer(&q);
                assert_eq!((made.rcode, &made.zone), (truth.rcode, &truth.zone), "{q}");
                let data = |sets: &[RrSet]| -> Vec<_> {
                    sets.iter()
                        .map(|s| (s.name.clone(), s.rtype, s.rdatas.clone()))
                        .collect()
                };
                assert_eq!(data(&made.answer), data(&truth.answer), "{q}");
                let response = Response {
                    rcode: made.rcode,
                    answer: made.answer,
                    authority: made.authority,
                    ..truth
                };
                let verdict = World::new().validate_response(&q, response, |_, _| true);
                assert_eq!(standing(&verdict), "secure", "{q}: {}", text_of(&verdict));
            }
        }
        let count = |what: &str| counts.get(what).copied().unwrap_or(0);
        match zone {
            // Too many rounds: insecure, and nothing is kept.
            "slow." => assert!(counts.is_empty(), "{counts:?}"),
            // What opt-out leaves open is never denied (RFC 8198 section 5.2, RFC 5155 section 6).
            "opt." | "leaf.opt." => {
                assert_eq!(count("NXDOMAIN"), 0, "{zone} {counts:?}");
                assert!(count("NODATA") > 0, "{zone} {counts:?}");
            }
            _ => assert!(
                count("NXDOMAIN") > 20 && count("NODATA") > 10,
                "{zone} {counts:?}"
            ),
        }
        if LEAVES.contains(&zone) {
            assert!(count("A") > 0 && count("CNAME") > 0, "{zone} {counts:?}");
        }
    }
}

/// Section 4: only what is secure without reserve teaches anything, and only from the zone's servers.
#[test]
fn nothing_is_learned_from_what_is_not_secure() {
    use LocalTrust::{Insecure, Secure, SecureAsOf};
    let q = question("none.leaf.test. A");
    let taught_by = |change: fn(&mut Response)| {
        let mut world = World::new();
        world.validate_tampered(&q, |_, _, response| change(response));
        made(&world, "nonf.leaf.test. A").is_some()
    };
    assert!(taught_by(|_| {}));
    for trust in [Secure, SecureAsOf, Insecure] {
        let mut world = World::new();
        let mut response = world.answer(&q);
        response.origin = mirror("leaf.test.", trust);
        world.validate_response(&q, response, |_, _| true);
        assert_eq!(world.ctx.denials_size(), (0, 0), "{trust:?}");
    }
    // Through an as-of link.
    let mut world = World::new();
    world.validate_tampered(&q, |_, attempt, response| {
        if attempt.is_some() && response.zone == name("test.") {
            response.origin = mirror("test.", SecureAsOf);
        }
    });
    assert!(made(&world, "nonf.leaf.test. A").is_none());
    // Bogus, unsigned.
    assert!(!taught_by(|r| r
        .authority
        .iter_mut()
        .for_each(|s| s.sigs.clear())));
    let world = taught(&[
        "none.plain.test. A",
        "none.unsigned.leaf.test. A",
        "none.slow. A",
    ]);
    for q in [
        "nonf.plain.test. A",
        "nonf.unsigned.leaf.test. A",
        "none.slow. A",
    ] {
        assert!(made(&world, q).is_none(), "{q}");
    }
    // Switched off.
    let mut off = World::with(Settings {
        anchors: vec![Signer::new(".", 1).ds_record(0)],
        aggressive_nsec: false,
        ..Settings::default()
    });
    off.validate(&q);
    assert!(made(&off, "none.leaf.test. A").is_none());
}

/// A zone above does not speak where validation starts lower, and where it is switched off.
#[test]
fn zones_above_do_not_speak_everywhere() {
    let root = Signer::new(".", 1).ds_record(0);
    let below = |settings: Settings| {
        let mut world = World::with(settings);
        world.validate(&question("cork. A"));
        ["corp. A", "x.corp. A", "corp. DS", "corq. A"].map(|q| made(&world, q).is_some())
    };
    let settings = || Settings {
        anchors: vec![root.clone()],
        ..Settings::default()
    };
    assert_eq!(below(settings()), [true; 4]);
    // The parent's DS stays the parent's word.
    let except_corp = [false, false, true, true];
    assert_eq!(
        below(Settings {
            negative_trust_anchors: vec![NegativeTrustAnchor::lasting(name("corp."))],
            ..settings()
        }),
        except_corp
    );
    assert_eq!(
        below(Settings {
            anchors: vec![root.clone(), Signer::new("corp.", 5).ds_record(0)],
            ..settings()
        }),
        except_corp
    );
}

/// A name that was created after the denial came is seen as soon as anything is heard of it.
#[test]
fn the_newer_answer_wins() {
    let q = "nonf.leaf.test. A";
    let mut world = taught(&["none.leaf.test. A"]);
    assert_eq!(brief(&made(&world, q)), "NXDOMAIN");
    let leaf = Signer::new("leaf.test.", 10);
    let new = question("nonf.leaf.test. MX");
    let set = leaf.signed_set(&new.name, Rtype::MX, 60, vec![[0, 1, 0].into()]);
    let response = Response {
        rest: Vec::new(),
        zone: leaf.apex.clone(),
        rcode: Rcode::NOERROR,
        answer: vec![set],
        authority: vec![],
        origin: Origin::Network([192, 0, 2, 1].into()),
    };
    for origin in [
        response.origin.clone(),
        mirror("leaf.test.", LocalTrust::Secure),
    ] {
        world.validate(&question("none.leaf.test. A"));
        assert_eq!(brief(&made(&world, q)), "NXDOMAIN");
        let response = Response {
            origin,
            ..response.clone()
        };
        let verdict = world.validate_response(&new, response, |_, _| true);
        assert_eq!(standing(&verdict), "secure", "{}", text_of(&verdict));
        assert_eq!(brief(&made(&world, q)), "-");
    }
    // A delegation that was secured: its DS drives out the record that denied it.
    let mut world = taught(&["plain.test. DS"]);
    assert_eq!(brief(&made(&world, "plain.test. DS")), "NODATA");
    let test = Signer::new("test.", 2);
    let ds = Signer::new("plain.test.", 70).ds();
    let q = question("plain.test. DS");
    let response = Response {
        zone: test.apex.clone(),
        answer: vec![test.signed_set(&q.name, Rtype::DS, 60, ds)],
        ..response
    };
    world.validate_response(&q, response, |_, _| true);
    assert_eq!(brief(&made(&world, "plain.test. DS")), "-");
}

/// Sections 5.4 and 6: the TTL is what is left of the shortest-lived part, and with it all ends.
#[test]
fn made_answers_age_and_end() {
    let mut world = taught(&["none.leaf.test. A", "a.wild.leaf.test. A"]);
    for (after_s, q, ttl_s) in [
        (0, "nonf.leaf.test. A", Some(300)),
        (299, "nonf.leaf.test. A", Some(1)),
        (300, "nonf.leaf.test. A", None),
        (299, "b.a.wild.leaf.test. A", Some(1)),
        (300, "b.a.wild.leaf.test. A", None),
    ] {
        world.now = Now::new(
            NOW.mono + Duration::from_secs(after_s),
            NOW.wall_s + after_s,
        );
        let found = made(&world, q).map(|made| {
            let sets = made.answer.iter().chain(&made.authority);
            sets.map(|set| set.ttl).min().unwrap()
        });
        assert_eq!(found, ttl_s, "{q} after {after_s} s");
    }
    // Ten seconds before the signatures end.
    let mut world = World::new();
    world.now.wall_s = crate::signer::EXPIRATION as u64 - 10;
    world.validate(&question("none.leaf.test. A"));
    assert!(made(&world, "nonf.leaf.test. A").is_some());
    world.now.wall_s += 10;
    assert!(made(&world, "nonf.leaf.test. A").is_none());
}

#[test]
fn flushes_take_denials_away() {
    for flushed in [
        ".",
        "test.",
        "leaf.test.",
        "nonf.leaf.test.",
        "x.nonf.leaf.test.",
    ] {
        let world = taught(&["none.leaf.test. A"]);
        world.ctx.forget(&name(flushed), true);
        assert!(made(&world, "nonf.leaf.test. A").is_none(), "{flushed}");
    }
    let world = taught(&["none.leaf.test. A"]);
    world.ctx.forget(&name("hash."), true);
    assert!(made(&world, "nonf.leaf.test. A").is_some());
    world.ctx.flush_denials(&name("test."));
    assert!(made(&world, "nonf.leaf.test. A").is_none());
}

/// A wildcard that was removed is not expanded any more, once a newer record denies it.
#[test]
fn a_wildcard_that_is_gone_expands_no_more() {
    let q = "d.wild.leaf.test. A";
    let mut world = taught(&["a.wild.leaf.test. A", "none.leaf.test. A"]);
    assert_eq!(brief(&made(&world, q)), "A");
    // The gap from the name before `*.wild` to `own.wild`.
    let leaf = Signer::new("leaf.test.", 10);
    let types = crate::dns::rdata::type_bitmap(&[Rtype::CNAME, Rtype::RRSIG, Rtype::NSEC]);
    let rdata = [name("own.wild.leaf.test.").wire(), &types].concat();
    let owner = name("*.walias.leaf.test.");
    let gap = leaf.signed_set(&owner, Rtype::NSEC, 300, vec![rdata.into()]);
    let gone = question("c.wild.leaf.test. A");
    let mut response = world.answer(&question("none.leaf.test. A"));
    response.authority.retain(|set| set.rtype == Rtype::SOA);
    response.authority.push(gap);
    let verdict = world.validate_response(&gone, response, |_, _| true);
    assert_eq!(standing(&verdict), "secure", "{}", text_of(&verdict));
    assert_eq!(brief(&made(&world, q)), "NXDOMAIN");
}
