//! The sieve before a queue of the tests' own, under their clock.

use super::*;

/// The network with this number.
fn network(n: usize) -> Network {
    Network::Four(0x0A00_0000 + ((n as u32) << 8))
}

fn sender(n: usize) -> IpAddr {
    network(n).address()
}

fn rates(rates: &[f64]) -> Vec<(Network, f64)> {
    let numbered = rates.iter().enumerate();
    numbered.map(|(n, rate)| (network(n), *rate)).collect()
}

/// What is let in a second of each network.
fn let_in(of: &[f64], rest: f64, work: f64) -> Vec<f64> {
    let shares = shares(&rates(of), rest, work, DATAGRAMS.level_min_per_s);
    let share = |n| shares.iter().find(|sieved| sieved.network == network(n));
    let numbered = of.iter().enumerate();
    let each = numbered.map(|(n, rate)| rate * share(n).map_or(1.0, |sieved| sieved.share));
    each.map(f64::round).collect()
}

#[test]
fn what_is_above_one_level_is_cut_off() {
    for (of, rest, work, expected) in [
        // All fits.
        (&[900.0, 50.0][..], 50.0, 1000.0, &[900.0, 50.0][..]),
        // One network, and the others as they were.
        (&[9000.0, 50.0], 50.0, 1000.0, &[900.0, 50.0]),
        // Several have the same level, whatever they ask.
        (
            &[9000.0, 900.0, 600.0, 10.0],
            0.0,
            910.0,
            &[300.0, 300.0, 300.0, 10.0],
        ),
        // Who is below the level of the others is not touched.
        (
            &[9000.0, 900.0, 200.0, 10.0],
            0.0,
            1010.0,
            &[400.0, 400.0, 200.0, 10.0],
        ),
        // There is more than can be cut: what is cut keeps a little.
        (&[9000.0, 30.0, 10.0], 5000.0, 1000.0, &[20.0, 20.0, 10.0]),
        (&[], 5000.0, 1000.0, &[]),
    ] {
        assert_eq!(let_in(of, rest, work), expected, "{of:?}, {rest}, {work}");
    }
}

#[test]
fn no_network_is_cut_below_one_that_does_not_fit_into_the_filter() {
    let mut of = vec![1000.0; SIEVED_MAX];
    of.extend([400.0; 100]);
    let let_in = let_in(&of, 0.0, 1000.0);
    assert!(let_in.iter().all(|rate| *rate == 400.0));
    let alike = rates(&[50.0; 2 * SIEVED_MAX]);
    assert!(shares(&alike, 0.0, 1000.0, DATAGRAMS.level_min_per_s).is_empty());
}

/// A socket to which networks ask so much a second, and whose thread takes so many.
struct Queue {
    sieve: Sieve,
    rates: Vec<f64>,
    capacity: f64,
    pressure: Pressure,
    queued: f64,
    now: Duration,
    /// Parts of datagrams.
    parts: Vec<f64>,
}

impl Queue {
    fn new(rates: &[f64]) -> Queue {
        Queue {
            sieve: Sieve::new(DATAGRAMS),
            rates: rates.to_vec(),
            capacity: 20_000.0,
            pressure: Pressure {
                queued: 0,
                room: 1000 * DATAGRAM_OCTETS,
                dropped: 0,
            },
            queued: 0.0,
            now: Duration::ZERO,
            parts: vec![0.0; rates.len()],
        }
    }

    /// Datagrams that may wait.
    fn room(&self) -> f64 {
        f64::from(self.pressure.room / DATAGRAM_OCTETS)
    }

    /// What of each network is let in now.
    fn passes(&self, n: usize) -> f64 {
        self.rates[n] * self.sieve.share_of(network(n))
    }

    /// Goes on to the next look; whether the filter was changed, and how many were lost for want of room.
    fn pass(&mut self) -> (Outcome, f64) {
        let seconds = LOOK_INTERVAL.as_secs_f64();
        self.now += LOOK_INTERVAL;
        let come: f64 = (0..self.rates.len()).map(|n| self.passes(n)).sum();
        let asked: f64 = self.rates.iter().sum();
        let waiting = self.queued + come * seconds;
        let taken = waiting.min(self.capacity * seconds);
        self.queued = (waiting - taken).min(self.room());
        let lost = waiting - taken - self.queued;
        let mut spared = 0.0;
        for n in 0..self.rates.len() {
            let taken = self.parts[n] + self.passes(n) / come * taken;
            self.parts[n] = taken.fract();
            if self.sieve.is_counting() {
                for _ in 0..taken as usize {
                    let is_answered = self.sieve.count(sender(n), || n == 1);
                    // To take it costs a tenth of an answer.
                    spared += if is_answered { 0.0 } else { 0.9 };
                }
            }
        }
        self.queued = (self.queued - spared).max(0.0);
        self.sieve.took(taken as usize);
        self.pressure.queued = (self.queued * f64::from(DATAGRAM_OCTETS)) as u32;
        let filtered = (asked - come) * seconds;
        let dropped = self.pressure.dropped;
        self.pressure.dropped = dropped.wrapping_add((lost + filtered) as u32);
        (self.sieve.look(self.pressure, self.now), lost)
    }

