//! Whole zones: signed ones verify, damaged ones do not, and the faults say what is wrong.

use super::early::Early;
use super::report::verify_built;
use super::*;
use crate::config::Anchors;
use crate::dns::rdata::canonical;
use crate::dns::{Name, Record};
use crate::signer::{Denial, INCEPTION, KSK, Key, Signer, ZSK, name, rr, rrs};
use crate::zone::parse::records;
use crate::zone::{BuildNotes, Builder, Onlooker, Room};

/// Within the validity of the signer's zones.
const NOW: u64 = INCEPTION as u64 + 3600;
/// 2026-08-01T12:00:00Z, within the validity of the bundled root zone.
const ROOT_TIME: u64 = 1_785_585_600;

const ZONE: &str = "
    example. 3600 SOA ns.example. h.example. 7 3600 900 86400 300
    example. 3600 NS ns.example.
    example. 3600 NS ns2.example.
    ns.example. 3600 A 192.0.2.1
    ns2.example. 3600 A 192.0.2.2
    ns2.example. 3600 AAAA 2001:db8::2
    a.b.c.example. 60 TXT hello world
    *.w.example. 60 A 192.0.2.3
    secure.example. 300 NS ns.secure.example.
    secure.example. 300 DS 1234 13 2 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
    ns.secure.example. 300 A 192.0.2.9
    insecure.example. 300 NS ns.insecure.example.
    insecure.example. 300 A 192.0.2.77
    ns.insecure.example. 300 A 192.0.2.10
    x.gap.example. 300 NS ns.secure.example.
    d.example. 300 DNAME other.example.
    MiXed.example. 300 MX 10 Ns.Example.
    z.example. 300 TYPE65280 \\# 3 010203";

fn signer(denial: Denial, zonemd: bool) -> Signer {
    Signer {
        denial,
        zonemd,
        ..Signer::new("example.", 1)
    }
}

fn trust(signer: &Signer) -> Trust {
    Trust {
        ds: signer.ds(),
        dnskey: Vec::new(),
    }
}

fn build(apex: &Name, records: &[Record]) -> Result<(ZoneImage, BuildNotes), String> {
    let mut builder = Builder::new(apex.clone());
    for record in records {
        builder.add(record.clone()).map_err(|e| e.to_string())?;
    }
    builder.finish_noted().map_err(|e| e.to_string())
}

/// Verifies records; the faults in words. Whether their signatures were looked at while they were read makes no difference.
fn judge(apex: &Name, records: &[Record], trust: &Trust, at: u64) -> Result<Report, Vec<String>> {
    let (image, notes) = build(apex, records).map_err(|e| vec![e])?;
    // With two threads, what is still being looked at is judged beside.
    let policy = Policy {
        workers: 2,
        ..Policy::default()
    };
    let with = |checked: &Checked| {
        verify_built(&image, &notes, checked, trust, at, &policy)
            .map_err(|faults| -> Vec<String> { faults.iter().map(ToString::to_string).collect() })
    };
    let found = with(&Checked::default());
    for checked in [
        shown(apex, records),
        shown(apex, records).lasting(),
        being_shown(apex, records),
    ] {
        let again = with(&checked);
        match &found {
            // Of more than are listed, chance decides which ones are.
            Err(faults) if faults.len() > FAULTS_MAX => assert!(again.is_err()),
            _ => assert_eq!(again, found),
        }
    }
    found
}

/// The signatures that are found good while records are read, once all have been looked at.
fn shown(apex: &Name, records: &[Record]) -> Checked {
    let mut checked = being_shown(apex, records);
    checked.count();
    checked
}

/// The same while they are still being looked at.
fn being_shown(apex: &Name, records: &[Record]) -> Checked {
    let mut early = Early::new(&Policy {
        workers: 2,
        ..Policy::default()
    });
    early.begin(apex);
    for record in records {
        early.record(record.name.wire(), record.rtype, record.ttl, &record.rdata);
    }
    early.finish()
}

fn count(apex: &Name, records: &[Record]) -> usize {
    being_shown(apex, records).count()
}

