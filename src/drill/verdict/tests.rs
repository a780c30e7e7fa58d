//! What records of judgements mean.

use super::*;
use crate::clock::Now;
use crate::dns::Rcode;
use crate::resolve::Sources;
use crate::resolve::trace::Trace;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn ask(question: &str, purpose: &str, failed: bool) -> What {
    What::Ask {
        question: question.into(),
        purpose: purpose.into(),
        outcome: Some(if failed { "failed: no" } else { "NOERROR" }.into()),
    }
}

fn step(zone: &str, learned_from: &str) -> What {
    What::Step {
        zone: zone.into(),
        learned_from: learned_from.into(),
        names: 1,
        addresses: 1,
    }
}

fn exchange(server: [u8; 4], taken: bool) -> What {
    What::Exchange {
        server: server.into(),
        name: None,
        transport: "udp".into(),
        question: String::new(),
        edns: true,
        outcome: None,
        taken,
        rtt_ms: None,
        late_ms: None,
    }
}

fn resolution(rcode: Rcode) -> Resolution {
    Resolution {
        rcode,
        answer: Vec::new(),
        authority: Vec::new(),
        additional: Vec::new(),
        security: Security::Insecure,
        errors: Vec::new(),
        sources: Sources::default(),
    }
}

fn cut() -> Cut {
    let set = ["192.0.2.0/24".parse().unwrap()].into_iter().collect();
    Cut::isolation("domestic", &set).unwrap()
}

const INSIDE: [u8; 4] = [192, 0, 2, 1];
const ABROAD: [u8; 4] = [203, 0, 113, 1];

#[test]
fn the_weakest_of_the_way_decides() {
    let question = Question::new(name("www.a.x."), Rtype::A);
    let check = |whats: Vec<What>, expected| {
        let trace = Trace::recording(Now::default());
        for what in whats {
            trace.note(Now::default(), || what);
        }
        let found = resolution(Rcode::NOERROR);
        let (cut, events) = (cut(), trace.events().0);
        let evidence = Evidence {
            question: &question,
            cut: &cut,
            resolution: &found,
            events: &events,
        };
        assert_eq!(evidence.survives().from, expected);
    };
    let mirror = || What::Mirror {
        zone: ".".into(),
        serial: 1,
        age_s: 1,
        trust: String::new(),
        why: String::new(),
        outcome: String::new(),
    };
    check(vec![mirror()], Source::Mirror);
    check(vec![mirror(), exchange(INSIDE, true)], Source::Live);
    check(vec![mirror(), exchange(ABROAD, false)], Source::Mirror);
    check(
        vec![step("a.x.", "retained"), exchange(INSIDE, true)],
        Source::Retained,
    );
    let old = What::Stale {
        question: String::new(),
        rcode: String::new(),
        ran_out_s: 1,
        why: String::new(),
        kind: String::new(),
        from: String::new(),
    };
    check(vec![mirror(), old, exchange(INSIDE, true)], Source::Stale);
}

#[test]
fn what_takes_too_long_names_the_zone_that_is_waited_for() {
    let question = Question::new(name("www.a.x."), Rtype::A);
    let (found, cut) = (resolution(Rcode::NOERROR), cut());
    let check = |whats: Vec<What>, zone: Option<&str>, text: &str| {
        let trace = Trace::recording(Now::default());
        for what in whats {
            trace.note(Now::default(), || what);
        }
        let events = trace.events().0;
        let evidence = Evidence {
            question: &question,
            cut: &cut,
            resolution: &found,
            events: &events,
        };
        let servers = vec![(name("ns.a.x."), vec![ABROAD.into()])];
        let way = |zone: &Name| {
            let (zone, servers) = (zone.clone(), servers.clone());
            Some(Way { zone, servers })
        };
        let loss = evidence.too_slow(way);
        assert_eq!((loss.cause, loss.zone), (Cause::TooSlow, zone.map(name)));
        assert!(loss.text.contains(text), "{}", loss.text);
        assert_eq!(loss.servers.len(), usize::from(zone.is_some()));
        assert_eq!(
            loss.servers.iter().filter(|s| s.cut).count(),
            loss.servers.len()
        );
    };
    let (far, near) = (|| exchange(ABROAD, false), || exchange(INSIDE, true));
    check(
        vec![
            step("x.", "network"),
            far(),
            step("a.x.", "network"),
            far(),
            far(),
            near(),
        ],
        Some("a.x."),
        "past servers of a.x. that are cut off",
    );
    check(
        vec![
            step("x.", "network"),
            far(),
            step("a.x.", "network"),
            far(),
            near(),
        ],
        Some("x."),
        "past servers of x. that are cut off",
    );
    check(
        vec![step("x.", "network"), near()],
        None,
        "waits for what others ask",
    );
}

