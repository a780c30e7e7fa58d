//! Records as text (RFC 1035 section 5.1), for exports, traces and messages.
//!
//! A table says how the data of each common type is written. What is not in it, or does not have the
//! form that its type asks for, is written as RFC 3597 does; [`super::parse`] reads all of it back.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use time::OffsetDateTime;

use super::{loc, svcb};
use crate::dns::rdata::type_bitmap;
use crate::dns::{Name, Record, RrSet, Rtype, TypeBitmap};
use crate::dnssec::nsec3::hash_label;

/// A field of a type's text form.
#[derive(Clone, Copy)]
enum Field {
    /// A domain name.
    Name,
    /// Numbers of one, two and four octets.
    U8,
    U16,
    U32,
    /// Addresses.
    V4,
    V6,
    /// A length octet and text.
    Text,
    /// One or more of these up to the end.
    Texts,
    /// A length octet and a word without quotes.
    Tag,
    /// Text up to the end.
    TextRest,
    /// Everything left, at least one octet, in hexadecimal or base64.
    Hex,
    Base64,
    /// A type by its mnemonic.
    Type,
    /// Seconds since 1970 as YYYYMMDDHHmmSS.
    Time,
    /// A length octet and salt in hexadecimal, `-` when empty.
    Salt,
    /// A length octet and an NSEC3 hash in base32hex.
    Hash,
    /// Type bitmap up to the end.
    Types,
    /// Everything of a LOC record.
    Place,
    /// Everything of an SVCB or HTTPS record.
    Service,
}

fn form(rtype: Rtype) -> Option<&'static [Field]> {
    use Field::*;
    Some(match rtype {
        Rtype::A => &[V4],
        Rtype::AAAA => &[V6],
        Rtype::NS | Rtype::CNAME | Rtype::PTR | Rtype::DNAME => &[Name],
        Rtype::MB | Rtype::MG | Rtype::MR => &[Name],
        Rtype::MINFO | Rtype::RP => &[Name, Name],
        Rtype::SOA => &[Name, Name, U32, U32, U32, U32, U32],
        Rtype::MX => &[U16, Name],
        Rtype::SRV => &[U16, U16, U16, Name],
        Rtype::NAPTR => &[U16, U16, Text, Text, Text, Name],
        Rtype::TXT => &[Texts],
        Rtype::HINFO => &[Text, Text],
        Rtype::CAA => &[U8, Tag, TextRest],
        Rtype::DS | Rtype::CDS => &[U16, U8, U8, Hex],
        Rtype::DNSKEY | Rtype::CDNSKEY => &[U16, U8, U8, Base64],
        Rtype::RRSIG => &[Type, U8, U8, U32, Time, Time, U16, Name, Base64],
        Rtype::NSEC => &[Name, Types],
        Rtype::NSEC3 => &[U8, U8, U16, Salt, Hash, Types],
        Rtype::NSEC3PARAM => &[U8, U8, U16, Salt],
        Rtype::ZONEMD => &[U32, U8, U8, Hex],
        Rtype::TLSA => &[U8, U8, U8, Hex],
        Rtype::SSHFP => &[U8, U8, Hex],
        Rtype::OPENPGPKEY => &[Base64],
        Rtype::LOC => &[Place],
        Rtype::SVCB | Rtype::HTTPS => &[Service],
        _ => return None,
    })
}

/// The record on one line, without the line end: owner, TTL, class, type and data, between tabs.
pub fn record(record: &Record) -> String {
    let Record {
        name, ttl, class, ..
    } = record;
    let data = type_and_data(record.rtype, &record.rdata);
    format!("{name}\t{ttl}\t{class}\t{data}")
}

/// A set's records, each on a line of its own, then its signatures.
pub fn rrset(set: &RrSet) -> String {
    set.records(true).map(|r| record(&r) + "\n").collect()
}

/// A record's data; of types without a text form here as `\# LENGTH HEX` (RFC 3597 section 5).
pub fn data(rtype: Rtype, rdata: &[u8]) -> String {
    typed(rtype, rdata).unwrap_or_else(|| generic(rdata))
}

fn type_and_data(rtype: Rtype, rdata: &[u8]) -> String {
    match typed(rtype, rdata) {
        Some(text) => format!("{rtype}\t{text}"),
        // By number: a reader need not know the mnemonic either.
        None => format!("TYPE{}\t{}", rtype.0, generic(rdata)),
    }
}

fn generic(rdata: &[u8]) -> String {
    match rdata.len() {
        0 => "\\# 0".to_owned(),
        n => format!("\\# {n} {}", hex(rdata)),
    }
}

