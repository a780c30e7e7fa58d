//! What an exchange teaches about its server, whether or not anybody still waits for it.

use crate::clock::Now;
use crate::dns::{Name, Rcode};
use crate::resolve::interpret::{Context, Said, interpret};
use crate::resolve::iterate::Env;
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
            (env.servers).answered(server, ask.transport, reply.rtt, now.mono);
            let cx = Context {
                zone,
                asked: &ask.question,
                transport: ask.transport,
                with_edns: ask.edns.is_some(),
                forwarded: is_forwarded(ask),
                server,
                harden_glue: env.settings.harden_glue,
                now,
            };
            let said = interpret(&cx, &reply.message);
            // Said of the question, not of the zone: whoever asks oddly must not make a zone look dead.
            let of_question = [Rcode::FORMERR, Rcode::NOTIMP].contains(&reply.message.rcode);
            let outcome = match said {
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
        // That it does without EDNS what it did not with it: an odd question alone may get FORMERR or NOTIMP too.
        Said::Answer(_) | Said::Apex(..) | Said::Referral(_)
            if ask.edns.is_none() && env.servers.takes_edns(server, now.mono) =>
        {
            env.servers.without_edns(server, now.mono);
        }
        _ => {}
    }
    said
}

fn failed(env: &Env<'_>, zone: &Name, ask: &Ask, error: ExchangeError, now: Now) -> Said {
    let server = ask.server.ip();
    match error {
        ExchangeError::TimedOut => {
            observe(env, zone, ask, Outcome::TimedOut);
            Said::Silent
        }
        ExchangeError::Unreachable(why) => {
            env.servers.unreachable(server, now.mono);
            observe(env, zone, ask, Outcome::Unreachable);
            Said::Unreachable(why)
        }
        ExchangeError::Malformed(why) => {
            observe(env, zone, ask, Outcome::ServerFailure);
            Said::Failed(format!("malformed answer: {why}"))
        }
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
