//! Starts, stops and restarts: outside a cut, inside one, and with nothing but a bundled snapshot.

use std::time::{Duration, Instant};

use crate::cases::Checks;
use crate::lab::Lab;
use crate::load::{Outcome, Question, ask};
use crate::net::{Cut, ROOTS};
use crate::resolver::{Kind, Mirror, ROOT_MIRROR, Resolver, Site};
use crate::tools::dig;
use crate::traffic::fresh_tld;
use crate::zones::WWW;

const READY_MAX: Duration = Duration::from_secs(1);
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(1);
const STOP_MAX: Duration = Duration::from_secs(2);

/// Asks until the answer is right; returns how long that took since `since`.
fn first_right(
    lab: &Lab,
    question: &Question,
    since: Instant,
    limit: Duration,
) -> Result<Duration, String> {
    let mut last = String::from("nothing asked");
    while since.elapsed() < limit {
        match ask(&lab.net, question.clone(), limit) {
            Outcome::Right(_) => return Ok(since.elapsed()),
            other => last = format!("{other:?}"),
        }
    }
    Err(format!(
        "{} not right within {limit:?}: {last}",
        question.name
    ))
}

/// `kill -9` and a new start while the roots are gone: the generation on disk is all there is.
pub fn restart(lab: &Lab) {
    let site = Site::new(lab, "restart", &[ROOT_MIRROR]);
    let first = site.start();
    first.wait_mirrored(".");
    for n in 0..4 {
        let warm = ask(&lab.net, fresh_tld(n), Duration::from_secs(5));
        assert!(
            matches!(warm, Outcome::Right(_)),
            "before the cut: {warm:?}"
        );
    }
    lab.net.cut(&ROOTS, Cut::Silent);
    std::thread::sleep(Duration::from_secs(3));
    first.signal(libc::SIGKILL);
    drop(first);

    let mut second = site.launch();
    let ready = second.wait_ready();
    let answered = Instant::now();
    let first_answer = first_right(lab, &fresh_tld(20), answered, Duration::from_secs(30));
    println!("   ready {ready:?} after exec, first right answer {first_answer:?} after that");
    let mut checks = Checks::default();
    checks.within("ready", ready, READY_MAX);
    match first_answer {
        Ok(took) => checks.within("the first right answer", took, FIRST_ANSWER_MAX),
        Err(why) => checks.that(false, format!("{why}\n{}", second.tail())),
    }
    for n in 21..31 {
        let outcome = ask(&lab.net, fresh_tld(n), Duration::from_secs(5));
        let right = matches!(outcome, Outcome::Right(_));
        checks.that(right, format!("{}: {outcome:?}", fresh_tld(n).name));
    }
    checks.end();
}

/// A first boot inside a cut: no generation on disk, only the snapshot that the configuration names.
pub fn bootstrap(lab: &Lab) {
    lab.net.cut(&ROOTS, Cut::Silent);
    let mirror = Mirror {
        bootstrap: Some("root.zone"),
        ..ROOT_MIRROR
    };
    let site = Site::new(lab, "bootstrap", &[mirror]);
    let mut resolver = site.launch();
    let ready = resolver.wait_ready();
    // Nothing is known to be dead yet and an aged copy takes no part in hedges: the roots have to be tried first.
    let first = first_right(lab, &fresh_tld(0), Instant::now(), Duration::from_secs(40));
    println!("   ready {ready:?} after exec, first right answer {first:?} after that");
    let mut checks = Checks::default();
    checks.that(first.is_ok(), format!("{first:?}\n{}", resolver.tail()));
    for n in 1..8 {
        let outcome = ask(&lab.net, fresh_tld(n), Duration::from_secs(5));
        let right = matches!(outcome, Outcome::Right(_));
        checks.that(right, format!("{}: {outcome:?}", fresh_tld(n).name));
    }
    lab.net.restore_all();
    let online = resolver.wait_mirror(".", Duration::from_secs(90), |status| {
        status["state"] == "online"
            && status["last_contact"].is_string() | status["last_contact"].is_number()
    });
    checks.that(
        online.is_ok(),
        format!("the first contact after a bootstrap: {online:?}"),
    );
    checks.end();
}

