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

use clap::{Parser, Subcommand};
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
use holdfast::mirror::verify::{Policy, Trust, parse_time, zone_verify};
use holdfast::timekeeper;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use run::progress::{AfterProgress, Progress};
use run::{Fault, compare, rehearse, versions};

/// The configuration when no other is named.
const CONFIG_FILE: &str = "config.toml";
/// Exit code for a bad configuration, zone file or command line.
const EXIT_BAD_CONFIG: u8 = 2;

/// DNS server that keeps verified copies of critical zones and goes on answering when the roots are
/// unreachable.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    /// Configuration file; relative paths in it are relative to the file [default: config.toml].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Configured(Configured),
    #[command(flatten)]
    ToServer(ToServer),
    /// Work on zone files.
    #[command(subcommand)]
    Zone(ZoneCommand),
}

/// Commands that cannot do without a configuration.
#[derive(Subcommand)]
enum Configured {
    /// Run the server in the foreground.
    Run,
    /// Check the configuration and the own zones without running anything.
    Check,
}

/// Commands to the running server. Of the configuration they need only where its control socket is.
#[derive(Subcommand)]
enum ToServer {
    /// Show the state of the running server.
    Status,
    /// Watch the running server: rates, mirrors, who asks most and what is asked most.
    Top {
        /// Seconds between two looks.
        #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = clap::value_parser!(u32).range(1..=3600))]
        every: u32,
        /// Stop after so many looks.
        #[arg(long, value_name = "N")]
        count: Option<u32>,
    },
    /// Look at the mirrors of the running server and command them.
    #[command(subcommand)]
    Mirror(MirrorCommand),
    /// Look at the answer cache of the running server, or empty it.
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Resolve a question in the running server and show the whole way to its answer, and why.
    Trace {
        /// The name.
        name: String,
        /// The record type.
        #[arg(value_name = "TYPE", default_value = "A")]
        rtype: String,
        /// Show bogus data too (CD).
        #[arg(long)]
        cd: bool,
        /// Ask with an empty memory, beside the one that clients use.
        #[arg(long)]
        no_cache: bool,
    },
    /// Say which of the names that clients ask for would survive a national cut-off, which would not, why, and what would fix it.
    Readiness {
        /// Judge the names of this file (one per line, with a type where it is not A) instead of what clients ask.
        #[arg(long, value_name = "FILE")]
        names: Option<PathBuf>,
        /// What stays reachable: `domestic`, or a set of [reachability.sets].
        #[arg(long, value_name = "NAME", default_value = "domestic")]
        set: String,
        /// Print one HTML page, complete in itself.
        #[arg(long, conflicts_with = "json")]
        html: bool,
    },
    /// Rehearse a cut-off.
    #[command(subcommand)]
    Drill(DrillCommand),
    /// Work on the floor that bounds the clock from below.
    #[command(subcommand)]
    Clock(ClockCommand),
}

#[derive(Subcommand)]
enum DrillCommand {
    /// Begin a drill: clients are answered as if this were cut off, with --shadow only judged so.
    #[command(group = clap::ArgGroup::new("cut").required(true))]
    Start {
        /// Cut off the servers of this zone.
        #[arg(long, group = "cut", value_name = "ZONE")]
        zone: Option<Name>,
        /// Cut off these prefixes: a set of [reachability.sets], a file, or prefixes with commas between them.
        #[arg(long, group = "cut", value_name = "LIST")]
        prefix: Option<String>,
        /// Cut off everything but the domestic prefixes.
        #[arg(long, group = "cut")]
        isolation: bool,
        /// What stays reachable with --isolation: `domestic`, or a set of [reachability.sets].
        #[arg(long, value_name = "NAME", default_value = "domestic")]
        set: String,
        /// End by itself after this time.
        #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = rehearse::parse_time)]
        time: u64,
        /// Judge clients' questions beside the true answers, which stay as they are.
        #[arg(long)]
        shadow: bool,
        /// Give up when so many more of the questions fail than before.
        #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = rehearse::parse_share)]
        abort_at: u32,
    },
    /// End the drill.
    Stop,
    /// Show what the drill has shown so far, or the last one.
    Report {
        /// Print one HTML page, complete in itself.
        #[arg(long, conflicts_with = "json")]
        html: bool,
    },
}

#[derive(Subcommand)]
enum ClockCommand {
    /// Clear a floor that a clock has left behind that once ran ahead; works without a running server too.
    Reset,
}

