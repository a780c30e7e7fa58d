//! Rolls of the root's key over months (RFC 5011): the whole engine, its ledger on disk, restarts in between, and
//! attackers who show keys of their own.

use std::sync::Arc;
use std::time::Duration;

use holdfast::clock::Clock;
use holdfast::config::{Anchor, Anchors, Config, MirrorConfig, Source};
use holdfast::dns::{Question, Rtype};
use holdfast::engine::{Engine, Outside};
use holdfast::metrics::Metrics;
use holdfast::query::SharedSettings;
use holdfast::resolve::Security;
use holdfast::resolve::task::Options;
use holdfast::store::{Durability, StoreError};

use crate::signer::{INCEPTION, KSK, Key, ZSK, name};
use crate::transfer::Transfers;
use crate::world::World;

const HOUR: Duration = Duration::from_secs(3600);
const DAY_S: u32 = 86_400;
/// TTL of everything, the DNSKEY sets included, seconds: the keys are looked at twice a day.
const TTL_S: u32 = DAY_S;

/// A resolver without mirrors in a world whose root rolls its key.
struct Roll {
    world: World,
    dir: tempfile::TempDir,
    config: Config,
    clock: Clock,
    metrics: Arc<Metrics>,
    engine: Option<Engine>,
    clock_is_unset: fn() -> bool,
    day: u32,
}

fn key(n: u64) -> Key {
    Key::ed25519(n, KSK)
}

/// The root's keys, with its zone signing key.
fn keys(list: Vec<Key>) -> Vec<Key> {
    list.into_iter().chain([Key::ed25519(1, ZSK)]).collect()
}

impl Roll {
    async fn start() -> Roll {
        let mut roll = Roll::new();
        roll.engine = Some(roll.boot().await.unwrap());
        tokio::time::sleep(HOUR).await;
        roll
    }

    fn new() -> Roll {
        let world = World::new(11, TTL_S);
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.data_dir = dir.path().to_owned();
        config.resolver.hints.servers = world.hints();
        config.resolver.anchors = Anchors {
            zones: vec![Anchor {
                owner: name("."),
                ds: vec![key(1).ds(&name("."))],
                dnskeys: Vec::new(),
            }],
        };
        Roll {
            world,
            dir,
            config,
            clock: Clock::starting_at(Duration::from_secs(u64::from(INCEPTION) + 43_200)),
            metrics: Arc::default(),
            engine: None,
            clock_is_unset: || false,
            day: 0,
        }
    }

    async fn boot(&self) -> Result<Engine, StoreError> {
        let outside = Outside {
            upstream: self.world.net.clone(),
            connect: Arc::new(Transfers(self.world.net.clone())),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            settings: SharedSettings::default(),
            clock_is_unset: self.clock_is_unset,
            seed: 5,
        };
        Engine::start(&self.config, outside).await
    }

    async fn restart(&mut self) {
        drop(self.engine.take());
        tokio::time::sleep(Duration::from_secs(15)).await;
        for _ in 0..200 {
            match self.boot().await {
                // sled closes its file in a thread of its own, in real time.
                Err(StoreError::InUse(_)) => std::thread::sleep(Duration::from_millis(50)),
                started => {
                    self.engine = Some(started.unwrap());
                    return;
                }
            }
        }
        panic!("the ledger of {:?} was never closed", self.dir);
    }

    /// Days on which the root has these keys; every zone is signed anew each day.
    async fn days(&mut self, days: u32, root: impl Fn() -> Vec<Key>) {
        for _ in 0..days {
            self.day += 1;
            let inception = INCEPTION + self.day * DAY_S;
            for zone in [".", "home.", "far.", "shop.home."] {
                self.world.republish(zone, self.day + 1, |_, signer| {
                    let signer = signer.unwrap();
                    (signer.inception, signer.expiration) = (inception, inception + 14 * DAY_S);
                    if zone == "." {
                        signer.keys = root();
                    }
                });
            }
            tokio::time::sleep(24 * HOUR).await;
        }
    }

    /// Tag and state of each key of the root.
    fn states(&self) -> Vec<(u16, String)> {
        use holdfast::dns::Dnskey;
        let points = self.engine.as_ref().unwrap().trust_points.load();
        let keys = points[0].keys.iter();
        keys.map(|k| {
            (
                Dnskey::parse(&k.rdata).unwrap().key_tag(),
                k.state.to_string(),
            )
        })
        .collect()
    }

    fn check(&self, expected: &[(&Key, &str)]) {
        let expected: Vec<_> = (expected.iter())
            .map(|(key, state)| (key.tag(), state.to_string()))
            .collect();
        assert_eq!(self.states(), expected, "day {}", self.day);
    }

    /// The standing of an answer that was never asked for before, past every cache.
    async fn standing(&self) -> Security {
        let resolver = &self.engine.as_ref().unwrap().resolver;
        resolver.flush(&name("."), true);
        let fresh = format!("x{}.any.shop.home.", self.day);
        let question = Question::new(name(&fresh), Rtype::A);
        resolver
            .resolve(question, Options::default())
            .await
            .security
    }

    async fn validates(&self) {
        assert_eq!(self.standing().await, Security::Secure, "day {}", self.day);
    }
}

