//! Bounded places for what clients hold: connections, handshakes, transfers.
//!
//! Why: whoever may have one of something may have many at once, and then nobody else has any. So there are so many in all, and of
//! these so many for one client; what a client is, its network or its address, is said by whoever hands the places out. Loopback is
//! bounded only by the whole. A leaf.
//!
//! A place may be *idle*: nothing is under way there, so that not much is lost when its holder has to leave it ([`Place::left`]). Where all are taken a
//! newcomer gets the idle place of whoever has most of them, and of those the one that has been idle longest; where a client has its share, an idle
//! one of its own. So however many connections come by, those of clients with few are the last to go. Nobody is idle who does not say so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

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
    by_client: HashMap<IpAddr, Held>,
    /// Clients with idle places, by how many.
    idlers: BTreeSet<(usize, IpAddr)>,
    /// Numbers for the order in which places become idle.
    next: u64,
}

/// What one client holds.
#[derive(Debug, Default)]
struct Held {
    count: usize,
    /// The idle ones, the longest first.
    idle: BTreeMap<u64, Arc<Notice>>,
}

/// How a holder hears that the place is another's now.
#[derive(Debug, Default)]
struct Notice {
    is_given: AtomicBool,
    told: Notify,
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

    /// A place for the client at this address; `None` if it has its share, or all are taken, and none is idle.
    pub fn take(self: &Arc<Self>, at: IpAddr) -> Option<Place> {
        let mut taken = self.lock();
        let client = (self.client)(at);
        match self.has_share(&taken, client) {
            true => taken.oust(client)?,
            false => self.make_room(&mut taken)?,
        }
        Some(self.place_of(&mut taken, client))
    }

    /// The same, from whom the address may be forged: nobody has to leave for it.
    pub fn take_free(self: &Arc<Self>, at: IpAddr) -> Option<Place> {
        let mut taken = self.lock();
        let client = (self.client)(at);
        if taken.total >= self.total_max || self.has_share(&taken, client) {
            return None;
        }
        Some(self.place_of(&mut taken, client))
    }

    /// A place for a client that will be known later; `None` if all are taken and none is idle.
    pub fn take_unnamed(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.lock();
        self.make_room(&mut taken)?;
        taken.total += 1;
        Some(self.place(None))
    }

    fn has_share(&self, taken: &Taken, client: IpAddr) -> bool {
        let own = taken.by_client.get(&client).map_or(0, |held| held.count);
        own >= self.each_max && !client.is_loopback()
    }

    /// Where all are taken, whoever has most idle ones gives one up.
    fn make_room(&self, taken: &mut Taken) -> Option<()> {
        if taken.total < self.total_max {
            return Some(());
        }
        let (_, most) = *taken.idlers.last()?;
        taken.oust(most)
    }

    fn place_of(self: &Arc<Self>, taken: &mut Taken, client: IpAddr) -> Place {
        taken.total += 1;
        taken.by_client.entry(client).or_default().count += 1;
        self.place(Some(client))
    }

