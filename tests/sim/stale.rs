//! Old answers (RFC 8767) under load: what an outage costs its clients, the dead servers, and everybody else.

use std::sync::Arc;
use std::time::Duration;

use holdfast::dns::{Ede, Question, Rtype};
use holdfast::resolve::Resolution;
use holdfast::resolve::task::Options;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::build::Builder;
use crate::lab::{Lab, brief, codes};
use crate::net::Fault;
use crate::signer::name;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);
/// TTL of everything, seconds.
const TTL: u32 = 40;
/// Names of the operator who vanishes.
const NAMES: u64 = 100;
/// Servers of his.
const DEAD: [&str; 4] = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"];

/// `address`: what the names of `big.com.` have.
fn build(address: &str) -> Builder {
    let b = Builder::new(5)
        .zone(".")
        .signed()
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .signed()
        .server("ns1.com.", &["192.0.2.1"])
        .zone("other.com.")
        .ttl(TTL)
        .signed()
        .server("ns1.other.com.", &["203.0.113.9"])
        .record("*.w A 203.0.113.90")
        .zone("big.com.")
        .ttl(TTL)
        .signed()
        .server("ns1.big.com.", &DEAD[..2])
        .server("ns2.big.com.", &DEAD[2..]);
    (0..NAMES).fold(b, |b, n| b.record(&format!("n{n} A {address}")))
}

/// A question of the load, and what became of it.
struct Asked {
    at: Duration,
    took: Duration,
    of_big: bool,
    answer: Resolution,
}

/// Asks so many times a second, for so many seconds, and half as often for other names, which nobody has asked for before.
async fn load(lab: &Arc<Lab>, per_s: u64, seconds: u64, round: u64) -> Vec<Asked> {
    let (began, mut under_way, mut done) = (Instant::now(), JoinSet::new(), Vec::new());
    for n in 0..per_s * seconds {
        let at = began + SECOND * n as u32 / per_s as u32;
        tokio::time::sleep_until(at).await;
        // Some names are asked for much more than others.
        let rank = (n * 7919) % NAMES;
        let mut questions = vec![(format!("n{}.big.com.", rank * rank / NAMES), true)];
        if n % 2 == 0 {
            questions.push((format!("x{round}-{n}.w.other.com."), false));
        }
        for (question, of_big) in questions {
            let lab = lab.clone();
            under_way.spawn(async move {
                let asked = Question::new(name(&question), Rtype::A);
                // As a listening thread does, which has popular answers refreshed.
                let known = lab.resolver.known(&asked, Options::default());
                let (answer, took) = match known {
                    Some(known) => (known, Duration::ZERO),
                    None => lab.timed(&question).await,
                };
                let at = at - began;
                Asked {
                    at,
                    took,
                    of_big,
                    answer,
                }
            });
        }
        while let Some(asked) = under_way.try_join_next() {
            done.push(asked.unwrap());
        }
    }
    while let Some(asked) = under_way.join_next().await {
        done.push(asked.unwrap());
    }
    done
}

/// The same without anything old: nobody has asked before, so nothing can be answered, and still few packets are sent and the return is
/// found at once.
#[tokio::test(start_paused = true)]
async fn who_vanishes_and_was_not_asked_before_is_left_alone_too() {
    const PER_S: u64 = 50;
    let lab = Arc::new(Lab::new(build("203.0.113.80").build()));
    tokio::spawn(lab.resolver.clone().keep_fresh());
    // His delegation is known, his names are not.
    lab.ask("nosuch.big.com.", Rtype::A).await;
    lab.net.set("big.com.", Fault::Silent);
    lab.net.take_packets();
    let gone_at = Instant::now();
    let during = load(&lab, PER_S, 90, 1).await;
    let of_others = during.iter().filter(|a| !a.of_big);
    for asked in of_others {
        assert!(brief(&asked.answer).ends_with("203.0.113.90"));
        assert!(asked.took < 200 * MS, "{:?}", asked.took);
    }
    let is_dead = |host: &std::net::IpAddr| DEAD.contains(&host.to_string().as_str());
    let packets = lab.net.take_packets();
    let late = (packets.iter())
        .filter(|p| is_dead(&p.host) && p.at > gone_at + 10 * SECOND)
        .count();
    let questions = (during.iter())
        .filter(|a| a.of_big && a.at > 10 * SECOND)
        .count();
    println!("{late} packets to dead servers for {questions} questions");
    assert!(late * 20 <= questions, "{late} for {questions}");
    lab.net.heal();
    let after = load(&lab, PER_S, 30, 2).await;
    let failed = |a: &&Asked| a.of_big && !brief(&a.answer).ends_with("203.0.113.80");
    let last = after.iter().filter(failed).map(|a| a.at).max();
    println!("the last failure {last:?} after the return");
    assert!(last.unwrap_or_default() < 10 * SECOND, "{last:?}");
}

