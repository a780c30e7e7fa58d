//! A primary server that can be made to misbehave, and a mirror of its zone, in virtual time.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use holdfast::clock::Clock;
use holdfast::config::{Anchor, Anchors, Catalog, Config, MirrorConfig, Source, TsigKey};
use holdfast::dns::edns::option;
use holdfast::dns::tsig::{self, Key, Received};
use holdfast::dns::{Edns, Message, Name, Rcode, Record, Rtype};
use holdfast::metrics::Metrics;
use holdfast::mirror::source::Stream;
use holdfast::mirror::source::spool::Handed;
use holdfast::mirror::store::Ledger;
use holdfast::mirror::{
    BoxFuture, Connect, Deps, DsAnswer, Generation, Lookup, Mirror, MirrorStatus, Mirrors,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::mangle::Mangle;
use crate::signer::{INCEPTION, Signer, name, record, rrs};

/// How many seeds a test of damage plays: `usual`, or as many as `MIRROR_SEEDS` says.
pub fn seeds(usual: u64) -> u64 {
    let wanted = std::env::var("MIRROR_SEEDS").ok();
    wanted.map_or(usual, |n| n.parse().expect("MIRROR_SEEDS is a number"))
}

/// When the tests begin: a day after the zones were signed.
pub const START_S: u64 = INCEPTION as u64 + 86_400;
/// Records per message of a transfer.
const CHUNK: usize = 5;

/// How a primary misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// It does not.
    #[default]
    None,
    /// Connections are refused.
    Refused,
    /// Connections hang.
    Silent,
    /// Nothing answers the SOA question.
    StallSoa,
    /// The transfer stops in the middle, the connection stays open.
    StallTransfer,
    /// The SOA is told, the transfer never begins.
    StallFirst,
    /// The connection is closed in the middle of the transfer.
    Truncate,
    /// The connection is closed after each answer, as some servers do.
    CloseAfterAnswer,
    /// Answers carry another identifier.
    WrongId,
    /// Answers carry another question.
    WrongQuestion,
    /// This response code to AXFR.
    RefuseTransfer,
    /// Random octets instead of a message.
    Garbage,
    /// An answer without records.
    Empty,
    /// The transfer does not begin with the SOA.
    NoSoa,
    /// The transfer never ends.
    Endless,
    /// One record each 19 seconds, for ever.
    Trickle,
    /// Records follow the SOA that ends the transfer.
    GoesOn,
    /// The SOA at the end is another one than at the start.
    Changed,
    /// Some octets of the transfer are others; which, the seed says.
    Damage(u64),
}

/// One primary server.
#[derive(Debug, Clone, Default)]
pub struct Primary {
    /// The zone as it is transferred, one SOA, in any order.
    pub records: Vec<Record>,
    /// How it misbehaves.
    pub fault: Fault,
    /// The answer to IXFR, record for record; without it there is none (NOTIMP).
    pub changes: Option<Vec<Record>>,
    /// Requests must be signed with it, and answers are (RFC 8945).
    pub key: Option<Arc<Key>>,
    /// What happens to the messages of a transfer on the way.
    pub mangle: Option<Mangle>,
    /// How long the server's own copy is good for (RFC 7314).
    pub expire_s: Option<u32>,
    /// Whole transfers that were asked for.
    pub transfers: usize,
    /// Changes that were asked for.
    pub ixfrs: usize,
    /// Connections that were asked for.
    pub connections: usize,
}

/// All primaries by address.
#[derive(Clone, Default)]
pub struct Net(Arc<Mutex<HashMap<SocketAddr, Primary>>>);

impl Net {
    pub fn set(&self, server: &str, change: impl FnOnce(&mut Primary)) {
        let mut all = self.0.lock().unwrap();
        change(all.entry(server.parse().unwrap()).or_default());
    }

    pub fn get(&self, server: &str) -> Primary {
        self.0.lock().unwrap()[&server.parse().unwrap()].clone()
    }
}

