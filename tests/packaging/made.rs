//! holdfast(1), holdfast.toml(5) and completions: made from the command line's types and the configuration's doc comments.
//!
//! One page for all commands, as an operator looks for `mirror accept` in the page of the program. The pages are plain man(7), read
//! here by groff as well, which complains about what is wrong with them.

use std::fmt::Write;

use clap_complete::Shell;
use holdfast::cli::command;

use super::reference::{self, Section};
use super::{kept, path, tool};

/// What of the page no type of the command line tells.
const DESCRIPTION: &str = r#".SH DESCRIPTION
holdfast resolves and validates like any recursive server, serves own zones, and keeps verified copies of the zones that
everything depends on: the root, a top\-level zone, a hub's zone. When the servers of such a zone fall silent, refuse, or publish
bad signatures, the copy answers in their place; when they are back, they are asked again.
.PP
Commands that look at a running server or command it talk to its control socket, which only its own user and root may open.
"#;
const END: &str = r#".SH SIGNALS
.TP
.B SIGHUP
Reads the configuration and the own zones again. A bad configuration changes nothing.
.TP
.BR SIGTERM ", " SIGINT
End the program within two seconds.
.SH EXIT STATUS
.TP
.B 0
It is done.
.TP
.B 1
A server that does not answer or refuses, a fault of this machine, a file that is no zone or does not verify.
.TP
.B 2
A wrong command line or configuration, or a file that cannot be read.
.SH FILES
.TP
.I config.toml
The configuration in the directory that the program is started in.
.TP
.I /etc/holdfast/config.toml
The configuration where there is none.
.TP
.I /var/lib/holdfast
Copies, old answers and the control socket of the packaged server.
.TP
.I /usr/share/holdfast
The root zone as it was when the program was packaged, for a first start inside an outage; hints and keys of the root.
.SH SEE ALSO
.BR holdfast.toml (5),
.BR dig (1),
.BR systemctl (1)
"#;

/// Commands that do something, with the words that lead to them.
pub fn leaves() -> Vec<(Vec<String>, clap::Command)> {
    fn walk(
        words: &[String],
        command: &clap::Command,
        found: &mut Vec<(Vec<String>, clap::Command)>,
    ) {
        for sub in command
            .get_subcommands()
            .filter(|sub| sub.get_name() != "help")
        {
            let words = [words, &[sub.get_name().to_owned()]].concat();
            if sub.has_subcommands() {
                walk(&words, sub, found);
            } else {
                found.push((words, sub.clone()));
            }
        }
    }
    let mut all = command();
    all.build();
    let mut found = Vec::new();
    walk(&["holdfast".to_owned()], &all, &mut found);
    found
}

/// The lines of a command's examples, without their indent.
pub fn examples(command: &clap::Command) -> Vec<String> {
    let text = command.get_after_help().map(ToString::to_string);
    let text = text.unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
    lines.map(str::to_owned).collect()
}

/// Text in which nothing is taken for a request of man(7).
fn roff(text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        if line.starts_with(['.', '\'']) {
            out.push_str("\\&");
        }
        out.push_str(
            &line
                .replace('\\', "\\e")
                .replace('-', "\\-")
                .replace('`', "\\(ga"),
        );
    }
    out
}

fn argument(out: &mut String, argument: &clap::Arg) {
    let value = argument.get_value_names().map(|names| names[0].to_string());
    let value = value.filter(|_| argument.get_action().takes_values());
    let head = match (argument.get_long(), value) {
        (Some(long), Some(value)) => format!(".BI \\-\\-{} \" {}\"", roff(long), roff(&value)),
        (Some(long), None) => format!(".B \\-\\-{}", roff(long)),
        (None, value) => format!(".I {}", roff(&value.unwrap_or_default())),
    };
    let help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let default: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    let default = match default.is_empty() || !argument.get_action().takes_values() {
        true => String::new(),
        false => format!(" [default: {}]", default.join(" ")),
    };
    let _ = writeln!(out, ".TP\n{head}\n{}", roff(&format!("{help}{default}")));
}

