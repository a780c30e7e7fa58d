//! The trust anchors of one zone, and what an observation of its keys makes of them. Pure.
//!
//! An observation is a DNSKEY set as a server gave it. It counts when a key that is an anchor now has signed it; only
//! the revocation of a key needs no more than that key's own signature (RFC 5011 section 2.1). A configured DS stands
//! for its key until the zone shows the key, which is then an anchor without any wait: the operator vouched for it.

use super::machine::{KeyState, Sighting, next};
use super::timing::{ADD_HOLD_DOWN_S, QUERY_INTERVAL_MIN_S, REMOVE_HOLD_DOWN_S, SetTimes};
use crate::config::Anchor;
use crate::dns::{Dnskey, Ds, Name, Rdata, RrSet, Rrsig, Rtype};
use crate::dnssec::{algorithms, ds, verify};

/// Keys of a zone that are remembered. The root has never had more than a handful.
pub const KEYS_MAX: usize = 32;
/// Keys of a set that is looked at; a larger one counts for nothing.
const KEYS_SEEN_MAX: usize = 64;
/// Signatures of one observation that are computed.
const SIGNATURES_MAX: usize = 32;
/// The REVOKE bit in the second octet of DNSKEY data (RFC 5011 section 2.1).
const REVOKE_BIT: u8 = 0x80;

/// A key of the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackedKey {
    /// DNSKEY data with the REVOKE bit cleared: revoking a key changes its tag, not the key.
    pub rdata: Rdata,
    /// Its state; never Start.
    pub state: KeyState,
    /// Since when, seconds since 1970.
    pub since_s: u64,
    /// When its hold-down time ends, in AddPend and Revoked.
    pub until_s: Option<u64>,
}

/// A key has changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Tag of the key, as it was before it was revoked.
    pub tag: u16,
    /// The state before.
    pub from: KeyState,
    /// The state now.
    pub to: KeyState,
}

/// What came of an observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Keys that changed.
    pub changes: Vec<Change>,
    /// What the next look follows from, and when the signature began (seconds since 1970); the error says why the
    /// set counts for nothing but revocations.
    pub counted: Result<Signed, Refused>,
}

/// The signature by an anchor that made a set count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// Its times.
    pub times: SetTimes,
    /// Its inception, seconds since 1970.
    pub inception_s: u64,
}

/// Why a set counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no DNSKEY set of the zone.
    #[error("the answer holds no DNSKEY set of the zone")]
    NoKeys,
    /// Nobody has so many keys.
    #[error("the DNSKEY set is too large")]
    TooLarge,
    /// No anchor signed it.
    #[error("no trust anchor has signed the DNSKEY set")]
    NotSigned,
    /// Every key is revoked.
    #[error(
        "every trust anchor of the zone is revoked; name new ones in resolver.trust_anchor and restart"
    )]
    NoAnchorLeft,
}

/// What `status` says of a zone's anchors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointStatus {
    /// The zone.
    pub zone: Name,
    /// Its keys.
    pub keys: Vec<TrackedKey>,
    /// Configured DS records whose key the zone has not shown yet, as tag and algorithm.
    pub unseen: Vec<(u16, u8)>,
    /// Whether the configured anchors serve because every key was revoked.
    pub lost_all: bool,
    /// When the keys were last seen, signed by an anchor.
    pub refreshed_s: Option<u64>,
    /// When they are looked at again.
    pub due_s: u64,
    /// Why the last look failed.
    pub error: Option<String>,
}

/// The trust anchors of one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustPoint {
    configured: Anchor,
    keys: Vec<TrackedKey>,
    /// Whether SHA-1 signatures count.
    sha1: bool,
    refreshed_s: Option<u64>,
    due_s: u64,
    times: Option<SetTimes>,
}

impl TrustPoint {
    /// A zone of which nothing but the configured anchors is known.
    pub fn new(configured: Anchor, sha1: bool, now_s: u64) -> TrustPoint {
        let keys = configured.dnskeys.iter().map(|rdata| TrackedKey {
            rdata: rdata.clone(),
            state: KeyState::Valid,
            since_s: now_s,
            until_s: None,
        });
        TrustPoint {
            keys: keys.collect(),
            configured,
            sha1,
            refreshed_s: None,
            due_s: now_s,
            times: None,
        }
    }

