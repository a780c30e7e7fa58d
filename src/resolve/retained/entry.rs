//! One kept delegation, and the kept addresses of one name server.
//!
//! Small forms of what `resolve::delegation` holds for the time of a TTL: a hundred thousand of these are meant to be held.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::doubt::{FormerEntry, FormerHost};
use crate::cache::account::{arc_bytes, block_bytes};
use crate::clock::Now;
use crate::dns::{Name, Rdata, Rtype};
use crate::resolve::RetainedNote;
use crate::resolve::delegation::{Delegation, NAMES_MAX};

/// A confirmation is written to disk when the one there is older than this, in seconds.
pub(super) const REWRITE_AFTER_S: u64 = 6 * 3600;
/// After so long without use an entry counts for half, in seconds.
const HALF_LIFE_S: u64 = 3 * 86_400;
/// Share of a place in a map of names that is its own, in bytes: a B-tree is about two thirds full.
const PLACE_SHARE: (usize, usize) = (3, 2);

/// How often something was used, recent uses counting more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Uses {
    pub(super) count: u16,
    /// Seconds since 1970 of the last one, as far as 32 bits reach (2106).
    pub(super) last_s: u32,
}

impl Uses {
    /// The count as it is worth now.
    pub(super) fn now(self, now_s: u64) -> u16 {
        let idle = now_s.saturating_sub(self.last_s.into()) / HALF_LIFE_S;
        self.count
            .checked_shr(u32::try_from(idle).unwrap_or(16))
            .unwrap_or(0)
    }

    pub(super) fn count(&mut self, now_s: u64) {
        self.count = self.now(now_s).saturating_add(1);
        self.last_s = u32::try_from(now_s).unwrap_or(u32::MAX);
    }
}

/// What validation has proven of the DS set of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Cut {
    /// Nothing: the parent is not signed, or nobody has validated anything below yet.
    #[default]
    NotTold,
    /// This is the set.
    Signed {
        /// RDATA of the records.
        ds: Box<[Rdata]>,
        /// When the signatures of the proof run out, seconds since 1970.
        until_s: u64,
    },
    /// There is none.
    Unsigned {
        /// As above.
        until_s: u64,
    },
}

impl Cut {
    /// When the signatures of the proof run out, seconds since 1970.
    pub fn until_s(&self) -> u64 {
        match self {
            Cut::NotTold => 0,
            Cut::Signed { until_s, .. } | Cut::Unsigned { until_s } => *until_s,
        }
    }

    /// Whether the signatures of the proof do not hold any more (RFC 4035 section 5.3.1).
    pub fn has_run_out(&self, wall_s: u64) -> bool {
        wall_s > self.until_s()
    }

    /// Whether both prove the same.
    pub(super) fn says_as(&self, other: &Cut) -> bool {
        match (self, other) {
            (Cut::Signed { ds: a, .. }, Cut::Signed { ds: b, .. }) => a == b,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Cut::Signed { ds, .. } => {
                let list = block_bytes(ds.len() * size_of::<Rdata>());
                list + ds.iter().map(|r| block_bytes(r.len())).sum::<usize>()
            }
            _ => 0,
        }
    }
}

/// Name servers with their glue.
pub(super) type Servers = Box<[(Name, Box<[IpAddr]>)]>;

/// One kept delegation.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Labels of the zone whose servers gave it.
    pub(super) parent_labels: u8,
    /// Name servers with their glue.
    pub(super) servers: Servers,
    /// What its parent said last, if that is quite another set, and nothing has shown that it leads to the zone.
    pub(super) rival: Option<Servers>,
    pub(super) cut: Cut,
    /// When the parent last said so, seconds since 1970.
    pub(super) confirmed_s: u64,
    /// When it last said something else than before, seconds since 1970, and what stood here until then, while that may be an untruth.
    pub(super) changed_s: u64,
    pub(super) former: Option<Box<FormerEntry>>,
    /// What stands on disk for `confirmed_s`; 0 for nothing.
    pub(super) written_s: u64,
    pub(super) uses: Uses,
    /// Monotonic time until which it is in use.
    pub(super) taken_until: Duration,
}

impl Entry {
    pub(super) fn new(delegation: &Delegation, parent: &Name, now_s: u64) -> Entry {
        let servers = delegation.servers.iter().take(NAMES_MAX);
        Entry {
            parent_labels: u8::try_from(parent.label_count()).unwrap_or(u8::MAX),
            servers: servers
                .map(|(name, glue)| (name.clone(), glue.clone().into()))
                .collect(),
            rival: None,
            cut: Cut::NotTold,
            confirmed_s: now_s,
            changed_s: now_s,
            former: None,
            written_s: 0,
            uses: Uses::default(),
            taken_until: Duration::ZERO,
        }
    }

    pub(super) fn parent(&self, zone: &Name) -> Name {
        zone.suffix(self.parent_labels.into())
    }

