//! The handshake of clients that speak TLS (RFC 7858, RFC 8484), and what it tells of them; for QUIC how it is done.
//!
//! Why here: before its end a handshake costs the server memory and signatures, and the client nothing but a connection. So it is
//! bounded in time, and so is the number of handshakes, in all and per client network; that comes on top of the places for
//! connections. Signatures are made a few at a time, and everybody else has a turn between them: a flood of handshakes costs those who shake
//! hands time, and nobody who asks. Renegotiation does not exist in TLS 1.3 and is refused in TLS 1.2, data before the end of the handshake (0-RTT) is
//! not taken. Sessions are resumed by tickets, so that nothing is kept here for clients that are gone.
//!
//! Model: [`TlsDoor`] holds the certificate in force, which a reload swaps; connections keep the one that they began with.
//! Tickets end with their certificate and authorities, so that nobody resumes what would not be granted any more.
//!
//! Failure: an error for the log, a count in `tls_handshake_failures_total`, and the connection is closed.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use arc_swap::ArcSwap;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::{Acceptor, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ProtocolVersion, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::clock::Clock;
use crate::config::ServerTls;
use crate::metrics::Metrics;
use crate::places::{Places, network};
use crate::query::{Client, Transport};
use crate::tls::{ALPN_DOH, ALPN_DOQ, ALPN_DOT, Hands, Shown};

/// A handshake that takes longer is given up, in seconds.
const HANDSHAKE_TIME_MAX_S: u64 = 5;
/// The same while half of the places for connections or handshakes are taken, in seconds.
const HANDSHAKE_TIME_CROWDED_S: u64 = 2;
/// Handshakes at once; each may hold 64 KiB that the client has sent, and some of its own.
const HANDSHAKES_MAX: usize = 512;
/// Of these, of one client /24 or /56; loopback not counted.
const HANDSHAKES_PER_PREFIX_MAX: usize = 64;

/// Signatures for handshakes, per core, between two turns of all other work: 0.2 ms each with the usual keys.
const SIGNATURES_PER_TURN: usize = 2;

/// Where clients become ones that speak TLS.
pub struct TlsDoor {
    config: ArcSwap<Configs>,
    clock: Clock,
    handshakes: Arc<Places>,
    signatures: Semaphore,
    /// Handshakes that wait for their turn.
    waiting: AtomicUsize,
    metrics: Arc<Metrics>,
}

/// What is spoken after the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// DNS with lengths before its messages (RFC 7858).
    Dot,
    /// HTTP/2 (RFC 8484).
    Doh,
}

/// How TLS is spoken, for each that follows it.
struct Configs {
    dot: Arc<ServerConfig>,
    doh: Arc<ServerConfig>,
    quic: Arc<quinn::ServerConfig>,
}

impl Configs {
    fn new(config: &ServerTls, clock: &Clock) -> io::Result<Configs> {
        let made =
            |protocol: &[u8], versions: &[_]| server_config(config, clock, protocol, versions);
        let quic = made(ALPN_DOQ, &[&TLS13])?;
        let quic = QuicServerConfig::try_from(quic).map_err(io::Error::other)?;
        let quic = quinn::ServerConfig::with_crypto(Arc::new(quic));
        Ok(Configs {
            dot: Arc::new(made(ALPN_DOT, &[&TLS13, &TLS12])?),
            doh: Arc::new(made(ALPN_DOH, &[&TLS13, &TLS12])?),
            quic: Arc::new(super::quic::bounded(quic)),
        })
    }
}

/// A client whose handshake is done.
pub struct Entered<S> {
    /// Its connection.
    pub stream: TlsStream<S>,
    /// Who it is.
    pub client: Client,
    /// To be kept for as long as the connection.
    pub open: Open,
}

/// Counts an open connection while it is there.
pub struct Open(Arc<Metrics>);

impl Open {
    fn new(metrics: Arc<Metrics>) -> Open {
        metrics.tls_connections.step(false, true);
        Open(metrics)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.tls_connections.step(true, false);
    }
}

impl TlsDoor {
    /// Shows the certificate of `[server.tls]`.
    ///
    /// # Errors
    /// TLS cannot be spoken with it.
    pub fn new(config: &ServerTls, clock: &Clock, metrics: Arc<Metrics>) -> io::Result<TlsDoor> {
        Ok(TlsDoor {
            config: ArcSwap::from_pointee(Configs::new(config, clock)?),
            clock: clock.clone(),
            handshakes: Places::new(HANDSHAKES_MAX, HANDSHAKES_PER_PREFIX_MAX, network),
            signatures: Semaphore::new(
                SIGNATURES_PER_TURN * available_parallelism().map_or(1, |n| n.get()),
            ),
            waiting: AtomicUsize::new(0),
            metrics,
        })
    }

    /// Shows another certificate from now on.
    ///
    /// # Errors
    /// TLS cannot be spoken with it; the one before stays.
    pub fn show(&self, config: &ServerTls) -> io::Result<()> {
        self.config
            .store(Arc::new(Configs::new(config, &self.clock)?));
        Ok(())
    }

