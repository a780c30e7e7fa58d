//! `[server.tls]`: what encrypted listeners show, whom they ask, and where they are.
//!
//! The files are read here, so that whoever names a wrong one learns it before the start, or keeps what is in force at a reload.

use std::path::Path;

use super::file::{listeners, need_if_written};
use super::reader::{Item, Table};
use super::{ServerTls, scalar};
use crate::tls::{Authorities, Identity, IdentityError};

pub(super) fn server_tls(mut t: Table<'_, '_>) -> Option<ServerTls> {
    let identity = identity(&mut t);
    let client_ca = t.item("client_ca").map(|item| authorities(&item));
    let config = ServerTls {
        dot: t.read("dot", Vec::new(), listeners),
        name: t.item("name").and_then(|item| scalar::name(&item)),
        doh: t.read("doh", Vec::new(), listeners),
        doq: t.read("doq", Vec::new(), listeners),
        // A wrong file must not become none: then nobody would be asked.
        client_ca: match client_ca {
            Some(authorities) => Some(authorities?),
            None => None,
        },
        identity: identity?,
    };
    let all = [&config.dot, &config.doh, &config.doq];
    if all.iter().all(|addresses| addresses.is_empty()) {
        t.warn("no addresses in dot, doh or doq, so nothing is encrypted");
    }
    if let Some(both) = config.dot.iter().find(|at| config.doh.contains(at)) {
        let message = format!("{both} is in dot and in doh; allowed is one of them");
        t.fault_at(&["doh"], &message);
    }
    t.finish();
    Some(config)
}

fn identity(t: &mut Table<'_, '_>) -> Option<Identity> {
    let cert = need_if_written(t, "cert", "name the certificate chain (PEM)", scalar::path);
    let key = need_if_written(t, "key", "name the private key (PEM)", scalar::path);
    load_identity(t, &cert?, &key?)
}

/// Reads both files; what is wrong is told at the key that names the file.
pub(super) fn load_identity(t: &Table<'_, '_>, cert: &Path, key: &Path) -> Option<Identity> {
    let error = match Identity::load(cert, key) {
        Ok(identity) => return Some(identity),
        Err(error) => error,
    };
    let (at, allowed) = match error {
        IdentityError::Cert(_) => ("cert", "a certificate chain in PEM form, the own one first"),
        IdentityError::Key(_) => ("key", "the private key of the certificate in PEM form"),
    };
    t.fault_at(&[at], &format!("{at}: {error}; allowed is {allowed}"));
    None
}

pub(super) fn authorities(item: &Item<'_, '_>) -> Option<Authorities> {
    match Authorities::load(&scalar::path(item)?) {
        Ok(authorities) => Some(authorities),
        Err(error) => item.fault(format!(
            "{error}; allowed is a file of certificates in PEM form"
        )),
    }
}
