//! A round trip for servers that have none: what comes to ADDRESS:53 goes to ADDRESS:BACKEND_PORT, and the answer is held until
//! the round trip is over. Such servers may be weak, too: of more than PER_S questions a second (0 = as many as come) none goes on.
//!
//! UDP: one thread, one queue ordered by time. The question goes on at once and its answer leaves RTT after the question came, so
//! that the server's own time is within the round trip, not on top. TCP, which is rare here: a pair of threads per connection, with one
//! round trip for the handshake.
//!
//! Validity: every line on stdin is answered by a line of JSON: what passed since the last one, and how late answers left. A relay
//! that falls behind would flatter the slowest resolver, so `run.py` prints it. End of stdin ends the relay.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::sockets::{Poll, udp};

/// Datagrams taken from one socket before the others have their turn.
const BATCH_MAX: usize = 64;
/// Answers that are held at a time.
const HELD_MAX: usize = 100_000;
/// TCP connections at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 512;
/// The longest datagram.
const DATAGRAM_LEN_MAX: usize = 4096;
/// The longest wait without looking around.
const IDLE: Duration = Duration::from_millis(100);

/// Questions that a weak server takes at once, as time at its rate.
const BURST: Duration = Duration::from_millis(100);

pub fn run(rtt_ms: &str, per_s: &str, port: &str, servers: &[&str]) -> Result<(), Box<dyn Error>> {
    let rtt = Duration::from_secs_f64(rtt_ms.parse::<f64>()? / 1000.0);
    let port: u16 = port.parse()?;
    let per_s: u32 = per_s.parse()?;
    let mut relay = Relay::new(rtt, (per_s > 0).then(|| Duration::from_secs(1) / per_s));
    for server in servers {
        let address: IpAddr = server.parse()?;
        relay.add(address, port)?;
        serve_tcp(address, port, rtt)?;
    }
    relay.serve()?;
    Ok(())
}

/// A question that waits for its answer.
#[derive(Clone, Copy)]
struct Asked {
    client: SocketAddr,
    id: [u8; 2],
    due: Instant,
}

/// One server: where resolvers ask, and the way to the real one.
struct Server {
    front: UdpSocket,
    back: UdpSocket,
    /// By the ID that the server sees.
    asked: Vec<Option<Asked>>,
    next: u16,
}

/// An answer until it may leave.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Instant,
    server: usize,
    client: SocketAddr,
    answer: Vec<u8>,
}

#[derive(Default)]
struct Counts {
    answered: u64,
    dropped: u64,
    refused: u64,
    late_us: Vec<u32>,
}

struct Relay {
    rtt: Duration,
    /// What a question takes of a weak server's time, and until when that time is used up.
    each: Option<Duration>,
    busy_until: Instant,
    servers: Vec<Server>,
    held: BinaryHeap<Reverse<Held>>,
    counts: Counts,
}

impl Relay {
    fn new(rtt: Duration, each: Option<Duration>) -> Relay {
        Relay {
            rtt,
            each,
            busy_until: Instant::now(),
            servers: Vec::new(),
            held: BinaryHeap::new(),
            counts: Counts::default(),
        }
    }

    fn add(&mut self, address: IpAddr, port: u16) -> io::Result<()> {
        self.servers.push(Server {
            front: udp((address, 53).into(), None)?,
            back: udp((address, 0).into(), Some((address, port).into()))?,
            asked: vec![None; 1 << 16],
            next: 0,
        });
        Ok(())
    }

    fn serve(&mut self) -> io::Result<()> {
        let sockets = self.servers.iter();
        let descriptors = sockets.flat_map(|s| [s.front.as_raw_fd(), s.back.as_raw_fd()]);
        let mut poll = Poll::new(descriptors.chain([libc::STDIN_FILENO]));
        loop {
            self.release();
            let next = self.held.peek().map(|Reverse(held)| held.due);
            let wait = next.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
            poll.wait(wait)?;
            for index in 0..self.servers.len() {
                if poll.ready(2 * index) {
                    self.take_questions(index);
                }
                if poll.ready(2 * index + 1) {
                    self.take_answers(index);
                }
            }
            if poll.ready(2 * self.servers.len()) && !self.report()? {
                return Ok(());
            }
        }
    }

