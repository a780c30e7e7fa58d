//! The state machine of one zone's reachability. Pure: time and evidence come in, transitions go out.
//!
//! What counts as *good* evidence: an answer that validated, and for an unsigned zone any matched
//! answer. An unvalidated answer of a signed zone is neither: it calms the count of silent servers,
//! for it shows that packets pass, but it ends no isolation, because a hijacker answers too.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::signal::Evidence;
use crate::clock::Now;

/// Addresses that are kept per zone; the root has 26.
pub const SERVERS_MAX: usize = 64;
/// Failures in a row, from several addresses, that make a zone suspect.
pub const SUSPECT_AFTER_FAILURES: u32 = 3;
/// This many addresses (or all, if there are fewer) must have failed before a zone is isolated.
pub const ISOLATED_AFTER_SERVERS: usize = 6;
/// The longest that suspicion may last without any good evidence.
pub const SUSPECT_MAX: Duration = Duration::from_secs(3);
/// The shortest isolation; doubles with each flap.
pub const DWELL_MIN: Duration = Duration::from_secs(1);
/// Flap damping never holds a zone longer than this.
pub const DWELL_MAX: Duration = Duration::from_secs(30);
/// An isolation within this time after the last one counts as a flap.
pub const FLAP_WINDOW: Duration = Duration::from_secs(120);
/// Recovery that makes no progress in this time falls back.
pub const RECOVERING_MAX: Duration = Duration::from_secs(10);
/// Good answers from this many addresses (or all) bring a zone back online.
pub const ONLINE_AFTER_SERVERS: usize = 2;

const _: () = assert!(
    DWELL_MAX.as_secs() <= 30,
    "recovery is promised within 30 s of the dwell's end"
);
const _: () = assert!(ONLINE_AFTER_SERVERS <= ISOLATED_AFTER_SERVERS);

/// Whether a zone's servers can be reached.
///
/// ```text
///            failures in a row,            all (or 6) failed, or 3 s
///            several addresses             without a good answer
///   Online ---------------------> Suspect ---------------------------> Isolated
///     ^  ^                           |                                  |    ^
///     |  `------ a good answer ------'        a good answer, after the  |    | 3 failures in a row,
///     |                                              shortest dwell     v    | or 10 s without progress
///     `------------ good answers from two addresses ------------- Recovering
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// The zone's servers answer.
    #[default]
    Online,
    /// Several failed in a row; probes find out.
    Suspect,
    /// None can be reached: the mirror answers at once.
    Isolated,
    /// First good answers are back; upstream is asked again, the mirror stands by.
    Recovering,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Online => "online",
            State::Suspect => "suspect",
            State::Isolated => "isolated",
            State::Recovering => "recovering",
        })
    }
}

/// A change of state with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// What was seen, for the log.
    pub evidence: String,
}

/// The machine of one zone.
#[derive(Debug, Clone)]
pub struct Machine {
    signed: bool,
    state: State,
    since: Now,
    servers: BTreeMap<IpAddr, Option<Seen>>,
    /// Failures since the last good (or calming) evidence.
    failures: u32,
    bogus: u32,
    /// When the last isolation began, for flap damping.
    last_isolated: Option<Duration>,
    dwell: Duration,
    /// Good addresses during recovery.
    good: Vec<IpAddr>,
    /// Whether there was good evidence since the machine was made.
    heard: bool,
    probe: Probing,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    evidence: Evidence,
    at: Duration,
}

/// Round-robin over the addresses, at a pace that the state sets.
#[derive(Debug, Clone, Default)]
struct Probing {
    next_at: Duration,
    last: Option<IpAddr>,
    rounds: u32,
}

impl Machine {
    /// A machine that starts online. `signed`: only validated answers count as good.
    pub fn new(signed: bool, now: Now) -> Machine {
        Machine {
            signed,
            state: State::Online,
            since: now,
            servers: BTreeMap::new(),
            failures: 0,
            bogus: 0,
            last_isolated: None,
            dwell: DWELL_MIN,
            good: Vec::new(),
            heard: false,
            probe: Probing::default(),
        }
    }

