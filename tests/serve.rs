//! The real binary on loopback: own zones over UDP and TCP, bad packets, signals, reload, control socket.

#[path = "serve/alerts.rs"]
mod alerts;
#[path = "serve/clock.rs"]
mod clock;
#[path = "serve/daemon.rs"]
mod daemon;
#[path = "serve/drills.rs"]
mod drills;
#[path = "serve/old_answers.rs"]
mod old_answers;
#[path = "serve/protocol.rs"]
mod protocol;
#[path = "serve/versions.rs"]
mod versions;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use daemon::{Daemon, PATIENCE, datagram, directory, eventually, now, program, query, tcp};
use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Class, Ede, Edns, Message, Rcode, Rtype};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

const CONFIG: &str = r#"
[server]
listen = ["127.0.0.1:PORT"]
workers = 2
[access]
allow = []
[[zone]]
name = "lab.test."
file = "lab.zone"
"#;

const ZONE: &str = r#"
$TTL 300
@       SOA    ns1 hostmaster 7 3600 900 604800 60
        NS     ns1
ns1     A      192.0.2.53
www     A      192.0.2.80
        TYPE65400 \# 3 010203
alias   CNAME  www
*.wild  TXT    "any"
sub     NS     ns.sub
ns.sub  A      192.0.2.54
big     TXT    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        TXT    "1123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        TXT    "2123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        TXT    "3123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
        TXT    "4123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
"#;

fn started() -> Daemon {
    Daemon::start(CONFIG, &[("lab.zone", ZONE)])
}

fn served(daemon: &Daemon) -> bool {
    daemon.udp(&query("www.lab.test.", Rtype::A)).answer.len() == 1
}

/// The answer's code, AA, and how many records each section has.
fn shape(m: &Message) -> (Rcode, bool, [usize; 3]) {
    let counts = [m.answer.len(), m.authority.len(), m.additional.len()];
    (m.rcode, m.authoritative, counts)
}

#[test]
fn own_zones_are_answered_alike_over_udp_and_tcp() {
    let daemon = started();
    let check = |name, rtype, expected: (Rcode, bool, [usize; 3])| {
        let mut question = query(name, rtype);
        for edns in [None, Some(Edns::new(1232, true))] {
            question.edns = edns;
            let udp = daemon.udp(&question);
            assert_eq!(shape(&udp), expected, "{name} {rtype}");
            assert_eq!(udp.question, question.question);
            assert_eq!(udp.edns.is_some(), question.edns.is_some());
            assert_eq!(daemon.tcp(&question), udp);
        }
    };
    check("www.lab.test.", Rtype::A, (Rcode::NOERROR, true, [1, 0, 0]));
    check(
        "WwW.LaB.tEsT.",
        Rtype(65_400),
        (Rcode::NOERROR, true, [1, 0, 0]),
    );
    check("no.lab.test.", Rtype::A, (Rcode::NXDOMAIN, true, [0, 1, 0]));
    check(
        "www.lab.test.",
        Rtype::MX,
        (Rcode::NOERROR, true, [0, 1, 0]),
    );
    check(
        "alias.lab.test.",
        Rtype::A,
        (Rcode::NOERROR, true, [2, 0, 0]),
    );
    check(
        "a.b.wild.lab.test.",
        Rtype::TXT,
        (Rcode::NOERROR, true, [1, 0, 0]),
    );
    check(
        "x.sub.lab.test.",
        Rtype::A,
        (Rcode::NOERROR, false, [0, 1, 1]),
    );
    check("lab.test.", Rtype::SOA, (Rcode::NOERROR, true, [1, 0, 0]));
    check(
        "elsewhere.test.",
        Rtype::A,
        (Rcode::REFUSED, false, [0, 0, 0]),
    );
    check("lab.test.", Rtype::AXFR, (Rcode::REFUSED, false, [0, 0, 0]));
}

