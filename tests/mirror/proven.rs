//! What waits for somebody who can vouch for it, and what an operator has rolled back from.

use std::time::Duration;

use holdfast::mirror::DsAnswer;

use crate::lab::{Fault, Lab, PRIMARY, signed, write_zone};
use crate::signer::name;
use crate::{lab, log, signer};

/// A snapshot that only the parent can vouch for does not hold up the start, and is taken up once it can be.
#[tokio::test(start_paused = true)]
async fn a_snapshot_without_an_anchor_waits_for_the_parent() {
    let mut lab = Lab::new();
    lab.anchors.zones[0].owner = name("elsewhere.");
    let path = lab.dir.path().join("snapshot.zone");
    write_zone(&path, &signed(10));
    lab.config.bootstrap = Some(path);
    lab.net.set(PRIMARY, |p| p.fault = Fault::Refused);
    *lab.parent.answer.lock().unwrap() = DsAnswer::Unavailable("no route".to_owned());
    lab.start().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(lab.serial(), None);
    assert_eq!(log::count("mirror refresh failed"), 1);
    *lab.parent.answer.lock().unwrap() = DsAnswer::Secure(lab::signer().ds());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(lab.serial(), Some(10));
}

/// Mirrors start before the resolver: that is no failure, unless none comes.
#[tokio::test(start_paused = true)]
async fn the_first_refresh_waits_for_somebody_to_ask() {
    for (comes_after_s, failures) in [(3, 0), (121, 1)] {
        let mut lab = Lab::new();
        lab.anchors.zones[0].owner = name("elsewhere.");
        lab.net.set(PRIMARY, |p| p.records = signed(10));
        *lab.parent.answer.lock().unwrap() = DsAnswer::Secure(lab::signer().ds());
        lab.parent.begun.send_replace(false);
        lab.start().await;
        tokio::time::sleep(Duration::from_secs(comes_after_s)).await;
        let error = lab.mirror().last_error();
        let is_told = error.is_some_and(|error| error.contains("nobody to ask yet"));
        assert_eq!((lab.serial(), is_told), (None, failures > 0));
        lab.parent.begun.send_replace(true);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!((lab.serial(), lab.mirror().last_error()), (Some(10), None));
        let failed = &lab.metrics.mirror_refresh_failures_total;
        assert_eq!(failed.value(), failures);
    }
}

/// A stored version that only the parent can vouch for is no failure while there is nobody to ask, and serves once there is,
/// though no source can be reached.
#[tokio::test(start_paused = true)]
async fn a_stored_version_without_an_anchor_waits_for_the_parent() {
    for (parent, serial) in [
        (DsAnswer::Secure(lab::signer().ds()), Some(10)),
        (DsAnswer::Secure(signer::Signer::new("test.", 2).ds()), None),
    ] {
        let mut lab = Lab::with_ten().await;
        lab.stop().await;
        // It was verified with an anchor that is gone.
        lab.anchors.zones[0].owner = name("elsewhere.");
        lab.net.set(PRIMARY, |p| p.fault = Fault::Refused);
        *lab.parent.answer.lock().unwrap() = DsAnswer::Unavailable("no route".to_owned());
        lab.parent.begun.send_replace(false);
        let (failed, refused) = (
            log::count("mirror refresh failed"),
            log::count("is not served any more"),
        );
        lab.start().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!((lab.serial(), lab.mirror().last_error()), (None, None));
        assert_eq!(log::count("mirror refresh failed"), failed);
        assert!(log::count("the stored version is not served yet: what it was verified with") > 0);
        // It cannot be asked at first.
        lab.parent.begun.send_replace(true);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let error = lab.mirror().last_error().unwrap();
        assert!(error.contains("could not be had: no route"), "{error}");
        *lab.parent.answer.lock().unwrap() = parent;
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(lab.serial(), serial);
        // Said once, however often the sources are asked.
        let told = log::count("is not served any more") - refused;
        assert_eq!(told, usize::from(serial.is_none()));
        lab.stop().await;
    }
}

/// What an operator has rolled back from does not come again because other anchors are configured.
#[tokio::test(start_paused = true)]
async fn a_rollback_stands_when_the_version_is_proven_anew() {
    let mut lab = Lab::with_ten().await;
    lab.net.set(PRIMARY, |p| p.records = signed(11));
    lab.refresh().await.unwrap();
    lab.mirror().rollback(None).await.unwrap();
    lab.stop().await;
    let other = signer::Signer::new("test.", 2).ds();
    lab.anchors.zones[0].ds.extend(other);
    lab.start().await;
    assert_eq!(lab.serial(), Some(10));
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(10));
    lab.net.set(PRIMARY, |p| p.records = signed(12));
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(12));
}

/// A transfer that hangs does not keep the operator waiting.
#[tokio::test(start_paused = true)]
async fn a_rollback_does_not_wait_for_a_transfer() {
    let lab = Lab::with_ten().await;
    lab.net.set(PRIMARY, |p| p.records = signed(11));
    lab.refresh().await.unwrap();
    lab.net.set(PRIMARY, |p| {
        p.records = signed(12);
        p.fault = Fault::StallTransfer;
    });
    let before = lab.clock.now().mono;
    let refresh = lab.refresh();
    let rollback = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        lab.mirror().rollback(None).await.unwrap();
        assert_eq!(lab.serial(), Some(10));
        assert!(lab.clock.now().mono - before < Duration::from_secs(2));
    };
    // Whoever asked for the refresh is still answered.
    let (refreshed, ()) = tokio::join!(refresh, rollback);
    assert!(refreshed.unwrap_err().contains("stalled"));
}
