//! What a server of `com.` may say, and what becomes of it.

use super::*;
use crate::signer::{name, rr};

/// Reads a message written as lines: `aa`, `ra`, `tc`, `RCODE`, and records as `an ...`, `ns ...`, `ad ...`.
fn message(question: &Question, lines: &str) -> Message {
    let mut m = Message::query(1, question.clone()).reply(Rcode::NOERROR);
    for line in lines.split(';').map(str::trim).filter(|l| !l.is_empty()) {
        match line.split_once(' ') {
            Some(("an", text)) => m.answer.push(rr(text)),
            Some(("ns", text)) => m.authority.push(rr(text)),
            Some(("ad", text)) => m.additional.push(rr(text)),
            _ if line == "aa" => m.authoritative = true,
            _ if line == "ra" => m.recursion_available = true,
            _ if line == "tc" => m.truncated = true,
            _ => m.rcode = line.parse().unwrap(),
        }
    }
    m
}

fn brief(said: &Said) -> String {
    let sets = |sets: &[RrSet]| {
        let each = sets.iter().map(|s| format!("{} {}", s.name, s.rtype));
        each.collect::<Vec<_>>().join(", ")
    };
    match said {
        Said::Answer(r) | Said::Apex(r, _) => {
            let kind = if matches!(said, Said::Apex(..)) {
                "apex"
            } else {
                "answer"
            };
            let rest = match r.rest.is_empty() {
                true => String::new(),
                false => format!(", then {}", sets(&r.rest)),
            };
            format!(
                "{kind} {} in {}: {}{rest} | {}",
                r.rcode,
                r.zone,
                sets(&r.answer),
                sets(&r.authority)
            )
        }
        Said::Referral(r) => {
            let servers = r.delegation.servers.iter();
            let servers = servers.map(|(n, a)| format!("{n} {a:?}"));
            let ds = match &r.ds {
                None => "unknown",
                Some(ds) if ds.answer.is_empty() => "denied",
                Some(_) => "given",
            };
            let servers = servers.collect::<Vec<_>>().join(", ");
            format!("to {}: {servers}; ds {ds}", r.delegation.zone)
        }
        other => format!("{other:?}"),
    }
}

fn check_with(harden_glue: bool, asked: &str, rtype: Rtype, lines: &str, expected: &str) {
    check_from(false, harden_glue, asked, rtype, lines, expected);
}

fn check_from(
    forwarded: bool,
    harden_glue: bool,
    asked: &str,
    rtype: Rtype,
    lines: &str,
    expected: &str,
) {
    let question = Question::new(name(asked), rtype);
    let zone = name("com.");
    let cx = Context {
        zone: &zone,
        asked: &question,
        transport: Transport::Udp,
        forwarded,
        edns: EdnsLevel::Full,
        takes_edns: true,
        server: [192, 0, 2, 1].into(),
        harden_glue,
        now: Now::default(),
    };
    let said = interpret(&cx, &message(&question, lines));
    assert_eq!(brief(&said), expected, "{question}: {lines}");
}

fn check(asked: &str, rtype: Rtype, lines: &str, expected: &str) {
    check_with(true, asked, rtype, lines, expected);
}

// RFC 1034 section 5.3.3 step 4c, RFC 2181 section 5.4.1: a chain of aliases is taken as far as it stays in the zone.
#[test]
fn the_rest_of_a_chain_comes_along() {
    let chain = "aa; an w.com. 60 CNAME x.com.; an x.com. 60 CNAME y.com.";
    for (more, expected) in [
        ("", "w.com. CNAME, then x.com. CNAME"),
        (
            "; an y.com. 60 A 192.0.2.1",
            "w.com. CNAME, then x.com. CNAME, y.com. A",
        ),
        (
            "; an y.com. 60 CNAME w.org.; an w.org. 60 A 192.0.2.1",
            "w.com. CNAME, then x.com. CNAME, y.com. CNAME",
        ),
        (
            "; an y.com. 60 CNAME x.com.",
            "w.com. CNAME, then x.com. CNAME, y.com. CNAME",
        ),
        (
            "; an z.com. 60 A 192.0.2.1",
            "w.com. CNAME, then x.com. CNAME",
        ),
    ] {
        let lines = format!("{chain}{more}");
        let expected = format!("answer NOERROR in com.: {expected} | ");
        check("w.com.", Rtype::A, &lines, &expected);
    }
}