    /// The thread has no core for so long.
    fn stall(&mut self, time: Duration) {
        self.now += time;
        let come: f64 = (0..self.rates.len()).map(|n| self.passes(n)).sum();
        let waiting = self.queued + come * time.as_secs_f64();
        self.queued = waiting.min(self.room());
        let lost = (waiting - self.queued) as u32;
        self.pressure.dropped = self.pressure.dropped.wrapping_add(lost);
    }

    /// How many looks it takes until there is a filter.
    fn looks_until_sieved(&mut self) -> usize {
        let looks = (1..1000).find(|_| self.pass().0.shares.is_some());
        looks.expect("it is cut")
    }
}

#[test]
fn a_flood_is_cut_off_before_the_queue_and_nobody_else_is() {
    // A flood, who asks much and is spared, and honest ones.
    let mut queue = Queue::new(&[90_000.0, 8000.0, 300.0, 10.0]);
    queue.pressure.dropped = u32::MAX - 100;
    // What is usual is not known.
    let patience = FLOOD.patience.div_duration_f64(LOOK_INTERVAL) as usize;
    assert_eq!(queue.looks_until_sieved(), 1 + patience);
    queue.pass();
    let mut long = 0;
    for _ in 0..6000 {
        let (outcome, lost) = queue.pass();
        assert_eq!(lost, 0.0);
        long += usize::from(queue.pressure.is_long());
        assert_eq!([1, 2, 3].map(|n| queue.passes(n)), [8000.0, 300.0, 10.0]);
        assert!(queue.passes(0) >= 1000.0);
        if let [(who, unseen), ..] = outcome.unseen[..] {
            assert_eq!(who, sender(0));
            assert!(unseen > 0);
        }
    }
    // As it grows it finds its bound again, every seven seconds or so.
    assert!(long <= 10, "{long} of 6000");
    // Over: all of it goes.
    queue.rates[0] = 100.0;
    queue.queued = 0.0;
    let went = (0..400).find_map(|_| queue.pass().0.shares.filter(Vec::is_empty));
    assert!(went.is_some());
    assert!((0..400).all(|_| queue.pass().0.shares.is_none()));
    assert!(!queue.sieve.is_counting());
}

#[test]
fn a_surge_is_cut_at_once_and_nobody_waits_long_from_then_on() {
    let mut queue = Queue::new(&[0.0, 8000.0, 300.0, 10.0]);
    assert!((0..300).all(|_| queue.pass().0.shares.is_none()));
    queue.rates[0] = 90_000.0;
    assert_eq!(queue.looks_until_sieved(), SURGE_LOOKS as usize);
    assert_eq!([1, 2, 3].map(|n| queue.passes(n)), [8000.0, 300.0, 10.0]);
    // What waited is taken, and then the flood never fills more than a part of the queue.
    (0..6).for_each(|_| drop(queue.pass()));
    for look in 0..6000 {
        queue.pass();
        assert!(queue.queued < 250.0, "look {look}: {}", queue.queued);
    }
    // Over, and come again: it is as unusual as before.
    queue.rates[0] = 0.0;
    assert!((0..500).any(|_| queue.pass().0.shares.is_some_and(|s| s.is_empty())));
    (0..300).for_each(|_| drop(queue.pass()));
    queue.rates[0] = 90_000.0;
    assert_eq!(queue.looks_until_sieved(), SURGE_LOOKS as usize);
}

#[test]
fn what_grows_tenfold_behind_a_filter_is_cut_before_the_next_second() {
    let mut queue = Queue::new(&[90_000.0, 300.0, 10.0]);
    queue.looks_until_sieved();
    (0..300).for_each(|_| drop(queue.pass()));
    queue.rates[0] = 900_000.0;
    let looks = (1..).find(|_| {
        queue.pass();
        queue.queued > 500.0
    });
    let until_short = (1..1000).find(|_| {
        queue.pass();
        queue.queued < 125.0
    });
    assert!(
        until_short.is_some_and(|n| n <= 6),
        "{looks:?}, {until_short:?}"
    );
    assert_eq!([1, 2].map(|n| queue.passes(n)), [300.0, 10.0]);
}

