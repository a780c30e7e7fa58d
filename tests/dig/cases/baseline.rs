//! With everything reachable: names right, AD where earned, bogus refused with its reason.

use crate::cases::Checks;
use crate::lab::Lab;
use crate::resolver::{ADDRESS, Kind, ROOT_MIRROR, Site};
use crate::tools::{delv, dig};

/// Question, status, AD, and a record (type, data) of the answer or, if it is negative, a type in the authority section.
type Row = (
    &'static str,
    &'static str,
    bool,
    (&'static str, &'static str),
);

const SIGNED: bool = true;
const UNSIGNED: bool = false;

const ROWS: [Row; 25] = [
    ("www.bank.home A", "NOERROR", SIGNED, ("A", "192.0.2.80")),
    ("www.news.far A", "NOERROR", SIGNED, ("A", "192.0.2.80")),
    ("www.shop.home A", "NOERROR", UNSIGNED, ("A", "192.0.2.80")),
    ("www.plain.far A", "NOERROR", UNSIGNED, ("A", "192.0.2.80")),
    ("www.gov.home A", "NOERROR", SIGNED, ("A", "192.0.2.80")),
    ("www.s00 A", "NOERROR", SIGNED, ("A", "192.0.2.80")),
    ("www.u00 A", "NOERROR", UNSIGNED, ("A", "192.0.2.80")),
    ("www.q00.home A", "NOERROR", SIGNED, ("A", "192.0.2.80")),
    (
        "a.root-servers.far A",
        "NOERROR",
        UNSIGNED,
        ("A", "10.53.1.1"),
    ),
    ("cname.portal.home A", "NOERROR", SIGNED, ("A", "192.0.2.9")),
    (
        "mixed.portal.home A",
        "NOERROR",
        UNSIGNED,
        ("A", "192.0.2.80"),
    ),
    (
        "www.old.portal.home A",
        "NOERROR",
        SIGNED,
        ("DNAME", "bank.home."),
    ),
    (
        "one.wild.bank.home A",
        "NOERROR",
        SIGNED,
        ("A", "192.0.2.7"),
    ),
    ("bank.home DS", "NOERROR", SIGNED, ("RRSIG", "DS 13 2")),
    ("home DNSKEY", "NOERROR", SIGNED, ("DNSKEY", "257")),
    (". SOA", "NOERROR", SIGNED, ("SOA", "a.root-servers.far.")),
    ("nosuch.bank.home A", "NXDOMAIN", SIGNED, ("NSEC", "")),
    ("www.bank.home AAAA", "NOERROR", SIGNED, ("NSEC", "")),
    ("nic.home A", "NOERROR", SIGNED, ("NSEC", "")),
    ("nosuch.gov.home A", "NXDOMAIN", SIGNED, ("NSEC3", "")),
    ("www.gov.home MX", "NOERROR", SIGNED, ("NSEC3", "")),
    ("nosuch-at-all A", "NXDOMAIN", SIGNED, ("NSEC", "")),
    ("shop.home DS", "NOERROR", SIGNED, ("NSEC", "")),
    // RFC 5155 section 9.2: a denial that rests on an opt-out span earns no AD.
    ("nosuch.far A", "NXDOMAIN", UNSIGNED, ("NSEC3", "")),
    ("plain.far DS", "NOERROR", UNSIGNED, ("NSEC3", "")),
];

pub fn answers(lab: &Lab) {
    let site = Site::new(lab, "baseline", &[ROOT_MIRROR]);
    let resolver = site.start();
    resolver.wait_mirrored(".");
    let mut checks = Checks::default();
    rows(lab, &mut checks);
    bogus(lab, &mut checks);
    transport_and_flags(lab, &mut checks);
    own_zone(lab, &mut checks);
    checks.end();
}

/// Each row twice: from the servers, then from the cache.
fn rows(lab: &Lab, checks: &mut Checks) {
    for (question, status, ad, record) in ROWS.iter().chain(ROWS.iter()) {
        let answer = dig(lab, &format!("{question} +dnssec"));
        let found = match record {
            (rtype, "") => answer
                .authority
                .iter()
                .any(|line| line.split_whitespace().nth(3) == Some(rtype)),
            (rtype, data) => answer.has(rtype, data),
        };
        let right =
            answer.status == *status && answer.flag("ad") == *ad && found && !answer.flag("aa");
        checks.that(
            right,
            format!(
                "{question}: want {status} AD={ad} {record:?}, got\n{}",
                answer.text
            ),
        );
    }
}

fn bogus(lab: &Lab, checks: &mut Checks) {
    // Unbound sums an expired DNSKEY signature up as a missing key.
    let expired: &[u16] = if lab.kind == Kind::Holdfast {
        &[7]
    } else {
        &[7, 9]
    };
    for (question, codes) in [
        ("www.broken.home A", &[6, 9][..]),
        ("www.expired.home A", expired),
    ] {
        let refused = dig(lab, &format!("{question} +dnssec"));
        let told = refused.ede.iter().any(|code| codes.contains(code));
        let right = refused.status == "SERVFAIL" && told && refused.answer.is_empty();
        checks.that(
            right,
            format!(
                "{question}: want SERVFAIL with EDE of {codes:?}, got\n{}",
                refused.text
            ),
        );
        let unchecked = dig(lab, &format!("{question} +dnssec +cd"));
        let right = unchecked.status == "NOERROR"
            && unchecked.has("A", "192.0.2.80")
            && !unchecked.flag("ad");
        checks.that(
            right,
            format!(
                "{question} +cd: want the answer without AD, got\n{}",
                unchecked.text
            ),
        );
    }
}

