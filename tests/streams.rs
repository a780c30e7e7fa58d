//! Connections to the real program: many questions at once, transfers beside them, how long they may stay; and clients behind a proxy, a real
//! dnsdist among them.

#[path = "serve/authority.rs"]
#[allow(dead_code)]
mod authority;
#[path = "serve/daemon.rs"]
#[allow(dead_code)]
mod daemon;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use authority::Authority;
use daemon::{Daemon, PATIENCE, directory, eventually, free_port, query};
use holdfast::dns::edns::option;
use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Edns, Message, Rcode, Rtype};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

const NAME: &str = "ns.example";
const PROXY: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// May ask.
const FRIEND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
/// May not.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

/// A zone whose transfer takes several messages.
fn zone() -> String {
    let mut zone =
        "$TTL 300\n@ SOA ns host 7 36000 9000 604800 60\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.80\n"
            .to_owned();
    for host in 0..20_000 {
        zone.push_str(&format!("host{host} TXT \"a text that takes some room\"\n"));
    }
    zone
}

fn metric(daemon: &Daemon, name: &str) -> u64 {
    let output = daemon.command(&["--json", "status"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    status["metrics"][name].as_u64().unwrap()
}

fn framed(query: &Message) -> Vec<u8> {
    let wire = query.encode(MESSAGE_LEN_MAX);
    [&(wire.len() as u16).to_be_bytes()[..], &wire].concat()
}

fn asking(id: u16, name: &str, rtype: Rtype) -> Message {
    Message {
        id,
        ..query(name, rtype)
    }
}

fn receive(stream: &mut impl Read) -> std::io::Result<Message> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut wire = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut wire)?;
    Ok(Message::parse(&wire).unwrap())
}

// RFC 7766 section 6.2.1; RFC 5936 section 4.1.1 lets the messages of a transfer and other answers mix.
#[test]
fn questions_beside_a_transfer_are_answered_before_its_end() {
    let config = "[server]\nlisten = ['127.0.0.1:PORT']\n[access]\nallow_transfer = ['127.0.0.0/8']\n\
                  [[zone]]\nname = 'own.test.'\nfile = 'own.zone'\n";
    let daemon = Daemon::start(config, &[("own.zone", &zone())]);
    let mut stream = daemon.connect();
    let mut all = framed(&asking(1, "own.test.", Rtype::AXFR));
    for id in 2..=40 {
        all.extend(framed(&asking(id, "www.own.test.", Rtype::A)));
    }
    all.extend(framed(&asking(41, "own.test.", Rtype::AXFR)));
    all.extend(framed(&asking(42, "ns.own.test.", Rtype::A)));
    stream.write_all(&all).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let (mut order, mut records) = (Vec::new(), [0; 2]);
    while let Ok(message) = receive(&mut stream) {
        assert_eq!(message.rcode, Rcode::NOERROR);
        match message.id {
            1 => records[0] += message.answer.len(),
            41 => records[1] += message.answer.len(),
            _ => assert_eq!(message.answer.len(), 1),
        }
        order.push(message.id);
    }
    assert_eq!(records, [20_005; 2]);
    let mut answered: Vec<u16> = order
        .iter()
        .copied()
        .filter(|id| ![1, 41].contains(id))
        .collect();
    answered.sort_unstable();
    let expected: Vec<u16> = (2..=40).chain([42]).collect();
    assert_eq!(answered, expected);
    let first = |id| order.iter().position(|found| *found == id).unwrap();
    let last = |id| order.iter().rposition(|found| *found == id).unwrap();
    assert!(last(40) < last(1), "{order:?}");
    // One transfer of a connection after the other.
    assert!(last(1) < first(41), "{order:?}");
}

