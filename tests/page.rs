//! The status page in a browser: headless Chromium, where there is one, at a server of the real kind with made-up states behind it.
//!
//! With `PAGE_KEEP=DIRECTORY` pages and pictures stay there, to be looked at.

#[path = "report/browser.rs"]
mod browser;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use browser::Browser;
use holdfast::control::history::{Counts, ROW_S, Row, Shade};
use holdfast::control::http::{Http, Shown};
use holdfast::control::status::{MirrorStatus, Status};
use holdfast::drill::report::Report;
use holdfast::metrics::{Metrics, Times};
use holdfast::query::BoxFuture;
use serde_json::{Value, json};

const NOW_S: u64 = 1_785_585_600;
/// As wide as a phone, a tablet and a desk.
const WIDTHS: [(&str, u32); 3] = [("phone", 390), ("tablet", 800), ("desk", 1200)];

/// A moment of a server's life.
#[derive(Clone, Default)]
struct Moment {
    status: Status,
    rows: Vec<Row>,
    counts: Counts,
    outlook: Option<Report>,
}

impl Shown for Moment {
    fn status(&self) -> Status {
        self.status.clone()
    }
    fn metrics(&self) -> Vec<(&'static str, &'static str, u64)> {
        Vec::new()
    }
    fn counts(&self) -> Counts {
        self.counts
    }
    fn waits(&self) -> Times {
        self.counts.waits
    }
    fn history(&self) -> Vec<Row> {
        self.rows.clone()
    }
    fn outlook(&self) -> Option<Report> {
        self.outlook.clone()
    }
    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

/// A status in its JSON form, with what is not said as it is by default.
fn status(said: Value) -> Status {
    let mut whole = serde_json::to_value(Status::default()).unwrap();
    whole.as_object_mut().unwrap().extend(object(said));
    serde_json::from_value(whole).unwrap()
}

fn object(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn mirror(zone: &str, said: Value) -> Value {
    let mut whole = object(serde_json::to_value(MirrorStatus::default()).unwrap());
    whole.extend(object(json!({
        "zone": zone, "state": "online", "use": "failover", "serial": 2026080100, "usable": "fresh", "age_s": 1800, "age_max_s": 7_776_000,
        "source": "axfr:192.0.32.132", "signatures_expire": "2026-08-13T05:00:00Z",
    })));
    whole.extend(object(said));
    Value::Object(whole)
}

/// A day with a quiet night, and an isolation in its last hours if there was one.
fn day(isolated: bool) -> Vec<Row> {
    (0..1440)
        .map(|minute| {
            let busy = 900 + 700 * minute.min(1440 - minute) / 720;
            let out = isolated && minute > 1240;
            let shade = match minute {
                1241..=1250 if isolated => Shade::Suspect,
                1251.. if isolated => Shade::Isolated,
                _ => Shade::Online,
            };
            let mut waits = Times::default();
            waits.counts[3] = busy / 20;
            waits.counts[8] = if out { busy / 30 } else { 2 };
            Row {
                wall_s: NOW_S - (1440 - minute) * ROW_S,
                counts: Counts {
                    queries: busy * 60,
                    cache: busy * 50,
                    live: if out { busy } else { busy * 7 },
                    mirror: if out { busy * 8 } else { busy * 2 },
                    own: busy,
                    stale: if out { busy * 3 } else { 0 },
                    retained: if out { busy } else { 0 },
                    servfail: if out { busy / 10 } else { 3 },
                    sent: busy * 9,
                    waits,
                    ..Counts::default()
                },
                mirrors: vec![(".".into(), shade), ("ru.".into(), shade)],
            }
        })
        .collect()
}

fn servers(silent: usize) -> Value {
    let one = |n: usize| {
        let state = if n < silent { "silent" } else { "good" };
        let address = match n % 3 {
            0 => format!("192.0.{}.53", n / 6),
            1 => format!("198.51.{}.53", n / 4),
            _ => format!("2001:db8:{:x}::53", n / 6),
        };
        json!({"address": address, "srtt_ms": 12.5, "state": state, "quirks": []})
    };
    (0..60).map(one).collect()
}

fn calm() -> Moment {
    Moment {
        status: status(json!({
            "version": "0.1.0", "uptime_s": 250_000, "time": "2026-08-01T12:00:00Z",
            "mirrors": [mirror(".", json!({})), mirror("ru.", json!({"source": "axfr:198.51.100.1", "age_s": 40}))],
            "servers": servers(0),
        })),
        rows: day(false),
        counts: Counts {
            queries: 40_000_000,
            ..Counts::default()
        },
        outlook: None,
    }
}

fn outage() -> Moment {
    let since = "2026-08-01T08:40:00Z";
    let gone = |zone: &str, evidence: &str| {
        mirror(
            zone,
            json!({
                "state": "isolated", "since": since, "evidence": evidence, "age_s": 4_900_000,
                "last_error": "axfr:192.0.32.132: connection timed out", "errors": ["axfr:192.0.32.132: connection timed out"],
                "escalation": {"percent": 50, "limit": "signatures", "at": "2026-08-13T05:00:00Z",
                    "text": "half of the time until its signatures run out is gone (2026-08-13T05:00:00Z); then its answers are as of that time"},
            }),
        )
    };
    let mut moment = Moment {
        status: status(json!({
            "version": "0.1.0", "uptime_s": 250_000, "time": "2026-08-01T12:00:00Z",
            "mirrors": [
                gone(".", "of 26 addresses: 26 timed out"),
                gone("ru.", "of 12 addresses: 12 timed out"),
                mirror("xn--p1ai.", json!({"usable": null, "serial": null, "age_s": null, "age_max_s": null, "signatures_expire": null})),
                mirror("a-zone-with-a-rather-long-name.in-a-second-level-domain.example.", json!({"held": {"serial": 7, "reasons": ["it lost 12 % of its delegations"]}})),
            ],
            "servers": servers(41),
            "dead_prefixes": [
                {"prefix": "192.0.2.0/24", "since": since, "evidence": "5 addresses of 4 zones are silent, and so are the probes to it"},
                {"prefix": "2001:db8::/32", "since": since, "evidence": "9 addresses of 7 zones are silent"},
            ],
            "stale": {"entries": 9, "bytes": 900, "disk_entries": 0, "disk_bytes": 0, "disk_list_bytes": 0, "answers_total": 80_000,
                "zones": [{"zone": "shop.example.", "since": since, "answers": 1207, "why": "all addresses timed out"}]},
        })),
        rows: day(true),
        counts: Counts {
            queries: 40_000_000,
            servfail: 21_000,
            limited: 17,
            ..Counts::default()
        },
        outlook: None,
    };
    moment
        .status
        .metrics
        .insert("upstream_crowded_total".into(), 12);
    moment
}

fn drill_and_flood() -> Moment {
    let report: Report = serde_json::from_value(outlook()).unwrap();
    let since = "2026-08-01T11:40:00Z";
    Moment {
        status: status(json!({
            "version": "0.1.0", "uptime_s": 250_000, "time": "2026-08-01T12:00:00Z",
            "mirrors": [mirror(".", json!({}))],
            "servers": servers(3),
            "drill": {"cut": "everything outside of domestic", "shadow": true, "running": true, "began_at": since, "ends_at": "2026-08-01T12:10:00Z",
                "ended_at": null, "ended": null, "abort_at": 0.05, "asked": 120_000, "failed": 480, "failed_share": 0.004, "failed_share_before": 0.003},
            "flooded": [{"zone": "victim.example.", "since": since, "denials": 9120, "refused": 71_001}],
            "crowded": [{"zone": "slow.example.", "since": since, "waiting": 250, "refused": 4011}],
            "full_servers": [{"address": "2001:db8:53::7", "since": since, "outstanding": 2000, "refused": 9050}],
            "top_talkers": {"over_s": 60, "queries": 900_000, "dropped": 400_000, "prefixes": [
                {"prefix": "203.0.113.0/24", "queries": 500_000, "queries_share": 0.55, "dropped": 400_000, "dropped_share": 0.8},
                {"prefix": "2001:db8:77:aa00::/56", "queries": 90_000, "queries_share": 0.1, "dropped": 0, "dropped_share": 0.0}]},
        })),
        rows: day(false),
        counts: Counts {
            queries: 40_000_000,
            limited: 5_000_000,
            shed: 12,
            refused: 99,
            ..Counts::default()
        },
        outlook: Some(report),
    }
}

/// What a readiness report says, in its documented form.
fn outlook() -> Value {
    let mut tally = serde_json::to_value(holdfast::drill::report::Tally::default().report(
        "everything outside of domestic".into(),
        "2026-08-01T11:00:00Z".into(),
        "2026-08-01T11:02:00Z".into(),
    ))
    .unwrap();
    tally["names"] = json!(5210);
    tally["survive"]["queries_share"] = json!(0.914);
    tally["lost"] = json!([
        {"name": "www.very-popular-video-site.example.", "type": "AAAA", "queries": 900.0, "share": 0.031, "cause": "servers_abroad", "zone": "very-popular-video-site.example.",
         "alias": null, "servers": [], "text": "all name servers of very-popular-video-site.example. are cut off", "fix": "ask its operator for a name server that stays reachable"},
        {"name": "<b>.example.", "type": "A", "queries": 100.0, "share": 0.004, "cause": "other", "zone": null,
         "alias": null, "servers": [], "text": "<script>document.title='owned'</script>", "fix": "none"},
    ]);
    tally
}

/// A page over HTTP, without its head, which lets no script run.
fn fetched(at: SocketAddr) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    write!(stream, "GET / HTTP/1.0\r\nHost: {at}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, page) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("default-src 'none'") && !head.contains("script-src"),
        "{head}"
    );
    page.to_owned()
}

/// How wide a browser's window is at this width, how wide and how high it makes a page there, and how many sections have to be scrolled sideways. A script asks for it, in a copy of the page: the page itself has none.
fn measured(browser: &Browser, home: &Path, page: &str, width: u32) -> [u32; 4] {
    let script = "<script>addEventListener('load',()=>{const e=document.documentElement;const over=[...document.querySelectorAll('section')].filter(s=>s.scrollWidth>s.clientWidth).length;document.title=[innerWidth,e.scrollWidth,e.scrollHeight,over].join(' ')})</script>";
    let copy = home.join("measured.html");
    fs::write(&copy, page.replace("</body>", &format!("{script}</body>"))).unwrap();
    let size = format!("--window-size={width},900");
    let dom = browser.show(
        home,
        &["--dump-dom", &size],
        &format!("file://{}", copy.display()),
    );
    let title = dom
        .split("<title>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    let numbers: Vec<u32> = title.split(' ').map(|n| n.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// The mean brightness of what a picture mostly shows is not looked at here: that is for eyes. It is a picture, of this size.
fn assert_picture(file: &Path, width: u32) {
    let png = fs::read(file).unwrap();
    let of = u32::from_be_bytes(*png[16..].first_chunk().unwrap());
    assert!(
        png.starts_with(b"\x89PNG") && png.len() > 10_000 && of == width,
        "{}",
        file.display()
    );
}

struct Looking<'a> {
    browser: &'a Browser,
    home: &'a Path,
    runtime: &'a tokio::runtime::Runtime,
}

impl Looking<'_> {
    /// Looks at a moment in each width, light and dark; the page has these words, in this order, and none of those. It has no script, and its
    /// Content-Security-Policy lets none run: a browser without scripts shows the same.
    fn check(&self, name: &str, moment: Moment, has: &[&str], has_not: &[&str]) {
        let at = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let _http = self
            .runtime
            .block_on(async { Http::start(at, Arc::new(moment), Arc::new(Metrics::default())) });
        while TcpStream::connect(at).is_err() {
            std::thread::yield_now();
        }
        let address = format!("http://{at}/");
        let dom = self.browser.show(self.home, &["--dump-dom"], &address);
        fs::write(self.home.join(format!("{name}.html")), &dom).unwrap();
        let text = words(&dom);
        let mut rest = text.as_str();
        for part in has {
            let found = rest.find(part);
            let found = found.unwrap_or_else(|| panic!("{name}: no {part:?} in its place\n{text}"));
            rest = &rest[found + part.len()..];
        }
        for part in has_not {
            assert!(!text.contains(part), "{name}: {part:?}\n{text}");
        }
        assert!(
            dom.contains("<title>holdfast</title>") && !dom.contains("<script"),
            "{name}"
        );
        let page = fetched(at);
        for (device, width) in WIDTHS {
            let [shown, wide, high, scrolled] = measured(self.browser, self.home, &page, width);
            assert_eq!(shown, width, "the browser's window");
            assert!(
                wide <= width && scrolled == 0,
                "{name} on a {device}: {wide} of {width} wide, {scrolled} sections wider"
            );
            if device == "tablet" {
                continue;
            }
            for dark in [false, true] {
                let of = if dark { "dark" } else { "light" };
                let file = self.home.join(format!("{name}-{device}-{of}.png"));
                let to = format!("--screenshot={}", file.display());
                let size = format!("--window-size={width},{high}");
                let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!dark));
                self.browser
                    .show(self.home, &[&to, &size, &scheme], &address);
                assert_picture(&file, width);
            }
        }
    }
}

