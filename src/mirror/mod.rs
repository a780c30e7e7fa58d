//! Mirrors: verified local copies of zones that stand in when the zones' servers are gone.
//!
//! Why: a resolver that walks from the root fails within one TTL once the root and TLD servers are out of reach. A
//! mirror keeps a zone's last good version on disk and in memory, verified while the world was there, and answers
//! from it. What it must never do is serve something unverified, lose a good version to a bad one, or grow old in
//! silence.
//!
//! Model: a *source* brings a version as a [`Candidate`]; verification makes it [`generation::Verified`]; the brakes
//! may hold it; the store makes it durable; then it is the current [`Generation`] by one atomic swap. Each [`Mirror`]
//! has one task (`task`) that does all of this; readers take [`Mirror::current`] without a lock and decide with
//! [`policy`] what it may be used for.
//!
//! Failure: whatever goes wrong with a source, a version, the disk or the ledger, the current generation goes on
//! serving, `last_error` says what happened, and the log says it once per change. Verification is in [`verify`],
//! brakes in [`brakes`], files on disk in [`store`].

pub mod age;
pub mod brakes;
mod change;
pub mod generation;
pub mod health;
mod memory;
mod notify;
pub mod offline;
pub mod policy;
mod refresh;
mod scrutiny;
pub mod source;
pub mod status;
pub mod store;
mod task;
pub mod verify;
mod work;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::catalog::Membership;
use crate::clock::{Clock, format_utc};
use crate::config::{Anchors, Config, MirrorConfig, Sha1, Source};
use crate::dns::tsig::Keyring;
use crate::dns::{Name, Rdata};
use crate::metrics::Metrics;
use crate::news::News;
use crate::zone::ZoneImage;

pub use generation::{Candidate, Generation};
pub use health::{Health, SourceStatus};
pub use notify::{Notified, Notifying};
pub use policy::{Trust, Usable, age_s, trust_of, usable};
pub use source::{BoxFuture, Connect, TcpConnect};
pub use status::{
    EscalationStatus, GenerationInfo, GenerationState, HeldStatus, MirrorStatus, TransferStatus,
};
pub(crate) use work::{behind, blocking};

use age::Escalation;
use refresh::fingerprint;
use source::meter::Meter;
use source::spool::{Handed, Spool, SpoolError};
use store::{CommitError, Keep, Ledger, MirrorStore, TrustRecord};
use task::{Change, Command};
use work::Rank;

/// Commands that may wait for a mirror's task.
const COMMANDS_MAX: usize = 16;
/// Events that a slow subscriber may fall behind.
const EVENTS_MAX: usize = 64;

/// Refreshes of catalog members at once.
const MEMBER_REFRESHES_MAX: usize = 16;

/// What the parent of a zone says about its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DsAnswer {
    /// Validated DS records.
    Secure(Vec<Rdata>),
    /// Proven to have none, or below no trust anchor.
    Insecure,
    /// It could not be found out; why.
    Unavailable(String),
}

/// What a mirror needs to be told by the resolver.
pub trait Lookup: Send + Sync + 'static {
    /// Returns once there is somebody to ask. The caller bounds the time.
    fn begun(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// The validated DS records of `zone`.
    fn ds<'a>(&'a self, zone: &'a Name) -> BoxFuture<'a, DsAnswer>;

    /// The addresses of the server `host`, or why there are none. They need not be true: a server that is asked by name
    /// proves that name itself. The caller bounds the time.
    fn addresses<'a>(&'a self, host: &'a Name) -> BoxFuture<'a, Result<Vec<IpAddr>, String>>;
}

/// What mirrors work with.
pub struct Deps {
    /// The clock.
    pub clock: Clock,
    /// The ledger.
    pub ledger: Arc<Ledger>,
    /// The parent's DS, and the addresses of web servers.
    pub lookup: Arc<dyn Lookup>,
    /// The way to primary servers.
    pub connect: Arc<dyn Connect>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The trust anchors in force, which descend from the configured ones.
    pub anchors: Arc<ArcSwap<Anchors>>,
    /// Whether nobody has set the machine's clock: then a copy of the root that proves it late moves it forward.
    pub clock_is_unset: fn() -> bool,
    /// Seed for jitter and message identifiers.
    pub seed: u64,
}

