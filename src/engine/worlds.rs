//! Other worlds beside the one that clients live in: for drills, and for judgements of what a cut-off would leave.
//!
//! Why: a drill must meet the code that an outage meets, all of it, and must leave nothing behind. So it is no switch in the resolver but
//! a second set of what an outage changes: a resolver with a memory of its own, reachability with machines, prefixes and probes of its
//! own, over a way out on which the cut is made. Its end is that it is dropped.
//!
//! Mirrors are the same and belong to the true world: they go on being refreshed, for a drill must not leave this server less ready
//! than it was. What they say of keys and copies a drill sees as it is.
//!
//! Failure: none of its own. A restart ends a drill, because nothing of it is written down.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::{Engine, facts, follow_generations, follow_transitions, trust_of};
use crate::clock::Clock;
use crate::config::{Anchors, Config};
use crate::drill::judge::Judge;
use crate::metrics::Metrics;
use crate::mirror::behind;
use crate::query::SharedSettings;
use crate::query::own_first::OwnFirst;
use crate::query::route::Route;
use crate::reach::{self, Cut, Prefixes, Prober, Reachability, SoaProber};
use crate::resolve::task::{Beside, Resolver};
use crate::store::Ledger;
use crate::upstream::{Ask, Manner, Severed, Upstream};

/// What is needed to make another world.
pub(super) struct Outfit {
    pub config: Config,
    pub upstream: Arc<dyn Upstream>,
    pub settings: SharedSettings,
    pub anchors: Arc<ArcSwap<Anchors>>,
    pub ledger: Arc<Ledger>,
    pub clock: Clock,
}

/// The world of a drill. Dropping it ends the drill.
pub struct Rehearsal {
    /// Answers clients meanwhile.
    pub resolver: Resolver,
    /// Whether zones can be reached in it.
    pub reach: Arc<Reachability>,
    /// Which prefixes are dead in it.
    pub prefixes: Arc<Prefixes>,
    began: Duration,
    _tasks: JoinSet<()>,
}

impl Rehearsal {
    /// When it began, monotonic.
    pub fn began(&self) -> Duration {
        self.began
    }
}

impl Engine {
    /// A judge of what `cut` would leave.
    pub async fn judge(&self, cut: Arc<Cut>) -> Judge {
        let outfit = &self.outfit;
        let zones: Vec<_> = self
            .mirrors
            .all()
            .iter()
            .map(|m| m.zone().clone())
            .collect();
        // Nothing moves it: every zone is as good as its servers are at each step.
        let (reach, _) = Reachability::new(zones, outfit.clock.now());
        let metrics = Arc::new(Metrics::default());
        let prefixes = Prefixes::new(outfit.clock.clone(), metrics.clone());
        let route = Route::new(self.mirrors.clone(), reach, prefixes, metrics);
        let local = Arc::new(OwnFirst::new(outfit.settings.clone(), Arc::new(route)));
        let (live, upstream) = (self.resolver.clone(), outfit.upstream.clone());
        let clock = outfit.clock.clone();
        let make = move || Judge::new(cut, &live, upstream, local, clock);
        behind(make).await
    }

    /// The world in which `cut` is made, with all that is known in this one.
    pub(super) async fn rehearse(&self, cut: Arc<Cut>) -> Rehearsal {
        let outfit = &self.outfit;
        let (clock, config) = (&outfit.clock, &outfit.config);
        let began = clock.now().mono;
        let metrics = Arc::new(Metrics::default());
        let is_cut = move |ask: &Ask| cut.takes_server(&ask.zone, ask.server.ip());
        let severed = Severed::new(outfit.upstream.clone(), Arc::new(is_cut), Manner::Silent);
        let upstream: Arc<dyn Upstream> = Arc::new(severed);
        let zones: Vec<_> = self
            .mirrors
            .all()
            .iter()
            .map(|m| m.zone().clone())
            .collect();
        let (reach, inputs) = Reachability::new(zones, clock.now());
        // Whatever these log is marked as a drill's.
        let span = || tracing::warn_span!("drill");
        let prefixes = span().in_scope(|| Prefixes::new(clock.clone(), metrics.clone()));
        let prober = SoaProber::new(
            upstream.clone(),
            trust_of(self.mirrors.clone(), outfit.anchors.clone()),
            clock.clone(),
            config.resolver.edns_buffer,
            config.resolver.case_randomisation,
        );
        let probe = config.reachability.probe;
        let prober = probe.then(|| Arc::new(prober) as Arc<dyn Prober>);
        let deps = reach::task::Deps {
            reach: reach.clone(),
            prefixes: prefixes.clone(),
            inputs,
            prober: prober.clone(),
            ledger: outfit.ledger.clone(),
            keep_outages: false,
            facts: facts(self.mirrors.clone()),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let route = Route::new(
            self.mirrors.clone(),
            reach.clone(),
            prefixes.clone(),
            metrics,
        );
        let route = Arc::new(route.exploring(!probe));
        let beside = Beside {
            upstream,
            local: Arc::new(OwnFirst::new(outfit.settings.clone(), route.clone())),
            health: route,
        };
        let live = self.resolver.clone();
        let resolver = behind(move || live.rehearsing(beside)).await;
        let mut tasks = JoinSet::new();
        let machines = span().in_scope(|| reach::task::resume(&deps));
        tasks.spawn(reach::task::run(deps, machines).instrument(span()));
        tasks.spawn(reach::pooled::run(prefixes.clone(), prober).instrument(span()));
        tasks.spawn(resolver.clone().keep_fresh().instrument(span()));
        // The true mirrors have no part in what a drill finds out.
        let followed = follow_transitions(reach.clone(), None, resolver.clone());
        tasks.spawn(followed.instrument(span()));
        tasks.spawn(
            follow_generations(
                reach.clone(),
                self.mirrors.clone(),
                resolver.clone(),
                config.clone(),
            )
            .instrument(span()),
        );
        Rehearsal {
            resolver,
            reach,
            prefixes,
            began,
            _tasks: tasks,
        }
    }
}
