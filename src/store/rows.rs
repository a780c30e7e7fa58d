//! The rows of the ledger.
//!
//! Times are seconds since 1970 and named `_at`. Zones are keyed by their lower-cased wire form, which ends in the root
//! label: no zone's key is the beginning of another's, so a prefix scan finds one zone's rows and no more.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Row, Tree};
use crate::dns::Name;

/// One version of a mirrored zone. The same row stands in the version's image file, so that the ledger can be
/// filled again from the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRow {
    /// The zone.
    #[serde(with = "text")]
    pub zone: Name,
    /// SOA serial.
    pub serial: u32,
    /// Content digest of the image, lower-case hexadecimal.
    pub digest: String,
    /// What was made of it.
    pub verdict: Verdict,
    /// Where it came from.
    pub provenance: Provenance,
    /// The time as of which it was verified; the signing time for a bootstrap snapshot.
    pub verified_at: u64,
    /// When it was written here.
    pub stored_at: u64,
    /// What verification rested on.
    pub trust: TrustRecord,
    /// Records in it.
    pub records: u64,
    /// Delegations in it.
    pub delegations: u64,
    /// When the first of its signatures runs out; `None` if it has none.
    pub signatures_expire_at: Option<u64>,
    /// What verification remarked on without refusing.
    pub warnings: Vec<String>,
    /// What verification and channel together prove, for people; empty in rows of older versions of the program.
    #[serde(default)]
    pub proves: String,
}

impl GenerationRow {
    /// The key of one version.
    pub fn key_of(zone: &Name, serial: u32, digest: &str) -> Vec<u8> {
        let mut key = zone_key(zone);
        key.extend_from_slice(&serial.to_be_bytes());
        key.extend_from_slice(digest.as_bytes());
        key
    }
}

impl Row for GenerationRow {
    const TREE: Tree = Tree::Generations;
    const VERSION: u8 = 1;

    fn key(&self) -> Vec<u8> {
        GenerationRow::key_of(&self.zone, self.serial, &self.digest)
    }
}

/// What was made of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Verified with DNSSEC and, where the zone has it, ZONEMD.
    Verified,
    /// Admitted with `verify = "none"`.
    Unverified,
    /// Verified, and kept back for the operator by a brake; why.
    Held(Vec<String>),
    /// Failed verification; why. Its image may be kept for inspection, never to be served.
    Refused(Vec<String>),
}

impl Verdict {
    /// Whether a version with this verdict may be served.
    pub fn is_admitted(&self) -> bool {
        matches!(self, Verdict::Verified | Verdict::Unverified)
    }
}

/// Where a version came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The source as it is written in the configuration.
    pub source: String,
    /// What kind of source that is.
    pub kind: SourceKind,
    /// When it was fetched or read.
    pub fetched_at: u64,
    /// Who vouches for the way that it came by.
    #[serde(default)]
    pub channel: Channel,
    /// What tells this very file from others on the web server that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validators: Option<Validators>,
}

/// Whether the other end of the way that a version came by has proven who it is. That says nothing of the zone's owner, but
/// NS and glue of delegations are signed by nobody, and so are as good as the channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// It has not: a plain transfer, or a file.
    #[default]
    Plain,
    /// By a shared key (RFC 8945).
    Tsig,
    /// By a certificate, in a transfer over TLS (RFC 9103).
    Tls,
    /// By a certificate, as a web server.
    Https,
}

impl Channel {
    /// Whether the other end has proven who it is.
    pub fn is_authenticated(self) -> bool {
        self != Channel::Plain
    }

    /// For people and scripts.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Plain => "plain",
            Channel::Tsig => "tsig",
            Channel::Tls => "tls",
            Channel::Https => "https",
        }
    }
}

/// What a web server tells versions of a file apart by (RFC 9110 section 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`, with its quotes.
    pub etag: Option<String>,
    /// `Last-Modified`, as it was sent.
    pub last_modified: Option<String>,
}

impl Validators {
    /// Whether nothing can be told by them.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

/// Kinds of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// A server on the network.
    Network,
    /// A zone file of the operator's.
    File,
    /// The bundled snapshot.
    Bootstrap,
}

/// What a verification rested on. A version that rests on anchors that are configured no longer is verified anew
/// before it is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrustRecord {
    /// Nothing: `verify = "none"`.
    None,
    /// Configured trust anchors of the zone; a digest over them.
    Anchors(String),
    /// The DS records that the parent had; a digest over them.
    Parent(String),
}

/// Which version of a zone is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentRow {
    /// The zone.
    #[serde(with = "text")]
    pub zone: Name,
    /// SOA serial of the version.
    pub serial: u32,
    /// Its digest.
    pub digest: String,
    /// When a source last confirmed that it is the newest.
    pub last_contact_at: Option<u64>,
    /// The serial that the operator rolled back from: only a newer one is taken from a source.
    pub rolled_back_from: Option<u32>,
}

