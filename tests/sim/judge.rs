//! What a judge says of a cut-off, in internets made for one verdict each, and the cut itself.

use std::sync::Arc;
use std::time::Duration;

use holdfast::dns::{Question, Rcode, Rtype};
use holdfast::drill::judge::Judge;
use holdfast::drill::verdict::{Source, Verdict};
use holdfast::prefix_set::PrefixSet;
use holdfast::reach::Cut;

use crate::build::Builder;
use crate::lab::Lab;
use crate::net::Fault;

/// TTL of everything, seconds.
const TTL: u32 = 40;

fn judge(lab: &Lab, domestic: &str) -> Judge {
    let domestic: PrefixSet = [domestic.parse().unwrap()].into_iter().collect();
    let cut = Cut::isolation("domestic", &domestic).unwrap();
    let (live, clock) = (&lab.resolver, lab.clock.clone());
    Judge::new(
        Arc::new(cut),
        live,
        lab.net.clone(),
        lab.copies.clone(),
        clock,
    )
}

/// What comes of the question at its end are bad signatures, which nothing old may stand in for; long before, clients have an old answer.
#[tokio::test(start_paused = true)]
async fn what_old_data_answers_before_the_end_is_not_lost() {
    let abroad = ["198.51.100.1", "192.0.2.1", "192.0.2.2"];
    let internet = Builder::new(5)
        .zone(".")
        .ttl(TTL)
        .signed()
        .server("a.root.", &abroad[..1])
        .zone("com.")
        .ttl(TTL)
        .signed()
        .server("ns1.com.", &abroad[1..2])
        .server("ns2.com.", &abroad[2..])
        .server("ns3.com.", &["203.0.113.5"])
        .record("www A 203.0.113.80")
        .build();
    let lab = Lab::new(internet);
    lab.net.set("203.0.113.5", Fault::Stripped);
    lab.check("www.com.", Rtype::A, "NOERROR www.com. A 203.0.113.80")
        .await;
    let question = Question::new("www.com.".parse().unwrap(), Rtype::A);
    let verdict = judge(&lab, "203.0.113.0/24").judge(question).await.verdict;
    assert!(
        matches!(&verdict, Verdict::Survives(how) if how.from == Source::Stale && how.slow),
        "{verdict:?}"
    );
    for host in abroad {
        lab.net.set(host, Fault::Silent);
    }
    tokio::time::sleep(Duration::from_secs(7200)).await;
    let mut found = lab.ask("www.com.", Rtype::A).await;
    if found.rcode == Rcode::SERVFAIL {
        tokio::time::sleep(Duration::from_secs(75)).await;
        found = lab.ask("www.com.", Rtype::A).await;
    }
    assert!(found.sources.stale, "{found:?}");
}
