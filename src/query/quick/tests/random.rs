//! Random zones and random questions, by both ways: whatever is in the zones, and however odd the names are, both say the same octets.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use super::*;
use crate::zone::{LookupKind, Place, ZoneImage};

/// Worlds that are made one after the other, and questions in each.
const WORLDS: u64 = 16;
const QUESTIONS: usize = 1000;
const APEX: &str = "zone.example.";
const COPY: &str = "copy.";

/// A copy of a zone that is asked first, and nobody else.
struct Copied {
    image: ZoneImage,
    /// Zones that others hold.
    others: Vec<Name>,
    standing: AtomicU64,
}

impl Resolve for Copied {
    fn cached(&self, question: &Question, options: Options) -> Option<Resolution> {
        let lookup = self.image.lookup(&question.name, question.rtype);
        let is_of_other = (self.others.iter()).any(|other| question.name.is_within(other));
        let rcode = match &lookup.kind {
            LookupKind::NxDomain if !is_of_other => Rcode::NXDOMAIN,
            LookupKind::Answer | LookupKind::NoData | LookupKind::Alias(_) => Rcode::NOERROR,
            LookupKind::Referral(_) if !options.recursion => Rcode::NOERROR,
            _ => Rcode::REFUSED,
        };
        let note = MirrorNote {
            zone: self.image.apex().clone(),
            serial: 1,
            age_s: 0,
            trust: LocalTrust::Secure,
        };
        Some(Resolution {
            rcode,
            answer: lookup.answer,
            authority: lookup.authority,
            additional: lookup.additional,
            security: Security::Secure,
            errors: Vec::new(),
            sources: Sources {
                mirrors: vec![note],
                settled: true,
                ..Sources::default()
            },
        })
    }

    fn resolve(&self, _: Question, _: Options) -> BoxFuture<'_, Resolution> {
        unreachable!("everything is at hand")
    }

    fn standing(&self) -> Option<u64> {
        Some(self.standing.load(Ordering::Relaxed))
    }

    fn landmarks(&self) -> Vec<Name> {
        self.others.clone()
    }
}

fn label(rng: &mut SmallRng) -> String {
    let labels = [
        "a", "b", "c", "m", "x", "z", "ns", "h", "B", r"\000", r"\001", r"a\000", r"a\001",
        r"a\.b", r"\255", "*", "aa",
    ];
    match rng.random_range(0..40) {
        0 => "l".repeat(63),
        1 => r"\000".repeat(63),
        _ => (*labels.choose(rng).unwrap()).into(),
    }
}

/// A name with up to so many random labels below `above`, or that where there is no room.
fn below(above: &Name, labels_max: usize, rng: &mut SmallRng) -> Name {
    let mut name = above.clone();
    for _ in 0..rng.random_range(0..=labels_max) {
        if let Ok(longer) = format!("{}.{name}", label(rng)).replace("..", ".").parse() {
            name = longer;
        }
    }
    name
}

fn built(apex: &Name, records: &[String]) -> ZoneImage {
    let mut builder = crate::zone::Builder::new(apex.clone());
    let text = format!("{apex} 300 SOA ns.{apex} h.{apex} 1 1 1 1 60\n{apex} 300 NS ns.{apex}\n");
    for line in std::iter::once(&text).chain(records) {
        for record in crate::zone::parse::records(line.as_bytes(), "test", Some(apex)) {
            // What does not go together is left out.
            let _ = record.map(|record| builder.add(record));
        }
    }
    builder.finish().unwrap()
}

/// A zone with whatever zones have, and a chain of denials that is whole if `is_whole`, and else has been forgotten in places.
fn zone(apex: &Name, is_whole: bool, rng: &mut SmallRng) -> (ZoneImage, Vec<Name>) {
    let mut records = Vec::new();
    let mut names = vec![apex.clone()];
    // A name has one of these kinds.
    let mut taken = std::collections::HashSet::from([apex.clone()]);
    for _ in 0..rng.random_range(0..12) {
        let name = below(apex, 3, rng);
        let other = below(apex, 2, rng);
        let server: Option<Name> = format!("ns.{name}").parse().ok();
        let kind = rng.random_range(0..10);
        if !taken.insert(name.clone()) {
            continue;
        }
        let data = match kind {
            0..3 => "A 192.0.2.1".into(),
            3 => "TXT x".into(),
            4 => format!("CNAME {other}"),
            5 => format!("DNAME {other}"),
            6..8 if server
                .as_ref()
                .is_some_and(|server| taken.insert(server.clone())) =>
            {
                records.push(format!("ns.{name} 300 A 192.0.2.9\n"));
                format!("NS ns.{name}")
            }
            6..9 => format!("NS {other}"),
            _ => format!("MX 1 {other}"),
        };
        records.push(format!("{name} 300 {data}\n"));
        names.extend([name, other]);
    }
    let plain = built(apex, &records);
    let is_owner =
        |node: &crate::zone::Node| node.place != Place::Occluded && !node.sets.is_empty();
    let owners: Vec<Name> = (plain.nodes().filter(is_owner))
        .map(|node| node.name)
        .collect();
    if rng.random_bool(0.1) {
        return (plain, names);
    }
    let mut listed = owners.clone();
    if !is_whole {
        listed.retain(|name| name == apex || rng.random_bool(0.7));
    }
    for (at, name) in listed.iter().enumerate() {
        let next = &listed[(at + 1) % listed.len()];
        records.push(format!("{name} 60 NSEC {next} A NSEC\n"));
    }
    names.extend(owners);
    (built(apex, &records), names)
}

