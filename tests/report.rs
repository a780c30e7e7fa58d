//! The report of readiness and drills as it leaves the program: its JSON against the documented schema, its page in a browser.
//!
//! With `REPORT_KEEP=DIRECTORY` the page and its pictures stay there, to be looked at.

#[path = "report/browser.rs"]
#[allow(dead_code)]
mod browser;
#[path = "report/schema.rs"]
mod schema;

use std::path::PathBuf;

use browser::Browser;
use holdfast::dns::{Name, Question, Rtype};
use holdfast::drill::html;
use holdfast::drill::report::{DrillReport, DrillState, Report, Tally};
use holdfast::drill::verdict::{Cause, Judged, Loss, LostServer, Place, Source, Survival, Verdict};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use schema::Schema;
use serde_json::{Value, json};

const HOSTILE: &str = "\"'><script>document.title='owned'</script><img src=x onerror=document.title='owned'>&lt;\u{202e}\u{7}";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn server(name: &str, addresses: &[&str], cut: &[&str]) -> LostServer {
    let parsed = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
    LostServer {
        name: name.to_owned(),
        addresses: parsed(addresses),
        cut: !addresses.is_empty() && cut.len() == addresses.len(),
        cut_addresses: parsed(cut),
    }
}

fn servers(zone: &str, n: u32) -> Vec<LostServer> {
    let inside = format!("198.51.{}.53", n % 7);
    let outside = format!("203.0.{}.53", n % 5);
    let six = format!("2001:db8:{}::53", n % 3);
    match n % 4 {
        0 => vec![
            server(&format!("ns1.{zone}"), &[&outside], &[&outside]),
            server(&format!("ns2.{zone}"), &[&six], &[&six]),
        ],
        1 => vec![
            server(&format!("ns1.{zone}"), &[&inside], &[]),
            server(&format!("ns2.{zone}"), &[&outside], &[&outside]),
        ],
        2 => vec![server("ns.provider.example.", &[&inside, &six], &[&six])],
        _ => vec![server(&format!("ns.{zone}"), &[], &[])],
    }
}

/// A country's day, made up: some of everything, and names and texts that mean harm.
fn tally(names: u32) -> Tally {
    let mut rng = SmallRng::seed_from_u64(6);
    let mut tally = Tally::default();
    let causes = [
        Cause::ServersAbroad,
        Cause::NamedAbroad,
        Cause::ParentAbroad,
        Cause::NoChain,
        Cause::ServersFail,
        Cause::TooSlow,
        Cause::Other,
    ];
    for n in 0..names {
        let zone = match n % 9 {
            0 => "bank.home.".to_owned(),
            1 => "cdn.far.".to_owned(),
            2 => "government-services-of-the-whole-country.home.".to_owned(),
            3 => "\\060script\\062.home.".to_owned(),
            _ => format!(
                "site{}.{}.",
                n / 3,
                ["home", "far", "example"][n as usize % 3]
            ),
        };
        let host = match n {
            3 => format!("\\\"\\'\\<b\\>\\&amp.{zone}"),
            n => {
                format!(
                    "{}.{zone}",
                    ["www", "mail", "api", "static-content-delivery-edge-node"][n as usize % 4]
                ) + ""
            }
        };
        let question = Question::new(
            name(&host),
            [Rtype::A, Rtype::AAAA, Rtype::HTTPS][n as usize % 3],
        );
        let queries = 10_000.0 / f64::from(n + 1) + rng.random_range(0.0..1.0);
        let place = Place {
            zone: name(&zone),
            mirrored: n % 9 == 0,
            servers: servers(&zone, n),
        };
        let verdict = match n % 6 {
            1 => {
                let with = if n % 4 == 1 { "cdn.far." } else { &zone };
                Verdict::Lost(Box::new(Loss {
                    cause: causes[(n / 6) as usize % causes.len()],
                    zone: Some(name(with)),
                    alias: (n % 4 == 1).then(|| name("edge.cdn.far.")),
                    servers: servers(with, 0),
                    text: format!(
                        "all name servers of {with} are cut off (everything outside of domestic) {}",
                        if n < 20 { HOSTILE } else { "" }
                    ),
                    fix: format!(
                        "mirror {with}, or ask its operator for a name server that stays reachable"
                    ),
                }))
            }
            5 if n % 4 == 1 => Verdict::FailsNow(format!("refused {HOSTILE}")),
            m => Verdict::Survives(Survival {
                from: Source::ALL[m as usize % 4],
                host_lost: n % 11 == 0,
                slow: n % 13 == 0,
                as_of: false,
            }),
        };
        let place = (n % 17 != 0).then_some(place);
        tally.add(question, queries, Judged { verdict, place });
    }
    tally
}

fn report(names: u32) -> Report {
    let when = |s: &str| format!("2026-08-01T12:0{s}:00Z");
    tally(names).report(
        "everything outside of domestic".into(),
        when("0"),
        when("4"),
    )
}

fn drill(names: u32, running: bool) -> DrillReport {
    DrillReport {
        drill: DrillState {
            cut: format!("the prefixes of {HOSTILE}"),
            shadow: true,
            running,
            began_at: "2026-08-01T12:00:00Z".into(),
            ends_at: "2026-08-01T12:10:00Z".into(),
            ended_at: (!running).then(|| "2026-08-01T12:04:00Z".into()),
            ended: (!running).then(|| "stopped".into()),
            abort_at: 0.05,
            asked: 120_000,
            failed: 480,
            failed_share: 0.004,
            failed_share_before: 0.003,
        },
        waiting: 7,
        report: report(names),
    }
}

// The schema.

