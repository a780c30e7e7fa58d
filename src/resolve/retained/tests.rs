//! What is kept, for how long, when it is used, and what ends it.

use super::rows::{HostRow, ParentRow, Unwritten, ZoneRow};
use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn at(s: u64) -> Now {
    Now::new(Duration::from_secs(s), 1_000_000 + s)
}

fn question(text: &str, rtype: Rtype) -> Question {
    Question::new(name(text), rtype)
}

fn kept() -> Retained {
    Retained::new(Settings {
        age_max_s: 1000,
        ..Settings::default()
    })
}

fn learn(kept: &Retained, zone: &str, parent: &str, server: &str, s: u64) {
    let delegation = Delegation {
        zone: name(zone),
        servers: vec![(name(server), vec![[192, 0, 2, 1].into()])],
        expiry: None,
        origin: DelegationOrigin::Network,
    };
    kept.learn(&delegation, &name(parent), at(s));
}

fn taken(kept: &Retained, parent: &str, asked: &Question, s: u64) -> Option<String> {
    let found = kept.take(&name(parent), asked, at(s));
    found.map(|(delegation, _)| delegation.zone.to_string())
}

#[test]
fn an_entry_serves_the_step_of_the_zone_that_gave_it() {
    let kept = kept();
    for (zone, parent) in [("com.", "."), ("a.com.", "com."), ("s.a.com.", "a.com.")] {
        learn(&kept, zone, parent, "ns.net.", 0);
    }
    for (parent, asked, rtype, expected) in [
        (".", "www.s.a.com.", Rtype::A, Some("com.")),
        ("com.", "www.s.a.com.", Rtype::A, Some("a.com.")),
        ("a.com.", "www.s.a.com.", Rtype::A, Some("s.a.com.")),
        ("s.a.com.", "www.s.a.com.", Rtype::A, None),
        ("com.", "a.com.", Rtype::NS, Some("a.com.")),
        // A DS is the parent's to answer.
        ("com.", "a.com.", Rtype::DS, None),
        ("com.", "www.a.com.", Rtype::DS, Some("a.com.")),
        ("com.", "b.com.", Rtype::A, None),
        ("net.", "www.a.com.", Rtype::A, None),
        (".", ".", Rtype::NS, None),
        (".", ".", Rtype::DS, None),
    ] {
        let asked = question(asked, rtype);
        let found = taken(&kept, parent, &asked, 1);
        assert_eq!(found.as_deref(), expected, "{asked} at {parent}");
    }
}

#[test]
fn denials_end_what_lies_on_the_way_to_the_name_and_below() {
    let all = [
        ("a.com.", "com."),
        ("s.a.com.", "a.com."),
        ("b.com.", "com."),
    ];
    for (by, asked, rtype, left) in [
        ("com.", "a.com.", Rtype::NS, vec!["b.com."]),
        ("com.", "x.y.a.com.", Rtype::A, vec!["b.com."]),
        ("a.com.", "x.s.a.com.", Rtype::A, vec!["a.com.", "b.com."]),
        // Not below, not by the parent, and a missing DS is no missing zone.
        (
            "com.",
            "c.com.",
            Rtype::A,
            vec!["a.com.", "b.com.", "s.a.com."],
        ),
        (
            "net.",
            "a.com.",
            Rtype::A,
            vec!["a.com.", "b.com.", "s.a.com."],
        ),
        (
            "com.",
            "a.com.",
            Rtype::DS,
            vec!["a.com.", "b.com.", "s.a.com."],
        ),
    ] {
        let kept = kept();
        for (zone, parent) in all {
            learn(&kept, zone, parent, "ns.net.", 0);
        }
        kept.denied(&name(by), &question(asked, rtype));
        let mut found: Vec<String> = (kept.tables().zones.keys())
            .map(ToString::to_string)
            .collect();
        found.sort();
        assert_eq!(found, left, "{asked} {rtype} denied by {by}");
    }
}

