//! The short way beside the general one: the same octets, the same counts, and an end to everything that is kept.

mod limits;
mod random;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::config;
use crate::dns::edns::option;
use crate::dns::message::MESSAGE_LEN_MAX;
use crate::dns::{Edns, Message, RrSet};
use crate::metrics::Metrics;
use crate::query::acl::AccessList;
use crate::query::cookie::Cookies;
use crate::query::own::{OwnZone, OwnZones};
use crate::query::rate_limit::RateLimits;
use crate::query::special::Special;
use crate::query::{BoxFuture, Options, Resolve, SharedSettings};
use crate::resolve::{LocalTrust, MirrorNote, Sources};

/// Has everything at hand, with TTLs that run from the beginning of its clock.
struct AtHand {
    clock: Clock,
    standing: AtomicU64,
    rehearsing: std::sync::atomic::AtomicBool,
    asked: AtomicU64,
    again: Mutex<Vec<(Question, Rcode, u32)>>,
    looked: AtomicU64,
}

impl Resolve for AtHand {
    fn cached(&self, question: &Question, _: Options) -> Option<Resolution> {
        self.looked.fetch_add(1, Ordering::Relaxed);
        let passed_s = self.clock.now().mono.as_secs() as u32;
        let first = question
            .name
            .labels()
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let mut set = RrSet::single(
            question.name.clone(),
            Rtype::A,
            600 - passed_s,
            [192, 0, 2, 7].into(),
        );
        set.sigs.push(vec![0; 20].into());
        let soa = RrSet::single(
            "example.".parse().unwrap(),
            Rtype::SOA,
            900 - passed_s,
            [&[0, 0][..], &[1; 20]].concat().into(),
        );
        let mut resolution = Resolution {
            rcode: Rcode::NOERROR,
            answer: vec![set],
            authority: vec![soa],
            additional: Vec::new(),
            security: Security::Secure,
            errors: Vec::new(),
            sources: Sources::default(),
        };
        match &first[..] {
            b"no" => {
                resolution.rcode = Rcode::NXDOMAIN;
                resolution.answer.clear();
            }
            b"copy" => {
                (resolution.answer[0].ttl, resolution.authority[0].ttl) = (600, 900);
                resolution.sources.mirrors.push(MirrorNote {
                    zone: Name::root(),
                    serial: 1,
                    age_s: 0,
                    trust: LocalTrust::Secure,
                });
            }
            b"stale" => resolution.sources.stale = true,
            b"as-of" => resolution.security = Security::SecureAsOf,
            b"failed" => resolution.rcode = Rcode::SERVFAIL,
            b"long" => {
                let sets = (0..200).map(|n| {
                    RrSet::single(
                        question.name.clone(),
                        Rtype(65_280 + n),
                        600 - passed_s,
                        vec![n as u8; 20].into(),
                    )
                });
                resolution.answer.extend(sets);
            }
            b"short" => resolution.answer[0].ttl = 1,
            _ => {}
        }
        Some(resolution)
    }

    fn resolve(&self, _: Question, _: Options) -> BoxFuture<'_, Resolution> {
        unreachable!("everything is at hand")
    }

    fn standing(&self) -> Option<u64> {
        (!self.rehearsing.load(Ordering::Relaxed)).then(|| self.standing.load(Ordering::Relaxed))
    }

    fn count_asked(&self, times: u64) {
        self.asked.fetch_add(times, Ordering::Relaxed);
    }

    fn count_again(&self, question: &Question, rcode: Rcode, times: u32) {
        self.again
            .lock()
            .unwrap()
            .push((question.clone(), rcode, times));
    }
}

struct Setup {
    pipeline: Pipeline,
    settings: SharedSettings,
    resolver: Arc<AtHand>,
    metrics: Arc<Metrics>,
    kept: ReadyAnswers,
}

