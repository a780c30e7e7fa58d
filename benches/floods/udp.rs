//! Questions over UDP from senders that need not exist.
//!
//! Packets are written whole, IP header included, so that a sender is what the flood says he is. Many leave with one system call. They are
//! only sent; who gets the answers is not this program's matter.

use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use crate::random::{Random, Senders, fill, query};

/// Packets of one system call.
const BATCH: usize = 64;
const SECONDS_MAX: f64 = 120.0;
const IP_LEN: usize = 20;
const UDP_LEN: usize = 8;
/// A sender that is on time sleeps so long.
const TICK: Duration = Duration::from_millis(1);

pub fn run(args: &[&str]) -> Result<(), Box<dyn Error>> {
    let [
        server,
        seconds,
        per_s,
        seed,
        name,
        rtype,
        len_max,
        senders @ ..,
    ] = args
    else {
        return Err("wrong number of arguments".into());
    };
    let server: Ipv4Addr = server.parse()?;
    let time = Duration::from_secs_f64(seconds.parse::<f64>()?.clamp(0.0, SECONDS_MAX));
    let per_s: f64 = per_s.parse()?;
    let mut random = Random::new(seed.parse()?);
    let senders = Senders::parse(senders)?;
    let (message, places) = query(name, rtype.parse()?, len_max.parse()?)?;
    let places: Vec<usize> = places
        .iter()
        .map(|place| place + IP_LEN + UDP_LEN)
        .collect();
    let mut packets = vec![packet(server, &message); BATCH];
    let socket = Raw::new(server)?;
    let begun = Instant::now();
    let (mut sent, mut lost) = (0_u64, 0_u64);
    while begun.elapsed() < time {
        let owed = match per_s > 0.0 {
            true => {
                (begun.elapsed().as_secs_f64() * per_s) as u64
                    - sent.min((begun.elapsed().as_secs_f64() * per_s) as u64)
            }
            false => BATCH as u64,
        };
        if owed == 0 {
            thread::sleep(TICK);
            continue;
        }
        let count = BATCH.min(owed as usize);
        for packet in &mut packets[..count] {
            address(packet, senders.draw(&mut random), &mut random);
            fill(packet, &places, &mut random);
        }
        let gone = socket.send(&mut packets[..count])?;
        sent += count as u64;
        lost += (count - gone) as u64;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{{\"sent\": {}, \"not_sent\": {lost}, \"seconds\": {seconds:.3}, \"octets\": {}}}",
        sent - lost,
        (sent - lost) * packets[0].len() as u64
    );
    Ok(())
}

/// An IPv4 packet without sender (RFC 791 section 3.1; the kernel fills in the sum) around a datagram without a checksum (RFC 768).
fn packet(server: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let whole = (IP_LEN + UDP_LEN + message.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(whole.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 0, 0, 0, 0]);
    packet.extend(server.octets());
    packet.extend([0, 0, 0, 53]);
    packet.extend((whole - IP_LEN as u16).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(message);
    packet
}

/// Puts in a sender, its port and the message's ID.
fn address(packet: &mut [u8], sender: Ipv4Addr, random: &mut Random) {
    let bits = random.next();
    packet[12..16].copy_from_slice(&sender.octets());
    let port = 1024 + (bits % 64_000) as u16;
    packet[IP_LEN..IP_LEN + 2].copy_from_slice(&port.to_be_bytes());
    let id = IP_LEN + UDP_LEN;
    packet[id..id + 2].copy_from_slice(&((bits >> 40) as u16).to_be_bytes());
}

/// A socket for packets with headers of their own.
struct Raw {
    descriptor: libc::c_int,
    to: libc::sockaddr_in,
}

impl Raw {
    fn new(server: Ipv4Addr) -> io::Result<Raw> {
        // SAFETY: takes no pointers.
        let descriptor = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all zeroes are a valid sockaddr_in.
        let mut to: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        to.sin_family = libc::AF_INET as libc::sa_family_t;
        to.sin_addr.s_addr = u32::from_ne_bytes(server.octets());
        Ok(Raw { descriptor, to })
    }

    /// Sends them; how many were taken.
    fn send(&self, packets: &mut [Vec<u8>]) -> io::Result<usize> {
        let mut to = self.to;
        let mut parts: Vec<libc::iovec> = packets
            .iter_mut()
            .map(|packet| libc::iovec {
                iov_base: packet.as_mut_ptr().cast(),
                iov_len: packet.len(),
            })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = parts
            .iter_mut()
            .map(|part| {
                // SAFETY: all zeroes are a valid mmsghdr.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_name = (&raw mut to).cast();
                message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        // SAFETY: every pointer in `messages` is to something that outlives the call, with its length.
        let taken = unsafe {
            libc::sendmmsg(
                self.descriptor,
                messages.as_mut_ptr(),
                messages.len() as libc::c_uint,
                0,
            )
        };
        match taken {
            0.. => Ok(taken as usize),
            _ => match io::Error::last_os_error() {
                full if matches!(
                    full.raw_os_error(),
                    Some(libc::ENOBUFS | libc::EAGAIN | libc::EINTR)
                ) =>
                {
                    Ok(0)
                }
                error => Err(error),
            },
        }
    }
}
