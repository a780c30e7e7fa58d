//! Servers that can be reached, if one asks them rightly.

use std::net::IpAddr;
use std::time::Duration;

use holdfast::dns::{Rcode, Rtype};
use holdfast::resolve::Security;
use holdfast::upstream::Transport;

use crate::build::{Builder, Internet};
use crate::lab::{Lab, brief};
use crate::net::{Fault, Packet};

/// The servers of the unsigned and of the signed zone.
const UNSIGNED: &str = "203.0.113.1";
const SIGNED: &str = "203.0.113.2";

fn internet() -> Internet {
    let many =
        |builder: Builder| (0..60).fold(builder, |b, n| b.record(&format!("*.big A 10.0.0.{n}")));
    let unsigned = Builder::new(5)
        .zone(".")
        .signed()
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .signed()
        .server("ns.com.", &["192.0.2.1"])
        .zone("u.com.")
        .server("ns.u.com.", &[UNSIGNED])
        .record("*.w A 203.0.113.80");
    let signed = many(unsigned)
        .zone("s.com.")
        .signed()
        .server("ns.s.com.", &[SIGNED])
        .record("*.w A 203.0.113.81");
    many(signed).build()
}

/// `Uf1232m`: UDP or TCP; full, bare or no EDNS with its size; mixed case or not.
fn shown(packet: &Packet) -> String {
    let edns = match (packet.edns, packet.cookie) {
        (true, true) => format!("f{}", packet.size),
        (true, false) => format!("b{}", packet.size),
        (false, _) => "-".into(),
    };
    let over = match packet.transport {
        Transport::Udp => 'U',
        Transport::Tcp => 'T',
    };
    format!("{over}{edns}{}", if packet.mixed { "m" } else { "" })
}

/// Asks for a name that was not asked for before, and says how its server was asked.
async fn asked(lab: &Lab, name: &str, server: &str) -> String {
    // Work goes on after an answer, and the next question is not to join it.
    tokio::time::sleep(Duration::from_secs(6)).await;
    lab.net.take_packets();
    let found = lab.ask(name, Rtype::A).await;
    assert_eq!(found.rcode, Rcode::NOERROR, "{name}: {found:#?}");
    assert!(!found.answer.is_empty(), "{name}");
    let server: IpAddr = server.parse().unwrap();
    let packets = lab.net.take_packets();
    let own = packets.iter().filter(|p| p.host == server);
    let own = own.filter(|p| p.question.name.to_string() == name);
    own.map(shown).collect::<Vec<_>>().join(" ")
}

/// What the first question after the fault sets in costs, and what one costs when it is known.
async fn check(fault: Fault, zone: &str, known: bool, first: &str, later: &str) {
    let lab = Lab::with(internet(), |s| s.qname_minimisation = false);
    let (label, server) = match zone {
        "s.com." => ("w", SIGNED),
        "u.com. big" => ("big", UNSIGNED),
        _ => ("w", UNSIGNED),
    };
    let zone = zone.split(' ').next().unwrap();
    if known {
        asked(&lab, &format!("known.w.{zone}"), server).await;
    }
    lab.net.set(server, fault);
    let what = format!("{fault:?} {zone} known {known}");
    let name = |n: u8| format!("x{n}.{label}.{zone}");
    // A wildcard proven once answers for all names below it (RFC 8198), and here the server is to be asked.
    let forget = || lab.resolver.note_generation(&zone.parse().unwrap());
    forget();
    assert_eq!(asked(&lab, &name(0), server).await, first, "{what}");
    // Among them one that looks whether UDP works again, where TCP is used.
    for n in 1..8 {
        forget();
        asked(&lab, &name(n), server).await;
    }
    forget();
    assert_eq!(asked(&lab, &name(8), server).await, later, "{what}, later");
}

// RFC 6891 sections 6.2.2 and 7: the fallbacks, and what of them is remembered.
#[tokio::test(start_paused = true)]
async fn edns_is_left_away_where_it_is_refused_or_dropped() {
    check(Fault::None, "u.com.", false, "Uf1232m", "Uf1232m").await;
    for rcode in [
        Rcode::FORMERR,
        Rcode::NOTIMP,
        Rcode::SERVFAIL,
        Rcode::BADVERS,
    ] {
        let fault = Fault::FailsEdns(rcode);
        check(fault, "u.com.", false, "Uf1232m U-m", "U-m").await;
    }
    check(Fault::DropsEdns, "u.com.", false, "Uf1232m U-m", "U-m").await;
}

