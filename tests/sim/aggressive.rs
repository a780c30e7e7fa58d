//! Denials that answer for others (RFC 8198), and negative trust anchors, over the simulated internet.

use std::time::Duration;

use holdfast::config::NegativeTrustAnchor;
use holdfast::dns::{Rcode, Rtype};
use holdfast::resolve::forward::Forward;
use holdfast::resolve::{LocalTrust, Prefer, Resolution, Security};

use crate::build::{Builder, Internet, NEGATIVE_TTL_S};
use crate::lab::{Lab, brief};
use crate::net::Fault;
use crate::signer::{Denial, name};

const SECOND: Duration = Duration::from_secs(1);

fn internet(denial: Denial) -> Internet {
    Builder::new(5)
        .zone(".")
        .signed()
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .signed_with(|s| s.denial = denial.clone())
        .server("ns1.com.", &["192.0.2.1"])
        .zone("a.com.")
        .signed_with(|s| s.denial = denial.clone())
        .server("ns1.a.com.", &["203.0.113.1"])
        .record("www A 203.0.113.80")
        .record("*.wild A 203.0.113.83")
        .record("own.wild A 203.0.113.84")
        .record("*.pages CNAME www")
        .zone("plain.com.")
        .server("ns1.plain.com.", &["203.0.113.11"])
        .record("www A 203.0.113.90")
        .build()
}

/// How many packets a question costs, and what comes of it.
async fn cost(lab: &Lab, name: &str, rtype: Rtype) -> (usize, Resolution) {
    lab.net.take_packets();
    let resolution = lab.ask(name, rtype).await;
    (lab.net.packet_count(), resolution)
}

