//! The bundled `config.toml` tells the truth, and a wrong file is refused with the line and what is allowed.

#[path = "config/alerts.rs"]
mod alerts;
#[path = "config/encrypted.rs"]
mod encrypted;
#[path = "config/forwards.rs"]
mod forwards;
#[path = "config/limits.rs"]
mod limits;
#[path = "config/sets.rs"]
mod sets;
#[path = "config/sources.rs"]
mod sources;

use std::path::{Path, PathBuf};

use holdfast::config::{
    AgeMax, Anchors, Config, Hints, MirrorConfig, MirrorUse, NegativeTrustAnchor, Source, Verify,
};

const BUNDLED: &str = include_str!("../config.toml");

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("config.toml"), text).map_err(|error| error.to_string())
}

/// Expects exactly these faults: a line, and what the message contains.
#[track_caller]
fn refused(text: &str, expected: &[(usize, &str)]) {
    let error = match Config::parse(Path::new("dir/config.toml"), text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error,
    };
    let found: Vec<_> = error.faults().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
    for (fault, (line, part)) in found.iter().zip(expected) {
        let place = format!("dir/config.toml:{line}: ");
        assert!(
            fault.starts_with(&place) && fault.contains(part),
            "{fault}\nnot {place}...{part}"
        );
    }
}

/// What the bundled file would be without its mirrors and zones.
fn without_zones(config: Config) -> Config {
    Config {
        mirrors: Vec::new(),
        zones: Vec::new(),
        ..config
    }
}

#[test]
fn the_bundled_file_shows_the_defaults() {
    let config = parse(BUNDLED).unwrap();
    assert_eq!(config.mirrors.len(), 1);
    let mirror = &config.mirrors[0];
    let shown = MirrorConfig {
        sources: Vec::new(),
        bootstrap: None,
        ..mirror.clone()
    };
    assert_eq!(shown, MirrorConfig::new(".".parse().unwrap()));
    assert_eq!(mirror.bootstrap, Some(PathBuf::from("zones/root.zone")));
    let sources: Vec<_> = mirror.sources.iter().map(ToString::to_string).collect();
    assert_eq!(
        sources,
        [
            "axfr:192.0.32.132",
            "axfr:192.0.47.132",
            "https://www.internic.net/domain/root.zone"
        ]
    );
    assert_eq!(config.zones.len(), 1);
    assert_eq!(without_zones(config), Config::default());
}

/// A line such as `# key = value   # what it does`, without its first two characters.
fn commented_key(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("# ")?;
    let (key, _) = rest.split_once(" = ")?;
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.".contains(&byte);
    key.bytes().all(plain).then_some(rest)
}

