//! From the text of `config.toml` to a checked [`Config`]: which keys there are, what each may hold, and what must hold
//! between them.
//!
//! One function per table, in the file's order. An absent key keeps the value of `Config::default()`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::Located;
use super::alerts::alerts;
use super::dns64::dns64;
use super::error::{ConfigError, Fault};
use super::file_zones::{catalog, forward, mirror, stub, zone};
use super::log::{SOCKET_PATH_MAX_BYTES, dnstap, inside, log};
use super::reader::{Document, Item, Table};
use super::sets;
use super::tls::server_tls;
use super::tsig::tsig;
use super::{
    Access, Anchors, Cache, Config, Control, DnssecMode, Hints, Lab, Limits, Names, Peer,
    Reachability, Resolver, Retained, Server, Sha1, Stale, UDP_SIZE_MAX_BYTES, UDP_SIZE_MIN_BYTES,
    peer, references, scalar,
};
use crate::dns::Name;
use crate::prefix_set::PrefixSet;

/// A minute: nobody waits longer for one answer.
const WAIT_MAX_MS: u64 = 60_000;
/// A week: longer TTLs are unsafe to keep (RFC 8767 section 4).
const TTL_MAX_S: u64 = 604_800;
/// More UDP threads than this is a slip of the finger.
const WORKERS_MAX: u64 = 1024;
/// A cache smaller than this cannot hold what one resolution needs.
const CACHE_BYTES_MIN: u64 = 1 << 20;
/// Less than this on disk is not worth the writing.
const STALE_BYTES_MIN: u64 = 1 << 20;
/// About 250 MB of memory.
const NAMES_MAX: u64 = 1_000_000;
/// An hour: BIND allows no longer window either.
const RATE_WINDOW_MAX_S: u64 = 3600;
/// BIND's limit: with more, no honest client gets through.
const SLIP_MAX: u64 = 10;
/// It goes into answers beside everything else.
const IDENTITY_LEN_MAX: usize = 64;
/// IFNAMSIZ of linux/if.h, without the zero at the end.
const INTERFACE_LEN_MAX: usize = 15;
/// For counts without a natural limit.
const COUNT_MAX: u64 = 1_000_000_000;

/// See [`Config::parse`].
pub(super) fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let doc = Document::new(file, text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        doc.fault(offset, format!("not TOML: {}", error.message()));
    }
    if !errors.is_empty() {
        // What is left of a document that is no TOML would only add misleading faults.
        return Err(refused(file, doc.into_parts().0));
    }
    let config = config(&doc, table.get_ref());
    let (faults, warnings, _) = doc.into_parts();
    match ConfigError::new(faults) {
        Some(error) => Err(error),
        None => Ok(Config { warnings, ..config }),
    }
}

/// See [`Config::locate`].
pub(super) fn locate(file: &Path, text: &str) -> Result<Located, ConfigError> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let doc = Document::new(file, text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message();
        let text = format!("not TOML, so the control socket cannot be found: {message}");
        doc.fault(offset, text);
    }
    let mut root = Table::root(&doc, table.get_ref());
    let data_dir = data_dir(&mut root.table("server"));
    let socket = socket_path(&mut root.table("control"), &data_dir);
    match ConfigError::new(doc.into_parts().0) {
        Some(error) => Err(error),
        None => Ok(Located { data_dir, socket }),
    }
}

fn data_dir(server: &mut Table<'_, '_>) -> PathBuf {
    let default = server.doc().resolve("data");
    server.read("data_dir", default, scalar::path)
}

fn socket_path(control: &mut Table<'_, '_>, data_dir: &Path) -> PathBuf {
    control.read("socket", data_dir.join("control.sock"), |item| {
        socket(item, data_dir)
    })
}

