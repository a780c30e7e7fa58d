//! Every command has a text, an example that its own parser takes, a form for people, and a documented form for scripts.
//!
//! `docs/commands.schema.json` is made from the types that are printed and their doc comments; then each command is run against a live
//! server, and what it prints is held to the schema, which knows no key that is not documented.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::daemon::{Daemon, eventually, program};
use super::made::{examples, leaves};
use super::schema::Schema;
use super::source::{self, Item, Part};
use super::{kept, read};

/// What each command prints with `--json`: a type, or a list of it. Two say which of two.
const PRINTED: &[(&str, &str)] = &[
    ("check", "Checked"),
    ("status", "Status"),
    ("top", "Top"),
    ("mirror list", "Vec<MirrorStatus>"),
    ("mirror show", "Vec<GenerationInfo>"),
    ("mirror refresh", "MirrorDone"),
    ("mirror accept", "MirrorDone"),
    ("mirror rollback", "MirrorDone"),
    ("mirror import", "MirrorDone"),
    ("mirror export", "Exported"),
    ("mirror diff", "Compared"),
    ("trace", "TraceReport"),
    ("drill start", "DrillState"),
    ("drill stop", "DrillState"),
    ("cache stats", "CacheStatus"),
    ("cache flush", "FlushDone"),
    ("clock reset", "ClockReset"),
    ("zone verify", "VerifiedZone|RefusedZone"),
    ("convert unbound", "Converted"),
];
/// Those that have a schema of their own, and the log.
const ELSEWHERE: &[(&str, &str)] = &[
    ("readiness", "report.schema.json#/$defs/report"),
    ("drill report", "report.schema.json#/$defs/drillReport"),
];
/// What any of them prints when it comes to nothing.
const FAILED: &str = "Failed";

/// The words of a command line as a shell would have them, up to a pipe or a file.
pub fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '|' | '>' | '<' | '#') => break,
            (None, ' ') => words.push(String::new()),
            (_, c) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_has_a_text_and_an_example_that_parses() {
    let leaves = leaves();
    assert!(leaves.len() > 20, "{}", leaves.len());
    for (path, command) in &leaves {
        let path = path.join(" ");
        assert!(command.get_about().is_some(), "{path} has no text");
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{path}: {}",
                argument.get_id()
            );
        }
        let examples = examples(command);
        assert!(!examples.is_empty(), "{path} --help has no example");
        for example in examples {
            assert!(example.starts_with(&path), "{path}: {example}");
            let parsed = holdfast::cli::command().try_get_matches_from(words(&example));
            assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
        }
    }
}

#[test]
fn every_command_is_in_the_readme_and_has_a_documented_form_for_scripts() {
    let readme = read("README.md");
    for (path, _) in leaves() {
        let command = path[1..].join(" ");
        let name = match path.len() {
            2 => format!("`holdfast {command}"),
            _ => command.clone(),
        };
        assert!(readme.contains(&name), "README.md does not name {command}");
        let told = PRINTED
            .iter()
            .chain(ELSEWHERE)
            .any(|(told, _)| *told == command);
        assert!(
            told || command == "run",
            "{command} --json is not documented"
        );
    }
}

/// The schema in the making.
struct Maker {
    items: std::collections::BTreeMap<String, Item>,
    made: Map<String, Value>,
}

impl Maker {
    fn new() -> Maker {
        let mut files: Vec<String> = vec!["control/status.rs".into()];
        files.extend(source::files("control/status"));
        let others = [
            "control/trace.rs",
            "resolve/trace.rs",
            "drill/report.rs",
            "mirror/status.rs",
            "mirror/health.rs",
            "mirror/verify/told.rs",
            "cli/told.rs",
            "convert/mod.rs",
        ];
        files.extend(others.map(str::to_owned));
        let names: Vec<&str> = files.iter().map(String::as_str).collect();
        let mut items = source::items(&names);
        let inner = source::items(&["mirror/status.rs"])["MirrorStatus"].clone();
        items.insert("mirror::MirrorStatus".to_owned(), inner);
        Maker {
            items,
            made: Map::new(),
        }
    }

