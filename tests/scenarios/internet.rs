//! The internet of a scenario: its zones, made and signed, and how far away their servers are.

use std::net::IpAddr;
use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::build::{Builder, Internet};
use crate::file::{Scenario, Zone};
use crate::net::SimNet;
use crate::signer::{Denial, INCEPTION, KSK, Key, Signer, ZSK};

/// The zones of `base`: apex, and its servers.
const BASE: [(&str, &[&str]); 4] = [
    (".", &["a.root. 198.51.100.1", "b.root. 198.51.100.2"]),
    ("com.", &["ns1.com. 192.0.2.1", "ns2.com. 192.0.2.2"]),
    ("org.", &["ns1.org. 192.0.2.11"]),
    ("net.", &["ns1.net. 192.0.2.21"]),
];
/// When the timeline begins: noon after the zones were signed.
pub const BEGIN_S: u32 = INCEPTION + 43_200;
/// Round trip times of the seeded runs, milliseconds.
const DELAYS_MS: std::ops::Range<u64> = 1..150;
/// Group of the hosts that resolve.
const RESOLVERS: &str = "resolvers";

/// All zones that a scenario begins with, those of its `base` included.
pub fn zones(scenario: &Scenario) -> Vec<Zone> {
    let mut zones = base(&scenario.base);
    for zone in &scenario.zone {
        put(&mut zones, zone);
    }
    zones
}

fn base(kind: &str) -> Vec<Zone> {
    let sign = match kind {
        "none" => return Vec::new(),
        "unsigned" => "",
        "signed" => "sign = 'nsec'",
        _ => panic!("no base is called {kind}"),
    };
    let zones = BASE.iter().map(|(apex, servers)| {
        toml::from_str(&format!("name = '{apex}'\nservers = {servers:?}\n{sign}")).unwrap()
    });
    zones.collect()
}

/// Adds a zone, or puts it in the place of an earlier form of it.
pub fn put(zones: &mut Vec<Zone>, zone: &Zone) {
    zones.retain(|z| z.name != zone.name);
    zones.push(zone.clone());
}

/// Addresses of a server as a zone names it.
pub fn addresses(server: &str) -> impl Iterator<Item = &str> {
    server
        .split_whitespace()
        .skip(1)
        .filter(|w| *w != "no-glue")
}

/// The zones that others serve, ready to be built.
pub fn builder(zones: &[Zone], seed: u64) -> Builder {
    let others = zones.iter().filter(|zone| !zone.own);
    others.fold(Builder::new(seed), added)
}

/// The own zones of the server under test.
pub fn own(zones: &[Zone]) -> Internet {
    let own = zones.iter().filter(|zone| zone.own);
    let root = Builder::new(0)
        .zone(".")
        .server("a.root.", &["198.51.100.1"]);
    own.fold(root, added).build()
}

fn added(builder: Builder, zone: &Zone) -> Builder {
    let mut builder = builder.zone(&zone.name).ttl(zone.ttl.unwrap_or(3600));
    for server in &zone.servers {
        let host = server.split_whitespace().next().expect("a name");
        let found: Vec<&str> = addresses(server).collect();
        builder = match server.ends_with("no-glue") {
            true => builder.server_without_glue(host, &found),
            false => builder.server(host, &found),
        };
    }
    let lines = zone.records.lines().map(str::trim);
    for line in lines.filter(|l| !l.is_empty()) {
        builder = builder.record(line);
    }
    if zone.sign.is_some() {
        builder = builder.signed_with(|signer| sign(signer, zone));
    }
    if !zone.ds {
        builder = builder.without_ds();
    }
    if !zone.delegated {
        builder = builder.undelegated();
    }
    builder
}

fn sign(signer: &mut Signer, zone: &Zone) {
    signer.denial = match zone.sign.as_deref() {
        Some("nsec") => Denial::Nsec,
        Some(kind @ ("nsec3" | "nsec3-opt-out")) => Denial::Nsec3 {
            salt: Vec::new(),
            iterations: zone.iterations,
            opt_out: kind.ends_with("opt-out"),
        },
        other => panic!("no denial is called {other:?}"),
    };
    let of_zone = |keys: u64| {
        let octets = zone.name.bytes();
        octets.fold(keys, |h, b| h.wrapping_mul(31).wrapping_add(b.into()))
    };
    let key = |number: u64, flags| key(&zone.algorithm, of_zone(number), flags);
    signer.keys = match zone.key_signing_keys.is_empty() {
        true => vec![key(zone.keys, KSK)],
        false => (zone.key_signing_keys.iter())
            .map(|text| match text.strip_suffix(" revoked") {
                Some(number) => key(number.parse().expect("a number"), KSK).revoked(),
                None => key(text.parse().expect("a number"), KSK),
            })
            .collect(),
    };
    signer.keys.push(key(zone.keys, ZSK));
    signer.decoys = zone.decoy_keys;
    signer.ds_digest = zone.ds_digest;
    let at = |s: i64| u32::try_from(i64::from(BEGIN_S) + s).unwrap();
    signer.inception = zone.valid_from_s.map_or(signer.inception, at);
    signer.expiration = zone.valid_to_s.map_or(signer.expiration, at);
}

fn key(algorithm: &str, number: u64, flags: u16) -> Key {
    match algorithm {
        "ed25519" => Key::ed25519(number, flags),
        "p256" => Key::p256(flags),
        "p384" => Key::p384(flags),
        "rsasha256" => Key::rsa(8, flags),
        "rsasha512" => Key::rsa(10, flags),
        other => panic!("no algorithm is called {other}"),
    }
}

/// Puts every zone on the hosts that resolve.
pub fn serve_resolvers(net: &SimNet, resolvers: &[String], internet: &Internet) {
    for host in resolvers {
        for image in internet.images.values() {
            net.serve(host, image.clone(), &[RESOLVERS]);
        }
        net.make_recursive(host);
    }
}

/// In seeded runs each host is as far away as the seed says.
pub fn delay(net: &SimNet, zones: &[Zone], scenario: &Scenario, seed: u64) {
    if seed == 0 {
        return;
    }
    let mut rng = SmallRng::seed_from_u64(seed);
    let others = zones.iter().filter(|zone| !zone.own);
    let servers = others.flat_map(|z| &z.servers).flat_map(|s| addresses(s));
    let hosts = scenario.hosts.iter().chain(&scenario.resolvers);
    for host in servers.chain(hosts.map(String::as_str)) {
        // As the network writes it.
        let host: IpAddr = host.parse().expect("an address");
        let delay = Duration::from_millis(rng.random_range(DELAYS_MS));
        net.set_delay(&host.to_string(), delay);
    }
}
