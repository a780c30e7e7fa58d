//! Who may ask for what.
//!
//! Three lists: `access.allow` opens recursion, cache and mirrors, `access.allow_own_zones` opens the own
//! zones, `access.allow_transfer` opens both to secondaries. They do not imply each other. An address in neither gets REFUSED for everything, which is
//! cheap to say and cannot be used to amplify.

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

/// The lists, ready for matching.
#[derive(Debug, Clone, Default)]
pub struct AccessList {
    allow: Vec<IpNet>,
    allow_own_zones: Vec<IpNet>,
    allow_transfer: Vec<Peer>,
}

impl AccessList {
    /// The lists of the configuration; prefixes within others are left out.
    pub fn new(access: &config::Access) -> AccessList {
        AccessList {
            allow: IpNet::aggregate(&access.allow),
            allow_own_zones: IpNet::aggregate(&access.allow_own_zones),
            allow_transfer: access.allow_transfer.clone(),
        }
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

    /// Whether the client at `address`, who signed with `key`, may have whole zones.
    pub fn may_transfer(&self, address: IpAddr, key: Option<&Name>) -> bool {
        let address = address.to_canonical();
        self.allow_transfer.iter().any(|peer| match peer {
            Peer::Net(net) => net.contains(&address),
            Peer::Tsig(name) => key == Some(name),
        })
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
    fn transfers_are_for_addresses_and_keys() {
        let key: Name = "hub-key.".parse().unwrap();
        let access = config::Access {
            allow_transfer: vec![
                Peer::Net("192.0.2.0/24".parse().unwrap()),
                Peer::Tsig(key.clone()),
            ],
            ..config::Access::default()
        };
        let list = AccessList::new(&access);
        let may = |address: &str, key| list.may_transfer(address.parse().unwrap(), key);
        assert!(may("192.0.2.7", None) && may("::ffff:192.0.2.7", None));
        assert!(!may("127.0.0.1", None) && may("127.0.0.1", Some(&key)));
        assert!(!may("127.0.0.1", Some(&"other.".parse().unwrap())));
        let nobody = AccessList::new(&config::Access::default());
        assert!(!nobody.may_transfer("127.0.0.1".parse().unwrap(), Some(&key)));
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
