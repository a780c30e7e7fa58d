//! Exchanges with servers on loopback sockets: honest, hostile, silent, gone.

mod cookies;
mod lines;
mod pool;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use super::*;
use crate::clock::Clock;
use crate::dns::message::MESSAGE_LEN_MAX;
use crate::dns::{Class, Rcode, Record, Rtype, WireError};
use crate::metrics::Metrics;

const NAME: &str = "www.holdfast-upstream.example.";
/// For exchanges that end by themselves.
const LONG: Duration = Duration::from_secs(20);
/// For exchanges that end by it.
const SHORT: Duration = Duration::from_millis(150);

fn upstream_with(settings: NetSettings) -> (NetUpstream, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let clock = Clock::starting_at(Duration::ZERO);
    let upstream = NetUpstream::new(settings, metrics.clone(), clock).unwrap();
    (upstream, metrics)
}

fn upstream() -> (NetUpstream, Arc<Metrics>) {
    upstream_with(NetSettings {
        outgoing: Vec::new(),
        ipv4: true,
        ipv6: true,
    })
}

fn ask(server: SocketAddr, transport: Transport, timeout: Duration) -> Ask {
    Ask {
        zone: Name::root(),
        server,
        transport,
        question: Question::new(NAME.parse().unwrap(), Rtype::A),
        recursion_desired: false,
        checking_disabled: false,
        edns: Some(Edns::new(1232, true)),
        cookie: false,
        mix_case: true,
        timeout,
    }
}

/// The honest answer to a query.
fn answer(query: &[u8]) -> Message {
    let mut reply = Message::parse(query).unwrap().reply(Rcode::NOERROR);
    reply.authoritative = true;
    reply.answer.push(Record {
        name: reply.question.clone().unwrap().name,
        rtype: Rtype::A,
        class: Class::IN,
        ttl: 60,
        rdata: [192, 0, 2, 1].as_slice().into(),
    });
    reply
}

fn wire(message: &Message) -> Vec<u8> {
    message.encode(MESSAGE_LEN_MAX)
}

/// A UDP server that sends the packets of `script` back for each query; it ends with the runtime.
async fn udp_server(script: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
            for packet in script(&buffer[..len]) {
                // A client that is gone is no fault of the server.
                let _ = socket.send_to(&packet, client).await;
            }
        }
    });
    address
}

/// A TCP server that reads one framed query per connection, writes what `script` says and hangs up.
async fn tcp_server(script: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let len = stream.read_u16().await.unwrap();
            let mut query = vec![0; usize::from(len)];
            stream.read_exact(&mut query).await.unwrap();
            let _ = stream.write_all(&script(&query)).await;
        }
    });
    address
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

/// What an exchange came to, without the parts that vary.
fn outcome(result: &Result<Reply, ExchangeError>) -> &'static str {
    match result {
        Ok(reply) if reply.message.truncated => "truncated",
        Ok(_) => "answer",
        Err(ExchangeError::TimedOut) => "timed out",
        Err(ExchangeError::Unreachable(_)) => "unreachable",
        Err(ExchangeError::Malformed(_)) => "malformed",
        Err(ExchangeError::Local(_)) => "local",
        Err(ExchangeError::Limit(_)) => "limit",
        Err(ExchangeError::Doubtful(Doubt::CaseChanged)) => "case changed",
        Err(ExchangeError::Doubtful(Doubt::CookieMissing)) => "cookie missing",
        Err(ExchangeError::Doubtful(Doubt::Strays)) => "strays",
    }
}

/// One UDP exchange with a server that answers by `script`: its outcome, and how many packets were
/// counted as mismatched.
async fn check_udp(
    script: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    expected: &str,
    mismatched: u64,
) {
    let (upstream, metrics) = upstream();
    let server = udp_server(script).await;
    let timeout = if expected == "timed out" { SHORT } else { LONG };
    let result = upstream
        .exchange(ask(server, Transport::Udp, timeout))
        .await;
    assert_eq!(outcome(&result), expected, "{result:?}");
    let counted = (
        metrics.upstream_sent_total.value(),
        metrics.upstream_mismatched_total.value(),
        metrics.upstream_timeouts_total.value(),
        metrics.upstream_malformed_total.value(),
    );
    let timeouts = u64::from(expected == "timed out");
    let malformed = u64::from(expected == "malformed");
    assert_eq!(counted, (1, mismatched, timeouts, malformed));
    if let Ok(reply) = result {
        let name = reply.message.question.unwrap().name;
        assert!(name.eq_case(&NAME.parse().unwrap()));
    }
}

