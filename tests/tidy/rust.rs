//! Reading Rust as far as the rules of `tidy.rs` need it: which paths does a file name, comments and tests aside.
//!
//! No parser: formatted code is regular enough for a few scans, and a scan that is wrong shows up in the examples here.

/// Line and name of each top-level module of this crate that the code at `path` refers to.
pub fn imports(path: &str, code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let flat = flatten_groups(code);
    // `super` once per level leads to the crate's root.
    let up = vec!["super"; path.split('/').count()].join("::");
    for root in ["crate", "holdfast", up.as_str()] {
        for (offset, _) in word_matches(&flat, root) {
            let before = flat.get(..offset).unwrap_or_default();
            let Some(rest) = flat.get(offset + root.len()..) else {
                continue;
            };
            let Some(rest) = rest.strip_prefix("::") else {
                continue;
            };
            // A longer chain of `super` was counted from its first word.
            if before.ends_with("::") || (root == up && rest.starts_with("super")) {
                continue;
            }
            let name: String = rest
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let module = name.chars().next().is_some_and(char::is_lowercase);
            if module && !name.is_empty() {
                found.push((line_of(&flat, offset), name));
            }
        }
    }
    found
}

/// Writes `a::{b, c::d}` as `a::b a::c::d`, keeping the lines, so that each path can be searched for as it is.
pub fn flatten_groups(code: &str) -> String {
    let tight = tighten_paths(code);
    let mut out = String::new();
    let mut prefixes: Vec<Option<String>> = Vec::new();
    let mut path = String::new();
    for c in tight.chars() {
        match c {
            '{' => {
                let group = path.ends_with("::");
                let base = prefixes.last().cloned().flatten().unwrap_or_default();
                prefixes.push(group.then(|| format!("{base}{path}")));
                path.clear();
                out.push(' ');
            }
            '}' => {
                prefixes.pop();
                path.clear();
                out.push(' ');
            }
            c if c.is_alphanumeric() || c == '_' || c == ':' => {
                if path.is_empty() {
                    out.push_str(
                        prefixes
                            .last()
                            .and_then(Option::as_deref)
                            .unwrap_or_default(),
                    );
                }
                path.push(c);
                out.push(c);
            }
            c => {
                path.clear();
                out.push(c);
            }
        }
    }
    out
}

/// Removes the blanks around `::`; formatted code breaks no line there.
fn tighten_paths(code: &str) -> String {
    let parts: Vec<&str> = code
        .split("::")
        .map(|part| part.trim_matches(' '))
        .collect();
    parts.join("::")
}

/// The lines on which `word` stands, as a word of its own or as the start or end of a path.
pub fn occurrences(code: &str, word: &str) -> Vec<usize> {
    word_matches(code, word)
        .map(|(offset, _)| line_of(code, offset))
        .collect()
}

fn word_matches<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = (usize, &'c str)> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).filter(move |(offset, _)| {
        let before = code
            .get(..*offset)
            .and_then(|text| text.chars().next_back());
        let after = code
            .get(offset + word.len()..)
            .and_then(|text| text.chars().next());
        let ends_open = word.ends_with('!');
        !before.is_some_and(part) && (ends_open || !after.is_some_and(part))
    })
}

fn line_of(code: &str, offset: usize) -> usize {
    1 + code.get(..offset).unwrap_or_default().matches('\n').count()
}

/// The code without comments, literals and `#[cfg(test)]` modules; every line stays where it was.
pub fn code_only(text: &str) -> String {
    without_tests(&without_literals(text))
}

/// Blanks comments, strings and characters.
fn without_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let end = match at(index) {
            b'/' if at(index + 1) == b'/' => line_end(bytes, index),
            b'/' if at(index + 1) == b'*' => comment_end(bytes, index),
            b'r' if !ends_in_word(&out) && raw_string_hashes(bytes, index).is_some() => {
                raw_string_end(bytes, index)
            }
            b'"' => string_end(bytes, index),
            // A lifetime has no closing quote.
            b'\'' if at(index + 1) == b'\\' => quote_end(bytes, index + 3),
            b'\''
                if bytes
                    .get(index + 2..index + 6)
                    .is_some_and(|next| next.contains(&b'\''))
                    && !is_lifetime(bytes, index) =>
            {
                quote_end(bytes, index + 2)
            }
            _ => index,
        };
        if end == index {
            out.push(at(index));
            index += 1;
            continue;
        }
        for byte in bytes.get(index..end).unwrap_or_default() {
            out.push(if *byte == b'\n' { b'\n' } else { b' ' });
        }
        index = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether an `r` that follows is a part of a word; the `b` and `c` of `br"..."` and `cr"..."` are none.
fn ends_in_word(out: &[u8]) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = out.iter().rev().take_while(|byte| word(byte)).count();
    let prefix = length == 1 && matches!(out.last(), Some(b'b' | b'c'));
    length > 0 && !prefix
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    bytes
        .iter()
        .skip(from)
        .position(|byte| *byte == b'\n')
        .map_or(bytes.len(), |length| from + length)
}

fn comment_end(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0;
    let mut index = from;
    while let Some(pair) = bytes.get(index..index + 2) {
        match pair {
            b"/*" => (depth, index) = (depth + 1, index + 2),
            b"*/" => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut index = from + 1;
    while let Some(byte) = bytes.get(index) {
        match byte {
            b'\\' => index += 2,
            b'"' => return index + 1,
            _ => index += 1,
        }
    }
    bytes.len()
}

fn raw_string_hashes(bytes: &[u8], from: usize) -> Option<usize> {
    let hashes = bytes
        .iter()
        .skip(from + 1)
        .take_while(|byte| **byte == b'#')
        .count();
    (bytes.get(from + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn raw_string_end(bytes: &[u8], from: usize) -> usize {
    let hashes = raw_string_hashes(bytes, from).unwrap_or(0);
    let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let body = from + 2 + hashes;
    let found = bytes
        .get(body..)
        .unwrap_or_default()
        .windows(close.len())
        .position(|window| window == close);
    found.map_or(bytes.len(), |length| body + length + close.len())
}

fn quote_end(bytes: &[u8], from: usize) -> usize {
    let found = bytes.iter().skip(from).position(|byte| *byte == b'\'');
    found.map_or(bytes.len(), |length| from + length + 1)
}

/// `'a,` and `'static>` against `'a'`: a character ends at the next quote at once.
fn is_lifetime(bytes: &[u8], from: usize) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    bytes.get(from + 1).is_some_and(word) && bytes.get(from + 2) != Some(&b'\'')
}

/// Blanks every item behind a `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let (item, after) = tail.split_at(item_length(tail));
        out.extend(item.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = after;
    }
    out + rest
}

/// Up to the end of the first braces, or to a semicolon that comes before any.
fn item_length(code: &str) -> usize {
    let mut depth = 0;
    for (index, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return index + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return index + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn literals_and_comments_are_blanked() {
    let check = |text: &str, expected: &str| {
        let found = without_literals(text)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(found, expected, "{text}");
    };
    check("a /* b /* c */ d */ e // f", "a e");
    check("a(\"b\\\"c\", d)", "a( , d)");
    check("a(r#\"b\"c\"#, r\"d\", br\"e\")", "a( , , b )");
    check("a('b', '\\'', '\\n', b'\"', d)", "a( , , , b , d)");
    check(
        "fn f<'a>(x: &'a str, y: &'static str) -> T<'_>",
        "fn f<'a>(x: &'a str, y: &'static str) -> T<'_>",
    );
    check("x = '\\u{1F600}'; y", "x = ; y");
    check("number = 'é'; y", "number = ; y");
}
