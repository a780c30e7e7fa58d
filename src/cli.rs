//! The command line: every command, its options, and an example of each.
//!
//! Why here and not beside `main`: the man page, the completions for shells and the documentation are made from these
//! types and held to them by tests (`tests/packaging`), so they are a part of the library like any other form.
//!
//! Model: [`Arguments`] is the whole command line. Doc comments are what `--help` and holdfast(1) say. Each command ends with
//! an example, and each example is parsed by a test.

pub mod told;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::dns::Name;
use crate::mirror::verify::parse_time;

/// The whole command line, for what is made from it.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// DNS server that keeps verified copies of critical zones and goes on answering when the roots are
/// unreachable.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Arguments {
    /// Configuration file; relative paths in it are relative to the file [default: config.toml here, else /etc/holdfast/config.toml].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// All commands.
#[derive(Subcommand)]
pub enum Command {
    /// Those that need a configuration.
    #[command(flatten)]
    Configured(Configured),
    /// Those that ask the running server.
    #[command(flatten)]
    ToServer(ToServer),
    /// Work on zone files.
    #[command(subcommand)]
    Zone(ZoneCommand),
    /// Make a configuration out of another program's.
    #[command(subcommand)]
    Convert(ConvertCommand),
}

/// Commands that cannot do without a configuration.
#[derive(Subcommand)]
pub enum Configured {
    /// Run the server in the foreground.
    ///
    /// `holdfast ready` on stderr, and to systemd, says that UDP and TCP answer. SIGHUP reloads, SIGTERM and SIGINT stop. With --json
    /// the log is JSON, one object per line, whatever log.format says.
    #[command(after_help = "Example:\n  holdfast run --config config.toml")]
    Run,
    /// Check the configuration and the own zones without running anything.
    #[command(
        after_help = "Examples:\n  holdfast check --config config.toml\n  holdfast check --json"
    )]
    Check,
}

/// Commands to the running server. Of the configuration they need only where its control socket is.
#[derive(Subcommand)]
pub enum ToServer {
    /// Show the state of the running server.
    #[command(
        after_help = "Examples:\n  holdfast status\n  holdfast status --json | jq '.mirrors[] | {zone, state, serial, age_s}'"
    )]
    Status,
    /// Watch the running server: rates, mirrors, who asks most and what is asked most.
    #[command(after_help = "Examples:\n  holdfast top\n  holdfast top --every 10 --count 6 --json")]
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
    #[command(
        after_help = "Examples:\n  holdfast trace www.example.org AAAA\n  holdfast trace --no-cache --cd broken.example"
    )]
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
    #[command(
        after_help = "Examples:\n  holdfast readiness\n  holdfast readiness --names names.txt --set domestic --json\n  holdfast readiness --html > readiness.html"
    )]
    Readiness {
        /// Judge the names of this file (one per line, with a type where it is not A; - for standard input) instead of what clients ask.
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

/// `holdfast drill`.
#[derive(Subcommand)]
pub enum DrillCommand {
    /// Begin a drill: clients are answered as if this were cut off, with --shadow only judged so.
    #[command(group = clap::ArgGroup::new("cut").required(true))]
    #[command(
        after_help = "Examples:\n  holdfast drill start --isolation --shadow\n  holdfast drill start --zone com --for 2m\n  holdfast drill start --prefix 192.0.2.0/24,2001:db8::/32 --abort-at 1%"
    )]
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
        #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
        time: u64,
        /// Judge clients' questions beside the true answers, which stay as they are.
        #[arg(long)]
        shadow: bool,
        /// Give up when so many more of the questions fail than before.
        #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = parse_share)]
        abort_at: u32,
    },
    /// End the drill.
    #[command(after_help = "Example:\n  holdfast drill stop")]
    Stop,
    /// Show what the drill has shown so far, or the last one.
    #[command(
        after_help = "Examples:\n  holdfast drill report\n  holdfast drill report --html > drill.html"
    )]
    Report {
        /// Print one HTML page, complete in itself.
        #[arg(long, conflicts_with = "json")]
        html: bool,
    },
}

/// `holdfast clock`.
#[derive(Subcommand)]
pub enum ClockCommand {
    /// Clear a floor that a clock has left behind that once ran ahead; works without a running server too.
    #[command(after_help = "Example:\n  holdfast clock reset")]
    Reset,
}

