//! What is read from disk: zone files, images, the notes at their ends, ledger values.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use holdfast::cache::Cache;
use holdfast::cache::persist::Answers;
use holdfast::cache::stale::{STALE_TTL_S, signatures_hold};
use holdfast::catalog::{Ignored, Membership, Step, plan, produce};
use holdfast::clock::{Now, WALL_MAX_S};
use holdfast::dns::{Name, Question, Rtype};
use holdfast::mirror::source::spool::Spool;
use holdfast::mirror::store::image_file;
use holdfast::mirror::verify::{Policy, Trust, verify, verify_unsigned};
use holdfast::resolve::delegation::NAMES_MAX as NAMES_MAX_OF_DELEGATION;
use holdfast::resolve::retained::{Retained, Settings};
use holdfast::store::{
    AnswerRow, ClockRow, CurrentRow, GenerationRow, GoneRow, NamesRow, OutageRow, RetainedHostRow,
    RetainedRow, Row, Tree, TrustAnchorRow, ValueFault, seal, unseal,
};
use holdfast::zone::{
    FileText, Includes, LookupKind, Room, ZoneImage, load, load_file, parse, present,
};

use super::sealed;

thread_local! {
    static DIRECTORY: tempfile::TempDir = tempfile::tempdir().expect("a directory");
}

/// Octets that a zone from a fuzzed file may take.
const ZONE_BYTES_MAX: u64 = 1 << 20;
/// Octets of these that are held in memory; the rest is read from copies.
const INCLUDE_HELD_MAX: u64 = 200;
/// Records of files that include each other that are read.
const RECORDS_MAX: usize = 100_000;
/// Names of an image that are looked up.
const NAMES_MAX: usize = 8;
/// Noon of 2026-08-01, when the zones of the corpus are valid.
const NOW_S: u64 = 1_785_585_600;

/// The body of an answer over HTTPS, packed or not, makes a zone or an error; nothing stays on the disk. Input: the body; its
/// fourth octet says where it is cut in two.
pub fn spool(body: &[u8]) -> bool {
    let at = body
        .get(3)
        .map_or(0, |at| usize::from(*at).max(2))
        .min(body.len());
    let (head, tail) = body.split_at(at);
    DIRECTORY.with(|directory| {
        let spool = Spool::new(directory.path(), ZONE_BYTES_MAX).expect("a directory");
        let filled = spool.take(head).and_then(|spool| spool.take(tail));
        let apex: Name = "example.".parse().expect("a name");
        let zone = filled.and_then(|spool| spool.into_zone("z", &apex, ZONE_BYTES_MAX));
        let left = fs::read_dir(directory.path()).expect("a directory").count();
        assert_eq!(left, 0);
        match zone {
            Ok(ref image) => assert_eq!(*image.apex(), apex),
            Err(ref error) => assert!(!error.to_string().is_empty()),
        }
        zone.is_ok()
    })
}

/// A zone is a catalog or a broken one; the list of one that is read can be produced again and reads the same; following it is a
/// step for each member. Input: a zone file of the catalog.
pub fn catalog(text: &[u8]) -> bool {
    let apex: Name = "example.".parse().expect("a name");
    let Ok(loaded) = load(text, "z", Some(&apex), ZONE_BYTES_MAX) else {
        return false;
    };
    let Ok(listed) = Membership::read(&loaded.image) else {
        return false;
    };
    let steps = plan(
        &apex,
        &listed,
        &BTreeMap::new(),
        |zone| (*zone == apex).then_some(Ignored::Configured),
        NAMES_MAX,
    );
    assert_eq!(steps.len(), listed.members.len());
    let added = steps.iter().filter(|step| matches!(step, Step::Add(..)));
    assert!(added.count() <= NAMES_MAX);
    let again = produce(&apex, 1, listed.members.keys()).expect("a catalog");
    let again = Membership::read(&again).expect("what was produced is read");
    assert!(again.members.keys().eq(listed.members.keys()));
    true
}

/// A zone file that includes another makes a zone or an error that names one of them and a line in it, and reading ends. Input: the
/// one, a NUL, the other; they are called `outer` and `inner`.
pub fn include(data: &[u8]) -> bool {
    let mut parts = data.splitn(2, |b| *b == 0);
    let (outer, inner) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let apex: Name = "example.".parse().expect("a name");
    DIRECTORY.with(|directory| {
        let path = directory.path().join("outer");
        fs::write(&path, outer).expect("a file");
        fs::write(directory.path().join("inner"), inner).expect("a file");
        let room = Room::holding(INCLUDE_HELD_MAX, directory.path());
        let text = FileText::Held(outer.to_vec());
        let mut includes = Includes::of(&path, &text, ZONE_BYTES_MAX, &room);
        let name = path.display().to_string();
        let records = parse::records_with(outer, &name, Some(&apex), &mut includes);
        for record in records.take(RECORDS_MAX) {
            let Err(error) = record else { continue };
            let of = |text: &[u8]| 1 + text.iter().filter(|b| **b == b'\n').count();
            let lines = match error.file == name {
                true => of(outer),
                // A name may be another one of the same file.
                false => of(outer)
                    .max(of(inner))
                    .max(of(&fs::read(&error.file).unwrap_or_default())),
            };
            assert!((1..=lines).contains(&error.line), "{error}");
        }
        let loaded = load_file(&path, Some(&apex), ZONE_BYTES_MAX, &room);
        let seen = includes.into_seen();
        assert!(seen.iter().all(|file| *file == file.again()));
        loaded.is_ok()
    })
}

