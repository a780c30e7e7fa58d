//! Draws what happens in an internet: questions, and changes between them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use holdfast::dns::{Name, Question, Rtype};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::generate::{are_private, in_zone, line_in};
use crate::net::Fault;
use crate::plan::{Act, Change, DenialKind, Known, Plan, Server, Zone, ZoneId};
use crate::signer::{EXPIRATION, INCEPTION};

/// Before a change everything under way comes to its end: a question's work may take 10 s.
const SETTLE: Duration = Duration::from_secs(12);
/// Before this much time has passed the first answers are still in the cache.
const PAUSES_S: [u64; 6] = [0, 0, 2, 40, 70, 400];
const DAY_S: i64 = 86_400;

/// Draws the acts of a plan whose zones and faults are there.
pub fn draw(plan: &Plan, rng: &mut SmallRng) -> Vec<Act> {
    let mut stage = Stage {
        zones: plan.zones.clone(),
        faults: plan.faults.clone(),
        mirrors: plan.mirrors.iter().copied().collect(),
        cut: Vec::new(),
        clock_off_s: 0,
        fresh: 0,
        asked: Vec::new(),
        acts: Vec::new(),
    };
    let lively = rng.random_ratio(2, 3);
    for _ in 0..rng.random_range(4..=8) {
        stage.ask(rng);
        if lively && rng.random_ratio(2, 3) {
            stage.acts.push(Act::Wait(SETTLE));
            stage.change(rng);
        }
        let pause = PAUSES_S.choose(rng).unwrap();
        stage.acts.push(Act::Wait(Duration::from_secs(*pause)));
    }
    stage.ask(rng);
    stage.acts
}

/// Adds an outage of half of the hosts at the end, that lasts longer than most data, with the same questions before, in and after it.
pub fn add_outage(plan: &mut Plan) {
    let mut rng = SmallRng::seed_from_u64(plan.seed);
    let mut asked: Vec<Question> = Vec::new();
    let mut faults = plan.faults.clone();
    for act in &plan.acts {
        match act {
            Act::Ask { questions, .. } => asked.extend(questions.iter().cloned()),
            Act::Change(Change::Faults(changed)) => faults.extend(changed.iter().copied()),
            _ => {}
        }
    }
    let questions: Vec<Question> = asked.sample(&mut rng, 10).cloned().collect();
    let hosts: Vec<IpAddr> = plan.delays.keys().copied().collect();
    let gone: Vec<IpAddr> = hosts.sample(&mut rng, hosts.len() / 2).copied().collect();
    let before: Vec<(IpAddr, Fault)> = (gone.iter())
        .map(|ip| (*ip, faults.get(ip).copied().unwrap_or(Fault::None)))
        .collect();
    let silent = gone.iter().map(|ip| (*ip, Fault::Silent)).collect();
    let ask = || Act::Ask {
        questions: questions.clone(),
        at_once: false,
    };
    plan.acts
        .extend([Act::Wait(SETTLE), ask(), Act::Wait(SETTLE)]);
    plan.acts.push(Act::Change(Change::Faults(silent)));
    for pause_s in [70, 310, 3700] {
        plan.acts
            .extend([Act::Wait(Duration::from_secs(pause_s)), ask()]);
    }
    plan.acts.push(Act::Change(Change::Faults(before)));
    plan.acts
        .extend([Act::Wait(Duration::from_secs(200)), ask()]);
}

struct Stage {
    zones: Vec<Zone>,
    faults: BTreeMap<IpAddr, Fault>,
    mirrors: Vec<ZoneId>,
    /// Hosts that were cut off, with what they had before.
    cut: Vec<(IpAddr, Fault)>,
    clock_off_s: i64,
    fresh: u16,
    asked: Vec<Question>,
    acts: Vec<Act>,
}

impl Stage {
    fn ask(&mut self, rng: &mut SmallRng) {
        let questions: Vec<Question> = (0..rng.random_range(3..=8))
            .map(|_| match self.asked.choose(rng) {
                Some(again) if rng.random_ratio(1, 4) => again.clone(),
                _ => self.question(rng),
            })
            .collect();
        self.asked.extend(questions.iter().cloned());
        let at_once = rng.random_ratio(1, 4);
        self.acts.push(Act::Ask { questions, at_once });
    }