#[test]
fn who_comes_as_usual_would_not_find_room_in_half_of_what_is_taken() {
    let mut queue = Queue::new(&[0.0, 12_000.0]);
    (0..300).for_each(|_| drop(queue.pass()));
    queue.rates[0] = 90_000.0;
    let patience = FLOOD.patience.div_duration_f64(LOOK_INTERVAL) as usize;
    assert_eq!(queue.looks_until_sieved(), 1 + patience);
}

#[test]
fn after_a_moment_without_a_core_nothing_is_cut() {
    let mut queue = Queue::new(&[4000.0, 600.0, 10.0]);
    (0..300).for_each(|_| drop(queue.pass()));
    for ms in [15, 30, 60, 250, 1000] {
        queue.stall(Duration::from_millis(ms));
        for look in 0..300 {
            assert_eq!(queue.pass().0.shares, None, "{ms} ms, look {look}");
        }
    }
    // Again and again, as beside somebody else's work.
    for look in 0..300 {
        queue.stall(Duration::from_millis(30));
        assert_eq!(queue.pass().0.shares, None, "look {look}");
    }
}

#[test]
fn a_deep_queue_loses_nothing_while_the_machine_stands_still_and_a_flood_is_cut_as_soon() {
    let deep = |rates: &[f64]| {
        let mut queue = Queue::new(rates);
        queue.capacity = 90_000.0;
        queue.pressure.room = 4 * RECKONED_ROOM_OCTETS;
        (0..300).for_each(|_| drop(queue.pass()));
        queue
    };
    let mut queue = deep(&[62_000.0, 1000.0]);
    for look in 0..1000 {
        if look % 200 == 0 {
            queue.stall(Duration::from_millis(200));
        }
        let (outcome, lost) = queue.pass();
        assert_eq!((outcome.shares, lost), (None, 0.0), "look {look}");
    }
    assert_eq!(queue.pressure.dropped, 0);
    // Half of what is taken is less than is usual, so there is some patience; all that waits by then fits.
    let mut queue = deep(&[0.0, 60_000.0, 300.0]);
    queue.rates[0] = 90_000.0;
    let patience = FLOOD.patience.div_duration_f64(LOOK_INTERVAL) as usize;
    let looks = queue.looks_until_sieved();
    assert!(looks <= 20 + patience, "{looks}");
    assert_eq!(queue.pressure.dropped, 0);
    let reckoned = f64::from(RECKONED_ROOM_OCTETS / DATAGRAM_OCTETS);
    let until_short = (1..1000).find(|_| {
        queue.pass();
        queue.queued < reckoned / 8.0
    });
    assert!(until_short.is_some_and(|n| n <= 100), "{until_short:?}");
}

#[test]
fn a_burst_of_other_work_costs_nobody_anything_more() {
    // Seven tenths of what is taken; for a fifth of a second half of the core goes to something else.
    let mut queue = Queue::new(&[14_000.0, 8.0]);
    let mut lost = 0.0;
    for look in 0..400 {
        queue.capacity = match (100..120).contains(&look) {
            true => 10_000.0,
            false => 20_000.0,
        };
        let (outcome, now) = queue.pass();
        assert_eq!(outcome.shares, None, "look {look}");
        lost += now;
    }
    assert_eq!(lost, 0.0);
    assert!(!queue.sieve.is_counting());
}

#[test]
fn one_loss_after_a_moment_without_a_core_changes_nothing() {
    let mut queue = Queue::new(&[15_000.0, 600.0]);
    queue.pass();
    queue.queued = 200.0;
    queue.pressure.dropped += 500;
    assert_eq!(queue.pass().0.dropped, 500);
    assert!(queue.sieve.is_counting());
    // Less than one in two hundred of what was taken meanwhile.
    queue.pressure.dropped += 1;
    assert_eq!(queue.pass().0.shares, None);
    assert!((0..400).all(|_| queue.pass().0.shares.is_none()));
    assert!(!queue.sieve.is_counting());
}