/// A zone file makes a zone or an error that names a place in it; the zone written as text makes the same zone; verifying it
/// and asking it come to an end.
pub fn zone_file(text: &[u8]) -> bool {
    let apex: Name = "example.".parse().expect("a name");
    let lines = 1 + text.iter().filter(|b| **b == b'\n').count();
    for record in parse::records(text, "z", None) {
        if let Err(error) = record {
            assert!(
                (1..=lines).contains(&error.line),
                "{error} of {lines} lines"
            );
            assert!((1..=text.len() + 1).contains(&error.column), "{error}");
        }
    }
    let Ok(loaded) = load(text, "z", Some(&apex), ZONE_BYTES_MAX) else {
        return false;
    };
    let image = loaded.image;
    ask(&image);
    let nodes: Vec<_> = image.nodes().collect();
    let sets = nodes.iter().flat_map(|node| &node.sets);
    let written: String = sets.map(present::rrset).collect();
    let again = load(
        written.as_bytes(),
        "written",
        Some(&apex),
        ZONE_BYTES_MAX * 2,
    );
    let again = again.unwrap_or_else(|e| panic!("{e} in\n{written}")).image;
    assert_eq!(again.digest(), image.digest(), "{written}");
    assert_eq!(again.as_bytes(), image.as_bytes());
    let _ = verify_unsigned(&image);
    let keys = image.find(&apex, Rtype::DNSKEY);
    let trust = Trust {
        ds: Vec::new(),
        dnskey: keys.map_or(Vec::new(), |set| set.rdatas),
    };
    let policy = Policy {
        workers: 1,
        ..Policy::default()
    };
    let _ = verify(&image, &trust, NOW_S, &policy);
    true
}

/// A damaged image is refused, or answers without a panic; its records are counted right. Input: an octet whose lowest bit
/// has the checksums made right, then the image.
pub fn image(data: &[u8]) -> bool {
    let Some((&how, octets)) = data.split_first() else {
        return false;
    };
    let mut octets = octets.to_vec();
    if how & 1 == 1 {
        sealed::image(&mut octets);
    }
    let image = ZoneImage::from_bytes(octets);
    image.inspect(ask).is_ok()
}

/// Puts questions at and around the names of a zone.
fn ask(image: &ZoneImage) {
    const TYPES: [Rtype; 8] = [
        Rtype::A,
        Rtype::NS,
        Rtype::DS,
        Rtype::SOA,
        Rtype::NSEC3,
        Rtype::RRSIG,
        Rtype::ANY,
        Rtype::CNAME,
    ];
    for node in image.nodes().take(NAMES_MAX) {
        assert!(node.name.is_within(image.apex()));
        let around = [node.name.child(b"x"), node.name.child(&[255; 63])];
        for name in around.into_iter().flatten().chain([node.name]) {
            for rtype in TYPES {
                let found = image.lookup(&name, rtype);
                assert_ne!(found.kind, LookupKind::OutOfZone);
                let sets = found.answer.iter().chain(&found.authority);
                assert!(sets.map(|s| &s.name).all(|n| n.is_within(image.apex())));
                let _ = image.find(&name, rtype);
            }
        }
    }
    let outside = image.lookup(&Name::root(), Rtype::A).kind == LookupKind::OutOfZone;
    assert_eq!(outside, !image.apex().is_root());
}

/// The file of a version opens as what its note says, or not at all. Input: an octet whose lowest bits have the checksums of
/// the note and of the image made right, then the file.
pub fn note(data: &[u8]) -> bool {
    let Some((&how, octets)) = data.split_first() else {
        return false;
    };
    let mut octets = octets.to_vec();
    if how & 2 == 2 {
        sealed::image(&mut octets);
    }
    if how & 1 == 1 {
        sealed::note(&mut octets);
    }
    let path = scratch();
    fs::write(&path, &octets).expect("a scratch file");
    if let Ok((row, image_len)) = image_file::read_note(&path) {
        assert!(image_len < octets.len() as u64);
        let _ = (row.key(), row.verdict.is_admitted());
    }
    let Ok((image, row)) = image_file::open(&path) else {
        return false;
    };
    assert_eq!((image.apex(), image.serial()), (&row.zone, row.serial));
    true
}

/// A file of this thread's own, the same each time.
fn scratch() -> PathBuf {
    thread_local! {
        static SCRATCH: tempfile::TempDir = tempfile::tempdir().expect("a directory");
    }
    SCRATCH.with(|directory| directory.path().join("version"))
}