/// See [`Config::known_keys`].
pub(super) fn known_keys() -> Vec<String> {
    // Tables in lists are the only ones whose keys are not asked for when they are absent.
    let text = "[access]\nallow_transfer = [{}]\n[resolver]\nnegative_trust_anchors = [{}]\n\
        [[mirror]]\nzone = '.'\nsources = [{ axfr = '192.0.2.1' }]\nnotify = [{}]\n";
    let doc = Document::new(Path::new("config.toml"), text);
    let (table, _) = DeTable::parse_recoverable(text);
    config(&doc, table.get_ref());
    doc.into_parts().2
}

fn refused(file: &Path, faults: Vec<Fault>) -> ConfigError {
    ConfigError::new(faults).unwrap_or_else(|| ConfigError::one(file, 1, "not TOML"))
}

fn config(doc: &Document<'_>, table: &DeTable<'_>) -> Config {
    let mut root = Table::root(doc, table);
    let server = server(root.table("server"));
    let base_dir = match doc.base_dir() {
        empty if empty.as_os_str().is_empty() => PathBuf::from("."),
        dir => dir.to_owned(),
    };
    let config = Config {
        access: access(root.table("access")),
        resolver: resolver(root.table("resolver")),
        forwards: [
            collect(root.tables("forward"), forward),
            collect(root.tables("stub"), stub),
        ]
        .concat(),
        dns64: dns64(root.table("dns64")),
        cache: cache(root.table("cache")),
        stale: stale(root.table("stale")),
        retained: retained(root.table("retained")),
        mirrors: collect(root.tables("mirror"), mirror),
        zones: collect(root.tables("zone"), zone),
        tsig_keys: collect(root.tables("tsig"), tsig),
        catalogs: collect(root.tables("catalog"), catalog),
        reachability: reachability(root.table("reachability")),
        names: counted_names(root.table("names")),
        alerts: alerts(root.table("alerts")),
        limits: limits(root.table("limits")),
        control: control(root.table("control"), &server.data_dir),
        log: log(root.table("log"), &server.data_dir),
        dnstap: dnstap(root.table("dnstap")),
        lab: lab(root.table("lab")),
        server,
        base_dir,
        warnings: Vec::new(),
    };
    references::check(&mut root, &config);
    root.finish();
    config
}

/// What every table of a list says; a wrong one has been reported and is left out.
fn collect<'d, 't, T>(
    tables: Vec<Table<'d, 't>>,
    one: impl Fn(Table<'d, 't>, &[T]) -> Option<T>,
) -> Vec<T> {
    let mut list = Vec::with_capacity(tables.len());
    for table in tables {
        if let Some(value) = one(table, &list) {
            list.push(value);
        }
    }
    list
}

fn server(mut t: Table<'_, '_>) -> Server {
    let default = Server::default();
    let config = Server {
        listen: t.read("listen", default.listen, listen),
        data_dir: data_dir(&mut t),
        workers: t.read("workers", 0, |item| {
            item.number(0, WORKERS_MAX, " (0 = one per core)")
                .map(|workers| workers as usize)
        }),
        udp_size_max: t.read("udp_size_max", default.udp_size_max, udp_size),
        cookies: t.read("cookies", default.cookies, Item::flag),
        chaos: t.read("chaos", default.chaos, |item| {
            item.list(
                "\"version.bind\", \"id.server\", \"status.holdfast\"",
                chaos,
            )
        }),
        identity: t.read("identity", default.identity, identity),
        nsid: t.read("nsid", default.nsid, Item::flag),
        proxy_from: t.read("proxy_from", Vec::new(), prefixes),
        xdp: t.read("xdp", Vec::new(), interfaces),
        tls: server_tls(t.table("tls")),
    };
    if let Some(net) = config.proxy_from.iter().find(|net| net.prefix_len() == 0) {
        let message = format!("{net} lets everybody say that he is anybody");
        t.warn_at(&["proxy_from"], &message);
    }
    if let Some(tls) = &config.tls {
        for (key, addresses) in [("dot", &tls.dot), ("doh", &tls.doh), ("doq", &tls.doq)] {
            if let Some(both) = addresses.iter().find(|at| config.listen.contains(at)) {
                let message =
                    format!("{both} is in listen and in tls.{key}; allowed is one of them");
                t.fault_at(&["tls", "listen"], &message);
            }
        }
    }
    t.finish();
    config
}

