//! A small internet: three roots, three TLDs and the zones below them, signed and unsigned.
//!
//! ```text
//! .              signed NSEC + ZONEMD   group "roots"    198.51.0.1 .2 .3
//! home.          signed NSEC            group "home"     198.51.1.1 .2      the domestic TLD
//! far.           signed NSEC3 opt-out   group "far"      198.51.2.1 .2      the foreign TLD
//! plain.         unsigned               group "plain"    198.51.3.1
//! shop.home.     signed                 group "domestic" 198.51.11.1 .2
//! blog.home.     unsigned               group "domestic" 198.51.12.1
//! cross.home.    signed, NS named ns.host.far., at 198.51.21.1 (group "foreign")
//! host.far.      signed                 group "foreign"  198.51.21.1
//! open.far.      unsigned (opt-out)     group "foreign"  198.51.22.1
//! site.plain.    unsigned               group "foreign"  198.51.23.1
//! ```

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use holdfast::dns::{Name, Question, Rcode, Rdata, Record, Rtype};
use holdfast::zone::Builder;
use holdfast::zone::{LookupKind, ZoneImage};

use crate::net::SimNet;
use crate::signer::{Denial, Signer, name, rr, rrs};

/// How a zone of the world is made and served.
struct Plan {
    apex: &'static str,
    signer: Option<Signer>,
    /// Names and addresses of its servers.
    servers: Vec<(&'static str, &'static str)>,
    group: &'static str,
    /// Whether a chain of DS leads to it.
    secure: bool,
    lines: String,
}

/// The internet and its truth.
pub struct World {
    /// The network that serves it.
    pub net: Arc<SimNet>,
    plans: Vec<Plan>,
    images: BTreeMap<Name, Arc<ZoneImage>>,
    /// TTL of NS, DS and glue, seconds.
    ttl: u32,
}

/// The right answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// NOERROR or NXDOMAIN.
    pub rcode: Rcode,
    /// Owner, type and data of every record of the answer section without signatures, sorted.
    pub answer: Vec<(Name, Rtype, Rdata)>,
    /// Whether the whole answer is signed up to the root.
    pub secure: bool,
}

impl World {
    /// The world of the table above; `ttl` is that of NS, DS, glue and hosts, seconds.
    pub fn new(seed: u64, ttl: u32) -> World {
        let mut world = World {
            net: Arc::new(SimNet::new(seed)),
            plans: plans(ttl),
            images: BTreeMap::new(),
            ttl,
        };
        for plan in 0..world.plans.len() {
            world.publish(plan, 1);
        }
        world
    }

    /// DS records of the root.
    pub fn anchors(&self) -> Vec<Record> {
        let root = self.plans[0].signer.as_ref().unwrap();
        vec![root.ds_record(self.ttl)]
    }

    /// Names and addresses of the roots.
    pub fn hints(&self) -> Vec<(Name, Vec<IpAddr>)> {
        let servers = &self.plans[0].servers;
        servers
            .iter()
            .map(|(n, a)| (name(n), vec![a.parse().unwrap()]))
            .collect()
    }

    /// The zone as it is served now.
    pub fn image(&self, apex: &str) -> Arc<ZoneImage> {
        self.images[&name(apex)].clone()
    }

    /// All names that hold data, with a type that they hold; for sweeps.
    pub fn questions(&self) -> Vec<Question> {
        let mut out = Vec::new();
        for image in self.images.values() {
            for node in image.nodes() {
                for set in node
                    .sets
                    .iter()
                    .filter(|s| [Rtype::A, Rtype::TXT].contains(&s.rtype))
                {
                    if node.place != holdfast::zone::Place::Occluded {
                        out.push(Question::new(node.name.clone(), set.rtype));
                    }
                }
            }
        }
        out
    }

