//! The search for addresses of a zone's name servers, beside the questions to those that are known.
//!
//! Why: a delegation names servers, and often not where they are. Each name is a question of its own, of which a stranger's
//! delegation could make hundreds (NXNSAttack, CVE-2020-12667), so they are counted, and only a few run at a time. And what such a
//! search once found is no more than hearsay: nobody validates it, so it may have to be searched for anew.
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

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use super::step::Sender;
use super::{Action, DEPTH_MAX, Env};
use crate::clock::Now;
use crate::dns::{Name, Rtype};
use crate::resolve::delegation::Delegation;

/// Addresses of name servers that are asked for per delegation (NXNSAttack).
const ASKS_MAX: u8 = 4;
/// Of those, how many at a time.
const ASKS_AT_ONCE: usize = 2;

/// A name to be looked for.
struct Wanted {
    name: Name,
    rtype: Rtype,
    /// What is known of it leads nowhere.
    anew: bool,
}

/// The search of one step.
#[derive(Default)]
pub(super) struct Search {
    wanted: VecDeque<Wanted>,
    awaited: Vec<(Name, Rtype)>,
    /// Name servers outside the zone whose addresses were looked up.
    looked_up: Vec<(Name, Rtype)>,
    asks: u8,
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
        self.awaited.retain(|(n, t)| n != name || *t != rtype);
        if found {
            self.looked_up.push((name.clone(), rtype));
        } else if self.nameless.is_none() {
            let why = why.unwrap_or_else(|| format!("no {rtype} record"));
            self.nameless = Some((name.clone(), why));
        }
    }

    /// Nobody answers at addresses that were looked up. They may have changed since, or be forged: no validation covers them, and
    /// whoever gave them may have said that they hold for a day.
    pub fn doubt(&mut self, env: &Env<'_>, now: Now) {
        // Whom nobody has looked for comes first: the searches are counted.
        if !self.wanted.is_empty() {
            return;
        }
        let doubted = std::mem::take(&mut self.looked_up).into_iter();
        let due = |(name, rtype): &(Name, Rtype)| env.knowledge.claim_new_look(name, *rtype, now);
        let free = usize::from(ASKS_MAX.saturating_sub(self.asks));
        let anew = doubted.filter(due).map(|(name, rtype)| Wanted {
            name,
            rtype,
            anew: true,
        });
        self.wanted.extend(anew.take(free));
    }

    /// Asks for what is wanted, as far as that is allowed; false when the client question has no sub-question left.
    pub fn ask(&mut self, sender: &mut Sender<'_, '_>) -> bool {
        if sender.manner.depth >= DEPTH_MAX {
            return true;
        }
        while self.awaited.len() < ASKS_AT_ONCE && self.asks < ASKS_MAX {
            // What holds up the search for a name in one family holds it up in the other: other names come first.
            let is_new = |wanted: &Wanted| self.awaited.iter().all(|(n, _)| *n != wanted.name);
            let next = self.wanted.iter().position(is_new).unwrap_or(0);
            let Some(Wanted { name, rtype, anew }) = self.wanted.remove(next) else {
                return true;
            };
            if !sender.env.budget.take_sub_question() {
                return false;
            }
            self.asks += 1;
            self.awaited.push((name.clone(), rtype));
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
    }
}
