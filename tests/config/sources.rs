//! Sources over TLS and HTTPS as they are written.

use super::{parse, refused};

#[test]
fn sources_that_prove_who_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let ca = file(
        "ca.pem",
        "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
    );
    let no_ca = file("no.pem", "-----BEGIN PRIVATE KEY-----\n");
    let text = |source: &str| format!("[[mirror]]\nzone = '.'\nsources = [{source}]\n");
    let check = |source: &str, expected: &str| {
        let config = parse(&text(source)).unwrap();
        assert_eq!(config.mirrors[0].sources[0].to_string(), expected);
    };
    check(
        "'https://h.example/root.zone'",
        "https://h.example/root.zone",
    );
    check(
        "{ https = 'https://h.example:444/z?a' }",
        "https://h.example:444/z?a",
    );
    check(
        &format!("{{ https = 'https://192.0.2.1/z', ca = '{ca}' }}"),
        "https://192.0.2.1/z",
    );
    check("{ axfr = '192.0.2.1', tls = false }", "axfr:192.0.2.1");
    check(
        "{ axfr = '192.0.2.1', tls = true }",
        "axfr:192.0.2.1:853 (TLS)",
    );
    let named = format!(
        "{{ axfr = '[2001:db8::1]:8853', tls = true, tls_name = 'hub.example', ca = '{ca}' }}"
    );
    check(&named, "axfr:[2001:db8::1]:8853 (TLS, hub.example)");
    let wrong = |source: &str, expected: &str| refused(&text(source), &[(3, expected)]);
    wrong(
        "'http://h.example/z'",
        "allowed is \"https://HOST/PATH\", plain http is not",
    );
    wrong("{ https = 'http://h.example/z' }", "plain http is not");
    wrong(
        "{ https = 'h.example/z' }",
        "allowed is \"https://HOST/PATH\"",
    );
    wrong(
        "'https://u:p@h.example/z'",
        "allowed is \"https://HOST/PATH\"",
    );
    wrong(
        "{ https = 'https://h.example/z', ca = '/nonexistent/ca.pem' }",
        "cannot be read",
    );
    wrong(
        &format!("{{ https = 'https://h.example/z', ca = '{no_ca}' }}"),
        "holds no certificate",
    );
    wrong(
        "{ axfr = '192.0.2.1', tls = true, tls_name = 'a b' }",
        "the host name in the server's certificate",
    );
    wrong(
        "{ axfr = '192.0.2.1', tls_name = 'hub.example' }",
        "of no use without tls = true",
    );
    wrong(
        &format!("{{ axfr = '192.0.2.1', ca = '{ca}' }}"),
        "of no use without https or tls = true",
    );
    wrong(
        "{ axfr = '192.0.2.1', https = 'https://h.example/z' }",
        "exactly one of `axfr` and `https`",
    );
}
