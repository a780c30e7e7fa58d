//! Servers that prove who they are, or fail to: transfers over TLS and a web server, in virtual time.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast::config::{AxfrTls, HttpsUrl, Source};
use holdfast::mirror::source::Stream;
use holdfast::mirror::{BoxFuture, Connect};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::lab::{self, Lab, Net, START_S};

/// The server of transfers over TLS, and of files.
pub const XOT: &str = "192.0.2.3:853";
/// The web server.
pub const WEB: &str = "192.0.2.4:443";
/// The name in good certificates.
pub const HUB: &str = "hub.example";

/// Versions of TLS.
const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// An authority for certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Authority { issuer }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes `cert.pem` and `key.pem` for a server of another program.
    pub fn write_identity(&self, name: &str, directory: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
    }

    /// A certificate for `name`, valid from and until so many days after [`START_S`].
    pub fn identity(&self, name: &str, days: (i64, i64)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let at = |days: i64| {
            let start = time::OffsetDateTime::from_unix_timestamp(START_S as i64).unwrap();
            start + time::Duration::days(days)
        };
        (params.not_before, params.not_after) = (at(days.0), at(days.1));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
            versions: BOTH,
            alpn: vec![b"dot".to_vec(), b"http/1.1".to_vec()],
        }
    }
}

/// What a server shows of itself.
#[derive(Clone)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    pub versions: &'static [&'static SupportedProtocolVersion],
    pub alpn: Vec<Vec<u8>>,
}

impl Identity {
    fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = self.alpn.clone();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What the web server has under one path.
#[derive(Clone, Default)]
pub struct Page {
    /// Status and header fields, each line ended; `Content-Length` is added unless there is a framing.
    pub head: String,
    pub body: Vec<u8>,
    pub then: Then,
    /// `If-None-Match` with this gets 304.
    pub etag: Option<String>,
}

/// What the web server does after the body.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Then {
    #[default]
    Close,
    /// Closes without a word of TLS, in the middle.
    Cut,
    Hang,
    /// Sends chunks for ever.
    Endless,
    /// Sends an octet each 19 seconds.
    Trickle,
}

impl Page {
    /// A file.
    pub fn file(body: impl Into<Vec<u8>>) -> Page {
        Page {
            head: "HTTP/1.1 200 OK\r\n".into(),
            body: body.into(),
            ..Page::default()
        }
    }

    /// An answer without a body.
    pub fn bare(head: &str) -> Page {
        Page {
            head: head.into(),
            ..Page::default()
        }
    }
}

/// All servers: plain ones, those of transfers over TLS, the web server.
#[derive(Clone)]
pub struct SecureNet {
    pub net: Net,
    pub inner: Arc<Mutex<Inner>>,
}

pub struct Inner {
    pub identity: Identity,
    pub pages: HashMap<String, Page>,
    /// The heads of requests.
    pub requests: Vec<String>,
}

impl SecureNet {
    pub fn set(&self, path: &str, page: Page) {
        let mut inner = self.inner.lock().unwrap();
        inner.pages.insert(path.to_owned(), page);
    }

    pub fn identify(&self, identity: Identity) {
        self.inner.lock().unwrap().identity = identity;
    }

    /// The requests since the last look.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.lock().unwrap().requests)
    }
}

impl Connect for SecureNet {
    fn connect(&self, server: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let secured = [XOT, WEB].contains(&server.to_string().as_str());
            if !secured {
                return self.net.connect(server).await;
            }
            let acceptor = self.inner.lock().unwrap().identity.acceptor();
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            let net = self.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(theirs).await else {
                    return;
                };
                match server.port() {
                    853 => lab::serve(stream, net.net.clone(), server).await,
                    _ => drop(net.serve_page(stream).await),
                }
            });
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

impl SecureNet {
    async fn serve_page(&self, mut stream: impl Stream) -> io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let page = {
            let mut inner = self.inner.lock().unwrap();
            inner.requests.push(head.clone());
            inner.pages.get(&path).cloned()
        };
        let Some(page) = page else {
            let none = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
            return stream.write_all(none).await;
        };
        let mut answer = page.head.clone().into_bytes();
        if let Some(etag) = &page.etag {
            if head.contains(&format!("if-none-match: {}\r\n", etag.to_lowercase())) {
                return stream.write_all(b"HTTP/1.1 304 Not Modified\r\n\r\n").await;
            }
            answer.extend(format!("ETag: {etag}\r\n").bytes());
        }
        let lower = page.head.to_lowercase();
        let framed = [
            "content-length",
            "transfer-encoding",
            "x-unframed",
            "not modified",
        ];
        if lower.starts_with("http/") && !framed.iter().any(|f| lower.contains(f)) {
            answer.extend(format!("Content-Length: {}\r\n", page.body.len()).bytes());
        }
        if lower.starts_with("http/") {
            answer.extend(b"\r\n");
        }
        answer.extend(&page.body);
        stream.write_all(&answer).await?;
        stream.flush().await?;
        match page.then {
            Then::Close => stream.shutdown().await,
            Then::Cut => Ok(()),
            Then::Hang => std::future::pending().await,
            Then::Endless => loop {
                let filler = "; nothing to see\r\n".repeat(1000);
                let chunk = format!("{:x}\r\n{filler}\r\n", filler.len());
                stream.write_all(chunk.as_bytes()).await?;
            },
            Then::Trickle => loop {
                stream.write_all(b"1\r\n;\r\n").await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_secs(19)).await;
            },
        }
    }
}

/// A mirror of `test.` with these servers, not started; its authority is in a file.
pub struct Secure {
    pub lab: Lab,
    pub net: SecureNet,
    pub authority: Authority,
    pub ca: PathBuf,
}

impl Secure {
    pub fn new() -> Secure {
        let mut lab = Lab::new();
        let authority = Authority::new();
        let ca = lab.dir.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let net = SecureNet {
            net: lab.net.clone(),
            inner: Arc::new(Mutex::new(Inner {
                identity: authority.identity(HUB, (-10, 300)),
                pages: HashMap::new(),
                requests: Vec::new(),
            })),
        };
        lab.connect = Some(Arc::new(net.clone()));
        let web: SocketAddr = WEB.parse().unwrap();
        *lab.parent.addresses.lock().unwrap() = Ok(vec![web.ip()]);
        Secure {
            lab,
            net,
            authority,
            ca,
        }
    }

    pub fn xot(&self) -> Source {
        Source::Axfr {
            addr: XOT.parse().unwrap(),
            tsig: None,
            tls: Some(AxfrTls {
                client: None,
                name: Some(HUB.to_owned()),
                ca: Some(self.ca.clone()),
            }),
        }
    }

    pub fn https(&self, path: &str) -> Source {
        Source::Https {
            url: HttpsUrl::parse(&format!("https://{HUB}{path}")).unwrap(),
            ca: Some(self.ca.clone()),
        }
    }
}
