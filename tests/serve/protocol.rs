//! Forwarding, special names and cookies through real sockets.

use std::net::UdpSocket;

use holdfast::dns::edns::option;
use holdfast::dns::{Edns, Message, Rcode, Rtype};

use super::daemon::{Daemon, directory, eventually, free_port, program, query};

/// A resolver for the zone `corp.far.`, which stands for a company's own.
const FORWARDER: &str = r#"
[server]
listen = ["127.0.0.1:PORT"]
workers = 1
[[zone]]
name = "corp.far."
file = "corp.zone"
"#;

const ZONE: &str = "
$TTL 300
@    SOA   ns hostmaster 1 3600 900 604800 60
     NS    ns
ns   A     192.0.2.53
www  A     192.0.2.80
ext  CNAME localhost.
big  TXT   \"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
     TXT   \"1123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
     TXT   \"2123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
     TXT   \"3123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
     TXT   \"4123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
     TXT   \"5123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
";

/// Nothing else can be reached from here: `ipv6` is off, and the hints lead to a closed port.
fn forwarding(to: &str) -> Daemon {
    let config = format!(
        r#"
[server]
listen = ["127.0.0.1:PORT"]
workers = 1
[resolver]
prime = false
ipv6 = false
edns_buffer = 512
root_hints = "hints"
query_loopback = true
negative_trust_anchors = ["corp.far."]
[[forward]]
zone = "corp.far."
servers = [{to}]
"#
    );
    let hints = ". 3600000 NS a.root.\na.root. 3600000 A 127.0.0.99\n";
    Daemon::start(&config, &[("hints", hints)])
}

fn recursive(name: &str, rtype: Rtype) -> Message {
    let mut query = query(name, rtype);
    query.recursion_desired = true;
    query.edns = Some(Edns::new(1232, true));
    query
}

fn shape(m: &Message) -> (Rcode, bool, usize) {
    (m.rcode, m.authoritative, m.answer.len())
}

#[test]
fn a_zone_is_forwarded_past_a_dead_server_and_over_tcp() {
    let forwarder = Daemon::start(FORWARDER, &[("corp.zone", ZONE)]);
    let dead = free_port();
    let to = format!("\"127.0.0.2:{dead}\", \"127.0.0.1:{}\"", forwarder.port);
    let daemon = forwarding(&to);
    for (name, rtype, expected) in [
        ("www.corp.far.", Rtype::A, (Rcode::NOERROR, false, 1)),
        ("none.corp.far.", Rtype::A, (Rcode::NXDOMAIN, false, 0)),
        ("www.corp.far.", Rtype::MX, (Rcode::NOERROR, false, 0)),
        // Larger than the datagrams that it asks for.
        ("big.corp.far.", Rtype::TXT, (Rcode::NOERROR, false, 6)),
        ("ext.corp.far.", Rtype::A, (Rcode::NOERROR, false, 2)),
    ] {
        let reply = daemon.udp(&recursive(name, rtype));
        assert_eq!(shape(&reply), expected, "{name} {rtype}: {reply:?}");
        assert!(reply.recursion_available && !reply.authentic_data);
    }
    // Nobody to ask for the rest.
    let reply = daemon.udp(&recursive("www.elsewhere.", Rtype::A));
    assert_eq!(reply.rcode, Rcode::SERVFAIL);
}

#[test]
fn a_forwarder_that_comes_back_is_found() {
    let port = free_port();
    let daemon = forwarding(&format!("\"127.0.0.1:{port}\""));
    let reply = daemon.udp(&recursive("www.corp.far.", Rtype::A));
    assert_eq!(reply.rcode, Rcode::SERVFAIL);
    let errors = reply.errors();
    assert!(
        errors[0]
            .text
            .contains("no forwarder gave an answer: asked for www.corp.far. A: 127.0.0.1"),
        "{errors:?}"
    );
    let config = FORWARDER.replace("PORT", &port.to_string());
    let _forwarder = Daemon::start(&config, &[("corp.zone", ZONE)]);
    eventually("an answer of the forwarder", || {
        let reply = daemon.udp(&recursive("www.corp.far.", Rtype::A));
        (reply.rcode == Rcode::NOERROR).then_some(())
    });
}

#[test]
fn special_names_and_cookies_are_answered_at_once() {
    let daemon = forwarding("\"192.0.2.1\"");
    for (name, rtype, expected) in [
        ("localhost.", Rtype::A, (Rcode::NOERROR, true, 1)),
        ("x.onion.", Rtype::A, (Rcode::NXDOMAIN, true, 0)),
        (
            "1.0.0.127.in-addr.arpa.",
            Rtype::PTR,
            (Rcode::NOERROR, true, 1),
        ),
        (
            "7.1.168.192.in-addr.arpa.",
            Rtype::PTR,
            (Rcode::NXDOMAIN, true, 0),
        ),
    ] {
        let mut query = recursive(name, rtype);
        let edns = query.edns.as_mut().unwrap();
        edns.options = vec![(option::COOKIE, vec![3; 8])];
        let udp = daemon.udp(&query);
        assert_eq!(shape(&udp), expected, "{name}");
        let cookie = udp.edns.as_ref().unwrap().option(option::COOKIE).unwrap();
        assert_eq!((cookie.len(), &cookie[..8]), (24, &[3; 8][..]));
        // The same cookie comes back with its own answer, over TCP too.
        query.edns.as_mut().unwrap().options = vec![(option::COOKIE, cookie.to_vec())];
        assert_eq!(daemon.tcp(&query), udp);
    }
    let status = daemon.command(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["metrics"]["cookies_good_total"], 4, "{status}");
}

#[test]
fn special_names_resolve_like_any_where_that_is_wanted() {
    let forwarder = Daemon::start(
        &FORWARDER.replace("corp.far.", "corp.test."),
        &[("corp.zone", ZONE)],
    );
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:PORT\"]\n[resolver]\ndnssec = \"off\"\nspecial_use_zones = false\n\
         [[forward]]\nzone = \".\"\nservers = [\"127.0.0.1:{}\"]\n",
        forwarder.port
    );
    let daemon = Daemon::start(&config, &[]);
    let reply = daemon.udp(&recursive("www.corp.test.", Rtype::A));
    assert_eq!(shape(&reply), (Rcode::NOERROR, false, 1));
    // The forwarder's answer, not one of its own.
    let reply = daemon.udp(&recursive("localhost.", Rtype::A));
    assert_eq!(shape(&reply), (Rcode::NOERROR, false, 1));
}

// Who listens everywhere must not forward to an address of his own.
#[test]
fn forwarding_to_oneself_is_refused_at_start() {
    let port = free_port();
    let run = |server: String| {
        let config = format!(
            "[server]\nlisten = [\"0.0.0.0:{port}\"]\n[[forward]]\nzone = \".\"\nservers = [\"{server}:{port}\"]\n"
        );
        let directory = directory(&[("config.toml", &config)]);
        let output = program(&directory.path().join("config.toml"), &["run"]).output();
        let output = output.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = run("127.0.0.1".into());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("this server's own address"), "{said}");
    // The address that packets to the world would leave from; a machine without one has no other address to try.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    if socket.connect("192.0.2.1:53").is_ok() {
        let own = socket.local_addr().unwrap().ip();
        let (code, said) = run(own.to_string());
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("is an address of this machine"), "{said}");
    }
}
