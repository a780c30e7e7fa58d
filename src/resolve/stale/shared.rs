//! Looks at silent servers, whichever zone they were made for.
//!
//! Why: an operator who vanishes takes many zones with him, all on the same few servers. Were each zone looked for by itself, every
//! server would be sent as many packets as it has zones; and one answer of his tells of all of them.
//!
//! Model: an address that is silent, or the dead prefix that it stands in, is looked at when its last look is 4 s old and has been paid
//! for by the questions of all zones there, or 8 s old in any case. A zone is due when one of its servers is.
//!
//! Failure: what is not in the table has never been looked at, and is due. So it is with a full table: then each zone has its own times.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{FORGET_AFTER, Pool, QUESTIONS_PER_PACKET, ZONE_EVERY, ZONE_EVERY_MAX};

/// Addresses and prefixes.
const LOOKS_MAX: usize = 20_000;

/// The last look at each.
#[derive(Debug, Default)]
pub struct Looks {
    table: HashMap<IpNet, Look>,
}

#[derive(Debug)]
struct Look {
    at: Duration,
    /// Packets, and questions for its zones since.
    spent: u32,
    asked: u32,
}

impl Looks {
    /// Whether it is time to look there.
    pub fn is_due(&self, at: IpNet, now: Duration) -> bool {
        let Some(last) = self.table.get(&at) else {
            return true;
        };
        let cheap = last.asked / QUESTIONS_PER_PACKET >= last.spent;
        let pause = if cheap { ZONE_EVERY } else { ZONE_EVERY_MAX };
        now >= last.at + pause
    }

    /// A zone with these servers, in order, is asked for.
    pub fn asked(&mut self, servers: &[IpAddr], pool: Pool<'_>) {
        let mut before = None;
        for at in servers.iter().map(|a| pool(*a)) {
            // Neighbours of one dead prefix count once.
            if before.replace(at) != Some(at)
                && let Some(look) = self.table.get_mut(&at)
            {
                look.asked = look.asked.saturating_add(1);
            }
        }
    }

    /// A look at these servers begins.
    pub fn begun(&mut self, servers: &[IpAddr], packets: u32, now: Duration, pool: Pool<'_>) {
        if self.table.len() + servers.len() > LOOKS_MAX {
            self.table.retain(|_, look| now < look.at + FORGET_AFTER);
        }
        for at in servers.iter().map(|a| pool(*a)) {
            if self.table.len() >= LOOKS_MAX && !self.table.contains_key(&at) {
                continue;
            }
            let look = Look {
                at: now,
                spent: packets,
                asked: 0,
            };
            self.table.insert(at, look);
        }
    }
}
