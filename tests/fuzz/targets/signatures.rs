//! Transaction signatures, and the NOTIFY that may carry them.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use holdfast::clock::Clock;
use holdfast::config::{Access, Config, MirrorConfig, Peer, Source};
use holdfast::dns::message::{HEADER_LEN, MESSAGE_LEN_MAX};
use holdfast::dns::tsig::{self, Algorithm, Key, Keyring, Received};
use holdfast::dns::{Message, Name, Rcode};
use holdfast::metrics::Metrics;
use holdfast::mirror::source::Stream;
use holdfast::mirror::store::Ledger;
use holdfast::mirror::{BoxFuture, Connect, Deps, DsAnswer, Lookup, Mirrors};
use holdfast::query::acl::AccessList;
use holdfast::query::{Client, Pipeline, Settings, SharedSettings, Step, Transport};
use tokio::runtime::{Builder, Runtime};

/// When everything here happens, in seconds since 1970.
pub const TSIG_AT_S: u64 = 1_785_585_600;

/// The key that is known here.
pub fn tsig_key() -> Arc<Key> {
    let name: Name = "hub-key.".parse().expect("a name");
    Arc::new(Key::new(&name, Algorithm::HmacSha256, b"sixteen octets!!"))
}

fn keyring() -> Keyring {
    [tsig_key()].into_iter().collect()
}

/// A request is unsigned, right, refused or malformed; what is refused gets a readable answer that says so in bounded octets; what is
/// right was signed with the key, so that it is wrong under another. As an answer nothing is taken that was not signed for its
/// request. Input: a message.
pub fn tsig(data: &[u8]) -> bool {
    let mut verifier = tsig::sign_request(&tsig_key(), &mut vec![0; HEADER_LEN], TSIG_AT_S);
    assert!(
        verifier.take(data, TSIG_AT_S).is_err(),
        "nobody signed this"
    );
    assert!(verifier.finish().is_err());
    let header = Message {
        response: true,
        ..Message::default()
    };
    match tsig::check_request(data, &keyring(), TSIG_AT_S) {
        Received::Unsigned | Received::Malformed => false,
        Received::Refused(refusal) => {
            let mut reply = header.encode(MESSAGE_LEN_MAX);
            let before = reply.len();
            refusal.append(&mut reply, TSIG_AT_S);
            assert!(reply.len() - before <= refusal.record_len());
            let read = Message::parse(&reply).expect("what was written is read");
            assert_eq!(
                (read.additional.len(), refusal.rcode()),
                (1, Rcode::NOTAUTH)
            );
            true
        }
        Received::Signed(mut signer) => {
            let other = Key::new(signer.key().name(), Algorithm::HmacSha256, b"another");
            let others = [Arc::new(other)].into_iter().collect();
            let elsewhere = tsig::check_request(data, &others, TSIG_AT_S);
            assert!(matches!(elsewhere, Received::Refused(_)));
            let mut reply = header.encode(MESSAGE_LEN_MAX);
            let before = reply.len();
            signer.sign(&mut reply, TSIG_AT_S);
            assert_eq!(reply.len() - before, signer.record_len());
            true
        }
    }
}

/// A source that is never there.
struct Nowhere;

impl Connect for Nowhere {
    fn connect(&self, _: std::net::SocketAddr) -> BoxFuture<'_, std::io::Result<Box<dyn Stream>>> {
        Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) })
    }
}

impl Lookup for Nowhere {
    fn addresses<'a>(&'a self, _: &'a Name) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        Box::pin(async { Err("nowhere".to_owned()) })
    }

    fn ds<'a>(&'a self, _: &'a Name) -> BoxFuture<'a, DsAnswer> {
        Box::pin(async { DsAnswer::Insecure })
    }
}

/// A pipeline with a mirror of `example.` whose source is 192.0.2.1; the access list has the key alone.
struct Site {
    runtime: Runtime,
    pipeline: Pipeline,
    metrics: Arc<Metrics>,
    _directory: tempfile::TempDir,
}

thread_local! {
    static SITE: RefCell<Site> = RefCell::new(site());
}

fn site() -> Site {
    let directory = tempfile::tempdir().expect("a directory");
    let metrics = Arc::new(Metrics::default());
    let clock = Clock::starting_at(Duration::from_secs(TSIG_AT_S));
    let (ledger, _) = Ledger::open(directory.path(), metrics.clone()).expect("a ledger");
    let mut mirror = MirrorConfig::new("example.".parse().expect("a name"));
    mirror.sources = vec![Source::Axfr {
        addr: ([192, 0, 2, 1], 53).into(),
        tsig: None,
        tls: None,
    }];
    let mut config = Config::default();
    config.server.data_dir = directory.path().to_owned();
    config.mirrors = vec![mirror];
    let deps = Deps {
        clock: clock.clone(),
        ledger: Arc::new(ledger),
        lookup: Arc::new(Nowhere),
        connect: Arc::new(Nowhere),
        metrics: metrics.clone(),
        anchors: Arc::new(ArcSwap::from_pointee(config.resolver.anchors.clone())),
        clock_is_unset: || false,
        seed: 1,
    };
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mirrors = runtime.block_on(Mirrors::start(&config, deps));
    let access = Access {
        allow_notify: vec![Peer::tsig("hub-key.".parse().expect("a name"))],
        ..Access::default()
    };
    let settings = Settings {
        access: AccessList::new(&access),
        keys: keyring(),
        udp_size_max: 1232,
        ..Settings::default()
    };
    let settings: SharedSettings = Arc::new(ArcSwap::from_pointee(settings));
    let pipeline = Pipeline::new(settings, None, metrics.clone()).with_mirrors(mirrors, clock);
    Site {
        runtime,
        pipeline,
        metrics,
        _directory: directory,
    }
}

/// NOTIFY is answered shortly, under its ID and opcode, and taken only for the mirrored zone, from its source or signed with the key.
/// Input: an octet whose lowest bit says whether the source sends it, then the message, which is made a NOTIFY.
pub fn notify(data: &[u8]) -> bool {
    let Some((how, message)) = data.split_first() else {
        return false;
    };
    let mut wire = message.to_vec();
    if let Some(flags) = wire.get_mut(2) {
        *flags = *flags & 0x07 | 4 << 3;
    }
    let of_source = how & 1 == 1;
    let from: IpAddr = [192, 0, 2, if of_source { 1 } else { 2 }].into();
    let client = Client::new((from, 53).into(), Transport::Udp);
    let signed = matches!(
        tsig::check_request(&wire, &keyring(), TSIG_AT_S),
        Received::Signed(_)
    );
    SITE.with_borrow(|site| {
        let _inside = site.runtime.enter();
        let before = site.metrics.notifies_taken_total.value();
        let reply = match site.pipeline.begin(&wire, client) {
            Step::Done(reply) => reply,
            Step::Wait(_) | Step::Stream(_) => panic!("a NOTIFY waits for nothing"),
        };
        let taken = site.metrics.notifies_taken_total.value() > before;
        let Some(reply) = reply else {
            assert!(wire.len() < HEADER_LEN && !taken);
            return false;
        };
        assert!(reply.len() <= 1232);
        let reply = Message::parse(&reply).expect("what was written is read");
        assert!(reply.response && reply.opcode == 4 && reply.answer.is_empty());
        assert_eq!(reply.id.to_be_bytes(), wire[..2]);
        assert_eq!(taken, reply.rcode == Rcode::NOERROR);
        if taken {
            let question = reply.question.as_ref().expect("a question");
            assert_eq!(question.name, "example.".parse().expect("a name"));
            assert!(of_source || signed);
        }
        taken
    })
}
