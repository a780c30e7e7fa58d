//! `forward-zone:`, `stub-zone:` and `auth-zone:`.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use super::lex::Directive;
use super::output::{Draft, list, quoted};
use super::words::{address, name, path, with_port};
use super::{Files, clauses, directory};
use crate::config::HttpsUrl;
use crate::dns::Name;
use crate::tls;
use crate::zone::{ZONE_BYTES_MAX, load};

/// The port of DNS.
const DNS_PORT: u16 = 53;
/// The port of DNS over TLS (RFC 7858 section 3.1).
const DOT_PORT: u16 = 853;
/// Servers and sources of one zone; more are nobody's.
const SERVERS_MAX: usize = 64;
/// Both names of the wish to ask over TLS, for all servers or behind a prefix for those of a zone.
const ENCRYPTED: [&str; 2] = ["tls-upstream", "ssl-upstream"];
/// Octets of a zone file that is looked at; a larger one is taken as it is by the server, or not.
const ZONE_FILE_BYTES_MAX: u64 = 64 << 20;

/// Converts the clauses that are about single zones.
pub(super) fn convert(directives: &[Directive], files: &dyn Files, draft: &mut Draft) {
    let directory = directory(directives);
    let encrypted = directives.iter().rfind(|d| {
        let is_server = ["server", ""].contains(&d.clause);
        is_server && ENCRYPTED.contains(&d.name.as_str())
    });
    let encrypted = encrypted.is_some_and(|d| d.flag() == Some(true));
    for kind in ["auth-zone", "forward-zone", "stub-zone"] {
        for list in clauses(directives, kind) {
            let Some(clause) = Clause::new(list, &directory, draft) else {
                continue;
            };
            match kind {
                "auth-zone" => auth(&clause, files, draft),
                "forward-zone" => forward(&clause, draft, "forward", encrypted),
                _ => forward(&clause, draft, "stub", encrypted),
            }
        }
    }
}

/// One clause about a zone.
struct Clause<'d> {
    zone: Name,
    head: &'d Directive,
    rest: Vec<&'d Directive>,
    directory: &'d Path,
}

impl<'d> Clause<'d> {
    fn new(list: Vec<&'d Directive>, directory: &'d Path, draft: &mut Draft) -> Option<Clause<'d>> {
        let head = *list.first()?;
        let named = list.iter().rfind(|d| d.name == "name");
        let Some(named) = named else {
            draft.leave(head, "it has no name");
            return None;
        };
        let Some(zone) = name(named.value()) else {
            draft.leave(named, "no name of a zone");
            return None;
        };
        let rest = list.iter().filter(|d| !d.is_head() && d.name != "name");
        Some(Clause {
            zone,
            head: named,
            rest: rest.copied().collect(),
            directory,
        })
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        let said = self.rest.iter().rfind(|d| d.name == name);
        said.and_then(|d| d.flag()).unwrap_or(default)
    }
}

/// `forward-zone:` and `stub-zone:`, whose directives begin with `kind`; `encrypted` where all servers are asked over TLS.
fn forward(clause: &Clause<'_>, draft: &mut Draft, kind: &'static str, encrypted: bool) {
    let is_stub = kind == "stub";
    let asked = |name: &str| clause.flag(&format!("{kind}-{name}"), false);
    let over_tls = encrypted || ENCRYPTED.into_iter().any(asked);
    if over_tls && is_stub {
        let reason = "its servers are asked over TLS, which is done for a [[forward]] alone, and in clear text everybody on the way would read along; its names are resolved from the root instead";
        return draft.leave(clause.head, reason);
    }
    let port = if over_tls { DOT_PORT } else { DNS_PORT };
    // All servers of a [[forward]] prove one name: that of the first which has one.
    let name = over_tls.then(|| tls_name(clause, port)).flatten();
    let mut servers: Vec<SocketAddr> = Vec::new();
    for d in &clause.rest {
        let own = d
            .name
            .strip_prefix(kind)
            .and_then(|name| name.strip_prefix('-'));
        match own.unwrap_or_default() {
            "addr" => match address(d.value(), port) {
                Some((at, _)) if servers.iter().any(|other| other.ip() == at.ip()) => {
                    draft.leave(d, "each address may be there once");
                }
                Some(_) if servers.len() >= SERVERS_MAX => {
                    draft.leave(d, format!("more than {SERVERS_MAX} servers"));
                }
                Some((_, other)) if over_tls && other != name => {
                    draft.leave(d, "all servers of a zone prove one name: forward.tls_name");
                }
                Some((at, _)) => servers.push(at),
                None => draft.leave(d, "no address"),
            },
            "host" => draft.leave(d, format!("allowed are addresses: {kind}.servers")),
            "first" if is_stub && d.flag() == Some(true) => {
                draft.leave(d, "without an answer of its servers there is none");
            }
            "first" => {}
            "tcp-upstream" if d.flag() == Some(true) => draft.leave(d, "UDP is asked first here"),
            "no-cache" if d.flag() == Some(true) => draft.leave(d, "what they say is cached"),
            "prime" if d.flag() == Some(true) => {
                draft.leave(d, "its servers are those that are listed");
            }
            "tcp-upstream" | "no-cache" | "prime" => {}
            name if ENCRYPTED.contains(&name) => {}
            _ => draft.leave(d, "no counterpart"),
        }
    }
    if servers.is_empty() {
        return draft.leave(clause.head, "no addresses to ask");
    }
    let mut text = format!("zone = {}\n", quoted(&clause.zone));
    let shown = servers.into_iter().map(|at| with_port(at, port));
    let _ = writeln!(text, "servers = {}", list(shown));
    if over_tls {
        text.push_str("tls = true\n");
    }
    if let Some(name) = name {
        let _ = writeln!(text, "tls_name = {}", quoted(name));
    }
    if !is_stub && asked("first") {
        text.push_str("first = true\n");
    }
    match draft.table(kind, &clause.zone, text) {
        Ok(()) if over_tls && name.is_none() => {
            let reason = "nothing proved who answers; here each certificate must be for the server's address, or for forward.tls_name";
            draft.differ(clause.head, reason);
        }
        Ok(()) => {}
        Err(reason) => draft.leave(clause.head, reason),
    }
}

