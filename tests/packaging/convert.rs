//! `holdfast convert unbound`: what realistic configurations become, and that `holdfast check` takes it.

use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast::config::{Config, MirrorUse};
use holdfast::convert::{self, Converted, Disk};
use tempfile::TempDir;

use super::path;

fn of(name: &str) -> PathBuf {
    path("tests/packaging/unbound").join(name)
}

/// Converts a file of the samples, writes what belongs to it, and reads it as any configuration.
fn converted(file: &Path) -> (Converted, Config, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let zones = directory.path().join("zones");
    let converted = convert::unbound(file, Some(&zones), &Disk).unwrap();
    std::fs::create_dir(&zones).unwrap();
    for file in &converted.files {
        std::fs::write(zones.join(&file.name), &file.text).unwrap();
    }
    let read = Config::parse(Path::new("config.toml"), &converted.config);
    let config = read.unwrap_or_else(|error| panic!("{error}\n{}", converted.config));
    (converted, config, directory)
}

fn shown<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// Line, directive and reason of each note.
fn notes(list: &[convert::Note]) -> Vec<(usize, &str, &str)> {
    list.iter()
        .map(|n| (n.line, n.directive.as_str(), n.reason.as_str()))
        .collect()
}

#[track_caller]
fn noted(list: &[convert::Note], directive: &str, reason: &str) {
    let found = list
        .iter()
        .find(|note| note.directive.starts_with(directive));
    let found = found.unwrap_or_else(|| panic!("no note of {directive}: {:#?}", notes(list)));
    assert!(found.reason.contains(reason), "{found}");
}

#[test]
fn a_providers_resolver() {
    let (converted, config, _directory) = converted(&of("isp.conf"));
    let listen = ["127.0.0.1:53", "192.0.2.53:53", "[2001:db8::53]:53"];
    assert_eq!(shown(&config.server.listen), listen);
    assert_eq!(config.server.workers, 8);
    assert_eq!(config.server.chaos, ["status.holdfast"]);
    assert!(!config.server.nsid);
    let allow = [
        "127.0.0.0/8",
        "192.0.2.0/24",
        "198.51.100.0/25",
        "::1/128",
        "2001:db8::/32",
    ];
    assert_eq!(shown(&config.access.allow), allow);
    assert!(shown(&config.access.allow_own_zones).contains(&"203.0.113.0/24".to_owned()));
    assert_eq!(config.cache.bytes_max, 768 << 20);
    assert_eq!(
        (config.stale.enabled, config.stale.age_max_s),
        (true, 86_400)
    );
    assert_eq!(config.limits.queries_per_prefix_s, 1000);
    assert_eq!(config.limits.tcp_connections_max, 1000);
    assert!(config.resolver.prefetch && !config.resolver.case_randomisation);
    assert_eq!(shown(&config.resolver.outgoing), ["192.0.2.54"]);
    let anchors = &config.resolver.negative_trust_anchors;
    assert_eq!(anchors[0].name.to_string(), "corp.example.");
    let forwards: Vec<_> = (config.forwards.iter())
        .map(|f| (f.table(), f.zone.to_string(), shown(&f.servers)))
        .collect();
    let corp = vec!["192.0.2.10:53".to_owned(), "192.0.2.11:5353".to_owned()];
    let lab = vec!["192.0.2.20:53".to_owned()];
    assert_eq!(
        forwards,
        [
            ("forward", "corp.example.".to_owned(), corp),
            ("stub", "lab.example.".to_owned(), lab)
        ]
    );
    assert_eq!(config.mirrors.len(), 1);
    assert_eq!(config.mirrors[0].use_, MirrorUse::Always);
    let sources = [
        "axfr:192.0.32.132",
        "https://www.internic.net/domain/root.zone",
    ];
    assert_eq!(shown(&config.mirrors[0].sources), sources);
    let zones: Vec<_> = config
        .zones
        .iter()
        .map(|zone| zone.name.to_string())
        .collect();
    assert_eq!(zones, ["ads.example.", "tracker.example.", "bad.example."]);
    assert_eq!(
        config.zones[0].file.file_name(),
        config.zones[2].file.file_name()
    );

    let left = &converted.left_out;
    noted(left, "so-rcvbuf: 4m", "fixed limits");
    noted(left, "username: unbound", "systemd");
    noted(left, "private-address: 10.0.0.0/8", "not taken out");
    noted(left, "ratelimit: 400", "limits.upstream_per_zone_max");
    noted(left, "auto-trust-anchor-file:", "cannot be read");
    noted(left, "primary: b.root-servers.net", "allowed are addresses");
    noted(left, "interface: 192.0.2.53", "tls-service-pem");
    noted(left, "local-zone: refused.example refuse", "no such type");
    noted(left, "remote-control:", "control socket");
    let differs = &converted.differs;
    noted(differs, "access-control: 198.51.100.128/25 deny", "REFUSED");
    noted(differs, "ip-ratelimit: 1000", "per /24");
    let of_lab = |note: &&convert::Note| note.directive.contains("lab.example");
    assert_eq!(left.iter().chain(differs).find(of_lab), None);
    // Each is in the text too, with the place.
    let block = left
        .iter()
        .find(|note| note.directive.contains("refused.example"))
        .unwrap();
    assert!(
        block.file.ends_with("isp.d/10-blocked.conf") && block.line == 5,
        "{block}"
    );
    for note in left.iter().chain(differs) {
        assert!(converted.config.contains(&format!("# {note}\n")), "{note}");
    }
    // What is carried over is not in the list.
    for carried in [
        "num-threads",
        "msg-cache-size",
        "harden-glue",
        "module-config",
        "forward-addr",
    ] {
        assert!(
            !left.iter().any(|note| note.directive.starts_with(carried)),
            "{carried}"
        );
    }
}

