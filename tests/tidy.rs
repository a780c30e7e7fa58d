//! The layout is a test: who may import whom, which files compute without the outside world, how long a file may be.
//!
//! The rules are the tables at the top; ARCHITECTURE.md tells the same in prose. The tree is read anew at each run, so a
//! rule about a module that does not exist yet costs nothing. Comments, string literals and `#[cfg(test)]` modules are
//! cut away before anything is looked for: a unit test may use whatever it needs.

#[path = "tidy/rust.rs"]
mod rust;

use std::fs;
use std::path::{Path, PathBuf};

use rust::{code_only, flatten_groups, imports, occurrences};

/// Importing these is open to every module that is not a leaf itself.
const LEAVES: &[&str] = &[
    "clock",
    "config",
    "dns",
    "dnssec",
    "future",
    "lines",
    "metrics",
    "news",
    "places",
    "prefix_set",
    "tls",
    "zone",
];

/// What each top-level module may import. Leaves name all of it, the others may use every leaf besides.
const EDGES: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("future", &[]),
    ("lines", &[]),
    ("places", &[]),
    ("prefix_set", &[]),
    ("dns", &[]),
    ("config", &["dns", "prefix_set", "tls"]),
    ("dnssec", &["dns"]),
    ("metrics", &["clock", "dns"]),
    ("news", &["metrics"]),
    ("tls", &["clock"]),
    ("zone", &["dns", "dnssec"]),
    ("store", &[]),
    ("upstream", &[]),
    ("cache", &[]),
    ("catalog", &[]),
    ("alert", &["mirror"]),
    ("anchors", &[]),
    ("drill", &["reach", "resolve", "upstream"]),
    ("timekeeper", &["store"]),
    ("reach", &[]),
    ("mirror", &["catalog"]),
    ("notify", &[]),
    ("resolve", &["cache", "upstream"]),
    ("query", &["cache", "mirror", "reach", "resolve"]),
    ("listen", &["query"]),
    ("tap", &["query", "upstream"]),
    ("cli", &["mirror"]),
    ("convert", &[]),
    (
        "control",
        &[
            "cache", "drill", "mirror", "query", "reach", "resolve", "store",
        ],
    ),
];

/// Single files (or directories of the same name) that may import more than their module.
const EDGES_OF_FILES: &[(&str, &[&str])] = &[
    ("anchors/task", &["store"]),
    ("cache/persist", &["store"]),
    ("mirror/store", &["store"]),
    ("mirror/task", &["store"]),
    ("reach/probe", &["upstream"]),
    ("reach/task", &["store"]),
    ("resolve/task", &["store"]),
];

/// These put everything together and may import all of it.
const ASSEMBLY: &[&str] = &["engine", "lib", "main", "run"];

/// Files and directories that get time, randomness and packets handed in.
const PURE: &[&str] = &[
    "alert/limit",
    "anchors/machine",
    "anchors/point",
    "anchors/timing",
    "cache/account",
    "cache/entry",
    "cache/packed",
    "cache/persist",
    "cache/s3fifo",
    "cache/stale",
    "catalog",
    "clock/floor",
    "convert",
    "dns",
    "dnssec",
    "drill/domains",
    "drill/html",
    "drill/names",
    "drill/picture",
    "drill/report",
    "drill/verdict",
    "drill/watch",
    "listen/sieve",
    "listen/xdp/frame",
    "listen/xdp/places",
    "mirror/age",
    "mirror/brakes",
    "mirror/health",
    "mirror/source/incoming",
    "mirror/source/ixfr",
    "notify/queue",
    "prefix_set",
    "mirror/verify",
    "query/cookie",
    "query/quick/ordered",
    "query/quick/plain",
    "query/quick/ready",
    "query/quick/shape",
    "query/quick/table",
    "query/rate_limit",
    "query/route",
    "query/signed",
    "query/special",
    "query/transfer/write",
    "reach/cut",
    "reach/machine",
    "reach/prefix",
    "resolve/askers",
    "resolve/delegation",
    "resolve/denials",
    "resolve/forward",
    "resolve/hijack",
    "resolve/iterate",
    "resolve/quirks",
    "resolve/retained",
    "resolve/seats",
    "resolve/select",
    "resolve/shares",
    "resolve/stale",
    "resolve/validate",
    "tap/dnstap",
    "tap/frames",
    "tap/line",
    "upstream/cookies",
    "upstream/wire",
    "zone",
];

