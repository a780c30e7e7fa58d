//! `mirror export`, `import` and `diff`, with a running server and without one.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Output;

use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast::dns::Rtype;
use serde_json::Value;

use crate::daemon::{Daemon, directory, eventually, program, query};

const CONFIG: &str = r#"
[server]
listen = ["127.0.0.1:PORT"]
[resolver]
prime = false
[reachability]
probe = false
[[mirror]]
zone = "lab."
use = "always"
verify = "none"
sources = ["file:absent"]
protect = ["kept.lab."]
"#;

/// A zone with records of a known and of an unknown type.
fn zone(serial: u32, more: &str) -> String {
    format!(
        "lab. 60 NS ns.lab.\nlab. 60 SOA ns.lab. host.lab. {serial} 3600 900 604800 60\nns.lab. 60 A 192.0.2.53\n\
         odd.lab. 60 TYPE65280 \\# 3 01ff00\nkept.lab. 60 NS ns.kept.lab.\nns.kept.lab. 60 A 192.0.2.54\n{more}"
    )
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    text(output)
}

/// Whatever carries out a command.
type Run<'a> = &'a dyn Fn(&[&str]) -> Output;

/// The same with a server and without one: `at` is a directory that both can read.
fn versions_come_and_go(run: Run<'_>, at: &Path) {
    let write = |name: &str, content: String| {
        let path = at.join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let mirror = |arguments: &[&str]| run(&[&["mirror"], arguments].concat());
    let one = write("one.zone", zone(1, "www.lab. 60 A 192.0.2.1\n"));
    let said = done(&mirror(&["import", "lab.", &one]));
    assert!(
        said.contains("lab. serves serial 1\nproven: nothing"),
        "{said}"
    );

    // Written, read and written again: the same, with the SOA first and the unknown type as RFC 3597 has it.
    let written = done(&mirror(&["export", "lab."]));
    let mut lines = written.lines();
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("; zone lab. serial 1, current"),
        "{written}"
    );
    assert!(
        lines.next().unwrap().starts_with("lab.\t60\tIN\tSOA\t"),
        "{written}"
    );
    assert!(
        written.contains("odd.lab.\t60\tIN\tTYPE65280\t\\# 3 01ff00\n"),
        "{written}"
    );
    assert_eq!(written.lines().count(), 8);
    let out = at.join("out.zone").display().to_string();
    done(&mirror(&["export", "lab.", "--serial", "1", &out]));
    assert_eq!(fs::read_to_string(&out).unwrap(), written);
    written_to(run, at);

    // An older or equal one is no news, nonsense is none at all.
    let again = mirror(&["import", "lab.", &out]);
    assert!(text(&again).contains("current already") && !again.status.success());
    let bad = write("bad.zone", "nonsense".into());
    let refused = mirror(&["import", "lab.", &bad]);
    assert!(
        text(&refused).contains("not a zone: "),
        "{}",
        text(&refused)
    );

    let two = write("two.zone", zone(2, "www.lab. 60 A 192.0.2.2\n"));
    done(&mirror(&["import", "lab.", &two]));
    let lines = |said: &str| -> Vec<String> {
        let marked = said.lines().filter(|line| line.starts_with(['-', '+']));
        marked
            .filter(|l| !l.contains("SOA"))
            .map(str::to_owned)
            .collect()
    };
    let said = done(&mirror(&["diff", "lab."]));
    let expected = [
        "--- serial 1 (unverified (verify = \"none\"))",
        "+++ serial 2 (unverified (verify = \"none\"))",
        "-www.lab.\t60\tIN\tA\t192.0.2.1",
        "+www.lab.\t60\tIN\tA\t192.0.2.2",
    ];
    assert_eq!(lines(&said), expected, "{said}");
    assert!(
        said.ends_with("2 records removed, 2 added; delegations 1 before, 1 after\n"),
        "{said}"
    );

    // What a brake holds is looked at before it is decided about.
    let without = zone(3, "").replace("kept.lab. 60 NS", "ns2.lab. 60 TXT");
    let three = write("three.zone", without);
    let held = text(&mirror(&["import", "lab.", &three]));
    assert!(held.contains("serial 3 is held for the operator"), "{held}");
    let said = done(&run(&["--json", "mirror", "diff", "lab."]));
    let compared: Value = serde_json::from_str(&said).unwrap();
    let sides = (&compared["old"]["serial"], &compared["new"]["serial"]);
    assert_eq!(sides, (&2.into(), &3.into()), "{said}");
    assert_eq!(compared["new"]["state"], "held");
    assert_eq!(compared["removed_count"], 3);
    assert_eq!(compared["added_count"], 2);
    let removed = compared["removed"].as_array().unwrap();
    assert!(
        removed.contains(&"kept.lab.\t60\tIN\tNS\tns.kept.lab.".into()),
        "{said}"
    );
    // The other way round, and by serials.
    let said = done(&run(&["--json", "mirror", "diff", "lab.", "3", "1"]));
    let compared: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(compared["old"]["serial"], 3);
    let none = mirror(&["diff", "lab.", "99"]);
    assert!(
        text(&none).contains("no version 99 of lab. is stored"),
        "{}",
        text(&none)
    );
    let none = mirror(&["export", "other."]);
    assert!(text(&none).contains("other."), "{}", text(&none));
}

