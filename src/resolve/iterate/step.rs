//! One zone's step: its servers in turn, until one says something of use.
//!
//! An [`Attempt`] holds the addresses still to be asked, the exchanges under way and the part of the name that is
//! shown. Servers are asked one after another: the next at once when one fails, or when it is late; who answers late
//! is still welcome, also when it was given up meanwhile. When all were asked, those that were merely silent are asked again, a bounded number of times:
//!
//! | round | how |
//! |---|---|
//! | 1 | as is known to be best: UDP, EDNS with a cookie |
//! | 2 | cautiously: small datagrams, no options, no EDNS where nothing shows that it is taken (`quirks`) |
//! | 3 | TCP |
//!
//! Who was silent to earlier questions may have its turn over TCP before (`select`): with several silent servers no time is left for round 3.
//! A server that refuses EDNS, an option or a cookie is asked again at once without; one whose answer was cut or may be a
//! forgery is asked over TCP, and if that fails once more over UDP without what made the answer doubtful, which
//! leaves the port and the ID to be guessed, twice.

mod again;
mod send;
mod words;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;

pub(super) use words::referral_told;

use super::search::Search;
use super::{Action, Env, FailureKind, Manner, Token};
use crate::clock::Now;
use crate::dns::{Name, Question, Rcode, RrSet, Rtype};
use crate::resolve::delegation::{Delegation, DelegationOrigin};
use crate::resolve::forward::Forward;
use crate::resolve::interpret::Said;
use crate::resolve::quirks::EdnsLevel;
use crate::resolve::select::PLAIN;
use crate::resolve::shares::{Crowded, PROMPT_FOR, Place, Way};
use crate::resolve::{Cover, Prefer, Response, minimise, retained};
use crate::upstream::{Doubt, Transport};

/// How often the servers of a zone are gone through for one question.
const ROUNDS_MAX: u8 = 3;
/// Packets for one question at one zone.
const SENDS_MAX: u8 = 16;
/// How long upstream has before a last resort is taken: every server of a usual zone was asked by then.
const LAST_RESORT_AFTER: Duration = Duration::from_millis(2000);
/// Packets for one question at one zone whose servers are all known to be silent.
const SENDS_SILENT_MAX: u8 = 4;
/// The same where others answer, whose data was bogus: they are to be asked for something else rather than the silent waited for. So these are asked at
/// once, as far as the brake lets: any of them may have come back, and be the only one that does not lie.
const SENDS_LEFT_MAX: usize = 3;

/// What an attempt needs to send.
pub(super) struct Sender<'a, 'e> {
    pub env: &'a Env<'e>,
    pub now: Now,
    pub manner: &'a Manner,
    pub rng: &'a mut SmallRng,
    pub next_token: &'a mut Token,
    pub out: &'a mut Vec<Action>,
}

/// Where an attempt stands.
pub(super) enum Outlook {
    /// Something is under way.
    Waiting,
    /// Nothing is left to try.
    Exhausted(FailureKind, String),
}

/// What a search for addresses brought.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// Addresses for when those under way are late.
    InTurn,
    /// Addresses that are better than those under way.
    AtOnce,
}

pub(super) struct Exchange {
    token: Token,
    to: Try,
    level: EdnsLevel,
}

#[derive(Clone, Copy)]
struct Try {
    server: IpAddr,
    transport: Transport,
    /// The server was silent to the usual way.
    cautious: bool,
}

