//! A transfer over TLS from a real server: BIND in a network namespace of its own. Without `named` in the PATH, or root rights, the
//! test says so and passes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holdfast::config::{AxfrTls, Source};
use holdfast::mirror::TcpConnect;

use crate::lab::{signed, write_zone};
use crate::namespace;
use crate::secure::{HUB, Secure};

/// Looks at whether it listens, a tenth of a second apart.
const START_TRIES_MAX: usize = 300;

/// A server that ends with this value.
struct Named(Child);

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(dir: &Path) -> Option<(Named, SocketAddr)> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = free.local_addr().unwrap();
    drop(free);
    let (port, path) = (addr.port(), dir.display());
    let conf = format!(
        "tls xot {{ cert-file \"{path}/cert.pem\"; key-file \"{path}/key.pem\"; protocols {{ \"TLSv1.3\"; }}; }};\n\
         controls {{ }};\n\
         options {{ directory \"{path}\"; pid-file none; session-keyfile none; recursion no; dnssec-validation no;\n\
         listen-on port {port} tls xot {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n\
         allow-transfer port {port} transport tls {{ any; }}; notify no; }};\n\
         zone \"test.\" {{ type primary; file \"test.zone\"; check-names ignore; }};\n"
    );
    fs::write(dir.join("named.conf"), conf).unwrap();
    let log = fs::File::create(dir.join("log")).unwrap();
    let mut command = Command::new("named");
    command
        .args(["-g", "-n", "1", "-c"])
        .arg(dir.join("named.conf"));
    match command.stdout(Stdio::null()).stderr(log).spawn() {
        Ok(child) => Some((Named(child), addr)),
        Err(error) => {
            eprintln!("SKIPPED: the transfer from BIND needs named in the PATH ({error})");
            None
        }
    }
}

#[tokio::test]
async fn a_transfer_over_tls_from_bind() {
    if !namespace::enter() {
        return;
    }
    let mut secure = Secure::new();
    let dir = tempfile::tempdir().unwrap();
    secure.authority.write_identity(HUB, dir.path());
    write_zone(&dir.path().join("test.zone"), &signed(10));
    let Some((_named, addr)) = start(dir.path()) else {
        return;
    };
    let mut tries = 0;
    while TcpStream::connect(addr).is_err() {
        tries += 1;
        let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        assert!(tries < START_TRIES_MAX, "named does not listen\n{}", log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let source = |name: &str| Source::Axfr {
        addr,
        tsig: None,
        tls: Some(AxfrTls {
            client: None,
            name: Some(name.to_owned()),
            ca: Some(secure.ca.clone()),
        }),
    };
    secure.lab.connect = Some(Arc::new(TcpConnect::default()));
    secure.lab.config.sources = vec![source("other.example"), source(HUB)];
    secure.lab.start().await;
    secure.lab.refresh().await.unwrap();
    let status = secure.lab.status();
    assert_eq!(
        (status.serial, status.channel.as_deref()),
        (Some(10), Some("tls"))
    );
    assert!(status.source.unwrap().ends_with("(TLS, hub.example)"));
}