    /// The schema of a Rust type.
    fn of(&mut self, kind: &str) -> Value {
        let inside = |outer: &str| kind.strip_prefix(outer)?.strip_suffix('>');
        if let Some((one, other)) = kind.split_once('|') {
            let both = [self.of(one), self.of(other)];
            return json!({ "oneOf": both });
        }
        if let Some(inner) = inside("Option<") {
            let mut schema = self.of(inner);
            return match schema.get("type").cloned() {
                Some(one) if one.is_string() => {
                    schema["type"] = json!([one, "null"]);
                    schema
                }
                _ => json!({ "oneOf": [schema, { "type": "null" }] }),
            };
        }
        if let Some(inner) = inside("Vec<") {
            return json!({ "type": "array", "items": self.of(inner) });
        }
        if let Some(inner) = inside("BTreeMap<String,") {
            return json!({ "type": "object", "additionalProperties": self.of(inner) });
        }
        match kind {
            "String" | "PathBuf" | "IpAddr" => json!({ "type": "string" }),
            "bool" => json!({ "type": "boolean" }),
            "f64" => json!({ "type": "number" }),
            "u8" | "u16" | "u32" | "u64" | "usize" => json!({ "type": "integer", "minimum": 0 }),
            name => {
                if !self.made.contains_key(name) {
                    self.made.insert(name.to_owned(), Value::Null);
                    let item = self
                        .items
                        .get(name)
                        .unwrap_or_else(|| panic!("no type {name}"));
                    let schema = self.item(&item.clone());
                    self.made.insert(name.to_owned(), schema);
                }
                json!({ "$ref": format!("#/$defs/{name}") })
            }
        }
    }

    fn item(&mut self, item: &Item) -> Value {
        if item.is_enum {
            let words: Vec<String> = item.parts.iter().map(|part| word(item, part)).collect();
            let texts = item
                .parts
                .iter()
                .zip(&words)
                .map(|(part, word)| format!("`{word}`: {}", part.docs));
            let text = format!("{} {}", item.docs, texts.collect::<Vec<_>>().join(" "));
            return json!({ "type": "string", "enum": words, "description": text });
        }
        let tagged = item.parts.iter().find_map(|part| {
            let inner = self.items.get(&part.kind)?;
            (part.serde.contains("flatten") && inner.is_enum).then(|| inner.clone())
        });
        let (properties, required) = self.properties(&item.parts);
        let Some(kinds) = tagged else {
            return object(properties, required, &item.docs);
        };
        // One form per kind of event, each with the keys of all.
        let forms = kinds.parts.iter().map(|kind| {
            let (own, names) = self.properties(&kind.parts);
            let mut all = properties.clone();
            all.insert("event".to_owned(), json!({ "enum": [word(&kinds, kind)] }));
            all.extend(own);
            let names = [&required[..], &["event".to_owned()], &names].concat();
            object(all, names, &kind.docs)
        });
        json!({ "description": item.docs, "oneOf": forms.collect::<Vec<_>>() })
    }

    fn properties(&mut self, parts: &[Part]) -> (Map<String, Value>, Vec<String>) {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for part in parts {
            if part.serde.contains("flatten") {
                let Some(inner) = self.items.get(&part.kind).filter(|item| !item.is_enum) else {
                    continue;
                };
                let (more, names) = self.properties(&inner.clone().parts);
                properties.extend(more);
                required.extend(names);
                continue;
            }
            let renamed = part
                .serde
                .split_once("rename = \"")
                .map(|(_, rest)| rest.split('"').next().unwrap());
            let name = renamed.unwrap_or(&part.name).to_owned();
            let mut schema = self.of(&part.kind);
            if !part.docs.is_empty() {
                schema["description"] = json!(part.docs);
            }
            properties.insert(name.clone(), schema);
            required.push(name);
        }
        (properties, required)
    }
}

