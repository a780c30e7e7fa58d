//! Fair shares: questions that nobody answers take no place of those that somebody does.

use std::sync::Arc;
use std::time::Duration;

use holdfast::dns::{Ede, Question, Rcode, Rtype};
use holdfast::resolve::askers::Asker;
use holdfast::resolve::task::Options;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::build::Builder;
use crate::lab::{Lab, brief};
use crate::net::Fault;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// Questions in vain.
const MANY: usize = 5000;
/// `limits.upstream_per_zone_max`
const ZONE_MAX: usize = 200;

fn build() -> Builder {
    Builder::new(9)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .server("ns1.com.", &["192.0.2.1"])
        .server("ns2.com.", &["192.0.2.2"])
        .zone("org.")
        .server("ns1.org.", &["192.0.2.11"])
        .zone("gone.com.")
        .server("ns1.gone.com.", &["203.0.113.1"])
        .server("ns2.gone.com.", &["203.0.113.2"])
        .record("*.w A 203.0.113.80")
        .zone("known.com.")
        .server("ns1.known.com.", &["203.0.113.3"])
        .record("*.w A 203.0.113.83")
        .zone("other.org.")
        .server("ns1.other.org.", &["203.0.113.9"])
        .record("*.w A 203.0.113.90")
}

/// Asks so many in vain, all at once; while they wait, names of `alive` are answered as ever.
async fn starves(lab: &Arc<Lab>, in_vain: fn(usize) -> String, alive: &[&str]) {
    let mut waiting = JoinSet::new();
    for n in 0..MANY {
        let lab = lab.clone();
        waiting.spawn(async move { lab.ask(&in_vain(n), Rtype::A).await });
    }
    let began = Instant::now();
    let (mut n, mut most) = (0, 0);
    while began.elapsed() < 6 * SECOND {
        for zone in alive {
            n += 1;
            let (answer, took) = lab.timed(&format!("x{n}.w.{zone}")).await;
            assert_eq!(answer.rcode, Rcode::NOERROR, "{zone}: {:?}", answer.errors);
            assert!(took < 200 * MS, "{zone} took {took:?}");
        }
        if began.elapsed() > 500 * MS {
            let crowded = lab.resolver.crowded_zones();
            most = most.max(crowded.iter().map(|zone| zone.waiting).max().unwrap_or(0));
        }
        tokio::time::sleep(20 * MS).await;
    }
    let mut refused = 0;
    while let Some(answer) = waiting.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.rcode, Rcode::SERVFAIL, "{}", brief(&answer));
        let no_place = |e: &Ede| e.text.contains("questions wait for its servers already");
        refused += usize::from(answer.errors.iter().any(no_place));
    }
    println!("{n} answered beside; {most} waited, {refused} of {MANY} found no place");
    assert!(most <= ZONE_MAX, "{most}");
    assert!(refused >= MANY - 2 * ZONE_MAX, "{refused}");
    let counted = lab.metrics.upstream_crowded_total.value();
    assert!(counted >= refused as u64, "{counted}");
}

#[tokio::test(start_paused = true)]
async fn thousands_of_questions_to_a_silent_zone_leave_room_for_all_others() {
    let lab = Arc::new(Lab::new(build().build()));
    lab.net.set("gone.com.", Fault::Silent);
    starves(
        &lab,
        |n| format!("n{n}.w.gone.com."),
        &["known.com.", "other.org."],
    )
    .await;
}

/// Names below a silent top-level zone count for it, for they are found only through it; who is known already is not concerned.
#[tokio::test(start_paused = true)]
async fn thousands_of_names_below_a_silent_top_level_zone_are_one_share() {
    let lab = Arc::new(Lab::with(build().build(), |s| s.retained.enabled = false));
    lab.ask("first.w.known.com.", Rtype::A).await;
    lab.net.set("com.", Fault::Silent);
    starves(
        &lab,
        |n| format!("www.n{n}.com."),
        &["known.com.", "other.org."],
    )
    .await;
}

/// Where something is heard of a zone, each question has its prompt try beside those that wait.
#[tokio::test(start_paused = true)]
async fn a_zone_that_answers_some_questions_answers_them_all_the_while() {
    let lab = Arc::new(Lab::new(build().build()));
    lab.ask("first.w.known.com.", Rtype::A).await;
    lab.net.set("203.0.113.3", Fault::Loss(5));
    let mut asking = JoinSet::new();
    for n in 0..MANY {
        let lab = lab.clone();
        asking.spawn(async move {
            tokio::time::sleep(MS * n as u32).await;
            lab.ask(&format!("x{n}.w.known.com."), Rtype::A).await
        });
    }
    let answers = asking.join_all().await;
    let right = answers.iter().filter(|a| a.rcode == Rcode::NOERROR).count();
    println!("{right} of {MANY}");
    assert_eq!(right, MANY);
}

