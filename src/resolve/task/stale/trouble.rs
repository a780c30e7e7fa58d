//! Why new data cannot be had for a question, as far as that is known without asking, and what is noted of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::{Shared, why};
use crate::clock::{Now, format_utc};
use crate::dns::{Ede, Name, Question, Rtype};
use crate::resolve::budget::Budget;
use crate::resolve::forward::Forward;
use crate::resolve::iterate::FailureKind;
use crate::resolve::select::Silence;
use crate::resolve::stale::{Kind, Known, Why};
use crate::resolve::task::chain::Unanswered;

impl Shared {
    /// Why new data cannot be had for the question, as far as that is known without asking.
    pub(in crate::resolve::task) fn trouble(&self, question: &Question, now: Now) -> Option<Known> {
        (self.trouble_noted(question, now)).or_else(|| self.silent_zone(question, now))
    }

    /// The same as far as it has been noted at an earlier question.
    pub(super) fn trouble_noted(&self, question: &Question, now: Now) -> Option<Known> {
        let leads = |zone: &Name, silent: &[IpAddr]| {
            // Who stands in a dead prefix has been good before.
            let lost = |a: &IpAddr| self.health.avoid(*a);
            let silent: Vec<IpAddr> = silent.iter().copied().filter(|a| !lost(a)).collect();
            self.leads_through(question, zone, now)
                && !(self.servers).is_any_good(zone, &silent, now.mono)
        };
        self.troubles.find(question, now, leads, &|a| self.pool(a))
    }

    /// Whether the way of the question leads through the servers of `zone`.
    pub(super) fn leads_through(&self, question: &Question, zone: &Name, now: Now) -> bool {
        let held = self.local.cover(question, now);
        let governing = self.settings.forwards.governing(question, held.as_ref());
        if let Some(forward) = governing {
            return match forward.is_stub {
                true => zone.is_within(&self.first_below(forward, question, now)),
                false => forward.zone == *zone,
            };
        }
        // A copy of the zone, or a delegation that was retained, leads past them.
        !held.is_some_and(|cover| cover.zone.is_within(zone))
            && !self.retained.leads_past(zone, question)
            && zone.is_within(&self.knowledge.deepest(question, now).zone)
    }

    /// The zone whose servers the question would be put to first. None where forwarders are asked, who ask others.
    pub(super) fn first_zone(&self, question: &Question, now: Now) -> Option<Name> {
        let held = self.local.cover(question, now);
        match self.settings.forwards.governing(question, held.as_ref()) {
            Some(stub) if stub.is_stub => Some(self.first_below(stub, question, now)),
            Some(_) => None,
            None => Some(self.knowledge.deepest(question, now).zone.clone()),
        }
    }

    /// A way that begins at a stub begins at the deepest zone below that its servers have referred to.
    fn first_below(&self, stub: &Forward, question: &Question, now: Now) -> Name {
        let known = &self.knowledge.deepest(question, now).zone;
        let first = if known.is_below(&stub.zone) {
            known
        } else {
            &stub.zone
        };
        first.clone()
    }

    /// The zone that the question would be put to, if all of its servers are known to be silent: it is in trouble from now on.
    fn silent_zone(&self, question: &Question, now: Now) -> Option<Known> {
        let (zone, addresses) = self.silent_way(question, now, Silence::Sure)?;
        let text = match self.local.refusal(&zone, now) {
            Some(why) => format!("{zone}: {why}; none of its servers answers"),
            None => format!("{zone}: none of its servers answers"),
        };
        let why = Why {
            kind: Kind::Unreachable,
            ede: Ede::new(Ede::NO_REACHABLE_AUTHORITY, text),
        };
        self.troubles.note_zone(&zone, why.clone(), &addresses, now);
        Some(Known {
            why,
            zone: Some(zone),
            due: false,
        })
    }

    /// The zone that the question would be put to, and its servers, if these are as silent as that.
    pub(super) fn silent_way(
        &self,
        question: &Question,
        now: Now,
        silence: Silence,
    ) -> Option<(Name, Vec<IpAddr>)> {
        let zone = self.first_zone(question, now)?;
        let addresses = self.all_addresses(&zone, now)?;
        let is_so = self.silence(&zone, &addresses, now) == silence;
        (is_so && self.leads_through(question, &zone, now)).then_some((zone, addresses))
    }

    /// The addresses of the servers of a zone, if they are known of each; those that are never asked are left out, and those whose
    /// address would have to be asked for where nobody answers.
    pub(super) fn all_addresses(&self, zone: &Name, now: Now) -> Option<Vec<IpAddr>> {
        if let Some(stub) = self.settings.forwards.stub_at(zone) {
            return Some(stub.servers.iter().map(SocketAddr::ip).collect());
        }
        let delegation = self
            .knowledge
            .deepest(&Question::new(zone.clone(), Rtype::NS), now);
        if delegation.zone != *zone {
            return None;
        }
        let mut all = Vec::new();
        for (name, glue) in &delegation.servers {
            let learned = |rtype| self.knowledge.addresses(name, rtype, now);
            let (four, six) = (learned(Rtype::A), learned(Rtype::AAAA));
            let known = !glue.is_empty() || four.is_some() || six.is_some();
            if !known && !self.is_named_by_the_silent(name, now) {
                return None;
            }
            all.extend(glue);
            all.extend(four.into_iter().chain(six).flatten());
        }
        all.retain(|a| self.settings.may_ask(*a));
        (!all.is_empty()).then_some(all)
    }