#[test]
fn a_zone_that_has_moved_takes_nothing_along() {
    let ds = |n: u8| Cut::Signed {
        ds: vec![vec![n].into()].into(),
        until_s: at(9).wall_s,
    };
    for (server, parent, below) in [
        ("ns.net.", "com.", true),
        ("ns.other.", "com.", false),
        ("ns.net.", ".", true),
    ] {
        let kept = kept();
        learn(&kept, "a.com.", "com.", "ns.net.", 0);
        learn(&kept, "s.a.com.", "a.com.", "ns.net.", 0);
        kept.learn_cut(&name("a.com."), &ds(1));
        learn(&kept, "a.com.", parent, server, 5);
        kept.proven(&name("a.com."), [192, 0, 2, 2].into(), at(6));
        let tables = kept.tables();
        assert_eq!(
            tables.zones.contains_key(&name("s.a.com.")),
            below,
            "{server}"
        );
        // What a former parent proved is not this one's word.
        let proven = parent == "com.";
        assert_eq!(
            tables.zones[&name("a.com.")].cut == ds(1),
            proven,
            "{parent}"
        );
    }
}

// What nobody vouches for: the NS set and glue of a parent, or of who stands in its place.
#[test]
fn a_signed_zone_is_not_handed_over_on_its_parents_word() {
    let (old, new, other): ([u8; 4], [u8; 4], [u8; 4]) =
        ([192, 0, 2, 1], [192, 0, 2, 2], [192, 0, 2, 3]);
    let says = |kept: &Retained, server: &str, address: [u8; 4], s: u64| {
        let delegation = Delegation {
            zone: name("a.com."),
            servers: vec![(name(server), vec![address.into()])],
            expiry: None,
            origin: DelegationOrigin::Network,
        };
        kept.learn(&delegation, &name("com."), at(s));
    };
    let signed = Cut::Signed {
        ds: vec![vec![1].into()].into(),
        until_s: at(500).wall_s,
    };
    let unsigned = Cut::Unsigned {
        until_s: at(500).wall_s,
    };
    let served_by = |kept: &Retained| {
        let www = question("www.a.com.", Rtype::A);
        let (found, _) = kept.take(&name("com."), &www, at(20)).unwrap();
        found.servers[0].1[0]
    };
    for (about, cut, server, address, shown_by, expected) in [
        ("other names", &signed, "ns.evil.", new, None, old),
        (
            "the same name at another address",
            &signed,
            "ns.net.",
            new,
            None,
            old,
        ),
        (
            "an answer to an earlier question",
            &signed,
            "ns.evil.",
            new,
            Some(old),
            old,
        ),
        ("it has moved", &signed, "ns.other.", new, Some(new), new),
        (
            "an address that was looked up",
            &signed,
            "ns.other.",
            new,
            Some(other),
            new,
        ),
        ("the same server", &signed, "ns.net.", old, None, old),
        ("not signed", &unsigned, "ns.other.", new, None, new),
        ("nothing known", &Cut::NotTold, "ns.other.", new, None, new),
    ] {
        let kept = kept();
        says(&kept, "ns.net.", old, 0);
        kept.learn_cut(&name("a.com."), cut);
        says(&kept, server, address, 5);
        if let Some(by) = shown_by {
            kept.proven(&name("a.com."), by.into(), at(6));
        }
        assert_eq!(served_by(&kept), IpAddr::from(expected), "{about}");
        // Nor across a restart, whichever comes first.
        let rows = kept.take_unwritten(10, true, at(7));
        let row = rows.into_iter().find_map(|row| match row {
            Unwritten::Zone(row) => Some(row),
            _ => None,
        });
        let again = self::kept();
        says(&again, server, address, 8);
        again.restore_zone(row.unwrap(), at(9));
        assert_eq!(
            served_by(&again),
            IpAddr::from(expected),
            "{about}, restarted"
        );
    }
    // Its parent names the former ones again: the others are forgotten.
    let kept = kept();
    says(&kept, "ns.net.", old, 0);
    kept.learn_cut(&name("a.com."), &signed);
    says(&kept, "ns.evil.", new, 5);
    says(&kept, "ns.net.", old, 6);
    kept.proven(&name("a.com."), other.into(), at(7));
    assert_eq!(served_by(&kept), IpAddr::from(old));
    // That it is unsigned now is its parent's proven word: it counts as a whole.
    says(&kept, "ns.other.", new, 8);
    kept.learn_cut(&name("a.com."), &unsigned);
    assert_eq!(served_by(&kept), IpAddr::from(new));
}

