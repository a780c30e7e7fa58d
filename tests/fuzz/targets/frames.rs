//! Frames from an interface, past the kernel.

use std::net::IpAddr;

use holdfast::listen::xdp::frame::{self, ETHERNET_LEN};

/// Memory behind a frame, as the kernel gives it.
const ROOM: usize = 1792;
const MTU: usize = 1500;

/// A frame with its two parts that have checksums: the IPv4 header, and the pseudo-header with the datagram.
struct Parts<'f> {
    ip: Option<&'f [u8]>,
    udp: Vec<u8>,
    check: [u8; 2],
}

fn parts<'f>(frame: &'f [u8], data_at: usize) -> Parts<'f> {
    let (ip, udp) = frame[ETHERNET_LEN..].split_at(data_at - 8 - ETHERNET_LEN);
    let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
    let addresses = match ip.len() {
        20 => &ip[12..],
        _ => &ip[8..],
    };
    Parts {
        ip: (ip.len() == 20).then_some(ip),
        udp: [addresses, &[0, 17, udp[4], udp[5]], &udp[..len]].concat(),
        check: [udp[6], udp[7]],
    }
}

/// RFC 1071 as it is written.
fn sum(octets: &[u8]) -> u16 {
    octets.chunks(2).fold(0, |sum: u16, word| {
        let word = u16::from_be_bytes([word[0], *word.get(1).unwrap_or(&0)]);
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

/// What is taken is a whole datagram with right checksums from somebody who can ask, and its answer goes back to him, right too. An answer that does
/// not fit changes nothing.
pub fn frame(data: &[u8]) -> bool {
    let frame = &data[..data.len().min(ROOM)];
    let Ok(found) = frame::read(frame) else {
        return false;
    };
    assert!(found.data.start <= found.data.end && found.data.end <= frame.len());
    let is_ipv4 = found.client.is_ipv4();
    assert_eq!(is_ipv4, found.local.is_ipv4());
    match found.client.ip() {
        IpAddr::V4(ip) => assert!(!ip.is_loopback() && !ip.is_multicast() && !ip.is_broadcast()),
        IpAddr::V6(ip) => assert!(!ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified()),
    }
    let asked = parts(frame, found.data.start);
    assert!(asked.ip.is_none_or(|ip| sum(ip) == u16::MAX));
    let pseudo_len = asked.udp.len() - found.data.len() - 8;
    let is_begun = sum(&asked.udp[..pseudo_len]).to_be_bytes() == asked.check;
    let is_none = is_ipv4 && asked.check == [0, 0];
    assert!(is_none || is_begun || sum(&asked.udp) == u16::MAX);
    // The question itself, longer and longer, until it does not fit.
    let question = frame[found.data.clone()].to_vec();
    for times in [1, 2, 40] {
        let answer = question.repeat(times);
        let mut room = frame.to_vec();
        room.resize(ROOM, 0);
        let before = room.clone();
        let Some(len) = frame::answer(&mut room, found.data.start, &answer, MTU, 7) else {
            assert!(found.data.start + answer.len() > ETHERNET_LEN + 1280);
            assert_eq!(room, before);
            break;
        };
        assert!(len <= ETHERNET_LEN + MTU);
        assert_eq!([&room[6..12], &room[..6]].concat(), before[..12]);
        assert_eq!(room[len..], before[len..]);
        // Whoever reads it as a question finds the same the other way round, unless nobody asks from such an address.
        let told = parts(&room[..len], found.data.start);
        assert!(told.ip.is_none_or(|ip| sum(ip) == u16::MAX));
        assert_eq!(sum(&told.udp), u16::MAX);
        if let Ok(back) = frame::read(&room[..len]) {
            assert_eq!((back.client, back.local), (found.local, found.client));
            assert_eq!(room[back.data], answer);
        }
    }
    true
}
