//! Every single tampering is found.

use super::right::{LEAF_QUESTIONS, LEAVES};
use super::*;
use crate::dns::rdata;
use crate::signer::rr;

type Tamper = fn(&World, &mut Response);
type Spoil = fn(&mut Response);

/// The answer to `q` is changed and must be bogus, with this code where it is not 0.
fn check(q: &str, what: &str, code: u16, tamper: Tamper) {
    let q = question(q);
    for round in ["cold", "warm"] {
        let mut world = World::new();
        if round == "warm" {
            world.validate(&q);
        }
        let mut response = world.answer(&q);
        tamper(&world, &mut response);
        let culprit = Culprit::of(&response);
        let verdict = world.validate_response(&q, response, |_, _| true);
        let found = standing(&verdict);
        let text = text_of(&verdict);
        match code {
            0 => assert!(found.starts_with("bogus"), "{q} {what} {round}: {found}"),
            _ => assert_eq!(found, format!("bogus {code}"), "{q} {what} {round}: {text}"),
        }
        assert_eq!(verdict.bogus_from, Some(culprit), "{q} {what}");
        assert!(!text.is_empty());
    }
}

fn unsign(response: &mut Response) {
    let sets = response.answer.iter_mut().chain(&mut response.authority);
    sets.for_each(|s| s.sigs.clear());
}

/// Changes a field of every signature: `at` is an offset into RRSIG data.
fn patch_sigs(response: &mut Response, rtype: Rtype, at: usize, octets: &[u8]) {
    for sig in &mut set_mut(response, rtype).sigs {
        sig[at..at + octets.len()].copy_from_slice(octets);
    }
}

fn borrow(world: &World, q: &str) -> Response {
    world.answer(&question(q))
}

#[test]
fn positive_answers() {
    let q = "www.leaf.test. A";
    check(q, "unsigned", 10, |_, r| unsign(r));
    check(q, "other data", 6, |_, r| {
        set_mut(r, Rtype::A).rdatas[0] = [6, 6, 6, 6].into();
    });
    check(q, "a record less", 6, |_, r| {
        set_mut(r, Rtype::A).rdatas.pop();
    });
    check(q, "a record more", 6, |_, r| {
        set_mut(r, Rtype::A).rdatas.push([6, 6, 6, 6].into());
    });
    check(q, "damaged signature", 6, |_, r| {
        let sig = &mut set_mut(r, Rtype::A).sigs[0];
        *sig.last_mut().unwrap() ^= 1;
    });
    check(q, "longer validity", 6, |_, r| {
        patch_sigs(r, Rtype::A, 8, &[0x7F; 4])
    });
    check(q, "expired", 7, |w, r| {
        let end = w.now.wall_s as u32 - 1;
        patch_sigs(r, Rtype::A, 8, &end.to_be_bytes());
    });
    check(q, "not yet valid", 8, |w, r| {
        let start = w.now.wall_s as u32 + 1;
        patch_sigs(r, Rtype::A, 12, &start.to_be_bytes());
    });
    check(q, "unknown key", 9, |_, r| {
        patch_sigs(r, Rtype::A, 16, &[1, 2])
    });
    check(q, "unknown algorithm", 10, |_, r| {
        patch_sigs(r, Rtype::A, 2, &[99])
    });
    check(q, "another name's set", 6, |w, r| {
        let mut other = borrow(w, "zz.leaf.test. A").answer.remove(0);
        other.name = name("www.leaf.test.");
        r.answer = vec![other];
    });
    check(q, "another zone's set", 0, |w, r| {
        let mut other = borrow(w, "www.leaf.hash. A").answer.remove(0);
        other.name = name("www.leaf.test.");
        r.answer = vec![other];
    });
    check(q, "unsigned alias", 10, |_, r| {
        r.answer = crate::dns::group(&[rr("www.leaf.test. 60 CNAME www.plain.test.")]);
    });
    check(q, "the response code", 6, |_, r| r.rcode = Rcode::NXDOMAIN);
    check(q, "forged beside a signed one", 10, |_, r| {
        r.answer.extend(crate::dns::group(&[rr(
            "www.leaf.test. 60 CNAME evil.test.",
        )]));
    });
    check("www.leaf.test. ANY", "one set unsigned", 10, |_, r| {
        set_mut(r, Rtype::TXT).sigs.clear();
    });
    // RRSIG labels: an exact name's signature does not make a wildcard.
    check(q, "fewer labels", 6, |_, r| {
        patch_sigs(r, Rtype::A, 3, &[2])
    });
}

