//! The simulated internet: the real resolver, mirrors and reachability in virtual time.
#![allow(clippy::disallowed_methods)]

mod aggressive;
mod attack;
mod build;
mod cache;
mod drills;
mod failover;
mod forward;
mod harvest;
mod isolation;
mod iteration;
mod lab;
mod net;
mod oracle;
mod outage;
mod quirks;
mod rollover;
#[path = "../report/schema.rs"]
mod schema;
mod searches;
mod security;
mod shares;
mod signer;
mod stale;
mod trace;
mod transfer;
mod types;
mod world;

use std::time::Duration;

use holdfast::dns::{Edns, Message, Name, Question, Rcode, Rtype, rdata};
use holdfast::upstream::{Ask, ExchangeError, Transport, Upstream};

use net::{Fault, SimNet};
use signer::name;
use world::World;

async fn ask(
    net: &SimNet,
    server: &str,
    question: Question,
    transport: Transport,
) -> Result<Message, ExchangeError> {
    let ask = Ask {
        zone: holdfast::dns::Name::root(),
        server: format!("{server}:53").parse().unwrap(),
        transport,
        question,
        recursion_desired: false,
        checking_disabled: false,
        edns: Some(Edns::new(1232, true)),
        cookie: true,
        mix_case: true,
        timeout: Duration::from_secs(1),
    };
    net.exchange(ask).await.map(|r| r.message)
}

/// Follows plain referrals with glue from the first root; returns the last message.
async fn walk(world: &World, question: &Question) -> Message {
    let mut server = "198.51.0.1".to_string();
    for _ in 0..8 {
        let m = ask(&world.net, &server, question.clone(), Transport::Udp)
            .await
            .unwrap();
        let ns = m.authority.iter().find(|r| r.rtype == Rtype::NS);
        let (false, Some(ns)) = (m.authoritative, ns) else {
            return m;
        };
        let target = rdata::single_name(&ns.rdata).unwrap();
        let glue = m
            .additional
            .iter()
            .find(|r| r.rtype == Rtype::A && r.name == target);
        server = match glue {
            Some(r) => std::net::Ipv4Addr::from(*r.rdata.first_chunk::<4>().unwrap()).to_string(),
            None => "198.51.21.1".into(),
        };
    }
    panic!("no end for {question}");
}

// The world is sound: what the zones hold is found by walking from a root.
#[tokio::test(start_paused = true)]
async fn every_name_is_found_by_referrals() {
    let world = World::new(1, 60);
    let questions = world.questions();
    assert!(questions.len() > 20);
    for question in questions {
        let found = walk(&world, &question).await;
        let truth = world.truth(&question);
        assert_eq!(found.rcode, truth.rcode, "{question}");
        let has = |n: &Name, t: Rtype| found.answer.iter().any(|r| r.name == *n && r.rtype == t);
        assert!(has(&question.name, question.rtype), "{question}: {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn faults_are_as_they_are_called() {
    let world = World::new(1, 60);
    let net = &world.net;
    let www = || Question::new(name("www.shop.home."), Rtype::A);
    let at = "198.51.11.1";
    for (fault, expected) in [
        (Fault::None, "NOERROR aa 1+sig"),
        (Fault::Silent, "timed out"),
        (Fault::UdpSilent, "timed out"),
        (Fault::Unreachable, "unreachable: host"),
        (Fault::ServFail, "SERVFAIL 0"),
        (Fault::Refused, "REFUSED 0"),
        (Fault::Lame, "NOERROR 0"),
        (Fault::NoEdns, "FORMERR 0"),
        (Fault::Truncate, "NOERROR aa tc 0"),
        (Fault::Bogus, "NOERROR aa 1+sig"),
        (Fault::Stripped, "NOERROR aa 1"),
        (Fault::Hijack([10, 0, 0, 1].into()), "NOERROR aa 1"),
        (Fault::Slow(Duration::from_secs(3)), "timed out"),
        (Fault::Loss(100), "timed out"),
    ] {
        net.set("domestic", fault);
        let got = match ask(net, at, www(), Transport::Udp).await {
            Err(e) => e.to_string(),
            Ok(m) => {
                let a = m.answer.iter().filter(|r| r.rtype == Rtype::A).count();
                let sig = m.answer.iter().any(|r| r.rtype == Rtype::RRSIG);
                let flag = |set, text| if set { text } else { "" };
                let (aa, tc) = (flag(m.authoritative, " aa"), flag(m.truncated, " tc"));
                format!("{}{aa}{tc} {a}{}", m.rcode, flag(sig, "+sig"))
            }
        };
        assert_eq!(got, expected, "{fault:?}");
    }
    net.set("domestic", Fault::UdpSilent);
    assert!(ask(net, at, www(), Transport::Tcp).await.is_ok());
    let ent = Question::new(name("c.shop.home."), Rtype::A);
    net.set("domestic", Fault::DeniesEnts);
    assert_eq!(
        ask(net, at, ent, Transport::Udp).await.unwrap().rcode,
        Rcode::NXDOMAIN
    );
    assert_eq!(net.take_packets().len(), 16);
}
