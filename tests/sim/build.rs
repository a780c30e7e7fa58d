//! Describes small internets for single tests.
//!
//! A [`Builder`] names zones, their servers and a few records; everything else follows: SOA and NS sets, addresses of
//! servers in whatever zone their names fall into, delegations with glue and DS in the parent, signatures. Each zone's
//! name is the group of its servers in the [`SimNet`].
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use holdfast::dns::{Name, Record};
use holdfast::zone::ZoneImage;

use crate::net::SimNet;
use crate::signer::{Signer, name, rr};

/// TTL of records that have none of their own, seconds.
pub const TTL_S: u32 = 3600;
/// TTL of denials, seconds.
pub const NEGATIVE_TTL_S: u32 = 300;

/// A small internet.
pub struct Internet {
    /// Its network.
    pub net: Arc<SimNet>,
    /// Its zones.
    pub images: BTreeMap<Name, Arc<ZoneImage>>,
    /// The root's servers.
    pub hints: Vec<(Name, Vec<IpAddr>)>,
    /// The root's DS, if it is signed.
    pub anchors: Vec<Record>,
}

impl Internet {
    /// A zone as it is served.
    pub fn image(&self, apex: &str) -> Arc<ZoneImage> {
        self.images[&name(apex)].clone()
    }
}

struct ServerSpec {
    name: Name,
    addresses: Vec<IpAddr>,
    glue: bool,
}

struct ZoneSpec {
    servers: Vec<ServerSpec>,
    records: Vec<String>,
    ttl: u32,
    signer: Option<Signer>,
    /// The parent has a DS although the zone has no signatures, or another key's.
    ds_of: Option<Signer>,
    without_ds: bool,
    undelegated: bool,
}

/// Describes the internet.
pub struct Builder {
    zones: BTreeMap<Name, ZoneSpec>,
    latest: Name,
    seed: u64,
}

impl Builder {
    /// An internet without zones.
    pub fn new(seed: u64) -> Builder {
        Builder {
            zones: BTreeMap::new(),
            latest: Name::root(),
            seed,
        }
    }

    /// Begins a zone; what follows describes it.
    pub fn zone(mut self, apex: &str) -> Builder {
        self.latest = apex.parse().unwrap();
        let spec = ZoneSpec {
            servers: Vec::new(),
            records: Vec::new(),
            ttl: TTL_S,
            signer: None,
            ds_of: None,
            without_ds: false,
            undelegated: false,
        };
        self.zones.insert(self.latest.clone(), spec);
        self
    }

    /// A server of the zone. Its name's addresses appear in the zone that the name belongs to; with an empty
    /// list it only is in the NS set.
    pub fn server(self, server: &str, addresses: &[&str]) -> Builder {
        self.any_server(server, addresses, true)
    }

    /// As [`Builder::server`], but the parent has no glue for it.
    pub fn server_without_glue(self, server: &str, addresses: &[&str]) -> Builder {
        self.any_server(server, addresses, false)
    }

    fn any_server(mut self, server: &str, addresses: &[&str], glue: bool) -> Builder {
        let name = name(&absolute(server, &self.latest));
        let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
        self.spec().servers.push(ServerSpec {
            name,
            addresses,
            glue,
        });
        self
    }

    /// A record of the zone, as `OWNER [TTL] TYPE DATA` with names relative to the zone.
    pub fn record(mut self, line: &str) -> Builder {
        self.spec().records.push(line.to_string());
        self
    }

    /// The TTL of the zone's records, NS and glue included.
    pub fn ttl(mut self, ttl_s: u32) -> Builder {
        self.spec().ttl = ttl_s;
        self
    }

    /// Signs the zone; the parent gets a DS.
    pub fn signed(self) -> Builder {
        self.signed_with(|_| {})
    }

    /// Signs the zone after `change` to the signer.
    pub fn signed_with(mut self, change: impl FnOnce(&mut Signer)) -> Builder {
        let apex = self.latest.to_string();
        let key_seed = self.seed ^ hash(&apex);
        let mut signer = Signer::new(&apex, key_seed);
        change(&mut signer);
        self.spec().signer = Some(signer);
        self
    }

    /// The parent has no DS for the zone, signed or not.
    pub fn without_ds(mut self) -> Builder {
        self.spec().without_ds = true;
        self
    }

    /// The parent has no NS, DS and glue for the zone but what its own records say.
    pub fn undelegated(mut self) -> Builder {
        self.spec().undelegated = true;
        self
    }

    /// How a zone is signed.
    pub fn signer(&self, apex: &str) -> Option<&Signer> {
        self.zones.get(&name(apex))?.signer.as_ref()
    }

    fn spec(&mut self) -> &mut ZoneSpec {
        self.zones.get_mut(&self.latest).expect("a zone first")
    }

