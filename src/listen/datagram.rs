//! Many datagrams per system call, and answers that leave from the address that was asked.
//!
//! A socket on a wildcard address receives for every address of the machine, and the kernel would choose
//! a source address for the answer by itself; clients drop answers from another address than they asked.
//! So such sockets report the address that a datagram came to (IP_PKTINFO, IPV6_RECVPKTINFO), and the
//! answer carries it back.
//!
//! This file's `unsafe`: each block hands the kernel pointers into vectors that outlive
//! the call, with the lengths of those vectors.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

/// Datagrams taken from a socket at once.
pub const BATCH_MAX: usize = 32;
/// Longer queries are cut and then fail to parse; none in use comes near.
const QUERY_LEN_MAX_BYTES: usize = 4096;
/// From one buffer to the next. Not a multiple of a page: the beginnings, which are all that is read of most queries, would share a few
/// lines of the processor's cache.
const BUFFER_STRIDE_BYTES: usize = QUERY_LEN_MAX_BYTES + 192;
/// Room for one packet-info control message of either family.
const CONTROL_LEN_BYTES: usize = 64;
/// How often a socket is looked at again before its thread sleeps, where the last look found several datagrams.
const SPINS_MAX: usize = 8;

/// The address of this machine that a datagram came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    address: IpAddr,
    interface: u32,
}

impl Local {
    /// An address that means something without an interface.
    #[cfg(feature = "xdp")]
    pub fn new(address: IpAddr) -> Local {
        Local {
            address,
            interface: 0,
        }
    }
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

/// An address as the kernel reads and writes it: of either family.
#[repr(C)]
#[derive(Clone, Copy)]
union Name {
    family: libc::sa_family_t,
    four: libc::sockaddr_in,
    six: libc::sockaddr_in6,
}

impl Name {
    fn empty() -> Name {
        // SAFETY: zeros are an address of no family.
        unsafe { mem::zeroed() }
    }

    /// Becomes this address; returns its length in octets.
    fn set(&mut self, address: SocketAddr) -> usize {
        match address {
            SocketAddr::V4(address) => {
                self.four = libc::sockaddr_in {
                    sin_family: libc::AF_INET as _,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(address.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(address) => {
                self.six = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as _,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: address.ip().octets(),
                    },
                    sin6_scope_id: address.scope_id(),
                };
                size_of::<libc::sockaddr_in6>()
            }
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        // SAFETY: all fields are plain numbers, so any octets are valid ones; the family says which were written.
        unsafe {
            match libc::c_int::from(self.family) {
                libc::AF_INET => {
                    let ip = Ipv4Addr::from(self.four.sin_addr.s_addr.to_ne_bytes());
                    Some(SocketAddrV4::new(ip, u16::from_be(self.four.sin_port)).into())
                }
                libc::AF_INET6 => {
                    let six = self.six;
                    let ip = Ipv6Addr::from(six.sin6_addr.s6_addr);
                    let port = u16::from_be(six.sin6_port);
                    Some(SocketAddrV6::new(ip, port, six.sin6_flowinfo, six.sin6_scope_id).into())
                }
                _ => None,
            }
        }
    }
}

/// What the kernel is told of several datagrams: for each a header, and the rooms that it points to.
///
/// Pointers are made anew for each batch: none is kept over a time in which what they lead to is read.
struct Rooms {
    names: Box<[Name]>,
    controls: Box<[Control]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

impl Rooms {
    /// For so many.
    fn new(count: usize) -> Rooms {
        let part = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        // SAFETY: null pointers and zero lengths are a valid header.
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        Rooms {
            names: vec![Name::empty(); count].into_boxed_slice(),
            controls: vec![Control([0; CONTROL_LEN_BYTES]); count].into_boxed_slice(),
            parts: vec![part; count].into_boxed_slice(),
            headers: vec![header; count].into_boxed_slice(),
        }
    }

    /// All of them, one after the other.
    fn each(&mut self) -> impl Iterator<Item = Room<'_>> {
        let rooms = self.names.iter_mut().zip(&mut self.controls);
        let rooms = rooms.zip(self.parts.iter_mut().zip(&mut self.headers));
        rooms.map(|((name, control), (part, header))| Room {
            name,
            control,
            part,
            header: &mut header.msg_hdr,
        })
    }
}

/// Those of one datagram.
struct Room<'r> {
    name: &'r mut Name,
    control: &'r mut Control,
    part: &'r mut libc::iovec,
    header: &'r mut libc::msghdr,
}

impl Room<'_> {
    /// Points the header to the rooms, of which so many octets are used or may be: the kernel writes how much of them it used.
    fn aim(self, name_len: usize, control_len: usize) {
        let header = self.header;
        header.msg_name = std::ptr::from_mut(self.name).cast();
        header.msg_namelen = name_len as libc::socklen_t;
        header.msg_iov = self.part;
        header.msg_iovlen = 1;
        header.msg_control = match control_len {
            0 => std::ptr::null_mut(),
            _ => self.control.0.as_mut_ptr().cast(),
        };
        header.msg_controllen = control_len as _;
    }
}

/// Buffers for received datagrams, used again and again.
pub struct Inbox {
    buffers: Box<[u8]>,
    rooms: Rooms,
    received: Vec<(usize, Option<Route>)>,
}

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox {
            buffers: vec![0; BUFFER_STRIDE_BYTES * BATCH_MAX].into_boxed_slice(),
            rooms: Rooms::new(BATCH_MAX),
            received: Vec::with_capacity(BATCH_MAX),
        }
    }
}

