//! Bounded places for what clients hold: connections, handshakes, transfers.
//!
//! Why: whoever may have one of something may have many at once, and then nobody else has any. So there are so many in all, and of
//! these so many for one client; what a client is, its network or its address, is said by whoever hands the places out. Loopback is
//! bounded only by the whole. A leaf.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places.
#[derive(Debug)]
pub struct Places {
    total_max: usize,
    each_max: usize,
    client: fn(IpAddr) -> IpAddr,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

impl Places {
    /// So many in all, and for each client; `client` tells which addresses are one, as [`network`] and [`address`] do.
    pub fn new(total_max: usize, each_max: usize, client: fn(IpAddr) -> IpAddr) -> Arc<Places> {
        Arc::new(Places {
            total_max,
            each_max,
            client,
            taken: Mutex::default(),
        })
    }

    /// A place for the client at this address; `None` if it has its share, or all are taken.
    pub fn take(self: &Arc<Self>, at: IpAddr) -> Option<Place> {
        let mut place = self.take_unnamed()?;
        place.name(at).then_some(place)
    }

    /// A place for a client that will be known later; `None` if all are taken.
    pub fn take_unnamed(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.lock();
        if taken.total >= self.total_max {
            return None;
        }
        taken.total += 1;
        Some(Place {
            places: self.clone(),
            client: None,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A taken place, free again when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    client: Option<IpAddr>,
}

impl Place {
    /// Whose place it is, once that is known; false if the client at this address has its share without it.
    pub fn name(&mut self, at: IpAddr) -> bool {
        let mut taken = self.places.lock();
        let client = (self.places.client)(at);
        let own = taken.by_client.entry(client).or_default();
        if *own >= self.places.each_max && !client.is_loopback() {
            return false;
        }
        *own += 1;
        self.client = Some(client);
        true
    }

    /// More than half of all places are taken.
    pub fn is_crowded(&self) -> bool {
        self.places.lock().total > self.places.total_max / 2
    }

    /// Seven of eight places are taken, or more.
    pub fn is_nearly_full(&self) -> bool {
        self.places.lock().total >= self.places.total_max - self.places.total_max / 8
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.total -= 1;
        let Some(client) = self.client else {
            return;
        };
        if let Some(own) = taken.by_client.get_mut(&client) {
            *own -= 1;
            if *own == 0 {
                taken.by_client.remove(&client);
            }
        }
    }
}

/// The address alone; an IPv4 address in IPv6 clothing counts as IPv4.
pub fn address(client: IpAddr) -> IpAddr {
    client.to_canonical()
}

/// The client's network, a /24 or /56; loopback addresses stay what they are.
pub fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & !0xFF).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 72 << 72).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_per_network_and_freed() {
        let places = Places::new(5, 2, network);
        let take = |ip: &str| places.take(ip.parse().unwrap());
        let first = take("192.0.2.1");
        let held = [&first, &take("192.0.2.2")].map(Option::is_some);
        assert_eq!(held, [true, true]);
        let again = take("192.0.2.3");
        assert!(again.is_some() && take("::ffff:192.0.2.9").is_none());
        let v6 = [take("2001:db8::1"), take("2001:db8:0:ff::1")];
        assert!(v6.iter().all(Option::is_some) && take("2001:db8::3").is_none());
        let local = take("127.0.0.1");
        assert!(local.is_some() && take("198.51.100.1").is_none());
        // Five of five; half of them is less.
        assert!(first.as_ref().unwrap().is_nearly_full());
        drop(local);
        assert!(!first.as_ref().unwrap().is_nearly_full() && first.as_ref().unwrap().is_crowded());
        drop((first, again, v6));
        assert_eq!(places.lock().total, 0);
        assert!(places.lock().by_client.is_empty());
    }

    #[test]
    fn a_client_may_be_known_later() {
        let places = Places::new(3, 1, network);
        let mut unnamed = [places.take_unnamed(), places.take_unnamed()].map(Option::unwrap);
        assert!(unnamed[0].name("192.0.2.1".parse().unwrap()));
        assert!(!unnamed[1].name("192.0.2.2".parse().unwrap()));
        let other = places.take("198.51.100.1".parse().unwrap());
        assert!(other.is_some() && places.take_unnamed().is_none());
        drop((unnamed, other));
        assert!(places.lock().total == 0 && places.lock().by_client.is_empty());
    }

    #[test]
    fn addresses_are_clients_where_that_is_asked_for() {
        let places = Places::new(9, 1, address);
        let take = |ip: &str| places.take(ip.parse().unwrap());
        let held = [take("192.0.2.1"), take("192.0.2.2")];
        assert!(held.iter().all(Option::is_some) && take("::ffff:192.0.2.1").is_none());
    }
}