#[test]
fn wildcards() {
    for zone in ["leaf.test.", "leaf.hash."] {
        let q = format!("x.wild.{zone} A");
        check(&q, "no proof", 12, |_, r| r.authority.clear());
        check(&q, "unsigned proof", 10, |_, r| {
            r.authority.iter_mut().for_each(|s| s.sigs.clear());
        });
        // own.wild exists: the wildcard must not be given for it.
        let own = format!("own.wild.{zone} A");
        check(&own, "wildcard for an existing name", 12, |w, r| {
            let zone = r.zone.clone();
            let mut other = borrow(w, &format!("x.wild.{zone} A"));
            other.answer[0].name = name(&format!("own.wild.{zone}"));
            *r = other;
        });
        // x.own.wild does not exist and has own.wild as closest encloser.
        let below = format!("x.own.wild.{zone} A");
        check(&below, "wildcard from too high", 12, |w, r| {
            let zone = r.zone.clone();
            let mut other = borrow(w, &format!("x.wild.{zone} A"));
            other.answer[0].name = name(&format!("x.own.wild.{zone}"));
            other.authority.extend(std::mem::take(&mut r.authority));
            *r = Response {
                rcode: Rcode::NOERROR,
                ..other
            };
        });
    }
}

#[test]
fn dname() {
    let q = "x.old.leaf.test. A";
    check(q, "another target", 6, |_, r| {
        set_mut(r, Rtype::CNAME).rdatas[0] = name("x.evil.test.").wire().into();
    });
    check(q, "unsigned", 10, |_, r| {
        set_mut(r, Rtype::DNAME).sigs.clear()
    });
    check(q, "without the DNAME", 10, |_, r| {
        drop_types(r, &[Rtype::DNAME])
    });
    check(q, "another DNAME", 6, |_, r| {
        set_mut(r, Rtype::DNAME).rdatas[0] = name("evil.test.").wire().into();
        set_mut(r, Rtype::CNAME).rdatas[0] = name("x.evil.test.").wire().into();
    });
    check(q, "no such overflow", 6, |_, r| r.rcode = Rcode::YXDOMAIN);
}