fn own_zone() -> (Name, OwnZone) {
    let apex: Name = "lab.test.".parse().unwrap();
    // Not signed, but with a chain: what is proven is not looked at here.
    let text = "@ 300 SOA ns h 1 1 1 1 60\n@ 300 NS ns\nns 300 A 192.0.2.1\nwww 300 A 192.0.2.2\n\
        sub 300 NS ns.sub\nsub 300 NS ns.deep.sub\nns.sub 300 A 192.0.2.3\nns.deep.sub 300 A 192.0.2.4\nchild 300 NS ns\n\
        @ 60 NSEC child SOA NS NSEC\nchild 60 NSEC ns NS NSEC\nns 60 NSEC sub A NSEC\nsub 60 NSEC www NS NSEC\nx.y 300 A 192.0.2.5\n\
        x.y 60 NSEC @ A NSEC\nwww 60 NSEC x.y A NSEC\n";
    let mut builder = crate::zone::Builder::new(apex.clone());
    for record in crate::zone::parse::records(text.as_bytes(), "test", Some(&apex)) {
        builder.add(record.unwrap()).unwrap();
    }
    (apex, OwnZone::Loaded(Arc::new(builder.finish().unwrap())))
}

/// Among names that the zone above denies.
fn inner_zone() -> (Name, OwnZone) {
    let apex: Name = "inner.lab.test.".parse().unwrap();
    let text = "@ 300 SOA ns h 1 1 1 1 60\n@ 300 NS ns\nns 300 A 192.0.2.1\n";
    let mut builder = crate::zone::Builder::new(apex.clone());
    for record in crate::zone::parse::records(text.as_bytes(), "test", Some(&apex)) {
        builder.add(record.unwrap()).unwrap();
    }
    (apex, OwnZone::Loaded(Arc::new(builder.finish().unwrap())))
}

fn setup_with(limits: config::Limits) -> Setup {
    let access = config::Access {
        allow: vec!["192.0.2.0/24".parse().unwrap()],
        allow_own_zones: vec![
            "192.0.2.0/25".parse().unwrap(),
            "198.51.100.0/24".parse().unwrap(),
        ],
        ..config::Access::default()
    };
    let settings = Settings {
        access: AccessList::new(&access),
        zones: OwnZones::new([own_zone(), inner_zone()]),
        special: Special::new([&"lab.test.".parse().unwrap()]),
        udp_size_max: 1232,
        ..Settings::default()
    };
    let settings = Arc::new(arc_swap::ArcSwap::from_pointee(settings));
    let clock = Clock::starting_at(Duration::from_secs(1_559_731_985));
    let resolver = at_hand(clock.clone());
    let metrics = Arc::new(Metrics::default());
    let as_resolve: Arc<dyn Resolve> = resolver.clone();
    let limits = Arc::new(RateLimits::new(&limits, [5; 16]));
    let pipeline = Pipeline::new(settings.clone(), Some(as_resolve), metrics.clone())
        .with_cookies(Cookies::new([7; 16]), clock.clone())
        .with_limits(limits, clock.clone())
        .with_ready_answers(1 << 20, clock);
    let kept = pipeline.ready_answers(1).unwrap();
    Setup {
        pipeline,
        settings,
        resolver,
        metrics,
        kept,
    }
}

fn at_hand(clock: Clock) -> Arc<AtHand> {
    Arc::new(AtHand {
        clock,
        standing: AtomicU64::new(1),
        rehearsing: false.into(),
        asked: AtomicU64::new(0),
        again: Mutex::default(),
        looked: AtomicU64::new(0),
    })
}

fn setup() -> Setup {
    setup_with(config::Limits::default())
}

fn client() -> SocketAddr {
    "192.0.2.9:4000".parse().unwrap()
}

fn query(name: &str, rtype: Rtype, change: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut message = Message::query(7, Question::new(name.parse().unwrap(), rtype));
    message.recursion_desired = true;
    change(&mut message);
    message.encode(MESSAGE_LEN_MAX)
}

