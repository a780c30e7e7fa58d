//! Kept delegations as rows of the ledger: plain data that whoever writes them turns into rows and back.
//!
//! The form on disk is `store::rows::{RetainedRow, RetainedHostRow, GoneRow}`; this file says which of them differ from the disk, and takes
//! back what was read at the start. What is read is hostile like everything from a disk: names and counts are checked again.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::entry::{Entry, Host, Uses};
use super::{Cut, GONE_MAX, Key, Retained, State};
use crate::clock::Now;
use crate::dns::{Name, Rdata};
use crate::resolve::delegation::{ADDRESSES_PER_NAME_MAX, NAMES_MAX};

/// Who was gone so long ago, in seconds, is asked first when the program starts again; how often it is written that somebody is.
const GONE_FOR_S: u64 = 600;
const GONE_WRITTEN_EVERY_S: u64 = 60;
/// DS records of one zone that are taken back.
const DS_MAX: usize = 64;

/// A kept delegation as it stands on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneRow {
    /// The zone.
    pub zone: Name,
    /// The zone whose servers gave it.
    pub parent: Name,
    /// Name servers with their glue.
    pub servers: Vec<(Name, Vec<IpAddr>)>,
    /// What validation proved of its DS set.
    pub cut: Cut,
    /// When the parent last said so, seconds since 1970.
    pub confirmed_s: u64,
    /// How often it was used.
    pub uses: u16,
    /// When it was last used, seconds since 1970.
    pub used_s: u64,
}

/// Kept addresses of a name server as they stand on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRow {
    /// The name server.
    pub host: Name,
    /// Its IPv4 addresses, if they were found out.
    pub a: Option<Vec<IpAddr>>,
    /// Its IPv6 addresses, if they were found out.
    pub aaaa: Option<Vec<IpAddr>>,
    /// When they were last looked up, seconds since 1970.
    pub seen_s: u64,
    /// How often it was used.
    pub uses: u16,
    /// When it was last used, seconds since 1970.
    pub used_s: u64,
}

/// A zone whose servers are gone, as it stands on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentRow {
    /// The zone.
    pub zone: Name,
    /// Since when, seconds since 1970.
    pub since_s: u64,
    /// When that was last known, seconds since 1970.
    pub seen_s: u64,
}

/// A change to be made on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwritten {
    /// Put this row.
    Zone(ZoneRow),
    /// Put this row.
    Host(HostRow),
    /// Put this row.
    Parent(ParentRow),
    /// Remove the row of this key.
    Gone(Key),
}

impl Retained {
    /// What differs from the disk, at most `count` rows; from now on it counts as written. With `all`, what is young too.
    pub fn take_unwritten(&self, count: usize, all: bool, now: Now) -> Vec<Unwritten> {
        let mut tables = self.tables();
        let mut out = Vec::new();
        let mut done = Vec::new();
        let is_gone = |key: &&Key| match key {
            Key::Zone(zone) => !tables.zones.contains_key(zone),
            Key::Host(host) => !tables.hosts.contains_key(host),
            Key::Parent(zone) => !tables.gone.contains_key(zone),
        };
        // What goes is first: however much comes in a flood, the disk holds no more than memory for long.
        let (gone, there): (Vec<&Key>, Vec<&Key>) = tables.unwritten.iter().partition(is_gone);
        for key in gone.into_iter().chain(there) {
            if out.len() >= count {
                break;
            }
            let change = match key {
                Key::Zone(zone) => match tables.zones.get(zone) {
                    Some(e) if !all && !e.uses.is_settled(e.confirmed_s, now.wall_s) => continue,
                    Some(entry) => Unwritten::Zone(zone_row(zone, entry)),
                    None => Unwritten::Gone(key.clone()),
                },
                Key::Host(host) => match tables.hosts.get(host) {
                    Some(h) if !all && !h.uses.is_settled(h.seen_s, now.wall_s) => continue,
                    Some(known) => Unwritten::Host(host_row(host, known)),
                    None => Unwritten::Gone(key.clone()),
                },
                Key::Parent(zone) => match tables.gone.get(zone) {
                    Some(state) => Unwritten::Parent(ParentRow {
                        zone: zone.clone(),
                        since_s: state.since_s,
                        seen_s: now.wall_s,
                    }),
                    None => Unwritten::Gone(key.clone()),
                },
            };
            out.push(change);
            done.push(key.clone());
        }
        for key in done {
            match &key {
                Key::Zone(zone) => {
                    if let Some(entry) = tables.zone_mut(zone) {
                        entry.written_s = entry.confirmed_s.max(1);
                    }
                }
                Key::Host(host) => {
                    if let Some(known) = tables.host_mut(host) {
                        known.written_s = known.seen_s.max(1);
                    }
                }
                Key::Parent(zone) => {
                    if let Some(state) = tables.gone.get_mut(zone) {
                        state.written_s = now.wall_s.max(1);
                    }
                }
            }
            tables.unwritten.remove(&key);
        }
        out
    }

