//! Answers past their TTL (RFC 8767) with the real program: killed in the middle of an outage, it answers what it knew before.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Class, Ede, Edns, Message, Rcode, Record, Rtype};
use serde_json::Value;

use crate::daemon::{Daemon, eventually, query};

const CONFIG: &str = r#"
[server]
listen = ["127.0.0.1:PORT"]
data_dir = "data"
[resolver]
dnssec = "off"
prime = false
[reachability]
probe = false
[stale]
answer_after_ms = 300
[[forward]]
zone = "old.example."
servers = ["127.0.0.1:FORWARDER"]
"#;

/// A resolver that knows one address, with a TTL of a second; it answers until it is told to be silent.
struct Forwarder {
    port: u16,
    silent: Arc<AtomicBool>,
}

impl Forwarder {
    fn start() -> Forwarder {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let silent = Arc::new(AtomicBool::new(false));
        let is_silent = silent.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; MESSAGE_LEN_MAX];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let asked = Message::parse(&buffer[..length]).unwrap();
                let Some(question) = asked.question.clone() else {
                    continue;
                };
                let mut reply = asked.reply(Rcode::NOERROR);
                reply.recursion_available = true;
                reply.edns = asked.edns.as_ref().map(|_| Edns::new(1232, true));
                reply.answer.push(Record {
                    name: question.name,
                    rtype: Rtype::A,
                    class: Class::IN,
                    ttl: 1,
                    rdata: [192, 0, 2, 80].into(),
                });
                if !is_silent.load(Ordering::Relaxed) {
                    let _ = socket.send_to(&reply.encode(MESSAGE_LEN_MAX), from);
                }
            }
        });
        Forwarder { port, silent }
    }
}

fn ask(daemon: &Daemon) -> Message {
    let mut query = query("www.old.example.", Rtype::A);
    query.recursion_desired = true;
    query.edns = Some(Edns::new(1232, false));
    daemon.udp(&query)
}

fn is_old(answer: &Message) -> bool {
    answer.errors().iter().any(|e| e.code == Ede::STALE_ANSWER)
}

/// Whether the octets are in the ledger's file: then no kill can take them away.
fn is_written(data_dir: &Path) -> bool {
    let file = fs::read(data_dir.join("ledger/db")).unwrap_or_default();
    let name = b"\x03www\x03old\x07example\x00";
    file.windows(name.len()).any(|window| window == name)
}

#[test]
fn an_answer_outlives_a_kill_in_the_middle_of_an_outage() {
    let forwarder = Forwarder::start();
    let config = CONFIG.replace("FORWARDER", &forwarder.port.to_string());
    let daemon = Daemon::start(&config, &[]);
    let answer = ask(&daemon);
    assert_eq!(
        (answer.rcode, answer.answer.len()),
        (Rcode::NOERROR, 1),
        "{answer:?}"
    );
    assert!(!is_old(&answer));
    // Asked for again it is worth the disk.
    eventually("the answer is on disk", || {
        ask(&daemon);
        is_written(&daemon.file("data")).then_some(())
    });
    forwarder.silent.store(true, Ordering::Relaxed);
    // Its TTL is a second.
    let old = eventually("an old answer from memory", || {
        Some(ask(&daemon)).filter(is_old)
    });
    assert_eq!((old.answer.len(), old.answer[0].ttl), (1, 30));

    let mut daemon = daemon;
    daemon.signal(libc::SIGKILL);
    daemon.wait();
    let kept = tempfile::tempdir().unwrap();
    fs::rename(daemon.file("data"), kept.path().join("data")).unwrap();
    let daemon = Daemon::start_in(kept, &config, &[]);
    let old = ask(&daemon);
    assert!(is_old(&old), "{old:?}");
    assert_eq!(old.answer[0].rdata[..], [192, 0, 2, 80]);
    let output = daemon.command(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["stale"]["disk_entries"], 1);
    assert_eq!(status["metrics"]["stale_disk_total"], 1);

    // It is back: the old answer goes as soon as somebody has looked.
    forwarder.silent.store(false, Ordering::Relaxed);
    let new = eventually("a new answer", || {
        Some(ask(&daemon)).filter(|answer| !is_old(answer))
    });
    assert_eq!(new.answer.len(), 1);
}