    /// Builds it.
    pub fn build(self) -> Internet {
        let net = SimNet::new(self.seed);
        let mut images = BTreeMap::new();
        for (apex, spec) in &self.zones {
            let image = Arc::new(self.image(apex));
            images.insert(apex.clone(), image.clone());
            for address in spec.servers.iter().flat_map(|s| &s.addresses) {
                let group = apex.to_string();
                net.serve(&address.to_string(), image.clone(), &[&group]);
            }
        }
        let root = self.zones.get(&Name::root()).expect("a root zone");
        let hints = root.servers.iter();
        let anchors = root.signer.as_ref().map(|s| s.ds_record(TTL_S));
        Internet {
            net: Arc::new(net),
            images,
            hints: hints
                .map(|s| (s.name.clone(), s.addresses.clone()))
                .collect(),
            anchors: anchors.into_iter().collect(),
        }
    }

    fn image(&self, apex: &Name) -> ZoneImage {
        let spec = &self.zones[apex];
        let mut records = self.records(apex);
        if let Some(signer) = &spec.signer {
            records = signer.sign(&records);
        }
        let mut builder = holdfast::zone::Builder::new(apex.clone());
        for record in records {
            builder.add(record).unwrap();
        }
        builder.finish().unwrap()
    }

    /// All unsigned records of a zone.
    fn records(&self, apex: &Name) -> Vec<Record> {
        let spec = &self.zones[apex];
        let ttl = spec.ttl;
        let soa = format!("ns host 1 7200 900 1209600 {NEGATIVE_TTL_S}");
        let mut lines = vec![format!("{apex} {ttl} SOA {soa}")];
        lines.extend(
            spec.servers
                .iter()
                .map(|s| format!("{apex} {ttl} NS {}", s.name)),
        );
        lines.extend(spec.records.iter().cloned());
        for (child, child_spec) in &self.zones {
            if self.parent(child).as_ref() == Some(apex) && !child_spec.undelegated {
                let ns = (child_spec.servers.iter())
                    .map(|s| format!("{child} {} NS {}", child_spec.ttl, s.name));
                lines.extend(ns);
            }
        }
        let mut records: Vec<Record> = lines.iter().map(|l| record(l, apex, ttl)).collect();
        for child in self.zones.keys() {
            if self.parent(child).as_ref() == Some(apex) {
                records.extend(self.ds(child));
            }
        }
        records.extend(self.addresses_in(apex));
        records.dedup();
        records
    }

    fn ds(&self, child: &Name) -> Option<Record> {
        let spec = &self.zones[child];
        let signer = spec.ds_of.as_ref().or(spec.signer.as_ref())?;
        (!spec.without_ds && !spec.undelegated).then(|| signer.ds_record(spec.ttl))
    }

    /// Addresses of servers, as data of the zone their names are in, and as glue in the parent of the zone
    /// that they serve.
    fn addresses_in(&self, apex: &Name) -> Vec<Record> {
        let mut out: Vec<Record> = Vec::new();
        for (zone, spec) in &self.zones {
            for server in &spec.servers {
                let home = self.home(&server.name);
                let own = home.as_ref() == Some(apex);
                let glue = server.glue
                    && !spec.undelegated
                    && self.parent(zone).as_ref() == Some(apex)
                    && server.name.is_within(zone);
                if !own && !glue {
                    continue;
                }
                for address in &server.addresses {
                    let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
                    let line = format!("{} {rtype} {address}", server.name);
                    let made = record(&line, apex, spec.ttl);
                    if !out.contains(&made) {
                        out.push(made);
                    }
                }
            }
        }
        out
    }

    fn home(&self, name: &Name) -> Option<Name> {
        let mut at = Some(name.clone());
        while let Some(here) = at {
            if self.zones.contains_key(&here) {
                return Some(here);
            }
            at = here.parent();
        }
        None
    }

    fn parent(&self, zone: &Name) -> Option<Name> {
        self.home(&zone.parent()?)
    }
}

/// A number that belongs to a zone.
fn hash(apex: &str) -> u64 {
    let octets = apex.bytes();
    octets.fold(7, |h, b| h.wrapping_mul(31).wrapping_add(b.into()))
}

/// A name relative to `origin` (without a dot at the end; `@` is the origin) made absolute.
fn absolute(text: &str, origin: &Name) -> String {
    match text {
        "@" => origin.to_string(),
        _ if text.ends_with('.') => text.to_string(),
        _ if origin.is_root() => format!("{text}."),
        _ => format!("{text}.{origin}"),
    }
}

/// A record from `OWNER [TTL] TYPE DATA` with names relative to `origin`.
fn record(line: &str, origin: &Name, ttl: u32) -> Record {
    let mut words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
    words[0] = absolute(&words[0], origin);
    if words[1].parse::<u32>().is_err() {
        words.insert(1, ttl.to_string());
    }
    let names = match words[2].as_str() {
        "NS" | "CNAME" | "DNAME" | "PTR" => 3..4,
        "MX" => 4..5,
        "SOA" => 3..5,
        _ => 0..0,
    };
    for at in names {
        words[at] = absolute(&words[at], origin);
    }
    rr(&words.join(" "))
}
