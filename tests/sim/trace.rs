//! What is recorded of a resolution, and what clients are told of failures.

use holdfast::dns::{Ede, Question, Rcode, Rtype};
use holdfast::resolve::task::Options;
use holdfast::resolve::trace::{Event, Trace, What};
use holdfast::resolve::{LocalTrust, Prefer, Resolution};

use crate::build::{Builder, Internet};
use crate::lab::{Lab, codes};
use crate::net::Fault;

fn signed() -> Internet {
    Builder::new(3)
        .zone(".")
        .signed()
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .signed()
        .server("ns1.com.", &["192.0.2.1"])
        .zone("a.com.")
        .signed()
        .server("ns1.a.com.", &["203.0.113.1"])
        .server("ns2.a.com.", &["203.0.113.2"])
        .record("www A 203.0.113.80")
        .record("alias CNAME www")
        .build()
}

/// Resolves with somebody looking on.
async fn watch(lab: &Lab, name: &str) -> (Resolution, Vec<Event>) {
    let trace = Trace::recording(lab.clock.now());
    let question = Question::new(name.parse().unwrap(), Rtype::A);
    let options = Options::default();
    let found = (lab.resolver)
        .resolve_traced(question, options, &trace)
        .await;
    let (events, dropped) = trace.events();
    assert_eq!(dropped, 0);
    assert!(events.iter().all(|e| e.parent < e.id), "{events:#?}");
    (found, events)
}

/// The kinds of events that stand directly below the question, in order.
fn kinds(events: &[Event]) -> Vec<String> {
    let kind = |e: &Event| serde_json::to_value(e).unwrap()["event"].to_string();
    let top = events.iter().filter(|e| e.parent == 0);
    top.map(|e| kind(e).trim_matches('"').to_owned()).collect()
}

fn zones(events: &[Event]) -> Vec<&str> {
    let mut zones = Vec::new();
    for event in events {
        if let What::Step { zone, .. } = &event.what {
            zones.push(zone.as_str());
        }
    }
    zones
}

fn exchanges(events: &[Event]) -> Vec<String> {
    let told = |e: &Event| match &e.what {
        What::Exchange {
            server,
            name,
            question,
            outcome,
            ..
        } => Some(format!(
            "{server} {} {question}: {}",
            name.as_deref().unwrap_or("?"),
            outcome.as_deref().unwrap_or("open")
        )),
        _ => None,
    };
    events.iter().filter_map(told).collect()
}

fn links(events: &[Event]) -> Vec<String> {
    let told = |e: &Event| match &e.what {
        What::Link {
            zone,
            state,
            key_tags,
            ..
        } => Some(format!("{zone} {state} {}", !key_tags.is_empty())),
        _ => None,
    };
    events.iter().filter_map(told).collect()
}

#[tokio::test(start_paused = true)]
async fn the_way_to_a_signed_name_is_recorded_and_nobody_pays_who_does_not_look() {
    let lab = Lab::new(signed());
    let (found, events) = watch(&lab, "alias.a.com.").await;
    assert_eq!(found.rcode, Rcode::NOERROR);
    let told = ["ask", "validate", "alias", "along", "validate"];
    assert_eq!(kinds(&events), told, "{events:#?}");
    assert!(zones(&events).starts_with(&[".", "com.", "a.com."]));
    let asked = exchanges(&events);
    assert_eq!(asked[0], "198.51.100.1 a.root. com. A: referral to com.");
    assert_eq!(asked[1], "192.0.2.1 ns1.com. a.com. A: referral to a.com.");
    assert!(
        asked[2].ends_with("alias.a.com. A: NOERROR, CNAME (1)"),
        "{asked:?}"
    );
    // From the anchor down: DS sets, then keys, each with its tags.
    let chain = [
        ". anchor true",
        ". secure true",
        "com. signed true",
        "com. secure true",
        "a.com. signed true",
        "a.com. secure true",
    ];
    assert!(
        links(&events).starts_with(&chain.map(String::from)),
        "{events:#?}"
    );
    let verdicts = events.iter().filter_map(|e| match &e.what {
        What::Validate {
            outcome,
            signatures,
            ..
        } => Some((outcome.as_deref(), signatures.len())),
        _ => None,
    });
    assert!(verdicts.into_iter().all(|v| v == (Some("secure"), 1)));

    // The second time it is told that the cache knew.
    let (_, events) = watch(&lab, "alias.a.com.").await;
    assert_eq!(kinds(&events), ["cached", "alias", "cached"]);
    // Afresh it is worked out beside what is known, which stays.
    let packets = lab.net.packet_count();
    let afresh = lab.resolver.afresh();
    let question = Question::new("alias.a.com.".parse().unwrap(), Rtype::A);
    let trace = Trace::recording(lab.clock.now());
    let found = afresh
        .resolve_traced(question, Options::default(), &trace)
        .await;
    assert_eq!(found.rcode, Rcode::NOERROR);
    assert_eq!(zones(&trace.events().0)[0], ".");
    assert!(lab.net.packet_count() > packets + 5);
}

