//! The generator.
//!
//! Model: many sockets, each connected to the server and from an address and port of its own. The number of a question counts up per
//! socket, so what is outstanding is a ring. Closed loop: each socket has its share of the window outstanding, and asks again, a burst at a
//! time, as answers come; so the server is never idle and nothing need be lost. Open loop (`rate`): bursts leave on schedule, whatever became of those before.
//!
//! It never sleeps, and only lets others on its core run where nothing has come: it has that core for itself, and a client that is woken for each answer would cost the server more than the answer.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use crate::option;
use crate::questions::Questions;
use crate::sockets::{Batch, send_burst, udp};
use crate::tally::Tally;

/// An answer is lost after this, in seconds.
const PATIENCE_S: f64 = 1.0;
/// Held up by more than this, the generator puts its schedule off: what it owes would come as a flood that no client sends.
const LATE_S: f64 = 0.01;
/// How often it is looked for what is lost.
const LOOK_US: u32 = 20_000;
/// Answers taken at once.
const BATCH: usize = 64;
/// What of an answer is looked at: its header and its question.
const ANSWER_LEN: usize = 128;
/// Of so many answers one is looked at closely.
const SAMPLE: u64 = 16;
/// The kernel cuts a burst into no more than so many (UDP_MAX_SEGMENTS of older kernels).
const BURST_MAX: usize = 64;
/// Outstanding per socket in open loop, at most: at a million questions a second over 64 sockets none is overwritten before it is lost.
const OPEN_RING: usize = 1 << 14;
/// The first client's address; they are spread over so many /24s.
const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const NETWORKS: u32 = 16;
const FREE: u32 = u32::MAX;

/// One question that is out, or none.
#[derive(Clone, Copy)]
struct Slot {
    question: u32,
    sent_us: u32,
}

struct Client {
    socket: UdpSocket,
    ring: Vec<Slot>,
    /// The number of the next question, and of the oldest that may be outstanding.
    head: u64,
    tail: u64,
    pending: usize,
}

struct Load {
    clients: Vec<Client>,
    questions: Questions,
    tally: Tally,
    batch: Batch,
    bytes: Vec<u8>,
    indices: Vec<u32>,
    begun: Instant,
    /// Every question once, in order.
    each: bool,
    /// Any answer is right.
    any: bool,
    /// Questions that are still to be asked.
    left: u64,
    patience_us: u32,
}

pub fn run(server: &str, file: &str, options: &[&str]) -> io::Result<()> {
    let server: SocketAddrV4 = server.parse().map_err(io::Error::other)?;
    let seconds: f64 = option(options, "seconds", 3.0)?;
    let rate: f64 = option(options, "rate", 0.0)?;
    let ports: usize = option(options, "ports", 64)?;
    let window: usize = option(options, "window", 1024)?;
    let burst = option(options, "burst", 16)?.clamp(1, BURST_MAX);
    let count: u64 = option(options, "count", u64::MAX)?;
    let own = window.div_ceil(ports.max(1)).max(1);
    let ring = match rate > 0.0 {
        true => OPEN_RING,
        false => (4 * own).next_power_of_two(),
    };
    let text = std::fs::read_to_string(file)?;
    let mut load = Load {
        clients: (0..ports.max(1) as u32)
            .map(|n| Client::new(n, server, ring))
            .collect::<io::Result<_>>()?,
        questions: Questions::read(&text, option(options, "seed", 1)?)?,
        tally: Tally::default(),
        batch: Batch::new(BATCH, ANSWER_LEN, false),
        bytes: Vec::new(),
        indices: Vec::new(),
        begun: Instant::now(),
        each: options.contains(&"each"),
        any: options.contains(&"any"),
        left: count,
        patience_us: (option(options, "patience", PATIENCE_S)? * 1e6) as u32,
    };
    // With a number of questions the time is what they take, up to what the caller allows.
    let end = Duration::from_secs_f64(seconds);
    match rate > 0.0 {
        true => load.open(end, rate, burst, option(options, "report", f64::INFINITY)?),
        false => load.closed(end, own, burst.min(own)),
    }
    let (time, in_time) = (load.begun.elapsed(), load.tally.answered);
    load.drain();
    println!("{}", load.tally.json(time.as_secs_f64(), in_time));
    Ok(())
}

