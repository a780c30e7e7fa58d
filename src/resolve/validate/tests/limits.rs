//! Zones that cost more than they are worth.

use super::*;
use crate::dns::{Dnskey, Rdata};
use crate::resolve::validate::budget::{ASKS_MAX, CUTS_MAX, NSEC3_ROUNDS_MAX};
use crate::signer::{KSK, Key, ZSK};

/// KeyTrap: many keys with one tag, many signatures. The work stays within the budget.
#[test]
fn many_keys_and_signatures_cost_little() {
    let mut world = World::new();
    let q = question("www.leaf.test. A");
    let mut response = world.answer(&q);
    let set = &mut response.answer[0];
    let good = set.sigs[0].clone();
    set.sigs = (0..500u32)
        .map(|i| {
            let mut sig = good.clone();
            let at = sig.len() - 4;
            sig[at..].copy_from_slice(&i.to_be_bytes());
            sig
        })
        .collect();
    let started = world.validate_response(&q, response.clone(), |_, _| true);
    assert_eq!(standing(&started), "bogus 6");
    // The good one among the first few is found.
    response.answer[0].sigs.truncate(3);
    response.answer[0].sigs.push(good);
    let verdict = world.validate_response(&q, response, |_, _| true);
    assert_eq!(standing(&verdict), "secure", "{}", text_of(&verdict));
    let first: &Rdata = &verdict.answer[0].sigs[0];
    assert_eq!(first, &world.answer(&q).answer[0].sigs[0]);
}

/// A key that nobody holds, with this tag.
fn key_with_tag(tag: u16, salt: u16) -> Rdata {
    let mut key = vec![1, 0, 3, 15];
    key.extend([0; 32]);
    key[4..6].copy_from_slice(&salt.to_be_bytes());
    for fill in 0..=u16::MAX {
        key[6..8].copy_from_slice(&fill.to_be_bytes());
        if Dnskey::parse(&key).unwrap().key_tag() == tag {
            break;
        }
    }
    key.into()
}

/// A world whose one anchor is the key of this zone.
fn world_of(signer: &Signer) -> World {
    World::with(Settings {
        anchors: vec![signer.ds_record(0)],
        ..Settings::default()
    })
}

/// KeyTrap: a set of keys that share the tag of the signing key, and a set with as many signatures.
#[test]
fn colliding_tags_are_tried_a_few_times_only() {
    let trap = Signer::new("trap.", 5);
    let q = question("www.trap. A");
    let zsk = &trap.keys[1];
    for (strangers, expected) in [
        (0, "secure"),
        (3, "secure"),
        (4, "bogus 6"),
        (50, "bogus 6"),
    ] {
        let mut keys: Vec<Rdata> = (0..strangers).map(|i| key_with_tag(zsk.tag(), i)).collect();
        keys.extend(trap.keys.iter().map(|k| k.dnskey()));
        let keys = trap.signed_set(&trap.apex, Rtype::DNSKEY, 300, keys);
        let answer = trap.signed_set(&q.name, Rtype::A, 300, vec![[1, 2, 3, 4].into()]);
        let response = |set: RrSet| Response {
            zone: trap.apex.clone(),
            rcode: Rcode::NOERROR,
            answer: vec![set],
            rest: Vec::new(),
            authority: vec![],
            origin: Origin::Network([192, 0, 2, 1].into()),
        };
        let mut world = world_of(&trap);
        let verdict = world.validate_response(&q, response(answer), |_, link| {
            *link = response(keys.clone());
            true
        });
        assert_eq!(
            standing(&verdict),
            expected,
            "{strangers}: {}",
            text_of(&verdict)
        );
    }
}

/// CVE-2023-50868: a deep name times iterations. Up to the limit it is worked out, beyond it is not.
#[test]
fn deep_names_times_iterations_are_bounded() {
    let limit = Settings {
        nsec3_iterations_max: 500,
        ..Settings::default()
    };
    for (iterations, labels, expected) in [
        (0, 120, "secure"),
        (100, 60, "secure"),
        (500, 10, "secure"),
        (500, 120, "bogus 6"),
    ] {
        assert!(iterations * labels < NSEC3_ROUNDS_MAX || expected != "secure");
        let denial = Denial::Nsec3 {
            salt: vec![],
            iterations: iterations as u16,
            opt_out: false,
        };
        let signer = signer("s.", 6, denial);
        let zone = image("s.", signer.sign(&apex("s.")));
        let q = question(&format!("{}s. A", "a.".repeat(labels as usize)));
        let lookup = zone.lookup(&q.name, q.rtype);
        let keys = zone.lookup(&signer.apex, Rtype::DNSKEY);
        let response = |lookup: crate::zone::Lookup, rcode| Response {
            zone: signer.apex.clone(),
            rcode,
            answer: lookup.answer,
            rest: Vec::new(),
            authority: lookup.authority,
            origin: Origin::Network([192, 0, 2, 1].into()),
        };
        let mut world = World::with(Settings {
            anchors: vec![signer.ds_record(0)],
            ..limit.clone()
        });
        let denied = response(lookup, Rcode::NXDOMAIN);
        let verdict = world.validate_response(&q, denied.clone(), |ask, link| {
            *link = match ask.question.rtype {
                Rtype::DNSKEY => response(keys.clone(), Rcode::NOERROR),
                _ => denied.clone(),
            };
            true
        });
        let found = (standing(&verdict), text_of(&verdict));
        assert_eq!(found.0, expected, "{iterations} {labels}: {}", found.1);
    }
}

/// Zones without end, each with DS and keys of its own: the walk ends by itself.
#[test]
fn endless_chains_end() {
    let top = Signer::new("z.", 7);
    let q = question(&format!("{}z. A", "z.".repeat(100)));
    // Everything is signed by the same keys under the name of the zone above.
    let zone = |apex: &Name| Signer {
        keys: vec![Key::ed25519(7, KSK), Key::ed25519(7, ZSK)],
        ..Signer::new(&apex.to_string(), 7)
    };
    let response = |signer: &Signer, answer: Vec<RrSet>| Response {
        zone: signer.apex.clone(),
        rcode: Rcode::NOERROR,
        answer,
        rest: Vec::new(),
        authority: vec![],
        origin: Origin::Network([192, 0, 2, 1].into()),
    };
    let mut world = world_of(&top);
    let unsigned = RrSet::single(q.name.clone(), Rtype::A, 60, [1, 2, 3, 4].into());
    let verdict = world.validate_response(&q, response(&top, vec![unsigned]), |ask, link| {
        let own = zone(&ask.question.name);
        *link = match ask.question.rtype {
            Rtype::DNSKEY => {
                let keys = own.keys.iter().map(|k| k.dnskey()).collect();
                let set = own.signed_set(&own.apex, Rtype::DNSKEY, 300, keys);
                response(&own, vec![set])
            }
            _ => {
                let above = zone(&own.apex.parent().unwrap());
                let set = above.signed_set(&own.apex, Rtype::DS, 300, own.ds());
                response(&above, vec![set])
            }
        };
        true
    });
    assert!(standing(&verdict).starts_with("bogus"));
    assert!(
        text_of(&verdict).contains("too many"),
        "{}",
        text_of(&verdict)
    );
    assert!(world.asked.len() as u32 <= ASKS_MAX);
    assert!(world.ctx.zones_known() as u32 <= CUTS_MAX);
}
