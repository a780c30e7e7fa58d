//! What relay and generator need of the system beyond the standard library: waiting for many sockets, deep queues.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// Asked of the kernel for each socket and direction, octets; a queue that overflows would look like a slow resolver.
static BUFFER_LEN: libc::c_int = 8 << 20;

/// A non-blocking UDP socket with deep queues, connected where `to` is given.
pub fn udp(at: SocketAddr, to: Option<SocketAddr>) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(at)?;
    socket.set_nonblocking(true)?;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        // SAFETY: the descriptor is open, and the value is a c_int of the stated size.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const BUFFER_LEN).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
    }
    if let Some(to) = to {
        socket.connect(to)?;
    }
    Ok(socket)
}

/// Descriptors to wait for, and which of them have something to read.
pub struct Poll(Vec<libc::pollfd>);

impl Poll {
    pub fn new(descriptors: impl Iterator<Item = RawFd>) -> Poll {
        Poll(
            descriptors
                .map(|fd| libc::pollfd {
                    fd,
                    events: libc::POLLIN,
                    revents: 0,
                })
                .collect(),
        )
    }

    /// Waits until something can be read, or for `time`.
    pub fn wait(&mut self, time: Duration) -> io::Result<()> {
        let time = libc::timespec {
            tv_sec: time.as_secs() as libc::time_t,
            tv_nsec: time.subsec_nanos().into(),
        };
        // SAFETY: the array lives through the call and has the stated length.
        let ready = unsafe {
            libc::ppoll(
                self.0.as_mut_ptr(),
                self.0.len() as libc::nfds_t,
                &time,
                std::ptr::null(),
            )
        };
        match ready {
            0.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Whether the descriptor at `index` can be read or has ended.
    pub fn ready(&self, index: usize) -> bool {
        self.0[index].revents != 0
    }
}
