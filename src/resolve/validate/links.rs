//! The links of a chain: what was asked, what came, who is to be believed for what he is.
//!
//! A link is asked for in attempts. Only the reply to the present attempt counts; one that nobody waits
//! for is ignored.

use super::{AsOf, Culprit, SubAsk};
use crate::dns::{Ede, Name, Question, Rtype};
use crate::resolve::{LocalTrust, Origin, Response};

/// Questions and replies of the links.
#[derive(Debug, Default)]
pub(super) struct Links {
    asked: Vec<SubAsk>,
    replies: Vec<(SubAsk, Option<Response>)>,
    /// Attempts above 0.
    attempts: Vec<(Question, u8)>,
    /// What was wrong with the last bad link, and who gave it.
    pub(super) fault: Option<(Ede, Culprit)>,
}

/// What there is for a link.
pub(super) enum Link {
    Reply(Option<Response>),
    Awaited,
    NotAsked,
}

impl Links {
    fn attempt(&self, question: &Question) -> u8 {
        let mut attempts = self.attempts.iter();
        attempts.find(|(q, _)| q == question).map_or(0, |(_, n)| *n)
    }

    /// Counts the attempt up; returns its new number.
    pub(super) fn next_attempt(&mut self, question: &Question) -> u8 {
        if let Some((_, n)) = self.attempts.iter_mut().find(|(q, _)| q == question) {
            *n = n.saturating_add(1);
            return *n;
        }
        self.attempts.push((question.clone(), 1));
        1
    }

    pub(super) fn look_up(&self, question: &Question) -> Link {
        let attempt = self.attempt(question);
        let same = |ask: &SubAsk| ask.question == *question && ask.attempt == attempt;
        if let Some((_, reply)) = self.replies.iter().find(|(ask, _)| same(ask)) {
            return Link::Reply(reply.clone());
        }
        match self.asked.iter().any(same) {
            true => Link::Awaited,
            false => Link::NotAsked,
        }
    }

    pub(super) fn ask(&mut self, question: Question) -> SubAsk {
        let ask = SubAsk {
            attempt: self.attempt(&question),
            question,
        };
        self.asked.push(ask.clone());
        ask
    }

    /// Whether the last reply with the zone's keys came from a mirror.
    pub(super) fn keys_from_mirror(&self, zone: &Name) -> bool {
        let mut replies = self.replies.iter().rev();
        let keys = |a: &SubAsk| a.question.rtype == Rtype::DNSKEY && a.question.name == *zone;
        replies.find(|(ask, _)| keys(ask)).is_some_and(
            |(_, reply)| matches!(reply, Some(r) if matches!(r.origin, Origin::Mirror(_))),
        )
    }

    /// Keeps a reply; one that was not asked for, or came before, is ignored.
    pub(super) fn reply(&mut self, ask: SubAsk, reply: Option<Response>) {
        let known = self.replies.iter().any(|(a, _)| *a == ask);
        if self.asked.contains(&ask) && !known {
            self.replies.push((ask, reply));
        }
    }
}

pub(super) fn link_questions(zone: &Name) -> Vec<Question> {
    [Rtype::DS, Rtype::DNSKEY]
        .map(|rtype| Question::new(zone.clone(), rtype))
        .into()
}

/// The mirrored zone whose verified copy this comes from.
pub(super) fn verified_zone(origin: &Origin) -> Option<&Name> {
    match origin {
        Origin::Mirror(note) if note.trust != LocalTrust::Insecure => Some(&note.zone),
        _ => None,
    }
}

pub(super) fn is_unverified(origin: &Origin) -> bool {
    matches!(origin, Origin::Mirror(note) if note.trust == LocalTrust::Insecure)
}

pub(super) fn as_of(origin: &Origin) -> Option<AsOf> {
    match origin {
        Origin::Mirror(note) if note.trust == LocalTrust::SecureAsOf => {
            Some(AsOf::Mirror(note.clone()))
        }
        _ => None,
    }
}