/// The diagram at the top of the module.
#[test]
fn entries_wait_for_their_parent_until_it_is_gone() {
    let kept = kept();
    let (com, www) = (name("com."), question("www.a.com.", Rtype::A));
    let when = |ms: u64| kept.when(&com, &www, Now::new(Duration::from_millis(ms), 1_000_000));
    assert_eq!(when(0), None);
    // Nothing is kept below: nothing to use.
    assert!(!kept.failed(&com, at(0)));
    learn(&kept, "a.com.", "com.", "ns.net.", 0);
    assert_eq!(when(0), Some(When::Late));
    assert!(kept.failed(&com, at(0)));
    assert!(!kept.failed(&com, at(0)));
    for (ms, expected) in [
        (10, When::Now),
        (999, When::Now),
        (1000, When::Explore),
        (1001, When::Now),
        (2000, When::Explore),
    ] {
        assert_eq!(when(ms), Some(expected), "{ms}");
    }
    taken(&kept, "com.", &www, 2);
    assert!(kept.through(&name("a.com."), at(3)).is_some());
    assert!(kept.through(&name("s.a.com."), at(3)).is_some());
    assert_eq!(kept.through(&name("com."), at(3)), None);
    // Somebody asked it a second ago.
    let at_ms = |ms| Now::new(Duration::from_millis(ms), 1_000_000);
    assert!(!kept.is_parent_due(&name("a.com."), at_ms(2999)));
    assert!(kept.is_parent_due(&name("a.com."), at_ms(3000)));
    assert_eq!(kept.heard(&name("net.")), None);
    kept.note_as_of(&com);
    let back = kept.heard(&com).unwrap();
    assert_eq!((back.since_s, back.as_of), (1_000_000, true));
    assert_eq!(kept.through(&name("a.com."), at(3)), None);
    assert_eq!(when(2001), Some(When::Late));
}

#[test]
fn what_is_too_old_is_not_used() {
    let kept = kept();
    let www = question("www.a.com.", Rtype::A);
    for (s, expected) in [(1000, Some("a.com.")), (1001, None)] {
        learn(&kept, "a.com.", "com.", "ns.net.", 0);
        kept.learn_cut(&name("a.com."), &unsigned(2000));
        assert_eq!(
            kept.cuts(&www.name, at(s)).len(),
            usize::from(expected.is_some())
        );
        assert_eq!(taken(&kept, "com.", &www, s).as_deref(), expected);
        kept.learn_addresses(&name("ns.net."), Rtype::A, &[[192, 0, 2, 1].into()], at(0));
        let found = kept.addresses(&name("ns.net."), Rtype::A, at(s));
        assert_eq!(found.is_some(), expected.is_some(), "{s}");
    }
}

fn unsigned(until_s: u64) -> Cut {
    Cut::Unsigned {
        until_s: at(until_s).wall_s,
    }
}

/// As-of validation is for what ran out while nobody could ask for it anew.
#[test]
fn a_proof_that_has_run_out_serves_only_while_its_parent_is_gone() {
    let ds = Cut::Signed {
        ds: vec![vec![1].into()].into(),
        until_s: at(50).wall_s,
    };
    for cut in [unsigned(50), ds] {
        let kept = kept();
        let (com, zone) = (name("com."), name("a.com."));
        let serves = |s: u64| !kept.cuts(&zone, at(s)).is_empty();
        learn(&kept, "a.com.", "com.", "ns.net.", 0);
        kept.learn_cut(&zone, &cut);
        assert!(serves(50) && !serves(51), "{cut:?}");
        kept.failed(&com, at(60));
        assert!(serves(61) && serves(600), "{cut:?}");
        // The parent is back, and names the servers; what it says of the DS set is to be proven anew.
        kept.heard(&com);
        assert!(!serves(601), "{cut:?}");
        learn(&kept, "a.com.", "com.", "ns.net.", 602);
        kept.failed(&com, at(603));
        assert!(!serves(604), "{cut:?}");
        let row = kept.take_unwritten(9, true, at(605));
        let written = row
            .iter()
            .any(|change| matches!(change, Unwritten::Zone(row) if row.cut == Cut::NotTold));
        assert!(written, "{row:?}");
    }
}