#[test]
fn truncated_answers_are_whole_over_tcp() {
    let daemon = started();
    let mut question = query("big.lab.test.", Rtype::TXT);
    let short = daemon.udp(&question);
    assert!(short.truncated && short.answer.is_empty());
    assert!(short.encode(MESSAGE_LEN_MAX).len() <= 512);
    let mut stream = daemon.connect();
    // Several questions on one connection.
    for _ in 0..3 {
        let whole = tcp(&mut stream, &question);
        assert!(!whole.truncated && whole.answer.len() == 5);
    }
    question.edns = Some(Edns::new(1232, false));
    assert_eq!(daemon.udp(&question).answer.len(), 5);
}

#[test]
fn tcp_connections_past_the_limit_are_closed_and_places_come_back() {
    let config = format!("{CONFIG}\n[limits]\ntcp_connections_max = 1\n");
    let daemon = Daemon::start(&config, &[("lab.zone", ZONE)]);
    let question = query("www.lab.test.", Rtype::A);
    let mut first = daemon.connect();
    assert_eq!(tcp(&mut first, &question).answer.len(), 1);
    let mut second = daemon.connect();
    let read = second.read(&mut [0; 1]);
    assert!(
        matches!(read, Ok(0) | Err(_)),
        "no place, yet it got {read:?}"
    );
    drop(first);
    eventually("a place for another connection", || {
        let mut third = daemon.connect();
        let wire = question.encode(512);
        let framed = [&(wire.len() as u16).to_be_bytes()[..], &wire].concat();
        third.write_all(&framed).ok()?;
        third.read_exact(&mut [0; 2]).ok()
    });
}

#[test]
fn errors_are_said_alike_over_udp_and_tcp() {
    let daemon = started();
    let check = |change: &dyn Fn(&mut Message), rcode| {
        let mut question = query("www.lab.test.", Rtype::A);
        change(&mut question);
        let udp = daemon.udp(&question);
        assert_eq!(udp.rcode, rcode);
        let tcp = daemon.tcp(&question);
        assert_eq!(tcp, udp);
        udp
    };
    check(&|m| m.opcode = 5, Rcode::NOTIMP);
    check(&|m| m.question = None, Rcode::FORMERR);
    check(
        &|m| m.question.as_mut().unwrap().class = Class::CH,
        Rcode::REFUSED,
    );
    let version_1 = Edns {
        version: 1,
        ..Edns::new(1232, false)
    };
    let reply = check(&|m| m.edns = Some(version_1.clone()), Rcode::BADVERS);
    assert_eq!(reply.edns.unwrap().version, 0);
    let other = |m: &mut Message| {
        m.question.as_mut().unwrap().name = "elsewhere.".parse().unwrap();
        m.edns = Some(Edns::new(1232, false));
    };
    let refused = check(&other, Rcode::REFUSED);
    assert_eq!(refused.errors()[0].code, Ede::PROHIBITED);
}

#[test]
fn closed_zones_are_refused() {
    let config = CONFIG.replace("allow = []", "allow = []\nallow_own_zones = []");
    let daemon = Daemon::start(&config, &[("lab.zone", ZONE)]);
    let reply = daemon.udp(&query("www.lab.test.", Rtype::A));
    assert_eq!(shape(&reply), (Rcode::REFUSED, false, [0, 0, 0]));
}

