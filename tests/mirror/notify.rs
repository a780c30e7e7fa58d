//! NOTIFY and signed queries through the pipeline: who is listened to, and what he hears (RFC 1996, RFC 8945).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use holdfast::config::{Access, Limits, Peer, Source};
use holdfast::dns::tsig::{self, Algorithm, Error, Fault, Key};
use holdfast::dns::{Class, Edns, Message, Question, Rcode, Rtype};
use holdfast::query::acl::AccessList;
use holdfast::query::chaos::Chaos;
use holdfast::query::rate_limit::RateLimits;
use holdfast::query::{Client, Pipeline, Settings, Step, Transport};

use crate::lab::{Lab, PRIMARY, SECOND, START_S, axfr, signed};
use crate::signer::{name, rr};

fn key(text: &str, secret: &[u8]) -> Arc<Key> {
    Arc::new(Key::new(&name(text), Algorithm::HmacSha256, secret))
}

/// A mirror of `test.` from [`PRIMARY`], 192.0.2.1; others may notify from 198.51.100.0/24 or with `hub-key.`.
fn pipeline(lab: &Lab) -> Pipeline {
    let access = Access {
        allow: vec!["0.0.0.0/0".parse().unwrap()],
        allow_notify: vec![
            Peer::net("198.51.100.0/24".parse().unwrap()),
            Peer::tsig(name("hub-key.")),
        ],
        ..Access::default()
    };
    let keys = [
        key("hub-key.", b"sixteen octets!!"),
        key("other.", b"sixteen octets!!"),
        key("zone-key.", b"sixteen octets!!"),
    ];
    let settings = Settings {
        access: AccessList::new(&access),
        udp_size_max: 1232,
        keys: keys.into_iter().collect(),
        ..Settings::default()
    };
    let settings = Arc::new(ArcSwap::from_pointee(settings));
    let mirrors = lab.mirrors.clone().unwrap();
    Pipeline::new(settings, None, lab.metrics.clone()).with_mirrors(mirrors, lab.clock.clone())
}

fn ask(pipeline: &Pipeline, wire: &[u8], from: &str) -> Option<Vec<u8>> {
    let from: IpAddr = from.parse().unwrap();
    for transport in [Transport::Tcp, Transport::Udp] {
        let client = Client::new((from, 5353).into(), transport);
        match pipeline.begin(wire, client) {
            Step::Done(reply) if transport == Transport::Udp => return reply,
            Step::Done(_) => {}
            Step::Wait(_) | Step::Stream(_) => panic!("nothing here waits"),
        }
    }
    unreachable!("the second one returns")
}

fn notify(zone: &str) -> Message {
    let mut message = Message::query(4711, Question::new(name(zone), Rtype::SOA));
    message.opcode = 4;
    message.authoritative = true;
    message.answer = vec![rr(&format!("{zone} 60 SOA ns.x. host.x. 11 2 3 4 5"))];
    message
}

