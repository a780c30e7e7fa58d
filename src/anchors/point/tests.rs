//! One zone's keys through everything that a zone, or who poses as it, can show.

use super::*;
use crate::signer::{INCEPTION, KSK, Key, Signer, ZSK, name};

const DAY: u64 = 86_400;
const START: u64 = INCEPTION as u64 + DAY;

fn key(seed: u64) -> Key {
    Key::ed25519(seed, KSK)
}

/// A DNSKEY set of `keys`, signed by `by`, valid for two weeks around `at_s`.
fn set(keys: &[&Key], by: &[&Key], at_s: u64) -> RrSet {
    let mut signer = Signer::new("test.", 9);
    signer.inception = (at_s - DAY) as u32;
    signer.expiration = (at_s + 13 * DAY) as u32;
    let rdatas: Vec<Rdata> = keys.iter().map(|k| k.dnskey()).collect();
    let sign = |key: &&Key| signer.rrsig_by(key, &name("test."), Rtype::DNSKEY, 3600, &rdatas);
    RrSet {
        name: name("test."),
        rtype: Rtype::DNSKEY,
        ttl: 3600,
        sigs: by.iter().map(sign).collect(),
        rdatas,
    }
}

fn point(ds_of: &[&Key], keys: &[&Key]) -> TrustPoint {
    let zone = name("test.");
    let configured = Anchor {
        ds: ds_of.iter().map(|k| k.ds(&zone)).collect(),
        dnskeys: keys.iter().map(|k| k.dnskey()).collect(),
        owner: zone,
    };
    TrustPoint::new(configured, false, START)
}

/// States by tag, as text.
fn states(point: &TrustPoint, of: &[&Key]) -> String {
    let state = |key: &&Key| {
        let found = point.keys.iter().find(|k| k.rdata == key.dnskey());
        found.map_or("-".to_owned(), |k| k.state.to_string())
    };
    of.iter().map(state).collect::<Vec<_>>().join(" ")
}

/// RFC 5011 sections 2.1 to 2.4: a roll as it should be, from a DS and from a DNSKEY.
#[test]
fn a_roll_from_one_key_to_the_next() {
    let (old, new, zsk) = (key(1), key(2), Key::ed25519(1, ZSK));
    for mut point in [point(&[&old], &[]), point(&[], &[&old])] {
        let at = |day: u64| START + day * DAY;
        let mut check = |day, keys: &[&Key], by: &[&Key], expected: &str, anchors: usize| {
            let seen = point.observe(&set(keys, by, at(day)), at(day));
            assert!(seen.counted.is_ok(), "day {day}: {:?}", seen.counted);
            assert_eq!(states(&point, &[&old, &new, &zsk]), expected, "day {day}");
            let in_force = point.in_force();
            assert_eq!(
                in_force.ds.len() + in_force.dnskeys.len(),
                anchors,
                "day {day}"
            );
        };
        let gone = || key(1).revoked();
        check(0, &[&old, &zsk], &[&old], "valid - -", 1);
        check(1, &[&old, &new, &zsk], &[&old], "valid add-pending -", 1);
        check(30, &[&old, &new, &zsk], &[&old], "valid add-pending -", 1);
        check(31, &[&old, &new, &zsk], &[&old], "valid valid -", 2);
        check(32, &[&new, &zsk], &[&new], "missing valid -", 2);
        check(33, &[&old, &new, &zsk], &[&old], "valid valid -", 2);
        check(
            40,
            &[&gone(), &new, &zsk],
            &[&gone(), &new],
            "revoked valid -",
            1,
        );
        check(69, &[&new, &zsk], &[&new], "revoked valid -", 1);
        check(70, &[&new, &zsk], &[&new], "removed valid -", 1);
        // RFC 5011 section 4.2: Removed is for ever.
        check(71, &[&old, &new, &zsk], &[&new], "removed valid -", 1);
    }
}

