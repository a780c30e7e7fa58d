//! Arguments, and what each command prints and returns.
//!
//! Exit codes: 0 for success, 1 for what went wrong on this machine (no address to listen on, no server to
//! talk to), 2 for a bad configuration, zone file or command line.

mod run;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use holdfast::cli::told::{Checked, CheckedZone, Failed};
use holdfast::cli::{
    Arguments, CacheCommand, ClockCommand, Command, Configured, ConvertCommand, DrillCommand,
    MirrorCommand, ToServer, ZoneCommand,
};
use holdfast::clock::{format_utc, system_wall};
use holdfast::config::{Anchors, Config, ConfigError, Located, Resolver, Sha1};
use holdfast::control::api::{CutAsked, Request};
use holdfast::control::client::{self, AskError};
use holdfast::control::status::{
    CacheStatus, ClockReset, FlushDone, MirrorDone, MirrorStatus, Status, mirrors_text,
    versions_text,
};
use holdfast::control::trace::TraceReport;
use holdfast::dns::Name;
use holdfast::drill::html;
use holdfast::drill::report::{DrillReport, DrillState, Report};
use holdfast::mirror::GenerationInfo;
use holdfast::mirror::verify::{Policy, Trust, zone_verify};
use holdfast::timekeeper;
use holdfast::zone::Room;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use run::progress::{AfterProgress, Progress};
use run::{Fault, compare, convert, rehearse, versions};

/// The configuration when no other is named, if it is there.
const CONFIG_FILE: &str = "config.toml";
/// Where packages keep it: the next choice.
const CONFIG_FILE_INSTALLED: &str = "/etc/holdfast/config.toml";
/// Exit code for a bad configuration, zone file or command line.
const EXIT_BAD_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let Arguments {
        config: given,
        json,
        command,
    } = Arguments::parse();
    let done = match command {
        Command::Zone(ZoneCommand::Verify { file, at, anchor }) => {
            verify(&file, at, anchor.as_deref(), given.as_deref(), json)
        }
        Command::Convert(ConvertCommand::Unbound { file, zones }) => {
            convert::unbound(&file, zones.as_deref(), json)
        }
        Command::Configured(command) => with_config(command, &config_file(given), json),
        Command::ToServer(command) => ask_server(command, &config_file(given), json),
    };
    done.unwrap_or_else(|failure| failure.report(json))
}

fn config_file(given: Option<PathBuf>) -> PathBuf {
    if let Some(given) = given {
        return given;
    }
    let usual = [CONFIG_FILE, CONFIG_FILE_INSTALLED].map(Path::new);
    let found = usual.iter().find(|file| file.exists());
    let found = found.unwrap_or_else(|| {
        eprintln!(
            "holdfast: no {CONFIG_FILE} in this directory and no {CONFIG_FILE_INSTALLED}; name one with --config FILE"
        );
        &usual[0]
    });
    found.to_path_buf()
}

fn with_config(command: Configured, file: &Path, json: bool) -> Result<ExitCode, Failure> {
    let config = Config::load(file).map_err(Failure::Config)?;
    match command {
        Configured::Run => run::run(file, config, json)?,
        Configured::Check => return Ok(check(file, &config, json)),
    }
    Ok(ExitCode::SUCCESS)
}