/// A new generation is current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGeneration {
    /// The zone.
    pub zone: Name,
    /// Its serial.
    pub serial: u32,
    /// Whether it is the bundled snapshot.
    pub bootstrap: bool,
}

/// What all mirrors share.
pub(crate) struct Shared {
    deps: Deps,
    /// As configured.
    anchors: Anchors,
    policy: verify::Policy,
    store: Arc<MirrorStore>,
    /// The shared keys that sources are asked with.
    keys: Keyring,
    events: broadcast::Sender<NewGeneration>,
    /// A catalog may bring a thousand members at once: so many of them are refreshed at a time.
    member_refreshes: Semaphore,
    /// The catalogs that are followed.
    catalogs: HashSet<Name>,
}

impl Shared {
    fn new(config: &Config, deps: Deps) -> Arc<Shared> {
        let store = MirrorStore::new(&config.server.data_dir, deps.ledger.clone());
        Arc::new(Shared {
            deps,
            anchors: config.resolver.anchors.clone(),
            policy: verify::Policy {
                sha1: config.resolver.sha1 == Sha1::Validate,
                workers: Rank::Behind.threads(),
                pace: None,
            },
            store: Arc::new(store),
            keys: config.keyring(),
            events: broadcast::channel(EVENTS_MAX).0,
            member_refreshes: Semaphore::new(MEMBER_REFRESHES_MAX),
            catalogs: (config.catalogs.iter())
                .filter(|catalog| !catalog.produce)
                .map(|catalog| catalog.zone.clone())
                .collect(),
        })
    }

    /// The trust anchors in force for just this zone. The record names the configured ones that they descend from: a
    /// version stays verified when the zone rolls its keys (RFC 5011).
    fn anchored(&self, zone: &Name) -> Option<(verify::Trust, TrustRecord)> {
        let anchor = self.anchors.closest(zone).filter(|a| a.owner == *zone)?;
        let rdatas = anchor.ds.iter().chain(&anchor.dnskeys);
        let record = TrustRecord::Anchors(fingerprint(rdatas.map(|r| &r[..])));
        let live = self.deps.anchors.load();
        let in_force = live.closest(zone).filter(|a| a.owner == *zone);
        Some((verify::Trust::from(in_force.unwrap_or(anchor)), record))
    }

    /// What a catalog lists as it is followed: `current`, or where that is broken, the newest stored version that is not. Reads the
    /// disk.
    fn listed(&self, current: &Generation) -> Option<Membership> {
        let stored = || {
            let rows = self.store.rows(current.image().apex()).into_iter();
            let mut admitted = rows.filter(|row| row.verdict.is_admitted());
            admitted.find_map(|row| {
                let (image, _) = self.store.load(&row).ok()?.into_parts();
                Membership::read(&image).ok()
            })
        };
        Membership::read(current.image()).ok().or_else(stored)
    }

    /// What the bundled snapshot is verified against: it is as old as the program, so also the anchors that it came
    /// with, which the zone may have retired since.
    fn anchored_for_snapshot(&self, zone: &Name) -> Option<(verify::Trust, TrustRecord)> {
        let (mut trust, record) = self.anchored(zone)?;
        let configured = self.anchors.closest(zone)?;
        trust.ds.extend(configured.ds.iter().cloned());
        trust.dnskey.extend(configured.dnskeys.iter().cloned());
        Some((trust, record))
    }
}

/// All mirrors. Dropping it stops their tasks.
pub struct Mirrors {
    list: ArcSwap<List>,
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    /// How many have been made.
    made: AtomicU64,
    /// Counts the changes of the list.
    changes: watch::Sender<u64>,
}

/// The mirrors that there are; replaced whole, so that a reader sees one state of it.
#[derive(Clone, Default)]
struct List {
    by_zone: HashMap<Name, Arc<Mirror>>,
    /// Labels of the deepest zone: no longer suffix needs to be looked for.
    labels_max: usize,
}