    fn question(&self, rng: &mut SmallRng) -> Question {
        const TYPES: [Rtype; 6] = [
            Rtype::A,
            Rtype::A,
            Rtype::AAAA,
            Rtype::TXT,
            Rtype::MX,
            Rtype::CNAME,
        ];
        let zone = self.zones.choose(rng).unwrap();
        let any_type = *TYPES.choose(rng).unwrap();
        let at = |label: &str| in_zone(label, &zone.apex);
        let draw = rng.random_range(0..100);
        let (name, rtype) = match (draw, zone.records.choose(rng)) {
            (0..35, Some(r)) => (r.name.clone(), r.rtype),
            (35..45, Some(r)) => (r.name.clone(), any_type),
            (45..52, Some(r)) => (child("below", &r.name), any_type),
            (52..60, _) => (at("absent"), any_type),
            (60..63, _) => (at("very.absent"), any_type),
            (63..70, _) => {
                let labels = [
                    "q.wild",
                    "q.q.wild",
                    "two.wild",
                    "q.two.wild",
                    "wild",
                    "q.wc",
                    "q.wa",
                ];
                (at(labels.choose(rng).unwrap()), any_type)
            }
            (70..77, _) => {
                let labels = [
                    "www.dn",
                    "absent.dn",
                    "alias.dn",
                    "dn",
                    "a.b.dn",
                    "www.long",
                ];
                (at(labels.choose(rng).unwrap()), any_type)
            }
            (77..79, _) => (at(["b", "e0", "co"].choose(rng).unwrap()), any_type),
            (79..82, _) => (
                at(["c0", "c4", "alias", "away"].choose(rng).unwrap()),
                Rtype::A,
            ),
            (82..92, _) => {
                let types = [Rtype::DS, Rtype::DS, Rtype::NS, Rtype::SOA, Rtype::DNSKEY];
                (zone.apex.clone(), *types.choose(rng).unwrap())
            }
            (92..95, Some(r)) => (r.name.clone(), Rtype::DS),
            _ => {
                let server = zone.servers.choose(rng).unwrap();
                let rtype = if rng.random_ratio(1, 2) {
                    Rtype::A
                } else {
                    Rtype::AAAA
                };
                (server.name.clone(), rtype)
            }
        };
        Question::new(name, rtype)
    }

    fn change(&mut self, rng: &mut SmallRng) {
        let change = match rng.random_range(0..100) {
            0..45 => self.cut_or_return(rng),
            45..70 => self.records(rng),
            70..80 => self.servers(rng),
            80..92 => self.signing(rng),
            _ => self.clock(rng),
        };
        self.acts.extend(change.map(Act::Change));
    }

    fn cut_or_return(&mut self, rng: &mut SmallRng) -> Option<Change> {
        if !self.cut.is_empty() && rng.random_ratio(1, 2) {
            let back = std::mem::take(&mut self.cut);
            self.faults.extend(back.iter().copied());
            return Some(Change::Faults(back));
        }
        let mirror = self.mirrors.choose(rng).copied();
        let zone = match mirror.filter(|_| rng.random_ratio(1, 2)) {
            Some(zone) => zone,
            None => rng.random_range(0..self.zones.len()),
        };
        let held = self.mirrors.contains(&zone);
        let fault = match rng.random_range(0..8) {
            0..4 => Fault::Silent,
            4 => Fault::Unreachable,
            5 => Fault::ServFail,
            6 if held => Fault::Bogus,
            _ => Fault::Refused,
        };
        let mut hosts = Vec::new();
        for server in &self.zones[zone].servers {
            if rng.random_ratio(3, 4) {
                hosts.extend(server.addresses.iter().map(|ip| (*ip, fault)));
            }
        }
        for (ip, _) in &hosts {
            let before = self.faults.get(ip).copied().unwrap_or(Fault::None);
            if !self.cut.iter().any(|(known, _)| known == ip) {
                self.cut.push((*ip, before));
            }
        }
        self.faults.extend(hosts.iter().copied());
        Some(Change::Faults(hosts))
    }

