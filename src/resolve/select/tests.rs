//! Orders, waits and silence, by hand.

use super::*;
use rand::SeedableRng;

const NEAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

const UDP: Transport = Transport::Udp;
const TCP: Transport = Transport::Tcp;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn known() -> Servers {
    let servers = Servers::default();
    servers.answered(NEAR, Transport::Udp, ms(10), ms(0));
    servers.answered(FAR, Transport::Udp, ms(200), ms(0));
    servers
}

fn firsts(servers: &Servers, now: Duration, runs: u32) -> (u32, u32) {
    let mut rng = SmallRng::seed_from_u64(7);
    let (mut near, mut explored) = (0, 0);
    for _ in 0..runs {
        let plan = servers.plan(&Name::root(), &[FAR, NEAR], now, &|_| false, &mut rng);
        assert_eq!(plan.order.len(), 2);
        near += u32::from(plan.order[0] == NEAR);
        explored += u32::from(plan.explore.is_some());
    }
    (near, explored)
}

#[test]
fn the_near_server_gets_most_and_the_far_one_its_share() {
    let (near, explored) = firsts(&known(), ms(1), 1000);
    assert!((900..990).contains(&near), "{near}");
    assert_eq!(explored, 0);
}

#[test]
fn a_silent_server_is_asked_beside_a_living_one_once_per_backoff() {
    let servers = known();
    servers.late(NEAR, UDP, Rtype::A, ms(100));
    assert_eq!(firsts(&servers, ms(200), 100), (0, 0));
    assert_eq!(firsts(&servers, ms(700), 100), (0, 1));
    servers.answered(NEAR, Transport::Udp, ms(10), ms(800));
    assert!(firsts(&servers, ms(900), 100).0 > 80);
}

#[test]
fn a_returned_server_is_found_within_the_longest_backoff() {
    let servers = known();
    for i in 0..50 {
        servers.late(NEAR, UDP, Rtype::A, ms(i * 10));
    }
    assert_eq!(firsts(&servers, ms(500) + BACKOFF_MAX, 10).1, 1);
}

#[test]
fn a_machine_without_ipv6_asks_new_ipv6_addresses_last() {
    let servers = known();
    let six = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
    for n in 0..4 {
        servers.unreachable(six(n), UDP, ms(0));
    }
    let mut rng = SmallRng::seed_from_u64(7);
    let new = "192.0.2.77".parse().unwrap();
    let mut plan = || {
        servers
            .plan(&Name::root(), &[six(99), new], ms(1), &|_| false, &mut rng)
            .order
    };
    assert_eq!(plan(), [new, six(99)]);
    servers.answered(six(1), Transport::Udp, ms(5), ms(2));
    assert!((0..50).any(|_| plan()[0] == six(99)));
}

#[test]
fn lame_and_avoided_come_last_but_stay() {
    let servers = known();
    servers.bad_for(NEAR, &Name::root(), ms(0), LAME_FOR);
    assert_eq!(firsts(&servers, ms(1), 50).0, 0);
    assert!(firsts(&servers, LAME_FOR + ms(1), 50).0 > 40);
    let mut rng = SmallRng::seed_from_u64(7);
    let other = Name::root().child(b"com").unwrap();
    let plan = servers.plan(&other, &[NEAR, FAR], ms(1), &|a| a == NEAR, &mut rng);
    assert_eq!(plan.order, [FAR, NEAR]);
}

#[test]
fn servers_of_bogus_data_stand_between_the_good_and_the_silent() {
    let (servers, root) = (known(), Name::root());
    let silent = "192.0.2.3".parse().unwrap();
    servers.late(silent, UDP, Rtype::A, ms(0));
    servers.bogus_for(NEAR, &root, ms(0));
    let mut rng = SmallRng::seed_from_u64(7);
    let mut order = |zone: &Name, now| {
        let addresses = [silent, NEAR, FAR];
        let plan = servers.plan(zone, &addresses, now, &|_| false, &mut rng);
        plan.order
    };
    assert_eq!(order(&root, ms(1)), [FAR, NEAR, silent]);
    assert_eq!(order(&root, BOGUS_FOR + ms(1))[2], silent);
    assert_eq!(order(&root.child(b"com").unwrap(), ms(1))[2], silent);
    // Who is worse besides stands with the worse.
    servers.late(NEAR, UDP, Rtype::A, ms(2));
    assert_eq!(order(&root, ms(3))[0], FAR);
    servers.bad_for(NEAR, &root, ms(3), LAME_FOR);
    assert_eq!(order(&root, ms(4)), [FAR, silent, NEAR]);
}