impl Setup {
    /// What a thread does with a query; the short way, and the reply.
    fn turn(&mut self, wire: &[u8], from: SocketAddr) -> (Found, Option<Vec<u8>>) {
        self.pipeline.begin_turn(&mut self.kept);
        let mut out = Vec::new();
        let mut looks = [self.pipeline.look(wire, from, &self.kept)];
        self.pipeline.warm(&mut looks, &mut self.kept);
        let [look] = looks;
        let found = look.map_or(Found::Unknown, |look| {
            (self.pipeline).answer_ready(&look, &mut self.kept, &mut out)
        });
        let reply = match found {
            Found::Answered => Some(out),
            Found::Nothing => None,
            general @ (Found::Unknown | Found::Admitted) => {
                let client = Client::new(from, Transport::Udp);
                match self
                    .pipeline
                    .begin_and_keep(wire, client, general, &mut self.kept)
                {
                    Step::Done(reply) => reply,
                    _ => panic!("it waits"),
                }
            }
        };
        self.pipeline.end_turn(&mut self.kept);
        (found, reply)
    }

    fn general(&self, wire: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        match self.pipeline.begin(wire, Client::new(from, Transport::Udp)) {
            Step::Done(reply) => reply,
            _ => panic!("it waits"),
        }
    }

    /// Asks until the answer is ready.
    fn warm(&mut self, wire: &[u8]) {
        for _ in 0..2 {
            assert_eq!(self.turn(wire, client()).0, Found::Unknown);
        }
        assert_eq!(self.turn(wire, client()).0, Found::Answered);
    }
}

fn edns(size: u16, dnssec: bool, options: Vec<(u16, Vec<u8>)>) -> impl FnOnce(&mut Message) {
    move |m| {
        let mut edns = Edns::new(size, dnssec);
        edns.options = options;
        m.edns = Some(edns);
    }
}

/// Queries of all forms that the short way takes, each in two spellings and with two IDs.
fn corpus() -> Vec<[Vec<u8>; 2]> {
    let mut corpus = Vec::new();
    for name in [
        "www.example.",
        "no.example.",
        "long.example.",
        "copy.example.",
        "www.lab.test.",
        "nothing.lab.test.",
        "localhost.",
    ] {
        for rtype in [Rtype::A, Rtype::TXT] {
            for form in 0..14 {
                let make = |name: &str, id: u16| {
                    query(name, rtype, |m| {
                        m.id = id;
                        m.recursion_desired = form != 1;
                        m.authentic_data = form == 2;
                        m.checking_disabled = form == 3;
                        match form {
                            4 => edns(1232, false, vec![])(m),
                            5 => edns(1232, true, vec![])(m),
                            6 => edns(512, true, vec![])(m),
                            7 => edns(4096, true, vec![])(m),
                            8 => edns(100, false, vec![])(m),
                            9 => edns(1232, true, vec![(option::COOKIE, vec![9; 8])])(m),
                            10 => edns(900, false, vec![(option::COOKIE, vec![9; 24])])(m),
                            11 => edns(545, true, vec![(option::COOKIE, vec![9; 8])])(m),
                            12 => edns(545, true, vec![])(m),
                            13 => {
                                edns(1232, true, vec![])(m);
                                m.checking_disabled = true;
                                m.authentic_data = true;
                            }
                            _ => {}
                        }
                    })
                };
                corpus.push([make(name, 7), make(&name.to_uppercase(), 0xABCD)]);
            }
        }
    }
    corpus
}

// Nothing tells by which way an answer came, whatever the form of the question, whoever asks, and when.
#[tokio::test(start_paused = true)]
async fn both_ways_give_the_same_octets() {
    let mut setup = setup();
    let mut ready = 0;
    for advance_ms in [0, 1000, 2000, 1999, 3000] {
        tokio::time::advance(Duration::from_millis(advance_ms)).await;
        for round in 0..3 {
            for spellings in corpus() {
                for wire in &spellings {
                    for from in [
                        "192.0.2.9:4000",
                        "192.0.2.200:1",
                        "198.51.100.7:53",
                        "203.0.113.1:5",
                    ] {
                        let from = from.parse().unwrap();
                        let general = setup.general(wire, from);
                        let (found, reply) = setup.turn(wire, from);
                        assert_eq!(reply, general, "{round} {:?}", Message::parse(wire));
                        ready += u64::from(found == Found::Answered);
                    }
                }
            }
        }
    }
    assert!(ready > 5000, "{ready}");
    assert_eq!(setup.metrics.answers_ready_total.value(), ready);
}