    /// How it is spoken to a client that comes over QUIC now.
    pub fn quic(&self) -> Arc<quinn::ServerConfig> {
        self.config.load().quic.clone()
    }

    /// Handshakes that wait to be computed, and how many may.
    pub fn crowd(&self) -> (usize, usize) {
        (self.waiting.load(Ordering::Relaxed), HANDSHAKES_MAX)
    }

    /// Where clients and their failures are counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Does the handshake. `crowded`: there are better uses for the connection's place.
    ///
    /// # Errors
    /// It comes to nothing.
    pub async fn enter<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        address: SocketAddr,
        crowded: bool,
        speech: Speech,
    ) -> io::Result<Entered<S>> {
        let entered = self.shake_hands(stream, address, crowded, speech).await;
        match &entered {
            Ok(_) => self.metrics.tls_connections_total.inc(),
            Err(_) => self.metrics.tls_handshake_failures_total.inc(),
        }
        entered
    }

    async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        address: SocketAddr,
        crowded: bool,
        speech: Speech,
    ) -> io::Result<Entered<S>> {
        let Some(mut place) = self.handshakes.take(address.ip()) else {
            return Err(io::Error::other("too many handshakes at once"));
        };
        // Who is slow makes way for whoever comes.
        place.idle();
        let patience = Duration::from_secs(match crowded || place.is_crowded() {
            true => HANDSHAKE_TIME_CROWDED_S,
            false => HANDSHAKE_TIME_MAX_S,
        });
        let config = match speech {
            Speech::Dot => self.config.load().dot.clone(),
            Speech::Doh => self.config.load().doh.clone(),
        };
        let stream = tokio::select! {
            stream = timeout(patience, self.accept(stream, config)) => stream??,
            () = place.left() => return Err(io::Error::other("too many handshakes at once")),
        };
        // RFC 8484 section 5.2 recommends no less than HTTP/2, and RFC 9113 section 3.2 wants it agreed upon.
        if speech == Speech::Doh && stream.get_ref().1.alpn_protocol() != Some(ALPN_DOH) {
            return Err(io::Error::other("HTTP/2 has not been agreed upon"));
        }
        let client = client(&stream, address, speech);
        Ok(Entered {
            stream,
            client,
            open: Open::new(self.metrics.clone()),
        })
    }
}

impl TlsDoor {
    async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        config: Arc<ServerConfig>,
    ) -> io::Result<TlsStream<S>> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let waits = Waits::new(&self.waiting);
        let turn = self.signatures.acquire().await.map_err(io::Error::other)?;
        drop(waits);
        // Here everything is computed that has to be.
        let rest = hello.into_stream(config);
        yield_now().await;
        drop(turn);
        rest.await
    }
}

/// One of those that wait, until it is dropped.
struct Waits<'c>(&'c AtomicUsize);

