//! Forwarded zones: who is asked, what is believed, what happens when nobody answers.

use std::net::SocketAddr;
use std::time::Duration;

use holdfast::dns::{Ede, Name, Question, Rcode, Rtype};
use holdfast::resolve::forward::Forward;
use holdfast::resolve::task::Options;
use holdfast::resolve::{LocalTrust, Observation, Outcome, Prefer, Security};
use holdfast::upstream::Transport;

use crate::build::{Builder, Internet};
use crate::lab::{Lab, brief, codes};
use crate::net::Fault;
use crate::signer::name;

const NEAR: &str = "192.0.2.201";
const OTHER: &str = "192.0.2.202";

/// A signed chain to `a.com.`, an unsigned `b.com.`, and two resolvers that know all of it.
fn internet() -> Internet {
    let internet = Builder::new(1)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .signed()
        .zone("com.")
        .server("ns.com.", &["192.0.2.1"])
        .signed()
        .zone("a.com.")
        .server("ns.a.com.", &["203.0.113.1"])
        .signed()
        .record("www A 203.0.113.80")
        .record("*.wild A 203.0.113.81")
        .record("alias CNAME www.b.com.")
        .record("old DNAME new")
        .record("host.new A 203.0.113.82")
        .record("x.deep A 203.0.113.83")
        .zone("b.com.")
        .server("ns.b.com.", &["203.0.113.2"])
        .record("www A 203.0.113.90")
        .build();
    for resolver in [NEAR, OTHER] {
        for image in internet.images.values() {
            internet.net.serve(resolver, image.clone(), &["resolvers"]);
        }
        internet.net.make_recursive(resolver);
    }
    internet
}

fn forward(zone: &str, servers: &[&str]) -> Forward {
    let server = |text: &&str| -> SocketAddr {
        text.parse()
            .unwrap_or_else(|_| SocketAddr::new(text.parse().unwrap(), 53))
    };
    Forward {
        zone: name(zone),
        servers: servers.iter().map(server).collect(),
        first: false,
        tls: false,
        is_stub: false,
    }
}

fn lab(internet: Internet, forwards: impl IntoIterator<Item = Forward>) -> Lab {
    Lab::with(internet, |s| {
        s.forwards = forwards.into_iter().collect();
        s.prime = true;
    })
}

