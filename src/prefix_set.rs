//! Sets of addresses, given as prefixes: a leaf.
//!
//! Why: "the country" is tens of thousands of prefixes from a registry's file, and whether an address lies in it is asked for every
//! question of a drill. So a set is made once, as sorted ranges that neither overlap nor touch, and looked up by halving.
//!
//! Model: [`PrefixSet`] is immutable; [`parse_list`] reads a file of prefixes, one per line; what follows a `#` is a comment.
//!
//! Failure: a line that is no prefix is reported with its number, the first [`FAULTS_MAX`] of them; nothing of such a file is used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Prefixes in one file.
pub const PREFIXES_MAX: usize = 4_000_000;
/// Lines that are reported of one file.
pub const FAULTS_MAX: usize = 20;
/// So much of a wrong line is shown, in characters.
const SHOWN_MAX: usize = 60;

/// A set of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrefixSet {
    /// First and last address of each range, in order.
    four: Box<[(u32, u32)]>,
    six: Box<[(u128, u128)]>,
}

impl PrefixSet {
    /// Whether the address is in the set. An IPv4 address written as an IPv6 one (RFC 4291 section 2.5.5.2) is that IPv4 address.
    #[inline]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(a) => self.contains_v4(a),
            IpAddr::V6(a) => covers(&self.six, u128::from(a)),
        }
    }

    /// The same for an IPv4 address.
    #[inline]
    pub fn contains_v4(&self, address: Ipv4Addr) -> bool {
        covers(&self.four, u32::from(address))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.four.is_empty() && self.six.is_empty()
    }

    /// How many separate ranges there are, of IPv4 and of IPv6.
    pub fn ranges(&self) -> (usize, usize) {
        (self.four.len(), self.six.len())
    }

    /// An address in the set and one outside, for tests of what is made of it: the first of the first range, and the one before.
    pub fn edges(&self) -> Vec<(IpAddr, bool)> {
        let mut edges = Vec::new();
        for (first, last) in &self.four {
            let outside = [first.checked_sub(1), last.checked_add(1)];
            edges.extend([*first, *last].map(|a| (IpAddr::V4(Ipv4Addr::from(a)), true)));
            let outside = outside.into_iter().flatten();
            edges.extend(outside.map(|a| (IpAddr::V4(Ipv4Addr::from(a)), false)));
        }
        for (first, last) in &self.six {
            edges.extend([*first, *last].map(|a| (IpAddr::V6(Ipv6Addr::from(a)), true)));
        }
        edges
    }
}

impl FromIterator<IpNet> for PrefixSet {
    fn from_iter<T: IntoIterator<Item = IpNet>>(prefixes: T) -> PrefixSet {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            match prefix {
                IpNet::V4(net) => four.push((net.network().into(), net.broadcast().into())),
                IpNet::V6(net) => six.push((net.network().into(), net.broadcast().into())),
            }
        }
        PrefixSet {
            four: merged(four, |last: u32| last.checked_add(1)),
            six: merged(six, |last: u128| last.checked_add(1)),
        }
    }
}

/// Ranges in order, those that overlap or touch made into one.
fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>, after: impl Fn(T) -> Option<T>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some(open) if after(open.1).is_none_or(|next| first <= next) => {
                open.1 = open.1.max(last);
            }
            _ => out.push((first, last)),
        }
    }
    out.into_boxed_slice()
}

#[inline]
fn covers<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let begun = ranges.partition_point(|(first, _)| *first <= address);
    let last = begun.checked_sub(1).and_then(|at| ranges.get(at));
    last.is_some_and(|(_, last)| address <= *last)
}

/// A prefix such as `192.0.2.0/24`, or one address.
pub fn parse_prefix(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// The prefixes of a file, one per line.
///
/// # Errors
/// Number (from 1) and fault of each wrong line, [`FAULTS_MAX`] at most.
pub fn parse_list(text: &[u8]) -> Result<Vec<IpNet>, Vec<(usize, String)>> {
    let mut prefixes = Vec::new();
    let mut faults = Vec::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if faults.len() >= FAULTS_MAX {
            break;
        }
        let line_number = at + 1;
        let code = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let Ok(code) = std::str::from_utf8(code) else {
            faults.push((line_number, "not UTF-8".to_owned()));
            continue;
        };
        let code = code.trim();
        if code.is_empty() {
            continue;
        }
        if prefixes.len() >= PREFIXES_MAX {
            faults.push((line_number, format!("more than {PREFIXES_MAX} prefixes")));
            break;
        }
        match parse_prefix(code) {
            Some(net) if net == net.trunc() => prefixes.push(net),
            Some(net) => {
                let told = format!("{code}: bits beyond the prefix; allowed is {}", net.trunc());
                faults.push((line_number, told));
            }
            None => {
                let shown: String = code.chars().take(SHOWN_MAX).collect();
                faults.push((
                    line_number,
                    format!("{shown:?} is no prefix; a line holds one such as 192.0.2.0/24 or 2001:db8::/32"),
                ));
            }
        }
    }
    match faults.is_empty() {
        true => Ok(prefixes),
        false => Err(faults),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> PrefixSet {
        parse_list(text.as_bytes()).unwrap().into_iter().collect()
    }

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        let made = set(
            "192.0.2.0/25\n192.0.2.128/25\n192.0.2.64/26\n203.0.113.7\n2001:db8::/33\n2001:db8:8000::/33\n",
        );
        assert_eq!(made.ranges(), (2, 1));
        assert_eq!(
            set("0.0.0.0/1\n128.0.0.0/1\n255.255.255.255").ranges(),
            (1, 0)
        );
        for (address, inside) in [
            ("192.0.1.255", false),
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("203.0.113.6", false),
            ("203.0.113.7", true),
            ("::ffff:203.0.113.7", true),
            ("203.0.113.8", false),
            ("2001:db7:ffff::1", false),
            ("2001:db8::", true),
            ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(made.contains(address.parse().unwrap()), inside, "{address}");
        }
        assert!(!PrefixSet::default().contains([192, 0, 2, 1].into()));
        assert!(set("0.0.0.0/0").contains([255, 255, 255, 255].into()));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let good = "# a country\n\n 192.0.2.0/24  # its first\r\n2001:db8::/32";
        assert_eq!(parse_list(good.as_bytes()).unwrap().len(), 2);
        let lines = |text: &[u8]| -> Vec<usize> {
            let faults = parse_list(text).unwrap_err();
            faults.into_iter().map(|(line, _)| line).collect()
        };
        assert_eq!(lines(b"192.0.2.0/24\n192.0.2.0/33\n\nxyz\n"), [2, 4]);
        assert_eq!(lines(b"10.0.0.1/8"), [1]);
        assert_eq!(lines(b"\xff\n"), [1]);
        assert_eq!(lines("x\n".repeat(1000).as_bytes()).len(), FAULTS_MAX);
    }
}
