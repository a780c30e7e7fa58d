//! The echo past the kernel's UDP path: an AF_XDP socket, for the question of whether a server should have one.
//!
//! Model (Documentation/networking/af_xdp.rst of the kernel): memory shared with the kernel is cut into frames, and each frame is at one place: free (fill ring), with
//! a packet that came (receive ring), with a packet to leave (transmit ring), or left (completion ring), from where it is free again. An answer is
//! written over its question. Every ring has room for all frames, so none is ever full.
//!
//! Bounds: one queue of one interface, IPv4 without options. UDP checksums are left out, as IPv4 allows (RFC 768).

mod program;

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::option;
use program::Mode;

/// In all, and in each ring: far more than a generator has outstanding.
const FRAMES: u32 = 4096;
/// Octets of one; the kernel puts 256 before what it receives.
const FRAME_LEN: usize = 2048;
/// Answered at once, as the socket echo does.
const BATCH: u32 = 32;
const QUEUE: u32 = 0;
/// Packets of one transmitting system call: 32 without this (`XDP_MAX_TX_SKB_BUDGET` of linux/if_xdp.h, since Linux 6.18; older kernels refuse it).
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// Tries to make the kernel send what is there; what is left goes with the next batch.
const KICKS_MAX: u32 = 64;
/// As deep as the socket echo's, octets: frames that left count until the receiver has them.
const BUFFER_LEN: libc::c_int = 4 << 20;

const ETHERNET_LEN: usize = 14;
const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;
const HEADERS_LEN: usize = ETHERNET_LEN + IPV4_LEN + UDP_LEN;
const DNS_HEADER_LEN: usize = 12;
/// An answer that fits into an Ethernet frame of 1500 octets.
const ANSWER_LEN_MAX: usize = 1500 - IPV4_LEN - UDP_LEN;

/// Answers what comes to a port at an interface, until it is ended. Says on its first line how packets reach it.
///
/// # Errors
/// What the kernel refuses, with the step.
pub fn run(interface: &str, port: &str, size: &str, options: &[&str]) -> io::Result<()> {
    let port = port.parse().map_err(io::Error::other)?;
    let size: usize = size.parse().map_err(io::Error::other)?;
    let mode = match option(options, "mode", String::from("native"))?.as_str() {
        "native" => Mode::Native,
        "generic" => Mode::Generic,
        other => return Err(io::Error::other(format!("no mode {other}"))),
    };
    let index = index_of(interface)?;
    let mut socket = Socket::open(index)?;
    let _attached = program::attach(index, mode, port, QUEUE, socket.fd.as_raw_fd())?;
    let zero_copy = if socket.zero_copy()? {
        "zero-copy"
    } else {
        "copy"
    };
    println!("{zero_copy}");
    let mut reply = vec![0; size.clamp(DNS_HEADER_LEN, ANSWER_LEN_MAX)];
    loop {
        socket.answer(&mut reply)?;
    }
}

