//! A resolver in the simulated internet, and what the tests ask of it.
#![allow(dead_code)]

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast::clock::{Clock, Now};
use holdfast::dns::{Name, Question, Rcode, Record, Rtype, rdata};
use holdfast::metrics::Metrics;
use holdfast::resolve::settings::Settings;
use holdfast::resolve::task::{Options, Parts, Resolver};
use holdfast::resolve::validate::{self, Validator};
use holdfast::resolve::{
    Cover, Health, LocalAnswer, LocalTrust, LocalZones, MirrorNote, Observation, Prefer, Resolution,
};
use holdfast::upstream::Upstream;
use holdfast::zone::ZoneImage;

use crate::build::Internet;
use crate::net::SimNet;
use crate::signer::INCEPTION;

/// One held copy.
struct Held {
    image: Arc<ZoneImage>,
    prefer: Prefer,
    trust: LocalTrust,
}

/// Copies of zones, as mirrors would hold them; changed by the test as it goes.
#[derive(Default)]
pub struct Copies(Mutex<HashMap<Name, Held>>, AtomicBool);

impl Copies {
    /// Holds a copy, in place of an earlier one.
    pub fn hold(&self, image: Arc<ZoneImage>, prefer: Prefer, trust: LocalTrust) {
        let held = Held {
            image: image.clone(),
            prefer,
            trust,
        };
        self.0.lock().unwrap().insert(image.apex().clone(), held);
    }

    /// Lets one step go upstream that would be a copy's.
    pub fn explore_once(&self) {
        self.1.store(true, Ordering::Relaxed);
    }

    /// Changes when the copy of a zone is asked.
    pub fn prefer(&self, zone: &str, prefer: Prefer) {
        let zone: Name = zone.parse().unwrap();
        self.0.lock().unwrap().get_mut(&zone).unwrap().prefer = prefer;
    }
}

impl LocalZones for Copies {
    fn cover(&self, question: &Question, _now: Now) -> Option<Cover> {
        let held = self.0.lock().unwrap();
        let mut at = match question.rtype {
            Rtype::DS if !question.name.is_root() => question.name.parent(),
            _ => Some(question.name.clone()),
        };
        while let Some(zone) = at {
            if let Some(found) = held.get(&zone) {
                return Some(Cover {
                    zone,
                    prefer: found.prefer,
                });
            }
            at = zone.parent();
        }
        None
    }

    fn explore(&self, _zone: &Name, _now: Now) -> bool {
        self.1.swap(false, Ordering::Relaxed)
    }

    fn answer(&self, zone: &Name, question: &Question, _now: Now) -> Option<LocalAnswer> {
        let held = self.0.lock().unwrap();
        let copy = held.get(zone)?;
        Some(LocalAnswer {
            lookup: copy.image.lookup(&question.name, question.rtype),
            note: MirrorNote {
                zone: zone.clone(),
                serial: copy.image.serial(),
                age_s: 0,
                trust: copy.trust,
            },
        })
    }
}

/// Takes down what servers did.
#[derive(Default)]
pub struct Notes {
    observations: Mutex<Vec<Observation>>,
    avoided: Mutex<Vec<IpAddr>>,
}

impl Notes {
    /// Everything observed since the last call.
    pub fn take(&self) -> Vec<Observation> {
        std::mem::take(&mut self.observations.lock().unwrap())
    }

    /// No prefix is dead any more.
    pub fn readmit(&self) {
        self.avoided.lock().unwrap().clear();
    }

    /// Lets an address stand in a dead prefix.
    pub fn avoid(&self, address: &str) {
        self.avoided.lock().unwrap().push(address.parse().unwrap());
    }
}

impl Health for Notes {
    fn observe(&self, observation: Observation) {
        self.observations.lock().unwrap().push(observation);
    }

    fn zone_servers(&self, _zone: &Name, _servers: &[IpAddr]) {}

    fn avoid(&self, server: IpAddr) -> bool {
        self.avoided.lock().unwrap().contains(&server)
    }
}

/// The resolver and everything around it.
pub struct Lab {
    pub internet: Internet,
    pub net: Arc<SimNet>,
    pub copies: Arc<Copies>,
    pub notes: Arc<Notes>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub resolver: Resolver,
}

