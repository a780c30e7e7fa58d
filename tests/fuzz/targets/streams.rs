//! Conversations over streams: zone transfers, and both ends of the control socket.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};

use holdfast::clock::Clock;
use holdfast::control::api::{Body, BoxFuture, Commands, Control, Request, Response};
use holdfast::control::client::{self, AskError};
use holdfast::dns::tsig::Key;
use holdfast::dns::{Class, Name, Record, Rtype};
use holdfast::mirror::source::axfr::{self, Answer, FetchError, Fetched, Limits, Order, Want};
use holdfast::mirror::source::{Connect, Stream};
use holdfast::tap::frames::{CONTROL_LEN_MAX, Control as ControlFrame};
use holdfast::zone::Builder;

use super::signatures::{TSIG_AT_S, tsig_key};

/// Octets that a transfer may have.
const TRANSFER_BYTES_MAX: u64 = 1 << 20;
/// Octets of the longest request that is read.
const REQUEST_LEN_MAX: usize = 4096;

thread_local! {
    static RUNTIME: Runtime = RuntimeBuilder::new_current_thread().enable_all().build().expect("a runtime");
    static CONTROL: (tempfile::TempDir, Control) = control();
    static LISTENER: (tempfile::TempDir, UnixListener) = listener();
}

/// A server that says the same whoever asks it what.
struct Script(Vec<u8>);

impl Connect for Script {
    fn connect(&self, _: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        let said = io::Cursor::new(self.0.clone());
        let stream: Box<dyn Stream> = Box::new(tokio::io::join(said, tokio::io::sink()));
        Box::pin(async { Ok(stream) })
    }
}

/// What came of a conversation with a server that says this. IDs count from 1.
fn transfer(
    data: &[u8],
    want: Want,
    held: Option<Record>,
    key: Option<&Arc<Key>>,
) -> (Result<Answer, FetchError>, Vec<Record>) {
    let zone: Name = "example.".parse().expect("a name");
    let clock = Clock::starting_at(Duration::from_secs(TSIG_AT_S));
    let script = Script(data.to_vec());
    let mut records: Vec<Record> = Vec::new();
    let mut sink = |record: Record| {
        records.push(record);
        Ok(())
    };
    let order = Order {
        server: ([192, 0, 2, 1], 53).into(),
        zone: &zone,
        want,
        limits: Limits {
            bytes_max: TRANSFER_BYTES_MAX,
            time_max: Duration::from_secs(3600),
        },
        key,
        held,
    };
    let mut id = 0;
    let mut ids = || {
        id += 1;
        id
    };
    let fetch = axfr::fetch((&script, &clock), &order, &mut ids, &mut sink);
    let fetched = RUNTIME.with(|runtime| runtime.block_on(fetch));
    assert!(records.len() * 11 <= 2 * data.len());
    let within = |r: &Record| r.name.is_within(&zone) && r.class == Class::IN;
    assert!(records.iter().all(within));
    let is_soa = |r: &&Record| r.rtype == Rtype::SOA && r.name == zone;
    let soas = records.iter().filter(is_soa);
    assert_eq!(soas.count(), usize::from(!records.is_empty()));
    (fetched, records)
}

/// A transfer ends with the serial of a zone that begins with its SOA, or with an error; only records of the zone are passed on,
/// no more than the octets hold. Input: what the server sends, lengths included; IDs are 1 and 2.
pub fn axfr(data: &[u8]) -> bool {
    let (fetched, records) = transfer(data, Want::default(), None, None);
    let Ok(answer) = fetched else {
        return false;
    };
    assert!(matches!(answer.fetched, Fetched::Newer(_)) && records[0].rtype == Rtype::SOA);
    build(records);
    true
}

fn build(records: Vec<Record>) {
    let mut builder = Builder::new("example.".parse().expect("a name"));
    if records.into_iter().all(|r| builder.add(r).is_ok()) {
        let _ = builder.finish();
    }
}

/// The zone that changes are made to in [`ixfr`], at serial 1.
pub const HELD: &str = "$ORIGIN example.\n$TTL 60\n@ SOA ns host 1 2 3 4 5\n@ NS ns\nns A 192.0.2.53\nwww A 192.0.2.1\n\
    www A 192.0.2.2\nsub NS ns.sub\nns.sub A 192.0.2.54\n";

/// Changes lead from the version that is held to a newer one; none is in both lists but for TTL and letter case. Applied they make
/// that version, or they do not fit. Input: an octet whose lowest bit says that the answers are unsigned and must be signed, then as
/// for `axfr`.
pub fn ixfr(data: &[u8]) -> bool {
    let Some((how, said)) = data.split_first() else {
        return false;
    };
    let held = holdfast::zone::load(HELD.as_bytes(), "held", None, 1 << 20).expect("a zone");
    let held = held.image;
    let soa = held.find(held.apex(), Rtype::SOA).expect("a SOA");
    let soa = soa.records(false).next();
    let want = Want {
        newer_than: Some(1),
        except: None,
    };
    let key = tsig_key();
    let key = (how & 1 == 1).then_some(&key);
    let (fetched, records) = transfer(said, want, soa, key);
    let Ok(answer) = fetched else {
        return false;
    };
    assert!(key.is_none(), "an answer without signature was taken");
    let changes = match answer.fetched {
        Fetched::Changed(changes) => changes,
        Fetched::Newer(_) => {
            build(records);
            return true;
        }
        _ => return true,
    };
    assert!(records.is_empty() && changes.from_serial == 1);
    assert!(holdfast::dns::Soa::serial_newer(changes.to_serial, 1));
    for record in &changes.added {
        assert!(!changes.removed.contains(record), "in both lists");
    }
    if let Ok(image) = holdfast::zone::apply(&held, &changes) {
        assert_eq!(image.serial(), changes.to_serial);
        let gone = |record: &&Record| {
            let set = image.find(&record.name, record.rtype);
            !set.is_some_and(|set| set.rdatas.contains(&record.rdata))
        };
        let added = |record: &&Record| changes.added.iter().any(|a| a.name == record.name);
        assert!(
            changes
                .removed
                .iter()
                .filter(|r| !added(r))
                .all(|r| gone(&r))
        );
    }
    true
}

