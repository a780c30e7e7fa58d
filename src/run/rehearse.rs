//! `holdfast drill` and `holdfast readiness`: what the server does for them, and what their other end says.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use holdfast::config::{self, load_prefixes};
use holdfast::control::api::{CutAsked, Request};
use holdfast::control::client::{self, AskError};
use holdfast::dns::Question;
use holdfast::drill::names::parse_list;
use holdfast::drill::report::ReadinessProgress;
use holdfast::engine::Planned;
use holdfast::prefix_set::{PrefixSet, parse_prefix};
use holdfast::reach::Cut;
use serde_json::Value;

use super::Fault;
use super::versions::Progress;

/// A file of names may have so many octets.
const NAMES_BYTES_MAX: u64 = 64 << 20;
/// Time between two looks at a report in the making.
const POLL_EVERY: Duration = Duration::from_millis(300);

/// Sets of prefixes as the configuration in force has them.
pub type Sets = ArcSwap<config::Reachability>;

/// The cut-off that is asked for.
///
/// # Errors
/// There is no such set, it is empty, or a list cannot be read.
pub fn cut(asked: CutAsked, sets: &Sets) -> Result<Arc<Cut>, String> {
    let sets = sets.load();
    let cut = match asked {
        CutAsked::Zone(zone) => {
            let zone = zone.parse().map_err(|error| format!("{zone}: {error}"))?;
            Cut::Zone(zone)
        }
        CutAsked::Isolation(set) => isolation(&set, &sets)?,
        CutAsked::Prefix(list) => Cut::prefixes(&list, prefixes(&list, &sets)?)?,
    };
    Ok(Arc::new(cut))
}

fn isolation(set: &str, sets: &config::Reachability) -> Result<Cut, String> {
    let found = sets.set(set);
    let found = found.ok_or_else(|| format!("there is no set \"{set}\" in [reachability.sets]"))?;
    Cut::isolation(set, found)
}

/// A set of the configuration, prefixes with commas between them, or a file.
fn prefixes(list: &str, sets: &config::Reachability) -> Result<PrefixSet, String> {
    if let Some(set) = sets.set(list) {
        return Ok(set.clone());
    }
    let written: Option<PrefixSet> = list.split(',').map(|p| parse_prefix(p.trim())).collect();
    if let Some(set) = written {
        return Ok(set);
    }
    let path = Path::new(list);
    if !path.is_absolute() {
        return Err(format!(
            "{list}: no set of [reachability.sets], no prefixes, and no file"
        ));
    }
    let read = load_prefixes(path).map_err(|error| error.to_string())?;
    Ok(read.into_iter().collect())
}

/// What is planned.
///
/// # Errors
/// As for [`cut`].
pub fn planned(
    asked: CutAsked,
    for_s: u64,
    shadow: bool,
    abort_at_permille: u32,
    sets: &Sets,
) -> Result<Planned, String> {
    Ok(Planned {
        cut: cut(asked, sets)?,
        time: Duration::from_secs(for_s),
        shadow,
        abort_at: f64::from(abort_at_permille) / 1000.0,
    })
}

/// The questions of a file, read off the threads that answer.
///
/// # Errors
/// It cannot be read, or a line is no name.
pub async fn questions(file: String) -> Result<Vec<Question>, String> {
    let read = move || {
        let path = PathBuf::from(&file);
        let length = std::fs::metadata(&path).map(|m| m.len());
        match length {
            Ok(length) if length > NAMES_BYTES_MAX => {
                return Err(format!("{file}: more than {NAMES_BYTES_MAX} octets"));
            }
            _ => {}
        }
        let text = std::fs::read(&path).map_err(|error| format!("{file}: {error}"))?;
        parse_list(&text).map_err(|(line, fault)| format!("{file}:{line}: {fault}"))
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| error.to_string())?
}

/// Asks the server for a readiness report, and waits for it.
///
/// # Errors
/// The server is not there, or says no.
pub async fn readiness(socket: &Path, request: Request) -> Result<Value, Fault> {
    let bar = Progress::start("asking the server".into());
    let mut value = ask(socket, &request).await?;
    loop {
        let at: ReadinessProgress = serde_json::from_value(value)?;
        if let Some(report) = at.report {
            return Ok(serde_json::to_value(report)?);
        }
        bar.say(format!("judged {} of {} questions", at.done, at.of));
        tokio::time::sleep(POLL_EVERY).await;
        value = ask(socket, &Request::ReadinessPoll { job: at.job }).await?;
    }
}

async fn ask(socket: &Path, request: &Request) -> Result<Value, AskError> {
    client::ask(socket, request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_prefixes_is_a_set_or_written_out() {
        let text = "[reachability]\ndomestic = ['192.0.2.0/24']\nsets = { ix = ['203.0.113.0/24'], none = [] }\n";
        let config = config::Config::parse(Path::new("config.toml"), text).unwrap();
        let sets = ArcSwap::from_pointee(config.reachability);
        let taken = |asked: CutAsked| cut(asked, &sets).map(|cut| cut.to_string());
        assert!(taken(CutAsked::Isolation("domestic".into())).is_ok());
        assert!(taken(CutAsked::Isolation("ix".into())).is_ok());
        assert!(taken(CutAsked::Prefix("ix".into())).is_ok());
        assert!(taken(CutAsked::Prefix("192.0.2.0/24, 2001:db8::/32".into())).is_ok());
        assert!(taken(CutAsked::Zone("com".into())).is_ok());
        let refused = |asked: CutAsked, why: &str| {
            let error = taken(asked).unwrap_err();
            assert!(error.contains(why), "{error}");
        };
        refused(CutAsked::Isolation("none".into()), "is empty");
        refused(CutAsked::Isolation("other".into()), "no set");
        refused(CutAsked::Prefix("none".into()), "no prefix");
        refused(CutAsked::Prefix("nowhere".into()), "no file");
        refused(
            CutAsked::Prefix("/nowhere".into()),
            "/nowhere:1: cannot be read",
        );
    }
}
