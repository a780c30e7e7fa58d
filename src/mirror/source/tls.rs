//! TLS towards sources: whose words are these?
//!
//! Why: NS and glue of delegations are signed by nobody, so without a ZONEMD record they are as good as the channel that
//! they came by. A channel is authenticated when the other end proves a name that the operator wrote down, with a
//! certificate that leads to authorities which the operator trusts.
//!
//! Model: [`Tls`] is made for one fetch from the authorities ([`roots`]: the file `ca`, else those of the system) and
//! wraps connections; [`TlsConnect`] makes a [`Connect`] of it, so that what speaks DNS messages over a stream need not
//! know. Certificates are judged by the program's one clock. Nothing switches the checks off.
//!
//! Failure: an [`io::Error`] that carries the reason, see [`fault_of`]. It names no time, so that it is logged once.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio_rustls::TlsConnector;

use super::{BoxFuture, Connect, Stream};
use crate::clock::Clock;
use crate::tls::{self, ALPN_DOT, Hands, Identity, IdentityError, PemError};

/// What a web server is asked to speak.
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Why nobody can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A file of certificates cannot be used.
    #[error(transparent)]
    File(#[from] PemError),
    /// What is to be shown cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The system has none.
    #[error(
        "this system trusts no certificates; install its package of them (ca-certificates), or name a file with `ca`"
    )]
    NoneHere,
    /// No name that a certificate could carry.
    #[error("{0} is no name that a certificate could carry")]
    BadName(String),
}

/// The authorities in the file `ca`, else those of the system. Blocks.
///
/// # Errors
/// There are none.
pub fn roots(ca: Option<&Path>) -> Result<Arc<RootCertStore>, TrustError> {
    let store = match ca {
        Some(path) => tls::Authorities::load(path)?.store(),
        None => tls::trusted(),
    };
    match store.is_empty() {
        true => Err(TrustError::NoneHere),
        false => Ok(store),
    }
}

/// The name that a certificate must carry: a host name or an address.
///
/// # Errors
/// It is neither.
pub fn server_name(text: &str) -> Result<ServerName<'static>, TrustError> {
    tls::name(text).ok_or_else(|| TrustError::BadName(text.to_owned()))
}

/// How connections of one purpose are secured.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    /// What must have been agreed upon.
    required: Option<&'static [u8]>,
}

impl Tls {
    /// For zone transfers: TLS 1.3 and the protocol `dot`, nothing less (RFC 9103 sections 7.1 and 7.2).
    /// To a server that asks, `identity` is shown (RFC 9103 section 9.3.3).
    pub fn for_transfers(
        roots: Arc<RootCertStore>,
        identity: Option<&Identity>,
        clock: &Clock,
    ) -> Tls {
        Tls::new(roots, identity, clock, &[&TLS13], ALPN_DOT, true)
    }

    /// For web servers, of which some still know TLS 1.2 only.
    pub fn for_web(roots: Arc<RootCertStore>, clock: &Clock) -> Tls {
        Tls::new(roots, None, clock, &[&TLS13, &TLS12], ALPN_HTTP1, false)
    }

    fn new(
        roots: Arc<RootCertStore>,
        identity: Option<&Identity>,
        clock: &Clock,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &'static [u8],
        required: bool,
    ) -> Tls {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_details(provider, Arc::new(Hands(clock.clone())))
            .with_protocol_versions(versions)
            .expect("aws-lc-rs knows both versions")
            .with_root_certificates(roots);
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        Tls {
            config: Arc::new(config),
            required: required.then_some(alpn),
        }
    }

    /// Secures a connection to the server that proves to be `name`. The caller bounds the time.
    ///
    /// # Errors
    /// It proves nothing of the kind, or the connection fails.
    pub async fn secure(
        &self,
        stream: Box<dyn Stream>,
        name: ServerName<'static>,
    ) -> io::Result<Box<dyn Stream>> {
        let connector = TlsConnector::from(self.config.clone());
        let secured = connector.connect(name, stream).await?;
        let agreed = secured.get_ref().1.alpn_protocol();
        match self.required {
            Some(required) if agreed != Some(required) => Err(io::Error::other(NoTransfers)),
            _ => Ok(Box::new(secured)),
        }
    }
}

/// A way to a server through TLS.
pub struct TlsConnect {
    /// The way to its address.
    pub inner: Arc<dyn Connect>,
    /// How it is secured.
    pub tls: Tls,
    /// What the server must prove to be.
    pub name: ServerName<'static>,
}

impl Connect for TlsConnect {
    fn connect(&self, server: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = self.inner.connect(server).await?;
            self.tls.secure(stream, self.name.clone()).await
        })
    }
}

/// The server speaks TLS, but does not say that it serves DNS there.
#[derive(Debug, thiserror::Error)]
#[error("the server does not agree to the protocol `dot` (ALPN), which RFC 9103 asks for")]
struct NoTransfers;

/// What TLS found wrong, in words; `None` for an error that is not of its making.
pub fn fault_of(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?;
    if inner.is::<NoTransfers>() {
        return Some(inner.to_string());
    }
    tls::fault_of(error)
}
