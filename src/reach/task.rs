//! The one loop that feeds the machines: signals in, probes out, transitions published and logged.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::machine::{Machine, State, Transition};
use super::pooled::Prefixes;
use super::probe::{ProbeOutcome, Prober};
use super::signal::{Evidence, Signal};
use super::state::{Input, Inputs, Reachability, ZoneReach};
use crate::clock::{Clock, format_utc};
use crate::dns::Name;
use crate::metrics::Metrics;
use crate::news::News;
use crate::store::{Changes, Durability, Ledger, OutageRow, zone_key};

/// Probes under way at once, over all zones.
const PROBES_MAX: usize = 64;
/// The longest sleep, so that a changed clock or a lost wake-up costs little.
const SLEEP_MAX: Duration = Duration::from_secs(5);
/// The shortest sleep: no state of the machines may make the loop spin.
const SLEEP_MIN: Duration = Duration::from_millis(1);

/// What the wiring knows of a zone.
#[derive(Debug, Clone, Default)]
pub struct ZoneFacts {
    /// Whether answers must validate to count as good (`verify = "dnssec"`).
    pub signed: bool,
    /// Serial of the generation in use.
    pub serial: Option<u32>,
    /// Last contact with one of the mirror's sources, seconds since 1970.
    pub last_contact_s: Option<u64>,
}

