//! TCP connections that questions share (RFC 7766 section 6.2).
//!
//! Why: a connection of its own for each question costs a round trip and a port each, and a zone whose answers
//! are all cut over UDP would cost its servers a handshake per question.
//!
//! Model: a [`Pool`] has, per server address and own address, a few connections; each is a task (`tcp`) that
//! takes questions over a channel, several at a time, and is fed by whoever holds its [`Connection`]. A question
//! holds a [`Slot`] of one, from which the pool learns how it ended.
//!
//! ```text
//!   open -- question left without answer, or the peer hangs up --> retired: takes no more, ends with its last question
//!     |                                                               ^
//!     +---- idle for IDLE_MAX, or room is needed ---------------------+
//!     +---- no answer for QUIET_MAX, room is needed, none is idle: cut with its questions
//! ```
//!
//! Failure: who answers only the first question of a connection is asked on a fresh one each time, for a while. All
//! is bounded: questions per connection, connections per server, connections in all. A stranger's servers that accept
//! and say nothing could take all of them, so what is quiet gives way to what may be answered.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

use super::net::{SOCKETS_MAX, Shared};
use super::tcp::Talk;
use super::{Ask, ExchangeError, Reply};

/// Questions without answer on one connection.
const PIPELINED_MAX: usize = 32;
/// Connections to one server address. RFC 7766 section 6.2.2 recommends one for plain queries: the second and
/// third are opened only when all before are full.
const CONNECTIONS_PER_SERVER_MAX: usize = 3;
/// Connections in all.
pub(super) const CONNECTIONS_MAX: usize = 1024;
/// A connection that has not answered for so long is closed when another one is needed. Connecting and asking take two
/// round trips.
const QUIET_MAX: Duration = Duration::from_secs(1);
/// How long a server is asked one question per connection after it left a later one unanswered.
const ALONE_FOR: Duration = Duration::from_secs(30);
/// Questions that wait for a place at once; each one that is free wakes them all.
const WAITING_MAX: usize = 256;
/// Servers remembered for that.
const ALONE_MAX: usize = 1000;

const _: () = assert!(CONNECTIONS_MAX * 2 <= SOCKETS_MAX);

/// A server, and the address to reach it from (unspecified = the kernel's choice).
pub(super) type Peer = (SocketAddr, IpAddr);

/// A question handed to a connection.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) ask: Ask,
    pub(super) tell: oneshot::Sender<Result<Reply, Ended>>,
}

/// Why a connection has no answer for a question.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) error: ExchangeError,
    /// RFC 7766 section 6.2.4: it was closed, which says nothing about the question.
    pub(super) closed: bool,
}

/// The questioners' end of a connection.
#[derive(Debug)]
struct Connection {
    commands: Sender<Command>,
    outstanding: AtomicUsize,
    retired: AtomicBool,
    line: Arc<Line>,
}

/// What a connection's task and the pool tell each other.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Something was answered on it.
    answered: AtomicBool,
    /// Monotonic milliseconds of the last answer, or since when a question waits for the first.
    quiet_since_ms: AtomicU64,
    cut: Notify,
}

impl Line {
    /// Something was answered.
    pub(super) fn heard(&self, now: Duration) {
        self.answered.store(true, Ordering::Relaxed);
        self.wait_from(now);
    }

    /// Ends when the connection is to end, whoever waits at it.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }

    fn wait_from(&self, now: Duration) {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.quiet_since_ms.store(now_ms, Ordering::Relaxed);
    }

    fn quiet_since(&self) -> Duration {
        Duration::from_millis(self.quiet_since_ms.load(Ordering::Relaxed))
    }
}

impl Connection {
    fn takes_more(&self) -> bool {
        !self.retired.load(Ordering::Relaxed) && !self.commands.is_closed()
    }

    fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their last use, by peer.
    connections: Vec<(Peer, Arc<Connection>)>,
    /// Servers that want a connection for each question, and until when.
    alone: HashMap<IpAddr, Duration>,
    /// Connections that have not ended, whether they take more or not.
    living: usize,
}

