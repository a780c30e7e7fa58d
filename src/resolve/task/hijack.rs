//! What is done about a hijack: data that is not signed is taken for a moment only, and nothing stays of it.

use std::net::IpAddr;

use super::Shared;
use crate::dns::Name;
use crate::resolve::Security;
use crate::resolve::hijack::TTL_MAX_S;
use crate::resolve::validate::Verdict;

impl Shared {
    /// A server gave data of the zone that does not validate.
    pub(super) fn note_bogus(&self, server: IpAddr, zone: &Name) {
        if self.hijack.bogus(server, zone, self.clock.now()) {
            self.retained.pause(true);
            tracing::warn!(%zone, %server, "nothing that servers say validates: somebody seems to answer in their place, and what is not signed is kept for {TTL_MAX_S} s at most");
        }
    }

    /// A server gave data that validates. At the end of a hijack all goes that may be its author's.
    pub(super) fn note_good(&self) {
        let now = self.clock.now();
        let Some(since) = self.hijack.good(now) else {
            return;
        };
        let for_s = now.mono.saturating_sub(since).as_secs();
        let since_s = now.wall_s.saturating_sub(for_s);
        self.retained.pause(false);
        let ways = self.retained.distrust(since_s);
        self.knowledge.forget_under(&Name::root(), true);
        self.failures.forget_all(now);
        let answers = self.cache.purge_unsigned(since);
        tracing::info!(
            answers,
            ways,
            for_s,
            "what servers say validates again: what is not signed and was learned meanwhile is forgotten"
        );
    }

    /// Has what is not signed live for a moment only while somebody seems to answer in everybody's place.
    pub(super) fn doubt(&self, verdict: &mut Verdict) {
        if verdict.security == Security::Insecure && self.hijack.is_on(self.clock.now()) {
            let ttl_max_s = verdict.ttl_max_s.unwrap_or(u32::MAX);
            verdict.ttl_max_s = Some(ttl_max_s.min(TTL_MAX_S));
        }
    }
}