impl Connect for Net {
    fn connect(&self, server: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let fault = {
                let mut all = self.0.lock().unwrap();
                let primary = all.entry(server).or_default();
                primary.connections += 1;
                primary.fault
            };
            match fault {
                Fault::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
                Fault::Silent => std::future::pending::<()>().await,
                _ => {}
            }
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            tokio::spawn(serve(theirs, self.clone(), server));
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

/// Serves one connection.
pub async fn serve(mut link: impl Stream, net: Net, server: SocketAddr) {
    while let Ok(len) = link.read_u16().await {
        let mut query = vec![0; usize::from(len)];
        link.read_exact(&mut query).await.unwrap();
        let wire = query;
        let query = Message::parse(&wire).unwrap();
        let primary = {
            let mut all = net.0.lock().unwrap();
            let primary = all.get_mut(&server).unwrap();
            let asked = query.question.as_ref().unwrap().rtype;
            primary.transfers += usize::from(asked == Rtype::AXFR);
            primary.ixfrs += usize::from(asked == Rtype::IXFR);
            primary.clone()
        };
        let signer = match &primary.key {
            None => None,
            Some(key) => {
                match tsig::check_request(&wire, &[key.clone()].into_iter().collect(), START_S) {
                    Received::Signed(signer) => Some(signer),
                    other => {
                        if refuse_signature(&mut link, &query, other).await.is_err() {
                            return;
                        }
                        continue;
                    }
                }
            }
        };
        let answered =
            match primary.key.is_some() || primary.mangle.is_some() || primary.changes.is_some() {
                true => answer_well(&mut link, &query, &primary, signer).await,
                false => answer(&mut link, &query, &primary).await,
            };
        if answered.is_err() || primary.fault == Fault::CloseAfterAnswer {
            return;
        }
    }
}

async fn refuse_signature(
    link: &mut impl Stream,
    query: &Message,
    received: Received,
) -> io::Result<()> {
    let mut bytes = match &received {
        Received::Refused(refusal) => query.reply(refusal.rcode()).encode(65_535),
        _ => query.reply(Rcode::REFUSED).encode(65_535),
    };
    if let Received::Refused(refusal) = received {
        refusal.append(&mut bytes, START_S);
    }
    write(link, &bytes).await
}

/// Answers as a good server does, signed where there is a key; what becomes of it on the way is another matter.
async fn answer_well(
    link: &mut impl Stream,
    query: &Message,
    primary: &Primary,
    mut signer: Option<tsig::Signer>,
) -> io::Result<()> {
    let soa = (primary.records.iter()).find(|r| r.rtype == Rtype::SOA);
    let soa = soa.expect("a zone").clone();
    let (rcode, list) = match query.question.as_ref().unwrap().rtype {
        Rtype::SOA => (Rcode::NOERROR, vec![soa]),
        Rtype::IXFR => match &primary.changes {
            Some(changes) => (Rcode::NOERROR, changes.clone()),
            None => (Rcode::NOTIMP, Vec::new()),
        },
        _ => {
            let rest = primary.records.iter().filter(|r| r.rtype != Rtype::SOA);
            let list = [soa.clone()].into_iter().chain(rest.cloned()).chain([soa]);
            (Rcode::NOERROR, list.collect())
        }
    };
    let mut reply = query.reply(rcode);
    let is_soa_alone = list.len() == 1 && query.question.as_ref().unwrap().rtype == Rtype::SOA;
    if let (Some(expire_s), true) = (primary.expire_s, query.edns.is_some()) {
        let mut edns = Edns::new(1232, false);
        edns.options
            .push((option::EXPIRE, expire_s.to_be_bytes().to_vec()));
        reply.edns = Some(edns);
    }
    let chunks = list.chunks(CHUNK).map(<[Record]>::to_vec);
    let chunks: Vec<_> = if list.is_empty() {
        vec![Vec::new()]
    } else {
        chunks.collect()
    };
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for chunk in chunks {
        reply.answer = chunk;
        let mut bytes = reply.encode(65_535);
        if let Some(signer) = &mut signer {
            signer.sign(&mut bytes, START_S);
        }
        messages.push(bytes);
    }
    let (goes_on, announced) = match primary.mangle {
        Some(mangle) if !is_soa_alone => mangle.apply(&mut messages),
        _ => (true, None),
    };
    let last = messages.pop();
    for bytes in &messages {
        write(link, bytes).await?;
    }
    if let Some(last) = last {
        let len = announced.unwrap_or(last.len());
        link.write_u16(len as u16).await?;
        link.write_all(&last).await?;
    }
    match goes_on {
        true => Ok(()),
        false => Err(io::ErrorKind::Other.into()),
    }
}

async fn write(link: &mut impl Stream, bytes: &[u8]) -> io::Result<()> {
    link.write_u16(bytes.len() as u16).await?;
    link.write_all(bytes).await
}

/// Answers a query; an error closes the connection.
async fn answer(link: &mut impl Stream, query: &Message, primary: &Primary) -> io::Result<()> {
    let stop = || io::Error::from(io::ErrorKind::Other);
    let is_axfr = query.question.as_ref().unwrap().rtype == Rtype::AXFR;
    if query.question.as_ref().unwrap().rtype == Rtype::IXFR {
        return send(link, &query.reply(Rcode::NOTIMP)).await;
    }
    let soa = (primary.records.iter()).find(|r| r.rtype == Rtype::SOA);
    let mut reply = query.reply(Rcode::NOERROR);
    match primary.fault {
        Fault::WrongId => reply.id ^= 1,
        Fault::WrongQuestion => reply.question.as_mut().unwrap().name = name("other."),
        Fault::StallSoa => std::future::pending().await,
        Fault::Garbage if is_axfr => {
            let junk: Vec<u8> = (0..400u32).map(|i| (i * 7919 % 251) as u8).collect();
            link.write_u16(400).await?;
            return link.write_all(&junk).await;
        }
        Fault::RefuseTransfer if is_axfr => {
            reply.rcode = Rcode::REFUSED;
            return send(link, &reply).await;
        }
        Fault::Empty if is_axfr => return send(link, &reply).await,
        _ => {}
    }
    let Some(soa) = soa else {
        reply.rcode = Rcode::NOTAUTH;
        return send(link, &reply).await;
    };
    if !is_axfr {
        reply.answer.push(soa.clone());
        return send(link, &reply).await;
    }
    if primary.fault == Fault::StallFirst {
        std::future::pending().await
    }
    let mut list: Vec<Record> = Vec::new();
    if primary.fault != Fault::NoSoa {
        list.push(soa.clone());
    }
    list.extend(
        primary
            .records
            .iter()
            .filter(|r| r.rtype != Rtype::SOA)
            .cloned(),
    );
    let mut closing = soa.clone();
    if primary.fault == Fault::Changed {
        // The last octet of the serial.
        let at = closing.rdata.len() - 17;
        closing.rdata[at] = closing.rdata[at].wrapping_add(1);
    }
    if primary.fault == Fault::GoesOn {
        list.insert(1, closing.clone());
    }
    list.push(closing);
    let half = list.len() / 2;
    let endless = [Fault::Endless, Fault::Trickle].contains(&primary.fault);
    for (i, chunk) in list.chunks(CHUNK).enumerate() {
        if (i + 1) * CHUNK > half {
            match primary.fault {
                Fault::Truncate => return Err(stop()),
                Fault::StallTransfer => std::future::pending().await,
                _ => {}
            }
        }
        if endless && i == 1 {
            break;
        }
        reply.answer = chunk.to_vec();
        if let Fault::Damage(seed) = primary.fault {
            send_damaged(link, &reply, seed ^ (i as u64) << 32).await?;
        } else {
            send(link, &reply).await?;
        }
        // RFC 5936 section 2.2.1: later messages may come without the question.
        reply.question = None;
    }
    let mut i = 0u32;
    if !endless {
        return Ok(());
    }
    loop {
        let step = if primary.fault == Fault::Trickle {
            1
        } else {
            500
        };
        reply.answer = (i..i + step).map(|n| filler(&soa.name, n)).collect();
        i += step;
        send(link, &reply).await?;
        if primary.fault == Fault::Trickle {
            tokio::time::sleep(Duration::from_secs(19)).await;
        }
    }
}

fn filler(apex: &Name, n: u32) -> Record {
    let owner = apex.child(format!("x{n}").as_bytes()).unwrap();
    record(&owner, Rtype::A, 60, n.to_be_bytes().as_slice().into())
}

async fn send(link: &mut impl Stream, message: &Message) -> io::Result<()> {
    write(link, &message.encode(65_535)).await
}

/// Damages about one message in eight.
async fn send_damaged(link: &mut impl Stream, message: &Message, seed: u64) -> io::Result<()> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut bytes = message.encode(65_535);
    if rng.random_ratio(1, 8) {
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
    }
    link.write_u16(bytes.len() as u16).await?;
    link.write_all(&bytes).await
}

/// What the parent is to say.
pub struct Parent {
    /// What it says.
    pub answer: Mutex<DsAnswer>,
    /// How often it panics before it says that.
    panics: Mutex<u32>,
    /// What it says of the addresses of servers.
    pub addresses: Mutex<Result<Vec<IpAddr>, String>>,
    /// Whether it says nothing of them.
    silent: AtomicBool,
    /// Whether it can be asked yet.
    pub begun: watch::Sender<bool>,
}

impl Parent {
    pub fn hang_addresses(&self, hang: bool) {
        self.silent.store(hang, Ordering::Relaxed);
    }

