//! Where a step of an iteration gets its answer: upstream, or a mirror, and when.
//!
//! This file joins what must not know each other: it implements the two ports of `resolve` from
//! `mirror` (copies of zones) and `reach` (whether their servers can be reached).
//!
//! The rule per zone cut, for the deepest mirrored zone above the name:
//!
//! | copy | zone reachable or unknown | isolated |
//! |---|---|---|
//! | `use = "always"`, signatures valid (RFC 8806) | mirror | mirror |
//! | `use = "failover"`, signatures valid | upstream, hedged by the mirror | mirror |
//! | signatures have run out (as-of) | upstream, mirror as last resort | mirror |
//! | bootstrap snapshot, no contact yet | upstream, mirror as last resort | mirror |
//! | too old, or run out and `expired_signatures = "reject"` | upstream alone | upstream alone |
//!
//! Without probes (`reachability.probe = false`) one query in a second goes upstream even in isolation, so
//! that the way back is found; the mirror hedges it with the shortest delay.

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock::Now;
use crate::config::{MirrorConfig, MirrorUse};
use crate::dns::{Name, Question, Rtype};
use crate::metrics::Metrics;
use crate::mirror::{self, Generation, Mirror, Mirrors, Trust, Usable};
use crate::reach::{Evidence, Prefixes, Reachability, Signal, State};
use crate::resolve::{
    Cover, Health, LocalAnswer, LocalTrust, LocalZones, MirrorNote, Observation, Outcome, Prefer,
    age_words,
};
use crate::zone::LookupKind;

/// The two ports of `resolve`, over the mirrors and their reachability.
pub struct Route {
    mirrors: Arc<Mirrors>,
    reach: Arc<Reachability>,
    prefixes: Arc<Prefixes>,
    /// Clients' questions look for the way back, because probes do not.
    explore: bool,
    metrics: Arc<Metrics>,
}

impl Route {
    /// A route over these mirrors.
    pub fn new(
        mirrors: Arc<Mirrors>,
        reach: Arc<Reachability>,
        prefixes: Arc<Prefixes>,
        metrics: Arc<Metrics>,
    ) -> Route {
        Route {
            mirrors,
            reach,
            prefixes,
            explore: false,
            metrics,
        }
    }

    /// Lets clients' questions look for the way back from isolation.
    pub fn exploring(mut self, explore: bool) -> Route {
        self.explore = explore;
        self
    }

    fn preference(&self, mirror: &Mirror, now: Now) -> Option<Prefer> {
        let generation = mirror.current()?;
        let copy = standing(&generation, mirror.config(), now.wall_s)?;
        let zone = mirror.zone();
        let isolated = self.reach.state(zone) == State::Isolated;
        Some(decide(mirror.config().use_, copy, isolated))
    }
}

/// What a copy is worth at a moment, as far as it concerns when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Fresh,
    /// The first of its signatures has run out.
    AsOf,
    Bootstrap,
}

fn standing(generation: &Generation, config: &MirrorConfig, now_s: u64) -> Option<Standing> {
    let run_out = generation
        .row()
        .signatures_expire_at
        .is_some_and(|end| now_s > end);
    match mirror::usable(generation, config, now_s) {
        Usable::TooOld { .. } => None,
        Usable::LastResort => Some(Standing::Bootstrap),
        Usable::Fresh if run_out => Some(Standing::AsOf),
        Usable::Fresh => Some(Standing::Fresh),
    }
}

/// The table at the top of this file.
fn decide(use_: MirrorUse, copy: Standing, isolated: bool) -> Prefer {
    match (copy, isolated) {
        (_, true) => Prefer::Now,
        (Standing::AsOf | Standing::Bootstrap, false) => Prefer::LastResort,
        (Standing::Fresh, false) if use_ == MirrorUse::Always => Prefer::Now,
        (Standing::Fresh, false) => Prefer::Hedge,
    }
}

impl LocalZones for Route {
    fn cover(&self, question: &Question, now: Now) -> Option<Cover> {
        let mut name = question.name.clone();
        // The DS set of a zone stands in the zone above it (RFC 4035 section 2.4); there is none above the root.
        let mut strictly_above = question.rtype == Rtype::DS && !question.name.is_root();
        loop {
            let mirror = self.mirrors.deepest(&name, strictly_above)?;
            let zone = mirror.zone().clone();
            if let Some(prefer) = self.preference(&mirror, now) {
                return Some(Cover { zone, prefer });
            }
            // An unusable copy leaves the step to the next one above it.
            (name, strictly_above) = (zone, true);
        }
    }

    /// One step in a second, of those that would be the mirror's.
    fn explore(&self, zone: &Name, now: Now) -> bool {
        self.explore
            && self.reach.state(zone) == State::Isolated
            && self.reach.may_explore(zone, now)
    }