#[test]
fn addresses_serve_when_a_search_has_failed_and_are_looked_for_now_and_then() {
    let kept = kept();
    let ns = name("ns.net.");
    let list: [IpAddr; 1] = [[192, 0, 2, 1].into()];
    kept.learn_addresses(&ns, Rtype::A, &list, at(0));
    kept.learn_addresses(&ns, Rtype::AAAA, &[], at(0));
    let found = |rtype, s| {
        let found = kept.addresses(&ns, rtype, at(s));
        found.map(|k| (k.list.len(), k.failing, k.look))
    };
    assert_eq!(found(Rtype::A, 0), Some((1, false, false)));
    assert_eq!(found(Rtype::AAAA, 0), Some((0, false, false)));
    kept.lookup_failed(&ns, at(1));
    assert_eq!(found(Rtype::A, 1), Some((1, true, false)));
    assert_eq!(found(Rtype::A, 31), Some((1, true, true)));
    assert_eq!(found(Rtype::A, 32), Some((1, true, false)));
    kept.learn_addresses(&ns, Rtype::A, &list, at(40));
    assert_eq!(found(Rtype::A, 41), Some((1, false, false)));
    // A denial ends it.
    kept.learn_addresses(&ns, Rtype::A, &[], at(42));
    assert_eq!(found(Rtype::A, 43), None);
}

#[test]
fn full_tables_forget_what_is_used_least() {
    let kept = Retained::new(Settings {
        entries_max: 100,
        ..Settings::default()
    });
    for _ in 0..3 {
        for n in 0..40 {
            learn(&kept, &format!("popular{n}.com."), "com.", "ns.net.", 0);
            let host = name(&format!("popular{n}.net."));
            kept.learn_addresses(&host, Rtype::A, &[[192, 0, 2, 1].into()], at(0));
        }
    }
    for n in 0..10_000 {
        learn(&kept, &format!("flood{n}.com."), "com.", "ns.net.", 60);
        let host = name(&format!("flood{n}.net."));
        kept.learn_addresses(&host, Rtype::A, &[[192, 0, 2, 1].into()], at(60));
        let stats = kept.stats();
        assert!(stats.zones.entries <= 100 && stats.hosts.entries <= 100);
    }
    for n in 0..40 {
        let www = question(&format!("popular{n}.com."), Rtype::A);
        assert!(taken(&kept, "com.", &www, 61).is_some(), "{n}");
        let host = name(&format!("popular{n}.net."));
        assert!(kept.addresses(&host, Rtype::A, at(61)).is_some(), "{n}");
    }
    kept.forget(&Name::root(), true);
    let stats = kept.stats();
    assert_eq!((stats.zones.bytes, stats.hosts.bytes), (0, 0));
}

/// Strangers decide how large a delegation is.
#[test]
fn memory_is_bounded_in_bytes() {
    let kept = Retained::new(Settings {
        entries_max: usize::MAX,
        ..Settings::default()
    });
    let servers: Vec<_> = (0..32)
        .map(|n| {
            (
                name(&format!("{}.{n}.net.", "n".repeat(60))),
                vec![[192, 0, 2, 1].into(); 2],
            )
        })
        .collect();
    for n in 0..30_000 {
        let delegation = Delegation {
            zone: name(&format!("z{n}.com.")),
            servers: servers.clone(),
            expiry: None,
            origin: DelegationOrigin::Network,
        };
        kept.learn(&delegation, &name("com."), at(n));
        let stats = kept.stats();
        assert!(stats.zones.bytes <= BYTES_MAX);
    }
    assert!(kept.stats().zones.entries > 1000);
}

