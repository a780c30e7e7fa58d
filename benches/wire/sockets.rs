//! What echo and generator need of the system: batches of datagrams, and bursts that the kernel cuts into datagrams late.

use std::io;
use std::mem;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr;

/// Asked of the kernel for each socket and direction, octets, as holdfast's listener does.
const BUFFER_LEN: libc::c_int = 4 << 20;
/// Room for one control message with an `in_pktinfo`, or with the length of a segment.
const CONTROL_LEN: usize = 32;

/// A UDP socket with deep queues; several may have the same address.
pub fn udp(at: SocketAddrV4) -> io::Result<UdpSocket> {
    // SAFETY: no pointers; the result is checked.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    let socket = unsafe { UdpSocket::from_raw_fd(fd) };
    set(&socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, BUFFER_LEN)?;
    set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUF, BUFFER_LEN)?;
    if at.ip().is_unspecified() {
        set(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    }
    let name = address(at);
    // SAFETY: the address lives through the call and has the stated length.
    match unsafe { libc::bind(fd, (&raw const name).cast(), NAME_LEN) } {
        0 => Ok(socket),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set(socket: &UdpSocket, level: i32, option: i32, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the value is a c_int of the stated size.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

const NAME_LEN: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;

fn address(at: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as _,
        sin_port: at.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*at.ip()).to_be(),
        },
        sin_zero: [0; 8],
    }
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_LEN]);

/// Room for as many datagrams as one system call takes, with the pointers to it made once.
pub struct Batch {
    headers: Vec<libc::mmsghdr>,
    buffers: Vec<u8>,
    buffer_len: usize,
    // What the headers point to; never resized.
    _names: Vec<libc::sockaddr_in>,
    parts: Vec<libc::iovec>,
    controls: Vec<Control>,
}

impl Batch {
    /// `names`: the senders are wanted, and where they sent to.
    pub fn new(count: usize, buffer_len: usize, names: bool) -> Batch {
        // SAFETY: an address of zeros is a valid one.
        let mut all_names = vec![unsafe { mem::zeroed::<libc::sockaddr_in>() }; count];
        let mut buffers = vec![0; count * buffer_len];
        let mut controls = vec![Control([0; CONTROL_LEN]); count];
        let mut parts: Vec<_> = buffers
            .chunks_mut(buffer_len)
            .map(|buffer| libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer_len,
            })
            .collect();
        let rooms = all_names.iter_mut().zip(&mut parts).zip(&mut controls);
        let headers = rooms
            .map(|((name, part), control)| {
                // SAFETY: null pointers and zero lengths are a valid header.
                let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
                if names {
                    header.msg_hdr.msg_name = ptr::from_mut(name).cast();
                    header.msg_hdr.msg_namelen = NAME_LEN;
                    header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
                }
                header.msg_hdr.msg_iov = part;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        Batch {
            headers,
            buffers,
            buffer_len,
            _names: all_names,
            parts,
            controls,
        }
    }

    /// Takes what is there; with `wait`, waits for the first. How many there are.
    ///
    /// # Errors
    /// Whatever the kernel says, `WouldBlock` among it.
    pub fn receive(&mut self, socket: &UdpSocket, wait: bool) -> io::Result<usize> {
        // The whole length is told even where the buffer is shorter.
        let flags = libc::MSG_TRUNC
            | if wait {
                libc::MSG_WAITFORONE
            } else {
                libc::MSG_DONTWAIT
            };
        // SAFETY: the headers point to memory of this struct, which is never moved, with its lengths.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                flags as _,
                ptr::null_mut(),
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// A datagram of the last batch: what of it fitted, and its whole length.
    pub fn datagram(&self, index: usize) -> (&[u8], usize) {
        let whole = self.headers[index].msg_len as usize;
        let begin = index * self.buffer_len;
        (
            &self.buffers[begin..begin + whole.min(self.buffer_len)],
            whole,
        )
    }

    /// Makes `replies` leave to the senders of the last batch, from where they asked; returns how many did not leave. Both batches must be of one size.
    pub fn answer(&mut self, socket: &UdpSocket, replies: &mut Replies, count: usize) -> usize {
        for (header, part) in self.headers[..count].iter_mut().zip(&mut replies.parts) {
            header.msg_hdr.msg_iov = part;
            if header.msg_hdr.msg_controllen == 0 {
                header.msg_hdr.msg_control = ptr::null_mut();
            }
        }
        let (mut sent, mut failed) = (0, 0);
        while sent < count {
            // SAFETY: as in `receive`; the control messages are those that the kernel wrote.
            let done = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.headers[sent..].as_mut_ptr(),
                    (count - sent) as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            };
            match usize::try_from(done) {
                Ok(done) => sent += done.max(1),
                Err(_) => {
                    sent += 1;
                    failed += 1;
                }
            }
        }
        failed
    }

    /// Makes the headers ready for the next batch of a socket that tells senders, and the addresses they asked if `local`.
    pub fn reset(&mut self, count: usize, local: bool) {
        let rooms = self.parts.iter_mut().zip(&mut self.controls);
        for (header, (part, control)) in self.headers[..count].iter_mut().zip(rooms) {
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_namelen = NAME_LEN;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = if local { CONTROL_LEN as _ } else { 0 };
        }
    }
}

/// Datagrams to be sent, all of one length.
pub struct Replies {
    buffers: Vec<u8>,
    len: usize,
    parts: Vec<libc::iovec>,
}

impl Replies {
    pub fn new(count: usize, len: usize) -> Replies {
        let mut buffers = vec![0; count * len];
        let parts = buffers
            .chunks_mut(len)
            .map(|buffer| libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: len,
            })
            .collect();
        Replies {
            buffers,
            len,
            parts,
        }
    }

    pub fn reply(&mut self, index: usize) -> &mut [u8] {
        &mut self.buffers[index * self.len..(index + 1) * self.len]
    }
}

/// Sends `bytes` over a connected socket as datagrams of `len` octets each: one walk through the kernel for all of them.
///
/// # Errors
/// Whatever the kernel says; then none has left.
pub fn send_burst(socket: &UdpSocket, bytes: &mut [u8], len: usize) -> io::Result<()> {
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let mut control = Control([0; CONTROL_LEN]);
    // SAFETY: the header's pointers lead to locals with their lengths; the control message fits into its room.
    let sent = unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        if bytes.len() > len {
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(2) as _;
            let message = libc::CMSG_FIRSTHDR(&header);
            (*message).cmsg_level = libc::SOL_UDP;
            (*message).cmsg_type = libc::UDP_SEGMENT;
            (*message).cmsg_len = libc::CMSG_LEN(2) as _;
            ptr::write_unaligned(libc::CMSG_DATA(message).cast(), len as u16);
        }
        libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT)
    };
    match sent {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