#[test]
fn what_is_dropped_for_its_faults_is_no_flood() {
    // Damaged datagrams, many times as many as good ones, from before anything is usual and later on.
    for calm in [0, 300] {
        let mut queue = Queue::new(&[60.0; 10]);
        (0..calm).for_each(|_| drop(queue.pass()));
        for look in 0..600 {
            queue.pressure.dropped += 300;
            assert_eq!(queue.pass().0.shares, None, "look {look}");
        }
        assert!(!queue.sieve.is_counting());
    }
    // Behind a filter they make it no narrower: all that comes through is taken.
    let mut queue = Queue::new(&[60_000.0, 0.0, 300.0]);
    queue.looks_until_sieved();
    (0..300).for_each(|_| drop(queue.pass()));
    let before = queue.passes(0);
    for _ in 0..300 {
        queue.pressure.dropped += 300;
        queue.pass();
    }
    assert!(queue.passes(0) > 0.9 * before && queue.passes(2) == 300.0);
}

#[test]
fn what_comes_as_usual_loses_little_more_than_a_slow_thread_must() {
    // Many alike, and a thread that is too slow for them again and again: by a little or by much, for a moment or for long.
    for (slow, time, allowed) in [
        (17_000.0, Duration::from_millis(400), 0.0),
        (17_000.0, Duration::from_secs(4), 0.05),
        (10_000.0, Duration::from_millis(400), 0.0),
        (10_000.0, Duration::from_secs(4), 0.1),
    ] {
        let mut queue = Queue::new(&[1125.0; 16]);
        let seconds = LOOK_INTERVAL.as_secs_f64();
        (0..300).for_each(|_| drop(queue.pass()));
        let (mut lost, mut least, mut come) = (0.0, 0.0, 0.0);
        let begin = queue.now;
        while queue.now < begin + Duration::from_secs(64) {
            let at = (queue.now - begin).as_millis() % 8000;
            queue.capacity = if at < time.as_millis() {
                slow
            } else {
                20_000.0
            };
            let passed: f64 = (0..16).map(|n| queue.passes(n)).sum();
            let (_, full) = queue.pass();
            come += 18_000.0 * seconds;
            lost += full + (18_000.0 - passed) * seconds;
            least += (18_000.0 - queue.capacity).max(0.0) * seconds;
        }
        assert!(
            lost - least <= allowed * come,
            "{slow} {time:?}: {lost}, {least} of {come}"
        );
    }
}

#[test]
fn who_waits_for_answers_and_asks_on_is_no_flood() {
    // As much as is answered, and a tenth of the queue outstanding all the time.
    let mut queue = Queue::new(&[0.0, 10.0]);
    (0..300).for_each(|_| drop(queue.pass()));
    queue.rates[0] = queue.capacity;
    for look in 0..600 {
        queue.queued = 90.0 + f64::from(look % 8);
        assert_eq!(queue.pass().0.shares, None, "look {look}");
    }
}

#[test]
fn a_flood_hardly_above_what_is_usual_costs_others_less_than_a_full_queue_would() {
    let mut queue = Queue::new(&[19_000.0, 0.0, 300.0]);
    assert!((0..300).all(|_| queue.pass().0.shares.is_none()));
    queue.rates[0] = 23_000.0;
    let (mut lost, mut come) = (0.0, 0.0);
    for _ in 0..6000 {
        let all = queue.passes(0) + queue.passes(2);
        assert_eq!(queue.passes(2), 300.0);
        lost += queue.pass().1 * 300.0 / all;
        come += 300.0 * LOOK_INTERVAL.as_secs_f64();
    }
    // Without a sieve a seventh of all.
    assert!(lost < 0.1 * come, "{lost} of {come}");
}

#[test]
fn a_filter_is_short_enough_for_the_kernel() {
    let six = |n: usize| Network::Six((n as u64) << 8);
    for of in [network, six] {
        let networks = (0..SIEVED_MAX).map(of);
        let shares: Vec<_> = networks
            .map(|network| Share {
                network,
                share: 0.5,
            })
            .collect();
        // linux/bpf_common.h: BPF_MAXINSNS.
        assert!(filter(CONNECTIONS, &shares).len() <= 4096);
    }
}

/// A listening socket: what comes are whole connections of 250 networks that attack, each of which opens few between two looks, and of 50 that do not.
struct Line {
    sieve: Sieve,
    waiting: Vec<usize>,
    dropped: u32,
    now: Duration,
    seed: u64,
    honest: u32,
    refused: u32,
}

impl Line {
    const ATTACKERS: usize = 250;
    const ROOM: usize = 4096;

