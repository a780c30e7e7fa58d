//! Debian's Prometheus collects from a running server in need: every panel of the dashboard shows something, every rule is evaluated, and those that
//! must warn do. In a network of its own, so root; and with `prometheus` and `promtool` in the PATH, else SKIPPED.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Class, Edns, Message, Rcode, Record, Rtype};
use serde_json::Value;

use super::daemon::{Daemon, datagram, now, query};
use super::{dashboard, namespace};

/// Prometheus collects once a second here; a rate needs several of these. On a slow machine all of it takes so long at most.
const PATIENCE: Duration = Duration::from_secs(120);
const PROMETHEUS: &str = "127.0.0.1:9090";
/// Where servers of names stand that never answer.
const SILENT: &str = "127.0.0.9:53";
/// A server of names that answers until the day.
const FORWARDER: &str = "127.0.0.8:53";

const CONFIG: &str = r#"
[server]
listen = ["127.0.0.1:PORT"]
[control]
http = "127.0.0.1:8053"
[resolver]
dnssec = "off"
prime = false
root_hints = "silent.hints"
[stale]
answer_after_ms = 200
[[zone]]
name = "own.test."
file = "own.zone"
[[forward]]
zone = "works.example."
servers = ["127.0.0.8"]
[[forward]]
zone = "dead.example."
servers = ["127.0.0.9"]
[[mirror]]
zone = "."
sources = ["file:root.zone"]
verify = "none"
"#;
const ROOT_ZONE: &str = "$TTL 60\n. SOA a. b. 2026080100 1800 900 604800 60\n. NS a.\na. A 127.0.0.9\ntest. NS ns.test.\nns.test. A 127.0.0.9\n";
/// Before the part that the operator's guide tells.
const HURRY: &str = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n";

/// Panels and what they show that is more than nothing by now; the others may show zero.
const POSITIVE: &[(&str, &str)] = &[
    ("Isolated mirrors", "isolated"),
    ("Queries", "udp"),
    ("Queries", "tcp"),
    ("Answers by origin", "cache"),
    ("Answers by origin", "mirror"),
    ("Answers by origin", "own"),
    ("Answers by origin", "special"),
    ("Failures, old data, limits", "SERVFAIL"),
    ("Failures, old data, limits", "past their TTL"),
    ("Waiting of what is not at hand", "50 %"),
    ("Waiting of what is not at hand", "90 %"),
    ("Waiting of what is not at hand", "99 %"),
    ("State of mirrors", "{{zone}} {{state}}"),
    ("Upstream", "sent"),
    ("Upstream", "timeouts"),
    ("Cache", "bytes"),
];
/// What must warn by now; what has a `for` is pending.
const WARN: [&str; 3] = ["HoldfastIsolated", "HoldfastServfail", "HoldfastStale"];

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|at| at.join(program).is_file());
    if !found {
        // Not by a macro: what those print of a test that passes is shown to nobody.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no {program} in the PATH");
    }
    found
}

/// Answers with an address for a second, until it is told to be silent.
fn forwarder() -> Arc<AtomicBool> {
    let socket = UdpSocket::bind(FORWARDER).unwrap();
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = silent.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; MESSAGE_LEN_MAX];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Ok(asked) = Message::parse(&buffer[..length]) else {
                continue;
            };
            let mut reply = asked.reply(Rcode::NOERROR);
            reply.recursion_available = true;
            reply.edns = asked.edns.as_ref().map(|_| Edns::new(1232, false));
            reply.answer.extend(asked.question.map(|question| Record {
                name: question.name,
                rtype: Rtype::A,
                class: Class::IN,
                ttl: 1,
                rdata: [192, 0, 2, 80].into(),
            }));
            if !is_silent.load(Ordering::Relaxed) {
                let _ = socket.send_to(&reply.encode(MESSAGE_LEN_MAX), from);
            }
        }
    });
    silent
}