    /// Serves the zone anew with this serial, after `change` was applied to its lines and signer.
    pub fn republish(
        &mut self,
        apex: &str,
        serial: u32,
        change: impl FnOnce(&mut String, Option<&mut Signer>),
    ) {
        let at = self.plans.iter().position(|p| p.apex == apex).unwrap();
        let plan = &mut self.plans[at];
        change(&mut plan.lines, plan.signer.as_mut());
        self.publish(at, serial);
    }

    /// The zone's records, signed, with this serial.
    pub fn records(&self, apex: &str, serial: u32) -> Vec<Record> {
        let plan = self.plans.iter().find(|p| p.apex == apex).unwrap();
        self.build(plan, serial)
    }

    fn publish(&mut self, at: usize, serial: u32) {
        let plan = &self.plans[at];
        let mut builder = Builder::new(name(plan.apex));
        for record in self.build(plan, serial) {
            builder.add(record).unwrap();
        }
        let image = Arc::new(builder.finish().unwrap());
        for (_, address) in &plan.servers {
            self.net.serve(address, image.clone(), &[plan.group]);
        }
        self.images.insert(name(plan.apex), image);
    }

    fn build(&self, plan: &Plan, serial: u32) -> Vec<Record> {
        let (apex, ttl) = (plan.apex, self.ttl);
        let mut records = vec![rr(&format!(
            "{apex} {ttl} SOA ns.{apex} host.{apex} {serial} 60 20 3600 {ttl}"
        )
        .replace("..", "."))];
        for (ns, address) in &plan.servers {
            records.push(rr(&format!("{apex} {ttl} NS {ns}")));
            if name(ns).is_within(&name(apex)) {
                records.push(rr(&format!("{ns} {ttl} A {address}")));
            }
        }
        for child in self.plans.iter().filter(|c| is_child(c, plan, &self.plans)) {
            for (ns, address) in &child.servers {
                records.push(rr(&format!("{} {ttl} NS {ns}", child.apex)));
                if name(ns).is_within(&name(child.apex)) {
                    records.push(rr(&format!("{ns} {ttl} A {address}")));
                }
            }
            if let (Some(signer), true) = (&child.signer, child.secure) {
                records.push(signer.ds_record(ttl));
            }
        }
        records.extend(rrs(&plan.lines));
        match &plan.signer {
            Some(signer) => signer.sign(&records),
            None => records,
        }
    }

    /// The right answer, from the zones themselves.
    pub fn truth(&self, question: &Question) -> Truth {
        let mut truth = Truth {
            rcode: Rcode::NOERROR,
            answer: Vec::new(),
            secure: true,
        };
        let mut owner = question.name.clone();
        for _ in 0..16 {
            let strict = question.rtype == Rtype::DS && !owner.is_root();
            let plan = self.plans.iter().filter(|p| match strict {
                true => owner.is_below(&name(p.apex)),
                false => owner.is_within(&name(p.apex)),
            });
            let plan = plan.max_by_key(|p| name(p.apex).label_count()).unwrap();
            truth.secure &= plan.secure;
            let found = self.images[&name(plan.apex)].lookup(&owner, question.rtype);
            for set in &found.answer {
                let rows = set
                    .rdatas
                    .iter()
                    .map(|r| (set.name.clone(), set.rtype, r.clone()));
                truth.answer.extend(rows);
            }
            match found.kind {
                LookupKind::Alias(target) => {
                    owner = target;
                    continue;
                }
                LookupKind::NxDomain => truth.rcode = Rcode::NXDOMAIN,
                // The denial of a name below an opt-out span may hide an insecure delegation.
                LookupKind::Referral(cut) => panic!("{question}: no zone at {cut}"),
                _ => {}
            }
            break;
        }
        truth.answer.sort();
        truth
    }
}

fn is_child(child: &Plan, parent: &Plan, all: &[Plan]) -> bool {
    let (child, parent) = (name(child.apex), name(parent.apex));
    let between = |p: &Plan| child.is_below(&name(p.apex)) && name(p.apex).is_below(&parent);
    child.is_below(&parent) && !all.iter().any(between)
}

