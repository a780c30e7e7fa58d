//! Datagrams and messages: what clients ask and what servers answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hickory_proto::op::Message as Hickory;
use hickory_proto::rr::Record as HickoryRecord;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use holdfast::clock::{Clock, Now};
use holdfast::config::{self, Peer};
use holdfast::dns::edns::{EDE_TEXT_LEN_MAX, option};
use holdfast::dns::message::{HEADER_LEN, MESSAGE_LEN_MAX};
use holdfast::dns::{Class, Edns, Message, Name, Question, Rcode, Record, Rtype};
use holdfast::query::acl::AccessList;
use holdfast::query::cookie::{Cookies, Standing};
use holdfast::query::own::{OwnZone, OwnZones};
use holdfast::query::quick::plain::Plain;
use holdfast::query::request::{Client, Rejected, Request, Transport as ClientTransport};
use holdfast::query::transfer::Transfers;
use holdfast::query::{Pipeline, Settings, SharedSettings, Step, reply};
use holdfast::resolve::delegation::{ADDRESSES_PER_NAME_MAX, Delegation, NAMES_MAX};
use holdfast::resolve::interpret::{Context, REST_MAX, Said, interpret};
use holdfast::resolve::quirks::EdnsLevel;
use holdfast::upstream::wire::{Received, Sent};
use holdfast::upstream::{Ask, Carried, Transport};
use holdfast::zone::load;

/// A record is two octets of pointer, ten of fixed fields and its data; the pointer becomes at most 255.
const GROWTH_MAX: usize = 64;
/// Octets of a UDP answer that every client takes (RFC 1035 section 4.2.1).
const PLAIN_UDP_LEN: usize = 512;

/// Octets of a message without any compression.
fn plain_len(message: &Message) -> usize {
    let records = [&message.answer, &message.authority, &message.additional];
    let len = |r: &Record| r.name.wire().len() + 10 + r.rdata.len();
    least_len(message) + records.into_iter().flatten().map(len).sum::<usize>()
}

/// Octets of what a message never leaves out: header, question, OPT.
fn least_len(message: &Message) -> usize {
    let question = message.question.as_ref();
    let edns = message.edns.as_ref().map(|e| e.to_record(message.rcode));
    HEADER_LEN
        + question.map_or(0, |q| q.name.wire().len() + 4)
        + edns.map_or(0, |r| 11 + r.rdata.len())
}

/// What the short way takes for a plain query is one to the general reader, and to hickory-proto, with the same question, flags and options.
pub fn plain(data: &[u8]) -> bool {
    let Some(plain) = Plain::read(data) else {
        return false;
    };
    let client = Client::new(SocketAddr::from(([192, 0, 2, 1], 53)), ClientTransport::Udp);
    let request = Request::read(data, client).expect("what is plain is a question");
    assert_eq!(request.question.name.wire(), plain.name);
    assert_eq!(request.question.rtype, plain.rtype);
    assert_eq!(request.question.class, Class::IN);
    let message = &request.message;
    let flags = [
        (0x01, message.recursion_desired),
        (0x20, message.authentic_data),
        (0x10, message.checking_disabled),
        (0x08, request.dnssec_ok()),
        (0x02, message.edns.is_some()),
        (0x04, plain.cookie.is_some()),
    ];
    for (bit, expected) in flags {
        assert_eq!(plain.form.flags() & bit != 0, expected, "{bit:#x}");
    }
    let edns = message.edns.as_ref();
    assert_eq!(plain.form.udp_size, edns.map_or(0, |edns| edns.udp_size));
    let options = edns.map_or(&[][..], |edns| &edns.options);
    match plain.cookie {
        None => assert!(options.is_empty()),
        Some(cookie) => assert_eq!(options, [(option::COOKIE, cookie.to_vec())]),
    }
    for cookie in [None, Some([7; 24])] {
        let mut short = Vec::new();
        plain.truncated(data, cookie.as_ref(), 1232, &mut short);
        let request = Request {
            cookie: cookie.map(|octets| octets.to_vec()),
            ..request.clone()
        };
        assert_eq!(short, reply::truncated(&request, 1232));
    }
    let theirs = Hickory::from_vec(data).expect("hickory-proto reads it");
    let [query] = &theirs.queries[..] else {
        panic!("{} questions", theirs.queries.len());
    };
    let name = query.name().to_bytes().expect("a name has octets");
    assert!(name.eq_ignore_ascii_case(plain.name));
    assert_eq!(u16::from(query.query_type()), plain.rtype.0);
    true
}

