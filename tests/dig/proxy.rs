//! A transfer source that can be told to misbehave, in front of the honest one.
//!
//! UDP and every honest byte come from the NSD on `10.53.4.1`; this host is `10.53.4.66` in the same namespace.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::net::Net;
use crate::wire;

pub const ADDRESS: &str = "10.53.4.66";
const HONEST: &str = "10.53.4.1";
const POLL: Duration = Duration::from_millis(20);
const IO_TIMEOUT: Duration = Duration::from_secs(5);
/// An endless stream ends here: far past the reader's limit, and no harm to the machine.
const ENDLESS_BYTES_MAX: usize = 256 * 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Honest,
    /// The first 2000 octets of a transfer, then the connection is closed.
    Truncated,
    /// The first 2000 octets, then silence on an open connection.
    Stalling,
    /// The first message, then address records without end.
    Endless,
    /// A web page where DNS was expected.
    NotDns,
}

/// Serves until dropped.
pub struct Proxy {
    mode: Arc<Mutex<Mode>>,
    stop: Arc<AtomicBool>,
    transfers: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    pub fn start(net: &Net) -> Proxy {
        let (mode, stop) = (
            Arc::new(Mutex::new(Mode::Honest)),
            Arc::new(AtomicBool::new(false)),
        );
        let transfers = Arc::new(AtomicUsize::new(0));
        let tcp = {
            let (mode, stop, transfers) =
                (Arc::clone(&mode), Arc::clone(&stop), Arc::clone(&transfers));
            net.thread("xfr", move || serve_tcp(&mode, &stop, &transfers))
        };
        let stopped = Arc::clone(&stop);
        let udp = net.thread("xfr", move || serve_udp(&stopped));
        Proxy {
            mode,
            stop,
            transfers,
            threads: vec![tcp, udp],
        }
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// How many TCP connections it has taken.
    pub fn connections(&self) -> usize {
        self.transfers.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Asks the proxy for the root zone and reads so many messages: the records in the first one, and in all others.
pub fn read_transfer(messages: usize) -> io::Result<(usize, usize)> {
    const AXFR: u16 = 252;
    let mut stream = TcpStream::connect((ADDRESS, 53))?;
    stream.set_read_timeout(Some(IO_TIMEOUT))?;
    write_message(&mut stream, &wire::question(7, ".", AXFR))?;
    let mut counts = Vec::new();
    for _ in 0..messages {
        let reply = wire::parse(&read_message(&mut stream)?);
        counts.push(reply.map_or(0, |reply| reply.answers.len()));
    }
    Ok((counts[0], counts[1..].iter().sum()))
}

fn serve_udp(stop: &AtomicBool) {
    let socket = UdpSocket::bind((ADDRESS, 53)).expect("the proxy's UDP port");
    socket.set_read_timeout(Some(POLL)).expect("a read timeout");
    let upstream = UdpSocket::bind((ADDRESS, 0)).expect("a port for the proxy");
    upstream
        .connect((HONEST, 53))
        .expect("a route to the honest server");
    upstream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a read timeout");
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, client)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let answer = upstream
            .send(&buffer[..length])
            .and_then(|_| upstream.recv(&mut buffer));
        if let Ok(length) = answer {
            let _ = socket.send_to(&buffer[..length], client);
        }
    }
}

fn serve_tcp(mode: &Mutex<Mode>, stop: &Arc<AtomicBool>, transfers: &AtomicUsize) {
    let listener = TcpListener::bind((ADDRESS, 53)).expect("the proxy's TCP port");
    listener
        .set_nonblocking(true)
        .expect("a listener that can be stopped");
    let mut threads = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(POLL);
            continue;
        };
        transfers.fetch_add(1, Ordering::Relaxed);
        let (mode, stop) = (*mode.lock().unwrap(), Arc::clone(stop));
        // The thread inherits the namespace of this one.
        threads.push(std::thread::spawn(move || {
            let _ = serve_connection(client, mode, &stop);
        }));
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn serve_connection(mut client: TcpStream, mode: Mode, stop: &AtomicBool) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(IO_TIMEOUT))?;
    client.set_write_timeout(Some(IO_TIMEOUT))?;
    let question = read_message(&mut client)?;
    if mode == Mode::NotDns {
        return client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>no zone here</html>\r\n");
    }
    let mut honest = TcpStream::connect((HONEST, 53))?;
    honest.set_read_timeout(Some(IO_TIMEOUT))?;
    write_message(&mut honest, &question)?;
    let first = read_message(&mut honest)?;
    // A SOA question over TCP is answered honestly in every mode: the lie is in the transfer.
    let transfer = matches!(question_type(&question), Some(251 | 252));
    match mode {
        _ if !transfer => write_message(&mut client, &first),
        Mode::Honest | Mode::NotDns => {
            write_message(&mut client, &first)?;
            io::copy(&mut honest, &mut client).map(|_| ())
        }
        Mode::Truncated | Mode::Stalling => {
            let length = u16::try_from(first.len()).unwrap_or(u16::MAX);
            client.write_all(&length.to_be_bytes())?;
            client.write_all(&first[..first.len().min(2000)])?;
            while mode == Mode::Stalling && !stop.load(Ordering::Relaxed) && is_open(&client) {
                std::thread::sleep(POLL);
            }
            Ok(())
        }
        Mode::Endless => {
            write_message(&mut client, &soa_only(&first))?;
            let more = addresses(&question);
            let rounds = ENDLESS_BYTES_MAX / more.len();
            (0..rounds)
                .take_while(|_| !stop.load(Ordering::Relaxed))
                .try_for_each(|_| write_message(&mut client, &more))
        }
    }
}

fn is_open(client: &TcpStream) -> bool {
    let short = client.set_read_timeout(Some(POLL));
    let peeked = client.peek(&mut [0]);
    let quiet = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
        )
    };
    short.is_ok() && peeked.map_or_else(|error| quiet(&error), |length| length > 0)
}

fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())
}

/// The end of the question section of a message with one question and no compression.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        match *message.get(at)? {
            0 => return (at + 5 <= message.len()).then_some(at + 5),
            length => at += 1 + usize::from(length),
        }
    }
}

fn question_type(message: &[u8]) -> Option<u16> {
    let end = question_end(message)?;
    Some(u16::from_be_bytes([message[end - 4], message[end - 3]]))
}

/// The first message of a transfer cut down to its first record, the SOA.
fn soa_only(message: &[u8]) -> Vec<u8> {
    let end = question_end(message).expect("the honest server repeats the question");
    // The owner is the root or a pointer: either way the fixed part follows it.
    let owner = if message[end] & 0xc0 == 0xc0 { 2 } else { 1 };
    let length_at = end + owner + 8;
    let length = usize::from(u16::from_be_bytes([
        message[length_at],
        message[length_at + 1],
    ]));
    let mut short = message[..length_at + 2 + length].to_vec();
    short[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
    short
}

/// A message of a transfer that holds four thousand address records and no question.
fn addresses(question: &[u8]) -> Vec<u8> {
    const COUNT: u16 = 4000;
    let mut message = question[..2].to_vec();
    message.extend_from_slice(&[0x84, 0, 0, 0]);
    message.extend_from_slice(&COUNT.to_be_bytes());
    message.extend_from_slice(&[0; 4]);
    for _ in 0..COUNT {
        message.extend_from_slice(&[0, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, 1]);
    }
    message
}
