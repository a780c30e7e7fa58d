//! Reading a TOML document key by key, so that every fault is found at once and each has its line.
//!
//! Why not a derived deserializer: that one stops at the first fault, and its messages speak of Rust types. Here each
//! key is named exactly once, in `file.rs`, together with what is allowed; asking for a key makes it a known key, and
//! what nobody asked for is an unknown one.
//!
//! Model: a [`Document`] collects faults and warnings; a [`Table`] hands out [`Item`]s by key; an `Item` is one value
//! with its path and its place. Parsers return `None` after they have reported why.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Fault};

/// A document being read.
pub(super) struct Document<'t> {
    file: PathBuf,
    base_dir: PathBuf,
    text: &'t str,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<String>>,
    known: RefCell<Vec<String>>,
}

impl<'t> Document<'t> {
    pub(super) fn new(file: &Path, text: &'t str) -> Document<'t> {
        let parent = file.parent().unwrap_or(Path::new(""));
        Document {
            file: file.to_owned(),
            base_dir: parent.to_owned(),
            text,
            faults: RefCell::default(),
            warnings: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// The line of a byte offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = self
            .text
            .as_bytes()
            .get(..offset)
            .unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Reports a fault at a byte offset.
    pub(super) fn fault(&self, offset: usize, message: String) {
        self.faults.borrow_mut().push(Fault {
            file: self.file.clone(),
            line: self.line(offset),
            message,
        });
    }

    /// Takes over the faults of another file.
    pub(super) fn join(&self, error: ConfigError) {
        self.faults.borrow_mut().extend(error.into_faults());
    }

    /// Remembers something that is allowed but looks like a mistake.
    pub(super) fn warn(&self, offset: usize, message: &str) {
        let line = self.line(offset);
        let warning = format!("{}:{line}: {message}", self.file.display());
        self.warnings.borrow_mut().push(warning);
    }

    /// A path as written, seen from the directory of the file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.base_dir.join(path)
    }

    /// The directory of the file.
    pub(super) fn base_dir(&self) -> &Path {
        &self.base_dir
    }

    pub(super) fn into_parts(self) -> (Vec<Fault>, Vec<String>, Vec<String>) {
        let mut known = self.known.into_inner();
        known.sort();
        known.dedup();
        (self.faults.into_inner(), self.warnings.into_inner(), known)
    }
}

/// A table, or the absence of one, whose keys are asked for one by one.
pub(super) struct Table<'d, 't> {
    doc: &'d Document<'t>,
    path: String,
    table: Option<&'d DeTable<'t>>,
    /// Where it starts, for faults about what it lacks.
    offset: usize,
    asked: Vec<&'static str>,
}

impl<'d, 't> Table<'d, 't> {
    /// The document's top level.
    pub(super) fn root(doc: &'d Document<'t>, table: &'d DeTable<'t>) -> Table<'d, 't> {
        Table::new(doc, String::new(), Some(table), 0)
    }

    fn new(
        doc: &'d Document<'t>,
        path: String,
        table: Option<&'d DeTable<'t>>,
        offset: usize,
    ) -> Table<'d, 't> {
        Table {
            doc,
            path,
            table,
            offset,
            asked: Vec::new(),
        }
    }

    /// The document that this is a part of.
    pub(super) fn doc(&self) -> &'d Document<'t> {
        self.doc
    }

    /// Whether anything is written in it.
    pub(super) fn is_written(&self) -> bool {
        self.table.is_some_and(|table| !table.is_empty())
    }

    /// A fault about the whole table.
    pub(super) fn fault(&self, message: &str) {
        self.doc.fault(self.offset, self.titled(message));
    }

    /// A warning about the whole table.
    pub(super) fn warn(&self, message: &str) {
        self.doc.warn(self.offset, &self.titled(message));
    }

    /// A fault about the first of some keys that is written, or else about the table.
    pub(super) fn fault_at(&self, keys: &[&str], message: &str) {
        self.doc.fault(self.offset_of(keys), self.titled(message));
    }

    /// A fault about the first text below some keys for which `is` holds, or else as [`Table::fault_at`].
    pub(super) fn fault_at_text(&self, keys: &[&str], is: impl Fn(&str) -> bool, message: &str) {
        let values = keys.iter().filter_map(|key| self.table?.get(*key));
        let found = values.filter_map(|value| find_text(value, &is)).min();
        let offset = found.unwrap_or_else(|| self.offset_of(keys));
        self.doc.fault(offset, self.titled(message));
    }

    /// A warning about the first of some keys that is written, or else about the table.
    pub(super) fn warn_at(&self, keys: &[&str], message: &str) {
        self.doc.warn(self.offset_of(keys), &self.titled(message));
    }

    fn offset_of(&self, keys: &[&str]) -> usize {
        let entry = |key: &&str| self.table?.get_key_value(*key);
        keys.iter()
            .find_map(entry)
            .map_or(self.offset, |(key, _)| key.span().start)
    }

    fn titled(&self, message: &str) -> String {
        if self.path.is_empty() {
            message.to_owned()
        } else {
            format!("{}: {message}", self.path)
        }
    }

    /// The value of a key, if it is written.
    pub(super) fn item(&mut self, key: &'static str) -> Option<Item<'d, 't>> {
        let (path, _, value) = self.entry(key)?;
        Some(Item {
            doc: self.doc,
            path,
            offset: value.span().start,
            value: value.get_ref(),
        })
    }

    /// The parsed value of a key; its default when it is absent or wrong.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&Item<'d, 't>) -> Option<T>,
    ) -> T {
        self.item(key)
            .and_then(|item| parse(&item))
            .unwrap_or(default)
    }

    /// The parsed value of a key that must be there.
    pub(super) fn need<T>(
        &mut self,
        key: &'static str,
        what: &str,
        parse: impl FnOnce(&Item<'d, 't>) -> Option<T>,
    ) -> Option<T> {
        let item = self.item(key);
        if item.is_none() && !self.has(key) {
            self.fault(&format!("`{key}` is missing; {what}"));
        }
        parse(&item?)
    }

    /// Whether a key is written, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether a key is written as `[]`.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        let value = self.table.and_then(|table| table.get(key));
        value
            .and_then(|value| value.get_ref().as_array())
            .is_some_and(|list| list.is_empty())
    }

