//! What is kept: refused versions for inspection, old ones by number and room, files that the operator brings.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use holdfast::clock::Clock;
use holdfast::config::Config;
use holdfast::dns::{Record, Rtype};
use holdfast::mirror::{GenerationState, offline};

use crate::lab::{Fault, Lab, PRIMARY, START_S, own_records, signed, signer, write_zone};
use crate::signer::name;

/// Signed, and changed afterwards.
fn forged(serial: u32) -> Vec<Record> {
    let mut records = signed(serial);
    let is_www = |r: &&mut Record| r.rtype == Rtype::A && r.name == name("www.test.");
    records.iter_mut().find(is_www).unwrap().rdata[3] ^= 1;
    records
}

/// Serial and whether there is a file of each version in this state, newest first.
fn in_state(lab: &Lab, state: GenerationState) -> Vec<(u32, bool)> {
    let list = lab.mirrors.as_ref().unwrap().generations(&lab.mirror());
    let list = list.iter().filter(|v| v.state == state);
    list.map(|v| (v.serial, v.file.is_some())).collect()
}

fn images(lab: &Lab) -> Vec<PathBuf> {
    let entries = fs::read_dir(lab.dir.path().join("mirror/test")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(start_paused = true)]
async fn refused_versions_are_kept_the_oldest_go_first() {
    let mut lab = Lab::with_ten().await;
    for serial in 11..=14 {
        lab.net.set(PRIMARY, |p| p.records = forged(serial));
        // Twice: it takes no more room.
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            lab.refresh().await.unwrap_err();
        }
    }
    let expected = [(14, true), (13, true), (12, false), (11, false)];
    let refused = |lab: &Lab| in_state(lab, GenerationState::Refused);
    assert_eq!(refused(&lab), expected);
    assert_eq!(images(&lab).len(), 3);
    lab.stop().await;
    lab.net.set(PRIMARY, |p| p.fault = Fault::Refused);
    lab.start().await;
    assert_eq!(lab.serial(), Some(10));
    assert_eq!(refused(&lab), expected);
}