    pub fn poison(&self, times: u32) {
        *self.panics.lock().unwrap() = times;
    }

    fn take_panic(&self) -> bool {
        let mut left = self.panics.lock().unwrap();
        let panics = *left > 0;
        *left = left.saturating_sub(1);
        panics
    }
}

impl Lookup for Parent {
    fn begun(&self) -> BoxFuture<'_, ()> {
        let mut begun = self.begun.subscribe();
        Box::pin(async move { drop(begun.wait_for(|begun| *begun).await) })
    }

    fn ds<'a>(&'a self, _zone: &'a Name) -> BoxFuture<'a, DsAnswer> {
        assert!(!self.take_panic(), "a panic for the test");
        Box::pin(async {
            match *self.begun.borrow() {
                true => self.answer.lock().unwrap().clone(),
                false => DsAnswer::Unavailable("nobody to ask yet".to_owned()),
            }
        })
    }

    fn addresses<'a>(&'a self, _host: &'a Name) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        Box::pin(async {
            if self.silent.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            self.addresses.lock().unwrap().clone()
        })
    }
}

/// The address of the usual primary.
pub const PRIMARY: &str = "192.0.2.1:53";
/// The address of the second one.
pub const SECOND: &str = "192.0.2.2:53";

/// A zone of the signer's with a serial and some delegations.
pub fn own_records(serial: u32, delegations: usize) -> Vec<Record> {
    let mut text = format!(
        "test. 3600 SOA ns.test. host.test. {serial} 600 60 86400 300\n\
         test. 3600 NS ns.test.\n\
         ns.test. 3600 A 192.0.2.53\n\
         www.test. 300 A 192.0.2.80\n"
    );
    for i in 0..delegations {
        text.push_str(&format!("child{i}.test. 3600 NS ns.child{i}.test.\n"));
        text.push_str(&format!("ns.child{i}.test. 3600 A 192.0.2.{i}\n"));
    }
    rrs(&text)
}

