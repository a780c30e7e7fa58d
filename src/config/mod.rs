//! What the operator asked for, checked once and never changed afterwards.
//!
//! Why: a server that guesses at a misspelt key fails months later, in the middle of an outage. So the whole file is
//! read, every key is known, every value is parsed into the type that the code uses (addresses, prefixes, bytes, time),
//! relations between keys are checked, and only then does a [`Config`] exist. Nothing else in the program parses
//! configuration text, and a reload builds a second `Config` and swaps it whole.
//!
//! Model: [`Config`] has one field per table of `config.toml`, in the file's order. [`Config::default`] is what an
//! empty file means. Root hints and trust anchors are part of it, read from their files or from the compiled-in copies.
//!
//! Failure: [`Config::load`] returns every fault it can find, each as `FILE:LINE: what is wrong and what is allowed`.

mod alerts;
pub mod anchors;
mod defaults;
mod dns64;
pub mod error;
mod file;
mod file_zones;
pub mod hints;
mod log;
pub mod mirror;
mod peer;
mod reader;
mod records;
mod references;
mod scalar;
mod sets;
mod tls;
mod tsig;
pub mod url;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};
use rustls::pki_types::ServerName;

use crate::dns::Name;
use crate::dns::tsig::{Key, Keyring};
use crate::prefix_set::PrefixSet;
use crate::tls::{Authorities, Identity};

pub use anchors::{Anchor, Anchors};
pub use error::{ConfigError, Fault};
pub use hints::Hints;
pub use mirror::{
    AgeMax, AxfrTls, ClientFiles, ExpiredSignatures, MirrorConfig, MirrorUse, NotifyTarget,
    Percent, ProtectChanges, Source, Verify, ZoneConfig,
};
pub use url::{Host, HttpsUrl, WebUrl};

/// Largest answer over UDP, in bytes, when nothing else is said: no fragments on any usual path (DNS flag day 2020).
pub const UDP_SIZE_DEFAULT_BYTES: u16 = 1232;
/// Smallest value that RFC 6891 section 6.2.3 allows for a UDP payload size, in bytes.
pub const UDP_SIZE_MIN_BYTES: u16 = 512;
/// Largest value that is allowed: beyond it every answer would be fragments.
pub const UDP_SIZE_MAX_BYTES: u16 = 4096;

/// Longest configuration file, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The whole configuration, checked and immutable.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[server]`: where it listens and where it keeps its data.
    pub server: Server,
    /// `[access]`: who may ask for what.
    pub access: Access,
    /// `[resolver]`: how questions are resolved upstream.
    pub resolver: Resolver,
    /// `[[forward]]`: zones whose questions go to given servers; no zone appears twice, in `[[stub]]` neither.
    pub forwards: Vec<Forward>,
    /// `[dns64]`: IPv6 addresses for what has only IPv4 ones.
    pub dns64: Dns64,
    /// `[cache]`: the answer cache.
    pub cache: Cache,
    /// `[stale]`: answers past their TTL (RFC 8767).
    pub stale: Stale,
    /// `[retained]`: delegations kept past their TTL.
    pub retained: Retained,
    /// `[[mirror]]`: zones kept as verified copies; no zone appears twice.
    pub mirrors: Vec<MirrorConfig>,
    /// `[[zone]]`: own authoritative zones; no zone appears twice.
    pub zones: Vec<ZoneConfig>,
    /// `[[tsig]]`: shared keys; no name appears twice.
    pub tsig_keys: Vec<TsigKey>,
    /// `[[catalog]]`: zones that list zones; no zone appears twice.
    pub catalogs: Vec<Catalog>,
    /// `[reachability]`: how outages are noticed.
    pub reachability: Reachability,
    /// `[names]`: which questions are counted.
    pub names: Names,
    /// `[alerts]`: who is told of what cannot wait.
    pub alerts: Alerts,
    /// `[limits]`: flood defence.
    pub limits: Limits,
    /// `[control]`: the control socket and the status page.
    pub control: Control,
    /// `[log]`: what is logged and how.
    pub log: Log,
    /// `[dnstap]`: a collector that is told of every query and answer.
    pub dnstap: Dnstap,
    /// `[lab]`: for laboratories and test suites only.
    pub lab: Lab,
    /// The directory of the file it was read from; every path in here is already joined to it.
    pub base_dir: PathBuf,
    /// What is allowed but surely wants a second look; logged once at start.
    pub warnings: Vec<String>,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Addresses for UDP and TCP; never empty.
    pub listen: Vec<SocketAddr>,
    /// Where everything is written; nothing is written outside it.
    pub data_dir: PathBuf,
    /// UDP threads; 0 = one per core.
    pub workers: usize,
    /// Largest UDP answer in bytes; more is truncated. 512 to 4096.
    pub udp_size_max: u16,
    /// Clients that send a DNS cookie get a server cookie (RFC 7873).
    pub cookies: bool,
    /// What of `version.bind`, `id.server` and `status.holdfast` (class CH) is answered.
    pub chaos: Vec<&'static str>,
    /// What `id.server` and NSID say; empty = the machine's host name.
    pub identity: String,
    /// NSID for who asks for it (RFC 5001).
    pub nsid: bool,
    /// Proxies whose word on who asks is taken (PROXY protocol, version 2).
    pub proxy_from: Vec<IpNet>,
    /// Interfaces whose UDP comes and goes past the kernel (AF_XDP), in a program that was built with the cargo feature `xdp`.
    pub xdp: Vec<String>,
    /// `[server.tls]`; without it there are no encrypted listeners.
    pub tls: Option<ServerTls>,
}

