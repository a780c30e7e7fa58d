//! Sockets towards servers: how they are opened, and what their errors mean.
//!
//! A UDP socket is bound to a port drawn at random from all unprivileged ones (RFC 5452 section 9.2)
//! and connected, so that the kernel drops what comes from elsewhere and hands over ICMP errors. By
//! default Linux keeps "network unreachable" and "host unreachable" to itself; those are just the
//! messages that tell of an outage, so IP_RECVERR is set to get them too.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use rand::{Rng, RngExt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::ExchangeError;

/// Ports that questions leave from.
const PORT_MIN: u16 = 1024;
/// Random ports that are tried before the kernel is asked to find a free one.
const PORT_TRIES_MAX: usize = 16;

/// A non-blocking UDP socket from `source` and a random port, connected to `server`.
pub(super) fn connected_udp(
    source: IpAddr,
    server: SocketAddr,
    rng: &mut impl Rng,
) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(server);
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if server.is_ipv6() {
        socket.set_only_v6(true)?;
        report_icmp(socket.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVERR)?;
    } else {
        report_icmp(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_RECVERR)?;
    }
    bind_random_port(&socket, source, rng)?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// What a question waits for on its socket: data, and ICMP errors.
pub(super) const RECEIVES: Interest = Interest::READABLE.add(Interest::ERROR);

/// Hands the socket to the runtime, which then waits for what it receives.
pub(super) fn watched(socket: UdpSocket) -> io::Result<AsyncFd<UdpSocket>> {
    // SAFETY: a `UdpSocket` owns its one descriptor and keeps it open until it is dropped, and nobody
    // gets at it but through the `AsyncFd`.
    Ok(unsafe { AsyncFd::register_with_interest(socket, RECEIVES) }?)
}

fn bind_random_port(socket: &Socket, source: IpAddr, rng: &mut impl Rng) -> io::Result<()> {
    for _ in 0..PORT_TRIES_MAX {
        let port = rng.random_range(PORT_MIN..=u16::MAX);
        match socket.bind(&SocketAddr::new(source, port).into()) {
            // Taken, or closed to us by the administrator: another one.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRINUSE | libc::EACCES)) => {
            }
            other => return other,
        }
    }
    socket.bind(&SocketAddr::new(source, 0).into())
}

/// Asks the kernel to report soft ICMP errors on this socket too.
fn report_icmp(fd: RawFd, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: `fd` is an open socket of the caller, and the value is a c_int of the stated size.
    let result = unsafe {
        libc::setsockopt(
            fd,
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How many files this process may have open.
pub(super) fn open_files_max() -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a live rlimit that the call fills.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX),
        _ => usize::MAX,
    }
}

/// What an error of a socket says about the exchange. Lack of something on this machine is
/// [`ExchangeError::Local`]; anything else means that the way to the server is closed, whether the
/// routing table, a packet filter (EPERM), a router or the server says so.
pub(super) fn classify(error: &io::Error) -> ExchangeError {
    match error.raw_os_error() {
        Some(
            libc::EMFILE
            | libc::ENFILE
            | libc::ENOBUFS
            | libc::ENOMEM
            | libc::EAGAIN
            | libc::EMSGSIZE
            | libc::EADDRINUSE,
        ) => ExchangeError::Limit(error.to_string()),
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT) => ExchangeError::Local(error.to_string()),
        Some(libc::ETIMEDOUT) => ExchangeError::TimedOut,
        _ => ExchangeError::Unreachable(reason(error)),
    }
}

/// In few words: an answer has little room for its reason.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENETUNREACH) => "no route".into(),
        Some(libc::EHOSTUNREACH) => "host unreachable".into(),
        Some(libc::ECONNREFUSED) => "refused".into(),
        Some(libc::ECONNRESET) => "reset".into(),
        Some(libc::EPERM | libc::EACCES) => "blocked here".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn ports_are_spread_over_the_whole_range() {
        let mut rng = StdRng::seed_from_u64(5);
        let server = ([127, 0, 0, 1], 9).into();
        let ports: HashSet<u16> = (0..500)
            .map(|_| connected_udp(Ipv4Addr::LOCALHOST.into(), server, &mut rng).unwrap())
            .map(|socket| socket.local_addr().unwrap().port())
            .collect();
        assert!(ports.len() > 480);
        assert!(ports.iter().all(|&port| port >= PORT_MIN));
        for eighth in 0..8u16 {
            let part = ports.iter().filter(|&&port| port / 8192 == eighth);
            assert!(part.count() > 20, "none in part {eighth}");
        }
    }

    #[test]
    fn a_taken_port_is_not_shared() {
        let mut rng = StdRng::seed_from_u64(6);
        let server = ([127, 0, 0, 1], 9).into();
        let first = connected_udp(Ipv4Addr::LOCALHOST.into(), server, &mut rng).unwrap();
        // The same seed draws the same port first.
        let mut rng = StdRng::seed_from_u64(6);
        let second = connected_udp(Ipv4Addr::LOCALHOST.into(), server, &mut rng).unwrap();
        assert_ne!(first.local_addr().unwrap(), second.local_addr().unwrap());
    }

    #[test]
    fn errors_are_told_apart() {
        let check = |errno, expected: &str| {
            let found = format!("{:?}", classify(&io::Error::from_raw_os_error(errno)));
            assert!(found.starts_with(expected), "{errno}: {found}");
        };
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS] {
            check(errno, "Limit");
        }
        check(libc::EADDRNOTAVAIL, "Local");
        for errno in [
            libc::ECONNREFUSED,
            libc::ECONNRESET,
            libc::EPIPE,
            libc::ENETUNREACH,
            libc::EHOSTUNREACH,
            libc::EPERM,
            libc::EACCES,
            libc::EINVAL,
        ] {
            check(errno, "Unreachable");
        }
        check(libc::ETIMEDOUT, "TimedOut");
    }
}
