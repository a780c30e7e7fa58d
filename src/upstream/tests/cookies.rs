//! Cookies with servers on loopback (RFC 7873).

use super::*;
use crate::dns::edns::option;

/// What a server answers with.
#[derive(Clone, Copy, PartialEq)]
enum Cookie {
    /// Ours, and its own.
    Good,
    Absent,
    /// Another client's.
    Wrong,
    /// As [`Cookie::Good`], with BADCOOKIE unless its own was sent.
    Demanded,
}

const SERVER_COOKIE: [u8; 16] = [7; 16];

fn cookie_of(query: &[u8]) -> Option<Vec<u8>> {
    let message = Message::parse(query).unwrap();
    Some(message.edns?.option(option::COOKIE)?.to_vec())
}

fn answer_with(cookie: Cookie, query: &[u8]) -> Vec<u8> {
    let mut reply = answer(query);
    let mut edns = Edns::new(1232, true);
    if let Some(sent) = cookie_of(query) {
        let mut value = [&sent[..8], &SERVER_COOKIE].concat();
        match cookie {
            Cookie::Absent => value.clear(),
            Cookie::Wrong => value[0] ^= 1,
            Cookie::Demanded if sent.len() == 8 => reply.rcode = Rcode::BADCOOKIE,
            Cookie::Good | Cookie::Demanded => {}
        }
        if !value.is_empty() {
            edns.options.push((option::COOKIE, value));
        }
    }
    reply.edns = Some(edns);
    wire(&reply)
}

/// A server over UDP and TCP at one address and port, whose ways may change, and the cookies that it was sent.
struct Server {
    address: SocketAddr,
    way: Arc<Mutex<Cookie>>,
    sent: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
}

impl Server {
    async fn start(way: Cookie) -> Server {
        let (way, sent) = (Arc::new(Mutex::new(way)), Arc::<Mutex<Vec<_>>>::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(address).await.unwrap();
        let (says, noted) = (way.clone(), sent.clone());
        let reply = Arc::new(move |query: &[u8]| {
            noted.lock().unwrap().push(cookie_of(query));
            answer_with(*says.lock().unwrap(), query)
        });
        let script = reply.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
                let _ = socket.send_to(&script(&buffer[..len]), client).await;
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let len = stream.read_u16().await.unwrap();
                let mut query = vec![0; usize::from(len)];
                stream.read_exact(&mut query).await.unwrap();
                let _ = stream.write_all(&framed(&reply(&query))).await;
            }
        });
        Server { address, way, sent }
    }

    async fn ask(&self, upstream: &NetUpstream, transport: Transport, time: Duration) -> String {
        let ask = Ask {
            cookie: true,
            ..ask(self.address, transport, time)
        };
        let result = upstream.exchange(ask).await;
        match &result {
            Ok(reply) if reply.message.rcode == Rcode::BADCOOKIE => "BADCOOKIE".into(),
            _ => outcome(&result).into(),
        }
    }

    fn becomes(&self, way: Cookie) {
        *self.way.lock().unwrap() = way;
    }

    /// Lengths of the cookies that were sent since the last call.
    fn take_lengths(&self) -> Vec<usize> {
        let taken = std::mem::take(&mut *self.sent.lock().unwrap());
        let len = |c: &Option<Vec<u8>>| c.as_ref().map_or(0, Vec::len);
        taken.iter().map(len).collect()
    }
}

// RFC 7873 sections 5.1 and 5.3.
#[tokio::test]
async fn the_servers_cookie_is_sent_back() {
    use Transport::{Tcp, Udp};
    let server = Server::start(Cookie::Good).await;
    let (upstream, metrics) = upstream();
    for transport in [Udp, Udp, Tcp, Udp] {
        assert_eq!(server.ask(&upstream, transport, LONG).await, "answer");
    }
    assert_eq!(server.take_lengths(), [8, 24, 24, 24]);
    assert_eq!(metrics.upstream_mismatched_total.value(), 0);
    // Nothing is sent where nothing is to be.
    let plain = upstream.exchange(ask(server.address, Udp, LONG)).await;
    assert_eq!(outcome(&plain), "answer");
    assert_eq!(server.take_lengths(), [0]);
}

// RFC 7873 section 5.3.
#[tokio::test]
async fn an_answer_without_the_expected_cookie_needs_tcp() {
    use Transport::{Tcp, Udp};
    let server = Server::start(Cookie::Absent).await;
    let (upstream, metrics) = upstream();
    // None was seen yet, so none is expected.
    assert_eq!(server.ask(&upstream, Udp, LONG).await, "answer");
    server.becomes(Cookie::Good);
    assert_eq!(server.ask(&upstream, Udp, LONG).await, "answer");
    server.becomes(Cookie::Absent);
    assert_eq!(server.ask(&upstream, Udp, LONG).await, "cookie missing");
    assert_eq!(metrics.upstream_cookie_missing_total.value(), 1);
    // Over TCP it is believed to have given them up.
    assert_eq!(server.ask(&upstream, Tcp, LONG).await, "answer");
    assert_eq!(server.ask(&upstream, Udp, LONG).await, "answer");
    assert_eq!(server.take_lengths(), [8, 8, 24, 24, 8]);
}

// RFC 7873 section 5.3.
#[tokio::test]
async fn an_answer_with_anothers_cookie_is_discarded() {
    let server = Server::start(Cookie::Wrong).await;
    let (upstream, metrics) = upstream();
    assert_eq!(
        server.ask(&upstream, Transport::Udp, SHORT).await,
        "timed out"
    );
    assert_eq!(
        server.ask(&upstream, Transport::Tcp, LONG).await,
        "malformed"
    );
    assert_eq!(metrics.upstream_mismatched_cookie_total.value(), 2);
    // The honest answer after it counts.
    let forger = udp_server(|query| {
        vec![
            answer_with(Cookie::Wrong, query),
            answer_with(Cookie::Good, query),
        ]
    })
    .await;
    let ask = Ask {
        cookie: true,
        ..ask(forger, Transport::Udp, LONG)
    };
    assert_eq!(outcome(&upstream.exchange(ask).await), "answer");
    assert_eq!(metrics.upstream_mismatched_cookie_total.value(), 3);
}

// RFC 7873 section 5.3.
#[tokio::test]
async fn a_demanded_cookie_is_there_the_next_time() {
    let server = Server::start(Cookie::Demanded).await;
    let (upstream, _) = upstream();
    for expected in ["BADCOOKIE", "answer", "answer"] {
        assert_eq!(server.ask(&upstream, Transport::Udp, LONG).await, expected);
    }
    assert_eq!(server.take_lengths(), [8, 24, 24]);
}

// RFC 9018 section 3.
#[tokio::test]
async fn each_own_address_has_its_cookie() {
    let server = Server::start(Cookie::Absent).await;
    let outgoing: Vec<IpAddr> = [2, 3].map(|n| Ipv4Addr::new(127, 0, 0, n).into()).to_vec();
    let (upstream, _) = upstream_with(NetSettings {
        outgoing,
        ipv4: true,
        ipv6: true,
    });
    for _ in 0..30 {
        server.ask(&upstream, Transport::Udp, LONG).await;
    }
    let sent = server.sent.lock().unwrap();
    let different: HashSet<_> = sent.iter().collect();
    assert_eq!(different.len(), 2);
}
