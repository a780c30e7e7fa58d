//! Other people's name servers as secondaries, each in the foreground with a directory of its own.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// The shared key of the tests that sign.
pub const KEY: &str = "hub-key.";
/// Its secret, in base64.
pub const SECRET: &str = "bm90IGEgc2VjcmV0IGF0IGFsbCwgYnV0IGxvbmcgZW5vdWdo";

/// A running secondary; dropping it ends it.
pub struct Peer {
    pub name: &'static str,
    pub addr: SocketAddr,
    /// The program, where it is not the caller's.
    process: Option<(Child, TempDir)>,
}

/// What a secondary needs to know to come over TLS.
pub struct Tls<'t> {
    /// Certificate of the authority, PEM.
    pub ca: &'t str,
    /// What the primary must prove to be.
    pub name: &'t str,
    /// Certificate and key to show, PEM.
    pub identity: &'t (String, String),
}

impl Peer {
    /// One that the caller runs.
    pub fn running(name: &'static str, addr: SocketAddr) -> Peer {
        Peer {
            name,
            addr,
            process: None,
        }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        let path = (self.process.as_ref()).map(|(_, directory)| directory.path().join("log"));
        path.and_then(|path| fs::read_to_string(path).ok())
            .unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.process {
            // SAFETY: a signal to a child of our own that has not been waited for.
            unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
            let _ = child.wait();
        }
    }
}

fn start(
    name: &'static str,
    port: u16,
    directory: TempDir,
    config: &str,
    arguments: &[&str],
) -> Option<Peer> {
    fs::write(directory.path().join("conf"), config).unwrap();
    let log = fs::File::create(directory.path().join("log")).unwrap();
    let spawned = Command::new(name)
        .args(arguments)
        .arg(directory.path().join("conf"))
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    match spawned {
        Ok(child) => Some(Peer {
            name,
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            process: Some((child, directory)),
        }),
        Err(error) => {
            eprintln!("SKIPPED: {name} as a secondary needs it in the PATH ({error})");
            None
        }
    }
}

fn directory() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path: &Path = directory.path();
    let shown = path.display().to_string();
    (directory, shown)
}

pub fn nsd(port: u16, primary: SocketAddr, zones: &[&str], signed: bool) -> Option<Peer> {
    let (directory, dir) = directory();
    let config = nsd_config(port, primary, &dir, zones, signed, "");
    start("nsd", port, directory, &config, &["-d", "-c"])
}

/// `tls` follows the key in the address of the primary.
fn nsd_config(
    port: u16,
    primary: SocketAddr,
    dir: &str,
    zones: &[&str],
    signed: bool,
    tls: &str,
) -> String {
    let mut config = format!(
        "server:\n ip-address: 127.0.0.1\n port: {port}\n username: \"\"\n chroot: \"\"\n server-count: 1\n zonesdir: \"{dir}\"\n \
         pidfile: \"{dir}/pid\"\n xfrdfile: \"{dir}/xfrd\"\n zonelistfile: \"{dir}/list\"\n database: \"\"\n xfrdir: \"{dir}\"\n \
         reuseport: no\n verbosity: 2\nremote-control:\n control-enable: no\n"
    );
    let at = format!("{}@{}", primary.ip(), primary.port());
    let key = if signed { KEY } else { "NOKEY" };
    let _ = write!(
        config,
        "key:\n name: \"{KEY}\"\n algorithm: hmac-sha256\n secret: \"{SECRET}\"\n"
    );
    for zone in zones {
        let _ = write!(
            config,
            "zone:\n name: \"{zone}\"\n zonefile: \"{zone}zone\"\n request-xfr: {at} {key}{tls}\n allow-notify: 127.0.0.1 {key}\n \
             provide-xfr: 127.0.0.0/8 NOKEY\n"
        );
    }
    config
}

/// Over TLS, as [`nsd`] otherwise.
pub fn nsd_over_tls(
    port: u16,
    primary: SocketAddr,
    zones: &[&str],
    signed: bool,
    tls: &Tls<'_>,
) -> Option<Peer> {
    let (directory, dir) = directory();
    write_files(&directory, tls);
    let shown = match signed {
        true => format!(" client-cert: \"{dir}/me.pem\"\n client-key: \"{dir}/me.key\"\n"),
        false => String::new(),
    };
    let config = nsd_config(port, primary, &dir, zones, signed, " hub")
        .replace(
            "remote-control:",
            &format!(" tls-cert-bundle: \"{dir}/ca.pem\"\nremote-control:"),
        )
        .replace(
            "key:\n",
            &format!(
                "tls-auth:\n name: \"hub\"\n auth-domain-name: \"{}\"\n{shown}key:\n",
                tls.name
            ),
        );
    start("nsd", port, directory, &config, &["-d", "-c"])
}

