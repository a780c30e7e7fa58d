//! Puts questions to the world in which the cut has been made.

use std::net::IpAddr;
use std::sync::Arc;

use super::verdict::{self, Evidence, Verdict};
use crate::clock::Clock;
use crate::dns::{Name, Question, Rcode};
use crate::reach::Cut;
use crate::resolve::task::{Beside, Resolver};
use crate::resolve::trace::Trace;
use crate::resolve::{Health, LocalZones, Observation};
use crate::upstream::{Ask, Manner, Severed, Upstream};

/// A judge of one cut-off. Clones are the same one.
#[derive(Clone)]
pub struct Judge {
    cut: Arc<Cut>,
    /// The world in which the cut has been made.
    after: Resolver,
    /// The world as it is, seen with as little memory.
    before: Resolver,
    clock: Clock,
}

impl Judge {
    /// A judge of what `cut` would leave to `live`. `upstream` is the way out as it is, `local` the copies that are held and that stay
    /// as they are. Copies tables: not for a thread that answers.
    pub fn new(
        cut: Arc<Cut>,
        live: &Resolver,
        upstream: Arc<dyn Upstream>,
        local: Arc<dyn LocalZones>,
        clock: Clock,
    ) -> Judge {
        let of = cut.clone();
        let is_cut = Arc::new(move |ask: &Ask| of.takes_server(&ask.zone, ask.server.ip()));
        let severed = Severed::new(upstream.clone(), is_cut, Manner::AtOnce);
        let after = live.judging(Beside {
            upstream: Arc::new(severed),
            local: local.clone(),
            health: Arc::new(Map(Some(cut.clone()))),
        });
        let before = live.judging(Beside {
            upstream,
            local,
            health: Arc::new(Map(None)),
        });
        Judge {
            cut,
            after,
            before,
            clock,
        }
    }

    /// The cut-off.
    pub fn cut(&self) -> &Arc<Cut> {
        &self.cut
    }

    /// Judges one question: asks the servers that stay reachable, and where the question comes to nothing all those that it leads to
    /// now. Takes up to twice the time that a question may take.
    pub async fn judge(&self, question: Question) -> Verdict {
        let trace = Trace::recording(self.clock.now());
        let resolution = self.after.judge_question(question.clone(), &trace).await;
        let (events, _) = trace.events();
        let evidence = Evidence {
            question: &question,
            cut: &self.cut,
            resolution: &resolution,
            events: &events,
        };
        if resolution.rcode != Rcode::SERVFAIL {
            return Verdict::Survives(evidence.survives());
        }
        let trace = Trace::off();
        let now = self.before.judge_question(question.clone(), &trace).await;
        if now.rcode == Rcode::SERVFAIL {
            let why = now.errors.first().map(|e| e.text.clone());
            return Verdict::FailsNow(why.unwrap_or_default());
        }
        let failed = evidence.failed_at();
        let zone_now = self.before.way_to(&failed.question);
        let lost_zone = failed.zone.as_ref().and_then(|zone| {
            let of = |resolver: &Resolver| {
                let way = resolver.way_to(&verdict::ns_question(zone));
                (way.zone == *zone).then_some(way)
            };
            of(&self.before).or_else(|| of(&self.after))
        });
        Verdict::Lost(Box::new(evidence.lost(failed, lost_zone, zone_now)))
    }
}

/// Knows from the beginning who is out of reach, as a long outage would have taught: those are asked last.
struct Map(Option<Arc<Cut>>);

impl Health for Map {
    fn observe(&self, _observation: Observation) {}

    fn zone_servers(&self, _zone: &Name, _servers: &[IpAddr]) {}

    fn avoid(&self, server: IpAddr) -> bool {
        self.0.as_ref().is_some_and(|cut| cut.takes_address(server))
    }
}
