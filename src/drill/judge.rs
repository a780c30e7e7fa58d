//! Puts questions to the world in which the cut has been made.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::verdict::{self, Evidence, Judged, Place, Source, Survival, Verdict};
use crate::clock::Clock;
use crate::dns::{Name, Question, Rcode};
use crate::reach::Cut;
use crate::resolve::task::{Beside, CLIENT_WAIT, Judging, Resolver, Way};
use crate::resolve::trace::{Event, Trace};
use crate::resolve::{Health, LocalZones, Observation, Resolution};
use crate::upstream::{Ask, IsCut, Manner, Severed, Upstream};

/// So often a client tries.
const TRIES: usize = 2;
/// The same, where nobody else asks, with a pause.
const TRIES_ALONE: usize = 3;
const TRY_AFTER: Duration = Duration::from_secs(2);

/// What takes longer is not prompt: a little less than a client waits, for the day will have worse moments than this one.
const PROMPT_MAX: Duration = Duration::from_millis(CLIENT_WAIT.as_millis() as u64 - 500);

/// A judge of one cut-off. Clones are the same one.
#[derive(Clone)]
pub struct Judge {
    cut: Arc<Cut>,
    /// The world in which the cut has been made, and nobody waits for those who are cut off.
    after: Resolver,
    /// The same, where each of them costs the time that it will cost.
    slow: Resolver,
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
        let is_cut: IsCut = Arc::new(move |ask: &Ask| of.takes_server(&ask.zone, ask.server.ip()));
        let severed = |manner| Severed::new(upstream.clone(), is_cut.clone(), manner);
        let after = Beside {
            upstream: Arc::new(severed(Manner::AtOnce)),
            local: local.clone(),
            health: Arc::new(Map(Some(cut.clone()))),
        };
        let after = live.judging(after, Judging::Reason);
        let slow = Beside {
            upstream: Arc::new(severed(Manner::Silent)),
            local: local.clone(),
            health: Arc::new(Map(None)),
        };
        let slow = live.judging(slow, Judging::Reason);
        let before = Beside {
            upstream,
            local,
            health: Arc::new(Map(None)),
        };
        let before = live.judging(before, Judging::Reason);
        Judge {
            cut,
            after,
            slow,
            before,
            clock,
        }
    }

    /// The cut-off.
    pub fn cut(&self) -> &Arc<Cut> {
        &self.cut
    }

    /// Judges one question: asks the servers that stay reachable, and where the question comes to nothing all those that it leads to
    /// now. Takes a few times as long as a question may take.
    pub async fn judge(&self, question: Question) -> Judged {
        let first = self.attempt(&self.after, &question).await;
        let evidence = first.evidence(&question, &self.cut);
        if first.is_answered() {
            let verdict = self.survives(&evidence).await;
            let place = self.place(&evidence);
            return Judged { verdict, place };
        }
        let verdict = match self.fails_now(&question).await {
            Some(fails) => fails,
            None => match self.survives_later(&question).await {
                Some(judged) => return judged,
                None => self.lost(&evidence),
            },
        };
        // What lies below a zone that is lost only the true world knows.
        let deeper = self.before.way_to(&question);
        let place = self
            .place(&evidence)
            .filter(|place| !deeper.zone.is_below(&place.zone));
        let place = place.or_else(|| Some(evidence.place(&deeper, false)));
        Judged { verdict, place }
    }

    /// Where the name lives.
    fn place(&self, evidence: &Evidence<'_>) -> Option<Place> {
        let (zone, mirrored) = evidence.home()?;
        let servers = Vec::new();
        let way = self.servers_of(&zone).unwrap_or(Way { zone, servers });
        Some(evidence.place(&way, mirrored))
    }

    /// The servers of a zone, as far as known.
    fn servers_of(&self, zone: &Name) -> Option<Way> {
        let of = |resolver: &Resolver| {
            let way = resolver.way_to(&verdict::ns_question(zone));
            (way.zone == *zone).then_some(way)
        };
        of(&self.before).or_else(|| of(&self.after))
    }

    /// The verdict on a question that is answered.
    async fn survives(&self, evidence: &Evidence<'_>) -> Verdict {
        let question = evidence.question;
        let survival = evidence.survives();
        // What another question found through a retained delegation shows nobody any more who had to be waited for.
        if !evidence.met_the_cut() && survival.from != Source::Retained {
            return Verdict::Survives(survival);
        }
        let slow = if !self.is_in_time(question).await {
            None
        } else if self.is_prompt(question).await {
            Some(false)
        } else {
            self.is_answered_alone(question).await.then_some(true)
        };
        let Some(slow) = slow else {
            let loss = evidence.too_slow(|zone| self.servers_of(zone));
            return Verdict::Lost(Box::new(loss));
        };
        Verdict::Survives(Survival { slow, ..survival })
    }

    /// The verdict on a question that fails at first, where later tries are answered: in an outage what was found out by one serves the
    /// next, and old data takes the place of what is too long in coming, though not of every failure.
    async fn survives_later(&self, question: &Question) -> Option<Judged> {
        let next = self.attempt(&self.after, question).await;
        let late = match next.is_answered() && self.is_in_time(question).await {
            true => next,
            false if !self.slow.has_old(question) => return None,
            false => {
                let rested = self.slow.rested(Judging::Time);
                self.attempt(&rested, question).await
            }
        };
        if !late.is_answered() {
            return None;
        }
        let evidence = late.evidence(question, &self.cut);
        let verdict = Verdict::Survives(Survival {
            slow: true,
            ..evidence.survives()
        });
        let place = self.place(&evidence);
        Some(Judged { verdict, place })
    }

    /// The verdict on a question that comes to nothing in the true world, too.
    async fn fails_now(&self, question: &Question) -> Option<Verdict> {
        let trace = Trace::off();
        let now = self.before.judge_question(question.clone(), &trace).await;
        let why = now.errors.first().map(|e| e.text.clone());
        let fails = now.rcode == Rcode::SERVFAIL;
        fails.then(|| Verdict::FailsNow(why.unwrap_or_default()))
    }

    /// The verdict on a question that comes to nothing in the world after the cut alone, which `evidence` is of.
    fn lost(&self, evidence: &Evidence<'_>) -> Verdict {
        let failed = evidence.failed_at();
        let zone_now = self.before.way_to(&failed.question);
        let lost_zone = (failed.zone.as_ref()).and_then(|zone| self.servers_of(zone));
        Verdict::Lost(Box::new(evidence.lost(failed, lost_zone, zone_now)))
    }
}

