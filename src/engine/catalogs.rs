//! Follows catalog zones (RFC 9432): what a catalog lists is mirrored, and is no longer when it is not listed any more.
//!
//! A catalog is a mirror itself, so its versions are verified and held like any other's. Each new one is read (`catalog`), and
//! what it asks for is done in three steps: what goes, what comes, what changes hands. At start the stored version is followed before questions are answered.
//!
//! Failure: a version that is broken is logged and counted, and the members of the last good one stay, across restarts too. A
//! member whose name is taken, or that is one too many, is logged and left out. What was removed keeps its files for a week.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::catalog::{Broken, Followed, Ignored, Membership, Step, plan};
use crate::clock::Clock;
use crate::config::{self, Config, MirrorConfig};
use crate::dns::Name;
use crate::metrics::Metrics;
use crate::mirror::{Generation, GenerationState, Mirrors, NewGeneration, blocking};
use crate::reach::Reachability;
use crate::resolve::task::Resolver;

/// How often files of removed members are looked at, in seconds.
const SWEEP_INTERVAL_S: u64 = 3600;
/// Members that change hands together. Each such step copies the list of mirrors, and its members answer nothing meanwhile.
const HANDED_OVER_AT_ONCE: usize = 64;
/// Zones that one list leaves out and that are logged by name: it may have a million.
const IGNORED_TOLD_MAX: usize = 20;

/// The catalogs that are followed.
pub struct Catalogs {
    configs: Vec<config::Catalog>,
    /// Zones with a table of their own: they stay what they are.
    configured: BTreeSet<Name>,
    mirrors: Arc<Mirrors>,
    reach: Arc<Reachability>,
    resolver: Resolver,
    clock: Clock,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Members of all catalogs.
    followed: BTreeMap<Name, Followed>,
    /// What each catalog lists in vain.
    ignored: BTreeMap<Name, LeftOut>,
}

/// Zones that a catalog lists and that are not mirrored.
#[derive(Default, PartialEq, Eq)]
struct LeftOut {
    /// All of them; there may be millions.
    count: u64,
    /// The first [`IGNORED_TOLD_MAX`], and what was said of them, so that it is said once.
    told: BTreeMap<Name, Ignored>,
}

