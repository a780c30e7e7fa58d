//! LOC records (RFC 1876) as text and as octets: where on earth something is, and how large.
//!
//! ```text
//! DEGREES [MINUTES [SECONDS]] N|S  DEGREES [MINUTES [SECONDS]] E|W  ALTITUDE [SIZE [HORIZONTAL [VERTICAL]]]
//! ```
//!
//! Seconds have up to three decimals, the rest is metres with up to two and perhaps an `m`. On the wire: version, three octets of
//! precision (a digit and a power of ten, in centimetres), latitude and longitude in thousandths of a second from 2^31, altitude in
//! centimetres from 100,000 m below the sea.

/// Octets of the data.
pub const LEN: usize = 16;
/// The equator and the prime meridian.
const ZERO_MS: u32 = 1 << 31;
/// Thousandths of a second in a degree.
const DEGREE_MS: u32 = 3_600_000;
/// The lowest altitude, centimetres below the sea.
const DEPTH_CM: i64 = 10_000_000;
/// The largest size and precision, centimetres: 9e9.
const PRECISION_CM_MAX: u64 = 9_000_000_000;
/// Size 1 m, horizontal precision 10 km, vertical precision 10 m (RFC 1876 section 3), where the text has none.
const PRECISIONS: [u8; 3] = [0x12, 0x16, 0x13];

/// The data of these words.
///
/// # Errors
/// The number of the word at fault, or of the one that is missing; and what is wrong.
pub fn read<'w>(
    words: impl IntoIterator<Item = &'w [u8]>,
) -> Result<[u8; LEN], (usize, &'static str)> {
    let words: Vec<&[u8]> = words.into_iter().collect();
    let mut at = 0;
    let latitude = angle(&words, &mut at, 90, b"NS")?;
    let longitude = angle(&words, &mut at, 180, b"EW")?;
    let altitude = words.get(at).and_then(|word| altitude(word));
    let altitude = altitude.ok_or((at, "an altitude in metres is expected here"))?;
    at += 1;
    let mut precisions = PRECISIONS;
    for octet in &mut precisions {
        if let Some(word) = words.get(at) {
            let found = metres(word).and_then(precision);
            *octet = found.ok_or((at, "a size or precision in metres is expected here"))?;
            at += 1;
        }
    }
    if at < words.len() {
        return Err((at, "more data than the record's type has"));
    }
    let mut data = [0; LEN];
    data[1..4].copy_from_slice(&precisions);
    data[4..8].copy_from_slice(&latitude.to_be_bytes());
    data[8..12].copy_from_slice(&longitude.to_be_bytes());
    data[12..].copy_from_slice(&altitude.to_be_bytes());
    Ok(data)
}

/// The text of these octets; `None` where none would bring them back.
pub fn text(data: &[u8]) -> Option<String> {
    let data: &[u8; LEN] = data.try_into().ok()?;
    let number = |at: usize| {
        let octets = data[at..].first_chunk().copied().unwrap_or_default();
        u32::from_be_bytes(octets)
    };
    let altitude_cm = i64::from(number(12)) - DEPTH_CM;
    let sign = if altitude_cm < 0 { "-" } else { "" };
    let (metres, cm) = (altitude_cm.abs() / 100, altitude_cm.abs() % 100);
    let mut out = format!(
        "{} {} {sign}{metres}.{cm:02}m",
        angle_text(number(4), ['N', 'S']),
        angle_text(number(8), ['E', 'W']),
    );
    for octet in &data[1..4] {
        let cm = u64::from(octet >> 4) * 10u64.pow(u32::from(octet & 0x0F));
        out += &match cm % 100 {
            0 => format!(" {}m", cm / 100),
            rest => format!(" {}.{rest:02}m", cm / 100),
        };
    }
    let again = read(out.split(' ').map(str::as_bytes)).ok()?;
    (again == *data).then_some(out)
}

fn angle(
    words: &[&[u8]],
    at: &mut usize,
    degrees_max: u32,
    directions: &[u8; 2],
) -> Result<u32, (usize, &'static str)> {
    const WANTED: &str = "degrees, minutes and seconds are expected here, then N or S, and E or W";
    let (mut total_ms, first) = (0, *at);
    for (unit_ms, max, decimals) in [(DEGREE_MS, degrees_max, 0), (60_000, 59, 0), (1, 59_999, 3)] {
        let word = words.get(*at).ok_or((*at, WANTED))?;
        if *at > first && is_direction(word, directions) {
            break;
        }
        let count = fixed_point(word, decimals).and_then(|n| u32::try_from(n).ok());
        total_ms += count.filter(|n| *n <= max).ok_or((*at, WANTED))? * unit_ms;
        *at += 1;
    }
    let word = words.get(*at).copied().unwrap_or_default();
    if !is_direction(word, directions) || total_ms > degrees_max * DEGREE_MS {
        return Err((*at, WANTED));
    }
    *at += 1;
    Ok(match word[0].eq_ignore_ascii_case(&directions[0]) {
        true => ZERO_MS + total_ms,
        false => ZERO_MS - total_ms,
    })
}

fn is_direction(word: &[u8], directions: &[u8; 2]) -> bool {
    let is = |d: &u8| matches!(word, [one] if one.eq_ignore_ascii_case(d));
    directions.iter().any(is)
}

