//! Limits where they stand in the pipeline: who is told what instead of an answer, and who is not limited at all.

use super::wire::{cookie, given, with_cookies};
use super::*;
use crate::clock::Clock;
use crate::config::Limits;
use crate::query::rate_limit::RateLimits;

fn limited(limits: Limits) -> Setup {
    let (setup, clock) = with_cookies(setup(resolution("www.example.", Security::Insecure)));
    with_limits(setup, limits, clock)
}

fn with_limits(setup: Setup, limits: Limits, clock: Clock) -> Setup {
    let limits = Arc::new(RateLimits::new(&limits, [5; 16]));
    let pipeline = setup.pipeline.with_limits(limits, clock);
    // Recursion for a client that is not on loopback.
    let mut settings = (**setup.settings.load()).clone();
    settings.access = AccessList::new(&config::Access {
        allow: vec!["192.0.2.0/24".parse().unwrap()],
        ..config::Access::default()
    });
    setup.settings.store(Arc::new(settings));
    Setup { pipeline, ..setup }
}

impl Ask {
    fn again(&self) -> Ask {
        Ask {
            query: self.query.clone(),
            client: self.client.clone(),
        }
    }

    /// How many of so many are answered whole, with nothing but TC=1, and not at all.
    async fn times(&self, count: usize, setup: &Setup) -> [usize; 3] {
        let mut tally = [0; 3];
        for _ in 0..count {
            let wire = self.query.encode(MESSAGE_LEN_MAX);
            let reply = setup.pipeline.answer(&wire, self.client.clone()).await;
            tally[match reply.map(|reply| Message::parse(&reply).unwrap()) {
                Some(reply) if reply.truncated => {
                    assert_eq!((reply.rcode, reply.answer.len()), (Rcode::NOERROR, 0));
                    assert_eq!(reply.question, self.query.question);
                    1
                }
                Some(_) => 0,
                None => 2,
            }] += 1;
        }
        tally
    }
}

/// DNSBomb (CVE-2024-33655): of a host that may not be there few queries may wait, so the listeners have to know it.
#[tokio::test(start_paused = true)]
async fn who_may_be_forged_is_known_while_a_query_waits() {
    let setup = limited(Limits {
        exempt: vec!["192.0.2.8/29".parse().unwrap()],
        ..Limits::default()
    });
    let suspect = |ask: &Ask| {
        let wire = ask.query.encode(MESSAGE_LEN_MAX);
        match setup.pipeline.begin(&wire, ask.client.clone()) {
            Step::Wait(job) => setup.pipeline.may_be_forged(&job),
            _ => panic!("it waits for the resolver"),
        }
    };
    let www = ask("www.example.", Rtype::A).from("192.0.2.1:4000");
    assert_eq!(suspect(&www), Some("192.0.2.1".parse().unwrap()));
    let exempt = ask("www.example.", Rtype::A).from("192.0.2.9:4000");
    assert_eq!(suspect(&exempt), None);
    let new = www.again().with(cookie(&[9; 8]));
    assert!(suspect(&new).is_some());
    let told = new.of(&setup).await;
    let good = www.again().with(cookie(&given(&told).unwrap()));
    assert_eq!(suspect(&good), None);
}

#[tokio::test(start_paused = true)]
async fn too_many_queries_leave_tcp_and_cookies_as_a_way() {
    let setup = limited(Limits {
        queries_per_prefix_s: 20,
        ..Limits::default()
    });
    let www = ask("www.lab.test.", Rtype::A);
    assert_eq!(www.times(60, &setup).await, [20, 20, 20]);
    assert_eq!(www.again().tcp().times(5, &setup).await, [5, 0, 0]);
    // The TC=1 of a client that sends a cookie brings the one that lets it through.
    let new = www.again().with(cookie(&[9; 8]));
    let told = [new.again().of_any(&setup).await, new.of_any(&setup).await];
    let told = told.into_iter().flatten().next().unwrap();
    assert!(told.truncated);
    let good = www.again().with(cookie(&given(&told).unwrap()));
    assert_eq!(good.times(10, &setup).await, [10, 0, 0]);
    // Together they have their limit as well, and a stream hears why.
    assert_eq!(good.times(5, &setup).await, [5, 0, 0]);
    let refused = www.again().tcp().dnssec().of(&setup).await;
    assert_eq!(refused.rcode, Rcode::REFUSED);
    assert_eq!(refused.errors()[0].code, Ede::PROHIBITED);
    let metrics = &setup.metrics;
    let counts = [
        &metrics.limited_queries_dropped_total,
        &metrics.limited_queries_truncated_total,
        &metrics.limited_queries_refused_total,
    ];
    // Who has come over a stream is shown that way each time.
    assert_eq!(counts.map(|m| m.value()), [20, 22, 1]);
    // What is no query counts as one.
    let other = ask("x.lab.test.", Rtype::OPT).from("192.0.3.1:9");
    assert_eq!(other.times(40, &setup).await, [20, 0, 20]);
    // Loopback is never limited.
    let local = www.from("127.0.0.1:4000");
    assert_eq!(local.times(200, &setup).await, [200, 0, 0]);
}

