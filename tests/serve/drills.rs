//! Drills of the real program: what stays reachable is what the configuration in force says.

use std::fs;

use crate::daemon::{Daemon, eventually};

const CONFIG: &str = r#"
[server]
listen = ["127.0.0.1:PORT"]
data_dir = "data"
[resolver]
prime = false
ipv6 = false
query_loopback = true
root_hints = "hints"
[reachability]
probe = false
domestic = ["file:country"]
"#;
/// Nobody is there.
const HINTS: &str = ". 3600000 NS a.root.\na.root. 3600000 A 127.0.0.99\n";

#[test]
fn a_set_follows_a_reload_and_an_empty_one_is_no_cut_off() {
    let daemon = Daemon::start(CONFIG, &[("hints", HINTS), ("country", "# nobody yet\n")]);
    let start = || daemon.command(&["drill", "start", "--isolation", "--for", "1m"]);
    let refused = start();
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success(), "{why}");
    assert!(why.contains("the set \"domestic\" is empty"), "{why}");
    fs::write(daemon.file("country"), "127.0.0.0/8\n").unwrap();
    daemon.signal(libc::SIGHUP);
    eventually("a drill", || start().status.success().then_some(()));
}
