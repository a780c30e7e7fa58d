//! An Ethernet frame with a question, and the same frame with its answer.
//!
//! Why: what comes by AF_XDP has passed none of the checks that the kernel makes before it gives a datagram to a socket. So they are made here: lengths, the
//! checksums of IPv4 and UDP, and who says he sent it. What fails is dropped, as the kernel would.
//!
//! Model: UDP over IPv4 without options and fragments, or over IPv6 without extension headers, in a frame without a VLAN tag; everything else stays with the
//! kernel (`program`). An answer takes the place of its question, and goes back to the neighbour that the question came from.
//!
//! Nothing here allocates, waits or fails otherwise than by saying so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

/// Octets of an Ethernet header.
pub const ETHERNET_LEN: usize = 14;
const MAC_LEN: usize = 6;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xDD];
/// RFC 791, without options.
const IPV4_LEN: usize = 20;
/// RFC 8200.
const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;
const PROTOCOL_UDP: u8 = 17;
/// Hops that an answer may make: what the kernel gives its own.
const HOPS: u8 = 64;
/// RFC 8200 section 5: every link takes so much. What is longer is left to the kernel, which learns what paths take.
const IPV6_MTU_MIN: usize = 1280;

/// A question in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Who asks.
    pub client: SocketAddr,
    /// The address and port that was asked.
    pub local: SocketAddr,
    /// Where the octets of the question are.
    pub data: Range<usize>,
}

/// Why a frame is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Too short, or of another kind than is taken here.
    #[error("no whole datagram")]
    Form,
    /// The checksum of the IPv4 header.
    #[error("wrong checksum of IPv4")]
    IpChecksum,
    /// The checksum of UDP, or none over IPv6.
    #[error("wrong checksum of UDP")]
    UdpChecksum,
    /// Nobody can have sent it from there.
    #[error("impossible source address")]
    Source,
}

/// Reads the question of a frame that came.
///
/// # Errors
/// The frame is to be dropped.
pub fn read(frame: &[u8]) -> Result<Datagram, Fault> {
    let (ethernet, packet) = frame
        .split_first_chunk::<ETHERNET_LEN>()
        .ok_or(Fault::Form)?;
    let (source, local, udp_at, payload_len) = match [ethernet[12], ethernet[13]] {
        ETHERTYPE_IPV4 => read_ipv4(packet)?,
        ETHERTYPE_IPV6 => read_ipv6(packet)?,
        _ => return Err(Fault::Form),
    };
    // The lowest bit of the first octet is for groups of stations.
    if ethernet[MAC_LEN] & 1 != 0 || !can_ask(source) {
        return Err(Fault::Source);
    }
    let payload = packet
        .get(udp_at..udp_at + payload_len)
        .ok_or(Fault::Form)?;
    let udp = payload.first_chunk::<UDP_LEN>().ok_or(Fault::Form)?;
    let [from, to, len, check] = [0, 2, 4, 6].map(|at| u16::from_be_bytes([udp[at], udp[at + 1]]));
    // What follows the datagram within the packet is padding, as it is for the kernel.
    let datagram = payload.get(..usize::from(len)).ok_or(Fault::Form)?;
    if datagram.len() < UDP_LEN {
        return Err(Fault::Form);
    }
    let is_none = check == 0 && source.is_ipv4();
    if !is_none {
        // RFC 8200 section 8.1: over IPv6 there must be one.
        let pseudo = pseudo_header(packet, source, len);
        let is_whole = check != 0 && fold(pseudo + sum(datagram)) == u16::MAX;
        // Among virtual interfaces the rest is left to a network card that is not there (CHECKSUM_PARTIAL of Linux): such
        // packets have never been on a wire, and the sum so far stands in the place.
        let is_begun = fold(pseudo).to_ne_bytes() == check.to_be_bytes();
        if !is_whole && !is_begun {
            return Err(Fault::UdpChecksum);
        }
    }
    let data_at = ETHERNET_LEN + udp_at + UDP_LEN;
    Ok(Datagram {
        client: SocketAddr::new(source, from),
        local: SocketAddr::new(local, to),
        data: data_at..data_at + datagram.len() - UDP_LEN,
    })
}

/// Source, destination, where the payload begins in the packet, and how long it is.
type Packet = (IpAddr, IpAddr, usize, usize);

fn read_ipv4(packet: &[u8]) -> Result<Packet, Fault> {
    let header = packet.first_chunk::<IPV4_LEN>().ok_or(Fault::Form)?;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let is_fragment = (header[6] & 0x3F) | header[7] != 0;
    if header[0] != 0x45 || header[9] != PROTOCOL_UDP || is_fragment || total > packet.len() {
        return Err(Fault::Form);
    }
    let payload_len = total.checked_sub(IPV4_LEN).ok_or(Fault::Form)?;
    if fold(sum(header)) != u16::MAX {
        return Err(Fault::IpChecksum);
    }
    let address = |at: usize| {
        let octets = [header[at], header[at + 1], header[at + 2], header[at + 3]];
        IpAddr::V4(octets.into())
    };
    Ok((address(12), address(16), IPV4_LEN, payload_len))
}

