//! The server under test: the real query pipeline over the real resolver, as its configuration makes it.
//!
//! Without `engine` there is a resolver alone, with copies of zones that the file puts into its hands; with it, the whole
//! engine and its ledger on disk, which can be stopped and started again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast::clock::Clock;
use holdfast::config::{
    self, Access, Anchor, Anchors, Config, DnssecMode, MirrorConfig, NegativeTrustAnchor, Sha1,
    Source,
};
use holdfast::dns::Name;
use holdfast::engine::{Engine, Outside};
use holdfast::metrics::Metrics;
use holdfast::query::acl::AccessList;
use holdfast::query::cookie::Cookies;
use holdfast::query::own::{OwnZone, OwnZones};
use holdfast::query::own_first::OwnFirst;
use holdfast::query::special::Special;
use holdfast::query::{Pipeline, Settings, SharedSettings};
use holdfast::resolve::settings;
use holdfast::resolve::task::{Parts, Resolver};
use holdfast::resolve::{LocalTrust, Prefer};
use holdfast::store::{Durability, StoreError};
use holdfast::upstream::Upstream;

use crate::build::{Builder, Internet};
use crate::file::{self, Scenario};
use crate::internet::BEGIN_S;
use crate::lab::{Copies, Notes};
use crate::net::SimNet;
use crate::signer::name;
use crate::transfer::Transfers;

/// What a client takes over UDP, octets.
pub const UDP_SIZE: u16 = 1232;
/// So often it is tried to open a ledger that is being closed, 50 ms apart.
const OPEN_TRIES_MAX: usize = 200;
/// The port of forwarders, and of who gives zones.
const SERVER_PORT: u16 = 53;

/// The server.
pub struct Machine {
    pub pipeline: Arc<Pipeline>,
    pub resolver: Resolver,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    config: Config,
    own: Vec<(Name, OwnZone)>,
    around: Around,
    engine: Option<Engine>,
    /// Of the ledger.
    _dir: Option<tempfile::TempDir>,
}

/// The world around it.
pub struct Around {
    pub upstream: Arc<dyn Upstream>,
    pub net: Arc<SimNet>,
    /// Zones that are held here, where there is no engine.
    pub copies: Arc<Copies>,
    pub metrics: Arc<Metrics>,
    /// Of all servers.
    pub port: u16,
    pub seed: u64,
}

impl Machine {
    pub async fn start(
        scenario: &Scenario,
        config: Config,
        own: &Internet,
        around: Around,
    ) -> Machine {
        let clock = Clock::starting_at(Duration::from_secs(BEGIN_S.into()));
        let metrics = around.metrics.clone();
        let images = own.images.iter().filter(|(apex, _)| !apex.is_root());
        let own: Vec<_> = images
            .map(|(apex, image)| (apex.clone(), OwnZone::Loaded(image.clone())))
            .collect();
        let mut config = config;
        let of_own = |(zone, _): &(Name, OwnZone)| NegativeTrustAnchor::lasting(zone.clone());
        (config.resolver.negative_trust_anchors).extend(own.iter().map(of_own));
        if !scenario.engine {
            let shared = pipeline_settings(&config, &own);
            let resolver = resolver(&config, &shared, &around, &clock, &metrics);
            return Machine {
                pipeline: pipeline(shared, &resolver, &clock, &metrics),
                resolver,
                clock,
                metrics,
                config,
                own,
                around,
                engine: None,
                _dir: None,
            };
        }
        let dir = tempfile::tempdir().unwrap();
        config.server.data_dir = dir.path().to_owned();
        let shared = pipeline_settings(&config, &own);
        let engine = engine(&config, &shared, &around, &clock, &metrics);
        let engine = engine.await.unwrap();
        Machine {
            pipeline: pipeline(shared, &engine.resolver, &clock, &metrics),
            resolver: engine.resolver.clone(),
            clock,
            metrics,
            config,
            own,
            around,
            engine: Some(engine),
            _dir: Some(dir),
        }
    }