// `limits` and rights are looked at for each of them, and everything is counted as on the general way.
#[tokio::test(start_paused = true)]
async fn both_ways_count_the_same() {
    let limited = config::Limits {
        queries_per_prefix_s: 500,
        responses_per_s: 40,
        ..config::Limits::default()
    };
    for limits in [config::Limits::default(), limited] {
        count_both_ways(&limits);
    }
}

fn count_both_ways(limits: &config::Limits) {
    let metrics_of = |is_short: bool| {
        let mut setup = setup_with(limits.clone());
        for _ in 0..4 {
            for [wire, _] in corpus() {
                match is_short {
                    true => drop(setup.turn(&wire, client())),
                    false => drop(setup.general(&wire, client())),
                }
            }
        }
        let mut counts = setup.metrics.snapshot();
        let differs = [
            "answers_ready_total",
            "cache_hits_total",
            "cache_misses_total",
        ];
        counts.retain(|(name, _, _)| !differs.contains(name));
        (counts, setup.metrics.answers_ready_total.value(), setup)
    };
    let (short, ready, setup) = metrics_of(true);
    let (general, none, _) = metrics_of(false);
    assert_eq!(short, general);
    assert!(ready > 50 && none == 0, "{ready}");
    let answered = setup.metrics.answers_cache_total.value();
    assert!(
        setup.metrics.cache_hits_total.value() + setup.resolver.looked.load(Ordering::Relaxed)
            >= answered
    );
}

#[tokio::test(start_paused = true)]
async fn which_questions_they_were_is_told_when_answers_go() {
    let mut setup = setup();
    let [yes, no] = ["www.example.", "no.example."].map(|name| query(name, Rtype::A, |_| {}));
    setup.warm(&yes);
    setup.warm(&no);
    setup.turn(&yes, client());
    assert_eq!(setup.resolver.asked.load(Ordering::Relaxed), 3);
    assert!(setup.resolver.again.lock().unwrap().is_empty());
    tokio::time::advance(CACHED_LIFE_MAX).await;
    for _ in 0..=IDLE_SWEEP_SHARE {
        setup.pipeline.idle_turn(&mut setup.kept);
    }
    let mut again = setup.resolver.again.lock().unwrap().clone();
    again.sort_by_key(|(_, _, times)| *times);
    let question = |name: &str| Question::new(name.parse().unwrap(), Rtype::A);
    let expected = [
        (question("no.example."), Rcode::NXDOMAIN, 1),
        (question("www.example."), Rcode::NOERROR, 2),
    ];
    assert_eq!(again, expected);
}

#[tokio::test(start_paused = true)]
async fn after_its_time_an_answer_is_made_anew() {
    let mut setup = setup();
    let wire = query("www.example.", Rtype::A, |_| {});
    setup.warm(&wire);
    tokio::time::advance(CACHED_LIFE_MAX - Duration::from_millis(1)).await;
    assert_eq!(setup.turn(&wire, client()).0, Found::Answered);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(setup.turn(&wire, client()).0, Found::Unknown);
    // It was known, so it is ready again at once.
    assert_eq!(setup.turn(&wire, client()).0, Found::Answered);
}

#[tokio::test(start_paused = true)]
async fn what_changes_the_world_ends_them_at_once() {
    let mut setup = setup();
    let wire = query("www.example.", Rtype::A, |_| {});
    setup.warm(&wire);
    setup.resolver.standing.fetch_add(1, Ordering::Relaxed);
    assert_eq!(setup.turn(&wire, client()).0, Found::Unknown);
    assert_eq!(setup.turn(&wire, client()).0, Found::Answered);
    let same = (**setup.settings.load()).clone();
    setup.settings.store(Arc::new(same));
    assert_eq!(setup.turn(&wire, client()).0, Found::Unknown);
    assert_eq!(setup.turn(&wire, client()).0, Found::Answered);
    setup.resolver.rehearsing.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!(setup.turn(&wire, client()).0, Found::Unknown);
    }
}

