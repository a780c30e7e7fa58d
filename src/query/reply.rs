//! The last step of every query: from what is known to the bytes that leave.
//!
//! An [`Answer`] holds RRsets with all their signatures and proofs; what of it a client gets depends on
//! its query: DNSSEC records only with DO, AD only to who understands it, extended errors only where the
//! query had an OPT record, and no more octets than its transport and EDNS size allow. The owner name of
//! the first answer appears in the case of the question, because the writer points back to it.

use crate::cache::entry::AS_OF_TTL_MAX_S;
use crate::dns::edns::option;
use crate::dns::message::{HEADER_LEN, MESSAGE_LEN_MAX};
use crate::dns::{Ede, Edns, Message, Name, Rcode, Record, RrSet, Rtype};
use crate::query::request::{Request, Signed, Transport};
use crate::resolve::{Resolution, Security};
use crate::zone::{Lookup, LookupKind};

/// What every client takes over UDP, in octets (RFC 1035 section 2.3.4).
pub(super) const UDP_SIZE_MIN_BYTES: u16 = 512;

/// Answers to who pads are padded to multiples of this, in octets (RFC 8467 section 4.1).
const PADDING_BLOCK: usize = 468;
/// An extended error without its text, in octets (RFC 8914 section 2).
const EDE_CODE_LEN: usize = 2;

/// What is known about a question, before it is cut to the client's measure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Response code.
    pub rcode: Rcode,
    /// AA: the first owner name is in an own zone, or a special name.
    pub authoritative: bool,
    /// Every part has been validated as secure.
    pub secure: bool,
    /// Answer section, CNAME chain in order.
    pub answer: Vec<RrSet>,
    /// Authority section.
    pub authority: Vec<RrSet>,
    /// Additional section: glue.
    pub additional: Vec<RrSet>,
    /// What happened, for EDNS.
    pub errors: Vec<Ede>,
    /// The name above the wildcard of an own zone that stands for the name asked for.
    pub wildcard: Option<Name>,
}

impl Answer {
    /// An answer without records.
    pub fn empty(rcode: Rcode, error: Option<Ede>) -> Answer {
        Answer {
            rcode,
            errors: error.into_iter().collect(),
            ..Answer::default()
        }
    }

    /// The answer of a special name: RFC 6303 section 3 makes it a zone of this server, hence AA=1.
    pub fn special(lookup: Lookup) -> Answer {
        Answer {
            rcode: match lookup.kind {
                LookupKind::NxDomain => Rcode::NXDOMAIN,
                _ => Rcode::NOERROR,
            },
            authoritative: true,
            answer: lookup.answer,
            authority: lookup.authority,
            ..Answer::default()
        }
    }

    /// The answer that a resolution makes for a client that did or did not disable checking (CD).
    pub fn resolved(resolution: Resolution, checking_disabled: bool) -> Answer {
        let mut answer = Answer {
            rcode: resolution.rcode,
            authoritative: false,
            // RFC 4035 section 3.2.2: with CD the client takes what was not checked. Whether this was is not for it to
            // guess, so AD stays clear.
            secure: resolution.security == Security::Secure && !checking_disabled,
            answer: resolution.answer,
            authority: resolution.authority,
            additional: resolution.additional,
            errors: resolution.errors,
            wildcard: None,
        };
        match resolution.security {
            // RFC 4035 section 5.5: what is bogus reaches only those who asked for it unchecked.
            Security::Bogus(why) if !checking_disabled => {
                answer.rcode = Rcode::SERVFAIL;
                answer.add_error(why);
            }
            Security::SecureAsOf => answer.mark_as_of(),
            _ => {}
        }
        if answer.rcode == Rcode::SERVFAIL {
            answer.answer.clear();
            answer.authority.clear();
            answer.additional.clear();
        }
        answer
    }

    /// Puts the own part of a chain of aliases before what was resolved of the rest. The own part is
    /// authoritative and not validated, so the whole has AA=1 and AD=0.
    pub fn preceded_by(mut self, own: Answer) -> Answer {
        if own.answer.is_empty() || self.rcode == Rcode::SERVFAIL {
            return self;
        }
        self.answer.splice(0..0, own.answer);
        self.authority.splice(0..0, own.authority);
        self.authoritative = true;
        self.secure = false;
        self.wildcard = own.wildcard;
        self
    }

    /// As-of validation (ARCHITECTURE.md): short TTLs, and extended errors 3 and 7 say why.
    fn mark_as_of(&mut self) {
        let sections = [&mut self.answer, &mut self.authority, &mut self.additional];
        for set in sections.into_iter().flatten() {
            set.ttl = set.ttl.min(AS_OF_TTL_MAX_S);
        }
        for code in [Ede::STALE_ANSWER, Ede::SIGNATURE_EXPIRED] {
            self.add_error(Ede::new(code, ""));
        }
    }