fn ask_server(command: ToServer, file: &Path, json: bool) -> Result<ExitCode, Failure> {
    let found = Config::locate(file).map_err(Failure::Config)?;
    let socket = &found.socket;
    match command {
        ToServer::Status => tell(socket, json, Request::Status, |status: Status| {
            status.to_text()
        })?,
        ToServer::Top { every, count } => {
            let every = Duration::from_secs(every.into());
            block_on(run::top::top(socket, every, count, json))??;
        }
        ToServer::Mirror(command) => mirror(&found, file, command, json)?,
        ToServer::Cache(command) => cache(socket, command, json)?,
        ToServer::Clock(ClockCommand::Reset) => clock_reset(&found, json)?,
        ToServer::Readiness { names, set, html } => {
            let names = names.map(|file| rehearse::names_of(&file)).transpose();
            let names = names.map_err(Fault::from)?;
            let cut = CutAsked::Isolation(set);
            let request = Request::Readiness { names, cut };
            let report = block_on(rehearse::readiness(socket, request))??;
            let words = |report: Report| match html {
                true => html::readiness(&report),
                false => report.to_text(),
            };
            show(report, json, words)?;
        }
        ToServer::Drill(command) => drill(socket, command, json)?,
        ToServer::Trace {
            name,
            rtype,
            cd,
            no_cache,
        } => {
            let request = Request::Trace {
                name,
                rtype,
                checking_disabled: cd,
                afresh: no_cache,
            };
            tell(socket, json, request, |report: TraceReport| {
                report.to_text()
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a command came to nothing.
enum Failure {
    /// The configuration, or the anchor file.
    Config(ConfigError),
    /// This machine, or the server that was asked.
    Fault(Fault),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Fault(fault)
    }
}

impl Failure {
    /// Says it on stderr, and on stdout to who reads JSON; returns the exit code.
    fn report(self, json: bool) -> ExitCode {
        let (code, faults) = match self {
            Failure::Config(error) => {
                eprintln!("{error}");
                let faults = error.faults().iter().map(ToString::to_string).collect();
                (ExitCode::from(EXIT_BAD_CONFIG), faults)
            }
            Failure::Fault(fault) => {
                eprintln!("holdfast: {fault}");
                (ExitCode::FAILURE, vec![fault.to_string()])
            }
        };
        if json {
            print_json(&json!(Failed { ok: false, faults }));
        }
        code
    }
}

/// `holdfast check`: the configuration is sound already; reads the zones.
fn check(file: &Path, config: &Config, json: bool) -> ExitCode {
    let mut faults = Vec::new();
    let mut zones = Vec::new();
    let scratch = run::zones::temporary_directory();
    for zone in &config.zones {
        match run::zones::read(zone, &scratch) {
            Ok(image) => zones.push(CheckedZone {
                zone: zone.name.to_string(),
                serial: image.serial(),
                records: image.record_count(),
            }),
            Err(fault) => faults.push(fault.to_string()),
        }
    }
    for fault in &faults {
        eprintln!("{fault}");
    }
    let mut warnings = config.warnings.clone();
    warnings.extend(holdfast::listen::xdp::missing(&config.server.xdp));
    let ok = faults.is_empty();
    if json {
        print_json(&json!(Checked {
            ok,
            faults,
            warnings,
            zones
        }));
    } else {
        for CheckedZone {
            zone,
            serial,
            records,
        } in &zones
        {
            say(&format!("zone {zone} serial {serial}, {records} records\n"));
        }
        for warning in &warnings {
            say(&format!("warning: {warning}\n"));
        }
    }
    if !ok {
        return ExitCode::from(EXIT_BAD_CONFIG);
    }
    if !json {
        say(&format!("{}: ok\n", file.display()));
    }
    ExitCode::SUCCESS
}

/// `holdfast mirror ...`.
fn mirror(
    server: &Located,
    config: &Path,
    command: MirrorCommand,
    json: bool,
) -> Result<(), Fault> {
    let socket = &server.socket;
    let done = |done: MirrorDone| done.to_text();
    match command {
        MirrorCommand::Export { zone, serial, file } => {
            let told = block_on(versions::export(server, &zone, serial, file.as_deref()))??;
            if json {
                print_json(&json!(told));
            }
            Ok(())
        }
        MirrorCommand::Import { zone, file } => {
            let value = block_on(versions::import(server, config, &zone, &file))??;
            show(value, json, done)
        }
        MirrorCommand::Diff { zone, a, b } => {
            let value = block_on(compare::compare(server, &zone, a, b, json))??;
            value.iter().for_each(print_json);
            Ok(())
        }
        MirrorCommand::List => tell(
            socket,
            json,
            Request::MirrorList,
            |list: Vec<MirrorStatus>| mirrors_text(&list),
        ),
        MirrorCommand::Show { zone } => {
            let request = Request::MirrorShow { zone };
            tell(socket, json, request, |list: Vec<GenerationInfo>| {
                versions_text(&list)
            })
        }
        MirrorCommand::Refresh { zone } => {
            show(block_on(versions::refresh(server, &zone))??, json, done)
        }
        MirrorCommand::Accept { zone, serial } => {
            tell(socket, json, Request::MirrorAccept { zone, serial }, done)
        }
        MirrorCommand::Rollback { zone, serial } => {
            tell(socket, json, Request::MirrorRollback { zone, serial }, done)
        }
    }
}

/// `holdfast drill ...`.
fn drill(socket: &Path, command: DrillCommand, json: bool) -> Result<(), Fault> {
    let state = |state: DrillState| state.to_text();
    match command {
        DrillCommand::Start {
            zone,
            prefix,
            isolation: _,
            set,
            time,
            shadow,
            abort_at,
        } => {
            let cut = match (zone, prefix) {
                (Some(zone), _) => CutAsked::Zone(zone.to_string()),
                (_, Some(list)) => rehearse::prefix_asked(list)?,
                (None, None) => CutAsked::Isolation(set),
            };
            let request = Request::DrillStart {
                cut,
                for_s: time,
                shadow,
                abort_at_permille: abort_at,
            };
            tell(socket, json, request, state)
        }
        DrillCommand::Stop => tell(socket, json, Request::DrillStop, state),
        DrillCommand::Report { html } => {
            let words = |report: DrillReport| match html {
                true => html::drill(&report),
                false => report.to_text(),
            };
            tell(socket, json, Request::DrillReport, words)
        }
    }
}

/// `holdfast cache ...`.
fn cache(socket: &Path, command: CacheCommand, json: bool) -> Result<(), Fault> {
    match command {
        CacheCommand::Stats => tell(socket, json, Request::CacheStats, |cache: CacheStatus| {
            cache.to_long_text()
        }),
        CacheCommand::Flush { name, tree } => {
            let request = Request::CacheFlush { name, tree };
            tell(socket, json, request, |done: FlushDone| done.to_text())
        }
    }
}

/// `holdfast clock reset`: by the running server, or on the disk of one that does not run.
fn clock_reset(server: &Located, json: bool) -> Result<(), Fault> {
    let value = match ask(&server.socket, &Request::ClockReset)? {
        Ok(value) => value,
        Err(AskError::NotRunning { .. }) => {
            let data_dir = &server.data_dir;
            // Nothing is made where no server has ever run.
            let floor_was = match data_dir.exists() {
                true => timekeeper::reset_stopped(data_dir)?,
                false => None,
            };
            serde_json::to_value(ClockReset {
                floor_was: floor_was.map(format_utc),
                running: false,
                time: format_utc(system_wall().as_secs()),
            })?
        }
        Err(error) => return Err(error.into()),
    };
    show(value, json, |reset: ClockReset| reset.to_text())
}

/// Asks the running server and prints its answer, as JSON or in words.
fn tell<T: DeserializeOwned>(
    socket: &Path,
    json: bool,
    request: Request,
    words: impl FnOnce(T) -> String,
) -> Result<(), Fault> {
    show(ask(socket, &request)??, json, words)
}

fn ask(socket: &Path, request: &Request) -> Result<Result<Value, AskError>, Fault> {
    block_on(client::ask(socket, request))
}

fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(work))
}

fn show<T: DeserializeOwned>(
    value: Value,
    json: bool,
    words: impl FnOnce(T) -> String,
) -> Result<(), Fault> {
    if json {
        print_json(&value);
    } else {
        say(&words(serde_json::from_value(value)?));
    }
    Ok(())
}

/// `holdfast zone verify`.
fn verify(
    file: &Path,
    at: Option<u64>,
    anchor: Option<&Path>,
    config: Option<&Path>,
    json: bool,
) -> Result<ExitCode, Failure> {
    let resolver = match config {
        Some(config) => Config::load(config).map_err(Failure::Config)?.resolver,
        None => Resolver::default(),
    };
    let anchors = match anchor {
        Some(anchor) => Anchors::load(anchor).map_err(Failure::Config)?,
        None => resolver.anchors,
    };
    let trust = |zone: &Name| {
        let anchor = anchors.closest(zone).filter(|a| a.owner == *zone);
        anchor.map_or_else(Trust::default, |a| Trust {
            ds: a.ds.clone(),
            dnskey: a.dnskeys.clone(),
        })
    };
    let pace = Arc::default();
    let policy = Policy {
        sha1: resolver.sha1 == Sha1::Validate,
        pace: Some(Arc::clone(&pace)),
        ..Policy::default()
    };
    let at = at.unwrap_or_else(|| system_wall().as_secs());
    let what = format!("verifying {}", file.display());
    let progress = Progress::of_verification(what, pace);
    let mut out = AfterProgress {
        progress: Some(progress),
        out: std::io::stdout(),
    };
    let room = Room::beside(&run::zones::temporary_directory());
    let code = zone_verify(file, &room, at, &trust, &policy, json, &mut out);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn print_json(value: &Value) {
    say(&format!("{value:#}\n"));
}

/// Prints. A reader that has gone away (`holdfast status | head`) is no fault of ours.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