pub(super) struct Attempt {
    pub delegation: Arc<Delegation>,
    /// The servers are these forwarders.
    pub forward: Option<Arc<Forward>>,
    question: Question,
    /// Labels of the name that are shown now.
    labels: usize,
    /// The type is not shown yet, though the whole name may be.
    hides_type: bool,
    /// Minimised questions asked on the way before this zone.
    minimised: usize,
    mirror: Option<Cover>,
    /// The zone is isolated, and this question is the one that looks whether it is back.
    exploring: bool,
    hedge_at: Option<Duration>,
    next_at: Option<Duration>,
    place: Option<Place>,
    /// When the question becomes one that waits.
    prompt_until: Option<Duration>,
    addresses: Vec<IpAddr>,
    /// Gave bogus answers; they are the only ones known, but others have names that can be looked up.
    shunned: Vec<IpAddr>,
    /// One of the servers gave a bogus answer to this question.
    lied: bool,
    /// Gave bogus answers, and are not asked: that the others fail does not mean that the zone is out of reach.
    leaves_out: bool,
    order: VecDeque<Try>,
    explore: Option<IpAddr>,
    under_way: Vec<Exchange>,
    /// Those that were given up: what they bring all the same is as good.
    overdue: Vec<Exchange>,
    /// Servers not to be asked again in this step.
    excluded: Vec<IpAddr>,
    /// Servers that are not sent more of EDNS than this in this step.
    lowered: Vec<(IpAddr, EdnsLevel)>,
    /// Servers over whose datagrams there was doubt.
    doubted: Vec<(IpAddr, Doubt)>,
    /// Servers that wanted another cookie.
    cookie_refused: Vec<IpAddr>,
    /// Servers to which there were too many connections.
    crowded: Vec<IpAddr>,
    /// Answers are of no use without signatures.
    signed: bool,
    rounds: u8,
    sends: u8,
    sends_max: u8,
    began: Option<Duration>,
    /// When it is looked again whether somebody has come back, and how often that was done.
    look_at: Option<Duration>,
    looks: u8,
    /// No known address is likely to answer, so that whoever else can be found by name is wanted now.
    only_silent: bool,
    /// The servers are sent enough by others: this question waits for its turn.
    held: bool,
    search: Search,
    /// What went wrong, and at which servers.
    evidence: Vec<(String, Vec<IpAddr>)>,
    somebody_answered: bool,
    /// A server has answered a part of the question.
    heard: bool,
    /// There was no seat at some server.
    was_full: bool,
    broke: bool,
}

impl Attempt {
    pub fn new(
        delegation: Arc<Delegation>,
        question: &Question,
        mirror: Option<Cover>,
        exploring: bool,
        minimised: usize,
    ) -> Attempt {
        Attempt {
            delegation,
            forward: None,
            question: question.clone(),
            labels: question.name.label_count(),
            hides_type: false,
            minimised,
            mirror,
            exploring,
            hedge_at: None,
            next_at: None,
            place: None,
            prompt_until: None,
            addresses: Vec::new(),
            shunned: Vec::new(),
            lied: false,
            leaves_out: false,
            order: VecDeque::new(),
            explore: None,
            under_way: Vec::new(),
            overdue: Vec::new(),
            excluded: Vec::new(),
            lowered: Vec::new(),
            doubted: Vec::new(),
            cookie_refused: Vec::new(),
            crowded: Vec::new(),
            signed: false,
            rounds: 0,
            sends: 0,
            sends_max: SENDS_MAX,
            began: None,
            look_at: None,
            looks: 0,
            only_silent: false,
            held: false,
            search: Search::default(),
            evidence: Vec::new(),
            somebody_answered: false,
            heard: false,
            was_full: false,
            broke: false,
        }
    }

    /// The step that asks forwarders.
    pub fn forwarded(forward: Arc<Forward>, question: &Question) -> Attempt {
        let delegation = Delegation {
            zone: forward.zone.clone(),
            servers: Vec::new(),
            expiry: None,
            origin: DelegationOrigin::Forward,
        };
        Attempt {
            forward: Some(forward),
            ..Attempt::new(Arc::new(delegation), question, None, false, 0)
        }
    }

    /// Shows as little of the name as possible.
    pub fn minimising(mut self, env: &Env<'_>, now: Now) -> Attempt {
        let zone = self.delegation.zone.label_count();
        self.labels = self.labels_after(zone, self.minimised, env, now);
        self
    }

    /// Asks for a type that every server takes, even for the whole name: silence is to tell of the servers, not of what was asked.
    pub fn hiding_type(mut self) -> Attempt {
        self.hides_type = self.question.rtype != Rtype::A;
        self
    }

    /// Whether silence tells of the servers, and not of what they are asked for.
    pub fn asks_plainly(&self) -> bool {
        PLAIN.contains(&self.shown_question().rtype)
    }

    /// How much of the name to show next, after so many labels that lead nowhere deeper, and those of which that is known
    /// from other questions (RFC 9156 section 3).
    fn labels_after(&self, shown: usize, minimised: usize, env: &Env<'_>, now: Now) -> usize {
        let name = &self.question.name;
        let total = name.label_count();
        let mut shown = shown;
        while shown + 1 < total && env.knowledge.is_uncut(&name.suffix(shown + 1), now) {
            shown += 1;
        }
        minimise::next_labels(shown, total, minimised)
    }

