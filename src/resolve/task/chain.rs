//! From a client's question to its resolution: each link fetched, validated and cached, aliases
//! followed.

use std::sync::Arc;

use super::placed::Placed;
use super::raw::RawAsk;
use super::{Options, Shared};
use crate::cache::entry::Entry;
use crate::cache::{Hit, Occasion};
use crate::clock::Now;
use crate::dns::{Ede, Name, Question, Rcode, RrSet, Rtype};
use crate::dnssec::nxdomain::denied_name;
use crate::resolve::budget::Budget;
use crate::resolve::interpret;
use crate::resolve::iterate::{Failure, FailureKind};
use crate::resolve::retained;
use crate::resolve::trace::{What, security_word};
use crate::resolve::validate::{ProvenCut, ProvenKeys, Verdict};
use crate::resolve::{Cover, Origin, Prefer, Resolution, Response, Security, Sources};

/// Links of a chain of aliases.
pub(super) const CHAIN_MAX: usize = 12;
/// How often a question whose answer is bogus is asked: first, from others, from the mirror.
pub(super) const ATTEMPTS_MAX: u8 = 3;
/// How often an answer is passed over because another zone has to give it.
const PASSED_OVER_MAX: u8 = 2;

/// Why a question has no answer for its client.
pub(super) struct Unanswered {
    pub security: Security,
    pub errors: Vec<Ede>,
    /// It will not be better in a moment: worth remembering (RFC 9520).
    pub lasting: bool,
    /// The zone whose step failed, and how, where that is known.
    pub failed: Option<(FailureKind, Name)>,
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Unanswered {
        Unanswered {
            security: Security::Insecure,
            errors: vec![failure.ede()],
            lasting: !matches!(failure.kind, FailureKind::Overload | FailureKind::Crowded),
            failed: Some((failure.kind, failure.zone)),
        }
    }
}

/// A chain under construction.
pub(super) struct Chain {
    pub at: Question,
    seen: Vec<Name>,
    answer: Vec<RrSet>,
    authority: Vec<RrSet>,
    security: Security,
    errors: Vec<Ede>,
}

/// What comes after a link.
pub(super) enum Next {
    Follow,
    End(Box<Resolution>),
    Broken(&'static str),
}

impl Chain {
    fn new(question: &Question) -> Chain {
        Chain {
            at: question.clone(),
            seen: Vec::new(),
            answer: Vec::new(),
            authority: Vec::new(),
            security: Security::Secure,
            errors: Vec::new(),
        }
    }

    pub fn add(&mut self, entry: Entry) -> Next {
        let alias = entry.alias(self.at.rtype);
        self.security = weaker(self.security.clone(), entry.security);
        for error in entry.errors {
            // Of several links that have run out the first speaks for all.
            let is_stale = matches!(error.code, Ede::STALE_ANSWER | Ede::STALE_NXDOMAIN);
            let same = |e: &Ede| *e == error || is_stale && e.code == error.code;
            if !self.errors.iter().any(same) {
                self.errors.push(error);
            }
        }
        self.answer.extend(entry.answer);
        self.authority.extend(entry.authority);
        let Some(target) = alias else {
            return Next::End(Box::new(self.end(entry.rcode)));
        };
        self.seen.push(std::mem::replace(&mut self.at.name, target));
        if self.seen.contains(&self.at.name) {
            return Next::Broken("the aliases go in a circle");
        }
        if self.seen.len() >= CHAIN_MAX {
            return Next::Broken("too many aliases");
        }
        Next::Follow
    }

