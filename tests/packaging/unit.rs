//! The unit for systemd: what it is allowed, and that it says what the program does.

use super::{path, read, tool};

const UNIT: &str = "packaging/systemd/holdfast.service";
/// `systemd-analyze security` rates from 0 (locked in) to 10 (free to do anything).
const EXPOSURE_MAX: f64 = 2.0;

/// The values of a directive, in order.
fn values<'t>(unit: &'t str, directive: &str) -> Vec<&'t str> {
    let value = |line: &'t str| line.strip_prefix(directive)?.strip_prefix('=');
    unit.lines().filter_map(value).collect()
}

#[test]
fn its_exposure_is_small() {
    let unit = path(UNIT);
    let unit = unit.to_str().unwrap();
    let arguments = ["security", "--offline=yes", "--no-pager", unit];
    let Some(output) = tool("systemd-analyze", &arguments) else {
        return;
    };
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = (told.lines()).find_map(|line| line.split("holdfast.service: ").nth(1));
    let rating = line.and_then(|line| line.split(' ').next()?.parse::<f64>().ok());
    let rating =
        rating.unwrap_or_else(|| panic!("{told}{}", String::from_utf8_lossy(&output.stderr)));
    println!("{UNIT}: exposure {rating}");
    assert!(rating < EXPOSURE_MAX, "{told}");
}

#[test]
fn it_does_what_the_program_needs() {
    let unit = read(UNIT);
    let is = |directive: &str, expected: &[&str]| {
        assert_eq!(values(&unit, directive), expected, "{directive}");
    };
    is("Type", &["notify"]);
    is("User", &["holdfast"]);
    is("AmbientCapabilities", &["CAP_NET_BIND_SERVICE"]);
    is("CapabilityBoundingSet", &["CAP_NET_BIND_SERVICE"]);
    // Nothing is written outside data_dir, and this is where the packaged configuration has it.
    is("StateDirectory", &["holdfast"]);
    is("ProtectSystem", &["strict"]);
    // run/system_clock.rs asks the kernel with adjtimex(2), which @clock contains and ProtectClock would take away.
    is(
        "SystemCallFilter",
        &["@system-service", "~@privileged @resources", "adjtimex"],
    );
    assert!(values(&unit, "ProtectClock").is_empty());
    // mirror/memory.rs reads /proc/meminfo.
    is("ProcSubset", &["all"]);
    // main.rs ends with 2 on a bad configuration, which no new start mends.
    is("RestartPreventExitStatus", &["2"]);
    for command in [values(&unit, "ExecStart"), values(&unit, "ExecReload")].concat() {
        let words: Vec<&str> = command.split(' ').collect();
        if words[0].ends_with("/holdfast") {
            let parsed = holdfast::cli::command().try_get_matches_from(&words);
            assert!(parsed.is_ok(), "{command}");
        }
    }
    let user = read("packaging/systemd/holdfast.sysusers");
    assert!(user.contains("\nu holdfast - "), "{user}");
    let directory = read("packaging/systemd/holdfast.tmpfiles");
    assert!(directory.contains("\nd /var/lib/holdfast 0750 holdfast holdfast -"));
}
