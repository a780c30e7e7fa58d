//! Real input for each target: what holdfast itself writes, and the files that come with it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;

use holdfast::clock::Now;
use holdfast::dns::edns::option;
use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::tsig::{self, Algorithm, Key};
use holdfast::dns::{
    Class, Ede, Edns, Message, Name, Question, Rcode, Record, RrSet, Rtype, group,
};
use holdfast::mirror::store::image_file;
use holdfast::query::cookie::Cookies;
use holdfast::store::{
    AnswerRow, ClockRow, CountedName, CurrentRow, GenerationRow, GoneRow, NamesRow, OutageRow,
    Provenance, RetainedHostRow, RetainedRow, Row, SourceKind, TrustAnchorRow, TrustKeyRow,
    TrustRecord, Verdict, hex, seal,
};
use holdfast::tap::frames::Control;
use holdfast::zone::{Builder, ZoneImage, parse, present};

use crate::signer::{Denial, Signer, rr};

/// What is rewritten before the scanner sees it.
const REWRITTEN: &str = r#"
$ORIGIN example.
@ 1h SOA ns host 1 2h 3 4 5
$GENERATE 1-7/2 h${0,3,d} 60 IN A 192.0.2.$
$GENERATE 10-12 ${1,8,n}ip6 PTR h$$\$
here LOC 42 21 54.5 N 71 06 18 W ( -24.05m 30m )
"#;
/// A zone with something of everything.
const ZONE: &str = r#"
$ORIGIN example.
$TTL 1h
@ SOA ns.example. host.example. 7 2h 15m 1w 1d
@ NS ns
@ NS ns.sub
@ MX 10 mail.Example.
@ TXT "v=spf1 -all" "a;b(\"\000\255\\"
@ CAA 0 issue "ca.example"
ns 60 A 192.0.2.53
ns AAAA 2001:db8::53
www IN CNAME Web
web ( A
 192.0.2.1 ) ; the web
