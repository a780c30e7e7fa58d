//! Plays one scenario with one seed: builds its internet, takes its steps, compares.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast::config::Access;
use holdfast::dns::{Edns, Message, Question, Record, Rtype};
use holdfast::query::acl::AccessList;
use holdfast::query::{Client, Pipeline, Settings, SharedSettings, Transport};
use holdfast::resolve::budget::PACKETS_MAX;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

use crate::build::Builder;
use crate::file::{Scenario, Step, Zone, fault, question, rcode};
use crate::lab::Lab;
use crate::net::SimNet;
use crate::script::{Script, lines};
use crate::signer::{Denial, INCEPTION, KSK, Key, Signer, ZSK};

/// The zones of `base`: apex, and its servers.
const BASE: [(&str, &[&str]); 4] = [
    (".", &["a.root. 198.51.100.1", "b.root. 198.51.100.2"]),
    ("com.", &["ns1.com. 192.0.2.1", "ns2.com. 192.0.2.2"]),
    ("org.", &["ns1.org. 192.0.2.11"]),
    ("net.", &["ns1.net. 192.0.2.21"]),
];
/// When the timeline begins: noon after the zones were signed.
const BEGIN_S: u32 = INCEPTION + 43_200;
/// Round trip times of the seeded runs, milliseconds.
const DELAYS_MS: std::ops::Range<u64> = 1..150;
/// What a client takes over UDP, octets.
const UDP_SIZE: u16 = 1232;

/// Plays it; returns what was wrong.
pub fn play(scenario: &Scenario, seed: u64) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut stage = Stage::new(scenario, seed);
        let mut faults = Vec::new();
        for (i, step) in scenario.step.iter().enumerate() {
            let found = stage.take(step).await;
            let about = step.ask.as_deref().unwrap_or("nothing");
            faults.extend(
                found
                    .into_iter()
                    .map(|f| format!("  step {}, {about}: {f}", i + 1)),
            );
        }
        faults
    })
}

struct Stage {
    zones: Vec<Zone>,
    net: Arc<SimNet>,
    pipeline: Arc<Pipeline>,
    began: Instant,
    steady: bool,
}

impl Stage {
    fn new(scenario: &Scenario, seed: u64) -> Stage {
        let mut zones = base(&scenario.base);
        for zone in &scenario.zone {
            put(&mut zones, zone);
        }
        let builder = builder(&zones, seed);
        let script = |net| Arc::new(Script::new(net, scenario, &builder, seed));
        let internet = self::builder(&zones, seed).build();
        let net = internet.net.clone();
        for host in &scenario.hosts {
            net.host(host);
        }
        delay(&net, &zones, &scenario.hosts, seed);
        for (who, what) in &scenario.faults {
            net.set(who, fault(what));
        }
        let upstream = script(net.clone());
        let mut hints = internet.hints.clone();
        hints.truncate(scenario.settings.hints_max.unwrap_or(usize::MAX));
        let lab = Lab::over(upstream, hints, internet.anchors, |s| {
            let set = |to: &mut bool, from: Option<bool>| *to = from.unwrap_or(*to);
            set(&mut s.ipv4, scenario.settings.ipv4);
            set(&mut s.ipv6, scenario.settings.ipv6);
            set(
                &mut s.qname_minimisation,
                scenario.settings.qname_minimisation,
            );
            set(&mut s.harden_glue, scenario.settings.harden_glue);
            set(&mut s.prime, scenario.settings.prime);
            s.seed = seed + 1;
        });
        let settings = Settings {
            access: AccessList::new(&Access::default()),
            udp_size_max: UDP_SIZE,
            ..Settings::default()
        };
        let settings: SharedSettings = Arc::new(Arc::new(settings).into());
        let resolver = Arc::new(lab.resolver.clone());
        Stage {
            zones,
            net,
            pipeline: Arc::new(Pipeline::new(settings, Some(resolver), lab.metrics.clone())),
            began: Instant::now(),
            steady: seed == 0,
        }
    }