/// What is read can be written and is then read as the same; it is cut only when it must be, and never longer than
/// asked for; memory stays within a multiple of the input.
pub fn message(data: &[u8]) -> bool {
    let Ok(message) = Message::parse(data) else {
        return false;
    };
    assert!(plain_len(&message) <= GROWTH_MAX * data.len() + 2 * 255);
    let least = least_len(&message);
    for size_max in [PLAIN_UDP_LEN, 1232, MESSAGE_LEN_MAX] {
        let wire = message.encode(size_max);
        assert!(
            wire.len() <= size_max.max(least),
            "{} over {size_max}",
            wire.len()
        );
        let again = Message::parse(&wire).expect("what was written is read");
        if plain_len(&message) <= size_max {
            assert_eq!(without_case(again.clone()), without_case(message.clone()));
        }
        assert_eq!((again.id, &again.question), (message.id, &message.question));
        assert_eq!(again.edns, message.edns);
    }
    for error in message.errors() {
        let (code, value) = error.to_option();
        assert_eq!(code, option::EDE);
        assert!(value.len() <= 2 + EDE_TEXT_LEN_MAX);
    }
    true
}

/// Names in the data that became pointers have the case of what they point to (RFC 4343 section 4.1).
fn without_case(mut message: Message) -> Message {
    let sections = [
        &mut message.answer,
        &mut message.authority,
        &mut message.additional,
    ];
    for record in sections.into_iter().flatten() {
        record.rdata = holdfast::dns::rdata::canonical(&record.rdata, record.rtype);
    }
    message
}

/// hickory-proto and we find the same header, names, types, classes, TTLs and data in what both accept.
pub fn hickory(data: &[u8]) -> bool {
    let (Ok(ours), Ok(theirs)) = (Message::parse(data), Hickory::from_vec(data)) else {
        return false;
    };
    let meta = &theirs.metadata;
    assert_eq!(ours.id, meta.id);
    assert_eq!(ours.authoritative, meta.authoritative);
    assert_eq!(ours.truncated, meta.truncation);
    assert_eq!(ours.recursion_desired, meta.recursion_desired);
    assert_eq!(ours.recursion_available, meta.recursion_available);
    assert_eq!(ours.authentic_data, meta.authentic_data);
    assert_eq!(ours.checking_disabled, meta.checking_disabled);
    if let (Some(question), Some(query)) = (&ours.question, theirs.queries.first()) {
        assert_eq!(question.name.wire(), wire_of(query.name()));
        assert_eq!(question.rtype.0, u16::from(query.query_type()));
        assert_eq!(question.class.0, u16::from(query.query_class()));
    }
    same_records(&ours.answer, &theirs.answers);
    same_records(&ours.authority, &theirs.authorities);
    // hickory keeps the TSIG record, which must be the last, elsewhere.
    let (tsig, rest) = match ours.additional.split_last() {
        Some((last, rest)) if theirs.signature.is_some() => (Some(last), rest),
        _ => (None, &ours.additional[..]),
    };
    assert_eq!(tsig.is_some(), theirs.signature.is_some());
    same_records(rest, &theirs.additionals);
    assert_eq!(ours.edns.is_some(), theirs.edns.is_some());
    if let (Some(ours), Some(theirs)) = (&ours.edns, &theirs.edns) {
        assert_eq!(ours.version, theirs.version());
        assert_eq!(ours.dnssec_ok, theirs.flags().dnssec_ok);
        // hickory reads a size below the least as the least (RFC 6891 section 6.2.3).
        assert_eq!(ours.udp_size.max(512), theirs.max_payload());
    }
    true
}

