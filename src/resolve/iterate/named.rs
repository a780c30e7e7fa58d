//! Where a way begins: at the servers that the operator has named for the zone (`[[forward]]`, `[[stub]]`), or in the public tree.
//!
//! A `[[forward]]` is the one step of its question. A `[[stub]]` is the first one, unless its servers have referred to a zone below before: then that
//! is where the way begins. What is bogus, or asked of the parent, is asked of the stub anew.

use std::sync::Arc;

use super::step::Attempt;
use super::{Action, Env, Iteration};
use crate::clock::Now;
use crate::resolve::forward::Forward;

impl Iteration {
    /// The first step.
    pub(super) fn start(&mut self, env: &Env<'_>, now: Now, out: &mut Vec<Action>) {
        let forwards = &env.settings.forwards;
        let held = env.local.cover(&self.question, now);
        match forwards.governing(&self.question, held.as_ref()) {
            Some(stub) if stub.is_stub => {
                self.below_stub = true;
                let known = env.knowledge.deepest(&self.question, now);
                let anew = self.manner.prefer_mirror || self.manner.from_parent;
                match known.zone.is_below(&stub.zone) && !anew {
                    true => self.begin(env, now, known, out),
                    false => self.forward(env, now, stub.clone(), out),
                }
            }
            Some(forward) => self.forward(env, now, forward.clone(), out),
            None => self.walk(env, now, out),
        }
    }

    /// The one step of a question that is not ours to resolve.
    fn forward(&mut self, env: &Env<'_>, now: Now, forward: Arc<Forward>, out: &mut Vec<Action>) {
        self.forwarded = !forward.is_stub;
        let mut attempt = Attempt::forwarded(forward, &self.question);
        attempt.plan(env, now, &self.manner, &mut self.rng);
        env.trace.note(now, || attempt.told());
        self.attend(env, now, attempt, out);
    }
}