impl Inbox {
    /// Waits for at least one datagram and takes what else is there; replaces what was in the inbox.
    ///
    /// After several datagrams at once there are likely more on their way, so it looks a few times before it sleeps: to be woken costs
    /// more than that.
    ///
    /// # Errors
    /// The socket's read timeout as `WouldBlock`, and whatever the network reports about earlier answers.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let is_busy = self.received.len() > 1;
        self.received.clear();
        self.aim();
        for _ in 0..if is_busy { SPINS_MAX } else { 0 } {
            match self.take(socket, libc::MSG_DONTWAIT) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::hint::spin_loop(),
                taken => return taken,
            }
        }
        self.take(socket, libc::MSG_WAITFORONE)
    }

    /// Points the headers to the rooms and buffers. A call that finds nothing leaves them so.
    fn aim(&mut self) {
        let buffers = self.buffers.chunks_exact_mut(BUFFER_STRIDE_BYTES);
        for (room, buffer) in self.rooms.each().zip(buffers) {
            room.part.iov_base = buffer.as_mut_ptr().cast();
            room.part.iov_len = QUERY_LEN_MAX_BYTES;
            room.aim(size_of::<Name>(), CONTROL_LEN_BYTES);
        }
    }

    /// Takes what is there, once the headers are aimed.
    fn take(&mut self, socket: &UdpSocket, flags: libc::c_int) -> io::Result<()> {
        let Rooms { names, headers, .. } = &mut self.rooms;
        // SAFETY: every pointer in `headers` was made in this `receive`, and leads into the rooms and `buffers`, which hold
        // BATCH_MAX elements each and have not been touched since; nor are they before the call is over.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (header, name) in headers.iter().zip(names.iter()).take(count) {
            let local = local_of(&header.msg_hdr);
            let route = name.address().map(|client| Route { client, local });
            self.received.push((header.msg_len as usize, route));
        }
        Ok(())
    }

    /// The datagrams of the last [`Inbox::receive`], each with its number.
    pub fn datagrams(&self) -> impl Iterator<Item = (usize, &[u8], &Route)> {
        let buffers = self.buffers.chunks_exact(BUFFER_STRIDE_BYTES);
        let received = buffers.zip(&self.received).enumerate();
        received.filter_map(|(number, (buffer, (length, route)))| {
            Some((number, buffer.get(..*length)?, route.as_ref()?))
        })
    }

    /// How many those are, with those that came from nowhere.
    pub fn taken(&self) -> usize {
        self.received.len()
    }

    /// Where the datagram with this number came from.
    pub fn route(&self, number: usize) -> Option<&Route> {
        self.received.get(number)?.1.as_ref()
    }
}

/// Answers of one turn, in one piece of memory that is used again and again.
#[derive(Default)]
pub struct Answers {
    bytes: Vec<u8>,
    /// Where each one ends, and the number of the datagram that it answers.
    ends: Vec<(usize, usize)>,
}

