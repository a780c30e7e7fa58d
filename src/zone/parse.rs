//! Zone files (RFC 1035 section 5) as a stream of records.
//!
//! Plain lines of the types that registries' files are full of are read by [`super::quick`]. The words of all other
//! entries are read by the `domain` crate, which knows every DNSSEC type and RFC 3597.
//! Here the text is cut into entries that are handed over one at a time. So memory does not grow with
//! the file, every error names file, line and column of the token at fault, and what `domain` does not
//! read is put into its words before (`entry`). $GENERATE and $INCLUDE are carried out here (`generate`, `include`): an included file is
//! a stream of its own inside the one that names it.
//! After the first error the stream ends.

mod included;

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use domain::base::name::ToName;
use domain::base::rdata::ComposeRecordData;
use domain::zonefile::inplace::{Entry, ScannedRecord, Zonefile};

use super::entry::{Cut, NO_ORIGIN, Rewrite, cut_entry, unit_seconds};
use super::generate::{GENERATED_BYTES_MAX, Generate};
use super::include::Includes;
use super::quick::{self, Context, RecordBuf};
use super::room::FileText;
use crate::dns::{Class, Name, Record, Rtype, rdata};

/// The largest zone file, in octets.
pub const FILE_BYTES_MAX: u64 = 8 << 30;
/// The most records that a zone file may have.
pub const RECORDS_MAX: u64 = 200_000_000;
/// TTL in seconds of records in a file that names none before them.
pub const DEFAULT_TTL_S: u32 = 3600;

/// Why a zone file cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The file's name as given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in octets, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )
    }
}

impl std::error::Error for ParseError {}

/// The records of a zone file. Relative names are completed with `origin` until the file says
/// `$ORIGIN`; without either they are an error.
/// $INCLUDE is refused.
pub fn records<'a>(text: &'a [u8], file: &'a str, origin: Option<&Name>) -> Records<'a> {
    let origin = origin.map(|origin| origin.wire().to_vec());
    start(Text::Borrowed(text), Cow::Borrowed(file), origin, None)
}

/// As [`records`], of a file that may include others.
pub fn records_with<'a>(
    text: &'a [u8],
    file: &'a str,
    origin: Option<&Name>,
    includes: &'a mut Includes,
) -> Records<'a> {
    Records {
        includes: Some(includes),
        ..records(text, file, origin)
    }
}

fn start<'a>(
    text: Text<'a>,
    file: Cow<'a, str>,
    origin: Option<Vec<u8>>,
    includes: Option<&'a mut Includes>,
) -> Records<'a> {
    let mut scanner = Zonefile::with_capacity(SCANNER_BYTES);
    scanner.set_default_class(domain::base::iana::Class::IN);
    let named = (origin.clone()).and_then(|wire| domain::base::Name::from_octets(wire).ok());
    if let Some(origin) = named {
        scanner.set_origin(origin.to_name());
    }
    let context = Context { origin, ttl: None };
    Records {
        quick: true,
        context,
        record: RecordBuf::default(),
        last_owner: Vec::new(),
        unseen_owner: None,
        unseen_ttl: None,
        text,
        file,
        at: 0,
        line: 1,
        entry: 0..0,
        entry_line: 1,
        scanner,
        fed_lines: 0,
        generate: None,
        includes,
        included: None,
        count: 0,
        generated_left: GENERATED_BYTES_MAX,
        done: false,
    }
}

/// What is read: the caller's, or an included file's, which lives as long as its records are read.
#[derive(Clone)]
enum Text<'a> {
    Borrowed(&'a [u8]),
    Owned(Arc<FileText>),
}

impl Deref for Text<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Text::Borrowed(text) => text,
            Text::Owned(text) => text,
        }
    }
}

const SCANNER_BYTES: usize = 64 << 10;
/// Octets of a directive that is not known, as people are told.
const DIRECTIVE_LEN_SHOWN: usize = 32;

/// What stands next in a text.
enum Next {
    /// A record or a directive.
    Entry,
    /// A comment or an empty line.
    Nothing,
    /// Nothing more.
    End,
}

