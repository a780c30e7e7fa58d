//! Lookups as tables: a zone in text, a question, the sections of the answer as `TYPE owner` words.

use std::path::Path;
use std::sync::OnceLock;

use super::{Lookup, LookupKind, Room, ZONE_BYTES_MAX, ZoneImage, load, load_file};
use crate::dns::{Name, RrSet, Rtype, rdata};

fn image(text: &str) -> ZoneImage {
    let apex = "example.".parse().unwrap();
    load(text.as_bytes(), "z", Some(&apex), ZONE_BYTES_MAX)
        .unwrap()
        .image
}

fn name(s: &str) -> Name {
    s.parse().unwrap()
}

/// `KIND answer / authority / additional`, the sections as `TYPE owner` with owners below the apex cut
/// short; sections at the end are left out when empty.
fn show(found: &Lookup) -> String {
    let section = |sets: &[RrSet]| {
        let words: Vec<String> = sets
            .iter()
            .map(|s| format!("{} {}", s.rtype, short(&s.name)))
            .collect();
        words.join(", ")
    };
    let kind = match &found.kind {
        LookupKind::Alias(to) => format!("Alias({})", short(to)),
        LookupKind::Referral(at) => format!("Referral({})", short(at)),
        other => format!("{other:?}"),
    };
    let sections = [&found.answer, &found.authority, &found.additional].map(|s| section(s));
    let text = format!("{kind}: {}", sections.join(" / "));
    text.trim_end_matches([' ', '/']).to_owned()
}

/// `x` for `x.example.`, `@` for `example.`, hashes by their first four digits.
fn short(name: &Name) -> String {
    let text = name.to_string().to_ascii_lowercase();
    match text.strip_suffix(".example.") {
        Some(label) if label.len() == 32 => label[..4].to_owned(),
        Some(below) => below.to_owned(),
        None if text == "example." => "@".to_owned(),
        None => text,
    }
}

fn check(zone: &ZoneImage, question: &str, expected: &str) {
    let (owner, rtype) = question.split_once(' ').unwrap();
    let found = zone.lookup(&name(owner), rtype.parse().unwrap());
    assert_eq!(show(&found), expected, "{question}");
    let refers = matches!(found.kind, LookupKind::Referral(_));
    let has_cut = zone.has_cut(&name(owner), rtype.parse().unwrap());
    assert_eq!(has_cut, refers, "{question}");
}

const PLAIN: &str = r"
$TTL 300
@        SOA   ns h 1 2 3 4 60
@        NS    ns
@        NS    ns.child
@        NS    ns.elsewhere.
@        MX    10 mail
ns       A     192.0.2.1
ns       AAAA  2001:db8::1
mail     A     192.0.2.2
alias    CNAME mail
deep.a.b TXT   x
child    NS    ns.child
child    NS    ns
child    NS    ns.other
ns.child A     192.0.2.3
x.ns.child A   192.0.2.4
other    NS    ns.other
other    DS    1 8 2 00
ns.other AAAA  2001:db8::2
d        DNAME target.elsewhere.
d        TXT   x
under.d  TXT   occluded
*.wild   TXT   x
*.wild   MX    10 mail
a.wild   A     192.0.2.5
*.alias-wild CNAME mail
b.*.empty-wild TXT x
";