#[test]
fn an_office_with_names_of_its_own() {
    let (converted, config, directory) = converted(&of("office.conf"));
    assert_eq!(shown(&config.server.listen), ["0.0.0.0:53", "[::]:53"]);
    assert_eq!(config.server.identity, "office \"one\"");
    assert!(config.resolver.query_loopback);
    let [clear, encrypted] = &config.forwards[..] else {
        panic!("{:?}", config.forwards);
    };
    assert_eq!(clear.zone.to_string(), "10.in-addr.arpa.");
    assert!(clear.tls.is_none() && encrypted.zone.is_root());
    let servers = ["192.0.2.1:853", "[2001:db8::1]:853"];
    assert_eq!(shown(&encrypted.servers), servers);
    let name = encrypted.tls.as_ref().unwrap().name.clone();
    assert_eq!(name, holdfast::tls::name("dns.example"));
    let zones: Vec<_> = config
        .zones
        .iter()
        .map(|zone| zone.name.to_string())
        .collect();
    let expected = [
        "9.0.0.10.in-addr.arpa.",
        "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.",
        "portal.example.",
        "single.example.",
        "office.lan.",
    ];
    let mut sorted = zones.clone();
    sorted.sort();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    let file =
        |name: &str| std::fs::read_to_string(directory.path().join("zones").join(name)).unwrap();
    let office = file("office.lan.zone");
    assert!(
        office.contains("text.office.lan. TXT \"v=x1; a (b) # c\"\n"),
        "{office}"
    );
    let zone = holdfast::zone::load(
        office.as_bytes(),
        "f",
        Some(&"office.lan.".parse().unwrap()),
        1 << 20,
    );
    let zone = zone.unwrap().image;
    let alias = zone
        .find(
            &"www.office.lan.".parse().unwrap(),
            holdfast::dns::Rtype::CNAME,
        )
        .unwrap();
    let alias = alias.records(true).next().unwrap();
    // Names in local data end at the root.
    let alias = holdfast::zone::present::record(&alias);
    assert!(alias.ends_with("\tprinter.office.lan."), "{alias}");
    assert!(file("portal.example.zone").contains("*.portal.example. 60 A 10.0.0.80\n"));

    let left = &converted.left_out;
    noted(
        left,
        "local-data: broken.example A 10.0.0.256",
        "no record that can be read",
    );
    noted(
        left,
        "local-zone: 168.192.in-addr.arpa. nodefault",
        "special_use_zones",
    );
    noted(left, "made-up-option: 7", "no counterpart");
    noted(left, "view:", "[access]");
    noted(left, "rpz:", "not here");
    noted(
        &converted.differs,
        "local-data: single.example",
        "do not exist",
    );
    assert!(
        !left
            .iter()
            .any(|note| note.directive.starts_with("local-zone: 10.in-addr"))
    );
}

#[test]
fn what_is_no_configuration_is_refused_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let check = |text: &str, expected: &str| {
        let file = directory.path().join("unbound.conf");
        std::fs::write(&file, text).unwrap();
        let error = convert::unbound(&file, None, &Disk)
            .unwrap_err()
            .to_string();
        let error = error.replace(directory.path().to_str().unwrap(), "D");
        assert!(error.starts_with(expected), "{error}");
    };
    check(
        "server:\n  port 53\n",
        "D/unbound.conf:2: \"port\" is no `name: value`",
    );
    check(
        "server:\n  identity: \"x\n",
        "D/unbound.conf:2: a quote is not closed",
    );
    check(
        "include: none.conf\n",
        "D/unbound.conf:1: D/none.conf: cannot be read",
    );
    check(
        "include: unbound.conf\n",
        "D/unbound.conf:1: more than 8 files inside each other",
    );
    let none = directory.path().join("none");
    let error = convert::unbound(&none, None, &Disk)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("none:1: cannot be read: No such file or directory (os error 2)"),
        "{error}"
    );
}