    fn end(&mut self, rcode: Rcode) -> Resolution {
        Resolution {
            rcode,
            answer: std::mem::take(&mut self.answer),
            authority: std::mem::take(&mut self.authority),
            additional: Vec::new(),
            security: self.security.clone(),
            errors: std::mem::take(&mut self.errors),
            sources: Sources::default(),
        }
    }
}

/// The weaker of two standings.
fn weaker(a: Security, b: Security) -> Security {
    let rank = |s: &Security| match s {
        Security::Secure => 3,
        Security::SecureAsOf => 2,
        Security::Insecure => 1,
        Security::Bogus(_) => 0,
    };
    if rank(&b) < rank(&a) { b } else { a }
}

impl Shared {
    /// The resolution as far as the cache knows it whole, and the links on the way that are due for a refresh; else the chain as
    /// far as it is known, if old data may take it further.
    pub(super) fn cached(
        &self,
        question: &Question,
        now: Now,
    ) -> Result<(Resolution, Vec<Question>), Option<Box<Chain>>> {
        let mut chain = Chain::new(question);
        let mut due = Vec::new();
        loop {
            let Some(hit) = self.known_link(&chain.at, now) else {
                return Err(Some(Box::new(chain)));
            };
            if hit.refresh_due {
                due.push(chain.at.clone());
            }
            match chain.add(hit.entry) {
                Next::Follow => {}
                Next::End(resolution) => return Ok((*resolution, due)),
                Next::Broken(_) => return Err(None),
            }
        }
    }

    /// One link without asking anybody: as it was cached, redirected or denied with a name above it, or else made from
    /// validated denials.
    pub(super) fn known_link(&self, question: &Question, now: Now) -> Option<Hit> {
        self.cache
            .find(question, now)
            .or_else(|| self.redirected(question, now))
            .or_else(|| self.denied_above(question, now))
            .or_else(|| {
                let (entry, left_s) = self.synthesised(question, now)?;
                Some(Hit {
                    entry,
                    left_s,
                    refresh_due: false,
                })
            })
    }

    /// The proof that nothing is below a name above this one (RFC 8020).
    fn denied_above(&self, question: &Question, now: Now) -> Option<Hit> {
        let (denied, hit) = self.cache.denial_above(&question.name, now)?;
        let hit = Hit {
            refresh_due: false,
            ..hit
        };
        self.is_spoken_for(question, &denied, now).then_some(hit)
    }

    /// The alias that a proven DNAME above the name makes of it (RFC 6672 section 5.3.1). Of an unsigned zone none is used: whoever
    /// forges one answer must not move a tree.
    fn redirected(&self, question: &Question, now: Now) -> Option<Hit> {
        // What these ask for is not what the alias stands for.
        if matches!(question.rtype, Rtype::ANY | Rtype::RRSIG | Rtype::NSEC) {
            return None;
        }
        let hit = self.cache.dname_above(&question.name, now)?;
        let dname = hit.entry.answer.first()?;
        if !self.is_spoken_for(question, &dname.name, now) {
            return None;
        }
        let (rcode, answer) = interpret::redirected(dname, &question.name)?;
        self.metrics.answers_dname_total.inc();
        Some(Hit {
            entry: Entry {
                rcode,
                answer,
                ..hit.entry
            },
            left_s: hit.left_s,
            refresh_due: false,
        })
    }

    /// Whether what is proven of everything below `top` goes for the question. Who is exempt from validation is exempt from its
    /// proofs; a zone that is held or forwarded is there.
    pub(super) fn is_spoken_for(&self, question: &Question, top: &Name, now: Now) -> bool {
        let validated = (self.validator.as_ref()).is_some_and(|v| v.covers(question, now));
        let held = self.local.cover(question, now);
        let forward = self.settings.forwards.governing(question, held.as_ref());
        let there = forward
            .map(|f| &f.zone)
            .or(held.as_ref().map(|cover| &cover.zone));
        validated && !there.is_some_and(|zone| zone.is_within(top))
    }

    /// RFC 8198: not cached again, for a flood of random names must not fill the cache. What a wildcard answers twice is: it is to be
    /// at hand when it has run out and the zone cannot be reached.
    fn synthesised(&self, question: &Question, now: Now) -> Option<(Entry, u32)> {
        let made = self.validator.as_ref()?.synthesise(question, now)?;
        if self.is_told_elsewhere(&made.zone, question, now) {
            return None;
        }
        let sets = made.answer.iter().chain(&made.authority);
        let left_s = sets.map(|set| set.ttl).min()?;
        let entry = Entry {
            rcode: made.rcode,
            answer: made.answer,
            authority: made.authority,
            security: Security::Secure,
            errors: Vec::new(),
        };
        let ttl_s = entry.ttl_s(self.settings.ttl).min(left_s);
        if ttl_s == 0 {
            return None;
        }
        self.metrics.answers_aggressive_total.inc();
        match entry.answer.is_empty() {
            true => _ = self.retained.denied(&made.zone, question),
            false
                if self.settings.stale.enabled
                    && self.judging.is_none()
                    && self.expanded.was_asked(question) =>
            {
                self.keep(question, &entry, ttl_s, Occasion::Question);
            }
            false => {}
        }
        Some((entry.with_ttl(ttl_s), ttl_s))
    }

