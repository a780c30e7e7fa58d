//! Servers that are asked over TLS and in no other way (RFC 7858), because the operator says so (`[[forward]]` with `tls = true`).
//!
//! Why here and not where servers are chosen: what is to be asked in secret must not leave in clear, whoever asks, and whatever else fails.
//! So the way out itself knows these addresses, and takes every question to them to a connection of `tcp` that has shaken hands first.
//! The profile is the strict one (RFC 8310 section 5): a server that does not prove the name that it is to have gets no question.
//!
//! Failure: the server counts as unreachable; why is part of the error, and counted in `upstream_tls_failures_total`.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::clock::Clock;
use crate::config::Forward;
use crate::tls::{ALPN_DOT, Hands, trusted};

/// Queries are padded to multiples of this, in octets (RFC 8467 section 4.1).
pub(super) const PADDING_BLOCK: usize = 128;

/// The servers, by address and port; none by default.
#[derive(Default)]
pub struct TlsServers(HashMap<SocketAddr, TlsServer>);

/// How one of them is spoken to.
#[derive(Clone)]
pub(super) struct TlsServer {
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl TlsServers {
    /// The forwarders that are to be asked over TLS. Blocks.
    ///
    /// # Errors
    /// There is nobody who could vouch for them.
    pub fn new(forwards: &[Forward], clock: &Clock) -> io::Result<TlsServers> {
        let mut servers = HashMap::new();
        for forward in forwards {
            let Some(tls) = &forward.tls else {
                continue;
            };
            let roots = match &tls.ca {
                Some(authorities) => authorities.store(),
                None => trusted(),
            };
            if roots.is_empty() {
                return Err(io::Error::other(
                    "this system trusts no certificates, so no forwarder can prove who it is; \
                     install its package of them (ca-certificates), or name a file with forward.ca",
                ));
            }
            let provider = Arc::new(aws_lc_rs::default_provider());
            let hands = Arc::new(Hands(clock.clone()));
            let mut config = ClientConfig::builder_with_details(provider, hands)
                .with_protocol_versions(&[&TLS13, &TLS12])
                .map_err(io::Error::other)?
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = vec![ALPN_DOT.to_vec()];
            let connector = TlsConnector::from(Arc::new(config));
            for server in &forward.servers {
                let own = || ServerName::IpAddress(server.ip().into());
                let of_it = TlsServer {
                    name: tls.name.clone().unwrap_or_else(own),
                    connector: connector.clone(),
                };
                servers.insert(*server, of_it);
            }
        }
        Ok(TlsServers(servers))
    }

    /// How to speak to this one; `None`: in clear.
    pub(super) fn server(&self, at: SocketAddr) -> Option<&TlsServer> {
        self.0.get(&at)
    }
}

impl TlsServer {
    /// The handshake. The caller bounds the time.
    pub(super) async fn secure(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}
