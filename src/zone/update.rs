//! An older version and a list of changes become a new version (RFC 1995).
//!
//! The image is read once from beginning to end beside the sorted changes, and what comes out is written at once: the cost in
//! memory is one name and the changes. The outcome is the image that the new version as a whole would have made.
//!
//! Failure: changes that do not fit what is there (a record to be removed is missing, one to be added is present, the
//! serials are others) are an [`UpdateError`]; then the whole zone has to be fetched. Nothing is judged here but form: the new
//! version is a candidate like any other.

use std::cmp::Ordering;
use std::path::Path;

use super::build::{BuildError, Parts, ZONE_BYTES_MAX};
use super::image::ZoneImage;
use super::nodes::RawNode;
use super::runs::Entry;
use super::write::ImageWriter;
use crate::dns::{Name, Record, Rtype, Soa, rdata};

/// The difference between two versions. A record in both lists is removed first and then added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Serial of the version that they are to be applied to.
    pub from_serial: u32,
    /// Serial of the version that they make.
    pub to_serial: u32,
    /// What goes, the old SOA among it. TTLs do not count.
    pub removed: Vec<Record>,
    /// What comes, the new SOA among it.
    pub added: Vec<Record>,
}

/// Why changes cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// They are for another version.
    #[error("the changes are for serial {wanted}, the zone has {found}")]
    OtherVersion {
        /// The serial that they say.
        wanted: u32,
        /// The serial that is there.
        found: u32,
    },
    /// A record to be removed is not there.
    #[error("{name} {rtype} is to be removed and is not there")]
    NotThere {
        /// Its owner.
        name: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// A record to be added is there already.
    #[error("{name} {rtype} is to be added and is there already")]
    There {
        /// Its owner.
        name: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// They do not lead to the serial that they say.
    #[error("the changes do not lead to serial {0}")]
    OtherSerial(u32),
    /// The image they are applied to is damaged.
    #[error("the stored version is damaged")]
    Damaged,
    /// What comes out is no zone.
    #[error("{0}")]
    Build(#[from] BuildError),
}

/// Applies changes; the new image is in memory. See [`apply_in`].
pub fn apply(image: &ZoneImage, changes: &Changes) -> Result<ZoneImage, UpdateError> {
    apply_in(image, changes, None)
}

/// Applies changes; with `scratch`, the new image is a mapped file without a name in that directory.
pub fn apply_in(
    image: &ZoneImage,
    changes: &Changes,
    scratch: Option<&Path>,
) -> Result<ZoneImage, UpdateError> {
    let (wanted, found) = (changes.from_serial, image.serial());
    if wanted != found {
        return Err(UpdateError::OtherVersion { wanted, found });
    }
    let removed = sorted(&changes.removed, image.apex())?;
    let added = sorted(&changes.added, image.apex())?;
    let damage = image.damage();
    let mut merge = Merge {
        serial: changes.to_serial,
        writer: ImageWriter::new(image.apex(), ZONE_BYTES_MAX, scratch)?,
    };
    let (mut removed, mut added) = (&removed[..], &added[..]);
    let mut nodes = image.raw_nodes();
    while let Some(node) = nodes.advance() {
        // Names that were not there come before it.
        while let Some(key) = first_key(removed, added).filter(|key| *key < node.key) {
            let (gone, come) = (take(&mut removed, key), take(&mut added, key));
            merge.node(None, gone, come)?;
        }
        let (gone, come) = (take(&mut removed, node.key), take(&mut added, node.key));
        merge.node(Some(node), gone, come)?;
    }
    while let Some(key) = first_key(removed, added) {
        let (gone, come) = (take(&mut removed, key), take(&mut added, key));
        merge.node(None, gone, come)?;
    }
    // A walk over a damaged image ends early.
    if image.damage() != damage {
        return Err(UpdateError::Damaged);
    }
    Ok(merge.writer.finish(changes.to_serial)?.0)
}

/// A record that is to go or to come.
struct Change<'c> {
    key: Vec<u8>,
    covered: Rtype,
    ttl: u32,
    canonical: Box<[u8]>,
    record: &'c Record,
}

impl Change<'_> {
    fn order(&self) -> (&[u8], Rtype, bool, &[u8]) {
        let sig = self.record.rtype == Rtype::RRSIG;
        (&self.key, self.covered, sig, &self.canonical)
    }

    fn entry(&self) -> Entry<'_> {
        Entry {
            key: &self.key,
            covered: self.covered,
            sig: self.record.rtype == Rtype::RRSIG,
            ttl: self.ttl,
            rdata: &self.record.rdata,
        }
    }
}

