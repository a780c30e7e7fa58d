//! `holdfast drill` and `holdfast readiness`: what the server does for them, and what their other end says.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use holdfast::config;
use holdfast::control::api::{CutAsked, REQUEST_LEN_MAX_BYTES, Request};
use holdfast::control::client::{self, AskError};
use holdfast::dns::Question;
use holdfast::drill::names::parse_list;
use holdfast::drill::report::ReadinessProgress;
use holdfast::engine::Planned;
use holdfast::prefix_set::{self, PrefixSet, parse_prefix};
use holdfast::reach::Cut;
use serde_json::Value;

use super::Fault;
use super::progress::Progress;

/// A list of names or prefixes may have so many octets, so that a request with it is not too long.
const LIST_BYTES_MAX: u64 = REQUEST_LEN_MAX_BYTES / 2;
/// Time between two looks at a report in the making.
const POLL_EVERY: Duration = Duration::from_millis(300);

/// Sets of prefixes as the configuration in force has them.
pub type Sets = ArcSwap<config::Reachability>;

/// The cut-off that is asked for. Reads long lists: not for a thread that answers.
///
/// # Errors
/// There is no such set, it is empty, or a list has a wrong line.
fn cut(asked: CutAsked, sets: &config::Reachability) -> Result<Cut, String> {
    match asked {
        CutAsked::Zone(zone) => {
            let zone = zone.parse().map_err(|error| format!("{zone}: {error}"))?;
            Ok(Cut::Zone(zone))
        }
        CutAsked::Isolation(set) => isolation(&set, sets),
        CutAsked::Prefix { list, file } => {
            let set = prefixes(&list, file.as_deref(), sets)?;
            Cut::prefixes(&list, set)
        }
    }
}

fn isolation(set: &str, sets: &config::Reachability) -> Result<Cut, String> {
    let found = sets.set(set);
    let found = found.ok_or_else(|| format!("there is no set \"{set}\" in [reachability.sets]"))?;
    Cut::isolation(set, found)
}

/// A set of the configuration, prefixes with commas between them, or what is in a file.
fn prefixes(
    list: &str,
    file: Option<&str>,
    sets: &config::Reachability,
) -> Result<PrefixSet, String> {
    if let Some(set) = sets.set(list) {
        return Ok(set.clone());
    }
    let written: Option<PrefixSet> = list.split(',').map(|p| parse_prefix(p.trim())).collect();
    if let Some(set) = written {
        return Ok(set);
    }
    let Some(text) = file else {
        return Err(format!(
            "{list}: no set of [reachability.sets], no prefixes, and no file"
        ));
    };
    let read = prefix_set::parse_list(text.as_bytes());
    let read = read.map_err(|faults| {
        let told = faults
            .iter()
            .map(|(line, why)| format!("{list}:{line}: {why}"));
        told.collect::<Vec<_>>().join("\n")
    })?;
    Ok(read.into_iter().collect())
}

/// The cut-off and the questions of a readiness report.
///
/// # Errors
/// As for [`cut`]; or a line is no name.
pub async fn assessed(
    asked: CutAsked,
    names: Option<String>,
    sets: &Sets,
) -> Result<(Arc<Cut>, Option<Vec<Question>>), String> {
    let sets = sets.load_full();
    let read = move || {
        let cut = Arc::new(cut(asked, &sets)?);
        let questions = names.map(|text| parse_list(text.as_bytes()));
        let questions = questions.transpose();
        let questions = questions.map_err(|(line, fault)| format!("line {line}: {fault}"))?;
        Ok((cut, questions))
    };
    let read = tokio::task::spawn_blocking(read).await;
    read.map_err(|error| error.to_string())?
}

/// What is planned.
///
/// # Errors
/// As for [`cut`].
pub async fn planned(
    asked: CutAsked,
    for_s: u64,
    shadow: bool,
    abort_at_permille: u32,
    sets: &Sets,
) -> Result<Planned, String> {
    let sets = sets.load_full();
    let read = tokio::task::spawn_blocking(move || cut(asked, &sets)).await;
    Ok(Planned {
        cut: Arc::new(read.map_err(|error| error.to_string())??),
        time: Duration::from_secs(for_s),
        shadow,
        abort_at: f64::from(abort_at_permille) / 1000.0,
    })
}

// --- at the other end -----------------------------------------------------------------------------