fn angle_text(value: u32, [north, south]: [char; 2]) -> String {
    let (ms, direction) = match value.checked_sub(ZERO_MS) {
        Some(ms) => (ms, north),
        None => (ZERO_MS - value, south),
    };
    let (degrees, minutes) = (ms / DEGREE_MS, ms / 60_000 % 60);
    let (seconds, thousandths) = (ms / 1000 % 60, ms % 1000);
    format!("{degrees} {minutes} {seconds}.{thousandths:03} {direction}")
}

fn altitude(word: &[u8]) -> Option<u32> {
    let cm = match word.strip_prefix(b"-") {
        Some(below) => -i64::try_from(metres(below)?).ok()?,
        None => i64::try_from(metres(word)?).ok()?,
    };
    u32::try_from(cm + DEPTH_CM).ok()
}

/// Centimetres.
fn metres(word: &[u8]) -> Option<u64> {
    let number = word.strip_suffix(b"m").or(word.strip_suffix(b"M"));
    fixed_point(number.unwrap_or(word), 2)
}

/// A digit and a power of ten; what a digit cannot say is cut off (RFC 1876 section 2).
fn precision(cm: u64) -> Option<u8> {
    if cm > PRECISION_CM_MAX {
        return None;
    }
    let (mut digit, mut power) = (cm, 0);
    while digit > 9 {
        (digit, power) = (digit / 10, power + 1);
    }
    Some((digit as u8) << 4 | power)
}

/// A decimal number in units of its last decimal.
fn fixed_point(word: &[u8], decimals: usize) -> Option<u64> {
    let dot = word.iter().position(|b| *b == b'.').unwrap_or(word.len());
    let (whole, fraction) = word.split_at(dot);
    let fraction = fraction.strip_prefix(b".").unwrap_or(b"0");
    if whole.is_empty() || fraction.is_empty() || fraction.len() > decimals.max(1) {
        return None;
    }
    if decimals == 0 && dot < word.len() {
        return None;
    }
    let zeros = std::iter::repeat_n(&b'0', decimals.saturating_sub(fraction.len()));
    let digits = whole
        .iter()
        .chain(fraction.iter().take(decimals))
        .chain(zeros);
    digits.into_iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<[u8; LEN], usize> {
        read(text.split(' ').map(str::as_bytes)).map_err(|(at, _)| at)
    }

    // RFC 1876 section 4, and what BIND makes of them.
    #[test]
    fn places_are_written_as_they_are_read() {
        for (text_read, written) in [
            (
                "42 21 54 N 71 06 18 W -24m 30m",
                "42 21 54.000 N 71 6 18.000 W -24.00m 30m 10000m 10m",
            ),
            (
                "42 21 43.952 N 71 5 6.344 W -24m 1m 200m",
                "42 21 43.952 N 71 5 6.344 W -24.00m 1m 200m 10m",
            ),
            (
                "52 14 05 N 00 08 50 E 10m",
                "52 14 5.000 N 0 8 50.000 E 10.00m 1m 10000m 10m",
            ),
            (
                "32 7 19 S 116 2 25 E 10m",
                "32 7 19.000 S 116 2 25.000 E 10.00m 1m 10000m 10m",
            ),
            (
                "90 n 180 w 42849672.95",
                "90 0 0.000 N 180 0 0.000 W 42849672.95m 1m 10000m 10m",
            ),
            (
                "0 0 0.5 S 0 E -100000.00 0.05 0 90000000m",
                "0 0 0.500 S 0 0 0.000 E -100000.00m 0.05m 0m 90000000m",
            ),
        ] {
            let data = read_text(text_read).unwrap();
            assert_eq!(text(&data).as_deref(), Some(written), "{text_read}");
            assert_eq!(read_text(written), Ok(data));
        }
        let data = read_text("42 21 54 N 71 06 18 W -24m 30m").unwrap();
        let expected = b"\0\x33\x16\x13\x89\x17\x2d\xd0\x70\xbe\x15\xf0\0\x98\x8d\x20";
        assert_eq!(&data, expected);
    }

    #[test]
    fn what_is_no_place_is_refused_at_its_word() {
        for (text, at) in [
            ("91 N 0 E 0", 0),
            ("90 0 1 N 0 E 0", 3),
            ("1 60 N 0 E 0", 1),
            ("1 2 60 N 0 E 0", 2),
            ("1 2 3.0004 N 0 E 0", 2),
            ("1 2 3 4 N 0 E 0", 3),
            ("1 E 0 E 0", 1),
            ("1 N 181 E 0", 2),
            ("1 N 0 E", 4),
            ("1 N 0 E 1..0", 4),
            ("1 N 0 E -100000.01", 4),
            ("1 N 0 E 0 90000001m", 5),
            ("1 N 0 E 0 1 1 1 1", 8),
            ("N 0 E 0", 0),
            ("", 0),
        ] {
            assert_eq!(read_text(text), Err(at), "{text}");
        }
        // Octets that no text brings back.
        for (at, octet) in [(0, 1), (1, 0xA0), (1, 0x1A), (4, 0xFF), (1, 0x01)] {
            let mut data = read_text("1 N 0 E 0").unwrap();
            data[at] = octet;
            assert_eq!(text(&data), None, "{at} {octet}");
        }
    }
}
