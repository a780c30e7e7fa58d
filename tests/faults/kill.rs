//! `kill -9` at every step of an activation.
//!
//! Each round starts the program on what the last one left, checks what it serves, lets one new version come, and kills it:
//! at a random moment of the start, at a random moment after the transfer, or when a step shows in the directory. Plain
//! `cargo test` plays a few rounds; `FAULT_KILLS=500` plays so many.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::daemon::{Daemon, PATIENCE, free_port, now, program};
use crate::primary::Primary;
use crate::served::{self, check, damaged, data_dir, files, serial_at, signer};

/// Rounds of plain `cargo test`.
const KILLS: u32 = 16;
const SEED: u64 = 4004;
/// Versions that the configuration keeps.
const GENERATIONS: usize = 3;

/// When the program is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// At any moment of a start that finds a primary that goes on at once.
    Start,
    /// At any moment after the transfer.
    Activation,
    /// When the half-written file appears.
    Temporary,
    /// When it has its name.
    Renamed,
    /// When the ledger's file has been written to after that.
    Ledger,
    /// When the new version is served.
    Served,
    /// When an old version's file has been removed.
    Pruned,
}

const MOMENTS: [Moment; 8] = [
    Moment::Start,
    Moment::Activation,
    Moment::Activation,
    Moment::Temporary,
    Moment::Renamed,
    Moment::Ledger,
    Moment::Served,
    Moment::Pruned,
];

/// What the campaign has learnt so far.
struct Campaign {
    primary: Primary,
    rng: SmallRng,
    /// The highest serial that was ever answered with.
    confirmed: Arc<AtomicU32>,
    /// From the start of the process to the mirror's first question.
    start: Duration,
    /// From the end of the transfer to the first answer from the new version.
    activation: Duration,
    /// By moment: how many kills, and at how many the version before and the new one was found afterwards.
    kills: BTreeMap<Moment, (u32, u32, u32)>,
    half_written: u32,
    /// Of the last kill.
    last: Option<Moment>,
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_version() {
    let kills = std::env::var("FAULT_KILLS")
        .ok()
        .map(|n| n.parse().unwrap());
    let mut campaign = Campaign {
        primary: Primary::start(signer(14)),
        rng: SmallRng::seed_from_u64(SEED),
        confirmed: Arc::default(),
        start: Duration::ZERO,
        activation: Duration::ZERO,
        kills: BTreeMap::new(),
        half_written: 0,
        last: None,
    };
    let mut directory = campaign.first();
    for round in 0..kills.unwrap_or(KILLS) {
        let moment = MOMENTS[round as usize % MOMENTS.len()];
        directory = campaign.round(directory, moment);
    }
    let daemon = campaign.begin(directory);
    campaign.found(&daemon);
    println!(
        "start {:?}, activation {:?}; half-written files found: {}; kills, then the version before, then the new one: {:?}",
        campaign.start, campaign.activation, campaign.half_written, campaign.kills
    );
}

impl Campaign {
    /// One undisturbed activation, to see how long one takes.
    fn first(&mut self) -> TempDir {
        let begun = now();
        let daemon = self.begin(tempfile::tempdir().unwrap());
        self.start = now() - begun;
        self.primary.go_on(1);
        let watch = Watch::begin(&daemon, &self.confirmed, &self.primary);
        self.wait_until(&daemon, |c| {
            c.primary.transferred().is_some() && c.confirmed() == c.primary.newest()
        });
        self.activation = now() - self.primary.transferred().unwrap();
        watch.end();
        served::kill(daemon)
    }

    /// Starts the program; its mirror waits for an answer of its primary.
    fn begin(&mut self, directory: TempDir) -> Daemon {
        self.primary.go_on(0);
        served::start_in(directory, &self.primary, "")
    }

