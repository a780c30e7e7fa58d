//! `docs/config.md`: every key of the configuration, from the code's own doc comments, from what the reader of the configuration says is
//! allowed when it refuses a value, and from `config.toml`, which a test of its own holds to the defaults.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use holdfast::config::Config;

use super::source::{self, Item, Part};
use super::{kept, read};

pub const INTRODUCTION: &str = "\
The configuration is one TOML file of up to 1 MiB. A path in it is relative to the directory of the file. A key that is left out \
has its default; an unknown key is a fault, and each fault is told as FILE:LINE with what is allowed. Numbers have their unit in the name of the \
key (_s, _ms); sizes are texts such as \"256MiB\", times such as \"90d\". `holdfast check` reads the file and says what is wrong with it. \
A reload (SIGHUP, `systemctl reload holdfast`) takes up [access], [[zone]], [reachability.sets] and reachability.domestic, the files of \
[server.tls], udp_size_max, negative_trust_anchors, log.level and log.servfail; a change of any other key is logged and waits for the next start.";

/// One table of the configuration.
pub struct Section {
    /// As it is written, such as `[server]`.
    pub title: String,
    pub text: String,
    pub keys: Vec<Key>,
}

pub struct Key {
    /// As it is written in its table; a key of a table inside a list has its list before it.
    pub name: String,
    pub meaning: String,
    /// Words that it may hold, with what they mean.
    pub words: Vec<(String, String)>,
    pub default: String,
    pub allowed: String,
    /// What `config.toml` says of it.
    pub remark: String,
}

/// The types that hold a table's keys, and those of the tables inside its lists.
const TABLES: &[(&str, &[&str])] = &[
    ("server", &["Server"]),
    ("server.tls", &["ServerTls"]),
    ("access", &["Access"]),
    ("resolver", &["Resolver"]),
    ("forward", &["Forward"]),
    ("cache", &["Cache"]),
    ("stale", &["Stale"]),
    ("retained", &["Retained"]),
    ("mirror", &["MirrorConfig"]),
    ("zone", &["ZoneConfig"]),
    ("tsig", &["TsigKey"]),
    ("catalog", &["Catalog", "MirrorConfig"]),
    ("reachability", &["Reachability"]),
    ("names", &["Names"]),
    ("alerts", &["Alerts"]),
    ("limits", &["Limits"]),
    ("control", &["Control"]),
    ("log", &["Log"]),
    ("dnstap", &["Dnstap"]),
    ("lab", &["Lab"]),
];
const INSIDE: &[(&str, &[&str])] = &[
    ("access.allow_transfer", &["Peer"]),
    ("resolver.negative_trust_anchors", &["NegativeTrustAnchor"]),
    ("mirror.sources", &["Source", "AxfrTls", "ClientFiles"]),
    ("mirror.notify", &["NotifyTarget"]),
];
/// Type, key, and the name of its field where that is another one.
const FIELDS: &[(&str, &str, &str)] = &[
    ("Resolver", "root_hints", "hints"),
    ("Resolver", "trust_anchor", "anchors"),
    ("ServerTls", "cert", "identity"),
    ("ServerTls", "key", "identity"),
    ("TsigKey", "name", "key"),
    ("TsigKey", "algorithm", "key"),
    ("Source", "axfr", "addr"),
    ("Source", "https", "url"),
    ("AxfrTls", "tls_name", "name"),
    ("NotifyTarget", "address", "addr"),
    ("Peer", "address", "net"),
];

/// Keys whose value in `config.toml` is an example: they have no default.
const EXAMPLES: &[&str] = &[
    "server.tls.",
    "forward.zone",
    "forward.servers",
    "mirror.zone",
    "mirror.sources",
    "mirror.bootstrap",
    "zone.name",
    "zone.file",
    "tsig.name",
    "tsig.secret_file",
    "catalog.zone",
    "catalog.sources",
    "resolver.root_hints",
    "resolver.trust_anchor",
];

/// What `config.toml` shows of a key.
struct Shown {
    default: String,
    remark: String,
}