/// Every host that was sent a packet since the last call.
fn asked(lab: &Lab) -> Vec<String> {
    let packets = lab.net.take_packets();
    let mut hosts: Vec<String> = packets.iter().map(|p| p.host.to_string()).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

// RFC 1034 section 4.3.1; RFC 6840 section 5.9: the chain is fetched through the forwarder, with CD.
#[tokio::test(start_paused = true)]
async fn everything_is_forwarded_and_validated() {
    let lab = lab(internet(), [forward(".", &[NEAR])]);
    for (owner, rtype, expected, security) in [
        (
            "www.a.com.",
            Rtype::A,
            "NOERROR www.a.com. A 203.0.113.80",
            Security::Secure,
        ),
        (
            "x.wild.a.com.",
            Rtype::A,
            "NOERROR x.wild.a.com. A 203.0.113.81",
            Security::Secure,
        ),
        ("www.a.com.", Rtype::AAAA, "NOERROR", Security::Secure),
        ("none.a.com.", Rtype::A, "NXDOMAIN", Security::Secure),
        ("deep.a.com.", Rtype::A, "NOERROR", Security::Secure),
        ("none.", Rtype::A, "NXDOMAIN", Security::Secure),
        (
            "a.com.",
            Rtype::NS,
            "NOERROR a.com. NS ns.a.com.",
            Security::Secure,
        ),
        ("b.com.", Rtype::DS, "NOERROR", Security::Secure),
        (
            "www.b.com.",
            Rtype::A,
            "NOERROR www.b.com. A 203.0.113.90",
            Security::Insecure,
        ),
        (
            "alias.a.com.",
            Rtype::A,
            "NOERROR alias.a.com. CNAME www.b.com.; www.b.com. A 203.0.113.90",
            Security::Insecure,
        ),
        (
            "host.old.a.com.",
            Rtype::A,
            "NOERROR old.a.com. DNAME new.a.com.; host.old.a.com. CNAME host.new.a.com.; host.new.a.com. A 203.0.113.82",
            Security::Secure,
        ),
        (".", Rtype::NS, "NOERROR . NS a.root.", Security::Secure),
    ] {
        let found = lab.check(owner, rtype, expected).await;
        assert_eq!(found.security, security, "{owner} {rtype}");
    }
    for packet in lab.net.take_packets() {
        assert_eq!(packet.host.to_string(), NEAR, "{packet:?}");
        assert!(packet.recursion_desired && packet.checking_disabled && packet.edns);
    }
    // What becomes of forwarders is no evidence about anybody's servers: only validated data is noted, and of no zone but the
    // forwarded one.
    let notes = lab.notes.take();
    let harmless = |n: &Observation| n.zone.is_root() && n.outcome == Outcome::Validated;
    assert!(notes.iter().all(harmless), "{notes:?}");
}

#[tokio::test(start_paused = true)]
async fn one_zone_is_forwarded_and_the_rest_is_not() {
    let lab = lab(internet(), [forward("b.com.", &["192.0.2.201:5353"])]);
    lab.check("www.b.com.", Rtype::A, "NOERROR www.b.com. A 203.0.113.90")
        .await;
    let packets = lab.net.take_packets();
    let to_forwarder = |p: &&crate::net::Packet| p.host.to_string() == NEAR;
    let forwarded: Vec<_> = packets.iter().filter(to_forwarder).collect();
    assert_eq!((forwarded.len(), forwarded[0].port), (1, 5353));
    // The whole name at once.
    assert_eq!(forwarded[0].question.name, name("www.b.com."));
    // The chain above the zone comes from its own servers.
    assert!(!packets.iter().any(|p| p.host.to_string() == "203.0.113.2"));
    assert!(packets.iter().any(|p| p.host.to_string() == "192.0.2.1"));
    lab.check("www.a.com.", Rtype::A, "NOERROR www.a.com. A 203.0.113.80")
        .await;
    assert!(!asked(&lab).contains(&NEAR.to_string()));
    // An alias into the zone is asked of the forwarder, one out of it is not.
    lab.resolver.flush(&Name::root(), true);
    lab.check(
        "alias.a.com.",
        Rtype::A,
        "NOERROR alias.a.com. CNAME www.b.com.; www.b.com. A 203.0.113.90",
    )
    .await;
    assert!(asked(&lab).contains(&NEAR.to_string()));
}

#[tokio::test(start_paused = true)]
async fn bogus_data_is_asked_for_again_and_never_believed() {
    let lab = lab(internet(), [forward(".", &[NEAR, OTHER])]);
    lab.net.set(NEAR, Fault::Bogus);
    lab.net.set_delay(OTHER, Duration::from_millis(150));
    for owner in ["www.a.com.", "x.wild.a.com.", "host.new.a.com."] {
        let found = lab.ask(owner, Rtype::A).await;
        assert_eq!(
            (found.rcode, found.security),
            (Rcode::NOERROR, Security::Secure)
        );
    }
    lab.net.set(OTHER, Fault::Bogus);
    let found = lab.ask("x.deep.a.com.", Rtype::A).await;
    assert_eq!(found.rcode, Rcode::SERVFAIL);
    assert!(matches!(found.security, Security::Bogus(_)), "{found:?}");
    // The repeated question wants the forwarder's own judgement.
    assert!(lab.net.take_packets().iter().any(|p| !p.checking_disabled));
}

#[tokio::test(start_paused = true)]
async fn a_forger_in_place_of_the_forwarder_is_not_believed() {
    let lab = lab(internet(), [forward(".", &[NEAR])]);
    for fault in [Fault::Hijack([10, 0, 0, 1].into()), Fault::Stripped] {
        lab.net.set(NEAR, fault);
        let found = lab.ask("www.a.com.", Rtype::A).await;
        assert_eq!(found.rcode, Rcode::SERVFAIL, "{fault:?}: {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_forwarder_costs_one_wait() {
    for fault in [
        Fault::Silent,
        Fault::Unreachable,
        Fault::ServFail,
        Fault::Refused,
        Fault::Lame,
    ] {
        let lab = lab(internet(), [forward(".", &[NEAR, OTHER])]);
        lab.net.set(NEAR, fault);
        let mut slow = 0;
        for owner in [
            "www.a.com.",
            "www.b.com.",
            "x.wild.a.com.",
            "none.a.com.",
            "none.b.com.",
        ] {
            let (found, time) = lab.timed(owner).await;
            assert!(found.rcode.is_answer(), "{fault:?} {owner}: {found:?}");
            slow += usize::from(time > Duration::from_millis(350));
        }
        assert!(slow <= 1, "{fault:?}: {slow} of 5 were slow");
    }
}

#[tokio::test(start_paused = true)]
async fn without_forwarders_the_question_fails_and_says_why() {
    let lab = lab(internet(), [forward(".", &[NEAR, OTHER])]);
    lab.net.set("resolvers", Fault::Silent);
    let found = lab.ask("www.a.com.", Rtype::A).await;
    assert_eq!(brief(&found), "SERVFAIL");
    assert_eq!(codes(&found), [Ede::NO_REACHABLE_AUTHORITY]);
    // The work goes on to its end, for who asks again.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let found = lab.ask("www.a.com.", Rtype::A).await;
    let expected = [Ede::NO_REACHABLE_AUTHORITY, Ede::CACHED_ERROR];
    assert_eq!(codes(&found), expected);
    let why = &found.errors[0].text;
    assert!(why.starts_with(".: no forwarder gave an answer: asked for www.a.com. A: 192.0.2.20"));
    assert!(why.contains(NEAR) && why.contains(OTHER) && why.ends_with("timed out"));
    assert_eq!(asked(&lab), [NEAR, OTHER]);
    assert_eq!(lab.metrics.forward_failures_total.value(), 1);
    // They are back: within the longest backoff they are found.
    lab.net.heal();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(lab.ask("www.a.com.", Rtype::A).await.rcode, Rcode::NOERROR);
}

// `first = true`
#[tokio::test(start_paused = true)]
async fn first_falls_back_to_the_zones_own_servers() {
    let first = Forward {
        first: true,
        ..forward(".", &[NEAR])
    };
    for fault in [Fault::Refused, Fault::ServFail, Fault::Unreachable] {
        let lab = lab(internet(), [first.clone()]);
        lab.net.set(NEAR, fault);
        let found = lab.ask("www.a.com.", Rtype::A).await;
        assert_eq!(
            (found.rcode, found.security),
            (Rcode::NOERROR, Security::Secure)
        );
        let hosts = asked(&lab);
        assert!(hosts.contains(&NEAR.into()) && hosts.contains(&"203.0.113.1".into()));
        assert_eq!(lab.metrics.forward_failures_total.value(), 0);
    }
}

// RFC 2181 section 9, RFC 7766 section 5.
#[tokio::test(start_paused = true)]
async fn truncated_answers_are_asked_for_over_tcp() {
    let lab = lab(internet(), [forward(".", &[NEAR])]);
    lab.net.set(NEAR, Fault::Truncate);
    lab.check("www.a.com.", Rtype::A, "NOERROR www.a.com. A 203.0.113.80")
        .await;
    let over = |transport| move |p: &crate::net::Packet| p.transport == transport;
    let packets = lab.net.take_packets();
    assert!(packets.iter().any(over(Transport::Udp)) && packets.iter().any(over(Transport::Tcp)));
}

#[tokio::test(start_paused = true)]
async fn the_deepest_zone_decides_between_mirror_and_forwarder() {
    let lab = lab(internet(), [forward("com.", &[NEAR])]);
    let copies = &lab.copies;
    let image = |zone| lab.internet.image(zone);
    copies.hold(image("."), Prefer::Now, LocalTrust::Secure);
    copies.hold(image("b.com."), Prefer::Now, LocalTrust::Insecure);
    lab.check("www.a.com.", Rtype::A, "NOERROR www.a.com. A 203.0.113.80")
        .await;
    assert_eq!(asked(&lab), [NEAR]);
    let found = lab
        .check("www.b.com.", Rtype::A, "NOERROR www.b.com. A 203.0.113.90")
        .await;
    assert_eq!(found.sources.mirrors[0].zone, name("b.com."));
    assert_eq!(asked(&lab), [] as [&str; 0]);
    // Without RD the mirror of the root does not speak for what is forwarded.
    let options = Options {
        recursion: false,
        ..Options::default()
    };
    let ask = async |owner: &str| {
        let question = Question::new(name(owner), Rtype::A);
        lab.resolver.resolve(question, options).await.rcode
    };
    assert_eq!(ask("x.deep.a.com.").await, Rcode::REFUSED);
    assert_eq!(ask("none.").await, Rcode::NXDOMAIN);
}

// What a forwarder does not know it has to find out: that is no silence.
#[tokio::test(start_paused = true)]
async fn forwarders_are_given_time() {
    let lab = lab(internet(), [forward("b.com.", &[NEAR, OTHER])]);
    for owner in ["www.b.com.", "1.b.com.", "2.b.com.", "3.b.com."] {
        assert!(lab.ask(owner, Rtype::A).await.rcode.is_answer());
    }
    lab.net.take_packets();
    lab.net
        .set("resolvers", Fault::Slow(Duration::from_millis(300)));
    assert_eq!(lab.ask("4.b.com.", Rtype::A).await.rcode, Rcode::NXDOMAIN);
    assert_eq!(lab.net.packet_count(), 1);
    lab.net
        .set("resolvers", Fault::Slow(Duration::from_secs(3)));
    assert_eq!(lab.ask("5.b.com.", Rtype::A).await.rcode, Rcode::NXDOMAIN);
}

/// A zone that nobody delegates to its servers, with a zone below it.
fn hidden() -> Internet {
    Builder::new(1)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone("corp.")
        .undelegated()
        .server("ns.corp.", &["192.0.2.1"])
        .record("www A 203.0.113.80")
        .record("alias CNAME www.sub")
        .zone("sub.corp.")
        .server("ns.sub.corp.", &["192.0.2.2"])
        .record("www A 203.0.113.90")
        .build()
}

fn stubbed(internet: Internet, servers: &[&str]) -> Lab {
    let stub = Forward {
        is_stub: true,
        ..forward("corp.", servers)
    };
    Lab::with(internet, |s| {
        s.forwards = [stub].into_iter().collect();
    })
}

const ROOT: &str = "198.51.100.1";

#[tokio::test(start_paused = true)]
async fn a_stub_is_asked_as_the_zones_own_servers_and_its_referrals_are_followed() {
    let lab = stubbed(hidden(), &["192.0.2.1"]);
    lab.check("www.corp.", Rtype::A, "NOERROR www.corp. A 203.0.113.80")
        .await;
    lab.check(
        "www.sub.corp.",
        Rtype::A,
        "NOERROR www.sub.corp. A 203.0.113.90",
    )
    .await;
    let packets = lab.net.take_packets();
    assert!(packets.iter().all(|p| !p.recursion_desired), "{packets:?}");
    assert!(
        !packets.iter().any(|p| p.host.to_string() == ROOT),
        "{packets:?}"
    );
    lab.check(
        "alias.corp.",
        Rtype::A,
        "NOERROR alias.corp. CNAME www.sub.corp.; www.sub.corp. A 203.0.113.90",
    )
    .await;
    lab.net.take_packets();
    // What it has referred to is asked without it.
    lab.check("none.sub.corp.", Rtype::A, "NXDOMAIN").await;
    assert_eq!(asked(&lab), ["192.0.2.2"]);
    // All else is found as ever.
    assert_eq!(
        lab.ask("www.example.", Rtype::A).await.rcode,
        Rcode::NXDOMAIN
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_stub_does_not_say_nobody_else_is_asked_for() {
    let lab = stubbed(hidden(), &["192.0.2.1"]);
    lab.check(
        "www.sub.corp.",
        Rtype::A,
        "NOERROR www.sub.corp. A 203.0.113.90",
    )
    .await;
    lab.net.set("192.0.2.1", Fault::Silent);
    lab.net.set("192.0.2.2", Fault::Silent);
    lab.net.take_packets();
    for owner in ["other.corp.", "other.sub.corp."] {
        let found = lab.ask(owner, Rtype::A).await;
        assert_eq!(found.rcode, Rcode::SERVFAIL, "{owner}");
    }
    let asked = asked(&lab);
    assert!(!asked.contains(&ROOT.to_string()), "{asked:?}");
    lab.net.heal();
    tokio::time::sleep(Duration::from_secs(60)).await;
    for owner in ["www.corp.", "www.sub.corp."] {
        assert_eq!(
            lab.ask(owner, Rtype::A).await.rcode,
            Rcode::NOERROR,
            "{owner}"
        );
    }
}
