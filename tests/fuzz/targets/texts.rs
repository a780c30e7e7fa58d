//! What the operator writes: configuration, trust anchors, root hints, times.

use std::path::{Path, PathBuf};

use holdfast::clock::{Clock, WALL_MAX_S, format_utc, parse_utc};
use holdfast::config::{Anchors, CONFIG_BYTES_MAX, Config, ConfigError, Hints, HttpsUrl};
use holdfast::convert::{self, Files};
use holdfast::dns::{Dnskey, Ds};
use holdfast::drill::names::parse_list as parse_names;
use holdfast::mirror::verify::parse_time;
use holdfast::prefix_set::{FAULTS_MAX, PrefixSet, parse_list};
use holdfast::tls::not_after;

/// Not there, so that files that a configuration names are not either.
const FILE: &str = "/nonexistent/holdfast/file";

/// A configuration is accepted, or every fault names a line of it.
pub fn config(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    match Config::parse(Path::new(FILE), &text) {
        Ok(config) => {
            assert!(!config.server.listen.is_empty());
            assert!((512..=4096).contains(&config.server.udp_size_max));
            true
        }
        Err(error) => placed(&error, &text),
    }
}

/// What stands in memory, by the names `main` and `inner`.
struct InMemory<'d>(&'d str, &'d str);

impl Files for InMemory<'_> {
    fn matching(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(vec![pattern.to_owned()])
    }

    fn read(&self, file: &Path, _: u64) -> Result<String, String> {
        match file.file_name().and_then(|name| name.to_str()) {
            Some("main") => Ok(self.0.to_owned()),
            Some("inner") => Ok(self.1.to_owned()),
            _ => Err("not there".to_owned()),
        }
    }
}

/// A configuration of Unbound and one that it may include, with a NUL between them: becomes a configuration that is accepted as far as
/// it names no files, with zone files that can be read; or the fault has a place.
pub fn unbound(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let (outer, inner) = text.split_once('\0').unwrap_or((&text, ""));
    let files = InMemory(outer, inner);
    let main = Path::new("/nonexistent/main");
    let converted = match convert::unbound(main, None, &files) {
        Ok(converted) => converted,
        Err(error) => {
            assert!(
                error
                    .faults()
                    .iter()
                    .all(|fault| fault.line > 0 && !fault.message.is_empty())
            );
            return false;
        }
    };
    assert!(converted.files.is_empty() && converted.config.len() as u64 <= CONFIG_BYTES_MAX);
    if let Err(error) = Config::parse(Path::new(FILE), &converted.config) {
        assert!(
            converted.config.contains("inner") || converted.config.contains("main"),
            "{error}"
        );
    }
    let zones = convert::unbound(main, Some(Path::new("/nonexistent/zones")), &files);
    let files = zones.expect("it was read before").files;
    assert!(
        files
            .iter()
            .all(|file| file.text.starts_with("$TTL") && !file.name.contains('/'))
    );
    true
}

/// A certificate (DER) ends at a time that can be shown, or it is none. What is cut short is none, for its octets are counted.
pub fn certificate(data: &[u8]) -> bool {
    let Some(end) = not_after(data) else {
        return false;
    };
    assert!(end <= WALL_MAX_S && !format_utc(end).starts_with('@'));
    for len in [0, 1, data.len() / 4] {
        assert!(not_after(&data[..len]).is_none_or(|cut| cut == end));
    }
    true
}

/// A file of prefixes is taken, and then each of its addresses is in the set that is made of it and no other at the edges; or faults
/// name some of its lines.
pub fn prefixes(data: &[u8]) -> bool {
    let prefixes = match parse_list(data) {
        Ok(prefixes) => prefixes,
        Err(faults) => {
            let lines = data.iter().filter(|b| **b == b'\n').count() + 1;
            assert!((1..=FAULTS_MAX).contains(&faults.len()));
            assert!(faults.iter().all(|(line, _)| (1..=lines).contains(line)));
            return false;
        }
    };
    let set: PrefixSet = prefixes.iter().copied().collect();
    let (four, six) = set.ranges();
    assert!(four + six <= prefixes.len() && set.is_empty() == prefixes.is_empty());
    let of_prefixes = |address| prefixes.iter().any(|p| p.contains(&address));
    for prefix in prefixes.iter().take(100) {
        assert!(set.contains(prefix.network()) || prefix.network().to_canonical().is_ipv4());
        assert!(set.contains(prefix.broadcast()) || prefix.broadcast().to_canonical().is_ipv4());
    }
    for (address, inside) in set.edges().into_iter().take(100) {
        // An IPv4 address in IPv6 form is looked for among those of IPv4.
        if address.to_canonical() == address {
            assert_eq!(set.contains(address), inside, "{address}");
            assert_eq!(of_prefixes(address), inside, "{address}");
        }
    }
    !prefixes.is_empty()
}

