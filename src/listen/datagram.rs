//! Many datagrams per system call, and answers that leave from the address that was asked.
//!
//! A socket on a wildcard address receives for every address of the machine, and the kernel would choose
//! a source address for the answer by itself; clients drop answers from another address than they asked.
//! So such sockets report the address that a datagram came to (IP_PKTINFO, IPV6_RECVPKTINFO), and the
//! answer carries it back.
//!
//! This is the only file here with `unsafe`: each block hands the kernel pointers into vectors that outlive
//! the call, with the lengths of those vectors.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::{SockAddr, SockAddrStorage};

/// Datagrams taken from a socket at once.
pub const BATCH_MAX: usize = 32;
/// Longer queries are cut and then fail to parse; none in use comes near.
const QUERY_LEN_MAX_BYTES: usize = 4096;
/// Room for one packet-info control message of either family.
const CONTROL_LEN_BYTES: usize = 64;

/// The address of this machine that a datagram came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    address: IpAddr,
    interface: u32,
}

/// Where an answer goes, and where from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The client.
    pub client: SocketAddr,
    /// The address that it asked; `None` where the socket has only one.
    pub local: Option<Local>,
}

/// Suitably aligned room for control messages.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_LEN_BYTES]);

/// Buffers for received datagrams, used again and again.
pub struct Inbox {
    buffers: Vec<[u8; QUERY_LEN_MAX_BYTES]>,
    lengths: Vec<usize>,
    routes: Vec<Option<Route>>,
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox {
            buffers: vec![[0; QUERY_LEN_MAX_BYTES]; BATCH_MAX],
            lengths: Vec::with_capacity(BATCH_MAX),
            routes: Vec::with_capacity(BATCH_MAX),
        }
    }
}

impl Inbox {
    /// Waits for at least one datagram and takes what else is there; replaces what was in the inbox.
    ///
    /// # Errors
    /// The socket's read timeout as `WouldBlock`, and whatever the network reports about earlier answers.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.lengths.clear();
        self.routes.clear();
        let mut names: [SockAddrStorage; BATCH_MAX] =
            std::array::from_fn(|_| SockAddrStorage::zeroed());
        let mut controls = [Control([0; CONTROL_LEN_BYTES]); BATCH_MAX];
        let mut parts: Vec<libc::iovec> = (self.buffers.iter_mut())
            .map(|buffer| libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            })
            .collect();
        let mut headers: Vec<libc::mmsghdr> = Vec::with_capacity(BATCH_MAX);
        for ((name, control), part) in names.iter_mut().zip(&mut controls).zip(&mut parts) {
            let mut header = empty_header();
            header.msg_hdr.msg_namelen = name.size_of();
            header.msg_hdr.msg_name = (name as *mut SockAddrStorage).cast();
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_LEN_BYTES as _;
            headers.push(header);
        }
        // SAFETY: every pointer in `headers` leads into `names`, `controls`, `parts` and `self.buffers`,
        // which live to the end of this function and hold BATCH_MAX elements each.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_WAITFORONE as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (header, name) in headers.iter().zip(names).take(count) {
            self.lengths.push(header.msg_len as usize);
            // SAFETY: the kernel has written an address of this length.
            let name = unsafe { SockAddr::new(name, header.msg_hdr.msg_namelen) };
            let local = local_of(&header.msg_hdr);
            self.routes
                .push(name.as_socket().map(|client| Route { client, local }));
        }
        Ok(())
    }

    /// The datagrams of the last [`Inbox::receive`].
    pub fn datagrams(&self) -> impl Iterator<Item = (&[u8], Route)> {
        let received = self.buffers.iter().zip(&self.lengths).zip(&self.routes);
        received.filter_map(|((buffer, length), route)| Some((buffer.get(..*length)?, (*route)?)))
    }
}

/// Sends each answer on its way. One that cannot be sent is left out: its client asks again. Returns how
/// many were left out.
pub fn send_all(socket: &UdpSocket, answers: &[(Vec<u8>, Route)]) -> usize {
    let mut failed = 0;
    for batch in answers.chunks(BATCH_MAX) {
        failed += send_batch(socket, batch);
    }
    failed
}

