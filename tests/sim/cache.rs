//! What is remembered, for how long, and what must not be.

use std::sync::Arc;
use std::time::Duration;

use holdfast::dns::{Question, Rcode, Rtype};
use holdfast::resolve::task::Options;
use holdfast::resolve::{LocalTrust, Prefer, Resolution};

use crate::build::Builder;
use crate::lab::{Lab, brief};
use crate::net::Fault;
use crate::signer::name;

const S: Duration = Duration::from_secs(1);

/// A root, `com.`, and `a.com.` below it with records of every kind.
fn small(ttl_s: u32) -> Builder {
    Builder::new(1)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .server("ns1.com.", &["192.0.2.1"])
        .zone("a.com.")
        .ttl(ttl_s)
        .server("ns1.a.com.", &["203.0.113.1"])
        .record("www A 203.0.113.80")
        .record("alias CNAME www")
        .record("zero 0 A 203.0.113.81")
        .record("short 100 A 203.0.113.82")
        .record("other 100 A 203.0.113.83")
}

/// As [`small`], signed from the root down.
fn signed() -> Builder {
    Builder::new(2)
        .zone(".")
        .signed()
        .server("a.root.", &["198.51.100.1"])
        .zone("a.")
        .signed()
        .server("ns1.a.", &["203.0.113.1"])
        .record("www.sub A 203.0.113.80")
        .zone("u.")
        .server("ns1.u.", &["203.0.113.2"])
        .record("www.sub A 203.0.113.81")
}

/// A client's question as the pipeline puts it: from what is known, or resolved.
async fn client(lab: &Lab, name: &str) -> Resolution {
    let question = Question::new(name.parse().unwrap(), Rtype::A);
    match lab.resolver.known(&question, Options::default()) {
        Some(known) => known,
        None => lab.resolver.resolve(question, Options::default()).await,
    }
}

/// A lab whose popular answers are kept fresh.
fn fresh(builder: Builder) -> Lab {
    let lab = Lab::new(builder.build());
    tokio::spawn(lab.resolver.clone().keep_fresh());
    lab
}

fn forget(lab: &Lab, at: &str, tree: bool) -> usize {
    lab.resolver.flush(&name(at), tree).answers
}

/// RFC 1035 section 3.2.1: for whoever waits, and for nobody after them.
#[tokio::test(start_paused = true)]
async fn a_ttl_of_zero_answers_everyone_who_waits_and_is_not_kept() {
    let lab = Arc::new(Lab::new(small(3600).build()));
    lab.ask("www.a.com.", Rtype::A).await;
    lab.net.take_packets();
    for round in 1..=3 {
        let asks: Vec<_> = (0..20)
            .map(|_| {
                let lab = lab.clone();
                tokio::spawn(async move { lab.ask("zero.a.com.", Rtype::A).await })
            })
            .collect();
        for ask in asks {
            let found = ask.await.unwrap();
            assert_eq!(brief(&found), "NOERROR zero.a.com. A 203.0.113.81");
            assert_eq!(found.answer[0].ttl, 0);
        }
        assert_eq!(lab.net.packet_count(), round);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_live_to_the_second_by_either_clock() {
    for (advance_s, wall_step_s, ttl_left) in [
        (99, 0, Some(1)),
        (100, 0, None),
        // The wall clock is set forward, and back.
        (10, 80, Some(10)),
        (10, 95, None),
        (99, -50, Some(1)),
        (100, -50, None),
    ] {
        let lab = Lab::new(small(3600).build());
        lab.ask("short.a.com.", Rtype::A).await;
        lab.net.take_packets();
        tokio::time::advance(advance_s * S).await;
        let wall_s = lab.clock.now().wall_s.checked_add_signed(wall_step_s);
        lab.clock.set_wall(Duration::from_secs(wall_s.unwrap()));
        let found = lab.ask("short.a.com.", Rtype::A).await;
        let case = format!("{advance_s} {wall_step_s}");
        assert_eq!(found.answer[0].ttl, ttl_left.unwrap_or(100), "{case}");
        assert_eq!(lab.net.packet_count() > 0, ttl_left.is_none(), "{case}");
    }
}

/// RFC 2181 section 5.4.1: glue steers, and is no answer.
#[tokio::test(start_paused = true)]
async fn glue_is_no_answer() {
    let lab = Lab::new(small(3600).build());
    lab.ask("www.a.com.", Rtype::A).await;
    lab.net.take_packets();
    lab.check("ns1.a.com.", Rtype::A, "NOERROR ns1.a.com. A 203.0.113.1")
        .await;
    let asked = lab.net.take_packets();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].host.to_string(), "203.0.113.1");
}

