//! Proofs of absence through the whole walk: RFC 6840 section 4, RFC 5155 section 8, RFC 9276.

use super::*;
use crate::dns::rdata::type_bitmap;
use crate::dnssec::nsec3::ITERATIONS_MAX;

fn types(text: &str) -> Vec<Rtype> {
    text.split_whitespace()
        .map(|t| t.parse().unwrap())
        .collect()
}

/// A set of the zone `p.`, with the NSEC records (`OWNER NEXT TYPES`) that go with it.
struct Parent {
    signer: Signer,
    authority: Vec<RrSet>,
}

impl Parent {
    fn new(records: &[&str]) -> Parent {
        let signer = Signer::new("p.", 30);
        let soa = crate::signer::rr("p. 300 SOA ns.p. host.p. 1 2 3 4 300");
        let mut authority = vec![signer.signed_set(&soa.name, Rtype::SOA, 300, vec![soa.rdata])];
        for line in records {
            let mut words = line.splitn(3, ' ');
            let (owner, next) = (words.next().unwrap(), words.next().unwrap());
            let bitmap = type_bitmap(&types(words.next().unwrap_or("")));
            let rdata = [name(next).wire(), &bitmap].concat();
            authority.push(signer.signed_set(&name(owner), Rtype::NSEC, 300, vec![rdata.into()]));
        }
        Parent { signer, authority }
    }

    fn response(&self, rcode: Rcode, answer: Vec<RrSet>, authority: Vec<RrSet>) -> Response {
        Response {
            rest: Vec::new(),
            zone: self.signer.apex.clone(),
            rcode,
            answer,
            authority,
            origin: Origin::Network([192, 0, 2, 1].into()),
        }
    }

    /// The standing of the denial of `q`.
    fn denies(&self, q: &str, rcode: Rcode) -> String {
        let keys = self.signer.keys.iter().map(|k| k.dnskey()).collect();
        let keys = self
            .signer
            .signed_set(&self.signer.apex, Rtype::DNSKEY, 300, keys);
        let mut world = World::with(Settings {
            anchors: vec![self.signer.ds_record(0)],
            ..Settings::default()
        });
        let response = self.response(rcode, vec![], self.authority.clone());
        let link = response.clone();
        let verdict = world.validate_response(&question(q), response, |ask, reply| {
            *reply = match ask.question.rtype {
                Rtype::DNSKEY => self.response(Rcode::NOERROR, vec![keys.clone()], vec![]),
                _ => link.clone(),
            };
            true
        });
        standing(&verdict)
    }
}

/// RFC 6840 sections 4.1, 4.3 and 4.4, RFC 4035 section 5.4: what each bit lets a record deny.
#[test]
fn bits_that_forbid_a_denial() {
    let (nodata, gone) = (Rcode::NOERROR, Rcode::NXDOMAIN);
    for (records, q, rcode, expected) in [
        (&["a.p. c.p. TXT"][..], "a.p. A", nodata, "secure"),
        (&["a.p. c.p. TXT"], "a.p. TXT", nodata, "bogus"),
        // Section 4.3: the CNAME bit counts for every type.
        (&["a.p. c.p. CNAME"], "a.p. A", nodata, "bogus"),
        (&["a.p. c.p. CNAME"], "a.p. CNAME", nodata, "bogus"),
        // Section 4.1: the parent's side of a cut, for the child's types and for names below. That the record has no DS proves
        // the child unsigned, which is another thing: what an unsigned child says is insecure.
        (&["a.p. c.p. NS DS"], "a.p. A", nodata, "bogus"),
        (
            &["a.p. c.p. NS DS", "p. a.p. SOA NS"],
            "x.a.p. A",
            gone,
            "bogus",
        ),
        (&["a.p. c.p. NS"], "a.p. DS", nodata, "secure"),
        (&["a.p. c.p. NS"], "a.p. A", nodata, "insecure"),
        (
            &["a.p. c.p. NS", "p. a.p. SOA NS"],
            "x.a.p. A",
            gone,
            "insecure",
        ),
        // Section 4.4: no NS bit, no delegation: nothing below is unsigned.
        (&["a.p. c.p. TXT"], "x.a.p. A", nodata, "bogus"),
        (
            &["a.p. c.p. TXT", "p. a.p. SOA NS"],
            "x.a.p. A",
            gone,
            "secure",
        ),
        // The child's apex record says nothing of the DS.
        (&["p. c.p. SOA NS"], "p. TXT", nodata, "secure"),
        (&["a.p. c.p. SOA NS"], "a.p. DS", nodata, "bogus"),
        // Names below a DNAME are not denied by it.
        (
            &["a.p. c.p. DNAME", "p. a.p. SOA NS"],
            "x.a.p. A",
            gone,
            "bogus",
        ),
        (&["a.p. c.p. DNAME"], "a.p. A", nodata, "secure"),
        (&["a.p. c.p. DNAME"], "a.p. DNAME", nodata, "bogus"),
        // Empty non-terminals exist.
        (
            &["a.p. x.b.p. A", "p. a.p. SOA NS"],
            "b.p. A",
            nodata,
            "secure",
        ),
        (
            &["a.p. x.b.p. A", "p. a.p. SOA NS"],
            "b.p. A",
            gone,
            "bogus",
        ),
        // RFC 4592: a wildcard at the closest encloser, and one further up that does not matter.
        (&["a.p. c.p. A", "*.p. a.p. A"], "b.p. A", gone, "bogus"),
        (&["a.p. c.p. A", "*.p. a.p. A"], "b.p. MX", nodata, "secure"),
        (
            &["a.p. c.p. A", "*.p. a.p. CNAME"],
            "b.p. MX",
            nodata,
            "bogus",
        ),
        (&["x.b.p. c.p. A"], "y.b.p. A", gone, "bogus"),
        (
            &["x.b.p. c.p. A", "a.p. x.b.p. A"],
            "y.b.p. A",
            gone,
            "secure",
        ),
        // Half a proof.
        (&["a.p. c.p. A"], "b.p. A", gone, "bogus"),
        (&["p. a.p. SOA NS"], "b.p. A", gone, "bogus"),
        (&[], "b.p. A", gone, "bogus"),
        // RFC 9824: a name that is denied by a record of its own.
        (&["b.p. \\000.b.p. RRSIG NSEC"], "b.p. A", nodata, "secure"),
        (&["b.p. \\000.b.p. RRSIG NSEC"], "b.p. A", gone, "bogus"),
    ] {
        let found = Parent::new(records).denies(q, rcode);
        let found = found.split(' ').next().unwrap();
        assert_eq!(found, expected, "{records:?} {q} {rcode}");
    }
}

