//! The machine of prefixes under virtual time.

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::*;

/// Answers, in a prefix of its own, every 100 ms.
const ELSEWHERE: &str = "192.0.2.1";
const ELSEWHERE_V6: &str = "2001:db8:ffff::1";

struct World {
    machine: PrefixMachine,
    now_ms: u64,
    /// Whether an address answers probes.
    lives: Box<dyn Fn(IpAddr) -> bool>,
    probing: bool,
    under_way: Vec<(u64, Name, IpAddr)>,
    changes: Vec<Change>,
    probes: usize,
    elsewhere_lives: bool,
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn zone(text: &str) -> Name {
    text.parse().unwrap()
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

impl World {
    fn new(lives: impl Fn(IpAddr) -> bool + 'static) -> World {
        World {
            machine: PrefixMachine::default(),
            now_ms: 1_000_000,
            lives: Box::new(lives),
            probing: true,
            under_way: Vec::new(),
            changes: Vec::new(),
            probes: 0,
            elsewhere_lives: true,
        }
    }

    fn without_probes(lives: impl Fn(IpAddr) -> bool + 'static) -> World {
        World {
            probing: false,
            ..World::new(lives)
        }
    }

    fn now(&self) -> Now {
        Now::new(
            Duration::from_millis(self.now_ms),
            1_700_000_000 + self.now_ms / 1000,
        )
    }

    /// A question to `address` for `name`, whose outcome is told now.
    fn ask(&mut self, address: &str, name: &str) {
        self.outcome(ip(address), &zone(name));
    }

    fn outcome(&mut self, address: IpAddr, name: &Name) {
        let now = self.now();
        let changes = match (self.lives)(address) {
            true => self.machine.answered(address, name, now),
            false => self.machine.failed(address, name, now),
        };
        self.changes.extend(changes);
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms += 50;
            let now = self.now();
            for other in [ELSEWHERE, ELSEWHERE_V6] {
                if self.elsewhere_lives && self.now_ms.is_multiple_of(100) {
                    self.machine.answered(ip(other), &zone("else."), now);
                }
            }
            let changes = self.machine.tick(now);
            self.changes.extend(changes);
            if self.probing {
                for Probe {
                    zone: name,
                    address,
                    ..
                } in self.machine.poll_probes(now.mono)
                {
                    let takes = if (self.lives)(address) { 50 } else { 2700 };
                    self.under_way.push((self.now_ms + takes, name, address));
                    self.probes += 1;
                }
            }
            let (over, still): (Vec<_>, Vec<_>) =
                (self.under_way.drain(..)).partition(|(at, ..)| *at <= self.now_ms);
            self.under_way = still;
            for (_, name, address) in over {
                self.outcome(address, &name);
            }
        }
    }

    fn dead(&self) -> Vec<String> {
        let dead = self.machine.dead();
        dead.iter().map(|d| d.prefix.to_string()).collect()
    }
}

/// The failures that make 203.0.113.0/24 suspect.
fn first_failures(world: &mut World) {
    world.pass(200);
    for (address, name) in [
        ("203.0.113.1", "a.com."),
        ("203.0.113.2", "b.com."),
        ("203.0.113.1", "a.com."),
    ] {
        world.ask(address, name);
        world.pass(100);
    }
}

#[test]
fn a_few_timeouts_across_addresses_and_zones_and_probes_make_a_verdict() {
    let mut world = World::new(|a| ip(ELSEWHERE) == a);
    first_failures(&mut world);
    assert_eq!(world.machine.counts(), (1, 0));
    world.pass(4000);
    assert_eq!(world.dead(), ["203.0.113.0/24"]);
    let evidence = &world.machine.dead()[0].evidence;
    assert_eq!(
        evidence,
        "5 failures in a row, of 203.0.113.1 and 203.0.113.2, as servers of a.com. and b.com."
    );
}

#[test]
fn clients_questions_confirm_without_probes() {
    let mut world = World::without_probes(|a| ip(ELSEWHERE) == a);
    first_failures(&mut world);
    assert_eq!(world.machine.counts(), (1, 0));
    world.ask("203.0.113.2", "b.com.");
    assert_eq!(world.machine.counts(), (1, 0), "one address is not enough");
    world.ask("203.0.113.1", "c.com.");
    assert_eq!(world.dead(), ["203.0.113.0/24"]);
}

#[test]
fn neither_one_address_nor_one_zone_is_a_prefix() {
    for (addresses, names) in [
        (["203.0.113.1", "203.0.113.1"], ["a.com.", "b.com."]),
        (["203.0.113.1", "203.0.113.2"], ["a.com.", "a.com."]),
    ] {
        let mut world = World::new(|a| ip(ELSEWHERE) == a);
        for i in 0..100 {
            world.pass(100);
            world.ask(addresses[i % 2], names[i % 2]);
        }
        assert_eq!(world.machine.counts(), (0, 0), "{addresses:?} {names:?}");
    }
}

#[test]
fn an_answer_from_any_address_of_the_prefix_clears_it_at_once() {
    let mut world = World::new(|a| ip(ELSEWHERE) == a);
    first_failures(&mut world);
    world.pass(4000);
    world.lives = Box::new(|_| true);
    world.ask("203.0.113.77", "d.com.");
    assert_eq!(world.machine.counts(), (0, 0));
    let last = world.changes.last().unwrap();
    assert!(
        matches!(last, Change::Returned(p, a, _) if *p == net("203.0.113.0/24") && *a == ip("203.0.113.77"))
    );
}

#[test]
fn probes_find_the_return_and_without_them_the_verdict_lapses() {
    for probing in [true, false] {
        let mut world = World::new(|a| ip(ELSEWHERE) == a);
        first_failures(&mut world);
        world.pass(60_000);
        // The probes keep it.
        assert_eq!(world.dead(), ["203.0.113.0/24"]);
        world.probing = probing;
        world.under_way.clear();
        world.lives = Box::new(|_| true);
        world.pass(30_000);
        assert_eq!(world.dead(), [""; 0], "{probing}");
    }
}

/// Who is dead costs little: what others ask there stands for probes, and most of these are one datagram.
#[test]
fn a_dead_prefix_that_is_asked_is_seldom_probed() {
    let machine = &mut PrefixMachine::default();
    let at = |ms: u64| Now::new(Duration::from_millis(ms), 0);
    for ms in (1000..2000).step_by(100) {
        machine.answered(ip(ELSEWHERE), &zone("else."), at(ms));
        let even = ms % 200 == 0;
        let (address, name) = if even {
            ("203.0.113.1", "a.")
        } else {
            ("203.0.113.2", "b.")
        };
        machine.failed(ip(address), &zone(name), at(ms));
    }
    assert_eq!(machine.counts(), (0, 1));
    // Per 100 ms from then on: all probes, and those over TCP.
    let mut probed = |from_ms: u64, asked_every_ms: Option<u64>| {
        let (mut all, mut over_tcp) = (0, 0);
        for ms in (from_ms..from_ms + 60_000).step_by(100) {
            if asked_every_ms.is_some_and(|every| ms % every == 0) {
                machine.failed(ip("203.0.113.1"), &zone("a."), at(ms));
            }
            for probe in machine.poll_probes(at(ms).mono) {
                (all, over_tcp) = (all + 1, over_tcp + usize::from(probe.over_tcp));
            }
        }
        (all, over_tcp)
    };
    assert_eq!(probed(2000, None), (12, 4));
    assert_eq!(probed(62_000, Some(4000)), (4, 4));
}

#[test]
fn after_a_lapse_one_failure_is_enough() {
    let mut world = World::without_probes(|a| ip(ELSEWHERE) == a);
    first_failures(&mut world);
    world.ask("203.0.113.2", "b.com.");
    world.ask("203.0.113.1", "c.com.");
    world.pass(26_000);
    assert_eq!(world.machine.counts(), (1, 0));
    world.ask("203.0.113.9", "z.com.");
    assert_eq!(world.dead(), ["203.0.113.0/24"]);
}

#[test]
fn one_living_server_outweighs_even_if_no_client_asks_it() {
    let living = ip("203.0.113.53");
    for probing in [true, false] {
        let mut world = World::new(move |a| a == living || a == ip(ELSEWHERE));
        world.probing = probing;
        world.ask("203.0.113.53", "z.com.");
        world.pass(300_000);
        for round in 0..20 {
            first_failures(&mut world);
            world.ask("203.0.113.2", "b.com.");
            world.pass(4000);
            assert_eq!(world.dead(), [""; 0], "round {round}");
        }
        assert!(world.changes.is_empty());
    }
}

#[test]
fn a_wide_prefix_takes_evidence_from_several_narrow_ones() {
    let lives = |a| ip(ELSEWHERE) == a;
    let questions = |places: &[u8]| {
        let places = places.to_vec();
        move |world: &mut World| {
            for i in 0..24 {
                world.pass(100);
                let place = places[i % places.len()];
                world.ask(&format!("198.18.{place}.1"), ["a.com.", "b.com."][i % 2]);
            }
            world.pass(4000);
        }
    };
    let mut world = World::new(lives);
    questions(&[1, 2])(&mut world);
    assert_eq!(world.dead(), [""; 0]);
    let mut world = World::new(lives);
    questions(&[1, 2, 3])(&mut world);
    assert_eq!(world.dead(), ["198.18.0.0/16"]);
    // What lives elsewhere in it speaks for it.
    let mut world = World::new(move |a| a == ip("198.18.200.1") || lives(a));
    world.ask("198.18.200.1", "z.com.");
    questions(&[1, 2, 3])(&mut world);
    assert_eq!(world.dead(), [""; 0]);
}

#[test]
fn ipv6_has_its_own_lengths() {
    let lives = |a| ip(ELSEWHERE_V6) == a;
    let mut world = World::new(lives);
    for i in 0..6 {
        world.pass(200);
        // Two networks of one /48.
        world.ask(
            ["2001:db8:1:a::1", "2001:db8:1:b::1"][i % 2],
            ["a.", "b."][i % 2],
        );
    }
    world.pass(4000);
    assert_eq!(world.dead(), ["2001:db8:1::/48"]);
    let mut world = World::new(|_| false);
    world.elsewhere_lives = false;
    world
        .machine
        .answered(ip("2001:db9::1"), &zone("else."), world.now());
    for i in 0..12 {
        world
            .machine
            .answered(ip("2001:db9::1"), &zone("else."), world.now());
        world.ask(&format!("2001:db8:{}::1", i % 3), ["a.", "b."][i % 2]);
        world.pass(100);
    }
    for _ in 0..40 {
        world
            .machine
            .answered(ip("2001:db9::1"), &zone("else."), world.now());
        world.pass(100);
    }
    assert_eq!(world.dead(), ["2001:db8::/32"]);
}

#[test]
fn a_family_in_which_nothing_answers_is_no_matter_of_prefixes() {
    let mut world = World::new(|_| false);
    world.elsewhere_lives = false;
    first_failures(&mut world);
    world.pass(10_000);
    first_failures(&mut world);
    assert_eq!((world.machine.counts(), world.probes), ((0, 0), 0));
    // Answers over the other family do not count.
    world
        .machine
        .answered(ip(ELSEWHERE_V6), &zone("else."), world.now());
    first_failures(&mut world);
    assert_eq!(world.machine.counts(), (0, 0));
}

#[test]
fn the_loss_of_the_uplink_is_no_matter_of_prefixes() {
    for probing in [true, false] {
        let mut world = World::new(|_| false);
        world.probing = probing;
        world.pass(1000);
        world.elsewhere_lives = false;
        for _ in 0..20 {
            first_failures(&mut world);
            world.ask("203.0.113.2", "b.com.");
        }
        assert_eq!(world.dead(), [""; 0]);
    }
}

// No client asks anything else meanwhile.
#[test]
fn in_an_idle_network_a_probe_elsewhere_tells_the_prefix_from_the_family() {
    let mut world = World::new(|a| ip(ELSEWHERE) == a);
    world.pass(1000);
    world.elsewhere_lives = false;
    first_failures(&mut world);
    world.pass(4000);
    assert_eq!(world.dead(), ["203.0.113.0/24"]);
}

// Loss is no silence: what is lost at random is never a verdict for long, and what is dead is one whatever the order.
#[test]
fn lossy_prefixes_live_and_dead_ones_die_whatever_the_seed() {
    for seed in 0..40 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut world = World::new(|a| ip(ELSEWHERE) == a);
        for _ in 0..600 {
            world.pass(50);
            let host = rng.random_range(1..6);
            let name = zone(&format!("z{}.", rng.random_range(0..9)));
            let lossy = IpAddr::from([198, 51, 100, host]);
            let now = world.now();
            match rng.random_ratio(30, 100) {
                true => world.machine.failed(lossy, &name, now),
                false => world.machine.answered(lossy, &name, now),
            };
            world
                .machine
                .failed(IpAddr::from([203, 0, 113, host]), &name, now);
        }
        assert_eq!(world.dead(), ["203.0.113.0/24"], "seed {seed}");
    }
}