#[test]
fn denials() {
    for zone in ["leaf.test.", "leaf.hash."] {
        let none = format!("none.{zone} A");
        check(&none, "no proof", 12, |_, r| {
            drop_types(r, &[Rtype::NSEC, Rtype::NSEC3])
        });
        // RFC 2308 section 3: the SOA is the zone's.
        check(&none, "SOA of another name", 6, |_, r| {
            let seed = if r.zone == name("leaf.test.") { 10 } else { 11 };
            let leaf = Signer::new(&r.zone.to_string(), seed);
            let soa = set_mut(r, Rtype::SOA);
            let other = leaf.apex.child(b"www").unwrap();
            *soa = leaf.signed_set(&other, Rtype::SOA, soa.ttl, soa.rdatas.clone());
        });
        check(&none, "unsigned SOA", 10, |_, r| {
            set_mut(r, Rtype::SOA).sigs.clear()
        });
        check(&none, "nothing at all", 12, |_, r| r.authority.clear());
        check(&none, "NOERROR", 12, |_, r| r.rcode = Rcode::NOERROR);
        check(&none, "YXDOMAIN", 6, |_, r| r.rcode = Rcode::YXDOMAIN);
        check(&none, "unsigned proof", 10, |_, r| {
            let denial = |s: &&mut RrSet| s.rtype != Rtype::SOA;
            r.authority
                .iter_mut()
                .filter(denial)
                .for_each(|s| s.sigs.clear());
        });
        check(&none, "SOA of the parent", 6, |w, r| {
            let soa = borrow(w, "test. SOA").answer.remove(0);
            r.authority[0] = soa;
        });
        check(&none, "another zone's proof", 0, |w, r| {
            *r = borrow(w, "none.slow. A");
            r.origin = Origin::Network([192, 0, 2, 66].into());
        });
        let www = format!("www.{zone} A");
        check(&www, "denied by the proof for another name", 12, |w, r| {
            let zone = r.zone.clone();
            *r = borrow(w, &format!("none.{zone} A"));
        });
        check(
            &www,
            "type denied by the proof for another name",
            12,
            |w, r| {
                let zone = r.zone.clone();
                *r = borrow(w, &format!("zz.{zone} AAAA"));
            },
        );
        check(
            &www,
            "type denied by the own proof for another type",
            12,
            |w, r| {
                let zone = r.zone.clone();
                *r = borrow(w, &format!("www.{zone} AAAA"));
            },
        );
        let alias = format!("alias.{zone} A");
        check(&alias, "alias denied", 12, |w, r| {
            let zone = r.zone.clone();
            *r = borrow(w, &format!("alias.{zone} TXT"));
            let proof = borrow(w, &format!("alias.{zone} DS"));
            *r = Response {
                answer: vec![],
                rest: Vec::new(),
                ..proof
            };
            r.authority = borrow(w, &format!("www.{zone} AAAA")).authority;
        });
        let wild = format!("x.wild.{zone} A");
        check(&wild, "wildcard denied", 12, |w, r| {
            let zone = r.zone.clone();
            let proofs = std::mem::take(&mut r.authority);
            *r = borrow(w, &format!("none.{zone} A"));
            r.authority.extend(proofs);
        });
        check(&wild, "type at the wildcard denied", 12, |w, r| {
            let zone = r.zone.clone();
            *r = borrow(w, &format!("x.wild.{zone} AAAA"));
        });
        let ent = format!("ent.{zone} A");
        check(&ent, "empty non-terminal denied", 12, |_, r| {
            r.rcode = Rcode::NXDOMAIN
        });
    }
}

/// What a wildcard expands to says nothing of the name that it is given for.
#[test]
fn proofs_made_from_a_wildcard() {
    let q = "a.wild.leaf.test. TXT";
    check(q, "the wildcard's proof", 6, |w, r| {
        let mut proof = borrow(w, "a.wild.leaf.test. TXT");
        proof.authority.retain(|s| s.name.is_wildcard());
        proof.authority[0].name = name("a.wild.leaf.test.");
        drop_types(r, &[Rtype::NSEC]);
        r.authority.append(&mut proof.authority);
    });
}

/// RFC 4035 section 5.2: tag and algorithm are hints, the digest names the key.
#[test]
fn a_digest_that_does_not_fit_names_no_key() {
    let mut anchor = Signer::new(".", 1).ds_record(0);
    let last = anchor.rdata.len() - 1;
    anchor.rdata[last] ^= 1;
    let mut world = World::with(Settings {
        anchors: vec![anchor],
        ..Settings::default()
    });
    let verdict = world.validate(&question("www.leaf.test. A"));
    assert_eq!(standing(&verdict), "bogus 9");
}

