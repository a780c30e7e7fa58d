//! NOTIFY (RFC 1996): a server says that a zone has changed.
//!
//! It is taken from the sources of the zone's mirror, signed where the source has a key, and from whom `access.allow_notify` names, by address or by key, and does
//! no more than to bring the mirror's refresh forward (`mirror/notify`). So a forged one costs a question to a source.
//!
//! Answers: NOERROR when it was taken; REFUSED for a stranger; NOTAUTH for a zone that is no mirror; FORMERR and NOTIMP for what is no NOTIFY
//! of a zone. Signed ones get signed answers (RFC 8945).

use crate::clock::Clock;
use crate::dns::message::{HEADER_LEN, OPCODE_NOTIFY};
use crate::dns::{Class, Message, Rcode, Rtype, Soa};
use crate::mirror::{Mirrors, Notifying};

use super::request::Client;
use super::{Settings, reply, signed};

/// Whether a message is a NOTIFY, and no answer to one.
pub(super) fn is_notify(wire: &[u8]) -> bool {
    let header = wire.first_chunk::<HEADER_LEN>();
    header.is_some_and(|h| h[2] & 0x80 == 0 && h[2] >> 3 & 0x0F == OPCODE_NOTIFY)
}

/// What is made of a NOTIFY.
pub(super) struct Outcome {
    /// Why it is not taken.
    pub refused: Option<String>,
    pub reply: Vec<u8>,
    /// What its signature was worth, where it had one.
    pub signature: Option<bool>,
}

/// Takes a NOTIFY, or says why not.
pub(super) fn take(
    wire: &[u8],
    client: &Client,
    settings: &Settings,
    mirrors: &Mirrors,
    clock: &Clock,
) -> Outcome {
    let now_s = clock.now().wall_s;
    let message = match Message::parse(wire) {
        Ok(message) => message,
        Err(_) => {
            return Outcome {
                refused: Some("malformed message".to_owned()),
                reply: unreadable(wire).encode(PLAIN_LEN),
                signature: None,
            };
        }
    };
    let standing = signed::check(&message, wire, settings, now_s);
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
    let judged = judge(&message, client, key, settings, mirrors, now_s);
    let rcode = judged
        .as_ref()
        .map_or_else(|(rcode, _)| *rcode, |()| Rcode::NOERROR);
    let mut reply = reply::bare(&message, rcode, settings.udp_size_max).encode(PLAIN_LEN);
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
