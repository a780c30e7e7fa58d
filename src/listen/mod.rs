//! Sockets: where queries come in and answers leave.
//!
//! [`Sockets::bind`] takes all addresses first, so that nothing is answered before everything is there;
//! [`Listeners::start`] then serves them until [`Listeners::stop`]. UDP has threads of its own (`udp`),
//! TCP, TLS, HTTPS and QUIC have tasks (`streams` and `conversation`, `tls`, `https`, `quic`); all call the same pipeline. `proxy` tells who
//! asks where a proxy is in between; `sieve` keeps a flood from filling a queue (`queue`), and with `crowd` the line of connections; `xdp` has UDP come and go past the kernel, where that is wanted.
//!
//! Failure: an address that this machine does not have is a warning as long as another one works; an
//! address that is taken or not permitted is an error, because a server that answers on half of its
//! addresses is noticed too late.

pub mod conversation;
mod crowd;
mod datagram;
mod fair;
mod hosts;
pub mod http_query;
mod https;
pub mod proxy;
mod queue;
pub mod quic;
mod sieve;
pub mod streams;
pub mod tls;
pub mod udp;
pub mod xdp;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{Limits, ServerTls};
use crate::metrics::Metrics;
use crate::query::Pipeline;
use proxy::Proxies;

/// Connections that the kernel holds until they are taken, as far as its own limit allows: who finds no room comes again a second later. Nobody waits longer
/// for it: the line is long from a part of 1,024 on (`sieve`).
const TCP_BACKLOG_MAX: i32 = 4096;
/// Room for queries that each UDP socket should have, in bytes, and for answers.
pub const UDP_BUFFER_BYTES: usize = 4 << 20;
/// Asked of the kernel for queries; it grants what its limits allow. A machine may stand still for a fifth of a second, and nobody's query is to be lost for
/// that. Nobody waits longer for it either: what is long is reckoned by a smaller room ([`sieve::RECKONED_ROOM_OCTETS`]).
const UDP_QUERIES_BYTES: usize = 16 << 20;
/// How long the queries in work may take when stopping, in milliseconds: what an answer from elsewhere usually takes. Who waits
/// longer than that waits for servers that do not answer, while everybody else would find the port closed.
const STOP_GRACE_MS: u64 = 100;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address is taken, not permitted, or the like.
    #[error("cannot listen on {transport} {address}: {error}{}", hint(error))]
    Refused {
        /// The address.
        address: SocketAddr,
        /// `UDP`, `TCP`, `TLS`, `HTTPS` or `QUIC`.
        transport: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// No address is one of this machine.
    #[error("cannot listen: this machine has none of the addresses in {key} ({addresses})")]
    NoAddress {
        /// The key that names them.
        key: &'static str,
        /// All of them.
        addresses: String,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another server is running there",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need the capability CAP_NET_BIND_SERVICE"
        }
        _ => "",
    }
}

/// Bound sockets that are not served yet.
pub struct Sockets {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    dot: Vec<TcpListener>,
    doh: Vec<TcpListener>,
    doq: Vec<UdpSocket>,
    /// Addresses that this machine lacks, with what the system says about them.
    pub missing: Vec<(SocketAddr, io::Error)>,
    /// The least room for queries that the kernel granted a UDP socket, in bytes; at most [`UDP_BUFFER_BYTES`].
    pub udp_buffer_bytes: usize,
}

impl Sockets {
    /// Takes every address for UDP and TCP, for UDP `workers` times (0 = once per core), and those of encrypted listeners.
    ///
    /// # Errors
    /// An address is refused, or the machine has none of one kind.
    pub fn bind(
        addresses: &[SocketAddr],
        encrypted: Option<&ServerTls>,
        workers: usize,
    ) -> Result<Sockets, BindError> {
        let workers = match workers {
            0 => available_parallelism().map_or(1, |n| n.get()),
            n => n,
        };
        let mut sockets = Sockets {
            udp: Vec::new(),
            tcp: Vec::new(),
            dot: Vec::new(),
            doh: Vec::new(),
            doq: Vec::new(),
            missing: Vec::new(),
            udp_buffer_bytes: UDP_BUFFER_BYTES,
        };
        for &address in addresses {
            // TCP first: its address cannot be shared, so a second server is noticed here.
            let Some(listener) = sockets.stream(address, "TCP")? else {
                continue;
            };
            sockets.tcp.push(listener);
            for _ in 0..workers {
                let (socket, granted) =
                    bind_udp(address).map_err(|e| refused(address, "UDP", e))?;
                sockets.udp.push(socket);
                sockets.udp_buffer_bytes = sockets.udp_buffer_bytes.min(granted);
            }
        }
        let [dot, doh, doq] = match encrypted {
            Some(tls) => [&tls.dot[..], &tls.doh, &tls.doq],
            None => [&[][..]; 3],
        };
        for &address in dot {
            let listener = sockets.stream(address, "TLS")?;
            sockets.dot.extend(listener);
        }
        for &address in doh {
            let listener = sockets.stream(address, "HTTPS")?;
            sockets.doh.extend(listener);
        }
        for &address in doq {
            let bound = sockets.unless_missing(address, "QUIC", bind_quic(address))?;
            sockets.doq.extend(bound);
        }
        for (key, wanted, bound) in [
            ("server.listen", addresses, sockets.tcp.len()),
            ("server.tls.dot", dot, sockets.dot.len()),
            ("server.tls.doh", doh, sockets.doh.len()),
            ("server.tls.doq", doq, sockets.doq.len()),
        ] {
            if bound == 0 && !wanted.is_empty() {
                let list: Vec<_> = wanted.iter().map(SocketAddr::to_string).collect();
                let addresses = list.join(", ");
                return Err(BindError::NoAddress { key, addresses });
            }
        }
        Ok(sockets)
    }