/// October 2021: every server of a busy operator is gone (issue: vanishing operator).
#[tokio::test(start_paused = true)]
async fn who_vanishes_is_answered_for_and_left_alone_until_he_returns() {
    const PER_S: u64 = 50;
    let lab = Arc::new(Lab::new(build("203.0.113.80").build()));
    tokio::spawn(lab.resolver.clone().keep_fresh());
    let before = load(&lab, PER_S, 60, 0).await;
    assert!(before.iter().all(|a| brief(&a.answer).contains(" A ")));
    lab.net.set("big.com.", Fault::Silent);
    lab.net.take_packets();
    let gone_at = Instant::now();
    let during = load(&lab, PER_S, 180, 1).await;
    // Nothing is lost, and from the first seconds on nobody waits.
    let mut slow = 0;
    for asked in &during {
        let got = brief(&asked.answer);
        let expected = if asked.of_big {
            "203.0.113.80"
        } else {
            "203.0.113.90"
        };
        assert!(
            got.ends_with(expected),
            "{:?}: {got} {:?}",
            asked.at,
            asked.answer.errors
        );
        assert!(
            asked.took <= 1850 * MS,
            "{:?} took {:?}",
            asked.at,
            asked.took
        );
        slow += u32::from(asked.took > 100 * MS);
        let late = asked.at > Duration::from_secs(u64::from(TTL) + 5);
        assert!(
            !late || asked.took < 100 * MS,
            "{:?} took {:?}",
            asked.at,
            asked.took
        );
    }
    let stale = during
        .iter()
        .filter(|a| codes(&a.answer).contains(&Ede::STALE_ANSWER));
    let stale = stale.count();
    let packets = lab.net.take_packets();
    let dead = |host: &std::net::IpAddr| DEAD.contains(&host.to_string().as_str());
    let to_dead: Vec<_> = packets.iter().filter(|p| dead(&p.host)).collect();
    let late = to_dead
        .iter()
        .filter(|p| p.at > gone_at + 5 * SECOND)
        .count();
    if std::env::var("STALE_SHOW").is_ok() {
        for p in &to_dead {
            println!(
                "PKT {} {} {:?}",
                (p.at - gone_at).as_millis(),
                p.question,
                p.transport
            );
        }
    }
    let questions = during
        .iter()
        .filter(|a| a.of_big && a.at > 5 * SECOND)
        .count();
    println!(
        "{questions} questions, {stale} old answers, {slow} slow, {late} packets to dead servers from 5 s on"
    );
    assert!(stale * 2 > questions, "{stale} of {questions}");
    assert!(
        late * 20 <= questions,
        "{late} packets for {questions} questions"
    );
    assert!(slow < 50, "{slow} waited");
    for second in 5..180 {
        let from = gone_at + second * SECOND;
        let sent = to_dead
            .iter()
            .filter(|p| p.at >= from && p.at < from + SECOND)
            .count();
        assert!(sent <= 20, "{sent} packets in second {second}");
    }

    // He is back, and has moved.
    lab.net.heal();
    let images = build("203.0.113.81").build().images;
    for host in DEAD {
        lab.net
            .serve(host, images[&name("big.com.")].clone(), &["big.com."]);
    }
    let after = load(&lab, PER_S, 60, 2).await;
    let is_old = |a: &&Asked| a.of_big && brief(&a.answer).ends_with("203.0.113.80");
    let last_old = after.iter().filter(is_old).map(|a| a.at).max();
    println!("the last old answer {last_old:?} after the return");
    assert!(last_old.unwrap_or_default() < 10 * SECOND, "{last_old:?}");
    for asked in after.iter().filter(|a| a.of_big && a.at > 10 * SECOND) {
        assert!(brief(&asked.answer).ends_with("203.0.113.81"));
        assert_eq!(codes(&asked.answer), [0u16; 0]);
    }
    assert_eq!(lab.resolver.zones_in_trouble(), []);
}

