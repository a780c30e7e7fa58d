//! What is to be told to whom, and when again. Pure.
//!
//! ```text
//! tell -> waiting -- due --> sent -- answered --> gone
//!            ^                 |
//!            '- pause doubles -'-- TRIES_MAX --> given up
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::NotifyTarget;
use crate::dns::message::OPCODE_NOTIFY;
use crate::dns::{Message, Name, Rcode, Record};

/// Tries before an address is given up: together about two minutes.
const TRIES_MAX: u32 = 7;
/// Pause after the first try; it doubles from try to try (RFC 1996 section 3.6 finds 60 s and 5 more tries reasonable; ours is sooner over).
const PAUSE_FIRST_MS: u64 = 1000;
/// Zones times addresses that may wait for an answer; RFC 1996 is a courtesy, memory is not.
const PENDING_MAX: usize = 20_000;
/// Messages in one turn; the rest follows at once, after what else there is to do.
pub const SENDS_PER_TURN_MAX: usize = 64;

/// Everything that is being told.
#[derive(Default)]
pub struct Queue {
    pending: HashMap<(Name, SocketAddr), Pending>,
}

struct Pending {
    target: NotifyTarget,
    soa: Record,
    tries: u32,
    due: Duration,
    /// Identifier of the last message.
    id: Option<u16>,
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    /// To whom, and signed with which key.
    pub target: NotifyTarget,
    /// What.
    pub message: Message,
}

/// What a turn leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Messages to be sent now.
    pub sends: Vec<Send>,
    /// Zones and addresses that have been given up.
    pub given_up: Vec<(Name, SocketAddr)>,
}

impl Queue {
    /// Begins to tell an address of a version; of an older one it is told no more. `false` when there is no room.
    pub fn tell(&mut self, target: NotifyTarget, soa: Record, now: Duration) -> bool {
        let key = (soa.name.clone(), target.addr);
        if self.pending.len() >= PENDING_MAX && !self.pending.contains_key(&key) {
            return false;
        }
        let pending = Pending {
            target,
            soa,
            tries: 0,
            due: now,
            id: None,
        };
        self.pending.insert(key, pending);
        true
    }

    /// What is due; each message gets an identifier from `new_id`.
    pub fn turn(&mut self, now: Duration, mut new_id: impl FnMut() -> u16) -> Turn {
        let mut turn = Turn::default();
        for (key, pending) in &mut self.pending {
            if pending.due > now {
                continue;
            }
            if pending.tries == TRIES_MAX {
                turn.given_up.push(key.clone());
                continue;
            }
            if turn.sends.len() == SENDS_PER_TURN_MAX {
                break;
            }
            let id = new_id();
            pending.id = Some(id);
            pending.due = now + Duration::from_millis(PAUSE_FIRST_MS << pending.tries);
            pending.tries += 1;
            turn.sends.push(Send {
                target: pending.target.clone(),
                message: notify(id, &pending.soa),
            });
        }
        for key in &turn.given_up {
            self.pending.remove(key);
        }
        turn
    }

    /// Whether an answer from an address is one to the last message to it. RFC 1996 section 4.8: then it has been told, whatever
    /// the response code.
    pub fn expects(&self, from: SocketAddr, answer: &Message) -> bool {
        let Some(question) = answer.question.as_ref() else {
            return false;
        };
        answer.response
            && answer.opcode == OPCODE_NOTIFY
            && (self.pending.get(&(question.name.clone(), from)))
                .is_some_and(|pending| pending.id == Some(answer.id))
    }

    /// Whether what an address is told of a zone is signed.
    pub fn is_signed(&self, zone: &Name, address: SocketAddr) -> bool {
        (self.pending.get(&(zone.clone(), address))).is_some_and(|p| p.target.tsig.is_some())
    }

    /// Takes a zone and an address off the list.
    pub fn told(&mut self, zone: &Name, address: SocketAddr) {
        self.pending.remove(&(zone.clone(), address));
    }

    /// When the next turn is due.
    pub fn wake_at(&self) -> Option<Duration> {
        self.pending.values().map(|pending| pending.due).min()
    }
}