// Who has shown that it takes EDNS, or has signatures to give, is asked with EDNS: over TCP in the end.
#[tokio::test(start_paused = true)]
async fn silence_alone_does_not_take_edns_from_a_server() {
    let drops = Fault::DropsEdns;
    check(drops, "u.com.", true, "Uf1232m Ub512m Tb1232m", "Tf1232m").await;
    check(drops, "s.com.", false, "Uf1232m Ub512m Tb1232m", "Tf1232m").await;
}

#[tokio::test(start_paused = true)]
async fn loss_does_not_take_the_signatures_from_a_zone() {
    let lab = Lab::new(internet());
    lab.net.set(SIGNED, Fault::Loss(30));
    let mut answered = 0;
    for n in 0..100 {
        let found = lab.ask(&format!("x{n}.w.s.com."), Rtype::A).await;
        assert!(!matches!(found.security, Security::Bogus(_)), "{found:#?}");
        if found.rcode == Rcode::NOERROR {
            assert_eq!(found.security, Security::Secure);
            answered += 1;
        }
    }
    assert!(answered > 90, "{answered}");
    let server: IpAddr = SIGNED.parse().unwrap();
    let packets = lab.net.take_packets();
    assert!(packets.iter().all(|p| p.host != server || p.edns));
}

// RFC 7873 section 5.3.
#[tokio::test(start_paused = true)]
async fn servers_with_trouble_with_cookies() {
    let refuses = Fault::RefusesCookies;
    check(refuses, "u.com.", false, "Uf1232m Ub1232m", "Ub1232m").await;
    check(refuses, "s.com.", true, "Uf1232m Ub1232m", "Ub1232m").await;
    let drops = Fault::DropsCookies;
    check(drops, "u.com.", true, "Uf1232m Ub512m", "Ub512m").await;
    check(drops, "s.com.", false, "Uf1232m Ub512m", "Ub512m").await;
    let bad = Fault::BadCookie;
    check(bad, "u.com.", false, "Uf1232m Uf1232m Tf1232m", "Tf1232m").await;
    let loses = Fault::LosesCookies { tcp: true };
    check(loses, "u.com.", true, "Uf1232m Tf1232m", "Uf1232m Tf1232m").await;
    let alone = Fault::LosesCookies { tcp: false };
    let first = "Uf1232m Tf1232m Ub1232m";
    check(alone, "u.com.", true, first, "Ub1232m").await;
}

#[tokio::test(start_paused = true)]
async fn servers_that_change_the_case_of_names() {
    let folds = Fault::FoldsCase { tcp: true };
    check(folds, "u.com.", false, "Uf1232m Tf1232m", "Uf1232").await;
    check(folds, "s.com.", false, "Uf1232m Tf1232m", "Uf1232").await;
    let alone = Fault::FoldsCase { tcp: false };
    let first = "Uf1232m Tf1232m Uf1232";
    check(alone, "u.com.", false, first, "Uf1232").await;
}

#[tokio::test(start_paused = true)]
async fn forgers_drive_questions_to_tcp() {
    let both = "Uf1232m Tf1232m";
    check(Fault::Forgers, "u.com.", false, both, both).await;
}