#[tokio::test(start_paused = true)]
async fn only_plain_answers_are_kept() {
    let mut setup = setup();
    for name in [
        "stale.example.",
        "as-of.example.",
        "failed.example.",
        "short.example.",
    ] {
        let wire = query(name, Rtype::A, |_| {});
        for _ in 0..4 {
            assert_eq!(setup.turn(&wire, client()).0, Found::Unknown, "{name}");
        }
    }
    // What a client who may transfer is told is not for others.
    let soa = query("www.example.", Rtype::SOA, |m| m.recursion_desired = false);
    for _ in 0..4 {
        assert_eq!(setup.turn(&soa, client()).0, Found::Unknown);
    }
}

/// Names that do not exist, and names below cuts, each asked once: with a question of another name before them.
fn many_names() -> Vec<String> {
    let mut names = Vec::new();
    for n in 0..60 {
        for below in [
            "lab.test.",
            "sub.lab.test.",
            "y.lab.test.",
            "child.lab.test.",
            "inner.lab.test.",
            "www.lab.test.",
        ] {
            names.push(format!(
                "{}{n}.{below}",
                ["a", "d", "inn", "o", "t", "wx", "X", "deep"][n % 8]
            ));
            names.push(format!("x.Y{n}.{below}"));
        }
        names.push(
            [
                "sub.lab.test.",
                "child.lab.test.",
                "ns.sub.lab.test.",
                "ns.deep.sub.lab.test.",
                "x.deep.sub.lab.test.",
                "y.lab.test.",
            ][n % 6]
                .into(),
        );
    }
    names
}

// What one name is told is what all others of its gap or cut are told, to the octet.
#[tokio::test(start_paused = true)]
async fn one_answer_for_many_names_is_the_same_as_one_for_each() {
    let mut setup = setup();
    let mut short = 0;
    for round in 0..2 {
        for name in many_names() {
            for form in 0..6 {
                for rtype in [Rtype::A, Rtype::DS, Rtype::NSEC] {
                    let wire = query(&name, rtype, |m| {
                        m.recursion_desired = false;
                        match form {
                            1 => edns(1232, true, vec![])(m),
                            2 => edns(1232, true, vec![(option::COOKIE, vec![9; 8])])(m),
                            3 => edns(512, true, vec![])(m),
                            4 => m.checking_disabled = true,
                            5 => edns(4096, false, vec![])(m),
                            _ => {}
                        }
                    });
                    let general = setup.general(&wire, client());
                    let (found, reply) = setup.turn(&wire, client());
                    assert_eq!(reply, general, "{round} {name} {rtype} {form}");
                    short += u64::from(found == Found::Answered);
                }
            }
        }
    }
    // Most names are asked for once in a round, and still.
    assert!(short > 6000, "{short}");
}

#[tokio::test(start_paused = true)]
async fn a_zone_in_a_gap_has_its_say() {
    let mut setup = setup();
    let ask = |name: &str| query(name, Rtype::A, |m| m.recursion_desired = false);
    // Between `child` and `ns`, as `inner` is.
    for n in 0..20 {
        let wire = ask(&format!("d{n}.lab.test."));
        assert_eq!(setup.turn(&wire, client()).0, Found::Unknown);
    }
    let reply = setup.turn(&ask("ns.inner.lab.test."), client()).1.unwrap();
    assert_eq!(Message::parse(&reply).unwrap().answer.len(), 1);
    // Between `ns` and `sub` nobody is.
    for (name, found) in [
        ("o1.lab.test.", Found::Unknown),
        ("o2.lab.test.", Found::Unknown),
        ("o3.lab.test.", Found::Answered),
    ] {
        assert_eq!(setup.turn(&ask(name), client()).0, found, "{name}");
    }
}

// Only secondaries see it: they ask for its version.
#[tokio::test(start_paused = true)]
async fn a_catalog_in_a_gap_has_its_say() {
    let mut setup = setup();
    let mut settings = (**setup.settings.load()).clone();
    let (_, catalog) = inner_zone();
    settings.catalogs = OwnZones::new([("p.lab.test.".parse().unwrap(), catalog)]);
    setup.settings.store(Arc::new(settings));
    for n in 0..20 {
        let wire = query(&format!("o{n}.lab.test."), Rtype::A, |m| {
            m.recursion_desired = false;
        });
        assert_eq!(setup.turn(&wire, client()).0, Found::Unknown);
    }
}
