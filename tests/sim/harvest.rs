//! Retained delegations: parents gone, children alive.

use std::sync::Arc;
use std::time::Duration;

use holdfast::dns::{Ede, Rcode, Rtype};
use holdfast::resolve::{Resolution, Security};

use crate::build::{Builder, Internet};
use crate::lab::{Lab, brief, codes};
use crate::net::Fault;
use crate::outage::Site;
use crate::signer::{EXPIRATION, KSK, Key, ZSK};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// TTL of everything, seconds: it runs out inside each outage.
const TTL: u32 = 40;
/// Everything above the zones that stand in the country.
const ABROAD: [&str; 3] = [".", "com.", "net."];

/// How a test's internet differs.
#[derive(Clone, Copy, Default)]
struct Form {
    /// `ghost.com.` is not delegated any more.
    deleted: bool,
    /// Generations of the keys of `a.com.`: key signing, zone signing.
    keys: (u64, u64),
    /// When the signatures of `a.com.` run out, if later than usual.
    child_signs_until: Option<u32>,
    /// When those of the zones above do.
    parents_sign_until: Option<u32>,
    /// `a.com.` has moved to another address.
    moved: bool,
}

fn build(form: Form) -> Builder {
    let until = |end: Option<u32>| {
        move |s: &mut crate::signer::Signer| {
            if let Some(end) = end {
                s.inception = end - 14 * 86_400;
                s.expiration = end;
            }
        }
    };
    let parents = until(form.parents_sign_until);
    let address = if form.moved {
        "203.0.113.9"
    } else {
        "203.0.113.1"
    };
    let ghost = |b: Builder| if form.deleted { b.undelegated() } else { b };
    let b = Builder::new(5)
        .zone(".")
        .ttl(TTL)
        .signed_with(parents)
        .server("a.root.", &["198.51.100.1"])
        .server("b.root.", &["198.51.100.2"])
        .zone("com.")
        .ttl(TTL)
        .signed_with(parents)
        .server("ns1.com.", &["192.0.2.1"])
        .server("ns2.com.", &["192.0.2.2"])
        .zone("net.")
        .ttl(TTL)
        .signed_with(parents)
        .server("ns1.net.", &["192.0.2.21"])
        .zone("host.net.")
        .ttl(TTL)
        .server("ns.host.net.", &["192.0.2.31"])
        .record("ns.inland A 203.0.113.4")
        .zone("a.com.")
        .ttl(TTL)
        .signed_with(|s| {
            until(form.child_signs_until)(s);
            s.keys = vec![
                Key::ed25519(70 + form.keys.0, KSK),
                Key::ed25519(80 + form.keys.1, ZSK),
            ];
        })
        .server("ns.a.com.", &[address])
        .record("www A 203.0.113.80")
        .record("*.w A 203.0.113.82")
        .zone("s.a.com.")
        .ttl(TTL)
        .signed_with(until(form.child_signs_until))
        .server("ns.s.a.com.", &["203.0.113.2"])
        .record("www A 203.0.113.81")
        .zone("plain.com.")
        .ttl(TTL)
        .server("ns.plain.com.", &["203.0.113.3"])
        .record("*.w A 203.0.113.83")
        // Stands in the country, and is named abroad.
        .zone("inland.com.")
        .ttl(TTL)
        .server("ns.inland.host.net.", &["203.0.113.4"])
        .record("*.w A 203.0.113.84")
        .zone("ghost.com.")
        .ttl(TTL);
    ghost(b)
        .server("ns.ghost.com.", &["203.0.113.66"])
        .record("*.w A 203.0.113.86")
}

fn lab_with(change: impl FnOnce(&mut holdfast::resolve::settings::Settings)) -> Lab {
    Lab::with(build(Form::default()).build(), change)
}

/// A resolver that has asked for everything once, `TTL` ago; what is above is gone now.
async fn cut_off() -> Lab {
    // What has run out would be answered before a parent is known to be gone.
    let lab = lab_with(|s| s.stale.enabled = false);
    everywhere(&lab, 0).await;
    silence(&lab);
    lab
}

fn silence(lab: &Lab) {
    ABROAD
        .iter()
        .for_each(|zone| lab.net.set(zone, Fault::Silent));
    lab.net.set("host.net.", Fault::Silent);
}

