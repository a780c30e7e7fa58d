//! The clause `server:`, and what lies in clauses that have no counterpart.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv6Net};

use super::lex::Directive;
use super::output::{Draft, list, quoted};
use super::words::{address, bytes, name, number_of, path, size};
use super::{Files, access};
use crate::config::{Anchors, Hints, UDP_SIZE_MAX_BYTES, UDP_SIZE_MIN_BYTES};
use crate::prefix_set::parse_prefix;
use crate::tls::Identity;

/// What Unbound gives each of its two caches when nothing else is said, in octets.
const CACHE_DEFAULT_BYTES: u64 = 4 << 20;
/// The smallest cache that the configuration allows, in octets.
const CACHE_MIN_BYTES: u64 = 1 << 20;
/// The longest TTL that the configuration allows, in seconds.
const TTL_MAX_S: u64 = 604_800;
/// The longest TTL when nothing else is said, in seconds, in both programs.
const TTL_MAX_DEFAULT_S: u64 = 86_400;
/// The longest wait that the configuration allows, in milliseconds.
const WAIT_MAX_MS: u64 = 60_000;
/// Most threads that the configuration allows.
const WORKERS_MAX: u64 = 1024;
/// Largest count that the configuration allows.
const COUNT_MAX: u64 = 1_000_000_000;
/// Addresses to listen on, and names that are not validated; more are a slip.
const ADDRESSES_MAX: usize = 1000;
const NAMES_MAX: usize = 1000;
/// Octets of a file of hints or anchors.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Where `dns64-prefix` lies when nothing else is said (RFC 6052 section 2.1).
const WELL_KNOWN: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);
/// TTL of old answers, in seconds (RFC 8767 section 4).
const STALE_TTL_S: &str = "30";

