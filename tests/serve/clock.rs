//! The floor under the clock, with the real program: in force at a start, cleared by the operator.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use holdfast::clock::{format_utc, system_wall};
use holdfast::dns::Rtype;
use holdfast::store::{Changes, ClockRow, Durability, Ledger};
use serde_json::Value;

use crate::daemon::{Daemon, eventually, program, query};

const CONFIG: &str = r#"
[server]
listen = ["127.0.0.1:PORT"]
data_dir = "data"
[resolver]
prime = false
root_hints = "hints"
[reachability]
probe = false
[[mirror]]
zone = "."
sources = []
bootstrap = "root.zone"
"#;

/// Servers that are never asked: `query_loopback` is off.
const HINTS: &str = ". 60 NS a.root.\na.root. 60 A 127.0.0.9\n";

fn snapshot() -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/zones/root.zone");
    fs::read_to_string(root).unwrap()
}

fn put_floor(data_dir: &Path, time_at: u64) {
    fs::create_dir_all(data_dir).unwrap();
    let row = ClockRow {
        time_at,
        proven_at: 0,
    };
    let (ledger, _) = Ledger::open(data_dir, Arc::default()).unwrap();
    let changes = Changes::new().put(&row);
    ledger.commit(changes, Durability::Synced).unwrap();
}

fn stored(data_dir: &Path) -> Option<ClockRow> {
    let (ledger, _) = Ledger::open(data_dir, Arc::default()).unwrap();
    ledger.get(ClockRow::KEY)
}

fn json(daemon: &Daemon, arguments: &[&str]) -> Value {
    let output = daemon.command(&[arguments, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// A system's clock that stands long before the floor is what a future floor looks like.
fn ahead() -> u64 {
    system_wall().as_secs() + 400 * 86_400
}

fn restart(daemon: &mut Daemon) {
    daemon.signal(libc::SIGTERM);
    assert!(daemon.wait().success());
}

#[test]
fn a_floor_holds_at_a_start_from_the_snapshot_and_the_operator_clears_it() {
    let floor = ahead();
    let directory = tempfile::tempdir().unwrap();
    put_floor(&directory.path().join("data"), floor);
    let daemon = Daemon::start_in(
        directory,
        CONFIG,
        &[("root.zone", &snapshot()), ("hints", HINTS)],
    );
    assert!(
        daemon.log().contains("stands before the last known time"),
        "{}",
        daemon.log()
    );
    let status = json(&daemon, &["status"]);
    assert_eq!(status["clock"]["source"], "floor", "{status}");
    assert_eq!(status["clock"]["floor"], Value::from(format_utc(floor)));
    assert!(status["time"].as_str().unwrap() >= format_utc(floor).as_str());
    assert_eq!(status["metrics"]["clock_floor_in_force"], 1);
    let text = String::from_utf8(daemon.command(&["status"]).stdout).unwrap();
    assert!(
        text.contains("! the system's clock stands before"),
        "{text}"
    );
    // The snapshot serves all the same.
    let mut question = query("com.", Rtype::DS);
    question.recursion_desired = true;
    eventually("an answer from the snapshot", || {
        (!daemon.udp(&question).answer.is_empty()).then_some(())
    });

    let reset = json(&daemon, &["clock", "reset"]);
    assert_eq!(reset["running"], true);
    assert_eq!(reset["floor_was"], Value::from(format_utc(floor)));
    let status = json(&daemon, &["status"]);
    assert_eq!(status["clock"]["source"], "system", "{status}");
    assert!(status["time"].as_str().unwrap() < format_utc(floor).as_str());
    let again = String::from_utf8(daemon.command(&["clock", "reset"]).stdout).unwrap();
    assert!(again.starts_with("there was no floor"), "{again}");
}

#[test]
fn a_stopped_servers_floor_is_written_and_can_be_cleared() {
    let before = system_wall().as_secs();
    let mut daemon = Daemon::start(CONFIG, &[("root.zone", &snapshot()), ("hints", HINTS)]);
    let data_dir = daemon.file("data");
    restart(&mut daemon);
    let row = stored(&data_dir).expect("written at the stop");
    assert!(row.time_at >= before);

    put_floor(&data_dir, ahead());
    let reset = json(&daemon, &["clock", "reset"]);
    assert_eq!(reset["running"], false);
    assert!(reset["floor_was"].is_string(), "{reset}");
    assert_eq!(stored(&data_dir), None);
    let reset = json(&daemon, &["clock", "reset"]);
    assert!(reset["floor_was"].is_null(), "{reset}");
}

// Where no server has ever run there is nothing to clear, and nothing is made.
#[test]
fn a_reset_makes_no_data_dir() {
    let directory = crate::daemon::directory(&[("config.toml", "[server]\ndata_dir = \"data\"\n")]);
    let output = program(&directory.path().join("config.toml"), &["clock", "reset"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!directory.path().join("data").exists());
}

#[test]
fn a_laboratorys_clock_neither_reads_nor_writes_the_floor() {
    let floor = ahead();
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().join("data");
    put_floor(&data_dir, floor);
    let config = format!("{CONFIG}\n[lab]\nclock_file = \"clock\"\n");
    let files = [
        ("root.zone", &snapshot()[..]),
        ("clock", "@2026-08-01 12:00:00"),
        ("hints", HINTS),
    ];
    let mut daemon = Daemon::start_in(directory, &config, &files);
    let status = json(&daemon, &["status"]);
    assert_eq!(status["clock"]["source"], "file");
    assert!(
        status["time"]
            .as_str()
            .unwrap()
            .starts_with("2026-08-01T12:0")
    );
    restart(&mut daemon);
    assert_eq!(stored(&data_dir).map(|row| row.time_at), Some(floor));
}