#[derive(Subcommand)]
enum MirrorCommand {
    /// List the mirrors and their state.
    List,
    /// List the stored versions of a mirror, newest first.
    Show {
        /// The mirrored zone.
        zone: String,
    },
    /// Ask a mirror's sources now, and wait for the outcome.
    Refresh {
        /// The mirrored zone.
        zone: String,
    },
    /// Serve a version that a brake holds back.
    Accept {
        /// The mirrored zone.
        zone: String,
        /// The version; may be left out where only one is held.
        serial: Option<u32>,
    },
    /// Write a stored version as a zone file; works without a running server too.
    Export {
        /// The mirrored zone.
        zone: Name,
        /// The version [default: the current one].
        #[arg(long)]
        serial: Option<u32>,
        /// Where to [default: stdout].
        file: Option<PathBuf>,
    },
    /// Take up a zone file: it is verified and weighed like a version from a source; works without a running server too.
    Import {
        /// The mirrored zone.
        zone: Name,
        /// The zone in presentation format.
        file: PathBuf,
    },
    /// Show what differs between two stored versions; held and refused ones can be looked at too.
    ///
    /// With one serial, the current version is compared with it; with none, the current one with the newest that is held or
    /// refused, or else the one before with the current one.
    Diff {
        /// The mirrored zone.
        zone: Name,
        /// Serial of a version.
        a: Option<u32>,
        /// Serial of the version that A is compared with.
        b: Option<u32>,
    },
    /// Serve an older version.
    Rollback {
        /// The mirrored zone.
        zone: String,
        /// The version [default: the one before the current].
        serial: Option<u32>,
    },
}

#[derive(Subcommand)]
enum CacheCommand {
    /// Show how full it is and how often it helped.
    Stats,
    /// Forget what was learned about a name: answers, delegations, failures, keys; "." forgets everything.
    Flush {
        /// The name.
        name: String,
        /// Everything below it, too.
        #[arg(long)]
        tree: bool,
    },
}

#[derive(Subcommand)]
enum ZoneCommand {
    /// Verify a whole signed zone: keys, signatures, denial chain, ZONEMD.
    ///
    /// Exit code 0: the zone is as its owner signed it (or is not signed, which the verdict says); 1: it is
    /// not, each fault is named; 2: the file cannot be read.
    Verify {
        /// The zone in presentation format.
        file: PathBuf,
        /// Verify as of this time: 2026-08-01T12:00:00Z, 20260801120000 or @SECONDS [default: now].
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        at: Option<u64>,
        /// DS or DNSKEY records to trust [default: those of --config if given, else the built-in ones].
        #[arg(long, value_name = "FILE")]
        anchor: Option<PathBuf>,
    },
}

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
        Command::Configured(command) => with_config(command, &config_file(given), json),
        Command::ToServer(command) => ask_server(command, &config_file(given), json),
    };
    done.unwrap_or_else(|failure| failure.report(json))
}

fn config_file(given: Option<PathBuf>) -> PathBuf {
    if given.is_none() && !Path::new(CONFIG_FILE).exists() {
        eprintln!("holdfast: no {CONFIG_FILE} in this directory; name one with --config FILE");
    }
    given.unwrap_or_else(|| PathBuf::from(CONFIG_FILE))
}

fn with_config(command: Configured, file: &Path, json: bool) -> Result<ExitCode, Failure> {
    let config = Config::load(file).map_err(Failure::Config)?;
    match command {
        Configured::Run => run::run(file, config)?,
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
            let names = names.map(|file| absolute(&file)).transpose()?;
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
            print_json(&json!({ "ok": false, "faults": faults }));
        }
        code
    }
}

/// `holdfast check`: the configuration is sound already; reads the zones.
fn check(file: &Path, config: &Config, json: bool) -> ExitCode {
    let mut faults = Vec::new();
    let mut zones = Vec::new();
    for zone in &config.zones {
        match run::zones::read(zone) {
            Ok(image) => zones.push((zone.name.to_string(), image.serial(), image.record_count())),
            Err(fault) => faults.push(fault.to_string()),
        }
    }
    if json {
        let zones: Vec<Value> = (zones.iter())
            .map(|(zone, serial, records)| {
                json!({ "zone": zone, "serial": serial, "records": records })
            })
            .collect();
        print_json(&json!({
            "ok": faults.is_empty(),
            "faults": faults,
            "warnings": config.warnings,
            "zones": zones,
        }));
    } else {
        for (zone, serial, records) in &zones {
            say(&format!("zone {zone} serial {serial}, {records} records\n"));
        }
        for warning in &config.warnings {
            say(&format!("warning: {warning}\n"));
        }
    }
    for fault in &faults {
        eprintln!("{fault}");
    }
    if !faults.is_empty() {
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
            block_on(versions::export(server, &zone, serial, file.as_deref()))?
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
                (_, Some(list)) if Path::new(&list).exists() => {
                    CutAsked::Prefix(absolute(Path::new(&list))?)
                }
                (_, Some(list)) => CutAsked::Prefix(list),
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

/// The server reads the file, and stands in another directory.
fn absolute(file: &Path) -> Result<String, Fault> {
    let path =
        std::fs::canonicalize(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let text = path.to_str().map(str::to_owned);
    Ok(text.ok_or_else(|| format!("{}: not UTF-8", file.display()))?)
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
    let code = zone_verify(file, at, &trust, &policy, json, &mut out);
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