impl Load {
    /// Keeps the window full.
    fn closed(&mut self, end: Duration, window: usize, burst: usize) {
        let mut looked_us = 0;
        while self.begun.elapsed() < end && (self.left > 0 || self.pending() > 0) {
            let mut idle = true;
            for index in 0..self.clients.len() {
                let now_us = self.now_us();
                idle &= !self.receive(index, now_us);
                while self.left > 0 && window - self.clients[index].pending >= burst {
                    self.send(index, burst, now_us);
                }
                looked_us = self.look(now_us, looked_us);
            }
            make_room(idle);
        }
    }

    /// Keeps the schedule.
    fn open(&mut self, end: Duration, rate: f64, burst: usize, report_s: f64) {
        let (mut looked_us, mut next, mut asked, mut reports) = (0, 0, 0u64, 1.0);
        loop {
            let time = self.begun.elapsed();
            if time >= end || self.left == 0 {
                return;
            }
            let (time_s, now_us) = (time.as_secs_f64(), time.as_micros() as u32);
            let due = (time_s * rate) as u64;
            let late = due.saturating_sub(asked + (LATE_S * rate) as u64);
            asked += late;
            self.tally.put_off += late;
            if time_s >= reports * report_s {
                println!("{}", self.tally.json(time_s, self.tally.answered));
                reports += 1.0;
            }
            while asked + burst as u64 <= due {
                self.send(next, burst, now_us);
                asked += burst as u64;
                next = (next + 1) % self.clients.len();
                // Behind by much, answers must not pile up meanwhile.
                self.receive(next, now_us);
            }
            let mut idle = true;
            for index in 0..self.clients.len() {
                idle &= !self.receive(index, now_us);
            }
            make_room(idle);
            looked_us = self.look(now_us, looked_us);
        }
    }

    /// Takes what still comes.
    fn drain(&mut self) {
        let end_us = self.now_us().wrapping_add(self.patience_us);
        while self.pending() > 0 && (end_us.wrapping_sub(self.now_us()) as i32) > 0 {
            for index in 0..self.clients.len() {
                let now_us = self.now_us();
                self.receive(index, now_us);
            }
        }
        self.tally.lost += self.pending() as u64;
    }

    fn pending(&self) -> usize {
        self.clients.iter().map(|client| client.pending).sum()
    }

    fn now_us(&self) -> u32 {
        // Wraps after 71 minutes; only differences count.
        self.begun.elapsed().as_micros() as u32
    }

    fn send(&mut self, index: usize, burst: usize, now_us: u32) {
        self.bytes.clear();
        self.indices.clear();
        let burst = burst.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let len = match self.each {
            false => self
                .questions
                .draw(burst, &mut self.bytes, &mut self.indices),
            true => match self
                .questions
                .next(burst, &mut self.bytes, &mut self.indices)
            {
                Some(len) => len,
                None => {
                    self.left = 0;
                    return;
                }
            },
        };
        let client = &mut self.clients[index];
        for (packet, question) in self.bytes.chunks_mut(len).zip(&self.indices) {
            packet[..2].copy_from_slice(&(client.head as u16).to_be_bytes());
            self.tally.lost += u64::from(client.ask(*question, now_us));
        }
        let count = self.indices.len() as u64;
        self.left -= count;
        self.tally.sent += count;
        // A connected socket reports an ICMP of before, once; then the burst is still to be sent.
        let sent = send_burst(&client.socket, &mut self.bytes, len)
            .or_else(|_| send_burst(&client.socket, &mut self.bytes, len));
        if sent.is_err() {
            self.tally.unsent += count;
        }
    }