/// Iterates over the records of a zone file.
pub struct Records<'a> {
    text: Text<'a>,
    file: Cow<'a, str>,
    /// Where the next entry starts, and on which line.
    at: usize,
    line: usize,
    /// The entry in hand, and the line that it starts on.
    entry: Range<usize>,
    entry_line: usize,
    scanner: Zonefile,
    /// Whether plain lines are read the quick way; tests compare with the scanner alone.
    quick: bool,
    /// What the quick way needs to know.
    context: Context,
    /// The record in hand; its owner is the last one named.
    record: RecordBuf,
    /// The owner last named, in wire form.
    last_owner: Vec<u8>,
    /// The last lines that named an owner or a TTL, as far as the scanner has not seen them: it takes both from there where
    /// an entry names none.
    unseen_owner: Option<Unseen>,
    unseen_ttl: Option<Unseen>,
    /// Lines that the scanner has seen before this entry.
    fed_lines: usize,
    /// The $GENERATE in hand, whose entry is the present one.
    generate: Option<Generate>,
    /// What may be included; handed on to the file that is.
    includes: Option<&'a mut Includes>,
    /// The file that is being included, whose directive is the present entry.
    included: Option<Box<Records<'a>>>,
    count: u64,
    /// Octets of lines that $GENERATE may still stand for.
    generated_left: u64,
    done: bool,
}

/// An entry that was read the quick way: where it is, and on which line.
#[derive(Clone, PartialEq, Eq)]
struct Unseen {
    entry: Range<usize>,
    line: usize,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.advance()?;
        let record = self.record();
        Some(found.map(|()| Record {
            name: record.name(),
            rtype: record.rtype,
            class: Class::IN,
            ttl: record.ttl,
            rdata: record.rdata.as_slice().into(),
        }))
    }
}