/// SIGHUP keeps serving, SIGTERM and SIGINT end with 0 in time, a bad configuration with 2 and its place.
pub fn signals(lab: &Lab) {
    let site = Site::new(lab, "signals", &[ROOT_MIRROR]);
    let mut checks = Checks::default();
    let mut resolver = site.start();
    resolver.wait_mirrored(".");
    reload(lab, &site, &mut resolver, &mut checks);
    terminate(resolver, libc::SIGTERM, &mut checks);
    let interrupted = site.start();
    terminate(interrupted, libc::SIGINT, &mut checks);
    bad_config(lab, &site, &mut checks);
    checks.end();
}

fn reload(lab: &Lab, site: &Site, resolver: &mut Resolver, checks: &mut Checks) {
    let changed = std::fs::read_to_string(site.path("lab.test.zone")).expect("the own zone");
    site.write(
        "lab.test.zone",
        &changed
            .replace("ops 1 3600", "ops 2 3600")
            .replace("192.0.2.53", "192.0.2.54"),
    );
    resolver.signal(libc::SIGHUP);
    let question = Question::new("www.bank.home.", WWW, true);
    for _ in 0..20 {
        let outcome = ask(&lab.net, question.clone(), Duration::from_secs(5));
        checks.that(
            matches!(outcome, Outcome::Right(_)),
            format!("during a reload: {outcome:?}"),
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    checks.that(resolver.is_running(), "SIGHUP must not end it");
    let own = dig(lab, "www.lab.test A +norec");
    checks.that(
        own.has("A", "192.0.2.54"),
        format!("SIGHUP reads the changed own zone:\n{}", own.text),
    );

    let good = std::fs::read_to_string(site.path("config.toml")).expect("the configuration");
    site.write("config.toml", &good.replace("[access]", "[acess]"));
    resolver.signal(libc::SIGHUP);
    std::thread::sleep(Duration::from_millis(300));
    let outcome = ask(&lab.net, question, Duration::from_secs(5));
    let alive = resolver.is_running() && matches!(outcome, Outcome::Right(_));
    checks.that(
        alive,
        format!("SIGHUP with a bad configuration keeps the good one: {outcome:?}"),
    );
    site.write("config.toml", &good);
}

fn terminate(mut resolver: Resolver, signal: i32, checks: &mut Checks) {
    let begun = Instant::now();
    resolver.signal(signal);
    let status = resolver.wait_exit(STOP_MAX + Duration::from_secs(28));
    let took = begun.elapsed();
    println!("   signal {signal}: {status:?} after {took:?}");
    checks.within("the stop", took, STOP_MAX);
    let well = status.is_some_and(|status| status.code() == Some(0));
    checks.that(
        well,
        format!(
            "signal {signal}: {status:?} after {took:?}\n{}",
            resolver.tail()
        ),
    );
}

fn bad_config(lab: &Lab, site: &Site, checks: &mut Checks) {
    assert_eq!(lab.kind, Kind::Holdfast);
    let good = std::fs::read_to_string(site.path("config.toml")).expect("the configuration");
    for (from, to) in [
        ("hedge_min_ms", "hedge_minimum_ms"),
        ("hedge_min_ms = 20", "hedge_min_ms = \"soon\""),
        ("verify = \"dnssec\"", "verify = \"perhaps\""),
        ("10.53.0.0/16", "10.53.0.0/77"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from} is in the configuration");
        let line = 1 + bad
            .lines()
            .position(|line| line.contains(to))
            .expect("the changed line");
        site.write("config.toml", &bad);
        let mut resolver = site.launch();
        let status = resolver.wait_exit(Duration::from_secs(30));
        // The reader thread may be a moment behind the exit.
        std::thread::sleep(Duration::from_millis(100));
        let place = format!("config.toml:{line}:");
        let told = resolver.log().iter().any(|said| said.contains(&place));
        let right = status.is_some_and(|status| status.code() == Some(2)) && told;
        checks.that(
            right,
            format!(
                "{to}: want exit 2 and {place:?}, got {status:?}\n{}",
                resolver.tail()
            ),
        );
    }
    site.write("config.toml", &good);
}
