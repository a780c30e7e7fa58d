//! Plays one scenario with one seed: builds its internet, starts the server, takes its steps, compares.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast::clock::Clock;
use holdfast::control::trace::TraceReport;
use holdfast::dns::edns::option;
use holdfast::dns::{Ede, Edns, Message, Question};
use holdfast::metrics::Metrics;
use holdfast::query::{Client, Options, Transport};
use holdfast::resolve::Security;
use holdfast::resolve::budget::PACKETS_MAX;
use holdfast::resolve::settings::DNS_PORT;
use holdfast::resolve::trace::Trace;
use holdfast::upstream::{NetSettings, NetUpstream, Upstream};
use tokio::time::Instant;

use crate::compare::{self, has, numbered};
use crate::file::{Scenario, Step, Zone, fault, question, rcode};
use crate::internet::{self, BEGIN_S, addresses, builder, put, serve_resolvers};
use crate::load;
use crate::luck::Luck;
use crate::machine::{self, Around, Machine, UDP_SIZE};
use crate::net::SimNet;
use crate::script::Script;
use crate::sockets;

/// So much later than it says a step may begin in a seeded run. Times of the files are whole seconds.
const AT_MAX: Duration = Duration::from_millis(900);
/// The client cookie of every question that has one.
const COOKIE: [u8; 8] = *b"scenario";

/// Plays it; returns what was wrong.
pub fn play(scenario: &Scenario, seed: u64) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(!scenario.sockets)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut stage = Stage::new(scenario, seed).await;
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
    resolvers: Vec<String>,
    net: Arc<SimNet>,
    machine: Machine,
    began: Instant,
    steady: bool,
    luck: Luck,
    /// The COOKIE option of the latest answer that had one.
    cookie: Vec<u8>,
}

impl Stage {
    async fn new(scenario: &Scenario, seed: u64) -> Stage {
        let zones = internet::zones(scenario);
        let planned = builder(&zones, seed);
        let internet = builder(&zones, seed).build();
        let net = internet.net.clone();
        for host in &scenario.hosts {
            net.host(host);
        }
        serve_resolvers(&net, &scenario.resolvers, &internet);
        internet::delay(&net, &zones, scenario, seed);
        for (who, what) in &scenario.faults {
            net.set(who, fault(what));
        }
        let script = Arc::new(Script::new(net.clone(), scenario, &planned, seed));
        let metrics = Arc::new(Metrics::default());
        let (upstream, port) = match scenario.sockets {
            false => (script as Arc<dyn Upstream>, DNS_PORT),
            true => on_sockets(&zones, scenario, script, &net, &metrics).await,
        };
        let around = Around {
            upstream,
            metrics,
            net: net.clone(),
            copies: machine::copies(scenario, &internet, &planned),
            port,
            seed: seed + 1,
        };
        let config = machine::config(scenario, &internet, &planned);
        let own = internet::own(&zones);
        Stage {
            machine: Machine::start(scenario, config, &own, around).await,
            resolvers: scenario.resolvers.clone(),
            zones,
            net,
            began: Instant::now(),
            steady: seed == 0,
            luck: Luck::of(seed),
            cookie: COOKIE.to_vec(),
        }
    }

    async fn take(&mut self, step: &Step) -> Vec<String> {
        if let Some(at_s) = step.at_s {
            let late = self.luck.late(AT_MAX);
            tokio::time::sleep_until(self.began + Duration::from_secs(at_s) + late).await;
        }
        self.change(step).await;
        self.net.take_packets();
        let Some(asked) = &step.ask else {
            return self.load(step).await;
        };
        if !step.traced.is_empty() {
            return self.trace(step, asked).await;
        }
        let (before, began) = (self.machine.counters(), Instant::now());
        let mut faults = self.ask(step, asked).await;
        let took = began.elapsed();
        let ms_max = step.within_ms.filter(|_| self.steady);
        if ms_max.is_some_and(|ms| took.as_millis() as u64 > ms) {
            faults.push(format!("it took {took:?}"));
        }
        faults.extend(self.traffic(step));
        if self.steady {
            let after = self.machine.counters();
            faults.extend(compare::counted(step, &before, &after));
        }
        faults.dedup();
        faults
    }

    /// Asks as often as the step says, all at once.
    async fn ask(&mut self, step: &Step, asked: &str) -> Vec<String> {
        let client = client(&step.with);
        let asks: Vec<_> = (1..=step.times)
            .map(|number| {
                let query = query(question(&numbered(asked, number)), &step.with, &self.cookie);
                let (pipeline, client) = (self.machine.pipeline.clone(), client.clone());
                tokio::spawn(async move { pipeline.answer(&query, client).await })
            })
            .collect();
        let mut faults = Vec::new();
        for (i, ask) in asks.into_iter().enumerate() {
            let reply = ask.await.expect("no panic").expect("an answer");
            let reply = Message::parse(&reply).unwrap();
            let cookie = reply.edns.as_ref().and_then(|e| e.option(option::COOKIE));
            if let Some(cookie) = cookie {
                self.cookie = cookie.to_vec();
            }
            faults.extend(compare::answer(step, i + 1, &reply, self.steady));
        }
        faults
    }

