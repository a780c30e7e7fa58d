//! The real program as a secondary of real NSD, Knot DNS and BIND, each in a network namespace of its own: whole and incremental
//! transfers, signed and unsigned, over TCP and TLS, brought forward by their NOTIFY, and the whole zone where they have no changes any more.
//!
//! A server that is not in the PATH is said to be skipped. Zones are unsigned: what verification makes of them is tested
//! elsewhere, here it is what the servers say and in which form.

#[path = "serve/authority.rs"]
mod authority;
#[path = "serve/daemon.rs"]
#[allow(dead_code)]
mod daemon;
#[path = "serve/namespace.rs"]
mod namespace;
#[path = "primaries/servers.rs"]
mod servers;

use std::time::Duration;

use authority::Authority;
use daemon::{Daemon, now};
use serde_json::Value;
use servers::{How, KEY, Kind, Primary, SECRET};

/// Transfers and NOTIFY retries of real servers take their time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The name in the server's certificate.
const PRIMARY: &str = "primary.example";
/// Names of the zone: enough that a transfer is several messages.
const NAMES: u32 = 4000;

#[test]
fn nsd() {
    with_and_without_key(Kind::Nsd);
}

#[test]
fn knot() {
    with_and_without_key(Kind::Knot);
}

#[test]
fn bind() {
    with_and_without_key(Kind::Bind);
}

fn with_and_without_key(kind: Kind) {
    if !kind.is_there() {
        println!("SKIPPED: needs {} in the PATH", kind.program());
        return;
    }
    if !namespace::enter() {
        return;
    }
    for how in [How::Plain, How::Signed, How::Encrypted] {
        if how == How::Encrypted && !kind.encrypts() {
            println!("{kind:?} over TLS: left out, see Kind::encrypts");
            continue;
        }
        follow(kind, how);
    }
}

/// From the first transfer over changes to a server that has forgotten them.
fn follow(kind: Kind, how: How) {
    let port = daemon::free_port();
    let files = Files::new();
    let (holdfast, mut primary) = start(port, how, &files, |mirror| {
        Primary::start(kind, port, mirror, how, &zone(1, ""), &files.of_primary())
    });
    let signed = how != How::Plain;
    let what = format!("{kind:?}, {how:?}");
    wait(&holdfast, &what, 1);
    let channel = match how {
        How::Plain => "plain",
        How::Signed => "tsig",
        How::Encrypted => "tls",
    };
    assert_eq!(mirror(&holdfast)["channel"], channel, "{what}");
    let source = &mirror(&holdfast)["sources"][0];
    assert!(source["last_ok"].is_string(), "{what}: {source}");
    for serial in [2, 3] {
        primary.publish(&zone(serial, &format!("new{serial} A 192.0.2.9\n")));
        // Its SOA says to come again in a day: only the NOTIFY can be the reason.
        wait(&holdfast, &what, serial);
    }
    let metric = |name: &str| status(&holdfast)["metrics"][name].as_u64().unwrap();
    assert!(metric("notifies_taken_total") >= 2, "{what}");
    assert_eq!(metric("notifies_refused_total"), 0, "{what}");
    assert_eq!(metric("tsig_good_total") >= 2, signed, "{what}");
    assert_eq!(metric("tsig_bad_total"), 0, "{what}");
    let (whole, changes) = (
        metric("mirror_transfers_full_total"),
        metric("mirror_transfers_ixfr_total"),
    );
    println!(
        "{what}: {whole} whole, {changes} incremental; {}",
        mirror(&holdfast)["last_notify"]
    );
    assert_eq!((whole, changes), (1, 2), "{what}: {}", mirror(&holdfast));
    assert_eq!(ask(&holdfast, "new3.x.test."), 1, "{what}");
    assert_eq!(ask(&holdfast, "new2.x.test."), 0, "{what}");
    signed_answers(&holdfast);
    // Without its journal it has nothing but the whole zone.
    primary.forget(&zone(9, ""));
    // Not every server tells of what it begins with.
    holdfast.command(&["mirror", "refresh", "x.test."]);
    wait(&holdfast, &what, 9);
    assert_eq!(metric("mirror_transfers_full_total"), 2, "{what}");
    assert_eq!(metric("mirror_ixfr_fallbacks_total"), 1, "{what}");
    let source = &mirror(&holdfast)["sources"][0];
    println!("{what}: no changes: {}", source["no_changes"]);
    assert!(source["no_changes"].is_string(), "{what}: {source}");
    assert_eq!(source["failures"], 0, "{what}: {source}");
}