/// `[server.tls]`: encrypted listeners: what they show, whom they ask, and where they are.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTls {
    /// What clients are shown: a certificate chain, and its private key.
    pub identity: Identity,
    /// Who vouches for certificates of clients; left out: clients are not asked for one.
    pub client_ca: Option<Authorities>,
    /// Addresses for DNS over TLS (RFC 7858) and transfers over it (RFC 9103).
    pub dot: Vec<SocketAddr>,
    /// Addresses for DNS over HTTPS (RFC 8484).
    pub doh: Vec<SocketAddr>,
    /// The name that clients find in the certificate; told to those who ask for encrypted listeners (RFC 9462).
    pub name: Option<Name>,
    /// Addresses for DNS over QUIC (RFC 9250).
    pub doq: Vec<SocketAddr>,
}

/// `[access]`: prefixes; an address in none of them is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// Who may use recursion, cache and mirrors.
    pub allow: Vec<IpNet>,
    /// Who may ask about `[[zone]]` zones.
    pub allow_own_zones: Vec<IpNet>,
    /// Who may transfer own zones and mirrors.
    pub allow_transfer: Vec<Peer>,
    /// Who may send NOTIFY, beside each mirror's own sources.
    pub allow_notify: Vec<Peer>,
}

/// A party in `allow_transfer` and `allow_notify`: whoever meets everything that is said here, which is never nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Comes from this prefix.
    pub net: Option<IpNet>,
    /// Signs with this `[[tsig]]` key.
    pub tsig: Option<Name>,
    /// Comes over TLS.
    pub tls: bool,
    /// Has shown a certificate for this name; then `tls` is true.
    pub tls_name: Option<ServerName<'static>>,
}

impl Peer {
    /// Anyone in this prefix.
    pub fn net(net: IpNet) -> Peer {
        Peer {
            net: Some(net),
            ..Peer::default()
        }
    }

    /// Whoever signs with this key.
    pub fn tsig(name: Name) -> Peer {
        Peer {
            tsig: Some(name),
            ..Peer::default()
        }
    }
}

