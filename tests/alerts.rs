//! Alerts in virtual time: what is one, how often it goes out, and that nothing of it makes the one who logs wait.
//!
//! All in one test: the log is one for the whole process.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast::alert::webhook::{TRY_AGAIN_S, TRY_TIME_MAX_S, Webhook};
use holdfast::alert::{self, Alert, Deps, Outgoing, QUEUE_MAX, Severity, Tap, command};
use holdfast::clock::Clock;
use holdfast::config::{self, WebUrl};
use holdfast::dns::Name;
use holdfast::metrics::Metrics;
use holdfast::mirror::source::Stream;
use holdfast::mirror::{BoxFuture, Connect, DsAnswer, Lookup};
use holdfast::news::News;
use holdfast::reach::Prefixes;
use holdfast::reach::signal::Evidence;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const SECOND: Duration = Duration::from_secs(1);

/// A web server that takes what is posted; it may be out of reach.
#[derive(Default)]
struct Web {
    taken: Mutex<Vec<(Duration, Value)>>,
    is_silent: AtomicBool,
    tries: AtomicUsize,
    clock: Mutex<Option<Clock>>,
}

#[derive(Clone, Default)]
struct Way(Arc<Web>);

impl Connect for Way {
    fn connect(&self, server: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            assert_eq!(server.to_string(), "192.0.2.7:80");
            self.0.tries.fetch_add(1, Ordering::Relaxed);
            if self.0.is_silent.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            let (ours, mut theirs) = tokio::io::duplex(64 << 10);
            let web = self.0.clone();
            tokio::spawn(async move {
                let mut text = Vec::new();
                while !text.ends_with(b"}") {
                    if theirs.read_buf(&mut text).await.unwrap() == 0 {
                        return;
                    }
                }
                let at = text.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
                let json = serde_json::from_slice(&text[at..]).unwrap();
                let now = web.clock.lock().unwrap().as_ref().unwrap().now().mono;
                web.taken.lock().unwrap().push((now, json));
                let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                theirs.write_all(reply).await.unwrap();
            });
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

struct NoNames;

impl Lookup for NoNames {
    fn ds<'a>(&'a self, _: &'a Name) -> BoxFuture<'a, DsAnswer> {
        unreachable!()
    }

    fn addresses<'a>(
        &'a self,
        _: &'a Name,
    ) -> BoxFuture<'a, Result<Vec<std::net::IpAddr>, String>> {
        unreachable!()
    }
}

fn isolated(zone: &str) {
    let alert = News::MirrorState.word();
    tracing::warn!(alert, zone, serial = 7, "isolated");
}

/// Two servers of two zones in one prefix are silent, while one elsewhere answers.
async fn find_dead(prefixes: &Prefixes) {
    let elsewhere = [203, 0, 113, 1].into();
    for n in 0..40u8 {
        for zone in ["a.", "b."] {
            let zone: Name = zone.parse().unwrap();
            prefixes.observe(elsewhere, &zone, Evidence::Answered);
            prefixes.observe([192, 0, 2, 1 + n % 2].into(), &zone, Evidence::TimedOut);
        }
        sleep(SECOND / 10).await;
    }
    assert!(prefixes.is_dead([192, 0, 2, 1].into()));
}

fn online(zone: &str) {
    let alert = News::MirrorState.word();
    tracing::info!(alert, zone, "online again");
}