/// Everything that is on the disk comes back from it, and what is gone there is gone.
#[test]
fn rows_carry_what_is_kept_across_a_restart() {
    let before = kept();
    learn(&before, "a.com.", "com.", "ns.net.", 0);
    learn(&before, "b.com.", "com.", "ns.net.", 0);
    let signed = Cut::Signed {
        ds: vec![vec![1, 2, 3].into()].into(),
        until_s: at(100).wall_s,
    };
    before.learn_cut(&name("a.com."), &signed);
    before.learn_addresses(&name("ns.net."), Rtype::A, &[[192, 0, 2, 1].into()], at(0));
    // What was asked for once waits.
    assert!(before.take_unwritten(10, false, at(1)).is_empty());
    let mut disk: Vec<Unwritten> = before.take_unwritten(10, false, at(10));
    assert_eq!(disk.len(), 3);
    assert!(before.take_unwritten(10, true, at(10)).is_empty());
    // Confirmed again, unchanged: no reason to write.
    learn(&before, "a.com.", "com.", "ns.net.", 20);
    assert!(before.take_unwritten(10, true, at(20)).is_empty());
    before.denied(&name("com."), &question("b.com.", Rtype::A));
    let gone = before.take_unwritten(10, true, at(21));
    assert_eq!(gone, [Unwritten::Gone(Key::Zone(name("b.com.")))]);
    // The disk did not take it.
    before.put_back(&gone);
    assert_eq!(before.take_unwritten(10, true, at(21)), gone);
    disk.retain(|row| !matches!(row, Unwritten::Zone(row) if row.zone == name("b.com.")));

    let after = kept();
    after.begin_restore();
    // Who asks meanwhile waits for what may come.
    let ghost = question("www.ghost.com.", Rtype::A);
    let when = after.when(&name("com."), &ghost, at(30));
    assert_eq!(when, Some(When::Reading));
    // Denied before it was read: it must not come back.
    after.denied(&name("com."), &question("ghost.com.", Rtype::A));
    for row in disk {
        match row {
            Unwritten::Zone(row) => {
                let ghost = ZoneRow {
                    zone: name("ghost.com."),
                    ..row.clone()
                };
                after.restore_zone(row, at(30));
                after.restore_zone(ghost, at(30));
            }
            Unwritten::Host(row) => after.restore_host(row, at(30)),
            Unwritten::Parent(_) | Unwritten::Gone(_) => unreachable!(),
        }
    }
    after.end_restore();
    let www = question("www.a.com.", Rtype::A);
    assert_eq!(after.cuts(&www.name, at(30))[0].cut, signed);
    assert_eq!(taken(&after, "com.", &www, 30).as_deref(), Some("a.com."));
    assert!(
        after
            .addresses(&name("ns.net."), Rtype::A, at(30))
            .is_some()
    );
    assert_eq!(after.stats().zones.entries, 1);
}

/// Who is gone is known from the first question after a restart on, unless that was long ago.
#[test]
fn who_is_gone_stays_so_over_a_restart() {
    let before = kept();
    learn(&before, "a.com.", "com.", "ns.net.", 0);
    assert!(before.failed(&name("com."), at(10)));
    // It was back before that was written.
    assert!(before.heard(&name("com.")).is_some());
    assert!(before.failed(&name("com."), at(20)));
    let written = |at_s| before.take_unwritten(10, true, at(at_s));
    let parent = |since_s, seen_s| ParentRow {
        zone: name("com."),
        since_s: at(since_s).wall_s,
        seen_s: at(seen_s).wall_s,
    };
    let disk = written(21);
    assert!(
        disk.contains(&Unwritten::Parent(parent(20, 21))),
        "{disk:?}"
    );
    before.confirm_gone(at(80));
    assert_eq!(written(80), []);
    before.confirm_gone(at(81));
    assert_eq!(written(81), [Unwritten::Parent(parent(20, 81))]);
    assert!(before.heard(&name("com.")).is_some());
    assert_eq!(written(82), [Unwritten::Gone(Key::Parent(name("com.")))]);

    let www = question("www.a.com.", Rtype::A);
    for (seen_s, delegates, is_gone) in [(100, true, true), (100, false, false), (0, true, false)] {
        let after = kept();
        if delegates {
            learn(&after, "a.com.", "com.", "ns.net.", 0);
        }
        after.take_unwritten(10, true, at(640));
        after.restore_gone(parent(0, seen_s), at(640));
        assert_eq!(
            after.stats().gone,
            usize::from(is_gone),
            "{seen_s} {delegates}"
        );
        let removed = [Unwritten::Gone(Key::Parent(name("com.")))];
        let left = after.take_unwritten(10, true, at(640));
        assert_eq!(left == removed, !is_gone, "{left:?}");
        if is_gone {
            // The first one looks, the others do not wait for him.
            assert_eq!(
                after.when(&name("com."), &www, at(640)),
                Some(When::Explore)
            );
            assert_eq!(after.when(&name("com."), &www, at(640)), Some(When::Now));
            assert!(after.heard(&name("com.")).is_some());
        }
    }
}

/// A flood of new names must not keep what it pushed out on the disk.
#[test]
fn what_goes_is_written_before_what_comes() {
    let kept = kept();
    learn(&kept, "z.com.", "com.", "ns.z.com.", 0);
    assert_eq!(kept.take_unwritten(9, true, at(0)).len(), 1);
    kept.denied(&name("com."), &question("z.com.", Rtype::NS));
    learn(&kept, "a.com.", "com.", "ns.a.com.", 1);
    let gone = Unwritten::Gone(Key::Zone(name("z.com.")));
    assert_eq!(kept.take_unwritten(1, true, at(1)), [gone]);
    assert_eq!(kept.take_unwritten(9, true, at(1)).len(), 1);
}

