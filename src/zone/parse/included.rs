//! A file inside a file: `$INCLUDE` as a stream of records of its own. [`super::super::include`] says what may be read.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::super::entry::{Rewrite, absolute, unquoted, words};
use super::{ParseError, Records, Text, start};
use crate::dns::Name;

impl Records<'_> {
    /// Goes to the next record of the file that is being included; says whether there was one.
    pub(super) fn next_included(&mut self) -> Result<bool, ParseError> {
        let Some(included) = &mut self.included else {
            return Ok(false);
        };
        if included.step()?.is_some() {
            return Ok(true);
        }
        (self.count, self.generated_left) = (included.count, included.generated_left);
        self.includes = included.includes.take();
        self.included = None;
        if let Some(includes) = &mut self.includes {
            includes.close();
        }
        Ok(false)
    }

    /// Begins to read the file that a directive names; `at` is where its words begin in the entry.
    pub(super) fn include(&mut self, entry: &[u8], at: usize) -> Result<(), ParseError> {
        let rest = &entry[at..];
        let words: Vec<_> = words(rest).take(3).collect();
        let [file, more @ ..] = &words[..] else {
            return Err(self.error_at(0, "$INCLUDE names no file"));
        };
        if let [_, third, ..] = more {
            let message = "more than a file and an origin after $INCLUDE";
            return Err(self.error_at(at + third.start, message));
        }
        let path = unquoted(&rest[file.clone()]);
        let origin = match more.first() {
            Some(word) => {
                let found = absolute(&rest[word.clone()], self.context.origin.as_deref());
                Some(found.map_err(|error| self.error_at(at + word.start, error))?)
            }
            None => self.context.origin.clone(),
        };
        let Some(includes) = self.includes.take() else {
            return Err(self.error_at(0, "$INCLUDE is for files of this machine only"));
        };
        let opened = includes.open(Path::new(OsStr::from_bytes(&path)));
        let opened = opened.map_err(|error| self.error_at(at + file.start, error))?;
        let text = Text::Owned(Arc::new(opened.text));
        let mut included = start(text, Cow::Owned(opened.name), origin, Some(includes));
        included.quick = self.quick;
        (included.count, included.generated_left) = (self.count, self.generated_left);
        included.begin_after(self)?;
        self.included = Some(Box::new(included));
        Ok(())
    }

    /// Takes over what is in force at the end of `before`.
    fn begin_after(&mut self, before: &Records<'_>) -> Result<(), ParseError> {
        self.context.ttl = before.context.ttl;
        let mut seeds = Vec::new();
        if let Some(ttl) = before.context.ttl {
            seeds.push(format!("$TTL {ttl}\n"));
        }
        if !before.last_owner.is_empty() {
            // Not counted and not seen by anyone: it tells the scanner owner and TTL.
            let owner = Name::parse(&before.last_owner, 0);
            let (owner, _) = owner.map_err(|error| self.error_here(error))?;
            let ttl = before.record.ttl;
            seeds.push(format!("{owner} {ttl} IN TYPE65280 \\# 0\n"));
            self.last_owner.clone_from(&before.last_owner);
            self.record.owner.clone_from(&before.last_owner);
        }
        for seed in seeds {
            self.feed(&Rewrite::of(seed.as_bytes(), None))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::present;
    use super::super::records_with;
    use crate::zone::{FileText, Includes, Room};
    use std::fs;
    use std::path::Path;
    use tempfile::TempDir;

    /// Files by name and text; the first is the zone file.
    fn directory(files: &[(&str, &str)]) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    /// Each record as text, or the error with DIR for the directory; and how many files were looked at.
    fn read_within(directory: &Path, name: &str, bytes_max: u64) -> (Vec<String>, usize) {
        let path = directory.join(name);
        let text = fs::read(&path).unwrap();
        let text = FileText::Held(text);
        let mut includes = Includes::of(&path, &text, bytes_max, &Room::holding(0, directory));
        let origin = "example.".parse().unwrap();
        let file = path.display().to_string();
        let records = records_with(&text, &file, Some(&origin), &mut includes);
        let shown = records.map(|record| match record {
            Ok(record) => present::record(&record).replace('\t', " "),
            Err(error) => error
                .to_string()
                .replace(&*directory.display().to_string(), "DIR"),
        });
        let shown = shown.collect();
        (shown, includes.into_seen().len())
    }

    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let directory = directory(files);
        let (got, _) = read_within(directory.path(), files[0].0, 1 << 20);
        assert_eq!(got, expected, "{files:?}");
    }

    #[test]
    fn what_a_file_sets_ends_with_it() {
        check(
            &[
                (
                    "z",
                    "$TTL 60\n@ NS a\n$INCLUDE sub/one c ; both\n TXT still-here\nx A 192.0.2.9\n$INCLUDE \"sub/t\\119o\"\n",
                ),
                (
                    "sub/one",
                    " TXT from-outside\nb 61 A 192.0.2.1\n$ORIGIN d.test.\n$TTL 62\n$INCLUDE two\ne A 192.0.2.2",
                ),
                ("sub/two", "f A 192.0.2.3\n"),
            ],
            &[
                "example. 60 IN NS a.example.",
                "example. 60 IN TXT \"from-outside\"",
                "b.c.example. 61 IN A 192.0.2.1",
                "f.d.test. 62 IN A 192.0.2.3",
                "e.d.test. 62 IN A 192.0.2.2",
                "example. 60 IN TXT \"still-here\"",
                "x.example. 60 IN A 192.0.2.9",
                "f.example. 60 IN A 192.0.2.3",
            ],
        );
        // Without $TTL the last TTL counts, here and there.
        check(
            &[
                ("z", "a 5 A 192.0.2.1\n$include i .\nb A 192.0.2.2\n"),
                ("i", "c A 192.0.2.3\nd 7 A 192.0.2.4\n"),
            ],
            &[
                "a.example. 5 IN A 192.0.2.1",
                "c. 5 IN A 192.0.2.3",
                "d. 7 IN A 192.0.2.4",
                "b.example. 5 IN A 192.0.2.2",
            ],
        );
        check(
            &[
                ("z", "$INCLUDE i @\n$INCLUDE i b.test.\n$INCLUDE (\ni\n)\n"),
                ("i", "a 1 A 192.0.2.1\n"),
            ],
            &[
                "a.example. 1 IN A 192.0.2.1",
                "a.b.test. 1 IN A 192.0.2.1",
                "a.example. 1 IN A 192.0.2.1",
            ],
        );
    }

    #[test]
    fn errors_name_the_included_file_and_its_line() {
        let one = "a 60 A 192.0.2.1\n";
        check(
            &[
                ("z", "$INCLUDE one\n"),
                ("one", "a 60 A 192.0.2.1\n\nb 60 A 192.0.2.\n"),
            ],
            &[
                "a.example. 60 IN A 192.0.2.1",
                "DIR/one:3:8: expected IPv4 address",
            ],
        );
        check(
            &[("z", "$INCLUDE one\n A 192.0.2.2\n"), ("one", one)],
            &[
                "a.example. 60 IN A 192.0.2.1",
                "DIR/z:2:2: the first record has no owner name",
            ],
        );
        check(
            &[("z", "\n$INCLUDE  gone\n")],
            &["DIR/z:2:11: DIR/gone cannot be read: No such file or directory (os error 2)"],
        );
        check(
            &[("z", "$INCLUDE z\n")],
            &["DIR/z:1:10: DIR/z includes itself"],
        );
        check(
            &[("z", "$INCLUDE sub/y\n"), ("sub/y", "$INCLUDE ../z\n")],
            &["DIR/sub/y:1:10: DIR/sub/../z includes itself"],
        );
        check(
            &[("z", "$INCLUDE sub\n"), ("sub/y", "")],
            &["DIR/z:1:10: DIR/sub is no file"],
        );
        check(
            &[("z", "$INCLUDE /dev/zero\n")],
            &["DIR/z:1:10: /dev/zero is no file"],
        );
        check(
            &[("z", "$INCLUDE \\027[2J\x1b\n")],
            &[
                "DIR/z:1:10: DIR/\\u{1b}[2J\\u{1b} cannot be read: No such file or directory (os error 2)",
            ],
        );
        check(
            &[("z", "$INCLUDE\n")],
            &["DIR/z:1:1: $INCLUDE names no file"],
        );
        check(
            &[("z", "$INCLUDE one b c\n"), ("one", one)],
            &["DIR/z:1:16: more than a file and an origin after $INCLUDE"],
        );
        check(
            &[("z", "$INCLUDE one b..c\n"), ("one", one)],
            &["DIR/z:1:14: bad name: empty label"],
        );
    }

    #[test]
    fn depth_number_and_length_are_bounded() {
        let chain: Vec<(String, String)> = (0..12)
            .map(|i| {
                (
                    format!("f{i}"),
                    format!("n{i} 60 A 192.0.2.1\n$INCLUDE f{}\n", i + 1),
                )
            })
            .collect();
        let files: Vec<(&str, &str)> = chain.iter().map(|(n, t)| (&n[..], &t[..])).collect();
        let place = directory(&files);
        let (got, _) = read_within(place.path(), "f0", 1 << 20);
        assert_eq!(got.len(), super::super::super::include::DEPTH_MAX + 2);
        assert!(
            got.last()
                .unwrap()
                .starts_with("DIR/f8:2:10: more than 8 files"),
            "{got:?}"
        );
        // Two that are included twice each, and so on: the work is bounded by the number of files.
        let tree: Vec<(String, String)> = (0..9)
            .map(|i| {
                (
                    format!("f{i}"),
                    format!("$INCLUDE f{0}\n$INCLUDE f{0}\n", i + 1).repeat(2),
                )
            })
            .chain([("f9".to_owned(), String::new())])
            .collect();
        let files: Vec<(&str, &str)> = tree.iter().map(|(n, t)| (&n[..], &t[..])).collect();
        let place = directory(&files);
        let (got, seen) = read_within(place.path(), "f2", 1 << 20);
        assert_eq!(seen, super::super::super::include::FILES_MAX);
        assert!(
            got[0].contains("more than 1000 files are included"),
            "{got:?}"
        );
        let place = directory(&[
            ("z", "$INCLUDE a\n$INCLUDE a\n"),
            ("a", &"; so many octets\n".repeat(10)),
        ]);
        let (got, _) = read_within(place.path(), "z", 200);
        assert_eq!(
            got,
            ["DIR/z:2:10: with DIR/a the zone is larger than the limit of 200 octets"]
        );
    }

    /// What a file generates counts for all that is read after it.
    #[test]
    fn what_is_generated_counts_across_files() {
        let line = "$GENERATE 1-2 a$ 60 A 192.0.2.$\n";
        let twice = format!("$INCLUDE i\n{line}");
        let place = directory(&[
            ("z", &twice),
            ("y", &format!("{line}$INCLUDE i\n")),
            ("i", line),
        ]);
        let octets = 2 * "a1 60 A 192.0.2.1\n".len() as u64;
        for (file, left, expected) in [
            ("z", 2 * octets, 4),
            ("y", 2 * octets, 4),
            ("z", 2 * octets - 1, 2),
            ("y", 2 * octets - 1, 2),
            ("z", octets - 1, 0),
        ] {
            let path = place.path().join(file);
            let text = FileText::Held(fs::read(&path).unwrap());
            let room = Room::holding(1 << 20, place.path());
            let mut includes = Includes::of(&path, &text, 1 << 20, &room);
            let origin = "example.".parse().unwrap();
            let mut records = records_with(&text, file, Some(&origin), &mut includes);
            records.generated_left = left;
            let good = records.take_while(Result::is_ok).count();
            assert_eq!(good, expected, "{file} {left}");
        }
    }

    /// Seeded damage: records or an error, with and without the quick way the same, and an end.
    #[test]
    fn damaged_files_end() {
        use rand::{RngExt, SeedableRng, rngs::SmallRng};
        let good = [
            (
                "z",
                "$TTL 60\n@ NS a\n$INCLUDE one c\n TXT x\n$INCLUDE \"two\"\nb A 192.0.2.1\n",
            ),
            (
                "one",
                " TXT y\nb 61 A 192.0.2.1\n$ORIGIN d.\n$INCLUDE two .\n",
            ),
            ("two", "f A 192.0.2.3\n\tAAAA 2001:db8::1\n"),
        ];
        let place = directory(&good);
        let alphabet = b"\n\t (;.@$\"\\0aIN/";
        let mut rng = SmallRng::seed_from_u64(7);
        let origin = "example.".parse().unwrap();
        for _ in 0..300 {
            let (name, text) = good[rng.random_range(0..good.len())];
            let mut bad = text.as_bytes().to_vec();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bad.len());
                bad[at] = alphabet[rng.random_range(0..alphabet.len())];
            }
            fs::write(place.path().join(name), &bad).unwrap();
            let path = place.path().join("z");
            let whole = FileText::Held(fs::read(&path).unwrap());
            let read = |quick| {
                let room = Room::holding(1 << 20, place.path());
                let mut includes = Includes::of(&path, &whole, 1 << 20, &room);
                let mut records = records_with(&whole, "z", Some(&origin), &mut includes);
                records.quick = quick;
                records.take(10_000).collect::<Vec<_>>()
            };
            assert_eq!(read(true), read(false), "{}", String::from_utf8_lossy(&bad));
            fs::write(place.path().join(name), text).unwrap();
        }
    }
}
