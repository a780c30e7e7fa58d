//! Who serves a signed zone, said by its parent and not yet shown by the zone.
//!
//! Why: an NS set and its glue come from the parent unsigned. Somebody who answers in its place for a minute could put his own servers into
//! what is kept for months, and would be asked as soon as the parent is gone. Servers of a signed zone can show that they are: by an answer
//! that validates.
//!
//! Model: a referral that shares no server with what is kept is held beside it. An answer of the zone that validates, from an
//! address that was not known before, puts it in place; a referral to the servers that are kept drops it. Of a zone that is not known to be signed every
//! referral counts, for nothing could ever show more.
//!
//! Failure: a zone that has moved, and of which nothing was validated since, is kept with its former servers.

use std::net::IpAddr;

use super::entry::Entry;
use super::{Cut, ENTRY_BYTES_MAX, Key, Retained, Tables};
use crate::clock::Now;
use crate::dns::{Name, Question};

impl Entry {
    /// Whether the new one names nobody of these servers, and the zone has to show that it is theirs.
    pub(super) fn holds_back(&self, new: &Entry, now: Now) -> bool {
        let stays = |(name, glue): &(Name, Box<[IpAddr]>)| {
            let same = |(n, g): &(Name, Box<[IpAddr]>)| {
                // Names without glue stand for themselves.
                n == name && (glue.is_empty() || g.is_empty() || g.iter().any(|a| glue.contains(a)))
            };
            new.servers.iter().any(same)
        };
        self.is_signed(now)
            && self.parent_labels == new.parent_labels
            && !self.servers.iter().any(stays)
    }

    /// Whether the zone is proven to be signed, by signatures that hold.
    fn is_signed(&self, now: Now) -> bool {
        matches!(self.cut, Cut::Signed { .. }) && !self.cut.has_run_out(now.wall_s)
    }

    /// Puts the rival in place; whether the zone has moved by that.
    pub(super) fn take_rival(&mut self) -> bool {
        let Some(servers) = self.rival.take() else {
            return false;
        };
        let before = Entry {
            servers: std::mem::replace(&mut self.servers, servers),
            ..self.clone()
        };
        before.is_moved(self)
    }
}

impl Tables {
    /// Keeps the new servers beside the old ones.
    pub(super) fn hold_back(&mut self, zone: &Name, new: Entry, now: Now) {
        let Some(known) = self.zones.get(zone) else {
            return;
        };
        let mut entry = Entry::clone(known);
        entry.rival = Some(new.servers);
        entry.uses.count(now.wall_s);
        if entry.bytes(zone) <= ENTRY_BYTES_MAX {
            self.put_zone(zone.clone(), entry.into());
        }
    }
}

impl Retained {
    /// Whether what is kept of the way to the question past `parent` is better than what its servers say now: the zone is proven to be
    /// signed by signatures that still hold, so that it can show what is its own, and they have `lied`, or name servers that have not
    /// shown yet that they are.
    pub fn vouches(&self, parent: &Name, question: &Question, lied: bool, now: Now) -> bool {
        let tables = self.tables();
        let zone = tables.child(parent, question);
        let entry = zone.and_then(|zone| tables.zones.get(&zone));
        entry.is_some_and(|entry| entry.is_signed(now) && (lied || entry.rival.is_some()))
    }

    /// An answer of the zone, from this server of it, has validated.
    pub fn proven(&self, zone: &Name, server: IpAddr, now: Now) {
        let mut tables = self.tables();
        let known = tables.zones.get(zone);
        let Some(known) = known.filter(|entry| entry.rival.is_some()) else {
            return;
        };
        // One of those who served it before, to an earlier question.
        if known.servers.iter().any(|(_, glue)| glue.contains(&server)) {
            return;
        }
        let mut entry = Entry::clone(known);
        if entry.take_rival() {
            tables.remove_below(zone);
        }
        entry.confirmed_s = now.wall_s;
        tables.put_zone(zone.clone(), entry.into());
        tables.unwritten.insert(Key::Zone(zone.clone()));
    }
}
