//! `[server.tls]`, entries of access lists that demand TLS, and certificates that sources are shown.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::{parse, refused};
use holdfast::config::{Config, Source};
use tempfile::TempDir;

/// Files of certificates and keys: a good pair, the key of another, and what is none.
static FILES: LazyLock<TempDir> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    for name in ["one", "two"] {
        let made = rcgen::generate_simple_self_signed([format!("{name}.example")]).unwrap();
        write(&format!("{name}.pem"), &made.cert.pem());
        write(&format!("{name}.key"), &made.signing_key.serialize_pem());
    }
    write("none", "nothing of the kind\n");
    write(
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
    );
    directory
});

fn file(name: &str) -> PathBuf {
    FILES.path().join(name)
}

fn at(name: &str) -> String {
    file(name).display().to_string()
}

/// `[server.tls]` with a good certificate and key, and more from line 4 on.
fn tls(more: &str) -> String {
    let (cert, key) = (at("one.pem"), at("one.key"));
    format!("[server.tls]\ncert = '{cert}'\nkey = '{key}'\n{more}\n")
}

#[test]
fn listeners_show_a_certificate() {
    let text = tls(&format!(
        "dot = ['127.0.0.1:853', '[::1]:853']\nclient_ca = '{}'",
        at("two.pem")
    ));
    let config = parse(&text).unwrap();
    let read = config.server.tls.unwrap();
    assert_eq!(read.dot.len(), 2);
    assert!(read.client_ca.is_some() && config.warnings.is_empty());
    assert!(format!("{read:?}").contains("Identity(1 certificates)"));
    let without = parse(&tls("")).unwrap();
    assert!(
        without.warnings[0].contains("nothing is encrypted"),
        "{:?}",
        without.warnings
    );
    // Another certificate is another configuration.
    let other = tls("").replace("one.", "two.");
    assert_ne!(parse(&other).unwrap().server.tls, without.server.tls);
    assert_eq!(parse("[server.tls]\n").unwrap(), Config::default());
}

#[test]
fn encrypted_listeners_are_read() {
    let all = "dot = ['127.0.0.1:853']\ndoh = ['127.0.0.1:443']\ndoq = ['127.0.0.1:853']\nname = 'one.example.'";
    let read = parse(&tls(all)).unwrap().server.tls.unwrap();
    assert_eq!([&read.dot, &read.doh, &read.doq].map(Vec::len), [1; 3]);
    assert_eq!(read.name.unwrap().to_string(), "one.example.");
    let both = "dot = ['127.0.0.1:853']\ndoh = ['127.0.0.1:853']";
    let expected = "127.0.0.1:853 is in dot and in doh; allowed is one of them";
    refused(&tls(both), &[(5, expected)]);
    for key in ["doh", "doq"] {
        let told = parse(&tls(&format!("{key} = ['127.0.0.1:5300']"))).unwrap_err();
        let expected = format!("127.0.0.1:5300 is in listen and in tls.{key}");
        assert!(told.contains(&expected), "{told}");
        assert!(parse(&tls(&format!("{key} = ['127.0.0.1']"))).is_err());
    }
}

#[test]
fn what_cannot_be_shown_is_told_at_its_line() {
    let check = |cert: &str, key: &str, line: usize, expected: &str| {
        let text = format!(
            "[server.tls]\ncert = '{}'\nkey = '{}'\ndot = ['127.0.0.1:853']\n",
            at(cert),
            at(key)
        );
        refused(&text, &[(line, expected)]);
    };
    check("gone.pem", "one.key", 2, "gone.pem: cannot be read");
    check("none", "one.key", 2, "no certificate in PEM form");
    check("broken.pem", "one.key", 2, "cannot be used");
    check("one.pem", "gone.key", 3, "gone.key: cannot be read");
    check("one.pem", "none", 3, "no private key in PEM form");
    check("one.pem", "one.pem", 3, "no private key in PEM form");
    check(
        "one.pem",
        "two.key",
        3,
        "not the key of the first certificate",
    );
    let missing = format!("[server.tls]\ncert = '{}'\n", at("one.pem"));
    refused(&missing, &[(1, "`key` is missing; name the private key")]);
    let wrong = |more: &str, expected: &str| refused(&tls(more), &[(4, expected)]);
    wrong("dot = ['127.0.0.1']", "ADDRESS:PORT");
    wrong("dot = ['127.0.0.1:853', '127.0.0.1:853']", "listed twice");
    wrong(
        &format!("client_ca = '{}'", at("none")),
        "no certificate in PEM form",
    );
    wrong(
        &format!("client_ca = '{}'", at("broken.pem")),
        "a certificate that is none",
    );
    wrong("names = 'x'", "unknown key");
    let both = format!(
        "[server]\nlisten = ['127.0.0.1:853']\n{}",
        tls("dot = ['127.0.0.1:853']")
    );
    refused(&both, &[(3, "127.0.0.1:853 is in listen and in tls.dot")]);
}

