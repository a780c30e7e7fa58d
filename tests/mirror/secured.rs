//! Sources that prove who they are: what is fetched over TLS and HTTPS, what is refused, what is remembered.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use holdfast::mirror::source::https::REDIRECTS_MAX;
use rustls::SupportedProtocolVersion;
use rustls::version::TLS12;

use crate::lab::{START_S, own_records, signed, zone_text};
use crate::secure::{HUB, Page, Secure, Then, XOT};
use crate::signer::Signer;
use holdfast::config::Source;
use holdfast::dns::Record;
use holdfast::dns::tsig::{Algorithm, Key};

const NO_ZONEMD: &str = "no ZONEMD";

/// Signed, without a digest over delegations and glue.
fn without_zonemd(serial: u32) -> Vec<Record> {
    Signer::new("test.", 1).sign(&own_records(serial, 10))
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut packing = GzEncoder::new(Vec::new(), Compression::best());
    packing.write_all(text).unwrap();
    packing.finish().unwrap()
}

fn zone(serial: u32) -> Vec<u8> {
    zone_text(&signed(serial)).into_bytes()
}

/// A mirror that holds serial 10 from `/test.zone`.
async fn with_ten() -> Secure {
    let mut secure = Secure::new();
    secure.lab.config.sources = vec![secure.https("/test.zone")];
    secure.net.set("/test.zone", Page::file(zone(10)));
    secure.lab.start().await;
    secure.lab.refresh().await.unwrap();
    assert_eq!(secure.lab.serial(), Some(10));
    secure.net.requests();
    secure
}

// What a channel proves.

#[tokio::test(start_paused = true)]
async fn a_transfer_over_tls_vouches_for_delegations() {
    let mut secure = Secure::new();
    secure.lab.config.sources = vec![secure.xot()];
    secure.lab.net.set(XOT, |p| p.records = without_zonemd(10));
    secure.lab.start().await;
    secure.lab.refresh().await.unwrap();
    let status = secure.lab.status();
    assert_eq!(status.serial, Some(10));
    assert_eq!(status.channel.as_deref(), Some("tls"));
    assert_eq!(
        status.source.as_deref(),
        Some("axfr:192.0.2.3:853 (TLS, hub.example)")
    );
    assert!(status.warnings.is_empty(), "{:?}", status.warnings);
    assert!(
        status
            .proves
            .unwrap()
            .contains("which proved itself with its certificate (TLS)")
    );
    assert_eq!(status.transfer, None);
}

#[tokio::test(start_paused = true)]
async fn a_plain_transfer_does_not() {
    let mut secure = Secure::new();
    secure
        .lab
        .net
        .set(crate::lab::PRIMARY, |p| p.records = without_zonemd(10));
    secure.lab.start().await;
    secure.lab.refresh().await.unwrap();
    let status = secure.lab.status();
    assert_eq!(status.channel.as_deref(), Some("plain"));
    assert!(
        status.warnings[0].contains(NO_ZONEMD),
        "{:?}",
        status.warnings
    );
    assert!(
        status
            .proves
            .unwrap()
            .contains("only as good as the channel")
    );
}