async fn check_tcp(script: impl Fn(&[u8]) -> Vec<u8> + Send + 'static, expected: &str) {
    let (upstream, metrics) = upstream();
    let server = tcp_server(script).await;
    let result = upstream.exchange(ask(server, Transport::Tcp, LONG)).await;
    assert_eq!(outcome(&result), expected, "{result:?}");
    assert_eq!(metrics.upstream_sent_total.value(), 1);
    let malformed = metrics.upstream_malformed_total.value();
    assert_eq!(malformed, u64::from(expected == "malformed"));
}

#[tokio::test]
async fn udp_brings_the_answer() {
    let (upstream, _) = upstream();
    let server = udp_server(|query| vec![wire(&answer(query))]).await;
    let reply = upstream.exchange(ask(server, Transport::Udp, LONG)).await;
    let message = reply.unwrap().message;
    assert!(message.authoritative);
    assert_eq!(message.rcode, Rcode::NOERROR);
    assert_eq!(&message.answer[0].rdata[..], [192, 0, 2, 1]);
    assert!(message.answer[0].name.eq_case(&NAME.parse().unwrap()));
}

#[tokio::test]
async fn udp_waits_past_what_is_not_the_answer() {
    check_udp(|query| vec![wire(&answer(query))], "answer", 0).await;
    let changed = |query: &[u8], change: fn(&mut Message)| {
        let mut forged = answer(query);
        change(&mut forged);
        vec![wire(&forged), wire(&answer(query))]
    };
    let wrong_id = move |query: &[u8]| changed(query, |m| m.id ^= 1);
    check_udp(wrong_id, "answer", 1).await;
    let wrong_name = move |query: &[u8]| {
        changed(query, |m| {
            m.question = Some(Question::new(
                "www.other.example.".parse().unwrap(),
                Rtype::A,
            ));
        })
    };
    check_udp(wrong_name, "answer", 1).await;
    let wrong_type = move |query: &[u8]| {
        changed(query, |m| {
            m.question.as_mut().unwrap().rtype = Rtype::AAAA;
        })
    };
    check_udp(wrong_type, "answer", 1).await;
    check_udp(move |q| changed(q, |m| m.response = false), "answer", 1).await;
    check_udp(move |q| changed(q, |m| m.question = None), "answer", 1).await;
    let garbage = |query: &[u8]| {
        vec![
            Vec::new(),
            vec![0xFF; 3],
            vec![0; 2000],
            wire(&answer(query)),
        ]
    };
    check_udp(garbage, "answer", 3).await;
}

#[tokio::test]
async fn udp_without_the_case_is_doubtful() {
    let lower = |query: &[u8]| {
        let mut reply = answer(query);
        let question = reply.question.as_mut().unwrap();
        question.name = question.name.to_lowercase();
        vec![wire(&reply)]
    };
    check_udp(lower, "case changed", 0).await;
    // It is one when the case was not mixed.
    let (upstream, _) = upstream();
    let server = udp_server(lower).await;
    let plain = Ask {
        mix_case: false,
        ..ask(server, Transport::Udp, LONG)
    };
    assert_eq!(outcome(&upstream.exchange(plain).await), "answer");
}

#[tokio::test]
async fn udp_gives_up_under_a_flood_of_forgeries() {
    // The honest answer comes too late: after as many forgeries as are put up with.
    let flood = |query: &[u8]| {
        let mut forged = answer(query);
        let mut packets = Vec::new();
        for _ in 0..16 {
            forged.id = forged.id.wrapping_add(1);
            packets.push(wire(&forged));
        }
        packets.push(wire(&answer(query)));
        packets
    };
    check_udp(flood, "strays", 5).await;
}