#[tokio::test(start_paused = true)]
async fn notify_is_taken_from_those_who_may() {
    let lab = Lab::with_ten().await;
    let pipeline = pipeline(&lab);
    let check = |message: &Message, from: &str, expected: Rcode| {
        let taken = lab.metrics.notifies_taken_total.value();
        let reply = ask(&pipeline, &message.encode(512), from).expect("an answer");
        let reply = Message::parse(&reply).unwrap();
        assert_eq!(
            (reply.rcode, reply.id, reply.opcode),
            (expected, 4711, 4),
            "{from}"
        );
        assert!(reply.response && reply.answer.is_empty());
        assert_eq!(reply.question, message.question);
        assert_eq!(reply.edns.is_some(), message.edns.is_some());
        let taken = lab.metrics.notifies_taken_total.value() - taken;
        assert_eq!(
            taken,
            if expected == Rcode::NOERROR { 2 } else { 0 },
            "UDP and TCP"
        );
    };
    check(&notify("test."), "192.0.2.1", Rcode::NOERROR);
    check(&notify("TEST."), "::ffff:192.0.2.1", Rcode::NOERROR);
    check(&notify("test."), "198.51.100.7", Rcode::NOERROR);
    check(&notify("test."), "192.0.2.2", Rcode::REFUSED);
    check(&notify("www.test."), "192.0.2.1", Rcode::NOTAUTH);
    check(&notify("other."), "192.0.2.1", Rcode::NOTAUTH);
    let mut without_soa = notify("test.");
    without_soa.answer.clear();
    check(&without_soa, "192.0.2.1", Rcode::NOERROR);
    let mut with_edns = notify("test.");
    with_edns.edns = Some(Edns::new(4096, false));
    check(&with_edns, "192.0.2.1", Rcode::NOERROR);
    let mut other_type = notify("test.");
    other_type.question.as_mut().unwrap().rtype = Rtype::A;
    check(&other_type, "192.0.2.1", Rcode::NOTIMP);
    let mut no_question = notify("test.");
    no_question.question = None;
    check(&no_question, "192.0.2.1", Rcode::FORMERR);
    // Answers to a NOTIFY are not answered, scraps neither.
    let mut response = notify("test.");
    response.response = true;
    assert_eq!(ask(&pipeline, &response.encode(512), "192.0.2.1"), None);
    assert_eq!(
        ask(&pipeline, &notify("test.").encode(512)[..11], "192.0.2.1"),
        None
    );
    let cut = ask(&pipeline, &notify("test.").encode(512)[..20], "192.0.2.1");
    assert_eq!(Message::parse(&cut.unwrap()).unwrap().rcode, Rcode::FORMERR);
    // And it leads to a refresh.
    lab.net.set(PRIMARY, |p| p.records = signed(11));
    check(&notify("test."), "192.0.2.1", Rcode::NOERROR);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(lab.serial(), Some(11));
}

#[tokio::test(start_paused = true)]
async fn signed_notify_is_judged_by_its_signature() {
    let lab = Lab::with_ten().await;
    let pipeline = pipeline(&lab);
    let check = |key: &Arc<Key>, at_s: u64, expected: (Rcode, Result<(), Fault>)| {
        let mut wire = notify("test.").encode(512);
        let mut verifier = tsig::sign_request(key, &mut wire, at_s);
        let reply = ask(&pipeline, &wire, "203.0.113.9").expect("an answer");
        let rcode = Message::parse(&reply).unwrap().rcode;
        assert_eq!((rcode, verifier.take(&reply, at_s)), expected, "{key:?}");
    };
    let refused = |error| Err(Fault::Refused(error));
    let hub = key("hub-key.", b"sixteen octets!!");
    check(&hub, START_S, (Rcode::NOERROR, Ok(())));
    check(
        &key("other.", b"sixteen octets!!"),
        START_S,
        (Rcode::REFUSED, Ok(())),
    );
    check(
        &key("none.", b"x"),
        START_S,
        (Rcode::NOTAUTH, refused(Error::BADKEY)),
    );
    check(
        &key("hub-key.", b"x"),
        START_S,
        (Rcode::NOTAUTH, refused(Error::BADSIG)),
    );
    check(
        &hub,
        START_S - 1000,
        (Rcode::NOTAUTH, refused(Error::BADTIME)),
    );
    assert_eq!(
        lab.metrics.tsig_good_total.value(),
        4,
        "over UDP and over TCP"
    );
    assert_eq!(lab.metrics.tsig_bad_total.value(), 6);
    assert_eq!(lab.metrics.notifies_taken_total.value(), 2);
}