/// The internet takes another form. Servers that a zone no longer has keep the old one.
fn change(lab: &Lab, form: Form) {
    let Internet { images, .. } = build(form).build();
    let serve = |address: &str, zone: &str| {
        lab.net
            .serve(address, images[&zone.parse().unwrap()].clone(), &[zone]);
    };
    serve("198.51.100.1", ".");
    serve("198.51.100.2", ".");
    serve("192.0.2.1", "com.");
    serve("192.0.2.2", "com.");
    serve("192.0.2.21", "net.");
    serve("203.0.113.2", "s.a.com.");
    serve(
        if form.moved {
            "203.0.113.9"
        } else {
            "203.0.113.1"
        },
        "a.com.",
    );
}

/// Every zone in the country, by names that were not asked before; each must be right.
async fn everywhere(lab: &Lab, n: u64) -> Vec<(Resolution, Duration)> {
    let mut out = Vec::new();
    for (asked, address, secure) in [
        ("www.a.com.".to_string(), "203.0.113.80", true),
        (format!("x{n}.w.a.com."), "203.0.113.82", true),
        ("www.s.a.com.".to_string(), "203.0.113.81", true),
        (format!("x{n}.w.plain.com."), "203.0.113.83", false),
        (format!("x{n}.w.inland.com."), "203.0.113.84", false),
    ] {
        let (found, took) = lab.timed(&asked).await;
        let expected = format!("NOERROR {asked} A {address}");
        assert_eq!(brief(&found), expected, "{n}: {:?}", found.errors);
        assert_eq!(
            found.security == Security::Secure,
            secure,
            "{n}: {asked}: {found:?}"
        );
        out.push((found, took));
    }
    out
}

/// The addresses of the parent's servers are not known when its step begins: they are looked up in vain, or kept from before.
#[tokio::test(start_paused = true)]
async fn children_are_found_while_a_parent_with_servers_named_elsewhere_is_gone() {
    let internet = Builder::new(5)
        .zone(".")
        .ttl(TTL)
        .server("a.root.", &["198.51.100.1"])
        .zone("net.")
        .ttl(TTL)
        .server("ns1.net.", &["192.0.2.21"])
        .zone("host.net.")
        .ttl(TTL)
        .server("ns.host.net.", &["192.0.2.31"])
        .record("com A 192.0.2.1")
        .zone("com.")
        .ttl(TTL)
        .server("com.host.net.", &["192.0.2.1"])
        .zone("a.com.")
        .ttl(TTL)
        .server("ns.a.com.", &["203.0.113.1"])
        .record("*.w A 203.0.113.82")
        .build();
    let lab = Lab::with(internet, |s| s.stale.enabled = false);
    lab.check(
        "x0.w.a.com.",
        Rtype::A,
        "NOERROR x0.w.a.com. A 203.0.113.82",
    )
    .await;
    // That it takes a while to find them is no silence of theirs.
    tokio::time::sleep(Duration::from_secs(2 * u64::from(TTL))).await;
    lab.net.set("host.net.", Fault::Slow(700 * MS));
    let expected = "NOERROR x1.w.a.com. A 203.0.113.82";
    let found = lab.check("x1.w.a.com.", Rtype::A, expected).await;
    assert!(found.errors.is_empty(), "{:?}", found.errors);
    assert!(lab.resolver.gone().is_empty());
    silence(&lab);
    for n in 2..6 {
        // What was found out about the servers is forgotten by then.
        tokio::time::sleep(Duration::from_secs(2 * u64::from(TTL))).await;
        let asked = format!("x{n}.w.a.com.");
        let expected = format!("NOERROR {asked} A 203.0.113.82");
        let found = lab.check(&asked, Rtype::A, &expected).await;
        let told = |e: &Ede| e.text.contains("retained delegation of a.com.");
        assert!(found.errors.iter().any(told), "{n}: {:?}", found.errors);
    }
}

