//! Fair shares of the connections that are taken, where more are opened than that.
//!
//! Why: to take a connection costs as much as to answer ten questions, and whoever opens one may leave again before he has asked any. So a flood of them has all of
//! a core, others' answers wait for their turn, and the line before the listening socket is full: who finds no room in it comes again a second later.
//!
//! Model: each listening socket has a [`Crowd`]: a `sieve` whose queue is the line of connections that wait to be taken, or of handshakes that wait to be computed, whichever is nearer to
//! its end. Its filter drops packets that open a connection (SYN) and no others, so it costs this process nothing and who is in stays in. A few connections are
//! taken in a row ([`TURN_MAX`]), then all other work has a turn: what is too much waits in the line, where it shows, and not among the tasks.
//!
//! Nobody's network is sieved who is exempt from limits, a proxy for others, or comes over loopback.
//!
//! Failure: as with datagrams; a kernel that takes no filter leaves it to the line to lose whoever comes.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::SockRef;

use super::fair::Fair;
use super::proxy::Proxies;
use super::queue;
use super::sieve::{CONNECTIONS, Pressure, Sieve};
use crate::metrics::Metrics;
use crate::query::Pipeline;

/// Connections that are taken in a row.
pub(super) const TURN_MAX: usize = 16;
/// The line is looked at so often while connections are counted, also when none comes.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Who comes to one listening socket.
pub(super) struct Crowd {
    fair: Fair,
    sieve: Sieve,
    /// Connections may have a filter that they opened under.
    has_sieved: bool,
}

impl Crowd {
    pub(super) fn new() -> Crowd {
        let fair = Fair::new(CONNECTIONS);
        Crowd {
            sieve: fair.sieve(),
            fair,
            has_sieved: false,
        }
    }

    /// Whether the line is to be looked at although nobody comes.
    pub(super) fn is_counting(&self) -> bool {
        self.sieve.is_counting()
    }

    /// A connection was taken; whether it is to be served.
    pub(super) fn came(
        &mut self,
        stream: &impl AsFd,
        client: SocketAddr,
        proxies: &Proxies,
        pipeline: &Pipeline,
        metrics: &Metrics,
    ) -> bool {
        if self.has_sieved {
            let _ = queue::let_all_in(stream);
        }
        self.sieve.took(1);
        let is_spared =
            || client.ip().is_loopback() || proxies.has(client) || pipeline.is_exempt(client);
        let is_in = !self.sieve.is_counting() || self.sieve.count(client.ip(), is_spared);
        if !is_in {
            self.fair.left_out(metrics);
        }
        is_in
    }

    /// Looks at the line if it is time to, and has the kernel do what follows. `handshakes` that wait, and how many may.
    pub(super) fn look(
        &mut self,
        listener: &impl AsFd,
        handshakes: Option<(usize, usize)>,
        pipeline: &Pipeline,
        metrics: &Metrics,
    ) {
        let Some(now) = pipeline.since_start().filter(|now| self.sieve.is_due(*now)) else {
            return;
        };
        let Some(line) = queue::line(listener) else {
            return;
        };
        let pressure = handshakes.map_or(line, |(waiting, room)| {
            line.or_longer(Pressure::of_line(waiting, room, line.dropped))
        });
        let at = (pressure, now);
        let has_sieved = &mut self.has_sieved;
        (self.fair).look(&mut self.sieve, at, pipeline, metrics, |kind, shares| {
            *has_sieved = true;
            queue::sieve(listener, kind, shares)
        });
    }
}

/// Ends a connection without a farewell: a reset is the least work for both kernels, and nothing is remembered of it.
pub(super) fn turn_away(stream: impl AsFd) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::clock::Clock;
    use crate::config::Limits;
    use crate::query::Settings;
    use crate::query::rate_limit::RateLimits;

    fn pipeline() -> Pipeline {
        let limits = Arc::new(RateLimits::new(&Limits::default(), [5; 16]));
        Pipeline::new(Settings::untold(), None, Arc::default()).with_limits(limits, Clock::system())
    }

    /// A listening socket of this machine alone, with a line for so many.
    fn listener(room: i32) -> TcpListener {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        socket.listen(room).unwrap();
        socket.into()
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_the_line_full_is_counted_and_nobody_of_this_machine_turned_away() {
        let (pipeline, metrics) = (pipeline(), Metrics::default());
        let proxies = Proxies::new(Default::default(), Arc::default());
        let listener = listener(4);
        let to = listener.local_addr().unwrap();
        let mut crowd = Crowd::new();
        crowd.look(&listener, None, &pipeline, &metrics);
        assert!(!crowd.is_counting());
        // One more than is said fits in; the others are given up.
        let mut held = Vec::new();
        for _ in 0..8 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            if (socket.connect_timeout(&to.into(), Duration::from_millis(50))).is_ok() {
                held.push(socket);
            }
        }
        assert_eq!(held.len(), 5);
        tokio::time::advance(LOOK_INTERVAL).await;
        crowd.look(&listener, None, &pipeline, &metrics);
        assert!(crowd.is_counting());
        assert!(metrics.connections_lost_total.value() >= 3);
        for _ in &held {
            let (stream, client) = listener.accept().unwrap();
            assert!(crowd.came(&stream, client, &proxies, &pipeline, &metrics));
        }
        assert_eq!(metrics.connections_sieved_total.value(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_on_this_machine_gets_no_share_however_many_he_opens() {
        let (pipeline, metrics) = (pipeline(), Metrics::default());
        let proxies = Proxies::new(Default::default(), Arc::default());
        let listener = listener(32);
        let to = listener.local_addr().unwrap();
        let mut crowd = Crowd::new();
        // A third of a second in which more come than find room.
        for _ in 0..33 {
            let mut opened = 0;
            while TcpStream::connect_timeout(&to, Duration::from_millis(10)).is_ok() {
                opened += 1;
            }
            tokio::time::advance(Duration::from_millis(10)).await;
            crowd.look(&listener, None, &pipeline, &metrics);
            for _ in 0..opened {
                let (stream, client) = listener.accept().unwrap();
                assert!(crowd.came(&stream, client, &proxies, &pipeline, &metrics));
            }
        }
        assert!(crowd.is_counting() && !crowd.sieve.is_sieving());
        assert!(metrics.connections_lost_total.value() >= 16);
    }

    #[tokio::test(start_paused = true)]
    async fn handshakes_that_wait_count_as_the_line_does() {
        let (pipeline, metrics) = (pipeline(), Metrics::default());
        let listener = listener(4);
        let mut crowd = Crowd::new();
        crowd.look(&listener, Some((10, 512)), &pipeline, &metrics);
        assert!(!crowd.is_counting());
        tokio::time::advance(LOOK_INTERVAL).await;
        crowd.look(&listener, Some((300, 512)), &pipeline, &metrics);
        assert!(crowd.is_counting());
    }
}
