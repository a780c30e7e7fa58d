//! `[limits]`, and what the server says of itself.

use super::parse;

#[test]
fn what_the_server_says_of_itself_is_chosen() {
    let text = "[server]\nchaos = ['id.server']\nidentity = 'ns1 (rack 7)'\nnsid = false\n";
    let server = parse(text).unwrap().server;
    assert_eq!((server.chaos, server.nsid), (vec!["id.server"], false));
    assert_eq!(server.identity, "ns1 (rack 7)");
    assert!(
        parse("[server]\nchaos = []\n")
            .unwrap()
            .server
            .chaos
            .is_empty()
    );
    let long = format!("identity = '{}'", "x".repeat(65));
    for line in [
        "chaos = ['authors.bind']",
        "chaos = true",
        "identity = 'ü'",
        &long,
    ] {
        let told = parse(&format!("[server]\n{line}\n")).unwrap_err();
        assert!(told.contains(":2: server."), "{told}");
    }
}

#[test]
fn proxies_are_prefixes_and_never_everybody_unnoticed() {
    let server = |line: &str| parse(&format!("[server]\n{line}\n"));
    let config = server("proxy_from = ['192.0.2.0/24', '2001:db8::1']").unwrap();
    assert_eq!(config.server.proxy_from.len(), 2);
    assert!(config.warnings.is_empty());
    let everybody = server("proxy_from = ['0.0.0.0/0']").unwrap();
    assert!(everybody.warnings[0].contains("everybody"));
    for line in ["proxy_from = ['192.0.2.1/24']", "proxy_from = 'dnsdist'"] {
        let told = server(line).unwrap_err();
        assert!(told.contains(":2: server.proxy_from"), "{told}");
    }
}

#[test]
fn interfaces_past_the_kernel_take_a_program_that_can() {
    let server = |line: &str| parse(&format!("[server]\n{line}\n"));
    assert!(server("xdp = []").unwrap().server.xdp.is_empty());
    let two = server("xdp = ['eth0', 'enp3s0f1.7']");
    if cfg!(feature = "xdp") {
        assert_eq!(two.unwrap().server.xdp, ["eth0", "enp3s0f1.7"]);
    } else {
        let told = two.unwrap_err();
        assert!(told.contains(":2: server.xdp"), "{told}");
        assert!(told.contains("built without AF_XDP"), "{told}");
    }
    for line in [
        "xdp = ['a/b']",
        "xdp = ['']",
        "xdp = ['..']",
        "xdp = ['sixteen-letters.']",
        "xdp = 'eth0'",
        "xdp = ['eth0', 'eth0']",
    ] {
        let told = server(line).unwrap_err();
        assert!(told.contains(":2: server.xdp"), "{line}: {told}");
    }
}

// RFC 6052 section 2.2.
#[test]
fn prefixes_of_made_addresses_have_their_form() {
    let dns64 = |line: &str| parse(&format!("[dns64]\n{line}\n"));
    assert_eq!(dns64("prefix = ''").unwrap().dns64.prefix, None);
    for prefix in ["64:ff9b::/96", "2001:db8::/32", "2001:db8:1:2::/64"] {
        let read = dns64(&format!("prefix = '{prefix}'")).unwrap().dns64.prefix;
        assert_eq!(read, prefix.parse().ok());
    }
    for line in [
        "prefix = '64:ff9b::/95'",
        "prefix = '64:ff9b::'",
        "prefix = '64:ff9b::1/96'",
        "prefix = '2001:db8:0:0:100::/96'",
        "prefix = '192.0.2.0/24'",
        "exclude = ['192.0.2.0/24']",
        "clients = ['everybody']",
    ] {
        let told = dns64(line).unwrap_err();
        assert!(told.contains(":2: dns64."), "{told}");
    }
}

#[test]
fn limits_are_read_and_bounded() {
    let text = "[limits]\nexempt = ['192.0.2.0/24', '2001:db8::/32']\nqueries_per_prefix_s = 200\nresponses_per_s = 20\nwindow_s = 30\nslip = 3\ndenials_per_zone_s = 40\n";
    let limits = parse(text).unwrap().limits;
    assert_eq!(limits.exempt.len(), 2);
    let numbers = [
        limits.queries_per_prefix_s,
        limits.responses_per_s,
        limits.window_s,
        limits.slip,
        limits.denials_per_zone_s,
    ];
    assert_eq!(numbers, [200, 20, 30, 3, 40]);
    for (line, fault) in [
        ("exempt = ['192.0.2.1/24']", "limits.exempt"),
        ("queries_per_prefix_s = -1", "limits.queries_per_prefix_s"),
        ("responses_per_s = 'many'", "limits.responses_per_s"),
        ("window_s = 0", "limits.window_s"),
        ("window_s = 3601", "limits.window_s"),
        ("slip = 11", "limits.slip"),
    ] {
        let told = parse(&format!("[limits]\n{line}\n")).unwrap_err();
        assert!(
            told.contains(":2: ") && told.contains(fault),
            "{line}: {told}"
        );
    }
}
