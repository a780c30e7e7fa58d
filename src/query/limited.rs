//! Where the limits stand in the life of a query: before anything is done for it, and before its answer leaves.
//!
//! What is counted together, and what becomes of what is too much, is `rate_limit`'s to say; here it is carried out and counted.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Pipeline;
use super::rate_limit::{Likeness, Verdict};
use super::reply::{self, Answer};
use super::request::{Client, Request, Transport};
use crate::dns::rdata::Rrsig;
use crate::dns::{Ede, Name, Rcode, Record, RrSet, Rtype};

impl Pipeline {
    /// What the query gets instead of being worked on; `None` if it is within its limit.
    pub(super) fn limit_query(
        &self,
        request: &Request,
        udp_size_max: u16,
    ) -> Option<Option<Vec<u8>>> {
        match self.verdict_on_query(&request.client, request.cookie_is_good) {
            Verdict::Pass => None,
            Verdict::Drop => Some(None),
            Verdict::Truncate => Some(Some(reply::truncated(request, udp_size_max))),
            Verdict::Refuse => {
                let why = "too many questions from this network";
                let refused = Answer::empty(Rcode::REFUSED, Some(Ede::new(Ede::PROHIBITED, why)));
                Some(Some(refused.encode(request, false, udp_size_max)))
            }
        }
    }

    /// Whether the sender of a query that is not worked on is told so.
    pub(super) fn limit_rejected(&self, client: &Client, cookie_is_good: bool) -> bool {
        match self.verdict_on_query(client, cookie_is_good) {
            // A stream that is over its limit is told as cheaply as one that is not.
            Verdict::Pass | Verdict::Refuse => {}
            Verdict::Drop | Verdict::Truncate => return false,
        }
        cookie_is_good || self.verdict_on_response(client, Likeness::Error) == Verdict::Pass
    }

    /// The answer as it leaves; `None` if it does not.
    pub(super) fn written(
        &self,
        answer: &Answer,
        request: &Request,
        recursion_available: bool,
        udp_size_max: u16,
    ) -> Option<Vec<u8>> {
        self.judged(answer, request, recursion_available, udp_size_max)
            .map(|(octets, _)| octets)
    }

    /// The same, and whether it is the whole answer.
    pub(super) fn judged(
        &self,
        answer: &Answer,
        request: &Request,
        recursion_available: bool,
        udp_size_max: u16,
    ) -> Option<(Vec<u8>, bool)> {
        let verdict = match is_proven(request) {
            true => Verdict::Pass,
            false => self.verdict_on_response(&request.client, likeness(answer, request)),
        };
        match verdict {
            Verdict::Pass => {
                let octets = answer.encode(request, recursion_available, udp_size_max);
                Some((octets, true))
            }
            Verdict::Truncate => Some((reply::truncated(request, udp_size_max), false)),
            Verdict::Drop | Verdict::Refuse => None,
        }
    }

    /// What is told of this server itself, or what instead, as it leaves; `None` if it does not.
    pub(super) fn written_chaos(
        &self,
        records: Result<Vec<Record>, Answer>,
        request: &Request,
        udp_size_max: u16,
    ) -> Option<Vec<u8>> {
        let records = match records {
            Ok(records) => records,
            Err(refused) => {
                self.count_answer(&refused);
                return self.written(&refused, request, false, udp_size_max);
            }
        };
        match self.limit_records(request, udp_size_max) {
            None => Some(reply::about_this_server(records, request, udp_size_max)),
            Some(instead) => instead,
        }
    }

    /// What the query gets instead of the records that it asks for, which are not looked at; `None` if it may have them.
    pub(super) fn limit_records(
        &self,
        request: &Request,
        udp_size_max: u16,
    ) -> Option<Option<Vec<u8>>> {
        let (name, rtype) = (&request.question.name, request.question.rtype);
        let verdict = match is_proven(request) {
            true => Verdict::Pass,
            false => self.verdict_on_response(&request.client, Likeness::Records(name, rtype)),
        };
        match verdict {
            Verdict::Pass => None,
            Verdict::Truncate => Some(Some(reply::truncated(request, udp_size_max))),
            Verdict::Drop | Verdict::Refuse => Some(None),
        }
    }

    /// The time since the start, where queries are counted.
    pub fn since_start(&self) -> Option<Duration> {
        self.limits.as_ref().map(|(_, clock)| clock.now().mono)
    }