const SOA: &str = "ns com. 60 SOA a. b. 1 2 3 4 5";

#[test]
fn answers() {
    let a = Rtype::A;
    for (lines, expected) in [
        (
            "aa; an w.a.com. 60 A 1.2.3.4",
            "answer NOERROR in com.: w.a.com. A | ",
        ),
        // Some servers forget AA; recursive ones without it repeat others' data.
        (
            "an w.a.com. 60 A 1.2.3.4",
            "answer NOERROR in com.: w.a.com. A | ",
        ),
        (
            "ra; an w.a.com. 60 A 1.2.3.4",
            "Lame(\"not authoritative\")",
        ),
        // What was not asked for is left out, and so is what is not of the zone.
        (
            "aa; an w.a.com. 60 A 1.2.3.4; an x.a.com. 60 A 6.6.6.6; an w.org. 60 A 6.6.6.6; ns org. 60 NS evil.org.",
            "answer NOERROR in com.: w.a.com. A | ",
        ),
        // Only the first link of a chain counts.
        (
            "aa; an w.a.com. 60 CNAME v.a.com.; an v.a.com. 60 A 1.2.3.4",
            "answer NOERROR in com.: w.a.com. CNAME, then v.a.com. A | ",
        ),
        // The code belongs to the end of the chain.
        (
            "NXDOMAIN; aa; an w.a.com. 60 CNAME v.a.com.",
            "answer NOERROR in com.: w.a.com. CNAME | ",
        ),
        (
            "aa; an w.a.com. 60 CNAME v.a.com.; an w.a.com. 60 CNAME u.a.com.",
            "Failed(\"more than one CNAME\")",
        ),
        // RFC 6672: the CNAME is made here, whatever came with the DNAME.
        (
            "aa; an a.com. 60 DNAME b.org.; an w.a.com. 60 CNAME evil.org.",
            "answer NOERROR in com.: a.com. DNAME, w.a.com. CNAME | ",
        ),
        (
            "aa; an w.a.com. 60 DNAME b.org.",
            "answer NOERROR in com.:  | ",
        ),
        // A wildcard's proof comes along.
        (
            "aa; an w.a.com. 60 A 1.2.3.4; ns v.a.com. 60 NSEC \\# 12 017a016103636f6d00000140",
            "answer NOERROR in com.: w.a.com. A | v.a.com. NSEC",
        ),
    ] {
        check("w.a.com.", a, lines, expected);
    }
    // RFC 6672 section 2.4: also when the CNAME is all that was asked for, since it has no signature of its own.
    check(
        "w.a.com.",
        Rtype::CNAME,
        "aa; an a.com. 60 DNAME b.org.; an w.a.com. 60 CNAME w.b.org.",
        "answer NOERROR in com.: a.com. DNAME, w.a.com. CNAME | ",
    );
    check(
        "com.",
        Rtype::NS,
        "aa; an com. 60 NS a.com.",
        "apex NOERROR in com.: com. NS | ",
    );
}

#[test]
fn denials() {
    let soa = |more: &str| format!("{more}; {SOA}");
    let a = Rtype::A;
    check(
        "a.com.",
        a,
        &soa("aa"),
        "answer NOERROR in com.:  | com. SOA",
    );
    check(
        "a.com.",
        a,
        &soa("aa; NXDOMAIN"),
        "answer NXDOMAIN in com.:  | com. SOA",
    );
    check("a.com.", a, "aa; NXDOMAIN", "answer NXDOMAIN in com.:  | ");
    check("a.com.", a, "aa", "answer NOERROR in com.:  | ");
    check("a.com.", a, "", "Lame(\"not authoritative\")");
    check(
        "a.com.",
        a,
        &soa("ra; NXDOMAIN"),
        "Lame(\"not authoritative\")",
    );
    // A server of the zone below, too, answers from there.
    let child = "aa; ns a.com. 60 SOA a. b. 1 2 3 4 5";
    check(
        "w.a.com.",
        a,
        child,
        "answer NOERROR in a.com.:  | a.com. SOA",
    );
    // A zone cannot deny its own DS, and nobody another's name.
    // RFC 4035 section 3.1.4.1: the zone below knows nothing of its DS.
    let below = "Lame(\"denies a DS as the zone below\")";
    check("a.com.", Rtype::DS, child, below);
    check(
        "a.com.",
        Rtype::DS,
        &soa("aa"),
        "answer NOERROR in com.:  | com. SOA",
    );
    let root = "aa; NXDOMAIN; ns . 60 SOA a. b. 1 2 3 4 5";
    check("a.com.", a, root, "answer NXDOMAIN in com.:  | ");
    let beside = "aa; NXDOMAIN; ns b.com. 60 SOA a. b. 1 2 3 4 5";
    check("a.com.", a, beside, "answer NXDOMAIN in com.:  | ");
    // RFC 2308 section 2.2: NODATA with the zone's own NS set.
    check(
        "a.com.",
        a,
        "aa; ns com. 60 NS a.com.",
        "answer NOERROR in com.:  | ",
    );
}

