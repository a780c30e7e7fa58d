//! The one loop that sends what the queue says, and hears the answers.
//!
//! Where a key signs what is told, only an answer that it signs is heard (RFC 8945 section 5.4); after any other the next try counts.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::queue::{Queue, Send};
use super::{NEWS_WAITING_MAX, News, Notifier};
use crate::clock::Clock;
use crate::dns::tsig::{Keyring, Verifier, sign_request};
use crate::dns::{Message, Name};
use crate::metrics::Metrics;

/// An answer is a header and a question; more is not read.
const ANSWER_BYTES_MAX: usize = 4096;
/// Octets that every path takes.
const MESSAGE_BYTES_MAX: usize = 1232;

/// What the loop needs.
pub struct Deps {
    /// The clock.
    pub clock: Clock,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The keys that `notify` names.
    pub keys: Keyring,
    /// Source addresses (`resolver.outgoing`): the first of each family, else the kernel's choice.
    pub outgoing: Vec<IpAddr>,
    /// Seed of the identifiers, that nobody can guess.
    pub seed: u64,
}

/// Starts the loop; it ends when every [`Notifier`] is dropped. Must be called within a tokio runtime.
pub fn start(deps: Deps) -> Notifier {
    let (news, received) = mpsc::channel(NEWS_WAITING_MAX);
    tokio::spawn(run(received, deps));
    Notifier(news)
}

async fn run(mut news: mpsc::Receiver<News>, deps: Deps) {
    let mut queue = Queue::default();
    let mut rng = SmallRng::seed_from_u64(deps.seed);
    // Nothing is opened before there is something to tell.
    let mut sockets = Sockets::default();
    let mut verifiers = Verifiers::new();
    loop {
        let now = deps.clock.now().mono;
        let turn = queue.turn(now, || rng.random());
        for (zone, address) in &turn.given_up {
            deps.metrics.notify_out_failed_total.inc();
            verifiers.remove(&(zone.clone(), *address));
            tracing::warn!(%zone, %address, "a secondary does not answer NOTIFY; it learns of the new version by its own timers");
        }
        for send in &turn.sends {
            deps.metrics.notify_out_sent_total.inc();
            let wire = encode(send, &mut verifiers, &deps);
            if let Err(error) = sockets.send(&wire, send.target.addr, &deps.outgoing).await {
                tracing::debug!(address = %send.target.addr, %error, "NOTIFY could not be sent");
            }
        }
        let due = queue.wake_at().map(|at| deps.clock.instant(at));
        tokio::select! {
            piece = news.recv() => match piece {
                None => return,
                Some(News { soa, targets }) => {
                    for target in targets {
                        if !queue.tell(target, soa.clone(), deps.clock.now().mono) {
                            deps.metrics.notify_out_failed_total.inc();
                        }
                    }
                }
            },
            (from, answer) = sockets.receive() => {
                hear(&mut queue, &mut verifiers, from, &answer, &deps);
            }
            () = sleep_until(due) => {}
        }
    }
}

/// Sleeps until then; for ever where nothing is due.
async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What checks the answer to a signed message, by zone and address.
type Verifiers = HashMap<(Name, SocketAddr), Verifier>;

/// The message in wire form, signed if there is a key for it.
fn encode(send: &Send, verifiers: &mut Verifiers, deps: &Deps) -> Vec<u8> {
    let key = (send.target.tsig.as_ref()).and_then(|name| deps.keys.find(name));
    let room = key.as_ref().map_or(0, |key| key.record_len());
    let mut wire = send.message.encode(MESSAGE_BYTES_MAX - room);
    if let (Some(key), Some(question)) = (key, &send.message.question) {
        let verifier = sign_request(&key, &mut wire, deps.clock.now().wall_s);
        verifiers.insert((question.name.clone(), send.target.addr), verifier);
    }
    wire
}

fn hear(queue: &mut Queue, verifiers: &mut Verifiers, from: SocketAddr, wire: &[u8], deps: &Deps) {
    let Ok(answer) = Message::parse(wire) else {
        return;
    };
    if !queue.expects(from, &answer) {
        return;
    }
    let Some(question) = &answer.question else {
        return;
    };
    if queue.is_signed(&question.name, from) {
        let verifier = verifiers.remove(&(question.name.clone(), from));
        let now_s = deps.clock.now().wall_s;
        match verifier.map(|mut verifier| verifier.take(wire, now_s)) {
            Some(Ok(())) => {}
            Some(Err(fault)) => {
                tracing::warn!(zone = %question.name, %from, "a secondary's answer to NOTIFY does not count: {fault}");
                return;
            }
            // An answer to this try has been looked at already.
            None => return,
        }
    }
    deps.metrics.notify_out_answered_total.inc();
    let (zone, rcode) = (&question.name, answer.rcode);
    match rcode.is_answer() {
        true => tracing::debug!(%zone, %from, "a secondary has been told of a new version"),
        false => {
            tracing::warn!(%zone, %from, %rcode, "a secondary wants no NOTIFY from here; does it know this server as its primary?");
        }
    }
    queue.told(zone, from);
}

/// A socket for each family, once it is needed.
#[derive(Default)]
struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Sockets {
    async fn send(
        &mut self,
        message: &[u8],
        to: SocketAddr,
        outgoing: &[IpAddr],
    ) -> io::Result<()> {
        let place = match to.is_ipv4() {
            true => &mut self.v4,
            false => &mut self.v6,
        };
        let socket = match place {
            Some(socket) => socket,
            None => {
                let any = match to.is_ipv4() {
                    true => IpAddr::from(Ipv4Addr::UNSPECIFIED),
                    false => IpAddr::from(Ipv6Addr::UNSPECIFIED),
                };
                let same_family = |ip: &&IpAddr| ip.is_ipv4() == to.is_ipv4();
                let source = outgoing.iter().find(same_family).copied();
                place.insert(UdpSocket::bind((source.unwrap_or(any), 0)).await?)
            }
        };
        socket.send_to(message, to).await.map(|_| ())
    }

    /// Whatever comes next; waits for ever where no socket is open.
    async fn receive(&self) -> (SocketAddr, Vec<u8>) {
        tokio::select! {
            got = receive(self.v4.as_ref()) => got,
            got = receive(self.v6.as_ref()) => got,
        }
    }
}

async fn receive(socket: Option<&UdpSocket>) -> (SocketAddr, Vec<u8>) {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                buffer.truncate(length);
                return (from, buffer);
            }
            // What the network says about an earlier message concerns one address.
            Err(error) => {
                tracing::debug!(%error, "the socket of NOTIFY reports an error");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
