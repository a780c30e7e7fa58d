//! NSD, Knot DNS and BIND with one zone on 127.0.0.1 of the test's own network, which keep what changes and tell of it.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// The shared key.
pub const KEY: &str = "hub-key.";
/// Its secret, for hmac-sha256.
pub const SECRET: &str = "c2l4dGVlbiBvY3RldHMhIQ==";
/// A tenth of a second each.
const START_TRIES_MAX: usize = 200;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nsd,
    Knot,
    Bind,
}

/// How transfers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Plain,
    /// With the shared key.
    Signed,
    /// Over TLS, with the shared key; BIND asks for a certificate too.
    Encrypted,
}

impl Kind {
    /// Whether it sends zones over TLS as RFC 9103 wants it. NSD 4.6 never agrees to the protocol `dot`, which section 7.1 asks for;
    /// Knot DNS 3.2 has no TLS for transfers.
    pub fn encrypts(self) -> bool {
        self == Kind::Bind
    }

    pub fn program(self) -> &'static str {
        match self {
            Kind::Nsd => "nsd",
            Kind::Knot => "knotd",
            Kind::Bind => "named",
        }
    }

    pub fn is_there(self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(self.program()).is_file())
    }
}

/// A running primary of `x.test.`; dropping it ends it.
pub struct Primary {
    kind: Kind,
    port: u16,
    child: Child,
    directory: TempDir,
}

impl Primary {
    /// Serves `zone` on `port`, and tells the secondary on port `mirror` of news.
    pub fn start(
        kind: Kind,
        port: u16,
        mirror: u16,
        how: How,
        zone: &str,
        files: &[(&str, &str)],
    ) -> Primary {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
        }
        let config = match kind {
            Kind::Nsd => nsd(dir, port, mirror, how != How::Plain),
            Kind::Knot => knot(dir, port, mirror, how != How::Plain),
            Kind::Bind => bind(dir, port, mirror, how),
        };
        fs::write(dir.join("conf"), config).unwrap();
        fs::write(dir.join("x.zone"), zone).unwrap();
        let child = spawn(kind, dir);
        let mut primary = Primary {
            kind,
            port,
            child,
            directory,
        };
        primary.wait_ready();
        primary
    }

    fn wait_ready(&mut self) {
        for _ in 0..START_TRIES_MAX {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{:?} ends with {status}\n{}", self.kind, self.log());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{:?} does not answer\n{}", self.kind, self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Serves another version, and keeps what changed.
    pub fn publish(&self, zone: &str) {
        self.write(zone);
        self.signal(libc::SIGHUP);
    }

    /// Serves another version as if it had never had one before.
    pub fn forget(&mut self, zone: &str) {
        self.signal(libc::SIGTERM);
        let _ = self.child.wait();
        let kept = ["conf", "log", "ca.pem", "cert.pem", "key.pem"].map(Path::new);
        for entry in fs::read_dir(self.directory.path()).unwrap().flatten() {
            let path = entry.path();
            match kept.contains(&Path::new(&entry.file_name())) {
                true => {}
                false if path.is_dir() => fs::remove_dir_all(path).unwrap(),
                false => fs::remove_file(path).unwrap(),
            }
        }
        self.write(zone);
        self.child = spawn(self.kind, self.directory.path());
        self.wait_ready();
    }

    /// Under another name first: the server may be looking.
    fn write(&self, zone: &str) {
        let path = |name: &str| -> PathBuf { self.directory.path().join(name) };
        fs::write(path("x.zone.new"), zone).unwrap();
        fs::rename(path("x.zone.new"), path("x.zone")).unwrap();
    }

    fn signal(&self, signal: i32) {
        // SAFETY: a signal to a child of our own that has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        self.signal(libc::SIGTERM);
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("{:?}:\n{}", self.kind, self.log());
        }
    }
}

fn spawn(kind: Kind, dir: &Path) -> Child {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .unwrap();
    let mut command = Command::new(kind.program());
    match kind {
        Kind::Nsd => command.arg("-d").arg("-c"),
        Kind::Knot => command.arg("-c"),
        Kind::Bind => command.arg("-g").arg("-c"),
    };
    command
        .arg(dir.join("conf"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn nsd(dir: &Path, port: u16, mirror: u16, signed: bool) -> String {
    let (dir, key) = (dir.display(), if signed { KEY } else { "NOKEY" });
    format!(
        "server:\n ip-address: 127.0.0.1\n port: {port}\n username: \"\"\n chroot: \"\"\n server-count: 1\n zonesdir: \"{dir}\"\n \
         pidfile: \"{dir}/pid\"\n xfrdfile: \"{dir}/xfrd\"\n zonelistfile: \"{dir}/list\"\n database: \"\"\n xfrdir: \"{dir}\"\n \
         reuseport: no\nremote-control:\n control-enable: no\nkey:\n name: \"{KEY}\"\n algorithm: hmac-sha256\n secret: \"{SECRET}\"\n\
         zone:\n name: \"x.test\"\n zonefile: \"x.zone\"\n store-ixfr: yes\n create-ixfr: yes\n provide-xfr: 127.0.0.1 {key}\n \
         notify: 127.0.0.1@{mirror} {key}\n"
    )
}

fn knot(dir: &Path, port: u16, mirror: u16, signed: bool) -> String {
    let (dir, key) = (
        dir.display(),
        if signed {
            format!("\n    key: {KEY}")
        } else {
            String::new()
        },
    );
    format!(
        "server:\n    rundir: \"{dir}\"\n    listen: 127.0.0.1@{port}\nlog:\n  - target: stderr\n    any: info\n\
         database:\n    storage: \"{dir}\"\nkey:\n  - id: {KEY}\n    algorithm: hmac-sha256\n    secret: {SECRET}\n\
         remote:\n  - id: mirror\n    address: 127.0.0.1@{mirror}{key}\n\
         acl:\n  - id: mirror\n    address: 127.0.0.1\n    action: transfer{key}\n\
         zone:\n  - domain: x.test\n    storage: \"{dir}\"\n    file: x.zone\n    zonefile-load: difference\n    zonefile-sync: -1\n    \
         journal-content: changes\n    notify: mirror\n    acl: mirror\n"
    )
}

fn bind(dir: &Path, port: u16, mirror: u16, how: How) -> String {
    let dir = dir.display();
    let (allow, key) = match how {
        How::Plain => ("127.0.0.1".to_owned(), String::new()),
        How::Signed | How::Encrypted => (format!("key \"{KEY}\""), format!(" key \"{KEY}\"")),
    };
    let (tls, over, only) = match how {
        How::Encrypted => (
            format!(
                "tls xot {{ cert-file \"{dir}/cert.pem\"; key-file \"{dir}/key.pem\"; ca-file \"{dir}/ca.pem\"; protocols {{ \"TLSv1.3\"; }}; }};\n"
            ),
            " tls xot",
            format!(" port {port} transport tls"),
        ),
        How::Plain | How::Signed => (String::new(), "", String::new()),
    };
    format!(
        "{tls}options {{ directory \"{dir}\"; pid-file \"{dir}/pid\"; session-keyfile \"{dir}/session\"; listen-on port {port}{over} {{ 127.0.0.1; }}; \
         listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; notify-delay 0; ixfr-from-differences yes; notify explicit; }};\n\
         controls {{ }};\nkey \"{KEY}\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n\
         zone \"x.test\" {{ type primary; file \"x.zone\"; allow-transfer{only} {{ {allow}; }}; also-notify {{ 127.0.0.1 port {mirror}{key}; }}; }};\n"
    )
}
