//! Which keys and signatures make a chain: rollovers, standby keys, unknown algorithms, islands.

use super::*;
use crate::dns::{Ede, Rdata};
use crate::resolve::validate::budget::{DNSKEYS_MAX, DS_MAX};
use crate::signer::{KSK, Key, ZSK};

/// A zone whose keys, signatures and DS are chosen one by one.
struct Zone {
    signer: Signer,
    keys: Vec<Rdata>,
    /// Signs the keys.
    key_signers: Vec<Key>,
    /// Signs the data.
    data_signers: Vec<Key>,
    ds: Vec<Rdata>,
}

fn ed(seed: u64, flags: u16) -> Key {
    Key::ed25519(seed, flags)
}

impl Zone {
    /// One KSK, one ZSK, one DS.
    fn new() -> Zone {
        let signer = Signer::new("roll.", 1);
        Zone {
            keys: vec![ed(1, KSK).dnskey(), ed(1, ZSK).dnskey()],
            key_signers: vec![ed(1, KSK)],
            data_signers: vec![ed(1, ZSK)],
            ds: vec![ed(1, KSK).ds(&signer.apex)],
            signer,
        }
    }

    fn ds_of(&self, key: &Key) -> Rdata {
        key.ds(&self.signer.apex)
    }

    fn signed(&self, owner: &Name, rtype: Rtype, rdatas: Vec<Rdata>, by: &[Key]) -> RrSet {
        let sign = |key| self.signer.rrsig_by(key, owner, rtype, 300, &rdatas);
        RrSet {
            sigs: by.iter().map(sign).collect(),
            name: owner.clone(),
            rtype,
            ttl: 300,
            rdatas,
        }
    }

    fn response(&self, set: RrSet) -> Response {
        Response {
            rest: Vec::new(),
            zone: self.signer.apex.clone(),
            rcode: Rcode::NOERROR,
            answer: vec![set],
            authority: vec![],
            origin: Origin::Network([192, 0, 2, 1].into()),
        }
    }

    /// The verdict on the zone's answer, after `change` to the set with the keys and to the answer.
    fn verdict_with(&self, change: impl Fn(&mut RrSet, &mut RrSet)) -> Verdict {
        let apex = &self.signer.apex;
        let mut keys = self.signed(apex, Rtype::DNSKEY, self.keys.clone(), &self.key_signers);
        let q = question("www.roll. A");
        let mut set = self.signed(
            &q.name,
            Rtype::A,
            vec![[192, 0, 2, 7].into()],
            &self.data_signers,
        );
        change(&mut keys, &mut set);
        let anchors = self
            .ds
            .iter()
            .map(|ds| record(apex, Rtype::DS, 0, ds.clone()));
        let mut world = World::with(Settings {
            anchors: anchors.collect(),
            ..Settings::default()
        });
        world.validate_response(&q, self.response(set), |ask, link| {
            *link = self.response(keys.clone());
            ask.question.rtype == Rtype::DNSKEY
        })
    }

    #[track_caller]
    fn check(&self, what: &str, expected: &str) {
        let verdict = self.verdict_with(|_, _| {});
        assert_eq!(
            standing(&verdict),
            expected,
            "{what}: {}",
            text_of(&verdict)
        );
    }
}

type Change = fn(&mut Zone);

