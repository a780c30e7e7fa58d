//! RFC 9460 by its test vectors, and what becomes of other text and octets.

use crate::dns::Rtype;
use crate::zone::parse::records;
use crate::zone::present;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// The data of one record at `example.com.`, as hexadecimal, or the error.
fn octets(rest: &str) -> Result<String, String> {
    let text = format!("$TTL 60\n@ {rest}\n");
    let origin = "example.com.".parse().unwrap();
    let mut all = records(text.as_bytes(), "z", Some(&origin));
    let record = all.next().unwrap().map_err(|error| error.to_string())?;
    assert!(all.next().is_none(), "{rest}");
    // Whatever can be read can be written, and is the same then.
    let shown = present::data(record.rtype, &record.rdata);
    let again = format!("a. 60 {} {shown}\n", record.rtype);
    let back = records(again.as_bytes(), "z", None).next().unwrap();
    assert_eq!(
        back.map(|r| r.rdata),
        Ok(record.rdata.clone()),
        "{rest}: {shown}"
    );
    assert!(!shown.contains("\\#"), "{shown}");
    Ok(record.rdata.iter().map(|b| format!("{b:02x}")).collect())
}

const FOO_COM: &str = "03666f6f076578616d706c6503636f6d00";
const FOO_ORG: &str = "03666f6f076578616d706c65036f726700";

/// RFC 9460 appendices D.1 and D.2.
#[test]
fn the_test_vectors_of_rfc_9460() {
    let check = |text: &str, expected: &str| assert_eq!(octets(text).as_deref(), Ok(expected));
    check("HTTPS 0 foo.example.com.", &format!("0000{FOO_COM}"));
    check("SVCB 1 .", "000100");
    check(
        "SVCB 16 foo.example.com. port=53",
        &format!("0010{FOO_COM}000300020035"),
    );
    check(
        "SVCB 1 foo.example.com. key667=hello",
        &format!("0001{FOO_COM}029b000568656c6c6f"),
    );
    check(
        r#"SVCB 1 foo.example.com. key667="hello\210qoo""#,
        &format!("0001{FOO_COM}029b000968656c6c6fd2716f6f"),
    );
    check(
        r#"SVCB 1 foo.example.com. ipv6hint="2001:db8::1,2001:db8::53:1""#,
        &format!(
            "0001{FOO_COM}0006002020010db800000000000000000000000120010db8000000000000000000530001"
        ),
    );
    check(
        r#"SVCB 1 example.com. ipv6hint="2001:db8:122:344::192.0.2.33""#,
        "0001076578616d706c6503636f6d000006001020010db80122034400000000c0000221",
    );
    check(
        "SVCB 16 foo.example.org. (\n alpn=h2,h3-19 mandatory=ipv4hint,alpn\n ipv4hint=192.0.2.1\n )",
        &format!("0010{FOO_ORG}0000000400010004000100090268320568332d313900040004c0000201"),
    );
    for alpn in [r#"alpn="f\\\\oo\\,bar,h2""#, r"alpn=f\\\092oo\092,bar,h2"] {
        check(
            &format!("SVCB 16 foo.example.org. {alpn}"),
            &format!("0010{FOO_ORG}0001000c08665c6f6f2c626172026832"),
        );
    }
}

/// RFC 9460 appendix D.3, and other slips, with their places.
#[test]
fn what_is_no_service_is_refused() {
    let check = |text: &str, expected: &str| {
        let error = octets(&format!("SVCB 1 foo.example.com. {text}")).unwrap_err();
        assert_eq!(error, format!("z:2:{expected}"), "{text}");
    };
    check(
        "( key123=abc key123=def )",
        "40: the same key a second time",
    );
    check("mandatory", "27: `mandatory` needs a list of keys");
    check("alpn", "27: `alpn` needs a list of protocols");
    check("port", "27: `port` needs a number");
    check("ipv4hint", "27: `ipv4hint` needs a list of addresses");
    check("ipv6hint=\"\"", "27: `ipv6hint` needs a list of addresses");
    check("no-default-alpn=abc", "27: this key has no value");
    check("mandatory=key123", "27: a mandatory key is missing");
    check("mandatory=mandatory", "27: `mandatory` cannot be mandatory");
    let twice = "27: a key is listed as mandatory twice, or out of order";
    check(
        "( mandatory=key123,key123 key123=abc )",
        &twice.replace("27", "29"),
    );
    check(
        r"alpn=h2 key0=\000\004\000\001 ipv4hint=192.0.2.1",
        &twice.replace("27", "35"),
    );
    check("alpn=h2,,h3", "27: nothing between the commas of a list");
    check("port=65536", "27: a port from 0 to 65535 is expected here");
    check("port=+1", "27: a port from 0 to 65535 is expected here");
    check(r"port=\0531", "27: no escapes in the value of this key");
    check("key3=x", "27: `port` needs a number");
    check(
        "ipv4hint=192.0.2.1,",
        "27: a list of IPv4 addresses is expected here",
    );
    check("ech=AA", "27: base64 is expected here");
    check("ech", "27: `ech` needs a value");
    check(r"dohpath=\255", "27: `dohpath` needs a path in UTF-8");
    check("key65535=a", "27: key65535 is no key");
    let unknown = "27: unknown key; known are those of RFC 9460 and keyNNNNN";
    for text in [
        "ALPN=h2",
        "key01=a",
        "key65536=a",
        "key=a",
        "=a",
        "\"alpn=h2\"",
    ] {
        check(text, unknown);
    }
    check(r"key9=\256", "27: an escape above \\255");
    check(r"key9=\25", "27: an escape that is none");
    check("alpn=a\"b\"", "27: a quote inside a value");
    check("alpn=\"a\"b", "27: a quote inside a value");
    check(
        r"alpn=a\\b",
        "27: in a list only commas and backslashes are escaped",
    );
    check(
        &format!("alpn={}", "a".repeat(256)),
        "27: more than 255 octets in a list",
    );
    let data = |text: &str| octets(text).unwrap_err();
    assert_eq!(data("SVCB"), "z:2:7: a priority is expected here");
    assert_eq!(
        data("SVCB x ."),
        "z:2:8: a priority from 0 to 65535 is expected here"
    );
    assert_eq!(data("HTTPS 1"), "z:2:10: a target name is expected here");
    assert_eq!(data("HTTPS 1 a..b"), "z:2:11: bad name: empty label");
    let long = format!("SVCB 1 . {}", "key9=".to_owned() + &"x".repeat(65_536));
    assert!(data(&long).contains("more than 65535 octets"));
    let long: String = (9..20)
        .map(|i| format!(" key{i}={}", "x".repeat(6000)))
        .collect();
    assert!(data(&format!("SVCB 1 .{long}")).ends_with("more than 65535 octets of data"));
}

