//! The engine: resolver, mirrors and reachability, put together.
//!
//! Why: these three must not know each other (a mirror that resolves through itself, a resolver that
//! judges reachability), yet each needs something of the others: the resolver takes steps from mirrors
//! as far as reachability says so, mirrors ask the resolver for their parent's DS, probes take keys from
//! mirrors, and the end of an outage concerns all. Here, and only here, they are tied together. The
//! simulation of the tests starts the same engine over a simulated network.
//!
//! Failure: what cannot start is a [`StoreError`]; everything after that is handled, logged and counted by
//! the parts themselves.

mod catalogs;
mod counted;
mod drills;
mod front;
mod worlds;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::anchors::task::{Fetched, KeySource, Tracked, Unfetched};
use crate::anchors::{self, PointStatus};
use crate::clock::Clock;
use crate::config::{Anchors, Config, DnssecMode, Sha1, Verify};
use crate::dns::{Name, Question, Rtype, rdata};
use crate::future::BoxFuture;
use crate::metrics::Metrics;
use crate::mirror::{self, Connect, DsAnswer, Generation, Lookup, Mirrors};
use crate::query::SharedSettings;
use crate::query::own_first::OwnFirst;
use crate::query::route::Route;
use crate::reach::{self, Prefixes, Prober, Reachability, SoaProber, State, Transition, ZoneTrust};
use crate::resolve::Security;
use crate::resolve::settings::Settings;
use crate::resolve::task::{Options, Parts, Resolver};
use crate::store::{Changes, Durability, Ledger, Opened, StoreError};
use crate::timekeeper::Timekeeper;
use crate::upstream::Upstream;
use catalogs::Catalogs;
use counted::Kept;
pub use drills::{Drills, Planned};
pub use front::Front;
use worlds::Outfit;
pub use worlds::Rehearsal;

/// The world around the engine.
pub struct Outside {
    /// The way to other servers.
    pub upstream: Arc<dyn Upstream>,
    /// The way to the mirrors' primary servers.
    pub connect: Arc<dyn Connect>,
    /// The clock.
    pub clock: Clock,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The own zones are in it: what is delegated in them is resolved from them.
    pub settings: SharedSettings,
    /// Whether nobody has set the machine's clock.
    pub clock_is_unset: fn() -> bool,
    /// Seed of every choice that need not be secret.
    pub seed: u64,
}

/// The running engine. Dropping it stops its tasks.
pub struct Engine {
    /// Resolves questions, whatever is being rehearsed.
    pub resolver: Resolver,
    /// Answers clients' questions: by the resolver, or in a drill by that of the drill.
    pub front: Arc<Front>,
    outfit: Outfit,
    counted: Option<Arc<Kept>>,
    /// The verified copies.
    pub mirrors: Arc<Mirrors>,
    /// Whether their servers can be reached.
    pub reach: Arc<Reachability>,
    /// Which prefixes are dead.
    pub prefixes: Arc<Prefixes>,
    /// Trust anchors as RFC 5011 has them; empty where they are not followed.
    pub trust_points: Arc<ArcSwap<Vec<PointStatus>>>,
    /// Where retained delegations are kept; none with `cache.persist = false`.
    retained_in: Option<Arc<Ledger>>,
    /// The floor under the clock; none with `lab.clock_file`.
    pub timekeeper: Option<Arc<Timekeeper>>,
    ledger: Arc<Ledger>,
    parent: Arc<Parent>,
    _tasks: JoinSet<()>,
}

