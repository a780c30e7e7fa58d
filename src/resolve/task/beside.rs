//! Resolvers beside the one that clients use: for a drill, and to judge what a cut-off would leave.
//!
//! Why: a drill must be like the outage that it rehearses and must leave no trace; a judgement must come to what the outage would come
//! to. Both are the resolver itself, over another way out and with a memory of its own: what it learns of servers, failures and zones
//! that are gone ends with it.
//!
//! Model: [`Resolver::rehearsing`] begins with what the original knows and answers clients in its place. It shares the answer cache and
//! the keys of zones: what goes in there was validated, and true. What parents say of their delegations reaches the original too.
//! [`Resolver::judging`] begins as after an outage so long that every TTL has run out: no answer in the cache counts unless as old
//! data, no delegation is known but those that are retained, and nothing is kept. Neither writes to the ledger.
//!
//! Failure: none of its own.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::{Memory, Options, Parts, Resolver, Settings};
use crate::dns::{Name, Question, Rtype};
use crate::metrics::Metrics;
use crate::resolve::delegation::Knowledge;
use crate::resolve::hijack::Hijack;
use crate::resolve::trace::Trace;
use crate::resolve::{Health, LocalZones, Resolution};
use crate::upstream::Upstream;

/// What is different for a resolver beside another.
pub struct Beside {
    /// The way to other servers.
    pub upstream: Arc<dyn Upstream>,
    /// Locally held zones, and when they are asked.
    pub local: Arc<dyn LocalZones>,
    /// Reachability.
    pub health: Arc<dyn Health>,
}

/// What a judgement is to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judging {
    /// What a question comes to, and why: each is tried for itself, to the end of its work, so that its record says all.
    Reason,
    /// Whether that is in time: old data is answered as early as clients get it, and zones that are known to be silent are left alone.
    Time,
}

impl Resolver {
    /// A resolver for a drill. Copies tables: not for a thread that answers.
    pub fn rehearsing(&self, beside: Beside) -> Resolver {
        let shared = &self.0;
        let settings = Settings {
            seed: shared.next_seed(),
            log_servfail: shared.log.is_on(),
            ..shared.settings.clone()
        };
        let memory = Memory {
            knowledge: shared.knowledge.copy(),
            servers: Arc::new(shared.servers.copy()),
            retained: Arc::new(shared.retained.copy(true)),
            cache: shared.cache.clone(),
            shelf: self.same_shelf(),
            judging: None,
            hijack: shared.hijack.as_ref().map(Hijack::copy),
        };
        Resolver::with_memory(self.parts(beside, settings), memory)
    }

    /// A resolver for judgements. Copies tables: not for a thread that answers.
    pub fn judging(&self, beside: Beside, of: Judging) -> Resolver {
        let shared = &self.0;
        let settings = Settings {
            prime: false,
            prefetch: false,
            seed: shared.next_seed(),
            log_servfail: false,
            ..shared.settings.clone()
        };
        let memory = Memory {
            knowledge: Knowledge::new(settings.root_hints.clone()),
            servers: Arc::default(),
            retained: Arc::new(shared.retained.copy(false)),
            cache: shared.cache.clone(),
            shelf: self.same_shelf(),
            judging: Some(of),
            hijack: None,
        };
        let mut parts = self.parts(beside, settings);
        parts.validator = parts.validator.map(|v| Arc::new(v.afresh()));
        Resolver::with_memory(parts, memory)
    }

    /// Another one that knows what this one knows of servers and of zones that are gone, and nothing else: as if for a while nobody
    /// had asked for anything.
    pub fn rested(&self, of: Judging) -> Resolver {
        let shared = &self.0;
        let beside = Beside {
            upstream: shared.upstream.clone(),
            local: shared.local.clone(),
            health: shared.health.clone(),
        };
        let settings = Settings {
            seed: shared.next_seed(),
            ..shared.settings.clone()
        };
        let memory = Memory {
            knowledge: Knowledge::new(settings.root_hints.clone()),
            servers: shared.servers.clone(),
            retained: shared.retained.clone(),
            cache: shared.cache.clone(),
            shelf: self.same_shelf(),
            judging: Some(of),
            hijack: None,
        };
        let mut parts = self.parts(beside, settings);
        parts.validator = parts.validator.map(|v| Arc::new(v.afresh()));
        Resolver::with_memory(parts, memory)
    }

    fn parts(&self, beside: Beside, settings: Settings) -> Parts {
        let shared = &self.0;
        Parts {
            settings,
            upstream: beside.upstream,
            validator: shared.validator.clone(),
            local: beside.local,
            health: beside.health,
            clock: shared.clock.clone(),
            // Gauges of a rehearsal say nothing of the server.
            metrics: Arc::new(Metrics::default()),
        }
    }

    fn same_shelf(&self) -> OnceLock<Arc<super::answers::Shelf>> {
        let shelf = OnceLock::new();
        if let Some(own) = self.0.shelf.get() {
            let _ = shelf.set(own.clone());
        }
        shelf
    }

    /// Resolves past whatever is known of the question itself, to the end of the work.
    pub async fn judge_question(&self, question: Question, trace: &Trace) -> Resolution {
        self.find_out(question, Options::default(), trace).await
    }

    /// Whether there is an old answer to the question, for when there is no new one.
    pub fn has_old(&self, question: &Question) -> bool {
        self.0.has_old(question)
    }

    /// A drill that began at `since` (monotonic) is over: takes away what was kept in common and says something of the cut-off.
    pub fn end_rehearsal(&self, since: Duration) {
        self.0.cache.purge_as_of();
        self.0.cache.purge_remarked(since);
        if let Some(validator) = &self.0.validator {
            validator.purge_as_of();
        }
    }
}

/// The servers of a zone, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The zone.
    pub zone: Name,
    /// Names of its servers, and their addresses as far as known.
    pub servers: Vec<(Name, Vec<IpAddr>)>,
}

impl Resolver {
    /// The deepest zone known towards the question, and its servers. Asks nobody.
    pub fn way_to(&self, question: &Question) -> Way {
        let shared = &self.0;
        let now = shared.clock.now();
        let delegation = shared.knowledge.deepest(question, now);
        let server = |(name, glue): &(Name, Vec<IpAddr>)| {
            let mut addresses = glue.clone();
            for rtype in [Rtype::A, Rtype::AAAA] {
                addresses.extend(
                    shared
                        .knowledge
                        .addresses(name, rtype, now)
                        .unwrap_or_default(),
                );
            }
            addresses.sort();
            addresses.dedup();
            (name.clone(), addresses)
        };
        Way {
            zone: delegation.zone.clone(),
            servers: delegation.servers.iter().map(server).collect(),
        }
    }
}
