//! The echo past the kernel's UDP path, for the question of what is left to save for a server that has AF_XDP: the bound of `src/listen/xdp`, by its own program, socket and rings.
//!
//! An answer is written over its question. Bounds: one queue of one interface, IPv4 without options; UDP checksums are left out, as IPv4 allows (RFC 768).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use holdfast::listen::xdp::frame::ETHERNET_LEN;
use holdfast::listen::xdp::interface;
use holdfast::listen::xdp::places::Places;
use holdfast::listen::xdp::program::{self, Mode};
use holdfast::listen::xdp::socket::{Frame, Socket};

use crate::option;

/// Answered at once, as the socket echo does.
const BATCH: u32 = 32;
const QUEUE: u32 = 0;
const PATIENCE: Duration = Duration::from_secs(1);

const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;
const HEADERS_LEN: usize = ETHERNET_LEN + IPV4_LEN + UDP_LEN;
const DNS_HEADER_LEN: usize = 12;
/// An answer that fits into an Ethernet frame of 1500 octets.
const ANSWER_LEN_MAX: usize = 1500 - IPV4_LEN - UDP_LEN;

/// Answers what comes to a port at the addresses of an interface, until it is ended. Says on its first line how packets reach it.
///
/// # Errors
/// What the kernel refuses, with the step.
pub fn run(name: &str, port: &str, size: &str, options: &[&str]) -> io::Result<()> {
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let size: usize = size.parse().map_err(io::Error::other)?;
    let mode = match option(options, "mode", String::from("native"))?.as_str() {
        "native" => Mode::Native,
        "generic" => Mode::Generic,
        other => return Err(io::Error::other(format!("no mode {other}"))),
    };
    let index = interface::index(name)?;
    let attached = program::attach(index, interface::mac(name)?, &[mode])?;
    let socket = Socket::open(index, QUEUE, mode == Mode::Generic)?;
    let mut socket = socket.ok_or_else(|| io::Error::other("no receive queue"))?;
    attached.enter(QUEUE, socket.fd())?;
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let places = Places::new(name, &interface::addresses()?, &[everywhere]);
    places
        .served()
        .try_for_each(|place| attached.places.add(place))?;
    let is_zero_copy = socket.is_zero_copy();
    println!("{}", if is_zero_copy { "zero-copy" } else { "copy" });
    let mut reply = vec![0; size.clamp(DNS_HEADER_LEN, ANSWER_LEN_MAX)];
    let mut batch = Vec::new();
    loop {
        answer(&mut socket, &mut batch, &mut reply);
        if socket.has_more() {
            continue;
        }
        match socket.wait(PATIENCE) {
            Err(error) if !is_pause(&error) => return Err(error),
            _ => {}
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// One batch.
fn answer(socket: &mut Socket, batch: &mut Vec<Frame>, reply: &mut [u8]) {
    socket.take(BATCH, batch);
    for mut frame in batch.drain(..) {
        let is_whole = socket.packet(&frame).len() >= HEADERS_LEN + DNS_HEADER_LEN;
        let room = Some(socket.room(&mut frame)).filter(|_| is_whole);
        match room.and_then(|room| turn(room, reply)) {
            Some(len) => socket.send(frame, len),
            None => socket.release(frame),
        }
    }
    socket.flush();
}

/// Turns a packet round: addresses and ports change places, `reply` follows, with the number of the question. Returns how long it is.
fn turn(packet: &mut [u8], reply: &mut [u8]) -> Option<usize> {
    let len = HEADERS_LEN + reply.len();
    let (headers, data) = packet.get_mut(..len)?.split_at_mut(HEADERS_LEN);
    let headers: &mut [u8; HEADERS_LEN] = headers.try_into().ok()?;
    let [a, b, flags, ..] = *data else {
        return None;
    };
    swap::<6>(headers, 0, 6);
    let (_, ip) = headers.split_at_mut(ETHERNET_LEN);
    // Length, no number, DF, 64 hops; the checksum is over zeros at its place.
    ip[2..4].copy_from_slice(&((len - ETHERNET_LEN) as u16).to_be_bytes());
    ip[4..12].copy_from_slice(&[0, 0, 0x40, 0, 64, libc::IPPROTO_UDP as u8, 0, 0]);
    swap::<4>(ip, 12, 16);
    let sum = checksum(&ip[..IPV4_LEN]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let udp = &mut ip[IPV4_LEN..];
    swap::<2>(udp, 0, 2);
    udp[4..6].copy_from_slice(&((UDP_LEN + reply.len()) as u16).to_be_bytes());
    udp[6..8].fill(0);
    reply[..3].copy_from_slice(&[a, b, flags | 0x80]);
    data.copy_from_slice(reply);
    Some(len)
}

/// Two neighbours of N octets change places.
fn swap<const N: usize>(octets: &mut [u8], a: usize, b: usize) {
    let (before, after) = octets.split_at_mut(b);
    before[a..a + N].swap_with_slice(&mut after[..N]);
}

/// RFC 1071.
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}