    fn round(&mut self, directory: TempDir, moment: Moment) -> TempDir {
        self.kills.entry(moment).or_default().0 += 1;
        if moment == Moment::Start {
            self.last = Some(moment);
            return self.kill_at_start(directory);
        }
        let daemon = self.begin(directory);
        self.found(&daemon);
        self.last = Some(moment);
        let old = files(&data_dir(&daemon));
        self.primary.go_on(1);
        let watch = Watch::begin(&daemon, &self.confirmed, &self.primary);
        let pause = self.activation.mul_f64(self.rng.random_range(0.0..1.3));
        let jitter = Duration::from_micros(self.rng.random_range(0..1500));
        let target = data_dir(&daemon);
        let mut written: Option<SystemTime> = None;
        self.wait_until(&daemon, |c| {
            let arrived = c.primary.transferred();
            let is_served = c.confirmed() == c.primary.newest();
            // A step that was too short to be seen is over when all is.
            let is_over = is_served && arrived.is_some_and(|at| now() - at > 4 * c.activation);
            let new = || files(&target);
            let is_renamed = |all: &[String]| {
                all.iter()
                    .any(|f| f.ends_with(".image") && !old.contains(f))
            };
            is_over
                || match moment {
                    Moment::Start => true,
                    Moment::Activation => arrived.is_some_and(|at| now() - at > pause),
                    Moment::Temporary => new().iter().any(|f| f.ends_with(".tmp")),
                    Moment::Renamed => is_renamed(&new()),
                    Moment::Ledger => {
                        let at = fs::metadata(target.join("ledger/db"))
                            .and_then(|m| m.modified())
                            .ok();
                        match written {
                            None if is_renamed(&new()) => {
                                written = at;
                                false
                            }
                            None => false,
                            Some(_) => at != written,
                        }
                    }
                    Moment::Served => arrived.is_some() && is_served,
                    Moment::Pruned => old.iter().any(|f| !new().contains(f)),
                }
        });
        spin(jitter);
        let directory = served::kill(daemon);
        watch.end();
        self.half_written += u32::from(
            files(&directory.path().join("data"))
                .iter()
                .any(|f| f.ends_with(".tmp")),
        );
        directory
    }

    /// Kills it somewhere between its first instruction and the end of its first activation.
    fn kill_at_start(&mut self, directory: TempDir) -> TempDir {
        self.primary.go_on(1);
        let port = free_port();
        let config = served::config(&self.primary, "").replace("PORT", &port.to_string());
        let file = directory.path().join("config.toml");
        fs::write(&file, config).unwrap();
        let mut command = program(&file, &["run"]);
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let span = self.start + self.activation * 2;
        std::thread::sleep(span.mul_f64(self.rng.random_range(0.0..1.0)));
        child.kill().unwrap();
        child.wait().unwrap();
        directory
    }

    /// What a start after a kill serves.
    fn found(&mut self, daemon: &Daemon) {
        let data_dir = data_dir(daemon);
        assert_eq!(damaged(&data_dir), [""; 0], "{}", daemon.log());
        assert!(!daemon.log().contains("damaged"), "{}", daemon.log());
        let left = files(&data_dir);
        assert!(!left.iter().any(|f| f.ends_with(".tmp")), "{left:?}");
        let seen = check(daemon, &self.primary).expect("it serves");
        assert!(
            seen.serial >= self.confirmed(),
            "{} after {}\n{}",
            seen.serial,
            self.confirmed(),
            daemon.log()
        );
        let is_new = seen.serial == self.primary.newest();
        self.confirmed.store(seen.serial, Ordering::Relaxed);
        if let Some(counts) = self.last.and_then(|last| self.kills.get_mut(&last)) {
            match is_new {
                true => counts.2 += 1,
                false => counts.1 += 1,
            }
        }
        // Each kill before the clearing up leaves one more.
        assert!(left.len() <= GENERATIONS + MOMENTS.len(), "{left:?}");
    }

    fn confirmed(&self) -> u32 {
        self.confirmed.load(Ordering::Relaxed)
    }

    /// Waits, without a pause that a step could hide in.
    fn wait_until(&self, daemon: &Daemon, mut done: impl FnMut(&Campaign) -> bool) {
        let begun = now();
        while !done(self) {
            assert!(now() - begun < PATIENCE, "it hangs\n{}", daemon.log());
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

/// Asks for the serial all the time, and holds the answers against each other.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Watch {
    fn begin(daemon: &Daemon, confirmed: &Arc<AtomicU32>, primary: &Primary) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let (server, confirmed, primary) = (daemon.addr(), confirmed.clone(), primary.clone());
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Some(serial) = serial_at(server) else {
                    continue;
                };
                assert!(
                    primary.version(serial).is_some(),
                    "serial {serial} was never published"
                );
                let before = confirmed.fetch_max(serial, Ordering::Relaxed);
                assert!(serial >= before, "{serial} after {before}");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Watch { stop, thread }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

fn spin(time: Duration) {
    let begun: Instant = now();
    while now() - begun < time {
        std::hint::spin_loop();
    }
}
