//! The TSIG record (RFC 8945 section 4.2): where it stands, what is in it, what of it the MAC covers.

use aws_lc_rs::hmac;

use super::Error;
use crate::dns::message::HEADER_LEN;
use crate::dns::{Class, Name, Rtype, WireError};

/// Octets of a record's fixed fields after its name: type, class, TTL, length.
const FIXED_LEN: usize = 10;
/// Octets of the data beside the algorithm, MAC and other data: time 6, fudge 2, and the lengths, original ID and error of 2 each.
const DATA_FIXED_LEN: usize = 16;
/// Times have 48 bits.
const TIME_MAX_S: u64 = (1 << 48) - 1;

/// What of the record a MAC covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The TSIG variables (section 4.3.3): requests, and the first message of an answer.
    Variables,
    /// The timers alone (section 4.3.3.1): later messages of an answer.
    Timers,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tsig {
    pub key: Name,
    pub algorithm: Name,
    /// Seconds since 1970, 48 bits.
    pub time_s: u64,
    pub fudge_s: u16,
    pub mac: Vec<u8>,
    pub original_id: u16,
    pub error: Error,
    pub other: Vec<u8>,
}

/// Octets of a record.
pub(super) fn len(key: &Name, algorithm: &Name, mac_len: usize, other_len: usize) -> usize {
    let data = algorithm.wire().len() + DATA_FIXED_LEN + mac_len + other_len;
    key.wire().len() + FIXED_LEN + data
}

/// The record of a message and where it begins. It must be the last of the additional section, and nothing may follow
/// (RFC 8945 section 5.1).
pub(super) fn locate(wire: &[u8]) -> Result<Option<(usize, Tsig)>, WireError> {
    let header: &[u8; HEADER_LEN] = wire.first_chunk().ok_or(WireError::Truncated)?;
    let count = |i: usize| u16::from_be_bytes([header[i], header[i + 1]]);
    let mut at = HEADER_LEN;
    for _ in 0..count(4) {
        at = skip_name(wire, at)? + 4;
    }
    let sections = [count(6), count(8), count(10)];
    for (section, records) in sections.into_iter().enumerate() {
        for left in (0..records).rev() {
            let start = at;
            let fields = skip_name(wire, at)?;
            let fixed: &[u8; FIXED_LEN] = (wire.get(fields..))
                .and_then(|rest| rest.first_chunk())
                .ok_or(WireError::Truncated)?;
            at = fields + FIXED_LEN + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
            if Rtype(u16::from_be_bytes([fixed[0], fixed[1]])) != Rtype::TSIG {
                continue;
            }
            let data = wire
                .get(fields + FIXED_LEN..at)
                .ok_or(WireError::Truncated)?;
            // RFC 8945 section 4.2: class ANY, TTL 0.
            let odd = fixed[2..4] != Class::ANY.0.to_be_bytes() || fixed[4..8] != [0; 4];
            if section < 2 || left > 0 || at != wire.len() || odd {
                return Err(WireError::BadForm);
            }
            let (key, _) = Name::parse(wire, start)?;
            return Tsig::read(key, data).map(|tsig| Some((start, tsig)));
        }
    }
    match at <= wire.len() {
        true => Ok(None),
        false => Err(WireError::Truncated),
    }
}

/// The position after the name at `at`.
fn skip_name(wire: &[u8], mut at: usize) -> Result<usize, WireError> {
    loop {
        match *wire.get(at).ok_or(WireError::Truncated)? {
            0 => return Ok(at + 1),
            len @ 1..=63 => at += usize::from(len) + 1,
            0xC0.. => return Ok(at + 2),
            _ => return Err(WireError::BadName),
        }
    }
}

/// Adds a message to a MAC as it was before its record at `start` was appended (RFC 8945 section 4.3.2).
pub(super) fn update_without(context: &mut hmac::Context, wire: &[u8], start: usize, id: u16) {
    let Some((header, _)) = wire.split_first_chunk::<HEADER_LEN>() else {
        return;
    };
    let mut header = *header;
    let additional = u16::from_be_bytes([header[10], header[11]]).wrapping_sub(1);
    header[..2].copy_from_slice(&id.to_be_bytes());
    header[10..].copy_from_slice(&additional.to_be_bytes());
    context.update(&header);
    context.update(wire.get(HEADER_LEN..start).unwrap_or_default());
}