fn chaos(item: &Item<'_, '_>) -> Option<&'static str> {
    item.word(&[
        ("version.bind", "version.bind"),
        ("id.server", "id.server"),
        ("status.holdfast", "status.holdfast"),
    ])
}

pub(super) fn identity(item: &Item<'_, '_>) -> Option<String> {
    let allowed = "up to 64 printable characters of ASCII";
    let text = item.text(allowed)?;
    let is_plain = |octet: u8| octet == b' ' || octet.is_ascii_graphic();
    match text.len() <= IDENTITY_LEN_MAX && text.bytes().all(is_plain) {
        true => Some(text.to_owned()),
        false => item.refuse(allowed),
    }
}

/// Interfaces for AF_XDP, each once; none in a program without it.
fn interfaces(item: &Item<'_, '_>) -> Option<Vec<String>> {
    let names = item.list("names of interfaces such as \"eth0\"", interface)?;
    if !cfg!(feature = "xdp") && !names.is_empty() {
        return item
            .fault("this holdfast was built without AF_XDP (cargo feature xdp); allowed is []");
    }
    let mut enumerated = names.iter().enumerate();
    match enumerated.find(|(at, name)| names[..*at].contains(name)) {
        Some((_, name)) => item.fault(format!("{name} twice; allowed is each interface once")),
        None => Some(names),
    }
}

/// The name of an interface of Linux (`dev_valid_name`).
fn interface(item: &Item<'_, '_>) -> Option<String> {
    let allowed = "the name of an interface such as \"eth0\"";
    let text = item.text(allowed)?;
    let is_name = (1..=INTERFACE_LEN_MAX).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '/' | ':'))
        && !matches!(text, "." | "..");
    match is_name {
        true => Some(text.to_owned()),
        false => item.refuse(allowed),
    }
}

fn listen(item: &Item<'_, '_>) -> Option<Vec<SocketAddr>> {
    let list = listeners(item)?;
    if item
        .value()
        .as_array()
        .is_some_and(|written| written.is_empty())
    {
        return item.fault("empty; allowed is a list of at least one ADDRESS:PORT");
    }
    Some(list)
}

/// Addresses to listen on, or none.
pub(super) fn listeners(item: &Item<'_, '_>) -> Option<Vec<SocketAddr>> {
    let list = item.list("ADDRESS:PORT, ...", scalar::listen_address)?;
    if let Some(twice) = first_twice(&list) {
        return item.fault(format!("{twice} is listed twice; allowed is once"));
    }
    Some(list)
}

fn udp_size(item: &Item<'_, '_>) -> Option<u16> {
    let (least, most) = (u64::from(UDP_SIZE_MIN_BYTES), u64::from(UDP_SIZE_MAX_BYTES));
    item.number(least, most, " bytes")
        .and_then(|size| u16::try_from(size).ok())
}

fn access(mut t: Table<'_, '_>) -> Access {
    let default = Access::default();
    let config = Access {
        allow: t.read("allow", default.allow, prefixes),
        allow_own_zones: t.read("allow_own_zones", default.allow_own_zones, prefixes),
        allow_transfer: t.read("allow_transfer", Vec::new(), peers),
        allow_notify: t.read("allow_notify", Vec::new(), peers),
    };
    if let Some(net) = config.allow.iter().find(|net| net.prefix_len() == 0) {
        t.warn_at(
            &["allow"],
            &format!("{net} makes an open resolver, which floods others"),
        );
    }
    t.finish();
    config
}

pub(super) fn prefixes(item: &Item<'_, '_>) -> Option<Vec<ipnet::IpNet>> {
    item.list("prefixes such as \"192.0.2.0/24\"", scalar::prefix)
}