#[test]
fn garbage_harms_nothing() {
    let daemon = started();
    let wait = Duration::from_millis(100);
    let response = query("www.lab.test.", Rtype::A)
        .reply(Rcode::NOERROR)
        .encode(MESSAGE_LEN_MAX);
    assert_eq!(daemon.datagram(&response, wait), None);
    assert_eq!(daemon.datagram(b"", wait), None);
    assert_eq!(daemon.datagram(b"\x00\x01\x00", wait), None);
    let header_only = [0xAB, 0xCD, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let answer = daemon.datagram(&header_only, PATIENCE).unwrap();
    assert_eq!(Message::parse(&answer).unwrap().rcode, Rcode::FORMERR);
    assert_eq!(answer[..2], header_only[..2]);

    let mut rng = SmallRng::seed_from_u64(3);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..3000 {
        let mut bytes = vec![0; rng.random_range(0..600)];
        rng.fill(&mut bytes[..]);
        let _ = socket.send_to(&bytes, daemon.addr());
    }
    // The port of these answers is closed: the network's complaints must not end the listener.
    drop(socket);
    for _ in 0..20 {
        let mut stream = daemon.connect();
        let mut bytes = vec![0; rng.random_range(0..600)];
        rng.fill(&mut bytes[..]);
        let _ = stream.write_all(&bytes);
    }
    for _ in 0..8 {
        assert!(served(&daemon));
    }
    assert_eq!(
        daemon.tcp(&query("www.lab.test.", Rtype::A)).answer.len(),
        1
    );
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[test]
fn answers_come_from_the_address_that_was_asked() {
    let config = CONFIG.replace("\"127.0.0.1:PORT\"", "\"0.0.0.0:PORT\", \"[::]:PORT\"");
    let config = config.replace("allow = []", "allow_own_zones = [\"0.0.0.0/0\", \"::/0\"]");
    let daemon = Daemon::start(&config, &[("lab.zone", ZONE)]);
    let wire = query("www.lab.test.", Rtype::A).encode(MESSAGE_LEN_MAX);
    for last in [1, 2, 77] {
        let server = SocketAddr::new(Ipv4Addr::new(127, 0, 0, last).into(), daemon.port);
        let answer = datagram(server, &wire, PATIENCE).expect("an answer from the same address");
        assert_eq!(Message::parse(&answer).unwrap().answer.len(), 1);
    }
    // Only where the machine has IPv6.
    if std::net::UdpSocket::bind("[::1]:0").is_ok() {
        let server = SocketAddr::new("::1".parse().unwrap(), daemon.port);
        assert!(datagram(server, &wire, PATIENCE).is_some());
    }
}

#[test]
fn signals_end_it_with_code_0_within_two_seconds() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut daemon = started();
        assert!(served(&daemon));
        let _idle_connection = daemon.connect();
        let begin = now();
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(0));
        assert!(now() - begin < Duration::from_secs(2));
        assert!(!daemon.file("data/control.sock").exists());
    }
}

#[test]
fn bad_configurations_end_with_code_2_and_the_place() {
    let check = |config: &str, expected: &str| {
        let directory = directory(&[("config.toml", config)]);
        let file = directory.path().join("config.toml");
        for command in ["run", "check"] {
            let output = program(&file, &[command]).output().unwrap();
            assert_eq!(output.status.code(), Some(2));
            let stderr = String::from_utf8(output.stderr).unwrap();
            let place = format!("{}:{expected}", file.display());
            assert!(stderr.contains(&place), "{stderr}");
        }
    };
    check("[server]\nlisten = [\"nowhere\"]\n", "2: ");
    check("[sever]\n", "1: ");
    check("[log]\nlevel = \"loud\"\n", "2: ");
    check("not toml", "1: ");
}