#[test]
fn a_broken_chain_names_the_zone_and_the_link() {
    let question = Question::new(name("www.a.x."), Rtype::A);
    let mut found = resolution(Rcode::SERVFAIL);
    found.security = Security::Bogus(crate::dns::Ede::new(9, "no DNSKEY"));
    let cut = cut();
    let check = |whats: Vec<(u32, What)>, zone: &str, link: Option<&str>| {
        let numbered = whats.into_iter().enumerate();
        let events: Vec<Event> = numbered
            .map(|(i, (parent, what))| Event {
                id: i as u32 + 1,
                parent,
                at_ms: 0.0,
                what,
            })
            .collect();
        let evidence = Evidence {
            question: &question,
            cut: &cut,
            resolution: &found,
            events: &events,
        };
        let failed = evidence.failed_at();
        assert_eq!(failed.link.as_deref(), link);
        let way = Way {
            zone: name("a.x."),
            servers: Vec::new(),
        };
        let loss = evidence.lost(failed, None, way);
        assert_eq!((loss.cause, loss.zone), (Cause::NoChain, Some(name(zone))));
        let said = format!("breaks at {zone}");
        assert!(
            loss.text.contains(&said) && loss.fix.contains(zone),
            "{} {}",
            loss.text,
            loss.fix
        );
    };
    let answered = || (0, ask("www.a.x. A", "answer", false));
    let link = |question: &str| ask(question, "link of the chain of trust", true);
    check(
        vec![
            answered(),
            (1, link("x. DNSKEY")),
            (2, step("x.", "network")),
            (2, exchange(ABROAD, false)),
        ],
        "x.",
        Some("x. DNSKEY"),
    );
    // Others had failed at it before.
    check(
        vec![answered(), (1, link("x. DNSKEY"))],
        "x.",
        Some("x. DNSKEY"),
    );
    let bad = What::Link {
        zone: "y.".into(),
        state: "bad".into(),
        key_tags: Vec::new(),
        why: String::new(),
    };
    check(vec![answered(), (1, bad)], "y.", None);
}

/// Events as (number of the one that it belongs to, event).
fn events(whats: Vec<(u32, What)>) -> Vec<Event> {
    whats
        .into_iter()
        .enumerate()
        .map(|(i, (parent, what))| Event {
            id: i as u32 + 1,
            parent,
            at_ms: 0.0,
            what,
        })
        .collect()
}

fn lost(whats: Vec<(u32, What)>, zone_now: &str) -> Loss {
    let question = Question::new(name("www.a.x."), Rtype::A);
    let events = events(whats);
    let found = resolution(Rcode::SERVFAIL);
    let cut = cut();
    let evidence = Evidence {
        question: &question,
        cut: &cut,
        resolution: &found,
        events: &events,
    };
    let failed = evidence.failed_at();
    let servers = vec![(name("ns.a.x."), vec![INSIDE.into()])];
    let now = Way {
        zone: name(zone_now),
        servers,
    };
    evidence.lost(failed, None, now)
}