/// All signatures of a zone as signers write it, once its keys have come; and none that was not made for what it stands beside.
#[test]
fn signatures_are_found_good_while_the_zone_is_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/zones/root.zone");
    let text = std::fs::read(path).unwrap();
    let root: Vec<Record> = records(&text, "root.zone", None)
        .map(Result::unwrap)
        .collect();
    assert_eq!(count(&Name::root(), &root), 2_792);
    let signer = signer(Denial::Nsec, false);
    let mut zone = signer.sign(&rrs(ZONE));
    zone.sort_by_key(|r| (r.name.clone(), r.rtype == Rtype::RRSIG));
    let all = count(&signer.apex, &zone);
    assert_eq!(all, zone.iter().filter(|r| r.rtype == Rtype::RRSIG).count());
    let mx = zone.iter_mut().find(|r| r.rtype == Rtype::MX).unwrap();
    mx.rdata[1] ^= 1;
    assert_eq!(count(&signer.apex, &zone), all - 1);
    // Nobody knows by which keys before they have come.
    zone.retain(|r| r.rtype != Rtype::DNSKEY);
    assert_eq!(count(&signer.apex, &zone), 0);
}

/// A set was whole and well signed when it passed, and got another record later.
#[test]
fn what_was_found_good_is_what_was_signed() {
    let signer = signer(Denial::Nsec, false);
    let mut zone = signer.sign(&rrs(ZONE));
    zone.sort_by_key(|r| (r.name.clone(), r.rtype == Rtype::RRSIG));
    zone.extend(rrs(
        "z.example. 300 TXT late\nns.example. 3600 A 192.0.2.66",
    ));
    let faults = judge(&signer.apex, &zone, &trust(&signer), NOW).unwrap_err();
    assert!(
        faults.iter().any(|f| f.starts_with("ns.example. A: ")),
        "{faults:?}"
    );
}

fn denials() -> Vec<Denial> {
    vec![
        Denial::Nsec,
        Denial::nsec3(false),
        Denial::nsec3(true),
        Denial::Nsec3 {
            salt: vec![0xAA, 0xBB],
            iterations: 7,
            opt_out: false,
        },
    ]
}

#[test]
fn signed_zones_verify() {
    for denial in denials() {
        for (zonemd, p256) in [(false, false), (true, false), (true, true)] {
            let mut signer = signer(denial.clone(), zonemd);
            if p256 {
                signer.keys = vec![Key::p256(KSK), Key::p256(ZSK)];
            }
            let zone = signer.sign(&rrs(ZONE));
            let report = judge(&signer.apex, &zone, &trust(&signer), NOW).unwrap();
            assert_eq!(report.serial, 7);
            assert_eq!(report.records, zone.len() as u64);
            assert_eq!(report.delegations, 3);
            let signatures = zone.iter().filter(|r| r.rtype == Rtype::RRSIG).count();
            assert_eq!(report.signatures, signatures as u64);
            assert_eq!(report.valid_from, Some(u64::from(INCEPTION)));
            assert_eq!(report.expires_at, Some(u64::from(signer.expiration)));
            let expected = match zonemd {
                true => ZonemdStatus::Verified { hash: 1 },
                false => ZonemdStatus::Absent,
            };
            assert_eq!(report.zonemd, expected);
            assert_eq!(report.warnings.is_empty(), zonemd);
            let opt_out = matches!(denial, Denial::Nsec3 { opt_out: true, .. });
            let kind = match denial {
                Denial::Nsec => DenialKind::Nsec,
                _ => DenialKind::Nsec3 { opt_out },
            };
            assert_eq!(report.denial, kind);
        }
    }
}

#[test]
fn odd_zones_verify() {
    // A zone that is nothing but an apex, the root, and a DNAME at the apex.
    for (apex, lines) in [
        ("example.", ""),
        (".", "com. 60 NS a.com.\n a.com. 60 A 192.0.2.1"),
        ("example.", "example. 60 DNAME other.\n"),
    ] {
        for denial in denials() {
            let mut signer = Signer::new(apex, 3);
            signer.denial = denial;
            signer.zonemd = true;
            let soa = format!("{apex} 60 SOA a. b. 1 2 3 4 5\n {apex} 60 NS a.\n {lines}");
            let zone = signer.sign(&rrs(&soa));
            let found = judge(&signer.apex, &zone, &trust(&signer), NOW);
            assert!(found.is_ok(), "{apex} {lines} {found:?}");
        }
    }
}

