//! From a plan to zones on the network: the records of each zone, signed, with their flaws.
//!
//! Each zone is made twice from the same records: as the image that hosts serve, and as [`Facts`], plain maps that the
//! oracle reads. So a fault in the image's look-up shows as a disagreement.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast::dns::{Name, Rdata, Record, Rtype, rdata};
use holdfast::zone::{Builder, ZoneImage};

use crate::generate::home_of;
use crate::net::SimNet;
use crate::plan::{DenialKind, Ds, Flaw, Known, Plan, Signing, Zone, ZoneId};
use crate::signer::{Denial, KSK, Key, Signer, ZSK, record, rr};

/// One RRset: TTL in seconds, data.
pub type Set = (u32, Vec<Rdata>);

/// What a zone holds, for the oracle.
pub struct Facts {
    pub apex: Name,
    /// All sets but signatures and denial records. Glue is among them.
    pub data: BTreeMap<Name, BTreeMap<Rtype, Set>>,
    pub signing: Option<Signing>,
    pub ds: Ds,
    pub negative_ttl_s: u32,
}

/// A zone as it is served and as it is judged.
pub struct Published {
    pub image: Arc<ZoneImage>,
    pub facts: Arc<Facts>,
}

/// Makes a zone of the plan.
pub fn publish(plan: &Plan, id: ZoneId) -> Published {
    let zone = &plan.zones[id];
    let own = own_records(plan, id);
    let mut records = match &zone.signing {
        Some(signing) => signer(zone, signing).sign(&own),
        None => own,
    };
    if let Some(signing) = &zone.signing {
        for (owner, rtype, flaw) in &signing.flaws {
            spoil(&mut records, owner, *rtype, *flaw);
        }
    }
    let facts = facts(zone, &records);
    let mut builder = Builder::new(zone.apex.clone());
    for record in records {
        builder.add(record).unwrap();
    }
    Published {
        image: Arc::new(builder.finish().unwrap()),
        facts: Arc::new(facts),
    }
}

/// Puts the zone on its hosts.
pub fn serve(plan: &Plan, id: ZoneId, image: &Arc<ZoneImage>, net: &SimNet) {
    for server in &plan.zones[id].servers {
        for ip in &server.addresses {
            let host = ip.to_string();
            match server.serves {
                true => net.serve(&host, image.clone(), &["all"]),
                // A lame server is there, with a zone that nobody asks it about.
                false => net.serve(&host, stranger(), &["all"]),
            }
        }
    }
}

fn stranger() -> Arc<ZoneImage> {
    let mut builder = Builder::new("stranger.".parse().unwrap());
    builder
        .add(rr("stranger. 60 SOA stranger. stranger. 1 1 1 1 1"))
        .unwrap();
    Arc::new(builder.finish().unwrap())
}

/// The DS records that stand for a zone in its parent.
pub fn ds_records(zone: &Zone) -> Vec<Record> {
    let of_key = |key: u64| -> Record {
        let apex = zone.apex.to_string();
        Signer::new(&apex, key).ds_record(zone.ttl_s)
    };
    let right = || {
        let signing = zone.signing.as_ref();
        signing.map_or_else(|| of_key(7), |s| signer(zone, s).ds_record(zone.ttl_s))
    };
    let wrong = || of_key(1 << 40);
    match zone.ds {
        Ds::None => Vec::new(),
        Ds::Right => vec![right()],
        Ds::Wrong => vec![wrong()],
        Ds::WrongAndRight => vec![wrong(), right()],
        Ds::Unknown => {
            let mut ds = right();
            let mut data = ds.rdata.to_vec();
            // RFC 8624 section 3.1: a private algorithm; nobody supports it.
            data[2] = 253;
            ds.rdata = data.into();
            vec![ds]
        }
    }
}

fn signer(zone: &Zone, signing: &Signing) -> Signer {
    let key = |flags| match signing.p256 {
        // All P-256 zones share their keys, so another key of the same zone is an Ed25519 one.
        true if signing.key < 1000 => Key::p256_fixed(flags),
        _ => Key::ed25519(signing.key, flags),
    };
    let mut keys = vec![key(KSK)];
    if signing.two_keys {
        keys.push(key(ZSK));
    }
    Signer {
        apex: zone.apex.clone(),
        keys,
        inception: signing.valid.0,
        expiration: signing.valid.1,
        denial: match signing.denial {
            DenialKind::Nsec => Denial::Nsec,
            DenialKind::None => Denial::None,
            DenialKind::Nsec3 {
                opt_out,
                iterations,
            } => Denial::Nsec3 {
                salt: vec![0xab; usize::from(iterations.min(4))],
                iterations,
                opt_out,
            },
        },
        zonemd: false,
        ds_digest: 2,
        decoys: 0,
    }
}