    /// Adds an error unless one of its code is there.
    fn add_error(&mut self, error: Ede) {
        if self.errors.iter().all(|e| e.code != error.code) {
            self.errors.push(error);
        }
    }

    /// The reply to `request`, written. `recursion_available` is RA; `udp_size_max` the operator's
    /// limit for UDP in octets.
    pub fn encode(
        &self,
        request: &Request,
        recursion_available: bool,
        udp_size_max: u16,
    ) -> Vec<u8> {
        let dnssec = request.dnssec_ok();
        let qtype = request.question.rtype;
        let mut reply = request.message.reply(self.rcode);
        reply.authoritative = self.authoritative;
        reply.recursion_available = recursion_available;
        reply.authentic_data = self.secure && request.understands_ad();
        reply.answer = match (qtype, request.client.transport) {
            // RFC 8482 section 4.1: over UDP, where the sender may be forged, ANY gets one RRset.
            (Rtype::ANY, Transport::Udp) => {
                other_section(&self.answer[..self.answer.len().min(1)], dnssec)
            }
            _ => answer_section(&self.answer, qtype, dnssec),
        };
        reply.authority = other_section(&self.authority, dnssec);
        reply.additional = other_section(&self.additional, dnssec);
        reply.edns = opt(
            &request.message,
            udp_size_max,
            request.cookie.clone(),
            &self.errors,
        );
        add_told(&mut reply, request);
        encode_for(reply, request, udp_size_max)
    }
}

/// The reply to a question about this server itself, with authority.
pub fn about_this_server(records: Vec<Record>, request: &Request, udp_size_max: u16) -> Vec<u8> {
    let query = &request.message;
    let mut reply = query.reply(Rcode::NOERROR);
    reply.authoritative = true;
    reply.answer = records;
    reply.edns = opt(query, udp_size_max, request.cookie.clone(), None);
    add_told(&mut reply, request);
    encode_for(reply, request, udp_size_max)
}

/// The reply as its client may have it: of the right size, padded where it pads, signed where its query was (RFC 8945 section 5.3).
fn encode_for(reply: Message, request: &Request, udp_size_max: u16) -> Vec<u8> {
    let limit = size_limit(&request.message, request.client.transport, udp_size_max);
    let is_padded = wants_padding(&request.message, request.client.transport);
    let Some(Signed { signer, at_s }) = &request.signed else {
        return encode_within(reply, limit, is_padded.then_some(0));
    };
    let mut signer = signer.clone();
    let room = signer.record_len();
    let padding = is_padded.then_some(room);
    let mut reply = encode_within(reply, limit.saturating_sub(room), padding);
    signer.sign(&mut reply, *at_s);
    reply
}

/// What the client has asked about this server, beside its question.
fn add_told(reply: &mut Message, request: &Request) {
    let Some(edns) = &mut reply.edns else {
        return;
    };
    if let Some(nsid) = &request.nsid {
        edns.options.push((option::NSID, nsid.clone()));
    }
    if let Some(idle) = request.idle_to_tell() {
        // RFC 7828 section 3.1: in units of 100 milliseconds.
        let units = u16::try_from(idle.as_millis() / 100).unwrap_or(u16::MAX);
        edns.options
            .push((option::TCP_KEEPALIVE, units.to_be_bytes().to_vec()));
    }
}

/// The reply to a query that is to be asked again over TCP: nothing but TC=1, and the cookie that spares the next one this.
pub fn truncated(request: &Request, udp_size_max: u16) -> Vec<u8> {
    let query = &request.message;
    let mut reply = query.reply(Rcode::NOERROR);
    reply.truncated = true;
    reply.edns = opt(query, udp_size_max, request.cookie.clone(), None);
    reply.encode(size_limit(query, request.client.transport, udp_size_max))
}

/// The reply to a query that is not worked on.
pub fn rejected(
    query: &Message,
    rcode: Rcode,
    error: Option<&Ede>,
    cookie: Option<Vec<u8>>,
    transport: Transport,
    udp_size_max: u16,
) -> Vec<u8> {
    let mut reply = query.reply(rcode);
    reply.edns = opt(query, udp_size_max, cookie, error);
    let padding = wants_padding(query, transport).then_some(0);
    encode_within(reply, size_limit(query, transport, udp_size_max), padding)
}

/// RFC 7830 section 4: who pads gets padding; section 6: only where nobody else can read the message anyway.
fn wants_padding(query: &Message, transport: Transport) -> bool {
    let edns = query.edns.as_ref().filter(|_| transport.is_encrypted());
    edns.is_some_and(|edns| edns.option(option::PADDING).is_some())
}

