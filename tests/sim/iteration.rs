//! Plain iteration: referrals, aliases, bad servers, limits.

use std::time::Duration;

use holdfast::dns::{Ede, Question, Rcode, Rtype};
use holdfast::resolve::task::Options;
use holdfast::upstream::Transport;

use crate::build::Builder;
use crate::lab::{Lab, brief, codes};
use crate::net::Fault;

const MS: Duration = Duration::from_millis(1);

/// A root, two TLDs, a zone in each; servers of `b.org.` have names in `com.`.
fn small() -> Builder {
    Builder::new(1)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .server("b.root.", &["198.51.100.2"])
        .zone("com.")
        .server("ns1.com.", &["192.0.2.1"])
        .server("ns2.com.", &["192.0.2.2"])
        .zone("org.")
        .server("ns.org.", &["192.0.2.11"])
        .zone("a.com.")
        .server("ns1.a.com.", &["203.0.113.1"])
        .server("ns2.a.com.", &["203.0.113.2"])
        .record("www A 203.0.113.80")
        .record("alias CNAME www")
        .record("gone CNAME none")
        .record("far CNAME www.b.org.")
        .record("loop1 CNAME loop2")
        .record("loop2 CNAME loop1")
        .record("deep.er.name A 203.0.113.81")
        .record("old DNAME new")
        .record("host.new A 203.0.113.82")
        .record("*.wild A 203.0.113.83")
        .zone("b.org.")
        .server("ns.b-hoster.com.", &["203.0.113.11"])
        .record("www A 203.0.113.90")
        .zone("b-hoster.com.")
        .server("ns.b-hoster.com.", &["203.0.113.11"])
}

