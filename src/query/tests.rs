//! The pipeline from bytes to bytes: one zone, one table, and a resolver that says what it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::own::{OwnZone, OwnZones};
use super::own_first::OwnFirst;
use super::*;
use crate::clock::Now;
use crate::config;
use crate::dns::message::MESSAGE_LEN_MAX;
use crate::dns::{Edns, Message, Name, RrSet, Rtype};
use crate::resolve::{Cover, LocalAnswer, LocalZones, Prefer, Sources};
use crate::zone::{Builder, LookupKind, ZoneImage, parse};

const LAB: &str = "
$TTL 300
@       SOA    ns1 hostmaster 1 3600 900 604800 60
        NS     ns1
ns1     A      192.0.2.53
www     A      192.0.2.80
        TXT    \"text\"
alias   CNAME  www
chain   CNAME  alias
away    CNAME  www.elsewhere.example.
loop1   CNAME  loop2
loop2   CNAME  loop1
dangle  CNAME  nothing
cross   CNAME  host.other.test.
*.wild  TXT    \"wild\"
old     DNAME  new
x.new   A      192.0.2.99
sub     NS     ns.sub
        DS     1 8 2 0000000000000000000000000000000000000000000000000000000000000000
ns.sub  A      192.0.2.54
child   NS     ns1
big     TXT    \"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
        TXT    \"1123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
        TXT    \"2123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
        TXT    \"3123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
        TXT    \"4123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\"
";
const OTHER: &str =
    "@ 60 SOA ns h 1 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\nhost 60 A 192.0.2.7\n";
const CHILD: &str = "@ 60 SOA ns h 1 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\n";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn zone(apex: &str, text: &str) -> (Name, OwnZone) {
    let mut builder = Builder::new(name(apex));
    for record in parse::records(text.as_bytes(), "test", Some(&name(apex))) {
        builder.add(record.unwrap()).unwrap();
    }
    let image: ZoneImage = builder.finish().unwrap();
    (name(apex), OwnZone::Loaded(Arc::new(image)))
}

/// Says what it is told, and remembers what it was asked.
struct Told {
    resolution: Resolution,
    asked: Mutex<Vec<(Question, Options)>>,
}

impl Resolve for Told {
    fn cached(&self, _: &Question, _: Options) -> Option<Resolution> {
        None
    }

    fn resolve(&self, question: Question, options: Options) -> BoxFuture<'_, Resolution> {
        self.asked.lock().unwrap().push((question, options));
        Box::pin(std::future::ready(self.resolution.clone()))
    }
}

fn resolution(owner: &str, security: Security) -> Resolution {
    let mut set = RrSet::single(name(owner), Rtype::A, 3600, [192, 0, 2, 200].into());
    // Fixed fields, the root as signer, one octet of signature: enough to be read.
    set.sigs.push(vec![0; 20].into());
    let nsec = RrSet::single(name(owner), Rtype::NSEC, 3600, vec![0, 0, 1, 0x40].into());
    Resolution {
        rcode: Rcode::NOERROR,
        answer: vec![set],
        authority: vec![nsec],
        additional: Vec::new(),
        security,
        errors: Vec::new(),
        sources: Sources::default(),
    }
}

struct Setup {
    pipeline: Pipeline,
    settings: SharedSettings,
    told: Arc<Told>,
    metrics: Arc<Metrics>,
}

fn setup(resolution: Resolution) -> Setup {
    let access = config::Access {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        allow_own_zones: vec![
            "127.0.0.0/8".parse().unwrap(),
            "192.0.2.0/24".parse().unwrap(),
        ],
        ..config::Access::default()
    };
    let settings = Settings {
        access: AccessList::new(&access),
        zones: OwnZones::new([
            zone("lab.test.", LAB),
            zone("other.test.", OTHER),
            zone("child.lab.test.", CHILD),
            (name("broken.test."), OwnZone::Broken("line 3".into())),
        ]),
        special: Special::new([
            &name("lab.test."),
            &name("other.test."),
            &name("broken.test."),
        ]),
        udp_size_max: 1232,
        ..Settings::default()
    };
    let settings = Arc::new(arc_swap::ArcSwap::from_pointee(settings));
    let told = Arc::new(Told {
        resolution,
        asked: Mutex::default(),
    });
    let metrics = Arc::new(Metrics::default());
    let resolver: Arc<dyn Resolve> = told.clone();
    Setup {
        pipeline: Pipeline::new(settings.clone(), Some(resolver), metrics.clone()),
        settings,
        told,
        metrics,
    }
}