/// RFC 1996 section 3.7: the SOA in the answer section is a hint.
fn notify(id: u16, soa: &Record) -> Message {
    let question = crate::dns::Question::new(soa.name.clone(), soa.rtype);
    Message {
        opcode: OPCODE_NOTIFY,
        authoritative: true,
        rcode: Rcode::NOERROR,
        answer: vec![soa.clone()],
        ..Message::query(id, question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signer::{name, rr};

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn target(address: &str) -> NotifyTarget {
        NotifyTarget {
            addr: address.parse().unwrap(),
            tsig: None,
        }
    }

    fn soa(serial: u32) -> Record {
        rr(&format!("z. 60 SOA ns.z. h.z. {serial} 1 1 1 1"))
    }

    /// When messages leave until nothing is left to do, in seconds.
    fn times(queue: &mut Queue) -> Vec<u64> {
        let mut times = Vec::new();
        while let Some(at) = queue.wake_at() {
            let turn = queue.turn(at, || 1);
            times.extend(turn.sends.iter().map(|_| at.as_secs()));
        }
        times
    }

    #[test]
    fn silence_is_met_with_growing_pauses_and_an_end() {
        let mut queue = Queue::default();
        assert!(queue.tell(target("192.0.2.1:53"), soa(1), S(0)));
        assert_eq!(times(&mut queue), [0, 1, 3, 7, 15, 31, 63]);
        queue.tell(target("192.0.2.1:53"), soa(1), S(0));
        for at in [0, 1, 3, 7, 15, 31, 63, 126] {
            assert!(queue.turn(S(at), || 1).given_up.is_empty());
        }
        let turn = queue.turn(S(127), || 1);
        let expected = (name("z."), "192.0.2.1:53".parse().unwrap());
        assert_eq!((turn.given_up, turn.sends.len()), (vec![expected], 0));
    }

    #[test]
    fn only_its_own_answer_ends_it() {
        let mut queue = Queue::default();
        queue.tell(target("192.0.2.1:53"), soa(1), S(0));
        let sent = queue.turn(S(0), || 77).sends.remove(0).message;
        assert_eq!((sent.opcode, sent.authoritative), (OPCODE_NOTIFY, true));
        assert_eq!(sent.answer, [soa(1)]);
        let from = |text: &str| text.parse::<SocketAddr>().unwrap();
        let good = sent.reply(Rcode::NOERROR);
        let change = |change: fn(&mut Message)| {
            let mut message = good.clone();
            change(&mut message);
            message
        };
        assert!(!queue.expects(from("192.0.2.2:53"), &good));
        assert!(!queue.expects(from("192.0.2.1:54"), &good));
        for bad in [
            change(|m| m.id = 78),
            change(|m| m.response = false),
            change(|m| m.opcode = 0),
            change(|m| m.question = None),
            change(|m| m.question.as_mut().unwrap().name = name("y.")),
        ] {
            assert!(!queue.expects(from("192.0.2.1:53"), &bad));
        }
        assert!(queue.expects(from("192.0.2.1:53"), &change(|m| m.rcode = Rcode::REFUSED)));
        queue.told(&name("z."), from("192.0.2.1:53"));
        assert_eq!(queue.wake_at(), None);
    }

    #[test]
    fn a_newer_version_takes_the_place_of_an_older_one() {
        let mut queue = Queue::default();
        queue.tell(target("192.0.2.1:53"), soa(1), S(0));
        queue.turn(S(0), || 1);
        queue.tell(target("192.0.2.1:53"), soa(2), S(0));
        let sends = queue.turn(S(0), || 2).sends;
        assert_eq!(sends.len(), 1);
        assert_eq!(sends[0].message.answer, [soa(2)]);
    }

    #[test]
    fn one_turn_sends_a_bounded_number() {
        let mut queue = Queue::default();
        for port in 1..=200u16 {
            queue.tell(target(&format!("192.0.2.1:{port}")), soa(1), S(0));
        }
        let counts = [0; 4].map(|_| queue.turn(S(0), || 1).sends.len());
        assert_eq!(counts, [64, 64, 64, 8]);
    }
}
