//! Secondaries of holdfast: real NSD, Knot DNS and BIND, and another holdfast. Each test has a network namespace of its own.
//!
//! Each fetches an own zone and a mirror whole, is told of a new version by NOTIFY (the zones' timers are hours), and fetches what
//! changed. In the end each must serve the very records that holdfast has. A program that is not in the PATH is
//! left out, and the test says so.

#[path = "serve/authority.rs"]
mod authority;
#[allow(dead_code)]
#[path = "serve/daemon.rs"]
mod daemon;
#[path = "secondaries/encrypted.rs"]
mod encrypted;
#[path = "serve/namespace.rs"]
mod namespace;
#[path = "secondaries/peer.rs"]
mod peer;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use daemon::{Daemon, datagram, directory, eventually, free_port, now, query, tcp};
use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Edns, Message, Name, Question, Rcode, Record, Rtype, Soa};
use holdfast::zone::Builder;
use peer::{KEY, Peer, SECRET};

/// A zone file with so many hosts, some of which change with the serial.
fn zone(serial: u32, hosts: u32) -> String {
    let mut text = format!(
        "$TTL 300\n@ SOA ns1 Host.Master {serial} 36000 9000 604800 60\n@ NS ns1\nns1 A 192.0.2.53\n\
         www A 192.0.2.80\nmail MX 10 www\n* TXT \"wild\" \"two strings\"\ncut NS ns.cut\nns.cut A 192.0.2.54\n\
         odd TYPE65400 \\# 3 010203\nd DNAME elsewhere.test.\n\
         svc HTTPS 1 . alpn=\"h2,h3\" ipv4hint=192.0.2.80\nsvc SVCB 2 www mandatory=port port=8443 key700=x\n"
    );
    for i in 0..hosts {
        let _ = writeln!(text, "host-{i} A 10.0.{}.{}", i / 250, i % 250);
        if i % 40 == 0 {
            let _ = writeln!(text, "host-{i} TXT \"of version {serial}\"");
        }
    }
    text
}

/// With a key, secondaries need it; the comparisons of this test do not.
fn config(notify: &[SocketAddr], key: bool) -> String {
    let target = |at: &SocketAddr| match key {
        true => format!("{{ address = \"{at}\", tsig = \"{KEY}\" }}"),
        false => format!("\"{at}\""),
    };
    let list: Vec<String> = notify.iter().map(target).collect();
    let list = list.join(", ");
    let (allowed, keys) = match key {
        true => (
            format!("\"127.0.0.2\", \"tsig:{KEY}\""),
            format!("[[tsig]]\nname = \"{KEY}\"\nsecret_file = \"hub.secret\""),
        ),
        false => ("\"127.0.0.0/8\"".to_owned(), String::new()),
    };
    format!(
        r#"
[server]
listen = ["127.0.0.1:PORT"]
[access]
allow_transfer = [{allowed}]
[[zone]]
name = "own.test."
file = "own.zone"
notify = [{list}]
[[mirror]]
zone = "mirrored.test."
sources = ["file:mirrored.zone"]
verify = "none"
notify = [{list}]
{keys}
"#
    )
}

const ZONES: [&str; 2] = ["own.test.", "mirrored.test."];

/// All messages of an answer over TCP, up to the SOA that closes it.
fn transfer(server: SocketAddr, query: &Message) -> Vec<Message> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into())
        .unwrap();
    socket.connect(&server.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(daemon::PATIENCE)).unwrap();
    let mut messages = vec![tcp(&mut stream, query)];
    let serial = |record: &Record| Soa::parse(&record.rdata).map(|soa| soa.serial);
    let is_soa = |record: &&Record| record.rtype == Rtype::SOA;
    loop {
        let records: Vec<&Record> = messages.iter().flat_map(|m| &m.answer).collect();
        let soas: Vec<u32> = (records.iter().copied().filter(is_soa))
            .filter_map(serial)
            .collect();
        let is_difference = records.get(1).is_some_and(is_soa);
        let newest = soas.iter().filter(|s| Some(*s) == soas.first()).count();
        let whole = match is_difference {
            true => newest == 3,
            false => newest == 2 || messages[0].answer.len() == 1,
        };
        if whole || messages[0].answer.is_empty() {
            return messages;
        }
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut wire = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut wire).unwrap();
        messages.push(Message::parse(&wire).unwrap());
    }
}

