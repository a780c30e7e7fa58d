//! What a copy of a zone says that is asked before anybody else: at once, on the thread that listens.
//!
//! Why: where the root is held for itself (RFC 8806), or while its servers cannot be reached, most of what is asked of it are names that do
//! not exist. Such an answer needs no waiting, no work to be joined and no place in the cache: the copy is nearer than that.
//!
//! Only what ends the resolution is taken: not a referral nor an alias, which have to be followed, unless the client does that by himself
//! (no RD). Everything else goes the general way and finds the copy there.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::{Options, Shared};
use crate::cache::entry::follows_alias;
use crate::dns::{Name, Question, Rtype};
use crate::resolve::{LocalTrust, Prefer, Resolution};

impl Shared {
    /// The answer of a copy, if it is one to give at once.
    pub(super) fn copied(
        self: &Arc<Self>,
        question: &Question,
        options: Options,
    ) -> Option<Resolution> {
        if self.judging.is_some() {
            return None;
        }
        let now = self.clock.now();
        let cover = self.local.cover(question, now)?;
        if options.recursion && (cover.prefer != Prefer::Now || self.local.explores()) {
            return None;
        }
        // Most of what is not cached: a referral, which is not worth writing down.
        if options.recursion && self.local.has_cut(&cover.zone, question) {
            return None;
        }
        // A copy has been verified, so what it says is judged without asking anybody.
        let found = match options.recursion {
            true => at_once(self.mirrored(question))?.filter(|found| is_final(question, found)),
            false => at_once(self.without_recursion(question)),
        };
        let mut found = found?;
        // Only of what was verified whole is it known that its chain of denials leaves nothing out.
        let is_trusted = |trust| trust == LocalTrust::Secure;
        found.sources.settled = cover.prefer == Prefer::Now
            && self.local.is_settled(&cover.zone)
            && matches!(&found.sources.mirrors[..], [note] if note.zone == cover.zone && is_trusted(note.trust));
        Some(found)
    }

    /// Names at which others than the zones above may have a say: zones that are held or forwarded, and names that are not validated.
    pub(super) fn landmarks(&self) -> Vec<Name> {
        let mut landmarks: Vec<Name> = self.settings.forwards.zones().cloned().collect();
        landmarks.extend(self.local.zones());
        if let Some(validator) = &self.validator {
            let anchors = validator.negative_trust_anchors();
            landmarks.extend(anchors.into_iter().map(|(name, _)| name));
        }
        landmarks
    }
}

/// Whether the answer is the whole of what recursion would find.
fn is_final(question: &Question, found: &Resolution) -> bool {
    let goes_on = (found.answer.last()).is_some_and(|set| set.rtype == Rtype::CNAME)
        && follows_alias(question.rtype);
    !goes_on && super::without_rd::referred_to(found).is_none()
}

/// The result of work that does not have to wait.
fn at_once<T>(work: impl Future<Output = T>) -> Option<T> {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}
