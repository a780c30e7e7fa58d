//! Tells secondaries that a zone has a new version (RFC 1996).
//!
//! Why: without it a secondary learns of a change when its refresh timer ends, hours later.
//!
//! Model: whoever makes a version current calls [`Notifier::tell`]; one task (`task`) sends a NOTIFY to each address that the
//! zone's table names, and again with growing pauses until it is answered. What is to be sent and when is decided by
//! `queue`, which is pure. A newer version of a zone takes the place of an older one that is still being told.
//!
//! Failure: an address that never answers is given up, logged and counted; its secondary still has its timers.

mod queue;
mod task;

use tokio::sync::mpsc;

use crate::config::NotifyTarget;
use crate::dns::Record;

pub use task::{Deps, start};

/// Pieces of news that may wait for the task.
const NEWS_WAITING_MAX: usize = 1024;

/// A new version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// The SOA record of the version; its owner is the zone.
    pub soa: Record,
    /// Who is to be told.
    pub targets: Vec<NotifyTarget>,
}

/// The way to the task. Dropping every copy stops it.
#[derive(Clone)]
pub struct Notifier(mpsc::Sender<News>);

impl Notifier {
    /// Has secondaries told. Never waits: what finds no room is left to the secondaries' timers.
    pub fn tell(&self, news: News) {
        if news.targets.is_empty() {
            return;
        }
        if let Err(error) = self.0.try_send(news) {
            tracing::warn!(%error, "secondaries are not told of a new version");
        }
    }
}