    fn records(&mut self, rng: &mut SmallRng) -> Option<Change> {
        let id = rng.random_range(0..self.zones.len());
        let zone = &mut self.zones[id];
        self.fresh += 1;
        let fresh = self.fresh;
        match rng.random_range(0..3) {
            0 => {
                for r in &mut zone.records {
                    if r.rtype == Rtype::A && rng.random_ratio(1, 2) {
                        r.rdata = [192, 0, 3, fresh as u8].into();
                    }
                }
                // Two records of a set may have become one.
                let mut seen = Vec::new();
                zone.records.retain(|r| {
                    let key = (r.name.clone(), r.rtype, r.rdata.clone());
                    let new = !seen.contains(&key);
                    seen.push(key);
                    new
                });
            }
            1 if !zone.records.is_empty() => {
                let at = rng.random_range(0..zone.records.len());
                let gone = zone.records.remove(at);
                zone.records
                    .retain(|r| r.name != gone.name || r.rtype != gone.rtype);
            }
            _ => {
                let line = format!("new{fresh} A 192.0.4.{fresh}");
                zone.records.push(line_in(&line, &zone.apex, zone.ttl_s));
                // And somebody asks for it soon.
                self.asked.push(Question::new(
                    in_zone(&format!("new{fresh}"), &zone.apex),
                    Rtype::A,
                ));
            }
        }
        Some(Change::Records(id, zone.records.clone()))
    }

    /// New machines under new names; the old ones no longer know the zone.
    fn servers(&mut self, rng: &mut SmallRng) -> Option<Change> {
        let id = rng.random_range(1..self.zones.len());
        let named_elsewhere = |s: &Server, zones: &[Zone]| {
            let uses = zones
                .iter()
                .flat_map(|z| &z.servers)
                .filter(|o| o.name == s.name);
            uses.count() > 1
        };
        let shared = self.zones[id]
            .servers
            .iter()
            .any(|s| named_elsewhere(s, &self.zones));
        if shared || !are_private(&self.zones, id) {
            return None;
        }
        let old = self.zones[id]
            .servers
            .iter()
            .flat_map(|s| s.addresses.clone());
        let old: Vec<(IpAddr, Fault)> = old.map(|ip| (ip, Fault::Refused)).collect();
        self.cut.retain(|(ip, _)| old.iter().all(|(o, _)| o != ip));
        self.faults.extend(old.iter().copied());
        self.fresh += 1;
        let fresh = self.fresh;
        let server = |k: u16| Server {
            name: in_zone(&format!("ns{fresh}n{k}"), &self.zones[id].apex),
            addresses: vec![[203, 0, (fresh % 256) as u8, k as u8 + 1].into()],
            glue: true,
            known: Known::Address,
            serves: true,
        };
        let servers: Vec<Server> = (0..rng.random_range(1..=2)).map(server).collect();
        self.zones[id].servers.clone_from(&servers);
        self.acts.push(Act::Change(Change::Faults(old)));
        Some(Change::Servers(id, servers))
    }

    /// A zone's signatures run out, or it is signed anew with other keys.
    fn signing(&mut self, rng: &mut SmallRng) -> Option<Change> {
        let id = rng.random_range(1..self.zones.len());
        let above_mirror = self
            .mirrors
            .iter()
            .any(|m| self.zones[*m].apex.is_within(&self.zones[id].apex));
        let signing = self.zones[id].signing.as_mut()?;
        if above_mirror {
            return None;
        }
        let good = (INCEPTION, EXPIRATION);
        match (signing.valid == good, rng.random_ratio(1, 2)) {
            (false, _) => {
                signing.valid = good;
                signing.flaws.clear();
            }
            (true, true) => signing.valid = (INCEPTION, INCEPTION + 3600),
            (true, false) => {
                signing.key += 1000;
                signing.flaws.clear();
                if signing.denial == DenialKind::Nsec && rng.random_ratio(1, 2) {
                    signing.denial = DenialKind::Nsec3 {
                        opt_out: false,
                        iterations: 0,
                    };
                }
            }
        }
        Some(Change::Signing(id, signing.clone()))
    }

    fn clock(&mut self, rng: &mut SmallRng) -> Option<Change> {
        let step_s = if self.clock_off_s != 0 {
            -self.clock_off_s
        } else if self.mirrors.is_empty() {
            *[-600, 1200, 20 * DAY_S, -DAY_S].choose(rng).unwrap()
        } else {
            *[-600, 1200].choose(rng).unwrap()
        };
        self.clock_off_s += step_s;
        Some(Change::Clock(step_s))
    }
}

fn child(label: &str, name: &Name) -> Name {
    name.child(label.as_bytes())
        .unwrap_or_else(|_| name.clone())
}
