//! A way out on which some servers are cut off: [`Severed`].
//!
//! Why: a drill is worth as much as it is like the real thing. So the cut is made where packets leave, and everything above it
//! (iteration, selection, reachability) meets what it would meet in an outage. Mirrors fetch past it: a drill leaves them as fresh as they were.
//!
//! Model: whoever is cut off is sent nothing. [`Manner::Silent`] lets the asker wait as long as he would wait for a lost packet;
//! [`Manner::AtOnce`] tells him right away, for worlds in which nobody waits and whose only purpose is a judgement.
//!
//! Failure: none of its own; what is not cut off passes through untouched.

use std::sync::Arc;

use super::{Ask, BoxFuture, ExchangeError, Reply, Upstream};

/// How an exchange with a server that is cut off ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// In silence, after the time that the asker waits.
    Silent,
    /// As if that time had passed already.
    AtOnce,
}

/// Whether the server of an exchange is cut off.
pub type IsCut = Arc<dyn Fn(&Ask) -> bool + Send + Sync>;

/// Another way out, without the servers that are cut off.
pub struct Severed {
    inner: Arc<dyn Upstream>,
    is_cut: IsCut,
    manner: Manner,
}

impl Severed {
    /// `inner` without those for whom `is_cut` holds.
    pub fn new(inner: Arc<dyn Upstream>, is_cut: IsCut, manner: Manner) -> Severed {
        Severed {
            inner,
            is_cut,
            manner,
        }
    }
}

impl Upstream for Severed {
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Reply, ExchangeError>> {
        if !(self.is_cut)(&ask) {
            return self.inner.exchange(ask);
        }
        Box::pin(async move {
            if self.manner == Manner::Silent {
                tokio::time::sleep(ask.timeout).await;
            }
            Err(ExchangeError::TimedOut)
        })
    }
}