fn proofs(resolution: &Resolution) -> usize {
    let proof = |t| matches!(t, Rtype::NSEC | Rtype::NSEC3);
    let sets = resolution.authority.iter();
    let sets = sets.filter(|s| proof(s.rtype) && !s.sigs.is_empty());
    sets.count()
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_random_names_ends_at_the_first_few() {
    for denial in [Denial::Nsec, Denial::nsec3(false)] {
        let lab = Lab::new(internet(denial.clone()));
        lab.ask("www.a.com.", Rtype::A).await;
        lab.net.take_packets();
        for i in 0..300 {
            let resolution = lab.ask(&format!("x{i}y.a.com."), Rtype::A).await;
            assert_eq!(resolution.rcode, Rcode::NXDOMAIN, "{i}");
            assert_eq!(resolution.security, Security::Secure, "{i}");
            let soa = |s: &&holdfast::dns::RrSet| s.rtype == Rtype::SOA && !s.sigs.is_empty();
            assert_eq!(resolution.authority.iter().filter(soa).count(), 1, "{i}");
            assert!(proofs(&resolution) > 0, "{i}");
        }
        // One question per gap of the zone; each may need one for a minimised name before it.
        let packets = lab.net.packet_count();
        assert!(packets <= 24, "{packets}");
        assert!(lab.metrics.answers_aggressive_total.value() >= 276);
        assert!(lab.metrics.aggressive_entries.value() > 0);
        assert!(lab.metrics.aggressive_bytes.value() > 0);
        // The cache is not filled with what can be made.
        assert!(lab.resolver.cache_stats().entries < 40);
        // Until the zone's negative TTL is over, to the second.
        let (packets, _) = cost(&lab, "last.a.com.", Rtype::A).await;
        assert_eq!(packets, 0);
        tokio::time::sleep(u64::from(NEGATIVE_TTL_S) as u32 * SECOND).await;
        let (packets, resolution) = cost(&lab, "later.a.com.", Rtype::A).await;
        assert!(packets > 0);
        assert_eq!(resolution.rcode, Rcode::NXDOMAIN);
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_answer_is_made() {
    let lab = Lab::new(internet(Denial::Nsec));
    for (lesson, lesson_type) in [
        ("www.a.com.", Rtype::TXT),
        ("x.wild.a.com.", Rtype::A),
        ("x.wild.a.com.", Rtype::MX),
        ("x.pages.a.com.", Rtype::A),
        ("junk.", Rtype::A),
    ] {
        lab.ask(lesson, lesson_type).await;
    }
    for (asked, rtype, expected, denials) in [
        ("www.a.com.", Rtype::AAAA, "NOERROR", 1),
        (
            "y.wild.a.com.",
            Rtype::A,
            "NOERROR y.wild.a.com. A 203.0.113.83",
            1,
        ),
        ("y.wild.a.com.", Rtype::TXT, "NOERROR", 2),
        (
            "y.pages.a.com.",
            Rtype::AAAA,
            "NOERROR y.pages.a.com. CNAME www.a.com.",
            2,
        ),
        ("other.junk.", Rtype::MX, "NXDOMAIN", 1),
    ] {
        let (packets, resolution) = cost(&lab, asked, rtype).await;
        assert_eq!(brief(&resolution), expected, "{asked} {rtype}");
        assert_eq!(resolution.security, Security::Secure, "{asked} {rtype}");
        assert!(
            proofs(&resolution) >= denials,
            "{asked} {rtype} {resolution:#?}"
        );
        assert_eq!(packets, 0, "{asked} {rtype}");
    }
    // A closer name is not hidden by its wildcard, nor an unsigned zone by its parent.
    for (asked, expected) in [
        ("own.wild.a.com.", "NOERROR own.wild.a.com. A 203.0.113.84"),
        ("www.plain.com.", "NOERROR www.plain.com. A 203.0.113.90"),
    ] {
        lab.ask(&format!("z{asked}"), Rtype::A).await;
        lab.check(asked, Rtype::A, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn opt_out_spans_and_unsigned_zones_are_asked_each_time() {
    let lab = Lab::new(internet(Denial::nsec3(true)));
    for zone in ["com.", "plain.com."] {
        for i in 0..10 {
            let (packets, resolution) = cost(&lab, &format!("n{i}.{zone}"), Rtype::A).await;
            assert_eq!(resolution.rcode, Rcode::NXDOMAIN, "{zone}");
            assert_eq!(resolution.security, Security::Insecure, "{zone}");
            assert!(packets > 0, "{zone} {i}");
        }
    }
}

// The root denies what is held here as a copy; the copy knows better.
#[tokio::test(start_paused = true)]
async fn a_zone_held_here_is_not_denied_by_the_zones_above() {
    let private = Builder::new(6)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone("lab.")
        .server("ns.lab.", &["203.0.113.99"])
        .record("www A 10.0.0.1")
        .build();
    for prefer in [Prefer::Now, Prefer::LastResort] {
        let lab = Lab::new(internet(Denial::Nsec));
        lab.ask("lac.", Rtype::A).await;
        let (packets, gone) = cost(&lab, "www.lab.", Rtype::A).await;
        assert_eq!((packets, gone.rcode), (0, Rcode::NXDOMAIN));
        let lab = Lab::new(internet(Denial::Nsec));
        lab.ask("lac.", Rtype::A).await;
        let image = private.image("lab.");
        lab.copies.hold(image, prefer, LocalTrust::Insecure);
        if prefer == Prefer::Now {
            let found = "NOERROR www.lab. A 10.0.0.1";
            lab.check("www.lab.", Rtype::A, found).await;
        } else {
            // Whatever comes of it, it is not the word of the zone above alone.
            lab.ask("www.lab.", Rtype::A).await;
            assert_eq!(lab.metrics.answers_aggressive_total.value(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn flushes_and_the_end_of_an_outage_forget_denials() {
    for (what, at) in [("flush", "a.com."), ("recovery", "."), ("nothing", "")] {
        let lab = Lab::new(internet(Denial::Nsec));
        lab.ask("none.a.com.", Rtype::A).await;
        match what {
            "flush" => {
                lab.resolver.flush(&name(at), true);
            }
            "recovery" => lab.resolver.note_recovered(&name(at)),
            _ => {}
        }
        let (packets, _) = cost(&lab, "nonf.a.com.", Rtype::A).await;
        assert_eq!(packets > 0, what != "nothing", "{what}");
    }
}

// RFC 7646: a zone with bad signatures resolves until its negative trust anchor ends, and not a second longer.
#[tokio::test(start_paused = true)]
async fn a_negative_trust_anchor_ends_by_the_clock() {
    let lab = Lab::new(internet(Denial::Nsec));
    lab.net.set("a.com.", Fault::Bogus);
    let anchor = |until_s| NegativeTrustAnchor {
        name: name("a.com."),
        until_s,
    };
    assert_eq!(lab.ask("www.a.com.", Rtype::A).await.rcode, Rcode::SERVFAIL);
    // The failure before it is forgotten.
    let until_s = lab.clock.now().wall_s + 60;
    let changed = lab
        .resolver
        .set_negative_trust_anchors(&[anchor(Some(until_s))]);
    assert_eq!(changed, [name("a.com.")]);
    let found = lab.ask("www.a.com.", Rtype::A).await;
    assert_eq!(found.security, Security::Insecure);
    assert_eq!(found.rcode, Rcode::NOERROR);
    assert!(found.answer[0].ttl <= 60, "{}", found.answer[0].ttl);
    while lab.clock.now().wall_s < until_s {
        let found = lab.ask("www.a.com.", Rtype::A).await;
        assert_eq!(found.rcode, Rcode::NOERROR);
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(lab.ask("www.a.com.", Rtype::A).await.rcode, Rcode::SERVFAIL);
    // One without an end, and its end: cached answers do not outlive it.
    lab.resolver.set_negative_trust_anchors(&[anchor(None)]);
    assert_eq!(lab.ask("www.a.com.", Rtype::A).await.rcode, Rcode::NOERROR);
    lab.resolver.set_negative_trust_anchors(&[]);
    assert_eq!(lab.ask("www.a.com.", Rtype::A).await.rcode, Rcode::SERVFAIL);
}

// What is forwarded is asked there, whatever the zones above deny; where all is forwarded their denials came that way.
#[tokio::test(start_paused = true)]
async fn a_forwarded_zone_is_not_denied_by_the_zones_above() {
    let forward = |zone: &str| Forward {
        zone: name(zone),
        servers: vec!["192.0.2.201:53".parse().unwrap()],
        first: false,
        tls: false,
        is_stub: false,
    };
    for (zone, made) in [("lab.", 0), ("www.lab.", 0), ("other.", 1), (".", 1)] {
        let internet = internet(Denial::Nsec);
        for image in internet.images.values() {
            internet
                .net
                .serve("192.0.2.201", image.clone(), &["resolvers"]);
        }
        internet.net.make_recursive("192.0.2.201");
        let lab = Lab::with(internet, |s| {
            s.forwards = [forward(zone)].into_iter().collect()
        });
        lab.ask("lac.", Rtype::A).await;
        let (packets, _) = cost(&lab, "www.lab.", Rtype::A).await;
        let found = lab.metrics.answers_aggressive_total.value();
        assert_eq!((found, packets > 0), (made, made == 0), "{zone}");
    }
}
