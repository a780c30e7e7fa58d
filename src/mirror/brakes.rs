//! Brakes: versions that are true and still not wanted.
//!
//! Why: a registry's accident or a captured registry signs its damage like any other version. A version that drops
//! many delegations at once, or one that the operator named, is kept back for a person to look at. Brakes concern
//! the mirror alone: they never alter what upstream answers.
//!
//! Model: [`check`] compares a verified version with the one that is served and says [`Brake::Admit`], with alarms,
//! or [`Brake::Hold`], with reasons. Pure. Against a bootstrap snapshot, which may be years old, only protected names
//! count. A catalog has no delegations; its members count like them, for who is dropped from the list is answered no more.
//!
//! Keys that come without notice raise an alarm: a zone that rolls its keys has the old one sign the new set (RFC 6781 section
//! 4.1). Where no key of the version before has signed the DNSKEY set of the new one, the chain of trust still holds, through
//! the parent or another anchor, but somebody else may be holding the pen. It is no reason to hold the version: an emergency
//! roll must not freeze a zone.

use crate::catalog::{Member, Membership};
use crate::config::{Percent, ProtectChanges};
use crate::dns::{Dnskey, Name, RrSet, Rrsig, Rtype};
use crate::news::News;
use crate::zone::{Place, ZoneImage};

/// Fewer dropped members of a catalog hold no version, unless they were all of several: a few of a small fleet come and go.
const MEMBERS_DROPPED_MIN: u64 = 10;

/// What the operator set.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    /// More dropped delegations than this share of them hold a version.
    pub shrink_max: Percent,
    /// Names whose delegation must not vanish.
    pub protect: &'a [Name],
    /// What a changed NS or DS of a protected name does.
    pub protect_changes: ProtectChanges,
    /// What the zone lists as it is followed, if it is a catalog (RFC 9432): `shrink_max` is for members, too.
    pub listed: Option<&'a Membership>,
}

/// Something about a version that is worth an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Of which kind.
    pub news: News,
    /// A sentence.
    pub text: String,
}

/// What becomes of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Brake {
    /// It may be served; these things are worth an alarm.
    Admit(Vec<Alarm>),
    /// It waits for the operator, because of this.
    Hold(Vec<String>),
}

/// Compares `new` with the version that is served.
pub fn check(
    old: &ZoneImage,
    old_is_bootstrap: bool,
    new: &ZoneImage,
    policy: &Policy<'_>,
) -> Brake {
    let mut alarms = Vec::new();
    let mut reasons = Vec::new();
    if !old_is_bootstrap {
        reasons.extend(shrinks(old, new, policy.shrink_max));
        // A broken catalog has no members, and none are dropped for it.
        if let Some(before) = policy.listed
            && let Ok(now) = Membership::read(new)
        {
            reasons.extend(unlists(before, &now, policy.shrink_max));
        }
        alarms.extend(unannounced_keys(old, new).map(|text| Alarm {
            news: News::Keys,
            text,
        }));
    }
    for name in policy.protect {
        match protected(old, new, name) {
            Change::None => {}
            Change::Removed => {
                reasons.push(format!(
                    "the delegation of the protected name {name} is gone"
                ));
            }
            Change::Altered(rtype) => {
                let text = format!("{rtype} of the protected name {name} changed");
                match policy.protect_changes {
                    ProtectChanges::Alarm => alarms.push(Alarm {
                        news: News::ProtectedName,
                        text,
                    }),
                    ProtectChanges::Hold => reasons.push(text),
                }
            }
        }
    }
    if reasons.is_empty() {
        Brake::Admit(alarms)
    } else {
        Brake::Hold(reasons)
    }
}