// RFC 1034 section 4.3.2, RFC 4592 section 2.2.1, RFC 6672.
#[test]
fn an_unsigned_zone() {
    let zone = image(PLAIN);
    for (question, expected) in [
        ("mail.example A", "Answer: A mail"),
        ("MAIL.Example A", "Answer: A mail"),
        ("mail.example ANY", "Answer: A mail"),
        ("ns.example ANY", "Answer: A ns, AAAA ns"),
        ("mail.example AAAA", "NoData:  / SOA @"),
        ("example MX", "Answer: MX @"),
        ("example NS", "Answer: NS @ /  / A ns.child, A ns, AAAA ns"),
        ("alias.example A", "Alias(mail): CNAME alias"),
        ("alias.example CNAME", "Answer: CNAME alias"),
        ("alias.example ANY", "Answer: CNAME alias"),
        ("b.example A", "NoData:  / SOA @"),
        ("a.b.example A", "NoData:  / SOA @"),
        ("deep.a.b.example TXT", "Answer: TXT deep.a.b"),
        ("x.a.b.example TXT", "NxDomain:  / SOA @"),
        ("nx.example A", "NxDomain:  / SOA @"),
        ("zz.nx.example A", "NxDomain:  / SOA @"),
        ("example.org A", "OutOfZone:"),
        (". NS", "OutOfZone:"),
        (
            "child.example A",
            "Referral(child):  / NS child / A ns.child, AAAA ns.other, A ns, AAAA ns",
        ),
        (
            "x.ns.child.example A",
            "Referral(child):  / NS child / A ns.child, AAAA ns.other, A ns, AAAA ns",
        ),
        (
            "nx.other.example DS",
            "Referral(other):  / NS other, DS other / AAAA ns.other",
        ),
        ("other.example DS", "Answer: DS other"),
        ("child.example DS", "NoData:  / SOA @"),
        (
            "other.example NS",
            "Referral(other):  / NS other, DS other / AAAA ns.other",
        ),
        ("d.example TXT", "Answer: TXT d"),
        ("d.example DNAME", "Answer: DNAME d"),
        ("d.example A", "NoData:  / SOA @"),
        (
            "a.b.d.example A",
            "Alias(a.b.target.elsewhere.): DNAME d, CNAME a.b.d",
        ),
        (
            "under.d.example TXT",
            "Alias(under.target.elsewhere.): DNAME d, CNAME under.d",
        ),
        ("a.d.example CNAME", "Answer: DNAME d, CNAME a.d"),
        ("x.wild.example TXT", "Answer: TXT x.wild"),
        ("x.y.wild.example TXT", "Answer: TXT x.y.wild"),
        ("x.wild.example ANY", "Answer: MX x.wild, TXT x.wild"),
        ("x.wild.example A", "NoData:  / SOA @"),
        ("a.wild.example TXT", "NoData:  / SOA @"),
        ("x.a.wild.example TXT", "NxDomain:  / SOA @"),
        ("*.wild.example TXT", "Answer: TXT *.wild"),
        ("x.alias-wild.example A", "Alias(mail): CNAME x.alias-wild"),
        ("x.empty-wild.example A", "NoData:  / SOA @"),
        ("wild.example A", "NoData:  / SOA @"),
    ] {
        check(&zone, question, expected);
    }
    let soa = &zone.lookup(&name("nx.example"), Rtype::A).authority[0];
    assert_eq!(
        soa.ttl, 60,
        "RFC 2308 section 3: the minimum bounds the TTL"
    );
    // Substitution that is too long: RFC 6672 section 2.2.
    let long = format!(
        "{}.d.example",
        [
            "a".repeat(60),
            "b".repeat(60),
            "c".repeat(60),
            "d".repeat(54)
        ]
        .join(".")
    );
    check(&zone, &format!("{long} A"), "TooLong: DNAME d");
    // Stretched from 254 octets: nothing above it but the apex, no wildcard fits.
    let long = format!(
        "{}.{}.{}.{}.example",
        "a".repeat(63),
        "b".repeat(63),
        "c".repeat(63),
        "d".repeat(52)
    );
    check(&zone, &format!("{long} A"), "NxDomain:  / SOA @");
}

// The zone of RFC 4035 appendix A, without its signatures.
const NSEC: &str = r"
$TTL 3600
@       SOA  ns1 bugs 1081539377 3600 300 3600000 3600
@       NS   ns1
@       NS   ns2
@       MX   1 xx
@       NSEC a NS SOA MX RRSIG NSEC DNSKEY
@       RRSIG NSEC 5 1 3600 20040509183619 20040409183619 38519 example. AAAA
a       NS   ns1.a
a       NS   ns2.a
a       DS   57855 5 1 B6DCD485719ADCA18E5F3D48A2331627FDD3636B
a       NSEC ai NS DS RRSIG NSEC
ns1.a   A    192.0.2.5
ns2.a   A    192.0.2.6
ai      A    192.0.2.9
ai      HINFO KLH-10 ITS
ai      AAAA 2001:db8::f00:baa9
ai      NSEC b A HINFO AAAA RRSIG NSEC
b       NS   ns1.b
b       NS   ns2.b
b       NSEC ns1 NS RRSIG NSEC
ns1.b   A    192.0.2.7
ns2.b   A    192.0.2.8
ns1     A    192.0.2.1
ns1     NSEC ns2 A RRSIG NSEC
ns2     A    192.0.2.2
ns2     NSEC *.w A RRSIG NSEC
*.w     MX   1 ai
*.w     NSEC x.w MX RRSIG NSEC
x.w     MX   1 xx
x.w     NSEC x.y.w MX RRSIG NSEC
x.y.w   MX   1 xx
x.y.w   NSEC xx MX RRSIG NSEC
xx      A    192.0.2.10
xx      HINFO KLH-10 TOPS-20
xx      AAAA 2001:db8::f00:baaa
xx      NSEC @ A HINFO AAAA RRSIG NSEC
";

