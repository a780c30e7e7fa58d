//! `holdfast run`: puts the parts together, keeps them running, and takes them apart again.
//!
//! The order at start is chosen so that what can fail fails first and nothing is answered half-way: sockets
//! are bound, then the engine takes the `data_dir` and loads the mirrors, then the control socket opens,
//! zones are read, everything answers, and `holdfast ready` is printed. SIGHUP reads the configuration
//! anew; a bad one changes nothing. SIGTERM and SIGINT end the program with exit code 0.

mod about;
mod certificate;
mod clock_file;
pub mod compare;
pub mod convert;
mod logging;
mod operator;
mod produced;
pub mod progress;
mod ready;
pub mod rehearse;
mod secondaries;
mod shown;
mod system_clock;
pub mod top;
mod trace;
pub mod versions;
pub mod zones;

use std::fs::DirBuilder;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use holdfast::alert;
use holdfast::clock::{Clock, format_utc};
use holdfast::config::{self, Config, LogFormat, NegativeTrustAnchor};
use holdfast::control::api::Control;
use holdfast::control::http::Http;
use holdfast::dns::Name;
use holdfast::engine::{Drills, Engine, Outside};
use holdfast::listen::proxy::Proxies;
use holdfast::listen::tls::TlsDoor;
use holdfast::listen::{Listeners, Sockets, UDP_BUFFER_BYTES};
use holdfast::metrics::Metrics;
use holdfast::mirror::{Mirror, TcpConnect};
use holdfast::notify::{self, Notifier};
use holdfast::query::acl::AccessList;
use holdfast::query::cookie::Cookies;
use holdfast::query::designated;
use holdfast::query::dns64::Dns64;
use holdfast::query::own::OwnZones;
use holdfast::query::rate_limit::RateLimits;
use holdfast::query::special::{self, Special};
use holdfast::query::transfer::Transfers;
use holdfast::query::{Pipeline, Settings, SharedSettings};
use holdfast::tap::Tap;
use holdfast::upstream::{self, NetSettings, NetUpstream, TlsServers};
use rand::TryRng;
use rand::rngs::SysRng;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use certificate::CertificateWatch;
use clock_file::ClockFile;
use logging::LogLevels;
use operator::Operator;
use ready::Doors;
use shown::Shown;

/// How long the end waits for what is to be kept.
const SAVE_TIME_MAX: Duration = Duration::from_millis(800);

/// A fault of this machine or of its setup, for people.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Runs the server with the configuration that was read from `file`, until a signal ends it. With `json` its log is JSON whatever
/// `log.format` says.
///
/// # Errors
/// It could not start.
pub fn run(file: &Path, config: Config, json: bool) -> Result<(), Fault> {
    let metrics = Arc::new(Metrics::default());
    let (tap, inbox) = alert::tap(metrics.clone());
    // Without anybody to tell, there is no tap.
    let tap = config.alerts.is_on().then_some(tap);
    let format = match json {
        true => LogFormat::Json,
        false => config.log.format,
    };
    let levels = logging::start(config.log.level, format, tap);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        // Signals count from the first moment on, also while zones are being read.
        let mut signals = Signals::new()?;
        let (server, listeners) = tokio::select! {
            started = Server::start(file, config, levels, metrics, inbox) => started?,
            _ = signals.end.recv() => return Ok(()),
        };
        server.serve(signals, listeners).await;
        Ok(())
    });
    // What is still being written to disk stands the end as it stands a loss of power, and nobody answers any more.
    runtime.shutdown_background();
    result
}

/// The signals that mean something here.
struct Signals {
    end: End,
    reload: Signal,
}

/// SIGTERM or SIGINT.
struct End(Signal, Signal);

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            end: End(
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
            ),
            reload: signal(SignalKind::hangup())?,
        })
    }
}