    /// A zone as it was left, with its keys and when they were and will be looked at.
    pub fn resumed(
        configured: Anchor,
        sha1: bool,
        keys: Vec<TrackedKey>,
        refreshed_s: Option<u64>,
        due_s: u64,
    ) -> TrustPoint {
        TrustPoint {
            configured,
            keys,
            sha1,
            refreshed_s,
            due_s,
            times: None,
        }
    }

    /// The zone.
    pub fn zone(&self) -> &Name {
        &self.configured.owner
    }

    /// What the operator named.
    pub fn configured(&self) -> &Anchor {
        &self.configured
    }

    /// The keys in any state.
    pub fn keys(&self) -> &[TrackedKey] {
        &self.keys
    }

    /// When the keys were last seen, signed by an anchor; seconds since 1970.
    pub fn refreshed_s(&self) -> Option<u64> {
        self.refreshed_s
    }

    /// When the next look is due, seconds since 1970.
    pub fn due_s(&self) -> u64 {
        self.due_s
    }

    /// The anchors in force. Never empty: a zone that has revoked every key keeps what is configured, so that its data
    /// turns bogus instead of insecure; RFC 5011 section 5 would give the trust point up.
    pub fn in_force(&self) -> Anchor {
        match self.lost_all() {
            true => self.configured.clone(),
            false => self.trusted(),
        }
    }

    /// Whether no key is an anchor any more.
    pub fn lost_all(&self) -> bool {
        let trusted = self.trusted();
        trusted.ds.is_empty() && trusted.dnskeys.is_empty()
    }

    /// What people are told.
    pub fn status(&self, error: Option<String>) -> PointStatus {
        let unseen = self.trusted().ds;
        let unseen = unseen.iter().filter_map(|rdata| Ds::parse(rdata));
        PointStatus {
            zone: self.zone().clone(),
            keys: self.keys.clone(),
            unseen: unseen.map(|ds| (ds.key_tag, ds.algorithm)).collect(),
            lost_all: self.lost_all(),
            refreshed_s: self.refreshed_s,
            due_s: self.due_s,
            error,
        }
    }

    /// Takes in a DNSKEY set that a server of the zone gave.
    pub fn observe(&mut self, set: &RrSet, now_s: u64) -> Observed {
        let mut changes = Vec::new();
        let counted = self.judge(set, now_s, &mut changes);
        match counted {
            Ok(signed) => {
                self.times = Some(signed.times);
                self.refreshed_s = Some(now_s);
                self.due_s = now_s + signed.times.query_interval_s();
            }
            Err(_) => self.failed(now_s),
        }
        Observed { changes, counted }
    }

    /// Notes that the keys could not be had.
    pub fn failed(&mut self, now_s: u64) {
        let wait_s = self
            .times
            .map_or(QUERY_INTERVAL_MIN_S, |t| t.retry_time_s());
        self.due_s = now_s + wait_s;
    }

    /// Whether a look is due. A time too far ahead was written by a clock that has been set back since.
    pub fn is_due(&self, now_s: u64) -> bool {
        self.due_s <= now_s || self.due_s > now_s + super::timing::QUERY_INTERVAL_MAX_S
    }

    /// DNSKEYs that are anchors, and configured DS records whose key was never seen.
    fn trusted(&self) -> Anchor {
        let named = |ds: &&Rdata| !self.keys.iter().any(|k| self.names(ds, &k.rdata));
        let keys = self.keys.iter().filter(|k| k.state.is_trusted());
        Anchor {
            owner: self.configured.owner.clone(),
            ds: self.configured.ds.iter().filter(named).cloned().collect(),
            dnskeys: keys.map(|k| k.rdata.clone()).collect(),
        }
    }

    fn names(&self, ds: &[u8], dnskey: &[u8]) -> bool {
        match (Ds::parse(ds), Dnskey::parse(dnskey)) {
            (Some(ds), Some(key)) => ds::ds_matches(&ds, &self.configured.owner, &key),
            _ => false,
        }
    }