/// `[resolver]`
#[derive(Clone, Debug, PartialEq)]
pub struct Resolver {
    /// File with the names and addresses of the root's servers, where resolution starts.
    pub hints: Hints,
    /// File with the DS or DNSKEY records that chains of signatures end in.
    pub anchors: Anchors,
    /// Whether answers are validated.
    pub dnssec: DnssecMode,
    /// What SHA-1 signatures and digests are worth.
    pub sha1: Sha1,
    /// Names at and below which nothing is validated (RFC 7646).
    pub negative_trust_anchors: Vec<NegativeTrustAnchor>,
    /// RFC 5011 tracking of trust anchors.
    pub trust_anchor_updates: bool,
    /// RFC 9156: upstream servers see no more of the name than they need.
    pub qname_minimisation: bool,
    /// Random upper and lower case in questions ("0x20").
    pub case_randomisation: bool,
    /// RFC 7873 cookies upstream.
    pub cookies: bool,
    /// RFC 9609 root priming query.
    pub prime: bool,
    /// Refresh of popular answers before they run out.
    pub prefetch: bool,
    /// Only glue at or below the delegation is used.
    pub harden_glue: bool,
    /// RFC 8198: validated denials answer for the other names that they deny.
    pub aggressive_nsec: bool,
    /// Answers for localhost., test., 10.in-addr.arpa. ... are made here.
    pub special_use_zones: bool,
    /// Name servers may live on loopback and other special addresses.
    pub query_loopback: bool,
    /// UDP payload size advertised upstream, in bytes. 512 to 4096.
    pub edns_buffer: u16,
    /// Source addresses for upstream questions; empty = the kernel's choice.
    pub outgoing: Vec<IpAddr>,
    /// Upstream servers are asked over IPv4.
    pub ipv4: bool,
    /// Upstream servers are asked over IPv6.
    pub ipv6: bool,
    /// Shortest wait for upstream before a mirror answers a step, in milliseconds.
    pub hedge_min_ms: u64,
    /// Longest wait for upstream before a mirror answers a step, in milliseconds; at least `hedge_min_ms`.
    pub hedge_max_ms: u64,
}

/// One of `resolver.negative_trust_anchors` (RFC 7646).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegativeTrustAnchor {
    /// Nothing is validated here and below, down to a trust anchor that is deeper.
    pub name: Name,
    /// When it ends; left out: with the next configuration that lacks it.
    pub until_s: Option<u64>,
}

impl NegativeTrustAnchor {
    /// One without an end.
    pub fn lasting(name: Name) -> NegativeTrustAnchor {
        NegativeTrustAnchor {
            name,
            until_s: None,
        }
    }
}

/// `resolver.dnssec`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnssecMode {
    /// Validate every answer.
    Validate,
    /// Validate nothing; AD is never set.
    Off,
}

/// `resolver.sha1` (RFC 9905)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sha1 {
    /// Algorithms 5 and 7 and SHA-1 DS count as unknown: what they sign is insecure.
    Insecure,
    /// They are checked like any other.
    Validate,
}

/// `[[stub]]`: a zone whose own servers are named, and what they refer to is followed. A `[[forward]]` has this form too.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// The zone; the root forwards everything.
    pub zone: Name,
    /// Its servers; never empty, no address twice.
    pub servers: Vec<SocketAddr>,
    /// Without an answer of theirs, resolve as usual.
    pub first: bool,
    /// Whether the servers are asked over TLS alone (RFC 7858), and what they have to prove.
    pub tls: Option<ForwardTls>,
    /// It is a `[[stub]]`: they are the zone's own servers, asked without recursion.
    pub is_stub: bool,
}

impl Forward {
    /// The name of its table.
    pub fn table(&self) -> &'static str {
        match self.is_stub {
            true => "stub",
            false => "forward",
        }
    }
}

/// What forwarders have to prove over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardTls {
    /// The name in their certificate; without it each has to show its address there.
    pub name: Option<ServerName<'static>>,
    /// Who vouches for it; without it those whom the system trusts.
    pub ca: Option<Authorities>,
}

/// `[dns64]` (RFC 6147)
#[derive(Clone, Debug, PartialEq)]
pub struct Dns64 {
    /// Where made addresses lie; of a length that RFC 6052 section 2.2 has. Without it none are made.
    pub prefix: Option<Ipv6Net>,
    /// Who gets them.
    pub clients: Vec<IpNet>,
    /// AAAA records that count as if they were not there.
    pub exclude: Vec<Ipv6Net>,
}

