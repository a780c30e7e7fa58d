//! What an exchange teaches about its server, whether or not anybody still waits for it.

use crate::clock::Now;
use crate::dns::{Name, Rcode, Rtype};
use crate::resolve::interpret::{Context, Said, interpret};
use crate::resolve::iterate::Env;
use crate::resolve::quirks::{EdnsLevel, Heard};
use crate::resolve::select::{FAILED_FOR, LAME_FOR};
use crate::resolve::{Observation, Outcome};
use crate::upstream::{Ask, ExchangeError, Reply};

/// Reads the outcome of an exchange with a server of `zone`, and notes it in the server statistics and
/// with the reachability of the zone.
pub fn settle(
    env: &Env<'_>,
    zone: &Name,
    ask: &Ask,
    result: Result<Reply, ExchangeError>,
    now: Now,
) -> Said {
    let server = ask.server.ip();
    let said = match result {
        Ok(reply) => {
            (env.servers).answered_for(server, zone, reply.rtt, now.mono);
            (env.servers).answered(server, ask.transport, reply.rtt, now.mono);
            let cx = Context {
                zone,
                asked: &ask.question,
                transport: ask.transport,
                forwarded: is_forwarded(ask),
                edns: EdnsLevel::of(ask),
                takes_edns: env.servers.takes_edns(server, now.mono),
                server,
                harden_glue: env.settings.harden_glue,
                now,
            };
            let said = interpret(&cx, &reply.message);
            let heard = heard(env, zone, ask, &reply, &said, now);
            env.servers.heard(server, &heard, now.mono);
            if env.settings.case_randomisation && !ask.mix_case {
                env.servers.answered_unmixed(server, now.mono);
            }
            // Said of the question, not of the zone: whoever asks oddly must not make a zone look dead.
            let of_question = [Rcode::FORMERR, Rcode::NOTIMP].contains(&reply.message.rcode);
            let outcome = match said {
                // What it says without EDNS counts.
                Said::EdnsRefused(_) if reply.message.rcode == Rcode::SERVFAIL => return said,
                _ if of_question => Outcome::Answered { rtt: reply.rtt },
                Said::Lame(_) => Outcome::Lame,
                Said::Failed(_) => Outcome::ServerFailure,
                _ => Outcome::Answered { rtt: reply.rtt },
            };
            observe(env, zone, ask, outcome);
            said
        }
        Err(error) => failed(env, zone, ask, error, now),
    };
    match said {
        // A forwarder's failure is one of the question: the servers behind it are many.
        Said::Failed(_) if is_forwarded(ask) => {}
        Said::Lame(_) => env.servers.bad_for(server, zone, now.mono, LAME_FOR),
        Said::Failed(_) => env.servers.bad_for(server, zone, now.mono, FAILED_FOR),
        _ => {}
    }
    said
}

/// What the answer shows of the server's quirks.
fn heard(env: &Env<'_>, zone: &Name, ask: &Ask, reply: &Reply, said: &Said, now: Now) -> Heard {
    let usable = matches!(
        said,
        Said::Answer(_) | Said::Apex(..) | Said::Referral(_) | Said::Truncated
    );
    let level = EdnsLevel::of(ask);
    Heard {
        level,
        over: ask.transport,
        cautious: (ask.edns.as_ref()).is_some_and(|e| e.udp_size < env.settings.edns_buffer),
        folded: reply.folded,
        opt: reply.message.edns.is_some(),
        usable,
        refused: match said {
            Said::EdnsRefused(level) => Some(*level),
            _ => None,
        },
        // Only plain answers need to know.
        signed: level == EdnsLevel::None
            && (env.is_signed(zone, now) || (is_forwarded(ask) && env.validating)),
    }
}

fn failed(env: &Env<'_>, zone: &Name, ask: &Ask, error: ExchangeError, now: Now) -> Said {
    let server = ask.server.ip();
    match error {
        ExchangeError::TimedOut => {
            observe(env, zone, ask, Outcome::TimedOut);
            Said::Silent
        }
        ExchangeError::Unreachable(why) => {
            env.servers.unreachable(server, ask.transport, now.mono);
            (env.servers).late_for(server, zone, Rtype::A, now.mono, now.mono);
            observe(env, zone, ask, Outcome::Unreachable);
            Said::Unreachable(why)
        }
        ExchangeError::Malformed(why) => {
            observe(env, zone, ask, Outcome::ServerFailure);
            Said::Failed(format!("malformed answer: {why}"))
        }
        // Of the server it says nothing, for it may have been somebody else.
        ExchangeError::Doubtful(doubt) => {
            env.servers.doubted(server, doubt, now.mono);
            Said::Doubtful(doubt)
        }
        ExchangeError::Limit(why) => Said::NotSent(why),
        // This machine's fault says nothing about the server's zone.
        ExchangeError::Local(why) => {
            env.servers.not_sent(server);
            Said::NotSent(why)
        }
    }
}

fn observe(env: &Env<'_>, zone: &Name, ask: &Ask, outcome: Outcome) {
    if is_forwarded(ask) {
        return;
    }
    env.health.observe(Observation {
        zone: zone.clone(),
        server: ask.server.ip(),
        outcome,
    });
}

/// Recursion is desired of forwarders only.
fn is_forwarded(ask: &Ask) -> bool {
    ask.recursion_desired
}