*.wild A 192.0.2.2
svc SVCB 1 ns ( alpn="h2,a\\,b" mandatory=alpn port=853 ipv4hint=192.0.2.1 )
@ HTTPS 1 . ech=AAEC ipv6hint=2001:db8::1,::2 dohpath=/q{?dns} key700="\001 x"
@ HTTPS 0 web
a.b.c SRV 1 2 53 ns
sub NS ns.sub
sub DS 1 13 2 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
ns.sub A 192.0.2.54
open NS ns.open.sub
old DNAME new.example.
naptr NAPTR 1 2 "u" "E2U" "!^.*$!x!" .
odd TYPE65280 \# 3 01ff00
host HINFO "a" "b"
rp RP a.example. b.example.
svcb TYPE64 \# 4 00010000
tlsa TLSA 3 1 1 aabb
"#;
/// Noon of 2026-08-01, when signatures of the test signer are valid.
const NOON: Now = Now {
    mono: std::time::Duration::ZERO,
    wall_s: 1_785_585_600,
};

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let text = |text: &str| text.as_bytes().to_vec();
    let flagged = |flags: &[u8], seeds: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
        let each = |seed: Vec<u8>| flags.iter().map(move |flag| [&[*flag], &seed[..]].concat());
        seeds.into_iter().flat_map(each).collect()
    };
    match target {
        "message" | "hickory" | "dnssec" => messages(),
        "request" | "plain" => queries(),
        "frame" => frames(),
        "transfer" => flagged(&[0, 1], questions_for_transfers()),
        "cookie" => cookies(),
        "response" => responses(),
        "name" => names(),
        "rdata" => data_of_all_types(),
        "axfr" => transfers(),
        "ixfr" => flagged(&[0, 1], incremental()),
        "tsig" => signed_queries(),
        "notify" => flagged(&[0, 1], notifies()),
        "zone_file" => {
            let signed = signers().map(|signer| written(&signer.sign(&records())));
            let own = [text(ZONE), text(REWRITTEN), file("zones/lab.test.zone")];
            signed.into_iter().chain(own).collect()
        }
        "include" => [
            (
                "@ 60 SOA ns h 1 2 3 4 5\n$INCLUDE inner a\n TXT x\n",
                " NS ns\nb 61 A 192.0.2.1\n$ORIGIN c.\n",
            ),
            (
                "$TTL 60\n@ SOA ns h 1 2 3 4 5\n$INCLUDE \"inn\\101r\"\n$INCLUDE inner .\n",
                "$INCLUDE outer\n",
            ),
            (
                "$INCLUDE ./inner @ ; all\n",
                "@ 60 SOA ns h 1 2 3 4 5\nx ( 60\n NS ns )\n",
            ),
        ]
        .map(|(outer, inner)| [outer.as_bytes(), &[0], inner.as_bytes()].concat())
        .to_vec(),
        "spool" => {
            let zone = written(&records());
            let mut packing = GzEncoder::new(Vec::new(), Compression::best());
            packing.write_all(&zone).expect("in memory");
            vec![zone, packing.finish().expect("in memory")]
        }
        "url" => [
            "https://www.internic.net/domain/root.zone\n../a/./b?c#d",
            "https://h.example:444/a?b\n//other.example/x",
            "https://[2001:db8::1]/\nhttp://h.example/",
            "https://192.0.2.1\nhttps://h.example/z",
        ]
        .map(text)
        .to_vec(),
        "https" => vec![
            b"GET\n/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB\n".to_vec(),
            b"POST\n/dns-query\napplication/dns-message".to_vec(),
            b"GET\nhttps://dns.example/dns-query?x=1&dns=AAAA\n".to_vec(),
        ],
        "collector" => {
            let listed = b"\0\0\0\0\0\0\0\x13\0\0\0\x01\0\0\0\x01\0\0\0\x01x\0\0\0\x01\0\0\0\x16protobuf:dnstap.Dnstap";
            let mut listed = listed.to_vec();
            listed[7] = (listed.len() - 8) as u8;
            let own = [Control::Accept, Control::Ready, Control::Finish];
            own.map(Control::frame).into_iter().chain([listed]).collect()
        }
        "quic" => vec![asked_over_quic(0), asked_over_quic(1)],
        "stream" => vec![[asked_over_quic(1), asked_over_quic(2), vec![0, 0, 0, 9, 1]].concat()],
        "proxy" => {
            let header = |start: [u8; 4], rest: &[u8]| {
                [b"\r\n\r\n\0\r\nQUIT\n", &start[..], rest, b"query"].concat()
            };
            vec![
                header([0x20, 0, 0, 0], b""),
                header([0x21, 0x12, 0, 12], b"\xC0\0\x02\x01\xC0\0\x02\x35\x12\x34\0\x35"),
                header([0x21, 0x21, 0, 41], b"0123456789abcdef0123456789abcdef\x12\x34\0\x35\xE0\0\x02xy"),
            ]
        }
        "certificate" => vec![
            certificate(b"\xA0\x03\x02\x01\x02", b"\x17\x0D260801120000Z"),
            certificate(b"", b"\x18\x0F99991231235959Z"),
        ],
        "names" => [
            "www.example\n# mine\nmail.example. MX\n\nx.example TYPE65\n",
            "a.b.c AAAA # six\nd\r\n*.w.example TXT",
        ]
        .map(text)
        .to_vec(),
        "prefixes" => [
            "# a country\n192.0.2.0/24\n192.0.3.0/24 # two that touch\n\n2001:db8::/32\n203.0.113.7\n",
            "0.0.0.0/0\n::/0\n",
            "10.0.0.0/9\n10.128.0.0/9\n10.1.0.0/16\r\n2001:db8:8000::/33\n2001:db8::/33",
        ]
        .map(text)
        .to_vec(),
        "catalog" => vec![
            text(
                "@ 0 SOA invalid. invalid. 1 1 1 1 0\n@ 0 NS invalid.\nversion 0 TXT 2\na1.zones 0 PTR a.\n\
                 b2.zones 0 PTR b.test.\ngroup.b2.zones 0 TXT \"x\"\ncoo.b2.zones 0 PTR other.\nx.ext 0 A 192.0.2.1\n",
            ),
            text("@ 0 SOA . . 1 1 1 1 0\nversion 0 TXT \"2\"\n"),
        ],
        "image" => flagged(
            &[0, 1],
            images().iter().map(|i| i.as_bytes().to_vec()).collect(),
        ),
        "note" => flagged(&[0, 1, 3], vec![version_file()]),
        "ledger" => rows(),
        "answer" => kept_answers().iter().map(Row::body).collect(),
        // The target has no files beside the configuration.
        "config" => {
            let own = String::from_utf8(file("config.toml")).expect("text");
            vec![
                own.replace("[[zone]]", "#")
                    .replace("\nfile = ", "\n#")
                    .replace("\nname = ", "\n#")
                    .into(),
                text(CONFIG),
            ]
        }
        "unbound" => ["isp.conf", "office.conf"]
            .into_iter()
            .map(|name| {
                let outer = file(&format!("tests/packaging/unbound/{name}"));
                let included = text("include: inner\nserver: port: 5353\n\0server:\n local-data: 'a. A 192.0.2.1'\n");
                [outer, included].concat()
            })
            .collect(),
        "anchors" => vec![
            file("zones/root.key"),
            file("zones/root.hints"),
            text("lab. DNSKEY 257 3 13 ( AAAA\n BBBB ) ; why\n. 3600000 NS a.\na. A 192.0.2.1\n"),
        ],
        "clock" => [
            "@2018-11-30 12:19:06\n",
            "@1543580346",
            "2026-08-01T12:00:00Z",
            "20260801120000",
        ]
        .map(text)
        .to_vec(),
        "control_request" => vec![
            text("{\"command\":\"mirror_import\",\"zone\":\".\",\"file\":\"z\",\"octets\":9}\n. NS\nx. \n{\"command\":\"status\"}\n"),
            text("{\"command\":\"status\"}\n"),
            text(
                "{\"command\":\"mirror_accept\",\"zone\":\".\",\"serial\":7}\n{\"command\":\"mirror_list\"}",
            ),
            text("{\"command\":\"cache_flush\",\"name\":\"example.\",\"tree\":true}\nno\n"),
            text(
                "{\"command\":\"trace\",\"name\":\"a.\",\"rtype\":\"A\",\"checking_disabled\":true,\"afresh\":false}\n",
            ),
        ],
        "control_response" => vec![
            text("{\"ok\":{\"version\":\"1\",\"mirrors\":[{\"zone\":\".\",\"age_s\":null}]}}\n"),
            text("{\"error\":\"no such mirror\"}\n"),
        ],
        other => panic!("no seeds for the target {other}"),
    }
}

