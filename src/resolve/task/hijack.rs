//! What is done about a hijack: data that is not signed is taken for a moment only, and nothing stays of it.
//!
//! Each world has its own state, which begins as that of the world beside which it was made: servers are asked in both. Judgements keep nothing, and see
//! to none of it.

use std::net::IpAddr;

use super::Shared;
use crate::dns::{Name, Question};
use crate::resolve::hijack::TTL_MAX_S;
use crate::resolve::validate::Verdict;
use crate::resolve::{Response, Security};

impl Shared {
    /// A server gave data of the zone that does not validate, in this response.
    pub(super) fn note_bogus(&self, server: IpAddr, zone: &Name, response: &Response) {
        let sets = response.answer.iter().chain(&response.rest);
        let mut sets = sets.chain(&response.authority);
        let is_bare = sets.all(|set| set.sigs.is_empty());
        let Some(hijack) = self.hijack.as_ref().filter(|_| is_bare) else {
            return;
        };
        if hijack.bare(server, zone, self.clock.now()) {
            tracing::warn!(%zone, %server, "nothing that servers say has the signatures that it must have: somebody seems to answer in their place, and what is not signed is kept for {TTL_MAX_S} s at most");
        }
    }

    /// A server gave data that validates. At the end of a hijack all goes that may be its author's.
    pub(super) fn note_good(&self) {
        let now = self.clock.now();
        let Some(hijack) = &self.hijack else {
            return;
        };
        let Some(since) = hijack.good(now) else {
            if !hijack.is_on(now) {
                self.retained.trusted(now);
            }
            return;
        };
        let for_s = now.mono.saturating_sub(since).as_secs();
        let ways = (self.retained).distrust(now.wall_s.saturating_sub(for_s));
        self.retained.trusted(now);
        self.knowledge.forget_ways(since);
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
        if self.is_doubtful(&verdict.security) {
            let ttl_max_s = verdict.ttl_max_s.unwrap_or(u32::MAX);
            verdict.ttl_max_s = Some(ttl_max_s.min(TTL_MAX_S));
        }
    }

    /// Whether the answer may be a hijacker's, and there is an older one that it must not take the place of.
    pub(super) fn spares_old(&self, question: &Question, security: &Security) -> bool {
        self.is_doubtful(security) && self.has_old(question)
    }

    fn is_doubtful(&self, security: &Security) -> bool {
        let is_on = || (self.hijack.as_ref()).is_some_and(|h| h.is_on(self.clock.now()));
        *security == Security::Insecure && is_on()
    }
}