impl Records<'_> {
    /// Goes to the next record, which is in [`Records::record`] then.
    pub(super) fn advance(&mut self) -> Option<Result<(), ParseError>> {
        if self.done {
            return None;
        }
        let item = self.step().transpose();
        self.done = !matches!(item, Some(Ok(())));
        item
    }

    /// The record in hand; its data has the form of its type.
    pub(super) fn record(&self) -> &RecordBuf {
        match &self.included {
            Some(included) => included.record(),
            None => &self.record,
        }
    }

    /// An error about the record that came last, placed at its entry.
    pub fn error_here(&self, message: impl fmt::Display) -> ParseError {
        if let Some(included) = &self.included {
            return included.error_here(message);
        }
        let entry = &self.text[self.entry.clone()];
        let start = entry.iter().position(|b| !b.is_ascii_whitespace());
        self.error_at(start.unwrap_or(0), message)
    }

    fn error_at(&self, offset: usize, message: impl fmt::Display) -> ParseError {
        let entry = &self.text[self.entry.clone()];
        let before = &entry[..offset.min(entry.len())];
        let line_start = before
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |i| i + 1);
        ParseError {
            file: self.file.clone().into_owned(),
            line: self.entry_line + count_lines(before),
            column: before.len() - line_start + 1,
            message: message.to_string(),
        }
    }

    fn step(&mut self) -> Result<Option<()>, ParseError> {
        if self.text.len() as u64 > FILE_BYTES_MAX {
            return Err(self.error_at(
                0,
                format!("the file is larger than {FILE_BYTES_MAX} octets"),
            ));
        }
        loop {
            if self.next_included()? {
                return Ok(Some(()));
            }
            if self.next_generated()? {
                return self.counted().map(Some);
            }
            if self.quick_line() {
                return self.counted().map(Some);
            }
            match self.next_entry()? {
                Next::End => return Ok(None),
                // What follows a comment may be a plain line.
                Next::Nothing => continue,
                Next::Entry => {}
            }
            self.show_unseen()?;
            let text = self.text.clone();
            let entry = &text[self.entry.clone()];
            let directive = entry.starts_with(b"$");
            if directive && self.is_carried_out(entry)? {
                continue;
            }
            let is_record = self.read(entry)?;
            if directive {
                self.note_directive(entry);
            }
            if is_record {
                return self.counted().map(Some);
            }
        }
    }

    /// Reads an entry; says whether it was a record.
    fn read(&mut self, entry: &[u8]) -> Result<bool, ParseError> {
        let fixed = Rewrite::of(entry, self.context.origin.as_deref());
        if let Some((at, what)) = fixed.fault {
            return Err(self.error_at(at, what));
        }
        match self.feed(&fixed)? {
            Some(record) => self.convert(record).map(|()| true),
            None => Ok(false),
        }
    }

    /// Reads the next record of a $GENERATE; says whether there was one. What is wrong with it is wrong with the directive.
    fn next_generated(&mut self) -> Result<bool, ParseError> {
        let Some(generate) = &mut self.generate else {
            return Ok(false);
        };
        let line = generate.next_line();
        let Some(line) = line.map_err(|error| self.error_here(error))? else {
            self.generate = None;
            return Ok(false);
        };
        match self.read(&line) {
            Ok(true) => Ok(true),
            // It would count nowhere, and nothing would bound how many of them a short file makes.
            Ok(false) => Err(self.error_here("a line of $GENERATE makes no record")),
            Err(error) => Err(self.error_here(error.message)),
        }
    }

    fn counted(&mut self) -> Result<(), ParseError> {
        self.count += 1;
        match self.count > RECORDS_MAX {
            true => Err(self.error_here(format!("more than {RECORDS_MAX} records"))),
            false => Ok(()),
        }
    }

    /// Reads the next line if it is a plain one.
    fn quick_line(&mut self) -> bool {
        let rest = &self.text[self.at.min(self.text.len())..];
        if rest.is_empty() || !self.quick {
            return false;
        }
        let Some(line) = quick::read(rest, &self.context, &mut self.record) else {
            // It may have begun to change the record.
            self.record.owner.clone_from(&self.last_owner);
            return false;
        };
        if line.owner {
            self.last_owner.clone_from(&self.record.owner);
        }
        let unseen = Unseen {
            entry: self.at..self.at + line.len,
            line: self.line,
        };
        (self.entry, self.entry_line) = (unseen.entry.clone(), self.line);
        if line.ttl {
            self.unseen_ttl = Some(unseen.clone());
        }
        if line.owner {
            self.unseen_owner = Some(unseen);
        }
        self.at += line.len;
        self.line += 1;
        true
    }

    /// Shows the scanner the lines that it would have learnt something from.
    fn show_unseen(&mut self) -> Result<(), ParseError> {
        let (owner, ttl) = (self.unseen_owner.take(), self.unseen_ttl.take());
        if owner.is_none() && ttl.is_none() {
            return Ok(());
        }
        let here = (self.entry.clone(), self.entry_line);
        let mut lines: Vec<Unseen> = owner.into_iter().chain(ttl).collect();
        lines.sort_by_key(|unseen| unseen.line);
        lines.dedup();
        for unseen in lines {
            (self.entry, self.entry_line) = (unseen.entry, unseen.line);
            let text = self.text.clone();
            // Only lines read the quick way are here; none of them needs an origin to be rewritten.
            self.feed(&Rewrite::of(&text[self.entry.clone()], None))?;
        }
        (self.entry, self.entry_line) = here;
        Ok(())
    }

    /// Takes over what a directive has set.
    fn note_directive(&mut self, entry: &[u8]) {
        let mut words = entry
            .split(u8::is_ascii_whitespace)
            .filter(|w| !w.is_empty());
        if words
            .next()
            .is_some_and(|w| w.eq_ignore_ascii_case(b"$TTL"))
        {
            let word = words.next().unwrap_or_default();
            let plain = std::str::from_utf8(word).ok().and_then(|w| w.parse().ok());
            self.context.ttl = plain.or_else(|| unit_seconds(word));
        }
        // The scanner refuses names below an origin that is none.
        let origin = self.scanner.origin().ok();
        let origin = origin.filter(|origin| Name::from_wire(origin.as_slice()).is_ok());
        self.context.origin = origin.map(|origin| origin.as_slice().to_vec());
    }

    /// Moves to the next entry.
    fn next_entry(&mut self) -> Result<Next, ParseError> {
        self.entry_line = self.line;
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(Next::End);
        }
        let cut = cut_entry(rest);
        let len = match cut {
            Cut::Entry { len, .. } => len,
            Cut::Open { at, .. } | Cut::TooLong { at } => at + 1,
        };
        self.entry = self.at..self.at + len;
        match cut {
            Cut::Entry { len, empty } => {
                self.at += len;
                self.line += count_lines(&rest[..len]);
                Ok(if empty { Next::Nothing } else { Next::Entry })
            }
            Cut::Open { at, what } => Err(self.error_at(at, format!("{what} is never closed"))),
            Cut::TooLong { .. } => {
                let message = format!(
                    "an entry is longer than {} octets",
                    super::entry::ENTRY_BYTES_MAX
                );
                Err(self.error_at(0, message))
            }
        }
    }

    /// Whether a directive is carried out here; otherwise the scanner knows it.
    fn is_carried_out(&mut self, entry: &[u8]) -> Result<bool, ParseError> {
        let end = entry.iter().position(|b| b.is_ascii_whitespace());
        let (word, rest) = entry.split_at(end.unwrap_or(entry.len()));
        // It may be anything, also what a terminal obeys, and reaches the log and `status`.
        let word = &word[..word.len().min(DIRECTIVE_LEN_SHOWN)];
        let word = word.to_ascii_uppercase().escape_ascii().to_string();
        match word.as_str() {
            "$ORIGIN" | "$TTL" => Ok(false),
            "$GENERATE" => {
                let generate = Generate::read(rest, self.generated_left);
                let generate = generate.map_err(|error| self.error_at(0, error))?;
                self.generated_left -= generate.bytes();
                self.generate = Some(generate);
                Ok(true)
            }
            "$INCLUDE" => {
                let at = entry.len() - rest.len();
                self.include(entry, at).map(|()| true)
            }
            _ => {
                let known = "$ORIGIN, $TTL, $INCLUDE and $GENERATE are known";
                Err(self.error_at(0, format!("unknown directive {word}; {known}")))
            }
        }
    }

    /// Lets the scanner read one entry.
    fn feed(&mut self, fixed: &Rewrite<'_>) -> Result<Option<ScannedRecord>, ParseError> {
        self.scanner.extend_from_slice(&fixed.text);
        if !fixed.text.ends_with(b"\n") {
            self.scanner.extend_from_slice(b"\n");
        }
        let before = self.fed_lines;
        self.fed_lines += count_lines(&fixed.text);
        match self.scanner.next_entry() {
            Ok(Some(Entry::Record(record))) => Ok(Some(record)),
            Ok(Some(Entry::Include { .. })) => {
                // Such an entry has been carried out before the scanner saw it.
                Err(self.error_at(0, "$INCLUDE at a place where it cannot be"))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                let text = error.to_string();
                let mut parts = text.splitn(3, ':');
                let mut number = || parts.next().and_then(|n| n.parse::<usize>().ok());
                let (line, column) = (number().unwrap_or(1), number().unwrap_or(1));
                let message = parts.next().unwrap_or("malformed entry").trim().to_owned();
                let message = plain_words(&message);
                if message == ONLY_IN {
                    // Noticed after the type: the entry is nearer the fault.
                    return Err(self.error_here(message));
                }
                let place = offset_of(&fixed.text, line.saturating_sub(before), column);
                let place = match &*message {
                    TOO_MANY_CLOSED => place,
                    // Noticed when the next token was in sight.
                    NO_ORIGIN => {
                        let name_end = fixed.text[..place].trim_ascii_end().len();
                        token_start(&fixed.text, name_end)
                    }
                    _ => token_start(&fixed.text, place),
                };
                Err(self.error_at(fixed.original(place), message))
            }
        }
    }

    fn convert(&mut self, scanned: ScannedRecord) -> Result<(), ParseError> {
        let mut owner = Vec::with_capacity(64);
        let mut data = Vec::with_capacity(64);
        // Writing into a Vec cannot fail.
        let _ = scanned.owner().compose(&mut owner);
        let _ = scanned.data().compose_rdata(&mut data);
        Name::from_wire(&owner).map_err(|e| self.error_here(e))?;
        let rtype = Rtype(scanned.rtype().to_int());
        if data.len() > usize::from(u16::MAX) || rdata::check(&data, rtype).is_err() {
            return Err(self.error_here(format!("malformed {rtype} data")));
        }
        self.last_owner.clone_from(&owner);
        self.record = RecordBuf {
            owner,
            rtype,
            ttl: scanned.ttl().as_secs(),
            rdata: data,
        };
        Ok(())
    }
}