fn peers(item: &Item<'_, '_>) -> Option<Vec<Peer>> {
    item.list(
        "prefixes, addresses, \"tsig:NAME\", or { address = \"192.0.2.0/24\", tls = true }",
        peer::peer,
    )
}

pub(super) fn names(item: &Item<'_, '_>) -> Option<Vec<Name>> {
    item.list("domain names such as \"example.\"", scalar::name)
}

fn resolver(mut t: Table<'_, '_>) -> Resolver {
    let default = Resolver::default();
    let config = Resolver {
        hints: t.read("root_hints", default.hints, |item| {
            from_file(item, Hints::load)
        }),
        anchors: t.read("trust_anchor", default.anchors, |item| {
            from_file(item, Anchors::load)
        }),
        trust_anchor_updates: t.read(
            "trust_anchor_updates",
            default.trust_anchor_updates,
            Item::flag,
        ),
        dnssec: t.read("dnssec", default.dnssec, |item| {
            item.word(&[("validate", DnssecMode::Validate), ("off", DnssecMode::Off)])
        }),
        sha1: t.read("sha1", default.sha1, |item| {
            item.word(&[("insecure", Sha1::Insecure), ("validate", Sha1::Validate)])
        }),
        negative_trust_anchors: t.read("negative_trust_anchors", Vec::new(), |item| {
            item.list(
                "domain names such as \"example.\", or { name = \"example.\", until = \"2026-08-01T12:00:00Z\" }",
                scalar::negative_trust_anchor,
            )
        }),
        qname_minimisation: t.read("qname_minimisation", default.qname_minimisation, Item::flag),
        case_randomisation: t.read("case_randomisation", default.case_randomisation, Item::flag),
        cookies: t.read("cookies", default.cookies, Item::flag),
        prime: t.read("prime", default.prime, Item::flag),
        prefetch: t.read("prefetch", default.prefetch, Item::flag),
        harden_glue: t.read("harden_glue", default.harden_glue, Item::flag),
        aggressive_nsec: t.read("aggressive_nsec", default.aggressive_nsec, Item::flag),
        special_use_zones: t.read("special_use_zones", default.special_use_zones, Item::flag),
        query_loopback: t.read("query_loopback", default.query_loopback, Item::flag),
        edns_buffer: t.read("edns_buffer", default.edns_buffer, udp_size),
        outgoing: t.read("outgoing", Vec::new(), |item| {
            item.list("addresses such as \"192.0.2.1\"", scalar::ip_address)
        }),
        ipv4: t.read("ipv4", default.ipv4, Item::flag),
        ipv6: t.read("ipv6", default.ipv6, Item::flag),
        hedge_min_ms: t.read("hedge_min_ms", default.hedge_min_ms, wait_ms),
        hedge_max_ms: t.read("hedge_max_ms", default.hedge_max_ms, wait_ms),
    };
    check_resolver(&mut t, &config);
    t.finish();
    config
}

fn wait_ms(item: &Item<'_, '_>) -> Option<u64> {
    item.number(0, WAIT_MAX_MS, " milliseconds")
}

/// The parsed contents of the file that a value names.
fn from_file<T>(item: &Item<'_, '_>, load: impl Fn(&Path) -> Result<T, ConfigError>) -> Option<T> {
    let path = scalar::path(item)?;
    if let Err(error) = std::fs::metadata(&path) {
        return item.fault(format!(
            "{} cannot be read: {error}; allowed is a file",
            path.display()
        ));
    }
    load(&path).map_err(|error| item.doc().join(error)).ok()
}