fn same_records(ours: &[Record], theirs: &[HickoryRecord]) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.name.wire(), wire_of(&theirs.name));
        assert_eq!(ours.rtype.0, u16::from(theirs.record_type()));
        assert_eq!(ours.class.0, u16::from(theirs.dns_class));
        // RFC 2181 section 8, which hickory leaves to its callers.
        let ttl = if theirs.ttl >> 31 == 1 { 0 } else { theirs.ttl };
        assert_eq!(ours.ttl, ttl);
        if COMPARED.contains(&ours.rtype) && ours.class == Class::IN {
            let wire = wire_of(&theirs.data);
            let data = holdfast::dns::rdata::parse(&wire, 0, wire.len(), ours.rtype);
            assert_eq!(data.as_ref(), Ok(&ours.rdata), "{}", ours.rtype);
        }
    }
}

/// Types whose data hickory writes as it read them.
const COMPARED: &[Rtype] = &[
    Rtype::A,
    Rtype::AAAA,
    Rtype::NS,
    Rtype::CNAME,
    Rtype::PTR,
    Rtype::SOA,
    Rtype::MX,
    Rtype::SRV,
    Rtype::DS,
];

fn wire_of(item: &impl BinEncodable) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut encoder = BinEncoder::new(&mut wire);
    item.emit(&mut encoder)
        .expect("what was read can be written");
    wire
}

/// A query is worked on, rejected with a short answer under its own ID, or dropped; responses are always dropped.
pub fn request(data: &[u8]) -> bool {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);
    let client = Client::new(address, ClientTransport::Udp);
    let answer = match Request::read(data, client) {
        Ok(request) => {
            let question = &request.question;
            assert_eq!(request.message.question.as_ref(), Some(question));
            // Of class CH is what the server says of itself, and nothing else.
            assert!(question.rtype != Rtype(0));
            let is_transfer = matches!(question.rtype, Rtype::AXFR | Rtype::IXFR);
            let is_chaos = question.class == Class::CH && !is_transfer;
            assert!(question.class == Class::IN || is_chaos);
            request.message.reply(Rcode::SERVFAIL)
        }
        Err(Rejected::With {
            query,
            rcode,
            error,
        }) => {
            let mut answer = query.reply(rcode);
            if query.edns.is_some() {
                let mut edns = Edns::new(1232, false);
                edns.options.extend(error.map(|e| e.to_option()));
                answer.edns = Some(edns);
            }
            answer
        }
        Err(Rejected::Silently) => return false,
    };
    assert!(data[2] & 0x80 == 0, "a response was answered");
    let wire = answer.encode(PLAIN_UDP_LEN);
    assert!(wire.len() <= PLAIN_UDP_LEN);
    assert_eq!(wire[..2], data[..2]);
    let again = Message::parse(&wire).expect("what was written is read");
    assert!(again.response && again.answer.is_empty());
    true
}

/// A question for a transfer of `example.` gets one message that is no longer than allowed and is read again, or a stream, and
/// that over TCP only. Input: an octet whose lowest bit says how it came, then the query.
pub fn transfer(data: &[u8]) -> bool {
    let Some((&how, wire)) = data.split_first() else {
        return false;
    };
    let transport = match how & 1 {
        0 => ClientTransport::Udp,
        _ => ClientTransport::Tcp,
    };
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);
    let client = Client::new(address, transport);
    let is_asked = Request::read(wire, client.clone())
        .is_ok_and(|r| matches!(r.question.rtype, Rtype::AXFR | Rtype::IXFR));
    if !is_asked {
        return false;
    }
    match transfers().begin(wire, client) {
        Step::Done(Some(answer)) => {
            let answer = Message::parse(&answer).expect("what was written is read");
            assert!(answer.response && answer.answer.len() <= 1);
            assert!(answer.answer.iter().all(|r| r.rtype == Rtype::SOA));
        }
        Step::Done(None) => panic!("no answer"),
        Step::Wait(_) => assert_eq!(transport, ClientTransport::Udp),
        Step::Stream(_) => assert_eq!(transport, ClientTransport::Tcp),
    }
    true
}