impl End {
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// The running server.
struct Server {
    file: PathBuf,
    config: Config,
    levels: LogLevels,
    settings: SharedSettings,
    operator: Arc<Operator>,
    /// Tells secondaries of new versions.
    notifier: Notifier,
    /// Shows the certificate, where there are encrypted listeners.
    tls: Option<Arc<TlsDoor>>,
    /// The query log and dnstap, where they are wanted.
    tap: Option<Arc<Tap>>,
    /// Closed and removed when the server ends.
    _control: Control,
    /// Metrics and the status page, where they are wanted.
    _http: Option<Http>,
}

impl Server {
    async fn start(
        file: &Path,
        config: Config,
        levels: LogLevels,
        metrics: Arc<Metrics>,
        alerts: alert::Inbox,
    ) -> Result<(Server, Listeners), Fault> {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        refuse_forwarding_to_self(&config)?;
        raise_file_limit();
        make_data_dir(&config.server.data_dir)?;
        let clock = start_clock(&config)?;
        let sockets = Sockets::bind(
            &config.server.listen,
            config.server.tls.as_ref(),
            config.server.workers,
        )?;
        for (address, error) in &sockets.missing {
            tracing::warn!(%address, %error, "not listening on an address that this machine lacks");
        }
        let (granted, wanted) = (sockets.udp_buffer_bytes >> 10, UDP_BUFFER_BYTES >> 10);
        if granted < wanted {
            tracing::info!(
                kib = granted,
                wanted_kib = wanted,
                "UDP sockets hold fewer queries through a burst than they could; sysctl net.core.rmem_max raises it"
            );
        }
        let settings = SharedSettings::default();
        let tap = start_tap(&config, &clock, &metrics)?;
        let outside = outside(&config, &clock, &metrics, &settings, tap.clone())?;
        let engine = Arc::new(Engine::start(&with_own_zones(&config), outside).await?);
        start_alerts(&config, &engine, &clock, &metrics, alerts);
        let drills = Drills::new(engine.clone(), clock.clone(), metrics.clone());
        tokio::spawn(drills.clone().run());
        let notifier = start_notifier(&config, &clock, &metrics)?;
        let mirrors = engine.mirrors.clone();
        tokio::spawn(secondaries::follow_mirrors(
            mirrors.clone(),
            notifier.clone(),
        ));
        let transfers = Transfers::new(Some(mirrors), clock.clone(), metrics.clone());
        let rate_limits = Arc::new(RateLimits::new(&config.limits, random_secret()?));
        let mut pipeline = Pipeline::new(
            settings.clone(),
            Some(engine.front.clone()),
            metrics.clone(),
        )
        .with_mirrors(engine.mirrors.clone(), clock.clone())
        .with_chaos(about::chaos(&config.server, &engine, &clock))
        .with_limits(rate_limits.clone(), clock.clone())
        .with_ready_answers(
            usize::try_from(config.cache.ready_bytes_max()).unwrap_or(usize::MAX),
            clock.clone(),
        )
        .with_transfers(transfers)
        .with_dns64(Dns64::new(&config.dns64));
        if config.server.cookies {
            pipeline = pipeline.with_cookies(Cookies::new(random_secret()?), clock.clone());
        }
        if let Some(tap) = &tap {
            pipeline = pipeline.with_watch(tap.clone());
        }
        let pipeline = Arc::new(pipeline);
        let certificate = CertificateWatch::new(clock.clone(), metrics.clone());
        tokio::spawn(certificate.clone().follow());
        let operator = Arc::new(Operator {
            started: clock.now(),
            certificate,
            clock,
            metrics: metrics.clone(),
            settings: settings.clone(),
            engine,
            drills,
            sets: ArcSwap::from_pointee(config.reachability.clone()),
            zone_errors: ArcSwap::default(),
            rate_limits,
            cache_bytes_max: config.cache.bytes_max,
            unclaimed_before: holdfast::upstream::unclaimed_datagrams().unwrap_or(0),
        });
        let control = Control::start(&config.control.socket, operator.clone())?;
        warn_of_ended(&config, &operator.clock);
        let tls = config.server.tls.as_ref();
        let tls = tls.map(|tls| TlsDoor::new(tls, &operator.clock, metrics.clone()));
        let tls = tls.transpose()?.map(Arc::new);
        if let Some(tls) = &config.server.tls {
            (operator.certificate).show(tls.identity.expires_at());
        }
        let mut server = Server {
            tls: tls.clone(),
            tap,
            file: file.to_owned(),
            levels,
            settings,
            operator,
            notifier,
            _control: control,
            _http: None,
            config,
        };
        server.load_zones().await?;
        let limits = &server.config.limits;
        let proxies = server.config.server.proxy_from.iter().copied().collect();
        let proxies = Proxies::new(proxies, metrics.clone());
        let doors = Doors::new(&server.config.server.listen, &sockets, proxies.clone());
        let interfaces = &server.config.server.xdp;
        let listeners = Listeners::start(
            sockets,
            interfaces,
            tls,
            proxies,
            pipeline,
            metrics.clone(),
            limits,
        )?;
        server._http = server.start_http(metrics, doors);
        Ok((server, listeners))
    }