/// `dig -y` takes the signatures of this server's answers.
fn signed_answers(daemon: &Daemon) {
    for transport in ["+tcp", "+notcp"] {
        let mut dig = std::process::Command::new("dig");
        dig.args([
            "-r",
            "@127.0.0.1",
            "-p",
            &daemon.port.to_string(),
            transport,
        ]);
        dig.args([
            "-y",
            &format!("hmac-sha256:{KEY}:{SECRET}"),
            "x.test.",
            "SOA",
        ]);
        let Ok(output) = dig.output() else {
            println!("SKIPPED: needs dig in the PATH");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            text.contains("status: NOERROR") && text.contains("TSIG\thmac-sha256."),
            "{text}"
        );
        assert!(
            !text.contains("could not be validated") && said.is_empty(),
            "{text}{said}"
        );
    }
}

/// Certificates of both ends, in PEM form.
struct Files {
    ca: String,
    /// The server's, and the program's own.
    server: (String, String),
    own: (String, String),
}

impl Files {
    fn new() -> Files {
        let authority = Authority::new();
        Files {
            ca: authority.pem(),
            server: authority.identity(PRIMARY),
            own: authority.identity("secondary.example"),
        }
    }

    fn of_primary(&self) -> [(&str, &str); 3] {
        [
            ("ca.pem", &self.ca),
            ("cert.pem", &self.server.0),
            ("key.pem", &self.server.1),
        ]
    }
}

/// The program, once the primary knows its port.
fn start(
    primary_port: u16,
    how: How,
    files: &Files,
    primary: impl FnOnce(u16) -> Primary,
) -> (Daemon, Primary) {
    let mut more = match how {
        How::Plain => String::new(),
        How::Signed | How::Encrypted => format!(", tsig = \"{KEY}\""),
    };
    if how == How::Encrypted {
        more += &format!(
            ", tls = true, tls_name = \"{PRIMARY}\", ca = \"ca.pem\", cert = \"me.pem\", key = \"me.key\""
        );
    }
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:PORT\"]\n[resolver]\nprime = false\nquery_loopback = true\n[reachability]\nprobe = false\n\
         [[tsig]]\nname = \"{KEY}\"\nsecret_file = \"secret\"\n\
         [[mirror]]\nzone = \"x.test.\"\nuse = \"always\"\nverify = \"none\"\n\
         sources = [{{ axfr = \"127.0.0.1:{primary_port}\"{more} }}]\n"
    );
    let daemon = Daemon::start(
        &config,
        &[
            ("secret", SECRET),
            ("ca.pem", &files.ca),
            ("me.pem", &files.own.0),
            ("me.key", &files.own.1),
        ],
    );
    let primary = primary(daemon.port);
    (daemon, primary)
}

/// A version whose timers alone would bring nobody back within a day.
fn zone(serial: u32, more: &str) -> String {
    let mut text = format!(
        "$ORIGIN x.test.\n$TTL 300\n@ SOA ns host {serial} 86400 86400 864000 300\n@ NS ns\nns A 192.0.2.53\n{more}"
    );
    for i in 0..NAMES {
        text.push_str(&format!("name{i} NS ns{i}.elsewhere.test.\n"));
    }
    text
}

fn status(daemon: &Daemon) -> Value {
    let output = daemon.command(&["status", "--json"]);
    serde_json::from_slice(&output.stdout).expect("a status")
}

fn mirror(daemon: &Daemon) -> Value {
    status(daemon)["mirrors"][0].clone()
}

fn wait(daemon: &Daemon, what: &str, serial: u32) {
    let begun = now();
    loop {
        let mirror = mirror(daemon);
        if mirror["serial"] == serial {
            println!("{what}: serial {serial} after {:?}", now() - begun);
            return;
        }
        assert!(
            now() - begun < PATIENCE,
            "{what}: {mirror}\n{}",
            daemon.log()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Addresses in the answer.
fn ask(daemon: &Daemon, name: &str) -> usize {
    let reply = daemon.udp(&daemon::query(name, holdfast::dns::Rtype::A));
    reply.answer.len()
}