/// The real root zone, whole, at the time that the bundled copy is verified at.
#[test]
fn the_bundled_root_zone_verifies() {
    let (zone, trust) = root();
    let report = judge(&Name::root(), &zone, &trust, ROOT_TIME).unwrap();
    assert_eq!(report.serial, 2_026_073_102);
    assert_eq!(report.records, 24_877);
    assert_eq!(report.delegations, 1_438);
    assert_eq!(report.signatures, 2_792);
    assert_eq!(report.zonemd, ZonemdStatus::Verified { hash: 1 });
    assert_eq!(
        report.zonemd_digest.as_deref(),
        Some(
            "c3a465783c10b43aac6515b1711b16df39a420d782a9bed3fe891a19fc67ec4063f3fb357ffb1097d5ab205f28a74cf5"
        )
    );
    assert_eq!(report.denial, DenialKind::Nsec);
    // ZSK signatures: 2026-07-31T19:00:00Z to 2026-08-13T20:00:00Z.
    assert_eq!(report.valid_from, Some(1_785_524_400));
    assert_eq!(report.expires_at, Some(1_786_651_200));
    let (image, _) = build(&Name::root(), &zone).unwrap();
    assert_eq!(signing_time(&image), report.valid_from);
    for (at, allowed) in [
        (1_785_524_399, false),
        (1_785_524_400, true),
        (1_786_651_200, true),
        (1_786_651_201, false),
    ] {
        let found = verify(&image, &trust, at, &Policy::default());
        assert_eq!(found.is_ok(), allowed, "{at}");
    }
}

fn root() -> (Vec<Record>, Trust) {
    let text = include_bytes!("../../../zones/root.zone");
    let zone = records(text, "root.zone", None).map(Result::unwrap);
    let anchors = Anchors::compiled_in();
    let anchor = anchors.closest(&Name::root()).unwrap();
    let trust = Trust::from(anchor);
    (zone.collect(), trust)
}

/// RFC 8976 appendix A.4: a signed zone of 2021, RSA/SHA-256 with 1024-bit and 2048-bit keys.
#[test]
fn the_signed_zone_of_rfc_8976_verifies() {
    let text = include_bytes!("../../../tests/vectors/rfc8976-a4.zone");
    let zone: Vec<Record> = (records(text, "a4", None).map(Result::unwrap)).collect();
    let apex = name("uri.arpa.");
    let ksk = |r: &&Record| r.rtype == Rtype::DNSKEY && r.rdata[1] == 1;
    for record in zone.iter().filter(ksk) {
        let trust = Trust {
            ds: Vec::new(),
            dnskey: vec![record.rdata.clone()],
        };
        // 2021-02-01T00:00:00Z
        let report = judge(&apex, &zone, &trust, 1_612_137_600).unwrap();
        assert_eq!(report.zonemd, ZonemdStatus::Verified { hash: 1 });
    }
}

type Change = fn(&mut Vec<Record>);

fn drop_if(zone: &mut Vec<Record>, what: impl Fn(&Record) -> bool) {
    let before = zone.len();
    zone.retain(|r| !what(r));
    assert_ne!(zone.len(), before);
}

fn covers(record: &Record, rtype: Rtype) -> bool {
    record.rtype == Rtype::RRSIG && record.rdata[..2] == rtype.0.to_be_bytes()
}