/// The records in the order of an image, each once.
fn sorted<'c>(records: &'c [Record], apex: &Name) -> Result<Vec<Change<'c>>, BuildError> {
    let mut changes = Vec::with_capacity(records.len());
    for record in records {
        changes.push(read(record, apex)?);
    }
    changes.sort_by(|a, b| a.order().cmp(&b.order()));
    changes.dedup_by(|b, a| a.order() == b.order());
    Ok(changes)
}

fn read<'c>(record: &'c Record, apex: &Name) -> Result<Change<'c>, BuildError> {
    let parts = Parts::of(record, apex)?;
    let mut key = Vec::new();
    parts.push_key(&mut key, apex)?;
    parts.check(key.is_empty())?;
    Ok(Change {
        covered: parts.covered(),
        ttl: parts.ttl(),
        canonical: rdata::canonical_form(&record.rdata, record.rtype).into(),
        key,
        record,
    })
}

fn first_key<'x>(removed: &'x [Change<'_>], added: &'x [Change<'_>]) -> Option<&'x [u8]> {
    let keys = removed.first().into_iter().chain(added.first());
    keys.map(|change| &change.key[..]).min()
}

/// The changes of a name at the start of the list, which loses them.
fn take<'x, 'c>(list: &mut &'x [Change<'c>], key: &[u8]) -> &'x [Change<'c>] {
    let count = list.iter().take_while(|change| change.key == key).count();
    let (taken, rest) = list.split_at(count);
    *list = rest;
    taken
}

struct Merge<'z> {
    serial: u32,
    writer: ImageWriter<'z>,
}