impl Engine {
    /// Opens the ledger in `config.server.data_dir`, loads the mirrors and the outages of the last run, and
    /// starts the tasks. When it returns, questions can be answered, inside an outage too.
    ///
    /// # Errors
    /// The data directory cannot be used.
    pub async fn start(config: &Config, outside: Outside) -> Result<Engine, StoreError> {
        let Outside {
            upstream,
            connect,
            clock,
            metrics,
            settings,
            clock_is_unset,
            seed,
        } = outside;
        let ledger = open_ledger(&config.server.data_dir, &metrics)?;
        // Before anything is judged by the time.
        let in_laboratory = config.lab.clock_file.is_some();
        let timekeeper = (!in_laboratory)
            .then(|| Timekeeper::start(clock.clone(), ledger.clone(), metrics.clone()))
            .map(Arc::new);
        let tracked = tracked_anchors(config, &ledger, &clock);
        let anchors = tracked.as_ref().map_or_else(
            || Arc::new(ArcSwap::from_pointee(config.resolver.anchors.clone())),
            Tracked::live,
        );
        let parent = Arc::new(Parent::default());
        let deps = mirror::Deps {
            clock: clock.clone(),
            ledger: ledger.clone(),
            lookup: parent.clone(),
            connect,
            metrics: metrics.clone(),
            anchors: anchors.clone(),
            clock_is_unset: if in_laboratory {
                || false
            } else {
                clock_is_unset
            },
            seed,
        };
        let mirrors = Mirrors::start(config, deps).await;

        let zones = config.mirrors.iter().map(|m| m.zone.clone());
        let (reach, inputs) = Reachability::new(zones, clock.now());
        let prefixes = Prefixes::new(clock.clone(), metrics.clone());
        let prober = SoaProber::new(
            upstream.clone(),
            trust_of(mirrors.clone(), anchors.clone()),
            clock.clone(),
            config.resolver.edns_buffer,
            config.resolver.case_randomisation,
        );
        let probe = config.reachability.probe;
        let prober = probe.then(|| Arc::new(prober) as Arc<dyn Prober>);
        let reach_deps = reach::task::Deps {
            reach: reach.clone(),
            prefixes: prefixes.clone(),
            inputs,
            prober: prober.clone(),
            ledger: ledger.clone(),
            keep_outages: true,
            facts: facts(mirrors.clone()),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let machines = reach::task::resume(&reach_deps);

        let route = Route::new(
            mirrors.clone(),
            reach.clone(),
            prefixes.clone(),
            metrics.clone(),
        );
        let route = Arc::new(route.exploring(!config.reachability.probe));
        let outfit = Outfit {
            config: config.clone(),
            upstream: upstream.clone(),
            settings: settings.clone(),
            anchors: anchors.clone(),
            ledger: ledger.clone(),
            clock: clock.clone(),
        };
        let resolver = Resolver::new(Parts {
            settings: Settings::from_config(config, seed),
            upstream,
            local: Arc::new(OwnFirst::new(settings, route.clone())),
            health: route,
            validator: Settings::validator_from_config(config).map(Arc::new),
            clock: clock.clone(),
            metrics: metrics.clone(),
        });
        resolver.set_anchors(&anchors.load(), &[]);
        parent.begin(&resolver);
        let front = Arc::new(Front::new(resolver.clone(), config.names.clone()));

        let kept_in = ledger.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(resolver.clone().keep_fresh());
        tasks.spawn(resolver.clone().refresh_retained());
        let retained_in = (config.cache.persist && config.retained.enabled).then(|| ledger.clone());
        if let Some(ledger) = &retained_in {
            tasks.spawn(resolver.clone().keep_retained(ledger.clone()));
        }
        let counted =
            (front.names().cloned()).map(|names| Kept::new(names, ledger.clone(), clock.clone()));
        if let Some(counted) = &counted {
            tasks.spawn(counted.clone().run());
        }
        if config.cache.persist && config.stale.enabled {
            tasks.spawn(resolver.clone().keep_answers(ledger.clone()));
        }
        tasks.spawn(reach::task::run(reach_deps, machines));
        tasks.spawn(reach::pooled::run(prefixes.clone(), prober));
        let catalogs = Catalogs::new(
            config,
            mirrors.clone(),
            reach.clone(),
            resolver.clone(),
            clock.clone(),
            metrics.clone(),
        );
        let (catalogs, of_catalogs) = (Arc::new(catalogs), mirrors.subscribe());
        catalogs.resume().await;
        tasks.spawn(catalogs.run(of_catalogs));
        tasks.spawn(follow_transitions(
            reach.clone(),
            Some(mirrors.clone()),
            resolver.clone(),
        ));
        tasks.spawn(follow_generations(
            reach.clone(),
            mirrors.clone(),
            resolver.clone(),
            config.clone(),
        ));
        if let Some(keeper) = &timekeeper {
            tasks.spawn(keeper.clone().run());
        }
        let mut trust_points = Arc::default();
        if let Some(tracked) = tracked {
            trust_points = tracked.status();
            let source = Arc::new(ZoneKeys {
                resolver: resolver.clone(),
                reach: reach.clone(),
            });
            let deps = anchors::task::Deps {
                ledger,
                source,
                clock,
                metrics,
            };
            tasks.spawn(anchors::task::run(tracked, deps));
        }
        Ok(Engine {
            front,
            outfit,
            counted,
            resolver,
            mirrors,
            reach,
            prefixes,
            trust_points,
            retained_in,
            timekeeper,
            ledger: kept_in,
            parent,
            _tasks: tasks,
        })
    }
}

impl Engine {
    /// From names to addresses, as mirrors look them up.
    pub fn lookup(&self) -> Arc<dyn Lookup> {
        self.parent.clone()
    }