#[test]
fn every_key_has_its_text() {
    let check = |text: &str, expected: &str| {
        octets(&format!("HTTPS {text}")).unwrap();
        let line = format!("a. 60 HTTPS {}\n", text.replace('@', "x.example.com."));
        let record = records(line.as_bytes(), "z", None).next().unwrap().unwrap();
        assert_eq!(present::data(Rtype::HTTPS, &record.rdata), expected);
    };
    check(
        "1 . ipv4hint=192.0.2.1,192.0.2.2 alpn=h2,h3 no-default-alpn port=\"8443\" ech=AAEC ipv6hint=::1",
        "1 . alpn=\"h2,h3\" no-default-alpn port=8443 ipv4hint=192.0.2.1,192.0.2.2 ech=AAEC ipv6hint=::1",
    );
    check(
        "2 a. dohpath=/dns{?dns} ohttp mandatory=key700,dohpath key700",
        "2 a. mandatory=dohpath,key700 dohpath=\"/dns{?dns}\" key8 key700",
    );
    check(
        r#"0 @ key9="a b;\"\\""#,
        r#"0 x.example.com. key9="a b;\"\\""#,
    );
    check(
        r#"1 . alpn="a\\,b\\\\c\001""#,
        r#"1 . alpn="a\\,b\\\\c\001""#,
    );
    // By its number, with the octets of the wire.
    check(r"1 . key1=\002h2", "1 . alpn=\"h2\"");
    check(
        "1 . key4=\"\\192\\000\\002\\001\" key5=\"abc\"",
        "1 . ipv4hint=192.0.2.1 ech=YWJj",
    );
}

#[test]
fn relative_targets_get_the_origin() {
    assert_eq!(octets("SVCB 1 foo").unwrap(), format!("0001{FOO_COM}"));
    assert_eq!(
        octets("SVCB 1 @").unwrap(),
        "0001076578616d706c6503636f6d00"
    );
    assert_eq!(
        octets("SVCB 1 fo\\111.example.com.").unwrap(),
        format!("0001{FOO_COM}")
    );
}

/// Octets that no text brings back are written as RFC 3597 does.
#[test]
fn other_data_is_written_in_hexadecimal() {
    for data in [
        &[][..],
        &[0],
        &[0, 1],
        &[0, 1, 0, 0],
        &[0, 1, 0, 0, 3, 0, 1, 7],
        // Keys out of order, and twice.
        &[0, 1, 0, 0, 9, 0, 0, 0, 8, 0, 0],
        &[0, 1, 0, 0, 9, 0, 0, 0, 9, 0, 0],
        &[0, 1, 0, 0, 1, 0, 2, 0, 0],
        &[0, 1, 0, 0, 0, 0, 2, 0, 1],
    ] {
        let shown = present::data(Rtype::SVCB, data);
        assert!(shown.starts_with("\\# "), "{data:?}: {shown}");
    }
}

/// Seeded: any text is read or refused, and what is read survives the way through text; so do any octets.
#[test]
fn any_service_survives_the_way_through_text() {
    let parts = [
        "mandatory=",
        "alpn=",
        "no-default-alpn",
        "port=53",
        "ipv4hint=192.0.2.1",
        "ech=AAEC",
        "ipv6hint=::1",
        "dohpath=/{?dns}",
        "key9=",
        "key700=\"a b\"",
        "h2",
        ",",
        "\\,",
        "\\\\",
        "\\001",
        "\"",
        " ",
        " ",
        "alpn",
        "key1",
        "x",
    ];
    let mut rng = SmallRng::seed_from_u64(9460);
    let mut good = 0;
    for _ in 0..20_000 {
        let mut text = String::from("SVCB 1 . ");
        for _ in 0..rng.random_range(1..8) {
            text += parts[rng.random_range(0..parts.len())];
        }
        good += u32::from(octets(&text).is_ok());
        let mut data = vec![0, 1, 0];
        for _ in 0..rng.random_range(0..4) {
            let value: Vec<u8> = (0..rng.random_range(0..20))
                .map(|_| rng.random_range(0..6))
                .collect();
            data.extend([0, rng.random_range(0..12), 0, value.len() as u8]);
            data.extend(value);
        }
        let line = format!("a. 60 SVCB {}\n", present::data(Rtype::SVCB, &data));
        let back = records(line.as_bytes(), "z", None).next().unwrap();
        assert_eq!(back.map(|r| r.rdata.to_vec()), Ok(data), "{line}");
    }
    assert!(good > 3_000, "{good}");
}
