//! The links of a chain, for whoever looks on (`trace`).

use super::chain::Validation;
use super::signed::zone_keys;
use super::{Anchor, ZoneStatus};
use crate::clock::Now;
use crate::dns::{Dnskey, Ds, Ede, Name, Rdata, RrSet, Rrsig};
use crate::resolve::trace::{Trace, What};

impl Validation {
    /// The same, with somebody looking on.
    pub fn traced(mut self, trace: Trace) -> Validation {
        self.trace = trace;
        self
    }

    /// Where the walk begins: at an anchor.
    pub(super) fn tell_anchor(&self, zone: &Name, anchor: &Anchor, now: Now) {
        let tags = || {
            let ds = anchor.ds.iter().filter_map(|r| Ds::parse(r));
            let ds = ds.map(|ds| ds.key_tag);
            ds.chain(key_tags(&anchor.dnskey)).collect()
        };
        self.tell(zone, "anchor", tags, "a trust anchor is configured", now);
    }

    /// Where the walk begins: at a zone that is known.
    pub(super) fn tell_known(&self, zone: &Name, status: &ZoneStatus, now: Now) {
        match status {
            ZoneStatus::Secure(keys) => {
                let tags = || key_tags(keys).collect();
                self.tell(zone, "secure", tags, "its keys are known from before", now);
            }
            ZoneStatus::Insecure(_) => {
                self.tell(zone, "insecure", Vec::new, "known from before", now);
            }
            ZoneStatus::Bogus(ede) => self.tell(zone, "bad", Vec::new, &ede.text, now),
        }
    }

    /// The zone's DNSKEY set was found good.
    pub(super) fn tell_keys(&self, zone: &Name, set: &RrSet, now: Now) {
        let tags = || key_tags(&zone_keys(&self.ctx, set)).collect();
        let why = || match signed_by(set) {
            Some(by) => format!("its DNSKEY set is signed by {by}"),
            None => "its DNSKEY set is that of a verified mirror".into(),
        };
        self.tell_lazily(zone, "secure", tags, why, now);
    }

    /// The parent has a good DS set for the zone.
    pub(super) fn tell_ds(&self, zone: &Name, sets: &[RrSet], now: Now) {
        let rdatas = || sets.iter().flat_map(|set| &set.rdatas);
        let tags = || {
            rdatas()
                .filter_map(|r| Some(Ds::parse(r)?.key_tag))
                .collect()
        };
        let why = || match sets.iter().find_map(signed_by) {
            Some(by) => format!("its DS set is signed by {by}"),
            None => "its DS set is that of a verified mirror".into(),
        };
        self.tell_lazily(zone, "signed", tags, why, now);
    }

    /// The chain ends above the zone.
    pub(super) fn tell_insecure(&self, zone: &Name, why: Option<&Ede>, now: Now) {
        let why = || match why {
            Some(ede) => ede.text.clone(),
            None => "its parent proves that it has no DS".into(),
        };
        self.tell_lazily(zone, "insecure", Vec::new, why, now);
    }

    /// A link is of no use.
    pub(super) fn tell_bad(&self, zone: &Name, why: &str, now: Now) {
        self.tell(zone, "bad", Vec::new, why, now);
    }

    fn tell(&self, zone: &Name, state: &str, tags: impl FnOnce() -> Vec<u16>, why: &str, now: Now) {
        self.tell_lazily(zone, state, tags, || why.to_owned(), now);
    }

    fn tell_lazily(
        &self,
        zone: &Name,
        state: &str,
        tags: impl FnOnce() -> Vec<u16>,
        why: impl FnOnce() -> String,
        now: Now,
    ) {
        self.trace.note(now, || What::Link {
            zone: zone.to_string(),
            state: state.to_owned(),
            key_tags: tags(),
            why: why(),
        });
    }
}

fn key_tags(keys: &[Rdata]) -> impl Iterator<Item = u16> + '_ {
    keys.iter()
        .filter_map(|r| Some(Dnskey::parse(r)?.key_tag()))
}

/// The first of a checked set's signatures is the one that was found good.
fn signed_by(set: &RrSet) -> Option<String> {
    let sig = Rrsig::parse(set.sigs.first()?)?;
    Some(format!("key {} of {}", sig.key_tag, sig.signer))
}