fn typed(rtype: Rtype, rdata: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(rdata.len() * 2);
    let mut rest = rdata;
    for field in form(rtype)? {
        if !out.is_empty() {
            out.push(' ');
        }
        write_field(&mut out, *field, &mut rest)?;
    }
    rest.is_empty().then(|| out.trim_end().to_owned())
}

/// Writes one field and takes its octets off `rest`; `None` when they do not fit.
fn write_field(out: &mut String, field: Field, rest: &mut &[u8]) -> Option<()> {
    match field {
        Field::Name => {
            let (name, len) = Name::from_wire_prefix(rest).ok()?;
            take(rest, len)?;
            write!(out, "{name}").ok()
        }
        Field::U8 => write!(out, "{}", take(rest, 1)?[0]).ok(),
        Field::U16 => write!(out, "{}", number(take(rest, 2)?)).ok(),
        Field::U32 => write!(out, "{}", number(take(rest, 4)?)).ok(),
        Field::V4 => write!(
            out,
            "{}",
            Ipv4Addr::from(*take(rest, 4)?.first_chunk::<4>()?)
        )
        .ok(),
        Field::V6 => write!(
            out,
            "{}",
            Ipv6Addr::from(*take(rest, 16)?.first_chunk::<16>()?)
        )
        .ok(),
        Field::Text => quoted(out, counted(rest)?),
        Field::Texts => {
            quoted(out, counted(rest)?)?;
            while !rest.is_empty() {
                out.push(' ');
                quoted(out, counted(rest)?)?;
            }
            Some(())
        }
        Field::Tag => {
            let tag = counted(rest)?;
            let plain = !tag.is_empty() && tag.iter().all(u8::is_ascii_alphanumeric);
            plain.then(|| out.extend(tag.iter().map(|&b| b as char)))
        }
        Field::TextRest => quoted(out, std::mem::take(rest)),
        Field::Hex => some_of(rest).map(|octets| out.push_str(&hex(octets))),
        Field::Base64 => some_of(rest).map(|octets| base64(out, octets)),
        Field::Type => write!(out, "{}", Rtype(number(take(rest, 2)?) as u16)).ok(),
        Field::Time => {
            let moment = OffsetDateTime::from_unix_timestamp(number(take(rest, 4)?).into()).ok()?;
            let (date, time) = (moment.date(), moment.time());
            let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
            let (hour, minute, second) = time.as_hms();
            write!(
                out,
                "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}"
            )
            .ok()
        }
        Field::Salt => {
            match counted(rest)? {
                [] => out.push('-'),
                salt => out.push_str(&hex(salt)),
            }
            Some(())
        }
        Field::Hash => {
            let label = hash_label(counted(rest)?.try_into().ok()?);
            out.extend(label.iter().map(|&b| b as char));
            Some(())
        }
        Field::Place => loc::text(std::mem::take(rest)).map(|text| out.push_str(&text)),
        Field::Service => svcb::text(std::mem::take(rest)).map(|text| out.push_str(&text)),
        Field::Types => {
            let bitmap = TypeBitmap(std::mem::take(rest));
            let types: Vec<Rtype> = bitmap.types().collect();
            // RFC 4034 section 4.1.2 forbids empty octets at the end, which the text could not bring back.
            if type_bitmap(&types) != bitmap.0 {
                return None;
            }
            let names: Vec<String> = types.iter().map(|t| t.to_string()).collect();
            out.push_str(&names.join(" "));
            Some(())
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

/// A length octet and as many octets.
fn counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = take(rest, 1)?[0];
    take(rest, len.into())
}

/// Everything left, if there is anything.
fn some_of<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let all = std::mem::take(rest);
    (!all.is_empty()).then_some(all)
}

fn number(octets: &[u8]) -> u32 {
    octets.iter().fold(0, |n, &b| n << 8 | u32::from(b))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

pub(super) fn quoted(out: &mut String, text: &[u8]) -> Option<()> {
    out.push('"');
    for &b in text {
        match b {
            b'"' | b'\\' => out.extend(['\\', b as char]),
            0x20..=0x7E => out.push(b as char),
            _ => write!(out, "\\{b:03}").ok()?,
        }
    }
    out.push('"');
    Some(())
}

pub(super) fn base64(out: &mut String, octets: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in octets.chunks(3) {
        let word =
            group.iter().fold(0u32, |w, &b| w << 8 | u32::from(b)) << (8 * (3 - group.len()));
        for i in 0..4 {
            out.push(match i <= group.len() {
                true => DIGITS[(word >> (18 - 6 * i)) as usize & 63] as char,
                false => '=',
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::records;
    use super::*;
    use crate::dns::{Class, rdata};
    use rand::{RngExt, SeedableRng, rngs::SmallRng};

    fn read(text: &str) -> Vec<Record> {
        let all = records(text.as_bytes(), "z", None);
        all.collect::<Result<_, _>>()
            .unwrap_or_else(|e| panic!("{e} in {text}"))
    }

    #[test]
    fn lines_are_written_as_they_are_read() {
        for line in [
            "a.b.\t60\tIN\tA\t192.0.2.1",
            "a.b.\t60\tIN\tAAAA\t2001:db8::1",
            r#"\@.b.	60	IN	TXT	"a\"b\\;" "" "\000\255""#,
            "a.b.\t60\tIN\tSOA\tns.b. h.b. 1 2 3 4 5",
            "a.b.\t60\tIN\tSRV\t1 2 3 .",
            r#"a.b.	60	IN	NAPTR	1 2 "u" "e2u" "!x!y!" ."#,
            r#"a.b.	60	IN	CAA	0 issue "ca; x=y""#,
            "a.b.\t60\tIN\tDS\t1 8 2 00ff",
            "a.b.\t60\tIN\tDNSKEY\t257 3 13 AAECAw==",
            "a.b.\t60\tIN\tRRSIG\tTYPE700 13 2 60 20260813200000 19700101000000 7 b. AAECAwQ=",
            "a.b.\t60\tIN\tNSEC\tB. A TXT TYPE65280",
            "a.b.\t60\tIN\tNSEC3\t1 1 12 aabb 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG",
            "a.b.\t60\tIN\tNSEC3\t1 0 0 - 2vptu5timamqttgl4luu9kg21e0aor3s",
            "a.b.\t60\tIN\tNSEC3PARAM\t1 0 0 -",
            "a.b.\t60\tIN\tTYPE65280\t\\# 0",
            "a.b.\t60\tIN\tTYPE64\t\\# 4 00010000",
            "a.b.\t60\tIN\tSVCB\t1 .",
            "a.b.\t60\tIN\tHTTPS\t16 c.d. alpn=\"h2,h3\" port=53 key700=\"\\000\"",
            "a.b.\t60\tIN\tTYPE47\t\\# 5 0000024000",
            "a.b.\t60\tIN\tLOC\t42 21 54.000 N 71 6 18.000 W -24.00m 30m 10000m 10m",
            "a.b.\t60\tIN\tTYPE29\t\\# 2 0000",
        ] {
            assert_eq!(record(&read(line)[0]), line);
        }
    }

    #[test]
    fn the_root_zone_survives_the_way_through_text() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/zones/root.zone");
        let text = std::fs::read_to_string(path).unwrap();
        let before = read(&text);
        let again: String = before.iter().map(|r| record(r) + "\n").collect();
        assert_eq!(read(&again), before);
    }

    // Whatever data a type may have comes back the same.
    #[test]
    fn any_data_survives_the_way_through_text() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut typed_forms = 0;
        for i in 0..30_000u32 {
            let rtype = Rtype((i % 270) as u16);
            let len = rng.random_range(0..40);
            let mut octets: Vec<u8> = (0..len).map(|_| rng.random_range(0..12)).collect();
            if rng.random_ratio(1, 3) {
                octets.iter_mut().for_each(|b| *b = rng.random());
            }
            if rtype.is_meta() || rtype.0 == 0 || rdata::check(&octets, rtype).is_err() {
                continue;
            }
            typed_forms += u32::from(typed(rtype, &octets).is_some());
            let before = Record {
                name: "a.".parse().unwrap(),
                rtype,
                class: Class::IN,
                ttl: 1,
                rdata: octets.into(),
            };
            assert_eq!(read(&record(&before)), [before]);
        }
        assert!(typed_forms > 500, "{typed_forms}");
    }

    #[test]
    fn every_mnemonic_is_read_back() {
        let types: Vec<Rtype> = (1..1000).chain(32_000..33_000).map(Rtype).collect();
        let data = [&b"\0"[..], &rdata::type_bitmap(&types)].concat();
        let nsec = Record {
            name: "a.".parse().unwrap(),
            rtype: Rtype::NSEC,
            class: Class::IN,
            ttl: 1,
            rdata: data.into(),
        };
        assert_eq!(read(&record(&nsec)), [nsec]);
    }
}