#[test]
fn a_reader_that_went_away_is_no_panic() {
    let directory = directory(&[("config.toml", CONFIG), ("lab.zone", ZONE)]);
    let file = directory.path().join("config.toml");
    fs::write(&file, CONFIG.replace("PORT", "5300")).unwrap();
    for arguments in [vec!["check"], vec!["check", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program(&file, &arguments).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

#[test]
fn what_cannot_listen_ends_with_code_1() {
    let daemon = started();
    let second = daemon.command(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert!(
        stderr.contains("cannot listen on TCP 127.0.0.1:"),
        "{stderr}"
    );

    // An address that the machine lacks is a warning beside one that it has, and an error alone.
    let both = CONFIG.replace("[\"127", "[\"192.0.2.1:PORT\", \"127");
    let daemon = Daemon::start(&both, &[("lab.zone", ZONE)]);
    assert!(served(&daemon));
    assert!(daemon.log().contains("192.0.2.1"), "{}", daemon.log());
    let alone = CONFIG.replace("127.0.0.1:PORT", "192.0.2.1:5300");
    let directory = directory(&[("config.toml", &alone), ("lab.zone", ZONE)]);
    let output = program(&directory.path().join("config.toml"), &["run"]).output();
    assert_eq!(output.unwrap().status.code(), Some(1));
}

#[test]
fn sighup_reads_zones_and_configuration_again() {
    let daemon = started();
    let serial = || {
        let soa = daemon.udp(&query("lab.test.", Rtype::SOA));
        holdfast::dns::Soa::parse(&soa.answer[0].rdata)
            .unwrap()
            .serial
    };
    let rewrite = |zone: &str| {
        fs::write(daemon.file("lab.zone"), zone).unwrap();
        daemon.signal(libc::SIGHUP);
    };
    assert_eq!(serial(), 7);
    rewrite(&ZONE.replace("hostmaster 7", "hostmaster 8"));
    eventually("the new serial", || (serial() == 8).then_some(()));

    // A broken file leaves the zone as it was, and `status` says so.
    rewrite("@ SOA broken\n");
    eventually("an error in the log", || {
        daemon.log().contains("lab.zone:1:").then_some(())
    });
    assert_eq!(serial(), 8);
    let status = daemon.command(&["status"]);
    assert!(
        String::from_utf8(status.stdout)
            .unwrap()
            .contains("lab.zone:1:")
    );

    // A broken configuration changes nothing either; a good one is used.
    let good = fs::read_to_string(daemon.file("config.toml")).unwrap();
    let closed = good.replace("allow = []", "allow = []\nallow_own_zones = []");
    fs::write(
        daemon.file("config.toml"),
        format!("{closed}\n[nonsense]\n"),
    )
    .unwrap();
    daemon.signal(libc::SIGHUP);
    eventually("a fault in the log", || {
        daemon
            .log()
            .contains("keeping the configuration")
            .then_some(())
    });
    assert_eq!(serial(), 8);
    fs::write(daemon.file("config.toml"), closed).unwrap();
    daemon.signal(libc::SIGHUP);
    eventually("the new access list", || {
        let reply = daemon.udp(&query("lab.test.", Rtype::SOA));
        (reply.rcode == Rcode::REFUSED).then_some(())
    });
}

/// RFC 7646: those of the configuration and those that own zones imply, both after SIGHUP.
#[test]
fn sighup_takes_up_negative_trust_anchors() {
    let daemon = started();
    let negative = || -> Vec<(String, bool, bool)> {
        let output = daemon.command(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = status["negative_trust_anchors"].as_array().unwrap();
        let row = |a: &serde_json::Value| {
            let ended = a["left_s"].as_u64() == Some(0);
            (
                a["name"].as_str().unwrap().to_owned(),
                a["own_zone"] == true,
                ended,
            )
        };
        list.iter().map(row).collect()
    };
    assert_eq!(negative(), [("lab.test.".to_owned(), true, false)]);
    let config = fs::read_to_string(daemon.file("config.toml")).unwrap();
    let ended = "{ name = \"old.example.\", until = \"2020-01-01T00:00:00Z\" }";
    let list = format!("[resolver]\nnegative_trust_anchors = [\"broken.example.\", {ended}]\n");
    let zone = "[[zone]]\nname = \"more.test.\"\nfile = \"lab.zone\"\n";
    fs::write(
        daemon.file("config.toml"),
        format!("{config}\n{zone}{list}"),
    )
    .unwrap();
    daemon.signal(libc::SIGHUP);
    let expected = [
        ("broken.example.", false, false),
        ("old.example.", false, true),
        ("lab.test.", true, false),
        ("more.test.", true, false),
    ];
    let expected = expected.map(|(name, own, ended)| (name.to_owned(), own, ended));
    eventually("the new negative trust anchors", || {
        (negative() == expected).then_some(())
    });
    assert!(daemon.log().contains("a negative trust anchor has ended"));
    assert!(!daemon.log().contains("takes effect at the next start"));
    // And away again.
    fs::write(daemon.file("config.toml"), &config).unwrap();
    daemon.signal(libc::SIGHUP);
    eventually("the old ones", || (negative().len() == 1).then_some(()));
}

#[test]
fn a_broken_zone_file_costs_only_its_zone() {
    let config = format!("{CONFIG}\n[[zone]]\nname = \"bad.test.\"\nfile = \"bad.zone\"\n");
    let files = [
        ("lab.zone", ZONE),
        ("bad.zone", "@ NS nowhere\nx A 1.2.3\n"),
    ];
    let daemon = Daemon::start(&config, &files);
    assert!(served(&daemon));
    let reply = daemon.udp(&query("x.bad.test.", Rtype::A));
    assert_eq!(reply.rcode, Rcode::SERVFAIL);
    let check = daemon.command(&["check"]);
    assert_eq!(check.status.code(), Some(2));
    let stderr = String::from_utf8(check.stderr).unwrap();
    assert!(stderr.contains("bad.zone:2:"), "{stderr}");
}

#[test]
fn the_control_socket_tells_the_state() {
    let mut daemon = started();
    assert!(served(&daemon));
    let output = daemon.command(&["status", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["uptime_s"].is_u64());
    assert_eq!(status["mirrors"], serde_json::json!([]));
    assert_eq!(status["zones"][0]["serial"], 7);
    assert_eq!(status["metrics"]["answers_own_total"], 1);
    let text = daemon.command(&["status"]);
    assert!(
        String::from_utf8(text.stdout)
            .unwrap()
            .contains("lab.test.  7")
    );

    daemon.signal(libc::SIGKILL);
    daemon.wait();
    let output = daemon.command(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("no holdfast answers"), "{stderr}");
}

/// What a running server can be asked with: no more of the configuration than the place of its socket has to be right.
#[test]
fn commands_to_the_server_need_only_its_socket() {
    let daemon = started();
    let sound = fs::read_to_string(daemon.file("config.toml")).unwrap();
    let check = |config: &str, code, expected: &str| {
        fs::write(daemon.file("config.toml"), config).unwrap();
        let output = daemon.command(&["status"]);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(expected), "{text}");
    };
    check(&format!("{sound}\n[nonsense]\n"), 0, "lab.test.");
    check("[[mirror]]\nzone = 7\n", 0, "lab.test.");
    check(
        "[control]\nsocket = \"other.sock\"\n",
        1,
        "no holdfast answers",
    );
    check(
        "[control]\nsocket = \"/etc/x\"\n",
        2,
        "config.toml:2: control.socket",
    );
    check("[control\n", 2, "the control socket cannot be found");
}

/// Everything that is asked stays on loopback: the root hints name a place where nobody listens.
#[test]
fn a_trace_shows_own_zones_mirrors_and_failures() {
    let root_zone = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/root.zone");
    let config = format!(
        r#"
[server]
listen = ["127.0.0.1:PORT"]
[resolver]
root_hints = "hints"
prime = false
query_loopback = true
[reachability]
probe = false
[log]
servfail = true
[[mirror]]
zone = "."
sources = ["axfr:127.0.0.9:9"]
bootstrap = "{}"
[[zone]]
name = "lab.test."
file = "lab.zone"
"#,
        root_zone.display()
    );
    let zone = ZONE.replace("192.0.2.54", "127.0.0.9");
    let hints = ". 3600 NS a.root.\na.root. 3600 A 127.0.0.9\n";
    let daemon = Daemon::start(&config, &[("lab.zone", &zone), ("hints", hints)]);
    let trace = |arguments: &[&str], expected: &[&str]| {
        let output = daemon.command(&[&["trace"], arguments].concat());
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        for part in expected {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        text
    };
    trace(
        &["www.lab.test."],
        &[
            "www.lab.test. A: NOERROR",
            "192.0.2.80",
            "own zone lab.test. answered",
        ],
    );
    let by_mirror = [
        "com. DS: NOERROR",
        "! 127.0.0.9 (a.root.)",
        "unreachable",
        "mirror . serial ",
        "as last resort: no server was of use",
    ];
    trace(&["com.", "DS"], &by_mirror);
    trace(
        &["com.", "DS"],
        &["cache: com. DS", "--no-cache works it out afresh"],
    );
    trace(&["com.", "DS", "--no-cache"], &by_mirror);
    let failed = "EDE 22 (no reachable authority): sub.lab.test.: asked for x.sub.lab.test. A: 127.0.0.9 (ns.sub.lab.test.)";
    let way = [
        "x.sub.lab.test. A: SERVFAIL",
        failed,
        "mirror lab.test. serial 7",
        "referral to sub.lab.test.",
        "! 127.0.0.9 (ns.sub.lab.test.) udp, x.sub.lab.test. A: unreachable",
    ];
    trace(&["x.sub.lab.test."], &way);
    trace(
        &["x.sub.lab.test."],
        &["failed before, and that is remembered", failed],
    );
    eventually("the reason in the log", || {
        let log = daemon.log();
        let line = log.lines().find(|l| l.contains("SERVFAIL"))?;
        (line.contains("x.sub.lab.test. A") && line.contains("127.0.0.9")).then_some(())
    });
    let json = trace(&["x.sub.lab.test.", "A", "--json", "--no-cache"], &[]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["rcode"], "SERVFAIL");
    assert_eq!(report["errors"][0]["code"], 22);
    let events = report["events"].as_array().unwrap();
    let exchange = events.iter().find(|e| e["event"] == "exchange").unwrap();
    assert_eq!(exchange["server"], "127.0.0.9");
    assert!(exchange["parent"].as_u64() < exchange["id"].as_u64());

    let output = daemon.command(&["trace", "www.lab.test.", "NOTYPE"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no record type"));
}

#[test]
fn check_accepts_what_is_sound() {
    let directory = directory(&[("config.toml", CONFIG), ("lab.zone", ZONE)]);
    let config = CONFIG.replace("PORT", "5300");
    let file = directory.path().join("config.toml");
    fs::write(&file, config).unwrap();
    let output = program(&file, &["check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        !directory.path().join("data").exists(),
        "check writes nothing"
    );
    let output = program(&file, &["check", "--json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true);
}

#[test]
fn the_lab_clock_is_followed() {
    let config = format!("{CONFIG}\n[lab]\nclock_file = \"clock\"\n");
    let files = [("lab.zone", ZONE), ("clock", "@2018-11-30 12:19:06")];
    let daemon = Daemon::start(&config, &files);
    assert!(daemon.log().contains("lab.clock_file"));
    let year = || {
        let output = daemon.command(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        status["time"].as_str().unwrap()[..13].to_owned()
    };
    assert_eq!(year(), "2018-11-30T12");
    fs::write(daemon.file("next"), "0").unwrap();
    fs::rename(daemon.file("next"), daemon.file("clock")).unwrap();
    eventually("the other time", || {
        (year() == "1970-01-01T00").then_some(())
    });
}

#[test]
fn zone_verify_speaks_through_exit_codes() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/root.zone");
    let text = fs::read_to_string(&root).unwrap();
    // The glue of one server: covered by no signature but that of the zone's digest.
    let glue = text
        .lines()
        .find(|l| l.contains("\tAAAA\t") && !l.starts_with('.'));
    let damaged = text.replacen(glue.unwrap(), "", 1);
    let directory = directory(&[("damaged", &damaged), ("lab.zone", ZONE)]);
    let check = |file: &std::path::Path, more: &[&str], code, expected: &str| {
        let file = file.to_str().unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast"));
        let output = command
            .args(["zone", "verify", file])
            .args(more)
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(expected), "{text}");
    };
    let at = ["--at", "2026-08-01T12:00:00Z"];
    check(&root, &at, 0, "verified (SIMPLE, SHA-384)");
    check(&root, &["--at", "@0"], 1, "DNSKEY");
    check(&directory.path().join("damaged"), &at, 1, "ZONEMD");
    let json = [at[0], at[1], "--json"];
    check(&directory.path().join("damaged"), &json, 1, "\"refused\"");
    check(&root, &["--anchor", "/nonexistent"], 2, "cannot be read");
    check(&root, &["--at", "soon"], 2, "not a time");
    check(&directory.path().join("none"), &at, 2, "none");
    check(&directory.path().join("lab.zone"), &[], 1, "");
}

/// A mirror of the bundled root zone, taken from its file, at a time when its signatures are valid. Nothing
/// is asked of the network.
const MIRROR: &str = r#"
[server]
listen = ["127.0.0.1:PORT"]
workers = 1
[resolver]
prime = false
[reachability]
probe = false
[[mirror]]
zone = "."
use = "always"
sources = ["file:root.zone"]
[lab]
clock_file = "clock"
"#;

#[test]
fn a_mirror_answers_and_obeys_the_operator() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/zones/root.zone");
    let text = fs::read_to_string(root).unwrap();
    let files = [
        ("root.zone", text.as_str()),
        ("clock", "@2026-08-01 12:00:00"),
    ];
    let daemon = Daemon::start(MIRROR, &files);
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = daemon.command(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let list = eventually("a current generation", || {
        Some(json(&["mirror", "list"])).filter(|list| list[0]["serial"].is_number())
    });
    assert_eq!(list[0]["zone"], ".");
    assert_eq!(list[0]["use"], "always");
    assert_eq!(list[0]["state"], "online");
    assert_eq!(list[0]["serial"], 2_026_073_102);
    // What moves with time is another matter.
    let still = |mut mirrors: serde_json::Value| {
        for key in ["age_s", "transfer", "sources"] {
            mirrors[0][key] = serde_json::Value::Null;
        }
        mirrors
    };
    assert_eq!(still(json(&["status"])["mirrors"].take()), still(list));

    // A validated answer out of the mirror: no AA, AD for who understands it.
    let mut question = query("com.", Rtype::DS);
    question.recursion_desired = true;
    question.edns = Some(Edns::new(1232, true));
    let reply = daemon.udp(&question);
    assert_eq!((reply.rcode, reply.authoritative), (Rcode::NOERROR, false));
    assert!(reply.authentic_data && reply.recursion_available);
    assert_eq!(daemon.tcp(&question).answer.len(), reply.answer.len());
    question.question.as_mut().unwrap().name = "no-such-tld.".parse().unwrap();
    let reply = daemon.udp(&question);
    assert_eq!((reply.rcode, reply.authentic_data), (Rcode::NXDOMAIN, true));
    question.edns = None;
    assert!(!daemon.udp(&question).authentic_data);
    assert!(
        daemon
            .udp(&question)
            .authority
            .iter()
            .all(|r| r.rtype == Rtype::SOA)
    );
    question.recursion_desired = false;
    assert_eq!(daemon.udp(&question).rcode, Rcode::NXDOMAIN);

    let sent = json(&["status"])["metrics"]["upstream_sent_total"].clone();
    assert_eq!(sent, 0, "the network was asked");

    let show = json(&["mirror", "show", "."]);
    assert_eq!(show[0]["state"], "current");
    assert_eq!(show[0]["verdict"], "verified");
    assert_eq!(json(&["mirror", "refresh", "."])["serial"], 2_026_073_102);
    for wrong in [
        &["mirror", "accept", "."][..],
        &["mirror", "accept", ".", "1"],
        &["mirror", "rollback", "."],
        &["mirror", "show", "example."],
        &["cache", "flush", "a..b"],
    ] {
        let output = daemon.command(wrong);
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
        assert!(output.stderr.starts_with(b"holdfast: "));
    }
    let text = String::from_utf8(daemon.command(&["mirror", "show", "."]).stdout).unwrap();
    assert!(
        text.starts_with("SERIAL") && text.contains("current"),
        "{text}"
    );
    let stats = json(&["cache", "stats"]);
    assert!(stats["entries"].as_u64() > Some(0) && stats["bytes"].as_u64() > Some(0));
    let kinds = stats["kinds"].as_array().unwrap();
    let by_kind = kinds.iter().map(|k| k["entries"].as_u64().unwrap());
    assert_eq!(Some(by_kind.sum()), stats["entries"].as_u64(), "{stats}");
    let text = daemon.command(&["cache", "stats"]).stdout;
    assert!(String::from_utf8(text).unwrap().contains("delegations"));
    let flushed = json(&["cache", "flush", "no.such.name.", "--tree"]);
    assert_eq!(
        (&flushed["tree"], &flushed["delegations"]),
        (&true.into(), &0.into())
    );
    // The root alone stands for everything.
    let flushed = json(&["cache", "flush", "."]);
    assert_eq!(flushed["answers"], stats["entries"]);
    assert_eq!(json(&["cache", "stats"])["entries"], 0);
}

#[test]
fn with_the_root_and_an_idle_cache_it_takes_less_than_60_mb() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/zones/root.zone");
    let text = fs::read_to_string(root).unwrap();
    let files = [
        ("root.zone", text.as_str()),
        ("clock", "@2026-08-01 12:00:00"),
    ];
    let daemon = Daemon::start(MIRROR, &files);
    let mut question = query("com.", Rtype::DS);
    question.recursion_desired = true;
    eventually("an answer out of the mirror", || {
        Some(daemon.udp(&question)).filter(|reply| !reply.answer.is_empty())
    });
    let resident_kib = daemon.resident_kib();
    assert!(resident_kib < 60_000_000 >> 10, "{resident_kib} KiB");
}

#[test]
fn delegations_of_own_zones_are_followed_though_the_root_denies_them() {
    // Port 53 of some loopback address: only where this user may have it.
    const CHILD_SERVER: &str = "127.77.0.53";
    if std::net::UdpSocket::bind((CHILD_SERVER, 53)).is_err() {
        eprintln!("skipped: port 53 is not to be had");
        return;
    }
    let child = CONFIG.replace("127.0.0.1:PORT\"", "127.77.0.53:53\", \"127.0.0.1:PORT\"");
    let child = child.replace("lab.test.", "sub.lab.test.");
    let records =
        "@ 60 SOA ns h 1 1 1 1 60\n@ 60 NS ns\nns 60 A 127.77.0.53\nhost 60 A 192.0.2.33\n";
    let _child = Daemon::start(&child, &[("lab.zone", records)]);

    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/zones/root.zone");
    let text = fs::read_to_string(root).unwrap();
    let config = MIRROR.replace("prime = false", "prime = false\nquery_loopback = true");
    let config = format!("{config}\n[[zone]]\nname = \"lab.test.\"\nfile = \"lab.zone\"\n");
    let zone = ZONE.replace("192.0.2.54", CHILD_SERVER);
    let clock = "@2026-08-01 12:00:00";
    let files = [
        ("root.zone", text.as_str()),
        ("clock", clock),
        ("lab.zone", &zone),
    ];
    let parent = Daemon::start(&config, &files);
    let mut question = query("host.sub.lab.test.", Rtype::A);
    let referral = parent.udp(&question);
    assert_eq!(shape(&referral), (Rcode::NOERROR, false, [0, 1, 1]));
    question.recursion_desired = true;
    // The proof that there is no test. (RFC 8020) is kept, and does not concern what is delegated from here.
    let denied = query("none.test.", Rtype::A);
    assert_eq!(parent.udp(&denied).rcode, Rcode::NXDOMAIN);
    let reply = parent.udp(&question);
    assert_eq!(shape(&reply), (Rcode::NOERROR, false, [1, 0, 0]));
    question.question.as_mut().unwrap().name = "none.sub.lab.test.".parse().unwrap();
    assert_eq!(parent.udp(&question).rcode, Rcode::NXDOMAIN);
    let status = parent.command(&["status", "--json"]).stdout;
    let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
    let asked = status["servers"].as_array().unwrap();
    assert!(
        asked.iter().all(|s| s["address"] == CHILD_SERVER),
        "{asked:?}"
    );
}