/// The first name in `IP@PORT#NAME` that a certificate can carry.
fn tls_name<'d>(clause: &Clause<'d>, port: u16) -> Option<&'d str> {
    let addresses = clause.rest.iter().filter(|d| d.name == "forward-addr");
    let mut names = addresses.filter_map(|d| address(d.value(), port)?.1);
    names.find(|name| {
        HttpsUrl::parse(&format!("https://{name}/")).is_some() && tls::name(name).is_some()
    })
}

/// `auth-zone:`: a mirror where there are primaries, an own zone where there is a file alone.
fn auth(clause: &Clause<'_>, files: &dyn Files, draft: &mut Draft) {
    let mut sources: Vec<String> = Vec::new();
    let mut file = None;
    for d in &clause.rest {
        match d.name.as_str() {
            "primary" | "master" => match address(d.value(), DNS_PORT) {
                Some((_, Some(_))) => draft.leave(d, "write { axfr = \"ADDRESS:853\", tls = true, tls_name = \"NAME\" } into sources"),
                Some((at, None)) => add(&mut sources, axfr(at), d, draft),
                None => draft.leave(d, "allowed are addresses: \"axfr:ADDRESS\" in mirror.sources"),
            },
            "url" => match HttpsUrl::parse(d.value()) {
                Some(_) => add(&mut sources, d.value().to_owned(), d, draft),
                None => draft.leave(d, "allowed is https://HOST/PATH: mirror.sources"),
            },
            "zonefile" => file = Some(*d).filter(|d| !d.value().is_empty()),
            "allow-notify" => draft.leave(d, "sources may notify; others: access.allow_notify"),
            "for-downstream" | "for-upstream" | "fallback-enabled" => {}
            "zonemd-check" | "zonemd-reject-absence" => {}
            _ => draft.leave(d, "no counterpart"),
        }
    }
    if !clause.flag("for-upstream", true) && !sources.is_empty() {
        let reason =
            "a mirror is for questions that are resolved; as an own zone name its file in [[zone]]";
        return draft.leave(clause.head, reason);
    }
    let added = match (sources.is_empty(), file) {
        (false, _) => mirror(clause, &sources, draft),
        (true, Some(d)) => own(clause, d, files, draft),
        (true, None) => Err("neither primaries nor a zone file that can be taken over".to_owned()),
    };
    if let Err(reason) = added {
        draft.leave(clause.head, reason);
    }
}

/// A source that is new.
fn add(sources: &mut Vec<String>, source: String, d: &Directive, draft: &mut Draft) {
    if sources.len() >= SERVERS_MAX {
        draft.leave(d, format!("more than {SERVERS_MAX} sources"));
    } else if !sources.contains(&source) {
        sources.push(source);
    }
}

fn axfr(at: SocketAddr) -> String {
    match at {
        SocketAddr::V6(v6) if at.port() == DNS_PORT => format!("axfr:[{}]", v6.ip()),
        at if at.port() == DNS_PORT => format!("axfr:{}", at.ip()),
        at => format!("axfr:{at}"),
    }
}

fn mirror(clause: &Clause<'_>, sources: &[String], draft: &mut Draft) -> Result<(), String> {
    let mut text = format!("zone = {}\n", quoted(&clause.zone));
    // Unbound takes the zone for what the servers would say, and them where it has none.
    text.push_str("use = \"always\"\n");
    let _ = writeln!(text, "sources = {}", list(sources));
    draft.table("mirror", &clause.zone, text)?;
    if !clause.zone.is_root() {
        let reason = "each version must verify by DNSSEC; where the zone is not signed add verify = \"none\"";
        draft.differ(clause.head, reason);
    }
    if clause.flag("for-downstream", true) {
        let reason = "answers from a [[mirror]] are those of a resolver (AA=0)";
        draft.differ(clause.head, reason);
    }
    Ok(())
}

fn own(
    clause: &Clause<'_>,
    d: &Directive,
    files: &dyn Files,
    draft: &mut Draft,
) -> Result<(), String> {
    let path = path(d.value(), clause.directory);
    let text = files.read(&path, ZONE_FILE_BYTES_MAX);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    let (zone, shown) = (&clause.zone, path.display().to_string());
    let read = load(text.as_bytes(), &shown, Some(zone), ZONE_BYTES_MAX);
    read.map_err(|error| error.to_string())?;
    let lines = format!("name = {}\nfile = {}\n", quoted(zone), quoted(shown));
    draft.table("zone", zone, lines)
}