/// What a page says, without its tags.
fn words(dom: &str) -> String {
    let body = dom.split("<body>").nth(1).unwrap();
    let mut out = String::new();
    let mut inside = false;
    for c in body.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                out.push(' ');
            }
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_browser_shows_every_state() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let kept = std::env::var_os("PAGE_KEEP").map(PathBuf::from);
    let temporary = tempfile::tempdir().unwrap();
    let home = kept.unwrap_or_else(|| temporary.path().to_owned());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let looking = Looking {
        browser: &browser,
        home: &home,
        runtime: &runtime,
    };
    let started = Moment {
        status: status(
            json!({"version": "0.1.0", "uptime_s": 7, "time": "2026-08-01T12:00:00Z",
            "mirrors": [mirror(".", json!({"bootstrap": true, "usable": "last resort", "age_max_s": null, "source": "bootstrap:zones/root.zone"}))]}),
        ),
        counts: Counts {
            queries: 240,
            mirror: 240,
            ..Counts::default()
        },
        ..Moment::default()
    };
    looking.check(
        "start",
        started,
        &[
            "holdfast 0.1.0 up 7 seconds",
            "Needs attention",
            "has only its snapshot yet",
            "never: snapshot",
            "240 since the start",
            "mirror 100.0 %",
            "No prefix is dead.",
            "Nobody has asked yet",
        ],
        &["Nothing needs attention"],
    );
    looking.check(
        "calm",
        calm(),
        &[
            "up 2 days",
            "Nothing needs attention.",
            "ru. online",
            "40 seconds ago of 90 days",
            "0 % of age_max",
            "a second in the last minute",
            "24 h ago now",
            "none with data past its TTL",
            "60 servers answer, 0 are silent",
        ],
        &["Needs attention", "prefix with silent servers"],
    );
    looking.check(
        "outage",
        outage(),
        &[
            "Needs attention",
            ". is isolated since",
            "of 26 addresses: 26 timed out",
            "ru. is isolated",
            "xn--p1ai. has no copy yet",
            "prefix 192.0.2.0/24 is dead",
            "Mirrors",
            "56 days",
            "63 % of age_max",
            "no usable copy",
            "a newer one is held",
            "with data past its TTL",
            "found through retained delegations",
            "41 are silent",
            "dead prefix",
            "2001:db8::/32",
            "prefix with silent servers",
            "shop.example.",
            "failed early: too many waited for one zone's servers 12",
        ],
        &["Nothing needs attention"],
    );
    looking.check(
        "drill",
        drill_and_flood(),
        &[
            "Needs attention",
            "shadow drill: everything outside of domestic cut off",
            "random names below victim.example.",
            "dropped, cut short or refused by a limit 5,000,000",
            "203.0.113.0/24 55.0 % 80.0 %",
            "slow.example. 250",
            "2001:db8:53::7 2,000 9,050",
            "victim.example.",
            "9,120",
            "71,001",
            "until 2026-08-01T12:10:00Z 120000 questions of clients",
            "91.4 %",
            "5,210 names",
            "www.very-popular-video-site.example. AAAA 3.10 %",
            "ask its operator",
        ],
        &["Nothing needs attention", "\u{fffd}"],
    );
}
