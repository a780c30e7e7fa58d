//! NOTIFY (RFC 1996) on the side of the mirror: who tells of news by right, and what comes of it.
//!
//! A NOTIFY is a hint that somebody may forge, so all that it can do is to bring the next refresh forward: the task takes many for one,
//! and keeps a distance between two of these refreshes. The sender is asked first, for the other sources may not have the news yet. A
//! serial in the message decides nothing but this: the one that is served already is no news.

use std::fmt;
use std::net::IpAddr;

use super::{Mirror, health};
use crate::clock::format_utc;
use crate::config::Source;
use crate::dns::Name;

/// What a NOTIFY says.
#[derive(Debug, Clone, Copy)]
pub struct Notifying<'a> {
    /// Its sender.
    pub from: IpAddr,
    /// The key that it is signed with.
    pub key: Option<&'a Name>,
    /// The serial of the SOA record in it.
    pub serial: Option<u32>,
}

/// A NOTIFY that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notified {
    /// When, in seconds since 1970.
    at: u64,
    from: IpAddr,
    serial: Option<u32>,
}

impl fmt::Display for Notified {
    /// `2026-08-01T12:00:00Z from 192.0.2.1, serial 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", format_utc(self.at), self.from)?;
        match self.serial {
            Some(serial) => write!(f, ", serial {serial}"),
            None => Ok(()),
        }
    }
}

fn key_of(source: &Source) -> Option<&Name> {
    match source {
        Source::Axfr { tsig, .. } => tsig.as_ref(),
        _ => None,
    }
}

impl Mirror {
    /// Whether a NOTIFY is from one of the mirror's own sources: signed with its key, or from its address where it has none. A
    /// source that signs what it sends signs this too: an address is soon forged, and the transfers it brings are not free.
    pub fn is_of_source(&self, notify: Notifying<'_>) -> bool {
        let from = notify.from.to_canonical();
        self.config.sources.iter().any(|source| match source {
            Source::Axfr { tsig: Some(_), .. } => key_of(source) == notify.key,
            _ => health::address(source) == Some(from),
        })
    }

    /// The key that a NOTIFY from this address would have to be signed with: that of the source there.
    pub fn key_of_source(&self, from: IpAddr) -> Option<&Name> {
        let from = Some(from.to_canonical());
        let mut there = (self.config.sources.iter()).filter(|s| health::address(s) == from);
        there.find_map(key_of)
    }

    /// Takes a NOTIFY: refreshes soon, unless it tells of what is served. `now_s` in seconds since 1970.
    pub fn notify(&self, notify: Notifying<'_>, now_s: u64) {
        let from = notify.from.to_canonical();
        let known = self.current().map(|g| g.serial());
        let news = notify.serial.is_none() || notify.serial != known;
        {
            let mut state = self.state();
            state.last_notify = Some(Notified {
                at: now_s,
                from,
                serial: notify.serial,
            });
            if news {
                state.notified_by = Some(from);
            }
        }
        tracing::debug!(zone = %self.config.zone, %from, serial = ?notify.serial, news, "notified");
        if news {
            self.notified.notify_one();
        }
    }
}
