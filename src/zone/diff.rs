//! What changed between two versions of a zone.
//!
//! Why: an incremental transfer (RFC 1995) is nothing but this, and an operator who looks at a held or refused version
//! wants to see it. Both images are sorted, so one walk over the two side by side finds every difference; it holds no more
//! than the changes of the one name where it stands, whatever the zones' size.
//!
//! A record with another TTL is another record here: the old one goes and the new one comes, as a secondary that is told
//! of it needs. The SOA is a record like any other.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::block::{Body, SetRef};
use super::image::ZoneImage;
use super::key::name_of;
use super::walk::{Here, Walk};
use crate::dns::{Class, Record, Rtype};

/// Which way a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// The older version has it, the newer one has not.
    Removed,
    /// The newer version has it, the older one has not.
    Added,
}

/// One record that only one of two versions has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which of them.
    pub kind: ChangeKind,
    /// The record; its owner name is in lower case.
    pub record: Record,
}

/// Every record that only one of two versions of a zone has: by owner name in canonical order; at one name first what was
/// removed, then what was added, each by ascending type of the set, signatures after what they cover.
///
/// Of two different zones all of the first is removed, and then all of the second added.
pub fn diff<'a>(old: &'a ZoneImage, new: &'a ZoneImage) -> Diff<'a> {
    Diff {
        same_zone: old.apex() == new.apex(),
        old: Side::new(old, ChangeKind::Removed),
        new: Side::new(new, ChangeKind::Added),
        found: VecDeque::new(),
    }
}

/// The changes; see [`diff`].
pub struct Diff<'a> {
    same_zone: bool,
    old: Side<'a>,
    new: Side<'a>,
    /// The changes of one name.
    found: VecDeque<Change>,
}

impl Iterator for Diff<'_> {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        while self.found.is_empty() {
            self.step()?;
        }
        self.found.pop_front()
    }
}

impl Diff<'_> {
    /// Whether both versions have been read to their ends, with as many records as they should have. What cannot be read of a damaged
    /// image looks like a change.
    pub fn was_whole(&self) -> bool {
        self.old.was_whole() && self.new.was_whole()
    }

    /// Compares the nodes where both stand; `None` at the end.
    fn step(&mut self) -> Option<()> {
        let found = &mut self.found;
        let order = match (self.old.walk.here(), self.new.walk.here()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), Some(_)) if !self.same_zone => Ordering::Less,
            (Some(old), Some(new)) => {
                let order = old.at.cmp(&new.at);
                if order == Ordering::Equal && !are_same(old.body, new.body) {
                    let (gone, come) = compare(old.body, new.body);
                    self.old.note(&old, gone, found);
                    self.new.note(&new, come, found);
                }
                order
            }
        };
        if order == Ordering::Less {
            self.old.note_all(found);
        }
        if order == Ordering::Greater {
            self.new.note_all(found);
        }
        if order != Ordering::Greater {
            self.old.step();
        }
        if order != Ordering::Less {
            self.new.step();
        }
        Some(())
    }
}

/// One of the two versions.
struct Side<'a> {
    image: &'a ZoneImage,
    walk: Walk<'a>,
    /// Records of the nodes that lie behind.
    seen: u64,
    /// What a record is that only this version has.
    kind: ChangeKind,
}

impl<'a> Side<'a> {
    fn new(image: &'a ZoneImage, kind: ChangeKind) -> Side<'a> {
        Side {
            image,
            walk: Walk::new(image),
            seen: 0,
            kind,
        }
    }

    fn step(&mut self) {
        let sets = self
            .walk
            .here()
            .into_iter()
            .flat_map(|here| here.body.sets());
        let records = sets.map(|set| u64::from(set.records) + u64::from(set.sigs));
        self.seen += records.sum::<u64>();
        self.walk.step();
    }

    fn was_whole(&self) -> bool {
        self.walk.here().is_none() && self.seen == self.image.record_count()
    }

    /// Notes all records of the node where the walk stands.
    fn note_all(&self, found: &mut VecDeque<Change>) {
        if let Some(here) = self.walk.here() {
            let all = here.body.sets().flat_map(items).collect();
            self.note(&here, all, found);
        }
    }

    fn note(&self, here: &Here<'_, 'a>, items: Vec<Item<'a>>, found: &mut VecDeque<Change>) {
        // A key that is no name passed the checksum and yet is damaged: left out.
        let Some(name) = name_of(here.at.0, self.image.apex()) else {
            return;
        };
        found.extend(items.into_iter().map(|item| Change {
            kind: self.kind,
            record: Record {
                name: name.clone(),
                rtype: item.rtype,
                class: Class::IN,
                ttl: item.ttl,
                rdata: item.rdata.into(),
            },
        }));
    }
}

/// A record without its owner.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Item<'a> {
    /// The type of the set, or RRSIG.
    rtype: Rtype,
    ttl: u32,
    rdata: &'a [u8],
}

