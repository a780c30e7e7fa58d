//! DNS over HTTPS and over QUIC with the real program: clients of `h2` and `quinn`, and real `kdig`.

#[path = "serve/authority.rs"]
mod authority;
#[path = "serve/daemon.rs"]
#[allow(dead_code)]
mod daemon;
#[path = "serve/tls_site.rs"]
mod tls_site;

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;

use daemon::{PATIENCE, eventually, query};
use h2::RecvStream;
use h2::client::SendRequest;
use holdfast::dns::edns::option;
use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Edns, Message, Rcode, Rtype};
use hyper::body::Bytes;
use hyper::{Request, Response};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::ClientConfig;
use rustls::version::TLS13;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use tls_site::{NAME, Site};

const ZONE: &str = "$TTL 300\n@ SOA ns host 7 36000 9000 604800 60\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.80\nwww 30 TXT \"short\"\n";

/// The program with every encrypted listener; `more` are tables.
fn start(more: &str) -> Site {
    let name = format!("name = '{NAME}.'");
    let more = format!("[access]\nallow_transfer = ['127.0.0.0/8']\n{more}");
    Site::with(ZONE, &["dot", "doh", "doq"], &name, &more)
}

impl Site {
    fn client(&self, alpn: &str) -> ClientConfig {
        let mut config = self.trusting(&[&TLS13]).with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        config
    }

    /// A connection that speaks HTTP/2, and the certificate that was shown.
    async fn http(&self) -> std::io::Result<(SendRequest<Bytes>, Vec<u8>)> {
        let stream = TcpStream::connect(self.at("doh")).await?;
        let connector = TlsConnector::from(Arc::new(self.client("h2")));
        let stream = connector.connect(NAME.try_into().unwrap(), stream).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        // Until the server's settings are here the library would open as many streams as it is asked for, and all beyond the
        // server's limit are refused. So many a server allows at least (RFC 9113 section 6.5.2).
        let mut builder = h2::client::Builder::new();
        let opening = builder.initial_max_send_streams(100).handshake(stream);
        let (client, connection) = opening.await.unwrap();
        tokio::spawn(connection);
        Ok((client, shown))
    }

    async fn quic(&self) -> quinn::Connection {
        let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let crypto = QuicClientConfig::try_from(self.client("doq")).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        let connecting = endpoint.connect(self.at("doq"), NAME).unwrap();
        timeout(PATIENCE, connecting).await.unwrap().unwrap()
    }
}

/// A query with ID 0, as both transports want it.
fn asking(name: &str, rtype: Rtype) -> Message {
    Message {
        id: 0,
        ..query(name, rtype)
    }
}

fn padded(mut query: Message) -> Message {
    let mut edns = Edns::new(1232, false);
    edns.options = vec![(option::PADDING, vec![0; 20])];
    query.edns = Some(edns);
    query
}

fn post(path: &str, media_type: &str) -> Request<()> {
    Request::post(format!("https://{NAME}{path}"))
        .header("content-type", media_type)
        .body(())
        .unwrap()
}

/// Sends a request, and reads its response whole.
async fn http(
    client: &mut SendRequest<Bytes>,
    request: Request<()>,
    body: &[u8],
) -> (Response<()>, Vec<u8>) {
    let mut ready = client.clone().ready().await.unwrap();
    let (response, mut sending) = ready.send_request(request, body.is_empty()).unwrap();
    if !body.is_empty() {
        // What the server does not want to hear it says in time.
        let _ = sending.send_data(Bytes::copy_from_slice(body), true);
    }
    let response = timeout(PATIENCE, response).await.unwrap().unwrap();
    let (head, body) = response.into_parts();
    (Response::from_parts(head, ()), read(body).await)
}

async fn read(mut body: RecvStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(part) = body.data().await {
        let part = part.unwrap();
        body.flow_control().release_capacity(part.len()).unwrap();
        all.extend_from_slice(&part);
    }
    all
}

async fn answer(client: &mut SendRequest<Bytes>, query: &Message) -> (Response<()>, Message) {
    let wire = query.encode(MESSAGE_LEN_MAX);
    let request = post("/dns-query", "application/dns-message");
    let (head, body) = http(client, request, &wire).await;
    assert_eq!(head.status(), 200);
    (head, Message::parse(&body).unwrap())
}

fn header<'r>(response: &'r Response<()>, name: &str) -> &'r str {
    response.headers()[name].to_str().unwrap()
}

