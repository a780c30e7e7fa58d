//! What the kernel runs for each packet that an interface receives: which ones go past it.
//!
//! Why in the kernel: what is redirected is lost to everybody else. So only what is surely a question to this server goes: a frame to the interface's own address
//! with UDP over IPv4 without options and no fragment, or over IPv6 without extension headers, to an address and port in the map of *places*. Everything else (ARP,
//! neighbour discovery, TCP, ICMP, VLANs, what is forwarded to other machines) goes on as if nothing were here, and so does a question that came by a
//! queue without a socket.
//!
//! Model: two maps and a program that is loaded by bpf(2) as it stands, so that neither a compiler for eBPF nor a library is needed. It is attached by a link, which
//! belongs to a descriptor: the program leaves the interface when that is closed, and so at the latest when this process has ended, however it did.
//!
//! This file's `unsafe` are the system calls: each gets a structure that lives through the call, as a part of `union bpf_attr` of linux/bpf.h.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::frame::ETHERNET_LEN;
use super::named;

// linux/bpf.h
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_MAP_TYPE_HASH: u32 = 1;
const BPF_MAP_TYPE_XSKMAP: u32 = 17;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const BPF_PSEUDO_MAP_FD: u8 = 1;
const BPF_FUNC_MAP_LOOKUP_ELEM: i32 = 1;
const BPF_FUNC_REDIRECT_MAP: i32 = 51;
const XDP_PASS: i32 = 2;
// linux/if_link.h
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// The offsets of `struct xdp_md`.
const MD_DATA: i16 = 0;
const MD_DATA_END: i16 = 4;
const MD_QUEUE: i16 = 16;

/// Ethernet, IPv4 without options, UDP.
const HEADERS_LEN_4: i32 = 42;
/// Ethernet, IPv6, UDP.
const HEADERS_LEN_6: i32 = 62;
/// Longer frames stay with the kernel: no question is so long, and they might not fit into the shared memory.
const FRAME_LEN_MAX: i32 = 1500 + ETHERNET_LEN as i32;
/// Octets of a place: an address, IPv4 as IPv6 has it, and a port with zeros behind it.
const PLACE_LEN: usize = 24;
/// Addresses times ports.
pub const PLACES_MAX: u32 = 1024;
/// Queues of one interface that are served; what comes by others goes to the UDP sockets.
pub const QUEUES_MAX: u32 = 64;

/// Where the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel has made anything of the packet.
    Native,
    /// After that, for any driver.
    Generic,
}

/// The addresses and ports whose questions go past the kernel.
pub struct Places(OwnedFd);

impl Places {
    /// Adds one.
    ///
    /// # Errors
    /// What the kernel says; more than [`PLACES_MAX`].
    pub fn add(&self, place: SocketAddr) -> io::Result<()> {
        update(&self.0, &key(place), 1)
    }

    /// Takes one out.
    ///
    /// # Errors
    /// What the kernel says; there is none.
    pub fn remove(&self, place: SocketAddr) -> io::Result<()> {
        let key = key(place);
        let mut attributes = MapUpdate {
            map: self.0.as_raw_fd() as u32,
            padding: 0,
            key: key.as_ptr() as u64,
            value: 0,
            flags: 0,
        };
        // SAFETY: the key lives through the call and has the octets that the map was made for.
        unsafe { bpf(BPF_MAP_DELETE_ELEM, &mut attributes) }?;
        Ok(())
    }
}

fn key(place: SocketAddr) -> [u8; PLACE_LEN] {
    let mut key = [0; PLACE_LEN];
    let octets = match place.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    key[..16].copy_from_slice(&octets);
    key[16..18].copy_from_slice(&place.port().to_be_bytes());
    key
}

/// A program at an interface; leaves it when dropped.
pub struct Attached {
    // Before what it uses.
    _link: OwnedFd,
    _program: OwnedFd,
    queues: OwnedFd,
    /// Where questions go past the kernel: nowhere yet.
    pub places: Places,
    /// Where it runs.
    pub mode: Mode,
}

impl Attached {
    /// Has what comes by receive queue `queue` go to `socket`, as long as that is open.
    ///
    /// # Errors
    /// What the kernel says; a queue of [`QUEUES_MAX`] or more.
    pub fn enter(&self, queue: u32, socket: RawFd) -> io::Result<()> {
        let entered = update(&self.queues, &queue.to_ne_bytes(), socket as u32);
        entered.map_err(|e| named("the map of sockets", &e))
    }
}

