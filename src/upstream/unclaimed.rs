//! What the kernel counts of datagrams that nobody waits for.
//!
//! Why: a server that answers from another address or port than it was asked at is ignored (RFC 2181 section 4.1, RFC 5452
//! section 9.1), and an operator wants to see that there are such. Our sockets are connected, so that the kernel drops those answers
//! before we see them. To see them ourselves they would have to stand open to everybody; but then a stranger who sends a
//! datagram to each port of ours learns from the silence of one where the next answer is awaited, where a connected port answers him
//! "port unreachable" as a closed one does (CVE-2020-25705, "SAD DNS"). So the kernel's count it is, which costs nothing: beside
//! answers from elsewhere it has late ones and scans.
//!
//! Failure: without `/proc` there is no count.

use std::fs::read_to_string;

/// IPv4: a line of names and one of numbers per protocol.
const SNMP: &str = "/proc/self/net/snmp";
/// IPv6: a name and a number per line.
const SNMP6: &str = "/proc/self/net/snmp6";

/// UDP datagrams that came to a port of this network namespace where no socket waited for them, since the machine's start.
pub fn unclaimed_datagrams() -> Option<u64> {
    let v4 = v4(&read_to_string(SNMP).ok()?)?;
    // A machine may have no IPv6.
    let v6 = read_to_string(SNMP6).ok().and_then(|text| v6(&text));
    Some(v4 + v6.unwrap_or(0))
}

fn v4(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split(' ').position(|name| name == "NoPorts")?;
    numbers.split(' ').nth(at)?.parse().ok()
}

fn v6(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let number = lines.find_map(|line| line.strip_prefix("Udp6NoPorts"))?;
    number.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_tables_are_read() {
        let text = "Tcp: A NoPorts\nTcp: 1 2\nUdp: InDatagrams NoPorts InErrors\nUdp: 10 42 3\nUdpLite: NoPorts\nUdpLite: 7\n";
        assert_eq!(v4(text), Some(42));
        assert_eq!(v4("Udp: InDatagrams\nUdp: 10\n"), None);
        assert_eq!(v4(""), None);
        let text = "Ip6InReceives  9\nUdp6InDatagrams                 \t13\nUdp6NoPorts                     \t7\n";
        assert_eq!(v6(text), Some(7));
        assert_eq!(v6("Udp6NoPorts x"), None);
    }
}
