//! `[log]` and `[dnstap]`: what is told of what happens, and to whom.

use std::path::{Component, Path, PathBuf};

use super::file::identity;
use super::reader::{Item, Table};
use super::{Dnstap, Log, LogFormat, LogLevel, QueryLog, scalar};

/// A smaller file of the query log would be put aside all the time, in bytes.
const QUERIES_BYTES_MIN: u64 = 1 << 20;
/// `sun_path` of a unix socket address, without its final NUL.
pub(super) const SOCKET_PATH_MAX_BYTES: usize = 107;

pub(super) fn log(mut t: Table<'_, '_>, data_dir: &Path) -> Log {
    let default = Log::default();
    let config = Log {
        level: t.read("level", default.level, |item| {
            item.word(&[
                ("error", LogLevel::Error),
                ("warn", LogLevel::Warn),
                ("info", LogLevel::Info),
                ("debug", LogLevel::Debug),
                ("trace", LogLevel::Trace),
            ])
        }),
        format: t.read("format", default.format, |item| {
            item.word(&[("text", LogFormat::Text), ("json", LogFormat::Json)])
        }),
        servfail: t.read("servfail", default.servfail, Item::flag),
        queries: t.read("queries", default.queries, |item| queries(item, data_dir)),
        queries_bytes_max: t.read("queries_bytes_max", default.queries_bytes_max, |item| {
            scalar::bytes(item, QUERIES_BYTES_MIN)
        }),
    };
    t.finish();
    config
}

/// Nothing is written outside `data_dir`, the query log neither.
fn queries(item: &Item<'_, '_>, data_dir: &Path) -> Option<Option<QueryLog>> {
    let allowed =
        "\"\" (none), \"stderr\", or a relative path inside data_dir, such as \"queries.log\"";
    match item.text(allowed)? {
        "" => Some(None),
        "stderr" => Some(Some(QueryLog::Stderr)),
        text => match inside(data_dir, text) {
            Some(path) => Some(Some(QueryLog::File(path))),
            None => item.refuse(allowed),
        },
    }
}

/// A name inside `data_dir`, joined to it.
pub(super) fn inside(data_dir: &Path, text: &str) -> Option<PathBuf> {
    let is_inside = |part: Component<'_>| matches!(part, Component::Normal(_));
    let is_sound = !text.is_empty() && !text.contains('\0');
    let is_sound = is_sound && Path::new(text).components().all(is_inside);
    is_sound.then(|| data_dir.join(text))
}

pub(super) fn dnstap(mut t: Table<'_, '_>) -> Dnstap {
    let default = Dnstap::default();
    let config = Dnstap {
        socket: t.read("socket", default.socket, collector),
        identity: t.read("identity", default.identity, identity),
        version: t.read("version", default.version, identity),
        client: t.read("client", default.client, Item::flag),
        resolver: t.read("resolver", default.resolver, Item::flag),
    };
    if config.socket.is_some() && !config.client && !config.resolver {
        t.fault_at(
            &["client", "resolver"],
            "client and resolver are both false; allowed is one of them, or socket = \"\"",
        );
    }
    t.finish();
    config
}

/// The collector need not be there yet.
fn collector(item: &Item<'_, '_>) -> Option<Option<PathBuf>> {
    if item.value().as_str() == Some("") {
        return Some(None);
    }
    let path = scalar::path(item)?;
    match path.as_os_str().len() <= SOCKET_PATH_MAX_BYTES {
        true => Some(Some(path)),
        false => item.fault(format!(
            "{} is longer than a socket's name may be; allowed are {SOCKET_PATH_MAX_BYTES} bytes",
            path.display()
        )),
    }
}
