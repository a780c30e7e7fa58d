//! Popular answers are fetched anew before they run out.
//!
//! Why: a name that is asked for all day makes one client per TTL wait for the way to its servers. A hit in the last tenth of an
//! entry's life hands the question to this loop instead; nobody waits for it, and the old answer serves until its end.
//!
//! Model: the listening threads put questions into a bounded queue; one loop takes them out and refreshes so many at a time. An
//! entry is claimed when it is put there, so it is refreshed once in its life, however many ask.
//!
//! Failure: a refresh that fails, is bogus, or finds the queue full changes nothing: the entry lives to its end and the next client's
//! question fetches it. Failures are not remembered against that question (RFC 9520 is about clients' ones).

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::raw::RawAsk;
use super::{Options, Shared};
use crate::cache::Occasion;
use crate::clock::Now;
use crate::dns::Question;
use crate::resolve::budget::Budget;

/// Questions that wait to be refreshed.
const WAITING_MAX: usize = 1024;
/// Refreshes under way at a time.
const REFRESHES_MAX: usize = 256;

/// Packets of one refresh: nobody waits for it.
const PACKETS_MAX: u32 = 24;

/// The same once several have no answer in time.
const PACKETS_WHEN_SUSPECTED: u32 = 1;

/// The way from hits to the loop.
pub(super) struct Queue {
    sender: Sender<Question>,
    /// Until the loop has taken it.
    receiver: Mutex<Option<Receiver<Question>>>,
}

impl Queue {
    pub fn new() -> Queue {
        let (sender, receiver) = channel(WAITING_MAX);
        Queue {
            sender,
            receiver: Mutex::new(Some(receiver)),
        }
    }
}

impl Shared {
    /// Has these links refreshed, as far as there is room. Never waits.
    pub(super) fn refresh_soon(&self, due: Vec<Question>, now: Now) {
        for question in due {
            let Ok(place) = self.refreshes.sender.try_reserve() else {
                return;
            };
            if self.cache.claim_refresh(&question, now) {
                place.send(question);
            }
        }
    }

    /// The loop. Ends when it was started before.
    pub(super) async fn refresh_loop(self: Arc<Self>) {
        let receiver = &self.refreshes.receiver;
        let taken = receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut queue) = taken else {
            return;
        };
        let places = Arc::new(Semaphore::new(REFRESHES_MAX));
        while let Some(question) = queue.recv().await {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let shared = self.clone();
            tokio::spawn(async move {
                shared.refresh(question).await;
                drop(place);
            });
        }
    }

    async fn refresh(self: Arc<Self>, question: Question) {
        // Whose servers are known to be dead is looked for now and then, not for each answer that runs out.
        let now = self.clock.now();
        if self.trouble(&question, now).is_some() || self.is_suspected(&question, now) {
            return;
        }
        let budget = Arc::new(Budget::of(PACKETS_MAX, now));
        let ask = RawAsk {
            refresh: true,
            ..RawAsk::new(question.clone())
        };
        let options = Options::default();
        let mut work = pin!(self.link(ask, options, Occasion::Refresh, &budget));
        let done = match timeout(self.overdue_after(&question), &mut work).await {
            Ok(done) => done,
            Err(_) => {
                self.note_overdue(&question);
                if self.is_suspected(&question, self.clock.now()) {
                    // Somebody else finds out.
                    budget.limit_packets(PACKETS_WHEN_SUSPECTED);
                }
                work.await
            }
        };
        self.metrics.prefetches_total.inc();
        if done.is_err() {
            self.metrics.prefetch_failures_total.inc();
        }
    }
}