/// Zones of the operator who has many, and questions a second for all of them.
const ZONES: usize = 8;
const MANY_PER_S: u64 = 48;
/// Those that are dropped where some are.
const DROPPED: usize = 3;

/// An operator's zones `z0.com.` and so on, each with `servers(n)`.
fn operator(servers: &dyn Fn(usize) -> Vec<String>, address: &str) -> Builder {
    let mut b = Builder::new(8)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .server("ns1.com.", &["192.0.2.1"]);
    for n in 0..ZONES {
        b = b.zone(&format!("z{n}.com.")).ttl(TTL);
        for (k, server) in servers(n).iter().enumerate() {
            b = b.server(&format!("ns{k}.z{n}.com."), &[server]);
        }
        for k in 0..20 {
            b = b.record(&format!("n{k} A {address}"));
        }
        b = b.record("*.w A 203.0.113.90");
    }
    b
}

/// A question for one of the operator's names.
struct OfOperator {
    at: Duration,
    took: Duration,
    zone: usize,
    got: String,
    /// It was answered with old data.
    old: bool,
}

/// Asks for the operator's names for so many seconds.
async fn ask_operator(lab: &Arc<Lab>, seconds: u64) -> Vec<OfOperator> {
    let (began, mut under_way) = (Instant::now(), JoinSet::new());
    for n in 0..MANY_PER_S * seconds {
        let at = began + SECOND * n as u32 / MANY_PER_S as u32;
        tokio::time::sleep_until(at).await;
        let (zone, lab) = ((n * 7919 % 61) as usize * ZONES / 61, lab.clone());
        under_way.spawn(async move {
            let asked = format!("n{}.z{zone}.com.", n * 31 % 20);
            let known = Question::new(name(&asked), Rtype::A);
            let (answer, took) = match lab.resolver.known(&known, Options::default()) {
                Some(known) => (known, Duration::ZERO),
                None => lab.timed(&asked).await,
            };
            OfOperator {
                at: at - began,
                took,
                zone,
                got: brief(&answer),
                old: answer.sources.stale,
            }
        });
    }
    under_way.join_all().await
}

/// Packets to the operator from 5 s on, per question and at most in one second.
fn cost(lab: &Lab, gone_at: Instant, seconds: u64) -> (f64, usize) {
    let packets = lab.net.take_packets();
    let sent = packets
        .iter()
        .filter(|p| p.host.to_string().starts_with("203.0.113.") && p.at >= gone_at + 5 * SECOND);
    let seconds_of: Vec<u64> = sent.map(|p| (p.at - gone_at).as_secs()).collect();
    let in_second = |s| seconds_of.iter().filter(|at| **at == s).count();
    let most = (5..seconds).map(in_second).max().unwrap_or_default();
    let ratio = seconds_of.len() as f64 / (MANY_PER_S * (seconds - 5)) as f64;
    println!("{ratio:.4} packets per question, at most {most} in a second");
    (ratio, most)
}