/// RFC 8020 section 2: a proven denial answers for everything below; in an unsigned zone each name is asked for.
#[tokio::test(start_paused = true)]
async fn nothing_is_asked_below_a_proven_denial() {
    for (zone, packets) in [("a.", 0), ("u.", 4)] {
        let lab = Lab::new(signed().build());
        // Asked for deep below: what is denied is the highest name that does not exist.
        lab.ask(&format!("x.y.gone.{zone}"), Rtype::A).await;
        lab.ask(&format!("www.sub.{zone}"), Rtype::A).await;
        lab.net.take_packets();
        for below in ["gone", "a.gone", "b.y.gone", "c.x.y.gone"] {
            let found = lab.ask(&format!("{below}.{zone}"), Rtype::AAAA).await;
            assert_eq!(found.rcode, Rcode::NXDOMAIN, "{below}.{zone}");
        }
        let asked: Vec<_> = (lab.net.take_packets().iter())
            .map(|p| p.question.name.to_string())
            .collect();
        let names: std::collections::HashSet<_> = asked.iter().collect();
        assert_eq!(names.len(), packets, "{asked:?}");
        // Siblings and what is above exist as before.
        assert_eq!(
            lab.ask(&format!("sub.{zone}"), Rtype::A).await.rcode,
            Rcode::NOERROR
        );
    }
}

/// A zone that is held here is there, whatever is proven above it.
#[tokio::test(start_paused = true)]
async fn a_held_zone_is_found_below_a_proven_denial() {
    let private = Builder::new(3)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone("held.corp.")
        .server("ns.held.corp.", &["203.0.113.9"])
        .record("www A 203.0.113.90")
        .build();
    let lab = Lab::new(signed().build());
    let image = private.image("held.corp.");
    lab.copies.hold(image, Prefer::Now, LocalTrust::Insecure);
    lab.check("www.other.corp.", Rtype::A, "NXDOMAIN").await;
    lab.net.take_packets();
    lab.check("a.other.corp.", Rtype::A, "NXDOMAIN").await;
    lab.check(
        "www.held.corp.",
        Rtype::A,
        "NOERROR www.held.corp. A 203.0.113.90",
    )
    .await;
    let asked = lab.net.take_packets();
    assert!(
        asked.iter().all(|p| p.question.rtype == Rtype::DS),
        "{asked:?}"
    );
}

