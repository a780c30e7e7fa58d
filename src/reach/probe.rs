//! Probes: a question of our own to one server of a zone, to learn whether it is back.
//!
//! A probe asks for the zone's SOA, over UDP and if that brings nothing over TCP. In a signed zone the
//! answer must validate, or any hijacker could end an isolation: by the keys of the mirrored copy, or, if
//! they were rolled during a long isolation, by keys that the server gives and that an anchor or a key
//! of the copy vouches for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::signal::Evidence;
use crate::clock::Clock;
use crate::dns::{
    Dnskey, Ds, Edns, Message, Name, Question, Rcode, RrSet, Rrsig, Rtype, Soa, group,
};
use crate::dnssec::{ds::ds_matches, verify::verify_rrset};
use crate::upstream::{Ask, BoxFuture, ExchangeError, Transport, Upstream};

/// How long a probe waits for a datagram.
const UDP_TIMEOUT: Duration = Duration::from_millis(1200);
/// How long a probe waits for an answer over TCP, connecting included.
const TCP_TIMEOUT: Duration = Duration::from_millis(1500);
/// Signatures that a probe checks at most (a hostile server sends many).
const SIGNATURES_MAX: usize = 16;

/// What a probe brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeOutcome {
    /// What was seen; silence means that UDP and TCP both failed. `None` when this machine could not ask, which says
    /// nothing about the server.
    pub evidence: Option<Evidence>,
    /// The SOA serial that the server gave.
    pub serial: Option<u32>,
}

/// Asks one server whether it serves a zone.
pub trait Prober: Send + Sync + 'static {
    /// Probes; ends within a few seconds.
    fn probe(&self, zone: Name, server: IpAddr) -> BoxFuture<'static, ProbeOutcome>;

    /// Whether anything answers at the address, whatever it says, over UDP or, where nothing does and that is wanted, over TCP; `None` when
    /// this machine could not ask.
    fn knock(
        &self,
        zone: Name,
        server: IpAddr,
        _over_tcp: bool,
    ) -> BoxFuture<'static, Option<Evidence>> {
        let probe = self.probe(zone, server);
        Box::pin(async move { probe.await.evidence })
    }
}

/// What an answer of a zone is checked against.
#[derive(Debug, Clone, Default)]
pub struct ZoneTrust {
    /// `verify = "none"`: any matched authoritative answer is good.
    pub unsigned: bool,
    /// The DNSKEY set of the mirrored copy.
    pub keys: Option<RrSet>,
    /// DS and DNSKEY anchors of the zone from the configuration, as type and RDATA.
    pub anchors: Vec<(Rtype, Box<[u8]>)>,
}

/// Where the trust of a zone comes from; the wiring takes it from the mirrors.
pub type TrustOf = Arc<dyn Fn(&Name) -> ZoneTrust + Send + Sync>;

/// The [`Prober`] that asks for the SOA.
#[derive(Clone)]
pub struct SoaProber {
    upstream: Arc<dyn Upstream>,
    trust_of: TrustOf,
    clock: Clock,
    edns_buffer: u16,
    mix_case: bool,
}

impl SoaProber {
    /// A prober. `edns_buffer`: UDP payload size to advertise, octets. `mix_case`: as for clients' questions.
    pub fn new(
        upstream: Arc<dyn Upstream>,
        trust_of: TrustOf,
        clock: Clock,
        edns_buffer: u16,
        mix_case: bool,
    ) -> SoaProber {
        SoaProber {
            upstream,
            trust_of,
            clock,
            edns_buffer,
            mix_case,
        }
    }

    async fn run(self, zone: Name, server: IpAddr) -> ProbeOutcome {
        let failed = |evidence| ProbeOutcome {
            evidence: Some(evidence),
            serial: None,
        };
        let message = match self.ask(&zone, Rtype::SOA, server, true).await {
            Ok(message) => message,
            Err(evidence) => {
                return ProbeOutcome {
                    evidence,
                    serial: None,
                };
            }
        };
        match message.rcode {
            Rcode::NOERROR if message.authoritative => {}
            Rcode::NOERROR | Rcode::REFUSED | Rcode::NXDOMAIN | Rcode::NOTAUTH => {
                return failed(Evidence::Lame);
            }
            _ => return failed(Evidence::ServerFailure),
        }
        let Some(soa) = find(&message, &zone, Rtype::SOA) else {
            return failed(Evidence::Lame);
        };
        let serial = soa
            .rdatas
            .first()
            .and_then(|r| Soa::parse(r))
            .map(|soa| soa.serial);
        let evidence = self.judge(&zone, server, &soa).await;
        ProbeOutcome {
            evidence: Some(evidence),
            serial,
        }
    }

