//! Transfers: changes instead of whole zones, signed ones, NOTIFY, and damage on the way. Whatever happens there, what is served
//! is the version before or the very one that was published.

use std::sync::Arc;
use std::time::Duration;

use holdfast::config::{Percent, Source, Verify};
use holdfast::dns::tsig::{Algorithm, Key};
use holdfast::dns::{Record, Rtype};
use holdfast::mirror::Notifying;
use holdfast::zone::Builder;

use crate::lab::{Fault, Lab, PRIMARY, SECOND, axfr, own_records, signed, signer};
use crate::mangle::Mangle;
use crate::signer::{name, rr};

/// Seeds of random damage for each kind of transfer; `MIRROR_SEEDS=3000` plays so many.
const SEEDS: u64 = 200;

fn hub_key(secret: &[u8]) -> Arc<Key> {
    Arc::new(Key::new(&name("hub-key."), Algorithm::HmacSha256, secret))
}

fn signed_axfr(server: &str) -> Source {
    Source::Axfr {
        addr: server.parse().unwrap(),
        tsig: Some(name("hub-key.")),
        tls: None,
    }
}

fn soa_of(records: &[Record]) -> Record {
    records
        .iter()
        .find(|r| r.rtype == Rtype::SOA)
        .unwrap()
        .clone()
}

/// The delta from one version to the next (RFC 1995), without the SOA around.
fn delta(old: &[Record], new: &[Record]) -> Vec<Record> {
    let not_in = |list: &[Record], other: &[Record]| -> Vec<Record> {
        let rest = list
            .iter()
            .filter(|r| r.rtype != Rtype::SOA && !other.contains(r));
        rest.cloned().collect()
    };
    let mut out = vec![soa_of(old)];
    out.extend(not_in(old, new));
    out.push(soa_of(new));
    out.extend(not_in(new, old));
    out
}

/// The answer to IXFR that leads over these versions.
fn changes(versions: &[Vec<Record>]) -> Vec<Record> {
    let goal = soa_of(versions.last().unwrap());
    let deltas = versions
        .windows(2)
        .flat_map(|pair| delta(&pair[0], &pair[1]));
    [goal.clone()]
        .into_iter()
        .chain(deltas)
        .chain([goal])
        .collect()
}

/// A version with another address and some other delegations.
fn version(serial: u32) -> Vec<Record> {
    let mut records = own_records(serial, 10);
    records.push(rr(&format!("n{serial}.test. 300 A 192.0.2.7")));
    records.push(rr(&format!("d{serial}.test. 300 NS ns.elsewhere.")));
    signer().sign(&records)
}

/// What the version looks like when it is served.
fn digest(records: &[Record]) -> String {
    let mut builder = Builder::new(name("test."));
    for record in records {
        builder.add(record.clone()).unwrap();
    }
    let image = builder.finish().unwrap();
    image.digest().iter().map(|b| format!("{b:02x}")).collect()
}

fn served(lab: &Lab) -> String {
    lab.current().unwrap().digest().to_owned()
}

/// Started with serial 10 of [`version`]; the primary has serial 12 and the changes to it.
async fn with_changes(key: Option<Arc<Key>>) -> Lab {
    let mut lab = Lab::new();
    // Each version has a delegation that the next one lacks.
    lab.config.shrink_max = Percent::new(100).unwrap();
    if let Some(key) = &key {
        lab.config.sources = vec![signed_axfr(PRIMARY)];
        lab.keys = vec![key.clone()];
    }
    lab.net.set(PRIMARY, |p| {
        p.records = version(10);
        p.changes = Some(Vec::new());
        p.key = key;
    });
    lab.start().await;
    lab.refresh().await.unwrap();
    publish_12(&lab);
    lab
}

fn publish_12(lab: &Lab) {
    lab.net.set(PRIMARY, |p| {
        p.records = version(12);
        p.changes = Some(changes(&[version(10), version(11), version(12)]));
        (p.transfers, p.ixfrs) = (0, 0);
    });
}