    /// The table `[key]`, read even when absent so that its keys are known.
    pub(super) fn table(&mut self, key: &'static str) -> Table<'d, 't> {
        let (doc, at) = (self.doc, self.offset);
        let absent = |path| Table::new(doc, path, None, at);
        let known = self.path_of(key);
        let Some((path, offset, value)) = self.entry(key) else {
            return absent(known);
        };
        if value.get_ref().as_table().is_none() {
            let found = describe(value.get_ref());
            self.doc.fault(
                offset,
                format!("{path}: {found}; allowed is one table, [{path}]"),
            );
        }
        Table::new(self.doc, path, value.get_ref().as_table(), offset)
    }

    /// The tables `[[key]]`; one absent table when there are none, so that its keys are known.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Table<'d, 't>> {
        let (doc, at) = (self.doc, self.offset);
        let absent = |path| vec![Table::new(doc, path, None, at)];
        let known = self.path_of(key);
        let Some((path, offset, value)) = self.entry(key) else {
            return absent(known);
        };
        let tables = value.get_ref().as_array().map(|list| {
            list.iter()
                .map(|element| (element.span().start, element.get_ref().as_table()))
                .collect()
        });
        let tables: Vec<_> = tables.unwrap_or_default();
        if !value.get_ref().is_array() || tables.iter().any(|(_, table)| table.is_none()) {
            let found = describe(value.get_ref());
            self.doc.fault(
                offset,
                format!("{path}: {found}; allowed are tables, each [[{path}]]"),
            );
            return absent(path);
        }
        let one = |(offset, table)| Table::new(self.doc, path.clone(), table, offset);
        tables.into_iter().map(one).collect()
    }

    /// Every value of a table whose keys are names that the operator chooses, in order of the names.
    pub(super) fn named(self) -> Vec<(String, Item<'d, 't>)> {
        let entries = self.table.into_iter().flatten();
        let item = |(key, value): (&'d Spanned<_>, &'d Spanned<DeValue<'t>>)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            let item = Item {
                doc: self.doc,
                path: self.path_of(name),
                offset: value.span().start,
                value: value.get_ref(),
            };
            (name.to_string(), item)
        };
        entries.map(item).collect()
    }

    /// Ends the reading: whatever was not asked for is unknown.
    pub(super) fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let path = self.path_of(name);
            let hint = nearest(name, &self.asked)
                .map(|near| format!("did you mean `{near}`? "))
                .unwrap_or_default();
            let allowed = self.asked.join(", ");
            let message = format!("{path}: unknown key; {hint}allowed here: {allowed}");
            self.doc.fault(key.span().start, message);
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Path, place of the key, value.
    fn entry(&mut self, key: &'static str) -> Option<(String, usize, &'d Spanned<DeValue<'t>>)> {
        self.asked.push(key);
        let path = self.path_of(key);
        self.doc.known.borrow_mut().push(path.clone());
        let (key, value) = self.table?.get_key_value(key)?;
        Some((path, key.span().start, value))
    }
}

/// One value with its path and place.
#[derive(Clone)]
pub(super) struct Item<'d, 't> {
    doc: &'d Document<'t>,
    /// Such as `server.listen`.
    pub(super) path: String,
    offset: usize,
    value: &'d DeValue<'t>,
}

impl<'d, 't> Item<'d, 't> {
    /// The document that this is a part of.
    pub(super) fn doc(&self) -> &'d Document<'t> {
        self.doc
    }

    /// Reports what is wrong with this value.
    pub(super) fn fault<T>(&self, message: impl AsRef<str>) -> Option<T> {
        self.doc
            .fault(self.offset, format!("{}: {}", self.path, message.as_ref()));
        None
    }

