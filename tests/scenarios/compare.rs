//! An answer beside what the step says is right.

use std::collections::BTreeMap;
use std::net::IpAddr;

use holdfast::dns::{Message, Rcode, Record, Rtype};

use crate::file::{Load, Step, rcode};
use crate::script::lines;

/// Whether a word is among others.
pub fn has(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|w| w == word)
}

/// `text` for the question of this number.
pub fn numbered(text: &str, number: usize) -> String {
    text.replace("{n}", &number.to_string())
}

/// What is wrong with the answer to the question of this number.
pub fn answer(step: &Step, number: usize, reply: &Message, steady: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let errors = reply.errors();
    if reply.rcode != rcode(&step.rcode) {
        faults.push(format!(
            "{} instead of {}: {errors:?}",
            reply.rcode, step.rcode
        ));
    }
    let flags = [
        ("ad", reply.authentic_data),
        ("aa", reply.authoritative),
        ("tc", reply.truncated),
    ];
    for (flag, set) in flags {
        if set != has(&step.flags, flag) {
            faults.push(format!("{flag} is {set}"));
        }
    }
    faults.extend(answer_section(
        &step.answer,
        step.answer_records,
        number,
        reply,
    ));
    for (what, expected, found) in [
        ("authority", &step.authority, &reply.authority),
        ("additional", &step.additional, &reply.additional),
    ] {
        let expected = expected.as_deref();
        faults.extend(expected.and_then(|text| section(what, text, found)));
    }
    if steady {
        faults.extend(only_steady(step, reply));
    }
    let ttl_s = reply.answer.iter().map(|r| r.ttl).max().unwrap_or(0);
    if step.ttl_max_s.is_some_and(|max| ttl_s > max) {
        faults.push(format!("a TTL of {ttl_s}"));
    }
    faults
}

/// What is wrong with an answer to a load.
pub struct Wrong {
    /// It is a plain failure.
    pub is_failure: bool,
    pub text: String,
}

/// What is wrong with the answer to the question of this number of a load.
pub fn answered(load: &Load, number: usize, reply: &Message, steady: bool) -> Option<Wrong> {
    let errors = reply.errors();
    let wrong = |text| {
        Some(Wrong {
            is_failure: reply.rcode == Rcode::SERVFAIL,
            text: format!("{text}: {errors:?}"),
        })
    };
    if reply.rcode != rcode(&load.rcode) {
        return wrong(format!("{} instead of {}", reply.rcode, load.rcode));
    }
    if let Some(text) = answer_section(&load.answer, None, number, reply) {
        return wrong(text);
    }
    if load.ad.is_some_and(|ad| ad != reply.authentic_data) {
        return wrong(format!("ad is {}", reply.authentic_data));
    }
    let has = |code| errors.iter().any(|e| e.code == code);
    match load.ede.filter(|_| steady).is_some_and(|code| !has(code)) {
        true => wrong("another extended error".into()),
        false => None,
    }
}

fn answer_section(
    expected: &str,
    records: Option<usize>,
    number: usize,
    reply: &Message,
) -> Option<String> {
    let row = |r: &Record| (r.name.clone(), r.rtype, r.rdata.clone());
    let found = reply.answer.iter().filter(|r| r.rtype != Rtype::RRSIG);
    let mut found: Vec<_> = found.map(row).collect();
    let expected = lines(&numbered(expected, number));
    let mut right: Vec<_> = expected.iter().map(row).collect();
    found.sort();
    right.sort();
    let is_right = match records {
        Some(count) => count == found.len(),
        None => found == right,
    };
    (!is_right).then(|| {
        let words = found
            .iter()
            .map(|(n, t, d)| format!("{n} {t} {}", data(*t, d)));
        let words: Vec<String> = words.collect();
        format!("the answer is [{}]", words.join(", "))
    })
}

/// Owners and types of a whole section.
fn section(what: &str, expected: &str, found: &[Record]) -> Option<String> {
    let found = found.iter().filter(|r| r.rtype != Rtype::RRSIG);
    let found = found.map(|r| format!("{} {}", r.name.to_lowercase(), r.rtype));
    let mut found: Vec<String> = found.collect();
    let right = expected.lines().map(str::trim).filter(|l| !l.is_empty());
    let mut right: Vec<String> = right.map(str::to_owned).collect();
    found.sort();
    right.sort();
    (found != right).then(|| format!("the {what} section is [{}]", found.join(", ")))
}

fn only_steady(step: &Step, reply: &Message) -> Vec<String> {
    let mut faults = Vec::new();
    let errors = reply.errors();
    if let Some(code) = step.ede
        && !errors.iter().any(|e| e.code == code)
    {
        faults.push(format!("extended errors {errors:?} without {code}"));
    }
    if let Some(text) = &step.ede_text
        && !errors.iter().any(|e| e.text.contains(text))
    {
        faults.push(format!("extended errors {errors:?} without \"{text}\""));
    }
    if let Some(ttl_s) = step.ttl_s {
        let mut records = reply.answer.iter().chain(&reply.authority);
        if let Some(other) = records.find(|r| r.ttl != ttl_s) {
            faults.push(format!(
                "{} {} has {} s",
                other.name, other.rtype, other.ttl
            ));
        }
    }
    faults
}

/// What of `counted` is not so, between the numbers before and after.
pub fn counted(
    step: &Step,
    before: &BTreeMap<&'static str, u64>,
    after: &BTreeMap<&'static str, u64>,
) -> Vec<String> {
    let wrong = |row: &String| {
        let (name, range) = row.split_once(' ').expect("NAME COUNT");
        let now = *after
            .get(name)
            .unwrap_or_else(|| panic!("nothing counts {name}"));
        let found = match name.ends_with("_total") {
            true => now - before[name],
            false => now,
        };
        let number = |text: &str, or| match text {
            "" => or,
            _ => text.parse().expect("a number"),
        };
        let (min, max) = range.split_once("..").unwrap_or((range, range));
        let fits = (number(min, 0)..=number(max, u64::MAX)).contains(&found);
        (!fits).then(|| format!("{name} is {found}, not {range}"))
    };
    step.counted.iter().filter_map(wrong).collect()
}

/// What of `traced` is missing in the text, or stands elsewhere.
pub fn traced(step: &Step, text: &str) -> Vec<String> {
    let mut rest = text;
    for piece in &step.traced {
        match rest.split_once(piece.as_str()) {
            Some((_, after)) => rest = after,
            None => return vec![format!("\"{piece}\" is not where it should be in:\n{text}")],
        }
    }
    Vec::new()
}

/// Data for people.
fn data(rtype: Rtype, rdata: &[u8]) -> String {
    match rtype {
        Rtype::A => IpAddr::from(<[u8; 4]>::try_from(rdata).unwrap()).to_string(),
        Rtype::AAAA => IpAddr::from(<[u8; 16]>::try_from(rdata).unwrap()).to_string(),
        _ => match holdfast::dns::rdata::single_name(rdata) {
            Some(name) => name.to_string(),
            None => format!("{rdata:02x?}"),
        },
    }
}