    /// Whether somebody knows better than what follows from proofs of the zone.
    pub(super) fn is_told_elsewhere(&self, zone: &Name, question: &Question, now: Now) -> bool {
        // A zone that is held here below the one that denies it: private, or newer than the denial. And a copy that is
        // asked at once anyway speaks for itself.
        let knows_better = |cover: Cover| {
            cover.zone.is_below(zone) || (cover.zone == *zone && cover.prefer == Prefer::Now)
        };
        let held = self.local.cover(question, now);
        // What is forwarded is another's to say, whatever the zones above know of it.
        let forward = self.settings.forwards.governing(question, held.as_ref());
        forward.is_some_and(|forward| forward.zone.is_below(zone)) || held.is_some_and(knows_better)
    }

    /// Resolves link by link.
    pub(super) async fn chain(
        self: &Arc<Self>,
        question: &Question,
        options: Options,
        budget: &Arc<Budget>,
    ) -> Result<Resolution, Unanswered> {
        let mut chain = Chain::new(question);
        let mut given = None;
        loop {
            let now = self.clock.now();
            // Whoever starts this has looked for the first link just before: only what was kept since is of interest.
            let known = match chain.seen.is_empty() {
                _ if self.judging.is_some() => None,
                true => self.cache.find(&chain.at, now),
                false => self.known_link(&chain.at, now),
            };
            let entry = match known {
                Some(hit) => {
                    // What came along belongs to this link, which another question has brought meanwhile, not to a later one.
                    given = None;
                    budget
                        .trace()
                        .note(self.clock.now(), || cached_told(&chain.at, &hit.entry));
                    hit.entry
                }
                None => {
                    let told = match given.take() {
                        Some(response) => self.given_link(&chain.at, response, budget).await,
                        None => None,
                    };
                    let mut ask = RawAsk::new(chain.at.clone());
                    ask.trace = budget.trace().clone();
                    let link = match told {
                        Some(link) => link,
                        None => self.link_or_stale(ask, options, budget).await?,
                    };
                    given = link.1;
                    link.0
                }
            };
            let from = chain.at.name.clone();
            match chain.add(entry) {
                Next::Follow => {
                    budget.trace().note(self.clock.now(), || What::Alias {
                        from: from.to_string(),
                        to: chain.at.name.to_string(),
                    });
                }
                Next::End(mut resolution) => {
                    resolution.sources = budget.sources();
                    return Ok(*resolution);
                }
                Next::Broken(why) => {
                    return Err(Unanswered {
                        security: Security::Insecure,
                        errors: vec![Ede::new(Ede::OTHER, format!("{question}: {why}"))],
                        lasting: true,
                        failed: None,
                    });
                }
            }
        }
    }

    /// A link that came with the one before, validated, cached; `None` if it is bogus.
    async fn given_link(
        self: &Arc<Self>,
        question: &Question,
        response: Response,
        budget: &Arc<Budget>,
    ) -> Option<(Entry, Option<Response>)> {
        let told = || What::Along {
            question: question.to_string(),
        };
        budget.trace().note(self.clock.now(), told);
        let (entry, ttl_s, placed) = self.judged(question, &response, budget).await;
        if matches!(entry.security, Security::Bogus(_)) || placed != Placed::Well {
            return None;
        }
        self.keep(question, &entry, ttl_s, Occasion::Question);
        Some((entry, self.next_given(question, response)))
    }