/// All connections.
pub(super) struct Pool {
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
    /// Connections in all.
    pub(super) room: usize,
    /// A question or a connection has ended.
    freed: Arc<Notify>,
    /// Questions that wait for that.
    waiting: AtomicUsize,
}

impl Pool {
    pub(super) fn new(shared: Arc<Shared>) -> Pool {
        Pool {
            shared,
            state: Arc::default(),
            room: CONNECTIONS_MAX,
            freed: Arc::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits until a question to `peer` may find a place, for ever if none becomes free. Where too many wait, it does not.
    pub(super) async fn wait_for_place(&self, peer: Peer) {
        let _waits = Waits::new(&self.waiting);
        loop {
            let freed = self.freed.notified();
            let is_crowded = self.waiting.load(Ordering::Relaxed) > WAITING_MAX;
            if is_crowded || !self.is_full(peer) {
                return;
            }
            freed.await;
        }
    }

    /// Whether there are as many connections to `peer` as may be, and none takes another question.
    fn is_full(&self, peer: Peer) -> bool {
        let now = self.shared.clock.now().mono;
        let mut state = lock(&self.state);
        let each_max = match state.wants_one_each(peer.0.ip(), now) {
            true => 1,
            false => PIPELINED_MAX,
        };
        let to_peer = state.connections.iter().filter(|(p, _)| *p == peer);
        let full = to_peer.filter(|(_, c)| c.takes_more() && c.outstanding() >= each_max);
        full.count() >= CONNECTIONS_PER_SERVER_MAX
    }

    /// A place on an open connection to `peer`, if there is one with room.
    pub(super) fn reuse(&self, peer: Peer) -> Option<Slot> {
        let now = self.shared.clock.now().mono;
        let mut state = lock(&self.state);
        state.connections.retain(|(_, c)| c.takes_more());
        if state.wants_one_each(peer.0.ip(), now) {
            return None;
        }
        let has_room =
            |(p, c): &(Peer, Arc<Connection>)| *p == peer && c.outstanding() < PIPELINED_MAX;
        let at = state.connections.iter().position(has_room)?;
        let (_, connection) = state.connections.remove(at);
        state.connections.push((peer, connection.clone()));
        drop(state);
        Some(self.slot(peer, connection))
    }

    /// A place on a new connection to `peer`.
    pub(super) fn open(
        &self,
        peer: Peer,
        socket: OwnedSemaphorePermit,
    ) -> Result<Slot, ExchangeError> {
        let mut state = lock(&self.state);
        // An idle one was of no use: the server wants one for each question, or has just closed it.
        (state.connections).retain(|(p, c)| *p != peer || c.outstanding() > 0);
        let to_peer = state.connections.iter().filter(|(p, _)| *p == peer);
        if to_peer.count() >= CONNECTIONS_PER_SERVER_MAX {
            let why = "too many connections to the server";
            return Err(ExchangeError::Limit(why.into()));
        }
        let now = self.shared.clock.now().mono;
        if state.living >= self.room && !state.close_idle() && !state.cut_quiet(now) {
            return Err(ExchangeError::Limit("too many connections".into()));
        }
        let (commands, questions) = channel(PIPELINED_MAX);
        let line = Arc::new(Line::default());
        let talk = Talk::new(self.shared.clone(), peer, questions, line.clone());
        let connection = Arc::new(Connection {
            commands,
            outstanding: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            line,
        });
        state.connections.push((peer, connection.clone()));
        state.living += 1;
        self.shared.metrics.upstream_tcp_opened_total.inc();
        (self.shared.metrics.upstream_tcp_connections).set(state.living as u64);
        drop(state);
        let living = Living(self.state.clone(), self.shared.clone(), self.freed.clone());
        tokio::spawn(async move {
            let _held = (socket, living);
            talk.run().await;
        });
        Ok(self.slot(peer, connection))
    }

    /// Closes the connection that has been idle for the longest time.
    pub(super) fn close_idle(&self) {
        lock(&self.state).close_idle();
    }

    fn slot(&self, peer: Peer, connection: Arc<Connection>) -> Slot {
        if connection.outstanding.fetch_add(1, Ordering::Relaxed) == 0 {
            connection.line.wait_from(self.shared.clock.now().mono);
        }
        Slot {
            connection,
            server: peer.0.ip(),
            shared: self.shared.clone(),
            state: self.state.clone(),
            freed: self.freed.clone(),
            ended: false,
        }
    }
}

impl State {
    fn wants_one_each(&mut self, server: IpAddr, now: Duration) -> bool {
        match self.alone.get(&server) {
            Some(until) if *until > now => true,
            Some(_) => self.alone.remove(&server).is_none(),
            None => false,
        }
    }

    /// Dropping its sender ends a connection that nobody waits at.
    fn close_idle(&mut self) -> bool {
        let idle = |(_, c): &(Peer, Arc<Connection>)| c.outstanding() == 0;
        let at = self.connections.iter().position(idle);
        at.map(|at| self.connections.remove(at)).is_some()
    }

    /// Cuts the connection that has been quiet for the longest time, if that is long.
    fn cut_quiet(&mut self, now: Duration) -> bool {
        let since = |(_, (_, c)): &(usize, &(Peer, Arc<Connection>))| c.line.quiet_since();
        let quietest = self.connections.iter().enumerate().min_by_key(since);
        let quietest = quietest.filter(|found| since(found) + QUIET_MAX <= now);
        let Some((at, _)) = quietest else {
            return false;
        };
        let (_, connection) = self.connections.remove(at);
        connection.retired.store(true, Ordering::Relaxed);
        connection.line.cut.notify_one();
        true
    }
}

/// A question's place on a connection.
pub(super) struct Slot {
    connection: Arc<Connection>,
    server: IpAddr,
    shared: Arc<Shared>,
    state: Arc<Mutex<State>>,
    freed: Arc<Notify>,
    ended: bool,
}

impl Slot {
    /// Asks, and waits for ever if neither answer nor end comes.
    pub(super) async fn ask(mut self, ask: &Ask) -> Result<Reply, Ended> {
        let (tell, told) = oneshot::channel();
        let command = Command {
            ask: ask.clone(),
            tell,
        };
        let result = match self.connection.commands.try_send(command) {
            Ok(()) => told.await.unwrap_or_else(|_| Err(Ended::hung_up())),
            Err(_) => Err(Ended::hung_up()),
        };
        self.ended = true;
        result
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let waited = self.connection.outstanding.fetch_sub(1, Ordering::Relaxed);
        if self.ended {
            self.freed.notify_waiters();
            return;
        }
        // What is behind an unanswered question may wait for it for ever.
        self.connection.retired.store(true, Ordering::Relaxed);
        // Nobody waits any more, perhaps not even for the connection to be made.
        if waited == 1 {
            self.connection.line.cut.notify_one();
        }
        let mut state = lock(&self.state);
        (state.connections).retain(|(_, c)| !Arc::ptr_eq(c, &self.connection));
        self.freed.notify_waiters();
        if self.connection.line.answered.load(Ordering::Relaxed) {
            // It answers some questions of a connection, and not others.
            let now = self.shared.clock.now().mono;
            if state.alone.len() >= ALONE_MAX {
                state.alone.retain(|_, until| *until > now);
            }
            if state.alone.len() < ALONE_MAX {
                state.alone.insert(self.server, now + ALONE_FOR);
            }
        }
    }
}

impl Ended {
    /// It was cut to make room.
    pub(super) fn cut() -> Ended {
        Ended {
            error: ExchangeError::Limit("its connection was needed for others".into()),
            closed: false,
        }
    }

    /// The connection was closed.
    pub(super) fn hung_up() -> Ended {
        Ended {
            error: ExchangeError::Unreachable("hung up".into()),
            closed: true,
        }
    }
}

/// Counts a connection for as long as its task lives.
struct Living(Arc<Mutex<State>>, Arc<Shared>, Arc<Notify>);

/// Counts a question for as long as it waits.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Waits<'a> {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.living -= 1;
        self.1
            .metrics
            .upstream_tcp_connections
            .set(state.living as u64);
        self.2.notify_waiters();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
