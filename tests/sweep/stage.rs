//! A plan's internet on the simulated network, and a resolver in it.

use std::sync::Arc;

use holdfast::resolve::settings::Settings;
use holdfast::resolve::{LocalTrust, Prefer};

use crate::build::Internet;
use crate::lab::Lab;
use crate::net::SimNet;
use crate::plan::{Ds, Plan, Zone};
use crate::publish::{Published, ds_records, serve};

/// Serves the plan's zones, with its faults, and makes a resolver that has the plan's switches and mirrors, and what `change` does
/// besides.
pub fn stage(plan: &Plan, zones: &[Published], change: impl FnOnce(&mut Settings)) -> Lab {
    let net = Arc::new(SimNet::new(plan.seed));
    for (id, zone) in zones.iter().enumerate() {
        serve(plan, id, &zone.image, &net);
    }
    let root = &plan.zones[0];
    let hints = root.servers.iter();
    let hints = hints.map(|s| (s.name.clone(), s.addresses.clone()));
    let internet = Internet {
        net,
        images: Default::default(),
        hints: hints.collect(),
        anchors: match root.signing {
            Some(_) => ds_records(&Zone {
                ds: Ds::Right,
                ..root.clone()
            }),
            None => Vec::new(),
        },
    };
    let switches = plan.switches;
    let lab = Lab::with(internet, |s| {
        s.prime = switches.prime;
        s.qname_minimisation = switches.minimise;
        s.harden_glue = switches.harden_glue;
        s.ipv4 = switches.ipv4;
        s.ipv6 = switches.ipv6;
        s.seed = plan.seed;
        change(s);
    });
    for id in &plan.mirrors {
        let image = zones[*id].image.clone();
        lab.copies.hold(image, Prefer::Hedge, LocalTrust::Secure);
    }
    for (ip, fault) in &plan.faults {
        lab.net.set(&ip.to_string(), *fault);
    }
    lab
}