#[test]
fn referrals() {
    let a = Rtype::A;
    let lame = "Lame(\"refers upwards or sideways\")";
    for (asked, rtype, lines, expected) in [
        (
            "w.a.com.",
            a,
            "ns a.com. 60 NS n.a.com.; ad n.a.com. 60 A 1.2.3.4; ad n.a.com. 60 AAAA ::5",
            "to a.com.: n.a.com. [1.2.3.4, ::5]; ds unknown",
        ),
        // Glue beside the delegation but in the zone, and glue of strangers.
        (
            "w.a.com.",
            a,
            "ns a.com. 60 NS n.b.com.; ns a.com. 60 NS n.org.; ad n.b.com. 60 A 1.2.3.4; ad n.org. 60 A 6.6.6.6; ad x.com. 60 A 6.6.6.6",
            "to a.com.: n.b.com. [1.2.3.4], n.org. []; ds unknown",
        ),
        ("w.a.com.", a, "ns com. 60 NS n.a.com.", lame),
        ("w.a.com.", a, "ns . 60 NS n.a.com.", lame),
        ("w.a.com.", a, "ns b.com. 60 NS n.a.com.", lame),
        ("w.a.com.", a, "ns a.org. 60 NS n.a.com.", lame),
        ("a.com.", Rtype::DS, "ns a.com. 60 NS n.a.com.", lame),
        (
            "w.a.com.",
            Rtype::DS,
            "ns a.com. 60 NS n.org.",
            "to a.com.: n.org. []; ds unknown",
        ),
        // The NS set of a zone below, in the wrong section.
        (
            "a.com.",
            Rtype::NS,
            "an a.com. 60 NS n.org.",
            "to a.com.: n.org. []; ds unknown",
        ),
        // The referral holds even when AA is set.
        (
            "w.a.com.",
            a,
            "aa; ns a.com. 60 NS n.org.",
            "to a.com.: n.org. []; ds unknown",
        ),
    ] {
        check(asked, rtype, lines, expected);
    }
    let stranger = "ns a.com. 60 NS n.org.; ad n.org. 60 A 1.2.3.4";
    check_with(
        false,
        "w.a.com.",
        a,
        stranger,
        "to a.com.: n.org. [1.2.3.4]; ds unknown",
    );
}

#[test]
fn errors() {
    for (lines, expected) in [
        ("SERVFAIL", "Failed(\"SERVFAIL\")"),
        ("REFUSED", "Lame(\"REFUSED\")"),
        ("NOTAUTH", "Lame(\"NOTAUTH\")"),
        ("FORMERR", "EdnsRefused(None)"),
        ("NOTIMP", "EdnsRefused(None)"),
        ("YXDOMAIN; aa", "Failed(\"YXDOMAIN without DNAME\")"),
        ("tc; aa; an w.a.com. 60 A 1.2.3.4", "Truncated"),
    ] {
        check("w.a.com.", Rtype::A, lines, expected);
    }
}

#[test]
fn a_name_too_long_for_its_dname_is_yxdomain() {
    let label = "x".repeat(63);
    let long = format!("{label}.{label}.{label}");
    let lines = format!("aa; an a.com. 60 DNAME {label}.{label}.org.");
    let expected = "answer YXDOMAIN in com.: a.com. DNAME | ";
    check(&format!("{long}.a.com."), Rtype::A, &lines, expected);
}

