//! The files of a configuration on this machine.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Files;

/// Names in one directory that are looked at.
const NAMES_MAX: usize = 100_000;

/// Files of this machine.
pub struct Disk;

impl Files for Disk {
    fn matching(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let name = pattern.file_name().and_then(|name| name.to_str());
        let Some(name) = name.filter(|name| name.contains(['*', '?'])) else {
            return Ok(vec![pattern.to_owned()]);
        };
        let directory = pattern.parent().unwrap_or(Path::new("."));
        if directory.to_string_lossy().contains(['*', '?']) {
            let shown = pattern.display();
            return Err(format!(
                "{shown}: only the last part of a path may be a pattern here"
            ));
        }
        let listed = match fs::read_dir(directory) {
            Ok(listed) => listed,
            // As in Unbound, a pattern may name nothing.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(format!("{}: {error}", directory.display())),
        };
        let paths = listed.take(NAMES_MAX).filter_map(|entry| {
            let found = entry.ok()?.file_name();
            let found = found.to_str()?;
            let hidden = found.starts_with('.') && !name.starts_with('.');
            (!hidden && fits(name.as_bytes(), found.as_bytes())).then(|| directory.join(found))
        });
        let mut paths: Vec<PathBuf> = paths.collect();
        paths.sort();
        Ok(paths)
    }

    fn read(&self, file: &Path, max: u64) -> Result<String, String> {
        let mut text = Vec::new();
        let opened = File::open(file).and_then(|open| open.take(max + 1).read_to_end(&mut text));
        match opened {
            Err(error) => Err(format!("cannot be read: {error}")),
            Ok(length) if length as u64 > max => Err(format!("longer than {max} octets")),
            // Comments in old files are Latin-1 at times.
            Ok(_) => Ok(String::from_utf8_lossy(&text).into_owned()),
        }
    }
}

/// Whether a name fits a pattern in which `*` stands for any letters and `?` for one. Bounded by the product of the lengths.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    // Where a later letter does not fit, the last star takes one letter more.
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b'?') => (p, n) = (p + 1, n + 1),
            Some(letter) if Some(letter) == name.get(n) => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern: &str, name: &str, expected| {
            let fits = fits(pattern.as_bytes(), name.as_bytes());
            assert_eq!(fits, expected, "{pattern} {name}");
        };
        check("*.conf", "a.conf", true);
        check("*.conf", ".conf", true);
        check("*.conf", "a.conf.bak", false);
        check("a*b*c", "aXbYbZc", true);
        check("a*b*c", "aXbYbZ", false);
        check("?", "", false);
        check("?.d", "x.d", true);
        check("**", "", true);
        check("", "a", false);
    }
}