impl Mirrors {
    /// Loads every mirror from disk, or from its snapshot, and starts the tasks that keep them fresh. Returns when
    /// what is on disk can be served; it does not wait for the network. ([`Lookup::ds`] is asked only where the
    /// operator made a mirror without a trust anchor of its own stricter than its stored version.)
    pub async fn start(config: &Config, deps: Deps) -> Arc<Mirrors> {
        let shared = Shared::new(config, deps);
        let mirrors = Arc::new(Mirrors {
            list: ArcSwap::default(),
            shared,
            tasks: Mutex::default(),
            made: AtomicU64::new(0),
            changes: watch::Sender::new(0),
        });
        mirrors.add(config.mirrors.clone(), Rank::First).await;
        mirrors
    }

    /// Begins to mirror zones; those that are mirrored already stay as they are. When it returns, what is on disk of them can be
    /// served, and their tasks run. The list, of which every change makes a copy, changes once, however many they are.
    pub async fn add_all(&self, configs: Vec<MirrorConfig>) {
        self.add(configs, Rank::Behind).await;
    }

    async fn add(&self, configs: Vec<MirrorConfig>, rank: Rank) {
        let mut new = HashMap::new();
        let mut begun = Vec::new();
        for config in configs {
            if self.find(&config.zone).is_some() || new.contains_key(&config.zone) {
                continue;
            }
            let (commands, received) = mpsc::channel(COMMANDS_MAX);
            let mirror = Arc::new(Mirror::new(config, commands));
            new.insert(mirror.zone().clone(), mirror.clone());
            begun.push((mirror, received));
        }
        if begun.is_empty() {
            return;
        }
        // Whoever hears of their first generations finds them.
        self.change_list(|by_zone| {
            by_zone.extend(
                new.iter()
                    .map(|(zone, mirror)| (zone.clone(), mirror.clone())),
            );
        });
        for (mirror, received) in begun {
            let nth = self.made.fetch_add(1, Ordering::Relaxed);
            let seed = self.shared.deps.seed.wrapping_add(nth);
            let files = task::load(&mirror, &self.shared, seed, rank).await;
            let received = Arc::new(tokio::sync::Mutex::new(received));
            let running =
                task::supervise(mirror.clone(), self.shared.clone(), received, seed, files);
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            while tasks.try_join_next().is_some() {}
            mirror.state().running = Some(tasks.spawn(running));
        }
    }

    /// Stops to mirror zones, at once; their files stay. What is being written is finished, and never becomes current. The list
    /// changes once.
    pub fn remove_all(&self, zones: &[Name]) {
        let mirrors = zones.iter().filter_map(|zone| self.find(zone));
        let mirrors: Vec<Arc<Mirror>> = mirrors.collect();
        if mirrors.is_empty() {
            return;
        }
        self.change_list(|by_zone| {
            for mirror in &mirrors {
                by_zone.remove(mirror.zone());
            }
        });
        mirrors.iter().for_each(|mirror| self.end(mirror));
    }

    /// Ends what goes on for a mirror that is listed no longer.
    fn end(&self, mirror: &Mirror) {
        let mut state = mirror.state();
        state.removed = true;
        let told = state.told_age.take();
        let metrics = &self.shared.deps.metrics;
        metrics.mirrors_ageing.step(told.is_some(), false);
        let was_urgent = told.is_some_and(|e| e.is_urgent());
        metrics.mirrors_ageing_urgent.step(was_urgent, false);
        if let Some(running) = state.running.take() {
            running.abort();
        }
    }

    fn change_list(&self, change: impl Fn(&mut HashMap<Name, Arc<Mirror>>)) {
        self.list.rcu(|list| {
            let mut by_zone = list.by_zone.clone();
            change(&mut by_zone);
            let labels = by_zone.keys().map(Name::label_count);
            List {
                labels_max: labels.max().unwrap_or(0),
                by_zone,
            }
        });
        self.changes.send_modify(|count| *count += 1);
    }