// RFC 4035 appendix B, in its order; then what it leaves out.
#[test]
fn a_zone_with_nsec() {
    let zone = image(NSEC);
    for (question, expected) in [
        ("x.w.example MX", "Answer: MX x.w"),
        ("ml.example A", "NxDomain:  / SOA @, NSEC b, NSEC @"),
        ("ns1.example MX", "NoData:  / SOA @, NSEC ns1"),
        (
            "mc.a.example MX",
            "Referral(a):  / NS a, DS a / A ns1.a, A ns2.a",
        ),
        (
            "mc.b.example MX",
            "Referral(b):  / NS b, NSEC b / A ns1.b, A ns2.b",
        ),
        ("a.z.w.example MX", "Answer: MX a.z.w / NSEC x.y.w"),
        (
            "a.z.w.example AAAA",
            "NoData:  / SOA @, NSEC *.w, NSEC x.y.w",
        ),
        ("example DS", "NoData:  / SOA @, NSEC @"),
        // The empty non-terminals y.w and w; a DS question at an unsigned cut.
        ("y.w.example A", "NoData:  / SOA @, NSEC x.w"),
        ("w.example A", "NoData:  / SOA @, NSEC ns2"),
        ("b.example DS", "NoData:  / SOA @, NSEC b"),
        // One record covers the name and the wildcard; glue lies before the name; around the end.
        ("aa.example A", "NxDomain:  / SOA @, NSEC a, NSEC @"),
        ("!.example A", "NxDomain:  / SOA @, NSEC @"),
        ("bb.example A", "NxDomain:  / SOA @, NSEC b, NSEC @"),
        ("zz.example A", "NxDomain:  / SOA @, NSEC xx, NSEC @"),
        ("x.ns1.example A", "NxDomain:  / SOA @, NSEC ns1"),
        ("example NSEC", "Answer: NSEC @"),
        ("example RRSIG", "Answer: RRSIG @"),
        ("ns1.example RRSIG", "NoData:  / SOA @, NSEC ns1"),
    ] {
        check(&zone, question, expected);
    }
    let found = zone.lookup(&name("example"), Rtype::NSEC);
    assert_eq!(found.answer[0].sigs.len(), 1);
}

// Labels that sort before `*`, and a search that starts in the middle of another name's glue.
#[test]
fn nsec_of_odd_names() {
    let zone = image(
        r"
$TTL 300
@           SOA  ns h 1 2 3 4 60
@           NSEC a NS SOA NSEC
a           NS   a.a
a           NSEC b.\000.d NS NSEC
a.a         A    192.0.2.1
b.a         A    192.0.2.1
c.b.a       A    192.0.2.1
b.\000.d    A    192.0.2.1
b.\000.d    NSEC @ A NSEC
",
    );
    for (question, expected) in [
        (r"c.d.example A", r"NxDomain:  / SOA @, NSEC b.\000.d"),
        ("b.example A", "NxDomain:  / SOA @, NSEC a, NSEC @"),
        ("d.example A", "NoData:  / SOA @, NSEC a"),
        (r"\000.d.example A", "NoData:  / SOA @, NSEC a"),
    ] {
        check(&zone, question, expected);
    }
}