/// What a pure file may not name, and what it would do with it.
const IMPURE: &[(&str, &str)] = &[
    ("tokio", "waits"),
    ("sled", "uses the disk"),
    ("socket2", "uses a socket"),
    ("hickory_server", "uses a socket"),
    ("UdpSocket", "uses a socket"),
    ("TcpStream", "uses a socket"),
    ("TcpListener", "uses a socket"),
    ("UnixStream", "uses a socket"),
    ("Instant::now", "asks for the time"),
    ("SystemTime::now", "asks for the time"),
    ("clock::Clock", "asks for the time"),
    ("rand::rng", "draws global randomness"),
    ("rand::random", "draws global randomness"),
    ("rand::thread_rng", "draws global randomness"),
    ("thread::sleep", "waits"),
];

/// Macros that stand for code that is not there.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];

/// Past this a file wants to be two.
const FILE_LINES_MAX: usize = 900;

#[test]
fn imports_follow_the_layout() {
    complain(each_source("src", |file, code| {
        forbidden_imports(file, code)
    }));
}

#[test]
fn pure_files_touch_nothing_outside() {
    complain(each_source("src", impurities));
}

#[test]
fn nothing_is_left_unfinished() {
    complain(each_source("src", unfinished));
}

#[test]
fn files_are_short_and_say_why_they_exist() {
    let mut faults = Vec::new();
    for directory in ["src", "tests", "benches"] {
        for (file, text) in sources(directory) {
            faults.extend(shape(&format!("{directory}/{file}"), &text));
        }
    }
    complain(faults);
}

#[test]
fn every_scenario_is_run() {
    let tests: String = sources("tests").into_iter().map(|(_, text)| text).collect();
    let scenarios = files("tests/scenarios", "toml");
    complain(orphans(&scenarios, &tests));
}

// The rules, each from text to complaints.

/// Imports of `file` (relative to `src`) that the tables do not allow.
fn forbidden_imports(file: &str, code: &str) -> Vec<String> {
    let path = module_path(file);
    let module = path.split('/').next().unwrap_or_default();
    if ASSEMBLY.contains(&module) {
        return Vec::new();
    }
    let Some((_, edges)) = EDGES.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "src/{file}: the module {module} has no row in EDGES of tests/tidy.rs"
        )];
    };
    let leaves = if LEAVES.contains(&module) {
        &[]
    } else {
        LEAVES
    };
    let own = EDGES_OF_FILES
        .iter()
        .filter(|(prefix, _)| is_at_or_below(&path, prefix));
    let own = own.flat_map(|(_, extra)| extra.iter());
    let allowed: Vec<&str> = edges.iter().chain(leaves).chain(own).copied().collect();
    let mut imports = imports(&path, code);
    imports.dedup();
    let wrong = imports
        .iter()
        .filter(|(_, name)| name != module && !allowed.contains(&name.as_str()));
    wrong
        .map(|(line, name)| {
            format!("src/{file}:{line}: {module} may not import {name}, only {allowed:?}")
        })
        .collect()
}

/// What a pure file names of the world outside.
fn impurities(file: &str, code: &str) -> Vec<String> {
    let path = module_path(file);
    if !PURE.iter().any(|prefix| is_at_or_below(&path, prefix)) {
        return Vec::new();
    }
    let flat = flatten_groups(code);
    let found = IMPURE.iter().flat_map(|(word, effect)| {
        occurrences(&flat, word)
            .into_iter()
            .map(move |line| (line, word, effect))
    });
    found
        .map(|(line, word, effect)| format!("src/{file}:{line}: a pure file {effect}: {word}"))
        .collect()
}

/// Macros that stand for missing code.
fn unfinished(file: &str, code: &str) -> Vec<String> {
    let found = UNFINISHED.iter().flat_map(|word| {
        occurrences(code, word)
            .into_iter()
            .map(move |line| format!("src/{file}:{line}: {word}"))
    });
    found.collect()
}

