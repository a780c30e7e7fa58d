//! Who looks on at clients' queries and their answers: the query log, dnstap.
//!
//! The pipeline consults it at two places: a query is taken, an answer is made. Where nobody looks on that is one comparison. Whoever
//! does is called by the threads that answer, so it may copy and count, and must not wait.

use std::sync::Arc;
use std::time::Duration;

use super::{Client, Job, Step};

/// A query that was seen, until its answer is.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The query as it came.
    pub query: Vec<u8>,
    /// Who asks.
    pub client: Client,
    /// When it came, by the monotonic clock.
    pub at: Duration,
    /// The same as time since 1970.
    pub wall: Duration,
}

/// Looks on.
pub trait Watch: Send + Sync + 'static {
    /// A query has come.
    fn query(&self, query: &[u8], client: &Client) -> Seen;

    /// It is answered, or (`None`) gets no answer in one message: it was dropped, or is a transfer.
    fn answer(&self, seen: Seen, answer: Option<&[u8]>);
}

/// A job, and who wants to know what becomes of it.
pub struct Watched {
    job: Job,
    seen: Seen,
    watch: Arc<dyn Watch>,
}

impl Watched {
    /// The job.
    pub(super) fn job(&self) -> &Job {
        &self.job
    }

    /// The job, and whom to tell.
    pub(super) fn into_parts(self) -> (Job, Seen, Arc<dyn Watch>) {
        (self.job, self.seen, self.watch)
    }
}

/// Takes a query, and tells `watch` of it and of what is answered at once.
pub(super) fn watched(
    watch: &Arc<dyn Watch>,
    query: &[u8],
    client: Client,
    take: impl FnOnce(Client) -> Step,
) -> Step {
    let seen = watch.query(query, &client);
    match take(client) {
        Step::Done(answer) => {
            watch.answer(seen, answer.as_deref());
            Step::Done(answer)
        }
        Step::Wait(job) => {
            let watch = watch.clone();
            Step::Wait(Job::Watched(Box::new(Watched { job, seen, watch })))
        }
        Step::Stream(outgoing) => {
            watch.answer(seen, None);
            Step::Stream(outgoing)
        }
    }
}
