//! Draws a plan from a seed.
//!
//! Faults are rare near the root and frequent below, so that most questions have an answer and many a way to it is
//! broken. About a quarter of the seeds have no faulty host at all: there every SERVFAIL needs a broken zone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use holdfast::dns::{Name, Rcode, Record, Rtype};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::acts;
use crate::net::Fault;
use crate::plan::{
    DenialKind, Ds, Flaw, Known, Plan, Server, Signing, Switches, Zone, ZoneId, deepest,
};
use crate::signer::{EXPIRATION, INCEPTION, name, rr};

/// Zones of one internet.
const ZONES_MAX: usize = 24;

/// The plan of a seed.
pub fn plan(seed: u64) -> Plan {
    let mut maker = Maker {
        rng: SmallRng::seed_from_u64(seed),
        zones: Vec::new(),
        hosts: 0,
    };
    maker.tree();
    maker.servers();
    for id in 0..maker.zones.len() {
        maker.zones[id].records = maker.records(id);
        maker.sign(id);
    }
    let (faults, delays) = maker.faults();
    let mirrors = maker.mirrors();
    let families = [
        (true, true),
        (true, true),
        (true, false),
        (true, true),
        (false, true),
    ];
    let (ipv4, ipv6) = *families.choose(&mut maker.rng).unwrap();
    let mut plan = Plan {
        seed,
        switches: Switches {
            prime: maker.one_in(2),
            minimise: !maker.one_in(5),
            harden_glue: !maker.one_in(5),
            // A root without an address of the family is no internet.
            ipv4: ipv4 || maker.zones[0].servers.iter().all(only_v4),
            ipv6: ipv6 || maker.zones[0].servers.iter().all(only_v6),
        },
        zones: maker.zones,
        faults,
        delays,
        mirrors,
        stale: None,
        acts: Vec::new(),
    };
    plan.acts = acts::draw(&plan, &mut maker.rng);
    plan
}

fn only_v4(s: &Server) -> bool {
    s.addresses.iter().all(IpAddr::is_ipv4)
}

fn only_v6(s: &Server) -> bool {
    s.addresses.iter().all(IpAddr::is_ipv6)
}

/// Whether a chain of sound signatures leads from the root to the zone.
pub fn is_sound(zones: &[Zone], id: ZoneId) -> bool {
    let zone = &zones[id];
    let valid = (INCEPTION, EXPIRATION);
    let signed = zone
        .signing
        .as_ref()
        .is_some_and(|s| s.flaws.is_empty() && s.valid == valid && s.denial != DenialKind::None);
    let linked = matches!(zone.ds, Ds::Right | Ds::WrongAndRight);
    signed && zone.parent.is_none_or(|p| linked && is_sound(zones, p))
}

/// Whether nobody can forge data of the zone unseen: it is sound, and has no room for unsigned zones below it
/// (with opt-out, any name may be one: RFC 5155 section 12.2).
fn is_closed(zones: &[Zone], id: ZoneId) -> bool {
    let opt_out = zones[id]
        .signing
        .as_ref()
        .is_some_and(|s| matches!(s.denial, DenialKind::Nsec3 { opt_out: true, .. }));
    is_sound(zones, id) && !opt_out && zones.iter().all(|z| z.parent != Some(id))
}

struct Maker {
    rng: SmallRng,
    zones: Vec<Zone>,
    hosts: u16,
}

