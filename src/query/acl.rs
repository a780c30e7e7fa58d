//! Who may ask for what.
//!
//! Two lists for questions: `access.allow` opens recursion, cache and mirrors, `access.allow_own_zones` opens the own
//! zones. They do not imply each other. An address in neither gets REFUSED for everything, which is
//! cheap to say and cannot be used to amplify. [`Peers`] are other servers, which may also be known by a shared key: who
//! may have whole zones, and who may send NOTIFY.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::request::Client;
use crate::config::{self, Peer};
use crate::dns::Name;
use crate::prefix_set::PrefixSet;

/// What one client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Recursion, cache and mirrors.
    pub recursion: bool,
    /// Questions for own zones.
    pub own_zones: bool,
}

/// Parties known by their address, by the key that they sign with, or by more than that.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    nets: Vec<IpNet>,
    keys: HashSet<Name>,
    /// Those of whom more than one thing is demanded, or TLS.
    others: Vec<Peer>,
}

impl Peers {
    /// A list of the configuration.
    pub fn new(peers: &[Peer]) -> Peers {
        let mut nets = Vec::new();
        let mut keys = HashSet::new();
        let mut others = Vec::new();
        for peer in peers {
            match (peer.net, &peer.tsig, peer.tls) {
                (Some(net), None, false) => nets.push(net),
                (None, Some(name), false) => drop(keys.insert(name.clone())),
                _ => others.push(peer.clone()),
            }
        }
        Peers {
            nets: IpNet::aggregate(&nets),
            keys,
            others,
        }
    }

    /// Whether a client with a message signed with `key` is one of them.
    pub fn contains(&self, client: &Client, key: Option<&Name>) -> bool {
        let address = client.addr.ip().to_canonical();
        self.nets.iter().any(|net| net.contains(&address))
            || key.is_some_and(|key| self.keys.contains(key))
            || (self.others.iter()).any(|peer| is_meant(peer, client, address, key))
    }
}

/// Whether a client meets all that an entry demands.
fn is_meant(peer: &Peer, client: &Client, address: IpAddr, key: Option<&Name>) -> bool {
    let shows = |name| {
        let shown = client.certificate.as_ref();
        shown.is_some_and(|shown| shown.is_for(name))
    };
    peer.net.is_none_or(|net| net.contains(&address))
        && peer.tsig.as_ref().is_none_or(|name| key == Some(name))
        && (!peer.tls || client.transport.is_encrypted())
        && peer.tls_name.as_ref().is_none_or(shows)
}

/// The lists, ready for matching.
#[derive(Debug, Clone, Default)]
pub struct AccessList {
    allow: PrefixSet,
    allow_own_zones: PrefixSet,
    allow_transfer: Peers,
    allow_notify: Peers,
}

impl AccessList {
    /// The lists of the configuration.
    pub fn new(access: &config::Access) -> AccessList {
        AccessList {
            allow: access.allow.iter().copied().collect(),
            allow_own_zones: access.allow_own_zones.iter().copied().collect(),
            allow_transfer: Peers::new(&access.allow_transfer),
            allow_notify: Peers::new(&access.allow_notify),
        }
    }

    /// Whether a client with a message signed with `key` may send NOTIFY for every mirror.
    pub fn may_notify(&self, client: &Client, key: Option<&Name>) -> bool {
        self.allow_notify.contains(client, key)
    }

    /// What the client at `address` may do. An IPv4 address in IPv6 clothing counts as IPv4.
    #[inline]
    pub fn rights(&self, address: IpAddr) -> Rights {
        let lists = [&self.allow, &self.allow_own_zones];
        let [recursion, own_zones] = match address.to_canonical() {
            IpAddr::V4(address) => lists.map(|list| list.contains_v4(address)),
            address => lists.map(|list| list.contains(address)),
        };
        Rights {
            recursion,
            own_zones,
        }
    }

    /// Whether a client with a message signed with `key` may have whole zones.
    pub fn may_transfer(&self, client: &Client, key: Option<&Name>) -> bool {
        self.allow_transfer.contains(client, key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Transport;
    use crate::tls::Shown;
    use std::sync::Arc;

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
            Peer::net("10.0.0.0/8".parse().unwrap()),
            Peer::tsig(name("Hub-Key.")),
        ]);
        let client = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            Client::new((address, 4000).into(), Transport::Tcp)
        };
        let check = |address: &str, key: Option<&str>| {
            let key = key.map(name);
            peers.contains(&client(address), key.as_ref())
        };
        assert!(check("10.1.2.3", None) && check("::ffff:10.1.2.3", Some("other.")));
        assert!(check("192.0.2.1", Some("hub-key.")));
        assert!(!check("192.0.2.1", None) && !check("192.0.2.1", Some("other.")));
        assert!(!Peers::default().contains(&client("10.1.2.3"), None));
    }

    #[test]
    fn all_that_an_entry_demands_must_be_met() {
        const TLS: Transport = Transport::Tls {
            for_transfers: true,
        };
        let key: Name = "hub-key.".parse().unwrap();
        let demand = Peer {
            net: Some("10.0.0.0/8".parse().unwrap()),
            tsig: Some(key.clone()),
            tls: true,
            tls_name: None,
        };
        let named = Peer {
            tls: true,
            tls_name: crate::tls::name("secondary.example"),
            ..Peer::default()
        };
        let peers = Peers::new(&[demand, named]);
        let own = rcgen::generate_simple_self_signed(["Secondary.example".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
        let shown = |own: &rcgen::CertifiedKey<_>| Shown::new(own.cert.der().clone());
        let check = |address: &str, key, transport, certificate: Option<Shown>| {
            let address: IpAddr = address.parse().unwrap();
            let client = Client {
                certificate: certificate.map(Arc::new),
                ..Client::new((address, 4000).into(), transport)
            };
            peers.contains(&client, key)
        };
        assert!(check("10.1.2.3", Some(&key), TLS, None));
        assert!(!check("10.1.2.3", Some(&key), Transport::Tcp, None));
        assert!(!check("10.1.2.3", None, TLS, None));
        assert!(!check("192.0.2.1", Some(&key), TLS, None));
        assert!(check("192.0.2.1", None, TLS, Some(shown(&own))));
        assert!(!check("192.0.2.1", None, TLS, Some(shown(&other))));
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