impl Answers {
    /// Adds what `write` appends, if it does; returns what that says.
    pub fn add<R>(&mut self, number: usize, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let begin = self.bytes.len();
        let said = write(&mut self.bytes);
        if self.bytes.len() > begin {
            self.ends.push((self.bytes.len(), number));
        }
        said
    }

    /// Adds an answer.
    pub fn push(&mut self, number: usize, answer: &[u8]) {
        self.add(number, |bytes| bytes.extend_from_slice(answer));
    }

    /// Forgets what was begun and never added.
    pub fn drop_begun(&mut self) {
        let end = self.ends.last().map_or(0, |(end, _)| *end);
        self.bytes.truncate(end);
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Each with the number of its datagram, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], usize)> {
        let mut begin = 0;
        self.ends.iter().map(move |(end, number)| {
            let answer = &self.bytes[begin..*end];
            begin = *end;
            (answer, *number)
        })
    }
}

/// Answers that the kernel did not take, by what it said.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Unsent {
    /// No room in the socket's buffer, the network device's queue or the kernel's memory: more leaves than the line takes.
    pub full: u64,
    /// A packet filter on this machine, or its connection tracking, let none out.
    pub denied: u64,
    /// This machine knows no way to the client, or the interface of the way is down.
    pub unreachable: u64,
    /// All else: clients with a port of 0, for example.
    pub other: u64,
}

impl Unsent {
    /// All of them.
    pub fn total(self) -> u64 {
        self.full + self.denied + self.unreachable + self.other
    }

    /// sendmsg(2), udp(7), ip(7).
    fn count(&mut self, error: &io::Error) {
        let kind = match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => &mut self.full,
            Some(libc::EPERM | libc::EACCES) => &mut self.denied,
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN) => {
                &mut self.unreachable
            }
            _ => &mut self.other,
        };
        *kind += 1;
    }
}

impl std::ops::AddAssign for Unsent {
    fn add_assign(&mut self, more: Unsent) {
        self.full += more.full;
        self.denied += more.denied;
        self.unreachable += more.unreachable;
        self.other += more.other;
    }
}

/// Sends answers, many per system call.
pub struct Sender(Rooms);

impl Default for Sender {
    fn default() -> Sender {
        Sender::new(BATCH_MAX)
    }
}

impl Sender {
    /// For so many answers in one system call, or [`BATCH_MAX`].
    pub fn new(count: usize) -> Sender {
        Sender(Rooms::new(count.clamp(1, BATCH_MAX)))
    }

    /// Sends each answer on its way. One that cannot be sent is left out: its client asks again. Returns what was left out.
    pub fn send<'a>(
        &mut self,
        socket: &UdpSocket,
        answers: impl Iterator<Item = (&'a [u8], &'a Route)>,
    ) -> Unsent {
        let mut answers = answers.peekable();
        let mut unsent = Unsent::default();
        while answers.peek().is_some() {
            unsent += self.send_batch(socket, answers.by_ref());
        }
        unsent
    }

    /// Sends as many as there are rooms.
    fn send_batch<'a>(
        &mut self,
        socket: &UdpSocket,
        answers: impl Iterator<Item = (&'a [u8], &'a Route)>,
    ) -> Unsent {
        let mut count = 0;
        // Whoever has no room stays with the iterator.
        for (room, (bytes, route)) in self.0.each().zip(answers) {
            count += 1;
            room.part.iov_base = bytes.as_ptr().cast_mut().cast();
            room.part.iov_len = bytes.len();
            let name_len = room.name.set(route.client);
            let control_len = route.local.map_or(0, |local| room.control.put(local));
            room.aim(name_len, control_len);
        }
        let headers = self.0.headers.get_mut(..count).unwrap_or_default();
        let (mut sent, mut unsent) = (0, Unsent::default());
        while let Some(rest) = headers.get_mut(sent..).filter(|rest| !rest.is_empty()) {
            // SAFETY: every pointer has just been made, and leads into the rooms or the answers themselves, none of which is touched before
            // the call is over; the kernel reads only.
            let count = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            };
            let Ok(count) = usize::try_from(count) else {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    // It belongs to the first of the rest.
                    sent += 1;
                    unsent.count(&error);
                }
                continue;
            };
            sent += count.max(1);
        }
        unsent
    }
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
                    let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    // RFC 3542 section 6.2: an interface is an order to send by it, whatever the routes say. Only addresses that
                    // mean nothing without one want that.
                    let interface = match address.is_unicast_link_local() {
                        true => info.ipi6_ifindex,
                        false => 0,
                    };
                    return Some(Local {
                        address: address.into(),
                        interface,
                    });
                }
                _ => control = libc::CMSG_NXTHDR(header, control),
            }
        }
    }
    None
}