#[test]
fn single_settings() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("unbound.conf");
    let of = |text: &str| {
        std::fs::write(&file, format!("server:\n{text}\n")).unwrap();
        converted(&file)
    };
    let (empty, config, _d) = of("");
    assert_eq!(shown(&config.server.listen), ["127.0.0.1:53", "[::1]:53"]);
    assert!(empty.left_out.is_empty() && empty.differs.is_empty());
    assert!(empty.config.contains("# [[mirror]]"));
    let (done, config, _d) = of("do-ip6: no\ndo-ip4: no");
    assert!(config.resolver.ipv4 && !config.resolver.ipv6);
    noted(&done.left_out, "do-ip4: no", "must be left");
    assert_eq!(shown(&config.server.listen), ["127.0.0.1:53"]);
    let (_, config, _d) = of("cache-min-ttl: 100000\nmsg-cache-size: 100k");
    assert_eq!(
        (config.cache.ttl_min_s, config.cache.ttl_max_s),
        (100_000, 100_000)
    );
    assert_eq!(config.cache.bytes_max, (4 << 20) + (100 << 10));
    let (done, config, _d) = of("cache-min-ttl: 300\ncache-max-ttl: 60\nedns-buffer-size: 9000");
    assert_eq!((config.cache.ttl_min_s, config.cache.ttl_max_s), (300, 300));
    assert_eq!(config.resolver.edns_buffer, 4096);
    assert_eq!(done.differs.len(), 2);
    let (_, config, _d) = of("module-config: \"iterator\"");
    assert_eq!(config.resolver.dnssec, holdfast::config::DnssecMode::Off);
    let (_, config, _d) = of("access-control: 127.0.0.0/8 refuse");
    assert_eq!(shown(&config.access.allow), ["::1/128"]);
    let root = "forward-zone:\nname: .\nforward-addr: 192.0.2.1\nauth-zone:\nname: \".\"\nprimary: 192.0.2.2";
    let (done, config, _d) = of(root);
    assert_eq!((config.forwards.len(), config.mirrors.len()), (0, 1));
    noted(&done.left_out, "name: .", "is a [[mirror]] already");
}

/// What is encrypted stays so, or is left out.
#[test]
fn servers_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("unbound.conf");
    let of = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let (done, config, _directory) = converted(&file);
        (done, config.forwards)
    };
    let (done, forwards) = of(
        "forward-zone:\nname: a.example\nforward-ssl-upstream: yes\n\
        forward-addr: 192.0.2.1#one.example\nforward-addr: 192.0.2.2@8853#one.example\n\
        forward-addr: 192.0.2.3#two.example\nforward-addr: 192.0.2.4",
    );
    let servers = ["192.0.2.1:853", "192.0.2.2:8853"];
    assert_eq!(shown(&forwards[0].servers), servers);
    assert!(forwards[0].tls.as_ref().unwrap().name.is_some());
    assert_eq!(done.left_out.len(), 2);
    noted(
        &done.left_out,
        "forward-addr: 192.0.2.3#two.example",
        "one name",
    );
    noted(&done.left_out, "forward-addr: 192.0.2.4", "one name");
    let (done, forwards) = of(
        "server:\ntls-upstream: yes\nforward-zone:\nname: a.example\n\
        forward-addr: 192.0.2.1\nstub-zone:\nname: b.example\nstub-addr: 192.0.2.2",
    );
    assert_eq!(forwards.len(), 1);
    assert!(forwards[0].tls.as_ref().unwrap().name.is_none());
    noted(&done.differs, "name: a.example", "each certificate");
    noted(&done.left_out, "name: b.example", "clear text");
    noted(&done.left_out, "tls-upstream: yes", "forward.tls");
    let (done, forwards) = of("stub-zone:\nname: b.example\nstub-addr: 192.0.2.2\nstub-first: yes");
    assert!(forwards[0].is_stub && !forwards[0].first);
    noted(&done.left_out, "stub-first: yes", "there is none");
}

