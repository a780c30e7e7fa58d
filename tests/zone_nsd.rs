//! Lookups compared with a real name server: random zones, signed in four ways, served by NSD on
//! loopback and looked up in an image; the same records must come of both.
//!
//! The zones are built to collide: few labels, so that empty non-terminals, wildcards, cuts, glue and
//! DNAMEs meet. Without `nsd` in the PATH the test says so and passes.

#[path = "sim/signer.rs"]
mod signer;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use holdfast::dns::{Edns, Message, Name, Question, Rcode, Record, RrSet, Rtype};
use holdfast::zone::{Builder, LookupKind, ZoneImage, present};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use signer::{Denial, Signer, name, rr};

const SEEDS: u64 = 6;
const QUESTIONS: usize = 400;
const UDP_BYTES_MAX: usize = 16_384;
/// A quarter of a second each.
const START_TRIES_MAX: usize = 80;

/// An NSD that ends with this value.
struct Nsd(Child);

impl Drop for Nsd {
    fn drop(&mut self) {
        // SAFETY: a signal to a child of our own that has not been waited for.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGTERM) };
        let _ = self.0.wait();
    }
}

fn start(dir: &Path, zones: &[(Name, bool, Vec<Record>)]) -> Option<(Nsd, SocketAddr)> {
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let path = |file: &str| dir.join(file).display().to_string();
    let mut conf = format!(
        "server:\n ip-address: 127.0.0.1\n port: {}\n ipv4-edns-size: 16384\n username: \"\"\n chroot: \"\"\n server-count: 1\n \
         zonesdir: \"{}\"\n pidfile: \"{}\"\n xfrdfile: \"{}\"\n zonelistfile: \"{}\"\n database: \"\"\n \
         xfrdir: \"{}\"\n reuseport: no\nremote-control:\n control-enable: no\n",
        addr.port(),
        dir.display(),
        path("pid"),
        path("xfrd"),
        path("list"),
        dir.display(),
    );
    for (i, (apex, _, records)) in zones.iter().enumerate() {
        let text: String = records.iter().map(|r| present::record(r) + "\n").collect();
        std::fs::write(dir.join(format!("{i}.zone")), text).unwrap();
        write!(conf, "zone:\n name: \"{apex}\"\n zonefile: \"{i}.zone\"\n").unwrap();
    }
    std::fs::write(dir.join("nsd.conf"), conf).unwrap();
    let mut command = Command::new("nsd");
    command.args(["-d", "-c", &path("nsd.conf")]);
    let log = std::fs::File::create(dir.join("log")).unwrap();
    match command.stdout(Stdio::null()).stderr(log).spawn() {
        Ok(child) => Some((Nsd(child), addr)),
        Err(error) => {
            eprintln!("SKIPPED: the comparison with NSD needs nsd in the PATH ({error})");
            None
        }
    }
}