/// Damage to a zone without ZONEMD is told by its exact words.
fn check_fault(denial: Denial, change: Change, expected: &[&str]) {
    let signer = signer(denial, false);
    let mut zone = signer.sign(&rrs(ZONE));
    change(&mut zone);
    let found = judge(&signer.apex, &zone, &trust(&signer), NOW).unwrap_err();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn faults_of_an_nsec_zone() {
    let cases: &[(Change, &[&str])] = &[
        // The set goes, its signature stays, the record of its name lists it.
        (
            |z| {
                drop_if(z, |r| {
                    r.name == name("ns2.example.") && r.rtype == Rtype::AAAA
                })
            },
            &[
                "ns2.example. AAAA: an RRSIG covers a set that is not there",
                "ns2.example. NSEC: the denial record lists the types [A AAAA RRSIG NSEC], the name has [A RRSIG NSEC]",
            ],
        ),
        (
            |z| drop_if(z, |r| r.name == name("ns2.example.") && covers(r, Rtype::A)),
            &["ns2.example. A: not signed by a key of the zone"],
        ),
        (
            |z| drop_if(z, |r| r.name == name("z.example.")),
            &["*.w.example. NSEC: NSEC says that the next name is z.example., it is example."],
        ),
        (
            |z| {
                drop_if(z, |r| {
                    r.name == name("ns.example.")
                        && (r.rtype == Rtype::NSEC || covers(r, Rtype::NSEC))
                })
            },
            &["ns.example. NSEC: the name has no NSEC record"],
        ),
        (
            |z| z.push(rr("q.example. 60 A 192.0.2.1")),
            &[
                "ns2.example. NSEC: NSEC says that the next name is secure.example., it is q.example.",
                "q.example. A: not signed by a key of the zone",
                "q.example. NSEC: the name has no NSEC record",
            ],
        ),
        (
            |z| z.push(rr("ns.example. 3600 A 192.0.2.66")),
            &["ns.example. A: signature by key "],
        ),
        (
            |z| drop_if(z, |r| r.rtype == Rtype::DS || covers(r, Rtype::DS)),
            &[
                "secure.example. NSEC: the denial record lists the types [NS DS RRSIG NSEC], the name has [NS RRSIG NSEC]",
            ],
        ),
        (
            |z| {
                for r in z.iter_mut().filter(|r| r.name == name("a.b.c.example.")) {
                    r.ttl = 61;
                }
            },
            // The TTL of the NSEC set is 300.
            &[
                "a.b.c.example. TXT: TTL is 61, signed was 60",
                "a.b.c.example. NSEC: TTL is 61, signed was 300",
            ],
        ),
        (
            |z| drop_if(z, |r| r.rtype == Rtype::DNSKEY),
            &["example. DNSKEY: the zone has no DNSKEY records"],
        ),
        (
            |z| drop_if(z, |r| r.rtype == Rtype::DNSKEY && r.rdata[1] == 1),
            &["example. DNSKEY: no DNSKEY matches the trust anchor or the parent's DS ("],
        ),
        (
            |z| drop_if(z, |r| covers(r, Rtype::DNSKEY)),
            &["example. DNSKEY: no trusted key has signed the DNSKEY set"],
        ),
    ];
    for (change, expected) in cases {
        check_fault(Denial::Nsec, *change, expected);
    }
}

#[test]
fn faults_of_an_nsec3_zone() {
    let is_chain = |r: &Record| r.rtype == Rtype::NSEC3 || covers(r, Rtype::NSEC3);
    let signer = signer(Denial::nsec3(false), false);
    let whole = signer.sign(&rrs(ZONE));
    let trust = trust(&signer);
    let faults = |zone: &[Record]| judge(&signer.apex, zone, &trust, NOW).unwrap_err();

    // Each record of the chain taken out: one name without, one link broken.
    let owners: Vec<Name> = (whole.iter())
        .filter(|r| r.rtype == Rtype::NSEC3)
        .map(|r| r.name.clone())
        .collect();
    assert!(owners.len() > 10);
    for owner in &owners {
        let mut zone = whole.clone();
        drop_if(&mut zone, |r| r.name == *owner && is_chain(r));
        let found = faults(&zone);
        assert_eq!(found.len(), 2, "{found:?}");
        let told = |what: &str| found.iter().any(|f| f.contains(what));
        assert!(
            told("has no NSEC3 record") && told("next hash"),
            "{found:?}"
        );
    }

    let mut zone = whole.clone();
    drop_if(&mut zone, |r| r.name == name("z.example."));
    assert!(faults(&zone)[0].ends_with("is the hash of no name in the zone"));

    // A record of another zone's chain in the gap.
    let mut zone = whole.clone();
    let mut other = signer.sign(&rrs(&format!("{ZONE}\n q.example. 60 A 192.0.2.1")));
    let stranger = |r: &Record| is_chain(r) && !owners.contains(&r.name);
    other.retain(stranger);
    zone.extend(other);
    let found = faults(&zone);
    assert!(
        found.iter().any(|f| f.ends_with("no name in the zone")),
        "{found:?}"
    );
    assert!(found.iter().any(|f| f.contains("next hash")), "{found:?}");

    check_fault(
        Denial::nsec3(false),
        |z| {
            drop_if(z, |r| {
                r.rtype == Rtype::NSEC3PARAM || covers(r, Rtype::NSEC3PARAM)
            })
        },
        &["example.: the zone has no NSEC or NSEC3 chain"],
    );
    check_fault(
        Denial::Nsec3 {
            salt: vec![],
            iterations: 101,
            opt_out: false,
        },
        |_| {},
        &[
            "example.: the zone has no NSEC or NSEC3 chain",
            "example. NSEC3PARAM: NSEC3 with 101 extra iterations",
        ],
    );
}

// RFC 5155 section 6: without opt-out nothing may be left out; with it, insecure delegations alone.
#[test]
fn opt_out_excuses_only_insecure_delegations() {
    let signer = signer(Denial::nsec3(true), false);
    let trust = trust(&signer);
    let added = |lines: &str| {
        let mut zone = signer.sign(&rrs(ZONE));
        zone.extend(rrs(lines));
        judge(&signer.apex, &zone, &trust, NOW)
    };
    let found = added("new.example. 60 NS ns.new.example.\n ns.new.example. 60 A 192.0.2.1");
    assert!(found.is_ok(), "{found:?}");
    assert!(added("new.deep.example. 60 NS ns.example.").is_ok());
    let found = added("new.example. 60 A 192.0.2.1").unwrap_err();
    assert!(
        found
            .iter()
            .any(|f| f.contains("new.example. NSEC3: the name has no"))
    );
    let ds = "new.example. 60 NS ns.example.\n new.example. 60 DS 1 13 2 00";
    assert_eq!(added(ds).unwrap_err().len(), 2);
}

// RFC 8976 section 4: a ZONEMD that was taken out is missed.
#[test]
fn a_stripped_zonemd_is_missed() {
    for denial in denials() {
        let signer = signer(denial, true);
        let mut zone = signer.sign(&rrs(ZONE));
        drop_if(&mut zone, |r| {
            r.rtype == Rtype::ZONEMD || covers(r, Rtype::ZONEMD)
        });
        let found = judge(&signer.apex, &zone, &trust(&signer), NOW).unwrap_err();
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("lists the types") && found[0].contains("ZONEMD"));
    }
}

