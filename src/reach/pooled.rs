//! The published verdicts over prefixes, and the loop that confirms and ends them.
//!
//! Why: whoever orders addresses asks for each of them whether it stands in a dead prefix. Nearly always nothing is dead: then
//! that is one atomic load; else it is two lookups in a set that is replaced whole, without a lock.
//!
//! Model: [`Prefixes`] holds the [`PrefixMachine`] behind a lock that observations take for a moment, each after a packet's round
//! trip. [`run`] sleeps until something is suspect or dead, and then sends the machine's probes.
//!
//! Failure: without the loop suspicions are confirmed by clients' questions alone, and verdicts stand until an answer.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::sync::{Notify, Semaphore};
use tracing::{Span, debug, info, warn};

use super::prefix::{Change, DeadPrefix, PrefixMachine, Probe, prefixes_of};
use super::probe::Prober;
use super::signal::Evidence;
use crate::clock::Clock;
use crate::dns::Name;
use crate::metrics::Metrics;
use crate::news::News;

/// How often the machine is looked at while anything is suspect or dead.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Probes under way at once.
const PROBES_MAX: usize = 32;
/// Lines in the log in a minute; what is left out is counted in the next line.
const LINES_PER_MINUTE_MAX: u32 = 20;

/// Which prefixes are dead.
pub struct Prefixes {
    machine: Mutex<PrefixMachine>,
    dead: ArcSwap<HashSet<IpNet>>,
    /// How many those are.
    dead_count: AtomicUsize,
    /// Something has become suspect.
    troubled: Notify,
    lines: Mutex<Lines>,
    /// What it was made in: questions of clients, which are in no span, tell of prefixes, too, and what a drill's world says is to be told from the true one.
    span: Span,
    clock: Clock,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Lines {
    minute: u64,
    count: u32,
    left_out: u64,
}

impl Lines {
    /// Whether there is room for a line; with it, how many had none since the last one.
    fn claim(&mut self, minute: u64) -> Option<u64> {
        if self.minute != minute {
            (self.minute, self.count) = (minute, 0);
        }
        if self.count >= LINES_PER_MINUTE_MAX {
            self.left_out += 1;
            return None;
        }
        self.count += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Prefixes {
    /// No prefix is suspect. What is said of them in the log is said in the present span.
    pub fn new(clock: Clock, metrics: Arc<Metrics>) -> Arc<Prefixes> {
        Arc::new(Prefixes {
            machine: Mutex::default(),
            dead: ArcSwap::default(),
            dead_count: AtomicUsize::new(0),
            troubled: Notify::new(),
            lines: Mutex::default(),
            span: Span::current(),
            clock,
            metrics,
        })
    }

    /// Whether the address stands in a dead prefix.
    pub fn is_dead(&self, address: IpAddr) -> bool {
        if self.dead_count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let dead = self.dead.load();
        prefixes_of(address).iter().any(|p| dead.contains(p))
    }

    /// Hands in what became of a question to `address` as a server of `zone`. That an answer validates or does not is told after
    /// the answer itself, and says nothing more here.
    pub fn observe(&self, address: IpAddr, zone: &Name, evidence: Evidence) {
        let now = self.clock.now();
        let mut machine = self.machine();
        let (counts, was_troubled) = (machine.counts(), machine.is_troubled());
        let changes = match evidence {
            Evidence::TimedOut | Evidence::Unreachable => machine.failed(address, zone, now),
            Evidence::Answered | Evidence::Lame | Evidence::ServerFailure => {
                machine.answered(address, zone, now)
            }
            Evidence::Validated | Evidence::Bogus => return,
        };
        if was_troubled || machine.is_troubled() {
            self.publish(&machine, counts, &changes);
            drop(machine);
            self.troubled.notify_one();
            self.tell(changes);
        }
    }

    /// All dead prefixes, by address.
    pub fn dead(&self) -> Vec<DeadPrefix> {
        self.machine().dead()
    }

    fn publish(&self, machine: &PrefixMachine, before: (usize, usize), changes: &[Change]) {
        let (suspect, dead) = machine.counts();
        if (suspect, dead) == before && changes.is_empty() {
            return;
        }
        self.metrics.reach_prefixes_suspect.set(suspect as u64);
        self.metrics.reach_prefixes_dead.set(dead as u64);
        let set: HashSet<IpNet> = machine.dead().into_iter().map(|d| d.prefix).collect();
        self.dead.store(Arc::new(set));
        self.dead_count.store(dead, Ordering::Relaxed);
    }

    fn tell(&self, changes: Vec<Change>) {
        let _inside = self.span.enter();
        for change in changes {
            if matches!(change, Change::Died(..)) {
                self.metrics.reach_prefixes_died_total.inc();
            }
            let minute = self.clock.now().mono.as_secs() / 60;
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(left_out) = lines.claim(minute) else {
                continue;
            };
            let alert = News::Prefix.word();
            match change {
                Change::Died(prefix, evidence) => {
                    warn!(alert, %prefix, left_out, "the prefix is dead, its servers are asked after all others: {evidence}");
                }
                Change::Returned(prefix, server, after) => {
                    info!(alert, %prefix, %server, left_out, "the prefix answers again after {} s", after.as_secs());
                }
                Change::Lapsed(prefix) => {
                    info!(alert, %prefix, left_out, "the prefix may be back: nothing has failed there of late");
                }
            }
        }
    }

    /// Lets time pass; says whom to probe, and whether to look again.
    fn look(&self, probing: bool) -> (Vec<Probe>, bool) {
        let now = self.clock.now();
        let mut machine = self.machine();
        let counts = machine.counts();
        let changes = machine.tick(now);
        let probes = match probing {
            true => machine.poll_probes(now.mono),
            false => Vec::new(),
        };
        self.publish(&machine, counts, &changes);
        let goes_on = machine.is_troubled();
        drop(machine);
        self.tell(changes);
        (probes, goes_on)
    }

    fn machine(&self) -> MutexGuard<'_, PrefixMachine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Confirms and ends verdicts, for ever. Without a prober it only lets them lapse.
pub async fn run(prefixes: Arc<Prefixes>, prober: Option<Arc<dyn Prober>>) {
    let room = Arc::new(Semaphore::new(PROBES_MAX));
    loop {
        let (probes, goes_on) = prefixes.look(prober.is_some());
        for Probe {
            zone,
            address: server,
            over_tcp,
        } in probes
        {
            let (Some(prober), Ok(permit)) = (&prober, room.clone().try_acquire_owned()) else {
                break;
            };
            prefixes.metrics.reach_prefix_probes_total.inc();
            let knock = prober.knock(zone.clone(), server, over_tcp);
            let prefixes = prefixes.clone();
            tokio::spawn(async move {
                let _permit = permit;
                if let Some(evidence) = knock.await {
                    debug!(%zone, %server, "probe of a prefix: {evidence}");
                    prefixes.observe(server, &zone, evidence);
                }
            });
        }
        match goes_on {
            true => tokio::time::sleep(LOOK_EVERY).await,
            false => prefixes.troubled.notified().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_per_minute_and_those_left_out_are_counted() {
        let mut lines = Lines::default();
        let logged = (0..50).filter(|_| lines.claim(7) == Some(0)).count();
        assert_eq!(logged, LINES_PER_MINUTE_MAX as usize);
        assert_eq!((lines.claim(8), lines.claim(8)), (Some(30), Some(0)));
    }
}