/// Attaches the program to the interface with this number and address, in the first of `modes` that it can have.
///
/// # Errors
/// What the kernel says, with the step.
pub fn attach(interface: u32, mac: [u8; 6], modes: &[Mode]) -> io::Result<Attached> {
    let places = map(BPF_MAP_TYPE_HASH, PLACE_LEN as u32, PLACES_MAX);
    let places = places.map_err(|e| named("a map of addresses", &e))?;
    let queues = map(BPF_MAP_TYPE_XSKMAP, 4, QUEUES_MAX);
    let queues = queues.map_err(|e| named("a map of sockets", &e))?;
    let program = program(mac, places.as_raw_fd(), queues.as_raw_fd());
    let program = load(&program).map_err(|e| named("the XDP program", &e))?;
    let mut refused = io::Error::from(io::ErrorKind::Unsupported);
    for &mode in modes {
        match link(&program, interface, mode) {
            Ok(link) => {
                return Ok(Attached {
                    _link: link,
                    _program: program,
                    queues,
                    places: Places(places),
                    mode,
                });
            }
            Err(error) => refused = error,
        }
    }
    Err(named("attaching the XDP program", &refused))
}

/// One instruction, as linux/bpf.h has it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Insn {
    code: u8,
    /// The destination in the low half, the source in the high one.
    registers: u8,
    offset: i16,
    value: i32,
}

const fn insn(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Insn {
    Insn {
        code,
        registers: from << 4 | to,
        offset,
        value,
    }
}

/// Jumps to the end, where the packet is passed on, and to the part for IPv6; their ways are written when all is there.
const PASS: i16 = i16::MAX;
const SIX: i16 = i16::MAX - 1;
const FOUND: i16 = i16::MAX - 2;

#[rustfmt::skip]
fn program(mac: [u8; 6], places: RawFd, sockets: RawFd) -> Vec<Insn> {
    const LOAD_B: u8 = 0x71;
    const LOAD_H: u8 = 0x69;
    const LOAD_W: u8 = 0x61;
    const STORE_W: u8 = 0x63;
    const STORE_D: u8 = 0x7b;
    const PUT_W: u8 = 0x62;
    const PUT_D: u8 = 0x7a;
    const SET: u8 = 0xb7;
    const COPY: u8 = 0xbf;
    const ADD: u8 = 0x07;
    const AND: u8 = 0x57;
    const GOTO: u8 = 0x05;
    const IF_MORE: u8 = 0x2d;
    const IF_LESS_OR_SAME: u8 = 0xbd;
    const IF: u8 = 0x15;
    const IF_NOT: u8 = 0x55;
    // Of the lower 32 bits, as their sign is not that of what was loaded.
    const IF_NOT_W: u8 = 0x56;
    const IF_ANY_BIT: u8 = 0x45;
    const MAP: u8 = 0x18;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    // A load has octets in the machine's order.
    let wire = |value: u16| i32::from(value.to_be());
    let [a, b, c, d, e, f] = mac;
    // The key of a place on the stack (r10): 16 octets, and 8 with the port.
    let (key, key_port) = (-24i16, -8i16);
    let begin = [
        // r6 is the context, r2 and r3 the packet's beginning and end.
        insn(COPY, 6, 1, 0, 0),
        insn(LOAD_W, 2, 6, MD_DATA, 0),
        insn(LOAD_W, 3, 6, MD_DATA_END, 0),
        insn(COPY, 4, 2, 0, 0),
        insn(ADD, 4, 0, 0, FRAME_LEN_MAX + 1),
        insn(IF_LESS_OR_SAME, 4, 3, PASS, 0),
        insn(COPY, 4, 2, 0, 0),
        insn(ADD, 4, 0, 0, HEADERS_LEN_4),
        insn(IF_MORE, 4, 3, PASS, 0),
        // To this station.
        insn(LOAD_W, 5, 2, 0, 0),
        insn(IF_NOT_W, 5, 0, PASS, i32::from_ne_bytes([a, b, c, d])),
        insn(LOAD_H, 5, 2, 4, 0),
        insn(IF_NOT, 5, 0, PASS, i32::from(u16::from_ne_bytes([e, f]))),
        // EtherType.
        insn(LOAD_H, 5, 2, 12, 0),
        insn(IF, 5, 0, SIX, wire(0x86DD)),
        insn(IF_NOT, 5, 0, PASS, wire(0x0800)),
    ];
    let four = [
        // Version 4, no options.
        insn(LOAD_B, 5, 2, 14, 0),
        insn(IF_NOT, 5, 0, PASS, 0x45),
        // No fragment: neither more of them nor an offset.
        insn(LOAD_H, 5, 2, 20, 0),
        insn(IF_ANY_BIT, 5, 0, PASS, wire(0x3FFF)),
        insn(LOAD_B, 5, 2, 23, 0),
        insn(IF_NOT, 5, 0, PASS, libc::IPPROTO_UDP),
        // ::ffff:0:0/96
        insn(PUT_D, 10, 0, key, 0),
        insn(PUT_W, 10, 0, key + 8, i32::from_ne_bytes([0, 0, 0xFF, 0xFF])),
        insn(LOAD_W, 5, 2, 30, 0),
        insn(STORE_W, 10, 5, key + 12, 0),
        insn(LOAD_H, 5, 2, 36, 0),
        insn(GOTO, 0, 0, FOUND, 0),
    ];
    let six = [
        insn(COPY, 4, 2, 0, 0),
        insn(ADD, 4, 0, 0, HEADERS_LEN_6),
        insn(IF_MORE, 4, 3, PASS, 0),
        insn(LOAD_B, 5, 2, 14, 0),
        insn(AND, 5, 0, 0, 0xF0),
        insn(IF_NOT, 5, 0, PASS, 0x60),
        insn(LOAD_B, 5, 2, 20, 0),
        insn(IF_NOT, 5, 0, PASS, libc::IPPROTO_UDP),
        insn(LOAD_W, 5, 2, 38, 0),
        insn(STORE_W, 10, 5, key, 0),
        insn(LOAD_W, 5, 2, 42, 0),
        insn(STORE_W, 10, 5, key + 4, 0),
        insn(LOAD_W, 5, 2, 46, 0),
        insn(STORE_W, 10, 5, key + 8, 0),
        insn(LOAD_W, 5, 2, 50, 0),
        insn(STORE_W, 10, 5, key + 12, 0),
        insn(LOAD_H, 5, 2, 56, 0),
    ];
    let found = [
        insn(STORE_D, 10, 5, key_port, 0),
        insn(MAP, 1, BPF_PSEUDO_MAP_FD, 0, places),
        insn(0, 0, 0, 0, 0),
        insn(COPY, 2, 10, 0, 0),
        insn(ADD, 2, 0, 0, i32::from(key)),
        insn(CALL, 0, 0, 0, BPF_FUNC_MAP_LOOKUP_ELEM),
        insn(IF, 0, 0, PASS, 0),
        // return bpf_redirect_map(sockets, queue, XDP_PASS): passed on where no socket is at the queue.
        insn(LOAD_W, 2, 6, MD_QUEUE, 0),
        insn(MAP, 1, BPF_PSEUDO_MAP_FD, 0, sockets),
        insn(0, 0, 0, 0, 0),
        insn(SET, 3, 0, 0, XDP_PASS),
        insn(CALL, 0, 0, 0, BPF_FUNC_REDIRECT_MAP),
        insn(EXIT, 0, 0, 0, 0),
    ];
    let pass = [insn(SET, 0, 0, 0, XDP_PASS), insn(EXIT, 0, 0, 0, 0)];
    let six_at = begin.len() + four.len();
    let found_at = six_at + six.len();
    let pass_at = found_at + found.len();
    let mut code = [&begin[..], &four, &six, &found, &pass].concat();
    for (at, insn) in code.iter_mut().enumerate() {
        let target = match insn.offset {
            PASS => pass_at,
            SIX => six_at,
            FOUND => found_at,
            _ => continue,
        };
        insn.offset = (target - at - 1) as i16;
    }
    code
}

// The parts of `union bpf_attr` that are used; the kernel takes what is left out for zeros.

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_len: u32,
    value_len: u32,
    entries_max: u32,
}

