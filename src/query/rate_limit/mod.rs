//! Limits on what one client network may ask, and on what it is told; and who asks most.
//!
//! Why: a flood of queries takes the places of everybody else, and one with forged senders makes this server send its answers to
//! somebody who asked for nothing. Whoever really is at an address can show it, so that the limits cost honest clients little.
//!
//! Model: two limits, each in a table of fixed size (`table`), both without a lock.
//!
//! | | what is counted together | over the limit |
//! |---|---|---|
//! | queries | a /24 or /56, senders that may be forged apart from *proven* ones | UDP: dropped, each `slip`th, the first of each host and second, and whoever has come over a stream of late get TC=1; streams: REFUSED |
//! | responses | a /24 or /56, and what is the same in the answer ([`Likeness`]); only UDP from senders that may be forged | dropped, each `slip`th gets TC=1 |
//!
//! Proven is who asks over a stream or sends back a cookie that was made here for him (RFC 7873): he has received something at his
//! address. So a flood with forged senders leaves the network that it names a way in, and a real one is bounded all the same. That way is shown to each host
//! of the network when it first asks too much in a second: who lives beside a flood may ask little, and finds it at once. Who has gone it of late is shown it each
//! time: he will again, and a flood's hosts do not. Beyond that no more are shown it than may go it.
//!
//! The responses are limited as in BIND 9 (its manual, "Response Rate Limiting"): an account has credit for one second and takes
//! debt for `window_s`, so that a flood that goes on is answered with nothing but TC=1. Queries take no debt: so many of them
//! pass, however many more there are.
//!
//! Loopback and `exempt` are counted and never limited.

mod table;
mod talkers;

use std::net::IpAddr;
use std::time::Duration;

use crate::config::Limits;
use crate::dns::{Name, Rtype};
use crate::prefix_set::PrefixSet;

use super::cookie::siphash;
use super::request::{Client, Transport};
use table::{Account, Accounts, Networks};
pub use talkers::{Talker, Talkers};

/// What one account may have at once, as time at its rate: BIND gives a second's worth.
const BURST: Duration = Duration::from_secs(1);
/// Networks that are known at a time, each with its buckets, counts and hosts: 9 MiB.
const NETWORKS_MAX: usize = 1 << 16;
/// Accounts of responses at a time: 1.5 MiB, only where responses are limited.
const ACCOUNTS_MAX: usize = 1 << 16;

/// What becomes of a query or of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes its way.
    Pass,
    /// Nothing is sent.
    Drop,
    /// An answer without records and with TC=1 is sent: over TCP there is more.
    Truncate,
    /// REFUSED is sent: there is no better way than the one that was taken.
    Refuse,
}

