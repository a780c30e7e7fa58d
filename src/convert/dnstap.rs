//! `dnstap:`: the collector that is told of queries and answers.

use std::path::{Path, PathBuf};

use super::lex::Directive;
use super::output::{Draft, quoted};
use super::words::path;

/// The longest name that the configuration allows for a server or program, in octets.
const IDENTITY_MAX_BYTES: usize = 64;
/// The longest path of a socket that the configuration allows, in octets.
const SOCKET_PATH_MAX_BYTES: usize = 107;

/// What is told in pairs here, and what Unbound calls the halves.
const PAIRS: &[(&str, &[&str])] = &[
    (
        "client",
        &[
            "dnstap-log-client-query-messages",
            "dnstap-log-client-response-messages",
        ],
    ),
    (
        "resolver",
        &[
            "dnstap-log-resolver-query-messages",
            "dnstap-log-resolver-response-messages",
            "dnstap-log-forwarder-query-messages",
            "dnstap-log-forwarder-response-messages",
        ],
    ),
];

/// Converts the clauses together: a later value takes the place of an earlier one.
pub(super) fn convert(directives: &[Directive], directory: &Path, draft: &mut Draft) {
    let list: Vec<&Directive> = (directives.iter())
        .filter(|d| d.clause == "dnstap" && !d.is_head())
        .collect();
    let last = |name: &str| list.iter().rfind(|d| d.name == name).copied();
    let is_on = |name: &str| last(name).is_some_and(|d| d.flag() == Some(true));
    let Some(enabled) = last("dnstap-enable").filter(|_| is_on("dnstap-enable")) else {
        return;
    };
    let Some(socket) = last("dnstap-socket-path").and_then(|d| socket(d, directory)) else {
        let reason = format!(
            "no dnstap-socket-path of at most {SOCKET_PATH_MAX_BYTES} octets: dnstap.socket"
        );
        return draft.leave(enabled, reason);
    };
    let told = PAIRS
        .iter()
        .filter(|(_, names)| names.iter().any(|name| is_on(name)));
    if told.clone().count() == 0 {
        return draft.leave(enabled, "none of its messages is asked for");
    }
    draft.set("dnstap", "socket", quoted(socket.display()));
    for (key, names) in PAIRS {
        draft.set("dnstap", key, names.iter().any(|name| is_on(name)));
    }
    for (key, names) in told.filter(|(_, names)| !names.iter().all(|name| is_on(name))) {
        let half = names
            .iter()
            .find(|name| is_on(name))
            .and_then(|name| last(name));
        let reason = format!("dnstap.{key} tells of all of these: {}", names.join(", "));
        draft.differ(half.unwrap_or(enabled), reason);
    }
    for d in list {
        let is_told = PAIRS
            .iter()
            .any(|(_, names)| names.contains(&d.name.as_str()));
        match d.name.as_str() {
            "dnstap-identity" | "dnstap-version" if is_plain(d.value()) => {
                let key = d.name.trim_start_matches("dnstap-");
                draft.set("dnstap", key, quoted(d.value()));
            }
            "dnstap-identity" | "dnstap-version" => {
                let most = IDENTITY_MAX_BYTES;
                draft.leave(
                    d,
                    format!("allowed are {most} printable characters: [dnstap]"),
                );
            }
            "dnstap-send-identity" | "dnstap-send-version" if d.flag() == Some(false) => {
                draft.differ(d, "it is sent: dnstap.identity, dnstap.version");
            }
            "dnstap-enable" | "dnstap-socket-path" => {}
            "dnstap-send-identity" | "dnstap-send-version" => {}
            "dnstap-bidirectional" if d.flag() == Some(true) => {}
            "dnstap-ip" if d.value().is_empty() => {}
            _ if is_told => {}
            "dnstap-ip" => draft.leave(d, "collectors listen on a unix socket: dnstap.socket"),
            _ => draft.leave(d, "no counterpart"),
        }
    }
}

fn socket(d: &Directive, directory: &Path) -> Option<PathBuf> {
    let text = d.value();
    let is_sound = !text.is_empty() && !text.contains('\0');
    let path = is_sound.then(|| path(text, directory))?;
    (path.as_os_str().len() <= SOCKET_PATH_MAX_BYTES).then_some(path)
}

fn is_plain(text: &str) -> bool {
    let is_plain = |b: u8| b == b' ' || b.is_ascii_graphic();
    text.len() <= IDENTITY_MAX_BYTES && text.bytes().all(is_plain)
}