/// Whether the zone's keys changed and no earlier one speaks for the new set.
fn unannounced_keys(old: &ZoneImage, new: &ZoneImage) -> Option<String> {
    let keys = |image: &ZoneImage| image.find(image.apex(), Rtype::DNSKEY);
    let old = keys(old).filter(|set| !set.rdatas.is_empty())?;
    let Some(new) = keys(new).filter(|set| !set.rdatas.is_empty()) else {
        return Some("the zone had keys, and this version has none".to_owned());
    };
    let has_signed = |key: &Dnskey<'_>| {
        let mut sigs = new.sigs.iter().filter_map(|sig| Rrsig::parse(sig));
        sigs.any(|sig| sig.key_tag == key.key_tag() && sig.algorithm == key.algorithm)
    };
    // The set was verified: some key of it has signed it, and what is looked for is whether an earlier one has.
    let mut kept = new.rdatas.iter().filter(|key| old.rdatas.contains(key));
    let is_chained = kept.any(|key| Dnskey::parse(key).is_some_and(|key| has_signed(&key)));
    let tags = |set: &RrSet| {
        let keys = set.rdatas.iter().filter_map(|key| Dnskey::parse(key));
        // RFC 4034 section 2.1.1: the bit of a secure entry point.
        let entry = keys.filter(|key| key.flags & 1 == 1);
        let tags: Vec<String> = entry.map(|key| key.key_tag().to_string()).collect();
        tags.join(", ")
    };
    (!is_chained).then(|| {
        format!(
            "the zone's keys changed without notice: {} before, {} now, and no earlier key has signed the new set",
            tags(&old),
            tags(&new)
        )
    })
}

fn shrinks(old: &ZoneImage, new: &ZoneImage, max: Percent) -> Option<String> {
    let dropped = dropped(old, new);
    let before = old.delegation_count();
    max.is_exceeded_by(dropped, before).then(|| {
        format!(
            "{dropped} of {before} delegations are gone, more than {} % (shrink_max)",
            max.value()
        )
    })
}

/// How many delegations of `old` are not in `new`. Both are walked in canonical order, side by side.
fn dropped(old: &ZoneImage, new: &ZoneImage) -> u64 {
    let (mut old, mut new) = (old.raw_nodes(), new.raw_nodes());
    new.advance();
    let mut count = 0;
    while let Some(node) = old.advance() {
        if node.place() != Place::Delegation {
            continue;
        }
        while new.current().is_some_and(|n| n.key < node.key) {
            new.advance();
        }
        let kept =
            (new.current()).is_some_and(|n| n.key == node.key && n.place() == Place::Delegation);
        count += u64::from(!kept);
    }
    count
}

/// Why a catalog's members must not all go as the new list says. One that is listed under another label begins again with nothing
/// (RFC 9432 section 5.4) and counts as dropped.
fn unlists(before: &Membership, now: &Membership, max: Percent) -> Option<String> {
    let is_kept = |(zone, old): &(&Name, &Member)| {
        (now.members.get(*zone)).is_some_and(|new| new.label == old.label)
    };
    let kept = before.members.iter().filter(is_kept).count() as u64;
    let all = before.members.len() as u64;
    let dropped = all - kept;
    let are_many = dropped >= MEMBERS_DROPPED_MIN || (kept == 0 && dropped > 1);
    (are_many && max.is_exceeded_by(dropped, all)).then(|| {
        format!(
            "{dropped} of {all} members of the catalog are gone or listed anew, more than {} % (shrink_max)",
            max.value()
        )
    })
}

enum Change {
    None,
    Removed,
    Altered(Rtype),
}

fn protected(old: &ZoneImage, new: &ZoneImage, name: &Name) -> Change {
    if name == old.apex() {
        return Change::None;
    }
    let set = |image: &ZoneImage, rtype| image.find(name, rtype);
    let Some(old_ns) = set(old, Rtype::NS) else {
        return Change::None;
    };
    let Some(new_ns) = set(new, Rtype::NS) else {
        return Change::Removed;
    };
    if !same_data(Some(&old_ns), Some(&new_ns)) {
        return Change::Altered(Rtype::NS);
    }
    let (old_ds, new_ds) = (set(old, Rtype::DS), set(new, Rtype::DS));
    if !same_data(old_ds.as_ref(), new_ds.as_ref()) {
        return Change::Altered(Rtype::DS);
    }
    Change::None
}