/// What the loop needs.
pub struct Deps {
    /// Published state.
    pub reach: Arc<Reachability>,
    /// What probes show of an address counts for its prefix.
    pub prefixes: Arc<Prefixes>,
    /// The receiving end.
    pub inputs: Inputs,
    /// `None` with `reachability.probe = false`.
    pub prober: Option<Arc<dyn Prober>>,
    /// Where outages are kept, so that a restart inside one goes on with it.
    pub ledger: Arc<Ledger>,
    /// Whether they are written there; in a drill they are not.
    pub keep_outages: bool,
    /// What is known of a zone.
    pub facts: Box<dyn Fn(&Name) -> ZoneFacts + Send + Sync>,
    /// The clock.
    pub clock: Clock,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// Takes up the outages of the last run, so that the first query after a restart inside a cut already
/// finds the zone isolated. Call before queries are answered.
pub fn resume(deps: &Deps) -> Machines {
    let zones = deps.reach.zones().into_iter();
    Machines(
        zones
            .map(|zone| (zone.clone(), begin(deps, &zone)))
            .collect(),
    )
}

/// The machine of a zone, with the outage that the ledger has of it.
fn begin(deps: &Deps, zone: &Name) -> Machine {
    let now = deps.clock.now();
    let signed = (deps.facts)(zone).signed;
    let outage: Option<OutageRow> = deps.ledger.get(&zone_key(zone));
    let machine = match &outage {
        Some(o) => {
            let since = format_utc(o.since_at);
            warn!(zone = %zone, since, "still isolated after the restart, the mirror answers: {}", o.evidence);
            Machine::resume_isolated(signed, now, o.since_at)
        }
        None => Machine::new(signed, now),
    };
    let reach = ZoneReach {
        state: machine.state(),
        since: machine.since(),
        evidence: outage.map(|o| o.evidence).unwrap_or_default(),
    };
    deps.reach.publish(zone, reach);
    machine
}

/// The machines of all zones.
pub struct Machines(HashMap<Name, Machine>);

/// Runs until the [`Reachability`] is dropped.
pub async fn run(mut deps: Deps, machines: Machines) {
    let Machines(mut machines) = machines;
    let (results, mut probed) = mpsc::channel::<(Name, IpAddr, ProbeOutcome)>(PROBES_MAX);
    let mut under_way = 0usize;
    loop {
        let now = deps.clock.now();
        for (zone, machine) in &mut machines {
            if let Some(t) = machine.handle_tick(now) {
                announce(&deps, zone, machine, t);
            }
            let Some(prober) = &deps.prober else { continue };
            for server in machine.poll_probes(now) {
                if under_way >= PROBES_MAX {
                    break;
                }
                under_way += 1;
                let probe = prober.probe(zone.clone(), server);
                let (results, zone) = (results.clone(), zone.clone());
                tokio::spawn(async move {
                    let outcome = probe.await;
                    let _ = results.send((zone, server, outcome)).await;
                });
            }
        }
        let probing = deps.prober.is_some();
        let wake = machines
            .values()
            .map(|m| m.wake_at(probing))
            .min()
            .unwrap_or(Duration::MAX);
        // A timer that is already due still lets queued signals pass first.
        let wake = wake.clamp(now.mono + SLEEP_MIN, now.mono + SLEEP_MAX);
        let sleep = tokio::time::sleep_until(deps.clock.instant(wake));
        tokio::select! {
            input = deps.inputs.0.recv() => match input {
                None => return,
                Some(Input::Servers(zone, servers)) => {
                    if let Some(m) = machines.get_mut(&zone) {
                        m.add_servers(&servers);
                    }
                }
                Some(Input::Signal(signal)) => handle(&deps, &mut machines, signal),
                Some(Input::Added(zone)) => {
                    if !machines.contains_key(&zone) {
                        machines.insert(zone.clone(), begin(&deps, &zone));
                    }
                }
                Some(Input::Removed(zone)) => {
                    machines.remove(&zone);
                    record(&deps, Changes::new().remove::<OutageRow>(zone_key(&zone)));
                }
            },
            Some((zone, server, outcome)) = probed.recv() => {
                under_way -= 1;
                match outcome.evidence {
                    Some(evidence) => {
                        debug!(zone = %zone, %server, serial = outcome.serial, "probe: {evidence}");
                        let of_prefix = match evidence {
                            Evidence::TimedOut | Evidence::Unreachable => evidence,
                            _ => Evidence::Answered,
                        };
                        deps.prefixes.observe(server, &zone, of_prefix);
                        handle(&deps, &mut machines, Signal { zone, server, evidence });
                    }
                    None => debug!(zone = %zone, %server, "probe: could not be sent"),
                }
            }
            () = sleep => {}
        }
    }
}

fn handle(deps: &Deps, machines: &mut HashMap<Name, Machine>, signal: Signal) {
    let Some(machine) = machines.get_mut(&signal.zone) else {
        return;
    };
    let now = deps.clock.now();
    if let Some(t) = machine.handle_signal(now, signal.server, signal.evidence) {
        announce(deps, &signal.zone, machine, t);
    }
}

/// Publishes first, so that routes act before anyone reads the log.
fn announce(deps: &Deps, zone: &Name, machine: &Machine, t: Transition) {
    let alert = News::MirrorState.word();
    let (since, evidence) = (machine.since(), t.evidence.clone());
    deps.reach.publish(
        zone,
        ZoneReach {
            state: t.to,
            since,
            evidence,
        },
    );
    match t.to {
        State::Isolated => {
            let facts = (deps.facts)(zone);
            let copy = match facts.serial {
                Some(serial) => format!("the copy with serial {serial} answers"),
                None => "AND THERE IS NO COPY to answer from".into(),
            };
            warn!(alert, zone = %zone, from = %t.from, "isolated, {copy}: {}", t.evidence);
            deps.metrics.reach_isolated_total.inc();
            if t.from == State::Suspect {
                record(
                    deps,
                    Changes::new().put(&OutageRow {
                        zone: zone.clone(),
                        since_at: since.wall_s,
                        last_contact_at: facts.last_contact_s,
                        serial: facts.serial,
                        evidence: t.evidence.clone(),
                    }),
                );
            }
        }
        State::Online if t.from != State::Suspect => {
            info!(alert, zone = %zone, from = %t.from, "online again: {}", t.evidence);
            record(deps, Changes::new().remove::<OutageRow>(zone_key(zone)));
        }
        _ => info!(alert, zone = %zone, from = %t.from, "{}: {}", t.to, t.evidence),
    }
    deps.reach.announce(zone, t);
}

/// Writes beside the loop: evidence does not wait for the disk.
fn record(deps: &Deps, changes: Changes) {
    if !deps.keep_outages {
        return;
    }
    let ledger = deps.ledger.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = ledger.commit(changes, Durability::Soon) {
            warn!(%error, "the outage could not be recorded");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::BoxFuture;
    use std::sync::atomic::{AtomicBool, Ordering};

    struct Switch(AtomicBool);

    impl Prober for Switch {
        fn probe(&self, _: Name, _: IpAddr) -> BoxFuture<'static, ProbeOutcome> {
            let up = self.0.load(Ordering::Relaxed);
            Box::pin(async move {
                let wait = if up { 10 } else { 1000 };
                tokio::time::sleep(Duration::from_millis(wait)).await;
                let evidence = if up {
                    Evidence::Validated
                } else {
                    Evidence::TimedOut
                };
                ProbeOutcome {
                    evidence: Some(evidence),
                    serial: None,
                }
            })
        }
    }

    async fn wait_for(clock: &Clock, reach: &Reachability, zone: &Name, state: State) -> Duration {
        let start = clock.now().mono;
        while reach.state(zone) != state {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let waited = clock.now().mono - start;
            assert!(waited < Duration::from_secs(60), "never {state}");
        }
        clock.now().mono - start
    }

    // Without any client: an idle server notices the cut and the return by its probes.
    #[tokio::test(start_paused = true)]
    async fn probes_find_the_cut_and_the_return() {
        let clock = Clock::starting_at(Duration::from_secs(1_000_000));
        let (reach, inputs) = Reachability::new([Name::root()], clock.now());
        let switch = Arc::new(Switch(AtomicBool::new(true)));
        let dir = tempfile::tempdir().unwrap();
        let (ledger, _) = Ledger::open(dir.path(), Arc::default()).unwrap();
        let ledger = Arc::new(ledger);
        let outages = || ledger.scan::<OutageRow>(&[]);
        let deps = Deps {
            reach: reach.clone(),
            prefixes: Prefixes::new(clock.clone(), Arc::default()),
            inputs,
            prober: Some(switch.clone()),
            ledger: ledger.clone(),
            keep_outages: true,
            facts: Box::new(|_| ZoneFacts {
                signed: true,
                ..ZoneFacts::default()
            }),
            clock: clock.clone(),
            metrics: Arc::default(),
        };
        let machines = resume(&deps);
        tokio::spawn(run(deps, machines));
        reach.zone_servers(
            &Name::root(),
            &[[192, 0, 2, 1].into(), [192, 0, 2, 2].into()],
        );
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(reach.state(&Name::root()), State::Online);

        switch.0.store(false, Ordering::Relaxed);
        wait_for(&clock, &reach, &Name::root(), State::Isolated).await;
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(outages().len(), 1);
        assert_eq!(reach.state(&Name::root()), State::Isolated);

        switch.0.store(true, Ordering::Relaxed);
        assert!(
            wait_for(&clock, &reach, &Name::root(), State::Online).await < Duration::from_secs(30)
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(outages().is_empty());
    }
}