/// `holdfast mirror`.
#[derive(Subcommand)]
pub enum MirrorCommand {
    /// List the mirrors and their state.
    #[command(
        after_help = "Examples:\n  holdfast mirror list\n  holdfast mirror list --json | jq -r '.[].last_error'"
    )]
    List,
    /// List the stored versions of a mirror, newest first.
    #[command(after_help = "Example:\n  holdfast mirror show .")]
    Show {
        /// The mirrored zone.
        zone: String,
    },
    /// Ask a mirror's sources now, and wait for the outcome.
    #[command(after_help = "Example:\n  holdfast mirror refresh .")]
    Refresh {
        /// The mirrored zone.
        zone: String,
    },
    /// Serve a version that a brake holds back.
    #[command(after_help = "Example:\n  holdfast mirror accept example. 2026080100")]
    Accept {
        /// The mirrored zone.
        zone: String,
        /// The version; may be left out where only one is held.
        serial: Option<u32>,
    },
    /// Write a stored version as a zone file; works without a running server too.
    #[command(
        after_help = "Examples:\n  holdfast mirror export . root.zone\n  holdfast mirror export . --serial 2026080100 | wc -l\n  holdfast mirror export . root.zone --json"
    )]
    Export {
        /// The mirrored zone.
        zone: Name,
        /// The version [default: the current one].
        #[arg(long)]
        serial: Option<u32>,
        /// Where to [default: stdout, which is the zone's alone: --json needs a FILE].
        #[arg(required_if_eq("json", "true"))]
        file: Option<PathBuf>,
    },
    /// Take up a zone file: it is verified and weighed like a version from a source; works without a running server too.
    #[command(after_help = "Example:\n  holdfast mirror import . root.zone")]
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
    #[command(
        after_help = "Examples:\n  holdfast mirror diff .\n  holdfast mirror diff . 2026080100 2026080200 --json"
    )]
    Diff {
        /// The mirrored zone.
        zone: Name,
        /// Serial of a version.
        a: Option<u32>,
        /// Serial of the version that A is compared with.
        b: Option<u32>,
    },
    /// Serve an older version.
    #[command(after_help = "Example:\n  holdfast mirror rollback example.")]
    Rollback {
        /// The mirrored zone.
        zone: String,
        /// The version [default: the one before the current].
        serial: Option<u32>,
    },
}

/// `holdfast cache`.
#[derive(Subcommand)]
pub enum CacheCommand {
    /// Show how full it is and how often it helped.
    #[command(after_help = "Example:\n  holdfast cache stats")]
    Stats,
    /// Forget what was learned about a name: answers, delegations, failures, keys; "." forgets everything.
    #[command(
        after_help = "Examples:\n  holdfast cache flush www.example.org\n  holdfast cache flush example.org --tree"
    )]
    Flush {
        /// The name.
        name: String,
        /// Everything below it, too.
        #[arg(long)]
        tree: bool,
    },
}

/// `holdfast zone`.
#[derive(Subcommand)]
pub enum ZoneCommand {
    /// Verify a whole signed zone: keys, signatures, denial chain, ZONEMD.
    ///
    /// Exit code 0: the zone is as its owner signed it (or is not signed, which the verdict says); 1: it is
    /// not, each fault is named; 2: the file cannot be read.
    #[command(
        after_help = "Example:\n  holdfast zone verify zones/root.zone --at 2026-08-01T12:00:00Z"
    )]
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

/// `holdfast convert`.
#[derive(Subcommand)]
pub enum ConvertCommand {
    /// Print an unbound.conf as a config.toml.
    ///
    /// The configuration goes to stdout. What could not be carried over goes to stderr with file and line, and stands at the head of the
    /// configuration as comments. Files that it includes are read too; zone files, hints and keys are named, not copied.
    #[command(
        after_help = "Examples:\n  holdfast convert unbound /etc/unbound/unbound.conf > config.toml\n  holdfast convert unbound unbound.conf --zones zones > config.toml\n  holdfast convert unbound unbound.conf --json | jq -r '.left_out[].directive'"
    )]
    Unbound {
        /// The configuration of Unbound.
        file: PathBuf,
        /// Write zone files for local-zone and local-data into this directory [default: these are left out].
        #[arg(long, value_name = "DIRECTORY")]
        zones: Option<PathBuf>,
    },
}

/// `10m`, `90s`, `2h`: seconds.
///
/// # Errors
/// It is none of these.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let refused = || format!("{text}: allowed is a number with s, m or h, such as 10m");
    let (number, unit_s) = match text.as_bytes().last() {
        Some(b's') => (text.strip_suffix('s'), 1),
        Some(b'm') => (text.strip_suffix('m'), 60),
        Some(b'h') => (text.strip_suffix('h'), 3600),
        _ => (Some(text), 1),
    };
    let number: u64 = number.and_then(|n| n.parse().ok()).ok_or_else(refused)?;
    number
        .checked_mul(unit_s)
        .filter(|s| *s > 0)
        .ok_or_else(refused)
}

/// `5%`, `2.5%`: thousandths.
///
/// # Errors
/// It is no share between 0 and 100 %.
pub fn parse_share(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let share = number.parse::<f64>().ok();
    let share = share.filter(|share| (0.0..=100.0).contains(share));
    let share = share.ok_or_else(|| format!("{text}: allowed is a share such as 5%"))?;
    Ok((share * 10.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_as_people_write_them() {
        assert_eq!(parse_duration("10m"), Ok(600));
        assert_eq!(parse_duration("90"), Ok(90));
        assert_eq!(parse_duration("2h"), Ok(7200));
        for wrong in ["", "m", "-1s", "0s", "1d", "99999999999999999999h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_share("5%"), Ok(50));
        assert_eq!(parse_share("2.5 %"), Ok(25));
        for wrong in ["", "101%", "-1%", "NaN", "x"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
