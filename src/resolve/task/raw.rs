//! Runs iterations: packets out, events in, sub-questions for addresses.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::sleep_until;

use super::Shared;
use super::chain::ATTEMPTS_MAX;
use super::exchange::{Exchange, Tell, Told};
use super::inflight::Part;
use super::judge::Asker;
use crate::cache::entry::negative_ttl_s;
use crate::clock::Now;
use crate::dns::{Name, Question, Rcode, RrSet, Rtype};
use crate::future::BoxFuture;
use crate::resolve::budget::Budget;
use crate::resolve::delegation::ADDRESSES_PER_NAME_MAX;
use crate::resolve::interpret;
use crate::resolve::iterate::{Action, Event, Failure, FailureKind, Iteration, Manner};
use crate::resolve::shares::PLACES_MAX;
use crate::resolve::trace::{Trace, What, origin_words};
use crate::resolve::{Cover, LocalAnswer, LocalZones, Origin, Response, Security};
use crate::upstream::{Ask, Transport};

/// Raw questions under way at a time.
const RAW_IN_FLIGHT_MAX: usize = PLACES_MAX;
/// How often a question joins work that others pay for, when theirs was given up for its cost.
const JOINS_MAX: usize = 4;
/// How long a name server's addresses are kept at least and at most, seconds.
const ADDRESS_TTL_MIN_S: u32 = 5;
const ADDRESS_TTL_MAX_S: u32 = 86_400;
/// How long it is remembered that a name server has no address, or that it could not be found out.
const NO_ADDRESS_TTL_MAX_S: u32 = 300;
const ADDRESS_FAILURE_TTL_S: u32 = 2;
/// How long a DS or DNSKEY answer is kept for validation, seconds.
const RAW_TTL_MAX_S: u32 = 86_400;

pub(super) type RawResult = Result<Response, Failure>;

/// One raw question: no aliases, no validation.
#[derive(Clone)]
pub(super) struct RawAsk {
    pub question: Question,
    pub depth: u8,
    /// Above 0: an earlier answer was bogus.
    pub attempt: u8,
    /// Who gave it.
    pub avoid: Vec<IpAddr>,
    /// The questions that this one is asked for.
    pub ancestry: Vec<Question>,
    /// Asked for by validation, which takes a proof without its SOA.
    pub for_chain: bool,
    /// Where to write down what is done.
    pub trace: Trace,
    /// What is known already is to be refreshed.
    pub refresh: bool,
    /// Copies are not asked.
    pub network_only: bool,
    /// The parent of the zone of that name is asked, though its delegation is known.
    pub from_parent: bool,
    /// The way begins at a copy.
    pub from_copy: bool,
}

/// Stands for the copies where only the network's word counts.
struct NoCopies;

impl LocalZones for NoCopies {
    fn cover(&self, _question: &Question, _now: Now) -> Option<Cover> {
        None
    }

    fn answer(&self, _zone: &Name, _question: &Question, _now: Now) -> Option<LocalAnswer> {
        None
    }
}

impl RawAsk {
    pub fn new(question: Question) -> RawAsk {
        RawAsk {
            question,
            depth: 0,
            attempt: 0,
            avoid: Vec::new(),
            ancestry: Vec::new(),
            for_chain: false,
            trace: Trace::off(),
            refresh: false,
            network_only: false,
            from_parent: false,
            from_copy: false,
        }
    }

    /// What it is asked for, for people.
    fn purpose(&self) -> &'static str {
        match (self.for_chain, self.ancestry.is_empty(), self.attempt) {
            (true, _, 0) => "link of the chain of trust",
            (true, _, _) => "link of the chain of trust, from others",
            (_, false, _) => "address of a name server",
            (_, true, 0) => "answer",
            (_, true, _) => "answer, from others",
        }
    }
}

/// Work is joined only at the same depth, and waits only for deeper work: so no two pieces of work
/// ever wait for each other.
pub(super) type RawKey = (Question, u8);

/// Whether a client can be told this. A denial that came with a referral proves enough for a chain, but has
/// no SOA to say how long it holds (RFC 2308 section 3).
fn is_whole(response: &Response) -> bool {
    !response.answer.is_empty() || response.authority.iter().any(|s| s.rtype == Rtype::SOA)
}