    /// Puts the zone's servers in order and sets the hedge timer.
    pub fn plan(&mut self, env: &Env<'_>, now: Now, manner: &Manner, rng: &mut SmallRng) {
        self.began = Some(now.mono);
        match &self.forward {
            // The operator named them, wherever they are.
            Some(forward) => {
                self.addresses = forward.servers.iter().map(SocketAddr::ip).collect();
            }
            None => {
                self.addresses = self.search.gather(&self.delegation, env, now, rng);
                let zone = &self.delegation.zone;
                env.health.zone_servers(zone, &self.addresses);
            }
        }
        // An answer that did not validate may have lacked its signatures.
        self.signed = !manner.avoid.is_empty()
            || env.is_signed(&self.delegation.zone, now)
            // Below a forwarded zone there may be signed ones.
            || (self.forward.is_some() && env.validating);
        // Who gave a bogus answer is asked only when there is nobody else.
        let avoided = |a: &IpAddr| manner.avoid.contains(a);
        let is_left = |a: &IpAddr| !avoided(a);
        self.lied = self.addresses.iter().any(avoided);
        // Without any address there is nobody to leave out.
        if self.lied {
            if self.addresses.iter().any(is_left) {
                self.leaves_out = true;
                self.addresses.retain(is_left);
            } else if self.search.is_wanting() {
                self.leaves_out = true;
                self.shunned = std::mem::take(&mut self.addresses);
            }
        }
        if self.fill(env, now, rng) {
            self.only_silent = true;
            self.sends_max = match self.leaves_out {
                true => self.order.len().clamp(1, SENDS_LEFT_MAX) as u8,
                false => SENDS_SILENT_MAX,
            };
        }
        let delay = self.mirror.as_ref().map(|m| match m.prefer {
            Prefer::Now | Prefer::Hedge => self.hedge_delay(env),
            Prefer::LastResort => LAST_RESORT_AFTER,
        });
        self.hedge_at = delay.map(|d| now.mono + d);
    }

    /// How long the zone's servers usually take, within the configured bounds. In isolation it is the lower
    /// one: this question explores for the sake of others.
    fn hedge_delay(&self, env: &Env<'_>) -> Duration {
        let (min, max) = (env.settings.hedge_min, env.settings.hedge_max);
        if self.exploring {
            return min;
        }
        let usual = env.servers.usual_rtt(&self.addresses);
        usual.unwrap_or(max).max(min).min(max)
    }

    /// Fills the order with every address that is not excluded; says whether all of them are silent.
    fn fill(&mut self, env: &Env<'_>, now: Now, rng: &mut SmallRng) -> bool {
        let usable: Vec<IpAddr> = (self.addresses.iter().copied())
            .filter(|a| !self.excluded.contains(a))
            .collect();
        let avoid = |a| env.health.avoid(a);
        let zone = &self.delegation.zone;
        let plan = env.servers.plan(zone, &usable, now.mono, &avoid, rng);
        self.order.clear();
        for server in plan.order {
            let to = Try {
                server,
                // The last word is over TCP: who stays silent may be cut off from datagrams only, or
                // fold the case of names.
                transport: match self.rounds + 1 == ROUNDS_MAX {
                    true => Transport::Tcp,
                    false => env.servers.transport(server, self.rounds > 0, now.mono),
                },
                cautious: self.rounds > 0,
            };
            self.order.push_back(to);
            // A look over UDP is not to cost the client the server that is known to answer otherwise.
            let is_look =
                to.transport == Transport::Udp && env.servers.is_asked_over_tcp(server, now.mono);
            if is_look {
                self.order.push_back(Try {
                    transport: Transport::Tcp,
                    ..to
                });
            }
        }
        self.explore = plan.explore;
        plan.all_silent
    }

    pub fn wake_at(&self) -> Option<Duration> {
        let times = [
            self.hedge_at,
            self.next_at,
            self.prompt_until,
            self.search.next_at(),
        ];
        times.into_iter().flatten().min()
    }

    /// Takes a place among the questions to the zone's servers.
    pub fn enter(&mut self, env: &Env<'_>, now: Now) -> Result<(), Crowded> {
        let zone = &self.delegation.zone;
        let way = match self.forward {
            Some(_) => Way::Forwarded,
            None if env.budget.is_let_in(zone) => Way::LetIn,
            None => Way::Usual,
        };
        let place = env.shares.enter(zone, way, now)?;
        self.place = Some(place);
        self.prompt_until = Some(now.mono + PROMPT_FOR);
        Ok(())
    }

    /// Goes over to those that wait when it is time to.
    pub fn wait(&mut self, now: Now) -> Result<(), Crowded> {
        if self.prompt_until.is_none_or(|until| now.mono < until) {
            return Ok(());
        }
        self.prompt_until = None;
        self.place.as_mut().map_or(Ok(()), |place| place.wait(now))
    }

