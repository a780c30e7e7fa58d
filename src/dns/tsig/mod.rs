//! Transaction signatures (RFC 8945): messages that only who holds a shared key can have written.
//!
//! Why: a transfer over plain TCP can be changed by whoever is on the path, and its server cannot tell its secondaries from
//! strangers by their addresses alone. A key that both ends hold signs each request and each message of the answer; the answer's
//! signature covers the request's, so that neither can be exchanged for another.
//!
//! Model, who asks: [`sign_request`] appends the record and makes a [`Verifier`], which takes each message of the answer in order.
//! Who answers: [`check_request`] says what a request is worth ([`Received`]). A good one gives a [`Signer`], which signs each
//! message of the answer; a bad one a [`Refusal`], which says so in the answer's own record. A stream of messages (a transfer) has a running
//! signature: each covers the one before, and between two signed messages up to [`UNSIGNED_MAX`] may be unsigned (section 5.3.1).
//!
//! Failure: whatever does not verify is a [`Fault`] for who asked, and FORMERR or NOTAUTH for who is asked. Time is handed in. MACs are
//! compared in constant time, by aws-lc-rs. Shortened MACs are refused: nobody needs them, and the least that the RFC allows is weak.

mod key;
mod record;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

pub use key::{
    Algorithm, Key, KeyError, Keyring, SECRET_LEN_MAX, SECRET_LEN_WEAK, secret_from_base64,
};

use super::Rcode;
use super::message::{HEADER_LEN, peek_id};
use record::{Form, Tsig, locate};

/// How far the clocks of both ends may differ, in seconds (RFC 8945 section 10: 300 is recommended).
pub const FUDGE_S: u16 = 300;
/// Messages of a stream that may come unsigned between two signed ones (RFC 8945 section 5.3.1).
pub const UNSIGNED_MAX: u32 = 99;

/// The error field of a TSIG record (RFC 8945 section 3); an open set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error(pub u16);

#[allow(missing_docs)]
impl Error {
    pub const NONE: Error = Error(0);
    pub const BADSIG: Error = Error(16);
    pub const BADKEY: Error = Error(17);
    pub const BADTIME: Error = Error(18);
    pub const BADTRUNC: Error = Error(22);
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Error::NONE => f.write_str("NOERROR"),
            Error::BADSIG => f.write_str("BADSIG (wrong signature)"),
            Error::BADKEY => f.write_str("BADKEY (unknown key, or another algorithm)"),
            Error::BADTIME => f.write_str("BADTIME (the clocks differ)"),
            Error::BADTRUNC => f.write_str("BADTRUNC (shortened signature)"),
            Error(other) => write!(f, "error {other}"),
        }
    }
}

/// Why an answer is not the one of who holds the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no message, or its TSIG record is out of place.
    #[error("malformed message")]
    Malformed,
    /// There is no signature where one must be: on the first message and on the last.
    #[error("the answer is not signed")]
    Unsigned,
    /// Too many unsigned messages in a row.
    #[error("more than {UNSIGNED_MAX} messages in a row are not signed")]
    TooFewSigned,
    /// Another key or algorithm than the request was signed with.
    #[error("signed with another key than the request")]
    OtherKey,
    /// The signature is shorter or longer than the algorithm makes it.
    #[error("the signature is cut short")]
    Shortened,
    /// The signature is wrong.
    #[error("wrong signature")]
    Wrong,
    /// The signature is right and of another time.
    #[error("the clocks of both ends differ by more than the other end allows")]
    Time,
    /// The server does not take the request's signature.
    #[error("the server does not take the signature: {0}")]
    Refused(Error),
}

/// What the signature of a request is worth.
#[derive(Debug)]
pub enum Received {
    /// It has none.
    Unsigned,
    /// It is right; this signs the answer.
    Signed(Signer),
    /// It is not taken; this goes into the answer.
    Refused(Box<Refusal>),
    /// It is no TSIG record, or not in its place: FORMERR (RFC 8945 section 5.2).
    Malformed,
}

/// Signs a request (an encoded message without TSIG) in place; what it returns checks the answer. `now_s` in seconds since 1970.
pub fn sign_request(key: &Arc<Key>, message: &mut Vec<u8>, now_s: u64) -> Verifier {
    let mut signer = Signer {
        key: key.clone(),
        prior: None,
        form: Form::Variables,
    };
    signer.sign(message, now_s);
    Verifier::new(key.clone(), signer.prior.unwrap_or_default())
}

