//! Is this whole zone what its owner signed?
//!
//! A mirror goes on answering from a copy when nobody can be asked any more, so the copy must be proven
//! while it is taken in, all of it, and by nothing that came along with it but signatures.
//!
//! ```text
//! trust (DS or DNSKEY) -> apex DNSKEY set -> every authoritative set
//!                                         -> NSEC or NSEC3 chain: nothing missing, nothing added
//!                                         -> ZONEMD: delegations and glue too
//! ```
//! While the text of a zone is read, a thread beside checks the signatures that have passed (`early`). One walk over the image in canonical order feeds the three: worker threads check the signatures of
//! the sets (`signatures`), the denial chain is followed name by name (`nsec`, `nsec3`), the digest
//! is computed along the way. What a zone without ZONEMD leaves unproven, the [`Report`] says.
//!
//! Failure: a list of [`Fault`]s, each with name, type and what is wrong, never more than [`FAULTS_MAX`].
//! The zone is hostile until the end: the work is bounded by its size, by [`SIGNATURES_TRIED_MAX`] per set
//! and by the limit on NSEC3 rounds, and ends early when the list of faults is full.

mod early;
mod faults;
mod keys;
mod nsec;
mod nsec3;
mod pace;
mod report;
mod signatures;
#[cfg(test)]
mod tests;
mod told;

use std::sync::Arc;

use crate::config::Anchor;
use crate::dns::{Rdata, Rrsig, Rtype, TypeBitmap};
use crate::dnssec::zonemd::{self, Hasher, ZoneRecord};
use crate::zone::{NameBuf, Place, RawNode, RawNodes, SetRef, ZoneImage};

pub use faults::{FAULTS_MAX, Fault, Faults, Problem};
pub use pace::Pace;
pub use report::{DenialKind, Report, TimeError, Warning, ZonemdStatus, parse_time, zone_verify};
pub use signatures::SIGNATURES_TRIED_MAX;
pub use told::{RefusedZone, VerifiedZone, ZoneFault};

use early::Checked;
use signatures::{Judge, Tally};

/// What is trusted about a zone: any one of these is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// DS data: a trust anchor, or what the parent says.
    pub ds: Vec<Rdata>,
    /// DNSKEY data: a trust anchor.
    pub dnskey: Vec<Rdata>,
}

impl Trust {
    /// Whether there is nothing that could be trusted.
    pub fn is_empty(&self) -> bool {
        self.ds.is_empty() && self.dnskey.is_empty()
    }
}

impl From<&Anchor> for Trust {
    /// A configured trust anchor. It speaks for the zone that owns it and for no zone below.
    fn from(anchor: &Anchor) -> Trust {
        Trust {
            ds: anchor.ds.clone(),
            dnskey: anchor.dnskeys.clone(),
        }
    }
}

/// How a zone is verified.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Whether RSA/SHA-1 signatures and SHA-1 DS digests count (RFC 9905).
    pub sha1: bool,
    /// Threads that check signatures; 0 = one per core.
    pub workers: usize,
    /// Who wants to know how far it has come.
    pub pace: Option<Arc<Pace>>,
}

/// Verifies all of a zone as of `at`, seconds since 1970.
///
/// # Errors
/// What is wrong, ordered by name; at most [`FAULTS_MAX`] faults and one that says that there are more.
pub fn verify(
    image: &ZoneImage,
    trust: &Trust,
    at: u64,
    policy: &Policy,
) -> Result<Report, Vec<Fault>> {
    verify_known(image, None, &Checked::default(), trust, at, policy)
}

/// As [`verify`], for a version that was made from `proven`, which was verified itself under the same policy. The verdict is
/// the same, whatever the changes were: everything is looked at, but the public-key operation is left out for sets that
/// stand in `proven` octet for octet, signatures included, as data that had to be signed. Where the zone's keys have
/// changed, `proven` proves nothing.
///
/// # Errors
/// As [`verify`].
pub fn verify_from(
    image: &ZoneImage,
    proven: Option<&ZoneImage>,
    trust: &Trust,
    at: u64,
    policy: &Policy,
) -> Result<Report, Vec<Fault>> {
    verify_known(image, proven, &Checked::default(), trust, at, policy)
}