    /// Whether a configured DS that can be followed names the key.
    fn is_named(&self, dnskey: &[u8]) -> bool {
        let digests = ds::usable(&self.configured.ds, self.sha1);
        Dnskey::parse(dnskey).is_some_and(|key| {
            (digests.iter()).any(|ds| ds::ds_matches(ds, &self.configured.owner, &key))
        })
    }

    fn judge(
        &mut self,
        set: &RrSet,
        now_s: u64,
        changes: &mut Vec<Change>,
    ) -> Result<Signed, Refused> {
        if set.rtype != Rtype::DNSKEY || set.name != *self.zone() || set.rdatas.is_empty() {
            return Err(Refused::NoKeys);
        }
        if set.rdatas.len() > KEYS_SEEN_MAX {
            return Err(Refused::TooLarge);
        }
        self.forget_the_future(now_s);
        let mut budget = SIGNATURES_MAX;
        // First: what a revoked key signs besides its revocation is worth nothing (RFC 5011 section 2.1).
        let revoked = self.revocations(set, now_s, &mut budget);
        for identity in &revoked {
            self.sight(identity, Sighting::Revoked, 0, now_s, changes);
        }
        if self.lost_all() {
            return Err(Refused::NoAnchorLeft);
        }
        let signed = self.signed(set, now_s, &mut budget)?;
        let present = self.present(set);
        for identity in &present {
            let hold_s = signed.times.add_hold_down_s();
            self.sight(identity, Sighting::Present, hold_s, now_s, changes);
        }
        let absent: Vec<Rdata> = (self.keys.iter())
            .filter(|k| !present.contains(&k.rdata) && !revoked.contains(&k.rdata))
            .map(|k| k.rdata.clone())
            .collect();
        for identity in &absent {
            self.sight(identity, Sighting::Absent, 0, now_s, changes);
        }
        Ok(signed)
    }

    /// A hold-down time that began in the future, by a clock that ran ahead, begins anew.
    fn forget_the_future(&mut self, now_s: u64) {
        for key in self.keys.iter_mut().filter(|k| k.since_s > now_s) {
            key.since_s = now_s;
            let hold_s = match key.state {
                KeyState::Revoked => REMOVE_HOLD_DOWN_S,
                _ => ADD_HOLD_DOWN_S,
            };
            key.until_s = key.until_s.map(|_| now_s + hold_s);
        }
    }

    /// Keys that have been anchors, or may become ones, and that have signed their own revocation.
    fn revocations(&self, set: &RrSet, now_s: u64, budget: &mut usize) -> Vec<Rdata> {
        let mut found = Vec::new();
        for rdata in &set.rdatas {
            let Some(key) = Dnskey::parse(rdata).filter(|k| k.is_revoked()) else {
                continue;
            };
            let identity = identity(rdata);
            let concerns =
                self.keys.iter().any(|k| k.rdata == identity) || self.is_named(&identity);
            if concerns
                && self.signs(set, &key, budget, |sig| {
                    verify::verify_revocation(set, sig, &key, &set.name, now_s).is_ok()
                })
            {
                found.push(identity);
            }
        }
        found
    }

    /// The signature over the set by a key that is an anchor.
    fn signed(&self, set: &RrSet, now_s: u64, budget: &mut usize) -> Result<Signed, Refused> {
        let mut best: Option<Signed> = None;
        for rdata in &set.rdatas {
            let tracked = self.keys.iter().find(|k| k.rdata == *rdata);
            let trusted = match tracked {
                Some(key) => key.state.is_trusted(),
                None => self.is_named(rdata),
            };
            let Some(key) = Dnskey::parse(rdata).filter(|_| trusted) else {
                continue;
            };
            self.signs(set, &key, budget, |sig| {
                let valid = verify::verify_rrset(set, sig, &key, &set.name, now_s);
                // Keys have no wildcards.
                if !valid.is_ok_and(|signed| signed.wildcard.is_none()) {
                    return false;
                }
                let now = now_s as u32;
                let signed = Signed {
                    times: SetTimes {
                        original_ttl_s: sig.original_ttl.into(),
                        left_s: sig.expiration.wrapping_sub(now).into(),
                    },
                    inception_s: now_s.saturating_sub(now.wrapping_sub(sig.inception).into()),
                };
                best.get_or_insert(signed);
                true
            });
        }
        best.ok_or(Refused::NotSigned)
    }