    /// The mirror of the deepest zone at or above `name`; with `strictly_above`, above it only.
    pub fn deepest(&self, name: &Name, strictly_above: bool) -> Option<Arc<Mirror>> {
        let list = self.list.load();
        let labels = match (name.label_count(), strictly_above) {
            (labels, false) => labels,
            (labels, true) => labels.checked_sub(1)?,
        };
        (0..=labels.min(list.labels_max))
            .rev()
            .find_map(|count| list.by_zone.get(&name.suffix(count)).cloned())
    }

    /// The mirror of just this zone.
    pub fn find(&self, zone: &Name) -> Option<Arc<Mirror>> {
        self.list.load().by_zone.get(zone).cloned()
    }

    /// All mirrors as of now, in no order.
    pub fn all(&self) -> Vec<Arc<Mirror>> {
        self.list.load().by_zone.values().cloned().collect()
    }

    /// Tells of changes of the list: mirrors that were added or removed.
    pub fn watch_list(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Tells of a mirror's current generation once more, for those who did not know the mirror yet.
    pub fn announce(&self, zone: &Name) {
        if let Some(generation) = self.find(zone).and_then(|mirror| mirror.current()) {
            // Nobody may be listening.
            let _ = self.shared.events.send(NewGeneration {
                zone: zone.clone(),
                serial: generation.serial(),
                bootstrap: generation.is_bootstrap(),
            });
        }
    }

    /// Where versions are stored. Its methods block.
    pub fn store(&self) -> &Arc<MirrorStore> {
        &self.shared.store
    }

    /// Room for a zone file that is handed over for a mirror. Blocks, as what fills it does.
    ///
    /// # Errors
    /// The file system says no.
    pub fn spool(&self, mirror: &Mirror) -> Result<Spool, SpoolError> {
        let config = &mirror.config;
        self.shared.store.spool(&config.zone, config.bytes_max)
    }

    /// Tells of every new generation from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<NewGeneration> {
        self.shared.events.subscribe()
    }

    /// The stored versions of a mirror, newest first. Reads the ledger: not for the query path.
    pub fn generations(&self, mirror: &Mirror) -> Vec<GenerationInfo> {
        let current = mirror.current();
        let current = current.as_ref().map(|g| (g.serial(), g.digest()));
        status::generations(&self.shared.store, &mirror.config.zone, current)
    }

    /// The zone's stored version with this serial, if it was admitted. Reads the disk: not for the query path.
    pub fn version(&self, zone: &Name, serial: u32) -> Option<ZoneImage> {
        let rows = self.shared.store.rows(zone).into_iter();
        let mut fitting = rows.filter(|row| row.serial == serial && row.verdict.is_admitted());
        let stored = self.shared.store.load(&fitting.next()?).ok()?;
        Some(stored.into_parts().0)
    }

    /// Stops all tasks. What is being written is finished.
    pub fn stop(&self) {
        (self.tasks.lock().unwrap_or_else(PoisonError::into_inner)).abort_all();
    }
}