fn send_batch(socket: &UdpSocket, answers: &[(Vec<u8>, Route)]) -> usize {
    let names: Vec<SockAddr> = answers.iter().map(|(_, r)| r.client.into()).collect();
    let mut controls = [Control([0; CONTROL_LEN_BYTES]); BATCH_MAX];
    let mut parts: Vec<libc::iovec> = (answers.iter())
        .map(|(bytes, _)| libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = Vec::with_capacity(answers.len());
    let rooms = names.iter().zip(&mut controls).zip(&mut parts);
    for (((name, control), part), (_, route)) in rooms.zip(answers) {
        let mut header = empty_header();
        header.msg_hdr.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = name.len();
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        if let Some(local) = route.local {
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_LEN_BYTES as _;
            header.msg_hdr.msg_controllen = put_local(&mut header.msg_hdr, local) as _;
        }
        headers.push(header);
    }
    let (mut sent, mut failed) = (0, 0);
    while let Some(rest) = headers.get_mut(sent..).filter(|rest| !rest.is_empty()) {
        // SAFETY: as in `receive`; the kernel reads only.
        let count = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                rest.as_mut_ptr(),
                rest.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        match usize::try_from(count) {
            Ok(count) => sent += count.max(1),
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            // The error belongs to the first of the rest.
            Err(_) => {
                sent += 1;
                failed += 1;
            }
        }
    }
    failed
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: null pointers and zero lengths are a valid header.
    unsafe { mem::zeroed() }
}

/// Reads the address that a datagram came to.
fn local_of(header: &libc::msghdr) -> Option<Local> {
    // SAFETY: `header` has been filled by the kernel and points to live control data; the CMSG functions
    // stay within msg_controllen, and the data is read without assuming its alignment.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            let data = libc::CMSG_DATA(control);
            match ((*control).cmsg_level, (*control).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = std::ptr::read_unaligned(data.cast());
                    return Some(Local {
                        address: Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into(),
                        interface: 0,
                    });
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = std::ptr::read_unaligned(data.cast());
                    return Some(Local {
                        address: Ipv6Addr::from(info.ipi6_addr.s6_addr).into(),
                        interface: info.ipi6_ifindex,
                    });
                }
                _ => control = libc::CMSG_NXTHDR(header, control),
            }
        }
    }
    None
}

/// Writes the source address into the control data of `header`; returns the length used.
fn put_local(header: &mut libc::msghdr, local: Local) -> u32 {
    // SAFETY: `header` points to CONTROL_LEN_BYTES of zeroed, aligned room, which is enough for one
    // message of either family.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(header);
        match local.address {
            IpAddr::V4(address) => {
                let mut info: libc::in_pktinfo = mem::zeroed();
                info.ipi_spec_dst.s_addr = u32::from(address).to_be();
                put(control, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
            }
            IpAddr::V6(address) => {
                let mut info: libc::in6_pktinfo = mem::zeroed();
                info.ipi6_addr.s6_addr = address.octets();
                info.ipi6_ifindex = local.interface;
                put(control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
            }
        }
    }
}

/// Writes one control message.
///
/// # Safety
/// `control` must point to room for a header and a `T`.
unsafe fn put<T>(control: *mut libc::cmsghdr, level: i32, kind: i32, value: T) -> u32 {
    const { assert!(size_of::<T>() + size_of::<libc::cmsghdr>() <= CONTROL_LEN_BYTES) };
    let length = size_of::<T>() as u32;
    // SAFETY: the caller's promise.
    unsafe {
        (*control).cmsg_level = level;
        (*control).cmsg_type = kind;
        (*control).cmsg_len = libc::CMSG_LEN(length) as _;
        std::ptr::write_unaligned(libc::CMSG_DATA(control).cast(), value);
        libc::CMSG_SPACE(length)
    }
}