// RFC 9715 section 3.2.
#[tokio::test(start_paused = true)]
async fn large_answers_that_are_lost_on_the_way_are_had_over_tcp() {
    let first = "Uf1232m Ub512m Tb1232m";
    let later = "Ub512m Tb1232m";
    check(Fault::DropsLarge(600), "u.com. big", true, first, later).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_shows_in_the_status() {
    for (fault, expected) in [
        (Fault::NoEdns, vec!["no EDNS"]),
        (Fault::RefusesCookies, vec!["no cookies"]),
        (Fault::FoldsCase { tcp: true }, vec!["changes case"]),
        (Fault::UdpSilent, vec!["TCP"]),
        (Fault::None, vec![]),
    ] {
        let lab = Lab::new(internet());
        lab.net.set(UNSIGNED, fault);
        asked(&lab, "x.w.u.com.", UNSIGNED).await;
        let status = lab.resolver.servers_status();
        let server = status.iter().find(|s| s.server.to_string() == UNSIGNED);
        assert_eq!(server.unwrap().quirks, expected, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn servers_without_any_way_cost_a_bounded_number_of_packets() {
    for fault in [
        Fault::TruncatesAlways,
        Fault::Rubbish,
        Fault::Says(Rcode::BADCOOKIE),
        Fault::Says(Rcode::BADVERS),
        Fault::Says(Rcode::FORMERR),
        Fault::Silent,
    ] {
        let lab = Lab::new(internet());
        lab.net.set(UNSIGNED, fault);
        let found = lab.ask("x.w.u.com.", Rtype::A).await;
        assert_eq!(brief(&found), "SERVFAIL", "{fault:?}");
        tokio::time::sleep(Duration::from_secs(12)).await;
        let server: IpAddr = UNSIGNED.parse().unwrap();
        let packets = lab.net.take_packets();
        let own = packets.iter().filter(|p| p.host == server).count();
        assert!((1..=16).contains(&own), "{fault:?}: {own}");
    }
}

/// Everything has both families, but for a zone of each.
fn two_families() -> Internet {
    Builder::new(6)
        .zone(".")
        .server("a.root.", &["198.51.100.1", "2001:db8::1"])
        .zone("com.")
        .server("ns.com.", &["192.0.2.1", "2001:db8::2"])
        .zone("both.com.")
        .server("ns.both.com.", &["203.0.113.1", "2001:db8::3"])
        .record("www A 203.0.113.80")
        .zone("four.com.")
        .server("ns.four.com.", &["203.0.113.4"])
        .record("www A 203.0.113.80")
        .zone("six.com.")
        .server("ns.six.com.", &["2001:db8::6"])
        .record("www A 203.0.113.80")
        // Names in another zone, so that their addresses are looked up.
        .zone("far.com.")
        .server("ns.both.com.", &["203.0.113.1", "2001:db8::3"])
        .record("www A 203.0.113.80")
        .build()
}

#[tokio::test(start_paused = true)]
async fn one_address_family_is_enough() {
    for (ipv4, ipv6, works) in [
        (true, true, "both four six far"),
        (true, false, "both four far"),
        (false, true, "both six far"),
    ] {
        let lab = Lab::with(two_families(), |s| (s.ipv4, s.ipv6) = (ipv4, ipv6));
        for zone in ["both", "four", "six", "far"] {
            let name = format!("www.{zone}.com.");
            let found = lab.ask(&name, Rtype::A).await;
            let expected = match works.contains(zone) {
                true => format!("NOERROR {name} A 203.0.113.80"),
                false => "SERVFAIL".to_string(),
            };
            assert_eq!(brief(&found), expected, "{name} {ipv4} {ipv6}");
        }
        for packet in lab.net.take_packets() {
            assert!(if packet.host.is_ipv4() { ipv4 } else { ipv6 });
        }
    }
}

// A host without a way out for a family, which nobody told it.
#[tokio::test(start_paused = true)]
async fn a_family_without_a_way_out_costs_no_answers() {
    for dead in [
        "2001:db8::1 2001:db8::2 2001:db8::3",
        "198.51.100.1 192.0.2.1 203.0.113.1",
    ] {
        let lab = Lab::new(two_families());
        for host in dead.split(' ') {
            lab.net.set(host, Fault::Unreachable);
        }
        for zone in ["both", "far"] {
            let name = format!("www.{zone}.com.");
            let (found, took) = lab.timed(&name).await;
            assert_eq!(found.rcode, Rcode::NOERROR, "{name} without {dead}");
            assert!(took < Duration::from_millis(500), "{took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn special_addresses_are_not_asked() {
    let special = [
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "169.254.7.7",
        "::1",
        "::",
        "ff02::1",
        "fe80::1",
        "::ffff:127.0.0.1",
    ];
    let internet = || {
        Builder::new(7)
            .zone(".")
            .server("a.root.", &["198.51.100.1"])
            .zone("odd.")
            .server("ns.odd.", &special)
            .record("www A 203.0.113.80")
            .zone("good.")
            .server("ns.good.", &[&["203.0.113.1"], &special[..]].concat())
            .record("www A 203.0.113.80")
            .build()
    };
    let lab = Lab::new(internet());
    assert_eq!(brief(&lab.ask("www.odd.", Rtype::A).await), "SERVFAIL");
    let expected = "NOERROR www.good. A 203.0.113.80";
    assert_eq!(brief(&lab.ask("www.good.", Rtype::A).await), expected);
    let ordinary = |p: &Packet| !special.contains(&p.host.to_string().as_str());
    assert!(lab.net.take_packets().iter().all(ordinary));

    let open = Lab::with(internet(), |s| s.query_loopback = true);
    let expected = "NOERROR www.odd. A 203.0.113.80";
    assert_eq!(brief(&open.ask("www.odd.", Rtype::A).await), expected);
    assert!(!open.net.take_packets().iter().all(ordinary));
}