#[test]
fn who_stays_silent_is_asked_over_tcp_every_second_time() {
    let servers = Servers::default();
    let mut asked = Vec::new();
    for n in 0..6 {
        let over = servers.transport(NEAR, false, ms(n));
        servers.late(NEAR, over, Rtype::A, ms(n));
        asked.push(over);
    }
    assert_eq!(asked, [UDP, UDP, TCP, UDP, TCP, UDP]);
    // And seldom when that goes on.
    for n in 0..18 {
        let over = servers.transport(FAR, false, ms(n));
        servers.late(FAR, over, Rtype::A, ms(n));
        let in_turn = [2, 4, 6, 10, 14].contains(&n);
        assert_eq!(over == TCP, in_turn, "{n}");
    }
    // It may have come back, and is asked as ever.
    servers.answered(NEAR, TCP, ms(10), ms(10));
    assert_eq!(servers.transport(NEAR, false, ms(20)), UDP);
    // Silent again: that was it.
    assert_eq!(servers.transport(NEAR, true, ms(20)), TCP);
    servers.late(NEAR, UDP, Rtype::A, ms(20));
    assert_eq!(servers.transport(NEAR, false, ms(30)), TCP);
    servers.answered(NEAR, TCP, ms(10), ms(40));
    let later = TCP_FOR + ms(40);
    // With a look at UDP now and then, which costs no standing.
    let first = UDP_LOOK_FIRST + ms(40);
    for (at, over) in [(first - ms(1), TCP), (first, UDP), (first + ms(1), TCP)] {
        assert_eq!(servers.transport(NEAR, false, at), over);
    }
    servers.late(NEAR, UDP, Rtype::A, first);
    assert_eq!(servers.transport(NEAR, true, later - ms(1)), TCP);
    // Until a datagram is answered.
    assert_eq!(servers.transport(NEAR, false, later), UDP);
    servers.answered(NEAR, UDP, ms(10), later);
    servers.late(NEAR, UDP, Rtype::A, later);
    assert_eq!(servers.transport(NEAR, true, later), UDP);
    // Who loses one datagram after the other, and answers over TCP at once, has not come back just then.
    servers.late(NEAR, UDP, Rtype::A, later + ms(100));
    let answered = |then| {
        servers.answered(NEAR, TCP, ms(10), later + then);
        servers.transport(NEAR, false, later + then)
    };
    assert_eq!(answered(ms(200)), TCP);
}

#[test]
fn servers_are_silent_together_when_each_is_and_it_is_no_lost_packet() {
    let servers = known();
    let other = "192.0.2.3".parse().unwrap();
    assert_eq!(
        servers.silence(&Name::root(), &[NEAR, FAR], ms(12)),
        Silence::None
    );
    servers.late(NEAR, UDP, Rtype::A, ms(0));
    servers.late(NEAR, UDP, Rtype::A, ms(1));
    servers.late(NEAR, UDP, Rtype::A, ms(2));
    assert_eq!(
        servers.silence(&Name::root(), &[NEAR, FAR], ms(12)),
        Silence::None
    );
    assert_eq!(
        servers.silence(&Name::root(), &[NEAR], ms(12)),
        Silence::Sure
    );
    servers.late(FAR, UDP, Rtype::A, ms(3));
    assert_eq!(
        servers.silence(&Name::root(), &[NEAR, FAR], ms(12)),
        Silence::Sure
    );
    assert_eq!(
        servers.silence(&Name::root(), &[FAR], ms(12)),
        Silence::Suspected
    );
    assert_eq!(
        servers.silence(&Name::root(), &[NEAR, FAR, other], ms(12)),
        Silence::None
    );
    assert!(!servers.is_any_good(&Name::root(), &[NEAR, FAR, other], ms(12)));
    servers.answered(FAR, Transport::Udp, ms(10), ms(9));
    assert_eq!(
        servers.silence(&Name::root(), &[NEAR, FAR], ms(12)),
        Silence::None
    );
    assert!(servers.is_any_good(&Name::root(), &[NEAR, FAR], ms(12)));
    // Types that they may not know.
    for rtype in [Rtype::AAAA, Rtype::HTTPS, Rtype::TXT, Rtype::DS] {
        servers.late(FAR, UDP, rtype, ms(10));
    }
    assert_eq!(
        servers.silence(&Name::root(), &[FAR], ms(12)),
        Silence::None
    );
    servers.late(FAR, UDP, Rtype::PTR, ms(11));
    assert_eq!(
        servers.silence(&Name::root(), &[FAR], ms(12)),
        Silence::Suspected
    );
}

