//! Durations and sizes in words.

/// The two largest units of a duration: `3 days 4 hours`.
pub fn duration_words(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (unit, name) in UNITS {
        let count = rest / unit;
        rest %= unit;
        if count > 0 {
            words.push(format!(
                "{count} {name}{}",
                if count == 1 { "" } else { "s" }
            ));
        } else if !words.is_empty() {
            break;
        }
    }
    words.truncate(2);
    match words.is_empty() {
        true => "0 seconds".into(),
        false => words.join(" "),
    }
}

/// Bytes in the largest unit that keeps the number above one: `12.5 MiB`.
pub(super) fn bytes_words(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(unit, _)| bytes >= *unit);
    match unit {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_words() {
        let check = |seconds, expected: &str| assert_eq!(duration_words(seconds), expected);
        check(0, "0 seconds");
        check(1, "1 second");
        check(61, "1 minute 1 second");
        check(3600, "1 hour");
        check(3 * 86_400 + 4 * 3600 + 59, "3 days 4 hours");
        check(86_400 + 59, "1 day");
    }
}