#[test]
fn the_bundled_files_commented_lines_are_the_defaults_too() {
    let mut count = 0;
    let text: String = BUNDLED
        .lines()
        .map(|line| match commented_key(line) {
            // Those of tables that may not be written at all have a dotted key.
            Some(rest) if !rest.split(" = ").next().unwrap().contains('.') => {
                count += 1;
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(count > 2, "{count} lines");
    assert_eq!(without_zones(parse(&text).unwrap()), Config::default());
}

#[test]
fn every_key_is_in_the_bundled_file() {
    let mut table = String::new();
    let mut written = Vec::new();
    for line in BUNDLED.lines() {
        if line.starts_with('[') {
            let header = line.split('#').next().unwrap();
            table = header.trim().trim_matches(['[', ']']).to_owned();
            written.push(table.clone());
            continue;
        }
        let line = commented_key(line).unwrap_or(line);
        if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            let first = key.split('.').next().unwrap();
            // Tables that are left out stand at the end of another one, with their own name before the key.
            let top = ["forward", "stub", "tsig", "catalog"].contains(&first);
            written.push(if top {
                key.to_owned()
            } else {
                format!("{table}.{key}")
            });
        }
    }
    let named = |key: &str| {
        // The long forms of what stands in lists are shown in comments.
        let lists = [
            "mirror.sources.",
            "mirror.notify.",
            "access.allow_transfer.",
            "resolver.negative_trust_anchors.",
        ];
        if let Some(inner) = lists.iter().find_map(|list| key.strip_prefix(list)) {
            return BUNDLED.contains(&format!(" {inner} = "));
        }
        written
            .iter()
            .any(|line| line == key || line.starts_with(&format!("{key}.")))
    };
    let missing: Vec<_> = Config::known_keys()
        .into_iter()
        .filter(|key| !named(key))
        .collect();
    assert!(missing.is_empty(), "not in config.toml: {missing:?}");
    for key in written {
        assert!(
            Config::known_keys().contains(&key),
            "in config.toml, but no such key: {key}"
        );
    }
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(parse("").unwrap(), Config::default());
    assert_eq!(parse("[server]\n[cache]\n").unwrap(), Config::default());
}

#[test]
fn secondaries_are_addresses_with_or_without_a_key() {
    let mirror = |notify: &str| {
        let text = "[[mirror]]\nzone = 'a.'\nsources = ['axfr:192.0.2.1']\n";
        format!("{text}notify = [{notify}]\n")
    };
    let config = parse(&mirror("'192.0.2.2', { address = '[2001:db8::1]:54' }")).unwrap();
    let targets: Vec<_> = (config.mirrors[0].notify.iter())
        .map(|target| (target.addr.to_string(), target.tsig.clone()))
        .collect();
    let expected = ["192.0.2.2:53", "[2001:db8::1]:54"];
    assert_eq!(targets, expected.map(|addr| (addr.to_owned(), None)));
    refused(
        &mirror("'ns.example'"),
        &[(4, "allowed is an address such as")],
    );
    refused(&mirror("{ tsig = 'k.' }"), &[(4, "`address` is missing")]);
    refused(
        &mirror("'192.0.2.2', '192.0.2.2:53'"),
        &[(4, "192.0.2.2:53 is listed twice")],
    );
}

#[test]
fn catalogs_are_followed_or_produced() {
    let followed = "[[mirror]]\nzone = 'cat.'\nsources = ['axfr:192.0.2.1']\n\
                    [[catalog]]\nzone = 'cat.'\n";
    let config = parse(&format!(
        "{followed}sources = ['axfr:192.0.2.2']\nuse = 'always'\nmembers_max = 7\n"
    ))
    .unwrap();
    let catalog = &config.catalogs[0];
    assert_eq!((catalog.produce, catalog.members_max), (false, 7));
    assert_eq!(catalog.member.use_, MirrorUse::Always);
    assert_eq!(catalog.member.catalog, Some(catalog.zone.clone()));
    refused(followed, &[(4, "`sources` of its members are missing")]);
    refused(
        &format!("{followed}sources = ['file:a.zone']\n"),
        &[(6, "would be the file of every member")],
    );
    refused(
        "[[catalog]]\nzone = 'cat.'\nsources = ['axfr:192.0.2.2']\n",
        &[(2, "no [[mirror]] brings the catalog cat.")],
    );
    let config = parse("[[catalog]]\nzone = 'cat.'\nproduce = true\n").unwrap();
    assert!(config.catalogs[0].produce);
    refused(
        "[[catalog]]\nzone = 'cat.'\nproduce = true\nuse = 'always'\n",
        &[(4, "`use` is for the members of a catalog that is followed")],
    );
    refused(
        &format!("{followed}produce = true\n"),
        &[(5, "has a [[mirror]] or [[zone]]")],
    );
}

#[test]
fn values_are_parsed_into_their_final_form() {
    let config = parse(
        r#"
        [server]
        listen = ["0.0.0.0:53", "[::]:53"]
        workers = 4
        [access]
        allow = ["192.0.2.1", "2001:db8::/32"]
        [resolver]
        dnssec = "off"
        negative_trust_anchors = [
            "Broken.Example",
            { name = "late.example.", until = "2026-08-01T12:00:00Z" },
            { name = "date.example.", until = 2026-08-01T14:00:00+02:00 },
            { name = "lasting.example." },
        ]
        outgoing = ["192.0.2.7"]
        [cache]
        bytes_max = "1GiB"
        [[mirror]]
        zone = "lab"
        use = "always"
        sources = ["axfr:[2001:db8::1]:5353", "axfr:2001:db8::2", "file:zones/lab.zone", { axfr = "192.0.2.9:54" }]
        verify = "none"
        age_max = "soa"
        [lab]
        clock_file = "clock"
        "#,
    )
    .unwrap();
    assert_eq!(config.server.listen[1], "[::]:53".parse().unwrap());
    assert_eq!(config.server.workers, 4);
    assert_eq!(config.access.allow[0].to_string(), "192.0.2.1/32");
    assert_eq!(
        config.resolver.negative_trust_anchors,
        [
            ("broken.example.", None),
            ("late.example.", Some(1_785_585_600)),
            ("date.example.", Some(1_785_585_600)),
            ("lasting.example.", None),
        ]
        .map(|(name, until_s)| NegativeTrustAnchor {
            name: name.parse().unwrap(),
            until_s,
        })
    );
    assert_eq!(config.cache.bytes_max, 1 << 30);
    let mirror = &config.mirrors[0];
    assert_eq!(mirror.use_, MirrorUse::Always);
    assert_eq!(mirror.verify, Verify::None);
    assert_eq!(mirror.age_max, AgeMax::SoaExpire);
    let sources: Vec<_> = mirror.sources.iter().map(ToString::to_string).collect();
    assert_eq!(
        sources,
        [
            "axfr:[2001:db8::1]:5353",
            "axfr:[2001:db8::2]",
            "file:zones/lab.zone",
            "axfr:192.0.2.9:54"
        ]
    );
    assert_eq!(config.lab.clock_file, Some(PathBuf::from("clock")));
    assert_eq!(config.warnings.len(), 3, "{:?}", config.warnings);
}

#[test]
fn paths_are_relative_to_the_file() {
    let text = "[server]\ndata_dir = 'd'\n[[mirror]]\nzone = '.'\nsources = ['file:a.zone', 'file:/b.zone']\n";
    let config = Config::parse(Path::new("/etc/holdfast/config.toml"), text).unwrap();
    assert_eq!(config.server.data_dir, Path::new("/etc/holdfast/d"));
    assert_eq!(
        config.control.socket,
        Path::new("/etc/holdfast/d/control.sock")
    );
    assert_eq!(config.base_dir, Path::new("/etc/holdfast"));
    let files = [
        Source::File("/etc/holdfast/a.zone".into()),
        Source::File("/b.zone".into()),
    ];
    assert_eq!(config.mirrors[0].sources, files);
}

#[test]
fn unknown_keys_and_tables() {
    refused(
        "[server]\nlisen = []\n",
        &[(
            2,
            "server.lisen: unknown key; did you mean `listen`? allowed here: listen, data_dir",
        )],
    );
    refused(
        "\n[servers]\n",
        &[(
            2,
            "servers: unknown key; did you mean `server`? allowed here: server, access",
        )],
    );
    refused(
        "[resolver]\ncolour = 1\n",
        &[(2, "resolver.colour: unknown key; allowed here: root_hints")],
    );
    refused("dnssec = 'off'\n", &[(1, "dnssec: unknown key;")]);
    refused(
        "[[mirror]]\nzone = '.'\nsources = [{ axfr = '192.0.2.1', tsg = 'k' }]\n",
        &[(3, "mirror.sources.tsg: unknown key; did you mean `tsig`?")],
    );
}

#[test]
fn wrong_types() {
    refused(
        "server = 1\n",
        &[(1, "server: 1; allowed is one table, [server]")],
    );
    refused(
        "[mirror]\nzone = '.'\n",
        &[(1, "mirror: a table; allowed are tables, each [[mirror]]")],
    );
    refused(
        "[server]\nworkers = '4'\n",
        &[(
            2,
            "server.workers: \"4\" is not allowed here; allowed is a whole number from 0 to 1024",
        )],
    );
    refused(
        "[server]\nworkers = 1.5\n",
        &[(2, "server.workers: a fraction is not allowed")],
    );
    refused(
        "[server]\nlisten = '127.0.0.1:53'\n",
        &[(2, "allowed is a list")],
    );
    refused(
        "[resolver]\nprime = 'yes'\n",
        &[(
            2,
            "resolver.prime: \"yes\" is not allowed here; allowed is true or false",
        )],
    );
    refused(
        "[resolver]\ndnssec = true\n",
        &[(2, "allowed is \"validate\" or \"off\"")],
    );
    refused(
        "[log]\nlevel = 2020-01-01\n",
        &[(
            2,
            "log.level: a date is not allowed here; allowed is \"error\" or",
        )],
    );
}

#[test]
fn impossible_values() {
    refused(
        "[server]\nudp_size_max = 511\n",
        &[(2, "512 to 4096 bytes")],
    );
    refused("[server]\nudp_size_max = -1\n", &[(2, "-1 is not allowed")]);
    refused(
        "[server]\nlisten = []\n",
        &[(2, "at least one ADDRESS:PORT")],
    );
    refused(
        "[server]\nlisten = ['localhost:53']\n",
        &[(
            2,
            "\"localhost:53\" is not allowed here; allowed is ADDRESS:PORT",
        )],
    );
    refused(
        "[server]\nlisten = ['127.0.0.1:0']\n",
        &[(2, "ADDRESS:PORT")],
    );
    refused(
        "[server]\nlisten = ['[::1]:53', '[::1]:53']\n",
        &[(2, "[::1]:53 is listed twice")],
    );
    refused(
        "[access]\nallow = ['10.0.0.1/8']\n",
        &[(2, "allowed is \"10.0.0.0/8\"")],
    );
    refused(
        "[cache]\nbytes_max = '256MB'\n",
        &[(2, "KiB, MiB, GiB or TiB")],
    );
    refused(
        "[cache]\nbytes_max = '1KiB'\n",
        &[(2, "at least 1048576 bytes")],
    );
    refused("[stale]\nage_max = '3 days'\n", &[(2, "s, m, h, d or w")]);
    refused(
        "[control]\nsocket = '../control.sock'\n",
        &[(2, "inside data_dir")],
    );
    refused(
        "[control]\nsocket = '/run/control.sock'\n",
        &[(2, "inside data_dir")],
    );
    for path in ["/var/log/queries.log", "../queries.log"] {
        let text = format!("[log]\nqueries = '{path}'\n");
        refused(&text, &[(2, "relative path inside data_dir")]);
    }
    refused(
        "[log]\nqueries_bytes_max = '1KiB'\n",
        &[(2, "at least 1048576 bytes")],
    );
    refused(
        &format!("[dnstap]\nsocket = '/{}'\n", "x".repeat(107)),
        &[(2, "longer than a socket's name may be")],
    );
    refused(
        "[dnstap]\nsocket = '/run/dnstap.sock'\nclient = false\n",
        &[(3, "client and resolver are both false")],
    );
    refused(
        "[resolver]\nroot_hints = 'no-such.hints'\n",
        &[(2, "dir/no-such.hints cannot be read")],
    );
    let mirror =
        |rest: &str| format!("[[mirror]]\nzone = '.'\nsources = ['axfr:192.0.2.1']\n{rest}\n");
    refused(&mirror("shrink_max = '101%'"), &[(4, "\"0%\" to \"100%\"")]);
    refused(&mirror("shrink_max = 5"), &[(4, "\"0%\" to \"100%\"")]);
    refused(&mirror("generations = 0"), &[(4, "from 1 to 100")]);
    refused(&mirror("age_max = '1y'"), &[(4, "or \"soa\"")]);
    refused(&mirror("protect = ['a..b']"), &[(4, "a domain name")]);
}

#[test]
fn negative_trust_anchors_have_a_name_and_a_true_end() {
    let list = |element: &str| format!("[resolver]\nnegative_trust_anchors = [{element}]\n");
    let moment = "allowed is a moment such as \"2026-08-01T12:00:00Z\"";
    refused(&list("'a..b'"), &[(2, "a domain name")]);
    refused(&list("'.'"), &[(2, "dnssec = \"off\"")]);
    refused(
        &list("{ until = '2026-08-01T12:00:00Z' }"),
        &[(2, "`name` is missing")],
    );
    refused(&list("{ name = 'a.', until = 'tomorrow' }"), &[(2, moment)]);
    refused(&list("{ name = 'a.', until = 5 }"), &[(2, moment)]);
    // Without an offset it could be any of two days.
    refused(
        &list("{ name = 'a.', until = 2026-08-01T12:00:00 }"),
        &[(2, moment)],
    );
    refused(
        &list("{ name = 'a.', till = '2026-08-01T12:00:00Z' }"),
        &[(2, "till")],
    );
}

#[test]
fn what_must_hold_between_keys() {
    refused(
        "[resolver]\nhedge_max_ms = 10\n",
        &[(2, "hedge_min_ms is 20 and hedge_max_ms is 10")],
    );
    refused(
        "[resolver]\nhedge_max_ms = 10\nhedge_min_ms = 11\n",
        &[(3, "allowed is hedge_min_ms up to hedge_max_ms")],
    );
    refused(
        "[resolver]\nipv4 = false\nipv6 = false\n",
        &[(3, "one of them, not both")],
    );
    refused(
        "[resolver]\nipv6 = false\noutgoing = ['::1']\n",
        &[(3, "::1 is of a family that is switched off")],
    );
    refused(
        "[cache]\nttl_min_s = 90000\n",
        &[(2, "ttl_min_s is 90000 and ttl_max_s is 86400")],
    );
    refused(
        "[[mirror]]\nzone = '.'\n",
        &[(1, "neither `sources` nor `bootstrap`")],
    );
    refused(
        "[[mirror]]\nzone = '.'\nsources = []\n",
        &[(3, "at least one source")],
    );
    refused(
        "[[mirror]]\nsources = ['axfr:192.0.2.1']\n",
        &[(1, "mirror: `zone` is missing")],
    );
    let one = "[[mirror]]\nzone = 'lab.'\nsources = ['axfr:192.0.2.1']\n";
    refused(
        &one.repeat(2),
        &[(4, "a second [[mirror]] for lab.; allowed is one")],
    );
    refused(
        &format!("{one}protect = ['lab.']\n"),
        &[(4, "lab. is not below lab.")],
    );
    refused(
        "[[mirror]]\nzone = '.'\nsources = ['axfr:192.0.2.1', 'axfr:192.0.2.1:53']\n",
        &[(3, "listed twice")],
    );
    refused(
        "[[zone]]\nname = 'lab.'\n",
        &[(1, "zone: `file` is missing; name its zone file")],
    );
    refused(
        "[[zone]]\nname = 'lab.'\nfile = 'none.zone'\n",
        &[(3, "dir/none.zone cannot be read")],
    );
    let zone = "[[zone]]\nname = 'lab.test.'\nfile = '../zones/lab.test.zone'\n";
    let parse = |text: &str| {
        Config::parse(Path::new("tests/config.toml"), text)
            .unwrap_err()
            .to_string()
    };
    assert!(
        parse(&zone.repeat(2))
            .starts_with("tests/config.toml:4: zone: a second [[zone]] for lab.test.")
    );
    let both = format!("{zone}[[mirror]]\nzone = 'lab.test.'\nsources = ['axfr:192.0.2.1']\n");
    assert!(parse(&both).contains(":2: lab.test. is a [[mirror]] and a [[zone]]"));
}

#[test]
fn empty_tables_ask_for_nothing() {
    assert_eq!(
        parse("forward = []\n[server.tls]\n# cert = 'c'\n").unwrap(),
        Config::default()
    );
}

/// RFC 8945: keys are shared in files of their own, and those who use them must name one that there is.
#[test]
fn shared_keys() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let secret = |file: &str, text: &str, mode: u32| {
        let path = dir.path().join(file);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    secret("good", "c2l4dGVlbiBvY3RldHMhIQ==\n", 0o600);
    secret("open", "c2l4dGVlbiBvY3RldHMhIQ==\n", 0o644);
    secret("weak", "AAAA\n", 0o600);
    secret("bad", "no base64!\n", 0o600);
    secret("empty", "\n", 0o600);
    let parse = |text: &str| Config::parse(&dir.path().join("config.toml"), text);
    let table = |file: &str, more: &str| {
        format!("[[tsig]]\nname = 'Hub-Key.'\nsecret_file = '{file}'\n{more}")
    };
    let mirror = "[[mirror]]\nzone = 'x.'\nsources = [{ axfr = '192.0.2.1', tsig = 'hub-key.' }]\n";
    let config = parse(&(table("good", "algorithm = 'hmac-sha512'\n") + mirror)).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.tsig_keys[0].secret_file, dir.path().join("good"));
    let hub = "hub-key.".parse().unwrap();
    let key = config.keyring().find(&hub).unwrap();
    assert_eq!(key.algorithm(), holdfast::dns::tsig::Algorithm::HmacSha512);
    assert!(
        matches!(&config.mirrors[0].sources[0], Source::Axfr { tsig: Some(name), .. } if *name == hub)
    );
    let warned = |file: &str, what: &str| {
        let config = parse(&table(file, "")).unwrap();
        assert!(config.warnings[0].contains(what), "{:?}", config.warnings);
    };
    warned("open", "open is open to everybody on this machine");
    warned("weak", "a secret of 3 bytes, which can be guessed");
    let refused = |text: &str, what: &str| {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    refused(&table("bad", ""), "bad:1: the secret is not base64");
    refused(&table("empty", ""), "empty:1: the secret has 0 bytes");
    refused(&table("none", ""), "config.toml:3: tsig.secret_file: ");
    for old in ["hmac-sha1", "hmac-md5", "HMAC-SHA256"] {
        let algorithm = format!("algorithm = '{old}'\n");
        refused(&table("good", &algorithm), "allowed is \"hmac-sha256\" or");
    }
    refused("[[tsig]]\nname = 'k.'\n", "`secret_file` is missing");
    refused(
        &table("good", "").repeat(2),
        "a second [[tsig]] for Hub-Key.",
    );
    refused(
        &format!("[access]\nallow = ['::1']\n{mirror}"),
        "config.toml:5: the key hub-key. is not in any [[tsig]] table",
    );
    refused(
        "[access]\nallow_transfer = [\n  '::1',\n  'tsig:Other'\n]\n",
        "config.toml:4: the key Other. is not in any [[tsig]] table",
    );
}

#[test]
fn all_faults_are_reported_at_once() {
    refused(
        "[server]\nworkers = 'x'\nport = 1\n\n[cache]\nttl_min_s = -1\n[[mirror]]\nzone = '.'\nsources = [\n  'axfr:192.0.2.1',\n  'ftp:x',\n]\n",
        &[
            (2, "server.workers"),
            (3, "server.port: unknown key"),
            (6, "cache.ttl_min_s"),
            (
                11,
                "mirror.sources: \"ftp:x\" is not allowed here; allowed is \"axfr:ADDRESS\"",
            ),
        ],
    );
}

#[test]
fn text_that_is_no_toml() {
    refused("[server]\nworkers = \n", &[(2, "not TOML: ")]);
    refused(
        "[cache]\nttl_min_s = 1\nttl_min_s = 2\n",
        &[(3, "not TOML: duplicate key")],
    );
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let check = |expected: &str| {
        let error = Config::load(&file).unwrap_err().to_string();
        assert_eq!(error, format!("{}:{expected}", file.display()));
    };
    check("1: cannot be read: No such file or directory (os error 2)");
    std::fs::write(&file, b"# \xc3\xa9\n[server]\n# \xff\n").unwrap();
    check("3: not UTF-8 text; allowed is UTF-8 only");
    std::fs::write(&file, vec![b'#'; (1 << 20) + 1]).unwrap();
    check("1: too long: at most 1048576 bytes are read");
    std::fs::write(&file, "[resolver]\ntrust_anchor = 'anchors'\n").unwrap();
    std::fs::write(dir.path().join("anchors"), "; none\n. DS 1 8 2 abcd\n").unwrap();
    let error = Config::load(&file).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{}:2: a digest of 2 bytes; type 2 has 32",
            dir.path().join("anchors").display()
        )
    );
}

