//! Addresses against the table of RFC 6052, and answers through the whole pipeline.

use std::net::SocketAddr;

use super::*;
use crate::dns::message::MESSAGE_LEN_MAX;
use crate::dns::{Edns, Message};
use crate::query::acl::AccessList;
use crate::query::own::{OwnZone, OwnZones};
use crate::query::quick::Found;
use crate::query::{Client, Pipeline, Settings, Step, Transport};
use crate::resolve::Sources;
use crate::zone::{Builder, parse};

fn dns64(prefix: &str) -> Dns64 {
    let config = config::Dns64 {
        prefix: Some(prefix.parse().unwrap()),
        clients: vec!["192.0.2.0/24".parse().unwrap()],
        ..config::Dns64::default()
    };
    Dns64::new(&config).unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

// RFC 6052 section 2.4.
#[test]
fn addresses_are_those_of_the_rfc() {
    for (prefix, expected) in [
        ("2001:db8::/32", "2001:db8:c000:221::"),
        ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
        ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
        ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
        ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
        ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
    ] {
        let dns64 = dns64(prefix);
        let four = "192.0.2.33".parse().unwrap();
        let six: Ipv6Addr = expected.parse().unwrap();
        assert_eq!(dns64.embed(four), six, "{prefix}");
        assert_eq!(dns64.extract(six), Some(four), "{prefix}");
        assert_eq!(dns64.extract("2001:db9::1".parse().unwrap()), None);
    }
}

#[test]
fn names_of_addresses_are_read() {
    let whole = "1.2.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.B.9.f.f.4.6.0.0.ip6.ARPA.";
    let read = address_of(&name(whole));
    assert_eq!(read, "64:ff9b::192.0.2.33".parse().ok());
    for wrong in [
        ".",
        "ip6.arpa.",
        &whole[2..],
        &whole.replace("ip6", "ip7"),
        &whole.replacen('1', "g", 1),
        &whole.replacen('1', "12", 1),
        &format!("x.{whole}"),
    ] {
        assert_eq!(address_of(&name(wrong)), None, "{wrong}");
    }
}

/// Says what it is told of each type, and whether without waiting.
struct Told {
    aaaa: Resolution,
    a: Resolution,
    at_once: bool,
}

impl Told {
    fn of(&self, question: &Question) -> Resolution {
        match question.rtype {
            Rtype::AAAA => self.aaaa.clone(),
            _ => self.a.clone(),
        }
    }
}

impl Resolve for Told {
    fn cached(&self, question: &Question, _: Options) -> Option<Resolution> {
        // Half of it is known at once otherwise: what is missing has to be waited for.
        (self.at_once || question.rtype == Rtype::AAAA).then(|| self.of(question))
    }

    fn resolve(&self, question: Question, _: Options) -> BoxFuture<'_, Resolution> {
        Box::pin(std::future::ready(self.of(&question)))
    }

    fn standing(&self) -> Option<u64> {
        Some(1)
    }
}

fn said(rcode: Rcode, security: Security, answer: &[(Rtype, &[&[u8]])]) -> Resolution {
    let sets = answer.iter().map(|(rtype, rdatas)| RrSet {
        rdatas: rdatas.iter().map(|rdata| (*rdata).into()).collect(),
        sigs: vec![vec![0; 20].into()],
        ..empty_set(&name("www.example."), *rtype, 3600)
    });
    let soa = RrSet::single(name("example."), Rtype::SOA, 300, vec![0; 22].into());
    Resolution {
        rcode,
        answer: sets.collect(),
        authority: vec![soa],
        additional: Vec::new(),
        security,
        errors: Vec::new(),
        sources: Sources::default(),
    }
}

const FOUR: &[u8] = &[198, 41, 0, 4];
const PRIVATE: &[u8] = &[10, 0, 0, 1];
const SIX: &[u8] = &[0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// `::ffff:198.41.0.4`
const MAPPED: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 198, 41, 0, 4];

fn denial() -> Resolution {
    said(Rcode::NOERROR, Security::Secure, &[])
}