#[tokio::test(start_paused = true)]
async fn a_roll_over_months_is_followed_through_restarts() {
    let mut roll = Roll::start().await;
    let (old, new) = (key(1), key(2));
    roll.check(&[(&old, "valid")]);
    roll.days(3, || keys(vec![key(1)])).await;
    roll.validates().await;
    roll.days(15, || keys(vec![key(1), key(2)])).await;
    roll.check(&[(&old, "valid"), (&new, "add-pending")]);
    roll.restart().await;
    roll.days(14, || keys(vec![key(1), key(2)])).await;
    // RFC 5011 section 2.4.1: not before 30 days.
    roll.check(&[(&old, "valid"), (&new, "add-pending")]);
    roll.days(3, || keys(vec![key(1), key(2)])).await;
    roll.check(&[(&old, "valid"), (&new, "valid")]);
    roll.validates().await;
    // RFC 5011 section 2.1: revoked by its own signature, at once.
    roll.days(5, || keys(vec![key(1).revoked(), key(2)])).await;
    roll.check(&[(&old, "revoked"), (&new, "valid")]);
    roll.validates().await;
    roll.days(5, || keys(vec![key(2)])).await;
    roll.validates().await;
    roll.restart().await;
    roll.check(&[(&old, "revoked"), (&new, "valid")]);
    roll.validates().await;
    roll.days(25, || keys(vec![key(2)])).await;
    roll.check(&[(&old, "removed"), (&new, "valid")]);
    roll.validates().await;
    // The retired key is stolen: it is worth nothing.
    roll.days(2, || keys(vec![key(1)])).await;
    assert!(matches!(roll.standing().await, Security::Bogus(_)));
    assert_eq!(roll.metrics.trust_anchor_keys_valid.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_only_vouches_for_itself_is_never_trusted() {
    let mut roll = Roll::start().await;
    let old = key(1);
    roll.days(40, || keys(vec![key(666)])).await;
    roll.check(&[(&old, "valid")]);
    assert!(matches!(roll.standing().await, Security::Bogus(_)));
    assert!(roll.metrics.trust_anchor_refresh_failures_total.value() >= 40);
    let points = roll.engine.as_ref().unwrap().trust_points.load_full();
    let error = points[0].error.clone().unwrap();
    assert!(error.contains("no trust anchor has signed"), "{error}");
    roll.days(1, || keys(vec![key(1)])).await;
    roll.check(&[(&old, "valid")]);
    roll.validates().await;
}

// Who has the old key for less than 30 days cannot make a key of his own an anchor.
#[tokio::test(start_paused = true)]
async fn a_key_shown_for_less_than_thirty_days_is_never_trusted() {
    let mut roll = Roll::start().await;
    let (old, theirs) = (key(1), key(666));
    roll.days(29, || keys(vec![key(1), key(666)])).await;
    roll.check(&[(&old, "valid"), (&theirs, "add-pending")]);
    // The zone is its owner's again for a day.
    roll.days(1, || keys(vec![key(1)])).await;
    roll.check(&[(&old, "valid")]);
    roll.days(29, || keys(vec![key(1), key(666)])).await;
    roll.check(&[(&old, "valid"), (&theirs, "add-pending")]);
    roll.days(10, || keys(vec![key(666)])).await;
    roll.check(&[(&old, "valid"), (&theirs, "add-pending")]);
    assert!(matches!(roll.standing().await, Security::Bogus(_)));
}

// A machine without a battery: 1970, and nothing on disk. A copy of the root, signed down from the anchors, shows
// what time it is not before; but only where the kernel says that nobody has set the clock.
#[tokio::test(start_paused = true)]
async fn a_copy_of_the_root_moves_an_unset_clock() {
    for (clock_is_unset, moves) in [
        ((|| true) as fn() -> bool, true),
        ((|| false) as fn() -> bool, false),
    ] {
        let mut roll = Roll::new();
        let source = roll.world.image(".");
        roll.world.net.serve("198.51.9.1", source, &["sources"]);
        roll.config.mirrors.push(MirrorConfig {
            sources: vec![Source::Axfr {
                addr: "198.51.9.1:53".parse().unwrap(),
                tsig: None,
                tls: None,
            }],
            ..MirrorConfig::new(name("."))
        });
        roll.clock = Clock::starting_at(Duration::from_secs(77));
        roll.clock_is_unset = clock_is_unset;
        roll.engine = Some(roll.boot().await.unwrap());
        tokio::time::sleep(Duration::from_secs(60)).await;
        let mirror = roll
            .engine
            .as_ref()
            .unwrap()
            .mirrors
            .find(&name("."))
            .unwrap();
        assert_eq!(
            mirror.current().is_some(),
            moves,
            "{:?}",
            mirror.last_error()
        );
        assert_eq!(roll.clock.now().wall_s >= INCEPTION.into(), moves);
        assert_eq!(roll.metrics.clock_steps_total.value(), u64::from(moves));
        assert_eq!(roll.standing().await == Security::Secure, moves);
        if !moves {
            continue;
        }
        // After a restart the floor holds from the first moment on.
        roll.engine
            .as_ref()
            .unwrap()
            .timekeeper
            .as_ref()
            .unwrap()
            .persist(Durability::Synced);
        roll.clock = Clock::starting_at(Duration::from_secs(88));
        roll.clock_is_unset = || false;
        roll.restart().await;
        assert!(roll.clock.now().wall_s >= INCEPTION.into() && roll.clock.is_held());
        roll.validates().await;
    }
}
