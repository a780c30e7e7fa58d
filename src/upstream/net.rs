//! The real way out: [`NetUpstream`].
//!
//! Every question gets a fresh socket and loses it with its future, so there is no state between
//! questions that could leak, go stale or be poisoned. What all of them share is here: the address
//! family switches, the source addresses, one generator of randomness, and a bound on open sockets.
//!
//! Failures are told apart by whose they are. [`ExchangeError::Local`] is ours (no descriptor, no
//! address, too many questions under way) and says nothing about the server; the rest is evidence
//! that `reach` may count against it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use rand::seq::IteratorRandom;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use super::socket::open_files_max;
use super::{Ask, BoxFuture, ExchangeError, Reply, Transport, Upstream};
use crate::clock::Clock;
use crate::config;
use crate::metrics::Metrics;

/// Sockets open towards servers at once, at most. Half of the process's file limit where that is less:
/// the other half is for listeners, their connections and the disk.
pub const SOCKETS_MAX: usize = 4096;
/// No exchange takes longer, whatever its [`Ask`] says, seconds.
const EXCHANGE_TIME_MAX_S: u64 = 60;

/// What the operator decides about packets to other servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetSettings {
    /// Source addresses; one is drawn per question. A family without one leaves it to the kernel.
    pub outgoing: Vec<IpAddr>,
    /// Ask over IPv4.
    pub ipv4: bool,
    /// Ask over IPv6.
    pub ipv6: bool,
}

impl From<&config::Resolver> for NetSettings {
    fn from(resolver: &config::Resolver) -> NetSettings {
        NetSettings {
            outgoing: resolver.outgoing.clone(),
            ipv4: resolver.ipv4,
            ipv6: resolver.ipv6,
        }
    }
}

/// Asks over real sockets.
pub struct NetUpstream {
    settings: NetSettings,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    /// Cryptographic, seeded by the operating system: IDs, ports and case must not be guessable.
    rng: Mutex<StdRng>,
    sockets: Semaphore,
}

impl NetUpstream {
    /// The way out with these settings; call it after the process has raised its file limit. An error
    /// means that the operating system has no randomness to give.
    pub fn new(
        settings: NetSettings,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> io::Result<NetUpstream> {
        let rng = StdRng::try_from_rng(&mut SysRng).map_err(io::Error::other)?;
        let sockets = SOCKETS_MAX.min(open_files_max() / 2).max(1);
        Ok(NetUpstream {
            settings,
            metrics,
            clock,
            rng: Mutex::new(rng),
            sockets: Semaphore::new(sockets),
        })
    }

    /// How many more questions can be under way now.
    pub fn sockets_free(&self) -> usize {
        self.sockets.available_permits()
    }

    /// Holds `n` free sockets back until the guard is dropped.
    #[cfg(test)]
    pub(super) fn take_sockets(&self, n: usize) -> tokio::sync::SemaphorePermit<'_> {
        let n = u32::try_from(n).expect("few sockets");
        self.sockets.try_acquire_many(n).expect("free sockets")
    }

    /// A seed for choices elsewhere that need not be secret.
    pub fn seed(&self) -> u64 {
        self.rng().next_u64()
    }

    /// A generator for one question, so that none waits for another's system calls.
    pub(super) fn rng(&self) -> StdRng {
        StdRng::from_rng(&mut *self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn run(&self, ask: Ask) -> Result<Reply, ExchangeError> {
        let source = self.source(ask.server)?;
        let time = ask.timeout.min(Duration::from_secs(EXCHANGE_TIME_MAX_S));
        let deadline = self.clock.instant(self.clock.now().mono + time);
        // Running out of time here is our own crowding, no silence of the server.
        let _socket = match timeout_at(deadline, self.sockets.acquire()).await {
            Ok(Ok(permit)) => permit,
            _ => return Err(ExchangeError::Local("too many questions under way".into())),
        };
        let exchange = async {
            match ask.transport {
                Transport::Udp => self.exchange_udp(&ask, source).await,
                Transport::Tcp => self.exchange_tcp(&ask, source).await,
            }
        };
        let result = timeout_at(deadline, exchange)
            .await
            .unwrap_or(Err(ExchangeError::TimedOut));
        match &result {
            Err(ExchangeError::TimedOut) => self.metrics.upstream_timeouts_total.inc(),
            Err(ExchangeError::Malformed(_)) => self.metrics.upstream_malformed_total.inc(),
            _ => {}
        }
        result
    }

    /// The address to send from; unspecified = the kernel's choice.
    fn source(&self, server: SocketAddr) -> Result<IpAddr, ExchangeError> {
        let (enabled, unspecified, family): (_, IpAddr, _) = match server {
            SocketAddr::V4(_) => (self.settings.ipv4, Ipv4Addr::UNSPECIFIED.into(), "ipv4"),
            SocketAddr::V6(_) => (self.settings.ipv6, Ipv6Addr::UNSPECIFIED.into(), "ipv6"),
        };
        if !enabled {
            let why = format!("resolver.{family} is false");
            return Err(ExchangeError::Local(why));
        }
        let usable = |address: &&IpAddr| address.is_ipv4() == server.is_ipv4();
        let addresses = self.settings.outgoing.iter().filter(usable);
        let drawn = IteratorRandom::choose(addresses, &mut self.rng());
        Ok(drawn.copied().unwrap_or(unspecified))
    }
}

impl Upstream for NetUpstream {
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Reply, ExchangeError>> {
        Box::pin(self.run(ask))
    }
}