    /// A machine that starts inside an isolation that began before a restart.
    pub fn resume_isolated(signed: bool, now: Now, since_wall_s: u64) -> Machine {
        let since = Now::new(now.mono, since_wall_s);
        let last_isolated = Some(now.mono);
        Machine {
            state: State::Isolated,
            since,
            last_isolated,
            ..Machine::new(signed, now)
        }
    }

    /// The present state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when.
    pub fn since(&self) -> Now {
        self.since
    }

    /// Makes addresses of the zone known; beyond [`SERVERS_MAX`] they are ignored.
    pub fn add_servers(&mut self, servers: &[IpAddr]) {
        for s in servers {
            if self.servers.len() < SERVERS_MAX {
                self.servers.entry(*s).or_default();
            }
        }
    }

    /// Takes in one observation.
    pub fn handle_signal(
        &mut self,
        now: Now,
        server: IpAddr,
        evidence: Evidence,
    ) -> Option<Transition> {
        self.add_servers(&[server]);
        if let Some(seen) = self.servers.get_mut(&server) {
            *seen = Some(Seen {
                evidence,
                at: now.mono,
            });
        }
        if self.is_good(evidence) {
            self.heard = true;
            self.failures = 0;
            self.bogus = 0;
            return self.handle_good(now, server);
        }
        match evidence {
            Evidence::Answered => {
                self.failures = 0;
                return None;
            }
            Evidence::Bogus => self.bogus += 1,
            _ => self.failures += 1,
        }
        self.handle_failure(now)
    }

    /// Lets time pass.
    pub fn handle_tick(&mut self, now: Now) -> Option<Transition> {
        let in_state = now.mono.saturating_sub(self.since.mono);
        match self.state {
            State::Suspect if in_state >= SUSPECT_MAX => {
                if self.failed_since() >= self.needed(ONLINE_AFTER_SERVERS) {
                    return Some(self.isolate(now));
                }
                // Nothing was heard either way: no ground for suspicion is left.
                (in_state >= 3 * SUSPECT_MAX)
                    .then(|| self.enter(now, State::Online, "no further failures".into()))
            }
            State::Recovering if in_state >= RECOVERING_MAX => {
                Some(self.enter(now, State::Isolated, "no second good answer in time".into()))
            }
            _ => None,
        }
    }

    /// When [`Machine::handle_tick`] or, if `probing`, [`Machine::poll_probes`] next has something to do.
    pub fn wake_at(&self, probing: bool) -> Duration {
        let timeout = match self.state {
            State::Suspect => self.since.mono + SUSPECT_MAX,
            State::Recovering => self.since.mono + RECOVERING_MAX,
            State::Online | State::Isolated => Duration::MAX,
        };
        if probing {
            timeout.min(self.probe.next_at)
        } else {
            timeout
        }
    }

    /// The addresses to probe now; empty if none is due.
    pub fn poll_probes(&mut self, now: Now) -> Vec<IpAddr> {
        if now.mono < self.probe.next_at {
            return Vec::new();
        }
        let (count, pause) = self.probe_pace();
        self.probe.next_at = now.mono + pause;
        self.probe.rounds = self.probe.rounds.saturating_add(1);
        let after = self.probe.last;
        let later = self
            .servers
            .keys()
            .filter(|s| after.is_some_and(|a| **s > a));
        let picked: Vec<IpAddr> = later
            .chain(self.servers.keys())
            .take(count.min(self.servers.len()))
            .copied()
            .collect();
        self.probe.last = picked.last().copied().or(after);
        picked
    }

