//! An AF_XDP socket: memory that is shared with the kernel, and the four rings through which its frames go to and fro.
//!
//! Model (Documentation/networking/af_xdp.rst of the kernel): the memory is cut into frames, and each frame is at one place: free for the kernel to fill (fill
//! ring), with a packet that came (receive ring), with one to leave (transmit ring), or left (completion ring), from where it is free again. Every ring has
//! room for all frames, so none is ever full. While a frame is neither free nor leaving it is a [`Frame`], of which there is one for each and no copy: who
//! has it is alone with its octets.
//!
//! This file's `unsafe`: the rings are memory that the kernel writes too, by the rules of that document; socket options and addresses are handed over as
//! pointers to values that outlive the call, with their lengths.
//!
//! Failure: what the kernel refuses comes back as an error with the step. An interface that goes away is an error of the next wait.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::step;

/// In all, and in each ring: a power of two. 4 MiB of memory, as a UDP socket has, and more packets than come while a thread is away for a time slice.
const FRAMES: u32 = 2048;
/// Octets of one. The kernel keeps 256 of them before what it receives.
const FRAME_LEN: usize = 2048;
const _: () = assert!(FRAMES.is_power_of_two());
/// Packets of one system call that sends: 32 without this (`XDP_MAX_TX_SKB_BUDGET` of linux/if_xdp.h, since Linux 6.18; older kernels refuse it).
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// Tries to have the kernel send what is there; what is left goes with the next turn.
const KICKS_MAX: u32 = 64;
/// As deep as the UDP sockets', octets: frames that left count until the other end has taken them.
const SEND_BUFFER_BYTES: libc::c_int = super::super::UDP_BUFFER_BYTES as libc::c_int;

/// A frame with a packet that came: its place in the memory, and how long the packet is.
#[derive(Debug)]
pub struct Frame {
    at: u64,
    len: u32,
}

/// A socket at one receive queue of an interface.
pub struct Socket {
    // Before what it uses: closed first.
    fd: OwnedFd,
    free: Ring<u64>,
    received: Ring<libc::xdp_desc>,
    leaving: Ring<libc::xdp_desc>,
    left: Ring<u64>,
    memory: Mapping,
}

// SAFETY: the pointers lead into mappings that it owns alone; the kernel does not care which thread uses them.
unsafe impl Send for Socket {}

