//! The hosts of a scenario on real sockets of this machine, for what only sockets show: connections, and datagrams from
//! elsewhere than where the question went.
//!
//! Every host is an address of 127.0.0.0/8, all on one port. What a host says is decided by the same network as
//! everywhere, in real time. The tasks end with the runtime.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use holdfast::dns::Message;
use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::upstream::{Ask, Transport, Upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::unbounded_channel;

use crate::net::{Fault, SimNet};

/// Ports that are tried until one is free on every address.
const PORT_TRIES_MAX: usize = 50;
/// Longer than anybody waits here.
const PATIENCE: Duration = Duration::from_secs(5);

/// What decides about answers.
#[derive(Clone)]
struct Network {
    upstream: Arc<dyn Upstream>,
    net: Arc<SimNet>,
}

/// Serves these hosts; returns their port.
pub async fn serve(hosts: &[IpAddr], upstream: Arc<dyn Upstream>, net: Arc<SimNet>) -> u16 {
    let network = Network { upstream, net };
    for _ in 0..PORT_TRIES_MAX {
        if let Some((port, sockets)) = bind(hosts).await {
            for (udp, tcp) in sockets {
                tokio::spawn(datagrams(Arc::new(udp), network.clone()));
                tokio::spawn(connections(tcp, network.clone()));
            }
            return port;
        }
    }
    panic!("no port is free on all of {hosts:?}");
}

async fn bind(hosts: &[IpAddr]) -> Option<(u16, Vec<(UdpSocket, TcpListener)>)> {
    let mut port = 0;
    let mut sockets = Vec::new();
    for host in hosts {
        assert!(host.is_loopback(), "{host} is not of this machine");
        let tcp = TcpListener::bind((*host, port)).await.ok()?;
        port = tcp.local_addr().ok()?.port();
        let udp = UdpSocket::bind((*host, port)).await.ok()?;
        sockets.push((udp, tcp));
    }
    Some((port, sockets))
}

async fn datagrams(socket: Arc<UdpSocket>, network: Network) {
    let here = socket.local_addr().unwrap();
    let mut buffer = [0; MESSAGE_LEN_MAX];
    while let Ok((len, client)) = socket.recv_from(&mut buffer).await {
        let Ok(query) = Message::parse(&buffer[..len]) else {
            continue;
        };
        let (socket, network) = (socket.clone(), network.clone());
        tokio::spawn(async move {
            let fault = network.net.fault(here.ip());
            let size = query.edns.as_ref().map_or(512, |e| e.udp_size.max(512));
            let Some(mut reply) = network.answer(here, &query, Transport::Udp, fault).await else {
                return;
            };
            let from = match fault {
                Fault::OtherPort => Arc::new(UdpSocket::bind((here.ip(), 0)).await.unwrap()),
                Fault::OtherAddress(address) => {
                    Arc::new(UdpSocket::bind((address, here.port())).await.unwrap())
                }
                _ => socket,
            };
            if fault == Fault::OtherId {
                reply.id ^= 1;
            }
            // A client that is gone is no fault of the server.
            let _ = from.send_to(&reply.encode(size.into()), client).await;
        });
    }
}

async fn connections(listener: TcpListener, network: Network) {
    let here = listener.local_addr().unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, here, network.clone()));
    }
}

/// Answers in whatever order they are ready (RFC 7766 section 6.2.1.1).
async fn connection(stream: TcpStream, here: SocketAddr, network: Network) {
    let (mut read, mut write) = stream.into_split();
    let (tell, mut told) = unbounded_channel::<Vec<u8>>();
    tokio::spawn(async move {
        while let Some(reply) = told.recv().await {
            let framed = [&(reply.len() as u16).to_be_bytes(), &reply[..]].concat();
            if write.write_all(&framed).await.is_err() {
                return;
            }
        }
    });
    while let Ok(len) = read.read_u16().await {
        let mut query = vec![0; len.into()];
        if read.read_exact(&mut query).await.is_err() {
            return;
        }
        let (tell, network) = (tell.clone(), network.clone());
        tokio::spawn(async move {
            let query = Message::parse(&query).unwrap();
            let fault = network.net.fault(here.ip());
            if let Some(reply) = network.answer(here, &query, Transport::Tcp, fault).await {
                let _ = tell.send(reply.encode(MESSAGE_LEN_MAX));
            }
        });
    }
}

impl Network {
    /// What the host at `here` says; nothing if it is silent.
    async fn answer(
        &self,
        here: SocketAddr,
        query: &Message,
        transport: Transport,
        fault: Fault,
    ) -> Option<Message> {
        let strays = matches!(
            fault,
            Fault::OtherPort | Fault::OtherAddress(_) | Fault::OtherId
        );
        let ask = Ask {
            zone: holdfast::dns::Name::root(),
            server: here,
            // The network drops what goes astray; here it is on its way.
            transport: if strays { Transport::Tcp } else { transport },
            question: query.question.clone()?,
            recursion_desired: query.recursion_desired,
            checking_disabled: query.checking_disabled,
            edns: query.edns.clone(),
            cookie: false,
            mix_case: false,
            timeout: PATIENCE,
        };
        let mut reply = self.upstream.exchange(ask).await.ok()?.message;
        reply.id = query.id;
        Some(reply)
    }
}