/// The signer of the zone `test.`, with ZONEMD.
pub fn signer() -> Signer {
    let mut signer = Signer::new("test.", 1);
    signer.zonemd = true;
    signer
}

/// The zone with ten delegations, signed.
pub fn signed(serial: u32) -> Vec<Record> {
    signer().sign(&own_records(serial, 10))
}

/// A mirror of `test.` with its primaries.
pub struct Lab {
    pub net: Net,
    pub clock: Clock,
    pub config: MirrorConfig,
    pub anchors: Anchors,
    pub parent: Arc<Parent>,
    pub metrics: Arc<Metrics>,
    pub dir: tempfile::TempDir,
    pub mirrors: Option<Arc<Mirrors>>,
    /// Shared keys.
    pub keys: Vec<Arc<Key>>,
    /// Catalogs that the configuration speaks of.
    pub catalogs: Vec<Catalog>,
    /// Another way to primaries than `net`.
    pub connect: Option<Arc<dyn Connect>>,
}

impl Lab {
    /// Not started yet; one source, an anchor for `test.`.
    pub fn new() -> Lab {
        crate::log::keep();
        let mut config = MirrorConfig::new(name("test."));
        config.sources = vec![axfr(PRIMARY)];
        config.bytes_max = 1 << 20;
        let anchor = Anchor {
            owner: name("test."),
            ds: signer().ds(),
            dnskeys: Vec::new(),
        };
        Lab {
            net: Net::default(),
            clock: Clock::starting_at(Duration::from_secs(START_S)),
            config,
            anchors: Anchors {
                zones: vec![anchor],
            },
            parent: Arc::new(Parent {
                answer: Mutex::new(DsAnswer::Insecure),
                panics: Mutex::new(0),
                addresses: Mutex::new(Err("not asked for".to_owned())),
                silent: AtomicBool::new(false),
                begun: watch::Sender::new(true),
            }),
            metrics: Arc::new(Metrics::default()),
            dir: tempfile::tempdir().unwrap(),
            mirrors: None,
            keys: Vec::new(),
            catalogs: Vec::new(),
            connect: None,
        }
    }