/// What answers have in common, so that they are counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Likeness<'n> {
    /// Records for this name and type.
    Records(&'n Name, Rtype),
    /// Records of this type made from the wildcard below this name.
    Wildcard(Name, Rtype),
    /// No data, for this name, or those of the wildcard below it, and any type.
    NoData(&'n Name),
    /// A referral to this zone.
    Referral(&'n Name),
    /// A name that does not exist, any of this zone.
    NxDomain(&'n Name),
    /// An error, whatever was asked.
    Error,
}

/// A client as the limits see it.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    /// In canonical form.
    ip: IpAddr,
    network: Network,
    /// Where the network is in the tables.
    hash: u64,
    /// Counted and never limited.
    is_exempt: bool,
}

/// Both limits.
pub struct RateLimits {
    secret: [u8; 16],
    /// Made of the secret.
    keys: [u64; 2],
    exempt: PrefixSet,
    networks: Networks,
    /// Per second and network; `None` = no limit.
    queries: Option<Account>,
    responses: Option<(Account, Accounts)>,
    slip: u32,
}

impl RateLimits {
    /// The limits of the configuration. Nobody may guess `secret`: it keeps anybody from choosing whose place he takes in the tables.
    pub fn new(limits: &Limits, secret: [u8; 16]) -> RateLimits {
        let window = Duration::from_secs(limits.window_s.into());
        let responses = Account::new(limits.responses_per_s, BURST, window);
        RateLimits {
            secret,
            keys: [0u8, 1].map(|which| siphash(&secret, &[which])),
            exempt: limits.exempt.iter().copied().collect(),
            networks: Networks::new(NETWORKS_MAX),
            queries: Account::new(limits.queries_per_prefix_s, BURST, Duration::ZERO),
            responses: responses.map(|account| (account, Accounts::new(ACCOUNTS_MAX))),
            slip: limits.slip,
        }
    }

    /// Counts a query, and says what becomes of it. `cookie_is_good`: it brought a cookie that was made here for its sender.
    pub fn query(&self, client: &Client, cookie_is_good: bool, now: Duration) -> Verdict {
        let is_stream = client.transport != Transport::Udp;
        self.networks.total.count_queries(1, now);
        self.judge(&self.asker(client), is_stream, cookie_is_good, now)
    }

    /// The same for one over UDP that is added to the sum of all queries later, together with others ([`RateLimits::count_queries`]).
    pub fn datagram(&self, asker: &Asker, cookie_is_good: bool, now: Duration) -> Verdict {
        self.judge(asker, false, cookie_is_good, now)
    }

    /// Adds so many to the sum of all queries: one place that all threads write to, so not for each of them.
    pub fn count_queries(&self, count: u64, now: Duration) {
        self.networks.total.count_queries(count, now);
    }

    /// What the limits want to know of a client.
    pub fn asker(&self, client: &Client) -> Asker {
        self.asker_at(client.addr.ip())
    }

    /// The same by the address.
    #[inline]
    pub fn asker_at(&self, address: IpAddr) -> Asker {
        let ip = address.to_canonical();
        let network = Network::of(ip);
        Asker {
            ip,
            network,
            hash: self.hash(network),
            is_exempt: ip.is_loopback() || self.exempt.contains(ip),
        }
    }

    /// Reads into the processor's cache what will be looked at for an answer of this likeness; what comes out means nothing.
    #[inline]
    pub fn touch(&self, asker: &Asker, like: u64) -> u64 {
        let account = match &self.responses {
            Some((_, accounts)) => accounts.touch(asker.hash ^ like),
            None => 0,
        };
        account ^ self.networks.touch(asker.hash)
    }

    #[inline]
    fn judge(
        &self,
        asker: &Asker,
        is_stream: bool,
        cookie_is_good: bool,
        now: Duration,
    ) -> Verdict {
        let slot = self.networks.slot(asker.network, asker.hash, now);
        slot.count_query(now);
        let Some(account) = self.queries.filter(|_| !asker.is_exempt) else {
            return Verdict::Pass;
        };
        if is_stream && self.slip > 0 {
            slot.goes_the_way(self.host(asker), now);
        }
        let bucket = slot.bucket(is_stream || cookie_is_good);
        if account.take(bucket, now) {
            return Verdict::Pass;
        }
        slot.count_limited(now);
        self.networks.total.count_limited(now);
        match is_stream {
            true => Verdict::Refuse,
            false if self.slip > 0 && slot.is_first(self.host(asker), now) => Verdict::Truncate,
            false
                if self.slip > 0
                    && slot.has_gone_the_way(self.host(asker), now)
                    && account.take(slot.ways_of_goers(), now) =>
            {
                Verdict::Truncate
            }
            // More than may come over TCP need not be shown the way: under a flood each answer that is sent costs honest ones theirs.
            false if slot.slips(self.slip) && account.take(slot.ways(), now) => Verdict::Truncate,
            false => Verdict::Drop,
        }
    }

    /// Counts queries that were dropped as too much before they came here.
    pub fn count_unseen(&self, network: IpAddr, count: u64, now: Duration) {
        let network = Network::of(network);
        let slot = self.networks.slot(network, self.hash(network), now);
        slot.count_unseen(count, now);
        self.networks.total.count_unseen(count, now);
    }

    /// Which of its network the client is: all are told apart in IPv4, and some of those in IPv6.
    fn host(&self, asker: &Asker) -> u8 {
        match asker.ip {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(ip) => siphash(&self.secret, &ip.octets()) as u8,
        }
    }

    /// Whether queries are limited, or only counted.
    pub fn are_on_queries(&self) -> bool {
        self.queries.is_some()
    }

    /// Whether responses are limited at all.
    pub fn are_on_responses(&self) -> bool {
        self.responses.is_some()
    }

    /// Says what becomes of an answer to a client that has not proven to be at its address.
    pub fn response(&self, client: &Client, like: Likeness<'_>, now: Duration) -> Verdict {
        match self.responses {
            Some(_) if client.transport == Transport::Udp => {
                // As in BIND: what is an error anyway is not asked for again over TCP.
                let may_slip = like != Likeness::Error;
                self.respond(&self.asker(client), self.like(&like), may_slip, now)
            }
            _ => Verdict::Pass,
        }
    }

    /// The same for an answer over UDP that is no error and has this likeness ([`RateLimits::like`]).
    pub fn response_like(&self, asker: &Asker, like: u64, now: Duration) -> Verdict {
        self.respond(asker, like, true, now)
    }

    /// A likeness in one number.
    pub fn like(&self, like: &Likeness<'_>) -> u64 {
        siphash(&self.secret, &like.key())
    }

    fn respond(&self, asker: &Asker, like: u64, may_slip: bool, now: Duration) -> Verdict {
        let Some((account, accounts)) = &self.responses else {
            return Verdict::Pass;
        };
        if asker.is_exempt {
            return Verdict::Pass;
        }
        let slot = accounts.slot(asker.hash ^ like, now);
        if account.take(slot.bucket(), now) {
            return Verdict::Pass;
        }
        let of_network = self.networks.slot(asker.network, asker.hash, now);
        of_network.count_limited(now);
        self.networks.total.count_limited(now);
        match may_slip && slot.slips(self.slip) {
            true => Verdict::Truncate,
            false => Verdict::Drop,
        }
    }

    /// Who asked most in the last 10 to 20 seconds; `max` of them.
    pub fn talkers(&self, max: usize, now: Duration) -> Talkers {
        talkers::of(&self.networks, max, now)
    }

    /// Networks and accounts that were forgotten while they were in use, because the tables are full.
    pub fn forgotten(&self) -> u64 {
        let accounts = self.responses.as_ref().map_or(0, |(_, a)| a.forgotten());
        self.networks.forgotten() + accounts
    }

    /// Whether the client is counted and never limited.
    pub fn is_exempt(&self, client: &Client) -> bool {
        self.asker(client).is_exempt
    }

    /// Spreads networks so that nobody can tell whose place is where: a product with a secret, folded.
    fn hash(&self, network: Network) -> u64 {
        let [before, factor] = self.keys;
        let product = u128::from(network.0 ^ before) * u128::from(factor | 1);
        product as u64 ^ (product >> 64) as u64
    }
}

impl Likeness<'_> {
    /// Its identity in octets; the case of letters is none of it.
    fn key(&self) -> Vec<u8> {
        let (kind, rtype, name) = match self {
            Likeness::Records(name, rtype) => (0, rtype.0, name.wire()),
            Likeness::NoData(name) => (1, 0, name.wire()),
            Likeness::Referral(name) => (2, 0, name.wire()),
            Likeness::NxDomain(name) => (3, 0, name.wire()),
            Likeness::Wildcard(name, rtype) => (5, rtype.0, name.wire()),
            Likeness::Error => (4, 0, &[][..]),
        };
        let [high, low] = rtype.to_be_bytes();
        let mut key = Vec::with_capacity(3 + name.len());
        key.extend([kind, high, low]);
        // Lengths of labels are no letters.
        key.extend(name.iter().map(u8::to_ascii_lowercase));
        key
    }
}

/// A /24 or /56, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network(u64);

const FOUR: u64 = 1 << 63;
const SIX: u64 = 1 << 62;

impl Network {
    /// That of an address in canonical form.
    fn of(address: IpAddr) -> Network {
        Network(match address {
            IpAddr::V4(ip) => FOUR | u64::from(ip.to_bits() >> 8),
            IpAddr::V6(ip) => SIX | (ip.to_bits() >> 72) as u64,
        })
    }

    fn prefix(self) -> Option<ipnet::IpNet> {
        let (address, length): (IpAddr, u8) = match self.0 & FOUR != 0 {
            true => (
                std::net::Ipv4Addr::from_bits((self.0 as u32) << 8).into(),
                24,
            ),
            false => {
                let bits = u128::from(self.0 & !SIX) << 72;
                (std::net::Ipv6Addr::from_bits(bits).into(), 56)
            }
        };
        ipnet::IpNet::new(address, length).ok()
    }
}

#[cfg(test)]
mod tests;
