//! The table of the Debian package: what it lists is there, and what belongs into a package is listed.

use super::{path, read};

#[test]
fn the_package_has_what_there_is() {
    let table: toml::Table = read("Cargo.toml").parse().unwrap();
    let deb = &table["package"]["metadata"]["deb"];
    let assets: Vec<(String, String)> = (deb["assets"].as_array().unwrap().iter())
        .map(|asset| {
            let word = |n: usize| asset[n].as_str().unwrap().to_owned();
            (word(0), word(1))
        })
        .collect();
    for (source, target) in &assets {
        let built = source.starts_with("target/");
        assert!(built || path(source).is_file(), "{source} is not there");
        assert!(!target.starts_with('/'), "{target}");
    }
    for directory in [
        "packaging/man",
        "packaging/completions",
        "packaging/systemd",
    ] {
        for entry in std::fs::read_dir(path(directory)).unwrap() {
            let name = format!(
                "{directory}/{}",
                entry.unwrap().file_name().to_str().unwrap()
            );
            assert!(
                assets.iter().any(|(source, _)| *source == name),
                "{name} is not in the package"
            );
        }
    }
    for file in deb["conf-files"].as_array().unwrap() {
        let file = file.as_str().unwrap().trim_start_matches('/');
        let is = |(source, target): &(String, String)| {
            let name = source.rsplit('/').next().unwrap();
            format!("{target}{name}") == file || target == file
        };
        assert!(assets.iter().any(is), "{file}");
    }
}

#[test]
fn the_packaged_configuration_is_sound() {
    let text = read("packaging/config.toml");
    // Where the package puts the snapshot, a source tree has none.
    let here = path("zones").display().to_string();
    let text = text.replace("/usr/share/holdfast", &here);
    let file = std::path::Path::new("/etc/holdfast/config.toml");
    let config = holdfast::config::Config::parse(file, &text).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert!(
        config
            .server
            .listen
            .iter()
            .all(|at| at.port() == 53 && at.ip().is_loopback())
    );
    assert_eq!(
        config.server.data_dir,
        std::path::Path::new("/var/lib/holdfast")
    );
    assert!(
        config
            .access
            .allow
            .iter()
            .all(|net| net.addr().is_loopback())
    );
    assert!(
        config.mirrors[0]
            .bootstrap
            .as_ref()
            .is_some_and(|path| path.is_file())
    );
}
