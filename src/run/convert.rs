//! `holdfast convert unbound`: reads, writes and tells; what becomes of what is decided in `holdfast::convert`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use holdfast::config::Config;
use holdfast::convert::{self, Converted, Disk};

use crate::{Failure, print_json, say};

/// Prints the configuration of Unbound in `file` as one of this program; zone files for local data go into `zones`.
///
/// # Errors
/// It cannot be read or is none, or what comes out of it would not start.
pub fn unbound(file: &Path, zones: Option<&Path>, json: bool) -> Result<ExitCode, Failure> {
    let zones = zones.map(std::path::absolute).transpose();
    let zones = zones.map_err(|error| Failure::Fault(error.into()))?;
    let converted = convert::unbound(file, zones.as_deref(), &Disk).map_err(Failure::Config)?;
    if let Some(directory) = zones {
        write(&converted, &directory).map_err(|error| Failure::Fault(error.into()))?;
    }
    // What it names is there: whoever starts it now learns of a fault from here.
    let out = PathBuf::from("config.toml");
    Config::parse(&out, &converted.config).map_err(Failure::Config)?;
    for note in &converted.left_out {
        eprintln!("left out: {note}");
    }
    for note in &converted.differs {
        eprintln!("works otherwise: {note}");
    }
    if converted.more > 0 {
        eprintln!("and {} notes more", converted.more);
    }
    match json {
        true => print_json(&serde_json::json!(converted)),
        false => say(&converted.config),
    }
    Ok(ExitCode::SUCCESS)
}

fn write(converted: &Converted, directory: &Path) -> Result<(), String> {
    let fault = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(directory).map_err(|error| fault(directory, error))?;
    for file in &converted.files {
        let path = directory.join(&file.name);
        fs::write(&path, &file.text).map_err(|error| fault(&path, error))?;
    }
    Ok(())
}