/// RFC 6781 section 4 and RFC 7583: each moment of each way to roll keys.
#[test]
fn rollovers() {
    let moments: [(&str, Change, &str); 17] = [
        ("at rest", |_| {}, "secure"),
        (
            "a key published ahead",
            |z| z.keys.push(ed(2, ZSK).dnskey()),
            "secure",
        ),
        (
            "the new key signs",
            |z| {
                z.keys.push(ed(2, ZSK).dnskey());
                z.data_signers = vec![ed(2, ZSK)];
            },
            "secure",
        ),
        (
            "signed by a key not published",
            |z| z.data_signers = vec![ed(2, ZSK)],
            "bogus 9",
        ),
        (
            "double signature, the new key unknown yet",
            |z| z.data_signers = vec![ed(2, ZSK), ed(1, ZSK)],
            "secure",
        ),
        (
            "double signature, the old key gone",
            |z| {
                z.keys[1] = ed(2, ZSK).dnskey();
                z.data_signers = vec![ed(1, ZSK), ed(2, ZSK)];
            },
            "secure",
        ),
        (
            "a DS ahead of its key",
            |z| z.ds.insert(0, z.ds_of(&ed(3, KSK))),
            "secure",
        ),
        (
            "a DS of no key",
            |z| z.ds = vec![z.ds_of(&ed(3, KSK))],
            "bogus 9",
        ),
        (
            "double DS, the new key signs alone",
            |z| {
                z.ds.push(z.ds_of(&ed(3, KSK)));
                z.keys.push(ed(3, KSK).dnskey());
                z.key_signers = vec![ed(3, KSK)];
            },
            "secure",
        ),
        (
            "the DS is behind: its key is there and does not sign",
            |z| {
                z.keys.push(ed(3, KSK).dnskey());
                z.key_signers = vec![ed(3, KSK)];
            },
            "bogus 9",
        ),
        (
            "the old key is gone, its DS is not",
            |z| {
                z.ds.push(z.ds_of(&ed(3, KSK)));
                z.keys[0] = ed(3, KSK).dnskey();
                z.key_signers = vec![ed(3, KSK)];
            },
            "secure",
        ),
        // RFC 6840 section 5.11: no algorithm is insisted on.
        (
            "a new algorithm's keys, its signatures missing",
            |z| z.keys.push(Key::p256(ZSK).dnskey()),
            "secure",
        ),
        (
            "a new algorithm's DS, its keys missing",
            |z| z.ds.insert(0, z.ds_of(&Key::p256(KSK))),
            "secure",
        ),
        (
            "both algorithms sign",
            |z| {
                let key = Key::p256(KSK);
                z.keys.push(key.dnskey());
                z.ds = vec![z.ds_of(&key)];
                z.key_signers.push(key);
            },
            "secure",
        ),
        // Any zone key may sign anything; SEP is a hint (RFC 4034 section 2.1.1).
        (
            "the KSK signs all",
            |z| z.data_signers = vec![ed(1, KSK)],
            "secure",
        ),
        (
            "one key without SEP for all",
            |z| {
                z.keys = vec![ed(1, ZSK).dnskey()];
                z.key_signers = vec![ed(1, ZSK)];
                z.ds = vec![z.ds_of(&ed(1, ZSK))];
            },
            "secure",
        ),
        ("no key at all", |z| z.keys.clear(), "bogus 9"),
    ];
    for (what, change, expected) in moments {
        let mut zone = Zone::new();
        change(&mut zone);
        zone.check(what, expected);
    }
}

/// RFC 4034 section 2.1, RFC 4035 section 5.3.1: flags and protocol of the keys that count; RFC 5011 section 2.1: not a revoked one.
#[test]
fn keys_that_may_not_sign() {
    for (what, flags, expected) in [
        ("no zone key", 0, "bogus 11"),
        ("no zone key, with SEP", 1, "bogus 11"),
        ("revoked", ZSK | 0x80, "bogus 11"),
        ("a flag nobody knows", ZSK | 0x4000, "secure"),
    ] {
        let mut zone = Zone::new();
        zone.keys[1] = ed(1, flags).dnskey();
        zone.data_signers = vec![ed(1, flags)];
        zone.check(what, expected);
        // As the key that the DS names.
        let mut zone = Zone::new();
        zone.keys[0] = ed(1, flags).dnskey();
        zone.key_signers = vec![ed(1, flags)];
        zone.ds = vec![zone.ds_of(&ed(1, flags))];
        zone.check(what, expected);
    }
    let mut zone = Zone::new();
    zone.keys[1][2] = 2;
    let tag = crate::dns::Dnskey::parse(&zone.keys[1]).unwrap().key_tag();
    let verdict = zone.verdict_with(|_, set| {
        set.sigs[0][16..18].copy_from_slice(&tag.to_be_bytes());
    });
    assert_eq!(standing(&verdict), "bogus 11", "another protocol");
}

