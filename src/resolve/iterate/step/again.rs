//! Asking a server again, in another way: without what it refused, over TCP, or with the whole name.
//!
//! Why apart: each is one answer to one thing that a server may say, or fail to.

use std::net::IpAddr;

use super::{Attempt, Exchange, ROUNDS_MAX, Try, words};
use crate::clock::Now;
use crate::resolve::interpret::Said;
use crate::resolve::iterate::Env;
use crate::resolve::quirks::EdnsLevel;
use crate::upstream::{Doubt, Transport};

impl Attempt {
    /// Asks the server that has just answered before the others, in the way that it answered to.
    pub fn ask_first(&mut self, exchange: &Exchange) {
        if exchange.level == EdnsLevel::None {
            self.lower(exchange.to.server, EdnsLevel::None);
        }
        self.again(exchange.to);
    }

    pub fn again_over_tcp(&mut self, exchange: &Exchange) {
        self.again(Try {
            transport: Transport::Tcp,
            ..exchange.to
        });
    }

    /// Asks again with less of EDNS, unless that is what was refused.
    pub fn again_with_less(&mut self, exchange: &Exchange, level: EdnsLevel) {
        match level < exchange.level {
            true => {
                self.lower(exchange.to.server, level);
                self.again(exchange.to);
            }
            false => self.excluded.push(exchange.to.server),
        }
    }

    /// RFC 7873 section 5.3: the new cookie is used once over UDP; if it is refused as well, TCP needs none.
    pub fn again_with_cookie(&mut self, env: &Env<'_>, now: Now, exchange: &Exchange) {
        let server = exchange.to.server;
        match self.cookie_refused.contains(&server) {
            true => {
                env.servers.prefers_tcp(server, now.mono);
                self.again_over_tcp(exchange);
            }
            false => {
                self.cookie_refused.push(server);
                self.again(exchange.to);
            }
        }
    }

    /// What came may be a forgery: TCP tells.
    pub fn doubt(&mut self, exchange: &Exchange, doubt: Doubt) {
        let server = exchange.to.server;
        if !self.is_doubted(server, doubt) {
            self.doubted.push((server, doubt));
        }
        self.again_over_tcp(exchange);
    }

    pub(super) fn is_doubted(&self, server: IpAddr, doubt: Doubt) -> bool {
        self.doubted.contains(&(server, doubt))
    }

    fn lower(&mut self, server: IpAddr, level: EdnsLevel) {
        let before = self.lowered(server);
        self.lowered.retain(|(s, _)| *s != server);
        self.lowered.push((server, level.min(before)));
    }

    pub(super) fn lowered(&self, server: IpAddr) -> EdnsLevel {
        let found = self.lowered.iter().find(|(s, _)| *s == server);
        found.map_or(EdnsLevel::Full, |(_, level)| *level)
    }

    fn again(&mut self, to: Try) {
        self.order.retain(|t| t.server != to.server);
        self.order.push_front(to);
    }

    /// Whether the failed exchange was the TCP that was to end a doubt, and the server may still be asked over UDP without
    /// mixed case or cookie: it must not be lost for having no TCP.
    fn leaves_doubt(&self, exchange: &Exchange) -> bool {
        let harmless = [Doubt::CaseChanged, Doubt::CookieMissing];
        let server = exchange.to.server;
        exchange.to.transport == Transport::Tcp
            && self.rounds + 1 < ROUNDS_MAX
            && harmless.iter().any(|d| self.is_doubted(server, *d))
    }

    /// Whether no place was free on a connection, and the server may be asked over UDP instead, once.
    fn may_fall_back(&self, exchange: &Exchange, said: &Said) -> bool {
        matches!(said, Said::NotSent(_))
            && exchange.to.transport == Transport::Tcp
            && !self.crowded.contains(&exchange.to.server)
    }

    pub fn server_failed(&mut self, exchange: &Exchange, said: &Said) {
        let server = exchange.to.server;
        let (text, answered) = match said {
            Said::Silent => ("timed out".to_string(), false),
            Said::Unreachable(why) => (format!("unreachable ({why})"), false),
            Said::NotSent(why) => (format!("not sent ({why})"), false),
            Said::Lame(why) => (format!("lame ({why})"), true),
            Said::Failed(what) => (what.clone(), true),
            _ => ("no use".to_string(), true),
        };
        let full = self.evidence.len() >= words::EVIDENCE_MAX;
        match self.evidence.iter_mut().find(|(known, _)| *known == text) {
            Some((_, servers)) if servers.contains(&server) => {}
            Some((_, servers)) => servers.push(server),
            None if full => {}
            None => self.evidence.push((text, vec![server])),
        }
        // RFC 8914 section 4.23: who refuses is no authority that was reached.
        self.somebody_answered |= matches!(said, Said::Failed(_));
        if answered && !self.asks_whole_question() {
            // RFC 9156: broken servers fail at a minimised name; the whole name decides.
            self.labels = self.question.name.label_count();
            self.new_question();
            self.again(exchange.to);
        } else if self.leaves_doubt(exchange) {
            self.again(Try {
                transport: Transport::Udp,
                ..exchange.to
            });
        } else if self.may_fall_back(exchange, said) {
            self.crowded.push(server);
            self.again(Try {
                transport: Transport::Udp,
                ..exchange.to
            });
        } else if !matches!(said, Said::Silent) {
            self.excluded.push(server);
        }
    }
}