    /// One link: asked, validated, cached. A bogus answer is asked for again from others. With it comes what the same
    /// message says of the next link.
    pub(super) async fn link(
        self: &Arc<Self>,
        mut ask: RawAsk,
        options: Options,
        occasion: Occasion,
        budget: &Arc<Budget>,
    ) -> Result<(Entry, Option<Response>), Unanswered> {
        let question = &ask.question.clone();
        let mut bogus: Option<(Entry, Ede)> = None;
        let mut passed_over = 0;
        while ask.attempt < ATTEMPTS_MAX {
            let response = match (self.raw(ask.clone(), budget).await, &bogus) {
                (Ok(response), _) => response,
                (Err(failure), None) => return Err(failure.into()),
                (Err(_), Some(_)) => break,
            };
            let (entry, ttl_s, placed) = self.judged(question, &response, budget).await;
            if passed_over < PASSED_OVER_MAX && self.ask_below(&mut ask, placed, budget).await {
                passed_over += 1;
                continue;
            }
            let Security::Bogus(ede) = entry.security.clone() else {
                self.keep(question, &entry, ttl_s, occasion);
                return Ok((entry, self.next_given(question, response)));
            };
            if let Origin::Network(server) = response.origin {
                let now = self.clock.now().mono;
                self.servers.bogus_for(server, &response.zone, now);
                ask.avoid.push(server);
            }
            ask.attempt += 1;
            if ask.attempt < ATTEMPTS_MAX {
                ask.trace.note(self.clock.now(), || What::Again {
                    question: question.to_string(),
                    why: ede.text.clone(),
                });
            }
            bogus.get_or_insert((entry, ede));
        }
        match bogus {
            Some((entry, _)) if options.checking_disabled => Ok((entry, None)),
            Some((entry, ede)) => Err(Unanswered {
                security: Security::Bogus(ede.clone()),
                errors: std::iter::once(ede).chain(entry.errors).collect(),
                lasting: true,
                failed: None,
            }),
            None => Err(Unanswered {
                security: Security::Insecure,
                errors: Vec::new(),
                lasting: true,
                failed: None,
            }),
        }
    }

    /// Keeps a link; a proven denial under the highest name that it denies, and a proven DNAME under its own name too.
    fn keep(&self, question: &Question, entry: &Entry, ttl_s: u32, occasion: Occasion) {
        if self.judging.is_some() {
            return;
        }
        let now = self.clock.now();
        self.troubles.answered(question);
        if self.spares_old(question, &entry.security) {
            return;
        }
        let proven = entry.security == Security::Secure;
        if proven && entry.rcode == Rcode::NXDOMAIN {
            let denied = denied_name(&question.name, &entry.authority);
            let question = Question::new(denied, question.rtype);
            return self.cache.put(&question, entry, ttl_s, occasion, now);
        }
        self.cache.put(question, entry, ttl_s, occasion, now);
        if proven && let Some(dname) = dname_of(question, entry) {
            let question = Question::new(dname.name.clone(), Rtype::DNAME);
            let own = Entry {
                rcode: Rcode::NOERROR,
                answer: vec![dname.clone()],
                ..entry.clone()
            };
            // Nobody has asked for it.
            (self.cache).put(&question, &own, ttl_s, Occasion::Refresh, now);
        }
    }

    /// The next link of a chain of aliases as the same message gave it, unless somebody is known to know it better.
    fn next_given(&self, question: &Question, response: Response) -> Option<Response> {
        let (first, rest) = response.rest.split_first()?;
        let next = Question::new(first.name.clone(), question.rtype);
        let now = self.clock.now();
        let deeper = |zone: &Name| zone.is_below(&response.zone);
        let cover = self.local.cover(&next, now);
        if deeper(&self.knowledge.deepest(&next, now).zone)
            || self
                .settings
                .forwards
                .governing(&next, cover.as_ref())
                .is_some()
            || cover.is_some_and(|c| deeper(&c.zone))
        {
            return None;
        }
        Some(Response {
            rcode: Rcode::NOERROR,
            answer: vec![first.clone()],
            rest: rest.to_vec(),
            zone: response.zone,
            authority: response.authority,
            origin: response.origin,
        })
    }

    /// Validates an answer and makes a link of it, with the TTL that it may live.
    pub(super) async fn judged(
        self: &Arc<Self>,
        question: &Question,
        response: &Response,
        budget: &Arc<Budget>,
    ) -> (Entry, u32, Placed) {
        let mut verdict = self.judge(question, response, budget).await;
        let placed = self.placed(question, response, &verdict);
        if let Origin::Network(_) = response.origin {
            if placed == Placed::Well {
                self.note_denial(question, response, &verdict);
            }
            self.doubt(&mut verdict);
            if self.mark_retained(&response.zone, &mut verdict) {
                self.metrics.retained_answers_total.inc();
            }
        }
        let (entry, ttl_s) = self.entry(response.rcode, verdict);
        (entry, ttl_s, placed)
    }