/// One question and what is expected of its answer.
struct Ask {
    query: Message,
    client: Client,
}

fn ask(owner: &str, rtype: Rtype) -> Ask {
    Ask {
        query: Message::query(9, Question::new(name(owner), rtype)),
        client: client("192.0.2.10:4000"),
    }
}

fn client(addr: &str) -> Client {
    Client::new(addr.parse::<SocketAddr>().unwrap(), Transport::Udp)
}

impl Ask {
    fn recursive(mut self) -> Ask {
        self.query.recursion_desired = true;
        self.client.addr = "127.0.0.1:4000".parse().unwrap();
        self
    }

    fn from(mut self, addr: &str) -> Ask {
        self.client.addr = addr.parse().unwrap();
        self
    }

    fn tcp(mut self) -> Ask {
        self.client.transport = Transport::Tcp;
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Message)) -> Ask {
        change(&mut self.query);
        self
    }

    fn dnssec(self) -> Ask {
        self.with(|m| m.edns = Some(Edns::new(1232, true)))
    }

    async fn of(self, setup: &Setup) -> Message {
        let wire = self.query.encode(MESSAGE_LEN_MAX);
        let reply = setup.pipeline.answer(&wire, self.client).await.unwrap();
        let reply = Message::parse(&reply).unwrap();
        assert!(reply.response && reply.id == 9);
        assert_eq!(reply.question, self.query.question);
        reply
    }
}

/// The answer's code, AA, and its sections as `owner TYPE` each.
fn shape(m: &Message) -> String {
    let list = |records: &[crate::dns::Record]| {
        let texts = records.iter().map(|r| format!("{} {}", r.name, r.rtype));
        texts.collect::<Vec<_>>().join(", ")
    };
    let aa = if m.authoritative { " aa" } else { "" };
    let sections = [&m.answer, &m.authority, &m.additional].map(|s| list(s));
    format!("{}{aa} | {}", m.rcode, sections.join(" | "))
}

#[tokio::test]
async fn own_zones_answer_with_authority() {
    let setup = setup(resolution("unused.", Security::Insecure));
    let check = async |owner: &str, rtype, expected: &str| {
        let reply = ask(owner, rtype).of(&setup).await;
        assert_eq!(shape(&reply), expected, "{owner} {rtype}");
        assert!(!reply.authentic_data && !reply.recursion_available);
    };
    let soa = "lab.test. SOA";
    let nxdomain = format!("NXDOMAIN aa |  | {soa} | ");
    let nodata = format!("NOERROR aa |  | {soa} | ");
    check(
        "www.lab.test.",
        Rtype::A,
        "NOERROR aa | www.lab.test. A |  | ",
    )
    .await;
    check(
        "WWW.Lab.Test.",
        Rtype::A,
        "NOERROR aa | WWW.Lab.Test. A |  | ",
    )
    .await;
    check("www.lab.test.", Rtype::MX, &nodata).await;
    check("no.lab.test.", Rtype::A, &nxdomain).await;
    check("wild.lab.test.", Rtype::A, &nodata).await;
    check(
        "a.wild.lab.test.",
        Rtype::TXT,
        "NOERROR aa | a.wild.lab.test. TXT |  | ",
    )
    .await;
    check(
        "chain.lab.test.",
        Rtype::A,
        "NOERROR aa | chain.lab.test. CNAME, alias.lab.test. CNAME, www.lab.test. A |  | ",
    )
    .await;
    check(
        "chain.lab.test.",
        Rtype::CNAME,
        "NOERROR aa | chain.lab.test. CNAME |  | ",
    )
    .await;
    check(
        "away.lab.test.",
        Rtype::A,
        "NOERROR aa | away.lab.test. CNAME |  | ",
    )
    .await;
    check(
        "loop1.lab.test.",
        Rtype::A,
        "NOERROR aa | loop1.lab.test. CNAME, loop2.lab.test. CNAME |  | ",
    )
    .await;
    check(
        "dangle.lab.test.",
        Rtype::A,
        &format!("NXDOMAIN aa | dangle.lab.test. CNAME | {soa} | "),
    )
    .await;
    check(
        "cross.lab.test.",
        Rtype::A,
        "NOERROR aa | cross.lab.test. CNAME, host.other.test. A |  | ",
    )
    .await;
    check(
        "x.old.lab.test.",
        Rtype::A,
        "NOERROR aa | old.lab.test. DNAME, x.old.lab.test. CNAME, x.new.lab.test. A |  | ",
    )
    .await;
    let referral = "NOERROR |  | sub.lab.test. NS | ns.sub.lab.test. A";
    check("a.sub.lab.test.", Rtype::A, referral).await;
    check("sub.lab.test.", Rtype::NS, referral).await;
    check(
        "sub.lab.test.",
        Rtype::DS,
        "NOERROR aa | sub.lab.test. DS |  | ",
    )
    .await;
    let any = "NOERROR aa | www.lab.test. A |  | ";
    check("www.lab.test.", Rtype::ANY, any).await;
    let any = ask("www.lab.test.", Rtype::ANY).tcp().of(&setup).await;
    assert_eq!(
        shape(&any),
        "NOERROR aa | www.lab.test. A, www.lab.test. TXT |  | "
    );
    assert_eq!(setup.told.asked.lock().unwrap().len(), 0);
}

