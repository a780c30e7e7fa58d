//! Who asks, where questions come through a proxy that says so: PROXY protocol, version 2 ("The PROXY protocol", HAProxy, section 2.2).
//!
//! Why: behind dnsdist every question comes from dnsdist, so that access lists, limits, cookies and the log would see one client. The
//! proxy can put the client's address before each datagram and at the beginning of each connection, before TLS.
//!
//! Trust: whoever is believed here can be anybody. So headers are taken from `server.proxy_from` and nowhere else; and from there
//! each datagram and each connection must have one, as in PowerDNS Recursor: where it could be left out, a client whose words a proxy
//! passes on as they are could begin with a header of his own. To others a header is a message like any, and no DNS message. What the
//! proxy asks for itself, to see whether this server lives, it marks as such (LOCAL), and it is the client then.
//!
//! Failure: what has no header, a wrong one, or one that names no client (other families of addresses than IPv4 and IPv6) is dropped and
//! counted in `proxy_headers_wrong_total`; a client that is not known has no rights.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::metrics::Metrics;
use crate::prefix_set::PrefixSet;

/// What every header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What a proxy begins with that asks for itself: version 2, LOCAL, no address, nothing further.
pub const ITSELF: [u8; START_LEN] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
/// Signature, version and command, family and protocol, and how much follows, in octets.
const START_LEN: usize = 16;
/// So much may follow, in octets: addresses and what else the proxy tells. PowerDNS Recursor has the same default.
const REST_LEN_MAX: usize = 512;
/// A connection's header is whole within this time, in seconds.
const HEADER_TIME_MAX_S: u64 = 2;

/// The proxies that are believed.
#[derive(Clone)]
pub struct Proxies {
    trusted: Arc<PrefixSet>,
    metrics: Arc<Metrics>,
}

/// What a header says of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The proxy asks for itself.
    Itself,
    /// This one asks.
    Client(SocketAddr),
}

/// It is no header that this server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no right PROXY header")]
pub struct Wrong;

impl From<Wrong> for io::Error {
    fn from(wrong: Wrong) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, wrong)
    }
}

impl Proxies {
    /// Those at these addresses; none by default.
    pub fn new(trusted: PrefixSet, metrics: Arc<Metrics>) -> Proxies {
        Proxies {
            trusted: Arc::new(trusted),
            metrics,
        }
    }

    /// Whether what comes from there has a header.
    #[inline]
    pub fn has(&self, sender: SocketAddr) -> bool {
        !self.trusted.is_empty() && self.trusted.contains(sender.ip())
    }

    /// The question in a datagram, and who asks; `None` if that cannot be known.
    #[inline]
    pub fn unwrap<'d>(
        &self,
        datagram: &'d [u8],
        sender: SocketAddr,
    ) -> Option<(&'d [u8], SocketAddr)> {
        if !self.has(sender) {
            return Some((datagram, sender));
        }
        let (said, query) = self.counted(read(datagram)).ok()?;
        Some((query, said.client(sender)))
    }

    /// Who asks on a new connection from a proxy.
    ///
    /// # Errors
    /// It does not begin with a header, or not in time.
    pub async fn enter(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        proxy: SocketAddr,
    ) -> io::Result<SocketAddr> {
        let patience = Duration::from_secs(HEADER_TIME_MAX_S);
        let read = match timeout(patience, read_from(stream)).await {
            Ok(read) => read,
            Err(late) => Err(late.into()),
        };
        self.counted(read).map(|said| said.client(proxy))
    }

    fn counted<T, E>(&self, read: Result<T, E>) -> Result<T, E> {
        match &read {
            Ok(_) => self.metrics.proxy_headers_total.inc(),
            Err(_) => self.metrics.proxy_headers_wrong_total.inc(),
        }
        read
    }
}

impl Said {
    fn client(self, proxy: SocketAddr) -> SocketAddr {
        match self {
            Said::Itself => proxy,
            Said::Client(client) => client,
        }
    }
}

