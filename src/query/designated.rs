//! Which encrypted listeners stand for this resolver (DDR, RFC 9462): the records of `_dns.resolver.arpa.`.
//!
//! A client that knows nothing but an address asks for them, and goes over to what they name if the certificate there is for that
//! address. There are such records where the configuration has a name for the certificate (`server.tls.name`) and a listener.

use crate::config::ServerTls;
use crate::dns::{Name, Rdata, RrSet, Rtype};

/// Where they are.
pub const OWNER: &str = "_dns.resolver.arpa.";
/// A listener that goes should not be looked for long, in seconds.
const TTL_S: u32 = 300;
/// Keys of parameters (RFC 9460 section 14.3.2, RFC 9461 section 5).
const ALPN: u16 = 1;
const PORT: u16 = 3;
const DOHPATH: u16 = 7;
/// RFC 9461 section 5: a URI template with the variable `dns`.
const DOH_TEMPLATE: &[u8] = b"/dns-query{?dns}";

/// The records; `None` where nothing is designated.
pub fn records(tls: &ServerTls) -> Option<RrSet> {
    let name = tls.name.as_ref()?;
    let listeners = [
        (&tls.dot, &b"dot"[..], None),
        (&tls.doh, &b"h2"[..], Some(DOH_TEMPLATE)),
        (&tls.doq, &b"doq"[..], None),
    ];
    let mut rdatas: Vec<Rdata> = Vec::new();
    for (addresses, alpn, path) in listeners {
        let mut ports: Vec<u16> = addresses.iter().map(|at| at.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        for port in ports {
            let priority = rdatas.len() as u16 + 1;
            rdatas.push(rdata(priority, name, alpn, port, path));
        }
    }
    (!rdatas.is_empty()).then(|| RrSet {
        name: OWNER.parse().expect("a name"),
        rtype: Rtype::SVCB,
        ttl: TTL_S,
        rdatas,
        sigs: Vec::new(),
    })
}

/// RFC 9460 section 2.2: priority, target, and parameters in the order of their keys.
fn rdata(priority: u16, target: &Name, alpn: &[u8], port: u16, path: Option<&[u8]>) -> Rdata {
    let mut out = priority.to_be_bytes().to_vec();
    out.extend_from_slice(target.to_lowercase().wire());
    let mut push = |key: u16, value: &[u8]| {
        out.extend(key.to_be_bytes());
        out.extend((value.len() as u16).to_be_bytes());
        out.extend_from_slice(value);
    };
    push(ALPN, &[&[alpn.len() as u8], alpn].concat());
    push(PORT, &port.to_be_bytes());
    if let Some(path) = path {
        push(DOHPATH, path);
    }
    out.into()
}