    async fn take(&mut self, step: &Step) -> Vec<String> {
        if let Some(at_s) = step.at_s {
            tokio::time::sleep_until(self.began + Duration::from_secs(at_s)).await;
        }
        self.change(step);
        let Some(asked) = &step.ask else {
            return Vec::new();
        };
        self.net.take_packets();
        let began = Instant::now();
        let query = query(question(asked), &step.with);
        let asks = (0..step.times).map(|_| {
            let (pipeline, query) = (self.pipeline.clone(), query.clone());
            let client = client(&step.with);
            tokio::spawn(async move { pipeline.answer(&query, client).await })
        });
        let mut faults = Vec::new();
        for ask in asks.collect::<Vec<_>>() {
            let reply = ask.await.expect("no panic").expect("an answer");
            faults.extend(compare(step, &Message::parse(&reply).unwrap(), self.steady));
        }
        let took = began.elapsed();
        if self.steady
            && step
                .within_ms
                .is_some_and(|ms| took.as_millis() as u64 > ms)
        {
            faults.push(format!("it took {took:?}"));
        }
        faults.extend(self.traffic(step));
        faults.dedup();
        faults
    }

    fn change(&mut self, step: &Step) {
        if step.heal {
            self.net.heal();
        }
        for (who, what) in &step.faults {
            self.net.set(who, fault(what));
        }
        if step.zone.is_empty() {
            return;
        }
        for zone in &step.zone {
            put(&mut self.zones, zone);
        }
        let internet = builder(&self.zones, 0).build();
        for zone in &self.zones {
            for server in &zone.servers {
                for address in addresses(server) {
                    (self.net).serve(address, internet.image(&zone.name), &[&zone.name]);
                }
            }
        }
    }

    /// What is wrong with the packets that were sent.
    fn traffic(&self, step: &Step) -> Vec<String> {
        let packets = self.net.take_packets();
        let mut faults = Vec::new();
        let max = match (self.steady, step.packets_max) {
            (true, Some(max)) => max,
            _ => PACKETS_MAX as usize * step.times,
        };
        if packets.len() > max {
            let seen = packets.iter().map(|p| format!("{} {}", p.host, p.question));
            let seen: Vec<String> = seen.collect();
            faults.push(format!("{} packets: {}", packets.len(), seen.join(", ")));
        }
        for host in &step.unasked {
            let to_host = packets.iter().find(|p| p.host.to_string() == *host);
            if let Some(packet) = to_host {
                faults.push(format!("{host} was asked {}", packet.question));
            }
        }
        for text in step.asked.iter().filter(|_| self.steady) {
            if !packets.iter().any(|p| p.question == question(text)) {
                faults.push(format!("nobody was asked {text}"));
            }
        }
        faults
    }
}

fn base(kind: &str) -> Vec<Zone> {
    let sign = match kind {
        "none" => return Vec::new(),
        "unsigned" => "",
        "signed" => "sign = 'nsec'",
        _ => panic!("no base is called {kind}"),
    };
    let zones = BASE.iter().map(|(apex, servers)| {
        toml::from_str(&format!("name = '{apex}'\nservers = {servers:?}\n{sign}")).unwrap()
    });
    zones.collect()
}

/// Adds a zone, or puts it in the place of an earlier form of it.
fn put(zones: &mut Vec<Zone>, zone: &Zone) {
    zones.retain(|z| z.name != zone.name);
    zones.push(zone.clone());
}

fn addresses(server: &str) -> impl Iterator<Item = &str> {
    server
        .split_whitespace()
        .skip(1)
        .filter(|w| *w != "no-glue")
}

fn builder(zones: &[Zone], seed: u64) -> Builder {
    let mut builder = Builder::new(seed);
    for zone in zones {
        builder = builder.zone(&zone.name).ttl(zone.ttl.unwrap_or(3600));
        for server in &zone.servers {
            let host = server.split_whitespace().next().expect("a name");
            let found: Vec<&str> = addresses(server).collect();
            builder = match server.ends_with("no-glue") {
                true => builder.server_without_glue(host, &found),
                false => builder.server(host, &found),
            };
        }
        for line in zone
            .records
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
        {
            builder = builder.record(line);
        }
        if zone.sign.is_some() {
            builder = builder.signed_with(|signer| sign(signer, zone));
        }
        if !zone.ds {
            builder = builder.without_ds();
        }
        if !zone.delegated {
            builder = builder.undelegated();
        }
    }
    builder
}

