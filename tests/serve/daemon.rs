//! The real program in a directory of its own, on a free port of 127.0.0.1.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Message, Question, Rtype};
use tempfile::TempDir;

/// Nothing here takes longer unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A running server; dropping it kills it.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
    pub port: u16,
    pub directory: TempDir,
}

/// A directory with files in it, by name and content.
pub fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

/// A port that is free for UDP and TCP, and that no other test of this process was given.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = tcp.local_addr().unwrap().port();
        let is_free = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if is_free && GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// The program with these arguments, not started yet.
pub fn program(config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.arg("--config").arg(config).args(arguments);
    command
}

/// Seconds and nanoseconds since some moment.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Instant {
    Instant::now()
}

/// Tries until it works or patience ends.
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(now() - start < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Daemon {
    /// Starts with `config` as config.toml (PORT replaced) beside `files`, and waits until it is ready.
    pub fn start(config: &str, files: &[(&str, &str)]) -> Daemon {
        Daemon::start_in(tempfile::tempdir().unwrap(), config, files)
    }

    /// As [`Daemon::start`], in a directory that may hold something already.
    pub fn start_in(directory: TempDir, config: &str, files: &[(&str, &str)]) -> Daemon {
        for (name, content) in files {
            fs::write(directory.path().join(name), content).unwrap();
        }
        let port = free_port();
        let config = config.replace("PORT", &port.to_string());
        fs::write(directory.path().join("config.toml"), config).unwrap();
        let mut child = program(&directory.path().join("config.toml"), &["run"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let written = log.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let daemon = Daemon {
            child,
            log,
            port,
            directory,
        };
        eventually("holdfast ready", || {
            daemon
                .log()
                .lines()
                .any(|l| l == "holdfast ready")
                .then_some(())
        });
        daemon
    }

    /// What it has written to stderr so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    /// Sends bytes over UDP and returns the answer, if one comes in time.
    pub fn datagram(&self, query: &[u8], wait: Duration) -> Option<Vec<u8>> {
        datagram(self.addr(), query, wait)
    }

    /// What of its memory is there, the program itself included, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.expect("a line with a number").parse().unwrap()
    }

    /// Asks over UDP.
    pub fn udp(&self, query: &Message) -> Message {
        let wire = query.encode(MESSAGE_LEN_MAX);
        let answer = self.datagram(&wire, PATIENCE).expect("an answer over UDP");
        Message::parse(&answer).unwrap()
    }

    /// Asks over TCP.
    pub fn tcp(&self, query: &Message) -> Message {
        let mut stream = self.connect();
        tcp(&mut stream, query)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so the number is still its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the end of the program", || self.child.try_wait().unwrap())
    }

    /// Runs another command with the same configuration.
    pub fn command(&self, arguments: &[&str]) -> Output {
        program(&self.file("config.toml"), arguments)
            .output()
            .unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends bytes over UDP; only an answer from `server` itself counts.
pub fn datagram(server: SocketAddr, query: &[u8], wait: Duration) -> Option<Vec<u8>> {
    let any = match server {
        SocketAddr::V4(_) => "0.0.0.0:0",
        SocketAddr::V6(_) => "[::]:0",
    };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(wait)).unwrap();
    socket.send(query).unwrap();
    let mut buffer = vec![0; MESSAGE_LEN_MAX];
    let length = socket.recv(&mut buffer).ok()?;
    Some(buffer[..length].to_vec())
}

/// One question and answer on an open connection.
pub fn tcp(stream: &mut TcpStream, query: &Message) -> Message {
    let wire = query.encode(MESSAGE_LEN_MAX);
    let mut framed = (wire.len() as u16).to_be_bytes().to_vec();
    framed.extend(wire);
    stream.write_all(&framed).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    Message::parse(&answer).unwrap()
}

/// A query without EDNS and without RD.
pub fn query(name: &str, rtype: Rtype) -> Message {
    Message::query(4711, Question::new(name.parse().unwrap(), rtype))
}