impl Lab {
    /// A resolver with default settings, without priming so that packets can be counted.
    pub fn new(internet: Internet) -> Lab {
        Lab::with(internet, |_| {})
    }

    /// A resolver with changed settings.
    pub fn with(internet: Internet, change: impl FnOnce(&mut Settings)) -> Lab {
        let upstream = internet.net.clone();
        Lab::made(internet, upstream, change)
    }

    /// A resolver over another upstream than a simulated network.
    pub fn over(
        upstream: Arc<dyn Upstream>,
        hints: Vec<(Name, Vec<IpAddr>)>,
        anchors: Vec<Record>,
        change: impl FnOnce(&mut Settings),
    ) -> Lab {
        let internet = Internet {
            net: Arc::new(SimNet::new(0)),
            images: Default::default(),
            hints,
            anchors,
        };
        Lab::made(internet, upstream, change)
    }

    fn made(
        internet: Internet,
        upstream: Arc<dyn Upstream>,
        change: impl FnOnce(&mut Settings),
    ) -> Lab {
        let mut settings = Settings {
            root_hints: internet.hints.clone(),
            prime: false,
            seed: 1,
            ..Settings::default()
        };
        change(&mut settings);
        let validator = (!internet.anchors.is_empty()).then(|| {
            Arc::new(Validator::new(validate::Settings {
                anchors: internet.anchors.clone(),
                ..Default::default()
            }))
        });
        let copies = Arc::new(Copies::default());
        let notes = Arc::new(Notes::default());
        let clock = Clock::starting_at(Duration::from_secs(u64::from(INCEPTION) + 43_200));
        let metrics = Arc::new(Metrics::default());
        let resolver = Resolver::new(Parts {
            settings,
            upstream,
            validator,
            local: copies.clone(),
            health: notes.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        });
        Lab {
            net: internet.net.clone(),
            internet,
            copies,
            notes,
            clock,
            metrics,
            resolver,
        }
    }

    /// Resolves; takes as long as it takes.
    pub async fn ask(&self, name: &str, rtype: Rtype) -> Resolution {
        let question = Question::new(name.parse().unwrap(), rtype);
        self.resolver.resolve(question, Options::default()).await
    }

    /// Resolves an address question, and says how long that took.
    pub async fn timed(&self, name: &str) -> (Resolution, Duration) {
        let before = self.clock.now().mono;
        let resolution = self.ask(name, Rtype::A).await;
        (resolution, self.clock.now().mono - before)
    }

    /// Resolves and compares code and answer, written as `OWNER TYPE DATA` lines joined by `; `.
    pub async fn check(&self, name: &str, rtype: Rtype, expected: &str) -> Resolution {
        let resolution = self.ask(name, rtype).await;
        assert_eq!(
            brief(&resolution),
            expected,
            "{name} {rtype}: {resolution:#?}"
        );
        resolution
    }
}

/// `NOERROR www.example. A 192.0.2.1; ...` without TTLs.
pub fn brief(resolution: &Resolution) -> String {
    let mut out = vec![resolution.rcode.to_string()];
    let mut lines = Vec::new();
    for set in &resolution.answer {
        for data in &set.rdatas {
            let data = match set.rtype {
                Rtype::A => IpAddr::from(<[u8; 4]>::try_from(&data[..]).unwrap()).to_string(),
                Rtype::AAAA => IpAddr::from(<[u8; 16]>::try_from(&data[..]).unwrap()).to_string(),
                Rtype::CNAME | Rtype::DNAME | Rtype::NS => {
                    rdata::single_name(data).unwrap().to_string()
                }
                _ => "...".to_string(),
            };
            lines.push(format!("{} {} {data}", set.name, set.rtype));
        }
    }
    if resolution.rcode != Rcode::NOERROR || !lines.is_empty() {
        out.push(lines.join("; "));
    }
    out.join(" ").trim_end().to_string()
}

/// The extended error codes of a resolution.
pub fn codes(resolution: &Resolution) -> Vec<u16> {
    resolution.errors.iter().map(|e| e.code).collect()
}
