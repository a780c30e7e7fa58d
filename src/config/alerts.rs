//! `[alerts]`: who is told of what must not wait for a reader of the log.

use std::path::PathBuf;

use super::reader::{Item, Table};
use super::{Alerts, WebUrl, scalar};

/// A day: whoever wants less switches alerts off.
const INTERVAL_MAX_S: u64 = 86_400;
/// Words of the command.
const WORDS_MAX: usize = 64;

pub(super) fn alerts(mut t: Table<'_, '_>) -> Alerts {
    let default = Alerts::default();
    let config = Alerts {
        webhook: t.read("webhook", None, webhook),
        ca: t.read("ca", None, ca),
        command: t.read("command", Vec::new(), command),
        interval_s: t.read("interval", default.interval_s, interval),
    };
    let secure = config.webhook.as_ref().is_some_and(|to| to.is_secure);
    if config.ca.is_some() && !secure {
        t.fault_at(
            &["ca"],
            "ca is for a webhook with https; allowed is no ca without one",
        );
    }
    t.finish();
    config
}

fn webhook(item: &Item<'_, '_>) -> Option<Option<WebUrl>> {
    let allowed = "\"https://HOST/PATH\", \"http://HOST/PATH\" or \"\" (nobody)";
    match item.text(allowed)? {
        "" => Some(None),
        text => match WebUrl::parse(text) {
            Some(url) => Some(Some(url)),
            None => item.refuse(allowed),
        },
    }
}

fn ca(item: &Item<'_, '_>) -> Option<Option<PathBuf>> {
    match item.value().as_str() {
        Some("") => Some(None),
        _ => scalar::certificates(item).map(Some),
    }
}

/// The program must be named so that it does not matter where this one was started and what `PATH` was then.
fn command(item: &Item<'_, '_>) -> Option<Vec<String>> {
    let allowed = "a program with its full path, and its arguments: [\"/usr/local/bin/page\", \"dns\"]; there is no shell";
    let words = item.list(allowed, |word| word.text(allowed).map(str::to_owned))?;
    let is_sound = words.first().is_none_or(|program| program.starts_with('/'))
        && words.len() <= WORDS_MAX
        && words.iter().all(|word| !word.contains('\0'));
    if !is_sound {
        return item.refuse(allowed);
    }
    if let Some(program) = words.first()
        && !std::path::Path::new(program).is_file()
    {
        return item.fault(format!("{program} is no file; allowed is {allowed}"));
    }
    Some(words)
}

fn interval(item: &Item<'_, '_>) -> Option<u64> {
    let seconds = scalar::seconds(item, "")?;
    match seconds <= INTERVAL_MAX_S {
        true => Some(seconds),
        false => item.fault("longer than a day; allowed is up to \"1d\""),
    }
}