/// Each one of the records of a proof is needed, or what stands in its place is enough.
#[test]
fn dropping_any_one_signature_or_record_never_gives_insecure() {
    for zone in LEAVES {
        for q in LEAF_QUESTIONS {
            let q = question(&q.replace("ZONE", zone));
            let mut world = World::new();
            let right = world.answer(&q);
            for i in 0..right.answer.len() + right.authority.len() {
                for part in ["set", "signatures"] {
                    let mut response = right.clone();
                    let in_answer = i < right.answer.len();
                    let (list, at) = match in_answer {
                        true => (&mut response.answer, i),
                        false => (&mut response.authority, i - right.answer.len()),
                    };
                    let of_synthesis = list[at].rtype == Rtype::CNAME && list[at].sigs.is_empty();
                    match part {
                        "set" => drop(list.remove(at)),
                        _ => list[at].sigs.clear(),
                    }
                    let verdict = world.validate_response(&q, response, |_, _| true);
                    let found = standing(&verdict);
                    assert_ne!(found, "insecure", "{q}: {part} {i}");
                    // ANY may come with fewer sets, and a CNAME follows from its DNAME.
                    if in_answer && q.rtype != Rtype::ANY && !of_synthesis {
                        assert!(found.starts_with("bogus"), "{q}: {part} {i}");
                    }
                }
            }
        }
    }
}

/// The parent's record at a cut does not speak for the child, nor the child's for DS.
#[test]
fn records_at_a_cut() {
    for tld in ["test.", "hash."] {
        // Types of a signed child, denied by the parent's record.
        check(&format!("leaf.{tld} SOA"), "parent's record", 0, |w, r| {
            let zone = r.zone.clone();
            let mut proof = borrow(w, &format!("none.{} DS", zone.parent().unwrap()));
            proof
                .authority
                .extend(borrow(w, &format!("plain.{} DS", zone.parent().unwrap())).authority);
            proof.rcode = Rcode::NOERROR;
            *r = proof;
        });
        // A name in a signed child, denied by the parent's gap.
        check(&format!("www.leaf.{tld} A"), "parent's gap", 0, |w, r| {
            let parent = r.zone.parent().unwrap();
            let right = borrow(w, &format!("leaf.{parent} DS"));
            let gap = borrow(w, &format!("none.{parent} A"));
            *r = Response {
                answer: vec![],
                rest: Vec::new(),
                rcode: Rcode::NXDOMAIN,
                ..gap
            };
            r.authority.extend(right.authority);
        });
        // DS of a signed child, denied by the child's apex record.
        check(&format!("leaf.{tld} DS"), "child's record", 0, |w, r| {
            let child = borrow(w, &format!("leaf.{} TXT", r.zone));
            *r = child;
        });
    }
    // The NSEC of the delegation itself: NS without SOA.
    let mut world = World::new();
    let tld = Signer::new("test.", 2);
    let types = [Rtype::NS, Rtype::DS, Rtype::RRSIG, Rtype::NSEC];
    let mut next = name("plain.test.").wire().to_vec();
    next.extend(rdata::type_bitmap(&types));
    let nsec = tld.signed_set(&name("leaf.test."), Rtype::NSEC, 300, vec![next.into()]);
    for (q, rcode) in [
        ("leaf.test. TXT", Rcode::NOERROR),
        ("none.leaf.test. A", Rcode::NXDOMAIN),
    ] {
        let mut response = world.answer(&question("none.test. A"));
        response.rcode = rcode;
        response.authority.push(nsec.clone());
        let verdict = world.validate_response(&question(q), response, |_, _| true);
        assert!(standing(&verdict).starts_with("bogus"), "{q}");
    }
}

/// RFC 4592 section 4.6: a DS set that a wildcard stands for delegates nothing.
#[test]
fn a_ds_set_from_a_wildcard_names_no_key() {
    let mut world = World::new();
    let tld = Signer::new("test.", 2);
    let right = borrow(&world, "leaf.test. DS").answer.remove(0);
    let mut ds = tld.signed_set(&name("*.test."), Rtype::DS, 3600, right.rdatas);
    ds.name = right.name;
    let mut next = name("leafy.test.").wire().to_vec();
    next.extend(rdata::type_bitmap(&[Rtype::A, Rtype::RRSIG, Rtype::NSEC]));
    let gap = tld.signed_set(&name("lead.test."), Rtype::NSEC, 300, vec![next.into()]);
    let q = question("www.leaf.test. A");
    let response = world.answer(&q);
    let verdict = world.validate_response(&q, response, |ask, link| {
        if ask.question == question("leaf.test. DS") {
            link.answer = vec![ds.clone()];
            link.authority = vec![gap.clone()];
        }
        true
    });
    assert!(standing(&verdict).starts_with("bogus"));
    assert!(
        text_of(&verdict).contains("leaf.test. DS from a wildcard"),
        "{}",
        text_of(&verdict)
    );
}