// The zone of RFC 5155 appendix A, without its signatures.
const NSEC3: &str = r"
$TTL 3600
@       SOA  ns1 bugs 1 3600 300 3600000 3600
@       NS   ns1
@       NS   ns2
@       MX   1 xx
@       NSEC3PARAM 1 0 12 aabbccdd
0p9mhaveqvm6t7vbl5lop2u3t2rp3tom NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX DNSKEY NS SOA NSEC3PARAM RRSIG
2t7b4g4vsa5smi47k61mv5bv1a22bojr A 192.0.2.127
2t7b4g4vsa5smi47k61mv5bv1a22bojr NSEC3 1 1 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG
2vptu5timamqttgl4luu9kg21e0aor3s NSEC3 1 1 12 aabbccdd 35mthgpgcu1qg68fab165klnsnk3dpvl MX RRSIG
35mthgpgcu1qg68fab165klnsnk3dpvl NSEC3 1 1 12 aabbccdd b4um86eghhds6nea196smvmlo4ors995 NS DS RRSIG
a       NS   ns1.a
a       NS   ns2.a
a       DS   58470 5 1 3079F1593EBAD6DC121E202A8B766A6A4837206C
ns1.a   A    192.0.2.5
ns2.a   A    192.0.2.6
ai      A    192.0.2.9
ai      HINFO KLH-10 ITS
ai      AAAA 2001:db8::f00:baa9
b4um86eghhds6nea196smvmlo4ors995 NSEC3 1 1 12 aabbccdd gjeqe526plbf1g8mklp59enfd789njgi MX RRSIG
c       NS   ns1.c
c       NS   ns2.c
ns1.c   A    192.0.2.7
ns2.c   A    192.0.2.8
gjeqe526plbf1g8mklp59enfd789njgi NSEC3 1 1 12 aabbccdd ji6neoaepv8b5o6k4ev33abha8ht9fgc HINFO A AAAA RRSIG
ji6neoaepv8b5o6k4ev33abha8ht9fgc NSEC3 1 1 12 aabbccdd k8udemvp1j2f7eg6jebps17vp3n8i58h
k8udemvp1j2f7eg6jebps17vp3n8i58h NSEC3 1 1 12 aabbccdd kohar7mbb8dc2ce8a9qvl8hon4k53uhi
kohar7mbb8dc2ce8a9qvl8hon4k53uhi NSEC3 1 1 12 aabbccdd q04jkcevqvmu85r014c7dkba38o0ji5r A RRSIG
ns1     A    192.0.2.1
ns2     A    192.0.2.2
q04jkcevqvmu85r014c7dkba38o0ji5r NSEC3 1 1 12 aabbccdd r53bq7cc2uvmubfu5ocmm6pers9tk9en A RRSIG
r53bq7cc2uvmubfu5ocmm6pers9tk9en NSEC3 1 1 12 aabbccdd t644ebqk9bibcna874givr6joj62mlhv MX RRSIG
t644ebqk9bibcna874givr6joj62mlhv NSEC3 1 1 12 aabbccdd 0p9mhaveqvm6t7vbl5lop2u3t2rp3tom HINFO A AAAA RRSIG
*.w     MX   1 ai
x.w     MX   1 xx
x.y.w   MX   1 xx
xx      A    192.0.2.10
xx      HINFO KLH-10 TOPS-20
xx      AAAA 2001:db8::f00:baaa
";

// RFC 5155 appendix B, in its order; then what it leaves out.
#[test]
fn a_zone_with_nsec3_and_opt_out() {
    let zone = image(NSEC3);
    for (question, expected) in [
        (
            "a.c.x.w.example A",
            "NxDomain:  / SOA @, NSEC3 b4um, NSEC3 0p9m, NSEC3 35mt",
        ),
        ("ns1.example MX", "NoData:  / SOA @, NSEC3 2t7b"),
        ("y.w.example A", "NoData:  / SOA @, NSEC3 ji6n"),
        (
            "mc.c.example MX",
            "Referral(c):  / NS c, NSEC3 0p9m, NSEC3 35mt / A ns1.c, A ns2.c",
        ),
        ("a.z.w.example MX", "Answer: MX a.z.w / NSEC3 q04j"),
        (
            "a.z.w.example AAAA",
            "NoData:  / SOA @, NSEC3 k8ud, NSEC3 q04j, NSEC3 r53b",
        ),
        ("example DS", "NoData:  / SOA @, NSEC3 0p9m"),
        // A signed cut; a DS question at an unsigned one that opt-out left out.
        (
            "mc.a.example MX",
            "Referral(a):  / NS a, DS a / A ns1.a, A ns2.a",
        ),
        ("c.example DS", "NoData:  / SOA @, NSEC3 0p9m, NSEC3 35mt"),
        // RFC 5155 section 7.2.8: a name that only a hash has does not exist. One that is a host
        // as well does.
        (
            "ji6neoaepv8b5o6k4ev33abha8ht9fgc.example NSEC3",
            "NxDomain:  / SOA @, NSEC3 0p9m, NSEC3 35mt, NSEC3 gjeq",
        ),
        (
            "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example A",
            "Answer: A 2t7b",
        ),
        (
            "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example NSEC3",
            "NoData:  / SOA @, NSEC3 koha",
        ),
    ] {
        check(&zone, question, expected);
    }
    // But it can be found and listed, beside the host's address.
    let hash = name("2t7b4g4vsa5smi47k61mv5bv1a22bojr.example");
    assert_eq!(zone.find(&hash, Rtype::NSEC3).unwrap().rdatas.len(), 1);
    let node = zone.nodes().find(|n| n.name == hash).unwrap();
    let types: Vec<Rtype> = node.sets.iter().map(|s| s.rtype).collect();
    assert_eq!(types, [Rtype::A, Rtype::NSEC3]);
    let names: Vec<Name> = zone.nodes().map(|n| n.name).collect();
    assert!(names.is_sorted());
}