// RFC 7828 section 3.
#[test]
fn the_time_that_a_connection_may_stay_is_told_over_streams_only() {
    let site = Site::start("", "127.0.0.5");
    let keepalive = |value: &[u8]| {
        let mut edns = Edns::new(1232, false);
        edns.options = vec![(option::TCP_KEEPALIVE, value.to_vec())];
        Message {
            edns: Some(edns),
            ..asking(7, "www.own.test.", Rtype::A)
        }
    };
    let told = |reply: Message| {
        let edns = reply.edns.unwrap();
        let value = edns.option(option::TCP_KEEPALIVE).map(<[u8]>::to_vec);
        (reply.rcode, value)
    };
    let from = (FRIEND, 0).into();
    let over_tcp = |query: &Message| {
        let mut stream = connect(from, site.daemon.addr());
        stream.write_all(&framed(query)).unwrap();
        told(receive(&mut stream).unwrap())
    };
    let ten_seconds = Some(vec![0, 100]);
    assert_eq!(
        over_tcp(&keepalive(&[])),
        (Rcode::NOERROR, ten_seconds.clone())
    );
    assert_eq!(over_tcp(&keepalive(&[0, 1])), (Rcode::FORMERR, None));
    let mut line = site.handshake(connect(from, site.dot)).unwrap();
    line.write_all(&framed(&keepalive(&[]))).unwrap();
    assert_eq!(
        told(receive(&mut line).unwrap()),
        (Rcode::NOERROR, ten_seconds)
    );
    for value in [&[][..], &[0, 1]] {
        let wire = keepalive(value).encode(MESSAGE_LEN_MAX);
        let reply = datagram(from, site.daemon.addr(), &wire).unwrap();
        assert_eq!(told(reply), (Rcode::NOERROR, None));
    }
}

/// The program with an own zone for one client, behind a proxy or not, and TLS.
struct Site {
    daemon: Daemon,
    authority: Authority,
    dot: SocketAddr,
}

impl Site {
    /// `server` are more lines of `[server]`.
    fn start(server: &str, allowed: &str) -> Site {
        let authority = Authority::new();
        let (cert, key) = authority.identity(NAME);
        let port = free_port();
        let config = format!(
            "[server]\nlisten = ['127.0.0.1:PORT']\n{server}\n[server.tls]\ncert = 'cert.pem'\nkey = 'key.pem'\n\
             dot = ['127.0.0.1:{port}']\n[access]\nallow = []\nallow_own_zones = ['{allowed}']\n\
             [[zone]]\nname = 'own.test.'\nfile = 'own.zone'\n"
        );
        let zone = zone();
        let files = [
            ("cert.pem", &cert[..]),
            ("key.pem", &key),
            ("own.zone", &zone),
        ];
        Site {
            daemon: Daemon::start(&config, &files),
            authority,
            dot: (Ipv4Addr::LOCALHOST, port).into(),
        }
    }

    fn behind_proxy() -> Site {
        Site::start("proxy_from = ['127.0.0.1/32']", "127.0.0.5")
    }

    fn handshake(
        &self,
        mut socket: TcpStream,
    ) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = NAME.try_into().unwrap();
        let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(session, socket))
    }
}

/// A connection from this address.
fn connect(from: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes back over UDP, if anything soon.
fn datagram(from: SocketAddr, to: SocketAddr, octets: &[u8]) -> Option<Message> {
    let socket = UdpSocket::bind(from).unwrap();
    socket.connect(to).unwrap();
    let soon = Duration::from_secs(2);
    socket.set_read_timeout(Some(soon)).unwrap();
    socket.send(octets).unwrap();
    let mut buffer = vec![0; MESSAGE_LEN_MAX];
    let length = socket.recv(&mut buffer).ok()?;
    Some(Message::parse(&buffer[..length]).unwrap())
}

/// PROXY, version 2, for a client over IPv4.
fn header(client: Ipv4Addr) -> Vec<u8> {
    let ports = [0x12, 0x34, 0, 53];
    let start = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, 0x12, 0, 12]].concat();
    [&start[..], &client.octets(), &PROXY.octets(), &ports].concat()
}

