//! One receive queue of an interface: a door like a UDP socket, but that frames come and go.
//!
//! Failure: a frame that is wrong, from an address that cannot ask or for one that is not served, is dropped and counted. An interface that goes away shuts the door.

use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;

use super::frame::{self, Fault};
use super::places::Places;
use super::site::Site;
use super::socket::{Frame, Socket};
use crate::listen::datagram::{Answers, BATCH_MAX, Local, Route, Unsent};
use crate::listen::udp::{Door, Outbox, is_pause};
use crate::metrics::REASONS;

/// How often it is looked again before the thread sleeps, where the last look found several: about as long as a UDP socket's thread looks.
const SPINS_MAX: u32 = 64;
/// What the kernel has lost is asked for when nothing comes, and after so many turns.
const LOST_LOOK_TURNS: u32 = 4096;

/// A receive queue.
pub struct Queue {
    socket: Socket,
    site: Arc<Site>,
    batch: Vec<Frame>,
    came: Vec<Came>,
    was_busy: bool,
    patience: Duration,
    ids: Ids,
    turns: u32,
    lost: u64,
}

/// A question.
struct Came {
    frame: Frame,
    data: Range<usize>,
    route: Route,
    /// Which of the addresses that are listened on.
    listener: usize,
    /// How long its frame is as an answer.
    answer_len: Option<usize>,
}

/// Why a frame is dropped: the places in [`REASONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    Malformed,
    IpChecksum,
    UdpChecksum,
    Source,
    Destination,
    Overrun,
}

impl From<Fault> for Dropped {
    fn from(fault: Fault) -> Dropped {
        match fault {
            Fault::Form => Dropped::Malformed,
            Fault::IpChecksum => Dropped::IpChecksum,
            Fault::UdpChecksum => Dropped::UdpChecksum,
            Fault::Source => Dropped::Source,
        }
    }
}

impl Queue {
    /// At an interface's socket.
    pub fn new(socket: Socket, site: Arc<Site>) -> Queue {
        Queue {
            socket,
            site,
            batch: Vec::with_capacity(BATCH_MAX),
            came: Vec::with_capacity(BATCH_MAX),
            was_busy: false,
            patience: Duration::ZERO,
            ids: Ids::new(),
            turns: 0,
            lost: 0,
        }
    }

    fn count_lost(&mut self) {
        let lost = self.socket.lost();
        let dropped = &self.site.counts.dropped_total[Dropped::Overrun as usize];
        dropped.add(lost.saturating_sub(self.lost));
        self.lost = lost;
    }
}

impl Door for Queue {
    fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    fn receive(&mut self) -> io::Result<()> {
        let is_busy = std::mem::replace(&mut self.was_busy, false);
        for _ in 0..if is_busy { SPINS_MAX } else { 0 } {
            if self.socket.has_more() {
                break;
            }
            std::hint::spin_loop();
        }
        if !self.socket.has_more()
            && let Err(error) = self.socket.wait(self.patience)
        {
            self.count_lost();
            return Err(error);
        }
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(LOST_LOOK_TURNS) {
            self.count_lost();
        }
        self.was_busy = self.socket.take(BATCH_MAX as u32, &mut self.batch) > 1;
        let places = self.site.places.load();
        let mut dropped = [0; REASONS.len()];
        for frame in self.batch.drain(..) {
            let packet = self.socket.packet(&frame);
            match admit(packet, &places, &self.site) {
                Ok((data, route, listener)) => self.came.push(Came {
                    frame,
                    data,
                    route,
                    listener,
                    answer_len: None,
                }),
                Err(reason) => {
                    dropped[reason as usize] += 1;
                    self.socket.release(frame);
                }
            }
        }
        self.site.counts.received_total.add(self.came.len() as u64);
        for (metric, count) in self.site.counts.dropped_total.iter().zip(dropped) {
            if count > 0 {
                metric.add(count);
            }
        }
        Ok(())
    }

    fn datagrams(&self) -> impl Iterator<Item = (usize, &[u8], &Route)> {
        self.came.iter().enumerate().filter_map(|(number, came)| {
            let packet = self.socket.packet(&came.frame);
            Some((number, packet.get(came.data.clone())?, &came.route))
        })
    }

    fn outbox(&self, number: usize) -> Option<Arc<Outbox>> {
        self.site.counts.passed_on_total.inc();
        let listener = self.came.get(number)?.listener;
        let (_, outbox) = self.site.behind.listeners.get(listener)?;
        Some(outbox.clone())
    }

    fn send(&mut self, answers: &Answers) -> Unsent {
        let mtu = self.site.mtu.load(Ordering::Relaxed);
        let mut answered = 0;
        let mut unsent = Unsent::default();
        for (answer, number) in answers.iter() {
            let Some(came) = self.came.get_mut(number) else {
                continue;
            };
            let room = self.socket.room(&mut came.frame);
            came.answer_len = frame::answer(room, came.data.start, answer, mtu, self.ids.next());
            match came.answer_len {
                Some(_) => answered += 1,
                // Too long for one packet of this interface: the kernel makes several.
                None => {
                    let route = came.route;
                    if let Some(outbox) = self.outbox(number) {
                        unsent += outbox.send_now(answer, route);
                    }
                }
            }
        }
        self.site.counts.answered_total.add(answered);
        for came in self.came.drain(..) {
            match came.answer_len {
                Some(len) => self.socket.send(came.frame, len),
                None => self.socket.release(came.frame),
            }
        }
        self.socket.flush();
        unsent
    }

    fn is_shut(&self, error: &io::Error) -> bool {
        let is_shut = !is_pause(error);
        if is_shut {
            self.site.is_gone(error);
        }
        is_shut
    }
}

/// Reads a frame, and looks whether it may ask here.
fn admit(
    packet: &[u8],
    places: &Places,
    site: &Site,
) -> Result<(Range<usize>, Route, usize), Dropped> {
    let found = frame::read(packet)?;
    if places.is_own(found.client.ip()) {
        return Err(Dropped::Source);
    }
    let listener = places.listener(found.local).ok_or(Dropped::Destination)?;
    let listen = site
        .behind
        .listeners
        .get(listener)
        .ok_or(Dropped::Destination)?
        .0;
    let client = match found.client {
        // Such an address means something on one link alone.
        SocketAddr::V6(client) if client.ip().is_unicast_link_local() => {
            SocketAddrV6::new(*client.ip(), client.port(), 0, site.index).into()
        }
        client => client,
    };
    let is_one_of_all = listen.ip().is_unspecified();
    let local = is_one_of_all.then(|| Local::new(found.local.ip()));
    Ok((found.data, Route { client, local }, listener))
}

/// Numbers of IPv4 packets: they do not repeat soon, and nobody can guess the next one (RFC 7739 has why).
struct Ids(u64);

impl Ids {
    fn new() -> Ids {
        // Without randomness they are guessable, and nothing worse.
        Ids(SysRng.try_next_u64().unwrap_or(0) | 1)
    }

    /// xorshift64*, of which the upper bits are used.
    fn next(&mut self) -> u16 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 48) as u16
    }
}
