//! The real way out: [`NetUpstream`].
//!
//! Every UDP question has a socket for itself, fresh or handed on by an answered one to the same server (`lines`), and loses it with its
//! future. What questions share is here: the address family switches, the source addresses, one generator of randomness, the
//! cookies, the TCP connections, and a bound on open sockets.
//!
//! Failures are told apart by whose they are. [`ExchangeError::Local`] is ours (no descriptor, no
//! address, too many questions under way) and says nothing about the server; the rest is evidence
//! that `reach` may count against it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysRng};
use rand::seq::IteratorRandom;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::cookies::Cookies;
use super::lines::{Line, Lines, Way};
use super::pool::Pool;
use super::quiet::{QUIET_MAX, Quiet};
use super::socket::open_files_max;
use super::tls::TlsServers;
use super::wire::{Received, Sent, Stray};
use super::{Ask, Asked, BoxFuture, Doubt, ExchangeError, Reply, Transport, Upstream, Watch};
use crate::clock::Clock;
use crate::config;
use crate::metrics::Metrics;

/// Sockets open towards servers at once, at most. Half of the process's file limit where that is less:
/// the other half is for listeners, their connections and the disk.
pub const SOCKETS_MAX: usize = 4096;
/// One in so many sockets may be a line that waits for another question.
const LINES_PART: usize = 8;
/// No exchange takes longer, whatever its [`Ask`] says, seconds.
const EXCHANGE_TIME_MAX_S: u64 = 60;
/// So long before its end an exchange that still waits for a socket is given up.
const CROWDED_BEFORE_DEADLINE: Duration = Duration::from_millis(10);

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
    pub(super) shared: Arc<Shared>,
    pub(super) pool: Pool,
}

/// What exchanges and the tasks of connections share.
pub(super) struct Shared {
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    /// Cryptographic, seeded by the operating system: IDs, ports, case and cookies must not be guessable.
    rng: Mutex<StdRng>,
    cookies: Mutex<Cookies>,
    pub(super) tls: TlsServers,
    sockets: Arc<Semaphore>,
    /// Questions over UDP, each with a socket.
    quiet: Quiet,
    /// Sockets that wait for another one.
    pub(super) lines: Lines,
    /// Who looks on.
    watch: Option<Arc<dyn Watch>>,
}

impl NetUpstream {
    /// The way out with these settings; call it after the process has raised its file limit. An error
    /// means that the operating system has no randomness to give.
    pub fn new(
        settings: NetSettings,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> io::Result<NetUpstream> {
        NetUpstream::watched(settings, TlsServers::default(), metrics, clock, None)
    }

    /// As [`NetUpstream::new`], with servers that are asked over TLS alone; `watch` is told of every question and its answer.
    pub fn watched(
        settings: NetSettings,
        tls: TlsServers,
        metrics: Arc<Metrics>,
        clock: Clock,
        watch: Option<Arc<dyn Watch>>,
    ) -> io::Result<NetUpstream> {
        let rng = StdRng::try_from_rng(&mut SysRng).map_err(io::Error::other)?;
        let sockets = SOCKETS_MAX.min(open_files_max() / 2).max(1);
        let shared = Arc::new(Shared {
            metrics,
            clock,
            rng: Mutex::new(rng),
            cookies: Mutex::default(),
            tls,
            sockets: Arc::new(Semaphore::new(sockets)),
            quiet: Quiet::default(),
            lines: Lines::new(sockets / LINES_PART),
            watch,
        });
        Ok(NetUpstream {
            settings,
            pool: Pool::new(shared.clone()),
            shared,
        })
    }

    /// How many more sockets may be opened now.
    pub fn sockets_free(&self) -> usize {
        self.shared.sockets.available_permits()
    }

    /// Holds `n` free sockets back until the guard is dropped.
    #[cfg(test)]
    pub(super) fn take_sockets(&self, n: usize) -> tokio::sync::SemaphorePermit<'_> {
        let n = u32::try_from(n).expect("few sockets");
        (self.shared.sockets.try_acquire_many(n)).expect("free sockets")
    }

    /// A seed for choices elsewhere that need not be secret.
    pub fn seed(&self) -> u64 {
        self.shared.rng().next_u64()
    }

