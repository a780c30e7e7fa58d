//! Building an image: records in any order become one [`ZoneImage`].
//!
//! A transfer or a zone file is a stream of records from elsewhere. The builder takes them one by
//! one into a single buffer, with a limit on its octets, and refuses at once what cannot be in the
//! zone. Where it has a scratch directory, a buffer that is full is sorted and written there as a *run*
//! ([`super::runs`]), so memory stays bounded whatever the zone's size. What can be judged only when all are there (one SOA,
//! nothing beside a CNAME) is judged by [`Builder::finish`], which merges the runs, drops duplicates (RFC 2181 section 5),
//! tells the zone's own data from glue and writes the image ([`super::write`]). An error leaves nothing behind.

use std::path::{Path, PathBuf};

use super::block::SET_BYTES_MAX;
use super::image::{ImageError, ZoneImage};
use super::key::push_key;
use super::runs::{Arena, Entry, Run, merge};
use super::write::ImageWriter;
use crate::dns::{Class, Name, Record, Rtype, Soa, rdata};

/// Octets that a zone may take in the builder and in the image, unless told otherwise.
pub const ZONE_BYTES_MAX: u64 = 4 << 30;
/// Octets of all records of one name.
pub const NODE_BYTES_MAX: usize = 16 << 20;
/// Octets of records in memory, where the rest can go to a scratch directory.
pub const RUN_BYTES_MAX: usize = 192 << 20;
/// Octets of records whose image is made in memory, where that will do.
const SMALL_BYTES_MAX: usize = 16 << 20;