#[test]
fn with_a_server() {
    let daemon = Daemon::start(CONFIG, &[]);
    let run = |arguments: &[&str]| daemon.command(arguments);
    versions_come_and_go(&run, daemon.directory.path());
    handed_over(&daemon);
    eventually("the imported copy answers", || {
        let answer = daemon.udp(&query("www.lab.", Rtype::A)).answer;
        (answer.len() == 1).then_some(())
    });
    // Several versions came; that none of them is verified is told once.
    let log = daemon.log();
    assert!(log.matches("generation is current").count() > 1, "{log}");
    assert_eq!(
        log.matches("its data is taken as it is").count(),
        1,
        "{log}"
    );
}

/// A server has directories of its own, and may not open what its operator can: the file comes with the request. Of one that has no name any more
/// the path leads nowhere for the server.
fn handed_over(daemon: &Daemon) {
    let import = |file: &str, stdin: Option<fs::File>| {
        let mut command = program(
            &daemon.file("config.toml"),
            &["mirror", "import", "lab.", file],
        );
        if let Some(stdin) = stdin {
            command.stdin(stdin);
        }
        command.output().unwrap()
    };
    let path = daemon.file("gone.zone");
    // It comes in several pieces.
    let late = format!("{}www.lab. 60 A 192.0.2.4\n", "; nothing\n".repeat(200_000));
    fs::write(&path, zone(4, &late)).unwrap();
    let opened = fs::File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let said = done(&import("/dev/stdin", Some(opened)));
    assert!(said.contains("lab. serves serial 4"), "{said}");
    assert_eq!(daemon.udp(&query("www.lab.", Rtype::A)).answer.len(), 1);
    // Nobody waits for who might write to a pipe, and a device has no end.
    for none in ["/dev/null", "."] {
        let said = text(&import(none, None));
        assert!(said.contains(": it is no file"), "{none}: {said}");
    }
    // Packed, as mirrors over HTTPS take it.
    let packed = daemon.file("five.zone.gz");
    let mut packing = GzEncoder::new(fs::File::create(&packed).unwrap(), Compression::fast());
    let text_of = zone(5, "www.lab. 60 A 192.0.2.5\n$INCLUDE more\n");
    packing.write_all(text_of.as_bytes()).unwrap();
    packing.finish().unwrap();
    let file = packed.display().to_string();
    let said = text(&import(&file, None));
    assert!(said.contains("more cannot be read"), "{said}");
    fs::write(daemon.file("more"), "more.lab. 60 A 192.0.2.6\n").unwrap();
    let said = done(&import(&file, None));
    assert!(said.contains("lab. serves serial 5"), "{said}");
    assert_eq!(daemon.udp(&query("more.lab.", Rtype::A)).answer.len(), 1);
}

/// What is no file stays what it is, and what somebody has put beside it is not written to.
fn written_to(run: Run<'_>, at: &Path) {
    let (beside, victim) = (at.join(".out2.zone.tmp"), at.join("victim"));
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, &beside).unwrap();
    let out = at.join("out2.zone").display().to_string();
    done(&run(&["mirror", "export", "lab.", &out]));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(fs::read_to_string(&out).unwrap().contains("SOA"));
    assert!(!beside.exists());
    let null = at.join("null");
    std::os::unix::fs::symlink("/dev/null", &null).unwrap();
    done(&run(&[
        "mirror",
        "export",
        "lab.",
        &null.display().to_string(),
    ]));
    assert_eq!(fs::read_link(&null).unwrap(), Path::new("/dev/null"));
}

#[test]
fn without_a_server() {
    let directory = directory(&[("config.toml", &CONFIG.replace("PORT", "5300"))]);
    let config = directory.path().join("config.toml");
    let run = |arguments: &[&str]| program(&config, arguments).output().unwrap();
    versions_come_and_go(&run, directory.path());
}