fn read_ipv6(packet: &[u8]) -> Result<Packet, Fault> {
    let header = packet.first_chunk::<IPV6_LEN>().ok_or(Fault::Form)?;
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || header[6] != PROTOCOL_UDP || payload_len > packet.len() - IPV6_LEN {
        return Err(Fault::Form);
    }
    let (_, addresses) = header.split_at(8);
    let (source, destination) = addresses.split_at(16);
    let address = |octets: &[u8]| {
        let octets = octets.first_chunk::<16>().ok_or(Fault::Form)?;
        Ok(IpAddr::V6((*octets).into()))
    };
    Ok((
        address(source)?,
        address(destination)?,
        IPV6_LEN,
        payload_len,
    ))
}

/// Whether a packet from a wire can have this source. RFC 1122 section 3.2.1.3 and RFC 4291 sections 2.5 and 2.7: not everybody, nobody, or this
/// machine itself, whom access lists may trust.
fn can_ask(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(source) => {
            !(source.is_loopback()
                || source.is_multicast()
                || source.is_broadcast()
                || source.octets()[0] == 0)
        }
        IpAddr::V6(source) => {
            !(source.is_loopback()
                || source.is_multicast()
                || source.is_unspecified()
                || source.to_ipv4_mapped().is_some())
        }
    }
}

/// Writes the answer to the question at `data_at` of the frame over it; returns the length of the frame. `room` begins as the frame that was read and goes on to
/// the end of its memory; `mtu` is the longest packet of the interface; `id` becomes the number of an IPv4 packet, which routers may fragment (RFC 6864
/// section 4: such numbers should not repeat soon).
///
/// `None`: it does not fit, and nothing has been changed.
pub fn answer(
    room: &mut [u8],
    data_at: usize,
    answer: &[u8],
    mtu: usize,
    id: u16,
) -> Option<usize> {
    let ip_len = data_at.checked_sub(ETHERNET_LEN + UDP_LEN)?;
    let len = data_at + answer.len();
    let packet_len = len - ETHERNET_LEN;
    let fits = match ip_len {
        IPV4_LEN => packet_len <= mtu.min(usize::from(u16::MAX)),
        IPV6_LEN => packet_len <= mtu.min(IPV6_MTU_MIN),
        _ => false,
    };
    let (ethernet, packet) = (room.get_mut(..len).filter(|_| fits)?).split_at_mut(ETHERNET_LEN);
    swap(&mut ethernet[..2 * MAC_LEN]);
    let (ip, datagram) = packet.split_at_mut(ip_len);
    let udp_len = datagram.len() as u16;
    let source = match ip_len {
        IPV4_LEN => {
            let total = packet_len as u16;
            ip[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, HOPS, PROTOCOL_UDP, 0, 0]);
            ip[2..4].copy_from_slice(&total.to_be_bytes());
            ip[4..6].copy_from_slice(&id.to_be_bytes());
            swap(&mut ip[12..20]);
            let check = !fold(sum(ip));
            ip[10..12].copy_from_slice(&check.to_ne_bytes());
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        }
        _ => {
            ip[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, PROTOCOL_UDP, HOPS]);
            ip[4..6].copy_from_slice(&udp_len.to_be_bytes());
            swap(&mut ip[8..40]);
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        }
    };
    swap(&mut datagram[..4]);
    datagram[4..6].copy_from_slice(&udp_len.to_be_bytes());
    datagram[6..8].fill(0);
    datagram[UDP_LEN..].copy_from_slice(answer);
    let check = match !fold(pseudo_header(ip, source, udp_len) + sum(datagram)) {
        // RFC 768: zero would say that there is none.
        0 => u16::MAX,
        check => check,
    };
    datagram[6..8].copy_from_slice(&check.to_ne_bytes());
    Some(len)
}

/// The halves change places.
fn swap(both: &mut [u8]) {
    let (one, other) = both.split_at_mut(both.len() / 2);
    one.swap_with_slice(other);
}

/// The sum over what UDP's checksum has of the IP header (RFC 768, RFC 8200 section 8.1); of `family` only its kind counts.
fn pseudo_header(ip: &[u8], family: IpAddr, udp_len: u16) -> u64 {
    let addresses = match family {
        IpAddr::V4(_) => ip.get(12..20),
        IpAddr::V6(_) => ip.get(8..40),
    };
    let [high, low] = udp_len.to_be_bytes();
    sum(addresses.unwrap_or_default()) + sum(&[0, PROTOCOL_UDP, high, low])
}

/// RFC 1071 section 2: the sum of 16-bit words in the machine's order, several at a time; not folded yet.
fn sum(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]);
    words.map(|word| u64::from(u32::from_ne_bytes(*word))).sum()
}

/// Folds a sum to its 16 bits, in the machine's order.
fn fold(sum: u64) -> u16 {
    let mut sum = sum;
    while sum > u64::from(u16::MAX) {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests;
