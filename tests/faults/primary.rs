//! A primary on loopback that publishes a new signed version with each answer about its SOA, once it is let go on.
//!
//! A mirror asks for the SOA right after its start. The answer waits for [`Primary::go_on`], so that a test looks at what was
//! there before anything new comes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use holdfast::dns::{Message, Rcode, Record, Rtype};
use holdfast::store::hex;
use holdfast::zone::Builder;

use crate::daemon::{PATIENCE, now};
use crate::signer::{Signer, rrs};

/// The zone.
pub const ZONE: &str = "faults.lab.";
/// A name whose text is the version's serial.
pub const MARKER: &str = "version.faults.lab.";
/// Delegations in it.
const DELEGATIONS: u32 = 40;
/// Records per message.
const CHUNK: usize = 50;

/// One published version.
#[derive(Clone)]
pub struct Version {
    pub records: Arc<Vec<Record>>,
    /// Of its image.
    pub digest: String,
}

#[derive(Default)]
struct State {
    versions: BTreeMap<u32, Version>,
    /// SOA questions that may be answered, each with a new version.
    turns: u32,
    /// When the last byte of the last transfer was sent.
    transferred: Option<Instant>,
    /// SOA questions that wait.
    waiting: u32,
}

/// The server. It lives as long as the test program.
#[derive(Clone)]
pub struct Primary {
    pub port: u16,
    signer: Arc<Signer>,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Primary {
    /// Serves what `signer` signs, from serial 1 on.
    pub fn start(signer: Signer) -> Primary {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let primary = Primary {
            port: listener.local_addr().unwrap().port(),
            signer: Arc::new(signer),
            state: Arc::default(),
        };
        primary.publish();
        let served = primary.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let served = served.clone();
                std::thread::spawn(move || served.serve(stream));
            }
        });
        primary
    }

    /// Lets `turns` more SOA questions be answered, each with a version of its own.
    pub fn go_on(&self, turns: u32) {
        let (state, changed) = &*self.state;
        let mut state = state.lock().unwrap();
        state.turns = turns;
        state.transferred = None;
        changed.notify_all();
    }

    /// The serial published last.
    pub fn newest(&self) -> u32 {
        *self.state.0.lock().unwrap().versions.keys().last().unwrap()
    }

    /// The version with this serial, if it was ever published.
    pub fn version(&self, serial: u32) -> Option<Version> {
        self.state.0.lock().unwrap().versions.get(&serial).cloned()
    }

    /// When a transfer ended since the last [`Primary::go_on`].
    pub fn transferred(&self) -> Option<Instant> {
        self.state.0.lock().unwrap().transferred
    }

    /// Whether somebody waits for the SOA.
    pub fn is_asked(&self) -> bool {
        self.state.0.lock().unwrap().waiting > 0
    }

    /// Signs and publishes the next version.
    fn publish(&self) -> u32 {
        let serial = self.state.0.lock().unwrap().versions.keys().last().copied();
        let serial = serial.unwrap_or(0) + 1;
        let mut text = format!(
            "{ZONE} 3600 SOA ns.{ZONE} host.{ZONE} {serial} 36000 36000 864000 300\n\
             {ZONE} 3600 NS ns.{ZONE}\nns.{ZONE} 3600 A 192.0.2.53\n{MARKER} 0 TXT {serial}\n"
        );
        for i in 0..DELEGATIONS {
            text.push_str(&format!(
                "child{i}.{ZONE} 3600 NS ns{serial}.child{i}.{ZONE}\n"
            ));
            text.push_str(&format!("ns{serial}.child{i}.{ZONE} 3600 A 192.0.2.{i}\n"));
        }
        let records = self.signer.sign(&rrs(&text));
        let version = Version {
            digest: digest(&records),
            records: Arc::new(records),
        };
        self.state
            .0
            .lock()
            .unwrap()
            .versions
            .insert(serial, version);
        serial
    }

    /// Answers until the other end goes away, as it does when it is killed.
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query)?;
            let query = Message::parse(&query).unwrap();
            match query.question.as_ref().unwrap().rtype {
                Rtype::SOA => {
                    let serial = self.wait_for_turn(&stream)?;
                    let soa = self.soa(serial);
                    send(&mut stream, &query, &[soa])?;
                }
                Rtype::AXFR => {
                    let serial = self.newest();
                    let version = self.version(serial).unwrap();
                    let soa = self.soa(serial);
                    let rest = version.records.iter().filter(|r| r.rtype != Rtype::SOA);
                    let all: Vec<Record> = [soa.clone()]
                        .into_iter()
                        .chain(rest.cloned())
                        .chain([soa])
                        .collect();
                    for chunk in all.chunks(CHUNK) {
                        send(&mut stream, &query, chunk)?;
                    }
                    self.state.0.lock().unwrap().transferred = Some(now());
                }
                _ => {
                    let reply = query.reply(Rcode::NOTIMP).encode(65_535);
                    frame(&mut stream, &reply)?;
                }
            }
        }
    }

    fn soa(&self, serial: u32) -> Record {
        let version = self.version(serial).unwrap();
        let soa = version.records.iter().find(|r| r.rtype == Rtype::SOA);
        soa.unwrap().clone()
    }

    /// Waits until a version may be published, and does so; an error if nobody waits for it any more.
    fn wait_for_turn(&self, stream: &TcpStream) -> io::Result<u32> {
        let (state, changed) = &*self.state;
        let mut held = state.lock().unwrap();
        held.waiting += 1;
        let gone = loop {
            if held.turns > 0 {
                held.turns -= 1;
                break false;
            }
            held = changed
                .wait_timeout(held, Duration::from_millis(20))
                .unwrap()
                .0;
            if is_closed(stream) {
                break true;
            }
        };
        held.waiting -= 1;
        drop(held);
        match gone {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(self.publish()),
        }
    }
}

fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    match peeked {
        Ok(length) => length == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

fn send(stream: &mut TcpStream, query: &Message, records: &[Record]) -> io::Result<()> {
    let mut reply = query.reply(Rcode::NOERROR);
    reply.authoritative = true;
    reply.answer = records.to_vec();
    frame(stream, &reply.encode(65_535))
}

fn frame(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&(message.len() as u16).to_be_bytes())?;
    stream.write_all(message)
}

/// Content digest of a zone's records, one SOA among them.
pub fn digest(records: &[Record]) -> String {
    let mut builder = Builder::new(ZONE.parse().unwrap());
    for record in records {
        builder.add(record.clone()).unwrap();
    }
    hex(&builder.finish().unwrap().digest())
}