#[tokio::test(start_paused = true)]
async fn alerts_are_picked_from_the_log_and_limited() {
    let (clock, metrics) = (
        Clock::starting_at(SECOND * 1_000_000),
        Arc::new(Metrics::default()),
    );
    let way = Way::default();
    *way.0.clock.lock().unwrap() = Some(clock.clone());
    let (tap, inbox) = alert::tap(metrics.clone());
    // The log itself takes errors alone.
    let errors = tracing_subscriber::fmt::layer()
        .with_filter(tracing_subscriber::filter::LevelFilter::ERROR);
    tracing_subscriber::registry()
        .with(errors)
        .with(Some(tap.with_filter(Tap::filter())))
        .init();
    // Before anybody reads them they wait; what exceeds the queue is counted.
    for n in 0..QUEUE_MAX + 10 {
        isolated(&format!("early{n}."));
    }
    assert_eq!(metrics.alerts_dropped_total.value(), 10);
    tokio::spawn(alert::run(
        inbox,
        Deps {
            config: config::Alerts {
                webhook: WebUrl::parse("http://192.0.2.7/"),
                ..config::Alerts::default()
            },
            connect: Arc::new(way.clone()),
            lookup: Arc::new(NoNames),
            clock: clock.clone(),
            metrics: metrics.clone(),
        },
    ));
    let taken = || std::mem::take(&mut *way.0.taken.lock().unwrap());
    sleep(SECOND * 300).await;
    assert_eq!(taken().len(), QUEUE_MAX);

    // What is no alert, and what a drill does to its own world, goes nowhere.
    tracing::warn!(zone = "ru.", "isolated");
    tracing::error!(alert = None::<&str>, zone = "ru.", "a quarter of its time");
    tracing::error!(alert = "no such kind", zone = "ru.", "x");
    tracing::debug!(alert = News::MirrorState.word(), zone = "ru.", "x");
    tracing::warn_span!("drill").in_scope(|| isolated("ru."));
    // Questions of clients, which are in no span, find out what is dead in it.
    let prefixes = || Prefixes::new(clock.clone(), Arc::default());
    find_dead(&tracing::warn_span!("drill").in_scope(prefixes)).await;
    assert_eq!(metrics.alerts_prefix_total.value(), 0);
    sleep(SECOND * 100).await;
    assert_eq!(taken(), []);

    find_dead(&prefixes()).await;
    sleep(SECOND * 100).await;
    let of_prefix = taken();
    assert!(of_prefix.iter().all(|(_, alert)| alert["kind"] == "prefix"));
    assert_eq!(of_prefix[0].1["subject"], "192.0.2.0/24");

    // A zone flaps for five minutes; another one does not wait for it.
    let began = clock.now().mono;
    for _ in 0..75 {
        isolated("ru.");
        sleep(SECOND * 2).await;
        online("ru.");
        sleep(SECOND * 2).await;
    }
    isolated("su.");
    sleep(SECOND * 200).await;
    let all = taken();
    let of = |zone: &str| -> Vec<&(Duration, Value)> {
        all.iter()
            .filter(|(_, alert)| alert["subject"] == zone)
            .collect()
    };
    let (ru, su) = (of("ru."), of("su."));
    assert_eq!(ru[0].0, began);
    assert_eq!(su[0].0, began + SECOND * 300);
    assert!(ru.len() <= 12, "{}", ru.len());
    assert_eq!(ru.last().unwrap().1["text"], "online again");
    let left_out: u64 = ru
        .iter()
        .map(|(_, alert)| alert["left_out"].as_u64().unwrap())
        .sum();
    assert_eq!(ru.len() as u64 + left_out, 150);
    assert_eq!(metrics.alerts_limited_total.value(), left_out);
    assert_eq!(ru[0].1["details"]["serial"], "7");

    // Nobody is there for an hour: the queue is bounded, tries are, and afterwards it goes on.
    way.0.is_silent.store(true, Ordering::Relaxed);
    way.0.tries.store(0, Ordering::Relaxed);
    let dropped = metrics.alerts_dropped_total.value();
    let failed = metrics.alerts_webhook_failed_total.value();
    for n in 0..3 * QUEUE_MAX {
        isolated(&format!("n{n}."));
        tokio::task::yield_now().await;
    }
    sleep(SECOND * 3600).await;
    let per_alert_s = TRY_AGAIN_S.iter().sum::<u64>() + 3 * TRY_TIME_MAX_S;
    let failed = metrics.alerts_webhook_failed_total.value() - failed;
    assert!(failed >= 3600 / per_alert_s - 1, "{failed}");
    assert!(way.0.tries.load(Ordering::Relaxed) as u64 <= 3 * (failed + 1));
    let dropped = metrics.alerts_dropped_total.value() - dropped;
    let expected = 2 * QUEUE_MAX as u64 - 1;
    assert!((expected - 1..=expected).contains(&dropped), "{dropped}");
    way.0.is_silent.store(false, Ordering::Relaxed);
    sleep(SECOND * 120).await;
    assert!(taken().len() as u64 > QUEUE_MAX as u64 - failed - 5);
    isolated("zz.");
    sleep(SECOND).await;
    assert_eq!(taken().last().unwrap().1["subject"], "zz.");
}