    /// Takes what has come to a client; whether anything has.
    fn receive(&mut self, index: usize, now_us: u32) -> bool {
        let before = self.tally.answered;
        loop {
            let received = self.batch.receive(&self.clients[index].socket, false);
            let count = received.unwrap_or(0);
            for at in 0..count {
                let (answer, len) = self.batch.datagram(at);
                let slot = match *answer {
                    [a, b, flags, ..] if len >= 12 && flags & 0x80 != 0 => {
                        self.clients[index].answered(u16::from_be_bytes([a, b]))
                    }
                    _ => None,
                };
                let Some(slot) = slot else {
                    self.tally.stray += 1;
                    continue;
                };
                self.tally.answered += 1;
                self.tally.octets += len as u64;
                self.tally.delay(now_us.wrapping_sub(slot.sent_us));
                if !self.any {
                    judge(&self.questions, slot.question, answer, len, &mut self.tally);
                }
            }
            if count < BATCH {
                return self.tally.answered != before;
            }
        }
    }

    /// Gives up what is lost, now and then.
    fn look(&mut self, now_us: u32, looked_us: u32) -> u32 {
        if now_us.wrapping_sub(looked_us) < LOOK_US {
            return looked_us;
        }
        for client in &mut self.clients {
            self.tally.lost += client.give_up(now_us, self.patience_us);
        }
        now_us
    }
}

impl Client {
    fn new(number: u32, server: SocketAddrV4, ring: usize) -> io::Result<Client> {
        let host = u32::from(CLIENTS) + ((number % NETWORKS) << 8) + number / NETWORKS;
        let socket = udp(SocketAddrV4::new(host.into(), 0))?;
        socket.connect(server)?;
        Ok(Client {
            socket,
            ring: vec![
                Slot {
                    question: FREE,
                    sent_us: 0
                };
                ring
            ],
            head: 0,
            tail: 0,
            pending: 0,
        })
    }

    /// A question leaves. Whether one that is overwritten is lost by that.
    fn ask(&mut self, question: u32, sent_us: u32) -> bool {
        let at = self.head as usize & (self.ring.len() - 1);
        let before = std::mem::replace(&mut self.ring[at], Slot { question, sent_us });
        self.head += 1;
        self.pending += 1;
        let lost = before.question != FREE;
        if lost {
            self.pending -= 1;
        }
        self.tail = self
            .tail
            .max(self.head.saturating_sub(self.ring.len() as u64));
        lost
    }

    /// The question with this number, if it is outstanding; it no longer is.
    fn answered(&mut self, id: u16) -> Option<Slot> {
        let age = usize::from((self.head.wrapping_sub(1) as u16).wrapping_sub(id));
        if age >= self.ring.len() || age as u64 >= self.head {
            return None;
        }
        let at = (self.head as usize - 1 - age) & (self.ring.len() - 1);
        let slot = &mut self.ring[at];
        let found = (slot.question != FREE).then_some(*slot)?;
        slot.question = FREE;
        self.pending -= 1;
        Some(found)
    }

    fn give_up(&mut self, now_us: u32, patience_us: u32) -> u64 {
        let mut lost = 0;
        while self.tail < self.head {
            let at = self.tail as usize & (self.ring.len() - 1);
            let slot = &mut self.ring[at];
            if slot.question != FREE {
                if now_us.wrapping_sub(slot.sent_us) < patience_us {
                    break;
                }
                slot.question = FREE;
                self.pending -= 1;
                lost += 1;
            }
            self.tail += 1;
        }
        lost
    }
}

/// Servers behind the one that is asked may share the core.
fn make_room(idle: bool) {
    if idle {
        std::thread::yield_now();
    }
}

/// Whether an answer is what it should be.
fn judge(questions: &Questions, question: u32, answer: &[u8], len: usize, tally: &mut Tally) {
    let expected = questions.expected(question);
    let rcode = answer[3] & 15;
    // TC: what was asked for does not fit.
    if rcode != expected.rcode || answer[2] & 2 != 0 {
        let flags = u16::from_be_bytes([answer[2], answer[3]]);
        tally.wrong(|| {
            format!(
                "question {question}: flags {flags:04x}, {len} octets, expected rcode {}",
                expected.rcode
            )
        });
        return;
    }
    if !tally.answered.is_multiple_of(SAMPLE) {
        return;
    }
    tally.looked_at += 1;
    let answers = u16::from_be_bytes([answer[6], answer[7]]);
    if answers < expected.answers_min || !questions.repeats(question, answer) {
        tally.wrong(|| {
            format!(
                "question {question}: {answers} answers, {len} octets: {:02x?}",
                &answer[..answer.len().min(64)]
            )
        });
    }
}