#[tokio::test(start_paused = true)]
async fn changes_are_taken_instead_of_the_whole_zone() {
    for key in [None, Some(hub_key(b"sixteen octets!!"))] {
        let lab = with_changes(key).await;
        lab.net.set(PRIMARY, |p| p.expire_s = Some(4711));
        lab.refresh().await.unwrap();
        assert_eq!(served(&lab), digest(&version(12)));
        let primary = lab.net.get(PRIMARY);
        assert_eq!((primary.ixfrs, primary.transfers), (1, 0));
        assert_eq!(lab.metrics.mirror_transfers_ixfr_total.value(), 1);
        assert!(lab.current().unwrap().is_verified());
        let source = &lab.status().sources[0];
        assert_eq!(
            (source.expire_s, source.no_changes.as_ref()),
            (Some(4711), None)
        );
        // All in one delta.
        lab.net.set(PRIMARY, |p| {
            p.changes = Some(changes(&[version(12), version(20)]));
            p.records = version(20);
        });
        lab.refresh().await.unwrap();
        assert_eq!(served(&lab), digest(&version(20)));
        assert_eq!(lab.net.get(PRIMARY).transfers, 0);
    }
}

/// RFC 1995 section 4: the whole zone instead of its changes.
#[tokio::test(start_paused = true)]
async fn a_server_may_answer_with_the_whole_zone() {
    let lab = with_changes(None).await;
    let records = version(12);
    let soa = soa_of(&records);
    let rest = records.iter().filter(|r| r.rtype != Rtype::SOA).cloned();
    let whole = [soa.clone()].into_iter().chain(rest).chain([soa]).collect();
    lab.net.set(PRIMARY, |p| p.changes = Some(whole));
    lab.refresh().await.unwrap();
    assert_eq!(served(&lab), digest(&version(12)));
    let primary = lab.net.get(PRIMARY);
    assert_eq!((primary.ixfrs, primary.transfers), (1, 0));
    let why = lab.status().sources[0].no_changes.clone();
    assert_eq!(why.as_deref(), Some("the server sends the whole zone"));
}

/// Answers to IXFR that lead nowhere; the whole zone is taken from the same server at once.
#[tokio::test(start_paused = true)]
async fn changes_that_make_no_sense_lead_to_the_whole_zone() {
    let good = || changes(&[version(10), version(11), version(12)]);
    let without = |i: usize| {
        let mut list = good();
        list.remove(i);
        list
    };
    let extra = |at: usize, line: &str| {
        let mut list = good();
        list.insert(at, rr(line));
        list
    };
    let last = good().len() - 1;
    let end = soa_of(&version(12));
    let first_delta = delta(&version(10), &version(11));
    let gap: Vec<Record> = [end.clone()]
        .into_iter()
        .chain(first_delta)
        .chain([end])
        .collect();
    let cases: Vec<(&str, Option<Vec<Record>>, &str)> = vec![
        (
            "not implemented",
            None,
            "refused: the server answers NOTIMP",
        ),
        (
            "no records",
            Some(vec![]),
            "no SOA record where one must be",
        ),
        (
            "from another serial",
            Some(changes(&[version(11), version(12)])),
            "do not begin at the serial that is held",
        ),
        (
            "a gap",
            Some(gap),
            "the serials of the changes are no chain",
        ),
        (
            "a record that is not there",
            Some(extra(2, "gone.test. 1 A 192.0.2.1")),
            "is to be removed and is not there",
        ),
        (
            "a record that is there already",
            Some(extra(last, "www.test. 300 A 192.0.2.80")),
            "is to be added and is there already",
        ),
        (
            "removed twice",
            Some(
                extra(2, "gone.test. 1 A 192.0.2.1")
                    .into_iter()
                    .flat_map(|r| match r.name == name("gone.test.") {
                        true => vec![r.clone(), r],
                        false => vec![r],
                    })
                    .collect(),
            ),
            "a record is removed twice",
        ),
        (
            "an unsigned record more",
            Some(extra(last, "more.test. 300 A 192.0.2.80")),
            "more.test.",
        ),
        ("a record less", Some(without(2)), ""),
        (
            "of a zone that is none",
            Some(extra(last, "www.test. 300 CNAME x.")),
            "has a CNAME record and other data",
        ),
    ];
    for (what, answer, why) in cases {
        let lab = with_changes(None).await;
        let goes_on = answer.is_none();
        lab.net.set(PRIMARY, |p| {
            p.changes = answer;
            // Else this server would be the one without a mind of its own.
            p.expire_s = Some(1);
            p.mangle = Some(Mangle::Swapped(0, 0));
        });
        lab.refresh().await.unwrap();
        assert_eq!(served(&lab), digest(&version(12)), "{what}");
        let primary = lab.net.get(PRIMARY);
        assert_eq!((primary.ixfrs, primary.transfers), (1, 1), "{what}");
        let told = lab.status().sources[0]
            .no_changes
            .clone()
            .unwrap_or_default();
        assert!(told.contains(why), "{what}: {told}");
        if goes_on {
            assert_eq!(primary.connections, 2, "the same connection serves both");
        }
        assert_eq!(lab.metrics.mirror_ixfr_fallbacks_total.value(), 1, "{what}");
    }
}

