//! Sets of prefixes: `reachability.domestic` and those of `[reachability.sets]`.
//!
//! A set is a list of prefixes, single addresses, and files (`"file:PATH"`) that hold one prefix per line. Files are read with the
//! configuration, at a reload too; a fault in one is told with that file's name and line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::error::ConfigError;
use super::reader::{Item, Table};
use super::scalar;
use crate::prefix_set::{PrefixSet, parse_list};

/// A file of prefixes may have so many bytes.
const FILE_BYTES_MAX: u64 = 128 << 20;
/// What a name may have of letters, in octets.
const NAME_LEN_MAX: usize = 63;

/// One element of a set.
enum Part {
    Prefix(IpNet),
    File(PathBuf),
}

/// A list of prefixes and files.
pub(super) fn prefix_set(item: &Item<'_, '_>) -> Option<PrefixSet> {
    let parts = item.list("prefixes such as \"192.0.2.0/24\", or \"file:PATH\"", part)?;
    let mut prefixes = Vec::new();
    let mut whole = true;
    for part in parts {
        match part {
            Part::Prefix(net) => prefixes.push(net),
            Part::File(path) => match load(&path) {
                Ok(list) => prefixes.extend(list),
                Err(error) => {
                    item.doc().join(error);
                    whole = false;
                }
            },
        }
    }
    whole.then(|| prefixes.into_iter().collect())
}

/// The sets with names of their own.
pub(super) fn named(table: Table<'_, '_>) -> BTreeMap<String, PrefixSet> {
    let mut sets = BTreeMap::new();
    for (name, item) in table.named() {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if name == "domestic" || name.len() > NAME_LEN_MAX || !name.bytes().all(plain) {
            let _: Option<()> = item.fault(
                "a set's name; allowed are letters, digits, - and _, but not \"domestic\", which has its own key",
            );
        } else if let Some(set) = prefix_set(&item) {
            sets.insert(name, set);
        }
    }
    sets
}

fn part(item: &Item<'_, '_>) -> Option<Part> {
    let file = item
        .value()
        .as_str()
        .and_then(|text| text.strip_prefix("file:"));
    match file {
        Some("") => item.fault("no path after \"file:\""),
        Some(path) => Some(Part::File(item.doc().resolve(path))),
        None => scalar::prefix_or(item, "one address, or \"file:PATH\"").map(Part::Prefix),
    }
}

/// The prefixes of a file.
///
/// # Errors
/// It cannot be read, or has wrong lines.
fn load(path: &Path) -> Result<Vec<IpNet>, ConfigError> {
    let text = super::error::read_text(path, FILE_BYTES_MAX)?;
    parse_list(text.as_bytes()).map_err(|faults| ConfigError::of_file(path, faults))
}
