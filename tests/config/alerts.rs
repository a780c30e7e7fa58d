//! `[alerts]`: who may be told, and how.

use crate::{parse, refused};

#[test]
fn alerts_go_to_web_servers_and_programs() {
    let config = parse(
        "[alerts]\nwebhook = 'http://127.0.0.1:9093/a'\ncommand = ['/bin/sh', '-c']\ninterval = '5m'\n",
    );
    let alerts = config.unwrap().alerts;
    let to = alerts.webhook.clone().unwrap();
    assert!(alerts.is_on() && !to.is_secure);
    assert_eq!((to.at.port, alerts.interval_s), (9093, 300));
    assert_eq!(alerts.command, ["/bin/sh", "-c"]);
    assert!(!parse("").unwrap().alerts.is_on());
    for (text, fault) in [
        ("webhook = 'ftp://h.example/'", "\"http://HOST/PATH\""),
        (
            "webhook = 'https://user@h.example/'",
            "\"http://HOST/PATH\"",
        ),
        ("webhook = 7", "\"http://HOST/PATH\""),
        ("command = ['sh']", "with its full path"),
        ("command = ['']", "with its full path"),
        ("command = ['/bin/sh', \"a\\u0000b\"]", "with its full path"),
        ("command = '/bin/sh'", "with its full path"),
        ("command = ['/no/such/program']", "is no file"),
        ("interval = '0s'", "a time such as"),
        ("interval = '2d'", "longer than a day"),
        ("ca = '/no/such/file'", "cannot be read"),
        ("retry = 3", "retry"),
    ] {
        refused(&format!("[alerts]\n{text}\n"), &[(2, fault)]);
    }
    let pem = "-----BEGIN CERTIFICATE-----";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, pem).unwrap();
    let text = |url: &str| format!("[alerts]\nwebhook = '{url}'\nca = '{}'\n", file.display());
    assert!(parse(&text("https://h.example/")).is_ok());
    refused(
        &text("http://h.example/"),
        &[(3, "ca is for a webhook with https")],
    );
}