/// He has eight zones on the same four servers: they are looked for together.
#[tokio::test(start_paused = true)]
async fn an_operators_zones_cost_what_one_of_them_costs() {
    let servers = |_| DEAD.map(String::from).to_vec();
    let lab = Arc::new(Lab::new(operator(&servers, "203.0.113.80").build()));
    tokio::spawn(lab.resolver.clone().keep_fresh());
    ask_operator(&lab, 45).await;
    for server in DEAD {
        lab.net.set(server, Fault::Silent);
    }
    lab.net.take_packets();
    let gone_at = Instant::now();
    for OfOperator { at, took, got, .. } in ask_operator(&lab, 120).await {
        assert!(got.ends_with("203.0.113.80"), "{at:?}: {got}");
        assert!(took <= 1850 * MS, "{at:?} took {took:?}");
    }
    let (ratio, most) = cost(&lab, gone_at, 120);
    assert!(ratio <= 0.05 && most <= 20, "{ratio} {most}");

    // He is back, but for some zones: those who are served must not wait for the turns of the others.
    let images = operator(&servers, "203.0.113.81").build().images;
    lab.net.heal();
    for server in DEAD {
        for n in 0..ZONES {
            let apex = name(&format!("z{n}.com."));
            lab.net.serve(server, images[&apex].clone(), &[]);
        }
        for n in 0..DROPPED {
            lab.net.drop_zone(server, &format!("z{n}.com."));
        }
    }
    let after = ask_operator(&lab, 60).await;
    let old = (after.iter()).filter(|a| a.zone >= DROPPED && a.got.ends_with(".80"));
    let last = old.map(|a| a.at).max().unwrap_or_default();
    println!("the last old answer {last:?} after the return");
    // The first looks may be those of the dropped zones.
    let settled = 10 * SECOND;
    for OfOperator { at, zone, got, .. } in &after {
        let right = if *zone < DROPPED { ".80" } else { ".81" };
        let settles = *zone >= DROPPED && *at <= settled;
        assert!(settles || got.ends_with(right), "{at:?} z{zone}: {got}");
    }
}

/// Servers drop all questions for some of their zones (an attack, a filter): the others are none the worse for it, and what was known of
/// the dropped is answered.
#[tokio::test(start_paused = true)]
async fn servers_that_drop_some_zones_are_not_silent_for_the_others() {
    let servers = |_| DEAD.map(String::from).to_vec();
    let lab = Arc::new(Lab::new(operator(&servers, "203.0.113.80").build()));
    tokio::spawn(lab.resolver.clone().keep_fresh());
    ask_operator(&lab, 45).await;
    for server in DEAD {
        for n in 0..DROPPED {
            lab.net.drop_zone(server, &format!("z{n}.com."));
        }
    }
    tokio::time::sleep(SECOND * TTL).await;
    lab.net.take_packets();
    let began = Instant::now();
    let new = tokio::spawn({
        let lab = lab.clone();
        async move {
            let mut lost = Vec::new();
            for n in 0..600 {
                let asked = format!("x{n}.w.z{}.com.", DROPPED + n % (ZONES - DROPPED));
                let (answer, took) = lab.timed(&asked).await;
                if !brief(&answer).ends_with("203.0.113.90") || took > SECOND {
                    lost.push((asked, took, brief(&answer)));
                }
                tokio::time::sleep(100 * MS).await;
            }
            lost
        }
    });
    let mut old_of_living = 0;
    for asked in ask_operator(&lab, 60).await {
        let OfOperator { at, zone, got, .. } = &asked;
        assert!(got.ends_with("203.0.113.80"), "{at:?} z{zone}: {got}");
        assert!(asked.took <= 1850 * MS, "{at:?} z{zone}: {:?}", asked.took);
        old_of_living += usize::from(*zone >= DROPPED && asked.old);
    }
    // The first seconds may pass for the beginning of an outage.
    println!("{old_of_living} old answers for living zones");
    assert!(old_of_living < 30, "{old_of_living}");
    let lost = new.await.unwrap();
    assert!(lost.is_empty(), "{} lost: {lost:?}", lost.len());
    let packets = lab.net.take_packets();
    let dropped = |n: usize| name(&format!("z{n}.com."));
    let to_dropped = packets
        .iter()
        .filter(|p| (0..DROPPED).any(|n| p.question.name.is_within(&dropped(n))));
    let mut by_second = [0; 61];
    to_dropped.for_each(|p| by_second[(p.at - began).as_secs().min(60) as usize] += 1);
    let sent: usize = by_second.iter().sum();
    println!("{sent} packets for the dropped zones, by second {by_second:?}");
    assert!(sent < 600, "{sent}");
}

