//! DNS cookies as a client (RFC 7873, RFC 9018).
//!
//! Why: an answer that repeats 64 bits which only the server has seen is no forgery from the side. And a server
//! that knows us by the cookie it gave us does not limit us as one of the many it does not know.
//!
//! Model: [`Cookies`] is a table of what was exchanged with each server address from each own address. The client
//! cookie is random, drawn per entry (RFC 9018 section 3: no function of a secret is needed where it is stored,
//! and none links two of our addresses); the server cookie is whatever came last under it. What an answer
//! carries is a [`Carried`], and [`Cookies::note`] says what to make of it:
//!
//! ```text
//!   no server cookie -- answer brings one --> known -- UDP answer without one --> doubtful: ask over TCP
//!        ^                                      |
//!        +--- TCP answer without one -----------+      after MISSES_MAX of these: no longer expected
//! ```
//!
//! Failure: an address behind which some machines do cookies and others do not would send every other question to
//! TCP; after a few such rounds nothing is expected of it any more. The table is bounded; what is forgotten
//! begins anew.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::{Rng, RngExt};

use super::Transport;

/// RFC 7873 section 4: a client cookie has 8 octets,
pub(super) const CLIENT_COOKIE_LEN: usize = 8;
/// and a server cookie 8 to 32.
const SERVER_COOKIE_LEN_MIN: usize = 8;
const SERVER_COOKIE_LEN_MAX: usize = 32;
/// How long a client cookie is used, well below the 36 days of RFC 7873 section 7.1.
const CLIENT_COOKIE_AGE_MAX: Duration = Duration::from_secs(86_400);
/// How often a server may turn out not to do cookies any more before they are no longer expected of it.
const MISSES_MAX: u8 = 3;
/// Pairs of addresses in the table.
const ENTRIES_MAX: usize = 20_000;

/// What an answer says of the cookie that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// No cookie was sent.
    Unasked,
    /// The answer has none.
    Absent,
    /// Our client cookie, and the server's; empty if the server only echoes.
    Matched(Vec<u8>),
}

impl Carried {
    /// The value of a COOKIE option in an answer to a question that carried `client`; `None` if the answer is
    /// to be discarded.
    pub(super) fn read(client: [u8; CLIENT_COOKIE_LEN], value: &[u8]) -> Option<Carried> {
        let (own, server) = value.split_first_chunk()?;
        let legal = server.is_empty()
            || (SERVER_COOKIE_LEN_MIN..=SERVER_COOKIE_LEN_MAX).contains(&server.len());
        (legal && *own == client).then(|| Carried::Matched(server.to_vec()))
    }
}

/// Whose cookies: the server's address (with the port, at which forwarders differ), and the own one that it sees
/// (RFC 9018 section 3: a client cookie is not carried to another address).
pub(super) type Pair = (SocketAddr, IpAddr);

#[derive(Debug)]
struct Entry {
    client: [u8; CLIENT_COOKIE_LEN],
    /// Empty until the server gave one.
    server: Vec<u8>,
    made_at: Duration,
    used_at: Duration,
    misses: u8,
}

/// Cookies by pair of addresses.
#[derive(Debug, Default)]
pub(super) struct Cookies(HashMap<Pair, Entry>);

impl Cookies {
    /// The value of the COOKIE option to send.
    pub(super) fn offer(&mut self, pair: Pair, now: Duration, rng: &mut impl Rng) -> Vec<u8> {
        if self.0.len() >= ENTRIES_MAX && !self.0.contains_key(&pair) {
            self.forget_oldest();
        }
        let aged = |entry: &Entry| entry.made_at + CLIENT_COOKIE_AGE_MAX <= now;
        if self.0.get(&pair).is_some_and(aged) {
            self.0.remove(&pair);
        }
        let entry = self.0.entry(pair).or_insert_with(|| Entry {
            client: rng.random(),
            server: Vec::new(),
            made_at: now,
            used_at: now,
            misses: 0,
        });
        entry.used_at = now;
        [&entry.client[..], &entry.server].concat()
    }

    /// Takes note of what an answer over `transport` carried; true if the answer may be a forgery, for this
    /// server would have sent a cookie.
    pub(super) fn note(&mut self, pair: Pair, carried: Carried, transport: Transport) -> bool {
        let Some(entry) = self.0.get_mut(&pair) else {
            return false;
        };
        match carried {
            Carried::Unasked => false,
            Carried::Matched(server) => {
                if !server.is_empty() {
                    entry.server = server;
                }
                false
            }
            Carried::Absent if entry.server.is_empty() || entry.misses >= MISSES_MAX => false,
            // RFC 7873 section 5.3: an answer without the cookie that is expected must be discarded.
            Carried::Absent if transport == Transport::Udp => true,
            // Nobody forges this one: the server has given up cookies, or another machine took over its address.
            Carried::Absent => {
                entry.server.clear();
                entry.misses += 1;
                false
            }
        }
    }

