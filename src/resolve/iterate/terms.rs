//! What an iteration is told and what it tells: its surroundings, events, actions, and how it fails.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Now;
use crate::dns::{Ede, Name, Question, Rtype};
use crate::resolve::budget::Budget;
use crate::resolve::delegation::Knowledge;
use crate::resolve::interpret::Said;
use crate::resolve::retained::Retained;
use crate::resolve::seats::{Seat, Seats};
use crate::resolve::select::Servers;
use crate::resolve::settings::Settings;
use crate::resolve::shares::Shares;
use crate::resolve::trace::Trace;
use crate::resolve::{Health, LocalZones, Response};
use crate::upstream::Ask;

/// Everything outside that an iteration looks at.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// What the configuration says.
    pub settings: &'a Settings,
    /// Delegations and addresses learned so far.
    pub knowledge: &'a Knowledge,
    /// Server statistics.
    pub servers: &'a Servers,
    /// Delegations kept past their TTL.
    pub retained: &'a Retained,
    /// Places at the servers of zones.
    pub shares: &'a Arc<Shares>,
    /// Seats at servers.
    pub seats: &'a Arc<Seats>,
    /// Locally held zones.
    pub local: &'a dyn LocalZones,
    /// Dead prefixes.
    pub health: &'a dyn Health,
    /// What the client question may still cost.
    pub budget: &'a Budget,
    /// Answers are validated here.
    pub validating: bool,
    /// Where to write down what is done.
    pub trace: &'a Trace,
}

impl Env<'_> {
    /// Whether answers of `zone` are of no use without signatures: there is a DS for it, as far as is known.
    pub fn is_signed(&self, zone: &Name, now: Now) -> bool {
        // The root has none, and nearly always a trust anchor.
        zone.is_root() || self.knowledge.has_ds(zone, now)
    }
}

/// Names an exchange within its iteration.
pub type Token = u32;

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// Begin.
    Start,
    /// An exchange came to its end.
    Said {
        /// As in [`Action::Send`].
        token: Token,
        /// What came of it.
        said: Said,
    },
    /// A sub-question for addresses came to its end; empty when there are none to be had.
    Addresses {
        /// As in [`Action::Addresses`].
        name: Name,
        /// As in [`Action::Addresses`].
        rtype: Rtype,
        /// What was found.
        found: Vec<IpAddr>,
        /// Why there are none, for people, if it could not be found out.
        why: Option<String>,
    },
    /// The time of [`Iteration::wake_at`] has come.
    Timer,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Ask a server and report [`Event::Said`]. The exchange goes on to its end, and is noted in the
    /// statistics, even when the iteration has moved on, or has been told that nothing came.
    Send {
        /// To be given back.
        token: Token,
        /// The exchange.
        ask: Ask,
        /// After so long without an answer the server counts as silent.
        wait: Duration,
        /// After so long silence is reported. What comes later, within the time of the exchange, is reported as well.
        given_up: Duration,
        /// Its seat at the server, to be kept until then.
        seat: Seat,
    },
    /// Find addresses of a name server and report [`Event::Addresses`].
    Addresses {
        /// The name server.
        name: Name,
        /// A or AAAA.
        rtype: Rtype,
        /// What is known leads nowhere: others are to be asked than who gave it.
        anew: bool,
    },
    /// A server of a mirrored zone referred us on: what it signed may be checked.
    Check {
        /// The DS question of the zone below.
        question: Question,
        /// Its answer, as it came with the referral.
        ds: Box<Response>,
    },
    /// The end.
    Done(Box<Result<Response, Failure>>),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// The zone whose step failed.
    pub zone: Name,
    /// What its servers did, for people.
    pub text: String,
}

/// The kind of a [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No server of the zone gave any answer, or serves the zone, or has a known address.
    Unreachable,
    /// Servers answered, but with errors.
    BadAnswers,
    /// The question cost too much.
    Budget,
    /// Its time was over.
    Late,
    /// This machine has too much to do, or the work that the question had joined was given up. Says nothing of the zone, and is
    /// not remembered.
    Overload,
    /// Too many questions wait for the zone's servers, or for anybody. Says nothing of the zone, and is not remembered.
    Crowded,
    /// Servers refer to each other without end.
    Loop,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.zone, self.text)
    }
}

impl Failure {
    /// What a client is told (RFC 8914). Section 4.23 counts who refuses among the unreachable; section 4.24 is for those that were
    /// reached and failed.
    pub fn ede(&self) -> Ede {
        let code = match self.kind {
            FailureKind::Unreachable | FailureKind::Late => Ede::NO_REACHABLE_AUTHORITY,
            FailureKind::BadAnswers => Ede::NETWORK_ERROR,
            FailureKind::Budget
            | FailureKind::Overload
            | FailureKind::Crowded
            | FailureKind::Loop => Ede::OTHER,
        };
        Ede::new(code, self.to_string())
    }
}

/// How an iteration is to go about it.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Nesting of sub-questions.
    pub depth: u8,
    /// Servers whose answer was found bogus: asked only when there is no other.
    pub avoid: Vec<IpAddr>,
    /// Trust no delegation from the network that is already known, and take a mirror at once: what
    /// they led to was bogus.
    pub prefer_mirror: bool,
    /// Ask the parent of the zone of that name, though its delegation is known.
    pub from_parent: bool,
    /// Nobody waits for it, and few such questions are asked: it needs no place among those of clients.
    pub apart: bool,
    /// Seed of the random choices.
    pub seed: u64,
}