#[tokio::test]
async fn udp_other_outcomes() {
    let truncated = |query: &[u8]| {
        let mut reply = answer(query);
        reply.truncated = true;
        reply.answer.clear();
        vec![wire(&reply)]
    };
    check_udp(truncated, "truncated", 0).await;
    check_udp(|_| Vec::new(), "timed out", 0).await;
    let cut = |query: &[u8]| {
        let whole = wire(&answer(query));
        vec![whole[..whole.len() - 13].to_vec()]
    };
    check_udp(cut, "malformed", 0).await;
    let formerr = |query: &[u8]| vec![[&query[..2], &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]].concat()];
    check_udp(formerr, "answer", 0).await;
}

// RFC 2181 section 4.1: ignored; and counted, by the kernel.
#[tokio::test]
async fn a_packet_from_another_address_is_counted_and_not_seen() {
    let (upstream, metrics) = upstream();
    let before = unclaimed_datagrams().unwrap();
    let script = |query: &[u8]| vec![wire(&answer(query))];
    // The server itself is silent; another socket answers in its place.
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut buffer = [0; 4096];
        while let Ok((len, client)) = server.recv_from(&mut buffer).await {
            let _ = other.send_to(&script(&buffer[..len])[0], client).await;
        }
    });
    let result = upstream.exchange(ask(address, Transport::Udp, SHORT)).await;
    assert_eq!(outcome(&result), "timed out");
    assert_eq!(metrics.upstream_mismatched_total.value(), 0);
    assert!(unclaimed_datagrams().unwrap() > before);
}

// CVE-2020-25705: to everybody but the server the port of a question looks closed.
#[tokio::test]
async fn a_stranger_does_not_learn_which_port_waits() {
    let (upstream, _) = upstream();
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let asked = ask(server.local_addr().unwrap(), Transport::Udp, LONG);
    let probe = async {
        let (_, ours) = server.recv_from(&mut [0; 512]).await.unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        stranger.connect(ours).await.unwrap();
        stranger.send(b"anybody there?").await.unwrap();
        stranger.recv(&mut [0; 512]).await
    };
    let said = tokio::select! {
        result = upstream.exchange(asked) => panic!("{result:?}"),
        said = probe => said.map_err(|error| error.kind()),
    };
    assert_eq!(said, Err(std::io::ErrorKind::ConnectionRefused));
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let (upstream, metrics) = upstream();
    for transport in [Transport::Udp, Transport::Tcp] {
        // Bound and let go, so that nobody listens.
        let closed = match transport {
            Transport::Udp => UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr(),
            Transport::Tcp => TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr(),
        };
        let ask = ask(closed.unwrap(), transport, LONG);
        assert_eq!(outcome(&upstream.exchange(ask).await), "unreachable");
    }
    assert_eq!(metrics.upstream_timeouts_total.value(), 0);
}

#[tokio::test]
async fn tcp_outcomes() {
    check_tcp(|query| framed(&wire(&answer(query))), "answer").await;
    check_tcp(|_| Vec::new(), "unreachable").await;
    check_tcp(|_| vec![1], "unreachable").await;
    let cut = |query: &[u8]| {
        let mut frame = framed(&wire(&answer(query)));
        frame.truncate(frame.len() - 1);
        frame
    };
    check_tcp(cut, "unreachable").await;
    let length = |by: i16| {
        move |query: &[u8]| {
            let message = wire(&answer(query));
            let len = (message.len() as u16).wrapping_add_signed(by);
            [&len.to_be_bytes(), &message[..]].concat()
        }
    };
    check_tcp(length(1), "unreachable").await;
    check_tcp(length(-12), "malformed").await;
    check_tcp(|_| framed(&[]), "malformed").await;
    check_tcp(|_| framed(&[0; 300]), "unreachable").await;
    let wrong_name = |query: &[u8]| {
        let mut reply = answer(query);
        reply.question = Some(Question::new("www.other.".parse().unwrap(), Rtype::A));
        framed(&wire(&reply))
    };
    check_tcp(wrong_name, "malformed").await;
    let wrong_id = |query: &[u8]| {
        let mut reply = answer(query);
        reply.id ^= 1;
        framed(&wire(&reply))
    };
    // It may be late for another question; then the server hangs up.
    check_tcp(wrong_id, "unreachable").await;
    // The case of the name is not asked for over TCP.
    let lower = |query: &[u8]| {
        let mut reply = answer(query);
        let question = reply.question.as_mut().unwrap();
        question.name = question.name.to_lowercase();
        framed(&wire(&reply))
    };
    check_tcp(lower, "answer").await;
    // An answer that no datagram would carry.
    let large = |query: &[u8]| {
        let mut reply = answer(query);
        for n in 0..3000u16 {
            let mut record = reply.answer[0].clone();
            record.rdata = [[10, 0], n.to_be_bytes()].concat().as_slice().into();
            reply.answer.push(record);
        }
        framed(&wire(&reply))
    };
    check_tcp(large, "answer").await;
}