#[test]
fn an_unsupported_zonemd_is_reported_and_not_fatal() {
    let plain = signer(Denial::Nsec, false);
    let mut lines = ZONE.to_owned();
    for data in ["000000070201", "0000000701f0"] {
        lines += &format!("\n example. 3600 TYPE63 \\# 18 {data}000000000000000000000000");
    }
    let zone = plain.sign(&rrs(&lines));
    let report = judge(&plain.apex, &zone, &trust(&plain), NOW).unwrap();
    assert_eq!(report.zonemd, ZonemdStatus::Unsupported);
    assert_eq!(report.warnings, [Warning::UnsupportedZonemd]);
}

#[test]
fn time_decides() {
    let signer = signer(Denial::Nsec, true);
    let zone = signer.sign(&rrs(ZONE));
    let trust = trust(&signer);
    for (at, problem) in [
        (
            u64::from(INCEPTION) - 1,
            "not yet valid (from 2026-08-01T00:00:00Z on)",
        ),
        (
            u64::from(signer.expiration) + 1,
            "has expired (2026-08-15T00:00:00Z)",
        ),
    ] {
        let found = judge(&signer.apex, &zone, &trust, at).unwrap_err();
        assert_eq!(found.len(), 1, "the keys alone are told");
        assert!(found[0].ends_with(problem), "{found:?}");
    }
}

#[test]
fn trust_decides() {
    let signer = signer(Denial::Nsec, true);
    let zone = signer.sign(&rrs(ZONE));
    let of = |ds: Vec<Rdata>, dnskey: Vec<Rdata>| Trust { ds, dnskey };
    let ksk = Key::ed25519(1, KSK);
    let mut sha1 = ksk.ds(&signer.apex);
    sha1[3] = 1;
    let mut unknown = ksk.ds(&signer.apex);
    unknown[2] = 200;
    let other = Key::ed25519(9, KSK).ds(&signer.apex);
    for (trust, expected) in [
        (of(vec![], vec![ksk.dnskey()]), None),
        (of(vec![other.clone(), ksk.ds(&signer.apex)], vec![]), None),
        (of(vec![], vec![]), Some("there is no trust anchor")),
        (of(vec![other], vec![]), Some("no DNSKEY matches")),
        (
            of(vec![sha1], vec![]),
            Some("no trust anchor of the zone has a supported"),
        ),
        (
            of(vec![unknown], vec![]),
            Some("no trust anchor of the zone has a supported"),
        ),
        // A zone key may be trusted, but it did not sign the keys.
        (
            of(vec![], vec![Key::ed25519(1, ZSK).dnskey()]),
            Some("no trusted key has signed"),
        ),
    ] {
        let found = judge(&signer.apex, &zone, &trust, NOW);
        match expected {
            None => assert!(found.is_ok(), "{found:?}"),
            Some(text) => assert!(found.unwrap_err()[0].contains(text), "{text}"),
        }
    }
}