    /// Writes what is worth keeping and not yet on disk. For the end.
    pub async fn save(&self) {
        if let Some(ledger) = &self.retained_in {
            self.resolver.save_retained(ledger).await;
        }
        self.resolver.save_answers().await;
        if let Some(counted) = &self.counted {
            counted.clone().save().await;
        }
    }

    /// The last word to the disk, which blocks on it: the floor under the clock, and all that was written before is synced. The ledger stays open until the process ends, for
    /// to close it is to sync once more, and by then nobody answers.
    pub fn settle(&self) {
        match &self.timekeeper {
            Some(keeper) => keeper.persist(Durability::Synced),
            None => {
                if let Err(error) = self.ledger.commit(Changes::new(), Durability::Synced) {
                    tracing::warn!(%error, "what was written last may be lost");
                }
            }
        }
        std::mem::forget(self.ledger.clone());
    }
}

impl Drop for Engine {
    /// Parts hold each other in a circle through `Parent`; without this cut the ledger would stay open.
    fn drop(&mut self) {
        self.parent.resolver.store(None);
        self.mirrors.stop();
    }
}

fn open_ledger(data_dir: &Path, metrics: &Arc<Metrics>) -> Result<Arc<Ledger>, StoreError> {
    let (ledger, opened) = Ledger::open(data_dir, metrics.clone())?;
    match opened {
        Opened::Sound => {}
        Opened::NoRoom => tracing::error!(
            data_dir = %data_dir.display(),
            "the disk is full, and the ledger cannot be opened: mirrors serve the newest versions that they find, and \
             whatever is learnt is not kept; make room there, then it goes on by itself"
        ),
        Opened::SetAside { to, why } => tracing::error!(
            kept_at = %to.display(),
            "the ledger was damaged ({why}); it was set aside and is filled again from the zone images"
        ),
    }
    Ok(Arc::new(ledger))
}

/// The trust anchors of the last run; none where they are not followed.
fn tracked_anchors(config: &Config, ledger: &Ledger, clock: &Clock) -> Option<Tracked> {
    let resolver = &config.resolver;
    if !resolver.trust_anchor_updates || resolver.dnssec == DnssecMode::Off {
        return None;
    }
    let sha1 = resolver.sha1 == Sha1::Validate;
    Some(Tracked::load(&resolver.anchors, sha1, ledger, clock))
}

/// The way to the keys of zones with trust anchors, while they are reachable.
struct ZoneKeys {
    resolver: Resolver,
    reach: Arc<Reachability>,
}

impl ZoneKeys {
    /// What is seen in isolation counts for nothing, and nothing is asked for then.
    fn check_reachable(&self, zone: &Name) -> Result<(), Unfetched> {
        match self.reach.state(zone) {
            State::Online | State::Suspect => Ok(()),
            State::Isolated | State::Recovering => Err(Unfetched::Isolated),
        }
    }
}

impl KeySource for ZoneKeys {
    fn keys<'a>(
        &'a self,
        zone: &'a Name,
        avoid: &'a [IpAddr],
    ) -> BoxFuture<'a, Result<Fetched, Unfetched>> {
        Box::pin(async move {
            self.check_reachable(zone)?;
            let fetched = self.resolver.fetch_keys(zone, avoid).await;
            self.check_reachable(zone)?;
            let (set, server) = fetched.map_err(Unfetched::Failed)?;
            Ok(Fetched { set, server })
        })
    }

    fn put_in_force(&self, anchors: &Anchors, shrunk: &[Name]) {
        self.resolver.set_anchors(anchors, shrunk);
    }
}