impl Ask {
    async fn of_any(self, setup: &Setup) -> Option<Message> {
        let wire = self.query.encode(MESSAGE_LEN_MAX);
        let reply = setup.pipeline.answer(&wire, self.client).await;
        reply.map(|reply| Message::parse(&reply).unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn like_answers_are_limited_as_in_bind() {
    let setup = limited(Limits {
        responses_per_s: 10,
        ..Limits::default()
    });
    let count = async |owner: &str, rtype, times| ask(owner, rtype).times(times, &setup).await;
    // The same records; others have an account of their own.
    assert_eq!(count("www.lab.test.", Rtype::A, 30).await, [10, 10, 10]);
    assert_eq!(count("www.lab.test.", Rtype::TXT, 10).await, [10, 0, 0]);
    // Names that do not exist are one account per zone, referrals one per delegation.
    let mut denied = [0; 3];
    for i in 0..30 {
        let tally = count(&format!("no{i}.lab.test."), Rtype::A, 1).await;
        (0..3).for_each(|at| denied[at] += tally[at]);
    }
    assert_eq!(denied, [10, 10, 10]);
    // So are the names of a wildcard, signed or not, whether it has the type or not.
    for (rtype, expected) in [(Rtype::TXT, [10, 10, 10]), (Rtype::A, [10, 10, 10])] {
        let mut made = [0; 3];
        for i in 0..30 {
            let tally = count(&format!("w{i}.wild.lab.test."), rtype, 1).await;
            (0..3).for_each(|at| made[at] += tally[at]);
        }
        assert_eq!(made, expected, "{rtype}");
    }
    let non_recursive = [
        count("a.sub.lab.test.", Rtype::A, 5).await,
        count("b.sub.lab.test.", Rtype::TXT, 15).await,
    ];
    assert_eq!(non_recursive, [[5, 0, 0], [5, 5, 5]]);
    // Errors are one account, whatever was asked, without TC=1.
    assert_eq!(count("x.broken.test.", Rtype::A, 5).await, [5, 0, 0]);
    assert_eq!(count("y.lab.test.", Rtype::OPT, 15).await, [5, 0, 10]);
    // Nobody who has shown that he is at his address is limited.
    let www = ask("www.lab.test.", Rtype::A);
    assert_eq!(www.again().tcp().times(50, &setup).await, [50, 0, 0]);
    let new = www.again().with(cookie(&[9; 8]));
    let told = [new.again().of_any(&setup).await, new.of_any(&setup).await];
    let told = told.into_iter().flatten().next().unwrap();
    let good = www.again().with(cookie(&given(&told).unwrap()));
    assert_eq!(good.times(50, &setup).await, [50, 0, 0]);
    // 22 too many: paid after three seconds.
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    assert_eq!(www.times(1, &setup).await[0], 0);
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    assert_eq!(www.times(1, &setup).await, [1, 0, 0]);
}

/// A difference is made for nobody who would not be told it.
#[tokio::test(start_paused = true)]
async fn differences_over_udp_are_limited_as_records_are() {
    let setup = limited(Limits {
        responses_per_s: 10,
        ..Limits::default()
    });
    let transfers = Transfers::new(None, Clock::system(), setup.metrics.clone());
    let pipeline = setup.pipeline.with_transfers(transfers);
    let setup = Setup { pipeline, ..setup };
    let mut settings = (**setup.settings.load()).clone();
    settings.access = AccessList::new(&config::Access {
        allow_transfer: vec![config::Peer::net("192.0.2.0/24".parse().unwrap())],
        ..config::Access::default()
    });
    setup.settings.store(Arc::new(settings));
    let with_serial = |serial: u32| {
        let soa = format!("lab.test. 60 SOA ns1.lab.test. h.lab.test. {serial} 1 1 1 1");
        move |m: &mut Message| m.authority = vec![crate::signer::rr(&soa)]
    };
    let behind = ask("lab.test.", Rtype::IXFR).with(with_serial(0));
    assert_eq!(behind.times(30, &setup).await, [10, 10, 10]);
    let newest = ask("lab.test.", Rtype::IXFR).with(with_serial(1));
    assert_eq!(newest.times(4, &setup).await[0], 0, "the same account");
    let client = behind.again().tcp();
    let wire = client.query.encode(MESSAGE_LEN_MAX);
    let begun = setup.pipeline.begin(&wire, client.client);
    assert!(matches!(begun, Step::Stream(_)));
}

/// What the resolver answers is limited as well, after it has been found.
#[tokio::test(start_paused = true)]
async fn answers_that_were_waited_for_are_limited() {
    let setup = limited(Limits {
        responses_per_s: 4,
        slip: 0,
        ..Limits::default()
    });
    let query = ask("www.example.", Rtype::A)
        .recursive()
        .from("192.0.2.7:1");
    assert_eq!(query.times(10, &setup).await, [4, 0, 6]);
    assert_eq!(setup.metrics.limited_responses_dropped_total.value(), 6);
}

/// Without limits in the configuration everything is counted and nothing limited.
#[tokio::test(start_paused = true)]
async fn limits_are_off_by_default() {
    let setup = limited(Limits::default());
    let www = ask("www.lab.test.", Rtype::A);
    assert_eq!(www.times(5000, &setup).await, [5000, 0, 0]);
}