#[test]
fn unsigned_zones_are_called_so() {
    let plain = rrs(ZONE);
    let report = judge(&name("example."), &plain, &Trust::default(), NOW).unwrap();
    assert!(!report.secure && report.signatures == 0);
    assert_eq!(report.warnings, [Warning::Unverified]);
    assert_eq!(report.proves(), "nothing but that the file is a zone");
    // With an anchor for it, the same zone was stripped.
    let trust = trust(&signer(Denial::Nsec, false));
    assert!(judge(&name("example."), &plain, &trust, NOW).is_err());

    let text = include_bytes!("../../../tests/vectors/rfc8976-a5.zone");
    let mut zone: Vec<Record> = (records(text, "a5", None).map(Result::unwrap)).collect();
    let apex = name("root-servers.net.");
    let report = judge(&apex, &zone, &Trust::default(), NOW).unwrap();
    assert_eq!(report.zonemd, ZonemdStatus::Verified { hash: 1 });
    zone.pop();
    zone.remove(20);
    zone.push(rr("a.root-servers.net. 60 A 192.0.2.1"));
    assert!(
        judge(&apex, &zone, &Trust::default(), NOW).is_ok(),
        "no ZONEMD any more"
    );
}

#[test]
fn the_list_of_faults_ends() {
    let signer = signer(Denial::Nsec, false);
    let mut zone = signer.sign(&rrs(ZONE));
    zone.extend((0..1000).map(|i| rr(&format!("n{i}.example. 60 A 192.0.2.1"))));
    let found = judge(&signer.apex, &zone, &trust(&signer), NOW).unwrap_err();
    assert_eq!(found.len(), FAULTS_MAX + 1);
    assert!(found[FAULTS_MAX].contains("stopped after 100 faults"));
}

#[test]
fn many_bad_signatures_cost_little() {
    let signer = signer(Denial::Nsec, false);
    let mut zone = signer.sign(&rrs(ZONE));
    let at = zone.iter().position(|r| covers(r, Rtype::TXT)).unwrap();
    for i in 0..200u8 {
        let mut sig = zone[at].clone();
        sig.rdata[30] = i;
        zone.push(sig);
    }
    let found = judge(&signer.apex, &zone, &trust(&signer), NOW).unwrap_err();
    assert_eq!(found.len(), 1);
    // Signatures by a key that is not the zone's count for nothing, in either direction.
    let mut zone = signer.sign(&rrs(ZONE));
    let mut foreign = zone[at].clone();
    foreign.rdata[16] ^= 0x55;
    zone.push(foreign);
    assert!(judge(&signer.apex, &zone, &trust(&signer), NOW).is_ok());
}

/// Records as a zone file that any reader takes (RFC 3597 section 5).
fn zone_file(zone: &[Record]) -> String {
    let line = |r: &Record| {
        let hex: String = r.rdata.iter().map(|b| format!("{b:02x}")).collect();
        let (name, ttl, rtype, len) = (&r.name, r.ttl, r.rtype, r.rdata.len());
        format!("{name} {ttl} IN {rtype} \\# {len} {hex}\n")
    };
    zone.iter().map(line).collect()
}