    /// How many addresses at once, and how long until the next round.
    fn probe_pace(&self) -> (usize, Duration) {
        match self.state {
            // A start inside an outage, or the first sign of one, is to be known before many clients pay for it.
            State::Online if !self.heard || self.failures > 0 => (2, Duration::from_secs(1)),
            State::Online => (1, Duration::from_secs(15)),
            State::Suspect => (ISOLATED_AFTER_SERVERS, Duration::from_secs(1)),
            // The cap keeps the way back short, whatever the length of the outage.
            State::Isolated if self.probe.rounds < 20 => (2, Duration::from_secs(1)),
            State::Isolated => (3, Duration::from_secs(4)),
            State::Recovering => (ONLINE_AFTER_SERVERS, Duration::from_millis(500)),
        }
    }

    fn is_good(&self, evidence: Evidence) -> bool {
        evidence == Evidence::Validated || (!self.signed && evidence == Evidence::Answered)
    }

    fn handle_good(&mut self, now: Now, server: IpAddr) -> Option<Transition> {
        match self.state {
            State::Online => None,
            State::Suspect => {
                Some(self.enter(now, State::Online, format!("good answer from {server}")))
            }
            State::Isolated => {
                if now.mono.saturating_sub(self.since.mono) < self.dwell {
                    return None;
                }
                let text = format!("first good answer, from {server}");
                let t = self.enter(now, State::Recovering, text);
                self.good = vec![server];
                Some(
                    self.finish_recovery(now)
                        .map_or(t.clone(), |on| Transition { from: t.from, ..on }),
                )
            }
            State::Recovering => {
                if !self.good.contains(&server) {
                    self.good.push(server);
                }
                self.finish_recovery(now)
            }
        }
    }

    /// Online again once enough addresses gave good answers; a zone of one address needs one.
    fn finish_recovery(&mut self, now: Now) -> Option<Transition> {
        (self.good.len() >= self.needed(ONLINE_AFTER_SERVERS)).then(|| {
            let text = format!("good answers from {}", list(self.good.iter()));
            self.enter(now, State::Online, text)
        })
    }

    fn handle_failure(&mut self, now: Now) -> Option<Transition> {
        let in_a_row = self.failures.max(self.bogus);
        match self.state {
            State::Online => {
                let several = self.failing_now() >= self.needed(ONLINE_AFTER_SERVERS);
                (in_a_row >= SUSPECT_AFTER_FAILURES && several)
                    .then(|| self.enter(now, State::Suspect, self.failing_text()))
            }
            State::Suspect => {
                let failed = self.failed_since();
                (failed >= self.needed(ISOLATED_AFTER_SERVERS)).then(|| self.isolate(now))
            }
            State::Isolated => None,
            State::Recovering => (in_a_row >= SUSPECT_AFTER_FAILURES)
                .then(|| self.enter(now, State::Isolated, self.failing_text())),
        }
    }

    fn isolate(&mut self, now: Now) -> Transition {
        let flapped = self
            .last_isolated
            .is_some_and(|at| now.mono.saturating_sub(at) < FLAP_WINDOW);
        self.dwell = if flapped {
            (self.dwell * 2).min(DWELL_MAX)
        } else {
            DWELL_MIN
        };
        self.last_isolated = Some(now.mono);
        self.enter(now, State::Isolated, self.failing_text())
    }

    fn enter(&mut self, now: Now, to: State, evidence: String) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        // An isolation that a failed recovery interrupted is still the same outage for the clock on
        // the wall, but its dwell starts anew.
        self.since = now;
        self.failures = 0;
        self.bogus = 0;
        self.good.clear();
        self.probe.next_at = now.mono;
        self.probe.rounds = 0;
        Transition { from, to, evidence }
    }

    /// `count`, or as many as are known, but at least one.
    fn needed(&self, count: usize) -> usize {
        self.servers.len().clamp(1, count)
    }

    /// Addresses whose last evidence is a failure.
    fn failing(&self) -> impl Iterator<Item = (&IpAddr, &Seen)> {
        self.servers
            .iter()
            .filter_map(|(ip, seen)| Some((ip, seen.as_ref()?)))
            .filter(|(_, seen)| !self.is_good(seen.evidence) && seen.evidence != Evidence::Answered)
    }

    fn failing_now(&self) -> usize {
        self.failing().count()
    }

    /// Addresses that failed since the present state began.
    fn failed_since(&self) -> usize {
        self.failing()
            .filter(|(_, seen)| seen.at >= self.since.mono)
            .count()
    }

    fn failing_text(&self) -> String {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for (_, seen) in self.failing() {
            *kinds.entry(seen.evidence.to_string()).or_default() += 1;
        }
        let kinds: Vec<String> = kinds
            .iter()
            .map(|(kind, n)| format!("{n} {kind}"))
            .collect();
        format!("of {} addresses: {}", self.servers.len(), kinds.join(", "))
    }
}

