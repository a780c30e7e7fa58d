//! The tables that come in lists, one per zone or key: `[[forward]]`, `[[mirror]]`, `[[zone]]`, `[[catalog]]`; `[[tsig]]` is in `tsig.rs`.
//!
//! Each function gets one table and what its predecessors said, and returns `None` after it has reported what keeps the
//! table from being used.

use std::net::{IpAddr, SocketAddr};

use super::file::{check_once, first_twice, names, need_if_written};
use super::mirror::{
    AgeMax, ExpiredSignatures, MirrorConfig, MirrorUse, NotifyTarget, ProtectChanges, Source,
    Verify, ZoneConfig,
};
use super::reader::{Item, Table};
use super::{Catalog, Forward, scalar};
use crate::dns::Name;

/// Each generation is a file on disk.
const GENERATIONS_MAX: u64 = 100;
/// A transfer that takes longer than a day is stuck.
const TRANSFER_TIME_MAX_S: u64 = 86_400;
/// Members of a catalog, unless told otherwise; each has a task and files.
const MEMBERS_MAX_DEFAULT: usize = 1000;
/// Largest transfer of a member, unless told otherwise, in bytes: a catalog may list a thousand zones, and brings none of a registry's size
/// without being asked.
const MEMBER_BYTES_MAX_DEFAULT: u64 = 256 << 20;
/// Room for the versions of a member, unless told otherwise, in bytes.
const MEMBER_GENERATIONS_BYTES_MAX_DEFAULT: u64 = 1 << 30;
/// More zones than anyone mirrors.
const MEMBERS_MAX: u64 = 100_000;
/// Smallest limit for a transfer that still admits a small zone.
const TRANSFER_BYTES_MIN: u64 = 1 << 10;

pub(super) fn forward(mut t: Table<'_, '_>, before: &[Forward]) -> Option<Forward> {
    let zone = need_if_written(
        &mut t,
        "zone",
        "name the zone; \".\" forwards everything",
        scalar::name,
    );
    let servers = need_if_written(&mut t, "servers", "list the servers' addresses", forwarders);
    let first = t.read("first", false, Item::flag);
    check_once(
        &t,
        zone.as_ref(),
        "forward",
        before.iter().map(|forward| &forward.zone),
    );
    t.finish();
    Some(Forward {
        zone: zone?,
        servers: servers?,
        first,
    })
}

fn forwarders(item: &Item<'_, '_>) -> Option<Vec<SocketAddr>> {
    let servers = item.list("addresses such as \"192.0.2.1\"", scalar::server_address)?;
    if item.value().as_array().is_some_and(|list| list.is_empty()) {
        return item.fault("empty; allowed is a list of at least one address");
    }
    // What is known of a server (does it answer, how fast) is known of its address.
    let addresses: Vec<IpAddr> = servers.iter().map(SocketAddr::ip).collect();
    if let Some(twice) = first_twice(&addresses) {
        return item.fault(format!("{twice} is listed twice; allowed is once"));
    }
    Some(servers)
}

pub(super) fn mirror(mut t: Table<'_, '_>, before: &[MirrorConfig]) -> Option<MirrorConfig> {
    let zone = need_if_written(&mut t, "zone", "name the zone, such as \".\"", scalar::name);
    let default = MirrorConfig::new(zone.clone().unwrap_or_else(Name::root));
    let config = MirrorConfig {
        bootstrap: t.item("bootstrap").and_then(|item| scalar::path(&item)),
        protect: t.read("protect", Vec::new(), names),
        protect_changes: t.read("protect_changes", default.protect_changes, |item| {
            item.word(&[
                ("alarm", ProtectChanges::Alarm),
                ("hold", ProtectChanges::Hold),
            ])
        }),
        ..shared_keys(&mut t, default)
    };
    check_once(
        &t,
        zone.as_ref(),
        "mirror",
        before.iter().map(|mirror| &mirror.zone),
    );
    if t.is_written() && zone.is_some() {
        check_mirror(&t, &config);
    }
    t.finish();
    zone.map(|_| config)
}