/// The same where each zone has servers of its own, in one prefix that is known to be dead.
#[tokio::test(start_paused = true)]
async fn zones_in_one_dead_prefix_are_looked_for_together() {
    let servers = |n| {
        vec![
            format!("203.0.113.{}", n + 1),
            format!("203.0.113.{}", n + 101),
        ]
    };
    let lab = Arc::new(Lab::new(operator(&servers, "203.0.113.80").build()));
    tokio::spawn(lab.resolver.clone().keep_fresh());
    ask_operator(&lab, 45).await;
    let all: Vec<String> = (0..ZONES).flat_map(servers).collect();
    for server in &all {
        lab.net.set(server, Fault::Silent);
    }
    lab.net.take_packets();
    let gone_at = Instant::now();
    tokio::spawn({
        let (lab, all) = (lab.clone(), all.clone());
        async move {
            tokio::time::sleep(4 * SECOND).await;
            all.iter().for_each(|server| lab.notes.avoid(server));
        }
    });
    for OfOperator { at, got, .. } in ask_operator(&lab, 120).await {
        assert!(got.ends_with("203.0.113.80"), "{at:?}: {got}");
    }
    let (ratio, most) = cost(&lab, gone_at, 120);
    assert!(ratio <= 0.05 && most <= 20, "{ratio} {most}");

    // They are back; a probe has found it after 4 s.
    let images = operator(&servers, "203.0.113.81").build().images;
    lab.net.heal();
    for n in 0..ZONES {
        let apex = name(&format!("z{n}.com."));
        for server in servers(n) {
            lab.net.serve(&server, images[&apex].clone(), &[]);
        }
    }
    tokio::spawn({
        let lab = lab.clone();
        async move {
            tokio::time::sleep(4 * SECOND).await;
            lab.notes.readmit();
        }
    });
    let after = ask_operator(&lab, 30).await;
    let old = after.iter().filter(|a| a.got.ends_with(".80"));
    let last = old.map(|a| a.at).max().unwrap_or_default();
    println!("the last old answer {last:?} after the return");
    assert!(last < 10 * SECOND, "{last:?}");
}