    /// Says so where what `zone` says was found through a retained delegation, and lets it live no longer than that allows.
    fn mark_retained(&self, zone: &Name, verdict: &mut Verdict) -> bool {
        let Some(note) = self.retained.through(zone, self.clock.now()) else {
            return false;
        };
        let ttl_max_s = verdict.ttl_max_s.unwrap_or(u32::MAX);
        verdict.ttl_max_s = Some(ttl_max_s.min(retained::ANSWER_TTL_MAX_S));
        verdict.errors.push(note.ede());
        true
    }

    /// A link as it was judged, with the TTL that it may live.
    fn entry(&self, rcode: Rcode, verdict: Verdict) -> (Entry, u32) {
        let entry = Entry {
            rcode,
            answer: verdict.answer,
            authority: verdict.authority,
            security: verdict.security,
            errors: verdict.errors,
        };
        let ttl_s = entry.ttl_s(self.settings.ttl);
        let ttl_s = verdict.ttl_max_s.map_or(ttl_s, |max| ttl_s.min(max));
        (entry.with_ttl(ttl_s), ttl_s)
    }

    /// Keeps what the parent of a zone was proven to say of its DS set, as if it had been asked for: who validates behind this resolver asks for
    /// it perhaps when the parent is gone and only the zone itself can be reached. A denial without SOA is an old answer from its beginning: while the
    /// parent can be asked, its own word with a SOA is to be had.
    pub(super) fn keep_ds(&self, proven: &ProvenCut) {
        if !self.settings.stale.enabled || self.judging.is_some() {
            return;
        }
        let mut verdict = proven.answer.clone();
        self.mark_retained(&proven.by, &mut verdict);
        let question = Question::new(proven.zone.clone(), Rtype::DS);
        match self.entry(Rcode::NOERROR, verdict) {
            (entry, 0) if entry.answer.is_empty() => {
                self.cache.put_run_out(&question, &entry, self.clock.now());
            }
            (entry, ttl_s) => self.keep(&question, &entry, ttl_s, Occasion::Question),
        }
    }

    /// The same of a zone's keys: without them nobody behind this resolver can verify what the zone last said, of DS sets above all.
    pub(super) fn keep_keys(&self, proven: &ProvenKeys) {
        if !self.settings.stale.enabled || self.judging.is_some() {
            return;
        }
        let mut verdict = proven.answer.clone();
        self.mark_retained(&proven.zone, &mut verdict);
        let question = Question::new(proven.zone.clone(), Rtype::DNSKEY);
        let (entry, ttl_s) = self.entry(Rcode::NOERROR, verdict);
        if ttl_s > 0 {
            self.keep(&question, &entry, ttl_s, Occasion::Question);
        }
    }
}

/// The DNAME that redirects the question, unless a wildcard made it: then there is a proof beside it.
fn dname_of<'e>(question: &Question, entry: &'e Entry) -> Option<&'e RrSet> {
    let above = |set: &&RrSet| set.rtype == Rtype::DNAME && question.name.is_below(&set.name);
    let first = entry.answer.first().filter(above)?;
    entry.authority.is_empty().then_some(first)
}

/// A link that the cache knew, for a record.
pub(super) fn cached_told(question: &Question, entry: &Entry) -> What {
    let sets = entry.answer.iter().chain(&entry.authority);
    What::Cached {
        question: question.to_string(),
        rcode: entry.rcode.to_string(),
        security: security_word(&entry.security).into(),
        left_s: sets.map(|set| set.ttl).min().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6840 section 5.7: AD speaks for every link, wherever the weak one stands.
    #[test]
    fn a_chain_is_as_good_as_its_weakest_link() {
        use Security::{Insecure, Secure, SecureAsOf};
        let bogus = || Security::Bogus(Ede::new(Ede::BOGUS, ""));
        let from_best = [Secure, SecureAsOf, Insecure, bogus()];
        for (i, a) in from_best.iter().enumerate() {
            for (j, b) in from_best.iter().enumerate() {
                let found = weaker(a.clone(), b.clone());
                assert_eq!(found, from_best[i.max(j)], "{a:?}, {b:?}");
            }
        }
    }
}