impl Shared {
    /// Asks, or joins who is asking already.
    pub(super) async fn raw(self: &Arc<Self>, ask: RawAsk, budget: &Arc<Budget>) -> RawResult {
        let kept = matches!(ask.question.rtype, Rtype::DS | Rtype::DNSKEY);
        if kept
            && ask.attempt == 0
            && !ask.refresh
            && let Some(known) = self.knowledge.raw(&ask.question, self.clock.now())
            && (ask.for_chain || is_whole(&known))
        {
            ask.trace.note(self.clock.now(), || What::Known {
                question: ask.question.to_string(),
                origin: origin_words(&known.origin),
            });
            return Ok(known);
        }
        let mut ask = ask;
        ask.trace = ask.trace.note(self.clock.now(), || What::Ask {
            question: ask.question.to_string(),
            purpose: ask.purpose().into(),
            outcome: None,
        });
        let alone = ask.attempt > 0 || ask.from_parent || ask.from_copy;
        let result = if alone {
            self.clone().iterate(ask.clone(), budget.clone()).await
        } else {
            self.raw_joined(&ask, budget).await
        };
        ask.trace.end_ask(&result);
        if let Ok(response) = &result
            && kept
        {
            let now = self.clock.now();
            self.knowledge
                .learn_raw(&ask.question, response.clone(), kept_s(response), now);
        }
        result
    }

    /// Joins who is asking already. Work that was given up because *its* client question had cost too much or had taken too long
    /// says nothing about what this one may find for its own budget.
    async fn raw_joined(self: &Arc<Self>, ask: &RawAsk, budget: &Arc<Budget>) -> RawResult {
        for _ in 0..JOINS_MAX {
            let key = (ask.question.clone(), ask.depth);
            let start = || ((), self.clone().iterate(ask.clone(), budget.clone()));
            let done = self.raw_in_flight.run(key, RAW_IN_FLIGHT_MAX, start).await;
            let Some((part, result)) = done else {
                return Err(overloaded());
            };
            if part == Part::Joined {
                ask.trace.note(self.clock.now(), || What::Joined {
                    question: ask.question.to_string(),
                });
            }
            let given_up = |f: &Failure| {
                matches!(
                    f.kind,
                    FailureKind::Budget | FailureKind::Late | FailureKind::Overload
                )
            };
            if part == Part::Started || !result.as_ref().is_err_and(given_up) {
                return result;
            }
            if self.clock.now().mono >= budget.deadline() {
                return Err(too_late(&ask.question));
            }
        }
        Err(overloaded())
    }

