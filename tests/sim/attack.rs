//! What strangers try: clients that ask oddly, and servers that answer oddly.

use std::sync::Arc;

use holdfast::dns::{Message, Rcode, Rtype};
use holdfast::resolve::{Observation, Outcome, Security};
use holdfast::upstream::{Ask, BoxFuture, ExchangeError, Reply, Upstream};

use crate::build::{Builder, Internet};
use crate::lab::{Lab, brief};
use crate::net::SimNet;

fn internet() -> Internet {
    Builder::new(11)
        .zone(".")
        .signed()
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .signed()
        .server("ns1.com.", &["192.0.2.1"])
        .zone("a.com.")
        .signed()
        .server("ns1.a.com.", &["203.0.113.1"])
        .record("www A 203.0.113.80")
        .record("api A 203.0.113.81")
        .record("www.x A 203.0.113.82")
        .build()
}

// What a client may ask for first must not change what the next one gets.
#[tokio::test(start_paused = true)]
async fn a_denied_type_does_not_deny_the_others() {
    for first in [Rtype::CNAME, Rtype(0), Rtype::MX, Rtype::ANY, Rtype::DNAME] {
        let lab = Lab::new(internet());
        lab.ask("www.a.com.", first).await;
        let after = lab.ask("www.a.com.", Rtype::A).await;
        assert_eq!(
            brief(&after),
            "NOERROR www.a.com. A 203.0.113.80",
            "after {first}"
        );
    }
}

/// How an answer is changed on its way.
type Change = fn(&Ask, &mut Message);

/// A network in which answers are changed.
struct Changed(Arc<SimNet>, Change);

impl Upstream for Changed {
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Reply, ExchangeError>> {
        Box::pin(async move {
            let mut reply = self.0.exchange(ask.clone()).await?;
            (self.1)(&ask, &mut reply.message);
            Ok(reply)
        })
    }
}

fn lab_with(change: Change) -> Lab {
    let internet = internet();
    let upstream = Arc::new(Changed(internet.net.clone(), change));
    Lab::over(upstream, internet.hints, internet.anchors, |_| {})
}

// Some servers say NOTIMP to odd types, without OPT. That must not cost them EDNS, and their zones the signatures.
#[tokio::test(start_paused = true)]
async fn an_odd_question_does_not_take_edns_from_its_server() {
    let lab = lab_with(|ask, message| {
        if ask.question.rtype == Rtype::ANY {
            *message = Message::query(message.id, ask.question.clone()).reply(Rcode::NOTIMP);
        }
    });
    lab.ask("www.a.com.", Rtype::ANY).await;
    let dead = |o: &Observation| o.outcome == Outcome::ServerFailure;
    assert!(!lab.notes.take().iter().any(dead));
    let after = lab.ask("api.a.com.", Rtype::A).await;
    assert_eq!(brief(&after), "NOERROR api.a.com. A 203.0.113.81");
    assert_eq!(after.security, Security::Secure);
}

// A signature names a zone that is none. The keys of it are asked for beside the rest; who answers that, with whatever,
// has proved nothing, so it must not pass for a sign of life.
#[tokio::test(start_paused = true)]
async fn what_was_asked_on_a_false_hint_vouches_for_nobody() {
    let lab = lab_with(|ask, message| {
        let sig = message.answer.iter().find(|r| r.rtype == Rtype::RRSIG);
        if let Some(mut sig) = sig.cloned().filter(|_| ask.question.rtype == Rtype::A) {
            // RFC 4034 section 3.1: the signer's name follows 18 octets of other fields.
            let mut rdata = sig.rdata[..18].to_vec();
            rdata.extend_from_slice(crate::signer::name("x.a.com.").wire());
            rdata.extend_from_slice(&[0; 64]);
            sig.rdata = rdata.into();
            message.answer.insert(0, sig);
        }
    });
    let found = lab.ask("www.x.a.com.", Rtype::A).await;
    assert_eq!(found.security, Security::Secure);
    let zone = crate::signer::name("a.com.");
    let seen = lab.notes.take();
    let vouched = |o: &&Observation| o.zone == zone && o.outcome == Outcome::Validated;
    // The answer and the zone's keys.
    assert_eq!(seen.iter().filter(vouched).count(), 2, "{seen:#?}");
}
