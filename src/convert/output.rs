//! The configuration in the making, and how it is written.
//!
//! A [`Draft`] holds the text of each value by table and key, in the order of `config.toml`. What is written is checked by whoever has the
//! disk: the text is read again as any configuration.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::lex::Directive;
use super::{Converted, NOTES_MAX, Note, SHOWN_CHARS_MAX, ZoneFile};
use crate::config::CONFIG_BYTES_MAX;
use crate::dns::Name;

/// Tables in the order in which they are written.
const TABLES: &[&str] = &[
    "server",
    "server.tls",
    "access",
    "resolver",
    "dns64",
    "cache",
    "stale",
    "limits",
    "log",
    "dnstap",
];
/// Octets of all tables in lists, and of all notes; what is left is for the single tables, whose lists have limits of their own.
const TABLES_BYTES_MAX: u64 = CONFIG_BYTES_MAX / 2;
const NOTES_BYTES_MAX: u64 = CONFIG_BYTES_MAX / 4;
/// Octets of the head of a table.
const HEAD_BYTES: u64 = 16;

/// The configuration in the making.
pub(super) struct Draft {
    source: PathBuf,
    /// The directory that zone files will be written to, if they are wanted.
    pub zones_dir: Option<PathBuf>,
    /// Keys of single tables: table, key, value as TOML.
    keys: BTreeMap<(usize, String), String>,
    /// Tables in lists, as they are written, with their kind.
    tables: Vec<(&'static str, String)>,
    tables_bytes: u64,
    /// Kind of the table of each zone.
    zones: BTreeMap<Name, &'static str>,
    left_out: Vec<Note>,
    differs: Vec<Note>,
    notes_bytes: u64,
    more: u64,
    files: Vec<ZoneFile>,
}

impl Draft {
    pub fn new(source: &Path, zones_dir: Option<&Path>) -> Draft {
        Draft {
            source: source.to_owned(),
            zones_dir: zones_dir.map(Path::to_owned),
            keys: BTreeMap::new(),
            tables: Vec::new(),
            tables_bytes: 0,
            zones: BTreeMap::new(),
            left_out: Vec::new(),
            differs: Vec::new(),
            notes_bytes: 0,
            more: 0,
            files: Vec::new(),
        }
    }

    /// Sets a key; a later value takes the place of an earlier one, as in Unbound.
    pub fn set(&mut self, table: &str, key: &str, value: impl ToString) {
        let table = TABLES.iter().position(|name| *name == table);
        let table = table.expect("a table of TABLES");
        self.keys.insert((table, key.to_owned()), value.to_string());
    }

    /// Adds a table to a list, unless there is one for this zone in any list, or the configuration would be longer than any may be;
    /// says why not.
    pub fn table(&mut self, kind: &'static str, zone: &Name, text: String) -> Result<(), String> {
        if let Some(other) = self.zones.get(zone) {
            return Err(format!("{zone} is a [[{other}]] already"));
        }
        let bytes = self.tables_bytes + text.len() as u64 + HEAD_BYTES;
        if bytes > TABLES_BYTES_MAX {
            return Err(format!(
                "too many zones: a configuration may have {CONFIG_BYTES_MAX} octets"
            ));
        }
        self.tables_bytes = bytes;
        self.tables.push((kind, text));
        self.zones.insert(zone.clone(), kind);
        Ok(())
    }

    /// Whether any table of a list is for this zone.
    pub fn has_zone(&self, zone: &Name) -> bool {
        self.zones.contains_key(zone)
    }

    /// A zone file to be written; one of that name stays as it is.
    pub fn file(&mut self, file: ZoneFile) {
        if !self.files.iter().any(|other| other.name == file.name) {
            self.files.push(file);
        }
    }

    /// Notes that a directive was left out.
    pub fn leave(&mut self, directive: &Directive, reason: impl Into<String>) {
        let note = note(directive, reason.into());
        if self.takes(&note) {
            self.left_out.push(note);
        }
    }

    /// Notes that a directive was carried over and works otherwise.
    pub fn differ(&mut self, directive: &Directive, reason: impl Into<String>) {
        let note = note(directive, reason.into());
        if self.takes(&note) {
            self.differs.push(note);
        }
    }

    fn takes(&mut self, note: &Note) -> bool {
        self.notes_bytes += note.to_string().len() as u64 + 4;
        let takes = self.left_out.len() + self.differs.len() < NOTES_MAX
            && self.notes_bytes < NOTES_BYTES_MAX;
        self.more += u64::from(!takes);
        takes
    }

    /// The whole text.
    pub fn finish(mut self) -> Converted {
        let main = self.source.display().to_string();
        for notes in [&mut self.left_out, &mut self.differs] {
            notes.sort_by(|a, b| {
                (a.file != main, &a.file, a.line).cmp(&(b.file != main, &b.file, b.line))
            });
        }
        let mut out = String::new();
        let source = comment(&self.source.display().to_string());
        let _ = writeln!(out, "# holdfast's configuration, converted from {source}.");
        let _ = writeln!(
            out,
            "# `holdfast check` reads it; docs/config.md and holdfast.toml(5) say what each key means."
        );
        for (title, notes) in [
            ("Left out", &self.left_out),
            ("Works otherwise", &self.differs),
        ] {
            if !notes.is_empty() {
                let _ = writeln!(out, "#\n# {title}:");
            }
            for note in notes {
                let _ = writeln!(out, "# {}", comment(&note.to_string()));
            }
        }
        if self.more > 0 {
            let _ = writeln!(out, "# ... and {} notes more", self.more);
        }
        for (n, table) in TABLES.iter().enumerate() {
            let keys = self.keys.iter().filter(|((table, _), _)| *table == n);
            for (index, ((_, key), value)) in keys.enumerate() {
                if index == 0 {
                    let _ = writeln!(out, "\n[{table}]");
                }
                let _ = writeln!(out, "{key} = {value}");
            }
        }
        for (kind, text) in &self.tables {
            let _ = write!(out, "\n[[{kind}]]\n{text}");
        }
        if !self.has_zone(&Name::root()) {
            out.push_str(MIRROR);
        }
        Converted {
            config: out,
            left_out: self.left_out,
            differs: self.differs,
            more: self.more,
            files: self.files,
        }
    }
}

/// What Unbound has no counterpart of, offered.
const MIRROR: &str = r#"
# A verified copy of the root zone answers when no root server can be reached; without these marks it is kept:
# [[mirror]]
# zone = "."
# sources = ["axfr:192.0.32.132", "axfr:192.0.47.132", "https://www.internic.net/domain/root.zone"]
"#;

fn note(directive: &Directive, reason: String) -> Note {
    let mut words = vec![format!("{}:", directive.name)];
    words.extend(directive.values.iter().cloned());
    let mut shown: String = words.join(" ").chars().take(SHOWN_CHARS_MAX + 1).collect();
    if shown.chars().count() > SHOWN_CHARS_MAX {
        shown.pop();
        shown.push('…');
    }
    Note {
        file: directive.file.display().to_string(),
        line: directive.line,
        directive: shown,
        reason,
    }
}

/// A text as TOML takes it in a comment: one line, no control characters.
fn comment(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}

/// A text as a TOML string.
pub(super) fn quoted(text: impl ToString) -> String {
    let mut out = String::from("\"");
    for c in text.to_string().chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Texts as a TOML list.
pub(super) fn list<T: ToString>(texts: impl IntoIterator<Item = T>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(quoted).collect();
    format!("[{}]", quoted.join(", "))
}