impl Maker {
    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_ratio(1, n)
    }

    fn percent(&mut self, p: u32) -> bool {
        self.rng.random_ratio(p, 100)
    }

    fn tree(&mut self) {
        self.zone(".", None);
        let tlds = ["com", "net", "org", "se"];
        for tld in &tlds[..self.rng.random_range(2..=4)] {
            let tld_id = self.zone(&format!("{tld}."), Some(0));
            for d in 0..self.rng.random_range(2..=4) {
                // Now and then the cut lies two labels deeper, below an empty non-terminal.
                let middle = if self.one_in(8) { "co." } else { "" };
                let apex = format!("d{d}.{middle}{tld}.");
                let id = self.zone(&apex, Some(tld_id));
                self.below(id, &apex);
            }
        }
    }

    fn below(&mut self, id: ZoneId, apex: &str) {
        if self.zones.len() >= ZONES_MAX || !self.one_in(3) {
            return;
        }
        for s in 0..self.rng.random_range(1..=2) {
            let middle = if self.one_in(4) { "e0." } else { "" };
            let apex = format!("s{s}.{middle}{apex}");
            let child = self.zone(&apex, Some(id));
            if self.one_in(5) {
                self.zone(&format!("t0.{apex}"), Some(child));
            }
        }
    }

    fn zone(&mut self, apex: &str, parent: Option<ZoneId>) -> ZoneId {
        self.zones.push(Zone {
            apex: name(apex),
            parent,
            ttl_s: *[60, 300, 3600].choose(&mut self.rng).unwrap(),
            negative_ttl_s: *[30, 300].choose(&mut self.rng).unwrap(),
            serial: 1,
            servers: Vec::new(),
            signing: None,
            ds: Ds::None,
            records: Vec::new(),
        });
        self.zones.len() - 1
    }

    fn servers(&mut self) {
        for id in 0..self.zones.len() {
            let least = if id == 0 { 2 } else { 1 };
            for k in 0..self.rng.random_range(least..=3) {
                let server = self.server(id, k);
                if self.zones[id].servers.iter().all(|s| s.name != server.name) {
                    self.zones[id].servers.push(server);
                }
            }
        }
    }

    fn server(&mut self, id: ZoneId, k: usize) -> Server {
        let apex = self.zones[id].apex.clone();
        let mut server = Server {
            name: in_zone(&format!("ns{k}"), &apex),
            addresses: self.addresses(),
            glue: true,
            known: Known::Address,
            serves: true,
        };
        if id == 0 {
            server.name = name(&format!("r{k}.roots."));
            return server;
        }
        server.serves = !self.percent(4);
        let other = self.rng.random_range(1..self.zones.len());
        let foreign = |zone: &Zone| in_zone(&format!("h{id}x{k}"), &zone.apex);
        match self.rng.random_range(0..100) {
            0..5 => server.glue = false,
            5..20 => server.name = foreign(&self.zones[other]),
            20..35 if !self.zones[other].servers.is_empty() => {
                // Somebody who serves another zone as well.
                let shared = self.zones[other].servers.choose(&mut self.rng).unwrap();
                server = Server {
                    serves: server.serves,
                    ..shared.clone()
                };
            }
            35..42 => server.name = foreign(&self.zones[self.zones[id].parent.unwrap()]),
            42..45 => {
                server.name = foreign(&self.zones[other]);
                server.known = Known::Nowhere;
            }
            45..47 => {
                server.name = foreign(&self.zones[other]);
                server.known = Known::Alias;
            }
            _ => {}
        }
        server
    }

    fn addresses(&mut self) -> Vec<IpAddr> {
        self.hosts += 1;
        let [high, low] = self.hosts.to_be_bytes();
        let v4 = IpAddr::from(Ipv4Addr::new(198, 51, high, low));
        let v6 = IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, self.hosts));
        match self.rng.random_range(0..10) {
            0..3 => vec![v4, v6],
            3 => vec![v6],
            _ => vec![v4],
        }
    }

    /// The zone's own records; they avoid the labels of zones and servers.
    fn records(&mut self, id: ZoneId) -> Vec<Record> {
        let apex = self.zones[id].apex.clone();
        let ttl = self.zones[id].ttl_s;
        let host = self.rng.random_range(1..250);
        let other = self.zones.choose(&mut self.rng).unwrap().apex.clone();
        let away = in_zone("www", &other);
        let gone = in_zone("gone", &other);
        let long = [
            "x".repeat(60),
            "y".repeat(60),
            "z".repeat(60),
            "w".repeat(40),
        ]
        .join(".");
        let all: [(u32, String); 24] = [
            (95, format!("www A 192.0.2.{host}")),
            (40, "www AAAA 2001:db8:80::1".into()),
            (40, format!("@ A 192.0.2.{}", host + 1)),
            (50, "@ MX 10 mail".into()),
            (50, "mail A 192.0.2.25".into()),
            (30, "txt TXT some words".into()),
            (30, "api A 192.0.2.3".into()),
            (30, "api A 192.0.2.4".into()),
            (20, "odd TYPE65280 \\# 4 0a000001".into()),
            (30, "a.b A 192.0.2.5".into()),
            (30, "*.wild A 192.0.2.6".into()),
            (20, "*.wild TXT wild words".into()),
            (15, "one.wild A 192.0.2.7".into()),
            (15, "x.two.wild TXT below".into()),
            (30, "alias CNAME www".into()),
            (30, format!("away CNAME {away}")),
            (15, format!("gone CNAME {gone}")),
            (15, "*.wc CNAME www".into()),
            (12, format!("*.wa CNAME {away}")),
            (25, format!("dn DNAME {other}")),
            (5, "loop1 CNAME loop2".into()),
            (5, "loop2 CNAME loop1".into()),
            (4, "* A 192.0.2.9".into()),
            (3, format!("long DNAME {long}.")),
        ];
        let mut out = Vec::new();
        for (p, line) in all {
            if self.percent(p) {
                let ttl = if self.one_in(30) { 0 } else { ttl };
                out.push(line_in(&line, &apex, ttl));
            }
        }
        if self.one_in(6) {
            // A chain of aliases through the zone and out of it.
            for i in 0..self.rng.random_range(1..5) {
                out.push(line_in(&format!("c{i} CNAME c{}", i + 1), &apex, ttl));
            }
            out.push(line_in(&format!("c5 CNAME {away}"), &apex, ttl));
        }
        // One TTL per set (RFC 2181 section 5.2).
        let mut ttls: BTreeMap<(Name, Rtype), u32> = BTreeMap::new();
        for r in &mut out {
            r.ttl = *ttls.entry((r.name.clone(), r.rtype)).or_insert(r.ttl);
        }
        out
    }

    fn sign(&mut self, id: ZoneId) {
        // The deeper, the more is broken.
        let depth = self.zones[id].apex.label_count() as u32;
        let signed = if depth == 0 { 90 } else { 65 };
        if !self.percent(signed) {
            self.zones[id].ds = match self.rng.random_range(0..100) {
                0..4 if depth > 1 => Ds::Wrong,
                4..7 => Ds::Unknown,
                _ => Ds::None,
            };
            return;
        }
        let opt_out = self.one_in(2);
        let iterations = if self.one_in(5) {
            self.rng.random_range(1..10)
        } else {
            0
        };
        let denial = match self.rng.random_range(0..100) {
            0..3 if depth > 1 => DenialKind::None,
            3..45 => DenialKind::Nsec3 {
                opt_out,
                iterations,
            },
            _ => DenialKind::Nsec,
        };
        let valid = match self.rng.random_range(0..100) {
            0..3 if depth > 1 => (INCEPTION, INCEPTION + 3600),
            3..5 if depth > 1 => (INCEPTION + 86_400, EXPIRATION),
            _ => (INCEPTION, EXPIRATION),
        };
        let flaws = if depth > 0 && self.percent(4 + depth * 4) {
            vec![self.flaw(id)]
        } else {
            Vec::new()
        };
        let draw = self.rng.random_range(0..100);
        let zone = &mut self.zones[id];
        zone.ds = match draw {
            0..3 if depth > 1 => Ds::Wrong,
            3..6 => Ds::Unknown,
            6..10 => Ds::WrongAndRight,
            10..18 => Ds::None,
            _ => Ds::Right,
        };
        zone.signing = Some(Signing {
            key: id as u64,
            p256: self.rng.random_ratio(1, 3),
            two_keys: self.rng.random_ratio(1, 2),
            denial,
            valid,
            flaws,
        });
    }

    fn flaw(&mut self, id: ZoneId) -> (Name, Rtype, Flaw) {
        let zone = &self.zones[id];
        let apex = |rtype| (zone.apex.clone(), rtype);
        let mut sets: Vec<_> = zone
            .records
            .iter()
            .map(|r| (r.name.clone(), r.rtype))
            .collect();
        sets.extend([apex(Rtype::SOA), apex(Rtype::NS)]);
        if self.rng.random_ratio(1, 10) {
            sets = vec![apex(Rtype::DNSKEY)];
        }
        let (owner, rtype) = sets.choose(&mut self.rng).unwrap().clone();
        let kind = if self.one_in(2) {
            Flaw::Missing
        } else {
            Flaw::Damaged
        };
        (owner, rtype, kind)
    }

    fn faults(&mut self) -> (BTreeMap<IpAddr, Fault>, BTreeMap<IpAddr, Duration>) {
        let (mut faults, mut delays) = (BTreeMap::new(), BTreeMap::new());
        let share = *[0, 8, 15, 25].choose(&mut self.rng).unwrap();
        let mut served: BTreeMap<Vec<IpAddr>, Vec<ZoneId>> = BTreeMap::new();
        for (id, zone) in self.zones.iter().enumerate() {
            for s in &zone.servers {
                served.entry(s.addresses.clone()).or_default().push(id);
            }
        }
        for (addresses, zones) in served {
            let delay = Duration::from_millis(self.rng.random_range(3..60));
            delays.extend(addresses.iter().map(|ip| (*ip, delay)));
            let share = if zones.contains(&0) { share / 2 } else { share };
            if self.percent(share) {
                let closed = zones.iter().all(|z| is_closed(&self.zones, *z));
                let sound = zones.iter().all(|z| is_sound(&self.zones, *z));
                let fault = self.fault(closed, sound);
                // Mostly the machine is broken, sometimes one of its addresses only.
                let hit = if self.one_in(5) { 1 } else { addresses.len() };
                faults.extend(addresses[..hit].iter().map(|ip| (*ip, fault)));
            }
        }
        (faults, delays)
    }

    fn fault(&mut self, closed: bool, sound: bool) -> Fault {
        let late = Duration::from_millis(self.rng.random_range(100..800));
        match self.rng.random_range(0..18) {
            0..4 => Fault::Silent,
            4 => Fault::UdpSilent,
            5 => Fault::Unreachable,
            6 => Fault::ServFail,
            7 => Fault::Refused,
            8 => Fault::Says(
                [Rcode::FORMERR, Rcode::NOTIMP, Rcode::NOTAUTH][self.rng.random_range(0..3)],
            ),
            9 => Fault::Upwards,
            10 => Fault::Rubbish,
            11 => Fault::Lame,
            12 => Fault::NoEdns,
            13 => Fault::Truncate,
            14 => Fault::Bogus,
            // Elsewhere a missing DS record is a lie that nobody can tell.
            15 if sound => Fault::Stripped,
            15 => Fault::Bogus,
            16 if closed => Fault::Hijack([10, 6, 6, 6].into()),
            16 => Fault::Loss(30),
            _ => Fault::Slow(late),
        }
    }

    /// In a third of the internets the root, and some zones of the top level, are held as copies.
    fn mirrors(&mut self) -> BTreeSet<ZoneId> {
        if !self.one_in(3) || !is_sound(&self.zones, 0) {
            return BTreeSet::new();
        }
        let mut held = BTreeSet::from([0]);
        for id in 1..self.zones.len() {
            if self.zones[id].parent == Some(0) && is_sound(&self.zones, id) && self.one_in(2) {
                held.insert(id);
            }
        }
        held
    }
}

