//! Zone names as directory names.
//!
//! A zone's name may hold any octet, and catalogs bring names that strangers chose. Each zone gets one directory, and
//! no two zones the same one: letters (lower case), digits, `-` and `_` stand for themselves, labels are joined with
//! dots, every other octet is `%xx`, and the root is `@`. A name too long for a file system ends in a hash.

use crate::dns::Name;

/// Longest directory name, in octets; common file systems allow 255.
const LEN_MAX: usize = 200;
/// How much of a long name is kept before its hash, in octets.
const HEAD_LEN: usize = 100;

/// The directory name for `zone`.
pub fn directory_name(zone: &Name) -> String {
    if zone.is_root() {
        return "@".to_owned();
    }
    let zone = zone.to_lowercase();
    let labels: Vec<String> = zone.labels().map(escape).collect();
    let escaped = labels.join(".");
    if escaped.len() <= LEN_MAX {
        return escaped;
    }
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, zone.wire());
    format!(
        "{}@{}",
        &escaped[..HEAD_LEN],
        crate::store::hex(hash.as_ref())
    )
}

fn escape(label: &[u8]) -> String {
    let mut out = String::with_capacity(label.len());
    for &octet in label {
        match octet {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => out.push(octet as char),
            other => out.push_str(&format!("%{other:02x}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_and_distinct() {
        let long = format!(
            "{}.{}.{}.",
            r"\001".repeat(60),
            "b".repeat(60),
            "c".repeat(60)
        );
        let check = |zone: &str, expected: &str| {
            let got = directory_name(&zone.parse().unwrap());
            assert!(got.starts_with(expected), "{zone}: {got}");
            assert!(
                got.len() <= 255 && !got.contains('/') && !got.starts_with('.'),
                "{got}"
            );
        };
        check(".", "@");
        check("RU.", "ru");
        check("co.uk.", "co.uk");
        check(r"a\.b.", "a%2eb");
        check(r"\.\..x.", "%2e%2e.x");
        check(r"a/b.\000.", "a%2fb.%00");
        check(r"\@.", "%40");
        check(&long, "%01%01");
    }
}