#[tokio::test(start_paused = true)]
async fn answers_of_every_kind() {
    let lab = Lab::new(small().build());
    for (name, rtype, expected) in [
        ("www.a.com.", Rtype::A, "NOERROR www.a.com. A 203.0.113.80"),
        ("www.a.com.", Rtype::AAAA, "NOERROR"),
        ("none.a.com.", Rtype::A, "NXDOMAIN"),
        ("none.", Rtype::A, "NXDOMAIN"),
        (
            "alias.a.com.",
            Rtype::A,
            "NOERROR alias.a.com. CNAME www.a.com.; www.a.com. A 203.0.113.80",
        ),
        (
            "alias.a.com.",
            Rtype::CNAME,
            "NOERROR alias.a.com. CNAME www.a.com.",
        ),
        // RFC 1034 section 3.6.2: an alias stands for all types but its own.
        (
            "alias.a.com.",
            Rtype::DS,
            "NOERROR alias.a.com. CNAME www.a.com.",
        ),
        (
            "gone.a.com.",
            Rtype::DS,
            "NXDOMAIN gone.a.com. CNAME none.a.com.",
        ),
        (
            "far.a.com.",
            Rtype::A,
            "NOERROR far.a.com. CNAME www.b.org.; www.b.org. A 203.0.113.90",
        ),
        ("www.b.org.", Rtype::A, "NOERROR www.b.org. A 203.0.113.90"),
        (
            "deep.er.name.a.com.",
            Rtype::A,
            "NOERROR deep.er.name.a.com. A 203.0.113.81",
        ),
        ("er.name.a.com.", Rtype::A, "NOERROR"),
        (
            "x.wild.a.com.",
            Rtype::A,
            "NOERROR x.wild.a.com. A 203.0.113.83",
        ),
        (
            "host.old.a.com.",
            Rtype::A,
            "NOERROR old.a.com. DNAME new.a.com.; host.old.a.com. CNAME host.new.a.com.; host.new.a.com. A 203.0.113.82",
        ),
        (
            "a.com.",
            Rtype::NS,
            "NOERROR a.com. NS ns1.a.com.; a.com. NS ns2.a.com.",
        ),
        ("a.com.", Rtype::DS, "NOERROR"),
        (
            "com.",
            Rtype::NS,
            "NOERROR com. NS ns1.com.; com. NS ns2.com.",
        ),
        (".", Rtype::NS, "NOERROR . NS a.root.; . NS b.root."),
        ("loop1.a.com.", Rtype::A, "SERVFAIL"),
    ] {
        lab.check(name, rtype, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn chains_of_aliases_end_somewhere() {
    let chain = (0..20).fold(small(), |b, i| b.record(&format!("c{i} CNAME c{}", i + 1)));
    let lab = Lab::new(chain.record("c20 A 203.0.113.99").build());
    for (name, rcode, links, error) in [
        ("c9.b-hoster.com.", Rcode::NOERROR, 12, None),
        (
            "c8.b-hoster.com.",
            Rcode::SERVFAIL,
            0,
            Some("too many aliases"),
        ),
        (
            "c0.b-hoster.com.",
            Rcode::SERVFAIL,
            0,
            Some("too many aliases"),
        ),
        ("loop1.a.com.", Rcode::SERVFAIL, 0, Some("in a circle")),
    ] {
        let found = lab.ask(name, Rtype::A).await;
        assert_eq!((found.rcode, found.answer.len()), (rcode, links), "{name}");
        let told = found.errors.first().map(|e| e.text.as_str());
        assert!(told.is_some() == error.is_some(), "{name}: {told:?}");
        assert!(
            told.unwrap_or("").ends_with(error.unwrap_or("")),
            "{name}: {told:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn servers_see_no_more_of_the_name_than_they_need() {
    let lab = Lab::new(small().build());
    lab.ask("www.a.com.", Rtype::AAAA).await;
    let seen: Vec<String> = (lab.net.take_packets().iter())
        .map(|s| s.question.to_string())
        .collect();
    assert_eq!(seen, ["com. A", "a.com. A", "www.a.com. AAAA"]);

    let plain = Lab::with(small().build(), |s| s.qname_minimisation = false);
    plain.ask("www.a.com.", Rtype::AAAA).await;
    let seen = plain.net.take_packets();
    assert!(
        seen.iter()
            .all(|s| s.question.to_string() == "www.a.com. AAAA")
    );
}

/// RFC 9156 section 3: its servers refer nobody on, so that there is no delegation to remember.
#[tokio::test(start_paused = true)]
async fn a_zone_with_the_servers_of_its_parent_is_shown_once() {
    let below = small()
        .zone("sub.a.com.")
        .server("ns1.a.com.", &["203.0.113.1"])
        .server("ns2.a.com.", &["203.0.113.2"])
        .record("*.x A 203.0.113.84");
    let lab = Lab::new(below.build());
    for (name, expected) in [
        ("1.x.sub.a.com.", 5),
        ("2.x.sub.a.com.", 1),
        ("3.x.sub.a.com.", 1),
    ] {
        let found = lab.ask(name, Rtype::A).await;
        assert_eq!(found.answer.len(), 1, "{name}");
        let seen = lab.net.take_packets();
        assert_eq!(seen.len(), expected, "{name}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_not_asked_again() {
    let lab = Lab::new(small().build());
    lab.ask("www.a.com.", Rtype::A).await;
    lab.ask("none.a.com.", Rtype::A).await;
    lab.net.take_packets();
    for (name, rtype) in [
        ("www.a.com.", Rtype::A),
        ("WWW.a.com.", Rtype::A),
        ("none.a.com.", Rtype::A),
        ("none.a.com.", Rtype::MX),
    ] {
        lab.ask(name, rtype).await;
        assert_eq!(lab.net.packet_count(), 0, "{name} {rtype}");
    }
    // RFC 2308: the denial runs out first.
    tokio::time::advance(Duration::from_secs(301)).await;
    let hit = lab.ask("www.a.com.", Rtype::A).await;
    assert_eq!((lab.net.packet_count(), hit.answer[0].ttl), (0, 3600 - 301));
    lab.ask("none.a.com.", Rtype::A).await;
    assert_eq!(lab.net.packet_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_silent_server_costs_one_wait_once() {
    let lab = Lab::new(small().build());
    lab.net.set("203.0.113.1", Fault::Silent);
    let (mut waits, mut answered) = (0, 0);
    for i in 0..100 {
        let (resolution, took) = lab.timed(&format!("x{i}.wild.a.com.")).await;
        answered += u32::from(resolution.rcode == Rcode::NOERROR);
        waits += u32::from(took > 100 * MS);
    }
    assert_eq!(answered, 100);
    assert!(waits <= 1, "{waits}");
    // And once it is back it is noticed within seconds.
    lab.net.heal();
    tokio::time::advance(Duration::from_secs(5)).await;
    for i in 0..60 {
        lab.timed(&format!("y{i}.wild.a.com.")).await;
    }
    let seen = lab.net.take_packets();
    let to_returned = seen
        .iter()
        .rev()
        .take(50)
        .filter(|s| s.host.to_string() == "203.0.113.1");
    assert!(to_returned.count() > 10);
}

#[tokio::test(start_paused = true)]
async fn bad_servers_are_left_for_the_next_at_once() {
    for fault in [
        Fault::ServFail,
        Fault::Refused,
        Fault::Says(Rcode::NOTIMP),
        Fault::Upwards,
        Fault::Unreachable,
        Fault::Rubbish,
    ] {
        let lab = Lab::new(small().build());
        lab.net.set("203.0.113.1", fault);
        lab.net.set("192.0.2.1", fault);
        for i in 0..20 {
            let (resolution, took) = lab.timed(&format!("x{i}.wild.a.com.")).await;
            assert_eq!(resolution.rcode, Rcode::NOERROR, "{fault:?}");
            assert!(took < 250 * MS, "{fault:?} {took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn when_every_server_fails_the_reason_is_told_and_remembered() {
    for (fault, code) in [
        (Fault::Silent, Ede::NO_REACHABLE_AUTHORITY),
        (Fault::Unreachable, Ede::NO_REACHABLE_AUTHORITY),
        (Fault::Refused, Ede::NO_REACHABLE_AUTHORITY),
        (Fault::Upwards, Ede::NO_REACHABLE_AUTHORITY),
    ] {
        let lab = Lab::new(small().build());
        lab.net.set("a.com.", fault);
        let (resolution, took) = lab.timed("www.a.com.").await;
        assert_eq!(brief(&resolution), "SERVFAIL");
        assert_eq!(codes(&resolution), [code], "{fault:?} {resolution:?}");
        assert!(
            took < Duration::from_secs(5),
            "a stub has given up: {took:?}"
        );
        assert!(lab.net.take_packets().len() <= 20, "{fault:?}");

        // RFC 9520: not asked again while the failure stands. The work may outlast the client's patience.
        while lab.resolver.in_flight() > 0 {
            tokio::time::sleep(100 * MS).await;
        }
        lab.net.take_packets();
        let again = lab.ask("www.a.com.", Rtype::A).await;
        assert_eq!(codes(&again), [code, Ede::CACHED_ERROR]);
        assert_eq!(lab.net.packet_count(), 0);

        lab.net.heal();
        lab.resolver.forget_failures();
        let (resolution, took) = lab.timed("www.a.com.").await;
        assert_eq!(resolution.rcode, Rcode::NOERROR, "{fault:?}");
        assert!(took < 500 * MS, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn truncation_leads_to_tcp() {
    let lab = Lab::new(small().build());
    lab.net.set("a.com.", Fault::Truncate);
    lab.check("www.a.com.", Rtype::A, "NOERROR www.a.com. A 203.0.113.80")
        .await;
    let log = lab.net.take_packets();
    assert_eq!(
        log.iter().filter(|s| s.transport == Transport::Tcp).count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn servers_cut_off_from_datagrams_are_reached_over_tcp_and_remembered() {
    let lab = Lab::new(small().build());
    lab.net.set("a.com.", Fault::UdpSilent);
    let (resolution, took) = lab.timed("www.a.com.").await;
    assert_eq!(resolution.rcode, Rcode::NOERROR, "{resolution:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let mut slow = 0;
    for i in 0..20 {
        let (resolution, took) = lab.timed(&format!("x{i}.wild.a.com.")).await;
        assert_eq!(resolution.rcode, Rcode::NOERROR);
        slow += u32::from(took > 100 * MS);
    }
    assert!(slow <= 1, "{slow}");
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_place_on_a_connection_goes_over_udp() {
    let lab = Lab::new(small().build());
    // All its servers are asked over TCP.
    lab.net.set("a.com.", Fault::UdpSilent);
    for server in ["203.0.113.1", "203.0.113.2"] {
        let others = ["203.0.113.1", "203.0.113.2"].into_iter();
        for other in others.filter(|o| *o != server) {
            lab.net.set(other, Fault::Silent);
        }
        lab.net.set(server, Fault::UdpSilent);
        for i in 0..4 {
            let (resolution, _) = lab.timed(&format!("{i}-{server}.wild.a.com.")).await;
            assert_eq!(resolution.rcode, Rcode::NOERROR, "{resolution:?}");
        }
    }
    lab.net.set("a.com.", Fault::TcpFull);
    lab.net.take_packets();
    let (resolution, took) = lab.timed("x1.wild.a.com.").await;
    assert_eq!(resolution.rcode, Rcode::NOERROR, "{resolution:?}");
    let log = lab.net.take_packets();
    assert!(log.iter().any(|s| s.transport == Transport::Tcp));
    assert!(took < 100 * MS, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_short_silence_leaves_nobody_on_tcp() {
    for round in 1..=10 {
        let lab = Lab::new(small().build());
        lab.ask("x0.wild.a.com.", Rtype::A).await;
        lab.net.set("a.com.", Fault::Silent);
        let ask = lab.resolver.clone();
        let name = format!("s{round}.wild.a.com.");
        let question = Question::new(name.parse().unwrap(), Rtype::A);
        let silent = tokio::spawn(async move { ask.resolve(question, Options::default()).await });
        tokio::time::sleep(round * 300 * MS).await;
        lab.net.set("a.com.", Fault::None);
        let _ = silent.await;
        for i in 0..8 {
            lab.ask(&format!("x{round}-{i}.wild.a.com."), Rtype::A)
                .await;
            tokio::time::sleep(250 * MS).await;
        }
        lab.net.take_packets();
        lab.ask(&format!("y{round}.wild.a.com."), Rtype::A).await;
        let log = lab.net.take_packets();
        assert!(log.iter().all(|s| s.transport == Transport::Udp), "{log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn servers_without_edns_are_asked_without() {
    let lab = Lab::new(small().build());
    lab.net.set("a.com.", Fault::NoEdns);
    for i in 0..10 {
        let resolution = lab.ask(&format!("x{i}.wild.a.com."), Rtype::A).await;
        assert_eq!(resolution.rcode, Rcode::NOERROR);
    }
    // Learned once per server.
    let log = lab.net.take_packets();
    let with_edns = log
        .iter()
        .filter(|s| s.edns && s.host.to_string().starts_with("203"));
    assert!(with_edns.count() <= 2);
}

#[tokio::test(start_paused = true)]
async fn servers_that_break_at_minimised_names_are_asked_for_the_whole() {
    for rcode in [Rcode::NXDOMAIN, Rcode::SERVFAIL, Rcode::REFUSED] {
        let lab = Lab::new(small().build());
        lab.net.set("a.com.", Fault::DeniesShort(5, rcode));
        let expected = "NOERROR deep.er.name.a.com. A 203.0.113.81";
        lab.check("deep.er.name.a.com.", Rtype::A, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_question_is_worked_on_once() {
    let lab = Lab::new(small().build());
    let asks = (0..50).map(|_| {
        let resolver = lab.resolver.clone();
        tokio::spawn(async move {
            let question = Question::new("www.a.com.".parse().unwrap(), Rtype::A);
            resolver.resolve(question, Default::default()).await
        })
    });
    for ask in asks.collect::<Vec<_>>() {
        assert_eq!(
            brief(&ask.await.unwrap()),
            "NOERROR www.a.com. A 203.0.113.80"
        );
    }
    assert_eq!(lab.net.packet_count(), 3);
}

#[tokio::test(start_paused = true)]
async fn zones_that_need_each_other_fail_soon() {
    let net = small()
        .zone("x.com.")
        .server_without_glue("ns.y.org.", &["203.0.113.21"])
        .zone("y.org.")
        .server_without_glue("ns.x.com.", &["203.0.113.22"])
        .build();
    let lab = Lab::new(net);
    let ask = |name: &'static str| {
        let resolver = lab.resolver.clone();
        tokio::spawn(async move {
            let question = Question::new(name.parse().unwrap(), Rtype::A);
            resolver.resolve(question, Default::default()).await
        })
    };
    // At the same time, so that each could come to wait for the other.
    let asks = [
        ask("www.x.com."),
        ask("www.y.org."),
        ask("ns.y.org."),
        ask("ns.x.com."),
    ];
    for ask in asks {
        assert_eq!(ask.await.unwrap().rcode, Rcode::SERVFAIL);
    }
    assert!(
        lab.clock.now().mono < Duration::from_secs(1),
        "{:?}",
        lab.clock.now().mono
    );
}

/// NXNSAttack (CVE-2020-8616): a delegation to many servers whose names are all somebody else's.
#[tokio::test(start_paused = true)]
async fn a_delegation_to_a_hundred_strangers_costs_little() {
    let mut builder = small().zone("evil.com.");
    for i in 0..100 {
        builder = builder.server_without_glue(&format!("n{i}.a.com."), &[]);
    }
    let lab = Lab::new(builder.build());
    let resolution = lab.ask("www.evil.com.", Rtype::A).await;
    assert_eq!(resolution.rcode, Rcode::SERVFAIL);
    assert!(lab.net.packet_count() < 20, "{}", lab.net.packet_count());
}

#[tokio::test(start_paused = true)]
async fn priming_replaces_the_hints() {
    let net = small().build();
    let lab = Lab::with(net, |s| {
        s.prime = true;
        // Only one server is in the hints.
        s.root_hints.truncate(1);
    });
    lab.ask("www.a.com.", Rtype::A).await;
    lab.net.set("com.", Fault::Silent);
    lab.net.set("198.51.100.1", Fault::Silent);
    let resolution = lab.ask("www.b.org.", Rtype::AAAA).await;
    assert_eq!(
        resolution.rcode,
        Rcode::SERVFAIL,
        "ns.b-hoster.com. is out of reach"
    );
    let resolution = lab.ask("none.", Rtype::A).await;
    assert_eq!(
        resolution.rcode,
        Rcode::NXDOMAIN,
        "the second root server is known"
    );
}

#[tokio::test(start_paused = true)]
async fn loss_is_overcome() {
    let lab = Lab::new(small().build());
    for zone in [".", "com.", "a.com."] {
        lab.net.set(zone, Fault::Loss(30));
    }
    let mut failed = 0;
    for i in 0..200 {
        let resolution = lab.ask(&format!("x{i}.wild.a.com."), Rtype::A).await;
        failed += u32::from(resolution.rcode != Rcode::NOERROR);
    }
    assert_eq!(failed, 0);
}

// One server is silent, one dead, and the address of the third is the last that is looked for: nobody waits for the silent one.
#[tokio::test(start_paused = true)]
async fn servers_without_glue_are_looked_for_while_others_are_silent() {
    for seed in 0..8 {
        let internet = Builder::new(seed)
            .zone(".")
            .server("a.root.", &["198.51.100.1"])
            .zone("com.")
            .server("ns.com.", &["192.0.2.1"])
            .zone("net.")
            .server("ns.net.", &["192.0.2.11"])
            .zone("a.com.")
            .server("ns.a.com.", &["203.0.113.1"])
            .server("dead.net.", &["203.0.113.2"])
            .server("six.net.", &["2001:db8::3"])
            .record("www A 203.0.113.80")
            .build();
        let lab = Lab::with(internet, |s| s.seed = seed);
        lab.net.set("203.0.113.1", Fault::Silent);
        lab.net.set("203.0.113.2", Fault::Unreachable);
        let (found, took) = lab.timed("www.a.com.").await;
        assert_eq!(brief(&found), "NOERROR www.a.com. A 203.0.113.80");
        assert!(took < Duration::from_secs(2), "{seed}: {took:?}");
    }
}

// Both servers' IPv4 addresses are known from an earlier search; when they die, the IPv6 address of one is still to be found.
#[tokio::test(start_paused = true)]
async fn the_other_family_is_looked_for_when_one_is_dead() {
    let internet = Builder::new(9)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .server("ns.com.", &["192.0.2.1"])
        .zone("net.")
        .server("ns.net.", &["192.0.2.11"])
        .zone("a.com.")
        .server("one.net.", &["203.0.113.1", "2001:db8::1"])
        .server("two.net.", &["203.0.113.2"])
        .record("www A 203.0.113.80")
        .record("api A 203.0.113.81")
        .build();
    let lab = Lab::new(internet);
    lab.ask("www.a.com.", Rtype::A).await;
    lab.net.set("203.0.113.1", Fault::Silent);
    lab.net.set("203.0.113.2", Fault::Silent);
    let expected = "NOERROR api.a.com. A 203.0.113.81";
    lab.check("api.a.com.", Rtype::A, expected).await;
}

// The servers with glue are known to be silent: nobody waits for them while another can be found by name.
#[tokio::test(start_paused = true)]
async fn behind_silent_servers_others_are_looked_for_at_once() {
    let internet = Builder::new(9)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .server("ns.com.", &["192.0.2.1"])
        .zone("net.")
        .server("ns.net.", &["192.0.2.11"])
        .zone("a.com.")
        .server("ns1.a.com.", &["203.0.113.1"])
        .server("ns2.a.com.", &["203.0.113.2"])
        .server("ns3.a.com.", &["203.0.113.3"])
        .server("one.net.", &["203.0.113.4"])
        .record("www A 203.0.113.80")
        .record("api A 203.0.113.81")
        .build();
    let lab = Lab::new(internet);
    for host in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        lab.net.set(host, Fault::Silent);
    }
    lab.ask("www.a.com.", Rtype::A).await;
    // The address has been forgotten; that the others are silent has not.
    tokio::time::sleep(Duration::from_secs(7200)).await;
    let (found, took) = lab.timed("api.a.com.").await;
    assert_eq!(brief(&found), "NOERROR api.a.com. A 203.0.113.81");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

// While addresses are looked for in vain, nobody is asked again, so that the rounds are there for the one that is found.
#[tokio::test(start_paused = true)]
async fn a_server_found_late_is_asked_over_tcp_too() {
    let internet = Builder::new(10)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .server("ns.com.", &["192.0.2.1"])
        .zone("net.")
        .server("ns.net.", &["192.0.2.11"])
        .zone("far.net.")
        .server("ns.far.net.", &["192.0.2.12"])
        .zone("a.com.")
        .server("ns1.a.com.", &["203.0.113.1"])
        .server("one.far.net.", &["203.0.113.2"])
        .server("nowhere.net.", &[])
        .record("www A 203.0.113.80")
        .build();
    let lab = Lab::new(internet);
    lab.net.set("203.0.113.1", Fault::Refused);
    lab.net.set("203.0.113.2", Fault::UdpSilent);
    let expected = "NOERROR www.a.com. A 203.0.113.80";
    lab.check("www.a.com.", Rtype::A, expected).await;
}

// Both addresses of a name are not looked for as long as another name waits.
#[tokio::test(start_paused = true)]
async fn a_name_that_is_hard_to_find_holds_up_no_other() {
    for seed in 0..8 {
        let internet = Builder::new(11)
            .zone(".")
            .server("a.root.", &["198.51.100.1"])
            .zone("com.")
            .server("ns.com.", &["192.0.2.1"])
            .zone("net.")
            .server("ns.net.", &["192.0.2.11"])
            .zone("dead.net.")
            .server("ns.dead.net.", &["192.0.2.12"])
            .zone("a.com.")
            .server("ns.dead.net.", &[])
            .server("six.net.", &["2001:db8::3"])
            .record("www A 203.0.113.80")
            .build();
        let lab = Lab::with(internet, |s| s.seed = seed);
        lab.net.set("192.0.2.12", Fault::Silent);
        let expected = "NOERROR www.a.com. A 203.0.113.80";
        let (found, took) = lab.timed("www.a.com.").await;
        assert_eq!(brief(&found), expected, "{seed}");
        assert!(took < Duration::from_secs(1), "{seed}: {took:?}");
    }
}

// Addresses of name servers are not validated: when nobody is there, others than who gave them are asked anew.
#[tokio::test(start_paused = true)]
async fn addresses_that_lead_nowhere_are_looked_for_anew() {
    for seed in 0..8 {
        let internet = Builder::new(12)
            .zone(".")
            .server("a.root.", &["198.51.100.1"])
            .zone("com.")
            .server("ns.com.", &["192.0.2.1"])
            .zone("net.")
            .server("ns1.net.", &["192.0.2.11"])
            .server("ns2.net.", &["192.0.2.12"])
            .zone("a.com.")
            .server("one.net.", &["203.0.113.1"])
            .record("www A 203.0.113.80")
            .build();
        let lab = Lab::with(internet, |s| s.seed = seed);
        lab.net
            .set("192.0.2.11", Fault::Hijack([10, 6, 6, 6].into()));
        let (found, took) = lab.timed("www.a.com.").await;
        assert_eq!(brief(&found), "NOERROR www.a.com. A 203.0.113.80", "{seed}");
        assert!(took < Duration::from_secs(1), "{seed}: {took:?}");
    }
}

// Of two questions only one looks anew for the addresses that lead nowhere; what it finds serves both.
#[tokio::test(start_paused = true)]
async fn addresses_that_another_question_has_found_are_used() {
    for seed in 0..8 {
        let internet = Builder::new(13)
            .zone(".")
            .server("a.root.", &["198.51.100.1"])
            .zone("com.")
            .server("ns.com.", &["192.0.2.1"])
            .zone("net.")
            .server("ns1.net.", &["192.0.2.11"])
            .server("ns2.net.", &["192.0.2.12"])
            .zone("a.com.")
            .server("one.net.", &["203.0.113.1"])
            .record("www A 203.0.113.80")
            .record("api A 203.0.113.80")
            .build();
        let lab = Lab::with(internet, |s| s.seed = seed);
        lab.net
            .set("192.0.2.11", Fault::Hijack([10, 6, 6, 6].into()));
        let asks = ["www.a.com.", "api.a.com."].map(|name| {
            let resolver = lab.resolver.clone();
            tokio::spawn(async move {
                let question = Question::new(name.parse().unwrap(), Rtype::A);
                resolver.resolve(question, Default::default()).await
            })
        });
        for ask in asks {
            assert_eq!(ask.await.unwrap().rcode, Rcode::NOERROR, "{seed}");
        }
        let took = lab.clock.now().mono;
        assert!(took < Duration::from_secs(3), "{seed}: {took:?}");
    }
}
