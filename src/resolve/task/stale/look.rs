//! Looking for new data, while old is answered.

use std::sync::{Arc, PoisonError};

use tokio::sync::Semaphore;

use super::{Options, Shared, why};
use crate::cache::Occasion;
use crate::clock::Now;
use crate::dns::{Name, Question};
use crate::resolve::budget::Budget;
use crate::resolve::iterate::FailureKind;
use crate::resolve::stale::{Known, Refreshed};
use crate::resolve::task::chain::Unanswered;
use crate::resolve::task::raw::RawAsk;

/// Refreshes under way at a time.
const REFRESHES_MAX: usize = 64;

impl Shared {
    /// Old data was answered in this trouble: the zone is told of, and looked for if that is due. Never waits.
    pub(super) fn look_after(&self, question: Question, known: Known, now: Now) {
        if let Some(zone) = &known.zone
            && (self.troubles).count_answer(&question, zone, now, &|a| self.pool(a))
        {
            self.metrics.stale_zones_total.inc();
            if let Some(left_out) = self.stale_work.log.claim(now.mono.as_secs()) {
                let why = known.why.ede.text.as_str();
                tracing::warn!(%zone, why, left_out, "the zone's servers are out of reach: old answers take the place of new ones, where there are any");
            }
        }
        if known.due
            && let Ok(place) = self.stale_work.sender.try_reserve()
        {
            place.send((question, known.zone));
        }
    }

    /// The loop that looks for new data. Ends when it was started before.
    pub(in crate::resolve::task) async fn stale_loop(self: Arc<Self>) {
        let receiver = &self.stale_work.receiver;
        let taken = receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut queue) = taken else {
            return;
        };
        let places = Arc::new(Semaphore::new(REFRESHES_MAX));
        while let Some((question, zone)) = queue.recv().await {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            // Whoever put it there again meanwhile finds it claimed.
            let now = self.clock.now();
            let pool = |a| self.pool(a);
            let (question, zone) = match zone {
                Some(zone) => {
                    let (question, zone) = self.troubles.whose_turn(question, zone, now, &pool);
                    (question, Some(zone))
                }
                None => (question, None),
            };
            let claimed = (self.troubles).claim(&question, zone.as_ref(), now, &pool);
            let Some(packets) = claimed else {
                continue;
            };
            let shared = self.clone();
            tokio::spawn(async move {
                shared.look_for(question, zone, packets).await;
                drop(place);
            });
        }
    }

    /// Looks for new data with so many packets.
    async fn look_for(self: Arc<Self>, question: Question, zone: Option<Name>, packets: u32) {
        self.metrics.stale_refreshes_total.inc();
        let budget = Arc::new(Budget::of(packets, self.clock.now()));
        let found = self.renew(&question, &budget).await;
        let now = self.clock.now();
        let outcome = match &found {
            Ok(()) => Refreshed::Well,
            Err(unanswered) => match (&unanswered.failed, &zone) {
                // Spent on the way there, or on the addresses of its servers.
                (Some((FailureKind::Budget, at)), Some(zone))
                    if at != zone || self.all_addresses(zone, now).is_none() =>
                {
                    Refreshed::TooShort
                }
                _ => Refreshed::Failed(why(unanswered)),
            },
        };
        let was_in_trouble = outcome != Refreshed::Well;
        let sent = (packets, budget.packets_left());
        (self.troubles).refreshed(&question, zone.as_ref(), outcome, sent, now);
        if !was_in_trouble {
            return;
        }
        self.metrics.stale_refresh_failures_total.inc();
        // The zone is back, and what it takes to validate its answer was more than a look may cost.
        if zone.is_some() && self.trouble(&question, now).is_none() {
            let _ = self.renew(&question, &Arc::new(Budget::new(now))).await;
        }
    }

    async fn renew(
        self: &Arc<Self>,
        question: &Question,
        budget: &Arc<Budget>,
    ) -> Result<(), Unanswered> {
        let ask = RawAsk {
            refresh: true,
            ..RawAsk::new(question.clone())
        };
        let options = Options::default();
        self.link(ask, options, Occasion::Refresh, budget)
            .await
            .map(drop)
    }
}