impl Control {
    /// Writes the source address of an answer; returns the length used, in octets.
    fn put(&mut self, local: Local) -> usize {
        let control = (&raw mut self.0).cast::<libc::cmsghdr>();
        // SAFETY: the pointer leads to CONTROL_LEN_BYTES of aligned room, which is enough for one message of either family.
        unsafe {
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
}

/// Writes one control message; returns the room that it takes, in octets.
///
/// # Safety
/// `control` must point to aligned room for a header and a `T`.
unsafe fn put<T>(control: *mut libc::cmsghdr, level: i32, kind: i32, value: T) -> usize {
    const { assert!(size_of::<T>() + size_of::<libc::cmsghdr>() <= CONTROL_LEN_BYTES) };
    let length = size_of::<T>() as u32;
    // SAFETY: the caller's promise.
    unsafe {
        (*control).cmsg_level = level;
        (*control).cmsg_type = kind;
        (*control).cmsg_len = libc::CMSG_LEN(length) as _;
        std::ptr::write_unaligned(libc::CMSG_DATA(control).cast(), value);
        libc::CMSG_SPACE(length) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(errno: i32) -> [u64; 4] {
        let mut unsent = Unsent::default();
        unsent.count(&io::Error::from_raw_os_error(errno));
        [unsent.full, unsent.denied, unsent.unreachable, unsent.other]
    }

    #[test]
    fn each_error_is_counted_by_its_reason() {
        for (errno, expected) in [
            (libc::EAGAIN, [1, 0, 0, 0]),
            (libc::ENOBUFS, [1, 0, 0, 0]),
            (libc::EPERM, [0, 1, 0, 0]),
            (libc::EACCES, [0, 1, 0, 0]),
            (libc::ENETUNREACH, [0, 0, 1, 0]),
            (libc::EHOSTUNREACH, [0, 0, 1, 0]),
            (libc::EINVAL, [0, 0, 0, 1]),
            (libc::EMSGSIZE, [0, 0, 0, 1]),
        ] {
            assert_eq!(counted(errno), expected, "{errno}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_counted_and_holds_up_nothing() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let timeout = std::time::Duration::from_secs(10);
        client.set_read_timeout(Some(timeout)).unwrap();
        let to = |client: SocketAddr| Route {
            client,
            local: None,
        };
        let nobody = to("127.0.0.1:0".parse().unwrap());
        let client_route = to(client.local_addr().unwrap());
        let answers = [
            (&b"to nobody"[..], &nobody),
            (b"one", &client_route),
            (b"to nobody", &nobody),
            (b"two", &client_route),
        ];
        // All at once, and in two system calls.
        for room in [BATCH_MAX, 3] {
            let unsent = Sender::new(room).send(&socket, answers.into_iter());
            assert_eq!((unsent.other, unsent.total()), (2, 2));
        }
        for expected in [&b"one"[..], b"two", b"one", b"two"] {
            let mut got = [0; 16];
            let length = client.recv(&mut got).unwrap();
            assert_eq!(&got[..length], expected);
        }
    }

    #[test]
    fn an_inbox_is_used_again_and_again() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut inbox = Inbox::default();
        for text in ["a longer datagram than the next", "short", "", "the last"] {
            let to = socket.local_addr().unwrap();
            client.send_to(text.as_bytes(), to).unwrap();
            inbox.receive(&socket).unwrap();
            // It may move between two calls.
            let moved = inbox;
            let got: Vec<_> = moved.datagrams().collect();
            assert_eq!(got.len(), 1);
            let (number, octets, route) = got[0];
            assert_eq!(octets, text.as_bytes());
            assert_eq!(route.client, client.local_addr().unwrap());
            assert_eq!(moved.route(number), Some(route));
            inbox = moved;
        }
    }
}
