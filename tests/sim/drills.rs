//! Drills: cut-offs that are rehearsed by the whole engine, and what is left of them.

use std::cell::RefCell;
use std::sync::{Arc, Once};
use std::time::Duration;

use holdfast::alert::Tap;
use holdfast::dns::{Question, Rcode, Rtype};
use holdfast::drill::report::{DrillReport, Report};
use holdfast::engine::{Drills, Engine, Planned};
use holdfast::news::News;
use holdfast::prefix_set::{PrefixSet, parse_list};
use holdfast::query::{Options, Resolve};
use holdfast::reach::{Cut, State};
use holdfast::resolve::Resolution;
use holdfast::resolve::select::ServerState;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::net::{Fault, SimNet};
use crate::outage::Site;
use crate::schema::Schema;
use crate::signer::name;

const SECOND: Duration = Duration::from_secs(1);
/// The servers of `home.` and of the zones in the country.
const DOMESTIC: &str = "198.51.1.0/24\n198.51.11.0/24\n198.51.12.0/24\n192.0.2.0/24\n";
/// Everybody else.
const ABROAD: [&str; 4] = ["roots", "far", "plain", "foreign"];
/// What stays, and from where it is answered then.
const KEPT: [(&str, Rtype); 4] = [
    ("www.shop.home.", Rtype::A),
    ("www.blog.home.", Rtype::A),
    ("info.home.", Rtype::TXT),
    ("none.shop.home.", Rtype::A),
];
/// What does not, as long as nobody has asked for it before.
const LOST: [&str; 4] = [
    "www.open.far.",
    "www.cross.home.",
    "www.site.plain.",
    "abroad.shop.home.",
];

struct Stage {
    net: Arc<SimNet>,
    engine: Arc<Engine>,
    drills: Arc<Drills>,
}

impl Stage {
    /// A server that mirrors the root, and that clients have asked for `asked`.
    async fn set(asked: &[&str]) -> Stage {
        let mut site = Site::start(&["."]).await;
        let engine = Arc::new(site.take_engine());
        let drills = Drills::new(engine.clone(), site.clock.clone(), site.metrics.clone());
        tokio::spawn(drills.clone().run());
        let net = site.world.net.clone();
        // The directory of the ledger lasts as long as the test.
        std::mem::forget(site);
        let stage = Stage {
            net,
            engine,
            drills,
        };
        for text in asked {
            assert_ne!(
                stage.ask(text, Rtype::A).await.rcode,
                Rcode::SERVFAIL,
                "{text}"
            );
        }
        stage
    }

    /// Asks as a client.
    async fn ask(&self, text: &str, rtype: Rtype) -> Resolution {
        let question = Question::new(name(text), rtype);
        let options = Options::default();
        match self.engine.front.cached(&question, options) {
            Some(known) => known,
            None => self.engine.front.resolve(question, options).await,
        }
    }

    async fn fails(&self, text: &str) -> bool {
        self.ask(text, Rtype::A).await.rcode == Rcode::SERVFAIL
    }

    async fn start(&self, shadow: bool, seconds: u64) {
        let planned = Planned {
            cut: isolation(),
            time: SECOND * seconds as u32,
            shadow,
            abort_at: 1.0,
        };
        self.drills.start(planned).await.unwrap();
    }

    fn is_running(&self) -> bool {
        self.drills.current().is_some_and(|drill| drill.running)
    }

    /// Nothing in the true world speaks of a cut-off.
    fn is_spotless(&self) {
        let resolver = &self.engine.resolver;
        let servers = resolver.servers_status();
        let silent: Vec<_> = servers
            .iter()
            .filter(|s| s.state == ServerState::Silent)
            .collect();
        assert!(silent.is_empty(), "{silent:?}");
        assert_eq!(resolver.gone(), []);
        assert!(resolver.zones_in_trouble().is_empty());
        assert_eq!(self.engine.reach.state(&name(".")), State::Online);
        assert!(self.engine.prefixes.dead().is_empty());
        let tables = resolver.tables_stats();
        let failures = tables.iter().find(|(table, _)| *table == "failures");
        assert_eq!(failures.unwrap().1.entries, 0);
        assert!(self.engine.front.rehearsal().is_none());
    }
}

fn isolation() -> Arc<Cut> {
    let set: PrefixSet = parse_list(DOMESTIC.as_bytes())
        .unwrap()
        .into_iter()
        .collect();
    Arc::new(Cut::isolation("domestic", &set).unwrap())
}

fn lost(report: &Report) -> Vec<&str> {
    let mut names: Vec<_> = report.lost.iter().map(|row| row.name.as_str()).collect();
    names.sort();
    names
}

