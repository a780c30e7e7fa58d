//! dnstap and the query log with the real program: Debian's `fstrm_capture` takes what it sends, and `dnstap-ldns` reads it. What is not installed is said
//! to be skipped.

#[path = "serve/daemon.rs"]
#[allow(dead_code)]
mod daemon;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use daemon::{Daemon, eventually, query};
use holdfast::dns::{Edns, Rcode, Rtype};

const ZONE: &str =
    "$TTL 300\n@ SOA ns host 7 36000 9000 604800 60\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.80\n";

/// Nobody outside of this machine is ever asked.
const HINTS: &str = ". 3600000 NS ns.own.test.\nns.own.test. 3600000 A 127.0.0.1\n";

/// The configuration of a server that asks nobody by itself.
const ALONE: &str = "[server]\nlisten = ['127.0.0.1:PORT']\n[control]\nhttp = ''\n[resolver]\ndnssec = 'off'\nquery_loopback = true\n\
     root_hints = 'none.hints'\nprime = false\ntrust_anchor_updates = false\n";

/// What keeps the tests with real programs from running here, if anything.
fn missing() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let absent = ["fstrm_capture", "dnstap-ldns"]
        .into_iter()
        .find(|program| {
            !std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
        });
    if let Some(program) = absent {
        println!("SKIPPED: needs {program} in the PATH");
    }
    absent.is_some()
}

/// The server that the other one forwards to, and that one with `more` in its configuration.
fn servers(more: &str) -> (Daemon, Daemon) {
    let files = [("own.zone", ZONE), ("none.hints", HINTS)];
    let behind = format!("{ALONE}[[zone]]\nname = 'own.test.'\nfile = 'own.zone'\n");
    let behind = Daemon::start(&behind, &files);
    let at = behind.addr();
    let config = format!("{ALONE}[[forward]]\nzone = 'own.test.'\nservers = ['{at}']\n{more}");
    let front = Daemon::start(&config, &files);
    (behind, front)
}

fn end(mut daemon: Daemon) -> tempfile::TempDir {
    daemon.signal(libc::SIGTERM);
    assert!(daemon.wait().success());
    std::mem::replace(&mut daemon.directory, tempfile::tempdir().unwrap())
}

fn capture(socket: &Path, file: &Path) -> Child {
    let mut command = Command::new("fstrm_capture");
    command
        .args(["-t", "protobuf:dnstap.Dnstap", "-u"])
        .arg(socket);
    let child = command.arg("-w").arg(file).stderr(Stdio::null()).spawn();
    child.unwrap()
}

fn ended(mut capture: Child) {
    // SAFETY: the child has not been waited for, so the number is still its own.
    assert_eq!(unsafe { libc::kill(capture.id() as i32, libc::SIGTERM) }, 0);
    eventually("the end of fstrm_capture", || capture.try_wait().unwrap());
}

fn read(file: &Path, form: &str) -> String {
    let mut command = Command::new("dnstap-ldns");
    let output = command.arg(form).arg("-r").arg(file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_collector_of_debians_reads_queries_and_answers() {
    if missing() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("dnstap.sock");
    let file = directory.path().join("captured.fstrm");
    let (_behind, front) = servers(&format!(
        "[dnstap]\nsocket = '{}'\nidentity = 'ns1.example'\nresolver = true\n",
        socket.display()
    ));
    // It comes later than the server, and misses nothing.
    let mut asked = query("www.own.test.", Rtype::A);
    asked.recursion_desired = true;
    asked.edns = Some(Edns::new(1232, false));
    assert_eq!(front.udp(&asked).answer.len(), 1);
    let capture = capture(&socket, &file);
    eventually("a collector", || {
        front.log().contains("the collector takes").then_some(())
    });
    asked.question.as_mut().unwrap().name = "nothing.own.test.".parse().unwrap();
    assert_eq!(front.tcp(&asked).rcode, Rcode::NXDOMAIN);
    end(front);
    ended(capture);

    let lines = read(&file, "-q");
    // After date and time: kind, address, transport, size, name, class, type.
    let seen: Vec<Vec<_>> = (lines.lines())
        .map(|line| line.split_whitespace().skip(2).collect())
        .collect();
    let has = |kind: &str, transport: &str, name: &str| {
        let wanted = |line: &Vec<&str>| {
            line[..3] == [kind, "127.0.0.1", transport]
                && line[4].trim_matches('"').eq_ignore_ascii_case(name)
        };
        assert!(seen.iter().any(wanted), "{kind} {name}:\n{lines}");
    };
    for (transport, name) in [("UDP", "www.own.test."), ("TCP", "nothing.own.test.")] {
        has("CQ", transport, name);
        has("CR", transport, name);
        has("FQ", "UDP", name);
        has("FR", "UDP", name);
    }
    assert_eq!(seen.len(), 8, "{lines}");

    let details = read(&file, "-y");
    for part in [
        "identity: \"ns1.example\"",
        concat!("version: \"holdfast ", env!("CARGO_PKG_VERSION"), "\""),
        "192.0.2.80",
        "NXDOMAIN",
    ] {
        assert!(details.contains(part), "no {part}:\n{details}");
    }
}

#[test]
fn the_query_log_has_a_line_for_each_answer() {
    let (_behind, front) = servers("[log]\nformat = 'json'\nqueries = 'queries.log'\n");
    let mut asked = query("www.own.test.", Rtype::A);
    asked.recursion_desired = true;
    front.udp(&asked);
    front.udp(&asked);
    front.tcp(&query("version.bind.", Rtype::TXT));
    let directory = end(front);
    let log = std::fs::read_to_string(directory.path().join("data/queries.log")).unwrap();
    let lines: Vec<serde_json::Value> = (log.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seen: Vec<_> = (lines.iter())
        .map(|line| ["transport", "name", "flags", "rcode"].map(|key| line[key].as_str().unwrap()))
        .collect();
    let own = ["udp", "www.own.test.", "+", "NOERROR"];
    assert_eq!(seen[..2], [own, own]);
    assert_eq!(seen[2][..3], ["tcp", "version.bind.", "-"]);
    assert_eq!(seen.len(), 3);
}