#[test]
fn what_no_anchor_signed_counts_for_nothing() {
    let (old, new, zsk) = (key(1), key(2), Key::ed25519(1, ZSK));
    let mut point = point(&[&old], &[]);
    point.observe(&set(&[&old, &zsk], &[&old], START), START);
    let before = point.keys.clone();
    for (i, shown) in [
        // Signed by the new key alone, for as long as it likes.
        set(&[&new, &zsk], &[&new], START + 2 * DAY),
        set(&[&old, &new, &zsk], &[&new], START + 40 * DAY),
        // By the zone signing key.
        set(&[&old, &new, &zsk], &[&zsk], START + 50 * DAY),
        // By nobody; without the keys; a revocation by another key than the revoked.
        set(&[&old, &new], &[], START + 51 * DAY),
        set(&[&key(1).revoked(), &new], &[&new], START + 52 * DAY),
        // A signature that has run out.
        set(&[&old, &new], &[&old], START + 10 * DAY),
    ]
    .iter()
    .enumerate()
    {
        let seen = point.observe(shown, START + 60 * DAY - i as u64);
        assert_eq!(seen.counted, Err(Refused::NotSigned), "{i}");
        assert_eq!(
            (point.keys.clone(), seen.changes),
            (before.clone(), vec![]),
            "{i}"
        );
    }
    let mut damaged = set(&[&old, &new], &[&old], START + DAY);
    *damaged.sigs[0].last_mut().unwrap() ^= 1;
    let seen = point.observe(&damaged, START + DAY);
    assert_eq!(seen.counted, Err(Refused::NotSigned));
    let many: Vec<Key> = (0..70).map(key).collect();
    let large = set(&many.iter().collect::<Vec<_>>(), &[&old], START + DAY);
    assert_eq!(
        point.observe(&large, START + DAY).counted,
        Err(Refused::TooLarge)
    );
    let mut other = set(&[&old], &[&old], START + DAY);
    other.name = name("example.");
    assert_eq!(
        point.observe(&other, START + DAY).counted,
        Err(Refused::NoKeys)
    );
    assert_eq!(point.keys, before);
}

/// RFC 5011 section 2.4.1: in every set for 30 days, and in one after them.
#[test]
fn a_new_key_that_is_gone_once_begins_anew() {
    let (old, new) = (key(1), key(2));
    let mut point = point(&[&old], &[]);
    for (day, with_new, expected) in [
        (0, true, "valid add-pending"),
        (20, false, "valid -"),
        (21, true, "valid add-pending"),
        (31, true, "valid add-pending"),
        (50, true, "valid add-pending"),
        (51, true, "valid valid"),
    ] {
        let at = START + day * DAY;
        let keys: &[&Key] = if with_new { &[&old, &new] } else { &[&old] };
        point.observe(&set(keys, &[&old], at), at);
        assert_eq!(states(&point, &[&old, &new]), expected, "day {day}");
    }
}

/// RFC 5011 section 2.1: a revocation needs no other signature; and the last key's leaves the configured anchors.
#[test]
fn the_last_keys_revocation_leaves_what_is_configured() {
    let (old, new) = (key(1), key(2));
    let gone = key(1).revoked();
    assert_ne!(gone.tag(), old.tag());
    let mut point = point(&[&old], &[]);
    let seen = point.observe(&set(&[&gone, &new], &[&gone, &new], START), START);
    assert_eq!(seen.counted, Err(Refused::NoAnchorLeft));
    let change = Change {
        tag: old.tag(),
        from: KeyState::Start,
        to: KeyState::Revoked,
    };
    assert_eq!(seen.changes, [change]);
    assert!(point.lost_all());
    assert_eq!(point.in_force(), point.configured);
    // Nothing gets in by the revoked key any more.
    let at = START + 40 * DAY;
    let seen = point.observe(&set(&[&old, &new], &[&old, &new], at), at);
    assert_eq!(seen.counted, Err(Refused::NoAnchorLeft));
    assert_eq!(states(&point, &[&new]), "-");
}

/// What a revoked key signs in the very set that revokes it is worth nothing.
#[test]
fn a_revoked_key_introduces_nobody() {
    let (old, new) = (key(1), key(2));
    let gone = key(1).revoked();
    let spare = key(3);
    let mut point = point(&[&old, &spare], &[]);
    let shown = set(&[&gone, &old, &new], &[&gone, &old], START);
    let seen = point.observe(&shown, START);
    assert_eq!(seen.counted, Err(Refused::NotSigned));
    assert_eq!(states(&point, &[&old, &new]), "revoked -");
    // The DS of the key that was never seen still stands.
    assert_eq!(point.in_force().ds.len(), 1);
}

#[test]
fn a_clock_that_ran_ahead_only_makes_a_key_wait_anew() {
    let (old, new) = (key(1), key(2));
    let mut point = point(&[], &[&old]);
    let future = START + 1000 * DAY;
    point.observe(&set(&[&old, &new], &[&old], future), future);
    assert!(point.is_due(START), "a look far ahead is no reason to wait");
    for (day, expected) in [(1, "add-pending"), (30, "add-pending"), (31, "valid")] {
        let at = START + day * DAY;
        point.observe(&set(&[&old, &new], &[&old], at), at);
        assert_eq!(states(&point, &[&new]), expected, "day {day}");
    }
}

#[test]
fn the_number_of_keys_is_bounded() {
    let old = key(1000);
    let mut point = point(&[], &[&old]);
    let many: Vec<Key> = (0..60).map(key).collect();
    let keys: Vec<&Key> = many.iter().chain([&old]).collect();
    let seen = point.observe(&set(&keys, &[&old], START), START);
    assert!(seen.counted.is_ok());
    assert_eq!(point.keys.len(), KEYS_MAX);
    assert!(!point.lost_all());
}