#[test]
fn the_client_is_who_the_proxy_says() {
    let site = Site::behind_proxy();
    let question = asking(7, "www.own.test.", Rtype::A);
    let wire = question.encode(MESSAGE_LEN_MAX);
    let at = site.daemon.addr();
    let proxy: SocketAddr = (PROXY, 0).into();
    let rcode = |from: Ipv4Addr, said: &[u8]| {
        datagram((from, 0).into(), at, &[said, &wire].concat()).map(|reply| reply.rcode)
    };
    assert_eq!(rcode(PROXY, &header(FRIEND)), Some(Rcode::NOERROR));
    assert_eq!(rcode(PROXY, &header(STRANGER)), Some(Rcode::REFUSED));
    // A proxy says who asks, or is not heard; and where it asks for itself it is a client like any.
    assert_eq!(rcode(PROXY, &[]), None);
    let local = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20, 0, 0, 0]].concat();
    assert_eq!(rcode(PROXY, &local), Some(Rcode::REFUSED));
    // Others cannot say who they are.
    assert_eq!(rcode(FRIEND, &[]), Some(Rcode::NOERROR));
    assert_eq!(rcode(STRANGER, &[]), Some(Rcode::REFUSED));
    assert_ne!(rcode(STRANGER, &header(FRIEND)), Some(Rcode::NOERROR));
    // The same for connections, in clear and before TLS.
    for (said, expected) in [(FRIEND, Rcode::NOERROR), (STRANGER, Rcode::REFUSED)] {
        let mut stream = connect(proxy, at);
        stream.write_all(&header(said)).unwrap();
        for _ in 0..2 {
            stream.write_all(&framed(&question)).unwrap();
            assert_eq!(receive(&mut stream).unwrap().rcode, expected);
        }
        let mut socket = connect(proxy, site.dot);
        socket.write_all(&header(said)).unwrap();
        let mut line = site.handshake(socket).unwrap();
        line.write_all(&framed(&question)).unwrap();
        assert_eq!(receive(&mut line).unwrap().rcode, expected);
    }
    let mut without = connect(proxy, at);
    without.write_all(&framed(&question)).unwrap();
    assert!(receive(&mut without).is_err());
    assert!(site.handshake(connect(proxy, site.dot)).is_err());
    assert_eq!(metric(&site.daemon, "proxy_headers_total"), 7);
    assert_eq!(metric(&site.daemon, "proxy_headers_wrong_total"), 3);
}

/// dnsdist in front; dropping it ends it.
struct Dnsdist {
    child: Child,
    at: SocketAddr,
}

impl Dnsdist {
    /// `None`, loudly, where it is not installed.
    fn start(backend: SocketAddr) -> Option<Dnsdist> {
        let installed = Command::new("dnsdist").arg("--version").output();
        if installed.is_err() {
            // Not by a macro: what those print of a test that passes is shown to nobody.
            let mut stderr = std::io::stderr();
            let _ = writeln!(stderr, "SKIPPED: dnsdist is not installed (.ci/setup)");
            return None;
        }
        let at = SocketAddrV4::new(PROXY, free_port());
        let config = format!(
            "setSecurityPollSuffix('')\nsetACL({{'127.0.0.0/8'}})\nsetLocal('{at}')\n\
             newServer({{address='{backend}', useProxyProtocol=true, checkInterval=1}})\n"
        );
        let directory = directory(&[("dnsdist.conf", &config)]);
        let child = Command::new("dnsdist")
            .args(["--supervised", "--disable-syslog", "-C"])
            .arg(directory.path().join("dnsdist.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let dnsdist = Dnsdist {
            child,
            at: at.into(),
        };
        // It has found out that the server behind lives.
        let wire = asking(1, "www.own.test.", Rtype::A).encode(MESSAGE_LEN_MAX);
        eventually("an answer through dnsdist", || {
            datagram((FRIEND, 0).into(), dnsdist.at, &wire)
        });
        Some(dnsdist)
    }
}

impl Drop for Dnsdist {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn behind_a_real_dnsdist_clients_are_told_apart() {
    let site = Site::behind_proxy();
    let Some(dnsdist) = Dnsdist::start(site.daemon.addr()) else {
        return;
    };
    let question = asking(7, "www.own.test.", Rtype::A);
    let wire = question.encode(MESSAGE_LEN_MAX);
    for (client, expected) in [(FRIEND, Rcode::NOERROR), (STRANGER, Rcode::REFUSED)] {
        let client = (client, 0).into();
        assert_eq!(datagram(client, dnsdist.at, &wire).unwrap().rcode, expected);
        let mut stream = connect(client, dnsdist.at);
        for _ in 0..2 {
            stream.write_all(&framed(&question)).unwrap();
            assert_eq!(receive(&mut stream).unwrap().rcode, expected);
        }
    }
    // Its own questions, whether this server lives, were taken as such.
    assert_eq!(metric(&site.daemon, "proxy_headers_wrong_total"), 0);
}
