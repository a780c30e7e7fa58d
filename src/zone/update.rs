//! A version of a zone from the one before and what changed between them.
//!
//! An incremental transfer says which records went and which came. [`Changes`] is their net effect; [`apply`] makes the image
//! that the new version would have had as a whole, octet for octet. A change that does not fit the image (a record to be
//! removed that is not there, one to be added that is) shows that both ends do not mean the same version: the result is an
//! error and nothing else, and whoever asked takes the whole zone instead.

use std::collections::HashMap;

use super::build::{BuildError, Builder};
use super::image::ZoneImage;
use crate::dns::{Name, Rdata, Record, Rtype, rdata};

/// What leads from one version of a zone to another. No record is in both lists, but for its TTL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The serial that they start from.
    pub from_serial: u32,
    /// The serial that they lead to.
    pub to_serial: u32,
    /// Records that go, the old SOA and RRSIGs among them. Their TTLs do not count.
    pub removed: Vec<Record>,
    /// Records that come, the new SOA and RRSIGs among them.
    pub added: Vec<Record>,
}

/// Why changes do not fit a zone.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// They start from another version.
    #[error("the changes start from serial {from}, and the zone has {ours}")]
    From {
        /// Where they start.
        from: u32,
        /// What the zone has.
        ours: u32,
    },
    /// They lead to another version than they say.
    #[error("the changes lead to serial {found} instead of {to}")]
    To {
        /// What they say.
        to: u32,
        /// What came out.
        found: u32,
    },
    /// A record to be removed is not there.
    #[error("{name} {rtype} is to be removed and not there")]
    Missing {
        /// Its owner.
        name: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// A record to be added is there already.
    #[error("{name} {rtype} is to be added and there already")]
    Present {
        /// Its owner.
        name: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// The result is no zone.
    #[error("{0}")]
    Build(#[from] BuildError),
}

/// What makes two records the same: owner, type and data, letter case and TTL aside (RFC 2181 section 5).
type Key = (Name, Rtype, Rdata);

fn key(record: &Record) -> Key {
    let data = rdata::canonical(&record.rdata, record.rtype);
    (record.name.clone(), record.rtype, data)
}

/// The version that the changes lead to.
///
/// # Errors
/// They do not fit the image, or what they make is no zone.
pub fn apply(image: &ZoneImage, changes: &Changes) -> Result<ZoneImage, UpdateError> {
    let (from, ours) = (changes.from_serial, image.serial());
    if from != ours {
        return Err(UpdateError::From { from, ours });
    }
    // Which of them were met in the image.
    let met = |records: &[Record]| -> HashMap<Key, bool> {
        records.iter().map(|record| (key(record), false)).collect()
    };
    let (mut removed, added) = (met(&changes.removed), met(&changes.added));
    let mut builder = Builder::new(image.apex().clone());
    for node in image.nodes() {
        for record in node.sets.iter().flat_map(|set| set.records(true)) {
            let key = key(&record);
            if let Some(met) = removed.get_mut(&key) {
                *met = true;
                continue;
            }
            if added.contains_key(&key) {
                let (name, rtype) = (record.name, record.rtype);
                return Err(UpdateError::Present { name, rtype });
            }
            builder.add(record)?;
        }
    }
    if let Some(((name, rtype, _), _)) = removed.into_iter().find(|(_, met)| !met) {
        return Err(UpdateError::Missing { name, rtype });
    }
    for record in &changes.added {
        builder.add(record.clone())?;
    }
    let image = builder.finish()?;
    let (to, found) = (changes.to_serial, image.serial());
    match to == found {
        true => Ok(image),
        false => Err(UpdateError::To { to, found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::{name, rrs};

    const SOA: &str = "test. 60 SOA ns.x. host.x. ";
    const REST: &str = " 2 3 4 5\n";

    fn soa(serial: u32) -> String {
        format!("{SOA}{serial}{REST}")
    }

    fn image(serial: u32, lines: &str) -> ZoneImage {
        let mut builder = Builder::new(name("test."));
        for record in rrs(&(soa(serial) + lines)) {
            builder.add(record).unwrap();
        }
        builder.finish().unwrap()
    }

    fn changes(removed: &str, added: &str) -> Changes {
        Changes {
            from_serial: 1,
            to_serial: 2,
            removed: rrs(&(soa(1) + removed)),
            added: rrs(&(soa(2) + added)),
        }
    }

    const OLD: &str = "test. 60 NS ns.x.\na.test. 60 A 192.0.2.1\na.test. 60 A 192.0.2.2\nb.test. 60 A 192.0.2.3\n";

    #[test]
    fn the_result_is_what_the_whole_zone_would_have_been() {
        let check = |removed: &str, added: &str, expected: &str| {
            let made = apply(&image(1, OLD), &changes(removed, added)).unwrap();
            assert_eq!(made.as_bytes(), image(2, expected).as_bytes());
        };
        check("", "", OLD);
        check(
            "b.test. 60 A 192.0.2.3\nA.test. 1 A 192.0.2.1\n",
            "a.b.test. 60 NS ns.x.\n",
            "test. 60 NS ns.x.\na.test. 60 A 192.0.2.2\na.b.test. 60 NS ns.x.\n",
        );
        // Another TTL, another letter case.
        check(
            "b.test. 60 A 192.0.2.3\ntest. 60 NS ns.x.\n",
            "b.test. 90 A 192.0.2.3\ntest. 60 NS NS.x.\n",
            "test. 60 NS NS.x.\na.test. 60 A 192.0.2.1\na.test. 60 A 192.0.2.2\nb.test. 90 A 192.0.2.3\n",
        );
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let check = |changes: &Changes, expected: &str| {
            let error = apply(&image(1, OLD), changes).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            &changes("b.test. 60 A 192.0.2.4\n", ""),
            "b.test. A is to be removed and not there",
        );
        check(
            &changes("", "B.test. 9 A 192.0.2.3\n"),
            "b.test. A is to be added and there already",
        );
        check(
            &Changes {
                from_serial: 7,
                ..changes("", "")
            },
            "the changes start from serial 7, and the zone has 1",
        );
        check(
            &Changes {
                to_serial: 7,
                ..changes("", "")
            },
            "the changes lead to serial 2 instead of 7",
        );
        check(
            &changes("", "b.test. 60 CNAME a.test.\n"),
            "b.test. has a CNAME record and other data",
        );
        check(
            &changes("", "b.other. 60 A 192.0.2.1\n"),
            "b.other. A is outside the zone test.",
        );
        let mut gone = changes("", "");
        gone.added.clear();
        check(&gone, "the zone test. has no SOA record");
    }
}
