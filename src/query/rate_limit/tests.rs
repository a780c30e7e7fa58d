//! The limits under a clock of the tests' own.

use std::collections::HashSet;
use std::net::SocketAddr;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::*;

const SECRET: [u8; 16] = *b"nobody knows it.";

fn limits(queries: u32, responses: u32) -> RateLimits {
    RateLimits::new(
        &Limits {
            queries_per_prefix_s: queries,
            responses_per_s: responses,
            exempt: vec!["198.51.100.0/24".parse().unwrap()],
            ..Limits::default()
        },
        SECRET,
    )
}

fn at(address: &str, transport: Transport) -> Client {
    let ip: IpAddr = address.parse().unwrap();
    Client::new(SocketAddr::new(ip, 4000), transport)
}

fn udp(address: &str) -> Client {
    at(address, Transport::Udp)
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// How many of `count` calls at one time were passed, dropped, truncated, refused.
fn tally(count: usize, mut one: impl FnMut() -> Verdict) -> [usize; 4] {
    let mut tally = [0; 4];
    for _ in 0..count {
        tally[match one() {
            Verdict::Pass => 0,
            Verdict::Drop => 1,
            Verdict::Truncate => 2,
            Verdict::Refuse => 3,
        }] += 1;
    }
    tally
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_network_gets_its_rate_and_every_second_query_beyond_it_a_way_in() {
    let limits = limits(10, 0);
    let from = |address: &str, count, now| {
        let client = udp(address);
        tally(count, || limits.query(&client, false, now))
    };
    assert_eq!(from("192.0.2.1", 30, s(100)), [10, 10, 10, 0]);
    // The neighbour pays as well, but is shown the way; another network, and one of IPv6, do not.
    assert_eq!(from("192.0.2.77", 1, s(100)), [0, 0, 1, 0]);
    assert_eq!(from("192.0.2.77", 2, s(100)), [0, 1, 1, 0]);
    assert_eq!(from("192.0.3.1", 10, s(100)), [10, 0, 0, 0]);
    assert_eq!(from("2001:db8::1", 12, s(100)), [10, 1, 1, 0]);
    assert_eq!(from("2001:db8:0:ff::1", 1, s(100)), [0, 0, 1, 0]);
    assert_eq!(from("2001:db8:0:100::1", 10, s(100)), [10, 0, 0, 0]);
    assert_eq!(from("::ffff:192.0.2.5", 2, s(100)), [0, 1, 1, 0]);
    // What was refused is no debt.
    let half = s(100) + Duration::from_millis(500);
    assert_eq!(from("192.0.2.1", 20, half)[0], 5);
    assert_eq!(from("192.0.2.1", 20, s(200))[0], 10);
}

#[test]
fn proven_senders_have_a_bucket_of_their_own() {
    let limits = limits(10, 0);
    let flood = udp("192.0.2.1");
    assert_eq!(tally(100, || limits.query(&flood, false, s(9)))[0], 10);
    // With a cookie, over TCP and over TLS there is a way; together they have the rate once more.
    assert_eq!(tally(5, || limits.query(&flood, true, s(9)))[0], 5);
    let tcp = at("192.0.2.9", Transport::Tcp);
    assert_eq!(tally(3, || limits.query(&tcp, false, s(9)))[0], 3);
    let tls = Transport::Tls {
        for_transfers: false,
    };
    let tls = at("192.0.2.9", tls);
    assert_eq!(tally(4, || limits.query(&tls, false, s(9))), [2, 0, 0, 2]);
    assert_eq!(tally(4, || limits.query(&flood, true, s(9))), [0, 4, 0, 0]);
}

#[test]
fn loopback_and_exempt_are_counted_only() {
    let limits = limits(1, 1);
    for address in ["127.0.0.1", "127.9.9.9", "::1", "198.51.100.7"] {
        let client = udp(address);
        assert_eq!(tally(50, || limits.query(&client, false, s(9)))[0], 50);
        let same = || limits.response(&client, Likeness::Error, s(9));
        assert_eq!(tally(50, same)[0], 50);
    }
    let talkers = limits.talkers(9, s(9));
    assert_eq!((talkers.queries, talkers.limited), (200, 0));
    assert_eq!(talkers.networks.len(), 4);
}

// BIND 9 manual, "Response Rate Limiting": credit for a second, debt for the window.
#[test]
fn responses_are_limited_as_in_bind() {
    let limits = limits(0, 5);
    let victim = udp("192.0.2.1");
    let www = name("www.example.");
    let told = |like: Likeness<'_>, count, now| {
        tally(count, || limits.response(&victim, like.clone(), now))
    };
    assert_eq!(
        told(Likeness::Records(&www, Rtype::A), 25, s(50)),
        [5, 10, 10, 0]
    );
    // Another type, no data, another name: accounts of their own. Case makes none.
    assert_eq!(told(Likeness::Records(&www, Rtype::AAAA), 5, s(50))[0], 5);
    assert_eq!(told(Likeness::NoData(&www), 5, s(50))[0], 5);
    let upper = name("WWW.example.");
    assert_eq!(told(Likeness::Records(&upper, Rtype::A), 2, s(50))[0], 0);
    // 20 too many take 4 seconds to be paid.
    assert_eq!(told(Likeness::Records(&www, Rtype::A), 1, s(53))[0], 0);
    assert_eq!(told(Likeness::Records(&www, Rtype::A), 9, s(56))[0], 5);
    // A flood owes no more than the window, and as long as it goes on it gets nothing.
    assert_eq!(told(Likeness::Records(&www, Rtype::A), 50, s(60))[0], 5);
    for now in 61..100 {
        assert_eq!(told(Likeness::Records(&www, Rtype::A), 50, s(now))[0], 0);
    }
    assert_eq!(told(Likeness::Records(&www, Rtype::A), 1, s(99 + 15))[0], 0);
    assert_eq!(told(Likeness::Records(&www, Rtype::A), 9, s(99 + 17))[0], 5);
}

#[test]
fn random_names_are_one_account_where_they_do_not_exist() {
    let limits = limits(0, 5);
    let victim = udp("192.0.2.1");
    let zone = name("example.");
    let denied = |now| limits.response(&victim, Likeness::NxDomain(&zone), now);
    assert_eq!(tally(15, || denied(s(7))), [5, 5, 5, 0]);
    // An error is not asked for again over TCP, so there is no TC=1.
    let failed = || limits.response(&victim, Likeness::Error, s(7));
    assert_eq!(tally(15, failed), [5, 10, 0, 0]);
    let stream = at("192.0.2.1", Transport::Tcp);
    let over_tcp = || limits.response(&stream, Likeness::Error, s(7));
    assert_eq!(tally(15, over_tcp)[0], 15);
    let below = || limits.response(&victim, Likeness::Wildcard(zone.clone(), Rtype::A), s(7));
    assert_eq!(tally(15, below)[0], 5);
}

/// However much the others of its network ask.
#[test]
fn who_lives_beside_a_flood_is_shown_the_way_each_second() {
    let limits = limits(10, 0);
    let (flood, neighbour) = (udp("192.0.2.200"), udp("192.0.2.1"));
    for second in 5..15 {
        for _ in 0..500 {
            limits.query(&flood, false, s(second));
        }
        let told = tally(1, || limits.query(&neighbour, false, s(second)));
        assert_eq!(told, [0, 0, 1, 0], "{second}");
    }
    let silent = RateLimits::new(
        &Limits {
            queries_per_prefix_s: 1,
            slip: 0,
            ..Limits::default()
        },
        SECRET,
    );
    assert_eq!(
        tally(9, || silent.query(&neighbour, false, s(5))),
        [1, 8, 0, 0]
    );
}

/// And who has gone it is shown it each time, as long as he goes it.
#[test]
fn who_goes_the_way_is_shown_it_each_time() {
    let limits = limits(10, 0);
    let (flood, neighbour, other) = ("192.0.2.200", "192.0.2.1", "192.0.2.2");
    let asks = |address: &str, count, second| {
        tally(count, || limits.query(&udp(address), false, s(second)))
    };
    let comes = |address: &str, second| {
        let client = at(address, Transport::Tcp);
        limits.query(&client, false, s(second));
    };
    asks(flood, 1000, 20);
    assert_eq!(asks(neighbour, 3, 20), [0, 2, 1, 0]);
    comes(neighbour, 20);
    assert_eq!(asks(neighbour, 3, 20), [0, 0, 3, 0]);
    assert_eq!(asks(other, 3, 20), [0, 2, 1, 0]);
    // No more than may go it, if he is part of the flood.
    comes(flood, 21);
    assert_eq!(asks(flood, 1000, 21), [10, 969, 21, 0]);
    // It is forgotten after a while.
    asks("192.0.2.201", 1000, 39);
    assert_eq!(asks(neighbour, 3, 39), [0, 0, 3, 0]);
    asks("192.0.2.201", 1000, 40);
    assert_eq!(asks(neighbour, 3, 40), [0, 2, 1, 0]);
}

/// Hosts of a flood and their neighbours are shown the way; of all others no more than may go it.
#[test]
fn no_more_are_shown_the_way_than_may_go_it() {
    let limits = limits(10, 0);
    let flood = udp("192.0.2.200");
    assert_eq!(
        tally(10_000, || limits.query(&flood, false, s(5))),
        [10, 9979, 11, 0]
    );
}

#[test]
fn slip_says_how_many_get_a_way_in() {
    for (slip, expected) in [
        (0, [100, 20, 0, 0]),
        (1, [100, 0, 20, 0]),
        (5, [100, 16, 4, 0]),
    ] {
        let limits = RateLimits::new(
            &Limits {
                queries_per_prefix_s: 100,
                slip,
                ..Limits::default()
            },
            SECRET,
        );
        let client = udp("192.0.2.1");
        assert_eq!(tally(120, || limits.query(&client, false, s(3))), expected);
    }
}

#[test]
fn who_asks_most_is_told_first() {
    let limits = limits(10, 0);
    for (address, count) in [("192.0.2.1", 30), ("203.0.113.1", 5), ("2001:db8::1", 12)] {
        let client = udp(address);
        tally(count, || limits.query(&client, false, s(104)));
    }
    let talkers = limits.talkers(2, s(113));
    assert_eq!(
        (talkers.over_s, talkers.queries, talkers.limited),
        (13, 47, 22)
    );
    let told: Vec<_> = (talkers.networks.iter())
        .map(|t| (t.prefix.to_string(), t.queries, t.limited))
        .collect();
    let expected = [
        ("192.0.2.0/24".to_owned(), 30, 20),
        ("2001:db8::/56".to_owned(), 12, 2),
    ];
    assert_eq!(told, expected);
    // Two windows later nobody is left.
    let later = limits.talkers(2, s(121));
    assert_eq!((later.queries, later.networks.len()), (0, 0));
}

/// What was dropped before it came here counts as asked and limited, as far as a count goes.
#[test]
fn what_never_came_here_is_told_as_well() {
    let limits = limits(10, 0);
    let network = "192.0.2.0".parse().unwrap();
    let told = |now| {
        let talkers = limits.talkers(1, now);
        let first = &talkers.networks[0];
        let of_all = (talkers.queries, talkers.limited);
        (of_all, (first.queries, first.limited))
    };
    limits.query(&udp("192.0.2.1"), false, s(104));
    limits.count_unseen(network, 5000, s(104));
    assert_eq!(told(s(105)), ((5001, 5000), (5001, 5000)));
    limits.count_unseen(network, 1 << 30, s(106));
    let most = (1 << 24) - 1;
    assert_eq!(told(s(107)).1, (most, most));
    assert_eq!(told(s(107)).0, (5001 + (1 << 30), 5000 + (1 << 30)));
}

/// However many networks and names come by, the tables stay as they are, and who asks most keeps his place.
#[test]
fn tables_are_bounded_and_heavy_ones_stay() {
    let mut random = SmallRng::seed_from_u64(8);
    let limits = limits(50, 5);
    let heavy = udp("192.0.2.1");
    let www = name("www.example.");
    let (mut heavy_passed, mut heavy_told) = (0, 0);
    const STRANGERS: usize = 3 * NETWORKS_MAX;
    for round in 0..STRANGERS {
        let now = s(1000) + Duration::from_micros(round as u64);
        let address = random.random::<u32>() | 0xC800_0000;
        let stranger = udp(&std::net::Ipv4Addr::from_bits(address).to_string());
        limits.query(&stranger, false, now);
        limits.response(&stranger, Likeness::Records(&www, Rtype::A), now);
        if round % 16 == 0 {
            heavy_passed += usize::from(limits.query(&heavy, false, now) == Verdict::Pass);
            let like = Likeness::Records(&www, Rtype::A);
            heavy_told += usize::from(limits.response(&heavy, like, now) == Verdict::Pass);
        }
    }
    assert!(heavy_passed < 70, "{heavy_passed} passed");
    assert!(heavy_told < 10, "{heavy_told} were told");
    assert!(limits.forgotten() > 0);
    let talkers = limits.talkers(usize::MAX, s(1000));
    assert!(talkers.networks.len() <= NETWORKS_MAX);
    assert_eq!(talkers.networks[0].prefix.to_string(), "192.0.2.0/24");
    let each_once: HashSet<_> = talkers.networks.iter().map(|t| t.prefix).collect();
    assert_eq!(each_once.len(), talkers.networks.len());
    let all = (STRANGERS + STRANGERS.div_ceil(16)) as u64;
    assert_eq!(talkers.queries, all);
}

#[test]
fn datagrams_are_limited_as_queries_and_added_to_the_sum_together() {
    let limits = limits(10, 0);
    let asker = limits.asker(&udp("192.0.2.1"));
    let told = tally(12, || limits.datagram(&asker, false, s(104)));
    assert_eq!(told, [10, 1, 1, 0]);
    limits.count_queries(12, s(104));
    let talkers = limits.talkers(1, s(104));
    assert_eq!((talkers.queries, talkers.limited), (12, 2));
    assert_eq!(talkers.networks[0].queries, 12);
}

/// Several threads at one bucket let no more through than one.
#[test]
fn threads_share_one_bucket() {
    let limits = limits(1000, 0);
    let client = udp("192.0.2.1");
    // Made before, so that all find it.
    limits.query(&client, false, s(5));
    let passed: usize = std::thread::scope(|scope| {
        let ask = || tally(2000, || limits.query(&client, false, s(5)))[0];
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(passed, 999);
    assert_eq!(limits.talkers(1, s(5)).queries, 8001);
}

#[test]
fn networks_are_told_as_prefixes() {
    for (address, prefix) in [
        ("255.255.255.255", "255.255.255.0/24"),
        ("0.0.0.0", "0.0.0.0/24"),
        ("::", "::/56"),
        (
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "ffff:ffff:ffff:ff00::/56",
        ),
    ] {
        let network = Network::of(address.parse().unwrap());
        assert_ne!(network.0, 0);
        assert_eq!(network.prefix().unwrap().to_string(), prefix);
    }
}