/// The header at the beginning, and what comes after it.
///
/// # Errors
/// There is none, or not all of it.
pub fn read(octets: &[u8]) -> Result<(Said, &[u8]), Wrong> {
    let (start, rest) = octets.split_first_chunk().ok_or(Wrong)?;
    let start = Start::read(start)?;
    let (rest, query) = rest.split_at_checked(start.rest_len).ok_or(Wrong)?;
    Ok((start.client(rest)?, query))
}

/// Reads no further than to the end of the header.
async fn read_from(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Said> {
    let mut start = [0; START_LEN];
    stream.read_exact(&mut start).await?;
    let start = Start::read(&start)?;
    let mut rest = vec![0; start.rest_len];
    stream.read_exact(&mut rest).await?;
    Ok(start.client(&rest)?)
}

/// The part of a header that has the same form in all.
struct Start {
    is_local: bool,
    family: u8,
    rest_len: usize,
}

impl Start {
    fn read(octets: &[u8; START_LEN]) -> Result<Start, Wrong> {
        let (signature, [command, family, high, low]) = octets.split_last_chunk().ok_or(Wrong)?;
        let is_local = match command {
            0x20 => true,
            0x21 => false,
            // Another version, or what nobody knows.
            _ => return Err(Wrong),
        };
        let rest_len = usize::from(u16::from_be_bytes([*high, *low]));
        if signature != SIGNATURE || rest_len > REST_LEN_MAX {
            return Err(Wrong);
        }
        Ok(Start {
            is_local,
            family: *family,
            rest_len,
        })
    }

    /// Source and destination address, both ports, and then what else the proxy tells, which is of no use here.
    fn client(&self, rest: &[u8]) -> Result<Said, Wrong> {
        if self.is_local {
            return Ok(Said::Itself);
        }
        // The lower half is how the client came to the proxy, over TCP or UDP.
        if !matches!(self.family & 0x0F, 1 | 2) {
            return Err(Wrong);
        }
        let (address, port): (IpAddr, [u8; 2]) = match self.family >> 4 {
            1 => {
                let [a, b, c, d, _, _, _, _, port @ .., _, _] =
                    rest.first_chunk::<12>().ok_or(Wrong)?;
                (Ipv4Addr::new(*a, *b, *c, *d).into(), *port)
            }
            2 => {
                let addresses = rest.first_chunk::<36>().ok_or(Wrong)?;
                let source = addresses.first_chunk::<16>().ok_or(Wrong)?;
                let ports = addresses.last_chunk::<4>().ok_or(Wrong)?;
                (Ipv6Addr::from(*source).into(), [ports[0], ports[1]])
            }
            _ => return Err(Wrong),
        };
        let address = address.to_canonical();
        Ok(Said::Client((address, u16::from_be_bytes(port)).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    /// A header with these fields.
    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let start = [command, family];
        let length = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &start, &length, rest].concat()
    }

    const FOUR: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x34, 0, 53];

    fn six() -> Vec<u8> {
        let client: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let server: Ipv6Addr = "2001:db8::53".parse().unwrap();
        [&client.octets()[..], &server.octets(), &[0x12, 0x34, 0, 53]].concat()
    }

    #[test]
    fn the_client_is_who_the_header_says() {
        let check = |header: Vec<u8>, expected: Result<&str, Wrong>| {
            let whole = [&header[..], b"query"].concat();
            let said = read(&whole).map(|(said, query)| {
                assert_eq!(query, b"query");
                said
            });
            let expected = expected.map(|client| match client {
                "" => Said::Itself,
                client => Said::Client(client.parse().unwrap()),
            });
            assert_eq!(said, expected, "{header:?}");
        };
        for protocol in [1, 2] {
            check(header(0x21, 0x10 | protocol, &FOUR), Ok("192.0.2.7:4660"));
            check(
                header(0x21, 0x20 | protocol, &six()),
                Ok("[2001:db8::7]:4660"),
            );
        }
        // What else it tells is passed over.
        let more = [&FOUR[..], &[0xE0, 0, 2, b'x', b'y']].concat();
        check(header(0x21, 0x12, &more), Ok("192.0.2.7:4660"));
        assert_eq!(read(&ITSELF), Ok((Said::Itself, &[][..])));
        // LOCAL, with and without addresses.
        check(header(0x20, 0, &[]), Ok(""));
        check(header(0x20, 0x12, &FOUR), Ok(""));
        // An IPv4 address in IPv6 clothing is what access lists say of IPv4.
        let mapped: Ipv6Addr = "::ffff:192.0.2.7".parse().unwrap();
        let mapped = [&mapped.octets()[..], &[0; 16], &[0x12, 0x34, 0, 53]].concat();
        check(header(0x21, 0x22, &mapped), Ok("192.0.2.7:4660"));
        for (command, family, rest) in [
            // Version 1 and 3, a command that nobody knows.
            (0x11, 0x12, &FOUR[..]),
            (0x31, 0x12, &FOUR),
            (0x22, 0x12, &FOUR),
            // Nobody, a unix socket, a protocol that is neither.
            (0x21, 0x00, &[]),
            (0x21, 0x32, &[0; 216]),
            (0x21, 0x10, &FOUR),
            (0x21, 0x13, &FOUR),
            // Addresses that are not whole.
            (0x21, 0x12, &FOUR[..11]),
            (0x21, 0x22, &six()[..35]),
            // More than there may be.
            (0x21, 0x12, &[0; REST_LEN_MAX + 1]),
        ] {
            check(header(command, family, rest), Err(Wrong));
        }
        let good = header(0x21, 0x12, &FOUR);
        for length in 0..good.len() {
            assert_eq!(read(&good[..length]), Err(Wrong));
        }
    }

    fn proxies() -> (Proxies, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let trusted = ["192.0.2.0/24".parse().unwrap()].into_iter().collect();
        (Proxies::new(trusted, metrics.clone()), metrics)
    }

    #[test]
    fn headers_are_taken_from_proxies_and_from_nobody_else() {
        let (proxies, metrics) = proxies();
        let (proxy, other) = (
            "192.0.2.1:53".parse().unwrap(),
            "198.51.100.1:53".parse().unwrap(),
        );
        let datagram = [&header(0x21, 0x12, &FOUR)[..], b"query"].concat();
        let client = "192.0.2.7:4660".parse().unwrap();
        assert_eq!(
            proxies.unwrap(&datagram, proxy),
            Some((&b"query"[..], client))
        );
        assert_eq!(
            proxies.unwrap(&datagram, other),
            Some((&datagram[..], other))
        );
        assert_eq!(
            proxies.unwrap(b"query", other),
            Some((&b"query"[..], other))
        );
        // A proxy has to say who asks.
        assert_eq!(proxies.unwrap(b"query", proxy), None);
        let counts = [
            &metrics.proxy_headers_total,
            &metrics.proxy_headers_wrong_total,
        ];
        assert_eq!(counts.map(|count| count.value()), [1, 1]);
        let none = Proxies::new(PrefixSet::default(), metrics.clone());
        assert_eq!(none.unwrap(&datagram, proxy), Some((&datagram[..], proxy)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_begins_with_its_header_and_soon() {
        let (proxies, metrics) = proxies();
        let proxy = "192.0.2.1:4000".parse().unwrap();
        let (mut theirs, mut ours) = tokio::io::duplex(1 << 10);
        let whole = [&header(0x21, 0x22, &six())[..], b"more"].concat();
        theirs.write_all(&whole).await.unwrap();
        let client = proxies.enter(&mut ours, proxy).await.unwrap();
        assert_eq!(client, "[2001:db8::7]:4660".parse().unwrap());
        // Nothing after it has been read.
        let mut rest = [0; 4];
        ours.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"more");
        theirs.write_all(&whole[..20]).await.unwrap();
        let late = proxies.enter(&mut ours, proxy).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        // A client that speaks TLS at once.
        let (mut theirs, mut ours) = tokio::io::duplex(1 << 10);
        theirs.write_all(&[22; 64]).await.unwrap();
        let wrong = proxies.enter(&mut ours, proxy).await.unwrap_err();
        assert_eq!(wrong.kind(), io::ErrorKind::InvalidData);
        assert_eq!(metrics.proxy_headers_wrong_total.value(), 2);
    }
}