    /// The disk did not take these: they are to be written again.
    pub fn put_back(&self, changes: &[Unwritten]) {
        let mut tables = self.tables();
        for change in changes {
            let key = match change {
                Unwritten::Zone(row) => Key::Zone(row.zone.clone()),
                Unwritten::Host(row) => Key::Host(row.host.clone()),
                Unwritten::Parent(row) => Key::Parent(row.zone.clone()),
                Unwritten::Gone(key) => {
                    if let Key::Zone(zone) = key
                        && let Some(entry) = tables.zone_mut(zone)
                    {
                        entry.written_s = entry.written_s.max(1);
                    }
                    key.clone()
                }
            };
            tables.unwritten.insert(key);
        }
    }

    /// Who is gone still is to be written so, now and then: what the disk says must not be old when the program starts again.
    pub fn confirm_gone(&self, now: Now) {
        let mut tables = self.tables();
        let old = |s: u64| now.wall_s.saturating_sub(s) >= GONE_WRITTEN_EVERY_S;
        let due = tables.gone.iter().filter(|(_, s)| old(s.written_s));
        let due: Vec<Key> = due.map(|(zone, _)| Key::Parent(zone.clone())).collect();
        tables.unwritten.extend(due);
    }

    /// Rows are about to be read from disk.
    pub fn begin_restore(&self) {
        self.tables().denied_early = Some(Vec::new());
    }

    /// All rows were read: what was denied meanwhile goes.
    pub fn end_restore(&self) {
        let early = self.tables().denied_early.take().unwrap_or_default();
        for (by, question) in early {
            self.denied(&by, &question);
        }
    }

    /// Takes back what was kept when the program last ran. What has been learned since stands; what is too old, or names no zone
    /// below its parent, is removed from the disk.
    pub fn restore_zone(&self, row: ZoneRow, now: Now) {
        self.begin_good(now);
        let mut tables = self.tables();
        let too_old = now.wall_s.saturating_sub(row.confirmed_s) > self.settings.age_max_s;
        let unsound = !row.zone.is_below(&row.parent) || row.servers.is_empty();
        if !self.settings.enabled || too_old || unsound {
            tables.unwritten.insert(Key::Zone(row.zone));
            return;
        }
        let servers = row.servers.into_iter().take(NAMES_MAX);
        let glue = |list: Vec<IpAddr>| list.into_iter().take(ADDRESSES_PER_NAME_MAX).collect();
        let entry = Entry {
            parent_labels: u8::try_from(row.parent.label_count()).unwrap_or(u8::MAX),
            servers: servers.map(|(name, list)| (name, glue(list))).collect(),
            rival: None,
            cut: bounded(row.cut),
            // A clock that stood wrong must not make it young for ever.
            confirmed_s: row.confirmed_s.min(now.wall_s),
            changed_s: row.confirmed_s.min(now.wall_s),
            former: None,
            written_s: row.confirmed_s.max(1),
            uses: uses(row.uses, row.used_s, now),
            taken_until: Default::default(),
        };
        if let Some(known) = tables.zone_mut(&row.zone) {
            // Heard since the start.
            match entry.holds_back(known, now) {
                true => {
                    let rival = std::mem::take(&mut known.servers);
                    let entry = Entry {
                        rival: Some(rival),
                        ..entry
                    };
                    tables.put_zone(row.zone, Arc::new(entry));
                }
                false => known.written_s = row.confirmed_s.max(1),
            }
            return;
        }
        tables.put_zone(row.zone, Arc::new(entry));
        tables.make_room(&self.settings, now);
    }

