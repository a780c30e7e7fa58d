//! Outages, from the first lost packet to the last trace of them: the whole engine (resolver, validator,
//! mirrors, ledger on disk, reachability, probes) in the simulated internet.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast::clock::Clock;
use holdfast::config::{AgeMax, Anchor, Anchors, Config, HttpsUrl, MirrorConfig, Source};
use holdfast::dns::{Ede, Question, Rcode, Rtype};
use holdfast::engine::{Engine, Outside};
use holdfast::metrics::Metrics;
use holdfast::query::SharedSettings;
use holdfast::reach::State;
use holdfast::resolve::task::Options;
use holdfast::resolve::{Resolution, Security};
use holdfast::store::StoreError;
use tokio::time::Instant;

use crate::net::Fault;
use crate::signer::{EXPIRATION, INCEPTION, Signer, name};
use crate::transfer::Transfers;
use crate::world::World;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// TTL of everything in these worlds, seconds: it runs out inside each outage.
const TTL: u32 = 40;

/// An engine, its disk and its internet.
pub struct Site {
    pub world: World,
    dir: tempfile::TempDir,
    config: Config,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    engine: Option<Engine>,
}

impl Site {
    /// A site that mirrors `zones`, each from a host of its own that no cut of the zone's servers touches,
    /// running and in contact.
    pub async fn start(zones: &[&str]) -> Site {
        Site::start_with(zones, |_| {}).await
    }

    /// The same with other settings.
    pub async fn start_with(zones: &[&str], change: impl FnOnce(&mut Config)) -> Site {
        let mut site = Site::new(zones);
        change(&mut site.config);
        site.boot().await;
        tokio::time::sleep(5 * SECOND).await;
        for zone in zones {
            let mirror = site.engine().mirrors.find(&name(zone)).unwrap();
            assert_eq!(mirror.last_error(), None);
            assert!(mirror.current().unwrap().last_contact_at().is_some());
        }
        site
    }

    fn new(zones: &[&str]) -> Site {
        let world = World::new(7, TTL);
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.server.data_dir = dir.path().to_owned();
        config.resolver.hints.servers = world.hints();
        config.resolver.anchors = Anchors {
            zones: vec![Anchor {
                owner: name("."),
                ds: world.anchors().into_iter().map(|r| r.rdata).collect(),
                dnskeys: Vec::new(),
            }],
        };
        for (i, zone) in zones.iter().enumerate() {
            let source = format!("198.51.9.{}", i + 1);
            world.net.serve(&source, world.image(zone), &["sources"]);
            config.mirrors.push(MirrorConfig {
                sources: vec![Source::Axfr {
                    addr: format!("{source}:53").parse().unwrap(),
                    tsig: None,
                    tls: None,
                }],
                ..MirrorConfig::new(name(zone))
            });
        }
        let start = Duration::from_secs(u64::from(INCEPTION)) + DAY;
        Site {
            world,
            dir,
            config,
            clock: Clock::starting_at(start),
            metrics: Arc::default(),
            engine: None,
        }
    }

    async fn boot(&mut self) {
        self.engine = Some(self.try_boot().await.unwrap());
    }

    async fn try_boot(&self) -> Result<Engine, StoreError> {
        let outside = Outside {
            upstream: self.world.net.clone(),
            connect: Arc::new(Transfers(self.world.net.clone())),
            clock: self.clock.clone(),
            metrics: self.metrics.clone(),
            settings: SharedSettings::default(),
            clock_is_unset: || false,
            seed: 5,
        };
        Engine::start(&self.config, outside).await
    }

    /// Ends the engine and starts another one on the same disk.
    pub async fn restart(&mut self) {
        drop(self.engine.take());
        // Exchanges under way hold on to their parts until they time out, and sled closes its file in a
        // thread of its own, in real time.
        tokio::time::sleep(15 * SECOND).await;
        for _ in 0..200 {
            match self.try_boot().await {
                Err(StoreError::InUse(_)) => std::thread::sleep(50 * MS),
                started => {
                    self.engine = Some(started.unwrap());
                    return;
                }
            }
        }
        panic!("the ledger was never closed");
    }

    /// Hands the engine over.
    pub fn take_engine(&mut self) -> Engine {
        self.engine.take().unwrap()
    }

    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn state(&self, zone: &str) -> State {
        self.engine().reach.state(&name(zone))
    }

