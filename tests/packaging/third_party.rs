//! What others wrote and the program contains, with their licences: `packaging/third-party.txt`, which goes with package and image. The binary is linked
//! statically, so their notices have to come along.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{kept, path};

const HEAD: &str = "holdfast is under MIT or Apache-2.0, at your choice. The program contains the crates below, each under the licence that stands beside it; \
their texts follow. Where one of several may be chosen, MIT is.\n";
/// One list, wherever it is made.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";
/// What files with such words in them begin with.
const FILES: [&str; 5] = ["license", "licence", "copying", "notice", "copyright"];

fn cargo(arguments: &[&str]) -> String {
    let done = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--offline", "--locked"])
        .current_dir(path(""))
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// Names and versions of what is linked; nothing that runs only while it is built.
fn linked() -> BTreeSet<(String, String)> {
    let kinds = "normal,no-proc-macro";
    let told = cargo(&[
        "tree", "--edges", kinds, "--prefix", "none", "--format", "{p}", "--target", PLATFORM,
    ]);
    let own = env!("CARGO_PKG_NAME");
    (told.lines())
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
            (name != own).then(|| (name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// The texts in a crate's directory, MIT's alone where that may be chosen.
fn texts(directory: &Path, licence: &str) -> Vec<String> {
    let mut files: Vec<_> = (fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|file| {
            let name = file.file_name().unwrap().to_string_lossy().to_lowercase();
            file.is_file() && FILES.iter().any(|word| name.starts_with(word))
        })
        .collect();
    files.sort();
    let is_mit = |file: &&std::path::PathBuf| file.to_string_lossy().ends_with("MIT");
    if let (false, Some(mit)) = (licence.contains("AND"), files.iter().find(is_mit)) {
        files = vec![mit.clone()];
    }
    let text = |file| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
    files.into_iter().map(text).collect()
}

/// Spaces at the ends of lines and the like make no other text.
fn tidied(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim().to_owned()
}

#[test]
fn what_others_wrote_is_named_with_its_licence() {
    let metadata = cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        PLATFORM,
    ]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let linked = linked();
    assert!(linked.len() > 50, "{linked:?}");
    let mut list = String::new();
    let mut by_text = BTreeMap::<String, Vec<String>>::new();
    let mut found = 0;
    for package in metadata["packages"].as_array().unwrap() {
        let word = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let (name, version, licence) = (word("name"), word("version"), word("license"));
        if !linked.contains(&(name.clone(), version.clone())) {
            continue;
        }
        found += 1;
        assert!(!licence.is_empty(), "{name} has no licence");
        list.push_str(&format!("{name} {version}: {licence}\n"));
        let manifest = word("manifest_path");
        let texts = texts(Path::new(&manifest).parent().unwrap(), &licence);
        if texts.is_empty() {
            let authors = package["authors"].to_string();
            by_text
                .entry(format!("By {authors}, who put no text beside it."))
                .or_default()
                .push(name.clone());
        }
        for text in texts {
            by_text.entry(tidied(&text)).or_default().push(name.clone());
        }
    }
    assert_eq!(found, linked.len());
    let mut texts: Vec<_> = by_text
        .into_iter()
        .map(|(text, names)| (names.join(", "), text))
        .collect();
    texts.sort();
    let line = "=".repeat(100);
    let mut made = format!("{HEAD}\n{list}");
    for (names, text) in texts {
        made.push_str(&format!("\n{line}\n{names}\n{line}\n\n{text}\n"));
    }
    kept("packaging/third-party.txt", &made);
    // As deny.toml has it: nothing that binds those who pass the program on beyond naming it.
    for word in ["GPL", "MPL", "CDDL", "OpenSSL"] {
        assert!(!list.contains(word), "{word}");
    }
}
