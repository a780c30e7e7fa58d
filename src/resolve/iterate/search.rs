//! The search for addresses of a zone's name servers, beside the questions to those that are known.
//!
//! Why: a delegation names servers, and often not where they are. Each name is a question of its own, of which a stranger's
//! delegation could make hundreds (NXNSAttack, CVE-2020-12667), so they are counted, and only a few run at a time; one that takes long
//! makes room for the next, and a name that could not be found out in one family is looked for in the other after all else, one that does not exist not at all. And what such a search once found is no more than hearsay: nobody validates it, so it may have to be
//! searched for anew, which is counted apart, or names that lead nowhere would protect a forged address.
//!
//! Model: per step one [`Search`]. A name and a family are *wanted*, then *awaited*, then perhaps *looked up*; what was looked up may be
//! doubted, and is wanted again.
//!
//! ```text
//!   gather --> wanted -- ask --> awaited -- ended --> looked up
//!                ^                                        |
//!                +--------------- doubt ------------------+
//! ```
//!
//! Failure: a name without an address is remembered for people; a search that finds nothing leaves the step with the
//! addresses it has.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use super::step::Sender;
use super::{Action, DEPTH_MAX, Env};
use crate::clock::Now;
use crate::dns::{Name, Rtype};
use crate::resolve::delegation::Delegation;

/// Addresses of name servers that are asked for per delegation (NXNSAttack).
const ASKS_MAX: u8 = 4;
/// Addresses that are asked for anew, besides.
const ASKS_ANEW_MAX: u8 = 2;
/// How many are looked for at a time.
const ASKS_AT_ONCE: usize = 2;
/// A search that takes longer than this holds up no other: somebody on its way is silent.
const SEARCH_PATIENCE: Duration = Duration::from_millis(800);

/// A name to be looked for.
struct Wanted {
    name: Name,
    rtype: Rtype,
    /// What is known of it leads nowhere.
    anew: bool,
    /// The search for its other family has failed, and this one would go the same way.
    failed: bool,
}

/// A name that is being looked for.
struct Awaited {
    name: Name,
    rtype: Rtype,
    /// When others need not wait for it any more.
    until: Duration,
}

/// The search of one step.
#[derive(Default)]
pub(super) struct Search {
    wanted: VecDeque<Wanted>,
    awaited: Vec<Awaited>,
    /// Name servers outside the zone whose addresses were looked up.
    looked_up: Vec<(Name, Rtype)>,
    asks: u8,
    asks_anew: u8,
    /// When it was last seen to what is wanted.
    asked_at: Duration,
    /// The first name server whose addresses could not be had, and why.
    nameless: Option<(Name, String)>,
}

impl Search {
    /// Known addresses of the zone's servers. What is not known is wanted: first names without any address, then the
    /// other family of those whose address was looked up before.
    pub fn gather(
        &mut self,
        of: &Delegation,
        env: &Env<'_>,
        now: Now,
        rng: &mut SmallRng,
    ) -> Vec<IpAddr> {
        let families = [
            (env.settings.ipv4, Rtype::A),
            (env.settings.ipv6, Rtype::AAAA),
        ];
        let families = || families.into_iter().filter(|(on, _)| *on).map(|(_, t)| t);
        let mut addresses: Vec<IpAddr> = Vec::new();
        let mut nameless: Vec<&Name> = Vec::new();
        let mut halves: Vec<Wanted> = Vec::new();
        for (name, glue) in &of.servers {
            let mut found = glue.clone();
            let outside = !name.is_within(&of.zone);
            let (mut known, mut unknown) = (false, Vec::new());
            for rtype in families() {
                match env.knowledge.addresses(name, rtype, now) {
                    Some(learned) => {
                        known = true;
                        if outside && !learned.is_empty() {
                            self.looked_up.push((name.clone(), rtype));
                        }
                        found.extend(learned);
                    }
                    None => unknown.push(wanted(name, rtype)),
                }
            }
            found.retain(|a| env.settings.may_ask(*a));
            // A name inside the zone cannot be looked up without asking the zone.
            if outside {
                match (found.is_empty(), known) {
                    (true, false) => nameless.push(name),
                    (_, true) => halves.extend(unknown),
                    (false, false) => {}
                }
            }
            addresses.extend(found);
        }
        addresses.sort();
        addresses.dedup();
        nameless.shuffle(rng);
        for rtype in families() {
            let asks = nameless.iter().map(|n| wanted(n, rtype));
            self.wanted.extend(asks);
        }
        self.wanted.extend(halves);
        addresses
    }

    /// What is known by now of the zone's servers outside it: another question may have found them meanwhile.
    pub fn learned(&self, of: &Delegation, env: &Env<'_>, now: Now) -> Vec<IpAddr> {
        let outside = (of.servers.iter()).filter(|(name, _)| !name.is_within(&of.zone));
        let found = outside.flat_map(|(name, _)| {
            [Rtype::A, Rtype::AAAA]
                .into_iter()
                .filter_map(|rtype| env.knowledge.addresses(name, rtype, now))
        });
        found.flatten().collect()
    }

