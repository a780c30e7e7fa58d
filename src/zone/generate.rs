//! `$GENERATE`: one line that stands for many, with a number in it (BIND's extension).
//!
//! ```text
//! $GENERATE START-STOP[/STEP] OWNER [TTL] [CLASS] TYPE DATA
//! ```
//!
//! In owner and data `$` is the number, `${OFFSET[,WIDTH[,BASE]]}` the number plus an offset, padded with zeros to a width, in base
//! `d`, `o`, `x`, `X`, or `n` and `N`: hexadecimal digits from the last to the first with dots between, as reverse zones have
//! them. `\$` and `$$` are a dollar sign.
//!
//! Failure: a range that is none, a broken modifier, or more than [`LINES_MAX`] lines is an error at the directive; so is what makes more
//! than [`GENERATED_BYTES_MAX`] together with all that was made before, before any of it is made.

use std::fmt::Write;

/// Lines that one directive may stand for.
pub const LINES_MAX: u64 = 1 << 16;
/// Octets of the lines that all directives of a zone file, and of what it includes, may stand for: a short text must not make
/// more work than a long one. All of 10.in-addr.arpa fits.
pub const GENERATED_BYTES_MAX: u64 = 1 << 30;
/// The widest number.
const WIDTH_MAX: usize = 255;
/// The longest modifier, in octets.
const MODIFIER_LEN_MAX: usize = 64;

/// A directive that is being carried out.
pub struct Generate {
    /// The entry without directive and range, its line end included.
    template: Vec<u8>,
    next: u64,
    stop: u64,
    step: u64,
    /// Octets of all lines, or a few more.
    bytes: u64,
}

impl Generate {
    /// Reads the rest of an entry after the directive's name; its lines must have no more than `bytes_left` octets together.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn read(entry: &[u8], bytes_left: u64) -> Result<Generate, String> {
        let entry = entry.trim_ascii_start();
        let end = entry.iter().position(u8::is_ascii_whitespace);
        let (range, template) = entry.split_at(end.unwrap_or(entry.len()));
        let (next, stop, step) = parse_range(range)
            .ok_or("a range as START-STOP or START-STOP/STEP is expected after $GENERATE")?;
        let steps = (stop - next) / step;
        if steps >= LINES_MAX {
            return Err(format!("$GENERATE makes more than {LINES_MAX} lines"));
        }
        let template = template.trim_ascii().to_vec();
        if template.is_empty() {
            return Err("$GENERATE has no record after its range".into());
        }
        let mut generate = Generate {
            template,
            next,
            stop,
            step,
            bytes: 0,
        };
        // Whatever is wrong with the template is wrong with its first line, and none is longer than the last.
        generate.line(next)?;
        let last = generate.line(next + steps * step)?;
        generate.bytes = last.len() as u64 * (steps + 1);
        match generate.bytes > bytes_left {
            true => Err(format!(
                "$GENERATE makes more than {GENERATED_BYTES_MAX} octets, with what was made before"
            )),
            false => Ok(generate),
        }
    }

    /// Octets of all lines, or a few more.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line.
    ///
    /// # Errors
    /// A number that an offset makes negative.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, String> {
        if self.next > self.stop {
            return Ok(None);
        }
        let line = self.line(self.next)?;
        self.next += self.step;
        Ok(Some(line))
    }

    fn line(&self, number: u64) -> Result<Vec<u8>, String> {
        let mut out = Vec::with_capacity(self.template.len() + 16);
        let mut rest = &self.template[..];
        while let Some((&b, after)) = rest.split_first() {
            rest = after;
            match (b, after.first()) {
                (b'\\', Some(b'$')) | (b'$', Some(b'$')) => {
                    out.push(b'$');
                    rest = &after[1..];
                }
                (b'\\', Some(&escaped)) => {
                    out.extend([b, escaped]);
                    rest = &after[1..];
                }
                (b'$', Some(b'{')) => {
                    let end = after.iter().position(|b| *b == b'}');
                    let end = end.ok_or("a { of $GENERATE is never closed")?;
                    out.extend(modified(number, &after[1..end])?.bytes());
                    rest = &after[end + 1..];
                }
                (b'$', _) => out.extend(number.to_string().bytes()),
                _ => out.push(b),
            }
        }
        out.push(b'\n');
        Ok(out)
    }
}

fn parse_range(text: &[u8]) -> Option<(u64, u64, u64)> {
    let text = std::str::from_utf8(text).ok()?;
    let (range, step) = text.split_once('/').unwrap_or((text, "1"));
    let (start, stop) = range.split_once('-')?;
    // As in BIND, numbers have 31 bits.
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse::<u64>().ok()?;
        (plain && number < 1 << 31).then_some(number)
    };
    let (start, stop, step) = (number(start)?, number(stop)?, number(step)?);
    (start <= stop && step > 0).then_some((start, stop, step))
}