/// A socket to the server once it answers.
fn connect(addr: SocketAddr, dir: &Path, first: &Question) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(addr).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    for _ in 0..START_TRIES_MAX {
        if ask(&socket, first.clone()).is_some_and(|m| m.rcode == Rcode::NOERROR) {
            socket
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            return socket;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    panic!("nsd does not answer\n{log}");
}

fn ask(socket: &UdpSocket, question: Question) -> Option<Message> {
    static ID: AtomicU16 = AtomicU16::new(0);
    let id = ID.fetch_add(1, Ordering::Relaxed);
    let mut query = Message::query(id, question);
    query.edns = Some(Edns::new(UDP_BYTES_MAX as u16, true));
    let _ = socket.send(&query.encode(512));
    let mut wire = vec![0; UDP_BYTES_MAX];
    loop {
        let len = socket.recv(&mut wire).ok()?;
        let message = Message::parse(&wire[..len]).unwrap();
        // An answer to a question given up before may still come.
        if message.id == id {
            assert!(!message.truncated);
            return Some(message);
        }
    }
}

const LABELS: [&str; 7] = ["a", "b", "c", "d", "*", "ns", "\\200"];

fn random_name(rng: &mut SmallRng, apex: &Name) -> Name {
    let labels: Vec<&str> = (0..rng.random_range(1..=4))
        .map(|_| LABELS[rng.random_range(0..LABELS.len())])
        .collect();
    name(&format!("{}.{apex}", labels.join(".")))
}

/// Names with one kind of data each; nothing beside a CNAME, nothing below a DNAME.
fn random_zone(rng: &mut SmallRng, apex: &Name, opt_out: bool) -> Vec<Record> {
    let mut records = vec![
        rr(&format!("{apex} 3600 SOA ns.{apex} h.{apex} 1 2 3 4 300")),
        rr(&format!("{apex} 3600 NS ns.a.{apex}")),
        rr(&format!("{apex} 3600 NS elsewhere.test.")),
    ];
    let mut used = BTreeSet::from([apex.clone()]);
    let mut dnames: Vec<Name> = Vec::new();
    for _ in 0..rng.random_range(3..25) {
        let owner = random_name(rng, apex);
        if dnames.iter().any(|d| owner.is_below(d)) || !used.insert(owner.clone()) {
            continue;
        }
        let other = random_name(rng, apex);
        let wild = owner.wire().windows(2).any(|w| w == b"\x01*");
        let mut add = |data: &str| records.push(rr(&format!("{owner} 600 {data}")));
        match rng.random_range(0..10) {
            0..=3 => add("A 192.0.2.1"),
            4 => {
                add("TXT x");
                add("AAAA 2001:db8::1");
            }
            // Below an empty non-terminal that opt-out leaves without NSEC3, NSD's proofs are incomplete.
            5..=6 if !wild && (!opt_out || owner.label_count() == apex.label_count() + 1) => {
                add(&format!("NS ns.{owner}"));
                add(&format!("NS {other}"));
                if rng.random() {
                    add("DS 1 8 2 00");
                }
                let ns = name(&format!("ns.{owner}"));
                if used.insert(ns.clone()) {
                    records.push(rr(&format!("{ns} 600 A 192.0.2.2")));
                }
            }
            7 => add(&format!("CNAME {other}")),
            8 if !wild && used.iter().all(|u| !u.is_below(&owner)) => {
                // Into another zone: names that grow with each step are the pipeline's to stop.
                add("DNAME target.test.");
                dnames.push(owner.clone());
            }
            _ => add("MX 1 mail.test."),
        }
    }
    records
}

/// The words that two answers are compared by.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    rcode: Rcode,
    answer: BTreeSet<String>,
    authority: BTreeSet<String>,
    /// Of referrals.
    additional: BTreeSet<String>,
}

fn word(record: &Record) -> String {
    let mut lower = record.clone();
    lower.name = record.name.to_lowercase();
    // The case of names in data is the server's choice.
    present::record(&lower).to_lowercase()
}

fn of_message(message: &Message, image: &ZoneImage) -> Seen {
    let apex = image.apex();
    let words = |section: &[Record]| section.iter().map(word).collect();
    // NSD adds the zone's NS set to answers; that is a courtesy.
    let courtesy = |r: &&Record| {
        let covered = r.rdata.first_chunk().map(|b| Rtype(u16::from_be_bytes(*b)));
        let ns = r.rtype == Rtype::NS || r.rtype == Rtype::RRSIG && covered == Some(Rtype::NS);
        !(ns && r.name == *apex)
    };
    let authority: Vec<Record> = message.authority.iter().filter(courtesy).cloned().collect();
    let referral = authority.iter().any(|r| r.rtype == Rtype::NS);
    // NSD makes addresses of name servers from wildcards, without a proof; we do not.
    let own = |r: &&Record| image.find(&r.name, r.rtype).is_some();
    let glue: Vec<Record> = message.additional.iter().filter(own).cloned().collect();
    Seen {
        rcode: message.rcode,
        answer: words(&message.answer),
        authority: words(&authority),
        additional: if referral {
            words(&glue)
        } else {
            BTreeSet::new()
        },
    }
}