/// Many zones on the same dead servers: one look finds the way back for all.
#[tokio::test(start_paused = true)]
async fn many_zones_on_dead_servers_are_found_again_together() {
    let zones = 300;
    let mut b = Builder::new(6)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .server("ns1.com.", &["192.0.2.1"])
        .zone("host.com.")
        .server("ns1.host.com.", &["203.0.113.1"])
        .server("ns2.host.com.", &["203.0.113.2"]);
    for n in 0..zones {
        b = b
            .zone(&format!("z{n}.com."))
            .ttl(TTL)
            .server("ns1.host.com.", &[])
            .server("ns2.host.com.", &[])
            .record("www A 203.0.113.80");
        // The hosts serve all of them.
        b = b.server(&format!("ns.z{n}.com."), &["203.0.113.1"]);
    }
    let lab = Arc::new(Lab::new(b.build()));
    tokio::spawn(lab.resolver.clone().keep_fresh());
    let ask_all = async |from: u64| {
        let mut slow = 0;
        for n in 0..zones {
            let (answer, took) = lab.timed(&format!("www.z{n}.com.")).await;
            assert!(
                brief(&answer).ends_with("203.0.113.80"),
                "{from} {n}: {:?}",
                answer.errors
            );
            slow += u32::from(took > 500 * MS);
            if took > 500 * MS && std::env::var("STALE_SHOW").is_ok() {
                println!("SLOW {n} {took:?} {:?}", answer.errors);
            }
        }
        slow
    };
    ask_all(0).await;
    tokio::time::sleep(50 * SECOND).await;
    lab.net.set("203.0.113.1", Fault::Silent);
    lab.net.set("203.0.113.2", Fault::Silent);
    let slow = ask_all(1).await;
    // The first ones find out that the servers are silent; the others know it.
    assert!(slow < 10, "{slow} of {zones} waited");
    lab.net.take_packets();
    for _ in 0..10 {
        tokio::time::sleep(SECOND).await;
        assert_eq!(ask_all(2).await, 0);
    }
    let packets = lab.net.take_packets();
    let to_dead = packets
        .iter()
        .filter(|p| p.host.to_string().starts_with("203.0.113."));
    let to_dead = to_dead.count();
    assert!(to_dead <= 20 * 11, "{to_dead} packets in 10 s");
    lab.net.heal();
    tokio::time::sleep(SECOND).await;
    for second in 0.. {
        ask_all(3).await;
        let old = async |n: u64| {
            !lab.timed(&format!("www.z{n}.com."))
                .await
                .0
                .errors
                .is_empty()
        };
        let mut still = 0;
        for n in 0..zones {
            still += u32::from(old(n).await);
        }
        if still == 0 {
            break;
        }
        assert!(
            second < 10,
            "{still} zones are not found {second} s after the return"
        );
        tokio::time::sleep(SECOND).await;
    }
}

/// RFC 8767 section 5: who may wait longer than the client timer is answered by then, once for a whole chain of aliases.
#[tokio::test(start_paused = true)]
async fn one_wait_is_all_that_a_chain_costs() {
    let mut b = Builder::new(7)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .server("ns1.com.", &["192.0.2.1"]);
    for n in 0..5u8 {
        let next = n + 1;
        b = b
            .zone(&format!("z{n}.com."))
            .ttl(TTL)
            .server(&format!("ns.z{n}.com."), &[&format!("203.0.113.{}", n + 1)]);
        b = match n {
            4 => b.record("www A 203.0.113.80"),
            _ => b.record(&format!("www CNAME www.z{next}.com.")),
        };
    }
    let lab = Lab::new(b.build());
    lab.ask("www.z0.com.", Rtype::A).await;
    tokio::time::sleep(100 * SECOND).await;
    for n in 0..5 {
        lab.net.set(&format!("z{n}.com."), Fault::Silent);
    }
    let (answer, took) = lab.timed("www.z0.com.").await;
    assert!(brief(&answer).ends_with("203.0.113.80"), "{answer:?}");
    assert!(took <= 1850 * MS, "{took:?}");
    assert_eq!(answer.answer.len(), 5);
    assert!(answer.answer.iter().all(|set| set.ttl == 30));
    // One error speaks for all links.
    assert_eq!(codes(&answer), [Ede::STALE_ANSWER]);
    assert!(answer.sources.stale);
}

/// Total loss of the uplink, with or without anything known of who is dead: everything that was known is answered.
#[tokio::test(start_paused = true)]
async fn nothing_that_was_known_is_lost_without_an_uplink() {
    let lab = Arc::new(Lab::new(build("203.0.113.80").build()));
    tokio::spawn(lab.resolver.clone().keep_fresh());
    load(&lab, 50, 30, 0).await;
    tokio::time::sleep(3 * 3600 * SECOND).await;
    for zone in [".", "com.", "big.com.", "other.com."] {
        lab.net.set(zone, Fault::Unreachable);
    }
    for n in 0..NAMES {
        let asked = format!("n{}.big.com.", n * n / NAMES);
        let (answer, took) = lab.timed(&asked).await;
        assert!(
            brief(&answer).ends_with("203.0.113.80"),
            "{asked}: {:?}",
            answer.errors
        );
        assert!(took <= 1850 * MS, "{asked}: {took:?}");
    }
}