#[test]
fn zone_verify_speaks_in_text_and_json() {
    let signer = signer(Denial::Nsec, true);
    let zone = signer.sign(&rrs(ZONE));
    let good = zone_file(&zone);
    let dir = tempfile::tempdir().unwrap();
    let run = |text: Option<&str>, trusted: bool, json: bool| -> (i32, String) {
        let file = dir.path().join("zone");
        let _ = std::fs::remove_file(&file);
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let trust = |apex: &Name| match trusted && *apex == signer.apex {
            true => trust(&signer),
            false => Trust::default(),
        };
        let mut out = Vec::new();
        let room = Room::beside(dir.path());
        let code = zone_verify(
            &file,
            &room,
            NOW,
            &trust,
            &Policy::default(),
            json,
            &mut out,
        );
        (code, String::from_utf8(out).unwrap())
    };

    let (code, text) = run(Some(&good), true, false);
    assert_eq!(code, 0);
    for line in [
        "zone         example.",
        "verdict      verified",
        "serial       7",
        "delegations  3",
        "valid        from 2026-08-01T00:00:00Z until 2026-08-15T00:00:00Z",
        "as of        2026-08-01T01:00:00Z",
        "ZONEMD       verified (SIMPLE, SHA-384)",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }

    let (code, text) = run(Some(&good), true, true);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 0);
    assert_eq!(json["verdict"], "verified");
    assert_eq!(json["serial"], 7);
    assert_eq!(json["records"], zone.len());
    assert_eq!(json["valid_until"], "2026-08-15T00:00:00Z");

    // One TTL of a set raised: the image would be the same, the file is not.
    let raised = good.replacen("example. 3600 IN NS", "example. 3601 IN NS", 1);
    let ns_gone = good.replacen("ins", "inz", 1);
    let unsigned = zone_file(&rrs(ZONE));
    for (text, trusted, code, expected) in [
        (
            Some(raised.as_str()),
            true,
            1,
            "example. NS: the TTLs within the set differ",
        ),
        (Some("example. 60 IN A 1.2.3"), true, 1, ":1:"),
        (Some(""), true, 1, "SOA"),
        (None, true, 2, "No such file"),
        (Some(&good), false, 1, "there is no trust anchor"),
        (Some(&unsigned), true, 1, "the zone has no DNSKEY records"),
        (Some(&unsigned), false, 0, "verdict      unverified"),
        (Some(&ns_gone), false, 1, "there is no trust anchor"),
    ] {
        let found = run(text, trusted, false);
        assert_eq!(found.0, code, "{}", found.1);
        assert!(found.1.contains(expected), "{expected}: {}", found.1);
        let (again, json) = run(text, trusted, true);
        assert_eq!(again, code);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["faults"].is_array(), code != 0);
    }
}

/// A small generator of numbers (SplitMix64), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

/// Changes, adds or removes one record; says what it did. `None` when the result is the same zone in
/// other spelling.
fn mutate(zone: &mut Vec<Record>, dice: &mut Dice) -> Option<String> {
    let at = dice.roll(zone.len());
    let before = zone[at].clone();
    let kind = dice.roll(6);
    let record = &mut zone[at];
    match kind {
        0 => {
            zone.remove(at);
            return Some(format!("removed {before:?}"));
        }
        1 => record.ttl ^= 1 << dice.roll(20),
        2 if !record.name.is_root() => {
            let mut label = record.name.labels().next()?.to_vec();
            let i = dice.roll(label.len());
            label[i] ^= 1 << dice.roll(8);
            record.name = record.name.parent()?.child(&label).ok()?;
        }
        3 => {
            let mut added = record.clone();
            let i = dice.roll(added.rdata.len());
            added.rdata[i] ^= 1 << dice.roll(8);
            if canonical(&added.rdata, added.rtype) == canonical(&before.rdata, before.rtype) {
                return None;
            }
            zone.push(added);
            return Some(format!("added a variant of {before:?}"));
        }
        4 => {
            let label = format!("n{}", dice.roll(1000));
            let mut added = rr("example. 60 A 192.0.2.1");
            added.name = before.name.child(label.as_bytes()).ok()?;
            zone.push(added.clone());
            return Some(format!("added {added:?}"));
        }
        _ => {
            let i = dice.roll(record.rdata.len());
            record.rdata[i] ^= 1 << dice.roll(8);
        }
    }
    let same = before.name == record.name
        && before.ttl == record.ttl
        && canonical(&before.rdata, before.rtype) == canonical(&record.rdata, record.rtype);
    (!same).then(|| format!("changed {before:?} to {:?}", zone[at]))
}

fn check_mutations(apex: &Name, zone: &[Record], trust: &Trust, at: u64, seed: u64, count: usize) {
    assert!(judge(apex, zone, trust, at).is_ok());
    let mut dice = Dice(seed);
    let mut done = 0;
    while done < count {
        let mut mutated = zone.to_vec();
        let Some(what) = mutate(&mut mutated, &mut dice) else {
            continue;
        };
        let found = judge(apex, &mutated, trust, at);
        assert!(found.is_err(), "seed {seed}: {what} and it verifies");
        done += 1;
    }
}