/// How a variant is written.
fn word(item: &Item, variant: &Part) -> String {
    let mut word = String::new();
    for (n, c) in variant.name.chars().enumerate() {
        if c.is_uppercase() && n > 0 && item.serde.contains("snake_case") {
            word.push('_');
        }
        word.extend(c.to_lowercase());
    }
    word
}

fn object(properties: Map<String, Value>, required: Vec<String>, docs: &str) -> Value {
    json!({ "type": "object", "description": docs, "properties": properties, "required": required })
}

fn made() -> String {
    let mut maker = Maker::new();
    let mut commands = Map::new();
    for (command, kind) in PRINTED {
        let schema = maker.of(kind);
        commands.insert((*command).to_owned(), schema);
    }
    for (command, reference) in ELSEWHERE {
        commands.insert((*command).to_owned(), json!({ "$ref": reference }));
    }
    let failed = maker.of(FAILED);
    // A key that nobody explains is a fault of the type.
    for (name, schema) in &maker.made {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let told = property["description"]
                .as_str()
                .is_some_and(|text| text.len() > 4);
            assert!(told, "{name}.{key} has no doc comment");
        }
    }
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What the commands of holdfast print with --json",
        "description": "`commands` says which form each command prints, `failed` what any of them prints when it comes to nothing. `top` prints one object per line and look. Times are RFC 3339 in UTC; units stand in the keys. Keys are only ever added: a reader passes over what it does not know. Made by tests/packaging from the types that are printed.",
        "commands": commands,
        "failed": failed,
        "$defs": maker.made,
    });
    format!("{schema:#}\n")
}

#[test]
fn the_schema_is_that_of_the_types_that_are_printed() {
    kept("docs/commands.schema.json", &made());
}

const CONFIG: &str = r#"
[server]
listen = ["127.0.0.1:PORT"]
workers = 1
[resolver]
prime = false
root_hints = "root.hints"
[reachability]
domestic = ["127.0.0.0/8"]
[control]
http = ""
[[zone]]
name = "lab.test."
file = "lab.zone"
[[mirror]]
zone = "m.test."
sources = ["file:m.zone"]
verify = "none"
"#;
const ZONE: &str =
    "$TTL 300\n@ SOA ns1 host 7 3600 900 604800 60\n NS ns1\nns1 A 192.0.2.53\nwww A 192.0.2.80\n";

/// Runs a command for scripts; what it prints is held to what is documented.
fn told(config: &Path, line: &str) -> Value {
    let words: Vec<&str> = line.split(' ').chain(["--json"]).collect();
    let told = program(config, &words).output().unwrap();
    let value: Value = serde_json::from_slice(&told.stdout).unwrap_or_else(|error| {
        let (out, err) = (&told.stdout, &told.stderr);
        let said = [out, err].map(|octets| String::from_utf8_lossy(octets).into_owned());
        panic!("{line}: {error}: {said:?}")
    });
    let leaves = leaves();
    let mut named = leaves.iter().map(|(path, _)| path[1..].join(" "));
    let command = named.find(|command| line.starts_with(command)).unwrap();
    let schema = Schema::parse(&read("docs/commands.schema.json"));
    let failed = value["ok"] == json!(false) && command != "check";
    let faults = match ELSEWHERE.iter().find(|(name, _)| *name == command) {
        _ if failed => schema.faults_at(&["failed"], &value),
        Some((_, reference)) => {
            Schema::load().faults(reference.rsplit('/').next().unwrap(), &value)
        }
        None => schema.faults_at(&["commands", &command], &value),
    };
    assert!(faults.is_empty(), "{line} --json: {faults:#?}\n{value:#}");
    let refused = failed || value["verdict"] == json!("refused");
    assert_eq!(told.status.success(), !refused, "{line}: {told:?}");
    value
}

