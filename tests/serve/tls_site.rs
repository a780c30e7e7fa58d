//! The real program with an own zone, a certificate and encrypted listeners, and what a client needs to trust it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, SupportedProtocolVersion};

use crate::authority::Authority;
use crate::daemon::{Daemon, free_port};

/// The name in the certificate.
pub const NAME: &str = "ns.example";

/// A running server, and the authority behind its certificate.
pub struct Site {
    pub daemon: Daemon,
    pub authority: Authority,
    ports: BTreeMap<&'static str, u16>,
}

impl Site {
    /// With the text of the zone `own.test.`, and a port of its own for each of `listeners` (`dot`, `doh`, `doq`). `tls` are more lines
    /// of `[server.tls]`, `more` are tables.
    pub fn with(zone: &str, listeners: &[&'static str], tls: &str, more: &str) -> Site {
        let authority = Authority::new();
        let (cert, key) = authority.identity(NAME);
        let ports: BTreeMap<_, _> = listeners.iter().map(|l| (*l, free_port())).collect();
        let lines: String = (ports.iter())
            .map(|(listener, port)| format!("{listener} = ['127.0.0.1:{port}']\n"))
            .collect();
        let config = format!(
            "[server]\nlisten = ['127.0.0.1:PORT']\n[server.tls]\ncert = 'cert.pem'\nkey = 'key.pem'\n\
             {lines}{tls}\n[[zone]]\nname = 'own.test.'\nfile = 'own.zone'\n{more}\n"
        );
        let files = [
            ("cert.pem", &cert[..]),
            ("key.pem", &key),
            ("ca.pem", &authority.pem()),
            ("own.zone", zone),
        ];
        Site {
            daemon: Daemon::start(&config, &files),
            authority,
            ports,
        }
    }

    pub fn port(&self, listener: &str) -> u16 {
        self.ports[listener]
    }

    pub fn at(&self, listener: &str) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port(listener)).into()
    }

    pub fn metric(&self, name: &str) -> u64 {
        let output = self.daemon.command(&["--json", "status"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        status["metrics"][name].as_u64().unwrap()
    }

    /// What a client begins with that trusts the site's authority and no other.
    pub fn trusting(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
    }
}
