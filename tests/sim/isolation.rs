//! Months of isolation: the signatures of every mirrored zone run out, then the copies themselves become too old, then the world is back.

use std::time::Duration;

use holdfast::config::AgeMax;
use holdfast::dns::{Ede, Rcode, Rtype};
use holdfast::reach::State;
use holdfast::resolve::Security;
use tokio::time::{Instant, sleep};

use crate::net::Fault;
use crate::outage::{Site, codes};
use crate::signer::{EXPIRATION, INCEPTION};

const SECOND: Duration = Duration::from_secs(1);
const DAY_S: u64 = 86_400;
const MIRRORED: [&str; 3] = [".", "home.", "far."];
/// `age_max` of the mirrors, days.
const AGE_MAX_DAYS: u64 = 50;
const DAYS: u64 = 60;
/// The day on which the world is cut off, counted as the days of signatures are.
const CUT_DAY: u64 = 1;
/// On these the server is restarted: signatures have run out; the copies are too old.
const RESTART_DAYS: [u64; 2] = [30, 55];
/// So many days after their end old answers are none any more (`stale.age_max`).
const STALE_DAYS: u64 = 3;

/// Zones whose servers stand in the country go on signing.
fn sign_anew(site: &mut Site, zones: &[&str], serial: u32, day: u64) {
    for zone in zones {
        site.world.republish(zone, serial, |_, signer| {
            let signer = signer.expect("a signed zone");
            let now_s = INCEPTION + (day * DAY_S) as u32;
            signer.inception = now_s - 86_400;
            signer.expiration = now_s + 14 * 86_400;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn names_outlive_signatures_by_age_max_and_are_secure_again_at_once() {
    let age_max = AgeMax::Seconds(AGE_MAX_DAYS * DAY_S);
    let mut site = Site::start_with(&MIRRORED, |config| {
        for mirror in &mut config.mirrors {
            mirror.age_max = age_max;
        }
    })
    .await;
    site.right("www.shop.home.", Rtype::A).await;
    for gone in ["roots", "home", "far", "sources"] {
        site.world.net.set(gone, Fault::Silent);
    }
    site.until(".", State::Isolated, 120 * SECOND).await;
    let (mut proven, mut as_of, mut too_old) = (0, 0, 0);
    for day in CUT_DAY..CUT_DAY + DAYS {
        let wall_s = u64::from(INCEPTION) + day * DAY_S + 7200;
        site.clock.set_wall(Duration::from_secs(wall_s));
        if day % 5 == 0 {
            let serial = day as u32 + 1;
            sign_anew(
                &mut site,
                &["shop.home.", "cross.home.", "host.far."],
                serial,
                day,
            );
        }
        sleep(90 * SECOND).await;
        if RESTART_DAYS.contains(&day) {
            site.restart().await;
            sleep(10 * SECOND).await;
        }
        if day >= CUT_DAY + AGE_MAX_DAYS {
            // Nothing is answered from copies that are too old, and it is said. Names that were known live on for a while as old answers.
            let (fresh, nowhere) = (format!("x{day}.any.shop.home."), format!("nowhere{day}."));
            let known = "www.shop.home.".to_string();
            let is_told = day > CUT_DAY + AGE_MAX_DAYS + STALE_DAYS;
            let mut lost = vec![&fresh, &nowhere];
            lost.extend(is_told.then_some(&known));
            for text in lost {
                let (answer, _) = site.ask(text, Rtype::A).await;
                assert_eq!(answer.rcode, Rcode::SERVFAIL, "day {day}: {text}");
                let says = |ede: &Ede| ede.text.contains("too old") && ede.text.contains("50 days");
                assert!(answer.errors.iter().any(says), "{:?}", answer.errors);
            }
            too_old += 1;
            continue;
        }
        let fresh = format!("x{day}.any.shop.home.");
        let (none, nowhere) = (format!("none{day}.shop.home."), format!("nowhere{day}."));
        for (text, rtype) in [
            ("www.shop.home.", Rtype::A),
            ("abroad.shop.home.", Rtype::A),
            ("www.blog.home.", Rtype::A),
            ("www.open.far.", Rtype::A),
            ("www.cross.home.", Rtype::A),
            ("info.home.", Rtype::TXT),
            ("home.", Rtype::DS),
            (&fresh, Rtype::A),
            (&none, Rtype::A),
            (&nowhere, Rtype::A),
        ] {
            let (answer, signed, took) = site.true_answer(text, rtype).await;
            assert!(took < 2 * SECOND, "day {day}: {text} took {took:?}");
            if wall_s <= u64::from(EXPIRATION) {
                assert_eq!(
                    answer.security == Security::Secure,
                    signed,
                    "day {day}: {text}"
                );
                proven += 1;
                continue;
            }
            // AD=0 for everything, and extended errors 3 and 7 where there would have been AD=1.
            assert_ne!(answer.security, Security::Secure, "day {day}: {text}");
            if signed {
                assert_eq!(answer.security, Security::SecureAsOf, "day {day}: {text}");
                for code in [Ede::STALE_ANSWER, Ede::SIGNATURE_EXPIRED] {
                    assert!(
                        codes(&answer).contains(&code),
                        "{text}: {:?}",
                        answer.errors
                    );
                }
            }
            as_of += 1;
        }
    }
    println!("{proven} proven, {as_of} as of their time, {too_old} days without");
    assert!(proven > 100 && as_of > 300 && too_old >= 8);

    sign_anew(&mut site, &MIRRORED, 100, CUT_DAY + DAYS);
    sign_anew(
        &mut site,
        &["shop.home.", "cross.home.", "host.far."],
        100,
        CUT_DAY + DAYS,
    );
    for (i, zone) in MIRRORED.iter().enumerate() {
        let source = format!("198.51.9.{}", i + 1);
        site.world
            .net
            .serve(&source, site.world.image(zone), &["sources"]);
    }
    site.world.net.heal();
    let back = Instant::now();
    loop {
        let (answer, _) = site.ask("www.shop.home.", Rtype::A).await;
        if answer.security == Security::Secure {
            break;
        }
        assert!(back.elapsed() < 60 * SECOND, "{:?}", answer.errors);
        sleep(SECOND).await;
    }
    println!("secure {:?} after the return", back.elapsed());
    sleep((60 * SECOND).saturating_sub(back.elapsed())).await;
    for text in [
        "www.shop.home.",
        "www.cross.home.",
        "www.host.far.",
        "nowhere.",
        "www.blog.home.",
    ] {
        site.right(text, Rtype::A).await;
    }
}
