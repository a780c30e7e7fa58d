//! Frames by hand, checksums by the slow definition.

use super::*;

/// RFC 1071 as it is written, over words of network order.
fn slow_checksum(parts: &[&[u8]]) -> [u8; 2] {
    let octets = parts.concat();
    let mut sum: u32 = octets
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A frame as a client sends it.
fn asked(client: &str, local: &str, data: &[u8]) -> Vec<u8> {
    let (client, local): (SocketAddr, SocketAddr) =
        (client.parse().unwrap(), local.parse().unwrap());
    let len = (UDP_LEN + data.len()) as u16;
    let ports = [client.port().to_be_bytes(), local.port().to_be_bytes()].concat();
    let mut udp = [&ports[..], &len.to_be_bytes(), &[0, 0], data].concat();
    let (ethertype, mut ip, addresses) = match (client.ip(), local.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (IPV4_LEN as u16 + len).to_be_bytes();
            let start = [&[0x45, 0x28][..], &total, &[7, 7, 0x40, 0, 57, 17, 0, 0]].concat();
            let addresses = [from.octets(), to.octets()].concat();
            (ETHERTYPE_IPV4, start, addresses)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let start = [&[0x6A, 0xBC, 1, 2][..], &len.to_be_bytes(), &[17, 57]].concat();
            let addresses = [from.octets(), to.octets()].concat();
            (ETHERTYPE_IPV6, start, addresses)
        }
        _ => panic!("two families"),
    };
    ip.extend(&addresses);
    if client.is_ipv4() {
        let check = slow_checksum(&[&ip]);
        ip[10..12].copy_from_slice(&check);
    }
    let check = slow_checksum(&[&addresses, &[0, 17], &len.to_be_bytes(), &udp]);
    udp[6..8].copy_from_slice(&check);
    [&SERVER_MAC[..], &CLIENT_MAC, &ethertype, &ip, &udp].concat()
}

const V4: (&str, &str) = ("192.0.2.7:4711", "198.51.100.53:53");
const V6: (&str, &str) = ("[2001:db8::7]:4711", "[2001:db8:1::53]:53");

/// As `turned` would have to look if the server were a client.
fn is_turned(frame: &[u8], (client, local): (&str, &str), data: &[u8]) {
    let mut expected = asked(local, client, data);
    expected[..12].rotate_left(6);
    let back = read(frame).unwrap();
    assert_eq!(
        (back.client, back.local),
        (local.parse().unwrap(), client.parse().unwrap())
    );
    assert_eq!(&frame[back.data.clone()], data);
    assert_eq!(back.data.end, frame.len());
    assert_eq!(frame[..12], [CLIENT_MAC, SERVER_MAC].concat());
    let ip_len = back.data.start - ETHERNET_LEN - UDP_LEN;
    // Ports, length and checksum are those of any datagram with these octets.
    let udp = ETHERNET_LEN + ip_len..;
    assert_eq!(frame[udp.clone()], expected[udp]);
}

#[test]
fn a_question_is_read_and_its_answer_goes_back() {
    for (client, local) in [V4, V6] {
        // Odd and even lengths, and answers that are shorter and longer than the question.
        for (question, answered) in [(33, 100), (40, 39), (12, 12), (0, 1), (900, 1232)] {
            let question: Vec<u8> = (0..question).map(|n| (n * 7) as u8).collect();
            let reply: Vec<u8> = (0..answered).map(|n| (n * 13 + 1) as u8).collect();
            let mut frame = asked(client, local, &question);
            // Ethernet pads what is short.
            frame.resize(frame.len().max(60), 0);
            let found = read(&frame).unwrap();
            assert_eq!(found.client, client.parse().unwrap());
            assert_eq!(found.local, local.parse().unwrap());
            assert_eq!(&frame[found.data.clone()], &question[..]);
            frame.resize(1792, 0xAA);
            let len = answer(&mut frame, found.data.start, &reply, 1500, 0x1234).unwrap();
            is_turned(&frame[..len], (client, local), &reply);
            if client == V4.0 {
                // Nothing forbids fragments, as with the sockets; a number, hops, and no class of its own.
                assert_eq!(
                    (frame[15], &frame[18..24]),
                    (0, &[0x12, 0x34, 0, 0, 64, 17][..])
                );
            } else {
                assert_eq!(
                    (&frame[14..18], &frame[20..22]),
                    (&[0x60, 0, 0, 0][..], &[17, 64][..])
                );
            }
        }
    }
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let check = |(client, local): (&str, &str), answered: usize, mtu: usize, fits: bool| {
        let mut frame = asked(client, local, b"question");
        let data_at = read(&frame).unwrap().data.start;
        frame.resize(1792, 0);
        let before = frame.clone();
        let done = answer(&mut frame, data_at, &vec![1; answered], mtu, 1);
        assert_eq!(done.is_some(), fits, "{client} {answered} {mtu}");
        assert!(fits || frame == before);
    };
    check(V4, 1472, 1500, true);
    check(V4, 1473, 1500, false);
    check(V4, 1232, 1259, false);
    // The memory ends first.
    check(V4, 1792 - 42, 9000, true);
    check(V4, 1792 - 41, 9000, false);
    check(V6, 1232, 1500, true);
    check(V6, 1233, 1500, false);
    // No place where a question can be.
    assert_eq!(answer(&mut [0; 200], 41, &[1], 1500, 1), None);
    assert_eq!(answer(&mut [0; 200], 3, &[1], 1500, 1), None);
}