/// RFC 6840 section 5.1: the next name of an NSEC record is signed as it is written.
#[test]
fn names_in_nsec_are_signed_as_written() {
    assert_eq!(
        Parent::new(&["a.p. C.p. TXT"]).denies("a.p. A", Rcode::NOERROR),
        "secure"
    );
    let mut parent = Parent::new(&["a.p. C.p. TXT"]);
    let nsec = parent.authority.last_mut().unwrap();
    nsec.rdatas[0].make_ascii_lowercase();
    assert_eq!(parent.denies("a.p. A", Rcode::NOERROR), "bogus 6");
}

/// RFC 6840 section 4.2: of an answer to ANY every set is checked; and RFC 6840 section 5.7: AD speaks for all of it.
#[test]
fn any_is_checked_whole() {
    let mut world = World::new();
    let q = question("www.leaf.test. ANY");
    assert_eq!(standing(&world.validate(&q)), "secure");
    for at in 0..world.answer(&q).answer.len() {
        let mut response = world.answer(&q);
        *response.answer[at].rdatas[0].last_mut().unwrap() ^= 1;
        let verdict = world.validate_response(&q, response, |_, _| true);
        assert_eq!(standing(&verdict), "bogus 6", "{at}");
    }
}

/// RFC 9276 section 3.2 and CVE-2023-50868: over the limit a denial proves nothing, which makes it insecure and says so; what
/// is signed stays secure. The number is believed only from a record that validates.
#[test]
fn iterations_at_and_over_the_limit() {
    for (iterations, denied) in [
        (0, "secure"),
        (ITERATIONS_MAX, "secure"),
        (ITERATIONS_MAX + 1, "insecure"),
        (2500, "insecure"),
        (u16::MAX, "insecure"),
    ] {
        let signer = signer(
            "p.",
            30,
            Denial::Nsec3 {
                salt: vec![7],
                iterations,
                opt_out: false,
            },
        );
        let mut records = apex("p.");
        records.extend(crate::signer::rrs(
            "www.p. 600 A 192.0.2.1\n*.wild.p. 600 A 192.0.2.2",
        ));
        let signed = signer.sign(&records);
        // Over what is served the proofs have to be taken from the records themselves.
        let nsec3: Vec<RrSet> = crate::dns::group(&signed)
            .into_iter()
            .filter(|set| matches!(set.rtype, Rtype::NSEC3 | Rtype::SOA))
            .collect();
        let zone = image("p.", signed);
        let keys = zone.lookup(&signer.apex, Rtype::DNSKEY).answer;
        let response = |rcode, answer: Vec<RrSet>, authority: &[RrSet]| Response {
            rest: Vec::new(),
            zone: signer.apex.clone(),
            rcode,
            answer,
            authority: authority.to_vec(),
            origin: Origin::Network([192, 0, 2, 1].into()),
        };
        let mut spoiled = nsec3.clone();
        for sig in spoiled
            .iter_mut()
            .filter(|s| s.rtype == Rtype::NSEC3)
            .flat_map(|s| &mut s.sigs)
        {
            *sig.last_mut().unwrap() ^= 1;
        }
        let lookup = |q: &str| {
            let q = question(q);
            zone.lookup(&q.name, q.rtype).answer
        };
        let (gone, there) = (Rcode::NXDOMAIN, Rcode::NOERROR);
        for (q, response, expected) in [
            ("none.p. A", response(gone, vec![], &nsec3), denied),
            ("www.p. MX", response(there, vec![], &nsec3), denied),
            (
                "www.p. A",
                response(there, lookup("www.p. A"), &[]),
                "secure",
            ),
            (
                "x.wild.p. A",
                response(there, lookup("x.wild.p. A"), &nsec3),
                denied,
            ),
            ("none.p. A", response(gone, vec![], &spoiled), "bogus 6"),
        ] {
            let mut world = World::with(Settings {
                anchors: vec![signer.ds_record(0)],
                ..Settings::default()
            });
            let denial = response.clone();
            let verdict = world.validate_response(&question(q), response, |ask, link| {
                *link = match ask.question.rtype {
                    Rtype::DNSKEY => Response {
                        rcode: Rcode::NOERROR,
                        answer: keys.clone(),
                        ..link.clone()
                    },
                    _ => denial.clone(),
                };
                link.zone = name("p.");
                true
            });
            let codes: Vec<u16> = verdict.errors.iter().map(|e| e.code).collect();
            let text = text_of(&verdict);
            assert_eq!(standing(&verdict), expected, "{q} {iterations}: {text}");
            let told = codes.contains(&crate::dns::Ede::UNSUPPORTED_NSEC3_ITERATIONS);
            assert_eq!(told, expected == "insecure", "{q} {iterations}");
        }
    }
}