/// As [`verify_from`]; the signatures in `checked` need no public-key operation either.
fn verify_known(
    image: &ZoneImage,
    proven: Option<&ZoneImage>,
    checked: &Checked,
    trust: &Trust,
    at: u64,
    policy: &Policy,
) -> Result<Report, Vec<Fault>> {
    let faults = Faults::new();
    let damage = image.damage();
    let keys = match keys::zone_keys(image, trust, at, policy) {
        Ok(keys) => keys,
        Err(fault) => return Err(vec![fault]),
    };
    let judge = Judge {
        zone: image.apex(),
        keys: &keys,
        at,
        faults: &faults,
        checked,
    };
    let proven = proven.filter(|old| keys::usable(old, policy) == keys);
    let mut known = Known(proven.map(ZoneImage::raw_nodes));
    let mut walk = Walk::new(image, &faults);
    let mut tally = Tally::default();
    if let Some(pace) = &policy.pace {
        pace.begin(image.record_count());
    }
    signatures::run(&judge, policy.workers, &mut tally, |sink| {
        let mut nodes = image.raw_nodes();
        // Found once for all that look at them.
        let mut sets = Vec::new();
        while let Some(node) = nodes.advance() {
            sets.clear();
            sets.extend(node.sets());
            walk.node(&node, &sets);
            let old = known.at(node.key);
            let (mut name, mut records) = (None, 0);
            for set in sets.iter().copied() {
                records += u64::from(set.records) + u64::from(set.sigs);
                if is_signed_data(&node, set.rtype) {
                    let name = name.get_or_insert_with(|| node.name());
                    let proven = old.is_some_and(|old| is_proven(&old, &set));
                    sink.take(name, set, proven);
                }
            }
            if let Some(pace) = &policy.pace {
                pace.add(records);
            }
            if faults.is_full() {
                break;
            }
        }
    });
    let (digests, denial) = walk.finish();
    if image.damage() != damage {
        faults.add(image.apex(), None, Problem::Damaged);
    }
    let status = judge_zonemd(image, &digests, &faults);
    faults.into_result()?;
    Ok(Report::verified(image, &tally, denial, status))
}

/// Walks along in an older version.
struct Known<'a>(Option<RawNodes<'a>>);

impl<'a> Known<'a> {
    /// The name with this key. Keys must ascend.
    fn at(&mut self, key: &[u8]) -> Option<RawNode<'_, 'a>> {
        let nodes = self.0.as_mut()?;
        while nodes.current().is_none_or(|node| node.key < key) {
            nodes.advance()?;
        }
        nodes.current().filter(|node| node.key == key)
    }
}

/// Whether this very set was judged when the older version was verified.
fn is_proven(old: &RawNode<'_, '_>, set: &SetRef<'_>) -> bool {
    let same = old.sets().find(|s| s.rtype == set.rtype);
    is_signed_data(old, set.rtype) && same.is_some_and(|s| s.is_same(set))
}

/// Looks at a zone that is not to be verified by signatures: a ZONEMD record is compared as a checksum.
///
/// # Errors
/// The checksum does not fit.
pub fn verify_unsigned(image: &ZoneImage) -> Result<Report, Vec<Fault>> {
    let faults = Faults::new();
    let damage = image.damage();
    let mut hasher = zonemd_hasher(image);
    if !hasher.is_idle() {
        let mut nodes = image.raw_nodes();
        while let Some(node) = nodes.advance() {
            push_digest(&mut hasher, &node, node.sets());
        }
    }
    if image.damage() != damage {
        faults.add(image.apex(), None, Problem::Damaged);
    }
    let status = judge_zonemd(image, &hasher.finish(), &faults);
    faults.into_result()?;
    Ok(Report::unsigned(image, status))
}

fn push_digest<'i>(
    hasher: &mut Hasher,
    node: &RawNode<'_, 'i>,
    sets: impl Iterator<Item = SetRef<'i>>,
) {
    let mut room = NameBuf::default();
    let records = sets.flat_map(|set| {
        let of = move |(sig, data)| ZoneRecord {
            covered: set.rtype,
            sig,
            ttl: set.ttl,
            data,
        };
        set.all_marked().map(of)
    });
    hasher.push_records(node.wire(&mut room), records);
}

/// The earliest time at which all signatures of a zone can be valid together: the latest inception
/// among them, seconds since 1970. A snapshot is verified as of this time. `None` without signatures.
pub fn signing_time(image: &ZoneImage) -> Option<u64> {
    let mut latest = None;
    let mut nodes = image.raw_nodes();
    while let Some(node) = nodes.advance() {
        for set in node.sets() {
            let sigs = set.sig_rdatas().filter_map(Rrsig::parse);
            latest = latest.max(sigs.map(|s| u64::from(s.inception)).max());
        }
    }
    latest
}