const ONLY_IN: &str = "only class IN is supported";
const TOO_MANY_CLOSED: &str = "a closing parenthesis without its opening one";

/// `domain`'s messages where they need its terms to be understood.
fn plain_words(message: &str) -> Cow<'_, str> {
    let head = message.split(':').next().unwrap_or(message);
    Cow::Borrowed(match head {
        "expected rtype" => "expected a TTL, a class or a record type",
        "different class" => ONLY_IN,
        "unbalanced parens" => TOO_MANY_CLOSED,
        "missing last owner" => "the first record has no owner name",
        "missing origin" => NO_ORIGIN,
        "unexpected end of entry" => "the record's data ends too early",
        "trailing tokens" => "more data than the record's type has",
        "short buffer" => "the file ends inside this token",
        "bad name" => "bad name: labels have 1 to 63 octets, a name 255 in all",
        "bad charstr" => "a text string is longer than 255 octets",
        _ => return Cow::Borrowed(message),
    })
}

fn count_lines(text: &[u8]) -> usize {
    text.iter().filter(|&&b| b == b'\n').count()
}

/// The offset of a line and column, both from 1.
fn offset_of(text: &[u8], line: usize, column: usize) -> usize {
    let ends = text
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .map(|(i, _)| i + 1);
    let start = std::iter::once(0).chain(ends).nth(line.saturating_sub(1));
    (start.unwrap_or(text.len()) + column.saturating_sub(1)).min(text.len())
}

