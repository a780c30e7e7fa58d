//! Local copies in the place of servers that are late, dead or wrong.

use std::time::Duration;

use holdfast::dns::{Ede, Question, Rcode, Rtype};
use holdfast::resolve::task::Options;
use holdfast::resolve::{LocalTrust, Outcome, Prefer, Security};

use crate::build::Builder;
use crate::lab::{Lab, brief, codes};
use crate::net::Fault;

const MS: Duration = Duration::from_millis(1);
const WWW: &str = "NOERROR www.a.com. A 203.0.113.80";

/// Two roots, one TLD, one zone; short TTLs above the zone.
fn lab() -> Lab {
    let internet = Builder::new(2)
        .zone(".")
        .ttl(60)
        .server("a.root.", &["198.51.100.1"])
        .server("b.root.", &["198.51.100.2"])
        .zone("com.")
        .ttl(60)
        .server("ns1.com.", &["192.0.2.1"])
        .server("ns2.com.", &["192.0.2.2"])
        .zone("a.com.")
        .ttl(30)
        .server("ns1.a.com.", &["203.0.113.1"])
        .record("www A 203.0.113.80")
        .record("*.wild A 203.0.113.83")
        .zone("org.")
        .ttl(60)
        .server("ns.org.", &["192.0.2.11"])
        .record("www A 203.0.113.99")
        .build();
    Lab::new(internet)
}