impl Judge {
    /// Puts the question to one of the worlds.
    async fn attempt(&self, world: &Resolver, question: &Question) -> Attempt {
        let trace = Trace::recording(self.clock.now());
        let resolution = world.judge_question(question.clone(), &trace).await;
        let (events, _) = trace.events();
        Attempt { resolution, events }
    }

    /// Whether the question is answered where silence takes its time, before the work on it ends: its answer is kept for a client's next
    /// try. As in an outage, what was found out by one question serves the next.
    async fn is_in_time(&self, question: &Question) -> bool {
        for _ in 0..TRIES {
            if self.attempt(&self.slow, question).await.is_answered() {
                return true;
            }
        }
        false
    }

    /// Whether a client who goes on asking is answered in the end, though nobody else asks for that part of the tree.
    async fn is_answered_alone(&self, question: &Question) -> bool {
        let rested = self.slow.rested(Judging::Time);
        for attempt in 0..TRIES {
            if attempt > 0 {
                sleep(TRY_AFTER).await;
            }
            if self.attempt(&rested, question).await.is_answered() {
                return true;
            }
        }
        false
    }

    /// Whether a client is answered in one of his tries, as soon as he needs it, where nobody has asked for that part of the tree lately.
    async fn is_prompt(&self, question: &Question) -> bool {
        for attempt in 0..TRIES_ALONE {
            if attempt > 0 {
                sleep(TRY_AFTER).await;
            }
            let began = self.clock.now().mono;
            let rested = self.slow.rested(Judging::Time);
            let found = self.attempt(&rested, question).await;
            let took = self.clock.now().mono.saturating_sub(began);
            if found.is_answered() && took <= PROMPT_MAX {
                return true;
            }
        }
        false
    }
}

/// What one of the worlds has answered, and how it came to that.
struct Attempt {
    resolution: Resolution,
    events: Vec<Event>,
}

impl Attempt {
    fn is_answered(&self) -> bool {
        self.resolution.rcode != Rcode::SERVFAIL
    }

    fn evidence<'a>(&'a self, question: &'a Question, cut: &'a Cut) -> Evidence<'a> {
        Evidence {
            question,
            cut,
            resolution: &self.resolution,
            events: &self.events,
        }
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