/// The keys of `config.toml` in its order.
fn shown() -> Vec<(String, Shown)> {
    let mut table = String::new();
    let mut found = Vec::new();
    for line in read("config.toml").lines() {
        if line.starts_with('[') {
            let head = line.split('#').next().unwrap().trim();
            table = head.trim_matches(['[', ']']).to_owned();
            continue;
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        let Some((key, rest)) = line.split_once(" = ") else {
            continue;
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.".contains(&b);
        if !key.bytes().all(plain) || key.starts_with('.') {
            continue;
        }
        let (default, remark) = rest.split_once(" #").unwrap_or((rest, ""));
        let top = key.split('.').next().unwrap();
        // Tables that are left out stand at the end of another one, with their own name before the key.
        let left_out = key.contains('.') && TABLES.iter().any(|(name, _)| *name == top);
        let path = match left_out {
            true => key.to_owned(),
            false => format!("{table}.{key}"),
        };
        found.push((
            path,
            Shown {
                default: format!("`{}`", default.trim()),
                remark: remark.trim().to_owned(),
            },
        ));
    }
    found
}

/// All tables with all keys.
pub fn sections() -> Vec<Section> {
    let files = source::files("config");
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let items = source::items(&names);
    let mut shown = shown();
    let place =
        |key: &str, shown: &[(String, Shown)]| shown.iter().position(|(path, _)| path == key);
    // Keys inside a list come after the list.
    let mut known = Config::known_keys();
    known.retain(|key| !known_tables(key));
    let mut order: Vec<(usize, String)> = Vec::new();
    for key in known {
        let (list, _) = key.rsplit_once('.').unwrap();
        let at = place(&key, &shown).or_else(|| place(list, &shown));
        let at = at.unwrap_or_else(|| panic!("{key} is not in config.toml"));
        order.push((at, key));
    }
    order.sort();
    let heads = items["Config"].parts.iter().map(|part| head(&part.docs));
    let heads: BTreeMap<String, (String, String)> = heads.flatten().collect();
    let mut sections: Vec<Section> = Vec::new();
    for (at, key) in order {
        let table = TABLES
            .iter()
            .filter(|(name, _)| key.starts_with(&format!("{name}.")));
        let (table, types) = table.max_by_key(|(name, _)| name.len()).unwrap();
        let name = &key[table.len() + 1..];
        if sections
            .last()
            .is_none_or(|last| last.title.trim_matches(['[', ']']) != *table)
        {
            let own = types.iter().find_map(|name| head(&items.get(*name)?.docs));
            let head = heads.get(*table).cloned().or(own.map(|(_, head)| head));
            let (title, text) = head.unwrap_or_else(|| panic!("[{table}] lacks a text"));
            sections.push(Section {
                title,
                text,
                keys: Vec::new(),
            });
        }
        let inside = INSIDE
            .iter()
            .find(|(list, _)| key.starts_with(&format!("{list}.")));
        let types = inside.map_or(types, |(_, types)| types);
        let part =
            field(name, types, &items).unwrap_or_else(|| panic!("{key}: no field in {types:?}"));
        let allowed = allowed(table, name);
        let here = (shown[at].0 == key).then(|| {
            let Shown { default, remark } = &mut shown[at].1;
            (std::mem::take(default), std::mem::take(remark))
        });
        let (value, remark) = here.unwrap_or(("left out".to_owned(), String::new()));
        let is_example = |example: &&str| match example.ends_with('.') {
            true => key.starts_with(*example),
            false => key == **example,
        };
        let default = match EXAMPLES.iter().any(is_example) {
            true => format!("none; for example {value}"),
            false => value,
        };
        let (meaning, remark) = said_once(&part.docs, remark);
        sections.last_mut().unwrap().keys.push(Key {
            name: name.to_owned(),
            meaning,
            words: words(part, &allowed, &items),
            default,
            allowed,
            remark,
        });
    }
    sections
}

/// Meaning and remark, where one says all that the other does the longer one alone.
fn said_once(meaning: &str, remark: String) -> (String, String) {
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let (told, more) = (plain(meaning), plain(&remark));
    if told.contains(&more) {
        (meaning.to_owned(), String::new())
    } else if more.contains(&told) {
        (format!("{}.", capital(&remark)), String::new())
    } else {
        (meaning.to_owned(), remark)
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

/// Whether this names a table and no key.
fn known_tables(key: &str) -> bool {
    !key.contains('.') || TABLES.iter().any(|(name, _)| *name == key)
}

/// "`[server]`: where it listens." as name, title and text.
fn head(docs: &str) -> Option<(String, (String, String))> {
    let (title, text) = docs.strip_prefix('`')?.split_once("`: ")?;
    let name = title.trim_matches(['[', ']']).to_owned();
    Some((name, (title.to_owned(), capital(text))))
}

fn field<'i>(name: &str, types: &[&str], items: &'i BTreeMap<String, Item>) -> Option<&'i Part> {
    let last = name.rsplit('.').next().unwrap();
    for name in types {
        let item = items.get(*name)?;
        let other = FIELDS
            .iter()
            .find(|(of, key, _)| of == name && *key == last);
        let wanted = other.map_or(last, |(_, _, field)| field);
        let variants = item.parts.iter().flat_map(|part| &part.parts);
        let fits = |part: &&Part| {
            let rest = part.name.strip_prefix(wanted);
            !part.docs.is_empty() && rest.is_some_and(|rest| ["", "_", "_s"].contains(&rest))
        };
        if let Some(found) = item.parts.iter().chain(variants).find(fits) {
            return Some(found);
        }
    }
    None
}

/// What the reader says is allowed when it is given something that nothing allows.
fn allowed(table: &str, name: &str) -> String {
    let lists = ["forward", "mirror", "zone", "tsig", "catalog"];
    let head = match lists.contains(&table) {
        true => format!("[[{table}]]"),
        false => format!("[{table}]"),
    };
    let value = match name.split_once('.') {
        Some((list, inner)) => format!("{list} = [{{ {inner} = 1.5 }}]"),
        None => format!("{name} = 1.5"),
    };
    let error = Config::parse(Path::new("config.toml"), &format!("{head}\n{value}\n")).unwrap_err();
    let place = format!(" {table}.{name}: ");
    let told = error
        .faults()
        .iter()
        .map(ToString::to_string)
        .find_map(|fault| {
            let (_, fault) = fault.split_once(&place)?;
            let words = ["allowed is ", "allowed are "];
            words
                .iter()
                .find_map(|word| Some(fault.split_once(word)?.1.to_owned()))
        });
    told.unwrap_or_else(|| panic!("{table}.{name}: nothing is said of what is allowed: {error}"))
}

/// The words of an enumeration that are allowed, with what they mean.
fn words(part: &Part, allowed: &str, items: &BTreeMap<String, Item>) -> Vec<(String, String)> {
    let Some(item) = items.get(&part.kind).filter(|item| item.is_enum) else {
        return Vec::new();
    };
    let word = |variant: &Part| {
        let word = variant.name.to_lowercase();
        let fits = allowed.contains(&format!("\"{word}\""));
        fits.then(|| (word, variant.docs.clone()))
    };
    item.parts.iter().filter_map(word).collect()
}

fn markdown(sections: &[Section]) -> String {
    let mut out = format!(
        "# Configuration reference\n\n<!-- Made by tests/packaging/reference.rs from the doc comments of src/config and from config.toml. -->\n\n\
         {INTRODUCTION}\n\n[`config.toml`](../config.toml) is the same as a file to start from.\n"
    );
    for section in sections {
        let _ = write!(out, "\n## `{}`\n\n{}\n", section.title, section.text);
        for key in &section.keys {
            let _ = write!(out, "\n### `{}`\n\n{}\n\n", key.name, key.meaning);
            for (word, meaning) in &key.words {
                let _ = writeln!(out, "- `\"{word}\"`: {meaning}");
            }
            let _ = writeln!(out, "- Default: {}", key.default);
            let _ = writeln!(out, "- Allowed: {}", key.allowed);
            if !key.remark.is_empty() {
                let _ = writeln!(out, "- Remark: {}", key.remark);
            }
        }
    }
    out
}

#[test]
fn every_key_is_in_the_reference_with_a_text() {
    let sections = sections();
    let count: usize = sections.iter().map(|section| section.keys.len()).sum();
    assert_eq!(
        count,
        Config::known_keys()
            .iter()
            .filter(|key| !known_tables(key))
            .count()
    );
    for section in &sections {
        assert!(!section.text.is_empty(), "{} lacks a text", section.title);
        for key in &section.keys {
            let place = format!("{} {}", section.title, key.name);
            assert!(!key.meaning.is_empty(), "{place} lacks a text");
            // What a key that is left out means is told to people who do not read Rust.
            assert!(!key.meaning.contains("None"), "{place}: {}", key.meaning);
            assert!(
                !key.default.is_empty() && !key.allowed.is_empty(),
                "{place}"
            );
        }
    }
    kept("docs/config.md", &markdown(&sections));
}
