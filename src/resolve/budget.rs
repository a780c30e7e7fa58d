//! What one client question may cost.
//!
//! Why: a delegation can name hundreds of servers in other zones, whose delegations do the same (NXNSAttack,
//! CVE-2020-8616), and a chain of aliases can go on. Whatever a stranger's zone asks for, one question
//! from a client costs at most this much. The budget is shared by every sub-question, and so is the memory that
//! it has already hedged once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::askers::Asker;
use crate::clock::Now;
use crate::dns::{Name, Rtype};
use crate::resolve::trace::Trace;
use crate::resolve::{MirrorNote, Sources};

/// Packets sent for one client question.
pub const PACKETS_MAX: u32 = 100;
/// Sub-questions (addresses of servers, DS, DNSKEY) for one client question.
pub const SUB_QUESTIONS_MAX: u32 = 48;
/// Of those, kept for DS and DNSKEY: what was found after a long search for servers shall be validated, too.
const LINKS_RESERVED: u32 = 16;
const _: () = assert!(LINKS_RESERVED < SUB_QUESTIONS_MAX);
/// How often the same search for an address is paid for once: it joins the first, or finds what that has found.
const REPEATS_FREE: u32 = 3;
/// Time for one client question.
pub const TIME_MAX: Duration = Duration::from_secs(10);

/// A name server, the type of address, and how deep in other searches that is looked for: only equals join each other.
type Search = (Name, Rtype, u8);

/// What is left for one client question.
#[derive(Debug)]
pub struct Budget {
    packets_left: AtomicU32,
    sub_questions_left: AtomicU32,
    /// Searches for addresses, with their depth, and how often they were begun.
    searched: Mutex<HashMap<Search, u32>>,
    deadline: Duration,
    hedged: AtomicBool,
    resorted: AtomicBool,
    stale: AtomicBool,
    in_vain: AtomicBool,
    mirrors: Mutex<Vec<MirrorNote>>,
    /// The last failure of a step, for whoever is told before the end.
    trouble: Mutex<Option<String>>,
    trace: Trace,
    asker: Asker,
    /// A zone that may be asked although too many of its names do not exist.
    let_in: OnceLock<Name>,
}

impl Budget {
    /// A full budget, from now on.
    pub fn new(now: Now) -> Budget {
        Budget::of(PACKETS_MAX, now)
    }

    /// A budget of so many packets, from now on; never more than a client question has.
    pub fn of(packets: u32, now: Now) -> Budget {
        Budget {
            packets_left: AtomicU32::new(packets.min(PACKETS_MAX)),
            sub_questions_left: AtomicU32::new(SUB_QUESTIONS_MAX),
            searched: Mutex::default(),
            deadline: now.mono + TIME_MAX,
            hedged: AtomicBool::new(false),
            resorted: AtomicBool::new(false),
            stale: AtomicBool::new(false),
            in_vain: AtomicBool::new(false),
            mirrors: Mutex::new(Vec::new()),
            trouble: Mutex::default(),
            trace: Trace::off(),
            asker: Asker::default(),
            let_in: OnceLock::new(),
        }
    }

    /// The same, with somebody looking on.
    pub fn traced(mut self, trace: Trace) -> Budget {
        self.trace = trace;
        self
    }

    /// The same, for a question of this network.
    pub fn asked_by(mut self, asker: Asker) -> Budget {
        self.asker = asker;
        self
    }

    /// Whose question it is; of several that wait for it, the first one's.
    pub fn asker(&self) -> Asker {
        self.asker
    }

    /// The servers of this zone may be asked although too many of its names do not exist.
    pub fn let_in(&self, zone: Name) {
        let _ = self.let_in.set(zone);
    }

    /// Whether they may.
    pub fn is_let_in(&self, zone: &Name) -> bool {
        self.let_in.get() == Some(zone)
    }