    /// The status page, and the minutes that it draws.
    fn start_http(&self, metrics: Arc<Metrics>, doors: Doors) -> Option<Http> {
        let address = self.config.control.http?;
        let shown = Shown::new(self.operator.clone(), doors);
        tokio::spawn(shown.clone().keep_history());
        Some(Http::start(address, shown, metrics))
    }

    /// Answers until a signal ends the program.
    async fn serve(mut self, mut signals: Signals, listeners: Listeners) {
        let addresses: Vec<_> = (self.config.server.listen.iter())
            .map(ToString::to_string)
            .collect();
        let [dot, doh, doq] = encrypted(&self.config).map(|addresses| {
            let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            (!all.is_empty()).then(|| all.join(" "))
        });
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            listen = addresses.join(" "),
            dot,
            doh,
            doq,
            zones = self.config.zones.len(),
            "started"
        );
        eprintln!("holdfast ready");
        tell_service_manager(&[NotifyState::Ready]);
        let mut mirrored = self.operator.engine.mirrors.watch_list();
        // What changed before now, too.
        mirrored.mark_changed();
        loop {
            tokio::select! {
                _ = signals.end.recv() => break,
                _ = signals.reload.recv() => {}
                Ok(()) = mirrored.changed() => {
                    self.put_in_force(self.settings.load().zones.clone());
                    continue;
                }
            }
            tokio::select! {
                _ = signals.end.recv() => break,
                () = self.reload() => {}
            }
        }
        tracing::info!("stopping");
        tell_service_manager(&[NotifyState::Stopping]);
        // Whoever takes over can only answer when this one has gone, so it answers as long as there is something else to do.
        listeners.prepare_stop();
        // An end takes 2 s at most; what is not written then is learned again.
        let _ = tokio::time::timeout(SAVE_TIME_MAX, self.operator.engine.save()).await;
        let engine = self.operator.engine.clone();
        let _ = tokio::task::spawn_blocking(move || engine.settle()).await;
        listeners.stop().await;
        if let Some(tap) = self.tap.take() {
            let _ = tokio::task::spawn_blocking(move || tap.stop()).await;
        }
    }

    /// SIGHUP: reads the configuration and the zone files again. A bad configuration changes nothing.
    async fn reload(&mut self) {
        let config = match Config::load(&self.file) {
            Ok(config) => config,
            Err(error) => {
                for fault in error.faults() {
                    tracing::error!("{fault}");
                }
                tracing::error!("reload: keeping the configuration in force");
                return;
            }
        };
        for key in fixed_at_start(&self.config, &config) {
            tracing::warn!("reload: a changed {key} takes effect at the next start");
        }
        self.levels.set(config.log.level);
        self.config = taken_up(&self.config, config);
        let reachability = self.config.reachability.clone();
        self.operator.sets.store(Arc::new(reachability));
        self.show_certificate();
        (self.operator.engine.resolver).set_log_servfail(self.config.log.servfail);
        self.set_negative_trust_anchors();
        match self.load_zones().await {
            Ok(()) => match self.operator.zone_errors.load().len() {
                0 => tracing::info!("reload: done"),
                broken => tracing::warn!(broken, "reload: done but for own zones with errors"),
            },
            Err(error) => tracing::error!(%error, "reload: zones could not be read"),
        }
    }

    /// Shows the certificate that the files hold now.
    fn show_certificate(&self) {
        let (Some(door), Some(config)) = (&self.tls, &self.config.server.tls) else {
            return;
        };
        match door.show(config) {
            Ok(()) => (self.operator.certificate).show(config.identity.expires_at()),
            Err(error) => {
                tracing::error!(%error, "reload: the certificate cannot be shown; keeping the one before");
            }
        }
    }

    /// Puts the negative trust anchors in force, those of own zones among them.
    fn set_negative_trust_anchors(&self) {
        let anchors = with_own_zones(&self.config).resolver.negative_trust_anchors;
        let resolver = &self.operator.engine.resolver;
        for name in resolver.set_negative_trust_anchors(&anchors) {
            tracing::info!(%name, "reload: validation changed here and below");
        }
        warn_of_ended(&self.config, &self.operator.clock);
    }