    /// Whether a signature of the key's tag and algorithm passes `check`.
    fn signs(
        &self,
        set: &RrSet,
        key: &Dnskey<'_>,
        budget: &mut usize,
        mut check: impl FnMut(&Rrsig<'_>) -> bool,
    ) -> bool {
        if !algorithms::supported(key.algorithm, self.sha1) {
            return false;
        }
        let sigs = set.sigs.iter().filter_map(|rdata| Rrsig::parse(rdata));
        for sig in sigs.filter(|s| s.key_tag == key.key_tag() && s.algorithm == key.algorithm) {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            if check(&sig) {
                return true;
            }
        }
        false
    }

    /// Keys of the set that may be anchors: tracked ones, those that a configured DS names, and any other with the SEP
    /// flag whose signatures could be checked.
    fn present(&self, set: &RrSet) -> Vec<Rdata> {
        let may_be = |rdata: &&Rdata| {
            Dnskey::parse(rdata).is_some_and(|key| {
                let known = self.keys.iter().any(|k| k.rdata == **rdata) || self.is_named(rdata);
                let fit =
                    key.is_secure_entry_point() && algorithms::supported(key.algorithm, self.sha1);
                key.is_zone_key() && (known || fit)
            })
        };
        set.rdatas.iter().filter(may_be).cloned().collect()
    }

    /// Moves one key; a key that is not tracked comes from Start, or from the operator's DS.
    fn sight(
        &mut self,
        identity: &Rdata,
        sighting: Sighting,
        hold_s: u64,
        now_s: u64,
        changes: &mut Vec<Change>,
    ) {
        let at = self.keys.iter().position(|k| k.rdata == *identity);
        let from = match at {
            Some(at) => self.keys[at].state,
            None if self.is_named(identity) => KeyState::Valid,
            None => KeyState::Start,
        };
        let until_s = at.and_then(|at| self.keys[at].until_s);
        let to = next(
            from,
            sighting,
            until_s.is_some_and(|until_s| now_s >= until_s),
        );
        if at.is_some() && from == to {
            return;
        }
        let key = TrackedKey {
            rdata: identity.clone(),
            state: to,
            since_s: now_s,
            until_s: match to {
                KeyState::AddPend => Some(now_s + hold_s),
                KeyState::Revoked => Some(now_s + REMOVE_HOLD_DOWN_S),
                _ => None,
            },
        };
        match at {
            Some(at) if to == KeyState::Start => drop(self.keys.remove(at)),
            Some(at) => self.keys[at] = key,
            None if to == KeyState::Start || !self.make_room() => return,
            None => self.keys.push(key),
        }
        let tag = Dnskey::parse(identity).map_or(0, |k| k.key_tag());
        let from = if at.is_none() { KeyState::Start } else { from };
        changes.push(Change { tag, from, to });
    }

    /// Makes room for a key, at the cost of the one that was removed longest ago.
    fn make_room(&mut self) -> bool {
        if self.keys.len() < KEYS_MAX {
            return true;
        }
        let removed = (self.keys.iter().enumerate()).filter(|(_, k)| k.state == KeyState::Removed);
        match removed.min_by_key(|(_, k)| k.since_s).map(|(at, _)| at) {
            Some(at) => {
                self.keys.remove(at);
                true
            }
            None => false,
        }
    }
}

/// The key that DNSKEY data is about, revoked or not.
fn identity(rdata: &[u8]) -> Rdata {
    let mut identity: Rdata = rdata.into();
    if let Some(flags) = identity.get_mut(1) {
        *flags &= !REVOKE_BIT;
    }
    identity
}

#[cfg(test)]
mod tests;