fn list<'a>(servers: impl Iterator<Item = &'a IpAddr>) -> String {
    servers
        .map(IpAddr::to_string)
        .collect::<Vec<_>>()
        .join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use Evidence::*;
    use State::*;

    fn at(ms: u64) -> Now {
        Now::new(Duration::from_millis(ms), 1_000_000 + ms / 1000)
    }

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    /// A machine with `servers` addresses, brought into `state` at 0 ms.
    fn machine(state: State, signed: bool, servers: u8) -> Machine {
        let mut m = Machine::new(signed, at(0));
        m.add_servers(&(1..=servers).map(ip).collect::<Vec<_>>());
        if state != Online {
            m.enter(at(0), state, String::new());
        }
        if state == Recovering {
            m.good = vec![ip(1)];
        }
        m
    }

    /// Feeds (ms, server, evidence) rows; returns the states entered. Server 0 is a tick.
    fn run(m: &mut Machine, rows: &[(u64, u8, Evidence)]) -> Vec<State> {
        let mut entered = Vec::new();
        for &(ms, server, evidence) in rows {
            let t = match server {
                0 => m.handle_tick(at(ms)),
                n => m.handle_signal(at(ms), ip(n), evidence),
            };
            entered.extend(t.map(|t| t.to));
        }
        entered
    }

    // What, state, signed, addresses, evidence as (ms, server, what), states entered.
    type Row<'a> = (
        &'a str,
        State,
        bool,
        u8,
        &'a [(u64, u8, Evidence)],
        &'a [State],
    );

    // A row for each arrow of the diagram, and one for each arrow that must not be there.
    #[test]
    fn arrows() {
        #[rustfmt::skip]
        let rows: &[Row] = &[
            ("failures from two addresses", Online, true, 3, &[(1, 1, TimedOut), (2, 2, TimedOut), (3, 1, TimedOut)], &[Suspect]),
            ("one dead address is no suspicion", Online, true, 3, &[(1, 1, TimedOut), (2, 1, TimedOut), (3, 1, TimedOut), (4, 1, TimedOut)], &[]),
            ("the only address is", Online, true, 1, &[(1, 1, TimedOut), (2, 1, TimedOut), (3, 1, TimedOut)], &[Suspect]),
            ("an answer between calms", Online, true, 3, &[(1, 1, TimedOut), (2, 2, TimedOut), (3, 3, Answered), (4, 1, TimedOut)], &[]),
            ("bogus answers are not calmed by answers", Online, true, 2, &[(1, 1, Answered), (2, 1, Bogus), (3, 2, Answered), (4, 2, Bogus), (5, 1, Answered), (6, 1, Bogus)], &[Suspect]),
            ("online never jumps to isolated", Online, true, 1, &[(1, 1, Unreachable); 3], &[Suspect]),
            ("suspicion ends with a good answer", Suspect, true, 3, &[(1, 2, Validated)], &[Online]),
            ("but not with an unvalidated one", Suspect, true, 3, &[(1, 2, Answered)], &[]),
            ("unless the zone is unsigned", Suspect, false, 3, &[(1, 2, Answered)], &[Online]),
            ("all failed", Suspect, true, 3, &[(1, 1, TimedOut), (2, 2, Lame), (3, 3, Unreachable)], &[Isolated]),
            ("six of many failed", Suspect, true, 26, &[(1, 1, TimedOut), (2, 2, TimedOut), (3, 3, TimedOut), (4, 4, TimedOut), (5, 5, TimedOut), (6, 6, TimedOut)], &[Isolated]),
            ("one left is not all", Suspect, true, 3, &[(1, 1, TimedOut), (2, 2, TimedOut), (3, 1, TimedOut)], &[]),
            ("time decides, two failed", Suspect, true, 3, &[(1, 1, TimedOut), (2, 2, TimedOut), (3000, 0, TimedOut)], &[Isolated]),
            ("time decides, nothing heard", Suspect, true, 3, &[(3000, 0, TimedOut), (9000, 0, TimedOut)], &[Online]),
            ("isolated stays through failures", Isolated, true, 2, &[(1, 1, TimedOut), (2, 2, Bogus), (60_000, 0, TimedOut)], &[]),
            ("and through answers of a hijacker", Isolated, true, 2, &[(5000, 1, Answered), (5001, 2, Bogus), (5002, 2, Lame)], &[]),
            ("not before the shortest dwell", Isolated, true, 2, &[(500, 1, Validated)], &[]),
            ("a good answer after it", Isolated, true, 2, &[(1500, 1, Validated)], &[Recovering]),
            ("one address is all there is", Isolated, true, 1, &[(1500, 1, Validated)], &[Online]),
            ("two addresses bring it back", Recovering, true, 2, &[(10, 2, Validated)], &[Online]),
            ("one address twice does not", Recovering, true, 2, &[(10, 1, Validated), (20, 1, Validated)], &[]),
            ("failures throw it back", Recovering, true, 2, &[(10, 1, TimedOut), (20, 2, TimedOut), (30, 1, TimedOut)], &[Isolated]),
            ("no progress throws it back", Recovering, true, 2, &[(10_000, 0, TimedOut)], &[Isolated]),
            ("unsigned: matched answers from two", Recovering, false, 2, &[(10, 2, Answered)], &[Online]),
        ];
        for (what, state, signed, servers, signals, expected) in rows {
            let mut m = machine(*state, *signed, *servers);
            assert_eq!(run(&mut m, signals), *expected, "{what}");
        }
    }

    #[test]
    fn flapping_is_damped_and_the_damping_is_capped() {
        let mut m = machine(Online, true, 2);
        let mut ms = 0;
        let mut dwells = Vec::new();
        for _ in 0..8 {
            for n in [1, 2, 1, 1, 2] {
                ms += 1;
                m.handle_signal(at(ms), ip(n), TimedOut);
            }
            assert_eq!(m.state(), Isolated);
            dwells.push(m.dwell.as_secs());
            ms += 31_000;
            m.handle_signal(at(ms), ip(1), Validated);
            m.handle_signal(at(ms), ip(2), Validated);
            assert_eq!(m.state(), Online);
        }
        assert_eq!(dwells, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    // However long the outage was, every address is probed again within 30 s.
    #[test]
    fn every_address_is_probed_within_half_a_minute() {
        let mut m = machine(Isolated, true, 20);
        let mut now = 0;
        for _ in 0..1000 {
            m.poll_probes(at(now));
            now = m.wake_at(true).as_millis() as u64;
        }
        let mut seen = std::collections::BTreeSet::new();
        let end = now + 30_000;
        while now < end {
            seen.extend(m.poll_probes(at(now)));
            now = m.wake_at(true).as_millis() as u64;
        }
        assert_eq!(seen.len(), 20);
    }

    #[test]
    fn a_restart_resumes_the_outage_and_finds_the_way_back() {
        let mut m = Machine::resume_isolated(true, at(0), 77);
        m.add_servers(&[ip(1), ip(2)]);
        assert_eq!((m.state(), m.since().wall_s), (Isolated, 77));
        assert_eq!(m.poll_probes(at(0)), [ip(1), ip(2)]);
        assert_eq!(
            run(&mut m, &[(1100, 1, Validated), (1200, 2, Validated)]),
            [Recovering, Online]
        );
    }
}
