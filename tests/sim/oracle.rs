//! Sweeps over a whole internet, and strangers who answer anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast::dns::{Class, Message, Name, Question, Rcode, Record, Rtype};
use holdfast::resolve::budget::PACKETS_MAX;
use holdfast::resolve::task::Options;
use holdfast::resolve::{Resolution, Security};
use holdfast::upstream::{Ask, BoxFuture, ExchangeError, Reply, Upstream};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::build::Internet;
use crate::lab::Lab;
use crate::net::Fault;
use crate::signer::{name, rr};
use crate::world::{Truth, World};

fn internet(world: &World) -> Internet {
    Internet {
        net: world.net.clone(),
        images: BTreeMap::new(),
        hints: world.hints(),
        anchors: world.anchors(),
    }
}

/// The answer of a resolution in the oracle's form.
fn found(resolution: &Resolution) -> Truth {
    let mut answer = Vec::new();
    for set in &resolution.answer {
        let rows = set
            .rdatas
            .iter()
            .map(|r| (set.name.clone(), set.rtype, r.clone()));
        answer.extend(rows);
    }
    answer.sort();
    Truth {
        rcode: resolution.rcode,
        answer,
        secure: resolution.security == Security::Secure,
    }
}

/// Every name with data, and for each some that are not there.
fn sweep(world: &World) -> Vec<Question> {
    let mut all = world.questions();
    for question in world.questions() {
        for rtype in [Rtype::AAAA, Rtype::DS, Rtype::NS, Rtype::SOA] {
            all.push(Question::new(question.name.clone(), rtype));
        }
        let parent = question.name.parent().unwrap();
        all.push(Question::new(parent.child(b"absent").unwrap(), Rtype::A));
        all.push(Question::new(
            question.name.child(b"below").unwrap(),
            Rtype::A,
        ));
    }
    let more = [
        "alias.shop.home.",
        "abroad.shop.home.",
        "insecure.shop.home.",
        "www.old.shop.home.",
        "x.any.shop.home.",
    ];
    all.extend(more.map(|n| Question::new(name(n), Rtype::A)));
    all
}

// Oracle: what is served is what the zones hold, and AD where a chain leads to it and only there.
#[tokio::test(start_paused = true)]
async fn every_answer_is_the_truth_cold_and_warm() {
    let world = World::new(5, 60);
    let lab = Lab::new(internet(&world));
    for round in ["cold", "warm", "run out"] {
        for question in sweep(&world) {
            let truth = world.truth(&question);
            let resolution = (lab.resolver.resolve(question.clone(), Options::default())).await;
            let mut found = found(&resolution);
            // A denial by opt-out is insecure although its zone is signed (RFC 5155 section 9.2).
            if truth.answer.is_empty() && question.name.is_within(&name("far.")) {
                found.secure = truth.secure;
            }
            assert_eq!(found, truth, "{round}: {question}: {resolution:#?}");
        }
        if round == "warm" {
            tokio::time::advance(Duration::from_secs(3600)).await;
        }
    }
}

// Oracle: never a record of a signed zone that does not verify; AD only where earned; a bounded cost.
#[tokio::test(start_paused = true)]
async fn no_fault_makes_a_signed_zone_lie() {
    let faults = [
        Fault::Bogus,
        Fault::Stripped,
        Fault::Hijack([10, 6, 6, 6].into()),
        Fault::Loss(40),
    ];
    for fault in faults {
        for group in ["roots", "home", "far", "domestic", "foreign"] {
            let world = World::new(6, 60);
            let lab = Lab::new(internet(&world));
            lab.net.set(group, fault);
            for question in world.questions() {
                let truth = world.truth(&question);
                let resolution = lab
                    .resolver
                    .resolve(question.clone(), Options::default())
                    .await;
                assert!(resolution.sources.packets <= PACKETS_MAX);
                let found = found(&resolution);
                if truth.secure && resolution.rcode != Rcode::SERVFAIL {
                    assert_eq!(found, truth, "{fault:?} at {group}: {question}");
                }
                assert!(
                    !found.secure || truth.secure,
                    "{fault:?} at {group}: {question}"
                );
            }
        }
    }
}