    pub(super) fn note(&self, zone: &Name, now: Now) -> RetainedNote {
        RetainedNote {
            zone: zone.clone(),
            parent: self.parent(zone),
            age_s: now.wall_s.saturating_sub(self.confirmed_s),
        }
    }

    /// In the form of a delegation.
    pub(super) fn servers(&self) -> Vec<(Name, Vec<IpAddr>)> {
        let servers = self.servers.iter();
        servers.map(|(n, a)| (n.clone(), a.to_vec())).collect()
    }

    /// Whether the other one says something else.
    pub(super) fn differs(&self, other: &Entry) -> bool {
        self.cut != other.cut || self.names_others(other)
    }

    /// Whether the other one has other servers, or another parent; their order is of no weight.
    pub(super) fn names_others(&self, other: &Entry) -> bool {
        let sorted = |entry: &Entry| {
            let mut servers = entry.servers();
            servers.iter_mut().for_each(|(_, glue)| glue.sort());
            servers.sort();
            servers
        };
        self.parent_labels != other.parent_labels || sorted(self) != sorted(other)
    }

    /// Whether the zone has changed hands, as far as one can tell: no server was kept.
    pub(super) fn is_moved(&self, other: &Entry) -> bool {
        let serves = |name: &Name| other.servers.iter().any(|(n, _)| n == name);
        !self.servers.iter().any(|(name, _)| serves(name))
    }

    pub(super) fn bytes(&self, zone: &Name) -> usize {
        let server = |(name, glue): &(Name, Box<[IpAddr]>)| {
            name_bytes(name) + block_bytes(size_of_val::<[IpAddr]>(glue))
        };
        let list = |servers: &Servers| {
            block_bytes(size_of_val::<[(Name, Box<[IpAddr]>)]>(servers))
                + servers.iter().map(server).sum::<usize>()
        };
        place_bytes(size_of::<(Name, Arc<Entry>)>())
            + arc_bytes(size_of::<Entry>())
            + name_bytes(zone)
            + list(&self.servers)
            + self.rival.as_ref().map_or(0, list)
            + (self.former.as_ref()).map_or(0, |former| {
                block_bytes(size_of::<FormerEntry>()) + list(&former.servers)
            })
            + self.cut.bytes()
    }
}

/// Kept addresses of a name server.
#[derive(Debug, Clone, Default)]
pub(super) struct Host {
    /// `None` where it was never found out.
    pub(super) a: Option<Box<[IpAddr]>>,
    pub(super) aaaa: Option<Box<[IpAddr]>>,
    /// When they were last looked up, seconds since 1970.
    pub(super) seen_s: u64,
    /// As of a delegation.
    pub(super) changed_s: u64,
    pub(super) former: Option<Box<FormerHost>>,
    /// What stands on disk for `seen_s`; 0 for nothing.
    pub(super) written_s: u64,
    pub(super) uses: Uses,
    /// They could not be looked up the last time.
    pub(super) failing: bool,
    /// Monotonic time of the next try, while failing.
    pub(super) look_at: Duration,
}

impl Host {
    pub(super) fn list(&self, rtype: Rtype) -> Option<&[IpAddr]> {
        match rtype {
            Rtype::A => self.a.as_deref(),
            Rtype::AAAA => self.aaaa.as_deref(),
            _ => None,
        }
    }

    /// Takes over what was found; says whether that is another list.
    pub(super) fn learn(&mut self, rtype: Rtype, list: &[IpAddr]) -> bool {
        let known = match rtype {
            Rtype::A => &mut self.a,
            Rtype::AAAA => &mut self.aaaa,
            _ => return false,
        };
        let mut sorted = list.to_vec();
        sorted.sort();
        let changed = known.as_deref() != Some(&sorted[..]);
        *known = Some(sorted.into());
        changed
    }

    /// No address is known.
    pub(super) fn is_empty(&self) -> bool {
        let none = |list: &Option<Box<[IpAddr]>>| list.as_ref().is_none_or(|l| l.is_empty());
        none(&self.a) && none(&self.aaaa)
    }

    pub(super) fn bytes(&self, name: &Name) -> usize {
        let list = |l: &Option<Box<[IpAddr]>>| {
            let len = l.as_ref().map_or(0, |l| l.len());
            block_bytes(len * size_of::<IpAddr>())
        };
        place_bytes(size_of::<(Name, Arc<Host>)>())
            + arc_bytes(size_of::<Host>())
            + name_bytes(name)
            + list(&self.a)
            + list(&self.aaaa)
            + (self.former.as_ref()).map_or(0, |former| {
                block_bytes(size_of::<FormerHost>()) + list(&former.a) + list(&former.aaaa)
            })
    }
}

fn name_bytes(name: &Name) -> usize {
    block_bytes(name.wire().len())
}

fn place_bytes(size: usize) -> usize {
    size * PLACE_SHARE.0 / PLACE_SHARE.1
}
