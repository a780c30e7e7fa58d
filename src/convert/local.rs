//! `local-zone:` and `local-data:`: own zones, with zone files made of the data.
//!
//! What Unbound makes up for single names is a zone of its own here. So a zone file is made for each `static` and `redirect` zone and for
//! each name with data outside of these, and one file serves all zones that are to have nothing, which lists of names to be
//! blocked consist of.

use std::collections::BTreeMap;
use std::path::Path;

use super::ZoneFile;
use super::lex::Directive;
use super::output::{Draft, quoted};
use super::words::name;
use crate::dns::Name;
use crate::zone::{ZONE_BYTES_MAX, load};

/// What stands at the head of each file; as in Unbound, nobody answers for it.
const HEAD: &str =
    "$TTL 3600\n@ SOA localhost. nobody.invalid. 1 3600 1200 604800 10800\n@ NS localhost.\n";
/// Records that the head makes.
const HEAD_RECORDS: u64 = 2;
/// Names in local data end at the root, with or without their last dot.
const ORIGIN: &str = "$ORIGIN .\n";
/// The zone without anything, and the one in which each name has no place.
const EMPTY: &str = "empty.zone";
const NULL: &str = "null.zone";
const NULL_DATA: &str = "@ A 0.0.0.0\n@ AAAA ::\n* A 0.0.0.0\n* AAAA ::\n";

/// What is to become of a local zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its data, and nothing else.
    Static,
    /// The data of its apex for every name.
    Redirect,
    /// Its data for single names; everything else is resolved.
    Transparent,
}

struct LocalZone<'d> {
    kind: Kind,
    directive: &'d Directive,
    records: Vec<String>,
}

/// Converts local zones and local data.
pub(super) fn convert(directives: &[Directive], draft: &mut Draft) {
    let server = directives.iter().filter(|d| d.clause == "server");
    let mut zones: BTreeMap<Name, LocalZone<'_>> = BTreeMap::new();
    let mut data: Vec<&Directive> = Vec::new();
    for d in server {
        match d.name.as_str() {
            "local-zone" => local_zone(d, &mut zones, draft),
            "local-data" | "local-data-ptr" => data.push(d),
            "unblock-lan-zones" if d.flag() == Some(true) => {
                draft.set("resolver", "special_use_zones", false);
                draft.differ(
                    d,
                    "all special names are resolved: resolver.special_use_zones",
                );
            }
            _ => {}
        }
    }
    for d in data {
        local_data(d, &mut zones, draft);
    }
    for (name, zone) in &zones {
        write(name, zone, draft);
    }
}

fn local_zone<'d>(d: &'d Directive, zones: &mut BTreeMap<Name, LocalZone<'d>>, draft: &mut Draft) {
    let [zone, kind] = &d.values[..] else {
        return draft.leave(d, "allowed is a zone and a type");
    };
    let Some(zone) = name(zone) else {
        return draft.leave(d, "no name of a zone");
    };
    let kind = match kind.as_str() {
        "static" => Kind::Static,
        "always_nxdomain" => {
            return shared(d, &zone, EMPTY, "", draft);
        }
        "always_nodata" => return draft.leave(d, "no zone without NXDOMAIN can be made"),
        "always_null" => return shared(d, &zone, NULL, NULL_DATA, draft),
        "redirect" => Kind::Redirect,
        "transparent" | "typetransparent" | "inform" | "always_transparent" => {
            if kind == "inform" || kind == "typetransparent" {
                draft.differ(d, "as transparent");
            }
            Kind::Transparent
        }
        "nodefault" => {
            // A zone that the configuration has takes the place of the special one by itself.
            if !draft.has_zone(&zone) {
                let reason =
                    "resolver.special_use_zones = false ends the answers for all special names";
                draft.leave(d, reason);
            }
            return;
        }
        _ => return draft.leave(d, "no such type here; [access] says who is refused"),
    };
    if zone.is_root() && kind != Kind::Transparent {
        return draft.leave(d, "an own root would answer for everything");
    }
    let new = LocalZone {
        kind,
        directive: d,
        records: Vec::new(),
    };
    zones.insert(zone, new);
}