fn write_files(directory: &TempDir, tls: &Tls<'_>) {
    for (name, text) in [
        ("ca.pem", tls.ca),
        ("me.pem", &tls.identity.0),
        ("me.key", &tls.identity.1),
    ] {
        fs::write(directory.path().join(name), text).unwrap();
    }
}

pub fn knot(port: u16, primary: SocketAddr, zones: &[&str], signed: bool) -> Option<Peer> {
    let (directory, dir) = directory();
    let mut config = knot_config(port, primary, &dir, signed);
    for zone in zones {
        let _ = write!(
            config,
            "  - domain: {zone}\n    master: primary\n    acl: [notify, transfer]\n"
        );
    }
    start("knotd", port, directory, &config, &["-c"])
}

/// Everything up to the zones.
fn knot_config(port: u16, primary: SocketAddr, dir: &str, signed: bool) -> String {
    let key = match signed {
        true => format!("    key: {KEY}\n"),
        false => String::new(),
    };
    let at = format!("{}@{}", primary.ip(), primary.port());
    format!(
        "server:\n    rundir: \"{dir}\"\n    listen: 127.0.0.1@{port}\ndatabase:\n    storage: \"{dir}\"\nlog:\n  - target: stderr\n    any: info\n\
         key:\n  - id: {KEY}\n    algorithm: hmac-sha256\n    secret: {SECRET}\nremote:\n  - id: primary\n    address: {at}\n{key}\
         acl:\n  - id: notify\n    address: 127.0.0.1\n    action: notify\n{key}  - id: transfer\n    address: 127.0.0.0/8\n    action: transfer\n\
         template:\n  - id: default\n    storage: \"{dir}\"\n  - id: member\n    storage: \"{dir}\"\n    master: primary\n    acl: [notify, transfer]\nzone:\n"
    )
}

/// Knot DNS with the zones that a catalog lists.
pub fn knot_of_catalog(port: u16, primary: SocketAddr, catalog: &str) -> Option<Peer> {
    let (directory, dir) = directory();
    let mut config = knot_config(port, primary, &dir, false);
    let _ = write!(
        config,
        "  - domain: {catalog}\n    master: primary\n    acl: [notify, transfer]\n    catalog-role: interpret\n    catalog-template: member\n"
    );
    start("knotd", port, directory, &config, &["-c"])
}

pub fn bind(port: u16, primary: SocketAddr, zones: &[&str], signed: bool) -> Option<Peer> {
    let (directory, dir) = directory();
    let config = bind_config(port, primary, &dir, zones, signed, "");
    start("named", port, directory, &config, &["-g", "-c"])
}

/// Over TLS, as [`bind`] otherwise.
pub fn bind_over_tls(
    port: u16,
    primary: SocketAddr,
    zones: &[&str],
    signed: bool,
    tls: &Tls<'_>,
) -> Option<Peer> {
    let (directory, dir) = directory();
    write_files(&directory, tls);
    let shown = match signed {
        true => format!(" cert-file \"{dir}/me.pem\"; key-file \"{dir}/me.key\";"),
        false => String::new(),
    };
    let config = format!(
        "tls hub {{ ca-file \"{dir}/ca.pem\"; remote-hostname \"{}\";{shown} }};\n{}",
        tls.name,
        bind_config(port, primary, &dir, zones, signed, " tls hub")
    );
    start("named", port, directory, &config, &["-g", "-c"])
}

/// `tls` follows the key in the address of the primary.
fn bind_config(
    port: u16,
    primary: SocketAddr,
    dir: &str,
    zones: &[&str],
    signed: bool,
    tls: &str,
) -> String {
    let mut config = format!(
        "options {{\n directory \"{dir}\";\n listen-on port {port} {{ 127.0.0.1; }};\n listen-on-v6 {{ none; }};\n recursion no;\n \
         allow-transfer {{ any; }};\n pid-file \"{dir}/pid\";\n session-keyfile \"{dir}/session.key\";\n notify no;\n \
         dnssec-validation no;\n}};\ncontrols {{ }};\nkey \"{KEY}\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n"
    );
    let (key, teller) = match signed {
        true => (format!(" key \"{KEY}\""), format!("key \"{KEY}\"")),
        false => (String::new(), "127.0.0.1".to_owned()),
    };
    for zone in zones {
        let _ = write!(
            config,
            "zone \"{zone}\" {{\n type secondary;\n primaries port {} {{ {}{key}{tls}; }};\n file \"{zone}db\";\n allow-notify {{ {teller}; }};\n}};\n",
            primary.port(),
            primary.ip()
        );
    }
    config
}