#[test]
fn of_dead_prefixes_known_addresses_are_asked_beside_and_all_of_them_where_nobody_else_is_good() {
    let (servers, root) = (known(), Name::root());
    let new: IpAddr = "192.0.2.9".parse().unwrap();
    let mut rng = SmallRng::seed_from_u64(7);
    let mut plan = |addresses: &[IpAddr], dead: &[IpAddr], now| {
        servers.plan(&root, addresses, now, &|a| dead.contains(&a), &mut rng)
    };
    let found = plan(&[new, FAR, NEAR], &[new, NEAR], ms(1));
    assert_eq!((found.order[0], found.explore), (FAR, Some(NEAR)));
    assert!(!found.all_silent);
    let found = plan(&[new, FAR, NEAR], &[new, NEAR], ms(2));
    assert_eq!(found.explore, None, "once per backoff");
    // Nothing else there: as ever, and fewer packets.
    let found = plan(&[FAR, NEAR], &[FAR, NEAR], ms(3));
    assert!(found.all_silent && found.order.len() == 2);
    servers.late(FAR, UDP, Rtype::A, ms(4));
    let found = plan(&[new, FAR], &[new], ms(5));
    assert_eq!((found.order[0], found.explore), (FAR, Some(new)));
    assert!(found.all_silent);
}

#[test]
fn what_answers_for_some_zones_is_silent_for_the_others_alone() {
    let (servers, attacked, other) = (
        known(),
        Name::root().child(b"a").unwrap(),
        Name::root().child(b"b").unwrap(),
    );
    let ask = |zone: &Name, answers: bool, now| match answers {
        true => {
            servers.answered_for(NEAR, zone, ms(10), now);
            servers.answered(NEAR, UDP, ms(10), now);
        }
        false => {
            servers.late(NEAR, UDP, Rtype::A, now);
            servers.late_for(NEAR, zone, Rtype::A, now, now);
        }
    };
    let of = |zone: &Name, now| servers.silence(zone, &[NEAR], now);
    // Whoever falls silent does so for all.
    ask(&attacked, false, ms(100));
    ask(&attacked, false, ms(110));
    assert_eq!(of(&other, ms(111)), Silence::Sure);
    // An answer to an earlier question is no turn.
    ask(&other, true, ms(109));
    for second in 1..4 {
        ask(&attacked, false, ms(second * 1000));
        ask(&other, true, ms(second * 1000 + 500));
    }
    for second in 4..40 {
        ask(&attacked, false, ms(second * 1000));
        ask(&attacked, false, ms(second * 1000 + 1));
        let now = ms(second * 1000 + 2);
        assert_eq!(
            (of(&attacked, now), of(&other, now)),
            (Silence::Sure, Silence::None)
        );
        assert!(!servers.is_any_good(&attacked, &[NEAR], now));
        assert!(servers.is_any_good(&other, &[NEAR], now));
        ask(&other, true, ms(second * 1000 + 500));
    }
    // It answers for all again.
    ask(&attacked, true, ms(40_500));
    assert_eq!(of(&attacked, ms(40_501)), Silence::None);
    // And falls silent altogether.
    ask(&attacked, false, ms(80_000));
    ask(&attacked, false, ms(80_001));
    assert_eq!(of(&other, ms(80_002)), Silence::Sure);
}

#[test]
fn waits_follow_the_round_trip() {
    let servers = known();
    assert_eq!(servers.wait(NEAR), WAIT_MIN);
    assert_eq!(servers.wait(FAR), ms(600));
    servers.late(FAR, UDP, Rtype::A, ms(0));
    assert_eq!(servers.wait(FAR), ms(1200));
    servers.late(FAR, UDP, Rtype::A, ms(0));
    assert_eq!(servers.wait(FAR), WAIT_MAX);
    assert_eq!(servers.wait("192.0.2.9".parse().unwrap()), WAIT_NEW);
}

/// A server that is slow answers in turn; an answer that others have overtaken tells of the way, not of it.
#[test]
fn an_answer_that_was_held_up_is_no_measure() {
    let servers = known();
    // Sent at 0, when one that was sent at 790 has been answered.
    servers.answered(NEAR, UDP, ms(10), ms(800));
    servers.answered(NEAR, UDP, ms(3000), ms(3000));
    assert_eq!(servers.wait(NEAR), WAIT_MIN);
    servers.answered(NEAR, UDP, ms(3000), ms(4000));
    assert_eq!(servers.wait(NEAR), WAIT_MAX);
    assert!(servers.patience(NEAR) > ms(3000));
}