    /// Whether the address of a name server would have to be asked for at servers that are all silent.
    fn is_named_by_the_silent(&self, server: &Name, now: Now) -> bool {
        let question = Question::new(server.clone(), Rtype::A);
        if self.local.cover(&question, now).is_some() {
            return false;
        }
        let delegation = self.knowledge.deepest(&question, now);
        let mut all = Vec::new();
        for (name, glue) in &delegation.servers {
            let learned = self.knowledge.addresses(name, Rtype::A, now);
            let learned = learned.unwrap_or_default();
            if glue.is_empty() && learned.is_empty() {
                return false;
            }
            all.extend(glue.iter().chain(&learned));
        }
        all.retain(|a| self.settings.may_ask(*a));
        !all.is_empty() && self.are_silent(&delegation.zone, &all, now)
    }

    /// The servers of a zone, where all of them are known to be silent.
    pub(super) fn silent_servers(&self, zone: &Name, now: Now) -> Vec<IpAddr> {
        let all = self.all_addresses(zone, now).unwrap_or_default();
        match self.are_silent(zone, &all, now) {
            true => all,
            false => Vec::new(),
        }
    }

    /// Whether a server of the zone can be expected to answer some questions.
    fn is_heard_of(&self, zone: &Name, now: Now) -> bool {
        let all = self.all_addresses(zone, now);
        all.is_some_and(|all| self.silence(zone, &all, now) == Silence::None)
    }

    /// The zone that a question has failed at, where all of its servers are silent.
    pub(in crate::resolve::task) fn silent_at(&self, unanswered: &Unanswered) -> Option<Name> {
        match &unanswered.failed {
            Some((FailureKind::Unreachable | FailureKind::Late, zone)) => {
                let silent = self.silent_servers(zone, self.clock.now());
                (!silent.is_empty()).then(|| zone.clone())
            }
            _ => None,
        }
    }

    /// Whether none of these servers of `zone` can be expected to answer.
    fn are_silent(&self, zone: &Name, servers: &[IpAddr], now: Now) -> bool {
        self.silence(zone, servers, now) == Silence::Sure
    }

    /// How silent these servers of `zone` are. Who stands in a dead prefix is.
    fn silence(&self, zone: &Name, servers: &[IpAddr], now: Now) -> Silence {
        let lost = |a: &IpAddr| self.health.avoid(*a);
        let rest: Vec<IpAddr> = servers.iter().copied().filter(|a| !lost(a)).collect();
        self.servers.silence(zone, &rest, now.mono)
    }

    /// What is looked for when a silent address is: the dead prefix that it stands in (narrow, as `reach::prefix` has them), or itself.
    pub(super) fn pool(&self, address: IpAddr) -> IpNet {
        let narrow = match address {
            IpAddr::V4(_) => 24,
            IpAddr::V6(_) => 48,
        };
        let dead = self.health.avoid(address);
        let prefix = dead.then(|| IpNet::new(address, narrow).map(|p| p.trunc()));
        prefix.and_then(Result::ok).unwrap_or(address.into())
    }

    /// Takes note of a question that came to nothing.
    pub(super) fn note_unanswered(&self, question: &Question, unanswered: &Unanswered) {
        let now = self.clock.now();
        let why = why(unanswered);
        match &unanswered.failed {
            // They may answer other questions than those like this one.
            Some((FailureKind::Unreachable, zone)) if self.is_heard_of(zone, now) => {}
            Some((FailureKind::Unreachable, zone)) => {
                let silent = self.silent_servers(zone, now);
                self.troubles.note_zone(zone, why.clone(), &silent, now);
                // Where it is not silence that ails the zone, its servers' health says nothing of its return.
                if self.leads_through(question, zone, now) {
                    return self.troubles.answered(question);
                }
            }
            Some((FailureKind::BadAnswers, zone)) => {
                self.troubles.note_failing(zone, why.clone(), now);
            }
            _ => {}
        }
        if self
            .trouble(question, now)
            .is_some_and(|known| known.zone.is_some())
        {
            return self.troubles.answered(question);
        }
        let is_kept = || self.stale_in_memory(question, now).is_some() || self.is_on_disk(question);
        if why.kind != Kind::Overload && is_kept() {
            let zone = unanswered.failed.as_ref().map(|(_, zone)| zone);
            self.troubles
                .note_name(question, zone, why, Duration::ZERO, now);
        }
    }

    /// Takes note of a question that clients have waited for long enough.
    pub(super) fn note_late(&self, question: &Question, budget: &Budget) -> Why {
        let now = self.clock.now();
        if let Some(known) = self.trouble(question, now) {
            return known.why;
        }
        let waited = self.settings.stale.answer_after.as_millis();
        let text = match budget.trouble() {
            Some(trouble) => format!("no new answer after {waited} ms; so far {trouble}"),
            None => format!("no new answer after {waited} ms"),
        };
        let why = Why {
            kind: Kind::Late,
            ede: Ede::new(Ede::NO_REACHABLE_AUTHORITY, text),
        };
        let busy_until = budget.deadline();
        (self.troubles).note_name(question, None, why.clone(), busy_until, now);
        why
    }

    /// A server of the zone has said something of use.
    pub(in crate::resolve::task) fn note_zone_back(&self, zone: &Name) {
        let now = self.clock.now().mono;
        let Some((answers, since_s)) = self.troubles.heard(zone, now) else {
            return;
        };
        if answers > 0
            && self
                .stale_work
                .log
                .claim(self.clock.now().mono.as_secs())
                .is_some()
        {
            let since = format_utc(since_s);
            tracing::info!(%zone, since, answers, "the zone answers again: new data takes the place of old");
        }
    }
}