#[test]
fn who_stays_reachable_and_cannot_be_found_is_not_said_to_be_cut_off() {
    let found = |search: Vec<(u32, What)>| {
        let question = Question::new(name("www.a.x."), Rtype::A);
        let mut whats = vec![
            (0, ask("www.a.x. A", "answer", true)),
            (1, step("a.x.", "retained")),
            (1, exchange(ABROAD, false)),
        ];
        whats.extend(search);
        let (cut, resolution, events) = (cut(), resolution(Rcode::SERVFAIL), events(whats));
        let evidence = Evidence {
            question: &question,
            cut: &cut,
            resolution: &resolution,
            events: &events,
        };
        let way = |servers| Way {
            zone: name("a.x."),
            servers,
        };
        // One was known in the world with the cut; where the other one is only the true world knows.
        let both = way(vec![
            (name("ns1.a.x."), vec![ABROAD.into()]),
            (name("ns2.b.y."), vec![INSIDE.into()]),
        ]);
        evidence.lost(evidence.failed_at(), Some(both.clone()), both)
    };
    let loss = found(Vec::new());
    assert_eq!(loss.cause, Cause::NamedAbroad);
    assert!(
        loss.text.contains("stay reachable (ns2.b.y.)"),
        "{}",
        loss.text
    );
    assert!(
        loss.fix.contains("mirror the zone above a.x."),
        "{}",
        loss.fix
    );
    let loss = found(vec![
        (1, ask("ns2.b.y. A", "address of a name server", true)),
        (4, step("y.", "mirror")),
        (4, exchange(ABROAD, false)),
    ]);
    assert!(loss.text.contains("asked of y., which"), "{}", loss.text);
    assert!(loss.fix.contains("mirror y."), "{}", loss.fix);
}

#[test]
fn the_first_thing_that_failed_says_why() {
    let check = |whats, zone_now: &str, cause, zone: &str| {
        let loss = lost(whats, zone_now);
        assert_eq!(
            (loss.cause, loss.zone),
            (cause, Some(name(zone))),
            "{}",
            loss.text
        );
    };
    let abroad = |zone: &str| {
        vec![
            (0, ask("www.a.x. A", "answer", true)),
            (1, step(zone, "network")),
            (1, exchange(ABROAD, false)),
        ]
    };
    check(abroad("a.x."), "a.x.", Cause::ServersAbroad, "a.x.");
    check(abroad("x."), "a.x.", Cause::ParentAbroad, "x.");
    let inside = vec![
        (0, ask("www.a.x. A", "answer", true)),
        (1, step("a.x.", "mirror")),
        (1, exchange(ABROAD, false)),
        (1, exchange(INSIDE, false)),
    ];
    check(inside, "a.x.", Cause::ServersFail, "a.x.");
    let named = vec![
        (0, ask("www.a.x. A", "answer", true)),
        (1, step("a.x.", "mirror")),
        (1, ask("ns.b.y. A", "address of a name server", true)),
        (3, step("y.", "mirror")),
        (3, exchange(ABROAD, false)),
    ];
    let loss = lost(named.clone(), "a.x.");
    assert!(loss.fix.contains("mirror y."), "{}", loss.fix);
    check(named, "a.x.", Cause::NamedAbroad, "a.x.");
    let alias = vec![
        (0, ask("www.a.x. A", "answer", false)),
        (
            0,
            What::Alias {
                from: "www.a.x.".into(),
                to: "w.c.z.".into(),
            },
        ),
        (0, ask("w.c.z. A", "answer", true)),
        (3, step("c.z.", "mirror")),
        (3, exchange(ABROAD, false)),
    ];
    let loss = lost(alias.clone(), "c.z.");
    assert_eq!(loss.alias, Some(name("w.c.z.")));
    check(alias, "c.z.", Cause::ServersAbroad, "c.z.");
}