/// CVE-2022-30698 and CVE-2022-30699: neither delegations from below nor the child's own NS set keep a zone alive that its parent
/// no longer delegates.
#[tokio::test(start_paused = true)]
async fn a_zone_does_not_outlive_its_delegation() {
    let ghost = |ghost_ttl_s| {
        Builder::new(1)
            .zone(".")
            .server("a.root.", &["198.51.100.1"])
            .zone("com.")
            .ttl(80_000)
            .server("ns1.com.", &["192.0.2.1"])
            .zone("ghost.com.")
            .ttl(ghost_ttl_s)
            .server("ns.ghost.com.", &["203.0.113.66"])
            .record("www 5 A 203.0.113.67")
            .zone("sub.ghost.com.")
            .ttl(80_000)
            .server("ns.sub.ghost.com.", &["203.0.113.68"])
            .record("www 5 A 203.0.113.69")
    };
    let internet = ghost(1000).build();
    // The ghost itself says that its NS set lives long; its parent says 1000 s.
    let boasting = ghost(80_000).build().image("ghost.com.");
    internet
        .net
        .serve("203.0.113.66", boasting, &["ghost.com."]);
    let lab = Lab::new(internet);
    // It is asked about all the time, so that whatever prolongs anything does.
    for at_s in (0..1000).step_by(90) {
        for (name, rtype) in [
            ("www.ghost.com.", Rtype::A),
            ("ghost.com.", Rtype::NS),
            ("www.sub.ghost.com.", Rtype::A),
            ("sub.ghost.com.", Rtype::NS),
        ] {
            let found = lab.ask(name, rtype).await;
            assert_eq!(found.rcode, Rcode::NOERROR, "{name} at {at_s} s");
        }
        if at_s == 0 {
            let without = Builder::new(1)
                .zone(".")
                .server("a.root.", &["198.51.100.1"]);
            let without = without.zone("com.").server("ns1.com.", &["192.0.2.1"]);
            let without = without.build().image("com.");
            lab.net.serve("192.0.2.1", without, &["com."]);
        }
        tokio::time::advance(90 * S).await;
    }
    for name in ["www.ghost.com.", "www.sub.ghost.com.", "new.sub.ghost.com."] {
        let found = lab.ask(name, Rtype::A).await;
        assert_eq!(found.rcode, Rcode::NXDOMAIN, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn popular_answers_are_fetched_before_they_run_out() {
    let lab = fresh(small(3600));
    client(&lab, "short.a.com.").await;
    client(&lab, "alias.a.com.").await;
    lab.net.take_packets();
    let at = async |s: u64| {
        let now_s = lab.clock.now().mono.as_secs();
        tokio::time::advance(Duration::from_secs(s - now_s)).await;
        let found = client(&lab, "short.a.com.").await;
        // The refresh takes its time, and nobody waits for it.
        tokio::time::sleep(S / 2).await;
        (found.answer[0].ttl, lab.net.take_packets().len())
    };
    let fetched_s = lab.clock.now().mono.as_secs();
    assert_eq!(fetched_s, 0);
    assert_eq!(at(50).await, (50, 0));
    // In the last tenth, once, whoever asks; the old answer meanwhile.
    assert_eq!(at(91).await, (9, 1));
    assert_eq!(at(93).await, (98, 0));
    assert_eq!(at(150).await, (41, 0));
    assert_eq!(lab.metrics.prefetches_total.value(), 1);
    // The whole chain was not touched: only what is due is fetched.
    assert_eq!(client(&lab, "alias.a.com.").await.answer.len(), 2);
    assert_eq!(lab.net.packet_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_changes_nothing() {
    let lab = fresh(small(3600));
    client(&lab, "short.a.com.").await;
    client(&lab, "other.a.com.").await;
    tokio::time::advance(95 * S).await;
    lab.net.take_packets();
    // Without RD nothing is asked upstream, and nobody asks for the other a second time.
    let question = Question::new(name("other.a.com."), Rtype::A);
    let options = Options {
        recursion: false,
        ..Options::default()
    };
    assert!(lab.resolver.known(&question, options).is_some());
    tokio::time::sleep(S).await;
    assert_eq!(lab.net.packet_count(), 0);

    lab.net.set("a.com.", Fault::ServFail);
    for _ in 0..3 {
        assert_eq!(client(&lab, "short.a.com.").await.rcode, Rcode::NOERROR);
        tokio::time::sleep(S).await;
    }
    assert!(lab.net.packet_count() > 0);
    assert_eq!(lab.metrics.prefetches_total.value(), 1);
    assert_eq!(lab.metrics.prefetch_failures_total.value(), 1);
    // After its end it is asked for as if nothing had been: no failure is remembered against it.
    lab.net.heal();
    tokio::time::advance(5 * S).await;
    assert_eq!(client(&lab, "short.a.com.").await.answer[0].ttl, 100);
}

/// Who joins work of somebody else's pays for it himself when that one's time is over.
#[tokio::test(start_paused = true)]
async fn a_leaders_end_is_not_its_followers() {
    let mut zone = String::from("com.");
    let mut deep = Builder::new(1)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone(&zone)
        .server("ns.com.", &["192.0.2.1"]);
    for n in 2..12 {
        zone = format!("z{n}.{zone}");
        let address = format!("192.0.2.{n}");
        deep = deep.zone(&zone).server(&format!("ns.{zone}"), &[&address]);
    }
    let deep = deep.record("www A 192.0.2.99").build();
    let lab = Arc::new(Lab::with(deep, |s| s.qname_minimisation = false));
    // 12 steps of almost a second are more than one question's time.
    let slow = Fault::Slow(Duration::from_millis(940));
    lab.net.set("198.51.100.1", slow);
    for n in 1..12 {
        lab.net.set(&format!("192.0.2.{n}"), slow);
    }
    let ask = |checking_disabled| {
        let (resolver, question) = (lab.resolver.clone(), format!("www.{zone}"));
        let question = Question::new(name(&question), Rtype::A);
        let options = Options {
            checking_disabled,
            ..Options::default()
        };
        tokio::spawn(async move { resolver.resolve(question, options).await })
    };
    let leader = ask(false);
    tokio::time::sleep(8 * S).await;
    // The same for the network, another question for the table of failures.
    let follower = ask(true);
    assert_eq!(leader.await.unwrap().rcode, Rcode::SERVFAIL);
    let found = follower.await.unwrap();
    assert_eq!(found.rcode, Rcode::NOERROR, "{:?}", found.errors);
}

#[tokio::test(start_paused = true)]
async fn a_flush_makes_it_ask_again() {
    let lab = Lab::new(small(3600).build());
    let packets = async |names: &[&str]| {
        lab.net.take_packets();
        for name in names {
            lab.ask(name, Rtype::A).await;
        }
        lab.net.take_packets().len()
    };
    let all = ["www.a.com.", "short.a.com.", "none.a.com."];
    assert_eq!(packets(&all).await, 5);
    assert_eq!(packets(&all).await, 0);
    assert_eq!(forget(&lab, "www.a.com.", false), 1);
    assert_eq!(packets(&all).await, 1);
    // The zone's own name alone: its delegation goes, the answers below stay.
    let gone = lab.resolver.flush(&name("a.com."), false);
    assert_eq!((gone.answers, gone.delegations), (0, 1));
    assert_eq!(packets(&all).await, 0);
    assert_eq!(packets(&["alias.a.com."]).await, 2);
    let gone = lab.resolver.flush(&name("a.com."), true);
    assert_eq!((gone.answers, gone.delegations), (4, 1));
    assert_eq!(packets(&all).await, 4);
    let gone = lab.resolver.flush(&name("."), true);
    assert_eq!((gone.answers, gone.delegations), (3, 2));
    assert_eq!(packets(&all).await, 5);

    // A failure is forgotten by its name, too, and so are the keys of a signed zone.
    lab.net.set("a.com.", Fault::Refused);
    assert_eq!(lab.ask("new.a.com.", Rtype::A).await.rcode, Rcode::SERVFAIL);
    lab.net.heal();
    assert_eq!(lab.ask("new.a.com.", Rtype::A).await.rcode, Rcode::SERVFAIL);
    assert_eq!(lab.resolver.flush(&name("new.a.com."), false).failures, 1);
    assert_eq!(lab.ask("new.a.com.", Rtype::A).await.rcode, Rcode::NXDOMAIN);
    let lab = Lab::new(signed().build());
    lab.ask("www.sub.a.", Rtype::A).await;
    let gone = lab.resolver.flush(&name("a."), false);
    assert_eq!((gone.keys, gone.links), (1, 2));
}
