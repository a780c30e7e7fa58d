//! Queries over TCP (RFC 7766), and over TLS (RFC 7858), which is TCP after a handshake (`tls`). What follows the handshake may be HTTP
//! instead (`https`), and QUIC has a door beside (`quic`); all share the places for connections.
//!
//! A task per connection (`conversation`) reads length-prefixed messages and writes the pipeline's answers as they come. The messages of
//! a zone transfer are made no faster than the client reads them; one that reads too slowly is disconnected.
//!
//! Why no ready-made listener: connections are what a stranger can hold without sending anything. Each is a
//! file descriptor, of which a process has few, and the same ones are needed to ask other servers. So their number is
//! bounded, in all and per client network, and a connection must bring a whole query in time; when half of all
//! places are taken that time gets short for who has asked nothing yet, and when all are, those at which nothing is under way are given to newcomers (`places`). Clients that ask for it are told how long (RFC 7828).
//!
//! How many connections are taken is another limit: where more are opened, the kernel lets in a share of each network (`crowd`).
//!
//! Failure: who finds no place, for at all of them something is under way, is disconnected at once. Out of file descriptors, the listener pauses and goes on.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::conversation::{Common, Conversation, PARALLEL_MAX};
use super::crowd::{self, Crowd, turn_away};
use super::https;
use super::proxy::Proxies;
use super::quic::QuicDoor;
use super::tls::{Speech, TlsDoor};
use crate::config::Limits;
use crate::metrics::Metrics;
use crate::places::{Place, Places, network};
use crate::query::{Client, Pipeline, Transport};

/// A connection is closed after this time without a whole query (RFC 7766 section 6.2.3), in seconds.
const IDLE_TIMEOUT_S: u64 = 10;
/// The same for who has asked nothing yet, while half of the places are taken, in seconds.
const IDLE_TIMEOUT_CROWDED_S: u64 = 2;
/// A client that does not read its answer is disconnected after this time, in seconds.
pub(super) const WRITE_TIMEOUT_S: u64 = 5;
/// A client must take each message of a zone transfer within this time, in seconds: 64 KiB of it, at least 2 KiB/s.
pub(super) const TRANSFER_MESSAGE_TIME_MAX_S: u64 = 30;
/// Longest time for a whole transfer to a client, in seconds.
pub(super) const TRANSFER_TIME_MAX_S: u64 = 3600;
/// Pause after a failed accept, in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 50;

/// The running stream listeners.
pub struct Streams {
    stop: watch::Sender<bool>,
    /// Ends when the last task has dropped its side.
    done: mpsc::Receiver<()>,
}

impl Streams {
    /// Serves the listeners. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// A listener cannot be handed to the runtime.
    pub fn start(
        listeners: Vec<TcpListener>,
        encrypted: Option<Encrypted>,
        proxies: Proxies,
        pipeline: Arc<Pipeline>,
        metrics: Arc<Metrics>,
        limits: &Limits,
    ) -> io::Result<Streams> {
        let bound = |limit: u32| {
            if limit == 0 {
                usize::MAX
            } else {
                limit as usize
            }
        };
        // Asking other servers takes files too.
        let affordable = (super::open_files_max() / 4).max(1);
        let places = bound(limits.tcp_connections_max).min(affordable);
        let per_prefix = bound(limits.tcp_connections_per_prefix_max);
        let places = Places::new(places, per_prefix, network);
        Streams::with_places(places, listeners, encrypted, proxies, pipeline, metrics)
    }