/// The keys that a `[[mirror]]` has for its zone and a `[[catalog]]` for its members.
fn shared_keys(t: &mut Table<'_, '_>, default: MirrorConfig) -> MirrorConfig {
    MirrorConfig {
        use_: t.read("use", default.use_, |item| {
            item.word(&[
                ("failover", MirrorUse::Failover),
                ("always", MirrorUse::Always),
            ])
        }),
        sources: t.read("sources", Vec::new(), |item| {
            item.list(
                "\"axfr:ADDRESS\", \"https://HOST/PATH\", \"file:PATH\", or tables that say more",
                scalar::source,
            )
        }),
        verify: t.read("verify", default.verify, |item| {
            item.word(&[("dnssec", Verify::Dnssec), ("none", Verify::None)])
        }),
        age_max: t.read("age_max", default.age_max, age_max),
        expired_signatures: t.read("expired_signatures", default.expired_signatures, |item| {
            item.word(&[
                ("accept", ExpiredSignatures::Accept),
                ("reject", ExpiredSignatures::Reject),
            ])
        }),
        shrink_max: t.read("shrink_max", default.shrink_max, scalar::percent),
        generations: t.read("generations", default.generations, |item| {
            item.number(1, GENERATIONS_MAX, "")
                .map(|count| count as u32)
        }),
        generations_bytes_max: t.read(
            "generations_bytes_max",
            default.generations_bytes_max,
            |item| scalar::bytes(item, TRANSFER_BYTES_MIN),
        ),
        bytes_max: t.read("bytes_max", default.bytes_max, |item| {
            scalar::bytes(item, TRANSFER_BYTES_MIN)
        }),
        transfer_time_max_s: t.read("transfer_time_max_s", default.transfer_time_max_s, |item| {
            item.number(1, TRANSFER_TIME_MAX_S, " seconds")
        }),
        notify: notify(t),
        ..default
    }
}

/// Who is told of new versions.
fn notify(t: &mut Table<'_, '_>) -> Vec<NotifyTarget> {
    t.read("notify", Vec::new(), |item| {
        let targets = item.list(
            "addresses such as \"192.0.2.2\", or { address = \"192.0.2.2\", tsig = \"hub-key.\" }",
            scalar::notify_target,
        )?;
        let addresses: Vec<SocketAddr> = targets.iter().map(|target| target.addr).collect();
        match first_twice(&addresses) {
            Some(twice) => item.fault(format!("{twice} is listed twice; allowed is once")),
            None => Some(targets),
        }
    })
}

fn age_max(item: &Item<'_, '_>) -> Option<AgeMax> {
    if item.value().as_str() == Some("soa") {
        return Some(AgeMax::SoaExpire);
    }
    scalar::seconds(item, " or \"soa\"").map(AgeMax::Seconds)
}

/// What must hold between the keys of one `[[mirror]]`.
fn check_mirror(t: &Table<'_, '_>, config: &MirrorConfig) {
    let zone = &config.zone;
    if !t.has("sources") && config.bootstrap.is_none() {
        t.fault(
            "neither `sources` nor `bootstrap`; allowed is a list such as [\"axfr:192.0.2.1\"]",
        );
    } else if config.sources.is_empty() && !t.has("sources") {
        t.warn("no `sources`: the bootstrap snapshot is never refreshed");
    } else if t.is_empty_list("sources") && config.bootstrap.is_none() {
        t.fault_at(
            &["sources"],
            "empty; allowed is at least one source, or a bootstrap",
        );
    }
    if let Some(twice) = first_twice(&config.sources) {
        t.fault_at(
            &["sources"],
            &format!("{twice} is listed twice; allowed is once"),
        );
    }
    if let Some(outside) = config.protect.iter().find(|name| !name.is_below(zone)) {
        t.fault_at(
            &["protect"],
            &format!("{outside} is not below {zone}; allowed are names below the zone"),
        );
    }
    let plain = |source: &Source| {
        matches!(
            source,
            Source::Axfr {
                tsig: None,
                tls: None,
                ..
            }
        )
    };
    if config.verify == Verify::None && config.sources.iter().any(plain) {
        t.warn_at(
            &["verify"],
            "a plain transfer that is not verified: whoever is on the path can change it",
        );
    }
    let missing = config
        .bootstrap
        .as_ref()
        .filter(|path| std::fs::metadata(path).is_err());
    if let Some(path) = missing {
        // Only the first boot needs it: a running site must not stop for it.
        let message = format!(
            "{} is missing; a first start inside an outage has no copy to serve",
            path.display()
        );
        t.warn_at(&["bootstrap"], &message);
    }
}

