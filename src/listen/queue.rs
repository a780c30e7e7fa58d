//! What the kernel says of a socket's queue, and the filter before it (`sieve`).
//!
//! This file's `unsafe`: each block hands the kernel a pointer to something that outlives the call, with its length.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use super::sieve::{Pressure, Share, Step, filter};

/// Numbers that SO_MEMINFO tells (linux/sock_diag.h): what is taken and what may be of the receiving side, and at the end what was dropped.
const NUMBERS: usize = 9;

/// How the queue of a socket stands; `None` where the kernel does not say (before Linux 4.12).
pub fn pressure(socket: &UdpSocket) -> Option<Pressure> {
    let mut numbers = [0_u32; NUMBERS];
    let mut length = size_of_val(&numbers) as libc::socklen_t;
    // SAFETY: pointer and length describe `numbers`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            numbers.as_mut_ptr().cast(),
            &mut length,
        )
    };
    let [queued, room, .., dropped] = numbers;
    let is_whole = result == 0 && length as usize == size_of_val(&numbers);
    is_whole.then_some(Pressure {
        queued,
        room,
        dropped,
    })
}

/// Lets in shares of these networks, and all of all others; without any, all of all.
///
/// # Errors
/// The kernel takes no filter; the one that was there is gone as well.
pub fn sieve(socket: &UdpSocket, shares: &[Share]) -> io::Result<()> {
    if shares.is_empty() {
        return detach(socket);
    }
    // Where there is little room for filters (`net.core.optmem_max`), at least the heaviest are in it.
    let mut count = shares.len();
    loop {
        match attach(socket, &filter(&shares[..count])) {
            Err(e) if e.raw_os_error() == Some(libc::ENOMEM) && count > 1 => count /= 2,
            Err(e) => {
                let _ = detach(socket);
                return Err(e);
            }
            Ok(()) => return Ok(()),
        }
    }
}

fn attach(socket: &UdpSocket, steps: &[Step]) -> io::Result<()> {
    let form = |step: &Step| libc::sock_filter {
        code: step.code,
        jt: step.if_true,
        jf: step.if_false,
        k: step.operand,
    };
    let mut steps: Vec<_> = steps.iter().map(form).collect();
    let program = libc::sock_fprog {
        len: steps.len() as libc::c_ushort,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: `program` points to `steps`, with their number; both outlive the call, which copies them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    said(result)
}

fn detach(socket: &UdpSocket) -> io::Result<()> {
    let nothing = 0_i32;
    // SAFETY: the pointer and the length describe `nothing`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DETACH_FILTER,
            (&raw const nothing).cast(),
            size_of_val(&nothing) as libc::socklen_t,
        )
    };
    match said(result) {
        // There is none.
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        said => said,
    }
}

fn said(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::sieve::SIEVED_MAX;
    use std::net::IpAddr;

    /// Which of the datagrams from these addresses come through a filter for these networks.
    fn come(to: &str, shares: &[(&str, f64)], from: &[&str]) -> Option<Vec<bool>> {
        let server = UdpSocket::bind((to, 0)).ok()?;
        server.set_nonblocking(true).unwrap();
        let share = |(network, share): &(&str, f64)| {
            let network: IpAddr = network.parse().unwrap();
            Share::new(network, *share)
        };
        let shares: Vec<_> = shares.iter().map(share).collect();
        sieve(&server, &shares).unwrap();
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
        sieve(&server, &[Share::new("127.0.3.0".parse().unwrap(), 0.0)]).unwrap();
        ask();
        assert_eq!(pressure(&server).unwrap().dropped, 1);
        for _ in 0..2 {
            sieve(&server, &[]).unwrap();
        }
        ask();
        let after = pressure(&server).unwrap();
        assert!(after.queued > 0 && after.dropped == 1);
    }
}