    fn forget_oldest(&mut self) {
        let mut times: Vec<Duration> = self.0.values().map(|e| e.used_at).collect();
        let (_, &mut median, _) = times.select_nth_unstable(ENTRIES_MAX / 2);
        self.0.retain(|_, e| e.used_at > median);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const PAIR: Pair = (
        SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 53),
        IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 99)),
    );
    const OTHER: Pair = (PAIR.0, IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 98)));

    fn given(octet: u8) -> Carried {
        Carried::Matched(vec![octet; 16])
    }

    // RFC 7873 sections 4 and 5.3.
    #[test]
    fn what_an_option_may_be() {
        let client = [7; 8];
        let value = |own: u8, len: usize| [&[own; 8][..], &vec![1; len]].concat();
        for (bytes, expected) in [
            (value(7, 8), Some(Carried::Matched(vec![1; 8]))),
            (value(7, 32), Some(Carried::Matched(vec![1; 32]))),
            (value(7, 0), Some(Carried::Matched(Vec::new()))),
            (value(7, 7), None),
            (value(7, 33), None),
            (value(6, 16), None),
            (vec![7; 7], None),
            (Vec::new(), None),
        ] {
            assert_eq!(Carried::read(client, &bytes), expected, "{bytes:?}");
        }
    }

    // RFC 9018 section 3: one per pair of addresses, and not for ever.
    #[test]
    fn cookies_belong_to_a_pair_of_addresses_for_a_day() {
        let mut cookies = Cookies::default();
        let mut rng = StdRng::seed_from_u64(1);
        let mut send = |cookies: &mut Cookies, pair, at_s| {
            cookies.offer(pair, Duration::from_secs(at_s), &mut rng)
        };
        let first = send(&mut cookies, PAIR, 0);
        assert_eq!(first.len(), 8);
        assert_ne!(send(&mut cookies, OTHER, 0), first);
        assert!(!cookies.note(PAIR, given(3), Transport::Udp));
        let second = send(&mut cookies, PAIR, 86_399);
        assert_eq!((&second[..8], &second[8..]), (&first[..], &[3; 16][..]));
        assert_eq!(send(&mut cookies, OTHER, 86_399).len(), 8);
        let third = send(&mut cookies, PAIR, 86_400);
        assert_eq!(third.len(), 8);
        assert_ne!(third, first);
    }

    // RFC 7873 section 5.3.
    #[test]
    fn what_is_made_of_an_answer() {
        use Transport::{Tcp, Udp};
        let mut cookies = Cookies::default();
        let mut rng = StdRng::seed_from_u64(1);
        cookies.offer(PAIR, Duration::ZERO, &mut rng);
        for (step, carried, over, doubtful, sent_next) in [
            (1, Carried::Absent, Udp, false, 8),
            (2, Carried::Unasked, Udp, false, 8),
            (3, Carried::Matched(Vec::new()), Udp, false, 8),
            (4, Carried::Absent, Udp, false, 8),
            (5, given(1), Udp, false, 24),
            (6, Carried::Matched(Vec::new()), Udp, false, 24),
            (7, Carried::Absent, Udp, true, 24),
            (8, given(2), Tcp, false, 24),
            (9, Carried::Absent, Udp, true, 24),
            // Given up: without the cookie it is as good as before.
            (10, Carried::Absent, Tcp, false, 8),
            (11, Carried::Absent, Udp, false, 8),
            // Half of the machines behind an address do cookies.
            (12, given(3), Udp, false, 24),
            (13, Carried::Absent, Tcp, false, 8),
            (14, given(3), Udp, false, 24),
            (15, Carried::Absent, Tcp, false, 8),
            (16, given(3), Udp, false, 24),
            (17, Carried::Absent, Udp, false, 24),
        ] {
            assert_eq!(cookies.note(PAIR, carried, over), doubtful, "step {step}");
            let sent = cookies.offer(PAIR, Duration::ZERO, &mut rng);
            assert_eq!(sent.len(), sent_next, "step {step}");
        }
        assert!(!cookies.note(OTHER, Carried::Absent, Udp));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut cookies = Cookies::default();
        let mut rng = StdRng::seed_from_u64(1);
        for n in 0..ENTRIES_MAX as u32 + 10 {
            let pair = (SocketAddr::new(n.to_be_bytes().into(), 53), PAIR.1);
            cookies.offer(pair, Duration::from_millis(n.into()), &mut rng);
        }
        assert!((ENTRIES_MAX / 2 - 1..=ENTRIES_MAX).contains(&cookies.0.len()));
    }
}