/// The number as `OFFSET[,WIDTH[,BASE]]` wants it.
fn modified(number: u64, modifier: &[u8]) -> Result<String, String> {
    if modifier.len() > MODIFIER_LEN_MAX {
        return Err(format!(
            "a modifier of $GENERATE is longer than {MODIFIER_LEN_MAX} octets"
        ));
    }
    // It may be anything, and people are told of it.
    let text = modifier.escape_ascii().to_string();
    let wrong = || {
        format!("${{{text}}}: want OFFSET, WIDTH (at most {WIDTH_MAX}) and base d, o, x, X, n or N")
    };
    let mut parts = text.split(',');
    let offset: i32 = parts
        .next()
        .and_then(|p| p.parse().ok())
        .ok_or_else(wrong)?;
    let width: usize = match parts.next() {
        Some(width) => width
            .parse()
            .ok()
            .filter(|w| *w <= WIDTH_MAX)
            .ok_or_else(wrong)?,
        None => 0,
    };
    let base = parts.next().unwrap_or("d");
    if parts.next().is_some() {
        return Err(wrong());
    }
    let number = number.checked_add_signed(offset.into());
    let number = number.ok_or_else(|| format!("${{{text}}}: the number is negative"))?;
    Ok(match base {
        "d" => format!("{number:0width$}"),
        "o" => format!("{number:0width$o}"),
        "x" => format!("{number:0width$x}"),
        "X" => format!("{number:0width$X}"),
        "n" | "N" => nibbles(number, width, base == "N"),
        _ => return Err(wrong()),
    })
}

/// Hexadecimal digits from the last on, with dots; the width counts the dots.
fn nibbles(mut number: u64, width: usize, upper: bool) -> String {
    let mut out = String::new();
    loop {
        let digit = number & 0xF;
        let _ = match upper {
            true => write!(out, "{digit:X}"),
            false => write!(out, "{digit:x}"),
        };
        number >>= 4;
        if number == 0 && out.len() >= width {
            return out;
        }
        out.push('.');
        if number == 0 && out.len() >= width {
            return out;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<String>, String> {
        let mut generate = Generate::read(text.as_bytes(), GENERATED_BYTES_MAX)?;
        let mut lines = Vec::new();
        while let Some(line) = generate.next_line()? {
            lines.push(String::from_utf8(line).unwrap().trim_end().to_owned());
        }
        Ok(lines)
    }

    // The forms of BIND's manual, "BIND Primary File Extension: the $GENERATE Directive".
    #[test]
    fn lines_are_made_as_in_bind() {
        for (text, lines) in [
            (
                "1-2 0 NS SERVER$.EXAMPLE.",
                &["0 NS SERVER1.EXAMPLE.", "0 NS SERVER2.EXAMPLE."][..],
            ),
            (
                "1-5/2 $ CNAME $.0",
                &["1 CNAME 1.0", "3 CNAME 3.0", "5 CNAME 5.0"],
            ),
            (
                "9-10 h${0,3} A 192.0.2.${-5}",
                &["h009 A 192.0.2.4", "h010 A 192.0.2.5"],
            ),
            ("10-10 ${1,4,x}-${0,0,o}-${245,0,X}", &["000b-12-FF"]),
            (
                "3-3 ${0,8,n}. PTR a$$b\\$c\\.d",
                &["3.0.0.0.. PTR a$b$c\\.d"],
            ),
            ("171-171 ${0,0,N}", &["B.A"]),
        ] {
            assert_eq!(all(text).unwrap(), lines, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, error) in [
            ("a-2 x A 192.0.2.1", "a range"),
            ("2-1 x A 192.0.2.1", "a range"),
            ("1-2/0 x A 192.0.2.1", "a range"),
            ("+1-2 x A 192.0.2.1", "a range"),
            ("1-2", "$GENERATE has no record"),
            ("0-65536 $ A 192.0.2.1", "$GENERATE makes more"),
            ("1-2 ${1 A 192.0.2.1", "a { of"),
            ("1-2 ${1,2,q} A 192.0.2.1", "${1,2,q}: want"),
            ("1-2 ${1,256} A 192.0.2.1", "${1,256}: want"),
            ("1-2 ${1,2,d,e} A 192.0.2.1", "${1,2,d,e}: want"),
            ("0-2 ${-1} A 192.0.2.1", "${-1}: the number is negative"),
        ] {
            let found = all(text).unwrap_err();
            assert!(found.starts_with(error), "{text}: {found}");
        }
        assert_eq!(all("0-65535 $").unwrap().len(), 1 << 16);
    }

    /// No line is made of a directive that makes too many octets.
    #[test]
    fn octets_are_counted_before_they_are_made() {
        let bytes = |text: &str, left| Generate::read(text.as_bytes(), left).map(|g| g.bytes());
        assert_eq!(bytes("7-9 $", 6), Ok(6));
        assert_eq!(bytes("7-10 $", 100), Ok(4 * 3));
        assert_eq!(bytes("0-8/4 ${0,9}", 30), Ok(3 * 10));
        for (text, left) in [("7-9 $", 5), ("0-8/4 ${0,9}", 29)] {
            let error = bytes(text, left).unwrap_err();
            assert!(error.starts_with("$GENERATE makes more than"), "{error}");
        }
    }
}
