//! Finding the one server that helps: behind silent ones, behind names that lead nowhere, behind those who lie about it.

use std::time::Duration;

use holdfast::dns::Rtype;
use holdfast::resolve::Security;

use crate::build::Builder;
use crate::lab::{Lab, brief};
use crate::net::Fault;
use crate::signer::Denial;

const WWW: &str = "NOERROR www.a.com. A 203.0.113.80";

/// A root, `com.` and `net.`, the latter with three servers.
fn world(seed: u64) -> Builder {
    Builder::new(seed)
        .zone(".")
        .server("a.root.", &["198.51.100.1"])
        .zone("com.")
        .server("ns.com.", &["192.0.2.1"])
        .zone("net.")
        .server("ns1.net.", &["192.0.2.11"])
        .server("ns2.net.", &["192.0.2.12"])
        .server("ns3.net.", &["192.0.2.13"])
}

// One question has the time to ask one of them over TCP, or none. Somebody else keeps answering, though of no use.
#[tokio::test(start_paused = true)]
async fn of_several_silent_servers_each_is_asked_over_tcp() {
    let hosts: Vec<String> = (1..=6).map(|n| format!("203.0.113.{n}")).collect();
    for seed in 0..12 {
        let internet = world(seed)
            .zone("a.com.")
            .server("ns.a.com.", &["203.0.113.9"])
            .record("www A 203.0.113.80");
        let internet = hosts.iter().enumerate().fold(internet, |b, (i, host)| {
            b.server(&format!("ns{i}.a.com."), &[host])
        });
        let lab = Lab::with(internet.build(), |s| s.seed = seed);
        lab.net.set("203.0.113.9", Fault::ServFail);
        for host in &hosts {
            lab.net.set(host, Fault::Silent);
        }
        let helps = &hosts[seed as usize % hosts.len()];
        lab.net.set(helps, Fault::UdpSilent);
        let mut questions = 1;
        while brief(&lab.ask("www.a.com.", Rtype::A).await) != WWW {
            questions += 1;
            assert!(questions < 6, "{seed}");
            tokio::time::sleep(Duration::from_secs(75)).await;
        }
    }
}

// Two names are in zones that do not answer; the third is looked for although those searches go on for long.
#[tokio::test(start_paused = true)]
async fn searches_that_take_long_hold_up_no_other() {
    for seed in 0..8 {
        let internet = world(seed)
            .zone("dead.net.")
            .server("ns.dead.net.", &["192.0.2.21"])
            .zone("gone.net.")
            .server("ns.gone.net.", &["192.0.2.22"])
            .zone("a.com.")
            .server("one.dead.net.", &["203.0.113.1"])
            .server("two.gone.net.", &["203.0.113.2"])
            .server("six.net.", &["2001:db8::3"])
            .record("www A 203.0.113.80")
            .build();
        let lab = Lab::with(internet, |s| s.seed = seed);
        lab.net.set("192.0.2.21", Fault::Silent);
        lab.net.set("192.0.2.22", Fault::Silent);
        let (found, took) = lab.timed("www.a.com.").await;
        assert_eq!(brief(&found), WWW, "{seed}");
        assert!(took < Duration::from_secs(2), "{seed}: {took:?}");
    }
}

// Two of three servers lie about an address. That the second says the same as the first does not make it true: signatures tell.
#[tokio::test(start_paused = true)]
async fn addresses_are_validated_when_they_lead_nowhere() {
    for seed in 0..8 {
        let internet = Builder::new(seed)
            .zone(".")
            .server("a.root.", &["198.51.100.1"])
            .signed()
            .zone("com.")
            .server("ns.com.", &["192.0.2.1"])
            .zone("net.")
            .server("ns1.net.", &["192.0.2.11"])
            .server("ns2.net.", &["192.0.2.12"])
            .server("ns3.net.", &["192.0.2.13"])
            .signed()
            .zone("a.com.")
            .server("one.net.", &["203.0.113.1"])
            .record("www A 203.0.113.80")
            .build();
        let lab = Lab::with(internet, |s| s.seed = seed);
        for liar in ["192.0.2.11", "192.0.2.12"] {
            lab.net.set(liar, Fault::Hijack([10, 6, 6, 6].into()));
        }
        let (found, took) = lab.timed("www.a.com.").await;
        assert_eq!(brief(&found), WWW, "{seed}");
        assert!(took < Duration::from_secs(2), "{seed}: {took:?}");
    }
}

