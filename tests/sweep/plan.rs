//! What a random internet is made of, as plain data.
//!
//! A [`Plan`] says everything that happens in one seed: zones, servers, their faults, and the acts in order. It is
//! generated once (`generate`), put on the simulated network (`publish`), judged (`oracle`) and printed when something
//! is wrong. Nothing in it is decided while it runs, so that questions can be left out and the rest stays the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use holdfast::dns::{Name, Question, Record, Rtype};

use crate::net::Fault;

/// Index of a zone in [`Plan::zones`].
pub type ZoneId = usize;

/// One seed's internet and what happens in it.
#[derive(Clone)]
pub struct Plan {
    pub seed: u64,
    /// The root first, parents before children.
    pub zones: Vec<Zone>,
    /// Hosts that misbehave from the start.
    pub faults: BTreeMap<IpAddr, Fault>,
    /// Round trip times.
    pub delays: BTreeMap<IpAddr, Duration>,
    /// Zones of which a copy is held.
    pub mirrors: BTreeSet<ZoneId>,
    pub switches: Switches,
    /// Old data is answered where new data cannot be had, up to this age past its TTL.
    pub stale: Option<Duration>,
    pub acts: Vec<Act>,
}

/// Settings of the resolver.
#[derive(Debug, Clone, Copy)]
pub struct Switches {
    pub prime: bool,
    pub minimise: bool,
    pub harden_glue: bool,
    pub ipv4: bool,
    pub ipv6: bool,
}

/// A zone.
#[derive(Clone)]
pub struct Zone {
    pub apex: Name,
    /// `None` for the root.
    pub parent: Option<ZoneId>,
    pub ttl_s: u32,
    pub negative_ttl_s: u32,
    pub serial: u32,
    pub servers: Vec<Server>,
    pub signing: Option<Signing>,
    pub ds: Ds,
    /// The zone's own data, without SOA, NS and addresses of servers.
    pub records: Vec<Record>,
}

/// A name server of a zone, as the parent lists it.
#[derive(Debug, Clone)]
pub struct Server {
    pub name: Name,
    pub addresses: Vec<IpAddr>,
    /// The parent has its addresses, if it lies in the zone.
    pub glue: bool,
    /// Where its addresses are to be found.
    pub known: Known,
    /// It has the zone; otherwise it is lame.
    pub serves: bool,
}

/// Where the addresses of a server's name are to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// In the zone that the name lies in.
    Address,
    /// The name is an alias, which a name server's must not be (RFC 2181 section 10.3).
    Alias,
    /// Nowhere: the name does not exist.
    Nowhere,
}

/// How a zone is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    pub key: u64,
    pub p256: bool,
    /// Separate keys for the DNSKEY set and the rest.
    pub two_keys: bool,
    pub denial: DenialKind,
    /// Validity in seconds since 1970.
    pub valid: (u32, u32),
    /// Sets whose signature is missing or damaged.
    pub flaws: Vec<(Name, Rtype, Flaw)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenialKind {
    Nsec,
    Nsec3 { opt_out: bool, iterations: u16 },
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    Missing,
    Damaged,
}

/// What the parent says of the zone's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ds {
    /// Nothing.
    None,
    /// The right thing.
    Right,
    /// Another key.
    Wrong,
    /// Another key and the right one.
    WrongAndRight,
    /// An algorithm that nobody knows.
    Unknown,
}

/// What happens.
#[derive(Debug, Clone)]
pub enum Act {
    /// These are asked, one after the other or all at once.
    Ask {
        questions: Vec<Question>,
        at_once: bool,
    },
    /// Time passes.
    Wait(Duration),
    Change(Change),
}

/// A change of the internet.
#[derive(Debug, Clone)]
pub enum Change {
    /// Hosts fail or come back.
    Faults(Vec<(IpAddr, Fault)>),
    /// A zone's own data is replaced.
    Records(ZoneId, Vec<Record>),
    /// A zone gets other servers.
    Servers(ZoneId, Vec<Server>),
    /// A zone is signed otherwise; its parent's DS with it.
    Signing(ZoneId, Signing),
    /// The wall clock jumps by so many seconds.
    Clock(i64),
}

impl Plan {
    /// The zones, hosts and settings for a reader.
    pub fn describe(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        writeln!(out, "{:?}", self.switches)?;
        for (id, zone) in self.zones.iter().enumerate() {
            let mirrored = match self.mirrors.contains(&id) {
                true => " mirrored",
                false => "",
            };
            write!(out, "{id:2} {} ttl {}", zone.apex, zone.ttl_s)?;
            match &zone.signing {
                None => write!(out, " unsigned")?,
                Some(s) => write!(
                    out,
                    " {} {:?} {:?} {:?}",
                    if s.p256 { "p256" } else { "ed25519" },
                    s.denial,
                    s.valid,
                    s.flaws
                )?,
            }
            writeln!(out, " ds {:?}{mirrored}", zone.ds)?;
            for s in &zone.servers {
                write!(out, "     ns {}", s.name)?;
                for ip in &s.addresses {
                    let fault = self.faults.get(ip).copied().unwrap_or(Fault::None);
                    write!(out, " {ip}")?;
                    if fault != Fault::None {
                        write!(out, "={fault:?}")?;
                    }
                }
                if !s.glue {
                    write!(out, " no-glue")?;
                }
                if s.known != Known::Address {
                    write!(out, " {:?}", s.known)?;
                }
                writeln!(out, "{}", if s.serves { "" } else { " lame" })?;
            }
            for r in &zone.records {
                writeln!(out, "     {}", show_record(r))?;
            }
        }
        Ok(out)
    }
}

/// The deepest zone of a list that the name lies in.
pub fn deepest(zones: &[Zone], name: &Name) -> ZoneId {
    let within = zones
        .iter()
        .enumerate()
        .filter(|(_, z)| name.is_within(&z.apex));
    let best = within.max_by_key(|(_, z)| z.apex.label_count());
    best.map_or(0, |(id, _)| id)
}

fn show_record(r: &Record) -> String {
    format!(
        "{} {} {} {}",
        r.name,
        r.ttl,
        r.rtype,
        show_data(r.rtype, &r.rdata)
    )
}

/// Data for a reader.
pub fn show_data(rtype: Rtype, rdata: &[u8]) -> String {
    use holdfast::dns::rdata;
    match rtype {
        Rtype::A | Rtype::AAAA => rdata::address(rdata).map(|a| a.to_string()),
        Rtype::CNAME | Rtype::DNAME | Rtype::NS => rdata::single_name(rdata).map(|n| n.to_string()),
        _ => None,
    }
    .unwrap_or_else(|| format!("({} octets)", rdata.len()))
}

impl Change {
    /// The change for a reader.
    pub fn describe(&self) -> String {
        match self {
            Change::Faults(hosts) => format!("faults {hosts:?}"),
            Change::Records(zone, records) => {
                let lines: Vec<String> = records.iter().map(show_record).collect();
                format!("zone {zone} holds {}", lines.join(", "))
            }
            Change::Servers(zone, servers) => format!("zone {zone} is served by {servers:?}"),
            Change::Signing(zone, signing) => format!("zone {zone} is signed {signing:?}"),
            Change::Clock(step_s) => format!("the clock jumps by {step_s} s"),
        }
    }
}
