//! unbound.conf as a list of directives, with the files that it includes.
//!
//! The format: `name: value ...`, one directive a line, `#` begins a comment, values may stand in quotes; a name of [`CLAUSES`] without a
//! value begins a clause. `include:` reads other files in its place, `include-toplevel:` outside any clause; `*` and `?` may stand in the
//! last part of a path.

use std::path::{Path, PathBuf};

use super::Files;
use crate::config::ConfigError;

/// Octets of one file.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files in all, and files inside each other.
const FILES_MAX: usize = 1000;
const DEPTH_MAX: usize = 8;
/// Directives in all.
const DIRECTIVES_MAX: usize = 1_000_000;

/// What begins a clause.
const CLAUSES: &[&str] = &[
    "server",
    "forward-zone",
    "stub-zone",
    "auth-zone",
    "view",
    "remote-control",
    "rpz",
    "python",
    "dynlib",
    "dnscrypt",
    "dnstap",
    "cachedb",
    "ipset",
];

/// One directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    /// The clause that it stands in; empty before the first one.
    pub clause: &'static str,
    /// The how many-th clause of all that is.
    pub number: usize,
    /// Its name; for the clause itself its own name, without values.
    pub name: String,
    pub values: Vec<String>,
    pub file: PathBuf,
    pub line: usize,
}

impl Directive {
    /// The first value, or nothing.
    pub fn value(&self) -> &str {
        self.values.first().map_or("", String::as_str)
    }

    /// `yes` or `no`; anything else is neither.
    pub fn flag(&self) -> Option<bool> {
        match self.value() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }

    /// Whether it is the head of a clause.
    pub fn is_head(&self) -> bool {
        self.name == self.clause && self.values.is_empty()
    }
}

pub(super) struct Lexer<'f> {
    files: &'f dyn Files,
    clause: &'static str,
    number: usize,
    read: usize,
    found: Vec<Directive>,
}

impl<'f> Lexer<'f> {
    pub fn new(files: &'f dyn Files) -> Lexer<'f> {
        Lexer {
            files,
            clause: "",
            number: 0,
            read: 0,
            found: Vec::new(),
        }
    }

    /// All directives of a file and of those that it includes, in order.
    ///
    /// # Errors
    /// One cannot be read, is no configuration of Unbound, or there are too many.
    pub fn read(mut self, file: &Path) -> Result<Vec<Directive>, ConfigError> {
        let text = self.text(file, file, 1)?;
        self.file(file, &text, 0)?;
        Ok(self.found)
    }

    fn text(&mut self, file: &Path, from: &Path, line: usize) -> Result<String, ConfigError> {
        self.read += 1;
        if self.read > FILES_MAX {
            return Err(fault(from, line, format!("more than {FILES_MAX} files")));
        }
        let text = self.files.read(file, FILE_BYTES_MAX);
        text.map_err(|error| match file == from {
            true => fault(from, line, error),
            false => fault(from, line, format!("{}: {error}", file.display())),
        })
    }

    fn file(&mut self, file: &Path, text: &str, depth: usize) -> Result<(), ConfigError> {
        for (n, line) in text.lines().enumerate() {
            let at = n + 1;
            let words = words(line).ok_or_else(|| fault(file, at, "a quote is not closed"))?;
            self.line(file, at, words, depth)?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        file: &Path,
        at: usize,
        words: Vec<String>,
        depth: usize,
    ) -> Result<(), ConfigError> {
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some((name, rest)) = word.split_once(':').filter(|(name, _)| is_name(name)) else {
                let message = format!("{word:?} is no `name: value` of an unbound.conf");
                return Err(fault(file, at, message));
            };
            if let Some(clause) = CLAUSES.iter().find(|clause| **clause == name)
                && rest.is_empty()
            {
                self.clause = clause;
                self.number += 1;
                self.push(file, at, name, Vec::new())?;
                // `server: verbosity: 1` is allowed.
                continue;
            }
            let first = Some(rest).filter(|rest| !rest.is_empty());
            let values: Vec<String> = first.map(str::to_owned).into_iter().chain(words).collect();
            return match name {
                "include" | "include-toplevel" => {
                    if name == "include-toplevel" {
                        self.clause = "";
                    }
                    self.include(file, at, values, depth)
                }
                name => self.push(file, at, name, values),
            };
        }
        Ok(())
    }

    fn push(
        &mut self,
        file: &Path,
        line: usize,
        name: &str,
        values: Vec<String>,
    ) -> Result<(), ConfigError> {
        if self.found.len() >= DIRECTIVES_MAX {
            let message = format!("more than {DIRECTIVES_MAX} directives");
            return Err(fault(file, line, message));
        }
        self.found.push(Directive {
            clause: self.clause,
            number: self.number,
            name: name.to_owned(),
            values,
            file: file.to_owned(),
            line,
        });
        Ok(())
    }

    fn include(
        &mut self,
        file: &Path,
        at: usize,
        values: Vec<String>,
        depth: usize,
    ) -> Result<(), ConfigError> {
        let [pattern] = &values[..] else {
            return Err(fault(file, at, "an include names one file or pattern"));
        };
        if depth >= DEPTH_MAX {
            let message = format!("more than {DEPTH_MAX} files inside each other");
            return Err(fault(file, at, message));
        }
        // Unbound takes a relative path from where it was started, which nobody knows here.
        let pattern = file.parent().unwrap_or(Path::new("")).join(pattern);
        let matching = self.files.matching(&pattern);
        let included = matching.map_err(|error| fault(file, at, error))?;
        for inner in included {
            let text = self.text(&inner, file, at)?;
            self.file(&inner, &text, depth + 1)?;
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !text.is_empty() && text.bytes().all(plain)
}

fn fault(file: &Path, line: usize, message: impl Into<String>) -> ConfigError {
    ConfigError::one(file, line, message)
}

/// The words of a line without its comment; `None` if a quote stays open.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            // What stands behind the quote is a word of its own, or a comment.
            (Some(open), c) if c == open => {
                quote = None;
                words.extend(word.take());
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '#') if word.is_none() => break,
            (None, '"' | '\'') => {
                quote = Some(c);
                // `name:"value"` is two words.
                let head = word.take_if(|word| word.ends_with(':'));
                words.extend(head);
                word.get_or_insert_default();
            }
            (None, c) if c.is_ascii_whitespace() || c == '\u{b}' => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_blanks_and_comments() {
        let check = |line: &str, expected: &[&str]| {
            let expected: Vec<String> = expected.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(words(line), Some(expected), "{line}");
        };
        check("", &[]);
        check("  # all of it", &[]);
        check("port: 53 # why", &["port:", "53"]);
        check("port:53", &["port:53"]);
        check("name:\"a b\"#c", &["name:", "a b"]);
        check(
            "local-data: 'a. TXT \"x y\"'",
            &["local-data:", "a. TXT \"x y\""],
        );
        check(
            "forward-addr: 192.0.2.1@853#dns.example",
            &["forward-addr:", "192.0.2.1@853#dns.example"],
        );
        check("directory: \"\"", &["directory:", ""]);
        assert_eq!(words("name: \"a"), None);
    }
}