/// A shared key vouches as well, alone and through TLS.
#[tokio::test(start_paused = true)]
async fn a_shared_key_goes_with_and_without_tls() {
    for (server, channel) in [(crate::lab::PRIMARY, "tsig"), (XOT, "tls")] {
        let mut secure = Secure::new();
        let tls = match secure.xot() {
            Source::Axfr { tls, .. } if channel == "tls" => tls,
            _ => None,
        };
        let name = crate::signer::name("hub-key.");
        let key = Arc::new(Key::new(&name, Algorithm::HmacSha256, &[7; 32]));
        secure.lab.config.sources = vec![Source::Axfr {
            addr: server.parse().unwrap(),
            tsig: Some(name),
            tls,
        }];
        secure.lab.keys = vec![key.clone()];
        secure.lab.net.set(server, |p| {
            p.records = without_zonemd(10);
            p.key = Some(key);
        });
        secure.lab.start().await;
        secure.lab.refresh().await.unwrap();
        let status = secure.lab.status();
        assert_eq!(
            (status.serial, status.channel.as_deref()),
            (Some(10), Some(channel))
        );
        assert!(status.warnings.is_empty(), "{:?}", status.warnings);
        // Without the key it answers nobody.
        let other = Arc::new(Key::new(
            &crate::signer::name("hub-key."),
            Algorithm::HmacSha256,
            &[8; 32],
        ));
        secure.lab.net.set(server, |p| p.key = Some(other));
        let error = secure.lab.refresh().await.unwrap_err();
        assert!(error.contains("TSIG"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_web_server_vouches_for_delegations() {
    let mut secure = Secure::new();
    secure.lab.config.sources = vec![secure.https("/test.zone")];
    let text = zone_text(&without_zonemd(10));
    secure.net.set("/test.zone", Page::file(text));
    secure.lab.start().await;
    secure.lab.refresh().await.unwrap();
    let status = secure.lab.status();
    assert_eq!(
        (status.serial, status.channel.as_deref()),
        (Some(10), Some("https"))
    );
    assert_eq!(
        status.source.as_deref(),
        Some("https://hub.example/test.zone")
    );
    assert!(status.warnings.is_empty(), "{:?}", status.warnings);
    let generation = secure.lab.current().unwrap();
    assert_eq!(generation.last_contact_at(), Some(secure.lab.now_s()));
    let request = &secure.net.requests()[0];
    for part in [
        "get /test.zone http/1.1\r\n",
        "host: hub.example\r\n",
        "accept-encoding: gzip\r\n",
    ] {
        assert!(request.contains(part), "{request}");
    }
    // A different zone is refused like any other source's.
    secure.net.set(
        "/test.zone",
        Page::file(zone_text(&without_zonemd(11)).replace("www.test.", "wwx.test.")),
    );
    let error = secure.lab.refresh().await.unwrap_err();
    assert!(error.contains("serial 11 refused"), "{error}");
    assert_eq!(secure.lab.serial(), Some(10));
}

// Who is at the other end.

#[tokio::test(start_paused = true)]
async fn nobody_else_is_believed() {
    let mut secure = Secure::new();
    let stranger = crate::secure::Authority::new();
    let ours = &secure.authority;
    let mut old_tls = ours.identity(HUB, (-10, 300));
    const OLD: &[&SupportedProtocolVersion] = &[&TLS12];
    old_tls.versions = OLD;
    let mut no_alpn = ours.identity(HUB, (-10, 300));
    no_alpn.alpn.clear();
    let mut other_alpn = no_alpn.clone();
    other_alpn.alpn = vec![b"h2".to_vec()];
    let cases = [
        (
            ours.identity("other.example", (-10, 300)),
            "TLS: its certificate is for another name",
            true,
        ),
        (
            ours.identity(HUB, (-10, -1)),
            "TLS: its certificate has expired",
            true,
        ),
        (
            ours.identity(HUB, (1, 300)),
            "TLS: its certificate is not valid yet",
            true,
        ),
        (
            stranger.identity(HUB, (-10, 300)),
            "comes from no authority that is trusted here",
            true,
        ),
        (old_tls, "TLS: ", false),
        (no_alpn, "does not agree to the protocol `dot`", false),
        (other_alpn, "TLS: ", true),
    ];
    secure.lab.config.sources = vec![secure.xot(), secure.https("/test.zone")];
    secure.lab.net.set(XOT, |p| p.records = signed(10));
    secure.net.set("/test.zone", Page::file("not found"));
    secure.net.identify(stranger.identity(HUB, (-10, 300)));
    secure.lab.start().await;
    for (identity, expected, both) in cases {
        secure.net.identify(identity);
        let error = secure.lab.refresh().await.unwrap_err();
        let (xot, web) = error.split_once("; https://").unwrap();
        assert!(
            xot.contains("connect: ") && xot.contains(expected),
            "{error}"
        );
        assert_eq!(
            web.contains(expected) && web.contains("connect: "),
            both,
            "{error}"
        );
        assert_eq!(
            secure.lab.refresh().await.unwrap_err(),
            error,
            "worded the same each time"
        );
        assert_eq!(secure.lab.serial(), None);
    }
    secure
        .net
        .identify(secure.authority.identity(HUB, (-10, 300)));
    secure.lab.refresh().await.unwrap();
    assert_eq!(secure.lab.serial(), Some(10));
}

/// Certificates are judged by the program's clock.
#[tokio::test(start_paused = true)]
async fn a_certificate_runs_out() {
    let secure = with_ten().await;
    secure
        .net
        .identify(secure.authority.identity(HUB, (-10, 5)));
    secure.lab.refresh().await.unwrap();
    secure
        .lab
        .clock
        .set_wall(Duration::from_secs(START_S + 6 * 86_400));
    let error = secure.lab.refresh().await.unwrap_err();
    assert!(error.contains("its certificate has expired"), "{error}");
    assert_eq!(secure.lab.serial(), Some(10));
}

#[tokio::test(start_paused = true)]
async fn authorities_that_cannot_be_read_are_told() {
    let secure = with_ten().await;
    std::fs::write(&secure.ca, "no certificate").unwrap();
    let error = secure.lab.refresh().await.unwrap_err();
    assert!(
        error.contains("certificates: ") && error.contains("it holds no certificate"),
        "{error}"
    );
    std::fs::remove_file(&secure.ca).unwrap();
    let error = secure.lab.refresh().await.unwrap_err();
    assert!(
        error.contains("ca.pem: cannot be read: entity not found"),
        "{error}"
    );
    assert_eq!(secure.lab.serial(), Some(10));
}

/// Inside an outage nobody may know the server's address: that is an error after a while, and no hang.
#[tokio::test(start_paused = true)]
async fn a_name_without_an_address_hangs_nothing() {
    let secure = with_ten().await;
    let addresses = |found| *secure.lab.parent.addresses.lock().unwrap() = found;
    addresses(Err("SERVFAIL: no server reached".to_owned()));
    let error = secure.lab.refresh().await.unwrap_err();
    assert_eq!(
        error,
        "https://hub.example/test.zone: address of hub.example: SERVFAIL: no server reached"
    );
    addresses(Ok(vec![]));
    let error = secure.lab.refresh().await.unwrap_err();
    assert!(
        error.contains("address of hub.example: it has none"),
        "{error}"
    );
    secure.lab.parent.hang_addresses(true);
    let before = secure.lab.clock.now().mono;
    let error = secure.lab.refresh().await.unwrap_err();
    assert!(
        error.contains("address of hub.example: nothing for 12 s"),
        "{error}"
    );
    assert!(secure.lab.clock.now().mono - before < Duration::from_secs(13));
    assert_eq!(secure.lab.serial(), Some(10));
}

/// One of its addresses leads nowhere.
#[tokio::test(start_paused = true)]
async fn the_next_address_is_tried() {
    let secure = with_ten().await;
    let dead = "192.0.2.99:443";
    secure
        .lab
        .net
        .set(dead, |p| p.fault = crate::lab::Fault::Silent);
    let both = ["192.0.2.99", "192.0.2.4"].map(|ip| ip.parse().unwrap());
    *secure.lab.parent.addresses.lock().unwrap() = Ok(both.to_vec());
    secure.net.set("/test.zone", Page::file(zone(11)));
    secure.lab.refresh().await.unwrap();
    assert_eq!(secure.lab.serial(), Some(11));
    assert_eq!(secure.lab.net.get(dead).connections, 1);
}

// What a web server may do.

fn page(head: &str, body: impl Into<Vec<u8>>, then: Then) -> Page {
    Page {
        head: format!("HTTP/1.1 200 OK\r\n{head}"),
        body: body.into(),
        then,
        etag: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_answer_leaves_the_current_version() {
    let secure = with_ten().await;
    let whole = zone(11);
    let half = &whole[..whole.len() / 2];
    let announced = format!("Content-Length: {}\r\n", whole.len());
    let chunked = "Transfer-Encoding: chunked\r\n";
    let redirect = |to: &str| Page::bare(&format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n"));
    let many = (0..100)
        .map(|i| format!("X-{i}: y\r\n"))
        .collect::<String>();
    let long = format!("X-Long: {}\r\n", "y".repeat(100_000));
    let gz = packed(&whole);
    let cases: Vec<(Page, &str)> = vec![
        (
            Page::bare("HTTP/1.1 404 Not Found\r\n"),
            "the server answers 404 Not Found",
        ),
        (Page::bare("HTTP/1.1 500 Oh\r\n"), "the server answers 500"),
        (
            Page::bare("HTTP/1.1 206 Partial Content\r\n"),
            "the server answers 206",
        ),
        (
            Page::bare("HTTP/1.1 304 Not Modified\r\n"),
            "`not modified`, which was not asked",
        ),
        (page(&announced, half, Then::Close), "body: truncated"),
        (page(&announced, half, Then::Cut), "body: truncated"),
        (
            page(&announced, half, Then::Hang),
            "body: stalled: nothing for 20 s",
        ),
        (
            page(chunked, "5\r\n; abc\r\n", Then::Close),
            "body: truncated",
        ),
        (
            page(chunked, "5\r\n; abc\r\n", Then::Hang),
            "body: stalled: nothing for 20 s",
        ),
        (page(chunked, "zz\r\n", Then::Close), "body: "),
        (
            page(chunked, "", Then::Endless),
            "body: limit: larger than 1048576 bytes",
        ),
        (page(chunked, "", Then::Trickle), "body: too slow"),
        (
            page("Content-Length: 99999999\r\n", "", Then::Hang),
            "body: limit: larger than 1048576 bytes",
        ),
        (
            page("X-Unframed: 1\r\n", half, Then::Close),
            "the body does not say where it ends",
        ),
        (
            page("Content-Encoding: br\r\n", &*whole, Then::Close),
            "an encoding that was not asked for",
        ),
        (
            page("", packed(&vec![b';'; 32 << 20]), Then::Close),
            "body: limit: larger than 1048576 bytes unpacked",
        ),
        (
            page("", &gz[..gz.len() - 4], Then::Close),
            "body: gzip: damaged or cut short",
        ),
        (
            page("", "<html>welcome</html>", Then::Close),
            "body: not a zone: ",
        ),
        (
            page(&many, &*whole, Then::Close),
            "its header is larger than",
        ),
        (
            page(&long, &*whole, Then::Close),
            "its header is larger than",
        ),
        (
            redirect("http://hub.example/test.zone"),
            "redirect: it leads away from https",
        ),
        (redirect("https://a b/"), "redirect: it is no address"),
        (redirect("/test.zone"), "redirect: more than 5 in a row"),
        (
            Page::bare("HTTP/1.1 302 Found\r\n"),
            "redirect: it does not say where to",
        ),
        (
            Page {
                then: Then::Hang,
                ..Page::bare("HTTP/1.1 ")
            },
            "request: ",
        ),
        (Page::bare("SSH-2.0-OpenSSH_9.2\r\n"), "request: "),
    ];
    for (page, expected) in cases {
        secure.net.set("/test.zone", page);
        let error = secure.lab.refresh().await.unwrap_err();
        assert!(
            error.starts_with("https://hub.example/test.zone: "),
            "{error}"
        );
        assert!(error.contains(expected), "{expected}: {error}");
        assert_eq!(secure.lab.serial(), Some(10), "{expected}");
    }
    // Nothing of all that lies about.
    let directory = secure.lab.dir.path().join("mirror/test");
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 1);
    secure.net.set("/test.zone", Page::file(whole));
    secure.lab.refresh().await.unwrap();
    assert_eq!(secure.lab.serial(), Some(11));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_takes_too_long_is_given_up() {
    let mut secure = Secure::new();
    secure.lab.config.transfer_time_max_s = 50;
    secure.lab.config.sources = vec![secure.https("/test.zone")];
    let trickle = page("Transfer-Encoding: chunked\r\n", "", Then::Trickle);
    secure.net.set("/test.zone", trickle);
    secure.lab.start().await;
    let error = secure.lab.refresh().await.unwrap_err();
    assert!(
        error.contains("limit: longer than 50 s (transfer_time_max_s)"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn packed_files_and_redirects_are_followed() {
    let secure = with_ten().await;
    let gz = packed(&zone(11));
    secure.net.set(
        "/test.zone",
        page("Content-Encoding: gzip\r\n", &*gz, Then::Close),
    );
    secure.lab.refresh().await.unwrap();
    assert_eq!(secure.lab.serial(), Some(11));
    // Packed on the server, without a word about it.
    secure
        .net
        .set("/test.zone", page("", packed(&zone(12)), Then::Close));
    secure.lab.refresh().await.unwrap();
    assert_eq!(secure.lab.serial(), Some(12));
    let to = |path: &str| Page::bare(&format!("HTTP/1.1 301 Moved\r\nLocation: {path}\r\n"));
    for i in 0..REDIRECTS_MAX {
        let from = if i == 0 {
            "/test.zone".to_owned()
        } else {
            format!("/{i}")
        };
        secure.net.set(&from, to(&format!("{}", i + 1)));
    }
    secure
        .net
        .set(&format!("/{REDIRECTS_MAX}"), Page::file(zone(13)));
    secure.lab.refresh().await.unwrap();
    assert_eq!(secure.lab.serial(), Some(13));
}

// What is remembered.

fn tagged(serial: u32, tag: &str) -> Page {
    Page {
        etag: Some(format!("\"{tag}\"")),
        ..page(
            "Last-Modified: Thu, 26 Nov 2026 20:00:00 GMT\r\n",
            zone(serial),
            Then::Close,
        )
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_is_fetched_once_also_after_a_restart() {
    let mut secure = with_ten().await;
    secure.net.set("/test.zone", tagged(11, "v11"));
    secure.lab.refresh().await.unwrap();
    assert_eq!(secure.lab.serial(), Some(11));
    assert!(!secure.net.requests()[0].contains("if-none-match"));
    for restarted in [false, true] {
        if restarted {
            secure.lab.stop().await;
            secure.lab.start().await;
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        secure.net.requests();
        secure.lab.refresh().await.unwrap();
        let request = secure.net.requests().pop().unwrap();
        assert!(request.contains("if-none-match: \"v11\"\r\n"), "{request}");
        assert!(
            request.contains("if-modified-since: thu, 26 nov 2026"),
            "{request}"
        );
        let generation = secure.lab.current().unwrap();
        assert_eq!(generation.last_contact_at(), Some(secure.lab.now_s()));
    }
    secure.net.set("/test.zone", tagged(12, "v12"));
    secure.lab.refresh().await.unwrap();
    assert_eq!(secure.lab.serial(), Some(12));
    // One step back: the newest is known not to be wanted, and need not come again.
    secure.lab.mirror().rollback(None).await.unwrap();
    secure.net.requests();
    secure.lab.refresh().await.unwrap();
    assert!(secure.net.requests()[0].contains("if-none-match: \"v12\""));
    assert_eq!(secure.lab.serial(), Some(11));
    // After a restart the validators of 11 are at hand, but 11 is not what the source had last: no "not modified" of
    // a file that is gone. The rest is as before.
    secure.lab.stop().await;
    secure.lab.start().await;
    secure.lab.refresh().await.unwrap();
    assert_eq!(secure.lab.serial(), Some(11));
}

/// A version that was refused is not remembered as if it were here.
#[tokio::test(start_paused = true)]
async fn validators_go_with_their_version_alone() {
    let secure = with_ten().await;
    let mut bad = tagged(11, "v11");
    let text = String::from_utf8(bad.body.clone()).unwrap();
    bad.body = text.replace("www.test.", "wwx.test.").into_bytes();
    secure.net.set("/test.zone", bad);
    secure.lab.refresh().await.unwrap_err();
    secure.net.set("/test.zone", tagged(11, "v11"));
    secure.lab.refresh().await.unwrap();
    assert_eq!(secure.lab.serial(), Some(11));
    // Signed anew under the same serial.
    let mut signer = crate::lab::signer();
    signer.inception += 3600;
    let again = zone_text(&signer.sign(&own_records(11, 10)));
    secure.net.set("/test.zone", Page::file(again));
    let before = secure.lab.current().unwrap();
    secure.lab.refresh().await.unwrap();
    let after = secure.lab.current().unwrap();
    assert!(!Arc::ptr_eq(&before, &after) && after.serial() == 11);
}

/// What is held for the operator is not fetched over and over.
#[tokio::test(start_paused = true)]
async fn a_held_file_is_not_fetched_again() {
    let secure = with_ten().await;
    let small = crate::lab::signer().sign(&own_records(11, 2));
    let mut page = Page::file(zone_text(&small));
    page.etag = Some("\"small\"".into());
    secure.net.set("/test.zone", page);
    let error = secure.lab.refresh().await.unwrap_err();
    assert!(error.contains("serial 11 is held"), "{error}");
    secure.net.requests();
    assert_eq!(secure.lab.refresh().await.unwrap_err(), error);
    assert!(secure.net.requests()[0].contains("if-none-match: \"small\""));
}
