//! How many queries of one host may wait.
//!
//! Why: who forges the sender of questions that take long has their answers gathered here, until all of them leave at once for
//! somebody who asked for nothing (DNSBomb, CVE-2024-33655). So few of one host wait at a time that their answers are no flood.
//!
//! Model: a host is an address, in IPv6 a /64. Who is counted at all is the pipeline's to say: not who has shown to be there.
//!
//! Failure: the query is dropped, as one that finds no place at all; whoever asked it does so again. There is an entry for each host
//! with a query that waits, so there are no more of them than places.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Queries of one host that may wait at a time: as many as Unbound lets wait (`wait-limit`).
pub(super) const PER_HOST_MAX: u32 = 1000;
/// The part of an IPv6 address that is one host.
const HOST_MASK: u128 = u128::MAX << 64;

/// The hosts whose queries wait.
pub(super) struct Hosts {
    waiting: Mutex<HashMap<IpAddr, u32>>,
    max: u32,
}

/// The place of a query that waits; free again when it is dropped.
pub(super) struct Place {
    hosts: Arc<Hosts>,
    host: IpAddr,
}

impl Hosts {
    /// So many queries of each may wait.
    pub fn new(max: u32) -> Arc<Hosts> {
        Arc::new(Hosts {
            waiting: Mutex::default(),
            max,
        })
    }

    /// A place for a query from this address, if there is one.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let host = host(address);
        let mut waiting = self.waiting();
        let count = waiting.entry(host).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Place {
            hosts: self.clone(),
            host,
        })
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.hosts.waiting();
        if let Some(count) = waiting.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.host);
            }
        }
    }
}

fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & HOST_MASK).into(),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_its_places_and_gets_them_back() {
        let hosts = Hosts::new(2);
        let enter = |address: &str| hosts.enter(address.parse().unwrap());
        let first = enter("192.0.2.1");
        let second = enter("::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2");
        assert!(other.is_some());
        // One host has a whole /64.
        let six = [enter("2001:db8::1"), enter("2001:db8::2:1")];
        assert!(six.iter().all(Option::is_some));
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::3").is_some());
        drop(first);
        let again = enter("192.0.2.1");
        assert!(again.is_some() && enter("192.0.2.1").is_none());
        drop((again, second, other, six));
        assert!(hosts.waiting().is_empty());
    }
}