/// Length and top comment.
fn shape(file: &str, text: &str) -> Vec<String> {
    /// A file of a line or two explains itself.
    const LINES_WITHOUT_COMMENT_MAX: usize = 2;
    let lines = text.lines().count();
    let mut faults = Vec::new();
    if lines > FILE_LINES_MAX {
        faults.push(format!(
            "{file}: {lines} lines; past {FILE_LINES_MAX} it wants to be two files"
        ));
    }
    if lines > LINES_WITHOUT_COMMENT_MAX && !text.starts_with("//!") {
        faults.push(format!(
            "{file}:1: does not begin with a //! comment that says why it exists"
        ));
    }
    faults
}

/// Scenario files that no test names, when no test runs the whole directory.
fn orphans(scenarios: &[PathBuf], tests: &str) -> Vec<String> {
    if tests.contains("read_dir(SCENARIOS)") {
        return Vec::new();
    }
    let stem = |path: &PathBuf| {
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let named = |path: &&PathBuf| !tests.contains(&stem(path));
    scenarios
        .iter()
        .filter(named)
        .map(|path| format!("{}: no test runs it", path.display()))
        .collect()
}

// Reading the tree.

/// `mirror/verify/mod.rs` -> `mirror/verify`, `clock.rs` -> `clock`.
fn module_path(file: &str) -> String {
    let path = file.trim_end_matches(".rs");
    path.strip_suffix("/mod").unwrap_or(path).to_owned()
}

fn is_at_or_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Complaints of `rule` about the code of every file below `directory`; files of unit tests are left alone.
fn each_source(directory: &str, rule: impl Fn(&str, &str) -> Vec<String>) -> Vec<String> {
    let all = sources(directory);
    assert!(!all.is_empty(), "nothing in {directory}");
    let tested = |file: &str| !file.ends_with("/tests.rs") && !file.contains("/tests/");
    all.iter()
        .filter(|(file, _)| tested(file))
        .flat_map(|(file, text)| rule(file, &code_only(text)))
        .collect()
}

/// Name (relative to `directory`) and text of every Rust file below it.
fn sources(directory: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let name = |path: &Path| {
        path.strip_prefix(&root)
            .unwrap_or(path)
            .to_string_lossy()
            .into_owned()
    };
    let read = |path: PathBuf| {
        (
            name(&path),
            fs::read_to_string(&path).expect("a readable source file"),
        )
    };
    files(directory, "rs").into_iter().map(read).collect()
}

/// Every file below `directory` with this extension, sorted; none when there is no such directory.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                // A build of the fuzz targets leaves generated sources in `tests/fuzz/target`.
                if !path.ends_with("target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[track_caller]
fn complain(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

// The rules themselves are tested on small examples.

#[test]
fn a_forbidden_import_is_found() {
    let check = |file: &str, code: &str, expected: &[&str]| {
        let found = forbidden_imports(file, &code_only(code));
        let shown: Vec<_> = found
            .iter()
            .map(|fault| fault.split(", only").next().unwrap())
            .collect();
        assert_eq!(shown, expected, "{file}: {code}");
    };
    check(
        "mirror/mod.rs",
        "use crate::dns::Name;\nuse crate::zone;",
        &[],
    );
    check(
        "mirror/mod.rs",
        "use crate::reach::State;",
        &["src/mirror/mod.rs:1: mirror may not import reach"],
    );
    check(
        "mirror/mod.rs",
        "\nuse super::resolve::X;",
        &["src/mirror/mod.rs:2: mirror may not import resolve"],
    );
    check(
        "mirror/task.rs",
        "use super::resolve;\nuse super::super::resolve;",
        &["src/mirror/task.rs:2: mirror may not import resolve"],
    );
    check("mirror/task.rs", "use crate::store::Tree;", &[]);
    check(
        "mirror/brakes.rs",
        "use crate::store::Tree;",
        &["src/mirror/brakes.rs:1: mirror may not import store"],
    );
    check(
        "mirror/verify/zonemd.rs",
        "use crate::mirror::Candidate;",
        &[],
    );
    check(
        "query/mod.rs",
        "use crate::{\n    cache::Entry,\n    listen,\n    dns::{Name, Rtype},\n    upstream::Udp,\n};",
        &[
            "src/query/mod.rs:3: query may not import listen",
            "src/query/mod.rs:5: query may not import upstream",
        ],
    );
    check(
        "dns/name.rs",
        "fn f() { crate::zone::g() }",
        &["src/dns/name.rs:1: dns may not import zone"],
    );
    check(
        "cache/mod.rs",
        "// use crate::reach;\nconst A: &str = \"crate::reach\";",
        &[],
    );
    check(
        "cache/mod.rs",
        "const A: char = '\"'; use crate::reach::X; // \"",
        &["src/cache/mod.rs:1: cache may not import reach"],
    );
    check(
        "cache/mod.rs",
        "fn f<'a>(x: &'a str) { crate::reach::g(x) }",
        &["src/cache/mod.rs:1: cache may not import reach"],
    );
    check(
        "cache/mod.rs",
        "#[cfg(test)]\nmod tests { use crate::reach; }\nuse crate::mirror;",
        &["src/cache/mod.rs:3: cache may not import mirror"],
    );
    check(
        "cache/mod.rs",
        "pub(crate) struct X; use crate :: reach :: Y;",
        &["src/cache/mod.rs:1: cache may not import reach"],
    );
    check("main.rs", "use holdfast::listen;", &[]);
    check("run.rs", "use crate::{control, listen};", &[]);
    check(
        "query/acl.rs",
        "use holdfast::listen;",
        &["src/query/acl.rs:1: query may not import listen"],
    );
    check(
        "control/api.rs",
        "use crate::listen;",
        &["src/control/api.rs:1: control may not import listen"],
    );
    check(
        "extra.rs",
        "",
        &["src/extra.rs: the module extra has no row in EDGES of tests/tidy.rs"],
    );
}

#[test]
fn an_impurity_is_found() {
    let check = |file: &str, code: &str, expected: usize| {
        let found = impurities(file, &code_only(code));
        assert_eq!(found.len(), expected, "{file}: {code}\n{found:#?}");
    };
    check(
        "zone/image.rs",
        "use std::net::IpAddr;\nuse std::time::Duration;",
        0,
    );
    check("zone/image.rs", "use tokio::io::AsyncRead;", 1);
    check("zone/image.rs", "use std::net::{IpAddr, UdpSocket};", 1);
    check("zone/image.rs", "let t = std::time::Instant::now();", 1);
    check(
        "zone/image.rs",
        "use std::time::{self, SystemTime};\nlet t = SystemTime::now();",
        1,
    );
    check(
        "zone/image.rs",
        "let x: u8 = rand::random();\nlet y = rand::rng();",
        2,
    );
    check("zone/image.rs", "use rand::{Rng, rngs::StdRng};", 0);
    check("zone/image.rs", "use crate::clock::{Clock, Now};", 1);
    check("zone/image.rs", "use crate::clock::Now;", 0);
    check(
        "zone/image.rs",
        "/// As tokio does.\n#[cfg(test)]\nmod tests { use tokio::test; }",
        0,
    );
    check("reach/machine.rs", "use sled::Db;", 1);
    check("reach/task.rs", "use tokio::time;", 0);
    check("resolve/validate/chain.rs", "use tokio::time;", 1);
    check("resolve/validated.rs", "use tokio::time;", 0);
}

#[test]
fn the_smaller_rules_hold() {
    assert_eq!(
        unfinished("a.rs", &code_only("fn f() { todo!() }\n// todo!\ndbg!(1);")).len(),
        2
    );
    assert_eq!(unfinished("a.rs", &code_only("fn todo() {}")).len(), 0);
    assert_eq!(shape("a.rs", "//! Why.\nfn f() {}\nfn g() {}\n").len(), 0);
    assert_eq!(shape("a.rs", "use x;\nfn f() {}\nfn g() {}\n").len(), 1);
    assert_eq!(shape("a.rs", &"//! Why.\n".repeat(901)).len(), 1);
    let scenarios = [
        PathBuf::from("tests/scenarios/cut.toml"),
        PathBuf::from("tests/scenarios/lost.toml"),
    ];
    assert_eq!(
        orphans(&scenarios, "scenario!(cut);"),
        ["tests/scenarios/lost.toml: no test runs it"]
    );
    assert_eq!(
        orphans(&scenarios, "for file in read_dir(SCENARIOS) {}").len(),
        0
    );
}
