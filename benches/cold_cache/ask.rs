//! The clients: keeps WINDOW questions outstanding until all were asked, checks every answer, times each.
//!
//! An open window is the load of many clients behind one resolver: a question whose answer is slow holds up one place, not the rest.
//! A file has a question per line, `NAME RCODE AD ADDRESS`: what the answer must be, AD as 0 or 1, ADDRESS `-` where the answer has
//! none. Questions are of type A with DO set, so that signatures travel and AD is told.

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::sockets::{Poll, udp};

/// Sockets the questions come from.
const SOCKETS: usize = 8;
/// After this a client has given up; its question counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// All questions together may take this long.
const RUN_MAX: Duration = Duration::from_secs(120);
/// The window opens by so many places per millisecond, as clients do not come all at once; a burst of hundreds may also be more
/// than the socket of a resolver holds that leaves its size to the kernel.
const OPENING_PER_MS: usize = 2;
/// Wrong answers that are told in words.
const EXAMPLES_MAX: usize = 5;

pub fn run(server: &str, window: &str, file: &str) -> Result<(), Box<dyn Error>> {
    let server: SocketAddr = SocketAddr::new(server.parse()?, 53);
    let window: usize = window.parse()?;
    let text = fs::read_to_string(file)?;
    let questions = text
        .lines()
        .map(Question::parse)
        .collect::<Option<Vec<_>>>();
    let questions = questions.ok_or("a line of the file is no question")?;
    let mut clients = Clients::new(server, questions)?;
    clients.run(window)?;
    clients.report();
    Ok(())
}

/// A question and what the answer must be.
struct Question {
    text: String,
    wire: Vec<u8>,
    rcode: u8,
    ad: bool,
    address: Option<Ipv4Addr>,
}

impl Question {
    fn parse(line: &str) -> Option<Question> {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, rcode, ad, address] = words[..] else {
            return None;
        };
        // ID 0, RD, one question, one record (OPT).
        let mut wire = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            wire.push(u8::try_from(label.len()).ok()?);
            wire.extend_from_slice(label.as_bytes());
        }
        // The root label, A, IN; OPT with 1232 octets and DO.
        wire.extend_from_slice(&[0, 0, 1, 0, 1]);
        wire.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 128, 0, 0, 0]);
        Some(Question {
            text: name.to_owned(),
            wire,
            rcode: rcode.parse().ok()?,
            ad: ad == "1",
            address: match address {
                "-" => None,
                some => Some(some.parse().ok()?),
            },
        })
    }

    /// Header and question, as the answer has to repeat them after the ID.
    fn asked(&self) -> &[u8] {
        &self.wire[12..self.wire.len() - 11]
    }

    /// What is wrong with an answer, if anything.
    fn fault(&self, answer: &[u8]) -> Option<String> {
        let rcode = answer[3] & 15;
        let ad = answer[3] & 0x20 != 0;
        if rcode != self.rcode {
            return Some(format!("rcode {rcode}, not {}", self.rcode));
        }
        if ad != self.ad {
            return Some(format!("AD={ad}"));
        }
        let found = addresses(answer, 12 + self.asked().len());
        match found {
            None => Some("cannot be read".into()),
            Some(found) if found != Vec::from_iter(self.address) => Some(format!("{found:?}")),
            Some(_) => None,
        }
    }
}

/// The addresses in the answer section, which begins at `at`.
fn addresses(answer: &[u8], mut at: usize) -> Option<Vec<Ipv4Addr>> {
    let mut found = Vec::new();
    for _ in 0..u16::from_be_bytes([answer[6], answer[7]]) {
        while let length @ 1..64 = *answer.get(at)? {
            at += 1 + usize::from(length);
        }
        at += if answer[at] == 0 { 1 } else { 2 };
        let fixed = answer.get(at..at + 10)?;
        let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let data = answer.get(at + 10..at + 10 + length)?;
        if fixed[..2] == [0, 1] {
            found.push(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?));
        }
        at += 10 + length;
    }
    Some(found)
}

struct Clients {
    questions: Vec<Question>,
    sockets: Vec<UdpSocket>,
    /// By socket and ID: the question and when it was asked.
    waiting: Vec<Vec<Option<(usize, Instant)>>>,
    outstanding: usize,
    asked: usize,
    took_us: Vec<u64>,
    wrong: usize,
    lost: usize,
    examples: Vec<String>,
    time: Duration,
}