/// An answer without records to any message, with OPT where that has one.
pub(super) fn bare(query: &Message, rcode: Rcode, udp_size_max: u16) -> Message {
    let mut reply = query.reply(rcode);
    reply.edns = opt(query, udp_size_max, None, None);
    reply
}

/// RFC 6891 section 7: an OPT record exactly where the query had one.
pub(super) fn opt<'e>(
    query: &Message,
    udp_size_max: u16,
    cookie: Option<Vec<u8>>,
    errors: impl IntoIterator<Item = &'e Ede>,
) -> Option<Edns> {
    let asked = query.edns.as_ref()?;
    let mut edns = Edns::new(udp_size_max, asked.dnssec_ok);
    edns.options = cookie
        .map(|cookie| (option::COOKIE, cookie))
        .into_iter()
        .collect();
    edns.options.extend(errors.into_iter().map(Ede::to_option));
    Some(edns)
}

/// RFC 8914 section 3: extended errors go before any other data does. First their texts, which are for people, then the errors.
/// Without TC for it, as in Unbound: a whole answer is not worth a second question for the sake of a comment.
/// Where it is to be padded, `padding` says how many octets will follow.
fn encode_within(mut reply: Message, size_max: usize, padding: Option<usize>) -> Vec<u8> {
    let written = |reply: &Message| match padding {
        Some(tail) => reply.encode_padded(size_max, PADDING_BLOCK, tail),
        None => reply.encode(size_max),
    };
    let is_error = |(code, _): &(u16, Vec<u8>)| *code == option::EDE;
    let Some(edns) = (reply.edns.as_mut()).filter(|edns| edns.options.iter().any(is_error)) else {
        return written(&reply);
    };
    let whole = edns.options.clone();
    edns.options.retain(|o| !is_error(o));
    let bare = reply.encode(size_max);
    let room = size_max.saturating_sub(bare.len());
    let mut short = whole.clone();
    for (_, value) in short.iter_mut().filter(|o| is_error(o)) {
        value.truncate(EDE_CODE_LEN);
    }
    for options in [whole, short] {
        let errors = options.iter().filter(|o| is_error(o));
        let len: usize = errors
            .map(|(_, value)| option::HEAD_LEN + value.len())
            .sum();
        if len <= room {
            reply.edns = reply.edns.map(|edns| Edns { options, ..edns });
            return written(&reply);
        }
    }
    bare
}

/// RFC 6891 section 6.2.3: sizes below 512 count as 512.
pub(super) fn udp_limit(asked: u16, udp_size_max: u16) -> u16 {
    asked.min(udp_size_max).max(UDP_SIZE_MIN_BYTES)
}

/// The largest reply that may leave, in octets.
pub(super) fn size_limit(query: &Message, transport: Transport, udp_size_max: u16) -> usize {
    let udp = query.edns.as_ref().map_or(UDP_SIZE_MIN_BYTES, |edns| {
        udp_limit(edns.udp_size, udp_size_max)
    });
    match transport {
        Transport::Udp => usize::from(udp),
        Transport::Tcp | Transport::Tls { .. } | Transport::Https | Transport::Quic => {
            MESSAGE_LEN_MAX
        }
    }
}

/// Whether nothing of the answer was left out for lack of room.
pub(super) fn is_whole(answer: &Answer, request: &Request, octets: &[u8]) -> bool {
    let dnssec = request.dnssec_ok();
    let answers = answer_section(&answer.answer, request.question.rtype, dnssec).len();
    let [authority, additional] =
        [&answer.authority, &answer.additional].map(|sets| other_section(sets, dnssec).len());
    let opt = usize::from(request.message.edns.is_some());
    let Some(header) = octets.first_chunk::<HEADER_LEN>() else {
        return false;
    };
    let count = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    [count(6), count(8), count(10)] == [answers, authority, additional + opt]
}

/// RFC 4035 section 3.1: without DO, DNSSEC records only if they were asked for.
fn answer_section(sets: &[RrSet], qtype: Rtype, dnssec: bool) -> Vec<Record> {
    let signatures = dnssec || matches!(qtype, Rtype::RRSIG | Rtype::ANY);
    sets.iter()
        .flat_map(|set| set.records(signatures))
        .collect()
}

fn other_section(sets: &[RrSet], dnssec: bool) -> Vec<Record> {
    sets.iter()
        .filter(|set| dnssec || !is_dnssec(set.rtype))
        .flat_map(|set| set.records(dnssec))
        .collect()
}

fn is_dnssec(rtype: Rtype) -> bool {
    matches!(rtype, Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 | Rtype::DS)
}