    /// Drives one iteration to its end. Boxed: sub-questions are iterations again. So are events: a channel takes room for
    /// 32 of them when it is made, and most questions need one.
    fn iterate(self: Arc<Self>, ask: RawAsk, budget: Arc<Budget>) -> BoxFuture<'static, RawResult> {
        Box::pin(async move {
            let (tell, mut told) = unbounded_channel::<Box<Told>>();
            let mut iteration = Iteration::new(
                ask.question.clone(),
                Manner {
                    depth: ask.depth,
                    avoid: ask.avoid.clone(),
                    prefer_mirror: ask.attempt >= 2 || ask.from_copy,
                    from_parent: ask.from_parent,
                    apart: ask.refresh,
                    seed: self.next_seed(),
                },
            );
            let trace = ask.trace.clone();
            let mut event = Event::Start;
            loop {
                let now = self.clock.now();
                let mut env = self.env(&budget, &ask.trace);
                if ask.network_only {
                    env.local = &NoCopies;
                }
                for action in iteration.step(&env, now, event) {
                    match action {
                        Action::Done(result) => {
                            if let Err(failure) = &*result {
                                self.note_failed(failure, iteration.is_forwarded());
                            }
                            return *result;
                        }
                        Action::Send {
                            token,
                            ask,
                            wait,
                            given_up,
                            seat,
                        } => {
                            let told = self.note_exchange(&trace, &ask, now);
                            let exchange = Exchange {
                                ask,
                                wait,
                                given_up,
                            };
                            let tell = Tell {
                                token,
                                to: tell.clone(),
                            };
                            self.send(&budget, exchange, seat, told, tell);
                        }
                        Action::Check { question, ds } => self.check_referral(question, *ds),
                        Action::Addresses { name, rtype, anew } => {
                            self.ask_addresses(&budget, &ask, (name, rtype), anew, &tell)
                        }
                    }
                }
                let deadline = budget.deadline();
                let wake = iteration.wake_at().map_or(deadline, |at| at.min(deadline));
                event = tokio::select! {
                    biased;
                    Some(told) = told.recv() => self.unless_late(&iteration, *told),
                    () = sleep_until(self.clock.instant(wake)) => Event::Timer,
                };
                if self.clock.now().mono >= deadline {
                    let now = self.clock.now();
                    return Err(iteration.overdue(&self.env(&budget, &trace), now));
                }
            }
        })
    }

    fn note_failed(&self, failure: &Failure, forwarded: bool) {
        if forwarded {
            self.metrics.forward_failures_total.inc();
        }
        if failure.kind != FailureKind::Crowded {
            return;
        }
        self.metrics.upstream_crowded_total.inc();
        if let Some(left_out) = self.crowded_log.claim(self.clock.now().mono.as_secs()) {
            let Failure { zone, text, .. } = failure;
            tracing::warn!(%zone, why = text.as_str(), left_out, "no place for a question to the zone's servers (limits.upstream_per_zone_max, upstream_per_server_max, denials_per_zone_s): it fails, or old data is answered");
        }
    }

    /// Writes down a question to a server, to be completed when it has ended.
    fn note_exchange(&self, trace: &Trace, ask: &Ask, now: Now) -> Trace {
        trace.note(now, || {
            let server = ask.server.ip();
            let known = (self.knowledge).deepest(&Question::new(ask.zone.clone(), Rtype::NS), now);
            let name = self.knowledge.server_name(&known, server, now);
            What::Exchange {
                server,
                name: name.map(|name| name.to_string()),
                transport: match ask.transport {
                    Transport::Udp => "udp",
                    Transport::Tcp => "tcp",
                }
                .into(),
                question: ask.question.to_string(),
                edns: ask.edns.is_some(),
                outcome: None,
                taken: false,
                rtt_ms: None,
                late_ms: None,
            }
        })
    }

    fn ask_addresses(
        self: &Arc<Self>,
        budget: &Arc<Budget>,
        asker: &RawAsk,
        (name, rtype): (Name, Rtype),
        anew: bool,
        tell: &UnboundedSender<Box<Told>>,
    ) {
        let mut ask = RawAsk::new(Question::new(name.clone(), rtype));
        ask.depth = asker.depth + 1;
        ask.ancestry.clone_from(&asker.ancestry);
        ask.ancestry.push(asker.question.clone());
        ask.trace = asker.trace.clone();
        let (shared, budget, tell) = (self.clone(), budget.clone(), tell.clone());
        let work: BoxFuture<'static, ()> = Box::pin(async move {
            let (found, why) = match shared.addresses(ask, anew, &budget).await {
                Ok(found) => (found, None),
                Err(why) => (Vec::new(), Some(why)),
            };
            let event = Event::Addresses {
                name,
                rtype,
                found,
                why,
            };
            let _ = tell.send(Box::new(Told { event, asked: None }));
        });
        tokio::spawn(work);
    }

    /// The addresses of a name server, or why they could not be had.
    pub(super) async fn find_addresses(
        self: &Arc<Self>,
        mut ask: RawAsk,
        anew: bool,
        budget: &Arc<Budget>,
    ) -> Result<Vec<IpAddr>, String> {
        let question = ask.question.clone();
        let (name, rtype) = (&question.name, question.rtype);
        // A server's name that leads back to itself has no address.
        if ask.ancestry.contains(&question) {
            return Err("its name leads back to itself".into());
        }
        let now = self.clock.now();
        if anew {
            // Whoever gave what is known may have lied.
            if let Some(giver) = (self.knowledge).addresses_from(name, rtype, now) {
                ask.attempt = 1;
                ask.avoid.push(giver);
            }
        } else if let Some(known) = (self.knowledge).addresses(name, rtype, now) {
            // Another question has found it out meanwhile.
            return Ok(known);
        }
        let again = ask.attempt > 0;
        let result = match anew {
            true => self.raw_judged(ask, budget).await,
            false => self.raw(ask, budget).await,
        };
        let now = self.clock.now();
        let learn = |rtype, found: &[IpAddr], from, ttl_s| {
            (self.knowledge).learn_addresses(name, rtype, found.to_vec(), from, ttl_s, now);
        };
        match result {
            // RFC 2181 section 10.3: a name server's name is no alias; one that is has no address.
            Ok(response) => {
                let sets = response.answer.iter().filter(|s| s.name == *name);
                let found = sets.clone().flat_map(interpret::addresses);
                let found: Vec<IpAddr> = found.take(ADDRESSES_PER_NAME_MAX).collect();
                let ttl_s = match found.is_empty() {
                    true => denial_ttl_s(&response).min(NO_ADDRESS_TTL_MAX_S),
                    false => sets.clone().map(|s| s.ttl).min().unwrap_or(0),
                };
                let from = match response.origin {
                    Origin::Network(server) => Some(server),
                    Origin::Mirror(_) => None,
                };
                let ttl_s = ttl_s.clamp(ADDRESS_TTL_MIN_S, ADDRESS_TTL_MAX_S);
                learn(rtype, &found, from, ttl_s);
                // What does not exist, or is an alias, has no address of the other family either. The denial of an AAAA does not tell:
                // there are servers that deny the whole name for want of one (RFC 4074 section 4.2).
                let is_alias = sets.clone().any(|s| s.rtype == Rtype::CNAME);
                if rtype == Rtype::A
                    && (is_alias || response.rcode == Rcode::NXDOMAIN)
                    && (self.knowledge.addresses(name, Rtype::AAAA, now)).is_none()
                {
                    learn(Rtype::AAAA, &[], from, ttl_s);
                }
                self.retained.learn_addresses(name, rtype, &found, now);
                Ok(found)
            }
            Err(failure) => {
                let lasting = matches!(
                    failure.kind,
                    FailureKind::Unreachable | FailureKind::BadAnswers
                );
                // Addresses that are kept are better than none.
                if lasting && !again && !self.retained.knows_host(name) {
                    learn(rtype, &[], None, ADDRESS_FAILURE_TTL_S);
                }
                Err(failure.to_string())
            }
        }
    }
}