fn transport_and_flags(lab: &Lab, checks: &mut Checks) {
    let tcp = dig(lab, "www.bank.home A +dnssec +tcp");
    checks.that(
        tcp.has("A", "192.0.2.80") && tcp.flag("ad"),
        format!("over TCP:\n{}", tcp.text),
    );
    let cut_short = dig(lab, "big.bank.home TXT +ignore +bufsize=1232");
    checks.that(
        cut_short.flag("tc"),
        format!("a large answer over UDP wants TC:\n{}", cut_short.text),
    );
    let large = dig(lab, "big.bank.home TXT");
    let texts = large
        .answer
        .iter()
        .filter(|line| line.contains("TXT"))
        .count();
    checks.that(
        texts == 8,
        format!("a large answer after TC wants 8 records:\n{}", large.text),
    );
    let plain = dig(lab, "www.bank.home A +noadflag");
    let bare = !plain.flag("ad") && !plain.has("RRSIG", "A") && plain.has("A", "192.0.2.80");
    checks.that(
        bare,
        format!(
            "RFC 6840 section 5.7: neither DO nor AD asked, none given:\n{}",
            plain.text
        ),
    );
    let asked = dig(lab, "www.bank.home A +adflag");
    checks.that(
        asked.flag("ad"),
        format!("RFC 6840 section 5.7: AD asked:\n{}", asked.text),
    );
}

fn own_zone(lab: &Lab, checks: &mut Checks) {
    let own = dig(lab, "www.lab.test A +norec");
    let right =
        own.status == "NOERROR" && own.flag("aa") && !own.flag("ad") && own.has("A", "192.0.2.53");
    checks.that(right, format!("own zone wants AA=1:\n{}", own.text));
    let absent = dig(lab, "nosuch.lab.test A +norec");
    checks.that(
        absent.status == "NXDOMAIN" && absent.flag("aa"),
        format!("own zone, no such name:\n{}", absent.text),
    );
    if lab.kind == Kind::Holdfast {
        let tcp = dig(lab, "www.lab.test A +norec +tcp");
        checks.that(
            tcp.flag("aa") && tcp.has("A", "192.0.2.53"),
            format!("own zone over TCP:\n{}", tcp.text),
        );
    }
}

/// What delv makes of the answers.
const VERDICTS: [(&str, &str); 12] = [
    ("www.bank.home A", "; fully validated"),
    ("www.gov.home A", "; fully validated"),
    ("www.news.far A", "; fully validated"),
    ("cname.portal.home A", "; fully validated"),
    ("www.s01 A", "; fully validated"),
    ("one.wild.bank.home A", "; fully validated"),
    ("nosuch.bank.home A", "; negative response, fully validated"),
    ("nosuch.gov.home A", "; negative response, fully validated"),
    ("www.bank.home AAAA", "; negative response, fully validated"),
    ("www.shop.home A", "; unsigned answer"),
    ("www.plain.far A", "; unsigned answer"),
    ("www.broken.home A", "resolution failed"),
];

fn delv_agrees(lab: &Lab, checks: &mut Checks) {
    for (question, verdict) in VERDICTS {
        let said = delv(lab, question);
        checks.that(
            said.contains(verdict),
            format!("delv {question}: want {verdict:?}, got\n{said}"),
        );
    }
}

/// A validator of other making agrees, going through the resolver for every link of the chain.
pub fn delv_validates(lab: &Lab) {
    let site = Site::new(lab, "delv", &[ROOT_MIRROR]);
    let resolver = site.start();
    resolver.wait_mirrored(".");
    let mut checks = Checks::default();
    delv_agrees(lab, &mut checks);
    checks.end();
}

/// Everything forwarded to a second resolver, behind one that is dead: the same answers, validated here.
pub fn forwarded(lab: &Lab) {
    let behind = Site::new(lab, "forwarder", &[]);
    let config = std::fs::read_to_string(behind.path("config.toml")).expect("it was written");
    let listen = format!("{ADDRESS}:53");
    behind.write(
        "config.toml",
        &config.replace(&listen, &format!("{ADDRESS}:54")),
    );
    let _behind = behind.start();
    let site = Site::new(lab, "forwarding", &[]);
    let config = std::fs::read_to_string(site.path("config.toml")).expect("it was written");
    let forward =
        format!("\n[[forward]]\nzone = \".\"\nservers = [\"10.53.99.99\", \"{ADDRESS}:54\"]\n");
    site.write("config.toml", &(config + &forward));
    let _resolver = site.start();
    let mut checks = Checks::default();
    rows(lab, &mut checks);
    delv_agrees(lab, &mut checks);
    own_zone(lab, &mut checks);
    checks.end();
}