/// What mirrors ask: the parent's DS and the addresses of web servers, once there is a resolver.
#[derive(Default)]
struct Parent {
    resolver: ArcSwapOption<Resolver>,
    started: watch::Sender<bool>,
}

impl Parent {
    fn begin(&self, resolver: &Resolver) {
        self.resolver.store(Some(Arc::new(resolver.clone())));
        self.started.send_replace(true);
    }

    /// The addresses of one family, or why there are none.
    async fn family(resolver: &Resolver, host: &Name, rtype: Rtype) -> Result<Vec<IpAddr>, String> {
        let question = Question::new(host.clone(), rtype);
        let found = resolver.resolve(question, Options::default()).await;
        let sets = found.answer.iter().filter(|set| set.rtype == rtype);
        let data = sets.flat_map(|set| &set.rdatas);
        let addresses: Vec<IpAddr> = data.filter_map(|r| rdata::address(r)).collect();
        if !addresses.is_empty() || found.rcode.is_answer() {
            return Ok(addresses);
        }
        Err(format!("{}: {}", found.rcode, found.cause()))
    }
}

impl Lookup for Parent {
    fn begun(&self) -> mirror::BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut started = self.started.subscribe();
            let _ = started.wait_for(|started| *started).await;
        })
    }

    /// Mirrors begin to refresh a moment before there is a resolver: that moment is waited for.
    fn addresses<'a>(
        &'a self,
        host: &'a Name,
    ) -> mirror::BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        Box::pin(async move {
            self.begun().await;
            let Some(resolver) = self.resolver.load_full() else {
                return Err("the resolver has stopped".to_owned());
            };
            let (six, four) = tokio::join!(
                Parent::family(&resolver, host, Rtype::AAAA),
                Parent::family(&resolver, host, Rtype::A)
            );
            match (six, four) {
                (Ok(six), Ok(four)) => Ok([six, four].concat()),
                (Ok(some), Err(_)) | (Err(_), Ok(some)) if !some.is_empty() => Ok(some),
                (Err(why), _) | (_, Err(why)) => Err(why),
            }
        })
    }

    /// Does not wait for the resolver: what is on disk is loaded before there is one.
    fn ds<'a>(&'a self, zone: &'a Name) -> mirror::BoxFuture<'a, DsAnswer> {
        Box::pin(async move {
            let Some(resolver) = self.resolver.load_full() else {
                return DsAnswer::Unavailable("the resolver has not started yet".into());
            };
            let question = Question::new(zone.clone(), Rtype::DS);
            let found = resolver.resolve(question, Options::default()).await;
            let ds = (found.answer.iter()).find(|s| s.rtype == Rtype::DS && s.name == *zone);
            match (&found.security, ds) {
                (Security::Secure, Some(set)) => DsAnswer::Secure(set.rdatas.clone()),
                (Security::Secure | Security::Insecure, None) if found.rcode.is_answer() => {
                    DsAnswer::Insecure
                }
                (Security::Insecure, Some(_)) => DsAnswer::Insecure,
                // As-of data vouches for nothing that arrives now (ARCHITECTURE.md, as-of validation).
                (Security::SecureAsOf, _) => {
                    DsAnswer::Unavailable("the parent's signatures have run out".into())
                }
                (Security::Bogus(_), _) => {
                    DsAnswer::Unavailable(format!("it is bogus: {}", found.cause()))
                }
                _ => DsAnswer::Unavailable(found.cause()),
            }
        })
    }
}