/// What was sent before a question that was answered is not owed: it met a silence that is over.
#[test]
fn what_a_later_question_has_overtaken_is_not_owed() {
    let (servers, zone) = (known(), Name::root().child(b"a").unwrap());
    // Sent at 110, answered at 120.
    servers.answered(NEAR, UDP, ms(10), ms(120));
    let overtaken = [100, 110, 111].map(|sent| servers.is_overtaken(NEAR, ms(sent)));
    assert_eq!(overtaken, [true, false, false]);
    assert!(!servers.is_overtaken("192.0.2.9".parse().unwrap(), ms(0)));
    // The same by zone, for a server that answers for some.
    for second in 1..4 {
        servers.late(NEAR, UDP, Rtype::A, ms(second * 1000));
        let now = ms(second * 1000 + 500);
        servers.answered_for(NEAR, &zone, ms(10), now);
        servers.answered(NEAR, UDP, ms(10), now);
    }
    let owed = |sent| {
        servers.late_for(NEAR, &zone, Rtype::A, ms(sent), ms(3600));
        servers.silence(&zone, &[NEAR], ms(3601))
    };
    servers.late(NEAR, UDP, Rtype::A, ms(3550));
    assert_eq!(owed(3400), Silence::None);
    assert_eq!(owed(3500), Silence::Suspected);
    assert_eq!(owed(3501), Silence::Sure);
}

#[test]
fn who_was_silent_long_ago_is_asked_before_he_passes_for_dead() {
    let servers = known();
    let of = |now| servers.silence(&Name::root(), &[NEAR], now);
    for _ in 0..4 {
        servers.late(NEAR, UDP, Rtype::A, ms(1000));
    }
    assert_eq!(of(SILENT_FOR + ms(999)), Silence::Sure);
    assert_eq!(of(SILENT_FOR + ms(1000)), Silence::None);
    // What he owes he owes still.
    servers.late(NEAR, UDP, Rtype::A, SILENT_FOR + ms(2000));
    assert_eq!(of(SILENT_FOR + ms(2001)), Silence::Sure);
}

#[test]
fn who_was_silent_long_ago_does_not_make_one_lost_packet_of_another_the_end_of_the_zone() {
    let servers = known();
    for _ in 0..9 {
        servers.late(FAR, UDP, Rtype::A, ms(1000));
    }
    let now = SILENT_FOR + ms(2000);
    let of = |now| servers.silence(&Name::root(), &[NEAR, FAR], now);
    servers.late(NEAR, UDP, Rtype::A, now);
    assert_eq!(of(now + ms(1)), Silence::Suspected);
    servers.late(NEAR, UDP, Rtype::A, now + ms(2));
    assert_eq!(of(now + ms(3)), Silence::Sure);
}

#[test]
fn servers_that_fall_silent_share_what_all_questions_may_send() {
    let servers = known();
    let both = [NEAR, FAR];
    let braked = |errand, now| servers.is_braked(&Name::root(), &both, errand, ms(now));
    let send = |count, now| (0..count).for_each(|_| servers.sent(NEAR, UDP, ms(now)));
    // A burst to servers that answer in time is nobody's business.
    send(12, 1000);
    assert!(!braked(Errand::Again, 1049));
    assert!(braked(Errand::Again, 1050));
    assert!(!braked(Errand::First, 1050));
    send(4, 1050);
    assert!(braked(Errand::First, 1050));
    // One that lives lifts it for all, and so does a second's pause.
    assert!(!braked(Errand::Again, 2051));
    servers.sent(FAR, UDP, ms(1055));
    servers.answered(FAR, UDP, ms(10), ms(1060));
    assert!(!braked(Errand::Again, 1061));
    // Who is known to be silent is asked once by each.
    for server in both {
        for _ in 0..2 {
            servers.late(server, UDP, Rtype::A, ms(3000));
        }
    }
    send(4, 3000);
    assert!(braked(Errand::Again, 3050) && !braked(Errand::First, 3050));
    // The network says so by itself.
    servers.unreachable(NEAR, UDP, ms(3060));
    assert!(!braked(Errand::Again, 3060));
}

#[test]
fn of_servers_that_were_silent_long_ago_one_tells_for_all() {
    let servers = known();
    let both = [NEAR, FAR];
    for server in both {
        for _ in 0..2 {
            servers.late(server, UDP, Rtype::A, ms(1000));
        }
    }
    let later = SILENT_FOR + ms(2000);
    let of = |now| servers.silence(&Name::root(), &both, now);
    assert_eq!(of(later), Silence::None);
    servers.late(FAR, UDP, Rtype::A, later);
    assert_eq!(of(later), Silence::Sure);
    servers.answered(NEAR, UDP, ms(10), later);
    assert_eq!(of(later), Silence::None);
}