/// Whoever tries to accept what is not held is told why it cannot be.
#[tokio::test(start_paused = true)]
async fn only_a_held_version_can_be_accepted() {
    let lab = Lab::with_ten().await;
    lab.net.set(PRIMARY, |p| p.records = forged(11));
    lab.refresh().await.unwrap_err();
    for (serial, expected) in [
        (11, "version 11 is not held for you: it failed verification"),
        (10, "version 10 is not held for you: it was admitted"),
        (12, "no version 12 to take"),
    ] {
        let error = lab.mirror().accept(serial).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!(lab.serial(), Some(10));
}

/// Not even when nothing else is left, and the ledger is not there to say what it was.
#[tokio::test(start_paused = true)]
async fn a_refused_version_is_never_served() {
    let mut lab = Lab::with_ten().await;
    lab.net.set(PRIMARY, |p| p.records = forged(11));
    lab.refresh().await.unwrap_err();
    assert!(lab.mirror().accept(11).await.is_err());
    assert!(lab.mirror().rollback(Some(11)).await.is_err());
    lab.stop().await;
    fs::remove_dir_all(lab.dir.path().join("ledger")).unwrap();
    let is_ten = |path: &&PathBuf| path.to_str().unwrap().contains("/10-");
    fs::remove_file(images(&lab).iter().find(is_ten).unwrap()).unwrap();
    lab.net.set(PRIMARY, |p| p.fault = Fault::Refused);
    lab.start().await;
    assert_eq!(lab.serial(), None);
    assert_eq!(in_state(&lab, GenerationState::Refused), [(11, true)]);
    assert!(lab.mirror().accept(11).await.is_err());
    assert!(lab.mirror().rollback(Some(11)).await.is_err());
    assert_eq!(lab.serial(), None);
}

/// What was refused by a clock that was wrong is good later, and keeps its place on disk.
#[tokio::test(start_paused = true)]
async fn a_refused_version_can_be_admitted_later() {
    let mut lab = Lab::new();
    lab.clock
        .set_wall(Duration::from_secs(START_S + 400 * 86_400));
    lab.net.set(PRIMARY, |p| p.records = signed(10));
    lab.start().await;
    lab.refresh().await.unwrap_err();
    assert_eq!(in_state(&lab, GenerationState::Refused), [(10, true)]);
    lab.clock.set_wall(Duration::from_secs(START_S));
    lab.refresh().await.unwrap();
    assert_eq!(lab.versions(), ["10 verified Current"]);
    lab.stop().await;
    lab.start().await;
    assert_eq!(lab.serial(), Some(10));
}

#[tokio::test(start_paused = true)]
async fn old_versions_go_by_number_and_by_room() {
    let mut lab = Lab::with_ten().await;
    let one = fs::metadata(&images(&lab)[0]).unwrap().len();
    lab.stop().await;
    lab.config.generations_bytes_max = one * 5 / 2;
    lab.start().await;
    for serial in 11..=14 {
        lab.net.set(PRIMARY, |p| p.records = signed(serial));
        tokio::time::sleep(Duration::from_secs(1)).await;
        lab.refresh().await.unwrap();
    }
    assert_eq!(lab.versions(), ["14 verified Current", "13 verified Kept"]);
    lab.stop().await;
    // The one that is served stays, whatever room it takes.
    lab.config.generations_bytes_max = 1024;
    lab.start().await;
    lab.net.set(PRIMARY, |p| p.records = signed(15));
    lab.refresh().await.unwrap();
    assert_eq!(lab.versions(), ["15 verified Current"]);
}

// The operator's files.

#[tokio::test(start_paused = true)]
async fn an_imported_file_passes_through_everything() {
    let lab = Lab::with_ten().await;
    let path = lab.dir.path().join("operator.zone");
    let import = async |records: &[Record]| {
        write_zone(&path, records);
        lab.import(&path).await
    };
    let contact = lab.current().unwrap().last_contact_at();
    tokio::time::sleep(Duration::from_secs(5)).await;
    import(&signed(11)).await.unwrap();
    let generation = lab.current().unwrap();
    assert_eq!(generation.serial(), 11);
    let source = &generation.provenance().source;
    assert_eq!(*source, format!("import:{}", path.display()));
    // A file says nothing about the network.
    assert_eq!(generation.last_contact_at(), contact);
    assert!(
        generation
            .row()
            .proves
            .contains("every record is the owner's")
    );
    let check = async |records: &[Record], expected: &str| {
        let error = import(records).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert_eq!(lab.serial(), Some(11), "{expected}");
    };
    check(
        &signed(11),
        "serial 11 with this content is current already",
    )
    .await;
    check(
        &signed(10),
        "its serial 10 is older than 11, which is current here",
    )
    .await;
    check(&forged(12), "serial 12 refused: ").await;
    let small = signer().sign(&own_records(13, 2));
    check(&small, "serial 13 is held for the operator").await;
    fs::write(&path, "no zone").unwrap();
    let error = lab.import(&path).await.unwrap_err();
    assert!(error.contains("not a zone: "), "{error}");
    fs::remove_file(&path).unwrap();
    let error = lab.import(&path).await.unwrap_err();
    assert!(error.contains("read: entity not found"), "{error}");

    lab.mirror().accept(13).await.unwrap();
    assert_eq!(lab.serial(), Some(13));
}

#[tokio::test(start_paused = true)]
async fn a_file_is_imported_without_a_server() {
    let mut lab = Lab::new();
    lab.net.set(PRIMARY, |p| p.fault = Fault::Refused);
    let mut config = Config::default();
    config.server.data_dir = lab.dir.path().to_owned();
    config.resolver.anchors = lab.anchors.clone();
    let path = lab.dir.path().join("operator.zone");
    write_zone(&path, &signed(10));
    let clock = || Clock::starting_at(Duration::from_secs(START_S));
    let import = async || offline::import(&config, &lab.config, &path, clock()).await;
    assert_eq!(import().await.unwrap().serial(), 10);
    let error = import().await.unwrap_err().to_string();
    assert!(error.contains("current already"), "{error}");
    write_zone(&path, &forged(11));
    let error = import().await.unwrap_err().to_string();
    assert!(error.contains("serial 11 refused"), "{error}");
    let listed = || {
        let list = offline::versions(lab.dir.path(), &name("test.")).unwrap();
        list.iter()
            .map(|v| format!("{} {:?}", v.serial, v.state))
            .collect::<Vec<_>>()
    };
    let mut found = listed();
    found.sort();
    assert_eq!(found, ["10 Current", "11 Refused"]);
    lab.start().await;
    assert_eq!(lab.serial(), Some(10));
    // While a server runs, it must be asked.
    let error = offline::versions(lab.dir.path(), &name("test.")).unwrap_err();
    assert!(
        error.to_string().contains("in use by another process"),
        "{error}"
    );
}

/// Whoever looks while a transfer runs sees how far it is.
#[tokio::test(start_paused = true)]
async fn a_running_transfer_is_shown() {
    let lab = Lab::with_ten().await;
    lab.net.set(PRIMARY, |p| {
        p.records = signed(11);
        p.fault = Fault::StallTransfer;
    });
    assert_eq!(lab.status().transfer, None);
    let look = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let transfer = lab.status().transfer.unwrap();
        assert_eq!(
            (&*transfer.stage, &*transfer.source),
            ("fetching", "axfr:192.0.2.1")
        );
        assert!(transfer.bytes > 500 && transfer.records > 5, "{transfer:?}");
    };
    let (refreshed, ()) = tokio::join!(lab.refresh(), look);
    assert!(refreshed.unwrap_err().contains("stalled"));
    assert_eq!(lab.status().transfer, None);
}