/// Looks at the signature of a request (a whole message as received). `now_s` in seconds since 1970.
pub fn check_request(wire: &[u8], keys: &Keyring, now_s: u64) -> Received {
    let (start, tsig) = match locate(wire) {
        Ok(Some(found)) => found,
        Ok(None) => return Received::Unsigned,
        Err(_) => return Received::Malformed,
    };
    // RFC 8945 section 5.2 gives the order: key, MAC, time, truncation.
    let key = keys
        .find(&tsig.key)
        .filter(|key| *key.algorithm().name() == tsig.algorithm);
    let refused = |error, key| {
        Received::Refused(Box::new(Refusal {
            error,
            tsig: tsig.clone(),
            key,
        }))
    };
    let Some(key) = key else {
        return refused(Error::BADKEY, None);
    };
    // RFC 8945 section 5.2.2.1.
    let whole = key.algorithm().mac_len();
    if tsig.mac.len() > whole || tsig.mac.len() < key.algorithm().mac_len_min() {
        return Received::Malformed;
    }
    let mut context = hmac::Context::with_key(key.hmac());
    record::update_without(&mut context, wire, start, tsig.original_id);
    context.update(&tsig.covered(Form::Variables));
    if !matches(&key, context.sign().as_ref(), &tsig.mac) {
        return refused(Error::BADSIG, None);
    }
    if !tsig.is_timely(now_s) {
        return refused(Error::BADTIME, Some(key));
    }
    if tsig.mac.len() < whole {
        return refused(Error::BADTRUNC, Some(key));
    }
    Received::Signed(Signer {
        key,
        prior: Some(tsig.mac),
        form: Form::Variables,
    })
}

/// Whether a MAC received is that computed, or the beginning of it. HMAC of both under the key itself is what aws-lc-rs compares in
/// constant time.
fn matches(key: &Key, computed: &[u8], received: &[u8]) -> bool {
    let Some(computed) = computed.get(..received.len()) else {
        return false;
    };
    let mark = hmac::sign(key.hmac(), computed);
    hmac::verify(key.hmac(), received, mark.as_ref()).is_ok()
}

/// Signs the messages of one answer, in order.
#[derive(Debug, Clone)]
pub struct Signer {
    key: Arc<Key>,
    /// The MAC of the request, then of the message before; none for a request.
    prior: Option<Vec<u8>>,
    form: Form,
}

impl Signer {
    /// The key of the request.
    pub fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// Octets that a signature adds to a message.
    pub fn record_len(&self) -> usize {
        self.key.record_len()
    }

    /// Appends the signature to the next message, an encoded one without TSIG. `now_s` in seconds since 1970.
    pub fn sign(&mut self, message: &mut Vec<u8>, now_s: u64) {
        let mut tsig = Tsig {
            key: self.key.name().clone(),
            algorithm: self.key.algorithm().name().clone(),
            time_s: now_s,
            fudge_s: FUDGE_S,
            mac: Vec::new(),
            original_id: peek_id(message).unwrap_or_default(),
            error: Error::NONE,
            other: Vec::new(),
        };
        tsig.mac = mac(&self.key, self.prior.as_deref(), message, &tsig, self.form);
        tsig.append(message);
        self.prior = Some(tsig.mac);
        self.form = Form::Timers;
    }
}

/// The MAC over what came before, a message without TSIG, and what the form covers of the record.
fn mac(key: &Key, prior: Option<&[u8]>, message: &[u8], tsig: &Tsig, form: Form) -> Vec<u8> {
    let mut context = hmac::Context::with_key(key.hmac());
    if let Some(prior) = prior {
        update_prior(&mut context, prior);
    }
    context.update(message);
    context.update(&tsig.covered(form));
    context.sign().as_ref().to_vec()
}

/// RFC 8945 section 4.3.1: the MAC before, with its length.
fn update_prior(context: &mut hmac::Context, prior: &[u8]) {
    context.update(&(prior.len() as u16).to_be_bytes());
    context.update(prior);
}

/// A request whose signature is not taken.
#[derive(Debug)]
pub struct Refusal {
    error: Error,
    tsig: Tsig,
    /// Signs the answer, where the request's MAC was right.
    key: Option<Arc<Key>>,
}

impl Refusal {
    /// Why.
    pub fn error(&self) -> Error {
        self.error
    }

    /// The name of the key, as the request has it.
    pub fn key_name(&self) -> &super::Name {
        &self.tsig.key
    }