#[test]
fn who_looks_on() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("unbound.conf");
    let of = |text: &str| {
        std::fs::write(&file, text).unwrap();
        converted(&file)
    };
    let (done, config, _d) =
        of("server:\nlog-queries: yes\nlog-replies: no\nlog-tag-queryreply: yes");
    assert_eq!(config.log.queries, Some(holdfast::config::QueryLog::Stderr));
    noted(&done.differs, "log-queries: yes", "log.queries");
    noted(&done.left_out, "log-tag-queryreply: yes", "form of its own");
    let tap = "dnstap:\ndnstap-enable: yes\ndnstap-socket-path: \"/run/tap.sock\"\n\
        dnstap-identity: \"office\"\ndnstap-log-client-query-messages: yes\n";
    let both = format!("{tap}dnstap-log-client-response-messages: yes\n");
    let (done, config, _d) = of(&both);
    let tapped = &config.dnstap;
    assert_eq!(tapped.socket, Some(PathBuf::from("/run/tap.sock")));
    assert_eq!(tapped.identity, "office");
    assert!(tapped.client && !tapped.resolver);
    assert!(done.left_out.is_empty() && done.differs.is_empty());
    let (done, _, _d) = of(&format!(
        "{tap}dnstap-ip: 192.0.2.1@6000\ndnstap-sample-rate: 10"
    ));
    noted(&done.differs, "dnstap-log-client-query", "all of these");
    noted(&done.left_out, "dnstap-ip: 192.0.2.1@6000", "unix socket");
    noted(&done.left_out, "dnstap-sample-rate: 10", "no counterpart");
    let (done, config, _d) =
        of("dnstap:\ndnstap-enable: yes\ndnstap-log-client-query-messages: yes");
    assert_eq!(config.dnstap.socket, None);
    noted(
        &done.left_out,
        "dnstap-enable: yes",
        "no dnstap-socket-path",
    );
    let (done, config, _d) = of("dnstap:\ndnstap-enable: no\ndnstap-socket-path: /run/tap.sock");
    assert!(config.dnstap.socket.is_none() && done.left_out.is_empty());
}

#[test]
fn made_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("unbound.conf");
    let check = |text: &str, prefix: Option<&str>, left_out: usize| {
        std::fs::write(&file, format!("server:\n{text}\n")).unwrap();
        let (done, config, _directory) = converted(&file);
        let expected = prefix.map(|prefix| prefix.parse().unwrap());
        assert_eq!(config.dns64.prefix, expected, "{text}");
        assert_eq!(done.left_out.len(), left_out, "{text}");
    };
    let module = "module-config: \"dns64 validator iterator\"";
    check(module, Some("64:ff9b::/96"), 0);
    let own = format!("{module}\ndns64-prefix: 2001:db8:64::/96");
    check(&own, Some("2001:db8:64::/96"), 0);
    check("dns64-prefix: 2001:db8:64::/96", None, 0);
    let long = format!("{module}\ndns64-prefix: 2001:db8:64::/97");
    check(&long, Some("64:ff9b::/96"), 1);
}

/// A list of names to be blocked has tens of thousands; so many as a configuration holds are taken over, the rest is counted.
#[test]
fn more_than_fits_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("unbound.conf");
    let mut text = String::from("server:\n");
    for n in 0..30_000 {
        text.push_str(&format!(
            "local-zone: \"a{n}.blocked.example\" always_nxdomain\n"
        ));
    }
    for n in 0..5000 {
        let (a, b) = (n / 256, n % 256);
        text.push_str(&format!(
            "access-control: 10.{a}.{b}.0/24 allow\ndomain-insecure: x{n}.example\n"
        ));
    }
    std::fs::write(&file, text).unwrap();
    let (converted, config, _d) = converted(&file);
    assert!(
        (2000..30_000).contains(&config.zones.len()),
        "{}",
        config.zones.len()
    );
    let noted = (converted.left_out.len() + converted.differs.len()) as u64;
    assert!(
        noted > 100 && converted.more > 20_000,
        "{noted} {}",
        converted.more
    );
    assert_eq!(config.resolver.negative_trust_anchors.len(), 1000);
    assert_eq!(shown(&config.access.allow), ["127.0.0.0/8", "::1/128"]);
}

#[test]
fn the_command_writes_what_check_takes() {
    let directory = tempfile::tempdir().unwrap();
    for sample in ["isp.conf", "office.conf"] {
        let run = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
            command
                .current_dir(directory.path())
                .args(arguments)
                .output()
                .unwrap()
        };
        let sample = of(sample);
        let sample = sample.to_str().unwrap();
        let done = run(&["convert", "unbound", sample, "--zones", "zones"]);
        assert!(done.status.success(), "{done:?}");
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(
            told.contains("left out: ") && told.contains("works otherwise: "),
            "{told}"
        );
        std::fs::write(directory.path().join("config.toml"), &done.stdout).unwrap();
        let checked = run(&["check"]);
        assert!(checked.status.success(), "{checked:?}");
        let without = run(&["convert", "unbound", sample]);
        assert!(String::from_utf8_lossy(&without.stderr).contains("--zones DIRECTORY writes it"));
    }
}