pub(super) fn zone(mut t: Table<'_, '_>, before: &[ZoneConfig]) -> Option<ZoneConfig> {
    let name = need_if_written(
        &mut t,
        "name",
        "name the zone, such as \"lab.test.\"",
        scalar::name,
    );
    let file = need_if_written(&mut t, "file", "name its zone file", |item| {
        let path = scalar::path(item)?;
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() => Some(path),
            Ok(_) => item.fault(format!(
                "{} is no file; allowed is a zone file",
                path.display()
            )),
            Err(error) => item.fault(format!(
                "{} cannot be read: {error}; allowed is a zone file",
                path.display()
            )),
        }
    });
    let notify = notify(&mut t);
    check_once(
        &t,
        name.as_ref(),
        "zone",
        before.iter().map(|zone| &zone.name),
    );
    t.finish();
    Some(ZoneConfig {
        name: name?,
        file: file?,
        notify,
    })
}

pub(super) fn catalog(mut t: Table<'_, '_>, before: &[Catalog]) -> Option<Catalog> {
    let zone = need_if_written(&mut t, "zone", "name the catalog zone", scalar::name);
    let produce = t.read("produce", false, Item::flag);
    let members_max = t.read("members_max", MEMBERS_MAX_DEFAULT, |item| {
        item.number(1, MEMBERS_MAX, "").map(|count| count as usize)
    });
    let default = MirrorConfig {
        catalog: zone.clone(),
        bytes_max: MEMBER_BYTES_MAX_DEFAULT,
        generations_bytes_max: MEMBER_GENERATIONS_BYTES_MAX_DEFAULT,
        ..MirrorConfig::new(zone.clone().unwrap_or_else(Name::root))
    };
    let member = shared_keys(&mut t, default);
    if zone.is_some() {
        check_catalog(&t, produce, &member);
    }
    check_once(
        &t,
        zone.as_ref(),
        "catalog",
        before.iter().map(|catalog| &catalog.zone),
    );
    t.finish();
    Some(Catalog {
        zone: zone?,
        produce,
        members_max,
        member,
    })
}

/// What must hold between the keys of one `[[catalog]]`.
fn check_catalog(t: &Table<'_, '_>, produce: bool, member: &MirrorConfig) {
    if !produce && member.sources.is_empty() {
        t.fault(
            "`sources` of its members are missing; allowed is a list such as [\"axfr:192.0.2.1\"]",
        );
    }
    let of_members = [
        "members_max",
        "use",
        "sources",
        "verify",
        "age_max",
        "expired_signatures",
        "shrink_max",
        "generations",
        "generations_bytes_max",
        "bytes_max",
        "transfer_time_max_s",
    ];
    let odd = of_members.iter().find(|key| t.has(key));
    if let Some(key) = odd.filter(|_| produce) {
        let message = format!(
            "`{key}` is for the members of a catalog that is followed, and this one is produced"
        );
        t.fault_at(&[key], &message);
    }
    if let Some(Source::File(path)) = member.sources.iter().find(|s| matches!(s, Source::File(_))) {
        let message = format!(
            "{} would be the file of every member; allowed are servers",
            path.display()
        );
        t.fault_at(&["sources"], &message);
    }
}