/// Whether the zone's signer must have signed the set of this type: the zone's own data, DS and NSEC of a zone cut,
/// and no glue (RFC 4035 section 2.2). Hashed owner names are the zone's own wherever they stand.
fn is_signed_data(node: &RawNode<'_, '_>, rtype: Rtype) -> bool {
    match node.place() {
        Place::Apex | Place::Authoritative => true,
        Place::Delegation => matches!(rtype, Rtype::DS | Rtype::NSEC),
        Place::Occluded => rtype == Rtype::NSEC3 && node.is_child(),
    }
}

/// The types at a name that its denial record must list, without those of the chain and its signatures.
fn listed_types(node: &RawNode<'_, '_>, sets: &[SetRef<'_>]) -> Vec<Rtype> {
    let place = node.place();
    let present = sets.iter().filter(|s| s.records > 0);
    (present.map(|s| s.rtype))
        .filter(|t| !matches!(*t, Rtype::NSEC3 | Rtype::NSEC))
        .filter(|t| place != Place::Delegation || matches!(*t, Rtype::NS | Rtype::DS))
        .collect()
}

/// The set of this type, if it has records.
fn data<'s, 'i>(sets: &'s [SetRef<'i>], rtype: Rtype) -> Option<&'s SetRef<'i>> {
    sets.iter().find(|s| s.rtype == rtype && s.records > 0)
}

/// Whether a name has data of its own; one that consists of an NSEC3 record is none of the zone's namespace.
fn has_own_data(sets: &[SetRef<'_>]) -> bool {
    let is_own = |s: &SetRef<'_>| s.rtype != Rtype::NSEC3 && s.records > 0;
    sets.iter().any(is_own)
}

/// Whether a bitmap lists exactly these types (ascending).
fn lists_exactly(bitmap: TypeBitmap<'_>, types: &[Rtype]) -> bool {
    bitmap.is_well_formed() && bitmap.types().eq(types.iter().copied())
}

/// What the walk over the zone feeds beside the signatures.
struct Walk<'a> {
    hasher: Hasher,
    nsec: Option<nsec::Chain<'a>>,
    nsec3: Vec<nsec3::Chain<'a>>,
}

impl<'a> Walk<'a> {
    fn new(image: &'a ZoneImage, faults: &'a Faults) -> Walk<'a> {
        let apex = image.apex();
        let has_nsec = image
            .find(apex, Rtype::NSEC)
            .is_some_and(|s| !s.rdatas.is_empty());
        let nsec3 = nsec3::chains(image, faults);
        if !has_nsec && nsec3.is_empty() {
            faults.add(apex, None, Problem::NoDenial);
        }
        Walk {
            hasher: zonemd_hasher(image),
            nsec: has_nsec.then(|| nsec::Chain::new(apex, faults)),
            nsec3,
        }
    }

    fn node<'i>(&mut self, node: &RawNode<'_, 'i>, sets: &[SetRef<'i>]) {
        if !self.hasher.is_idle() {
            push_digest(&mut self.hasher, node, sets.iter().copied());
        }
        if let Some(chain) = &mut self.nsec {
            chain.node(node, sets);
        }
        for chain in &mut self.nsec3 {
            chain.node(node, sets);
        }
    }

    fn finish(self) -> (zonemd::Digests, DenialKind) {
        let mut kind = DenialKind::None;
        for chain in self.nsec3 {
            kind = DenialKind::Nsec3 {
                opt_out: chain.finish(),
            };
        }
        if let Some(chain) = self.nsec {
            chain.finish();
            kind = DenialKind::Nsec;
        }
        (self.hasher.finish(), kind)
    }
}

fn apex_zonemd(image: &ZoneImage) -> Vec<Rdata> {
    let set = image.find(image.apex(), Rtype::ZONEMD);
    set.map_or_else(Vec::new, |s| s.rdatas)
}

fn zonemd_hasher(image: &ZoneImage) -> Hasher {
    Hasher::new(image.apex(), &zonemd::hashes_of(&apex_zonemd(image)))
}

fn judge_zonemd(image: &ZoneImage, digests: &zonemd::Digests, faults: &Faults) -> ZonemdStatus {
    let rdatas = apex_zonemd(image);
    if rdatas.is_empty() {
        return ZonemdStatus::Absent;
    }
    match zonemd::check(&rdatas, image.serial(), digests) {
        Ok(zonemd::Verdict::Verified(hash)) => ZonemdStatus::Verified { hash },
        Ok(zonemd::Verdict::Unsupported) => ZonemdStatus::Unsupported,
        Err(refuted) => {
            faults.add(image.apex(), Some(Rtype::ZONEMD), Problem::Zonemd(refuted));
            ZonemdStatus::Unsupported
        }
    }
}
