//! Root hints: the servers that resolution starts from.
//!
//! They need not be right, only alive: the priming query (RFC 9609) replaces them by the root's own list.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use super::error::{ConfigError, read_text};
use super::records::{self, Data, FILE_BYTES_MAX};
use crate::dns::Name;

/// The copy that serves when `resolver.root_hints` is absent.
const COMPILED_IN: &str = include_str!("../../zones/root.hints");

/// The root's servers with their addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hints {
    /// Name and addresses of each server, in the file's order; at least one has an address.
    pub servers: Vec<(Name, Vec<IpAddr>)>,
}

impl Hints {
    /// The hints that this program was built with.
    pub fn compiled_in() -> Hints {
        Hints::parse(Path::new("zones/root.hints"), COMPILED_IN).expect("checked by a test")
    }

    /// Reads a hints file.
    ///
    /// # Errors
    /// The file cannot be read, or its contents are not hints (see [`Hints::parse`]).
    pub fn load(file: &Path) -> Result<Hints, ConfigError> {
        Hints::parse(file, &read_text(file, FILE_BYTES_MAX)?)
    }

    /// Reads hints in zone file format: NS records of the root, A and AAAA records of the servers.
    /// Addresses of other names and records of other types are passed over.
    ///
    /// # Errors
    /// A line that is no record, NS records of another zone, or no server with an address.
    pub fn parse(file: &Path, text: &str) -> Result<Hints, ConfigError> {
        let mut names: Vec<Name> = Vec::new();
        let mut addresses: BTreeMap<Name, Vec<IpAddr>> = BTreeMap::new();
        for record in records::read(file, text)? {
            match record.data {
                Data::Ns(_) if !record.owner.is_root() => {
                    let message =
                        format!("NS of {}; allowed are NS of the root only", record.owner);
                    return Err(ConfigError::one(file, record.line, message));
                }
                Data::Ns(name) if !names.contains(&name) => names.push(name),
                Data::Address(address) => {
                    let known = addresses.entry(record.owner).or_default();
                    if !known.contains(&address) {
                        known.push(address);
                    }
                }
                _ => {}
            }
        }
        let mut take = |name: Name| {
            let found = addresses.remove(&name).unwrap_or_default();
            (name, found)
        };
        let servers: Vec<_> = names.into_iter().map(&mut take).collect();
        if servers.iter().all(|(_, addresses)| addresses.is_empty()) {
            let message = "no root server with an address; \
                a hints file has lines such as `. NS a.root-servers.net.` and `a.root-servers.net. A 198.41.0.4`";
            return Err(ConfigError::one(file, 1, message));
        }
        Ok(Hints { servers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_in_hints_are_thirteen_servers_with_both_families() {
        let hints = Hints::compiled_in();
        assert_eq!(hints.servers.len(), 13);
        for (name, addresses) in &hints.servers {
            let v4 = addresses.iter().filter(|address| address.is_ipv4()).count();
            assert_eq!((v4, addresses.len()), (1, 2), "{name}");
        }
    }

    #[test]
    fn hints_files() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let parsed = Hints::parse(Path::new("h"), text);
            let shown = parsed
                .map(|hints| format!("{:?}", hints.servers))
                .map_err(|e| e.to_string());
            match expected {
                Ok(expected) => assert_eq!(shown.as_deref(), Ok(expected), "{text}"),
                Err(expected) => {
                    let error = shown.expect_err(text);
                    assert!(error.starts_with(expected), "{error}");
                }
            }
        };
        check(
            ". NS ns.lab.\nns.lab. A 10.0.0.1\n",
            Ok("[(ns.lab., [10.0.0.1])]"),
        );
        check(
            ". 60 IN NS b.lab.\n. NS a.lab\na.lab AAAA fd00::1\nother. A 1.2.3.4\n; end",
            Ok("[(b.lab., []), (a.lab., [fd00::1])]"),
        );
        check("", Err("h:1: no root server with an address"));
        check(". NS ns.lab.\n", Err("h:1: no root server with an address"));
        check("; one\nlab. NS ns.lab.\n", Err("h:2: NS of lab.; allowed"));
        check(
            "; one\n. NS ns.lab.\nns.lab. A 10.0.0.256\n",
            Err("h:3: no zone file record"),
        );
        check("$INCLUDE more\n", Err("h:1: $INCLUDE"));
    }
}
