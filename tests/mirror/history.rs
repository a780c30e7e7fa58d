//! Four things that have happened to others, as they would happen here. What live answers do in the second one is in
//! `sim/outage.rs`.

use std::time::Duration;

use holdfast::dns::{Record, Rtype};
use holdfast::mirror::store::image_file;
use holdfast::mirror::{Trust, trust_of};
use holdfast::zone::present;

use crate::lab::{Fault, Lab, PRIMARY, own_records, signed, signer};
use crate::log;
use crate::signer::{EXPIRATION, name, record, rr};

const DAY_S: u64 = 86_400;

/// 4 October 2023: a type that nobody had seen before came into the root zone, and a large resolver took no new version any
/// more.
#[tokio::test(start_paused = true)]
async fn a_type_that_nobody_has_seen_costs_nothing() {
    let lab = Lab::with_ten().await;
    let mut records = own_records(11, 10);
    let unknown = Rtype(65_280);
    let octets = [1, 255, 0];
    for owner in ["test.", "www.test."] {
        records.push(record(&name(owner), unknown, 60, octets.as_slice().into()));
    }
    lab.net
        .set(PRIMARY, |p| p.records = signer().sign(&records));
    lab.refresh().await.unwrap();
    let generation = lab.current().unwrap();
    assert!(generation.serial() == 11 && generation.is_verified());
    let set = generation.image().find(&name("test."), unknown).unwrap();
    assert_eq!(set.sigs.len(), 1);
    let line = present::record(&set.records(false).next().unwrap());
    assert_eq!(line, "test.\t60\tIN\tTYPE65280\t\\# 3 01ff00");
}

/// 30 January 2024: `.ru` was signed with a key that its signatures did not fit, for hours.
#[tokio::test(start_paused = true)]
async fn a_version_with_bad_signatures_is_refused_and_kept_for_inspection() {
    let mut lab = Lab::with_ten().await;
    let mut bad = signed(11);
    for record in bad.iter_mut().filter(|r| r.rtype == Rtype::RRSIG) {
        let last = record.rdata.len() - 1;
        record.rdata[last] ^= 1;
    }
    lab.net.set(PRIMARY, |p| p.records = bad);
    for restarted in [false, true] {
        if restarted {
            lab.stop().await;
            lab.start().await;
        }
        let error = lab.refresh().await.unwrap_err();
        assert!(error.contains("serial 11 refused: "), "{error}");
        assert_eq!(lab.serial(), Some(10));
    }
    let mirrors = lab.mirrors.as_ref().unwrap();
    let list = mirrors.generations(&lab.mirror());
    let refused = list.iter().find(|v| v.serial == 11).unwrap();
    assert!(
        refused.verdict.starts_with("refused: "),
        "{}",
        refused.verdict
    );
    let (image, _) = image_file::open(refused.file.as_ref().unwrap()).unwrap();
    assert_eq!(image.serial(), 11);
    // The registry has mended it.
    lab.net.set(PRIMARY, |p| p.records = signed(12));
    lab.refresh().await.unwrap();
    assert_eq!((lab.serial(), lab.mirror().last_error()), (Some(12), None));
}

/// A version of the parent that is signed as it should be, and without the country.
#[tokio::test(start_paused = true)]
async fn a_version_without_a_protected_name_is_held() {
    let with_ru = |serial| {
        let mut records = own_records(serial, 10);
        records.push(rr("ru.test. 3600 NS a.dns.ripn.test."));
        signer().sign(&records)
    };
    let mut lab = Lab::new();
    lab.config.protect = vec![name("ru.test.")];
    lab.net.set(PRIMARY, |p| p.records = with_ru(10));
    lab.start().await;
    lab.refresh().await.unwrap();
    lab.net.set(PRIMARY, |p| p.records = signed(11));
    for restarted in [false, true] {
        if restarted {
            lab.stop().await;
            lab.start().await;
            // Known before anybody is asked, so that it is not fetched again.
            let held = lab.mirror().held().map(|(serial, _)| serial);
            assert_eq!(held, Some(11));
        }
        let error = lab.refresh().await.unwrap_err();
        let expected = "the delegation of the protected name ru.test. is gone";
        assert!(error.contains(expected), "{error}");
        let generation = lab.current().unwrap();
        assert_eq!(generation.serial(), 10);
        let ru = generation.image().find(&name("ru.test."), Rtype::NS);
        assert!(ru.is_some());
    }
    let next = "serve it with: holdfast mirror accept test. 11";
    assert_eq!(log::count(next), 2, "once in each run of the server");
    let list = lab.mirrors.as_ref().unwrap().generations(&lab.mirror());
    assert!(
        list.iter()
            .any(|v| v.serial == 11 && v.verdict.contains("ru.test.") && v.file.is_some())
    );
    // The name comes back.
    lab.net.set(PRIMARY, |p| p.records = with_ru(12));
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(12));
}

