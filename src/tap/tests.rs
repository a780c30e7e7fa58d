//! Taps with a collector made here.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::frames::Control;
use super::*;
use crate::dns::message::MESSAGE_LEN_MAX;
use crate::dns::{Edns, Name, Question, Rcode, Rtype};
use crate::query::watch::Watch as _;
use crate::upstream::Watch as _;

const CLIENT: &str = "192.0.2.7:40123";

fn tap(text: &str) -> (Tap, Arc<Metrics>) {
    let config = Config::parse(Path::new("config.toml"), text).unwrap();
    let metrics = Arc::new(Metrics::default());
    let clock = Clock::starting_at(Duration::from_secs(1_785_585_600));
    let tap = Tap::start(&config, "ns1", clock, metrics.clone());
    (tap.unwrap().expect("something is wanted"), metrics)
}

fn query() -> (Vec<u8>, Vec<u8>) {
    let query =
        crate::dns::Message::query(7, Question::new("www.example.".parse().unwrap(), Rtype::A));
    let answer = query.reply(Rcode::NXDOMAIN);
    (
        query.encode(MESSAGE_LEN_MAX),
        answer.encode(MESSAGE_LEN_MAX),
    )
}

/// Takes the next connection, and agrees to what it offers.
fn accept(listener: &UnixListener) -> UnixStream {
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(Control::read(&mut stream).unwrap(), Control::Ready);
    stream.write_all(&Control::Accept.frame()).unwrap();
    assert_eq!(Control::read(&mut stream).unwrap(), Control::Start);
    stream
}

/// The next data frame; `None` for a control frame, of which only its announcement is read.
fn frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).unwrap();
    let mut frame = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut frame).unwrap();
    (!frame.is_empty()).then_some(frame)
}

fn contains(frame: &[u8], part: &[u8]) -> bool {
    frame.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_collector_gets_queries_and_answers_and_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("dnstap.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (tap, metrics) = tap(&format!(
        "[dnstap]\nsocket = '{}'\nresolver = true\n",
        socket.display()
    ));
    let mut collector = accept(&listener);
    let (query, answer) = query();
    let client = Client::new(CLIENT.parse().unwrap(), Transport::Quic);
    let seen = tap.query(&query, &client);
    tap.answer(seen, Some(&answer));
    let ask = Ask {
        zone: Name::root(),
        server: "198.51.100.1:53".parse().unwrap(),
        transport: upstream::Transport::Udp,
        question: Question::new("www.example.".parse().unwrap(), Rtype::A),
        recursion_desired: false,
        checking_disabled: true,
        edns: Some(Edns::new(1232, true)),
        cookie: false,
        mix_case: false,
        timeout: Duration::from_secs(1),
    };
    assert!(tap.wants_upstream());
    let asked = upstream::Watch::asked(&tap, &ask, "192.0.2.53:1024".parse().unwrap(), &query);
    tap.answered(&asked, &answer);
    // (what a frame has, what it has not), by the type in the message: CLIENT_QUERY, CLIENT_RESPONSE, RESOLVER_QUERY, RESOLVER_RESPONSE.
    let expected = [
        (5, &query, &answer),
        (6, &answer, &query),
        (3, &query, &answer),
        (4, &answer, &query),
    ];
    for (kind, has, has_not) in expected {
        let frame = frame(&mut collector).expect("a data frame");
        assert!(contains(&frame, b"\x0a\x03ns1") && contains(&frame, has));
        assert!(!contains(&frame, has_not), "type {kind}");
        // After the length of the message comes its type, then the family.
        assert!(contains(&frame, &[8, kind, 16, 1]), "type {kind}");
    }
    let ending = std::thread::spawn(move || {
        assert_eq!(frame(&mut collector), None, "a control frame");
        let mut stop = [0; 8];
        collector.read_exact(&mut stop).unwrap();
        assert_eq!(stop, [0, 0, 0, 4, 0, 0, 0, 3]);
        collector.write_all(&Control::Finish.frame()).unwrap();
    });
    tap.stop();
    ending.join().unwrap();
    assert_eq!(metrics.dnstap_frames_total.value(), 4);
    assert_eq!(metrics.dnstap_dropped_total.value(), 0);
}

#[test]
fn a_collector_that_is_not_there_costs_nobody_time_and_is_found_later() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("dnstap.sock");
    let (tap, metrics) = tap(&format!("[dnstap]\nsocket = '{}'\n", socket.display()));
    let (query, answer) = query();
    let client = Client::new(CLIENT.parse().unwrap(), Transport::Udp);
    // More than the queue holds.
    for _ in 0..20_000 {
        let seen = tap.query(&query, &client);
        tap.answer(seen, Some(&answer));
    }
    let dropped = metrics.dnstap_dropped_total.value();
    assert!(dropped >= 20_000, "{dropped}");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut collector = accept(&listener);
    assert!(contains(&frame(&mut collector).unwrap(), &query));
    // One that goes away is looked for again.
    drop(collector);
    let going = std::thread::spawn(move || accept(&listener));
    while !going.is_finished() {
        let seen = tap.query(&query, &client);
        tap.answer(seen, Some(&answer));
        std::thread::yield_now();
    }
    let mut collector = going.join().unwrap();
    assert!(frame(&mut collector).is_some());
}

#[test]
fn one_that_takes_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("dnstap.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (tap, metrics) = tap(&format!("[dnstap]\nsocket = '{}'\n", socket.display()));
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(Control::read(&mut stream).unwrap(), Control::Ready);
    let other = b"\0\0\0\0\0\0\0\x0d\0\0\0\x01\0\0\0\x01\0\0\0\x01x";
    stream.write_all(other).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    assert_eq!(metrics.dnstap_connected.value(), 0);
    tap.stop();
}

#[test]
fn the_query_log_has_a_line_for_each_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (tap, metrics) = tap(&format!(
        "[server]\ndata_dir = '{}'\n[log]\nqueries = 'queries.log'\n",
        dir.path().display()
    ));
    assert!(!tap.wants_upstream());
    let (query, answer) = query();
    let client = Client::new(CLIENT.parse().unwrap(), Transport::Tcp);
    let seen = tap.query(&query, &client);
    tap.answer(seen, Some(&answer));
    let seen = tap.query(&query, &client);
    tap.answer(seen, None);
    tap.stop();
    let log = std::fs::read_to_string(dir.path().join("queries.log")).unwrap();
    let ends: Vec<_> = (log.lines().map(|line| line.split_once('#').unwrap().1)).collect();
    let words: Vec<Vec<_>> = ends.iter().map(|end| end.split(' ').collect()).collect();
    assert_eq!(
        words[0][..6],
        ["40123", "tcp", "www.example.", "IN", "A", "-"]
    );
    assert_eq!((words[0][6], words[1][6]), ("NXDOMAIN", "-"));
    assert_eq!(words.len(), 2);
    assert_eq!(metrics.query_log_lines_total.value(), 2);
}