/// Yes or no here and there.
const FLAGS: &[(&str, &str, &str)] = &[
    ("do-ip4", "resolver", "ipv4"),
    ("do-ip6", "resolver", "ipv6"),
    ("prefetch", "resolver", "prefetch"),
    ("qname-minimisation", "resolver", "qname_minimisation"),
    ("use-caps-for-id", "resolver", "case_randomisation"),
    ("aggressive-nsec", "resolver", "aggressive_nsec"),
    ("harden-glue", "resolver", "harden_glue"),
    ("serve-expired", "stale", "enabled"),
    ("answer-cookie", "server", "cookies"),
    ("log-servfail", "log", "servfail"),
];
/// What is so here without being asked for, with the value that asks for it.
const ALWAYS: &[(&str, &str)] = &[
    ("do-udp", "yes"),
    ("do-tcp", "yes"),
    ("do-daemonize", "no"),
    ("harden-dnssec-stripped", "yes"),
    ("harden-below-nxdomain", "yes"),
    ("harden-short-bufsize", "yes"),
    ("harden-large-queries", "yes"),
    ("harden-algo-downgrade", "no"),
    ("harden-referral-path", "no"),
    ("harden-unknown-additional", "yes"),
    ("hide-trustanchor", "yes"),
    ("hide-http-user-agent", "yes"),
    ("hide-identity", "no"),
    ("hide-version", "no"),
    ("minimal-responses", "yes"),
    ("val-clean-additional", "yes"),
    ("val-permissive-mode", "no"),
    ("ignore-cd-flag", "no"),
    ("use-systemd", "yes"),
    ("use-systemd", "no"),
    ("ede", "yes"),
    ("ede-serve-expired", "yes"),
    ("pad-responses", "yes"),
    ("udp-connect", "yes"),
    ("so-reuseport", "yes"),
    ("disable-dnssec-lame-check", "no"),
    ("do-not-query-localhost", "yes"),
    ("unblock-lan-zones", "no"),
    ("insecure-lan-zones", "no"),
    ("deny-any", "yes"),
    ("qname-minimisation-strict", "no"),
    ("log-queries", "no"),
    ("log-replies", "no"),
    ("tls-upstream", "no"),
    ("tls-cert-bundle", "/etc/ssl/certs/ca-certificates.crt"),
    ("tls-system-cert", "yes"),
    ("tls-use-sni", "yes"),
    ("tcp-upstream", "no"),
    ("interface-automatic", "no"),
    ("serve-expired-ttl-reset", "no"),
    ("module-config", "validator iterator"),
    ("module-config", "respip validator iterator"),
    ("serve-expired-reply-ttl", STALE_TTL_S),
];
/// What has no counterpart for a good reason.
const REASONS: &[(&[&str], &str)] = &[
    (
        &[
            "username",
            "chroot",
            "pidfile",
            "do-daemonize",
            "use-systemd",
            "directory",
        ],
        "the unit for systemd (packaging/systemd) says under which user and where it runs",
    ),
    (
        &[
            "num-queries-per-thread",
            "outgoing-range",
            "so-rcvbuf",
            "so-sndbuf",
            "so-reuseport",
            "msg-cache-slabs",
            "rrset-cache-slabs",
            "infra-cache-slabs",
            "key-cache-slabs",
            "infra-host-ttl",
            "infra-cache-numhosts",
            "infra-cache-min-rtt",
            "infra-cache-max-rtt",
            "infra-keep-probing",
            "key-cache-size",
            "neg-cache-size",
            "outgoing-num-tcp",
            "msg-buffer-size",
            "jostle-timeout",
            "delay-close",
            "target-fetch-policy",
            "unknown-server-time-limit",
            "outbound-msg-retry",
            "max-sent-count",
            "max-query-restarts",
            "ratelimit-slabs",
            "ratelimit-size",
            "ip-ratelimit-slabs",
            "ip-ratelimit-size",
            "outgoing-port-permit",
            "outgoing-port-avoid",
            "tcp-idle-timeout",
            "tcp-reuse-timeout",
            "max-reuse-tcp-queries",
            "tcp-auth-query-timeout",
            "edns-tcp-keepalive",
            "edns-tcp-keepalive-timeout",
            "sock-queue-timeout",
            "stream-wait-size",
            "http-query-buffer-size",
            "http-response-buffer-size",
            "http-max-streams",
            "quic-size",
            "fast-server-num",
            "fast-server-permil",
            "low-rtt",
            "low-rtt-permil",
            "prefetch-key",
            "val-sig-skew-min",
            "val-sig-skew-max",
            "val-bogus-ttl",
            "val-max-restart",
            "add-holddown",
            "del-holddown",
            "keep-missing",
            "permit-small-holddown",
            "wait-limit",
            "discard-timeout",
            "cache-max-negative-ttl",
            "cache-min-negative-ttl",
        ],
        "has fixed limits here (ARCHITECTURE.md, \"Limits\")",
    ),
    (
        &[
            "statistics-interval",
            "statistics-cumulative",
            "extended-statistics",
            "statistics-inhibit-zero",
            "shm-enable",
            "shm-key",
        ],
        "everything is counted: `holdfast status`, /metrics of control.http",
    ),
    (
        &[
            "logfile",
            "use-syslog",
            "log-identity",
            "log-time-ascii",
            "log-time-iso",
            "log-destaddr",
        ],
        "the log goes to stderr, and so to the journal; see log.format",
    ),
    (
        &["private-address", "private-domain"],
        "answers with private addresses are not taken out here",
    ),
    (
        &[
            "ratelimit",
            "ratelimit-factor",
            "ratelimit-backoff",
            "ratelimit-for-domain",
            "ratelimit-below-domain",
        ],
        "what one zone may cost is bounded by limits.upstream_per_zone_max and limits.denials_per_zone_s",
    ),
    (
        &[
            "ip-ratelimit-cookie",
            "ip-ratelimit-factor",
            "ip-ratelimit-backoff",
            "unwanted-reply-threshold",
        ],
        "see limits.queries_per_prefix_s, limits.slip and limits.exempt",
    ),
    (
        &[
            "tls-cert-bundle",
            "tls-win-cert",
            "tls-upstream",
            "tls-system-cert",
            "tls-use-sni",
        ],
        "only the servers of a [[forward]] are asked over TLS: forward.tls, forward.ca",
    ),
    (
        &["log-tag-queryreply", "log-local-actions"],
        "the query log has a form of its own: log.queries",
    ),
    (
        &["serve-expired-reply-ttl", "serve-expired-ttl-reset"],
        "old answers have a TTL of 30 s, and an end that counts from when they ran out (RFC 8767)",
    ),
    (
        &["dns64-synthall", "dns64-ignore-aaaa"],
        "see dns64.exclude",
    ),
    (
        &["cookie-secret", "cookie-secret-file"],
        "secrets of cookies are made by the program itself",
    ),
];
/// Those are read together with others, or by `local` and `zones`.
const ELSEWHERE: &[&str] = &[
    "port",
    "tls-port",
    "ssl-port",
    "https-port",
    "quic-port",
    "tls-additional-port",
    "ssl-additional-port",
    "local-zone",
    "local-data",
    "local-data-ptr",
    "unblock-lan-zones",
];
/// Clauses without a counterpart, and why.
const CLAUSES: &[(&str, &str)] = &[
    (
        "remote-control",
        "the control socket is a file in data_dir; `holdfast status`, `holdfast cache flush` ... use it",
    ),
    ("view", "clients are not told apart here but by [access]"),
    ("rpz", "response policy zones are not here"),
    ("python", "there are no modules here"),
    ("dynlib", "there are no modules here"),
    (
        "dnscrypt",
        "DNSCrypt is not here; see [server.tls] for DNS over TLS, HTTPS and QUIC",
    ),
    (
        "cachedb",
        "what is worth keeping is kept in data_dir (cache.persist)",
    ),
    ("ipset", "sets of the kernel are not filled here"),
];