/// What the image says, aliases followed inside the zone as NSD does; and where they led.
fn of_image(image: &ZoneImage, question: &Question) -> (Seen, Name) {
    let words = |sets: &[RrSet]| -> BTreeSet<String> {
        sets.iter()
            .flat_map(|s| s.records(true))
            .map(|r| word(&r))
            .collect()
    };
    let mut seen = Seen {
        rcode: Rcode::NOERROR,
        answer: BTreeSet::new(),
        authority: BTreeSet::new(),
        additional: BTreeSet::new(),
    };
    let mut at = question.name.clone();
    let mut asked = BTreeSet::new();
    while asked.insert(at.clone()) {
        let found = image.lookup(&at, question.rtype);
        seen.answer.extend(words(&found.answer));
        seen.authority.extend(words(&found.authority));
        match found.kind {
            LookupKind::Alias(target) => at = target,
            LookupKind::Referral(_) => {
                seen.additional = words(&found.additional);
                break;
            }
            LookupKind::NxDomain => {
                seen.rcode = Rcode::NXDOMAIN;
                break;
            }
            LookupKind::TooLong => {
                seen.rcode = Rcode::YXDOMAIN;
                break;
            }
            _ => break,
        }
    }
    (seen, at)
}

#[test]
fn answers_are_those_of_nsd() {
    let dir = tempfile::tempdir().unwrap();
    let denials = [
        Denial::Nsec,
        Denial::nsec3(false),
        Denial::nsec3(true),
        Denial::None,
    ];
    const OPT_OUT: usize = 2;
    let mut zones = Vec::new();
    for seed in 0..SEEDS {
        for (i, denial) in denials.iter().enumerate() {
            let mut rng = SmallRng::seed_from_u64(seed * 10 + i as u64);
            let apex = name(&format!("z{seed}-{i}.test."));
            let records = random_zone(&mut rng, &apex, i == OPT_OUT);
            let mut signer = Signer::new(&apex.to_string(), seed);
            signer.denial = denial.clone();
            let records = match denial {
                // NSD keeps the DS records of an unsigned zone to itself.
                Denial::None => {
                    let others = records.into_iter().filter(|r| r.rtype != Rtype::DS);
                    others.collect()
                }
                _ => signer.sign(&records),
            };
            zones.push((apex, i == OPT_OUT, records));
        }
    }
    let Some((_nsd, addr)) = start(dir.path(), &zones) else {
        return;
    };
    let first = Question::new(zones[0].0.clone(), Rtype::SOA);
    let socket = connect(addr, dir.path(), &first);
    let types = [
        Rtype::A,
        Rtype::TXT,
        Rtype::DS,
        Rtype::NS,
        Rtype::CNAME,
        Rtype::MX,
        Rtype::DNAME,
    ];
    let mut faults = 0;
    for (apex, opt_out, records) in &zones {
        let mut builder = Builder::new(apex.clone());
        records.iter().for_each(|r| builder.add(r.clone()).unwrap());
        let image = builder.finish().unwrap();
        let mut rng = SmallRng::seed_from_u64(7);
        for _ in 0..QUESTIONS {
            let rtype = types[rng.random_range(0..types.len())];
            let question = Question::new(random_name(&mut rng, apex), rtype);
            let mut theirs = of_message(&ask(&socket, question.clone()).unwrap(), &image);
            let (mut ours, at) = of_image(&image, &question);
            if at.is_wildcard() && ours.authority.is_subset(&theirs.authority) {
                // Asked for a wildcard itself, NSD adds the proof for its encloser; none is needed.
                ours.authority = theirs.authority.clone();
            }
            if *opt_out && theirs.authority.is_subset(&ours.authority) {
                // With opt-out NSD leaves the closest encloser out of some wildcard proofs, against
                // RFC 5155 section 7.2.5.
                theirs.authority = ours.authority.clone();
            }
            if ours != theirs {
                faults += 1;
                if faults <= 5 {
                    eprintln!("{question}\nours {ours:#?}\ntheirs {theirs:#?}");
                }
            }
        }
    }
    assert_eq!(faults, 0, "answers differ from NSD's");
}