#[test]
fn access_lists_may_demand_tls() {
    let asking = format!("dot = ['127.0.0.1:853']\nclient_ca = '{}'\n", at("two.pem"));
    let entry = |entry: &str| format!("[access]\nallow_transfer = [{entry}]\n");
    let check = |text: &str, expected: (bool, bool, bool, bool)| {
        let config = parse(&(entry(text) + &tls(&asking)));
        let peer = &config.unwrap().access.allow_transfer[0];
        let said = (
            peer.net.is_some(),
            peer.tsig.is_some(),
            peer.tls,
            peer.tls_name.is_some(),
        );
        assert_eq!(said, expected, "{text}");
    };
    check("'192.0.2.0/24'", (true, false, false, false));
    check("{ address = '192.0.2.1' }", (true, false, false, false));
    check(
        "{ address = '192.0.2.0/24', tls = true }",
        (true, false, true, false),
    );
    check("{ tls_name = 'two.example' }", (false, false, true, true));
    check(
        "{ address = '::/0', tls = true, tls_name = '192.0.2.1' }",
        (true, false, true, true),
    );
    let wrong = |text: &str, expected: &str| {
        refused(&(entry(text) + &tls(&asking)), &[(2, expected)]);
    };
    wrong(
        "{ tls = true }",
        "at least one of `address`, `tsig` and `tls_name`",
    );
    wrong("{}", "at least one of");
    wrong(
        "{ address = '192.0.2.1/24', tls = true }",
        "no bits beyond the prefix",
    );
    wrong("{ tls_name = 'a b' }", "not allowed here");
    wrong("{ tls_name = 'two.example', tls = false }", "of no use");
    wrong("{ address = '192.0.2.1', tls = 1 }", "true or false");
    wrong("{ address = '192.0.2.1', port = 1 }", "unknown key");
    wrong(
        "{ tsig = 'none.', tls = true }",
        "not in any [[tsig]] table",
    );
    // A demand that nobody can meet is a slip.
    let demand = entry("{ address = '::1', tls = true }");
    refused(&demand, &[(1, "add [server.tls] with dot")]);
    let demand = entry("{ tls_name = 'two.example' }") + &tls("dot = ['127.0.0.1:853']");
    refused(&demand, &[(1, "name client_ca in [server.tls]")]);
}

#[test]
fn sources_may_be_shown_a_certificate() {
    let source = |more: &str| {
        format!("[[mirror]]\nzone = '.'\nsources = [{{ axfr = '192.0.2.1'{more} }}]\n")
    };
    let (one, key) = (at("one.pem"), at("one.key"));
    let config = parse(&source(&format!(
        ", tls = true, cert = '{one}', key = '{key}'"
    )))
    .unwrap();
    let Source::Axfr { tls: Some(tls), .. } = &config.mirrors[0].sources[0] else {
        panic!("a transfer over TLS");
    };
    assert_eq!(tls.client.as_ref().unwrap().cert, Path::new(&one));
    let wrong = |more: &str, expected: &str| refused(&source(more), &[(3, expected)]);
    wrong(
        &format!(", cert = '{one}', key = '{key}'"),
        "of no use without tls = true",
    );
    wrong(&format!(", tls = true, cert = '{one}'"), "cert needs `key`");
    wrong(&format!(", tls = true, key = '{key}'"), "key needs `cert`");
    let other = at("two.key");
    wrong(
        &format!(", tls = true, cert = '{one}', key = '{other}'"),
        "not the key of the first certificate",
    );
}

#[test]
fn forwarders_over_tls_are_known_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["ns.example".to_owned()]).unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let ca = ca.display();
    let forward = |zone: &str, keys: &str| {
        format!("[[forward]]\nzone = '{zone}'\nservers = ['192.0.2.1', '192.0.2.2:5300']\n{keys}\n")
    };
    let named = format!("tls = true\ntls_name = 'ns.example'\nca = '{ca}'");
    let config = parse(&forward("a.", &named)).unwrap();
    let servers: Vec<_> = (config.forwards[0].servers.iter())
        .map(ToString::to_string)
        .collect();
    assert_eq!(servers, ["192.0.2.1:853", "192.0.2.2:5300"]);
    let tls = config.forwards[0].tls.as_ref().unwrap();
    assert!(tls.ca.is_some());
    assert_eq!(tls.name, "ns.example".try_into().ok());
    let bare = parse(&forward("a.", "tls = true")).unwrap();
    assert_eq!(bare.forwards[0].tls.as_ref().unwrap().name, None);
    for (keys, fault) in [
        (
            "tls_name = 'ns.example'",
            "tls_name is of no use without tls",
        ),
        (
            &format!("tls = false\nca = '{ca}'"),
            "ca is of no use without tls",
        ),
        ("tls = 'yes'", "forward.tls"),
        ("tls = true\ntls_name = 'a b'", "forward.tls_name"),
        ("tls = true\nca = 'none.pem'", "forward.ca"),
    ] {
        let told = parse(&forward("a.", keys)).unwrap_err();
        assert!(told.contains(fault), "{keys}: {told}");
    }
    // One address is asked in one way.
    let other = "tls = true\ntls_name = 'other.example'";
    let both = [forward("a.", &named), forward("b.", other)].concat();
    let told = parse(&both).unwrap_err();
    assert!(told.contains("another tls, tls_name or ca"), "{told}");
    assert!(parse(&[forward("a.", &named), forward("b.", &named)].concat()).is_ok());
}
