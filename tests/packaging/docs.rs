//! Every command in the documentation is run, on the bundled configuration in a directory of its own; what needs a network, a second version or
//! another machine is parsed.
//!
//! In a block that begins with ```console a line that begins with `$` or `#` is a command, for anybody or for root.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::commands::words;
use super::daemon::{Daemon, eventually};
use super::{path, read};

/// Commands that are parsed only, and why.
const PARSED: &[(&str, &str)] = &[
    ("holdfast run", "it would not end"),
    ("holdfast mirror diff", "there is one version alone"),
    ("holdfast mirror accept", "nothing is held"),
    ("holdfast mirror rollback", "there is one version alone"),
    ("holdfast mirror import", "the version is no newer"),
];
/// Programs that are not this one, with what may follow first.
const OTHERS: &[(&str, &[&str])] = &[
    ("cargo", &["build"]),
    ("apt-get", &["install"]),
    ("systemctl", &["status", "restart", "reload", "edit"]),
    ("systemd-analyze", &["security"]),
    ("journalctl", &["-u"]),
];

/// The commands of a page: line, and the command without its prompt.
fn commands(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (n, line) in page.lines().enumerate() {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            inside = !inside && kind == "console";
            continue;
        }
        let line = line.trim_start();
        let command = line.strip_prefix("$ ").or(line.strip_prefix("# "));
        if let Some(command) = command.filter(|_| inside) {
            found.push((n + 1, command.to_owned()));
        }
    }
    found
}

/// The bundled configuration, but that nothing leaves the machine, and that the copy of the root is not verified, which takes a slow build long.
fn bundled() -> String {
    let mut text = read("config.toml");
    let mut change = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    };
    change(
        "listen = [\"127.0.0.1:5300\", \"[::1]:5300\"]",
        "listen = [\"127.0.0.1:PORT\"]",
    );
    change("http = \"127.0.0.1:8053\"", "http = \"\"");
    change("prime = true", "prime = false");
    change(
        "# root_hints = \"zones/root.hints\"",
        "root_hints = \"here.hints\"",
    );
    // From here no packet finds a way out.
    change("outgoing = []", "outgoing = [\"127.0.0.1\"]");
    change("ipv6 = true", "ipv6 = false");
    change("probe = true", "probe = false");
    change("domestic = []", "domestic = [\"127.0.0.0/8\"]");
    change("verify = \"dnssec\"", "verify = \"none\"");
    let from = text.find("\nsources = ").unwrap() + 1;
    let end = from + text[from..].find('\n').unwrap();
    text.replace_range(from..end, "sources = [\"file:zones/root.zone\"]");
    text
}

fn parsed(place: &str, words: &[String]) {
    let parsed = holdfast::cli::command().try_get_matches_from(words);
    if let Err(error) = parsed {
        panic!("{place}: {error}");
    }
}

fn run(place: &str, words: &[String], daemon: &Daemon) {
    let done = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(&words[1..])
        .current_dir(daemon.directory.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{place}: {words:?}: {done:?}");
}

fn dig(place: &str, words: &[String], daemon: &Daemon) {
    let port = daemon.port.to_string();
    let arguments = [&["-p".to_owned(), port], &words[1..]].concat();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let Some(done) = super::tool("dig", &arguments) {
        let told = String::from_utf8_lossy(&done.stdout);
        assert!(
            done.status.success() && told.contains("status: NOERROR"),
            "{place}: {told}"
        );
    }
}

fn other(place: &str, words: &[String]) {
    let known = OTHERS.iter().find(|(program, _)| *program == words[0]);
    if words[0].starts_with("packaging/") {
        assert!(path(&words[0]).exists(), "{place}");
        return;
    }
    let (_, first) = known.unwrap_or_else(|| panic!("{place}: nobody knows {}", words[0]));
    assert!(first.contains(&words[1].as_str()), "{place}: {words:?}");
    let version = format!("_{}-", env!("CARGO_PKG_VERSION"));
    for package in words.iter().filter(|word| word.ends_with(".deb")) {
        assert!(package.contains(&version), "{place}: {package}");
    }
}

/// A server with the bundled configuration and a copy of the root.
fn started() -> Daemon {
    let files = [("here.hints", ". 60 NS a.\na. 60 A 127.0.0.1\n")];
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("zones")).unwrap();
    for file in ["root.zone", "lab.test.zone"] {
        let name = format!("zones/{file}");
        fs::copy(path(&name), directory.path().join(&name)).unwrap();
    }
    let daemon = Daemon::start_in(directory, &bundled(), &files);
    eventually("a copy of the root", || {
        let told = daemon.command(&["mirror", "list", "--json"]);
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        told.contains("\"serial\": 20").then_some(())
    });
    daemon
}