const CONFIG: &str = r#"
[server]
listen = ["127.0.0.1:5300"]
[resolver]
dnssec = "off"
hedge_min_ms = 5
[[forward]]
zone = "corp.example."
servers = ["192.0.2.1", "192.0.2.2:5353"]
[cache]
bytes_max = "64MiB"
[[mirror]]
zone = "ru."
use = "always"
sources = ["axfr:192.0.2.9", "file:ru.zone"]
protect = ["gov.ru."]
"#;

fn file(path: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

fn name(text: &str) -> Name {
    text.parse().expect(text)
}

fn records() -> Vec<Record> {
    let records = parse::records(ZONE.as_bytes(), "seed", None);
    records.collect::<Result<_, _>>().expect("a sound zone")
}

fn written(records: &[Record]) -> Vec<u8> {
    let lines = records.iter().map(|r| present::record(r) + "\n");
    lines.collect::<String>().into_bytes()
}

/// NSEC with ZONEMD, and NSEC3 with opt-out.
fn signers() -> [Signer; 2] {
    let mut plain = Signer::new("example.", 1);
    plain.zonemd = true;
    let mut hashed = Signer::new("example.", 2);
    hashed.denial = Denial::Nsec3 {
        salt: vec![0xAB],
        iterations: 3,
        opt_out: true,
    };
    [plain, hashed]
}

fn images() -> Vec<ZoneImage> {
    let build = |records: Vec<Record>| {
        let mut builder = Builder::new(name("example."));
        for record in records {
            builder.add(record).expect("a sound record");
        }
        builder.finish().expect("a sound zone")
    };
    let signed = signers().map(|signer| build(signer.sign(&records())));
    signed.into_iter().chain([build(records())]).collect()
}

/// Queries in frames of either family. Their UDP checksums are begun only, as among virtual interfaces, so that what is changed in the data is still taken.
fn frames() -> Vec<Vec<u8>> {
    let sum = |octets: &[u8]| {
        let words = octets
            .chunks(2)
            .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
        let sum: u32 = words.sum();
        ((sum & 0xFFFF) + (sum >> 16)) as u16
    };
    let frame = |addresses: &[u8], query: &[u8]| {
        let len = (8 + query.len()) as u16;
        let [high, low] = len.to_be_bytes();
        let begun = sum(&[addresses, &[0, 17, high, low]].concat()).to_be_bytes();
        let udp = [&[0x12, 0x67, 0, 53, high, low][..], &begun, query].concat();
        let (ethertype, mut ip) = match addresses.len() {
            8 => {
                let total = (20 + len).to_be_bytes();
                let start = [0x45, 0, total[0], total[1], 7, 7, 0x40, 0, 57, 17, 0, 0];
                ([8, 0], start.to_vec())
            }
            _ => ([0x86, 0xDD], vec![0x60, 0, 0, 0, high, low, 17, 57]),
        };
        ip.extend(addresses);
        if addresses.len() == 8 {
            let check = !sum(&ip);
            ip[10..12].copy_from_slice(&check.to_be_bytes());
        }
        [
            &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1],
            &ethertype[..],
            &ip,
            &udp,
        ]
        .concat()
    };
    let four = [192, 0, 2, 7, 198, 51, 100, 53];
    let mut six = [0; 32];
    for at in [0, 16] {
        six[at..at + 4].copy_from_slice(&[0x20, 1, 0xD, 0xB8]);
    }
    (six[15], six[31]) = (7, 53);
    let queries = queries();
    let queries = queries.iter().take(8);
    queries
        .flat_map(|query| [frame(&four, query), frame(&six, query)])
        .collect()
}

