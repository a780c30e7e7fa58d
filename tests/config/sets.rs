//! `reachability.domestic` and `[reachability.sets]`.

use holdfast::config::Config;

/// Prefixes, files of them, and several sets; what is wrong is told where it stands.
#[test]
fn sets_of_prefixes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("country"),
        "# ours\n192.0.2.0/24\n2001:db8::/32 # six\n",
    )
    .unwrap();
    std::fs::write(
        dir.path().join("bad"),
        "192.0.2.0/24\n192.0.2.1/24\nnowhere\n",
    )
    .unwrap();
    let parse = |text: &str| Config::parse(&dir.path().join("config.toml"), text);
    let text = "[reachability]\ndomestic = ['file:country', '10.0.0.0/8']\n[reachability.sets]\nexchange-1 = ['203.0.113.7']\nnone = []\n";
    let reach = parse(text).unwrap().reachability;
    let holds =
        |set: &str, address: &str| reach.set(set).unwrap().contains(address.parse().unwrap());
    assert!(holds("domestic", "10.9.9.9") && holds("domestic", "2001:db8::9"));
    assert!(!holds("domestic", "203.0.113.7") && holds("exchange-1", "203.0.113.7"));
    assert!(reach.set("none").unwrap().is_empty() && reach.set("other").is_none());
    let faults = |text: &str| -> Vec<String> {
        let error = parse(text).unwrap_err();
        let told = |f: &holdfast::config::error::Fault| {
            format!(
                "{}:{}",
                f.file.file_name().unwrap().to_str().unwrap(),
                f.line
            )
        };
        error.faults().iter().map(told).collect()
    };
    let reachability = |rest: &str| format!("[reachability]\n{rest}\n");
    assert_eq!(
        faults(&reachability("domestic = ['file:bad']")),
        ["bad:2", "bad:3"]
    );
    assert_eq!(
        faults(&reachability("domestic = ['file:absent']")),
        ["absent:1"]
    );
    assert_eq!(
        faults(&reachability("domestic = ['10.0.0.1/8']")),
        ["config.toml:2"]
    );
    assert_eq!(
        faults(&reachability("sets = { domestic = [] }")),
        ["config.toml:2"]
    );
    assert_eq!(
        faults(&reachability("sets = { 'a b' = [] }")),
        ["config.toml:2"]
    );
    assert_eq!(
        faults(&reachability("sets = { a = ['x'] }")),
        ["config.toml:2"]
    );
}