// RFC 8484 sections 4.1, 4.2, 5.1.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn questions_are_answered_over_https() {
    let site = start("");
    let (mut client, _) = site.http().await.unwrap();
    for (name, rtype, rcode, fresh) in [
        ("www.own.test.", Rtype::A, Rcode::NOERROR, "max-age=300"),
        ("www.own.test.", Rtype::TXT, Rcode::NOERROR, "max-age=30"),
        ("none.own.test.", Rtype::A, Rcode::NXDOMAIN, "max-age=60"),
        // Over HTTPS there is room for one message only.
        ("own.test.", Rtype::AXFR, Rcode::REFUSED, "max-age=0"),
    ] {
        let (head, answer) = answer(&mut client, &asking(name, rtype)).await;
        assert_eq!((answer.id, answer.rcode), (0, rcode), "{name} {rtype}");
        assert_eq!(header(&head, "content-type"), "application/dns-message");
        assert_eq!(header(&head, "cache-control"), fresh, "{name} {rtype}");
    }
    // RFC 8467 section 4.1.
    let wire = padded(asking("www.own.test.", Rtype::A)).encode(MESSAGE_LEN_MAX);
    let request = post("/dns-query", "application/dns-message");
    let (head, body) = http(&mut client, request, &wire).await;
    assert_eq!((head.status().as_u16(), body.len()), (200, 468));
    assert_eq!(header(&head, "content-length"), "468");
    let get = |path: &str| {
        Request::get(format!("https://{NAME}{path}"))
            .body(())
            .unwrap()
    };
    let question = "/dns-query?dns=AAABAAABAAAAAAAAA3d3dwNvd24EdGVzdAAAAQAB";
    let (head, body) = http(&mut client, get(question), &[]).await;
    assert_eq!(head.status(), 200);
    assert_eq!(Message::parse(&body).unwrap().answer.len(), 1);
    let plain = "application/dns-message";
    let put = Request::put(format!("https://{NAME}/dns-query"))
        .body(())
        .unwrap();
    for (request, body, status) in [
        (get("/"), &b""[..], 404),
        (get("/dns-query"), b"", 400),
        (get("/dns-query?dns=AAAA"), b"", 400),
        (put, b"", 405),
        (post("/dns-query", "text/plain"), &wire, 415),
        (post("/dns-query", plain), b"short", 400),
        (post("/dns-query", plain), &[0; MESSAGE_LEN_MAX + 1], 413),
    ] {
        let (head, told) = http(&mut client, request, body).await;
        assert_eq!((head.status().as_u16(), told.len()), (status, 0));
    }
    // The connection is as good as before.
    answer(&mut client, &asking("www.own.test.", Rtype::A)).await;
    assert_eq!(site.metric("https_refused_total"), 7);
    assert_eq!(site.metric("queries_https_total"), 9);
    assert_eq!(site.metric("tls_connections"), 1);
    drop(client);
    eventually("the connection is counted out", || {
        (site.metric("tls_connections") == 0).then_some(())
    });
    // HTTP/1.1 is not spoken.
    let stream = TcpStream::connect(site.at("doh")).await;
    let connector = TlsConnector::from(Arc::new(site.client("http/1.1")));
    let refused = connector.connect(NAME.try_into().unwrap(), stream.unwrap());
    assert!(refused.await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn many_requests_and_unfinished_ones_share_a_connection() {
    let site = start("");
    let (mut client, _) = site.http().await.unwrap();
    // One that never ends its body, another that never begins it.
    let mut unfinished = Vec::new();
    for part in [&b"part"[..], b""] {
        let mut ready = client.clone().ready().await.unwrap();
        let request = post("/dns-query", "application/dns-message");
        let (response, mut sending) = ready.send_request(request, false).unwrap();
        sending.send_data(Bytes::from_static(part), false).unwrap();
        unfinished.push((response, sending));
    }
    let asked = (0..500).map(|_| {
        let mut client = client.clone();
        async move { answer(&mut client, &asking("www.own.test.", Rtype::A)).await }
    });
    for asked in asked.map(tokio::spawn).collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap().1.answer.len(), 1);
    }
    for (response, _sending) in unfinished {
        assert!(timeout(PATIENCE, response).await.unwrap().is_err());
    }
    answer(&mut client, &asking("www.own.test.", Rtype::A)).await;
    assert_eq!(site.metric("https_refused_total"), 2);
    // Who asks nothing more is told that this was the end.
    let closed =
        async { while client.clone().ready().await.is_ok() && !is_closed(&client).await {} };
    timeout(2 * PATIENCE, closed).await.unwrap();
    assert_eq!(site.metric("tls_connections"), 0);
}

