//! Which addresses and ports are served past the kernel at an interface, and by which socket what has to wait there is answered.
//!
//! Why: whatever is redirected to this server, nobody else gets. So an address must be one of this machine and one that the server listens on: an address that
//! `server.listen` names, wherever it is (service addresses often are on `lo`), or, where it names all addresses, one of the interface itself: other
//! interfaces may be VLANs or bridges above this one, whose frames look the same here. Loopback, link-local and multicast addresses stay with the kernel.

use std::net::{IpAddr, SocketAddr};

/// An address of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The interface that has it.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// Everybody there.
    pub broadcast: Option<IpAddr>,
}

/// What is served at one interface, at one time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// In order, each with the number of the address in `server.listen` that it falls under.
    served: Vec<(IpAddr, u16, usize)>,
    /// Addresses that nobody else can have: this machine's, and those that mean many. In order.
    own: Vec<IpAddr>,
}

impl Places {
    /// Those of an interface, with these addresses on the machine and these listened on.
    pub fn new(interface: &str, addresses: &[Address], listen: &[SocketAddr]) -> Places {
        let mut served = Vec::new();
        for (number, at) in listen.iter().enumerate() {
            let is_meant = |address: &&Address| match at.ip().is_unspecified() {
                true => address.interface == interface && address.ip.is_ipv4() == at.is_ipv4(),
                false => address.ip == at.ip(),
            };
            let meant = addresses.iter().filter(is_meant);
            let meant = meant.filter(|address| can_be_served(address.ip));
            served.extend(meant.map(|address| (address.ip, at.port(), number)));
        }
        // An address that is named comes before all of them, as with the kernel.
        served
            .sort_by_key(|(ip, port, number)| (*ip, *port, listen[*number].ip().is_unspecified()));
        served.dedup_by_key(|(ip, port, _)| (*ip, *port));
        let own = addresses.iter().flat_map(|of| [Some(of.ip), of.broadcast]);
        let mut own: Vec<_> = own.flatten().collect();
        own.sort_unstable();
        own.dedup();
        Places { served, own }
    }

    /// The number of the address in `server.listen` that `at` falls under.
    pub fn listener(&self, at: SocketAddr) -> Option<usize> {
        let key = |(ip, port, _): &(IpAddr, u16, usize)| (*ip, *port);
        let found = self.served.binary_search_by_key(&(at.ip(), at.port()), key);
        found.ok().map(|at| self.served[at].2)
    }

    /// Whether it is an address of this machine, or of many; nobody else asks from there.
    pub fn is_own(&self, ip: IpAddr) -> bool {
        self.own.binary_search(&ip).is_ok()
    }

    /// All that are served.
    pub fn served(&self) -> impl Iterator<Item = SocketAddr> {
        self.served
            .iter()
            .map(|(ip, port, _)| SocketAddr::new(*ip, *port))
    }
}

fn can_be_served(ip: IpAddr) -> bool {
    let is_of_this_link = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() || is_of_this_link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(interface: &str, ip: &str, broadcast: Option<&str>) -> Address {
        Address {
            interface: interface.into(),
            ip: ip.parse().unwrap(),
            broadcast: broadcast.map(|ip| ip.parse().unwrap()),
        }
    }

    fn machine() -> Vec<Address> {
        vec![
            address("lo", "127.0.0.1", None),
            address("lo", "192.0.2.53", None),
            address("eth0", "198.51.100.5", Some("198.51.100.255")),
            address("eth0", "2001:db8::5", None),
            address("eth0", "fe80::5", None),
            address("eth0.7", "203.0.113.5", Some("203.0.113.255")),
        ]
    }

    #[track_caller]
    fn check(listen: &[&str], expected: &[(&str, usize)]) {
        let listen: Vec<SocketAddr> = listen.iter().map(|at| at.parse().unwrap()).collect();
        let places = Places::new("eth0", &machine(), &listen);
        let found: Vec<_> = (places.served())
            .map(|at| (at.to_string(), places.listener(at).unwrap()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(at, n)| (at.to_string(), *n))
            .collect();
        assert_eq!(found, expected, "{listen:?}");
    }

    #[test]
    fn what_is_named_is_served_and_of_all_only_what_the_interface_has() {
        check(&["0.0.0.0:53"], &[("198.51.100.5:53", 0)]);
        check(&["[::]:53"], &[("[2001:db8::5]:53", 0)]);
        check(
            &["192.0.2.53:53", "203.0.113.5:53"],
            &[("192.0.2.53:53", 0), ("203.0.113.5:53", 1)],
        );
        // What is named goes before all; ports are apart.
        check(
            &["0.0.0.0:53", "198.51.100.5:53", "198.51.100.5:5353"],
            &[("198.51.100.5:53", 1), ("198.51.100.5:5353", 2)],
        );
        // Neither what the machine lacks nor what stays with the kernel.
        check(&["127.0.0.1:53", "192.0.2.54:53", "[fe80::5]:53"], &[]);
    }

    #[test]
    fn own_addresses_and_those_of_many_are_known() {
        let places = Places::new("eth0", &machine(), &[]);
        for (ip, is_own) in [
            ("192.0.2.53", true),
            ("203.0.113.255", true),
            ("fe80::5", true),
            ("198.51.100.6", false),
        ] {
            assert_eq!(places.is_own(ip.parse().unwrap()), is_own, "{ip}");
        }
        assert_eq!(places.listener("198.51.100.5:53".parse().unwrap()), None);
    }
}