fn outgoing(text: &str) -> Outgoing {
    Outgoing {
        alert: Alert {
            kind: News::Keys,
            severity: Severity::Warning,
            subject: "ru.".into(),
            text: text.into(),
            details: [("zone\n".to_owned(), "\"<\0".to_owned())].into(),
        },
        at: "2026-08-01T12:00:00Z".into(),
        left_out: 3,
        server: "here".into(),
    }
}

/// How a web server answers that does not do so as one should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It takes the alert, and says so with a body that never ends.
    Body,
    /// It takes it, and sends its answer an octet at a time.
    Drip,
    /// What it says is no HTTP.
    Junk,
    /// A head that never ends.
    Huge,
    /// It refuses, with a body that never ends.
    Refusal,
    /// It sends the alert elsewhere.
    Elsewhere,
    /// It hangs up.
    Shut,
    /// It says nothing.
    Mute,
}

impl Manner {
    /// What it says first, and what it goes on saying for as long as somebody listens.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Manner::Body => (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "4\r\nmore\r\n",
            ),
            Manner::Drip => ("HTTP/1.1 204 No Content\r\n\r\n", ""),
            Manner::Junk => ("SSH-2.0-OpenSSH_9.2p1\r\n", "\0\u{7f}\u{1}junk\n"),
            Manner::Huge => ("HTTP/1.1 200 OK\r\n", "X-More: and more of it\r\n"),
            Manner::Refusal => (
                "HTTP/1.1 500 No\r\nContent-Length: 99999999999\r\n\r\n",
                "why",
            ),
            Manner::Elsewhere => (
                "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.8/\r\nContent-Length: 0\r\n\r\n",
                "",
            ),
            Manner::Shut | Manner::Mute => ("", ""),
        }
    }

    async fn speak(self, mut to: DuplexStream) -> io::Result<()> {
        let mut text = Vec::new();
        while !text.ends_with(b"}") {
            if to.read_buf(&mut text).await? == 0 {
                return Ok(());
            }
        }
        let (first, more) = self.words();
        match self {
            Manner::Drip => {
                for octet in first.as_bytes() {
                    to.write_all(&[*octet]).await?;
                    sleep(SECOND / 10).await;
                }
            }
            _ => to.write_all(first.as_bytes()).await?,
        }
        if self == Manner::Shut {
            return Ok(());
        }
        while !more.is_empty() {
            to.write_all(more.as_bytes()).await?;
        }
        // The other end hangs up.
        to.read_buf(&mut text).await.map(drop)
    }
}

/// Web servers that answer so, how often they were asked, and how many of them still speak to somebody.
struct Odd {
    manner: Manner,
    tries: AtomicUsize,
    open: Arc<AtomicUsize>,
}