    /// Whether a client is never limited.
    pub fn is_exempt(&self, client: SocketAddr) -> bool {
        let client = Client::new(client, Transport::Udp);
        (self.limits.as_ref()).is_none_or(|(limits, _)| limits.is_exempt(&client))
    }

    /// Counts queries of a network that were dropped before they came here.
    pub fn count_unseen(&self, network: IpAddr, count: u64, now: Duration) {
        if let Some((limits, _)) = &self.limits {
            limits.count_unseen(network, count, now);
        }
    }

    /// Counts a query, and says what becomes of it.
    pub(super) fn verdict_on_query(&self, client: &Client, cookie_is_good: bool) -> Verdict {
        let Some((limits, clock)) = &self.limits else {
            return Verdict::Pass;
        };
        self.counted_query(limits.query(client, cookie_is_good, clock.now().mono))
    }

    /// Adds a verdict on a query to the metrics.
    pub(super) fn counted_query(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Pass => {}
            Verdict::Drop => self.metrics.limited_queries_dropped_total.inc(),
            Verdict::Truncate => self.metrics.limited_queries_truncated_total.inc(),
            Verdict::Refuse => self.metrics.limited_queries_refused_total.inc(),
        }
        verdict
    }

    /// Says what becomes of an answer to a client that may have forged his address.
    pub(super) fn verdict_on_response(&self, client: &Client, like: Likeness<'_>) -> Verdict {
        let Some((limits, clock)) = &self.limits else {
            return Verdict::Pass;
        };
        self.counted_response(limits.response(client, like, clock.now().mono))
    }

    /// The same for one on a response.
    pub(super) fn counted_response(&self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Truncate => self.metrics.limited_responses_truncated_total.inc(),
            Verdict::Drop => self.metrics.limited_responses_dropped_total.inc(),
            Verdict::Pass | Verdict::Refuse => {}
        }
        verdict
    }

    /// What the answer has in common with others, in one number; 0 where responses are not limited.
    pub(super) fn like_of(&self, answer: &Answer, request: &Request) -> u64 {
        match &self.limits {
            Some((limits, _)) if limits.are_on_responses() => {
                limits.like(&likeness(answer, request))
            }
            _ => 0,
        }
    }
}

/// Who asks over a stream, or whose cookie or signature is right, has not forged his address.
fn is_proven(request: &Request) -> bool {
    let is_stream = request.client.transport != Transport::Udp;
    is_stream || request.cookie_is_good || request.signed.is_some()
}

/// What the answer has in common with others (BIND 9 manual, "Response Rate Limiting").
fn likeness<'a>(answer: &'a Answer, request: &'a Request) -> Likeness<'a> {
    let (name, rtype) = (&request.question.name, request.question.rtype);
    let apex = || {
        let soa = answer.authority.iter().find(|set| set.rtype == Rtype::SOA);
        soa.map(|set| &set.name)
    };
    match answer.rcode {
        Rcode::NXDOMAIN => Likeness::NxDomain(apex().unwrap_or(name)),
        Rcode::NOERROR => match answer.answer.first() {
            Some(first) => match answer.wildcard.clone().or_else(|| wildcard_of(first)) {
                Some(above) => Likeness::Wildcard(above, rtype),
                None => Likeness::Records(name, rtype),
            },
            None => match referral(answer) {
                Some(zone) => Likeness::Referral(zone),
                None => Likeness::NoData(answer.wildcard.as_ref().unwrap_or(name)),
            },
        },
        _ => Likeness::Error,
    }
}

/// The zone that the answer refers to.
fn referral(answer: &Answer) -> Option<&Name> {
    let has_soa = answer.authority.iter().any(|set| set.rtype == Rtype::SOA);
    let ns = answer.authority.iter().find(|set| set.rtype == Rtype::NS);
    ns.filter(|_| !has_soa).map(|set| &set.name)
}

/// The name above the wildcard that the set was made from, where its signatures show that it was (RFC 4035 section 5.3.4).
fn wildcard_of(set: &RrSet) -> Option<Name> {
    let sig = Rrsig::parse(set.sigs.first()?)?;
    let labels = usize::from(sig.labels);
    let is_shorter = !set.name.is_wildcard() && labels < set.name.label_count();
    is_shorter.then(|| set.name.suffix(labels))
}
