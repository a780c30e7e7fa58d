//! What a client's bytes get back: cookies, ANY, sizes, names and types as they were sent.

use super::*;
use crate::clock::Clock;
use crate::dns::Class;
use crate::dns::edns::option;
use std::time::Duration;

/// A pipeline that gives cookies, at a time of its own.
pub(super) fn with_cookies(setup: Setup) -> (Setup, Clock) {
    let clock = Clock::starting_at(Duration::from_secs(1_559_731_985));
    let pipeline = setup
        .pipeline
        .with_cookies(Cookies::new([7; 16]), clock.clone());
    (Setup { pipeline, ..setup }, clock)
}

pub(super) fn cookie(bytes: &[u8]) -> impl FnOnce(&mut Message) {
    let mut edns = Edns::new(1232, false);
    edns.options = vec![
        (option::COOKIE, bytes.to_vec()),
        (option::COOKIE, vec![1; 3]),
    ];
    |m| m.edns = Some(edns)
}

/// The COOKIE option of an answer.
pub(super) fn given(m: &Message) -> Option<Vec<u8>> {
    let edns = m.edns.as_ref()?;
    edns.option(option::COOKIE).map(<[u8]>::to_vec)
}

// RFC 7873 section 5.2. Of several options the first one counts (section 4).
#[tokio::test]
async fn who_sends_a_cookie_gets_one() {
    let (setup, clock) = with_cookies(setup(resolution("x.", Security::Secure)));
    let ask_with = |bytes: &[u8]| ask("www.lab.test.", Rtype::A).with(cookie(bytes));
    let first = given(&ask_with(&[9; 8]).of(&setup).await).unwrap();
    assert_eq!((first.len(), &first[..8]), (24, &[9; 8][..]));
    let again = given(&ask_with(&first).of(&setup).await).unwrap();
    assert_eq!(again, first);
    clock.set_wall(Duration::from_secs(1_559_731_985 + 1900));
    let renewed = given(&ask_with(&first).of(&setup).await).unwrap();
    assert_ne!(renewed, first);
    // Through the resolver, beside an error, with another's cookie.
    let resolved = ask("x.", Rtype::A).recursive().with(cookie(&[9; 8]));
    assert!(given(&resolved.of(&setup).await).is_some());
    let refused = ask("x.", Rtype::AXFR).with(cookie(&first)).of(&setup).await;
    assert_eq!(refused.rcode, Rcode::REFUSED);
    assert!(given(&refused).is_some() && !refused.errors().is_empty());
    let from_elsewhere = ask_with(&first).from("192.0.2.99:1").of(&setup).await;
    assert_ne!(given(&from_elsewhere), Some(first));
    let counts = [
        &setup.metrics.cookies_new_total,
        &setup.metrics.cookies_good_total,
        &setup.metrics.cookies_bad_total,
    ];
    assert_eq!(counts.map(|c| c.value()), [2, 3, 1]);
    // Who sends none gets none.
    let plain = ask("www.lab.test.", Rtype::A).dnssec().of(&setup).await;
    assert_eq!(given(&plain), None);
}

// RFC 7873 sections 5.2.2 and 5.4.
#[tokio::test]
async fn cookies_are_read_before_anything_is_answered() {
    let (setup, _) = with_cookies(setup(resolution("x.", Security::Secure)));
    let malformed = ask("www.lab.test.", Rtype::A).with(cookie(&[9; 10]));
    let reply = malformed.of(&setup).await;
    assert_eq!((reply.rcode, given(&reply)), (Rcode::FORMERR, None));
    let nothing = |m: &mut Message| m.question = None;
    let only = ask("x.", Rtype::A).with(nothing).with(cookie(&[9; 8]));
    let reply = only.of(&setup).await;
    assert_eq!(reply.rcode, Rcode::NOERROR);
    assert_eq!(given(&reply).unwrap().len(), 24);
    let neither = ask("x.", Rtype::A).with(nothing).of(&setup).await;
    assert_eq!(neither.rcode, Rcode::FORMERR);
}

// `server.cookies = false`
#[tokio::test]
async fn without_cookies_their_option_is_ignored() {
    let setup = setup(resolution("x.", Security::Secure));
    for bytes in [&[9; 8][..], &[9; 10]] {
        let query = ask("www.lab.test.", Rtype::A).with(cookie(bytes));
        let reply = query.of(&setup).await;
        assert_eq!((reply.rcode, given(&reply)), (Rcode::NOERROR, None));
    }
}

// RFC 8482 section 4.1, through the resolver as from own zones.
#[tokio::test]
async fn any_over_udp_is_one_set() {
    let mut several = resolution("x.", Security::Secure);
    let txt = RrSet::single(name("x."), Rtype::TXT, 60, [1, b't'].into());
    several.answer.push(txt);
    let setup = setup(several);
    let any = || ask("x.", Rtype::ANY).recursive();
    let reply = any().of(&setup).await;
    assert_eq!(shape(&reply), "NOERROR | x. A |  | ");
    let reply = any().dnssec().of(&setup).await;
    assert_eq!(shape(&reply), "NOERROR | x. A, x. RRSIG | x. NSEC | ");
    let reply = any().tcp().of(&setup).await;
    assert_eq!(shape(&reply), "NOERROR | x. A, x. RRSIG, x. TXT |  | ");
}