    /// Reports that the value is none of what is allowed.
    pub(super) fn refuse<T>(&self, allowed: &str) -> Option<T> {
        self.fault(format!(
            "{} is not allowed here; allowed is {allowed}",
            describe(self.value)
        ))
    }

    /// Notes that the value looks like a mistake.
    pub(super) fn warn(&self, message: &str) {
        self.doc
            .warn(self.offset, &format!("{}: {message}", self.path));
    }

    /// The value itself.
    pub(super) fn value(&self) -> &'d DeValue<'t> {
        self.value
    }

    /// A string, or a refusal that says what is allowed.
    pub(super) fn text(&self, allowed: &str) -> Option<&'d str> {
        self.value.as_str().or_else(|| self.refuse(allowed))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        self.value
            .as_bool()
            .or_else(|| self.refuse("true or false"))
    }

    /// A whole number from `least` to `most`.
    pub(super) fn number(&self, least: u64, most: u64, unit: &str) -> Option<u64> {
        let written = self.value.as_integer();
        let number = written.and_then(|number| {
            u64::from_str_radix(number.as_str().trim_start_matches('+'), number.radix()).ok()
        });
        number
            .filter(|number| (least..=most).contains(number))
            .or_else(|| self.refuse(&format!("a whole number from {least} to {most}{unit}")))
    }

    /// The parsed elements of a list; each wrong one is reported at its own line and left out.
    pub(super) fn list<T>(
        &self,
        allowed: &str,
        parse: impl Fn(&Item<'d, 't>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(list) = self.value.as_array() else {
            return self.refuse(&format!("a list: {allowed}"));
        };
        let element = |element: &'d Spanned<DeValue<'t>>| Item {
            offset: element.span().start,
            value: element.get_ref(),
            ..self.clone()
        };
        Some(
            list.iter()
                .filter_map(|value| parse(&element(value)))
                .collect(),
        )
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let written = self.value.as_str();
        let found = words.iter().find(|(word, _)| Some(*word) == written);
        found.map(|(_, value)| *value).or_else(|| {
            let words: Vec<_> = words
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            self.refuse(&words.join(" or "))
        })
    }

    /// The value as a table, for the long form of a list element.
    pub(super) fn as_table(&self) -> Option<Table<'d, 't>> {
        let table = self.value.as_table()?;
        Some(Table::new(
            self.doc,
            self.path.clone(),
            Some(table),
            self.offset,
        ))
    }
}

/// Where the first text in a value stands for which `is` holds.
fn find_text(value: &Spanned<DeValue<'_>>, is: &dyn Fn(&str) -> bool) -> Option<usize> {
    match value.get_ref() {
        DeValue::String(text) if is(text) => Some(value.span().start),
        DeValue::Array(items) => items.iter().find_map(|item| find_text(item, is)),
        DeValue::Table(table) => {
            let found = table.values().filter_map(|value| find_text(value, is));
            found.min()
        }
        _ => None,
    }
}

/// How a value is shown in a fault: itself when it is short, else its kind.
fn describe(value: &DeValue<'_>) -> String {
    const SHOWN_MAX_CHARS: usize = 60;
    match value {
        DeValue::String(text) if text.chars().count() <= SHOWN_MAX_CHARS => format!("{text:?}"),
        DeValue::String(_) => "this long string".to_owned(),
        DeValue::Integer(number) if number.as_str().len() <= SHOWN_MAX_CHARS => number.to_string(),
        DeValue::Integer(_) => "this long number".to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Float(_) => "a fraction".to_owned(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The known key that a misspelt one probably stands for.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    const DISTANCE_MAX: usize = 3;
    const NAME_MAX_BYTES: usize = 64;
    if name.len() > NAME_MAX_BYTES {
        return None;
    }
    let scored = known
        .iter()
        .map(|key| (distance(name.as_bytes(), key.as_bytes()), *key));
    let (score, key) = scored.min()?;
    (score <= DISTANCE_MAX && score < key.len()).then_some(key)
}

/// Levenshtein distance of two short words.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, left) in a.iter().enumerate() {
        let mut diagonal = index;
        let mut last = index + 1;
        for (right, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let replace = diagonal + usize::from(left != right);
            diagonal = *cell;
            last = replace.min(diagonal + 1).min(last + 1);
            *cell = last;
        }
    }
    // The empty word needs as many insertions as the other one has letters.
    if b.is_empty() {
        a.len()
    } else {
        row.last().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        let check = |a: &str, b: &str, expected| {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        };
        check("", "", 0);
        check("abc", "", 3);
        check("", "abc", 3);
        check("listen", "lisen", 1);
        check("kitten", "sitting", 3);
        check("same", "same", 0);
    }

    #[test]
    fn nearest_needs_a_likeness() {
        let known = ["listen", "data_dir", "workers"];
        assert_eq!(nearest("lisen", &known), Some("listen"));
        assert_eq!(nearest("datadir", &known), Some("data_dir"));
        assert_eq!(nearest("certificate", &known), None);
    }
}
