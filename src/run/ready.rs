//! Whether this server would answer now: asks itself, at each address of `server.listen`, over UDP and over TCP.
//!
//! All questions go out at once and have `READY_TIME_MAX_S`, so the whole takes no longer. The name is one that every server knows by itself:
//! nothing of the world outside is needed, and an outage there makes nobody unready. A refusal is an answer.
//!
//! An address that the machine lacked at the start fails, and nobody is asked there: it could be another machine's by now. Where the machine
//! has no IPv6 (or IPv4) at all, all of its addresses and its loopback are no loss: there is nobody to come to them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use holdfast::dns::message::MESSAGE_LEN_MAX;
use holdfast::dns::{Message, Question, Rtype};
use holdfast::listen::Sockets;
use holdfast::listen::proxy::{ITSELF, Proxies};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A server that answers takes no longer for a name that it knows by itself, in seconds.
const READY_TIME_MAX_S: u64 = 1;
/// The name.
const READY_NAME: &str = "localhost.";
/// Of an answer this much is read, in octets.
const ANSWER_LEN_MAX: usize = 512;

/// The ways to ask.
#[derive(Clone, Copy)]
enum Over {
    Udp,
    Tcp,
}

/// Where this server is to answer.
pub struct Doors {
    open: Vec<SocketAddr>,
    /// The machine lacked these.
    lacking: Vec<SocketAddr>,
    /// Some might be on this machine.
    proxies: Proxies,
}

impl Doors {
    /// Those of a server that is to listen on these addresses, and has these sockets.
    pub fn new(listen: &[SocketAddr], sockets: &Sockets, proxies: Proxies) -> Doors {
        let missing: Vec<_> = sockets.missing.iter().map(|(at, _)| *at).collect();
        let matters = |at: &SocketAddr| !at.ip().is_unspecified() && !at.ip().is_loopback();
        let open = listen.iter().copied().filter(|at| !missing.contains(at));
        Doors {
            open: open.collect(),
            lacking: missing.iter().copied().filter(matters).collect(),
            proxies,
        }
    }

    /// Asks at all of them.
    ///
    /// # Errors
    /// Names each address, and the way, that gave no answer.
    pub async fn ask(&self) -> Result<(), String> {
        let mut asked = JoinSet::new();
        let ways = (self.open.iter()).flat_map(|at| [(*at, Over::Udp), (*at, Over::Tcp)]);
        for (n, (at, over)) in ways.enumerate() {
            let proxies = self.proxies.clone();
            asked.spawn(async move { Some((n, failed(at, over, &proxies).await?)) });
        }
        let mut failed: Vec<_> = asked.join_all().await.into_iter().flatten().collect();
        // In the order of the configuration.
        failed.sort_unstable();
        let lacking = self.lacking.iter();
        let lacking =
            lacking.map(|at| format!("{at}: this machine lacked the address at the start"));
        let failed = failed.into_iter().map(|(_, text)| text).chain(lacking);
        let failed: Vec<_> = failed.collect();
        match failed.is_empty() {
            true => Ok(()),
            false => Err(failed.join("; ")),
        }
    }
}

/// What went wrong there, if anything.
async fn failed(at: SocketAddr, over: Over, proxies: &Proxies) -> Option<String> {
    let one = one(reachable(at), over, proxies);
    let failed = match timeout(Duration::from_secs(READY_TIME_MAX_S), one).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {READY_TIME_MAX_S} s"),
    };
    let over = match over {
        Over::Udp => "UDP",
        Over::Tcp => "TCP",
    };
    Some(format!("{over} {at}: {failed}"))
}

