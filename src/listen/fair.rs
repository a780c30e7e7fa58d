//! What a look at a queue comes to: it is counted, put before the kernel and told in the log, in the same way for datagrams (`udp`) and for
//! connections (`crowd`).
//!
//! Failure: where the kernel takes no filter all is let in, and the log says so.

use std::io;
use std::time::Duration;

use super::sieve::{Kind, Outcome, Pressure, Share, Sieve};
use crate::lines::Lines;
use crate::metrics::{Metric, Metrics};
use crate::query::Pipeline;

/// Lines that the log takes of how full the queues of one kind are.
const LINES_PER_S_MAX: u32 = 2;

/// The queues of one kind, each with a sieve of its own.
pub(super) struct Fair {
    kind: Kind,
    log: Lines,
}

/// How the log tells of it.
struct Words {
    begins: &'static str,
    ends: &'static str,
    refused: &'static str,
}

const OF_DATAGRAMS: Words = Words {
    begins: "more comes than is taken: of networks that ask much only a share is let in (`holdfast top` says who)",
    ends: "all that comes is taken again",
    refused: "more comes than is taken, and the kernel takes no filter: the queue loses whoever comes",
};
const OF_CONNECTIONS: Words = Words {
    begins: "more connections are opened than can be taken: of networks that open many only a share is let in (`holdfast top` says who)",
    ends: "all connections that are opened are taken again",
    refused: "more connections are opened than can be taken, and the kernel takes no filter: whoever comes may have to come again",
};

impl Fair {
    /// Queues of this kind.
    pub(super) fn new(kind: Kind) -> Fair {
        Fair {
            kind,
            log: Lines::new(LINES_PER_S_MAX),
        }
    }

    /// A sieve for one of them.
    pub(super) fn sieve(&self) -> Sieve {
        Sieve::new(self.kind)
    }

    /// Counts one that was taken from its queue and left out.
    pub(super) fn left_out(&self, metrics: &Metrics) {
        let (lost, sieved) = self.counters(metrics);
        lost.inc();
        sieved.inc();
    }

    /// A look at one of them, at this moment since the start: it stands so. `put` has the kernel let in shares of these networks and all of all others.
    pub(super) fn look(
        &self,
        sieve: &mut Sieve,
        (pressure, now): (Pressure, Duration),
        pipeline: &Pipeline,
        metrics: &Metrics,
        put: impl FnOnce(Kind, &[Share]) -> io::Result<()>,
    ) {
        let was_sieving = sieve.is_sieving();
        let Outcome {
            dropped,
            unseen,
            shares,
        } = sieve.look(pressure, now);
        let (lost, sieved) = self.counters(metrics);
        lost.add(dropped.into());
        for (network, count) in unseen {
            sieved.add(count);
            pipeline.count_unseen(network, count, now);
        }
        let Some(shares) = shares else {
            return;
        };
        let has_failed = put(self.kind, &shares).err();
        if has_failed.is_some() {
            sieve.refused();
        }
        if was_sieving != sieve.is_sieving() || has_failed.is_some() {
            self.tell(shares.len(), has_failed, now);
        }
    }

    /// The counters of what was dropped, and of that as more than its network's share.
    fn counters<'m>(&self, metrics: &'m Metrics) -> (&'m Metric, &'m Metric) {
        match self.kind.openings {
            true => (
                &metrics.connections_lost_total,
                &metrics.connections_sieved_total,
            ),
            false => (&metrics.queries_lost_total, &metrics.queries_sieved_total),
        }
    }

    fn tell(&self, networks: usize, has_failed: Option<io::Error>, now: Duration) {
        let Some(left_out) = self.log.claim(now.as_secs()) else {
            return;
        };
        let words = match self.kind.openings {
            true => OF_CONNECTIONS,
            false => OF_DATAGRAMS,
        };
        match has_failed {
            None if networks > 0 => tracing::warn!(networks, left_out, "{}", words.begins),
            None => tracing::info!(left_out, "{}", words.ends),
            Some(error) => tracing::warn!(%error, left_out, "{}", words.refused),
        }
    }
}