fn index_of(interface: &str) -> io::Result<u32> {
    let name = CString::new(interface).map_err(io::Error::other)?;
    // SAFETY: the name ends with a zero and lives through the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

struct Socket {
    // Before what it uses: closed first.
    fd: OwnedFd,
    free: Ring<u64>,
    received: Ring<libc::xdp_desc>,
    sent: Ring<libc::xdp_desc>,
    left: Ring<u64>,
    frames: Mapping,
}

impl Socket {
    fn open(interface: u32) -> io::Result<Socket> {
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(step("AF_XDP"));
        }
        // SAFETY: the descriptor is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let raw = fd.as_raw_fd();
        let frames = Mapping::anonymous(FRAMES as usize * FRAME_LEN)?;
        // SAFETY: a structure of numbers; zeros are valid.
        let mut memory: libc::xdp_umem_reg = unsafe { mem::zeroed() };
        memory.addr = frames.at as u64;
        memory.len = frames.len as u64;
        memory.chunk_size = FRAME_LEN as u32;
        set(raw, libc::SOL_XDP, libc::XDP_UMEM_REG, &memory)?;
        for ring in [
            libc::XDP_UMEM_FILL_RING,
            libc::XDP_UMEM_COMPLETION_RING,
            libc::XDP_RX_RING,
            libc::XDP_TX_RING,
        ] {
            set(raw, libc::SOL_XDP, ring, &FRAMES)?;
        }
        // Older kernels do without.
        let _ = set(raw, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &FRAMES);
        set(raw, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &BUFFER_LEN)?;
        // SAFETY: the structure of this option, all numbers.
        let at: libc::xdp_mmap_offsets = unsafe { get(raw, libc::XDP_MMAP_OFFSETS) }?;
        let (fill, completion) = (
            libc::XDP_UMEM_PGOFF_FILL_RING as _,
            libc::XDP_UMEM_PGOFF_COMPLETION_RING as _,
        );
        let mut free = Ring::map(raw, fill, &at.fr, Side::Put)?;
        for frame in 0..FRAMES {
            free.put(u64::from(frame) * FRAME_LEN as u64);
        }
        free.give();
        let socket = Socket {
            free,
            received: Ring::map(raw, libc::XDP_PGOFF_RX_RING, &at.rx, Side::Take)?,
            sent: Ring::map(raw, libc::XDP_PGOFF_TX_RING, &at.tx, Side::Put)?,
            left: Ring::map(raw, completion, &at.cr, Side::Take)?,
            frames,
            fd,
        };
        socket.bind(interface)?;
        Ok(socket)
    }

    /// Without a word on copies: the kernel takes what the driver can.
    fn bind(&self, interface: u32) -> io::Result<()> {
        let name = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as _,
            sxdp_flags: libc::XDP_USE_NEED_WAKEUP,
            sxdp_ifindex: interface,
            sxdp_queue_id: QUEUE,
            sxdp_shared_umem_fd: 0,
        };
        // SAFETY: the address lives through the call and has the stated length.
        let done = unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                (&raw const name).cast(),
                size_of::<libc::sockaddr_xdp>() as libc::socklen_t,
            )
        };
        match done {
            0 => Ok(()),
            _ => Err(step("binding")),
        }
    }

    fn zero_copy(&self) -> io::Result<bool> {
        // SAFETY: the structure of this option, a number.
        let options: libc::xdp_options = unsafe { get(self.fd.as_raw_fd(), libc::XDP_OPTIONS) }?;
        Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }

    /// One batch, after waiting for it where there is none.
    fn answer(&mut self, reply: &mut [u8]) -> io::Result<()> {
        for _ in 0..self.left.ready() {
            let frame = self.left.take();
            self.free.put(frame);
        }
        self.left.give();
        let count = self.received.ready().min(BATCH);
        for _ in 0..count {
            let packet = self.received.take();
            match self.turn(&packet, reply) {
                Some(len) => self.sent.put(libc::xdp_desc { len, ..packet }),
                None => self.free.put(packet.addr),
            }
        }
        self.received.give();
        self.free.give();
        self.sent.give();
        self.kick();
        match count {
            0 => self.wait(),
            _ => Ok(()),
        }
    }

    /// Makes an answer of a question in its own frame; how long the packet is.
    fn turn(&mut self, packet: &libc::xdp_desc, reply: &mut [u8]) -> Option<u32> {
        let whole = packet.len as usize >= HEADERS_LEN + DNS_HEADER_LEN;
        let octets = self.frames.frame(packet.addr).filter(|_| whole)?;
        turn(octets, reply)
    }

    /// Has the kernel send what is to be sent: the copying path does that within this call.
    fn kick(&mut self) {
        for _ in 0..KICKS_MAX {
            if self.sent.pending() == 0 || !self.sent.asleep() {
                return;
            }
            // SAFETY: no pointers.
            unsafe {
                libc::sendto(
                    self.fd.as_raw_fd(),
                    ptr::null(),
                    0,
                    libc::MSG_DONTWAIT,
                    ptr::null(),
                    0,
                )
            };
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        let mut event = libc::pollfd {
            fd: self.fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry, which lives through the call.
        match unsafe { libc::poll(&mut event, 1, -1) } {
            0.. => Ok(()),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                error => Err(error),
            },
        }
    }
}