    /// Whether the servers answer is the matter of all who wait for them.
    pub fn heard(&mut self, said: &Said, now: Now) {
        let is_there = !matches!(said, Said::Silent | Said::Unreachable(_) | Said::NotSent(_));
        if is_there && !self.leaves_out {
            // They are not all silent, and whoever has not been asked may be back as well.
            (self.sends_max, self.only_silent) = (SENDS_MAX, false);
        }
        let of_use = matches!(
            said,
            Said::Answer(_) | Said::Apex(..) | Said::Referral(_) | Said::Truncated
        );
        if of_use && let Some(place) = &mut self.place {
            place.heard(now);
            if matches!(said, Said::Answer(response) if response.rcode == Rcode::NXDOMAIN) {
                place.denied(now);
            }
            self.prompt_until = Some(now.mono + PROMPT_FOR);
        }
    }

    pub fn hedge_due(&self, now: Now) -> bool {
        self.hedge_at.is_some_and(|at| at <= now.mono)
    }

    /// Sets the hedge timer, for what is no mirror.
    pub fn hedge_at(&mut self, at: Option<Duration>) {
        self.hedge_at = at;
    }

    /// Whether a mirror may step in.
    pub fn is_mirrored(&self) -> bool {
        self.mirror.is_some()
    }

    /// Whether a server has answered a part of the question.
    pub fn was_heard(&self) -> bool {
        self.heard
    }

    pub fn next_due(&self, now: Now) -> bool {
        self.next_at.is_some_and(|at| at <= now.mono)
    }

    /// The mirror that may step in, once.
    pub fn take_mirror(&mut self) -> Option<Cover> {
        self.hedge_at = None;
        self.mirror.take()
    }

    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    pub fn asks_whole_question(&self) -> bool {
        self.labels >= self.question.name.label_count() && !self.hides_type
    }

    /// Whether it still matters what the exchange brings.
    pub fn awaits(&self, token: Token) -> bool {
        let mut all = self.under_way.iter().chain(&self.overdue);
        all.any(|e| e.token == token)
    }

    /// The exchange is over; says with whom it was, if it still matters.
    pub fn ended(&mut self, token: Token) -> Option<Exchange> {
        let from = |list: &mut Vec<Exchange>| {
            let at = list.iter().position(|e| e.token == token)?;
            Some(list.swap_remove(at))
        };
        from(&mut self.under_way).or_else(|| from(&mut self.overdue))
    }

    /// Nothing has come so far.
    pub fn give_up(&mut self, exchange: Exchange) {
        self.overdue.push(exchange);
    }

    /// The shown part of the name exists, or is said not to: shows more of it.
    pub fn show_more(&mut self, env: &Env<'_>, now: Now, response: &Response, minimised: usize) {
        self.heard = true;
        let total = self.question.name.label_count();
        // The whole name leads nowhere deeper, or no more of it is to be hidden.
        self.hides_type &= self.labels < total;
        let odd = response.rcode != Rcode::NOERROR
            || response.answer.iter().any(|s| s.rtype == Rtype::DNAME);
        let shown = minimise::shown(&self.question.name, self.labels);
        // A denial names its zone: the one that was asked, or one that begins at this name and has the same servers. Either way they
        // answer for what is below by themselves; whoever of them does not refers on. Data does not say whose it is.
        let named = |s: &RrSet| s.rtype == Rtype::SOA && shown.is_within(&s.name);
        if !odd && response.answer.is_empty() && response.authority.iter().any(named) {
            env.knowledge.learn_uncut(&shown, now);
        }
        // RFC 9156: a server that denies a name may still know names below it
        // (RFC 8020 is not kept everywhere), so an unproven denial is checked with the whole name.
        self.hides_type &= !odd;
        self.labels = match odd {
            true => total,
            false => self.labels_after(self.labels, minimised, env, now),
        };
        self.new_question();
    }

    fn new_question(&mut self) {
        // Somebody answers here.
        (self.sends_max, self.only_silent) = (SENDS_MAX, false);
        self.under_way.clear();
        self.overdue.clear();
        (self.rounds, self.sends, self.looks) = (0, 0, 0);
        (self.next_at, self.look_at) = (None, None);
    }

