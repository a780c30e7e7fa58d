//! Shared keys and their algorithms.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use aws_lc_rs::{digest, hmac};

use super::record;
use crate::dns::Name;

/// Longest secret, in octets: twice the block of the longest hash.
pub const SECRET_LEN_MAX: usize = 256;
/// A secret with fewer octets can be guessed (RFC 8945 section 8 wants at least 128 bits).
pub const SECRET_LEN_WEAK: usize = 16;
/// RFC 8945 section 5.2.2.1: no MAC is shorter, in octets.
const MAC_LEN_MIN: usize = 10;

/// How a key signs. MD5 and SHA-1 are left out: RFC 8945 section 6 has them for old peers only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SHA-512.
    HmacSha512,
}

/// All of them, with their names (RFC 8945 section 6).
static NAMES: LazyLock<[Name; 3]> = LazyLock::new(|| {
    ["hmac-sha256", "hmac-sha384", "hmac-sha512"]
        .map(|label| Name::root().child(label.as_bytes()).unwrap_or(Name::root()))
});

impl Algorithm {
    /// The name that stands in a record.
    pub fn name(self) -> &'static Name {
        &NAMES[match self {
            Algorithm::HmacSha256 => 0,
            Algorithm::HmacSha384 => 1,
            Algorithm::HmacSha512 => 2,
        }]
    }

    /// Octets of its MAC.
    pub fn mac_len(self) -> usize {
        self.hmac_algorithm().digest_algorithm().output_len()
    }

    /// Octets of the shortest MAC that is well-formed (RFC 8945 section 5.2.2.1).
    pub(super) fn mac_len_min(self) -> usize {
        MAC_LEN_MIN.max(self.mac_len() / 2)
    }

    fn hmac_algorithm(self) -> hmac::Algorithm {
        match self {
            Algorithm::HmacSha256 => hmac::HMAC_SHA256,
            Algorithm::HmacSha384 => hmac::HMAC_SHA384,
            Algorithm::HmacSha512 => hmac::HMAC_SHA512,
        }
    }
}

/// Why a text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not base64.
    #[error("the secret is not base64")]
    Base64,
    /// Nothing, or too much.
    #[error("the secret has {0} bytes; allowed are 1 to {SECRET_LEN_MAX}")]
    Length(usize),
}

/// A secret that is written in base64; white space does not count.
///
/// # Errors
/// It is no base64, or too long.
pub fn secret_from_base64(text: &str) -> Result<Vec<u8>, KeyError> {
    let text: String = text.split_ascii_whitespace().collect();
    let secret: Vec<u8> = domain::utils::base64::decode(&text).map_err(|_| KeyError::Base64)?;
    match secret.len() {
        1..=SECRET_LEN_MAX => Ok(secret),
        other => Err(KeyError::Length(other)),
    }
}

/// A shared key.
#[derive(Clone)]
pub struct Key {
    name: Name,
    algorithm: Algorithm,
    hmac: hmac::Key,
    secret_len: usize,
    /// Tells one secret from another where configurations are compared.
    mark: [u8; 32],
}

impl Key {
    /// A key with this secret.
    pub fn new(name: &Name, algorithm: Algorithm, secret: &[u8]) -> Key {
        let mut mark = [0; 32];
        mark.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
        Key {
            name: name.to_lowercase(),
            algorithm,
            hmac: hmac::Key::new(algorithm.hmac_algorithm(), secret),
            secret_len: secret.len(),
            mark,
        }
    }

    /// Its name, in lower case.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Octets of its secret.
    pub fn secret_len(&self) -> usize {
        self.secret_len
    }

    /// Octets that a signature of this key adds to a message.
    pub fn record_len(&self) -> usize {
        record::len(
            &self.name,
            self.algorithm.name(),
            self.algorithm.mac_len(),
            0,
        )
    }

    pub(super) fn hmac(&self) -> &hmac::Key {
        &self.hmac
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        (&self.name, self.algorithm, self.mark) == (&other.name, other.algorithm, other.mark)
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.name, self.algorithm.name())
    }
}

/// The keys that this server holds, by name.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Arc<HashMap<Name, Arc<Key>>>);

impl Keyring {
    /// The key of that name.
    pub fn find(&self, name: &Name) -> Option<Arc<Key>> {
        self.0.get(name).cloned()
    }
}

impl FromIterator<Arc<Key>> for Keyring {
    fn from_iter<I: IntoIterator<Item = Arc<Key>>>(keys: I) -> Keyring {
        let named = keys.into_iter().map(|key| (key.name.clone(), key));
        Keyring(Arc::new(named.collect()))
    }
}
