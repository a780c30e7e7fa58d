//! One question to one server, from its sending to the last moment at which its answer is of use.
//!
//! Why: an exchange outlives what it is made for. A step goes on to the next server, a client gives up, a delegation that was retained takes
//! the place of a parent that takes seconds; the answer that comes then still tells of its server, and of the zone.
//!
//! Model: times from the sending on.
//!
//! ```text
//!   sent ---- wait ---------- given up ------------------ the end of the exchange
//!              |                 |                               |
//!        the server counts    the iteration is told         nothing is
//!        as silent            that nothing came             taken any more
//! ```
//!
//! What comes before the end is told to the iteration, which takes it if it still asks for it. Otherwise what a parent says counts that was
//! passed over (`resolve::retained`): its referral takes the place of what was retained, and its denial ends it, unless something was heard of
//! the parent since the question was sent. So a parent that is slower than anybody waits for it keeps its say (CVE-2012-1033).
//!
//! Failure: an answer that never comes was reported as silence before.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep_until;

use super::Shared;
use crate::dns::{Name, Question};
use crate::resolve::Response;
use crate::resolve::budget::Budget;
use crate::resolve::interpret::Said;
use crate::resolve::iterate::{Event, Iteration, Token, learn_referral};
use crate::resolve::seats::Seat;
use crate::resolve::settle::settle;
use crate::resolve::trace::{Trace, What, ms, said_words};
use crate::upstream::{Ask, ExchangeError, Reply};

/// What is sent, and how long it is waited for.
pub(super) struct Exchange {
    pub ask: Ask,
    /// After so long the server counts as silent.
    pub wait: Duration,
    /// After so long silence is reported.
    pub given_up: Duration,
}

/// What an iteration is told.
pub(super) struct Told {
    pub event: Event,
    /// The exchange whose answer it is.
    pub asked: Option<Asked>,
}

/// What was asked.
pub(super) struct Asked {
    zone: Name,
    question: Question,
    /// When it was sent, seconds since 1970.
    sent_s: u64,
}

/// The way to the iteration.
pub(super) struct Tell {
    pub token: Token,
    pub to: UnboundedSender<Box<Told>>,
}

impl Tell {
    /// Tells what was said, and what had been asked; gives it back where nobody is there any more.
    fn tell(&self, said: Said, asked: Option<Asked>) -> Result<(), Box<Told>> {
        let token = self.token;
        let event = Event::Said { token, said };
        let told = Told { event, asked };
        self.to.send(Box::new(told)).map_err(|back| back.0)
    }
}

type Outcome = Result<Reply, ExchangeError>;

impl Shared {
    /// The exchange runs by itself: it teaches about its server even when nobody waits any more.
    pub(super) fn send(
        self: &Arc<Self>,
        budget: &Arc<Budget>,
        exchange: Exchange,
        seat: Seat,
        trace: Trace,
        tell: Tell,
    ) {
        let (shared, budget) = (self.clone(), budget.clone());
        tokio::spawn(async move {
            let Exchange {
                ask,
                wait,
                given_up,
            } = exchange;
            let sent = shared.clock.now();
            let sent_at = sent.mono;
            let mut work = shared.upstream.exchange(ask.clone());
            let at = |after: Duration| shared.clock.instant(sent_at + after);
            let mut outcome = tokio::select! {
                biased;
                outcome = &mut work => Some(outcome),
                () = sleep_until(at(wait)) => None,
            };
            if outcome.is_none() {
                shared.note_overtime(&ask, sent_at);
                trace.amend(|what| note_late(what, wait));
                outcome = tokio::select! {
                    biased;
                    outcome = &mut work => Some(outcome),
                    () = sleep_until(at(given_up)), if given_up < ask.timeout => None,
                };
            }
            // Who is told may ask the same server again.
            let outcome = match outcome {
                Some(outcome) => {
                    drop(seat);
                    outcome
                }
                None => {
                    let silence = Err(ExchangeError::TimedOut);
                    let said = shared.settled(&budget, &ask, silence, &trace);
                    drop(seat);
                    let _ = tell.tell(said, None);
                    let Ok(reply) = work.await else {
                        return;
                    };
                    Ok(reply)
                }
            };
            let said = shared.settled(&budget, &ask, outcome, &trace);
            let asked = Asked {
                zone: ask.zone,
                question: ask.question,
                sent_s: sent.wall_s,
            };
            let Err(back) = tell.tell(said, Some(asked)) else {
                return;
            };
            if let Told {
                event: Event::Said { said, .. },
                asked: Some(asked),
            } = *back
            {
                shared.heard_late(&asked, said);
            }
        });
    }