/// A list of names that the server is to judge, `-` for standard input. It is read here, with the rights of whoever asks: the server
/// has others, another directory, and better things to do than to wait for a pipe.
///
/// # Errors
/// It cannot be read, is too long, has a line that is no name, or no name at all.
pub fn names_of(file: &Path) -> Result<String, String> {
    let text = text_of(file)?;
    let shown = file.display();
    let questions = parse_list(&text);
    let questions = questions.map_err(|(line, fault)| format!("{shown}:{line}: {fault}"))?;
    if questions.is_empty() {
        return Err(format!("{shown}: no name in it"));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What is to be cut off, for the server to understand. A file is read here, as for [`names_of`].
///
/// # Errors
/// There is such a file, and it cannot be read or is too long.
pub fn prefix_asked(list: String) -> Result<CutAsked, String> {
    let path = Path::new(&list);
    let is_there = std::fs::metadata(path).is_ok_and(|found| !found.is_dir());
    let text = is_there.then(|| text_of(path)).transpose()?;
    let file = text.map(|text| String::from_utf8_lossy(&text).into_owned());
    Ok(CutAsked::Prefix { list, file })
}

fn text_of(file: &Path) -> Result<Vec<u8>, String> {
    let fault = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut text = Vec::new();
    let limit = LIST_BYTES_MAX + 1;
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().lock().take(limit).read_to_end(&mut text),
        false => (File::open(file).map_err(fault)?.take(limit)).read_to_end(&mut text),
    };
    read.map_err(fault)?;
    match text.len() as u64 > LIST_BYTES_MAX {
        true => Err(format!(
            "{}: more than {LIST_BYTES_MAX} octets",
            file.display()
        )),
        false => Ok(text),
    }
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
        let share = at.done as f64 / at.of.max(1) as f64;
        let what = format!("judged {} of {} questions", at.done, at.of);
        bar.say(what, Some(share));
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
        let sets = config.reachability;
        let taken = |asked: CutAsked| cut(asked, &sets).map(|cut| cut.to_string());
        let prefix = |list: &str, file: Option<&str>| CutAsked::Prefix {
            list: list.into(),
            file: file.map(Into::into),
        };
        assert!(taken(CutAsked::Isolation("domestic".into())).is_ok());
        assert!(taken(CutAsked::Isolation("ix".into())).is_ok());
        assert!(taken(prefix("ix", None)).is_ok());
        assert!(taken(prefix("192.0.2.0/24, 2001:db8::/32", None)).is_ok());
        assert!(taken(prefix("some.prefixes", Some("192.0.2.0/24 # a\n\n"))).is_ok());
        assert!(taken(CutAsked::Zone("com".into())).is_ok());
        // A file that happens to be called like a set.
        assert!(taken(prefix("ix", Some("nonsense"))).is_ok());
        let refused = |asked: CutAsked, why: &str| {
            let error = taken(asked).unwrap_err();
            assert!(error.contains(why), "{error}");
        };
        refused(CutAsked::Isolation("none".into()), "is empty");
        refused(CutAsked::Isolation("other".into()), "no set");
        refused(prefix("none", None), "no prefix");
        refused(prefix("nowhere", None), "no file");
        refused(prefix("empty", Some("\n# nothing")), "no prefix in it");
        refused(prefix("some", Some("192.0.2.0/24\nx\n")), "some:2: \"x\"");
    }

    #[test]
    fn a_list_of_names_is_bounded_and_says_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let of = |text: &[u8]| {
            let file = directory.path().join("names");
            std::fs::write(&file, text).unwrap();
            names_of(&file)
        };
        assert_eq!(of(b"a.test # \xff\n").unwrap(), "a.test # \u{fffd}\n");
        for (text, why) in [
            (&b"a.test\nb..test\n"[..], "names:2: no name"),
            (b"# only a comment\n", "no name in it"),
            (b"", "no name in it"),
            (b"\x7fELF\xff\0\n", "names:1: not UTF-8"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let endless = names_of(Path::new("/dev/zero")).unwrap_err();
        assert!(endless.contains("more than"), "{endless}");
        let endless = prefix_asked("/dev/zero".into()).unwrap_err();
        assert!(endless.contains("more than"), "{endless}");
        // Neither a directory that is called like a set nor a set without a file is read.
        for list in [".", "ix"] {
            let asked = CutAsked::Prefix {
                list: list.into(),
                file: None,
            };
            assert_eq!(prefix_asked(list.into()), Ok(asked));
        }
    }
}