/// Several records at once cut short, bent and multiplied: whatever comes out, it is judged in bounded
/// time and nothing panics.
#[test]
fn ruins_of_a_zone_are_judged() {
    let mut dice = Dice(8976);
    for round in 0..150 {
        let signer = signer(denials().swap_remove(round % 4), round % 3 == 0);
        let mut zone = signer.sign(&rrs(ZONE));
        for _ in 0..1 + dice.roll(20) {
            let at = dice.roll(zone.len());
            if dice.roll(3) == 0 {
                let len = 1 + dice.roll(zone[at].rdata.len());
                zone[at].rdata = zone[at].rdata[..len].into();
            } else {
                mutate(&mut zone, &mut dice);
            }
        }
        // What the builder refuses is left out, so that the rest is reached.
        let mut builder = Builder::new(signer.apex.clone());
        for record in zone {
            let _ = builder.add(record);
        }
        if let Ok((image, notes)) = builder.finish_noted() {
            let _ = verify_built(
                &image,
                &notes,
                &Checked::default(),
                &trust(&signer),
                NOW,
                &Policy::default(),
            );
            let _ = verify_unsigned(&image);
            let _ = signing_time(&image);
        }
    }
}

#[test]
fn a_zone_with_zonemd_does_not_survive_any_change() {
    for (seed, denial) in denials().into_iter().enumerate() {
        let signer = signer(denial, true);
        let zone = signer.sign(&rrs(ZONE));
        check_mutations(&signer.apex, &zone, &trust(&signer), NOW, seed as u64, 60);
    }
}

#[test]
fn the_root_zone_does_not_survive_any_change() {
    let (zone, trust) = root();
    check_mutations(&Name::root(), &zone, &trust, ROOT_TIME, 20_326, 6);
}

/// An update is judged as the whole new version is, verdict and faults alike: honest ones, ones with hostile changes, ones whose
/// keys changed, and ones that come when signatures have run out.
#[test]
fn a_version_from_a_proven_one_is_judged_as_any_other() {
    let mut dice = Dice(1995);
    let (mut good, mut bad) = (0, 0);
    for round in 0..80 {
        let denial = denials().swap_remove(round % 4);
        let signer = signer(denial, round % 3 == 0);
        let before = rrs(ZONE);
        let (old, _) = build(&signer.apex, &signer.sign(&before)).unwrap();
        let (policy, trust) = (Policy::default(), trust(&signer));
        verify(&old, &trust, NOW, &policy).unwrap();

        let mut after = before.clone();
        for _ in 0..dice.roll(4) {
            // The SOA stays.
            after.remove(1 + dice.roll(after.len() - 1));
        }
        for i in 0..dice.roll(4) {
            let (n, at) = (dice.roll(50), dice.roll(200));
            after.push(match dice.roll(3) {
                0 => rr(&format!("n{n}.example. 300 NS ns.secure.example.")),
                1 => rr(&format!("x.y{n}.example. 300 A 192.0.2.{at}")),
                _ => rr(&format!("t{i}.example. 300 TXT text")),
            });
        }
        let mut zone = signer.sign(&after);
        for _ in 0..[0, 0, 1, 2, 5][dice.roll(5)] {
            mutate(&mut zone, &mut dice);
        }
        let Ok((new, _)) = build(&signer.apex, &zone) else {
            continue;
        };
        for at in [NOW, NOW - 7200, NOW + 30 * 86_400] {
            let whole = verify(&new, &trust, at, &policy);
            let update = verify_from(&new, Some(&old), &trust, at, &policy);
            assert_eq!(update, whole, "round {round} at {at}");
            match whole {
                Ok(_) => good += 1,
                Err(_) => bad += 1,
            }
        }
        // A version of somebody else's proves nothing.
        let other = Signer::new("example.", 2);
        let (old, _) = build(&signer.apex, &other.sign(&before)).unwrap();
        let whole = verify(&new, &trust, NOW, &policy);
        let update = verify_from(&new, Some(&old), &trust, NOW, &policy);
        assert_eq!(update, whole, "round {round}");
    }
    assert!(good > 10 && bad > 60, "{good} good, {bad} bad");
}