// RFC 4035 section 3.1.4.1.
#[tokio::test]
async fn ds_is_asked_above_the_cut() {
    let setup = setup(resolution("lab.test.", Security::Insecure));
    // Both sides of the cut are own zones: the upper one says that there is none.
    let reply = ask("child.lab.test.", Rtype::DS).of(&setup).await;
    assert_eq!(shape(&reply), "NOERROR aa |  | lab.test. SOA | ");
    // The upper side is a special name.
    let reply = ask("lab.test.", Rtype::DS).recursive().of(&setup).await;
    assert_eq!(shape(&reply), "NOERROR aa |  | test. SOA | ");
    // The upper side is not ours: the resolver knows, or, where it may not be asked, the child says no.
    let all_resolved = Settings {
        special: Special::default(),
        zones: setup.settings.load().zones.clone(),
        access: setup.settings.load().access.clone(),
        udp_size_max: 1232,
        ..Settings::default()
    };
    setup.settings.store(Arc::new(all_resolved));
    let reply = ask("lab.test.", Rtype::DS).recursive().of(&setup).await;
    assert!(!reply.authoritative);
    assert_eq!(setup.told.asked.lock().unwrap().len(), 1);
    let reply = ask("lab.test.", Rtype::DS).of(&setup).await;
    assert_eq!(shape(&reply), "NOERROR aa |  | lab.test. SOA | ");
}