    /// Stops and starts again; the machine's clock then shows `boot_clock_s`, or goes on.
    pub async fn restart(&mut self, boot_clock_s: Option<u64>) {
        let engine = self.engine.take().expect("`restart` needs `engine`");
        if let Some(keeper) = &engine.timekeeper {
            keeper.persist(Durability::Synced);
        }
        // The pipeline holds a resolver, and with it the engine's parts.
        self.pipeline = Arc::new(Pipeline::new(
            SharedSettings::default(),
            None,
            self.metrics.clone(),
        ));
        let wall_s = boot_clock_s.unwrap_or_else(|| self.clock.now().wall_s);
        self.clock = Clock::starting_at(Duration::from_secs(wall_s));
        let shared = pipeline_settings(&self.config, &self.own);
        drop(engine);
        self.resolver = resolver(
            &Config::default(),
            &shared,
            &self.around,
            &self.clock,
            &self.metrics,
        );
        for _ in 0..OPEN_TRIES_MAX {
            // Tasks that were stopped let go of the ledger when they are next polled.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let started = engine_of(self, &shared).await;
            match started {
                // sled closes its file in a thread of its own, in real time.
                Err(StoreError::InUse(_)) => {
                    // Questions under way hold on to their parts until they end.
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    std::thread::sleep(Duration::from_millis(50));
                }
                started => {
                    let engine = started.unwrap();
                    self.resolver = engine.resolver.clone();
                    self.pipeline = pipeline(shared, &self.resolver, &self.clock, &self.metrics);
                    self.engine = Some(engine);
                    return;
                }
            }
        }
        panic!("the ledger was never closed");
    }

    /// `NAME` or `NAME tree`
    pub fn flush(&self, what: &str) {
        let (owner, tree) = match what.strip_suffix(" tree") {
            Some(owner) => (owner, true),
            None => (what, false),
        };
        self.resolver.flush(&name(owner), tree);
    }

    /// Sets the wall clock forward or back.
    pub fn jump(&self, seconds: i64) {
        let now_s = self.clock.now().wall_s;
        let then_s = now_s.checked_add_signed(seconds).expect("after 1970");
        self.clock.set_wall(Duration::from_secs(then_s));
    }

    /// Every counter and gauge by its name.
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        // As `status` does.
        let unclaimed = holdfast::upstream::unclaimed_datagrams();
        (self.metrics.datagrams_unclaimed_total).set(unclaimed.unwrap_or(0));
        let all = self.metrics.snapshot().into_iter();
        all.map(|(name, _, value)| (name, value)).collect()
    }
}

/// What the operator of this scenario has written.
pub fn config(scenario: &Scenario, internet: &Internet, builder: &Builder) -> Config {
    let mut config = Config::default();
    let settings = &scenario.settings;
    let set = |to: &mut bool, from: Option<bool>| *to = from.unwrap_or(*to);
    let resolver = &mut config.resolver;
    let hints_max = settings.hints_max.unwrap_or(usize::MAX);
    resolver.hints.servers = internet.hints.iter().take(hints_max).cloned().collect();
    resolver.anchors = anchors(settings, builder);
    if resolver.anchors.zones.is_empty() {
        resolver.dnssec = DnssecMode::Off;
    }
    // Off, so that packets can be counted, and names for documentation used.
    (resolver.prime, resolver.prefetch) = (false, false);
    (resolver.special_use_zones, resolver.trust_anchor_updates) = (false, false);
    set(&mut resolver.prime, settings.prime);
    set(&mut resolver.prefetch, settings.prefetch);
    set(&mut resolver.special_use_zones, settings.special_use_zones);
    set(
        &mut resolver.trust_anchor_updates,
        settings.trust_anchor_updates,
    );
    set(&mut resolver.ipv4, settings.ipv4);
    set(&mut resolver.ipv6, settings.ipv6);
    set(
        &mut resolver.qname_minimisation,
        settings.qname_minimisation,
    );
    set(&mut resolver.harden_glue, settings.harden_glue);
    set(&mut resolver.aggressive_nsec, settings.aggressive_nsec);
    set(&mut resolver.query_loopback, settings.query_loopback);
    resolver.query_loopback |= scenario.sockets;
    resolver.sha1 = match settings.sha1.as_deref() {
        None | Some("insecure") => Sha1::Insecure,
        Some("validate") => Sha1::Validate,
        Some(other) => panic!("sha1 is not {other}"),
    };
    let negative = settings.negative_trust_anchors.iter();
    resolver.negative_trust_anchors = negative.map(|n| negative_anchor(n)).collect();
    let cache = &mut config.cache;
    cache.ttl_min_s = settings.ttl_min_s.unwrap_or(cache.ttl_min_s);
    cache.ttl_max_s = settings.ttl_max_s.unwrap_or(cache.ttl_max_s);
    cache.bytes_max = settings.cache_bytes_max.unwrap_or(cache.bytes_max);
    let stale = &mut config.stale;
    set(&mut stale.enabled, settings.stale);
    stale.answer_after_ms = settings.answer_after_ms.unwrap_or(stale.answer_after_ms);
    stale.age_max_s = settings.stale_age_max_s.unwrap_or(stale.age_max_s);
    config.forwards = scenario.forward.iter().map(forward).collect();
    config.mirrors = scenario.mirrors.iter().map(mirror).collect();
    config
}