    /// As [`Streams::start`], with other limits.
    fn with_places(
        places: Arc<Places>,
        listeners: Vec<TcpListener>,
        encrypted: Option<Encrypted>,
        proxies: Proxies,
        pipeline: Arc<Pipeline>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Streams> {
        let (stop, stopped) = watch::channel(false);
        let (alive, done) = mpsc::channel(1);
        let https = https::Shared::new(pipeline.clone(), metrics.clone());
        let common = Common {
            pipeline: pipeline.clone(),
            metrics,
            parallel: Arc::new(Semaphore::new(PARALLEL_MAX)),
            stopped: stopped.clone(),
        };
        let mut doors: Vec<_> = listeners
            .into_iter()
            .map(|listener| (listener, None))
            .collect();
        if let Some(encrypted) = encrypted {
            let tls = encrypted.door;
            let spoken = |speech| Some((tls.clone(), speech));
            doors.extend(encrypted.dot.into_iter().map(|l| (l, spoken(Speech::Dot))));
            doors.extend(encrypted.doh.into_iter().map(|l| (l, spoken(Speech::Doh))));
            for socket in encrypted.doq {
                let door = QuicDoor {
                    endpoint: super::quic::endpoint(socket, &tls)?,
                    tls: tls.clone(),
                    pipeline: pipeline.clone(),
                    places: places.clone(),
                    stopped: stopped.clone(),
                    alive: alive.clone(),
                };
                tokio::spawn(door.serve());
            }
        }
        for (listener, tls) in doors {
            let door = Door {
                listener: tokio::net::TcpListener::from_std(listener)?,
                tls,
                https: https.clone(),
                proxies: proxies.clone(),
                common: common.clone(),
                places: places.clone(),
                alive: alive.clone(),
            };
            tokio::spawn(door.serve());
        }
        Ok(Streams { stop, done })
    }

    /// Takes no more connections and queries, and gives those in work up to `grace`.
    pub async fn stop(mut self, grace: Duration) {
        let _ = self.stop.send(true);
        let _ = timeout(grace, self.done.recv()).await;
    }
}

/// Bound sockets whose clients speak TLS, and how it is spoken.
pub struct Encrypted {
    /// How.
    pub door: Arc<TlsDoor>,
    /// For DNS over TLS.
    pub dot: Vec<TcpListener>,
    /// For DNS over HTTPS.
    pub doh: Vec<TcpListener>,
    /// For DNS over QUIC.
    pub doq: Vec<UdpSocket>,
}

/// Who sends nothing is disconnected after this time (RFC 7766 section 6.2.3). Whoever `has_asked` is no silent crowd: he keeps his time, for to come
/// back through a flood of connections is what costs him most; his place goes to others only where all are taken.
pub(super) fn idle_timeout(place: &Place, has_asked: bool) -> Duration {
    Duration::from_secs(match !has_asked && place.is_crowded() {
        true => IDLE_TIMEOUT_CROWDED_S,
        false => IDLE_TIMEOUT_S,
    })
}

/// What clients are told of that. While nearly all places are taken they are asked to go once they have what they asked for (RFC 7828
/// section 3.4: a timeout of 0).
pub(super) fn promised_timeout(place: &Place) -> Duration {
    match place.is_nearly_full() {
        true => Duration::ZERO,
        false => idle_timeout(place, true),
    }
}

/// One listening socket.
struct Door {
    listener: tokio::net::TcpListener,
    tls: Option<(Arc<TlsDoor>, Speech)>,
    https: Arc<https::Shared>,
    proxies: Proxies,
    common: Common,
    places: Arc<Places>,
    alive: mpsc::Sender<()>,
}

impl Door {
    async fn serve(self) {
        let mut crowd = Crowd::new();
        let mut stopped = self.common.stopped.clone();
        loop {
            for _ in 0..crowd::TURN_MAX {
                let is_counting = crowd.is_counting();
                let accepted = tokio::select! {
                    biased;
                    _ = stopped.wait_for(|stop| *stop) => return,
                    accepted = self.listener.accept() => Some(accepted),
                    () = sleep(crowd::LOOK_INTERVAL), if is_counting => None,
                };
                match accepted {
                    Some(Ok((stream, client))) => self.begin(&mut crowd, stream, client),
                    Some(Err(error)) => {
                        tracing::debug!(%error, "a TCP connection cannot be taken");
                        sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                    }
                    None => {}
                }
                let handshakes = self.tls.as_ref().map(|(door, _)| door.crowd());
                let Common {
                    pipeline, metrics, ..
                } = &self.common;
                crowd.look(&self.listener, handshakes, pipeline, metrics);
            }
            yield_now().await;
        }
    }

    /// Serves a connection, if there is a place for it.
    fn begin(&self, crowd: &mut Crowd, stream: TcpStream, client: SocketAddr) {
        let metrics = &self.common.metrics;
        let Common { pipeline, .. } = &self.common;
        if !crowd.came(&stream, client, &self.proxies, pipeline, metrics) {
            return turn_away(stream);
        }
        let is_proxy = self.proxies.has(client);
        let place = match is_proxy {
            true => self.places.take_unnamed(),
            false => self.places.take(client.ip()),
        };
        let Some(place) = place else {
            tracing::debug!(%client, "too many TCP connections");
            metrics.connections_crowded_total.inc();
            return turn_away(stream);
        };
        let connection = Connection {
            stream,
            client: Client::new(client, Transport::Tcp),
            proxies: is_proxy.then(|| self.proxies.clone()),
            common: self.common.clone(),
            place,
        };
        let (tls, alive) = (self.tls.clone(), self.alive.clone());
        let https = self.https.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.serve(tls, https).await {
                tracing::debug!(%client, %error, "connection ends");
            }
            drop(alive);
        });
    }
}