/// A source that answers, and has had the same old version for weeks.
#[tokio::test(start_paused = true)]
async fn a_source_that_is_stuck_is_noticed_before_the_signatures_run_out() {
    let mut lab = Lab::with_ten().await;
    let start = lab.now_s();
    let end = u64::from(EXPIRATION);
    let at = |lab: &Lab, wall_s: u64| lab.clock.set_wall(Duration::from_secs(wall_s));
    // For three quarters of their time there is nothing to say.
    at(&lab, start + (end - start) / 2);
    lab.refresh().await.unwrap();
    assert_eq!(lab.status().escalation, None);
    at(&lab, end - (end - start) / 5);
    lab.refresh().await.unwrap();
    let escalation = lab.status().escalation.unwrap();
    assert_eq!(
        (escalation.percent, &*escalation.limit),
        (75, "signatures, sources stuck")
    );
    assert_eq!(
        log::count("the sources have nothing newer, and may be stuck"),
        1
    );
    let contact = lab.current().unwrap().last_contact_at();
    assert_eq!(contact, Some(lab.now_s()));

    // They run out. What the source says of that version is no contact any more.
    at(&lab, end + DAY_S);
    let error = lab.refresh().await.unwrap_err();
    assert!(
        error.contains("its serial 10 is current here, but the signatures of that ran out"),
        "{error}"
    );
    let generation = lab.current().unwrap();
    assert_eq!(generation.last_contact_at(), contact);
    assert_eq!(lab.status().escalation.unwrap().percent, 100);
    assert_eq!(lab.metrics.mirrors_ageing_urgent.value(), 1);
    // What was verified in its time is used as of then, and marked.
    let trust = trust_of(&generation, lab.mirror().config(), &[], lab.now_s());
    assert_eq!(trust, Trust::AsOf);

    // Nobody who has nothing yet takes it, nor its next serial with the same old signatures.
    let mut fresh = Lab::new();
    fresh.net.set(PRIMARY, |p| p.records = signed(10));
    at(&fresh, end + DAY_S);
    fresh.start().await;
    let error = fresh.refresh().await.unwrap_err();
    assert!(error.contains("serial 10 refused"), "{error}");
    assert_eq!(fresh.serial(), None);
    lab.net.set(PRIMARY, |p| p.records = signed(11));
    let error = lab.refresh().await.unwrap_err();
    assert!(error.contains("serial 11 refused"), "{error}");
    assert_eq!(lab.serial(), Some(10));
    lab.stop().await;
    lab.start().await;
    assert_eq!(lab.serial(), Some(10));

    // It comes back to life.
    lab.net.set(PRIMARY, |p| p.records = anew(12));
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(12));
    assert_eq!(lab.status().escalation, None);
}

/// Signed after the usual signatures ran out.
fn anew(serial: u32) -> Vec<Record> {
    let mut signer = signer();
    signer.inception = EXPIRATION - 3600;
    signer.expiration = EXPIRATION + 30 * DAY_S as u32;
    signer.sign(&own_records(serial, 10))
}

/// Nobody answers for a day: SOA expire is a day, the signatures last longer.
#[tokio::test(start_paused = true)]
async fn silence_is_told_louder_and_louder() {
    let lab = Lab::with_ten().await;
    lab.net.set(PRIMARY, |p| p.fault = Fault::Silent);
    let said = |percent: u32| log::count(&format!("{percent} % of its time is gone"));
    let hours = async |n: u64| tokio::time::sleep(Duration::from_secs(n * 3600)).await;
    hours(5).await;
    assert_eq!((said(25), lab.status().escalation), (0, None));
    assert_eq!(lab.metrics.mirrors_ageing.value(), 0);
    let mut urgent = Vec::new();
    for percent in [25, 50, 75, 100] {
        hours(if percent == 25 { 2 } else { 6 }).await;
        assert_eq!(said(percent), 1, "{percent}");
        let status = lab.status().escalation.unwrap();
        assert_eq!(
            (status.percent, &*status.limit),
            (percent.into(), "soa expire")
        );
        urgent.push(lab.metrics.mirrors_ageing_urgent.value());
        assert_eq!(lab.metrics.mirrors_ageing.value(), 1);
    }
    assert_eq!(urgent, [0, 0, 1, 1]);
    assert_eq!(lab.metrics.mirror_escalations_total.value(), 4);
    lab.net.set(PRIMARY, |p| p.fault = Fault::None);
    // A try that waits for the silent server comes to its end first.
    tokio::time::sleep(Duration::from_secs(10)).await;
    lab.refresh().await.unwrap();
    assert_eq!(log::count("the copy is up to date again"), 1);
    assert_eq!(lab.metrics.mirrors_ageing.value(), 0);
    assert_eq!(lab.metrics.mirrors_ageing_urgent.value(), 0);
    assert_eq!(lab.status().escalation, None);
}