impl Socket {
    /// Opens one at queue `queue` of the interface with the number `interface`. With `copies` packets are copied whatever the driver can. `Ok(None)`: there is
    /// no such queue.
    ///
    /// # Errors
    /// What the kernel refuses, with the step.
    pub fn open(interface: u32, queue: u32, copies: bool) -> io::Result<Option<Socket>> {
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(step("an AF_XDP socket"));
        }
        // SAFETY: the descriptor is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let raw = fd.as_raw_fd();
        let memory = Mapping::anonymous(FRAMES as usize * FRAME_LEN)?;
        // SAFETY: a structure of numbers; zeros are valid.
        let mut of: libc::xdp_umem_reg = unsafe { mem::zeroed() };
        of.addr = memory.at as u64;
        of.len = memory.len as u64;
        of.chunk_size = FRAME_LEN as u32;
        set(raw, libc::SOL_XDP, libc::XDP_UMEM_REG, &of)
            .map_err(|e| super::named("memory for packets", &e))?;
        for ring in [
            libc::XDP_UMEM_FILL_RING,
            libc::XDP_UMEM_COMPLETION_RING,
            libc::XDP_RX_RING,
            libc::XDP_TX_RING,
        ] {
            set(raw, libc::SOL_XDP, ring, &FRAMES).map_err(|e| super::named("a ring", &e))?;
        }
        // Wishes, both of them.
        let _ = set(raw, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &FRAMES);
        if set(
            raw,
            libc::SOL_SOCKET,
            libc::SO_SNDBUFFORCE,
            &SEND_BUFFER_BYTES,
        )
        .is_err()
        {
            let _ = set(raw, libc::SOL_SOCKET, libc::SO_SNDBUF, &SEND_BUFFER_BYTES);
        }
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
            leaving: Ring::map(raw, libc::XDP_PGOFF_TX_RING, &at.tx, Side::Put)?,
            left: Ring::map(raw, completion, &at.cr, Side::Take)?,
            memory,
            fd,
        };
        socket.bind(interface, queue, copies)
    }

    fn bind(self, interface: u32, queue: u32, copies: bool) -> io::Result<Option<Socket>> {
        // Without a word on copies the kernel takes what the driver can.
        let copies = if copies { libc::XDP_COPY } else { 0 };
        let name = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as _,
            sxdp_flags: libc::XDP_USE_NEED_WAKEUP | copies,
            sxdp_ifindex: interface,
            sxdp_queue_id: queue,
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
            0 => Ok(Some(self)),
            _ => match io::Error::last_os_error() {
                error if queue > 0 && error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
                error => Err(super::named(&format!("receive queue {queue}"), &error)),
            },
        }
    }

    /// For the map of sockets.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Whether packets come without being copied.
    pub fn is_zero_copy(&self) -> bool {
        // SAFETY: the structure of this option, a number.
        let options = unsafe { get::<libc::xdp_options>(self.fd.as_raw_fd(), libc::XDP_OPTIONS) };
        options.is_ok_and(|options| options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }

    /// How many packets the kernel has dropped so far that were meant for it: no free frame, or no place in the ring.
    pub fn lost(&self) -> u64 {
        // SAFETY: the structure of this option, all numbers.
        let counts =
            unsafe { get::<libc::xdp_statistics>(self.fd.as_raw_fd(), libc::XDP_STATISTICS) };
        counts.map_or(0, |counts| {
            counts.rx_ring_full + counts.rx_dropped + counts.rx_invalid_descs
        })
    }

    /// Takes packets that are there, up to `max`; says how many.
    pub fn take(&mut self, max: u32, into: &mut Vec<Frame>) -> u32 {
        let count = self.received.ready().min(max);
        for _ in 0..count {
            let packet = self.received.take();
            into.push(Frame {
                at: packet.addr,
                len: packet.len,
            });
        }
        self.received.give();
        count
    }

    /// The octets of a packet that came; none where the kernel named no such place.
    pub fn packet(&self, frame: &Frame) -> &[u8] {
        let Some((begin, room)) = room_of(frame.at) else {
            return &[];
        };
        let len = room.min(frame.len as usize);
        // SAFETY: within the mapping, as `room_of` says; the frame is in no ring, so nobody writes to it, nor does anybody here while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.memory.at.add(begin), len) }
    }

    /// The same with all memory behind it, to write to.
    pub fn room(&mut self, frame: &mut Frame) -> &mut [u8] {
        let Some((begin, room)) = room_of(frame.at) else {
            return &mut [];
        };
        // SAFETY: as in `packet`; both are borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.memory.at.add(begin), room) }
    }

    /// Sends a frame with the first `len` octets of its room, at the next [`Socket::flush`].
    pub fn send(&mut self, frame: Frame, len: usize) {
        self.leaving.put(libc::xdp_desc {
            addr: frame.at,
            len: len as u32,
            options: 0,
        });
    }

    /// Gives a frame back.
    pub fn release(&mut self, frame: Frame) {
        self.free.put(frame.at);
    }

    /// Hands everything over to the kernel, and takes back what has left.
    pub fn flush(&mut self) {
        self.leaving.give();
        for _ in 0..KICKS_MAX {
            if self.leaving.pending() == 0 || !self.leaving.is_asleep() {
                break;
            }
            // SAFETY: no pointers. The copying path sends within this call; an error says that not all of it went.
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
        for _ in 0..self.left.ready() {
            let frame = self.left.take();
            self.free.put(frame);
        }
        self.left.give();
        self.free.give();
        if self.free.is_asleep() {
            // The driver has run out of frames, and looks for new ones when it is told to.
            let _ = self.poll(0);
        }
    }

    /// Whether packets are there.
    pub fn has_more(&self) -> bool {
        self.received.ready() > 0
    }

    /// Waits until packets are there, or so long.
    ///
    /// # Errors
    /// `TimedOut`, `Interrupted`, or what became of the interface.
    pub fn wait(&self, patience: Duration) -> io::Result<()> {
        let patience = libc::c_int::try_from(patience.as_millis()).unwrap_or(libc::c_int::MAX);
        let events = self.poll(patience)?;
        if events & libc::POLLIN != 0 {
            return Ok(());
        }
        // Of an interface that has gone, poll(2) says nothing.
        // SAFETY: the number of this option.
        let error: libc::c_int =
            unsafe { get_at(self.fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR) }?;
        Err(match (error, events) {
            (0, 0) => io::ErrorKind::TimedOut.into(),
            (0, _) => io::Error::from_raw_os_error(libc::ENETDOWN),
            (error, _) => io::Error::from_raw_os_error(error),
        })
    }

    /// What has happened; 0 when nothing did in that time.
    fn poll(&self, patience_ms: libc::c_int) -> io::Result<libc::c_short> {
        let mut event = libc::pollfd {
            fd: self.fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry, which lives through the call.
        match unsafe { libc::poll(&mut event, 1, patience_ms) } {
            0.. => Ok(event.revents),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Where an address is in the memory, and how much of its frame follows.
fn room_of(at: u64) -> Option<(usize, usize)> {
    let begin = usize::try_from(at).ok()?;
    (begin < FRAMES as usize * FRAME_LEN).then(|| (begin, FRAME_LEN - begin % FRAME_LEN))
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
        self.theirs().wrapping_sub(self.count).min(FRAMES)
    }

    /// How many of those put in the kernel has not yet taken.
    fn pending(&self) -> u32 {
        self.count.wrapping_sub(self.theirs())
    }

    /// The kernel looks at this ring in a system call alone.
    fn is_asleep(&self) -> bool {
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
            libc::MAP_FAILED => Err(step("mapping memory")),
            at => Ok(Mapping { at: at.cast(), len }),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; what points into it is gone with its owner.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

fn set<T>(fd: RawFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the value lives through the call and has the stated length.
    match unsafe { libc::setsockopt(fd, level, option, ptr::from_ref(value).cast(), len) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// # Safety
/// `T` is what the kernel writes for this option of AF_XDP; all numbers, so that zeros are valid.
unsafe fn get<T>(fd: RawFd, option: i32) -> io::Result<T> {
    // SAFETY: the caller's promise.
    unsafe { get_at(fd, libc::SOL_XDP, option) }
}

/// # Safety
/// As [`get`], for a level of options.
unsafe fn get_at<T>(fd: RawFd, level: i32, option: i32) -> io::Result<T> {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the caller's promise.
    let mut value: T = unsafe { mem::zeroed() };
    // SAFETY: the value lives through the call and has the stated length.
    let done = unsafe {
        libc::getsockopt(
            fd,
            level,
            option,
            ptr::from_mut(&mut value).cast(),
            &mut len,
        )
    };
    match done {
        // A kernel before Linux 5.4 has offsets without flags, and no XDP_USE_NEED_WAKEUP.
        0 if len as usize == size_of::<T>() => Ok(value),
        0 => Err(io::Error::other(
            "AF_XDP of this kernel is too old; it takes Linux 5.9",
        )),
        _ => Err(step("an option of AF_XDP")),
    }
}
