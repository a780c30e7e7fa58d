//! What the kernel tells of an interface: its number, address, driver, longest packet, and the addresses of this machine.
//!
//! This file's `unsafe` are the calls that tell it: each gets a structure that lives through the call, and of what comes back only what the call has filled is read.

use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use super::named;
use super::places::Address;

/// linux/ethtool.h
const ETHTOOL_GDRVINFO: u32 = 3;

/// `struct ethtool_drvinfo` of linux/ethtool.h.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}
const _: () = assert!(size_of::<DriverInfo>() == 196);

/// The number of an interface.
///
/// # Errors
/// There is none of this name.
pub fn index(name: &str) -> io::Result<u32> {
    let name = CString::new(name).map_err(io::Error::other)?;
    // SAFETY: the name ends with a zero and lives through the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(named(
            "there is no such interface",
            &io::Error::last_os_error(),
        )),
        index => Ok(index),
    }
}

/// Its own address.
///
/// # Errors
/// It is none of Ethernet.
pub fn mac(name: &str) -> io::Result<[u8; 6]> {
    let mut request = request(name)?;
    control(libc::SIOCGIFHWADDR as _, &mut request)?;
    // SAFETY: the call has filled this part; all of it is numbers.
    let address = unsafe { request.ifr_ifru.ifru_hwaddr };
    if address.sa_family != libc::ARPHRD_ETHER {
        return Err(io::Error::other("AF_XDP is for Ethernet alone"));
    }
    let mut mac = [0; 6];
    for (to, from) in mac.iter_mut().zip(address.sa_data) {
        *to = from as u8;
    }
    Ok(mac)
}

/// The longest packet that it sends, in octets.
///
/// # Errors
/// There is none of this name.
pub fn mtu(name: &str) -> io::Result<usize> {
    let mut request = request(name)?;
    control(libc::SIOCGIFMTU as _, &mut request)?;
    // SAFETY: the call has filled this part, a number.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    usize::try_from(mtu).map_err(io::Error::other)
}

/// The name of its driver; `None` where it does not tell.
pub fn driver(name: &str) -> Option<String> {
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    let mut request = request(name).ok()?;
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    control(libc::SIOCETHTOOL as _, &mut request).ok()?;
    let name = CStr::from_bytes_until_nul(&info.driver).ok()?;
    name.to_str().ok().map(str::to_owned)
}

fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zeros is a valid one.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::other("too long for the name of an interface"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

fn control(command: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: a live ifreq that names an interface; where it points to something, that lives and is what the command expects.
    match unsafe { libc::ioctl(socket.as_raw_fd(), command, ptr::from_mut(request)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// All addresses of this machine.
///
/// # Errors
/// What the kernel says.
pub fn addresses() -> io::Result<Vec<Address>> {
    let mut list = ptr::null_mut();
    // SAFETY: the pointer is to a live pointer that the call sets.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: `next` is null or an entry of the list, which lives until it is freed below.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        // SAFETY: null, or an address of the family that it names.
        let Some(ip) = (unsafe { ip_of(entry.ifa_addr) }) else {
            continue;
        };
        let has_broadcast = entry.ifa_flags & libc::IFF_BROADCAST as libc::c_uint != 0;
        // SAFETY: as above; this is the broadcast address where the flag says so.
        let broadcast = unsafe { ip_of(entry.ifa_ifu) }.filter(|_| has_broadcast && ip.is_ipv4());
        // SAFETY: a name that ends with a zero.
        let interface = unsafe { CStr::from_ptr(entry.ifa_name) };
        found.push(Address {
            interface: interface.to_string_lossy().into_owned(),
            ip,
            broadcast,
        });
    }
    // SAFETY: made by getifaddrs, and nothing points into it any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// # Safety
/// Null, or the address of a socket as long as its family says.
unsafe fn ip_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: the caller's promise.
    let family = unsafe { address.as_ref() }?.sa_family;
    match libc::c_int::from(family) {
        libc::AF_INET => {
            // SAFETY: the caller's promise; read without assuming its alignment.
            let four: libc::sockaddr_in = unsafe { ptr::read_unaligned(address.cast()) };
            Some(Ipv4Addr::from(four.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let six: libc::sockaddr_in6 = unsafe { ptr::read_unaligned(address.cast()) };
            Some(Ipv6Addr::from(six.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}
