//! What must hold between tables: names that one table has from another, zones that two tables claim, questions that would come back here.
//!
//! Each function looks at one kind of relation, and its fault points to the text that is wrong.

use std::net::SocketAddr;

use super::reader::Table;
use super::{Config, MirrorConfig, Source, peer, scalar};
use crate::dns::Name;

/// Reports everything that does not hold.
pub(super) fn check(root: &mut Table<'_, '_>, config: &Config) {
    check_keys(root, config);
    peer::check_tls(root, config);
    check_forwards(root, config);
    check_catalogs(root, config);
    check_zones(root, config);
}

/// Every key that is named has a table.
fn check_keys(root: &mut Table<'_, '_>, config: &Config) {
    let known = |name: &Name| config.tsig_keys.iter().any(|t| t.key.name() == name);
    let access = &config.access;
    let peers = (access.allow_transfer.iter().chain(&access.allow_notify))
        .filter_map(|peer| peer.tsig.as_ref());
    let members = config.catalogs.iter().map(|catalog| &catalog.member);
    let mirrors: Vec<&MirrorConfig> = config.mirrors.iter().chain(members).collect();
    let sources = mirrors.iter().flat_map(|mirror| &mirror.sources);
    let sources = sources.filter_map(|source| match source {
        Source::Axfr { tsig, .. } => tsig.as_ref(),
        _ => None,
    });
    let told = (mirrors.iter().flat_map(|mirror| &mirror.notify))
        .chain(config.zones.iter().flat_map(|zone| &zone.notify))
        .filter_map(|target| target.tsig.as_ref());
    let named = peers.chain(sources).chain(told);
    for name in named.filter(|name| !known(name)) {
        let is_it = |text: &str| scalar::is_name(text.strip_prefix("tsig:").unwrap_or(text), name);
        root.fault_at_text(
            &["access", "mirror", "zone", "catalog"],
            is_it,
            &format!("the key {name} is not in any [[tsig]] table"),
        );
    }
}

/// A forwarded zone or a stub is not held here, and its servers are others.
fn check_forwards(root: &mut Table<'_, '_>, config: &Config) {
    for forward in &config.forwards {
        let zone = &forward.zone;
        let is_zone = |text: &str| scalar::is_name(text, zone);
        let held = [
            ("mirror", config.mirrors.iter().any(|m| m.zone == *zone)),
            ("zone", config.zones.iter().any(|z| z.name == *zone)),
            (
                "forward",
                forward.is_stub
                    && config
                        .forwards
                        .iter()
                        .any(|f| f.zone == *zone && !f.is_stub),
            ),
        ];
        let table = forward.table();
        for (kind, _) in held.iter().filter(|(_, is)| *is) {
            let message =
                format!("{zone} is a [[{kind}]] and a [[{table}]]; allowed is one of them");
            root.fault_at_text(&[table], is_zone, &message);
        }
        let dot = config.server.tls.iter().flat_map(|tls| &tls.dot);
        let listeners: Vec<_> = config.server.listen.iter().chain(dot).collect();
        let own = |server: &&SocketAddr| listeners.iter().any(|at| is_own(at, server));
        if let Some(server) = forward.servers.iter().find(own) {
            let message = format!(
                "{server} for {zone} is this server's own address; allowed are other servers"
            );
            root.fault_at_text(&[table], is_zone, &message);
        }
        // An address is asked in one way, whoever's question it is.
        let others = config
            .forwards
            .iter()
            .filter(|other| other.tls != forward.tls);
        let mut theirs = others.flat_map(|other| &other.servers);
        if forward.tls.is_some()
            && let Some(server) = theirs.find(|server| forward.servers.contains(server))
        {
            let message = format!(
                "{server} for {zone} is in another [[forward]] with another tls, tls_name or ca; allowed is the same"
            );
            root.fault_at_text(&["forward"], is_zone, &message);
        }
    }
}

/// A catalog is either made here, or brought by a mirror.
fn check_catalogs(root: &mut Table<'_, '_>, config: &Config) {
    for catalog in &config.catalogs {
        let zone = &catalog.zone;
        let mirrored = config.mirrors.iter().any(|mirror| mirror.zone == *zone);
        let own = config.zones.iter().any(|own| own.name == *zone);
        let message = match catalog.produce {
            true if mirrored || own => format!(
                "the catalog {zone} is produced here and has a [[mirror]] or [[zone]]; allowed is one of them"
            ),
            false if !mirrored => format!("no [[mirror]] brings the catalog {zone}; add one"),
            _ => continue,
        };
        root.fault_at_text(&["catalog"], |text| scalar::is_name(text, zone), &message);
    }
}

/// An own zone is no mirror.
fn check_zones(root: &mut Table<'_, '_>, config: &Config) {
    for zone in &config.zones {
        if config.mirrors.iter().any(|mirror| mirror.zone == zone.name) {
            let message = format!(
                "{} is a [[mirror]] and a [[zone]]; allowed is one of them",
                zone.name
            );
            root.fault_at_text(
                &["zone"],
                |text| scalar::is_name(text, &zone.name),
                &message,
            );
        }
    }
}

/// Whether what is sent to `server` comes back to who listens at `at`, as far as that can be told from the addresses.
fn is_own(at: &SocketAddr, server: &SocketAddr) -> bool {
    let unspecified =
        at.ip().is_unspecified() && (server.ip().is_loopback() || server.ip().is_unspecified());
    at.port() == server.port() && (at.ip() == server.ip() || unspecified)
}