/// A flood of names that do not exist below an unsigned zone: so many are looked for as the limit allows, and names that exist are found
/// as before, those of the zone itself from the cache.
#[tokio::test(start_paused = true)]
async fn random_names_of_a_zone_are_limited_and_told() {
    let lab = Lab::with(build().build(), |s| s.denials_per_zone_s = 20);
    assert_eq!(
        lab.ask("www.w.known.com.", Rtype::A).await.rcode,
        Rcode::NOERROR
    );
    let mut tally = [0; 2];
    for n in 0..1000 {
        let answer = lab.ask(&format!("r{n}.known.com."), Rtype::A).await;
        match answer.rcode {
            Rcode::NXDOMAIN => tally[0] += 1,
            Rcode::SERVFAIL => tally[1] += 1,
            other => panic!("{other}"),
        }
        tokio::time::sleep(5 * MS).await;
    }
    // Five seconds, and one second's worth at once.
    assert!((60..=160).contains(&tally[0]), "{tally:?}");
    assert_eq!(
        lab.ask("www.w.known.com.", Rtype::A).await.rcode,
        Rcode::NOERROR
    );
    assert_eq!(
        lab.ask("x.w.other.org.", Rtype::A).await.rcode,
        Rcode::NOERROR
    );
    let (flooded, refused) = lab.resolver.flooded_zones();
    assert_eq!(
        (flooded.len(), flooded[0].zone.to_string().as_str()),
        (1, "known.com.")
    );
    assert_eq!(refused, flooded[0].refused);
    assert!(refused >= tally[1]);
    // It is over as soon as the flood is.
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(
        lab.ask("y.w.known.com.", Rtype::A).await.rcode,
        Rcode::NOERROR
    );
}

/// Many zones on one slow server (`limits.upstream_per_server_max`): who asks most is given half of what it may be asked, others the rest, and zones that have
/// another address are answered by that one.
#[tokio::test(start_paused = true)]
async fn zones_on_one_slow_server_share_what_it_may_be_asked() {
    const SERVER_MAX: usize = 20;
    const SLOW: &str = "203.0.113.7";
    let mut builder = build().zone("both.com.");
    builder = builder.server("ns1.both.com.", &[SLOW, "203.0.113.8"]);
    builder = builder.record("*.w A 203.0.113.88");
    for n in 0..10 {
        builder = builder.zone(&format!("z{n}.com."));
        builder = builder.server(&format!("ns1.z{n}.com."), &[SLOW]);
        builder = builder.record("*.w A 203.0.113.87");
    }
    let lab = Lab::with(builder.build(), |s| s.upstream_per_server_max = SERVER_MAX);
    let lab = Arc::new(lab);
    for n in 0..10 {
        let answer = lab.ask(&format!("first.w.z{n}.com."), Rtype::A).await;
        assert_eq!(answer.rcode, Rcode::NOERROR, "{}", brief(&answer));
    }
    lab.net.set(SLOW, Fault::Slow(25 * MS));
    let ask = |name: String, network: u8| {
        let lab = lab.clone();
        let options = Options {
            asker: Asker::of([192, 0, network, 1].into()),
            ..Options::default()
        };
        let question = Question::new(name.parse().unwrap(), Rtype::A);
        tokio::spawn(async move { lab.resolver.resolve(question, options).await })
    };
    let much: Vec<_> = (0..6 * SERVER_MAX)
        .map(|n| ask(format!("much{n}.w.z{}.com.", n % 10), 1))
        .collect();
    tokio::time::sleep(5 * MS).await;
    let beside: Vec<_> = (0..SERVER_MAX)
        .map(|n| ask(format!("much{n}.w.both.com."), 1))
        .collect();
    let seldom: Vec<_> = (0..4)
        .map(|n| ask(format!("seldom{n}.w.z{n}.com."), n + 2))
        .collect();
    for answer in seldom.into_iter().chain(beside) {
        let answer = answer.await.unwrap();
        assert_eq!(answer.rcode, Rcode::NOERROR, "{}", brief(&answer));
    }
    let (mut right, mut full) = (0, 0);
    for answer in much {
        let answer = answer.await.unwrap();
        let no_seat = |e: &Ede| e.text.contains("outstanding at its servers");
        right += usize::from(answer.rcode == Rcode::NOERROR);
        full += usize::from(answer.errors.iter().any(no_seat));
    }
    assert_eq!(right + full, 6 * SERVER_MAX);
    // Half, and what may be asked before a network is one that asks much; and who looked meanwhile for further addresses, and then found a seat.
    assert!(right >= SERVER_MAX / 2 + 5, "{right}");
    assert!(full >= SERVER_MAX, "{full}");
    let passed_over = lab.metrics.upstream_server_crowded_total.value();
    assert!(passed_over >= full as u64, "{passed_over}");
    let told = lab.resolver.full_servers();
    let told: Vec<_> = told
        .iter()
        .map(|of| (of.server.to_string(), of.refused))
        .collect();
    // The worst one first; whoever found no seat there went on to others.
    assert_eq!(told[0].0, SLOW, "{told:?}");
    assert!(told[0].1 >= full as u64, "{told:?}");
    let all: u64 = told.iter().map(|(_, refused)| refused).sum();
    assert_eq!(all, passed_over, "{told:?}");
    // That it was full is not held against it.
    let after = ask("after.w.z1.com.".into(), 1).await.unwrap();
    assert_eq!(after.rcode, Rcode::NOERROR, "{}", brief(&after));
}