impl Merge<'_> {
    /// Writes one name: what it had, without what goes, with what comes.
    fn node(
        &mut self,
        node: Option<RawNode<'_, '_>>,
        gone: &[Change<'_>],
        come: &[Change<'_>],
    ) -> Result<(), UpdateError> {
        let mut entries: Vec<Entry<'_>> = Vec::new();
        for set in node.iter().flat_map(RawNode::sets) {
            let key = node.as_ref().map_or(&[][..], |n| n.key);
            let entry = |sig| {
                move |rdata| Entry {
                    key,
                    covered: set.rtype,
                    sig,
                    ttl: set.ttl,
                    rdata,
                }
            };
            entries.extend(set.rdatas().map(entry(false)));
            entries.extend(set.sig_rdatas().map(entry(true)));
        }
        if !gone.is_empty() {
            entries = without(entries, gone)?;
        }
        if !come.is_empty() {
            entries = with(entries, come)?;
        }
        // The apex comes first, and must not go.
        if node.is_none_or(|n| n.key.is_empty()) && !keyed(&entries, gone, come) {
            self.check_soa(&entries)?;
        }
        Ok(self.writer.end_node(&mut entries)?)
    }

    fn check_soa(&self, apex: &[Entry<'_>]) -> Result<(), UpdateError> {
        let mut soas = apex.iter().filter(|e| e.rtype() == Rtype::SOA);
        let soa = soas.next().and_then(|e| Soa::parse(e.rdata));
        match soa.is_some_and(|soa| soa.serial == self.serial) && soas.next().is_none() {
            true => Ok(()),
            false => Err(UpdateError::OtherSerial(self.serial)),
        }
    }
}

/// Whether a name is another one than the apex.
fn keyed(entries: &[Entry<'_>], gone: &[Change<'_>], come: &[Change<'_>]) -> bool {
    let changes = gone.iter().chain(come).map(|c| &c.key[..]);
    (entries.iter().map(|e| e.key).chain(changes)).any(|key| !key.is_empty())
}

/// How an entry stands to a change of the same name.
fn compare(entry: &Entry<'_>, change: &Change<'_>) -> Ordering {
    let (_, covered, sig, canonical) = change.order();
    ((entry.covered, entry.sig).cmp(&(covered, sig)))
        .then_with(|| (*rdata::canonical_form(entry.rdata, entry.rtype())).cmp(canonical))
}

/// Both lists are in order.
fn without<'e>(
    entries: Vec<Entry<'e>>,
    gone: &[Change<'_>],
) -> Result<Vec<Entry<'e>>, UpdateError> {
    let missing = |change: &Change<'_>| UpdateError::NotThere {
        name: change.record.name.clone(),
        rtype: change.record.rtype,
    };
    let mut gone = gone.iter().peekable();
    let mut left = Vec::with_capacity(entries.len());
    for entry in entries {
        match gone.peek().map(|change| compare(&entry, change)) {
            Some(Ordering::Equal) => {
                gone.next();
            }
            Some(Ordering::Greater) => {
                return Err(gone.next().map_or(UpdateError::Damaged, missing));
            }
            Some(Ordering::Less) | None => left.push(entry),
        }
    }
    match gone.next() {
        Some(change) => Err(missing(change)),
        None => Ok(left),
    }
}

/// Both lists are in order.
fn with<'e>(
    entries: Vec<Entry<'e>>,
    come: &'e [Change<'_>],
) -> Result<Vec<Entry<'e>>, UpdateError> {
    let mut all = Vec::with_capacity(entries.len() + come.len());
    let mut come = come.iter().peekable();
    for entry in entries {
        while let Some(change) = come.peek() {
            match compare(&entry, change) {
                Ordering::Less => break,
                Ordering::Equal => {
                    return Err(UpdateError::There {
                        name: change.record.name.clone(),
                        rtype: change.record.rtype,
                    });
                }
                Ordering::Greater => all.extend(come.next().map(Change::entry)),
            }
        }
        all.push(entry);
    }
    all.extend(come.map(Change::entry));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{name, record, soa};
    use super::*;
    use crate::zone::Builder;
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    fn build(serial: u8, records: &[Record]) -> ZoneImage {
        let mut builder = Builder::new(name("example."));
        builder.add(soa(serial)).unwrap();
        for record in records {
            builder.add(record.clone()).unwrap();
        }
        builder.finish().unwrap()
    }

    /// Delegations, glue, hashes with NSEC3 and signatures that cover nothing.
    fn random_record(rng: &mut SmallRng) -> Record {
        let cut = format!("c{}.example.", rng.random_range(0..60));
        match rng.random_range(0..5) {
            0 => record(&format!("ns.{cut}"), Rtype::A, &[192, 0, 2, rng.random()]),
            1 => {
                let hash =
                    super::super::hash32::owner(&[rng.random_range(0..40); 20], &name("example."));
                let mut data = vec![1, 1, 0, 1, 1, 0xAA, 20];
                data.extend([rng.random_range(0..3); 20]);
                record(&hash.unwrap().to_string(), Rtype::NSEC3, &data)
            }
            2 => {
                let mut data = Rtype::DS.0.to_be_bytes().to_vec();
                data.extend([13, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, rng.random()]);
                data.extend(b"\x07example\x00sig");
                record(&cut, Rtype::RRSIG, &data)
            }
            _ => {
                let ns = name(&format!("ns{}.x.", rng.random_range(0..20)));
                record(&cut, Rtype::NS, ns.wire())
            }
        }
    }

    fn unique(records: Vec<Record>) -> Vec<Record> {
        let mut unique: Vec<Record> = Vec::new();
        for record in records {
            if !unique.contains(&record) {
                unique.push(record);
            }
        }
        unique
    }

    #[test]
    fn an_updated_image_is_the_one_that_the_new_version_makes() {
        let dir = tempfile::tempdir().unwrap();
        for seed in 0..60 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let old: Vec<Record> = unique((0..300).map(|_| random_record(&mut rng)).collect());
            let more: Vec<Record> = unique(
                (0..rng.random_range(0..40))
                    .map(|_| random_record(&mut rng))
                    .collect(),
            );
            let added: Vec<Record> = more.into_iter().filter(|r| !old.contains(r)).collect();
            let (removed, kept): (Vec<Record>, Vec<Record>) = old
                .iter()
                .cloned()
                .partition(|_| rng.random_range(0..10) == 0);
            let expected = build(2, &[&kept[..], &added[..]].concat());
            let changes = Changes {
                from_serial: 1,
                to_serial: 2,
                removed: [&removed[..], &[soa(1)]].concat(),
                added: [&[soa(2)], &added[..]].concat(),
            };
            let image = build(1, &old);
            for scratch in [None, Some(dir.path())] {
                let found = apply_in(&image, &changes, scratch).unwrap();
                assert_eq!(found.as_bytes(), expected.as_bytes(), "seed {seed}");
            }
        }
    }

    #[test]
    fn changes_that_do_not_fit_are_refused() {
        let ns = |target: &str| record("a.example.", Rtype::NS, name(target).wire());
        let image = build(1, &[ns("x."), ns("y.")]);
        let check = |from, to, removed: &[Record], added: &[Record], expected: &str| {
            let changes = Changes {
                from_serial: from,
                to_serial: to,
                removed: removed.to_vec(),
                added: added.to_vec(),
            };
            let found = apply(&image, &changes);
            let found = found.map_or_else(|e| e.to_string(), |i| i.record_count().to_string());
            assert_eq!(found, expected);
        };
        let (one, two) = (soa(1), soa(2));
        let (old, new) = (std::slice::from_ref(&one), std::slice::from_ref(&two));
        let (removed, added) = ([one.clone(), ns("X.")], [two.clone(), ns("z.")]);
        check(1, 2, old, new, "3");
        check(1, 2, &removed, &added, "3");
        check(1, 2, &[one.clone(), ns("x."), ns("y.")], new, "1");
        check(1, 2, &removed, &[two.clone(), ns("x.")], "3");
        check(
            3,
            2,
            old,
            new,
            "the changes are for serial 3, the zone has 1",
        );
        check(1, 3, old, new, "the changes do not lead to serial 3");
        check(1, 2, old, &[], "the changes do not lead to serial 2");
        check(1, 2, &[], new, "the changes do not lead to serial 2");
        let gone = "a.example. NS is to be removed and is not there";
        check(1, 2, &[one.clone(), ns("z.")], new, gone);
        check(1, 2, &[one.clone(), ns("a.")], new, gone);
        let there = "a.example. NS is to be added and is there already";
        check(1, 2, old, &[two.clone(), ns("Y.")], there);
        let outside = record("a.", Rtype::A, &[0; 4]);
        check(
            1,
            2,
            old,
            &[two.clone(), outside],
            "a. A is outside the zone example.",
        );
        let bad = record("a.example.", Rtype::A, &[0; 3]);
        check(
            1,
            2,
            old,
            &[two.clone(), bad],
            "a.example. A: malformed data",
        );
        let cname = record("a.example.", Rtype::CNAME, b"\0");
        check(
            1,
            2,
            old,
            &[two, cname],
            "a.example. has a CNAME record and other data",
        );
    }
}