    fn take_questions(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        for _ in 0..BATCH_MAX {
            let Ok((len, client)) = server.front.recv_from(&mut buffer) else {
                return;
            };
            if len < 12 {
                continue;
            }
            let now = Instant::now();
            if let Some(each) = self.each {
                if self.busy_until > now + BURST {
                    self.counts.refused += 1;
                    continue;
                }
                self.busy_until = self.busy_until.max(now) + each;
            }
            let asked = Asked {
                client,
                id: [buffer[0], buffer[1]],
                due: now + self.rtt,
            };
            let slot = &mut server.asked[usize::from(server.next)];
            if slot.replace(asked).is_some() {
                self.counts.dropped += 1;
            }
            buffer[..2].copy_from_slice(&server.next.to_be_bytes());
            server.next = server.next.wrapping_add(1);
            if server.back.send(&buffer[..len]).is_err() {
                self.counts.dropped += 1;
            }
        }
    }

    fn take_answers(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let mut buffer = [0; DATAGRAM_LEN_MAX];
        for _ in 0..BATCH_MAX {
            let Ok(len) = server.back.recv(&mut buffer) else {
                return;
            };
            if len < 12 || self.held.len() >= HELD_MAX {
                self.counts.dropped += 1;
                continue;
            }
            let id = u16::from_be_bytes([buffer[0], buffer[1]]);
            let Some(asked) = server.asked[usize::from(id)].take() else {
                continue;
            };
            buffer[..2].copy_from_slice(&asked.id);
            self.held.push(Reverse(Held {
                due: asked.due,
                server: index,
                client: asked.client,
                answer: buffer[..len].to_vec(),
            }));
        }
    }

    fn release(&mut self) {
        let mut now = Instant::now();
        while self
            .held
            .peek()
            .is_some_and(|Reverse(held)| held.due <= now)
        {
            let Some(Reverse(held)) = self.held.pop() else {
                return;
            };
            let front = &self.servers[held.server].front;
            if front.send_to(&held.answer, held.client).is_err() {
                self.counts.dropped += 1;
            }
            now = Instant::now();
            let late = now.saturating_duration_since(held.due);
            self.counts.answered += 1;
            self.counts.late_us.push(late.as_micros() as u32);
        }
    }

    /// Answers a line on stdin; false at its end.
    fn report(&mut self) -> io::Result<bool> {
        let mut line = [0; 64];
        if io::stdin().read(&mut line)? == 0 {
            return Ok(false);
        }
        let Counts {
            answered,
            dropped,
            refused,
            mut late_us,
        } = std::mem::take(&mut self.counts);
        late_us.sort_unstable();
        let at = |part: usize| late_us.get(late_us.len() * part / 1000).copied();
        let late = [500, 990, 999].map(|part| at(part).unwrap_or(0));
        println!(
            "{{\"answered\": {answered}, \"dropped\": {dropped}, \"refused\": {refused}, \"late_us_p50\": {}, \"late_us_p99\": {}, \"late_us_p999\": {}}}",
            late[0], late[1], late[2]
        );
        io::stdout().flush()?;
        Ok(true)
    }
}

fn serve_tcp(address: IpAddr, port: u16, rtt: Duration) -> io::Result<()> {
    let listener = TcpListener::bind((address, 53))?;
    let open = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
                open.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let open = open.clone();
            thread::spawn(move || {
                // The handshake's round trip.
                thread::sleep(rtt);
                let _ = connect(client, (address, port).into(), rtt);
                open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    Ok(())
}

fn connect(client: TcpStream, server: SocketAddr, rtt: Duration) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    }
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    let questions = thread::spawn(move || pass(from, to, Duration::ZERO));
    pass(server, client, rtt);
    let _ = questions.join();
    Ok(())
}

/// Each chunk leaves `delay` after it came; a sleep per chunk is right for an answer or a few.
fn pass(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let mut chunk = [0; 1 << 16];
    while let Ok(len @ 1..) = from.read(&mut chunk) {
        thread::sleep(delay);
        if to.write_all(&chunk[..len]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
