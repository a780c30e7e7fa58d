//! Queries over UDP.
//!
//! One thread per socket and several sockets per address (SO_REUSEPORT): the kernel spreads clients over
//! them and no lock is shared. A thread takes a batch of datagrams, answers by itself what needs no
//! waiting, and hands the rest to the async side, which answers through the same socket.
//!
//! The same is done for what comes past the kernel (`xdp`): a `Door` is a socket, or a queue of an interface.
//!
//! Failure: the number of queries that wait is bounded, and of each host (`hosts`); above it the newest are dropped and counted,
//! because a client that retries costs less than a queue that never drains. What the network reports about
//! earlier answers (ICMP) concerns one client and never ends a thread; neither does a panic in the
//! handling of one query.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::datagram::{Answers, BATCH_MAX, Inbox, Route, Sender, Unsent};
use super::fair::Fair;
use super::hosts::{Hosts, PER_HOST_MAX};
use super::proxy::Proxies;
use super::queue;
use super::sieve::{DATAGRAMS, Kind, Pressure, Share, Sieve};
use crate::metrics::Metrics;
use crate::query::quick::{Found, ReadyAnswers};
use crate::query::{Client, Job, Pipeline, Step, Transport};

/// Queries that may wait for the resolver at once.
const WAITING_MAX: u32 = 20_000;
/// A thread looks this often whether it is to stop, in milliseconds.
const STOP_LOOK_INTERVAL_MS: u64 = 100;
/// The same once the end is near.
const STOP_LOOK_INTERVAL_SHORT_MS: u64 = 5;
/// How often it is looked whether no query waits any more.
const DRAIN_LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// Pause after a socket error, so that a persistent one does not burn a core, in milliseconds.
const ERROR_PAUSE_MS: u64 = 1;

/// What all UDP threads share.
pub(super) struct Shared {
    proxies: Proxies,
    pipeline: Arc<Pipeline>,
    metrics: Arc<Metrics>,
    runtime: Handle,
    /// A place for each query that waits, `places` in all.
    waiting: Arc<Semaphore>,
    places: u32,
    hosts: Arc<Hosts>,
    fair: Fair,
    stop_is_near: AtomicBool,
    stop: AtomicBool,
}

/// The running UDP threads.
pub struct UdpThreads {
    shared: Arc<Shared>,
    /// What has questions come past the kernel, as long as it is there.
    #[cfg(feature = "xdp")]
    past: super::xdp::Attachments,
    threads: Vec<JoinHandle<()>>,
}

impl UdpThreads {
    /// Starts a thread for each socket, and for each queue of `interfaces` (`server.xdp`). Must be called within a tokio runtime.
    ///
    /// # Errors
    /// No thread could be made, or a socket option is not to be had.
    pub fn start(
        sockets: Vec<UdpSocket>,
        interfaces: &[String],
        proxies: Proxies,
        pipeline: Arc<Pipeline>,
        metrics: Arc<Metrics>,
    ) -> io::Result<UdpThreads> {
        let places = (WAITING_MAX, PER_HOST_MAX);
        UdpThreads::with_places(places, sockets, interfaces, proxies, pipeline, metrics)
    }