fn check(page: &str, list: Vec<(usize, String)>, daemon: &Daemon) {
    let scratch = format!("{}/", daemon.directory.path().display());
    let unbound = path("tests/packaging/unbound/isp.conf");
    for (line, command) in list {
        let place = format!("{page}:{line}");
        let here = command.replace("/tmp/", &scratch);
        let here = here.replace("/etc/unbound/unbound.conf", unbound.to_str().unwrap());
        let words = words(&here);
        match words[0].as_str() {
            "holdfast" => {
                parsed(&place, &words);
                if !PARSED.iter().any(|(command, _)| here.starts_with(command)) {
                    run(&place, &words, daemon);
                }
            }
            "dig" => dig(&place, &words, daemon),
            _ => other(&place, &words),
        }
    }
}

#[test]
fn commands_of_the_pages_run() {
    let pages = fs::read_dir(path("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let pages = pages.filter(|page| page.extension().is_some_and(|e| e == "md"));
    let mut pages: Vec<String> = pages
        .map(|page| format!("docs/{}", page.file_name().unwrap().to_str().unwrap()))
        .collect();
    pages.sort();
    assert!(pages.len() >= 4, "{pages:?}");
    let daemon = started();
    let mut count = 0;
    for page in &pages {
        let list = commands(&read(page));
        // The pages of the laboratory are run there, whole.
        if list
            .iter()
            .any(|(_, command)| command.starts_with("./lab "))
        {
            assert!(path("docker/lab").is_dir(), "{page}");
            continue;
        }
        count += list.len();
        check(page, list, &daemon);
    }
    assert!(count > 30, "{count}");
}

/// Blocks for a shell have pipes, loops and other servers in them: what begins with this program is parsed.
#[test]
fn commands_of_the_readme_parse() {
    let mut count = 0;
    for block in read("README.md").split("```sh\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            let line = line.trim().trim_start_matches("target/release/");
            if line.starts_with("holdfast ") {
                let line = line.split(" & ").next().unwrap();
                parsed("README.md", &words(line));
                count += 1;
            }
        }
    }
    assert!(count > 5, "{count}");
}

/// Tables of configuration in the pages are accepted, but for the files that they name.
#[test]
fn configurations_of_the_pages_are_sound() {
    for page in [
        "docs/operator.md",
        "docs/security.md",
        "docs/from-unbound.md",
        "docs/fleet.md",
    ] {
        let text = read(page);
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let directory = tempfile::tempdir().unwrap();
            fs::write(
                directory.path().join("registry.secret"),
                "c2l4dGVlbiBvY3RldHMhIQ==",
            )
            .unwrap();
            fs::write(
                directory.path().join("domestic.prefixes"),
                "198.51.100.0/24\n",
            )
            .unwrap();
            let file = directory.path().join("config.toml");
            holdfast::config::Config::parse(&file, block)
                .unwrap_or_else(|error| panic!("{page}: {error}"));
        }
        // Links lead somewhere.
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                assert!(
                    Path::new(&path("docs")).join(target).exists(),
                    "{page}: {target}"
                );
            }
        }
    }
}

/// What the guide to fleets quotes is what the laboratory runs.
#[test]
fn snippets_of_the_fleet_are_the_ones_that_run() {
    let files: Vec<String> = fs::read_dir(path("docker/lab/fleet"))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let text = read("docs/fleet.md");
    let mut count = 0;
    for kind in ["```conf\n", "```sh\n"] {
        for block in text.split(kind).skip(1) {
            let block = block.split("```").next().unwrap();
            assert!(files.iter().any(|file| file.contains(block)), "{block}");
            count += 1;
        }
    }
    assert!(count >= 3, "{count}");
}