    pub async fn ask(&self, text: &str, rtype: Rtype) -> (Resolution, Duration) {
        let start = Instant::now();
        let question = Question::new(name(text), rtype);
        let answer = self
            .engine()
            .resolver
            .resolve(question, Options::default())
            .await;
        (answer, start.elapsed())
    }

    /// Asks, and demands what the zones hold; AD where the chain is signed. Returns the time it took.
    pub async fn right(&self, text: &str, rtype: Rtype) -> Duration {
        let (answer, secure, took) = self.true_answer(text, rtype).await;
        let is_secure = answer.security == Security::Secure;
        assert_eq!(is_secure, secure, "{text}: {:?}", answer.security);
        took
    }

    /// Asks, and demands what the zones hold, however proven; with it, whether the chain is signed, and the time it took.
    pub async fn true_answer(&self, text: &str, rtype: Rtype) -> (Resolution, bool, Duration) {
        let (answer, took) = self.ask(text, rtype).await;
        let truth = self.world.truth(&Question::new(name(text), rtype));
        assert_eq!(answer.rcode, truth.rcode, "{text}: {:?}", answer.errors);
        let mut rows: Vec<_> = (answer.answer.iter())
            .flat_map(|set| {
                set.rdatas
                    .iter()
                    .map(|r| (set.name.clone(), set.rtype, r.clone()))
            })
            .collect();
        rows.sort();
        assert_eq!(rows, truth.answer, "{text}");
        (answer, truth.secure, took)
    }

    /// Names under both TLDs, signed and not, existing and not; `n` makes some that were never asked.
    async fn right_everywhere(&self, n: u64) -> Vec<Duration> {
        let fresh = format!("x{n}.any.shop.home.");
        let none = format!("none{n}.shop.home.");
        let nowhere = format!("nowhere{n}.");
        let mut took = Vec::new();
        for (text, rtype) in [
            ("www.shop.home.", Rtype::A),
            ("abroad.shop.home.", Rtype::A),
            ("www.blog.home.", Rtype::A),
            ("www.open.far.", Rtype::A),
            ("www.cross.home.", Rtype::A),
            ("www.site.plain.", Rtype::A),
            ("info.home.", Rtype::TXT),
            ("home.", Rtype::DS),
            (&fresh, Rtype::A),
            (&none, Rtype::A),
            (&nowhere, Rtype::A),
        ] {
            took.push(self.right(text, rtype).await);
        }
        took
    }

    /// Waits in virtual time until the zone is in this state.
    pub async fn until(&self, zone: &str, state: State, at_most: Duration) {
        let start = Instant::now();
        while self.state(zone) != state {
            assert!(
                start.elapsed() < at_most,
                "{zone} still {}",
                self.state(zone)
            );
            tokio::time::sleep(200 * MS).await;
        }
    }
}

pub fn codes(answer: &Resolution) -> Vec<u16> {
    answer.errors.iter().map(|e| e.code).collect()
}

// Issue: "warm and cold cut of the root". No query is lost, at the moment of the cut and after every TTL
// ran out, and none pays more than one hedge delay.
#[tokio::test(start_paused = true)]
async fn a_cut_of_all_roots_loses_nothing() {
    for (warm, fault) in [
        (true, Fault::Silent),
        (false, Fault::Silent),
        (true, Fault::Unreachable),
    ] {
        let site = Site::start(&["."]).await;
        if warm {
            site.right_everywhere(0).await;
        }
        site.world.net.set("roots", fault);
        let hedge_max = Duration::from_millis(site.config.resolver.hedge_max_ms);
        for n in 1..60 {
            let took = site.right_everywhere(n).await;
            let worst = took.into_iter().max().unwrap();
            // One hedge, and the walk below the root: three zones at 10 to 21 ms and their keys.
            assert!(worst < hedge_max + 400 * MS, "second {n}: {worst:?}");
            tokio::time::sleep(SECOND).await;
        }
        assert_eq!(site.state("."), State::Isolated);
        // There is no zone above the root whose DS set this could be.
        site.right(".", Rtype::DS).await;
        site.world.net.take_packets();
        for n in 60..160 {
            site.right_everywhere(n).await;
            tokio::time::sleep(SECOND).await;
        }
        let packets = site.world.net.take_packets();
        let to_roots = packets
            .iter()
            .filter(|p| p.host.to_string().starts_with("198.51.0."))
            .count();
        // Probes (2 every second, then 3 in 4 s, over two transports) and one exploring query a second.
        assert!(to_roots < 900, "{to_roots} packets to dead roots in 100 s");
    }
}

