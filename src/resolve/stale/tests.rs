//! Names and zones in trouble, by hand and by the clock.

use super::*;
use crate::cache::entry::{Entry, Security};
use crate::dns::Rtype;

fn at(ms: u64) -> Now {
    Now::new(Duration::from_millis(ms), 1_000_000 + ms / 1000)
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn q(text: &str) -> Question {
    Question::new(name(text), Rtype::A)
}

fn why(kind: Kind) -> Why {
    Why {
        kind,
        ede: Ede::new(Ede::NO_REACHABLE_AUTHORITY, "a.: dead"),
    }
}

fn any(_: &Name, _: &[IpAddr]) -> bool {
    true
}

/// No prefix is dead.
fn host(address: IpAddr) -> IpNet {
    address.into()
}

/// What is known, as `name` or `zone ZONE`, with `due`.
fn told(troubles: &Troubles, question: &str, now: Now) -> String {
    let Some(known) = troubles.find(&q(question), now, any, &host) else {
        return "none".into();
    };
    let due = if known.due { " due" } else { "" };
    match known.zone {
        Some(zone) => format!("zone {zone}{due}"),
        None => format!("name{due}"),
    }
}

#[test]
fn names_are_looked_for_later_each_time_up_to_half_a_minute() {
    let troubles = Troubles::default();
    assert!(troubles.is_quiet());
    assert_eq!(told(&troubles, "www.a.", at(0)), "none");
    let mut now_ms = 0;
    troubles.note_name(
        &q("www.a."),
        None,
        why(Kind::Failing),
        Duration::ZERO,
        at(0),
    );
    for wait_s in [5, 10, 20, 30, 30] {
        assert_eq!(
            told(&troubles, "www.a.", at(now_ms + wait_s * 1000 - 1)),
            "name"
        );
        now_ms += wait_s * 1000;
        assert_eq!(told(&troubles, "www.a.", at(now_ms)), "name due");
        assert_eq!(told(&troubles, "mail.a.", at(now_ms)), "none");
        // One at a time.
        let granted = troubles.claim(&q("www.a."), None, at(now_ms), &host);
        assert_eq!(granted, Some(NAME_PACKETS));
        assert_eq!(troubles.claim(&q("www.a."), None, at(now_ms), &host), None);
        assert_eq!(told(&troubles, "www.a.", at(now_ms + 1)), "name");
        let failed = Refreshed::Failed(why(Kind::Failing));
        troubles.refreshed(&q("www.a."), None, failed, (NAME_PACKETS, 4), at(now_ms));
    }
    // Nobody asks any more.
    assert_eq!(told(&troubles, "www.a.", at(now_ms + 89_000)), "name due");
    assert_eq!(told(&troubles, "www.a.", at(now_ms + 90_000)), "none");
    troubles.answered(&q("www.a."));
    assert!(troubles.is_quiet());
}

#[test]
fn a_zone_in_trouble_speaks_for_all_below_it_until_it_is_heard() {
    let troubles = Troubles::default();
    troubles.note_zone(&name("a."), why(Kind::Unreachable), &[], at(0));
    for (question, told_of) in [
        ("www.a.", "zone a."),
        ("x.y.a.", "zone a."),
        ("a.", "zone a."),
        ("b.", "none"),
        (".", "none"),
    ] {
        assert_eq!(told(&troubles, question, at(1)), told_of, "{question}");
    }
    // Not where the way leads past it.
    assert_eq!(
        troubles.find(&q("www.a."), at(1), |_, _| false, &host),
        None
    );
    // The deepest zone is the one that matters.
    troubles.note_zone(&name("y.a."), why(Kind::Unreachable), &[], at(0));
    assert_eq!(told(&troubles, "x.y.a.", at(1)), "zone y.a.");
    assert_eq!(troubles.zones(), []);
    assert!(troubles.count_answer(&q("www.a."), &name("a."), at(1), &host));
    assert!(!troubles.count_answer(&q("www.a."), &name("a."), at(1), &host));
    assert_eq!(troubles.zones().len(), 1);
    // Its own names' troubles end with it.
    troubles.note_name(
        &q("x.a."),
        Some(&name("a.")),
        why(Kind::Failing),
        Duration::ZERO,
        at(1),
    );
    assert_eq!(
        troubles.heard(&name("a."), at(2).mono),
        Some((2, 1_000_000))
    );
    assert_eq!(told(&troubles, "x.a.", at(2)), "none");
    assert_eq!(troubles.heard(&name("a."), at(2).mono), None);
}

#[test]
fn the_more_ask_for_a_zone_the_sooner_it_is_looked_for_within_bounds() {
    let troubles = Troubles::default();
    let zone = name("a.");
    troubles.note_zone(&zone, why(Kind::Unreachable), &[], at(0));
    let look = |now_ms: u64| {
        let granted = troubles.claim(&q("www.a."), Some(&zone), at(now_ms), &host);
        if let Some(granted) = granted {
            let failed = Refreshed::Failed(why(Kind::Unreachable));
            troubles.refreshed(&q("www.a."), Some(&zone), failed, (granted, 0), at(now_ms));
        }
        granted
    };
    assert_eq!(look(1999), None);
    assert_eq!(look(2000), Some(ZONE_PACKETS));
    // Nobody asks.
    assert_eq!(look(6000), None);
    assert_eq!(look(9999), None);
    assert_eq!(look(10_000), Some(ZONE_PACKETS));
    // Many ask.
    for _ in 0..QUESTIONS_PER_PACKET * ZONE_PACKETS {
        troubles.count_answer(&q("www.a."), &zone, at(1), &host);
    }
    assert_eq!(look(13_999), None);
    assert_eq!(look(14_000), Some(ZONE_PACKETS));
    // A way that is longer gets more.
    let granted = troubles
        .claim(&q("www.a."), Some(&zone), at(22_000), &host)
        .unwrap();
    let now = at(22_000);
    troubles.refreshed(
        &q("www.a."),
        Some(&zone),
        Refreshed::TooShort,
        (granted, 0),
        now,
    );
    assert_eq!(look(30_000), Some(2 * ZONE_PACKETS));
}

#[test]
fn zones_on_the_same_silent_servers_take_turns() {
    let troubles = Troubles::default();
    let (dead, alone): ([IpAddr; 2], IpAddr) = (
        [
            "192.0.2.1".parse().unwrap(),
            "198.51.100.1".parse().unwrap(),
        ],
        "203.0.113.1".parse().unwrap(),
    );
    let zones = ["a.", "b.", "c."];
    for zone in zones {
        troubles.note_zone(&name(zone), why(Kind::Unreachable), &dead, at(0));
    }
    // One of its servers is nobody else's.
    let servers = [dead[0], alone];
    troubles.note_zone(&name("d."), why(Kind::Unreachable), &servers, at(0));
    let ask = |zone: &str, now_ms| {
        troubles.count_answer(&q(&format!("www.{zone}")), &name(zone), at(now_ms), &host)
    };
    // The look that a question for `zone` brings about: for which.
    let look = |zone: &str, now_ms: u64| {
        ask(zone, now_ms);
        let now = at(now_ms);
        let (question, zone) =
            troubles.whose_turn(q(&format!("www.{zone}")), name(zone), now, &host);
        let granted = troubles.claim(&question, Some(&zone), now, &host)?;
        let failed = Refreshed::Failed(why(Kind::Unreachable));
        troubles.refreshed(&question, Some(&zone), failed, (granted, 0), now);
        Some(zone.to_string())
    };
    zones.iter().for_each(|zone| _ = ask(zone, 1000));
    assert_eq!(look("c.", 2000).as_deref(), Some("c."));
    // That was for them all, but for who has a server more.
    assert_eq!((look("a.", 3000), look("b.", 3000)), (None, None));
    assert_eq!(look("d.", 3000).as_deref(), Some("d."));
    // Few ask: 8 s. Then those who have waited longest, whoever asks.
    assert_eq!(look("c.", 9_999), None);
    let turns = [10_000, 18_000, 26_000, 34_000, 34_000].map(|ms| look("c.", ms));
    let turns: Vec<_> = turns.iter().flatten().map(String::as_str).collect();
    assert_eq!(turns, ["a.", "b.", "c.", "d.", "a."]);
    // Many ask, each for his own: 4 s.
    for n in 0..QUESTIONS_PER_PACKET * ZONE_PACKETS {
        ask(zones[n as usize % 3], 34_000);
    }
    assert_eq!(look("c.", 37_999), None);
    assert_eq!(look("c.", 38_000).as_deref(), Some("b."));
    // In one dead prefix all are one.
    let dead_prefix = |_| "192.0.2.0/24".parse().unwrap();
    let other: IpAddr = "192.0.2.77".parse().unwrap();
    troubles.note_zone(&name("e."), why(Kind::Unreachable), &[other], at(40_000));
    let find = |now_ms| troubles.find(&q("www.e."), at(now_ms), any, &dead_prefix);
    assert!(find(50_000).is_some_and(|known| known.due));
    let claimed = troubles.claim(&q("www.a."), Some(&name("a.")), at(55_000), &dead_prefix);
    assert!(claimed.is_some());
    assert!(find(56_000).is_some_and(|known| !known.due));
}

/// One of them is heard: the others are looked for at the next question, once; those that were silent long before are not.
#[test]
fn what_fell_silent_together_is_looked_for_together() {
    let troubles = Troubles::default();
    let server = |n: u8| IpAddr::from([192, 0, 2, n]);
    let silent = |zone: &str, n: u8, ms: u64| {
        troubles.note_zone(&name(zone), why(Kind::Unreachable), &[server(n)], at(ms));
    };
    let look = |zone: &str, ms: u64| {
        let question = q(&format!("www.{zone}"));
        let granted = troubles.claim(&question, Some(&name(zone)), at(ms), &host);
        if let Some(granted) = granted {
            let failed = Refreshed::Failed(why(Kind::Unreachable));
            let now = at(ms + 10);
            troubles.refreshed(&question, Some(&name(zone)), failed, (granted, 0), now);
        }
        granted.is_some()
    };
    silent("old.", 1, 0);
    for (zone, n, ms) in [
        ("a.", 2, 100_000),
        ("b.", 3, 130_000),
        ("b2.", 3, 130_000),
        ("c.", 4, 155_000),
    ] {
        silent(zone, n, ms);
    }
    for zone in ["old.", "a.", "b.", "c."] {
        assert!(look(zone, 157_000), "{zone}");
        assert!(!look(zone, 160_000), "{zone}");
    }
    // Who was silent the shortest of them is heard first.
    troubles.heard(&name("c."), at(160_500).mono);
    let looks = |ms| ["old.", "a.", "b.", "b2."].map(|zone| look(zone, ms));
    assert_eq!(looks(160_600), [false, true, true, false]);
    assert_eq!(looks(161_000), [false; 4]);
    // Whatever comes back after it, a silent server is not looked at all the time.
    troubles.heard(&name("a."), at(161_100).mono);
    assert_eq!(looks(162_000), [false; 4]);
    assert_eq!(looks(162_600), [false, false, true, false]);
    // Those in turn are no later for it: every 8 s where few ask.
    assert_eq!(looks(164_999), [false; 4]);
    assert_eq!(looks(165_000), [true, false, false, true]);
    assert!(!look("b.", 172_999) && look("b.", 173_000));
}

#[test]
fn all_looks_together_are_bounded() {
    let troubles = Troubles::default();
    let zones: Vec<Name> = (0..1000).map(|n| name(&format!("z{n}."))).collect();
    for zone in &zones {
        troubles.note_zone(zone, why(Kind::Unreachable), &[], at(0));
    }
    let mut sent = 0;
    for second in 2..32 {
        for zone in &zones {
            let question = Question::new(zone.clone(), Rtype::A);
            let granted = troubles.claim(&question, Some(zone), at(second * 1000), &host);
            sent += granted.unwrap_or(0);
            if let Some(granted) = granted {
                let failed = Refreshed::Failed(why(Kind::Unreachable));
                let now = at(second * 1000);
                troubles.refreshed(&question, Some(zone), failed, (granted, 0), now);
            }
        }
    }
    assert!(sent <= 30 * PACKETS_PER_S_MAX, "{sent}");
    assert!(sent >= 29 * PACKETS_PER_S_MAX, "{sent}");
}

#[test]
fn a_zone_that_fails_at_everything_is_in_trouble_and_one_that_fails_at_a_name_is_not() {
    let troubles = Troubles::default();
    for times in 1..=FAILURES_IN_A_ROW {
        assert_eq!(told(&troubles, "www.a.", at(0)), "none", "{times}");
        troubles.note_failing(&name("a."), why(Kind::Failing), at(0));
    }
    assert_eq!(told(&troubles, "www.a.", at(0)), "zone a.");
    // A useful answer between two failures makes it one name's trouble.
    for _ in 0..20 {
        troubles.note_failing(&name("b."), why(Kind::Failing), at(0));
        troubles.heard(&name("b."), at(0).mono);
    }
    assert_eq!(told(&troubles, "www.b.", at(0)), "none");
}

/// Who has nothing old waits for a look that has just begun, and for none that has ended or takes long.
#[test]
fn a_look_that_has_begun_is_one_for_a_second() {
    let (troubles, zone) = (Troubles::default(), name("a."));
    troubles.note_zone(&zone, why(Kind::Unreachable), &[], at(0));
    let looked_for = |ms| troubles.is_looked_for(&zone, at(ms));
    assert!(!looked_for(100));
    let claim = |ms| troubles.claim(&q("www.a."), Some(&zone), at(ms), &host);
    assert_eq!(claim(10_000), Some(ZONE_PACKETS));
    assert_eq!(
        [10_000, 10_999, 11_000].map(looked_for),
        [true, true, false]
    );
    let failed = Refreshed::Failed(why(Kind::Unreachable));
    troubles.refreshed(
        &q("www.a."),
        Some(&zone),
        failed,
        (ZONE_PACKETS, 0),
        at(10_100),
    );
    assert!(!looked_for(10_101));
}

#[test]
fn what_is_late_is_not_looked_for_beside_the_work_on_it() {
    let troubles = Troubles::default();
    let busy_until = Duration::from_secs(10);
    troubles.note_name(&q("www.a."), None, why(Kind::Late), busy_until, at(1800));
    assert_eq!(told(&troubles, "www.a.", at(9999)), "name");
    assert_eq!(told(&troubles, "www.a.", at(10_000)), "name due");
}

#[test]
fn forgotten_is_forgotten() {
    for (of, tree, left) in [
        ("a.", false, 2),
        ("a.", true, 1),
        (".", true, 0),
        ("b.", true, 3),
    ] {
        let troubles = Troubles::default();
        troubles.note_zone(&name("a."), why(Kind::Unreachable), &[], at(0));
        troubles.note_name(&q("x.a."), None, why(Kind::Failing), Duration::ZERO, at(0));
        troubles.note_zone(&name("c."), why(Kind::Unreachable), &[], at(0));
        troubles.forget(&name(of), tree);
        assert_eq!(troubles.stats().entries, left, "{of} {tree}");
        troubles.forget_all();
        assert!(troubles.is_quiet());
    }
}

#[test]
fn the_tables_are_bounded() {
    let troubles = Troubles::default();
    for n in 0..NAMES_MAX + 100 {
        let question = q(&format!("n{n}."));
        troubles.note_name(&question, None, why(Kind::Failing), Duration::ZERO, at(0));
    }
    assert_eq!(troubles.stats().entries, NAMES_MAX);
    for n in 0..ZONES_MAX + 100 {
        troubles.note_zone(&name(&format!("n{n}.")), why(Kind::Unreachable), &[], at(0));
    }
    assert_eq!(troubles.stats().entries, NAMES_MAX + ZONES_MAX);
    // What has been left alone makes room.
    let later = at(100_000);
    troubles.note_zone(&name("new."), why(Kind::Unreachable), &[], later);
    assert_eq!(told(&troubles, "new.", later), "zone new.");
}

#[test]
fn only_what_is_proven_stands_for_bogus_data_and_errors_say_why() {
    for (kind, proven, admitted) in [
        (Kind::Bogus, true, true),
        (Kind::Bogus, false, false),
        (Kind::Unreachable, false, true),
        (Kind::Late, false, true),
    ] {
        assert_eq!(why(kind).admits(proven), admitted, "{kind:?} {proven}");
    }
    let stale = |rcode| Stale {
        entry: Entry {
            rcode,
            answer: Vec::new(),
            authority: Vec::new(),
            security: Security::Insecure,
            errors: Vec::new(),
        },
        ran_out_s: 8000,
        above: None,
    };
    let told = why(Kind::Unreachable).errors(&stale(Rcode::NOERROR));
    let text = "ran out 2 hours ago; a.: dead";
    assert_eq!(told, [Ede::new(Ede::STALE_ANSWER, text)]);
    let told = why(Kind::Unreachable).errors(&stale(Rcode::NXDOMAIN));
    assert_eq!(told, [Ede::new(Ede::STALE_NXDOMAIN, text)]);
    let bogus = Why {
        kind: Kind::Bogus,
        ede: Ede::new(Ede::BOGUS, "bad"),
    };
    let told = bogus.errors(&stale(Rcode::NOERROR));
    assert_eq!(told.iter().map(|e| e.code).collect::<Vec<_>>(), [3, 6]);
}