fn plans(ttl: u32) -> Vec<Plan> {
    let signed = |apex: &str, seed| Some(Signer::new(apex, seed));
    let with = |signer: Option<Signer>, change: fn(&mut Signer)| {
        signer.map(|mut s| {
            change(&mut s);
            s
        })
    };
    vec![
        Plan {
            apex: ".",
            signer: with(signed(".", 1), |s| s.zonemd = true),
            servers: vec![
                ("a.roots.", "198.51.0.1"),
                ("b.roots.", "198.51.0.2"),
                ("c.roots.", "198.51.0.3"),
            ],
            group: "roots",
            secure: true,
            lines: String::new(),
        },
        Plan {
            apex: "home.",
            signer: signed("home.", 2),
            servers: vec![
                ("ns1.nic.home.", "198.51.1.1"),
                ("ns2.nic.home.", "198.51.1.2"),
            ],
            group: "home",
            secure: true,
            lines: format!("info.home. {ttl} TXT the domestic registry"),
        },
        Plan {
            apex: "far.",
            signer: with(signed("far.", 3), |s| s.denial = Denial::nsec3(true)),
            servers: vec![
                ("ns1.nic.far.", "198.51.2.1"),
                ("ns2.nic.far.", "198.51.2.2"),
            ],
            group: "far",
            secure: true,
            lines: String::new(),
        },
        Plan {
            apex: "plain.",
            signer: None,
            servers: vec![("ns.nic.plain.", "198.51.3.1")],
            group: "plain",
            secure: false,
            lines: String::new(),
        },
        Plan {
            apex: "shop.home.",
            signer: signed("shop.home.", 4),
            servers: vec![
                ("ns1.shop.home.", "198.51.11.1"),
                ("ns2.shop.home.", "198.51.11.2"),
            ],
            group: "domestic",
            secure: true,
            lines: format!(
                "www.shop.home. {ttl} A 192.0.2.1
                 api.shop.home. {ttl} A 192.0.2.2
                 api.shop.home. {ttl} A 192.0.2.3
                 a.b.c.shop.home. {ttl} A 192.0.2.4
                 *.any.shop.home. {ttl} A 192.0.2.5
                 alias.shop.home. {ttl} CNAME www.shop.home.
                 abroad.shop.home. {ttl} CNAME www.host.far.
                 insecure.shop.home. {ttl} CNAME www.open.far.
                 old.shop.home. {ttl} DNAME host.far.
                 loop1.shop.home. {ttl} CNAME loop2.shop.home.
                 loop2.shop.home. {ttl} CNAME loop1.shop.home."
            ),
        },
        Plan {
            apex: "blog.home.",
            signer: None,
            servers: vec![("ns1.blog.home.", "198.51.12.1")],
            group: "domestic",
            secure: false,
            lines: format!(
                "www.blog.home. {ttl} A 192.0.2.20\ntxt.blog.home. {ttl} TXT unsigned words"
            ),
        },
        Plan {
            apex: "cross.home.",
            signer: signed("cross.home.", 5),
            servers: vec![("ns.host.far.", "198.51.21.1")],
            group: "foreign",
            secure: true,
            lines: format!("www.cross.home. {ttl} A 192.0.2.30"),
        },
        Plan {
            apex: "host.far.",
            signer: signed("host.far.", 6),
            servers: vec![("ns.host.far.", "198.51.21.1")],
            group: "foreign",
            secure: true,
            lines: format!("www.host.far. {ttl} A 198.51.100.1"),
        },
        Plan {
            apex: "open.far.",
            signer: None,
            servers: vec![("ns.open.far.", "198.51.22.1")],
            group: "foreign",
            secure: false,
            lines: format!("www.open.far. {ttl} A 198.51.100.2"),
        },
        Plan {
            apex: "site.plain.",
            signer: None,
            servers: vec![("ns.site.plain.", "198.51.23.1")],
            group: "foreign",
            secure: false,
            lines: format!("www.site.plain. {ttl} A 198.51.100.3"),
        },
    ]
}
