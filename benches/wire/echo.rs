//! The limit: what the kernel's UDP path leaves to a server that does nothing.
//!
//! The system calls are those of `src/listen/datagram.rs` (recvmmsg that waits for one, sendmmsg, IP_PKTINFO on a wildcard address, a thread and a
//! SO_REUSEPORT socket each), the answer is as long as the server's to be compared. Its first octets are the query's number and QR.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};

use crate::option;
use crate::sockets::{Batch, Replies, udp};

/// Enough for any question; as little as possible is copied.
const QUERY_LEN_MAX: usize = 512;
const HEADER_LEN: usize = 12;

pub fn run(at: &str, size: &str, options: &[&str]) -> io::Result<()> {
    let at: SocketAddrV4 = at.parse().map_err(io::Error::other)?;
    let size: usize = size.parse().map_err(io::Error::other)?;
    let threads = option(options, "threads", 1)?;
    let batch = option(options, "batch", 32)?;
    let sockets: Vec<_> = (0..threads).map(|_| udp(at)).collect::<io::Result<_>>()?;
    std::thread::scope(|scope| {
        for socket in sockets {
            scope.spawn(move || {
                serve(
                    &socket,
                    size.max(HEADER_LEN),
                    batch,
                    at.ip().is_unspecified(),
                )
            });
        }
    });
    Ok(())
}

fn serve(socket: &UdpSocket, size: usize, batch: usize, local: bool) {
    let mut queries = Batch::new(batch, QUERY_LEN_MAX, true);
    let mut replies = Replies::new(batch, size);
    let mut count = batch;
    loop {
        queries.reset(count, local);
        // An error is of one client; the next call has what else is there.
        count = queries.receive(socket, true).unwrap_or(0);
        for index in 0..count {
            let (query, _) = queries.datagram(index);
            let reply = replies.reply(index);
            if let [a, b, flags, ..] = *query {
                reply[..3].copy_from_slice(&[a, b, flags | 0x80]);
            }
        }
        queries.answer(socket, &mut replies, count);
    }
}
