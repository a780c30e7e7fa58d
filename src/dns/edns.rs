//! EDNS (RFC 6891) and extended errors (RFC 8914).

use std::fmt;

use super::{Class, Rtype};
use super::{Name, Rcode, WireError, record::Record};

/// Option codes that the program knows.
pub mod option {
    /// Code and length of an option, in octets (RFC 6891 section 6.1.2).
    pub const HEAD_LEN: usize = 4;
    /// Name server identifier (RFC 5001).
    pub const NSID: u16 = 3;
    /// Client subnet (RFC 7871).
    pub const CLIENT_SUBNET: u16 = 8;
    /// How long a secondary's copy is good for (RFC 7314).
    pub const EXPIRE: u16 = 9;
    /// Cookie (RFC 7873).
    pub const COOKIE: u16 = 10;
    /// TCP keepalive (RFC 7828).
    pub const TCP_KEEPALIVE: u16 = 11;
    /// Padding (RFC 7830).
    pub const PADDING: u16 = 12;
    /// Extended DNS error (RFC 8914).
    pub const EDE: u16 = 15;
}

/// The OPT record of a message, without the response code (which the message holds whole).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edns {
    /// Largest UDP payload that the sender takes, octets.
    pub udp_size: u16,
    /// Version; only 0 exists.
    pub version: u8,
    /// DO bit (RFC 3225).
    pub dnssec_ok: bool,
    /// Options as code and value, in order.
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Edns {
    /// EDNS version 0 without options.
    pub fn new(udp_size: u16, dnssec_ok: bool) -> Edns {
        Edns {
            udp_size,
            version: 0,
            dnssec_ok,
            options: Vec::new(),
        }
    }

    /// The first option with this code.
    pub fn option(&self, code: u16) -> Option<&[u8]> {
        self.options
            .iter()
            .find(|(c, _)| *c == code)
            .map(|(_, v)| v.as_slice())
    }

    /// The extended errors in the options.
    pub fn errors(&self) -> impl Iterator<Item = Ede> + '_ {
        self.options
            .iter()
            .filter(|(c, _)| *c == option::EDE)
            .filter_map(|(_, v)| {
                let (code, text) = v.split_first_chunk::<2>()?;
                Some(Ede {
                    code: u16::from_be_bytes(*code),
                    text: String::from_utf8_lossy(text).into_owned(),
                })
            })
    }

    /// Reads an OPT record; returns it and the upper eight bits of the response code.
    pub(super) fn from_record(r: &Record) -> Result<(Edns, u16), WireError> {
        if !r.name.is_root() {
            return Err(WireError::BadForm);
        }
        let [ext, version, hi, _] = r.ttl.to_be_bytes();
        let mut options = Vec::new();
        let mut rest = &r.rdata[..];
        while !rest.is_empty() {
            let (&[a, b, c, d], tail) = rest.split_first_chunk().ok_or(WireError::BadRdata)?;
            let len = usize::from(u16::from_be_bytes([c, d]));
            let value = tail.get(..len).ok_or(WireError::BadRdata)?;
            options.push((u16::from_be_bytes([a, b]), value.to_vec()));
            rest = &tail[len..];
        }
        let edns = Edns {
            udp_size: r.class.0,
            version,
            dnssec_ok: hi & 0x80 != 0,
            options,
        };
        Ok((edns, u16::from(ext)))
    }

    /// The OPT record to send with `rcode`.
    pub fn to_record(&self, rcode: Rcode) -> Record {
        let mut rdata = Vec::new();
        for (code, value) in &self.options {
            rdata.extend_from_slice(&code.to_be_bytes());
            rdata.extend_from_slice(&(value.len() as u16).to_be_bytes());
            rdata.extend_from_slice(value);
        }
        let hi = if self.dnssec_ok { 0x80 } else { 0 };
        Record {
            name: Name::root(),
            rtype: Rtype::OPT,
            class: Class(self.udp_size),
            ttl: u32::from_be_bytes([(rcode.0 >> 4) as u8, self.version, hi, 0]),
            rdata: rdata.into(),
        }
    }
}