/// A small generator (xorshift64*), so that every run damages the same bytes.
struct Damage(u64);

impl Damage {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound.max(1)
    }

    /// One to four small wounds: a byte changed, a stretch cut out, doubled, or moved elsewhere.
    fn apply(&mut self, text: &str) -> String {
        const SIGNS: &[u8] = b"\"'[]{}=.,#\n\\-+0x_ \te\0\x7f\xff";
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            let end = (at + self.below(40)).min(bytes.len());
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] = SIGNS[self.below(SIGNS.len())],
                1 => drop(bytes.drain(at..end)),
                2 => bytes.insert(at, SIGNS[self.below(SIGNS.len())]),
                3 => bytes.extend_from_within(at..end),
                _ => {
                    let piece: Vec<u8> = bytes.drain(at..end).collect();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[test]
fn damaged_text_is_refused_or_accepted_but_never_panics() {
    const SEED: u64 = 0x00C0_FFEE;
    let mut damage = Damage(SEED);
    let (mut refused, mut accepted) = (0, 0);
    for round in 0..1500 {
        let text = damage.apply(BUNDLED);
        match Config::parse(Path::new("config.toml"), &text) {
            Ok(_) => accepted += 1,
            Err(error) => {
                refused += 1;
                let lines = text.lines().count() + 1;
                for fault in error.faults() {
                    assert!(fault.line <= lines, "round {round}: {fault}");
                    assert!(!fault.message.is_empty(), "round {round}");
                }
                assert!(!error.faults().is_empty() && error.faults().len() <= 50);
            }
        }
    }
    assert!(
        refused > 500 && accepted > 100,
        "{refused} refused, {accepted} accepted"
    );
}

#[test]
fn damaged_hints_and_anchors_never_panic() {
    let mut damage = Damage(0x0BAD_CAFE);
    let (hints, anchors) = (
        include_str!("../zones/root.hints"),
        include_str!("../zones/root.key"),
    );
    for _ in 0..4000 {
        let _ = Hints::parse(Path::new("hints"), &damage.apply(hints));
        let _ = Anchors::parse(Path::new("key"), &damage.apply(anchors));
    }
}

#[test]
fn deep_nesting_is_refused() {
    for open in ["[", "{a=", "a.", "{a.b=["] {
        let text = format!("key = {}", open.repeat(100_000));
        assert!(parse(&text).is_err());
        let closed = format!("key = {}1{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(parse(&closed).is_err());
    }
    assert!(parse(&format!("{}b = 1", "a.".repeat(50_000))).is_err());
}

#[test]
fn the_containers_file_is_good() {
    let text = include_str!("../docker/config.toml");
    let config = Config::parse(Path::new("/etc/holdfast/config.toml"), text).unwrap();
    assert_eq!(config.server.listen.len(), 2);
    assert_eq!(config.server.data_dir, Path::new("/var/lib/holdfast"));
    assert_eq!(config.mirrors.len(), 1);
    // It is an open resolver for nobody but private networks.
    assert!(config.access.allow.iter().all(|net| net.prefix_len() >= 7));
}

#[test]
fn the_readmes_example_is_good() {
    let readme = include_str!("../README.md");
    let examples: Vec<_> = readme.split("```toml\n").skip(1).collect();
    assert!(!examples.is_empty());
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("keys")).unwrap();
    std::fs::write(
        dir.path().join("keys/hub.secret"),
        "c2l4dGVlbiBvY3RldHMhIQ==",
    )
    .unwrap();
    for example in examples {
        let text = example.split("```").next().unwrap();
        Config::parse(&dir.path().join("config.toml"), text).unwrap();
    }
}

#[test]
fn what_looks_like_a_mistake_is_warned_about() {
    let check = |text: &str, expected: &str| {
        let warnings = parse(text).unwrap().warnings;
        assert!(
            warnings.iter().any(|warning| warning.starts_with(expected)),
            "{warnings:?}"
        );
    };
    check(
        "[access]\nallow = ['0.0.0.0/0']\n",
        "config.toml:2: access: 0.0.0.0/0 makes an open resolver",
    );
    check(
        "[lab]\nclock_file = 'c'\n",
        "config.toml:2: lab: the clock is read from a file",
    );
    check(
        "[resolver]\ndnssec = 'off'\n",
        "config.toml:2: resolver: nothing is validated",
    );
    let mirror = "[[mirror]]\nzone = '.'\nsources = ['axfr:192.0.2.1']\n";
    check(
        &format!("{mirror}bootstrap = 'none.zone'\n"),
        "config.toml:4: mirror: none.zone is missing",
    );
    check(
        &format!("{mirror}verify = 'none'\n"),
        "config.toml:4: mirror: a plain transfer that is not verified",
    );
    assert_eq!(parse(mirror).unwrap().warnings, Vec::<String>::new());
}