/// The records of a set, then its signatures.
fn items(set: SetRef<'_>) -> impl Iterator<Item = Item<'_>> {
    let item = move |rtype| {
        move |rdata| Item {
            rtype,
            ttl: set.ttl,
            rdata,
        }
    };
    (set.rdatas().map(item(set.rtype))).chain(set.sig_rdatas().map(item(Rtype::RRSIG)))
}

/// Whether both nodes have the same sets, wherever they stand; nearly all have.
fn are_same(old: Body<'_>, new: Body<'_>) -> bool {
    let same = |a: SetRef<'_>, b: SetRef<'_>| {
        (a.rtype, a.ttl, a.records, a.sigs) == (b.rtype, b.ttl, b.records, b.sigs)
            && a.rdatas().eq(b.rdatas())
            && a.sig_rdatas().eq(b.sig_rdatas())
    };
    let (mut olds, mut news) = (old.sets(), new.sets());
    loop {
        match (olds.next(), news.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if same(a, b) => {}
            _ => return false,
        }
    }
}

/// The records that only the first has, and those that only the second has.
fn compare<'a>(old: Body<'a>, new: Body<'a>) -> (Vec<Item<'a>>, Vec<Item<'a>>) {
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let (mut olds, mut news) = (old.sets().peekable(), new.sets().peekable());
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => return (gone, come),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.rtype.cmp(&new.rtype),
        };
        let old = olds.next_if(|_| order != Ordering::Greater);
        let new = news.next_if(|_| order != Ordering::Less);
        compare_sets(old, new, &mut gone, &mut come);
    }
}