fn queries() -> Vec<Vec<u8>> {
    let mut query = Message::query(7, Question::new(name("Www.example."), Rtype::A));
    query.recursion_desired = true;
    let plain = query.encode(512);
    let mut edns = Edns::new(1232, true);
    edns.options.push((option::COOKIE, vec![9; 24]));
    edns.options
        .push((option::CLIENT_SUBNET, vec![0, 1, 24, 0, 192, 0, 2]));
    edns.options.push((option::PADDING, vec![0; 8]));
    query.edns = Some(edns);
    let transfer = Message::query(8, Question::new(name("."), Rtype::AXFR));
    vec![plain, query.encode(512), transfer.encode(512)]
}

/// AXFR and IXFR of the zone that the target has, and of another.
fn questions_for_transfers() -> Vec<Vec<u8>> {
    let mut questions = Vec::new();
    for zone in ["example.", "other."] {
        for rtype in [Rtype::AXFR, Rtype::IXFR] {
            let mut query = Message::query(9, Question::new(name(zone), rtype));
            query.edns = Some(Edns::new(1232, true));
            if rtype == Rtype::IXFR {
                let soa = format!("{zone} 60 SOA ns.{zone} h.{zone} 4 1 1 1 1");
                query.authority.push(rr(&soa));
            }
            questions.push(query.encode(512));
        }
    }
    questions
}