/// RFC 6840 sections 5.4, 5.11 and 5.12: one good signature is enough, whatever else stands beside it.
#[test]
fn signatures_beside_the_good_one() {
    let patch = |sig: &Rdata, at: usize, octets: &[u8]| {
        let mut sig = sig.clone();
        sig[at..at + octets.len()].copy_from_slice(octets);
        sig
    };
    let (past, future) = (NOW.wall_s as u32 - 5, NOW.wall_s as u32 + 5);
    let past = past.to_be_bytes();
    let future = future.to_be_bytes();
    for (what, at, octets, alone) in [
        ("an unknown algorithm", 2, &[99u8][..], "bogus 10"),
        ("a private algorithm", 2, &[253], "bogus 10"),
        ("SHA-1", 2, &[5], "bogus 10"),
        ("more labels than the name", 3, &[3], "bogus 10"),
        ("fewer labels than the name", 3, &[1], "bogus 6"),
        ("no label", 3, &[0], "bogus 6"),
        ("expired", 8, &past, "bogus 7"),
        ("not yet valid", 12, &future, "bogus 8"),
        ("ends before it begins", 8, &[0; 4], "bogus 7"),
        ("an unknown key", 16, &[1, 2], "bogus 9"),
        ("another original TTL", 4, &[0, 0, 1, 0], "bogus 6"),
        ("another type", 0, &[0, 16], "bogus 10"),
        // The name may be in a zone below, and nobody here can tell.
        ("another signer", 18, b"\x04rolx", "bogus 22"),
        ("the parent as signer", 18, b"\0", "bogus 22"),
    ] {
        let zone = Zone::new();
        for (order, expected) in [("alone", alone), ("before", "secure"), ("after", "secure")] {
            let verdict = zone.verdict_with(|_, set| {
                let good = set.sigs[0].clone();
                let bad = patch(&good, at, octets);
                set.sigs = match order {
                    "alone" => vec![bad],
                    "before" => vec![bad, good],
                    _ => vec![good, bad],
                };
            });
            assert_eq!(
                standing(&verdict),
                expected,
                "{what} {order}: {}",
                text_of(&verdict)
            );
        }
    }
}

/// RFC 4035 section 5.2 and RFC 6840 section 5.2, through the whole walk: what cannot be followed is left aside, and only when
/// nothing is left the zone is insecure.
#[test]
fn ds_sets_of_all_kinds() {
    let with = |ds: &Rdata, at: usize, value: u8| {
        let mut ds = ds.clone();
        ds[at] = value;
        ds
    };
    let good = Zone::new().ds[0].clone();
    let broken = {
        let mut ds = good.clone();
        *ds.last_mut().unwrap() ^= 1;
        ds
    };
    let short: Rdata = good[..12].into();
    for (what, ds, expected) in [
        ("unknown algorithm", vec![with(&good, 2, 99)], "insecure"),
        (
            "Ed448, which the library has not",
            vec![with(&good, 2, 16)],
            "insecure",
        ),
        ("unknown digest", vec![with(&good, 3, 99)], "insecure"),
        ("GOST digest", vec![with(&good, 3, 3)], "insecure"),
        ("SHA-1 digest", vec![with(&good, 3, 1)], "insecure"),
        ("RSA/SHA-1", vec![with(&good, 2, 5)], "insecure"),
        (
            "all of these",
            vec![with(&good, 2, 99), with(&good, 3, 99), with(&good, 3, 1)],
            "insecure",
        ),
        (
            "one of these and a good one",
            vec![with(&good, 2, 99), good.clone()],
            "secure",
        ),
        (
            "another and a good one",
            vec![with(&good, 3, 99), good.clone()],
            "secure",
        ),
        // A digest that can be followed must lead somewhere.
        (
            "one of these and a wrong one",
            vec![with(&good, 3, 99), broken.clone()],
            "bogus 9",
        ),
        (
            "a wrong one and a good one",
            vec![broken.clone(), good.clone()],
            "secure",
        ),
        (
            "a digest of the wrong length",
            vec![short.clone()],
            "bogus 9",
        ),
        ("and a good one", vec![short, good.clone()], "secure"),
    ] {
        let zone = Zone { ds, ..Zone::new() };
        zone.check(what, expected);
    }
}