fn mirror((zone, source): (&String, &IpAddr)) -> MirrorConfig {
    MirrorConfig {
        sources: vec![Source::Axfr {
            addr: (*source, SERVER_PORT).into(),
            tsig: None,
            tls: None,
        }],
        ..MirrorConfig::new(name(zone))
    }
}

fn anchors(settings: &file::Settings, builder: &Builder) -> Anchors {
    let root = vec![".".to_string()];
    let zones = settings.trust_anchors.as_ref().unwrap_or(&root);
    let anchor = |zone: &String| {
        let signer = builder.signer(zone)?;
        Some(Anchor {
            owner: name(zone),
            ds: vec![signer.ds().remove(0)],
            dnskeys: Vec::new(),
        })
    };
    Anchors {
        zones: zones.iter().filter_map(anchor).collect(),
    }
}

fn negative_anchor(text: &str) -> NegativeTrustAnchor {
    match text.split_once(' ') {
        None => NegativeTrustAnchor::lasting(name(text)),
        Some((zone, until_s)) => NegativeTrustAnchor {
            name: name(zone),
            until_s: Some(u64::from(BEGIN_S) + until_s.parse::<u64>().expect("seconds")),
        },
    }
}

fn forward(forward: &file::Forward) -> config::Forward {
    let servers = forward.servers.iter();
    config::Forward {
        zone: name(&forward.zone),
        servers: servers.map(|ip| (*ip, SERVER_PORT).into()).collect(),
        first: forward.first,
        tls: None,
        is_stub: forward.stub,
    }
}

/// Puts copies of zones into the hands of a resolver.
pub fn copies(scenario: &Scenario, internet: &Internet, builder: &Builder) -> Arc<Copies> {
    let copies = Arc::new(Copies::default());
    for (zone, when) in &scenario.copies {
        let prefer = match when.as_str() {
            "now" => Prefer::Now,
            "hedge" => Prefer::Hedge,
            "last" => Prefer::LastResort,
            other => panic!("a copy is asked now, hedge or last, not {other}"),
        };
        let trust = match builder.signer(zone) {
            Some(_) => LocalTrust::Secure,
            None => LocalTrust::Insecure,
        };
        copies.hold(internet.image(zone), prefer, trust);
    }
    copies
}

fn pipeline_settings(config: &Config, own: &[(Name, OwnZone)]) -> SharedSettings {
    let forwards = config.forwards.iter().map(|f| &f.zone);
    let configured = own.iter().map(|(apex, _)| apex).chain(forwards.clone());
    let settings = Settings {
        access: AccessList::new(&Access::default()),
        zones: OwnZones::new(own.to_vec()).without_forwarded(forwards),
        special: match config.resolver.special_use_zones {
            true => Special::new(configured),
            false => Special::default(),
        },
        udp_size_max: UDP_SIZE,
        ..Settings::default()
    };
    Arc::new(Arc::new(settings).into())
}

fn pipeline(
    settings: SharedSettings,
    resolver: &Resolver,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Arc<Pipeline> {
    let resolver = Arc::new(resolver.clone());
    let pipeline = Pipeline::new(settings, Some(resolver), metrics.clone());
    Arc::new(pipeline.with_cookies(Cookies::new([7; 16]), clock.clone()))
}

fn resolver(
    config: &Config,
    settings: &SharedSettings,
    around: &Around,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Resolver {
    let resolver = Resolver::new(Parts {
        settings: settings::Settings {
            port: around.port,
            ..settings::Settings::from_config(config, around.seed)
        },
        upstream: around.upstream.clone(),
        validator: settings::Settings::validator_from_config(config).map(Arc::new),
        local: Arc::new(OwnFirst::new(settings.clone(), around.copies.clone())),
        health: Arc::new(Notes::default()),
        clock: clock.clone(),
        metrics: metrics.clone(),
    });
    tokio::spawn(resolver.clone().keep_fresh());
    resolver
}

async fn engine_of(machine: &Machine, shared: &SharedSettings) -> Result<Engine, StoreError> {
    let Machine {
        config,
        around,
        clock,
        metrics,
        ..
    } = machine;
    engine(config, shared, around, clock, metrics).await
}

async fn engine(
    config: &Config,
    settings: &SharedSettings,
    around: &Around,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<Engine, StoreError> {
    let outside = Outside {
        upstream: around.upstream.clone(),
        connect: Arc::new(Transfers(around.net.clone())),
        clock: clock.clone(),
        metrics: metrics.clone(),
        settings: settings.clone(),
        clock_is_unset: || false,
        seed: around.seed,
    };
    Engine::start(config, outside).await
}
