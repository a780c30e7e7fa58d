//! `[[tsig]]`: shared keys, each with its secret in a file of its own.
//!
//! The secret is never in the configuration itself, which people copy, print and mail. A file that everybody on the machine
//! can read is a warning: the server works, and the secret is none.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::read_text;
use super::file::{check_once, need_if_written};
use super::reader::{Item, Table};
use super::{ConfigError, TsigKey, scalar};
use crate::dns::tsig::{Algorithm, Key, SECRET_LEN_WEAK, secret_from_base64};

/// Longest file of a secret, in bytes.
const SECRET_FILE_BYTES_MAX: u64 = 4096;
/// Permission bits for everybody to read and write.
const MODE_OTHERS: u32 = 0o006;

pub(super) fn tsig(mut t: Table<'_, '_>, before: &[TsigKey]) -> Option<TsigKey> {
    // RFC 8945 section 6 keeps SHA-1 and MD5 for old peers; they are refused here.
    const ALGORITHMS: [(&str, Algorithm); 3] = [
        ("hmac-sha256", Algorithm::HmacSha256),
        ("hmac-sha384", Algorithm::HmacSha384),
        ("hmac-sha512", Algorithm::HmacSha512),
    ];
    let name = need_if_written(
        &mut t,
        "name",
        "name the key, such as \"hub-key.\"",
        scalar::name,
    );
    let algorithm = t.read("algorithm", Algorithm::HmacSha256, |item| {
        item.word(&ALGORITHMS)
    });
    let secret = need_if_written(
        &mut t,
        "secret_file",
        "name the file of the secret",
        secret_file,
    );
    check_once(
        &t,
        name.as_ref(),
        "tsig",
        before.iter().map(|tsig| tsig.key.name()),
    );
    t.finish();
    let (name, (secret_file, secret)) = (name?, secret?);
    Some(TsigKey {
        key: Arc::new(Key::new(&name, algorithm, &secret)),
        secret_file,
    })
}

/// The path of a secret's file, and the secret.
fn secret_file(item: &Item<'_, '_>) -> Option<(PathBuf, Vec<u8>)> {
    let path = scalar::path(item)?;
    let meta = match std::fs::metadata(&path) {
        Ok(meta) => meta,
        Err(error) => {
            return item.fault(format!(
                "{} cannot be read: {error}; allowed is a file with the secret in base64",
                path.display()
            ));
        }
    };
    if meta.permissions().mode() & MODE_OTHERS != 0 {
        item.warn(&format!(
            "{} is open to everybody on this machine; `chmod o= FILE` closes it",
            path.display()
        ));
    }
    let secret = read_secret(&path).map_err(|error| item.doc().join(error));
    let secret = secret.ok()?;
    if secret.len() < SECRET_LEN_WEAK {
        item.warn(&format!(
            "{} has a secret of {} bytes, which can be guessed; {SECRET_LEN_WEAK} and more are safe",
            path.display(),
            secret.len()
        ));
    }
    Some((path, secret))
}

fn read_secret(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let text = read_text(path, SECRET_FILE_BYTES_MAX)?;
    secret_from_base64(&text).map_err(|error| {
        let why = format!("{error}; allowed is one secret in base64");
        ConfigError::one(path, 1, why)
    })
}
