//! Runs validations: a raw answer in, a verdict out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout_at;

use super::Shared;
use super::raw::RawAsk;
use crate::dns::{Ede, Name, Question};
use crate::resolve::budget::Budget;
use crate::resolve::validate::{Event, Step, SubAsk, Validation, Verdict};
use crate::resolve::{Observation, Origin, Outcome, Response, Security};

/// Time between two checks of referrals from one zone.
const REFERRAL_CHECK_EVERY: Duration = Duration::from_secs(1);
/// Zones whose checks are remembered: more than anyone mirrors.
const REFERRAL_ZONES_MAX: usize = 4096;

/// When referrals of a zone were last checked.
#[derive(Default)]
pub(super) struct ReferralChecks(Mutex<HashMap<Name, Duration>>);

impl ReferralChecks {
    fn claim(&self, zone: &Name, now: Duration) -> bool {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |at: &Duration| *at + REFERRAL_CHECK_EVERY > now;
        if table.get(zone).is_some_and(recent) {
            return false;
        }
        if table.len() >= REFERRAL_ZONES_MAX {
            table.retain(|_, at| recent(at));
        }
        table.insert(zone.clone(), now);
        true
    }
}

/// A link of a chain that a server gave.
struct Link {
    question: Question,
    zone: Name,
    server: IpAddr,
}

impl Shared {
    /// Judges the answer to `question`, and tells reachability whose data proved right or wrong.
    /// Everything is insecure where validation is off.
    pub(super) async fn judge(
        self: &Arc<Self>,
        question: &Question,
        response: &Response,
        budget: &Arc<Budget>,
    ) -> Verdict {
        let Some(validator) = &self.validator else {
            return without_chain(response, Security::Insecure);
        };
        let mut validation = Validation::new(question.clone(), response.clone(), validator.clone());
        let (tell, mut told) = unbounded_channel();
        let mut links = Vec::new();
        let mut event = Event::Start;
        loop {
            match validation.step(self.clock.now(), event) {
                Step::Done(verdict) => {
                    self.report(&verdict, response, &links, validation.vouched());
                    return verdict;
                }
                Step::Ask(asks) => {
                    for ask in asks {
                        self.ask_link(ask, &links, budget, &tell);
                    }
                }
            }
            let deadline = self.clock.instant(budget.deadline());
            let Ok(Some(next)) = timeout_at(deadline, told.recv()).await else {
                let text = format!("{question}: the chain of signatures was not found in time");
                let ede = Ede::new(Ede::NO_REACHABLE_AUTHORITY, text);
                return without_chain(response, Security::Bogus(ede));
            };
            note_link(&mut links, &next);
            event = next;
        }
    }

    fn report(&self, verdict: &Verdict, response: &Response, links: &[Link], vouched: &[Question]) {
        let tell = |zone: &Name, server, outcome| {
            self.health.observe(Observation {
                zone: zone.clone(),
                server,
                outcome,
            });
        };
        if let Some(Origin::Network(bad)) = verdict.bogus_from {
            let link = links.iter().rev().find(|l| l.server == bad);
            let zone = link.map_or(&response.zone, |l| &l.zone);
            tell(zone, bad, Outcome::Bogus);
        }
        if verdict.security != Security::Secure {
            return;
        }
        if let Origin::Network(server) = response.origin {
            tell(&response.zone, server, Outcome::Validated);
        }
        // A chain that holds vouches for each of its links; of those asked for twice, the last one.
        for (i, link) in links.iter().enumerate() {
            if vouched.contains(&link.question)
                && !links[i + 1..].iter().any(|l| l.question == link.question)
            {
                tell(&link.zone, link.server, Outcome::Validated);
            }
        }
    }

    /// A referral of a mirrored zone: its signed part is proof of who gave it. Checked now and then, so that
    /// reachability has validated answers even where clients only pass through the zone.
    pub(super) fn check_referral(self: &Arc<Self>, question: Question, ds: Response) {
        let now = self.clock.now();
        if self.validator.is_none() || !self.referral_checks.claim(&ds.zone, now.mono) {
            return;
        }
        let shared = self.clone();
        tokio::spawn(async move {
            let budget = Arc::new(Budget::new(now));
            shared.judge(&question, &ds, &budget).await;
        });
    }

    /// Fetches a link; who gave a bad one before is avoided.
    fn ask_link(
        self: &Arc<Self>,
        ask: SubAsk,
        links: &[Link],
        budget: &Arc<Budget>,
        tell: &UnboundedSender<Event>,
    ) {
        let SubAsk { question, attempt } = ask;
        let mut raw = RawAsk::new(question.clone());
        raw.attempt = attempt;
        raw.for_chain = true;
        if attempt > 0 {
            let bad = links.iter().filter(|l| l.question == question);
            raw.avoid = bad.map(|l| l.server).collect();
        }
        let affordable = budget.take_sub_question();
        let (shared, budget, tell) = (self.clone(), budget.clone(), tell.clone());
        tokio::spawn(async move {
            let result = match affordable {
                true => shared.raw(raw, &budget).await.ok(),
                false => None,
            };
            let _ = tell.send(Event::Reply {
                question,
                attempt,
                result,
            });
        });
    }
}

fn note_link(links: &mut Vec<Link>, event: &Event) {
    if let Event::Reply {
        question,
        result: Some(response),
        ..
    } = event
        && let Origin::Network(server) = response.origin
    {
        links.push(Link {
            question: question.clone(),
            zone: response.zone.clone(),
            server,
        });
    }
}

fn without_chain(response: &Response, security: Security) -> Verdict {
    Verdict {
        security,
        answer: response.answer.clone(),
        authority: response.authority.clone(),
        ttl_max_s: None,
        errors: Vec::new(),
        bogus_from: None,
    }
}
