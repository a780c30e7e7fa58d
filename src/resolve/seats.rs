//! How many questions may be outstanding at one server address.
//!
//! Why: an operator's servers have thousands of zones. What waits for one zone is bounded (`shares`), and where such a server is slow each of its zones
//! may fill its share; together they would hold the sockets and the places that everybody else needs, and be one more load for a server that is too slow
//! as it is.
//!
//! Model: each exchange holds a [`Seat`] at its server until it ends, also when nobody waits for it any more. There are so many at an address
//! (`limits.upstream_per_server_max`); the last half is for networks that have asked there no more than five times in 10 to 20 s (`askers`), counted since the
//! first half was taken. So whoever asks most fills half, and finds the server full before anybody else does. A question that finds no seat goes to another address of
//! the zone; where it finds none at any it fails at once, as one without a place does. Forwarders, which are asked for everything, have no such limit.
//!
//! Failure: that there is no seat says nothing of the server, and nothing is done about it; it is told for a minute ([`Seats::full`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::askers::{Asker, Askers};
use crate::clock::Now;
use crate::metrics::Metrics;

/// Servers that are told for having had no seat, and for how long after the last time.
const FULL_MAX: usize = 1000;
const FULL_FOR: Duration = Duration::from_secs(60);

/// A server at which a question found no seat, now or within the last minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullServer {
    /// Its address.
    pub server: IpAddr,
    /// Since when, seconds since 1970.
    pub since_s: u64,
    /// Questions that are outstanding there.
    pub outstanding: usize,
    /// Questions that found no seat.
    pub refused: u64,
}

/// The seats at all servers.
#[derive(Debug, Default)]
pub struct Seats {
    /// At one address; 0 for no such limit.
    max: usize,
    metrics: Arc<Metrics>,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    /// Of the servers at which a question is outstanding, and no others.
    servers: HashMap<IpAddr, Row>,
    askers: Askers,
    /// Those at which somebody found no seat.
    full: HashMap<IpAddr, Refusals>,
    /// Rows that were ever made.
    made: u64,
}

#[derive(Debug)]
struct Refusals {
    since_s: u64,
    last: Duration,
    count: u64,
}

impl Refusals {
    fn lasts(&self, now: Now) -> bool {
        now.mono < self.last + FULL_FOR
    }
}

#[derive(Debug)]
struct Row {
    /// Its own among all rows that were ever made.
    number: u64,
    taken: usize,
}

impl Seats {
    /// `max` at each address, 0 for no such limit; who finds none is counted in `metrics`.
    pub fn new(max: usize, metrics: Arc<Metrics>) -> Arc<Seats> {
        Arc::new(Seats {
            max,
            metrics,
            tables: Mutex::default(),
        })
    }

    /// A seat at `server` for a question of `asker`, if there is one.
    pub fn take(self: &Arc<Self>, server: IpAddr, asker: Asker, now: Now) -> Option<Seat> {
        if self.max == 0 {
            return Some(Seat::default());
        }
        let mut tables = self.tables();
        let Tables {
            servers,
            askers,
            made,
            ..
        } = &mut *tables;
        let row = servers.entry(server).or_insert_with(|| {
            *made += 1;
            Row {
                number: *made,
                taken: 0,
            }
        });
        let is_free = match row.taken < self.max.div_ceil(2) {
            true => true,
            // Counted even where nothing is free.
            false => askers.is_rare(row.number, asker, now) && row.taken < self.max,
        };
        if !is_free {
            self.metrics.upstream_server_crowded_total.inc();
            tables.refused(server, now);
            return None;
        }
        row.taken += 1;
        Some(Seat(Some((self.clone(), server))))
    }

    /// Questions that are outstanding at `server`, where that is limited.
    pub fn taken(&self, server: IpAddr) -> usize {
        (self.tables().servers.get(&server)).map_or(0, |row| row.taken)
    }