#[tokio::test(start_paused = true)]
async fn a_drill_cuts_off_what_it_says_and_leaves_no_trace() {
    let stage = Stage::set(&["www.shop.home.", "other.host.far."]).await;
    // Longer than any TTL: what is known of the way to that zone is retained.
    tokio::time::sleep(60 * SECOND).await;
    stage.is_spotless();
    stage.net.take_packets();
    stage.start(false, 600).await;
    let again = stage.drills.start(Planned {
        cut: isolation(),
        time: SECOND,
        shadow: true,
        abort_at: 0.05,
    });
    assert!(again.await.unwrap_err().contains("goes on already"));
    for _ in 0..3 {
        for (text, rtype) in KEPT {
            let answer = stage.ask(text, rtype).await;
            assert_ne!(answer.rcode, Rcode::SERVFAIL, "{text}: {:?}", answer.errors);
        }
        for text in LOST {
            assert!(stage.fails(text).await, "{text}");
        }
        tokio::time::sleep(60 * SECOND).await;
    }
    let below_far = "third.host.far.";
    assert!(stage.fails(below_far).await);
    // Nothing of what clients asked for has reached anybody who is cut off. The judge asks them where a question is lost, to tell
    // what fails anyway; probes and mirrors go on.
    let world = stage.engine.front.rehearsal().unwrap();
    assert_eq!(world.reach.state(&name(".")), State::Isolated);
    let gone: Vec<_> = world.resolver.gone().into_iter().map(|g| g.zone).collect();
    assert_eq!(gone, [name("far.")]);
    assert_eq!(stage.engine.reach.state(&name(".")), State::Online);
    tokio::time::sleep(30 * SECOND).await;
    let DrillReport {
        drill,
        waiting,
        report,
    } = stage.drills.report().unwrap();
    assert_eq!((drill.asked, drill.failed), (25, 13));
    assert_eq!(waiting, 0);
    let mut expected = LOST.to_vec();
    expected.push(below_far);
    expected.sort();
    assert_eq!(lost(&report), expected);
    drop(world);

    stage.drills.stop().unwrap();
    assert!(!stage.is_running());
    stage.is_spotless();
    for text in LOST {
        assert!(!stage.fails(text).await, "{text}");
    }
    tokio::time::sleep(30 * SECOND).await;
    stage.is_spotless();
    assert!(stage.drills.stop().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_drill_ends_by_itself_and_is_given_up_when_too_much_fails() {
    let stage = Stage::set(&[]).await;
    stage.start(false, 30).await;
    tokio::time::sleep(32 * SECOND).await;
    assert!(!stage.is_running());
    let planned = |abort_at| Planned {
        cut: isolation(),
        time: 600 * SECOND,
        shadow: false,
        abort_at,
    };
    stage.drills.start(planned(0.3)).await.unwrap();
    let mut asked = 0;
    while stage.is_running() && asked < 500 {
        let (good, bad) = (
            stage.ask("www.shop.home.", Rtype::A).await,
            stage.ask("www.open.far.", Rtype::A).await,
        );
        assert_eq!(good.rcode, Rcode::NOERROR);
        if stage.is_running() {
            assert_eq!(bad.rcode, Rcode::SERVFAIL);
        }
        asked += 2;
        tokio::time::sleep(SECOND / 5).await;
    }
    let drill = stage.drills.current().unwrap();
    assert!(drill.ended.unwrap().contains("given up"), "{asked} asked");
    stage.is_spotless();
    // Half of the questions is not more than 60 %.
    stage.drills.start(planned(0.6)).await.unwrap();
    for _ in 0..100 {
        stage.ask("www.shop.home.", Rtype::A).await;
        stage.ask("www.open.far.", Rtype::A).await;
        tokio::time::sleep(SECOND / 5).await;
    }
    assert!(stage.is_running());
    let too_long = Planned {
        time: 25 * 3600 * SECOND,
        ..planned(0.5)
    };
    stage.drills.stop().unwrap();
    assert!(stage.drills.start(too_long).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn shadow_drill_readiness_and_the_real_cut_agree() {
    let stage = Stage::set(&["www.shop.home."]).await;
    stage.start(true, 600).await;
    for _ in 0..3 {
        for (text, rtype) in KEPT {
            assert_ne!(stage.ask(text, rtype).await.rcode, Rcode::SERVFAIL);
        }
        // No answer changes.
        for text in LOST {
            assert!(!stage.fails(text).await, "{text}");
        }
        tokio::time::sleep(30 * SECOND).await;
    }
    let shadow = stage.drills.report().unwrap();
    assert_eq!(shadow.drill.failed, 0);
    assert_eq!(shadow.waiting, 0);
    stage.drills.stop().unwrap();
    stage.is_spotless();
    let asked = stage.drills.assess(isolation(), None).await.unwrap();
    let readiness = loop {
        let at = stage.drills.assessed(asked.job).unwrap();
        if let Some(report) = at.report {
            break report;
        }
        tokio::time::sleep(SECOND / 10).await;
    };
    // What was answered once is old data in an outage.
    assert_eq!(lost(&readiness), [] as [&str; 0], "{}", readiness.to_text());
    assert_eq!(lost(&readiness), lost(&shadow.report));
    let of = |report: &Report, class: &str| {
        let row = report
            .classes
            .iter()
            .find(|row| row.class == class)
            .unwrap();
        row.share.names
    };
    for class in ["mirror", "live", "retained", "stale"] {
        assert_eq!(of(&readiness, class), of(&shadow.report, class), "{class}");
    }
    assert_eq!(of(&readiness, "stale"), 4, "{}", readiness.to_text());
    assert!(readiness.host_lost.names > 0, "{}", readiness.to_text());

    ABROAD
        .iter()
        .for_each(|group| stage.net.set(group, Fault::Silent));
    tokio::time::sleep(600 * SECOND).await;
    for (text, rtype) in KEPT {
        assert_ne!(stage.ask(text, rtype).await.rcode, Rcode::SERVFAIL);
    }
    for text in LOST {
        assert!(stage.ask(text, Rtype::A).await.sources.stale, "{text}");
    }
}

thread_local! {
    /// Takes the alerts of this thread. The log is one for the whole process, because those of single threads disturb each other.
    static TAP: RefCell<Option<Tap>> = const { RefCell::new(None) };
}

struct OfThisThread;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for OfThisThread {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        TAP.with_borrow(|tap| {
            if let Some(tap) = tap {
                tap.on_event(event, context);
            }
        });
    }
}

fn hang_up(tap: Tap) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let layer = OfThisThread.with_filter(Tap::filter());
        tracing_subscriber::registry().with(layer).init();
    });
    TAP.set(Some(tap));
}

