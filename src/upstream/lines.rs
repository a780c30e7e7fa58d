//! Sockets for questions over UDP, and those that wait a moment for another question to the same server.
//!
//! Why: to make a socket, to have it watched and to close it takes eight system calls, a ninth of the time that a resolver spends on a name it
//! does not know, and under load it asks the same servers many times a second.
//!
//! Model: a [`Line`] is a socket on a random port, connected to one server. The question whose answer came, and nothing else, hands
//! it back to [`Lines`]; the next one to that server from that address may take it. What a forger has to guess stays the same: the port is
//! as random as ever (RFC 5452 section 9.2), and only the server itself has seen it, who may answer as it likes anyway. What changes is
//! for how long a port can be searched for from the side (CVE-2020-25705, CVE-2021-20322): so a line ends after [`AGE_MAX`], sooner than
//! the port of a question to a silent server is given up, and after [`QUESTIONS_MAX`] questions. Whatever comes while nobody waits on it is
//! counted and ends it, so nothing can lie there in wait for the next question.
//!
//! Failure: where sockets are short, lines that wait are the first to be closed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::OwnedSemaphorePermit;

use super::ExchangeError;
use super::socket::{classify, connected_udp, watched};

/// A line older than this takes no further question.
const AGE_MAX: Duration = Duration::from_millis(1000);
/// Questions that leave from one port.
const QUESTIONS_MAX: u8 = 8;
/// Lines to one server that wait.
const PER_SERVER_MAX: usize = 32;

/// From which own address (unspecified: the kernel's choice) to which server.
pub(super) type Way = (IpAddr, SocketAddr);

/// A socket that is connected to a server.
#[derive(Debug)]
pub(super) struct Line {
    way: Way,
    pub(super) socket: AsyncFd<UdpSocket>,
    /// Where it is bound.
    pub(super) local: SocketAddr,
    opened_at: Duration,
    questions: u8,
    /// Its place among the open sockets.
    _place: OwnedSemaphorePermit,
}

impl Line {
    /// A fresh one, on a port drawn at random.
    pub(super) fn open(
        way: Way,
        place: OwnedSemaphorePermit,
        now: Duration,
        rng: &mut impl Rng,
    ) -> Result<Line, ExchangeError> {
        let mut open = || -> io::Result<_> {
            let socket = connected_udp(way.0, way.1, rng)?;
            let local = socket.local_addr()?;
            Ok((watched(socket)?, local))
        };
        let (socket, local) = open().map_err(|e| classify(&e))?;
        Ok(Line {
            way,
            socket,
            local,
            opened_at: now,
            questions: 1,
            _place: place,
        })
    }

    /// Whether it may take one more question.
    fn is_good(&self, now: Duration) -> bool {
        self.questions < QUESTIONS_MAX && now < self.opened_at + AGE_MAX
    }

    /// What has happened to it while nobody waited.
    fn look(&self) -> Idle {
        // Since its answer it counts as readable until a look finds nothing. Two interests together never count as ready here.
        let readable = Interest::READABLE;
        let read = self.socket.try_io(readable, |s| s.recv(&mut [0]));
        match read {
            Ok(_) => Idle::Spoken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Idle::Quiet,
            Err(_) => Idle::Broken,
        }
    }
}

enum Idle {
    Quiet,
    /// Something came that nobody had asked for.
    Spoken,
    Broken,
}

/// Lines that wait for another question.
#[derive(Debug)]
pub(super) struct Lines {
    waiting: Mutex<Waiting>,
    max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Those of a server in the order in which they were handed back.
    lines: HashMap<Way, Vec<Line>>,
    count: usize,
    /// When it is looked for old ones.
    sweep_at: Duration,
}

impl Lines {
    /// None yet, and never more than `max`.
    pub(super) fn new(max: usize) -> Lines {
        Lines {
            waiting: Mutex::default(),
            max,
        }
    }

    /// One for another question on this way; `stray` is called for each on which something came meanwhile.
    pub(super) fn take(&self, way: Way, now: Duration, stray: impl Fn()) -> Option<Line> {
        loop {
            let mut line = self.pop(&way)?;
            if !line.is_good(now) {
                continue;
            }
            match line.look() {
                Idle::Quiet => {
                    line.questions += 1;
                    return Some(line);
                }
                Idle::Spoken => stray(),
                Idle::Broken => {}
            }
        }
    }

    /// Hands back a line on which an answer came, and nothing else.
    pub(super) fn put(&self, line: Line, now: Duration) {
        let mut waiting = self.lock();
        let old = waiting.sweep(now);
        if line.is_good(now) && waiting.count < self.max {
            let lines = waiting.lines.entry(line.way).or_default();
            if lines.len() < PER_SERVER_MAX {
                lines.push(line);
                waiting.count += 1;
            }
        }
        drop(waiting);
        // Closed with nobody waiting for it.
        drop(old);
    }

    /// Closes all that wait; returns how many those were.
    pub(super) fn close(&self) -> usize {
        let closed = std::mem::take(&mut *self.lock());
        closed.count
    }

