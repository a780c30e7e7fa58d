//! What the kernel says of a socket's queue, and the filter before it (`sieve`).
//!
//! This file's `unsafe` hands the kernel pointers to something that outlives the call, with its length.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd};

use socket2::{SockFilter, SockRef};

use super::sieve::{Kind, Pressure, Share, Step, filter};

/// Numbers that SO_MEMINFO tells (linux/sock_diag.h): what is taken and what may be of the receiving side, and at the end what was dropped.
const NUMBERS: usize = 9;
/// The first ones that TCP_INFO tells (linux/tcp.h), four octets each. Of a listening socket the last two are the connections that wait to be taken, and how many may.
const LINE_NUMBERS: usize = 8;

/// How the queue of a socket stands; `None` where the kernel does not say (before Linux 4.12).
pub fn pressure(socket: &UdpSocket) -> Option<Pressure> {
    let [queued, room, .., dropped] =
        numbers::<NUMBERS>(socket, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    Some(Pressure {
        queued,
        room,
        dropped,
    })
}

/// How the line of connections before a listening socket stands.
pub fn line(listener: &impl AsFd) -> Option<Pressure> {
    let [.., waiting, room] = numbers::<LINE_NUMBERS>(listener, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    let [.., dropped] = numbers::<NUMBERS>(listener, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    let line = Pressure::of_line(waiting as usize, room as usize, dropped);
    Some(line)
}

fn numbers<const COUNT: usize>(
    socket: &impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
) -> Option<[u32; COUNT]> {
    let mut numbers = [0_u32; COUNT];
    let mut length = size_of_val(&numbers) as libc::socklen_t;
    // SAFETY: pointer and length describe `numbers`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            numbers.as_mut_ptr().cast(),
            &mut length,
        )
    };
    let is_whole = result == 0 && length as usize == size_of_val(&numbers);
    is_whole.then_some(numbers)
}

/// Lets in shares of these networks, and all of all others; without any, all of all. `kind`: what comes to the socket.
///
/// # Errors
/// The kernel takes no filter; the one that was there is gone as well.
pub fn sieve(socket: &impl AsFd, kind: Kind, shares: &[Share]) -> io::Result<()> {
    if shares.is_empty() {
        return let_all_in(socket);
    }
    // Where there is little room for filters (`net.core.optmem_max`), at least the heaviest are in it.
    let mut count = shares.len();
    loop {
        let form = |step: Step| {
            let Step {
                code,
                if_true,
                if_false,
                operand,
            } = step;
            SockFilter::new(code, if_true, if_false, operand)
        };
        let steps: Vec<_> = (filter(kind, &shares[..count]).into_iter().map(form)).collect();
        match SockRef::from(socket).attach_filter(&steps) {
            Err(e) if e.raw_os_error() == Some(libc::ENOMEM) && count > 1 => count /= 2,
            Err(e) => {
                let _ = let_all_in(socket);
                return Err(e);
            }
            Ok(()) => return Ok(()),
        }
    }
}

/// Takes the filter away, if there is one. A connection has that of its listener when it opened.
///
/// # Errors
/// The system does not do it.
pub fn let_all_in(socket: &impl AsFd) -> io::Result<()> {
    match SockRef::from(socket).detach_filter() {
        // There is none.
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        said => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::sieve::{CONNECTIONS, DATAGRAMS, SIEVED_MAX};
    use std::io::{Read, Write};
    use std::net::{IpAddr, TcpListener, TcpStream};
    use std::time::Duration;

    /// Which of the datagrams from these addresses come through a filter for these networks.
    fn come(to: &str, shares: &[(&str, f64)], from: &[&str]) -> Option<Vec<bool>> {
        let server = UdpSocket::bind((to, 0)).ok()?;
        server.set_nonblocking(true).unwrap();
        let share = |(network, share): &(&str, f64)| {
            let network: IpAddr = network.parse().unwrap();
            Share::new(network, *share)
        };
        let shares: Vec<_> = shares.iter().map(share).collect();
        sieve(&server, DATAGRAMS, &shares).unwrap();
        let come = from.iter().map(|from| {
            let client = UdpSocket::bind((*from, 0)).unwrap();
            // Over loopback it is there, or gone, when this returns.
            client.send_to(b"?", server.local_addr().unwrap()).unwrap();
            server.recv(&mut [0; 16]).is_ok()
        });
        Some(come.collect())
    }

    #[test]
    fn the_kernel_drops_what_exceeds_the_share_of_its_network() {
        let from = ["127.0.1.1", "127.0.1.200", "127.0.2.1", "127.0.0.1"];
        for (shares, expected) in [
            (&[][..], [true; 4]),
            (&[("127.0.1.0", 0.0)], [false, false, true, true]),
            (&[("127.0.1.0", 1.0)], [true; 4]),
            (
                &[("127.0.9.0", 0.0), ("127.0.1.0", 1.0), ("127.0.2.0", 0.0)],
                [true, true, false, true],
            ),
        ] {
            assert_eq!(
                come("127.0.0.1", shares, &from).unwrap(),
                expected,
                "{shares:?}"
            );
        }
        let many: Vec<_> = (0..SIEVED_MAX)
            .map(|n| (format!("10.1.{n}.0"), 0.0))
            .collect();
        let mut many: Vec<_> = many
            .iter()
            .map(|(network, share)| (network.as_str(), *share))
            .collect();
        many[SIEVED_MAX - 1] = ("127.0.2.0", 0.0);
        assert_eq!(
            come("127.0.0.1", &many, &from).unwrap(),
            [true, true, false, true]
        );
    }

    #[test]
    fn the_same_over_ipv6() {
        // A machine may have no IPv6.
        for (shares, expected) in [
            (&[("::", 0.0)][..], false),
            (&[("::", 1.0)], true),
            (
                &[("2001:db8::", 0.0), ("0:0:0:100::", 0.0), ("1::", 0.0)],
                true,
            ),
            (&[("2001:db8::", 1.0), ("::", 0.0)], false),
        ] {
            if let Some(come) = come("::1", shares, &["::1"]) {
                assert_eq!(come, [expected], "{shares:?}");
            }
        }
    }

    #[test]
    fn what_is_dropped_is_told_and_a_filter_can_go() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let client = UdpSocket::bind("127.0.3.1:0").unwrap();
        let ask = || client.send_to(b"?", server.local_addr().unwrap()).unwrap();
        let before = pressure(&server).unwrap();
        assert_eq!((before.queued, before.dropped), (0, 0));
        assert!(before.room > 0);
        let shares = [Share::new("127.0.3.0".parse().unwrap(), 0.0)];
        sieve(&server, DATAGRAMS, &shares).unwrap();
        ask();
        assert_eq!(pressure(&server).unwrap().dropped, 1);
        for _ in 0..2 {
            sieve(&server, DATAGRAMS, &[]).unwrap();
        }
        ask();
        let after = pressure(&server).unwrap();
        assert!(after.queued > 0 && after.dropped == 1);
    }

    /// A connection from this address, which is given up soon.
    fn connect(from: &str, to: &TcpListener) -> io::Result<TcpStream> {
        let socket = socket2::Socket::new(
            socket2::Domain::IPV4,
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        let from: IpAddr = from.parse().unwrap();
        socket.bind(&std::net::SocketAddr::new(from, 0).into())?;
        // Over loopback it is open at once, or never.
        let patience = Duration::from_millis(200);
        socket.connect_timeout(&to.local_addr()?.into(), patience)?;
        Ok(socket.into())
    }

    #[test]
    fn connections_are_sieved_as_they_open_and_never_later() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let before = line(&server).unwrap();
        assert_eq!((before.queued, before.dropped), (0, 0));
        assert!(before.room > 0);
        let mut early = connect("127.0.4.1", &server).unwrap();
        let one = Pressure::of_line(1, 0, 0).queued;
        assert_eq!(line(&server).unwrap().queued, one);
        let shares = [
            Share::new("127.0.4.0".parse().unwrap(), 0.0),
            Share::new("127.0.5.0".parse().unwrap(), 1.0),
        ];
        sieve(&server, CONNECTIONS, &shares).unwrap();
        assert!(connect("127.0.4.2", &server).is_err());
        assert!(line(&server).unwrap().dropped > 0);
        let mut others = [connect("127.0.5.1", &server), connect("127.0.6.1", &server)];
        // Who was there before goes on, with what the listener has and what is his own.
        let said = |client: &mut TcpStream| {
            let (mut taken, _) = server.accept().unwrap();
            client.write_all(b"?").unwrap();
            taken.read_exact(&mut [0]).unwrap();
            let_all_in(&taken).unwrap();
            taken.write_all(b"!").unwrap();
            client.read_exact(&mut [0]).unwrap();
        };
        said(&mut early);
        others
            .iter_mut()
            .for_each(|other| said(other.as_mut().unwrap()));
        assert_eq!(line(&server).unwrap().queued, 0);
        sieve(&server, CONNECTIONS, &[]).unwrap();
        assert!(connect("127.0.4.3", &server).is_ok());
    }

    #[test]
    fn of_a_connection_that_is_let_in_no_packet_is_sieved() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let shares = [Share::new("127.0.7.0".parse().unwrap(), 0.5)];
        sieve(&server, CONNECTIONS, &shares).unwrap();
        let tries = (0..24).map(|_| connect("127.0.7.1", &server));
        let opened: Vec<_> = tries.filter_map(Result::ok).collect();
        assert!((1..24).contains(&opened.len()), "{}", opened.len());
        // The last packet of each handshake has come through as well.
        let waiting = Pressure::of_line(opened.len(), 0, 0).queued;
        assert_eq!(line(&server).unwrap().queued, waiting);
        for mut client in opened {
            let (mut taken, _) = server.accept().unwrap();
            let_all_in(&taken).unwrap();
            taken
                .set_read_timeout(Some(Duration::from_millis(150)))
                .unwrap();
            client.write_all(b"?").unwrap();
            taken.read_exact(&mut [0]).unwrap();
        }
    }
}