fn own_records(plan: &Plan, id: ZoneId) -> Vec<Record> {
    let zone = &plan.zones[id];
    let (apex, ttl) = (&zone.apex, zone.ttl_s);
    let soa = format!(
        "{apex} {ttl} SOA ns.example. host.example. {} 7200 900 1209600 {}",
        zone.serial, zone.negative_ttl_s
    );
    let mut out = vec![rr(&soa)];
    let ns = |z: &Zone, out: &mut Vec<Record>| {
        for s in &z.servers {
            out.push(record(&z.apex, Rtype::NS, z.ttl_s, s.name.wire().into()));
        }
    };
    ns(zone, &mut out);
    out.extend(zone.records.iter().cloned());
    for (child_id, child) in plan.zones.iter().enumerate() {
        for server in &child.servers {
            let glue =
                child.parent == Some(id) && server.glue && server.name.is_within(&child.apex);
            let own = home_of(&plan.zones, server) == id;
            let made = match server.known {
                Known::Nowhere => Vec::new(),
                Known::Alias if own => {
                    vec![rr(&format!(
                        "{} {ttl} CNAME {}",
                        server.name, plan.zones[0].servers[0].name
                    ))]
                }
                Known::Address if own || glue => {
                    addresses(server.name.clone(), &server.addresses, ttl)
                }
                _ => Vec::new(),
            };
            for r in made {
                if !out.contains(&r) {
                    out.push(r);
                }
            }
        }
        if child.parent == Some(id) && child_id != id {
            ns(child, &mut out);
            out.extend(ds_records(child));
        }
    }
    out
}

fn addresses(name: Name, addresses: &[std::net::IpAddr], ttl: u32) -> Vec<Record> {
    let one = |ip: &std::net::IpAddr| {
        let rtype = if ip.is_ipv4() { "A" } else { "AAAA" };
        rr(&format!("{name} {ttl} {rtype} {ip}"))
    };
    addresses.iter().map(one).collect()
}

fn spoil(records: &mut Vec<Record>, owner: &Name, rtype: Rtype, flaw: Flaw) {
    let is_it = |r: &Record| {
        let covered = r.rdata.first_chunk().map(|b| u16::from_be_bytes(*b));
        r.rtype == Rtype::RRSIG && r.name == *owner && covered == Some(rtype.0)
    };
    match flaw {
        Flaw::Missing => records.retain(|r| !is_it(r)),
        Flaw::Damaged => {
            for r in records.iter_mut().filter(|r| is_it(r)) {
                let mut data = r.rdata.to_vec();
                // Another bit than a host with `Fault::Bogus` turns, or the two would mend each other.
                *data.last_mut().unwrap() ^= 2;
                r.rdata = data.into();
            }
        }
    }
}

fn facts(zone: &Zone, records: &[Record]) -> Facts {
    let mut data: BTreeMap<Name, BTreeMap<Rtype, Set>> = BTreeMap::new();
    for r in records {
        if [Rtype::RRSIG, Rtype::NSEC, Rtype::NSEC3].contains(&r.rtype) {
            continue;
        }
        let sets = data.entry(r.name.clone()).or_default();
        let (_, rdatas) = sets.entry(r.rtype).or_insert((r.ttl, Vec::new()));
        if !rdatas.contains(&r.rdata) {
            rdatas.push(r.rdata.clone());
        }
    }
    Facts {
        apex: zone.apex.clone(),
        data,
        signing: zone.signing.clone(),
        ds: zone.ds,
        negative_ttl_s: zone.negative_ttl_s.min(zone.ttl_s),
    }
}

impl Facts {
    /// The set at a name, wherever it stands.
    pub fn set(&self, name: &Name, rtype: Rtype) -> Option<&Set> {
        self.data.get(name)?.get(&rtype)
    }

    /// Addresses of a name, glue included.
    pub fn addresses(&self, name: &Name) -> Vec<std::net::IpAddr> {
        let sets = [Rtype::A, Rtype::AAAA]
            .into_iter()
            .filter_map(|t| self.set(name, t));
        sets.flat_map(|(_, rdatas)| rdatas)
            .filter_map(|r| rdata::address(r))
            .collect()
    }
}