    /// Servers at which somebody found no seat within the last minute, the worst first.
    pub fn full(&self, now: Now) -> Vec<FullServer> {
        let tables = self.tables();
        let lasting = tables.full.iter().filter(|(_, r)| r.lasts(now));
        let full = lasting.map(|(&server, refusals)| FullServer {
            server,
            since_s: refusals.since_s,
            outstanding: tables.servers.get(&server).map_or(0, |row| row.taken),
            refused: refusals.count,
        });
        let mut full: Vec<_> = full.collect();
        full.sort_by_key(|of| (std::cmp::Reverse(of.refused), of.server));
        full
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Sound between any two operations.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn refused(&mut self, server: IpAddr, now: Now) {
        let is_known = self.full.get(&server).is_some_and(|r| r.lasts(now));
        if !is_known {
            self.full.retain(|_, r| r.lasts(now));
            if self.full.len() >= FULL_MAX {
                return;
            }
        }
        let row = self.full.entry(server).or_insert(Refusals {
            since_s: now.wall_s,
            last: now.mono,
            count: 0,
        });
        (row.last, row.count) = (now.mono, row.count + 1);
    }
}

/// The seat of one question at one server, until it is dropped. The default is one where there is no limit.
#[derive(Debug, Default)]
pub struct Seat(Option<(Arc<Seats>, IpAddr)>);

impl Drop for Seat {
    fn drop(&mut self) {
        let Some((seats, server)) = &self.0 else {
            return;
        };
        let mut tables = seats.tables();
        if let Some(row) = tables.servers.get_mut(server) {
            row.taken -= 1;
            if row.taken == 0 {
                tables.servers.remove(server);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn asker(n: u8) -> Asker {
        Asker::of([203, 0, n, 1].into())
    }

    #[test]
    fn who_asks_most_leaves_half_for_others() {
        let metrics = Arc::new(Metrics::default());
        let seats = Seats::new(100, metrics.clone());
        let now = Now::default();
        let of = |n: u8| -> Vec<Seat> {
            (0..200)
                .map_while(|_| seats.take(ONE, asker(n), now))
                .collect()
        };
        let much = of(1);
        // Half, and what a network may ask before it is one that asks much.
        assert_eq!(much.len(), 55);
        assert_eq!(of(2).len(), 5);
        assert!(seats.take(TWO, asker(1), now).is_some());
        let others: Vec<Seat> = (2..250)
            .filter_map(|n| seats.take(ONE, asker(n), now))
            .collect();
        assert_eq!((much.len() + others.len(), seats.taken(ONE)), (100, 100));
        let passed_over = metrics.upstream_server_crowded_total.value();
        assert!(passed_over > 200);
        // Told for a minute, and TWO not, which had seats for all.
        let [full] = &seats.full(now)[..] else {
            panic!("one server");
        };
        let told = (full.server, full.outstanding, full.refused);
        assert_eq!(told, (ONE, 100, passed_over));
        let late = Now::new(FULL_FOR, now.wall_s);
        assert_eq!(seats.full(late), []);
        drop(much);
        assert!(seats.take(ONE, asker(1), now).is_some());
        drop(others);
        assert_eq!((seats.taken(ONE), seats.taken(TWO)), (0, 0));
        assert!(seats.tables().servers.is_empty());
    }

    #[test]
    fn servers_without_a_seat_are_told_the_worst_first() {
        let seats = Seats::new(2, Arc::default());
        let at = |s: u64| Now::new(Duration::from_secs(s), 1000 + s);
        let much = |server: IpAddr, count: usize, now: Now| -> Vec<Seat> {
            (0..count)
                .filter_map(|_| seats.take(server, asker(1), now))
                .collect()
        };
        let held = [much(ONE, 10, at(1)), much(TWO, 20, at(2))];
        assert_eq!(held.each_ref().map(Vec::len), [2, 2]);
        let told = |now: Now| -> Vec<_> {
            let full = seats.full(now).into_iter();
            let row = |of: FullServer| (of.server, of.since_s, of.outstanding, of.refused);
            full.map(row).collect()
        };
        assert_eq!(told(at(3)), [(TWO, 1002, 2, 18), (ONE, 1001, 2, 8)]);
        drop(held);
        // Which is still told when nothing is outstanding there any more, and after a minute begins anew.
        let again = much(TWO, 3, at(61));
        assert_eq!(told(at(61)), [(TWO, 1002, 2, 19)]);
        drop(again);
        let _anew = much(ONE, 3, at(130));
        assert_eq!(told(at(130)), [(ONE, 1130, 2, 1)]);
        // As many as there is room for.
        let servers = (0..FULL_MAX as u32 + 9).map(|n| IpAddr::from(n.to_be_bytes()));
        let _all: Vec<_> = servers.map(|server| much(server, 3, at(131))).collect();
        assert_eq!(seats.full(at(131)).len(), FULL_MAX);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let seats = Seats::new(0, Arc::default());
        let all: Vec<Seat> = (0..10_000)
            .filter_map(|_| seats.take(ONE, asker(1), Now::default()))
            .collect();
        assert_eq!((all.len(), seats.taken(ONE)), (10_000, 0));
    }
}
