//! A steady stream of questions from the client's namespace, each answer judged and timed.
//!
//! Questions leave on a fixed schedule whatever becomes of the earlier ones (an open loop: a slow server cannot slow the
//! clock that measures it). Nothing is sent twice, so a lost datagram or a SERVFAIL is a failed query, as for a real client.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::net::Net;
use crate::resolver::ADDRESS;
use crate::wire;

const TIMEOUT: Duration = Duration::from_secs(5);
/// The loop's own bound: no run of the lab needs more.
const QUESTIONS_MAX: u64 = 20_000;

/// An A question and its one right answer.
#[derive(Debug, Clone)]
pub struct Question {
    pub name: String,
    pub address: Ipv4Addr,
    /// Whether the name is below an unbroken chain of signatures.
    pub signed: bool,
}

impl Question {
    pub fn new(name: impl Into<String>, address: Ipv4Addr, signed: bool) -> Question {
        Question {
            name: name.into(),
            address,
            signed,
        }
    }

    /// What is wrong with this reply, if anything.
    pub fn fault(&self, reply: &wire::Reply) -> Option<String> {
        let addresses = reply.addresses();
        if reply.rcode != 0 || addresses != [self.address] {
            return Some(format!(
                "rcode {} {addresses:?} EDE {:?}",
                reply.rcode, reply.ede
            ));
        }
        (reply.ad != self.signed).then(|| format!("AD={}", u8::from(reply.ad)))
    }
}

/// What became of one question.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Since the start of the load.
    pub at: Duration,
    pub name: String,
    pub outcome: Outcome,
}

#[derive(Debug, Clone)]
pub enum Outcome {
    Right(Duration),
    Wrong(String),
    Lost,
}

/// A running load.
pub struct Load {
    pub started: Instant,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Load {
    /// Asks `next(n)` for n = 0, 1, ... at `per_second` until `finish`.
    pub fn start(
        net: &Net,
        per_second: u32,
        next: impl FnMut(u64) -> Question + Send + 'static,
    ) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let started = Instant::now();
        let gap = Duration::from_secs(1) / per_second;
        let thread = net.thread("client", move || run(started, gap, next, &stopped));
        Load {
            started,
            stop,
            thread,
        }
    }

    /// Stops asking, waits for the answers still due, returns everything in the order of asking.
    pub fn finish(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load thread ends well")
    }
}

/// Asks one question and waits for its answer.
pub fn ask(net: &Net, question: Question, timeout: Duration) -> Outcome {
    let ask_once = move || {
        let socket = connect();
        let begun = Instant::now();
        socket
            .set_read_timeout(Some(timeout))
            .expect("a read timeout");
        if socket
            .send(&wire::question(1, &question.name, wire::A))
            .is_err()
        {
            return Outcome::Lost;
        }
        let mut buffer = [0; 4096];
        match socket
            .recv(&mut buffer)
            .ok()
            .and_then(|length| wire::parse(&buffer[..length]))
        {
            None => Outcome::Lost,
            Some(reply) => question
                .fault(&reply)
                .map_or(Outcome::Right(begun.elapsed()), Outcome::Wrong),
        }
    };
    net.thread("client", ask_once)
        .join()
        .expect("the asking thread ends well")
}

fn connect() -> UdpSocket {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket in the client's namespace");
    socket
        .connect((ADDRESS, 53))
        .expect("a route to the resolver");
    socket
}

fn run(
    started: Instant,
    gap: Duration,
    mut next: impl FnMut(u64) -> Question,
    stop: &AtomicBool,
) -> Vec<Sample> {
    let socket = connect();
    let mut samples: Vec<Sample> = Vec::new();
    // By query id: where its sample is, when it left, what was asked.
    let mut waiting: HashMap<u16, (usize, Instant, Question)> = HashMap::new();
    let mut buffer = [0; 4096];
    let mut asked = 0;
    loop {
        let asking = !stop.load(Ordering::Relaxed) && asked < QUESTIONS_MAX;
        let now = Instant::now();
        let due = started + gap * u32::try_from(asked).unwrap_or(u32::MAX);
        if asking && now >= due {
            let question = next(asked);
            let id = asked as u16;
            let message = wire::question(id, &question.name, wire::A);
            samples.push(Sample {
                at: now - started,
                name: question.name.clone(),
                outcome: Outcome::Lost,
            });
            // ECONNREFUSED of an earlier datagram surfaces here; the question then counts as lost like any other.
            let _ = socket.send(&message);
            waiting.insert(id, (samples.len() - 1, Instant::now(), question));
            asked += 1;
            continue;
        }
        waiting.retain(|_, (_, left, _)| left.elapsed() < TIMEOUT);
        if !asking && waiting.is_empty() {
            return samples;
        }
        let pause = if asking {
            due - now
        } else {
            Duration::from_millis(50)
        };
        socket
            .set_read_timeout(Some(pause.max(Duration::from_micros(50))))
            .expect("a read timeout");
        match socket.recv(&mut buffer) {
            Ok(length) => {
                let arrived = Instant::now();
                let Some(reply) = wire::parse(&buffer[..length]) else {
                    continue;
                };
                let Some((at, left, question)) = waiting.remove(&reply.id) else {
                    continue;
                };
                samples[at].outcome = match question.fault(&reply) {
                    Some(fault) => Outcome::Wrong(fault),
                    None => Outcome::Right(arrived - left),
                };
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => panic!("the client's socket: {error}"),
        }
    }
}

/// Counts and latencies of a stretch of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    pub asked: usize,
    pub wrong: usize,
    pub lost: usize,
    pub p50: Duration,
    pub p90: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl Figures {
    pub fn of<'a>(samples: impl Iterator<Item = &'a Sample>) -> Figures {
        let (mut asked, mut wrong, mut lost, mut times) = (0, 0, 0, Vec::new());
        for sample in samples {
            asked += 1;
            match sample.outcome {
                Outcome::Right(time) => times.push(time),
                Outcome::Wrong(_) => wrong += 1,
                Outcome::Lost => lost += 1,
            }
        }
        times.sort_unstable();
        let rank = |share: usize| {
            let last = times.len().saturating_sub(1);
            times
                .get(
                    (times.len() * share)
                        .div_ceil(100)
                        .saturating_sub(1)
                        .min(last),
                )
                .copied()
                .unwrap_or_default()
        };
        Figures {
            asked,
            wrong,
            lost,
            p50: rank(50),
            p90: rank(90),
            p99: rank(99),
            max: times.last().copied().unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        write!(
            f,
            "{} asked, {} wrong, {} lost; p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            self.asked,
            self.wrong,
            self.lost,
            ms(self.p50),
            ms(self.p90),
            ms(self.p99),
            ms(self.max)
        )
    }
}

/// The failed questions, a few of them spelled out.
pub fn failures(samples: &[Sample]) -> Vec<String> {
    const SHOWN_MAX: usize = 20;
    let describe = |sample: &Sample| match &sample.outcome {
        Outcome::Right(_) => None,
        Outcome::Wrong(fault) => Some(format!(
            "{:.2} s {} {fault}",
            sample.at.as_secs_f64(),
            sample.name
        )),
        Outcome::Lost => Some(format!(
            "{:.2} s {} lost",
            sample.at.as_secs_f64(),
            sample.name
        )),
    };
    samples
        .iter()
        .filter_map(describe)
        .take(SHOWN_MAX)
        .collect()
}
