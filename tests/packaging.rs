//! What an operator installs and reads: unit, man pages, completions, references, and that they tell the truth.
//!
//! Man pages, completions, `docs/config.md` and `docs/commands.schema.json` are made here from the command line's types and from the
//! doc comments of the code, `packaging/third-party.txt` from the crates that are linked. `HOLDFAST_WRITE=1 cargo test --test packaging` writes them; without it a file that differs is a failure.

#[path = "packaging/commands.rs"]
mod commands;
#[path = "packaging/convert.rs"]
mod convert;
#[path = "serve/daemon.rs"]
#[allow(dead_code)]
mod daemon;
#[path = "packaging/deb.rs"]
mod deb;
#[path = "packaging/docs.rs"]
mod docs;
#[path = "packaging/made.rs"]
mod made;
#[path = "packaging/reference.rs"]
mod reference;
#[path = "report/schema.rs"]
mod schema;
#[path = "packaging/source.rs"]
mod source;
#[path = "packaging/third_party.rs"]
mod third_party;
#[path = "packaging/unit.rs"]
mod unit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A file of the repository.
fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Holds a file to what is made for it, or writes it.
#[track_caller]
fn kept(file: &str, made: &str) {
    let path = path(file);
    if std::env::var_os("HOLDFAST_WRITE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, made).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let differs = |(n, (there, made)): (usize, (&str, &str))| {
        (there != made).then(|| format!("line {}:\n  is   {there}\n  made {made}", n + 1))
    };
    let lines = there.lines().zip(made.lines());
    assert!(
        there == made,
        "{file} is out of date; HOLDFAST_WRITE=1 cargo test --test packaging writes it\n{}",
        lines.enumerate().find_map(differs).unwrap_or_default()
    );
}

/// Runs a program of the system; `None`, said aloud, where there is none.
fn tool(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("SKIPPED: needs {program} in the PATH ({error})");
            None
        }
    }
}