fn address() -> Resolution {
    said(Rcode::NOERROR, Security::Secure, &[(Rtype::A, &[FOUR])])
}

struct Setup {
    pipeline: Pipeline,
    metrics: Arc<Metrics>,
}

fn setup(aaaa: Resolution, a: Resolution, at_once: bool) -> Setup {
    let access = config::Access {
        allow: vec![
            "192.0.2.0/24".parse().unwrap(),
            "198.51.100.0/24".parse().unwrap(),
        ],
        ..config::Access::default()
    };
    let mut own = Builder::new(name("own.test."));
    let zone =
        b"@ 60 SOA ns h 1 1 1 1 60\n@ 60 NS ns\nns 60 A 198.41.0.4\nsix 60 AAAA 2001:db8::1\n";
    for record in parse::records(&zone[..], "test", Some(&name("own.test."))) {
        own.add(record.unwrap()).unwrap();
    }
    let own = OwnZone::Loaded(Arc::new(own.finish().unwrap()));
    let settings = Settings {
        access: AccessList::new(&access),
        zones: OwnZones::new([(name("own.test."), own)]),
        udp_size_max: 1232,
        ..Settings::default()
    };
    let settings = Arc::new(arc_swap::ArcSwap::from_pointee(settings));
    let metrics = Arc::new(Metrics::default());
    let told = Arc::new(Told { aaaa, a, at_once });
    let pipeline = Pipeline::new(settings, Some(told), metrics.clone());
    Setup {
        pipeline: pipeline.with_dns64(Some(dns64("64:ff9b::/96"))),
        metrics,
    }
}

const CLIENT: &str = "192.0.2.1:4000";
const OTHER: &str = "198.51.100.1:4000";

impl Setup {
    async fn ask(&self, owner: &str, rtype: Rtype, client: &str, bits: [bool; 2]) -> Message {
        let mut query = Message::query(9, Question::new(name(owner), rtype));
        query.recursion_desired = true;
        let [dnssec_ok, checking_disabled] = bits;
        query.checking_disabled = checking_disabled;
        query.authentic_data = true;
        query.edns = Some(Edns::new(1232, dnssec_ok));
        let client: SocketAddr = client.parse().unwrap();
        let client = Client::new(client, Transport::Udp);
        let wire = query.encode(MESSAGE_LEN_MAX);
        let reply = self.pipeline.answer(&wire, client).await.unwrap();
        Message::parse(&reply).unwrap()
    }

    async fn aaaa(&self) -> Message {
        let no_bits = [false; 2];
        self.ask("www.example.", Rtype::AAAA, CLIENT, no_bits).await
    }
}

/// Type, TTL and last octets of each record, and whether AD and the mark are there.
fn shape(reply: &Message) -> String {
    let record = |r: &crate::dns::Record| {
        let end = &r.rdata[r.rdata.len().saturating_sub(4)..];
        format!("{} {} {end:?}", r.rtype, r.ttl)
    };
    let records: Vec<String> = reply.answer.iter().map(record).collect();
    let is_marked = reply.errors().iter().any(|e| e.code == Ede::SYNTHESIZED);
    let mark = |is: bool, text: &'static str| if is { text } else { "" };
    format!(
        "{} [{}]{}{}",
        reply.rcode,
        records.join(", "),
        mark(reply.authentic_data, " AD"),
        mark(is_marked, " made"),
    )
}