/// Turns a packet round: addresses and ports change places, `reply` follows, with the number of the question.
fn turn(packet: &mut [u8], reply: &mut [u8]) -> Option<u32> {
    let len = HEADERS_LEN + reply.len();
    let (headers, data) = packet.get_mut(..len)?.split_at_mut(HEADERS_LEN);
    let headers: &mut [u8; HEADERS_LEN] = headers.try_into().ok()?;
    let [a, b, flags, ..] = *data else {
        return None;
    };
    swap::<6>(headers, 0, 6);
    let (_, ip) = headers.split_at_mut(ETHERNET_LEN);
    // Length, no number, DF, 64 hops; the checksum is over zeros at its place.
    ip[2..4].copy_from_slice(&((len - ETHERNET_LEN) as u16).to_be_bytes());
    ip[4..12].copy_from_slice(&[0, 0, 0x40, 0, 64, libc::IPPROTO_UDP as u8, 0, 0]);
    swap::<4>(ip, 12, 16);
    let sum = checksum(&ip[..IPV4_LEN]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let udp = &mut ip[IPV4_LEN..];
    swap::<2>(udp, 0, 2);
    udp[4..6].copy_from_slice(&((UDP_LEN + reply.len()) as u16).to_be_bytes());
    udp[6..8].fill(0);
    reply[..3].copy_from_slice(&[a, b, flags | 0x80]);
    data.copy_from_slice(reply);
    Some(len as u32)
}

/// Two neighbours of N octets change places.
fn swap<const N: usize>(octets: &mut [u8], a: usize, b: usize) {
    let (before, after) = octets.split_at_mut(b);
    before[a..a + N].swap_with_slice(&mut after[..N]);
}

/// RFC 1071.
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// One of the four rings: descriptors, a count of those put in and one of those taken out, each written by one side.
struct Ring<T> {
    _map: Mapping,
    ours: *const AtomicU32,
    theirs: *const AtomicU32,
    flags: *const AtomicU32,
    descriptors: *mut T,
    /// Our count, published by `give`.
    count: u32,
}

/// What we do with a ring.
enum Side {
    Put,
    Take,
}

impl<T: Copy> Ring<T> {
    fn map(
        fd: RawFd,
        offset: libc::off_t,
        at: &libc::xdp_ring_offset,
        side: Side,
    ) -> io::Result<Ring<T>> {
        let len = at.desc as usize + FRAMES as usize * size_of::<T>();
        let map = Mapping::of(fd, offset, len)?;
        // SAFETY: the kernel states offsets within what it maps, each aligned for what is there.
        let (producer, consumer, flags, descriptors) = unsafe {
            (
                map.at.add(at.producer as usize).cast::<AtomicU32>(),
                map.at.add(at.consumer as usize).cast::<AtomicU32>(),
                map.at.add(at.flags as usize).cast::<AtomicU32>(),
                map.at.add(at.desc as usize).cast::<T>(),
            )
        };
        let (ours, theirs) = match side {
            Side::Put => (producer, consumer),
            Side::Take => (consumer, producer),
        };
        Ok(Ring {
            _map: map,
            ours,
            theirs,
            flags,
            descriptors,
            count: 0,
        })
    }

    fn theirs(&self) -> u32 {
        // SAFETY: within the mapping, which lives as long as this; both sides write it atomically. Acquire: with the count comes what it counts.
        unsafe { (*self.theirs).load(Ordering::Acquire) }
    }

    /// How many there are to take.
    fn ready(&self) -> u32 {
        self.theirs().wrapping_sub(self.count)
    }

    /// How many of those put in the kernel has not yet taken.
    fn pending(&self) -> u32 {
        self.count.wrapping_sub(self.theirs())
    }

    /// The kernel takes from this ring in a system call alone.
    fn asleep(&self) -> bool {
        // SAFETY: as in `theirs`.
        let flags = unsafe { (*self.flags).load(Ordering::Relaxed) };
        flags & libc::XDP_RING_NEED_WAKEUP != 0
    }

    /// Only where `ready` counted it.
    fn take(&mut self) -> T {
        let at = self.next();
        // SAFETY: within the mapping, since `next` is below FRAMES; the kernel has written it and leaves it alone until `give`. T is plain numbers.
        unsafe { ptr::read(self.descriptors.add(at)) }
    }

    /// There is room: a ring has a place for each frame.
    fn put(&mut self, descriptor: T) {
        let at = self.next();
        // SAFETY: within the mapping, since `next` is below FRAMES; the kernel does not read it until `give`.
        unsafe { ptr::write(self.descriptors.add(at), descriptor) };
    }

    fn next(&mut self) -> usize {
        let at = self.count % FRAMES;
        self.count = self.count.wrapping_add(1);
        at as usize
    }

    /// What was put in or taken is the kernel's.
    fn give(&self) {
        // SAFETY: as in `theirs`. Release: what was written or read before is done.
        unsafe { (*self.ours).store(self.count, Ordering::Release) };
    }
}

/// Memory shared with the kernel.
struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    fn anonymous(len: usize) -> io::Result<Mapping> {
        Mapping::new(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0, len)
    }

    fn of(fd: RawFd, offset: libc::off_t, len: usize) -> io::Result<Mapping> {
        Mapping::new(libc::MAP_SHARED | libc::MAP_POPULATE, fd, offset, len)
    }

    fn new(flags: libc::c_int, fd: RawFd, offset: libc::off_t, len: usize) -> io::Result<Mapping> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping where the kernel wants it; the result is checked.
        let at = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, fd, offset) };
        match at {
            libc::MAP_FAILED => Err(step("mapping")),
            at => Ok(Mapping { at: at.cast(), len }),
        }
    }

    /// The frame of a packet that came, from where the packet begins; none where the kernel named no such place.
    fn frame(&mut self, address: u64) -> Option<&mut [u8]> {
        let begin = usize::try_from(address).ok().filter(|at| *at < self.len)?;
        let len = FRAME_LEN - begin % FRAME_LEN;
        // SAFETY: within the mapping, whose length is a multiple of a frame's; a frame between receive and transmit ring is ours alone.
        Some(unsafe { std::slice::from_raw_parts_mut(self.at.add(begin), len) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; what points into it is gone with its owner.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

/// What the last system call failed with, and what it was for.
fn step(what: &str) -> io::Error {
    let error = io::Error::last_os_error();
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn set<T>(fd: RawFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value lives through the call and has the stated length.
    match unsafe { libc::setsockopt(fd, level, option, ptr::from_ref(value).cast(), len) } {
        0 => Ok(()),
        _ => Err(step("an option of the socket")),
    }
}

/// # Safety
/// `T` is what the kernel writes for this option; all numbers, so that zeros are valid.
unsafe fn get<T>(fd: RawFd, option: i32) -> io::Result<T> {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the caller's promise.
    let mut value: T = unsafe { mem::zeroed() };
    // SAFETY: the value lives through the call and has the stated length.
    let done = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_XDP,
            option,
            ptr::from_mut(&mut value).cast(),
            &mut len,
        )
    };
    match done {
        // A kernel before Linux 5.4 has offsets without flags, and no XDP_USE_NEED_WAKEUP.
        0 if len as usize == size_of::<T>() => Ok(value),
        0 => Err(io::Error::other("AF_XDP: the kernel is too old")),
        _ => Err(step("AF_XDP")),
    }
}