    /// Where to write down what is done for this client question.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What went wrong at a step so far, for people.
    pub fn set_trouble(&self, text: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    /// What went wrong last.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes one packet; false when there is none left.
    pub fn take_packet(&self) -> bool {
        take(&self.packets_left, 0)
    }

    /// Takes one sub-question for the address of a name server; false when there is none left. Two names that lead over the same zone
    /// look for the same servers: that costs one.
    pub fn take_search(&self, name: &Name, rtype: Rtype, depth: u8) -> bool {
        let mut searched = self.searched.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.clone(), rtype, depth);
        let known = searched.get(&key).copied().unwrap_or(0);
        let is_free = known > 0 && known <= REPEATS_FREE;
        if !is_free && !take(&self.sub_questions_left, LINKS_RESERVED) {
            return false;
        }
        searched.insert(key, known + 1);
        true
    }

    /// Takes one sub-question for a link of the chain of trust; false when there is none left.
    pub fn take_link(&self) -> bool {
        take(&self.sub_questions_left, 0)
    }

    /// Monotonic time at which the question is given up.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Whether a hedge delay was already paid, so that mirrors are taken at once.
    pub fn has_hedged(&self) -> bool {
        self.hedged.load(Ordering::Relaxed)
    }

    /// A hedge delay has been paid.
    pub fn set_hedged(&self) {
        self.hedged.store(true, Ordering::Relaxed);
    }

    /// Whether a last resort was already taken, so that it is taken at once.
    pub fn has_resorted(&self) -> bool {
        self.resorted.load(Ordering::Relaxed)
    }

    /// Upstream has failed altogether, and a last resort was taken.
    pub fn set_resorted(&self) {
        self.resorted.store(true, Ordering::Relaxed);
    }

    /// Packets that may still be sent.
    pub fn packets_left(&self) -> u32 {
        self.packets_left.load(Ordering::Relaxed)
    }

    /// Nobody waits for the outcome any more: no more than so many packets are sent from now on.
    pub fn limit_packets(&self, packets: u32) {
        self.packets_left.fetch_min(packets, Ordering::Relaxed);
        self.in_vain.store(true, Ordering::Relaxed);
    }

    /// Whether nobody waits for the outcome any more.
    pub fn is_in_vain(&self) -> bool {
        self.in_vain.load(Ordering::Relaxed)
    }

    /// Whether nobody waits for the outcome any more, and nothing may be sent for it. Who has joined a part of the work waits for nothing.
    pub fn is_given_up(&self) -> bool {
        self.is_in_vain() && self.packets_left() == 0
    }

    /// A part of the answer has run out.
    pub fn set_stale(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    /// A mirror answered a step.
    pub fn used_mirror(&self, note: &MirrorNote) {
        let mut mirrors = self.mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        if !mirrors.iter().any(|m| m.zone == note.zone) {
            mirrors.push(note.clone());
        }
    }

    /// Who contributed so far.
    pub fn sources(&self) -> Sources {
        Sources {
            packets: PACKETS_MAX - self.packets_left.load(Ordering::Relaxed),
            stale: self.stale.load(Ordering::Relaxed),
            settled: false,
            mirrors: (self.mirrors.lock().unwrap_or_else(PoisonError::into_inner)).clone(),
        }
    }
}

/// Takes one if that leaves at least `rest`.
fn take(left: &AtomicU32, rest: u32) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
        n.checked_sub(1).filter(|n| *n >= rest)
    })
    .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_runs_out() {
        let budget = Budget::new(Now::default());
        assert_eq!((0..1000).filter(|_| budget.take_packet()).count(), 100);
        assert_eq!(budget.sources().packets, 100);
        let child = |n: u32| Name::root().child(n.to_string().as_bytes()).unwrap();
        let searches = |budget: &Budget, names: u32, depth| {
            let mut all = (0..1000).map(|n| child(n % names));
            all.by_ref()
                .take_while(|name| budget.take_search(name, Rtype::A, depth))
                .count()
        };
        assert_eq!(searches(&budget, 1000, 1), 32);
        assert_eq!(searches(&budget, 1000, 2), 0);
        // The work of a client who has been answered is given up when it may send no more.
        let late = Budget::new(Now::default());
        assert!(budget.packets_left() == 0 && !budget.is_given_up());
        late.limit_packets(1);
        assert!(!late.is_given_up() && late.take_packet() && late.is_given_up());
        // The same again is free, within bounds.
        let other = Budget::new(Now::default());
        assert_eq!(searches(&other, 4, 1), 4 * 4 + 28);
        assert_eq!((0..1000).filter(|_| budget.take_link()).count(), 16);
    }
}