#[tokio::test(start_paused = true)]
async fn children_are_found_while_every_parent_is_gone() {
    let lab = cut_off().await;
    tokio::time::sleep(Duration::from_secs(2 * u64::from(TTL))).await;
    for n in 1..60 {
        for (found, took) in everywhere(&lab, n).await {
            // The first ones find out; a client waits for 4.5 s.
            let most = if n == 1 { 4500 * MS } else { 700 * MS };
            assert!(took < most, "{n}: {took:?}: {found:?}");
            // What is made of validated wildcards (RFC 8198) was found through nothing.
            let made = found.security == Security::Secure && found.errors.is_empty();
            let told = (made && n > 1)
                || found
                    .errors
                    .iter()
                    .any(|e| e.text.contains("retained delegation of"));
            assert!(told, "{n}: {:?}", found.errors);
        }
        tokio::time::sleep(7 * SECOND).await;
    }
    // One question in a second looks whether a parent is back, and not more.
    lab.net.take_packets();
    for n in 60..90 {
        everywhere(&lab, n).await;
        tokio::time::sleep(SECOND).await;
    }
    let to = |start: &str| {
        let packets = lab.net.take_packets();
        packets
            .iter()
            .filter(|p| p.host.to_string().starts_with(start))
            .count()
    };
    let packets = to("198.51.100.");
    assert!(packets < 150, "{packets} packets to dead roots in 30 s");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_denied_without_the_parent() {
    let lab = cut_off().await;
    tokio::time::sleep(400 * SECOND).await;
    let (found, _) = lab.timed("www.unknown.com.").await;
    assert_eq!(found.rcode, Rcode::SERVFAIL);
    assert_eq!(codes(&found)[0], Ede::NO_REACHABLE_AUTHORITY, "{found:?}");
    // The child may deny what is its own.
    let found = lab.ask("none.a.com.", Rtype::A).await;
    assert_eq!(
        (found.rcode, found.security),
        (Rcode::NXDOMAIN, Security::Secure)
    );
}

#[tokio::test(start_paused = true)]
async fn the_way_back_is_found_at_once_and_what_changed_is_taken() {
    let lab = cut_off().await;
    for n in 1..20 {
        tokio::time::sleep(20 * SECOND).await;
        everywhere(&lab, n).await;
    }
    // Meanwhile the zone moves to another server; the old one answers on.
    let form = Form {
        moved: true,
        ..Form::default()
    };
    change(&lab, form);
    lab.net.heal();
    tokio::time::sleep(2 * SECOND).await;
    // Whoever asks next looks whether the parents are back.
    for n in 100..104 {
        lab.ask(&format!("x{n}.w.a.com."), Rtype::A).await;
        lab.ask(&format!("x{n}.w.plain.com."), Rtype::A).await;
        tokio::time::sleep(2 * SECOND).await;
    }
    lab.net.set("203.0.113.1", Fault::Silent);
    let (found, took) = lab.timed("x200.w.a.com.").await;
    assert_eq!(brief(&found), "NOERROR x200.w.a.com. A 203.0.113.82");
    assert_eq!(
        (found.security, found.errors),
        (Security::Secure, Vec::new())
    );
    assert!(took < SECOND, "{took:?}");
}

// CVE-2012-1033, CVE-2022-30698: what the parent has deleted while it could be heard never comes back.
#[tokio::test(start_paused = true)]
async fn a_deleted_delegation_never_comes_back() {
    let form = Form {
        deleted: true,
        ..Form::default()
    };
    for seen_by in ["w.ghost.com.", "ghost.com.", "gho.com."] {
        let lab = lab_with(|_| {});
        everywhere(&lab, 0).await;
        lab.check(
            "x.w.ghost.com.",
            Rtype::A,
            "NOERROR x.w.ghost.com. A 203.0.113.86",
        )
        .await;
        change(&lab, form);
        tokio::time::sleep(Duration::from_secs(2 * u64::from(TTL))).await;
        let seen = lab.ask(seen_by, Rtype::A).await;
        assert_eq!(seen.rcode, Rcode::NXDOMAIN, "{seen_by}");
        if seen_by == "gho.com." {
            // Another name's denial proves this one's, too.
            let denied = lab.ask("y.w.ghost.com.", Rtype::A).await;
            assert_eq!(denied.rcode, Rcode::NXDOMAIN);
        }
        silence(&lab);
        lab.net.take_packets();
        for n in 0..20 {
            tokio::time::sleep(30 * SECOND).await;
            let found = lab.ask(&format!("x{n}.w.ghost.com."), Rtype::A).await;
            assert_ne!(found.rcode, Rcode::NOERROR, "{seen_by}: {found:?}");
        }
        let packets = lab.net.take_packets();
        let asked = packets.iter().any(|p| p.host.to_string() == "203.0.113.66");
        assert!(!asked, "{seen_by}: the ghost was asked");
        everywhere(&lab, 1).await;
    }
}

/// Nor does it while there is no place for questions to its parent, whoever takes all of them: who is not asked is not gone. What was heard of it within
/// a day is used meanwhile.
#[tokio::test(start_paused = true)]
async fn a_parent_without_a_place_for_questions_does_not_pass_for_gone() {
    let lab = Arc::new(lab_with(|s| {
        s.stale.enabled = false;
        s.upstream_per_zone_max = 1;
    }));
    everywhere(&lab, 0).await;
    lab.ask("x0.w.ghost.com.", Rtype::A).await;
    change(
        &lab,
        Form {
            deleted: true,
            ..Form::default()
        },
    );
    tokio::time::sleep(2 * DAY).await;
    lab.ask("x1.w.plain.com.", Rtype::A).await;
    tokio::time::sleep(Duration::from_secs(2 * u64::from(TTL))).await;
    lab.net.set("com.", Fault::Slow(3 * SECOND));
    let waiting = tokio::spawn({
        let lab = lab.clone();
        async move { lab.ask("gho.com.", Rtype::A).await }
    });
    tokio::time::sleep(1500 * MS).await;
    lab.net.take_packets();
    let (ghost, plain) = tokio::join!(
        lab.ask("x1.w.ghost.com.", Rtype::A),
        lab.ask("x2.w.plain.com.", Rtype::A)
    );
    let asked: Vec<_> = lab.net.take_packets();
    let is_asked = |host: &str| asked.iter().any(|p| p.host.to_string() == host);
    assert!(
        !is_asked("192.0.2.1") && !is_asked("192.0.2.2"),
        "{asked:?}"
    );
    assert!(!is_asked("203.0.113.66"), "{}", brief(&ghost));
    assert_eq!(ghost.rcode, Rcode::SERVFAIL);
    let expected = "NOERROR x2.w.plain.com. A 203.0.113.83";
    assert_eq!(brief(&plain), expected, "{:?}", plain.errors);
    waiting.await.unwrap();
}

// A DS that changed while the parent could be heard is the link; the one before it is none.
#[tokio::test(start_paused = true)]
async fn a_changed_ds_takes_the_place_of_the_old_one() {
    let lab = lab_with(|_| {});
    everywhere(&lab, 0).await;
    let new = Form {
        keys: (1, 1),
        ..Form::default()
    };
    change(&lab, new);
    tokio::time::sleep(Duration::from_secs(2 * u64::from(TTL))).await;
    everywhere(&lab, 1).await;
    silence(&lab);
    tokio::time::sleep(400 * SECOND).await;
    everywhere(&lab, 2).await;
    // Who held the old key is nobody now.
    change(&lab, Form::default());
    tokio::time::sleep(400 * SECOND).await;
    let found = lab.ask("x3.w.a.com.", Rtype::A).await;
    assert!(matches!(found.security, Security::Bogus(_)), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_child_may_roll_the_keys_below_its_ds_while_the_parent_is_gone() {
    let lab = cut_off().await;
    tokio::time::sleep(400 * SECOND).await;
    everywhere(&lab, 1).await;
    let zone_key = Form {
        keys: (0, 1),
        ..Form::default()
    };
    change(&lab, zone_key);
    tokio::time::sleep(400 * SECOND).await;
    everywhere(&lab, 2).await;
    // Without the parent nobody can know another key signing key.
    let both = Form {
        keys: (1, 1),
        ..Form::default()
    };
    change(&lab, both);
    tokio::time::sleep(400 * SECOND).await;
    let found = lab.ask("x3.w.a.com.", Rtype::A).await;
    assert!(matches!(found.security, Security::Bogus(_)), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn an_entry_ends_at_its_age() {
    let lab = lab_with(|s| s.retained.age_max_s = 3600);
    everywhere(&lab, 0).await;
    silence(&lab);
    tokio::time::sleep(3500 * SECOND).await;
    everywhere(&lab, 1).await;
    tokio::time::sleep(500 * SECOND).await;
    let found = lab.ask("x2.w.plain.com.", Rtype::A).await;
    assert_eq!(found.rcode, Rcode::SERVFAIL);
}

#[tokio::test(start_paused = true)]
async fn switched_off_nothing_is_kept() {
    let lab = lab_with(|s| s.retained.enabled = false);
    everywhere(&lab, 0).await;
    silence(&lab);
    tokio::time::sleep(400 * SECOND).await;
    let found = lab.ask("x1.w.plain.com.", Rtype::A).await;
    assert_eq!(found.rcode, Rcode::SERVFAIL);
}

// The signatures of the kept DS run out: as-of, marked as such, never for what hangs below and is not signed now.
#[tokio::test(start_paused = true)]
async fn a_ds_whose_signatures_have_run_out_is_accepted_as_of() {
    let lab = cut_off().await;
    let later = Form {
        child_signs_until: Some(EXPIRATION + 20 * 86_400),
        ..Form::default()
    };
    change(&lab, later);
    lab.clock
        .set_wall(Duration::from_secs(u64::from(EXPIRATION)) + 8 * DAY);
    let found = lab.ask("x1.w.a.com.", Rtype::A).await;
    assert_eq!(
        (found.rcode, &found.security),
        (Rcode::NOERROR, &Security::SecureAsOf),
        "{found:?}"
    );
    let errors = codes(&found);
    assert!(
        errors.contains(&Ede::STALE_ANSWER) && errors.contains(&Ede::SIGNATURE_EXPIRED),
        "{found:?}"
    );
    assert!(found.answer.iter().all(|set| set.ttl <= 30));
    for fault in [
        Fault::Bogus,
        Fault::Stripped,
        Fault::Hijack([10, 6, 6, 6].into()),
    ] {
        lab.net.set("203.0.113.1", fault);
        tokio::time::sleep(60 * SECOND).await;
        let found = lab.ask("x2.w.a.com.", Rtype::A).await;
        assert!(
            matches!(found.security, Security::Bogus(_)),
            "{fault:?}: {found:?}"
        );
    }
    lab.net.set("203.0.113.1", Fault::None);
    tokio::time::sleep(60 * SECOND).await;
    let found = lab.ask("www.a.com.", Rtype::A).await;
    assert_eq!(found.security, Security::SecureAsOf);
    // Recovery: not after the 30 s of its TTL, but as soon as the parent has answered.
    change(
        &lab,
        Form {
            parents_sign_until: later.child_signs_until,
            ..later
        },
    );
    lab.net.heal();
    tokio::time::sleep(2 * SECOND).await;
    for n in 0..3 {
        lab.ask(&format!("x{n}.nowhere.com."), Rtype::A).await;
        tokio::time::sleep(2 * SECOND).await;
    }
    let found = lab.ask("www.a.com.", Rtype::A).await;
    assert_eq!(
        (found.security, found.errors),
        (Security::Secure, Vec::new())
    );
}

// A parent that answers is no parent that is gone: what it says wrong ends nothing that is kept, and takes the place of nothing that was
// proven; what could not be told from what is forged fails.
#[tokio::test(start_paused = true)]
async fn bogus_denials_of_the_parent_end_nothing() {
    for fault in [
        Fault::Says(Rcode::NXDOMAIN),
        Fault::Hijack([10, 6, 6, 6].into()),
    ] {
        let lab = lab_with(|_| {});
        everywhere(&lab, 0).await;
        tokio::time::sleep(400 * SECOND).await;
        lab.net.set("com.", fault);
        let found = lab.ask("x1.w.a.com.", Rtype::A).await;
        assert_eq!(found.security, Security::Secure, "{fault:?}: {found:?}");
        let found = lab.ask("x1.w.plain.com.", Rtype::A).await;
        assert!(
            matches!(found.security, Security::Bogus(_)),
            "{fault:?}: {found:?}"
        );
        lab.net.set("com.", Fault::None);
        silence(&lab);
        tokio::time::sleep(100 * SECOND).await;
        everywhere(&lab, 2).await;
    }
}

// The same with signatures that ran out while one of the parent's servers refuses: who refuses beside one that answers is no proof
// that the zone is gone.
#[tokio::test(start_paused = true)]
async fn expired_data_of_a_living_parent_is_not_mended_from_memory() {
    let lab = lab_with(|_| {});
    everywhere(&lab, 0).await;
    let later = Form {
        child_signs_until: Some(EXPIRATION + 20 * 86_400),
        ..Form::default()
    };
    change(&lab, later);
    lab.net.set("198.51.100.2", Fault::Says(Rcode::REFUSED));
    lab.net.set("192.0.2.2", Fault::Says(Rcode::REFUSED));
    lab.clock
        .set_wall(Duration::from_secs(u64::from(EXPIRATION)) + 8 * DAY);
    for n in 1..4 {
        tokio::time::sleep(100 * SECOND).await;
        let found = lab.ask(&format!("x{n}.w.a.com."), Rtype::A).await;
        assert!(
            matches!(found.security, Security::Bogus(_)),
            "{n}: {found:?}"
        );
    }
}

// --- the whole engine, with its disk ---------------------------------------------------------------

/// Names below the TLDs that are gone; `n` makes one that was never asked.
async fn right(site: &Site, n: u64) -> Duration {
    let mut worst = Duration::ZERO;
    for text in [
        "www.shop.home.",
        "www.blog.home.",
        &format!("x{n}.any.shop.home."),
    ] {
        worst = worst.max(site.right(text, Rtype::A).await);
    }
    worst
}

#[tokio::test(start_paused = true)]
async fn a_restart_inside_the_outage_loses_nothing() {
    let mut site = Site::start(&[]).await;
    right(&site, 0).await;
    tokio::time::sleep(10 * SECOND).await;
    for group in ["roots", "home", "far"] {
        site.world.net.set(group, Fault::Silent);
    }
    tokio::time::sleep(400 * SECOND).await;
    right(&site, 1).await;
    assert!(!site.engine().resolver.gone().is_empty());
    // Until it is written.
    tokio::time::sleep(6 * SECOND).await;
    site.restart().await;
    // Who is gone is known from the first question on.
    let took = right(&site, 2).await;
    assert!(took < 500 * MS, "{took:?}");
    for n in 3..20 {
        tokio::time::sleep(100 * SECOND).await;
        assert!(right(&site, n).await < SECOND);
    }
    let counted = |what: &str| {
        let all = site.metrics.snapshot();
        all.iter().find(|row| row.0 == what).unwrap().2
    };
    assert!(counted("retained_answers_total") > 0);
    assert!(counted("retained_entries") >= 3);
    // And back.
    site.world.net.heal();
    for n in 50..53 {
        tokio::time::sleep(45 * SECOND).await;
        right(&site, n).await;
    }
    assert!(site.engine().resolver.gone().is_empty());
}

// The mirrored part of the way needs nothing of this; the rest does. A server that is named in a dead zone is found.
#[tokio::test(start_paused = true)]
async fn servers_that_are_named_abroad_are_found() {
    let mut site = Site::start(&[".", "home."]).await;
    site.right("www.cross.home.", Rtype::A).await;
    tokio::time::sleep(20 * SECOND).await;
    for group in ["roots", "home", "far", "sources"] {
        site.world.net.set(group, Fault::Silent);
    }
    tokio::time::sleep(400 * SECOND).await;
    // Nobody answers for host.far. but the one server of cross.home. itself: its name cannot be looked up.
    for n in 0..10 {
        let took = site.right("www.cross.home.", Rtype::A).await;
        assert!(took < 4500 * MS, "{n}: {took:?}");
        tokio::time::sleep(100 * SECOND).await;
    }
    site.restart().await;
    let took = site.right("www.cross.home.", Rtype::A).await;
    assert!(took < 4500 * MS, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_used_most_is_confirmed_now_and_then() {
    let site = Site::start(&[]).await;
    for n in 0..4 {
        right(&site, n).await;
        tokio::time::sleep(60 * SECOND).await;
    }
    let asked_before = site.metrics.retained_refreshes_total.value();
    assert_eq!(asked_before, 0);
    tokio::time::sleep(14 * 3600 * SECOND).await;
    let refreshed = site.metrics.retained_refreshes_total.value();
    assert!((3..20).contains(&refreshed), "{refreshed}");
    assert_eq!(site.metrics.retained_refresh_failures_total.value(), 0);
}