impl Catalogs {
    /// The catalogs of `config`, with nobody followed yet.
    pub fn new(
        config: &Config,
        mirrors: Arc<Mirrors>,
        reach: Arc<Reachability>,
        resolver: Resolver,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Catalogs {
        let tables = (config.mirrors.iter().map(|mirror| &mirror.zone))
            .chain(config.zones.iter().map(|zone| &zone.name))
            .chain(config.forwards.iter().map(|forward| &forward.zone))
            .chain(config.catalogs.iter().map(|catalog| &catalog.zone));
        let followed = config.catalogs.iter().filter(|catalog| !catalog.produce);
        Catalogs {
            configured: tables.cloned().collect(),
            configs: followed.cloned().collect(),
            mirrors,
            reach,
            resolver,
            clock,
            metrics,
            state: Mutex::default(),
        }
    }

    /// Follows what is on disk: of each catalog the newest version that is not broken.
    pub async fn resume(self: &Arc<Self>) {
        for config in &self.configs {
            if let Some(listed) = self.stored(&config.zone).await {
                self.follow(config, &listed).await;
            }
        }
    }

    /// Follows new versions until the mirrors are gone.
    pub async fn run(self: Arc<Self>, mut generations: Receiver<NewGeneration>) {
        let mut sweep = tokio::time::interval(Duration::from_secs(SWEEP_INTERVAL_S));
        loop {
            let zone = tokio::select! {
                _ = sweep.tick() => {
                    self.sweep().await;
                    continue;
                }
                event = generations.recv() => match event {
                    Ok(event) => Some(event.zone),
                    // Any of them may have changed.
                    Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return,
                },
            };
            let is_meant =
                |config: &&config::Catalog| zone.as_ref().is_none_or(|z| *z == config.zone);
            for config in self.configs.iter().filter(is_meant) {
                self.follow_current(config).await;
            }
        }
    }

    async fn follow_current(&self, config: &config::Catalog) {
        let Some(current) = self.mirrors.find(&config.zone).and_then(|m| m.current()) else {
            return;
        };
        match self.read(&current).await {
            Ok(listed) => self.follow(config, &listed).await,
            Err(broken) => {
                let (zone, serial) = (&config.zone, current.serial());
                tracing::error!(%zone, serial, "the catalog is broken, its members stay as they are: {broken}");
            }
        }
    }

    /// Reads a version, which may be large, on a thread where nobody waits.
    async fn read(&self, version: &Arc<Generation>) -> Result<Membership, Broken> {
        let version = version.clone();
        let listed = blocking(move || Membership::read(version.image())).await;
        listed.inspect_err(|_| self.metrics.catalogs_broken_total.inc())
    }

    /// What the newest stored version of a catalog that is not broken lists.
    async fn stored(self: &Arc<Self>, catalog: &Name) -> Option<Membership> {
        let mirror = self.mirrors.find(catalog)?;
        let current = mirror.current()?;
        match self.read(&current).await {
            Ok(listed) => return Some(listed),
            Err(broken) => {
                tracing::error!(zone = %catalog, serial = current.serial(), "the stored catalog is broken, an older one is followed: {broken}");
            }
        }
        let mirrors = self.mirrors.clone();
        let older = move || {
            let kept = mirrors.generations(&mirror).into_iter();
            let mut kept = kept.filter(|g| g.state == GenerationState::Kept);
            kept.find_map(|g| Membership::read(&mirrors.version(mirror.zone(), g.serial)?).ok())
        };
        tokio::task::spawn_blocking(older).await.ok().flatten()
    }

    /// Does what a list asks for.
    async fn follow(&self, config: &config::Catalog, listed: &Membership) {
        let catalog = &config.zone;
        let mut state = self.state.lock().await;
        let unverified = config.member.verify == config::Verify::None;
        let refuses = |zone: &Name| match self.configured.contains(zone) {
            true => Some(Ignored::Configured),
            false => (unverified && zone.label_count() < 2).then_some(Ignored::TooHigh),
        };
        let members_max = config.members_max;
        let steps = plan(catalog, listed, &state.followed, refuses, members_max);
        let before = state.ignored.remove(catalog).unwrap_or_default();
        let mut ignored = LeftOut::default();
        let (mut gone, mut come, mut moved) = (Vec::new(), Vec::new(), Vec::new());
        let mut anew = 0;
        for step in steps {
            match step {
                Step::Remove(zone) => {
                    if let Some(old) = state.followed.remove(&zone) {
                        tracing::debug!(%zone, %catalog, "no longer listed: its mirror ends, its files are kept for a week");
                        gone.push((zone, old));
                    }
                }
                Step::Reset(zone, new) => {
                    anew += 1;
                    tracing::debug!(%zone, %catalog, "listed anew: its mirror begins again with nothing");
                    if let Some(old) = state.followed.remove(&zone) {
                        gone.push((zone.clone(), old));
                    }
                    come.push((zone, new));
                }
                Step::Add(zone, new) => {
                    tracing::debug!(%zone, %catalog, "listed: it is mirrored");
                    come.push((zone, new));
                }
                Step::Keep(zone, new) => {
                    // Its sources are those of the catalog that lists it.
                    if state
                        .followed
                        .get(&zone)
                        .is_some_and(|old| old.catalog != new.catalog)
                    {
                        tracing::debug!(%zone, %catalog, "handed over by another catalog");
                        moved.push((zone.clone(), new.clone()));
                    }
                    state.followed.insert(zone, new);
                }
                Step::Ignore(zone, why) => {
                    ignored.count += 1;
                    if ignored.told.len() < IGNORED_TOLD_MAX {
                        if before.told.get(&zone) != Some(&why) {
                            tracing::warn!(%zone, %catalog, "listed and not mirrored: {why}");
                        }
                        ignored.told.insert(zone, why);
                    }
                }
            }
        }
        self.remove(&gone).await;
        self.add(config, &come).await;
        for some in moved.chunks(HANDED_OVER_AT_ONCE) {
            self.remove(some).await;
            self.add(config, some).await;
        }
        // A list may have a million members, so they are counted here; who wants their names reads the lines of level debug.
        if !(gone.is_empty() && come.is_empty() && moved.is_empty()) {
            let (new, ended, handed_over) = (come.len() - anew, gone.len() - anew, moved.len());
            tracing::info!(%catalog, new, ended, anew, handed_over, "the catalog's members have changed");
        }
        state.followed.extend(come);
        let more = ignored.count - ignored.told.len() as u64;
        if more > 0 && ignored.count != before.count {
            tracing::warn!(%catalog, more, "more zones are listed and not mirrored");
        }
        state.ignored.insert(catalog.clone(), ignored);
        self.metrics
            .catalog_members
            .set(state.followed.len() as u64);
        self.metrics
            .catalog_members_ignored
            .set(state.ignored.values().map(|left| left.count).sum());
    }

    /// Begins to mirror members, all at once: there may be half a million of them.
    async fn add(&self, config: &config::Catalog, members: &[(Name, Followed)]) {
        if members.is_empty() {
            return;
        }
        let (store, taken) = (self.mirrors.store().clone(), members.to_vec());
        let take_back = move || {
            for (zone, new) in taken {
                if let Err(error) = store.take_back(&zone, &new.member.label) {
                    tracing::warn!(%zone, %error, "what is left of an earlier zone of this name could not be removed");
                }
            }
        };
        // Where it panics, what is left is found and judged like any stored version.
        let _ = tokio::task::spawn_blocking(take_back).await;
        let mirror = |(zone, _): &(Name, Followed)| MirrorConfig {
            zone: zone.clone(),
            ..config.member.clone()
        };
        let mirrors = members.iter().map(mirror).collect();
        self.mirrors.add_all(mirrors).await;
        let zones = names(members);
        self.reach.add_all(&zones, self.clock.now()).await;
        // Who follows generations may not have known the zones yet.
        zones.iter().for_each(|zone| self.mirrors.announce(zone));
    }

    /// Stops to mirror members, all at once; `members` says by which labels their files are found again.
    async fn remove(&self, members: &[(Name, Followed)]) {
        if members.is_empty() {
            return;
        }
        let zones = names(members);
        let ended: Vec<_> = zones.iter().map(|zone| self.mirrors.find(zone)).collect();
        self.mirrors.remove_all(&zones);
        for zone in &zones {
            // Answers that are ready rest on it, and proofs.
            self.resolver.note_generation(zone);
        }
        self.reach.remove_all(&zones).await;
        let (store, members) = (self.mirrors.store().clone(), members.to_vec());
        let now_s = self.clock.now().wall_s;
        let set_aside = move || {
            for ((zone, old), mirror) in members.into_iter().zip(ended) {
                // What was being written is on disk then, or never will be.
                mirror.into_iter().for_each(|mirror| mirror.settle());
                if let Err(error) = store.set_aside(&zone, &old.member.label, now_s) {
                    tracing::warn!(%zone, %error, "the files of a removed member could not be marked");
                }
            }
        };
        let _ = tokio::task::spawn_blocking(set_aside).await;
    }

    async fn sweep(&self) {
        let (mirrors, now_s) = (self.mirrors.clone(), self.clock.now().wall_s);
        let sweep = move || {
            mirrors
                .store()
                .sweep(now_s, |zone| mirrors.find(zone).is_some())
        };
        for zone in tokio::task::spawn_blocking(sweep).await.unwrap_or_default() {
            tracing::info!(%zone, "the files of a removed member are deleted");
        }
    }
}

fn names(members: &[(Name, Followed)]) -> Vec<Name> {
    members.iter().map(|(zone, _)| zone.clone()).collect()
}
