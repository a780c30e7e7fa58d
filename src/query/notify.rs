//! NOTIFY (RFC 1996): a server says that a zone has changed.
//!
//! It is taken from the sources of the zone's mirror, signed where the source has a key, and from whom `access.allow_notify` names, by address or by key, and does
//! no more than to bring the mirror's refresh forward (`mirror/notify`). So a forged one costs a question to a source.
//!
//! It is limited as other queries are (`limited`), so that nobody is made to work or to talk by a flood of them. Whoever is asked for the
//! zone anyway may ask as much as he likes: the answers that an address is sent have their limit all the same, for it may be forged.
//!
//! Answers: NOERROR when it was taken; REFUSED for a stranger; NOTAUTH for a zone that is no mirror; FORMERR and NOTIMP for what is no NOTIFY
//! of a zone. Signed ones get signed answers (RFC 8945).

use crate::clock::Clock;
use crate::dns::message::{HEADER_LEN, OPCODE_NOTIFY};
use crate::dns::{Class, Message, Rcode, Rtype, Soa};
use crate::mirror::{Mirrors, Notifying};

use super::rate_limit::{Likeness, Verdict};
use super::request::Client;
use super::{Pipeline, Settings, reply, signed};

/// Whether a message is a NOTIFY, and no answer to one.
pub(super) fn is_notify(wire: &[u8]) -> bool {
    let header = wire.first_chunk::<HEADER_LEN>();
    header.is_some_and(|h| h[2] & 0x80 == 0 && h[2] >> 3 & 0x0F == OPCODE_NOTIFY)
}

impl Pipeline {
    /// Takes a NOTIFY, and answers it; `None` if a limit leaves no answer.
    pub(super) fn notified(
        &self,
        wire: &[u8],
        client: &Client,
        settings: &Settings,
        mirrors: &Mirrors,
        clock: &Clock,
    ) -> Option<Vec<u8>> {
        let Ok(message) = Message::parse(wire) else {
            if !self.limit_rejected(client, false) {
                return None;
            }
            self.count_notify(Some("malformed message"), client);
            return Some(unreadable(wire).encode(PLAIN_LEN));
        };
        if !is_expected(&message, client, settings, mirrors) {
            match self.verdict_on_query(client, false) {
                Verdict::Pass => {}
                // To be sent over TCP is of no use to who is a stranger there, too.
                Verdict::Drop | Verdict::Truncate => return None,
                Verdict::Refuse => {
                    let refused = reply::bare(&message, Rcode::REFUSED, settings.udp_size_max);
                    return Some(refused.encode(PLAIN_LEN));
                }
            }
        }
        let outcome = take(&message, wire, client, settings, mirrors, clock);
        self.count_signature(outcome.signature);
        self.count_notify(outcome.refused.as_deref(), client);
        let like = match (&outcome.refused, &message.question) {
            (None, Some(question)) => Likeness::Records(&question.name, Rtype::SOA),
            _ => Likeness::Error,
        };
        let is_signed = outcome.signature == Some(true);
        let may_be_told = is_signed || self.verdict_on_response(client, like) == Verdict::Pass;
        may_be_told.then_some(outcome.reply)
    }

    fn count_notify(&self, refused: Option<&str>, client: &Client) {
        match refused {
            None => self.metrics.notifies_taken_total.inc(),
            Some(why) => {
                self.metrics.notifies_refused_total.inc();
                self.tell_refused(client, &format!("NOTIFY: {why}"));
            }
        }
    }
}

/// Whether somebody at this address may tell of this zone, signed or not.
fn is_expected(message: &Message, client: &Client, settings: &Settings, mirrors: &Mirrors) -> bool {
    let (from, question) = (client.addr.ip(), message.question.as_ref());
    let Some(mirror) = question.and_then(|question| mirrors.find(&question.name)) else {
        return false;
    };
    let notify = Notifying {
        from,
        key: None,
        serial: None,
    };
    let is_of_source = mirror.is_of_source(notify) || mirror.key_of_source(from).is_some();
    is_of_source || settings.access.may_notify(client, None)
}

/// What is made of a NOTIFY.
struct Outcome {
    /// Why it is not taken.
    refused: Option<String>,
    reply: Vec<u8>,
    /// What its signature was worth, where it had one.
    signature: Option<bool>,
}

/// Takes a NOTIFY that has been read, or not.
fn take(
    message: &Message,
    wire: &[u8],
    client: &Client,
    settings: &Settings,
    mirrors: &Mirrors,
    clock: &Clock,
) -> Outcome {
    let now_s = clock.now().wall_s;
    let standing = signed::check(message, wire, settings, now_s);
    let signature = standing.signature();
    let signer = match standing {
        signed::Standing::Refused(reply, why) => {
            return Outcome {
                refused: Some(why),
                reply,
                signature,
            };
        }
        signed::Standing::Unsigned => None,
        signed::Standing::Signed(signer) => Some(signer),
    };
    let key = signer.as_ref().map(|signed| signed.key().name());
    let judged = judge(message, client, key, settings, mirrors, now_s);
    let rcode = judged
        .as_ref()
        .map_or_else(|(rcode, _)| *rcode, |()| Rcode::NOERROR);
    let mut reply = reply::bare(message, rcode, settings.udp_size_max).encode(PLAIN_LEN);
    if let Some(mut signer) = signer {
        signer.sign(&mut reply, now_s);
    }
    Outcome {
        refused: judged.err().map(|(rcode, why)| {
            let zone = message.question.as_ref().map(|q| q.name.to_string());
            format!("{rcode} for {}: {why}", zone.unwrap_or_default())
        }),
        reply,
        signature,
    }
}

/// Octets of the longest answer before its signature: header and question.
const PLAIN_LEN: usize = 512;

fn unreadable(wire: &[u8]) -> Message {
    Message {
        id: crate::dns::message::peek_id(wire).unwrap_or_default(),
        response: true,
        opcode: OPCODE_NOTIFY,
        rcode: Rcode::FORMERR,
        ..Message::default()
    }
}

fn judge(
    message: &Message,
    client: &Client,
    key: Option<&crate::dns::Name>,
    settings: &Settings,
    mirrors: &Mirrors,
    now_s: u64,
) -> Result<(), (Rcode, String)> {
    let refuse = |rcode, why: &str| Err((rcode, why.to_owned()));
    let Some(question) = &message.question else {
        return refuse(Rcode::FORMERR, "no question");
    };
    // RFC 1996 section 3.11: the SOA alone is defined.
    if question.rtype != Rtype::SOA {
        return refuse(Rcode::NOTIMP, "not about a SOA record");
    }
    let mirror = mirrors.find(&question.name);
    let Some(mirror) = mirror.filter(|_| question.class == Class::IN) else {
        return refuse(Rcode::NOTAUTH, "no mirror");
    };
    let from = client.addr.ip();
    let soa = (message.answer.iter()).find(|r| r.rtype == Rtype::SOA && r.name == question.name);
    let notify = Notifying {
        from,
        key,
        serial: soa.and_then(|r| Soa::parse(&r.rdata)).map(|soa| soa.serial),
    };
    if !mirror.is_of_source(notify) && !settings.access.may_notify(client, key) {
        return Err((
            Rcode::REFUSED,
            match mirror.key_of_source(from) {
                Some(key) => format!("this source has to sign with {key}"),
                None => "no source of the mirror, and not in access.allow_notify".to_owned(),
            },
        ));
    }
    mirror.notify(notify, now_s);
    Ok(())
}
