//! Faults of configuration files, each with its place.

use std::fmt;
use std::path::{Path, PathBuf};

/// More faults than this are not listed: the first ones usually explain the rest.
pub const FAULTS_MAX_COUNT: usize = 50;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, as the operator named it or as its configuration did.
    pub file: PathBuf,
    /// The line, from 1; the first one when the whole file is meant.
    pub line: usize,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.message)
    }
}

/// Everything that was found wrong, in the order of the file; never empty. Prints as one `FILE:LINE: message` per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    faults: Vec<Fault>,
}

impl ConfigError {
    /// `None` when there is nothing wrong.
    pub(super) fn new(mut faults: Vec<Fault>) -> Option<ConfigError> {
        if faults.is_empty() {
            return None;
        }
        faults.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        faults.dedup();
        faults.truncate(FAULTS_MAX_COUNT);
        Some(ConfigError { faults })
    }

    /// One fault about a place in a file.
    pub fn one(file: &Path, line: usize, message: impl Into<String>) -> ConfigError {
        ConfigError {
            faults: vec![Fault {
                file: file.to_owned(),
                line,
                message: message.into(),
            }],
        }
    }

    /// Faults about lines of one file.
    pub(super) fn of_file(file: &Path, faults: Vec<(usize, String)>) -> ConfigError {
        let fault = |(line, message)| Fault {
            file: file.to_owned(),
            line,
            message,
        };
        ConfigError {
            faults: faults.into_iter().map(fault).collect(),
        }
    }

    /// The faults, in the order of the file.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The faults, to be joined with others.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        self.faults
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Reads a text file of the configuration whole.
///
/// # Errors
/// The file cannot be read, is longer than `bytes_max`, or is not UTF-8 (the line of the first bad byte is named).
pub(super) fn read_text(path: &Path, bytes_max: u64) -> Result<String, ConfigError> {
    use std::io::Read;
    let fail = |line, message: String| Err(ConfigError::one(path, line, message));
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return fail(1, format!("cannot be read: {error}"));
    }
    if bytes.len() as u64 > bytes_max {
        return fail(1, format!("too long: at most {bytes_max} bytes are read"));
    }
    String::from_utf8(bytes).or_else(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error
            .as_bytes()
            .iter()
            .take(good)
            .filter(|byte| **byte == b'\n')
            .count();
        fail(line, "not UTF-8 text; allowed is UTF-8 only".to_owned())
    })
}