/// `label` (or several, or `@`) in `apex`.
pub fn in_zone(label: &str, apex: &Name) -> Name {
    match (label, apex.is_root()) {
        ("@", _) => apex.clone(),
        (_, true) => name(&format!("{label}.")),
        (_, false) => name(&format!("{label}.{apex}")),
    }
}

/// A record from `LABELS TYPE DATA`; targets without a dot at the end are relative, too.
pub fn line_in(line: &str, apex: &Name, ttl: u32) -> Record {
    let mut words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
    words[0] = in_zone(&words[0], apex).to_string();
    let last = words.len() - 1;
    if matches!(&*words[1], "CNAME" | "DNAME" | "MX") && !words[last].ends_with('.') {
        words[last] = in_zone(&words[last], apex).to_string();
    }
    words.insert(1, ttl.to_string());
    rr(&words.join(" "))
}

/// Servers that no other zone has.
pub fn are_private(zones: &[Zone], id: ZoneId) -> bool {
    let own: Vec<IpAddr> = zones[id]
        .servers
        .iter()
        .flat_map(|s| s.addresses.clone())
        .collect();
    let shares = |z: &Zone| {
        z.servers
            .iter()
            .any(|s| s.addresses.iter().any(|a| own.contains(a)))
    };
    zones.iter().enumerate().all(|(i, z)| i == id || !shares(z))
}

/// Where the address records of a server's name belong.
pub fn home_of(zones: &[Zone], server: &Server) -> ZoneId {
    deepest(zones, &server.name)
}