/// Probes check a zone's answers against the keys of its copy, and against its own anchors.
fn trust_of(mirrors: Arc<Mirrors>, anchors: Arc<ArcSwap<Anchors>>) -> reach::probe::TrustOf {
    Arc::new(move |zone| {
        let anchors = anchors.load();
        let own = anchors.closest(zone).filter(|a| a.owner == *zone);
        let ds = own
            .iter()
            .flat_map(|a| &a.ds)
            .map(|r| (Rtype::DS, r.clone()));
        let keys = own
            .iter()
            .flat_map(|a| &a.dnskeys)
            .map(|r| (Rtype::DNSKEY, r.clone()));
        let mirror = mirrors.find(zone);
        let current = mirror.as_ref().and_then(|m| m.current());
        ZoneTrust {
            unsigned: mirror
                .as_ref()
                .is_some_and(|m| m.config().verify == Verify::None),
            keys: current.and_then(|g| g.image().find(zone, Rtype::DNSKEY)),
            anchors: ds.chain(keys).collect(),
        }
    })
}

fn facts(mirrors: Arc<Mirrors>) -> Box<dyn Fn(&Name) -> reach::task::ZoneFacts + Send + Sync> {
    Box::new(move |zone| {
        let mirror = mirrors.find(zone);
        let current = mirror.as_ref().and_then(|m| m.current());
        reach::task::ZoneFacts {
            signed: mirror
                .as_ref()
                .is_some_and(|m| m.config().verify == Verify::Dnssec),
            serial: current.as_ref().map(|g| g.serial()),
            last_contact_s: current.and_then(|g| g.last_contact_at()),
        }
    })
}

/// What a change of reachability means for the others.
async fn follow_transitions(
    reach: Arc<Reachability>,
    mirrors: Option<Arc<Mirrors>>,
    resolver: Resolver,
) {
    let mut transitions = reach.subscribe();
    loop {
        let (zone, transition) = match transitions.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        match transition {
            // What failed on the way into the outage can be had from the mirror now.
            Transition {
                to: State::Isolated,
                ..
            } => resolver.forget_failures(),
            Transition {
                to: State::Online,
                from,
                ..
            } if from != State::Suspect => {
                resolver.note_recovered(&zone);
                if let Some(mirror) = mirrors.as_ref().and_then(|m| m.find(&zone)) {
                    mirror.refresh_now();
                }
            }
            _ => {}
        }
    }
}

/// Each new generation may name other servers; probes must know them before the first client asks. And it may hold names that
/// the one before denied.
async fn follow_generations(
    reach: Arc<Reachability>,
    mirrors: Arc<Mirrors>,
    resolver: Resolver,
    config: Config,
) {
    let hints = &config.resolver.hints.servers;
    let roots: Vec<IpAddr> = hints
        .iter()
        .flat_map(|(_, addresses)| addresses.clone())
        .collect();
    let usable = |ip: &IpAddr| {
        if ip.is_ipv4() {
            config.resolver.ipv4
        } else {
            config.resolver.ipv6
        }
    };
    let tell = |zone: &Name| {
        let current = mirrors.find(zone).and_then(|m| m.current());
        let mut servers = current.map_or(Vec::new(), |g| apex_servers(&g));
        if zone.is_root() && servers.is_empty() {
            servers.clone_from(&roots);
        }
        servers.retain(usable);
        reach.zone_servers(zone, &servers);
    };
    let mut generations = mirrors.subscribe();
    mirrors.all().iter().for_each(|m| tell(m.zone()));
    loop {
        match generations.recv().await {
            Ok(event) => {
                tell(&event.zone);
                resolver.note_generation(&event.zone);
            }
            // Whose version is new is not known.
            Err(RecvError::Lagged(_)) => {
                for mirror in mirrors.all().iter() {
                    tell(mirror.zone());
                    resolver.note_generation(mirror.zone());
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// The addresses of a zone's servers as far as the zone itself holds them.
fn apex_servers(generation: &Generation) -> Vec<IpAddr> {
    let image = generation.image();
    let ns = image.find(image.apex(), Rtype::NS);
    let names = ns
        .iter()
        .flat_map(|set| &set.rdatas)
        .filter_map(|r| rdata::single_name(r));
    let hosts =
        names.flat_map(|host| [image.find(&host, Rtype::A), image.find(&host, Rtype::AAAA)]);
    hosts
        .flatten()
        .flat_map(|set| set.rdatas)
        .filter_map(|r| rdata::address(&r))
        .collect()
}
