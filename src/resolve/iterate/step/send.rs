//! What a step sends next, to whom, and how long it waits for it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Attempt, Exchange, ROUNDS_MAX, Sender, Try};
use crate::dns::{Edns, Question, Rtype};
use crate::resolve::iterate::Action;
use crate::resolve::minimise;
use crate::resolve::quirks::EdnsLevel;
use crate::resolve::seats::Seat;
use crate::resolve::select::{Errand, HOLD_FOR, PATIENCE_MAX, WAIT_MAX};
use crate::upstream::{Ask, Doubt, Transport};

/// What is advertised to servers that were silent, octets: what every path carries (RFC 9715), or where that is
/// what they were silent to, what all DNS over UDP may use (RFC 1035 section 4.2.1).
const EDNS_SMALL: u16 = 1232;
const EDNS_SMALLEST: u16 = 512;
/// How long an exchange over UDP is waited for. Who is silent so long is asked again, and listened to for [`LISTEN_FOR`]: that a server
/// is slow is seen from nothing but its answer.
const UDP_TIMEOUT_MIN: Duration = Duration::from_millis(1000);
const UDP_TIMEOUT_MAX: Duration = Duration::from_millis(2000);
const LISTEN_FOR: Duration = PATIENCE_MAX;
/// How long an exchange over TCP may take: two round trips more than UDP.
const TCP_TIMEOUT: Duration = Duration::from_millis(4000);
/// The same where all servers are known to be silent.
const TCP_TIMEOUT_SILENT: Duration = Duration::from_millis(2000);
/// Shortest wait for a forwarder before the next one is asked: what it does not know it has to find out, and that is no
/// silence.
const FORWARD_WAIT_MIN: Duration = Duration::from_millis(400);
/// How long a forwarder is listened to over UDP.
const FORWARD_TIMEOUT: Duration = Duration::from_millis(4000);
/// Looks for who has come back while the last exchanges are under way, and the time between two.
const LOOKS_MAX: u8 = 3;
const LOOK_EVERY: Duration = Duration::from_millis(1000);
/// So long after its beginning a step looks: then no client waits any more.
const LOOKS_FOR: Duration = Duration::from_millis(4500);

impl Attempt {
    pub(super) fn send_next(&mut self, sender: &mut Sender<'_, '_>) {
        self.held = false;
        if self.order.is_empty() && !self.addresses.is_empty() {
            // Before the silent ones are asked again, others may be found by name.
            self.search.doubt(sender.env, sender.now);
            self.ask_for_addresses(sender);
            let is_usable = |a: &IpAddr| !self.excluded.contains(a);
            // A round in which nobody is asked is kept for those still to be found.
            if self.rounds + 1 < ROUNDS_MAX && self.addresses.iter().any(is_usable) {
                self.rounds += 1;
                self.add_learned(sender);
                self.fill(sender.env, sender.now, sender.rng);
            }
        }
        match self.next_in_order(sender) {
            Some((next, _)) if self.sends < self.sends_max && self.is_braked(sender) => {
                self.order.push_front(next);
                self.hold(sender);
            }
            Some((mut next, seat)) if self.sends < self.sends_max => {
                let is_in_turn = self.sends > 0 && !self.asks_all_at_once();
                if is_in_turn && self.sends + 1 == self.sends_max {
                    next.transport = Transport::Tcp;
                }
                let wait = self.send(sender, next, seat);
                let wait = wait.map(|wait| self.capped(sender, next.server, wait));
                let wait = match self.asks_all_at_once() && self.sends < self.sends_max {
                    true => wait.and(Some(Duration::ZERO)),
                    false => wait,
                };
                self.next_at = wait.map(|w| sender.now.mono + w);
                let is_last = self.order.is_empty() && self.rounds + 1 >= ROUNDS_MAX;
                if is_last || self.sends >= self.sends_max {
                    let at = sender.now.mono + LOOK_EVERY;
                    self.look_at = Some(at);
                    self.next_at = self.next_at.map(|next_at| next_at.min(at));
                }
                if let Some(server) = self.explore.take().filter(|s| *s != next.server)
                    && let Some(seat) = self.seat(sender, server)
                {
                    let servers = sender.env.servers;
                    let transport = servers.transport(server, false, sender.now.mono);
                    let explored = Try {
                        server,
                        transport,
                        ..next
                    };
                    self.send(sender, explored, seat);
                }
            }
            Some(_) => self.look_again(sender),
            None => {
                self.ask_for_addresses(sender);
                self.look_again(sender);
            }
        }
    }