    /// The response code of the answer.
    pub fn rcode(&self) -> Rcode {
        Rcode::NOTAUTH
    }

    /// Octets that it adds to the answer.
    pub fn record_len(&self) -> usize {
        let mac = self.key.as_ref().map_or(0, |k| k.algorithm().mac_len());
        record::len(&self.tsig.key, &self.tsig.algorithm, mac, TIME_LEN)
    }

    /// Appends the record that says why to the answer, an encoded message without TSIG (RFC 8945 section 5.3.2).
    pub fn append(&self, reply: &mut Vec<u8>, now_s: u64) {
        // RFC 8945 section 5.2.3: the client's own time, so that it can verify this whatever its clock says; ours beside.
        let is_time = self.error == Error::BADTIME;
        let ours = now_s.to_be_bytes();
        let mut tsig = Tsig {
            mac: Vec::new(),
            error: self.error,
            other: if is_time {
                ours[2..].to_vec()
            } else {
                Vec::new()
            },
            time_s: match self.error {
                Error::BADTRUNC => now_s,
                _ => self.tsig.time_s,
            },
            ..self.tsig.clone()
        };
        tsig.original_id = peek_id(reply).unwrap_or_default();
        if let Some(key) = &self.key {
            tsig.mac = mac(key, Some(&self.tsig.mac), reply, &tsig, Form::Variables);
        }
        tsig.append(reply);
    }
}

/// Octets of a time in the record's other data.
const TIME_LEN: usize = 6;

/// Checks the messages of one answer, in order.
#[derive(Debug)]
pub struct Verifier {
    key: Arc<Key>,
    /// Begun with the MAC before, and the unsigned messages since.
    context: hmac::Context,
    form: Form,
    unsigned: u32,
}

impl Verifier {
    fn new(key: Arc<Key>, request_mac: Vec<u8>) -> Verifier {
        let mut context = hmac::Context::with_key(key.hmac());
        update_prior(&mut context, &request_mac);
        Verifier {
            key,
            context,
            form: Form::Variables,
            unsigned: 0,
        }
    }

    /// Takes the next message, as received. What an unsigned one says counts only once a later one is taken that is signed.
    ///
    /// # Errors
    /// It is not of who holds the key; nothing after it can be verified.
    pub fn take(&mut self, wire: &[u8], now_s: u64) -> Result<(), Fault> {
        let Some((start, tsig)) = locate(wire).map_err(|_| Fault::Malformed)? else {
            return self.take_unsigned(wire);
        };
        if tsig.key != *self.key.name() || tsig.algorithm != *self.key.algorithm().name() {
            return Err(Fault::OtherKey);
        }
        // RFC 8945 section 5.3.2: such a refusal cannot be signed. It is believed, for an answer there will not be.
        if tsig.mac.is_empty() && tsig.error != Error::NONE {
            return Err(Fault::Refused(tsig.error));
        }
        if tsig.mac.len() != self.key.algorithm().mac_len() {
            return Err(Fault::Shortened);
        }
        let mut next = hmac::Context::with_key(self.key.hmac());
        update_prior(&mut next, &tsig.mac);
        let mut context = std::mem::replace(&mut self.context, next);
        record::update_without(&mut context, wire, start, tsig.original_id);
        context.update(&tsig.covered(self.form));
        if !matches(&self.key, context.sign().as_ref(), &tsig.mac) {
            return Err(Fault::Wrong);
        }
        if tsig.error != Error::NONE {
            return Err(Fault::Refused(tsig.error));
        }
        if !tsig.is_timely(now_s) {
            return Err(Fault::Time);
        }
        self.form = Form::Timers;
        self.unsigned = 0;
        Ok(())
    }

    fn take_unsigned(&mut self, wire: &[u8]) -> Result<(), Fault> {
        if wire.len() < HEADER_LEN {
            return Err(Fault::Malformed);
        }
        if self.form == Form::Variables {
            return Err(Fault::Unsigned);
        }
        self.unsigned += 1;
        if self.unsigned > UNSIGNED_MAX {
            return Err(Fault::TooFewSigned);
        }
        self.context.update(wire);
        Ok(())
    }

    /// Ends the answer.
    ///
    /// # Errors
    /// Its last message was not signed.
    pub fn finish(&self) -> Result<(), Fault> {
        match self.form == Form::Timers && self.unsigned == 0 {
            true => Ok(()),
            false => Err(Fault::Unsigned),
        }
    }
}
