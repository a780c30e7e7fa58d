//! Certificates and keys, and the clock that they are judged by.
//!
//! Why a leaf: the listener shows a certificate, a source of transfers may ask for one, the configuration has to say at the
//! start what is wrong with their files, and access lists know clients by theirs. [`Identity`] is a certificate with its key,
//! [`Authorities`] is who vouches for others, [`Shown`] is what a client has proven. All are checked when they are made.
//!
//! Failure: a [`PemError`] names the file and what is wrong with it. Keys are never part of a message.

mod validity;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, RootCertStore};

use crate::clock::Clock;

pub use validity::not_after;

/// Most authorities in one store.
pub const AUTHORITIES_MAX: usize = 10_000;
/// Largest file of certificates, in octets.
const CERTIFICATES_BYTES_MAX: u64 = 16 << 20;
/// Largest file of a key, in octets.
const KEY_BYTES_MAX: u64 = 1 << 20;
/// Most certificates of a chain, the server's own among them.
const CHAIN_MAX: usize = 16;
/// What who serves DNS over TLS agrees to speak (RFC 7858, RFC 9103 section 7.1).
pub const ALPN_DOT: &[u8] = b"dot";
/// The same over HTTPS (RFC 9113 section 3.2).
pub const ALPN_DOH: &[u8] = b"h2";
/// The same over QUIC (RFC 9250 section 4.1.1).
pub const ALPN_DOQ: &[u8] = b"doq";

/// Why a file of certificates or keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct PemError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// Which of the two files of an [`Identity`] cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// That of the certificates.
    #[error(transparent)]
    Cert(#[from] PemError),
    /// That of the key.
    #[error(transparent)]
    Key(PemError),
}

/// The certificates in a file. Blocks.
///
/// # Errors
/// It cannot be read, is too large, or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let failed = |why: String| PemError {
        path: path.to_owned(),
        why,
    };
    let text = read(path, CERTIFICATES_BYTES_MAX).map_err(failed)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text)
        .take(AUTHORITIES_MAX)
        .collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(failed("it holds no certificate in PEM form".to_owned()))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(failed(format!("not PEM: {error}"))),
    }
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let opened = File::open(path);
    let read = opened.and_then(|file| file.take(bytes_max + 1).read_to_end(&mut text));
    read.map_err(|e| format!("cannot be read: {}", e.kind()))?;
    match text.len() as u64 > bytes_max {
        true => Err(format!("larger than {bytes_max} bytes")),
        false => Ok(text),
    }
}

/// A certificate chain and its private key, which belong together.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    /// Tells one key from another; the other form of it cannot.
    key: Arc<PrivateKeyDer<'static>>,
}

impl Identity {
    /// Reads both files. Blocks.
    ///
    /// # Errors
    /// One of them cannot be used, or the key is not that of the first certificate.
    pub fn load(cert: &Path, key: &Path) -> Result<Identity, IdentityError> {
        let chain = certificates(cert)?;
        let path = cert.to_owned();
        let bad_cert = |why: String| IdentityError::Cert(PemError { path, why });
        let path = key.to_owned();
        let bad_key = |why: String| IdentityError::Key(PemError { path, why });
        if chain.len() > CHAIN_MAX {
            let why = format!("more than {CHAIN_MAX} certificates; allowed is one chain");
            return Err(bad_cert(why));
        }
        let text = match read(key, KEY_BYTES_MAX) {
            Ok(text) => text,
            Err(why) => return Err(bad_key(why)),
        };
        let Ok(secret) = PrivateKeyDer::from_pem_slice(&text) else {
            let why = "it holds no private key in PEM form without a passphrase";
            return Err(bad_key(why.to_owned()));
        };
        let provider = aws_lc_rs::default_provider();
        let keys = provider.key_provider;
        if keys.load_private_key(secret.clone_key()).is_err() {
            return Err(bad_key("a kind of key that is not known here".to_owned()));
        }
        let certified = match CertifiedKey::from_der(chain, secret.clone_key(), &provider) {
            Ok(certified) => certified,
            Err(rustls::Error::InconsistentKeys(_)) => {
                let cert = cert.display();
                let why = format!("this is not the key of the first certificate in {cert}");
                return Err(bad_key(why));
            }
            Err(other) => {
                let why = format!("its first certificate cannot be used: {other}");
                return Err(bad_cert(why));
            }
        };
        Ok(Identity {
            certified: Arc::new(certified),
            key: Arc::new(secret),
        })
    }

    /// The last second at which its first certificate is valid, in seconds since 1970; `None` if that cannot be told.
    pub fn expires_at(&self) -> Option<u64> {
        validity::not_after(self.certified.end_entity_cert().ok()?)
    }

    /// Shows it to whoever asks.
    pub fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from((*self.certified).clone()))
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Identity) -> bool {
        self.certified.cert == other.certified.cert && self.key == other.key
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates)", self.certified.cert.len())
    }
}

/// Those whom this system trusts; none where it has no list. Blocks.
pub fn trusted() -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // One that the system lists and rustls cannot read is no reason to do without the others.
    store.add_parsable_certificates(found.certs.into_iter().take(AUTHORITIES_MAX));
    Arc::new(store)
}

/// What TLS found wrong with the other end, in words; `None` for an error that is not of its making.
pub fn fault_of(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?;
    let error = inner.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired (if it has not, the clock is wrong)".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet (if it is, the clock is wrong)".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name".to_owned()
            }
            // A namesake of a trusted authority has signed it, or nobody whom one has heard of.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate comes from no authority that is trusted here (`ca` names others)"
                    .to_owned()
            }
            other => format!("its certificate is not accepted: {other}"),
        },
        other => other.to_string(),
    })
}

/// Who vouches for certificates.
#[derive(Clone)]
pub struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    store: Arc<RootCertStore>,
}

impl Authorities {
    /// Those in a file. Blocks.
    ///
    /// # Errors
    /// It cannot be used, or one in it is no certificate.
    pub fn load(path: &Path) -> Result<Authorities, PemError> {
        let certificates = certificates(path)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            let added = store.add(certificate.clone());
            added.map_err(|error| PemError {
                path: path.to_owned(),
                why: format!("a certificate that is none: {error}"),
            })?;
        }
        Ok(Authorities {
            certificates,
            store: Arc::new(store),
        })
    }

    /// As rustls takes them.
    pub fn store(&self) -> Arc<RootCertStore> {
        self.store.clone()
    }
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Authorities) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for Authorities {}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.certificates.len())
    }
}

/// The certificate that a client has proven to hold, from an authority that is trusted here.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown(CertificateDer<'static>);

impl Shown {
    /// The caller has verified it.
    pub fn new(certificate: CertificateDer<'static>) -> Shown {
        Shown(certificate)
    }

    /// Whether it is for this name or address.
    pub fn is_for(&self, name: &ServerName<'_>) -> bool {
        let parsed = ParsedCertificate::try_from(&self.0);
        parsed.is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({} octets)", self.0.len())
    }
}

/// A name or address as certificates carry them; `None` if it is neither.
pub fn name(text: &str) -> Option<ServerName<'static>> {
    let bare = text.strip_suffix('.').unwrap_or(text).to_owned();
    ServerName::try_from(bare).ok()
}

/// The program's clock as rustls reads it.
pub struct Hands(pub Clock);

impl fmt::Debug for Hands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hands")
    }
}

impl TimeProvider for Hands {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            self.0.now().wall_s,
        )))
    }
}