impl Tsig {
    fn read(key: Name, data: &[u8]) -> Result<Tsig, WireError> {
        // RFC 3597 section 4: names in the data of new types are never compressed.
        let (algorithm, n) = Name::from_wire_prefix(data)?;
        let (fixed, rest) = split::<10>(&data[n..])?;
        let [a, b, c, d, e, f, fudge @ .., l, m] = fixed;
        let (mac, rest) = take(rest, u16::from_be_bytes([l, m]))?;
        let (tail, rest) = split::<6>(rest)?;
        let [id_hi, id_lo, error_hi, error_lo, len_hi, len_lo] = tail;
        let (other, rest) = take(rest, u16::from_be_bytes([len_hi, len_lo]))?;
        if !rest.is_empty() {
            return Err(WireError::BadRdata);
        }
        Ok(Tsig {
            key,
            algorithm,
            time_s: u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
            fudge_s: u16::from_be_bytes(fudge),
            mac: mac.to_vec(),
            original_id: u16::from_be_bytes([id_hi, id_lo]),
            error: Error(u16::from_be_bytes([error_hi, error_lo])),
            other: other.to_vec(),
        })
    }

    /// Appends the record to a message and counts it.
    pub(super) fn append(&self, message: &mut Vec<u8>) {
        let mut data = self.algorithm.wire().to_vec();
        self.put_timers(&mut data);
        put_counted(&mut data, &self.mac);
        data.extend_from_slice(&self.original_id.to_be_bytes());
        data.extend_from_slice(&self.error.0.to_be_bytes());
        put_counted(&mut data, &self.other);
        message.extend_from_slice(self.key.wire());
        message.extend_from_slice(&Rtype::TSIG.0.to_be_bytes());
        message.extend_from_slice(&Class::ANY.0.to_be_bytes());
        message.extend_from_slice(&[0; 4]);
        put_counted(message, &data);
        if let Some(header) = message.first_chunk_mut::<HEADER_LEN>() {
            let additional = u16::from_be_bytes([header[10], header[11]]).wrapping_add(1);
            header[10..].copy_from_slice(&additional.to_be_bytes());
        }
    }

    /// What a MAC covers of the record.
    pub(super) fn covered(&self, form: Form) -> Vec<u8> {
        let mut out = Vec::new();
        if form == Form::Timers {
            self.put_timers(&mut out);
            return out;
        }
        out.extend_from_slice(self.key.to_lowercase().wire());
        out.extend_from_slice(&Class::ANY.0.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(self.algorithm.to_lowercase().wire());
        self.put_timers(&mut out);
        out.extend_from_slice(&self.error.0.to_be_bytes());
        put_counted(&mut out, &self.other);
        out
    }

    fn put_timers(&self, out: &mut Vec<u8>) {
        let time = self.time_s.min(TIME_MAX_S).to_be_bytes();
        out.extend_from_slice(&time[2..]);
        out.extend_from_slice(&self.fudge_s.to_be_bytes());
    }

    /// RFC 8945 section 5.2.3: within the fudge that its sender allows.
    pub(super) fn is_timely(&self, now_s: u64) -> bool {
        now_s.abs_diff(self.time_s) <= u64::from(self.fudge_s)
    }
}

/// Octets behind their count.
fn put_counted(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend_from_slice(&(octets.len() as u16).to_be_bytes());
    out.extend_from_slice(octets);
}

fn split<const N: usize>(octets: &[u8]) -> Result<([u8; N], &[u8]), WireError> {
    let (head, rest) = octets.split_first_chunk().ok_or(WireError::BadRdata)?;
    Ok((*head, rest))
}

fn take(octets: &[u8], len: u16) -> Result<(&[u8], &[u8]), WireError> {
    (octets.split_at_checked(usize::from(len))).ok_or(WireError::BadRdata)
}