/// Asks once, and waits for an answer for as long as it takes.
async fn one(at: SocketAddr, over: Over, proxies: &Proxies) -> io::Result<()> {
    let id = 0;
    let name = READY_NAME.parse().expect("a name");
    let query = Message::query(id, Question::new(name, Rtype::A)).encode(MESSAGE_LEN_MAX);
    let mut answer = [0; ANSWER_LEN_MAX];
    let length = match over {
        Over::Udp => {
            let from: IpAddr = match at.ip() {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = UdpSocket::bind((from, 0)).await?;
            socket.connect(at).await?;
            let header = header(socket.local_addr()?, proxies);
            socket.send(&[header, &query].concat()).await?;
            socket.recv(&mut answer).await?
        }
        Over::Tcp => {
            let mut stream = TcpStream::connect(at).await?;
            let header = header(stream.local_addr()?, proxies);
            let length = u16::try_from(query.len()).expect("a short query");
            let octets = [header, &length.to_be_bytes(), &query].concat();
            stream.write_all(&octets).await?;
            let length = usize::from(stream.read_u16().await?).min(ANSWER_LEN_MAX);
            stream.read_exact(&mut answer[..length]).await?
        }
    };
    let is_answer = |message: Message| message.response && message.id == id;
    if Message::parse(&answer[..length]).is_ok_and(is_answer) {
        return Ok(());
    }
    let what = "what came is no answer";
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// Where proxies are on this machine, who asks from it has to say that it asks for itself.
fn header(own: SocketAddr, proxies: &Proxies) -> &'static [u8] {
    if proxies.has(own) { &ITSELF } else { &[] }
}

/// The address at which this machine reaches itself.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use holdfast::listen::proxy;
    use holdfast::metrics::Metrics;
    use holdfast::prefix_set::PrefixSet;
    use tokio::net::TcpListener;

    fn proxies(from: &[&str]) -> Proxies {
        let set: PrefixSet = from.iter().map(|net| net.parse().unwrap()).collect();
        Proxies::new(set, Arc::new(Metrics::default()))
    }

    async fn ask(open: &[SocketAddr], proxies: &Proxies) -> Result<(), String> {
        let doors = Doors {
            open: open.to_vec(),
            lacking: Vec::new(),
            proxies: proxies.clone(),
        };
        doors.ask().await
    }

    /// What comes back for a query, without a header where one is asked for.
    fn answer(octets: &[u8], proxies: &Proxies, from: SocketAddr) -> Vec<u8> {
        let query = match proxies.has(from) {
            true => proxy::read(octets).unwrap().1,
            false => octets,
        };
        let query = Message::parse(query).unwrap();
        query.reply(Default::default()).encode(MESSAGE_LEN_MAX)
    }

    /// A server at a port of its own: over UDP, and over TCP if it is to answer there, too.
    async fn server(tcp: bool, proxies: Proxies) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(at).await.unwrap();
        let of_udp = proxies.clone();
        tokio::spawn(async move {
            let mut octets = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut octets).await.unwrap();
                let answer = answer(&octets[..length], &of_udp, from);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            if !tcp {
                return;
            }
            loop {
                let (mut stream, from) = listener.accept().await.unwrap();
                let mut octets = vec![0; 512];
                let length = stream.read(&mut octets).await.unwrap();
                octets.truncate(length);
                // The length stands between header and query.
                let at = if proxies.has(from) { ITSELF.len() } else { 0 };
                octets.drain(at..at + 2);
                let answer = answer(&octets, &proxies, from);
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream
                    .write_all(&[&length, &answer[..]].concat())
                    .await
                    .unwrap();
            }
        });
        at
    }

    #[tokio::test]
    async fn each_address_is_asked_and_who_fails_is_named() {
        let none = proxies(&[]);
        let (good, other) = (
            server(true, none.clone()).await,
            server(true, none.clone()).await,
        );
        assert_eq!(ask(&[good, other], &none).await, Ok(()));
        assert_eq!(ask(&[], &none).await, Ok(()));
        // It takes the connection's question and keeps silent.
        let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mute_at = mute.local_addr().unwrap();
        let _silent = UdpSocket::bind(mute_at).await.unwrap();
        let gone = server(false, none.clone()).await;
        let told = ask(&[good, mute_at, other, gone], &none).await.unwrap_err();
        let parts: Vec<_> = told.split("; ").collect();
        let expected = [
            format!("UDP {mute_at}: no answer within 1 s"),
            format!("TCP {mute_at}: no answer within 1 s"),
        ];
        assert_eq!(parts[..2], expected, "{told}");
        assert_eq!(parts.len(), 3, "{told}");
        assert!(parts[2].starts_with(&format!("TCP {gone}: ")), "{told}");
    }

    #[tokio::test]
    async fn an_address_that_the_machine_lacks_fails_and_is_not_asked() {
        let good = server(true, proxies(&[])).await;
        let lacking = ["192.0.2.53:53", "[::1]:53", "[::]:53", "0.0.0.0:53"];
        let lacking: Vec<SocketAddr> = lacking.iter().map(|at| at.parse().unwrap()).collect();
        let mut sockets = Sockets::bind(&[], None, 1).unwrap();
        let error = || std::io::ErrorKind::AddrNotAvailable.into();
        sockets.missing = lacking.iter().map(|at| (*at, error())).collect();
        let listen = [&[good], &lacking[..]].concat();
        let doors = Doors::new(&listen, &sockets, proxies(&[]));
        let told = "192.0.2.53:53: this machine lacked the address at the start";
        assert_eq!(doors.ask().await, Err(told.into()));
        sockets.missing.remove(0);
        let doors = Doors::new(&[good, lacking[1]], &sockets, proxies(&[]));
        assert_eq!(doors.ask().await, Ok(()));
    }

    #[tokio::test]
    async fn what_is_no_answer_does_not_count() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut octets = [0; 512];
            // An echo.
            let (length, from) = socket.recv_from(&mut octets).await.unwrap();
            socket.send_to(&octets[..length], from).await.unwrap();
        });
        let told = ask(&[at], &proxies(&[])).await.unwrap_err();
        let expected = format!("UDP {at}: what came is no answer; TCP {at}: ");
        assert!(told.starts_with(&expected), "{told}");
    }

    #[tokio::test]
    async fn beside_a_proxy_it_says_that_it_asks_for_itself() {
        let local = proxies(&["127.0.0.0/8"]);
        let at = server(true, local.clone()).await;
        assert_eq!(ask(&[at], &local).await, Ok(()));
    }

    #[test]
    fn addresses_of_all_interfaces_are_reached_over_loopback() {
        let check = |listen: &str, at: &str| {
            assert_eq!(reachable(listen.parse().unwrap()), at.parse().unwrap());
        };
        check("0.0.0.0:53", "127.0.0.1:53");
        check("[::]:53", "[::1]:53");
        check("192.0.2.53:53", "192.0.2.53:53");
    }
}
