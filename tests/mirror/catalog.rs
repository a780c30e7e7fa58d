//! Catalogs as mirrors: a list that loses most of its members waits for the operator, and long lists are taken up at once.

use holdfast::config::{self, Config, MirrorConfig, Verify};
use holdfast::dns::{Name, Record};
use holdfast::mirror::Mirrors;

use crate::lab::{Lab, PRIMARY};
use crate::signer::{name, rrs};

/// A catalog whose version is `version`, and that lists so many zones.
fn catalog(serial: u32, version: u32, members: u32) -> Vec<Record> {
    let member = |n| format!("m{n}.zones.test. 0 PTR z{n}.example.\n");
    let members: String = (0..members).map(member).collect();
    rrs(&format!(
        "test. 0 SOA invalid. invalid. {serial} 3600 600 86400 0\ntest. 0 NS invalid.\n\
         version.test. 0 TXT {version}\n{members}"
    ))
}

async fn started(is_followed: bool) -> Lab {
    let mut lab = Lab::new();
    lab.config.verify = Verify::None;
    lab.catalogs = is_followed
        .then(|| config::Catalog {
            zone: name("test."),
            produce: false,
            members_max: 1000,
            member: MirrorConfig::new(name("test.")),
        })
        .into_iter()
        .collect();
    lab.net.set(PRIMARY, |p| p.records = catalog(1, 2, 40));
    lab.start().await;
    lab.refresh().await.unwrap();
    lab
}

#[tokio::test(start_paused = true)]
async fn a_catalog_that_drops_its_members_is_held() {
    let lab = started(true).await;
    lab.net.set(PRIMARY, |p| p.records = catalog(2, 2, 31));
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(2), "nine of them may go");
    lab.net.set(PRIMARY, |p| p.records = catalog(3, 2, 1));
    let error = lab.refresh().await.unwrap_err();
    assert!(
        error.contains("30 of 31 members of the catalog are gone"),
        "{error}"
    );
    assert_eq!(lab.serial(), Some(2));
    let held = lab.status().held.unwrap();
    assert_eq!(held.serial, 3);
    lab.mirror().accept(3).await.unwrap();
    assert_eq!(lab.serial(), Some(3));
}

/// A broken version is not followed: the next one is compared with what is.
#[tokio::test(start_paused = true)]
async fn a_broken_catalog_is_no_way_around_the_brake() {
    let mut lab = started(true).await;
    lab.net.set(PRIMARY, |p| p.records = catalog(2, 3, 0));
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(2));
    // Not after a restart either.
    lab.stop().await;
    lab.start().await;
    lab.net.set(PRIMARY, |p| p.records = catalog(3, 2, 0));
    let error = lab.refresh().await.unwrap_err();
    assert!(error.contains("40 of 40 members"), "{error}");
    assert_eq!(lab.serial(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn lists_that_nobody_follows_are_not_held() {
    let lab = started(false).await;
    lab.net.set(PRIMARY, |p| p.records = catalog(2, 2, 0));
    lab.refresh().await.unwrap();
    assert_eq!(lab.serial(), Some(2));
}

/// Each change of the list of mirrors copies it: one by one, twenty thousand are two hundred million copies.
#[tokio::test(start_paused = true)]
async fn members_come_and_go_with_one_change_of_the_list() {
    const MEMBERS: usize = 20_000;
    let lab = Lab::new();
    let mut config = Config::default();
    config.server.data_dir = lab.dir.path().to_owned();
    let mirrors = Mirrors::start(&config, lab.deps(lab.dir.path())).await;
    let list = mirrors.watch_list();
    let zones: Vec<Name> = (0..MEMBERS)
        .map(|n| name(&format!("z{n}.example.")))
        .collect();
    let member = |zone: &Name| MirrorConfig {
        verify: Verify::None,
        ..MirrorConfig::new(zone.clone())
    };
    let mut configs: Vec<MirrorConfig> = zones.iter().map(member).collect();
    // Whatever is listed twice is one mirror.
    configs.push(member(&zones[0]));
    let before = *list.borrow();
    mirrors.add_all(configs.clone()).await;
    assert_eq!((mirrors.all().len(), *list.borrow()), (MEMBERS, before + 1));
    mirrors.add_all(configs).await;
    assert_eq!(*list.borrow(), before + 1, "they are there already");
    mirrors.remove_all(&zones);
    assert_eq!((mirrors.all().len(), *list.borrow()), (0, before + 2));
    mirrors.remove_all(&zones);
    assert_eq!(*list.borrow(), before + 2);
    mirrors.stop();
}