    async fn load(&mut self, step: &Step) -> Vec<String> {
        if step.load.is_empty() {
            return Vec::new();
        }
        let (net, pipeline) = (&self.net, &self.machine.pipeline);
        let hosts = |who: &str| {
            let zones = self.zones.iter().filter(|z| z.name == who);
            let servers = zones.flat_map(|z| &z.servers).flat_map(|s| addresses(s));
            servers.map(|a| a.parse().unwrap()).collect()
        };
        let before = self.machine.counters();
        let luck = &mut self.luck;
        let mut faults = load::play(step, net, pipeline, &client(""), luck, hosts).await;
        if self.steady {
            faults.extend(compare::counted(step, &before, &self.machine.counters()));
        }
        faults
    }

    /// As `holdfast trace NAME TYPE`.
    async fn trace(&self, step: &Step, asked: &str) -> Vec<String> {
        let asked = question(asked);
        let trace = Trace::recording(self.machine.clock.now());
        let options = Options {
            checking_disabled: has(&step.with, "cd"),
            ..Options::default()
        };
        let resolver = &self.machine.resolver;
        let found = resolver.resolve_traced(asked.clone(), options, &trace);
        let found = found.await;
        let mut reply = Message::query(7, asked).reply(found.rcode);
        reply.authentic_data = found.security == Security::Secure;
        let mut edns = Edns::new(UDP_SIZE, true);
        edns.options = found.errors.iter().map(Ede::to_option).collect();
        reply.edns = Some(edns);
        let text = TraceReport::new(&reply, false, 0.0, trace.events()).to_text();
        let mut faults = match self.steady {
            true => compare::traced(step, &text),
            false => Vec::new(),
        };
        if found.rcode != rcode(&step.rcode) {
            faults.push(format!("{} instead of {}", found.rcode, step.rcode));
        }
        faults
    }

    async fn change(&mut self, step: &Step) {
        if step.heal {
            self.net.heal();
        }
        for (who, what) in &step.faults {
            self.net.set(who, fault(what));
        }
        if step.restart {
            self.machine.restart(step.boot_clock_s).await;
        }
        if step.clock_jump_s != 0 {
            self.machine.jump(step.clock_jump_s);
        }
        step.flush.iter().for_each(|what| self.machine.flush(what));
        if step.zone.is_empty() {
            return;
        }
        for zone in &step.zone {
            put(&mut self.zones, zone);
        }
        let internet = builder(&self.zones, 0).build();
        for zone in self.zones.iter().filter(|zone| !zone.own) {
            for server in &zone.servers {
                for address in addresses(server) {
                    (self.net).serve(address, internet.image(&zone.name), &[&zone.name]);
                }
            }
        }
        serve_resolvers(&self.net, &self.resolvers, &internet);
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

/// The real way out, to the scenario's hosts on loopback; and their port.
async fn on_sockets(
    zones: &[Zone],
    scenario: &Scenario,
    script: Arc<Script>,
    net: &Arc<SimNet>,
    metrics: &Arc<Metrics>,
) -> (Arc<dyn Upstream>, u16) {
    let servers = zones.iter().flat_map(|z| &z.servers);
    let servers = servers.flat_map(|s| addresses(s));
    let hosts = scenario.hosts.iter().map(String::as_str);
    let mut hosts: Vec<IpAddr> = servers.chain(hosts).map(|a| a.parse().unwrap()).collect();
    hosts.sort();
    hosts.dedup();
    let port = sockets::serve(&hosts, script, net.clone()).await;
    let settings = NetSettings {
        outgoing: Vec::new(),
        ipv4: true,
        ipv6: true,
    };
    let clock = Clock::starting_at(Duration::from_secs(BEGIN_S.into()));
    let upstream = NetUpstream::new(settings, metrics.clone(), clock).unwrap();
    (Arc::new(upstream), port)
}

fn client(with: &str) -> Client {
    let transport = match has(with, "tcp") {
        true => Transport::Tcp,
        false => Transport::Udp,
    };
    Client::new("127.0.0.1:4000".parse().unwrap(), transport)
}

/// A query in wire form.
pub fn query(question: Question, with: &str, cookie: &[u8]) -> Vec<u8> {
    let mut edns = Edns::new(UDP_SIZE, has(with, "do"));
    if has(with, "cookie") {
        edns.options.push((option::COOKIE, cookie.to_vec()));
    }
    let query = Message {
        recursion_desired: has(with, "rd"),
        checking_disabled: has(with, "cd"),
        authentic_data: has(with, "ad"),
        edns: (!has(with, "plain")).then_some(edns),
        ..Message::query(7, question)
    };
    query.encode(usize::from(UDP_SIZE))
}
