//! One question and its answer over UDP.
//!
//! What does not match is counted and ignored while the wait goes on (RFC 5452 section 9.1): the first
//! packet that arrives may be a forgery, and the honest one still be under way. A few such packets on
//! a port that one question has for itself can only be an attempt at guessing, so after
//! [`STRAYS_MAX`] of them the question is given up over UDP and goes over TCP. So it does when all agrees
//! but the case of the name, or an expected cookie: a forgery and a changed server look alike here.
//!
//! What comes from another address or port is dropped by the kernel, for the socket is connected: nothing
//! about our ports is to be learned from ICMP (CVE-2020-25705), and strangers cannot use up our patience. The kernel
//! counts it (`unclaimed`).

use std::io;
use std::mem::MaybeUninit;
use std::net::UdpSocket;

use rand::RngExt;
use rand::rngs::StdRng;
use socket2::SockRef;

use super::lines::Line;
use super::net::NetUpstream;
use super::socket::{RECEIVES, classify};
use super::wire::{Received, Sent};
use super::{Ask, Doubt, ExchangeError, Reply, Transport};

/// Packets that do not match before an exchange is given up. A forger who hits the port has a chance
/// of this many in 65,536 for the ID, before case and cookie are guessed.
const STRAYS_MAX: usize = 5;
/// The longest answer that is read, octets; no more than that is ever advertised
/// (`resolver.edns_buffer`).
const REPLY_LEN_MAX: usize = 4096;

const _: () = assert!(crate::config::UDP_SIZE_MAX_BYTES as usize <= REPLY_LEN_MAX);

impl NetUpstream {
    /// Sends the question over `line` and waits for its answer, for ever if none comes.
    pub(super) async fn exchange_udp(
        &self,
        ask: &Ask,
        line: Line,
        rng: &mut StdRng,
    ) -> Result<Reply, ExchangeError> {
        let shared = &self.shared;
        let pair = (ask.server, line.local.ip());
        let start = shared.clock.now().mono;
        let cookie = (ask.cookie).then(|| shared.cookies().offer(pair, start, rng));
        let sent = Sent::new(ask, rng.random(), cookie.as_deref(), rng);
        let sending = line.socket.get_ref().send(&sent.packet);
        sending.map_err(|e| classify(&e))?;
        shared.metrics.upstream_sent_total.inc();
        let asked = shared.asked(ask, line.local, &sent.packet);
        for received in 0..STRAYS_MAX {
            let read = line.socket.async_io(RECEIVES, |s| receive(s, ask)).await;
            match read.map(|bytes| shared.read(&sent, asked.as_ref(), bytes)) {
                Ok(Received::Answer(answer)) => {
                    // Both make it doubtful, and then nothing is learned from it.
                    if answer.folded {
                        return Err(ExchangeError::Doubtful(Doubt::CaseChanged));
                    }
                    if shared.cookies().note(pair, answer.cookie, Transport::Udp) {
                        return Err(ExchangeError::Doubtful(Doubt::CookieMissing));
                    }
                    let now = shared.clock.now().mono;
                    if received == 0 {
                        shared.lines.put(line, now);
                    }
                    return Ok(Reply {
                        message: *answer.message,
                        rtt: now.saturating_sub(start),
                        folded: false,
                    });
                }
                Ok(Received::Malformed(error)) => return Err(ExchangeError::Malformed(error)),
                Ok(Received::Stray(stray)) => shared.count_stray(stray),
                Err(error) => match classify(&error) {
                    // Short of memory for a moment, or a router that wants smaller packets.
                    ExchangeError::Local(_) | ExchangeError::Limit(_) => {}
                    other => return Err(other),
                },
            }
        }
        tracing::debug!(server = %ask.server, question = %ask.question, "given up over UDP: too many mismatched replies");
        Err(ExchangeError::Doubtful(Doubt::Strays))
    }
}

/// One datagram. What came from another address (between bind and connect) is read as empty, and so
/// matches nothing.
fn receive(socket: &UdpSocket, ask: &Ask) -> io::Result<Vec<u8>> {
    // Not cleared: most answers are far shorter.
    let mut buffer = [const { MaybeUninit::uninit() }; REPLY_LEN_MAX];
    let (len, from) = SockRef::from(socket).recv_from(&mut buffer)?;
    let from = from.as_socket();
    let ours = from.is_some_and(|f| f.ip() == ask.server.ip() && f.port() == ask.server.port());
    let bytes = buffer.get(..len).filter(|_| ours).unwrap_or_default();
    // SAFETY: the kernel has written the first `len` octets.
    Ok(unsafe { bytes.assume_init_ref() }.to_vec())
}