    /// Reads the own zones and puts them and the access list in force.
    async fn load_zones(&mut self) -> Result<(), Fault> {
        let configured = self.config.zones.clone();
        let before = self.settings.load_full();
        let previous = before.clone();
        let data_dir = self.config.server.data_dir.clone();
        let read = move || zones::load(&configured, &previous.zones, &data_dir);
        let loaded = tokio::task::spawn_blocking(read).await?;
        self.operator.zone_errors.store(Arc::new(loaded.errors));
        self.put_in_force(loaded.zones.following(&before.zones));
        Ok(())
    }

    /// Puts own zones in force, the catalogs that are made of them and the mirrors, and the access list. Secondaries are told of what is new.
    fn put_in_force(&self, zones: OwnZones) {
        let before = self.settings.load_full();
        let (mirrors, now) = (&self.operator.engine.mirrors, self.operator.clock.now());
        let catalogs = produced::catalogs(&self.config, mirrors, &before.catalogs, now.wall_s);
        let settings = Arc::new(settings(&self.config, &mirrors.all(), zones, catalogs));
        self.settings.store(settings.clone());
        let (notifier, config) = (&self.notifier, &self.config);
        secondaries::tell_of_zones(notifier, config, &settings.zones, &before.zones);
        secondaries::tell_of_zones(notifier, config, &settings.catalogs, &before.catalogs);
    }
}

/// What the pipeline takes from the configuration, and from the mirrors that there are.
fn settings(
    config: &Config,
    mirrors: &[Arc<Mirror>],
    zones: OwnZones,
    catalogs: OwnZones,
) -> Settings {
    let special = match config.resolver.special_use_zones {
        true => {
            let tls = config.server.tls.as_ref();
            let designated = tls.and_then(designated::records);
            // Members of catalogs are among the mirrors: whoever follows a catalog asks for them.
            let served = configured_zones(config).chain(mirrors.iter().map(|m| m.zone()));
            Special::new(served).with_designated(designated)
        }
        false => Special::default(),
    };
    let forwarded = config.forwards.iter().map(|forward| &forward.zone);
    let zones = zones.without_forwarded(forwarded);
    Settings {
        special,
        access: AccessList::new(&config.access),
        zones,
        catalogs,
        udp_size_max: config.server.udp_size_max,
        keys: config.keyring(),
    }
}

/// Every zone that has a table of its own.
fn configured_zones(config: &Config) -> impl Iterator<Item = &Name> {
    let own = config.zones.iter().map(|zone| &zone.name);
    let mirrors = config.mirrors.iter().map(|mirror| &mirror.zone);
    let forwards = config.forwards.iter().map(|forward| &forward.zone);
    own.chain(mirrors).chain(forwards)
}

/// An operator who wonders why a name fails again finds the reason in the log.
fn warn_of_ended(config: &Config, clock: &Clock) {
    let now_s = clock.now().wall_s;
    for anchor in &config.resolver.negative_trust_anchors {
        if let Some(until_s) = anchor.until_s.filter(|until_s| *until_s <= now_s) {
            let (name, at) = (&anchor.name, format_utc(until_s));
            tracing::warn!(%name, %at, "a negative trust anchor has ended; take it out of the configuration");
        }
    }
}

/// What of `[resolver]` is read at start only.
fn fixed(config: &Config) -> config::Resolver {
    config::Resolver {
        negative_trust_anchors: Vec::new(),
        ..config.resolver.clone()
    }
}

/// Where DNS over TLS, HTTPS and QUIC is spoken.
fn encrypted(config: &Config) -> [&[SocketAddr]; 3] {
    match &config.server.tls {
        Some(tls) => [&tls.dot, &tls.doh, &tls.doq],
        None => [&[]; 3],
    }
}

/// The configuration in force after a reload: of the new one what a reload takes up, all else as the server was started.
/// Own zones and special names so give way to the mirrors and forwarders that there are, not to those that will be; and what
/// waits for a start is told at each reload until then.
fn taken_up(old: &Config, new: Config) -> Config {
    let mut taken = old.clone();
    taken.access = new.access;
    taken.zones = new.zones;
    taken.server.udp_size_max = new.server.udp_size_max;
    if let (Some(taken), Some(new)) = (&mut taken.server.tls, new.server.tls) {
        taken.identity = new.identity;
        taken.client_ca = new.client_ca;
        taken.name = new.name;
    }
    taken.resolver.negative_trust_anchors = new.resolver.negative_trust_anchors;
    taken.reachability.domestic = new.reachability.domestic;
    taken.reachability.sets = new.reachability.sets;
    taken.log.level = new.log.level;
    taken.log.servfail = new.log.servfail;
    taken
}

