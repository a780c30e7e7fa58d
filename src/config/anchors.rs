//! Trust anchors: the keys that every chain of signatures ends in.

use std::path::Path;

use super::error::{ConfigError, read_text};
use super::records::{self, Data, FILE_BYTES_MAX};
use crate::dns::{Dnskey, Ds, Name};

/// The copy that serves when `resolver.trust_anchor` is absent.
const COMPILED_IN: &str = include_str!("../../zones/root.key");

/// Trust anchors of any zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchors {
    /// One entry per owner, in the file's order; never empty.
    pub zones: Vec<Anchor>,
}

/// The trust anchors of one zone: any of them is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The zone.
    pub owner: Name,
    /// RDATA of its DS records, in wire form.
    pub ds: Vec<Box<[u8]>>,
    /// RDATA of its DNSKEY records, in wire form.
    pub dnskeys: Vec<Box<[u8]>>,
}

impl Anchors {
    /// The root's anchors that this program was built with.
    pub fn compiled_in() -> Anchors {
        Anchors::parse(Path::new("zones/root.key"), COMPILED_IN).expect("checked by a test")
    }

    /// Reads an anchor file.
    ///
    /// # Errors
    /// The file cannot be read, or its contents are not anchors (see [`Anchors::parse`]).
    pub fn load(file: &Path) -> Result<Anchors, ConfigError> {
        Anchors::parse(file, &read_text(file, FILE_BYTES_MAX)?)
    }

    /// Reads DS and DNSKEY records in zone file format; other types are passed over.
    ///
    /// # Errors
    /// A line that is no record, a DS whose digest has the wrong length, a DNSKEY that may not sign a zone or is
    /// revoked, or no anchor at all.
    pub fn parse(file: &Path, text: &str) -> Result<Anchors, ConfigError> {
        let mut anchors = Anchors { zones: Vec::new() };
        for record in records::read(file, text)? {
            let fault = |message| ConfigError::one(file, record.line, message);
            match record.data {
                Data::Ds(rdata) => {
                    check_ds(&rdata).map_err(fault)?;
                    push_new(&mut anchors.entry(record.owner).ds, rdata);
                }
                Data::Dnskey(rdata) => {
                    check_dnskey(&rdata).map_err(fault)?;
                    push_new(&mut anchors.entry(record.owner).dnskeys, rdata);
                }
                _ => {}
            }
        }
        if anchors.zones.is_empty() {
            let message =
                "no DS or DNSKEY record; an anchor file has lines such as `. DS 20326 8 2 e06d...`";
            return Err(ConfigError::one(file, 1, message));
        }
        Ok(anchors)
    }

    /// The anchors of the deepest zone at or above `name`.
    pub fn closest(&self, name: &Name) -> Option<&Anchor> {
        let above = self
            .zones
            .iter()
            .filter(|anchor| name.is_within(&anchor.owner));
        above.max_by_key(|anchor| anchor.owner.label_count())
    }

    fn entry(&mut self, owner: Name) -> &mut Anchor {
        let index = match self.zones.iter().position(|anchor| anchor.owner == owner) {
            Some(index) => index,
            None => {
                self.zones.push(Anchor {
                    owner,
                    ds: Vec::new(),
                    dnskeys: Vec::new(),
                });
                self.zones.len() - 1
            }
        };
        &mut self.zones[index]
    }
}

fn push_new(list: &mut Vec<Box<[u8]>>, rdata: Box<[u8]>) {
    if !list.contains(&rdata) {
        list.push(rdata);
    }
}

/// RFC 4034 section 5.1.4, RFC 4509, RFC 6605: each digest type has one length.
fn check_ds(rdata: &[u8]) -> Result<(), String> {
    let ds = Ds::parse(rdata).ok_or("a DS record without a digest")?;
    let length = match ds.digest_type {
        1 => 20,
        2 => 32,
        4 => 48,
        other => {
            return Err(format!(
                "DS digest type {other}; allowed are 1 (SHA-1), 2 (SHA-256), 4 (SHA-384)"
            ));
        }
    };
    if ds.digest.len() != length {
        let found = ds.digest.len();
        return Err(format!(
            "a digest of {found} bytes; type {} has {length}",
            ds.digest_type
        ));
    }
    Ok(())
}