/// RFC 5155 section 6 and 8.9: in an opt-out span a delegation may be unsigned; what is signed is found all the same, and what
/// is said of names there is never secure.
#[test]
fn delegations_in_opt_out_spans() {
    let mut world = World::new();
    for (q, expected) in [
        ("www.plain.opt. A", "insecure"),
        ("www.leaf.opt. A", "secure"),
        ("plain.opt. DS", "insecure"),
        ("leaf.opt. DS", "secure"),
        ("none.opt. A", "insecure"),
        ("opt. MX", "secure"),
    ] {
        assert_eq!(standing(&world.validate(&question(q))), expected, "{q}");
    }
    // A signed child does not become unsigned by leaving its DS out: its hash has a record.
    let q = question("www.leaf.opt. A");
    let mut fresh = World::new();
    let mut forged = fresh.answer(&q);
    forged.answer[0].sigs.clear();
    forged.answer[0].rdatas = vec![[6, 6, 6, 6].into()];
    let span = fresh.answer(&question("plain.opt. DS"));
    let verdict = fresh.validate_response(&q, forged, |ask, link| {
        if ask.question == question("leaf.opt. DS") {
            *link = span.clone();
        }
        true
    });
    assert!(
        standing(&verdict).starts_with("bogus"),
        "{}",
        standing(&verdict)
    );
}

/// Aliases out of signed zones: CNAME and DNAME are secure by themselves, at wildcards with their proof.
#[test]
fn aliases_are_judged_by_themselves() {
    for zone in ["leaf.test.", "leaf.hash."] {
        let mut world = World::new();
        for (q, expected) in [
            ("alias.ZONE A", "secure"),
            ("x.walias.ZONE A", "secure"),
            ("x.walias.ZONE TXT", "secure"),
            ("x.old.ZONE A", "secure"),
            ("x.y.old.ZONE MX", "secure"),
            ("old.ZONE DNAME", "secure"),
        ] {
            let q = question(&q.replace("ZONE", zone));
            let verdict = world.validate(&q);
            assert_eq!(standing(&verdict), expected, "{q}: {}", text_of(&verdict));
        }
        // RFC 6672 section 5.3.1: the server's CNAME may be left out, and a signature over it is of no interest.
        let q = question(&format!("x.old.{zone} A"));
        let mut alone = world.answer(&q);
        drop_types(&mut alone, &[Rtype::CNAME]);
        let verdict = world.validate_response(&q, alone, |_, _| true);
        assert_eq!(standing(&verdict), "secure", "{q} without its CNAME");
        // A wildcard alias needs the proof that nothing is closer.
        let q = question(&format!("x.walias.{zone} A"));
        let mut bare = world.answer(&q);
        bare.authority.clear();
        let verdict = world.validate_response(&q, bare, |_, _| true);
        assert_eq!(standing(&verdict), "bogus 12", "{q}");
    }
}