#[tokio::test(start_paused = true)]
async fn a_drill_is_news_and_what_it_cuts_off_is_none() {
    let metrics = Arc::new(holdfast::metrics::Metrics::default());
    let (tap, _inbox) = holdfast::alert::tap(metrics.clone());
    hang_up(tap);
    let stage = Stage::set(&["www.shop.home.", "other.host.far."]).await;
    let ask_all = async || {
        for _ in 0..4 {
            for text in LOST {
                stage.ask(text, Rtype::A).await;
            }
            tokio::time::sleep(30 * SECOND).await;
        }
    };
    stage.start(false, 600).await;
    ask_all().await;
    let world = stage.engine.front.rehearsal().unwrap();
    assert_eq!(world.reach.state(&name(".")), State::Isolated);
    stage.drills.stop().unwrap();
    let told = || {
        let counts = News::ALL
            .iter()
            .map(|kind| (*kind, kind.metric(&metrics).value()));
        counts.filter(|(_, count)| *count > 0).collect::<Vec<_>>()
    };
    let drills = vec![(News::DrillStarted, 1), (News::DrillEnded, 1)];
    assert_eq!(told(), drills);
    // The same for real.
    (ABROAD.iter()).for_each(|group| stage.net.set(group, Fault::Silent));
    ask_all().await;
    assert!(
        News::MirrorState.metric(&metrics).value() >= 2,
        "{:?}",
        told()
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_ends_a_drill() {
    let mut site = Site::start(&["."]).await;
    let engine = Arc::new(site.take_engine());
    let drills = Drills::new(engine.clone(), site.clock.clone(), site.metrics.clone());
    let planned = Planned {
        cut: isolation(),
        time: 3600 * SECOND,
        shadow: false,
        abort_at: 1.0,
    };
    drills.start(planned).await.unwrap();
    let question = Question::new(name("www.open.far."), Rtype::A);
    let failed = engine.front.resolve(question, Options::default()).await;
    assert_eq!(failed.rcode, Rcode::SERVFAIL);
    tokio::time::sleep(60 * SECOND).await;
    let world = engine.front.rehearsal().unwrap();
    assert_eq!(world.reach.state(&name(".")), State::Isolated);
    drop((world, drills, engine));
    site.restart().await;
    assert_eq!(site.engine().reach.state(&name(".")), State::Online);
    site.right("www.open.far.", Rtype::A).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_is_known_after_a_restart() {
    let mut site = Site::start(&["."]).await;
    let options = Options::default();
    let asked = Question::new(name("www.shop.home."), Rtype::A);
    let absent = Question::new(name("none.shop.home."), Rtype::A);
    for question in [&asked, &asked, &absent] {
        let front = site.engine().front.clone();
        if front.cached(question, options).is_none() {
            front.resolve(question.clone(), options).await;
        }
    }
    site.engine().save().await;
    site.restart().await;
    tokio::time::sleep(SECOND).await;
    let front = &site.engine().front;
    let known = front.names().unwrap().all();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].question, asked);
    assert!((1.9..=2.0).contains(&known[0].count), "{known:?}");
}

#[tokio::test(start_paused = true)]
async fn readiness_of_a_list_says_why_and_what_would_fix_it() {
    let stage = Stage::set(&[]).await;
    let before = stage.engine.front.counts();
    let list = KEPT.iter().map(|(text, _)| *text).chain(LOST);
    let list = list
        .map(|text| Question::new(name(text), Rtype::A))
        .collect();
    let asked = stage.drills.assess(isolation(), Some(list)).await.unwrap();
    let report = loop {
        let at = stage.drills.assessed(asked.job).unwrap();
        if let Some(report) = at.report {
            break report;
        }
        tokio::time::sleep(SECOND / 10).await;
    };
    let mut expected = LOST;
    expected.sort();
    assert_eq!(lost(&report), expected, "{}", report.to_text());
    let row = |name: &str| report.lost.iter().find(|row| row.name == name).unwrap();
    let cause = |name: &str| {
        serde_json::to_value(row(name).cause)
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(cause("www.cross.home."), "named_abroad");
    assert_eq!(cause("www.open.far."), "parent_abroad");
    assert_eq!(cause("www.site.plain."), "parent_abroad");
    // The root is mirrored here: nothing is lost with it.
    for row in &report.lost {
        assert!(!row.fix.contains("mirror ."), "{}", report.to_text());
    }
    assert_eq!(
        row("abroad.shop.home.").alias.as_deref(),
        Some("www.host.far.")
    );
    assert!(
        row("www.open.far.").fix.contains("far."),
        "{}",
        report.to_text()
    );
    // Where each name lives, and what it is lost with.
    let faults = Schema::load().faults("report", &serde_json::to_value(&report).unwrap());
    assert!(faults.is_empty(), "{faults:#?}");
    let lives = |name: &str| {
        let row = report.asked_top.iter().find(|row| row.name == name);
        let row = row.unwrap();
        (
            row.zone.as_deref().unwrap_or("none").to_owned(),
            row.lost_with.as_deref().unwrap_or("itself").to_owned(),
        )
    };
    let pair = |zone: &str, with: &str| (zone.to_owned(), with.to_owned());
    assert_eq!(lives("www.shop.home."), pair("shop.home.", "itself"));
    assert_eq!(lives("www.open.far."), pair("open.far.", "far."));
    assert_eq!(lives("abroad.shop.home."), pair("shop.home.", "far."));
    let zone = |zone: &str| {
        let row = report.zones_top.iter().find(|row| row.zone == zone);
        row.unwrap_or_else(|| panic!("{zone}: {:#?}", report.zones_top))
    };
    let shop = &zone("shop.home.").servers;
    assert!(!shop.is_empty() && shop.iter().all(|s| !s.cut && !s.addresses.is_empty()));
    let far = zone("far.");
    assert!(
        !far.servers.is_empty() && far.servers.iter().all(|s| s.cut),
        "{far:?}"
    );
    assert!(far.lost_queries >= 2.0, "{far:?}");
    assert!(report.domains.with_losses >= 3, "{:?}", report.domains_top);
    assert!(holdfast::drill::html::readiness(&report).contains(">abroad.shop.home. A</text>"));
    // Judging is no question of a client, leaves no trace, and so comes to the same again.
    assert_eq!(stage.engine.front.counts(), before);
    stage.is_spotless();
    let list = LOST.map(|text| Question::new(name(text), Rtype::A));
    let again = stage
        .drills
        .assess(isolation(), Some(list.to_vec()))
        .await
        .unwrap();
    tokio::time::sleep(60 * SECOND).await;
    let again = stage.drills.assessed(again.job).unwrap().report.unwrap();
    assert_eq!(lost(&again), expected);
}

#[tokio::test(start_paused = true)]
async fn a_readiness_report_that_nobody_waits_for_gives_way() {
    let stage = Stage::set(&[]).await;
    let many = |n: usize| {
        let host = |n| Question::new(name(&format!("n{n}.shop.home.")), Rtype::A);
        Some((0..n).map(host).collect::<Vec<_>>())
    };
    let first = stage
        .drills
        .assess(isolation(), many(20_000))
        .await
        .unwrap();
    for _ in 0..60 {
        tokio::time::sleep(SECOND).await;
        let at = stage.drills.assessed(first.job).unwrap();
        assert!(at.report.is_none() && at.done < at.of, "{at:?}");
    }
    let refused = stage.drills.assess(isolation(), many(1)).await;
    assert!(refused.is_err_and(|why| why.contains("in the making")));
    // Whoever asked for it has gone.
    tokio::time::sleep(60 * SECOND).await;
    assert!(stage.drills.assessed(first.job).is_err());
    assert!(stage.drills.assess(isolation(), many(1)).await.is_ok());
}