// RFC 6147 sections 5.1.2 to 5.1.7 and 5.5.
#[tokio::test]
async fn addresses_are_made_where_there_are_none() {
    use Security::{Insecure, Secure, SecureAsOf};
    let bogus = || Security::Bogus(Ede::new(Ede::BOGUS, ""));
    let no_error = |security| said(Rcode::NOERROR, security, &[]);
    let four =
        |security, addresses: &[&[u8]]| said(Rcode::NOERROR, security, &[(Rtype::A, addresses)]);
    let six =
        |security, addresses: &[&[u8]]| said(Rcode::NOERROR, security, &[(Rtype::AAAA, addresses)]);
    let failed = said(Rcode::SERVFAIL, Insecure, &[]);
    let nothing = said(Rcode::NXDOMAIN, Secure, &[]);
    let made = "NOERROR [AAAA 300 [198, 41, 0, 4]]";
    for (aaaa, a, expected) in [
        (no_error(Secure), address(), format!("{made} AD made")),
        (no_error(Insecure), address(), format!("{made} made")),
        (
            no_error(Secure),
            four(Insecure, &[FOUR]),
            format!("{made} made"),
        ),
        // What was verified earlier lasts no longer than that.
        (
            no_error(SecureAsOf),
            address(),
            "NOERROR [AAAA 30 [198, 41, 0, 4]] made".into(),
        ),
        // An error is no denial: no AD.
        (failed.clone(), address(), format!("{made} made")),
        // What does not validate is no evidence, on neither side.
        (no_error(bogus()), address(), "SERVFAIL []".into()),
        (
            no_error(Secure),
            four(bogus(), &[FOUR]),
            "NOERROR [] AD".into(),
        ),
        // There is one; there is no such name; there is neither.
        (
            six(Secure, &[SIX]),
            address(),
            "NOERROR [AAAA 3600 [0, 0, 0, 1]] AD".into(),
        ),
        (nothing, address(), "NXDOMAIN [] AD".into()),
        (no_error(Secure), no_error(Secure), "NOERROR [] AD".into()),
        (failed.clone(), failed, "SERVFAIL []".into()),
        // Excluded addresses are none, and what is left without them is not what was signed.
        (
            six(Secure, &[MAPPED]),
            address(),
            "NOERROR [AAAA 300 [198, 41, 0, 4]] made".into(),
        ),
        (
            six(Secure, &[MAPPED, SIX]),
            address(),
            "NOERROR [AAAA 3600 [0, 0, 0, 1]] made".into(),
        ),
        // The well-known prefix is for public addresses.
        (
            no_error(Secure),
            four(Secure, &[PRIVATE]),
            "NOERROR [] AD".into(),
        ),
        (
            no_error(Secure),
            four(Secure, &[PRIVATE, FOUR]),
            format!("{made} AD made"),
        ),
    ] {
        for at_once in [true, false] {
            let setup = setup(aaaa.clone(), a.clone(), at_once);
            assert_eq!(shape(&setup.aaaa().await), expected, "{aaaa:?} {a:?}");
            let count = u64::from(expected.contains("[198, 41, 0, 4]"));
            assert_eq!(setup.metrics.answers_dns64_total.value(), count);
        }
    }
}

#[tokio::test]
async fn who_validates_or_is_no_client_gets_the_truth() {
    let setup = setup(denial(), address(), true);
    for (client, bits, is_made) in [
        (CLIENT, [false, false], true),
        (CLIENT, [true, false], true),
        (CLIENT, [false, true], true),
        // RFC 6147 section 5.5 rule 3.
        (CLIENT, [true, true], false),
        (OTHER, [false, false], false),
    ] {
        let reply = setup.ask("www.example.", Rtype::AAAA, client, bits).await;
        assert_eq!(!reply.answer.is_empty(), is_made, "{client} {bits:?}");
        // A made record has no signature to go with it.
        assert!(reply.answer.iter().all(|r| r.rtype == Rtype::AAAA));
    }
    let other_type = setup
        .ask("www.example.", Rtype::A, CLIENT, [false; 2])
        .await;
    assert_eq!(shape(&other_type), "NOERROR [A 3600 [198, 41, 0, 4]] AD");
}