/// Asks some of everything, until it is told to end; nobody waits for what comes.
fn load(at: SocketAddr, end: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut n = 0_u32;
        while !end.load(Ordering::Relaxed) {
            n += 1;
            for (name, rtype) in [
                ("www.own.test.".to_owned(), Rtype::A),
                ("localhost.".to_owned(), Rtype::A),
                ("www.works.example.".to_owned(), Rtype::A),
                (format!("n{n}.dead.example."), Rtype::A),
                (format!("no-such-tld-{n}."), Rtype::A),
            ] {
                let mut query = query(&name, rtype);
                query.recursion_desired = true;
                let wire = query.encode(MESSAGE_LEN_MAX);
                let _ = socket.send_to(&wire, at);
                if n.is_multiple_of(10) && name.ends_with("own.test.") {
                    let mut stream = TcpStream::connect(at).unwrap();
                    let length = u16::try_from(wire.len()).unwrap().to_be_bytes();
                    let _ = stream.write_all(&[&length, &wire[..]].concat());
                    let _ = stream.read(&mut [0; 512]);
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    })
}

/// What Prometheus says to a request of its API.
fn asked(path: &str, parameters: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(PROMETHEUS).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(
        stream,
        "GET {path}?{parameters} HTTP/1.0\r\nHost: {PROMETHEUS}\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let body = text.split_once("\r\n\r\n")?.1;
    let value: Value = serde_json::from_str(body).ok()?;
    assert_eq!(value["status"], "success", "{parameters}: {value}");
    Some(value["data"].clone())
}

fn escaped(text: &str) -> String {
    text.bytes().map(|octet| format!("%{octet:02X}")).collect()
}

/// The values that a query has now.
fn values(expr: &str) -> Vec<f64> {
    let data = asked("/api/v1/query", &format!("query={}", escaped(expr)));
    let data = data.unwrap_or_default();
    let rows = data["result"].as_array().cloned().unwrap_or_default();
    (rows.iter())
        .map(|row| row["value"][1].as_str().unwrap().parse().unwrap())
        .collect()
}

/// Waits for something that Prometheus is to say; tells what it said last.
fn until<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let start = now();
    loop {
        match attempt() {
            Ok(found) => return found,
            Err(last) => assert!(now() - start < PATIENCE, "{what}: {last}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// As Grafana fills in what is left open.
fn filled(expr: &str) -> String {
    expr.replace("$instance", ".*")
        .replace("$__rate_interval", "10s")
}

/// Each rule by name: its state.
fn rules() -> Vec<(String, String)> {
    let data = asked("/api/v1/rules", "").unwrap_or_default();
    let groups = data["groups"].as_array().cloned().unwrap_or_default();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap());
    rules
        .filter(|rule| rule["health"] != "unknown")
        .map(|rule| {
            assert_eq!(rule["health"], "ok", "{rule}");
            let word = |key: &str| rule[key].as_str().unwrap().to_owned();
            (word("name"), word("state"))
        })
        .collect()
}

fn start_prometheus(directory: &Path) -> Running {
    let guide = fs::read_to_string("docs/operator.md").unwrap();
    let told = guide.split("```yaml\n").nth(1).unwrap();
    let told = told.split("```").next().unwrap();
    let lines = told
        .lines()
        .map(|line| line.strip_prefix("  ").unwrap_or(line));
    let told: Vec<_> = lines.collect();
    let whole = format!("{HURRY}{}\n", told.join("\n"));
    fs::write(directory.join("prometheus.yml"), whole).unwrap();
    fs::copy("docs/monitoring/alerts.yml", directory.join("alerts.yml")).unwrap();
    let log = fs::File::create(directory.join("prometheus.log")).unwrap();
    let child = Command::new("prometheus")
        .arg("--config.file=prometheus.yml")
        .arg("--storage.tsdb.path=tsdb")
        .arg(format!("--web.listen-address={PROMETHEUS}"))
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    Running(child)
}

#[test]
fn promtool_accepts_the_rules() {
    if !has("promtool") {
        return;
    }
    let done = Command::new("promtool")
        .args(["check", "rules", "docs/monitoring/alerts.yml"])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn every_panel_and_every_rule_works() {
    if !has("prometheus") || !namespace::enter() {
        return;
    }
    let _silent = UdpSocket::bind(SILENT).unwrap();
    let silence = forwarder();
    let files = [
        ("silent.hints", ". 60 NS a.\na. 60 A 127.0.0.9\n"),
        ("root.zone", ROOT_ZONE),
        (
            "own.zone",
            "$TTL 60\n@ SOA ns host 1 3600 900 604800 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\n",
        ),
    ];
    let daemon = Daemon::start(CONFIG, &files);
    let prometheus = start_prometheus(daemon.directory.path());
    let end = Arc::new(AtomicBool::new(false));
    let loading = load(daemon.addr(), end.clone());

    // In peace: what was asked upstream came back.
    let live = "sum(rate(holdfast_answers_live_total[10s]))";
    until("live answers", || match values(live)[..] {
        [rate] if rate > 0.0 => Ok(()),
        ref other => Err(format!("{other:?}")),
    });
    assert_eq!(values("up{job=\"holdfast\"}"), [1.0]);
    // And then not any more.
    silence.store(true, Ordering::Relaxed);

    for target in dashboard::targets(&dashboard::load()) {
        let expr = filled(&target.expr);
        let is =
            |(panel, legend): &(&str, &str)| (*panel, *legend) == (&*target.panel, &*target.legend);
        let positive = POSITIVE.iter().any(is);
        until(&format!("{}: {expr}", target.panel), || {
            let values = values(&expr);
            let sound = !values.is_empty() && values.iter().all(|value| value.is_finite());
            match sound && (!positive || values.iter().sum::<f64>() > 0.0) {
                true => Ok(()),
                false => Err(format!("{values:?}")),
            }
        });
    }
    // Each name above stands in the dashboard.
    let there = dashboard::targets(&dashboard::load());
    for (panel, legend) in POSITIVE {
        let is = |t: &dashboard::Target| t.panel == *panel && t.legend == *legend;
        assert!(there.iter().any(is), "{panel}: {legend}");
    }

    let written = fs::read_to_string("docs/monitoring/alerts.yml").unwrap();
    let count = written.matches("- alert: ").count();
    until("rules that warn", || {
        let rules = rules();
        let warns = |name: &&str| {
            (rules.iter())
                .any(|(of, state)| of == name && ["pending", "firing"].contains(&&**state))
        };
        match rules.len() == count && WARN.iter().all(warns) {
            true => Ok(()),
            false => Err(format!("{rules:?}")),
        }
    });
    // What they would say is filled in.
    let alerts = asked("/api/v1/alerts", "").unwrap();
    for alert in alerts["alerts"].as_array().unwrap() {
        let summary = alert["annotations"]["summary"].as_str().unwrap();
        let bad = ["<no value>", "<error", "{{", " of  ", "from ;"];
        assert!(!bad.iter().any(|part| summary.contains(part)), "{alert}");
    }
    end.store(true, Ordering::Relaxed);
    loading.join().unwrap();
    assert!(
        datagram(
            daemon.addr(),
            &query("localhost.", Rtype::A).encode(MESSAGE_LEN_MAX),
            PATIENCE
        )
        .is_some()
    );
    drop(daemon);
    until("an alert that nobody answers", || {
        let rules = rules();
        let down = ("HoldfastDown".to_owned(), "pending".to_owned());
        rules
            .contains(&down)
            .then_some(())
            .ok_or(format!("{rules:?}"))
    });
    drop(prometheus);
}