/// Converts the clause `server:` and names what lies in other clauses.
pub(super) fn convert(directives: &[Directive], files: &dyn Files, draft: &mut Draft) {
    draft.set("server", "data_dir", quoted("/var/lib/holdfast"));
    for directive in directives.iter().filter(|d| d.is_head()) {
        if let Some((_, reason)) = CLAUSES.iter().find(|(name, _)| *name == directive.clause) {
            draft.leave(directive, *reason);
        }
    }
    let server: Vec<&Directive> = (directives.iter())
        .filter(|d| ["server", ""].contains(&d.clause) && !d.is_head())
        .collect();
    let mut reader = Reader::new(&server, files, draft);
    for directive in &server {
        reader.directive(directive);
    }
    reader.finish();
}

/// What is said in several directives together.
struct Reader<'a> {
    files: &'a dyn Files,
    draft: &'a mut Draft,
    directory: PathBuf,
    ports: Ports,
    plain: Vec<SocketAddr>,
    tls: [Vec<SocketAddr>; 3],
    /// Whether any address to listen on is named.
    listens: Option<Directive>,
    families: [bool; 2],
    cert: Option<PathBuf>,
    key: Option<(PathBuf, Directive)>,
    access: Vec<(IpNet, bool)>,
    own_zones: Vec<IpNet>,
    has_access: Option<Directive>,
    caches: [Option<u64>; 2],
    /// Least and most.
    ttls: [Option<(u64, Directive)>; 2],
    insecure: Vec<String>,
    outgoing: Vec<IpAddr>,
    hidden: [bool; 2],
    anchors: Option<PathBuf>,
    /// Whether its module is there, and its prefix.
    dns64: (bool, Ipv6Net),
}

/// Ports by what is spoken on them.
struct Ports {
    plain: u16,
    tls: Vec<u16>,
    https: u16,
    quic: Option<u16>,
}

impl Ports {
    fn new(server: &[&Directive]) -> Ports {
        let port = |names: &[&str]| -> Vec<u16> {
            let named = server.iter().filter(|d| names.contains(&d.name.as_str()));
            let ports = named.filter_map(|d| u16::try_from(number_of(d.value())?).ok());
            ports.filter(|port| *port != 0).collect()
        };
        let mut tls = port(&["tls-port", "ssl-port"]);
        if tls.is_empty() {
            tls.push(853);
        }
        tls.extend(port(&["tls-additional-port", "ssl-additional-port"]));
        Ports {
            plain: port(&["port"]).pop().unwrap_or(53),
            tls,
            https: port(&["https-port"]).pop().unwrap_or(443),
            quic: port(&["quic-port"]).pop(),
        }
    }
}