impl Waits<'_> {
    fn new(count: &AtomicUsize) -> Waits<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Waits(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the handshake has told.
fn client<S>(stream: &TlsStream<S>, address: SocketAddr, speech: Speech) -> Client {
    let session = stream.get_ref().1;
    // RFC 9103 sections 7.1 and 7.2.
    let for_transfers = session.protocol_version() == Some(ProtocolVersion::TLSv1_3)
        && session.alpn_protocol() == Some(ALPN_DOT);
    let transport = match speech {
        Speech::Dot => Transport::Tls { for_transfers },
        Speech::Doh => Transport::Https,
    };
    Client {
        certificate: session.peer_certificates().and_then(first),
        ..Client::new(address, transport)
    }
}

/// What a client over QUIC has shown.
pub fn shown(identity: Option<Box<dyn Any>>) -> Option<Arc<Shown>> {
    let chain = identity?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    first(&chain)
}

fn first(chain: &[CertificateDer<'_>]) -> Option<Arc<Shown>> {
    let own = chain.first()?;
    Some(Arc::new(Shown::new(own.clone().into_owned())))
}

fn server_config(
    config: &ServerTls,
    clock: &Clock,
    protocol: &[u8],
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let hands = Arc::new(Hands(clock.clone()));
    let builder = ServerConfig::builder_with_details(provider.clone(), hands)
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?;
    let builder = match &config.client_ca {
        // Who shows none may ask questions; access lists say what takes one.
        Some(authorities) => {
            let store = authorities.store();
            let verifier = WebPkiClientVerifier::builder_with_provider(store, provider)
                .allow_unauthenticated()
                .build()
                .map_err(io::Error::other)?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut made = builder.with_cert_resolver(config.identity.resolver());
    // A client without ALPN speaks DNS here as well (RFC 7858 knows none); one that wants only something else is refused.
    made.alpn_protocols = vec![protocol.to_vec()];
    made.session_storage = Arc::new(NoServerSessionStorage {});
    made.ticketer = aws_lc_rs::Ticketer::new().map_err(io::Error::other)?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Identity;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn door() -> (Arc<TlsDoor>, Arc<Metrics>) {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["ns.example".to_owned()]).unwrap();
        let (cert, key) = (
            directory.path().join("cert.pem"),
            directory.path().join("key.pem"),
        );
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let config = ServerTls {
            identity: Identity::load(&cert, &key).unwrap(),
            client_ca: None,
            dot: Vec::new(),
            doh: Vec::new(),
            name: None,
            doq: Vec::new(),
        };
        let metrics = Arc::new(Metrics::default());
        let door = TlsDoor::new(&config, &Clock::system(), metrics.clone()).unwrap();
        (Arc::new(door), metrics)
    }

    fn client(host: u16) -> SocketAddr {
        let [high, low] = host.to_be_bytes();
        ([10, high, low, 1], 4000).into()
    }

    /// Silent clients, those who say a little at a time, and those who say what is no handshake.
    #[tokio::test(start_paused = true)]
    async fn a_handshake_ends_in_time() {
        let (door, metrics) = door();
        let clock = Clock::system();
        for (crowded, limit_s) in [
            (false, HANDSHAKE_TIME_MAX_S),
            (true, HANDSHAKE_TIME_CROWDED_S),
        ] {
            let begun = clock.now().mono;
            let (ours, mut theirs) = duplex(1 << 10);
            let trickle = tokio::spawn(async move {
                // The head of a record of 16 KiB, then octets of it for ever.
                theirs.write_all(&[22, 3, 1, 0x3F, 0xFF]).await?;
                loop {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    theirs.write_u8(1).await?;
                }
                #[allow(unreachable_code)]
                io::Result::Ok(())
            });
            assert!(
                door.enter(ours, client(1), crowded, Speech::Dot)
                    .await
                    .is_err()
            );
            let took = clock.now().mono - begun;
            assert_eq!(took.as_secs(), limit_s, "{took:?}");
            assert!(trickle.await.unwrap().is_err());
        }
        let (ours, mut theirs) = duplex(1 << 10);
        theirs.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(
            door.enter(ours, client(1), false, Speech::Dot)
                .await
                .is_err()
        );
        // No more than an alert.
        let mut said = Vec::new();
        theirs.read_to_end(&mut said).await.unwrap();
        assert!(said.len() <= 7, "{said:?}");
        assert_eq!(metrics.tls_handshake_failures_total.value(), 3);
        assert_eq!(metrics.tls_connections_total.value(), 0);
    }

    fn client_hello() -> Vec<u8> {
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
        let name = "ns.example".try_into().unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        hello
    }

    #[tokio::test(start_paused = true)]
    async fn between_signatures_others_have_their_turn() {
        let (door, _) = door();
        let at_once = SIGNATURES_PER_TURN * available_parallelism().unwrap().get();
        let hello = client_hello();
        let mut theirs = Vec::new();
        for host in 0..8 * at_once {
            let (ours, mut their) = duplex(1 << 14);
            their.write_all(&hello).await.unwrap();
            theirs.push(their);
            let door = door.clone();
            let client = client(host as u16);
            tokio::spawn(async move { door.enter(ours, client, false, Speech::Dot).await.is_ok() });
        }
        let mut turns = 0;
        while !theirs.is_empty() {
            yield_now().await;
            turns += 1;
            let before = theirs.len();
            let mut silent = Vec::new();
            for mut their in theirs {
                let mut octets = [0; 64];
                tokio::select! {
                    biased;
                    read = their.read(&mut octets) => assert!(read.unwrap() > 0),
                    () = std::future::ready(()) => silent.push(their),
                }
            }
            theirs = silent;
            let signed = before - theirs.len();
            assert!(signed <= at_once, "{signed} in one turn");
            assert!(turns < 1000);
        }
        assert!(turns >= 8, "{turns}");
    }

    #[tokio::test(start_paused = true)]
    async fn handshakes_are_bounded_in_number() {
        let (door, metrics) = door();
        let mut held = Vec::new();
        let mut open = |address: SocketAddr| {
            let (ours, theirs) = duplex(64);
            held.push(theirs);
            let door = door.clone();
            tokio::spawn(async move {
                door.enter(ours, address, false, Speech::Dot)
                    .await
                    .map(drop)
            })
        };
        let mut crowd: Vec<_> = (0..HANDSHAKES_PER_PREFIX_MAX)
            .map(|_| open(client(1)))
            .collect();
        tokio::task::yield_now().await;
        // One too many of a network: the longest one there ends.
        crowd.push(open(client(1)));
        let ousted = crowd.remove(0).await.unwrap().unwrap_err();
        assert_eq!(ousted.to_string(), "too many handshakes at once");
        let others =
            (HANDSHAKES_PER_PREFIX_MAX..HANDSHAKES_MAX).map(|i| open(client(i as u16 + 2)));
        let others: Vec<_> = others.collect();
        tokio::task::yield_now().await;
        // One too many of all: the network that has most gives way.
        let last = open(client(2000));
        let ousted = crowd.remove(0).await.unwrap().unwrap_err();
        assert_eq!(ousted.to_string(), "too many handshakes at once");
        for task in crowd.into_iter().chain(others).chain([last]) {
            assert!(task.await.unwrap().is_err());
        }
        let all = HANDSHAKES_MAX as u64 + 2;
        assert_eq!(metrics.tls_handshake_failures_total.value(), all);
        // All places are free again.
        assert!(door.handshakes.take(client(1).ip()).is_some());
    }
}
