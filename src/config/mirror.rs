//! The tables about zones that are kept here: `[[mirror]]` and `[[zone]]`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::url::HttpsUrl;
use crate::dns::Name;

/// One `[[mirror]]` table: a zone of which a verified copy is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorConfig {
    /// The zone.
    pub zone: Name,
    /// When the mirror answers.
    pub use_: MirrorUse,
    /// Where versions come from, tried in turn.
    pub sources: Vec<Source>,
    /// A snapshot for a first boot inside an outage.
    pub bootstrap: Option<PathBuf>,
    /// What a version must prove before it is served.
    pub verify: Verify,
    /// How long the zone may be served since the last contact with a network source.
    pub age_max: AgeMax,
    /// What happens when signatures run out during isolation.
    pub expired_signatures: ExpiredSignatures,
    /// A version that drops more than this share of the delegations is held; one of a followed catalog, more than this share of its members.
    pub shrink_max: Percent,
    /// Names whose delegation must not vanish.
    pub protect: Vec<Name>,
    /// What a changed NS or DS of a protected name does.
    pub protect_changes: ProtectChanges,
    /// How many versions are kept, the current one included; at least 1.
    pub generations: u32,
    /// How much room they may take, in bytes; the current one is kept whatever it takes.
    pub generations_bytes_max: u64,
    /// Largest transfer, in bytes.
    pub bytes_max: u64,
    /// Longest transfer, in seconds.
    pub transfer_time_max_s: u64,
    /// Secondaries that are told of each new version (RFC 1996).
    pub notify: Vec<NotifyTarget>,
    /// The catalog that lists the zone, where it has no table of its own.
    pub catalog: Option<Name>,
}

impl MirrorConfig {
    /// A mirror of `zone` with every other key at its default and no source.
    pub fn new(zone: Name) -> MirrorConfig {
        MirrorConfig {
            zone,
            use_: MirrorUse::Failover,
            sources: Vec::new(),
            bootstrap: None,
            verify: Verify::Dnssec,
            age_max: AgeMax::Seconds(90 * 86_400),
            expired_signatures: ExpiredSignatures::Accept,
            shrink_max: Percent(5),
            protect: Vec::new(),
            protect_changes: ProtectChanges::Alarm,
            generations: 5,
            generations_bytes_max: 16 << 30,
            bytes_max: 4 << 30,
            transfer_time_max_s: 3600,
            notify: Vec::new(),
            catalog: None,
        }
    }
}

/// `mirror.use`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorUse {
    /// Upstream is asked first; the mirror steps in for every failed step.
    Failover,
    /// The mirror answers always (RFC 8806).
    Always,
}

/// `mirror.verify`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Full DNSSEC and ZONEMD, as ARCHITECTURE.md lists.
    Dnssec,
    /// Syntax and in-zone checks only: the data is insecure, AD is never set.
    None,
}

/// `mirror.age_max`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgeMax {
    /// This many seconds since the last contact.
    Seconds(u64),
    /// The expire field of the zone's SOA (RFC 8806).
    SoaExpire,
}

/// `mirror.expired_signatures`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiredSignatures {
    /// Records verified while connected stay acceptable during isolation (as-of validation).
    Accept,
    /// They count as bogus as soon as the signature has run out.
    Reject,
}

/// `mirror.protect_changes`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectChanges {
    /// A changed NS or DS of a protected name is logged loudly and admitted.
    Alarm,
    /// It is held for the operator.
    Hold,
}

/// Where a mirror's versions come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A whole transfer, AXFR, of a serial newer than the one that is held.
    Axfr {
        /// The server; port 53 unless given.
        addr: SocketAddr,
        /// The `[[tsig]]` key that signs the transfer.
        tsig: Option<Name>,
        /// Transfer over TLS (RFC 9103).
        tls: Option<AxfrTls>,
    },
    /// A zone file on this machine, or a directory of such files. It is no contact with the network.
    File(PathBuf),
    /// A zone file from a web server.
    Https {
        /// The address of the file.
        url: HttpsUrl,
        /// The certificates that its server is checked against; left out: the system's.
        ca: Option<PathBuf>,
    },
}

impl fmt::Display for Source {
    /// As it would be written in `sources`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Axfr {
                addr,
                tls: Some(tls),
                ..
            } => match &tls.name {
                Some(name) => write!(f, "axfr:{addr} (TLS, {name})"),
                None => write!(f, "axfr:{addr} (TLS)"),
            },
            Source::Axfr { addr, .. } if addr.port() == 53 => match addr.ip() {
                std::net::IpAddr::V4(ip) => write!(f, "axfr:{ip}"),
                std::net::IpAddr::V6(ip) => write!(f, "axfr:[{ip}]"),
            },
            Source::Axfr { addr, .. } => write!(f, "axfr:{addr}"),
            Source::File(path) => write!(f, "file:{}", path.display()),
            Source::Https { url, .. } => write!(f, "{url}"),
        }
    }
}

/// How a transfer over TLS is authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AxfrTls {
    /// The name that the server's certificate must carry; left out: its address.
    pub name: Option<String>,
    /// The certificates that it is checked against; left out: the system's.
    pub ca: Option<PathBuf>,
    /// What is shown to a server that asks who comes; left out: nothing.
    pub client: Option<ClientFiles>,
}

/// Where a certificate chain and its private key are. They are read for each transfer, so that a new certificate needs no start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The chain, PEM.
    pub cert: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

/// A share in whole percent, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// `None` above 100.
    pub const fn new(percent: u8) -> Option<Percent> {
        if percent <= 100 {
            Some(Percent(percent))
        } else {
            None
        }
    }

    /// 0 to 100.
    pub const fn value(self) -> u8 {
        self.0
    }

    /// Whether `part` of `whole` is more than this share; a part of nothing is not.
    pub fn is_exceeded_by(self, part: u64, whole: u64) -> bool {
        u128::from(part) * 100 > u128::from(whole) * u128::from(self.0) && whole > 0
    }
}

/// One `[[zone]]` table: an own authoritative zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneConfig {
    /// The zone.
    pub name: Name,
    /// Its zone file.
    pub file: PathBuf,
    /// Secondaries that are told of each new version (RFC 1996).
    pub notify: Vec<NotifyTarget>,
}

/// A secondary that is told of new versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyTarget {
    /// Where; port 53 unless given.
    pub addr: SocketAddr,
    /// The `[[tsig]]` key that signs what it is told.
    pub tsig: Option<Name>,
}