struct World {
    setup: Setup,
    names: Vec<Name>,
}

fn world(rng: &mut SmallRng) -> World {
    let (apex, copy_apex): (Name, Name) = (APEX.parse().unwrap(), COPY.parse().unwrap());
    let is_whole = rng.random_bool(0.5);
    let (image, mut names) = zone(&apex, is_whole, rng);
    let (copy, of_copy) = zone(&copy_apex, true, rng);
    names.extend(of_copy);
    let mut zones = vec![(apex.clone(), OwnZone::Loaded(Arc::new(image)))];
    for above in [&apex, &copy_apex] {
        if rng.random_bool(0.4) {
            let nested = below(above, 2, rng);
            if nested != *above {
                let (image, more) = zone(&nested, true, rng);
                zones.push((nested, OwnZone::Loaded(Arc::new(image))));
                names.extend(more);
            }
        }
    }
    let others: Vec<Name> = match rng.random_bool(0.3) {
        true => vec![below(&copy_apex, 2, rng)],
        false => Vec::new(),
    };
    names.extend(others.iter().filter(|name| **name != copy_apex).cloned());
    let access = config::Access {
        allow: vec!["192.0.2.0/24".parse().unwrap()],
        ..config::Access::default()
    };
    let settings = Settings {
        access: AccessList::new(&access),
        zones: OwnZones::new(zones),
        udp_size_max: 1232,
        ..Settings::default()
    };
    let settings = Arc::new(arc_swap::ArcSwap::from_pointee(settings));
    let clock = Clock::starting_at(Duration::from_secs(1_559_731_985));
    let copied = Copied {
        image: copy,
        others: others
            .into_iter()
            .filter(|name| *name != copy_apex)
            .collect(),
        standing: AtomicU64::new(1),
    };
    let metrics = Arc::new(Metrics::default());
    let pipeline = Pipeline::new(settings.clone(), Some(Arc::new(copied)), metrics.clone())
        .with_cookies(Cookies::new([7; 16]), clock.clone())
        .with_ready_answers(1 << 20, clock.clone());
    let kept = pipeline.ready_answers(1).unwrap();
    let resolver = at_hand(clock);
    World {
        setup: Setup {
            pipeline,
            settings,
            resolver,
            metrics,
            kept,
        },
        names,
    }
}

fn question(names: &[Name], rng: &mut SmallRng) -> (Name, Rtype) {
    let types = [
        Rtype::A,
        Rtype::A,
        Rtype::NS,
        Rtype::SOA,
        Rtype::DS,
        Rtype::CNAME,
        Rtype::DNAME,
        Rtype::NSEC,
        Rtype::RRSIG,
        Rtype(65_400),
    ];
    let known = names.choose(rng).unwrap();
    let labels = *[0, 1, 1, 2, 3, 120].choose(rng).unwrap();
    let name = match rng.random_bool(0.5) {
        true => known.clone(),
        false => known
            .parent()
            .filter(|p| !p.is_root())
            .unwrap_or_else(|| known.clone()),
    };
    (below(&name, labels, rng), *types.choose(rng).unwrap())
}

fn spelled(wire: &mut [u8], rng: &mut SmallRng) {
    let mut at = crate::dns::message::HEADER_LEN;
    while wire[at] != 0 {
        let len = usize::from(wire[at]);
        for octet in &mut wire[at + 1..=at + len] {
            if rng.random_bool(0.2) {
                *octet = match octet.is_ascii_lowercase() {
                    true => octet.to_ascii_uppercase(),
                    false => octet.to_ascii_lowercase(),
                };
            }
        }
        at += len + 1;
    }
}

#[tokio::test(start_paused = true)]
async fn random_zones_say_the_same_by_both_ways() {
    let mut ready = 0;
    for seed in 0..WORLDS {
        let rng = &mut SmallRng::seed_from_u64(seed);
        let World { mut setup, names } = world(rng);
        // Few forms in one world, so that answers repeat.
        let forms = [rng.random_range(0..6), rng.random_range(0..6)];
        for _ in 0..QUESTIONS {
            if rng.random_bool(0.005) {
                tokio::time::advance(Duration::from_millis(2100)).await;
            }
            let (name, rtype) = question(&names, rng);
            let form = *forms.choose(rng).unwrap();
            let mut message = Message::query(rng.random(), Question::new(name.clone(), rtype));
            message.recursion_desired = rng.random_bool(0.3);
            match form {
                1 => edns(1232, true, vec![])(&mut message),
                2 => edns(1232, true, vec![(option::COOKIE, vec![9; 8])])(&mut message),
                3 => edns(512, true, vec![])(&mut message),
                4 => message.checking_disabled = true,
                5 => edns(4096, false, vec![])(&mut message),
                _ => {}
            }
            let mut wire = message.encode(MESSAGE_LEN_MAX);
            let from = ["192.0.2.9:4000", "198.51.100.7:53"].choose(rng).unwrap();
            let from = from.parse().unwrap();
            for _ in 0..rng.random_range(1..5) {
                spelled(&mut wire, rng);
                let general = setup.general(&wire, from);
                let (found, reply) = setup.turn(&wire, from);
                assert!(
                    reply == general,
                    "{seed} {name} {rtype} {form} {found:?}\n{:?}\n{:?}",
                    reply.map(|octets| Message::parse(&octets)),
                    general.map(|octets| Message::parse(&octets)),
                );
                ready += u64::from(found == Found::Answered);
            }
        }
    }
    // Else nothing is shown.
    assert!(ready > WORLDS * QUESTIONS as u64 / 10, "{ready}");
}