/// What must hold between the keys of `[resolver]`.
fn check_resolver(t: &mut Table<'_, '_>, config: &Resolver) {
    if config.hedge_min_ms > config.hedge_max_ms {
        let (least, most) = (config.hedge_min_ms, config.hedge_max_ms);
        t.fault_at(
            &["hedge_min_ms", "hedge_max_ms"],
            &format!("hedge_min_ms is {least} and hedge_max_ms is {most}; allowed is hedge_min_ms up to hedge_max_ms"),
        );
    }
    if !config.ipv4 && !config.ipv6 {
        t.fault_at(
            &["ipv6", "ipv4"],
            "both ipv4 and ipv6 are false; allowed is one of them, not both",
        );
    }
    let usable = |address: &IpAddr| {
        if address.is_ipv4() {
            config.ipv4
        } else {
            config.ipv6
        }
    };
    if let Some(address) = config.outgoing.iter().find(|address| !usable(address)) {
        t.fault_at(
            &["outgoing"],
            &format!("{address} is of a family that is switched off"),
        );
    }
    if config.dnssec == DnssecMode::Off {
        t.warn_at(
            &["dnssec"],
            "nothing is validated; forged answers are believed",
        );
    }
}

fn cache(mut t: Table<'_, '_>) -> Cache {
    let default = Cache::default();
    let ttl = |item: &Item<'_, '_>| item.number(0, TTL_MAX_S, " seconds").map(|ttl| ttl as u32);
    let config = Cache {
        bytes_max: t.read("bytes_max", default.bytes_max, |item| {
            scalar::bytes(item, CACHE_BYTES_MIN)
        }),
        ttl_min_s: t.read("ttl_min_s", default.ttl_min_s, ttl),
        ttl_max_s: t.read("ttl_max_s", default.ttl_max_s, ttl),
        persist: t.read("persist", default.persist, Item::flag),
    };
    if config.ttl_min_s > config.ttl_max_s {
        let (least, most) = (config.ttl_min_s, config.ttl_max_s);
        t.fault_at(
            &["ttl_min_s", "ttl_max_s"],
            &format!(
                "ttl_min_s is {least} and ttl_max_s is {most}; allowed is ttl_min_s up to ttl_max_s"
            ),
        );
    }
    t.finish();
    config
}

fn stale(mut t: Table<'_, '_>) -> Stale {
    let default = Stale::default();
    let config = Stale {
        enabled: t.read("enabled", default.enabled, Item::flag),
        answer_after_ms: t.read("answer_after_ms", default.answer_after_ms, wait_ms),
        age_max_s: t.read("age_max", default.age_max_s, |item| {
            scalar::seconds(item, "")
        }),
        entries_max: t.read("entries_max", default.entries_max, |item| {
            item.number(1, COUNT_MAX, "")
        }),
        bytes_max: t.read("bytes_max", default.bytes_max, |item| {
            scalar::bytes(item, STALE_BYTES_MIN)
        }),
    };
    t.finish();
    config
}

fn retained(mut t: Table<'_, '_>) -> Retained {
    let default = Retained::default();
    let config = Retained {
        enabled: t.read("enabled", default.enabled, Item::flag),
        age_max_s: t.read("age_max", default.age_max_s, |item| {
            scalar::seconds(item, "")
        }),
        entries_max: t.read("entries_max", default.entries_max, |item| {
            item.number(1, COUNT_MAX, "")
        }),
    };
    t.finish();
    config
}

fn reachability(mut t: Table<'_, '_>) -> Reachability {
    let config = Reachability {
        probe: t.read("probe", Reachability::default().probe, Item::flag),
        domestic: t.read("domestic", PrefixSet::default(), sets::prefix_set),
        sets: sets::named(t.table("sets")),
    };
    t.finish();
    config
}

fn counted_names(mut t: Table<'_, '_>) -> Names {
    let default = Names::default();
    let config = Names {
        enabled: t.read("enabled", default.enabled, Item::flag),
        entries_max: t.read("entries_max", default.entries_max, |item| {
            item.number(100, NAMES_MAX, "")
        }),
    };
    t.finish();
    config
}

