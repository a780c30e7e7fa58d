//! Servers that answer for some zones and not for others.
//!
//! Why: a hoster under attack drops questions for the zone that is attacked, or a filter on the way does. When such a server owes
//! answers for that zone, it must not pass for silent with all others that it serves: their names would be lost while it answers.
//!
//! Model: what a server owes counts for all its zones, for a dead server is dead for each of them. But one that several times owes answers and
//! gives the next one at once is *partly silent*: from then on what it owes is counted by zone.
//!
//! ```text
//!   whole -- TURNS_MIN times silent and answering, TURN_WITHIN of each other --> partly silent -- PARTLY_FOR without such a turn --> whole
//! ```
//!
//! Failure: a server that loses many packets passes for one of these, too; each zone finds out by itself then whether it is silent.

use std::time::Duration;

use crate::dns::Name;

/// Turns from silence to an answer, and how far apart they may be: zones in trouble are looked for every 4 to 8 s.
const TURNS_MIN: u8 = 3;
const TURN_WITHIN: Duration = Duration::from_secs(9);
/// How long a server is held for one of these after the last turn, and how long what it owes for a zone counts.
const PARTLY_FOR: Duration = Duration::from_secs(30);
/// Zones counted per server. Another one is taken for answered.
const ZONES_MAX: usize = 16;

/// What a server owes by zone.
#[derive(Debug, Clone, Default)]
pub(super) struct Partly {
    turns: u8,
    turned_at: Duration,
    owed: Vec<Owed>,
}

#[derive(Debug, Clone)]
struct Owed {
    zone: Name,
    questions: u32,
    last_at: Duration,
    /// When the latest question was sent that it has answered.
    answered_from: Duration,
}

impl Partly {
    /// Whether what the server owes is counted by zone.
    pub fn is(&self, now: Duration) -> bool {
        self.turns >= TURNS_MIN && now < self.turned_at + PARTLY_FOR
    }

    /// Plain questions in a row for names of `zone` that stayed unanswered.
    pub fn owed(&self, zone: &Name, now: Duration) -> u32 {
        let mut known = self.owed.iter();
        let own = known.find(|o| o.zone == *zone && now < o.last_at + PARTLY_FOR);
        own.map_or(0, |o| o.questions)
    }

    /// A plain question for a name of `zone`, sent at `sent_at`, stayed unanswered. It is not owed where a later one was answered.
    pub fn late(&mut self, zone: &Name, sent_at: Duration, now: Duration) {
        if !self.is(now) {
            return;
        }
        if let Some(own) = self.row(zone, now)
            && own.answered_from <= sent_at
        {
            (own.questions, own.last_at) = (own.questions.saturating_add(1), now);
        }
    }

    /// A question for a name of `zone`, sent at `sent_at`, was answered. `turned`: it was sent while others were unanswered.
    pub fn answered(&mut self, zone: &Name, turned: bool, sent_at: Duration, now: Duration) {
        if turned {
            let (was, lasts) = (self.is(now), now < self.turned_at + TURN_WITHIN);
            self.turns = match was || lasts {
                true => self.turns.saturating_add(1),
                false => 1,
            };
            self.turned_at = now;
            if !was {
                // What it owed before says nothing of single zones.
                self.owed.clear();
            }
        }
        if self.is(now)
            && let Some(own) = self.row(zone, now)
        {
            (own.questions, own.last_at) = (0, now);
            own.answered_from = own.answered_from.max(sent_at);
        }
    }

    /// What is counted for a zone; zones that are owed nothing make room for others.
    fn row(&mut self, zone: &Name, now: Duration) -> Option<&mut Owed> {
        self.owed.retain(|o| now < o.last_at + PARTLY_FOR);
        let at = self.owed.iter().position(|o| o.zone == *zone);
        let at = match at {
            Some(at) => at,
            None => {
                if self.owed.len() >= ZONES_MAX {
                    let settled = self.owed.iter().position(|o| o.questions == 0)?;
                    self.owed.swap_remove(settled);
                }
                self.owed.push(Owed {
                    zone: zone.clone(),
                    questions: 0,
                    last_at: now,
                    answered_from: Duration::ZERO,
                });
                self.owed.len() - 1
            }
        };
        self.owed.get_mut(at)
    }
}