#[test]
fn reports_are_as_the_schema_says() {
    let schema = Schema::load();
    for names in [0, 1, 5, 300, 3000] {
        let of = |name: &str, value: Value| {
            let faults = schema.faults(name, &value);
            assert!(
                faults.is_empty(),
                "{names} names: {:#?}",
                &faults[..faults.len().min(20)]
            );
        };
        of("report", serde_json::to_value(report(names)).unwrap());
        of(
            "drillReport",
            serde_json::to_value(drill(names, true)).unwrap(),
        );
        of(
            "drillReport",
            serde_json::to_value(drill(names, false)).unwrap(),
        );
    }
}

#[test]
fn the_schema_finds_what_is_wrong() {
    let schema = Schema::load();
    let sound = serde_json::to_value(report(300)).unwrap();
    let check = |pointer: &str, wrong: Value, expected: &str| {
        let mut value = sound.clone();
        *value.pointer_mut(pointer).unwrap() = wrong;
        let faults = schema.faults("report", &value);
        assert!(
            faults.len() == 1 && faults[0].starts_with(expected),
            "{pointer}: {faults:?}"
        );
    };
    check("/names", json!(-1), "/names: -1");
    check("/cut", json!(3), "/cut: 3 is no");
    check(
        "/survive/queries_share",
        json!(1.5),
        "/survive/queries_share: 1.5 > 1",
    );
    check("/lost/0/cause", json!("weather"), "/lost/0/cause: ");
    check("/lost/0/zone", json!(7), "/lost/0/zone: ");
    check(
        "/classes/0",
        json!({"class": "mirror", "names": 1, "queries": 1, "names_share": 1, "queries_share": 1, "new": 1}),
        "/classes/0: new is not documented",
    );
    check(
        "/classes/0",
        json!({"class": "mirror", "names": 1, "queries": 1, "names_share": 1}),
        "/classes/0: \"queries_share\" is missing",
    );
}

// The page.

/// The tags of a page, in order.
fn tags(page: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        let end = rest[at..].find('>').expect("every tag ends") + at;
        tags.push(rest[at + 1..end].to_owned());
        rest = &rest[end + 1..];
    }
    tags
}

#[test]
fn a_page_holds_nothing_but_itself() {
    for page in [
        html::readiness(&report(3000)),
        html::drill(&drill(300, true)),
        html::readiness(&report(0)),
        html::drill(&drill(1, false)),
    ] {
        let words = [
            "!doctype", "html", "head", "meta", "title", "style", "body", "main", "section", "h1",
            "h2", "p", "b", "i", "em", "div", "span", "table", "thead", "tbody", "tr", "th", "td",
            "ol", "ul", "li", "details", "summary", "code", "footer", "svg", "path", "g", "rect",
            "text",
        ];
        let mut open: Vec<String> = Vec::new();
        for tag in tags(&page) {
            let word = tag
                .trim_start_matches('/')
                .split([' ', '/'])
                .next()
                .unwrap()
                .to_owned();
            assert!(words.contains(&word.as_str()), "<{tag}>");
            for attribute in [" src=", " href=", "url(", " onload", " onerror", " onclick"] {
                assert!(!tag.contains(attribute), "<{tag}>");
            }
            match tag.strip_prefix('/') {
                Some(word) => assert_eq!(open.pop().as_deref(), Some(word), "</{word}>"),
                None if tag.ends_with('/') || ["!doctype", "meta"].contains(&word.as_str()) => {}
                None => open.push(word),
            }
        }
        assert_eq!(open, [] as [String; 0]);
        assert!(
            !page.contains("url(") && !page.contains("@import"),
            "something is fetched"
        );
        assert!(!page.contains('\u{202e}') && !page.contains('\u{7}'));
        // 3,000 questions, 200 lost ones shown.
        assert!(page.len() < 600 << 10, "{} octets", page.len());
    }
    let page = html::readiness(&report(300));
    for part in [
        "<svg",
        "mirrored".get(..0).unwrap(),
        "What would fix most",
        "registrable name",
        "Lost, most used first",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_browser_shows_the_page() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let kept = std::env::var_os("REPORT_KEEP").map(PathBuf::from);
    let temporary = tempfile::tempdir().unwrap();
    let home = kept.unwrap_or_else(|| temporary.path().to_owned());
    let page = home.join("readiness.html");
    std::fs::write(&page, html::readiness(&report(300))).unwrap();
    std::fs::write(home.join("drill.html"), html::drill(&drill(120, false))).unwrap();
    let address = format!("file://{}", page.display());
    let dom = browser.show(&home, &["--dump-dom"], &address);
    assert!(
        dom.contains("<title>Isolation readiness: everything outside of domestic</title>"),
        "{dom}"
    );
    let elements = tags(&dom.replace(['\n'], " "));
    assert!(
        !elements
            .iter()
            .any(|tag| tag.starts_with("script") || tag.starts_with("img"))
    );
    assert!(
        elements
            .iter()
            .filter(|tag| tag.starts_with("rect"))
            .count()
            > 50
    );
    for (file, size, dark) in [
        ("desktop", "1280,3600", false),
        ("phone", "390,5200", false),
        ("dark", "1280,2600", true),
    ] {
        let shot = home.join(format!("{file}.png"));
        let to = format!("--screenshot={}", shot.display());
        let size = format!("--window-size={size}");
        let mut arguments = vec![to.as_str(), size.as_str()];
        if dark {
            arguments.push("--blink-settings=preferredColorScheme=0");
        }
        browser.show(&home, &arguments, &address);
        let png = std::fs::read(&shot).unwrap();
        assert!(
            png.starts_with(b"\x89PNG") && png.len() > 20_000,
            "{file}: {} octets",
            png.len()
        );
    }
}
