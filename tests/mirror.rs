//! A mirror and its primaries: whatever a source does, the last good version goes on serving, and `last_error` says
//! what happened. Virtual time; the primaries are in `mirror/lab.rs`.

#[path = "mirror/bind.rs"]
mod bind;
#[path = "mirror/catalog.rs"]
mod catalog;
#[path = "mirror/history.rs"]
mod history;
#[path = "mirror/keeping.rs"]
mod keeping;
#[path = "mirror/lab.rs"]
mod lab;
#[path = "mirror/log.rs"]
mod log;
#[path = "mirror/mangle.rs"]
mod mangle;
#[path = "serve/namespace.rs"]
mod namespace;
#[path = "mirror/notify.rs"]
mod notify;
#[path = "mirror/proven.rs"]
mod proven;
#[path = "mirror/secure.rs"]
mod secure;
#[path = "mirror/secured.rs"]
mod secured;
#[path = "sim/signer.rs"]
mod signer;
#[path = "mirror/transfer.rs"]
mod transfer;

use std::sync::Arc;
use std::time::Duration;

use holdfast::config::{
    AgeMax, Config, ExpiredSignatures, MirrorConfig, ProtectChanges, Source, Verify,
};
use holdfast::dns::{Name, Record, Rtype, Soa};
use holdfast::mirror::{DsAnswer, Mirrors, TcpConnect, Trust, Usable, trust_of, usable};
use lab::{Fault, Lab, PRIMARY, SECOND, START_S, axfr, own_records, signed, write_zone};
use signer::{name, rr};

#[tokio::test(start_paused = true)]
async fn a_new_version_is_fetched_verified_and_served() {
    let mut lab = Lab::new();
    lab.net.set(PRIMARY, |p| p.records = signed(10));
    lab.start().await;
    let mut events = lab.mirrors.as_ref().unwrap().subscribe();
    lab.refresh().await.unwrap();
    let generation = lab.current().unwrap();
    assert_eq!(generation.image().delegation_count(), 10);
    assert!(generation.is_verified() && !generation.is_bootstrap());
    assert_eq!(generation.last_contact_at(), Some(lab.now_s()));
    assert_eq!(events.recv().await.unwrap().serial, 10);
    lab.net.set(PRIMARY, |p| p.records = signed(11));
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(11));
    assert_eq!(lab.versions(), ["11 verified Current", "10 verified Kept"]);
    let status = serde_json::to_value(lab.status()).unwrap();
    assert_eq!(status["zone"], "test.");
    assert_eq!(status["use"], "failover");
    assert_eq!(status["serial"], 11);
    assert_eq!(status["source"], "axfr:192.0.2.1");
    assert_eq!(status["last_error"], serde_json::Value::Null);
}

/// What each fault leaves in `last_error`.
const FAULTS: &[(Fault, &str)] = &[
    (Fault::Refused, "connect: connection refused"),
    (Fault::Silent, "connect: stalled: nothing for 5 s"),
    (Fault::StallSoa, "soa query: stalled: nothing for 20 s"),
    (Fault::StallTransfer, "transfer: stalled: nothing for 20 s"),
    (Fault::Truncate, "transfer: truncated"),
    (
        Fault::WrongId,
        "soa query: not an answer to the question: wrong ID",
    ),
    (
        Fault::WrongQuestion,
        "soa query: not an answer to the question: wrong question",
    ),
    (
        Fault::RefuseTransfer,
        "transfer: refused: the server answers REFUSED",
    ),
    (Fault::Garbage, "transfer: "),
    (
        Fault::Empty,
        "transfer: not an answer to the question: no SOA",
    ),
    (
        Fault::NoSoa,
        "transfer: not an answer to the question: no SOA",
    ),
    (Fault::Endless, "transfer: limit: larger than 1048576 bytes"),
    (Fault::Trickle, "transfer: too slow"),
    (
        Fault::Changed,
        "transfer: the zone changed during the transfer",
    ),
    (
        Fault::GoesOn,
        "transfer: not a zone: records after the closing SOA",
    ),
];