    /// Started, with serial 10 current.
    pub async fn with_ten() -> Lab {
        let mut lab = Lab::new();
        lab.net.set(PRIMARY, |p| p.records = signed(10));
        lab.start().await;
        lab.refresh().await.unwrap();
        assert_eq!(lab.serial(), Some(10));
        lab
    }

    /// What mirrors in `dir` work with.
    pub fn deps(&self, dir: &Path) -> Deps {
        let (ledger, _) = Ledger::open(dir, self.metrics.clone()).unwrap();
        Deps {
            clock: self.clock.clone(),
            ledger: Arc::new(ledger),
            lookup: self.parent.clone(),
            connect: (self.connect.clone()).unwrap_or_else(|| Arc::new(self.net.clone())),
            metrics: self.metrics.clone(),
            anchors: Arc::new(ArcSwap::from_pointee(self.anchors.clone())),
            clock_is_unset: || false,
            seed: 7,
        }
    }

    pub async fn start(&mut self) {
        let deps = self.deps(self.dir.path());
        let mut config = Config::default();
        config.mirrors = vec![self.config.clone()];
        config.catalogs.clone_from(&self.catalogs);
        config.resolver.anchors = self.anchors.clone();
        config.server.data_dir = self.dir.path().to_owned();
        let tsig = |key: &Arc<Key>| TsigKey {
            key: key.clone(),
            secret_file: "secret".into(),
        };
        config.tsig_keys = self.keys.iter().map(tsig).collect();
        self.mirrors = Some(Mirrors::start(&config, deps).await);
    }

    /// Stops the program; what is on disk stays.
    pub async fn stop(&mut self) {
        if let Some(mirrors) = self.mirrors.take() {
            mirrors.stop();
        }
        // The tasks let go of the ledger when they are dropped.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    pub fn mirror(&self) -> Arc<Mirror> {
        let mirrors = self.mirrors.as_ref().expect("started");
        mirrors.find(&name("test.")).unwrap()
    }

    pub async fn refresh(&self) -> Result<(), String> {
        self.mirror().refresh().await
    }

    /// Hands a file over, as an operator does.
    pub async fn import(&self, path: &Path) -> Result<(), String> {
        let mirrors = self.mirrors.as_ref().expect("started");
        let spool = mirrors.spool(&self.mirror());
        let handed = spool.and_then(|spool| Handed::read(path, spool));
        let handed = handed.map_err(|error| error.to_string())?;
        let imported = self.mirror().import(handed).await;
        imported.map_err(|error| error.to_string())
    }

    pub fn current(&self) -> Option<Arc<Generation>> {
        self.mirror().current()
    }

    pub fn serial(&self) -> Option<u32> {
        self.current().map(|g| g.serial())
    }

    pub fn now_s(&self) -> u64 {
        self.clock.now().wall_s
    }

    pub fn status(&self) -> MirrorStatus {
        self.mirror().status(self.now_s())
    }

    /// Serial, verdict's first word and state of each version, newest first.
    pub fn versions(&self) -> Vec<String> {
        let mirrors = self.mirrors.as_ref().expect("started");
        (mirrors.generations(&self.mirror()).iter())
            .map(|g| {
                let verdict = g.verdict.split([':', ' ']).next().unwrap();
                format!("{} {verdict} {:?}", g.serial, g.state)
            })
            .collect()
    }
}

pub fn axfr(server: &str) -> Source {
    Source::Axfr {
        addr: server.parse().unwrap(),
        tsig: None,
        tls: None,
    }
}

/// Writes records as a zone file.
pub fn write_zone(path: &Path, records: &[Record]) {
    std::fs::write(path, zone_text(records)).unwrap();
}

/// Records as a zone file.
pub fn zone_text(records: &[Record]) -> String {
    let line = |r: &Record| {
        let hex: String = r.rdata.iter().map(|b| format!("{b:02x}")).collect();
        let number = r.rtype.0;
        format!(
            "{} {} IN TYPE{number} \\# {} {hex}\n",
            r.name,
            r.ttl,
            r.rdata.len()
        )
    };
    records.iter().map(line).collect()
}
