//! Configurations of other programs as one of this one: `holdfast convert unbound FILE`.
//!
//! Why: an operator who tries this program has an unbound.conf that took years, and nobody copies access lists by hand without a
//! slip. What has a counterpart is carried over; what has none is named, with file and line, so that what is missing is
//! decided by a person and not found out in production.
//!
//! Model: `lex` makes [`Directive`]s of the files, with what they include. `server` and `zones` write what they know into a
//! [`Draft`], which is the configuration in the making, and call [`Draft::leave`] for the rest. `output` writes the draft as
//! TOML with the notes at its head. Files are read through [`Files`], so that nothing here touches the disk but [`Disk`].
//!
//! Failure: a file that cannot be read, or is no unbound.conf, ends the conversion with its place. Work is bounded by the limits of
//! `lex`, and each list by what the configuration may hold.

mod access;
mod disk;
mod dnstap;
mod lex;
mod local;
mod output;
mod server;
mod words;
mod zones;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::{CONFIG_BYTES_MAX, ConfigError};
pub use disk::Disk;
use lex::{Directive, Lexer};
use output::Draft;

/// Notes that are kept; more are counted.
const NOTES_MAX: usize = 2000;
/// Longest text of a directive in a note, in characters.
const SHOWN_CHARS_MAX: usize = 100;

/// Where the files of a configuration come from.
pub trait Files {
    /// The files that a path of an `include` names, in order; a pattern may name none.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn matching(&self, pattern: &Path) -> Result<Vec<PathBuf>, String>;

    /// The text of a file of at most `max` octets.
    ///
    /// # Errors
    /// It cannot be read, or is longer.
    fn read(&self, file: &Path, max: u64) -> Result<String, String>;
}

/// The outcome of a conversion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Converted {
    /// The text of a config.toml.
    pub config: String,
    /// What could not be carried over.
    pub left_out: Vec<Note>,
    /// What was carried over and works otherwise than before.
    pub differs: Vec<Note>,
    /// Notes beyond 2000 that are not listed.
    pub more: u64,
    /// Zone files that the configuration names, to be written beside it.
    pub files: Vec<ZoneFile>,
}

/// One thing to know about a directive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Note {
    /// The file that it stands in.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// The directive as it is written.
    pub directive: String,
    /// Why it was left out, or what differs.
    pub reason: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = (&self.file, self.line);
        write!(f, "{file}:{line}: {} -- {}", self.directive, self.reason)
    }
}

/// A zone file made of local data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ZoneFile {
    /// Its name, without a directory.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Converts the configuration of Unbound in `file`. Zone files for local data are made where `zones` names the directory that
/// they will be written to.
///
/// # Errors
/// A file cannot be read, or is no configuration of Unbound.
pub fn unbound(
    file: &Path,
    zones: Option<&Path>,
    files: &dyn Files,
) -> Result<Converted, ConfigError> {
    let directives = Lexer::new(files).read(file)?;
    let mut draft = Draft::new(file, zones);
    server::convert(&directives, files, &mut draft);
    dnstap::convert(&directives, &directory(&directives), &mut draft);
    zones::convert(&directives, files, &mut draft);
    local::convert(&directives, &mut draft);
    let converted = draft.finish();
    if converted.config.len() as u64 > CONFIG_BYTES_MAX {
        let message =
            format!("it comes to more than the {CONFIG_BYTES_MAX} octets of a configuration");
        return Err(ConfigError::one(file, 1, message));
    }
    Ok(converted)
}

/// What relative paths begin at.
fn directory(directives: &[Directive]) -> PathBuf {
    let said = directives.iter().rfind(|d| d.name == "directory");
    let beside = directives.first().and_then(|d| d.file.parent());
    let beside = beside.unwrap_or(Path::new("")).to_owned();
    said.map_or(beside, |d| PathBuf::from(d.value()))
}

/// The clauses of a kind, each as its directives.
fn clauses<'d>(directives: &'d [Directive], clause: &str) -> Vec<Vec<&'d Directive>> {
    let mut found: Vec<Vec<&Directive>> = Vec::new();
    for directive in directives.iter().filter(|d| d.clause == clause) {
        match found.last_mut() {
            Some(list) if list.last().is_some_and(|d| d.number == directive.number) => {
                list.push(directive);
            }
            _ => found.push(vec![directive]),
        }
    }
    found
}