impl Row for CurrentRow {
    const TREE: Tree = Tree::Current;
    const VERSION: u8 = 1;

    fn key(&self) -> Vec<u8> {
        zone_key(&self.zone)
    }
}

/// An outage of a zone that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutageRow {
    /// The zone whose servers are gone.
    #[serde(with = "text")]
    pub zone: Name,
    /// Since when.
    pub since_at: u64,
    /// When one of its servers was last heard, if ever.
    pub last_contact_at: Option<u64>,
    /// Serial of the generation in use.
    pub serial: Option<u32>,
    /// What the judgement rests on, for people.
    pub evidence: String,
}

impl Row for OutageRow {
    const TREE: Tree = Tree::Outages;
    const VERSION: u8 = 1;

    fn key(&self) -> Vec<u8> {
        zone_key(&self.zone)
    }
}

/// The floor under the wall clock: the time is before neither of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockRow {
    /// What the clock read when this was last written.
    pub time_at: u64,
    /// The newest inception of a signature that was fully validated; 0 if there was none.
    pub proven_at: u64,
}

impl ClockRow {
    /// The key of the only row.
    pub const KEY: &[u8] = b"floor";
}

impl Row for ClockRow {
    const TREE: Tree = Tree::Clock;
    const VERSION: u8 = 1;

    fn key(&self) -> Vec<u8> {
        ClockRow::KEY.to_vec()
    }
}

/// The trust anchors of one zone, as RFC 5011 has them (`anchors`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustAnchorRow {
    /// The zone.
    #[serde(with = "text")]
    pub zone: Name,
    /// The configured DS and DNSKEY data that all of this began with, as `TYPE hex`, sorted.
    pub configured: Vec<String>,
    /// Its keys.
    pub keys: Vec<TrustKeyRow>,
    /// When the keys were last seen, signed by one of the anchors.
    pub refreshed_at: Option<u64>,
    /// When they are to be looked at again.
    pub due_at: u64,
}

/// One key of a zone with trust anchors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustKeyRow {
    /// DNSKEY data without the REVOKE bit, lower-case hexadecimal.
    pub dnskey: String,
    /// `add-pending`, `valid`, `missing`, `revoked` or `removed`.
    pub state: String,
    /// Since when.
    pub since_at: u64,
    /// When its hold-down time ends, in the states that have one.
    pub until_at: Option<u64>,
}

impl Row for TrustAnchorRow {
    const TREE: Tree = Tree::TrustAnchors;
    const VERSION: u8 = 1;

    fn key(&self) -> Vec<u8> {
        zone_key(&self.zone)
    }
}

/// A delegation kept past its TTL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainedRow {
    /// The zone that it leads to.
    #[serde(with = "text")]
    pub zone: Name,
    /// The zone whose servers gave it.
    #[serde(with = "text")]
    pub parent: Name,
    /// Names of its servers, each with its glue.
    pub servers: Vec<(String, Vec<IpAddr>)>,
    /// Data of the DS records that the parent was validated to have, in lower-case hexadecimal; none: it was validated to have
    /// none; `None`: nothing was validated.
    pub ds: Option<Vec<String>>,
    /// When the signatures of that proof run out.
    pub ds_until_at: u64,
    /// When the parent last gave it.
    pub confirmed_at: u64,
    /// How often it was used, recent uses counting more.
    pub uses: u16,
    /// When it was last used.
    pub used_at: u64,
}

impl RetainedRow {
    /// What the keys of these rows begin with: the tree holds three kinds.
    pub const PREFIX: &[u8] = b"z";

    /// The key of one zone.
    pub fn key_of(zone: &Name) -> Vec<u8> {
        [RetainedRow::PREFIX, &zone_key(zone)].concat()
    }
}

impl Row for RetainedRow {
    const TREE: Tree = Tree::Retained;
    const VERSION: u8 = 1;

    fn key(&self) -> Vec<u8> {
        RetainedRow::key_of(&self.zone)
    }
}

/// Addresses of a name server, kept past their TTL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainedHostRow {
    /// The name server.
    #[serde(with = "text")]
    pub host: Name,
    /// Its IPv4 addresses; `None` where they were never found out.
    pub a: Option<Vec<IpAddr>>,
    /// Its IPv6 addresses; likewise.
    pub aaaa: Option<Vec<IpAddr>>,
    /// When they were last looked up.
    pub seen_at: u64,
    /// How often they were used, recent uses counting more.
    pub uses: u16,
    /// When they were last used.
    pub used_at: u64,
}

impl RetainedHostRow {
    /// What the keys of these rows begin with.
    pub const PREFIX: &[u8] = b"h";

    /// The key of one name server.
    pub fn key_of(host: &Name) -> Vec<u8> {
        [RetainedHostRow::PREFIX, &zone_key(host)].concat()
    }
}