#[tokio::test(start_paused = true)]
async fn the_way_back_is_found_and_new_data_is_served() {
    let mut site = Site::start(&["."]).await;
    site.right_everywhere(0).await;
    site.world.net.set("roots", Fault::Silent);
    for n in 1..30 {
        site.right_everywhere(n).await;
        tokio::time::sleep(SECOND).await;
    }
    site.until(".", State::Isolated, 30 * SECOND).await;
    // Meanwhile the root changes; the source is cut off too.
    site.world.net.set("sources", Fault::Silent);
    site.world.republish(".", 2, |lines, _| {
        lines.push_str("new. 40 TXT published in the dark")
    });
    site.world
        .net
        .serve("198.51.9.1", site.world.image("."), &["sources"]);
    tokio::time::sleep(600 * SECOND).await;
    assert_eq!(site.state("."), State::Isolated);

    site.world.net.set("roots", Fault::None);
    site.world.net.set("sources", Fault::None);
    site.until(".", State::Online, 30 * SECOND).await;
    tokio::time::sleep(10 * SECOND).await;
    site.right("new.", Rtype::TXT).await;
    let mirror = site.engine().mirrors.find(&name(".")).unwrap();
    assert_eq!(mirror.current().unwrap().serial(), 2);
}

// What the servers denied before (RFC 8198) does not hide what a newer version holds.
#[tokio::test(start_paused = true)]
async fn a_new_version_is_not_hidden_by_what_the_old_one_denied() {
    let mut site = Site::start(&["."]).await;
    tokio::time::sleep(5 * SECOND).await;
    site.right("nex.", Rtype::A).await;
    let made = |site: &Site| site.metrics.answers_aggressive_total.value();
    let before = made(&site);
    site.right("nexx.", Rtype::TXT).await;
    assert_eq!(made(&site), before + 1);
    site.world
        .republish(".", 2, |lines, _| lines.push_str("nexx. 40 TXT new"));
    site.world
        .net
        .serve("198.51.9.1", site.world.image("."), &["sources"]);
    let mirror = site.engine().mirrors.find(&name(".")).unwrap().clone();
    mirror.refresh().await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(mirror.current().unwrap().serial(), 2);
    site.right("nexx.", Rtype::TXT).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_of_a_mirrored_tld_loses_nothing() {
    let site = Site::start(&[".", "home."]).await;
    site.right_everywhere(0).await;
    site.world.net.set("home", Fault::Silent);
    for n in 1..90 {
        site.right_everywhere(n).await;
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(
        (site.state("."), site.state("home.")),
        (State::Online, State::Isolated)
    );
    site.world.net.set("home", Fault::None);
    site.until("home.", State::Online, 30 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_inside_the_cut_goes_on_at_once() {
    let mut site = Site::start(&["."]).await;
    site.world.net.set("roots", Fault::Silent);
    site.world.net.set("sources", Fault::Silent);
    for n in 0..60 {
        site.right_everywhere(n).await;
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(site.state("."), State::Isolated);
    site.restart().await;
    let resumed = site.engine().reach.zone(&name(".")).unwrap();
    assert_eq!(resumed.state, State::Isolated);
    assert!(resumed.evidence.contains("timed out"), "{resumed:?}");
    // From the first question on: no hedge is paid.
    let took = site.right("www.shop.home.", Rtype::A).await;
    assert!(took < 300 * MS, "{took:?}");
    site.right_everywhere(100).await;
    site.world.net.set("roots", Fault::None);
    site.until(".", State::Online, 30 * SECOND).await;
}

// A first boot inside the cut: nothing on disk but the bundled snapshot.
#[tokio::test(start_paused = true)]
async fn a_snapshot_carries_a_first_boot_inside_the_cut() {
    let mut site = Site::new(&["."]);
    let snapshot = site.dir.path().join("root.zone");
    write_zone(&snapshot, &site.world);
    site.config.mirrors[0].bootstrap = Some(snapshot);
    site.world.net.set("roots", Fault::Silent);
    site.world.net.set("sources", Fault::Silent);
    site.boot().await;
    let took = site.right("www.shop.home.", Rtype::A).await;
    assert!(took < 10 * SECOND, "{took:?}");
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(site.state("."), State::Isolated);
    site.right_everywhere(1).await;
    // Back: the network's version takes its place.
    site.world.net.set("roots", Fault::None);
    site.world.net.set("sources", Fault::None);
    site.until(".", State::Online, 30 * SECOND).await;
    tokio::time::sleep(60 * SECOND).await;
    let mirror = site.engine().mirrors.find(&name(".")).unwrap();
    assert!(!mirror.current().unwrap().is_bootstrap());
}

fn write_zone(path: &Path, world: &World) {
    let lines: Vec<String> = (world.records(".", 1).iter())
        .map(|r| {
            let hex: String = r.rdata.iter().map(|b| format!("{b:02x}")).collect();
            format!(
                "{} {} IN TYPE{} \\# {} {hex}",
                r.name,
                r.ttl,
                r.rtype.0,
                r.rdata.len()
            )
        })
        .collect();
    std::fs::write(path, lines.join("\n") + "\n").unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_silent_root_of_three_costs_nobody_an_answer() {
    let site = Site::start(&["."]).await;
    site.world.net.set("198.51.0.2", Fault::Silent);
    let mut slow = 0;
    for n in 0..200 {
        let took = site.right(&format!("nowhere{n}."), Rtype::A).await;
        slow += usize::from(took > 60 * MS);
        tokio::time::sleep(SECOND / 5).await;
    }
    assert_eq!(site.state("."), State::Online);
    assert!(slow <= 6, "{slow} of 200 waited for a silent root");
}

#[tokio::test(start_paused = true)]
async fn flapping_three_seconds_of_eight_loses_nothing() {
    let site = Site::start(&["."]).await;
    for round in 0..20 {
        site.world.net.set("roots", Fault::Silent);
        for n in 0..3 {
            site.right_everywhere(round * 10 + n).await;
            tokio::time::sleep(SECOND).await;
        }
        site.world.net.set("roots", Fault::None);
        for n in 3..8 {
            site.right_everywhere(round * 10 + n).await;
            tokio::time::sleep(SECOND).await;
        }
    }
    site.until(".", State::Online, 60 * SECOND).await;
}

// 30 Jan 2024: the servers are up, the signatures are wrong.
#[tokio::test(start_paused = true)]
async fn bogus_servers_are_no_better_than_dead_ones() {
    for zone in ["roots", "home"] {
        let site = Site::start(&[".", "home."]).await;
        site.right_everywhere(0).await;
        for fault in [
            Fault::Bogus,
            Fault::Stripped,
            Fault::Hijack([10, 6, 6, 6].into()),
        ] {
            site.world.net.set(zone, fault);
            for n in 0..60 {
                site.right_everywhere(n).await;
                tokio::time::sleep(SECOND).await;
            }
        }
        site.world.net.set(zone, Fault::None);
        let apex = if zone == "roots" { "." } else { "home." };
        site.until(apex, State::Online, 60 * SECOND).await;
    }
}

// The same day, seen from a mirror: the registry's bad version is on its servers and at the source alike. It is refused, live
// answers are checked against the copy, and the mended version is taken.
#[tokio::test(start_paused = true)]
async fn a_bad_version_everywhere_costs_no_answer() {
    let mut site = Site::start(&[".", "home."]).await;
    site.right_everywhere(0).await;
    let mut keys = Signer::new("home.", 1000).keys;
    let mut publish = |site: &mut Site, serial: u32| {
        // Nobody above knows the keys that are swapped in: no signature leads anywhere.
        let swap = |_: &mut String, signer: Option<&mut Signer>| {
            std::mem::swap(&mut signer.unwrap().keys, &mut keys);
        };
        site.world.republish("home.", serial, swap);
        let image = site.world.image("home.");
        site.world.net.serve("198.51.9.2", image, &["sources"]);
    };
    publish(&mut site, 2);
    let mirror = site.engine().mirrors.find(&name("home.")).unwrap().clone();
    let error = mirror.refresh().await.unwrap_err();
    assert!(error.contains("serial 2 refused"), "{error}");
    for n in 0..60 {
        for text in ["www.shop.home.", "info.home.", &format!("none{n}.home.")] {
            let (answer, _) = site.ask(text, Rtype::A).await;
            assert!(answer.rcode.is_answer(), "{text}: {:?}", answer.errors);
            assert_eq!(answer.security, Security::Secure, "{text}");
        }
        tokio::time::sleep(SECOND).await;
    }
    assert_eq!(mirror.current().unwrap().serial(), 1);
    publish(&mut site, 3);
    mirror.refresh().await.unwrap();
    assert_eq!(mirror.current().unwrap().serial(), 3);
    site.until("home.", State::Online, 60 * SECOND).await;
    site.right_everywhere(100).await;
}

// A source that is named is found through holdfast itself; while nobody knows its address, that is an error after a while.
#[tokio::test(start_paused = true)]
async fn a_web_source_is_looked_up_here() {
    let mut site = Site::new(&["."]);
    let url = HttpsUrl::parse("https://www.shop.home/root.zone").unwrap();
    site.config.mirrors[0].sources = vec![Source::Https { url, ca: None }];
    site.boot().await;
    let mirror = site.engine().mirrors.find(&name(".")).unwrap().clone();
    // The host is found, and nobody there speaks TLS.
    let error = mirror.refresh().await.unwrap_err();
    assert!(
        error.contains("connect: ") || error.contains("certificates: "),
        "{error}"
    );
    site.world.net.set("roots", Fault::Silent);
    site.world.net.set("home", Fault::Silent);
    site.engine().resolver.flush(&name("."), true);
    let before = Instant::now();
    let error = mirror.refresh().await.unwrap_err();
    assert!(
        error.contains("address of www.shop.home: ") || error.contains("certificates: "),
        "{error}"
    );
    assert!(before.elapsed() < 15 * SECOND, "{:?}", before.elapsed());
}

// Past `age_max` a copy answers nothing, though nobody else does.
#[tokio::test(start_paused = true)]
async fn a_copy_that_is_too_old_answers_no_more() {
    let mut site = Site::new(&["."]);
    site.config.mirrors[0].age_max = AgeMax::Seconds(3600);
    site.boot().await;
    tokio::time::sleep(5 * SECOND).await;
    site.world.net.set("roots", Fault::Silent);
    site.world.net.set("sources", Fault::Silent);
    site.until(".", State::Isolated, 120 * SECOND).await;
    site.right("nowhere.", Rtype::A).await;
    tokio::time::sleep(3600 * SECOND).await;
    let (answer, _) = site.ask("nowhere2.", Rtype::A).await;
    assert_eq!(answer.rcode, Rcode::SERVFAIL);
    assert_eq!(codes(&answer), [Ede::NO_REACHABLE_AUTHORITY]);
}

// Without probes, the questions of clients find the cut and the way back.
#[tokio::test(start_paused = true)]
async fn without_probes_clients_find_the_way_back() {
    let mut site = Site::new(&["."]);
    site.config.reachability.probe = false;
    // Each question is to need the root's servers, not what they denied before.
    site.config.resolver.aggressive_nsec = false;
    site.boot().await;
    tokio::time::sleep(5 * SECOND).await;
    let mut n = 0;
    for (fault, state) in [
        (Fault::Silent, State::Isolated),
        (Fault::None, State::Online),
    ] {
        site.world.net.set("roots", fault);
        let end = n + 60;
        while site.state(".") != state {
            assert!(n < end, "never {state}");
            site.right(&format!("nowhere{n}."), Rtype::A).await;
            tokio::time::sleep(SECOND).await;
            n += 1;
        }
    }
}

// A hijacker or a lame server answers where the roots stood: that is no recovery.
#[tokio::test(start_paused = true)]
async fn false_recovery_ends_no_isolation() {
    let site = Site::start(&["."]).await;
    site.world.net.set("roots", Fault::Silent);
    for n in 0..30 {
        site.right_everywhere(n).await;
        tokio::time::sleep(SECOND).await;
    }
    site.until(".", State::Isolated, 30 * SECOND).await;
    for fault in [
        Fault::Hijack([10, 6, 6, 6].into()),
        Fault::Lame,
        Fault::Bogus,
        Fault::Refused,
    ] {
        site.world.net.set("roots", fault);
        for n in 100..160 {
            site.right_everywhere(n).await;
            tokio::time::sleep(SECOND).await;
            assert_eq!(site.state("."), State::Isolated, "{fault:?}");
        }
    }
}

// Signatures run out inside isolation: accepted as of their verification, marked as such, never for what
// hangs below and is not signed now.
#[tokio::test(start_paused = true)]
async fn signatures_that_run_out_in_isolation_are_accepted_as_of() {
    let mut site = Site::start(&["."]).await;
    site.right_everywhere(0).await;
    site.world.net.set("roots", Fault::Silent);
    site.world.net.set("sources", Fault::Silent);
    site.until(".", State::Isolated, 120 * SECOND).await;
    // The rest of the world goes on signing.
    let later = u64::from(EXPIRATION) + 10 * 86_400;
    for zone in ["home.", "far.", "shop.home.", "cross.home.", "host.far."] {
        site.world.republish(zone, 2, |_, signer| {
            let signer = signer.unwrap();
            signer.inception = EXPIRATION - 86_400;
            signer.expiration = (later + 30 * 86_400) as u32;
        });
    }
    site.clock
        .set_wall(Duration::from_secs(u64::from(EXPIRATION) + 86_400));
    tokio::time::sleep(60 * SECOND).await;
    let (answer, _) = site.ask("www.shop.home.", Rtype::A).await;
    assert_eq!(
        (answer.rcode, &answer.security),
        (Rcode::NOERROR, &Security::SecureAsOf)
    );
    assert!(
        codes(&answer).contains(&Ede::STALE_ANSWER),
        "{:?}",
        answer.errors
    );
    assert!(
        codes(&answer).contains(&Ede::SIGNATURE_EXPIRED),
        "{:?}",
        answer.errors
    );
    assert!(answer.answer.iter().all(|set| set.ttl <= 30));

    // What is forged below stays forged.
    for fault in [
        Fault::Bogus,
        Fault::Stripped,
        Fault::Hijack([10, 6, 6, 6].into()),
    ] {
        site.world.net.set("domestic", fault);
        tokio::time::sleep(60 * SECOND).await;
        let (answer, _) = site.ask("www.shop.home.", Rtype::A).await;
        assert_eq!(
            answer.rcode,
            Rcode::SERVFAIL,
            "{fault:?}: {:?}",
            answer.answer
        );
    }
    site.world.net.set("domestic", Fault::None);

    // Past age_max the copy is no more used, and the reason is said.
    site.clock
        .set_wall(Duration::from_secs(u64::from(INCEPTION) + 95 * 86_400));
    tokio::time::sleep(60 * SECOND).await;
    let (answer, _) = site.ask("www.shop.home.", Rtype::A).await;
    assert_eq!(answer.rcode, Rcode::SERVFAIL);
    assert!(!answer.errors.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_as_of_is_forgotten_at_recovery() {
    let mut site = Site::start(&["."]).await;
    site.world.net.set("roots", Fault::Silent);
    site.world.net.set("sources", Fault::Silent);
    site.until(".", State::Isolated, 120 * SECOND).await;
    site.clock
        .set_wall(Duration::from_secs(u64::from(EXPIRATION) + 3600));
    tokio::time::sleep(60 * SECOND).await;
    let resign = |site: &mut Site, zone: &str| {
        site.world.republish(zone, 2, |_, signer| {
            let signer = signer.unwrap();
            signer.inception = EXPIRATION - 86_400;
            signer.expiration = EXPIRATION + 30 * 86_400;
        });
    };
    for zone in ["home.", "shop.home.", "."] {
        resign(&mut site, zone);
    }
    site.world
        .net
        .serve("198.51.9.1", site.world.image("."), &["sources"]);
    let (answer, _) = site.ask("www.shop.home.", Rtype::A).await;
    assert_eq!(answer.security, Security::SecureAsOf);
    site.world.net.set("roots", Fault::None);
    site.world.net.set("sources", Fault::None);
    site.until(".", State::Online, 30 * SECOND).await;
    tokio::time::sleep(SECOND).await;
    // Not after the 30 s of their TTL: at once.
    site.right("www.shop.home.", Rtype::A).await;
}