/// Answers of the sample zones, as a server sends them.
fn answers() -> Vec<(Question, Message)> {
    let mut out = Vec::new();
    for image in images() {
        for (owner, rtype) in [
            ("example.", Rtype::DNSKEY),
            ("example.", Rtype::NS),
            ("www.example.", Rtype::A),
            ("a.b.c.example.", Rtype::MX),
            ("x.wild.example.", Rtype::A),
            ("nope.example.", Rtype::A),
            ("www.sub.example.", Rtype::A),
            ("www.open.example.", Rtype::A),
            ("sub.example.", Rtype::DS),
            ("www.old.example.", Rtype::A),
            ("example.", Rtype::ANY),
        ] {
            let question = Question::new(name(owner), rtype);
            let found = image.lookup(&question.name, rtype);
            let section = |sets: &[RrSet]| -> Vec<Record> {
                sets.iter()
                    .flat_map(|s| s.records(true).collect::<Vec<_>>())
                    .collect()
            };
            let mut answer = Message::query(4711, question.clone()).reply(Rcode::NOERROR);
            answer.authoritative = !owner.contains("www.");
            answer.answer = section(&found.answer);
            answer.authority = section(&found.authority);
            answer.additional = section(&found.additional);
            // So that there is something to verify with.
            let keys = image.find(image.apex(), Rtype::DNSKEY);
            answer
                .authority
                .extend(keys.iter().flat_map(|k| k.records(true)));
            let mut edns = Edns::new(1232, true);
            edns.options.push(Ede::new(Ede::OTHER, "why").to_option());
            edns.options.push((option::COOKIE, vec![5; 16]));
            answer.edns = Some(edns);
            out.push((question, answer));
        }
    }
    out
}

/// Each flag alone, and what no server of the zone may say.
fn odd_answers() -> Vec<(Question, Message)> {
    let question = Question::new(name("www.example."), Rtype::A);
    let bare = Message::query(4711, question.clone()).reply(Rcode::NOERROR);
    let record = |owner: &str, rtype, rdata: &[u8]| Record {
        name: name(owner),
        rtype,
        class: Class::IN,
        ttl: 60,
        rdata: rdata.into(),
    };
    let mut out = vec![bare.clone(); 7];
    out[0].authoritative = true;
    out[1].truncated = true;
    out[2].recursion_available = true;
    out[3].authentic_data = true;
    out[4].checking_disabled = true;
    out[5].authoritative = true;
    out[5].answer = vec![
        record("www.example.", Rtype::A, &[192, 0, 2, 1]),
        record("www.other.", Rtype::A, &[192, 0, 2, 66]),
    ];
    out[5].authority = vec![
        record("other.", Rtype::NS, name("ns.other.").wire()),
        record("other.", Rtype::NSEC, b"\x01a\x00\x00\x01\x40"),
    ];
    // Glue of another zone beside that of the one referred to.
    out[6].authority = ["ns.www.example.", "ns.other."]
        .map(|server| record("www.example.", Rtype::NS, name(server).wire()))
        .to_vec();
    out[6].additional = ["ns.www.example.", "ns.other."]
        .map(|server| record(server, Rtype::A, &[192, 0, 2, 54]))
        .to_vec();
    out.into_iter()
        .map(|answer| (question.clone(), answer))
        .collect()
}

fn messages() -> Vec<Vec<u8>> {
    let answers = (answers().into_iter())
        .chain(odd_answers())
        .map(|(_, answer)| answer.encode(MESSAGE_LEN_MAX));
    answers.chain(queries()).collect()
}

/// With how they were asked, and the number of the question, see the target.
fn responses() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for (question, mut answer) in answers().into_iter().chain(odd_answers()) {
        answer.authority.retain(|r| r.rtype != Rtype::DNSKEY);
        let owner = match question.name.to_string().as_str() {
            "example." => 0,
            "www.example." => 1,
            "a.b.c.example." => 2,
            "www.sub.example." => 4,
            _ => continue,
        };
        for how in [0b1011_0101, 0b0000_0001, 0b1000_0011, 0b0000_1001] {
            for what in [
                owner << 3,
                owner << 3 | 1,
                owner << 3 | 2,
                1 << 6 | owner << 3,
            ] {
                out.push([&[how, what], &answer.encode(MESSAGE_LEN_MAX)[..]].concat());
            }
        }
    }
    out
}

