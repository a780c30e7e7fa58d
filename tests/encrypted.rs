//! DNS over TLS and transfers over it, with the real program and clients of rustls.

#[path = "serve/authority.rs"]
mod authority;
#[path = "serve/daemon.rs"]
#[allow(dead_code)]
mod daemon;
#[path = "serve/tls_site.rs"]
#[allow(dead_code)]
mod tls_site;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use authority::Authority;
use daemon::{Daemon, PATIENCE, directory, eventually, program, query};
use holdfast::clock::format_utc;
use holdfast::dns::edns::option;
use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Edns, Message, Rcode, Rtype};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, StreamOwned, SupportedProtocolVersion,
};

use tls_site::{NAME, Site};

const ZONE: &str =
    "$TTL 300\n@ SOA ns host 7 36000 9000 604800 60\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.80\n";

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
const OLD: &[&SupportedProtocolVersion] = &[&TLS12];

/// `access` are lines of `[access]`, `tls` more of `[server.tls]`.
fn start(access: &str, tls: &str) -> Site {
    Site::with(ZONE, &["dot"], tls, &format!("[access]\n{access}\n"))
}

impl Site {
    fn caller(&self) -> Caller<'_> {
        Caller {
            site: self,
            versions: BOTH,
            alpn: &["dot"],
            identity: None,
        }
    }
}

/// How a client speaks.
#[derive(Clone, Copy)]
struct Caller<'s> {
    site: &'s Site,
    versions: &'static [&'static SupportedProtocolVersion],
    alpn: &'static [&'static str],
    identity: Option<&'s (String, String)>,
}

type Line = StreamOwned<ClientConnection, TcpStream>;