/// Looks again after a moment: the client learns of the end by itself.
async fn is_closed(client: &SendRequest<Bytes>) -> bool {
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    client.clone().ready().await.is_err()
}

/// Sends octets on a stream of their own, and reads what comes back; the error tells the code.
async fn stream(connection: &quinn::Connection, octets: &[u8]) -> Result<Vec<u8>, u64> {
    let code = |connection: &quinn::Connection| match connection.close_reason() {
        Some(quinn::ConnectionError::ApplicationClosed(close)) => close.error_code.into_inner(),
        other => panic!("{other:?}"),
    };
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(octets).await.unwrap();
    send.finish().unwrap();
    match timeout(PATIENCE, receive.read_to_end(1 << 20))
        .await
        .unwrap()
    {
        Ok(answer) => Ok(answer),
        Err(_) => Err(code(connection)),
    }
}

fn framed(query: &Message) -> Vec<u8> {
    let wire = query.encode(MESSAGE_LEN_MAX);
    [&(wire.len() as u16).to_be_bytes()[..], &wire].concat()
}

// RFC 9250 sections 4.2, 4.3, 5.5.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn questions_are_answered_over_quic() {
    let site = start("");
    let connection = site.quic().await;
    for (name, rcode) in [
        ("www.own.test.", Rcode::NOERROR),
        ("none.own.test.", Rcode::NXDOMAIN),
    ] {
        let answer = stream(&connection, &framed(&asking(name, Rtype::A))).await;
        let answer = answer.unwrap();
        assert_eq!(
            usize::from(u16::from_be_bytes([answer[0], answer[1]])) + 2,
            answer.len()
        );
        let answer = Message::parse(&answer[2..]).unwrap();
        assert_eq!((answer.id, answer.rcode), (0, rcode));
    }
    let asked = framed(&padded(asking("www.own.test.", Rtype::A)));
    assert_eq!(stream(&connection, &asked).await.unwrap().len(), 2 + 468);
    // Many at once.
    let all = (0..300).map(|_| {
        let connection = connection.clone();
        async move { stream(&connection, &framed(&asking("www.own.test.", Rtype::A))).await }
    });
    for asked in all.map(tokio::spawn).collect::<Vec<_>>() {
        asked.await.unwrap().unwrap();
    }
    // A zone is handed on (RFC 9250 section 4.2: one stream).
    let zone = stream(&connection, &framed(&asking("own.test.", Rtype::AXFR))).await;
    let zone = Message::parse(&zone.unwrap()[2..]).unwrap();
    assert!(zone.answer.len() >= 6 && zone.answer[0].rtype == Rtype::SOA);
    assert_eq!(site.metric("queries_quic_total"), 304);
    assert_eq!(site.metric("quic_connections"), 1);
    connection.close(0_u32.into(), b"");
    eventually("the connection is counted out", || {
        (site.metric("quic_connections") == 0).then_some(())
    });
    // Who breaks the rules is disconnected, and told so.
    let good = framed(&asking("www.own.test.", Rtype::A));
    let mut keepalive = padded(asking("www.own.test.", Rtype::A));
    keepalive.edns.as_mut().unwrap().options = vec![(option::TCP_KEEPALIVE, vec![])];
    for wrong in [
        framed(&query("www.own.test.", Rtype::A)),
        framed(&keepalive),
        [&good[..], &good].concat(),
        good[..9].to_vec(),
        vec![0; MESSAGE_LEN_MAX + 3],
    ] {
        let connection = site.quic().await;
        assert_eq!(stream(&connection, &wrong).await, Err(2));
    }
    assert_eq!(site.metric("quic_connections_total"), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_reload_shows_another_certificate_and_ends_no_connection() {
    let site = start("");
    let (mut old, shown) = site.http().await.unwrap();
    let quic = site.quic().await;
    let (cert, key) = site.authority.identity(NAME);
    fs::write(site.daemon.file("cert.pem"), cert).unwrap();
    fs::write(site.daemon.file("key.pem"), key).unwrap();
    site.daemon.signal(libc::SIGHUP);
    eventually("the reload is done", || {
        site.daemon.log().contains("reload: done").then_some(())
    });
    let (mut new, shown_now) = site.http().await.unwrap();
    assert_ne!(shown, shown_now);
    let identity = |connection: &quinn::Connection| {
        let chain = connection.peer_identity().unwrap();
        let chain: Box<Vec<rustls::pki_types::CertificateDer<'static>>> = chain.downcast().unwrap();
        chain[0].to_vec()
    };
    assert_eq!(identity(&quic), shown);
    assert_eq!(identity(&site.quic().await), shown_now);
    for client in [&mut old, &mut new] {
        answer(client, &asking("www.own.test.", Rtype::A)).await;
    }
    stream(&quic, &framed(&asking("www.own.test.", Rtype::A)))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn all_encrypted_connections_share_the_places() {
    let site = start("[limits]\ntcp_connections_max = 3\n");
    let mut held = Vec::new();
    for _ in 0..2 {
        let (mut client, _) = site.http().await.unwrap();
        answer(&mut client, &asking("www.own.test.", Rtype::A)).await;
        held.push(client);
    }
    // More than half are taken: a client of QUIC shows first that it is there (Retry), and then finds the last place.
    let quic = site.quic().await;
    stream(&quic, &framed(&asking("www.own.test.", Rtype::A)))
        .await
        .unwrap();
    // The next one gets the place where nothing has been asked for longest.
    let (mut newcomer, _) = site.http().await.unwrap();
    answer(&mut newcomer, &asking("www.own.test.", Rtype::A)).await;
    assert_eq!(site.metric("connections_ousted_total"), 1);
    assert_eq!(site.metric("connections_crowded_total"), 0);
    answer(&mut held[1], &asking("www.own.test.", Rtype::A)).await;
}

// RFC 9462 section 4.
#[test]
fn clients_are_told_of_encrypted_listeners() {
    let site = start("");
    let answer = site.daemon.udp(&query("_dns.resolver.arpa.", Rtype::SVCB));
    let told: Vec<_> = answer
        .answer
        .iter()
        .map(|record| &record.rdata[..])
        .collect();
    let name = b"\x02ns\x07example\0";
    let expected = |priority: u8, alpn: &str, port: u16, path: &str| {
        let mut rdata = vec![0, priority];
        rdata.extend(name);
        rdata.extend([0, 1, 0, alpn.len() as u8 + 1, alpn.len() as u8]);
        rdata.extend(alpn.bytes());
        rdata.extend([0, 3, 0, 2]);
        rdata.extend(port.to_be_bytes());
        if !path.is_empty() {
            rdata.extend([0, 7, 0, path.len() as u8]);
            rdata.extend(path.bytes());
        }
        rdata
    };
    let expected = [
        expected(1, "dot", site.port("dot"), ""),
        expected(2, "h2", site.port("doh"), "/dns-query{?dns}"),
        expected(3, "doq", site.port("doq"), ""),
    ];
    assert_eq!(told, expected);
    let other = site.daemon.udp(&query("_dns.resolver.arpa.", Rtype::A));
    assert_eq!((other.rcode, other.answer.len()), (Rcode::NOERROR, 0));
}

/// `kdig` of Knot DNS, an implementation of all three by others.
#[test]
fn kdig_is_answered_over_each() {
    if Command::new("kdig").arg("-V").output().is_err() {
        println!("SKIPPED: needs kdig in the PATH");
        return;
    }
    let site = start("");
    let ca = site.daemon.file("ca.pem");
    let kdig = |port: u16, options: &[&str]| {
        let output = Command::new("kdig")
            .args(["@127.0.0.1", "-p", &port.to_string(), "+timeout=5"])
            .arg(format!("+tls-ca={}", ca.display()))
            .arg(format!("+tls-hostname={NAME}"))
            .args(options)
            .args(["www.own.test.", "A"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (port, options, shown) in [
        (site.port("dot"), &["+tls"][..], "TLS session"),
        (site.port("doh"), &["+https"], "HTTP session (HTTP/2-POST)"),
        (
            site.port("doh"),
            &["+https", "+https-get"],
            "HTTP session (HTTP/2-GET)",
        ),
        (site.port("doq"), &["+quic"], "QUIC session"),
    ] {
        let said = kdig(port, options);
        for expected in ["status: NOERROR", "192.0.2.80", shown] {
            assert!(
                said.contains(expected),
                "{options:?}: no {expected} in\n{said}"
            );
        }
        // kdig pads its questions over these, so the answers are padded.
        assert!(said.contains("Received 468 B"), "{options:?}: {said}");
    }
}