#[tokio::test]
async fn tcp_silence_times_out() {
    let (upstream, metrics) = upstream();
    // The kernel accepts, nobody reads.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let result = upstream.exchange(ask(address, Transport::Tcp, SHORT)).await;
    assert_eq!(result.unwrap_err(), ExchangeError::TimedOut);
    assert_eq!(metrics.upstream_timeouts_total.value(), 1);
}

#[tokio::test]
async fn the_switches_and_source_addresses_hold() {
    let server = udp_server(|query| vec![wire(&answer(query))]).await;
    let settings = |outgoing: &[&str], ipv4, ipv6| NetSettings {
        outgoing: outgoing.iter().map(|a| a.parse().unwrap()).collect(),
        ipv4,
        ipv6,
    };
    let check = async |settings, server, expected: &str| {
        let (upstream, _) = upstream_with(settings);
        let result = upstream.exchange(ask(server, Transport::Udp, LONG)).await;
        assert_eq!(outcome(&result), expected, "{result:?}");
    };
    let v6 = "[::1]:53".parse().unwrap();
    check(settings(&[], false, true), server, "local").await;
    check(settings(&[], true, false), v6, "local").await;
    check(settings(&[], true, false), server, "answer").await;
    // An address of the other family leaves this one to the kernel.
    check(settings(&["::1"], true, true), server, "answer").await;
    // TEST-NET-1 is not an address of this machine.
    check(settings(&["192.0.2.1"], true, true), server, "local").await;
}

#[tokio::test]
async fn questions_leave_from_the_outgoing_addresses() {
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let udp = socket.local_addr().unwrap();
    let tcp = listener.local_addr().unwrap();
    let record = seen.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
            record.lock().unwrap().insert(client.ip());
            let reply = wire(&answer(&buffer[..len]));
            socket.send_to(&reply, client).await.unwrap();
        }
    });
    let outgoing: Vec<IpAddr> = [2, 3].map(|n| Ipv4Addr::new(127, 0, 0, n).into()).to_vec();
    let (upstream, _) = upstream_with(NetSettings {
        outgoing: outgoing.clone(),
        ipv4: true,
        ipv6: true,
    });
    for _ in 0..40 {
        let result = upstream.exchange(ask(udp, Transport::Udp, LONG)).await;
        assert_eq!(outcome(&result), "answer");
    }
    assert_eq!(*seen.lock().unwrap(), outgoing.iter().copied().collect());
    let ask = ask(tcp, Transport::Tcp, SHORT);
    let (_, accepted) = tokio::join!(upstream.exchange(ask), listener.accept());
    assert!(outgoing.contains(&accepted.unwrap().1.ip()));
}