    /// As [`UdpThreads::start`], with other limits on the queries that wait: in all, and of one host.
    fn with_places(
        (places, per_host): (u32, u32),
        sockets: Vec<UdpSocket>,
        interfaces: &[String],
        proxies: Proxies,
        pipeline: Arc<Pipeline>,
        metrics: Arc<Metrics>,
    ) -> io::Result<UdpThreads> {
        let shared = Arc::new(Shared {
            proxies,
            pipeline,
            metrics,
            runtime: Handle::current(),
            waiting: Arc::new(Semaphore::new(places as usize)),
            places,
            hosts: Hosts::new(per_host),
            fair: Fair::new(DATAGRAMS),
            stop_is_near: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let count = sockets.len();
        // The configuration has none without the feature.
        #[cfg(not(feature = "xdp"))]
        let _ = interfaces;
        #[cfg(feature = "xdp")]
        let (past, queues) = super::xdp::open(interfaces, &sockets, &shared.metrics)?;
        #[cfg(feature = "xdp")]
        let count = count + queues.len();
        let mut threads = Vec::with_capacity(count);
        for (index, socket) in sockets.into_iter().enumerate() {
            socket.set_read_timeout(Some(Duration::from_millis(STOP_LOOK_INTERVAL_MS)))?;
            let door = || SocketDoor::new(socket);
            threads.push(shared.start(format!("udp-{index}"), door, count)?);
        }
        #[cfg(feature = "xdp")]
        for (index, door) in queues.into_iter().enumerate() {
            threads.push(shared.start(format!("xdp-{index}"), || door, count)?);
        }
        // Only now is somebody there for what comes.
        #[cfg(feature = "xdp")]
        past.follow();
        Ok(UdpThreads {
            shared,
            #[cfg(feature = "xdp")]
            past,
            threads,
        })
    }

    /// The threads will have to leave soon, and from now on look more often for it.
    pub fn prepare_stop(&self) {
        self.shared.stop_is_near.store(true, Ordering::Relaxed);
    }

    /// Waits up to `grace` for a moment at which no query waits. All that come meanwhile are taken: to leave some unanswered so that others end would lose more than it saves.
    pub async fn drain(&self, grace: Duration) {
        self.prepare_stop();
        let idle = async {
            while self.shared.waiting.available_permits() < self.shared.places as usize {
                tokio::time::sleep(DRAIN_LOOK_INTERVAL).await;
            }
        };
        let _ = tokio::time::timeout(grace, idle).await;
    }

    /// Ends the threads. Queries that still wait get no answer.
    pub async fn stop(self) {
        // What comes from now on is for whoever takes over.
        #[cfg(feature = "xdp")]
        drop(self.past);
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // They leave within STOP_LOOK_INTERVAL_MS.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// Where queries come in and answers go out, with a thread of its own.
pub(super) trait Door {
    /// The longest time that [`Door::receive`] waits, from now on.
    fn set_patience(&mut self, patience: Duration);

    /// Waits for at least one datagram and takes what else is there; replaces what was taken before.
    ///
    /// # Errors
    /// Nothing came (see [`is_pause`]), or what is wrong with the door.
    fn receive(&mut self) -> io::Result<()>;

    /// What was taken, each with a number below [`BATCH_MAX`] that its answer goes by.
    fn datagrams(&self) -> impl Iterator<Item = (usize, &[u8], &Route)>;

    /// How many those are, where [`Door::pressure`] says how many more wait.
    fn taken(&self) -> usize {
        0
    }

    /// What sends the answer to the query with this number, which waits.
    fn outbox(&self, number: usize) -> Option<Arc<Outbox>>;

    /// Sends what was answered at once, and says what could not be sent. Called once after each [`Door::receive`] that took something.
    fn send(&mut self, answers: &Answers) -> Unsent;

    /// How the queue before it stands, where the kernel says so.
    fn pressure(&self) -> Option<Pressure> {
        None
    }

    /// Lets in shares of these networks, and all of all others.
    ///
    /// # Errors
    /// The kernel does not do that here: all is let in.
    fn sieve(&mut self, _kind: Kind, _shares: &[Share]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether nothing will ever come again after this error.
    fn is_shut(&self, error: &io::Error) -> bool;
}

/// A socket.
struct SocketDoor {
    socket: Arc<UdpSocket>,
    outbox: Arc<Outbox>,
    inbox: Inbox,
    sender: Sender,
}

impl SocketDoor {
    fn new(socket: UdpSocket) -> SocketDoor {
        let socket = Arc::new(socket);
        SocketDoor {
            outbox: Arc::new(Outbox::new(socket.clone())),
            socket,
            inbox: Inbox::default(),
            sender: Sender::default(),
        }
    }
}

impl Door for SocketDoor {
    fn set_patience(&mut self, patience: Duration) {
        let _ = self.socket.set_read_timeout(Some(patience));
    }

    fn receive(&mut self) -> io::Result<()> {
        self.inbox.receive(&self.socket)
    }

    fn datagrams(&self) -> impl Iterator<Item = (usize, &[u8], &Route)> {
        self.inbox.datagrams()
    }

    fn taken(&self) -> usize {
        self.inbox.taken()
    }

    fn outbox(&self, _: usize) -> Option<Arc<Outbox>> {
        Some(self.outbox.clone())
    }

    fn send(&mut self, answers: &Answers) -> Unsent {
        let answers = answers.iter();
        let answers =
            answers.filter_map(|(octets, number)| Some((octets, self.inbox.route(number)?)));
        self.sender.send(&self.socket, answers)
    }

    fn pressure(&self) -> Option<Pressure> {
        queue::pressure(&self.socket)
    }

    fn sieve(&mut self, kind: Kind, shares: &[Share]) -> io::Result<()> {
        queue::sieve(&self.socket, kind, shares)
    }

    fn is_shut(&self, _: &io::Error) -> bool {
        false
    }
}

/// A query that was taken.
struct Asked<'d> {
    query: &'d [u8],
    /// Who asks.
    client: SocketAddr,
    /// Where it came from: him, or his proxy.
    route: &'d Route,
}

impl Shared {
    /// Starts one of `threads` threads.
    fn start<D: Door>(
        self: &Arc<Shared>,
        name: String,
        door: impl FnOnce() -> D + Send + 'static,
        threads: usize,
    ) -> io::Result<JoinHandle<()>> {
        let shared = self.clone();
        let thread = std::thread::Builder::new().name(name);
        thread.spawn(move || shared.serve(&mut door(), threads))
    }

    /// The life of one of `threads` threads.
    fn serve(&self, door: &mut impl Door, threads: usize) {
        // What is answered here may begin work that goes on.
        let _runtime = self.runtime.enter();
        door.set_patience(Duration::from_millis(STOP_LOOK_INTERVAL_MS));
        let mut answers = Answers::default();
        let mut kept = self.pipeline.ready_answers(threads);
        let mut sieve = self.fair.sieve();
        let mut looks_often = false;
        while !self.stop.load(Ordering::Relaxed) {
            if !looks_often && self.stop_is_near.load(Ordering::Relaxed) {
                door.set_patience(Duration::from_millis(STOP_LOOK_INTERVAL_SHORT_MS));
                looks_often = true;
            }
            match door.receive() {
                Ok(()) => {}
                Err(e) if is_pause(&e) => {
                    if let Some(kept) = &mut kept {
                        self.pipeline.idle_turn(kept);
                    }
                    continue;
                }
                Err(e) if door.is_shut(&e) => return,
                Err(e) => {
                    tracing::debug!(error = %e, "UDP socket reports an error");
                    std::thread::sleep(Duration::from_millis(ERROR_PAUSE_MS));
                    continue;
                }
            }
            if let Some(kept) = &mut kept {
                self.pipeline.begin_turn(kept);
            }
            let left_out = self.keep_fair(door, &mut sieve);
            self.turn(door, &left_out, &mut kept, &mut answers);
            count(&self.metrics, door.send(&answers));
            answers.clear();
            if let Some(kept) = &mut kept {
                self.pipeline.end_turn(kept);
            }
        }
    }

    /// Keeps a flood from filling the queue; which of what was taken gets no answer.
    fn keep_fair(&self, door: &mut impl Door, sieve: &mut Sieve) -> [bool; BATCH_MAX] {
        let mut left_out = [false; BATCH_MAX];
        let Some(now) = self.pipeline.since_start() else {
            return left_out;
        };
        sieve.took(door.taken());
        if sieve.is_counting() {
            for (number, _, route) in door.datagrams() {
                let sender = route.client;
                let is_spared = || self.proxies.has(sender) || self.pipeline.is_exempt(sender);
                if !sieve.count(sender.ip(), is_spared) {
                    left_out[number] = true;
                    self.fair.left_out(&self.metrics);
                    self.pipeline.count_unseen(sender.ip(), 1, now);
                }
            }
        }
        if sieve.is_due(now) {
            self.look(door, sieve, now);
        }
        left_out
    }

    /// Looks at the queue, and has the kernel do what follows from it.
    fn look(&self, door: &mut impl Door, sieve: &mut Sieve, now: Duration) {
        let Some(pressure) = door.pressure() else {
            return;
        };
        let at = (pressure, now);
        (self.fair).look(sieve, at, &self.pipeline, &self.metrics, |kind, shares| {
            door.sieve(kind, shares)
        });
    }

    /// Answers what was taken, or begins to.
    fn turn(
        &self,
        door: &impl Door,
        left_out: &[bool; BATCH_MAX],
        kept: &mut Option<ReadyAnswers>,
        answers: &mut Answers,
    ) {
        let mut asked = [const { None }; BATCH_MAX];
        let mut count = 0;
        for (number, datagram, route) in door.datagrams() {
            count = number + 1;
            if left_out[number] {
                continue;
            }
            let query = self.proxies.unwrap(datagram, route.client);
            asked[number] = query.map(|(query, client)| Asked {
                query,
                client,
                route,
            });
        }
        let asked = &asked[..count];
        let found = self.answer_ready(asked, kept, answers);
        for (number, (asked, found)) in asked.iter().zip(found).enumerate() {
            let (Some(asked), Found::Unknown | Found::Admitted) = (asked, found) else {
                continue;
            };
            match self.begin(asked.query, asked.client, found, kept) {
                Step::Done(Some(answer)) => answers.push(number, &answer),
                Step::Done(None) => {}
                Step::Wait(job) => {
                    if let Some(outbox) = door.outbox(number) {
                        self.wait(job, outbox, *asked.route);
                    }
                }
                // Transfers over UDP have one message; this is no stream.
                Step::Stream(_) => {}
            }
        }
    }

    /// Answers those whose answers are ready, and says of each what became of it.
    ///
    /// A panic is a defect to be mended, but must not take a share of all clients with it. After one nothing is ready any more, as what was kept may be
    /// part of it; whose query it was gets no answer.
    fn answer_ready(
        &self,
        asked: &[Option<Asked<'_>>],
        kept: &mut Option<ReadyAnswers>,
        answers: &mut Answers,
    ) -> [Found; BATCH_MAX] {
        let mut found = [Found::Unknown; BATCH_MAX];
        let Some(ready) = kept else {
            return found;
        };
        let mut at = 0;
        let answer = || {
            // Each is written once: to clear room for all of them first costs a tenth of the whole.
            let mut looks: [_; BATCH_MAX] = std::array::from_fn(|number| {
                let asked = asked.get(number)?.as_ref()?;
                at = number;
                self.pipeline.look(asked.query, asked.client, ready)
            });
            let looks = &mut looks[..asked.len()];
            self.pipeline.warm(looks, ready);
            for (number, look) in looks.iter().enumerate() {
                let Some(look) = look else { continue };
                at = number;
                found[number] =
                    answers.add(number, |out| self.pipeline.answer_ready(look, ready, out));
            }
        };
        if catch_unwind(AssertUnwindSafe(answer)).is_err() {
            let client = asked[at].as_ref().map(|asked| asked.client);
            tracing::error!(
                ?client,
                "a ready answer panicked; this thread goes on without any"
            );
            answers.drop_begun();
            found[at] = Found::Nothing;
            *kept = None;
        }
        found
    }

    /// The same for what is not ready.
    fn begin(
        &self,
        query: &[u8],
        address: SocketAddr,
        found: Found,
        kept: &mut Option<ReadyAnswers>,
    ) -> Step {
        let client = Client::new(address, Transport::Udp);
        let begin = AssertUnwindSafe(|| match kept {
            Some(kept) => self.pipeline.begin_and_keep(query, client, found, kept),
            None => self.pipeline.begin(query, client),
        });
        catch_unwind(begin).unwrap_or_else(|_| {
            tracing::error!(client = %address, "the handling of a query panicked");
            Step::Done(None)
        })
    }

    fn wait(&self, job: Job, outbox: Arc<Outbox>, route: Route) {
        // DNSBomb, CVE-2024-33655: whose answers are gathered here may have asked for none of them.
        let may_be_forged = self.pipeline.may_be_forged(&job);
        let of_host = may_be_forged.map(|host| self.hosts.enter(host));
        let (Ok(place), None | Some(Some(_))) =
            (self.waiting.clone().try_acquire_owned(), &of_host)
        else {
            self.metrics.queries_shed_total.inc();
            return;
        };
        let (pipeline, metrics) = (self.pipeline.clone(), self.metrics.clone());
        self.runtime.spawn(async move {
            if let Some(answer) = pipeline.finish(job).await {
                count(&metrics, outbox.send(answer, route).await);
            }
            drop((place, of_host));
        });
    }
}

/// Answers from the async side to one socket, sent many at a time.
///
/// Under load several questions are settled in one turn of the runtime, and a system call for each of their answers is
/// the dearest part of answering. No answer waits for a timer: the first one waits for what is settled in its turn.
pub(super) struct Outbox {
    socket: Arc<UdpSocket>,
    /// No more than there are places for queries that wait.
    ready: Mutex<Vec<(Vec<u8>, Route)>>,
}

impl Outbox {
    pub(super) fn new(socket: Arc<UdpSocket>) -> Outbox {
        Outbox {
            socket,
            ready: Mutex::default(),
        }
    }

    /// Sends an answer at once.
    #[cfg(feature = "xdp")]
    pub(super) fn send_now(&self, answer: &[u8], route: Route) -> Unsent {
        Sender::new(1).send(&self.socket, std::iter::once((answer, &route)))
    }

    /// Sends an answer, or leaves it to whoever is about to send. What could not be sent of all that it sent.
    async fn send(&self, answer: Vec<u8>, route: Route) -> Unsent {
        let ready = || self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = {
            let mut ready = ready();
            ready.push((answer, route));
            ready.len() == 1
        };
        if !is_first {
            return Unsent::default();
        }
        tokio::task::yield_now().await;
        let answers = std::mem::take(&mut *ready());
        let sender = &mut Sender::new(answers.len());
        let answers = answers.iter().map(|(octets, route)| (&octets[..], route));
        sender.send(&self.socket, answers)
    }
}

fn count(metrics: &Metrics, unsent: Unsent) {
    if unsent.total() == 0 {
        return;
    }
    metrics.answers_unsent_full_total.add(unsent.full);
    metrics.answers_unsent_denied_total.add(unsent.denied);
    let unreachable = &metrics.answers_unsent_unreachable_total;
    unreachable.add(unsent.unreachable);
    metrics.answers_unsent_other_total.add(unsent.other);
}

/// The read timeout, or a signal.
pub(super) fn is_pause(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests;