/// Some servers take one question per connection.
#[tokio::test(start_paused = true)]
async fn changes_are_asked_for_again_on_a_fresh_connection() {
    let lab = with_changes(None).await;
    lab.net.set(PRIMARY, |p| p.fault = Fault::CloseAfterAnswer);
    lab.refresh().await.unwrap();
    assert_eq!(served(&lab), digest(&version(12)));
    assert_eq!(lab.net.get(PRIMARY).transfers, 0);
}

/// A server that has nothing newer after all.
#[tokio::test(start_paused = true)]
async fn a_single_soa_says_that_there_is_nothing_new() {
    let lab = with_changes(None).await;
    lab.net
        .set(PRIMARY, |p| p.changes = Some(vec![soa_of(&version(10))]));
    lab.refresh().await.unwrap();
    assert_eq!(served(&lab), digest(&version(10)));
    assert_eq!(lab.net.get(PRIMARY).transfers, 0);
}

/// RFC 1995 sections 2 and 4: the SOA of a newer version and nothing else says that its changes are not to be had here. The whole zone
/// is asked for then and there, not after a wait for more.
#[tokio::test(start_paused = true)]
async fn a_single_newer_soa_leads_to_the_whole_zone_at_once() {
    for key in [None, Some(hub_key(b"sixteen octets!!"))] {
        let lab = with_changes(key).await;
        lab.net
            .set(PRIMARY, |p| p.changes = Some(vec![soa_of(&version(12))]));
        let begun = lab.clock.now().mono;
        lab.refresh().await.unwrap();
        assert_eq!(lab.clock.now().mono, begun, "nothing was waited for");
        assert_eq!(served(&lab), digest(&version(12)));
        let primary = lab.net.get(PRIMARY);
        assert_eq!((primary.ixfrs, primary.transfers), (1, 1));
        let why = lab.status().sources[0].no_changes.clone();
        let why = why.unwrap_or_default();
        assert!(why.contains("a newer SOA and nothing else"), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_with_a_key_must_prove_it() {
    let good = hub_key(b"sixteen octets!!");
    let lab = with_changes(Some(good.clone())).await;
    let refused = async |change: &dyn Fn(&mut crate::lab::Primary), why: &str| {
        lab.net.set(PRIMARY, |p| change(p));
        let error = lab.refresh().await.unwrap_err();
        assert!(error.contains(why), "{error}");
        assert_eq!(served(&lab), digest(&version(10)));
    };
    refused(&|p| p.key = None, "TSIG: the answer is not signed").await;
    let wrong = hub_key(b"another secret!!");
    refused(
        &|p| p.key = Some(wrong.clone()),
        "TSIG: the server does not take the signature: BADSIG",
    )
    .await;
    let other = Arc::new(Key::new(
        &name("other."),
        Algorithm::HmacSha256,
        b"sixteen octets!!",
    ));
    refused(
        &|p| p.key = Some(other.clone()),
        "does not take the signature: BADKEY",
    )
    .await;
    lab.net.set(PRIMARY, |p| p.key = Some(good.clone()));
    lab.clock
        .set_wall(Duration::from_secs(crate::lab::START_S + 301));
    refused(&|_| {}, "does not take the signature: BADTIME").await;
    lab.clock
        .set_wall(Duration::from_secs(crate::lab::START_S + 299));
    lab.refresh().await.unwrap();
    assert_eq!(served(&lab), digest(&version(12)));
}

/// With a key the channel vouches for what no signature of the zone covers.
#[tokio::test(start_paused = true)]
async fn a_signed_transfer_needs_no_zonemd() {
    let mut zone = signer();
    zone.zonemd = false;
    let records = zone.sign(&own_records(10, 3));
    for key in [None, Some(hub_key(b"sixteen octets!!"))] {
        let mut lab = Lab::new();
        if let Some(key) = &key {
            lab.config.sources = vec![signed_axfr(PRIMARY)];
            lab.keys = vec![key.clone()];
        }
        lab.net.set(PRIMARY, |p| {
            p.records = records.clone();
            p.key = key.clone();
        });
        lab.start().await;
        lab.refresh().await.unwrap();
        assert_eq!(lab.status().warnings.is_empty(), key.is_some());
    }
}

/// Every cut, and random damage, of whole and incremental transfers, signed and unsigned.
#[tokio::test(start_paused = true)]
async fn damage_on_the_way_never_changes_what_is_served() {
    let versions = [digest(&version(10)), digest(&version(12))];
    let count = changes(&[version(10), version(11), version(12)])
        .len()
        .div_ceil(5);
    let cuts = (0..count).flat_map(|i| {
        [
            Mangle::CutBefore(i),
            Mangle::CutWithin(i),
            Mangle::Lost(i),
            Mangle::Twice(i),
            Mangle::Swapped(i, i + 1),
        ]
    });
    let seeds = 0..crate::lab::seeds(SEEDS);
    let all: Vec<Mangle> = cuts.chain(seeds.map(Mangle::random)).collect();
    // Signatures of the zone, or those of the channel alone.
    for (verify, key) in [
        (Verify::Dnssec, None),
        (Verify::Dnssec, Some(hub_key(b"sixteen octets!!"))),
        (Verify::None, Some(hub_key(b"sixteen octets!!"))),
    ] {
        let mut lab = with_changes(key.clone()).await;
        lab.stop().await;
        lab.config.verify = verify;
        lab.start().await;
        let (mut kept, mut taken) = (0, 0);
        for (i, mangle) in all.iter().enumerate() {
            lab.net.set(PRIMARY, |p| {
                p.mangle = Some(*mangle);
                if i % 2 == 1 {
                    // A whole transfer.
                    p.changes = None;
                } else {
                    p.changes = Some(changes(&[version(10), version(11), version(12)]));
                }
            });
            let refreshed = lab.refresh().await;
            let now = served(&lab);
            assert!(versions.contains(&now), "{verify:?} {mangle:?}");
            assert_eq!(
                now == versions[1],
                refreshed.is_ok(),
                "{verify:?} {mangle:?}: {refreshed:?}"
            );
            if now == versions[1] {
                taken += 1;
                lab.mirror().rollback(Some(10)).await.unwrap();
                lab.stop().await;
                std::fs::remove_dir_all(lab.dir.path().join("mirror")).unwrap();
                std::fs::remove_dir_all(lab.dir.path().join("ledger")).unwrap();
                lab.net.set(PRIMARY, |p| {
                    p.records = version(10);
                    p.mangle = None;
                });
                lab.start().await;
                lab.refresh().await.unwrap();
                assert_eq!(served(&lab), versions[0]);
                publish_12(&lab);
            } else {
                kept += 1;
            }
        }
        println!(
            "{verify:?}, key {}: {kept} kept, {taken} taken",
            key.is_some()
        );
        assert!(
            kept > 50 && taken > 0,
            "{verify:?}: {kept} kept, {taken} taken"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_notify_brings_the_refresh_forward() {
    let mut lab = Lab::new();
    lab.config.sources = vec![axfr(PRIMARY), axfr(SECOND)];
    for server in [PRIMARY, SECOND] {
        lab.net.set(server, |p| p.records = signed(10));
    }
    lab.start().await;
    lab.refresh().await.unwrap();
    let connections = || {
        let of = |server| lab.net.get(server).connections;
        (of(PRIMARY), of(SECOND))
    };
    let notify = |server: &str, serial| {
        let from = server.parse::<std::net::SocketAddr>().unwrap().ip();
        let notify = Notifying {
            from,
            key: None,
            serial,
        };
        assert!(lab.mirror().is_of_source(notify));
        lab.mirror().notify(notify, lab.now_s());
    };
    let before = connections();
    // The serial that is served is no news.
    notify(PRIMARY, Some(10));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(connections(), before);
    // The sender is asked first: the preferred source does not have it yet.
    lab.net.set(SECOND, |p| p.records = signed(11));
    notify(SECOND, Some(11));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(lab.serial(), Some(11));
    assert_eq!(connections().0, before.0);
    let last = lab.status().last_notify.unwrap();
    assert!(last.ends_with("from 192.0.2.2, serial 11"), "{last}");
    // Many come to few.
    lab.net.set(PRIMARY, |p| p.records = signed(11));
    let before = connections();
    for _ in 0..100 {
        notify(PRIMARY, None);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = connections().0 - before.0;
    assert!((2..=5).contains(&asked), "{asked} refreshes in 5 seconds");
    let stranger = Notifying {
        from: [192, 0, 2, 99].into(),
        key: None,
        serial: None,
    };
    assert!(!lab.mirror().is_of_source(stranger));
}

/// Changes that each fit do not add up to what could not have come as a whole.
#[tokio::test(start_paused = true)]
async fn changes_do_not_grow_a_zone_past_its_limit() {
    let mut lab = Lab::new();
    lab.config.verify = Verify::None;
    lab.config.bytes_max = 128 << 10;
    let grown = |serial: u32| {
        let texts = (0..(serial - 10) * 120).map(|i| {
            let text = "x".repeat(200);
            rr(&format!("t{i}.test. 300 TXT {text}"))
        });
        let mut records = own_records(serial, 10);
        records.extend(texts);
        records
    };
    lab.net.set(PRIMARY, |p| p.records = grown(10));
    lab.start().await;
    lab.refresh().await.unwrap();
    let grow = async |serial: u32| {
        lab.net.set(PRIMARY, |p| {
            p.changes = Some(changes(&[grown(serial - 1), grown(serial)]));
            p.records = grown(serial);
        });
        lab.refresh().await
    };
    for serial in 11..=13 {
        assert_eq!(grow(serial).await, Ok(()));
        assert_eq!(lab.serial(), Some(serial));
    }
    let mut ended = Ok(());
    for serial in 14..=20 {
        ended = ended.and(grow(serial).await);
    }
    let error = ended.unwrap_err();
    assert!(error.contains("limit: larger than 131072 bytes"), "{error}");
    assert!(lab.serial() < Some(17), "{:?}", lab.serial());
}

/// Each question brings the whole zone again, which is verified and refused again; anybody may forge a NOTIFY.
#[tokio::test(start_paused = true)]
async fn a_refused_version_is_not_fetched_at_every_notify() {
    let lab = Lab::with_ten().await;
    lab.net.set(PRIMARY, |p| {
        p.records = signed(11);
        p.records.retain(|record| record.rtype != Rtype::RRSIG);
    });
    let notify = Notifying {
        from: PRIMARY.parse::<std::net::SocketAddr>().unwrap().ip(),
        key: None,
        serial: Some(12),
    };
    let before = lab.net.get(PRIMARY).transfers;
    for _ in 0..120 {
        lab.mirror().notify(notify, lab.now_s());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let fetched = lab.net.get(PRIMARY).transfers - before;
    assert!(
        (3..=10).contains(&fetched),
        "{fetched} transfers in 120 seconds"
    );
    assert_eq!(lab.serial(), Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_failing_source_waits_behind_the_others_and_is_shown() {
    let mut lab = Lab::new();
    lab.config.sources = vec![axfr(PRIMARY), axfr(SECOND)];
    lab.net.set(PRIMARY, |p| p.fault = Fault::Silent);
    lab.net.set(SECOND, |p| p.records = signed(10));
    lab.start().await;
    lab.refresh().await.unwrap();
    let status = lab.status();
    let failures = |i: usize| lab.status().sources[i].failures;
    assert_eq!((failures(0), failures(1)), (1, 0));
    assert_eq!(
        status.sources[0].last_error.as_deref(),
        Some("connect: stalled: nothing for 5 s")
    );
    assert!(status.sources[0].next_try.is_some() && status.sources[1].last_ok.is_some());
    // Not asked again at once.
    let asked = lab.net.get(PRIMARY).connections;
    lab.refresh().await.unwrap();
    assert_eq!(lab.net.get(PRIMARY).connections, asked);
    // But when the other one fails too, and after its time.
    lab.net.set(SECOND, |p| p.fault = Fault::Refused);
    lab.net.set(PRIMARY, |p| {
        p.fault = Fault::None;
        p.records = signed(10);
    });
    lab.refresh().await.unwrap();
    assert_eq!((failures(0), failures(1)), (0, 1));
}