impl Caller<'_> {
    /// A connection whose handshake is done, or the error.
    fn connect(&self) -> std::io::Result<Line> {
        self.connect_as(&Arc::new(self.config()))
    }

    /// What it knows, sessions of before among it.
    fn config(&self) -> ClientConfig {
        let builder = self.site.trusting(self.versions);
        let mut config = match self.identity {
            Some((cert, key)) => {
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        config
    }

    fn connect_as(&self, config: &Arc<ClientConfig>) -> std::io::Result<Line> {
        let name = ServerName::try_from(NAME).unwrap();
        let session = ClientConnection::new(config.clone(), name).unwrap();
        let socket = TcpStream::connect(self.site.at("dot"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut line = StreamOwned::new(session, socket);
        while line.conn.is_handshaking() {
            line.conn.complete_io(&mut line.sock)?;
        }
        Ok(line)
    }

    fn ask(&self, query: &Message) -> Message {
        let mut line = self.connect().unwrap();
        send(&mut line, query);
        Message::parse(&receive(&mut line).unwrap()).unwrap()
    }
}

fn send(line: &mut Line, query: &Message) {
    let wire = query.encode(MESSAGE_LEN_MAX);
    let framed = [&(wire.len() as u16).to_be_bytes()[..], &wire].concat();
    line.write_all(&framed).unwrap();
    line.flush().unwrap();
}

fn receive(line: &mut Line) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    line.read_exact(&mut length)?;
    let mut wire = vec![0; usize::from(u16::from_be_bytes(length))];
    line.read_exact(&mut wire)?;
    Ok(wire)
}

/// RFC 8446 section 2.2, RFC 5077: who comes back costs no signature.
#[test]
fn sessions_are_resumed() {
    let site = start("", "");
    for versions in [BOTH, OLD] {
        let caller = Caller {
            versions,
            ..site.caller()
        };
        let config = Arc::new(caller.config());
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut line = caller.connect_as(&config).unwrap();
            assert_eq!(line.conn.handshake_kind(), Some(expected), "{versions:?}");
            // Tickets come behind the handshake (RFC 8446 section 4.6.1).
            send(&mut line, &query("www.own.test.", Rtype::A));
            assert!(receive(&mut line).is_ok());
        }
        // Another client knows nothing of it.
        let other = caller.connect().unwrap();
        assert_eq!(other.conn.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn questions_are_answered_over_tls() {
    let site = start("", "");
    // Several questions on one connection, sent before the first answer.
    let mut line = site.caller().connect().unwrap();
    let names = ["www.own.test.", "ns.own.test.", "none.own.test."];
    for (id, name) in names.iter().enumerate() {
        let mut query = query(name, Rtype::A);
        query.id = id as u16;
        send(&mut line, &query);
    }
    for (id, rcode) in [Rcode::NOERROR, Rcode::NOERROR, Rcode::NXDOMAIN]
        .into_iter()
        .enumerate()
    {
        let answer = Message::parse(&receive(&mut line).unwrap()).unwrap();
        assert_eq!((usize::from(answer.id), answer.rcode), (id, rcode));
        assert!(answer.authoritative && answer.edns.is_none());
    }
    assert_eq!(line.conn.alpn_protocol(), Some(&b"dot"[..]));
    assert_eq!(site.metric("tls_connections"), 1);
    assert_eq!(site.metric("queries_tls_total"), 3);
    // A client that ends it is told that this was the end.
    line.conn.send_close_notify();
    line.flush().unwrap();
    assert_eq!(line.read(&mut [0; 1]).unwrap(), 0);
    drop(line);
    eventually("the connection is counted out", || {
        (site.metric("tls_connections") == 0).then_some(())
    });
    // ALPN is a thing of transfers; older clients have none, and TLS 1.2.
    let bare = Caller {
        alpn: &[],
        ..site.caller()
    };
    let old = Caller {
        versions: OLD,
        ..bare
    };
    for caller in [bare, old] {
        let answer = caller.ask(&query("www.own.test.", Rtype::A));
        assert_eq!((answer.rcode, answer.answer.len()), (Rcode::NOERROR, 1));
    }
    let stranger = Caller {
        alpn: &["h2"],
        ..site.caller()
    };
    assert!(stranger.connect().is_err());
    // Whoever speaks plain TCP there is no client.
    let mut plain = TcpStream::connect(site.at("dot")).unwrap();
    plain
        .write_all(b"\0\x1d plain words that are no TLS")
        .unwrap();
    let mut said = Vec::new();
    let _ = plain.read_to_end(&mut said);
    assert!(said.len() < 16, "{said:?}");
    eventually("both are counted", || {
        (site.metric("tls_handshake_failures_total") == 2).then_some(())
    });
    assert_eq!(site.metric("tls_connections_total"), 3);
}

#[test]
fn answers_are_padded_for_who_pads() {
    let site = start("", "");
    let length = |options: Vec<(u16, Vec<u8>)>, name: &str| {
        let mut line = site.caller().connect().unwrap();
        let mut query = query(name, Rtype::A);
        query.edns = Some(Edns {
            options,
            ..Edns::new(1232, false)
        });
        send(&mut line, &query);
        let wire = receive(&mut line).unwrap();
        Message::parse(&wire).unwrap();
        wire.len()
    };
    let padding = || vec![(option::PADDING, vec![0; 40])];
    assert_eq!(length(padding(), "www.own.test."), 468);
    assert_eq!(length(padding(), "none.own.test."), 468);
    // Refused, with an extended error.
    assert_eq!(length(padding(), "elsewhere.test."), 468);
    assert!(length(Vec::new(), "www.own.test.") < 100);
    let mut query = query("www.own.test.", Rtype::A);
    query.edns = Some(Edns {
        options: padding(),
        ..Edns::new(1232, false)
    });
    for answer in [site.daemon.tcp(&query), site.daemon.udp(&query)] {
        assert_eq!(answer.edns.unwrap().option(option::PADDING), None);
    }
}

#[test]
fn transfers_need_what_rfc_9103_asks_for() {
    let site = start(
        "allow_transfer = [{ address = '127.0.0.0/8', tls = true }]",
        "",
    );
    let axfr = query("own.test.", Rtype::AXFR);
    let whole = site.caller().ask(&axfr);
    assert_eq!((whole.rcode, whole.answer.len()), (Rcode::NOERROR, 5));
    let old = Caller {
        versions: OLD,
        ..site.caller()
    };
    let bare = Caller {
        alpn: &[],
        ..site.caller()
    };
    for caller in [old, bare] {
        assert_eq!(caller.ask(&axfr).rcode, Rcode::REFUSED);
        assert_eq!(
            caller.ask(&query("own.test.", Rtype::SOA)).rcode,
            Rcode::NOERROR
        );
    }
    assert_eq!(site.daemon.tcp(&axfr).rcode, Rcode::REFUSED);
}

#[test]
fn clients_are_known_by_their_certificates() {
    let access = "allow_transfer = [{ tls_name = 'secondary.example' }]";
    let site = start(access, "client_ca = 'ca.pem'");
    let axfr = query("own.test.", Rtype::AXFR);
    let (good, other) = (
        site.authority.identity("secondary.example"),
        site.authority.identity("other.example"),
    );
    let with = |identity| Caller {
        identity: Some(identity),
        ..site.caller()
    };
    assert_eq!(with(&good).ask(&axfr).rcode, Rcode::NOERROR);
    assert_eq!(with(&other).ask(&axfr).rcode, Rcode::REFUSED);
    assert_eq!(site.caller().ask(&axfr).rcode, Rcode::REFUSED);
    assert_eq!(
        site.caller()
            .ask(&query("www.own.test.", Rtype::A))
            .answer
            .len(),
        1
    );
    // Of an authority that nobody has heard of: no connection at all.
    let forged = Authority::new().identity("secondary.example");
    let refused = with(&forged).connect().and_then(|mut line| {
        send(&mut line, &axfr);
        receive(&mut line)
    });
    assert!(refused.is_err());
}

#[test]
fn a_reload_shows_another_certificate_or_keeps_the_one_before() {
    let site = start("", "");
    let shown = || {
        let line = site.caller().connect().unwrap();
        line.conn.peer_certificates().unwrap()[0].clone()
    };
    let begun = site.caller().connect();
    let before = shown();
    let (cert, key) = site.authority.identity(NAME);
    // Only half of a pair.
    fs::write(site.daemon.file("cert.pem"), &cert).unwrap();
    site.daemon.signal(libc::SIGHUP);
    let told = || {
        let log = site.daemon.log();
        let place = log.contains("config.toml:5: server.tls: key: ");
        (place && log.contains("keeping the configuration in force")).then_some(())
    };
    eventually("the fault is told", told);
    assert_eq!(shown(), before);
    fs::write(site.daemon.file("key.pem"), &key).unwrap();
    site.daemon.signal(libc::SIGHUP);
    let new = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    eventually("the new one is shown", || (shown() == new).then_some(()));
    // Connections go on with what they began with.
    let mut line = begun.unwrap();
    send(&mut line, &query("www.own.test.", Rtype::A));
    assert!(receive(&mut line).is_ok());
}

/// Somebody else renews certificates; that it has stopped to work must not be learnt from clients.
#[test]
fn a_certificate_that_runs_out_is_told_in_time() {
    let site = start("", "");
    let status = || -> serde_json::Value {
        let output = site.daemon.command(&["--json", "status"]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let load = |end_s: u64| {
        let (cert, key) = site.authority.identity_until(NAME, end_s);
        fs::write(site.daemon.file("cert.pem"), cert).unwrap();
        fs::write(site.daemon.file("key.pem"), key).unwrap();
        site.daemon.signal(libc::SIGHUP);
        let at = format_utc(end_s);
        eventually("the new one is known", || {
            (status()["certificate"]["expires_at"] == at.as_str()).then_some(())
        });
    };
    let left = || site.metric("tls_certificate_left_s");
    let year = 365 * 86_400;
    assert!(left() > year, "those of a test last for centuries");
    assert!(
        !site
            .daemon
            .log()
            .contains("the certificate of [server.tls]")
    );
    let now_s = holdfast::clock::system_wall().as_secs();
    load(now_s + 5 * 86_400);
    assert!((4 * 86_400..=5 * 86_400 + 1).contains(&left()));
    let log = site.daemon.log();
    assert!(
        log.contains("the certificate of [server.tls] runs out in"),
        "{log}"
    );
    let text = site.daemon.command(&["status"]).stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(
        text.contains("! the certificate of [server.tls] runs out in"),
        "{text}"
    );
    load(now_s - 60);
    assert_eq!(left(), 0);
    let log = site.daemon.log();
    assert!(
        log.contains("the certificate of [server.tls] has run out"),
        "{log}"
    );
    load(now_s + 2 * year);
    assert!(left() > year);
}

#[test]
fn no_start_without_what_can_be_shown() {
    let config = "[server.tls]\ncert = 'cert.pem'\nkey = 'key.pem'\ndot = ['127.0.0.1:1']\n";
    let files = directory(&[("config.toml", config), ("cert.pem", "none")]);
    let file = files.path().join("config.toml");
    let output = program(&file, &["run"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let place = format!("{}:2: server.tls: cert: ", file.display());
    assert!(said.contains(&place), "{said}");
}

/// `dig` of BIND and `kdig` of Knot DNS check the certificate, pad, and transfer.
#[test]
fn clients_of_other_makers_ask_over_tls() {
    let site = start(
        "allow_transfer = [{ address = '127.0.0.0/8', tls = true }]",
        "",
    );
    let (ca, port) = (
        site.daemon.file("ca.pem").display().to_string(),
        site.port("dot").to_string(),
    );
    for program in ["dig", "kdig"] {
        let ask = |host: &str, name: &str, rtype: &str| {
            let (ca, host) = (format!("+tls-ca={ca}"), format!("+tls-hostname={host}"));
            let mut command = std::process::Command::new(program);
            command.args(["@127.0.0.1", "-p", &port, "+tls", &ca, &host]);
            command.args(["+padding=128", "+retry=0", name, rtype]);
            let output = command.output().ok()?;
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let Some(said) = ask(NAME, "www.own.test.", "A") else {
            println!("SKIPPED: needs {program} in the PATH");
            continue;
        };
        let good = said.contains("status: NOERROR") && said.contains("192.0.2.80");
        assert!(good, "{program}: {said}");
        assert!(said.contains("468"), "{program}: {said}");
        let whole = ask(NAME, "own.test.", "AXFR").unwrap();
        assert_eq!(
            whole.matches("SOA\tns.own.test.").count(),
            2,
            "{program}: {whole}"
        );
        let said = ask("other.example", "www.own.test.", "A").unwrap();
        assert!(!said.contains("192.0.2.80"), "{program}: {said}");
    }
}

/// Another server that forwards the zone to this one, which has to prove this name.
fn forwarding(site: &Site, name: &str) -> Daemon {
    let at = site.at("dot");
    let config = format!(
        "[server]\nlisten = ['127.0.0.1:PORT']\n[[forward]]\nzone = 'own.test.'\nservers = ['{at}']\n\
         tls = true\ntls_name = '{name}'\nca = 'ca.pem'\n"
    );
    Daemon::start(&config, &[("ca.pem", &site.authority.pem())])
}

// RFC 8310 section 5: the strict profile.
#[test]
fn a_forwarder_is_asked_over_tls_alone_and_only_when_it_has_proven_its_name() {
    let site = start("", "");
    let recursive = |name: &str| Message {
        recursion_desired: true,
        edns: Some(Edns::new(1232, false)),
        ..query(name, Rtype::A)
    };
    let count = |daemon: &Daemon, name: &str| {
        let output = daemon.command(&["--json", "status"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        status["metrics"][name].as_u64().unwrap()
    };
    let deceived = forwarding(&site, "other.example");
    let refused = deceived.udp(&recursive("www.own.test."));
    assert_eq!(refused.rcode, Rcode::SERVFAIL);
    let why = refused.errors();
    let told = |error: &holdfast::dns::Ede| error.text.contains("certificate is for another name");
    assert!(why.iter().any(told), "{why:?}");
    assert!(count(&deceived, "upstream_tls_failures_total") > 0);
    for transport in ["udp", "tcp", "tls"] {
        assert_eq!(site.metric(&format!("queries_{transport}_total")), 0);
    }
    let trusting = forwarding(&site, NAME);
    let found = trusting.udp(&recursive("www.own.test."));
    assert_eq!((found.rcode, found.answer.len()), (Rcode::NOERROR, 1));
    for host in 0..20 {
        let denied = trusting.udp(&recursive(&format!("host{host}.own.test.")));
        assert_eq!(denied.rcode, Rcode::NXDOMAIN);
    }
    assert_eq!(count(&trusting, "upstream_tls_opened_total"), 1);
    assert!(site.metric("queries_tls_total") >= 21);
    for transport in ["udp", "tcp"] {
        assert_eq!(site.metric(&format!("queries_{transport}_total")), 0);
    }
}