/// Whether two sets hold the same records. TTLs do not count, letter case does not either.
fn same_data(a: Option<&RrSet>, b: Option<&RrSet>) -> bool {
    let data = |set: Option<&RrSet>| {
        let mut all: Vec<Vec<u8>> = (set.into_iter())
            .flat_map(|s| s.rdatas.iter())
            .map(|r| match set.is_some_and(|s| s.rtype == Rtype::NS) {
                true => r.to_ascii_lowercase(),
                false => r.to_vec(),
            })
            .collect();
        all.sort();
        all
    };
    data(a) == data(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Rdata;
    use crate::signer::{Signer, name, record, rrs};
    use crate::zone::Builder;

    /// A zone with these lines besides its SOA and NS.
    fn image(lines: &str) -> ZoneImage {
        let mut builder = Builder::new(name("test."));
        let text = format!("test. 60 SOA ns.x. host.x. 1 2 3 4 5\ntest. 60 NS ns.x.\n{lines}");
        for record in rrs(&text) {
            builder.add(record).unwrap();
        }
        builder.finish().unwrap()
    }

    fn delegations_of(names: &str) -> String {
        let line = |n: &str| format!("{n}.test. 60 NS ns.x.\n");
        names.split_whitespace().map(line).collect()
    }

    #[test]
    fn dropped_names_are_counted_not_replaced_ones() {
        let held = |old: &str, new: &str, max: u8| {
            let policy = Policy {
                shrink_max: Percent::new(max).unwrap(),
                protect: &[],
                protect_changes: ProtectChanges::Alarm,
                listed: None,
            };
            let (old, new) = (image(&delegations_of(old)), image(&delegations_of(new)));
            let brake = |bootstrap| check(&old, bootstrap, &new, &policy);
            assert_eq!(brake(true), Brake::Admit(vec![]));
            matches!(brake(false), Brake::Hold(_))
        };
        assert!(!held("a b c d", "a b c d", 0));
        assert!(held("a b c d", "a b c", 0));
        assert!(held("a b c d", "b c d e f g", 24));
        assert!(!held("a b c d", "b c d e", 25));
        assert!(held("a b c d", "", 99));
        assert!(!held("a b c d", "", 100));
        assert!(!held("", "a b", 0));
        assert!(!held("", "", 0));
    }

    #[test]
    fn protected_names_count_against_a_snapshot_too() {
        let protect = [name("ru.test."), name("test.")];
        let check = |old: &str, new: &str, changes: ProtectChanges| {
            let policy = Policy {
                shrink_max: Percent::new(100).unwrap(),
                protect: &protect,
                protect_changes: changes,
                listed: None,
            };
            check(&image(old), true, &image(new), &policy)
        };
        let (alarm, hold) = (ProtectChanges::Alarm, ProtectChanges::Hold);
        let plain = "ru.test. 60 NS a.x.\nru.test. 60 NS b.x.\n";
        let signed = &format!("{plain}ru.test. 60 DS 1 13 2 {}\n", "ab".repeat(32));
        let admit = Brake::Admit(vec![]);
        assert_eq!(check("", plain, hold), admit);
        assert_eq!(
            check(plain, "ru.test. 9 NS B.x.\nru.test. 9 NS A.x.\n", hold),
            admit
        );
        assert!(matches!(check(plain, "", alarm), Brake::Hold(r) if r[0].contains("is gone")));
        let alarmed = |text: &str| {
            Brake::Admit(vec![Alarm {
                news: News::ProtectedName,
                text: text.to_owned(),
            }])
        };
        let moved = alarmed("NS of the protected name ru.test. changed");
        assert_eq!(check(plain, "ru.test. 60 NS a.x.\n", alarm), moved);
        for (old, new) in [(plain, &signed[..]), (signed, plain)] {
            let rolled = vec!["DS of the protected name ru.test. changed".to_owned()];
            assert_eq!(check(old, new, alarm), alarmed(&rolled[0]));
            assert_eq!(check(old, new, hold), Brake::Hold(rolled));
        }
    }

    #[test]
    fn dropped_members_of_a_catalog_count() {
        /// Members `from..to`, whose labels begin with `label`.
        fn catalog(label: &str, members: std::ops::Range<u32>) -> ZoneImage {
            let line = |n| format!("{label}{n}.zones.test. 0 PTR z{n}.example.\n");
            let lines: String = members.map(line).collect();
            image(&format!("version.test. 0 TXT 2\n{lines}"))
        }
        let held = |old: &ZoneImage, new: &ZoneImage, max: u8| {
            let listed = Membership::read(old).unwrap();
            let policy = Policy {
                shrink_max: Percent::new(max).unwrap(),
                protect: &[],
                protect_changes: ProtectChanges::Alarm,
                listed: Some(&listed),
            };
            assert_eq!(check(old, true, new, &policy), Brake::Admit(vec![]));
            match check(old, false, new, &policy) {
                Brake::Admit(_) => false,
                Brake::Hold(reasons) => reasons[0].contains("members of the catalog"),
            }
        };
        let all = catalog("m", 0..100);
        assert!(!held(&all, &all, 0));
        assert!(!held(&all, &catalog("m", 0..500), 0));
        assert!(!held(&all, &catalog("m", 9..100), 5), "nine are few");
        assert!(held(&all, &catalog("m", 10..200), 5));
        assert!(held(&all, &catalog("m", 10..100), 9));
        assert!(!held(&all, &catalog("m", 10..100), 10));
        assert!(held(&all, &catalog("m", 0..0), 99));
        assert!(!held(&all, &catalog("m", 0..0), 100));
        assert!(held(&all, &catalog("new", 0..100), 5), "they begin anew");
        assert!(!held(&catalog("m", 0..3), &catalog("m", 0..1), 5));
        assert!(held(&catalog("m", 0..3), &catalog("m", 0..0), 5));
        assert!(!held(&catalog("m", 0..1), &catalog("m", 0..0), 5));
        // Nobody follows a broken one.
        assert!(!held(&all, &image(""), 0));
    }

    /// Keys 1 and 2 are of two signers; a set is signed by the keys that are listed.
    #[test]
    fn keys_without_notice_raise_an_alarm() {
        let signers = [Signer::new("test.", 1), Signer::new("test.", 2)];
        let zone = |keys: &[usize], signed_by: &[usize]| {
            let apex = name("test.");
            let mut builder = Builder::new(apex.clone());
            for record in rrs("test. 60 SOA ns.x. host.x. 1 2 3 4 5\ntest. 60 NS ns.x.") {
                builder.add(record).unwrap();
            }
            let rdatas: Vec<Rdata> = keys.iter().map(|&i| signers[i].keys[0].dnskey()).collect();
            let sign = |&i: &usize| {
                signers[i].rrsig_by(&signers[i].keys[0], &apex, Rtype::DNSKEY, 60, &rdatas)
            };
            let sigs: Vec<Rdata> = signed_by.iter().map(sign).collect();
            for (rtype, all) in [(Rtype::DNSKEY, rdatas), (Rtype::RRSIG, sigs)] {
                for rdata in all {
                    builder.add(record(&apex, rtype, 60, rdata)).unwrap();
                }
            }
            builder.finish().unwrap()
        };
        let policy = Policy {
            shrink_max: Percent::new(5).unwrap(),
            protect: &[],
            protect_changes: ProtectChanges::Hold,
            listed: None,
        };
        let alarmed = |old: &ZoneImage, new: &ZoneImage| {
            assert_eq!(check(old, true, new, &policy), Brake::Admit(vec![]));
            match check(old, false, new, &policy) {
                Brake::Admit(alarms) => !alarms.is_empty(),
                Brake::Hold(_) => panic!("keys alone hold nothing"),
            }
        };
        let one = zone(&[0], &[0]);
        assert!(!alarmed(&one, &one));
        // Announced, then rolled.
        assert!(!alarmed(&one, &zone(&[0, 1], &[0])));
        assert!(!alarmed(&one, &zone(&[0, 1], &[0, 1])));
        assert!(!alarmed(&zone(&[0, 1], &[0]), &zone(&[1], &[1])));
        assert!(!alarmed(&zone(&[], &[]), &one));
        assert!(alarmed(&one, &zone(&[1], &[1])));
        assert!(alarmed(&one, &zone(&[0, 1], &[1])));
        assert!(alarmed(&one, &zone(&[], &[])));
    }
}