    async fn run(&self, ask: Ask) -> Result<Reply, ExchangeError> {
        let source = self.source(ask.server)?;
        let time = ask.timeout.min(Duration::from_secs(EXCHANGE_TIME_MAX_S));
        let deadline = self
            .shared
            .clock
            .instant(self.shared.clock.now().mono + time);
        let transport = match self.shared.tls.server(ask.server) {
            Some(_) => Transport::Tcp,
            None => ask.transport,
        };
        let exchange = async {
            match transport {
                Transport::Udp => {
                    let mut rng = self.shared.rng();
                    let line = self.line((source, ask.server), deadline, &mut rng).await?;
                    let waits = self.shared.quiet.enter(self.shared.clock.now().mono);
                    tokio::select! {
                        biased;
                        result = self.exchange_udp(&ask, line, &mut rng) => result,
                        () = waits.cut() => Err(ExchangeError::Limit("its socket was needed for others".into())),
                    }
                }
                Transport::Tcp => self.exchange_tcp(&ask, source, deadline).await,
            }
        };
        let result = timeout_at(deadline, exchange)
            .await
            .unwrap_or(Err(ExchangeError::TimedOut));
        let metrics = &self.shared.metrics;
        match &result {
            Err(ExchangeError::TimedOut) => metrics.upstream_timeouts_total.inc(),
            Err(ExchangeError::Malformed(_)) => metrics.upstream_malformed_total.inc(),
            Err(ExchangeError::Doubtful(doubt)) => self.shared.count_doubt(*doubt),
            _ => {}
        }
        result
    }

    /// A socket for a question.
    async fn line(
        &self,
        way: Way,
        deadline: Instant,
        rng: &mut StdRng,
    ) -> Result<Line, ExchangeError> {
        let shared = &self.shared;
        let now = || shared.clock.now().mono;
        // Whatever it was, it belongs to no question that is under way.
        let stray = || shared.count_stray(Stray::Id);
        match shared.lines.take(way, now(), stray) {
            Some(line) => Ok(line),
            None => Line::open(way, self.socket(deadline).await?, now(), rng),
        }
    }

    /// Leave to open a socket. Running out of time here is our own crowding, no silence of the server.
    pub(super) async fn socket(
        &self,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, ExchangeError> {
        // A little early, so that this end of it is the one that is told.
        let until = deadline - CROWDED_BEFORE_DEADLINE;
        let mut free = pin!(self.shared.sockets.clone().acquire_owned());
        loop {
            let now = self.shared.clock.now().mono;
            if self.sockets_free() == 0 && self.shared.lines.close() == 0 {
                self.pool.close_idle();
                self.shared.quiet.cut(now);
            }
            // Somebody will have been quiet for long enough by then.
            let look_at = self.shared.clock.instant(now + QUIET_MAX / 4);
            match timeout_at(look_at.min(until), &mut free).await {
                Ok(Ok(permit)) => return Ok(permit),
                Err(_) if look_at < until => {}
                _ => return Err(ExchangeError::Limit("too many questions under way".into())),
            }
        }
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
        let drawn = IteratorRandom::choose(addresses, &mut self.shared.rng());
        Ok(drawn.copied().unwrap_or(unspecified))
    }
}

impl Shared {
    /// A generator for one question, so that none waits for another's system calls.
    pub(super) fn rng(&self) -> StdRng {
        StdRng::from_rng(&mut *self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn cookies(&self) -> MutexGuard<'_, Cookies> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells who looks on of a question that was sent; what is returned goes to [`Shared::read`].
    pub(super) fn asked(&self, ask: &Ask, local: SocketAddr, query: &[u8]) -> Option<Asked> {
        let watch = self.watch.as_ref()?;
        Some(watch.asked(ask, local, query))
    }

    /// Sorts what came after `sent`, and tells who looks on of its answer.
    pub(super) fn read(&self, sent: &Sent, asked: Option<&Asked>, bytes: Vec<u8>) -> Received {
        let (Some(watch), Some(asked)) = (&self.watch, asked) else {
            return sent.read(bytes);
        };
        let kept = bytes.clone();
        let received = sent.read(bytes);
        if !matches!(received, Received::Stray(_)) {
            watch.answered(asked, &kept);
        }
        received
    }

    pub(super) fn count_stray(&self, stray: Stray) {
        self.metrics.upstream_mismatched_total.inc();
        match stray {
            Stray::Form => {}
            Stray::Id => self.metrics.upstream_mismatched_id_total.inc(),
            Stray::Question => self.metrics.upstream_mismatched_question_total.inc(),
            Stray::Cookie => self.metrics.upstream_mismatched_cookie_total.inc(),
        }
    }

    fn count_doubt(&self, doubt: Doubt) {
        match doubt {
            Doubt::CaseChanged => self.metrics.upstream_case_changed_total.inc(),
            Doubt::CookieMissing => self.metrics.upstream_cookie_missing_total.inc(),
            Doubt::Strays => self.metrics.upstream_strays_total.inc(),
        }
    }
}

impl Upstream for NetUpstream {
    fn exchange(&self, ask: Ask) -> BoxFuture<'_, Result<Reply, ExchangeError>> {
        Box::pin(self.run(ask))
    }
}