/// Why records make no zone.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The owner is outside the zone.
    #[error("{name} {rtype} is outside the zone {apex}")]
    OutOfZone {
        /// Owner of the record.
        name: Name,
        /// Its type.
        rtype: Rtype,
        /// The zone.
        apex: Name,
    },
    /// Zones of class IN only.
    #[error("{name} {rtype} has class {class}; only IN is supported")]
    NotIn {
        /// Owner of the record.
        name: Name,
        /// Its type.
        rtype: Rtype,
        /// Its class.
        class: Class,
    },
    /// A type that no zone may have (RFC 6895 section 3.1).
    #[error("{name} {rtype}: this type cannot be in a zone")]
    MetaType {
        /// Owner of the record.
        name: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// The data has not the form of its type.
    #[error("{name} {rtype}: malformed data")]
    BadRdata {
        /// Owner of the record.
        name: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// There is no SOA record at the apex.
    #[error("the zone {0} has no SOA record")]
    NoSoa(Name),
    /// Two different SOA records, or one below the apex.
    #[error("{0} SOA: a zone has exactly one SOA record, at its apex")]
    ExtraSoa(Name),
    /// RFC 1034 section 3.6.2, RFC 2181 section 10.1.
    #[error("{0} has a CNAME record and other data")]
    CnameAndOther(Name),
    /// RFC 6672 section 2.4.
    #[error("{name} has more than one {rtype} record")]
    NotSingle {
        /// Owner of the records.
        name: Name,
        /// CNAME or DNAME.
        rtype: Rtype,
    },
    /// The set does not fit a message, the name's data is beyond [`NODE_BYTES_MAX`].
    #[error("{name} {rtype}: more data than can be answered")]
    SetTooLarge {
        /// Owner of the set.
        name: Name,
        /// Its type.
        rtype: Rtype,
    },
    /// The zone is larger than allowed.
    #[error("the zone is larger than the limit of {0} octets")]
    TooLarge(u64),
    /// The image that was written does not read back: a fault of this program.
    #[error("the image built does not read back: {0}")]
    Image(#[from] ImageError),
    /// The scratch directory cannot be written.
    #[error("scratch file: {0}")]
    Scratch(#[from] std::io::Error),
}

/// What the builder set right; for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildNotes {
    /// Records given twice and kept once.
    pub duplicates: u64,
    /// Sets whose records (or signatures) had differing TTLs: the lowest was taken (RFC 2181
    /// section 5.2).
    pub mixed_ttls: u64,
    /// The first of these sets.
    pub first_mixed_ttl: Option<(Name, Rtype)>,
}

/// Collects the records of one zone.
pub struct Builder {
    apex: Name,
    bytes_max: u64,
    /// Octets of all records taken.
    taken: u64,
    count: usize,
    arena: Arena,
    scratch: Option<PathBuf>,
    run_bytes_max: usize,
    memory_will_do: bool,
    runs: Vec<Run>,
    soa: Option<Soa>,
}

/// A record in parts, borrowed.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    /// Owner in wire form.
    pub owner: &'a [u8],
    pub rtype: Rtype,
    pub ttl: u32,
    pub rdata: &'a [u8],
    /// Whether the data is known to have the form of its type.
    pub formed: bool,
}

impl<'a> Parts<'a> {
    /// The parts of a record, for the zone at `apex`.
    pub(super) fn of(record: &'a Record, apex: &Name) -> Result<Parts<'a>, BuildError> {
        if record.class != Class::IN && record.name.is_within(apex) {
            return Err(BuildError::NotIn {
                name: record.name.clone(),
                rtype: record.rtype,
                class: record.class,
            });
        }
        Ok(Parts {
            owner: record.name.wire(),
            rtype: record.rtype,
            ttl: record.ttl,
            rdata: &record.rdata,
            formed: false,
        })
    }

    fn name(&self) -> Name {
        // Cannot fail: it was a name before.
        Name::from_wire(self.owner).unwrap_or_else(|_| Name::root())
    }

    /// Appends the owner's key in the zone at `apex`; what is appended before an error is of no use.
    pub(super) fn push_key(&self, octets: &mut Vec<u8>, apex: &Name) -> Result<(), BuildError> {
        match push_key(octets, self.owner, apex.wire()) {
            true => Ok(()),
            false => Err(BuildError::OutOfZone {
                name: self.name(),
                rtype: self.rtype,
                apex: apex.clone(),
            }),
        }
    }

    /// Whether a zone may have it, whatever else it has.
    pub(super) fn check(&self, at_apex: bool) -> Result<(), BuildError> {
        let (rtype, rdata) = (self.rtype, self.rdata);
        if rtype.is_meta() || rtype.0 == 0 {
            let name = self.name();
            return Err(BuildError::MetaType { name, rtype });
        }
        let formed = self.formed || rdata::check(rdata, rtype).is_ok();
        if rdata.len() > SET_BYTES_MAX || !formed {
            let name = self.name();
            return Err(BuildError::BadRdata { name, rtype });
        }
        match rtype == Rtype::SOA && !at_apex {
            true => Err(BuildError::ExtraSoa(self.name())),
            false => Ok(()),
        }
    }

    /// The type that its set goes by: of a signature, what it covers. Only for data of the right form.
    pub(super) fn covered(&self) -> Rtype {
        match (self.rtype, self.rdata) {
            (Rtype::RRSIG, [high, low, ..]) => Rtype(u16::from_be_bytes([*high, *low])),
            (other, _) => other,
        }
    }

    /// RFC 2181 section 8: the top bit set means 0.
    pub(super) fn ttl(&self) -> u32 {
        if self.ttl >> 31 == 1 { 0 } else { self.ttl }
    }
}

impl Builder {
    /// A builder for the zone at `apex`, limited to [`ZONE_BYTES_MAX`].
    pub fn new(apex: Name) -> Builder {
        Builder {
            apex: apex.to_lowercase(),
            bytes_max: ZONE_BYTES_MAX,
            taken: 0,
            count: 0,
            arena: Arena::default(),
            scratch: None,
            run_bytes_max: RUN_BYTES_MAX,
            memory_will_do: false,
            runs: Vec::new(),
            soa: None,
        }
    }

    /// Sets the limit in octets; it holds for the records in the builder and for the image.
    pub fn bytes_max(mut self, bytes_max: u64) -> Builder {
        self.bytes_max = bytes_max;
        self
    }

    /// Lets the builder put what exceeds [`RUN_BYTES_MAX`], and the image, into unlinked files in this directory.
    pub fn scratch(mut self, dir: &Path) -> Builder {
        self.scratch = Some(dir.to_owned());
        self
    }

    /// Makes a small image in memory although there is a scratch directory, and one whose records fit into memory where that directory
    /// does not take it: for zones that have to be there on a full disk, too.
    pub fn memory_will_do(mut self) -> Builder {
        self.memory_will_do = true;
        self
    }

    /// Where what exceeds memory goes.
    pub(super) fn scratch_directory(&self) -> &Path {
        self.scratch.as_deref().unwrap_or(Path::new(""))
    }

    /// Sets how many octets of records are held in memory where there is a scratch directory.
    pub fn run_bytes_max(mut self, bytes: usize) -> Builder {
        self.run_bytes_max = bytes;
        self
    }

    /// How many records were taken, duplicates included.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing was taken yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes a record. After an error the builder is as it was before.
    pub fn add(&mut self, record: Record) -> Result<(), BuildError> {
        let parts = Parts::of(&record, &self.apex)?;
        self.add_parts(parts)
    }

    /// Takes a record of class IN in parts.
    pub(super) fn add_parts(&mut self, parts: Parts<'_>) -> Result<(), BuildError> {
        let key_at = self.arena.begin();
        let pushed = parts.push_key(self.arena.octets(), &self.apex);
        if let Err(error) = pushed.and_then(|()| self.check_parts(&parts, key_at)) {
            self.arena.undo(key_at);
            return Err(error);
        }
        let set = (parts.covered(), parts.rtype == Rtype::RRSIG);
        let len = self.arena.end(key_at, set, parts.ttl(), parts.rdata);
        self.taken += len as u64;
        self.count += 1;
        if self.arena.len_bytes() >= self.run_bytes_max
            && let Some(dir) = &self.scratch
        {
            let full = std::mem::take(&mut self.arena);
            self.runs.push(full.into_run(Some(dir))?);
        }
        Ok(())
    }

    /// Whether the record whose key was begun at `key_at` may be in the zone.
    fn check_parts(&mut self, parts: &Parts<'_>, key_at: usize) -> Result<(), BuildError> {
        parts.check(self.arena.key_len(key_at) == 0)?;
        let len = self.arena.entry_len(key_at, parts.rdata.len());
        if self.taken + len as u64 > self.bytes_max {
            return Err(BuildError::TooLarge(self.bytes_max));
        }
        match parts.rtype {
            Rtype::SOA => self.take_soa(parts),
            _ => Ok(()),
        }
    }

    fn take_soa(&mut self, parts: &Parts<'_>) -> Result<(), BuildError> {
        let soa = Soa::parse(parts.rdata).ok_or_else(|| BuildError::BadRdata {
            name: parts.name(),
            rtype: Rtype::SOA,
        })?;
        // The same record twice is a duplicate, as at the end of a transfer.
        if self.soa.as_ref().is_some_and(|s| *s != soa) {
            return Err(BuildError::ExtraSoa(parts.name()));
        }
        self.soa = Some(soa);
        Ok(())
    }

    /// Writes the image.
    pub fn finish(self) -> Result<ZoneImage, BuildError> {
        self.finish_noted().map(|(image, _)| image)
    }

    /// Writes the image and tells what was set right.
    pub fn finish_noted(mut self) -> Result<(ZoneImage, BuildNotes), BuildError> {
        let soa = (self.soa.take()).ok_or_else(|| BuildError::NoSoa(self.apex.clone()))?;
        let scratch = self.scratch.take();
        let scratch = scratch.as_deref();
        let mut arena = std::mem::take(&mut self.arena);
        let mut runs = std::mem::take(&mut self.runs);
        if !runs.is_empty() {
            runs.push(arena.into_run(scratch)?);
            return self.image_of(merge(&runs), scratch, soa.serial);
        }
        arena.sort();
        let is_small = arena.len_bytes() <= SMALL_BYTES_MAX;
        let file = scratch.filter(|_| !(self.memory_will_do && is_small));
        match self.image_of(arena.entries(), file, soa.serial) {
            Err(BuildError::Scratch(_)) if self.memory_will_do && file.is_some() => {
                self.image_of(arena.entries(), None, soa.serial)
            }
            made => made,
        }
    }

    /// The image of entries in order, in memory or in a file in `scratch`.
    fn image_of<'a>(
        &self,
        mut entries: impl Iterator<Item = Entry<'a>>,
        scratch: Option<&Path>,
        serial: u32,
    ) -> Result<(ZoneImage, BuildNotes), BuildError> {
        let mut writer = ImageWriter::new(&self.apex, self.bytes_max, scratch)?;
        let mut node = Vec::new();
        entries.try_for_each(|entry| writer.take(&mut node, entry))?;
        writer.end_node(&mut node)?;
        writer.finish(serial)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{name, record, soa};
    use super::super::{Node, Place};
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    fn build(records: Vec<Record>) -> Result<(ZoneImage, BuildNotes), BuildError> {
        let mut builder = Builder::new(name("Example."));
        for record in records {
            builder.add(record)?;
        }
        builder.finish_noted()
    }

    #[test]
    fn nodes_come_back_sorted_with_their_place() {
        let (image, notes) = build(vec![
            record("ns.child.example.", Rtype::A, &[192, 0, 2, 1]),
            record("WWW.example.", Rtype::A, &[192, 0, 2, 3]),
            record("www.example.", Rtype::A, &[192, 0, 2, 2]),
            record("www.example.", Rtype::A, &[192, 0, 2, 3]),
            record(
                "child.example.",
                Rtype::NS,
                name("ns.child.example.").wire(),
            ),
            soa(1),
            record("d.example.", Rtype::DNAME, name("x.").wire()),
            record("a.d.example.", Rtype(65280), b""),
        ])
        .unwrap();
        let nodes: Vec<Node> = image.nodes().collect();
        let seen: Vec<_> = nodes
            .iter()
            .map(|n| (n.name.to_string(), n.place))
            .collect();
        let expected = [
            ("example.", Place::Apex),
            ("child.example.", Place::Delegation),
            ("ns.child.example.", Place::Occluded),
            ("d.example.", Place::Authoritative),
            ("a.d.example.", Place::Occluded),
            ("www.example.", Place::Authoritative),
        ];
        assert_eq!(seen, expected.map(|(n, p)| (n.to_string(), p)));
        let www = &nodes[5].sets[0];
        assert_eq!(
            www.rdatas,
            [Box::from([192, 0, 2, 2]), Box::from([192, 0, 2, 3])]
        );
        assert_eq!(
            image.find(&name("wWw.example"), Rtype::A).as_ref(),
            Some(www)
        );
        assert_eq!((image.record_count(), image.delegation_count()), (7, 1));
        assert_eq!((image.serial(), notes.duplicates), (1, 1));
    }

    #[test]
    fn ttls_are_made_equal_and_lone_signatures_kept() {
        let sig = |covered: Rtype| {
            let mut data = covered.0.to_be_bytes().to_vec();
            data.extend([13, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            data.extend(b"\x07example\x00sig");
            data
        };
        let mut low = record("a.example.", Rtype::A, &[192, 0, 2, 1]);
        low.ttl = 60;
        let mut negative = record("b.example.", Rtype::A, &[192, 0, 2, 1]);
        negative.ttl = 1 << 31;
        let (image, notes) = build(vec![
            soa(1),
            record("a.example.", Rtype::A, &[192, 0, 2, 2]),
            low,
            negative,
            record("a.example.", Rtype::RRSIG, &sig(Rtype::A)),
            record("a.example.", Rtype::RRSIG, &sig(Rtype::TXT)),
            record("c.example.", Rtype::RRSIG, &sig(Rtype::NSEC3)),
        ])
        .unwrap();
        assert_eq!(notes.mixed_ttls, 1);
        assert_eq!(notes.first_mixed_ttl, Some((name("a.example."), Rtype::A)));
        let a = image.find(&name("a.example."), Rtype::A).unwrap();
        assert_eq!((a.ttl, a.rdatas.len(), a.sigs.len()), (60, 2, 1));
        assert_eq!(image.find(&name("b.example."), Rtype::A).unwrap().ttl, 0);
        assert_eq!(image.find(&name("a.example."), Rtype::TXT), None);
        let nodes: Vec<Node> = image.nodes().collect();
        let lone: Vec<_> = (nodes.iter().flat_map(|n| &n.sets))
            .filter(|s| s.rdatas.is_empty())
            .map(|s| (s.name.to_string(), s.rtype, s.sigs.len()))
            .collect();
        let expected = [
            ("a.example.", Rtype::TXT, 1),
            ("c.example.", Rtype::NSEC3, 1),
        ];
        assert_eq!(lone, expected.map(|(n, t, c)| (n.to_string(), t, c)));
        let all = image.find(&name("a.example."), Rtype::RRSIG).unwrap();
        assert_eq!(all.rdatas.len(), 2);
        assert_eq!(image.record_count(), 7);
    }

    #[test]
    fn equal_zones_make_equal_images_whatever_the_order_and_case() {
        let ns = |target: &str| record("example.", Rtype::NS, name(target).wire());
        let (one, _) = build(vec![soa(1), ns("ns1.x."), ns("ns2.x.")]).unwrap();
        let (two, notes) = build(vec![ns("ns2.x."), soa(1), ns("ns1.x."), ns("ns1.x.")]).unwrap();
        assert_eq!(one.as_bytes(), two.as_bytes());
        assert_eq!(notes.duplicates, 1);
        let (other, _) = build(vec![soa(1), ns("NS1.x."), ns("ns2.x.")]).unwrap();
        assert_eq!(one.digest(), other.digest(), "case does not count");
        let (newer, _) = build(vec![soa(2), ns("ns1.x."), ns("ns2.x.")]).unwrap();
        assert_ne!(one.digest(), newer.digest());
    }

    #[test]
    fn runs_on_disk_make_the_same_image() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut records = vec![soa(1)];
        for _ in 0..3_000 {
            let owner = format!("n{}.example.", rng.random_range(0..500));
            let target = format!("ns{}.x.", rng.random_range(0..20));
            records.push(match rng.random_range(0..3) {
                0 => record(&owner, Rtype::A, &[192, 0, 2, rng.random()]),
                1 => record(&owner, Rtype::NS, name(&target).wire()),
                _ => record(&format!("x.{owner}"), Rtype::TXT, b"\x01x"),
            });
        }
        let (expected, notes) = build(records.clone()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for run_bytes_max in [usize::MAX, 20_000, 500] {
            let builder = Builder::new(name("example."));
            let mut builder = builder.scratch(dir.path()).run_bytes_max(run_bytes_max);
            for record in records.clone() {
                builder.add(record).unwrap();
            }
            assert_eq!(builder.runs.len() > 1, run_bytes_max < usize::MAX);
            let (image, found) = builder.finish_noted().unwrap();
            assert_eq!((image.as_bytes(), &found), (expected.as_bytes(), &notes));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// An own zone is there whatever the disk says, as long as memory holds its records.
    #[test]
    fn without_a_disk_memory_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let nowhere = dir.path().join("none");
        let made = |text_bytes: usize, run_bytes_max: usize, memory_will_do: bool| {
            let builder = Builder::new(name("example.")).scratch(&nowhere);
            let mut builder = builder.run_bytes_max(run_bytes_max);
            if memory_will_do {
                builder = builder.memory_will_do();
            }
            builder.add(soa(1))?;
            for i in 0..text_bytes / 40_000 {
                let owner = format!("n{i}.example.");
                builder.add(record(&owner, Rtype(65280), &[0; 40_000]))?;
            }
            builder.finish().map(|image| image.record_count())
        };
        let small = 400_000;
        let large = SMALL_BYTES_MAX + 40_000;
        assert_eq!(made(small, RUN_BYTES_MAX, true).unwrap(), 11);
        assert_eq!(made(large, RUN_BYTES_MAX, true).unwrap(), 421);
        for (bytes, run_bytes_max, memory_will_do) in
            [(small, RUN_BYTES_MAX, false), (large, small, true)]
        {
            let failed = made(bytes, run_bytes_max, memory_will_do).unwrap_err();
            assert!(matches!(failed, BuildError::Scratch(_)), "{failed}");
        }
    }
}