impl Shared {
    /// An answer that validates, if there is one. Addresses of name servers are taken unseen until they lead nowhere: then nobody
    /// who lies about them may stand in the way of those who do not. A zone that is broken may still say where its servers are.
    async fn raw_judged(self: &Arc<Self>, mut ask: RawAsk, budget: &Arc<Budget>) -> RawResult {
        let question = ask.question.clone();
        let mut asker = Asker {
            depth: ask.depth,
            ancestry: ask.ancestry.clone(),
            budget: budget.clone(),
        };
        asker.ancestry.push(question.clone());
        let mut bogus = None;
        while ask.attempt < ATTEMPTS_MAX {
            let response = match self.raw(ask.clone(), budget).await {
                Ok(response) => response,
                Err(failure) => return bogus.ok_or(failure),
            };
            let verdict = self.judge_for(&asker, &question, &response).await;
            if !matches!(verdict.security, Security::Bogus(_)) {
                return Ok(response);
            }
            if let Origin::Network(server) = response.origin {
                let now = self.clock.now().mono;
                self.servers.bogus_for(server, &response.zone, now);
                ask.avoid.push(server);
            }
            ask.attempt += 1;
            bogus.get_or_insert(response);
        }
        bogus.ok_or_else(|| too_late(&question))
    }
}

/// How long a DS or DNSKEY answer is kept: the shortest TTL in it, and for a denial no longer than its SOA says
/// (RFC 2308 section 5). The denial in a referral comes without SOA.
fn kept_s(response: &Response) -> u32 {
    let sets = response.answer.iter().chain(&response.authority);
    let shortest_s = sets.map(|s| s.ttl).min().unwrap_or(0).min(RAW_TTL_MAX_S);
    match soa_of(response) {
        Some(soa) => shortest_s.min(negative_ttl_s(soa)),
        None => shortest_s,
    }
}

fn denial_ttl_s(response: &Response) -> u32 {
    soa_of(response).map_or(0, negative_ttl_s)
}

fn soa_of(response: &Response) -> Option<&RrSet> {
    response.authority.iter().find(|s| s.rtype == Rtype::SOA)
}

fn too_late(question: &Question) -> Failure {
    Failure {
        kind: FailureKind::Late,
        zone: question.name.clone(),
        text: "no answer in time".into(),
    }
}

fn overloaded() -> Failure {
    Failure {
        kind: FailureKind::Overload,
        zone: Name::root(),
        text: "too many questions under way".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Rcode;
    use crate::signer::{name, rrs};

    #[test]
    fn links_are_kept_as_long_as_their_records_allow() {
        let soa = |ttl_s: u32, minimum_s: u32| {
            format!("test. {ttl_s} SOA ns.test. host.test. 1 2 3 4 {minimum_s}\n")
        };
        let ds = format!("a.test. 600 DS 1 13 2 {}", "ab".repeat(32));
        // A name alone is enough of an NSEC here.
        let nsec = "a.test. 86400 NSEC \\# 8 01620474657374 00";
        for (answer, authority, expected_s) in [
            (&ds[..], String::new(), 600),
            ("", nsec.to_owned(), 86_400),
            ("", soa(3600, 300) + nsec, 300),
            ("", soa(60, 300) + nsec, 60),
            ("", String::new(), 0),
        ] {
            let sets = |lines: &str| crate::dns::group(&rrs(lines));
            let response = Response {
                zone: name("test."),
                rcode: Rcode::NOERROR,
                answer: sets(answer),
                rest: Vec::new(),
                authority: sets(&authority),
                origin: Origin::Network([192, 0, 2, 1].into()),
            };
            assert_eq!(kept_s(&response), expected_s, "{answer} {authority}");
        }
    }
}