#[test]
fn probes_are_bounded_over_all_prefixes_and_every_return_is_found() {
    let mut world = World::new(|a| ip(ELSEWHERE) == a);
    world.pass(200);
    for i in 0..200u8 {
        for round in 0..6 {
            let address = IpAddr::from([100 + i % 50, i, 1, 1 + round % 2]);
            world.outcome(address, &zone(["a.", "b."][usize::from(round % 2)]));
            world.now_ms += 1;
            let now = world.now();
            world.machine.answered(ip(ELSEWHERE), &zone("else."), now);
        }
    }
    assert!(world.machine.counts().1 >= 200);
    world.probes = 0;
    world.pass(20_000);
    let most = PROBES_PER_S as usize * 21;
    assert!(world.probes <= most, "{}", world.probes);
    assert!(world.probes > most / 2, "{}", world.probes);
    world.lives = Box::new(|_| true);
    world.under_way.clear();
    world.pass(30_000);
    assert_eq!(world.machine.counts().1, 0);
}

#[test]
fn the_tables_are_bounded() {
    let mut machine = PrefixMachine::default();
    for i in 0..40_000u32 {
        let now = Now::new(Duration::from_millis(i.into()), 0);
        let [_, a, b, _] = i.to_be_bytes();
        for host in 1..4 {
            let address = IpAddr::from([a, b, i as u8, host]);
            machine.failed(address, &zone(["a.", "b."][(host % 2) as usize]), now);
            machine.answered(ip("2001:db8::1"), &zone("c."), now);
        }
        assert!(machine.narrow.len() <= NARROW_MAX && machine.wide.len() <= WIDE_MAX);
        assert!(machine.troubled.len() <= NARROW_MAX + WIDE_MAX);
    }
    let most = machine.narrow.values().map(|b| b.members.len()).max();
    assert!(most <= Some(MEMBERS_MAX));
}