/// CVE-2023-50387: numbers that no honest zone has.
#[test]
fn too_many_keys_and_ds_records() {
    for (count, expected) in [(DNSKEYS_MAX, "secure"), (DNSKEYS_MAX + 1, "bogus 6")] {
        let mut zone = Zone::new();
        while zone.keys.len() < count {
            let seed = 100 + zone.keys.len() as u64;
            zone.keys.insert(0, ed(seed, ZSK).dnskey());
        }
        zone.check(&format!("{count} keys"), expected);
    }
    for (others, expected) in [(DS_MAX - 1, "secure"), (DS_MAX, "bogus 9")] {
        let mut zone = Zone::new();
        for seed in 0..others as u64 {
            zone.ds.insert(0, zone.ds_of(&ed(100 + seed, KSK)));
        }
        let verdict = zone.verdict_with(|_, _| {});
        assert_eq!(standing(&verdict), expected, "{others} DS records");
        let told = text_of(&verdict).contains("the first 16 usable");
        assert_eq!(told, expected != "secure", "{}", text_of(&verdict));
    }
    // Those that cannot be followed do not count.
    let mut zone = Zone::new();
    for i in 0..40u8 {
        let mut ds = zone.ds[0].clone();
        (ds[1], ds[3]) = (i, 99);
        zone.ds.insert(0, ds);
    }
    zone.check("DS records of unknown digests", "secure");
}

/// An anchor below a zone that is proven to be unsigned, and one that is nested in another's tree (RFC 6840 section 5.10).
#[test]
fn islands() {
    let zone = |apex: &str| Zone {
        signer: Signer {
            keys: vec![],
            ..Signer::new(apex, 1)
        },
        ds: vec![ed(1, KSK).ds(&name(apex))],
        ..Zone::new()
    };
    for apex in [
        "island.plain.test.",
        "plain.test.",
        "www.unsigned.leaf.test.",
        "island.",
    ] {
        let island = zone(apex);
        let own = record(&island.signer.apex, Rtype::DS, 0, island.ds[0].clone());
        let key = record(&island.signer.apex, Rtype::DNSKEY, 0, ed(1, KSK).dnskey());
        let wrong = record(
            &island.signer.apex,
            Rtype::DS,
            0,
            ed(9, KSK).ds(&island.signer.apex),
        );
        let root = Signer::new(".", 1).ds_record(0);
        let q = question(&format!("www.{apex} A"));
        for (what, anchors, expected) in [
            ("its own", vec![own.clone()], "secure"),
            ("its own key", vec![key.clone(), root.clone()], "secure"),
            (
                "its own and the root's",
                vec![root.clone(), own.clone()],
                "secure",
            ),
            (
                "another's and its own",
                vec![wrong.clone(), own.clone()],
                "secure",
            ),
            // The closest one decides; the root's does not help it.
            ("another's and the root's", vec![root, wrong], "bogus 9"),
        ] {
            let mut world = World::with(Settings {
                anchors,
                ..Settings::default()
            });
            let set = island.signed(
                &q.name,
                Rtype::A,
                vec![[192, 0, 2, 7].into()],
                &island.data_signers,
            );
            let keys = island.signed(
                &island.signer.apex,
                Rtype::DNSKEY,
                island.keys.clone(),
                &island.key_signers,
            );
            let verdict = world.validate_response(&q, island.response(set), |ask, link| {
                if ask.question.name == island.signer.apex {
                    *link = island.response(keys.clone());
                }
                true
            });
            assert_eq!(
                standing(&verdict),
                expected,
                "{apex} {what}: {}",
                text_of(&verdict)
            );
            if expected == "secure" {
                assert_eq!(world.asked.len(), 1, "{apex} {what}: {:?}", world.asked);
            }
        }
    }
}

/// Extended errors tell which key was looked for.
#[test]
fn faults_name_their_key() {
    let mut zone = Zone::new();
    zone.data_signers = vec![ed(2, ZSK)];
    let verdict = zone.verdict_with(|_, _| {});
    let Security::Bogus(ede) = &verdict.security else {
        panic!("{verdict:?}");
    };
    assert_eq!(ede.code, Ede::DNSKEY_MISSING);
    assert!(
        ede.text.contains(&ed(2, ZSK).tag().to_string()),
        "{}",
        ede.text
    );
}
