//! Limits on the short way: what is too much is not read any further, and gets what the general way gives it.

use super::*;

#[tokio::test(start_paused = true)]
async fn limits_hold_on_the_short_way() {
    let tally = |limits: config::Limits, with_cookie: bool| {
        let mut setup = setup_with(limits);
        let mut counts = [0; 3];
        let mut short = 0;
        let mut options = Vec::new();
        if with_cookie {
            let new = query(
                "www.example.",
                Rtype::A,
                edns(1232, false, vec![(option::COOKIE, vec![9; 8])]),
            );
            let reply = Message::parse(&setup.general(&new, client()).unwrap()).unwrap();
            options.push((
                option::COOKIE,
                reply.edns.unwrap().option(option::COOKIE).unwrap().to_vec(),
            ));
        }
        let wire = query("www.example.", Rtype::A, edns(1232, false, options));
        for _ in 0..60 {
            let (found, reply) = setup.turn(&wire, client());
            short += usize::from(!matches!(found, Found::Unknown | Found::Admitted));
            counts[match reply.map(|reply| Message::parse(&reply).unwrap()) {
                Some(reply) if reply.truncated => 1,
                Some(reply) => {
                    assert_eq!(reply.answer.len(), 1);
                    0
                }
                None => 2,
            }] += 1;
        }
        assert_eq!(short, 58);
        counts
    };
    let queries = config::Limits {
        queries_per_prefix_s: 20,
        ..config::Limits::default()
    };
    assert_eq!(tally(queries, false), [20, 20, 20]);
    let responses = config::Limits {
        responses_per_s: 20,
        ..config::Limits::default()
    };
    assert_eq!(tally(responses.clone(), false), [20, 20, 20]);
    assert_eq!(tally(responses, true), [60, 0, 0]);
}

/// A question for a name that is never ready, as the `n`th of a flood.
fn other(n: usize) -> Vec<u8> {
    let cookie = |len| vec![(option::COOKIE, vec![n as u8; len])];
    query(&format!("failed.r{n}.example."), Rtype::A, |m| {
        match n % 6 {
            1 => edns(1232, true, vec![])(m),
            2 => edns(4096, false, cookie(8))(m),
            3 => edns(512, true, cookie(24))(m),
            4 => (m.checking_disabled, m.authentic_data) = (true, true),
            5 => m.recursion_desired = false,
            _ => {}
        }
    })
}

// A flood of names that nobody asked before: all but what is within the limit ends before it is read as a message.
#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_limited_before_it_is_read() {
    const PER_S: usize = 20;
    let limits = config::Limits {
        queries_per_prefix_s: PER_S as u32,
        ..config::Limits::default()
    };
    let (mut short, general) = (setup_with(limits.clone()), setup_with(limits));
    let mut admitted = 0;
    for n in 0..20 * PER_S {
        // Some hosts of one network.
        let from = SocketAddr::from(([192, 0, 2, n as u8 % 7], 4000));
        let wire = other(n);
        let (found, reply) = short.turn(&wire, from);
        assert_eq!(reply, general.general(&wire, from), "{n} {found:?}");
        assert_ne!(found, Found::Unknown);
        admitted += usize::from(found == Found::Admitted);
    }
    assert_eq!(admitted, PER_S);
    assert_eq!(short.metrics.snapshot(), general.metrics.snapshot());
    assert_eq!(short.resolver.looked.load(Ordering::Relaxed), PER_S as u64);
}