fn page_of_program() -> String {
    let program = command();
    let about = program.get_about().unwrap().to_string();
    let mut out = head("HOLDFAST", 1);
    let _ = writeln!(out, ".SH NAME\nholdfast \\- {}", roff(&about));
    let synopsis = ".SH SYNOPSIS\n.B holdfast\n.RI [ OPTIONS ]\n.I COMMAND";
    let _ = write!(out, "{synopsis}\n{DESCRIPTION}.SH OPTIONS\n");
    let options = |command: &clap::Command, global: bool| {
        let mut all: Vec<clap::Arg> = command.get_arguments().cloned().collect();
        all.retain(|a| {
            a.is_global_set() == global && !["help", "version"].contains(&a.get_id().as_str())
        });
        all
    };
    options(&program, true)
        .iter()
        .for_each(|option| argument(&mut out, option));
    out.push_str(".TP\n.B \\-\\-help\nSays what there is, and an example of each command.\n.TP\n.B \\-\\-version\nSays which version this is.\n");
    out.push_str(".SH COMMANDS\n");
    for (words, mut leaf) in leaves() {
        let usage = leaf.render_usage().to_string();
        let usage = usage
            .trim_start_matches("Usage: ")
            .replace("[OPTIONS] ", "")
            .replace(" [OPTIONS]", "");
        let usage = usage.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        assert!(usage.starts_with(&words.join(" ")), "{usage}");
        let _ = writeln!(out, ".SS {}", roff(&usage));
        let about = leaf
            .get_long_about()
            .or(leaf.get_about())
            .map(ToString::to_string);
        let about = about.unwrap_or_default();
        let _ = writeln!(out, "{}", roff(&about).replace("\n\n", "\n.PP\n"));
        options(&leaf, false)
            .iter()
            .for_each(|option| argument(&mut out, option));
        let _ = writeln!(
            out,
            ".PP\n.RS\n.EX\n{}\n.EE\n.RE",
            roff(&examples(&leaf).join("\n"))
        );
    }
    out + END
}

fn head(name: &str, section: u8) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        ".\\\" Made by tests/packaging/made.rs.\n.TH {name} {section} \"\" \"holdfast {version}\" \"DNS servers\"\n.nh\n.ad l\n"
    )
}

fn page_of_configuration(sections: &[Section]) -> String {
    let mut out = head("HOLDFAST.TOML", 5);
    out.push_str(".SH NAME\nholdfast.toml \\- configuration of holdfast\n.SH DESCRIPTION\n");
    let _ = writeln!(out, "{}", roff(reference::INTRODUCTION));
    for section in sections {
        let _ = writeln!(out, ".SH {}\n{}", roff(&section.title), roff(&section.text));
        for key in &section.keys {
            let _ = writeln!(out, ".TP\n.B {}\n{}", roff(&key.name), roff(&key.meaning));
            for (word, meaning) in &key.words {
                let _ = writeln!(out, ".br\n\"{}\": {}", roff(word), roff(meaning));
            }
            if !key.remark.is_empty() {
                let _ = writeln!(out, ".br\nRemark: {}.", roff(&key.remark));
            }
            let _ = writeln!(
                out,
                ".br\nDefault: {}. Allowed: {}.",
                roff(&key.default),
                roff(&key.allowed)
            );
        }
    }
    out.push_str(".SH FILES\n.I /etc/holdfast/config.toml\n.SH SEE ALSO\n.BR holdfast (1)\n");
    out
}

#[test]
fn man_pages_are_those_of_this_program() {
    kept("packaging/man/holdfast.1", &page_of_program());
    kept(
        "packaging/man/holdfast.toml.5",
        &page_of_configuration(&reference::sections()),
    );
    for page in ["packaging/man/holdfast.1", "packaging/man/holdfast.toml.5"] {
        let page = path(page);
        let arguments = ["-man", "-ww", "-z", "-Tutf8", page.to_str().unwrap()];
        let Some(read) = tool("groff", &arguments) else {
            return;
        };
        let said = String::from_utf8_lossy(&read.stderr);
        assert!(read.status.success() && said.is_empty(), "{said}");
    }
}

#[test]
fn completions_are_those_of_this_program() {
    for (shell, file) in [
        (Shell::Bash, "holdfast.bash"),
        (Shell::Zsh, "_holdfast"),
        (Shell::Fish, "holdfast.fish"),
    ] {
        let mut made = Vec::new();
        clap_complete::generate(shell, &mut command(), "holdfast", &mut made);
        kept(
            &format!("packaging/completions/{file}"),
            &String::from_utf8(made).unwrap(),
        );
    }
    let bash = path("packaging/completions/holdfast.bash");
    let script = format!(
        ". {} && COMP_WORDS=(holdfast mirror '') COMP_CWORD=2 && _holdfast holdfast '' mirror && echo \"${{COMPREPLY[*]}}\"",
        bash.display()
    );
    if let Some(output) = tool("bash", &["-c", &script]) {
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            told.contains("list show refresh accept"),
            "{told}{output:?}"
        );
    }
}