    /// Whether those who are left, as others gave bogus answers, are all silent: nobody waits for one before the next is asked.
    fn asks_all_at_once(&self) -> bool {
        self.leaves_out && self.only_silent
    }

    /// Whether the zone's servers have fallen silent, and are sent as much by other questions as they may be.
    fn is_braked(&self, sender: &Sender<'_, '_>) -> bool {
        let (zone, now) = (&self.delegation.zone, sender.now.mono);
        let errand = match sender.manner.apart || self.sends == 0 {
            true => Errand::First,
            false => Errand::Again,
        };
        self.forward.is_none() && (sender.env.servers).is_braked(zone, &self.addresses, errand, now)
    }

    /// Waits for its turn, as long as somebody waits for the answer.
    fn hold(&mut self, sender: &Sender<'_, '_>) {
        let now = sender.now.mono;
        let in_time = self.began.is_some_and(|began| now < began + LOOKS_FOR);
        if in_time && !sender.env.budget.is_in_vain() {
            self.held = true;
            self.next_at = Some(now + HOLD_FOR);
        }
    }

    /// How long the wait for `server` may hold up the step. The more it owes the longer it is waited for; but when all have been asked
    /// they may be back any moment, and the client's patience is short.
    fn capped(&self, sender: &Sender<'_, '_>, server: IpAddr, wait: Duration) -> Duration {
        let all_asked = self.rounds > 0 || self.order.is_empty();
        let usual = sender.env.servers.usual(server).unwrap_or_default();
        match all_asked && self.forward.is_none() {
            true => wait.min(usual.max(LOOK_EVERY)),
            false => wait,
        }
    }

    /// Everybody was asked and is silent: as long as the client waits, somebody may have come back. That nothing is under way is no end: a
    /// connection that comes to nothing may have been begun by another question, long before.
    fn look_again(&mut self, sender: &mut Sender<'_, '_>) {
        let now = sender.now.mono;
        let in_time = self.began.is_some_and(|began| now < began + LOOKS_FOR);
        let is_silent = |a: &&IpAddr| !self.excluded.contains(a);
        let silent: Vec<IpAddr> = (self.addresses.iter().filter(is_silent)).copied().collect();
        if self.looks >= LOOKS_MAX
            || !in_time
            || silent.is_empty()
            || self.forward.is_some()
            || self.leaves_out
            || sender.manner.apart
            || sender.env.budget.packets_left() == 0
        {
            return;
        }
        if self.look_at.is_some_and(|at| at <= now) {
            if self.is_braked(sender) {
                self.held = self.under_way.is_empty();
                self.next_at = Some(now + HOLD_FOR);
                return;
            }
            let next = silent.get(usize::from(self.looks) % silent.len());
            let Some(server) = next.copied() else {
                return;
            };
            self.looks += 1;
            let seat = self.seat(sender, server);
            let look = Try {
                server,
                transport: Transport::Udp,
                cautious: false,
            };
            if let Some(seat) = seat {
                self.send(sender, look, seat);
            }
            self.look_at = None;
        }
        let at = *self.look_at.get_or_insert(now + LOOK_EVERY);
        self.next_at = Some(at);
        self.held = self.under_way.is_empty();
    }

    /// The next one that has a seat for the question; those that have none are passed over.
    fn next_in_order(&mut self, sender: &Sender<'_, '_>) -> Option<(Try, Seat)> {
        while let Some(next) = self.order.pop_front() {
            // No more than a look who it would be.
            if self.sends >= self.sends_max {
                return Some((next, Seat::default()));
            }
            match self.seat(sender, next.server) {
                Some(seat) => return Some((next, seat)),
                None => self.was_full = true,
            }
        }
        None
    }

    /// A seat at the server. Forwarders are asked for everything, and looks for what is in trouble are few.
    fn seat(&self, sender: &Sender<'_, '_>, server: IpAddr) -> Option<Seat> {
        let env = sender.env;
        match self.forward.is_some() || sender.manner.apart {
            true => Some(Seat::default()),
            false => (env.seats).take(server, env.budget.asker(), sender.now),
        }
    }