/// RFC 4034 section 2.1 and RFC 5011 section 2.1.
fn check_dnskey(rdata: &[u8]) -> Result<(), String> {
    let key = Dnskey::parse(rdata).filter(|key| !key.public_key.is_empty());
    let key = key.ok_or("a DNSKEY record without a key")?;
    if !key.is_zone_key() {
        let flags = key.flags;
        return Err(format!(
            "DNSKEY with flags {flags} and protocol {}; allowed is a zone key (256 or 257) that is not revoked, protocol 3",
            key.protocol
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_in_anchors_are_the_two_root_keys() {
        let anchors = Anchors::compiled_in();
        assert_eq!(anchors.zones.len(), 1);
        assert!(anchors.zones[0].owner.is_root());
        let tags: Vec<_> = anchors.zones[0]
            .ds
            .iter()
            .map(|ds| Ds::parse(ds).unwrap().key_tag)
            .collect();
        assert_eq!(tags, [20326, 38696]);
    }

    /// The digests are those of the bundled root zone's own keys (RFC 4034 section 5.1.4).
    #[test]
    fn compiled_in_digests_match_the_bundled_root_zone() {
        let zone = std::fs::read_to_string("zones/root.zone").unwrap();
        let keys: String = zone
            .lines()
            .take_while(|line| line.starts_with('.'))
            .filter(|line| line.contains("\tDNSKEY\t257 "))
            .map(|line| format!("{line}\n"))
            .collect();
        let keys = Anchors::parse(Path::new("keys"), &keys).unwrap();
        assert_eq!(keys.zones[0].dnskeys.len(), 2);
        for (key, ds) in keys.zones[0]
            .dnskeys
            .iter()
            .zip(&Anchors::compiled_in().zones[0].ds)
        {
            let digest =
                aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[&[0], &key[..]].concat());
            let ds = Ds::parse(ds).unwrap();
            assert_eq!(ds.key_tag, Dnskey::parse(key).unwrap().key_tag());
            assert_eq!(ds.digest, digest.as_ref());
        }
    }

    #[test]
    fn anchor_files() {
        let check = |text: &str, expected: Result<&[(&str, usize, usize)], &str>| match (
            Anchors::parse(Path::new("k"), text),
            expected,
        ) {
            (Ok(anchors), Ok(expected)) => {
                let counts: Vec<_> = anchors
                    .zones
                    .iter()
                    .map(|a| (a.owner.to_string(), a.ds.len(), a.dnskeys.len()))
                    .collect();
                let expected: Vec<_> = expected
                    .iter()
                    .map(|(owner, ds, keys)| (owner.to_string(), *ds, *keys))
                    .collect();
                assert_eq!(counts, expected, "{text}");
            }
            (Err(error), Err(expected)) => {
                assert!(error.to_string().starts_with(expected), "{error}");
            }
            (parsed, expected) => panic!("{text}: {parsed:?}, not {expected:?}"),
        };
        let sha256 = "ab".repeat(32);
        check(
            &format!(". DS 1 8 2 {sha256}\n. DS 1 8 2 {sha256}\n"),
            Ok(&[(".", 1, 0)]),
        );
        check(
            &format!(
                "; c\nlab. 60 IN DS 1 13 2 {sha256}\nLAB. DNSKEY 257 3 13 AAAA\n. DS 1 8 2 (\n {sha256} )"
            ),
            Ok(&[("lab.", 1, 1), (".", 1, 0)]),
        );
        check("", Err("k:1: no DS or DNSKEY"));
        check("lab. A 192.0.2.1\n", Err("k:1: no DS or DNSKEY"));
        check(
            "\n. DS 1 8 2 abcd\n",
            Err("k:2: a digest of 2 bytes; type 2 has 32"),
        );
        check(". DS 1 8 9 abcd\n", Err("k:1: DS digest type 9"));
        check(". DNSKEY 385 3 8 AAAA\n", Err("k:1: DNSKEY with flags 385"));
        check(
            ". DNSKEY 257 2 8 AAAA\n",
            Err("k:1: DNSKEY with flags 257 and protocol 2"),
        );
        check("no such line\n", Err("k:1: no zone file record"));
    }

    #[test]
    fn closest_is_the_deepest_owner() {
        let sha256 = "ab".repeat(32);
        let text = format!(". DS 1 8 2 {sha256}\nlab. DS 2 8 2 {sha256}\n");
        let anchors = Anchors::parse(Path::new("k"), &text).unwrap();
        let owner = |name: &str| {
            anchors
                .closest(&name.parse().unwrap())
                .unwrap()
                .owner
                .to_string()
        };
        assert_eq!(owner("www.lab."), "lab.");
        assert_eq!(owner("lab."), "lab.");
        assert_eq!(owner("label."), ".");
    }
}