fn cookies() -> Vec<Vec<u8>> {
    let client = [192, 0, 2, 1];
    let (good, _) = Cookies::new([7; 16])
        .exchange(&[9; 8], client.into(), NOON.wall_s)
        .expect("a client cookie");
    let head = [client, (NOON.wall_s as u32).to_be_bytes()].concat();
    [good.to_vec(), vec![9; 8], vec![9; 40]]
        .map(|option| [&head[..], &option].concat())
        .to_vec()
}

fn names() -> Vec<Vec<u8>> {
    vec![
        b"\x00\x03www\x07Example\x00\x01a\xC0\x04".to_vec(),
        b"\x08\x01a\x00\x01b\xC0\x00\xC0\x03\xC0\x09\xC0\x05".to_vec(),
        [&b"\x00"[..], &b"\x01a".repeat(127), b"\x00\x01b\xC0\x02"].concat(),
        br"xwww.a\.b\000\255.example.".to_vec(),
    ]
}

fn data_of_all_types() -> Vec<Vec<u8>> {
    let [plain, hashed] = signers().map(|signer| signer.sign(&records()));
    let mut out: Vec<Vec<u8>> = (plain.iter().chain(&hashed))
        .map(|r| [&r.rtype.0.to_be_bytes(), &r.rdata[..]].concat())
        .collect();
    out.sort();
    out.dedup_by_key(|data| [data[0], data[1]]);
    out
}

/// The SOA, then the zone in messages of a few records.
fn transfers() -> Vec<Vec<u8>> {
    let records = signers()[0].sign(&records());
    let soa = records
        .iter()
        .find(|r| r.rtype == Rtype::SOA)
        .expect("a SOA");
    let mut rest: Vec<Record> = vec![soa.clone()];
    rest.extend(records.iter().filter(|r| r.rtype != Rtype::SOA).cloned());
    rest.push(soa.clone());
    let first = framed(1, Rtype::SOA, std::slice::from_ref(soa));
    [5, 1000]
        .map(|count| {
            let messages = rest.chunks(count).map(|part| framed(2, Rtype::AXFR, part));
            [first.clone()]
                .into_iter()
                .chain(messages)
                .collect::<Vec<_>>()
                .concat()
        })
        .to_vec()
}

fn framed(id: u16, rtype: Rtype, answer: &[Record]) -> Vec<u8> {
    let question = Question::new(name("example."), rtype);
    let mut message = Message::query(id, question).reply(Rcode::NOERROR);
    message.answer = answer.to_vec();
    let wire = message.encode(MESSAGE_LEN_MAX);
    [&(wire.len() as u16).to_be_bytes(), &wire[..]].concat()
}

/// What leads from the zone that is held to serial 3, in two deltas, in one, and as a whole zone.
fn incremental() -> Vec<Vec<u8>> {
    let soa = |serial: u32| format!("@ SOA ns host {serial} 2 3 4 5\n");
    let records = |lines: &str| -> Vec<Record> {
        let text = format!("$ORIGIN example.\n$TTL 60\n{lines}");
        let records = parse::records(text.as_bytes(), "seed", None);
        records.collect::<Result<_, _>>().expect("sound records")
    };
    let (one, two, three) = (soa(1), soa(2), soa(3));
    let (gone, came) = ("www A 192.0.2.1\n", "new A 192.0.2.9\nsub NS ns.new\n");
    let deltas = format!("{three}{one}{gone}{two}{came}{two}new A 192.0.2.9\n{three}{gone}{three}");
    let condensed = format!("{three}{one}ns.sub A 192.0.2.54\n{three}{came}{three}");
    let whole = format!("{three}@ NS ns\nns A 192.0.2.53\n{three}");
    let first = framed(1, Rtype::SOA, &records(&three));
    let mut out = vec![[&first[..], &framed(2, Rtype::IXFR, &records(&one))].concat()];
    for lines in [deltas, condensed, whole] {
        let records = records(&lines);
        for count in [1, 3, 100] {
            let messages = records
                .chunks(count)
                .map(|part| framed(2, Rtype::IXFR, part));
            out.push(
                [first.clone()]
                    .into_iter()
                    .chain(messages)
                    .collect::<Vec<_>>()
                    .concat(),
            );
        }
    }
    out
}

