//! Alerts of the real program: a web server gets them as JSON, a program gets them without a shell, whatever the log's level.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::daemon::{Daemon, directory, eventually, free_port};

const CONFIG: &str = r#"
[server]
listen = ["127.0.0.1:PORT"]
data_dir = "data"
[resolver]
prime = false
ipv6 = false
query_loopback = true
root_hints = "hints"
[reachability]
probe = false
domestic = ["127.0.0.0/8"]
[[mirror]]
zone = "copied.example."
sources = ["axfr:127.0.0.1:CLOSED"]
verify = "none"
[alerts]
webhook = "http://127.0.0.1:WEB/in?token=secret"
command = ["SCRIPT", "a word; with $(touch nothing)", "OUT"]
[log]
level = "error"
"#;
/// Nobody is there.
const HINTS: &str = ". 3600000 NS a.root.\na.root. 3600000 A 127.0.0.99\n";
/// Writes what it gets into a directory of its own.
const SCRIPT: &str = r#"#!/bin/sh
at="$2/$HOLDFAST_ALERT_KIND"
{ printf '%s\n' "$1"; cat; printf '\n'; env; } > "$at.part"
mv "$at.part" "$at"
"#;

/// What was posted, with the line and the head of each request.
type Posted = Arc<Mutex<Vec<(String, Value)>>>;

/// A web server that takes everything but the first request.
fn web() -> (u16, Posted) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let posted = Posted::default();
    let kept = posted.clone();
    std::thread::spawn(move || {
        for (count, stream) in listener.incoming().enumerate() {
            let status = match count {
                0 => "503 Service Unavailable",
                _ => "204 No Content",
            };
            if let Some(request) = take(stream.unwrap(), status)
                && count > 0
            {
                kept.lock().unwrap().push(request);
            }
        }
    });
    (port, posted)
}

fn take(stream: TcpStream, status: &str) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().unwrap())
    });
    let mut body = vec![0; length?];
    reader.read_exact(&mut body).ok()?;
    let reply = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    reader.get_mut().write_all(reply.as_bytes()).ok()?;
    Some((head, serde_json::from_slice(&body).unwrap()))
}

fn started(web: u16) -> Daemon {
    started_with(web, "")
}

/// With more lines in `[alerts]`.
fn started_with(web: u16, more: &str) -> Daemon {
    let directory = directory(&[("hints", HINTS)]);
    let script = directory.path().join("script.sh");
    fs::write(&script, SCRIPT).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let out = directory.path().join("out");
    fs::create_dir(&out).unwrap();
    let config = CONFIG
        .replace("[alerts]", &format!("[alerts]\n{more}"))
        .replace("CLOSED", &free_port().to_string())
        .replace("WEB", &web.to_string())
        .replace("SCRIPT", script.to_str().unwrap())
        .replace("OUT", out.to_str().unwrap());
    Daemon::start_in(directory, &config, &[])
}

/// What the script has written for an alert of this kind: its first argument, the JSON, and the environment.
fn from_script(out: &Path, kind: &str) -> (String, Value, BTreeMap<String, String>) {
    let text = eventually(kind, || fs::read_to_string(out.join(kind)).ok());
    let mut lines = text.lines();
    let argument = lines.next().unwrap().to_owned();
    let json = serde_json::from_str(lines.next().unwrap()).unwrap();
    let pair = |line: &str| Some(line.split_once('=')?).map(|(k, v)| (k.to_owned(), v.to_owned()));
    (argument, json, lines.filter_map(pair).collect())
}

fn metric(daemon: &Daemon, name: &str) -> u64 {
    let status = daemon.command(&["status", "--json"]).stdout;
    let status: Value = serde_json::from_slice(&status).unwrap();
    status["metrics"][name].as_u64().unwrap()
}