/// Repeats requests.
struct Echo;

impl Commands for Echo {
    fn run<'a>(&'a self, request: Request, _: Body<'a>) -> BoxFuture<'a, Response> {
        let value = serde_json::to_value(request).expect("requests are plain data");
        Box::pin(async { Response::Ok(value) })
    }
}

fn control() -> (tempfile::TempDir, Control) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("control");
    let control = RUNTIME.with(|runtime| {
        let _inside = runtime.enter();
        Control::start(&path, Arc::new(Echo)).expect("a socket")
    });
    (directory, control)
}

/// Every line but those of files that are handed over gets an answer, the last one even if it is cut short or too long; one that is
/// taken for a request comes back as that request. Input: what a client writes.
pub fn control_request(data: &[u8]) -> bool {
    let path = CONTROL.with(|(directory, _)| directory.path().join("control"));
    let answers = RUNTIME.with(|runtime| runtime.block_on(talk(path, data)));
    let expected = requests(data);
    let too_long = expected
        .iter()
        .position(|line| line.len() > REQUEST_LEN_MAX);
    // The socket is closed after a line that is too long, with what was not read lost, and answers perhaps with it.
    if too_long.is_none() {
        assert_eq!(answers.len(), expected.len());
    }
    let mut taken = false;
    for (line, answer) in expected.iter().zip(&answers) {
        match serde_json::from_slice::<Response>(answer).expect("an answer") {
            Response::Ok(value) => {
                let request: Request = serde_json::from_value(value).expect("the request");
                assert_eq!(serde_json::from_slice::<Request>(line).ok(), Some(request));
                taken = true;
            }
            Response::Error(why) => assert!(!why.is_empty()),
        }
    }
    taken
}

/// The lines that are to be requests: what one of them hands over is none.
fn requests(mut data: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    while let Some(line) = data.split_inclusive(|b| *b == b'\n').next() {
        lines.push(line);
        let request: Option<Request> = serde_json::from_slice(line).ok();
        let body = request.map_or(0, |request| request.body_octets());
        let rest = &data[line.len()..];
        data = &rest[usize::try_from(body).unwrap_or(usize::MAX).min(rest.len())..];
    }
    lines
}

/// Writes all of it, then reads the answers line by line.
async fn talk(path: PathBuf, data: &[u8]) -> Vec<Vec<u8>> {
    let stream = UnixStream::connect(path)
        .await
        .expect("the server is there");
    let (mut read, mut write) = stream.into_split();
    let mut answers = Vec::new();
    let writing = async {
        // The server may hang up before the end.
        let _ = write.write_all(data).await;
        let _ = write.shutdown().await;
    };
    let (_, _) = tokio::join!(writing, read.read_to_end(&mut answers));
    let lines = answers.split_inclusive(|b| *b == b'\n');
    lines
        .filter(|line| line.ends_with(b"\n"))
        .map(<[u8]>::to_vec)
        .collect()
}

fn listener() -> (tempfile::TempDir, UnixListener) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("control");
    let listener = RUNTIME.with(|runtime| {
        let _inside = runtime.enter();
        UnixListener::bind(path).expect("a socket")
    });
    (directory, listener)
}

/// The client takes a server's value or refusal, and calls everything else broken off. Input: what the server writes.
pub fn control_response(data: &[u8]) -> bool {
    let asked = LISTENER.with(|(directory, listener)| {
        let path = directory.path().join("control");
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("the client");
            let mut request = [0; REQUEST_LEN_MAX];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(data).await;
            let _ = stream.shutdown().await;
        };
        let both = async { tokio::join!(client::ask(&path, &Request::Status), serve).0 };
        RUNTIME.with(|runtime| runtime.block_on(both))
    });
    let line = data
        .split_inclusive(|b| *b == b'\n')
        .next()
        .unwrap_or_default();
    let said: Option<Response> = serde_json::from_slice(line).ok();
    let expected: Option<Result<Value, String>> = said.map(|response| match response {
        Response::Ok(value) => Ok(value),
        Response::Error(why) => Err(why),
    });
    let taken = asked.is_ok();
    match asked {
        Ok(value) => assert_eq!(Some(Ok(value)), expected),
        Err(AskError::Refused(why)) => assert_eq!(Some(Err(why)), expected),
        Err(AskError::BrokeOff { .. }) => assert_eq!(expected, None),
        Err(other) => panic!("{other}"),
    }
    taken
}

/// What a dnstap collector says is one control frame, which is read in bounded memory, or an error. Of what is read no more is taken than the frame.
pub fn collector(data: &[u8]) -> bool {
    let mut rest = data;
    let read = ControlFrame::read(&mut rest);
    if let Ok(control) = &read {
        let taken = data.len() - rest.len();
        assert!((8..=8 + CONTROL_LEN_MAX).contains(&taken));
        assert_eq!(ControlFrame::parse(&data[8..taken]), Ok(*control));
        let own = ControlFrame::read(&mut &control.frame()[..]);
        assert_eq!(own.ok(), Some(*control));
    }
    read.is_ok()
}
