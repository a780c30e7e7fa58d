//! Who asks most, for the operator who looks at a flood.

use std::time::Duration;

use ipnet::IpNet;

use super::table::{COUNT_WINDOW, Networks};

/// The networks that ask most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Talkers {
    /// How far back the counts reach, in seconds.
    pub over_s: u64,
    /// Queries of everybody in that time.
    pub queries: u64,
    /// Of these, the ones that were answered with nothing, with TC=1 alone or with REFUSED because of a limit.
    pub limited: u64,
    /// Who asked most first.
    pub networks: Vec<Talker>,
}

/// A network, a /24 or /56.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Talker {
    /// It.
    pub prefix: IpNet,
    /// Its queries.
    pub queries: u64,
    /// Of these, the limited ones.
    pub limited: u64,
}

/// The `max` that have asked most.
pub(super) fn of(networks: &Networks, max: usize, now: Duration) -> Talkers {
    let seen = networks.slots().filter_map(|slot| slot.seen(now));
    let mut all: Vec<_> = seen.collect();
    all.sort_by_key(|(network, queries, _)| (std::cmp::Reverse(*queries), network.0));
    let (queries, limited) = networks.total.sum(now);
    let into_window = now.as_secs() % COUNT_WINDOW.as_secs();
    let networks = all.into_iter().take(max);
    Talkers {
        over_s: (COUNT_WINDOW.as_secs() + into_window).min(now.as_secs()),
        queries,
        limited,
        networks: networks
            .filter_map(|(network, queries, limited)| {
                let prefix = network.prefix()?;
                Some(Talker {
                    prefix,
                    queries,
                    limited,
                })
            })
            .collect(),
    }
}
