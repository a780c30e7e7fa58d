//! How a value is sealed.
//!
//! ```text
//! octet 0      format version of the body, Row::VERSION
//! octets 1-4   CRC-32 over tree name, 0, key length (u32), key, version octet and body, little endian
//! octets 5-    body: the row as JSON, or for answers as `rows::AnswerRow` says
//! ```
//!
//! Tree and key are under the checksum, so a value that sled returns for the wrong key does not check either.

use super::{Row, Tree};

/// Octets before the body.
const HEAD_LEN: usize = 5;
/// Largest body; rows are a few hundred octets, and a held version names its reasons.
const BODY_LEN_MAX: usize = 1 << 20;

/// Why a value does not check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueFault {
    /// Shorter than its head, or absurdly long.
    #[error("impossible length")]
    Length,
    /// Written by a version of the program that this one does not read.
    #[error("unknown format version {0}")]
    Version(u8),
    /// The checksum does not match.
    #[error("checksum does not match")]
    Checksum,
    /// The body is not what the format says, or belongs to another key.
    #[error("body does not fit its format")]
    Body,
}

/// The sealed form of a row.
pub fn seal<R: Row>(row: &R) -> Vec<u8> {
    let body = row.body();
    let crc = checksum(R::TREE, &row.key(), R::VERSION, &body);
    let mut out = Vec::with_capacity(HEAD_LEN + body.len());
    out.push(R::VERSION);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&body);
    out
}

/// The row that `bytes` are, found under `key`.
///
/// # Errors
/// Why they are none.
pub fn unseal<R: Row>(key: &[u8], bytes: &[u8]) -> Result<R, ValueFault> {
    let body = check(R::TREE, key, bytes)?;
    match bytes[0] {
        version if version == R::VERSION => {}
        other => return Err(ValueFault::Version(other)),
    }
    let row = R::from_body(body).ok_or(ValueFault::Body)?;
    if row.key() == key {
        Ok(row)
    } else {
        Err(ValueFault::Body)
    }
}

/// Checks length and checksum of a value; returns its body. Works without knowing the row's type.
pub(super) fn check<'a>(tree: Tree, key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], ValueFault> {
    let Some((&[version, a, b, c, d], body)) = bytes.split_first_chunk::<HEAD_LEN>() else {
        return Err(ValueFault::Length);
    };
    if body.len() > BODY_LEN_MAX {
        return Err(ValueFault::Length);
    }
    if checksum(tree, key, version, body) != u32::from_le_bytes([a, b, c, d]) {
        return Err(ValueFault::Checksum);
    }
    Ok(body)
}

fn checksum(tree: Tree, key: &[u8], version: u8, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(tree.name().as_bytes());
    crc.update(&[0]);
    crc.update(&(key.len() as u32).to_le_bytes());
    crc.update(key);
    crc.update(&[version]);
    crc.update(body);
    crc.finalize()
}
