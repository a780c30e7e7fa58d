//! Looks at silent servers, whichever zone they were made for.
//!
//! Why: an operator who vanishes takes many zones with him, all on the same few servers. Were each zone looked for by itself, every
//! server would be sent as many packets as it has zones; and one answer of his tells of all of them.
//!
//! Model: an address that is silent, or the dead prefix that it stands in, is looked at when its last look is 4 s old and has been paid
//! for by the questions of all zones there, or 8 s old in any case. A zone is due when one of its servers is. When a silent zone is heard, what
//! fell silent no long time before it, or after it, may have had the same cause, which has ended: it is due once more, on the next question for it. What has
//! been silent for longer is not, so that who comes and goes does not have the dead looked for all the time.
//!
//! Failure: what is not in the table has never been looked at, and is due. So it is with a full table: then each zone has its own times.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{FORGET_AFTER, Pool, QUESTIONS_PER_PACKET, ZONE_EVERY, ZONE_EVERY_MAX};

/// Addresses and prefixes.
const LOOKS_MAX: usize = 20_000;
/// What fell silent so long before another may have had the same cause: silence is found out when something has run out and is asked for.
const TOGETHER: Duration = Duration::from_secs(60);
/// Within so long what is heard belongs to one return.
const RETURN_FOR: Duration = Duration::from_secs(10);
/// Time between two looks, however much comes back.
const RECALL_EVERY: Duration = Duration::from_secs(2);

/// The last look at each.
#[derive(Debug, Default)]
pub struct Looks {
    table: HashMap<IpNet, Look>,
    returned: Option<Return>,
}

/// Silent zones have been heard.
#[derive(Debug)]
struct Return {
    /// The last of them, and when the first of them fell silent.
    at: Duration,
    since: Duration,
}

#[derive(Debug)]
struct Look {
    at: Duration,
    /// The last one beside those, because something had been heard.
    recalled_at: Duration,
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

    /// A zone has been heard that was silent since then.
    pub fn heard(&mut self, since: Duration, now: Duration) {
        let before = (self.returned.as_ref()).filter(|last| now < last.at + RETURN_FOR);
        let since = before.map_or(since, |last| last.since.min(since));
        self.returned = Some(Return { at: now, since });
    }

    /// When something was heard that may have been silent for the same reason as what is silent since then.
    pub fn returned(&self, since: Duration) -> Option<Duration> {
        let last = self.returned.as_ref()?;
        (last.since <= since + TOGETHER).then_some(last.at)
    }

    /// Whether the last look there was before that moment, and not just now.
    pub fn is_before(&self, at: IpNet, moment: Duration, now: Duration) -> bool {
        let last = self.table.get(&at);
        last.is_none_or(|look| {
            let last_at = look.at.max(look.recalled_at);
            last_at < moment && now >= last_at + RECALL_EVERY
        })
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
                recalled_at: now,
                spent: packets,
                asked: 0,
            };
            self.table.insert(at, look);
        }
    }

    /// A look begins because something was heard: the next one in turn is no later for it.
    pub fn recalled(&mut self, servers: &[IpAddr], now: Duration, pool: Pool<'_>) {
        for at in servers.iter().map(|a| pool(*a)) {
            if let Some(look) = self.table.get_mut(&at) {
                look.recalled_at = now;
            }
        }
    }
}
