//! Signed queries (RFC 8945): what a client's signature is worth, and what follows from it for the answer.

use crate::dns::message::MESSAGE_LEN_MAX;
use crate::dns::tsig::{self, Received, Signer};
use crate::dns::{Message, Rcode, Rtype};

use super::Settings;
use super::reply::bare;

/// What the signature of a query is worth.
pub(super) enum Standing {
    /// It has none.
    Unsigned,
    /// It is right; this signs the answer.
    Signed(Signer),
    /// It is not taken: this is the answer, and why.
    Refused(Vec<u8>, String),
}

impl Standing {
    /// Whether the signature was right; `None` without one.
    pub(super) fn signature(&self) -> Option<bool> {
        match self {
            Standing::Unsigned => None,
            Standing::Signed(_) => Some(true),
            Standing::Refused(..) => Some(false),
        }
    }
}

/// Looks at the signature of a query that has been read. `now_s` in seconds since 1970.
pub(super) fn check(message: &Message, wire: &[u8], settings: &Settings, now_s: u64) -> Standing {
    // Hardly any query has one.
    let sections = [&message.answer, &message.authority, &message.additional];
    if !(sections.into_iter().flatten()).any(|r| r.rtype == Rtype::TSIG) {
        return Standing::Unsigned;
    }
    let reply = |rcode| bare(message, rcode, settings.udp_size_max).encode(MESSAGE_LEN_MAX);
    match tsig::check_request(wire, &settings.keys, now_s) {
        Received::Unsigned => Standing::Unsigned,
        Received::Signed(signer) => Standing::Signed(signer),
        Received::Malformed => {
            Standing::Refused(reply(Rcode::FORMERR), "malformed signature".to_owned())
        }
        Received::Refused(refusal) => {
            let mut reply = reply(refusal.rcode());
            refusal.append(&mut reply, now_s);
            let why = format!(
                "signature with the key {} is not taken: {}",
                refusal.key_name(),
                refusal.error()
            );
            Standing::Refused(reply, why)
        }
    }
}