/// Keys whose values differ and that are read at start only.
fn fixed_at_start(old: &Config, new: &Config) -> Vec<&'static str> {
    let changed = [
        ("server.listen", old.server.listen != new.server.listen),
        (
            "server.data_dir",
            old.server.data_dir != new.server.data_dir,
        ),
        ("server.workers", old.server.workers != new.server.workers),
        ("server.cookies", old.server.cookies != new.server.cookies),
        ("server.chaos", old.server.chaos != new.server.chaos),
        (
            "server.identity",
            old.server.identity != new.server.identity,
        ),
        ("server.nsid", old.server.nsid != new.server.nsid),
        (
            "server.proxy_from",
            old.server.proxy_from != new.server.proxy_from,
        ),
        ("server.xdp", old.server.xdp != new.server.xdp),
        (
            "server.tls.dot, doh or doq",
            encrypted(old) != encrypted(new),
        ),
        ("[resolver]", fixed(old) != fixed(new)),
        ("[dns64]", old.dns64 != new.dns64),
        ("[cache]", old.cache != new.cache),
        ("[stale]", old.stale != new.stale),
        ("[retained]", old.retained != new.retained),
        ("[[forward]] or [[stub]]", old.forwards != new.forwards),
        ("[[mirror]]", old.mirrors != new.mirrors),
        ("[[catalog]]", old.catalogs != new.catalogs),
        ("[[tsig]]", old.tsig_keys != new.tsig_keys),
        (
            "reachability.probe",
            old.reachability.probe != new.reachability.probe,
        ),
        ("[names]", old.names != new.names),
        ("[alerts]", old.alerts != new.alerts),
        ("[limits]", old.limits != new.limits),
        ("[control]", old.control != new.control),
        ("log.format", old.log.format != new.log.format),
        (
            "log.queries or queries_bytes_max",
            (&old.log.queries, old.log.queries_bytes_max)
                != (&new.log.queries, new.log.queries_bytes_max),
        ),
        ("[dnstap]", old.dnstap != new.dnstap),
        ("[lab]", old.lab != new.lab),
    ];
    let keys = changed.into_iter().filter(|(_, differs)| *differs);
    keys.map(|(key, _)| key).collect()
}

/// The configuration with own zones as negative trust anchors: the world may deny, with signatures, that an
/// own zone exists, and what is delegated from it is to be found all the same. Forwarded zones at special names too:
/// the root denies `test.`, but a laboratory's resolver may know it.
fn with_own_zones(config: &Config) -> Config {
    let mut config = config.clone();
    let own = config.zones.iter().map(|zone| zone.name.clone());
    // An own copy of the root must not switch all validation off.
    let own = own.filter(|name| !name.is_root());
    let forwarded = config.forwards.iter().map(|forward| forward.zone.clone());
    let anchored = |name: &Name| {
        config
            .resolver
            .anchors
            .zones
            .iter()
            .any(|a| a.owner == *name)
    };
    let forwarded = forwarded.filter(|name| special::is_special(name) && !anchored(name));
    let names = own.chain(forwarded).map(NegativeTrustAnchor::lasting);
    let anchors: Vec<_> = names.collect();
    config.resolver.negative_trust_anchors.extend(anchors);
    config
}

/// The real world around the engine.
fn outside(
    config: &Config,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    settings: &SharedSettings,
    tap: Option<Arc<Tap>>,
) -> Result<Outside, Fault> {
    let watch = tap.filter(|tap| tap.wants_upstream());
    let upstream = NetUpstream::watched(
        NetSettings::from(&config.resolver),
        TlsServers::new(&config.forwards, clock)?,
        metrics.clone(),
        clock.clone(),
        watch.map(|tap| tap as Arc<dyn upstream::Watch>),
    )?;
    let connect = TcpConnect {
        outgoing: config.resolver.outgoing.clone(),
    };
    Ok(Outside {
        seed: upstream.seed(),
        upstream: Arc::new(upstream),
        connect: Arc::new(connect),
        clock: clock.clone(),
        metrics: metrics.clone(),
        settings: settings.clone(),
        clock_is_unset: system_clock::is_unset,
    })
}

