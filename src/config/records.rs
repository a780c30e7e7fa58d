//! The few records of a root hints or trust anchor file, each with its line.
//!
//! Zone files proper are read by the `zone` module; this leaf needs NS, A, AAAA, DS and DNSKEY only.

use std::net::IpAddr;
use std::path::Path;

use domain::base::iana::Class;
use domain::base::name::ToName;
use domain::base::rdata::ComposeRecordData;
use domain::rdata::ZoneRecordData;
use domain::zonefile::inplace::{Entry, ScannedRecord, Zonefile};

use super::error::ConfigError;
use crate::dns::Name;

/// Hints and anchors are a few kilobytes; nobody needs more than this.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// One record that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    /// The line on which it ends, from 1.
    pub line: usize,
    pub owner: Name,
    pub data: Data,
}

/// What the record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Ns(Name),
    Address(IpAddr),
    Ds(Box<[u8]>),
    Dnskey(Box<[u8]>),
    /// Any other type: allowed and of no use.
    Other,
}

/// Reads records in zone file format; names without a final dot are below the root.
///
/// # Errors
/// The first thing that is no record, with its line.
pub(super) fn read(file: &Path, text: &str) -> Result<Vec<Entered>, ConfigError> {
    let mut source = Zonefile::from(text.as_bytes());
    source.extend_from_slice(b"\n");
    source.set_origin(domain::base::Name::root_bytes());
    source.set_default_class(Class::IN);
    let mut records = Vec::new();
    loop {
        let entry = source
            .next_entry()
            .map_err(|error| syntax(file, &error.to_string()))?;
        let line = line_at(text, source.current_offset());
        match entry {
            None => return Ok(records),
            Some(Entry::Include { .. }) => {
                let message = "$INCLUDE is not allowed here; allowed are records only";
                return Err(ConfigError::one(file, line, message));
            }
            Some(Entry::Record(record)) => {
                let entered = convert(line, &record).ok_or_else(|| {
                    ConfigError::one(file, line, "a record that does not fit into a message")
                })?;
                records.push(entered);
            }
        }
    }
}

/// The scanner's errors read `LINE:COLUMN: message`, at the end of the word that is wrong; when that was the last of its
/// line, this is the start of the next one.
fn syntax(file: &Path, shown: &str) -> ConfigError {
    let mut parts = shown.splitn(3, ':');
    let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok());
    let (line, column) = (number().unwrap_or(1), number().unwrap_or(0));
    let message = parts.next().map_or(shown, str::trim);
    let line = if column == 1 && line > 1 {
        line - 1
    } else {
        line
    };
    ConfigError::one(file, line, format!("no zone file record: {message}"))
}

/// The line of the last byte that was read.
fn line_at(text: &str, offset: usize) -> usize {
    let read = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let read = read.trim_ascii_end();
    1 + read.iter().filter(|byte| **byte == b'\n').count()
}

fn convert(line: usize, record: &ScannedRecord) -> Option<Entered> {
    let data = match record.data() {
        ZoneRecordData::Ns(ns) => Data::Ns(name(ns.nsdname())?),
        ZoneRecordData::A(a) => Data::Address(IpAddr::V4(a.addr())),
        ZoneRecordData::Aaaa(aaaa) => Data::Address(IpAddr::V6(aaaa.addr())),
        ZoneRecordData::Ds(ds) => Data::Ds(wire(ds)?),
        ZoneRecordData::Dnskey(key) => Data::Dnskey(wire(key)?),
        _ => Data::Other,
    };
    Some(Entered {
        line,
        owner: name(record.owner())?,
        data,
    })
}

fn name(scanned: &impl ToName) -> Option<Name> {
    Name::from_wire(scanned.to_vec().as_slice()).ok()
}

fn wire(data: &impl ComposeRecordData) -> Option<Box<[u8]>> {
    let mut wire = Vec::new();
    data.compose_rdata(&mut wire).ok()?;
    Some(wire.into_boxed_slice())
}
