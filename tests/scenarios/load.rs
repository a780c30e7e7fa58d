//! Questions at a steady rate, while servers fail and return: what comes of each, and what the servers are sent for it.
//!
//! Every answer is right, or a SERVFAIL where the load allows for some. Anything else is wrong, above all an empty answer in place of
//! data.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast::dns::Message;
use holdfast::query::{Client, Pipeline};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::compare::{self, numbered};
use crate::file::{Load, Step, fault, question};
use crate::luck::Luck;
use crate::net::{Fault, SimNet};
use crate::play::query;

/// So much later than the load begins its flaps may in a seeded run.
const FLAP_LATE_MAX: Duration = Duration::from_millis(1000);
/// Faults that are told of one load.
const TOLD_MAX: usize = 5;

/// One question and what came of it.
struct Asked {
    /// Which load it is of, and when it was asked.
    of: usize,
    at: Duration,
    took: Duration,
    number: usize,
    reply: Message,
}

/// Asks for `load_s` seconds and compares; `hosts` are the servers of whom a `sent_max` names.
pub async fn play(
    step: &Step,
    net: &Arc<SimNet>,
    pipeline: &Arc<Pipeline>,
    client: &Client,
    luck: &mut Luck,
    hosts: impl Fn(&str) -> Vec<IpAddr>,
) -> Vec<String> {
    let (began, steady) = (Instant::now(), luck.is_steady());
    let flaps_from = began + luck.late(FLAP_LATE_MAX);
    let flapping = tokio::spawn(flap(step.flaps.clone(), net.clone(), flaps_from));
    let mut asking = JoinSet::new();
    for (of, load) in step.load.iter().enumerate() {
        let (load, pipeline, client) = (load.clone(), pipeline.clone(), client.clone());
        let (until, luck) = (Duration::from_secs(step.load_s), luck.another());
        asking.spawn(async move { ask(of, &load, until, luck, pipeline, client).await });
    }
    let asked: Vec<Asked> = asking.join_all().await.into_iter().flatten().collect();
    flapping.abort();
    let mut faults = Vec::new();
    for (of, load) in step.load.iter().enumerate() {
        let of_load = asked.iter().filter(|a| a.of == of);
        faults.extend(compared(load, of_load, steady));
    }
    if steady {
        faults.extend(sent(step, net, &asked, began, hosts));
    }
    faults
}

async fn ask(
    of: usize,
    load: &Load,
    until: Duration,
    mut luck: Luck,
    pipeline: Arc<Pipeline>,
    client: Client,
) -> Vec<Asked> {
    let (began, mut under_way) = (Instant::now(), JoinSet::new());
    for count in 0.. {
        let at = Duration::from_micros(count * 1_000_000 / load.per_s);
        if at >= until {
            break;
        }
        let at = at + luck.late(Duration::from_micros(1_000_000 / load.per_s));
        tokio::time::sleep_until(began + at).await;
        let number = load.names.map_or(count, |names| count % names) as usize + 1;
        let query = query(question(&numbered(&load.ask, number)), "rd do", &[]);
        let (pipeline, client) = (pipeline.clone(), client.clone());
        under_way.spawn(async move {
            let sent = Instant::now();
            let reply = pipeline.answer(&query, client).await.expect("an answer");
            Asked {
                of,
                at,
                took: sent.elapsed(),
                number,
                reply: Message::parse(&reply).unwrap(),
            }
        });
    }
    under_way.join_all().await
}

/// `FAULT DOWN_S EVERY_S`: the fault holds in the first seconds of each so many.
async fn flap(flaps: BTreeMap<String, String>, net: Arc<SimNet>, began: Instant) {
    for second in 0.. {
        tokio::time::sleep_until(began + Duration::from_secs(second)).await;
        for (who, how) in &flaps {
            let words: Vec<&str> = how.rsplitn(3, ' ').collect();
            let [every_s, down_s, what] = words[..] else {
                panic!("{how} is not FAULT DOWN_S EVERY_S");
            };
            let seconds = |text: &str| text.parse::<u64>().expect("seconds");
            let is_down = second % seconds(every_s) < seconds(down_s);
            net.set(who, if is_down { fault(what) } else { Fault::None });
        }
    }
}

/// What is wrong with the answers of a load.
fn compared<'a>(load: &Load, asked: impl Iterator<Item = &'a Asked>, steady: bool) -> Vec<String> {
    let settled = |a: &&Asked| a.at >= Duration::from_secs(load.settles_s);
    let (mut faults, mut failed, mut count) = (Vec::new(), 0, 0);
    for asked in asked.filter(settled) {
        count += 1;
        let wrong = compare::answered(load, asked.number, &asked.reply, steady);
        let ms = asked.took.as_millis() as u64;
        let late = steady && load.within_ms.is_some_and(|max| ms > max);
        match wrong {
            Some(wrong) if wrong.is_failure && load.right_min < 100 => failed += 1,
            Some(wrong) => faults.push(format!("at {:?}: {}", asked.at, wrong.text)),
            None if late => faults.push(format!("at {:?} it took {ms} ms", asked.at)),
            None => {}
        }
    }
    let wrong = faults.len();
    faults.truncate(TOLD_MAX);
    if wrong > TOLD_MAX {
        faults.push(format!("and {} more", wrong - TOLD_MAX));
    }
    let right_pct = 100.0 - 100.0 * f64::from(failed) / f64::from(count.max(1));
    if right_pct < f64::from(load.right_min) {
        faults.push(format!("{right_pct:.1} % right of {count}"));
    }
    let about = |fault| format!("load {}: {fault}", load.ask);
    faults.into_iter().map(about).collect()
}

/// What is wrong with the packets to those whom `sent_max` names.
fn sent(
    step: &Step,
    net: &SimNet,
    asked: &[Asked],
    began: Instant,
    hosts: impl Fn(&str) -> Vec<IpAddr>,
) -> Vec<String> {
    let packets = net.take_packets();
    let mut faults = Vec::new();
    for row in &step.sent_max {
        let words: Vec<&str> = row.split(' ').collect();
        let [who, from_s, per_question, per_s] = words[..] else {
            panic!("{row} is not WHO FROM_S PER_QUESTION PER_S");
        };
        let (hosts, from) = (hosts(who), Duration::from_secs(from_s.parse().unwrap()));
        let of_who = |a: &&Asked| {
            let question = question(&numbered(&step.load[a.of].ask, a.number));
            a.at >= from && question.name.is_within(&crate::signer::name(who))
        };
        let questions = asked.iter().filter(of_who).count();
        let mut by_second: BTreeMap<u64, u32> = BTreeMap::new();
        for packet in packets.iter().filter(|p| hosts.contains(&p.host)) {
            let at = packet.at.saturating_duration_since(began);
            if at >= from {
                *by_second.entry(at.as_secs()).or_default() += 1;
            }
        }
        let all: u32 = by_second.values().sum();
        let most = by_second.values().max().copied().unwrap_or(0);
        let share = f64::from(all) / questions.max(1) as f64;
        if share > per_question.parse().unwrap() || most > per_s.parse().unwrap() {
            faults.push(format!(
                "{who} was sent {all} packets for {questions} questions ({share:.3} each), {most} in one second"
            ));
        }
    }
    faults
}
