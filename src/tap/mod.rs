//! What passes through, for who looks on from outside: the query log (`[log] queries`) and dnstap (`[dnstap]`).
//!
//! Both are off unless they are asked for. A [`Tap`] is what the pipeline and the way upstream tell ([`crate::query::watch`],
//! [`crate::upstream::Watch`]). What it is told is copied and left in a bounded queue (`queue`), and a thread of each kind writes it out: to a
//! file (`log_file`, its lines: `line`), to a collector behind a unix socket (`collector`, `frames`, its messages: `dnstap`).
//!
//! Failure: answering comes first. Where the file or the collector is slow, full or gone, what finds no place in the queue is dropped and
//! counted (`query_log_dropped_total`, `dnstap_dropped_total`), and that it begins is said in the log. Nobody waits for either.

mod collector;
pub mod dnstap;
pub mod frames;
mod line;
mod log_file;
mod queue;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Config, Dnstap};
use crate::metrics::Metrics;
use crate::query::watch::Seen;
use crate::query::{self, Client, Transport};
use crate::upstream::{self, Ask, Asked};
use dnstap::{Kind, Message, Protocol, Sender};
use queue::{Door, Worker};

/// How long the end waits for what is in the queues.
const STOP_TIME_MAX: Duration = Duration::from_millis(300);

/// Whoever wants to know, and how they are told.
pub struct Tap {
    clock: Clock,
    metrics: Arc<Metrics>,
    dnstap: Option<Outlet<Vec<u8>>>,
    about: Dnstap,
    sender: Sender,
    queries: Option<Outlet<line::Event>>,
}

/// A queue, and the thread that empties it.
struct Outlet<T> {
    door: Door<T>,
    worker: Worker,
}

impl Tap {
    /// Starts what the configuration asks for; `None` if that is nothing. `name` is what this server is called where
    /// `dnstap.identity` says nothing.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn start(
        config: &Config,
        name: &str,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> io::Result<Option<Tap>> {
        let about = config.dnstap.clone();
        let mut dnstap = None;
        if let Some(socket) = about.socket.clone() {
            let (door, inbox) = queue::bounded();
            let told = metrics.clone();
            let worker = Worker::start("dnstap", move |stop| {
                collector::run(&socket, &inbox, stop, &told);
            })?;
            dnstap = Some(Outlet { door, worker });
        }
        let mut queries = None;
        if let Some(sink) = config.log.queries.clone() {
            let (door, inbox) = queue::bounded();
            let told = metrics.clone();
            let (format, bytes_max) = (config.log.format, config.log.queries_bytes_max);
            let worker = Worker::start("query-log", move |stop| {
                log_file::run(sink, bytes_max, format, &inbox, stop, &told);
            })?;
            queries = Some(Outlet { door, worker });
        }
        if dnstap.is_none() && queries.is_none() {
            return Ok(None);
        }
        let or = |text: &str, default: &str| match text {
            "" => default.to_owned(),
            text => text.to_owned(),
        };
        let version = concat!("holdfast ", env!("CARGO_PKG_VERSION"));
        let sender = Sender {
            identity: or(&about.identity, name).into_bytes(),
            version: or(&about.version, version).into_bytes(),
        };
        Ok(Some(Tap {
            clock,
            metrics,
            dnstap,
            about,
            sender,
            queries,
        }))
    }

    /// Whether questions to other servers are wanted, too.
    pub fn wants_upstream(&self) -> bool {
        self.dnstap.is_some() && self.about.resolver
    }

    /// Has the threads write out what is in the queues and end, as far as that takes no time; to be called when no more comes.
    pub fn stop(&self) {
        let workers = [
            self.dnstap.as_ref().map(|outlet| &outlet.worker),
            self.queries.as_ref().map(|outlet| &outlet.worker),
        ];
        for worker in workers.iter().flatten() {
            worker.prepare_stop();
        }
        for worker in workers.iter().flatten() {
            worker.wait(STOP_TIME_MAX);
        }
    }

    fn send(&self, message: &Message<'_>) {
        let Some(outlet) = &self.dnstap else {
            return;
        };
        let frame = self.sender.frame(message);
        let len = frame.len();
        if !outlet.door.put(frame, len) {
            self.metrics.dnstap_dropped_total.inc();
        }
    }
}

impl query::watch::Watch for Tap {
    fn query(&self, query: &[u8], client: &Client) -> Seen {
        let seen = Seen {
            query: query.to_vec(),
            client: client.clone(),
            at: self.clock.now().mono,
            wall: self.clock.wall(),
        };
        if self.about.client {
            self.send(&Message {
                asked_at: Some(seen.wall),
                query: Some(query),
                ..Message::new(Kind::ClientQuery, protocol(client.transport), client.addr)
            });
        }
        seen
    }

    fn answer(&self, seen: Seen, answer: Option<&[u8]>) {
        if let Some(answer) = answer.filter(|_| self.about.client) {
            let protocol = protocol(seen.client.transport);
            self.send(&Message {
                asked_at: Some(seen.wall),
                answered_at: Some(self.clock.wall()),
                response: Some(answer),
                ..Message::new(Kind::ClientResponse, protocol, seen.client.addr)
            });
        }
        if let Some(outlet) = &self.queries {
            let took = self.clock.now().mono.saturating_sub(seen.at);
            let event = line::Event::new(seen, answer, took);
            let len = event.len();
            if !outlet.door.put(event, len) {
                self.metrics.query_log_dropped_total.inc();
            }
        }
    }
}

impl upstream::Watch for Tap {
    fn asked(&self, ask: &Ask, local: SocketAddr, query: &[u8]) -> Asked {
        let asked = Asked {
            zone: ask.zone.clone(),
            server: ask.server,
            local,
            transport: ask.transport,
            // Only who resolves for us is asked to recurse.
            forwarder: ask.recursion_desired,
            wall: self.clock.wall(),
        };
        let kind = match asked.forwarder {
            true => Kind::ForwarderQuery,
            false => Kind::ResolverQuery,
        };
        self.send(&Message {
            query: Some(query),
            ..upstream_message(kind, &asked)
        });
        asked
    }

    fn answered(&self, asked: &Asked, answer: &[u8]) {
        let kind = match asked.forwarder {
            true => Kind::ForwarderResponse,
            false => Kind::ResolverResponse,
        };
        self.send(&Message {
            answered_at: Some(self.clock.wall()),
            response: Some(answer),
            ..upstream_message(kind, asked)
        });
    }
}

/// What a question upstream and its answer have in common.
fn upstream_message(kind: Kind, asked: &Asked) -> Message<'_> {
    let protocol = match asked.transport {
        upstream::Transport::Udp => Protocol::Udp,
        upstream::Transport::Tcp => Protocol::Tcp,
    };
    Message {
        responder: Some(asked.server),
        zone: Some(asked.zone.wire()),
        asked_at: Some(asked.wall),
        ..Message::new(kind, protocol, asked.local)
    }
}

fn protocol(transport: Transport) -> Protocol {
    match transport {
        Transport::Udp => Protocol::Udp,
        Transport::Tcp => Protocol::Tcp,
        Transport::Tls { .. } => Protocol::Dot,
        Transport::Https => Protocol::Doh,
        Transport::Quic => Protocol::Doq,
    }
}
