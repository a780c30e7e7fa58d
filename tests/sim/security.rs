//! Validation over the simulated internet.

use holdfast::dns::{Ede, Rcode, Rtype};
use holdfast::resolve::task::Options;
use holdfast::resolve::{LocalTrust, Outcome, Prefer, Security};

use crate::build::{Builder, Internet};
use crate::lab::{Lab, brief, codes};
use crate::net::Fault;
use crate::signer::Denial;

fn signed() -> Internet {
    signed_with(true)
}

fn signed_with(opt_out: bool) -> Internet {
    Builder::new(3)
        .zone(".")
        .signed()
        .server("a.root.", &["198.51.100.1"])
        .server("b.root.", &["198.51.100.2"])
        .zone("com.")
        .signed_with(move |s| s.denial = Denial::nsec3(opt_out))
        .server("ns1.com.", &["192.0.2.1"])
        .server("ns2.com.", &["192.0.2.2"])
        .zone("a.com.")
        .signed()
        .server("ns1.a.com.", &["203.0.113.1"])
        .server("ns2.a.com.", &["203.0.113.2"])
        .record("www A 203.0.113.80")
        .record("alias CNAME www")
        .record("away CNAME www.plain.com.")
        .record("*.wild A 203.0.113.83")
        .record("deep.er.name A 203.0.113.81")
        .zone("plain.com.")
        .server("ns1.plain.com.", &["203.0.113.11"])
        .record("www A 203.0.113.90")
        .build()
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_answer_has_its_standing() {
    let lab = Lab::new(signed());
    for (name, rtype, expected, security) in [
        (
            "www.a.com.",
            Rtype::A,
            "NOERROR www.a.com. A 203.0.113.80",
            Security::Secure,
        ),
        ("www.a.com.", Rtype::AAAA, "NOERROR", Security::Secure),
        ("none.a.com.", Rtype::A, "NXDOMAIN", Security::Secure),
        ("no.ne.a.com.", Rtype::A, "NXDOMAIN", Security::Secure),
        ("none.", Rtype::A, "NXDOMAIN", Security::Secure),
        ("www.none.", Rtype::A, "NXDOMAIN", Security::Secure),
        ("er.name.a.com.", Rtype::A, "NOERROR", Security::Secure),
        (
            "x.wild.a.com.",
            Rtype::A,
            "NOERROR x.wild.a.com. A 203.0.113.83",
            Security::Secure,
        ),
        ("x.wild.a.com.", Rtype::MX, "NOERROR", Security::Secure),
        (
            "alias.a.com.",
            Rtype::A,
            "NOERROR alias.a.com. CNAME www.a.com.; www.a.com. A 203.0.113.80",
            Security::Secure,
        ),
        (
            "www.plain.com.",
            Rtype::A,
            "NOERROR www.plain.com. A 203.0.113.90",
            Security::Insecure,
        ),
        ("none.plain.com.", Rtype::A, "NXDOMAIN", Security::Insecure),
        (
            "away.a.com.",
            Rtype::A,
            "NOERROR away.a.com. CNAME www.plain.com.; www.plain.com. A 203.0.113.90",
            Security::Insecure,
        ),
        (
            "com.",
            Rtype::NS,
            "NOERROR com. NS ns1.com.; com. NS ns2.com.",
            Security::Secure,
        ),
        ("plain.com.", Rtype::DS, "NOERROR", Security::Insecure),
    ] {
        let resolution = lab.check(name, rtype, expected).await;
        assert_eq!(
            resolution.security, security,
            "{name} {rtype} {resolution:#?}"
        );
        // And once more from the cache.
        let again = lab.check(name, rtype, expected).await;
        assert_eq!(again.security, security, "{name} {rtype}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_chain_costs_few_packets() {
    let lab = Lab::new(signed());
    lab.ask("www.a.com.", Rtype::A).await;
    // Three referrals and answers, three DNSKEY sets; the DS sets came with the referrals.
    assert!(lab.net.packet_count() <= 7, "{:#?}", lab.net.take_packets());
    lab.net.take_packets();
    lab.ask("x.wild.a.com.", Rtype::A).await;
    assert!(lab.net.packet_count() <= 2);
}

#[tokio::test(start_paused = true)]
async fn bad_data_is_never_served() {
    for (fault, code) in [
        (Fault::Bogus, Ede::BOGUS),
        (Fault::Stripped, Ede::RRSIGS_MISSING),
        (Fault::Hijack([10, 0, 0, 1].into()), Ede::DNSKEY_MISSING),
    ] {
        let lab = Lab::new(signed());
        lab.net.set("a.com.", fault);
        let resolution = lab.ask("www.a.com.", Rtype::A).await;
        assert_eq!(brief(&resolution), "SERVFAIL", "{fault:?}");
        assert!(
            matches!(resolution.security, Security::Bogus(_)),
            "{resolution:?}"
        );
        assert!(
            lab.net.packet_count() < 40,
            "{fault:?} {}",
            lab.net.packet_count()
        );
        assert_eq!(codes(&resolution), [code], "{fault:?}");
        let seen = lab.notes.take();
        assert!(
            seen.iter().any(|o| o.outcome == Outcome::Bogus),
            "{fault:?} {seen:#?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn checking_disabled_takes_bad_data() {
    let lab = Lab::new(signed());
    lab.net.set("a.com.", Fault::Bogus);
    let question = holdfast::dns::Question::new("www.a.com.".parse().unwrap(), Rtype::A);
    let options = Options {
        checking_disabled: true,
        ..Options::default()
    };
    let resolution = lab.resolver.resolve(question, options).await;
    assert_eq!(brief(&resolution), "NOERROR www.a.com. A 203.0.113.80");
    assert!(matches!(resolution.security, Security::Bogus(_)));
    // It is not kept for others.
    assert_eq!(lab.ask("www.a.com.", Rtype::A).await.rcode, Rcode::SERVFAIL);
}

// It is found out once, not by every question.
#[tokio::test(start_paused = true)]
async fn a_server_whose_data_is_bad_is_asked_after_the_others() {
    for seed in 0..8 {
        let mut builder = Builder::new(3)
            .zone(".")
            .signed()
            .server("a.root.", &["198.51.100.1"])
            .zone("com.")
            .signed()
            .server("ns1.com.", &["192.0.2.1"])
            .zone("a.com.")
            .signed()
            .server("ns1.a.com.", &["203.0.113.1"])
            .server("ns2.a.com.", &["203.0.113.2"]);
        for i in 0..20 {
            builder = builder.record(&format!("h{i} A 203.0.113.80"));
        }
        let lab = Lab::with(builder.build(), |s| s.seed = seed);
        lab.net.set("203.0.113.1", Fault::Bogus);
        for i in 0..20 {
            let resolution = lab.ask(&format!("h{i}.a.com."), Rtype::A).await;
            assert_eq!(resolution.security, Security::Secure, "{seed}");
        }
        let packets = lab.net.take_packets();
        let bad = packets
            .iter()
            .filter(|p| p.host.to_string() == "203.0.113.1");
        assert!(bad.count() <= 4, "{seed}: {packets:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_server_among_good_ones_is_left() {
    for fault in [
        Fault::Bogus,
        Fault::Stripped,
        Fault::Hijack([10, 0, 0, 1].into()),
    ] {
        for server in ["203.0.113.1", "192.0.2.1", "198.51.100.1"] {
            let lab = Lab::new(signed());
            lab.net.set(server, fault);
            for i in 0..20 {
                let name = format!("x{i}.wild.a.com.");
                let resolution = lab.ask(&name, Rtype::A).await;
                assert_eq!(
                    resolution.rcode,
                    Rcode::NOERROR,
                    "{fault:?} at {server} {resolution:?}"
                );
                assert_eq!(resolution.security, Security::Secure);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_copy_steps_in_for_a_zone_with_bad_signatures() {
    for zone in [".", "com."] {
        for fault in [
            Fault::Bogus,
            Fault::Stripped,
            Fault::Hijack([10, 0, 0, 1].into()),
        ] {
            // In an opt-out span a forged child cannot be told from an unsigned one (RFC 5155 section 12).
            let lab = Lab::new(signed_with(false));
            let image = lab.internet.image(zone);
            lab.copies.hold(image, Prefer::Hedge, LocalTrust::Secure);
            lab.net.set(zone, fault);
            for (name, rtype, expected) in [
                ("www.a.com.", Rtype::A, "NOERROR www.a.com. A 203.0.113.80"),
                ("none.com.", Rtype::A, "NXDOMAIN"),
                (
                    "www.plain.com.",
                    Rtype::A,
                    "NOERROR www.plain.com. A 203.0.113.90",
                ),
            ] {
                let resolution = lab.check(name, rtype, expected).await;
                assert!(!matches!(resolution.security, Security::Bogus(_)));
            }
        }
    }
}

// Reachability needs validated answers, even of zones that clients only pass through.
#[tokio::test(start_paused = true)]
async fn referrals_of_mirrored_zones_are_proof_of_life() {
    let lab = Lab::new(signed());
    let image = lab.internet.image(".");
    lab.copies.hold(image, Prefer::Hedge, LocalTrust::Secure);
    for round in 0..3 {
        lab.notes.take();
        lab.ask("www.a.com.", Rtype::A).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let seen = lab.notes.take();
        let proof = seen
            .iter()
            .filter(|o| o.outcome == Outcome::Validated && o.zone.is_root());
        assert!(proof.count() >= 1, "{round}: {seen:#?}");
        // Delegations run out, keys stay known.
        tokio::time::sleep(std::time::Duration::from_secs(4000)).await;
    }
}

// RFC 2308 section 3: a denial has its SOA, also the denial of a DS that came along with a referral.
#[tokio::test(start_paused = true)]
async fn a_denied_ds_is_told_with_its_soa() {
    let lab = Lab::new(signed_with(false));
    let found = lab.ask("www.plain.com.", Rtype::A).await;
    assert_eq!(found.rcode, Rcode::NOERROR);
    let denied = lab.ask("plain.com.", Rtype::DS).await;
    assert_eq!(
        (denied.rcode, &denied.security),
        (Rcode::NOERROR, &Security::Secure)
    );
    assert!(
        denied.authority.iter().any(|s| s.rtype == Rtype::SOA),
        "{denied:?}"
    );
}

// Whoever lied is asked again only when nobody else can be found, by name if need be.
#[tokio::test(start_paused = true)]
async fn a_liar_does_not_hide_servers_without_glue() {
    let internet = Builder::new(4)
        .zone(".")
        .signed()
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .signed()
        .server("ns.com.", &["192.0.2.1"])
        .zone("net.")
        .server("ns.net.", &["192.0.2.11"])
        .zone("a.com.")
        .signed()
        .server("ns.a.com.", &["203.0.113.1"])
        .server("host.net.", &["203.0.113.2"])
        .record("www A 203.0.113.80")
        .build();
    let lab = Lab::new(internet);
    lab.net.set("203.0.113.1", Fault::Stripped);
    let found = lab.ask("www.a.com.", Rtype::A).await;
    assert_eq!(brief(&found), "NOERROR www.a.com. A 203.0.113.80");
    assert_eq!(found.security, Security::Secure);
    // When the liar is all there is, it is asked again: it may have changed its mind.
    lab.net.set("203.0.113.2", Fault::Silent);
    lab.net.take_packets();
    assert_eq!(lab.ask("new.a.com.", Rtype::A).await.rcode, Rcode::SERVFAIL);
    let packets = lab.net.take_packets();
    let to_liar = packets
        .iter()
        .filter(|p| p.host.to_string() == "203.0.113.1");
    assert!(to_liar.count() > 1, "{packets:?}");
}
