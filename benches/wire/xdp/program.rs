//! What the kernel runs for each packet of the interface: UDP over IPv4 to one port goes to the AF_XDP socket of the queue it came by, all else goes on.
//!
//! Loaded by bpf(2) as it stands, so that neither a compiler for eBPF nor a library is needed. It is in force while `Attached` lives, and no longer than the process.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

// linux/bpf.h
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_MAP_TYPE_XSKMAP: u32 = 17;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const BPF_PSEUDO_MAP_FD: u8 = 1;
const BPF_FUNC_REDIRECT_MAP: i32 = 51;
const XDP_PASS: i32 = 2;
// linux/if_link.h
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// The offsets of `struct xdp_md`.
const MD_DATA: i16 = 0;
const MD_DATA_END: i16 = 4;
const MD_QUEUE: i16 = 16;

/// Of Ethernet, IPv4 without options, UDP.
const HEADERS_LEN: i32 = 42;

/// Where the program runs.
#[derive(Clone, Copy)]
pub enum Mode {
    /// In the driver, before the kernel has made an skb of the packet; veth has one already.
    Native,
    /// After that, for any driver.
    Generic,
}

/// A program at an interface; leaves it when dropped.
pub struct Attached {
    _link: OwnedFd,
    _program: OwnedFd,
    _sockets: OwnedFd,
}

/// Sends what comes for `port` by `queue` of the interface to `socket`.
///
/// # Errors
/// What the kernel says to each of the four steps, with the step's name.
pub fn attach(
    interface: u32,
    mode: Mode,
    port: u16,
    queue: u32,
    socket: RawFd,
) -> io::Result<Attached> {
    let sockets = map(queue + 1).map_err(|e| step("no map of sockets", &e))?;
    let program = load(&program(sockets.as_raw_fd(), port)).map_err(|e| step("the program", &e))?;
    enter(&sockets, queue, socket).map_err(|e| step("the socket's place in the map", &e))?;
    let link = link(&program, interface, mode).map_err(|e| step("attaching", &e))?;
    Ok(Attached {
        _link: link,
        _program: program,
        _sockets: sockets,
    })
}

fn step(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// One instruction, as linux/bpf.h has it.
#[repr(C)]
#[derive(Clone, Copy)]
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

/// A jump past the redirection: its target is written when all is there.
const ELSE: i16 = i16::MAX;

#[rustfmt::skip]
fn program(sockets: RawFd, port: u16) -> Vec<Insn> {
    // Loads of 1, 2 and 4 octets; r1 is the context.
    const LOAD_B: u8 = 0x71;
    const LOAD_H: u8 = 0x69;
    const LOAD_W: u8 = 0x61;
    const SET: u8 = 0xb7;
    const COPY: u8 = 0xbf;
    const ADD: u8 = 0x07;
    const IF_MORE: u8 = 0x2d;
    const IF_NOT: u8 = 0x55;
    const IF_ANY_BIT: u8 = 0x45;
    const MAP: u8 = 0x18;
    const CALL: u8 = 0x85;
    const EXIT: u8 = 0x95;
    // A load of two octets has them in the machine's order.
    let wire = |value: u16| i32::from(value.to_be());
    let mut code = vec![
        insn(LOAD_W, 2, 1, MD_DATA, 0),
        insn(LOAD_W, 3, 1, MD_DATA_END, 0),
        insn(COPY, 4, 2, 0, 0),
        insn(ADD, 4, 0, 0, HEADERS_LEN),
        insn(IF_MORE, 4, 3, ELSE, 0),
        // EtherType: IPv4.
        insn(LOAD_H, 5, 2, 12, 0),
        insn(IF_NOT, 5, 0, ELSE, wire(0x0800)),
        // Version 4, no options.
        insn(LOAD_B, 5, 2, 14, 0),
        insn(IF_NOT, 5, 0, ELSE, 0x45),
        // No fragment: neither more of them nor an offset.
        insn(LOAD_H, 5, 2, 20, 0),
        insn(IF_ANY_BIT, 5, 0, ELSE, wire(0x3fff)),
        insn(LOAD_B, 5, 2, 23, 0),
        insn(IF_NOT, 5, 0, ELSE, libc::IPPROTO_UDP),
        insn(LOAD_H, 5, 2, 36, 0),
        insn(IF_NOT, 5, 0, ELSE, wire(port)),
        // return bpf_redirect_map(sockets, queue, XDP_PASS): passed on where no socket is at the queue.
        insn(LOAD_W, 2, 1, MD_QUEUE, 0),
        insn(MAP, 1, BPF_PSEUDO_MAP_FD, 0, sockets),
        insn(0, 0, 0, 0, 0),
        insn(SET, 3, 0, 0, XDP_PASS),
        insn(CALL, 0, 0, 0, BPF_FUNC_REDIRECT_MAP),
        insn(EXIT, 0, 0, 0, 0),
    ];
    let end = code.len() as i16;
    for (at, insn) in code.iter_mut().enumerate() {
        if insn.offset == ELSE {
            insn.offset = end - at as i16 - 1;
        }
    }
    code.extend([insn(SET, 0, 0, 0, XDP_PASS), insn(EXIT, 0, 0, 0, 0)]);
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

fn map(entries: u32) -> io::Result<OwnedFd> {
    let mut attributes = MapCreate {
        kind: BPF_MAP_TYPE_XSKMAP,
        key_len: 4,
        value_len: 4,
        entries_max: entries,
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
        name: *b"wire_xdp\0\0\0\0\0\0\0\0",
        interface: 0,
        expected_attach_type: BPF_XDP,
    };
    // SAFETY: the instructions live through the call and are as many as stated; the license ends with a zero.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &mut attributes) }?;
    Ok(owned(fd))
}

fn enter(map: &OwnedFd, key: u32, socket: RawFd) -> io::Result<()> {
    let value = socket as u32;
    let mut attributes = MapUpdate {
        map: map.as_raw_fd() as u32,
        padding: 0,
        key: (&raw const key) as u64,
        value: (&raw const value) as u64,
        flags: 0,
    };
    // SAFETY: key and value live through the call and have the four octets that the map was made for.
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