fn limits(mut t: Table<'_, '_>) -> Limits {
    let default = Limits::default();
    let count = |item: &Item<'_, '_>| item.number(0, COUNT_MAX, "").map(|count| count as u32);
    let config = Limits {
        exempt: t.read("exempt", Vec::new(), prefixes),
        queries_per_prefix_s: t.read("queries_per_prefix_s", default.queries_per_prefix_s, count),
        responses_per_s: t.read("responses_per_s", default.responses_per_s, count),
        window_s: t.read("window_s", default.window_s, |item| {
            item.number(1, RATE_WINDOW_MAX_S, " seconds")
                .map(|seconds| seconds as u32)
        }),
        slip: t.read("slip", default.slip, |item| {
            item.number(0, SLIP_MAX, " (0 = never)")
                .map(|slip| slip as u32)
        }),
        upstream_per_zone_max: t.read(
            "upstream_per_zone_max",
            default.upstream_per_zone_max,
            count,
        ),
        upstream_per_server_max: t.read(
            "upstream_per_server_max",
            default.upstream_per_server_max,
            count,
        ),
        denials_per_zone_s: t.read("denials_per_zone_s", default.denials_per_zone_s, count),
        tcp_connections_max: t.read("tcp_connections_max", default.tcp_connections_max, count),
        tcp_connections_per_prefix_max: t.read(
            "tcp_connections_per_prefix_max",
            default.tcp_connections_per_prefix_max,
            count,
        ),
    };
    t.finish();
    config
}

fn control(mut t: Table<'_, '_>, data_dir: &Path) -> Control {
    let config = Control {
        socket: socket_path(&mut t, data_dir),
        http: t.read("http", Control::default().http, |item| {
            match item.value().as_str() {
                Some("") => Some(None),
                _ => scalar::listen_address(item).map(Some),
            }
        }),
    };
    t.finish();
    config
}

/// A name inside `data_dir`: nothing is written outside it.
fn socket(item: &Item<'_, '_>, data_dir: &Path) -> Option<PathBuf> {
    let allowed = "a relative path inside data_dir, such as \"control.sock\"";
    let Some(path) = inside(data_dir, item.text(allowed)?) else {
        return item.refuse(allowed);
    };
    if path.as_os_str().len() > SOCKET_PATH_MAX_BYTES {
        item.warn(&format!(
            "{} is longer than a socket's name may be ({SOCKET_PATH_MAX_BYTES} bytes)",
            path.display()
        ));
    }
    Some(path)
}

fn lab(mut t: Table<'_, '_>) -> Lab {
    let clock_file = t
        .item("clock_file")
        .and_then(|item| match item.value().as_str() {
            Some("") => None,
            _ => scalar::path(&item),
        });
    if clock_file.is_some() {
        t.warn_at(
            &["clock_file"],
            "the clock is read from a file; for laboratories only",
        );
    }
    t.finish();
    Lab { clock_file }
}

/// A key that must be there when its table is.
pub(super) fn need_if_written<'d, 't, T>(
    t: &mut Table<'d, 't>,
    key: &'static str,
    what: &str,
    parse: impl FnOnce(&Item<'d, 't>) -> Option<T>,
) -> Option<T> {
    if t.is_written() {
        t.need(key, what, parse)
    } else {
        t.item(key).and_then(|item| parse(&item))
    }
}

/// A zone may have one table of each kind.
pub(super) fn check_once<'n>(
    t: &Table<'_, '_>,
    name: Option<&Name>,
    kind: &str,
    mut before: impl Iterator<Item = &'n Name>,
) {
    if let Some(name) = name.filter(|name| before.any(|other| other == *name)) {
        t.fault(&format!("a second [[{kind}]] for {name}; allowed is one"));
    }
}

/// The first value that is in a list twice.
pub(super) fn first_twice<T: PartialEq>(list: &[T]) -> Option<&T> {
    let mut seen = list.iter().enumerate();
    seen.find(|(index, value)| list.iter().take(*index).any(|other| other == *value))
        .map(|(_, value)| value)
}