fn sign(signer: &mut Signer, zone: &Zone) {
    signer.denial = match zone.sign.as_deref() {
        Some("nsec") => Denial::Nsec,
        Some(kind @ ("nsec3" | "nsec3-opt-out")) => Denial::Nsec3 {
            salt: Vec::new(),
            iterations: zone.iterations,
            opt_out: kind.ends_with("opt-out"),
        },
        other => panic!("no denial is called {other:?}"),
    };
    let number = zone
        .name
        .bytes()
        .fold(zone.keys, |h, b| h * 31 + u64::from(b));
    signer.keys = match zone.algorithm.as_str() {
        "ed25519" => vec![Key::ed25519(number, KSK), Key::ed25519(number, ZSK)],
        "p256" => vec![Key::p256(KSK), Key::p256(ZSK)],
        other => panic!("no algorithm is called {other}"),
    };
    let at = |s: i64| u32::try_from(i64::from(BEGIN_S) + s).unwrap();
    signer.inception = zone.valid_from_s.map_or(signer.inception, at);
    signer.expiration = zone.valid_to_s.map_or(signer.expiration, at);
}

/// In seeded runs each host is as far away as the seed says.
fn delay(net: &SimNet, zones: &[Zone], hosts: &[String], seed: u64) {
    if seed == 0 {
        return;
    }
    let mut rng = SmallRng::seed_from_u64(seed);
    let servers = zones
        .iter()
        .flat_map(|z| &z.servers)
        .flat_map(|s| addresses(s));
    for host in servers.chain(hosts.iter().map(String::as_str)) {
        // As the network writes it.
        let host: IpAddr = host.parse().expect("an address");
        let delay = Duration::from_millis(rng.random_range(DELAYS_MS));
        net.set_delay(&host.to_string(), delay);
    }
}

fn client(with: &str) -> Client {
    Client {
        addr: "127.0.0.1:4000".parse().unwrap(),
        transport: match has(with, "tcp") {
            true => Transport::Tcp,
            false => Transport::Udp,
        },
    }
}

fn query(question: Question, with: &str) -> Vec<u8> {
    let query = Message {
        recursion_desired: has(with, "rd"),
        checking_disabled: has(with, "cd"),
        authentic_data: has(with, "ad"),
        edns: Some(Edns::new(UDP_SIZE, has(with, "do"))),
        ..Message::query(7, question)
    };
    query.encode(usize::from(UDP_SIZE))
}

fn has(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|w| w == word)
}

/// What is wrong with the answer.
fn compare(step: &Step, reply: &Message, steady: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let errors = reply.errors();
    if reply.rcode != rcode(&step.rcode) {
        faults.push(format!(
            "{} instead of {}: {errors:?}",
            reply.rcode, step.rcode
        ));
    }
    let flags = [
        ("ad", reply.authentic_data),
        ("aa", reply.authoritative),
        ("tc", reply.truncated),
    ];
    for (flag, set) in flags {
        if set != has(&step.flags, flag) {
            faults.push(format!("{flag} is {set}"));
        }
    }
    let row = |r: &Record| (r.name.clone(), r.rtype, r.rdata.clone());
    let found = reply.answer.iter().filter(|r| r.rtype != Rtype::RRSIG);
    let mut found: Vec<_> = found.map(row).collect();
    let mut right: Vec<_> = lines(&step.answer).iter().map(row).collect();
    found.sort();
    right.sort();
    match step.answer_records {
        Some(count) if count == found.len() => {}
        None if found == right => {}
        _ => {
            let words = found
                .iter()
                .map(|(n, t, d)| format!("{n} {t} {}", data(*t, d)));
            let words: Vec<String> = words.collect();
            faults.push(format!("the answer is [{}]", words.join(", ")));
        }
    }
    if let Some(code) = step.ede
        && steady
        && !errors.iter().any(|e| e.code == code)
    {
        faults.push(format!("extended errors {errors:?} without {code}"));
    }
    let ttl_s = reply.answer.iter().map(|r| r.ttl).max().unwrap_or(0);
    if step.ttl_max_s.is_some_and(|max| ttl_s > max) {
        faults.push(format!("a TTL of {ttl_s}"));
    }
    faults
}

/// Data for people.
fn data(rtype: Rtype, rdata: &[u8]) -> String {
    match rtype {
        Rtype::A => IpAddr::from(<[u8; 4]>::try_from(rdata).unwrap()).to_string(),
        Rtype::AAAA => IpAddr::from(<[u8; 16]>::try_from(rdata).unwrap()).to_string(),
        _ => match holdfast::dns::rdata::single_name(rdata) {
            Some(name) => name.to_string(),
            None => format!("{rdata:02x?}"),
        },
    }
}