/// Why an operator's command was not done.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No stored version fits.
    #[error("no version {0} to take; `holdfast mirror show ZONE` lists what is stored")]
    NoSuchVersion(u32),
    /// Only a version that a brake holds can be accepted; what it is instead.
    #[error("version {0} is not held for you: {1}")]
    NotHeld(u32, String),
    /// There is no version before the current one.
    #[error(
        "there is no older version to roll back to; `holdfast mirror import ZONE FILE` takes a zone file"
    )]
    NothingToRollBack,
    /// The version rests on trust anchors that are configured no longer.
    #[error(
        "version {0} was verified with trust that is configured no longer; `holdfast mirror refresh ZONE` fetches what can be verified now"
    )]
    OtherTrust(u32),
    /// The version does not verify now.
    #[error("{0}")]
    Refused(String),
    /// The disk or the ledger failed.
    #[error("{0}")]
    Commit(#[from] CommitError),
    /// The ledger failed.
    #[error("{0}")]
    Ledger(#[from] store::StoreError),
    /// The mirror's task is gone.
    #[error("the mirror is being stopped")]
    Stopped,
}

/// One mirrored zone.
pub struct Mirror {
    config: MirrorConfig,
    current: ArcSwapOption<Generation>,
    state: Mutex<State>,
    commands: mpsc::Sender<Command>,
    wake: Notify,
    /// A source says that there is something new.
    notified: Notify,
    /// Held while disk and memory change together, see [`change`].
    changes: Mutex<()>,
}

#[derive(Default)]
struct State {
    /// What the last refresh failed with, one by one; empty once one has succeeded.
    errors: Vec<String>,
    /// The sort of the error that was told last.
    told_error: Option<String>,
    /// What was remarked on of the version before.
    told_warnings: Vec<String>,
    /// Why the snapshot could not be taken up.
    snapshot_error: Option<String>,
    rolled_back_from: Option<u32>,
    held: Option<(u32, Vec<String>)>,
    /// How loudly was said that it grows old.
    told_age: Option<Escalation>,
    /// What is on its way in.
    meter: Option<Arc<Meter>>,
    /// Its task.
    running: Option<AbortHandle>,
    /// It is mirrored no longer.
    removed: bool,
    /// The sources in order of preference.
    sources: Vec<(Source, Health)>,
    /// The last NOTIFY that was taken.
    last_notify: Option<Notified>,
    /// Who sent the NOTIFY that the next refresh follows.
    notified_by: Option<IpAddr>,
}

impl State {
    fn last_error(&self) -> Option<String> {
        (!self.errors.is_empty()).then(|| self.errors.join("; "))
    }
}

impl Mirror {
    fn new(config: MirrorConfig, commands: mpsc::Sender<Command>) -> Mirror {
        let sources = config.sources.iter().cloned();
        let state = State {
            sources: sources.map(|source| (source, Health::default())).collect(),
            ..State::default()
        };
        Mirror {
            config,
            current: ArcSwapOption::empty(),
            state: Mutex::new(state),
            commands,
            wake: Notify::new(),
            notified: Notify::new(),
            changes: Mutex::default(),
        }
    }

    /// The zone.
    pub fn zone(&self) -> &Name {
        &self.config.zone
    }

    /// What the operator set.
    pub fn config(&self) -> &MirrorConfig {
        &self.config
    }

    /// The generation that is served now, without a lock.
    pub fn current(&self) -> Option<Arc<Generation>> {
        self.current.load_full()
    }

    /// What people and scripts are told about it; `now_s` in seconds since 1970.
    pub fn status(&self, now_s: u64) -> MirrorStatus {
        let current = self.current();
        let state = self.state();
        MirrorStatus {
            sources: (state.sources.iter())
                .map(|(source, health)| health.status(source))
                .collect(),
            last_notify: state.last_notify.as_ref().map(Notified::to_string),
            last_error: state.last_error(),
            errors: state.errors.clone(),
            held: (state.held.clone()).map(|(serial, reasons)| HeldStatus { serial, reasons }),
            transfer: state.meter.as_deref().map(TransferStatus::from),
            ..MirrorStatus::new(&self.config, current.as_deref(), now_s)
        }
    }

    /// What the last refresh failed with, until one succeeds.
    pub fn last_error(&self) -> Option<String> {
        self.state().last_error()
    }

    /// Asks for a refresh without waiting for it. Many at once come to one.
    pub fn refresh_now(&self) {
        self.wake.notify_one();
    }

    /// Those of the mirror's sources that are among `sources`, in the order in which they are to be tried.
    fn sources_in_order(&self, sources: &[Source], now_s: u64) -> Vec<Source> {
        let mut state = self.state();
        let notified_by = state.notified_by.take();
        let order = health::order(&state.sources, notified_by, now_s);
        let ordered = order.into_iter().map(|i| state.sources[i].0.clone());
        ordered.filter(|source| sources.contains(source)).collect()
    }

    fn with_health(&self, source: &Source, note: impl FnOnce(&mut Health)) {
        let mut state = self.state();
        if let Some((_, health)) = state.sources.iter_mut().find(|(s, _)| s == source) {
            note(health);
        }
    }

    /// Refreshes and waits for the outcome; the error is what the sources said.
    pub async fn refresh(&self) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(Command::Refresh(answer)).await;
        match (sent, answered.await) {
            (Ok(()), Ok(result)) => result,
            _ => Err(CommandError::Stopped.to_string()),
        }
    }

    /// Serves a version that a brake holds.
    ///
    /// # Errors
    /// There is no such version, it does not verify any more, or it could not be stored.
    pub async fn accept(&self, serial: u32) -> Result<(), CommandError> {
        self.change(|asker| Change::Accept(serial, asker)).await
    }

    /// Serves an older version; `None` = the one before. Sources' versions are taken again once they are newer than
    /// the one that was rolled back from.
    ///
    /// # Errors
    /// There is no such version, or it could not be read.
    pub async fn rollback(&self, serial: Option<u32>) -> Result<(), CommandError> {
        (self.change(|asker| Change::Rollback(serial, asker))).await
    }

    /// Takes up a zone file of the operator's: it is verified and weighed like any source's version.
    ///
    /// # Errors
    /// It cannot be read, does not verify, is not newer, or is held by a brake.
    pub async fn import(&self, file: Handed) -> Result<(), CommandError> {
        (self.change(|asker| Change::Import(Box::new(file), asker))).await
    }

    async fn change(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<(), CommandError>>) -> Change,
    ) -> Result<(), CommandError> {
        let (asker, answered) = oneshot::channel();
        let sent = self.commands.send(Command::Change(make(asker))).await;
        sent.map_err(|_| CommandError::Stopped)?;
        answered.await.map_err(|_| CommandError::Stopped)?
    }

    /// Makes a generation current and tells of it.
    fn swap(&self, generation: Generation, shared: &Shared) {
        let event = NewGeneration {
            zone: self.config.zone.clone(),
            serial: generation.serial(),
            bootstrap: generation.is_bootstrap(),
        };
        let row = generation.row();
        // What every version of a zone has is told with the first of them.
        let told = std::mem::replace(&mut self.state().told_warnings, row.warnings.clone());
        for warning in row
            .warnings
            .iter()
            .filter(|warning| !told.contains(warning))
        {
            tracing::warn!(zone = %event.zone, serial = event.serial, "{warning}");
        }
        tracing::info!(
            zone = %event.zone, serial = event.serial, records = row.records, source = row.provenance.source,
            verified_at = format_utc(row.verified_at), proves = row.proves, "generation is current"
        );
        self.remark_on(&generation, shared.deps.clock.now().wall_s);
        let old = self.current.swap(Some(Arc::new(generation)));
        old.into_iter().for_each(scrutiny::retire);
        // Nobody may be listening.
        let _ = shared.events.send(event);
    }

    /// Says what an operator should know of a generation that begins to serve at `now_s`.
    fn remark_on(&self, generation: &Generation, now_s: u64) {
        let (zone, serial, row) = (&self.config.zone, generation.serial(), generation.row());
        if now_s < row.verified_at {
            tracing::warn!(
                %zone, serial, clock = format_utc(now_s), verified_at = format_utc(row.verified_at),
                "the clock stands before this copy was verified: check the machine's clock"
            );
        } else if let Some(end) = row.signatures_expire_at.filter(|end| now_s > *end) {
            tracing::warn!(
                %zone, serial, expired_at = format_utc(end),
                "signatures of this copy have run out: what it answers is marked so and has no AD, until a newer version is fetched"
            );
        }
        if generation.is_bootstrap() {
            tracing::warn!(
                %zone, serial,
                "only the bundled snapshot is there yet: it answers while the zone's servers cannot be reached"
            );
        }
    }

    /// Notes what is wrong; tells it, as `news`, when it is not of the `sort` that was told last. `held` is the serial of a version
    /// that waits for the operator.
    fn fail(&self, errors: Vec<String>, sort: &str, news: News, held: Option<u32>) {
        let mut state = self.state();
        state.errors = errors;
        let error = state.last_error();
        let zone = &self.config.zone;
        if state.told_error.as_deref() != Some(sort) {
            let serving = self.current().map(|g| g.serial());
            let next = match held {
                Some(serial) => format!(
                    "a new version is held, look at it with: holdfast mirror diff {zone}; serve it with: holdfast mirror accept {zone} {serial}"
                ),
                None => format!(
                    "mirror refresh failed; it is tried again by itself, and at once with: holdfast mirror refresh {zone}"
                ),
            };
            let alert = news.word();
            tracing::warn!(alert, %zone, error, serving, "{next}");
            state.told_error = Some(sort.to_owned());
        }
    }

    /// The operator has decided what the last refresh failed for.
    fn settle_error(&self) {
        let mut state = self.state();
        state.errors.clear();
        state.told_error = None;
    }

    fn succeed(&self) {
        let was = {
            let mut state = self.state();
            state.told_error = None;
            let was = state.last_error();
            state.errors.clear();
            was
        };
        if let Some(error) = was {
            let alert = News::MirrorRefresh.word();
            tracing::info!(alert, zone = %self.config.zone, was = error, "mirror refresh works again");
        }
    }

    /// Says how old the copy is when that is another stage than before; `metrics` count the mirrors that are.
    fn tell_age(&self, shared: &Shared) {
        let now_s = shared.deps.clock.now().wall_s;
        let current = self.current().filter(|g| !g.is_bootstrap());
        let serial = current.as_ref().map(|g| g.serial());
        let now = current.and_then(|g| age::escalation(&age::Facts::of(&g, now_s), now_s));
        let was = std::mem::replace(&mut self.state().told_age, now);
        let metrics = &shared.deps.metrics;
        metrics.mirrors_ageing.step(was.is_some(), now.is_some());
        let urgent = |e: Option<Escalation>| e.is_some_and(|e| e.is_urgent());
        metrics.mirrors_ageing_urgent.step(urgent(was), urgent(now));
        let zone = &self.config.zone;
        // A quarter is for who reads the log.
        let of = |stage| (stage >= age::Stage::Half).then_some(News::MirrorAge.word());
        match (was, now) {
            (Some(was), None) => {
                let alert = of(was.stage);
                tracing::info!(alert, %zone, serial, "the copy is up to date again");
            }
            (was, Some(now)) if was.is_none_or(|was| was.stage < now.stage) => {
                metrics.mirror_escalations_total.inc();
                let (text, alert) = (now.text(&self.config), of(now.stage));
                match now.is_urgent() {
                    true => tracing::error!(alert, %zone, serial, "{text}"),
                    false => tracing::warn!(alert, %zone, serial, "{text}"),
                }
            }
            _ => {}
        }
    }

    fn set_meter(&self, meter: Option<Arc<Meter>>) {
        self.state().meter = meter;
    }

    /// What the store keeps of this zone.
    fn keep(&self) -> Keep {
        Keep {
            count: self.config.generations,
            bytes_max: self.config.generations_bytes_max,
        }
    }

    /// Why there is not even the snapshot; `None` while something is served.
    fn snapshot_error(&self) -> Option<String> {
        match self.current() {
            Some(_) => None,
            None => self.state().snapshot_error.clone(),
        }
    }

    fn set_snapshot_error(&self, error: Option<String>) {
        self.state().snapshot_error = error;
    }

    /// The version that a brake holds for the operator, and why.
    pub fn held(&self) -> Option<(u32, Vec<String>)> {
        self.state().held.clone()
    }

    fn held_serial(&self) -> Option<u32> {
        self.state().held.as_ref().map(|(serial, _)| *serial)
    }

    fn held_reasons(&self) -> Vec<String> {
        (self.state().held.as_ref()).map_or_else(Vec::new, |(_, reasons)| reasons.clone())
    }

    fn set_held(&self, held: Option<(u32, Vec<String>)>) {
        self.state().held = held;
    }

    fn rolled_back_from(&self) -> Option<u32> {
        self.state().rolled_back_from
    }

    fn set_rolled_back_from(&self, serial: Option<u32>) {
        self.state().rolled_back_from = serial;
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