#[test]
fn a_frame_that_is_wrong_is_dropped_for_its_reason() {
    let check = |of: (&str, &str), expected: Fault, change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = asked(of.0, of.1, b"a question");
        change(&mut frame);
        assert_eq!(read(&frame), Err(expected), "{of:?}");
    };
    // An IPv4 header that was changed on purpose gets its checksum anew.
    let mended = |frame: &mut Vec<u8>| {
        frame[24..26].fill(0);
        let check = slow_checksum(&[&frame[14..34]]);
        frame[24..26].copy_from_slice(&check);
    };
    for of in [V4, V6] {
        let len = asked(of.0, of.1, b"a question").len();
        for short in 0..len {
            check(of, Fault::Form, &|frame| frame.truncate(short));
        }
        for at in len - 18..len {
            // Each bit of UDP counts; a length that says more than there is comes first.
            if !(len - 14..len - 12).contains(&at) {
                check(of, Fault::UdpChecksum, &|frame| frame[at] ^= 0x10);
            }
        }
        check(of, Fault::Form, &|frame| frame[12] = 0x81);
        check(of, Fault::Source, &|frame| frame[6] |= 1);
        check(of, Fault::Form, &|frame| frame[len - 13] = 7);
        check(of, Fault::Form, &|frame| frame[len - 13] = 200);
    }
    for at in 14..34 {
        let expected = match at {
            // Version and length of the header, total length (more than there is), fragments, protocol.
            14 | 16 | 17 | 20 | 21 | 23 => Fault::Form,
            _ => Fault::IpChecksum,
        };
        check(V4, expected, &|frame| frame[at] ^= 1);
    }
    check(V4, Fault::Form, &|frame| {
        frame[16..18].copy_from_slice(&19u16.to_be_bytes());
        mended(frame);
    });
    // RFC 8200 section 8.1, RFC 768.
    check(V6, Fault::UdpChecksum, &|frame| frame[60..62].fill(0));
    let mut without = asked(V4.0, V4.1, b"a question");
    without[40..42].fill(0);
    assert!(read(&without).is_ok());
    // A packet longer than its datagram has padding.
    let mut padded = asked(V4.0, V4.1, b"a question");
    padded.extend([9; 4]);
    padded[17] += 4;
    mended(&mut padded);
    let found = read(&padded).unwrap();
    assert_eq!(&padded[found.data], b"a question");
}

#[test]
fn a_checksum_may_be_left_to_a_card_that_is_not_there() {
    for of in [V4, V6] {
        let mut frame = asked(of.0, of.1, b"a question");
        let len = frame.len();
        let addresses = match of == V4 {
            true => 26..34,
            false => 22..54,
        };
        let begun = slow_checksum(&[&frame[addresses], &[0, 17, 0, 18]]).map(|octet| !octet);
        frame[len - 12..len - 10].copy_from_slice(&begun);
        assert!(read(&frame).is_ok());
        frame[len - 11] ^= 1;
        assert_eq!(read(&frame), Err(Fault::UdpChecksum));
    }
}

#[test]
fn nobody_asks_from_an_impossible_address() {
    for source in [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.251",
        "255.255.255.255",
    ] {
        let frame = asked(&format!("{source}:53"), V4.1, b"a question");
        assert_eq!(read(&frame), Err(Fault::Source), "{source}");
    }
    for source in [
        "::1",
        "::",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:192.0.2.1",
    ] {
        let frame = asked(&format!("[{source}]:53"), V6.1, b"a question");
        assert_eq!(read(&frame), Err(Fault::Source), "{source}");
    }
    assert!(read(&asked("[fe80::1]:53", V6.1, b"a question")).is_ok());
}