/// Who looks on at queries and answers, where anybody does.
fn start_tap(
    config: &Config,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<Option<Arc<Tap>>, Fault> {
    let name = about::identity(&config.server).unwrap_or_default();
    let tap = Tap::start(config, &name, clock.clone(), metrics.clone())?;
    Ok(tap.map(Arc::new))
}

/// The task that tells the operator what cannot wait.
fn start_alerts(
    config: &Config,
    engine: &Engine,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    inbox: alert::Inbox,
) {
    if !config.alerts.is_on() {
        return;
    }
    let deps = alert::Deps {
        config: config.alerts.clone(),
        connect: Arc::new(TcpConnect {
            outgoing: config.resolver.outgoing.clone(),
        }),
        lookup: engine.lookup(),
        clock: clock.clone(),
        metrics: metrics.clone(),
    };
    tokio::spawn(alert::run(inbox, deps));
}

/// The task that tells secondaries of new versions.
fn start_notifier(
    config: &Config,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> Result<Notifier, Fault> {
    Ok(notify::start(notify::Deps {
        clock: clock.clone(),
        metrics: metrics.clone(),
        keys: config.keyring(),
        outgoing: config.resolver.outgoing.clone(),
        seed: u128::from_le_bytes(random_secret()?) as u64,
    }))
}

fn start_clock(config: &Config) -> Result<Clock, Fault> {
    let clock = Clock::system();
    match &config.lab.clock_file {
        Some(path) => {
            let file = ClockFile::start(path, &clock)
                .map_err(|error| format!("lab.clock_file {}: {error}", path.display()))?;
            tokio::spawn(file.follow(clock.clone()));
        }
        None => {
            tokio::spawn(system_clock::follow(clock.clone()));
        }
    }
    Ok(clock)
}

/// Who listens on every address of the machine must not forward to one of them: each question would go in a circle.
fn refuse_forwarding_to_self(config: &Config) -> Result<(), Fault> {
    let everywhere = |port| {
        let mut listen = config.server.listen.iter();
        listen.any(|at| at.ip().is_unspecified() && at.port() == port)
    };
    // A socket can be bound to the machine's own addresses only.
    let own = |ip: IpAddr| UdpSocket::bind((ip, 0)).is_ok();
    for forward in &config.forwards {
        let mut servers = forward.servers.iter();
        if let Some(server) = servers.find(|s| everywhere(s.port()) && own(s.ip())) {
            let zone = &forward.zone;
            return Err(format!(
                "[[forward]] {zone}: {server} is an address of this machine, and this server listens there; name another server"
            )
            .into());
        }
    }
    Ok(())
}

/// Octets that nobody can guess.
fn random_secret() -> Result<[u8; 16], Fault> {
    let mut secret = [0; 16];
    SysRng
        .try_fill_bytes(&mut secret)
        .map_err(|error| format!("the system gives no random numbers: {error}"))?;
    Ok(secret)
}

/// Only the server's user looks into it, and at the control socket inside it.
fn make_data_dir(path: &Path) -> Result<(), Fault> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    Ok(made.map_err(|error| format!("cannot make data_dir {}: {error}", path.display()))?)
}

/// As many open files as the system allows: every TCP client needs one.
fn raise_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls read or write the one struct that outlives them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// Tells systemd, if it is there.
fn tell_service_manager(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_start_is_told_at_each_reload_until_it_is_taken_back() {
        let config = |prefetch: bool, level: &str| {
            let log = format!("[log]\nservfail = true\nlevel = \"{level}\"\n");
            let text = format!("[resolver]\nprefetch = {prefetch}\n{log}");
            Config::parse(std::path::Path::new("config.toml"), &text).unwrap()
        };
        let started = config(false, "info");
        let told = |config: &Config, new: &Config| fixed_at_start(config, new);
        assert_eq!(told(&started, &config(true, "warn")), ["[resolver]"]);
        let taken = taken_up(&started, config(true, "warn"));
        assert!(taken.log.servfail && taken.log.level == config::LogLevel::Warn);
        assert_eq!(told(&taken, &config(true, "warn")), ["[resolver]"]);
        assert!(told(&taken, &config(false, "info")).is_empty());
    }
}