impl Connect for Odd {
    fn connect(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let (ours, theirs) = tokio::io::duplex(4 << 10);
        let (manner, open) = (self.manner, self.open.clone());
        open.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let _ = manner.speak(theirs).await;
            open.fetch_sub(1, Ordering::Relaxed);
        });
        Box::pin(async { Ok(Box::new(ours) as Box<dyn Stream>) })
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_web_server_says_beside_the_code_is_of_no_weight_and_bounded() {
    for (manner, is_taken) in [
        (Manner::Body, true),
        (Manner::Drip, true),
        (Manner::Junk, false),
        (Manner::Huge, false),
        (Manner::Refusal, false),
        (Manner::Elsewhere, false),
        (Manner::Shut, false),
        (Manner::Mute, false),
    ] {
        let (metrics, clock) = (Arc::new(Metrics::default()), Clock::starting_at(SECOND));
        let odd = Arc::new(Odd {
            manner,
            tries: AtomicUsize::new(0),
            open: Arc::default(),
        });
        let webhook = Webhook {
            to: WebUrl::parse("http://192.0.2.7/").unwrap(),
            ca: None,
            connect: odd.clone(),
            lookup: Arc::new(NoNames),
            clock,
        };
        let (door, queue) = mpsc::channel(2);
        for text in ["one", "two"] {
            door.try_send(Arc::new(outgoing(text))).unwrap();
        }
        drop(door);
        webhook.send_all(queue, metrics.clone()).await;
        let (sent, failed) = match is_taken {
            true => (2, 0),
            false => (0, 2),
        };
        let counts = (
            metrics.alerts_webhook_sent_total.value(),
            metrics.alerts_webhook_failed_total.value(),
        );
        assert_eq!(counts, (sent, failed), "{manner:?}");
        let per_alert = if is_taken { 1 } else { 1 + TRY_AGAIN_S.len() };
        let tries = odd.tries.load(Ordering::Relaxed);
        assert_eq!(tries, 2 * per_alert, "{manner:?}");
        // Nobody listens any more to what never ends.
        sleep(SECOND).await;
        assert_eq!(odd.open.load(Ordering::Relaxed), 0, "{manner:?}");
    }
}

fn script(directory: &Path, text: &str) -> Vec<String> {
    let path = directory.join("script.sh");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    vec![path.to_str().unwrap().to_owned()]
}

#[tokio::test]
async fn a_program_that_fails_is_said_to() {
    let directory = tempfile::tempdir().unwrap();
    let run = async |text: &str| {
        let command = script(directory.path(), text);
        command::run(&command, &outgoing("one\0two")).await
    };
    assert_eq!(
        run("#!/bin/sh\ntest \"$HOLDFAST_ALERT_TEXT\" = 'one two'\n").await,
        Ok(())
    );
    assert!(run("#!/bin/sh\nexit 3\n").await.unwrap_err().contains("3"));
    assert!(
        run("#!/no/such/shell\n")
            .await
            .unwrap_err()
            .contains("cannot be run")
    );
    assert_eq!(
        command::run(&[], &outgoing("")).await,
        Err("no program".into())
    );
}

/// Time is virtual for the program's limit alone: it sleeps for longer than this test may take.
#[tokio::test(start_paused = true)]
async fn a_program_that_hangs_is_killed_with_all_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let marks = directory.path().join("pids");
    let text = format!(
        "#!/bin/sh\nsleep 600 &\necho $! > {0}.part\nmv {0}.part {0}\nwait\n",
        marks.display()
    );
    let command = script(directory.path(), &text);
    let alert = outgoing("");
    let run = tokio::spawn(async move { command::run(&command, &alert).await });
    // Real time passes while there is somebody to wait for on another thread.
    let path = marks.clone();
    let wait = move || {
        while !path.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    tokio::task::spawn_blocking(wait).await.unwrap();
    let pid: i32 = std::fs::read_to_string(&marks)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let error = run.await.unwrap().unwrap_err();
    assert!(error.contains("was killed"), "{error}");
    // It is nobody's child any more, so it is gone once the system has noticed.
    let gone =
        || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "));
    for _ in 0..1000 {
        if !gone() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{pid} still runs");
}

#[test]
fn every_kind_is_logged_somewhere() {
    let mut text = String::new();
    let mut open = vec![std::path::PathBuf::from("src")];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false if path.ends_with("news.rs") => {}
                false => text += &std::fs::read_to_string(&path).unwrap(),
            }
        }
    }
    let metrics = Metrics::default();
    for kind in News::ALL {
        assert!(
            text.contains(&format!("News::{kind:?}")),
            "{kind:?} is logged nowhere"
        );
        assert_eq!(News::from_word(kind.word()), Some(*kind));
        kind.metric(&metrics).inc();
    }
    let shown = metrics
        .snapshot()
        .into_iter()
        .filter(|(_, _, value)| *value == 1);
    assert_eq!(shown.count(), News::ALL.len());
}