/// A forged NXDOMAIN whose unsigned SOA claims a child that nobody delegated, and all its kin.
#[test]
fn invented_insecure_children() {
    let mut world = World::new();
    let soa = |zone: &str| {
        let line = format!("{zone} 60 SOA ns.invalid. host.invalid. 1 1 1 1 60");
        crate::dns::group(&[rr(&line)])
    };
    for (q, zone) in [
        ("www.leaf.test. A", "www.leaf.test."),
        ("x.www.leaf.test. A", "www.leaf.test."),
        ("www.leaf.test. A", "leaf.test."),
        ("www.leaf.test. A", "test."),
        ("www.leaf.test. A", "."),
        ("a.b.none.leaf.test. A", "b.none.leaf.test."),
        ("www.leaf.hash. A", "www.leaf.hash."),
        ("a.b.ent.leaf.hash. A", "b.ent.leaf.hash."),
        ("www.leaf.opt. A", "leaf.opt."),
    ] {
        for rcode in [Rcode::NXDOMAIN, Rcode::NOERROR] {
            let response = Response {
                zone: name(zone),
                rcode,
                answer: vec![],
                rest: Vec::new(),
                authority: soa(zone),
                origin: Origin::Network([192, 0, 2, 66].into()),
            };
            let verdict = world.validate_response(&question(q), response, |_, _| true);
            let found = standing(&verdict);
            assert!(found.starts_with("bogus"), "{q} as of {zone}: {found}");
        }
    }
}

/// A bad link is asked for again from others; three bad ones break the chain.
#[test]
fn bad_links_are_asked_for_again() {
    let q = question("www.leaf.test. A");
    let spoil: [(&str, Spoil); 4] = [
        ("unsigned", unsign),
        ("empty", |r| {
            r.answer.clear();
            r.authority.clear();
        }),
        ("other data", |r| {
            r.answer
                .iter_mut()
                .for_each(|s| *s.rdatas[0].last_mut().unwrap() ^= 1);
        }),
        ("name error", |r| r.rcode = Rcode::NXDOMAIN),
    ];
    for link in [
        ". DNSKEY",
        "test. DS",
        "test. DNSKEY",
        "leaf.test. DS",
        "leaf.test. DNSKEY",
    ] {
        let link = question(link);
        for (what, spoil) in spoil {
            if what == "name error" && link.rtype == Rtype::DNSKEY {
                continue;
            }
            for bad in 1..=3u8 {
                let mut world = World::new();
                let tamper = |ask: &Question, attempt: Option<u8>, r: &mut Response| {
                    if *ask == link && attempt.is_some_and(|n| n < bad) {
                        spoil(r);
                    }
                };
                let verdict = world.validate_tampered(&q, tamper);
                let found = standing(&verdict);
                let attempts: Vec<u8> = (world.asked.iter())
                    .filter(|a| a.question == link)
                    .map(|a| a.attempt)
                    .collect();
                let expected: Vec<u8> = (0..=bad.min(2)).collect();
                assert_eq!(attempts, expected, "{link} {what} {bad}");
                if bad < 3 {
                    assert_eq!(
                        found,
                        "secure",
                        "{link} {what} {bad}: {}",
                        text_of(&verdict)
                    );
                    continue;
                }
                assert!(found.starts_with("bogus"), "{link} {what}: {found}");
                // The server is filed under the zone that the link belongs to, not under the answer's.
                let culprit = verdict.bogus_from.unwrap();
                assert_eq!(culprit.zone, world.answer(&link).zone, "{link} {what}");
                // Remembered for a moment, then tried again.
                let again = world.validate(&q);
                assert_eq!(standing(&again), found, "{link} {what}");
                assert!(world.asked.is_empty());
                world.now.mono += Duration::from_secs(5);
                assert_eq!(standing(&world.validate(&q)), "secure");
            }
        }
    }
}

