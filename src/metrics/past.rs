//! What comes and goes past the kernel (AF_XDP), for each interface of `server.xdp`.
//!
//! Counted by the threads that serve the interface's queues, once a turn; read by whoever shows metrics and status.

use std::sync::{Arc, Mutex, PoisonError};

use super::Metric;

/// Why packets are dropped that came past the kernel.
pub const REASONS: [&str; 6] = [
    "malformed",
    "ip_checksum",
    "udp_checksum",
    "source",
    "destination",
    "overrun",
];

/// One interface.
#[derive(Debug, Default)]
pub struct PastKernel {
    /// Its name.
    pub interface: String,
    /// Datagrams that came, those that were dropped not among them.
    pub received_total: Metric,
    /// Answers that went back at once.
    pub answered_total: Metric,
    /// Queries that were handed over to the sockets: they wait for something, or their answer is too long for a packet.
    pub passed_on_total: Metric,
    /// What was dropped, in the order of [`REASONS`].
    pub dropped_total: [Metric; REASONS.len()],
    how: Mutex<How>,
}

/// How an interface is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum How {
    /// Not yet.
    #[default]
    Beginning,
    /// Past the kernel.
    Past {
        /// `native` or `generic`.
        mode: &'static str,
        /// Whether packets come without being copied.
        zero_copy: bool,
        /// Receive queues.
        queues: usize,
    },
    /// By sockets alone, for this reason.
    Sockets(String),
}

impl PastKernel {
    /// For the interface of this name.
    pub fn new(interface: &str) -> PastKernel {
        PastKernel {
            interface: interface.into(),
            ..PastKernel::default()
        }
    }

    /// How it is served now.
    pub fn how(&self) -> How {
        (self.how.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Says so.
    pub fn set_how(&self, how: How) {
        *self.how.lock().unwrap_or_else(PoisonError::into_inner) = how;
    }
}

/// All interfaces of `server.xdp`.
#[derive(Debug, Default)]
pub struct AllPast(Mutex<Vec<Arc<PastKernel>>>);

impl AllPast {
    /// Adds one.
    pub fn add(&self, interface: Arc<PastKernel>) {
        (self.0.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .push(interface);
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<PastKernel>> {
        (self.0.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