    /// `None`: the machine lacks the address.
    fn stream(
        &mut self,
        address: SocketAddr,
        transport: &'static str,
    ) -> Result<Option<TcpListener>, BindError> {
        self.unless_missing(address, transport, bind_tcp(address))
    }

    fn unless_missing<T>(
        &mut self,
        address: SocketAddr,
        transport: &'static str,
        bound: io::Result<T>,
    ) -> Result<Option<T>, BindError> {
        match bound {
            Ok(bound) => Ok(Some(bound)),
            Err(error) if is_missing(&error) => {
                self.missing.push((address, error));
                Ok(None)
            }
            Err(error) => Err(refused(address, transport, error)),
        }
    }
}

/// Sockets that are being served.
pub struct Listeners {
    udp: udp::UdpThreads,
    tcp: streams::Streams,
}

impl Listeners {
    /// Serves the sockets, and `interfaces` past the kernel (`server.xdp`). When this returns, UDP and TCP answer, and what is encrypted where there is a door.
    ///
    /// # Errors
    /// The system gave no thread or refused a socket option.
    pub fn start(
        sockets: Sockets,
        interfaces: &[String],
        door: Option<Arc<tls::TlsDoor>>,
        proxies: Proxies,
        pipeline: Arc<Pipeline>,
        metrics: Arc<Metrics>,
        limits: &Limits,
    ) -> io::Result<Listeners> {
        let encrypted = door.map(|door| streams::Encrypted {
            door,
            dot: sockets.dot,
            doh: sockets.doh,
            doq: sockets.doq,
        });
        let (shared, counts, behind) = (pipeline.clone(), metrics.clone(), proxies.clone());
        let tcp = streams::Streams::start(sockets.tcp, encrypted, behind, shared, counts, limits)?;
        let udp = udp::UdpThreads::start(sockets.udp, interfaces, proxies, pipeline, metrics)?;
        Ok(Listeners { udp, tcp })
    }

    /// Says that [`Listeners::stop`] will come soon, so that it will be quick. Until then everything is answered.
    pub fn prepare_stop(&self) {
        self.udp.prepare_stop();
    }

    /// Gives the queries in work a moment to end, and ends. What needs no waiting is answered over UDP to the last.
    pub async fn stop(self) {
        let grace = Duration::from_millis(STOP_GRACE_MS);
        tokio::join!(self.udp.drain(grace), self.tcp.stop(grace));
        self.udp.stop().await;
    }
}

/// How many files this process may have open.
fn open_files_max() -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live rlimit that the call fills.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX),
        _ => usize::MAX,
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = new_socket(address, Type::STREAM, Protocol::TCP)?;
    // A restart must not wait for the old connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(TCP_BACKLOG_MAX)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// One socket for all connections: QUIC tells them apart by what is in the packets.
fn bind_quic(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new_socket(address, Type::DGRAM, Protocol::UDP)?;
    ask_for_buffers(&socket);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Asks for large buffers; returns how many bytes of queries the kernel will hold.
fn ask_for_buffers(socket: &Socket) -> usize {
    // Buffers are a wish: the kernel's limits may be lower, and only who may administer the network is not bound by them.
    for (forced, plain, wish) in [
        (
            libc::SO_RCVBUFFORCE,
            libc::SO_RCVBUF,
            UDP_QUERIES_BYTES as i32,
        ),
        (
            libc::SO_SNDBUFFORCE,
            libc::SO_SNDBUF,
            UDP_BUFFER_BYTES as i32,
        ),
    ] {
        if set_option(socket, libc::SOL_SOCKET, forced, wish).is_err() {
            let _ = set_option(socket, libc::SOL_SOCKET, plain, wish);
        }
    }
    // socket(7): the kernel doubles what it was asked for, to have room for its own.
    socket.recv_buffer_size().unwrap_or(0) / 2
}

/// A socket for queries, and the bytes of them that the kernel will hold for it.
fn bind_udp(address: SocketAddr) -> io::Result<(UdpSocket, usize)> {
    let socket = new_socket(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_reuse_port(true)?;
    let granted = ask_for_buffers(&socket);
    if address.ip().is_unspecified() {
        let (level, option) = match address {
            SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        };
        set_option(&socket, level, option, 1)?;
    }
    if address.is_ipv4() {
        // Forged "fragmentation needed" messages must not make answers arrive in fragments, which an
        // attacker could replace. Old kernels lack the option.
        let _ = set_option(
            &socket,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_OMIT,
        );
    }
    socket.bind(&address.into())?;
    Ok((socket.into(), granted))
}

fn new_socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // 0.0.0.0 and [::] are two addresses, whatever the system's default is.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn set_option(socket: &Socket, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The address, or its whole family, does not exist on this machine.
fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

fn refused(address: SocketAddr, transport: &'static str, error: io::Error) -> BindError {
    BindError::Refused {
        address,
        transport,
        error,
    }
}