/// What no program of ours has written is not taken back.
#[test]
fn rows_that_make_no_sense_are_removed() {
    let row = |zone: &str, parent: &str, confirmed_s| ZoneRow {
        zone: name(zone),
        parent: name(parent),
        servers: vec![(name("ns.net."), Vec::new())],
        cut: Cut::NotTold,
        confirmed_s,
        uses: 1,
        used_s: 0,
    };
    let kept = kept();
    for row in [
        row("com.", "com.", 1_000_000),
        row("a.com.", "net.", 1_000_000),
        row("b.com.", "com.", 998_000),
        ZoneRow {
            servers: Vec::new(),
            ..row("c.com.", "com.", 1_000_000)
        },
    ] {
        let key = Key::Zone(row.zone.clone());
        kept.restore_zone(row, at(0));
        assert_eq!(kept.take_unwritten(9, true, at(0)), [Unwritten::Gone(key)]);
    }
    let host = HostRow {
        host: name("ns.net."),
        a: None,
        aaaa: Some(Vec::new()),
        seen_s: 1_000_000,
        uses: 1,
        used_s: 0,
    };
    kept.restore_host(host, at(0));
    assert_eq!(kept.stats().hosts.entries, 0);
    // A clock that ran ahead does not make it young for ever.
    kept.restore_zone(row("d.com.", "com.", 9_000_000), at(0));
    let d = question("d.com.", Rtype::A);
    assert!(kept.take(&name("com."), &d, at(1000)).is_some());
    assert!(kept.take(&name("com."), &d, at(1001)).is_none());
}

#[test]
fn the_most_used_are_refreshed_first_while_their_parent_answers() {
    let kept = kept();
    for (zone, times) in [("a.com.", 2), ("b.com.", 5), ("c.com.", 1), ("d.net.", 9)] {
        for _ in 0..times {
            learn(
                &kept,
                zone,
                if zone == "d.net." { "net." } else { "com." },
                "ns.x.",
                0,
            );
        }
    }
    kept.failed(&name("net."), at(0));
    let due = |older_s, count, s| {
        let due = kept.due(older_s, 2, count, at(s));
        due.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(due(500, 9, 499).is_empty());
    assert_eq!(due(500, 9, 500), ["b.com.", "a.com."]);
    assert_eq!(due(500, 1, 500), ["b.com."]);
}

#[test]
fn a_copy_shares_entries_until_one_of_them_changes() {
    let original = Arc::new(kept());
    for zone in ["a.com.", "b.com.", "c.com."] {
        learn(&original, zone, "com.", "ns.net.", 0);
    }
    for host in ["ns.net.", "ns.org."] {
        original.learn_addresses(&name(host), Rtype::A, &[[192, 0, 2, 1].into()], at(0));
    }
    let copy = original.copy(false);
    let shared = || {
        let (one, other) = (original.tables(), copy.tables());
        let zones = one.zones.iter();
        let zones = zones.filter(|(zone, entry)| Arc::ptr_eq(entry, &other.zones[*zone]));
        let hosts = one.hosts.iter();
        let hosts = hosts.filter(|(host, known)| Arc::ptr_eq(known, &other.hosts[*host]));
        (zones.count(), hosts.count())
    };
    assert_eq!(shared(), (3, 2));
    // Each changes what is its own, and the other one sees nothing of it.
    let a = question("www.a.com.", Rtype::A);
    assert!(copy.take(&name("com."), &a, at(10)).is_some());
    assert!(copy.through(&name("a.com."), at(11)).is_some());
    assert!(original.through(&name("a.com."), at(11)).is_none());
    original.used(&name("b.com."), at(10));
    copy.lookup_failed(&name("ns.net."), at(10));
    let of = |kept: &Retained| kept.addresses(&name("ns.net."), Rtype::A, at(11)).unwrap();
    assert_eq!(shared(), (1, 1));
    assert!(of(&copy).failing && !of(&original).failing);
    assert_eq!(original.stats().zones, copy.stats().zones);
}