    /// Sends one question; says how long to wait for its answer.
    fn send(&mut self, sender: &mut Sender<'_, '_>, to: Try, seat: Seat) -> Option<Duration> {
        let env = sender.env;
        let to = match &self.forward {
            // It has no other way, and takes as long.
            Some(forward) if forward.tls => Try {
                transport: Transport::Tcp,
                ..to
            },
            _ => to,
        };
        if !env.budget.take_packet() {
            self.broke = true;
            return None;
        }
        self.sends += 1;
        (env.servers).sent(to.server, to.transport, sender.now.mono);
        let token = *sender.next_token;
        *sender.next_token += 1;
        let quirks = env.servers.quirks(to.server);
        let now = sender.now.mono;
        let cautious = to.cautious || quirks.is_cautious(now);
        let over_udp = to.transport == Transport::Udp;
        let mut known = quirks.level(now, self.signed).min(self.lowered(to.server));
        if over_udp && self.is_doubted(to.server, Doubt::CookieMissing) {
            known = known.min(EdnsLevel::Bare);
        }
        let level = match (cautious, to.cautious && over_udp) {
            (true, true) => known.min(quirks.cautious_level(now, self.signed)),
            (true, false) => known.min(EdnsLevel::Bare),
            _ => known,
        };
        self.under_way.push(Exchange { token, to, level });
        let patience = env.servers.patience(to.server);
        let mut wait = env.servers.wait(to.server);
        let mut server = SocketAddr::new(to.server, env.settings.port);
        if let Some(forward) = &self.forward {
            if !forward.is_stub {
                wait = wait.max(FORWARD_WAIT_MIN);
            }
            server = forward.server(to.server).unwrap_or(server);
        }
        let (wait, given_up) = match to.transport {
            Transport::Udp if self.is_recursive() => (wait, FORWARD_TIMEOUT),
            Transport::Udp => {
                let usual = (wait * 3).clamp(UDP_TIMEOUT_MIN, UDP_TIMEOUT_MAX);
                (wait, usual.max(patience))
            }
            // Of a connection that nobody takes each second is another packet.
            Transport::Tcp if self.only_silent => {
                let time = TCP_TIMEOUT_SILENT.max(patience * 2);
                ((wait * 3).min(WAIT_MAX), time.min(TCP_TIMEOUT))
            }
            Transport::Tcp => ((wait * 3).min(WAIT_MAX), TCP_TIMEOUT),
        };
        // There are others, and the client waits.
        let given_up = match self.leaves_out {
            true => given_up.min(WAIT_MAX),
            false => given_up,
        };
        let timeout = match to.transport {
            Transport::Udp => given_up.max(LISTEN_FOR),
            Transport::Tcp => given_up,
        };
        let size = match cautious && over_udp {
            true if env.settings.edns_buffer > EDNS_SMALL => EDNS_SMALL,
            true => EDNS_SMALLEST,
            false => env.settings.edns_buffer,
        };
        let edns = (level > EdnsLevel::None).then(|| Edns::new(size, true));
        let folds = quirks.folds(now) || self.is_doubted(to.server, Doubt::CaseChanged);
        sender.out.push(Action::Send {
            token,
            wait: wait.max(patience),
            given_up,
            seat,
            ask: Ask {
                zone: self.delegation.zone.clone(),
                server,
                transport: to.transport,
                question: self.shown_question(),
                recursion_desired: self.is_recursive(),
                checking_disabled: self.is_recursive() && self.checks_alone(sender),
                edns,
                cookie: env.settings.cookies && level == EdnsLevel::Full,
                // Over TCP it shows whether the server keeps the case.
                mix_case: env.settings.case_randomisation && !(over_udp && folds),
                timeout,
            },
        });
        Some(wait)
    }

    /// Whether the servers are asked to find out what they do not know.
    fn is_recursive(&self) -> bool {
        self.forward
            .as_ref()
            .is_some_and(|forward| !forward.is_stub)
    }

    /// RFC 6840 section 5.9: who validates wants all data from a forwarder, not its opinion. Only when that data was bogus
    /// is the forwarder asked to find better (appendix B, "sometimes set").
    fn checks_alone(&self, sender: &Sender<'_, '_>) -> bool {
        sender.env.validating && sender.manner.avoid.is_empty()
    }

    /// RFC 9156 section 2.1: a part of the name is asked for with type A, which hides what is wanted.
    pub(super) fn shown_question(&self) -> Question {
        match self.asks_whole_question() {
            true => self.question.clone(),
            false => Question::new(minimise::shown(&self.question.name, self.labels), Rtype::A),
        }
    }

    /// Takes what others have learned of the zone's servers while this step asked in vain.
    fn add_learned(&mut self, sender: &Sender<'_, '_>) {
        let (env, avoid) = (sender.env, &sender.manner.avoid);
        for server in self.search.learned(&self.delegation, env, sender.now) {
            let known = self.addresses.contains(&server) || avoid.contains(&server);
            if !known && env.settings.may_ask(server) {
                self.addresses.push(server);
            }
        }
    }

    pub(super) fn ask_for_addresses(&mut self, sender: &mut Sender<'_, '_>) {
        if !self.search.ask(sender) {
            self.broke |= self.addresses.is_empty();
        }
    }
}