impl<'a> Reader<'a> {
    fn new(server: &[&Directive], files: &'a dyn Files, draft: &'a mut Draft) -> Reader<'a> {
        let directory = server.iter().rfind(|d| d.name == "directory");
        let from = |d: &&Directive| PathBuf::from(d.value());
        let beside = server.first().and_then(|d| d.file.parent());
        Reader {
            files,
            draft,
            directory: directory.map_or_else(|| beside.unwrap_or(Path::new("")).to_owned(), from),
            ports: Ports::new(server),
            plain: Vec::new(),
            tls: [const { Vec::new() }; 3],
            listens: None,
            families: [true, true],
            cert: None,
            key: None,
            access: Vec::new(),
            own_zones: Vec::new(),
            has_access: None,
            caches: [None, None],
            ttls: [None, None],
            insecure: Vec::new(),
            outgoing: Vec::new(),
            hidden: [false, false],
            anchors: None,
            dns64: (false, Ipv6Net::new_assert(WELL_KNOWN, 96)),
        }
    }

    fn directive(&mut self, d: &Directive) {
        let whole = d.values.join(" ");
        if ELSEWHERE.contains(&d.name.as_str()) {
            return;
        }
        if let Some((_, table, key)) = FLAGS.iter().find(|(name, _, _)| *name == d.name) {
            let Some(flag) = d.flag() else {
                return self.draft.leave(d, "neither yes nor no");
            };
            if let Some(family) = ["do-ip4", "do-ip6"].iter().position(|name| *name == d.name) {
                if !flag && !self.families[1 - family] {
                    return self.draft.leave(d, "one of IPv4 and IPv6 must be left");
                }
                self.families[family] = flag;
            }
            return self.draft.set(table, key, flag);
        }
        if ALWAYS
            .iter()
            .any(|(name, value)| *name == d.name && *value == whole)
        {
            return;
        }
        if !self.known(d, &whole) {
            let reason = REASONS
                .iter()
                .find(|(names, _)| names.contains(&d.name.as_str()));
            let reason = reason.map_or("no counterpart", |(_, reason)| reason);
            self.draft.leave(d, reason);
        }
    }

    /// Whether the directive is one that can be carried over; if it cannot as it is, that has been noted.
    fn known(&mut self, d: &Directive, whole: &str) -> bool {
        match d.name.as_str() {
            "interface" | "ip-address" => self.interface(d),
            "interface-automatic" => {
                self.listens = Some(d.clone());
                let any = [
                    IpAddr::from(Ipv4Addr::UNSPECIFIED),
                    Ipv6Addr::UNSPECIFIED.into(),
                ];
                self.plain
                    .extend(any.map(|ip| SocketAddr::new(ip, self.ports.plain)));
            }
            "access-control" => self.access_control(d),
            "tls-service-pem" | "ssl-service-pem" => self.cert = self.path(d),
            "tls-service-key" | "ssl-service-key" => {
                self.key = self.path(d).map(|path| (path, d.clone()));
            }
            "msg-cache-size" | "rrset-cache-size" => match size(d.value()) {
                Some(octets) => self.caches[usize::from(d.name.starts_with('r'))] = Some(octets),
                None => self.draft.leave(d, "no size"),
            },
            "cache-min-ttl" | "cache-max-ttl" => match number_of(d.value()) {
                Some(s) => self.ttls[usize::from(d.name == "cache-max-ttl")] = Some((s, d.clone())),
                None => self.draft.leave(d, "no number"),
            },
            "edns-buffer-size" => self.udp_size(d, "resolver", "edns_buffer"),
            "max-udp-size" => self.udp_size(d, "server", "udp_size_max"),
            "num-threads" => self.number(d, 1, WORKERS_MAX, "server", "workers"),
            "incoming-num-tcp" => {
                self.number(d, 1, COUNT_MAX, "limits", "tcp_connections_max");
                self.draft
                    .differ(d, "of all threads together: limits.tcp_connections_max");
            }
            "ip-ratelimit" => {
                self.number(d, 0, COUNT_MAX, "limits", "queries_per_prefix_s");
                if number_of(d.value()).is_some_and(|limit| limit > 0) {
                    self.draft
                        .differ(d, "counted per /24 and /56: limits.queries_per_prefix_s");
                }
            }
            "serve-expired-ttl" => match number_of(d.value()) {
                Some(0) => self
                    .draft
                    .leave(d, "old answers have an end here: stale.age_max"),
                Some(s) if s <= 36_525 * 86_400 => {
                    self.draft.set("stale", "age_max", format!("\"{s}s\""))
                }
                _ => self.draft.leave(d, "no time"),
            },
            "serve-expired-client-timeout" => {
                self.number(d, 0, WAIT_MAX_MS, "stale", "answer_after_ms");
            }
            "domain-insecure" => match name(d.value()) {
                Some(name) if name.is_root() => self.draft.set("resolver", "dnssec", "\"off\""),
                Some(_) if self.insecure.len() >= NAMES_MAX => {
                    self.draft.leave(d, format!("more than {NAMES_MAX} names"));
                }
                Some(name) => self.insecure.push(name.to_string()),
                None => self.draft.leave(d, "no name"),
            },
            "root-hints" => self.root_hints(d),
            "auto-trust-anchor-file" | "trust-anchor-file" => self.trust_anchor(d),
            "outgoing-interface" => match d.value().parse() {
                Ok(ip) if self.outgoing.len() < ADDRESSES_MAX => self.outgoing.push(ip),
                _ => self
                    .draft
                    .leave(d, "allowed are single addresses: resolver.outgoing"),
            },
            "do-not-query-localhost" => self.draft.set("resolver", "query_loopback", true),
            "identity" => self.identity(d, whole),
            "nsid" => match d.value().strip_prefix("ascii_") {
                Some(text) => self.identity(d, text),
                None => self
                    .draft
                    .leave(d, "the identifier is a text here: server.identity"),
            },
            "hide-version" => self.hidden[0] = d.flag() == Some(true),
            "hide-identity" => {
                self.hidden[1] = d.flag() == Some(true);
                self.draft.set("server", "nsid", false);
            }
            "verbosity" => {
                let level = match number_of(d.value()) {
                    Some(0) => "warn",
                    Some(1 | 2) => "info",
                    Some(3) => "debug",
                    _ => "trace",
                };
                self.draft.set("log", "level", quoted(level));
            }
            "log-queries" | "log-replies" if d.flag() == Some(true) => {
                self.draft.set("log", "queries", quoted("stderr"));
                let reason =
                    "a line for each query that is answered, in a form of its own: log.queries";
                self.draft.differ(d, reason);
            }
            "dns64-prefix" => match dns64_prefix(d.value()) {
                Some(prefix) => self.dns64.1 = prefix,
                None => self
                    .draft
                    .leave(d, "allowed are prefixes of RFC 6052: dns64.prefix"),
            },
            "module-config" if whole == "dns64 validator iterator" => self.dns64.0 = true,
            "module-config" if whole == "iterator" => {
                self.draft.set("resolver", "dnssec", "\"off\"")
            }
            _ => return false,
        }
        true
    }

    fn number(&mut self, d: &Directive, least: u64, most: u64, table: &str, key: &str) {
        match number_of(d.value()) {
            Some(number) if (least..=most).contains(&number) => self.draft.set(table, key, number),
            Some(number) => {
                let near = number.clamp(least, most);
                self.draft.set(table, key, near);
                self.draft
                    .differ(d, format!("{table}.{key} may be {least} to {most}: {near}"));
            }
            None => self.draft.leave(d, "no number"),
        }
    }

    fn udp_size(&mut self, d: &Directive, table: &str, key: &str) {
        let (least, most) = (UDP_SIZE_MIN_BYTES.into(), UDP_SIZE_MAX_BYTES.into());
        self.number(d, least, most, table, key);
    }

    fn path(&self, d: &Directive) -> Option<PathBuf> {
        let text = d.value();
        (!text.is_empty() && !text.contains('\0')).then(|| path(text, &self.directory))
    }

    fn identity(&mut self, d: &Directive, text: &str) {
        let plain = text.len() <= 64 && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        match plain {
            true => self.draft.set("server", "identity", quoted(text)),
            false => self
                .draft
                .leave(d, "allowed are 64 printable characters: server.identity"),
        }
    }

    fn interface(&mut self, d: &Directive) {
        let Some((at, None)) = address(d.value(), self.ports.plain) else {
            let reason = "allowed are addresses, not names of interfaces: server.listen";
            return self.draft.leave(d, reason);
        };
        let listed = self.plain.len() + self.tls.iter().map(Vec::len).sum::<usize>();
        if listed >= ADDRESSES_MAX {
            return self
                .draft
                .leave(d, format!("more than {ADDRESSES_MAX} addresses"));
        }
        self.listens = Some(d.clone());
        let port = at.port();
        // What Unbound speaks on a port is decided by its number.
        let list = match () {
            () if port == self.ports.plain => &mut self.plain,
            () if self.ports.quic == Some(port) && !self.ports.tls.contains(&port) => {
                &mut self.tls[2]
            }
            () if self.ports.tls.contains(&port) => &mut self.tls[0],
            () if port == self.ports.https => &mut self.tls[1],
            () => &mut self.plain,
        };
        if !list.contains(&at) {
            list.push(at);
        }
        // Both may be on one port: one is TCP, the other UDP.
        let beside = self.ports.quic == Some(port) && port != self.ports.plain;
        if beside && !self.tls[2].contains(&at) {
            self.tls[2].push(at);
        }
    }

    fn access_control(&mut self, d: &Directive) {
        let [net, action] = &d.values[..] else {
            return self.draft.leave(d, "allowed is a prefix and an action");
        };
        let Some(net) = parse_prefix(net) else {
            return self.draft.leave(d, "allowed are prefixes: access.allow");
        };
        let is_allowed = match action.as_str() {
            "allow" | "allow_setrd" | "allow_snoop" => true,
            "allow_cookie" => {
                self.draft.differ(d, "allowed with and without a cookie");
                true
            }
            "deny" | "refuse" => false,
            "deny_non_local" | "refuse_non_local" => {
                self.own_zones.push(net.trunc());
                false
            }
            _ => return self.draft.leave(d, "no such action here"),
        };
        if ["deny", "deny_non_local"].contains(&action.as_str()) {
            self.draft.differ(d, "refused (REFUSED) instead of dropped");
        }
        self.has_access = Some(d.clone());
        self.access.push((net, is_allowed));
    }

    fn root_hints(&mut self, d: &Directive) {
        let Some(path) = self.path(d).filter(|_| !d.value().is_empty()) else {
            return;
        };
        let read = self.files.read(&path, FILE_BYTES_MAX);
        let read = read.and_then(|text| Hints::parse(&path, &text).map_err(|e| e.to_string()));
        match read {
            Ok(_) => self
                .draft
                .set("resolver", "root_hints", quoted(path.display())),
            Err(error) => {
                let reason = format!("the compiled-in hints are used: {}", first_line(&error));
                self.draft.leave(d, reason);
            }
        }
    }

    fn trust_anchor(&mut self, d: &Directive) {
        let Some(path) = self.path(d) else {
            return;
        };
        let read = self.files.read(&path, FILE_BYTES_MAX);
        let read = read.and_then(|text| Anchors::parse(&path, &text).map_err(|e| e.to_string()));
        match read {
            // The root's keys are compiled in, and followed from there on (RFC 5011).
            Ok(anchors) if anchors.zones.iter().all(|zone| zone.owner.is_root()) => {}
            Ok(_) if self.anchors.is_some() => {
                self.draft
                    .leave(d, "one file holds all anchors here: resolver.trust_anchor");
            }
            Ok(anchors) => {
                if !anchors.zones.iter().any(|zone| zone.owner.is_root()) {
                    let reason =
                        "it has no anchor of the root: without one nothing else is validated";
                    self.draft.differ(d, reason);
                }
                self.anchors = Some(path);
            }
            Err(error) => {
                let reason = format!("the compiled-in anchors are used: {}", first_line(&error));
                self.draft.leave(d, reason);
            }
        }
    }

    fn finish(mut self) {
        self.listen();
        self.encrypted();
        self.lists();
        if self.caches.iter().any(Option::is_some) {
            let sizes = self.caches.map(|size| size.unwrap_or(CACHE_DEFAULT_BYTES));
            let sum = sizes[0]
                .saturating_add(sizes[1])
                .clamp(CACHE_MIN_BYTES, 1 << 50);
            self.draft.set("cache", "bytes_max", bytes(sum));
        }
        self.ttls();
        if let Some(path) = &self.anchors {
            self.draft
                .set("resolver", "trust_anchor", quoted(path.display()));
        }
        if self.dns64.0 {
            self.draft.set("dns64", "prefix", quoted(self.dns64.1));
        }
        if self.hidden.contains(&true) {
            let names = ["version.bind", "id.server"].iter().zip(self.hidden);
            let shown = names.filter(|(_, hidden)| !hidden).map(|(name, _)| *name);
            let shown: Vec<&str> = shown.chain(["status.holdfast"]).collect();
            self.draft.set("server", "chaos", list(shown));
        }
    }

    fn ttls(&mut self) {
        let least = self.ttls[0].as_ref().map_or(0, |(s, _)| *s);
        let keys = ["ttl_min_s", "ttl_max_s"];
        for (key, said) in keys.iter().zip(&self.ttls) {
            let Some((s, d)) = said else { continue };
            let most = TTL_MAX_S;
            // Where they cross, the most gives way, and neither is longer than a week.
            let s_near = match *key {
                "ttl_max_s" => (*s).max(least).min(most),
                _ => (*s).min(most),
            };
            self.draft.set("cache", key, s_near);
            if s_near != *s {
                self.draft.differ(d, format!("cache.{key} is {s_near}"));
            }
        }
        // Else the least would be above what is allowed by itself.
        if self.ttls[1].is_none() && least > TTL_MAX_DEFAULT_S {
            self.draft.set("cache", "ttl_max_s", least.min(TTL_MAX_S));
        }
    }

    fn listen(&mut self) {
        if self.listens.is_none() {
            let own = [
                IpAddr::from(Ipv4Addr::LOCALHOST),
                Ipv6Addr::LOCALHOST.into(),
            ];
            self.plain
                .extend(own.map(|ip| SocketAddr::new(ip, self.ports.plain)));
        }
        let families = self.families;
        let speaks = |at: &SocketAddr| families[usize::from(at.is_ipv6())];
        self.plain.retain(speaks);
        self.tls.iter_mut().for_each(|list| list.retain(speaks));
        if self.plain.is_empty() {
            // Something must answer over UDP and TCP.
            let ip = match self.families[0] {
                true => IpAddr::from(Ipv4Addr::LOCALHOST),
                false => Ipv6Addr::LOCALHOST.into(),
            };
            self.plain.push(SocketAddr::new(ip, self.ports.plain));
        }
        self.plain.sort();
        self.plain.dedup();
        self.draft.set("server", "listen", list(&self.plain));
    }

    fn encrypted(&mut self) {
        let (Some(cert), Some((key, d))) = (&self.cert, &self.key) else {
            if let Some(d) = self
                .listens
                .as_ref()
                .filter(|_| self.tls.iter().any(|l| !l.is_empty()))
            {
                self.draft.leave(
                    d,
                    "encrypted listeners need tls-service-pem and tls-service-key",
                );
            }
            return;
        };
        let there = [cert, key].map(|path| self.files.read(path, FILE_BYTES_MAX));
        let there = there.into_iter().collect::<Result<Vec<_>, _>>();
        let loaded = there.and_then(|_| Identity::load(cert, key).map_err(|e| e.to_string()));
        if let Err(error) = loaded {
            let reason = format!("no encrypted listeners: {error}");
            return self.draft.leave(d, first_line(&reason));
        }
        if self.tls.iter().all(Vec::is_empty) {
            return;
        }
        self.draft.set("server.tls", "cert", quoted(cert.display()));
        self.draft.set("server.tls", "key", quoted(key.display()));
        for (key, list_of) in ["dot", "doh", "doq"].iter().zip(&self.tls) {
            if !list_of.is_empty() {
                self.draft.set("server.tls", key, list(list_of));
            }
        }
    }

    fn lists(&mut self) {
        if let Some(d) = &self.has_access {
            // What Unbound allows by itself; entries of the file for the same prefix decide.
            let own = ["127.0.0.0/8", "::1/128"].map(|net| (parse_prefix(net), true));
            let mut entries: Vec<_> = own
                .into_iter()
                .filter_map(|(net, is)| Some((net?, is)))
                .collect();
            entries.append(&mut self.access);
            match access::allowed(&entries) {
                Some(allowed) => {
                    let mut own_zones = allowed.clone();
                    own_zones.append(&mut self.own_zones);
                    own_zones.sort();
                    own_zones.dedup();
                    self.draft.set("access", "allow", list(allowed));
                    self.draft.set("access", "allow_own_zones", list(own_zones));
                }
                None => {
                    let most = access::PREFIXES_MAX;
                    self.draft
                        .leave(d, format!("the list comes to more than {most} prefixes"));
                }
            }
        }
        if !self.insecure.is_empty() {
            self.insecure.sort();
            self.insecure.dedup();
            self.draft
                .set("resolver", "negative_trust_anchors", list(&self.insecure));
        }
        let families = self.families;
        self.outgoing
            .retain(|ip| families[usize::from(ip.is_ipv6())]);
        self.outgoing.sort();
        self.outgoing.dedup();
        if !self.outgoing.is_empty() {
            self.draft.set("resolver", "outgoing", list(&self.outgoing));
        }
    }
}

/// A prefix that addresses can be put into (RFC 6052 section 2.2).
fn dns64_prefix(text: &str) -> Option<Ipv6Net> {
    let IpNet::V6(net) = parse_prefix(text)? else {
        return None;
    };
    let fits = [32, 40, 48, 56, 64, 96].contains(&net.prefix_len());
    (fits && net.network().octets()[8] == 0).then(|| net.trunc())
}

/// The first line of a fault that may name many.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