/// A source that signs its transfers signs its NOTIFY too: its address alone proves nothing.
#[tokio::test(start_paused = true)]
async fn the_key_of_a_source_is_demanded_of_its_notify() {
    let mut lab = Lab::new();
    let hub = key("zone-key.", b"sixteen octets!!");
    let other = key("other.", b"sixteen octets!!");
    lab.config.sources = vec![
        Source::Axfr {
            addr: PRIMARY.parse().unwrap(),
            tsig: Some(name("zone-key.")),
            tls: None,
        },
        axfr(SECOND),
    ];
    lab.keys = vec![hub.clone()];
    lab.net.set(PRIMARY, |p| {
        p.records = signed(10);
        p.key = Some(hub.clone());
    });
    lab.net.set(SECOND, |p| p.records = signed(10));
    lab.start().await;
    let pipeline = pipeline(&lab);
    let check = |key: Option<&Arc<Key>>, from: &str, expected: Rcode| {
        let mut wire = notify("test.").encode(512);
        if let Some(key) = key {
            tsig::sign_request(key, &mut wire, START_S);
        }
        let reply = ask(&pipeline, &wire, from).expect("an answer");
        let rcode = Message::parse(&reply).unwrap().rcode;
        assert_eq!(rcode, expected, "{key:?} {from}");
    };
    check(None, "192.0.2.1", Rcode::REFUSED);
    check(Some(&other), "192.0.2.1", Rcode::REFUSED);
    check(Some(&hub), "192.0.2.1", Rcode::NOERROR);
    // From wherever: the key is what proves it.
    check(Some(&hub), "203.0.113.9", Rcode::NOERROR);
    // The source without a key is known by its address, and who is in allow_notify as that says.
    check(None, "192.0.2.2", Rcode::NOERROR);
    check(None, "198.51.100.7", Rcode::NOERROR);
    assert_eq!(
        lab.metrics.notifies_refused_total.value(),
        4,
        "over UDP and over TCP"
    );
}