/// Two sets of one type; one of them may not be there.
fn compare_sets<'a>(
    old: Option<SetRef<'a>>,
    new: Option<SetRef<'a>>,
    gone: &mut Vec<Item<'a>>,
    come: &mut Vec<Item<'a>>,
) {
    // Records lie in canonical order, which the case of a name inside the data does not enter.
    let sorted = |set: Option<SetRef<'a>>| {
        let mut list: Vec<Item<'a>> = set.into_iter().flat_map(items).collect();
        list.sort_unstable();
        list
    };
    let (sorted_old, sorted_new) = (sorted(old), sorted(new));
    let lacks = |list: &[Item<'a>], item: &Item<'a>| list.binary_search(item).is_err();
    gone.extend((old.into_iter().flat_map(items)).filter(|item| lacks(&sorted_new, item)));
    come.extend((new.into_iter().flat_map(items)).filter(|item| lacks(&sorted_old, item)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Name;
    use crate::zone::{Builder, parse, present};
    use rand::{RngExt, SeedableRng, rngs::SmallRng, seq::SliceRandom};
    use std::collections::BTreeSet;

    fn image(apex: &str, text: &str) -> ZoneImage {
        let apex: Name = apex.parse().unwrap();
        let mut builder = Builder::new(apex.clone());
        for record in parse::records(text.as_bytes(), "test", Some(&apex)) {
            builder.add(record.unwrap()).unwrap();
        }
        builder.finish().unwrap()
    }

    fn shown(old: &ZoneImage, new: &ZoneImage) -> Vec<String> {
        let line = |change: Change| {
            let sign = match change.kind {
                ChangeKind::Removed => '-',
                ChangeKind::Added => '+',
            };
            format!(
                "{sign}{}",
                present::record(&change.record).replace('\t', " ")
            )
        };
        diff(old, new).map(line).collect()
    }

    #[track_caller]
    fn check(old: &str, new: &str, expected: &[&str]) {
        const SOA: &str = "@ 60 SOA ns h 1 1 1 1 1\n";
        let (old, new) = (SOA.to_owned() + old, SOA.to_owned() + new);
        let found = shown(&image("z.", &old), &image("z.", &new));
        assert_eq!(found, expected);
    }

    #[test]
    fn every_kind_of_change_is_told() {
        check("a 60 A 192.0.2.1", "a 60 A 192.0.2.1", &[]);
        check("", "a 60 A 192.0.2.1", &["+a.z. 60 IN A 192.0.2.1"]);
        check("a 60 A 192.0.2.1", "", &["-a.z. 60 IN A 192.0.2.1"]);
        // Another TTL is another record, for each of the set.
        check(
            "a 60 A 192.0.2.1\na 60 A 192.0.2.2",
            "a 70 A 192.0.2.1\na 70 A 192.0.2.2",
            &[
                "-a.z. 60 IN A 192.0.2.1",
                "-a.z. 60 IN A 192.0.2.2",
                "+a.z. 70 IN A 192.0.2.1",
                "+a.z. 70 IN A 192.0.2.2",
            ],
        );
        // One record of a set, and a set beside it.
        check(
            "a 60 A 192.0.2.1\na 60 A 192.0.2.2\na 60 TXT x",
            "a 60 A 192.0.2.2\na 60 A 192.0.2.3\na 60 TXT x\na 60 AAAA 2001:db8::1",
            &[
                "-a.z. 60 IN A 192.0.2.1",
                "+a.z. 60 IN A 192.0.2.3",
                "+a.z. 60 IN AAAA 2001:db8::1",
            ],
        );
        // The case inside data is part of what a secondary copies.
        check(
            "a 60 NS B.c.",
            "a 60 NS b.c.",
            &["-a.z. 60 IN NS B.c.", "+a.z. 60 IN NS b.c."],
        );
        // A cut that comes above a name changes where the name stands, not what it has.
        check(
            "x.a 60 A 192.0.2.1",
            "a 60 NS b.\nx.a 60 A 192.0.2.1",
            &["+a.z. 60 IN NS b."],
        );
    }

    #[test]
    fn hashed_names_come_in_canonical_order() {
        let hash = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom";
        let old = format!("{hash} 60 NSEC3 1 0 0 - {hash} A\nzz 60 A 192.0.2.1");
        check(
            &old,
            "00 60 A 192.0.2.1\nzz 60 A 192.0.2.2",
            &[
                "+00.z. 60 IN A 192.0.2.1",
                &format!("-{hash}.z. 60 IN NSEC3 1 0 0 - {hash} A"),
                "-zz.z. 60 IN A 192.0.2.1",
                "+zz.z. 60 IN A 192.0.2.2",
            ],
        );
    }

    #[test]
    fn of_different_zones_all_goes_and_all_comes() {
        let text = "@ 60 SOA ns h 1 1 1 1 1\n";
        let found = shown(&image("b.", text), &image("a.", text));
        let expected = [
            "-b. 60 IN SOA ns.b. h.b. 1 1 1 1 1",
            "+a. 60 IN SOA ns.a. h.a. 1 1 1 1 1",
        ];
        assert_eq!(found, expected);
    }

    // Seeded: what goes and what comes is the difference of the two sets of records, each once.
    #[test]
    fn the_difference_is_that_of_the_sets() {
        let mut rng = SmallRng::seed_from_u64(7);
        let soa = "@ 60 SOA ns h 1 1 1 1 1".to_owned();
        let mut pool: Vec<String> = (0..300)
            .map(|i| match i % 3 {
                0 => format!("n{} 60 A 192.0.2.{}", i / 9, i % 250),
                1 => format!("n{} 60 TXT \"{i}\"", i / 7),
                _ => format!("d{}.n{} 60 NS ns{i}.test.", i % 5, i / 6),
            })
            .collect();
        for _ in 0..20 {
            let mut pick = || {
                pool.shuffle(&mut rng);
                let mut lines = pool[..rng.random_range(0..pool.len())].to_vec();
                lines.push(soa.clone());
                image("z.", &(lines.join("\n") + "\n"))
            };
            let (old, new) = (pick(), pick());
            let records = |image: &ZoneImage| -> BTreeSet<String> {
                let nodes: Vec<_> = image.nodes().collect();
                let sets = nodes.iter().flat_map(|node| &node.sets);
                sets.flat_map(|set| set.records(true))
                    .map(|r| present::record(&r))
                    .collect()
            };
            let (was, is) = (records(&old), records(&new));
            let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| -> BTreeSet<String> {
                a.difference(b).cloned().collect()
            };
            let mut changes = diff(&old, &new);
            assert!(!changes.was_whole());
            changes.by_ref().for_each(drop);
            assert!(changes.was_whole());
            let told = |kind| -> Vec<String> {
                let of_kind = diff(&old, &new).filter(|change| change.kind == kind);
                of_kind.map(|c| present::record(&c.record)).collect()
            };
            for (kind, expected) in [
                (ChangeKind::Removed, only(&was, &is)),
                (ChangeKind::Added, only(&is, &was)),
            ] {
                let told = told(kind);
                assert_eq!(told.len(), expected.len());
                assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), expected);
            }
        }
    }
}
