//! Who may ask for what.
//!
//! Two lists for questions: `access.allow` opens recursion, cache and mirrors, `access.allow_own_zones` opens the own
//! zones. They do not imply each other. An address in neither gets REFUSED for everything, which is
//! cheap to say and cannot be used to amplify. [`Peers`] are other servers, which may also be known by a shared key: who
//! may have whole zones, and who may send NOTIFY.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{self, Peer};
use crate::dns::Name;

/// What one client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Recursion, cache and mirrors.
    pub recursion: bool,
    /// Questions for own zones.
    pub own_zones: bool,
}

/// Parties known by their address or by the key that they sign with.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    nets: Vec<IpNet>,
    keys: HashSet<Name>,
}

impl Peers {
    /// A list of the configuration.
    pub fn new(peers: &[Peer]) -> Peers {
        let mut nets = Vec::new();
        let mut keys = HashSet::new();
        for peer in peers {
            match peer {
                Peer::Net(net) => nets.push(*net),
                Peer::Tsig(name) => drop(keys.insert(name.clone())),
            }
        }
        Peers {
            nets: IpNet::aggregate(&nets),
            keys,
        }
    }

    /// Whether who comes from `address`, with a message signed with `key`, is one of them.
    pub fn contains(&self, address: IpAddr, key: Option<&Name>) -> bool {
        let address = address.to_canonical();
        self.nets.iter().any(|net| net.contains(&address))
            || key.is_some_and(|key| self.keys.contains(key))
    }
}

/// The lists, ready for matching.
#[derive(Debug, Clone, Default)]
pub struct AccessList {
    allow: Vec<IpNet>,
    allow_own_zones: Vec<IpNet>,
    allow_transfer: Peers,
    allow_notify: Peers,
}

impl AccessList {
    /// The lists of the configuration; prefixes within others are left out.
    pub fn new(access: &config::Access) -> AccessList {
        AccessList {
            allow: IpNet::aggregate(&access.allow),
            allow_own_zones: IpNet::aggregate(&access.allow_own_zones),
            allow_transfer: Peers::new(&access.allow_transfer),
            allow_notify: Peers::new(&access.allow_notify),
        }
    }

    /// Whether who comes from `address`, with a message signed with `key`, may send NOTIFY for every mirror.
    pub fn may_notify(&self, address: IpAddr, key: Option<&Name>) -> bool {
        self.allow_notify.contains(address, key)
    }

    /// What the client at `address` may do. An IPv4 address in IPv6 clothing counts as IPv4.
    pub fn rights(&self, address: IpAddr) -> Rights {
        let address = address.to_canonical();
        let within = |list: &[IpNet]| list.iter().any(|net| net.contains(&address));
        Rights {
            recursion: within(&self.allow),
            own_zones: within(&self.allow_own_zones),
        }
    }

    /// Whether who comes from `address`, with a message signed with `key`, may have whole zones.
    pub fn may_transfer(&self, address: IpAddr, key: Option<&Name>) -> bool {
        self.allow_transfer.contains(address, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, recursion: bool, own_zones: bool) {
        let access = config::Access {
            allow: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            allow_own_zones: vec!["0.0.0.0/0".parse().unwrap()],
            ..config::Access::default()
        };
        let rights = AccessList::new(&access).rights(address.parse().unwrap());
        assert_eq!((rights.recursion, rights.own_zones), (recursion, own_zones));
    }

    #[test]
    fn peers_are_known_by_address_or_key() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let peers = Peers::new(&[
            Peer::Net("10.0.0.0/8".parse().unwrap()),
            Peer::Tsig(name("Hub-Key.")),
        ]);
        let check = |address: &str, key: Option<&str>| {
            let key = key.map(name);
            peers.contains(address.parse().unwrap(), key.as_ref())
        };
        assert!(check("10.1.2.3", None) && check("::ffff:10.1.2.3", Some("other.")));
        assert!(check("192.0.2.1", Some("hub-key.")));
        assert!(!check("192.0.2.1", None) && !check("192.0.2.1", Some("other.")));
        assert!(!Peers::default().contains("10.1.2.3".parse().unwrap(), None));
    }

    #[test]
    fn lists_are_matched_apart() {
        check("10.255.0.1", true, true);
        check("11.0.0.1", false, true);
        check("::ffff:10.0.0.1", true, true);
        check("::1", true, false);
        check("2001:db8::1", false, false);
    }
}