/// A file of names is taken, and what is written of its questions reads back; or a line of it is wrong.
pub fn names(data: &[u8]) -> bool {
    match parse_names(data) {
        Ok(questions) => {
            let written: String = (questions.iter())
                .map(|q| format!("{} {}\n", q.name, q.rtype))
                .collect();
            // A name may hold the sign of a comment.
            if !written.contains('#') {
                let again = parse_names(written.as_bytes());
                assert_eq!(again.as_ref(), Ok(&questions), "{written}");
            }
            !questions.is_empty()
        }
        Err((line, _)) => {
            let lines = data.iter().filter(|b| **b == b'\n').count() + 1;
            assert!((1..=lines).contains(&line));
            false
        }
    }
}

/// An address of a web server reads back as it is written; a redirect leads to another such address, or nowhere. Input: the
/// address, a line end, the redirect.
pub fn url(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let (at, location) = text.split_once('\n').unwrap_or((&text, ""));
    let again = |url: &HttpsUrl| {
        let written = url.to_string();
        assert!(
            written.starts_with("https://") && url.path.starts_with('/'),
            "{written}"
        );
        assert_eq!(HttpsUrl::parse(&written).as_ref(), Some(url), "{written}");
    };
    let Some(url) = HttpsUrl::parse(at) else {
        return false;
    };
    again(&url);
    match url.join(location) {
        Ok(to) => again(&to),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    true
}

/// Every fault has a line; says that the text was not taken.
fn placed(error: &ConfigError, text: &str) -> bool {
    let lines = 1 + text.matches('\n').count();
    assert!(!error.faults().is_empty());
    for fault in error.faults() {
        let elsewhere = fault.file != Path::new(FILE);
        assert!(
            elsewhere || (1..=lines).contains(&fault.line),
            "{fault:?} of {lines} lines"
        );
        assert!(!fault.message.is_empty());
    }
    false
}

/// Anchors and hints are read alike: what is accepted can be used, what is not has its line.
pub fn anchors(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let anchored = match Anchors::parse(Path::new(FILE), &text) {
        Ok(anchors) => {
            assert!(!anchors.zones.is_empty());
            for anchor in &anchors.zones {
                assert!(anchor.ds.iter().all(|r| Ds::parse(r).is_some()));
                assert!(anchor.dnskeys.iter().all(|r| Dnskey::parse(r).is_some()));
                assert_eq!(anchors.closest(&anchor.owner), Some(anchor));
            }
            true
        }
        Err(error) => placed(&error, &text),
    };
    match Hints::parse(Path::new(FILE), &text) {
        Ok(hints) => {
            assert!(!hints.servers.is_empty());
            true
        }
        Err(error) => placed(&error, &text) || anchored,
    }
}

/// A time that is read can be set, shown, and is read the same from what is shown.
pub fn clock(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let _ = parse_time(&text);
    let Some(wall_s) = parse_utc(&text) else {
        return false;
    };
    let clock = Clock::starting_at(std::time::Duration::ZERO);
    clock.set_wall(std::time::Duration::from_secs(wall_s));
    // It goes on while this runs.
    assert!(
        (wall_s..wall_s + 60).contains(&clock.now().wall_s),
        "{text}"
    );
    assert_eq!(parse_utc(&format_utc(wall_s)), Some(wall_s), "{text}");
    assert_eq!(parse_time(&format_utc(wall_s)), Ok(wall_s), "{text}");
    true
}