/// Content digest and serial of a zone as a server transfers it; `None` if it does not.
fn content(server: SocketAddr, zone: &str) -> Option<([u8; 32], u32)> {
    let zone: Name = zone.parse().unwrap();
    let messages = transfer(server, &query(&zone.to_string(), Rtype::AXFR));
    let mut records: Vec<Record> = messages.into_iter().flat_map(|m| m.answer).collect();
    records.pop()?;
    let mut builder = Builder::new(zone);
    for record in records {
        builder.add(record).unwrap();
    }
    let image = builder.finish().unwrap();
    Some((image.digest(), image.serial()))
}

fn serial_at(server: SocketAddr, zone: &str) -> Option<u32> {
    let wire = query(zone, Rtype::SOA).encode(MESSAGE_LEN_MAX);
    let answer = datagram(server, &wire, Duration::from_millis(500))?;
    let answer = Message::parse(&answer).ok()?;
    Some(Soa::parse(&answer.answer.first()?.rdata)?.serial)
}

fn metric(daemon: &Daemon, name: &str) -> u64 {
    let output = daemon.command(&["--json", "status"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    status["metrics"][name].as_u64().unwrap()
}

/// Tries for as long as real secondaries may take.
fn in_time<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    const PATIENCE: Duration = Duration::from_secs(60);
    let start = now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(now() - start < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Publishes another version of both zones.
fn publish(daemon: &Daemon, serial: u32, hosts: u32) {
    fs::write(daemon.file("own.zone"), zone(serial, hosts)).unwrap();
    fs::write(daemon.file("mirrored.zone"), zone(serial, hosts)).unwrap();
    daemon.signal(libc::SIGHUP);
    refresh(daemon, "mirrored.test.", serial);
}

/// Has a mirror refreshed until it has a version: a refresh that was under way may have looked before.
fn refresh(daemon: &Daemon, zone: &str, serial: u32) {
    eventually("the mirror has it", || {
        let refreshed = daemon.command(&["--json", "mirror", "refresh", zone]);
        assert!(refreshed.status.success(), "{refreshed:?}");
        let done: serde_json::Value = serde_json::from_slice(&refreshed.stdout).unwrap();
        (done["serial"] == serial).then_some(())
    });
}

fn check_in_step(primary: &Daemon, peers: &[Peer], serial: u32) {
    for zone in ZONES {
        // A reload takes its time.
        in_time(&format!("the primary has {zone} {serial}"), || {
            (serial_at(primary.addr(), zone) == Some(serial)).then_some(())
        });
        let expected = content(primary.addr(), zone).unwrap();
        assert_eq!(expected.1, serial);
        for peer in peers {
            let what = format!(
                "{} serves {zone} {serial}\n{}\n{}",
                peer.name,
                peer.log(),
                primary.log()
            );
            in_time(&what, || {
                (serial_at(peer.addr, zone) == Some(serial)).then_some(())
            });
            assert_eq!(
                content(peer.addr, zone),
                Some(expected),
                "{} {zone}",
                peer.name
            );
        }
    }
}

#[test]
fn real_secondaries_follow() {
    follow(false);
}

#[test]
fn real_secondaries_follow_with_a_shared_key() {
    follow(true);
}

fn follow(key: bool) {
    if !namespace::enter() {
        return;
    }
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let targets: Vec<SocketAddr> = ports.iter().copied().map(at).collect();
    let (own, mirrored) = (zone(1, 2000), zone(1, 2000));
    let files = [
        ("own.zone", &own[..]),
        ("mirrored.zone", &mirrored[..]),
        ("hub.secret", SECRET),
    ];
    let primary = Daemon::start(&config(&targets, key), &files);
    let starts = [peer::nsd, peer::knot, peer::bind];
    let peers: Vec<Peer> = (starts.iter().zip(&ports))
        .filter_map(|(start, port)| start(*port, primary.addr(), &ZONES, key))
        .collect();
    check_in_step(&primary, &peers, 1);
    if key {
        let refused = primary.tcp(&query("own.test.", Rtype::AXFR));
        assert_eq!(refused.rcode, Rcode::REFUSED);
    }
    let (axfr, ixfr) = ("transfers_out_axfr_total", "transfers_out_ixfr_total");
    let whole = metric(&primary, axfr);
    publish(&primary, 2, 2001);
    check_in_step(&primary, &peers, 2);
    let zones = ZONES.len() as u64;
    assert!(
        metric(&primary, ixfr) >= zones * peers.len() as u64,
        "{}",
        primary.log()
    );
    // The comparisons fetch each zone whole, and nobody else did.
    assert_eq!(metric(&primary, axfr), whole + zones, "{}", primary.log());
    assert!(metric(&primary, "notify_out_answered_total") >= zones * peers.len() as u64);
    assert_eq!(metric(&primary, "transfers_out_failed_total"), 0);
    // Almost everything changes: the zone itself is shorter than the difference.
    publish(&primary, 3, 10);
    check_in_step(&primary, &peers, 3);
}

#[test]
fn holdfast_feeds_holdfast() {
    if !namespace::enter() {
        return;
    }
    let (own, mirrored) = (zone(1, 3000), zone(1, 100));
    let files = [("own.zone", &own[..]), ("mirrored.zone", &mirrored[..])];
    let primary = Daemon::start(&config(&[], false), &files);
    let mut text = String::from(
        "[server]\nlisten = ['127.0.0.1:PORT']\n[access]\nallow_transfer = ['127.0.0.0/8']\n",
    );
    for zone in ZONES {
        let _ = write!(
            text,
            "[[mirror]]\nzone = '{zone}'\nverify = 'none'\nsources = ['axfr:{}']\n",
            primary.addr()
        );
    }
    let secondary = Daemon::start(&text, &[]);
    for zone in ZONES {
        eventually(zone, || {
            (serial_at(secondary.addr(), zone) == Some(1)).then_some(())
        });
        assert_eq!(
            content(secondary.addr(), zone),
            content(primary.addr(), zone)
        );
    }
    // Its address is known now: a reload of the primary takes it up for the own zone.
    let text = config(&[secondary.addr()], false).replace("PORT", &primary.port.to_string());
    fs::write(primary.file("config.toml"), text).unwrap();
    publish(&primary, 2, 3001);
    in_time("NOTIFY brings the own zone", || {
        (serial_at(secondary.addr(), "own.test.") == Some(2)).then_some(())
    });
    refresh(&secondary, "mirrored.test.", 2);
    for zone in ZONES {
        assert_eq!(
            content(secondary.addr(), zone),
            content(primary.addr(), zone)
        );
        assert_eq!(content(primary.addr(), zone).unwrap().1, 2);
    }
    assert!(metric(&secondary, "mirror_transfers_ixfr_total") > 0);
}

fn ixfr(zone: &str, serial: u32) -> Message {
    let mut query = query(zone, Rtype::IXFR);
    let zone: Name = zone.parse().unwrap();
    let mut rdata = vec![0, 0];
    rdata.extend(serial.to_be_bytes());
    rdata.extend([0; 16]);
    query.authority.push(Record {
        name: zone,
        rtype: Rtype::SOA,
        class: holdfast::dns::Class::IN,
        ttl: 0,
        rdata: rdata.into(),
    });
    query
}

#[test]
fn questions_for_transfers_are_answered_as_the_rfcs_say() {
    if !namespace::enter() {
        return;
    }
    let (own, mirrored) = (zone(1, 500), zone(1, 500));
    let files = [("own.zone", &own[..]), ("mirrored.zone", &mirrored[..])];
    let daemon = Daemon::start(&config(&[], false), &files);
    let served = || (serial_at(daemon.addr(), "own.test.") == Some(2)).then_some(());
    publish(&daemon, 2, 500);
    eventually("the second version", served);
    let records = |message: &Message| message.answer.len();
    let shape = |message: &Message| (message.rcode, message.authoritative, records(message));
    for zone in ZONES {
        // Whoever has it, or a newer one, gets the SOA alone; so does over UDP whom the difference is too long for.
        for (held, edns, expected) in [(2, 512, 1), (7, 512, 1), (1, 512, 1), (1, 1232, 30)] {
            let mut question = ixfr(zone, held);
            question.edns = Some(Edns::new(edns, false));
            let answer = daemon.udp(&question);
            assert_eq!(
                shape(&answer),
                (Rcode::NOERROR, true, expected),
                "{zone} {held} {edns}"
            );
            assert!(!answer.truncated);
        }
        // Over TCP: the difference; the zone for whoever has a version that is unknown.
        let count =
            |query: &Message| -> usize { transfer(daemon.addr(), query).iter().map(records).sum() };
        assert_eq!(count(&ixfr(zone, 1)), 30);
        let all = count(&query(zone, Rtype::AXFR));
        assert!(all > 500 && count(&ixfr(zone, u32::MAX)) == all);
    }
    let check = |question: &Message, over_tcp: bool, expected: Rcode| {
        let answer = match over_tcp {
            true => daemon.tcp(question),
            false => daemon.udp(question),
        };
        assert_eq!(
            (answer.rcode, answer.answer.len()),
            (expected, 0),
            "{question:?}"
        );
    };
    check(&query("own.test.", Rtype::AXFR), false, Rcode::FORMERR);
    check(&query("own.test.", Rtype::IXFR), true, Rcode::FORMERR);
    check(&query("elsewhere.test.", Rtype::AXFR), true, Rcode::NOTAUTH);
    check(&query("www.own.test.", Rtype::AXFR), true, Rcode::NOTAUTH);
    // A connection serves other questions after a transfer.
    let mut stream = daemon.connect();
    let first = tcp(&mut stream, &query("mirrored.test.", Rtype::AXFR));
    assert_eq!(first.answer.first().map(|r| r.rtype), Some(Rtype::SOA));
    assert_eq!(first.answer.last(), first.answer.first());
    assert_eq!(
        tcp(&mut stream, &query("www.own.test.", Rtype::A))
            .answer
            .len(),
        1
    );
}

/// A connection whose own end holds little.
fn narrow(server: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8192).unwrap();
    socket.connect(&server.into()).unwrap();
    socket.into()
}

/// A client that reads nothing holds its place for a while, and a few messages; others get theirs.
#[test]
fn a_slow_reader_disturbs_nobody() {
    if !namespace::enter() {
        return;
    }
    // More than the buffers of a connection hold.
    let (mut own, mirrored) = (zone(1, 10), zone(1, 10));
    for i in 0..10_000 {
        let _ = writeln!(own, "big-{i} TXT {0} {0} {0}", "x".repeat(250));
    }
    let files = [("own.zone", &own[..]), ("mirrored.zone", &mirrored[..])];
    let daemon = Daemon::start(&config(&[], false), &files);
    let wire = query("own.test.", Rtype::AXFR).encode(MESSAGE_LEN_MAX);
    let framed = [&(wire.len() as u16).to_be_bytes()[..], &wire].concat();
    let mut slow: Vec<TcpStream> = (0..20).map(|_| narrow(daemon.addr())).collect();
    for stream in &mut slow {
        stream.write_all(&framed).unwrap();
    }
    let expected = content(daemon.addr(), "own.test.").unwrap();
    assert_eq!(expected.1, 1);
    let question = Question::new("www.own.test.".parse().unwrap(), Rtype::A);
    assert_eq!(daemon.udp(&Message::query(1, question)).answer.len(), 1);
    drop(slow);
    eventually("the places are free again", || {
        (metric(&daemon, "transfers_out_failed_total") >= 15).then_some(())
    });
}

/// The hub's configuration: a catalog of these zones, told to these addresses.
fn hub(zones: &[&str], notify: SocketAddr) -> String {
    let mut text = format!(
        "[server]\nlisten = ['127.0.0.1:PORT']\n[access]\nallow_transfer = ['127.0.0.0/8']\n\
         [[catalog]]\nzone = 'fleet.test.'\nproduce = true\nnotify = ['{notify}']\n"
    );
    for zone in zones {
        let _ = write!(
            text,
            "[[zone]]\nname = '{zone}'\nfile = 'any.zone'\nnotify = ['{notify}']\n"
        );
    }
    text
}

/// A fleet needs one list: zones come to holdfast and to Knot DNS, and go again, because the hub's catalog says so.
#[test]
fn a_catalog_feeds_a_fleet() {
    if !namespace::enter() {
        return;
    }
    let any = zone(1, 30);
    let port = free_port();
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let hub_daemon = Daemon::start(&hub(&["a.test.", "b.test."], at), &[("any.zone", &any)]);
    let hub_addr = hub_daemon.addr();
    let leaf_config = format!(
        "[server]\nlisten = ['127.0.0.1:PORT']\n[access]\nallow_transfer = ['127.0.0.0/8']\n\
         [[mirror]]\nzone = 'fleet.test.'\nverify = 'none'\nsources = ['axfr:{hub_addr}']\n\
         [[catalog]]\nzone = 'fleet.test.'\nverify = 'none'\nuse = 'always'\nsources = ['axfr:{hub_addr}']\n\
         [[zone]]\nname = 'b.test.'\nfile = 'b.zone'\n"
    );
    let own = zone(77, 1);
    let leaf = Daemon::start(&leaf_config, &[("b.zone", &own)]);
    let knot = peer::knot_of_catalog(port, hub_addr, "fleet.test.");
    let listed = |daemon: &Daemon| -> Vec<String> {
        let output = daemon.command(&["--json", "mirror", "list"]);
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let zone = |m: &serde_json::Value| m["zone"].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(zone).collect()
    };
    let serves = |zone: &str| {
        let expected = content(hub_addr, zone);
        in_time(zone, || {
            (serial_at(leaf.addr(), zone).is_some()).then_some(())
        });
        assert_eq!(content(leaf.addr(), zone), expected);
        if let Some(knot) = &knot {
            let what = format!("knotd serves {zone}\n{}", knot.log());
            in_time(&what, || {
                (serial_at(knot.addr, zone) == Some(1)).then_some(())
            });
            assert_eq!(content(knot.addr, zone), expected);
        }
    };
    serves("a.test.");
    // The configured one stays what it is.
    assert_eq!(serial_at(leaf.addr(), "b.test."), Some(77));
    assert_eq!(listed(&leaf), ["a.test.", "fleet.test."]);
    assert!(
        leaf.log()
            .contains("the configuration has a zone of this name"),
        "{}",
        leaf.log()
    );
    // A line for all members together: there may be a million of them.
    let told = |counts: &str| {
        let log = leaf.log();
        let of_members = |l: &&str| l.contains("the catalog's members have changed");
        let last = log
            .lines()
            .rfind(of_members)
            .unwrap_or_else(|| panic!("{log}"));
        assert!(last.contains(counts), "{counts}: {last}");
        assert!(!log.contains("listed: it is mirrored"), "{log}");
    };
    told("new=1 ended=0 anew=0 handed_over=0");
    // Another zone comes, and one goes.
    let reload = |zones: &[&str]| {
        let text = hub(zones, at).replace("PORT", &hub_daemon.port.to_string());
        fs::write(hub_daemon.file("config.toml"), text).unwrap();
        let before = serial_at(hub_addr, "fleet.test.");
        hub_daemon.signal(libc::SIGHUP);
        eventually("a new catalog", || {
            (serial_at(hub_addr, "fleet.test.") != before).then_some(())
        });
        let serial = serial_at(hub_addr, "fleet.test.").unwrap();
        refresh(&leaf, "fleet.test.", serial);
    };
    reload(&["b.test.", "c.test."]);
    serves("c.test.");
    in_time("a.test. is gone", || {
        (listed(&leaf) == ["c.test.", "fleet.test."]).then_some(())
    });
    let files = leaf.file("data").join("mirror").join("a.test");
    in_time("its files are marked", || {
        files.join("removed").exists().then_some(())
    });
    in_time("it is told", || {
        leaf.log().contains("ended=1").then_some(())
    });
    told("new=1 ended=1 anew=0 handed_over=0");
    if let Some(knot) = &knot {
        in_time("knotd drops a.test.", || {
            (serial_at(knot.addr, "a.test.").is_none()).then_some(())
        });
    }
    // It comes back under the same label, and goes on where it was.
    reload(&["a.test.", "b.test.", "c.test."]);
    serves("a.test.");
    assert!(!files.join("removed").exists());
    // Who may not transfer it sees nothing of the catalog.
    let plain = datagram(
        hub_addr,
        &query("version.fleet.test.", Rtype::TXT).encode(512),
        daemon::PATIENCE,
    );
    assert_eq!(Message::parse(&plain.unwrap()).unwrap().answer.len(), 0);
}

/// Answers that were ready for the next who asks rest on the mirror, and go with it. A member below a special name answers, too:
/// whoever follows the list wants it (RFC 6761 section 6.2).
#[test]
fn what_a_catalog_drops_is_answered_no_more() {
    if !namespace::enter() {
        return;
    }
    let any = zone(1, 5);
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let hub_daemon = Daemon::start(&hub(&["a.test."], nobody), &[("any.zone", &any)]);
    let config = format!(
        "[server]\nlisten = ['127.0.0.1:PORT']\nworkers = 1\n[resolver]\nprime = false\n\
         [[mirror]]\nzone = 'cat.test.'\nverify = 'none'\nsources = ['file:cat.zone']\n\
         [[catalog]]\nzone = 'cat.test.'\nverify = 'none'\nuse = 'always'\nsources = ['axfr:{}']\n",
        hub_daemon.addr()
    );
    let catalog = |serial: u32, rest: &str| {
        format!(
            "@ 0 SOA invalid. invalid. {serial} 3600 600 86400 0\n@ 0 NS invalid.\nversion 0 TXT 2\n{rest}"
        )
    };
    let listed = catalog(1, "one.zones 0 PTR a.test.\n");
    let leaf = Daemon::start(&config, &[("cat.zone", &listed)]);
    let question = Message {
        recursion_desired: true,
        ..query("a.test.", Rtype::SOA)
    };
    let ask = || leaf.udp(&question).answer.len();
    in_time("the member's answer is ready", || {
        let is_answered = (0..3).all(|_| ask() == 1);
        (is_answered && metric(&leaf, "answers_ready_total") > 0).then_some(())
    });
    fs::write(leaf.file("cat.zone"), catalog(2, "")).unwrap();
    refresh(&leaf, "cat.test.", 2);
    let gone = leaf
        .file("data")
        .join("mirror")
        .join("a.test")
        .join("removed");
    // The new list itself ends what was ready; somebody asks all the time, so it is ready again when the member goes.
    in_time("it is removed", || {
        (0..200).find_map(|_| {
            ask();
            gone.exists().then_some(())
        })
    });
    assert_eq!(ask(), 0);
}

/// The members of the last good catalog stay, also when the program starts anew beside a broken one.
#[test]
fn a_broken_catalog_changes_nothing() {
    if !namespace::enter() {
        return;
    }
    let any = zone(1, 5);
    let hub_daemon = Daemon::start(
        &hub(
            &["a.test."],
            SocketAddr::from(([127, 0, 0, 1], free_port())),
        ),
        &[("any.zone", &any)],
    );
    let config = format!(
        "[server]\nlisten = ['127.0.0.1:PORT']\n[access]\nallow_transfer = ['127.0.0.0/8']\n\
         [[mirror]]\nzone = 'cat.test.'\nverify = 'none'\nsources = ['file:cat.zone']\n\
         [[catalog]]\nzone = 'cat.test.'\nverify = 'none'\nsources = ['axfr:{}']\n",
        hub_daemon.addr()
    );
    let catalog = |serial: u32, version: u32, rest: &str| {
        format!(
            "@ 0 SOA invalid. invalid. {serial} 3600 600 86400 0\n@ 0 NS invalid.\nversion 0 TXT {version}\n{rest}"
        )
    };
    let good = catalog(
        1,
        2,
        "one.zones 0 PTR a.test.\ntop.zones 0 PTR test.\nroot.zones 0 PTR .\n",
    );
    let mut leaf = Daemon::start(&config, &[("cat.zone", &good)]);
    in_time("a.test. is mirrored", || {
        (serial_at(leaf.addr(), "a.test.") == Some(1)).then_some(())
    });
    // Nobody becomes the root, or a top-level zone, by a list.
    assert_eq!(metric(&leaf, "catalog_members"), 1);
    assert_eq!(metric(&leaf, "catalog_members_ignored"), 2);
    fs::write(leaf.file("cat.zone"), catalog(2, 3, "")).unwrap();
    refresh(&leaf, "cat.test.", 2);
    eventually("it is noticed", || {
        (metric(&leaf, "catalogs_broken_total") == 1).then_some(())
    });
    assert_eq!(serial_at(leaf.addr(), "a.test."), Some(1));
    leaf.signal(libc::SIGTERM);
    leaf.wait();
    drop(hub_daemon);
    let directory = std::mem::replace(&mut leaf.directory, directory(&[]));
    let again = Daemon::start_in(directory, &config, &[]);
    assert_eq!(serial_at(again.addr(), "a.test."), Some(1));
}