    /// Whether there are names still to be looked for.
    pub fn is_wanting(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether something is being looked for.
    pub fn is_under_way(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// A name server whose addresses could not be had, and why.
    pub fn nameless(&self) -> Option<&(Name, String)> {
        self.nameless.as_ref()
    }

    /// The sub-question for this name came to its end, with addresses or not.
    pub fn ended(&mut self, name: &Name, rtype: Rtype, found: bool, why: Option<String>) {
        self.awaited.retain(|a| a.name != *name || a.rtype != rtype);
        if found {
            self.looked_up.push((name.clone(), rtype));
            return;
        }
        if why.is_some() {
            let same = self.wanted.iter_mut().filter(|w| w.name == *name);
            same.for_each(|w| w.failed = true);
        }
        if self.nameless.is_none() {
            let why = why.unwrap_or_else(|| format!("no {rtype} record"));
            self.nameless = Some((name.clone(), why));
        }
    }

    /// Nobody answers at addresses that were looked up. They may have changed since, or be forged: no validation covers them, and
    /// whoever gave them may have said that they hold for a day.
    pub fn doubt(&mut self, env: &Env<'_>, now: Now) {
        // Whom nobody has looked for comes first.
        if self.wanted.iter().any(|w| self.may_ask(w)) {
            return;
        }
        let doubted = std::mem::take(&mut self.looked_up).into_iter();
        let due = |(name, rtype): &(Name, Rtype)| env.knowledge.claim_new_look(name, *rtype, now);
        let free = usize::from(ASKS_ANEW_MAX.saturating_sub(self.asks_anew));
        let anew = doubted.filter(due).map(|(name, rtype)| Wanted {
            name,
            rtype,
            anew: true,
            failed: false,
        });
        self.wanted.extend(anew.take(free));
    }

    /// When a search takes long, so that another may begin.
    pub fn next_at(&self) -> Option<Duration> {
        let wanted = self.wanted.iter().any(|w| self.may_ask(w));
        let later = self.awaited.iter().map(|a| a.until);
        later.filter(|at| wanted && *at > self.asked_at).min()
    }

    /// Whether that time has come.
    pub fn is_due(&self, now: Now) -> bool {
        self.next_at().is_some_and(|at| at <= now.mono)
    }

    fn may_ask(&self, wanted: &Wanted) -> bool {
        match wanted.anew {
            true => self.asks_anew < ASKS_ANEW_MAX,
            false => self.asks < ASKS_MAX,
        }
    }

    /// Which of the wanted is next. What holds up the search for a name in one family holds it up in the other: other names come
    /// first, and as long as the search for one of them may still succeed, nothing is spent on a name that takes long, or whose
    /// other family could not be found out.
    fn next_wanted(&self, now: Duration) -> Option<usize> {
        let fresh = |a: &Awaited| a.until > now;
        let searched = |w: &Wanted| self.awaited.iter().find(|a| a.name == w.name);
        let first = |fits: &dyn Fn(&Wanted) -> bool| {
            let mut wanted = self.wanted.iter();
            wanted.position(|w| self.may_ask(w) && fits(w))
        };
        let idle = !self.awaited.iter().any(fresh);
        first(&|w| !w.failed && searched(w).is_none())
            .or_else(|| first(&|w| !w.failed && (idle || searched(w).is_some_and(fresh))))
            .or_else(|| first(&|_| idle))
    }

    /// Asks for what is wanted, as far as that is allowed; false when the client question has no sub-question left.
    pub fn ask(&mut self, sender: &mut Sender<'_, '_>) -> bool {
        if sender.manner.depth >= DEPTH_MAX {
            return true;
        }
        let now = sender.now.mono;
        self.asked_at = now;
        while self.awaited.iter().filter(|a| a.until > now).count() < ASKS_AT_ONCE {
            let next = self.next_wanted(now);
            let Some(wanted) = next.and_then(|n| self.wanted.remove(n)) else {
                return true;
            };
            let Wanted {
                name, rtype, anew, ..
            } = wanted;
            // The search in its other family has shown that there are none in this one either.
            let known = sender.env.knowledge.addresses(&name, rtype, sender.now);
            if !anew && known.is_some_and(|known| known.is_empty()) {
                continue;
            }
            let depth = sender.manner.depth;
            if !sender.env.budget.take_search(&name, rtype, depth) {
                return false;
            }
            match anew {
                true => self.asks_anew += 1,
                false => self.asks += 1,
            }
            self.awaited.push(Awaited {
                name: name.clone(),
                rtype,
                until: now + SEARCH_PATIENCE,
            });
            sender.out.push(Action::Addresses { name, rtype, anew });
        }
        true
    }
}

fn wanted(name: &Name, rtype: Rtype) -> Wanted {
    Wanted {
        name: name.clone(),
        rtype,
        anew: false,
        failed: false,
    }
}