#[test]
fn a_web_server_and_a_program_are_told() {
    let (port, posted) = web();
    let daemon = started(port);
    let out = daemon.file("out");
    let drill = daemon.command(&["drill", "start", "--isolation", "--for", "1m"]);
    assert!(drill.status.success(), "{drill:?}");
    let drill = daemon.command(&["drill", "stop"]);
    assert!(drill.status.success(), "{drill:?}");

    let of_kind = |kind: &str| {
        eventually(kind, || {
            let all = posted.lock().unwrap();
            all.iter().find(|(_, alert)| alert["kind"] == kind).cloned()
        })
    };
    // The first one was refused, and sent again.
    let (head, refresh) = of_kind("mirror_refresh");
    assert!(
        head.starts_with("POST /in?token=secret HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.to_lowercase()
            .contains("content-type: application/json\r\n"),
        "{head}"
    );
    assert_eq!(refresh["severity"], "warning");
    assert_eq!(refresh["subject"], "copied.example.");
    assert_eq!(refresh["left_out"], 0);
    assert!(
        refresh["details"]["error"]
            .as_str()
            .unwrap()
            .contains("127.0.0.1"),
        "{refresh}"
    );
    let (_, begun) = of_kind("drill_started");
    assert_eq!(begun["subject"], "everything outside of domestic");
    let (_, ended) = of_kind("drill_ended");
    assert!(
        ended["text"]
            .as_str()
            .unwrap()
            .contains("THE DRILL IS OVER"),
        "{ended}"
    );

    let (argument, json, environment) = from_script(&out, "drill_started");
    assert_eq!(argument, "a word; with $(touch nothing)");
    assert_eq!((&json["text"], &json["at"]), (&begun["text"], &begun["at"]));
    assert_eq!(environment["HOLDFAST_ALERT_KIND"], "drill_started");
    assert_eq!(environment["HOLDFAST_ALERT_SEVERITY"], "warning");
    assert_eq!(environment["HOLDFAST_ALERT_SUBJECT"], begun["subject"]);
    assert_eq!(environment["HOLDFAST_ALERT_TEXT"], begun["text"]);
    assert!(!environment.contains_key("HOME"), "{environment:?}");
    from_script(&out, "mirror_refresh");
    from_script(&out, "drill_ended");

    eventually("the last is sent", || {
        (metric(&daemon, "alerts_webhook_sent_total") == 3).then_some(())
    });
    for (name, value) in [
        ("alerts_total", 3),
        ("alerts_drill_started_total", 1),
        ("alerts_drill_ended_total", 1),
        ("alerts_drill_aborted_total", 0),
        ("alerts_mirror_refresh_total", 1),
        ("alerts_command_done_total", 3),
        ("alerts_command_failed_total", 0),
        ("alerts_webhook_failed_total", 0),
        ("alerts_dropped_total", 0),
    ] {
        assert_eq!(metric(&daemon, name), value, "{name}");
    }
    assert!(!daemon.log().contains("refresh failed"), "{}", daemon.log());
    assert!(!daemon.log().contains("secret"), "{}", daemon.log());
}

/// Another drill of the same cut-off within the interval is nothing new; one of another is.
#[test]
fn what_repeats_is_told_once_an_interval() {
    let (port, posted) = web();
    let daemon = started_with(port, "interval = \"1h\"");
    let drill = |arguments: &[&str]| {
        let start = [&["drill", "start", "--for", "1m"], arguments].concat();
        for command in [&start[..], &["drill", "stop"]] {
            let done = daemon.command(command);
            assert!(done.status.success(), "{done:?}");
        }
    };
    for _ in 0..3 {
        drill(&["--isolation"]);
    }
    drill(&["--zone", "other.example"]);
    let of = |subject: &str| -> Vec<Value> {
        let all = posted.lock().unwrap();
        let of_drills = all
            .iter()
            .filter(|(_, alert)| alert["kind"] == "drill_ended");
        let of_drills =
            of_drills.filter(|(_, alert)| alert["subject"].as_str().unwrap().contains(subject));
        of_drills.map(|(_, alert)| alert.clone()).collect()
    };
    // One after the other: when the last is here, so are those before.
    eventually("the end of the last drill", || of("other.example").pop());
    assert_eq!(of("domestic").len(), 1, "{posted:?}");
    assert_eq!(of("other.example").len(), 1, "{posted:?}");
    assert_eq!(metric(&daemon, "alerts_drill_ended_total"), 4);
}