fn key() -> Arc<Key> {
    let name = name("hub-key.");
    Arc::new(Key::new(&name, Algorithm::HmacSha256, b"sixteen octets!!"))
}

fn signed_queries() -> Vec<Vec<u8>> {
    let plain = queries();
    let mut signed = plain.clone();
    for query in &mut signed {
        tsig::sign_request(&key(), query, NOON.wall_s);
    }
    let mut late = plain[0].clone();
    tsig::sign_request(&key(), &mut late, NOON.wall_s - 1000);
    signed.into_iter().chain([late, plain[0].clone()]).collect()
}

fn notifies() -> Vec<Vec<u8>> {
    let mut message = Message::query(7, Question::new(name("Example."), Rtype::SOA));
    message.opcode = 4;
    let plain = message.encode(512);
    message.answer = vec![records().remove(0)];
    let with_soa = message.encode(512);
    let mut signed = with_soa.clone();
    tsig::sign_request(&key(), &mut signed, NOON.wall_s);
    vec![plain, with_soa, signed]
}

fn generation(image: &ZoneImage) -> GenerationRow {
    GenerationRow {
        zone: image.apex().clone(),
        serial: image.serial(),
        digest: hex(&image.digest()),
        verdict: Verdict::Held(vec!["shrank".into()]),
        provenance: Provenance {
            source: "axfr:192.0.2.1".into(),
            kind: SourceKind::Network,
            fetched_at: NOON.wall_s,
            channel: Default::default(),
            validators: None,
        },
        verified_at: NOON.wall_s,
        stored_at: NOON.wall_s,
        trust: TrustRecord::Anchors("ab".into()),
        records: image.record_count(),
        delegations: image.delegation_count(),
        signatures_expire_at: Some(NOON.wall_s + 1),
        warnings: vec!["plain".into()],
        proves: "something".into(),
    }
}

fn version_file() -> Vec<u8> {
    let image = images().remove(0);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("version.image");
    let row = generation(&image);
    image_file::write(&path, image.as_bytes(), &row, &|_| Ok(())).expect("a file");
    fs::read(&path).expect("the file")
}

fn rows() -> Vec<Vec<u8>> {
    let zone = name("example.");
    let mut out = Vec::new();
    let mut add = |tree: u8, key: Vec<u8>, value: Vec<u8>| {
        for right in [0, 1] {
            let head = [tree << 1 | right, key.len() as u8];
            out.push([&head, &key[..], &value].concat());
        }
    };
    let row = generation(&images()[2]);
    add(0, row.key(), seal(&row));
    let row = CurrentRow {
        zone: zone.clone(),
        serial: 7,
        digest: "ab".into(),
        last_contact_at: Some(1),
        rolled_back_from: None,
    };
    add(1, row.key(), seal(&row));
    let row = OutageRow {
        zone: zone.clone(),
        since_at: 1,
        last_contact_at: None,
        serial: Some(7),
        evidence: "silence".into(),
    };
    add(2, row.key(), seal(&row));
    let row = TrustAnchorRow {
        zone,
        configured: vec!["DS 00".into()],
        keys: vec![TrustKeyRow {
            dnskey: "010103080a".into(),
            state: "add-pending".into(),
            since_at: 1,
            until_at: Some(2),
        }],
        refreshed_at: None,
        due_at: 3,
    };
    add(3, row.key(), seal(&row));
    let row = ClockRow {
        time_at: NOON.wall_s,
        proven_at: 1,
    };
    add(4, row.key(), seal(&row));
    let row = RetainedRow {
        zone: name("a.example."),
        parent: name("example."),
        servers: vec![("ns.a.example.".into(), vec![[192, 0, 2, 1].into()])],
        ds: Some(vec!["1a2b0f02ff".into()]),
        ds_until_at: NOON.wall_s,
        confirmed_at: NOON.wall_s,
        uses: 3,
        used_at: NOON.wall_s,
    };
    add(5, row.key(), seal(&row));
    let row = RetainedHostRow {
        host: name("ns.example."),
        a: Some(vec![[192, 0, 2, 1].into()]),
        aaaa: None,
        seen_at: NOON.wall_s,
        uses: 3,
        used_at: NOON.wall_s,
    };
    add(6, row.key(), seal(&row));
    let row = GoneRow {
        zone: name("example."),
        since_at: NOON.wall_s,
        seen_at: NOON.wall_s + 60,
    };
    add(32, row.key(), seal(&row));
    for row in kept_answers() {
        add(7, row.key(), seal(&row));
    }
    let row = NamesRow {
        part: 1,
        at: 1_543_579_200,
        list: vec![CountedName {
            name: "www.example.".into(),
            rtype: 1,
            count: 2.5,
            error: 0.5,
        }],
    };
    add(64, row.key(), seal(&row));
    out
}

