//! What the server says of itself, and to whom (RFC 4892, RFC 5001).

use super::*;
use crate::dns::edns::option;
use crate::query::chaos::Chaos;

fn talkative(chaos: Chaos) -> Setup {
    let setup = setup(resolution("x.", Security::Insecure));
    let pipeline = setup.pipeline.with_chaos(chaos);
    Setup { pipeline, ..setup }
}

fn all() -> Chaos {
    Chaos {
        version: Some("holdfast 1.2.3".into()),
        identity: Some("ns1".into()),
        status: Some(Arc::new(|| {
            let mut lines = vec!["up 7 s".into(), "x".repeat(300)];
            lines.extend((0..100).map(|n| n.to_string()));
            lines
        })),
        nsid: Some("ns1".into()),
    }
}

fn chaos(owner: &str, rtype: Rtype) -> Ask {
    let in_chaos = |m: &mut Message| m.question.as_mut().unwrap().class = Class::CH;
    ask(owner, rtype).with(in_chaos)
}

fn texts(reply: &Message) -> Vec<String> {
    let texts = reply.answer.iter().map(|record| {
        assert_eq!(
            (record.class, record.rtype, record.ttl),
            (Class::CH, Rtype::TXT, 0)
        );
        assert_eq!(usize::from(record.rdata[0]) + 1, record.rdata.len());
        String::from_utf8(record.rdata[1..].to_vec()).unwrap()
    });
    texts.collect()
}

#[tokio::test]
async fn the_server_says_who_it_is_where_it_may() {
    let setup = talkative(all());
    for (owner, expected) in [
        ("version.bind.", "holdfast 1.2.3"),
        ("VERSION.server.", "holdfast 1.2.3"),
        ("id.server.", "ns1"),
        ("hostname.bind.", "ns1"),
    ] {
        let reply = chaos(owner, Rtype::TXT).of(&setup).await;
        assert_eq!(texts(&reply), [expected]);
        assert!(reply.authoritative && !reply.authentic_data);
    }
    let other_type = chaos("id.server.", Rtype::A).of(&setup).await;
    assert_eq!(shape(&other_type), "NOERROR aa |  |  | ");
    // The state is for own clients; it fits a datagram of the smallest size, or says that it does not.
    let stranger = chaos("status.holdfast.", Rtype::TXT).of(&setup).await;
    assert_eq!(stranger.rcode, Rcode::REFUSED);
    let own = chaos("status.holdfast.", Rtype::TXT).from("127.0.0.1:9");
    let lines = texts(&own.dnssec().of(&setup).await);
    assert_eq!(
        (lines.len(), lines[0].as_str(), lines[1].len()),
        (12, "up 7 s", 80)
    );
    for from in ["198.51.100.1:9", "192.0.2.10:9"] {
        let reply = chaos("authors.bind.", Rtype::TXT)
            .from(from)
            .of(&setup)
            .await;
        assert_eq!(reply.rcode, Rcode::REFUSED);
    }
    let no_client = chaos("version.bind.", Rtype::TXT).from("198.51.100.1:9");
    assert_eq!(no_client.of(&setup).await.rcode, Rcode::REFUSED);
}

#[tokio::test]
async fn what_is_switched_off_is_refused() {
    let setup = talkative(Chaos::default());
    for owner in ["version.bind.", "id.server.", "status.holdfast."] {
        let query = chaos(owner, Rtype::TXT).from("127.0.0.1:9");
        assert_eq!(query.of(&setup).await.rcode, Rcode::REFUSED);
    }
    assert_eq!(
        nsid(&asking_for_nsid("www.lab.test.").of(&setup).await),
        None
    );
}

fn asking_for_nsid(owner: &str) -> Ask {
    let mut edns = Edns::new(1232, false);
    edns.options = vec![(option::NSID, Vec::new())];
    ask(owner, Rtype::A).with(|m| m.edns = Some(edns))
}

fn nsid(reply: &Message) -> Option<Vec<u8>> {
    let edns = reply.edns.as_ref()?;
    edns.option(option::NSID).map(<[u8]>::to_vec)
}

#[tokio::test]
async fn who_asks_for_the_identifier_gets_it_with_any_answer() {
    let setup = talkative(all());
    for owner in ["www.lab.test.", "no.lab.test.", "www.example."] {
        let reply = asking_for_nsid(owner).of(&setup).await;
        assert_eq!(nsid(&reply), Some(b"ns1".to_vec()), "{owner}");
    }
    let unasked = ask("www.lab.test.", Rtype::A).dnssec().of(&setup).await;
    assert_eq!(nsid(&unasked), None);
}