/// The scanner stands before the token that is one too many, or behind the one that it could not
/// read: where the token starts.
fn token_start(text: &[u8], offset: usize) -> usize {
    let blank = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'(' | b')' | b'"');
    let at_start = offset == 0 || blank(&text[offset - 1]);
    if at_start && text.get(offset).is_some_and(|b| !blank(b)) {
        return offset;
    }
    let Some(last) = text[..offset].iter().rposition(|b| !blank(b)) else {
        return 0;
    };
    text[..last].iter().rposition(blank).map_or(0, |i| i + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    fn all(text: &str) -> Result<Vec<Record>, String> {
        let origin = "example.".parse().unwrap();
        let records = records(text.as_bytes(), "z", Some(&origin));
        records.collect::<Result<_, _>>().map_err(|e| e.to_string())
    }

    #[test]
    fn forms_of_a_record() {
        let a = |owner: &str, ttl| Record {
            name: owner.parse().unwrap(),
            rtype: Rtype::A,
            class: Class::IN,
            ttl,
            rdata: [192, 0, 2, 1].into(),
        };
        for (text, owner, ttl) in [
            ("a A 192.0.2.1", "a.example.", DEFAULT_TTL_S),
            ("a. 60 A 192.0.2.1\n", "a.", 60),
            ("@ IN 60 A 192.0.2.1", "example.", 60),
            ("a 60 IN A ( ; why\n 192.0.2.1\n)", "a.example.", 60),
            ("$TTL 1h\na A 192.0.2.1", "a.example.", 3600),
            ("a 1h30M IN A 192.0.2.1", "a.example.", 5400),
            ("a IN 2w A 192.0.2.1", "a.example.", 1_209_600),
            ("1h 1m A 192.0.2.1", "1h.example.", 60),
            ("; no\r\n\n$ORIGIN b.\r\na 60 A 192.0.2.1\r\n", "a.b.", 60),
            (r"a\.\098 60 A \# 4 C0 000201", r"a\.b.example.", 60),
            ("a 60 TYPE1 \\# 4 c0000201", "a.example.", 60),
            ("a 60 CLASS1 A 192.0.2.1", "a.example.", 60),
        ] {
            assert_eq!(all(text), Ok(vec![a(owner, ttl)]), "{text}");
        }
        let two = all("a 60 A 192.0.2.1\n  61 A 192.0.2.1");
        assert_eq!(two, Ok(vec![a("a.example.", 60), a("a.example.", 61)]));
    }

    #[test]
    fn data_of_many_types() {
        for (text, rtype, rdata) in [
            ("TYPE65280 \\# 3 01ff 00", 65280, &b"\x01\xff\x00"[..]),
            ("TYPE65280 \\# 0", 65280, b""),
            (r#"TXT "a;b(" c\"d "\000\255""#, 16, b"\x04a;b(\x03c\"d\x02\x00\xff"),
            ("SOA ns.x. h.x. 1 2h 15m 1w 1d", 6, b"\x02ns\x01x\0\x01h\x01x\0\0\0\0\x01\0\0\x1c\x20\0\0\x03\x84\0\x09\x3a\x80\0\x01\x51\x80"),
            ("MX 10 @", 15, b"\0\x0a\x07example\0"),
            ("MX 10 \\@", 15, b"\0\x0a\x01@\x07example\0"),
            ("TXT @", 16, b"\x01@"),
            ("SRV 1 2 3 @", 33, b"\0\x01\0\x02\0\x03\x07example\0"),
            (r#"CAA 0 issue "x""#, 257, b"\0\x05issuex"),
            ("NSEC3PARAM 1 0 0 -", 51, b"\x01\0\0\0\0"),
            ("LOC 42 21 54 N 71 06 18 W (\n -24m 30m )", 29, b"\0\x33\x16\x13\x89\x17\x2d\xd0\x70\xbe\x15\xf0\0\x98\x8d\x20"),
            ("TXT LOC", 16, b"\x03LOC"),
            ("TXT NS @", 16, b"\x02NS\x01@"),
            ("NSEC B. A TYPE1234", 47, b"\x01B\0\0\x01\x40\x04\x1b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x20"),
        ] {
            let records = all(&format!("a {text}\n")).unwrap();
            assert_eq!(records.len(), 1);
            assert_eq!((records[0].rtype, &*records[0].rdata), (Rtype(rtype), rdata), "{text}");
        }
    }

    #[test]
    fn generated_records_stand_where_their_directive_does() {
        let text = "$ORIGIN 2.0.192.in-addr.arpa.\n$TTL 60\n$GENERATE 7-9/2 ${0,3} PTR h$.example. ; two\nend A 192.0.2.1\n";
        let records = all(text).unwrap();
        let lines: Vec<String> = records.iter().map(super::super::present::record).collect();
        assert_eq!(
            lines,
            [
                "007.2.0.192.in-addr.arpa.\t60\tIN\tPTR\th7.example.",
                "009.2.0.192.in-addr.arpa.\t60\tIN\tPTR\th9.example.",
                "end.2.0.192.in-addr.arpa.\t60\tIN\tA\t192.0.2.1",
            ]
        );
    }

    #[test]
    fn errors_name_the_place() {
        for (text, error) in [
            ("a A 192.0.2.1\nb A 192.0.2.\n", "z:2:5:"),
            (
                "a BOGUS x\n",
                "z:1:3: expected a TTL, a class or a record type",
            ),
            ("\n\na 60 IN A\n", "z:3:9: the record's data ends too early"),
            (
                "a A 192.0.2.1 x\n",
                "z:1:15: more data than the record's type has",
            ),
            (
                " A 192.0.2.1\n",
                "z:1:2: the first record has no owner name",
            ),
            ("a CH A 192.0.2.1\n", "z:1:1: only class IN is supported"),
            ("a A (\n192.0.2.1\n", "z:1:5: a parenthesis is never closed"),
            ("a A 192.0.2.1 )\n", "z:1:15: a closing"),
            ("a TXT \"x\n\n", "z:1:7: a quoted string is never closed"),
            (
                "$ORIGIN b.\n$INCLUDE other\n",
                "z:2:1: $INCLUDE is for files of this machine only",
            ),
            ("\n$generate 1-9 a A 192.0.2\n", "z:2:1: "),
            ("$GENERATE 1 a A 192.0.2.$\n", "z:1:1: a range"),
            (
                "$GENERATE 0-9 ; $\n",
                "z:1:1: a line of $GENERATE makes no record",
            ),
            (
                "$GENERATE 0-9 $$TTL 60\n",
                "z:1:1: a line of $GENERATE makes no record",
            ),
            ("a 60 LOC 1 N\n", "z:1:13: degrees"),
            ("a 60 LOC 91 N 1 E 0\n", "z:1:10: degrees"),
            ("$WHAT\n", "z:1:1: unknown directive $WHAT"),
            ("$\x1b[2J x\n", "z:1:1: unknown directive $\\x1b[2J;"),
            (
                "$GENERATE 1-2 ${\x1b} A 192.0.2.1\n",
                "z:1:1: ${\\x1b}: want",
            ),
            ("a 1h MX (\n  10 ; x\n  a..b )\n", "z:3:3: bad name"),
            ("a..b 60 A 192.0.2.1", "z:1:1: bad name"),
            ("a 60 SVCB 1 b..c", "z:1:13: bad name"),
            ("a 60 NS .b", "z:1:9: bad name"),
            ("a 1h MX x b\n", "z:1:9: "),
            ("a A \\# 3 c00002\n", "z:1:"),
            ("a NS \\# 2 c00c\n", "z:1:"),
        ] {
            let got = all(text).unwrap_err();
            assert!(got.starts_with(error), "{text:?}: {got}");
        }
        let relative: Vec<_> = records(b"a A 192.0.2.1", "z", None).collect();
        let error = relative[0].as_ref().unwrap_err().to_string();
        assert!(error.starts_with("z:1:1: a relative name"), "{error}");
    }

    /// A few kilobytes over the network must not make work for hours: each line has a comment of so many octets.
    #[test]
    fn what_is_generated_is_bounded_in_octets() {
        let line = format!("$GENERATE 0-65535 a A 192.0.2.1 ; {}\n", "x".repeat(9000));
        let origin = "example.".parse().unwrap();
        let text = format!("a 60 A 192.0.2.1\n{line}{line}");
        let mut records = records(text.as_bytes(), "z", Some(&origin));
        records.next().unwrap().unwrap();
        records.next().unwrap().unwrap();
        let long = line.replace("; ", &format!("; {}", "x".repeat(9000)));
        let error = all(&format!("a 60 A 192.0.2.1\n{long}")).unwrap_err();
        assert!(
            error.starts_with("z:2:1: $GENERATE makes more than 1073741824 octets"),
            "{error}"
        );
    }

    /// The longest entry, every word of which has to be replaced: that takes as long as reading it.
    #[test]
    fn an_entry_of_replacements_is_read_once() {
        let words = "@ ".repeat(super::super::entry::ENTRY_BYTES_MAX / 2 - 8);
        let error = all(&format!("a NS {words}\n")).unwrap_err();
        assert!(error.contains("more data than"), "{error}");
        let words = "a=1 ".repeat(super::super::entry::ENTRY_BYTES_MAX / 4 - 8);
        let error = all(&format!("a SVCB 1 . {words}\n")).unwrap_err();
        assert!(error.contains("unknown key"), "{error}");
    }

    // Seeded: lines that the quick way takes and lines that it leaves mixed and damaged are what the scanner alone makes of
    // them, records and errors alike.
    #[test]
    fn the_quick_way_changes_nothing() {
        let lines = [
            "$TTL 1h",
            "$ORIGIN b.example.",
            "$ORIGIN example.",
            "a 60 IN NS ns1",
            "a.b.example. IN 61 NS .",
            "  62 NS ns2",
            "  NS ns3",
            "b NS ns4 ; comment",
            "c 63 A 192.0.2.1",
            "\tAAAA 2001:db8::1",
            "d ( 64 TXT \"x\" )",
            "@ 65 NS @",
            "",
            "e 66 DS 1 13 2 00 ff",
            "e 66 RRSIG DS 13 2 66 20260813200000 20260731190000 5 example. AAAA AA==",
            "f 66 RRSIG NSEC 13 2 66 20260831200000 20240229190000 5 example. AAAA",
            "f 66 NSEC g.example. NS DS RRSIG NSEC",
            "2vptu5timamqttgl4luu9kg21e0aor3s 67 NSEC3 1 1 0 - 35mthgpgcu1qg68fab165klnsnk3dpvl NS DS",
        ];
        let read = |text: &[u8], quick| -> Result<Vec<Record>, String> {
            let origin = "example.".parse().unwrap();
            let mut records = records(text, "z", Some(&origin));
            records.quick = quick;
            records.collect::<Result<_, _>>().map_err(|e| e.to_string())
        };
        let alphabet = b"\n\t (;.@$0aIN=/+";
        let mut rng = SmallRng::seed_from_u64(2);
        let mut good = 0;
        for _ in 0..20_000 {
            let mut text = Vec::new();
            for _ in 0..rng.random_range(1..12) {
                text.extend_from_slice(lines[rng.random_range(0..lines.len())].as_bytes());
                text.push(b'\n');
            }
            if rng.random_range(0..2) == 0 {
                let at = rng.random_range(0..text.len());
                text[at] = alphabet[rng.random_range(0..alphabet.len())];
            }
            let alone = read(&text, false);
            good += u32::from(alone.is_ok());
            let shown = String::from_utf8_lossy(&text).into_owned();
            assert_eq!(read(&text, true), alone, "{shown}");
        }
        assert!(good > 2_000, "{good}");
    }

    // Seeded damage: an error or records, never a panic, and the work is bounded by the text.
    #[test]
    fn damaged_text_never_panics() {
        let good = "$TTL 1h\n$ORIGIN example.\n@ SOA ns h 1 2h 3 4 5\n  NS ns.sub\nsub (\n 60 IN TXT \"a b\" c\\\"\\065 )\n\
            x NSEC3 1 1 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s MX RRSIG\ny DS 1 8 2 00ff\n\
            z RRSIG A 8 2 60 20260813200000 20260731190000 5 example. AAAA\nt TYPE700 \\# 2 0102 ; end\n\
            s SVCB 1 . alpn=h2 port=53\nc CAA 0 issue \"ca\"\nn NAPTR 1 1 \"u\" \"s\" \"r\" .\n\
            l LOC 1 2 3.4 N 5 W 6.7m\n$GENERATE 1-3 g${1,2,x} 60 A 192.0.2.$\n";
        assert_eq!(all(good).unwrap().len(), 14);
        let alphabet = b"\n\r\t ();\"\\$@.#0123aAzIN\x00\xff";
        let mut rng = SmallRng::seed_from_u64(1);
        for _ in 0..20_000 {
            let mut bad = good.as_bytes().to_vec();
            for _ in 0..rng.random_range(1..6) {
                let at = rng.random_range(0..bad.len());
                let b = alphabet[rng.random_range(0..alphabet.len())];
                match rng.random_range(0..3) {
                    0 => bad[at] = b,
                    1 => bad.insert(at, b),
                    _ => drop(bad.remove(at)),
                }
            }
            let origin = Name::root();
            for record in records(&bad, "z", Some(&origin)) {
                if let Err(e) = record {
                    assert!(e.line <= 30 && !e.message.is_empty());
                }
            }
        }
    }
}
