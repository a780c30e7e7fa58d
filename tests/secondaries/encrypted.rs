//! Transfers over TLS (RFC 9103): BIND, NSD and another holdfast fetch from an address that gives nothing in the clear.
//!
//! With a shared key they are known by it, and by the certificate that each of them shows. Knot DNS 3.2 has no transfers over TLS.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;

use super::authority::Authority;
use super::daemon::{Daemon, eventually, free_port, query, tcp};
use super::peer::{self, KEY, Peer, SECRET, Tls};
use super::{ZONES, check_in_step, config, metric, namespace, publish, refresh, zone};
use holdfast::dns::{Rcode, Rtype};

/// The names in the certificates of both ends.
const PRIMARY: &str = "primary.example";
const SECONDARY: &str = "secondary.example";

/// The primary's configuration with a listener for TLS; comparisons come from 127.0.0.2 in the clear.
fn encrypted(notify: &[SocketAddr], key: bool, dot: u16) -> String {
    let (plain, allowed) = match key {
        true => (
            format!("\"127.0.0.2\", \"tsig:{KEY}\""),
            format!("\"127.0.0.2\", {{ tsig = \"{KEY}\", tls_name = \"{SECONDARY}\" }}"),
        ),
        false => (
            "\"127.0.0.0/8\"".to_owned(),
            "\"127.0.0.2\", { address = \"127.0.0.1\", tls = true }".to_owned(),
        ),
    };
    let text = config(notify, key);
    assert!(text.contains(&plain), "{text}");
    let ca = if key { "client_ca = \"ca.pem\"\n" } else { "" };
    text.replace(&plain, &allowed)
        + &format!(
            "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n{ca}dot = [\"127.0.0.1:{dot}\"]\n"
        )
}

#[test]
fn real_secondaries_follow_over_tls() {
    follow(false);
}

#[test]
fn real_secondaries_follow_over_tls_with_certificates_and_a_shared_key() {
    follow(true);
}

fn follow(key: bool) {
    if !namespace::enter() {
        return;
    }
    let authority = Authority::new();
    let (cert, secret) = authority.identity(PRIMARY);
    let (own, mirrored, ca) = (zone(1, 2000), zone(1, 2000), authority.pem());
    let files = [
        ("own.zone", &own[..]),
        ("mirrored.zone", &mirrored),
        ("hub.secret", SECRET),
        ("cert.pem", &cert),
        ("key.pem", &secret),
        ("ca.pem", &ca),
    ];
    let (ports, dot) = ([free_port(), free_port()], free_port());
    let targets: Vec<SocketAddr> = ports
        .iter()
        .map(|port| SocketAddr::from(([127, 0, 0, 1], *port)))
        .collect();
    let primary = Daemon::start(&encrypted(&targets, key, dot), &files);
    let dot = SocketAddr::from(([127, 0, 0, 1], dot));
    let tls = Tls {
        ca: &ca,
        name: PRIMARY,
        identity: &authority.identity(SECONDARY),
    };
    let starts = [peer::nsd_over_tls, peer::bind_over_tls];
    let mut peers: Vec<Peer> = (starts.iter().zip(ports))
        .filter_map(|(start, port)| start(port, dot, &ZONES, key, &tls))
        .collect();
    let (other, as_peer) = holdfast(dot, key, &tls);
    peers.push(as_peer);
    check_in_step(&primary, &peers, 1);
    // In the clear there is nothing, not even for who has the key.
    let refused = primary.tcp(&query("own.test.", Rtype::AXFR));
    assert_eq!(refused.rcode, Rcode::REFUSED);
    let (axfr, ixfr) = ("transfers_out_axfr_total", "transfers_out_ixfr_total");
    let whole = metric(&primary, axfr);
    publish(&primary, 2, 2001);
    ZONES.iter().for_each(|zone| refresh(&other, zone, 2));
    check_in_step(&primary, &peers, 2);
    let fetched = (ZONES.len() * peers.len()) as u64;
    assert!(metric(&primary, ixfr) >= fetched, "{}", primary.log());
    // The comparisons fetch each zone whole, and nobody else did.
    let zones = ZONES.len() as u64;
    assert_eq!(metric(&primary, axfr), whole + zones, "{}", primary.log());
    assert!(metric(&primary, "tls_connections_total") >= 2 * peers.len() as u64);
    assert_eq!(metric(&primary, "tls_handshake_failures_total"), 0);
    // Almost everything changes: the zone itself is shorter than the difference.
    publish(&primary, 3, 10);
    ZONES.iter().for_each(|zone| refresh(&other, zone, 3));
    check_in_step(&primary, &peers, 3);
    drop(tcp(
        &mut primary.connect(),
        &query("www.own.test.", Rtype::A),
    ));
}

/// Another holdfast, and the same as one of the secondaries.
fn holdfast(primary: SocketAddr, key: bool, tls: &Tls<'_>) -> (Daemon, Peer) {
    let mut text = String::from(
        "[server]\nlisten = ['127.0.0.1:PORT']\n[access]\nallow_transfer = ['127.0.0.0/8']\n",
    );
    let signed = match key {
        true => format!(", tsig = '{KEY}', cert = 'me.pem', key = 'me.key'"),
        false => String::new(),
    };
    if key {
        let _ = write!(
            text,
            "[[tsig]]\nname = '{KEY}'\nsecret_file = 'hub.secret'\n"
        );
    }
    for zone in ZONES {
        let _ = write!(
            text,
            "[[mirror]]\nzone = '{zone}'\nverify = 'none'\n\
             sources = [{{ axfr = '{primary}', tls = true, tls_name = '{PRIMARY}', ca = 'ca.pem'{signed} }}]\n"
        );
    }
    let files = [
        ("ca.pem", tls.ca),
        ("me.pem", &tls.identity.0),
        ("me.key", &tls.identity.1),
        ("hub.secret", SECRET),
    ];
    let daemon = Daemon::start(&text, &files);
    let peer = Peer::running("holdfast", daemon.addr());
    (daemon, peer)
}

/// A certificate that has run out of trust ends the transfers, and nothing else.
#[test]
fn who_shows_another_certificate_gets_nothing() {
    if !namespace::enter() {
        return;
    }
    let authority = Authority::new();
    let (cert, secret) = authority.identity(PRIMARY);
    let (own, ca) = (zone(1, 20), authority.pem());
    let files = [
        ("own.zone", &own[..]),
        ("mirrored.zone", &own),
        ("hub.secret", SECRET),
        ("cert.pem", &cert),
        ("key.pem", &secret),
        ("ca.pem", &ca),
    ];
    let dot = free_port();
    let primary = Daemon::start(&encrypted(&[], true, dot), &files);
    let dot = SocketAddr::from(([127, 0, 0, 1], dot));
    let tls = Tls {
        ca: &ca,
        name: PRIMARY,
        identity: &authority.identity("stranger.example"),
    };
    let (other, _) = holdfast(dot, true, &tls);
    eventually("it is refused", || {
        (metric(&primary, "transfers_out_refused_total") > 0).then_some(())
    });
    let log = primary.log();
    assert!(log.contains("another server is refused"), "{log}");
    // Its files are read for each transfer.
    let (cert, secret) = authority.identity(SECONDARY);
    fs::write(other.file("me.pem"), cert).unwrap();
    fs::write(other.file("me.key"), secret).unwrap();
    refresh(&other, "own.test.", 1);
}