    fn new() -> Line {
        Line {
            sieve: Sieve::new(CONNECTIONS),
            waiting: Vec::new(),
            dropped: 0,
            now: Duration::ZERO,
            seed: 7,
            honest: 0,
            refused: 0,
        }
    }

    /// Fractions of connections: those that come by chance.
    fn chance(&mut self) -> f64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005);
        self.seed = self.seed.wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 40) as f64 / f64::from(1 << 24)
    }

    fn come(&mut self, attack_per_s: f64, time: Duration) {
        for n in 0..Self::ATTACKERS + 50 {
            let is_honest = n >= Self::ATTACKERS;
            let per_s = match is_honest {
                true => 2.0,
                false => attack_per_s / Self::ATTACKERS as f64,
            };
            let mut come = per_s * time.as_secs_f64();
            let share = self.sieve.share_of(network(n));
            while come > self.chance() {
                come -= 1.0;
                let is_let_in = self.chance() < share && self.waiting.len() < Self::ROOM;
                self.dropped += u32::from(!is_let_in);
                self.honest += u32::from(is_honest);
                self.refused += u32::from(is_honest && !is_let_in);
                if is_let_in {
                    self.waiting.push(n);
                }
            }
        }
    }

    /// Goes on to the next look.
    fn pass(&mut self, attack_per_s: f64, capacity_per_s: f64) -> Outcome {
        self.now += LOOK_INTERVAL;
        self.come(attack_per_s, LOOK_INTERVAL);
        let capacity = capacity_per_s * LOOK_INTERVAL.as_secs_f64();
        let taken = self.waiting.len().min(capacity as usize);
        self.sieve.took(taken);
        for n in self.waiting.drain(..taken) {
            if self.sieve.is_counting() && !self.sieve.count(sender(n), || false) {
                self.refused += u32::from(n >= Self::ATTACKERS);
            }
        }
        let pressure = Pressure::of_line(self.waiting.len(), Self::ROOM, self.dropped);
        self.sieve.look(pressure, self.now)
    }

    /// The thread has no core for so long.
    fn stall(&mut self, attack_per_s: f64, time: Duration) {
        self.now += time;
        self.come(attack_per_s, time);
    }
}

#[test]
fn a_flood_of_connections_from_many_networks_leaves_room_for_all_others() {
    let mut line = Line::new();
    let mut longest = 0;
    for look in 0..1000 {
        let attack_per_s = match look {
            ..300 => 0.0,
            300..600 => 60_000.0,
            _ => 600_000.0,
        };
        line.pass(attack_per_s, 25_000.0);
        // Three tenths of a second after it begins, and one after it is ten times as much.
        if (330..600).contains(&look) || look >= 610 {
            longest = longest.max(line.waiting.len());
        }
    }
    // Never half of what a line is reckoned by, which is taken in 20 ms.
    assert!(line.sieve.is_sieving() && longest < 512, "{longest}");
    // At the begin some find the line full.
    let (honest, refused) = (line.honest, line.refused);
    assert!(refused * 100 < honest, "{refused} of {honest}");
    // Over: all of it goes.
    let went = (0..1000).any(|_| {
        let outcome = line.pass(0.0, 25_000.0);
        outcome.shares.is_some_and(|shares| shares.is_empty())
    });
    assert!(went && !line.sieve.is_sieving());
}

#[test]
fn a_line_that_has_hardly_less_than_it_takes_is_short_again_soon_after_a_moment_without_a_core() {
    let (attack, capacity) = (25_000.0, 26_000.0);
    let mut line = Line::new();
    (0..300).for_each(|_| drop(line.pass(attack, capacity)));
    assert_eq!(
        line.sieve.usual.per_s().map(|per_s| per_s > 20_000.0),
        Some(true)
    );
    line.stall(attack, Duration::from_millis(60));
    assert!(line.waiting.len() > 1024);
    let looks = (0..300).find(|_| {
        line.pass(attack, capacity);
        line.waiting.len() < 128
    });
    // What is left over of its time alone would take 1.4 s.
    assert!(looks.is_some_and(|looks| looks < 40), "{looks:?}");
    assert_eq!(line.refused, 0);
}

#[test]
fn the_line_that_is_nearer_to_its_end_counts() {
    let line = Pressure::of_line(100, 1024, 7);
    let longer = Pressure::of_line(60, 512, 7);
    assert_eq!(line.or_longer(longer), longer);
    assert_eq!(longer.or_longer(line), longer);
    assert_eq!(line.or_longer(Pressure::of_line(0, 0, 7)), line);
}