fn local_data<'d>(d: &'d Directive, zones: &mut BTreeMap<Name, LocalZone<'d>>, draft: &mut Draft) {
    let text = match d.name.as_str() {
        "local-data" => Some(d.values.join(" ")),
        _ => pointer(&d.values.join(" ")),
    };
    let text = text.filter(|text| !text.trim_start().starts_with('$'));
    let Some(text) = text else {
        return draft.leave(d, "no record that can be taken over");
    };
    let owner = text.split_ascii_whitespace().next().and_then(name);
    let Some(owner) = owner.filter(|owner| !owner.is_root()) else {
        return draft.leave(d, "no record of a name");
    };
    let rest = text
        .trim_start()
        .split_once(|c: char| c.is_ascii_whitespace());
    let record = format!("{owner} {}\n", rest.map_or("", |(_, rest)| rest.trim()));
    // As it stands in a file it must be one record. An apex above the owner is none that an alias could clash with.
    let alone = format!("{HEAD}{ORIGIN}{record}");
    let above = owner.parent().unwrap_or_else(Name::root);
    match load(alone.as_bytes(), "local-data", Some(&above), ZONE_BYTES_MAX) {
        Ok(loaded) if loaded.image.record_count() == HEAD_RECORDS + 1 => {}
        Ok(_) => return draft.leave(d, "no record that can be taken over"),
        Err(error) => return draft.leave(d, format!("no record that can be read: {error}")),
    }
    let above = (0..=owner.label_count())
        .rev()
        .map(|count| owner.suffix(count));
    let mut governed = above
        .into_iter()
        .filter(|name| zones.get(name).is_some_and(|z| z.kind != Kind::Transparent));
    if let Some(governing) = governed.next() {
        let zone = zones.get_mut(&governing).expect("it was found just now");
        if zone.kind == Kind::Redirect && governing != owner {
            return draft.leave(d, "in a redirected zone only its own name has data");
        }
        return zone.records.push(record);
    }
    let alone = zones.entry(owner).or_insert(LocalZone {
        kind: Kind::Transparent,
        directive: d,
        records: Vec::new(),
    });
    alone.records.push(record);
}

/// `ADDRESS [TTL] NAME` as a PTR record.
fn pointer(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let (ip, ttl, target) = match words[..] {
        [ip, target] => (ip, "3600", target),
        [ip, ttl, target] => (ip, ttl, target),
        _ => return None,
    };
    let owner = match ip.parse().ok()? {
        std::net::IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        std::net::IpAddr::V6(ip) => {
            let octets = ip.octets();
            let nibbles = octets.iter().rev().flat_map(|o| [o & 15, o >> 4]);
            let labels: Vec<String> = nibbles.map(|n| format!("{n:x}")).collect();
            format!("{}.ip6.arpa.", labels.join("."))
        }
    };
    let target = name(target)?;
    ttl.parse::<u32>()
        .ok()
        .map(|ttl| format!("{owner} {ttl} PTR {target}"))
}

/// A zone whose file is that of others.
fn shared(d: &Directive, zone: &Name, file: &str, data: &str, draft: &mut Draft) {
    if zone.is_root() {
        return draft.leave(d, "an own root would answer for everything");
    }
    let file = ZoneFile {
        name: file.to_owned(),
        text: format!("{HEAD}{data}"),
    };
    add(d, zone, file, draft);
}

fn write(name: &Name, zone: &LocalZone<'_>, draft: &mut Draft) {
    let d = zone.directive;
    if zone.kind == Kind::Transparent && zone.records.is_empty() {
        let mut above = (0..name.label_count()).map(|count| name.suffix(count));
        if above.any(|zone| draft.has_zone(&zone)) {
            draft.leave(d, "the zone above answers for it as well");
        }
        return;
    }
    let mut text = HEAD.to_owned();
    if !zone.records.is_empty() {
        text.push_str(ORIGIN);
    }
    text.extend(zone.records.iter().map(String::as_str));
    if zone.kind == Kind::Redirect {
        let owner = name.to_string();
        let rest = zone
            .records
            .iter()
            .filter_map(|record| record.strip_prefix(&owner));
        text.extend(rest.map(|rest| format!("*.{owner}{rest}")));
    }
    if let Err(error) = load(text.as_bytes(), "local-data", Some(name), ZONE_BYTES_MAX) {
        return draft.leave(d, format!("its data make no zone: {error}"));
    }
    let is_single = zone.kind == Kind::Transparent;
    let file = match zone.records.is_empty() {
        true => EMPTY.to_owned(),
        false => format!("{}.zone", file_name(name)),
    };
    let added = add(d, name, ZoneFile { name: file, text }, draft);
    if added && is_single {
        let reason = format!("an own zone {name}: other names below it do not exist");
        draft.differ(d, reason);
    }
}

fn add(d: &Directive, zone: &Name, file: ZoneFile, draft: &mut Draft) -> bool {
    let Some(directory) = &draft.zones_dir else {
        draft.leave(d, "needs a zone file; --zones DIRECTORY writes it");
        return false;
    };
    let path = Path::new(directory).join(&file.name);
    let text = format!(
        "name = {}\nfile = {}\n",
        quoted(zone),
        quoted(path.display())
    );
    match draft.table("zone", zone, text) {
        Ok(()) => {
            draft.file(file);
            true
        }
        Err(reason) => {
            draft.leave(d, reason);
            false
        }
    }
}

/// A name as the name of a file: letters, digits, `-`, `_` and dots inside; anything else as its number.
fn file_name(name: &Name) -> String {
    let mut out = String::new();
    for b in name
        .to_lowercase()
        .to_string()
        .trim_end_matches('.')
        .bytes()
    {
        match b {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(b)),
            b'.' if !out.is_empty() => out.push('.'),
            b => out.push_str(&format!("%{b:02x}")),
        }
    }
    out
}