// RFC 1034 section 4.3.1, RFC 2308 section 2.
#[test]
fn forwarders_say_the_last_word_or_none() {
    let check = |asked: &str, rtype, lines: &str, expected: &str| {
        check_from(true, true, asked, rtype, lines, expected);
    };
    let www = "an www.com. 60 A 192.0.2.80";
    let found = "answer NOERROR in com.: www.com. A | ";
    check("www.com.", Rtype::A, &format!("ra; {www}"), found);
    check("www.com.", Rtype::A, &format!("aa; {www}"), found);
    let lame = "Lame(\"does not recurse\")";
    check("www.com.", Rtype::A, www, lame);
    check("www.com.", Rtype::A, "ns com. 60 NS ns.com.", lame);
    check("www.com.", Rtype::A, "ra; REFUSED", "Lame(\"REFUSED\")");
    check("www.com.", Rtype::A, "ra; SERVFAIL", "Failed(\"SERVFAIL\")");
    check("www.com.", Rtype::A, "ra; tc", "Truncated");
    // The alias alone: what it leads to may be another's.
    check(
        "a.com.",
        Rtype::A,
        "ra; NXDOMAIN; an a.com. 60 CNAME b.org.; an b.org. 60 CNAME c.org.",
        "answer NOERROR in com.: a.com. CNAME | ",
    );
    // Denials, with or without an SOA; of a zone above the forwarded one, too.
    check(
        "www.com.",
        Rtype::A,
        "ra; NXDOMAIN; ns . 60 SOA a. b. 1 2 3 4 5",
        "answer NXDOMAIN in com.:  | . SOA",
    );
    check(
        "www.com.",
        Rtype::A,
        "ra; ns org. 60 SOA a. b. 1 2 3 4 5",
        "answer NOERROR in com.:  | ",
    );
    check(
        "a.com.",
        Rtype::DS,
        "ra; ns a.com. 60 SOA a. b. 1 2 3 4 5",
        "answer NOERROR in com.:  | ",
    );
    check("www.com.", Rtype::A, "ra", "answer NOERROR in com.:  | ");
    // What it was not asked for stays out.
    check(
        "www.com.",
        Rtype::A,
        "ra; an bank.com. 60 A 192.0.2.66",
        "Failed(\"an answer to another question\")",
    );
}

// RFC 6891 sections 6.1.1, 6.1.3 and 7; RFC 7873 section 5.3.
#[test]
fn refusals_of_edns_and_of_questions_are_told_apart() {
    use EdnsLevel::{Bare, Full, None};
    let check = |rcode: Rcode, opt: bool, sent: EdnsLevel, known: bool, expected: Said| {
        let question = Question::new(name("w.a.com."), Rtype::A);
        let zone = name("com.");
        let cx = Context {
            zone: &zone,
            asked: &question,
            transport: Transport::Udp,
            edns: sent,
            takes_edns: known,
            forwarded: false,
            server: [192, 0, 2, 1].into(),
            harden_glue: true,
            now: Now::default(),
        };
        let mut message = message(&question, "");
        message.rcode = rcode;
        message.edns = opt.then(|| crate::dns::Edns::new(1232, true));
        let what = format!("{rcode}, OPT {opt}, sent {sent:?}, known {known}");
        assert_eq!(interpret(&cx, &message), expected, "{what}");
    };
    let failed = |rcode: Rcode| Said::Failed(rcode.to_string());
    for known in [true, false] {
        for rcode in [Rcode::FORMERR, Rcode::NOTIMP] {
            check(rcode, false, Full, known, Said::EdnsRefused(None));
            check(rcode, false, Bare, known, Said::EdnsRefused(None));
            check(rcode, false, None, known, failed(rcode));
            check(rcode, true, Bare, known, failed(rcode));
        }
        check(Rcode::FORMERR, true, Full, known, Said::EdnsRefused(Bare));
        check(Rcode::NOTIMP, true, Full, known, failed(Rcode::NOTIMP));
        check(Rcode::BADVERS, true, Full, known, Said::EdnsRefused(None));
        check(Rcode::SERVFAIL, true, Full, known, failed(Rcode::SERVFAIL));
        check(Rcode::BADCOOKIE, true, Full, known, Said::CookieRefused);
    }
    check(Rcode::SERVFAIL, false, Full, false, Said::EdnsRefused(None));
    check(Rcode::SERVFAIL, false, Full, true, failed(Rcode::SERVFAIL));
    check(Rcode::SERVFAIL, false, None, false, failed(Rcode::SERVFAIL));
}