/// A pipeline with one zone, for everyone to transfer.
fn transfers() -> &'static Pipeline {
    static PIPELINE: OnceLock<Pipeline> = OnceLock::new();
    PIPELINE.get_or_init(|| {
        let apex: Name = "example.".parse().expect("a name");
        let text = "@ 60 SOA ns h 5 1 1 1 1\n@ 60 NS ns\nns 60 A 192.0.2.1\n";
        let loaded = load(text.as_bytes(), "z", Some(&apex), 1 << 20).expect("a zone");
        let access = config::Access {
            allow_transfer: vec![Peer::net("127.0.0.0/8".parse().expect("a prefix"))],
            ..config::Access::default()
        };
        let settings = Settings {
            access: AccessList::new(&access),
            zones: OwnZones::new([(apex, OwnZone::Loaded(Arc::new(loaded.image)))]),
            udp_size_max: 1232,
            ..Settings::default()
        };
        let shared = SharedSettings::default();
        shared.store(Arc::new(settings));
        let transfers = Transfers::new(None, Clock::system(), Arc::default());
        Pipeline::new(shared, None, Arc::default()).with_transfers(transfers)
    })
}

/// The answer to a COOKIE option is one that is good the next time, and nothing but what this server made is good.
/// Input: four octets of address, four of time, then the option.
pub fn cookie(data: &[u8]) -> bool {
    let Some((&[a, b, c, d, e, f, g, h], option)) = data.split_first_chunk() else {
        return false;
    };
    let client = IpAddr::from([a, b, c, d]);
    let wall_s = u64::from(u32::from_be_bytes([e, f, g, h]));
    let cookies = Cookies::new([7; 16]);
    let Ok((answer, standing)) = cookies.exchange(option, client, wall_s) else {
        return false;
    };
    assert_eq!(answer.len(), 24, "client cookie and our server cookie");
    assert_eq!(answer[..8], option[..8]);
    let again = cookies.exchange(&answer, client, wall_s);
    assert_eq!(again.map(|(_, s)| s), Ok(Standing::Good));
    if standing == Standing::Good {
        let elsewhere = cookies.exchange(option, IpAddr::from([!a, b, c, d]), wall_s);
        assert_eq!(elsewhere.map(|(_, s)| s), Ok(Standing::Bad));
    }
    true
}