    /// The server has not answered within its wait.
    fn note_overtime(&self, ask: &Ask, sent_at: Duration) {
        let now = self.clock.now().mono;
        let (server, rtype) = (ask.server.ip(), ask.question.rtype);
        if !self.servers.is_overtaken(server, sent_at) {
            self.servers.late(server, ask.transport, rtype, now);
        }
        (self.servers).late_for(server, &ask.zone, rtype, sent_at, now);
    }

    /// What came of it, as it is noted everywhere.
    fn settled(&self, budget: &Budget, ask: &Ask, outcome: Outcome, trace: &Trace) -> Said {
        let rtt = outcome.as_ref().ok().map(|reply| reply.rtt);
        let now = self.clock.now();
        let said = settle(&self.env(budget, trace), &ask.zone, ask, outcome, now);
        match said {
            Said::Truncated => self.metrics.upstream_truncated_total.inc(),
            Said::EdnsRefused(_) => self.metrics.upstream_edns_refused_total.inc(),
            Said::CookieRefused => self.metrics.upstream_cookie_refused_total.inc(),
            Said::Answer(_) | Said::Apex(..) | Said::Referral(_) => self.note_heard(&ask.zone),
            _ => {}
        }
        trace.amend(|what| note_said(what, &said, rtt));
        said
    }

    /// What an iteration is told. Where it has moved on since it asked, it is heard here.
    pub(super) fn unless_late(self: &Arc<Self>, iteration: &Iteration, told: Told) -> Event {
        if let (Event::Said { token, said }, Some(asked)) = (&told.event, &told.asked)
            && !iteration.awaits(*token)
        {
            self.heard_late(asked, said.clone());
        }
        told.event
    }

    /// A server says something to a question that has gone another way. Where that was past all servers of its zone, its word counts.
    fn heard_late(self: &Arc<Self>, asked: &Asked, said: Said) {
        let Asked {
            zone,
            question,
            sent_s,
        } = asked;
        let now = self.clock.now();
        // Another server may have said something newer since.
        let age_s = self.retained.age_s(zone, question, now);
        let is_news = age_s.is_some_and(|age_s| now.wall_s.saturating_sub(age_s) < *sent_s);
        if !is_news || (self.settings.forwards.governing(question, None)).is_some() {
            return;
        }
        match said {
            Said::Referral(referral) => {
                let (budget, trace) = (Budget::of(0, now), Trace::off());
                let env = self.env(&budget, &trace);
                learn_referral(&env, now, referral, Some(zone.clone()));
            }
            Said::Answer(response) | Said::Apex(response, _) if response.answer.is_empty() => {
                self.denied_late(question.clone(), response);
            }
            _ => {}
        }
    }

    /// Validates a denial that nobody waits for, and takes it down.
    fn denied_late(self: &Arc<Self>, question: Question, response: Response) {
        let shared = self.clone();
        tokio::spawn(async move {
            let budget = Arc::new(Budget::new(shared.clock.now()));
            let verdict = shared.judge(&question, &response, &budget).await;
            shared.note_denial(&question, &response, &verdict);
        });
    }
}

fn note_late(what: &mut What, wait: Duration) {
    if let What::Exchange { late_ms, .. } = what {
        *late_ms = Some(ms(wait));
    }
}

fn note_said(what: &mut What, said: &Said, rtt: Option<Duration>) {
    if let What::Exchange {
        outcome,
        taken,
        rtt_ms,
        ..
    } = what
    {
        let (words, good) = said_words(said);
        (*outcome, *taken, *rtt_ms) = (Some(words), good, rtt.map(ms));
    }
}