/// A value is a row of its tree under its key, or a fault; a row comes back the same from its sealed form, and under another
/// key not at all. Input: an octet that chooses the tree and whether the checksum is made right, the length of the
/// key, the key, the value.
pub fn ledger(data: &[u8]) -> bool {
    let Some((&[how, key_len], rest)) = data.split_first_chunk() else {
        return false;
    };
    let Some((key, value)) = rest.split_at_checked(key_len.into()) else {
        return false;
    };
    let right = how & 1 == 1;
    match how >> 1 & 7 {
        _ if how >> 7 == 1 => row::<NamesRow>(key, value, right),
        _ if how >> 6 == 1 => row::<GoneRow>(key, value, right),
        0 => row::<GenerationRow>(key, value, right),
        1 => row::<CurrentRow>(key, value, right),
        2 => row::<OutageRow>(key, value, right),
        3 => row::<TrustAnchorRow>(key, value, right),
        5 => row::<RetainedRow>(key, value, right) && retained(key, value, right),
        6 => row::<RetainedHostRow>(key, value, right),
        7 => row::<AnswerRow>(key, value, right),
        _ => row::<ClockRow>(key, value, right),
    }
}

/// An answer from the disk is a sound one of its own key, which then serves as run out and as nothing else, no larger than it was
/// there; or it is not used at all. Input: the body of its row.
pub fn answer(body: &[u8]) -> bool {
    let Some(row) = AnswerRow::from_body(body) else {
        return false;
    };
    assert_eq!(row.body(), body);
    assert_eq!(unseal(&row.key(), &seal(&row)), Ok(row.clone()));
    let age_max_s = 86_400;
    let wall_s = row.ran_out_at.saturating_add(9).min(WALL_MAX_S);
    let now = Now::new(Duration::from_secs(1), wall_s);
    let answers = Answers::new(10, 1 << 20, age_max_s);
    let kept = answers.admit(&row, now);
    answers.restore(&row, now);
    assert_eq!(answers.stats().entries, usize::from(kept.is_some()));
    let Some(kept) = kept else {
        return false;
    };
    let cache = Cache::new(1 << 20, Default::default()).keeping_stale(age_max_s);
    assert!(cache.restore(kept, now));
    let rtype = match row.rtype {
        0 => Rtype::A,
        other => Rtype(other),
    };
    let question = Question::new(row.name.clone(), rtype);
    assert!(cache.find(&question, now).is_none());
    let Some(found) = cache.find_stale(&question, now, |_| true) else {
        // What stands in place of an alias speaks for no other type.
        return false;
    };
    let entry = found.entry;
    assert!(entry.rcode.is_answer() && found.ran_out_s < age_max_s);
    let _ = signatures_hold(&entry, wall_s);
    let sets = entry.answer.iter().chain(&entry.authority);
    let octets: usize = (sets.inspect(|set| assert_eq!(set.ttl, STALE_TTL_S)))
        .flat_map(|set| set.rdatas.iter().chain(&set.sigs))
        .map(|rdata| rdata.len())
        .sum();
    assert!(octets <= row.packed.len());
    true
}

/// What is taken back leads below the zone that gave it, and no further than it may.
fn retained(key: &[u8], value: &[u8], right: bool) -> bool {
    let value = match (right, value.split_first_chunk::<5>()) {
        (true, Some((head, body))) => sealed::value("retained", key, head[0], body),
        _ => value.to_vec(),
    };
    let Ok(row) = unseal::<RetainedRow>(key, &value) else {
        return false;
    };
    let now = Now::new(Duration::from_secs(1), row.confirmed_at.saturating_add(1));
    let retained = Retained::new(Settings::default());
    let (zone, parent) = (row.zone.clone(), row.parent.clone());
    retained.restore_zone(row.into(), now);
    let question = Question::new(zone.clone(), Rtype::NS);
    if let Some((delegation, _)) = retained.take(&parent, &question, now) {
        assert!(zone.is_below(&parent));
        assert_eq!(delegation.zone, zone);
        assert!((1..=NAMES_MAX_OF_DELEGATION).contains(&delegation.servers.len()));
    }
    let _ = retained.take_unwritten(9, true, now);
    true
}

fn row<R: Row>(key: &[u8], value: &[u8], right: bool) -> bool {
    let tree: Tree = R::TREE;
    let value = match (right, value.split_first_chunk::<5>()) {
        (true, Some((head, body))) => sealed::value(tree.name(), key, head[0], body),
        _ => value.to_vec(),
    };
    match unseal::<R>(key, &value) {
        Ok(row) => {
            assert_eq!(row.key(), key);
            let again = seal(&row);
            assert!(unseal::<R>(key, &again).is_ok());
            let elsewhere = unseal::<R>(&[key, b"x"].concat(), &again);
            assert_eq!(elsewhere.err(), Some(ValueFault::Checksum));
            true
        }
        Err(fault) => {
            assert!(!right || fault != ValueFault::Checksum);
            false
        }
    }
}