/// Only what agrees with the question in ID, name, type and class is taken, with the case that was asked; what it is made
/// into stays within the zone, leads down, and is bounded. Input: an octet that chooses how was asked, one that chooses
/// the question, then the message; with the lowest bit of the first it gets the ID and question that were sent.
pub fn response(data: &[u8]) -> bool {
    let Some((&[how, what], message)) = data.split_first_chunk() else {
        return false;
    };
    let asked = question(what);
    let bit = |n: u8| how >> n & 1 == 1;
    let transport = if bit(1) {
        Transport::Tcp
    } else {
        Transport::Udp
    };
    let edns = bit(2).then(|| Edns::new(1232, true));
    let ask = Ask {
        zone: Name::root(),
        server: ([192, 0, 2, 1], 53).into(),
        transport,
        question: asked.clone(),
        recursion_desired: bit(3),
        checking_disabled: true,
        edns,
        cookie: bit(4),
        mix_case: bit(5),
        timeout: Duration::from_secs(1),
    };
    let mut rng = SmallRng::seed_from_u64(1);
    let cookie = bit(4).then_some(&[5u8; 16][..]);
    let sent = Sent::new(&ask, 4711, cookie, &mut rng);
    let mut bytes = message.to_vec();
    let question_end = HEADER_LEN + asked.name.wire().len() + 4;
    if bit(0) && bytes.len() >= question_end {
        bytes[..2].copy_from_slice(&sent.packet[..2]);
        bytes[HEADER_LEN..question_end].copy_from_slice(&sent.packet[HEADER_LEN..question_end]);
    }
    let received = bytes.clone();
    let Received::Answer(answer) = sent.read(bytes) else {
        return false;
    };
    assert_eq!(received[..2], 4711u16.to_be_bytes());
    assert!(answer.message.response && answer.message.opcode == 0);
    let got = answer.message.question.as_ref().expect("a question");
    assert_eq!(got, &asked);
    assert!(got.name.eq_case(&asked.name));
    if !(bit(2) && bit(4)) {
        assert_eq!(answer.cookie, Carried::Unasked);
    }
    let zone = asked.name.suffix(usize::from(what >> 6));
    let said = interpret(
        &Context {
            zone: &zone,
            asked: &asked,
            transport,
            forwarded: bit(3),
            edns: match (bit(2), bit(4)) {
                (false, _) => EdnsLevel::None,
                (true, false) => EdnsLevel::Bare,
                (true, true) => EdnsLevel::Full,
            },
            takes_edns: bit(6),
            server: ask.server.ip(),
            harden_glue: bit(7),
            now: Now::new(Duration::from_secs(1), 1_785_585_600),
        },
        &answer.message,
    );
    judge(&said, &asked, &zone, bit(3), bit(7));
    true
}

/// What a server of `zone` may have said.
fn judge(said: &Said, asked: &Question, zone: &Name, forwarded: bool, harden_glue: bool) {
    let bounded = |delegation: &Delegation| {
        assert!(delegation.servers.len() <= NAMES_MAX);
        for (name, addresses) in &delegation.servers {
            assert!(addresses.len() <= ADDRESSES_PER_NAME_MAX);
            assert!(
                addresses.is_empty() || !harden_glue || name.is_within(zone),
                "foreign glue"
            );
        }
    };
    let own = |response: &holdfast::resolve::Response| {
        let within = |name: &Name| forwarded || name.is_within(zone);
        let sets = response.answer.iter().chain(&response.authority);
        let sets = sets.chain(&response.rest);
        assert!(response.rest.len() <= REST_MAX);
        assert!(sets.map(|s| &s.name).all(within), "data of another zone");
        assert!(response.zone.is_within(zone));
    };
    match said {
        Said::Answer(response) => own(response),
        Said::Apex(response, delegation) => {
            own(response);
            bounded(delegation);
            assert_eq!(delegation.zone, *zone);
        }
        Said::Referral(referral) => {
            assert!(!forwarded, "a forwarder refers nowhere");
            bounded(&referral.delegation);
            assert!(referral.delegation.zone.is_below(zone));
            assert!(asked.name.is_within(&referral.delegation.zone));
            referral.ds.iter().for_each(own);
        }
        _ => {}
    }
}

/// One of the questions that the corpus is about.
fn question(choice: u8) -> Question {
    const TYPES: [Rtype; 8] = [
        Rtype::A,
        Rtype::NS,
        Rtype::DS,
        Rtype::MX,
        Rtype::ANY,
        Rtype::RRSIG,
        Rtype::CNAME,
        Rtype::NSEC3,
    ];
    let name = match choice >> 3 & 7 {
        0 => "example.",
        1 => "www.example.",
        2 => "a.b.c.example.",
        3 => ".",
        _ => "www.sub.example.",
    };
    let name = name.parse().expect("a name");
    Question::new(name, TYPES[usize::from(choice & 7)])
}