// RFC 3597 section 2: a type that nobody knows is passed on as it is.
#[tokio::test]
async fn unknown_types_pass_both_ways() {
    let mut unknown = resolution("x.", Security::Insecure);
    let rdata: crate::dns::Rdata = [0xC0, 0, 1, 2].into();
    unknown.answer = vec![RrSet::single(name("x."), Rtype(65_280), 60, rdata.clone())];
    let setup = setup(unknown);
    let reply = ask("x.", Rtype(65_280)).recursive().of(&setup).await;
    assert_eq!(
        (reply.answer[0].rtype, &reply.answer[0].rdata),
        (Rtype(65_280), &rdata)
    );
    let asked = setup.told.asked.lock().unwrap();
    assert_eq!(asked[0].0.rtype, Rtype(65_280));
}

// RFC 4343 section 4.1: the answer bears the name as it was asked, every letter of it.
#[tokio::test]
async fn names_keep_the_case_of_the_question() {
    let setup = setup(resolution("www.example.", Security::Insecure));
    for owner in ["wWw.ExAmPlE.", "WWW.lab.TEST.", "LOCALhost."] {
        let reply = ask(owner, Rtype::A).recursive().of(&setup).await;
        let question = reply.question.as_ref().unwrap();
        assert!(question.name.eq_case(&name(owner)));
        assert!(reply.answer[0].name.eq_case(&name(owner)), "{owner}");
    }
}

/// So many sets of so many TXT records of 200 octets.
fn sets(count: usize, records: usize) -> Vec<RrSet> {
    let owner = |i: usize| name(&format!("n{i}.x."));
    let rdata = |j: usize| {
        let mut rdata = vec![b'x'; 200];
        rdata[0] = 199;
        rdata[1..9].copy_from_slice(&j.to_be_bytes());
        crate::dns::Rdata::from(rdata)
    };
    let set = |i| RrSet {
        rdatas: (0..records).map(rdata).collect(),
        ..RrSet::single(owner(i), Rtype::TXT, 60, rdata(0))
    };
    (0..count).map(set).collect()
}

// RFC 2181 section 9: what does not fit is left out by whole sets, and TC says so.
#[tokio::test]
async fn truncation_leaves_whole_sets() {
    let mut large = resolution("x.", Security::Insecure);
    large.answer = sets(4, 2);
    let setup = setup(large);
    for (size, expected) in [(512, 1), (1232, 2), (4096, 2)] {
        let query = ask("x.", Rtype::TXT).recursive();
        let reply = query
            .with(|m| m.edns = Some(Edns::new(size, false)))
            .of(&setup)
            .await;
        assert!(reply.truncated);
        assert_eq!(reply.answer.len(), 2 * expected, "{size}");
    }
    let whole = ask("x.", Rtype::TXT).recursive().tcp().of(&setup).await;
    assert_eq!((whole.truncated, whole.answer.len()), (false, 8));
}

// RFC 1035 section 4.2.2: over TCP a message holds up to 65,535 octets.
#[tokio::test]
async fn tcp_carries_what_a_message_can_hold() {
    for (records, fits) in [(300, true), (308, true), (315, false)] {
        let mut huge = resolution("x.", Security::Insecure);
        huge.answer = sets(1, records);
        let setup = setup(huge);
        let query = ask("x.", Rtype::TXT).recursive().tcp();
        let wire = query.query.encode(MESSAGE_LEN_MAX);
        let reply = setup.pipeline.answer(&wire, query.client).await.unwrap();
        assert!(reply.len() <= MESSAGE_LEN_MAX);
        let reply = Message::parse(&reply).unwrap();
        let expected = if fits { records } else { 0 };
        assert_eq!((reply.truncated, reply.answer.len()), (!fits, expected));
    }
}

#[tokio::test]
async fn other_classes_and_operations_are_not_worked_on() {
    let setup = setup(resolution("x.", Security::Secure));
    for (change, expected) in [
        (
            (|m: &mut Message| m.question.as_mut().unwrap().class = Class::CH) as fn(&mut Message),
            Rcode::REFUSED,
        ),
        (
            |m| m.question.as_mut().unwrap().class = Class::ANY,
            Rcode::REFUSED,
        ),
        // NOTIFY and UPDATE.
        (|m| m.opcode = 4, Rcode::NOTIMP),
        (|m| m.opcode = 5, Rcode::NOTIMP),
    ] {
        let reply = ask("x.", Rtype::A).recursive().with(change).of(&setup);
        let reply = reply.await;
        assert_eq!(reply.rcode, expected);
        assert!(reply.recursion_desired && reply.answer.is_empty());
    }
    assert_eq!(setup.told.asked.lock().unwrap().len(), 0);
}