/// `[cache]`
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// Memory for cached answers, in bytes.
    pub bytes_max: u64,
    /// TTLs below this are raised to it, in seconds; not those of signed data (RFC 4035 section 5.3.3).
    pub ttl_min_s: u32,
    /// TTLs above this are lowered to it, in seconds; at least `ttl_min_s`.
    pub ttl_max_s: u32,
    /// Stale answers and retained delegations survive a restart.
    pub persist: bool,
}

/// One part in so many of the cache's memory is for answers that are ready to leave again.
const READY_SHARE: u64 = 16;

impl Cache {
    /// Of `bytes_max`: for answers that are ready to leave again (`query/quick`), of all threads.
    pub fn ready_bytes_max(&self) -> u64 {
        self.bytes_max / READY_SHARE
    }
}

/// `[stale]`
#[derive(Clone, Debug, PartialEq)]
pub struct Stale {
    /// What has run out is kept, and used while nothing newer can be had.
    pub enabled: bool,
    /// RFC 8767 client timer, in milliseconds.
    pub answer_after_ms: u64,
    /// How long past its TTL an answer may be used, in seconds.
    pub age_max_s: u64,
    /// How many are kept on disk.
    pub entries_max: u64,
    /// Bytes that these take.
    pub bytes_max: u64,
}

/// `[retained]`
#[derive(Clone, Debug, PartialEq)]
pub struct Retained {
    /// They are kept, and used while their parent cannot be reached.
    pub enabled: bool,
    /// How long a delegation may be used since its parent confirmed it, in seconds.
    pub age_max_s: u64,
    /// How many are kept.
    pub entries_max: u64,
}

/// One `[[tsig]]` table (RFC 8945).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TsigKey {
    /// The key, with its name, algorithm and secret.
    pub key: Arc<Key>,
    /// File with the secret in base64.
    pub secret_file: PathBuf,
}

/// One `[[catalog]]` table (RFC 9432).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalog {
    /// The catalog zone.
    pub zone: Name,
    /// It is made here, of all mirrors and own zones; else a `[[mirror]]` brings it, and its members become mirrors.
    pub produce: bool,
    /// How many members are followed.
    pub members_max: usize,
    /// What each member's mirror is like, but for its zone. Of a produced catalog, `notify` says who is told of new versions.
    pub member: MirrorConfig,
}

/// `[reachability]`
#[derive(Clone, Debug, PartialEq)]
pub struct Reachability {
    /// Whether servers are asked without a client's question.
    pub probe: bool,
    /// What stays reachable in a national cut-off.
    pub domestic: PrefixSet,
    /// Other such sets, by name: exchange points, single providers.
    pub sets: BTreeMap<String, PrefixSet>,
}

impl Reachability {
    /// The set of that name; `domestic` is the one of its own key.
    pub fn set(&self, name: &str) -> Option<&PrefixSet> {
        match name {
            "domestic" => Some(&self.domestic),
            other => self.sets.get(other),
        }
    }
}

/// `[names]`
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    /// Whether it is counted which questions are asked. By whom is never kept.
    pub enabled: bool,
    /// Questions that are kept at most.
    pub entries_max: u64,
}

/// `[alerts]`
#[derive(Clone, Debug, PartialEq)]
pub struct Alerts {
    /// Web address that each alert is posted to as JSON; empty: none.
    pub webhook: Option<WebUrl>,
    /// File of those who vouch for that server; empty: those whom the system trusts.
    pub ca: Option<PathBuf>,
    /// A program and its arguments, run for each alert; empty = none.
    pub command: Vec<String>,
    /// One alert of a kind about a subject in so many seconds, but for what is worse.
    pub interval_s: u64,
}

impl Alerts {
    /// Whether anybody is told.
    pub fn is_on(&self) -> bool {
        self.webhook.is_some() || !self.command.is_empty()
    }
}