#[tokio::test]
async fn dropping_the_future_frees_the_socket() {
    let (upstream, _) = upstream();
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let all = upstream.sockets_free();
    let address = server.local_addr().unwrap();
    let mut buffer = [0; 4096];
    let client = tokio::select! {
        _ = upstream.exchange(ask(address, Transport::Udp, LONG)) => panic!("nobody answers"),
        received = server.recv_from(&mut buffer) => received.unwrap().1,
    };
    assert_eq!(upstream.sockets_free(), all);
    // Nobody is at its port any more.
    let server = server.into_std().unwrap();
    server.set_nonblocking(false).unwrap();
    server.connect(client).unwrap();
    server.send(&[0]).unwrap();
    let error = server.recv(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn too_many_at_once_is_our_own_trouble() {
    let (upstream, metrics) = upstream();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let taken = upstream.take_sockets(upstream.sockets_free());
    let crowded = upstream.exchange(ask(address, Transport::Udp, SHORT)).await;
    assert_eq!(outcome(&crowded), "limit");
    assert_eq!(metrics.upstream_timeouts_total.value(), 0);
    drop(taken);
    let result = upstream.exchange(ask(address, Transport::Udp, SHORT)).await;
    assert_eq!(outcome(&result), "timed out");
}

/// Servers that say nothing must not keep the sockets that others would be answered on.
#[tokio::test]
async fn who_waits_in_vain_gives_its_socket_to_others() {
    let (upstream, _) = upstream();
    let upstream = Arc::new(upstream);
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap();
    let server = udp_server(|query| vec![wire(&answer(query))]).await;
    let _taken = upstream.take_sockets(upstream.sockets_free() - 2);
    let mut in_vain = JoinSet::new();
    for _ in 0..2 {
        let (upstream, ask) = (upstream.clone(), ask(silent, Transport::Udp, LONG));
        in_vain.spawn(async move { upstream.exchange(ask).await });
    }
    while upstream.sockets_free() > 0 {
        tokio::task::yield_now().await;
    }
    let result = upstream.exchange(ask(server, Transport::Udp, LONG)).await;
    assert_eq!(outcome(&result), "answer");
    // One has made room, the other goes on.
    let ended = in_vain.join_next().await.unwrap().unwrap();
    assert_eq!(outcome(&ended), "limit");
    assert!(in_vain.try_join_next().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_get_each_their_own() {
    const MANY: usize = 400;
    // Several servers: one receive buffer would not hold so many questions.
    const SERVERS: usize = 8;
    let (upstream, metrics) = upstream();
    let upstream = Arc::new(upstream);
    // The answer's data tells which question it is for.
    let script = |query: &[u8]| {
        let mut reply = answer(query);
        let label = reply.answer[0].name.labels().next().unwrap().to_vec();
        reply.answer[0].rtype = Rtype::TXT;
        reply.answer[0].rdata = [&[label.len() as u8], &label[..]]
            .concat()
            .as_slice()
            .into();
        vec![wire(&reply)]
    };
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(udp_server(script).await);
    }
    let mut tasks = JoinSet::new();
    for n in 0..MANY {
        let upstream = upstream.clone();
        let server = servers[n % SERVERS];
        tasks.spawn(async move {
            let mut ask = ask(server, Transport::Udp, LONG);
            let name = format!("{n}.many.example.").parse().unwrap();
            ask.question = Question::new(name, Rtype::TXT);
            let reply = upstream.exchange(ask).await.unwrap();
            assert_eq!(
                &reply.message.answer[0].rdata[1..],
                n.to_string().as_bytes()
            );
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    assert_eq!(metrics.upstream_sent_total.value(), MANY as u64);
    assert_eq!(metrics.upstream_mismatched_total.value(), 0);
}

// Damage on the way: an exchange ends with an answer to its question or with an error, never a panic.
// The server's honest answer follows each damaged one, so whatever is ignored ends well.
#[tokio::test]
async fn damaged_replies_are_answers_or_errors() {
    let rng = Mutex::new(StdRng::seed_from_u64(11));
    let server = udp_server(move |query| {
        let mut rng = rng.lock().unwrap();
        let good = wire(&answer(query));
        let mut bad = good.clone();
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..bad.len());
            bad[at] = rng.random();
        }
        if rng.random_ratio(1, 3) {
            bad.truncate(rng.random_range(0..=bad.len()));
        }
        vec![bad, good]
    })
    .await;
    let (upstream, metrics) = upstream();
    let (mut answers, mut malformed) = (0, 0);
    for _ in 0..3000 {
        match upstream.exchange(ask(server, Transport::Udp, LONG)).await {
            Ok(reply) => {
                answers += 1;
                let question = reply.message.question.unwrap();
                assert_eq!(question, Question::new(NAME.parse().unwrap(), Rtype::A));
                assert!(question.name.eq_case(&NAME.parse().unwrap()));
                assert!(reply.message.response);
            }
            Err(ExchangeError::Malformed(
                WireError::Truncated
                | WireError::BadName
                | WireError::BadRdata
                | WireError::BadForm,
            )) => malformed += 1,
            Err(ExchangeError::Doubtful(Doubt::CaseChanged)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(answers > 500 && malformed > 100, "{answers} {malformed}");
    assert!(metrics.upstream_mismatched_total.value() > 500);
    assert_eq!(metrics.upstream_malformed_total.value(), malformed);
}