// Names without addresses use up what may be asked for; the forged address is looked for anew all the same.
#[tokio::test(start_paused = true)]
async fn names_that_lead_nowhere_protect_no_forged_address() {
    for seed in 0..12 {
        let internet = world(seed)
            .zone("org.")
            .server("ns.org.", &["192.0.2.31"])
            .zone("a.com.")
            .server("nowhere.org.", &[])
            .server("neither.org.", &[])
            .server("one.net.", &["203.0.113.1"])
            .record("www A 203.0.113.80")
            .build();
        let lab = Lab::with(internet, |s| s.seed = seed);
        lab.net
            .set("192.0.2.11", Fault::Hijack([10, 6, 6, 6].into()));
        let (found, took) = lab.timed("www.a.com.").await;
        assert_eq!(brief(&found), WWW, "{seed}");
        assert!(took < Duration::from_secs(2), "{seed}: {took:?}");
    }
}

// A zone that cannot deny leaves an unsigned answer and its links unproven, whoever is asked for them. The silent server, which comes
// last, does not cost the time in which another is asked for the answer.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_silent_when_the_answer_is_what_is_bad() {
    for seed in 0..12 {
        let internet = Builder::new(seed)
            .zone(".")
            .server("a.root.", &["198.51.100.1"])
            .signed()
            .zone("com.")
            .server("ns.com.", &["192.0.2.1"])
            .signed()
            .zone("a.com.")
            .server("ns1.a.com.", &["203.0.113.1"])
            .server("ns2.a.com.", &["203.0.113.2"])
            .server("ns3.a.com.", &["203.0.113.3"])
            .signed_with(|s| s.denial = Denial::None);
        let internet = (0..8).fold(internet, |b, n| b.record(&format!("h{n} A 203.0.113.8{n}")));
        let lab = Lab::with(internet.build(), |s| s.seed = seed);
        lab.net.set("203.0.113.2", Fault::NoEdns);
        lab.net.set("203.0.113.3", Fault::Silent);
        for n in 0..8 {
            let (found, took) = lab.timed(&format!("h{n}.a.com.")).await;
            assert_eq!(found.security, Security::Secure, "{seed} {n}: {found:?}");
            assert!(took < Duration::from_secs(4), "{seed} {n}: {took:?}");
        }
    }
}

// Two names are in zones whose servers refuse; of the third one's addresses the first found is lame. What failed in one family is not
// looked for in the other while that of the third is still unknown: there are questions for so many and no more.
#[tokio::test(start_paused = true)]
async fn what_failed_in_one_family_comes_last_in_the_other() {
    for seed in 0..24 {
        let internet = world(seed)
            .zone("sick.net.")
            .server("ns.sick.net.", &["192.0.2.21"])
            .zone("ill.net.")
            .server("ns.ill.net.", &["192.0.2.22"])
            .zone("a.com.")
            .server("one.sick.net.", &["203.0.113.1"])
            .server("two.ill.net.", &["203.0.113.2"])
            .server("six.net.", &["203.0.113.3", "2001:db8::3"])
            .record("www A 203.0.113.80")
            .build();
        let lab = Lab::with(internet, |s| s.seed = seed);
        for refuses in ["192.0.2.21", "192.0.2.22", "203.0.113.3"] {
            lab.net.set(refuses, Fault::Refused);
        }
        assert_eq!(brief(&lab.ask("www.a.com.", Rtype::A).await), WWW, "{seed}");
    }
}

// One name does not exist, another is an alias: that holds for both families, and leaves questions for the other family of the one that has an address.
#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_looked_for_in_one_family_only() {
    for seed in 0..24 {
        let internet = world(seed)
            .zone("org.")
            .server("ns.org.", &["192.0.2.31"])
            .record("alias CNAME ns.org.")
            .zone("a.com.")
            .server("nowhere.org.", &[])
            .server("alias.org.", &[])
            .server("six.net.", &["2001:db8::3"])
            .record("www A 203.0.113.80")
            .build();
        let lab = Lab::with(internet, |s| s.seed = seed);
        assert_eq!(brief(&lab.ask("www.a.com.", Rtype::A).await), WWW, "{seed}");
    }
}