    fn explores(&self) -> bool {
        self.explore
    }

    fn is_settled(&self, zone: &Name) -> bool {
        let mirror = self.mirrors.find(zone);
        mirror.is_some_and(|mirror| mirror.config().use_ == MirrorUse::Always)
    }

    fn zones(&self) -> Vec<Name> {
        let all = self.mirrors.all();
        all.iter().map(|mirror| mirror.zone().clone()).collect()
    }

    fn answer(&self, zone: &Name, question: &Question, now: Now) -> Option<LocalAnswer> {
        let answer = self.look(zone, question, now)?;
        self.metrics.failover_steps_total.inc();
        Some(answer)
    }

    fn refusal(&self, zone: &Name, now: Now) -> Option<String> {
        let mirror = self.mirrors.find(zone)?;
        let generation = mirror.current()?;
        let config = mirror.config();
        if let Usable::TooOld { age_s, age_max_s } = mirror::usable(&generation, config, now.wall_s)
        {
            let (age, age_max) = (age_words(age_s), age_words(age_max_s));
            return Some(format!(
                "its copy is too old: {age} without contact, age_max is {age_max}"
            ));
        }
        let refused = mirror::trust_of(&generation, config, &[], now.wall_s) == Trust::Refused;
        refused.then(|| "the signatures of its copy have run out, and are not accepted".into())
    }

    fn has_cut(&self, zone: &Name, question: &Question) -> bool {
        let current = self.mirrors.find(zone).and_then(|mirror| mirror.current());
        current.is_some_and(|g| g.image().has_cut(&question.name, question.rtype))
    }

    fn delegates(&self, zone: &Name, question: &Question, now: Now) -> bool {
        let answer = self.look(zone, question, now);
        answer.is_some_and(|local| matches!(local.lookup.kind, LookupKind::Referral(_)))
    }
}

impl Route {
    fn look(&self, zone: &Name, question: &Question, now: Now) -> Option<LocalAnswer> {
        let mirror = self.mirrors.find(zone)?;
        let generation = mirror.current()?;
        standing(&generation, mirror.config(), now.wall_s)?;
        let lookup = generation.image().lookup(&question.name, question.rtype);
        // A damaged copy has no answer, least of all a denial; the mirror's loop sets it aside.
        if matches!(lookup.kind, LookupKind::OutOfZone | LookupKind::Unreadable) {
            return None;
        }
        let served = lookup.answer.iter().chain(&lookup.authority);
        let trust = match mirror::trust_of(&generation, mirror.config(), served, now.wall_s) {
            Trust::Secure => LocalTrust::Secure,
            Trust::AsOf => LocalTrust::SecureAsOf,
            Trust::Insecure => LocalTrust::Insecure,
            Trust::Refused => return None,
        };
        let age_s = mirror::age_s(&generation, now.wall_s);
        let note = MirrorNote {
            zone: zone.clone(),
            serial: generation.serial(),
            age_s,
            trust,
        };
        Some(LocalAnswer { lookup, note })
    }
}

impl Health for Route {
    fn observe(&self, observation: Observation) {
        let evidence = match observation.outcome {
            Outcome::Answered { .. } => Evidence::Answered,
            Outcome::Validated => Evidence::Validated,
            Outcome::TimedOut => Evidence::TimedOut,
            Outcome::Unreachable => Evidence::Unreachable,
            Outcome::Lame => Evidence::Lame,
            Outcome::ServerFailure => Evidence::ServerFailure,
            Outcome::Bogus => Evidence::Bogus,
        };
        let Observation { zone, server, .. } = observation;
        self.prefixes.observe(server, &zone, evidence);
        self.reach.signal(Signal {
            zone,
            server,
            evidence,
        });
    }

    fn zone_servers(&self, zone: &Name, servers: &[IpAddr]) {
        self.reach.zone_servers(zone, servers);
    }

    fn avoid(&self, server: IpAddr) -> bool {
        let avoided = self.prefixes.is_dead(server);
        if avoided {
            self.metrics.reach_prefix_avoided_total.inc();
        }
        avoided
    }
}

#[cfg(test)]
mod tests {
    use super::Standing::{AsOf, Bootstrap, Fresh};
    use super::*;
    use MirrorUse::{Always, Failover};

    #[test]
    fn the_table_holds() {
        for (use_, copy, reachable) in [
            (Always, Fresh, Prefer::Now),
            (Failover, Fresh, Prefer::Hedge),
            (Failover, AsOf, Prefer::LastResort),
            (Always, AsOf, Prefer::LastResort),
            (Failover, Bootstrap, Prefer::LastResort),
            (Always, Bootstrap, Prefer::LastResort),
        ] {
            let found = [false, true].map(|isolated| decide(use_, copy, isolated));
            assert_eq!(found, [reachable, Prefer::Now], "{use_:?} {copy:?}");
        }
    }
}