/// RFC 8945 section 5.3: the answer to a signed query is signed; one whose signature is wrong is not worked on.
#[tokio::test(start_paused = true)]
async fn signed_queries_get_signed_answers() {
    let lab = Lab::with_ten().await;
    let pipeline = pipeline(&lab);
    let query = Message::query(7, Question::new(name("www.test."), Rtype::A)).encode(512);
    let hub = key("hub-key.", b"sixteen octets!!");
    let mut wire = query.clone();
    let mut verifier = tsig::sign_request(&hub, &mut wire, START_S);
    let reply = ask(&pipeline, &wire, "203.0.113.9").unwrap();
    assert_eq!(
        Message::parse(&reply).unwrap().rcode,
        Rcode::REFUSED,
        "there is no resolver"
    );
    assert_eq!(verifier.take(&reply, START_S), Ok(()));
    assert!(reply.len() <= 512);
    let mut wire = query.clone();
    let mut verifier = tsig::sign_request(&key("hub-key.", b"x"), &mut wire, START_S);
    let reply = ask(&pipeline, &wire, "203.0.113.9").unwrap();
    assert_eq!(Message::parse(&reply).unwrap().rcode, Rcode::NOTAUTH);
    assert_eq!(
        verifier.take(&reply, START_S),
        Err(Fault::Refused(Error::BADSIG))
    );
    // A TSIG record that is not the last one.
    let mut wire = query;
    tsig::sign_request(&hub, &mut wire, START_S);
    wire.extend([0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    wire[11] += 1;
    let reply = ask(&pipeline, &wire, "203.0.113.9").unwrap();
    assert_eq!(Message::parse(&reply).unwrap().rcode, Rcode::FORMERR);
}

/// So many NOTIFY from one address: what the answers say, and how many there are.
fn flood(
    pipeline: &Pipeline,
    wire: &[u8],
    from: &str,
    transport: Transport,
) -> Vec<(Rcode, usize)> {
    let client = Client::new((from.parse::<IpAddr>().unwrap(), 5353).into(), transport);
    let mut tally = Vec::new();
    for _ in 0..60 {
        let Step::Done(reply) = pipeline.begin(wire, client.clone()) else {
            panic!("nothing here waits")
        };
        let Some(reply) = reply else { continue };
        let reply = Message::parse(&reply).unwrap();
        assert!(!reply.truncated);
        match tally.iter_mut().find(|(rcode, _)| *rcode == reply.rcode) {
            Some((_, count)) => *count += 1,
            None => tally.push((reply.rcode, 1)),
        }
    }
    tally
}

fn limited(lab: &Lab, limits: Limits) -> Pipeline {
    let limits = Arc::new(RateLimits::new(&limits, [5; 16]));
    pipeline(lab).with_limits(limits, lab.clock.clone())
}

/// A flood of NOTIFY is a flood of queries; those who are asked for the zone are heard through it.
#[tokio::test(start_paused = true)]
async fn a_flood_of_notify_has_the_limits_of_queries() {
    let lab = Lab::with_ten().await;
    let limits = Limits {
        queries_per_prefix_s: 20,
        ..Limits::default()
    };
    let pipeline = limited(&lab, limits);
    let wire = notify("test.").encode(512);
    let refused = |count| vec![(Rcode::REFUSED, count)];
    let (udp, tcp) = (Transport::Udp, Transport::Tcp);
    assert_eq!(flood(&pipeline, &wire, "203.0.113.9", udp), refused(20));
    // Over a stream the rest is refused as well, and not looked at.
    assert_eq!(flood(&pipeline, &wire, "203.0.113.9", tcp), refused(60));
    let broken = flood(&pipeline, &wire[..20], "203.0.114.9", udp);
    assert_eq!(broken, [(Rcode::FORMERR, 20)]);
    let no_mirror = notify("other.").encode(512);
    let no_mirror = flood(&pipeline, &no_mirror, "192.0.2.1", udp);
    assert_eq!(no_mirror, [(Rcode::NOTAUTH, 20)]);
    for from in ["192.0.2.1", "198.51.100.7"] {
        let taken = flood(&pipeline, &wire, from, udp);
        assert_eq!(taken, [(Rcode::NOERROR, 60)]);
    }
    let metrics = &lab.metrics;
    assert_eq!(metrics.notifies_refused_total.value(), 80);
    assert_eq!(metrics.notifies_taken_total.value(), 120);
    let not_sent = metrics.limited_queries_dropped_total.value()
        + metrics.limited_queries_truncated_total.value();
    assert_eq!(not_sent, 120);
    assert_eq!(metrics.limited_queries_refused_total.value(), 40);
}

/// An address may be forged, also that of a source: what it is sent has a limit, unless a signature shows who asks.
#[tokio::test(start_paused = true)]
async fn answers_to_notify_have_the_limits_of_responses() {
    let lab = Lab::with_ten().await;
    let limits = Limits {
        responses_per_s: 10,
        ..Limits::default()
    };
    let pipeline = limited(&lab, limits);
    let wire = notify("test.").encode(512);
    let (udp, tcp) = (Transport::Udp, Transport::Tcp);
    let refused = flood(&pipeline, &wire, "203.0.113.9", udp);
    assert_eq!(refused, [(Rcode::REFUSED, 10)]);
    let taken = flood(&pipeline, &wire, "192.0.2.1", udp);
    assert_eq!(taken, [(Rcode::NOERROR, 10)]);
    assert_eq!(lab.metrics.notifies_taken_total.value(), 60);
    let whole = flood(&pipeline, &wire, "192.0.2.1", tcp);
    assert_eq!(whole, [(Rcode::NOERROR, 60)]);
    let mut signed = wire;
    let hub = key("hub-key.", b"sixteen octets!!");
    tsig::sign_request(&hub, &mut signed, START_S);
    let proven = flood(&pipeline, &signed, "203.0.113.9", udp);
    assert_eq!(proven, [(Rcode::NOERROR, 60)]);
}

/// RFC 8945 section 5.3 knows no classes: what the server says of itself is signed for who signs.
#[tokio::test(start_paused = true)]
async fn answers_of_class_ch_are_signed_too() {
    let lab = Lab::with_ten().await;
    let limits = Limits {
        responses_per_s: 10,
        ..Limits::default()
    };
    let pipeline = limited(&lab, limits).with_chaos(Chaos {
        identity: Some("ns1".into()),
        ..Chaos::default()
    });
    let hub = key("hub-key.", b"sixteen octets!!");
    for (owner, rcode) in [
        ("id.server.", Rcode::NOERROR),
        ("no.server.", Rcode::REFUSED),
    ] {
        let mut query = Message::query(7, Question::new(name(owner), Rtype::TXT));
        query.question.as_mut().unwrap().class = Class::CH;
        let mut wire = query.encode(512);
        let mut verifier = tsig::sign_request(&hub, &mut wire, START_S);
        let reply = ask(&pipeline, &wire, "203.0.113.9").unwrap();
        assert_eq!(verifier.take(&reply, START_S), Ok(()), "{owner}");
        let reply = Message::parse(&reply).unwrap();
        let expected = usize::from(rcode == Rcode::NOERROR);
        assert_eq!((reply.rcode, reply.answer.len()), (rcode, expected));
        // Who has signed has not forged his address.
        assert_eq!(
            flood(&pipeline, &wire, "203.0.113.9", Transport::Udp),
            [(rcode, 60)]
        );
    }
}