/// An extended DNS error: an info code of RFC 8914 section 4 and a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ede {
    /// Info code.
    pub code: u16,
    /// Extra text: says what happened, to which zone, at which server.
    pub text: String,
}

#[allow(missing_docs)]
impl Ede {
    pub const OTHER: u16 = 0;
    pub const UNSUPPORTED_DNSKEY_ALGORITHM: u16 = 1;
    pub const UNSUPPORTED_DS_DIGEST: u16 = 2;
    pub const STALE_ANSWER: u16 = 3;
    pub const FORGED_ANSWER: u16 = 4;
    pub const INDETERMINATE: u16 = 5;
    pub const BOGUS: u16 = 6;
    pub const SIGNATURE_EXPIRED: u16 = 7;
    pub const SIGNATURE_NOT_YET_VALID: u16 = 8;
    pub const DNSKEY_MISSING: u16 = 9;
    pub const RRSIGS_MISSING: u16 = 10;
    pub const NO_ZONE_KEY_BIT: u16 = 11;
    pub const NSEC_MISSING: u16 = 12;
    pub const CACHED_ERROR: u16 = 13;
    pub const NOT_READY: u16 = 14;
    pub const PROHIBITED: u16 = 18;
    pub const STALE_NXDOMAIN: u16 = 19;
    pub const NOT_AUTHORITATIVE: u16 = 20;
    pub const NOT_SUPPORTED: u16 = 21;
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    pub const NETWORK_ERROR: u16 = 23;
    pub const INVALID_DATA: u16 = 24;
    pub const UNSUPPORTED_NSEC3_ITERATIONS: u16 = 27;
    pub const SYNTHESIZED: u16 = 29;
    pub const INVALID_QUERY_TYPE: u16 = 30;
}

/// Longest extra text that is sent, octets: an answer must not grow past its limit for a comment.
pub const EDE_TEXT_LEN_MAX: usize = 240;

impl fmt::Display for Ede {
    /// `EDE 22 (no reachable authority): text`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EDE {}", self.code)?;
        if let Some(meaning) = self.meaning() {
            write!(f, " ({meaning})")?;
        }
        match self.text.is_empty() {
            true => Ok(()),
            false => write!(f, ": {}", self.text),
        }
    }
}

impl Ede {
    /// What the code stands for (RFC 8914 section 4; 27 to 30 from the registry).
    pub fn meaning(&self) -> Option<&'static str> {
        Some(match self.code {
            0 => "other error",
            1 => "unsupported DNSKEY algorithm",
            2 => "unsupported DS digest type",
            3 => "stale answer",
            4 => "forged answer",
            5 => "DNSSEC indeterminate",
            6 => "DNSSEC bogus",
            7 => "signature expired",
            8 => "signature not yet valid",
            9 => "DNSKEY missing",
            10 => "RRSIGs missing",
            11 => "no zone key bit set",
            12 => "NSEC missing",
            13 => "cached error",
            14 => "not ready",
            15 => "blocked",
            16 => "censored",
            17 => "filtered",
            18 => "prohibited",
            19 => "stale NXDOMAIN answer",
            20 => "not authoritative",
            21 => "not supported",
            22 => "no reachable authority",
            23 => "network error",
            24 => "invalid data",
            27 => "unsupported NSEC3 iterations value",
            29 => "synthesized",
            30 => "invalid query type",
            _ => return None,
        })
    }

    /// An extended error with its text.
    pub fn new(code: u16, text: impl Into<String>) -> Ede {
        Ede {
            code,
            text: text.into(),
        }
    }

    /// The EDNS option that carries it; a long text is cut at a character boundary.
    pub fn to_option(&self) -> (u16, Vec<u8>) {
        let mut end = self.text.len().min(EDE_TEXT_LEN_MAX);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let mut value = self.code.to_be_bytes().to_vec();
        value.extend_from_slice(&self.text.as_bytes()[..end]);
        (option::EDE, value)
    }
}