impl Clients {
    fn new(server: SocketAddr, questions: Vec<Question>) -> Result<Clients, Box<dyn Error>> {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let sockets: Result<Vec<_>, _> = (0..SOCKETS).map(|_| udp(any, Some(server))).collect();
        Ok(Clients {
            questions,
            sockets: sockets?,
            waiting: vec![vec![None; 1 << 16]; SOCKETS],
            outstanding: 0,
            asked: 0,
            took_us: Vec::new(),
            wrong: 0,
            lost: 0,
            examples: Vec::new(),
            time: Duration::ZERO,
        })
    }

    fn run(&mut self, window: usize) -> Result<(), Box<dyn Error>> {
        let mut poll = Poll::new(self.sockets.iter().map(AsRawFd::as_raw_fd));
        let begun = Instant::now();
        let mut looked = begun;
        while self.asked < self.questions.len() || self.outstanding > 0 {
            let opened = (1 + begun.elapsed().as_millis() as usize) * OPENING_PER_MS;
            while self.outstanding < window.min(opened) && self.asked < self.questions.len() {
                self.ask()?;
            }
            poll.wait(Duration::from_millis(if opened < window { 1 } else { 100 }))?;
            for index in 0..SOCKETS {
                if poll.ready(index) {
                    self.take(index);
                }
            }
            let now = Instant::now();
            if now - begun > RUN_MAX {
                return Err("the run takes too long".into());
            }
            if now - looked > PATIENCE / 10 {
                looked = now;
                self.give_up(now);
            }
        }
        self.time = begun.elapsed();
        Ok(())
    }

    fn ask(&mut self) -> Result<(), Box<dyn Error>> {
        let (socket, id) = (self.asked % SOCKETS, (self.asked / SOCKETS) as u16);
        let wire = &mut self.questions[self.asked].wire;
        wire[..2].copy_from_slice(&id.to_be_bytes());
        self.waiting[socket][usize::from(id)] = Some((self.asked, Instant::now()));
        self.sockets[socket].send(wire)?;
        self.asked += 1;
        self.outstanding += 1;
        Ok(())
    }

    fn take(&mut self, socket: usize) {
        let mut buffer = [0; 4096];
        while let Ok(len) = self.sockets[socket].recv(&mut buffer) {
            let answer = &buffer[..len];
            if len < 12 {
                continue;
            }
            let id = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
            let Some((index, since)) = self.waiting[socket][id] else {
                continue;
            };
            let question = &self.questions[index];
            let asked = question.asked();
            if !(answer.get(12..12 + asked.len())).is_some_and(|a| a.eq_ignore_ascii_case(asked)) {
                continue;
            }
            self.waiting[socket][id] = None;
            self.outstanding -= 1;
            self.took_us.push(since.elapsed().as_micros() as u64);
            if let Some(fault) = question.fault(answer) {
                self.wrong += 1;
                if self.examples.len() < EXAMPLES_MAX {
                    self.examples.push(format!("{}: {fault}", question.text));
                }
            }
        }
    }

    fn give_up(&mut self, now: Instant) {
        for slot in self.waiting.iter_mut().flatten() {
            if let Some((index, since)) = *slot
                && now - since > PATIENCE
            {
                *slot = None;
                self.outstanding -= 1;
                self.lost += 1;
                self.took_us.push(PATIENCE.as_micros() as u64);
                if self.examples.len() < EXAMPLES_MAX {
                    self.examples
                        .push(format!("{}: lost", self.questions[index].text));
                }
            }
        }
    }

    fn report(&mut self) {
        self.took_us.sort_unstable();
        let at = |part: usize| {
            let index = (self.took_us.len() * part / 1000).min(self.took_us.len() - 1);
            self.took_us[index] as f64 / 1000.0
        };
        let examples: Vec<_> = self.examples.iter().map(|e| format!("\"{e}\"")).collect();
        println!(
            "{{\"questions\": {}, \"time_s\": {:.3}, \"qps\": {:.0}, \"p50_ms\": {:.2}, \"p99_ms\": {:.2}, \"max_ms\": {:.2}, \
             \"wrong\": {}, \"lost\": {}, \"examples\": [{}]}}",
            self.asked,
            self.time.as_secs_f64(),
            self.asked as f64 / self.time.as_secs_f64(),
            at(500),
            at(990),
            at(1000),
            self.wrong,
            self.lost,
            examples.join(", ")
        );
    }
}