/// Servers that answer with whatever comes to a malicious mind.
struct Strangers {
    rng: Mutex<SmallRng>,
    names: Vec<Name>,
}

impl Strangers {
    fn record(&self, rng: &mut SmallRng, asked: &Name) -> Record {
        let own = rng.random_ratio(1, 2);
        let any = |rng: &mut SmallRng| self.names[rng.random_range(0..self.names.len())].clone();
        let owner = if own { asked.clone() } else { any(rng) };
        let target = any(rng);
        let data = match rng.random_range(0..8) {
            0 => "A 192.0.2.66".to_string(),
            1 => format!("CNAME {target}"),
            2 | 3 => format!("NS {target}"),
            4 => format!("DNAME {target}"),
            5 => format!("SOA {target} {target} 1 2 3 4 5"),
            6 => "AAAA 2001:db8::66".to_string(),
            _ => format!("DS 1 8 2 {}", "00".repeat(32)),
        };
        rr(&format!("{owner} 10 {data}"))
    }
}

impl Upstream for Strangers {
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Reply, ExchangeError>> {
        let mut rng = self.rng.lock().unwrap();
        let mut message = Message::query(1, ask.question.clone()).reply(Rcode::NOERROR);
        message.authoritative = rng.random_ratio(1, 2);
        message.truncated = rng.random_ratio(1, 20);
        if rng.random_ratio(1, 8) {
            message.rcode = Rcode(rng.random_range(0..12));
        }
        let mut section = |n: u32| -> Vec<Record> {
            (0..n)
                .map(|_| self.record(&mut rng, &ask.question.name))
                .collect()
        };
        message.answer = section(2);
        message.authority = section(4);
        message.additional = section(6);
        if rng.random_ratio(1, 2) {
            message.answer.clear();
        }
        for record in &mut message.additional {
            record.class = if rng.random_ratio(1, 10) {
                Class::CH
            } else {
                Class::IN
            };
        }
        let silent = rng.random_ratio(1, 10);
        drop(rng);
        Box::pin(async move {
            let time = if silent {
                ask.timeout
            } else {
                Duration::from_millis(5)
            };
            tokio::time::sleep(time).await;
            match silent {
                true => Err(ExchangeError::TimedOut),
                false => Ok(Reply {
                    message,
                    rtt: time,
                    folded: false,
                }),
            }
        })
    }
}

// Whatever servers say, a question ends within its time and its packets.
#[tokio::test(start_paused = true)]
async fn strangers_cannot_make_a_question_cost_more_than_its_budget() {
    let names = [
        ".",
        "com.",
        "a.com.",
        "b.com.",
        "ns.a.com.",
        "ns.b.com.",
        "org.",
        "x.org.",
        "ns.x.org.",
        "w.a.com.",
    ];
    for seed in 0..150 {
        let upstream = Arc::new(Strangers {
            rng: Mutex::new(SmallRng::seed_from_u64(seed)),
            names: names.iter().map(|n| name(n)).collect(),
        });
        let hints = vec![(name("a.root."), vec!["198.51.100.1".parse().unwrap()])];
        let lab = Lab::over(upstream, hints, Vec::new(), |s| s.seed = seed);
        for asked in ["www.a.com.", "x.org.", "ns.b.com.", "deep.er.down.b.com."] {
            let (resolution, took) = lab.timed(asked).await;
            assert!(took <= Duration::from_secs(10), "{seed} {asked} {took:?}");
            assert!(resolution.sources.packets <= PACKETS_MAX, "{seed} {asked}");
            assert_ne!(resolution.security, Security::Secure);
        }
    }
}