/// Runs a command for people.
fn shown(config: &Path, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let shown = program(config, &words).output().unwrap();
    assert!(shown.status.success(), "{line}: {shown:?}");
    String::from_utf8(shown.stdout).unwrap()
}

#[test]
fn every_command_prints_what_is_documented() {
    let older = ZONE.replace("host 7", "host 6").replace("www", "old");
    let files = [
        ("lab.zone", ZONE),
        ("m.zone", older.as_str()),
        ("root.hints", ". 60 NS a.\na. 60 A 127.0.0.1\n"),
        ("names.txt", "www.lab.test\nwww.m.test\n"),
    ];
    let daemon = Daemon::start(CONFIG, &files);
    let config = daemon.file("config.toml");
    let file = |name: &str| daemon.file(name).to_str().unwrap().to_owned();
    let (out, names) = (file("out.zone"), file("names.txt"));
    let root = super::path("zones/root.zone").to_str().unwrap().to_owned();
    let mut ran: Vec<String> = Vec::new();
    let mut tell = |line: &str| {
        ran.push(line.to_owned());
        told(&config, line)
    };
    eventually("a copy", || {
        (told(&config, "mirror list")[0]["serial"] == json!(6)).then_some(())
    });
    fs::write(daemon.file("m.zone"), ZONE).unwrap();
    assert_eq!(tell("mirror refresh m.test")["serial"], json!(7));
    assert_eq!(tell("mirror show m.test")[0]["state"], json!("current"));
    assert_eq!(tell("mirror diff m.test")["removed_count"], json!(2));
    assert_eq!(tell("mirror list")[0]["zone"], json!("m.test."));
    assert_eq!(
        tell(&format!("mirror export m.test {out} --serial 7"))["records"],
        json!(4)
    );
    assert_eq!(tell("mirror rollback m.test 6")["serial"], json!(6));
    assert_eq!(
        tell(&format!("mirror import m.test {out}"))["serial"],
        json!(7)
    );
    assert_eq!(tell("mirror accept m.test")["ok"], json!(false));
    assert!(tell("top --every 1 --count 1")["rates"].is_object());
    assert!(tell("cache stats")["bytes_max"].is_u64());
    assert_eq!(tell("cache flush . --tree")["tree"], json!(true));
    assert!(
        !tell("trace www.m.test")["events"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(tell("check")["zones"][0]["serial"], json!(7));
    assert_eq!(tell("clock reset")["running"], json!(true));
    tell(&format!("readiness --names {names}"));
    assert_eq!(
        tell("drill start --zone m.test --shadow")["shadow"],
        json!(true)
    );
    assert!(shown(&config, "status").contains("shadow drill"));
    assert_eq!(tell("drill stop")["running"], json!(false));
    tell("drill report");
    assert_eq!(tell("status")["mirrors"][0]["serial"], json!(7));
    let verify = |zone: &str| format!("zone verify {zone} --at 2026-08-01T12:00:00Z");
    assert_eq!(tell(&verify(&root))["verdict"], json!("verified"));
    assert_eq!(tell(&verify(&names))["verdict"], json!("refused"));
    let unbound = super::path("tests/packaging/unbound/isp.conf");
    tell(&format!("convert unbound {}", unbound.display()));
    for (command, _) in PRINTED.iter().chain(ELSEWHERE) {
        assert!(
            ran.iter().any(|line| line.starts_with(command)),
            "{command} was not run"
        );
    }
    for (line, expected) in [
        ("status", "OWN ZONE"),
        ("mirror list", "m.test."),
        ("mirror show m.test", "current"),
        ("mirror diff m.test", "+www.m.test."),
        ("cache stats", "cache: 1 entries"),
        ("trace www.m.test", "192.0.2.80"),
        ("drill report", "shadow drill"),
        ("check", ": ok\n"),
        ("top --every 1 --count 1", "queries"),
    ] {
        let text = shown(&config, line);
        assert!(text.contains(expected), "{line}: {text}");
    }
}
