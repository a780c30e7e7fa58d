//! Sources: where a mirror's versions come from.
//!
//! A source is asked one thing: is there a version newer than the one that is held, and if so, what is in it? What
//! comes back is a candidate's records, nothing more: whether they are true is for verification, whether they are
//! wanted is for the brakes. Sources never see the current generation itself.

pub mod axfr;
pub mod file;
pub mod https;
mod incoming;
mod ixfr;
pub mod meter;
pub mod spool;
pub mod tls;

pub use ixfr::DeltaFault;

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

pub use crate::future::BoxFuture;

/// A connection to a primary server.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The way to primary servers; tests have one of their own.
pub trait Connect: Send + Sync + 'static {
    /// Opens a connection. The caller bounds the time.
    fn connect(&self, server: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;
}

/// Connects over TCP.
#[derive(Debug, Default)]
pub struct TcpConnect {
    /// Source addresses, `resolver.outgoing`: the first of the server's address family is used. Empty = the
    /// kernel's choice.
    pub outgoing: Vec<IpAddr>,
}

impl Connect for TcpConnect {
    fn connect(&self, server: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        let local = (self.outgoing.iter().copied()).find(|ip| ip.is_ipv4() == server.is_ipv4());
        Box::pin(async move {
            let stream = match local {
                None => TcpStream::connect(server).await?,
                Some(ip) => {
                    let socket = match server {
                        SocketAddr::V4(_) => TcpSocket::new_v4()?,
                        SocketAddr::V6(_) => TcpSocket::new_v6()?,
                    };
                    socket.bind(SocketAddr::new(ip, 0))?;
                    socket.connect(server).await?
                }
            };
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}