/// `[limits]`; 0 = off. Loopback and `exempt` are never limited.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Prefixes without limits.
    pub exempt: Vec<IpNet>,
    /// Questions per client /24 or /56 and second; 0: they are counted only.
    pub queries_per_prefix_s: u32,
    /// Like answers over UDP per client /24 or /56 and second.
    pub responses_per_s: u32,
    /// How much more than that is remembered, in seconds.
    pub window_s: u32,
    /// Of so many limited questions and answers over UDP one gets TC=1; 0: none.
    pub slip: u32,
    /// Questions that may wait for the servers of one zone.
    pub upstream_per_zone_max: u32,
    /// Questions that may be outstanding at one server address; the last half is for networks that ask there seldom.
    pub upstream_per_server_max: u32,
    /// Questions per second that may lead to nothing below one zone before no more of its names are looked for.
    pub denials_per_zone_s: u32,
    /// Open TCP connections; never more than a quarter of the process's file limit.
    pub tcp_connections_max: u32,
    /// Open TCP connections of one client /24 or /56.
    pub tcp_connections_per_prefix_max: u32,
}

/// `[control]`
#[derive(Clone, Debug, PartialEq)]
pub struct Control {
    /// The unix socket for commands, inside `data_dir`.
    pub socket: PathBuf,
    /// Address of the status page and the metrics; empty: off.
    pub http: Option<SocketAddr>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// The least important level that is still logged.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
    /// A line for each question that comes to nothing, at level `info`, with the reason.
    pub servfail: bool,
    /// The query log: a line for each query that is answered, in the form of `log.format`.
    pub queries: Option<QueryLog>,
    /// At this length, in bytes, the query log's file becomes `FILE.1` and a new one is begun, so that it takes twice as much at most.
    pub queries_bytes_max: u64,
}

/// Where the query log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryLog {
    /// Beside the log.
    Stderr,
    /// A file inside `data_dir`.
    File(PathBuf),
}

/// `[dnstap]` (<https://dnstap.info>): frame streams over a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dnstap {
    /// The unix socket that a collector listens on.
    pub socket: Option<PathBuf>,
    /// What this server is called there; empty = what `server.identity` says.
    pub identity: String,
    /// What the program is called there; empty = its name and version.
    pub version: String,
    /// Clients' queries and their answers (`CLIENT_QUERY`, `CLIENT_RESPONSE`).
    pub client: bool,
    /// Questions to other servers and their answers (`RESOLVER_QUERY`, `RESOLVER_RESPONSE`; to forwarders `FORWARDER_QUERY`,
    /// `FORWARDER_RESPONSE`).
    pub resolver: bool,
}

/// `log.level`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what needs a person now.
    Error,
    /// And what will need one.
    Warn,
    /// And each change of state.
    Info,
    /// And each decision.
    Debug,
    /// And each packet.
    Trace,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// `[lab]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lab {
    /// The file that the wall clock is read from; empty: the machine's clock.
    pub clock_file: Option<PathBuf>,
}

/// Where a server can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// `server.data_dir`.
    pub data_dir: PathBuf,
    /// Its control socket.
    pub socket: PathBuf,
}

impl Config {
    /// Reads and checks a configuration file, and the hints and anchors that it names.
    ///
    /// # Errors
    /// Everything that is wrong with it, or that it cannot be read.
    pub fn load(file: &Path) -> Result<Config, ConfigError> {
        let text = error::read_text(file, CONFIG_BYTES_MAX)?;
        Config::parse(file, &text)
    }

    /// Where the server with this configuration can be found: reads no more of the file than that takes, so that a server
    /// can be asked while its configuration is being worked on.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, or says something impossible about `server.data_dir` or `control.socket`.
    pub fn locate(file: &Path) -> Result<Located, ConfigError> {
        let text = error::read_text(file, CONFIG_BYTES_MAX)?;
        file::locate(file, &text)
    }

    /// Checks the text of a configuration file; `file` names it in faults, and paths in it are relative to `file`'s
    /// directory.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
        file::parse(file, text)
    }

    /// The shared keys by name.
    pub fn keyring(&self) -> Keyring {
        self.tsig_keys.iter().map(|tsig| tsig.key.clone()).collect()
    }

    /// The path of every key that can be written, as in `resolver.dnssec`; a table in lists has its bare name.
    pub fn known_keys() -> Vec<String> {
        file::known_keys()
    }
}