fn hold(lab: &Lab, zone: &str, prefer: Prefer) {
    (lab.copies).hold(lab.internet.image(zone), prefer, LocalTrust::Insecure);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_preferred_costs_no_packet() {
    let lab = lab();
    hold(&lab, ".", Prefer::Now);
    hold(&lab, "com.", Prefer::Now);
    let resolution = lab.check("www.a.com.", Rtype::A, WWW).await;
    assert_eq!(lab.net.packet_count(), 1);
    assert_eq!(resolution.sources.packets, 1);
    assert_eq!(resolution.sources.mirrors[0].zone.to_string(), "com.");
    lab.check("none.", Rtype::A, "NXDOMAIN").await;
    lab.check("com.", Rtype::DS, "NOERROR").await;
    assert_eq!(lab.net.packet_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_healthy_upstream_is_asked_and_the_copy_is_not() {
    let lab = lab();
    hold(&lab, ".", Prefer::Hedge);
    for i in 0..300 {
        let (resolution, took) = lab.timed(&format!("x{i}.wild.a.com.")).await;
        assert_eq!(resolution.rcode, Rcode::NOERROR);
        assert!(resolution.sources.mirrors.is_empty());
        assert!(took < 60 * MS, "{took:?}");
        tokio::time::advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_moment_of_a_cut_loses_nothing_and_one_delay_is_paid() {
    for warm in [true, false] {
        for fault in [
            Fault::Silent,
            Fault::Unreachable,
            Fault::ServFail,
            Fault::Refused,
            Fault::Lame,
        ] {
            let lab = lab();
            hold(&lab, ".", Prefer::Hedge);
            hold(&lab, "com.", Prefer::Hedge);
            if warm {
                lab.check("www.a.com.", Rtype::A, WWW).await;
                // Every TTL runs out.
                tokio::time::advance(Duration::from_secs(120)).await;
            }
            lab.net.set(".", fault);
            lab.net.set("com.", fault);
            let (resolution, took) = lab.timed("www.a.com.").await;
            assert_eq!(brief(&resolution), WWW, "{fault:?}");
            // The hedge delay, and the zone's own server.
            let limit = if warm { 80 * MS } else { 450 * MS };
            assert!(took < limit, "{fault:?} warm {warm}: {took:?}");
            assert!(!resolution.sources.mirrors.is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_hedged_once_does_not_wait_again() {
    let lab = lab();
    hold(&lab, ".", Prefer::Hedge);
    lab.net.set(".", Fault::Silent);
    // The TLD's server is the second step with a copy; its delay is not paid.
    hold(&lab, "com.", Prefer::Hedge);
    hold(&lab, "org.", Prefer::Hedge);
    lab.net.set("com.", Fault::Silent);
    lab.net.set("org.", Fault::Silent);
    let (resolution, took) = lab.timed("www.org.").await;
    assert_eq!(brief(&resolution), "NOERROR www.org. A 203.0.113.99");
    assert!(took <= 401 * MS, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn exchanges_that_nobody_waits_for_are_still_reported() {
    let lab = lab();
    hold(&lab, ".", Prefer::Hedge);
    lab.net.set(".", Fault::Silent);
    lab.timed("none.").await;
    tokio::time::advance(Duration::from_secs(3)).await;
    // Gives the exchanges their turn.
    tokio::time::sleep(MS).await;
    let seen = lab.notes.take();
    assert!(
        seen.iter()
            .any(|o| o.outcome == Outcome::TimedOut && o.zone.is_root()),
        "{seen:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_resort_is_asked_last() {
    let lab = lab();
    hold(&lab, ".", Prefer::LastResort);
    lab.check("none.", Rtype::A, "NXDOMAIN").await;
    assert!(lab.net.packet_count() > 0);
    lab.net.set(".", Fault::Silent);
    let (resolution, took) = lab.timed("none2.").await;
    assert_eq!(brief(&resolution), "NXDOMAIN");
    assert!(
        took > 1000 * MS && took < Duration::from_secs(9),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_rests_on_as_of_data_is_short_lived_and_purged_at_recovery() {
    let lab = lab();
    let image = lab.internet.image(".");
    lab.copies.hold(image, Prefer::Now, LocalTrust::SecureAsOf);
    lab.check("www.a.com.", Rtype::A, WWW).await;
    lab.net.take_packets();
    lab.resolver.flush(&"www.a.com.".parse().unwrap(), true);
    // The delegation of com. is gone after recovery, so the root is asked.
    lab.copies.prefer(".", Prefer::Hedge);
    lab.resolver.note_recovered(&".".parse().unwrap());
    lab.check("www.org.", Rtype::A, "NOERROR www.org. A 203.0.113.99")
        .await;
    lab.check("none.com.", Rtype::A, "NXDOMAIN").await;
    let asked_root = lab
        .net
        .take_packets()
        .iter()
        .filter(|p| p.host.to_string().starts_with("198"))
        .count();
    assert_eq!(asked_root, 2);
}

// A referral out of as-of data is not used for longer than 30 s, though its TTL is 60 s.
#[tokio::test(start_paused = true)]
async fn delegations_out_of_as_of_data_are_short_lived() {
    let lab = lab();
    let image = lab.internet.image(".");
    lab.copies.hold(image, Prefer::Now, LocalTrust::SecureAsOf);
    for (wait_s, steps_of_the_copy) in [(0, 1), (29, 0), (2, 1)] {
        tokio::time::advance(Duration::from_secs(wait_s)).await;
        let resolution = lab.ask(&format!("none{wait_s}.com."), Rtype::A).await;
        assert_eq!(resolution.rcode, Rcode::NXDOMAIN);
        let steps = resolution.sources.mirrors.len();
        assert_eq!(steps, steps_of_the_copy, "after {wait_s} s more");
    }
}

#[tokio::test(start_paused = true)]
async fn exploration_asks_upstream_and_waits_no_longer_than_a_hedge() {
    let lab = lab();
    hold(&lab, ".", Prefer::Now);
    lab.net.set(".", Fault::Silent);
    lab.copies.explore_once();
    let (resolution, took) = lab.timed("none.").await;
    assert_eq!(brief(&resolution), "NXDOMAIN");
    assert!(lab.net.packet_count() > 0 && took <= 400 * MS, "{took:?}");
    // The way back is open.
    lab.net.heal();
    lab.copies.explore_once();
    let resolution = lab.ask("none2.", Rtype::A).await;
    assert!(resolution.sources.mirrors.is_empty());
    let resolution = lab.ask("none3.", Rtype::A).await;
    assert_eq!(resolution.sources.packets, 0);
}

#[tokio::test(start_paused = true)]
async fn without_recursion_a_copy_refers_with_glue_and_says_how_old_it_is() {
    for (trust, told) in [
        (LocalTrust::Secure, vec![]),
        (
            LocalTrust::SecureAsOf,
            vec![Ede::STALE_ANSWER, Ede::SIGNATURE_EXPIRED],
        ),
    ] {
        let lab = lab();
        lab.copies.hold(lab.internet.image("."), Prefer::Now, trust);
        let question = Question::new("www.a.com.".parse().unwrap(), Rtype::A);
        let options = Options {
            recursion: false,
            ..Options::default()
        };
        let referral = lab.resolver.resolve(question, options).await;
        assert_eq!(lab.net.packet_count(), 0);
        assert!(referral.answer.is_empty() && referral.security != Security::Secure);
        let ns = &referral.authority[0];
        assert_eq!((ns.name.to_string(), ns.rtype), ("com.".into(), Rtype::NS));
        assert_eq!(referral.additional.len(), 2);
        assert_eq!(codes(&referral), told);
        assert_eq!(ns.ttl, if told.is_empty() { 60 } else { 30 });
    }
}