    /// A sub-question for addresses came to its end. New ones come first in the order, for
    /// nobody there was late yet, but for those in dead prefixes.
    pub fn found(
        &mut self,
        env: &Env<'_>,
        manner: &Manner,
        (name, rtype): (&Name, Rtype),
        found: Vec<IpAddr>,
        why: Option<String>,
        now: Now,
    ) -> Found {
        self.search.ended(name, rtype, !found.is_empty(), why);
        let mut new = false;
        for server in found {
            let known = self.addresses.contains(&server) || self.shunned.contains(&server);
            if !env.settings.may_ask(server) || known {
                continue;
            }
            if manner.avoid.contains(&server) {
                self.shunned.push(server);
                self.leaves_out = true;
            } else {
                new = true;
                self.addresses.push(server);
                let to = Try {
                    server,
                    transport: env.servers.transport(server, false, now.mono),
                    cautious: false,
                };
                match env.health.avoid(server) {
                    true => self.order.push_back(to),
                    false => self.order.push_front(to),
                }
            }
        }
        env.health
            .zone_servers(&self.delegation.zone, &self.addresses);
        // Those under way were late before.
        let late = self.rounds > 0 || self.only_silent;
        match (new, late) {
            (false, _) => Found::Nothing,
            (true, false) => Found::InTurn,
            (true, true) => {
                (self.sends_max, self.only_silent) = (SENDS_MAX, false);
                Found::AtOnce
            }
        }
    }

    /// Asks for further addresses while the servers asked may still answer.
    pub fn look_further(&mut self, sender: &mut Sender<'_, '_>) {
        if !self.under_way.is_empty() {
            self.ask_for_addresses(sender);
        }
    }

    /// Sends what is due: the next server if `send` says so or if nothing is under way.
    pub fn go_on(&mut self, sender: &mut Sender<'_, '_>, send: bool) -> Outlook {
        if send || self.under_way.is_empty() {
            // Others may have joined, a look for the zone among them: the next one goes on at his own cost.
            if sender.env.budget.is_given_up() || (self.held && sender.env.budget.is_in_vain()) {
                let trouble = self.trouble(sender.env, sender.now);
                return Outlook::Exhausted(FailureKind::Budget, trouble);
            }
            self.next_at = None;
            self.send_next(sender);
        }
        if self.only_silent {
            self.search.doubt(sender.env, sender.now);
        }
        if self.only_silent || self.search.is_due(sender.now) {
            self.ask_for_addresses(sender);
        }
        if self.is_waiting() {
            return Outlook::Waiting;
        }
        if self.sends == 0 && !self.shunned.is_empty() {
            self.addresses = std::mem::take(&mut self.shunned);
            self.fill(sender.env, sender.now, sender.rng);
            self.send_next(sender);
            if self.is_waiting() {
                return Outlook::Waiting;
            }
        }
        let kind = match (self.broke, self.was_full, self.somebody_answered) {
            (true, ..) => FailureKind::Budget,
            // Who was not asked might have answered.
            (_, true, _) => FailureKind::Crowded,
            (_, _, true) => FailureKind::BadAnswers,
            _ => FailureKind::Unreachable,
        };
        let trouble = self.trouble(sender.env, sender.now);
        let text = match kind {
            FailureKind::Budget => format!("the question cost too much; {trouble}"),
            FailureKind::Crowded if self.sends == 0 => Crowded::Servers.to_string(),
            FailureKind::Crowded => format!("{}; {trouble}", Crowded::Servers),
            _ => trouble,
        };
        Outlook::Exhausted(kind, text)
    }

    /// Servers of the zone answer, but what they say is bogus, and they are not asked here.
    pub fn leaves_out(&self) -> bool {
        self.leaves_out
    }

    /// One of the servers gave a bogus answer to this question.
    pub fn has_lied(&self) -> bool {
        self.lied
    }

    /// Those of the servers that answer are known to take longer than anybody waits for them where there is another way.
    pub fn is_slow(&self, env: &Env<'_>) -> bool {
        let usual = env.servers.usual_rtt(&self.addresses);
        usual.is_some_and(|usual| usual >= retained::LATE_AFTER)
    }

    /// Addresses are known, and none of them is likely to answer.
    pub fn knows_only_silent(&self) -> bool {
        self.only_silent && !self.addresses.is_empty()
    }

    /// Every server whose address is known has failed or is late, and no copy stands by.
    pub fn is_failing(&self) -> bool {
        let asked = self.sends > 0 && (self.under_way.is_empty() || self.rounds > 0);
        (asked || self.only_silent) && self.mirror.is_none()
    }

    /// Whether the zone's delegation lists this name server.
    pub fn is_served_by(&self, name: &Name) -> bool {
        self.delegation.servers.iter().any(|(n, _)| n == name)
    }

    fn is_waiting(&self) -> bool {
        self.held || !self.under_way.is_empty() || self.search.is_under_way()
    }
}