#[tokio::test(start_paused = true)]
async fn a_bad_transfer_leaves_the_current_version() {
    let lab = Lab::with_ten().await;
    for &(fault, expected) in FAULTS {
        lab.net.set(PRIMARY, |p| {
            p.records = signed(11);
            p.fault = fault;
        });
        let error = lab.refresh().await.unwrap_err();
        let wanted = format!("axfr:192.0.2.1: {expected}");
        assert!(error.starts_with(&wanted), "{fault:?}: {error}");
        assert_eq!(lab.mirror().last_error(), Some(error), "{fault:?}");
        assert_eq!(lab.serial(), Some(10), "{fault:?}");
    }
    lab.net.set(PRIMARY, |p| p.fault = Fault::None);
    lab.refresh().await.unwrap();
    assert_eq!((lab.serial(), lab.mirror().last_error()), (Some(11), None));
}

/// A server cannot say anything of other zones; that it tries is no reason to do without the zone.
#[tokio::test(start_paused = true)]
async fn records_outside_the_zone_are_left_out() {
    let lab = Lab::with_ten().await;
    lab.net.set(PRIMARY, |p| {
        p.records = signed(11);
        p.records.push(rr("www.other. 60 A 192.0.2.66"));
    });
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(11));
}

/// The limit holds for the first message as for the later ones.
#[tokio::test(start_paused = true)]
async fn a_transfer_that_takes_too_long_is_given_up() {
    for (fault, max_s) in [
        (Fault::Trickle, 50),
        (Fault::StallTransfer, 4),
        (Fault::StallFirst, 4),
    ] {
        let mut lab = Lab::new();
        lab.config.transfer_time_max_s = max_s;
        lab.net.set(PRIMARY, |p| {
            p.records = signed(10);
            p.fault = fault;
        });
        lab.start().await;
        let error = lab.refresh().await.unwrap_err();
        let wanted = format!("limit: longer than {max_s} s (transfer_time_max_s)");
        assert!(error.contains(&wanted), "{fault:?}: {error}");
        assert_eq!(lab.serial(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_with_one_answer_per_connection_is_asked_again() {
    let mut lab = Lab::new();
    lab.net.set(PRIMARY, |p| {
        p.records = signed(10);
        p.fault = Fault::CloseAfterAnswer;
    });
    lab.start().await;
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(10));
}

/// What is done to a zone.
type Change<'a> = &'a dyn Fn(&mut Vec<Record>);

/// Versions that arrive well and are not true.
#[tokio::test(start_paused = true)]
async fn a_false_version_is_refused() {
    let lab = Lab::with_ten().await;
    let refused = |lab: &Lab, change: Change<'_>| {
        let mut records = signed(11);
        change(&mut records);
        lab.net.set(PRIMARY, |p| p.records = records);
    };
    let find = |records: &[Record], rtype, owner: &str| {
        (records
            .iter()
            .position(|r| r.rtype == rtype && r.name == name(owner)))
        .unwrap()
    };
    let cases: [(&str, Change<'_>); 5] = [
        ("changed data", &|r| {
            let at = find(r, Rtype::A, "www.test.");
            r[at].rdata[3] ^= 1;
        }),
        ("changed glue, which only ZONEMD covers", &|r| {
            let at = find(r, Rtype::A, "ns.child1.test.");
            r[at].rdata[3] ^= 1;
        }),
        ("changed signature", &|r| {
            let at = find(r, Rtype::RRSIG, "www.test.");
            let last = r[at].rdata.len() - 1;
            r[at].rdata[last] ^= 1;
        }),
        ("wrong ZONEMD", &|r| {
            let at = find(r, Rtype::ZONEMD, "test.");
            let last = r[at].rdata.len() - 1;
            r[at].rdata[last] ^= 1;
        }),
        ("missing record", &|r| {
            let at = find(r, Rtype::A, "www.test.");
            r.remove(at);
        }),
    ];
    for (what, change) in cases {
        refused(&lab, change);
        let error = lab.refresh().await.unwrap_err();
        assert!(error.contains("serial 11 refused: "), "{what}: {error}");
        assert_eq!(lab.serial(), Some(10), "{what}");
    }
    assert!(lab.versions().contains(&"11 refused Refused".to_owned()));
    assert_eq!(lab.metrics.mirror_refused_total.value(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_older_serial_is_refused_and_is_no_contact() {
    let lab = Lab::with_ten().await;
    let contact = lab.current().unwrap().last_contact_at();
    lab.net.set(PRIMARY, |p| p.records = signed(9));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let error = lab.refresh().await.unwrap_err();
    assert_eq!(
        error,
        "axfr:192.0.2.1: its serial 9 is older than 10, which is current here"
    );
    assert_eq!(lab.serial(), Some(10));
    assert_eq!(lab.current().unwrap().last_contact_at(), contact);
}

#[tokio::test(start_paused = true)]
async fn expired_signatures_are_never_admitted_from_the_network() {
    let mut lab = Lab::new();
    lab.net.set(PRIMARY, |p| p.records = signed(10));
    lab.clock
        .set_wall(Duration::from_secs(START_S + 30 * 86_400));
    lab.start().await;
    let error = lab.refresh().await.unwrap_err();
    assert!(error.contains("serial 10 refused: "), "{error}");
    assert_eq!(lab.serial(), None);
}

#[tokio::test(start_paused = true)]
async fn sources_are_tried_in_turn() {
    let mut lab = Lab::new();
    lab.config.sources = vec![axfr(PRIMARY), axfr(SECOND)];
    lab.net.set(PRIMARY, |p| p.fault = Fault::Silent);
    lab.net.set(SECOND, |p| p.records = signed(10));
    lab.start().await;
    lab.refresh().await.unwrap();
    assert_eq!(lab.status().source.as_deref(), Some("axfr:192.0.2.2"));
    // A false version at the first one is no reason to miss a true one at the second.
    let mut bad = signed(11);
    bad.retain(|r| r.name != name("www.test."));
    lab.net.set(PRIMARY, |p| {
        p.fault = Fault::None;
        p.records = bad;
    });
    lab.net.set(SECOND, |p| p.records = signed(11));
    lab.refresh().await.unwrap();
    assert_eq!((lab.serial(), lab.mirror().last_error()), (Some(11), None));
}

#[tokio::test(start_paused = true)]
async fn the_same_serial_is_contact_without_a_transfer() {
    let lab = Lab::with_ten().await;
    let transfers = lab.net.get(PRIMARY).transfers;
    tokio::time::sleep(Duration::from_secs(30)).await;
    lab.refresh().await.unwrap();
    assert_eq!(lab.net.get(PRIMARY).transfers, transfers);
    assert_eq!(lab.current().unwrap().last_contact_at(), Some(lab.now_s()));
}

/// SOA: refresh 600 s, retry 60 s.
#[tokio::test(start_paused = true)]
async fn refreshes_follow_the_soa_timers() {
    let lab = Lab::with_ten().await;
    lab.net.set(PRIMARY, |p| p.connections = 0);
    tokio::time::sleep(Duration::from_secs(500)).await;
    assert_eq!(lab.net.get(PRIMARY).connections, 0);
    tokio::time::sleep(Duration::from_secs(110)).await;
    assert_eq!(lab.net.get(PRIMARY).connections, 1);
    // From the next one on it fails, and is retried.
    lab.net.set(PRIMARY, |p| p.fault = Fault::Refused);
    tokio::time::sleep(Duration::from_secs(1200)).await;
    let connections = lab.net.get(PRIMARY).connections;
    assert!((11..=16).contains(&connections), "{connections}");
    lab.net.set(PRIMARY, |p| {
        p.fault = Fault::None;
        p.records = signed(11);
    });
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!((lab.serial(), lab.mirror().last_error()), (Some(11), None));
}

#[tokio::test(start_paused = true)]
async fn a_restart_serves_at_once_without_the_network() {
    let mut lab = Lab::with_ten().await;
    let contact = lab.current().unwrap().last_contact_at();
    lab.stop().await;
    lab.net.set(PRIMARY, |p| p.fault = Fault::Silent);
    lab.start().await;
    let generation = lab.current().unwrap();
    assert_eq!(generation.serial(), 10);
    assert_eq!(generation.last_contact_at(), contact);
    assert!(generation.is_verified());
}

#[tokio::test(start_paused = true)]
async fn without_any_version_it_is_tried_often() {
    let mut lab = Lab::new();
    lab.net.set(PRIMARY, |p| p.fault = Fault::Refused);
    lab.start().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let connections = lab.net.get(PRIMARY).connections;
    assert!((55..=75).contains(&connections), "{connections}");
}

// Brakes.

#[tokio::test(start_paused = true)]
async fn a_shrunken_zone_is_held_until_accepted() {
    let mut lab = Lab::with_ten().await;
    let small = || signer::Signer::sign(&lab::signer(), &own_records(11, 9));
    lab.net.set(PRIMARY, |p| p.records = small());
    let error = lab.refresh().await.unwrap_err();
    assert!(
        error.contains("serial 11 is held") && error.contains("1 of 10 delegations are gone"),
        "{error}"
    );
    assert_eq!(lab.serial(), Some(10));
    assert_eq!(lab.versions(), ["11 held Held", "10 verified Current"]);
    // It is not fetched over and over.
    let transfers = lab.net.get(PRIMARY).transfers;
    assert_eq!(lab.refresh().await.unwrap_err(), error);
    assert_eq!(lab.net.get(PRIMARY).transfers, transfers);
    // The operator's word counts, also after a restart.
    lab.stop().await;
    lab.start().await;
    assert!(lab.mirror().accept(12).await.is_err());
    lab.mirror().accept(11).await.unwrap();
    assert_eq!(lab.serial(), Some(11));
    assert_eq!(lab.versions(), ["11 verified Current", "10 verified Kept"]);
    assert_eq!(lab.mirror().last_error(), None, "nothing is held any more");
    lab.refresh().await.unwrap();
    assert_eq!(lab.mirror().last_error(), None);
}

#[tokio::test(start_paused = true)]
async fn protected_names_hold_or_alarm() {
    let check = async |hold: bool, new: &str, expected: Option<&str>| {
        let mut lab = Lab::new();
        lab.config.shrink_max = holdfast::config::Percent::new(100).unwrap();
        lab.config.protect = vec![name("child3.test.")];
        if hold {
            lab.config.protect_changes = ProtectChanges::Hold;
        }
        lab.net.set(PRIMARY, |p| p.records = signed(10));
        lab.start().await;
        lab.refresh().await.unwrap();
        let mut records = own_records(11, 10);
        records.retain(|r| r.name != name("child3.test."));
        records.extend((!new.is_empty()).then(|| rr(new)));
        lab.net
            .set(PRIMARY, |p| p.records = lab::signer().sign(&records));
        let result = lab.refresh().await;
        match expected {
            Some(text) => assert!(result.as_ref().unwrap_err().contains(text), "{result:?}"),
            None => assert_eq!((result, lab.serial()), (Ok(()), Some(11))),
        }
    };
    let moved = "child3.test. 3600 NS ns.elsewhere.";
    check(
        false,
        "",
        Some("the delegation of the protected name child3.test. is gone"),
    )
    .await;
    check(false, moved, None).await;
    check(
        true,
        moved,
        Some("NS of the protected name child3.test. changed"),
    )
    .await;
    check(true, "child3.test. 60 NS NS.child3.test.", None).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_lasts_until_something_newer_comes() {
    let mut lab = Lab::with_ten().await;
    assert!(lab.mirror().rollback(None).await.is_err());
    lab.net.set(PRIMARY, |p| p.records = signed(11));
    lab.refresh().await.unwrap();
    lab.mirror().rollback(None).await.unwrap();
    assert_eq!(lab.versions(), ["11 verified Kept", "10 verified Current"]);
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(10));
    lab.stop().await;
    lab.start().await;
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(10));
    lab.net.set(PRIMARY, |p| p.records = signed(12));
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(12));
}

// Files, snapshots, trust.

#[tokio::test(start_paused = true)]
async fn a_file_is_a_source_and_is_watched() {
    let mut lab = Lab::new();
    let path = lab.dir.path().join("test.zone");
    lab.config.sources = vec![Source::File(path.clone())];
    write_zone(&path, &signed(10));
    lab.start().await;
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(10));
    // Files alone: then they are the contact.
    assert_eq!(lab.current().unwrap().last_contact_at(), Some(lab.now_s()));
    write_zone(&path, &signed(11));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(lab.serial(), Some(11));
    std::fs::write(&path, "test. 60 IN A 192.0.2.1\nnonsense here\n").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(lab.serial(), Some(11));
    let error = lab.mirror().last_error().unwrap();
    assert!(
        error.contains("not a zone: ") && error.contains("test.zone:2:"),
        "{error}"
    );
    write_zone(&path, &signed(9));
    tokio::time::sleep(Duration::from_secs(61)).await;
    let error = lab.mirror().last_error().unwrap();
    assert!(error.contains("serial 9 is older than 11"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = lab.refresh().await.unwrap_err();
    assert!(error.contains("read: entity not found"), "{error}");
    assert_eq!(lab.serial(), Some(11));
}

#[tokio::test(start_paused = true)]
async fn what_a_file_includes_is_watched_too() {
    let mut lab = Lab::new();
    let (path, body) = (
        lab.dir.path().join("test.zone"),
        lab.dir.path().join("body"),
    );
    lab.config.sources = vec![Source::File(path.clone())];
    write_zone(&body, &signed(10));
    std::fs::write(&path, "$INCLUDE body\n").unwrap();
    lab.start().await;
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(10));
    write_zone(&body, &signed(11));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(lab.serial(), Some(11));
    // What is broken in it is told at its place, and noticed once it is mended.
    std::fs::write(&body, "test. 60 IN A 192.0.2.1\nnonsense here\n").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let error = lab.mirror().last_error().unwrap();
    assert!(error.contains("body:2:"), "{error}");
    write_zone(&body, &signed(12));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(lab.serial(), Some(12));
}

#[tokio::test(start_paused = true)]
async fn a_file_beside_network_sources_is_no_contact() {
    let mut lab = Lab::new();
    let path = lab.dir.path().join("test.zone");
    lab.config.sources = vec![axfr(PRIMARY), Source::File(path.clone())];
    lab.net.set(PRIMARY, |p| p.fault = Fault::Refused);
    write_zone(&path, &signed(10));
    lab.start().await;
    lab.refresh().await.unwrap();
    let generation = lab.current().unwrap();
    assert_eq!(
        (generation.serial(), generation.last_contact_at()),
        (10, None)
    );
    assert_eq!(
        usable(&generation, lab.mirror().config(), lab.now_s()),
        Usable::Fresh
    );
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_answers_as_the_last_resort_until_the_network_speaks() {
    let mut lab = Lab::new();
    let path = lab.dir.path().join("snapshot.zone");
    write_zone(&path, &signed(10));
    lab.config.bootstrap = Some(path);
    lab.net.set(PRIMARY, |p| p.fault = Fault::Refused);
    // Three years after it was signed: verified as of its signing time.
    let late = START_S + 3 * 365 * 86_400;
    lab.clock.set_wall(Duration::from_secs(late));
    for _ in 0..2 {
        lab.start().await;
        let generation = lab.current().unwrap();
        assert!(generation.is_bootstrap() && generation.is_verified());
        assert_eq!(generation.verified_at(), u64::from(signer::INCEPTION));
        assert_eq!(generation.last_contact_at(), None);
        let mirror = lab.mirror();
        let config = mirror.config();
        assert_eq!(usable(&generation, config, lab.now_s()), Usable::LastResort);
        let sets = generation
            .image()
            .lookup(&name("www.test."), Rtype::A)
            .answer;
        assert_eq!(
            trust_of(&generation, config, &sets, lab.now_s()),
            Trust::AsOf
        );
        lab.stop().await;
    }
    // An older serial from the network replaces it all the same.
    lab.clock.set_wall(Duration::from_secs(START_S));
    lab.net.set(PRIMARY, |p| {
        p.fault = Fault::None;
        p.records = signed(9);
    });
    lab.start().await;
    lab.refresh().await.unwrap();
    let generation = lab.current().unwrap();
    assert_eq!((generation.serial(), generation.is_bootstrap()), (9, false));
    assert!(generation.last_contact_at().is_some());
    lab.stop().await;
    lab.start().await;
    assert_eq!(lab.serial(), Some(9));
}

#[tokio::test(start_paused = true)]
async fn a_false_snapshot_is_not_served() {
    let mut lab = Lab::new();
    let path = lab.dir.path().join("snapshot.zone");
    let mut records = signed(10);
    records.retain(|r| r.name != name("www.test."));
    write_zone(&path, &records);
    lab.config.bootstrap = Some(path);
    lab.net.set(PRIMARY, |p| p.fault = Fault::Refused);
    lab.start().await;
    assert_eq!(lab.serial(), None);
    let error = lab.mirror().last_error().unwrap();
    assert!(error.starts_with("bootstrap: serial 10 refused"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_an_anchor_the_parents_ds_decides() {
    let mut lab = Lab::new();
    lab.anchors.zones[0].owner = name("elsewhere.");
    lab.net.set(PRIMARY, |p| p.records = signed(10));
    lab.start().await;
    let answer = |lab: &Lab, answer| *lab.parent.answer.lock().unwrap() = answer;
    let error = lab.refresh().await.unwrap_err();
    assert!(error.contains("the parent has no DS record"), "{error}");
    answer(&lab, DsAnswer::Unavailable("timed out".to_owned()));
    let error = lab.refresh().await.unwrap_err();
    assert!(error.contains("could not be had: timed out"), "{error}");
    let other = signer::Signer::new("test.", 2);
    answer(&lab, DsAnswer::Secure(other.ds()));
    let error = lab.refresh().await.unwrap_err();
    assert!(error.contains("serial 10 refused"), "{error}");
    answer(&lab, DsAnswer::Secure(lab::signer().ds()));
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_rests_on_withdrawn_anchors_is_not_served() {
    let mut lab = Lab::with_ten().await;
    lab.stop().await;
    // One anchor more: verified anew, as of then, and served.
    let other = signer::Signer::new("test.", 2).ds();
    let contact_at = START_S;
    lab.anchors.zones[0].ds.extend(other.clone());
    lab.net.set(PRIMARY, |p| p.fault = Fault::Refused);
    lab.start().await;
    let generation = lab.current().unwrap();
    assert_eq!(generation.serial(), 10);
    assert_eq!(generation.last_contact_at(), Some(contact_at));
    lab.stop().await;
    // The one that it rests on is gone.
    lab.anchors.zones[0].ds = other;
    lab.start().await;
    assert_eq!(lab.serial(), None);
}

#[tokio::test(start_paused = true)]
async fn verify_none_is_insecure_and_never_bogus() {
    let mut lab = Lab::new();
    lab.config.verify = Verify::None;
    lab.net.set(PRIMARY, |p| p.records = own_records(10, 3));
    lab.start().await;
    lab.refresh().await.unwrap();
    let generation = lab.current().unwrap();
    assert!(!generation.is_verified());
    let sets = generation
        .image()
        .lookup(&name("www.test."), Rtype::A)
        .answer;
    let trust = trust_of(&generation, lab.mirror().config(), &sets, lab.now_s());
    assert_eq!(trust, Trust::Insecure);
    // The operator changes his mind: what was never verified goes.
    lab.stop().await;
    lab.config.verify = Verify::Dnssec;
    lab.start().await;
    assert_eq!(lab.serial(), None);
}

#[tokio::test(start_paused = true)]
async fn age_and_signatures_decide_what_it_is_used_for() {
    let lab = Lab::with_ten().await;
    let generation = lab.current().unwrap();
    let mut config = lab.config.clone();
    let at = generation.last_contact_at().unwrap();
    let day = 86_400;
    assert_eq!(usable(&generation, &config, at + 90 * day), Usable::Fresh);
    let too_old = Usable::TooOld {
        age_s: 91 * day,
        age_max_s: 90 * day,
    };
    assert_eq!(usable(&generation, &config, at + 91 * day), too_old);
    config.age_max = AgeMax::SoaExpire;
    assert_eq!(usable(&generation, &config, at + day), Usable::Fresh);
    assert!(matches!(
        usable(&generation, &config, at + day + 1),
        Usable::TooOld { .. }
    ));
    let sets = generation
        .image()
        .lookup(&name("www.test."), Rtype::A)
        .answer;
    let expiry = u64::from(signer::EXPIRATION);
    assert_eq!(trust_of(&generation, &config, &sets, expiry), Trust::Secure);
    assert_eq!(
        trust_of(&generation, &config, &sets, expiry + 1),
        Trust::AsOf
    );
    // Sets without signatures are as good as the zone's keys.
    assert_eq!(trust_of(&generation, &config, &[], expiry), Trust::Secure);
    assert_eq!(trust_of(&generation, &config, &[], expiry + 1), Trust::AsOf);
    config.expired_signatures = ExpiredSignatures::Reject;
    assert_eq!(
        trust_of(&generation, &config, &sets, expiry + 1),
        Trust::Refused
    );
}

/// One line per change, none in between.
#[tokio::test(start_paused = true)]
async fn errors_are_logged_once_per_change() {
    let lab = Lab::with_ten().await;
    lab.net.set(PRIMARY, |p| p.fault = Fault::Refused);
    for _ in 0..5 {
        lab.refresh().await.unwrap_err();
    }
    assert_eq!(log::count("mirror refresh failed"), 1);
    lab.net.set(PRIMARY, |p| p.fault = Fault::WrongId);
    for _ in 0..5 {
        lab.refresh().await.unwrap_err();
    }
    assert_eq!(log::count("mirror refresh failed"), 2);
    lab.net.set(PRIMARY, |p| p.fault = Fault::None);
    lab.refresh().await.unwrap();
    lab.refresh().await.unwrap();
    assert_eq!(log::count("mirror refresh works again"), 1);
    assert_eq!(lab.metrics.mirror_refresh_failures_total.value(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_deepest_mirror_is_found() {
    let lab = Lab::with_ten().await;
    let mirrors = lab.mirrors.as_ref().unwrap();
    let found = |text: &str, strictly| {
        mirrors
            .deepest(&name(text), strictly)
            .map(|m| m.zone().clone())
    };
    assert_eq!(found("a.b.test.", false), Some(name("test.")));
    assert_eq!(found("TEST.", false), Some(name("test.")));
    assert_eq!(found("test.", true), None);
    assert_eq!(found("other.", false), None);
}

/// Serial arithmetic over the wrap (RFC 1982).
#[tokio::test(start_paused = true)]
async fn serials_wrap() {
    let mut lab = Lab::new();
    lab.net.set(PRIMARY, |p| p.records = signed(u32::MAX));
    lab.start().await;
    lab.refresh().await.unwrap();
    assert!(Soa::serial_newer(3, u32::MAX));
    lab.net.set(PRIMARY, |p| p.records = signed(3));
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(3));
}

/// The same over a socket.
#[tokio::test]
async fn over_real_tcp() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let mut lab = Lab::new();
    lab.connect = Some(Arc::new(TcpConnect::default()));
    lab.config.sources = vec![axfr(&server.to_string())];
    lab.net.set(&server.to_string(), |p| p.records = signed(10));
    let net = lab.net.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(lab::serve(stream, net.clone(), server));
        }
    });
    lab.start().await;
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(10));
}

/// Seeded damage to the octets of a transfer: the old version or the true new one is served, nothing else.
#[tokio::test(start_paused = true)]
async fn a_damaged_transfer_is_never_served() {
    let mut lab = Lab::with_ten().await;
    let mut arrived = 0;
    let wanted = digest_of(&signed(11));
    lab.net.set(PRIMARY, |p| p.records = signed(11));
    for seed in 0..lab::seeds(150) {
        lab.net.set(PRIMARY, |p| p.fault = Fault::Damage(seed));
        let result = lab.refresh().await;
        match lab.serial() {
            Some(10) => assert!(result.is_err(), "seed {seed}"),
            _ => {
                let generation = lab.current().unwrap();
                assert_eq!(generation.image().digest(), wanted, "seed {seed}");
                arrived += 1;
                lab = Lab::with_ten().await;
                lab.net.set(PRIMARY, |p| p.records = signed(11));
            }
        }
    }
    assert!(arrived > 10, "{arrived}");
}

fn digest_of(records: &[Record]) -> [u8; 32] {
    let mut builder = holdfast::zone::Builder::new(name("test."));
    for record in records {
        builder.add(record.clone()).unwrap();
    }
    builder.finish().unwrap().digest()
}

/// The bundled snapshot with the compiled-in anchors.
#[tokio::test(start_paused = true)]
async fn the_bundled_root_zone_is_a_snapshot() {
    let mut config = Config::default();
    let mut mirror = MirrorConfig::new(Name::root());
    mirror.bootstrap = Some("zones/root.zone".into());
    config.mirrors = vec![mirror];
    let dir = tempfile::tempdir().unwrap();
    config.server.data_dir = dir.path().to_owned();
    let lab = Lab::new();
    for _ in 0..2 {
        let mirrors = Mirrors::start(&config, lab.deps(dir.path())).await;
        let generation = mirrors.find(&Name::root()).unwrap().current().unwrap();
        assert!(generation.is_bootstrap() && generation.is_verified());
        assert_eq!(generation.serial(), 2026073102);
        assert_eq!(generation.image().delegation_count(), 1438);
        mirrors.stop();
        drop((generation, mirrors));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A loop that panics is begun anew, and nobody is left without an answer for ever.
#[tokio::test(start_paused = true)]
async fn a_panic_does_not_end_a_mirror() {
    let mut lab = Lab::new();
    lab.anchors.zones[0].owner = name("elsewhere.");
    lab.net.set(PRIMARY, |p| p.records = signed(10));
    lab.parent.poison(1);
    lab.start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let error = lab.mirror().last_error().unwrap();
    assert!(error.contains("panicked"), "{error}");
    *lab.parent.answer.lock().unwrap() = DsAnswer::Secure(lab::signer().ds());
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!((lab.serial(), lab.mirror().last_error()), (Some(10), None));
}
