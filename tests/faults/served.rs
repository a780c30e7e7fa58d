//! The mirror under test, and what it serves.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast::clock::system_wall;
use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Message, Rcode, Record, Rtype, Soa};
use serde_json::Value;

use crate::daemon::{Daemon, datagram, query, tcp};
use crate::primary::{MARKER, Primary, ZONE, digest};
use crate::signer::Signer;

/// A signer whose signatures are good from an hour ago for `days`, by the machine's clock.
pub fn signer(days: u32) -> Signer {
    let now = system_wall().as_secs() as u32;
    let mut signer = Signer::new(ZONE, 4);
    signer.zonemd = true;
    (signer.inception, signer.expiration) = (now - 3600, now + days * 86_400);
    signer
}

/// The configuration of a mirror of `primary`, and the file with its trust anchor.
pub fn config(primary: &Primary, more: &str) -> String {
    format!(
        r#"
[server]
listen = ["127.0.0.1:PORT"]
data_dir = "data"
workers = 1
[access]
allow_transfer = ["127.0.0.0/8"]
[resolver]
prime = false
query_loopback = true
trust_anchor = "anchor"
trust_anchor_updates = false
[reachability]
probe = false
[[mirror]]
zone = "{ZONE}"
use = "always"
sources = ["axfr:127.0.0.1:{}"]
generations = 3
{more}
"#,
        primary.port
    )
}

/// The trust anchor of [`signer`]'s zones.
pub fn anchor() -> String {
    let ds = signer(1).ds_record(3600);
    let hex = holdfast::store::hex(&ds.rdata[4..]);
    let number = |at: usize| u16::from_be_bytes([ds.rdata[at], ds.rdata[at + 1]]);
    format!(
        "{ZONE} 3600 IN DS {} {} {} {hex}\n",
        number(0),
        ds.rdata[2],
        ds.rdata[3]
    )
}

/// The serial that is served; `None` while there is no answer.
pub fn serial_at(server: SocketAddr) -> Option<u32> {
    let wire = query(ZONE, Rtype::SOA).encode(MESSAGE_LEN_MAX);
    let answer = datagram(server, &wire, Duration::from_millis(300))?;
    let answer = Message::parse(&answer).ok()?;
    Some(Soa::parse(&answer.answer.first()?.rdata)?.serial)
}

/// What [`check`] saw.
pub struct Seen {
    pub serial: u32,
    pub digest: String,
}

/// Fetches the whole zone, compares it with what was published under its serial, and with what the program says of it.
/// `None` if it serves nothing.
pub fn check(daemon: &Daemon, primary: &Primary) -> Option<Seen> {
    let records = transfer(daemon)?;
    let soa = Soa::parse(&records[0].rdata).unwrap();
    let seen = Seen {
        serial: soa.serial,
        digest: digest(&records),
    };
    let published = primary
        .version(seen.serial)
        .expect("a serial that was never published");
    assert_eq!(
        seen.digest,
        published.digest,
        "serial {}\n{}",
        seen.serial,
        daemon.log()
    );
    let marker = daemon.udp(&query(MARKER, Rtype::TXT));
    // What has run out answers only for want of anything else, for which one must ask.
    if marker.rcode != Rcode::REFUSED {
        let text = format!("{}", seen.serial);
        assert_eq!(marker.answer[0].rdata[1..], *text.as_bytes());
    }
    let said = status(daemon)["mirrors"][0].clone();
    let expected = (&Value::from(seen.serial), &Value::from(&seen.digest[..]));
    assert_eq!((&said["serial"], &said["generation"]), expected);
    // The list of versions is the ledger's, which may not be open.
    if daemon.log().contains("the ledger cannot be opened") {
        return Some(seen);
    }
    let output = daemon.command(&["--json", "mirror", "show", ZONE]);
    let shown: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let mut generations = shown.as_array().into_iter().flatten();
    let current = generations.find(|g| g["state"] == "current");
    let current = current.unwrap_or_else(|| panic!("{shown}\n{}", daemon.log()));
    assert_eq!((&current["serial"], &current["digest"]), expected);
    Some(seen)
}

/// All records of the zone but the closing SOA.
fn transfer(daemon: &Daemon) -> Option<Vec<Record>> {
    let mut stream = daemon.connect();
    let mut records = tcp(&mut stream, &query(ZONE, Rtype::AXFR)).answer;
    let is_soa = |r: &&Record| r.rtype == Rtype::SOA;
    if records.is_empty() {
        return None;
    }
    while records.iter().filter(is_soa).count() < 2 {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut wire = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut wire).unwrap();
        records.extend(Message::parse(&wire).unwrap().answer);
    }
    records.pop();
    Some(records)
}

/// The files of the zone's versions by name; empty before there is a directory.
pub fn files(data_dir: &Path) -> Vec<String> {
    let zones = fs::read_dir(data_dir.join("mirror"));
    let directories = zones.into_iter().flatten().flatten();
    let mut names: Vec<String> = directories
        .flat_map(|zone| fs::read_dir(zone.path()).into_iter().flatten().flatten())
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// What must never lie in `data_dir`: ledgers and versions that were found damaged.
pub fn damaged(data_dir: &Path) -> Vec<String> {
    let top = fs::read_dir(data_dir).into_iter().flatten().flatten();
    let top = top.map(|file| file.file_name().to_string_lossy().into_owned());
    let mut all: Vec<String> = top.chain(files(data_dir)).collect();
    all.retain(|name| name.contains("damaged"));
    all
}

/// Where the program keeps what it has.
pub fn data_dir(daemon: &Daemon) -> PathBuf {
    daemon.file("data")
}

/// Kills the program at once and returns its directory.
pub fn kill(mut daemon: Daemon) -> tempfile::TempDir {
    daemon.signal(libc::SIGKILL);
    daemon.wait();
    std::mem::replace(&mut daemon.directory, tempfile::tempdir().unwrap())
}

/// Has the mirror refreshed; the error if it failed.
pub fn refresh(daemon: &Daemon) -> Result<(), String> {
    let output = daemon.command(&["mirror", "refresh", ZONE]);
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// What `holdfast status` says.
pub fn status(daemon: &Daemon) -> Value {
    let output = daemon.command(&["--json", "status"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// One metric.
pub fn metric(daemon: &Daemon, name: &str) -> u64 {
    status(daemon)["metrics"][name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name}"))
}

/// Starts the program in `directory` and waits until the mirror asks its primary: by then it has taken up what was stored.
pub fn start_in(directory: tempfile::TempDir, primary: &Primary, more: &str) -> Daemon {
    let anchor = anchor();
    let daemon = Daemon::start_in(directory, &config(primary, more), &[("anchor", &anchor)]);
    crate::daemon::eventually("the mirror asks", || primary.is_asked().then_some(()));
    daemon
}