    async fn judge(&self, zone: &Name, server: IpAddr, soa: &RrSet) -> Evidence {
        let trust = (self.trust_of)(zone);
        if trust.unsigned {
            return Evidence::Answered;
        }
        let wall_s = self.clock.now().wall_s;
        if trust
            .keys
            .as_ref()
            .is_some_and(|keys| signed_by(soa, keys, zone, wall_s))
        {
            return Evidence::Validated;
        }
        // The signing key is not in the copy: it may have been rolled since.
        let fresh = match self.ask(zone, Rtype::DNSKEY, server, true).await {
            Ok(message) => find(&message, zone, Rtype::DNSKEY),
            Err(_) => None,
        };
        let vouched = fresh.filter(|keys| is_vouched(keys, &trust, zone, wall_s));
        match vouched {
            Some(keys) if signed_by(soa, &keys, zone, wall_s) => Evidence::Validated,
            _ => Evidence::Bogus,
        }
    }

    async fn ask(
        &self,
        zone: &Name,
        rtype: Rtype,
        server: IpAddr,
        over_tcp: bool,
    ) -> Result<Message, Option<Evidence>> {
        let ask = |transport, timeout| Ask {
            zone: zone.clone(),
            server: SocketAddr::new(server, 53),
            transport,
            question: Question::new(zone.clone(), rtype),
            recursion_desired: false,
            checking_disabled: false,
            edns: Some(Edns::new(self.edns_buffer, true)),
            cookie: false,
            mix_case: self.mix_case,
            timeout,
        };
        let exchange = |transport, timeout| self.upstream.exchange(ask(transport, timeout));
        let found = match exchange(Transport::Udp, UDP_TIMEOUT).await {
            Ok(reply) if !reply.message.truncated || !over_tcp => Ok(reply),
            Err(error) if !over_tcp => Err(error),
            _ => exchange(Transport::Tcp, TCP_TIMEOUT).await,
        };
        match found {
            Ok(reply) => Ok(reply.message),
            Err(ExchangeError::TimedOut) => Err(Some(Evidence::TimedOut)),
            Err(ExchangeError::Unreachable(_)) => Err(Some(Evidence::Unreachable)),
            Err(ExchangeError::Malformed(_)) => Err(Some(Evidence::ServerFailure)),
            Err(ExchangeError::Local(_) | ExchangeError::Limit(_) | ExchangeError::Doubtful(_)) => {
                Err(None)
            }
        }
    }
}

impl Prober for SoaProber {
    fn probe(&self, zone: Name, server: IpAddr) -> BoxFuture<'static, ProbeOutcome> {
        Box::pin(self.clone().run(zone, server))
    }

    fn knock(
        &self,
        zone: Name,
        server: IpAddr,
        over_tcp: bool,
    ) -> BoxFuture<'static, Option<Evidence>> {
        let prober = self.clone();
        Box::pin(async move {
            match prober.ask(&zone, Rtype::SOA, server, over_tcp).await {
                Ok(_) => Some(Evidence::Answered),
                Err(evidence) => evidence,
            }
        })
    }
}

fn find(message: &Message, zone: &Name, rtype: Rtype) -> Option<RrSet> {
    let sets = group(&message.answer);
    sets.into_iter()
        .find(|s| s.name == *zone && s.rtype == rtype && !s.rdatas.is_empty())
}

/// Whether one of `keys` has a valid signature over `set` now.
fn signed_by(set: &RrSet, keys: &RrSet, zone: &Name, wall_s: u64) -> bool {
    let pairs = set
        .sigs
        .iter()
        .filter_map(|s| Rrsig::parse(s))
        .flat_map(|sig| {
            keys.rdatas
                .iter()
                .filter_map(|k| Dnskey::parse(k))
                .map(move |key| (sig.clone(), key))
        });
    pairs
        .filter(|(sig, key)| sig.key_tag == key.key_tag() && sig.algorithm == key.algorithm)
        .take(SIGNATURES_MAX)
        .any(|(sig, key)| verify_rrset(set, &sig, &key, zone, wall_s).is_ok())
}

/// Whether the fresh DNSKEY set is signed by one of its keys that an anchor names or the copy held.
fn is_vouched(fresh: &RrSet, trust: &ZoneTrust, zone: &Name, wall_s: u64) -> bool {
    let known = |rdata: &[u8]| {
        let held = trust
            .keys
            .iter()
            .flat_map(|keys| &keys.rdatas)
            .any(|k| **k == *rdata);
        held || trust.anchors.iter().any(|(rtype, anchor)| match *rtype {
            Rtype::DS => names_key(anchor, zone, rdata),
            _ => **anchor == *rdata,
        })
    };
    let mut entries = fresh.clone();
    entries.rdatas.retain(|rdata| known(rdata));
    signed_by(fresh, &entries, zone, wall_s)
}

fn names_key(ds: &[u8], zone: &Name, dnskey: &[u8]) -> bool {
    match (Ds::parse(ds), Dnskey::parse(dnskey)) {
        (Some(ds), Some(key)) => ds_matches(&ds, zone, &key),
        _ => false,
    }
}