#[tokio::test]
async fn broken_zones_fail_and_do_not_fall_through() {
    let setup = setup(resolution("unused.", Security::Insecure));
    let query = ask("www.broken.test.", Rtype::A).recursive();
    let reply = query.dnssec().of(&setup).await;
    assert_eq!(reply.rcode, Rcode::SERVFAIL);
    assert_eq!(reply.errors()[0].code, Ede::NOT_READY);
    assert_eq!(setup.told.asked.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn what_leads_out_of_own_zones_is_resolved() {
    let setup = setup(resolution("www.elsewhere.example.", Security::Secure));
    let reply = ask("away.lab.test.", Rtype::A)
        .recursive()
        .dnssec()
        .of(&setup)
        .await;
    let expected = "NOERROR aa | away.lab.test. CNAME, www.elsewhere.example. A, \
                    www.elsewhere.example. RRSIG | www.elsewhere.example. NSEC | ";
    assert_eq!(shape(&reply), expected);
    assert!(reply.recursion_available && !reply.authentic_data);
    let below_a_cut = ask("a.sub.lab.test.", Rtype::A)
        .recursive()
        .of(&setup)
        .await;
    assert!(!below_a_cut.authoritative);
    let asked = setup.told.asked.lock().unwrap();
    let names: Vec<_> = asked.iter().map(|(q, _)| q.name.to_string()).collect();
    assert_eq!(names, ["www.elsewhere.example.", "a.sub.lab.test."]);
}

// The deepest zone of the configuration decides.
#[tokio::test]
async fn forwarded_zones_below_own_ones_are_left_to_the_resolver() {
    let setup = setup(resolution("x.corp.lab.test.", Security::Insecure));
    let forwarded = ["corp.lab.test.", "above.", "test."].map(name);
    let before = setup.settings.load();
    setup.settings.store(Arc::new(Settings {
        access: before.access.clone(),
        zones: before.zones.clone().without_forwarded(&forwarded),
        udp_size_max: 1232,
        special: Special::default(),
        ..Settings::default()
    }));
    for (query, expected) in [
        (
            ask("x.corp.lab.test.", Rtype::A).recursive(),
            "NOERROR | x.corp.lab.test. A |  | ",
        ),
        (
            ask("corp.lab.test.", Rtype::DS).recursive(),
            "NXDOMAIN aa |  | lab.test. SOA | ",
        ),
        (
            ask("www.lab.test.", Rtype::A).recursive(),
            "NOERROR aa | www.lab.test. A |  | ",
        ),
        // Who may not use the resolver hears what the own zone knows.
        (
            ask("x.corp.lab.test.", Rtype::A),
            "NXDOMAIN aa |  | lab.test. SOA | ",
        ),
    ] {
        let question = query.query.question.clone();
        assert_eq!(shape(&query.of(&setup).await), expected, "{question:?}");
    }
    assert_eq!(setup.told.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn access_lists_are_kept() {
    let setup = setup(resolution("x.", Security::Secure));
    let check = async |query: Ask, expected: Rcode| {
        let reply = query.dnssec().of(&setup).await;
        assert_eq!(reply.rcode, expected);
        if expected == Rcode::REFUSED {
            assert_eq!(reply.errors()[0].code, Ede::PROHIBITED);
        }
    };
    check(ask("x.", Rtype::A).recursive(), Rcode::NOERROR).await;
    check(ask("x.", Rtype::A).from("192.0.2.10:1"), Rcode::REFUSED).await;
    check(
        ask("www.lab.test.", Rtype::A).from("192.0.2.10:1"),
        Rcode::NOERROR,
    )
    .await;
    check(
        ask("www.lab.test.", Rtype::A).from("10.0.0.1:1"),
        Rcode::REFUSED,
    )
    .await;
    check(ask("x.", Rtype::AXFR).recursive(), Rcode::REFUSED).await;
    assert_eq!(setup.metrics.queries_refused_total.value(), 3);
}

#[tokio::test]
async fn recursion_follows_the_bits() {
    let setup = setup(resolution("x.", Security::Secure));
    let query = ask("x.", Rtype::A).recursive();
    query.with(|m| m.checking_disabled = true).of(&setup).await;
    let query = ask("x.", Rtype::A).recursive();
    query.with(|m| m.recursion_desired = false).of(&setup).await;
    let asked = setup.told.asked.lock().unwrap();
    let options: Vec<_> = asked.iter().map(|(_, options)| *options).collect();
    let option = |checking_disabled, recursion| Options {
        checking_disabled,
        recursion,
        asker: Asker::of([127, 0, 0, 1].into()),
    };
    assert_eq!(options, [option(true, true), option(false, false)]);
}

// RFC 6840 sections 5.7 to 5.9, RFC 4035 section 3.2.
#[tokio::test]
async fn ad_only_where_it_is_earned_and_understood() {
    let bogus = || Security::Bogus(Ede::new(Ede::SIGNATURE_EXPIRED, "example."));
    let check = async |security: Security, dnssec, ad, cd, expected: (Rcode, bool, usize)| {
        let setup = setup(resolution("x.", security));
        let query = ask("x.", Rtype::A).recursive().with(|m| {
            m.authentic_data = ad;
            m.checking_disabled = cd;
            m.edns = Some(Edns::new(1232, dnssec));
        });
        let reply = query.of(&setup).await;
        let got = (reply.rcode, reply.authentic_data, reply.answer.len());
        assert_eq!(got, expected);
        assert_eq!(reply.authority.is_empty(), !dnssec || expected.2 == 0);
        assert_eq!(reply.checking_disabled, cd);
        reply
    };
    let ok = Rcode::NOERROR;
    check(Security::Secure, false, false, false, (ok, false, 1)).await;
    check(Security::Secure, true, false, false, (ok, true, 2)).await;
    check(Security::Secure, false, true, false, (ok, true, 1)).await;
    check(Security::Secure, true, true, true, (ok, false, 2)).await;
    check(Security::Insecure, true, true, false, (ok, false, 2)).await;
    check(bogus(), true, true, true, (ok, false, 2)).await;
    let reply = check(bogus(), true, true, false, (Rcode::SERVFAIL, false, 0)).await;
    assert_eq!(
        reply.errors(),
        [Ede::new(Ede::SIGNATURE_EXPIRED, "example.")]
    );
    let reply = check(Security::SecureAsOf, true, true, false, (ok, false, 2)).await;
    assert_eq!(reply.answer[0].ttl, 30);
    let codes: Vec<_> = reply.errors().iter().map(|e| e.code).collect();
    assert_eq!(codes, [Ede::STALE_ANSWER, Ede::SIGNATURE_EXPIRED]);
}

// RFC 8914 section 3: extended errors yield to data; first their texts, then they themselves, and never a record.
#[tokio::test]
async fn extended_errors_yield_to_records() {
    let text = "x".repeat(100);
    // The answer grows until the text, and then the error, has no room left; at the end the answer itself.
    let mut seen = Vec::new();
    for len in 300..500 {
        let mut told = resolution("www.example.", Security::Insecure);
        told.authority.clear();
        told.errors = vec![Ede::new(Ede::OTHER, text.clone())];
        let padding: Vec<u8> = [
            &[250][..],
            &[b'p'; 250],
            &[(len - 251) as u8],
            &vec![b'p'; len - 251],
        ]
        .concat();
        told.answer = vec![RrSet::single(
            name("www.example."),
            Rtype::TXT,
            60,
            padding.into(),
        )];
        let query = ask("www.example.", Rtype::TXT)
            .recursive()
            .with(|m| m.edns = Some(Edns::new(512, true)));
        let reply = query.of(&setup(told)).await;
        let errors = reply.errors();
        let state = (
            errors.len(),
            errors.first().map_or(0, |e| e.text.len()),
            reply.truncated,
        );
        if seen.last() != Some(&state) {
            seen.push(state);
        }
    }
    let truncated = (1, 100, true);
    assert_eq!(
        seen,
        [(1, 100, false), (1, 0, false), (0, 0, false), truncated]
    );
}

// RFC 6891 sections 6.1.1, 6.2.3 and 7.
#[tokio::test]
async fn sizes_and_opt_follow_the_query() {
    let setup = setup(resolution("x.", Security::Secure));
    let check = async |edns: Option<u16>, tcp, truncated| {
        let mut query = ask("big.lab.test.", Rtype::TXT);
        query.query.edns = edns.map(|size| Edns::new(size, false));
        if tcp {
            query = query.tcp();
        }
        let reply = query.of(&setup).await;
        assert_eq!(reply.truncated, truncated, "{edns:?} {tcp}");
        assert_eq!(reply.answer.is_empty(), truncated);
        assert_eq!(reply.edns.map(|e| e.udp_size), edns.map(|_| 1232));
    };
    check(None, false, true).await;
    check(Some(0), false, true).await;
    check(Some(512), false, true).await;
    check(Some(1232), false, false).await;
    check(Some(65_535), false, false).await;
    check(None, true, false).await;
    let version = ask("www.lab.test.", Rtype::A).with(|m| {
        m.edns = Some(Edns {
            version: 1,
            ..Edns::new(4096, false)
        })
    });
    let reply = version.of(&setup).await;
    assert_eq!(
        (reply.rcode, reply.edns.unwrap().version),
        (Rcode::BADVERS, 0)
    );
}

#[tokio::test]
async fn without_a_resolver_only_own_zones_are_answered() {
    let mut setup = setup(resolution("x.", Security::Secure));
    setup.pipeline.resolver = None;
    let reply = ask("x.", Rtype::A).recursive().of(&setup).await;
    assert_eq!(
        (reply.rcode, reply.recursion_available),
        (Rcode::REFUSED, false)
    );
    let reply = ask("a.sub.lab.test.", Rtype::A)
        .recursive()
        .of(&setup)
        .await;
    assert_eq!(reply.authority.len(), 1);
}

// RFC 6303 section 3, RFC 6761 section 6.
#[tokio::test]
async fn special_names_are_answered_before_anybody_is_asked() {
    let setup = setup(resolution("x.", Security::Secure));
    for (query, expected) in [
        (
            ask("printer.local.", Rtype::A).recursive().dnssec(),
            "NXDOMAIN aa |  | local. SOA | ",
        ),
        (
            ask("LocalHost.", Rtype::A).recursive(),
            "NOERROR aa | LocalHost. A |  | ",
        ),
        // RD does not matter.
        (
            ask("localhost.", Rtype::TXT).from("127.0.0.1:5"),
            "NOERROR aa |  | localhost. SOA | ",
        ),
        (
            ask("none.test.", Rtype::A).recursive(),
            "NXDOMAIN aa |  | test. SOA | ",
        ),
        // An own zone keeps its part, and its clients.
        (
            ask("www.lab.test.", Rtype::A).recursive(),
            "NOERROR aa | www.lab.test. A |  | ",
        ),
        (
            ask("www.lab.test.", Rtype::A).from("192.0.2.10:1"),
            "NOERROR aa | www.lab.test. A |  | ",
        ),
        (
            ask("localhost.", Rtype::A).from("192.0.2.10:1"),
            "REFUSED |  |  | ",
        ),
    ] {
        let question = query.query.question.clone();
        let reply = query.of(&setup).await;
        assert_eq!(shape(&reply), expected, "{question:?}");
        assert!(!reply.authentic_data);
    }
    assert_eq!(setup.told.asked.lock().unwrap().len(), 0);
    assert_eq!(setup.metrics.answers_special_total.value(), 4);
}

/// Holds `.` and `deep.lab.test.`, and answers nothing.
struct Others;

impl LocalZones for Others {
    fn cover(&self, question: &Question, _: Now) -> Option<Cover> {
        let deep = name("deep.lab.test.");
        let zone = match question.name.is_within(&deep) {
            true => deep,
            false => Name::root(),
        };
        let prefer = Prefer::Hedge;
        Some(Cover { zone, prefer })
    }

    fn answer(&self, _: &Name, _: &Question, _: Now) -> Option<LocalAnswer> {
        None
    }
}

#[test]
fn resolution_starts_at_own_zones() {
    let setup = setup(resolution("x.", Security::Secure));
    let ports = OwnFirst::new(setup.settings, Arc::new(Others));
    let now = Now::default();
    let check = |owner: &str, rtype, zone: &str, prefer, answer: Option<LookupKind>| {
        let question = Question::new(name(owner), rtype);
        let cover = ports.cover(&question, now).unwrap();
        assert_eq!(
            (cover.zone.to_string().as_str(), cover.prefer),
            (zone, prefer)
        );
        let said = ports.answer(&cover.zone, &question, now);
        assert_eq!(said.map(|said| said.lookup.kind), answer, "{owner} {rtype}");
    };
    let referral = Some(LookupKind::Referral(name("sub.lab.test.")));
    check(
        "x.sub.lab.test.",
        Rtype::A,
        "lab.test.",
        Prefer::Now,
        referral,
    );
    check(
        "child.lab.test.",
        Rtype::A,
        "child.lab.test.",
        Prefer::Now,
        Some(LookupKind::NoData),
    );
    check(
        "child.lab.test.",
        Rtype::DS,
        "lab.test.",
        Prefer::Now,
        Some(LookupKind::NoData),
    );
    // The zone above is the special name.
    check(
        "lab.test.",
        Rtype::DS,
        "test.",
        Prefer::Now,
        Some(LookupKind::NoData),
    );
    // Aliases and name servers may lead to special names.
    check(
        "a.onion.",
        Rtype::A,
        "onion.",
        Prefer::Now,
        Some(LookupKind::NxDomain),
    );
    check("x.broken.test.", Rtype::A, ".", Prefer::Hedge, None);
    check(
        "x.deep.lab.test.",
        Rtype::A,
        "deep.lab.test.",
        Prefer::Hedge,
        None,
    );
    check("example.", Rtype::A, ".", Prefer::Hedge, None);
}

mod chaos;
mod limits;
mod wire;

/// A client with many transfers leaves room for its neighbours, a network for others, and who is turned away is told and counted.
#[tokio::test]
async fn no_client_takes_all_transfers() {
    use super::transfer::{
        TRANSFERS_MAX, TRANSFERS_PER_ADDRESS_MAX, TRANSFERS_PER_NETWORK_MAX, Transfers,
    };
    let mut setup = setup(resolution("unused.", Security::Insecure));
    let transfers = Transfers::new(None, Clock::system(), setup.metrics.clone());
    setup.pipeline = setup.pipeline.with_transfers(transfers);
    let mut settings = (**setup.settings.load()).clone();
    settings.access = AccessList::new(&config::Access {
        allow_transfer: vec![config::Peer::net("0.0.0.0/0".parse().unwrap())],
        ..config::Access::default()
    });
    setup.settings.store(Arc::new(settings));
    let mut running: Vec<Box<Outgoing>> = Vec::new();
    // How many of a hundred questions are granted; the others hear why not.
    let mut begin = |from: &str| {
        let mut granted = 0;
        for _ in 0..100 {
            let asked = ask("lab.test.", Rtype::AXFR)
                .tcp()
                .from(&format!("{from}:4000"))
                .with(|m| m.edns = Some(Edns::new(1232, false)));
            let wire = asked.query.encode(MESSAGE_LEN_MAX);
            match setup.pipeline.begin(&wire, asked.client) {
                Step::Stream(outgoing) => {
                    granted += 1;
                    running.push(outgoing);
                }
                Step::Done(reply) => {
                    let reply = Message::parse(&reply.unwrap()).unwrap();
                    assert_eq!(reply.rcode, Rcode::SERVFAIL);
                    let errors: Vec<_> = reply.edns.unwrap().errors().collect();
                    assert_eq!(errors[0].code, Ede::NOT_READY);
                }
                Step::Wait(_) => panic!("nothing here waits"),
            }
        }
        granted
    };
    assert_eq!(begin("192.0.2.1"), TRANSFERS_PER_ADDRESS_MAX);
    assert_eq!(begin("192.0.2.2"), TRANSFERS_PER_ADDRESS_MAX);
    let left = TRANSFERS_PER_NETWORK_MAX - 2 * TRANSFERS_PER_ADDRESS_MAX;
    assert_eq!(begin("192.0.2.3"), left, "of the same network");
    assert_eq!(begin("198.51.100.1"), TRANSFERS_PER_ADDRESS_MAX);
    let counted = setup.metrics.transfers_out_crowded_total.value();
    let granted = TRANSFERS_PER_NETWORK_MAX + TRANSFERS_PER_ADDRESS_MAX;
    assert_eq!(counted, 400 - granted as u64);
    assert_eq!(setup.metrics.transfers_out_refused_total.value(), counted);
    assert!(granted < TRANSFERS_MAX, "others find room");
    running.clear();
}

/// Remembers what it sees.
#[derive(Default)]
struct Looker(Mutex<Vec<Exchange>>);

/// A query, and its answer if it had one.
type Exchange = (Vec<u8>, Option<Vec<u8>>);

impl watch::Watch for Looker {
    fn query(&self, query: &[u8], client: &Client) -> watch::Seen {
        watch::Seen {
            query: query.to_vec(),
            client: client.clone(),
            at: Duration::ZERO,
            wall: Duration::ZERO,
        }
    }

    fn answer(&self, seen: watch::Seen, answer: Option<&[u8]>) {
        let answer = answer.map(<[u8]>::to_vec);
        self.0.lock().unwrap().push((seen.query, answer));
    }
}

#[tokio::test]
async fn who_looks_on_sees_every_query_with_its_answer() {
    let mut setup = setup(resolution("www.away.example.", Security::Insecure));
    let looker = Arc::new(Looker::default());
    let clock = Clock::starting_at(Duration::ZERO);
    let pipeline = setup.pipeline.with_ready_answers(1 << 20, clock);
    setup.pipeline = pipeline.with_watch(looker.clone());
    assert!(
        setup.pipeline.ready_answers(1).is_none(),
        "they would pass unseen"
    );
    // Answered at once, waited for, and dropped.
    let wires = [
        ask("www.lab.test.", Rtype::A).query.encode(MESSAGE_LEN_MAX),
        (ask("www.away.example.", Rtype::A).recursive().query).encode(MESSAGE_LEN_MAX),
        b"no query".to_vec(),
    ];
    for wire in wires {
        let answer = setup.pipeline.answer(&wire, client("127.0.0.1:4000")).await;
        let seen = looker.0.lock().unwrap().pop();
        assert_eq!(seen, Some((wire, answer)));
        assert!(looker.0.lock().unwrap().is_empty());
    }
}