    fn place(self: &Arc<Self>, client: Option<IpAddr>) -> Place {
        Place {
            places: self.clone(),
            client,
            notice: Arc::default(),
            idle: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Frees the place of this client that has been idle longest; `None` if none is.
    fn oust(&mut self, client: IpAddr) -> Option<()> {
        let idle = &self.by_client.get(&client)?.idle;
        let (&number, notice) = idle.first_key_value()?;
        notice.is_given.store(true, Ordering::Relaxed);
        notice.told.notify_one();
        self.set_idle(client, number, None);
        self.free(Some(client));
        Some(())
    }

    /// Notes an idle place, or that it is none any more.
    fn set_idle(&mut self, client: IpAddr, number: u64, notice: Option<Arc<Notice>>) {
        let Some(held) = self.by_client.get_mut(&client) else {
            return;
        };
        self.idlers.remove(&(held.idle.len(), client));
        match notice {
            Some(notice) => held.idle.insert(number, notice),
            None => held.idle.remove(&number),
        };
        if !held.idle.is_empty() {
            self.idlers.insert((held.idle.len(), client));
        }
    }

    fn free(&mut self, client: Option<IpAddr>) {
        self.total -= 1;
        let Some(client) = client else {
            return;
        };
        if let Some(held) = self.by_client.get_mut(&client) {
            held.count -= 1;
            if held.count == 0 {
                self.by_client.remove(&client);
            }
        }
    }
}

/// A taken place, free again when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    client: Option<IpAddr>,
    notice: Arc<Notice>,
    idle: Option<u64>,
}

impl Place {
    /// Whose place it is, once that is known; false if the client at this address has its share without it, and none of that is idle.
    pub fn name(&mut self, at: IpAddr) -> bool {
        let places = self.places.clone();
        let mut taken = places.lock();
        let client = (places.client)(at);
        if places.has_share(&taken, client) && taken.oust(client).is_none() {
            return false;
        }
        taken.by_client.entry(client).or_default().count += 1;
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

    /// Nothing is under way here from now on, so the place may go to another.
    pub fn idle(&mut self) {
        let places = self.places.clone();
        let mut taken = places.lock();
        if let Some(client) = self.client
            && self.idle.is_none()
            && !self.is_given()
        {
            let number = taken.next;
            taken.next += 1;
            self.idle = Some(number);
            taken.set_idle(client, number, Some(self.notice.clone()));
        }
    }

    /// Something is under way; it is not disturbed. Who has lost the place already goes on without, to the end of that.
    pub fn busy(&mut self) {
        let places = self.places.clone();
        let mut taken = places.lock();
        let number = self.idle.take().filter(|_| !self.is_given());
        if let (Some(client), Some(number)) = (self.client, number) {
            taken.set_idle(client, number, None);
        }
    }

    /// Waits until the place is another's.
    pub async fn left(&self) {
        while !self.is_given() {
            self.notice.told.notified().await;
        }
    }

    /// Changes only behind the lock.
    fn is_given(&self) -> bool {
        self.notice.is_given.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if self.is_given() {
            return;
        }
        if let (Some(client), Some(number)) = (self.client, self.idle) {
            taken.set_idle(client, number, None);
        }
        taken.free(self.client);
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

    fn idle(places: &Arc<Places>, ip: &str) -> Option<Place> {
        let mut place = places.take(ip.parse().unwrap())?;
        place.idle();
        Some(place)
    }

    #[tokio::test]
    async fn a_newcomer_gets_the_longest_idle_place_of_who_has_most() {
        let places = Places::new(6, 4, network);
        let honest = idle(&places, "192.0.2.1").unwrap();
        let mut crowd: Vec<Place> = (1..5)
            .map(|host| idle(&places, &format!("198.51.100.{host}")).unwrap())
            .collect();
        let busy = places.take("203.0.113.1".parse().unwrap()).unwrap();
        // What is under way keeps its place.
        crowd[0].busy();
        let given = |crowd: &[Place]| crowd.iter().map(Place::is_given).collect::<Vec<_>>();
        let newcomer = idle(&places, "192.0.2.9").unwrap();
        assert_eq!(given(&crowd), [false, true, false, false]);
        crowd[1].left().await;
        // Idle again: behind the others.
        crowd[0].idle();
        let _second = places.take("192.0.3.1".parse().unwrap()).unwrap();
        let _third = places.take("192.0.4.1".parse().unwrap()).unwrap();
        assert_eq!(given(&crowd[..3]), [false, true, true]);
        assert!(given(&crowd)[3] != honest.is_given() || newcomer.is_given());
        // Whoever has lost it gives nothing back.
        let before = places.lock().total;
        crowd.remove(1);
        assert_eq!((before, places.lock().total), (6, 6));
        drop((honest, newcomer, busy, crowd));
        assert_eq!(places.lock().total, 2);
        assert!(places.lock().idlers.is_empty());
    }

    #[test]
    fn who_has_his_share_gives_up_an_idle_one_of_his_own() {
        let places = Places::new(100, 2, network);
        let first = idle(&places, "192.0.2.1").unwrap();
        let second = places.take("192.0.2.2".parse().unwrap()).unwrap();
        let other = idle(&places, "198.51.100.1").unwrap();
        let third = places.take("192.0.2.3".parse().unwrap());
        assert!(third.is_some() && first.is_given() && !other.is_given());
        // Both of the rest are at work.
        assert!(places.take("192.0.2.4".parse().unwrap()).is_none());
        // Nobody leaves for who may not be there.
        let fourth = idle(&places, "198.51.100.2").unwrap();
        assert!(places.take_free("198.51.100.3".parse().unwrap()).is_none() && !other.is_given());
        assert!(places.take_free("192.0.3.1".parse().unwrap()).is_some());
        drop((first, second, third, other, fourth));
        assert_eq!(places.lock().total, 0);
        assert!(places.lock().by_client.is_empty() && places.lock().idlers.is_empty());
    }
}