#[repr(C)]
struct MapUpdate {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_len: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

fn map(kind: u32, key_len: u32, entries_max: u32) -> io::Result<OwnedFd> {
    let mut attributes = MapCreate {
        kind,
        key_len,
        value_len: 4,
        entries_max,
    };
    // SAFETY: the structure holds no pointers.
    let fd = unsafe { bpf(BPF_MAP_CREATE, &mut attributes) }?;
    Ok(owned(fd))
}

fn load(code: &[Insn]) -> io::Result<OwnedFd> {
    let mut attributes = ProgLoad {
        kind: BPF_PROG_TYPE_XDP,
        count: code.len() as u32,
        instructions: code.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_len: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: *b"holdfast_dns\0\0\0\0",
        interface: 0,
        expected_attach_type: BPF_XDP,
    };
    // SAFETY: the instructions live through the call and are as many as stated; the license ends with a zero.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &mut attributes) }?;
    Ok(owned(fd))
}

/// `key` has as many octets as the map was made for.
fn update(map: &OwnedFd, key: &[u8], value: u32) -> io::Result<()> {
    let mut attributes = MapUpdate {
        map: map.as_raw_fd() as u32,
        padding: 0,
        key: key.as_ptr() as u64,
        value: (&raw const value) as u64,
        flags: 0,
    };
    // SAFETY: key and value live through the call and have the octets that the map was made for.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attributes) }?;
    Ok(())
}

fn link(program: &OwnedFd, interface: u32, mode: Mode) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreate {
        program: program.as_raw_fd() as u32,
        interface,
        attach_type: BPF_XDP,
        flags: match mode {
            Mode::Native => XDP_FLAGS_DRV_MODE,
            Mode::Generic => XDP_FLAGS_SKB_MODE,
        },
    };
    // SAFETY: the structure holds no pointers.
    let fd = unsafe { bpf(BPF_LINK_CREATE, &mut attributes) }?;
    Ok(owned(fd))
}

fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made it, for nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// # Safety
/// `T` is the part of `union bpf_attr` that belongs to the command, and what it points to lives and has the lengths that it states.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<RawFd> {
    // SAFETY: the attributes live through the call and have the stated length; the rest is the caller's promise.
    let done = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    match done {
        0.. => Ok(done as RawFd),
        _ => Err(io::Error::last_os_error()),
    }
}