    /// The same for addresses of a name server.
    pub fn restore_host(&self, row: HostRow, now: Now) {
        self.begin_good(now);
        let mut tables = self.tables();
        let too_old = now.wall_s.saturating_sub(row.seen_s) > self.settings.age_max_s;
        let list = |list: Option<Vec<IpAddr>>| {
            list.map(|list| list.into_iter().take(ADDRESSES_PER_NAME_MAX).collect())
        };
        let host = Host {
            a: list(row.a),
            aaaa: list(row.aaaa),
            seen_s: row.seen_s.min(now.wall_s),
            changed_s: row.seen_s.min(now.wall_s),
            former: None,
            written_s: row.seen_s.max(1),
            uses: uses(row.uses, row.used_s, now),
            failing: false,
            look_at: Default::default(),
        };
        if !self.settings.enabled || too_old || host.is_empty() {
            tables.unwritten.insert(Key::Host(row.host));
            return;
        }
        if let Some(known) = tables.host_mut(&row.host) {
            known.written_s = row.seen_s.max(1);
            return;
        }
        tables.put_host(row.host, Arc::new(host));
        tables.make_room(&self.settings, now);
    }
}

impl Retained {
    /// A zone was gone when the program last ran, a short time ago: its delegations, which were read before, are in use at once, and the
    /// first question for them looks whether it is back.
    pub fn restore_gone(&self, row: ParentRow, now: Now) {
        let mut tables = self.tables();
        let too_old = now.wall_s.saturating_sub(row.seen_s) > GONE_FOR_S;
        let full = tables.gone.len() >= GONE_MAX || tables.gone.contains_key(&row.zone);
        if too_old || full || !tables.delegates(&row.zone) {
            tables.unwritten.insert(Key::Parent(row.zone));
            return;
        }
        let state = State {
            since_s: row.since_s.min(now.wall_s),
            written_s: row.seen_s.max(1),
            explored: Duration::ZERO,
            as_of: true,
        };
        tables.gone.insert(row.zone, state);
    }
}

fn zone_row(zone: &Name, entry: &Entry) -> ZoneRow {
    ZoneRow {
        zone: zone.clone(),
        parent: entry.parent(zone),
        servers: entry.servers(),
        cut: entry.cut.clone(),
        confirmed_s: entry.confirmed_s,
        uses: entry.uses.count,
        used_s: entry.uses.last_s.into(),
    }
}

fn host_row(name: &Name, host: &Host) -> HostRow {
    let list = |list: &Option<Box<[IpAddr]>>| list.as_ref().map(|l| l.to_vec());
    HostRow {
        host: name.clone(),
        a: list(&host.a),
        aaaa: list(&host.aaaa),
        seen_s: host.seen_s,
        uses: host.uses.count,
        used_s: host.uses.last_s.into(),
    }
}

fn bounded(cut: Cut) -> Cut {
    match cut {
        Cut::Signed { ds, until_s } => {
            let ds: Box<[Rdata]> = ds.into_iter().take(DS_MAX).collect();
            Cut::Signed { ds, until_s }
        }
        other => other,
    }
}

fn uses(count: u16, last_s: u64, now: Now) -> Uses {
    Uses {
        count,
        last_s: u32::try_from(last_s.min(now.wall_s)).unwrap_or(u32::MAX),
    }
}
