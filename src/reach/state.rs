//! The published state: read by routes and by `status`, written by [`super::task`] alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, mpsc};

use super::machine::{State, Transition};
use super::signal::Signal;
use crate::clock::Now;
use crate::dns::Name;

/// Signals that may wait for the task.
const SIGNALS_QUEUED_MAX: usize = 4096;
/// Transitions that a slow subscriber may lag behind.
const TRANSITIONS_KEPT_MAX: usize = 256;
/// In isolation one client query per this time explores upstream, so that the way back is found
/// even without probes.
const EXPLORE_INTERVAL_MS: u64 = 1000;

/// What the task is told.
#[derive(Debug)]
pub(super) enum Input {
    Signal(Signal),
    Servers(Name, Vec<IpAddr>),
    Added(Name),
    Removed(Name),
}

/// One zone's published state.
#[derive(Debug, Clone, Default)]
pub struct ZoneReach {
    /// The state.
    pub state: State,
    /// Since when.
    pub since: Now,
    /// Why, as logged at the last transition.
    pub evidence: String,
}

struct Slot {
    reach: ArcSwap<ZoneReach>,
    explored_ms: AtomicU64,
}

impl Slot {
    fn new(now: Now) -> Arc<Slot> {
        Arc::new(Slot {
            reach: ArcSwap::from_pointee(ZoneReach {
                since: now,
                ..ZoneReach::default()
            }),
            explored_ms: AtomicU64::new(0),
        })
    }
}

/// The published state of all mirrored zones, and the way in for signals.
pub struct Reachability {
    /// Replaced whole when a zone comes or goes.
    zones: ArcSwap<HashMap<Name, Arc<Slot>>>,
    inputs: mpsc::Sender<Input>,
    transitions: broadcast::Sender<(Name, Transition)>,
}

impl Reachability {
    /// State for these zones, all online; the receiver is for [`super::task::run`].
    pub fn new(zones: impl IntoIterator<Item = Name>, now: Now) -> (Arc<Reachability>, Inputs) {
        let (inputs, receiver) = mpsc::channel(SIGNALS_QUEUED_MAX);
        let zones = zones.into_iter().map(|zone| (zone, Slot::new(now)));
        let zones = ArcSwap::from_pointee(zones.collect());
        let transitions = broadcast::channel(TRANSITIONS_KEPT_MAX).0;
        (
            Arc::new(Reachability {
                zones,
                inputs,
                transitions,
            }),
            Inputs(receiver),
        )
    }

    /// Begins to judge zones, which are online at first. Waits for room in the task's queue. The map, of which every change makes
    /// a copy, changes once.
    pub async fn add_all(&self, added: &[Name], now: Now) {
        self.zones.rcu(|zones| {
            let mut zones = HashMap::clone(zones);
            for zone in added {
                zones.entry(zone.clone()).or_insert_with(|| Slot::new(now));
            }
            zones
        });
        for zone in added {
            let _ = self.inputs.send(Input::Added(zone.clone())).await;
        }
    }

    /// Stops to judge zones. Waits for room in the task's queue. The map changes once.
    pub async fn remove_all(&self, removed: &[Name]) {
        self.zones.rcu(|zones| {
            let mut zones = HashMap::clone(zones);
            for zone in removed {
                zones.remove(zone);
            }
            zones
        });
        for zone in removed {
            let _ = self.inputs.send(Input::Removed(zone.clone())).await;
        }
    }

    /// The zone's state; `None` for a zone that is no mirror.
    pub fn zone(&self, zone: &Name) -> Option<Arc<ZoneReach>> {
        Some(self.zones.load().get(zone)?.reach.load_full())
    }

    /// The zone's state; zones that are no mirror are online.
    pub fn state(&self, zone: &Name) -> State {
        let zones = self.zones.load();
        let slot = zones.get(zone);
        slot.map_or(State::Online, |slot| slot.reach.load().state)
    }

    /// Whether this client query may go upstream although the zone is isolated: one in a second.
    pub fn may_explore(&self, zone: &Name, now: Now) -> bool {
        let Some(slot) = self.zones.load().get(zone).cloned() else {
            return true;
        };
        let now_ms = now.mono.as_millis() as u64;
        let last = slot.explored_ms.load(Ordering::Relaxed);
        now_ms >= last + EXPLORE_INTERVAL_MS
            && (slot.explored_ms)
                .compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Hands in an observation. Zones that are no mirrors are ignored; a full queue drops it.
    pub fn signal(&self, signal: Signal) {
        if self.zones.load().contains_key(&signal.zone) {
            let _ = self.inputs.try_send(Input::Signal(signal));
        }
    }

    /// Makes the addresses of a zone known.
    pub fn zone_servers(&self, zone: &Name, servers: &[IpAddr]) {
        if self.zones.load().contains_key(zone) {
            let _ = self
                .inputs
                .try_send(Input::Servers(zone.clone(), servers.to_vec()));
        }
    }

    /// All transitions from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<(Name, Transition)> {
        self.transitions.subscribe()
    }

    pub(super) fn zones(&self) -> Vec<Name> {
        self.zones.load().keys().cloned().collect()
    }

    pub(super) fn publish(&self, zone: &Name, reach: ZoneReach) {
        if let Some(slot) = self.zones.load().get(zone) {
            slot.reach.store(Arc::new(reach));
        }
    }

    pub(super) fn announce(&self, zone: &Name, transition: Transition) {
        let _ = self.transitions.send((zone.clone(), transition));
    }
}

/// The receiving end of a [`Reachability`].
pub struct Inputs(pub(super) mpsc::Receiver<Input>);