#[test]
fn nsec3_around_the_end_and_between_two_chains() {
    // A second chain with another salt stands between the records of the one in use.
    let mut text = NSEC3.to_owned();
    for first in ["0q", "2u", "36", "b5", "v0", "vv"] {
        let owner = format!("{first}{}", "0".repeat(30));
        text += &format!("{owner} NSEC3 1 0 5 ff {owner} A\n");
    }
    let zone = image(&text);
    check(
        &zone,
        "a.c.x.w.example A",
        "NxDomain:  / SOA @, NSEC3 b4um, NSEC3 0p9m, NSEC3 35mt",
    );
    // Every name has a proof: its encloser matched, the next closer covered.
    for i in 0..200 {
        let found = zone.lookup(&name(&format!("n{i}.example")), Rtype::A);
        let hashes: Vec<&RrSet> = found
            .authority
            .iter()
            .filter(|s| s.rtype == Rtype::NSEC3)
            .collect();
        assert!((1..=3).contains(&hashes.len()), "{i}");
        assert!(hashes.iter().all(|s| {
            s.rdatas
                .iter()
                .all(|d| rdata::Nsec3::parse(d).unwrap().iterations == 12)
        }));
    }
}

#[test]
fn too_many_iterations_are_answered_without_proof() {
    let zone = image(&NSEC3.replace(" 12 aabbccdd", " 501 aabbccdd"));
    check(&zone, "nx.example A", "NxDomain:  / SOA @");
}

fn root() -> &'static ZoneImage {
    static ROOT: OnceLock<ZoneImage> = OnceLock::new();
    ROOT.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("zones/root.zone");
        let room = Room::beside(&std::env::temp_dir());
        load_file(&path, None, 64 << 20, &room).unwrap().image
    })
}

#[test]
fn the_root_zone() {
    let zone = root();
    for (question, expected) in [
        ("com. DS", "Answer: DS com."),
        ("nx-tld. A", "NxDomain:  / SOA ., NSEC nu., NSEC ."),
        (". MX", "NoData:  / SOA ., NSEC ."),
        (". DNSKEY", "Answer: DNSKEY ."),
        (". ZONEMD", "Answer: ZONEMD ."),
        ("arpa. DS", "Answer: DS arpa."),
    ] {
        check(zone, question, expected);
    }
    let com = zone.lookup(&name("www.example.com"), Rtype::A);
    assert_eq!(com.kind, LookupKind::Referral(name("com.")));
    let types: Vec<Rtype> = com.authority.iter().map(|s| s.rtype).collect();
    assert_eq!(types, [Rtype::NS, Rtype::DS]);
    assert_eq!(com.authority[0].rdatas.len(), 13);
    assert!(com.authority[0].sigs.is_empty() && com.authority[1].sigs.len() == 1);
    assert_eq!(com.additional.len(), 26, "13 servers with A and AAAA");
    // Priming: the root's servers and their addresses.
    let priming = zone.lookup(&Name::root(), Rtype::NS);
    assert_eq!(
        (priming.answer[0].rdatas.len(), priming.answer[0].sigs.len()),
        (13, 1)
    );
    assert_eq!(priming.additional.len(), 26);
    let dnskey = zone.lookup(&Name::root(), Rtype::DNSKEY);
    assert!(dnskey.answer[0].rdatas.len() >= 2 && !dnskey.answer[0].sigs.is_empty());
    // A TLD without DS is proven so.
    let unsigned = zone.nodes().find(|n| {
        n.place == super::Place::Delegation && n.sets.iter().all(|s| s.rtype != Rtype::DS)
    });
    let unsigned = unsigned.unwrap().name;
    let found = zone.lookup(&unsigned, Rtype::A);
    let types: Vec<Rtype> = found.authority.iter().map(|s| s.rtype).collect();
    assert_eq!(types, [Rtype::NS, Rtype::NSEC]);
    assert_eq!(
        (&found.authority[1].name, found.authority[1].sigs.len()),
        (&unsigned, 1)
    );
    let denied = zone.lookup(&unsigned, Rtype::DS);
    assert_eq!(denied.kind, LookupKind::NoData);
}