#[tokio::test]
async fn what_is_ready_for_one_is_not_given_to_the_other() {
    let clock = crate::clock::Clock::starting_at(std::time::Duration::from_secs(1_000_000));
    let pipeline = setup(denial(), address(), true).pipeline;
    let pipeline = pipeline.with_ready_answers(1 << 22, clock);
    let mut kept = pipeline.ready_answers(1).unwrap();
    let mut ask = |client: &str| {
        let query = Message {
            recursion_desired: true,
            ..Message::query(9, Question::new(name("www.example."), Rtype::AAAA))
        };
        let wire = query.encode(MESSAGE_LEN_MAX);
        let client: SocketAddr = client.parse().unwrap();
        pipeline.begin_turn(&mut kept);
        let look = pipeline.look(&wire, client, &kept).unwrap();
        let mut ready = Vec::new();
        let (reply, is_ready) = match pipeline.answer_ready(&look, &mut kept, &mut ready) {
            Found::Answered => (ready, true),
            found => {
                let client = Client::new(client, Transport::Udp);
                match pipeline.begin_and_keep(&wire, client, found, &mut kept) {
                    Step::Done(Some(reply)) => (reply, false),
                    _ => panic!("it is at hand"),
                }
            }
        };
        (Message::parse(&reply).unwrap().answer.len(), is_ready)
    };
    for _ in 0..3 {
        ask(OTHER);
        assert_eq!(ask(CLIENT).0, 1);
    }
    assert_eq!(ask(OTHER), (0, true));
}

#[test]
fn what_is_made_is_marked_off_from_the_names_around() {
    let names = dns64("2001:db8:122:344::/64").landmarks();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let reverse = "4.4.3.0.2.2.1.0.8.b.d.0.1.0.0.2.ip6.arpa.";
    assert_eq!(names, [reverse, IPV4_ONLY]);
}

#[tokio::test]
async fn own_zones_get_addresses_too() {
    let setup = setup(denial(), address(), true);
    let ask = async |owner, bits| shape(&setup.ask(owner, Rtype::AAAA, CLIENT, bits).await);
    let no_bits = [false; 2];
    let made = "NOERROR [AAAA 60 [198, 41, 0, 4]] made";
    assert_eq!(ask("ns.own.test.", no_bits).await, made);
    assert_eq!(ask("ns.own.test.", [true, false]).await, "NOERROR []");
    assert_eq!(
        ask("six.own.test.", no_bits).await,
        "NOERROR [AAAA 60 [0, 0, 0, 1]]"
    );
    assert_eq!(ask("none.own.test.", no_bits).await, "NXDOMAIN []");
}

// RFC 6147 section 5.3.1, RFC 7050, RFC 8880.
#[tokio::test]
async fn the_way_back_and_the_name_of_the_prefix() {
    let mut pointer = said(
        Rcode::NOERROR,
        Security::Secure,
        &[(Rtype::PTR, &[b"\x01x\0"])],
    );
    pointer.answer[0].name = name("4.0.41.198.in-addr.arpa.");
    let setup = setup(denial(), pointer, true);
    let back = "4.0.0.0.9.2.6.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa.";
    let reply = setup.ask(back, Rtype::PTR, CLIENT, [false; 2]).await;
    let owners: Vec<String> = reply.answer.iter().map(|r| r.name.to_string()).collect();
    assert_eq!(owners, [back, "4.0.41.198.in-addr.arpa."]);
    assert_eq!(reply.answer[0].rtype, Rtype::CNAME);
    let other = setup.ask(back, Rtype::PTR, OTHER, [false; 2]).await;
    assert_eq!(other.answer.len(), 1);
    let prefix = setup.ask(IPV4_ONLY, Rtype::AAAA, CLIENT, [false; 2]).await;
    let expected = "NOERROR [AAAA 600 [192, 0, 0, 170], AAAA 600 [192, 0, 0, 171]]";
    assert_eq!(shape(&prefix), expected);
    let four = setup.ask(IPV4_ONLY, Rtype::A, CLIENT, [false; 2]).await;
    assert_eq!(shape(&four), expected.replace("AAAA", "A"));
    let other = setup.ask(IPV4_ONLY, Rtype::AAAA, OTHER, [false; 2]).await;
    assert_eq!(shape(&other), "NOERROR [] AD");
}