impl Row for RetainedHostRow {
    const TREE: Tree = Tree::Retained;
    const VERSION: u8 = 1;

    fn key(&self) -> Vec<u8> {
        RetainedHostRow::key_of(&self.host)
    }
}

/// A zone whose servers are gone, so that its kept delegations are in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneRow {
    /// The zone.
    #[serde(with = "text")]
    pub zone: Name,
    /// Since when.
    pub since_at: u64,
    /// When that was last known.
    pub seen_at: u64,
}

impl GoneRow {
    /// What the keys of these rows begin with.
    pub const PREFIX: &[u8] = b"g";

    /// The key of one zone.
    pub fn key_of(zone: &Name) -> Vec<u8> {
        [GoneRow::PREFIX, &zone_key(zone)].concat()
    }
}

impl Row for GoneRow {
    const TREE: Tree = Tree::Retained;
    const VERSION: u8 = 1;

    fn key(&self) -> Vec<u8> {
        GoneRow::key_of(&self.zone)
    }
}

/// An answer that may be of use past its TTL. There are many of them, so its body is not JSON but, numbers big-endian:
///
/// ```text
///  0  when it was stored           u64
///  8  when it ran or runs out      u64
/// 16  when it was last used        u64
/// 24  how often it was used        u16
/// 26  type of its key              u16
/// 28  name of its key              wire form
///     the answer, packed           to the end (`cache::packed`)
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRow {
    /// The name.
    #[serde(with = "text")]
    pub name: Name,
    /// The type; 0 for the name's non-existence.
    pub rtype: u16,
    /// When it was stored.
    pub stored_at: u64,
    /// When it ran out, or will.
    pub ran_out_at: u64,
    /// How often it was used, recent uses counting more.
    pub uses: u16,
    /// When it was last used.
    pub used_at: u64,
    /// The answer, packed.
    pub packed: Vec<u8>,
}

impl AnswerRow {
    /// Octets before the name.
    const HEAD_LEN: usize = 28;

    /// The key of one answer.
    pub fn key_of(name: &Name, rtype: u16) -> Vec<u8> {
        [&zone_key(name)[..], &rtype.to_be_bytes()].concat()
    }

    /// About what it takes on disk, in bytes.
    pub fn size(&self) -> usize {
        AnswerRow::HEAD_LEN + 2 * self.name.wire().len() + self.packed.len()
    }
}

impl Row for AnswerRow {
    const TREE: Tree = Tree::Answers;
    const VERSION: u8 = 1;

    fn key(&self) -> Vec<u8> {
        AnswerRow::key_of(&self.name, self.rtype)
    }

    fn body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size());
        for time in [self.stored_at, self.ran_out_at, self.used_at] {
            out.extend(time.to_be_bytes());
        }
        out.extend(self.uses.to_be_bytes());
        out.extend(self.rtype.to_be_bytes());
        out.extend(self.name.wire());
        out.extend(&self.packed);
        out
    }

    fn from_body(body: &[u8]) -> Option<AnswerRow> {
        let u64_at = |at| Some(u64::from_be_bytes(*body.get(at..)?.first_chunk()?));
        let u16_at = |at| Some(u16::from_be_bytes(*body.get(at..)?.first_chunk()?));
        let rest = body.get(AnswerRow::HEAD_LEN..)?;
        let (name, len) = Name::from_wire_prefix(rest).ok()?;
        Some(AnswerRow {
            name,
            rtype: u16_at(26)?,
            stored_at: u64_at(0)?,
            ran_out_at: u64_at(8)?,
            uses: u16_at(24)?,
            used_at: u64_at(16)?,
            packed: rest.get(len..)?.to_vec(),
        })
    }
}

/// Questions that are asked, and how often: a part of all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamesRow {
    /// Which part.
    pub part: u16,
    /// When it was counted so.
    pub at: u64,
    /// The questions.
    pub list: Vec<CountedName>,
}

/// A question of a [`NamesRow`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountedName {
    /// The name.
    pub name: String,
    /// The type.
    pub rtype: u16,
    /// How often it was asked, faded.
    pub count: f64,
    /// By so much that may be too much.
    pub error: f64,
}

impl NamesRow {
    /// The key of a part.
    pub fn key_of(part: u16) -> Vec<u8> {
        part.to_be_bytes().to_vec()
    }
}

impl Row for NamesRow {
    const TREE: Tree = Tree::Names;
    const VERSION: u8 = 1;

    fn key(&self) -> Vec<u8> {
        NamesRow::key_of(self.part)
    }
}

/// The key of a zone's rows.
pub fn zone_key(zone: &Name) -> Vec<u8> {
    zone.wire().to_ascii_lowercase()
}

/// Serde for what reads back from its text.
mod text {
    use super::*;

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