/// Answers as they stand on disk: an address, an alias, a denial with its SOA, a name's denial.
fn kept_answers() -> Vec<AnswerRow> {
    let row = |owner: &str, rtype: u16, rcode: u8, sets: &[&str]| {
        // The form is specified in `cache/packed.rs`.
        let key = name(owner);
        let sets: Vec<RrSet> = group(&sets.iter().map(|line| rr(line)).collect::<Vec<_>>());
        let (answers, authority) = sets
            .iter()
            .partition::<Vec<&RrSet>, _>(|s| s.rtype != Rtype::SOA);
        let mut packed = vec![0, 0, 0, 60];
        packed.extend(rtype.to_be_bytes());
        packed.extend([rcode, 3]);
        packed.extend((answers.len() as u16).to_be_bytes());
        packed.extend((authority.len() as u16).to_be_bytes());
        packed.push(0);
        packed.extend(key.wire());
        for set in answers.into_iter().chain(authority) {
            let labels = set.name.wire();
            let own = labels.len() - 1;
            packed.push(own as u8);
            packed.extend(&labels[..own]);
            packed.push((key.wire().len() - 1) as u8);
            packed.extend(set.rtype.0.to_be_bytes());
            packed.extend((set.rdatas.len() as u16).to_be_bytes());
            packed.extend([0, 0]);
            for rdata in &set.rdatas {
                packed.extend((rdata.len() as u16).to_be_bytes());
                packed.extend(&rdata[..]);
            }
        }
        AnswerRow {
            name: key,
            rtype,
            stored_at: NOON.wall_s - 60,
            ran_out_at: NOON.wall_s,
            uses: 3,
            used_at: NOON.wall_s,
            packed,
        }
    };
    let soa = "example. 60 SOA ns.example. host.example. 1 2 3 4 60";
    vec![
        row(
            "www.example.",
            1,
            0,
            &["www.example. 60 A 192.0.2.1", "www.example. 60 A 192.0.2.2"],
        ),
        row("www.example.", 5, 0, &["www.example. 60 CNAME a.example."]),
        row("www.example.", 28, 0, &[soa]),
        row("none.example.", 0, 3, &[soa]),
    ]
}

/// A query with this ID behind its length.
fn asked_over_quic(id: u16) -> Vec<u8> {
    let question = Question::new("www.example.".parse().unwrap(), Rtype::A);
    let wire = Message::query(id, question).encode(MESSAGE_LEN_MAX);
    [&(wire.len() as u16).to_be_bytes()[..], &wire].concat()
}

/// The form of a certificate (DER) with this version and this end of its validity; nothing in it means anything.
fn certificate(version: &[u8], end: &[u8]) -> Vec<u8> {
    let sequence = |content: &[u8]| {
        let len = content.len() as u16;
        [&[0x30, 0x82], &len.to_be_bytes()[..], content].concat()
    };
    let validity = [b"\x17\x0D200101000000Z", end].concat();
    let parts = [
        version,
        b"\x02\x01\x07",
        &sequence(b"algorithm"),
        &sequence(&[b'i'; 200]),
        &sequence(&validity),
        &sequence(b"subject"),
    ];
    sequence(&[&sequence(&parts.concat())[..], b"signature"].concat())
}