// RFC 8914 section 4.23: who refuses is no reachable authority; the text says which server, with its name, and what it was asked.
#[tokio::test(start_paused = true)]
async fn lame_and_silent_servers_are_named() {
    let lab = Lab::new(signed());
    lab.net.set("203.0.113.1", Fault::Refused);
    lab.net.set("203.0.113.2", Fault::Silent);
    let (found, events) = watch(&lab, "www.a.com.").await;
    assert_eq!((found.rcode, codes(&found)), (Rcode::SERVFAIL, vec![22]));
    let text = &found.errors[0].text;
    for part in [
        "a.com.: asked for www.a.com. A",
        "203.0.113.1 (ns1.a.com.) lame (REFUSED)",
        "203.0.113.2 (ns2.a.com.) timed out",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let asked = exchanges(&events);
    let has = |end: &str| asked.iter().any(|e| e.ends_with(end));
    assert!(has("ns1.a.com. www.a.com. A: lame: REFUSED"), "{asked:?}");
    assert!(has("ns2.a.com. www.a.com. A: timed out"), "{asked:?}");
    let late = |e: &Event| {
        matches!(
            e.what,
            What::Exchange {
                late_ms: Some(_),
                ..
            }
        )
    };
    assert!(events.iter().any(late), "{events:#?}");
    let (_, events) = watch(&lab, "www.a.com.").await;
    assert_eq!(kinds(&events), ["remembered"]);

    // Section 4.24: servers that answer with errors were reached.
    let lab = Lab::new(signed());
    lab.net.set("a.com.", Fault::ServFail);
    let found = lab.ask("www.a.com.", Rtype::A).await;
    assert_eq!(codes(&found), [Ede::NETWORK_ERROR]);
    assert!(found.errors[0].text.contains("SERVFAIL"), "{found:?}");
}

// Who is told before the end learns what has gone wrong so far.
#[tokio::test(start_paused = true)]
async fn a_client_that_waited_in_vain_is_told_how_far_it_came() {
    let mut builder = Builder::new(1)
        .zone(".")
        .server("a.root.", &["198.51.100.1"]);
    builder = builder.zone("com.");
    for n in 1..9 {
        builder = builder.server(&format!("ns{n}.com."), &[&format!("192.0.2.{n}")]);
    }
    let lab = Lab::new(builder.build());
    lab.net.set("com.", Fault::Silent);
    let (found, took) = lab.timed("www.com.").await;
    assert_eq!(codes(&found), [Ede::NO_REACHABLE_AUTHORITY]);
    let text = &found.errors[0].text;
    if took.as_millis() == 4500 {
        assert!(
            text.starts_with("still trying; so far com.: asked for www.com. A: "),
            "{text}"
        );
    }
    assert!(text.contains("addresses timed out"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_bogus_zone_is_told_with_server_key_and_reason() {
    let lab = Lab::new(signed());
    lab.net.set("a.com.", Fault::Bogus);
    let (found, events) = watch(&lab, "www.a.com.").await;
    assert_eq!(codes(&found), [Ede::BOGUS]);
    let text = &found.errors[0].text;
    for part in ["in zone a.com.", "key ", "(from 203.0.113."] {
        assert!(text.contains(part), "{text}");
    }
    assert!(
        links(&events).iter().any(|l| l.starts_with("a.com. bad")),
        "{events:#?}"
    );
    let again = |e: &Event| matches!(e.what, What::Again { .. });
    assert!(events.iter().any(again), "{events:#?}");
    // A link that cannot be had: which, and what its servers did.
    let lab = Lab::new(signed());
    lab.ask("com.", Rtype::NS).await;
    lab.ask("a.com.", Rtype::DS).await;
    lab.net.set("a.com.", Fault::Stripped);
    let (found, _) = watch(&lab, "www.a.com.").await;
    assert_eq!(found.rcode, Rcode::SERVFAIL);
    assert!(found.errors[0].text.contains("a.com."), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_is_told_with_its_reason() {
    let lab = Lab::new(signed());
    let image = lab.internet.image(".");
    lab.copies.hold(image, Prefer::Hedge, LocalTrust::Secure);
    lab.net.set(".", Fault::Silent);
    let (found, events) = watch(&lab, "www.a.com.").await;
    assert_eq!(found.rcode, Rcode::NOERROR);
    let mirrors: Vec<_> = (events.iter())
        .filter_map(|e| match &e.what {
            What::Mirror {
                zone, why, outcome, ..
            } => Some((zone.as_str(), why.as_str(), outcome.as_str())),
            _ => None,
        })
        .collect();
    let why = "as hedge: no usable answer within 400 ms";
    assert_eq!(mirrors[0], (".", why, "referral to com."), "{events:#?}");
    // The question that was overtaken is still open.
    assert!(exchanges(&events)[0].ends_with(": open"), "{events:#?}");
}

// A name server whose address cannot be found out: the reason is that of the sub-question.
#[tokio::test(start_paused = true)]
async fn why_a_name_server_has_no_address_is_told() {
    let internet = Builder::new(1)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .server("ns1.com.", &["192.0.2.1"])
        .zone("a.com.")
        .server("ns.hoster.com.", &["203.0.113.1"])
        .record("www A 203.0.113.80")
        .zone("hoster.com.")
        .server("ns1.hoster.com.", &["203.0.113.9"])
        .build();
    let lab = Lab::new(internet);
    lab.net.set("203.0.113.9", Fault::Refused);
    let (found, events) = watch(&lab, "www.a.com.").await;
    assert_eq!(found.rcode, Rcode::SERVFAIL);
    let text = &found.errors[0].text;
    for part in [
        "a.com.: no address of its name server ns.hoster.com.",
        "203.0.113.9",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let sub = |e: &&Event| matches!(&e.what, What::Ask { purpose, .. } if purpose == "address of a name server");
    assert!(
        events.iter().find(sub).is_some_and(|e| e.parent > 0),
        "{events:#?}"
    );
}