/// Delegations as a TLD has them: two name servers of a few hundred operators, every tenth with glue of
/// its own.
fn tld(delegations: u32) -> super::Builder {
    let apex = name("example.");
    let mut builder = super::Builder::new(apex.clone());
    let mut add = |owner: &Name, rtype, rdata: &[u8]| {
        let record = crate::dns::Record {
            name: owner.clone(),
            rtype,
            class: crate::dns::Class::IN,
            ttl: 3600,
            rdata: rdata.into(),
        };
        builder.add(record).unwrap();
    };
    let mut soa = b"\x02ns\x00\x00".to_vec();
    soa.extend([0; 20]);
    add(&apex, Rtype::SOA, &soa);
    for i in 0..delegations {
        // Spread over the name space, twelve letters.
        let mixed = u64::from(i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let label: String = (0..12)
            .map(|d| char::from(b'a' + (mixed >> (5 * d)) as u8 % 26))
            .collect();
        let cut = apex.child(label.as_bytes()).unwrap();
        if i % 10 == 0 {
            let server = cut.child(b"ns1").unwrap();
            add(&cut, Rtype::NS, server.wire());
            add(&server, Rtype::A, &i.to_be_bytes());
        }
        for server in 1..=2 {
            let host = name(&format!("ns{server}.operator{}.net.", i % 300));
            add(&cut, Rtype::NS, host.wire());
        }
    }
    builder
}

// cargo test --release --lib zone::tests::cost -- --ignored --nocapture
#[test]
#[ignore = "a measurement"]
fn cost_of_a_delegation() {
    let delegations = 100_000;
    let image = tld(delegations).finish().unwrap();
    assert_eq!(image.delegation_count(), u64::from(delegations));
    let bytes = image.len_bytes() / delegations as usize;
    println!("{bytes} bytes per delegation, {} in all", image.len_bytes());
    assert!(bytes <= 120);
}

// RFC 4034 section 4.1.1: what a true NSEC record names.
#[test]
fn the_next_name_is_known() {
    let image = image(
        "@ 60 SOA ns h 1 1 1 1 60\n@ 60 NS ns.a\nb 60 A 192.0.2.1\na 60 NS ns.a\nns.a 60 A 192.0.2.1\n\
         d 60 DNAME @\nx.d 60 A 192.0.2.1\ny.f 60 A 192.0.2.1\n",
    );
    for (from, to, expected) in [
        ("example.", "a.example.", true),
        // Glue does not count, nor what is below a DNAME.
        ("a.example.", "b.example.", true),
        ("a.example.", "ns.a.example.", false),
        ("b.example.", "d.example.", true),
        ("B.example.", "D.example.", true),
        ("d.example.", "y.f.example.", true),
        ("y.f.example.", "example.", true),
        // What is between.
        ("example.", "b.example.", false),
        ("a.example.", "y.f.example.", false),
        ("b.example.", "example.", false),
        // Names that are not there, and those of others.
        ("d.example.", "f.example.", false),
        ("y.f.example.", "other.", false),
        ("other.", "example.", false),
    ] {
        assert_eq!(
            image.is_next(&name(from), &name(to)),
            expected,
            "{from} {to}"
        );
    }
}