    fn pop(&self, way: &Way) -> Option<Line> {
        let mut waiting = self.lock();
        let line = waiting.lines.get_mut(way)?.pop()?;
        waiting.count -= 1;
        Some(line)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Takes out what is too old, now and then.
    fn sweep(&mut self, now: Duration) -> Vec<Line> {
        let mut old = Vec::new();
        if now < self.sweep_at {
            return old;
        }
        self.sweep_at = now + AGE_MAX;
        self.lines.retain(|_, lines| {
            old.extend(lines.extract_if(.., |line| !line.is_good(now)));
            !lines.is_empty()
        });
        self.count -= old.len();
        old
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::upstream::socket::RECEIVES;

    /// A server, and the lines to it.
    struct Scene {
        server: UdpSocket,
        places: Arc<Semaphore>,
        lines: Lines,
        strays: Cell<usize>,
    }

    const PLACES: usize = 100;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    impl Scene {
        fn new(max: usize) -> Scene {
            Scene {
                server: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
                places: Arc::new(Semaphore::new(PLACES)),
                lines: Lines::new(max),
                strays: Cell::new(0),
            }
        }

        fn way(&self) -> Way {
            let server = self.server.local_addr().unwrap();
            (Ipv4Addr::LOCALHOST.into(), server)
        }

        /// A line on which a question was asked and answered.
        async fn answered(&self, now: Duration) -> Line {
            let place = self.places.clone().try_acquire_owned().unwrap();
            let mut rng = StdRng::seed_from_u64(self.places.available_permits() as u64);
            let line = Line::open(self.way(), place, now, &mut rng).unwrap();
            self.say(&line);
            let read = line.socket.async_io(RECEIVES, |s| s.recv(&mut [0; 8]));
            assert_eq!(read.await.unwrap(), 5);
            line
        }

        fn say(&self, line: &Line) {
            self.server.send_to(b"hello", line.local).unwrap();
        }

        fn take(&self, now: Duration) -> Option<Line> {
            let stray = || self.strays.set(self.strays.get() + 1);
            self.lines.take(self.way(), now, stray)
        }

        fn open(&self) -> usize {
            PLACES - self.places.available_permits()
        }
    }

    #[tokio::test]
    async fn so_many_questions_leave_from_a_port_and_no_more() {
        let scene = Scene::new(10);
        let mut line = scene.answered(at(0)).await;
        let port = line.local;
        for question in 1..QUESTIONS_MAX {
            scene.lines.put(line, at(question.into()));
            line = scene.take(at(question.into())).unwrap();
            assert_eq!(line.local, port);
        }
        scene.lines.put(line, at(9));
        assert!(scene.take(at(9)).is_none());
        assert_eq!(scene.open(), 0);
    }

    #[tokio::test]
    async fn an_old_line_is_not_used_and_goes() {
        let scene = Scene::new(10);
        let age_ms = AGE_MAX.as_millis() as u64;
        let (young, old) = (scene.answered(at(1)).await, scene.answered(at(0)).await);
        scene.lines.put(young, at(2));
        scene.lines.put(old, at(2));
        assert!(scene.take(at(age_ms)).is_some());
        assert!(scene.take(at(age_ms)).is_none());
        assert_eq!(scene.open(), 0);
        // Nobody asks for it: the next one that is handed back drives it out.
        let (first, next) = (scene.answered(at(0)).await, scene.answered(at(0)).await);
        scene.lines.put(first, at(5));
        scene.lines.put(next, at(age_ms + 5));
        assert_eq!(scene.open(), 0);
    }

    #[tokio::test]
    async fn a_line_is_for_its_server_alone() {
        let (scene, other) = (Scene::new(10), Scene::new(10));
        let line = scene.answered(at(0)).await;
        scene.lines.put(line, at(1));
        assert!(scene.lines.take(other.way(), at(1), || ()).is_none());
        let (_, server) = scene.way();
        let elsewhere = (Ipv4Addr::UNSPECIFIED.into(), server);
        assert!(scene.lines.take(elsewhere, at(1), || ()).is_none());
        assert!(scene.take(at(1)).is_some());
    }

    /// What lies there before the question was sent cannot be its answer.
    #[tokio::test]
    async fn what_comes_while_nobody_waits_is_counted_and_ends_the_line() {
        let scene = Scene::new(10);
        let (good, spoken) = (scene.answered(at(0)).await, scene.answered(at(0)).await);
        let port = good.local;
        scene.say(&spoken);
        while spoken.socket.get_ref().peek(&mut [0; 8]).is_err() {
            tokio::task::yield_now().await;
        }
        scene.lines.put(good, at(1));
        scene.lines.put(spoken, at(1));
        assert_eq!(scene.take(at(2)).unwrap().local, port);
        assert_eq!((scene.strays.get(), scene.open()), (1, 0));
    }

    #[tokio::test]
    async fn few_wait_and_all_go_where_sockets_are_short() {
        let scene = Scene::new(3);
        for _ in 0..5 {
            let line = scene.answered(at(0)).await;
            scene.lines.put(line, at(1));
        }
        assert_eq!(scene.open(), 3);
        assert_eq!(scene.lines.close(), 3);
        assert_eq!((scene.open(), scene.lines.close()), (0, 0));
    }
}
