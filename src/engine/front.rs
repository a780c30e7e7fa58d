//! Who answers clients' questions: the resolver, or while a drill goes on that of the drill.
//!
//! Why: a drill must begin and end between two questions. So the pipeline asks this, which looks at one pointer. Here is also seen what
//! is asked, and what comes of it: for readiness, for drills, and for the bound at which a drill is given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::Rehearsal;
use crate::config;
use crate::dns::{Name, Question, Rcode};
use crate::drill::names::{self, Names};
use crate::future::BoxFuture;
use crate::query::Resolve;
use crate::resolve::Resolution;
use crate::resolve::task::{Options, Resolver};

/// The resolver that clients meet.
pub struct Front {
    live: Resolver,
    rehearsal: ArcSwapOption<Rehearsal>,
    /// What is asked, for long; none with `names.enabled = false`.
    names: Option<Arc<Names>>,
    /// What is asked during a drill.
    watched: ArcSwapOption<Names>,
    asked: AtomicU64,
    failed: AtomicU64,
    /// How often who answers, or what is watched, changed.
    changes: AtomicU64,
}

/// What the resolver in charge says changed so often at most between two changes of who that is.
const STANDINGS: u64 = 1 << 40;

impl Front {
    pub(super) fn new(live: Resolver, names: config::Names) -> Front {
        let entries_max = usize::try_from(names.entries_max).unwrap_or(usize::MAX);
        Front {
            live,
            rehearsal: ArcSwapOption::empty(),
            names: names.enabled.then(|| Arc::new(Names::new(entries_max))),
            watched: ArcSwapOption::empty(),
            asked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            changes: AtomicU64::new(0),
        }
    }

    /// The resolver in charge.
    pub fn current(&self) -> Resolver {
        let rehearsal = self.rehearsal.load();
        rehearsal
            .as_ref()
            .map_or_else(|| self.live.clone(), |r| r.resolver.clone())
    }

    /// The world of the drill, while there is one.
    pub fn rehearsal(&self) -> Option<Arc<Rehearsal>> {
        self.rehearsal.load_full()
    }

    /// Which questions are asked.
    pub fn names(&self) -> Option<&Arc<Names>> {
        self.names.as_ref()
    }

    /// Questions asked so far, and those of them that came to nothing.
    pub fn counts(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&self.asked), of(&self.failed))
    }

    pub(super) fn rehearse(&self, rehearsal: Option<Arc<Rehearsal>>) {
        self.rehearsal.store(rehearsal);
        self.changes.fetch_add(1, Ordering::Release);
    }

    pub(super) fn watch(&self, names: Option<Arc<Names>>) {
        self.watched.store(names);
        self.changes.fetch_add(1, Ordering::Release);
    }

    fn note(&self, question: &Question, rcode: Rcode) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if rcode == Rcode::SERVFAIL {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.count(question, rcode, 1);
    }

    fn count(&self, question: &Question, rcode: Rcode, times: u32) {
        let watched = self.watched.load();
        if self.names.is_none() && watched.is_none() {
            return;
        }
        let key = names::key(question);
        if let Some(names) = &self.names {
            names.count(key, question, rcode, times);
        }
        if let Some(names) = &*watched {
            names.count(key, question, rcode, times);
        }
    }
}

impl Resolve for Front {
    fn cached(&self, question: &Question, options: Options) -> Option<Resolution> {
        let known = match &*self.rehearsal.load() {
            None => self.live.known(question, options),
            Some(rehearsal) => rehearsal.resolver.known(question, options),
        };
        if let Some(resolution) = &known
            && options.recursion
        {
            self.note(question, resolution.rcode);
        }
        known
    }

    fn resolve(&self, question: Question, options: Options) -> BoxFuture<'_, Resolution> {
        Box::pin(async move {
            let resolver = self.current();
            let resolution = resolver.resolve_unknown(question.clone(), options).await;
            if options.recursion {
                self.note(&question, resolution.rcode);
            }
            resolution
        })
    }

    fn standing(&self) -> Option<u64> {
        let changes = self.changes.load(Ordering::Acquire);
        // Also during a drill: new versions of mirrors are told to the one that goes on after it.
        let of_resolver = self.live.standing()
            + match &*self.rehearsal.load() {
                None => 0,
                Some(rehearsal) => rehearsal.resolver.standing(),
            };
        Some(changes.wrapping_mul(STANDINGS).wrapping_add(of_resolver))
    }

    fn landmarks(&self) -> Vec<Name> {
        self.current().landmarks()
    }

    fn count_asked(&self, times: u64) {
        self.asked.fetch_add(times, Ordering::Relaxed);
    }

    fn count_again(&self, question: &Question, rcode: Rcode, times: u32) {
        self.count(question, rcode, times);
    }
}