#[test]
fn a_link_that_cannot_be_had_is_no_insecurity() {
    let mut world = World::new();
    for q in ["www.leaf.test. A", "www.plain.test. A", "none.test. A"] {
        let q = question(q);
        let response = world.answer(&q);
        let verdict = world.validate_response(&q, response, |_, _| false);
        assert_eq!(standing(&verdict), "bogus 22", "{q}");
        assert_eq!(verdict.bogus_from, None);
    }
    assert_eq!(world.ctx.zones_known(), 0);
}

/// Takes away what proves that there is no DS at a name without data: the zone cannot deny.
fn without_proofs(ask: &Question, response: &mut Response) {
    if ask.rtype == Rtype::DS && response.answer.is_empty() {
        response.authority.clear();
    }
}

/// `ent.test.` is no zone, and `test.` cannot prove it. The first DS of the zone below was bad; step by step nobody comes there.
#[test]
fn a_zone_below_one_that_cannot_deny_is_reached_by_its_ds() {
    let q = question("www.deep.ent.test. A");
    let ds = question("deep.ent.test. DS");
    for (bad, expected) in [(0, "secure"), (1, "secure"), (2, "secure"), (3, "bogus 12")] {
        let mut world = World::new();
        let verdict = world.validate_tampered(&q, |ask, attempt, r| {
            without_proofs(ask, r);
            if *ask == ds && attempt.is_some_and(|n| n < bad) {
                unsign(r);
            }
        });
        assert_eq!(standing(&verdict), expected, "{bad}: {}", text_of(&verdict));
        let asked = |q: &Question| world.asked.iter().filter(|a| a.question == *q).count();
        assert_eq!(asked(&ds), usize::from(bad.min(2)) + 1, "{bad}");
        assert!(asked(&question("ent.test. DS")) <= 3, "{bad}");
        // What could not be had is remembered for a moment, and so is what could.
        assert_eq!(standing(&world.validate(&q)), expected);
        assert!(world.asked.is_empty(), "{bad}: {:?}", world.asked);
    }
}

/// That nobody proves a link to `ent.test.` is remembered; the zone below has its own link.
#[test]
fn a_broken_link_to_no_zone_is_in_nobodys_way() {
    let mut world = World::new();
    let tamper = |ask: &Question, _: Option<u8>, r: &mut Response| without_proofs(ask, r);
    let beside = question("x.ent.test. A");
    let mut response = world.answer(&question("www.plain.test. A"));
    response.zone = name("test.");
    response.answer[0].name = beside.name.clone();
    let verdict = world.validate_response(&beside, response, |ask, r| {
        without_proofs(&ask.question, r);
        true
    });
    assert_eq!(standing(&verdict), "bogus 12", "{}", text_of(&verdict));
    let verdict = world.validate_tampered(&question("www.deep.ent.test. A"), tamper);
    assert_eq!(standing(&verdict), "secure", "{}", text_of(&verdict));
    let unproven = |a: &SubAsk| a.question == question("ent.test. DS");
    assert!(!world.asked.iter().any(unproven), "{:?}", world.asked);
}

/// Data that a zone has signed, and wrongly, is bogus whatever is below the zone: others are asked for it, and not for zone cuts.
#[test]
fn what_a_zone_has_signed_wrongly_is_not_looked_for_below_it() {
    let q = question("a.b.ent.leaf.test. A");
    let mut world = World::new();
    assert_eq!(standing(&world.validate(&q)), "secure");
    let verdict = world.validate_tampered(&q, |ask, _, r| {
        if *ask == q {
            *r.answer[0].rdatas[0].last_mut().unwrap() ^= 1;
        }
    });
    assert_eq!(standing(&verdict), "bogus 6");
    assert!(world.asked.is_empty(), "{:?}", world.asked);
}