struct Connection {
    stream: TcpStream,
    client: Client,
    /// It comes from one of these.
    proxies: Option<Proxies>,
    common: Common,
    place: Place,
}

impl Connection {
    async fn serve(
        mut self,
        tls: Option<(Arc<TlsDoor>, Speech)>,
        https: Arc<https::Shared>,
    ) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        self.place.idle();
        if let Some(proxies) = self.proxies.take() {
            let client = tokio::select! {
                entered = proxies.enter(&mut self.stream, self.client.addr) => entered?,
                _ = self.common.stopped.wait_for(|stop| *stop) => return Ok(()),
            };
            if !self.place.name(client.ip()) {
                self.common.metrics.connections_crowded_total.inc();
                return Err(io::Error::other("its client has too many connections"));
            }
            self.client = Client::new(client, Transport::Tcp);
            self.place.idle();
        }
        let Some((tls, speech)) = tls else {
            let conversation = Conversation::new(self.stream, self.client, self.common, self.place);
            return conversation.run().await;
        };
        let address = self.client.addr;
        let is_crowded = self.place.is_crowded();
        let entered = tokio::select! {
            entered = tls.enter(self.stream, address, is_crowded, speech) => entered?,
            () = self.place.left() => {
                self.common.metrics.connections_ousted_total.inc();
                return Err(io::Error::other("its place is another's"));
            }
            _ = self.common.stopped.wait_for(|stop| *stop) => return Ok(()),
        };
        let _open = entered.open;
        let (stream, client) = (entered.stream, entered.client);
        if speech == Speech::Doh {
            return https::converse(stream, client, https, &mut self.place, self.common.stopped)
                .await;
        }
        let conversation = Conversation::new(stream, client, self.common, self.place);
        conversation.run().await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::dns::message::MESSAGE_LEN_MAX;
    use crate::dns::{Message, Question, Rcode, Rtype};
    use crate::query::Settings;

    /// A listener that refuses every question, with so many places.
    fn started(places: usize) -> (SocketAddr, Streams) {
        let pipeline = Arc::new(Pipeline::new(Settings::untold(), None, Arc::default()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let places = Places::new(places, 1, network);
        let proxies = Proxies::new(Default::default(), Arc::default());
        let streams = Streams::with_places(
            places,
            vec![listener],
            None,
            proxies,
            pipeline,
            Arc::default(),
        )
        .unwrap();
        (address, streams)
    }

    async fn ask(stream: &mut TcpStream, id: u16) -> io::Result<Option<Message>> {
        let query = Message::query(id, Question::new("x.".parse().unwrap(), Rtype::A));
        let query = query.encode(MESSAGE_LEN_MAX);
        stream.write_u16(query.len() as u16).await?;
        stream.write_all(&query).await?;
        let length = match stream.read_u16().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            length => length?,
        };
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok(Some(Message::parse(&answer).unwrap()))
    }

    #[tokio::test]
    async fn silent_connections_cannot_keep_all_places() {
        let (address, streams) = started(4);
        let mut first = TcpStream::connect(address).await.unwrap();
        assert_eq!(
            ask(&mut first, 1).await.unwrap().unwrap().rcode,
            Rcode::REFUSED
        );
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        // Each newcomer finds a place: that of the connection where nothing has come for longest.
        assert_eq!(ask(&mut first, 2).await.unwrap().unwrap().id, 2);
        let mut late = Vec::new();
        for id in 3..6 {
            let mut newcomer = TcpStream::connect(address).await.unwrap();
            assert_eq!(ask(&mut newcomer, id).await.unwrap().unwrap().id, id);
            late.push(newcomer);
        }
        for silent in &mut silent {
            assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
        }
        assert_eq!(ask(&mut first, 6).await.unwrap().unwrap().id, 6);
        // Silence ends soon where half of the places are taken, but for who has asked before.
        drop(late);
        for _ in 0..3 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        tokio::time::sleep(Duration::from_secs(IDLE_TIMEOUT_CROWDED_S + 1)).await;
        for silent in &mut silent[3..] {
            assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0);
        }
        assert_eq!(ask(&mut first, 7).await.unwrap().unwrap().id, 7);
        streams.stop(Duration::from_secs(5)).await;
        assert!(TcpStream::connect(address).await.is_err());
    }
}
